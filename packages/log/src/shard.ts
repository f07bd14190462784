/**
 * A shard: the owner of a set of logs, their files and one commit log. Everything that changes a log goes through here.
 *
 * The way of an append (log.md G3-G5):
 *
 *   append()   positions are assigned, bytes copied into the tail cache and into a staged frame; gives an LSN
 *   pump()     at the end of the tick, or when the sync before ends: writes what is staged  ->  writtenLsn
 *   sync       started after the write, one at a time; covers commit file, direct segments  ->  syncedLsn
 *   settle()   high watermarks move, then answers that waited for these LSNs go out, in LSN order
 *
 *     checkpointLsn ≤ syncedLsn ≤ writtenLsn ≤ stagedLsn
 *
 * A failed write or sync ends the shard: every waiter is told, nothing more is written, reads of what was visible go on,
 * and the owner opens a new Shard over the same folder, which recovers (G8).
 */
import { assert, type Clock, crc32c, HadronError, type Logger, type Random, type Timer } from '@hadron/base';
import { CommitLog } from './commit-log.ts';
import { Checkpointer } from './checkpointer.ts';
import { EntryFlag, EntryKind, writeEntry } from './frame.ts';
import type { LogFormat } from './format.ts';
import type { FileSystem, FsError, OpenFile } from './fs.ts';
import { type Durability, type EpochStart, Log, type LogId, type LogOptions, Segment } from './log.ts';
import { datasync, flush, flushSync, openFile, SegmentFiles, syncDir, unlink, writePooled } from './segment-files.ts';
import { indexFileName } from './index-file.ts';
import { SlabPool } from './slab.ts';
import { TailCache } from './tail-cache.ts';
import { type Recovered, recover } from './recovery.ts';

export interface ShardSettings {
  /** Size at which the commit log goes on in the next file. */
  commitFileBytes: number;
  /** Commit log and direct bytes that start a checkpoint. */
  checkpointAtBytes: number;
  /** Uncheckpointed bytes above which {@link Shard.congested} asks callers to slow down. */
  slowAtBytes: number;
  /** An append of this size goes straight to its segment; many smaller ones do when a group of them is large. */
  directAtBytes: number;
  tailCacheBytes: number;
  /** Free space below which appends of data are refused. */
  minFreeBytes: number;
  /** Bytes of a segment per index entry. */
  indexIntervalBytes: number;
  openFilesMax: number;
  /** Direct bytes of one group commit from which they are written on the thread pool. */
  pooledWriteBytes: number;
  /** Unit in which memory for the tail cache and reads is taken; a power of two. */
  slabBytes: number;
  /** Bytes that a state log grows between two snapshots, at least. */
  snapshotMinBytes: number;
}

export const defaultShardSettings: ShardSettings = {
  commitFileBytes: 16 * 1024 * 1024,
  checkpointAtBytes: 32 * 1024 * 1024,
  slowAtBytes: 64 * 1024 * 1024,
  directAtBytes: 128 * 1024,
  tailCacheBytes: 32 * 1024 * 1024,
  minFreeBytes: 256 * 1024 * 1024,
  indexIntervalBytes: 32 * 1024,
  openFilesMax: 256,
  pooledWriteBytes: 512 * 1024,
  slabBytes: 1024 * 1024,
  snapshotMinBytes: 1024 * 1024,
};

/** Breaks the engine on purpose, so that the simulation can show that it would notice (log.md §5). Never set outside tests. */
export interface Sabotage {
  ackBeforeSync?: boolean;
  skipDirectorySync?: boolean;
  ignoreTornTail?: boolean;
  applyHalfSet?: boolean;
  serveUnwrittenRecovery?: boolean;
  acceptFormerLife?: boolean;
  recycleEarly?: boolean;
  cutDamage?: boolean;
  missingDirectHalf?: boolean;
}

/** State that is derived from a log's appends and kept in the checkpoint: producer state of partitions. */
export interface LogObserver {
  /** A log came back from the checkpoint with what {@link aux} once gave. */
  restore(log: Log, aux: Buffer): void;
  /** An append behind the checkpoint, in order. May repeat what `restore` already covers. */
  replay(log: Log, bytes: Buffer, at: number, length: number, position: number): void;
  /** An append behind the checkpoint whose bytes are gone, trimmed on a full disk or damaged: what follows from it is not known. */
  missed?(log: Log): void;
  /** What a checkpoint should keep. Everything it tells of must have been appended. */
  aux(log: Log): Buffer | undefined;
}

/** A state log's shell: gives its whole state now and then, so that replay stays short. */
export interface SnapshotSource {
  readonly log: Log;
  /** The state, piece by piece. It may change meanwhile: replay from the position at the start repeats the changes. */
  chunks(): Iterable<Uint8Array>;
}

/** The newest snapshot of a state log, and who makes the next. */
export interface SnapshotState {
  source: SnapshotSource | undefined;
  /** State up to here is in `file`; replay the log from here. */
  position: number;
  file: string;
  bytes: number;
  /** Byte of the log when it was made. */
  atByte: number;
}

export interface ShardOptions {
  fs: FileSystem;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** The shard's folder, `<data>/shards/0`. */
  directory: string;
  shard?: number;
  formats: readonly LogFormat[];
  settings?: Partial<ShardSettings>;
  observer?: LogObserver;
  /** Options of a log known from disk. */
  optionsFor?: (name: string) => LogOptions;
  /** A write or sync failed: this shard writes no more. Called once, in its own tick. */
  onFailure?: (error: HadronError) => void;
  sabotage?: Sabotage;
}

export interface NewLog {
  name: string;
  format: LogFormat;
  durability?: Durability;
  /** Position of its first append. */
  startPosition?: number;
  epoch?: number;
  options?: LogOptions;
}

export const defaultLogOptions: LogOptions = { segmentBytes: 1024 * 1024 * 1024, segmentMs: 7 * 24 * 3600 * 1000 };

/** One change of an append set. All changes of a set are durable together or not at all (log.md G4). */
export type SetEntry =
  | {
      kind: 'append';
      log: Log;
      bytes: Buffer;
      at: number;
      length: number;
      extent: number;
      /** Largest timestamp in the bytes, -1 for none. */
      maxTimestamp: number;
    }
  | { kind: 'create'; log: Log }
  | { kind: 'remove'; log: Log }
  | { kind: 'trim'; log: Log; position: number }
  | { kind: 'epoch'; log: Log; epoch: number }
  | { kind: 'durability'; log: Log; durability: Durability };

