/**
 * Checkpoints: move what the commit log holds into segments, so that its files may be overwritten (log.md G12, G13).
 *
 *   1  barrier: everything up to LSN C is durable
 *   2  each dirty log, oldest first, two at a time: tail bytes to the segment file, sync the file
 *   3  sync the directory of segments, if files were made
 *   4  snapshots of state logs that grew enough
 *   5  rows of all logs; then a barrier, because a row may tell of something newer than C
 *   6  the checkpoint file: temporary file, sync, rename, sync of its directory
 *   7  only now: commit-log files without a frame above C may be overwritten, old snapshots go
 *
 * A write that fails keeps the commit log and is tried again; a failed sync ends the shard.
 */
import { crc32c, HadronError, writeI16, writeI32, writeI64 } from '@hadron/base';
import { CheckpointWriter, type SegmentRow, type SnapshotRow } from './checkpoint-file.ts';
import { encodeIndexBlock, encodeIndexHeader, INDEX_HEADER_BYTES, indexFileName } from './index-file.ts';
import type { EpochStart, Log } from './log.ts';
import { loadIndex } from './reader.ts';
import { datasync, openFile, rename, syncDir, unlink, writePooled } from './segment-files.ts';
import type { Shard, SnapshotState } from './shard.ts';

const SYNCS_IN_FLIGHT = 2;
const SLICE_MS = 4;
const RETRY_MS = 1000;

export const SNAPSHOT_MAGIC = 0x4844534e;
export const SNAPSHOT_VERSION = 1;
export const SNAPSHOT_HEADER_BYTES = 24;

export class Checkpointer {
  private readonly shard: Shard;
  private running: Promise<void> | undefined;
  private retry: { cancel(): void } | undefined;
  private sliceStartMs = 0;
  /** LSN that the last checkpoint covers. */
  lsn = 0;

  constructor(shard: Shard) {
    this.shard = shard;
  }

  /** Starts one in the background unless one runs, the disk just refused, or the shard ends: it would cover the clean stop. */
  start(): void {
    if (this.running === undefined && this.retry === undefined && !this.shard.isEnding)
      void this.run().catch(() => undefined);
  }

  /** Resolves when a checkpoint that began after this call is durable. @throws FsError, HadronError STORAGE_FAILED */
  async run(): Promise<void> {
    while (this.running !== undefined) await this.running.catch(() => undefined);
    this.running = this.shard.flight(() => this.once());
    try {
      await this.running;
    } finally {
      this.running = undefined;
    }
  }

  /** None is tried again by itself. */
  stop(): void {
    this.retry?.cancel();
    this.retry = undefined;
  }

  /** The last one could not be written; it is tried again. */
  get isRefused(): boolean {
    return this.retry !== undefined;
  }

  /** Resolves when none runs. */
  async idle(): Promise<void> {
    this.stop();
    while (this.running !== undefined) await this.running.catch(() => undefined);
  }

  private async once(): Promise<void> {
    const shard = this.shard;
    const startedMs = shard.clock.monotonicMs();
    try {
      await this.checkpoint();
      shard.stats.checkpoints++;
      shard.stats.checkpointMs += shard.clock.monotonicMs() - startedMs;
      shard.relieve();
    } catch (error) {
      if (shard.failed === undefined && !shard.isEnding) {
        shard.logger.warn(
          { err: String(error) },
          'a checkpoint could not be written; the commit log is kept and it is tried again',
        );
        this.retry ??= shard.clock.setTimer(RETRY_MS, () => {
          this.retry = undefined;
          this.start();
        });
      }
      throw error;
    }
  }

