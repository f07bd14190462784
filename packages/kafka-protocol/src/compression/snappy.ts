/**
 * Snappy as Kafka means it: the framing of the Java library (Xerial) around raw snappy blocks. Some clients send one raw
 * block without framing; both are read, the framed form is written, which every client reads.
 *
 *   82 53 4e 41 50 50 59 00 · version int32 · compatible version int32 · (size int32 · raw block)*
 *
 * A raw block starts with its uncompressed length, which is checked before the codec sees the block.
 */
import { readI32, writeI32 } from '@hadron/base';
import { refuseBytes, refuseSize } from './failure.ts';
import { runWasm } from './wasm.ts';

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;
/** Input per block, as the Java library cuts it. */
const BLOCK_BYTES = 32 * 1024;
/** No snappy element makes more than 64 bytes from 3 (or 11 from 2): a larger claim is a lie. */
const EXPANSION_MAX = 22;

export function snappyDecompress(input: Buffer, bytesMax: number): Buffer {
  const isFramed = input.length >= XERIAL_HEADER_BYTES && input.compare(XERIAL_MAGIC, 0, 8, 0, 8) === 0;
  return isFramed ? unframe(input, bytesMax) : block(input, bytesMax);
}

function unframe(input: Buffer, bytesMax: number): Buffer {
  const blocks: Buffer[] = [];
  let total = 0;
  for (let at = XERIAL_HEADER_BYTES; at < input.length; ) {
    if (at + 4 > input.length) return refuseBytes('snappy', 'a block length is cut off');
    const size = readI32(input, at);
    at += 4;
    if (size <= 0 || size > input.length - at) return refuseBytes('snappy', `block of ${size} bytes`);
    const plain = block(input.subarray(at, at + size), bytesMax - total);
    blocks.push(plain);
    total += plain.length;
    at += size;
  }
  return blocks.length === 1 ? (blocks[0] as Buffer) : Buffer.concat(blocks, total);
}

function block(input: Buffer, bytesMax: number): Buffer {
  const claimed = claimedBytes(input);
  if (claimed > bytesMax) refuseSize('snappy', claimed, bytesMax);
  if (claimed > input.length * EXPANSION_MAX) refuseBytes('snappy', `${input.length} bytes cannot hold ${claimed}`);
  if (claimed === 0) return Buffer.alloc(0);
  let output: Buffer;
  try {
    output = runWasm('snappy_decompress', input);
  } catch (error) {
    return refuseBytes('snappy', 'damaged block', error);
  }
  if (output.length !== claimed) refuseBytes('snappy', `${output.length} bytes instead of ${claimed}`);
  return output;
}

/** The uncompressed length in front of a raw block: an unsigned varint of at most 32 bits. */
function claimedBytes(input: Buffer): number {
  let value = 0;
  for (let n = 0; n < 5; n++) {
    const byte = input[n];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * n);
    if (byte < 0x80) return value;
  }
  return refuseBytes('snappy', 'no length');
}

export function snappyCompress(input: Buffer): Buffer {
  const header = Buffer.alloc(XERIAL_HEADER_BYTES);
  XERIAL_MAGIC.copy(header);
  writeI32(header, 8, 1);
  writeI32(header, 12, 1);
  const parts: Buffer[] = [header];
  for (let at = 0; at < input.length; at += BLOCK_BYTES) {
    const compressed = runWasm('snappy_compress', input.subarray(at, at + BLOCK_BYTES));
    const size = Buffer.alloc(4);
    writeI32(size, 0, compressed.length);
    parts.push(size, compressed);
  }
  return Buffer.concat(parts);
}
