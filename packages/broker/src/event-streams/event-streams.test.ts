/** Events in and events read, through a real Broker on the simulated disk: restarts, crashes, disk failures. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HadronError, silentLogger, systemClock, systemRandom } from '@hadron/base';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import { cloudEvent, readRecord, recordToEvent } from '@hadron/contracts/events';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { type Log, nodeFileSystem } from '@hadron/log';
import { Sim, type SimMachine } from '@hadron/testkit';
import { describe, expect, test } from 'vitest';
import { Broker } from '../broker.ts';
import { resolveBrokerSettings } from '../config/index.ts';
import { newProduceOutcome } from '../streams/partition.ts';
import { MemoryEventLog } from '../ports/memory-event-log.ts';
import { LogEventStreams } from './event-streams.ts';
import type { PublishOptions, TailFrom, TailListener, TailRecord } from './service.ts';

class World {
  readonly sim = new Sim(1);
  machine!: SimMachine;
  broker!: Broker;

  static async open(settings: Record<string, string> = {}): Promise<World> {
    const w = new World();
    w.sim.disk.put('data/shards/readme', new Uint8Array()); // the folder above is its owner's to make durable
    await w.start(settings);
    return w;
  }

  private async start(settings: Record<string, string>): Promise<void> {
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
        shardSettings: { commitFileBytes: 262_144, minFreeBytes: 0, tailCacheBytes: 262_144 },
      }),
    );
  }

  get events(): LogEventStreams {
    return this.broker.core.events;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  /** Kills the process; with `power` what was not synced may be gone. */
  async crash(power = true): Promise<void> {
    if (power) this.sim.powerLoss(this.machine.process);
    else this.machine.process.kill();
    await this.start({});
  }

  async stream(name: string, partitions = 1, config: Record<string, string> = {}): Promise<void> {
    this.broker.core.topics.create({ name, partitions, config });
    await this.run(this.broker.core.shard.barrier());
  }

  publishing(
    stream: string,
    events: readonly CloudEvent[],
    options: PublishOptions = {},
  ): Promise<readonly PublishResult[]> {
    return new Promise((resolve, reject) =>
      this.events.publish(stream, events, options, (error, results) =>
        error === undefined ? resolve(results) : reject(error),
      ),
    );
  }

  publish(stream: string, events: readonly CloudEvent[], options?: PublishOptions): Promise<readonly PublishResult[]> {
    return this.run(this.publishing(stream, events, options));
  }

  async ids(stream: string, from: TailFrom = { from: 'beginning' }): Promise<string[]> {
    const page = await this.run(this.events.page(stream, from, { records: 100_000, bytes: 100_000_000 }));
    return page.records.map((r) => `${r.partition}/${r.offset} ${idOf(r)}`);
  }
}

const event = (id: string, more: Record<string, string> = {}, data: string | undefined = 'x'): CloudEvent =>
  cloudEvent({ id, source: '/s', type: 't', data, datacontenttype: 'text/plain', ...more });

const idOf = (r: TailRecord): string =>
  recordToEvent(readRecord(r.record.bytes), {
    stream: 's',
    topicId: 't',
    partition: r.partition,
    offset: r.offset,
    timestampMs: r.record.timestampMs,
  }).id;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing was thrown',
    (error: unknown) => (error instanceof HadronError ? error.code : String(error)),
  );
}

const at = (r: PublishResult | undefined): string => {
  if (r === undefined) return 'no result';
  return 'error' in r ? r.error.code : `${r.partition}/${r.offset}`;
};

