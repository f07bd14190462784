import { HadronError } from '@hadron/base/errors';
import type { PublishedEvent } from '@hadron/contracts';
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { connect, defineEvents, type Client, type ConnectOptions } from './index.ts';
import { FaultyTransport } from './faulty-transport.ts';
import { inProcessTransport } from './in-process/index.ts';
import { openWorld, type TestWorld } from './test-world.ts';

let world: TestWorld;
let transport: FaultyTransport;
let client: Client;
const open = (options: Partial<ConnectOptions> = {}): Client => {
  transport = new FaultyTransport(inProcessTransport(world.services));
  client = connect({ source: '/shop', transport, telemetry: false, ...options });
  return client;
};
const stored = async (
  stream: string,
  count: number,
): Promise<{ id: string; type: string; data: unknown; attributes: Map<string, string> }[]> => {
  const seen = [];
  for await (const m of client.stream(stream).tail({ from: 'beginning' })) {
    seen.push({ id: m.id, type: m.type, data: m.data, attributes: new Map(m.attributes) });
    if (seen.length === count) break;
  }
  return seen;
};
const failed = async (promise: Promise<unknown>): Promise<HadronError> => {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(HadronError);
  return error as HadronError;
};

const controlled = (): { signal: AbortSignal; abort: () => void } => {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
};

beforeEach(async () => {
  world = await openWorld();
  await world.createStream('orders', 1);
  open();
});
afterEach(async () => {
  await client.close();
  await world.close();
});

test('publishEvents keeps events as they are, alone or all together', async () => {
  const orders = client.stream('orders');
  await orders.publish('order.placed', { id: '7' }, { id: 'one', subject: '7', time: '2020-01-01T00:00:00.5Z' });
  const read = [];
  for await (const m of orders.tail({ from: 'beginning' })) {
    read.push(m.event);
    break;
  }
  const untimed = { id: 'two', source: '/x', type: 't', attributes: new Map<string, string>(), data: undefined };
  expect(await orders.publishEvents([...read, untimed], { atomic: true })).toMatchObject([
    { offset: 1 },
    { offset: 2 },
  ]);
  const [first, copy, bare] = await stored('orders', 3);
  expect(copy).toEqual(first);
  expect(bare).toMatchObject({ id: 'two', attributes: new Map() });
  const refused = orders.publishEvents([{ ...untimed, id: '' }]);
  expect((await failed(refused)).code).toBe('EVENT_INVALID');
});

