/** Collects events into one record batch, in memory that is used again and again. */
import type { CloudEvent } from '@hadron/contracts';
import { RecordWriter, writeEventRecord } from '@hadron/contracts/events';
import { BATCH_HEADER_BYTES, NO_PRODUCER_ID, setBatchCrc, writeBatchHeader } from '@hadron/kafka-protocol/records';

const CAPACITY_FIRST = 16 * 1024;

export class BatchBuilder {
  /** Events in it. */
  count = 0;
  private readonly out = new RecordWriter(CAPACITY_FIRST);

  constructor() {
    this.out.length = BATCH_HEADER_BYTES;
  }

  /** The batch as it would be sealed now. */
  get bytes(): number {
    return this.out.length;
  }

  /** Memory it holds. */
  get capacity(): number {
    return this.out.bytes.length;
  }

  /** @returns whether the batch stays within `bytesMax`; if not, it is as it was before */
  add(event: CloudEvent, bytesMax: number): boolean {
    const before = this.out.length;
    if (before + (event.data?.length ?? 0) > bytesMax) return false;
    writeEventRecord(this.out, event, this.count, 0);
    if (this.out.length > bytesMax) {
      this.out.length = before;
      return false;
    }
    this.count++;
    return true;
  }

  /** The batch, all of its events stamped `timestampMs`: a view, valid until {@link clear}. */
  seal(timestampMs: number): Buffer {
    const { bytes, length } = this.out;
    const batch = Buffer.from(bytes.buffer, bytes.byteOffset, length);
    writeBatchHeader(batch, 0, {
      baseOffset: 0,
      sizeBytes: length,
      leaderEpoch: -1,
      attributes: 0,
      lastOffsetDelta: this.count - 1,
      baseTimestamp: timestampMs,
      maxTimestamp: timestampMs,
      producerId: NO_PRODUCER_ID,
      producerEpoch: -1,
      baseSequence: -1,
      recordCount: this.count,
    });
    setBatchCrc(batch, 0);
    return batch;
  }

  clear(): void {
    this.count = 0;
    this.out.length = BATCH_HEADER_BYTES;
  }
}
