/** Resources over the real registry and topics, on the simulated disk and clock (statements 1 and 2). */
import { silentLogger } from '@hadron/base';
import fc from 'fast-check';
import { parseSelector, type Resource } from '@hadron/contracts/resources';
import { Sim, type SimMachine } from '@hadron/testkit';
import { beforeEach, describe, expect, test } from 'vitest';
import { ANONYMOUS } from '../authorize.ts';
import { Broker } from '../broker.ts';
import type { BrokerCore, BrokerOptions } from '../broker-core.ts';
import { resolveBrokerSettings } from '../config/index.ts';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { newProduceOutcome } from '../streams/partition.ts';
import type { ApplyResult, Resources, WatchEvent } from './index.ts';

class World {
  readonly sim: Sim;
  readonly options: Partial<BrokerOptions>;
  machine!: SimMachine;
  broker!: Broker;
  resources!: Resources;

  constructor(options: Partial<BrokerOptions> = {}, seed = 1) {
    this.sim = new Sim(seed);
    this.options = options;
  }

  async open(): Promise<this> {
    this.machine = this.sim.start();
    const { fs, clock, random } = this.machine;
    // What openFolder does on a real disk: the folders above the shard's are durable.
    fs.mkdirSync('data/shards/0');
    for (const path of ['', 'data', 'data/shards']) {
      await this.run(
        new Promise<void>((resolve, reject) => fs.syncDir(path, (e) => (e === undefined ? resolve() : reject(e)))),
      );
    }
    this.broker = await this.run(
      Broker.open({
        fs,
        clock,
        random,
        logger: silentLogger,
        directory: 'data/shards/0',
        clusterId: 'c',
        nodeId: 1,
        settings: resolveBrokerSettings({}),
        shardSettings: { commitFileBytes: 262_144, minFreeBytes: 0 },
        ...this.options,
      }),
    );
    this.resources = await this.core.resources();
    return this;
  }

