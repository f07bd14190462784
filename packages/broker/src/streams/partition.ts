/**
 * A partition: one log, its producers, and the checks that stand between a client's batch and the log.
 *
 * Produce here is synchronous: it judges, appends and says at which LSN; whoever answers waits for that LSN. Nothing on
 * this path makes an object per record.
 */
import type { ErrorCode } from '@hadron/base';
import {
  ATTRIBUTE_TRANSACTIONAL,
  BatchProblem,
  batchAttributes,
  batchBaseOffset,
  batchBaseSequence,
  batchIsTransactional,
  batchLastOffsetDelta,
  batchMaxTimestamp,
  batchProducerEpoch,
  batchProducerId,
  batchSizeBytes,
  describeFinding,
  problemOf,
  RecordCursor,
  recordIndexOf,
  setBatchLogAppendTime,
  type ValidateOptions,
  validateBatch,
} from '@hadron/kafka-protocol/records';
import {
  type CommitWaiter,
  deleteRecordsBefore,
  type Durability,
  findByTime,
  largestKnownTimestamp,
  type Log,
  type Sabotage,
  type Shard,
} from '@hadron/log';
import type { TopicSettings } from '../config/index.ts';
import { ProducerStates } from './producer-state.ts';
import { firstPlainRecord } from './required-events.ts';

/** What became of one batch. Reused by the caller between partitions of a request. */
export interface ProduceOutcome {
  /** Undefined: appended, or a duplicate of what was. */
  error: ErrorCode | undefined;
  message: string | null;
  /** Index of the record that is to blame, -1 for the whole batch. */
  recordIndex: number;
  baseOffset: number;
  /** Milliseconds, or -1 where the producer's timestamps count. */
  logAppendTimeMs: number;
  logStartOffset: number;
  /** The answer may leave when this LSN is durable. */
  lsn: number;
}

export const newProduceOutcome = (): ProduceOutcome => ({
  error: undefined,
  message: null,
  recordIndex: -1,
  baseOffset: -1,
  logAppendTimeMs: -1,
  logStartOffset: -1,
  lsn: 0,
});

/** Breaks the broker on purpose, so that the simulation can show that it would notice (log.md §5). Never set outside tests. */
export interface BrokerSabotage extends Sabotage {
  acknowledgeDuplicateEarly?: boolean;
}

/**
 * Lets the answer to a produce out when what it rests on is durable, or written where `os` is enough: the one place where
 * an ack waits for the sync (log.md G5). `lsn` and `durability` are the largest and the strictest of its partitions.
 */
export function whenAnswerable(shard: Shard, lsn: number, durability: Durability, answer: CommitWaiter): void {
  if (shard.isAnswerable(lsn, durability)) answer.committed();
  else shard.when(lsn, durability, answer);
}

const PROBLEM_CODE: Partial<Record<number, ErrorCode>> = {
  [BatchProblem.TRUNCATED]: 'CORRUPT_DATA',
  [BatchProblem.CRC]: 'CORRUPT_DATA',
  [BatchProblem.TOO_LARGE]: 'RECORD_TOO_LARGE',
  [BatchProblem.DECOMPRESSED_TOO_LARGE]: 'RECORD_TOO_LARGE',
  [BatchProblem.CODEC]: 'COMPRESSION_UNSUPPORTED',
  [BatchProblem.ZSTD_TOO_EARLY]: 'COMPRESSION_UNSUPPORTED',
  [BatchProblem.RECORD_TIMESTAMP]: 'TIMESTAMP_INVALID',
  [BatchProblem.TIMESTAMP_TYPE]: 'TIMESTAMP_INVALID',
};

export interface AdvanceListener {
  /** `bytes` more can be read (0: only the log start moved); -1: the partition is gone. */
  advanced(bytes: number): void;
}

/** `-3` of ListOffsets, and its friends. */
export type OffsetAt = { readonly offset: number; readonly timestamp: number };
export const NO_OFFSET: OffsetAt = { offset: -1, timestamp: -1 };

export class Partition {
  readonly topic: string;
  readonly index: number;
  readonly log: Log;
  settings: TopicSettings;
  private readonly shard: Shard;
  private producers: ProducerStates | undefined;
  private readonly validate: { -readonly [K in keyof ValidateOptions]: ValidateOptions[K] } = {};
  /** Who waits for this partition: fetches, groups, tails. Undefined while nobody does, so that idle ones cost nothing. */
  private waiters: Set<AdvanceListener> | undefined;
  private seenByte = 0;

  constructor(
    shard: Shard,
    topic: string,
    index: number,
    log: Log,
    settings: TopicSettings,
    producers: ProducerStates | undefined,
  ) {
    this.shard = shard;
    this.topic = topic;
    this.index = index;
    this.log = log;
    this.settings = settings;
    this.producers = producers;
    this.configure(settings);
  }

  configure(settings: TopicSettings): void {
    this.settings = settings;
    this.log.options = { segmentBytes: settings.segmentBytes, segmentMs: settings.segmentMs };
    const v = this.validate;
    v.keysRequired = settings.cleanupPolicy.compact;
    v.logAppendTime = settings.timestampType === 'LogAppendTime';
  }

