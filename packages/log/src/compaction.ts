/**
 * Compaction: of each key only the newest record stays (issue B11; log.md G14). Which logs and segments, when, and how a
 * segment is replaced is decided here; what a record is, the {@link UnitCompactor} knows (broker: compactor.ts).
 *
 *     clean                         dirty                                  not yet
 *     [ … cleaned before … )        [ cleanedTo … )                        too young · active
 *
 * One pass over a log: the newest position of each key in the dirty part goes into an {@link OffsetMap}, as far as it
 * fits; then all segments below that are written anew, without the records that have a newer one. A record behind what
 * fitted stays as it is and waits for the next pass.
 *
 * The swap, each step of which may be the last before a crash:
 *
 *   1  new file `<base>.<version + 1>`, written and synced     a crash leaves a file that nothing names: removed at start
 *   2  sync of the directory
 *   3  the segment is replaced in memory: readers see it
 *   4  checkpoint                                              before it is durable, a start finds the old segments
 *   5  old files unlinked                                      a crash leaves files that nothing names
 *
 * Positions never change: a segment keeps its base and end, a unit its own. Several small segments become one. Nothing is
 * read or written on the event loop's time, and after a few milliseconds of work others come first.
 */
import { crc32c, HadronError, type Timer } from '@hadron/base';
import { newUnit } from './format.ts';
import type { OpenFile } from './fs.ts';
import { encodeIndexBlock, encodeIndexHeader, indexFileName } from './index-file.ts';
import { type Log, Segment, SparseIndex } from './log.ts';
import { OffsetMap } from './offset-map.ts';
import { datasync, openFile, readAt, syncDir, unlink, writePooled } from './segment-files.ts';
import type { Shard } from './shard.ts';

export interface CompactionSettings {
  /** Share of dirty bytes at which a log is compacted (min.cleanable.dirty.ratio). */
  readonly dirtyRatioMin: number;
  /** The newest record of a segment is at least this old before it is touched (min.compaction.lag.ms). */
  readonly lagMinMs: number;
  /** The longest a record stays uncompacted; Infinity for no limit (max.compaction.lag.ms). */
  readonly lagMaxMs: number;
  /** How long a tombstone stays after the first pass over it (delete.retention.ms). */
  readonly deleteRetentionMs: number;
}

/** What a {@link UnitCompactor} needs to know of the pass. */
export interface CompactionPass {
  readonly log: Log;
  /** Newest positions of keys. */
  readonly map: OffsetMap;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  /** The compactor lowers it to the moment when a tombstone that it kept may go. */
  horizonMs: number;
}

/**
 * The part of compaction that knows what a record is. All bytes given to it are whole units with a good checksum.
 * HadronError CORRUPT_DATA from it means that a unit makes no sense: the log is left alone then.
 *
 * Its functions are generators that yield where others may come first: every few hundred records. The bytes stay valid
 * meanwhile, and no other unit is begun.
 */
export interface UnitCompactor {
  /**
   * Notes position and key of each record of the unit `b[at, at + length)`.
   * @param force the map must take them all
   * @returns false when the map is full. What was noted is true nevertheless.
   */
  note(b: Buffer, at: number, length: number, map: OffsetMap, force: boolean): Generator<void, boolean, void>;
  /**
   * What is left of a unit, covering the same positions: the same bytes when nothing changes, undefined when nothing is
   * left that anybody needs.
   */
  rewrite(b: Buffer, at: number, length: number, pass: CompactionPass): Generator<void, Buffer | undefined, void>;
  /** A copy of the unit without its records. A segment never becomes empty: its last unit stays like this. */
  emptied(b: Buffer, at: number, length: number): Buffer;
}

export interface CompactionOptions {
  readonly shard: Shard;
  readonly compactor: UnitCompactor;
  /** Undefined for a log that is not compacted. Asked at every look. */
  readonly settingsFor: (log: Log) => CompactionSettings | undefined;
  /** Memory for keys (log.cleaner.dedupe.buffer.size). */
  readonly keyBytesMax: number;
  /** The pause after a segment was filled (log.cleaner.backoff.ms). */
  readonly backoffMs: number;
  /** Wall-clock jumps are noticed within this time while something is due. Default five minutes. */
  readonly checkIntervalMs?: number;
}