  get core(): BrokerCore {
    return this.broker.core;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  /** kill -9 and start again. */
  async restart(): Promise<void> {
    this.machine.process.kill();
    await this.open();
  }

  apply(...documents: unknown[]): Promise<ApplyResult[]> {
    return this.run(this.resources.apply(ANONYMOUS, documents));
  }

  async applyOne(document: unknown): Promise<ApplyResult> {
    return (await this.apply(document))[0] as ApplyResult;
  }

  dryRun(document: unknown): Promise<ApplyResult[]> {
    return this.run(this.resources.apply(ANONYMOUS, [document], { dryRun: true }));
  }

  get(kind: string, name: string): Promise<Resource> {
    return this.run(this.resources.get(ANONYMOUS, kind, name));
  }

  async names(kind: string, selector = ''): Promise<string[]> {
    const { items } = await this.run(this.resources.list(ANONYMOUS, kind, parseSelector(selector)));
    return items.map((r) => r.metadata.name);
  }

  remove(kind: string, name: string, cascade = false): Promise<unknown> {
    return this.run(this.resources.delete(ANONYMOUS, kind, name, { cascade }));
  }

  watch(
    resourceVersion?: string,
    selector = '',
  ): { events: string[]; last: () => string | undefined; stop: () => void } {
    const events: string[] = [];
    let last: WatchEvent | undefined;
    const stop = this.resources.watch(
      ANONYMOUS,
      'Stream',
      { resourceVersion, selector: parseSelector(selector) },
      {
        event(event) {
          last = event;
          events.push(`${event.type} ${event.object.metadata.name}`);
        },
        ended: (error) => events.push(`ended ${error.code}`),
      },
    );
    return { events, last: () => last?.object.metadata.resourceVersion, stop };
  }

  produce(topic: string, partition: number): void {
    const bytes = encodeBatch([{ value: 'v' }], { baseTimestamp: 1 });
    const out = newProduceOutcome();
    this.core.topics
      .get(topic)
      ?.partitions[partition]?.produce(bytes, 0, bytes.length, true, this.sim.scheduler.wallMs, out);
    expect(out.error).toBeUndefined();
  }
}

const stream = (name: string, spec: object = { partitions: 1 }, metadata: object = {}) => ({
  apiVersion: 'hadron.rs/v1',
  kind: 'Stream',
  metadata: { name, ...metadata },
  spec,
});

const named = (count: number): string[] => Array.from({ length: count }, (_, i) => `type-${i}`);
const manyTypes = (count: number): object[] => named(count).map((type) => ({ exact: { type } }));

const subscription = (name: string, spec: object, metadata: object = {}) => ({
  apiVersion: 'hadron.rs/v1',
  kind: 'Subscription',
  metadata: { name, ...metadata },
  spec: { stream: 'orders', sink: 'https://example.com/hook', ...spec },
});

let world: World;
beforeEach(async () => {
  world = await new World().open();
});

describe('apply', () => {
  test('creates, leaves alone, changes; absent is the default; what changed is told', async () => {
    const created = await world.applyOne(
      stream('orders', { partitions: 3, maxEventBytes: 100_000 }, { labels: { app: 'shop' } }),
    );
    expect(created).toMatchObject({
      result: 'created',
      changes: [
        { path: 'metadata.labels.app', to: 'shop' },
        { path: 'spec.partitions', to: 3 },
        { path: 'spec.maxEventBytes', to: 100_000 },
      ],
      object: { metadata: { generation: 1, namespace: 'default' } },
    });
    const again = await world.applyOne(stream('orders', { partitions: 3, maxEventBytes: 100_000 }));
    expect(again).toMatchObject({ result: 'unchanged', changes: [] });
    expect(again.object).toEqual(created.object);

    const changed = await world.applyOne(
      stream('orders', { partitions: 3, durability: 'os' }, { labels: { tier: 'web' } }),
    );
    expect(changed).toMatchObject({
      result: 'configured',
      changes: [
        { path: 'metadata.labels.tier', to: 'web' },
        { path: 'spec.maxEventBytes', from: 100_000 },
        { path: 'spec.durability', to: 'os' },
      ],
      object: {
        metadata: { generation: 2, labels: { app: 'shop', tier: 'web' } },
        spec: { partitions: 3, durability: 'os' },
      },
    });
    const unlabelled = await world.applyOne(
      stream('orders', { partitions: 3, durability: 'os' }, { labels: { app: null } }),
    );
    expect(unlabelled.object?.metadata).toMatchObject({ generation: 2, labels: { tier: 'web' } });
    expect(unlabelled.object?.metadata.resourceVersion).not.toBe(changed.object?.metadata.resourceVersion);
  });

  test('a refused document changes nothing and hinders no other', async () => {
    const results = await world.apply(
      stream('good'),
      stream('bad', { partitions: 0 }),
      { kind: 'Strem' },
      stream('too-many', { partitions: 4_000_000 }),
      stream('twice', { partitions: 1, maxEventBytes: 70_000, topicConfig: { 'max.message.bytes': 70_000 } }),
      stream('unknown', { partitions: 1, topicConfig: { 'retention.mss': 5 } }),
      stream('elsewhere', { partitions: 1 }, { namespace: 'prod' }),
      stream('__hidden'),
      stream('size', { partitions: 1, retentionPolicy: { strategy: 'size' } }),
      stream('retain', { partitions: 1, retentionPolicy: { strategy: 'retain', retentionBytes: 5 } }),
      stream('small', { partitions: 1, maxEventBytes: 65_535 }),
      stream('hidden', { partitions: 1, topicName: '__hidden' }),
      stream('long', { partitions: 1, retentionPolicy: { strategy: 'time', retentionSeconds: 2 ** 53 - 1 } }),
      stream('word', { partitions: 1, topicConfig: { 'retention.ms': 'long' } }),
    );
    expect(results.map((r) => [r.name, r.result, r.errors[0]?.path, r.errors[0]?.document])).toEqual([
      ['good', 'created', undefined, undefined],
      ['bad', 'refused', 'spec.partitions', 2],
      ['', 'refused', 'kind', 3],
      ['too-many', 'refused', 'spec.partitions', 4],
      ['twice', 'refused', 'spec.topicConfig["max.message.bytes"]', 5],
      ['unknown', 'refused', 'spec.topicConfig["retention.mss"]', 6],
      ['elsewhere', 'refused', 'metadata.namespace', 7],
      ['__hidden', 'refused', 'metadata.name', 8],
      ['size', 'refused', 'spec.retentionPolicy.retentionBytes', 9],
      ['retain', 'refused', 'spec.retentionPolicy.retentionBytes', 10],
      ['small', 'refused', 'spec.maxEventBytes', 11],
      ['hidden', 'refused', 'spec.topicName', 12],
      ['long', 'created', undefined, undefined],
      ['word', 'refused', 'spec.topicConfig["retention.ms"]', 14],
    ]);
    expect(results[13]?.errors[0]).toMatchObject({
      value: 'long',
      message: expect.stringContaining('whole number') as string,
    });
    expect(await world.names('Stream')).toEqual(['good', 'long']);
  });

  test('a version in the document must match; the conflict shows the difference', async () => {
    const { object } = await world.applyOne(stream('orders', { partitions: 1 }));
    await world.applyOne(stream('orders', { partitions: 1, durability: 'os' }));
    const stale = stream('orders', { partitions: 2 }, { resourceVersion: object?.metadata.resourceVersion });
    expect(await world.applyOne(stale)).toMatchObject({
      result: 'refused',
      code: 'RESOURCE_CONFLICT',
      changes: [
        { path: 'spec.partitions', from: 1, to: 2 },
        { path: 'spec.durability', from: 'os' },
      ],
      errors: [{ path: 'metadata.resourceVersion', value: object?.metadata.resourceVersion }],
    });
    expect((await world.get('Stream', 'orders')).spec).toEqual({ partitions: 1, durability: 'os' });
    const { metadata } = await world.get('Stream', 'orders');
    const current = stream(
      'orders',
      { partitions: 2 },
      { resourceVersion: metadata.resourceVersion, uid: metadata.uid },
    );
    expect(await world.applyOne(current)).toMatchObject({ result: 'configured' });
    const other = stream('orders', { partitions: 2 }, { uid: '00000000-0000-4000-8000-000000000000' });
    expect(await world.applyOne(other)).toMatchObject({ code: 'RESOURCE_CONFLICT' });
    expect(await world.applyOne(stream('none', { partitions: 1 }, { resourceVersion: '1' }))).toMatchObject({
      code: 'RESOURCE_CONFLICT',
    });
  });

  test('a dry run judges and changes nothing', async () => {
    expect(await world.dryRun(stream('orders', { partitions: 2 }))).toMatchObject([{ result: 'created' }]);
    expect(await world.names('Stream')).toEqual([]);
    await world.applyOne(stream('orders', { partitions: 2 }));
    const before = await world.get('Stream', 'orders');
    expect(await world.dryRun(stream('orders', { partitions: 4 }))).toMatchObject([
      { result: 'configured', changes: [{ path: 'spec.partitions', from: 2, to: 4 }] },
    ]);
    expect(await world.dryRun(stream('orders', { partitions: 1 }))).toMatchObject([{ result: 'refused' }]);
    expect(await world.get('Stream', 'orders')).toEqual(before);
  });

  test('status in a document is not taken', async () => {
    await world.applyOne({ ...stream('orders'), status: { conditions: [], topicId: 'mine' } });
    const { status } = await world.get('Stream', 'orders');
    expect(status['topicId']).toMatch(/^[0-9a-f]{32}$/);
    expect(status).toMatchObject({ observedGeneration: 1, conditions: [{ type: 'Ready', status: 'True' }] });
  });

  test('what authorize forbids is refused by document', async () => {
    const asked: string[] = [];
    world = await new World({
      authorize(_, action, { kind, name }) {
        asked.push(`${action} ${kind} ${name ?? '*'}`);
      },
    }).open();
    await world.apply(stream('a'));
    await world.apply(stream('a'));
    await world.names('Stream');
    await world.get('Stream', 'a');
    await world.remove('Stream', 'a');
    expect(asked).toEqual(['create Stream a', 'change Stream a', 'read Stream *', 'read Stream a', 'delete Stream a']);
  });

  test('everything is there after kill -9', async () => {
    await world.apply(
      stream('orders', { partitions: 2, retentionPolicy: { strategy: 'retain' }, image: 'x' }, { labels: { a: 'b' } }),
      subscription('mail', { credential: { type: 'PLAIN', identifier: 'u', secret: 's' } }),
    );
    const before = [await world.get('Stream', 'orders'), await world.get('Subscription', 'mail')];
    await world.restart();
    expect([await world.get('Stream', 'orders'), await world.get('Subscription', 'mail')]).toEqual(before);
    expect([...world.resources.subscriptions.all()][0]?.spec.credential?.secret).toBe('s');
  });
});

describe('a v1beta1 document', () => {
  const original = {
    apiVersion: 'hadron.rs/v1beta1',
    kind: 'Stream',
    metadata: { name: 'events', namespace: 'default' },
    spec: {
      partitions: 3,
      debug: true,
      retentionPolicy: { strategy: 'time', retentionSeconds: null },
      image: 'ghcr.io/hadron-project/hadron/hadron-stream:0.1.0-beta.2',
      pvcVolumeSize: '5Gi',
      pvcStorageClass: null,
      pvcAccessModes: ['ReadWriteOnce'],
    },
  };

  test('applies unchanged; what does nothing here is kept, and status says so', async () => {
    const first = await world.applyOne(original);
    expect(first).toMatchObject({ result: 'created', warnings: [expect.stringContaining('spec.debug, spec.image')] });
    expect(first.object?.spec).toEqual({
      partitions: 3,
      retentionPolicy: { strategy: 'time', retentionSeconds: 604_800 },
      debug: true,
      image: original.spec.image,
      pvcVolumeSize: '5Gi',
      pvcAccessModes: ['ReadWriteOnce'],
    });
    expect(first.object?.status.conditions.find((c) => c.type === 'FieldsIgnored')).toMatchObject({ status: 'True' });
    expect(await world.applyOne(original)).toMatchObject({ result: 'unchanged' });
    expect(await world.applyOne(first.object)).toMatchObject({ result: 'unchanged' });
  });
});

describe('a Stream and its topic', () => {
  test('made, changed and deleted on either side is seen on both', async () => {
    const { topics } = world.core;
    topics.create({ name: 'Kafka_Made', partitions: 2, config: { 'retention.ms': '60000', 'segment.ms': '5000' } });
    expect((await world.get('Stream', 'Kafka_Made')).spec).toEqual({
      partitions: 2,
      retentionPolicy: { strategy: 'time', retentionSeconds: 60 },
      topicConfig: { 'segment.ms': '5000' },
    });
    topics.configure('Kafka_Made', { 'retention.ms': '60001' });
    expect(await world.get('Stream', 'Kafka_Made')).toMatchObject({
      metadata: { generation: 2 },
      spec: { topicConfig: { 'retention.ms': '60001' } },
    });
    await world.applyOne(stream('Kafka_Made', { partitions: 4, compaction: { strategy: 'compact' } }));
    expect(topics.get('Kafka_Made')?.config).toEqual({ 'cleanup.policy': 'compact' });
    expect(topics.get('Kafka_Made')?.partitions).toHaveLength(4);
    topics.remove('Kafka_Made');
    await expect(world.get('Stream', 'Kafka_Made')).rejects.toThrow('RESOURCE_NOT_FOUND');
    await world.applyOne(stream('ours', { partitions: 1 }));
    await world.remove('Stream', 'ours');
    expect(topics.get('ours')).toBeUndefined();
  });

  test('one that is created again is another', async () => {
    const first = (await world.applyOne(stream('orders'))).object;
    await world.remove('Stream', 'orders');
    const second = (await world.applyOne(stream('orders'))).object;
    expect(second?.metadata.uid).not.toBe(first?.metadata.uid);
    expect(second?.status['topicId']).not.toBe(first?.status['topicId']);
  });

  test('a topic name that Kubernetes does not take', async () => {
    await world.applyOne(stream('order-events', { partitions: 1, topicName: 'Order_Events' }));
    expect(world.core.topics.get('Order_Events')?.partitions).toHaveLength(1);
    expect(await world.names('Stream')).toEqual(['order-events']);
    expect((await world.get('Stream', 'order-events')).spec['topicName']).toBe('Order_Events');
    await expect(world.get('Stream', 'Order_Events')).rejects.toThrow('RESOURCE_NOT_FOUND');
    // No two things of one name.
    expect(() => world.core.topics.create({ name: 'order-events' })).toThrow('TOPIC_EXISTS');
    const other = await world.applyOne(stream('other', { partitions: 1, topicName: 'order-events' }));
    expect(other.errors[0]?.message).toBe('the name order-events is taken by the Stream of topic Order_Events');
    const same = await world.applyOne(stream('Order_Events', { partitions: 1 }));
    expect(same.errors[0]?.message).toMatch(/that of Stream order-events: use that name/);
    const renamed = await world.applyOne(stream('order-events', { partitions: 1, topicName: 'Other' }));
    expect(renamed.errors[0]).toMatchObject({ path: 'spec.topicName', message: 'cannot change' });
    await world.restart();
    expect(await world.names('Stream')).toEqual(['order-events']);
    await world.remove('Stream', 'order-events');
    expect(world.core.topics.get('Order_Events')).toBeUndefined();
    world.core.topics.create({ name: 'order-events' });
    expect(await world.names('Stream')).toEqual(['order-events']);
  });

  test('a topic of a folder older than Streams', async () => {
    const { topics, registry } = world.core;
    topics.create({ name: 'old', partitions: 2, config: { 'retention.ms': '-1', 'retention.bytes': '-1' } });
    const { meta: _, ...before } = registry.get<{ meta: unknown }>('Topic', 'old')?.value ?? {};
    registry.put('Topic', 'old', before);
    await world.run(world.core.registryDurable());
    await world.restart();
    const shown = await world.get('Stream', 'old');
    expect(shown).toMatchObject({
      metadata: { generation: 1 },
      spec: { partitions: 2, retentionPolicy: { strategy: 'retain' } },
    });
    expect(shown.metadata.creationTimestamp).toBeUndefined();
    expect(await world.applyOne(shown)).toMatchObject({ result: 'unchanged' });
    expect((await world.applyOne(stream('old', { partitions: 2 }))).object?.metadata.generation).toBe(2);
  });

  test('what was read can be applied and changes nothing, whatever its configs and labels', async () => {
    const config = fc.dictionary(
      fc.constantFrom('retention.ms', 'retention.bytes', 'segment.ms', 'delete.retention.ms', 'max.message.bytes'),
      fc.oneof(fc.integer({ min: 1 }).map(String), fc.constantFrom('1000', '60000', '+5000')),
    );
    const label = fc.stringMatching(/^[a-z]([a-z0-9.-]{0,8}[a-z0-9])?$/);
    await fc.assert(
      fc.asyncProperty(
        config,
        fc.dictionary(label, label),
        fc.integer({ min: 1, max: 3 }),
        async (c, labels, partitions) => {
          world.core.topics.create({ name: 't', partitions, config: c, meta: { labels, kept: { debug: true } } });
          const shown = await world.get('Stream', 't');
          expect(await world.applyOne(shown)).toMatchObject({ result: 'unchanged', changes: [], object: shown });
          expect(world.core.topics.get('t')?.config).toEqual(c);
          await world.remove('Stream', 't');
        },
      ),
      { numRuns: 50 },
    );
  });

  test('internal topics are hidden', async () => {
    world.core.topics.create({ name: '__mine' });
    expect(await world.names('Stream')).toEqual([]);
    await expect(world.get('Stream', '__mine')).rejects.toThrow('RESOURCE_NOT_FOUND');
    await expect(world.remove('Stream', '__mine')).rejects.toThrow('RESOURCE_NOT_FOUND');
  });

  test('partitions grow live and keep what they have', async () => {
    await world.applyOne(stream('orders', { partitions: 1 }));
    world.produce('orders', 0);
    const grown = await world.applyOne(stream('orders', { partitions: 3 }));
    expect(grown.warnings[0]).toContain('Keys move');
    world.produce('orders', 2);
    await world.restart();
    expect(world.core.topics.get('orders')?.partitions.map((p) => p.highWatermark)).toEqual([1, 0, 0]);
    expect(() => world.core.topics.grow('orders', 3)).toThrow('PARTITIONS_INVALID');
    world.core.topics.grow('orders', 4);
    expect((await world.get('Stream', 'orders')).spec['partitions']).toBe(4);
  });

  test('shrinking needs the annotation in the document and says what is lost', async () => {
    await world.applyOne(stream('orders', { partitions: 3 }));
    world.produce('orders', 1);
    world.produce('orders', 2);
    world.produce('orders', 2);
    const refused = await world.applyOne(stream('orders', { partitions: 1 }));
    expect(refused.errors[0]).toMatchObject({
      path: 'spec.partitions',
      message: expect.stringContaining('partition 1 (1 record), partition 2 (2 records)'),
      allowed: '3 or more',
    });
    expect(world.core.topics.get('orders')?.partitions).toHaveLength(3);
    const annotations = { 'hadron.rs/allow-destructive-update': '' };
    const shrunk = await world.applyOne(stream('orders', { partitions: 1 }, { annotations }));
    expect(shrunk).toMatchObject({
      result: 'configured',
      lost: [
        { partition: 1, records: 1 },
        { partition: 2, records: 2 },
      ],
    });
    await world.applyOne(stream('orders', { partitions: 2 }));
    await world.restart();
    // What grows again begins anew.
    expect(world.core.topics.get('orders')?.partitions.map((p) => p.highWatermark)).toEqual([0, 0]);
  });
});

test('a power cut at any moment leaves a change of partitions whole or undone', async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    world = await new World({}, seed).open();
    await world.applyOne(stream('orders', { partitions: 3 }));
    const annotations = { 'hadron.rs/allow-destructive-update': '' };
    const partitions = seed % 2 === 0 ? 5 : 1;
    const applied = world.resources.apply(ANONYMOUS, [
      stream('orders', { partitions, durability: 'os' }, { annotations }),
    ]);
    applied.catch(() => undefined);
    await world.sim.scheduler.runFor((seed % 10) * 0.2);
    world.machine.process.kill();
    world.sim.disk.powerLoss();
    await world.open();
    const { spec, metadata } = await world.get('Stream', 'orders');
    const topic = world.core.topics.get('orders');
    const found = JSON.stringify([spec, metadata.generation]);
    seen.add(found);
    expect([JSON.stringify([{ partitions: 3 }, 1]), JSON.stringify([{ partitions, durability: 'os' }, 2])]).toContain(
      found,
    );
    expect(topic?.partitions).toHaveLength(spec['partitions'] as number);
    for (const p of topic?.partitions ?? []) world.produce('orders', p.index);
    await world.run(world.core.registryDurable());
    // No log without a topic.
    const logs = [...world.core.shard.logs.values()].filter((log) => log.name.startsWith('orders-'));
    expect(logs).toHaveLength(spec['partitions'] as number);
  }
  // Both before and after were met, growing and shrinking.
  expect(seen.size).toBe(3);
});

