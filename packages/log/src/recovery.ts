/**
 * Recovery: from a folder to a shard that may serve (log.md G1, G2, G6-G10). Runs at every open; twice equals once.
 *
 *   1  the checkpoint gives the logs and what their segments hold
 *   2  the commit files are scanned for frames, in the order of their headers          (scanFrames)
 *   3  where do they end? broken above every durable LSN: cut; at or below: damage      (findEnd)
 *   4  frames behind the checkpoint are applied, each at its position                   (apply)
 *   5  what was only read is written again where it lies, and synced (G7)               (rewrite)
 *   6  files that nothing names go; a new commit file begins; epochs of `os` logs rise
 *
 * Step 5 writes the very bytes that are there, in place: it needs no free space, so a server with a full disk can start,
 * and a crash in the middle of it changes nothing.
 */
import { crc32c, HadronError, readI64, readU32 } from '@hadron/base';
import { type Checkpoint, emptyCheckpoint, readCheckpoint } from './checkpoint-file.ts';
import { COMMIT_FILE_HEADER_BYTES, type CommitFileHeader, readCommitFileHeader, writeFully } from './commit-log.ts';
import { SNAPSHOT_HEADER_BYTES, SNAPSHOT_MAGIC, SNAPSHOT_VERSION } from './checkpointer.ts';
import { ByteReader } from './binary.ts';
import { newUnit } from './format.ts';
import {
  alignUp8,
  type Entry,
  EntryFlag,
  EntryKind,
  type FrameHead,
  FRAME_HEAD_BYTES,
  FRAME_MAGIC,
  newFrameHead,
  readEntries,
  readFrame,
} from './frame.ts';
import type { FileSystem, OpenFile } from './fs.ts';
import { type EpochStart, Log, type LogId, Segment } from './log.ts';
import type { RecoveryCaseName } from './recovery-cases.ts';
import { datasync, flushSync, parseSegmentFileName, segmentFileName, syncDir } from './segment-files.ts';
import { defaultLogOptions, noteAppend, type SetEntry, type Shard, type ShardOptions } from './shard.ts';

export interface Damage {
  log: string;
  from: number;
  to: number;
  what: string;
}

/** What recovery found and did. */
export interface Recovered {
  cases: RecoveryCaseName[];
  clean: boolean;
  frames: number;
  replayedBytes: number;
  damage: Damage[];
  ms: number;
}

export interface ScannedFrame {
  file: ScannedFile;
  at: number;
  head: FrameHead;
  body: boolean;
}

export interface ScannedFile {
  slot: number;
  path: string;
  header: CommitFileHeader;
  bytes: Buffer;
  frames: ScannedFrame[];
  /** LSN of the first frame that could not be read, in front of later ones; Infinity when there is none. */
  gapLsn: number;
  gapAt: number;
  /** LSN expected behind the last frame. */
  endLsn: number;
  endAt: number;
}

export interface Scan {
  files: ScannedFile[];
  /** Slots without a header. */
  unbegun: number[];
  slots: number;
  maxSequence: number;
  /** Highest durable LSN that any frame tells of. */
  durableLsn: number;
}

/** Reads all commit files of a folder. @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER */
export function scanFrames(fs: FileSystem, directory: string, ignoreChecksums: boolean = false): Scan {
  const scan: Scan = { files: [], unbegun: [], slots: 0, maxSequence: 0, durableLsn: 0 };
  for (const name of fs.listSync(directory)) {
    const m = /^(\d{3,})\.log$/.exec(name);
    if (m === null) continue;
    const slot = Number(m[1]);
    scan.slots = Math.max(scan.slots, slot + 1);
    const path = `${directory}/${name}`;
    const bytes = readWhole(fs, path);
    const header = readCommitFileHeader(bytes, path);
    if (header === undefined) {
      scan.unbegun.push(slot);
      continue;
    }
    scan.maxSequence = Math.max(scan.maxSequence, header.sequence);
    scan.files.push({
      slot,
      path,
      header,
      bytes,
      frames: [],
      gapLsn: Number.POSITIVE_INFINITY,
      gapAt: 0,
      endLsn: 0,
      endAt: 0,
    });
  }
  scan.files.sort((a, b) => a.header.sequence - b.header.sequence);
  // What a later file began at or before is void, also in files between the two.
  let voidFrom = Number.POSITIVE_INFINITY;
  for (const file of [...scan.files].reverse()) {
    scanFile(file, voidFrom, ignoreChecksums);
    for (const f of file.frames) scan.durableLsn = Math.max(scan.durableLsn, f.head.durableLsn);
    voidFrom = Math.min(voidFrom, file.header.firstLsn);
  }
  return scan;
}