/** Judged when the set is sequenced; if one does not hold nothing is applied. */
export interface Precondition {
  log: Log;
  nextPosition?: number;
  epoch?: number;
}

export interface CommitWaiter {
  /** What it waited for is durable (or, for `os`, written). */
  committed(): void;
  failed(error: HadronError): void;
}

/** Counters for metrics: plain numbers, read when somebody asks. */
export interface ShardStats {
  appends: number;
  appendedBytes: number;
  directBytes: number;
  writes: number;
  syncs: number;
  /** Frames released by syncs: divided by `syncs`, the group size. */
  syncedFrames: number;
  /** Called with the duration of each sync, in milliseconds. */
  onSync: ((ms: number) => void) | undefined;
  checkpoints: number;
  checkpointMs: number;
  tailReads: number;
  fileReads: number;
}

interface Wait {
  lsn: number;
  waiter: CommitWaiter;
}

/** First in, first out; LSNs never fall. */
class WaitQueue {
  private items: (Wait | undefined)[] = [];
  private head = 0;
  private lastLsn = 0;

  push(lsn: number, waiter: CommitWaiter): void {
    if (lsn < this.lastLsn) lsn = this.lastLsn;
    this.lastLsn = lsn;
    this.items.push({ lsn, waiter });
  }

  release(lsn: number): void {
    while (this.head < this.items.length) {
      const w = this.items[this.head] as Wait;
      if (w.lsn > lsn) break;
      this.items[this.head++] = undefined;
      w.waiter.committed();
    }
    if (this.head === this.items.length) {
      this.items.length = 0;
      this.head = 0;
    } else if (this.head > 4096) {
      this.items.splice(0, this.head);
      this.head = 0;
    }
  }

  fail(error: HadronError): void {
    const rest = this.items.splice(this.head);
    this.items = [];
    this.head = 0;
    for (const w of rest) w?.waiter.failed(error);
  }
}

/** Ends of a log that a sync makes durable. */
interface Reach {
  readonly log: Log;
  readonly position: number;
  readonly byte: number;
}

/** What a sync of a log's segments makes stable. */
interface StableReach {
  readonly log: Log;
  readonly position: number;
  readonly byte: number;
  readonly segments: { readonly segment: Segment; readonly bytes: number; readonly crc: number }[];
}

/** Memory the tail may take above its budget before callers are asked to wait. */
const TAIL_SLACK_BYTES = 8 * 1024 * 1024;
/** A durable log goes direct from this many times `directAtBytes` in one group. */
const DIRECT_GROUP_FACTOR = 8;
const RESERVE_WRITE_BYTES = 64 * 1024;
const FLUSH_RETRY_MS = 1000;
const SPACE_CHECK_MS = 500;
const SPACE_RETRY_MS = 1000;

export class Shard {
  readonly logs = new Map<LogId, Log>();
  readonly settings: ShardSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fs: FileSystem;
  readonly directory: string;
  readonly pool: SlabPool;
  readonly tail: TailCache;
  readonly files: SegmentFiles;
  readonly sabotage: Sabotage;
  readonly stats: ShardStats = {
    appends: 0,
    appendedBytes: 0,
    directBytes: 0,
    writes: 0,
    syncs: 0,
    syncedFrames: 0,
    onSync: undefined,
    checkpoints: 0,
    checkpointMs: 0,
    tailReads: 0,
    fileReads: 0,
  };
  /** How the shard was found: what recovery did, for the log and `readyz`. */
  recovered!: Recovered;

  writtenLsn: number;
  syncedLsn: number;
  nextLogId: number;
  /** Direct bytes since the last checkpoint: recovery reads and writes them again. */
  directOutstandingBytes = 0;

  /** @internal */ readonly commit: CommitLog;
  /** @internal */ readonly observer: LogObserver | undefined;
  /** @internal */ readonly checkpointer: Checkpointer;
  private readonly onFailure: ((error: HadronError) => void) | undefined;
  /** @internal */ readonly random: Random;
  /** Called after high watermarks moved, once for all of a commit: the place to answer long polls. */
  onSettled: (() => void) | undefined;
  /** Told when the first bytes of a segment come. */
  readonly onRoll = new Set<(log: Log) => void>();
  /** Told when a checkpoint is durable. */
  readonly onCheckpoint = new Set<() => void>();
  private failure: HadronError | undefined;
  private closed = false;
  private refusal: HadronError | undefined;
  private lastSpaceCheck = Number.NEGATIVE_INFINITY;
  private spaceTimer: Timer | undefined;

  private pumpScheduled = false;
  private writing = false;
  private syncing = false;
  private stagedOs = false;
  private needSync = false;
  private staged: Log[] = [];
  /** Logs whose segments the sync of the staged frames must cover, `os` or not. */
  private stagedStrict: Log[] = [];
  /** Of sets that must be synced and concern an `os` log, the first and the last not known to be: what lies behind rests on them. */
  private strictOsFirst = 0;
  private strictOsLast = 0;
  /** Logs with written frames that no sync covers yet. */
  private written: Log[] = [];
  /** Logs whose segments the next sync covers too. */
  private directs: Log[] = [];
  private readonly writeWaits = new WaitQueue();
  private readonly syncWaits = new WaitQueue();
  private reliefWaits: (() => void)[] = [];
  private framesWritten = 0;
  /** @internal segments whose index was loaded from disk, oldest first */ readonly indexed: Segment[] = [];
  private readonly wantFlush: Log[] = [];
  /** @internal */ readonly snapshots = new Map<LogId, SnapshotState>();
  private flushes = 0;
  private flushRetry: Timer | undefined;
  /** Work under way that changes files, and who waits for the end of it. */
  private flights = 0;
  private landings: (() => void)[] = [];
  private closing = false;
  private opened = false;

  /**
   * Opens the shard in `directory`, recovering what is there, ready to append.
   * @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER; FsError when the disk does not work
   */
  static async open(options: ShardOptions): Promise<Shard> {
    const settings = { ...defaultShardSettings, ...options.settings };
    const shard = new Shard(options, settings);
    try {
      await recover(shard, options);
    } catch (error) {
      await shard.landed();
      shard.abandon();
      throw error;
    }
    shard.opened = true;
    void shard.flight(() => shard.keepReserve());
    return shard;
  }

