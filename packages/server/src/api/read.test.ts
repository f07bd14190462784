/** Statement 13: reading without a group, against a real server. */
import http2 from 'node:http2';
import net from 'node:net';
import { describe, expect, test } from 'vitest';
import { openServer, type TestServer } from './testing/server.ts';
import { talk } from './testing/door.ts';

interface Told {
  readonly id: string;
  readonly data: Record<string, unknown> | undefined;
  readonly retry: string | undefined;
}

/** Reads server-sent events until `enough` says so, then goes away. */
async function listen(
  url: string,
  headers: Record<string, string>,
  enough: (told: readonly Told[]) => boolean,
): Promise<Told[]> {
  const gone = new AbortController();
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...headers }, signal: gone.signal });
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const told: Told[] = [];
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    const blocks = text.split('\n\n');
    text = blocks.pop() as string;
    for (const block of blocks) {
      const field = (name: string) =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2);
      const data = field('data');
      told.push({
        id: field('id') ?? told.at(-1)?.id ?? '',
        data: data === undefined ? undefined : (JSON.parse(data) as Record<string, unknown>),
        retry: field('retry'),
      });
    }
    if (enough(told)) break;
  }
  gone.abort();
  return told;
}

const idsOf = (told: readonly Told[]): unknown[] =>
  told.flatMap(({ data }) => (data === undefined ? [] : [data['id']]));

async function fill(server: TestServer, from: number, to: number, stream = 'orders'): Promise<void> {
  const events = [];
  for (let i = from; i < to; i++)
    events.push({ specversion: '1.0', id: String(i), source: '/test', type: 'test', subject: `s${i % 7}` });
  const headers = { 'content-type': 'application/cloudevents-batch+json' };
  const init = { method: 'POST', headers, body: JSON.stringify(events) };
  expect((await fetch(`${server.url}/streams/${stream}/events`, init)).status).toBe(200);
}

const pages = async (server: TestServer, path: string): Promise<{ ids: string[]; count: number }> => {
  const ids: string[] = [];
  let count = 0;
  for (let next: string | undefined = `/v1${path}`; next !== undefined; count++) {
    const response = await fetch(`http://127.0.0.1:${server.port}${next}`);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'application/cloudevents-batch+json',
    ]);
    const events = (await response.json()) as { id: string }[];
    ids.push(...events.map(({ id }) => id));
    next = events.length === 0 ? undefined : /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
  }
  return { ids, count };
};

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => String(from + i));

describe('pages', () => {
  test('follow each other by Link until nothing is left, over all partitions', async () => {
    const server = await openServer(['num.partitions=3']);
    await fill(server, 0, 250);
    const { ids, count } = await pages(server, '/streams/orders/events?limit=40');
    expect(ids.toSorted((a, b) => Number(a) - Number(b))).toEqual(numbers(0, 250));
    expect(count).toBe(8);
  });

  test('from: an offset, a time, the end; one partition', async () => {
    const server = await openServer();
    await fill(server, 0, 10);
    const read = async (query: string) => (await pages(server, `/streams/orders/events?${query}`)).ids;
    expect(await read('from=7')).toEqual(['7', '8', '9']);
    expect(await read('from=7&partition=0')).toEqual(['7', '8', '9']);
    expect(await read('from=latest')).toEqual([]);
    expect(await read('from=beginning&limit=3')).toEqual(numbers(0, 10));
    const before = new Date(Date.now() - 3_600_000).toISOString();
    expect(await read(`from=${encodeURIComponent(before)}`)).toEqual(numbers(0, 10));
    const after = new Date(Date.now() + 3_600_000).toISOString();
    expect(await read(`from=${encodeURIComponent(after)}`)).toEqual([]);
    expect(await read('from=2020-01-31T08:00:00+02:00')).toEqual(numbers(0, 10));
  });

  test('what cannot be is refused, naming the fix', async () => {
    const server = await openServer(['num.partitions=3']);
    await fill(server, 0, 10);
    const refused = async (query: string, accept = '*/*') => {
      const response = await fetch(`${server.url}/streams/orders/events?${query}`, { headers: { accept } });
      return { status: response.status, ...((await response.json()) as object) };
    };
    expect(await refused('from=7')).toMatchObject({
      status: 400,
      field: 'from',
      detail: expect.stringContaining('add partition=0 to 2'),
    });
    expect(await refused('from=soon')).toMatchObject({ status: 400, field: 'from' });
    expect(await refused('partition=3')).toMatchObject({ status: 400, field: 'partition' });
    expect(await refused('from=99&partition=0')).toMatchObject({ status: 400, code: 'OFFSET_OUT_OF_RANGE' });
    expect(await refused('cursor=***')).toMatchObject({ status: 400, field: 'cursor' });
    expect(await refused('cursor=AAAA&from=latest')).toMatchObject({ status: 400, field: 'from' });
    expect(await refused('limit=0')).toMatchObject({ status: 400, field: 'limit' });
    expect(await refused('', 'image/png')).toMatchObject({ status: 406, field: 'accept' });
    expect(server.bugs).toEqual([]);
  });

  test('a cursor costs at most ten bytes a partition', async () => {
    const server = await openServer(['num.partitions=3']);
    await fill(server, 0, 100);
    const link = (await fetch(`${server.url}/streams/orders/events`)).headers.get('link') ?? '';
    const cursor = new URL(link.slice(1, link.indexOf('>')), 'http://x').searchParams.get('cursor') ?? '';
    expect(Buffer.from(cursor, 'base64url').length).toBeLessThanOrEqual(30);
  });
});

