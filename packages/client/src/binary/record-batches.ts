/**
 * Events as Kafka record batches with producer id, epoch and sequence, so that the server stores each once however often
 * it is sent, without remembering anything about single events.
 *
 * A call's events become one batch per partition. The **producer** of a call belongs to it alone until all its batches are
 * decided: no batch of another call can come between in the sequences. Sequences move when a batch is stored; one that was
 * refused has used none. A call that is given up while it is not known whether it was stored keeps its producer for ever:
 * the next call takes another.
 */
import { setBatchCrc, writeBatchHeader, BATCH_HEADER_BYTES, partitionOfKey } from '@hadron/kafka-protocol/records';
import type { CloudEvent, PublishResult, StreamInfo } from '@hadron/contracts';
import { eventKey, RecordWriter, writeEventRecord } from '@hadron/contracts/events';

const SEQUENCES = 0x8000_0000;

export class Producer {
  readonly id: number;
  readonly epoch: number;
  readonly #next = new Map<string, number>();

  constructor(id: number, epoch: number) {
    this.id = id;
    this.epoch = epoch;
  }

  next(topicId: string, partition: number): number {
    return this.#next.get(`${topicId}/${partition}`) ?? 0;
  }

  stored({ topicId, partition, firstSequence, indexes }: Batch): void {
    this.#next.set(`${topicId}/${partition}`, (firstSequence + indexes.length) % SEQUENCES);
  }
}

/** The events of one partition, encoded. */
export interface Batch {
  readonly producer: Producer;
  readonly topicId: string;
  readonly partition: number;
  /** Of its events in the call. */
  readonly indexes: readonly number[];
  readonly firstSequence: number;
  readonly bytes: Uint8Array;
}

/** A call's events by partition: by key as Java's producer says; those without a key all to `keyless`. */
export function byPartition(
  events: readonly CloudEvent[],
  info: StreamInfo,
  fixed: number | undefined,
  keyless: number,
): Map<number, number[]> {
  const partitions = new Map<number, number[]>();
  for (let i = 0; i < events.length; i++) {
    const key = fixed === undefined ? eventKey(events[i] as CloudEvent) : undefined;
    const partition = fixed ?? (key === undefined ? keyless % info.partitions : partitionOfKey(key, info.partitions));
    const indexes = partitions.get(partition);
    if (indexes === undefined) partitions.set(partition, [i]);
    else indexes.push(i);
  }
  return partitions;
}

export function encodeBatch(
  events: readonly CloudEvent[],
  indexes: readonly number[],
  partition: number,
  producer: Producer,
  topicId: string,
  nowMs: number,
): Batch {
  const out = new RecordWriter(BATCH_HEADER_BYTES + indexes.length * 256);
  out.length = BATCH_HEADER_BYTES;
  for (let i = 0; i < indexes.length; i++) writeEventRecord(out, events[indexes[i] as number] as CloudEvent, i, 0);
  const firstSequence = producer.next(topicId, partition);
  const bytes = out.view();
  writeBatchHeader(bytes, 0, {
    baseOffset: 0,
    sizeBytes: bytes.length,
    leaderEpoch: -1,
    attributes: 0,
    lastOffsetDelta: indexes.length - 1,
    baseTimestamp: nowMs,
    maxTimestamp: nowMs,
    producerId: producer.id,
    producerEpoch: producer.epoch,
    baseSequence: firstSequence,
    recordCount: indexes.length,
  });
  setBatchCrc(bytes, 0);
  return { producer, topicId, partition, indexes, firstSequence, bytes };
}

/** A batch is stored: its producer's sequences move, and its events have their places. */
export function placeBatch(results: PublishResult[], batch: Batch, baseOffset: number): void {
  const { partition, indexes } = batch;
  batch.producer.stored(batch);
  for (let i = 0; i < indexes.length; i++) results[indexes[i] as number] = { partition, offset: baseOffset + i };
}
