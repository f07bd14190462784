/**
 * The shop is killed at every boundary of its statements, each time with a database and streams of its own, started again, and
 * looked at from outside: the effects of every order and payment are there exactly once.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { type Client, connect } from '@hadron/client';
import { InboxOutbox } from '@hadron/client/sqlite';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { type ServerProcess, startServerProcess, temporaryFolder } from '../../tests/e2e/lib/server-process.ts';
import { orderEvents, paymentEvents } from './events.ts';
import { type Job, runShop } from './process.ts';

const ORDERS = [
  { id: 'a', item: 'teapot', cents: 2_500 },
  { id: 'b', item: 'cup', cents: 700 },
];
const TOTAL = 3_200;
/** Processes at a time. */
const ABREAST = 3;

const folder = temporaryFolder('orders');
const program = path.join(folder, 'process.mjs');
let server: ServerProcess;
let url: string;
let client: Client;

beforeAll(async () => {
  server = await startServerProcess(path.join(folder, 'data'));
  url = `http://127.0.0.1:${server.httpPort}`;
  client = connect({ source: '/test', url });
  // It starts many times: as one file it does so at once.
  await build({
    entryPoints: [fileURLToPath(new URL('process.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    format: 'esm',
    platform: 'node',
    conditions: ['hadron-source'],
    banner: { js: `import { createRequire as $create } from 'node:module'; const require = $create(import.meta.url);` },
    logLevel: 'error',
  });
});

afterAll(async () => {
  await client.close();
  await server.kill();
  fs.rmSync(folder, { recursive: true });
});

/** How the process ended: killed (undefined), or the boundaries it passed in a whole life. */
function lifeOf(job: Job): Promise<number | undefined> {
  const child = spawn(process.execPath, [program, JSON.stringify(job)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (err += String(chunk)));
  return new Promise((resolve, reject) => {
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(undefined);
      else if (code === 0) resolve(Number(out));
      else reject(new Error(`the shop ended with ${signal ?? code}: ${err}`));
    });
  });
}

interface Copies {
  /** Events that the shop published, by what they say; and how often each lies in the stream. */
  readonly copies: ReadonlyMap<string, number>;
}

/** One life that ends at the boundary, one that ends well, and then everything is as it must be. */
async function killedAt(dieAt: number | undefined): Promise<{ passed: number | undefined } & Copies> {
  const name = `k${dieAt ?? 0}`;
  const names = { payments: `${name}-payments`, orders: `${name}-orders` };
  const job: Job = { file: path.join(folder, `${name}.db`), url, names, orders: ORDERS, dieAt };
  const payments = client.stream(names.payments, paymentEvents);
  for (const { id, cents } of [...ORDERS, ORDERS[0]!]) {
    // The bank sends the first one twice, as banks do: the same event.
    await payments.publish('payment.received', { order: id, cents }, { subject: id, id: `payment-${id}` });
  }
  const passed = await lifeOf(job);
  await runShop({ ...job, dieAt: undefined });

  const db = new DatabaseSync(job.file);
  expect(
    db
      .prepare('SELECT id, state FROM orders ORDER BY id')
      .all()
      .map((row) => Object.values(row)),
  ).toEqual([
    ['a', 'paid'],
    ['b', 'paid'],
  ]);
  expect(db.prepare('SELECT cents FROM till').get()?.['cents'], `the till, killed at ${dieAt}`).toBe(TOTAL);
  db.close();
  expect(await client.admin.countDeadLetters(names.payments)).toBe(0);
  return { passed, copies: await consumeOrders(names.orders) };
}

/** A consumer of `orders` with an inbox has each effect once, however many copies there are. */
async function consumeOrders(name: string): Promise<ReadonlyMap<string, number>> {
  const db = new DatabaseSync(':memory:');
  db.exec('CREATE TABLE mails (text TEXT)');
  const boxes = new InboxOutbox(db, { source: '/mail' });
  const copies = new Map<string, number>();
  const identities = new Set<string>();
  const orders = client.stream(name, orderEvents);
  let lag = 1;
  const stop = new AbortController();
  const running = orders.run({ group: 'mail', signal: stop.signal }, (m) => {
    const text = `${m.type} ${m.data.id} ${m.data.cents}`;
    copies.set(text, (copies.get(text) ?? 0) + 1);
    identities.add(`${text} ${m.source} ${m.id} ${m.time?.toISOString()}`);
    boxes.once(m, () => void db.prepare('INSERT INTO mails VALUES (?)').run(text));
  });
  while (lag > 0) {
    const groups = await client.admin.groups(name);
    const mail = groups.find(({ group }) => group === 'mail');
    lag = mail?.partitions.reduce((sum, partition) => sum + partition.lag, 0) ?? 1;
  }
  stop.abort();
  await running;
  const mails = db
    .prepare('SELECT text FROM mails ORDER BY text')
    .all()
    .map((row) => row['text']);
  expect(mails).toEqual(['order.paid a 2500', 'order.paid b 700', 'order.placed a 2500', 'order.placed b 700']);
  expect(identities.size, 'copies of an event are one event').toBe(copies.size);
  return copies;
}

test('killed at every boundary of its statements, everything happens exactly once', async () => {
  onTestFailed(() => console.log(`the server: exit ${server.child.exitCode ?? 'none'}\n${server.log()}`));
  const whole = await killedAt(undefined);
  const boundaries = whole.passed ?? 0;
  expect(boundaries).toBeGreaterThan(40);
  expect([...whole.copies.values()]).toEqual([1, 1, 1, 1]);

  let [killed, republished] = [0, 0];
  const numbers = Array.from({ length: boundaries }, (_, i) => i + 1);
  const work = async (): Promise<void> => {
    for (let dieAt = numbers.shift(); dieAt !== undefined; dieAt = numbers.shift()) {
      const { passed, copies } = await killedAt(dieAt);
      if (passed === undefined) killed += 1;
      if ([...copies.values()].some((n) => n > 1)) republished += 1;
    }
  };
  await Promise.all(Array.from({ length: ABREAST }, work));
  // How often the shipper looks differs a little from life to life, so the last boundaries may not be reached.
  expect(killed).toBeGreaterThan(boundaries - 8);
  // It died between publishing and deleting: without the outbox's fixed identities these would have been two orders.
  expect(republished).toBeGreaterThan(0);
}, 180_000);