  private async checkpoint(): Promise<void> {
    const shard = this.shard;
    this.sliceStartMs = shard.clock.monotonicMs();
    this.mustGoOn();
    const outstanding = shard.commit.outstandingBytes;
    const directOutstanding = shard.directOutstandingBytes;
    await shard.barrier();
    const lsn = shard.syncedLsn;
    const idleSince = this.lsn;
    if (shard.sabotage.recycleEarly === true) shard.commit.release(lsn, shard.commit.outstandingBytes);

    const dirty: Log[] = [];
    for (const log of shard.logs.values()) if (!log.removed && log.stableByte < log.durableByte) dirty.push(log);
    dirty.sort((a, b) => a.dirtySinceLsn - b.dirtySinceLsn);
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < dirty.length) {
        const log = dirty[next++] as Log;
        await shard.flushVisible(log);
        await shard.syncSegments(log);
        await this.saveIndexes(log);
        await this.breathe();
      }
    };
    // All end before one failure is told, so that no worker runs on beside the next attempt.
    const ends = await Promise.allSettled(Array.from({ length: SYNCS_IN_FLIGHT }, worker));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    await shard.syncSegmentsDirectory();
    const oldSnapshots = await this.makeSnapshots();

    const writer = new CheckpointWriter(lsn, shard.nextLogId, shard.clock.wallMs());
    const covered: { log: Log; position: number }[] = [];
    // What observers tell of must not be lost, even where the log's records may be.
    const osLogs: Log[] = [];
    for (const log of [...shard.logs.values()]) {
      if (log.removed) continue;
      writer.log({
        id: log.id,
        format: log.format.id,
        durability: log.durability,
        name: log.name,
        start: log.startPosition,
        position: log.stablePosition,
        cleanedTo: log.cleanedTo,
        epochs: log.epochs as EpochStart[],
        segments: segmentRows(log),
        fences: log.fences,
        aux: shard.observer?.aux(log) ?? NO_BYTES,
      });
      covered.push({ log, position: log.stablePosition });
      if (log.durability === 'os' && log.stableByte < log.nextByte) osLogs.push(log);
      if (log.stableByte === log.nextByte) log.dirtySinceLsn = 0;
      else log.dirtySinceLsn = lsn + 1;
      await this.breathe();
    }
    const snapshots: SnapshotRow[] = [];
    for (const [logId, s] of shard.snapshots) {
      if (s.file !== '' && shard.logs.has(logId)) snapshots.push({ logId, position: s.position, file: s.file });
    }
    await shard.barrierWith(osLogs);
    await this.replace(`${shard.directory}/checkpoint`, writer.finish(shard.syncedLsn, snapshots, 0));

    this.lsn = lsn;
    shard.directOutstandingBytes -= directOutstanding;
    shard.commit.release(lsn, shard.commit.outstandingBytes - outstanding);
    for (const { log, position } of covered) {
      log.checkpointedPosition = position;
      if ((log.segments[0]?.end ?? Number.POSITIVE_INFINITY) <= log.startPosition) shard.dropTrimmed(log);
    }
    for (const fn of shard.onCheckpoint) fn();
    void shard.flight(() => shard.keepReserve());
    for (const log of dirty) if (!log.removed && log.lastLsn <= idleSince) shard.tail.dropFlushed(log);
    for (const file of oldSnapshots)
      await unlink(shard.fs, `${shard.directory}/snapshots/${file}`).catch(() => undefined);
  }

  /** Temporary file, sync, rename, sync of the directory. @throws FsError */
  private async replace(path: string, bytes: Buffer): Promise<void> {
    const shard = this.shard;
    const tmp = `${path}.tmp`;
    await unlink(shard.fs, tmp);
    const file = await openFile(shard.fs, tmp, 'create');
    try {
      await writePooled(file, bytes, 0);
      await shard.mustSync(datasync(file));
    } finally {
      file.closeSync();
    }
    this.mustGoOn();
    await rename(shard.fs, tmp, path);
    if (shard.sabotage.skipDirectorySync !== true) await shard.mustSync(syncDir(shard.fs, shard.directory));
  }

  /** @returns files of snapshots that the next checkpoint replaces */
  private async makeSnapshots(): Promise<string[]> {
    const shard = this.shard;
    const old: string[] = [];
    let made = false;
    for (const state of shard.snapshots.values()) {
      const source = state.source;
      if (source === undefined || source.log.removed) continue;
      // One of the same position has the same name, and the last checkpoint may name it.
      if (state.file !== '' && source.log.nextPosition === state.position) continue;
      if (source.log.nextByte - state.atByte < Math.max(shard.settings.snapshotMinBytes, state.bytes)) continue;
      const before = state.file;
      await this.writeSnapshot(source.log, state);
      if (before !== '') old.push(before);
      made = true;
    }
    if (made && shard.sabotage.skipDirectorySync !== true) {
      await shard.mustSync(syncDir(shard.fs, `${shard.directory}/snapshots`));
    }
    return old;
  }

  private async writeSnapshot(log: Log, state: SnapshotState): Promise<void> {
    const shard = this.shard;
    const position = log.nextPosition;
    const atByte = log.nextByte;
    const name = `${log.id.toString(16).padStart(8, '0')}-${String(position).padStart(20, '0')}.snap`;
    const path = `${shard.directory}/snapshots/${name}`;
    await unlink(shard.fs, path);
    const file = await openFile(shard.fs, path, 'create');
    let at = SNAPSHOT_HEADER_BYTES;
    try {
      const head = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
      writeI32(head, 0, SNAPSHOT_MAGIC);
      writeI16(head, 4, SNAPSHOT_VERSION);
      writeI32(head, 8, log.id);
      writeI64(head, 12, position);
      writeI32(head, 20, crc32c(head, 0, 20));
      await writePooled(file, head, 0);
      for (const chunk of (state.source as NonNullable<SnapshotState['source']>).chunks()) {
        await writePooled(file, framed(chunk), at);
        at += 8 + chunk.length;
        await this.breathe();
      }
      await writePooled(file, framed(NO_BYTES), at);
      // What the snapshot tells of must be durable before the checkpoint names it.
      await shard.barrier();
      await shard.mustSync(datasync(file));
    } finally {
      file.closeSync();
    }
    state.position = position;
    state.atByte = atByte;
    state.bytes = at;
    state.file = name;
  }

  /** New entries of sparse indexes go to their files, unsynced: they can be rebuilt. */
  private async saveIndexes(log: Log): Promise<void> {
    const shard = this.shard;
    for (const segment of log.segments) {
      if (log.removed || segment.bytes < shard.settings.indexIntervalBytes || !log.segments.includes(segment)) continue;
      const index =
        segment.index ?? (segment === log.segments.at(-1) ? await loadIndex(shard, log, segment) : undefined);
      if (index === undefined || index.count === segment.indexSaved) continue;
      // Entries of bytes that are not stable may be gone after a crash.
      let to = index.count;
      while (to > segment.indexSaved && index.byteAt(to - 1) >= segment.stableBytes) to--;
      if (to === segment.indexSaved) continue;
      try {
        const file = await openFile(shard.fs, indexFileName(shard.files.path(log, segment)), 'create');
        try {
          let at = segment.indexFileBytes;
          if (at === 0) {
            segment.indexLife = shard.random.u32();
            await writePooled(file, encodeIndexHeader(log.id, segment.base, segment.version, segment.indexLife), 0);
            at = INDEX_HEADER_BYTES;
          }
          const block = encodeIndexBlock(index, segment.indexSaved, to, segment.indexLife);
          await writePooled(file, block, at);
          segment.indexSaved = to;
          segment.indexFileBytes = at + block.length;
        } finally {
          file.closeSync();
        }
      } catch (error) {
        shard.logger.debug(
          { log: log.name, err: String(error) },
          'an index file could not be written; it can be rebuilt',
        );
      }
    }
  }

  private mustGoOn(): void {
    if (this.shard.failed !== undefined) throw this.shard.failed;
    if (this.shard.isEnding) throw new HadronError('STORAGE_CLOSED', 'the server is shutting down');
  }

  /** Lets other work in after a few milliseconds of event loop. @throws when the shard is over */
  private async breathe(): Promise<void> {
    const clock = this.shard.clock;
    this.mustGoOn();
    if (clock.monotonicMs() - this.sliceStartMs < SLICE_MS) return;
    await new Promise<void>((resolve) => clock.defer(resolve));
    this.sliceStartMs = clock.monotonicMs();
  }
}

const NO_BYTES = Buffer.alloc(0);

function segmentRows(log: Log): SegmentRow[] {
  const rows: SegmentRow[] = [];
  for (const s of log.segments) {
    if (s.stableBytes === 0) continue;
    rows.push({
      base: s.base,
      end: s.stableBytes === s.bytes ? s.end : log.stablePosition,
      bytes: s.stableBytes,
      crc: s.stableCrc,
      createdMs: s.createdMs,
      maxTimestamp: s.maxTimestamp,
      maxTimestampAt: s.maxTimestampAt,
      version: s.version,
    });
  }
  return rows;
}

/** u32 length · u32 CRC-32C · bytes. A piece of length 0 ends the file. */
function framed(chunk: Uint8Array): Buffer {
  const b = Buffer.allocUnsafe(8 + chunk.length);
  writeI32(b, 0, chunk.length);
  b.set(chunk, 8);
  writeI32(b, 4, crc32c(b, 8, b.length, chunk.length));
  return b;
}