  get highWatermark(): number {
    return this.log.visiblePosition;
  }

  get logStartOffset(): number {
    return this.log.startPosition;
  }

  get leaderEpoch(): number {
    return this.log.epoch;
  }

  get producerStates(): ProducerStates | undefined {
    return this.producers;
  }

  /**
   * Judges the record set `b[at, end)` and appends it. On success, and for duplicates, `out.error` is undefined and the
   * answer waits for `out.lsn`.
   */
  produce(b: Buffer, at: number, end: number, zstdAllowed: boolean, nowMs: number, out: ProduceOutcome): void {
    if (!this.judge(b, at, end, zstdAllowed, nowMs, out)) return;
    const log = this.log;
    const baseOffset = log.nextPosition;
    out.lsn = this.shard.append(log, b, at, end - at, batchLastOffsetDelta(b, at) + 1, batchMaxTimestamp(b, at));
    out.baseOffset = baseOffset;
    this.appended(b, at, baseOffset, nowMs);
  }

  /**
   * Whether the record set `b[at, end)` is to be appended. If not, `out` is the answer: a refusal, or where the duplicate
   * lies. Whoever appends it in a set tells {@link appended} afterwards.
   * @param bytesMax the most it may have. Default: `max.message.bytes`
   */
  judge(
    b: Buffer,
    at: number,
    end: number,
    zstdAllowed: boolean,
    nowMs: number,
    out: ProduceOutcome,
    bytesMax: number = this.settings.maxMessageBytes,
  ): boolean {
    const log = this.log;
    const { settings, validate } = this;
    out.error = undefined;
    out.message = null;
    out.recordIndex = -1;
    out.baseOffset = -1;
    out.logAppendTimeMs = -1;
    out.logStartOffset = log.startPosition;
    out.lsn = log.lastLsn;
    validate.batchBytesMax = bytesMax;
    validate.zstdAllowed = zstdAllowed;
    validate.timestampMinMs = nowMs - settings.timestampBeforeMaxMs;
    validate.timestampMaxMs = nowMs + settings.timestampAfterMaxMs;
    const finding = validateBatch(b, at, end, validate);
    if (finding !== 0) {
      out.error = PROBLEM_CODE[problemOf(finding)] ?? 'RECORD_INVALID';
      out.message = describeFinding(finding).message;
      out.recordIndex = recordIndexOf(finding);
      return false;
    }
    if ((batchAttributes(b, at) & ATTRIBUTE_TRANSACTIONAL) !== 0) {
      out.error = 'TRANSACTIONS_UNSUPPORTED';
      out.message = 'Transactions are not supported yet: produce without a transactional.id.';
      return false;
    }
    if (settings.events === 'required') {
      const plain = firstPlainRecord(b, at);
      if (plain !== undefined) {
        out.error = 'RECORD_INVALID';
        out.message = `This stream takes CloudEvents only (hadron.events=required), and record ${plain.index} is none: ${plain.why}.`;
        out.recordIndex = plain.index;
        return false;
      }
    }
    const producerId = batchProducerId(b, at);
    if (producerId >= 0) {
      const extent = batchLastOffsetDelta(b, at) + 1;
      const verdict = this.producers?.judge(producerId, batchProducerEpoch(b, at), batchBaseSequence(b, at), extent);
      if (verdict !== undefined && verdict.kind === 'error') {
        out.error = verdict.code;
        return false;
      }
      if (verdict !== undefined && verdict.kind === 'duplicate') {
        // R13.2: the first answer again; it waits for the original's sync (log.md G5).
        out.baseOffset = verdict.baseOffset;
        out.logAppendTimeMs = validate.logAppendTime === true ? verdict.timestamp : -1;
        if ((this.shard.sabotage as BrokerSabotage).acknowledgeDuplicateEarly === true) out.lsn = 0;
        return false;
      }
    }
    if (validate.logAppendTime === true) {
      setBatchLogAppendTime(b, at, nowMs);
      out.logAppendTimeMs = nowMs;
    }
    return true;
  }

  /** The batch at `b[at]`, which {@link judge} let pass, was appended at `baseOffset`. */
  appended(b: Buffer, at: number, baseOffset: number, nowMs: number): void {
    const producerId = batchProducerId(b, at);
    if (producerId < 0) return;
    this.producers ??= new ProducerStates();
    this.producers.appended(
      producerId,
      batchProducerEpoch(b, at),
      batchBaseSequence(b, at),
      batchLastOffsetDelta(b, at) + 1,
      baseOffset,
      nowMs,
      batchMaxTimestamp(b, at),
    );
  }

  /** Tells `listener` whenever more can be read, until {@link unwait}. */
  wait(listener: AdvanceListener): void {
    if (this.waiters === undefined) {
      this.waiters = new Set();
      this.seenByte = this.log.visibleByte;
      this.log.onAdvance = (log) => {
        const bytes = log.removed ? -1 : log.visibleByte - this.seenByte;
        this.seenByte = log.visibleByte;
        // A copy: who is told may leave, and come again for the next advance.
        for (const w of [...(this.waiters ?? [])]) w.advanced(bytes);
      };
    }
    this.waiters.add(listener);
  }