function scanFile(file: ScannedFile, voidFrom: number, ignoreChecksums: boolean): void {
  const { bytes, header } = file;
  let at = COMMIT_FILE_HEADER_BYTES;
  let expected = header.firstLsn;
  for (;;) {
    const head = newFrameHead();
    let state = readFrame(bytes, at, bytes.length, header.incarnation, head);
    if (ignoreChecksums && state === 'body' && at + head.length <= bytes.length) state = 'whole';
    if (state !== 'broken' && head.lsn === expected && expected < voidFrom) {
      file.frames.push({ file, at, head, body: state === 'whole' });
      at += alignUp8(head.length);
      expected++;
      continue;
    }
    const behind = expected < voidFrom ? frameBehind(file, at + 8, expected, voidFrom) : undefined;
    if (behind === undefined) break;
    if (file.gapLsn === Number.POSITIVE_INFINITY) {
      file.gapLsn = expected;
      file.gapAt = at;
    }
    at = behind.at;
    expected = behind.lsn;
  }
  file.endLsn = expected;
  file.endAt = at;
}

/** The next readable frame head at or behind `from`. Frames are 8-byte aligned, so a scan can go on behind a broken one. */
function frameBehind(
  file: ScannedFile,
  from: number,
  above: number,
  below: number,
): { at: number; lsn: number } | undefined {
  const { bytes, header } = file;
  const head = newFrameHead();
  for (let at = from; at + FRAME_HEAD_BYTES <= bytes.length; at += 8) {
    if (bytes[at] !== FRAME_MAGIC >>> 24) continue;
    if (
      readFrame(bytes, at, bytes.length, header.incarnation, head) !== 'broken' &&
      head.lsn > above &&
      head.lsn < below
    ) {
      return { at, lsn: head.lsn };
    }
  }
  return undefined;
}

function readWhole(fs: FileSystem, path: string): Buffer {
  const size = fs.sizeSync(path) ?? 0;
  const bytes = Buffer.allocUnsafeSlow(size);
  if (size === 0) return bytes;
  const file = fs.openSync(path, 'read');
  try {
    let at = 0;
    while (at < size) {
      const n = file.readSync(bytes.subarray(at, Math.min(size, at + 4 * 1024 * 1024)), at);
      if (n === 0) break;
      at += n;
    }
    return bytes.subarray(0, at);
  } finally {
    file.closeSync();
  }
}

/** The frames to apply, in order, and the LSN behind the last. */
interface Plan {
  frames: ScannedFrame[];
  endLsn: number;
}

/** Where the log ends. @throws HadronError DATA_DAMAGED when frames at or below a durable LSN cannot be read */
function findEnd(scan: Scan, checkpoint: Checkpoint, r: Recovered, cutDamage: boolean): Plan {
  const durable = Math.max(scan.durableLsn, checkpoint.durableLsn, checkpoint.lsn);
  const plan: Plan = { frames: [], endLsn: checkpoint.lsn + 1 };
  for (const file of scan.files) {
    for (const frame of file.frames) {
      const lsn = frame.head.lsn;
      if (lsn <= checkpoint.lsn) continue;
      if (lsn > plan.endLsn) {
        if (plan.endLsn <= durable && !cutDamage) {
          throw new HadronError(
            'DATA_DAMAGED',
            `${file.path}: frames ${plan.endLsn} to ${lsn - 1} of the commit log cannot be read and held acknowledged data; restore the data folder from a copy, or move it away to start empty ("hadron log verify" shows the bytes)`,
          );
        }
        note(r, 'torn-tail');
        note(r, 'frames-behind-a-cut');
        return plan;
      }
      if (lsn < plan.endLsn) continue; // void: a later file began at or before it
      if (!frame.body) {
        if (lsn > durable || cutDamage) {
          note(r, 'torn-set');
          return plan;
        }
        note(r, 'damaged-body');
      }
      plan.frames.push(frame);
      plan.endLsn = lsn + 1;
    }
  }
  if (plan.endLsn <= durable && !cutDamage) {
    throw new HadronError(
      'DATA_DAMAGED',
      `the commit log ends at frame ${plan.endLsn - 1}, but frames up to ${durable} were acknowledged; restore the data folder from a copy, or move it away to start empty`,
    );
  }
  const last = plan.frames.at(-1)?.file ?? scan.files.at(-1);
  const sign = last === undefined ? undefined : tailSign(last);
  if (sign !== undefined) note(r, sign);
  return plan;
}

/** What lies behind the last frame of a file, for people: it is not read. */
function tailSign({ bytes, endAt, endLsn }: ScannedFile): 'torn-tail' | 'zero-tail' | 'former-life' | undefined {
  if (endAt + FRAME_HEAD_BYTES > bytes.length) return endAt < bytes.length ? 'torn-tail' : undefined;
  if (bytes.subarray(endAt, endAt + FRAME_HEAD_BYTES).every((x) => x === 0)) return 'zero-tail';
  return readU32(bytes, endAt) === FRAME_MAGIC && readI64(bytes, endAt + 8) === endLsn ? 'torn-tail' : 'former-life';
}

