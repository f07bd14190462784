/** Sessions over WebSocket, against a real server (statement 9; delivery.md D9, D14, D23). */
import type { DeliveryService, DeliverySession } from '@hadron/broker';
import { cloudEvent } from '@hadron/contracts/events';
import { onTestFinished, expect, test } from 'vitest';
import WebSocket from 'ws';
import { sessionRoute } from './session.ts';
import { openDoor } from './testing/door.ts';
import { HandClock, openBroker } from './testing/hand-clock.ts';
import { openServer, type TestServer } from './testing/server.ts';

interface Message {
  readonly type: string;
  readonly [name: string]: unknown;
}

interface Delivery {
  readonly token: string;
  readonly offset: number;
  readonly attempt: number;
  readonly event: { readonly id: string };
}

class Consumer {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  readonly closed: Promise<number>;

  constructor(server: TestServer, group: string, stream = 'orders') {
    this.socket = new WebSocket(`ws://127.0.0.1:${server.port}/v1/streams/${stream}/groups/${group}/session`);
    this.socket.on('message', (data: Buffer) => this.messages.push(JSON.parse(data.toString()) as Message));
    this.closed = new Promise((resolve) => this.socket.on('close', resolve));
    this.socket.on('error', () => undefined);
    onTestFinished(() => this.socket.terminate());
  }

