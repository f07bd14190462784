/**
 * Dead letters (delivery.md D19, D20): where they go, which are open, giving them again. Which are open is a progress over
 * the dead-letter stream, kept as a group without a name: settled is what was redriven or dropped.
 */
import { HadronError } from '@hadron/base';
import type { DeadLetter } from '@hadron/contracts';
import { readRecord, recordLookup, type RecordSettings } from '@hadron/contracts/events';
import { compileFilters } from '@hadron/contracts/filters';
import type { EventLog, EventPartition, EventStream, StateRecord } from '../ports/event-log.ts';
import type { Contribution } from './append-sets.ts';
import type { RecordSet } from './core/machine.ts';
import type { Redrive } from './core/progress.ts';
import {
  batchOf,
  certificateOf,
  type DeathCertificate,
  deadLetterBatch,
  withoutCertificate,
} from './dead-letter-record.ts';
import { type Group, groupNotFound } from './group.ts';
import { groupRecord, type OutboxEntry, setRecord } from './records.ts';
import type { DeadLetterEntry, DeadLetterQuery } from './service.ts';
import type { DeliverySettings } from './settings.ts';
import { contextOf, type PartitionReader, readAt } from './stream-source.ts';
import type { Later, SetPart, Settlement, SourceRecord } from './types.ts';

const LETTERS_PER_SET = 200;

/** Given again to its group, copied to a stream, or neither: dropped. */
interface Change {
  readonly redrive: boolean;
  readonly to?: string | undefined;
}

export interface DeadLettersHost {
  readonly log: EventLog;
  readonly reader: PartitionReader;
  readonly limits: DeliverySettings;
  readonly createStream:
    | ((name: string, partitions: number, config: Readonly<Record<string, string>>) => Promise<void> | void)
    | undefined;
  recordSettings(stream: string): RecordSettings | undefined;
  groupOf(stream: EventStream, name: string): Group | undefined;
  groupsOf(topicId: string): Iterable<Group>;
  /** The group without a name on a dead-letter stream, in memory; `isNew`: not recorded yet on this shard. */
  ledgerOf(stream: EventStream): Group;
  /** Whether its record is on that shard. */
  isRecorded(group: Group, shard: number): boolean;
  setRecorded(group: Group, shard: number): void;
  /** The record that gives an event again, with what to do when it is committed and durable. */
  redrive(
    group: Group,
    partition: number,
    redrive: Omit<Redrive, 'id'>,
  ): { readonly record: StateRecord; committed(): void; durable(): void };
  /** Resolves when it is durable; rejects when the log does not take it, or the service ends. */
  commit(shard: number, contribution: Omit<Contribution, 'durable'>): Promise<void>;
}

export class DeadLetters {
  private readonly host: DeadLettersHost;
  private readonly making = new Map<string, Promise<void>>();
  /** Being settled, and not committed yet: nobody settles them twice. */
  private readonly claimed = new WeakMap<EventPartition, Set<number>>();

  constructor(host: DeadLettersHost) {
    this.host = host;
  }

  /** Where what a group gives up on goes. */
  static streamOf(group: Group): string {
    return group.settings.policy.deadLetterStream ?? `${group.record.stream}.dead`;
  }

  /** What a verdict of this group takes with it. */
  settlementOf(group: Group, partition: EventPartition): Settlement {
    return {
      settle: (id, as, extras) => {
        if (as !== 'dead') return [];
        const target = this.target(DeadLetters.streamOf(group), group, partition);
        if (target instanceof Promise) return target;
        const death: DeathCertificate = {
          stream: partition.stream,
          partition: partition.index,
          offset: id,
          group: group.name,
          reason: extras.reason,
          code: extras.code,
          attempts: extras.attempts,
          firstMs: extras.firstMs,
          lastMs: extras.lastMs,
          redrive: extras.redrive,
        };
        return [{ partition: target, batch: deadLetterBatch(extras.record, death) }];
      },
    };
  }

  private target(name: string, group: Group, partition: EventPartition): EventPartition | Promise<void> {
    const { log } = this.host;
    const stream = log.stream(name);
    if (stream === undefined) {
      const partitions = log.streamById(group.record.topicId)?.partitions.length ?? partition.index + 1;
      return this.makeStream(name, partitions);
    }
    return stream.partitions[partition.index % stream.partitions.length] as EventPartition;
  }

  /** Makes a stream for dead letters: kept by size, for their timestamps are those of the originals. */
  makeStream(name: string, partitions: number): Promise<void> {
    let making = this.making.get(name);
    if (making === undefined) {
      making = this.make(name, partitions).finally(() => this.making.delete(name));
      this.making.set(name, making);
    }
    return making;
  }

