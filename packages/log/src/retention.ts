/**
 * Retention: whole segments go when their newest record is older than the log's time, or when the log is larger than
 * its size (issue B11; log.md G14, G18). What goes is decided here; that the new log start is durable before a file is
 * unlinked is the shard's part (`trim` entries).
 *
 * - Time is wall time against the newest record of a segment, also right after a restart. The active segment too: it is
 *   sealed and goes when its newest record is too old, though nobody appends. So a record outlives its time by no more
 *   than `segment.ms`, the age at which a segment ends.
 * - Size counts whole segments: the oldest goes while what is left is at least the limit. Never the active one.
 * - Nothing beyond the high watermark goes, and nothing that somebody still wants (`heldFrom`).
 * - State logs lose what lies before their newest snapshot, once the checkpoint that names it is durable.
 *
 * It sleeps until the next segment is due; new segments and {@link Retention.settingsChanged} wake it. While something
 * is due at all, it also looks every `checkIntervalMs`: the wall clock may have jumped.
 */
import { HadronError, type Timer } from '@hadron/base';
import type { Log, Segment } from './log.ts';
import type { SetEntry, Shard } from './shard.ts';

export interface RetentionSettings {
  /** Milliseconds a record is kept; -1 is for ever. */
  readonly retentionMs: number;
  /** Bytes kept; -1 is no limit. */
  readonly retentionBytes: number;
  /** What lies at this position or behind it is still wanted, whatever its age and the log's size. Default: nothing is. */
  readonly heldFrom?: number | undefined;
}

export interface RetentionOptions {
  readonly shard: Shard;
  /** Undefined for a log that is never cut by time or size: a state log, or policy `compact`. Asked at every look. */
  readonly settingsFor: (log: Log) => RetentionSettings | undefined;
  /** The longest pause while something is due (log.retention.check.interval.ms). */
  readonly checkIntervalMs: number;
}

/** Looks that follow one another (a roll each second) are no closer than this. */
const PAUSE_MS = 1000;
const TRIMS_PER_SET = 1000;

export class Retention {
  readonly #o: RetentionOptions;
  readonly #shard: Shard;
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #running = false;
  /** When all logs are looked at again (monotonic), and those that began a segment meanwhile. */
  #fullAtMs = Number.POSITIVE_INFINITY;
  readonly #begun = new Set<Log>();

  constructor(options: RetentionOptions) {
    this.#o = options;
    this.#shard = options.shard;
  }

  /** Looks at once, and from then on when something is due. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#shard.onRoll.add(this.#rolled);
    this.#shard.onCheckpoint.add(this.#checkpointed);
    this.#checkpointed();
    this.run();
  }

  stop(): void {
    this.#running = false;
    this.#shard.onRoll.delete(this.#rolled);
    this.#shard.onCheckpoint.delete(this.#checkpointed);
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    this.#begun.clear();
  }

  /** Settings of some log are new, or logs are: look again soon. */
  settingsChanged(): void {
    if (!this.#running) return;
    this.#fullAtMs = this.#shard.clock.monotonicMs();
    this.#wakeIn(0);
  }

  /** Looks at all logs now. @returns how many were cut */
  run(): number {
    this.#begun.clear();
    this.#fullAtMs = Number.POSITIVE_INFINITY;
    return this.#look(this.#shard.logs.values());
  }

  #look(logs: Iterable<Log>): number {
    const shard = this.#shard;
    if (shard.isEnding) return 0;
    const nowMs = shard.clock.wallMs();
    const trims: SetEntry[] = [];
    let dueMs = Number.POSITIVE_INFINITY;
    let hasDead = false;
    for (const log of logs) {
      if (log.removed || log.segments.length === 0) continue;
      const settings = this.#o.settingsFor(log);
      if (settings === undefined) continue;
      const found = judge(log, settings, nowMs);
      if (found.dueMs < dueMs) dueMs = found.dueMs;
      if (found.trimTo > log.startPosition) trims.push({ kind: 'trim', log, position: found.trimTo });
      if (found.trimTo === log.nextPosition) shard.seal(log);
      // Left by a server that stopped between trim and unlink.
      if (isDead(log)) shard.dropTrimmed(log);
      hasDead ||= isDead(log);
    }
    if (hasDead) shard.checkpointer.start();
    this.#trim(trims, 'old segments are removed');
    this.#sleepUntil(dueMs, nowMs);
    return trims.length;
  }