test('§5.4 a stream whose records are never interpreted shows them as they are', async () => {
  const server = await openServer();
  const body = 'apiVersion: hadron.rs/v1\nkind: Stream\nmetadata: {name: orders}\nspec: {partitions: 1, events: off}\n';
  const applied = await fetch(`${server.url}/apply`, { method: 'POST', body });
  expect(await applied.json()).toMatchObject({ results: [{ result: 'created' }] });
  await server.publish('orders', { id: '1', datacontenttype: 'text/plain' }, 'hi');
  const seen = { id: '0-0', type: 'rs.hadron.record.v1', datacontenttype: 'text/plain', data: 'hi' };
  expect(await (await fetch(`${server.url}/streams/orders/events`)).json()).toMatchObject([seen]);
  const pulled = await server.call('POST', '/streams/orders/groups/g/pull', { waitMs: 1_000 });
  expect(pulled.body).toMatchObject({ deliveries: [{ event: seen }] });
});

describe('lines', () => {
  const ndjson = { accept: 'application/x-ndjson' };

  test('everything up to the end, one event a line', async () => {
    const server = await openServer();
    await fill(server, 0, 1_000);
    const response = await fetch(`${server.url}/streams/orders/events`, { headers: ndjson });
    const lines = (await response.text()).trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(numbers(0, 1_000));
    const some = await fetch(`${server.url}/streams/orders/events?from=990&limit=3`, { headers: ndjson });
    expect((await some.text()).trim().split('\n')).toHaveLength(3);
    // An id of server-sent events is no matter of theirs: it neither counts nor hides `from`.
    const url = `${server.url}/streams/orders/events?from=999`;
    const last = await fetch(url, { headers: { ...ndjson, 'last-event-id': 'x' } });
    expect(JSON.parse(await last.text())).toMatchObject({ id: '999' });
  });

  test('that follow go on with what comes', async () => {
    const server = await openServer();
    await fill(server, 0, 3);
    const response = fetch(`${server.url}/streams/orders/events?follow=true&limit=5`, { headers: ndjson });
    await fill(server, 3, 6);
    expect((await (await response).text()).trim().split('\n')).toHaveLength(5);
  });
});

