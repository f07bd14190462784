/** Bugs that the broker's simulation (tests/sim/scenarios/broker.ts) found, each as small as it can be made. */
import { silentLogger } from '@hadron/base';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import type { ShardSettings } from '@hadron/log';
import { Sim, type SimMachine } from '@hadron/testkit';
import { expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { resolveBrokerSettings } from './config/index.ts';
import type { FetchedPartition } from './streams/fetcher.ts';
import { newProduceOutcome, type Partition, type ProduceOutcome, whenAnswerable } from './streams/partition.ts';

const SHARD: Partial<ShardSettings> = {
  commitFileBytes: 20_000,
  checkpointAtBytes: 1_000_000,
  directAtBytes: 1_000_000,
  minFreeBytes: 0,
};

class World {
  readonly sim: Sim;
  readonly shardSettings: Partial<ShardSettings>;
  machine!: SimMachine;
  broker!: Broker;

  constructor(seed = 1, shardSettings: Partial<ShardSettings> = {}, capacityBytes = 2 ** 24) {
    this.sim = new Sim(seed, { disk: { capacityBytes, blockBytes: 512 } });
    this.shardSettings = { ...SHARD, ...shardSettings };
    this.sim.disk.put('data/shards/readme', new Uint8Array());
  }

  async open(): Promise<Broker> {
    this.machine = this.sim.start();
    const { fs, clock, random } = this.machine;
    this.broker = await this.sim.scheduler.settle(
      Broker.open({
        fs,
        clock,
        random,
        logger: silentLogger,
        directory: 'data/shards/0',
        clusterId: 'c',
        nodeId: 1,
        settings: resolveBrokerSettings({ 'group.min.session.timeout.ms': '10' }),
        shardSettings: this.shardSettings,
      }),
    );
    return this.broker;
  }

  async topic(config: Record<string, string> = {}): Promise<Partition> {
    const { core } = this.broker;
    core.topics.create({ name: 't', partitions: 1, config });
    await this.sim.scheduler.settle(core.shard.barrier());
    return this.partition();
  }

  partition(): Partition {
    return this.broker.core.topics.get('t')?.partitions[0] as Partition;
  }

  produce(sequence: number, bytes = 10): ProduceOutcome {
    const batch = encodeBatch([{ value: 'x'.repeat(bytes), timestamp: this.sim.scheduler.wallMs }], {
      producerId: 7,
      producerEpoch: 0,
      baseSequence: sequence,
    });
    const out = newProduceOutcome();
    this.partition().produce(batch, 0, batch.length, true, this.sim.scheduler.wallMs, out);
    return out;
  }

  fetch(partition: Partition | undefined, offset: number, maxWaitMs = 0): FetchedPartition[] {
    const answered: FetchedPartition[] = [];
    const missing = partition === undefined ? ('TOPIC_NOT_FOUND' as const) : undefined;
    const item = { partition, missing, offset, maxBytes: 1_000_000, currentLeaderEpoch: -1, lastFetchedEpoch: -1 };
    this.broker.core.fetcher.fetch([item], { maxWaitMs, minBytes: 1, maxBytes: 1_000_000 }, ([r]) => {
      answered.push(r as FetchedPartition);
      r?.data?.release();
    });
    return answered;
  }

  async stop(): Promise<void> {
    await this.sim.scheduler.settle(this.broker.close());
    this.machine.process.kill();
  }
}

test('A3 a rebalance that is due while the broker closes appends nothing behind the clean stop', async () => {
  const world = new World();
  const { core } = await world.open();
  const member = {
    groupId: 'g',
    memberId: '',
    instanceId: null,
    clientId: 'c',
    clientHost: '/h',
    sessionTimeoutMs: 1000,
    rebalanceTimeoutMs: 1000,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: new Uint8Array() }],
    requireKnownMemberId: false,
    supportsSkipAssignment: false,
  };
  let told = 0;
  const caller = { answer: () => told++, failed: () => told++ };
  core.groups.run(caller, (c, to, now, wallMs) => c.joinGroup(member, to, now, wallMs));
  world.sim.disk.faults.slowNext('datasync', /commit/, 50);
  await world.stop();
  expect(told).toBe(1);
  expect((await world.open()).core.shard.recovered.clean).toBe(true);
});

test('A3 a checkpoint that a durable trim asks for while the broker closes does not cover the clean stop', async () => {
  const world = new World();
  const { core } = await world.open();
  await world.topic();
  world.produce(0);
  await world.sim.scheduler.settle(core.shard.barrier());
  world.sim.disk.faults.slowNext('datasync', /commit/, 50);
  const closing = world.broker.close();
  await world.sim.scheduler.runFor(5);
  core.shard.checkpointer.start();
  await world.sim.scheduler.settle(closing);
  world.machine.process.kill();
  expect((await world.open()).core.shard.recovered.clean).toBe(true);
});

test('G5 that a topic is gone is not said before its deletion is durable', async () => {
  const world = new World();
  const { core } = await world.open();
  const partition = await world.topic();
  core.topics.remove('t');
  const byPartition = world.fetch(partition, 0);
  const byName = world.fetch(undefined, 0);
  expect([byPartition, byName]).toEqual([[], []]);
  await world.sim.scheduler.settle(core.shard.barrier());
  await world.sim.scheduler.runFor(1);
  expect([byPartition[0]?.error, byName[0]?.error]).toEqual(['TOPIC_NOT_FOUND', 'TOPIC_NOT_FOUND']);
});

