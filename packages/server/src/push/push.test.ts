/** Subscriptions of a real broker against real HTTP servers: every W rule and the handshake of cloudevents.md §8. */
import { type Clock, HadronError, silentLogger, systemClock, systemRandom } from '@hadron/base';
import { ANONYMOUS, Broker, resolveBrokerSettings } from '@hadron/broker';
import { type CloudEvent, cloudEvent, parseJsonEvent, readHttpEvent } from '@hadron/contracts/events';
import { MemoryFileSystem } from '@hadron/log';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type AddressPolicy, anyAddress, publicOnly, type Resolve, systemResolve } from './address-policy.ts';
import { CONSENT_PATH, consentRoutes } from './consent-route.ts';
import { openDoor } from '../api/testing/door.ts';
import { PushService, type SubscriptionSource } from './push-service.ts';
import { WatchedGroup } from './testing/watched-group.ts';

interface Seen {
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: string[];
  readonly body: Buffer;
  readonly atMs: number;
}

type Answer = { status: number; headers?: Record<string, string>; body?: string; afterMs?: number };

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const CONSENT = { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '*' };

/** A sink that consents, unless `options` says otherwise, and answers events as told. */
class Sink {
  readonly seen: Seen[] = [];
  readonly server: Server;
  options: Answer = { status: 200, headers: CONSENT };
  answer: (event: Seen, nth: number) => Answer = () => ({ status: 204 });
  underWay = 0;
  mostUnderWay = 0;

  constructor(make: (listener: RequestListener) => Server = createServer) {
    this.server = make((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const { method = '', headers, rawHeaders } = request;
        const seen: Seen = { method, headers, rawHeaders, body: Buffer.concat(parts), atMs: performance.now() };
        this.seen.push(seen);
        const answer = method === 'OPTIONS' ? this.options : this.answer(seen, this.events.length);
        this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
        setTimeout(() => {
          this.underWay--;
          response.writeHead(answer.status, answer.headers).end(answer.body);
        }, answer.afterMs ?? 0);
      });
    });
  }

  get events(): Seen[] {
    return this.seen.filter((one) => one.method !== 'OPTIONS');
  }

  get handshakes(): Seen[] {
    return this.seen.filter((one) => one.method === 'OPTIONS');
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async listen(host = '127.0.0.1', port = 0): Promise<this> {
    await new Promise<void>((done) => this.server.listen(port, host, done));
    closers.push(() => {
      this.server.closeAllConnections();
      return new Promise((done) => this.server.close(done));
    });
    return this;
  }
}

const sinkOf = (): Promise<Sink> => new Sink().listen();

interface Setup {
  spec?: object;
  policy?: AddressPolicy;
  allowHttp?: boolean;
  resolve?: Resolve;
  callbackUrl?: string;
  ca?: string;
  /** Of push alone. */
  clock?: Clock;
}

