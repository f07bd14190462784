/**
 * A format for tests that looks like Kafka's where it matters to the engine: framed units with a checksum that leaves
 * position and epoch out, so that both can be put in place after the client has sealed the unit.
 *
 *     0 u32 bytes · 4 i64 position · 12 u32 epoch · 16 u32 CRC-32C of [20, end) · 20 u32 extent · 24 i64 timestamp
 *     32 u32 id · 36 payload
 */
import { crc32c, readI64, readU32, writeI32, writeI64 } from '@hadron/base';
import type { LogFormat, Unit } from '../format.ts';

export const RECORDS_HEADER_BYTES = 36;

export const recordsFormat: LogFormat = {
  id: 7,
  name: 'test records',
  headerBytes: RECORDS_HEADER_BYTES,
  scan(b, at, end, unit: Unit) {
    if (end - at < RECORDS_HEADER_BYTES) return false;
    const bytes = readU32(b, at);
    const extent = readU32(b, at + 20);
    if (bytes < RECORDS_HEADER_BYTES || bytes > 1 << 28 || extent === 0) return false;
    unit.bytes = bytes;
    unit.position = readI64(b, at + 4);
    unit.extent = extent;
    unit.maxTimestamp = readI64(b, at + 24);
    return true;
  },
  intact: (b, at, length) => crc32c(b, at + 20, at + length) === readU32(b, at + 16),
  place(b, at, length, position, epoch) {
    let p = position;
    for (let n = at; n < at + length; n += readU32(b, n)) {
      writeI64(b, n + 4, p);
      writeI32(b, n + 12, epoch);
      p += readU32(b, n + 20);
    }
  },
};

export interface UnitSpec {
  id: number;
  extent?: number;
  /** Bytes of the whole unit. */
  bytes?: number;
  timestamp?: number;
}

/** A sealed unit as a client sends it: position and epoch are still empty. Its payload follows from its id. */
export function makeUnit({ id, extent = 1, bytes = 64, timestamp = -1 }: UnitSpec): Buffer {
  const b = Buffer.alloc(Math.max(bytes, RECORDS_HEADER_BYTES), id & 0xff);
  writeI32(b, 0, b.length);
  writeI64(b, 4, 0);
  writeI32(b, 12, 0);
  writeI32(b, 20, extent);
  writeI64(b, 24, timestamp);
  writeI32(b, 32, id);
  writeI32(b, 16, crc32c(b, 20, b.length));
  return b;
}

/** A unit read back. */
export interface SeenUnit {
  id: number;
  position: number;
  extent: number;
  epoch: number;
  timestamp: number;
  bytes: number;
}

/** The units in `b`, one behind the other. @throws Error when it does not hold whole, intact units and nothing else */
export function seeUnits(b: Buffer): SeenUnit[] {
  const seen: SeenUnit[] = [];
  for (let at = 0; at < b.length; ) {
    const bytes = b.length - at < RECORDS_HEADER_BYTES ? 0 : readU32(b, at);
    if (bytes < RECORDS_HEADER_BYTES || at + bytes > b.length)
      throw new Error(`no whole unit at byte ${at} of ${b.length}`);
    if (!recordsFormat.intact(b, at, bytes)) throw new Error(`the unit at byte ${at} is damaged`);
    seen.push({
      id: readU32(b, at + 32),
      position: readI64(b, at + 4),
      extent: readU32(b, at + 20),
      epoch: readU32(b, at + 12),
      timestamp: readI64(b, at + 24),
      bytes,
    });
    at += bytes;
  }
  return seen;
}