describe('watch', () => {
  test('sees every change in order, from any version, also across a restart', async () => {
    await world.applyOne(stream('a'));
    const { resourceVersion } = await world.run(world.resources.list(ANONYMOUS, 'Stream'));
    const live = world.watch(resourceVersion);
    await world.apply(stream('b'), stream('a', { partitions: 2 }));
    world.core.topics.create({ name: 'kafka' });
    await world.remove('Stream', 'b');
    await world.applyOne(stream('b', { partitions: 1 }));
    const all = ['ADDED b', 'MODIFIED a', 'ADDED kafka', 'DELETED b', 'ADDED b'];
    expect(live.events).toEqual(all);
    const late = world.watch(resourceVersion);
    await world.run(world.core.registryDurable());
    expect(late.events).toEqual(all);

    await world.restart();
    const again = world.watch(resourceVersion);
    await world.run(world.core.registryDurable());
    expect(again.events).toEqual(all);
    await world.remove('Stream', 'kafka');
    expect(again.events.at(-1)).toBe('DELETED kafka');
    const resumed = world.watch(again.last());
    await world.applyOne(stream('c'));
    expect(resumed.events).toEqual(['ADDED c']);
  });

  test('without a version it begins with what is there; a selection is left and entered', async () => {
    await world.apply(stream('a', { partitions: 1 }, { labels: { app: 'x' } }), stream('b'));
    const { events, stop } = world.watch(undefined, 'app=x');
    await world.apply(stream('b', { partitions: 1 }, { labels: { app: 'x' } }));
    await world.apply(stream('a', { partitions: 1 }, { labels: { app: 'y' } }));
    await world.apply(stream('a', { partitions: 2 }));
    stop();
    await world.apply(stream('b', { partitions: 2 }));
    expect(events).toEqual(['ADDED a', 'ADDED b', 'DELETED a']);
  });

  test('a version that is too old or still to come is refused', async () => {
    await world.applyOne(stream('a'));
    for (let i = 0; i < 1_100; i++) world.core.topics.configure('a', { 'segment.ms': String(1000 + i) });
    expect(() => world.watch('1')).toThrow('RESOURCE_CONFLICT');
    expect(() => world.watch('99999')).toThrow('RESOURCE_CONFLICT');
    expect(() => world.watch('abc')).toThrow('RESOURCE_CONFLICT');
  });

  test('a failed disk: what was not durable is not told, and a watch goes on with the next life', async () => {
    await world.applyOne(stream('a'));
    const { resourceVersion } = await world.run(world.resources.list(ANONYMOUS, 'Stream'));
    const before = world.watch(resourceVersion);
    const core = world.core;
    world.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    await expect(world.applyOne(stream('b'))).rejects.toThrow('STORAGE_FAILED');
    expect(before.events).toEqual(['ended STORAGE_FAILED']);
    while (world.core === core) await world.sim.scheduler.runFor(100);
    world.resources = await world.core.resources();
    const after = world.watch(resourceVersion);
    await world.applyOne(stream('c'));
    // Whether b is there is unknown to who asked for it, and one to all who look.
    const isThere = (await world.names('Stream')).includes('b');
    expect(after.events).toEqual(isThere ? ['ADDED b', 'ADDED c'] : ['ADDED c']);
  });

  test('nothing is told before it is durable, and the end is told once', async () => {
    const { events } = world.watch();
    world.core.topics.create({ name: 'a' });
    expect(events).toEqual([]);
    await world.run(world.core.registryDurable());
    expect(events).toEqual(['ADDED a']);
    await world.run(world.broker.close());
    expect(events).toEqual(['ADDED a', 'ended STORAGE_CLOSED']);
  });
});

