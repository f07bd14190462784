/**
 * Fetch: reads several partitions within limits, and waits where there is not enough yet (kafka.md R7).
 *
 * A waiting fetch hangs on each of its partitions. When high watermarks move, waits that have enough are collected and
 * answered together at the end of the commit, so that a fetch over many partitions gets all that one commit brought.
 */
import { type Clock, type ErrorCode, HadronError, type Logger, type Timer } from '@hadron/base';
import { type ReadResult, readFile, readTail, type Shard } from '@hadron/log';
import type { Partition } from './partition.ts';

/** One partition of a fetch. */
export interface FetchItem {
  /** Undefined: it could not be found, for the reason in `missing`. */
  readonly partition: Partition | undefined;
  readonly missing: ErrorCode | undefined;
  readonly offset: number;
  readonly maxBytes: number;
  /** The client's idea of the leader epoch, -1 for none. */
  readonly currentLeaderEpoch: number;
  /** Epoch of the last record the client has, -1 for none (Fetch v12+). */
  readonly lastFetchedEpoch: number;
}

export interface FetchLimits {
  readonly maxWaitMs: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  /** Asked once, when the answer is begun: takes what may be read of so many bytes from a budget. */
  readonly grant?: (bytes: number) => number;
}

export interface FetchedPartition {
  error: ErrorCode | undefined;
  /** Held until the answer is sent: whoever gets it calls `release`. */
  data: ReadResult | undefined;
  highWatermark: number;
  logStartOffset: number;
  /** The client has records that this log does not: it must cut to `endOffset` (KIP-595). */
  diverging: { readonly epoch: number; readonly endOffset: number } | undefined;
}

export interface FetchHandle {
  /** Nobody waits for the answer any more. */
  cancel(): void;
}

const NOTHING: FetchHandle = { cancel() {} };

export class Fetcher {
  private readonly shard: Shard;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly waiting = new Set<Wait>();
  private ready: Wait[] = [];
  private closed = false;

  /** @param clock that long polls are counted on */
  constructor(shard: Shard, logger: Logger, clock: Clock = shard.clock) {
    this.shard = shard;
    this.clock = clock;
    this.logger = logger;
    shard.onSettled = () => this.answerReady();
  }

  /** Fetches that wait now. */
  get waitingCount(): number {
    return this.waiting.size;
  }

  /**
   * Calls `done` once with a result per item: at once, when `minBytes` are there, or after `maxWaitMs`.
   * An error in any partition is answered at once.
   */
  fetch(items: readonly FetchItem[], limits: FetchLimits, done: (results: FetchedPartition[]) => void): FetchHandle {
    const ready = this.look(items);
    const satisfied = ready.urgent || ready.bytes >= limits.minBytes || limits.maxWaitMs <= 0 || this.closed;
    if (satisfied) {
      this.answer(items, limits, done);
      return NOTHING;
    }
    const wait = new Wait(this, items, limits, done, ready.bytes);
    this.waiting.add(wait);
    wait.begin(this.clock);
    return wait;
  }

  /** Answers every waiting fetch with what there is: at shutdown, or when the shard has failed. */
  close(): void {
    this.closed = true;
    for (const wait of [...this.waiting]) this.finish(wait);
  }

  /** Readable bytes now, and whether something must be told at once. Cheap: no data is touched. */
  private look(items: readonly FetchItem[]): { bytes: number; urgent: boolean } {
    let bytes = 0;
    for (const item of items) {
      const p = item.partition;
      if (p === undefined || refusal(item, p) !== undefined || diverging(item, p) !== undefined)
        return { bytes, urgent: true };
      const log = p.log;
      if (item.offset >= log.visiblePosition) continue;
      // What lies below the tail is plenty. In the tail the byte count is not known without a look: one batch at least.
      const first = log.chunks[0];
      if (first === undefined || item.offset < first.basePosition) bytes += item.maxBytes;
      else {
        const got = readTail(this.shard, log, item.offset, { maxBytes: item.maxBytes, atLeastOne: true });
        if (got !== undefined) {
          bytes += got.bytes;
          got.release();
        }
      }
    }
    return { bytes, urgent: false };
  }

