/**
 * Events in and events read, for all streams: what the doors call. Everything about one stream is in its
 * {@link StreamPublisher}, made when it is first published to, and its {@link TailHub}s, there while somebody listens.
 *
 * Owned by `BrokerCore` and over with it: doors ask `broker.core.events` each time.
 */
import { type Clock, HadronError, type Random } from '@hadron/base';
import type { CloudEvent, StreamInfo } from '@hadron/contracts';
import type { EventLog, EventPartition, EventStream } from '../ports/event-log.ts';
import { infoOf } from '../ports/stream-info.ts';
import { encodeCursor } from './cursor.ts';
import { readPage } from './page.ts';
import { placesOf, selectedPartitions } from './places.ts';
import { BuilderPool, crossShard, type PublishDone, type PublisherHost, StreamPublisher } from './publisher.ts';
import type {
  EventStreams,
  PartitionBatch,
  PublishOptions,
  Tail,
  TailFrom,
  TailListener,
  TailPage,
} from './service.ts';
import { TailHub } from './tail.ts';

export interface EventStreamsOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly random: Random;
  /** Makes an unknown stream; undefined where that is off. @throws HadronError TOPIC_NAME_INVALID, STORAGE_… */
  readonly createStream: ((name: string) => void) | undefined;
  /** Gives a producer id when it is durable. */
  readonly allocateProducerId: (done: (id: number) => void, failed: (error: HadronError) => void) => void;
}

export class LogEventStreams implements EventStreams {
  private readonly options: EventStreamsOptions;
  private readonly host: PublisherHost;
  /** By name. */
  private readonly publishers = new Map<string, StreamPublisher>();
  /** By topic id, and partition where it is one only. */
  private readonly hubs = new Map<string, TailHub>();
  private readonly unwatch: () => void;
  private ready: StreamPublisher[] = [];
  private over: HadronError | undefined;

  constructor(options: EventStreamsOptions) {
    const { log, clock, random } = options;
    this.options = options;
    this.host = {
      log,
      clock,
      random,
      builders: new BuilderPool(),
      stats: { publishedEvents: 0, refusedEvents: 0, duplicateEvents: 0 },
      schedule: (publisher) => {
        if (this.ready.push(publisher) === 1) clock.defer(this.flush);
      },
    };
    this.unwatch = log.watchStreams(({ type, stream }) => {
      if (type === 'put') this.configured(stream);
      else this.removed(stream);
    });
  }

  /** Counters for metrics. */
  get stats(): { publishedEvents: number; refusedEvents: number; duplicateEvents: number; tails: number } {
    let tails = 0;
    for (const hub of this.hubs.values()) tails += hub.size;
    return { ...this.host.stats, tails };
  }

  async info(name: string): Promise<StreamInfo> {
    if (this.over !== undefined) throw this.over;
    const stream = await this.streamToRead(name);
    // Of one that is known already, too: its last change may be under way.
    await this.settled();
    return infoOf(stream);
  }

  publish(name: string, events: readonly CloudEvent[], options: PublishOptions, done: PublishDone): void {
    if (this.over !== undefined) {
      done(this.over, []);
      return;
    }
    let publisher = this.publishers.get(name);
    if (publisher === undefined) {
      try {
        publisher = new StreamPublisher(this.host, this.streamOrNew(name));
      } catch (error) {
        this.refuse(error, (e) => done(e, []));
        return;
      }
      this.publishers.set(name, publisher);
    }
    publisher.publish(events, options, done);
  }

  publishBatch(
    name: string,
    partition: number,
    batch: Buffer,
    done: (error: HadronError | undefined, baseOffset: number) => void,
  ): void {
    this.publishBatches(name, [{ partition, batch }], (error, [baseOffset = -1]) => done(error, baseOffset));
  }

  publishBatches(
    name: string,
    batches: readonly PartitionBatch[],
    done: (error: HadronError | undefined, baseOffsets: readonly number[]) => void,
  ): void {
    if (this.over !== undefined) {
      done(this.over, []);
      return;
    }
    const { log } = this.options;
    try {
      const stream = this.streamOrNew(name);
      const puts = batches.map(({ partition, batch }) => ({
        kind: 'records' as const,
        partition: selectedPartitions(stream, partition)[0] as EventPartition,
        batch,
      }));
      const refusal = notOneSet(puts);
      if (refusal !== undefined) throw refusal;
      const { shard } = (puts[0] as (typeof puts)[number]).partition;
      const { ticket, baseOffsets } = log.commit(shard, puts);
      const waiter = {
        committed: () => done(undefined, baseOffsets),
        failed: (error: HadronError) => done(error, []),
      };
      log.whenDurable(shard, ticket, waiter, puts.some((p) => p.partition.durability === 'fsync') ? 'fsync' : 'os');
    } catch (error) {
      this.refuse(error, (e) => done(e, []));
    }
  }

