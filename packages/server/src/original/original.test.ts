/** What the original's client does on the wire (hadron.md §4.2, §4.3, §4.5, §4.7), row by row, against the door. */
import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { HadronError } from '@hadron/base';
import { cloudEvent, RecordWriter, writeEventRecord } from '@hadron/contracts/events';
import { original as pb } from '@hadron/contracts/services';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GrpcClient, TestCall } from '../rpc/testing/grpc-client.ts';
import type { MemorySession } from '../rpc/testing/memory-services.ts';
import { RpcServer } from '../rpc/testing/rpc-server.ts';
import { Status } from '../rpc/index.ts';
import { originalRoutes } from './controller.ts';

/** Row 11: what the client sends, in its order. */
const HEADERS = { authorization: 'bearer ~any!visible"ASCII', te: 'trailers', 'user-agent': 'tonic/0.5.2' };

const PATH = '/stream.StreamController/';

let server: RpcServer;
let client: GrpcClient;
let partitions = new Map<string, number>();
let tell: () => void;
beforeEach(async () => {
  partitions = new Map([['orders', 3]]);
  const watchers = new Set<() => void>();
  tell = () => {
    for (const fn of watchers) fn();
  };
  server = await new RpcServer({}, (services) =>
    originalRoutes({
      ...services,
      find(name) {
        const count = partitions.get(name);
        return count === undefined ? undefined : { name, partitions: count };
      },
      watch(fn) {
        watchers.add(fn);
        return () => watchers.delete(fn);
      },
      ports: undefined,
      advertisedHost: undefined,
    }),
  ).listen();
  client = server.client();
});
afterEach(async () => {
  await server.close();
  expect(server.errors).toEqual([]);
});

const call = (method: string, authority = 'orders-1.localhost:7000', headers: object = HEADERS): TestCall =>
  client.call(`${PATH}${method}`, { ...headers, ':authority': authority });

const framed = (bytes: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
};
type StartingPoint = NonNullable<MessageInitShape<typeof pb.StreamSubscribeSetupSchema>['startingPoint']>;
type Action = MessageInitShape<typeof pb.StreamSubscribeRequestSchema>['action'];
const say = (to: TestCall, action?: Action): void => {
  const message = create(pb.StreamSubscribeRequestSchema, action === undefined ? {} : { action });
  to.stream.write(framed(toBinary(pb.StreamSubscribeRequestSchema, message)));
};
const setup = (to: TestCall, rest: MessageInitShape<typeof pb.StreamSubscribeSetupSchema> = {}): void =>
  say(to, { case: 'setup', value: { groupName: 'g', durable: true, maxBatchSize: 3, ...rest } });
const ack: Action = { case: 'ack', value: {} };
const nack: Action = { case: 'nack', value: 'poison' };
const delivery = (bytes: Uint8Array | undefined) => fromBinary(pb.StreamSubscribeResponseSchema, bytes as Uint8Array);
const publishRequest = (...ids: string[]): Buffer =>
  framed(
    toBinary(
      pb.StreamPublishRequestSchema,
      create(pb.StreamPublishRequestSchema, {
        batch: ids.map((id) => ({ id, source: 's', specversion: '1.0', type: 't', optattrs: { subject: 'x' } })),
        fsync: true,
      }),
    ),
  );
const metadata = (bytes: Uint8Array | undefined) =>
  fromBinary(pb.MetadataResponseSchema, bytes as Uint8Array).partitions;

/** A record without its length. */
function record(id: string): Buffer {
  const out = new RecordWriter();
  writeEventRecord(out, cloudEvent({ id, source: 's', type: 't', subject: 'x', data: 'hello' }), 0, 0);
  const bytes = Buffer.from(out.view());
  return bytes.subarray(bytes.findIndex((byte) => byte < 0x80) + 1);
}

async function subscribed(
  rest: MessageInitShape<typeof pb.StreamSubscribeSetupSchema> = {},
): Promise<{ to: TestCall; engine: MemorySession }> {
  const to = call('StreamSubscribe');
  setup(to, rest);
  const before = server.deliveries.sessions.length;
  await until(() => server.deliveries.sessions.length > before);
  await sleep(2);
  return { to, engine: server.deliveries.sessions.at(-1) as MemorySession };
}
const until = async (condition: () => boolean): Promise<void> => {
  for (let i = 0; i < 300 && !condition(); i++) await sleep(2);
  expect(condition()).toBe(true);
};
const idsOf = (bytes: Uint8Array | undefined): bigint[] =>
  delivery(bytes).batch.map((event) => BigInt(event.optattrs['hadronoffset'] as string));