describe('publishing', () => {
  test('an answer tells where each event lies, after the sync; a crash keeps all of them', async () => {
    const w = await World.open();
    await w.stream('orders', 3);
    const calls = Array.from({ length: 50 }, (_, i) =>
      w.publishing('orders', [event(`a${i}`, { subject: `k${i % 7}` })]),
    );
    const many = w.publishing('orders', [event('m1', { subject: 'k1' }), event('m2'), event('m3', { subject: 'k1' })]);
    const results = (await w.run(Promise.all([...calls, many]))).flat();
    await w.crash();
    const stored = new Set(await w.ids('orders'));
    expect(stored.size).toBe(53);
    const ids = [...Array.from({ length: 50 }, (_, i) => `a${i}`), 'm1', 'm2', 'm3'];
    expect(results.filter((r, i) => !stored.has(`${at(r)} ${ids[i]}`))).toEqual([]);
  });

  test('no answer comes before the sync that covers it, and answers come in order', async () => {
    const w = await World.open();
    await w.stream('s');
    const told: number[] = [];
    const { shard } = w.broker.core;
    for (let i = 0; i < 20; i++) {
      w.events.publish('s', [event(String(i))], {}, () => {
        expect(shard.isDurable(w.broker.core.topics.get('s')?.partitions[0]?.log.lastLsn ?? -1)).toBe(true);
        told.push(i);
      });
    }
    await w.publish('s', [event('last')]);
    expect(told).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  test('events of one tick share a record batch; the key decides the partition, as for Kafka producers', async () => {
    const w = await World.open();
    await w.stream('s', 5);
    const before = w.broker.core.shard.stats.appends;
    const calls = Array.from({ length: 100 }, (_, i) => w.publishing('s', [event(String(i), { subject: 'foobar' })]));
    const results = (await w.run(Promise.all(calls))).flat();
    expect(w.broker.core.shard.stats.appends - before).toBe(1);
    const partition = (-790332482 & 0x7fff_ffff) % 5;
    expect(results.map(at)).toEqual(Array.from({ length: 100 }, (_, i) => `${partition}/${i}`));
    // partitionkey comes before subject (§5.5.1), and an explicit partition before both.
    const [a] = await w.publish('s', [event('a', { subject: 'x', partitionkey: 'foobar' })]);
    const [b] = await w.publish('s', [event('b', { subject: 'foobar' })], { partition: 4 });
    expect([at(a).split('/')[0], at(b)]).toEqual([String(partition), `4/${partition === 4 ? 101 : 0}`]);
    // Without a key in turn.
    const spread = await w.publish(
      's',
      Array.from({ length: 10 }, (_, i) => event(`r${i}`)),
    );
    expect(new Set(spread.map((r) => at(r).split('/')[0])).size).toBe(5);
  });

  test('the stored record is the binary form: any Kafka consumer reads it', async () => {
    const w = await World.open();
    await w.stream('s');
    await w.publish('s', [event('1', { subject: 'k', time: '2026-01-31T23:59:59.123456+02:00' })]);
    const page = await w.run(w.events.page('s', { from: 'beginning' }, { records: 1, bytes: 1 }));
    const record = readRecord(page.records[0]?.record.bytes as Buffer);
    expect(Buffer.from(record.key ?? '').toString()).toBe('k');
    expect(Object.fromEntries(record.headers.map((h) => [h.key, Buffer.from(h.value ?? '').toString()]))).toEqual({
      ce_specversion: '1.0',
      ce_id: '1',
      ce_source: '/s',
      ce_type: 't',
      'content-type': 'text/plain',
      ce_subject: 'k',
      ce_time: '2026-01-31T23:59:59.123456+02:00',
    });
  });

  test('invalid events are answered singly and the rest is stored (§5.5.2)', async () => {
    const w = await World.open();
    await w.stream('s');
    const bad = { ...event('x'), source: '' };
    const late = { ...event('y'), attributes: new Map([['deliverat', 'tomorrow']]) };
    const gone = { ...event('z'), attributes: new Map([['expirytime', '2026-13-01T00:00:00Z']]) };
    const results = await w.publish('s', [event('a'), bad, event('b'), late, gone, event('c')]);
    expect(results.map(at)).toEqual(['0/0', 'EVENT_INVALID', '0/1', 'EVENT_INVALID', 'EVENT_INVALID', '0/2']);
    expect((await w.publish('s', [bad])).map(at)).toEqual(['EVENT_INVALID']);
    expect(await w.publish('s', [])).toEqual([]);
    expect(await w.ids('s')).toEqual(['0/0 a', '0/1 b', '0/2 c']);
  });

  test('atomic: one append set in its place among the others, or nothing', async () => {
    const w = await World.open();
    await w.stream('s', 3);
    const { stats } = w.broker.core.shard;
    const bad = { ...event('x'), type: '' };
    const all = w.run(
      Promise.all([
        w.publishing('s', [event('a')], { partition: 0 }),
        w.publishing('s', [event('b0'), event('b1'), event('b2')], { atomic: true, partition: 0 }),
        codeOf(w.publishing('s', [event('n0'), bad, event('n2')], { atomic: true })),
        w.publishing('s', [event('c')], { partition: 0 }),
      ]),
    );
    const [, b, refused] = await all;
    expect([b.map(at), refused]).toEqual([['0/1', '0/2', '0/3'], 'EVENT_INVALID']);
    expect(await w.ids('s', { from: 'beginning', partition: 0 })).toEqual([
      '0/0 a',
      '0/1 b0',
      '0/2 b1',
      '0/3 b2',
      '0/4 c',
    ]);
    const message = await w.publish('s', [event('n0'), bad], { atomic: true }).catch((e: unknown) => e as HadronError);
    expect(message).toMatchObject({ field: '[1].type' });
    const writes = stats.syncedFrames;
    await w.publish(
      's',
      Array.from({ length: 30 }, (_, i) => event(`t${i}`)),
      { atomic: true },
    );
    expect(stats.syncedFrames - writes).toBe(1);
    // A set larger than a batch has several batches of one partition.
    const large = Array.from({ length: 30 }, (_, i) => event(`l${i}`, {}, 'x'.repeat(10_000)));
    const placed = await w.publish('s', large, { atomic: true, partition: 2 });
    const firstOf = Number(at(placed[0]).slice(2));
    expect(placed.map(at)).toEqual(large.map((_, i) => `2/${firstOf + i}`));
    expect((await w.ids('s', { from: { offset: firstOf }, partition: 2 })).length).toBe(30);
  });

  test('what is refused names the field, and its message does not repeat the code', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'cleanup.policy': 'compact' });
    const [keyed, keyless] = await w.publish('s', [event('a', { subject: 'k' }), event('b')]);
    expect(at(keyed)).toBe('0/0');
    expect(keyless).toEqual({
      error: { code: 'EVENT_INVALID', field: 'partitionkey', message: expect.stringMatching(/^stream s is compacted/) },
    });
  });

  test('an event that does not fit is refused by itself; one that does may be as large as the stream allows', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'max.message.bytes': '70000' });
    const results = await w.publish('s', [
      event('a'),
      event('b', {}, 'x'.repeat(70_000)),
      event('c', {}, 'x'.repeat(65_536)),
      event('d'),
    ]);
    expect(results.map(at)).toEqual(['0/0', 'EVENT_TOO_LARGE', '0/1', '0/2']);
    expect(await codeOf(w.publish('s', [event('e'), event('f', {}, 'x'.repeat(69_990))], { atomic: true }))).toBe(
      'EVENT_TOO_LARGE',
    );
    expect(await w.ids('s')).toEqual(['0/0 a', '0/1 c', '0/2 d']);
  });

  test('an event of 64 KiB is taken whatever a Kafka client set; its own batches are not (cloudevents.md §2.3)', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'max.message.bytes': '2000' });
    const sizes = [65_536 - 200, 65_536, 70_000];
    const results = await w.publish(
      's',
      sizes.map((size, i) => event(`e${i}`, {}, 'x'.repeat(size))),
    );
    expect(results.map(at)).toEqual(['0/0', '0/1', 'EVENT_TOO_LARGE']);
    expect(results[2]).toMatchObject({ error: { message: expect.stringMatching(/into 66560 bytes/) as unknown } });
    const batch = encodeBatch([{ value: 'x'.repeat(3_000) }], { baseTimestamp: 1 });
    const outcome = newProduceOutcome();
    w.broker.core.topics.get('s')?.partitions[0]?.produce(batch, 0, batch.length, true, 1, outcome);
    expect(outcome.error).toBe('RECORD_TOO_LARGE');
    await w.stream('off', 1, { 'max.message.bytes': '2000', 'hadron.events': 'off' });
    expect((await w.publish('off', [event('a', {}, 'x'.repeat(3_000))])).map(at)).toEqual(['EVENT_TOO_LARGE']);
  });

  test('a compacted stream asks for a key', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'cleanup.policy': 'compact' });
    const results = await w.publish('s', [event('a', { subject: 'k' }), event('b')]);
    expect(results.map(at)).toEqual(['0/0', 'EVENT_INVALID']);
  });

  test('an unknown stream is made where auto-creation is on, else the error says how', async () => {
    const w = await World.open({ 'num.partitions': '2' });
    expect(await w.run(w.events.info('fresh'))).toMatchObject({ name: 'fresh', partitions: 2 });
    await w.publish('new', [event('a')]);
    expect(await w.run(codeOf(w.publishing('no good', [event('a')])))).toBe('TOPIC_NAME_INVALID');
    // A topic of that name would be no Stream.
    expect(await w.run(codeOf(w.publishing('__new', [event('a')])))).toBe('TOPIC_NAME_INVALID');
    const off = await World.open({ 'auto.create.topics.enable': 'false' });
    const error = await off.publish('new', [event('a')]).catch((e: unknown) => e as HadronError);
    expect(error).toMatchObject({ code: 'TOPIC_NOT_FOUND' });
    expect((error as HadronError).message).toMatch(/auto\.create\.topics\.enable/);
    expect(await off.run(codeOf(off.events.info('new')))).toBe('TOPIC_NOT_FOUND');
    const page = off.events.page('new', { from: 'beginning' }, { records: 1, bytes: 1 });
    expect(await off.run(codeOf(page))).toBe('TOPIC_NOT_FOUND');
    const listener = { records: () => undefined, ended: () => undefined };
    expect(await off.run(codeOf(off.events.tail('new', { from: 'latest' }, listener)))).toBe('TOPIC_NOT_FOUND');
    // Who reads makes it too, as a Kafka consumer of an unknown topic does; it survives a crash.
    expect(await w.ids('paged')).toEqual([]);
    (await w.run(w.events.tail('tailed', { from: 'latest' }, listener))).close();
    expect(await w.run(codeOf(w.events.tail('no good', { from: 'latest' }, listener)))).toBe('TOPIC_NAME_INVALID');
    await w.crash();
    expect(['paged', 'tailed'].map((name) => w.broker.core.topics.get(name)?.partitions.length)).toEqual([2, 2]);
    await w.stream('one');
    expect(await w.run(codeOf(w.publishing('one', [event('a')], { partition: 1 })))).toBe('REQUEST_INVALID');
  });

  test('a stream that is deleted in the same tick refuses what was not committed', async () => {
    const w = await World.open({ 'auto.create.topics.enable': 'false' });
    await w.stream('s');
    const call = codeOf(w.publishing('s', [event('a')]));
    w.broker.core.topics.remove('s');
    expect(await w.run(call)).toBe('TOPIC_NOT_FOUND');
    expect(await codeOf(w.publish('s', [event('b')]))).toBe('TOPIC_NOT_FOUND');
  });

  test('what spans shards cannot be atomic, and the error names the partitions', async () => {
    const log = new MemoryEventLog({ shards: 2, autoSync: true });
    log.createStream('s', 4, (i) => i % 2);
    const events = new LogEventStreams({
      log,
      clock: systemClock,
      random: systemRandom,
      createStream: undefined,
      allocateProducerId() {},
    });
    const publish = (list: CloudEvent[], options: PublishOptions): Promise<readonly PublishResult[]> =>
      new Promise((resolve, reject) =>
        events.publish('s', list, options, (e, r) => (e === undefined ? resolve(r) : reject(e))),
      );
    const four = [event('a'), event('b'), event('c'), event('d')];
    const error = await publish(four, { atomic: true }).catch((e: unknown) => e as HadronError);
    expect(error).toMatchObject({ code: 'CROSS_SHARD' });
    for (const part of ['0', '1', '2', '3', 'on shard 0', 'on shard 1'])
      expect((error as HadronError).message).toContain(part);
    expect([...log.streams()].flatMap((s) => s.partitions.map((p) => p.nextOffset))).toEqual([0, 0, 0, 0]);
    expect((await publish(four, { atomic: true, partition: 3 })).map(at)).toEqual(['3/0', '3/1', '3/2', '3/3']);
    const batches = [0, 1].map((p) => ({ partition: p, batch: encodeBatch([{ value: 'v' }], { baseTimestamp: 1 }) }));
    const set = new Promise((resolve) => events.publishBatches('s', batches, resolve));
    expect(await set).toMatchObject({ code: 'CROSS_SHARD' });
    expect(log.stream('s')?.partitions.map((p) => p.nextOffset)).toEqual([0, 0, 0, 4]);
    // Without atomic each shard takes its part.
    expect((await publish(four, {})).filter((r) => 'error' in r)).toEqual([]);
    events.close(new HadronError('STORAGE_CLOSED', 'over'));
  });

  test('a stop answers what is committed, and refuses what is not', async () => {
    const w = await World.open();
    await w.stream('s', 1);
    await w.stream('d', 1, { 'hadron.dedupe.window.ms': '60000' });
    const committed = w.publishing('s', [event('a')]);
    w.machine.clock.defer(() => {
      // The tick of `a` has ended, this one has not.
      const open = Promise.all([codeOf(w.publishing('s', [event('b')])), codeOf(w.publishing('d', [event('c')]))]);
      closing = Promise.all([open, w.broker.close()]);
    });
    let closing: Promise<[string[], void]> | undefined;
    expect((await w.run(committed)).map(at)).toEqual(['0/0']);
    expect((await w.run(closing as Promise<[string[], void]>))[0]).toEqual(['STORAGE_CLOSED', 'STORAGE_CLOSED']);
    expect(await codeOf(w.publishing('s', [event('d')]))).toBe('STORAGE_CLOSED');
    await w.crash(false);
    expect(await w.ids('s')).toEqual(['0/0 a']);
    expect(await w.ids('d')).toEqual([]);
  });

  test('os streams are answered when written', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'hadron.durability': 'os' });
    const { syncs } = w.broker.core.shard.stats;
    expect((await w.publish('s', [event('a')])).map(at)).toEqual(['0/0']);
    expect(w.broker.core.shard.stats.syncs).toBe(syncs);
  });

  test('a failing disk fails the calls that wait, and the next core goes on', async () => {
    const w = await World.open();
    await w.stream('s');
    await w.publish('s', [event('before')]);
    w.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    const waiting = codeOf(w.publishing('s', [event('lost')]));
    const listener = new Collector();
    await w.run(w.events.tail('s', { from: 'beginning' }, listener));
    expect(await w.run(waiting)).toBe('STORAGE_FAILED');
    await w.sim.scheduler.runUntilIdle();
    expect(listener.error).toBe('STORAGE_FAILED');
    expect(w.broker.recoveries).toBe(1);
    await w.publish('s', [event('after')]);
    expect((await w.ids('s')).map((line) => line.split(' ')[1])).toEqual(expect.arrayContaining(['before', 'after']));
  });
});