  private async make(name: string, partitions: number): Promise<void> {
    const { createStream, limits, log } = this.host;
    if (createStream === undefined) {
      throw new HadronError('TOPIC_NOT_FOUND', `there is no stream ${name}, and streams are not made by themselves`);
    }
    await createStream(name, partitions, {
      'retention.ms': '-1',
      'retention.bytes': String(limits.deadLetterBytes),
      'max.message.bytes': '104857600',
      // Whatever the defaults of topics are: it takes every record, whenever it is from, and keeps it as it was.
      'cleanup.policy': 'delete',
      'message.timestamp.type': 'CreateTime',
      'message.timestamp.before.max.ms': String(2n ** 63n - 1n),
      'message.timestamp.after.max.ms': String(2n ** 63n - 1n),
    });
    if (log.stream(name) === undefined) throw new HadronError('TOPIC_NOT_FOUND', `the stream ${name} was not made`);
  }

  // ----------------------------------------------------------------------------------------------------------- reading

  /** The bytes of an event that comes again: the copy, as the record was. */
  readCopy(redrive: Redrive): SourceRecord | Later | undefined {
    const partition = this.host.log.streamById(redrive.topicId)?.partitions[redrive.partition];
    if (partition === undefined) return undefined;
    const found = readAt(this.host.reader, partition, redrive.position, this.host.recordSettings(partition.stream));
    if (found === undefined || found instanceof Promise) return found;
    return { record: withoutCertificate(found.record), expiresMs: found.expiresMs };
  }

  async *list(query: DeadLetterQuery): AsyncGenerator<DeadLetterEntry, void, undefined> {
    const { log, reader } = this.host;
    const source = log.stream(query.stream);
    const names = new Set([`${query.stream}.dead`]);
    if (source !== undefined)
      for (const group of this.host.groupsOf(source.topicId)) names.add(DeadLetters.streamOf(group));
    const filter = query.filters === undefined ? undefined : compileFilters(query.filters);
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    for (const name of names) {
      const stream = log.stream(name);
      if (stream === undefined) continue;
      const ledger = this.host.ledgerOf(stream);
      for (const partition of stream.partitions) {
        const { position } = query;
        if (position !== undefined && position.partition !== partition.index) continue;
        const progress = ledger.progressOf(partition.index);
        const end =
          position === undefined ? partition.visibleOffset : Math.min(position.offset + 1, partition.visibleOffset);
        let at = Math.max(position?.offset ?? progress.floor, partition.startOffset);
        while (at < end && left > 0) {
          const chunk = reader.chunk(partition, at);
          if (chunk instanceof Promise) {
            await chunk;
            continue;
          }
          if (chunk === undefined) break;
          for (let i = chunk.indexOf(at); i < chunk.offsets.length && left > 0; i++) {
            const offset = chunk.offsets[i] as number;
            if (offset >= end || progress.isSettled(offset)) continue;
            const record = {
              bytes: Buffer.from(chunk.records[i] as Buffer),
              timestampMs: chunk.timestamps[i] as number,
            };
            const death = certificateOf(record);
            if (death === undefined || death.stream !== query.stream) continue;
            if (query.group !== undefined && query.group !== death.group) continue;
            if (query.code !== undefined && query.code !== death.code) continue;
            const own = withoutCertificate(record);
            if (filter !== undefined) {
              const settings = this.host.recordSettings(query.stream);
              const from = log.stream(query.stream)?.partitions[death.partition] ?? partition;
              if (
                !filter(recordLookup(readRecord(own.bytes), contextOf(from, death.offset, own.timestampMs, settings)))
              )
                continue;
            }
            left--;
            yield { ...letterOf(partition, offset, death), record: own };
          }
          at = chunk.next;
        }
      }
    }
  }

  // ----------------------------------------------------------------------------------------------------------- changes

  /** Resolves with how many, when all are durable; those that are not open any more are passed over. */
  async settle(letters: readonly DeadLetter[], what: Change): Promise<number> {
    let done = 0;
    for (let i = 0; i < letters.length; i += LETTERS_PER_SET) {
      const some = letters.slice(i, i + LETTERS_PER_SET);
      const found: { letter: DeadLetter; partition: EventPartition; record: SourceRecord }[] = [];
      for (const letter of some) {
        const partition = this.partitionOf(letter);
        const record = partition === undefined ? undefined : await this.read(partition, letter.offset);
        if (partition !== undefined && record !== undefined) found.push({ letter, partition, record });
      }
      // From here on nothing waits: what is open is looked at and settled in one go.
      for (const { record } of found) this.check(record, what);
      const durable = await Promise.allSettled(
        found.map(({ letter, partition, record }) => this.settleOne(letter, partition, record, what)),
      );
      for (const one of durable) {
        if (one.status === 'rejected') throw one.reason;
        if (one.value) done++;
      }
    }
    return done;
  }

