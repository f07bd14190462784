/**
 * Statement 14 with real processes: the example of docs/subscriptions.md applied by `hadron apply -f`, deliveries at a real HTTP
 * sink, what each answer leads to, and kill -9 in the middle.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { type ServerProcess, startServerProcess, temporaryFolder, until } from './lib/server-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOR_TESTS = ['--listen', '127.0.0.1', '--set', 'push.allow.http=true', '--set', 'push.allow.private=true'];

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Seen {
  readonly method: string;
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly atMs: number;
  /** What it was answered. */
  readonly status: number;
}

type Answer = readonly [status: number, headers?: Readonly<Record<string, string>>];

/** Consents, and answers events as told: by id, and how often this one has come. */
class Sink {
  readonly seen: Seen[] = [];
  answer: (id: string, time: number) => Answer = () => [204];
  readonly server: Server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const { method = '', headers } = request;
      const id = String(headers['ce-id']);
      const time = this.events.filter((one) => one.id === id).length + 1;
      const consent = { 'webhook-allowed-origin': 'hadron.example', 'webhook-allowed-rate': '*' };
      const [status, more = {}] = method === 'OPTIONS' ? [200, consent] : this.answer(id, time);
      this.seen.push({ method, id, headers, body, atMs: performance.now(), status });
      setTimeout(() => response.writeHead(status, more).end(), 3);
    });
  });

  get events(): Seen[] {
    return this.seen.filter((one) => one.method !== 'OPTIONS');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/orders`;
  }

  /** Ids that were answered with 2xx, in order, each once. */
  get delivered(): string[] {
    return [...new Set(this.events.filter((one) => one.status < 300).map((one) => one.id))];
  }

  static async open(): Promise<Sink> {
    const sink = new Sink();
    await new Promise<void>((done) => sink.server.listen(0, '127.0.0.1', done));
    closers.push(() => {
      sink.server.closeAllConnections();
      return new Promise((done) => sink.server.close(done));
    });
    return sink;
  }
}

class Hadron {
  readonly data = temporaryFolder('push');
  process!: ServerProcess;

  static async start(): Promise<Hadron> {
    const hadron = new Hadron();
    closers.push(() => fs.rmSync(hadron.data, { recursive: true, force: true }));
    await hadron.start();
    closers.push(() => hadron.process.kill());
    return hadron;
  }

  async start(): Promise<void> {
    this.process = await startServerProcess(this.data, [...FOR_TESTS, '--set', 'push.origin=hadron.example']);
  }

  get url(): string {
    return `http://127.0.0.1:${this.process.httpPort}`;
  }

  /** What it prints. @throws when it fails */
  cli(...args: string[]): Promise<string> {
    const argv = [
      '--conditions=hadron-source',
      path.join(ROOT, 'packages/cli/src/main.ts'),
      ...args,
      '--url',
      this.url,
    ];
    return new Promise((resolve, reject) => {
      execFile(process.execPath, argv, { cwd: ROOT }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`hadron ${args.join(' ')}: ${stderr}`, { cause: error }));
      });
    });
  }

  async apply(document: string): Promise<string> {
    const file = path.join(this.data, '..', `${path.basename(this.data)}.yaml`);
    fs.writeFileSync(file, document);
    closers.push(() => fs.rmSync(file, { force: true }));
    return this.cli('apply', '-f', file);
  }

  async publish(events: readonly { id: string; subject?: string; type?: string }[]): Promise<void> {
    const batch = events.map((event) => ({
      specversion: '1.0',
      source: '/shop',
      type: 'order.placed',
      data: { order: event.id },
      ...event,
    }));
    const response = await fetch(`${this.url}/v1/streams/orders/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify(batch),
    });
    expect(response.status, await response.text()).toBe(200);
  }

  async get<T>(at: string): Promise<T> {
    return (await (await fetch(`${this.url}/v1${at}`)).json()) as T;
  }

  condition(reason: string): Promise<Record<string, unknown>> {
    return until(`the condition ${reason}`, 15_000, async () => {
      const { status } = JSON.parse(await this.cli('get', 'subscription', 'mail', '-o', 'json')) as {
        status: { conditions: Record<string, unknown>[] };
      };
      return status.conditions.find((one) => one['type'] === 'Ready' && one['reason'] === reason);
    });
  }

  settled(): Promise<true> {
    return until('everything settled', 30_000, async () => {
      const { partitions } = await this.get<{ partitions: { floor: number; endOffset: number; unsettled: number }[] }>(
        '/streams/orders/groups/mail',
      );
      return partitions.every((p) => p.floor === p.endOffset && p.unsettled === 0) ? true : undefined;
    });
  }

  async deadLetters(): Promise<[id: string, stream: string, attempts: number, reason: string][]> {
    interface Letter {
      readonly stream: string;
      readonly attempts: number;
      readonly reason: string;
      readonly event: { readonly id: string };
    }
    const { deadLetters } = await this.get<{ deadLetters: Letter[] }>('/streams/orders/dead-letters');
    return deadLetters.map(({ event, stream, attempts, reason }) => [event.id, stream, attempts, reason]);
  }
}

/** The document of the page, for a sink here and in less time. */
function example(sink: Sink): string {
  const page = fs.readFileSync(path.join(ROOT, 'docs/subscriptions.md'), 'utf8');
  const [, document = ''] = /```yaml\n([^]*?)```/.exec(page) ?? [];
  const here = document
    .replace('https://hooks.example.com/orders', sink.url)
    .replace('[200, 1000, 5000]', '[20]')
    .replace('maxDeliveries: 5', 'maxDeliveries: 3');
  expect(here).not.toMatch(/example\.com|5000|: 5/);
  return here;
}

test('the example of the page: handshake, events, what each answer leads to', { timeout: 60_000 }, async () => {
  const elsewhere = await Sink.open();
  const sink = await Sink.open();
  sink.answer = (id, time) => {
    if (id === 'flaky') return [time < 3 ? 503 : 204];
    if (id === 'poison') return [422];
    if (id === 'down') return [500];
    if (id === 'moved') return [307, { location: elsewhere.url }];
    return id === 'busy' && time === 1 ? [429, { 'retry-after': '1' }] : [202];
  };
  const hadron = await Hadron.start();
  expect(await hadron.apply(example(sink))).toBe('stream/orders created\nsubscription/mail created\n');
  await hadron.condition('Delivering');
  expect(sink.seen.map((one) => [one.method, one.headers['webhook-request-origin']])).toEqual([
    ['OPTIONS', 'hadron.example'],
  ]);

  await hadron.publish([{ id: 'plain' }, { id: 'other', type: 'order.lost' }]);
  await hadron.publish(['flaky', 'poison', 'down', 'moved'].map((id) => ({ id, subject: id })));
  await hadron.settled();
  expect(sink.delivered.sort()).toEqual(['flaky', 'plain']);
  const plain = sink.events.find((one) => one.id === 'plain');
  expect(plain).toMatchObject({
    method: 'POST',
    headers: { 'ce-type': 'order.placed', 'ce-source': '/shop', authorization: 'Bearer change-me' },
    body: '{"order":"plain"}',
  });
  expect(elsewhere.seen).toEqual([]);
  expect((await hadron.deadLetters()).sort()).toEqual([
    ['down', 'orders.undeliverable', 3, 'the sink answered 500'],
    ['moved', 'orders.undeliverable', 3, 'the sink answered 307; redirects are not followed'],
    ['poison', 'orders.undeliverable', 1, 'the sink answered 422'],
  ]);

  // Retry-After holds for the whole sink: what is published meanwhile waits too.
  await hadron.publish([{ id: 'busy' }]);
  const busy = await until('429', 5_000, async () => sink.events.find((one) => one.status === 429));
  await hadron.publish([{ id: 'later', subject: 'later' }]);
  await hadron.settled();
  expect(sink.delivered).toEqual(expect.arrayContaining(['busy', 'later']));
  for (const { id, atMs } of sink.events.slice(sink.events.indexOf(busy) + 1))
    expect([id, atMs - busy.atMs > 990]).toEqual([id, true]);

  const page = await (await fetch(`${hadron.url}/metrics`)).text();
  expect(page).toContain('hadron_push_ready{subscription="mail"} 1');
  expect(page).toContain('hadron_push_requests_total{subscription="mail",outcome="delivered"} 4');
  expect(page).toContain('hadron_push_requests_total{subscription="mail",outcome="rejected"} 1');
});

test('kill -9 in the middle: every event arrives at least once and settles', { timeout: 60_000 }, async () => {
  const sink = await Sink.open();
  const hadron = await Hadron.start();
  await hadron.apply(example(sink));
  const ids = Array.from({ length: 600 }, (_, i) => `order-${i}`);
  await hadron.publish(ids.map((id, i) => ({ id, subject: `customer-${i % 40}` })));
  for (const soMany of [150, 350]) {
    await until(`${soMany} deliveries`, 15_000, async () => (sink.events.length >= soMany ? true : undefined));
    await hadron.process.kill();
    const before = sink.events.length;
    expect(before).toBeLessThan(600);
    await hadron.start();
    await until('it goes on', 15_000, async () => (sink.events.length > before ? true : undefined));
  }
  await hadron.settled();
  expect([...sink.delivered].sort()).toEqual([...ids].sort());
  // Order within a customer, but for what came twice.
  const first = new Map(sink.delivered.map((id, at) => [id, at]));
  for (const [i, id] of ids.slice(40).entries()) expect(first.get(id)).toBeGreaterThan(first.get(ids[i]!)!);
  expect(await hadron.deadLetters()).toEqual([]);
  expect(sink.seen.filter((one) => one.method === 'OPTIONS')).toHaveLength(3);
  // What was acknowledged is not sent again: only what was under way when it was killed, twice.
  expect(sink.events.length).toBeLessThan(600 + 2 * 60);
});

test('410 ends it, over a kill -9 too, until the document changes', { timeout: 60_000 }, async () => {
  const sink = await Sink.open();
  sink.answer = () => [410];
  const hadron = await Hadron.start();
  await hadron.apply(example(sink));
  await hadron.publish([{ id: 'one' }]);
  expect(await hadron.condition('Unsubscribed')).toMatchObject({ status: 'False', observedGeneration: 1 });
  await hadron.process.kill();
  await hadron.start();
  await hadron.publish([{ id: 'two' }]);
  await hadron.condition('Unsubscribed');
  expect(sink.seen).toHaveLength(2);
  sink.answer = () => [204];
  await hadron.apply(example(sink).replace('concurrency: 10', 'concurrency: 9'));
  await hadron.settled();
  expect(sink.delivered).toEqual(['one', 'two']);
  expect(await hadron.condition('Delivering')).toMatchObject({ status: 'True', observedGeneration: 2 });
});