  private constructor(options: ShardOptions, settings: ShardSettings) {
    this.settings = settings;
    this.fs = options.fs;
    this.clock = options.clock;
    this.random = options.random;
    this.logger = options.logger;
    this.directory = options.directory;
    this.observer = options.observer;
    this.onFailure = options.onFailure;
    this.sabotage = options.sabotage ?? {};
    this.pool = new SlabPool(settings.slabBytes);
    this.tail = new TailCache(this.pool, settings.tailCacheBytes);
    this.files = new SegmentFiles(options.fs, `${options.directory}/segments`, settings.openFilesMax);
    this.commit = new CommitLog({
      fs: options.fs,
      directory: `${options.directory}/commit`,
      fileBytes: settings.commitFileBytes,
      random: this.random,
      wallMs: () => this.clock.wallMs(),
    });
    this.writtenLsn = 0;
    this.syncedLsn = 0;
    this.nextLogId = 1;
    this.checkpointer = new Checkpointer(this);
  }

  /** LSN of the last change, durable or not. */
  get stagedLsn(): number {
    return this.commit.lastLsn;
  }

  /** Why appends of data are refused now, or undefined. Control changes and reads go on. */
  get refusing(): HadronError | undefined {
    return this.failure ?? this.refusal ?? this.backlogRefusal();
  }

  /** The commit log is full and checkpoints cannot be written: waiting would not help, so data is refused. */
  private backlogRefusal(): HadronError | undefined {
    if (!this.checkpointer.isRefused || !this.congested) return undefined;
    return new HadronError(
      'STORAGE_FULL',
      'the disk does not take checkpoints and the commit log is full; make room or mend the disk, it is tried again every second',
    );
  }

  /** The failure that ended this shard, or undefined. */
  get failed(): HadronError | undefined {
    return this.failure;
  }

  /** Too much is staged or uncheckpointed: callers stop reading input until {@link onRelief}. */
  get congested(): boolean {
    return (
      this.commit.outstandingBytes + this.directOutstandingBytes > this.settings.slowAtBytes ||
      this.commit.stagedBytes > 16 * 1024 * 1024 ||
      this.tail.bytes > this.settings.tailCacheBytes + TAIL_SLACK_BYTES
    );
  }

  /** Calls `fn` once when the shard is not congested any more (or has failed). */
  onRelief(fn: () => void): void {
    this.reliefWaits.push(fn);
  }

  // ---------------------------------------------------------------------------------------------------------- changes

  /** A log to be created by a set's `create` entry. Its id is taken for good. */
  newLog(spec: NewLog): Log {
    const start = spec.startPosition ?? 0;
    const epochs: EpochStart[] = [{ epoch: spec.epoch ?? 0, start }];
    return new Log(
      this.nextLogId++ as LogId,
      spec.format,
      spec.name,
      spec.durability ?? 'fsync',
      start,
      epochs,
      spec.options ?? { ...defaultLogOptions },
    );
  }

  /**
   * Appends one unit run to one log: the produce path.
   * @returns the LSN; wait for it with {@link when}
   * @throws HadronError STORAGE_FULL, STORAGE_FAILED, STORAGE_CLOSED: nothing happened
   */
  append(log: Log, bytes: Buffer, at: number, length: number, extent: number, maxTimestamp: number): number {
    this.guard(true);
    assert(!log.removed && extent > 0 && length > 0, 'an append carries something, to a log that is there');
    const os = log.durability === 'os';
    const direct = this.goesDirect(log, length);
    this.begin(1, direct ? 0 : length);
    this.stageAppend(log, bytes, at, length, extent, maxTimestamp, direct, os);
    const lsn = this.commit.end(this.syncedLsn);
    log.lastLsn = lsn;
    if (log.dirtySinceLsn === 0) log.dirtySinceLsn = lsn;
    if (os) this.stagedOs = true;
    else this.needSync = true;
    this.schedule();
    return lsn;
  }

  /**
   * Applies a set: all of it or nothing, now and after any crash.
   * @param control allowed while data is refused for lack of space (deletes, trims, state logs)
   * @throws HadronError PRECONDITION_FAILED, STORAGE_FULL, STORAGE_FAILED, STORAGE_CLOSED: nothing happened
   */
  appendSet(
    entries: readonly SetEntry[],
    options: { preconditions?: readonly Precondition[]; control?: boolean } = {},
  ): number {
    this.guard(options.control !== true);
    for (const p of options.preconditions ?? []) {
      if (p.nextPosition !== undefined && p.nextPosition !== p.log.nextPosition) {
        throw new HadronError(
          'PRECONDITION_FAILED',
          `${p.log.name} is at position ${p.log.nextPosition}, not ${p.nextPosition}; read on and try again`,
        );
      }
      if (p.epoch !== undefined && p.epoch !== p.log.epoch) {
        throw new HadronError(
          'PRECONDITION_FAILED',
          `${p.log.name} is in leader epoch ${p.log.epoch}, not ${p.epoch}; refresh and try again`,
        );
      }
      if (p.log.removed) throw new HadronError('PRECONDITION_FAILED', `${p.log.name} was removed`);
    }
    let body = 0;
    let strict = false;
    // Judged for the whole set, before anything is staged.
    const direct: boolean[] = [];
    for (const e of entries) {
      assert(!e.log.removed, `${e.log.name} was not removed before this set`);
      if (e.kind === 'append') {
        assert(e.extent > 0 && e.length > 0, `an append to ${e.log.name} carries something`);
        const d = this.goesDirect(e.log, e.length);
        direct.push(d);
        if (!d) body += e.length;
        if (e.log.durability !== 'os') strict = true;
      } else {
        direct.push(false);
        strict = true;
        if (e.kind === 'create') body += Buffer.byteLength(e.log.name);
      }
    }
    assert(entries.length > 0, 'a set is not empty');
    if (this.sabotage.applyHalfSet === true && entries.length > 1) {
      return Math.max(...entries.map((e) => this.appendSet([e], { control: true })));
    }
    if (entries.length > 1) strict = true;
    this.begin(entries.length, body);
    for (let i = 0; i < entries.length; i++) {
      const e = entries[i] as SetEntry;
      if (e.kind === 'append') {
        this.stageAppend(e.log, e.bytes, e.at, e.length, e.extent, e.maxTimestamp, direct[i] as boolean, !strict);
      } else this.stageControl(e);
    }
    const lsn = this.commit.end(this.syncedLsn);
    for (const e of entries) {
      const log = e.log;
      log.lastLsn = lsn;
      if (log.dirtySinceLsn === 0) log.dirtySinceLsn = lsn;
      // Direct bytes of an `os` log that were never synced could cost it this set after a crash: sync them with it.
      if (strict && log.durability === 'os') {
        log.strictLsn = lsn;
        if (this.strictOsFirst <= this.syncedLsn) this.strictOsFirst = lsn;
        this.strictOsLast = lsn;
        this.stagedStrict.push(log);
      } else if (e.kind === 'durability') {
        this.stagedStrict.push(log);
        if (e.durability === 'os') this.when(lsn, 'fsync', becomeLax(log));
      }
      if (e.kind === 'remove')
        this.when(lsn, 'fsync', { committed: () => this.finishRemove(log), failed: () => undefined });
      if (e.kind === 'trim') {
        const { position } = e;
        this.when(lsn, 'fsync', { committed: () => this.finishTrim(log, position), failed: () => undefined });
      }
    }
    if (strict) this.needSync = true;
    else this.stagedOs = true;
    this.schedule();
    return lsn;
  }