function note(r: Recovered, name: RecoveryCaseName): void {
  if (!r.cases.includes(name)) r.cases.push(name);
}

/** Brings `shard` to what its folder holds. Called once, by `Shard.open`. */
export async function recover(shard: Shard, options: ShardOptions): Promise<void> {
  const { fs, clock, directory } = shard;
  const startedMs = clock.monotonicMs();
  const r: Recovered = { cases: [], clean: true, frames: 0, replayedBytes: 0, damage: [], ms: 0 };
  shard.recovered = r;
  const fresh = fs.sizeSync(`${directory}/checkpoint`) === undefined && fs.listSync(`${directory}/commit`).length === 0;
  for (const sub of ['commit', 'segments', 'snapshots']) fs.mkdirSync(`${directory}/${sub}`);
  if (fresh) {
    note(r, 'empty-folder');
    // Parents too: a folder whose own entry is lost takes everything with it.
    await syncDir(fs, directory);
    await syncDir(fs, parent(directory));
  }

  let checkpoint = emptyCheckpoint();
  if (fs.sizeSync(`${directory}/checkpoint`) !== undefined) {
    checkpoint = readCheckpoint(readWhole(fs, `${directory}/checkpoint`), `${directory}/checkpoint`);
    // It may have been renamed and not more: what it covers must not be overwritten while the one before may come back.
    await syncDir(fs, directory);
  }
  if (fs.sizeSync(`${directory}/checkpoint.tmp`) !== undefined) note(r, 'checkpoint-half-written');

  const scan = scanFrames(fs, `${directory}/commit`, shard.sabotage.ignoreTornTail === true);
  const found = findEnd(scan, checkpoint, r, shard.sabotage.cutDamage === true);
  let recovery = new Recovery(shard, options, checkpoint, scan, r);
  let plan = recovery.apply(found);
  while (plan.again) {
    // The cut took a removal with it whose log was believed dead: look at that log's references after all.
    const endLsn = plan.endLsn;
    recovery = new Recovery(shard, options, checkpoint, scan, r);
    plan = recovery.apply({ frames: found.frames.filter((f) => f.head.lsn < endLsn), endLsn });
  }
  recovery.tellObserver();
  await recovery.rewrite(plan);
  await recovery.removeLeftovers();
  await recovery.goOn(plan);
  if (recovery.fenced) {
    // The next start may find a longer file, with a hole where this one was short.
    await shard.checkpoint().catch((error: unknown) => {
      if (shard.failed !== undefined) throw error;
    });
  }
  r.ms = clock.monotonicMs() - startedMs;
}

/** A reference's bytes as the segment file has them. `missing`: they are not what the frame says. */
interface Reference {
  readonly bytes: Buffer | undefined;
  readonly missing: boolean;
}

interface Replay {
  readonly log: Log;
  /** Undefined: the bytes are gone, trimmed or damaged. */
  readonly content: Buffer | undefined;
  readonly at: number;
  readonly length: number;
  readonly position: number;
}

interface ShortFile {
  readonly exists: boolean;
  readonly size: number;
  /** What the checkpoint says: bytes, and the position behind them. */
  readonly bytes: number;
  readonly end: number;
}

class Recovery {
  private readonly shard: Shard;
  private readonly o: ShardOptions;
  private readonly checkpoint: Checkpoint;
  private readonly scan: Scan;
  private readonly r: Recovered;
  /** Direct bytes to be written again: file path → ranges with their content. */
  private readonly rewrites = new Map<string, { log: Log; segment: Segment; parts: { at: number; bytes: Buffer }[] }>();
  /** `os` logs that lost bytes: nothing behind is theirs. */
  private readonly cutLogs = new Set<Log>();
  private readonly raise = new Set<Log>();
  /** Logs that a frame of the plan removes, and the highest start that frames of the plan give a log. */
  private readonly removed = new Set<number>();
  private readonly trimmedTo = new Map<number, number>();
  private readonly epochStarts = new Map<number, { readonly lsn: number; readonly position: number }[]>();
  private readonly replays: Replay[] = [];
  private lastKind: number = EntryKind.cleanStop;
  /** Segments whose files do not hold what the checkpoint says, as found. */
  private readonly shortFiles = new Map<Segment, ShortFile>();
  /** Damage was found that no checkpoint tells of. */
  fenced = false;

  constructor(shard: Shard, o: ShardOptions, checkpoint: Checkpoint, scan: Scan, r: Recovered) {
    this.shard = shard;
    this.o = o;
    this.checkpoint = checkpoint;
    this.scan = scan;
    this.r = r;
    for (const log of shard.logs.values()) shard.tail.dropAll(log);
    shard.logs.clear();
    shard.snapshots.clear();
    shard.directOutstandingBytes = 0;
    shard.nextLogId = checkpoint.nextLogId;
    shard.checkpointer.lsn = checkpoint.lsn;
    r.damage.length = 0;
    r.frames = 0;
    r.replayedBytes = 0;
    this.logsFromCheckpoint();
  }

