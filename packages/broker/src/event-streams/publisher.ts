/**
 * From events to record batches, commits and answers, for one stream.
 *
 * Events of one tick are encoded as they come into one open batch per partition. At the end of the tick ({@link flush}),
 * or when it is full, a batch is committed; when all commits of the tick are durable its calls are answered, in the order
 * in which they came. A single event on this path costs its bytes and two small objects, no promise.
 *
 * An atomic call has batches of its own, committed as one set in its place among the others. A stream with a
 * deduplication window holds its calls until the end of the tick, when the window knows all that is visible.
 */
import { assert, type Clock, HadronError, type Random } from '@hadron/base';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import { eventKey, refusedWhole, validateEvent } from '@hadron/contracts/events';
import { partitionOfKey } from '@hadron/kafka-protocol/records';
import { batchBytesMaxOf } from '../ports/event-limits.ts';
import type { EventLog, EventPartition, EventStream, Ticket } from '../ports/event-log.ts';
import { BatchBuilder } from './batch-builder.ts';
import type { FirstPosition } from './dedupe-window.ts';
import { StreamDedupe } from './dedupe.ts';
import type { PublishOptions } from './service.ts';

/** A batch of small events is committed at this size: less than what the log writes straight to a segment. */
const BATCH_BYTES = 96 * 1024;
/** Builders kept for the next tick, and the memory that one of them may hold. */
const BUILDERS_KEPT = 64;
const BUILDER_BYTES_KEPT = 256 * 1024;

export type PublishDone = (error: HadronError | undefined, results: readonly PublishResult[]) => void;

/** What the publishers of all streams share. */
export interface PublisherHost {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly builders: BuilderPool;
  readonly stats: PublishStats;
  /** {@link StreamPublisher.flush} is to be called at the end of this tick. */
  schedule(publisher: StreamPublisher): void;
}

/** Plain counters, read when somebody asks. */
export interface PublishStats {
  publishedEvents: number;
  refusedEvents: number;
  duplicateEvents: number;
}

export class BuilderPool {
  private readonly idle: BatchBuilder[] = [];

  take(): BatchBuilder {
    return this.idle.pop() ?? new BatchBuilder();
  }

  giveBack(builder: BatchBuilder): void {
    builder.clear();
    if (builder.capacity <= BUILDER_BYTES_KEPT && this.idle.length < BUILDERS_KEPT) this.idle.push(builder);
  }
}

/** Where events of one batch lie: known when it is committed. */
class Batch {
  readonly partition: EventPartition;
  readonly builder: BatchBuilder;
  /** Where it will lie if it is committed in this turn. */
  readonly expectedBase: number;
  base = -1;
  error: HadronError | undefined;
  /** Events told to the deduplication window: taken back if the commit fails. */
  told: CloudEvent[] | undefined;

  constructor(partition: EventPartition, builder: BatchBuilder, expectedBase: number) {
    this.partition = partition;
    this.builder = builder;
    this.expectedBase = expectedBase;
  }
}

interface Call {
  answer(): void;
  fail(error: HadronError): void;
}

class OneEvent implements Call {
  private readonly done: PublishDone;
  private readonly batch: Batch;
  private readonly index: number;

  constructor(done: PublishDone, batch: Batch, index: number) {
    this.done = done;
    this.batch = batch;
    this.index = index;
  }

  answer(): void {
    const { batch } = this;
    if (batch.error !== undefined) this.done(batch.error, []);
    else this.done(undefined, [{ partition: batch.partition.index, offset: batch.base + this.index }]);
  }

  fail(error: HadronError): void {
    this.done(error, []);
  }
}

class ManyEvents implements Call {
  private readonly results: PublishResult[];
  /** Where each event was placed; undefined for one whose result is known. */
  private readonly batches: (Batch | undefined)[] = [];
  private readonly indexes: number[] = [];
  private readonly done: PublishDone;

  constructor(done: PublishDone, count: number) {
    this.done = done;
    this.results = new Array<PublishResult>(count);
  }

