/**
 * The delivery engine of the present life over two shards on the simulated disk. What its consumers were promised is in
 * `delivery-model.ts`, the course of a seed in `delivery.ts`.
 */
import { type HadronError, silentLogger } from '@hadron/base';
import { recordFormat, Registry, resolveBrokerSettings, Topics } from '@hadron/broker';
import { Shard } from '@hadron/log';
import type { Sim, SimMachine } from '@hadron/testkit';
import type { DeliverySabotage } from '../../../packages/broker/src/delivery/core/machine.ts';
import { Deliveries } from '../../../packages/broker/src/delivery/deliveries.ts';
import { type EventShard, ShardEventLog } from '../../../packages/broker/src/ports/shard-event-log.ts';
import { StateLog } from '../../../packages/broker/src/state/state-log.ts';

const SHARDS = 2;
const START_WITHIN_MS = 20_000;

export class DeliveryWorld {
  readonly sim: Sim;
  readonly counts: Record<string, number> = {};
  /** On which shard dead-letter streams are made. */
  readonly deadShard: number;
  log!: ShardEventLog;
  deliveries!: Deliveries;
  private readonly sabotage: DeliverySabotage;
  private machine: SimMachine | undefined;
  private parts: EventShard[] = [];
  private registries: StateLog[] = [];

  constructor(sim: Sim, sabotage: DeliverySabotage) {
    this.sim = sim;
    this.sabotage = sabotage;
    this.deadShard = sim.random.int(SHARDS);
    for (let i = 0; i < SHARDS; i++) sim.disk.put(`data/shards/${i}/readme`, new Uint8Array());
  }

  get isAlive(): boolean {
    return this.machine?.process.isAlive === true;
  }

  get nowMs(): number {
    return this.sim.scheduler.nowMs;
  }

  get wallMs(): number {
    return this.sim.scheduler.wallMs;
  }

  count(what: string, n: number = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + n;
  }

  note(what: string, subject: string): void {
    this.sim.scheduler.note('client', what, subject);
  }

  /** Only while this life lasts. */
  guard<A extends unknown[]>(fn: (...args: A) => void): (...args: A) => void {
    const { process } = this.machine as SimMachine;
    return process.guard((...args: A) => {
      try {
        fn(...args);
      } catch (error) {
        this.sim.scheduler.fail(error);
      }
    });
  }

  /** @returns false when the process died before it served */
  async open(): Promise<boolean> {
    const machine = this.sim.start();
    this.machine = machine;
    let isOpen = false;
    let failed: unknown;
    this.start(machine).then(
      () => {
        isOpen = true;
      },
      (error: unknown) => {
        failed = error;
      },
    );
    const { process } = machine;
    await this.sim.scheduler.runUntil(() => isOpen || failed !== undefined || !process.isAlive, {
      what: 'the start',
      withinMs: START_WITHIN_MS,
    });
    if (failed !== undefined && process.isAlive) throw failed;
    return process.isAlive;
  }

  private async start(machine: SimMachine): Promise<void> {
    const parts: EventShard[] = [];
    const registries: StateLog[] = [];
    for (let shard = 0; shard < SHARDS; shard++) {
      const { part, registry } = await this.openShard(machine, `data/shards/${shard}`);
      parts.push(part);
      registries.push(registry);
    }
    this.parts = parts;
    this.registries = registries;
    this.log = new ShardEventLog(parts);
    const { clock, random } = machine;
    const deliveries = new Deliveries({
      log: this.log,
      clock,
      random,
      logger: silentLogger,
      shards: SHARDS,
      settings: { cacheBytes: this.sim.random.pick([0, 2_000, 1_000_000]) },
      sabotage: this.sabotage,
      createStream: (name, partitions) => this.createStream(name, partitions, this.deadShard),
    });
    for (const [shard, part] of parts.entries()) {
      await part.states.deliveries.recover({
        replay: (record) => deliveries.replay(record, shard),
        snapshot: () => deliveries.snapshot(shard),
      });
      await part.shard.barrier();
    }
    deliveries.start();
    this.deliveries = deliveries;
  }

  private async openShard(
    { fs, clock, random }: SimMachine,
    directory: string,
  ): Promise<{ part: EventShard; registry: StateLog }> {
    const dice = this.sim.random;
    const shard = await Shard.open({
      fs,
      clock,
      random,
      logger: silentLogger,
      directory,
      formats: [recordFormat],
      settings: {
        commitFileBytes: dice.pick([3_000, 20_000]),
        checkpointAtBytes: dice.pick([4_000, 30_000, 1_000_000]),
        tailCacheBytes: dice.pick([4_096, 65_536]),
        slabBytes: 4_096,
        minFreeBytes: 0,
        snapshotMinBytes: dice.pick([200, 3_000]),
      },
      onFailure: (error) => {
        if (this.isAlive && error.code !== 'STORAGE_CLOSED') this.sim.scheduler.fail(error);
      },
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
    const registry = logOf('__registry');
    const deliveries = logOf('__deliveries');
    const resources = new Registry(registry);
    await registry.recover(resources);
    const settings = resolveBrokerSettings({
      'log.retention.ms': '-1',
      'log.message.timestamp.after.max.ms': '9223372036854775807',
    });
    const topics = new Topics(shard, resources, random, settings);
    topics.load(new Map());
    return { part: { shard, topics, states: { deliveries } }, registry };
  }

  /** Resolves when the stream is durable. */
  createStream(name: string, partitions: number, shard: number): Promise<void> {
    if (this.log.stream(name) === undefined) this.parts[shard]?.topics.create({ name, partitions });
    return new Promise((committed, failed) => this.registries[shard]?.whenDurable({ committed, failed }));
  }

  trim(stream: string, partition: number, offset: number): void {
    try {
      for (const { topics } of this.parts) topics.get(stream)?.partitions[partition]?.deleteBefore(offset);
    } catch (error) {
      if (this.isAlive) throw error; // else it died within this call
    }
  }

  append(stream: string, partition: number, batch: Buffer, done: (base: number) => void): void {
    const p = this.log.stream(stream)?.partitions[partition];
    if (p === undefined) throw new Error(`no partition ${stream}-${partition}`);
    let ticket = 0;
    let baseOffsets: readonly number[] = [];
    try {
      ({ ticket, baseOffsets } = this.log.commit(p.shard, [{ kind: 'records', partition: p, batch }]));
    } catch (error) {
      if (this.isAlive) throw error;
      return; // it died within this call
    }
    this.log.whenDurable(p.shard, ticket, {
      committed: this.guard(() => done(baseOffsets[0] as number)),
      failed: this.guard((error: HadronError) => {
        throw error;
      }),
    });
  }

  die(): void {
    this.machine?.process.kill();
    this.machine = undefined;
    if (this.sim.random.chance(0.7)) this.sim.disk.powerLoss();
  }
}
