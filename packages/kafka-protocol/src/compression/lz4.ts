/**
 * LZ4 frames. A frame need not say how much it holds, so its blocks are measured before the codec sees them.
 *
 *   magic 04 22 4d 18 · FLG · BD · [content size int64] · [dictionary id int32] · header checksum
 *   · (block size int32, top bit: stored as is · block · [checksum int32])* · end mark 0 · [content checksum int32]
 *
 * All numbers are little-endian.
 */
import { refuseBytes, refuseSize } from './failure.ts';
import { runWasm } from './wasm.ts';

const FRAME_MAGIC = 0x184d2204;
const STORED = 0x8000_0000;
/** A compressed block of n bytes holds less than this times n. */
const EXPANSION_MAX = 255;

/** A frame without blocks. */
const EMPTY_FRAME = Buffer.from('04224d1860408200000000', 'hex');

export function lz4Compress(input: Buffer): Buffer {
  if (input.length === 0) return Buffer.from(EMPTY_FRAME);
  return runWasm('lz4_compress', input);
}

export function lz4Decompress(input: Buffer, bytesMax: number): Buffer {
  const bound = lz4SizeBound(input, bytesMax);
  if (bound > bytesMax) refuseSize('lz4', bound, bytesMax);
  let output: Buffer;
  try {
    output = runWasm('lz4_decompress', input);
  } catch (error) {
    return refuseBytes('lz4', 'damaged frame', error);
  }
  return output;
}

/** At least as many bytes as the frame decompresses to; exact where a coarse bound would exceed `bytesMax`. */
function lz4SizeBound(input: Buffer, bytesMax: number): number {
  if (input.length < 7 || input.readUInt32LE(0) !== FRAME_MAGIC) return refuseBytes('lz4', 'no frame');
  const flags = input[4] as number;
  if (flags >>> 6 !== 1) return refuseBytes('lz4', `frame version ${flags >>> 6}`);
  const blockCode = ((input[5] as number) >>> 4) & 7;
  if (blockCode < 4) return refuseBytes('lz4', `block size code ${blockCode}`);
  const blockBytesMax = 1 << (8 + 2 * blockCode); // 64 KiB, 256 KiB, 1 MiB, 4 MiB
  const hasContentSize = (flags & 0x08) !== 0;
  const hasDictionary = (flags & 0x01) !== 0;
  const blockTrailer = (flags & 0x10) !== 0 ? 4 : 0;
  if (hasDictionary) return refuseBytes('lz4', 'dictionaries are not supported');

  let claimed = 0;
  if (hasContentSize) {
    if (input.length < 15) return refuseBytes('lz4', 'the frame header is cut off');
    claimed = input.readUInt32LE(6) + input.readUInt32LE(10) * 0x1_0000_0000;
    if (claimed > bytesMax) return claimed;
  }

  let bound = 0;
  let at = 7 + (hasContentSize ? 8 : 0);
  for (;;) {
    if (at + 4 > input.length) return refuseBytes('lz4', 'the frame has no end');
    const word = input.readUInt32LE(at);
    at += 4;
    if (word === 0) break;
    const size = word >= STORED ? word - STORED : word;
    if (size > input.length - at || size > blockBytesMax) return refuseBytes('lz4', `block of ${size} bytes`);
    if (word >= STORED) bound += size;
    else {
      const coarse = Math.min(blockBytesMax, size * EXPANSION_MAX);
      bound += bound + coarse <= bytesMax ? coarse : blockBytes(input, at, at + size);
    }
    if (bound > bytesMax) return bound;
    at += size + blockTrailer;
  }
  const end = at + ((flags & 0x04) !== 0 ? 4 : 0);
  if (end !== input.length) return refuseBytes('lz4', 'bytes after the frame');
  return Math.max(bound, claimed);
}

/** The exact size of one block: literals and matches are added up, nothing is copied. */
function blockBytes(b: Buffer, from: number, to: number): number {
  let size = 0;
  for (let at = from; at < to; ) {
    const token = b[at++] as number;
    let literals = token >>> 4;
    if (literals === 15) {
      for (let byte = 255; byte === 255 && at < to; ) literals += byte = b[at++] as number;
    }
    size += literals;
    at += literals;
    if (at >= to) break; // the last sequence has no match
    at += 2;
    let match = (token & 15) + 4;
    if ((token & 15) === 15) {
      for (let byte = 255; byte === 255 && at < to; ) match += byte = b[at++] as number;
    }
    size += match;
  }
  return size;
}
