/** When push begins, and how it goes on with a broker whose disk has failed. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { silentLogger, systemClock, systemRandom } from '@hadron/base';
import { ANONYMOUS, Broker, resolveBrokerSettings } from '@hadron/broker';
import { cloudEvent } from '@hadron/contracts/events';
import { MemoryFileSystem } from '@hadron/log';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openServer } from '../api/testing/server.ts';
import { Push } from './index.ts';

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 });

async function sinkOf(
  statusOf: (id: string) => number = () => 200,
): Promise<{ url: string; seen: string[]; asked: IncomingHttpHeaders[] }> {
  const seen: string[] = [];
  const asked: IncomingHttpHeaders[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const { method = '', headers } = request;
    seen.push(String(headers['ce-id'] ?? method));
    if (method === 'OPTIONS') asked.push(headers);
    response
      .writeHead(method === 'OPTIONS' ? 200 : statusOf(String(headers['ce-id'])), {
        'webhook-allowed-origin': '*',
        'webhook-allowed-rate': '*',
      })
      .end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, seen, asked };
}

async function open(set: Record<string, string> = {}) {
  const fs = new MemoryFileSystem((fn) => systemClock.defer(fn));
  const settings = resolveBrokerSettings({ 'push.allow.http': 'true', 'push.allow.private': 'true', ...set });
  const broker = await Broker.open({
    fs,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory: '/data',
    clusterId: 'c',
    nodeId: 1,
    settings,
    shardSettings: { commitFileBytes: 1024 * 1024, minFreeBytes: 0 },
  });
  onTestFinished(() => broker.close());
  const push = new Push({
    broker,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    settings: { broker: settings, advertise: { host: 'hadron.example', port: 9092 } },
  });
  onTestFinished(() => push.close());
  push.start();
  const apply = async (kind: string, name: string, spec: object): Promise<void> => {
    const resources = await broker.core.resources();
    const document = { apiVersion: 'hadron.rs/v1', kind, metadata: { name }, spec };
    const [result] = await resources.apply(ANONYMOUS, [document]);
    expect(result?.errors).toEqual([]);
  };
  const publish = (id: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const event = cloudEvent({ id, source: '/shop', type: 'order.placed' });
      broker.core.events.publish('orders', [event], {}, (error) => (error === undefined ? resolve() : reject(error)));
    });
  const condition = async () => {
    const [subscription] = (await broker.core.resources()).subscriptions.all();
    return subscription?.conditions[0];
  };
  return { fs, broker, push, apply, publish, condition };
}

test('nothing is loaded before there is a Subscription; a deleted one is not delivered', async () => {
  const { broker, push, apply, publish } = await open();
  const resources = vi.spyOn(broker.core, 'resources');
  const sink = await sinkOf();
  await broker.core.events.info('orders');
  await publish('1');
  expect(resources).not.toHaveBeenCalled();
  expect([...push.counts()]).toEqual([]);
  await apply('Subscription', 'mail', { stream: 'orders', sink: sink.url });
  await until(() => expect(sink.seen).toEqual(['OPTIONS', '1']));
  expect(sink.asked[0]).toMatchObject({ 'webhook-request-origin': 'hadron.example' });
  expect(sink.asked[0]).not.toHaveProperty('webhook-request-callback');
  await until(() =>
    expect([...push.counts()]).toMatchObject([{ name: 'mail', ready: true, counts: { delivered: 1 } }]),
  );
  await (await broker.core.resources()).delete(ANONYMOUS, 'Subscription', 'mail');
  await publish('2');
  await until(() => expect([...push.counts()]).toEqual([]));
  await push.close();
  expect(sink.seen).toEqual(['OPTIONS', '1']);
});

test('push.origin, and push.callback.url in the question for consent', async () => {
  const { apply } = await open({
    'push.origin': 'events.example.com',
    'push.callback.url': 'https://example.com/hadron/',
  });
  const sink = await sinkOf();
  await apply('Stream', 'orders', { partitions: 1 });
  await apply('Subscription', 'mail', { stream: 'orders', sink: sink.url });
  await until(() => expect(sink.asked).toHaveLength(1));
  expect(sink.asked[0]).toMatchObject({
    'webhook-request-origin': 'events.example.com',
    'webhook-request-callback': expect.stringMatching(/^https:\/\/example\.com\/hadron\/v1\/push\/consent\/[\w-]{43}$/),
  });
});

test('by default nothing is sent to plain HTTP, nor into this network', async () => {
  const sink = await sinkOf();
  for (const set of [{ 'push.allow.http': 'false' }, { 'push.allow.private': 'false' }]) {
    const { apply, condition } = await open(set);
    await apply('Stream', 'orders', { partitions: 1 });
    // A name, so that it is its resolution that is looked at.
    await apply('Subscription', 'mail', { stream: 'orders', sink: sink.url.replace('127.0.0.1', 'localhost') });
    await vi.waitFor(async () =>
      expect(await condition()).toMatchObject({ reason: 'SinkNotAllowed', status: 'False' }),
    );
  }
  expect(sink.seen).toEqual([]);
});

test('goes on when the broker has recovered from a failed disk', { timeout: 20_000 }, async () => {
  const { fs, broker, push, apply, publish, condition } = await open();
  const sink = await sinkOf();
  await apply('Stream', 'orders', { partitions: 1 });
  await apply('Subscription', 'mail', { stream: 'orders', sink: sink.url });
  await publish('1');
  await until(() => expect(sink.seen).toEqual(['OPTIONS', '1']));
  await until(() => expect([...push.counts()][0]?.counts.delivered).toBe(1));
  fs.faults.fail = 'EIO';
  await expect(publish('2')).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  fs.faults.fail = undefined;
  await until(() => expect(broker.recoveries).toBe(1));
  await publish('3');
  await until(() => expect(sink.seen).toContain('3'));
  expect(sink.seen.filter((what) => what === 'OPTIONS')).toHaveLength(1);
  await vi.waitFor(async () => expect(await condition()).toMatchObject({ reason: 'Delivering', status: 'True' }));
  // It follows the registry of the new life.
  await apply('Subscription', 'mail', { stream: 'orders', sink: `${sink.url}other` });
  await until(() => expect(sink.seen.filter((what) => what === 'OPTIONS')).toHaveLength(2));
});

test('how it is outlives a disk that fails as it is written down', { timeout: 20_000 }, async () => {
  const { fs, broker, apply, publish, condition } = await open();
  const sink = await sinkOf(() => {
    fs.faults.fail = 'EIO';
    return 410;
  });
  await apply('Stream', 'orders', { partitions: 1 });
  await apply('Subscription', 'mail', { stream: 'orders', sink: sink.url });
  await publish('1');
  await until(() => expect(broker.core.shard.failed?.code).toBe('STORAGE_FAILED'));
  fs.faults.fail = undefined;
  await until(() => expect(broker.recoveries).toBe(1));
  await vi.waitFor(async () => expect(await condition()).toMatchObject({ reason: 'Unsubscribed', status: 'False' }));
});

test('a sink that does not answer holds up the end of a server for a second, not more', async () => {
  const server = await openServer(['push.allow.http=true', 'push.allow.private=true']);
  let asked = 0;
  const sink = createServer(({ method }, response) => {
    if (method !== 'OPTIONS') asked++;
    else response.writeHead(200, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '*' }).end();
  });
  await new Promise<void>((done) => sink.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    sink.closeAllConnections();
    sink.close();
  });
  const { port } = sink.address() as AddressInfo;
  const head = { apiVersion: 'hadron.rs/v1' };
  const applied = await server.call('POST', '/apply', [
    { ...head, kind: 'Stream', metadata: { name: 'orders' }, spec: { partitions: 1 } },
    {
      ...head,
      kind: 'Subscription',
      metadata: { name: 'mail' },
      spec: { stream: 'orders', sink: `http://127.0.0.1:${port}` },
    },
  ]);
  expect(applied.status).toBe(200);
  await server.publish('orders', { id: '1' });
  await until(() => expect(asked).toBe(1));
  const beginMs = performance.now();
  await server.stop();
  expect(performance.now() - beginMs).toBeLessThan(1_800);
  expect(server.bugs).toEqual([]);
});