  private logsFromCheckpoint(): void {
    const { shard } = this;
    for (const row of this.checkpoint.logs) {
      const log = this.makeLog(row.id as LogId, row.format, row.name, row.durability, row.start, row.epochs);
      log.cleanedTo = row.cleanedTo;
      log.fences = [...row.fences];
      for (const s of row.segments) {
        const segment = new Segment(s.base, log.nextByte, s.createdMs);
        segment.end = s.end;
        segment.bytes = s.bytes;
        segment.fileBytes = s.bytes;
        segment.fileCrc = s.crc;
        segment.stableBytes = s.bytes;
        segment.stableCrc = s.crc;
        segment.maxTimestamp = s.maxTimestamp;
        segment.maxTimestampAt = s.maxTimestampAt;
        segment.version = s.version;
        const size = shard.fs.sizeSync(shard.files.path(log, segment));
        segment.exists = size !== undefined;
        if ((size ?? 0) < s.bytes) {
          this.shortFiles.set(segment, { exists: segment.exists, size: size ?? 0, bytes: s.bytes, end: s.end });
        }
        segment.index = undefined;
        segment.indexLimit = s.bytes;
        log.segments.push(segment);
        log.nextByte += s.bytes;
      }
      log.nextPosition = row.position;
      endsAreDurable(log);
      log.flushedByte = log.stableByte = log.nextByte;
      log.flushedPosition = log.stablePosition = log.checkpointedPosition = log.nextPosition;
      shard.logs.set(log.id, log);
    }
    for (const s of this.checkpoint.snapshots) {
      const log = shard.logs.get(s.logId as LogId);
      const bytes = shard.fs.sizeSync(`${shard.directory}/snapshots/${s.file}`) ?? 0;
      shard.snapshots.set(s.logId as LogId, {
        source: undefined,
        position: s.position,
        file: s.file,
        bytes,
        atByte: log?.nextByte ?? 0,
      });
    }
  }

  /** Applies the plan's frames in order. A set whose direct half is missing may end it earlier (G3). */
  apply(plan: Plan): Plan & { again: boolean } {
    const durable = Math.max(this.scan.durableLsn, this.checkpoint.durableLsn, this.checkpoint.lsn);
    const removedAt = this.lookAhead(plan);
    const frames: ScannedFrame[] = [];
    for (const frame of plan.frames) {
      const { lsn } = frame.head;
      const entries = readEntries(frame.file.bytes, frame.at, frame.head).filter((e) => !this.isVoid(e, lsn));
      const references = this.readReferences(entries);
      const cut = entries.some((e) => this.mustHave(e) && references.get(e)?.missing !== false);
      if (cut && lsn > durable && this.shard.sabotage.missingDirectHalf !== true) {
        note(this.r, 'reference-without-bytes');
        return { frames, endLsn: lsn, again: removedAt > lsn };
      }
      this.lastKind = entries[0]?.kind ?? EntryKind.mark;
      for (const e of entries) this.applyEntry(frame, e, references.get(e));
      frames.push(frame);
      this.r.frames++;
    }
    return { frames, endLsn: plan.endLsn, again: false };
  }

  /**
   * What later frames remove or trim may have lost its segment files already: it is not looked for. And an epoch that
   * begins below what was appended before it was begun by a recovery that had lost those bytes.
   * @returns the LSN of the last frame that speaks of earlier ones
   */
  private lookAhead(plan: Plan): number {
    let last = 0;
    for (const f of plan.frames) {
      for (const e of readEntries(f.file.bytes, f.at, f.head)) {
        if (e.kind === EntryKind.remove) this.removed.add(e.logId);
        else if (e.kind === EntryKind.trim)
          this.trimmedTo.set(e.logId, Math.max(e.position, this.trimmedTo.get(e.logId) ?? 0));
        else if (e.kind === EntryKind.epoch) {
          const starts = this.epochStarts.get(e.logId);
          if (starts === undefined) this.epochStarts.set(e.logId, [{ lsn: f.head.lsn, position: e.position }]);
          else starts.push({ lsn: f.head.lsn, position: e.position });
        } else continue;
        last = f.head.lsn;
      }
    }
    return last;
  }

  /** Whether a recovery in between found that an `os` log ends in front of this append. */
  private isVoid(e: Entry, lsn: number): boolean {
    if (e.kind !== EntryKind.append && e.kind !== EntryKind.reference) return false;
    return this.epochStarts.get(e.logId)?.some((s) => s.lsn > lsn && s.position <= e.position) === true;
  }

  /** Whether the set of this entry is nothing without the entry's bytes: all of a set that was synced as one. */
  private mustHave(e: Entry): boolean {
    if ((e.flags & EntryFlag.os) !== 0 || this.removed.has(e.logId) || this.isTrimmed(e)) return false;
    const log = this.shard.logs.get(e.logId as LogId);
    if (e.kind === EntryKind.append) return log !== undefined && this.cutLogs.has(log);
    return e.kind === EntryKind.reference && (log === undefined || e.position >= log.nextPosition);
  }

