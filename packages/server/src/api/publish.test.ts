/** Statement 4: events in over HTTP, against a real server. */
import { CloudEvent as SdkEvent, type CloudEventV1, HTTP } from 'cloudevents';
import { expect, test } from 'vitest';
import WebSocket from 'ws';
import { openServer, type TestServer } from './testing/server.ts';

const JSON_EVENT = 'application/cloudevents+json';
const JSON_BATCH = 'application/cloudevents-batch+json';

function post(server: TestServer, body: string | Uint8Array, type: string, query = ''): Promise<Response> {
  const headers = { 'content-type': type };
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : new Uint8Array(body);
  return fetch(`${server.url}/streams/orders/events${query}`, { method: 'POST', headers, body: bytes });
}

async function stored(server: TestServer, stream = 'orders'): Promise<Record<string, unknown>[]> {
  const response = await fetch(`${server.url}/streams/${stream}/events?limit=1000`);
  return (await response.json()) as Record<string, unknown>[];
}

const sdkEvent = (id: string) => ({ specversion: '1.0', id, source: '/sdk', type: 't' });
const event = (id: string, more: object = {}) => ({ specversion: '1.0', id, source: '/test', type: 'test', ...more });

test('§4.2 binary mode: attributes in headers, the body as it is; the answer tells where it lies', async () => {
  const server = await openServer();
  const first = await server.publish('orders', { id: '1', subject: 'Euro%20%E2%82%AC' }, '{"total": 12.50}');
  expect([first.status, await first.json()]).toEqual([
    200,
    { results: [{ id: '1', source: '/test', partition: 0, offset: 0 }] },
  ]);
  const second = await server.publish('orders', { id: '2', datacontenttype: 'application/json' }, '{"total": 12.50}');
  expect(await second.json()).toMatchObject({ results: [{ offset: 1 }] });
  expect(await stored(server)).toEqual([
    event('1', { subject: 'Euro €', data_base64: btoa('{"total": 12.50}'), hadronpartition: 0, hadronoffset: '0' }),
    event('2', { datacontenttype: 'application/json', data: { total: 12.5 }, hadronpartition: 0, hadronoffset: '1' }),
  ]);
});

test('§4.1 structured mode and batches, JSON and protobuf; media types in any case, with parameters', async () => {
  const server = await openServer();
  const one = await post(server, JSON.stringify(event('1', { data: 'hi' })), `${JSON_EVENT}; charset=UTF-8`);
  expect([one.status, await one.json()]).toMatchObject([200, { results: [{ id: '1', offset: 0 }] }]);
  const two = await post(server, JSON.stringify([event('2'), event('3')]), 'Application/CloudEvents-Batch+JSON');
  expect(await two.json()).toMatchObject({
    results: [
      { id: '2', offset: 1 },
      { id: '3', offset: 2 },
    ],
  });
  const { writeProtoBatch, writeProtoEvent } = await import('@hadron/contracts/protobuf');
  const proto = (id: string) => ({ id, source: '/test', type: 'test', attributes: new Map(), data: undefined });
  const four = await post(server, writeProtoEvent(proto('4')), 'application/cloudevents+protobuf');
  expect(await four.json()).toMatchObject({ results: [{ id: '4', offset: 3 }] });
  const five = await post(server, writeProtoBatch([proto('5')]), 'application/cloudevents-batch+protobuf');
  expect(await five.json()).toMatchObject({ results: [{ id: '5', offset: 4 }] });
  expect((await stored(server)).map(({ id }) => id)).toEqual(['1', '2', '3', '4', '5']);
  expect(await (await post(server, '[]', JSON_BATCH)).json()).toEqual({ results: [] });
});

test('§5.5.2 a batch is answered event by event; atomic: one invalid event refuses all', async () => {
  const server = await openServer();
  const batch = JSON.stringify([event('1'), { ...event('2'), time: 'yesterday' }, event('3')]);
  const answer = await post(server, batch, JSON_BATCH);
  expect([answer.status, await answer.json()]).toMatchObject([
    200,
    { results: [{ id: '1', offset: 0 }, { error: { code: 'EVENT_INVALID', field: 'time' } }, { id: '3', offset: 1 }] },
  ]);
  const atomic = await post(server, batch, JSON_BATCH, '?atomic=true');
  expect([atomic.status, await atomic.json()]).toMatchObject([400, { code: 'EVENT_INVALID', field: '[1].time' }]);
  expect((await stored(server)).map(({ id }) => id)).toEqual(['1', '3']);
});