describe('server-sent events', () => {
  test('tell what comes; the id of any event resumes exactly behind it', async () => {
    const server = await openServer(['num.partitions=3']);
    await fill(server, 0, 60);
    const url = `${server.url}/streams/orders/events`;
    const all = await listen(`${url}?from=beginning`, {}, (told) => idsOf(told).length >= 60);
    expect(idsOf(all)).toHaveLength(60);
    for (const stop of [1, 17, 40, 59]) {
      const last = all.filter(({ data }) => data !== undefined)[stop - 1] as Told;
      const rest = await listen(
        `${url}?from=beginning`,
        { 'last-event-id': last.id },
        (t) => idsOf(t).length >= 60 - stop,
      );
      const seen = idsOf(all).slice(0, stop);
      expect([...seen, ...idsOf(rest)].toSorted()).toEqual(idsOf(all).toSorted());
    }
  });

  test('an id comes before the first event: who asked for the latest loses nothing', async () => {
    const server = await openServer();
    await fill(server, 0, 5);
    const url = `${server.url}/streams/orders/events`;
    const [first] = await listen(url, {}, (told) => told.length >= 1);
    expect(first?.data).toBeUndefined();
    await fill(server, 5, 8);
    const rest = await listen(url, { 'last-event-id': first?.id ?? '' }, (told) => idsOf(told).length >= 3);
    expect(idsOf(rest)).toEqual(['5', '6', '7']);
  });

  test('many listeners are told the same; one that leaves leaves nothing behind', async () => {
    const server = await openServer();
    await fill(server, 0, 1);
    const url = `${server.url}/streams/orders/events?limit=20`;
    const all = Promise.all(
      Array.from({ length: 20 }, () => listen(url, {}, (told) => told.at(-1)?.retry !== undefined)),
    );
    await expect.poll(async () => metric(server, 'hadron_http_tails')).toBe(20);
    await fill(server, 1, 21);
    for (const told of await all) expect(idsOf(told)).toEqual(numbers(1, 21));
    await expect.poll(async () => metric(server, 'hadron_http_tails')).toBe(0);
  });

  test('one that does not read is bounded; when it reads again nothing is missing', async () => {
    const server = await openServer();
    await fill(server, 0, 1);
    const socket = net.connect(server.port, '127.0.0.1');
    socket.pause();
    socket.write(
      'GET /v1/streams/orders/events?from=beginning HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n',
    );
    for (let i = 0; i < 40; i++) await server.publish('orders', { id: `big${i}` }, 'x'.repeat(500_000));
    // What the kernel takes for the client and what we hold for it, and no more.
    expect(await metric(server, 'hadron_http_tail_events_total')).toBeLessThan(30);
    expect(await metric(server, 'hadron_http_tails')).toBe(1);
    let seen = 0;
    socket.setEncoding('latin1').on('data', (text: string) => (seen += text.split('"id":"big').length - 1));
    socket.resume();
    await expect.poll(() => seen, { timeout: 10_000 }).toBe(40);
    socket.destroy();
  });

  test('pipelined listeners get whole answers, one after the other', async () => {
    const server = await openServer();
    await fill(server, 0, 3);
    const get = (more: string) =>
      `GET /v1/streams/orders/events?from=beginning&limit=3 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n${more}\r\n`;
    const answers = await talk(server.port, [get('') + get('') + get('Connection: close\r\n')], 3_000);
    expect(answers.split('HTTP/1.1 200 OK')).toHaveLength(4);
    expect(answers.split('"id":"2"')).toHaveLength(4);
    expect(answers.endsWith('0\r\n\r\n')).toBe(true);
  });

  test('over HTTP/2 as well, many on one connection', async () => {
    const server = await openServer();
    await fill(server, 0, 5);
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    const path = '/v1/streams/orders/events?from=beginning&limit=5';
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const stream = session.request({ ':path': path, accept: 'text/event-stream' });
        let text = '';
        for await (const chunk of stream.setEncoding('utf8')) text += String(chunk);
        return text;
      }),
    );
    for (const text of answers) expect([...text.matchAll(/"id":"(\d)"/g)].map((m) => m[1])).toEqual(numbers(0, 5));
    session.close();
  });

  test('the server stops: listeners are told to come back', async () => {
    const server = await openServer();
    await fill(server, 0, 1);
    const told = listen(`${server.url}/streams/orders/events`, {}, () => false);
    await expect.poll(async () => metric(server, 'hadron_http_tails')).toBe(1);
    await server.stop();
    expect((await told).at(-1)?.retry).toBe('1000');
  });
});

async function metric(server: TestServer, name: string): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1]);
}
