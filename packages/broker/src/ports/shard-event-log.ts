/**
 * The {@link EventLog} over the engine: streams are topics, commits are append sets of their shard, tickets are LSNs.
 *
 * Owned by `BrokerCore` (one shard today); takes several so that what spans shards is tested before there are several
 * (log.md G20). It holds nothing but the faces of the streams somebody asked for: what is true of a partition is asked
 * of the partition.
 */
import { HadronError } from '@hadron/base';
import { batchLastOffsetDelta, batchMaxTimestamp } from '@hadron/kafka-protocol/records';
import {
  type CommitWaiter,
  type Durability,
  type Precondition,
  readFile,
  type ReadResult,
  readTail,
  type SetEntry,
  type Shard,
} from '@hadron/log';
import type { TopicSettings } from '../config/index.ts';
import type { StateLog } from '../state/state-log.ts';
import { newProduceOutcome, type Partition, type ProduceOutcome } from '../streams/partition.ts';
import type { Topic, Topics } from '../streams/topics.ts';
import { batchBytesMaxOf } from './event-limits.ts';
import type {
  CommitOptions,
  Committed,
  EventLog,
  EventPartition,
  EventStream,
  Put,
  ReadBatches,
  StateName,
  StreamChange,
  Ticket,
} from './event-log.ts';
import { crossShard, gone, outOfRange } from './refusals.ts';

/** A shard and what lies on it. */
export interface EventShard {
  readonly shard: Shard;
  readonly topics: Topics;
  readonly states: Readonly<Record<StateName, StateLog>>;
}

/** A stream's face: the same object as long as the topic lives. */
class TopicStream implements EventStream {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: TopicPartition[] = [];
  readonly shard: number;
  private readonly topic: Topic;

  constructor(topic: Topic, shard: number) {
    this.name = topic.streamName;
    this.topicId = topic.id;
    this.topic = topic;
    this.shard = shard;
    this.refresh();
  }

  get settings(): TopicSettings {
    return this.topic.settings;
  }

  /** Partitions may have come or gone. */
  refresh(): void {
    const { partitions } = this.topic;
    this.partitions.length = Math.min(this.partitions.length, partitions.length);
    partitions.forEach((partition, i) => {
      if (this.partitions[i]?.partition === partition) return;
      this.partitions[i] = new TopicPartition(partition, this);
    });
  }
}

class TopicPartition implements EventPartition {
  readonly partition: Partition;
  private readonly of: TopicStream;

  constructor(partition: Partition, of: TopicStream) {
    this.partition = partition;
    this.of = of;
  }

  get stream(): string {
    return this.of.name;
  }

  get topicId(): string {
    return this.of.topicId;
  }

  get shard(): number {
    return this.of.shard;
  }

  get index(): number {
    return this.partition.index;
  }

  get startOffset(): number {
    return this.partition.logStartOffset;
  }

  // The last stable offset is the high watermark while there are no transactions.
  get visibleOffset(): number {
    return this.partition.highWatermark;
  }

  get nextOffset(): number {
    return this.partition.log.nextPosition;
  }

  get epoch(): number {
    return this.partition.leaderEpoch;
  }

  get durability(): Durability {
    return this.partition.log.durability;
  }

  get removed(): boolean {
    return this.partition.log.removed;
  }
}

/** A batch of a commit that the partition lets pass. */
interface Staged {
  readonly partition: Partition;
  readonly batch: Buffer;
  readonly baseOffset: number;
}

export class ShardEventLog implements EventLog {
  private readonly parts: readonly EventShard[];
  private readonly faces = new Map<string, TopicStream>();
  private readonly watchers = new Set<(change: StreamChange) => void>();
  private readonly outcome: ProduceOutcome = newProduceOutcome();

  constructor(parts: readonly EventShard[]) {
    this.parts = parts;
    parts.forEach((part, shard) => {
      part.topics.watch(({ type, topic }) => {
        const face = this.face(topic, shard);
        if (type === 'delete') this.faces.delete(topic.id);
        else face.refresh();
        for (const fn of [...this.watchers]) fn({ type, stream: face });
      });
    });
  }

  stream(name: string): EventStream | undefined {
    for (let shard = 0; shard < this.parts.length; shard++) {
      const topic = this.part(shard).topics.byStreamName(name);
      if (topic !== undefined) return this.face(topic, shard);
    }
    return undefined;
  }

  streamById(topicId: string): EventStream | undefined {
    for (let shard = 0; shard < this.parts.length; shard++) {
      const topic = this.part(shard).topics.getById(topicId);
      if (topic !== undefined) return this.face(topic, shard);
    }
    return undefined;
  }

  *streams(): Iterable<EventStream> {
    for (let shard = 0; shard < this.parts.length; shard++) {
      for (const topic of this.part(shard).topics.all()) yield this.face(topic, shard);
    }
  }

