/**
 * Moves what a shard has in its outbox to the shards it is for (delivery.md D2): in order, never before it is durable here,
 * and exactly once: the set that brings an entry there also says up to which number entries of this shard have arrived. A
 * crash between there and here makes it look at that number again and only remove the entry.
 */
import type { Clock, HadronError, Logger } from '@hadron/base';
import type { EventLog, EventPartition, StateRecord } from '../ports/event-log.ts';
import type { AppendSets, Outbox } from './append-sets.ts';
import { arrivedRecord, outboxRecord, type OutboxEntry } from './records.ts';
import type { SetPart } from './types.ts';

const ENTRIES_PER_SET = 200;
const RETRY_MS = 1_000;

type Redriven = Extract<OutboxEntry, { readonly kind: 'redrive' }>;

export interface ForwarderHost {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly logger: Logger;
  setsOf(shard: number): AppendSets;
  /** Up to which number entries of shard `from` have arrived on shard `at`. */
  arrived(at: number, from: number): number;
  setArrived(at: number, from: number, number: number): void;
  /** The record that takes a redrive to its group, and what to do once it is durable; undefined: the group is gone. */
  redrive(entry: Redriven): { readonly record: StateRecord; committed(): void; durable(): void } | undefined;
  /** Makes the stream of that name again. */
  makeStream(name: string, partitions: number): Promise<void>;
  wake(): void;
}

export class Forwarder implements Outbox {
  readonly entries = new Map<number, OutboxEntry>();
  private readonly shard: number;
  private readonly host: ForwarderHost;
  private last = 0;
  private durableTo = 0;
  private readonly busy = new Set<number>();
  /** Something that was bound for these was refused: one at a time, so that it holds up nothing else. */
  private readonly singly = new Set<number>();
  private closed = false;

  constructor(shard: number, host: ForwarderHost) {
    this.shard = shard;
    this.host = host;
  }

  replay(number: number, entry: OutboxEntry | null): void {
    this.last = Math.max(this.last, number);
    if (entry === null) this.entries.delete(number);
    else this.entries.set(number, entry);
  }

  /** Everything was replayed; `arrivedMax` is the highest number that any shard has of this one. */
  start(arrivedMax: number): void {
    this.last = Math.max(this.last, arrivedMax);
    this.durable(this.last);
  }

  close(): void {
    this.closed = true;
  }

  next(): number {
    return ++this.last;
  }

  committed(number: number, entry: OutboxEntry): void {
    this.entries.set(number, entry);
  }

  durable(number: number): void {
    this.durableTo = Math.max(this.durableTo, number);
    this.forward();
  }

  private forward(): void {
    if (this.closed) return;
    const byTarget = new Map<number, [number, OutboxEntry][]>();
    for (const [number, entry] of this.entries) {
      if (number > this.durableTo || this.busy.has(entry.shard)) continue;
      const some = byTarget.get(entry.shard) ?? [];
      byTarget.set(entry.shard, some);
      if (some.length < (this.singly.has(entry.shard) ? 1 : ENTRIES_PER_SET)) some.push([number, entry]);
    }
    for (const target of this.singly) if (!byTarget.has(target) && !this.busy.has(target)) this.singly.delete(target);
    for (const [target, some] of byTarget) this.move(target, some);
  }

  private move(target: number, some: readonly (readonly [number, OutboxEntry])[]): void {
    const { host, shard } = this;
    const arrived = host.arrived(target, shard);
    const there = host.setsOf(target);
    const parts: SetPart[] = [];
    const records: StateRecord[] = [];
    const redrives: { committed(): void; durable(): void }[] = [];
    let upTo = 0;
    for (const [number, entry] of some) {
      if (number > arrived) {
        if (entry.kind === 'records') {
          const partition = this.partitionOf(entry);
          if (partition === undefined) {
            this.makeStream(entry);
            break;
          }
          if (partition.shard !== target) {
            // Its stream was made anew, on another shard.
            if (upTo === 0) this.requeue(number, entry, partition.shard);
            break;
          }
          parts.push({ partition, batch: entry.batch });
        } else {
          const redrive = host.redrive(entry);
          if (redrive !== undefined) {
            records.push(redrive.record);
            redrives.push(redrive);
          }
        }
      }
      upTo = number;
    }
    if (upTo === 0) return;
    this.busy.add(target);
    const moved = some.filter(([number]) => number <= upTo).map(([number]) => number);
    if (upTo <= arrived) {
      this.remove(target, moved);
      return;
    }
    there.put({
      records: [arrivedRecord(shard, upTo), ...records],
      parts,
      committed() {
        host.setArrived(target, shard, upTo);
        for (const redrive of redrives) redrive.committed();
      },
      durable: () => {
        for (const redrive of redrives) redrive.durable();
        this.remove(target, moved);
      },
      refused: (error) => this.refused(target, some.slice(0, moved.length), error),
    });
    host.wake();
  }

  private remove(target: number, numbers: readonly number[]): void {
    this.host.setsOf(this.shard).put({
      records: numbers.map((number) => outboxRecord(number, null)),
      parts: [],
      committed: () => {
        for (const number of numbers) this.entries.delete(number);
      },
      durable: () => {
        this.busy.delete(target);
        this.forward();
      },
    });
    this.host.wake();
  }

  private partitionOf(entry: Extract<OutboxEntry, { readonly kind: 'records' }>): EventPartition | undefined {
    const { log } = this.host;
    const stream = log.streamById(entry.topicId) ?? log.stream(entry.stream);
    return stream?.partitions[entry.partition % stream.partitions.length];
  }

  /** Its stream was deleted while it was on its way. */
  private makeStream(entry: Extract<OutboxEntry, { readonly kind: 'records' }>): void {
    this.busy.add(entry.shard);
    const { host } = this;
    const again = (): void => void host.clock.setTimer(RETRY_MS, () => this.free(entry.shard));
    host.makeStream(entry.stream, entry.partition + 1).then(
      () => this.free(entry.shard),
      (error: unknown) => {
        host.logger.warn({ stream: entry.stream, err: String(error) }, 'a stream that an event is bound for is gone');
        again();
      },
    );
  }

  /** What is refused goes to the end, under a new number: what its target has seen of this shard is told by numbers. */
  private refused(target: number, some: readonly (readonly [number, OutboxEntry])[], error: HadronError): void {
    const [[number, entry] = []] = some;
    this.singly.add(target);
    if (some.length > 1 || number === undefined || entry === undefined) {
      this.free(target);
      return;
    }
    this.host.logger.warn(
      { from: this.shard, to: target, err: error.message },
      'another shard does not take an event; trying again',
    );
    this.host.clock.setTimer(RETRY_MS, () => {
      if (!this.closed) this.requeue(number, entry, target);
    });
  }

  /** The same entry, later or for another shard. It keeps its target busy until that is durable. */
  private requeue(number: number, entry: OutboxEntry, shard: number): void {
    this.busy.add(entry.shard);
    this.host.setsOf(this.shard).put({
      records: [outboxRecord(number, null)],
      parts: [],
      outbox: [{ ...entry, shard }],
      committed: () => this.entries.delete(number),
      durable: () => this.free(entry.shard),
    });
    this.host.wake();
  }

  private free(target: number): void {
    this.busy.delete(target);
    this.forward();
  }
}