  unwait(listener: AdvanceListener): void {
    if (this.waiters === undefined) return;
    this.waiters.delete(listener);
    if (this.waiters.size > 0) return;
    this.waiters = undefined;
    this.log.onAdvance = undefined;
  }

  /** Forgets producers silent for longer than this. */
  expireProducers(beforeMs: number): void {
    if (this.producers === undefined) return;
    this.producers.expire(beforeMs);
    if (this.producers.size === 0) this.producers = undefined;
  }

  /**
   * The first visible record whose timestamp is at least `timestamp` (R19).
   * @returns {@link NO_OFFSET} when there is none
   */
  async offsetForTime(timestamp: number): Promise<OffsetAt> {
    let from = this.log.startPosition;
    for (;;) {
      const batch = await findByTime(this.shard, this.log, timestamp, from);
      if (batch === undefined) return NO_OFFSET;
      const cursor = new RecordCursor();
      cursor.open(batch);
      while (cursor.next()) {
        if (cursor.timestamp >= timestamp && cursor.offset >= from && cursor.offset < this.log.visiblePosition) {
          return { offset: cursor.offset, timestamp: cursor.timestamp };
        }
      }
      from = batchBaseOffset(batch, 0) + batchLastOffsetDelta(batch, 0) + 1;
    }
  }

  /** The first record that carries the largest timestamp (R19 −3). */
  async offsetOfMaxTimestamp(): Promise<OffsetAt> {
    const known = await largestKnownTimestamp(this.shard, this.log);
    let best = NO_OFFSET;
    // Each step finds a record with a larger timestamp than the best, or ends.
    for (let from = known.from; ; from = best.offset + 1) {
      const next = await this.offsetForTimeFrom(Math.max(best.timestamp, known.timestamp) + 1, from);
      if (next.offset < 0) break;
      best = next;
    }
    if (best.offset >= 0) return best;
    return known.timestamp < 0 ? NO_OFFSET : this.offsetForTime(known.timestamp);
  }

  private async offsetForTimeFrom(timestamp: number, from: number): Promise<OffsetAt> {
    const batch = await findByTime(this.shard, this.log, timestamp, from);
    if (batch === undefined) return NO_OFFSET;
    const cursor = new RecordCursor();
    cursor.open(batch);
    while (cursor.next()) {
      if (cursor.timestamp >= timestamp && cursor.offset >= from && cursor.offset < this.log.visiblePosition) {
        return { offset: cursor.offset, timestamp: cursor.timestamp };
      }
    }
    return this.offsetForTimeFrom(timestamp, batchBaseOffset(batch, 0) + batchLastOffsetDelta(batch, 0) + 1);
  }

  /** The leader epoch under which the record at `offset` was written. */
  epochOf(offset: number): number {
    let epoch = -1;
    for (const e of this.log.epochs) if (e.start <= offset || epoch === -1) epoch = e.epoch;
    return epoch;
  }

  /**
   * Moves the log start to `offset`; -1 = the high watermark. Below the start nothing happens.
   * @returns the LSN to wait for
   * @throws HadronError OFFSET_OUT_OF_RANGE past the high watermark, STORAGE_…
   */
  deleteBefore(offset: number): number {
    return deleteRecordsBefore(this.shard, this.log, offset).lsn;
  }

  /**
   * The end of what was written in `epoch` or before: where a client with that epoch must cut (KIP-320).
   * @returns -1, -1 for an epoch before the first known
   */
  endOffsetForEpoch(epoch: number): { epoch: number; endOffset: number } {
    const epochs = this.log.epochs;
    for (let i = epochs.length - 1; i >= 0; i--) {
      const e = epochs[i] as { epoch: number; start: number };
      if (e.epoch > epoch) continue;
      const next = epochs[i + 1];
      return { epoch: e.epoch, endOffset: next === undefined ? this.log.visiblePosition : next.start };
    }
    return { epoch: -1, endOffset: -1 };
  }
}

/** Bookkeeping of a replayed append (recovery): the batch headers tell all there is to know. */
export function replayProducers(
  states: ProducerStates | undefined,
  b: Buffer,
  at: number,
  length: number,
  nowMs: number,
): ProducerStates | undefined {
  let known = states;
  for (let p = at; p < at + length; p += batchSizeBytes(b, p)) {
    const producerId = batchProducerId(b, p);
    if (producerId < 0 || batchIsTransactional(b, p)) continue;
    known ??= new ProducerStates();
    known.appended(
      producerId,
      batchProducerEpoch(b, p),
      batchBaseSequence(b, p),
      batchLastOffsetDelta(b, p) + 1,
      batchBaseOffset(b, p),
      nowMs,
      batchMaxTimestamp(b, p),
    );
  }
  return known;
}
