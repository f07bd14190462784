/** The door with routes of its own: what every route may rely on. */
import http2 from 'node:http2';
import net from 'node:net';
import { HadronError } from '@hadron/base';
import type { Authorize } from '@hadron/broker';
import { describe, expect, test } from 'vitest';
import { deadLetterRoutes } from './dead-letters.ts';
import type { Route } from './router.ts';
import { openDoor, talk } from './testing/door.ts';

const anyone = { action: 'read', target: () => ({ kind: 'Test', name: undefined }) } as const;
const routes: readonly Route[] = [
  { method: 'GET', pattern: '/v1/hello/{name}', ...anyone, handle: (call) => call.sendJson(200, [call.param('name')]) },
  {
    method: 'POST',
    pattern: '/v1/echo',
    ...anyone,
    handle: (call) => call.body(1_000, (body) => call.send(200, 'application/octet-stream', body)),
  },
  { method: 'POST', pattern: '/v1/json', ...anyone, handle: async (call) => call.sendJson(200, await call.json()) },
  {
    method: 'GET',
    pattern: '/v1/full',
    ...anyone,
    handle() {
      throw new HadronError('STORAGE_FULL', 'the disk is full; delete something', { field: 'x' });
    },
  },
  { method: 'GET', pattern: '/v1/bug', ...anyone, handle: () => Promise.reject(new TypeError('secret detail')) },
];

async function problem(response: Response): Promise<Record<string, unknown>> {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  return (await response.json()) as Record<string, unknown>;
}

describe('answers', () => {
  test('a route answers; HEAD answers without a body', async () => {
    const { url } = await openDoor({ routes });
    const response = await fetch(`${url}/v1/hello/you?x=1`);
    expect([response.status, await response.json()]).toEqual([200, ['you']]);
    const head = await fetch(`${url}/v1/hello/you`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '7', '']);
  });

  test('a failure is a problem with code, field, status and when to try again', async () => {
    const { url } = await openDoor({ routes });
    const response = await fetch(`${url}/v1/full`);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await problem(response)).toEqual({
      type: 'urn:hadron:error:STORAGE_FULL',
      title: 'unavailable',
      status: 503,
      code: 'STORAGE_FULL',
      detail: 'the disk is full; delete something',
      field: 'x',
      retry: 'after-backoff',
      effect: 'none',
    });
  });

  test('a mistake of ours tells nothing but that it is one', async () => {
    const { url, bugs } = await openDoor({ routes });
    const response = await fetch(`${url}/v1/bug`);
    expect([response.status, (await problem(response))['code']]).toEqual([500, 'INTERNAL']);
    expect(bugs).toEqual(['TypeError: secret detail']);
  });

  test('unknown paths, methods that a path has not, and OPTIONS', async () => {
    const { url } = await openDoor({ routes });
    expect(await problem(await fetch(`${url}/v1/nothing`))).toMatchObject({ status: 404, code: 'REQUEST_INVALID' });
    const wrong = await fetch(`${url}/v1/echo`, { method: 'DELETE' });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
    const options = await fetch(`${url}/v1/hello/you`, { method: 'OPTIONS' });
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
  });

  test('dead letters are copied only where one may publish', async () => {
    const asked: string[] = [];
    const authorize: Authorize = (_identity, action, { name }) => {
      asked.push(`${action} ${name}`);
      if (name === 'secret') throw new HadronError('PERMISSION_DENIED', 'not yours');
    };
    const services = (): never => {
      throw new HadronError('TOPIC_NOT_FOUND', 'this far');
    };
    const { url } = await openDoor({ routes: deadLetterRoutes(services, authorize), authorize });
    const redrive = async (to: string): Promise<number> => {
      const body = JSON.stringify({ to });
      return (await fetch(`${url}/v1/streams/orders/dead-letters/redrive`, { method: 'POST', body })).status;
    };
    expect([await redrive('secret'), await redrive('mine')]).toEqual([403, 404]);
    expect(asked).toEqual(['change orders', 'publish secret', 'change orders', 'publish mine']);
  });

  test('every route passes authorize before its handler', async () => {
    const asked: unknown[] = [];
    const { url } = await openDoor({
      routes,
      authorize(identity, action, target) {
        asked.push([identity.name, action, target.kind]);
        throw new HadronError('PERMISSION_DENIED', 'no');
      },
    });
    expect((await fetch(`${url}/v1/bug`)).status).toBe(403);
    expect(asked).toEqual([['anonymous', 'read', 'Test']]);
  });
});