  /** Whether an answer that rests on `lsn` may leave now. Else it waits with {@link when}. */
  isAnswerable(lsn: number, durability: Durability): boolean {
    return lsn <= (durability === 'os' ? this.answerableLsn : this.syncedLsn);
  }

  /** Tells `waiter` when everything up to `lsn` is durable (`fsync`) or written (`os`). Never before this call returns. */
  when(lsn: number, durability: Durability, waiter: CommitWaiter): void {
    if (this.failure !== undefined && !this.isAnswerable(lsn, durability)) {
      const error = this.failure;
      this.clock.defer(() => waiter.failed(error));
      return;
    }
    if (durability === 'os') {
      if (lsn <= this.answerableLsn) this.clock.defer(() => waiter.committed());
      else this.writeWaits.push(lsn, waiter);
    } else if (lsn <= this.syncedLsn) {
      this.clock.defer(() => waiter.committed());
    } else {
      this.syncWaits.push(lsn, waiter);
      if (!this.needSync) {
        this.needSync = true;
        this.schedule();
      }
    }
  }

  /**
   * Appends to `os` logs are answered up to here: written, and not behind a set that must be durable first. A leader
   * epoch that a crash forgets would be given twice (G6).
   */
  private get answerableLsn(): number {
    if (this.strictOsLast <= this.syncedLsn) return this.writtenLsn;
    return Math.min(this.writtenLsn, Math.max(this.syncedLsn, this.strictOsFirst - 1));
  }

  /** Whether everything up to `lsn` is durable. */
  isDurable(lsn: number): boolean {
    return lsn <= this.syncedLsn;
  }