export interface CompactionStats {
  passes: number;
  readBytes: number;
  writtenBytes: number;
}

/** With the unit under way, a window's write and garbage collection this stays near 5 ms of CPU (measured). */
const SLICE_MS = 2.5;
const PAUSE_MS = 1000;
const RETRY_MS = 60_000;
const WINDOW_BYTES = 512 * 1024;
/** Old files are unlinked after a checkpoint; one is made when this much waits for it. */
const REPLACED_BYTES_MAX = 256 * 1024 * 1024;

interface Replaced {
  readonly log: Log;
  readonly segments: readonly Segment[];
}

/** What a look at a log found. */
export interface CompactionPlan {
  readonly cleanBytes: number;
  readonly dirtyBytes: number;
  /** Sealed segments that may be compacted: `log.segments[0, sealed)`. */
  readonly sealed: number;
  /** There is enough to do, or it must be done now. */
  readonly isDue: boolean;
  /** The active segment must end now, or its records stay uncompacted too long. */
  readonly mustSeal: boolean;
  /** Wall time of the next reason to look. */
  readonly dueMs: number;
}

export class Compaction {
  readonly stats: CompactionStats = { passes: 0, readBytes: 0, writtenBytes: 0 };
  readonly #o: CompactionOptions;
  readonly #shard: Shard;
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #running = false;
  #round: Promise<void> | undefined;
  #sliceStartMs = 0;
  #replaced: Replaced[] = [];
  #replacedBytes = 0;
  /** When tombstones of a log may go; and logs that cannot be compacted because they are damaged. */
  readonly #horizons = new WeakMap<Log, number>();
  readonly #damaged = new WeakSet<Log>();

  constructor(options: CompactionOptions) {
    this.#o = options;
    this.#shard = options.shard;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#shard.onRoll.add(this.#rolled);
    this.#wakeIn(this.#o.backoffMs);
  }