  /** Of event `i`: what is known of it, or where it was placed. */
  put(i: number, known: HadronError | FirstPosition | undefined, batch: Batch | undefined, index: number): void {
    this.batches.push(batch);
    this.indexes.push(index);
    if (known !== undefined) this.results[i] = asResult(known);
  }

  answer(): void {
    for (let i = 0; i < this.batches.length; i++) {
      const batch = this.batches[i];
      if (batch === undefined) continue;
      this.results[i] =
        batch.error !== undefined
          ? asResult(batch.error)
          : { partition: batch.partition.index, offset: batch.base + (this.indexes[i] as number) };
    }
    this.done(undefined, this.results);
  }

  fail(error: HadronError): void {
    this.done(error, []);
  }
}

/** An answer that is known already, and waits for its turn. */
class Known implements Call {
  private readonly done: PublishDone;
  private readonly error: HadronError | undefined;
  private readonly results: readonly PublishResult[];

  constructor(done: PublishDone, error: HadronError | undefined, results: readonly PublishResult[] = []) {
    this.done = done;
    this.error = error;
    this.results = results;
  }

  answer(): void {
    this.done(this.error, this.results);
  }

  fail(error: HadronError): void {
    this.done(error, []);
  }
}

/** Calls that are answered together, when what they rest on is durable. */
class Tick {
  readonly calls: Call[] = [];
  /** By shard. */
  readonly tickets = new Map<number, Ticket>();
  /** Records of a partition that is synced were put, or something was looked up. */
  strict = false;
  private waiting = 0;
  private error: HadronError | undefined;

  rest(shard: number, ticket: Ticket): void {
    this.tickets.set(shard, Math.max(this.tickets.get(shard) ?? 0, ticket));
  }

  answerWhenDurable(log: EventLog): void {
    this.waiting = this.tickets.size + 1;
    for (const [shard, ticket] of this.tickets) log.whenDurable(shard, ticket, this, this.strict ? 'fsync' : 'os');
    this.committed();
  }

  committed(): void {
    if (--this.waiting > 0) return;
    for (const call of this.calls) {
      if (this.error === undefined) call.answer();
      else call.fail(this.error);
    }
  }

  failed(error: HadronError): void {
    this.error = error;
    this.committed();
  }
}

interface Held {
  readonly events: readonly CloudEvent[];
  readonly options: PublishOptions;
  readonly done: PublishDone;
}

export class StreamPublisher {
  readonly stream: EventStream;
  private readonly host: PublisherHost;
  /** Open batches by partition, and which there are. */
  private readonly open: (Batch | undefined)[] = [];
  private touched: number[] = [];
  /** Full batches of the atomic call under way. */
  private sealed: Batch[] | undefined;
  private tick: Tick | undefined;
  private scheduled = false;
  private roundRobin: number;
  private dedupe: StreamDedupe | undefined;
  private held: Held[] = [];
  private reading = false;
  /** Where {@link place} put the event. */
  private placedIn: Batch | undefined;
  private placedAt = 0;
  private batchBytesMax = 0;
  private keysRequired = false;
  private partitionCount = 0;

  constructor(host: PublisherHost, stream: EventStream) {
    this.host = host;
    this.stream = stream;
    this.roundRobin = host.random.u32();
    this.configured();
  }

  /** The stream's settings may have changed. */
  configured(): void {
    const { dedupeWindowMs, dedupeEntries, cleanupPolicy } = this.stream.settings;
    this.batchBytesMax = batchBytesMaxOf(this.stream.settings);
    this.keysRequired = cleanupPolicy.compact;
    const { length } = this.stream.partitions;
    const shrank = length < this.partitionCount;
    this.partitionCount = length;
    if (!shrank && dedupeWindowMs === this.dedupe?.windowMs && dedupeEntries === this.dedupe.entriesMax) return;
    const { log, clock, random } = this.host;
    this.dedupe = dedupeWindowMs > 0 ? new StreamDedupe(log, this.stream, clock, random) : undefined;
  }

