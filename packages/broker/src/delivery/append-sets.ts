/**
 * Append sets of one shard (delivery.md D2): all verdicts of one tick, with everything that belongs to them, are one commit.
 * A record for another shard goes into the set as an outbox entry; {@link AppendSets.put} hides which.
 */
import { HadronError } from '@hadron/base';
import type { EventLog, Put, StateRecord, Ticket } from '../ports/event-log.ts';
import { outboxRecord, type OutboxEntry } from './records.ts';
import type { SetPart } from './types.ts';

/** What must be durable together. */
export interface Contribution {
  readonly records: readonly StateRecord[];
  readonly parts: readonly SetPart[];
  /** For other shards, beside the records among `parts` that are. */
  readonly outbox?: readonly OutboxEntry[];
  /** It is committed: memory follows. */
  committed(): void;
  durable(): void;
  /** The log does not take it, and nothing of it was done. Undefined: it must be taken. */
  refused?(error: HadronError): void;
}

/** Where entries go that are committed with a set. */
export interface Outbox {
  /** Numbers are never used twice. */
  next(): number;
  committed(number: number, entry: OutboxEntry): void;
  /** Everything up to `number` may be moved. */
  durable(number: number): void;
}

export class AppendSets {
  readonly shard: number;
  private readonly log: EventLog;
  private readonly outbox: Outbox;
  private readonly onFailure: (error: HadronError) => void;
  private contributions: Contribution[] = [];
  private waiters: (() => void)[] = [];
  /** Of the last commit. */
  private ticket: Ticket = 0;
  /** Everything up to here has been answered. */
  private answered: Ticket = 0;
  /** Number of the last outbox entry committed. */
  private lastOutbox = 0;

  constructor(options: {
    readonly shard: number;
    readonly log: EventLog;
    readonly outbox: Outbox;
    readonly onFailure: (error: HadronError) => void;
  }) {
    this.shard = options.shard;
    this.log = options.log;
    this.outbox = options.outbox;
    this.onFailure = options.onFailure;
  }

  put(contribution: Contribution): void {
    this.contributions.push(contribution);
  }

  /** Calls `fn` when all that was decided up to now is durable. */
  whenDurable(fn: () => void): void {
    this.waiters.push(fn);
  }

  /**
   * Commits what has gathered, and then what `make` says of the state that this led to, before it returns.
   * @throws HadronError STORAGE_FULL: nothing of the second was done
   */
  commitNow(make: () => Contribution): void {
    if (!this.flush()) throw diskFull();
    const contribution = make();
    this.put(contribution);
    if (this.flush()) return;
    this.contributions = this.contributions.filter((c) => c !== contribution);
    throw diskFull();
  }

  private get isEmpty(): boolean {
    return this.contributions.length === 0 && this.waiters.length === 0;
  }

  /**
   * Commits what has gathered.
   * @returns false if it must be tried again later: the disk is full
   */
  flush(): boolean {
    if (this.isEmpty) return true;
    let some = this.contributions;
    const { waiters } = this;
    if (some.length > 0) {
      try {
        some = this.commit(some);
      } catch (error) {
        if (error instanceof HadronError && error.code === 'STORAGE_FULL') return false;
        this.onFailure(
          error instanceof HadronError ? error : new HadronError('INTERNAL', String(error), { cause: error }),
        );
        return true;
      }
    }
    this.contributions = [];
    this.waiters = [];
    const { ticket, lastOutbox } = this;
    if (some.length === 0 && ticket <= this.answered) {
      for (const fn of waiters) fn();
      return true;
    }
    this.log.whenDurable(this.shard, ticket, {
      committed: () => {
        this.answered = Math.max(this.answered, ticket);
        for (const contribution of some) contribution.durable();
        for (const fn of waiters) fn();
        if (lastOutbox > 0) this.outbox.durable(lastOutbox);
      },
      failed: (error) => this.onFailure(error),
    });
    return true;
  }

  /** @returns those that were taken */
  private commit(some: readonly Contribution[]): Contribution[] {
    try {
      this.append(some);
      for (const contribution of some) contribution.committed();
      return [...some];
    } catch (error) {
      const isOurs = error instanceof HadronError && error.kind !== 'unavailable' && error.kind !== 'closed';
      if (!isOurs || !some.some((c) => c.refused !== undefined)) throw error;
    }
    // One of them does not fit its stream: each that may be refused stands alone.
    const taken: Contribution[] = [];
    const must = some.filter((c) => c.refused === undefined);
    if (must.length > 0) this.append(must);
    for (const contribution of must) contribution.committed();
    taken.push(...must);
    for (const contribution of some) {
      if (contribution.refused === undefined) continue;
      try {
        this.append([contribution]);
        contribution.committed();
        taken.push(contribution);
      } catch (error) {
        if (!(error instanceof HadronError) || error.kind === 'unavailable' || error.kind === 'closed') throw error;
        contribution.refused(error);
      }
    }
    return taken;
  }

  private append(some: readonly Contribution[]): void {
    const records: StateRecord[] = [];
    const puts: Put[] = [];
    const outgoing: { readonly number: number; readonly entry: OutboxEntry }[] = [];
    const send = (entry: OutboxEntry): void => {
      const number = this.outbox.next();
      outgoing.push({ number, entry });
      records.push(outboxRecord(number, entry));
    };
    for (const contribution of some) {
      records.push(...contribution.records);
      for (const { partition, batch } of contribution.parts) {
        if (partition.shard === this.shard) puts.push({ kind: 'records', partition, batch });
        else {
          const { shard, topicId, index, stream } = partition;
          send({ kind: 'records', shard, topicId, partition: index, stream, batch });
        }
      }
      for (const entry of contribution.outbox ?? []) send(entry);
    }
    if (records.length > 0) puts.push({ kind: 'state', state: 'deliveries', records });
    this.ticket = Math.max(this.ticket, this.log.commit(this.shard, puts, { control: true }).ticket);
    for (const { number, entry } of outgoing) {
      this.outbox.committed(number, entry);
      this.lastOutbox = number;
    }
  }
}

const diskFull = (): HadronError =>
  new HadronError('STORAGE_FULL', 'the disk is full: nothing was changed; make room, then ask again');