test('on a real folder: published, read back, after a stop as well', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hadron-events-'));
  const open = (): Promise<Broker> =>
    Broker.open({
      fs: nodeFileSystem,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      directory: `${folder}/shards/0`,
      clusterId: 'c',
      nodeId: 1,
      settings: resolveBrokerSettings({}),
      shardSettings: { minFreeBytes: 0 },
    });
  try {
    let broker = await open();
    const done = await new Promise<readonly PublishResult[]>((resolve, reject) =>
      broker.core.events.publish('orders', [event('a'), event('b')], {}, (e, r) =>
        e === undefined ? resolve(r) : reject(e),
      ),
    );
    expect(done.map(at)).toEqual(['0/0', '0/1']);
    await broker.close();
    broker = await open();
    const page = await broker.core.events.page('orders', { from: 'beginning' }, { records: 10, bytes: 10_000 });
    expect(page.records.map(idOf)).toEqual(['a', 'b']);
    await broker.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('record batches', () => {
  test('an idempotent producer gets the first position again, also after a restart', async () => {
    const w = await World.open();
    await w.stream('s', 2);
    const { id, epoch } = await w.run(w.events.newProducer());
    const batch = (baseSequence: number, values: string[]): Buffer =>
      encodeBatch(
        values.map((value) => ({ value })),
        { baseTimestamp: w.sim.scheduler.wallMs, producerId: id, producerEpoch: epoch, baseSequence },
      );
    const send = (b: Buffer, partition = 1): Promise<number> =>
      w.run(
        new Promise((resolve, reject) =>
          w.events.publishBatch('s', partition, b, (e, base) => (e === undefined ? resolve(base) : reject(e))),
        ),
      );
    expect([await send(batch(0, ['a', 'b'])), await send(batch(2, ['c'])), await send(batch(0, ['a', 'b']))]).toEqual([
      0, 2, 0,
    ]);
    await w.crash();
    expect([await send(batch(2, ['c'])), await send(batch(3, ['d']))]).toEqual([2, 3]);
    expect(await codeOf(send(batch(9, ['e'])))).toBe('SEQUENCE_OUT_OF_ORDER');
    expect(await codeOf(send(batch(4, ['e']).subarray(0, 50)))).toBe('CORRUPT_DATA');
    expect(await codeOf(send(batch(4, ['e']), 2))).toBe('REQUEST_INVALID');
    const other = await w.run(w.events.newProducer());
    expect(other.id).not.toBe(id);
    expect((await w.ids('s')).length).toBe(4);
  });
});

describe('hadron.events=required', () => {
  test('records that are no CloudEvent are refused, from Kafka and as record batches', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'hadron.events': 'required' });
    const headers = Object.entries({ ce_specversion: '1.0', ce_id: '1', ce_source: '/s', ce_type: 't' }).map(
      ([key, value]) => ({ key, value }),
    );
    const produce = (records: Parameters<typeof encodeBatch>[0], codec = 0): [string | undefined, number] => {
      const bytes = encodeBatch(records, { baseTimestamp: 1, codec });
      const out = newProduceOutcome();
      w.broker.core.topics.get('s')?.partitions[0]?.produce(bytes, 0, bytes.length, true, w.sim.scheduler.wallMs, out);
      return [out.error, out.recordIndex];
    };
    expect(produce([{ value: 'x', headers }, { value: 'x' }])).toEqual(['RECORD_INVALID', 1]);
    expect(
      produce(
        [
          { value: 'x', headers },
          { value: 'x', headers: headers.slice(1) },
        ],
        4,
      ),
    ).toEqual(['RECORD_INVALID', 1]);
    expect(produce([{ value: 'x', headers }], 1)).toEqual([undefined, -1]);
    expect((await w.publish('s', [event('2')])).map(at)).toEqual(['0/1']);
  });
});

