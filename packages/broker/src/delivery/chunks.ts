/**
 * Recent pieces of partitions, cut into records: what several groups read at once is read and decompressed once, and what
 * a lane held back is often still here when its turn comes. One budget for all (D23).
 *
 * A chunk has memory of its own, so that nothing of the log stays pinned; whoever gets a record of it copies.
 */
import {
  batchBaseOffset,
  batchCodec,
  batchIsControl,
  batchSizeBytes,
  RecordCursor,
} from '@hadron/kafka-protocol/records';
import type { EventPartition, ReadBatches } from '../ports/event-log.ts';

export class Chunk {
  readonly from: number;
  readonly next: number;
  /** Ascending; control records and holes are left out. */
  readonly offsets: number[] = [];
  /** Each without its length prefix. */
  readonly records: Buffer[] = [];
  readonly timestamps: number[] = [];
  bytes = 0;

  constructor(from: number, read: ReadBatches) {
    this.from = from;
    this.next = read.nextOffset;
    const cursor = new RecordCursor();
    for (const part of read.parts) {
      const own = Buffer.from(part);
      this.bytes += own.length;
      for (let at = 0; at < own.length; at += batchSizeBytes(own, at)) {
        if (batchIsControl(own, at)) continue;
        this.from = Math.min(this.from, batchBaseOffset(own, at));
        cursor.open(own, at);
        const isPlain = batchCodec(own, at) === 0;
        while (cursor.next()) {
          const body = cursor.body();
          this.offsets.push(cursor.offset);
          this.records.push(body);
          this.timestamps.push(cursor.timestamp);
          this.bytes += RECORD_OVERHEAD + (isPlain ? 0 : body.length);
        }
      }
    }
  }

  /** Index of the first record at or behind `offset`. */
  indexOf(offset: number): number {
    let low = 0;
    let high = this.offsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.offsets[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Of a slice and its places in three lists. */
const RECORD_OVERHEAD = 120;

export class ChunkCache {
  readonly #bytesMax: number;
  /** Newest last. */
  readonly #chunks = new Map<EventPartition, Chunk[]>();
  readonly #order = new Set<Chunk>();
  readonly #owners = new Map<Chunk, EventPartition>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The chunk that covers `offset`. */
  find(partition: EventPartition, offset: number): Chunk | undefined {
    const chunks = this.#chunks.get(partition);
    if (chunks === undefined) return undefined;
    for (let i = chunks.length - 1; i >= 0; i--) {
      const chunk = chunks[i] as Chunk;
      if (chunk.from <= offset && offset < chunk.next) return chunk;
    }
    return undefined;
  }

  add(partition: EventPartition, chunk: Chunk): void {
    const chunks = this.#chunks.get(partition);
    if (chunks === undefined) this.#chunks.set(partition, [chunk]);
    else chunks.push(chunk);
    this.#order.add(chunk);
    this.#owners.set(chunk, partition);
    this.#bytes += chunk.bytes;
    for (const oldest of this.#order) {
      if (this.#bytes <= this.#bytesMax || oldest === chunk) break;
      this.#drop(oldest);
    }
  }

  forget(partition: EventPartition): void {
    for (const chunk of [...(this.#chunks.get(partition) ?? [])]) this.#drop(chunk);
  }

  #drop(chunk: Chunk): void {
    const partition = this.#owners.get(chunk) as EventPartition;
    const chunks = this.#chunks.get(partition) as Chunk[];
    chunks.splice(chunks.indexOf(chunk), 1);
    if (chunks.length === 0) this.#chunks.delete(partition);
    this.#owners.delete(chunk);
    this.#order.delete(chunk);
    this.#bytes -= chunk.bytes;
  }
}
