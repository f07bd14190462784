/**
 * The checkpoint: what the segment files of a shard are known to hold, so that frames up to its LSN are not needed.
 *
 * One file, `checkpoint`, replaced whole (temporary file, sync, rename, directory sync):
 *
 *     0 u32 magic "HDCK" · 4 u16 version · 6 u16 shard · 8 u32 payload length · 12 u32 CRC-32C of the payload
 *     payload:
 *       i64 LSN: frames up to it are covered      i64 durable LSN when written
 *       u32 next log id                           i64 wall ms
 *       u32 n, then n log rows (writeLogRow)
 *       u32 n, then n snapshots: u32 log id, i64 position, string file name
 *
 * Rows may be newer than the LSN, never older: replaying a frame twice changes nothing.
 */
import { crc32c, HadronError, readU16, readU32, writeI16, writeI32, writeI64 } from '@hadron/base';
import { ByteReader, ByteWriter } from './binary.ts';
import type { Durability, EpochStart, Fence } from './log.ts';

export const CHECKPOINT_MAGIC = 0x4844434b;
export const CHECKPOINT_VERSION = 1;
export const CHECKPOINT_HEADER_BYTES = 16;

export interface SegmentRow {
  base: number;
  end: number;
  bytes: number;
  crc: number;
  createdMs: number;
  maxTimestamp: number;
  maxTimestampAt: number;
  version: number;
}

export interface LogRow {
  id: number;
  format: number;
  durability: Durability;
  name: string;
  start: number;
  /** End of what the segments hold. */
  position: number;
  /** Compaction has gone over everything below. */
  cleanedTo: number;
  epochs: EpochStart[];
  segments: SegmentRow[];
  fences: Fence[];
  aux: Buffer;
}

export interface SnapshotRow {
  logId: number;
  position: number;
  file: string;
}

export interface Checkpoint {
  lsn: number;
  durableLsn: number;
  nextLogId: number;
  wallMs: number;
  logs: LogRow[];
  snapshots: SnapshotRow[];
}

export const emptyCheckpoint = (): Checkpoint => ({
  lsn: 0,
  durableLsn: 0,
  nextLogId: 1,
  wallMs: 0,
  logs: [],
  snapshots: [],
});

/** Collects a checkpoint row by row, so that the caller can let other work in between. */
export class CheckpointWriter {
  private readonly w = new ByteWriter();
  private readonly countAt: number;
  private logs = 0;

  constructor(lsn: number, nextLogId: number, wallMs: number) {
    const w = this.w;
    for (let i = 0; i < CHECKPOINT_HEADER_BYTES; i++) w.u8(0);
    w.i64(lsn);
    w.i64(0);
    w.u32(nextLogId);
    w.i64(wallMs);
    this.countAt = w.length;
    w.u32(0);
  }

  log(row: LogRow): void {
    const w = this.w;
    this.logs++;
    w.u32(row.id);
    w.u8(row.format);
    w.u8(row.durability === 'os' ? 1 : 0);
    w.string(row.name);
    w.i64(row.start);
    w.i64(row.position);
    w.i64(row.cleanedTo);
    w.u32(row.epochs.length);
    for (const e of row.epochs) {
      w.u32(e.epoch);
      w.i64(e.start);
    }
    w.u32(row.segments.length);
    for (const s of row.segments) {
      w.i64(s.base);
      w.i64(s.end);
      w.i64(s.bytes);
      w.u32(s.crc);
      w.i64(s.createdMs);
      w.i64(s.maxTimestamp);
      w.i64(s.maxTimestampAt);
      w.u32(s.version);
    }
    w.u32(row.fences.length);
    for (const f of row.fences) {
      w.i64(f.from);
      w.i64(f.to);
      w.i64(f.segmentBase);
      w.i64(f.fromByte);
      w.i64(f.toByte);
    }
    w.bytes(row.aux);
  }

  /** @param durableLsn what is durable now that everything the rows tell of is */
  finish(durableLsn: number, snapshots: readonly SnapshotRow[], shard: number): Buffer {
    const w = this.w;
    w.u32(snapshots.length);
    for (const s of snapshots) {
      w.u32(s.logId);
      w.i64(s.position);
      w.string(s.file);
    }
    w.patchU32(this.countAt, this.logs);
    const b = w.done();
    writeI64(b, CHECKPOINT_HEADER_BYTES + 8, durableLsn);
    writeI32(b, 0, CHECKPOINT_MAGIC);
    writeI16(b, 4, CHECKPOINT_VERSION);
    writeI16(b, 6, shard);
    writeI32(b, 8, b.length - CHECKPOINT_HEADER_BYTES);
    writeI32(b, 12, crc32c(b, CHECKPOINT_HEADER_BYTES, b.length));
    return b;
  }
}

/** @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER */
export function readCheckpoint(b: Buffer, path: string): Checkpoint {
  const damaged = (why: string): HadronError =>
    new HadronError(
      'DATA_DAMAGED',
      `${path}: ${why}; restore the file from a backup, or move the data folder away to start empty`,
    );
  if (b.length < CHECKPOINT_HEADER_BYTES || readU32(b, 0) !== CHECKPOINT_MAGIC)
    throw damaged('this is no checkpoint file');
  if (readU16(b, 4) === 0) throw damaged('its version is not one');
  if (readU16(b, 4) > CHECKPOINT_VERSION) {
    throw new HadronError(
      'DATA_FORMAT_NEWER',
      `${path} has format ${readU16(b, 4)}, this Hadron reads up to ${CHECKPOINT_VERSION}; start the newer Hadron that wrote it`,
    );
  }
  if (readU32(b, 8) !== b.length - CHECKPOINT_HEADER_BYTES) throw damaged('its length is not the one in its header');
  if (readU32(b, 12) !== crc32c(b, CHECKPOINT_HEADER_BYTES, b.length)) throw damaged('its checksum does not match');
  const r = new ByteReader(b, path, CHECKPOINT_HEADER_BYTES);
  const c: Checkpoint = {
    lsn: r.i64(),
    durableLsn: r.i64(),
    nextLogId: r.u32(),
    wallMs: r.i64(),
    logs: [],
    snapshots: [],
  };
  for (let n = r.count(40); n > 0; n--) {
    const row: LogRow = {
      id: r.u32(),
      format: r.u8(),
      durability: r.u8() === 1 ? 'os' : 'fsync',
      name: r.string(),
      start: r.i64(),
      position: r.i64(),
      cleanedTo: r.i64(),
      epochs: [],
      segments: [],
      fences: [],
      aux: Buffer.alloc(0),
    };
    for (let i = r.count(12); i > 0; i--) row.epochs.push({ epoch: r.u32(), start: r.i64() });
    for (let i = r.count(56); i > 0; i--) {
      row.segments.push({
        base: r.i64(),
        end: r.i64(),
        bytes: r.i64(),
        crc: r.u32(),
        createdMs: r.i64(),
        maxTimestamp: r.i64(),
        maxTimestampAt: r.i64(),
        version: r.u32(),
      });
    }
    for (let i = r.count(40); i > 0; i--) {
      row.fences.push({ from: r.i64(), to: r.i64(), segmentBase: r.i64(), fromByte: r.i64(), toByte: r.i64() });
    }
    row.aux = Buffer.from(r.bytes());
    c.logs.push(row);
  }
  for (let n = r.count(16); n > 0; n--) c.snapshots.push({ logId: r.u32(), position: r.i64(), file: r.string() });
  return c;
}