describe('the deduplication window', () => {
  const config = { 'hadron.dedupe.window.ms': '60000', 'hadron.dedupe.entries': '100' };

  test('a duplicate is answered with the original position: in one call, one tick, later, after a crash', async () => {
    const w = await World.open();
    await w.stream('s', 3, config);
    const [one, two, three] = await w.publish('s', [event('a'), event('a'), event('b')]);
    expect(at(two)).toBe(at(one));
    expect(at(three)).not.toBe(at(one));
    const [again, later] = await w.run(
      Promise.all([w.publishing('s', [event('c')]), w.publishing('s', [event('c'), event('a')])]),
    );
    expect([at(later[0]), at(later[1])]).toEqual([at(again[0]), at(one)]);
    const power = await w.publish('s', [event('d')]);
    await w.crash();
    expect((await w.publish('s', [event('d'), event('a'), event('b')])).map(at)).toEqual([
      at(power[0]),
      at(one),
      at(three),
    ]);
    expect((await w.ids('s')).length).toBe(4);
    // By another source it is another event; and it can be switched off per call.
    expect((await w.publish('s', [{ ...event('a'), source: '/other' }]))[0]).not.toEqual(one);
    expect((await w.publish('s', [event('a')], { deduplicate: false }))[0]).not.toEqual(one);
  });

  test('atomic calls: duplicates are answered, a refused call leaves nothing behind', async () => {
    const w = await World.open();
    await w.stream('s', 2, config);
    expect(await codeOf(w.publish('s', [event('a'), { ...event('x'), type: '' }], { atomic: true }))).toBe(
      'EVENT_INVALID',
    );
    const first = await w.publish('s', [event('a'), event('b'), event('a')], { atomic: true });
    expect(at(first[2])).toBe(at(first[0]));
    expect((await w.publish('s', [event('b'), event('a')], { atomic: true })).map(at)).toEqual([
      at(first[1]),
      at(first[0]),
    ]);
    expect((await w.ids('s')).length).toBe(2);
  });

  test('after a crash it holds the newest events, whichever partitions they are in', async () => {
    const w = await World.open();
    await w.stream('s', 4, config);
    const some = (prefix: string, count: number): CloudEvent[] =>
      Array.from({ length: count }, (_, i) => event(`${prefix}${i}`));
    await w.publish('s', some('old', 50), { partition: 1 });
    await w.sim.scheduler.runFor(10);
    const hot = await w.publish('s', some('hot', 60), { partition: 0 });
    await w.sim.scheduler.runFor(10);
    const last = await w.publish('s', some('last', 40), { partition: 3 });
    await w.crash();
    expect(await w.publish('s', [...some('hot', 60), ...some('last', 40)])).toEqual([...hot, ...last]);
    expect(await w.publish('s', some('old', 1), { partition: 1 })).toEqual([{ partition: 1, offset: 50 }]);

    // One batch of one moment, larger than the window: its end.
    await w.stream('t', 1, config);
    const batch = await w.publish('t', some('b', 150));
    await w.crash();
    expect(await w.publish('t', some('b', 150).slice(50))).toEqual(batch.slice(50));
  });

  test('a duplicate of an event that cannot be stored is not answered as if it were', async () => {
    const log = new MemoryEventLog({ autoSync: true });
    log.createStream('s', 2, undefined, config);
    let full = true;
    const commit = log.commit.bind(log);
    log.commit = (...args) => {
      if (full) throw new HadronError('STORAGE_FULL', 'no space');
      return commit(...args);
    };
    const events = new LogEventStreams({
      log,
      clock: systemClock,
      random: systemRandom,
      createStream: undefined,
      allocateProducerId() {},
    });
    const publish = (list: CloudEvent[], options: PublishOptions = {}): Promise<readonly PublishResult[]> =>
      new Promise((resolve, reject) =>
        events.publish('s', list, options, (e, r) => (e === undefined ? resolve(r) : reject(e))),
      );
    const twice = [event('a'), event('b'), event('a')];
    const [call, single, atomic] = await Promise.allSettled([
      publish(twice),
      publish([event('b')]),
      publish(twice, { atomic: true }),
    ]);
    expect(call.status === 'fulfilled' && call.value.map(at)).toEqual(['STORAGE_FULL', 'STORAGE_FULL', 'STORAGE_FULL']);
    expect([single.status, atomic.status]).toEqual(['rejected', 'rejected']);
    full = false;
    for (const options of [{}, { atomic: true }]) {
      const stored = await publish(twice, options);
      expect(stored[2]).toEqual(stored[0]);
    }
    expect([...log.streams()].flatMap((s) => s.partitions.map((p) => p.nextOffset))).toEqual([1, 1]);
    events.close(new HadronError('STORAGE_CLOSED', 'over'));
  });

  test('it is forgotten after its time, and when newer ones take the room', async () => {
    const w = await World.open();
    await w.stream('s', 1, config);
    const [first] = await w.publish('s', [event('a')]);
    expect((await w.publish('s', [event('a')]))[0]).toEqual(first);
    await w.sim.scheduler.runFor(60_001);
    const [second] = await w.publish('s', [event('a')]);
    expect(second).not.toEqual(first);
    expect((await w.publish('s', [event('a')]))[0]).toEqual(second);
    await w.publish(
      's',
      Array.from({ length: 100 }, (_, i) => event(`n${i}`)),
    );
    expect((await w.publish('s', [event('a')]))[0]).not.toEqual(second);
    expect((await w.publish('s', [event('n5')])).map(at)).toEqual(['0/7']);
  });

  test('it holds what Kafka producers wrote as well', async () => {
    const w = await World.open();
    await w.stream('s', 1, config);
    await w.publish('s', [event('x')]);
    const headersOf = (more: Record<string, string>): { key: string; value: string }[] =>
      Object.entries({ ce_source: '/s', ...more }).map(([key, value]) => ({ key, value }));
    const required = { ce_specversion: '1.0', ce_type: 't' };
    const json = '{"specversion":"1.0","id":"j","source":"/s","type":"t"}';
    const bytes = encodeBatch(
      [
        { value: 'v', headers: headersOf({ ...required, ce_id: 'k' }) },
        { value: json, headers: [{ key: 'content-type', value: 'application/cloudevents+json' }] },
        { value: 'plain' },
        // No events of their own (K6): events of these identities are not their duplicates.
        { value: 'v', headers: headersOf({ ce_id: 'half' }) },
        { value: 'v', headers: headersOf({ ...required, ce_id: 'late', ce_time: 'never' }) },
      ],
      { baseTimestamp: w.sim.scheduler.wallMs },
    );
    const out = newProduceOutcome();
    w.broker.core.topics.get('s')?.partitions[0]?.produce(bytes, 0, bytes.length, true, w.sim.scheduler.wallMs, out);
    await w.run(w.broker.core.shard.barrier());
    const again = await w.publish('s', [event('k'), event('j'), event('new'), event('half'), event('late')]);
    expect(again.map(at)).toEqual(['0/1', '0/2', '0/6', '0/7', '0/8']);
  });

  test('partitions that were taken away are not remembered, and tails of them end', async () => {
    const w = await World.open();
    await w.stream('s', 2, config);
    const [kept] = await w.publish('s', [event('kept')], { partition: 0 });
    await w.publish('s', [event('a'), event('b')], { partition: 1 });
    const [all, one] = [new Collector(), new Collector()];
    await w.run(w.events.tail('s', { from: 'beginning' }, all));
    await w.run(w.events.tail('s', { from: 'beginning', partition: 1 }, one));
    w.broker.core.topics.alter('s', { partitions: 1 });
    await w.sim.scheduler.runFor(10);
    expect([all.error, one.error]).toEqual(['TOPIC_NOT_FOUND', 'TOPIC_NOT_FOUND']);
    w.broker.core.topics.grow('s', 2);
    const again = await w.publish('s', [event('b'), event('kept')], { partition: 1 });
    expect(again.map(at)).toEqual(['1/0', at(kept)]);
    expect((await w.publish('s', [event('b')])).map(at)).toEqual(['1/0']);
  });

  test('events that could not be stored are not remembered', async () => {
    const w = await World.open();
    await w.stream('s', 1, { ...config, 'max.message.bytes': '70000' });
    expect((await w.publish('s', [event('a', {}, 'x'.repeat(80_000))])).map(at)).toEqual(['EVENT_TOO_LARGE']);
    w.broker.core.topics.configure('s', { ...config, 'max.message.bytes': '100000' });
    expect((await w.publish('s', [event('a', {}, 'x'.repeat(80_000))])).map(at)).toEqual(['0/0']);
  });
});