/** A Subscription applied to a broker in memory, followed by the service. */
async function push(sink: Sink | string, setup: Setup = {}) {
  const broker = await Broker.open({
    fs: new MemoryFileSystem((fn) => systemClock.defer(fn)),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory: '/data',
    clusterId: 'c',
    nodeId: 1,
    settings: resolveBrokerSettings({}),
    shardSettings: { commitFileBytes: 1024 * 1024, minFreeBytes: 0 },
  });
  closers.push(() => broker.close());
  const resources = await broker.core.resources();
  const { subscriptions } = resources;
  const group = new WatchedGroup(broker);
  const statuses: { ready: boolean; reason: string; message: string }[] = [];
  const source: SubscriptionSource = {
    all: () => subscriptions.all(),
    watch: (fn) => subscriptions.watch(fn),
    report(name, generation, reports) {
      for (const { status, reason, message } of reports) statuses.push({ ready: status === 'True', reason, message });
      subscriptions.report(name, generation, reports);
    },
  };
  const serve = (): PushService => {
    const service = new PushService({
      clock: setup.clock ?? systemClock,
      random: systemRandom,
      logger: silentLogger,
      deliveries: () => group,
      origin: 'hadron.example',
      policy: setup.policy ?? anyAddress,
      allowHttp: setup.allowHttp ?? true,
      resolve: setup.resolve ?? systemResolve,
      ca: setup.ca,
      callbackUrl: setup.callbackUrl,
    });
    closers.push(() => service.close());
    service.follow(source);
    return service;
  };
  const apply = async (change: object = {}): Promise<void> => {
    const spec = {
      stream: 'orders',
      sink: typeof sink === 'string' ? sink : `http://127.0.0.1:${sink.port}/hook?a=b`,
      delivery: { policy: { backoffMs: [20], maxDeliveries: 3 } },
      ...setup.spec,
      ...change,
    };
    const metadata = { name: 'mail' };
    const results = await resources.apply(ANONYMOUS, [
      { apiVersion: 'hadron.rs/v1', kind: 'Stream', metadata: { name: 'orders' }, spec: { partitions: 1 } },
      { apiVersion: 'hadron.rs/v1', kind: 'Subscription', metadata, spec },
    ]);
    expect(results.map((result) => result.errors)).toEqual([[], []]);
  };
  const service = serve();
  await apply();
  const ready = () => [...subscriptions.all()][0]?.conditions.find(({ type }) => type === 'Ready');
  return {
    group,
    statuses,
    service,
    serve,
    apply,
    ready,
    remove: () => resources.delete(ANONYMOUS, 'Subscription', 'mail'),
  };
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 });

const order = (id: string, subject?: string): CloudEvent =>
  cloudEvent({
    id,
    source: '/shop',
    type: 'order.placed',
    ...(subject === undefined ? {} : { subject }),
    data: { id },
  });

const idOf = (seen: Seen): string => String(seen.headers['ce-id']);

/** Sent every 200 ms; what the sink sees of it is blurred by its own delays. */
function expectEvery200Ms(times: readonly number[]): void {
  for (const [index, time] of times.slice(1).entries()) expect(time - times[index]!).toBeGreaterThan(100);
  expect(times.at(-1)! - times[0]!).toBeGreaterThan((times.length - 1) * 200 - 50);
}