describe('Subscriptions', () => {
  beforeEach(async () => {
    await world.apply(stream('orders'));
  });

  test('defaults are filled in; secrets are written, kept and never told', async () => {
    const credential = { type: 'PLAIN', identifier: 'me', secret: 'hush' };
    const { object } = await world.applyOne(subscription('mail', { credential }));
    expect(object?.spec).toEqual({
      stream: 'orders',
      sink: 'https://example.com/hook',
      protocol: 'HTTP',
      mode: 'binary',
      concurrency: 10,
      suspended: false,
      credential: { type: 'PLAIN', identifier: 'me' },
    });
    expect(await world.applyOne(object)).toMatchObject({ result: 'unchanged' });
    const secret = (): string | undefined => [...world.resources.subscriptions.all()][0]?.spec.credential?.secret;
    expect(secret()).toBe('hush');
    const changed = await world.applyOne(subscription('mail', { credential: { ...credential, secret: 'louder' } }));
    expect(changed.changes).toEqual([{ path: 'spec.credential.secret', to: '(secret)' }]);
    expect(JSON.stringify(changed)).not.toContain('louder');
    expect(secret()).toBe('louder');
    // Else who may change the sink could have the secret sent to himself.
    const stolen = subscription('mail', {
      credential: { type: 'PLAIN', identifier: 'me' },
      sink: 'https://evil.example/',
    });
    expect((await world.applyOne(stolen)).errors[0]?.path).toBe('spec.credential.secret');
  });

  test.each([
    ['an unknown stream', { stream: 'nowhere' }, 'spec.stream'],
    ['CESQL that does not parse', { filters: [{ sql: 'type = ' }] }, 'spec.filters[0].sql'],
    ['CESQL in a corner', { filters: [{ not: { all: [{ sql: '(' }] } }] }, 'spec.filters[0].not.all[0].sql'],
    ['more filters than a group takes', { filters: [{ any: manyTypes(256) }] }, 'spec.filters[0].any[255]'],
    ['more types and filters together', { types: named(200), filters: [{ any: manyTypes(200) }] }, 'spec.types'],
    ['a credential without what it needs', { credential: { type: 'REFRESHTOKEN' } }, 'spec.credential.refreshToken'],
  ])('%s is refused', async (_, spec, path) => {
    expect((await world.applyOne(subscription('s', spec))).errors[0]?.path).toBe(path);
  });

  test('two of one group are refused; what a group is bound to cannot change', async () => {
    await world.apply(subscription('mail', {}), stream('other'));
    expect((await world.applyOne(subscription('twin', { group: 'mail' }))).errors[0]?.path).toBe('spec.group');
    expect((await world.applyOne(subscription('mail', { stream: 'other' }))).errors[0]?.path).toBe('spec.stream');
    const moved = subscription('mail', { delivery: { start: { from: 'latest' } } });
    expect((await world.applyOne(moved)).errors[0]?.path).toBe('spec.delivery.start');
    const reordered = subscription('mail', { delivery: { ordering: 'none' } });
    expect((await world.applyOne(reordered)).errors[0]?.path).toBe('spec.delivery.ordering');
    const asItIs = subscription('mail', { delivery: { ordering: 'key' } });
    expect((await world.applyOne(asItIs)).errors).toEqual([]);
  });

  test('a Stream and its Subscription in one input, in any order', async () => {
    const results = await world.apply(subscription('s', { stream: 'new' }), stream('new'));
    expect(results.map((r) => r.result)).toEqual(['created', 'created']);
  });

  test('a Stream in use is not deleted, on neither side; cascade takes its Subscriptions along', async () => {
    await world.apply(
      subscription('mail', {}),
      stream('dead'),
      stream('others'),
      subscription('other', { stream: 'others', delivery: { policy: { deadLetterStream: 'dead' } } }),
    );
    await expect(world.remove('Stream', 'orders')).rejects.toThrow(
      'RESOURCE_IN_USE: Stream orders is used by Subscription mail',
    );
    expect(() => world.core.topics.remove('orders')).toThrow('RESOURCE_IN_USE');
    await expect(world.remove('Stream', 'dead')).rejects.toThrow('Subscription other (dead letters)');
    expect(await world.remove('Stream', 'orders', true)).toEqual([
      { kind: 'Subscription', name: 'mail' },
      { kind: 'Stream', name: 'orders' },
    ]);
    await world.remove('Stream', 'dead', true);
    expect(await world.names('Subscription')).toEqual(['other']);
  });

  test('where a live group puts its dead letters is in use as well', async () => {
    await world.apply(stream('graves'));
    const handler = { deliver: () => undefined, withdrawn: () => undefined, ended: () => undefined };
    const settings = { policy: { deadLetterStream: 'graves' } };
    const session = await world.run(
      world.core.deliveries.open({ stream: 'orders', group: 'mail', settings, credit: 1 }, handler),
    );
    const refusal = 'RESOURCE_IN_USE: Stream graves is used by group mail of Stream orders (dead letters)';
    await expect(world.remove('Stream', 'graves')).rejects.toThrow(refusal);
    expect(() => world.core.topics.remove('graves')).toThrow(refusal);
    session.close();
    await world.remove('Stream', 'graves');
  });

  test('the worker reports how it goes, and is told of what is wanted only', async () => {
    const seen: string[] = [];
    world.resources.subscriptions.watch(({ type, subscription: s }) => seen.push(`${type} ${s.name} ${s.generation}`));
    await world.applyOne(subscription('mail', {}));
    const failing = { type: 'Ready', status: 'False', reason: 'Refused', message: 'The sink answered 503.' } as const;
    world.resources.subscriptions.report('mail', 1, [failing]);
    const { resourceVersion } = (await world.get('Subscription', 'mail')).metadata;
    world.resources.subscriptions.report('mail', 1, [failing]);
    const now = await world.get('Subscription', 'mail');
    expect(now.metadata.resourceVersion).toBe(resourceVersion);
    expect(now.status).toMatchObject({ observedGeneration: 1, conditions: [failing] });
    await world.applyOne(subscription('mail', { concurrency: 3 }));
    expect(seen).toEqual(['put mail 1', 'put mail 2']);
  });
});
