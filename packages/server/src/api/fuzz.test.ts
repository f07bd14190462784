/**
 * Statement 21: bytes that no client of good will sends, to a real server over HTTP/1, HTTP/2 and WebSocket. It never ends,
 * never logs a bug, forgets every connection, and answers the next good request. HADRON_FUZZ sets the number of inputs,
 * about. A failure prints the seed and the bytes.
 */
import http2 from 'node:http2';
import net from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { startTestServer, type TestServer } from './testing/server.ts';

/** Each input waits for its answer. */
const RUNS = Math.ceil(Number(process.env['HADRON_FUZZ'] ?? 20_000) / 300);
const TIMEOUT_MS = 60_000 + RUNS * 500;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer([]);
  await server.publish('orders', { id: '0' }, 'x');
});
afterAll(() => server.remove());

/** Sends pieces, waits for the answer to stop coming, and goes away: politely or not. */
function throwAt(pieces: readonly Uint8Array[], politely: boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    const got: Buffer[] = [];
    const socket = net.connect(server.port, '127.0.0.1');
    const done = (): void => {
      clearTimeout(timer);
      if (politely) socket.end();
      socket.destroy();
      resolve(Buffer.concat(got));
    };
    const timer = setTimeout(done, 25);
    socket.on('data', (chunk) => void (got.push(chunk), timer.refresh()));
    socket.on('close', done).on('error', done);
    for (const piece of pieces) socket.write(piece);
  });
}

async function isWell(): Promise<void> {
  const answer = await server.publish('orders', { id: 'good' }, 'x');
  expect([answer.status, server.bugs]).toEqual([200, []]);
  await answer.arrayBuffer();
}

/** One change to good bytes: something cut, doubled, put in, or overwritten. */
const mutated = (good: readonly Buffer[]) =>
  fc
    .tuple(
      fc.constantFrom(...good),
      fc.array(fc.tuple(fc.nat(10_000), fc.nat(3), fc.uint8Array({ minLength: 1, maxLength: 20 })), { maxLength: 4 }),
    )
    .map(([bytes, changes]) =>
      changes.reduce((b, [place, kind, noise]) => {
        const at = place % (b.length + 1);
        const rest = kind === 0 ? at : kind === 1 ? at + noise.length : at;
        const middle =
          kind === 2 ? b.subarray(at, at + noise.length * 10) : kind === 0 ? noise : kind === 1 ? noise : [];
        const after = kind === 3 ? at + noise.length : rest;
        return Buffer.concat([b.subarray(0, at), Buffer.from(middle), b.subarray(after)]);
      }, bytes),
    );

/** Cut into pieces at random places. */
const inPieces = (bytes: fc.Arbitrary<Buffer>) =>
  fc.tuple(bytes, fc.array(fc.nat(5_000), { maxLength: 3 })).map(([whole, cuts]) => {
    const places = [0, ...cuts.map((c) => c % (whole.length + 1)).toSorted((a, b) => a - b), whole.length];
    return places.slice(1).map((to, i) => whole.subarray(places[i], to));
  });