  /** Ends it; a pass under way ends within a slice. */
  stop(): void {
    this.#running = false;
    this.#shard.onRoll.delete(this.#rolled);
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  /** Settings of some log are new, or logs are: look again soon. */
  settingsChanged(): void {
    this.#wakeIn(0);
  }

  /** One look at all logs, and passes over those that are due. Resolves when old files are gone. Never throws. */
  run(): Promise<void> {
    this.#round ??= this.#shard
      .flight(() => this.#runRound())
      .finally(() => {
        this.#round = undefined;
      });
    return this.#round;
  }

  async #runRound(): Promise<void> {
    const shard = this.#shard;
    if (shard.isEnding) return;
    let dueMs = Number.POSITIVE_INFINITY;
    try {
      const due: { log: Log; settings: CompactionSettings; ratio: number }[] = [];
      const nowMs = shard.clock.wallMs();
      for (const log of shard.logs.values()) {
        const settings = log.removed || this.#damaged.has(log) ? undefined : this.#o.settingsFor(log);
        if (settings === undefined) continue;
        let horizonMs = this.#horizons.get(log);
        if (horizonMs === undefined) {
          // Since a restart: there may be tombstones in what is clean, and none can be younger than this.
          horizonMs = log.cleanedTo > log.startPosition ? nowMs + settings.deleteRetentionMs : Number.POSITIVE_INFINITY;
          this.#horizons.set(log, horizonMs);
        }
        let plan = planCompaction(log, settings, nowMs, horizonMs);
        if (plan.mustSeal) {
          shard.seal(log);
          plan = planCompaction(log, settings, nowMs, horizonMs);
        }
        dueMs = Math.min(dueMs, plan.dueMs);
        if (plan.isDue) due.push({ log, settings, ratio: plan.dirtyBytes / (plan.cleanBytes + plan.dirtyBytes) });
      }
      due.sort((a, b) => b.ratio - a.ratio);
      for (const { log, settings } of due) {
        if (shard.refusing !== undefined) break; // a full disk: this needs room before it makes room
        await this.#compact(log, settings);
        const next = planCompaction(log, settings, shard.clock.wallMs(), this.#horizons.get(log));
        dueMs = Math.min(dueMs, next.isDue && !this.#damaged.has(log) ? 0 : next.dueMs);
        if (this.#replacedBytes > REPLACED_BYTES_MAX) await this.#finishSwaps();
      }
      await this.#finishSwaps();
    } catch (error) {
      if (shard.isEnding) return;
      dueMs = Math.min(dueMs, shard.clock.wallMs() + RETRY_MS);
      shard.logger.warn({ err: String(error) }, 'a log could not be compacted; it is tried again');
    }
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(dueMs - shard.clock.wallMs(), PAUSE_MS);
    this.#wakeIn(Math.min(delayMs, this.#o.checkIntervalMs ?? 300_000));
  }

  /** One pass over a log. @throws FsError, HadronError STORAGE_… */
  async #compact(log: Log, settings: CompactionSettings): Promise<void> {
    const shard = this.#shard;
    const startedMs = shard.clock.monotonicMs();
    this.#sliceStartMs = startedMs;
    // Only what is whole on stable storage is read: G14.
    await shard.flushVisible(log);
    await shard.syncSegments(log);
    await shard.syncSegmentsDirectory();
    const nowMs = shard.clock.wallMs();
    const plan = planCompaction(log, settings, nowMs, this.#horizons.get(log));
    const segments = log.segments.slice(0, plan.sealed).filter((s) => s.stableBytes === s.bytes);
    if (log.removed || segments.length === 0 || segments.length !== plan.sealed) return;
    if (log.fences.some((f) => f.from < (segments.at(-1) as Segment).end)) {
      this.#giveUp(log, 'it has damaged positions');
      return;
    }
    const before = segments.reduce((n, s) => n + s.bytes, 0);
    try {
      const records = (segments.at(-1) as Segment).end - Math.max(log.cleanedTo, (segments[0] as Segment).base);
      const map = new OffsetMap(this.#o.keyBytesMax, records);
      const mapEnd = await this.#noteKeys(log, segments, map);
      const pass: CompactionPass = {
        log,
        map,
        nowMs,
        deleteRetentionMs: settings.deleteRetentionMs,
        horizonMs: Number.POSITIVE_INFINITY,
      };
      let after = 0;
      for (let i = 0; i < segments.length && (segments[i] as Segment).base < mapEnd; ) {
        const { used, made } = await this.#rewrite(log, segments.slice(i), pass, mapEnd);
        const group = segments.slice(i, i + used);
        if (made !== undefined && !this.#swap(log, group, made)) {
          await this.#discard(log, made);
          return; // trimmed or removed meanwhile
        }
        after += (made ?? (group[0] as Segment)).bytes;
        i += used;
      }
      if (log.removed) return;
      log.cleanedTo = Math.max(log.cleanedTo, mapEnd);
      this.#horizons.set(log, pass.horizonMs);
      this.stats.passes++;
      const ms = Math.round(shard.clock.monotonicMs() - startedMs);
      shard.logger.info({ log: log.name, to: mapEnd, keys: map.size, before, after, ms }, 'compacted');
    } catch (error) {
      const isDamage = error instanceof DamagedUnit || (error instanceof HadronError && error.code === 'CORRUPT_DATA');
      if (isDamage) this.#giveUp(log, (error as Error).message);
      else throw error;
    }
  }

  #giveUp(log: Log, why: string): void {
    this.#damaged.add(log);
    this.#shard.logger.error(
      { log: log.name, why },
      'this log is damaged and is not compacted until the next start; run "hadron log verify"',
    );
  }

  /** Notes the keys of the dirty part. @returns the position behind what fitted into the map */
  async #noteKeys(log: Log, segments: readonly Segment[], map: OffsetMap): Promise<number> {
    const { compactor } = this.#o;
    let end = Math.max(log.cleanedTo, (segments[0] as Segment).base);
    let isFull = false;
    let isFirst = true;
    for (const segment of segments) {
      if (isFull || segment.end <= log.cleanedTo) continue;
      await this.#eachUnit(log, segment, function* (b, at, length, position, extent) {
        if (position + extent <= log.cleanedTo) return true;
        isFull = !(yield* compactor.note(b, at, length, map, isFirst));
        isFirst = false;
        if (!isFull) end = position + extent;
        return !isFull;
      });
      if (!isFull) end = segment.end;
    }
    return end;
  }

