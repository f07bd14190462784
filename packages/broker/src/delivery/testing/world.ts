/**
 * For the tests of this folder: the service over some log under a virtual clock, with a hand on crashes, and consumers that
 * do as they are told. `deliveries.test.ts` makes worlds of a log in memory and of shards of the engine.
 */
import { type Clock, HadronError, type Logger, type Random, silentLogger } from '@hadron/base';
import { encodeBatch, type RecordToEncode } from '@hadron/kafka-protocol/records';
import type { GroupRequest, Verdict, AnswerResult } from '@hadron/contracts';
import type { Sim } from '@hadron/testkit';
import type { EventLog, EventPartition, EventStream } from '../../ports/event-log.ts';
import type { DeliverySabotage } from '../core/machine.ts';
import { Deliveries } from '../deliveries.ts';
import type { DeliverySession, OutgoingDelivery, SessionHandler } from '../service.ts';
import type { DeliverySettings } from '../settings.ts';

export interface WorldOptions {
  readonly shards?: number;
  readonly settings?: Partial<DeliverySettings>;
  readonly sabotage?: DeliverySabotage;
}

export interface NewEvent {
  readonly key?: string | null;
  readonly value?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Attributes as the headers of binary mode. */
export const event = (attributes: Readonly<Record<string, string>>, key: string | null = null): NewEvent => ({
  key,
  headers: Object.fromEntries(
    Object.entries({ specversion: '1.0', id: '1', source: '/t', type: 't', ...attributes }).map(([k, v]) => [
      `ce_${k}`,
      v,
    ]),
  ),
});

export abstract class World {
  readonly options: WorldOptions;
  readonly warnings: string[] = [];
  deliveries!: Deliveries;
  abstract log: EventLog;
  abstract readonly sim: Sim;
  protected abstract clock: Clock;
  protected abstract random: Random;

  constructor(options: WorldOptions) {
    this.options = options;
  }

  abstract createStream(
    name: string,
    partitions?: number,
    shardOf?: (partition: number) => number,
  ): Promise<EventStream>;
  abstract trim(partition: EventPartition, offset: number): Promise<void>;
  /** The process dies and starts again; what was not durable is gone. */
  abstract crash(): Promise<void>;

  /** From now on that stream refuses every record. Undefined: none does. */
  refuse(stream: string | undefined): void {
    this.refusing = stream;
  }

  private refusing: string | undefined;
  /** Nothing can be written, not even what frees space. */
  isFull = false;

  /** The log as the service sees it. */
  private refusable(): EventLog {
    const { log } = this;
    const commit: EventLog['commit'] = (shard, puts, options) => {
      if (this.isFull) throw new HadronError('STORAGE_FULL', 'the disk is full');
      if (puts.some((put) => put.kind === 'records' && put.partition.stream === this.refusing))
        throw new HadronError('RECORD_TOO_LARGE', 'this stream takes nothing');
      return log.commit(shard, puts, options);
    };
    return new Proxy(log, {
      get: (_, name) => {
        if (name === 'commit') return commit;
        const member: unknown = Reflect.get(log, name, log);
        return typeof member === 'function' ? member.bind(log) : member;
      },
    });
  }

  get shards(): number {
    return this.options.shards ?? 1;
  }

  /** Lets time pass until the promise has settled. */
  abstract run<T>(promise: Promise<T>): Promise<T>;
  abstract pass(ms: number): Promise<void>;

  partition(stream: string, index = 0): EventPartition {
    const partition = this.log.stream(stream)?.partitions[index];
    if (partition === undefined) throw new Error(`no partition ${stream}-${index}`);
    return partition;
  }

  /** Appends and waits until it can be read. @returns the first offset */
  async publish(stream: string, events: readonly NewEvent[], partition = 0): Promise<number> {
    const p = this.partition(stream, partition);
    const wallMs = this.clock.wallMs();
    const records: RecordToEncode[] = events.map((e) => ({
      timestamp: wallMs,
      key: e.key ?? null,
      value: e.value ?? 'v',
      headers: Object.entries(e.headers ?? {}).map(([key, value]) => ({ key, value })),
    }));
    const { baseOffsets, ticket } = this.log.commit(p.shard, [
      { kind: 'records', partition: p, batch: encodeBatch(records) },
    ]);
    await this.run(
      new Promise<void>((committed, failed) => this.log.whenDurable(p.shard, ticket, { committed, failed })),
    );
    await this.pass(5);
    return baseOffsets[0] as number;
  }

  async consume(stream: string, group: string, settings: GroupRequest = {}, credit = 1_000): Promise<Consumer> {
    const consumer = new Consumer(this);
    consumer.session = await this.run(this.deliveries.open({ stream, group, settings, credit }, consumer));
    await this.pass(5);
    return consumer;
  }

  get wallMs(): number {
    return this.clock.wallMs();
  }

  status(stream: string, group: string) {
    return this.deliveries.describe(stream, group);
  }

  protected logger(): Logger {
    return { ...silentLogger, warn: (_, message) => void this.warnings.push(message) };
  }

  protected newDeliveries(): Deliveries {
    return new Deliveries({
      log: this.refusable(),
      clock: this.clock,
      random: this.random,
      logger: this.logger(),
      shards: this.shards,
      settings: this.options.settings,
      sabotage: this.options.sabotage,
      createStream: (name, partitions) => this.makeStream(name, partitions),
    });
  }

  /** Where streams that are made by themselves lie. */
  deadShard = 0;

  protected abstract makeStream(name: string, partitions: number): Promise<void>;
}

/** Takes deliveries and answers as it is told. */
export class Consumer implements SessionHandler {
  readonly got: OutgoingDelivery[] = [];
  readonly lostTokens: string[] = [];
  endedWith: Error | null | undefined;
  session!: DeliverySession;
  /** Answers everything at once. */
  auto: Verdict | undefined;
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  deliver(deliveries: readonly OutgoingDelivery[]): void {
    this.got.push(...deliveries);
    const { auto } = this;
    if (auto === undefined) return;
    this.session.answer(
      deliveries.map(({ token }) => ({ token, verdict: auto })),
      () => this.session.credit(deliveries.length),
    );
  }

  withdrawn(tokens: readonly string[]): void {
    this.lostTokens.push(...tokens);
  }

  ended(error: Error | undefined): void {
    this.endedWith = error ?? null;
  }

  /** Offsets, as they came. */
  get offsets(): number[] {
    return this.got.map((d) => d.offset);
  }

  last(offset: number): OutgoingDelivery {
    const found = this.got.findLast((d) => d.offset === offset);
    if (found === undefined) throw new Error(`${offset} was not delivered, but ${this.offsets.join()}`);
    return found;
  }

  /** Answers the last delivery of `offset` and waits until that is durable. */
  async answer(offset: number, verdict: Verdict): Promise<AnswerResult> {
    return this.answerToken(this.last(offset).token, verdict);
  }

  async answerToken(token: string, verdict: Verdict): Promise<AnswerResult> {
    const [result] = await this.world.run(
      new Promise<readonly AnswerResult[]>((done) => this.session.answer([{ token, verdict }], done)),
    );
    await this.world.pass(5);
    return result as AnswerResult;
  }

  ack(offset: number): Promise<AnswerResult> {
    return this.answer(offset, { kind: 'ack' });
  }

  nack(offset: number, delayMs?: number, reason = 'no'): Promise<AnswerResult> {
    return this.answer(offset, { kind: 'nack', delayMs, reason });
  }
}