  commit(shard: number, puts: readonly Put[], options: CommitOptions = {}): Committed {
    const part = this.part(shard);
    const nowMs = part.shard.clock.wallMs();
    const preconditions: Precondition[] = (options.fence ?? []).map(({ partition, epoch }) => ({
      log: this.onShard(partition, shard).log,
      epoch,
    }));
    const entries: SetEntry[] = [];
    const staged: Staged[] = [];
    const baseOffsets: number[] = [];
    let lsn = 0;
    for (const put of puts) {
      if (put.kind === 'state') {
        if (put.records.length > 0) entries.push(part.states[put.state].entry(put.records));
        continue;
      }
      const partition = this.onShard(put.partition, shard);
      const { log } = partition;
      const { batch } = put;
      const { outcome } = this;
      if (!partition.judge(batch, 0, batch.length, true, nowMs, outcome, batchBytesMaxOf(partition.settings))) {
        if (outcome.error !== undefined) throw refused(partition, outcome);
        baseOffsets.push(outcome.baseOffset);
        lsn = Math.max(lsn, outcome.lsn);
        continue;
      }
      let baseOffset = log.nextPosition;
      for (const s of staged) {
        if (s.partition === partition) baseOffset = s.baseOffset + batchLastOffsetDelta(s.batch, 0) + 1;
      }
      staged.push({ partition, batch, baseOffset });
      baseOffsets.push(baseOffset);
      entries.push({
        kind: 'append',
        log,
        bytes: batch,
        at: 0,
        length: batch.length,
        extent: batchLastOffsetDelta(batch, 0) + 1,
        maxTimestamp: batchMaxTimestamp(batch, 0),
      });
    }
    if (entries.length > 0) {
      lsn = part.shard.appendSet(entries, { preconditions, control: options.control === true });
      for (const s of staged) s.partition.appended(s.batch, 0, s.baseOffset, nowMs);
    }
    return { ticket: lsn, baseOffsets };
  }

  lastTicket(shard: number): Ticket {
    return this.part(shard).shard.stagedLsn;
  }

  whenDurable(shard: number, ticket: Ticket, waiter: CommitWaiter, durability: Durability = 'fsync'): void {
    const { shard: engine } = this.part(shard);
    if (engine.isAnswerable(ticket, durability)) waiter.committed();
    else engine.when(ticket, durability, waiter);
  }

  read(partition: EventPartition, offset: number, maxBytes: number): ReadBatches | Promise<ReadBatches> {
    const { log } = this.known(partition);
    if (log.removed) throw gone(partition);
    if (offset < log.startPosition || offset > log.visiblePosition) throw outOfRange(partition, offset);
    if (offset === log.visiblePosition) return { parts: [], nextOffset: offset, release() {} };
    const { shard } = this.part(partition.shard);
    const tail = readTail(shard, log, offset, { maxBytes, atLeastOne: true });
    return tail !== undefined ? asRead(tail) : this.readOn(partition, offset, maxBytes);
  }

  /** From files, past gaps that compaction left, and from the files into the tail. */
  private async readOn(partition: EventPartition, offset: number, maxBytes: number): Promise<ReadBatches> {
    const { shard } = this.part(partition.shard);
    const { log } = this.known(partition);
    const options = { maxBytes, atLeastOne: true };
    try {
      for (let at = offset; ; ) {
        const got = readTail(shard, log, at, options) ?? (await readFile(shard, log, at, options));
        if (got.bytes > 0 || got.nextPosition >= log.visiblePosition) return asRead(got);
        if (got.nextPosition <= at) {
          throw new HadronError(
            'DATA_DAMAGED',
            `${log.name} cannot be read at ${at}; run "hadron log verify", or restore the data folder from a copy`,
          );
        }
        at = got.nextPosition;
      }
    } catch (error) {
      if (log.removed) throw gone(partition);
      throw error;
    }
  }

  undamagedFrom(partition: EventPartition, offset: number): number {
    const { log } = this.known(partition);
    let at = offset;
    for (let fence = log.fenceAt(at); fence !== undefined; fence = log.fenceAt(at)) at = fence.to;
    return at;
  }

  async offsetForTime(partition: EventPartition, timeMs: number): Promise<number> {
    const { offset } = await this.known(partition).offsetForTime(timeMs);
    return offset < 0 ? partition.visibleOffset : offset;
  }

  watch(partition: EventPartition, fn: () => void): () => void {
    const listener = { advanced: fn };
    const known = this.known(partition);
    known.wait(listener);
    return () => known.unwait(listener);
  }

  watchStreams(fn: (change: StreamChange) => void): () => void {
    const watcher = (change: StreamChange): void => fn(change);
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  }

  private face(topic: Topic, shard: number): TopicStream {
    let face = this.faces.get(topic.id);
    if (face === undefined) this.faces.set(topic.id, (face = new TopicStream(topic, shard)));
    return face;
  }

  private part(shard: number): EventShard {
    const part = this.parts[shard];
    if (part === undefined) throw new TypeError(`there is no shard ${shard}`);
    return part;
  }

  private known(partition: EventPartition): Partition {
    return (partition as TopicPartition).partition;
  }

  /** @throws HadronError CROSS_SHARD, TOPIC_NOT_FOUND */
  private onShard(partition: EventPartition, shard: number): Partition {
    if (partition.removed) throw gone(partition);
    if (partition.shard !== shard) throw crossShard(partition, shard);
    return this.known(partition);
  }
}

const asRead = (got: ReadResult): ReadBatches => ({
  parts: got.parts,
  nextOffset: got.nextPosition,
  release: () => got.release(),
});

const refused = (partition: Partition, outcome: ProduceOutcome): HadronError =>
  new HadronError(
    outcome.error ?? 'RECORD_INVALID',
    `${partition.topic}, partition ${partition.index}: ${outcome.message ?? 'the batch does not follow what this producer sent before'}`,
  );