  publish(events: readonly CloudEvent[], options: PublishOptions, done: PublishDone): void {
    if (this.dedupe !== undefined || this.held.length > 0) this.held.push({ events, options, done });
    else this.accept(events, options, done);
    this.schedule();
  }

  /** Whoever waits gets this error; what is committed stays so. */
  close(error: HadronError): void {
    const { tick, held } = this;
    this.tick = undefined;
    this.held = [];
    for (const batch of this.takeOpen()) this.drop(batch);
    for (const call of tick?.calls ?? []) call.fail(error);
    for (const { done } of held) done(error, []);
  }

  /** The end of the tick: commits what is open; calls are answered when that is durable. */
  flush(): void {
    this.scheduled = false;
    if (this.held.length > 0 && !this.acceptHeld()) return;
    this.commitOpen();
    const { tick } = this;
    this.tick = undefined;
    tick?.answerWhenDurable(this.host.log);
  }

  private schedule(): void {
    if (this.scheduled || this.reading) return;
    this.scheduled = true;
    this.host.schedule(this);
  }

  // ------------------------------------------------------------------------------------------------------------ calls

  /** @returns false while the window reads; the flush comes again */
  private acceptHeld(): boolean {
    try {
      const reading = this.dedupe?.catchUp();
      if (reading !== undefined) {
        this.reading = true;
        const again = (error?: unknown): void => {
          this.reading = false;
          if (error !== undefined) this.refuseHeld(error);
          this.schedule();
        };
        reading.then(() => again(), again);
        return false;
      }
    } catch (error) {
      this.refuseHeld(error);
    }
    const held = this.held;
    this.held = [];
    for (const { events, options, done } of held) this.accept(events, options, done);
    return true;
  }

  private refuseHeld(cause: unknown): void {
    const error =
      cause instanceof HadronError
        ? cause
        : new HadronError('STORAGE_FAILED', 'the stream cannot be read for duplicates; try again', { cause });
    for (const { done } of this.held.splice(0)) done(error, []);
  }

  private accept(events: readonly CloudEvent[], options: PublishOptions, done: PublishDone): void {
    const tick = (this.tick ??= new Tick());
    const { partition } = options;
    if (partition !== undefined && this.stream.partitions[partition] === undefined) {
      tick.calls.push(new Known(done, noPartition(this.stream, partition)));
      return;
    }
    const dedupe = options.deduplicate !== false ? this.dedupe : undefined;
    if (options.atomic === true) {
      tick.calls.push(this.acceptAtomic(events, partition, dedupe, done));
      return;
    }
    if (events.length === 1) {
      const known = this.place(events[0] as CloudEvent, partition, dedupe);
      const { placedIn } = this;
      if (known === undefined && placedIn !== undefined) tick.calls.push(new OneEvent(done, placedIn, this.placedAt));
      else if (known !== undefined) tick.calls.push(new Known(done, undefined, [asResult(known)]));
      return;
    }
    const call = new ManyEvents(done, events.length);
    for (let i = 0; i < events.length; i++) {
      call.put(i, this.place(events[i] as CloudEvent, partition, dedupe), this.placedIn, this.placedAt);
    }
    tick.calls.push(call);
  }

  /** All of its events in one commit of their own, or none (§5.5.2). */
  private acceptAtomic(
    events: readonly CloudEvent[],
    partition: number | undefined,
    dedupe: StreamDedupe | undefined,
    done: PublishDone,
  ): Call {
    this.commitOpen();
    this.sealed = [];
    const call = new ManyEvents(done, events.length);
    let refusal: HadronError | undefined;
    for (let i = 0; i < events.length && refusal === undefined; i++) {
      const known = this.place(events[i] as CloudEvent, partition, dedupe);
      if (known instanceof HadronError) refusal = refusedWhole(known, i);
      else call.put(i, known, this.placedIn, this.placedAt);
    }
    const batches = [...this.sealed, ...this.takeOpen()];
    this.sealed = undefined;
    refusal ??= crossShard(batches);
    if (refusal !== undefined) for (const batch of batches) this.drop(batch);
    else if (batches.length > 0) this.commit(batches);
    refusal ??= batches[0]?.error;
    return refusal === undefined ? call : new Known(done, refusal);
  }

