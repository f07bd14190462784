/**
 * From `publish` to the transport: batches by themselves, waits for room, tries again.
 *
 * A **lane** is a stream, or one partition of it where the caller chose one. A lane has at most one call under way; what
 * is published meanwhile is the next one. So batches are as large as the server is slow, and the events of a lane are
 * stored in the order in which they were published, over any number of retries.
 *
 * Always true:
 * - identity and time are in the event before it comes here, so that every try carries the same ones;
 * - a call that failed as a whole is tried again as the very same object, by which a transport that numbers its batches
 *   knows it (contracts/transport.ts);
 * - every promise given out is settled: by a position, by the first failure that trying again cannot help, or when the
 *   time is up.
 */
import type { Clock, Random } from '@hadron/base';
import { HadronError } from '@hadron/base/errors';
import type { CloudEvent, PublishCall, PublishResult, Transport } from '@hadron/contracts';
import { asHadronError, closed, failure, isTransient } from './errors.ts';
import { onAbort, retryDelayMs, sleep, within } from './time.ts';
import type { Published } from './types.ts';

export interface PublishSet {
  readonly partition?: number | undefined;
  /** All or none. */
  readonly atomic?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PublisherLimits {
  /** Published and not yet answered; beyond it `publish` waits for room. */
  readonly queuedBytes: number;
  /** From publishing to giving up. */
  readonly timeoutMs: number;
}

/** A call is cut at these; a larger event travels alone. */
const CALL_EVENTS_MAX = 1_000;
const CALL_BYTES_MAX = 512 * 1024;
/** Places of those let in that are kept before the list is made shorter. */
const ROOM_KEPT = 1_000;
/** What an event takes beside its data, roughly. */
const EVENT_OVERHEAD_BYTES = 256;

type Done = (error: HadronError | undefined, published: readonly Published[]) => void;

/** Events that are settled together: one, or an atomic set. */
class Entry {
  readonly events: readonly CloudEvent[];
  readonly atomic: boolean;
  readonly bytes: number;
  readonly deadlineMs: number;
  settled = false;
  /** In a call under way, or one that was. */
  sent = false;
  readonly #done: Done;

  constructor(events: readonly CloudEvent[], atomic: boolean, bytes: number, deadlineMs: number, done: Done) {
    this.events = events;
    this.atomic = atomic;
    this.bytes = bytes;
    this.deadlineMs = deadlineMs;
    this.#done = done;
  }

  settle(error: HadronError | undefined, published: readonly Published[] = []): void {
    if (this.settled) return;
    this.settled = true;
    this.#done(error, published);
  }
}

interface Lane {
  readonly stream: string;
  readonly partition: number | undefined;
  queue: Entry[];
  running: boolean;
  /** Why the last call was given up: what waited behind it fails by the same. */
  trouble: HadronError | undefined;
}

interface WaitingForRoom {
  readonly bytes: number;
  readonly go: () => void;
  gone: boolean;
}

export class Publisher {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #limits: PublisherLimits;
  readonly #lanes = new Map<string, Lane>();
  readonly #closing = new AbortController();
  #queuedBytes = 0;
  #unsettled = 0;
  /** From `#roomHead` on. Taking the first off a list of a million would move all others. */
  #waitingForRoom: WaitingForRoom[] = [];
  #roomHead = 0;
  #waitingForIdle: (() => void)[] = [];

  constructor(transport: Transport, clock: Clock, random: Random, limits: PublisherLimits) {
    this.#transport = transport;
    this.#clock = clock;
    this.#random = random;
    this.#limits = limits;
  }

  /** Resolves when there is room; first come, first served. Undefined: there is. */
  room(signal?: AbortSignal): Promise<void> | undefined {
    return this.#admit(0, signal);
  }