describe('delivery (§8.1)', () => {
  it('W3, W9: binary mode, to the exact URI, with the agreed origin; the event is as it was published', async () => {
    const sink = await sinkOf();
    const { group, statuses } = await push(sink, {
      spec: { protocolSettings: { method: 'POST', headers: { 'X-Team': 'a' } } },
    });
    const event = cloudEvent({
      id: '7',
      source: '/shop',
      type: 'order.placed',
      subject: 'Euro € "x" 100%',
      datacontenttype: 'application/json',
      data: { id: '7', total: 12 },
      comexample: 'kept',
    });
    group.publish(event);
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
    const [seen] = sink.events;
    expect(seen).toMatchObject({ method: 'POST' });
    expect(seen!.headers).toMatchObject({
      'webhook-request-origin': 'hadron.example',
      'x-team': 'a',
      'ce-subject': 'Euro%20%E2%82%AC%20%22x%22%20100%25',
      'content-type': 'application/json',
    });
    const ours = Object.entries(seen!.headers).filter(([name]) => name.startsWith('ce-') || name === 'content-type');
    const received = readHttpEvent(ours as [string, string][], seen!.body);
    expect({ ...received, data: Buffer.from(received.data!) }).toEqual({ ...event, data: Buffer.from(event.data!) });
    expect(statuses.map((status) => status.reason)).toEqual(['Handshaking', 'Delivering']);
  });

  it('structured mode; an event without data', async () => {
    const sink = await sinkOf();
    const { group } = await push(sink, { spec: { mode: 'structured' } });
    group.publish(order('1'), cloudEvent({ id: '2', source: '/shop', type: 'empty' }));
    await until(() => expect(sink.events).toHaveLength(2));
    for (const seen of sink.events)
      expect(seen.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
    const received = sink.events.map((seen) => parseJsonEvent(seen.body));
    expect(received.map((event) => event.id).sort()).toEqual(['1', '2']);
    expect(received.find((event) => event.id === '2')!.data).toBeUndefined();
  });

  it('W1: plain HTTP only where it is allowed', async () => {
    const sink = await sinkOf();
    const { group, statuses } = await push(sink, { allowHttp: false });
    group.publish(order('1'));
    await until(() => expect(statuses.at(-1)?.reason).toBe('SinkNotAllowed'));
    expect(sink.seen).toEqual([]);
    expect(group.opened).toEqual([]);
  });

  it('W1: HTTPS, and a certificate that nobody trusts is no sink', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'hadron-push-'));
    closers.push(() => rmSync(dir, { recursive: true }));
    const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    execFileSync('openssl', [...make, '-keyout', keyFile, '-out', certFile, ...subject], { stdio: 'ignore' });
    const [key, cert] = [readFileSync(keyFile, 'utf8'), readFileSync(certFile, 'utf8')];
    const sink = await new Sink((listener) => createTlsServer({ key, cert }, listener) as unknown as Server).listen();
    const url = `https://localhost:${sink.port}/`;
    const trusting = await push(url, { allowHttp: false, ca: cert });
    trusting.group.publish(order('1'));
    await until(() => expect(trusting.group.entries[0]!.state).toBe('acked'));
    sink.seen.length = 0;
    const strict = await push(url, { allowHttp: false });
    await until(() => expect(strict.statuses.at(-1)?.reason).toBe('SinkUnreachable'));
    expect(strict.statuses.at(-1)!.message).toMatch(/certificate/);
    expect(sink.seen).toEqual([]);
  });

  it('W2: a redirect is not followed and counts as a failure', async () => {
    const elsewhere = await sinkOf();
    const sink = await sinkOf();
    sink.answer = () => ({ status: 307, headers: { location: `http://127.0.0.1:${elsewhere.port}/` } });
    const { group } = await push(sink);
    group.publish(order('1'));
    await until(() => expect(group.entries[0]).toMatchObject({ state: 'dead', attempt: 3 }));
    expect(group.entries[0]!.reason).toBe('the sink answered 307; redirects are not followed');
    expect(elsewhere.seen).toEqual([]);
  });

  it('W4: 410 ends the Subscription, over a restart too; what was out goes back uncounted; a changed one begins again', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 410 });
    const { group, service, serve, apply, ready } = await push(sink);
    group.publish(order('1'));
    await until(() =>
      expect(ready()).toMatchObject({ status: 'False', reason: 'Unsubscribed', observedGeneration: 1 }),
    );
    group.publish(order('2'));
    expect(group.entries.map(({ state, attempt }) => [state, attempt])).toEqual([
      ['ready', 1],
      ['ready', 1],
    ]);
    await service.close();
    sink.answer = () => ({ status: 204 });
    serve();
    await new Promise((done) => setTimeout(done, 100));
    expect(sink.seen).toHaveLength(2);
    await apply({ concurrency: 3 });
    await until(() => expect(group.entries.map((entry) => entry.state)).toEqual(['acked', 'acked']));
    expect(ready()).toMatchObject({ status: 'True', reason: 'Delivering', observedGeneration: 2 });
  });

  it('W5: nothing is sent to the sink before Retry-After has passed', async () => {
    const sink = await sinkOf();
    sink.answer = (_, nth) => (nth === 1 ? { status: 429, headers: { 'retry-after': '1' } } : { status: 204 });
    const { group, statuses } = await push(sink, { spec: { concurrency: 1 } });
    group.publish(order('1', 'a'), order('2', 'b'), order('3', 'c'));
    await until(() => expect(group.entries.map((entry) => entry.state)).toEqual(['acked', 'acked', 'acked']));
    const [first, second] = sink.events;
    expect(second!.atMs - first!.atMs).toBeGreaterThanOrEqual(990);
    expect(statuses.map((status) => status.reason)).toEqual(['Handshaking', 'Delivering', 'RetryAfter', 'Delivering']);
    expect(group.entries.map((entry) => entry.attempt)).toEqual([2, 1, 1]); // the others were held, not failed
  });

  it('W6, W7: 415 and other permanent answers go to the dead letter at once', async () => {
    const sink = await sinkOf();
    sink.answer = (seen) => ({ status: Number(idOf(seen)) });
    const { group } = await push(sink);
    group.publish(order('415'), order('400'), order('404'), order('401'));
    await until(() => expect(group.entries.map((entry) => entry.state)).toEqual(['dead', 'dead', 'dead', 'dead']));
    const letters = await group.deadLetters();
    expect(letters.map(({ from, attempts, reason }) => [from.offset, attempts, reason])).toEqual([
      [0, 1, 'the sink answered 415'],
      [1, 1, 'the sink answered 400'],
      [2, 1, 'the sink answered 404'],
      [3, 1, 'the sink answered 401'],
    ]);
  });

  it('W7: server errors, time-outs and broken connections are tried again, then dead', async () => {
    const sink = await sinkOf();
    sink.answer = (_, nth) =>
      nth === 1 ? { status: 503 } : nth === 2 ? { status: 204, afterMs: 1_000 } : { status: 204 };
    const { group } = await push(sink, {
      spec: { delivery: { policy: { backoffMs: [20], maxDeliveries: 3, timeoutMs: 200 } } },
    });
    group.publish(order('1'));
    await until(() => expect(group.entries[0]).toMatchObject({ state: 'acked', attempt: 3 }));
    sink.answer = () => ({ status: 500 });
    group.publish(order('2'));
    await until(() =>
      expect(group.entries[1]).toMatchObject({ state: 'dead', attempt: 3, reason: 'the sink answered 500' }),
    );
    sink.server.closeAllConnections();
    await new Promise((done) => sink.server.close(done));
    group.publish(order('3'));
    await until(() => expect(group.entries[2]).toMatchObject({ state: 'dead', attempt: 3 }));
    expect(group.entries[2]!.reason).toMatch(/ECONNREFUSED/);
    const letters = await group.deadLetters();
    expect(letters.map(({ from, attempts }) => [from.offset, attempts])).toEqual([
      [1, 3],
      [2, 3],
    ]);
    expect(group.status().counts).toMatchObject({ acked: 1, dead: 2 });
  });

  it('an answer without end costs the sink its connection, not us our memory', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 200, body: 'x'.repeat(2_000_000) });
    const { group } = await push(sink);
    group.publish(order('1'), order('2'));
    await until(() => expect(group.entries.map((entry) => entry.state)).toEqual(['acked', 'acked']));
  });

  it('a kept connection that the sink closes as it is used again is no failed attempt', async () => {
    const sink = await sinkOf();
    const used = new WeakSet<object>();
    let cut = 0;
    sink.server.prependListener('request', ({ socket }: IncomingMessage) => {
      if (used.has(socket)) cut = socket.destroy().destroyed ? cut + 1 : cut;
      used.add(socket);
    });
    sink.options = { status: 200, headers: { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '300' } };
    const { group } = await push(sink, { spec: { delivery: { window: 4 } } });
    await until(() => expect(group.opened).toHaveLength(1));
    group.publish(order('1', 'one lane'), order('2', 'one lane'));
    await until(() => expect(group.entries.map((entry) => entry.state)).toEqual(['acked', 'acked']));
    expect(group.entries.map((entry) => entry.attempt)).toEqual([1, 1]);
    expect(cut).toBe(2);
    // The sink saw all four: in order, and never above the rate.
    expect(sink.events.map(idOf)).toEqual(['1', '1', '2', '2']);
    const times = sink.events.map((seen) => seen.atMs);
    expectEvery200Ms(times);
  });

  it('W8: credentials', async () => {
    const sink = await sinkOf();
    const plain = await push(sink, { spec: { credential: { type: 'PLAIN', identifier: 'u', secret: 'p' } } });
    plain.group.publish(order('1'));
    await until(() => expect(sink.events).toHaveLength(1));
    expect(sink.seen.map((seen) => seen.headers.authorization)).toEqual(['Basic dTpw', 'Basic dTpw']);
    const bearer = await push(sink, { spec: { credential: { type: 'ACCESSTOKEN', accessToken: 'abc' } } });
    bearer.group.publish(order('1'));
    await until(() => expect(sink.events).toHaveLength(2));
    expect(sink.events[1]!.headers.authorization).toBe('Bearer abc');
    const refreshed = await push(sink, {
      spec: { credential: { type: 'REFRESHTOKEN', refreshToken: 'r', refreshTokenEndpoint: 'https://t.example/' } },
    });
    await until(() => expect(refreshed.statuses.at(-1)?.reason).toBe('CredentialUnsupported'));
  });
});

