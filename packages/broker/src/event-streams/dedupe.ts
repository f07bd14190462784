/**
 * The deduplication window of one stream: a function of its log, so that it is the same after a restart or a crash.
 *
 * Before it is asked it reads what became visible since, however that was published; at the first question, the newest
 * events of each partition. What this server publishes itself is told to it at once ({@link StreamDedupe.stored}), since
 * it may be asked for before it is durable; whoever answers from it waits for that (log.md G5).
 */
import { type Clock, HadronError, type Random } from '@hadron/base';
import type { CloudEvent } from '@hadron/contracts';
import { recordToEvent } from '@hadron/contracts/events';
import type { RecordCursor } from '@hadron/kafka-protocol/records';
import type { EventLog, EventPartition, EventStream, ReadBatches } from '../ports/event-log.ts';
import { forEachRecord } from '../ports/read-records.ts';
import { DedupeWindow, type FirstPosition } from './dedupe-window.ts';

const READ_BYTES = 256 * 1024;
/** Read in one go; then other work is let in. */
const READ_BYTES_PER_TICK = 1024 * 1024;

export class StreamDedupe {
  readonly windowMs: number;
  readonly entriesMax: number;
  readonly window: DedupeWindow;
  private readonly log: EventLog;
  private readonly stream: EventStream;
  private readonly clock: Clock;
  /** Read or told so far, of each partition. */
  private readonly positions: (number | undefined)[] = [];

  constructor(log: EventLog, stream: EventStream, clock: Clock, random: Random) {
    this.log = log;
    this.stream = stream;
    this.clock = clock;
    this.windowMs = stream.settings.dedupeWindowMs;
    this.entriesMax = stream.settings.dedupeEntries;
    this.window = new DedupeWindow(this.entriesMax, random);
  }

  find(event: CloudEvent): FirstPosition | undefined {
    return this.window.find(event.source, event.id, this.oldestMs());
  }

  /** The event is about to be stored there. */
  stored(event: CloudEvent, partition: number, offset: number): void {
    this.window.add(event.source, event.id, partition, offset, this.clock.wallMs(), this.oldestMs());
  }

  /** It was not stored after all. */
  forget(event: CloudEvent): void {
    this.window.forget(event.source, event.id);
  }

  /** All events of the batch `[base, next)` have been told. */
  told(partition: number, base: number, next: number): void {
    if (this.positions[partition] === base) this.positions[partition] = next;
  }

  /**
   * Reads what became visible. @returns undefined when that is all known; else a promise: ask again when it resolves
   * @throws HadronError (or rejects) STORAGE_FAILED, TOPIC_NOT_FOUND
   */
  catchUp(): Promise<void> | undefined {
    let bytes = 0;
    for (const p of this.stream.partitions) {
      const at = this.positions[p.index];
      if (at === undefined) {
        if (p.visibleOffset > p.startOffset) return this.begin();
        this.positions[p.index] = p.visibleOffset;
        continue;
      }
      for (let from = Math.max(at, p.startOffset); from < p.visibleOffset; from = this.positions[p.index] as number) {
        if (bytes >= READ_BYTES_PER_TICK) return new Promise((resolve) => this.clock.defer(resolve));
        const read = this.read(p, from);
        if (read instanceof Promise) return read;
        bytes += read;
      }
    }
    return undefined;
  }

  /** Reads and absorbs once. @returns bytes read, or a promise when they are not in memory */
  private read(p: EventPartition, from: number): number | Promise<void> {
    try {
      const read = this.log.read(p, from, READ_BYTES);
      if (!(read instanceof Promise)) return this.absorb(p, from, read);
      return read.then(
        (got) => void this.absorb(p, from, got),
        (error: unknown) => this.pass(p, from, error),
      );
    } catch (error) {
      this.pass(p, from, error);
      return 0;
    }
  }

  /**
   * Finds where to begin in the partitions that were not read yet: at the newest events, as many as the window holds, in
   * whichever partitions they lie. So it looks for the moment since which there are no more than that.
   */
  private async begin(): Promise<void> {
    const { entriesMax } = this;
    const partitions = this.stream.partitions.filter((p) => this.positions[p.index] === undefined);
    const since = (ms: number): Promise<number[]> => Promise.all(partitions.map((p) => this.log.offsetForTime(p, ms)));
    const count = (offsets: readonly number[]): number =>
      partitions.reduce((sum, p, i) => sum + p.visibleOffset - (offsets[i] as number), 0);
    let tooEarly = this.oldestMs();
    let starts = await since(tooEarly);
    if (count(starts) > entriesMax) {
      let early = starts;
      let late = this.clock.wallMs() + 1;
      starts = await since(late);
      while (late - tooEarly > 1) {
        const middle = Math.floor((tooEarly + late) / 2);
        const offsets = await since(middle);
        if (count(offsets) > entriesMax) [tooEarly, early] = [middle, offsets];
        else [late, starts] = [middle, offsets];
      }
      // Of those of one moment, such as a large batch, as many as there is room for.
      const room = Math.max(0, Math.floor((entriesMax - count(starts)) / partitions.length));
      starts = starts.map((start, i) => Math.max(early[i] as number, start - room));
    }
    partitions.forEach((p, i) => (this.positions[p.index] ??= Math.max(p.startOffset, starts[i] as number)));
  }

  private absorb(p: EventPartition, from: number, read: ReadBatches): number {
    let bytes = 0;
    const oldestMs = this.oldestMs();
    try {
      forEachRecord(read, from, (record) => {
        if (record.timestamp < oldestMs) return;
        const identity = identityOf(record);
        if (identity === undefined) return;
        this.window.add(identity.source, identity.id, p.index, record.offset, record.timestamp, oldestMs);
      });
      for (const part of read.parts) bytes += part.length;
    } finally {
      read.release();
    }
    this.positions[p.index] = Math.max(read.nextOffset, from);
    return bytes;
  }

  /** Goes on behind what cannot be read; what is not known is not deduplicated. */
  private pass(p: EventPartition, from: number, error: unknown): void {
    const code = error instanceof HadronError ? error.code : undefined;
    if (code === 'OFFSET_OUT_OF_RANGE') this.positions[p.index] = Math.max(from, p.startOffset);
    else if (code === 'CORRUPT_DATA') this.positions[p.index] = Math.max(this.log.undamagedFrom(p, from), from + 1);
    else throw error;
  }

  private oldestMs(): number {
    return this.clock.wallMs() - this.windowMs;
  }
}

const NOWHERE = { stream: '', topicId: '', partition: 0, offset: 0, timestampMs: -1 };
/** The source of a record that lies there and is no event of its own. */
const SOURCE_OF_PLAIN = recordToEvent({ key: null, value: null, headers: [] }, NOWHERE).source;

/**
 * The event that a record is; undefined where it only looks like one (K6): a true event must not be taken for its
 * duplicate.
 */
function identityOf(record: RecordCursor): Pick<CloudEvent, 'source' | 'id'> | undefined {
  const headers = record.headers();
  if (headers.length === 0) return undefined;
  const event = recordToEvent({ key: record.key(), value: record.value(), headers }, NOWHERE);
  return event.source === SOURCE_OF_PLAIN ? undefined : event;
}