  /** @internal */
  finish(wait: Wait): void {
    if (!this.waiting.delete(wait)) return;
    wait.end();
    this.answer(wait.items, wait.limits, wait.done);
  }

  /** @internal */
  drop(wait: Wait): void {
    if (this.waiting.delete(wait)) wait.end();
  }

  /** @internal */
  enough(wait: Wait): void {
    this.ready.push(wait);
  }

  private answerReady(): void {
    if (this.ready.length === 0) return;
    const ready = this.ready;
    this.ready = [];
    for (const wait of ready) this.finish(wait);
  }

  private answer(items: readonly FetchItem[], limits: FetchLimits, done: (results: FetchedPartition[]) => void): void {
    const results: FetchedPartition[] = [];
    let left = limits.grant === undefined ? limits.maxBytes : limits.grant(limits.maxBytes);
    let any = false;
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as FetchItem;
      const result = begin(item);
      results.push(result);
      const p = item.partition;
      if (result.error !== undefined || result.diverging !== undefined || p === undefined) continue;
      if (item.offset >= p.log.visiblePosition || (left <= 0 && any)) continue;
      const maxBytes = Math.min(item.maxBytes, left);
      const data = readTail(this.shard, p.log, item.offset, { maxBytes, atLeastOne: !any });
      if (data === undefined) {
        void this.answerFromFiles(items, results, i, left, any, done);
        return;
      }
      left -= data.bytes;
      if (data.bytes > 0) any = true;
      result.data = data;
    }
    this.send(items, results, done);
  }

  /** Goes on at item `from`, waiting for files. */
  private async answerFromFiles(
    items: readonly FetchItem[],
    results: FetchedPartition[],
    from: number,
    bytesLeft: number,
    anyBefore: boolean,
    done: (results: FetchedPartition[]) => void,
  ): Promise<void> {
    let left = bytesLeft;
    let any = anyBefore;
    for (let i = from; i < items.length; i++) {
      const item = items[i] as FetchItem;
      const result = i === from ? (results[i] as FetchedPartition) : begin(item);
      if (i !== from) results.push(result);
      const p = item.partition;
      if (result.error !== undefined || result.diverging !== undefined || p === undefined) continue;
      if (item.offset >= p.log.visiblePosition || (left <= 0 && any)) continue;
      try {
        const data = await this.readOn(p, item.offset, Math.min(item.maxBytes, left), !any);
        left -= data.bytes;
        if (data.bytes > 0) any = true;
        result.data = data;
      } catch (error) {
        if (p.log.removed) result.error = item.missing ?? 'TOPIC_NOT_FOUND';
        else result.error = error instanceof HadronError ? error.code : 'STORAGE_FAILED';
        if (!(error instanceof HadronError))
          this.logger.error({ topic: p.topic, partition: p.index, err: String(error) }, 'a read failed');
      }
    }
    this.send(items, results, done);
  }

  /** That a topic is not there may follow from a deletion that is not durable yet: then it is not said yet (log.md G5). */
  private send(
    items: readonly FetchItem[],
    results: FetchedPartition[],
    done: (results: FetchedPartition[]) => void,
  ): void {
    const { shard } = this;
    complete(items, results);
    if (shard.isDurable(shard.stagedLsn) || !results.some(isMissing)) {
      done(results);
      return;
    }
    shard.when(shard.stagedLsn, 'fsync', {
      committed: () => done(results),
      failed(error) {
        for (const r of results) if (isMissing(r)) r.error = error.code;
        done(results);
      },
    });
  }

  /** Past gaps that compaction left, and from the file into the tail. */
  private async readOn(p: Partition, offset: number, maxBytes: number, atLeastOne: boolean): Promise<ReadResult> {
    let at = offset;
    for (;;) {
      const options = { maxBytes, atLeastOne };
      const data = readTail(this.shard, p.log, at, options) ?? (await readFile(this.shard, p.log, at, options));
      if (data.bytes > 0 || data.nextPosition <= at || data.nextPosition >= p.log.visiblePosition) return data;
      at = data.nextPosition;
    }
  }
}

