/**
 * Listeners of a stream as it grows.
 *
 * A **hub** reads for all listeners of one selection (a stream, or one partition of it) that keep up: each record is read
 * and copied once, and the same objects go to all of them, with the same array and cursor, so that a door encodes once. A
 * listener that is behind, because it began earlier or was paused, reads alone until it has caught up with the hub.
 *
 * Nothing is buffered for anybody: who is paused is a place in each partition, however long that takes.
 *
 *     catching ──caught up──► live ──pause──► paused ──resume──► catching
 */
import { type Clock, HadronError } from '@hadron/base';
import type { EventLog, EventPartition, EventStream, ReadBatches } from '../ports/event-log.ts';
import { forEachRecord, sliceOf } from '../ports/read-records.ts';
import { gone } from '../ports/refusals.ts';
import { encodeCursor } from './cursor.ts';
import { selectedPartitions } from './places.ts';
import type { Tail, TailListener, TailRecord } from './service.ts';

/** Read of one partition before others have their turn. */
const READ_BYTES = 128 * 1024;

export class TailHub {
  readonly stream: EventStream;
  readonly partition: number | undefined;
  readonly log: EventLog;
  readonly clock: Clock;
  /** Called when the last listener has left. */
  private readonly onIdle: () => void;
  private readonly listeners = new Set<Listening>();
  private partitions: readonly EventPartition[] = [];
  /** What live listeners have got of each partition. */
  private readonly heads: number[] = [];
  private readonly unwatch: (() => void)[] = [];
  private pumpScheduled = false;
  private pumping = false;
  private over = false;

  constructor(log: EventLog, clock: Clock, stream: EventStream, partition: number | undefined, onIdle: () => void) {
    this.log = log;
    this.clock = clock;
    this.stream = stream;
    this.partition = partition;
    this.onIdle = onIdle;
    this.refresh();
  }

  get size(): number {
    return this.listeners.size;
  }

  /** Partitions may have been added: they begin at their start. */
  refresh(): void {
    const first = this.partitions.length === 0;
    const now = selectedPartitions(this.stream, this.partition);
    // Those that went are still in this list: the next pump sees it.
    if (now.length < this.partitions.length) return this.schedulePump();
    this.partitions = [...now];
    while (this.heads.length < this.partitions.length) {
      const p = this.partitions[this.heads.length] as EventPartition;
      this.heads.push(first ? p.visibleOffset : p.startOffset);
      this.unwatch.push(this.log.watch(p, () => this.schedulePump()));
    }
    this.schedulePump();
  }

  /** @param places where it begins in each partition */
  join(places: number[], listener: TailListener): Tail {
    const listening = new Listening(this, listener, places);
    this.listeners.add(listening);
    listening.begin();
    return listening;
  }

  leave(listening: Listening): void {
    if (this.listeners.delete(listening) && this.listeners.size === 0) this.end(undefined);
  }

  /** Ends all listeners. */
  end(error: HadronError | undefined): void {
    if (this.over) return;
    this.over = true;
    for (const end of this.unwatch) end();
    for (const listening of [...this.listeners]) listening.end(error);
    this.listeners.clear();
    this.onIdle();
  }

  // ------------------------------------------------------------------------------------------------ what is read once

  private schedulePump(): void {
    if (this.pumpScheduled || this.over) return;
    this.pumpScheduled = true;
    this.clock.defer(() => {
      this.pumpScheduled = false;
      if (!this.pumping) void this.pump();
    });
  }

  private async pump(): Promise<void> {
    this.pumping = true;
    try {
      for (let i = 0; i < this.partitions.length && !this.over; i++) {
        const p = this.partitions[i] as EventPartition;
        if (p.removed) {
          this.end(gone(p));
          return;
        }
        const head = Math.max(this.heads[i] as number, p.startOffset);
        if (head >= p.visibleOffset) continue;
        if (!this.hasLive()) {
          this.heads[i] = p.visibleOffset;
          continue;
        }
        const got = this.log.read(p, head, READ_BYTES);
        const read = got instanceof Promise ? await got : got;
        const records = recordsOf(read, p.index, head);
        this.heads[i] = Math.max(read.nextOffset, head);
        this.tell(records);
        if ((this.heads[i] as number) < p.visibleOffset) this.schedulePump();
      }
    } catch (error) {
      this.endLive(asHadronError(error));
    } finally {
      this.pumping = false;
    }
  }

  private hasLive(): boolean {
    for (const l of this.listeners) if (l.isLive) return true;
    return false;
  }

  private tell(records: readonly TailRecord[]): void {
    if (records.length === 0) return;
    let cursor: string | undefined;
    for (const l of [...this.listeners]) {
      if (!l.isLive) continue;
      if (l.ahead === undefined) l.listener.records(records, (cursor ??= this.cursorOf(this.heads)));
      else l.tellRest(records, this.heads);
    }
  }

