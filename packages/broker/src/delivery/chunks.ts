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
  ProtocolError,
  RecordCursor,
} from '@hadron/kafka-protocol/records';
import type { EventPartition, ReadBatches } from '../ports/event-log.ts';

/** Of a slice and its places in three lists. */
const RECORD_OVERHEAD = 120;
/** Of the lists, and of memory of its own. */
const CHUNK_OVERHEAD = 700;

export class Chunk {
  readonly from: number;
  readonly next: number;
  /** Ascending; control records and holes are left out. */
  readonly offsets: number[] = [];
  /** Each without its length prefix. */
  readonly records: Buffer[] = [];
  readonly timestamps: number[] = [];
  bytes = CHUNK_OVERHEAD;
  /** The first batch that cannot be decoded. What such batches hold is left out; the others are not affected. */
  damaged: { readonly offset: number; readonly error: ProtocolError } | undefined;

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
        const isPlain = batchCodec(own, at) === 0;
        try {
          cursor.open(own, at);
          while (cursor.next()) {
            const body = cursor.body();
            this.offsets.push(cursor.offset);
            this.records.push(body);
            this.timestamps.push(cursor.timestamp);
            this.bytes += RECORD_OVERHEAD + (isPlain ? 0 : body.length);
          }
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
          this.damaged ??= { offset: batchBaseOffset(own, at), error };
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

export class ChunkCache {
  readonly #bytesMax: number;
  /** By partition, in the order of their offsets; none lies within another. */
  readonly #chunks = new Map<EventPartition, Chunk[]>();
  /** Newest last. */
  readonly #owners = new Map<Chunk, EventPartition>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The chunk that covers `offset`. */
  find(partition: EventPartition, offset: number): Chunk | undefined {
    const chunks = this.#chunks.get(partition);
    const chunk = chunks?.[behind(chunks, offset) - 1];
    return chunk !== undefined && offset < chunk.next ? chunk : undefined;
  }

  add(partition: EventPartition, chunk: Chunk): void {
    let chunks = this.#chunks.get(partition);
    if (chunks === undefined) this.#chunks.set(partition, (chunks = []));
    let first = behind(chunks, chunk.from);
    const before = chunks[first - 1];
    if (before !== undefined && before.next >= chunk.next) return; // somebody else was faster
    if (before?.from === chunk.from) first--;
    // What lies within it would hide it from `find`.
    let end = first;
    for (let other = chunks[end]; other !== undefined && other.next <= chunk.next; other = chunks[++end]) {
      this.#bytes -= other.bytes;
      this.#owners.delete(other);
    }
    chunks.splice(first, end - first, chunk);
    this.#owners.set(chunk, partition);
    this.#bytes += chunk.bytes;
    for (const [oldest, owner] of this.#owners) {
      if (this.#bytes <= this.#bytesMax || oldest === chunk) break;
      this.#drop(oldest, owner);
    }
  }

  #drop(chunk: Chunk, partition: EventPartition): void {
    const chunks = this.#chunks.get(partition) as Chunk[];
    chunks.splice(chunks.indexOf(chunk, Math.max(0, behind(chunks, chunk.from) - 2)), 1);
    if (chunks.length === 0) this.#chunks.delete(partition);
    this.#owners.delete(chunk);
    this.#bytes -= chunk.bytes;
  }
}

/** Index of the first that begins behind `offset`. */
function behind(chunks: readonly Chunk[], offset: number): number {
  let low = 0;
  let high = chunks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((chunks[middle] as Chunk).from <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