  static async open(server: TestServer, group: string, settings: object, credit: number): Promise<Consumer> {
    const consumer = new Consumer(server, group);
    await new Promise((resolve) => consumer.socket.on('open', resolve));
    consumer.send({ type: 'open', settings, credit });
    await consumer.got('opened');
    return consumer;
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  answer(sequence: number, kind: string, tokens: readonly string[]): void {
    this.send({ type: 'answers', sequence, items: tokens.map((token) => ({ token, verdict: { kind } })) });
  }

  async got(type: string): Promise<Message> {
    await expect.poll(() => this.messages.some((m) => m.type === type), { timeout: 5_000 }).toBe(true);
    return this.messages.find((m) => m.type === type) as Message;
  }

  get deliveries(): Delivery[] {
    return this.messages.flatMap((m) => (m.type === 'deliveries' ? (m['deliveries'] as Delivery[]) : []));
  }

  async delivered(count: number): Promise<Delivery[]> {
    await expect.poll(() => this.deliveries.length, { timeout: 10_000 }).toBe(count);
    return this.deliveries;
  }
}

async function publish(server: TestServer, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await server.publish('orders', { id: String(i), subject: `s${i}` }, 'x');
}

test('open, deliveries within credit, answers when durable, drain, close', async () => {
  const server = await openServer();
  await publish(server, 0, 5);
  const consumer = await Consumer.open(server, 'g', { ordering: 'key' }, 2);
  expect(consumer.messages[0]).toMatchObject({
    type: 'opened',
    session: expect.any(String),
    settings: { ordering: 'key' },
  });
  const first = await consumer.delivered(2);
  expect(first.map(({ event }) => event.id)).toEqual(['0', '1']);
  consumer.answer(
    7,
    'ack',
    first.map(({ token }) => token),
  );
  expect(await consumer.got('answered')).toEqual({
    type: 'answered',
    sequence: 7,
    results: [{ ok: true }, { ok: true }],
  });
  consumer.send({ type: 'credit', count: 10 });
  await consumer.delivered(5);
  consumer.send({ type: 'drain' });
  await consumer.got('drained');
  await publish(server, 5, 6);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(consumer.deliveries).toHaveLength(5);
  consumer.socket.close(1000);
  expect(await consumer.closed).toBe(1000);
  expect((await server.call('GET', '/streams/orders/groups/g')).body).toMatchObject({
    sessions: 0,
    counts: { acked: 2 },
  });
});

test.each([
  ['1000 gives back uncounted', 1000, 1],
  ['any other code counts', 4000, 2],
  ['a page that is left counts', 1001, 2],
])('D14 closing with code %s', async (_what, code, attempt) => {
  const server = await openServer();
  await publish(server, 0, 1);
  const one = await Consumer.open(server, 'g', { policy: { backoffMs: [1] } }, 1);
  await one.delivered(1);
  one.socket.close(code);
  const two = await Consumer.open(server, 'g', {}, 1);
  expect(await two.delivered(1)).toMatchObject([{ attempt }]);
});

test('D14 a connection that vanishes counts; a server that stops does not', async () => {
  const server = await openServer();
  await publish(server, 0, 1);
  const one = await Consumer.open(server, 'g', { policy: { backoffMs: [1] } }, 1);
  await one.delivered(1);
  one.socket.terminate();
  const two = await Consumer.open(server, 'g', {}, 1);
  expect(await two.delivered(1)).toMatchObject([{ attempt: 2 }]);
  const stopped = server.stop();
  expect(await two.closed).toBe(1001);
  await stopped;
});

test('two sessions share a group; what one fails the other gets', async () => {
  const server = await openServer();
  await publish(server, 0, 20);
  const settings = { ordering: 'none', policy: { backoffMs: [1] } };
  const one = await Consumer.open(server, 'g', settings, 10);
  const two = await Consumer.open(server, 'g', settings, 10);
  await expect.poll(() => one.deliveries.length + two.deliveries.length, { timeout: 5_000 }).toBe(20);
  two.send({ type: 'credit', count: 20 });
  one.answer(
    1,
    'nack',
    one.deliveries.map(({ token }) => token),
  );
  await two.delivered(20);
  expect(new Set(two.deliveries.map(({ event }) => event.id)).size).toBe(20);
});

test('what is wrong is told, then the socket is closed', async () => {
  const server = await openServer();
  await publish(server, 0, 1);
  const told = async (...messages: (string | object)[]): Promise<unknown> => {
    const consumer = new Consumer(server, 'wrong');
    await new Promise((resolve) => consumer.socket.on('open', resolve));
    for (const m of messages) consumer.socket.send(typeof m === 'string' ? m : JSON.stringify(m));
    const error = await consumer.got('error');
    return [await consumer.closed, error['code'], error['field']];
  };
  expect(await told('{')).toEqual([1008, 'REQUEST_INVALID', undefined]);
  expect(await told({ type: 'credit', count: 1 })).toEqual([1008, 'REQUEST_INVALID', 'type']);
  expect(await told({ type: 'open', settings: { window: 0 } })).toEqual([1008, 'REQUEST_INVALID', 'settings.window']);
  expect(await told({ type: 'open' }, { type: 'open' })).toEqual([1008, 'REQUEST_INVALID', 'type']);
  expect(await told({ type: 'open' }, { type: 'answers', sequence: -1, items: [] })).toEqual([
    1008,
    'REQUEST_INVALID',
    'sequence',
  ]);
  await server.call('PUT', '/streams/orders/groups/wrong2', { ordering: 'key' });
  const differs = new Consumer(server, 'wrong2');
  await new Promise((resolve) => differs.socket.on('open', resolve));
  differs.send({ type: 'open', settings: { ordering: 'none' } });
  expect(await differs.got('error')).toMatchObject({ code: 'GROUP_SETTINGS_DIFFER' });
  expect(server.bugs).toEqual([]);
});

test('the group is removed: its sessions are told', async () => {
  const server = await openServer();
  await publish(server, 0, 1);
  const consumer = await Consumer.open(server, 'g', {}, 1);
  await server.call('DELETE', '/streams/orders/groups/g');
  expect(await consumer.got('error')).toMatchObject({ code: 'GROUP_NOT_FOUND' });
  await consumer.closed;
});

test('D23 a consumer that does not read delays nobody else, and is given nothing more until it reads', async () => {
  const server = await openServer();
  const slow = await Consumer.open(server, 'slow', { ordering: 'none' }, 1_000_000);
  slow.socket.pause();
  const quick = await Consumer.open(server, 'quick', { ordering: 'none' }, 1_000_000);
  const data = 'x'.repeat(400_000);
  for (let i = 0; i < 60; i++) expect((await server.publish('orders', { id: String(i) }, data)).status).toBe(200);
  await quick.delivered(60);
  const { body } = await server.call('GET', '/streams/orders/groups/slow');
  const [partition] = (body as { partitions?: { out: number }[] }).partitions ?? [];
  // What the kernel takes for it and what we hold, and no more.
  expect(partition?.out).toBeLessThan(40);
  slow.socket.resume();
  await slow.delivered(60);
  expect(new Set(slow.deliveries.map(({ event }) => event.id)).size).toBe(60);
  slow.answer(
    1,
    'ack',
    slow.deliveries.map(({ token }) => token),
  );
  const { results } = (await slow.got('answered')) as unknown as { results: { ok: boolean }[] };
  expect(results.every(({ ok }) => ok)).toBe(true);
}, 60_000);

test('pages of other sites, unknown paths and plain requests open no session', async () => {
  const server = await openServer();
  const status = (path: string, options: WebSocket.ClientOptions): Promise<number | undefined> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}${path}`, options);
      socket.on('error', () => undefined);
      socket.on('unexpected-response', (_, response) => resolve(response.statusCode));
      socket.on('open', () => resolve(101));
    });
  const path = '/v1/streams/orders/groups/g/session';
  expect(await status(path, { origin: 'https://evil.example' })).toBe(403);
  expect(await status(path, { headers: { host: 'evil.example' } })).toBe(403);
  expect(await status(path, { origin: `http://127.0.0.1:${server.port}` })).toBe(101);
  expect(await status('/v1/nothing', {})).toBe(404);
  const plain = await fetch(`http://127.0.0.1:${server.port}${path}`);
  expect([plain.status, plain.headers.get('upgrade')]).toEqual([426, 'websocket']);
});