  /** @throws HadronError TOPIC_NOT_FOUND, GROUP_NOT_FOUND: there is nowhere to bring it */
  private check({ record }: SourceRecord, what: Change): void {
    const death = certificateOf(record);
    if (death === undefined) return;
    if (what.to !== undefined) this.copyTarget(what.to, death);
    else if (what.redrive) this.homeOf(death);
  }

  private async settleOne(
    letter: DeadLetter,
    partition: EventPartition,
    { record }: SourceRecord,
    what: Change,
  ): Promise<boolean> {
    const { host } = this;
    const stream = host.log.streamById(partition.topicId) as EventStream;
    const ledger = host.ledgerOf(stream);
    const progress = ledger.progressOf(partition.index);
    const death = certificateOf(record);
    const claimed = this.claimedOf(partition);
    if (progress.isSettled(letter.offset) || claimed.has(letter.offset) || death === undefined) {
      return false;
    }
    const parts: SetPart[] = [];
    const outbox: OutboxEntry[] = [];
    const records: StateRecord[] = [];
    let given: { committed(): void; durable(): void } | undefined;
    if (what.to !== undefined)
      parts.push({ partition: this.copyTarget(what.to, death), batch: batchOf(withoutCertificate(record)) });
    else if (what.redrive) {
      const { group, home } = this.homeOf(death);
      const redrive = {
        offset: death.offset,
        number: death.redrive + 1,
        topicId: partition.topicId,
        partition: partition.index,
        position: letter.offset,
      };
      if (home.shard === partition.shard || !group.settings.durable) {
        const redriven = host.redrive(group, home.index, redrive);
        if (group.settings.durable) records.push(redriven.record);
        given = redriven;
      } else {
        const { shard, topicId, index } = home;
        outbox.push({ kind: 'redrive', shard, topicId, partition: index, group: group.id, redrive });
      }
    }
    const readTo = Math.max(progress.readTo, letter.offset + 1);
    const set: RecordSet = {
      number: 0,
      runs: [letter.offset, letter.offset + 1],
      readTo,
      redrives: [],
      failures: [],
      deliveries: [],
    };
    if (!host.isRecorded(ledger, partition.shard)) records.push(groupRecord(ledger.id, ledger.recordNow));
    records.push(setRecord(ledger.id, partition.index, set));
    claimed.add(letter.offset);
    try {
      await host.commit(partition.shard, {
        records,
        parts,
        outbox,
        committed() {
          progress.settle(set.runs, readTo);
          host.setRecorded(ledger, partition.shard);
          given?.committed();
        },
      });
    } finally {
      claimed.delete(letter.offset);
    }
    given?.durable();
    return true;
  }

  private homeOf(death: DeathCertificate): { readonly group: Group; readonly home: EventPartition } {
    const from = this.host.log.stream(death.stream);
    const group = from === undefined ? undefined : this.host.groupOf(from, death.group);
    const home = from?.partitions[death.partition];
    if (group === undefined || home === undefined) throw groupNotFound(death.stream, death.group);
    return { group, home };
  }

  private claimedOf(partition: EventPartition): Set<number> {
    let claimed = this.claimed.get(partition);
    if (claimed === undefined) this.claimed.set(partition, (claimed = new Set()));
    return claimed;
  }

  private copyTarget(to: string, death: DeathCertificate): EventPartition {
    const stream = this.host.log.stream(to);
    if (stream === undefined) throw new HadronError('TOPIC_NOT_FOUND', `there is no stream ${to}; create it first`);
    return stream.partitions[death.partition % stream.partitions.length] as EventPartition;
  }

  private partitionOf(letter: DeadLetter): EventPartition | undefined {
    const { log } = this.host;
    const source = log.stream(letter.from.stream);
    const group = source === undefined ? undefined : this.host.groupOf(source, letter.group);
    const name = letter.stream ?? (group === undefined ? `${letter.from.stream}.dead` : DeadLetters.streamOf(group));
    return log.stream(name)?.partitions[letter.partition];
  }

  private async read(partition: EventPartition, offset: number): Promise<SourceRecord | undefined> {
    for (;;) {
      const found = readAt(this.host.reader, partition, offset, undefined);
      if (!(found instanceof Promise)) return found;
      await found;
    }
  }
}

function letterOf(partition: EventPartition, offset: number, death: DeathCertificate): DeadLetter {
  return {
    stream: partition.stream,
    partition: partition.index,
    offset,
    from: { stream: death.stream, partition: death.partition, offset: death.offset },
    group: death.group,
    code: death.code,
    reason: death.reason,
    attempts: death.attempts,
    firstMs: death.firstMs,
    lastMs: death.lastMs,
  };
}