describe('handshake (§8.2)', () => {
  it('asks OPTIONS of the exact URI and sends with consent only', async () => {
    const sink = await sinkOf();
    const { group } = await push(sink);
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
    expect(sink.seen.map((seen) => seen.method)).toEqual(['OPTIONS', 'POST']);
    expect(sink.handshakes[0]!.headers['webhook-request-origin']).toBe('hadron.example');
  });

  it.each<[string, Answer]>([
    ['a friendly status is no consent', { status: 200 }],
    ['refused', { status: 405 }],
    [
      'another origin',
      { status: 200, headers: { 'webhook-allowed-origin': 'x.example', 'webhook-allowed-rate': '*' } },
    ],
  ])('%s: nothing is sent', async (_, options) => {
    const sink = await sinkOf();
    sink.options = options;
    const { group, statuses } = await push(sink);
    group.publish(order('1'));
    await until(() => expect(statuses.at(-1)?.reason).toBe('ConsentRefused'));
    await new Promise((done) => setTimeout(done, 50));
    expect(sink.events).toEqual([]);
    expect(group.opened).toEqual([]);
  });

  it('asks again after 1, 5, 30 and 30 minutes, not before a Retry-After, and begins when it is granted', async () => {
    const sink = await sinkOf();
    const waits: number[] = [];
    const clock: Clock = {
      ...systemClock,
      setTimer(delayMs, fn) {
        if (delayMs < 40_000) return systemClock.setTimer(delayMs, fn);
        waits.push(delayMs);
        return systemClock.setTimer(1, fn);
      },
    };
    Object.defineProperty(sink, 'options', {
      get: (): Answer => {
        const nth = sink.handshakes.length;
        if (nth <= 4) return { status: 405 };
        return nth === 5 ? { status: 429, headers: { 'retry-after': '7200' } } : { status: 200, headers: CONSENT };
      },
    });
    const { group, statuses } = await push(sink, { clock });
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
    expect(waits).toHaveLength(5);
    for (const [index, minutes] of [1, 5, 30, 30].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(minutes * 60_000 * 0.8);
      expect(waits[index]).toBeLessThanOrEqual(minutes * 60_000 * 1.2);
    }
    expect(waits[4]).toBe(7_200_000);
    const refused = Array.from({ length: 5 }, () => 'ConsentRefused');
    expect(statuses.map((status) => status.reason)).toEqual(['Handshaking', ...refused, 'Delivering']);
  });

  it('410 to the question for consent ends it as well', async () => {
    const sink = await sinkOf();
    sink.options = { status: 410, headers: CONSENT };
    const { ready } = await push(sink);
    await until(() => expect(ready()).toMatchObject({ status: 'False', reason: 'Unsubscribed' }));
  });

  it('consent later, at the callback URL, once, by its key alone', async () => {
    const sink = await sinkOf();
    sink.options = { status: 200 };
    const { group, statuses, service } = await push(sink, { callbackUrl: 'https://hadron.example/consent/' });
    group.publish(order('1'));
    await until(() => expect(statuses.at(-1)?.reason).toBe('AwaitingConsent'));
    const callback = String(sink.handshakes[0]!.headers['webhook-request-callback']);
    expect(callback).toMatch(/^https:\/\/hadron\.example\/consent\/[A-Za-z0-9_-]{43}$/);
    const key = callback.split('/').at(-1)!;
    const { url } = await openDoor({ routes: consentRoutes(service) });
    const call = async (path: string, init: RequestInit = {}): Promise<number> =>
      (await fetch(`${url}${CONSENT_PATH}${path}`, init)).status;
    expect(await call(`${key.slice(0, -1)}!`)).toBe(404);
    expect(await call(`${key}?rate=0`)).toBe(404);
    expect(await call(key, { method: 'HEAD' })).toBe(404);
    expect(sink.events).toEqual([]);
    // From a page of another site, as a link in a mail: the guard of the door lets it pass, here and nowhere else.
    const headers = { 'webhook-allowed-rate': '300', origin: 'https://mail.example' };
    expect(await call(key, { method: 'PUT', headers })).toBe(403);
    expect(await call(key, { method: 'POST', headers })).toBe(200);
    expect(await call(key)).toBe(404);
    group.publish(order('2'));
    await until(() => expect(group.entries.map((entry) => entry.state)).toEqual(['acked', 'acked']));
    expect(sink.events[1]!.atMs - sink.events[0]!.atMs).toBeGreaterThan(190);
  });

  it('asks again while the sink cannot be reached', async () => {
    const sink = await sinkOf();
    const { port } = sink;
    sink.server.closeAllConnections();
    await new Promise((done) => sink.server.close(done));
    const { group, statuses } = await push(`http://127.0.0.1:${port}/`);
    group.publish(order('1'));
    await until(() => expect(statuses.at(-1)?.reason).toBe('SinkUnreachable'));
    await new Sink().listen('127.0.0.1', port);
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
  });

  it('the granted rate is a hard limit, and waiting for it is no failed attempt', async () => {
    const sink = await sinkOf();
    sink.options = { status: 200, headers: { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '300' } };
    const { group } = await push(sink, {
      spec: { delivery: { policy: { backoffMs: [20], maxDeliveries: 3, timeoutMs: 300 } } },
    });
    group.publish(...['1', '2', '3', '4', '5'].map((id) => order(id)));
    await until(() => expect(group.entries.every((entry) => entry.state === 'acked')).toBe(true));
    const times = sink.events.map((seen) => seen.atMs);
    expectEvery200Ms(times);
    expect(group.entries.map((entry) => entry.attempt)).toEqual([1, 1, 1, 1, 1]); // the last waited for 800 ms
  });

  it('asks for the rate of its group', async () => {
    const sink = await sinkOf();
    await push(sink, { spec: { delivery: { rateLimit: { count: 5, perMs: 1_000, by: 'group' } } } });
    await until(() => expect(sink.handshakes[0]?.headers['webhook-request-rate']).toBe('300'));
  });
});