  newProducer(): Promise<{ readonly id: number; readonly epoch: number }> {
    return new Promise((resolve, reject) => {
      if (this.over !== undefined) reject(this.over);
      else this.options.allocateProducerId((id) => resolve({ id, epoch: 0 }), reject);
    });
  }

  async page(
    name: string,
    from: TailFrom,
    limit: { readonly records: number; readonly bytes: number },
  ): Promise<TailPage> {
    const { log } = this.options;
    const stream = await this.streamToRead(name);
    const places = await placesOf(log, stream, from);
    // As many as there were when it began: the cursor tells of each of them.
    const partitions = selectedPartitions(stream, from.partition).slice(0, places.length);
    const records = await readPage(log, partitions, places, limit);
    return {
      records,
      cursor: encodeCursor(stream.topicId, from.partition, places),
      atEnd: partitions.every((p, i) => (places[i] as number) >= p.visibleOffset),
    };
  }

  async tail(name: string, from: TailFrom, listener: TailListener): Promise<Tail> {
    const { log, clock } = this.options;
    const stream = await this.streamToRead(name);
    const places = await placesOf(log, stream, from);
    if (this.over !== undefined) throw this.over;
    if (log.streamById(stream.topicId) === undefined) throw gone(name);
    const key = hubKey(stream, from.partition);
    let hub = this.hubs.get(key);
    if (hub === undefined) {
      hub = new TailHub(log, clock, stream, from.partition, () => this.hubs.delete(key));
      this.hubs.set(key, hub);
    }
    return hub.join(places, listener);
  }

  /** Publishing and tailing are over; whoever waits gets this error. Pages can be read as long as the log can. */
  close(error: HadronError): void {
    if (this.over !== undefined) return;
    this.over = error;
    this.unwatch();
    for (const publisher of this.publishers.values()) publisher.close(error);
    this.publishers.clear();
    this.ready = [];
    for (const hub of [...this.hubs.values()]) hub.end(error);
  }

  private readonly flush = (): void => {
    const ready = this.ready;
    this.ready = [];
    for (const publisher of ready) publisher.flush();
  };

  /** As {@link streamOrNew}; what is said of a new stream, or of none, waits until that is durable. */
  private async streamToRead(name: string): Promise<EventStream> {
    const known = this.options.log.stream(name);
    if (known !== undefined) return known;
    if (this.over !== undefined) throw this.over;
    let stream: EventStream | undefined;
    let missing: unknown;
    try {
      stream = this.streamOrNew(name);
    } catch (error) {
      missing = error;
    }
    await this.settled();
    if (stream === undefined) throw missing;
    return stream;
  }

  /** Resolves when what is known of streams is durable: also that one is gone (log.md G5). */
  private settled(): Promise<void> {
    const { log } = this.options;
    return new Promise((committed, failed) => log.whenDurable(0, log.lastTicket(0), { committed, failed }));
  }

  private streamOrNew(name: string): EventStream {
    const { log, createStream } = this.options;
    const known = log.stream(name);
    if (known !== undefined) return known;
    if (createStream === undefined) throw notFound(name);
    createStream(name);
    return log.stream(name) as EventStream;
  }

  private refuse(cause: unknown, tell: (error: HadronError) => void): void {
    if (!(cause instanceof HadronError)) throw cause;
    this.settled().then(
      () => tell(cause),
      (error: HadronError) => tell(error),
    );
  }

  private configured(stream: EventStream): void {
    for (const publisher of this.publishers.values()) if (publisher.stream === stream) publisher.configured();
    for (const hub of this.hubs.values()) if (hub.stream === stream && hub.partition === undefined) hub.refresh();
  }

  private removed(stream: EventStream): void {
    // What is open is refused when its batch is committed: the answer is the same.
    for (const [name, publisher] of this.publishers) if (publisher.stream === stream) this.publishers.delete(name);
    const error = gone(stream.name);
    for (const hub of [...this.hubs.values()]) if (hub.stream === stream) hub.end(error);
  }
}

const hubKey = (stream: EventStream, partition: number | undefined): string =>
  partition === undefined ? stream.topicId : `${stream.topicId}/${partition}`;

/** Why batches for these partitions cannot be one set. */
function notOneSet(puts: readonly { readonly partition: EventPartition }[]): HadronError | undefined {
  if (new Set(puts.map(({ partition }) => partition.index)).size < Math.max(1, puts.length)) {
    return new HadronError('REQUEST_INVALID', 'a set has record batches, each for a partition of its own', {
      field: 'record_batches',
    });
  }
  return crossShard(puts);
}

const notFound = (name: string): HadronError =>
  new HadronError(
    'TOPIC_NOT_FOUND',
    `there is no stream ${name}, and streams are not made by using them here (auto.create.topics.enable is false); create it with "hadron apply" or as a Kafka topic`,
  );

const gone = (name: string): HadronError => new HadronError('TOPIC_NOT_FOUND', `stream ${name} was deleted`);