  private isTrimmed(e: Entry): boolean {
    return e.position + e.extent <= (this.trimmedTo.get(e.logId) ?? 0);
  }

  /** Reads the bytes of a set's references from their segment files and compares them with the frame. */
  private readReferences(entries: readonly Entry[]): Map<Entry, Reference> {
    const references = new Map<Entry, Reference>();
    if (!entries.some((e) => e.kind === EntryKind.reference)) return references;
    // Where the log's active segment begins, as earlier entries of the same set leave it.
    const bases = new Map<number, number>();
    const made = new Set<number>();
    for (const e of entries) {
      if (e.kind === EntryKind.create) made.add(e.logId);
      if (e.kind !== EntryKind.append && e.kind !== EntryKind.reference) continue;
      const log = this.shard.logs.get(e.logId as LogId);
      if (this.removed.has(e.logId) || (log === undefined ? !made.has(e.logId) : e.position < log.nextPosition))
        continue;
      const active = log?.segments.at(-1);
      let base = bases.get(e.logId) ?? active?.base;
      if (base === undefined || (e.flags & EntryFlag.roll) !== 0) base = e.position;
      bases.set(e.logId, base);
      if (e.kind !== EntryKind.reference) continue;
      const name = segmentFileName(e.logId, base, base === active?.base ? active.version : 0);
      const bytes = this.readRange(`${this.shard.files.directory}/${name}`, e.segmentByte, e.length);
      const missing = (log !== undefined && this.cutLogs.has(log)) || bytes === undefined || crc32c(bytes) !== e.crc;
      references.set(e, { bytes, missing });
    }
    return references;
  }

  /** Bytes of a file, or undefined when it does not reach that far. */
  private readRange(path: string, at: number, length: number): Buffer | undefined {
    const { fs } = this.shard;
    if ((fs.sizeSync(path) ?? 0) < at + length) return undefined;
    const bytes = Buffer.allocUnsafeSlow(length);
    const file = fs.openSync(path, 'read');
    try {
      let done = 0;
      while (done < length) {
        const n = file.readSync(bytes.subarray(done), at + done);
        if (n === 0) return undefined;
        done += n;
      }
      return bytes;
    } finally {
      file.closeSync();
    }
  }

  private applyEntry(frame: ScannedFrame, e: Entry, reference: Reference | undefined): void {
    const { shard } = this;
    const bytes = frame.file.bytes;
    const log = shard.logs.get(e.logId as LogId);
    if (e.kind === EntryKind.create) shard.nextLogId = Math.max(shard.nextLogId, e.logId + 1);
    if (e.kind <= EntryKind.durability && this.removed.has(e.logId)) {
      note(this.r, 'dead-log');
      if (log !== undefined && e.kind === EntryKind.remove) this.dropLog(log);
      return;
    }
    switch (e.kind) {
      case EntryKind.create: {
        if (log !== undefined) return;
        if (!frame.body) {
          throw new HadronError(
            'DATA_DAMAGED',
            `${frame.file.path}: frame ${frame.head.lsn} is damaged and creates a log whose name cannot be read; restore the data folder from a copy`,
          );
        }
        const name = bytes.toString('utf8', e.bodyAt, e.bodyAt + e.length);
        const durability = (e.flags & EntryFlag.os) !== 0 ? 'os' : 'fsync';
        const epochs = [{ epoch: e.extent, start: e.position }];
        const made = this.makeLog(e.logId as LogId, e.format, name, durability, e.position, epochs);
        shard.logs.set(made.id, made);
        return;
      }
      case EntryKind.trim:
        if (log !== undefined && e.position > log.startPosition) log.startPosition = e.position;
        return;
      case EntryKind.epoch:
        // An `os` log that lost its end begins the epoch where it ends now.
        if (log !== undefined && e.extent > log.epoch) {
          log.epochs.push({ epoch: e.extent, start: Math.min(e.position, log.nextPosition) });
        }
        return;
      case EntryKind.durability:
        if (log !== undefined) log.durability = (e.flags & EntryFlag.os) !== 0 ? 'os' : 'fsync';
        return;
      case EntryKind.append:
      case EntryKind.reference:
        if (log === undefined) note(this.r, 'dead-log');
        else this.applyAppend(frame, log, e, reference);
        return;
      default:
        return;
    }
  }

  private dropLog(log: Log): void {
    log.removed = true;
    this.shard.tail.dropAll(log);
    this.shard.logs.delete(log.id);
    this.shard.snapshots.delete(log.id);
  }