  // ----------------------------------------------------------------------------------------------------------- events

  /**
   * Puts the event into an open batch: `placedIn`, at `placedAt`.
   * @returns undefined; or why it is refused; or where it was stored before
   */
  private place(
    event: CloudEvent,
    chosen: number | undefined,
    dedupe: StreamDedupe | undefined,
  ): HadronError | FirstPosition | undefined {
    this.placedIn = undefined;
    const { stats } = this.host;
    const problem = this.problemOf(event);
    if (problem !== undefined) {
      stats.refusedEvents++;
      return problem;
    }
    const first = dedupe?.find(event);
    if (first !== undefined) {
      stats.duplicateEvents++;
      const batch = this.uncommitted(first);
      if (batch === undefined) {
        this.restOn(first.partition);
        return first;
      }
      // It shares the fate of the first, which may not be stored after all.
      this.placedIn = batch;
      this.placedAt = first.offset - batch.expectedBase;
      return undefined;
    }
    const p = chosen ?? this.partitionFor(event);
    const { batchBytesMax } = this;
    let batch = this.open[p] ?? this.begin(p);
    if (!batch.builder.add(event, batch.builder.count === 0 ? batchBytesMax : Math.min(BATCH_BYTES, batchBytesMax))) {
      if (batch.builder.count > 0) {
        this.seal(p, batch);
        batch = this.begin(p);
      }
      if (!batch.builder.add(event, batchBytesMax)) {
        stats.refusedEvents++;
        return tooLarge(this.stream);
      }
    }
    stats.publishedEvents++;
    this.placedIn = batch;
    this.placedAt = batch.builder.count - 1;
    if (this.dedupe !== undefined) {
      this.dedupe.stored(event, p, batch.expectedBase + this.placedAt);
      (batch.told ??= []).push(event);
    }
    return undefined;
  }

  private problemOf(event: CloudEvent): HadronError | undefined {
    try {
      validateEvent(event);
    } catch (error) {
      if (error instanceof HadronError) return error;
      throw error;
    }
    if (!this.keysRequired || eventKey(event) !== undefined) return undefined;
    return new HadronError(
      'EVENT_INVALID',
      `stream ${this.stream.name} is compacted and keeps the newest event of each key: set partitionkey or subject`,
      { field: 'partitionkey' },
    );
  }

  private partitionFor(event: CloudEvent): number {
    const count = this.stream.partitions.length;
    if (count === 1) return 0;
    const key = eventKey(event);
    return key === undefined ? this.roundRobin++ % count : partitionOfKey(key, count);
  }

  /** The answer of this tick tells what was said of the partition before: it waits for that (log.md G5). */
  private restOn(p: number): void {
    const partition = this.stream.partitions[p];
    if (partition === undefined) return;
    const tick = (this.tick ??= new Tick());
    tick.rest(partition.shard, this.host.log.lastTicket(partition.shard));
    if (partition.durability === 'fsync') tick.strict = true;
  }

  // ---------------------------------------------------------------------------------------------------------- batches

  private begin(p: number): Batch {
    const partition = this.stream.partitions[p] as EventPartition;
    let expectedBase = partition.nextOffset;
    for (const full of this.sealed ?? []) if (full.partition === partition) expectedBase += full.builder.count;
    const batch = new Batch(partition, this.host.builders.take(), expectedBase);
    this.open[p] = batch;
    this.touched.push(p);
    return batch;
  }

  /** The batch that will have this position when it is committed; undefined: it was committed. */
  private uncommitted({ partition, offset }: FirstPosition): Batch | undefined {
    const open = this.open[partition];
    if (open !== undefined && offset >= open.expectedBase) return open;
    return this.sealed?.find(
      (b) => b.partition.index === partition && offset >= b.expectedBase && offset < b.expectedBase + b.builder.count,
    );
  }