  private endLive(error: HadronError): void {
    for (const l of [...this.listeners]) {
      if (!l.isLive) continue;
      this.leave(l);
      l.end(error);
    }
  }

  // ------------------------------------------------------------------------------------------------ for one listener

  cursorOf(places: readonly number[]): string {
    return encodeCursor(this.stream.topicId, this.partition, places);
  }

  headsNow(): number[] {
    return [...this.heads];
  }

  /** The first partition, from `after` on in turn, in which `places` is behind; -1 when none is. */
  behind(places: readonly number[], after: number): number {
    const n = this.partitions.length;
    for (let k = 0; k < n; k++) {
      const i = (after + k) % n;
      if ((places[i] ?? 0) < (this.heads[i] as number)) return i;
    }
    return -1;
  }

  read(i: number, from: number): ReadBatches | Promise<ReadBatches> {
    return this.log.read(this.partitions[i] as EventPartition, from, READ_BYTES);
  }

  partitionAt(i: number): EventPartition {
    return this.partitions[i] as EventPartition;
  }
}

/** One listener. While it is live, its place is the hub's. */
class Listening implements Tail {
  readonly listener: TailListener;
  private readonly hub: TailHub;
  /** Undefined while it is live. */
  private places: number[] | undefined;
  /** A live one that has got more than the hub gave so far, until the hub has passed that. */
  ahead: number[] | undefined;
  private paused = false;
  private over = false;
  private reading = false;
  private turn = 0;

  constructor(hub: TailHub, listener: TailListener, places: number[]) {
    this.hub = hub;
    this.listener = listener;
    this.places = places;
  }

  get isLive(): boolean {
    return this.places === undefined && !this.over;
  }

  begin(): void {
    this.readOn();
  }

  pause(): void {
    if (this.paused || this.over) return;
    this.paused = true;
    if (this.places !== undefined) return;
    this.places = further(this.hub.headsNow(), this.ahead);
    this.ahead = undefined;
  }

  resume(): void {
    if (!this.paused || this.over) return;
    this.paused = false;
    this.readOn();
  }

  close(): void {
    if (this.over) return;
    this.over = true;
    this.hub.leave(this);
  }

  end(error: HadronError | undefined): void {
    if (this.over) return;
    this.over = true;
    this.listener.ended(error);
  }

  /** The hub's records without those that it has. */
  tellRest(records: readonly TailRecord[], heads: readonly number[]): void {
    const ahead = this.ahead as number[];
    const index = (r: TailRecord): number => (this.hub.partition === undefined ? r.partition : 0);
    const rest = records.filter((r) => r.offset >= (ahead[index(r)] ?? 0));
    if (heads.every((head, i) => head >= (ahead[i] ?? 0))) this.ahead = undefined;
    if (rest.length > 0) this.listener.records(rest, this.hub.cursorOf(further([...heads], this.ahead)));
  }

  /** Reads alone, a piece in each turn of the event loop, until it has caught up. */
  private readOn(): void {
    if (this.reading) return;
    this.reading = true;
    this.hub.clock.defer(() => {
      void this.readOnce().then(
        () => {
          this.reading = false;
          if (this.places !== undefined && !this.paused && !this.over) this.readOn();
        },
        (error: unknown) => {
          this.reading = false;
          this.hub.leave(this);
          this.end(asHadronError(error));
        },
      );
    });
  }

  private async readOnce(): Promise<void> {
    const { places, hub } = this;
    if (places === undefined || this.paused || this.over) return;
    const i = hub.behind(places, this.turn);
    if (i < 0) {
      // From here on with the others. It may be further than they are.
      this.places = undefined;
      const heads = hub.headsNow();
      this.ahead = places.some((place, k) => place > (heads[k] ?? 0)) ? places : undefined;
      return;
    }
    this.turn = i + 1;
    const p = hub.partitionAt(i);
    const from = Math.max(places[i] ?? 0, p.startOffset);
    const got = hub.read(i, from);
    const read = got instanceof Promise ? await got : got;
    if (this.paused || this.over) {
      read.release();
      return;
    }
    const records = recordsOf(read, p.index, from);
    while (places.length < i) places.push(0);
    places[i] = Math.max(read.nextOffset, from);
    if (records.length > 0) this.listener.records(records, hub.cursorOf(places));
  }
}

/** Of each place the further one. */
function further(places: number[], others: readonly number[] | undefined): number[] {
  return others === undefined ? places : places.map((place, i) => Math.max(place, others[i] ?? 0));
}

function recordsOf(read: ReadBatches, partition: number, from: number): TailRecord[] {
  const records: TailRecord[] = [];
  try {
    forEachRecord(read, from, (record) => {
      records.push({ partition, offset: record.offset, record: sliceOf(record) });
    });
  } finally {
    read.release();
  }
  return records;
}

const asHadronError = (error: unknown): HadronError =>
  error instanceof HadronError
    ? error
    : new HadronError('STORAGE_FAILED', 'the stream cannot be read; resume from the last cursor', { cause: error });
