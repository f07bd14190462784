/** The broker as plain objects, without sockets (statement 15), on the simulated disk and clock. */
import { ERRORS, type ErrorCode, HadronError, silentLogger } from '@hadron/base';
import type { AnswerResult, CloudEvent, GroupRequest } from '@hadron/contracts';
import { cloudEvent } from '@hadron/contracts/events';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { Shard } from '@hadron/log';
import { Sim, type SimMachine } from '@hadron/testkit';
import { describe, expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { resolveBrokerSettings } from './config/index.ts';
import type { DeliverySession, OutgoingDelivery, SessionHandler } from './delivery/service.ts';
import type { FetchedPartition } from './streams/fetcher.ts';
import { newProduceOutcome } from './streams/partition.ts';
import { recordFormat } from './streams/record-format.ts';

class World {
  readonly sim = new Sim(1);
  machine!: SimMachine;
  broker!: Broker;

  async open(settings: Record<string, string> = {}): Promise<void> {
    this.machine = this.sim.start();
    const { fs, clock, random } = this.machine;
    this.broker = await this.run(
      Broker.open({
        fs,
        clock,
        random,
        logger: silentLogger,
        directory: 'data/shards/0',
        clusterId: 'c',
        nodeId: 1,
        settings: resolveBrokerSettings(settings),
        shardSettings: { commitFileBytes: 262_144, minFreeBytes: 0 },
      }),
    );
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  async restart(settings: Record<string, string> = {}): Promise<void> {
    this.machine.process.kill();
    await this.open(settings);
  }

  durable(lsn = this.broker.core.shard.stagedLsn): Promise<void> {
    return this.run(
      new Promise((committed, failed) => this.broker.core.shard.when(lsn, 'fsync', { committed, failed })),
    );
  }

  async topic(name: string): Promise<void> {
    this.broker.core.topics.create({ name });
    await this.durable();
  }

  produce(topic: string, value: string): { baseOffset: number; lsn: number; error: string | undefined } {
    const bytes = encodeBatch([{ value }], { baseTimestamp: 1 });
    const out = newProduceOutcome();
    this.broker.core.topics
      .get(topic)
      ?.partitions[0]?.produce(bytes, 0, bytes.length, true, this.sim.scheduler.wallMs, out);
    return out;
  }

  fetch(topic: string, offset: number, maxWaitMs: number): Promise<FetchedPartition> {
    const partition = this.broker.core.topics.get(topic)?.partitions[0];
    return new Promise((resolve) => {
      const item = {
        partition,
        missing: undefined,
        offset,
        maxBytes: 100_000,
        currentLeaderEpoch: -1,
        lastFetchedEpoch: -1,
      };
      this.broker.core.fetcher.fetch([item], { maxWaitMs, minBytes: 1, maxBytes: 100_000 }, (r) =>
        resolve(r[0] as FetchedPartition),
      );
    });
  }
}

describe('the broker without sockets', () => {
  test('a record is visible when it is durable, and a waiting fetch gets it then', async () => {
    const w = new World();
    await w.open();
    await w.topic('t');
    const waiting = w.fetch('t', 0, 10_000);
    const out = w.produce('t', 'a');
    expect([out.error, out.baseOffset]).toEqual([undefined, 0]);
    const partition = w.broker.core.topics.get('t')?.partitions[0];
    expect(partition?.highWatermark).toBe(0);
    const got = await w.run(waiting);
    expect([got.highWatermark, (got.data?.bytes ?? 0) > 0, w.sim.scheduler.nowMs < 1_000]).toEqual([1, true, true]);
    got.data?.release();
    await w.restart();
    expect(w.broker.core.topics.get('t')?.partitions[0]?.highWatermark).toBe(1);
  });

  test('topics: created once, named well, in the registry with a revision, gone when deleted', async () => {
    const w = new World();
    await w.open();
    const { topics, registry } = w.broker.core;
    const seen: string[] = [];
    registry.watch('Topic', (e) => seen.push(`${e.type} ${e.resource.name}`));
    topics.create({ name: 'a', partitions: 3 });
    expect(() => topics.create({ name: 'a' })).toThrow(HadronError);
    expect(() => topics.create({ name: 'a b' })).toThrow('TOPIC_NAME_INVALID');
    topics.create({ name: 'x.y' });
    expect(() => topics.create({ name: 'x_y' })).toThrow('TOPIC_NAME_INVALID');
    topics.configure('a', { 'retention.ms': '1000' });
    expect(topics.get('a')?.settings.retentionMs).toBe(1_000);
    topics.remove('x.y');
    expect(seen).toEqual(['put a', 'put x.y', 'put a', 'delete x.y']);
    await w.durable();
    const { revision } = registry;
    await w.restart();
    expect([...w.broker.core.topics.all()].map((t) => [t.name, t.partitions.length, t.settings.retentionMs])).toEqual([
      ['a', 3, 1_000],
    ]);
    expect(w.broker.core.registry.revision).toBeGreaterThanOrEqual(revision);
  });

  test('a registry change whose precondition fails changes nothing', async () => {
    const w = new World();
    await w.open();
    const { registry } = w.broker.core;
    const one = registry.put('Thing', 'x', { n: 1 });
    expect(() => registry.put('Thing', 'x', { n: 2 }, { ifRevision: one.revision + 5 })).toThrow('PRECONDITION_FAILED');
    expect(() => registry.put('Thing', 'x', { n: 2 }, { ifRevision: 0 })).toThrow('PRECONDITION_FAILED');
    registry.put('Thing', 'x', { n: 3 }, { ifRevision: one.revision });
    await w.durable();
    await w.restart();
    expect(w.broker.core.registry.get<{ n: number }>('Thing', 'x')?.value.n).toBe(3);
  });

  test('G8 a failed sync: a new core takes over, what was acknowledged is in it', async () => {
    const w = new World();
    await w.open();
    await w.topic('t');
    w.produce('t', 'kept');
    await w.durable();
    const before = w.broker.core;
    w.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    w.produce('t', 'lost');
    await expect(w.durable()).rejects.toThrow('STORAGE_FAILED');
    expect(w.broker.trouble?.code).toBe('STORAGE_FAILED');
    expect((await w.run(w.fetch('t', 0, 0))).highWatermark).toBe(1);
    await w.sim.scheduler.runFor(2_000);
    expect(w.broker.core).not.toBe(before);
    expect([w.broker.trouble, w.broker.recoveries]).toEqual([undefined, 1]);
    expect(w.broker.core.topics.get('t')?.partitions[0]?.highWatermark).toBeGreaterThanOrEqual(1);
  });

  test('a folder from before there was a deliveries log gets one, once', async () => {
    const w = new World();
    const { fs, clock, random } = w.sim.start('older');
    const older = await w.run(
      Shard.open({ fs, clock, random, logger: silentLogger, directory: 'data/shards/0', formats: [recordFormat] }),
    );
    const logs = ['__registry', '__groups'].map((name) => older.newLog({ name, format: recordFormat }));
    older.appendSet(
      logs.map((log) => ({ kind: 'create', log })),
      { control: true },
    );
    await w.run(older.close());
    const names = (): string[] => [...w.broker.core.shard.logs.values()].map((log) => `${log.id} ${log.name}`);
    await w.open();
    expect(names()).toEqual(['1 __registry', '2 __groups', '3 __deliveries']);
    await w.topic('t');
    await w.restart();
    expect(names()).toEqual(['1 __registry', '2 __groups', '3 __deliveries', '4 t-0']);
  });

  test('G5 producer ids of a block that is not durable are not given', async () => {
    const w = new World();
    await w.open();
    const hold = w.sim.disk.faults.hold('datasync', /commit/);
    const given: number[] = [];
    for (let i = 0; i < 3; i++)
      w.broker.core.producerIds.allocate(
        (id) => given.push(id),
        () => undefined,
      );
    await w.sim.scheduler.runFor(1_000);
    expect(given).toEqual([]);
    hold.release();
    await w.durable();
    expect(new Set(given).size).toBe(3);
  });
});

describe('events through the broker', () => {
  const event = (id: string): CloudEvent => cloudEvent({ id, source: '/s', type: 't' });
  const publish = (w: World, ...ids: string[]): Promise<void> =>
    w.run(
      new Promise((resolve, reject) =>
        w.broker.core.events.publish('s', ids.map(event), {}, (error) =>
          error === undefined ? resolve() : reject(error),
        ),
      ),
    );

  class Consumer {
    readonly got: OutgoingDelivery[] = [];
    error: string | undefined;
    readonly handler: SessionHandler = {
      deliver: (deliveries) => void this.got.push(...deliveries),
      withdrawn: () => undefined,
      ended: (error) => {
        this.error = error?.code ?? 'none';
      },
    };
    session!: DeliverySession;

    async open(w: World, settings: GroupRequest = {}): Promise<void> {
      const request = { stream: 's', group: 'g', settings, credit: 100 };
      this.session = await w.run(w.broker.core.deliveries.open(request, this.handler));
      await w.sim.scheduler.runFor(100);
    }

    ack(w: World, count: number): Promise<readonly AnswerResult[]> {
      const items = this.got.slice(0, count).map(({ token }) => ({ token, verdict: { kind: 'ack' as const } }));
      return w.run(new Promise((resolve) => this.session.answer(items, resolve)));
    }
  }

  test('what is published is delivered; what is acknowledged is not given again after a crash', async () => {
    const w = new World();
    await w.open();
    await publish(w, 'a', 'b', 'c');
    const first = new Consumer();
    await first.open(w);
    expect(first.got.map((d) => d.offset)).toEqual([0, 1, 2]);
    expect((await first.ack(w, 2)).every((r) => r.ok)).toBe(true);
    await w.restart();
    await publish(w, 'd');
    const second = new Consumer();
    await second.open(w);
    expect(second.got.map((d) => d.offset)).toEqual([2, 3]);
  });

  test('verdicts under way when the broker is closed are stored and answered; what is answered ok does not come again', async () => {
    const w = new World();
    await w.open();
    await publish(w, 'a', 'b', 'c', 'd');
    const first = new Consumer();
    await first.open(w);
    const items = first.got.map(({ token }) => ({ token, verdict: { kind: 'ack' as const } }));
    const answered = (from: number, to: number) =>
      new Promise<readonly AnswerResult[]>((resolve) => first.session.answer(items.slice(from, to), resolve));
    // One waits for the sync, one for its tick; one comes too late.
    const early = answered(0, 1);
    await w.sim.scheduler.runFor(0);
    const late = answered(1, 2);
    const closed = w.broker.core.close();
    const tooLate = answered(2, 3);
    await w.run(closed);
    expect(first.error).toBe('STORAGE_CLOSED');
    expect([await early, await late]).toEqual([[{ ok: true }], [{ ok: true }]]);
    expect(await tooLate).toMatchObject([{ ok: false, code: 'STORAGE_CLOSED' }]);
    await w.restart();
    const second = new Consumer();
    await second.open(w);
    expect(second.got.map((d) => [d.offset, d.attempt])).toEqual([
      [2, 1],
      [3, 1],
    ]);
  });

  test('a verdict that cannot be stored while the broker closes is answered: it is not known what became of it', async () => {
    const w = new World();
    await w.open();
    await publish(w, 'a');
    const consumer = new Consumer();
    await consumer.open(w);
    w.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    const items = consumer.got.map(({ token }) => ({ token, verdict: { kind: 'ack' as const } }));
    const answer = new Promise<readonly AnswerResult[]>((resolve) => consumer.session.answer(items, resolve));
    await w.run(w.broker.core.close().catch(() => undefined));
    const [result] = await answer;
    expect(result?.ok).toBe(false);
    const code = result?.ok === false ? result.code : '';
    expect(ERRORS[code as ErrorCode]).toMatchObject({ effect: 'unknown', retry: 'after-backoff' });
  });

  test('sessions end when the disk fails, and come back to the next core', async () => {
    const w = new World();
    await w.open();
    await publish(w, 'a');
    const before = new Consumer();
    await before.open(w);
    w.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    await expect(publish(w, 'lost')).rejects.toThrow('STORAGE_FAILED');
    await w.sim.scheduler.runFor(2_000);
    expect(before.error).toBe('STORAGE_FAILED');
    const after = new Consumer();
    await after.open(w);
    expect(after.got.map((d) => d.offset).slice(0, 1)).toEqual([0]);
  });

  test('a session and a lease of an unknown stream make it where auto-creation is on, else they are refused (statement 2)', async () => {
    const w = new World();
    await w.open();
    const consumer = new Consumer();
    await consumer.open(w);
    const pull = (stream: string) =>
      w.run(w.broker.core.deliveries.pull({ stream, group: 'g', settings: {}, max: 1, waitMs: 0 }));
    expect(await pull('pulled')).toEqual([]);
    await expect(pull('__internal')).rejects.toMatchObject({ code: 'TOPIC_NAME_INVALID' });
    await expect(w.run(w.broker.core.deliveries.createGroup('typo', 'g', {}))).rejects.toMatchObject({
      code: 'TOPIC_NOT_FOUND',
    });
    await publish(w, 'a');
    await w.sim.scheduler.runFor(100);
    expect(consumer.got.map((d) => d.offset)).toEqual([0]);
    await w.restart();
    expect(['s', 'pulled', 'typo'].map((name) => w.broker.core.topics.get(name)?.name)).toEqual([
      's',
      'pulled',
      undefined,
    ]);
    await w.restart({ 'auto.create.topics.enable': 'false' });
    const { deliveries } = w.broker.core;
    const request = { stream: 'none', group: 'g', settings: {}, credit: 1 };
    await expect(w.run(deliveries.open(request, consumer.handler))).rejects.toMatchObject({ code: 'TOPIC_NOT_FOUND' });
    await expect(pull('none')).rejects.toMatchObject({ code: 'TOPIC_NOT_FOUND' });
    expect(w.broker.core.topics.get('none')).toBeUndefined();
  });

  test('D3 retention waits for a group that holds it back', async () => {
    const w = new World();
    await w.open();
    w.broker.core.topics.create({ name: 's', config: { 'retention.ms': '60000', 'segment.ms': '1000' } });
    await w.durable();
    await w.run(w.broker.core.deliveries.createGroup('s', 'g', { holdRetention: true }));
    for (const id of ['a', 'b', 'c']) {
      await publish(w, id);
      await w.sim.scheduler.runFor(2_000);
    }
    await w.sim.scheduler.runFor(1_200_000);
    const start = (): number | undefined => w.broker.core.topics.get('s')?.partitions[0]?.logStartOffset;
    expect(start()).toBe(0);
    const consumer = new Consumer();
    await consumer.open(w);
    await consumer.ack(w, 1);
    await w.sim.scheduler.runFor(400_000);
    expect(start()).toBe(1);
  });
});