describe('bodies', () => {
  const post = (url: string, body: string, headers: Record<string, string> = {}) =>
    fetch(url, { method: 'POST', body, headers });

  test('come whole, in however many pieces', async () => {
    const { port } = await openDoor({ routes });
    const answer = await talk(
      port,
      ['POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n', '\r\nab', 'cd', 'ef'],
      300,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nabcdef$/);
  });

  test('beyond the limit are refused with 413, announced or not, and memory is given back', async () => {
    const { url, door } = await openDoor({ routes });
    const announced = await post(`${url}/v1/echo`, 'x'.repeat(1_001));
    expect([announced.status, (await problem(announced))['code']]).toEqual([413, 'REQUEST_INVALID']);
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 30; i++) controller.enqueue(new Uint8Array(100));
        controller.close();
      },
    });
    const streamed = await fetch(`${url}/v1/echo`, { method: 'POST', body, duplex: 'half' } as RequestInit);
    expect(streamed.status).toBe(413);
    expect(door.bodyBytes).toBe(0);
  });

  test('of a client that goes away cost nothing afterwards', async () => {
    const { port, door } = await openDoor({ routes });
    await talk(port, ['POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n', 'x'.repeat(500)], 50);
    await expect.poll(() => door.bodyBytes).toBe(0);
  });

  test('beyond what all may hold are refused with 429', async () => {
    const { url } = await openDoor({ routes, bodyBytesMax: 100 });
    const refused = await post(`${url}/v1/echo`, 'x'.repeat(200));
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    expect((await problem(refused))['code']).toBe('LIMIT_EXCEEDED');
  });

  test('that are compressed or no JSON are refused', async () => {
    const { url } = await openDoor({ routes });
    expect((await post(`${url}/v1/echo`, 'x', { 'content-encoding': 'gzip' })).status).toBe(415);
    expect(await problem(await post(`${url}/v1/json`, '{"a":'))).toMatchObject({
      status: 400,
      code: 'REQUEST_INVALID',
    });
    expect(await (await post(`${url}/v1/json`, '')).json()).toEqual({});
  });
});

