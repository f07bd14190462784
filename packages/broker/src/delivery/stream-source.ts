/**
 * A partition of a stream as a source of deliveries: filter, lane key, due time and expiry of each record, and its bytes
 * when it is handed out. Attributes are decoded only where a filter, `deliverat` or `expirytime` asks for them.
 */
import { type Clock, HadronError, type Logger } from '@hadron/base';
import {
  parseTimestamp,
  readRecord,
  type RecordContext,
  recordLookup,
  type RecordSettings,
} from '@hadron/contracts/events';
import type { CompiledFilter } from '@hadron/contracts/filters';
import type { EventLog, EventPartition, ReadBatches } from '../ports/event-log.ts';
import { Chunk, type ChunkCache } from './chunks.ts';
import type { RecordSlice } from './service.ts';
import type { Later, Scan, Source, SourceRecord } from './types.ts';

const CHUNK_BYTES = 128 * 1024;
/** Records that one step passes before others have their turn. */
const STEP_RECORDS = 500;
const RETRY_MS = 1_000;
const NEVER = Number.POSITIVE_INFINITY;

/** Reads pieces of partitions, in memory where they are; else says when to ask again. */
export class PartitionReader {
  readonly #log: EventLog;
  readonly #cache: ChunkCache;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** One read at a time for each place. */
  readonly #loading = new Map<EventPartition, Map<number, Later>>();

  constructor(options: { log: EventLog; cache: ChunkCache; clock: Clock; logger: Logger }) {
    this.#log = options.log;
    this.#cache = options.cache;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** The chunk that covers `offset`; undefined: there is nothing there (any more). */
  chunk(partition: EventPartition, offset: number): Chunk | Later | undefined {
    const cached = this.#cache.find(partition, offset);
    if (cached !== undefined) return cached;
    const waiting = this.#loading.get(partition)?.get(offset);
    if (waiting !== undefined) return waiting;
    if (partition.removed || offset < partition.startOffset || offset >= partition.visibleOffset) return undefined;
    try {
      const read = this.#log.read(partition, offset, CHUNK_BYTES);
      return read instanceof Promise ? this.#later(partition, offset, read) : this.#keep(partition, offset, read);
    } catch (error) {
      return this.#failed(partition, offset, error);
    }
  }

  #keep(partition: EventPartition, offset: number, read: ReadBatches): Chunk | undefined {
    try {
      if (read.nextOffset <= offset) return undefined;
      const chunk = new Chunk(offset, read);
      this.#cache.add(partition, chunk);
      if (chunk.damaged !== undefined) this.#passed(partition, chunk.damaged.offset, chunk.next, chunk.damaged.error);
      return chunk;
    } finally {
      read.release();
    }
  }

  #later(partition: EventPartition, offset: number, read: Promise<ReadBatches>): Later {
    const places = this.#loading.get(partition) ?? new Map<number, Later>();
    this.#loading.set(partition, places);
    const later = read
      .then((got) => void this.#keep(partition, offset, got))
      .catch((error: unknown) => {
        const again = this.#failed(partition, offset, error);
        return again instanceof Promise ? again : undefined;
      })
      .finally(() => {
        places.delete(offset);
        if (places.size === 0) this.#loading.delete(partition);
      });
    places.set(offset, later);
    return later;
  }

  /** Damaged bytes are passed: what lay there is gone. Else it is tried again in a while. */
  #failed(partition: EventPartition, offset: number, error: unknown): Chunk | Later | undefined {
    if (partition.removed || offset < partition.startOffset) return undefined;
    const code = error instanceof HadronError ? error.code : 'INTERNAL';
    const { stream, index } = partition;
    if (code === 'CORRUPT_DATA') {
      const next = Math.max(offset + 1, this.#log.undamagedFrom(partition, offset));
      this.#passed(partition, offset, next, error);
      const hole = new Chunk(offset, { parts: [], nextOffset: next, release() {} });
      this.#cache.add(partition, hole);
      return hole;
    }
    if (code === 'OFFSET_OUT_OF_RANGE' || code === 'TOPIC_NOT_FOUND') return undefined;
    this.#logger.warn({ stream, partition: index, offset, err: String(error) }, 'events cannot be read; trying again');
    return new Promise((resolve) => void this.#clock.setTimer(RETRY_MS, resolve));
  }

  #passed(partition: EventPartition, offset: number, next: number, error: unknown): void {
    const { stream, index } = partition;
    this.#logger.error({ stream, partition: index, offset, next, err: String(error) }, 'events are damaged and passed');
  }
}

export interface StreamSourceOptions {
  readonly log: EventLog;
  readonly reader: PartitionReader;
  readonly partition: EventPartition;
  readonly filter: CompiledFilter;
  /** Asked at each step: filters may change (D13). */
  readonly hasFilter: () => boolean;
  readonly recordSettings: RecordSettings | undefined;
  /** Lane keys are wanted. */
  readonly byKey: boolean;
}

