/** What the doors know of publishing and reading events. Implemented in this folder (README.md is the map). */
import type { HadronError } from '@hadron/base';
import type { CloudEvent, PublishResult, StreamInfo } from '@hadron/contracts';
import type { RecordSlice } from '../delivery/service.ts';

export interface PublishOptions {
  /** All or none. Default false. */
  readonly atomic?: boolean;
  /** Undefined: by key (murmur2 as Java; none: round-robin). */
  readonly partition?: number | undefined;
  /** Looks up source + id in the stream's deduplication window where it has one. Default true. */
  readonly deduplicate?: boolean;
}

/** A record batch v2 for one partition. */
export interface PartitionBatch {
  readonly partition: number;
  readonly batch: Buffer;
}

export interface TailFrom {
  readonly from:
    | 'beginning'
    | 'latest'
    | { readonly offset: number }
    | { readonly timeMs: number }
    /** Opaque, over all partitions, ≤ 10 B each. */
    | { readonly cursor: string };
  readonly partition?: number | undefined;
}

/** A record that was read, before it becomes an event in whatever form the reader wants. */
export interface TailRecord {
  readonly partition: number;
  readonly offset: number;
  readonly record: RecordSlice;
}

/** A page of a stream: in order per partition. */
export interface TailPage {
  readonly records: readonly TailRecord[];
  /** Resumes behind this page. */
  readonly cursor: string;
  /** Nothing more was there. */
  readonly atEnd: boolean;
}

export interface TailListener {
  /** Records in order per partition, and the cursor behind them. The same objects go to all listeners. */
  records(records: readonly TailRecord[], cursor: string): void;
  /** It fell behind its buffer, or the stream is gone. Resume from the last cursor. */
  ended(error: HadronError | undefined): void;
}

export interface Tail {
  /** Bytes that the listener has handed on and not got rid of; above the limit it is ended. */
  pause(): void;
  resume(): void;
  close(): void;
}

export interface EventStreams {
  /** Makes the stream where auto-creation is on. @throws HadronError TOPIC_NOT_FOUND, TOPIC_NAME_INVALID, STORAGE_… */
  info(stream: string): Promise<StreamInfo>;
  /**
   * Events of one call, answered in order when all are durable. Calls of one tick share record batches. The events and
   * their data must not change before `done`, which may come within this call where it is refused.
   * `done` gets the error of the whole call, or a result per event.
   */
  publish(
    stream: string,
    events: readonly CloudEvent[],
    options: PublishOptions,
    done: (error: HadronError | undefined, results: readonly PublishResult[]) => void,
  ): void;
  /**
   * One record batch v2 as opaque bytes, validated as Produce does, deduplicated by producer id, epoch and sequence.
   * `batch` is copied before this returns, and stamped in place where the stream stamps records (LogAppendTime).
   */
  publishBatch(
    stream: string,
    partition: number,
    batch: Buffer,
    done: (error: HadronError | undefined, baseOffset: number) => void,
  ): void;
  /**
   * As {@link EventStreams.publishBatch}, for several partitions, each at most once: all or none. Made again after a lost answer
   * it gives the first positions.
   */
  publishBatches(
    stream: string,
    batches: readonly PartitionBatch[],
    done: (error: HadronError | undefined, baseOffsets: readonly number[]) => void,
  ): void;
  /** An id for idempotent batches. Resolves when it is durable. */
  newProducer(): Promise<{ readonly id: number; readonly epoch: number }>;
  /**
   * Makes the stream where auto-creation is on, as a Kafka consumer of an unknown topic does; {@link EventStreams.tail} too.
   * @throws HadronError TOPIC_NOT_FOUND, TOPIC_NAME_INVALID, OFFSET_OUT_OF_RANGE, REQUEST_INVALID (an offset without a partition)
   */
  page(stream: string, from: TailFrom, limit: { readonly records: number; readonly bytes: number }): Promise<TailPage>;
  tail(stream: string, from: TailFrom, listener: TailListener): Promise<Tail>;
}
