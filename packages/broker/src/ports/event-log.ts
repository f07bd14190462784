/**
 * The log as the services above it see it (delivery, publishing, tailing, and later pipelines): append sets, reads,
 * watches, fencing by epoch. Nothing else of the engine may be used by them, so that another implementation (an existing
 * Kafka cluster, with transactions as append sets) can be put under them later. The contract suite is
 * `event-log.contract.ts`; implementations: `shard-event-log.ts` (the engine) and `memory-event-log.ts` (tests).
 *
 * Offsets are record offsets; ranges are half-open.
 */
import type { HadronError } from '@hadron/base';
import type { Durability } from '@hadron/log';
import type { TopicSettings } from '../config/index.ts';
import type { StateRecord } from '../state/state-log.ts';

export type { Replayed, StateRecord } from '../state/state-log.ts';

/** One partition of a stream. The object lives as long as the partition; `removed` says that it is gone. */
export interface EventPartition {
  readonly stream: string;
  /** Of this incarnation of the stream: groups, windows and progress hang on it. */
  readonly topicId: string;
  readonly index: number;
  /** Commits are atomic within a shard only. */
  readonly shard: number;
  readonly startOffset: number;
  /** Consumers may see what lies below: durable and committed (the last stable offset, delivery.md D3). */
  readonly visibleOffset: number;
  /** Behind everything that was appended, durable or not. */
  readonly nextOffset: number;
  readonly epoch: number;
  /** `os`: an answer about its records leaves when they are written (log.md G6). */
  readonly durability: Durability;
  readonly removed: boolean;
}

export interface EventStream {
  readonly name: string;
  readonly topicId: string;
  /** As it is configured now. */
  readonly settings: TopicSettings;
  readonly partitions: readonly EventPartition[];
}

/** Whole record batches as they are stored. Whoever gets it calls `release` once it has copied what it needs. */
export interface ReadBatches {
  readonly parts: readonly Buffer[];
  /** Behind the last batch read; gaps (compaction) are passed. */
  readonly nextOffset: number;
  release(): void;
}

/** Names one of the state logs of a shard. */
export type StateName = 'deliveries';

/** A part of a commit. */
export type Put =
  /** One record batch v2, not compressed beyond what the partition takes. It is validated as Produce does. */
  | { readonly kind: 'records'; readonly partition: EventPartition; readonly batch: Buffer }
  | { readonly kind: 'state'; readonly state: StateName; readonly records: readonly StateRecord[] };

/** A place in the order of a shard's commits. */
export type Ticket = number;

export interface CommitOptions {
  /** The commit happens only if these partitions are still in this epoch: a service that was replaced is fenced. */
  readonly fence?: readonly { readonly partition: EventPartition; readonly epoch: number }[] | undefined;
  /** Goes through on a full disk (settling frees space; publishing does not). Default false. */
  readonly control?: boolean | undefined;
}

export interface Committed {
  readonly ticket: Ticket;
  /** Base offset for each `records` put, in order. */
  readonly baseOffsets: readonly number[];
}

export interface DurableWaiter {
  committed(): void;
  failed(error: HadronError): void;
}

/** A stream was created, grown or configured (put), or is gone. */
export interface StreamChange {
  readonly type: 'put' | 'delete';
  readonly stream: EventStream;
}

export interface EventLog {
  stream(name: string): EventStream | undefined;
  streamById(topicId: string): EventStream | undefined;
  streams(): Iterable<EventStream>;
  /**
   * All of it or nothing; visible together. Durable when {@link whenDurable} says so for its ticket. A batch that its
   * producer sent before (id, epoch, sequence) is not appended again: its base offset is the first one.
   * @throws HadronError CROSS_SHARD, RECORD_INVALID, RECORD_TOO_LARGE, SEQUENCE_…, PRODUCER_EPOCH_FENCED,
   *   PRECONDITION_FAILED (fence), TOPIC_NOT_FOUND, STORAGE_…: nothing happened
   */
  commit(shard: number, puts: readonly Put[], options?: CommitOptions): Committed;
  /** Of the last commit: an answer about what is, or is not there, waits for it (log.md G5). */
  lastTicket(shard: number): Ticket;
  /**
   * Calls back when everything up to `ticket` is durable: at once, within this call, if it is.
   * @param durability `os` where only records of `os` partitions were put: then written is enough. Default `fsync`
   */
  whenDurable(shard: number, ticket: Ticket, waiter: DurableWaiter, durability?: Durability): void;
  /**
   * Batches from the one that holds `offset` on, at most about `maxBytes` but at least one if there is any below
   * `visibleOffset`; nothing at `visibleOffset`. Synchronous when the bytes are in memory. What is read may begin before
   * `offset` and hold control batches and holes: {@link forEachRecord} passes them.
   * @throws HadronError (or rejects) OFFSET_OUT_OF_RANGE, CORRUPT_DATA (see {@link undamagedFrom}), STORAGE_FAILED, TOPIC_NOT_FOUND
   */
  read(partition: EventPartition, offset: number, maxBytes: number): ReadBatches | Promise<ReadBatches>;
  /** The first offset at or behind `offset` that is not known to be damaged: where to go on after CORRUPT_DATA. */
  undamagedFrom(partition: EventPartition, offset: number): number;
  /** The first visible offset whose timestamp is at least `timeMs`; `visibleOffset` if there is none. */
  offsetForTime(partition: EventPartition, timeMs: number): Promise<number>;
  /** Calls `fn` (coalesced per commit) when `visibleOffset` or `startOffset` moved or the partition went. @returns end it */
  watch(partition: EventPartition, fn: () => void): () => void;
  /** Streams created, grown, configured, deleted. @returns end it */
  watchStreams(fn: (change: StreamChange) => void): () => void;
}