class Collector implements TailListener {
  readonly seen: string[] = [];
  readonly arrays: (readonly TailRecord[])[] = [];
  cursor: string | undefined;
  error: string | undefined;

  records(records: readonly TailRecord[], cursor: string): void {
    for (const r of records) this.seen.push(`${r.partition}/${r.offset} ${idOf(r)}`);
    this.arrays.push(records);
    this.cursor = cursor;
  }

  ended(error: HadronError | undefined): void {
    this.error = error?.code ?? 'no error';
  }
}

describe('pages', () => {
  test('follow each other over all partitions, from every beginning', async () => {
    const w = await World.open();
    await w.stream('s', 3);
    for (let i = 0; i < 60; i++) await w.publish('s', [event(`e${i}`)]);
    const seen: string[] = [];
    let from: TailFrom = { from: 'beginning' };
    for (let n = 0, atEnd = false; !atEnd; n++) {
      expect(n).toBeLessThan(20);
      const page = await w.run(w.events.page('s', from, { records: 7, bytes: 1_000_000 }));
      expect(page.records.length).toBeLessThanOrEqual(7);
      for (const r of page.records) seen.push(`${r.partition}/${r.offset}`);
      from = { from: { cursor: page.cursor } };
      atEnd = page.atEnd;
    }
    expect([seen.length, new Set(seen).size]).toEqual([60, 60]);
    for (const p of [0, 1, 2]) {
      const offsets = seen.filter((s) => s.startsWith(`${p}/`)).map((s) => Number(s.slice(2)));
      expect(offsets).toEqual(Array.from({ length: 20 }, (_, i) => i));
    }
    // The cursor at the end finds what comes later, and nothing else.
    await w.publish('s', [event('new')]);
    expect((await w.ids('s', from)).map((s) => s.split(' ')[1])).toEqual(['new']);
    expect(await w.ids('s', { from: 'latest' })).toEqual([]);
    expect((await w.ids('s', { from: { offset: 18 }, partition: 1 })).slice(0, 2).map((s) => s.split(' ')[0])).toEqual([
      '1/18',
      '1/19',
    ]);
  });

  test('bytes are limited, and one record comes however large it is', async () => {
    const w = await World.open();
    await w.stream('s');
    await w.publish(
      's',
      Array.from({ length: 10 }, (_, i) => event(String(i), {}, 'x'.repeat(1_000))),
    );
    const page = (bytes: number, offset = 0): Promise<number> =>
      w
        .run(w.events.page('s', { from: { offset }, partition: 0 }, { records: 100, bytes }))
        .then((p) => p.records.length);
    expect([await page(1), await page(3_500), await page(1_000_000)]).toEqual([1, 3, 10]);
  });

  test('from a time, and what is refused with what to do', async () => {
    const w = await World.open();
    await w.stream('s', 2);
    await w.publish('s', [event('old')], { partition: 0 });
    await w.sim.scheduler.runFor(5_000);
    const timeMs = w.sim.scheduler.wallMs;
    await w.publish('s', [event('new')], { partition: 0 });
    expect((await w.ids('s', { from: { timeMs } })).map((s) => s.split(' ')[1])).toEqual(['new']);
    const code = (from: TailFrom): Promise<string> => codeOf(w.ids('s', from));
    expect(await code({ from: { offset: 0 } })).toBe('REQUEST_INVALID');
    await expect(w.ids('s', { from: { offset: 0 } })).rejects.toThrow(/partition=0 to 1/);
    expect(await code({ from: { offset: 3 }, partition: 0 })).toBe('OFFSET_OUT_OF_RANGE');
    expect(await code({ from: 'beginning', partition: 2 })).toBe('REQUEST_INVALID');
    expect(await code({ from: { cursor: 'nonsense' } })).toBe('REQUEST_INVALID');
  });

  test('what compaction took is passed, by pages and by tails', async () => {
    const w = await World.open();
    await w.stream('s', 1, { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' });
    for (let i = 0; i < 60; i++) await w.publish('s', [event(`e${i}`, { subject: `k${i % 3}` }, 'x'.repeat(2_000))]);
    const before = await w.run(w.events.page('s', { from: 'beginning' }, { records: 5, bytes: 1_000_000 }));
    const { shard, topics, compaction } = w.broker.core;
    shard.seal(topics.get('s')?.partitions[0]?.log as Log);
    await w.run(compaction.run());
    const left = ['0/57 e57', '0/58 e58', '0/59 e59'];
    expect(await w.ids('s')).toEqual(left);
    expect(await w.ids('s', { from: { cursor: before.cursor } })).toEqual(left);
    const listener = new Collector();
    await w.run(w.events.tail('s', { from: { offset: 7 }, partition: 0 }, listener));
    await w.sim.scheduler.runUntilIdle();
    expect(listener.seen).toEqual(left);
  });

  test('a cursor outlives trimming, growing and restarts; not the stream', async () => {
    const w = await World.open();
    await w.stream('s');
    for (let i = 0; i < 10; i++) await w.publish('s', [event(`e${i}`)]);
    const page = await w.run(w.events.page('s', { from: 'beginning' }, { records: 3, bytes: 1_000_000 }));
    await w.crash();
    const next: TailFrom = { from: { cursor: page.cursor } };
    expect((await w.ids('s', next))[0]).toBe('0/3 e3');
    w.broker.core.topics.get('s')?.partitions[0]?.deleteBefore(5);
    await w.run(w.broker.core.shard.barrier());
    expect((await w.ids('s', next))[0]).toBe('0/5 e5');
    w.broker.core.topics.remove('s');
    await w.stream('s');
    expect(await codeOf(w.ids('s', next))).toBe('REQUEST_INVALID');
  });
});

describe('tails', () => {
  test('listeners that keep up get the same objects; late ones catch up first; all in order', async () => {
    const w = await World.open();
    await w.stream('s', 2);
    for (let i = 0; i < 30; i++) await w.publish('s', [event(`e${i}`)]);
    const [a, b, late, one] = [new Collector(), new Collector(), new Collector(), new Collector()];
    await w.run(w.events.tail('s', { from: 'latest' }, a));
    await w.run(w.events.tail('s', { from: 'latest' }, b));
    await w.run(w.events.tail('s', { from: 'beginning' }, late));
    await w.run(w.events.tail('s', { from: 'beginning', partition: 1 }, one));
    for (let i = 0; i < 10; i++) await w.publish('s', [event(`n${i}`)]);
    await w.sim.scheduler.runUntilIdle();
    expect(a.seen.length).toBe(10);
    expect(a.arrays.every((records, i) => records === b.arrays[i])).toBe(true);
    expect(new Set(late.seen).size).toBe(40);
    expect(late.seen.length).toBe(40);
    expect(late.arrays.at(-1)).toBe(a.arrays.at(-1));
    expect(late.cursor).toBe(a.cursor);
    const ofOne = (await w.ids('s')).filter((s) => s.startsWith('1/'));
    expect(one.seen).toEqual(ofOne);
    expect(w.events.stats.tails).toBe(4);
  });

  test('paused, a listener costs a place; resumed, it goes on exactly there, from disk', async () => {
    const w = await World.open();
    await w.stream('s', 2);
    const listener = new Collector();
    const tail = await w.run(w.events.tail('s', { from: 'latest' }, listener));
    await w.publish('s', [event('a')]);
    await w.sim.scheduler.runUntilIdle();
    tail.pause();
    // Far more than the tail cache keeps.
    for (let i = 0; i < 60; i++) await w.publish('s', [event(`p${i}`, {}, 'x'.repeat(20_000))]);
    await w.sim.scheduler.runUntilIdle();
    expect(listener.seen.length).toBe(1);
    tail.resume();
    await w.sim.scheduler.runUntilIdle();
    expect([listener.seen.length, new Set(listener.seen).size]).toEqual([61, 61]);
    await w.publish('s', [event('z')]);
    await w.sim.scheduler.runUntilIdle();
    expect(listener.seen.length).toBe(62);
    tail.close();
    await w.publish('s', [event('unseen')]);
    await w.sim.scheduler.runUntilIdle();
    expect([listener.seen.length, listener.error, w.events.stats.tails]).toEqual([62, undefined, 0]);
  });

  test('a deleted stream ends its tails, and so does the end of the server', async () => {
    const w = await World.open();
    await w.stream('s');
    await w.stream('t');
    const [s, t] = [new Collector(), new Collector()];
    await w.run(w.events.tail('s', { from: 'latest' }, s));
    await w.run(w.events.tail('t', { from: 'latest' }, t));
    w.broker.core.topics.remove('s');
    await w.sim.scheduler.runUntilIdle();
    expect([s.error, t.error]).toEqual(['TOPIC_NOT_FOUND', undefined]);
    await w.run(w.broker.close());
    expect(t.error).toBe('STORAGE_CLOSED');
  });
});