  private seal(p: number, batch: Batch): void {
    this.open[p] = undefined;
    this.touched.splice(this.touched.indexOf(p), 1);
    if (this.sealed !== undefined) this.sealed.push(batch);
    else this.commit([batch]);
  }

  private takeOpen(): Batch[] {
    const batches: Batch[] = [];
    for (const p of this.touched) {
      const batch = this.open[p] as Batch;
      this.open[p] = undefined;
      if (batch.builder.count > 0) batches.push(batch);
      else this.host.builders.giveBack(batch.builder);
    }
    this.touched = [];
    return batches;
  }

  private commitOpen(): void {
    if (this.touched.length === 0) return;
    for (const batch of this.takeOpen()) this.commit([batch]);
  }

  /** One set. What goes wrong is kept in the batches. */
  private commit(batches: readonly Batch[]): void {
    const { log, clock, builders } = this.host;
    const tick = (this.tick ??= new Tick());
    const { shard } = (batches[0] as Batch).partition;
    const nowMs = clock.wallMs();
    try {
      const { ticket, baseOffsets } = log.commit(
        shard,
        batches.map(({ partition, builder }) => ({ kind: 'records', partition, batch: builder.seal(nowMs) })),
      );
      tick.rest(shard, ticket);
      for (let i = 0; i < batches.length; i++) {
        const batch = batches[i] as Batch;
        batch.base = baseOffsets[i] as number;
        if (batch.partition.durability === 'fsync') tick.strict = true;
        if (batch.told === undefined) continue;
        assert(batch.base === batch.expectedBase, 'nobody appends while a batch is filled and committed in one turn');
        this.dedupe?.told(batch.partition.index, batch.base, batch.base + batch.builder.count);
      }
      for (const { builder } of batches) builders.giveBack(builder);
    } catch (error) {
      for (const batch of batches) this.drop(batch);
      if (!(error instanceof HadronError)) throw error;
      for (const batch of batches) batch.error = error;
    }
  }

  /** It is not committed. */
  private drop(batch: Batch): void {
    for (const event of batch.told ?? []) this.dedupe?.forget(event);
    this.host.stats.publishedEvents -= batch.builder.count;
    this.host.builders.giveBack(batch.builder);
  }
}

function asResult(known: HadronError | FirstPosition): PublishResult {
  if (!(known instanceof HadronError)) return known;
  const { code, detail: message, field } = known;
  return { error: { code, message, ...(field === undefined ? {} : { field }) } };
}

/** Why what goes to these partitions cannot be stored as one. */
export function crossShard(batches: readonly { readonly partition: EventPartition }[]): HadronError | undefined {
  const shards = new Map<number, Set<number>>();
  for (const { partition } of batches) {
    const partitions = shards.get(partition.shard) ?? new Set();
    shards.set(partition.shard, partitions.add(partition.index));
  }
  if (shards.size < 2) return undefined;
  const places = [...shards].map(([shard, partitions]) => `${[...partitions].join(', ')} on shard ${shard}`);
  return new HadronError(
    'CROSS_SHARD',
    `these events go to partitions of several shards (${places.join('; ')}) and cannot be stored as one; give them one partitionkey, one partition, or leave atomic out`,
  );
}

const noPartition = (stream: EventStream, partition: number): HadronError =>
  new HadronError(
    'REQUEST_INVALID',
    `stream ${stream.name} has partitions 0 to ${stream.partitions.length - 1}, not ${partition}`,
    { field: 'partition' },
  );

const tooLarge = (stream: EventStream): HadronError =>
  new HadronError(
    'EVENT_TOO_LARGE',
    `the event does not fit into ${batchBytesMaxOf(stream.settings)} bytes, the most that stream ${stream.name} takes (max.message.bytes); make it smaller, put its data elsewhere and name it in dataref, or raise the limit`,
  );