const request = (head: string, body = ''): Buffer =>
  Buffer.from(`${head}\r\nHost: localhost\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, 'latin1');
const CE = 'ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /fuzz\r\nce-type: t';
const JSON_BATCH = 'Content-Type: application/cloudevents-batch+json';
const event = '{"specversion":"1.0","id":"1","source":"/fuzz","type":"t","data":{"a":[1,2,{"b":null}]}}';

const HTTP1 = [
  request(`POST /v1/streams/orders/events HTTP/1.1\r\n${CE}`, 'data'),
  request(`POST /v1/streams/orders/events HTTP/1.1\r\nContent-Type: application/cloudevents+json`, event),
  request(`POST /v1/streams/orders/events?atomic=true HTTP/1.1\r\n${JSON_BATCH}`, `[${event},${event}]`),
  request('GET /v1/streams/orders/events?from=beginning&limit=5 HTTP/1.1\r\nAccept: text/event-stream'),
  request('GET /v1/streams/orders/events?from=0&partition=0&limit=3 HTTP/1.1'),
  request('POST /v1/streams/orders/groups/g/pull HTTP/1.1', '{"max":10,"waitMs":0,"settings":{"ordering":"none"}}'),
  request('PUT /v1/streams/orders/groups/g HTTP/1.1', '{"ordering":"key","policy":{"backoffMs":[1,2]}}'),
  request('POST /v1/streams/orders/groups/g/answers HTTP/1.1', '{"items":[{"token":"x","verdict":{"kind":"ack"}}]}'),
  request(
    'POST /v1/streams/orders/dead-letters/redrive HTTP/1.1',
    '{"filters":[{"sql":"type = \'a\'"}],"dryRun":true}',
  ),
  request('GET /v1/streams/orders/dead-letters?filter={"exact":{"type":"a"}} HTTP/1.1'),
  Buffer.from(
    `POST /v1/streams/orders/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n${CE}\r\n\r\n4\r\ndata\r\n0\r\n\r\n`,
  ),
];

/** The beginning of a connection of Node's own client. */
async function http2Bytes(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const sink = net.createServer((socket) => socket.on('data', (chunk) => chunks.push(chunk)));
  await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve));
  const { port } = sink.address() as net.AddressInfo;
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  const headers = { ':method': 'POST', 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/f', 'ce-type': 't' };
  for (const path of ['/v1/streams/orders/events', '/hadron.v1.Streams/Publish']) {
    const stream = session.request({ ...headers, ':path': path, 'content-type': 'application/grpc' });
    stream.on('error', () => undefined);
    stream.end('some data');
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  session.destroy();
  sink.close();
  return Buffer.concat(chunks);
}

describe('HTTP/1', () => {
  test(
    'random bytes',
    async () => {
      const bytes = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b));
      await fc.assert(
        fc.asyncProperty(inPieces(bytes), fc.boolean(), async (p, how) => void (await throwAt(p, how))),
        {
          numRuns: RUNS,
        },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );

  test(
    'mutated requests: every answer is HTTP, and a failure is a problem',
    async () => {
      await fc.assert(
        fc.asyncProperty(inPieces(mutated(HTTP1)), fc.boolean(), async (pieces, politely) => {
          const answer = (await throwAt(pieces, politely)).toString('latin1');
          if (answer === '') return;
          const [, status, head] = /^HTTP\/1\.1 (\d{3}) ([^]*?)\r\n\r\n/.exec(answer) ?? [];
          expect(status).toBeDefined();
          if (Number(status) < 400) return;
          expect(head?.toLowerCase()).toContain('content-type: application/problem+json');
          expect(answer).not.toContain('node:internal');
        }),
        { numRuns: RUNS * 4 },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );

  test(
    'random paths, methods and headers',
    async () => {
      const name = fc.constantFrom(
        'ce-id',
        'ce-time',
        'content-type',
        'accept',
        'last-event-id',
        'origin',
        'expect',
        'range',
      );
      const printable = fc.string({ unit: fc.constantFrom(...'aé%2"/;=,\\ \u0001{}[]*?&'.split('')), maxLength: 30 });
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT', 'FOO'),
          fc.constantFrom('/v1/', '/v1/streams/', '/v1/streams/a/groups/b/', '/v1/streams/orders/events?', '/'),
          printable,
          fc.array(fc.tuple(name, printable), { maxLength: 5 }),
          async (method, prefix, path, headers) => {
            const lines = headers.map(([n, v]) => `${n}: ${v}\r\n`).join('');
            const head = `${method} ${prefix}${path.replaceAll(' ', '+')} HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`;
            await throwAt([Buffer.from(head, 'latin1')], true);
          },
        ),
        { numRuns: RUNS },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );
});

describe('HTTP/2', () => {
  test(
    'mutated connections',
    async () => {
      const good = await http2Bytes();
      expect(good.length).toBeGreaterThan(100);
      await fc.assert(
        fc.asyncProperty(inPieces(mutated([good])), fc.boolean(), async (p, how) => void (await throwAt(p, how))),
        { numRuns: RUNS * 2 },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );

  test(
    'frames of any type and length behind a good beginning',
    async () => {
      const good = (await http2Bytes()).subarray(0, 24 + 9);
      const frame = fc
        .tuple(fc.nat(12), fc.nat(255), fc.nat(10), fc.uint8Array({ maxLength: 100 }), fc.option(fc.nat(0xffffff)))
        .map(([type, flags, stream, payload, lie]) => {
          const head = Buffer.alloc(9);
          head.writeUIntBE(lie ?? payload.length, 0, 3);
          head[3] = type;
          head[4] = flags;
          head.writeUInt32BE(stream, 5);
          return Buffer.concat([head, payload]);
        });
      await fc.assert(
        fc.asyncProperty(fc.array(frame, { maxLength: 8 }), fc.boolean(), async (frames, how) => {
          await throwAt([good, ...frames], how);
        }),
        { numRuns: RUNS * 2 },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );

  test('streams opened and reset without end', async () => {
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    session.on('error', () => undefined);
    for (let i = 0; i < 3_000 && !session.destroyed; i++) {
      const stream = session.request({ ':path': '/v1', ':method': 'GET' });
      stream.on('error', () => undefined);
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    session.destroy();
    await isWell();
  });
});

describe('WebSocket', () => {
  const url = () => `ws://127.0.0.1:${server.port}/v1/streams/orders/groups/fuzz/session`;
  const open = (at = url(), protocols: string[] = []): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(at, protocols);
      socket.on('error', reject);
      socket.on('open', () => {
        socket.off('error', reject).on('error', () => undefined);
        resolve(socket);
      });
    });

  test(
    'random messages: an error that says why, then the end',
    async () => {
      const member = fc.constantFrom('type', 'settings', 'credit', 'count', 'items', 'sequence', 'x');
      const value = fc.oneof(
        fc.constantFrom('open', 'credit', 'answers', 'drain'),
        fc.jsonValue(),
        fc.double(),
        fc.nat(),
      );
      const message = fc.oneof(
        fc.string(),
        fc.jsonValue().map((v) => JSON.stringify(v)),
        fc.dictionary(member, value).map((v) => JSON.stringify(v)),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 5 }), async (messages) => {
          const socket = await open();
          const told: { type: string; code?: string }[] = [];
          socket.on('message', (data: Buffer) => told.push(JSON.parse(data.toString()) as { type: string }));
          const closed = new Promise((resolve) => socket.on('close', resolve));
          for (const text of messages) socket.send(text);
          await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 25))]);
          socket.close();
          for (const { type, code } of told) if (type === 'error') expect(code).toMatch(/^[A-Z_]+$/);
        }),
        { numRuns: RUNS },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );

  test(
    'random frames behind a good handshake',
    async () => {
      const hello = Buffer.from(
        `GET /v1/streams/orders/groups/fuzz/session HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`,
      );
      let answered = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), fc.boolean(), async (p, how) => {
          const answer = (await throwAt([hello, ...p], how)).toString('latin1');
          if (answer === '') return; // it came later than we waited
          expect(answer).toMatch(/^HTTP\/1\.1 101 /);
          answered++;
        }),
        { numRuns: RUNS },
      );
      expect(answered).toBeGreaterThan(RUNS / 2);
      await fc.assert(
        fc.asyncProperty(inPieces(mutated([hello])), fc.boolean(), async (p, how) => void (await throwAt(p, how))),
        { numRuns: RUNS },
      );
      await isWell();
    },
    TIMEOUT_MS,
  );

  test('a message beyond the limit, and binary ones', async () => {
    const large = await open();
    const code = new Promise((resolve) => large.on('close', resolve));
    large.send('x'.repeat(5 * 1024 * 1024));
    expect(await code).toBe(1009);
    const binary = await open();
    const told = new Promise((resolve) => binary.on('message', (data: Buffer) => resolve(JSON.parse(data.toString()))));
    binary.send(Buffer.from('{}'));
    expect(await told).toMatchObject({ type: 'error', code: 'REQUEST_INVALID' });
    const publisher = await open(`ws://127.0.0.1:${server.port}/v1/streams/orders/events`, ['cloudevents.json']);
    const answer = new Promise((resolve) =>
      publisher.on('message', (data: Buffer) => resolve(JSON.parse(data.toString()))),
    );
    publisher.send('[');
    expect(await answer).toMatchObject({ type: 'rs.hadron.refused.v1', data: { error: { code: 'EVENT_INVALID' } } });
    publisher.close();
    await isWell();
  });
});

test('nothing is left of all of them', async () => {
  const gauge = async (name: string): Promise<number> => {
    const page = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1]);
  };
  await expect.poll(() => gauge('hadron_http_body_bytes'), { timeout: 5_000 }).toBe(0);
  await expect.poll(() => gauge('hadron_websockets'), { timeout: 5_000 }).toBe(0);
  await expect.poll(() => gauge('hadron_http_tails'), { timeout: 5_000 }).toBe(0);
  // This test's own keep-alive connections remain.
  await expect.poll(() => gauge('hadron_http_connections'), { timeout: 5_000 }).toBeLessThan(10);
});
