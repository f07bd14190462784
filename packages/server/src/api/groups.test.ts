/** Groups, pull, answers and dead letters over HTTP, against a real server (statements 9, 11; delivery.md D5, D8, D16–D20). */
import { expect, test } from 'vitest';
import { openServer, type TestServer } from './testing/server.ts';

interface Pulled {
  readonly token: string;
  readonly offset: number;
  readonly attempt: number;
  readonly redrive: number;
  readonly lane?: string;
  readonly event: Readonly<Record<string, unknown>>;
}

const MAIL = '/streams/orders/groups/mail';

async function pull(server: TestServer, body: object, path = MAIL): Promise<readonly Pulled[]> {
  const answer = await server.call('POST', `${path}/pull`, body);
  expect(answer).toMatchObject({ status: 200 });
  return (answer.body as { deliveries?: Pulled[] }).deliveries ?? [];
}

const answers = (server: TestServer, items: readonly object[], path = MAIL) =>
  server.call('POST', `${path}/answers`, { items });

async function publish(server: TestServer, ...ids: string[]): Promise<void> {
  for (const id of ids) expect((await server.publish('orders', { id, subject: `s${id}` }, id)).status).toBe(200);
}

test('D8 pull gives a lease; answers say a result for each', async () => {
  const server = await openServer();
  await publish(server, '1', '2', '3');
  const [one, two, three] = await pull(server, { max: 10, settings: { ordering: 'key' } });
  expect(one).toEqual({
    token: expect.any(String),
    partition: 0,
    offset: 0,
    attempt: 1,
    redrive: 0,
    lane: 's1',
    timestampMs: expect.any(Number),
    event: { specversion: '1.0', id: '1', source: '/test', type: 'test', subject: 's1', data_base64: btoa('1') },
  });
  const items = [
    { token: one?.token, verdict: { kind: 'ack' } },
    { token: two?.token, verdict: { kind: 'nack', reason: 'later', delayMs: 0 } },
    { token: three?.token, verdict: { kind: 'extend' } },
    { token: 'nonsense', verdict: { kind: 'ack' } },
  ];
  const { body } = await answers(server, items);
  expect(body).toMatchObject({
    results: [{ ok: true }, { ok: true }, { ok: true }, { ok: false, code: 'TOKEN_INVALID' }],
  });
  const again = await answers(server, [items[0] as object]);
  expect(again.body).toMatchObject({ results: [{ ok: false, code: 'ALREADY_SETTLED', settled: 'acked' }] });
  const [retried] = await pull(server, { max: 1, waitMs: 5_000 });
  expect(retried).toMatchObject({ offset: 1, attempt: 2 });
  const { body: out } = await server.call('GET', `${MAIL}/deliveries`);
  const inFlight = (out as { deliveries?: { offset: number }[] }).deliveries?.toSorted((a, b) => a.offset - b.offset);
  expect(inFlight).toMatchObject([
    { offset: 1, state: 'out', attempt: 2 },
    { offset: 2, state: 'out', attempt: 1 },
  ]);
});

test('D8 a pull waits for the first, and no longer than it says; a client that leaves waits no more', async () => {
  const server = await openServer();
  await publish(server, '1');
  expect(await pull(server, { waitMs: 0, settings: { start: { from: 'latest' } } })).toEqual([]);
  const begin = performance.now();
  expect(await pull(server, { waitMs: 200 })).toEqual([]);
  expect(performance.now() - begin).toBeGreaterThan(190);
  const gone = new AbortController();
  const left = fetch(`${server.url}${MAIL}/pull`, { method: 'POST', body: '{"waitMs":60000}', signal: gone.signal });
  await new Promise((resolve) => setTimeout(resolve, 50));
  gone.abort();
  await expect(left).rejects.toThrow();
  const waiting = pull(server, { waitMs: 5_000 });
  await publish(server, '2');
  expect((await waiting).map(({ event }) => event['id'])).toEqual(['2']);
});