  /** Resolves when everything staged so far is durable. */
  barrier(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.when(this.commit.lastLsn, 'fsync', { committed: resolve, failed: reject });
    });
  }

  /** @internal As {@link barrier}, also for bytes of these `os` logs that went straight to their segments. */
  barrierWith(osLogs: readonly Log[]): Promise<void> {
    if (osLogs.length > 0) {
      this.stagedStrict.push(...osLogs);
      this.mark(EntryKind.mark);
    }
    return this.barrier();
  }

  /** The newest snapshot's place, and the bytes between it and the log's end follow from {@link Log.visiblePosition}. */
  registerSnapshots(source: SnapshotSource): void {
    const known = this.snapshots.get(source.log.id);
    if (known !== undefined) known.source = source;
    else
      this.snapshots.set(source.log.id, {
        source,
        position: source.log.startPosition,
        file: '',
        bytes: 0,
        atByte: source.log.nextByte,
      });
  }

  /** @internal a frame without content: it carries the durable LSN, or says that nothing follows */
  mark(kind: typeof EntryKind.mark | typeof EntryKind.cleanStop): void {
    this.begin(1, 0);
    writeEntry(this.commit.buffer, this.commit.nextEntry(), kind, 0, 0, 0, 0, 0, 0, 0, 0);
    this.commit.end(this.syncedLsn);
    this.needSync = true;
    this.schedule();
  }

  /** Starts a checkpoint if none runs; resolves when it is done. */
  checkpoint(): Promise<void> {
    return this.checkpointer.run();
  }

  /**
   * Ends in order: what is staged becomes durable, then a clean-stop frame. No checkpoint (G13).
   * @throws nothing: a failing disk is logged, and the next start recovers
   */
  async close(): Promise<void> {
    if (this.closed || this.closing) return;
    this.closing = true;
    if (this.failure === undefined) {
      try {
        await this.checkpointer.idle();
        this.mark(EntryKind.cleanStop);
        await this.barrier();
      } catch (error) {
        this.logger.error({ err: String(error) }, 'the last sync failed; the next start recovers');
      }
    }
    await this.landed();
    this.abandon();
  }

  /** Lets go of everything at once: after a failure, when the successor has taken over. */
  abandon(): void {
    if (this.closed) return;
    this.closed = true;
    this.spaceTimer?.cancel();
    this.flushRetry?.cancel();
    this.checkpointer.stop();
    this.failure ??= new HadronError('STORAGE_CLOSED', 'the server is shutting down; try again when it is back');
    this.writeWaits.fail(this.failure);
    this.syncWaits.fail(this.failure);
    this.commit.close();
    this.files.close();
    for (const log of this.logs.values()) this.tail.dropAll(log);
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** Background work ends soon: the shard is over or about to be. */
  get isEnding(): boolean {
    return this.closing || this.closed || this.failure !== undefined;
  }

  /** Begins a frame. @throws HadronError STORAGE_FAILED when the disk refuses a new commit file: the shard is over */
  private begin(entries: number, bodyBytes: number): void {
    try {
      this.commit.begin(entries, bodyBytes);
    } catch (error) {
      throw (error as FsError).code === undefined ? error : this.fail(error as FsError);
    }
  }

  /** @internal Work that changes files goes through here, so that a successor opens the folder only when it has ended. */
  async flight<T>(work: () => Promise<T>): Promise<T> {
    this.flights++;
    try {
      return await work();
    } finally {
      if (--this.flights === 0) for (const landed of this.landings.splice(0)) landed();
    }
  }

  /** Resolves when no work that changes files is under way. */
  private landed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.flights === 0) resolve();
      else this.landings.push(resolve);
    });
  }

  private guard(data: boolean): void {
    if (this.failure !== undefined) throw this.failure;
    if (!data) return;
    if (this.refusal !== undefined) throw this.refusal;
    if (this.checkpointer.isRefused) {
      const backlog = this.backlogRefusal();
      if (backlog !== undefined) throw backlog;
    }
  }

  /**
   * From how many bytes in one group commit the next appends of a log go straight to its segment; a log that does so
   * stays with it down to a quarter (log.md G3).
   *
   * Two files to sync for one group cost more than writing small appends twice. Measured with 16 KiB batches, 256 KiB a
   * group: durable 185 MB/s and 3.3 CPU-s/GB through the commit log, 98 MB/s and 5.3 with direct appends. Where nothing
   * waits for a sync, writing once wins: `os` 521 MB/s and 1.6 CPU-s/GB direct, 305 MB/s and 3.1 through the commit log.
   */
  private directGroupBytes(log: Log): number {
    const enter = this.settings.directAtBytes * (log.durability === 'os' ? 1 : DIRECT_GROUP_FACTOR);
    return log.direct ? enter / 4 : enter;
  }

  private goesDirect(log: Log, length: number): boolean {
    return (log.direct || length >= this.settings.directAtBytes) && !log.removed;
  }

  private stageAppend(
    log: Log,
    bytes: Buffer,
    at: number,
    length: number,
    extent: number,
    maxTimestamp: number,
    direct: boolean,
    os: boolean,
  ): void {
    const position = log.nextPosition;
    let segment = log.segments.length === 0 ? undefined : (log.segments[log.segments.length - 1] as Segment);
    let flags = os ? EntryFlag.os : 0;
    if (segment === undefined || this.mustRoll(log, segment, length)) {
      segment = this.rollSegment(log);
      flags |= EntryFlag.roll;
    } else if (segment.bytes === 0) {
      // Begun by seal(): recovery learns of it with its first bytes.
      segment.createdMs = this.clock.wallMs();
      flags |= EntryFlag.roll;
      for (const fn of this.onRoll) fn(log);
    }
    const chunk = this.tail.room(log, length, (flags & EntryFlag.roll) !== 0);
    const to = chunk.used;
    const memory = chunk.piece.buffer;
    bytes.copy(memory, to, at, at + length);
    log.format.place(memory, to, length, position, log.epoch);
    this.tail.filled(chunk, position, length);

    const entry = this.commit.nextEntry();
    if (direct) {
      const crc = crc32c(memory, to, to + length);
      writeEntry(
        this.commit.buffer,
        entry,
        EntryKind.reference,
        flags,
        0,
        log.id,
        position,
        extent,
        length,
        segment.bytes,
        crc,
      );
      log.stagedDirect = true;
      if (!os) log.stagedSync = true;
      this.directOutstandingBytes += length;
      this.stats.directBytes += length;
    } else {
      writeEntry(this.commit.buffer, entry, EntryKind.append, flags, 0, log.id, position, extent, length, 0, 0);
      this.commit.body(memory, to, to + length);
    }
    noteAppend(log, segment, position, extent, length, maxTimestamp, this.settings.indexIntervalBytes);
    log.stagedBytes += length;
    if (!log.staged) {
      log.staged = true;
      this.staged.push(log);
    }
    this.stats.appends++;
    this.stats.appendedBytes += length;
  }

  private stageControl(e: Exclude<SetEntry, { kind: 'append' }>): void {
    const log = e.log;
    const b = this.commit.buffer;
    const at = this.commit.nextEntry();
    switch (e.kind) {
      case 'create': {
        assert(!this.logs.has(log.id), 'a log is created once');
        const name = Buffer.from(log.name);
        const flags = log.durability === 'os' ? EntryFlag.os : 0;
        writeEntry(
          b,
          at,
          EntryKind.create,
          flags,
          log.format.id,
          log.id,
          log.startPosition,
          log.epoch,
          name.length,
          0,
          0,
        );
        this.commit.body(name, 0, name.length);
        this.logs.set(log.id, log);
        break;
      }
      case 'remove':
        writeEntry(b, at, EntryKind.remove, 0, 0, log.id, 0, 0, 0, 0, 0);
        log.removed = true;
        break;
      case 'trim':
        assert(e.position <= log.visiblePosition, 'only visible positions are trimmed');
        writeEntry(b, at, EntryKind.trim, 0, 0, log.id, e.position, 0, 0, 0, 0);
        break;
      case 'epoch':
        assert(e.epoch > log.epoch, 'leader epochs only grow');
        writeEntry(b, at, EntryKind.epoch, 0, 0, log.id, log.nextPosition, e.epoch, 0, 0, 0);
        log.epochs.push({ epoch: e.epoch, start: log.nextPosition });
        break;
      case 'durability':
        writeEntry(b, at, EntryKind.durability, e.durability === 'os' ? EntryFlag.os : 0, 0, log.id, 0, 0, 0, 0, 0);
        // Stricter at once; laxer when that is durable: else a crash forgets that the log may lose its end (G6).
        log.durabilityChanges++;
        if (e.durability === 'fsync') log.durability = 'fsync';
        break;
    }
  }

  private mustRoll(log: Log, segment: Segment, length: number): boolean {
    if (segment.bytes === 0) return false;
    return (
      segment.bytes + length > log.options.segmentBytes ||
      this.clock.wallMs() - segment.createdMs >= log.options.segmentMs ||
      log.rollNext ||
      segment.version > 0 // compacted, and last since a restart
    );
  }

  /** @internal */
  rollSegment(log: Log): Segment {
    const segment = new Segment(log.nextPosition, log.nextByte, this.clock.wallMs());
    log.segments.push(segment);
    log.rollNext = false;
    for (const fn of this.onRoll) fn(log);
    return segment;
  }

  /** Ends the active segment now, so that it may be trimmed or compacted though nobody appends. */
  seal(log: Log): void {
    if (!log.removed && (log.segments.at(-1)?.bytes ?? 0) > 0) this.rollSegment(log);
  }

  // --------------------------------------------------------------------------------------------------- write and sync

  private schedule(): void {
    if (this.pumpScheduled || this.failure !== undefined) return;
    this.pumpScheduled = true;
    this.clock.defer(this.pumpDeferred);
  }

  private readonly pumpDeferred = (): void => {
    this.pumpScheduled = false;
    this.pump();
  };

  /** Writes what is staged and starts the next sync, as far as neither is under way. */
  private pump(): void {
    if (this.failure !== undefined || this.closed) return;
    if (!this.writing && this.commit.lastLsn > this.writtenLsn && (this.stagedOs || !this.syncing)) this.write();
    if (!this.writing && !this.syncing && this.needSync && this.failure === undefined) this.startSync();
  }

  private write(): void {
    const logs = this.staged;
    const strict = this.stagedStrict;
    let directBytes = 0;
    for (const log of logs) {
      // A background flush owns the segment file of this log: its end calls pump() again.
      if (log.stagedDirect && log.flushing) return;
      if (log.stagedDirect) directBytes += log.nextByte - log.flushedByte;
    }
    const lsn = this.commit.lastLsn;
    const frames = lsn - this.writtenLsn;
    const directs: Reach[] = [];
    for (const log of logs) {
      log.writtenPosition = log.nextPosition;
      log.writtenByte = log.nextByte;
      if (log.stagedDirect) directs.push({ log, position: log.nextPosition, byte: log.nextByte });
      log.direct = log.stagedBytes >= this.directGroupBytes(log);
      if (log.stagedSync) strict.push(log);
      log.stagedBytes = 0;
      log.stagedSync = false;
      log.stagedDirect = false;
      log.staged = false;
    }
    this.staged = [];
    if (strict.length > 0) this.stagedStrict = [];
    this.stagedOs = false;
    this.stats.writes++;
    const pooled = directBytes >= this.settings.pooledWriteBytes;
    try {
      this.commit.writeStaged();
      if (!pooled) {
        for (const d of directs) if (!d.log.removed) flushSync(this.files, d.log, d.byte, d.position);
      }
    } catch (error) {
      this.fail(error as FsError);
      return;
    }
    if (!pooled) {
      this.afterWrite(lsn, frames, logs, strict);
      return;
    }
    this.writing = true;
    void this.flight(() => this.flushDirects(directs)).then(
      () => {
        this.writing = false;
        this.afterWrite(lsn, frames, logs, strict);
        this.pump();
      },
      (error: unknown) => void this.fail(error as FsError),
    );
  }

  /** @throws FsError when all have ended and one has failed */
  private async flushDirects(directs: readonly Reach[]): Promise<void> {
    const flushes = directs.map(async ({ log, byte, position }) => {
      if (log.removed) return;
      log.flushing = true;
      try {
        await flush(this.files, log, byte, position);
      } finally {
        log.flushing = false;
      }
    });
    for (const end of await Promise.allSettled(flushes)) if (end.status === 'rejected') throw end.reason;
  }

  private afterWrite(lsn: number, frames: number, logs: readonly Log[], strict: readonly Log[]): void {
    if (this.failure !== undefined) return;
    this.writtenLsn = lsn;
    this.framesWritten += frames;
    for (const log of strict) this.syncToo(log);
    for (const log of logs) {
      if (log.removed) continue;
      if (!log.inWritten) {
        log.inWritten = true;
        this.written.push(log);
      }
      if (log.durability === 'os' && log.strictLsn <= this.syncedLsn && log.writtenPosition > log.visiblePosition) {
        this.show(log, log.writtenPosition, log.writtenByte);
        log.onAdvance?.(log);
      }
    }
    if (this.sabotage.ackBeforeSync === true) this.settle(lsn, this.takeWritten());
    this.writeWaits.release(this.answerableLsn);
    this.onSettled?.();
    this.checkSpace();
    // Where nobody waits for a sync, nobody else would look after memory and commit log.
    if (!this.needSync && !this.syncing) this.keepHouse();
  }

  /** The next sync covers the segments of this log as well. */
  private syncToo(log: Log): void {
    if (log.inDirect) return;
    log.inDirect = true;
    this.directs.push(log);
  }

  private takeWritten(): Reach[] {
    const reach: Reach[] = [];
    for (const log of this.written) {
      log.inWritten = false;
      reach.push({ log, position: log.writtenPosition, byte: log.writtenByte });
    }
    this.written = [];
    return reach;
  }

  private startSync(): void {
    const lsn = this.writtenLsn;
    if (lsn === this.syncedLsn) {
      // Everything written is durable. What is staged could not be written yet and keeps the wish alive.
      if (this.commit.lastLsn === lsn) this.needSync = false;
      return;
    }
    this.syncing = true;
    this.needSync = this.commit.lastLsn > lsn;
    const reach = this.takeWritten();
    const frames = this.framesWritten;
    this.framesWritten = 0;
    const files: OpenFile[] = [];
    const release: (() => void)[] = [];
    const stable: StableReach[] = [];
    this.commit.takeUnsynced(files);
    try {
      for (const log of this.directs) {
        log.inDirect = false;
        if (log.removed) continue;
        const segments = [];
        for (const segment of log.segments) {
          if (segment.fileBytes === segment.stableBytes) continue;
          const opened = this.files.acquireSync(log, segment);
          release.push(() => this.files.done(opened));
          if (this.sabotage.missingDirectHalf !== true) files.push(opened.file);
          segments.push({ segment, bytes: segment.fileBytes, crc: segment.fileCrc });
        }
        // While a background flush goes on, the file's end is no append's end: it is synced here, and named stable later.
        if (!log.flushing) stable.push({ log, position: log.flushedPosition, byte: log.flushedByte, segments });
      }
    } catch (error) {
      for (const fn of release) fn();
      this.fail(error as FsError);
      return;
    }
    this.directs = [];
    const startedMs = this.clock.monotonicMs();
    let pending = 1;
    const done = (error: FsError | undefined): void => {
      if (--pending === 0) for (const fn of release) fn();
      if (this.failure !== undefined || this.closed) return;
      if (error !== undefined) {
        this.fail(error);
        return;
      }
      if (pending > 0) return;
      this.syncing = false;
      this.stats.syncs++;
      this.stats.syncedFrames += frames;
      this.stats.onSync?.(this.clock.monotonicMs() - startedMs);
      for (const s of stable) markStable(s);
      this.commit.synced();
      this.settle(lsn, reach);
      this.pump();
      this.keepHouse();
    };
    if (this.sabotage.skipDirectorySync !== true) {
      if (this.commit.directoryUnsynced) {
        pending++;
        this.commit.directoryUnsynced = false;
        this.fs.syncDir(`${this.directory}/commit`, done);
      }
      const { created } = this.files;
      if (release.length > 0 && created !== this.files.createdDurable) {
        pending++;
        this.fs.syncDir(this.files.directory, (error) => {
          if (error === undefined) this.files.entriesDurable(created);
          done(error);
        });
      }
    }
    for (const f of files) {
      pending++;
      f.datasync(done);
    }
    if (--pending === 0) {
      pending = 1;
      this.clock.defer(() => done(undefined));
    }
  }

  /** Frames up to `lsn` are durable: high watermarks first, then the answers. */
  private settle(lsn: number, reach: readonly Reach[]): void {
    if (lsn > this.syncedLsn) this.syncedLsn = lsn;
    // All logs of a set move before anybody is told of one (G4).
    for (const { log, position, byte } of reach) {
      if (log.removed || position <= log.durablePosition) continue;
      assert(position <= log.nextPosition, 'durable ≤ next');
      log.durablePosition = position;
      log.durableByte = byte;
      if (position > log.visiblePosition) this.show(log, position, byte);
    }
    for (const { log } of reach) log.onAdvance?.(log);
    this.writeWaits.release(this.answerableLsn);
    this.syncWaits.release(lsn);
    this.onSettled?.();
  }

  private show(log: Log, position: number, byte: number): void {
    assert(position >= log.visiblePosition && position <= log.nextPosition, 'the high watermark never regresses');
    log.visiblePosition = position;
    log.visibleByte = byte;
  }

  private readonly flushForRoom = (log: Log): void => this.flushSoon(log);

  /** After every commit: memory within its budget, a checkpoint when one is due, and whoever waits for either goes on. */
  private keepHouse(): void {
    this.tail.shrink(this.flushForRoom);
    const outstanding = this.commit.outstandingBytes + this.directOutstandingBytes;
    // Where callers wait for a checkpoint one is made, whatever the settings say.
    const { checkpointAtBytes, slowAtBytes } = this.settings;
    if (outstanding >= Math.min(checkpointAtBytes, slowAtBytes) && !this.closing) this.checkpointer.start();
    if (this.reliefWaits.length === 0 || (this.congested && this.failure === undefined)) return;
    const waits = this.reliefWaits;
    this.reliefWaits = [];
    for (const fn of waits) fn();
  }

  /** @internal A checkpoint or flush has ended. While all callers wait no commit comes by, so that it must look after them. */
  relieve(): void {
    if (this.reliefWaits.length > 0) this.keepHouse();
  }

  // --------------------------------------------------------------------------------------------------------- segments

  /** Writes visible tail bytes to the segment in the background, so that the cache may let them go. */
  private flushSoon(log: Log): void {
    if (log.flushing || log.wantsFlush || log.removed || log.visibleByte <= log.flushedByte) return;
    if (this.closing || this.flushRetry !== undefined) return;
    log.wantsFlush = true;
    this.wantFlush.push(log);
    this.flushNext();
  }

  private flushNext(): void {
    while (this.flushes < 2 && this.wantFlush.length > 0) {
      const log = this.wantFlush.shift() as Log;
      log.wantsFlush = false;
      if (log.flushing || log.removed || log.stagedDirect) continue;
      this.flushes++;
      void this.flight(() => this.flushVisible(log))
        .catch((error: unknown) => {
          // A full disk: not again at once.
          this.flushRetry ??= this.clock.setTimer(FLUSH_RETRY_MS, () => {
            this.flushRetry = undefined;
            if (this.failure === undefined && !this.closed) this.tail.shrink(this.flushForRoom);
          });
          this.logger.warn(
            { log: log.name, err: String(error) },
            'a segment could not be written; its bytes stay in memory and in the commit log',
          );
        })
        .finally(() => {
          this.flushes--;
          if (this.failure !== undefined || this.closed) return;
          this.tail.shrink(this.flushForRoom);
          this.relieve();
          this.flushNext();
        });
    }
  }

  /** @internal Brings the segment files up to the visible end. Not synced. @throws FsError */
  async flushVisible(log: Log): Promise<void> {
    while (log.flushing) await new Promise<void>((resolve) => this.clock.defer(resolve));
    if (log.removed || log.visibleByte <= log.flushedByte || this.failure !== undefined) return;
    log.flushing = true;
    try {
      await flush(this.files, log, log.visibleByte, log.visiblePosition);
    } finally {
      log.flushing = false;
      this.schedule();
    }
    this.relieve();
  }

  /** @internal Syncs the segments of a log that have unsynced bytes; then they are stable. @throws FsError */
  async syncSegments(log: Log): Promise<void> {
    while (log.flushing) await new Promise<void>((resolve) => this.clock.defer(resolve));
    const reach: StableReach = { log, position: log.flushedPosition, byte: log.flushedByte, segments: [] };
    for (const segment of log.segments) {
      if (segment.fileBytes !== segment.stableBytes) {
        reach.segments.push({ segment, bytes: segment.fileBytes, crc: segment.fileCrc });
      }
    }
    for (const { segment } of reach.segments) {
      // Trimmed and removed logs take their files with them, at any moment.
      const isGone = (): boolean => log.removed || !log.segments.includes(segment);
      if (isGone()) continue;
      const opened = await this.files.acquire(log, segment).catch((error: unknown) => {
        if ((error as FsError).code === 'ENOENT' && isGone()) return undefined;
        throw error;
      });
      if (opened === undefined) continue;
      try {
        await this.mustSync(datasync(opened.file));
      } finally {
        this.files.done(opened);
      }
    }
    markStable(reach);
  }

  /** @internal A failed sync ends the shard (G8). @throws HadronError STORAGE_FAILED */
  async mustSync(sync: Promise<void>): Promise<void> {
    try {
      await sync;
    } catch (error) {
      throw this.fail(error as FsError);
    }
  }

  /** @internal Makes the entries of segment files durable that were made before this call. */
  async syncSegmentsDirectory(): Promise<void> {
    const { created } = this.files;
    if (created === this.files.createdDurable || this.sabotage.skipDirectorySync === true) return;
    await this.mustSync(syncDir(this.fs, this.files.directory));
    this.files.entriesDurable(created);
  }

  /** The removal is durable: memory, descriptors and files go (log.md G9, G14). Waiting readers are told. */
  private finishRemove(log: Log): void {
    this.logs.delete(log.id);
    log.onAdvance?.(log);
    this.tail.dropAll(log);
    this.dropSegments(log, log.segments.splice(0));
  }

  /** The new start is durable: readers see it, and what lies below may go. */
  private finishTrim(log: Log, position: number): void {
    if (log.removed || position <= log.startPosition) return;
    log.startPosition = position;
    const last = log.segments.at(-1);
    if (last !== undefined && last.bytes > 0 && log.startPosition === log.nextPosition) log.rollNext = true;
    while (log.epochs.length > 1 && (log.epochs[1] as EpochStart).start <= log.startPosition) log.epochs.shift();
    log.onAdvance?.(log);
    this.dropTrimmed(log);
  }

  /**
   * @internal Whole segments below the log's start go, oldest first (G14). Those that the checkpoint does not hold yet
   * wait for it: recovery replays their frames, and producer state needs the bytes. Unless the disk is full.
   */
  dropTrimmed(log: Log): void {
    if (log.removed || this.closed || this.failure !== undefined) return;
    const limit =
      this.refusal === undefined ? Math.min(log.startPosition, log.checkpointedPosition) : log.startPosition;
    let n = 0;
    while (n < log.segments.length - 1 && (log.segments[n] as Segment).end <= limit) n++;
    if (n === 0) return;
    if (log.flushing) {
      this.clock.defer(() => this.dropTrimmed(log));
      return;
    }
    const gone = log.takeFirstSegments(n);
    log.fences = log.fences.filter((f) => f.segmentBase >= (log.segments[0] as Segment).base);
    this.tail.dropFlushed(log);
    this.dropSegments(log, gone);
  }

  /** @internal Closes and unlinks files in the background, one after the other. A failure leaves a file that the next start removes. */
  dropSegments(log: Log, segments: readonly Segment[]): void {
    if (segments.length === 0) return;
    void this.flight(async () => {
      for (const s of segments) {
        while (log.flushing) await new Promise<void>((resolve) => this.clock.defer(resolve));
        if (!s.exists || this.closed || this.failure !== undefined) continue;
        const path = this.files.path(log, s);
        this.files.forget(log, s);
        await unlink(this.fs, path);
        await unlink(this.fs, indexFileName(path));
      }
    }).catch((error: unknown) =>
      this.logger.warn({ log: log.name, err: String(error) }, 'a segment file could not be removed'),
    );
  }

  // ---------------------------------------------------------------------------------------------------------- failure

  /** Ends the shard. @returns the error that everyone gets */
  fail(cause: FsError | Error): HadronError {
    if (this.failure !== undefined) return this.failure;
    const code = (cause as FsError).code ?? '';
    const error = new HadronError(
      'STORAGE_FAILED',
      `the disk failed (${code || cause.message}); what was not acknowledged may be lost, recovery is under way, try again`,
      { cause },
    );
    this.failure = error;
    this.logger.error(
      { code, err: cause.message, directory: this.directory },
      'a write or sync failed: dropping the state in memory and recovering',
    );
    this.writeWaits.fail(error);
    this.syncWaits.fail(error);
    this.checkpointer.stop();
    this.clock.defer(() => {
      this.relieve();
      // The successor must find files that nobody writes any more.
      void this.landed().then(() => {
        if (!this.closed && this.opened) this.onFailure?.(error);
      });
    });
    return error;
  }

  /** Looks at the free space, at most twice a second, while something is written. */
  private checkSpace(): void {
    if (this.clock.monotonicMs() - this.lastSpaceCheck >= SPACE_CHECK_MS) void this.measureSpace();
  }

  /** @internal */
  measureSpace(): Promise<void> {
    this.lastSpaceCheck = this.clock.monotonicMs();
    return new Promise((resolve) => {
      if (this.settings.minFreeBytes === 0) {
        resolve();
        return;
      }
      this.fs.space(this.directory, (error, free, total) => {
        if (error === undefined && this.failure === undefined && !this.closed) this.judgeSpace(free, total);
        resolve();
      });
    });
  }

  private judgeSpace(free: number, total: number): void {
    const least = Math.min(this.settings.minFreeBytes, Math.floor(total / 100));
    if (free >= least) {
      if (this.refusal === undefined) return;
      this.refusal = undefined;
      this.commit.useReserve = false;
      this.logger.info({ freeBytes: free }, 'the disk has room again: producing is accepted');
      return;
    }
    if (this.refusal === undefined) {
      this.logger.error(
        { freeBytes: free, minFreeBytes: least },
        'the disk is nearly full: producing is refused, reading and deleting go on',
      );
    }
    this.refusal = new HadronError(
      'STORAGE_FULL',
      `only ${free} bytes are free on the disk, ${least} must be; delete topics or records, or make room`,
    );
    this.commit.useReserve = true;
    for (const log of this.logs.values()) this.dropTrimmed(log);
    this.spaceTimer?.cancel();
    this.spaceTimer = this.clock.setTimer(SPACE_RETRY_MS, () => void this.measureSpace());
  }

  /** @internal Keeps one commit file that has been written once and holds nothing, for what frees space on a full disk (G16). */
  async keepReserve(): Promise<void> {
    if (this.commit.hasSpare || this.refusing !== undefined || this.closing) return;
    const { slot, path, bytes } = this.commit.takeSlot();
    let file: OpenFile | undefined;
    try {
      file = await openFile(this.fs, path, 'create');
      const zeros = Buffer.alloc(Math.min(bytes, RESERVE_WRITE_BYTES));
      for (let at = 0; at < bytes; at += zeros.length) await writePooled(file, zeros, at);
      await datasync(file);
      await syncDir(this.fs, `${this.directory}/commit`);
      if (this.closed) file.closeSync();
      else this.commit.addSpare(slot, file);
    } catch (error) {
      file?.closeSync();
      this.logger.debug(
        { err: String(error) },
        'no room for a reserve commit file; it is tried again after a checkpoint',
      );
      if (file !== undefined && this.failure === undefined) await unlink(this.fs, path).catch(() => undefined);
    }
  }
}