class Wait implements FetchHandle {
  readonly items: readonly FetchItem[];
  readonly limits: FetchLimits;
  readonly done: (results: FetchedPartition[]) => void;
  private readonly fetcher: Fetcher;
  private bytes: number;
  private timer: Timer | undefined;
  private told = false;

  constructor(
    fetcher: Fetcher,
    items: readonly FetchItem[],
    limits: FetchLimits,
    done: (results: FetchedPartition[]) => void,
    bytes: number,
  ) {
    this.fetcher = fetcher;
    this.items = items;
    this.limits = limits;
    this.done = done;
    this.bytes = bytes;
  }

  begin(clock: Clock): void {
    for (const { partition } of this.items) partition?.wait(this);
    this.timer = clock.setTimer(this.limits.maxWaitMs, () => this.fetcher.finish(this));
  }

  end(): void {
    this.timer?.cancel();
    for (const { partition } of this.items) partition?.unwait(this);
  }

  cancel(): void {
    this.fetcher.drop(this);
  }

  /** The partition shows `bytes` more, or is gone (-1). */
  advanced(bytes: number): void {
    if (this.told) return;
    this.bytes += bytes;
    if (bytes >= 0 && this.bytes < this.limits.minBytes) return;
    this.told = true;
    this.fetcher.enough(this);
  }
}

function begin(item: FetchItem): FetchedPartition {
  const p = item.partition;
  if (p === undefined)
    return {
      error: item.missing ?? 'TOPIC_NOT_FOUND',
      data: undefined,
      highWatermark: -1,
      logStartOffset: -1,
      diverging: undefined,
    };
  return {
    error: refusal(item, p),
    data: undefined,
    highWatermark: -1,
    logStartOffset: -1,
    diverging: diverging(item, p),
  };
}

/** Watermarks are read when the answer is made: fresh, and never behind the data (R7d). */
function complete(items: readonly FetchItem[], results: readonly FetchedPartition[]): void {
  for (let i = 0; i < results.length; i++) {
    const p = (items[i] as FetchItem).partition;
    const r = results[i] as FetchedPartition;
    if (p === undefined || isMissing(r)) continue;
    r.highWatermark = p.highWatermark;
    r.logStartOffset = p.logStartOffset;
  }
}

const isMissing = (r: FetchedPartition): boolean => r.error === 'TOPIC_NOT_FOUND' || r.error === 'TOPIC_ID_NOT_FOUND';

function refusal(item: FetchItem, p: Partition): ErrorCode | undefined {
  const log = p.log;
  if (log.removed) return item.missing ?? 'TOPIC_NOT_FOUND';
  if (item.currentLeaderEpoch >= 0) {
    if (item.currentLeaderEpoch < log.epoch) return 'LEADER_EPOCH_FENCED';
    if (item.currentLeaderEpoch > log.epoch) return 'LEADER_EPOCH_UNKNOWN';
  }
  if (item.lastFetchedEpoch >= 0 && diverging(item, p) !== undefined) return undefined;
  return item.offset < log.startPosition || item.offset > log.visiblePosition ? 'OFFSET_OUT_OF_RANGE' : undefined;
}

function diverging(item: FetchItem, p: Partition): { epoch: number; endOffset: number } | undefined {
  if (item.lastFetchedEpoch < 0 || p.log.removed) return undefined;
  const end = p.endOffsetForEpoch(item.lastFetchedEpoch);
  if (end.epoch === -1) return undefined;
  return end.epoch < item.lastFetchedEpoch || end.endOffset < item.offset ? end : undefined;
}