  private applyAppend(frame: ScannedFrame, log: Log, e: Entry, reference: Reference | undefined): void {
    const { shard, r } = this;
    if (this.cutLogs.has(log)) return;
    if (e.position < log.nextPosition) {
      note(r, 'checkpoint-newer');
      return;
    }
    if (e.position > log.nextPosition) {
      throw new HadronError(
        'DATA_DAMAGED',
        `the commit log goes on at position ${e.position} of ${log.name}, which ends at ${log.nextPosition}; restore the data folder from a copy`,
      );
    }
    const missing = reference?.missing === true;
    if (missing && (e.flags & EntryFlag.os) !== 0 && !this.isTrimmed(e)) {
      note(r, 'lost-os-bytes');
      this.cutLogs.add(log);
      this.raise.add(log);
      return;
    }
    let segment = log.segments.at(-1);
    if (segment === undefined || (e.flags & EntryFlag.roll) !== 0) {
      segment = new Segment(e.position, log.nextByte, frame.file.header.createdMs);
      log.segments.push(segment);
    }
    if (log.dirtySinceLsn === 0) log.dirtySinceLsn = frame.head.lsn;
    log.lastLsn = frame.head.lsn;
    r.replayedBytes += e.length;
    const whole = frame.body && !missing;
    // Bytes that the file of the frame does not reach, or the segment does not have, are zeros inside a fence.
    let content = reference === undefined ? frame.file.bytes : (reference.bytes ?? Buffer.alloc(e.length));
    let at = reference === undefined ? e.bodyAt : 0;
    if (at + e.length > content.length) {
      content = Buffer.concat([content.subarray(Math.min(at, content.length))], e.length);
      at = 0;
    }
    const maxTimestamp = whole ? largestTimestamp(log, content, at, e.length) : -1;
    if (e.kind === EntryKind.append && whole) {
      const chunk = shard.tail.room(log, e.length, segment.bytes === 0);
      content.copy(chunk.piece.buffer, chunk.used, at, at + e.length);
      shard.tail.filled(chunk, e.position, e.length);
      noteAppend(log, segment, e.position, e.extent, e.length, maxTimestamp, shard.settings.indexIntervalBytes);
    } else {
      // Bytes that belong into the segment file at once: a direct append, or damage that must keep its place.
      flushSync(shard.files, log, log.nextByte, log.nextPosition);
      const fileAt = segment.bytes;
      noteAppend(log, segment, e.position, e.extent, e.length, maxTimestamp, shard.settings.indexIntervalBytes);
      segment.fileCrc = crc32c(content, at, at + e.length, segment.fileCrc);
      segment.fileBytes = segment.bytes;
      log.flushedByte = log.nextByte;
      log.flushedPosition = log.nextPosition;
      shard.tail.dropFlushed(log);
      const path = shard.files.path(log, segment);
      const rewrite = this.rewrites.get(path) ?? { log, segment, parts: [] };
      rewrite.parts.push({ at: fileAt, bytes: content.subarray(at, at + e.length) });
      this.rewrites.set(path, rewrite);
      shard.directOutstandingBytes += e.length;
      if (!whole) {
        // Below the start nobody misses it, but a reader that walks to the units behind must know.
        const what = missing ? 'damaged-reference' : 'damaged-body';
        this.fence(log, segment, e.position, e.position + e.extent, fileAt, fileAt + e.length, what);
      }
    }
    this.replays.push({ log, content: whole ? content : undefined, at, length: e.length, position: e.position });
  }

  /** Tells the observer, now that it is certain how far the log goes. */
  tellObserver(): void {
    const { observer, logs } = this.shard;
    if (observer === undefined) return;
    for (const row of this.checkpoint.logs) {
      const log = logs.get(row.id as LogId);
      if (log !== undefined && row.aux.length > 0) observer.restore(log, row.aux);
    }
    for (const { log, content, at, length, position } of this.replays) {
      if (log.removed) continue;
      if (content === undefined) observer.missed?.(log);
      else observer.replay(log, content, at, length, position);
    }
    this.replays.length = 0;
  }

  private fence(
    log: Log,
    segment: Segment,
    from: number,
    to: number,
    fromByte: number,
    toByte: number,
    what: RecoveryCaseName,
  ): void {
    if (to > (this.trimmedTo.get(log.id) ?? log.startPosition)) {
      note(this.r, what);
      this.r.damage.push({ log: log.name, from, to, what });
    }
    // Found again at every start until the segment is trimmed.
    if (log.fences.some((f) => f.from <= from && f.to >= to)) return;
    log.fences.push({ from, to, segmentBase: segment.base, fromByte, toByte });
    this.fenced = true;
  }