test('G5 G8 a deletion whose sync fails was never seen', async () => {
  const world = new World();
  const { core } = await world.open();
  await world.topic();
  world.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
  core.topics.remove('t');
  const answers = world.fetch(undefined, 0);
  await world.sim.scheduler.runFor(3000);
  expect(answers.map((r) => r.error)).toEqual(['STORAGE_FAILED']);
  expect(world.broker.core).not.toBe(core);
});

test('G5 a read from files that meets a deletion says that the topic is gone, not that the offset is out of range', async () => {
  const world = new World(1, { tailCacheBytes: 4096, slabBytes: 1024, directAtBytes: 300, openFilesMax: 1 });
  const { core } = await world.open();
  const { scheduler, disk } = world.sim;
  await world.topic({ 'segment.ms': '1' });
  for (let i = 0; i < 12; i++) {
    world.produce(i, 1500);
    await scheduler.settle(core.shard.barrier());
    await scheduler.runFor(5);
  }
  const hold = disk.faults.hold('open', /segments/);
  const answers = world.fetch(world.partition(), 0);
  expect(answers.length).toBe(0);
  core.topics.remove('t');
  await scheduler.runFor(50);
  hold.release();
  await scheduler.runFor(50);
  expect(answers[0]?.error).toBe('TOPIC_NOT_FOUND');
});

test('G8 a file that is being read when the successor takes over is closed when its reader is done', async () => {
  const world = new World(1, { directAtBytes: 300 });
  const { core } = await world.open();
  const { log } = await world.topic();
  world.produce(0, 1500);
  await world.sim.scheduler.settle(core.shard.barrier());
  const [segment] = log.segments;
  if (segment === undefined) throw new Error('a direct append makes a segment');
  const opened = core.shard.files.acquireSync(log, segment);
  core.shard.abandon();
  expect(opened.file.readSync(Buffer.alloc(10), 0)).toBe(10);
  core.shard.files.done(opened);
  expect(() => opened.file.readSync(Buffer.alloc(10), 0)).toThrow('closed');
});

test('G8 a shard that fails while the broker opens is recovered, or the open says so', async () => {
  let opened = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const world = new World(seed, { checkpointAtBytes: 2000, commitFileBytes: 1500 });
    await world.open();
    await world.topic();
    for (let i = 0; i < 20; i++) world.produce(i, 200);
    await world.sim.scheduler.settle(world.broker.core.shard.barrier());
    world.machine.process.kill();
    world.sim.disk.faults.failNext('datasync', /./, { skip: seed % 15 });
    try {
      await world.open();
    } catch {
      continue;
    }
    opened++;
    await world.sim.scheduler.runFor(10_000);
    expect(world.broker.trouble).toBeUndefined();
    expect(world.produce(20, 200).baseOffset).toBeGreaterThanOrEqual(0);
  }
  expect(opened).toBeGreaterThan(10);
});

test('R13.4 a producer whose batches a full disk let go before a checkpoint may go on', async () => {
  const world = new World(1, { directAtBytes: 300, minFreeBytes: 10_000 }, 1_000_000);
  const { core } = await world.open();
  const { scheduler, disk } = world.sim;
  await world.topic({ 'segment.ms': '1' });
  world.produce(0, 20);
  await scheduler.settle(core.shard.checkpoint());
  for (let i = 1; i < 6; i++) {
    world.produce(i, 500);
    await scheduler.runFor(20);
  }
  disk.put('filler', new Uint8Array(990_000 - disk.usedBytes));
  await scheduler.runFor(1000);
  world.produce(6, 500);
  await scheduler.runFor(2000);
  expect(world.broker.trouble?.code).toBe('STORAGE_FULL');
  const lsn = world.partition().deleteBefore(-1);
  await scheduler.settle(core.shard.barrier());
  expect(core.shard.isDurable(lsn)).toBe(true);
  await scheduler.runFor(100);
  world.machine.process.kill();
  disk.capacityBytes = 2_000_000;
  await world.open();
  expect(world.produce(7, 20)).toMatchObject({ error: undefined, baseOffset: 7 });
});

test('G5 G6 an answer about an os partition waits for a set that must be synced, duplicates too', async () => {
  const world = new World();
  const { core } = await world.open();
  await world.topic({ 'hadron.durability': 'os' });
  world.produce(0);
  await world.sim.scheduler.settle(core.shard.barrier());
  world.partition().deleteBefore(1);
  world.sim.disk.faults.slowNext('datasync', /commit/, 50);
  await world.sim.scheduler.runFor(5);
  expect(core.shard.writtenLsn).toBeGreaterThan(core.shard.syncedLsn);
  const duplicate = world.produce(0);
  expect(duplicate).toMatchObject({ error: undefined, baseOffset: 0 });
  let answered = false;
  const answer = { committed: () => void (answered = true), failed: () => undefined };
  whenAnswerable(core.shard, duplicate.lsn, 'os', answer);
  expect(answered).toBe(false);
  await world.sim.scheduler.runFor(60);
  expect(answered).toBe(true);
});