  /**
   * Writes the first of these segments anew, and those that follow as long as they fit into the same file.
   * @returns how many, and the new one; undefined when nothing would change
   */
  async #rewrite(
    log: Log,
    segments: readonly Segment[],
    pass: CompactionPass,
    mapEnd: number,
  ): Promise<{ used: number; made: Segment | undefined }> {
    const shard = this.#shard;
    const { compactor } = this.#o;
    const first = segments[0] as Segment;
    const made = new Segment(first.base, Number.NaN, first.createdMs);
    made.version = first.version + 1;
    made.index = undefined;
    const path = shard.files.path(log, made);
    await unlink(shard.fs, path);
    const file = await openFile(shard.fs, path, 'create');
    const out = new Output(file, shard, log);
    const flush = (): Promise<void> => out.flush();
    let changed = false;
    let used = 0;
    let lastOne: Buffer | undefined;
    try {
      for (const segment of segments) {
        if (used > 0 && (segment.base >= mapEnd || out.bytes + segment.bytes > log.options.segmentBytes)) break;
        await this.#eachUnit(
          log,
          segment,
          function* (b, at, length, position) {
            // Behind the map a record may have a newer one that nobody knows of yet.
            const left =
              position >= mapEnd ? b.subarray(at, at + length) : yield* compactor.rewrite(b, at, length, pass);
            if (left === undefined || left.length !== length || left.buffer !== b.buffer) changed = true;
            if (left !== undefined) out.add(left);
            else if (out.isEmpty) lastOne = compactor.emptied(b, at, length);
            return true;
          },
          flush,
        );
        made.end = segment.end;
        used++;
      }
      if (out.isEmpty && lastOne !== undefined) {
        out.add(lastOne);
        await out.flush();
      }
      if (!changed && used === 1) {
        await unlink(shard.fs, path);
        return { used, made: undefined };
      }
      await datasync(file);
    } catch (error) {
      await unlink(shard.fs, path).catch(() => undefined);
      throw error;
    } finally {
      out.close();
    }
    made.exists = true;
    made.bytes = made.fileBytes = made.stableBytes = out.bytes;
    made.fileCrc = made.stableCrc = out.crc;
    made.maxTimestamp = out.maxTimestamp;
    made.maxTimestampAt = out.maxTimestampAt;
    this.stats.writtenBytes += out.bytes;
    await this.#saveIndex(log, made, out.index);
    await shard.mustSync(syncDir(shard.fs, shard.files.directory));
    return { used, made };
  }

  /** A cache: unsynced, and made again where it is missing. */
  async #saveIndex(log: Log, made: Segment, index: SparseIndex): Promise<void> {
    const { fs, files, random } = this.#shard;
    const path = indexFileName(files.path(log, made));
    try {
      await unlink(fs, path);
      if (index.count === 0) return;
      const life = random.u32();
      const file = await openFile(fs, path, 'create');
      try {
        const parts = [
          encodeIndexHeader(log.id, made.base, made.version, life),
          encodeIndexBlock(index, 0, index.count, life),
        ];
        await writePooled(file, Buffer.concat(parts), 0);
      } finally {
        file.closeSync();
      }
    } catch (error) {
      this.#shard.logger.debug(
        { log: log.name, err: String(error) },
        'an index file could not be written; it can be rebuilt',
      );
    }
  }

  /** Readers see the new segment from here on. @returns false when the old ones are not all there any more */
  #swap(log: Log, group: readonly Segment[], made: Segment): boolean {
    const at = log.segments.indexOf(group[0] as Segment);
    const isWhole = at >= 0 && group.every((s, i) => log.segments[at + i] === s);
    if (log.removed || !isWhole || this.#shard.isEnding) return false;
    log.segments.splice(at, group.length, made);
    // Memory still holds what was compacted away: all of it is in files by now.
    this.#shard.tail.dropFlushed(log);
    this.#replaced.push({ log, segments: group });
    for (const s of group) this.#replacedBytes += s.bytes;
    return true;
  }

  async #discard(log: Log, made: Segment): Promise<void> {
    const { fs, files } = this.#shard;
    await unlink(fs, files.path(log, made));
    await unlink(fs, indexFileName(files.path(log, made)));
  }

  /** A checkpoint names the new segments; only then may the old files go. @throws FsError: they stay until the next one */
  async #finishSwaps(): Promise<void> {
    if (this.#replaced.length === 0 || this.#shard.isEnding) return;
    const replaced = this.#replaced;
    await this.#shard.checkpoint();
    this.#replaced = [];
    this.#replacedBytes = 0;
    for (const { log, segments } of replaced) this.#shard.dropSegments(log, segments);
  }

  /**
   * Reads a segment window by window and calls `visit` for each unit, until it says false. The bytes are valid until
   * `afterWindow` has resolved.
   */
  async #eachUnit(
    log: Log,
    segment: Segment,
    visit: (b: Buffer, at: number, length: number, position: number, extent: number) => Generator<void, boolean, void>,
    afterWindow?: () => Promise<void>,
  ): Promise<void> {
    const shard = this.#shard;
    const { format } = log;
    const u = newUnit();
    const opened = await shard.files.acquire(log, segment);
    const path = shard.files.path(log, segment);
    let at = 0;
    let window = WINDOW_BYTES;
    let next = segment.base;
    try {
      while (at < segment.bytes) {
        const want = Math.min(window, segment.bytes - at);
        const piece = shard.pool.take(want);
        try {
          const b = piece.buffer;
          const n = await readAt(opened.file, b.subarray(0, want), at);
          if (n < want) throw new DamagedUnit(`${path} ends at byte ${at + n}, ${segment.bytes} were written`);
          this.stats.readBytes += n;
          let rel = 0;
          let needed = 0;
          while (rel < n) {
            if (n - rel < format.headerBytes && at + n < segment.bytes) break;
            if (!format.scan(b, rel, n, u) || u.bytes <= 0)
              throw new DamagedUnit(`${path}: framing at byte ${at + rel}`);
            if (rel + u.bytes > n) {
              needed = u.bytes;
              if (at + rel + needed > segment.bytes) throw new DamagedUnit(`${path}: framing at byte ${at + rel}`);
              break;
            }
            const { bytes, position, extent } = u;
            const inOrder = segment.version === 0 ? position === next : position >= next;
            if (!inOrder || position + extent > segment.end)
              throw new DamagedUnit(`${path}: order of offsets at byte ${at + rel}`);
            if (!format.intact(b, rel, bytes)) throw new DamagedUnit(`${path}: checksum at byte ${at + rel}`);
            next = position + extent;
            const work = visit(b, rel, bytes, position, extent);
            let step = work.next();
            while (step.done !== true) {
              if (this.#isLong()) await this.#breathe();
              step = work.next();
            }
            if (!step.value) return;
            rel += bytes;
            if (this.#isLong()) await this.#breathe();
          }
          await afterWindow?.();
          at += rel;
          window = Math.max(WINDOW_BYTES, needed);
        } finally {
          piece.release();
        }
        await this.#breathe();
      }
    } finally {
      shard.files.done(opened);
    }
  }

  #isLong(): boolean {
    return this.#shard.clock.monotonicMs() - this.#sliceStartMs >= SLICE_MS;
  }

  /** Others come first. @throws when the shard ends, or this does */
  async #breathe(): Promise<void> {
    const { clock } = this.#shard;
    await new Promise<void>((resolve) => clock.defer(resolve));
    this.#sliceStartMs = clock.monotonicMs();
    if (this.#shard.isEnding)
      throw this.#shard.failed ?? new HadronError('STORAGE_CLOSED', 'the server is shutting down');
  }

  readonly #rolled = (log: Log): void => {
    const settings = this.#o.settingsFor(log);
    if (settings !== undefined) this.#wakeIn(Math.min(this.#o.backoffMs, settings.lagMaxMs));
  };

  #wakeIn(delayMs: number): void {
    if (!this.#running) return;
    const { clock } = this.#shard;
    const atMs = clock.monotonicMs() + delayMs;
    if (atMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = atMs;
    this.#timer = clock.setTimer(delayMs, () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      if (this.#running) void this.run();
    });
  }
}