  /** What was only read is written again and synced (G7). */
  async rewrite(plan: Plan): Promise<void> {
    const { shard } = this;
    if (shard.sabotage.serveUnwrittenRecovery === true) return;
    for (const { log, segment, parts } of this.rewrites.values()) {
      if (log.removed) continue;
      const opened = shard.files.acquireSync(log, segment);
      try {
        for (const p of parts) writeFully(opened.file, p.bytes, p.at);
      } finally {
        shard.files.done(opened);
      }
    }
    for (const { log } of this.rewrites.values()) if (!log.removed) await shard.syncSegments(log);
    if (this.rewrites.size > 0) {
      const { created } = shard.files;
      await syncDir(shard.fs, shard.files.directory);
      shard.files.entriesDurable(created);
    }

    const ends = new Map<ScannedFile, number>();
    for (const f of plan.frames) ends.set(f.file, Math.min(f.file.bytes.length, f.at + alignUp8(f.head.length)));
    for (const [file, end] of ends) {
      const open = shard.fs.openSync(file.path, 'write');
      try {
        writeFully(open, file.bytes.subarray(0, end), 0);
        await datasync(open);
      } finally {
        open.closeSync();
      }
    }
  }

  /** Segments that are missing, short, trimmed or unknown. */
  async removeLeftovers(): Promise<void> {
    const { shard, r } = this;
    const named = new Set<string>();
    for (const log of shard.logs.values()) {
      this.endBehindStart(log);
      endsAreDurable(log);
      // Those that the checkpoint does not hold stay until it does: the next recovery may need them for what observers keep.
      const limit = Math.min(log.startPosition, log.checkpointedPosition);
      let below = 0;
      while (below < log.segments.length - 1 && (log.segments[below] as Segment).end <= limit) below++;
      if (below > 0) {
        log.takeFirstSegments(below);
        shard.tail.dropFlushed(log);
        note(r, 'trimmed-segments');
      }
      // Its file may be gone: it was unlinked when a segment behind it had begun, which a crash then took back.
      if ((log.segments.at(-1)?.end ?? Number.POSITIVE_INFINITY) <= log.startPosition) log.rollNext = true;
      for (const segment of log.segments) {
        const file = segmentFileName(log.id, segment.base, segment.version);
        named.add(file);
        named.add(`${file.slice(0, -4)}.idx`);
        const short = this.shortFiles.get(segment);
        if (short !== undefined && segment.end > log.startPosition) this.fenceFrom(log, segment, short);
        this.cutLeftover(segment, `${shard.files.directory}/${file}`);
      }
    }
    for (const name of shard.fs.listSync(shard.files.directory)) {
      if (named.has(name)) continue;
      if (parseSegmentFileName(name) !== undefined) note(r, 'extra-segment');
      await remove(shard.fs, `${shard.files.directory}/${name}`);
    }
    const snapshots = new Set([...shard.snapshots.values()].map((s) => s.file));
    for (const name of shard.fs.listSync(`${shard.directory}/snapshots`)) {
      if (!snapshots.has(name)) await remove(shard.fs, `${shard.directory}/snapshots/${name}`);
    }
  }

  /** An `os` log that lost bytes which had been trimmed: the start never goes back, so the log is empty and begins there. */
  private endBehindStart(log: Log): void {
    if (log.startPosition <= log.nextPosition) return;
    this.shard.tail.dropAll(log);
    log.segments.length = 0;
    log.fences.length = 0;
    log.nextPosition = log.flushedPosition = log.stablePosition = log.startPosition;
    log.flushedByte = log.stableByte = log.nextByte;
    const last = log.epochs[log.epochs.length - 1] as EpochStart;
    log.epochs = [{ epoch: last.epoch, start: log.startPosition }];
  }

  /** A segment's file ends before what the checkpoint says of it. */
  private fenceFrom(log: Log, segment: Segment, short: ShortFile): void {
    const { shard } = this;
    let from = segment.base;
    let fromByte = 0;
    if (short.size > 0) {
      const bytes = readWhole(shard.fs, shard.files.path(log, segment)).subarray(0, short.size);
      const u = newUnit();
      while (log.format.scan(bytes, fromByte, bytes.length, u) && fromByte + u.bytes <= bytes.length) {
        from = u.position >= 0 ? u.position + u.extent : from + u.extent;
        fromByte += u.bytes;
      }
    }
    const what = short.exists ? 'short-segment' : 'missing-segment';
    this.fence(log, segment, from, short.end, fromByte, short.bytes, what);
  }

  /** Bytes behind the end of a segment are void: of a frame that was cut. */
  private cutLeftover(segment: Segment, path: string): void {
    const { fs } = this.shard;
    if ((fs.sizeSync(path) ?? 0) <= segment.bytes) return;
    const file = fs.openSync(path, 'write');
    try {
      file.truncateSync(segment.bytes);
    } finally {
      file.closeSync();
    }
  }

