/**
 * Frames of the commit log (log.md G1, G4). One frame is one append set: all of it is applied, or none.
 *
 *     0  u32  magic "HDF1"
 *     4  u32  length of the frame in bytes, without the padding to 8
 *     8  i64  LSN: 1, 2, 3, ... over all files of a shard
 *    16  i64  durable LSN known when the frame was written
 *    24  u16  number of entries
 *    26  u16  reserved, 0
 *    28  u32  CRC-32C of the body (names and inline bytes), seeded with the file's incarnation
 *    32  u32  CRC-32C of bytes [0, 32) and of the entry table, seeded with the file's incarnation
 *    36  u32  reserved, 0
 *    40  entry table, 32 bytes an entry
 *        body: for each entry in order, its inline bytes
 *        zeros to a multiple of 8
 *
 * An entry:
 *     0  u8   kind (below)
 *     1  u8   flags: 1 = begins a new segment, 2 = a stream of durability `os`
 *     2  u16  create: id of the log's format
 *     4  u32  log id
 *     8  i64  append: absolute position; trim: new log start; create: first position; epoch: where it starts
 *    16  u32  append: extent; create, epoch: leader epoch
 *    20  u32  length: of the inline bytes; of a reference's bytes in the segment
 *    24  u32  reference: byte in the segment where the bytes begin
 *    28  u32  reference: CRC-32C of the bytes
 *
 * Head and body have separate checksums so that a flipped bit in the data still says which log and positions it hit
 * (G2: damage is fenced precisely). Changing this layout means a new magic.
 */
import { crc32c, readI64, readU16, readU32, writeI16, writeI32, writeI64 } from '@hadron/base';

export const FRAME_MAGIC = 0x48444631;
export const FRAME_HEAD_BYTES = 40;
export const ENTRY_BYTES = 32;
/** No frame is longer; a claimed length above it is a broken frame. */
export const FRAME_MAX_BYTES = 256 * 1024 * 1024;
export const FRAME_MAX_ENTRIES = 0xffff;

export const EntryKind = {
  /** Bytes of a log, in the frame's body. */
  append: 1,
  /** Bytes of a log that lie in its segment already (a direct append). */
  reference: 2,
  create: 3,
  remove: 4,
  trim: 5,
  epoch: 6,
  /** The log's durability changed; flag 2 tells to which. */
  durability: 7,
  /** Nothing follows: the server was shut down in order. */
  cleanStop: 8,
  /** Only carries the durable LSN. */
  mark: 9,
} as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

export const EntryFlag = { roll: 1, os: 2 } as const;

export interface Entry {
  kind: number;
  flags: number;
  format: number;
  logId: number;
  position: number;
  extent: number;
  length: number;
  segmentByte: number;
  crc: number;
  /** Where its inline bytes begin in the buffer the frame was read from. */
  bodyAt: number;
}

export const alignUp8 = (n: number): number => (n + 7) & ~7;

export function writeEntry(
  b: Uint8Array,
  at: number,
  kind: EntryKind,
  flags: number,
  format: number,
  logId: number,
  position: number,
  extent: number,
  length: number,
  segmentByte: number,
  crc: number,
): void {
  b[at] = kind;
  b[at + 1] = flags;
  writeI16(b, at + 2, format);
  writeI32(b, at + 4, logId);
  writeI64(b, at + 8, position);
  writeI32(b, at + 16, extent);
  writeI32(b, at + 20, length);
  writeI32(b, at + 24, segmentByte);
  writeI32(b, at + 28, crc);
}

/** Completes a frame whose entry table and body are in place, and zeroes its padding. */
export function sealFrame(
  b: Uint8Array,
  at: number,
  length: number,
  lsn: number,
  durableLsn: number,
  entries: number,
  incarnation: number,
): void {
  writeI32(b, at, FRAME_MAGIC);
  writeI32(b, at + 4, length);
  writeI64(b, at + 8, lsn);
  writeI64(b, at + 16, durableLsn);
  writeI16(b, at + 24, entries);
  writeI16(b, at + 26, 0);
  const table = at + FRAME_HEAD_BYTES;
  const body = table + entries * ENTRY_BYTES;
  writeI32(b, at + 28, crc32c(b, body, at + length, incarnation));
  writeI32(b, at + 36, 0);
  writeI32(b, at + 32, crc32c(b, table, body, crc32c(b, at, at + 32, incarnation)));
  for (let i = at + length, end = at + alignUp8(length); i < end; i++) b[i] = 0;
}

/** What a look at a frame shows. `broken`: no frame can be read here. `body`: the head is good, the body is not. */
export type FrameState = 'whole' | 'body' | 'broken';

export interface FrameHead {
  length: number;
  lsn: number;
  durableLsn: number;
  entries: number;
}

export const newFrameHead = (): FrameHead => ({ length: 0, lsn: 0, durableLsn: 0, entries: 0 });

/** Checks the frame at `at` in `b[0, end)` and reads its head. */
export function readFrame(b: Uint8Array, at: number, end: number, incarnation: number, head: FrameHead): FrameState {
  if (at + FRAME_HEAD_BYTES > end || readU32(b, at) !== FRAME_MAGIC) return 'broken';
  const length = readU32(b, at + 4);
  const entries = readU16(b, at + 24);
  const table = at + FRAME_HEAD_BYTES;
  const body = table + entries * ENTRY_BYTES;
  if (length > FRAME_MAX_BYTES || body > end || body - at > length) return 'broken';
  if (readU32(b, at + 32) !== crc32c(b, table, body, crc32c(b, at, at + 32, incarnation))) return 'broken';
  head.length = length;
  head.lsn = readI64(b, at + 8);
  head.durableLsn = readI64(b, at + 16);
  head.entries = entries;
  if (at + length > end) return 'body';
  return readU32(b, at + 28) === crc32c(b, body, at + length, incarnation) ? 'whole' : 'body';
}

/** The entries of a frame whose head is good. */
export function readEntries(b: Uint8Array, at: number, head: FrameHead): Entry[] {
  const entries: Entry[] = [];
  let bodyAt = at + FRAME_HEAD_BYTES + head.entries * ENTRY_BYTES;
  for (let i = 0, e = at + FRAME_HEAD_BYTES; i < head.entries; i++, e += ENTRY_BYTES) {
    const kind = b[e] as number;
    const length = readU32(b, e + 20);
    entries.push({
      kind,
      flags: b[e + 1] as number,
      format: readU16(b, e + 2),
      logId: readU32(b, e + 4),
      position: readI64(b, e + 8),
      extent: readU32(b, e + 16),
      length,
      segmentByte: readU32(b, e + 24),
      crc: readU32(b, e + 28),
      bodyAt,
    });
    if (kind === EntryKind.append || kind === EntryKind.create) bodyAt += length;
  }
  return entries;
}