describe('publish', () => {
  test('resolves with identity and place', async () => {
    const orders = client.stream('orders');
    expect(await orders.publish('order.placed', { id: '7' }, { id: 'mine' })).toEqual({
      id: 'mine',
      partition: 0,
      offset: 0,
    });
    const second = await orders.publish('order.placed', { id: '8' });
    expect(second).toMatchObject({ partition: 0, offset: 1 });
    expect(second.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test('options become attributes', async () => {
    const before = Date.now();
    await client.stream('orders').publish(
      'order.placed',
      { n: 1 },
      {
        subject: '7',
        partitionkey: 'k',
        time: new Date(0),
        delay: '15m',
        expiresAt: new Date(86_400_000),
        dataschema: 'https://s.example/1',
        attributes: { tenant: 'acme', weight: 3, vip: true },
      },
    );
    const [one] = await stored('orders', 1);
    expect(Object.fromEntries(one?.attributes ?? [])).toMatchObject({
      subject: '7',
      partitionkey: 'k',
      time: '1970-01-01T00:00:00.000Z',
      expirytime: '1970-01-02T00:00:00.000Z',
      dataschema: 'https://s.example/1',
      tenant: 'acme',
      weight: '3',
      vip: 'true',
      datacontenttype: 'application/json',
    });
    const due = Date.parse(one?.attributes.get('deliverat') ?? '') - before;
    expect(due).toBeGreaterThanOrEqual(900_000);
    expect(due).toBeLessThan(910_000);
    expect((await failed(client.stream('orders').publish('x', 1, { delay: 1, deliverAt: new Date() }))).field).toBe(
      'delay',
    );
  });

  test('what is published in one tick travels in one call, and what comes meanwhile in the next, in order', async () => {
    const orders = client.stream('orders');
    const all = Array.from({ length: 100 }, (_, i) => orders.publish('n', i));
    await new Promise((resolve) => setImmediate(resolve));
    for (let i = 100; i < 200; i++) all.push(orders.publish('n', i));
    const offsets = (await Promise.all(all)).map((one) => one.offset);
    expect(offsets).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(transport.calls.map((call) => call.events.length)).toEqual([100, 100]);
    expect((await stored('orders', 200)).map((one) => one.data)).toEqual(offsets);
  });

  test('identity and time are fixed before the first try; the same call is made again', async () => {
    transport.refuse = 2;
    const published = client.stream('orders').publish('order.placed', { id: '7' });
    await published;
    expect(transport.calls).toHaveLength(3);
    expect(new Set(transport.calls).size).toBe(1);
    const [call] = transport.calls;
    expect((await stored('orders', 1))[0]).toMatchObject({ id: call?.events[0]?.id });
    expect(call?.events[0]?.attributes.get('time')).toBeDefined();
  });

  test('order holds over tries', async () => {
    const orders = client.stream('orders');
    transport.refuse = 1;
    const first = orders.publish('n', 0);
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([first, orders.publish('n', 1), orders.publish('n', 2)]);
    expect((await stored('orders', 3)).map((one) => one.data)).toEqual([0, 1, 2]);
  });

  test('tries end when the time is up, and say whether it happened', async () => {
    await client.close();
    open({ publishTimeout: '200ms' });
    transport.refuse = 1_000;
    const refused = await failed(client.stream('orders').publish('n', 0));
    expect(refused).toMatchObject({ code: 'STORAGE_FULL', happened: 'no', retryable: true });
    transport.refuse = 0;
    transport.hang = 1;
    const hanging = await failed(client.stream('orders').publish('n', 1));
    expect(hanging).toMatchObject({ code: 'TIMED_OUT', happened: 'unknown' });
    await expect(client.stream('orders').publish('n', 2)).resolves.toMatchObject({ offset: 0 });
  });

  test('what trying again cannot help fails at once', async () => {
    expect(await failed(client.stream('no such name').publish('n', 0))).toMatchObject({
      code: 'TOPIC_NAME_INVALID',
      retryable: false,
      happened: 'no',
    });
    expect(transport.calls).toHaveLength(1);
    const large = client.stream('orders').publish('n', new Uint8Array(3_000_000));
    const small = client.stream('orders').publish('n', 1);
    expect((await failed(large)).code).toMatch(/TOO_LARGE/);
    await expect(small).resolves.toMatchObject({ offset: 0 });
  });

  test('the queue is bounded: publish waits for room, publishMany takes no more than there is room for', async () => {
    await client.close();
    open({ maxQueuedBytes: 10_000 });
    const orders = client.stream('orders');
    let taken = 0;
    let most = 0;
    let done = 0;
    async function* source(): AsyncGenerator<{ type: string; data: Uint8Array }> {
      for (; taken < 200; taken++) {
        most = Math.max(most, taken - done);
        yield { type: 'n', data: new Uint8Array(744) }; // 1,000 with what an event takes beside
      }
    }
    const publish = transport.publish.bind(transport);
    transport.publish = async (call) => {
      expect(call.events.length).toBeLessThanOrEqual(10);
      const results = await publish(call);
      done += results.length;
      return results;
    };
    const published = await orders.publishMany(source());
    expect(published.map((one) => one.offset)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(most).toBeLessThanOrEqual(12);
    expect(transport.calls.length).toBeGreaterThanOrEqual(20);
    const many = await Promise.all(Array.from({ length: 50 }, () => orders.publish('n', new Uint8Array(744))));
    expect(many.map((one) => one.offset)).toEqual(Array.from({ length: 50 }, (_, i) => 200 + i));
  });

  test('publishMany: atomic is one call, all or none; without it the first failure is thrown and the rest stored', async () => {
    const orders = client.stream('orders');
    expect(await orders.publishMany([{ type: 'a' }, { type: 'b', data: 1, id: 'B' }], { atomic: true })).toMatchObject([
      { offset: 0 },
      { id: 'B', offset: 1 },
    ]);
    expect(transport.calls).toMatchObject([{ atomic: true }]);
    const bad = [{ type: 'c' }, { type: 'c', data: new Uint8Array(3_000_000) }, { type: 'c' }];
    expect((await failed(orders.publishMany(bad, { atomic: true }))).code).toMatch(/TOO_LARGE/);
    expect((await failed(orders.publishMany(bad))).code).toMatch(/TOO_LARGE/);
    expect((await stored('orders', 4)).map((one) => one.type)).toEqual(['a', 'b', 'c', 'c']);
  });

  test('a signal gives up, in the queue or on the way', async () => {
    const orders = client.stream('orders');
    const before = AbortSignal.abort();
    expect(await failed(orders.publish('n', 0, { signal: before }))).toMatchObject({
      code: 'TIMED_OUT',
      happened: 'no',
    });
    transport.hang = 1;
    const stop = new AbortController();
    const onTheWay = orders.publish('n', 1, { signal: stop.signal });
    await new Promise((resolve) => setTimeout(resolve, 20));
    const behind = orders.publish('n', 2, { signal: stop.signal });
    stop.abort();
    expect(await failed(onTheWay)).toMatchObject({ happened: 'unknown' });
    expect(await failed(behind)).toMatchObject({ happened: 'no' });
  });

  test('a hundred thousand that wait for one signal or for room cost a hundred thousand times one', async () => {
    open({ maxQueuedBytes: 4_000 });
    const orders = client.stream('orders');
    const { signal, abort } = controlled();
    const started = performance.now();
    const all = Array.from({ length: 100_000 }, () =>
      orders.publish('n', 1, { signal }).catch((e: HadronError) => e.code),
    );
    await all[0];
    abort();
    const codes = new Set((await Promise.all(all)).map((one) => (typeof one === 'string' ? one : 'stored')));
    expect([...codes].sort()).toEqual(['TIMED_OUT', 'stored']);
    // It took minutes: a signal looks through its listeners for each, a list moves for each that is taken off it.
    expect(performance.now() - started).toBeLessThan(15_000);
    await orders.publish('n', 2);
  }, 60_000);

  test('publishMany: a signal ends it also while the source gives nothing; the source is told', async () => {
    const { signal, abort } = controlled();
    let over = false;
    const given = Promise.withResolvers<void>();
    const source: AsyncIterable<{ type: string }> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          if (over) throw new Error('asked again');
          given.resolve();
          return new Promise(() => undefined);
        },
        return: async () => {
          over = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const many = failed(client.stream('orders').publishMany(source, { signal }));
    await given.promise;
    abort();
    expect((await many).happened).toBe('no');
    expect(over).toBe(true);
    const whole = async function* (): AsyncGenerator<{ type: string }> {
      for (let i = 0; i < 3; i++) yield { type: 'n' };
    };
    expect(await client.stream('orders').publishMany(whole(), { signal: controlled().signal })).toHaveLength(3);
    const broken = async function* (): AsyncGenerator<{ type: string }> {
      yield { type: 'n' };
      throw new Error('the source broke');
    };
    const stopped = client.stream('orders').publishMany(broken(), { signal: controlled().signal });
    await expect(stopped).rejects.toThrow('the source broke');
  });

  test('a signal that many wait for has one listener, and none when nobody waits', async () => {
    const { signal, abort } = controlled();
    const listening = (): number => getEventListeners(signal, 'abort').length;
    const all = Promise.all([1, 2, 3].map((n) => client.stream('orders').publish('n', n, { signal })));
    expect(listening()).toBe(1);
    await all;
    expect(listening()).toBe(0);
    abort();
  });

  test('what waited behind a call that failed until its own time was up was not sent, and says so', async () => {
    open({ publishTimeout: '300ms' });
    transport.hang = 1;
    const orders = client.stream('orders');
    // More than one call takes, in one moment.
    const all = Array.from({ length: 1_001 }, (_, n) => failed(orders.publish('n', n)));
    expect((await all[0])?.happened).toBe('unknown');
    const last = await all[1_000];
    expect({ happened: last?.happened, code: last?.code }).toEqual({ happened: 'no', code: 'TIMED_OUT' });
    expect(last?.message).toContain('nothing was sent within 300 ms');
    expect(transport.calls).toHaveLength(1);
  });

  test.each([-1, 0.5, Number.NaN])('a partition %d is refused before anything is sent', async (partition) => {
    const orders = client.stream('orders');
    const wrong = { code: 'REQUEST_INVALID', field: 'partition', happened: 'no' };
    await expect(orders.publish('n', 1, { partition })).rejects.toMatchObject(wrong);
    await expect(orders.publishMany([{ type: 'n' }], { partition })).rejects.toMatchObject(wrong);
    await expect(orders.publishEvents([], { partition })).rejects.toMatchObject(wrong);
    await expect(orders.tail({ partition }).next()).rejects.toMatchObject(wrong);
    expect(transport.calls).toEqual([]);
  });

  test('close waits for what was published, and refuses what comes after', async () => {
    const orders = client.stream('orders');
    const published = orders.publish('n', 0);
    await client.close();
    await expect(published).resolves.toMatchObject({ offset: 0 });
    expect(await failed(orders.publish('n', 1))).toMatchObject({ code: 'CLIENT_CLOSED', happened: 'no' });
    await client[Symbol.asyncDispose]();
  });
});

describe('schemas', () => {
  const events = defineEvents({
    'order.placed': z.object({ id: z.string(), lines: z.array(z.object({ total: z.number() })) }),
    'order.paid': z.object({ at: z.coerce.date(), currency: z.string().default('EUR') }),
  });

  test('data that does not fit is refused by path, before anything is sent', async () => {
    const orders = client.stream('orders', events);
    const error = await failed(
      orders.publish('order.placed', { id: '7', lines: [{ total: 1 }, { total: 'x' as unknown as number }] }),
    );
    expect(error).toMatchObject({ code: 'EVENT_INVALID', field: 'data.lines[1].total', happened: 'no' });
    expect(error.message).toContain('data.lines[1].total');
    expect(transport.calls).toHaveLength(0);
  });

  test('what is published is the data as given; defaults and transformations happen where it is read', async () => {
    const orders = client.stream('orders', events);
    const at = new Date('2026-01-02T03:04:05Z');
    await orders.publish('order.paid', { at });
    expect((await stored('orders', 1))[0]?.data).toEqual({ at: '2026-01-02T03:04:05.000Z' });
    for await (const m of orders.tail({ from: 'beginning' })) {
      expect(m.data).toEqual({ at, currency: 'EUR' });
      break;
    }
  });

  test('schemas that need time are waited for', async () => {
    const slow = defineEvents({ n: z.number().refine(async (n) => Promise.resolve(n > 0), 'must be positive') });
    const orders = client.stream('orders', slow);
    expect(await failed(orders.publish('n', -1))).toMatchObject({ code: 'EVENT_INVALID', field: 'data' });
    await expect(orders.publish('n', 1)).resolves.toMatchObject({ offset: 0 });
  });

  test('misuse is a TypeError', () => {
    expect(() => defineEvents({ x: {} as never })).toThrow(TypeError);
    expect(() => connect({ source: '' })).toThrow(TypeError);
    expect(() => connect({ source: '/x', publishTimeout: 'soon' as never })).toThrow(TypeError);
  });
});

test('tail ends when its client closes, and does not begin on one that is closed', async () => {
  const orders = client.stream('orders');
  await orders.publish('n', 1);
  const seen: unknown[] = [];
  for await (const m of orders.tail({ from: 'beginning' })) {
    seen.push(m.data);
    void client.close();
  }
  expect(seen).toEqual([1]);
  await expect(orders.tail().next()).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
});

test('tail goes on behind the last event after the connection was lost', async () => {
  const orders = client.stream('orders');
  for (let i = 0; i < 3; i++) await orders.publish('n', i);
  const seen: unknown[] = [];
  for await (const m of orders.tail({ from: 'beginning' })) {
    seen.push(m.data);
    if (seen.length === 2) transport.cut();
    if (seen.length === 3) await orders.publish('n', 3);
    if (seen.length === 4) break;
  }
  expect(seen).toEqual([0, 1, 2, 3]);
  const published = (await orders.publish('n', 4)) satisfies PublishedEvent;
  expect(published.offset).toBe(4);
});