describe('order and concurrency', () => {
  it('no more requests at once than the Subscription says', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 204, afterMs: 20 });
    const { group } = await push(sink, { spec: { concurrency: 3 } });
    group.publish(...Array.from({ length: 12 }, (_, index) => order(String(index))));
    await until(() => expect(group.entries.every((entry) => entry.state === 'acked')).toBe(true));
    expect(sink.mostUnderWay).toBe(3);
  });

  it('requests of a session that was lost still count', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 204, afterMs: 2_000 });
    const { group } = await push(sink, { spec: { concurrency: 2 } });
    group.publish(order('1'), order('2'));
    await until(() => expect(sink.underWay).toBe(2));
    group.end(new HadronError('STORAGE_FAILED', 'the disk failed')); // opened again after about a second
    await until(() => expect(group.entries.every((entry) => entry.state === 'acked')).toBe(true));
    expect(sink.events.map(idOf).sort()).toEqual(['1', '1', '2', '2']);
    expect(sink.mostUnderWay).toBe(2);
  });

  it('ordering partition: one after another, whatever their keys', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 204, afterMs: 5 });
    const { group } = await push(sink, { spec: { delivery: { ordering: 'partition' } } });
    group.publish(...['0', '1', '2', '3', '4'].map((id) => order(id, id)));
    await until(() => expect(group.entries.every((entry) => entry.state === 'acked')).toBe(true));
    expect(sink.mostUnderWay).toBe(1);
    expect(sink.events.map(idOf)).toEqual(['0', '1', '2', '3', '4']);
  });

  it('the events of a lane go one after another, also when one fails', async () => {
    const sink = await sinkOf();
    sink.answer = (seen, nth) => ({ status: idOf(seen) === '1' && nth < 4 ? 500 : 204, afterMs: 10 });
    const { group } = await push(sink, {
      spec: { delivery: { window: 4, policy: { backoffMs: [20], maxDeliveries: 9 } } },
    });
    group.publish(...['0', '1', '2', '3'].map((id) => order(id, 'one lane')));
    await until(() => expect(group.entries.every((entry) => entry.state === 'acked')).toBe(true));
    expect(sink.mostUnderWay).toBe(1);
    expect(sink.events.map(idOf)).toEqual(['0', '1', '1', '1', '2', '3']);
  });
});

