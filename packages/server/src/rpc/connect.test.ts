/** Foreign clients: Connect's own, over each of its three protocols, against the door on the real port. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { CloudEventSchema, type ConsumeRequestSchema, Health, Streams } from '@hadron/contracts/services';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MemorySession } from './testing/memory-services.ts';
import { RpcServer } from './testing/rpc-server.ts';

const json = (baseUrl: string): Transport => createConnectTransport({ baseUrl, httpVersion: '1.1' });

const TRANSPORTS: Record<string, (baseUrl: string) => Transport> = {
  'gRPC over HTTP/2': (baseUrl) => createGrpcTransport({ baseUrl }),
  'gRPC-Web over HTTP/1.1': (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
  'gRPC-Web over HTTP/2': (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
  'Connect JSON over HTTP/1.1': json,
  'Connect binary over HTTP/1.1': (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: true }),
  'Connect over HTTP/2': (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '2' }),
};
/** HTTP/1.1 cannot carry two streams at once, and gRPC-Web has none. */
const TWO_WAYS = Object.keys(TRANSPORTS).filter((name) => name.endsWith('HTTP/2') && !name.startsWith('gRPC-Web'));

const event = (id: string) =>
  create(CloudEventSchema, {
    id,
    source: '/test',
    specVersion: '1.0',
    type: 'tested',
    attributes: { n: { attr: { case: 'ceInteger', value: 5 } } },
    data: { case: 'textData', value: 'x' },
  });

let server: RpcServer;
let abort: AbortController;
beforeEach(async () => {
  server = await new RpcServer().listen();
  abort = new AbortController();
});
afterEach(async () => {
  abort.abort();
  await server.close();
  expect(server.errors).toEqual([]);
});

