/**
 * An {@link EventLog} in memory, for tests of the services above: several shards, and a hand on durability. What was
 * committed is visible and durable after {@link MemoryEventLog.sync}, or by itself in a microtask with `autoSync`.
 *
 * {@link MemoryEventLog.crash} forgets what was not synced, and tells who waits for it that it failed.
 */
import { HadronError } from '@hadron/base';
import {
  BatchProblem,
  batchBaseSequence,
  batchLastOffsetDelta,
  batchProducerEpoch,
  batchProducerId,
  describeFinding,
  problemOf,
  RecordCursor,
  setBatchBaseOffset,
  setBatchLeaderEpoch,
  validateBatch,
} from '@hadron/kafka-protocol/records';
import type { Durability } from '@hadron/log';
import { brokerDefaults, type ConfigTexts, resolveTopicSettings, type TopicSettings } from '../config/index.ts';
import type { StateRecord } from '../state/state-log.ts';
import { ProducerStates } from '../streams/producer-state.ts';
import type {
  CommitOptions,
  Committed,
  DurableWaiter,
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

export interface MemoryEventLogOptions {
  /** Default 1. */
  readonly shards?: number;
  /** Commits become durable in a microtask of their own. Default false: {@link MemoryEventLog.sync} says when. */
  readonly autoSync?: boolean;
  /** Largest batch taken, in bytes. Default: no limit. */
  readonly batchBytesMax?: number;
}

interface StoredBatch {
  readonly base: number;
  readonly next: number;
  readonly bytes: Buffer;
}

class MemoryPartition implements EventPartition {
  readonly stream: string;
  readonly topicId: string;
  readonly index: number;
  readonly shard: number;
  readonly durability: Durability = 'fsync';
  startOffset = 0;
  visibleOffset = 0;
  nextOffset = 0;
  epoch = 0;
  removed = false;
  batches: StoredBatch[] = [];
  producers = new ProducerStates();
  readonly watchers = new Set<() => void>();

  constructor(stream: string, topicId: string, index: number, shard: number) {
    this.stream = stream;
    this.topicId = topicId;
    this.index = index;
    this.shard = shard;
  }

  tell(): void {
    for (const fn of [...this.watchers]) fn();
  }
}

class MemoryStream implements EventStream {
  readonly name: string;
  readonly topicId: string;
  settings: TopicSettings;
  readonly partitions: MemoryPartition[] = [];

  constructor(name: string, topicId: string, settings: TopicSettings) {
    this.name = name;
    this.topicId = topicId;
    this.settings = settings;
  }
}

interface MemoryShard {
  ticket: Ticket;
  durable: Ticket;
  /** Not durable yet: what becomes visible with it. */
  pending: { readonly ticket: Ticket; readonly ends: readonly { partition: MemoryPartition; next: number }[] }[];
  waits: { readonly ticket: Ticket; readonly waiter: DurableWaiter }[];
  states: Record<StateName, { readonly ticket: Ticket; readonly record: StateRecord }[]>;
}

export class MemoryEventLog implements EventLog {
  private readonly options: MemoryEventLogOptions;
  private readonly shards: MemoryShard[];
  private readonly byName = new Map<string, MemoryStream>();
  private readonly byId = new Map<string, MemoryStream>();
  private readonly watchers = new Set<(change: StreamChange) => void>();
  private syncScheduled = false;
  private made = 0;

  constructor(options: MemoryEventLogOptions = {}) {
    this.options = options;
    this.shards = Array.from({ length: options.shards ?? 1 }, () => ({
      ticket: 0,
      durable: 0,
      pending: [],
      waits: [],
      states: { deliveries: [] },
    }));
  }

  // ------------------------------------------------------------------------------------------------- the hand on it

  /** @param shardOf where each partition lies. Default: all on shard 0 */
  createStream(
    name: string,
    partitions = 1,
    shardOf: (index: number) => number = () => 0,
    config: ConfigTexts = {},
  ): EventStream {
    const id = (++this.made).toString(16).padStart(32, '0');
    const stream = new MemoryStream(name, id, resolveTopicSettings(config, brokerDefaults));
    for (let i = 0; i < partitions; i++) {
      stream.partitions.push(new MemoryPartition(name, stream.topicId, i, shardOf(i)));
    }
    this.byName.set(name, stream);
    this.byId.set(stream.topicId, stream);
    this.tell({ type: 'put', stream });
    return stream;
  }

  growStream(name: string, partitions: number, shard = 0): void {
    const stream = this.byName.get(name) as MemoryStream;
    while (stream.partitions.length < partitions) {
      stream.partitions.push(new MemoryPartition(name, stream.topicId, stream.partitions.length, shard));
    }
    this.tell({ type: 'put', stream });
  }

  removeStream(name: string): void {
    const stream = this.byName.get(name);
    if (stream === undefined) return;
    this.byName.delete(name);
    this.byId.delete(stream.topicId);
    this.tell({ type: 'delete', stream });
    for (const p of stream.partitions) {
      p.removed = true;
      p.tell();
    }
  }

  /** Retention, or DeleteRecords: whole batches below `offset` go, and the start moves. */
  trim(partition: EventPartition, offset: number): void {
    const p = partition as MemoryPartition;
    p.startOffset = Math.min(Math.max(offset, p.startOffset), p.visibleOffset);
    p.batches = p.batches.filter((b) => b.next > p.startOffset);
    p.tell();
  }

  /** Compaction: the batch that holds `offset` is gone. */
  compactAway(partition: EventPartition, offset: number): void {
    const p = partition as MemoryPartition;
    p.batches = p.batches.filter((b) => offset < b.base || offset >= b.next);
  }

  /** A new leader epoch: whoever was fenced by the old one is out. */
  raiseEpoch(partition: EventPartition): void {
    (partition as MemoryPartition).epoch++;
  }

  /** Makes everything durable, shows it, then answers: of one shard, or of all. */
  sync(shard?: number): void {
    for (const s of shard === undefined ? this.shards : [this.at(shard)]) {
      const upTo = s.ticket;
      s.durable = upTo;
      const moved = new Set<MemoryPartition>();
      for (const { ends } of s.pending.splice(0)) {
        for (const { partition, next } of ends) {
          partition.visibleOffset = Math.max(partition.visibleOffset, next);
          moved.add(partition);
        }
      }
      for (const p of moved) p.tell();
      const ready = s.waits.filter((w) => w.ticket <= upTo);
      s.waits = s.waits.filter((w) => w.ticket > upTo);
      for (const { waiter } of ready) waiter.committed();
    }
  }

  /** Forgets what is not durable, as a crash does. Streams stay; services are built anew from {@link stateRecords}. */
  crash(): void {
    const error = new HadronError('STORAGE_FAILED', 'the process died; try again');
    for (const s of this.shards) {
      s.ticket = s.durable;
      s.pending = [];
      for (const { waiter } of s.waits.splice(0)) waiter.failed(error);
      for (const state of Object.values(s.states)) {
        const kept = state.findIndex((r) => r.ticket > s.durable);
        if (kept !== -1) state.length = kept;
      }
    }
    for (const stream of this.byName.values()) {
      for (const p of stream.partitions) {
        p.batches = p.batches.filter((b) => b.next <= p.visibleOffset);
        p.nextOffset = p.visibleOffset;
        p.watchers.clear();
        p.producers = new ProducerStates();
        for (const b of p.batches) noteProducer(p, b.bytes, b.base);
      }
    }
    this.watchers.clear();
  }

  /** The records of a state log, oldest first: what recovery replays. */
  stateRecords(state: StateName, shard = 0): StateRecord[] {
    return this.at(shard).states[state].map((r) => r.record);
  }

  // ------------------------------------------------------------------------------------------------------- the port

  stream(name: string): EventStream | undefined {
    return this.byName.get(name);
  }

  streamById(topicId: string): EventStream | undefined {
    return this.byId.get(topicId);
  }

  streams(): Iterable<EventStream> {
    return this.byName.values();
  }

  commit(shard: number, puts: readonly Put[], options: CommitOptions = {}): Committed {
    const s = this.at(shard);
    const onShard = (partition: EventPartition): MemoryPartition => {
      if (partition.removed) throw gone(partition);
      if (partition.shard !== shard) throw crossShard(partition, shard);
      return partition as MemoryPartition;
    };
    // Everything is judged before anything is done.
    for (const { partition, epoch } of options.fence ?? []) {
      const p = onShard(partition);
      if (p.epoch !== epoch) {
        throw new HadronError('PRECONDITION_FAILED', `${p.stream}-${p.index} is in epoch ${p.epoch}, not ${epoch}`);
      }
    }
    const verdicts = puts.map((put) =>
      put.kind === 'records' ? this.judge(onShard(put.partition), put.batch) : undefined,
    );
    const baseOffsets: number[] = [];
    const ends: { partition: MemoryPartition; next: number }[] = [];
    let ticket = s.ticket;
    const appends = puts.some((put, i) =>
      put.kind === 'records' ? verdicts[i] === undefined : put.records.length > 0,
    );
    if (appends) ticket = ++s.ticket;
    puts.forEach((put, i) => {
      if (put.kind === 'state') {
        for (const record of put.records) s.states[put.state].push({ ticket, record: copyOf(record) });
        return;
      }
      const known = verdicts[i];
      if (known !== undefined) {
        baseOffsets.push(known);
        return;
      }
      const p = put.partition as MemoryPartition;
      const bytes = Buffer.from(put.batch);
      const base = p.nextOffset;
      setBatchBaseOffset(bytes, 0, base);
      setBatchLeaderEpoch(bytes, 0, p.epoch);
      const next = base + batchLastOffsetDelta(bytes, 0) + 1;
      p.batches.push({ base, next, bytes });
      p.nextOffset = next;
      noteProducer(p, bytes, base);
      baseOffsets.push(base);
      ends.push({ partition: p, next });
    });
    if (ends.length > 0) s.pending.push({ ticket, ends });
    if (appends && this.options.autoSync === true && !this.syncScheduled) {
      this.syncScheduled = true;
      queueMicrotask(() => {
        this.syncScheduled = false;
        this.sync();
      });
    }
    return { ticket, baseOffsets };
  }

  lastTicket(shard: number): Ticket {
    return this.at(shard).ticket;
  }

  whenDurable(shard: number, ticket: Ticket, waiter: DurableWaiter): void {
    const s = this.at(shard);
    if (ticket <= s.durable) waiter.committed();
    else s.waits.push({ ticket, waiter });
  }

  read(partition: EventPartition, offset: number, maxBytes: number): ReadBatches {
    const p = partition as MemoryPartition;
    if (p.removed) throw gone(p);
    if (offset < p.startOffset || offset > p.visibleOffset) throw outOfRange(p, offset);
    const parts: Buffer[] = [];
    let bytes = 0;
    let next = p.visibleOffset;
    for (const b of p.batches) {
      if (b.next <= offset || b.next > p.visibleOffset) continue;
      if (parts.length > 0 && bytes + b.bytes.length > maxBytes) {
        next = b.base;
        break;
      }
      parts.push(b.bytes);
      bytes += b.bytes.length;
    }
    return { parts, nextOffset: Math.max(next, offset), release() {} };
  }

  undamagedFrom(_partition: EventPartition, offset: number): number {
    return offset;
  }

  async offsetForTime(partition: EventPartition, timeMs: number): Promise<number> {
    const p = partition as MemoryPartition;
    const cursor = new RecordCursor();
    for (const b of p.batches) {
      if (b.next > p.visibleOffset) break;
      cursor.open(b.bytes);
      while (cursor.next()) if (cursor.timestamp >= timeMs && cursor.offset >= p.startOffset) return cursor.offset;
    }
    return p.visibleOffset;
  }

  watch(partition: EventPartition, fn: () => void): () => void {
    const listener = (): void => fn();
    const { watchers } = partition as MemoryPartition;
    watchers.add(listener);
    return () => void watchers.delete(listener);
  }

  watchStreams(fn: (change: StreamChange) => void): () => void {
    const listener = (change: StreamChange): void => fn(change);
    this.watchers.add(listener);
    return () => void this.watchers.delete(listener);
  }

  /** @returns the base offset of a duplicate, undefined for what is to be appended. @throws HadronError */
  private judge(p: MemoryPartition, batch: Buffer): number | undefined {
    const { batchBytesMax } = this.options;
    const finding = validateBatch(batch, 0, batch.length, batchBytesMax === undefined ? {} : { batchBytesMax });
    if (finding !== 0) {
      const problem = problemOf(finding);
      const { message } = describeFinding(finding);
      if (problem === BatchProblem.TOO_LARGE) throw new HadronError('RECORD_TOO_LARGE', message);
      if (problem === BatchProblem.CRC || problem === BatchProblem.TRUNCATED)
        throw new HadronError('CORRUPT_DATA', message);
      throw new HadronError('RECORD_INVALID', message);
    }
    const id = batchProducerId(batch, 0);
    if (id < 0) return undefined;
    const extent = batchLastOffsetDelta(batch, 0) + 1;
    const verdict = p.producers.judge(id, batchProducerEpoch(batch, 0), batchBaseSequence(batch, 0), extent);
    if (verdict.kind === 'error') throw new HadronError(verdict.code, 'the batch does not follow the one before');
    return verdict.kind === 'duplicate' ? verdict.baseOffset : undefined;
  }

  private at(shard: number): MemoryShard {
    const s = this.shards[shard];
    if (s === undefined) throw new TypeError(`there is no shard ${shard}`);
    return s;
  }

  private tell(change: StreamChange): void {
    for (const fn of [...this.watchers]) fn(change);
  }
}

function noteProducer(p: MemoryPartition, b: Buffer, base: number): void {
  const id = batchProducerId(b, 0);
  if (id < 0) return;
  const extent = batchLastOffsetDelta(b, 0) + 1;
  p.producers.appended(id, batchProducerEpoch(b, 0), batchBaseSequence(b, 0), extent, base, 0, 0);
}

const copyOf = (r: StateRecord): StateRecord => ({
  key: Buffer.from(r.key),
  value: r.value === null ? null : Buffer.from(r.value),
});