class DamagedUnit extends Error {}

/** The new file of a group, its checksum and its index. */
class Output {
  bytes = 0;
  crc = 0;
  maxTimestamp = -1;
  maxTimestampAt = -1;
  readonly index = new SparseIndex();
  private readonly file: OpenFile;
  private readonly log: Log;
  private readonly intervalBytes: number;
  private readonly u = newUnit();
  private parts: Buffer[] = [];
  private written = 0;
  private sinceIndex = 0;

  constructor(file: OpenFile, shard: Shard, log: Log) {
    this.file = file;
    this.log = log;
    this.intervalBytes = shard.settings.indexIntervalBytes;
  }

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  add(unit: Buffer): void {
    const { u } = this;
    this.log.format.scan(unit, 0, unit.length, u);
    if (this.sinceIndex >= this.intervalBytes) {
      this.index.add(u.position, this.bytes, this.maxTimestamp);
      this.sinceIndex = 0;
    }
    if (u.maxTimestamp > this.maxTimestamp) {
      this.maxTimestamp = u.maxTimestamp;
      this.maxTimestampAt = u.position;
    }
    this.sinceIndex += unit.length;
    this.bytes += unit.length;
    this.crc = crc32c(unit, 0, unit.length, this.crc);
    this.parts.push(unit);
  }