test('what is wrong is named: the header, the member, the format, the parameter', async () => {
  const server = await openServer();
  const cases: [Promise<Response>, number, object][] = [
    [server.publish('orders', {}), 400, { code: 'EVENT_INVALID', field: 'ce-id' }],
    [server.publish('orders', { id: '1', time: 'now' }), 400, { code: 'EVENT_INVALID', field: 'ce-time' }],
    [post(server, '{"id":1}', JSON_EVENT), 400, { code: 'EVENT_INVALID', field: 'id' }],
    [post(server, '{', JSON_EVENT), 400, { code: 'EVENT_INVALID' }],
    [post(server, 'x', 'application/cloudevents+avro'), 415, { code: 'MEDIA_TYPE_UNSUPPORTED' }],
    [post(server, '\u0000', 'application/cloudevents+protobuf'), 400, {}],
    [post(server, '[]', JSON_BATCH, '?atomic=maybe'), 400, { code: 'REQUEST_INVALID', field: 'atomic' }],
    [post(server, '[]', JSON_BATCH, '?partition=-1'), 400, { code: 'REQUEST_INVALID', field: 'partition' }],
    [server.publish('a%2Fb', { id: '1' }), 400, { code: 'TOPIC_NAME_INVALID' }],
  ];
  for (const [answer, status, problem] of cases) {
    const response = await answer;
    expect([response.status, await response.json()]).toMatchObject([status, problem]);
  }
  expect(server.bugs).toEqual([]);
});

test('an event beyond the limit of its stream is 413, and 64 KiB always go', async () => {
  const server = await openServer();
  const large = await server.publish('orders', { id: '1' }, 'x'.repeat(3_000_000));
  expect([large.status, await large.json()]).toMatchObject([413, { code: 'EVENT_TOO_LARGE' }]);
  expect((await server.publish('orders', { id: '2', note: 'x'.repeat(60_000) }, 'x')).status).toBe(200);
});

test('an unknown stream is made where that is on, else 404', async () => {
  const server = await openServer(['auto.create.topics.enable=false']);
  const answer = await server.publish('orders', { id: '1' });
  expect([answer.status, await answer.json()]).toMatchObject([404, { code: 'TOPIC_NOT_FOUND' }]);
});

test('the official SDK publishes and reads back what it sent', async () => {
  const server = await openServer();
  const sent: CloudEventV1<unknown>[] = [
    { ...sdkEvent('a'), data: { n: 1 }, subject: 's', custom: 'x', time: '2026-11-21T10:00:00.000Z' },
    { ...sdkEvent('b'), datacontenttype: 'text/plain', data: 'text' },
  ].map((init) => new SdkEvent<unknown>(init, false));
  for (const [i, sdk] of sent.entries()) {
    const { headers, body } = i === 0 ? HTTP.binary(sdk) : HTTP.structured(sdk);
    const init = { method: 'POST', headers: headers as Record<string, string>, body: body as string };
    expect((await fetch(`${server.url}/streams/orders/events`, init)).status).toBe(200);
  }
  for (const [i, got] of (await stored(server)).entries()) {
    const { hadronpartition: _, hadronoffset: __, ...plain } = got;
    const read = HTTP.toEvent({ headers: { 'content-type': JSON_EVENT }, body: JSON.stringify(plain) });
    // In binary mode it says application/json where nothing was said (cloudevents.md §12).
    const expected = { ...sent[i] };
    if (i === 0) delete expected.datacontenttype;
    expect(JSON.parse(JSON.stringify(read))).toMatchObject(JSON.parse(JSON.stringify(expected)) as object);
  }
});

test('§6.2 events over a WebSocket: one a message, each answered in order', async () => {
  const server = await openServer();
  const url = `${server.url.replace('http', 'ws')}/streams/orders/events`;
  const without = new WebSocket(url);
  const refused = await new Promise((resolve) => without.on('unexpected-response', (_, r) => resolve(r.statusCode)));
  expect(refused).toBe(400);
  const socket = new WebSocket(url, ['cloudevents.avro', 'cloudevents.json']);
  const answers: Record<string, unknown>[] = [];
  socket.on('message', (data: Buffer) => answers.push(JSON.parse(data.toString()) as Record<string, unknown>));
  await new Promise((resolve) => socket.on('open', resolve));
  expect(socket.protocol).toBe('cloudevents.json');
  for (let i = 0; i < 2_500; i++) socket.send(JSON.stringify(event(`e${i}`, i === 7 ? { time: 'never' } : {})));
  await expect.poll(() => answers.length, { timeout: 10_000 }).toBe(2_500);
  expect(answers[0]).toMatchObject({ type: 'rs.hadron.published.v1', data: { id: 'e0', partition: 0, offset: 0 } });
  expect(answers[7]).toMatchObject({
    type: 'rs.hadron.refused.v1',
    data: { error: { code: 'EVENT_INVALID', field: 'time' } },
  });
  expect(answers.map(({ id }) => Number(id))).toEqual(answers.map((_, i) => i));
  socket.close();
});