  /** Resolves when the events are durable, with their positions in order. */
  publish(stream: string, events: readonly CloudEvent[], options: PublishSet = {}): Promise<readonly Published[]> {
    let bytes = 0;
    for (const event of events) bytes += (event.data?.length ?? 0) + EVENT_OVERHEAD_BYTES;
    const admitted = this.#admit(bytes, options.signal);
    if (admitted === undefined) return this.#add(stream, events, bytes, options);
    return admitted.then(() => this.#add(stream, events, bytes, options));
  }

  #add(
    stream: string,
    events: readonly CloudEvent[],
    bytes: number,
    { partition, atomic = false, signal }: PublishSet,
  ): Promise<readonly Published[]> {
    return new Promise((resolve, reject) => {
      const lane = this.#lane(stream, partition);
      const deadlineMs = this.#clock.monotonicMs() + this.#limits.timeoutMs;
      let forget: (() => void) | undefined;
      const entry = new Entry(events, atomic, bytes, deadlineMs, (error, published) => {
        forget?.();
        this.#release(bytes);
        if (error === undefined) resolve(published);
        else reject(error);
      });
      this.#unsettled += 1;
      if (this.#closing.signal.aborted) entry.settle(closed('client'));
      if (signal !== undefined) forget = onAbort(signal, () => entry.settle(givenUp(signal, entry.sent)));
      if (entry.settled) return;
      lane.queue.push(entry);
      if (!lane.running) {
        lane.running = true;
        this.#clock.defer(() => void this.#run(lane));
      }
    });
  }

  /** Resolves when everything published so far has been answered, well or not. */
  flush(): Promise<void> {
    if (this.#unsettled === 0 && this.#queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waitingForIdle.push(resolve));
  }

  /** Ends tries again; what is not answered is rejected. */
  close(): void {
    this.#closing.abort();
    for (const lane of this.#lanes.values()) for (const entry of lane.queue.splice(0)) entry.settle(closed('client'));
    for (let next = this.#firstWaiting(); next !== undefined; next = this.#firstWaiting()) this.#letIn(next);
  }

  #lane(stream: string, partition: number | undefined): Lane {
    const key = partition === undefined ? stream : `${stream}/${partition}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { stream, partition, queue: [], running: false, trouble: undefined };
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  async #run(lane: Lane): Promise<void> {
    for (let entries = this.#next(lane); entries.length > 0; entries = this.#next(lane)) {
      lane.trouble = await this.#send(lane, entries);
    }
    lane.running = false;
  }

  /** The next call's worth. What a call before it has kept waiting for too long was never sent, and says so. */
  #next(lane: Lane): Entry[] {
    const { trouble } = lane;
    if (trouble !== undefined) {
      const nowMs = this.#clock.monotonicMs();
      for (const entry of lane.queue) {
        if (entry.deadlineMs > nowMs) continue;
        const message = `nothing was sent within ${this.#limits.timeoutMs} ms: ${trouble.message}`;
        entry.settle(new HadronError('TIMED_OUT', message, { cause: trouble, effect: 'none' }));
      }
    }
    return take(lane);
  }

  /** Settles all of `entries`, in as many calls as it takes. @returns why it gave up, if it did */
  async #send(lane: Lane, batch: readonly Entry[]): Promise<HadronError | undefined> {
    let entries = batch;
    let call = callOf(lane, entries);
    for (let failures = 1; ; failures += 1) {
      let error: HadronError;
      try {
        const deadlineMs = Math.max(...entries.map((entry) => entry.deadlineMs));
        // A server that does not answer at all must not hold the lane for ever.
        const leftMs = Math.max(0, deadlineMs - this.#clock.monotonicMs());
        const results = await within(this.#clock, leftMs, this.#transport.publish(call));
        if (results === undefined) {
          throw new HadronError(
            'TIMED_OUT',
            `no answer within ${this.#limits.timeoutMs} ms; the events may be stored: look, or publish them again with the same ids`,
          );
        }
        const again = this.#answer(entries, results);
        if (again.entries.length === 0) return undefined;
        entries = again.entries;
        error = again.error;
        call = callOf(lane, entries);
      } catch (thrown) {
        error = asHadronError(thrown);
        if (!isTransient(error)) return settleAll(entries, error);
      }
      const delayMs = retryDelayMs(failures, this.#random);
      const nextMs = this.#clock.monotonicMs() + delayMs;
      const hopeless = entries.filter((entry) => entry.deadlineMs <= nextMs);
      if (this.#closing.signal.aborted || hopeless.length > 0) {
        // Later entries of the same call were published within the same moments: one end for all keeps the call whole.
        return settleAll(entries, error);
      }
      await sleep(this.#clock, delayMs, this.#closing.signal);
      if (entries.every((entry) => entry.settled)) return undefined;
    }
  }

  /** Settles what is decided. @returns what is worth another try */
  #answer(entries: readonly Entry[], results: readonly PublishResult[]): { entries: Entry[]; error: HadronError } {
    const again: Entry[] = [];
    let lastError = new HadronError('INTERNAL', 'the server answered fewer events than it was sent');
    let at = 0;
    for (const entry of entries) {
      const own = results.slice(at, (at += entry.events.length));
      const failed = own.find((result) => 'error' in result);
      if (own.length < entry.events.length) entry.settle(lastError);
      else if (failed === undefined) {
        entry.settle(
          undefined,
          own.map((result, i) => ({
            id: (entry.events[i] as CloudEvent).id,
            partition: (result as { partition: number }).partition,
            offset: (result as { offset: number }).offset,
          })),
        );
      } else if ('error' in failed) {
        const error = failure(failed.error.code, failed.error.message, failed.error.field);
        if (!isTransient(error)) entry.settle(error);
        else {
          lastError = error;
          again.push(entry);
        }
      }
    }
    return { entries: again, error: lastError };
  }

  /** Counts `bytes` as queued, at once (undefined) or when there is room. An event larger than all the room goes alone. */
  #admit(bytes: number, signal: AbortSignal | undefined): Promise<void> | undefined {
    if (this.#firstWaiting() === undefined && this.#fits(bytes)) {
      this.#queuedBytes += bytes;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const waiting: WaitingForRoom = {
        bytes,
        gone: false,
        go: () => {
          forget();
          this.#queuedBytes += bytes;
          resolve();
        },
      };
      this.#waitingForRoom.push(waiting);
      const forget = onAbort(signal, () => {
        waiting.gone = true;
        reject(givenUp(signal, false));
      });
    });
  }

  #firstWaiting(): WaitingForRoom | undefined {
    const waiting = this.#waitingForRoom;
    while (waiting[this.#roomHead]?.gone === true) this.#roomHead += 1;
    const first = waiting[this.#roomHead];
    if (first === undefined || this.#roomHead * 2 > waiting.length + ROOM_KEPT) {
      waiting.splice(0, this.#roomHead);
      this.#roomHead = 0;
    }
    return first;
  }

  #letIn(first: WaitingForRoom): void {
    first.gone = true;
    first.go();
  }

  #fits(bytes: number): boolean {
    return this.#queuedBytes === 0 || this.#queuedBytes + bytes <= this.#limits.queuedBytes;
  }

  #release(bytes: number): void {
    this.#queuedBytes -= bytes;
    this.#unsettled -= 1;
    for (let next = this.#firstWaiting(); next !== undefined && this.#fits(next.bytes); next = this.#firstWaiting())
      this.#letIn(next);
    // Somebody just let in has counted its bytes and is about to be added.
    if (this.#unsettled === 0 && this.#queuedBytes === 0)
      for (const resolve of this.#waitingForIdle.splice(0)) resolve();
  }
}

/** @throws HadronError REQUEST_INVALID. Whether there is such a partition only the server knows */
export function checkPartition(partition: number | undefined): void {
  if (partition === undefined || (Number.isInteger(partition) && partition >= 0)) return;
  throw new HadronError('REQUEST_INVALID', `partition: ${partition} is no whole number from 0 on`, {
    field: 'partition',
  });
}

/** The next call's worth of a lane: an atomic entry alone, else as many as fit. */
function take(lane: Lane): Entry[] {
  lane.queue = lane.queue.filter((entry) => !entry.settled);
  let bytes = 0;
  let count = 0;
  let events = 0;
  for (const entry of lane.queue) {
    bytes += entry.bytes;
    events += entry.events.length;
    const fits = bytes <= CALL_BYTES_MAX && events <= CALL_EVENTS_MAX && !entry.atomic;
    if (count > 0 && !fits) break;
    count += 1;
    if (entry.atomic) break;
  }
  const taken = lane.queue.splice(0, count);
  for (const entry of taken) entry.sent = true;
  return taken;
}

function callOf(lane: Lane, entries: readonly Entry[]): PublishCall {
  return {
    stream: lane.stream,
    partition: lane.partition,
    atomic: entries.length === 1 && entries[0]?.atomic === true,
    events: entries.flatMap((entry) => entry.events),
  };
}

function settleAll(entries: readonly Entry[], error: HadronError): HadronError {
  for (const entry of entries) entry.settle(error);
  return error;
}

export function givenUp(signal: AbortSignal | undefined, wasSent: boolean): HadronError {
  const what = wasSent ? 'the event may have been published' : 'nothing was published';
  const effect = wasSent ? 'unknown' : 'none';
  return new HadronError('TIMED_OUT', `the caller's signal was aborted; ${what}`, { cause: signal?.reason, effect });
}
