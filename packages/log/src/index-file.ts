/**
 * Index files: a segment's sparse index kept beside it, so that a restart need not scan segments.
 *
 * They are a cache: never synced, checked when read, rebuilt by scanning the segment where they are missing, short or
 * broken. Blocks follow a header; each block stands for itself.
 *
 *     0 u32 magic "HDIX" · 4 u16 version · 6 u16 0 · 8 u32 log id · 12 u32 segment version · 16 i64 segment base
 *     24 u32 life, random · 28 u32 0
 *     32 block: u32 n · u32 CRC-32C of the entries (seeded with n and life) · n entries of 24 bytes: i64 position, i64 byte,
 *        i64 largest timestamp before the byte
 */
import { crc32c, readI64, readU16, readU32, writeI16, writeI32, writeI64 } from '@hadron/base';
import { SparseIndex } from './log.ts';

const MAGIC = 0x48444958;
export const INDEX_VERSION = 1;
export const INDEX_HEADER_BYTES = 32;
const ENTRY = 24;

export const indexFileName = (segmentFile: string): string => `${segmentFile.slice(0, -4)}.idx`;

export function encodeIndexHeader(logId: number, base: number, version: number, life: number): Buffer {
  const b = Buffer.alloc(INDEX_HEADER_BYTES);
  writeI32(b, 0, MAGIC);
  writeI16(b, 4, INDEX_VERSION);
  writeI32(b, 8, logId);
  writeI32(b, 12, version);
  writeI64(b, 16, base);
  writeI32(b, 24, life);
  return b;
}

/** A block with entries `[from, to)` of the index. */
export function encodeIndexBlock(index: SparseIndex, from: number, to: number, life: number): Buffer {
  const n = to - from;
  const b = Buffer.alloc(8 + n * ENTRY);
  for (let i = 0; i < n; i++) {
    const at = 8 + i * ENTRY;
    writeI64(b, at, index.positionAt(from + i));
    writeI64(b, at + 8, index.byteAt(from + i));
    writeI64(b, at + 16, index.maxTimestampAt(from + i));
  }
  writeI32(b, 0, n);
  writeI32(b, 4, crc32c(b, 8, b.length, n ^ life));
  return b;
}

/**
 * Reads what is good of an index file.
 * @param limitBytes entries at or behind this byte of the segment are not believed
 * @returns the index, and how many bytes of the file it stands for (0: rewrite the file)
 */
export function decodeIndex(
  b: Buffer,
  logId: number,
  base: number,
  version: number,
  limitBytes: number,
): { index: SparseIndex; goodBytes: number; life: number } {
  const index = new SparseIndex();
  if (
    b.length < INDEX_HEADER_BYTES ||
    readU32(b, 0) !== MAGIC ||
    readU16(b, 4) !== INDEX_VERSION ||
    readU32(b, 8) !== logId ||
    readU32(b, 12) !== version ||
    readI64(b, 16) !== base
  ) {
    return { index, goodBytes: 0, life: 0 };
  }
  const life = readU32(b, 24);
  let at = INDEX_HEADER_BYTES;
  let lastByte = 0;
  let lastPosition = base;
  while (at + 8 <= b.length) {
    const n = readU32(b, at);
    const end = at + 8 + n * ENTRY;
    if (n === 0 || end > b.length || readU32(b, at + 4) !== crc32c(b, at + 8, end, n ^ life)) break;
    for (let e = at + 8; e < end; e += ENTRY) {
      const position = readI64(b, e);
      const byte = readI64(b, e + 8);
      if (byte <= lastByte || position <= lastPosition || byte >= limitBytes)
        return { index: new SparseIndex(), goodBytes: 0, life: 0 };
      index.add(position, byte, readI64(b, e + 16));
      lastByte = byte;
      lastPosition = position;
    }
    at = end;
  }
  return { index, goodBytes: index.count === 0 ? 0 : at, life };
}