  async flush(): Promise<void> {
    if (this.parts.length === 0) return;
    const all = this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts);
    this.parts = [];
    await writePooled(this.file, all, this.written);
    this.written += all.length;
  }

  close(): void {
    this.file.closeSync();
  }
}

/** What there is to do in a log. @param horizonMs when a tombstone of it may go, as far as known */
export function planCompaction(
  log: Log,
  settings: CompactionSettings,
  nowMs: number,
  horizonMs: number = Number.POSITIVE_INFINITY,
): CompactionPlan {
  const { segments } = log;
  let cleanBytes = 0;
  let dirtyBytes = 0;
  let dueMs = Number.POSITIVE_INFINITY;
  let isLate = false;
  let sealed = 0;
  for (; sealed < segments.length - 1; sealed++) {
    const segment = segments[sealed] as Segment;
    if (segment.end > log.durablePosition) break;
    if (settings.lagMinMs > 0 && segment.end > log.cleanedTo) {
      const newestMs = segment.maxTimestamp >= 0 ? segment.maxTimestamp : (segments[sealed + 1] as Segment).createdMs;
      if (newestMs + settings.lagMinMs > nowMs) {
        dueMs = Math.min(dueMs, newestMs + settings.lagMinMs);
        break;
      }
    }
    if (segment.end <= log.cleanedTo) cleanBytes += segment.bytes;
    else {
      dirtyBytes += segment.bytes;
      if (segment.createdMs + settings.lagMaxMs <= nowMs) isLate = true;
      else dueMs = Math.min(dueMs, segment.createdMs + settings.lagMaxMs);
    }
  }
  let mustSeal = false;
  const active = segments.at(-1);
  if (active !== undefined && active.bytes > 0 && active.end > log.cleanedTo) {
    if (active.createdMs + settings.lagMaxMs <= nowMs) mustSeal = true;
    else dueMs = Math.min(dueMs, active.createdMs + settings.lagMaxMs);
  }
  const hasTombstones = horizonMs <= nowMs && sealed > 0;
  if (horizonMs > nowMs) dueMs = Math.min(dueMs, horizonMs);
  const isDirty = dirtyBytes > 0 && dirtyBytes >= settings.dirtyRatioMin * (cleanBytes + dirtyBytes);
  return {
    cleanBytes,
    dirtyBytes,
    sealed,
    isDue: isDirty || (isLate && dirtyBytes > 0) || hasTombstones,
    mustSeal,
    dueMs,
  };
}