describe.each(Object.entries(TRANSPORTS))('%s', (name, transportOf) => {
  const clientOf = (): Client<typeof Streams> => createClient(Streams, transportOf(`http://${server.authority}`));

  test('unary calls, and errors with their code', async () => {
    const client = clientOf();
    expect(await client.info({ stream: 'orders' })).toMatchObject({
      name: 'orders',
      topicId: 'id-orders',
      partitions: 3,
    });
    expect(await client.newProducer({})).toMatchObject({ producerId: 2n ** 40n, producerEpoch: 0 });
    const error = await client.info({ stream: 'none' }).catch((e: unknown) => ConnectError.from(e));
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: 'there is no stream none' });
    expect((error as ConnectError).metadata.get('hadron-code')).toBe('TOPIC_NOT_FOUND');
    const health = createClient(Health, transportOf(`http://${server.authority}`));
    expect(await health.check({})).toMatchObject({ status: 1 });
  });

  test('a tail, and its end', async () => {
    const got: bigint[] = [];
    const cursors: string[] = [];
    const tail = (async () => {
      const responses = clientOf().tail(
        { stream: 'orders', from: { case: 'timeMs', value: 5n } },
        { signal: abort.signal },
      );
      for await (const { records, cursor } of responses) {
        cursors.push(cursor);
        for (const record of records) got.push(record.offset);
        if (got.length === 3) abort.abort();
      }
    })();
    tail.catch(() => undefined);
    while (server.events.tails.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const [source] = server.events.tails;
    expect(server.events.pages).toEqual([{ from: { timeMs: 5 }, partition: undefined }]);
    expect(source?.from).toEqual({ from: { cursor: 'begin' }, partition: undefined });
    for (const offset of [1, 2, 3]) {
      source?.listener.records([{ partition: 0, offset, record: { bytes: Buffer.from('r'), timestampMs: 1 } }], 'c');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await expect(tail).rejects.toMatchObject({ code: Code.Canceled });
    expect(got).toEqual([1n, 2n, 3n]);
    expect(cursors).toEqual(['begin', 'c', 'c', 'c']);
    for (let i = 0; i < 200 && source?.closed !== true; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(source?.closed).toBe(true);
  });

  if (!TWO_WAYS.includes(name)) return;

  test('a stream of publishes, and a session', async () => {
    const client = clientOf();
    async function* batches() {
      yield {
        sequence: 1n,
        stream: 'orders',
        batch: { case: 'events' as const, value: { events: [event('a'), event('b')] } },
      };
      yield { sequence: 2n, partition: 1, batch: { case: 'recordBatch' as const, value: Buffer.from('batch') } };
    }
    const responses = [];
    for await (const response of client.publish(batches())) responses.push(response);
    expect(responses).toMatchObject([
      { sequence: 1n, results: [{ offset: 0n }, { offset: 1n }] },
      { sequence: 2n, partition: 1, baseOffset: 2n },
    ]);
    expect(server.events.published[0]).toMatchObject({ id: 'a', types: new Map([['n', 'Integer']]) });

    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => (finish = resolve));
    async function* requests(): AsyncGenerator<MessageInitShape<typeof ConsumeRequestSchema>> {
      yield { action: { case: 'open' as const, value: { stream: 'orders', group: 'g', credit: 3 } } };
      yield {
        action: {
          case: 'answers' as const,
          value: { sequence: 9n, items: [{ token: 'token-0', verdict: 1, reason: 'no' }] },
        },
      };
      await done;
    }
    const kinds: unknown[] = [];
    for await (const { event: e } of client.consume(requests(), { signal: abort.signal })) {
      kinds.push(e.case);
      if (e.case === 'opened') server.deliveries.sessions[0]?.handOut(1);
      if (kinds.length === 3) finish();
    }
    expect(kinds[0]).toBe('opened');
    expect([...kinds].sort()).toEqual(['answered', 'deliveries', 'opened']);
    const session = server.deliveries.sessions[0] as MemorySession;
    expect(session.answers).toEqual([
      { token: 'token-0', verdict: { kind: 'nack', reason: 'no', delayMs: undefined } },
    ]);
    expect(session.ends).toEqual(['close']);
  });

  test('D14: a cancelled session is lost', async () => {
    async function* requests() {
      yield { action: { case: 'open' as const, value: { stream: 'orders', group: 'g', credit: 3 } } };
      await new Promise(() => undefined);
    }
    const consume = clientOf().consume(requests(), { signal: abort.signal });
    await expect(
      (async () => {
        for await (const { event: e } of consume) {
          expect(e.case).toBe('opened');
          abort.abort();
        }
      })(),
    ).rejects.toMatchObject({ code: Code.Canceled });
    const session = server.deliveries.sessions[0] as MemorySession;
    for (let i = 0; i < 200 && session.ends.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(session.ends).toEqual(['lost']);
  });
});

describe('without a client library', () => {
  test('curl: JSON in, JSON out', async () => {
    const response = await fetch(`http://${server.authority}/hadron.v1.Streams/Info`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"stream":"orders"}',
    });
    expect([response.status, await response.json()]).toEqual([
      200,
      { name: 'orders', topicId: 'id-orders', partitions: 3 },
    ]);
    const refused = await fetch(`http://${server.authority}/hadron.v1.Streams/Info`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"stream":"none"}',
    });
    expect([refused.status, await refused.json()]).toEqual([
      404,
      { code: 'not_found', message: 'there is no stream none' },
    ]);
    const unknown = await fetch(`http://${server.authority}/hadron.v1.Streams/Nothing`, { method: 'POST' });
    expect(unknown.status).toBe(404);
  });

  test('a browser may ask before it calls', async () => {
    const response = await fetch(`http://${server.authority}/hadron.v1.Streams/Info`, {
      method: 'OPTIONS',
      headers: { 'access-control-request-headers': 'x-grpc-web, content-type' },
    });
    expect([response.status, response.headers.get('access-control-allow-methods')]).toEqual([204, 'POST']);
    expect(response.headers.get('access-control-allow-headers')).toBe('x-grpc-web, content-type');
  });

  test('bytes that are no message are refused', async () => {
    for (const type of ['application/proto', 'application/grpc-web', 'application/connect+proto', 'application/json']) {
      for (const path of ['Info', 'Tail', 'Consume', 'Publish']) {
        const response = await fetch(`http://${server.authority}/hadron.v1.Streams/${path}`, {
          method: 'POST',
          headers: { 'content-type': type },
          body: Buffer.from('\u0000\u0001garbage that is long enough to be a frame header'),
        });
        const body = Buffer.from(await response.arrayBuffer()).toString();
        // Refused as this protocol says it: by status, in the trailers or in the end of the stream.
        const said = response.headers.get('grpc-status') ?? /grpc-status: ?(\d+)|"code":"(\w+)"/.exec(body)?.[0];
        expect(response.status >= 400 || (said !== undefined && said !== '0'), `${type} ${path}`).toBe(true);
      }
    }
  });
});