test('D5 a group is made, described, changed, paused, moved, emptied and removed', async () => {
  const server = await openServer();
  await publish(server, '1', '2', '3');
  const made = await server.call('PUT', MAIL, { ordering: 'none', policy: { maxDeliveries: 3 } });
  expect(made).toMatchObject({ status: 200, body: { group: 'mail', settings: { ordering: 'none', window: 1 } } });
  expect((await server.call('PUT', MAIL, { ordering: 'none', policy: { maxDeliveries: 3 } })).status).toBe(200);
  const other = await server.call('PUT', MAIL, { ordering: 'partition' });
  expect(other).toMatchObject({ status: 409, body: { code: 'GROUP_SETTINGS_DIFFER' } });
  expect((await server.call('GET', '/groups')).body).toMatchObject({ groups: [{ stream: 'orders', group: 'mail' }] });
  expect((await server.call('GET', '/streams/orders/groups')).body).toMatchObject({ groups: [{ group: 'mail' }] });
  const changed = await server.call('PATCH', MAIL, { policy: { timeoutMs: 5_000 } });
  expect(changed.body).toMatchObject({ settings: { policy: { timeoutMs: 5_000, maxDeliveries: 3 } } });
  expect((await server.call('POST', `${MAIL}/pause`)).body).toMatchObject({ paused: true });
  expect(await pull(server, { waitMs: 100 })).toEqual([]);
  expect((await server.call('POST', `${MAIL}/resume`)).body).toMatchObject({ paused: false });
  expect(await pull(server, { waitMs: 1_000 })).toHaveLength(3);
  const sought = await server.call('POST', `${MAIL}/seek`, { to: { from: 'offset', offset: 1 }, partition: 0 });
  expect(sought.body).toMatchObject({ partitions: [{ floor: 1 }] });
  expect((await pull(server, { waitMs: 1_000 })).map(({ offset }) => offset)).toEqual([1, 2]);
  expect((await server.call('POST', `${MAIL}/purge`)).body).toMatchObject({ partitions: [{ floor: 3, lag: 0 }] });
  expect((await server.call('DELETE', MAIL)).status).toBe(200);
  expect(await server.call('GET', MAIL)).toMatchObject({ status: 404, body: { code: 'GROUP_NOT_FOUND' } });
});

test('D4 a group begins at offsets that are given, such as those of a Kafka group', async () => {
  const server = await openServer();
  await publish(server, '1', '2', '3');
  const body = { ordering: 'none', startOffsets: [{ partition: 0, offset: 2 }] };
  expect(await server.call('PUT', MAIL, body)).toMatchObject({
    status: 200,
    body: { settings: { ordering: 'none' }, partitions: [{ partition: 0, floor: 2, lag: 1 }] },
  });
  expect((await pull(server, { waitMs: 1_000 })).map(({ offset }) => offset)).toEqual([2]);
  const beyond = await server.call('PUT', '/streams/orders/groups/b', { startOffsets: [{ partition: 0, offset: 9 }] });
  expect(beyond).toMatchObject({ status: 400, body: { code: 'OFFSET_OUT_OF_RANGE' } });
});

test('D19, D20 dead letters are listed, counted, selected, given again, dropped', async () => {
  const server = await openServer();
  await publish(server, '1', '2', '3', '4');
  const settings = { ordering: 'none', policy: { maxDeliveries: 1 } };
  const given = await pull(server, { settings, waitMs: 1_000 });
  expect(given).toHaveLength(4);
  await answers(
    server,
    given.map(({ token }, i) => ({ token, verdict: { kind: i === 3 ? 'term' : 'nack', reason: `bad ${i}` } })),
  );
  const list = async (query = '') => (await server.call('GET', `/streams/orders/dead-letters${query}`)).body;
  const letters = async (query: string) =>
    ((await list(query)) as { deadLetters?: { reason: string; offset: number }[] }).deadLetters ?? [];
  const all = (await letters('')).toSorted((a, b) => a.reason.localeCompare(b.reason));
  expect(all).toMatchObject([
    { from: { stream: 'orders', offset: 0 }, group: 'mail', reason: 'bad 0', attempts: 1, event: { id: '1' } },
    { reason: 'bad 1' },
    { reason: 'bad 2' },
    { reason: 'bad 3' },
  ]);
  expect(await list('?count=true')).toEqual({ count: 4 });
  expect(await list('?group=other')).toEqual({ deadLetters: [] });
  const filter = encodeURIComponent('{"exact":{"subject":"s2"}}');
  expect(await list(`?filter=${filter}`)).toMatchObject({ deadLetters: [{ event: { id: '2' } }] });
  expect(await letters('?limit=2')).toHaveLength(2);
  expect(await letters(`?position=0/${all[2]?.offset}`)).toMatchObject([{ reason: 'bad 2' }]);

  const settle = async (what: string, body: object) =>
    (await server.call('POST', `/streams/orders/dead-letters/${what}`, body)).body;
  expect(await settle('redrive', { dryRun: true })).toEqual({ count: 4 });
  expect(await settle('redrive', { filters: [{ exact: { subject: 's2' } }] })).toEqual({ count: 1 });
  const [again] = await pull(server, { waitMs: 5_000 });
  expect(again).toMatchObject({ offset: 1, attempt: 1, redrive: 1, event: { id: '2' } });
  expect(await settle('drop', { position: { partition: 0, offset: all[0]?.offset } })).toEqual({ count: 1 });
  expect((await server.call('GET', '/streams/elsewhere')).status).toBe(200);
  expect(await settle('redrive', { to: 'elsewhere', group: 'mail', limit: 1 })).toEqual({ count: 1 });
  expect(await settle('redrive', { to: 'elsewhere', group: 'mail' })).toEqual({ count: 1 });
  expect(await list('?count=true')).toEqual({ count: 0 });
  const copied = await (await fetch(`${server.url}/streams/elsewhere/events`)).json();
  expect(copied).toMatchObject([{ id: '3' }, { id: '4' }]);
  expect(server.bugs).toEqual([]);
});