export class StreamSource implements Source {
  readonly #options: StreamSourceOptions;

  constructor(options: StreamSourceOptions) {
    this.#options = options;
  }

  get start(): number {
    return this.#options.partition.startOffset;
  }

  get end(): number {
    return this.#options.partition.visibleOffset;
  }

  watch(fn: () => void): () => void {
    return this.#options.log.watch(this.#options.partition, fn);
  }

  next(from: number, known: boolean): Scan | Later | undefined {
    const { partition, reader, filter } = this.#options;
    const asks = !known && this.#options.hasFilter();
    const at = Math.max(from, partition.startOffset);
    if (at >= partition.visibleOffset || partition.removed) {
      return at > from ? { item: undefined, next: at } : undefined;
    }
    const chunk = reader.chunk(partition, at);
    if (chunk === undefined) return undefined;
    if (chunk instanceof Promise) return chunk;
    const first = chunk.indexOf(at);
    const stop = Math.min(chunk.offsets.length, first + STEP_RECORDS);
    for (let i = first; i < stop; i++) {
      const offset = chunk.offsets[i] as number;
      const body = chunk.records[i] as Buffer;
      const attribute = new Attributes(body, this.#contextOf(offset, chunk.timestamps[i] as number));
      if (asks && !filter(attribute.get)) continue;
      return {
        item: {
          id: offset,
          lane: this.#options.byKey ? laneOf(body, attribute) : undefined,
          dueMs: mentions(body, 'deliverat') ? attribute.time('deliverat', 0) : 0,
          expiresMs: mentions(body, 'expirytime') ? attribute.time('expirytime', NEVER) : NEVER,
        },
        next: offset + 1,
      };
    }
    return { item: undefined, next: stop < chunk.offsets.length ? (chunk.offsets[stop] as number) : chunk.next };
  }

  read(id: number): SourceRecord | Later | undefined {
    return readAt(this.#options.reader, this.#options.partition, id, this.#options.recordSettings);
  }

  #contextOf(offset: number, timestampMs: number): RecordContext {
    return contextOf(this.#options.partition, offset, timestampMs, this.#options.recordSettings);
  }
}

/** One record of a partition, with memory of its own. */
export function readAt(
  reader: PartitionReader,
  partition: EventPartition,
  offset: number,
  settings: RecordSettings | undefined,
): SourceRecord | Later | undefined {
  const chunk = reader.chunk(partition, offset);
  if (chunk === undefined || chunk instanceof Promise) return chunk;
  const i = chunk.indexOf(offset);
  if (chunk.offsets[i] !== offset || offset < partition.startOffset) return undefined;
  const bytes = Buffer.from(chunk.records[i] as Buffer);
  const record: RecordSlice = { bytes, timestampMs: chunk.timestamps[i] as number };
  if (!mentions(bytes, 'expirytime')) return { record, expiresMs: NEVER };
  const attribute = new Attributes(bytes, contextOf(partition, offset, record.timestampMs, settings));
  return { record, expiresMs: attribute.time('expirytime', NEVER) };
}

export function contextOf(
  partition: EventPartition,
  offset: number,
  timestampMs: number,
  settings: RecordSettings | undefined,
): RecordContext {
  return {
    stream: partition.stream,
    topicId: partition.topicId,
    partition: partition.index,
    offset,
    timestampMs,
    settings,
  };
}

/** The attributes of a record, decoded at the first question. */
class Attributes {
  readonly #body: Buffer;
  readonly #context: RecordContext;
  #lookup: ((name: string) => string | undefined) | undefined;

  constructor(body: Buffer, context: RecordContext) {
    this.#body = body;
    this.#context = context;
  }

  readonly get = (name: string): string | undefined => {
    this.#lookup ??= recordLookup(readRecord(this.#body), this.#context);
    return this.#lookup(name);
  };

  /** Milliseconds since 1970; what is no time counts as absent. */
  time(name: string, otherwise: number): number {
    const text = this.get(name);
    return text === undefined ? otherwise : (parseTimestamp(text) ?? otherwise);
  }
}

/** Most records mention neither: then nothing of them is decoded. */
const mentions = (body: Buffer, name: string): boolean => body.includes(name, 0, 'latin1');

/** D10: the record key, else `partitionkey`, else `subject`; an empty key is a key. */
function laneOf(body: Buffer, attribute: Attributes): string | undefined {
  let at = 1; // behind the attributes
  while ((body[at++] as number) >= 0x80); // timestamp delta
  while ((body[at++] as number) >= 0x80); // offset delta
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = body[at++] as number;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  if ((length & 1) === 0) return body.toString('latin1', at, at + (length >>> 1));
  const key = attribute.get('partitionkey') ?? attribute.get('subject');
  return key === undefined ? undefined : Buffer.from(key).toString('latin1');
}
