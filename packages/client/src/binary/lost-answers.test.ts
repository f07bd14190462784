/** Statement 5: a batch whose answer was lost is stored once, and a retry is told the first position. */
import net from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../index.ts';
import { openWorld } from '../test-world.ts';
import { binaryTransport } from './index.ts';

/** Passes bytes on, until it is told to let nothing back any more; then it cuts. */
async function openProxy(target: string): Promise<{ url: string; cutAnswers(): void; cut(): void; vanish(): void }> {
  const { port } = new URL(target);
  let silent = false;
  let vanished = new Set<net.Socket>();
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => vanished.has(client) || upstream.write(chunk));
    upstream.on('data', (chunk) => {
      if (silent) client.destroy();
      else if (!vanished.has(client)) client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return {
    url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    cutAnswers() {
      silent = true;
      setTimeout(() => (silent = false), 120);
    },
    /** Nothing comes through any more on the connections that stand, and nobody is told. */
    vanish() {
      vanished = new Set(sockets);
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

test('events published while answers are lost are stored exactly once, in order, and told their first positions', async () => {
  const world = await openWorld();
  onTestFinished(() => world.close());
  await world.createStream('orders', 3);
  const proxy = await openProxy(await world.listen());
  const client = connect({ source: '/shop', transport: binaryTransport({ url: proxy.url }), telemetry: false });
  const orders = client.stream('orders');
  const published: Promise<{ id: string; partition: number; offset: number }>[] = [];
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < 50; i++)
      published.push(orders.publish('n', round * 50 + i, { id: `${round * 50 + i}`, subject: `k${i % 5}` }));
    await new Promise((resolve) => setTimeout(resolve, 15));
    if (round % 2 === 0) proxy.cutAnswers();
    else proxy.cut();
  }
  const answers = await Promise.all(published);
  const seen = new Map<string, string>();
  const order = new Map<string, number[]>();
  for await (const m of orders.tail({ from: 'beginning' })) {
    expect(seen.has(m.id)).toBe(false);
    seen.set(m.id, `${m.partition}/${m.offset}`);
    order.set(m.subject ?? '', [...(order.get(m.subject ?? '') ?? []), m.data as number]);
    if (seen.size === 400) break;
  }
  for (const { id, partition, offset } of answers) expect(seen.get(id)).toBe(`${partition}/${offset}`);
  for (const numbers of order.values()) expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  const end = await orders.publish('end', null, { partition: 0 });
  const inFirst = [...seen.values()].filter((place) => place.startsWith('0/')).length;
  expect(end.offset).toBe(inFirst);
  await client.close();
});

test('an event larger than a request is refused by itself, and the connection goes on', async () => {
  const world = await openWorld();
  onTestFinished(() => world.close());
  await world.createStream('orders', 3);
  await using client = connect({ source: '/shop', url: await world.listen(), telemetry: false });
  const orders = client.stream('orders');
  for (const bytes of [17, 40].map((mebi) => new Uint8Array(mebi * 1024 * 1024))) {
    const [large, small] = await Promise.allSettled([orders.publish('n', bytes), orders.publish('n', 1)]);
    expect(large).toMatchObject({ status: 'rejected', reason: { code: 'EVENT_TOO_LARGE', happened: 'no' } });
    expect(small.status).toBe('fulfilled');
  }
  const set = Array.from({ length: 20 }, (_, n) => ({ type: 'n', subject: `${n}`, data: new Uint8Array(1024 * 1024) }));
  await expect(orders.publishMany(set, { atomic: true })).rejects.toMatchObject({ code: 'EVENT_TOO_LARGE' });
  await orders.publish('n', 2);
}, 30_000);

test('a network that vanishes without a word: the connection is given up, and everything goes on with the next', async () => {
  const world = await openWorld();
  onTestFinished(() => world.close());
  const proxy = await openProxy(await world.listen());
  const client = connect({
    source: '/shop',
    transport: binaryTransport({ url: proxy.url, pingMs: 60 }),
    telemetry: false,
  });
  const orders = client.stream('orders');
  const seen: unknown[] = [];
  const stop = new AbortController();
  const running = orders.run({ group: 'g', signal: stop.signal }, (m) => seen.push(m.data));
  await orders.publish('n', 0);
  await vi.waitFor(() => expect(seen).toEqual([0]));
  proxy.vanish();
  await expect(orders.publish('n', 1)).resolves.toMatchObject({ offset: 1 });
  await vi.waitFor(() => expect(seen).toEqual([0, 1]), { timeout: 5_000 });
  stop.abort();
  await running;
  await client.close();
});

test('atomic calls over several partitions while answers are lost: each set is stored exactly once', async () => {
  const world = await openWorld();
  onTestFinished(() => world.close());
  await world.createStream('orders', 3);
  const proxy = await openProxy(await world.listen());
  const client = connect({ source: '/shop', transport: binaryTransport({ url: proxy.url }), telemetry: false });
  const orders = client.stream('orders');
  const published: Promise<readonly { id: string; partition: number; offset: number }[]>[] = [];
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 10; i++) {
      const set = [0, 1, 2, 3].map((n) => ({ type: 'n', id: `${round}/${i}/${n}`, subject: `k${n}` }));
      published.push(orders.publishMany(set, { atomic: true }));
    }
    await new Promise((resolve) => setTimeout(resolve, 15));
    if (round % 2 === 0) proxy.cutAnswers();
    else proxy.cut();
  }
  const answers = (await Promise.all(published)).flat();
  expect(new Set(answers.map(({ partition }) => partition)).size).toBeGreaterThan(1);
  const seen = new Map<string, string>();
  for await (const m of orders.tail({ from: 'beginning' })) {
    expect(seen.has(m.id)).toBe(false);
    seen.set(m.id, `${m.partition}/${m.offset}`);
    if (seen.size === answers.length) break;
  }
  for (const { id, partition, offset } of answers) expect(seen.get(id)).toBe(`${partition}/${offset}`);
  const ends = [0, 1, 2].map((p) => world.broker.core.topics.get('orders')?.partitions[p]?.highWatermark ?? 0);
  expect(ends.reduce((a, b) => a + b)).toBe(answers.length);
  await client.close();
});

test('a tail from the latest that is cut off before the first event skips nothing', async () => {
  const world = await openWorld();
  onTestFinished(() => world.close());
  await world.createStream('orders', 2);
  const url = await world.listen();
  const proxy = await openProxy(url);
  const client = connect({ source: '/shop', transport: binaryTransport({ url: proxy.url }), telemetry: false });
  const direct = connect({ source: '/shop', transport: binaryTransport({ url }), telemetry: false });
  const stop = new AbortController();
  const seen: string[] = [];
  const tailing = (async () => {
    for await (const m of client.stream('orders').tail({ from: 'latest', signal: stop.signal })) seen.push(m.id);
  })();
  await vi.waitFor(() => expect(world.services.events.stats.tails).toBe(1));
  await new Promise((resolve) => setTimeout(resolve, 20)); // its place is on the way to the client
  proxy.cutAnswers();
  proxy.cut();
  await direct.stream('orders').publish('n', 1, { id: 'between' });
  await vi.waitFor(() => expect(seen).toEqual(['between']), { timeout: 5_000 });
  stop.abort();
  await tailing;
  await Promise.all([client.close(), direct.close()]);
});