describe('§4.7 what the original client was seen to do', () => {
  test('row 1: prior knowledge, and :scheme https on a plain connection', async () => {
    const stream = client.session.request({
      ':method': 'POST',
      ':path': `${PATH}Metadata`,
      ':scheme': 'https',
      ':authority': 'orders.localhost:7000',
      'content-type': 'application/grpc',
      ...HEADERS,
    });
    const headers = await new Promise<object>((resolve) => stream.once('response', resolve));
    expect(headers).toMatchObject({ ':status': 200 });
    expect(headers).not.toHaveProperty('grpc-status');
  });

  test('row 2: response headers of a subscription come before any delivery, and before its setup', async () => {
    const to = call('StreamSubscribe');
    expect(await to.headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc+proto' });
    expect(to.messages).toEqual([]);
  });

  test('row 3: Metadata is refused before headers only; it gives the full list at once and at each change, and never ends', async () => {
    const refused = call('Metadata', 'orders.localhost', { te: 'trailers' });
    expect(await refused.ended).toMatchObject({ status: Status.UNAUTHENTICATED, trailersOnly: true });
    const unknown = call('Metadata', '127.0.0.1:7000');
    expect(await unknown.ended).toMatchObject({
      status: Status.NOT_FOUND,
      code: 'TOPIC_NOT_FOUND',
      trailersOnly: true,
    });

    const to = call('Metadata', 'orders.localhost:7000');
    to.stream.end(framed(Buffer.of()));
    const expected = (count: number) =>
      Array.from({ length: count }, (_, partition) => ({ partition, internal: `orders-${partition}.localhost:7000` }));
    expect(metadata((await to.received(1))[0])).toMatchObject(expected(3));
    tell();
    partitions.set('orders', 4);
    tell();
    expect(metadata((await to.received(2))[1])).toMatchObject(expected(4));
    partitions.delete('orders');
    tell();
    expect(metadata((await to.received(3))[2])).toEqual([]);
    let over = false;
    void to.ended.then(() => (over = true));
    server.door.stop();
    await sleep(30);
    expect(over).toBe(false);
    expect(to.messages).toHaveLength(3);
  });

  test('row 4: subscriptions that fail early or late end with a status; the next setup works', async () => {
    server.deliveries.refusal = new HadronError('GROUP_SETTINGS_DIFFER', 'durable is false, not true');
    const early = call('StreamSubscribe');
    setup(early);
    expect(await early.ended).toMatchObject({ status: Status.FAILED_PRECONDITION, trailersOnly: false });
    server.deliveries.refusal = undefined;
    const late = await subscribed();
    late.engine.handler.ended(new HadronError('STORAGE_FAILED', 'the disk failed'));
    expect(await late.to.ended).toMatchObject({ status: Status.UNAVAILABLE });
    await subscribed();
  });

  test('row 5: nothing in a request names the partition: the address does', async () => {
    for (const partition of [0, 1, 2]) {
      const to = call('StreamSubscribe', `orders-${partition}.localhost:7000`);
      setup(to);
      await until(() => server.deliveries.sessions.length === partition + 1);
      expect(server.deliveries.sessions[partition]?.request).toMatchObject({ stream: 'orders', partition });
    }
    const whole = call('StreamSubscribe', 'orders.localhost:7000');
    expect(await whole.ended).toMatchObject({ status: Status.INVALID_ARGUMENT, trailersOnly: true });
  });

  test('row 6: a refused partition does not hinder the others', async () => {
    const refused = call('StreamPublish', 'orders-9.localhost:7000');
    refused.stream.end(publishRequest('a'));
    expect(await refused.ended).toMatchObject({ status: Status.NOT_FOUND });
    const to = call('StreamPublish', 'orders-2.localhost:7000');
    to.stream.end(publishRequest('a'));
    expect(await to.ended).toMatchObject({ status: 0 });
  });

  test('row 7: an acknowledgement on a call that is over is ignored', async () => {
    const { to, engine } = await subscribed();
    engine.handOut(1, record('a'));
    await to.received(1);
    engine.handler.ended(new HadronError('TOPIC_NOT_FOUND', 'the stream is gone'));
    say(to, ack);
    expect(await to.ended).toMatchObject({ status: Status.NOT_FOUND });
    expect(engine.answers).toEqual([]);
  });

  test('row 8: one delivery at a time', async () => {
    const { to, engine } = await subscribed();
    expect(engine.available).toBe(3);
    engine.handOut(2, record('a'));
    await to.received(1);
    // While a batch is out nothing more may come.
    expect(engine.available).toBe(0);
    await sleep(20);
    expect(to.messages).toHaveLength(1);
    say(to, ack);
    await until(() => engine.available === 3);
    expect(engine.answers).toEqual(['token-0', 'token-1'].map((token) => ({ token, verdict: { kind: 'ack' } })));
    engine.handOut(5, record('b'));
    expect(idsOf((await to.received(2))[1])).toEqual([2n, 3n, 4n]);
  });

  test('row 9: a unary request that ends with an empty DATA frame', async () => {
    const to = call('StreamPublish');
    to.stream.write(publishRequest('a', 'b'));
    await sleep(20);
    to.stream.end(Buffer.alloc(0));
    expect(await to.ended).toMatchObject({ status: 0 });
    expect(fromBinary(pb.StreamPublishResponseSchema, to.messages[0] as Buffer).offset).toBe(1n);
  });

  test('row 10: presence of the starting point decides; offset 0 is one', async () => {
    const start = async (startingPoint: StartingPoint) =>
      (await subscribed({ startingPoint })).engine.request.defaults?.start;
    expect(await start({ case: 'offset', value: 0n })).toEqual({ from: 'offset', offset: 0, beyondEnd: 'latest' });
    expect(await start({ case: 'beginning', value: {} })).toEqual({ from: 'beginning' });
    expect(await start({ case: 'latest', value: {} })).toEqual({ from: 'latest' });
    expect(await start({ case: undefined })).toEqual({ from: 'latest' });
  });

  test('row 11: any visible ASCII is a token, however bearer is spelled', async () => {
    for (const authorization of ['bearer x', 'Bearer a.b.c', 'BEARER ~!#']) {
      const to = call('StreamPublish', 'orders-0.x', { ...HEADERS, authorization });
      to.stream.end(publishRequest('a'));
      expect(await to.ended).toMatchObject({ status: 0 });
    }
  });

  test('row 12: the partition is the client’s choice, whatever the key says', async () => {
    const seen: unknown[] = [];
    const { publish } = server.events;
    server.events.publish = function (stream, events, options, done) {
      seen.push([stream, events.map((e) => e.id), options]);
      publish.call(this, stream, events, options, done);
    };
    // SeaHash of (id, source) modulo three: e1 … e8 of source s.
    for (const [i, partition] of [0, 2, 1, 0, 2, 1, 1, 0].entries()) {
      const to = call('StreamPublish', `orders-${partition}.localhost:7000`);
      to.stream.end(publishRequest(`e${i + 1}`));
      expect(await to.ended).toMatchObject({ status: 0 });
      expect(seen.at(-1)).toEqual(['orders', [`e${i + 1}`], { atomic: true, partition }]);
    }
  });

  test.each(['Metadata', 'StreamPublish', 'StreamSubscribe', 'PipelineSubscribe'])(
    'row 13: a user without a token is UNAUTHENTICATED, trailers only (%s)',
    async (method) => {
      for (const authorization of ['basic dXNlcjpwYXNz', 'bearer ', 'bearer']) {
        const to = call(method, 'orders-0.x', { ...HEADERS, authorization });
        expect(await to.ended).toMatchObject({ status: Status.UNAUTHENTICATED, trailersOnly: true });
      }
    },
  );
});

describe('§4.2 the subscription', () => {
  test('what a delivery holds', async () => {
    const { to, engine } = await subscribed();
    engine.handOut(2, record('a'), { partition: 1 });
    const got = delivery((await to.received(1))[0]);
    expect(got.lastIncludedOffset).toBe(1n);
    expect(got.batch).toHaveLength(2);
    expect(got.batch[1]).toMatchObject({
      id: 'a',
      source: 's',
      type: 't',
      specversion: '1.0',
      optattrs: { subject: 'x', hadronpartition: '1', hadronoffset: '1' },
    });
    expect(Buffer.from(got.batch[1]?.data ?? []).toString()).toBe('"hello"');
  });

  test('D6, D11, D18: what its groups are', async () => {
    const { engine } = await subscribed({ groupName: 'mail', durable: false });
    expect(engine.request).toMatchObject({
      group: 'mail',
      settings: { durable: false },
      defaults: { ordering: 'partition', policy: { maxDeliveries: 0 } },
      partition: 1,
    });
  });

  test('S14: a start that is out of range is the latest', async () => {
    setup(call('StreamSubscribe'), { startingPoint: { case: 'offset', value: 99n } });
    await until(() => server.deliveries.sessions.length === 1);
    const [engine] = server.deliveries.sessions;
    expect(engine?.request.defaults?.start).toEqual({ from: 'offset', offset: 99, beyondEnd: 'latest' });
  });

  test.each<[string, (to: TestCall) => void, string]>([
    ['no group', (to) => setup(to, { groupName: '' }), 'group_name'],
    ['a batch of none', (to) => setup(to, { maxBatchSize: 0 }), 'max_batch_size'],
    ['an ack first', (to) => say(to, ack), 'setup'],
    ['nothing first', (to) => say(to), 'setup'],
  ])('%s: INVALID_ARGUMENT', async (_what, act, field) => {
    const to = call('StreamSubscribe');
    act(to);
    expect(await to.ended).toMatchObject({ status: Status.INVALID_ARGUMENT, code: 'REQUEST_INVALID', field });
  });

  test('a second setup, and an answer while nothing is out, are ignored', async () => {
    const { to, engine } = await subscribed();
    setup(to);
    say(to, ack);
    say(to, nack);
    await sleep(20);
    expect([engine.answers, server.deliveries.sessions.length]).toEqual([[], 1]);
    engine.handOut(1, record('a'));
    expect(await to.received(1)).toHaveLength(1);
  });

  test.each<[string, Action | undefined, string]>([
    ['a nack', nack, 'poison'],
    ['a reply that is neither', undefined, 'neither ack nor nack'],
  ])('§16.4: after %s the events of the batch come singly', async (_what, action, reason) => {
    const { to, engine } = await subscribed();
    engine.handOut(3, record('a'));
    await to.received(1);
    say(to, action);
    await until(() => engine.answers.length === 1);
    expect(engine.answers).toEqual([{ token: 'token-0', verdict: { kind: 'nack', reason } }]);
    engine.handler.withdrawn(['token-1', 'token-2']);
    for (let i = 0; i < 3; i++) {
      await until(() => engine.available === 1);
      engine.handOut(5, record('a'), { attempt: i === 0 ? 2 : 1 });
      expect(delivery((await to.received(2 + i))[1 + i]).batch).toHaveLength(1);
      say(to, ack);
    }
    await until(() => engine.available === 3);
  });

  test('an event that has failed before comes alone, also to a member that knows nothing of it; what stands behind it begins its time anew', async () => {
    const { to, engine } = await subscribed();
    const { handler } = engine;
    const base = { partition: 1, redrive: 0, lane: undefined, record: { bytes: record('a'), timestampMs: 1 } };
    handler.deliver([
      { ...base, token: 'a', offset: 0, attempt: 2 },
      { ...base, token: 'b', offset: 1, attempt: 1 },
      { ...base, token: 'c', offset: 2, attempt: 1 },
    ]);
    expect(idsOf((await to.received(1))[0])).toEqual([0n]);
    handler.withdrawn(['c']);
    say(to, ack);
    expect(idsOf((await to.received(2))[1])).toEqual([1n]);
    expect(engine.answers).toEqual([
      { token: 'a', verdict: { kind: 'ack' } },
      { token: 'b', verdict: { kind: 'extend' } },
    ]);
  });

  test('S10: closing the call while a delivery is out fails it; without one it is a clean end', async () => {
    const idle = await subscribed();
    idle.to.finish();
    expect(await idle.to.ended).toMatchObject({ status: 0 });
    expect(idle.engine.ends).toEqual(['close']);
    for (const end of [(to: TestCall) => to.finish(), (to: TestCall) => to.stream.close(8)]) {
      const { to, engine } = await subscribed();
      engine.handOut(1, record('a'));
      await to.received(1);
      end(to);
      await until(() => engine.ends.length > 0);
      expect(engine.ends).toEqual(['lost']);
    }
    const stopped = await subscribed();
    stopped.engine.handOut(1, record('a'));
    await stopped.to.received(1);
    server.door.stop();
    await stopped.to.ended;
    expect(stopped.engine.ends).toEqual(['close']);
  });
});

describe('the other methods', () => {
  test('an empty batch, a bad event', async () => {
    for (const [bytes, code] of [
      [publishRequest(), 'REQUEST_INVALID'],
      [
        framed(toBinary(pb.StreamPublishRequestSchema, create(pb.StreamPublishRequestSchema, { batch: [{}] }))),
        'EVENT_INVALID',
      ],
    ] as const) {
      const to = call('StreamPublish');
      to.stream.end(bytes);
      expect(await to.ended).toMatchObject({ status: Status.INVALID_ARGUMENT, code });
    }
    expect(server.events.published).toEqual([]);
  });

  test('P6: a pipeline is NOT_FOUND while there are none', async () => {
    expect(await call('PipelineSubscribe').ended).toMatchObject({ status: Status.NOT_FOUND, trailersOnly: true });
  });
});
