/** The worlds of the tests: the service over a log in memory, and over shards of the engine on the simulated disk. */
import { type Clock, type Random, silentLogger } from '@hadron/base';
import { Shard } from '@hadron/log';
import { Sim, type SimMachine } from '@hadron/testkit';
import { resolveBrokerSettings } from '../../config/index.ts';
import type { EventPartition, EventStream } from '../../ports/event-log.ts';
import { MemoryEventLog } from '../../ports/memory-event-log.ts';
import { type EventShard, ShardEventLog } from '../../ports/shard-event-log.ts';
import { Registry } from '../../state/registry.ts';
import { StateLog } from '../../state/state-log.ts';
import { recordFormat } from '../../streams/record-format.ts';
import { Topics } from '../../streams/topics.ts';
import type { DeadLetterEntry, DeadLetterQuery } from '../service.ts';
import { World, type WorldOptions } from './world.ts';

export class MemoryWorld extends World {
  readonly log: MemoryEventLog;
  protected readonly clock: Clock;
  protected readonly random: Random;
  readonly sim = new Sim(1);

  constructor(options: WorldOptions & { readonly autoSync?: boolean } = {}) {
    super(options);
    this.log = new MemoryEventLog({ shards: this.shards, autoSync: options.autoSync ?? true });
    ({ clock: this.clock, random: this.random } = this.sim.start());
    this.begin();
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise, { withinMs: 1e9 });
  }

  pass(ms: number): Promise<void> {
    return this.sim.scheduler.runFor(ms);
  }

  async createStream(name: string, partitions = 1, shardOf?: (partition: number) => number): Promise<EventStream> {
    return this.log.createStream(name, partitions, shardOf);
  }

  protected async makeStream(name: string, partitions: number): Promise<void> {
    this.log.createStream(name, partitions, () => this.deadShard);
  }

  async trim(partition: EventPartition, offset: number): Promise<void> {
    this.log.trim(partition, offset);
    await this.pass(5);
  }

  /** Without `autoSync`: only then does the service answer. */
  async sync(): Promise<void> {
    await this.pass(1);
    this.log.sync();
    await this.pass(1);
  }

  async crash(): Promise<void> {
    this.deliveries.close(new Error('dies') as never);
    this.log.crash();
    this.begin();
    await this.pass(5);
  }

  private begin(): void {
    this.deliveries = this.newDeliveries();
    for (let shard = 0; shard < this.shards; shard++) {
      for (const record of this.log.stateRecords('deliveries', shard)) this.deliveries.replay(record, shard);
    }
    this.deliveries.start();
  }
}

export class EngineWorld extends World {
  log!: ShardEventLog;
  protected clock!: Clock;
  private machine!: SimMachine;
  protected random!: Random;
  readonly sim = new Sim(1);
  parts: EventShard[] = [];

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise, { withinMs: 1e9 });
  }

  pass(ms: number): Promise<void> {
    return this.sim.scheduler.runFor(ms);
  }

  static async open(options: WorldOptions = {}): Promise<EngineWorld> {
    const world = new EngineWorld(options);
    for (let i = 0; i < world.shards; i++) world.sim.disk.put(`data/shards/${i}/readme`, new Uint8Array());
    await world.begin();
    return world;
  }

  async createStream(name: string, partitions = 1, shardOf = (_: number): number => 0): Promise<EventStream> {
    const shard = shardOf(0); // a stream of the engine lies on one shard
    (this.parts[shard] as EventShard).topics.create({ name, partitions });
    await this.pass(20);
    return this.log.stream(name) as EventStream;
  }

  protected async makeStream(name: string, partitions: number): Promise<void> {
    (this.parts[this.deadShard] as EventShard).topics.create({ name, partitions });
  }

  async trim(partition: EventPartition, offset: number): Promise<void> {
    this.parts[partition.shard]?.topics.get(partition.stream)?.partitions[partition.index]?.deleteBefore(offset);
    await this.pass(20);
  }

  async crash(): Promise<void> {
    this.sim.powerLoss(this.machine.process);
    await this.begin();
  }

  private async begin(): Promise<void> {
    this.machine = this.sim.start();
    ({ clock: this.clock, random: this.random } = this.machine);
    const parts: EventShard[] = [];
    for (let shard = 0; shard < this.shards; shard++)
      parts.push(await this.run(openShard(this.machine, `data/shards/${shard}`)));
    this.parts = parts;
    this.log = new ShardEventLog(parts);
    this.deliveries = this.newDeliveries();
    for (const [shard, part] of parts.entries()) {
      await this.run(
        part.states.deliveries.recover({
          replay: (record) => this.deliveries.replay(record, shard),
          snapshot: () => this.deliveries.snapshot(shard),
        }),
      );
    }
    this.deliveries.start();
    await this.pass(20);
  }
}

/** One shard with its topics, as BrokerCore opens it, without anything that would deliver by itself. */
async function openShard({ fs, clock, random }: SimMachine, directory: string): Promise<EventShard> {
  const settings = { commitFileBytes: 65_536, checkpointAtBytes: 65_536, minFreeBytes: 0 };
  const formats = [recordFormat];
  const shard = await Shard.open({
    fs,
    clock,
    random,
    logger: silentLogger,
    directory,
    formats,
    settings,
    onFailure() {},
  });
  const known = new Map([...shard.logs.values()].map((log) => [log.name, log]));
  const logOf = (name: string): StateLog => {
    let log = known.get(name);
    if (log === undefined) {
      log = shard.newLog({ name, format: recordFormat });
      shard.appendSet([{ kind: 'create', log }], { control: true });
    }
    return new StateLog(shard, log);
  };
  const registryLog = logOf('__registry');
  const deliveries = logOf('__deliveries');
  const registry = new Registry(registryLog);
  await registryLog.recover(registry);
  const topics = new Topics(shard, registry, random, resolveBrokerSettings({}));
  topics.load(new Map());
  return { shard, topics, states: { deliveries } };
}

export const WORLDS: readonly [string, (options?: WorldOptions) => Promise<World>][] = [
  ['in memory', async (options) => new MemoryWorld(options)],
  ['on the engine', (options) => EngineWorld.open(options)],
];

/** All of them that are open. */
export async function lettersOf(w: World, query: Partial<DeadLetterQuery> = {}): Promise<DeadLetterEntry[]> {
  const found: DeadLetterEntry[] = [];
  const list = w.deliveries.deadLetters({ stream: 's', ...query })[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await w.run(list.next());
    if (done === true) return found;
    found.push(value);
  }
}