test('a client that answers no ping is gone; one that opens nothing is told and closed', async () => {
  const broker = await openBroker();
  const clock = new HandClock();
  const bugs: unknown[] = [];
  const { port } = await openDoor({
    sockets: [
      sessionRoute(
        () => broker.core,
        clock,
        (bug) => bugs.push(bug),
      ),
    ],
    clock,
  });
  const connect = async (autoPong: boolean) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/streams/orders/groups/g/session`, { autoPong });
    const told: Message[] = [];
    let code: number | undefined;
    let pings = 0;
    socket.on('ping', () => pings++);
    socket.on('message', (data: Buffer) => told.push(JSON.parse(data.toString()) as Message));
    socket.on('close', (with_) => (code = with_)).on('error', () => undefined);
    onTestFinished(() => socket.terminate());
    await new Promise((resolve) => socket.on('open', resolve));
    return { socket, told, code: () => code, pings: () => pings };
  };
  const answers = await connect(true);
  const silent = await connect(false);
  for (const { socket } of [answers, silent]) socket.send('{"type":"open","credit":1}');
  await expect.poll(() => [...answers.told, ...silent.told].length).toBe(2);
  const idle = await connect(true);
  for (let beat = 1; beat <= 3; beat++) {
    clock.advance(15_000);
    await expect.poll(answers.pings).toBe(beat);
    await new Promise((resolve) => setTimeout(resolve, 30)); // its pong is on the way
  }
  await expect.poll(silent.code).toBe(1006);
  expect([answers.code(), silent.pings()]).toEqual([undefined, 1]);
  await expect.poll(idle.code).toBe(1011);
  expect(idle.told).toMatchObject([{ type: 'error', code: 'TIMED_OUT' }]);
  expect(broker.core.deliveries.describe('orders', 'g').sessions).toBe(1);
  expect(bugs).toEqual([]);
});

test('a server that stops confirms the answers that are under way before it closes', async () => {
  const clock = new HandClock();
  const broker = await openBroker();
  const held: (() => void)[] = [];
  const { events, deliveries } = broker.core;
  const holding: DeliveryService = Object.create(deliveries, {
    open: {
      value: async (...[request, handler]: Parameters<DeliveryService['open']>): Promise<DeliverySession> => {
        const session = await deliveries.open(request, handler);
        const answer: DeliverySession['answer'] = (items, done) =>
          session.answer(items, (results) => held.push(() => done(results)));
        return Object.create(session, { answer: { value: answer } }) as DeliverySession;
      },
    },
  }) as DeliveryService;
  const services = () => ({ events, deliveries: holding });
  const { port, door } = await openDoor({
    sockets: [sessionRoute(services, clock, (bug) => expect.unreachable(String(bug)))],
    clock,
  });
  await new Promise((resolve) =>
    events.publish('orders', [cloudEvent({ id: '1', source: '/s', type: 't' })], {}, resolve),
  );
  const consumer = await Consumer.open({ port } as TestServer, 'g', {}, 1);
  const [delivery] = await consumer.delivered(1);
  consumer.answer(3, 'ack', [delivery?.token ?? '']);
  await expect.poll(() => held.length).toBe(1);
  door.stop();
  expect(consumer.messages.some(({ type }) => type === 'answered')).toBe(false);
  for (const confirm of held) confirm();
  expect(await consumer.closed).toBe(1001);
  expect(consumer.messages.at(-1)).toEqual({ type: 'answered', sequence: 3, results: [{ ok: true }] });
});