describe('addresses', () => {
  it.each([
    'http://127.0.0.1:PORT/',
    'http://localhost:PORT/',
    'http://2130706433:PORT/',
    'http://[::ffff:127.0.0.1]:PORT/',
  ])('%s is never connected to', async (url) => {
    const sink = await sinkOf();
    let connections = 0;
    sink.server.on('connection', () => connections++);
    const { statuses } = await push(url.replace('PORT', String(sink.port)), { policy: publicOnly });
    await until(() => expect(statuses.at(-1)?.reason).toBe('SinkNotAllowed'));
    expect(connections).toBe(0);
  });

  it('of several addresses, the one connected to is one that was checked', async () => {
    const inside = await new Sink().listen('127.0.0.1');
    const outside = await new Sink().listen('127.0.0.2', inside.port);
    const { group } = await push(`http://sink.example:${inside.port}/`, {
      policy: (address) => address === '127.0.0.2',
      resolve: (_, done) =>
        done(
          null,
          ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })),
        ),
    });
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
    expect(outside.events).toHaveLength(1);
    expect(inside.seen).toEqual([]);
  });

  it('a name that moves inside after it consented is refused, and the event is not blamed', async () => {
    const inside = await new Sink().listen('127.0.0.1');
    const outside = await new Sink().listen('127.0.0.2', inside.port);
    outside.options = { status: 200, headers: { ...CONSENT, connection: 'close' } };
    let address = '127.0.0.2';
    const { group, statuses } = await push(`http://sink.example:${inside.port}/`, {
      policy: (one) => one === '127.0.0.2',
      resolve: (_, done) => done(null, [{ address, family: 4 }]),
    });
    await until(() => expect(statuses.at(-1)?.reason).toBe('Delivering'));
    address = '127.0.0.1';
    group.publish(order('1'));
    await until(() => expect(statuses.at(-1)?.reason).toBe('SinkNotAllowed'));
    expect(inside.seen).toEqual([]);
    expect(group.entries[0]).toMatchObject({ state: 'ready', attempt: 1 });
    address = '127.0.0.2';
    await until(() => expect(group.entries[0]).toMatchObject({ state: 'acked', attempt: 1 }));
  });
});