/** Makes the log `os` when its change to that is durable and was the last one. */
function becomeLax(log: Log): CommitWaiter {
  const change = log.durabilityChanges;
  return {
    committed: () => {
      if (log.durabilityChanges !== change) return;
      log.durability = 'os';
      // What was staged before was promised to be synced first.
      log.strictLsn = log.lastLsn;
    },
    failed: () => undefined,
  };
}

/** Books an append into log and segment. The same on the live path and in recovery. */
export function noteAppend(
  log: Log,
  segment: Segment,
  position: number,
  extent: number,
  length: number,
  maxTimestamp: number,
  indexIntervalBytes: number,
): void {
  if (segment.sinceIndex >= indexIntervalBytes) {
    segment.index?.add(position, segment.bytes, segment.maxTimestamp);
    segment.sinceIndex = 0;
  }
  segment.sinceIndex += length;
  segment.bytes += length;
  segment.end = position + extent;
  if (maxTimestamp > segment.maxTimestamp) {
    segment.maxTimestamp = maxTimestamp;
    segment.maxTimestampAt = position;
  }
  log.nextPosition = position + extent;
  log.nextByte += length;
}

/** The segments of a log are synced as far as `reach` tells. */
function markStable(reach: StableReach): void {
  const log = reach.log;
  for (const { segment, bytes, crc } of reach.segments) {
    if (bytes <= segment.stableBytes) continue;
    segment.stableBytes = bytes;
    segment.stableCrc = crc;
  }
  if (reach.byte > log.stableByte) {
    log.stableByte = reach.byte;
    log.stablePosition = reach.position;
  }
}