  #trim(trims: readonly SetEntry[], message: string): void {
    if (trims.length === 0) return;
    const shard = this.#shard;
    try {
      for (let i = 0; i < trims.length; i += TRIMS_PER_SET) {
        // Allowed on a full disk: this is what makes room (G16).
        shard.appendSet(trims.slice(i, i + TRIMS_PER_SET), { control: true });
      }
    } catch (error) {
      if (!(error instanceof HadronError)) throw error;
      return; // the shard is over; its successor begins anew
    }
    shard.logger.info({ logs: trims.length, first: (trims[0] as SetEntry).log.name }, message);
    // Files that the checkpoint does not cover yet wait for the next one; on an idle server there would be none.
    void shard.barrier().then(
      () => {
        if (trims.some(({ log }) => !log.removed && isDead(log))) shard.checkpointer.start();
      },
      () => undefined,
    );
  }

  /** Woken by what makes something due. */
  readonly #rolled = (log: Log): void => {
    if (this.#o.settingsFor(log) === undefined) return;
    this.#begun.add(log);
    this.#wakeIn(PAUSE_MS);
  };

  /** State before a snapshot is not needed any more. */
  readonly #checkpointed = (): void => {
    const trims: SetEntry[] = [];
    for (const { source, position, file } of this.#shard.snapshots.values()) {
      if (source === undefined || file === '' || source.log.removed) continue;
      const { log } = source;
      if (position <= log.startPosition || position > log.visiblePosition) continue;
      // The next append begins a segment, so that this one can go with the next snapshot.
      log.rollNext = true;
      trims.push({ kind: 'trim', log, position });
    }
    this.#trim(trims, 'state logs are cut at their snapshots');
  };

  #sleepUntil(dueMs: number, nowMs: number): void {
    if (!this.#running) return;
    const { clock } = this.#shard;
    if (dueMs !== Number.POSITIVE_INFINITY) {
      const delayMs = Math.min(Math.max(dueMs - nowMs, PAUSE_MS), this.#o.checkIntervalMs);
      this.#fullAtMs = Math.min(this.#fullAtMs, clock.monotonicMs() + delayMs);
    }
    if (this.#fullAtMs !== Number.POSITIVE_INFINITY) this.#wakeIn(Math.max(0, this.#fullAtMs - clock.monotonicMs()));
  }

  #wakeIn(delayMs: number): void {
    const { clock } = this.#shard;
    const atMs = clock.monotonicMs() + delayMs;
    if (atMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = atMs;
    this.#timer = clock.setTimer(delayMs, () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      if (!this.#running) return;
      if (clock.monotonicMs() >= this.#fullAtMs) {
        this.run();
        return;
      }
      const begun = [...this.#begun];
      this.#begun.clear();
      this.#look(begun);
    });
  }
}

const isFilled = (s: Segment | undefined): s is Segment => s !== undefined && s.bytes > 0;

/** Its first segment holds bytes and lies below the log's start: it goes when a checkpoint covers it. */
function isDead(log: Log): boolean {
  const first = log.segments[0];
  return isFilled(first) && first.end <= log.startPosition;
}

/** Looked at again every `checkIntervalMs`: nobody tells when what is held is wanted no more. */
const NOW_AND_THEN = Number.MAX_VALUE;

/** How far a log is to be cut (its start: not at all), and when to look again. */
function judge(log: Log, settings: RetentionSettings, nowMs: number): { trimTo: number; dueMs: number } {
  const { segments } = log;
  const { retentionMs, retentionBytes, heldFrom = Number.POSITIVE_INFINITY } = settings;
  const last = segments.length - 1;
  let n = 0;
  let trimTo = log.startPosition;
  let size = retentionBytes < 0 ? 0 : log.sizeBytes;
  for (; n < segments.length; n++) {
    const segment = segments[n] as Segment;
    if (segment.end > log.visiblePosition || segment.bytes === 0) break;
    const isOld = retentionMs >= 0 && nowMs > newestMs(log, n) + retentionMs;
    const isTooMuch = retentionBytes >= 0 && n < last && size - segment.bytes >= retentionBytes;
    if (!isOld && !isTooMuch && segment.end > log.startPosition) break;
    if (segment.end > heldFrom && segment.end > log.startPosition) return { trimTo, dueMs: NOW_AND_THEN };
    size -= segment.bytes;
    trimTo = Math.max(trimTo, segment.end);
  }
  const next = segments[n];
  const dueMs = retentionMs < 0 || !isFilled(next) ? Number.POSITIVE_INFINITY : newestMs(log, n) + retentionMs + 1;
  return { trimTo, dueMs };
}

/** Wall time of a segment's newest record. Without timestamps: the latest moment at which it can have been appended. */
function newestMs(log: Log, i: number): number {
  const segment = log.segments[i] as Segment;
  if (segment.maxTimestamp >= 0) return segment.maxTimestamp;
  return log.segments[i + 1]?.createdMs ?? segment.createdMs + log.options.segmentMs;
}

export interface DeletedRecords {
  /** The log's start once `lsn` is durable. */
  readonly logStart: number;
  /** The answer waits for it. */
  readonly lsn: number;
}

/**
 * Deletes records before `offset`; -1 is the high watermark. Works on a full disk.
 * @throws HadronError OFFSET_OUT_OF_RANGE behind the high watermark, STORAGE_…
 */
export function deleteRecordsBefore(shard: Shard, log: Log, offset: number): DeletedRecords {
  const to = offset === -1 ? log.visiblePosition : offset;
  if (!(to >= 0 && to <= log.visiblePosition)) {
    throw new HadronError(
      'OFFSET_OUT_OF_RANGE',
      `${log.name} ends at ${log.visiblePosition}, records before ${offset} cannot be deleted`,
    );
  }
  if (to <= log.startPosition) return { logStart: log.startPosition, lsn: log.lastLsn };
  if (to === log.nextPosition) shard.seal(log);
  return { logStart: to, lsn: shard.appendSet([{ kind: 'trim', log, position: to }], { control: true }) };
}