describe('with its group', () => {
  it('a changed document changes the group', async () => {
    const sink = await sinkOf();
    const { group, apply } = await push(sink, { spec: { types: ['order.placed'], group: 'mailers' } });
    await until(() => expect(group.opened).toHaveLength(1));
    expect(group.opened[0]).toMatchObject({
      stream: 'orders',
      group: 'mailers',
      settings: { durable: true, filters: [{ any: [{ exact: { type: 'order.placed' } }] }] },
      credit: 10,
    });
    const limit = { count: 1_000, perMs: 1_000, by: 'group' };
    await apply({ types: ['order.paid'], delivery: { policy: { maxDeliveries: 4 }, rateLimit: limit } });
    await until(() => expect(group.status('mailers').settings).toMatchObject({ rateLimit: limit }));
    await apply({ types: ['order.paid'], delivery: { policy: { maxDeliveries: 4 } } });
    await until(() => expect(group.status('mailers').settings.rateLimit).toBeUndefined());
    await apply({ types: ['order.placed'], delivery: {} });
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
    expect(group.status('mailers').settings).toMatchObject({
      filters: [{ any: [{ exact: { type: 'order.placed' } }] }],
      policy: { maxDeliveries: 10 },
      rateLimit: undefined,
    });
  });

  it('dead letters go where the document says, and back to the default when it does not say', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 400 });
    const { group, apply } = await push(sink, { spec: { delivery: { policy: { deadLetterStream: 'bad' } } } });
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('dead'));
    expect(await group.deadLetters()).toMatchObject([{ stream: 'bad', from: { offset: 0 }, group: 'mail' }]);
    await apply({ delivery: {} });
    group.publish(order('2'));
    await until(() => expect(group.entries[1]!.state).toBe('dead'));
    expect(await group.deadLetters()).toMatchObject([{ stream: 'orders.dead', from: { offset: 1 }, group: 'mail' }]);
  });

  it('one that has nothing to do has no timer', async () => {
    const sink = await sinkOf();
    const running = new Set<object>();
    const clock: Clock = {
      ...systemClock,
      setTimer(delayMs, fn) {
        const timer = systemClock.setTimer(delayMs, () => {
          running.delete(own);
          fn();
        });
        const own = {
          cancel() {
            running.delete(own);
            timer.cancel();
          },
        };
        running.add(own);
        return own;
      },
    };
    const { group, statuses } = await push(sink, { clock, spec: { delivery: { policy: { timeoutMs: 150 } } } });
    await until(() => expect(statuses.at(-1)?.reason).toBe('Delivering'));
    expect(running.size).toBe(0);
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
    await until(() => expect(running.size).toBe(0));
  });

  it('a session that ends is opened again', async () => {
    const sink = await sinkOf();
    const { group, statuses } = await push(sink);
    await until(() => expect(statuses.at(-1)?.reason).toBe('Delivering'));
    group.end(new HadronError('STORAGE_FAILED', 'the disk failed'));
    expect(statuses.at(-1)).toMatchObject({ ready: false, reason: 'StreamUnavailable' });
    group.publish(order('1'));
    await until(() => expect(group.entries[0]!.state).toBe('acked'));
  });

  it('closing waits for what is under way and gives the rest back', async () => {
    const sink = await sinkOf();
    sink.answer = () => ({ status: 204, afterMs: 100 });
    const { group, service } = await push(sink, { spec: { concurrency: 1 } });
    group.publish(order('1'), order('2'));
    await until(() => expect(sink.events).toHaveLength(1));
    await service.close();
    expect(group.entries.map(({ state, attempt }) => [state, attempt])).toEqual([
      ['acked', 1],
      ['ready', 1],
    ]);
    await new Promise((done) => setTimeout(done, 50));
    expect(sink.events).toHaveLength(1);
  });

  it('what the group refuses for good is not tried again, and a change is', async () => {
    const sink = await sinkOf();
    const { group, statuses, apply } = await push(sink);
    await until(() => expect(statuses.at(-1)?.reason).toBe('Delivering'));
    group.refusal = new HadronError('GROUP_ID_INVALID', 'a group has a name');
    await apply({ concurrency: 3 });
    await until(() => expect(statuses.at(-1)).toMatchObject({ reason: 'GroupRefused', ready: false }));
    group.refusal = undefined;
    await apply({ concurrency: 4 });
    await until(() => expect(statuses.at(-1)?.reason).toBe('Delivering'));
  });

  it('a deleted Subscription sends nothing more', async () => {
    const sink = await sinkOf();
    const { group, statuses, remove } = await push(sink);
    await until(() => expect(statuses.at(-1)?.reason).toBe('Delivering'));
    await remove();
    group.publish(order('1'));
    await new Promise((done) => setTimeout(done, 50));
    expect(sink.events).toEqual([]);
  });

  it('suspended: not even asked', async () => {
    const sink = await sinkOf();
    const { statuses, group } = await push(sink, { spec: { suspended: true } });
    await until(() => expect(statuses.at(-1)?.reason).toBe('Suspended'));
    expect([sink.seen, group.opened]).toEqual([[], []]);
  });
});