test('what is wrong is named', async () => {
  const server = await openServer();
  await publish(server, '1');
  const cases: [string, string, object | undefined, number, object][] = [
    ['GET', '/streams/none/groups/g', undefined, 404, {}],
    ['PUT', MAIL, { ordering: 'keys' }, 400, { field: 'settings.ordering' }],
    ['PUT', MAIL, { startOffsets: { 0: 1 } }, 400, { field: 'startOffsets' }],
    ['PUT', MAIL, { startOffsets: [{ partition: 0 }] }, 400, { field: 'startOffsets[0].offset' }],
    ['PUT', MAIL, { filters: [{ sql: 'type =' }] }, 400, {}],
    ['POST', `${MAIL}/pull`, { max: 0 }, 400, { field: 'max' }],
    ['POST', `${MAIL}/pull`, { wait: 1 }, 400, { field: 'body.wait' }],
    [
      'POST',
      `${MAIL}/pull`,
      { settings: { start: { from: 'offset', offset: 99 } } },
      400,
      { code: 'OFFSET_OUT_OF_RANGE' },
    ],
    [
      'POST',
      `${MAIL}/answers`,
      { items: [{ token: 'x', verdict: { kind: 'maybe' } }] },
      400,
      { field: 'items[0].verdict.kind' },
    ],
    ['POST', `${MAIL}/answers`, { items: {} }, 400, { field: 'items' }],
    ['POST', `${MAIL}/seek`, { to: { from: 'end' } }, 400, { field: 'to.from' }],
    ['GET', `${MAIL}/deliveries?limit=x`, undefined, 400, { field: 'limit' }],
    ['GET', '/streams/orders/dead-letters?filter={', undefined, 400, { field: 'filter' }],
    ['GET', '/streams/orders/dead-letters?filter={"nope":1}', undefined, 400, { code: 'FILTER_INVALID' }],
    ['GET', '/streams/orders/dead-letters?filter=[5]', undefined, 400, { code: 'FILTER_INVALID' }],
    ['POST', '/streams/orders/dead-letters/redrive', { filters: [{ exact: 5 }] }, 400, { code: 'FILTER_INVALID' }],
    ['POST', '/streams/orders/dead-letters/drop', { filters: 'all' }, 400, { code: 'FILTER_INVALID' }],
    ['GET', '/streams/orders/dead-letters?position=7', undefined, 400, { field: 'position' }],
    ['POST', '/streams/orders/dead-letters/drop', { limit: 0 }, 400, { field: 'limit' }],
    ['POST', '/streams/orders/dead-letters/drop', { to: 'x' }, 400, { field: 'body.to' }],
  ];
  for (const [method, path, body, status, problem] of cases)
    expect(await server.call(method, path, body), `${method} ${path}`).toMatchObject({ status, body: problem });
  expect(server.bugs).toEqual([]);
});