describe('one port', () => {
  test('HTTP/2 with prior knowledge, also when the preface comes byte by byte', async () => {
    const { url, port } = await openDoor({ routes });
    const session = http2.connect(url);
    const stream = session.request({ ':path': '/v1/hello/h2', ':method': 'GET' });
    let status = 0;
    stream.on('response', (headers) => (status = Number(headers[':status'])));
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect([status, Buffer.concat(chunks).toString()]).toEqual([200, '["h2"]']);
    session.destroy();
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0';
    const settings = await talk(
      port,
      Array.from(Buffer.from(preface, 'latin1'), (byte) => Buffer.of(byte)),
      400,
    );
    expect(settings.charCodeAt(3)).toBe(4); // the type of its first frame: SETTINGS
  });

  test('requests that follow each other without waiting are answered in order', async () => {
    const { port } = await openDoor({ routes });
    const get = (n: number) => `GET /v1/hello/${n} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const answers = await talk(
      port,
      ['P', `OST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi${get(1)}${get(2)}${get(3)}`],
      300,
    );
    expect([...answers.matchAll(/\r\n\r\n(hi|\["\d"\])/g)].map((m) => m[1])).toEqual(['hi', '["1"]', '["2"]', '["3"]']);
  });

  test('an offer of h2c is passed over', async () => {
    const { port } = await openDoor({ routes });
    const answer = await talk(
      port,
      [
        'GET /v1/hello/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n',
      ],
      300,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  test('what is not HTTP, and headers beyond the limit, get an answer that says so', async () => {
    const { port, door } = await openDoor({ routes });
    expect(await talk(port, ['hello\r\n\r\n'])).toMatch(/^HTTP\/1\.1 400 [^]*"code":"REQUEST_INVALID"/);
    expect(await talk(port, ['PRx / HTTP/1.1\r\n\r\n'])).toMatch(/^HTTP\/1\.1 400 /);
    const large = `GET / HTTP/1.1\r\nHost: localhost\r\nx: ${'y'.repeat(300_000)}\r\n\r\n`;
    expect(await talk(port, [large])).toMatch(/^HTTP\/1\.1 431 /);
    expect(
      await talk(port, ['POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab']),
    ).toMatch(/^HTTP\/1\.1 400 /);
    expect([...door.metrics.refused.keys()]).toEqual([400, 431]);
  });

  test('remote procedure calls are asked first', async () => {
    const seen: string[] = [];
    const { url } = await openDoor({
      routes,
      rpc(request, response) {
        if (request.headers['content-type'] !== 'application/grpc') return false;
        seen.push(request.url ?? '');
        response.end('taken');
        return true;
      },
    });
    const taken = await fetch(`${url}/v1/hello/x`, { headers: { 'content-type': 'application/grpc' } });
    expect([await taken.text(), seen]).toEqual(['taken', ['/v1/hello/x']]);
    expect((await fetch(`${url}/v1/hello/x`)).status).toBe(200);
  });

  test('closing ends idle connections at once and lets answers under way end', async () => {
    let finish = (): void => undefined;
    const slow: Route = {
      method: 'GET',
      pattern: '/slow',
      ...anyone,
      handle: (call) =>
        new Promise<void>((resolve) => (finish = resolve)).then(() => call.sendJson(200, 'done')) as Promise<void>,
    };
    const { url, server } = await openDoor({ routes: [...routes, slow] });
    await (await fetch(`${url}/v1/hello/idle`)).text();
    const answer = fetch(`${url}/slow`);
    await expect.poll(() => server.connectionCount).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = server.close();
    await expect.poll(() => server.connectionCount).toBe(1);
    finish();
    expect(await (await answer).json()).toBe('done');
    await closed;
    expect(server.connectionCount).toBe(0);
  });
});

describe('clients that are slow', () => {
  const times = { first: 150, head: 300, request: 600, idle: 200 };
  const post = 'POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n';

  test('one that says nothing, or half a preface, is closed', async () => {
    const { port, server } = await openDoor({ routes }, { times });
    const [nothing, half] = await Promise.all([talk(port, []), talk(port, ['PR'])]);
    expect([nothing, half]).toEqual(['', '']);
    await expect.poll(() => server.connectionCount).toBe(0);
  });

  test('a head or a body that does not arrive is 408', async () => {
    const { port, door } = await openDoor({ routes }, { times });
    const [head, body] = await Promise.all([talk(port, [post]), talk(port, [`${post}\r\nabc`])]);
    for (const answer of [head, body]) expect(answer).toMatch(/^HTTP\/1\.1 408 [^]*"code":"REQUEST_INVALID"/);
    expect([door.metrics.refused.get(408)?.value, door.bodyBytes]).toEqual([2, 0]);
  });

  test('one that rests between requests is closed, one that goes on is not', async () => {
    const { port, server } = await openDoor({ routes }, { times });
    const get = 'GET /v1/hello/x HTTP/1.1\r\nHost: localhost\r\n\r\n';
    expect(await talk(port, [get, get, get], 4_000)).toMatch(/(\["x"\][^]*){3}/);
    await expect.poll(() => server.connectionCount).toBe(0);
  });

  test('one that ends its half amid a request is told, and nothing is left of it', async () => {
    const { port, server, door } = await openDoor({ routes });
    const socket = net.connect(port, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString()));
    socket.end(`${post}\r\nabc`);
    await new Promise((resolve) => socket.on('close', resolve));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    await expect.poll(() => [server.connectionCount, door.bodyBytes]).toEqual([0, 0]);
  });
});

describe('pages of browsers', () => {
  test('other sites are refused, origins of the setting are answered with what browsers ask for', async () => {
    const { url } = await openDoor({ routes, origins: ['https://app.example'] });
    const evil = await fetch(`${url}/v1/echo`, {
      method: 'POST',
      body: 'x',
      headers: { origin: 'https://evil.example' },
    });
    expect([evil.status, (await problem(evil))['field']]).toEqual([403, 'origin']);
    const headers = { origin: 'https://app.example' };
    const good = await fetch(`${url}/v1/hello/x`, { headers });
    expect([good.status, good.headers.get('access-control-allow-origin')]).toEqual([200, 'https://app.example']);
    const asked = { ...headers, 'access-control-request-method': 'POST', 'access-control-request-headers': 'ce-id' };
    const before = await fetch(`${url}/v1/echo`, { method: 'OPTIONS', headers: asked });
    expect([before.status, before.headers.get('access-control-allow-headers')]).toEqual([204, 'ce-id']);
    expect(before.headers.get('access-control-allow-methods')).toBe('POST, OPTIONS');
  });
});
