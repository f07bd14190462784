/**
 * A small format for the engine's tests: keyed blocks with a checksum. One block is one unit of extent ≥ 1.
 *
 *     0 u32 magic · 4 u32 length · 8 i64 position · 16 u32 CRC-32C of what follows · 20 u32 extent · 24 i64 timestamp
 *     32 u16 key length · key · value
 */
import { crc32c, readI64, readU16, readU32, writeI16, writeI32, writeI64 } from '@hadron/base';
import type { LogFormat } from '../format.ts';

const MAGIC = 0x424c4f43;
const HEADER_BYTES = 34;

export const blockFormat: LogFormat = {
  id: 77,
  name: 'blocks',
  headerBytes: HEADER_BYTES,
  scan(b, at, end, unit) {
    if (end - at < HEADER_BYTES || readU32(b, at) !== MAGIC) return false;
    unit.bytes = readU32(b, at + 4);
    unit.position = readI64(b, at + 8);
    unit.extent = readU32(b, at + 20);
    unit.maxTimestamp = readI64(b, at + 24);
    return unit.bytes >= HEADER_BYTES && unit.extent > 0 && unit.position >= 0;
  },
  intact: (b, at, length) => readU32(b, at + 16) === crc32c(b, at + 20, at + length),
  place(b, at, length, position) {
    let next = position;
    for (let p = at; p < at + length; p += readU32(b, p + 4)) {
      writeI64(b, p + 8, next);
      next += readU32(b, p + 20);
    }
  },
};

export function block(
  key: string,
  value: string | Buffer = '',
  timestamp: number = 0,
  extent: number = 1,
  position: number = 0,
): Buffer {
  const k = Buffer.from(key);
  const v = Buffer.from(value);
  const b = Buffer.alloc(HEADER_BYTES + k.length + v.length);
  writeI32(b, 0, MAGIC);
  writeI32(b, 4, b.length);
  writeI64(b, 8, position);
  writeI32(b, 20, extent);
  writeI64(b, 24, timestamp);
  writeI16(b, 32, k.length);
  k.copy(b, HEADER_BYTES);
  v.copy(b, HEADER_BYTES + k.length);
  writeI32(b, 16, crc32c(b, 20));
  return b;
}

export function keyOf(b: Buffer, at: number = 0): string {
  return b.toString('utf8', at + HEADER_BYTES, at + HEADER_BYTES + readU16(b, at + 32));
}

export function valueOf(b: Buffer, at: number = 0): string {
  return b.toString('utf8', at + HEADER_BYTES + readU16(b, at + 32), at + readU32(b, at + 4));
}