  /** A new commit file, durable; epochs of `os` logs after an unclean stop (G2, G6). */
  async goOn(plan: Plan): Promise<void> {
    const { shard, r, scan } = this;
    const kept = new Map<ScannedFile, number>();
    for (const f of plan.frames) kept.set(f.file, f.head.lsn);
    shard.commit.resume(plan.endLsn - 1, scan.maxSequence, scan.slots);
    // Entries of files found may be as little durable as their bytes; the sync below covers them.
    shard.commit.directoryUnsynced = scan.slots > 0;
    shard.writtenLsn = shard.syncedLsn = plan.endLsn - 1;
    for (const file of scan.files) {
      const open = (): OpenFile => shard.fs.openSync(file.path, 'write');
      const last = kept.get(file);
      if (last === undefined) {
        note(r, 'covered-file');
        shard.commit.addSpare(file.slot, open());
      } else {
        shard.commit.adopt(file.slot, open(), last, file.endAt);
        if (last === plan.endLsn - 1 && shard.sabotage.acceptFormerLife === true) {
          shard.commit.continueIn(file.header, file.endAt);
        }
      }
    }
    for (const slot of scan.unbegun) {
      note(r, 'unbegun-file');
      const path = shard.commit.path(slot);
      shard.commit.addSpare(
        slot,
        shard.fs.openSync(path, 'write'),
        (shard.fs.sizeSync(path) ?? 0) < COMMIT_FILE_HEADER_BYTES,
      );
    }
    r.clean =
      r.cases.includes('empty-folder') ||
      (this.lastKind === EntryKind.cleanStop && plan.frames.length > 0) ||
      (plan.frames.length === 0 && plan.endLsn === 1);
    note(r, r.clean ? 'clean-stop' : 'unclean-stop');
    await shard.measureSpace();
    if (shard.sabotage.acceptFormerLife !== true || plan.frames.length === 0) shard.commit.roll();
    const entries: SetEntry[] = [];
    for (const log of shard.logs.values()) {
      if (this.raise.has(log) || (log.durability === 'os' && !r.clean))
        entries.push({ kind: 'epoch', log, epoch: log.epoch + 1 });
    }
    // Also without epochs: the new file's header must be durable before anything is served from behind a cut.
    for (let i = 0; i === 0 || i < entries.length; i += 10_000) {
      const part = entries.slice(i, i + 10_000);
      if (part.length > 0) shard.appendSet(part, { control: true });
      else shard.mark(EntryKind.mark);
    }
    await shard.barrier();
    if (r.damage.length > 0)
      shard.logger.error({ damage: r.damage }, 'acknowledged data is damaged: these offsets answer CORRUPT_MESSAGE');
  }

  private makeLog(
    id: LogId,
    formatId: number,
    name: string,
    durability: 'fsync' | 'os',
    start: number,
    epochs: EpochStart[],
  ): Log {
    const format = this.o.formats.find((f) => f.id === formatId);
    if (format === undefined) {
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `${name} is stored in format ${formatId}, which this Hadron does not know; start the newer Hadron that wrote it`,
      );
    }
    return new Log(
      id,
      format,
      name,
      durability,
      start,
      [...epochs],
      this.o.optionsFor?.(name) ?? { ...defaultLogOptions },
    );
  }
}

function endsAreDurable(log: Log): void {
  log.visiblePosition = log.durablePosition = log.writtenPosition = log.nextPosition;
  log.visibleByte = log.durableByte = log.writtenByte = log.nextByte;
}

function largestTimestamp(log: Log, bytes: Buffer, at: number, length: number): number {
  const u = newUnit();
  let largest = -1;
  for (let p = at; p < at + length; p += u.bytes) {
    if (!log.format.scan(bytes, p, at + length, u) || u.bytes <= 0) break;
    if (u.maxTimestamp > largest) largest = u.maxTimestamp;
  }
  return largest;
}

const parent = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf('/')));

function remove(fs: FileSystem, path: string): Promise<void> {
  return new Promise((resolve) => fs.unlink(path, () => resolve()));
}

/** The pieces of a snapshot, whole. @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER */
export function readSnapshot(fs: FileSystem, path: string): Buffer[] {
  const b = readWhole(fs, path);
  const bad = (why: string): HadronError =>
    new HadronError('DATA_DAMAGED', `${path}: ${why}; restore the data folder from a copy`);
  const head = new ByteReader(b, path);
  if (b.length < SNAPSHOT_HEADER_BYTES || head.u32() !== SNAPSHOT_MAGIC) throw bad('this is no snapshot');
  const version = head.u16();
  if (version > SNAPSHOT_VERSION)
    throw new HadronError(
      'DATA_FORMAT_NEWER',
      `${path} has format ${version}, this Hadron reads up to ${SNAPSHOT_VERSION}`,
    );
  if (crc32c(b, 0, 20) !== b.readUInt32BE(20)) throw bad('its header is damaged');
  const r = new ByteReader(b, path, SNAPSHOT_HEADER_BYTES);
  const chunks: Buffer[] = [];
  for (;;) {
    const length = r.u32();
    const crc = r.u32();
    const at = r.position;
    if (length > r.remaining) throw bad('it ends early');
    if (crc32c(b, at, at + length, length) !== crc) throw bad(`the piece at byte ${at} is damaged`);
    if (length === 0) return chunks;
    chunks.push(b.subarray(at, at + length));
    r.skip(length);
  }
}
