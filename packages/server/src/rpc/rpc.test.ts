import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { ERRORS, type ErrorCode, HadronError } from '@hadron/base';
import { cloudEvent } from '@hadron/contracts/events';
import {
  type ConsumeRequest,
  decodeConsumeResponse,
  decodeInfoResponse,
  decodeNewProducerResponse,
  decodePublishResponse,
  decodeTailResponse,
  encodeConsumeRequest,
  encodeInfoRequest,
  encodePublishRequest,
  encodeTailRequest,
  type PublishRequest,
  writeProtoEvent,
} from '@hadron/contracts/protobuf';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { MessageFramer } from './framer.ts';
import { encodeMessage, GRPC_STATUS, parseTimeout, Status, trailersOf } from './status.ts';
import { frame, GrpcClient, type TestCall } from './testing/grpc-client.ts';
import type { MemorySession } from './testing/memory-services.ts';
import { RpcServer } from './testing/rpc-server.ts';

const servers: RpcServer[] = [];
async function start(options: ConstructorParameters<typeof RpcServer>[0] = {}): Promise<RpcServer> {
  const server = await new RpcServer(options).listen();
  servers.push(server);
  return server;
}
afterEach(async () => {
  for (const server of servers.splice(0)) {
    await server.close();
    expect(server.errors).toEqual([]);
  }
});

const PUBLISH = '/hadron.v1.Streams/Publish';
const CONSUME = '/hadron.v1.Streams/Consume';
const TAIL = '/hadron.v1.Streams/Tail';
const INFO = '/hadron.v1.Streams/Info';

const event = (id: string, data?: string): Uint8Array =>
  writeProtoEvent(cloudEvent({ id, source: '/test', type: 'tested', ...(data === undefined ? {} : { data }) }));
const request = (sequence: number, rest: Partial<PublishRequest> = {}): PublishRequest => ({
  sequence,
  stream: 'orders',
  events: rest.recordBatch === undefined ? [event(String(sequence))] : undefined,
  recordBatch: undefined,
  partition: undefined,
  atomic: false,
  ...rest,
});
const until = async (condition: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(4);
  expect(condition()).toBe(true);
};

describe('status', () => {
  test('every code of the table has a status, and is told with it', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      const trailers = trailersOf(new HadronError(code, 'why €', { field: 'a b' }));
      expect(trailers).toEqual({
        'grpc-status': String(GRPC_STATUS[code]),
        'grpc-message': 'why %E2%82%AC',
        'hadron-code': code,
        'hadron-field': 'a b',
      });
    }
  });

  test('grpc-message: printable ASCII that decodes to the text', () => {
    expect(encodeMessage('100%, "a"/b~')).toBe('100%25, "a"/b~');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const encoded = encodeMessage(text);
        expect(encoded).toMatch(/^[ -~]*$/);
        expect(decodeURIComponent(encoded)).toBe(text.toWellFormed());
      }),
    );
  });

  test('grpc-timeout', () => {
    expect(['1H', '2M', '3S', '4m', '5000u', '1000000n'].map(parseTimeout)).toEqual([
      3_600_000, 120_000, 3000, 4, 5, 1,
    ]);
    for (const bad of ['', '5', 'm', '-1S', '123456789S', '1s'])
      expect(() => parseTimeout(bad)).toThrow(/REQUEST_INVALID/);
  });
});

describe('framing', () => {
  test('any cut of the bytes gives the same messages', () => {
    const message = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 30 })),
        (all, cuts) => {
          const bytes = Buffer.concat(all.map((m) => Buffer.concat([Buffer.of(0, 0, 0, 0, m.length), m])));
          const got: Buffer[] = [];
          const framer = new MessageFramer(40, (m) => got.push(m));
          for (let at = 0; at < bytes.length; ) {
            const size = cuts.next().value as number;
            framer.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(got.map((m) => m.toString('hex'))).toEqual(all.map((m) => Buffer.from(m).toString('hex')));
          expect(framer.isWhole).toBe(true);
        },
      ),
    );
  });

  test('a length beyond the limit is refused before anything is kept', () => {
    const framer = new MessageFramer(100, () => undefined);
    expect(() => framer.push(Buffer.of(0, 0, 0, 0, 101))).toThrow(/LIMIT_EXCEEDED/);
  });
});

describe('calls', () => {
  test('headers come at once, before any message', async () => {
    const client = (await start()).client();
    for (const path of [PUBLISH, CONSUME, TAIL]) {
      const headers = await client.call(path).headers;
      expect(headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc+proto' });
    }
  });

  test('unary: answer, then trailers', async () => {
    const server = await start();
    const client = server.client();
    const info = await client.unary(INFO, encodeInfoRequest, 'orders');
    expect(info.messages.map(decodeInfoResponse)).toEqual([{ name: 'orders', topicId: 'id-orders', partitions: 3 }]);
    expect(await info.ended).toMatchObject({ status: Status.OK });
    const refused = await client.unary(INFO, encodeInfoRequest, 'none');
    expect(await refused.ended).toMatchObject({
      status: Status.NOT_FOUND,
      code: 'TOPIC_NOT_FOUND',
      message: 'there is no stream none',
    });
    const producer = await client.unary('/hadron.v1.Streams/NewProducer', () => undefined, undefined);
    expect(producer.messages.map(decodeNewProducerResponse)).toEqual([{ producerId: 2 ** 40, producerEpoch: 0 }]);
    expect([...server.door.calls()]).toEqual([
      { method: INFO, status: 'OK', count: 1 },
      { method: INFO, status: 'NOT_FOUND', count: 1 },
      { method: '/hadron.v1.Streams/NewProducer', status: 'OK', count: 1 },
    ]);
    expect(server.door.openCalls).toBe(0);
  });

  test.each<[string, string, (call: TestCall) => void, object]>([
    ['an unknown method', '/hadron.v1.Streams/Nothing', () => undefined, { status: 12, trailersOnly: true }],
    ['an unknown service', '/x.Y/Z', () => undefined, { status: 12, trailersOnly: true }],
    ['no request message', INFO, (c) => c.finish(), { status: 3, code: 'REQUEST_INVALID' }],
    [
      'two requests where one is due',
      INFO,
      (c) => {
        c.send(encodeInfoRequest, 'a');
        c.send(encodeInfoRequest, 'b');
      },
      { status: 3, code: 'REQUEST_INVALID' },
    ],
    ['an end inside a message', PUBLISH, (c) => c.stream.end(Buffer.of(0, 0, 0, 0, 9, 1)), { status: 3 }],
    ['unknown flags', PUBLISH, (c) => c.stream.write(Buffer.of(7, 0, 0, 0, 0)), { status: 3, code: 'REQUEST_INVALID' }],
    [
      'a message beyond the limit',
      PUBLISH,
      (c) => c.stream.write(Buffer.of(0, 1, 0, 0, 1)),
      { status: 8, code: 'LIMIT_EXCEEDED' },
    ],
    [
      'no protobuf',
      PUBLISH,
      (c) => c.stream.write(Buffer.of(0, 0, 0, 0, 2, 0xff, 0xff)),
      { status: 3, code: 'REQUEST_INVALID' },
    ],
  ])('%s', async (_what, path, act, expected) => {
    const call = (await start()).client().call(path);
    act(call);
    expect(await call.ended).toMatchObject(expected);
  });

  test('gzip is understood, other compressions are named in the refusal', async () => {
    const client = (await start()).client();
    const body = frame(encodeInfoRequest, 'orders').subarray(5);
    const packed = gzipSync(body);
    const head = Buffer.alloc(5);
    head[0] = 1;
    head.writeUInt32BE(packed.length, 1);
    const call = client.call(INFO, { 'grpc-encoding': 'gzip' });
    call.stream.end(Buffer.concat([head, packed]));
    expect(await call.ended).toMatchObject({ status: 0 });
    expect(decodeInfoResponse(call.messages[0] as Buffer).name).toBe('orders');
    const bomb = gzipSync(Buffer.alloc(20 * 1024 * 1024));
    head.writeUInt32BE(bomb.length, 1);
    const bombed = client.call(INFO, { 'grpc-encoding': 'gzip' });
    bombed.stream.end(Buffer.concat([head, bomb]));
    expect(await bombed.ended).toMatchObject({ status: Status.RESOURCE_EXHAUSTED });
    const unmarked = client.call(INFO);
    unmarked.stream.end(Buffer.concat([head, bomb]));
    expect(await unmarked.ended).toMatchObject({ status: Status.INVALID_ARGUMENT });
    const brotli = client.call(INFO, { 'grpc-encoding': 'br' });
    expect(await brotli.ended).toMatchObject({ status: Status.UNIMPLEMENTED, trailersOnly: true });
  });

  test('a deadline ends the call, and the session with it', async () => {
    const server = await start();
    const call = server.client().call(CONSUME, { 'grpc-timeout': '50m' });
    call.send(encodeConsumeRequest, open());
    expect(await call.ended).toMatchObject({ status: Status.DEADLINE_EXCEEDED, code: 'TIMED_OUT' });
    expect(server.deliveries.sessions[0]?.ends).toEqual(['lost']);
    expect(await server.client().call(INFO, { 'grpc-timeout': 'soon' }).ended).toMatchObject({ status: 3 });
  });

  test('a bug is INTERNAL on the wire and has its stack in the log only', async () => {
    const server = await start();
    server.events.info = () => Promise.reject(new TypeError('secret'));
    const call = await server.client().unary(INFO, encodeInfoRequest, 'orders');
    const ended = await call.ended;
    expect(ended).toMatchObject({ status: Status.INTERNAL, code: 'INTERNAL' });
    expect(ended.message).not.toContain('secret');
    expect(JSON.stringify(server.errors.splice(0))).toContain('secret');
  });

  test('random bytes in random pieces: every call ends or waits, the server lives', async () => {
    const server = await start();
    const client = server.client();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(PUBLISH, CONSUME, TAIL, INFO),
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.constant(Buffer.of(0, 0, 0, 0, 0))), { maxLength: 6 }),
        fc.boolean(),
        async (path, pieces, cut) => {
          const call = client.call(path);
          for (const piece of pieces) call.stream.write(piece);
          if (cut) call.stream.close(8);
          else call.finish();
          const ended = await Promise.race([call.ended, sleep(30)]);
          if (ended === undefined) call.stream.close(8); // a tail of what is no stream
          expect(ended?.status).not.toBe(13);
        },
      ),
      { numRuns: 150 },
    );
    expect((await (await client.unary(INFO, encodeInfoRequest, 'orders')).ended).status).toBe(0);
    await until(() => server.door.openCalls === 0);
  });

  test('a client that cancels at once, or dies at once, is no trouble to others', async () => {
    const server = await start();
    for (let i = 0; i < 40; i++) {
      const session = http2.connect(`http://${server.authority}`);
      session.on('error', () => undefined);
      await new Promise((resolve) => session.once('connect', resolve));
      for (const path of [PUBLISH, CONSUME, TAIL, INFO]) {
        const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
        const stream = session.request(headers);
        stream.on('error', () => undefined);
        stream.close(http2.constants.NGHTTP2_CANCEL); // in the same packet as its beginning
        session.request(headers).on('error', () => undefined);
      }
      if (i % 2 === 0) await new Promise(setImmediate);
      session.destroy();
    }
    const client = server.client();
    expect((await (await client.unary(INFO, encodeInfoRequest, 'orders')).ended).status).toBe(0);
    await until(() => server.door.openCalls === 0);
  });

  test('health: check and watch', async () => {
    const server = await start();
    const client = server.client();
    const CHECK = '/grpc.health.v1.Health/Check';
    expect((await client.unary(CHECK, () => undefined, undefined)).messages[0]?.toString('hex')).toBe('0801');
    const other = await client.unary(CHECK, encodeInfoRequest, 'other');
    expect(await other.ended).toMatchObject({ status: Status.NOT_FOUND });
    const watch = client.call('/grpc.health.v1.Health/Watch');
    watch.send(encodeInfoRequest, 'hadron.v1.Streams');
    watch.finish();
    await watch.received(1);
    server.serving = false;
    const seen = await watch.received(2);
    expect(seen.map((m) => m.toString('hex'))).toEqual(['0801', '0802']);
  });

  test('a peer that does not answer pings is lost (D14)', async () => {
    const server = await start({ pingMs: 40 });
    const wire = await freezable(server.authority);
    const client = wire.client;
    const call = client.call(CONSUME);
    call.send(encodeConsumeRequest, open());
    await call.received(1);
    await sleep(150);
    expect(server.deliveries.sessions[0]?.ends).toEqual([]);
    wire.freeze();
    await until(() => server.deliveries.sessions[0]?.ends.length === 1);
    expect(server.deliveries.sessions[0]?.ends).toEqual(['lost']);
    await wire.close();
  });
});

/** A client behind a line that can go dead: its machine has gone, no connection has been told. */
async function freezable(authority: string): Promise<{ client: GrpcClient; freeze(): void; close(): Promise<void> }> {
  const [host, port] = authority.split(':') as [string, string];
  const sockets: net.Socket[] = [];
  const line = net.createServer((near) => {
    const far = net.connect(Number(port), host);
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => undefined);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => line.listen(0, '127.0.0.1', resolve));
  const client = new GrpcClient(`127.0.0.1:${(line.address() as net.AddressInfo).port}`);
  return {
    client,
    freeze() {
      for (const socket of sockets) socket.unpipe().pause();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await client.close();
      line.close();
    },
  };
}

describe('Publish', () => {
  test('each batch is answered once durable, in order, whatever becomes durable first', async () => {
    const server = await start();
    server.events.hold = true;
    const call = server.client().call(PUBLISH);
    call.send(encodePublishRequest, request(1));
    call.send(encodePublishRequest, request(2, { stream: '', recordBatch: Buffer.from('batch'), partition: 2 }));
    call.send(encodePublishRequest, request(3, { stream: 'none' }));
    call.send(encodePublishRequest, request(4, { events: [event('a'), Buffer.from('xx'), event('b')], partition: 1 }));
    await until(() => server.events.heldCount === 3);
    await sleep(20);
    expect(call.messages).toEqual([]);
    server.events.sync(true);
    const [one, two, three, four] = (await call.received(4)).map(decodePublishResponse);
    expect(one).toMatchObject({ sequence: 1, error: undefined, results: [{ partition: 0, offset: 0 }] });
    expect(two).toMatchObject({ sequence: 2, error: undefined, partition: 2, baseOffset: 1 });
    expect(three).toMatchObject({ sequence: 3, error: { code: 'TOPIC_NOT_FOUND' }, results: [] });
    expect(four).toMatchObject({ sequence: 4, error: undefined, results: [{ offset: 6 }, {}, { offset: 7 }] });
    expect(four?.results[1]).toMatchObject({ error: { code: 'EVENT_INVALID' } });
    call.finish();
    expect(await call.ended).toMatchObject({ status: 0 });
    expect(server.events.published.map((e) => e.id)).toEqual(['1', 'a', 'b']);
  });

  test.each<[string, Partial<PublishRequest>, object]>([
    ['no stream', { stream: '' }, { code: 'REQUEST_INVALID', field: 'stream' }],
    ['no batch', { events: undefined }, { code: 'REQUEST_INVALID', field: 'batch' }],
    ['no event', { events: [] }, { code: 'REQUEST_INVALID', field: 'batch' }],
    [
      'a record batch without its partition',
      { recordBatch: Buffer.from('batch') },
      { code: 'REQUEST_INVALID', field: 'partition' },
    ],
    ['a record batch that is none', { recordBatch: Buffer.from('x'), partition: 0 }, { code: 'CORRUPT_DATA' }],
    [
      'one bad event of an atomic batch',
      { events: [event('a'), Buffer.from('xx')], atomic: true },
      { code: 'EVENT_INVALID', field: '[1].spec_version' },
    ],
  ])('%s: the batch is refused, the call goes on', async (_what, rest, error) => {
    const server = await start();
    const call = server.client().call(PUBLISH);
    call.send(encodePublishRequest, request(1, rest));
    call.send(encodePublishRequest, request(2));
    const [first, second] = (await call.received(2)).map(decodePublishResponse);
    expect(first).toMatchObject({ sequence: 1, error });
    expect(second).toMatchObject({ sequence: 2, error: undefined });
    expect(server.events.published.map((e) => e.id)).toEqual(['2']);
  });

  test('bytes that are no request end the call when what came before is answered', async () => {
    const server = await start();
    server.events.hold = true;
    const call = server.client().call(PUBLISH);
    call.send(encodePublishRequest, request(1));
    call.stream.write(Buffer.of(0, 0, 0, 0, 1, 0xff));
    call.send(encodePublishRequest, request(2));
    await until(() => server.events.heldCount === 1);
    server.events.sync();
    expect(await call.ended).toMatchObject({ status: 3, code: 'REQUEST_INVALID' });
    expect(call.messages.map((m) => decodePublishResponse(m).sequence)).toEqual([1]);
    expect(server.events.published.map((e) => e.id)).toEqual(['1']);
  });

  test('what is not durable holds the client back, and goes on later', async () => {
    const server = await start();
    server.events.hold = true;
    const call = server.client({ maxSessionMemory: 100 }).call(PUBLISH);
    const count = 60;
    const data = 'x'.repeat(500_000);
    for (let i = 0; i < count; i++) call.send(encodePublishRequest, request(i, { events: [event(String(i), data)] }));
    await until(() => server.events.heldCount > 15);
    await sleep(60);
    // 8 MiB taken, a window of 1 MiB and what was under way.
    expect(server.events.heldCount).toBeLessThan(25);
    server.events.hold = false;
    server.events.sync();
    expect((await call.received(count)).map((m) => decodePublishResponse(m).sequence)).toEqual(
      Array.from({ length: count }, (_, i) => i),
    );
  });

  test('a stop of the server answers what was taken', async () => {
    const server = await start();
    server.events.hold = true;
    const call = server.client().call(PUBLISH);
    call.send(encodePublishRequest, request(1));
    await until(() => server.events.heldCount === 1);
    server.door.stop();
    call.send(encodePublishRequest, request(2));
    await sleep(20);
    server.events.sync();
    expect(await call.ended).toMatchObject({ status: Status.UNAVAILABLE, code: 'CONNECTION_FAILED' });
    expect(call.messages).toHaveLength(1);
    const late = server.client().call(INFO);
    expect(await late.ended).toMatchObject({ status: Status.UNAVAILABLE });
  });
});

function open(rest: Partial<Extract<ConsumeRequest, { kind: 'open' }>['open']> = {}): ConsumeRequest {
  return { kind: 'open', open: { stream: 'orders', group: 'mail', settingsJson: '', credit: 100, ...rest } };
}

describe('Consume', () => {
  async function session(
    credit: number,
    client?: ReturnType<RpcServer['client']>,
    server?: RpcServer,
  ): Promise<{ server: RpcServer; call: TestCall; engine: MemorySession }> {
    const on = server ?? (await start());
    const call = (client ?? on.client()).call(CONSUME);
    call.send(encodeConsumeRequest, open({ credit }));
    await call.received(1);
    return { server: on, call, engine: on.deliveries.sessions.at(-1) as MemorySession };
  }

  test('opened, deliveries, answers, withdrawn, drained', async () => {
    const server = await start();
    const call = server.client().call(CONSUME);
    call.send(encodeConsumeRequest, open({ settingsJson: '{"ordering":"key","window":2}', credit: 10 }));
    const [opened] = (await call.received(1)).map(decodeConsumeResponse);
    expect(opened).toMatchObject({ kind: 'opened', opened: { session: 's1', topicId: 'id-orders' } });
    expect(opened?.kind === 'opened' && JSON.parse(opened.opened.settingsJson)).toMatchObject({ ordering: 'key' });
    const engine = server.deliveries.sessions[0] as MemorySession;
    expect(engine.request).toMatchObject({ stream: 'orders', group: 'mail', settings: { ordering: 'key', window: 2 } });
    expect(engine.available).toBe(10);
    engine.handOut(2, Buffer.from('record'), { lane: 'ÿ', attempt: 2, redrive: 1 });
    const [, deliveries] = (await call.received(2)).map(decodeConsumeResponse);
    expect(deliveries).toMatchObject({
      kind: 'deliveries',
      deliveries: [
        { token: 'token-0', offset: 0, lane: 'ÿ', attempt: 2, redrive: 1 },
        { token: 'token-1', offset: 1 },
      ],
    });
    const items = [
      { token: 'token-0', verdict: { kind: 'ack' as const } },
      { token: 'stale', verdict: { kind: 'nack' as const, reason: 'no', delayMs: 5 } },
    ];
    call.send(encodeConsumeRequest, { kind: 'answers', answers: { sequence: 7, items } });
    const [, , answered] = (await call.received(3)).map(decodeConsumeResponse);
    expect(answered).toEqual({
      kind: 'answered',
      answered: {
        sequence: 7,
        results: [{ ok: true }, { ok: false, code: 'STALE_DELIVERY', message: 'given to somebody else' }],
      },
    });
    expect(engine.answers).toEqual(items);
    engine.handler.withdrawn(['token-1']);
    call.send(encodeConsumeRequest, { kind: 'drain' });
    const [, , , withdrawn, drained] = (await call.received(5)).map(decodeConsumeResponse);
    expect([withdrawn, drained]).toEqual([{ kind: 'withdrawn', tokens: ['token-1'] }, { kind: 'drained' }]);
    expect(engine.drained).toBe(true);
  });

  test('D14: half-closing returns what is out uncounted, after the answers under way; a reset or a lost connection has failed it', async () => {
    const server = await start();
    const clean = await session(5, undefined, server);
    clean.engine.handOut(2);
    clean.call.send(encodeConsumeRequest, {
      kind: 'answers',
      answers: { sequence: 1, items: [{ token: 'token-0', verdict: { kind: 'ack' } }] },
    });
    clean.call.finish();
    expect(await clean.call.ended).toMatchObject({ status: 0 });
    expect(clean.engine.ends).toEqual(['close']);
    expect(decodeConsumeResponse(clean.call.messages.at(-1) as Buffer).kind).toBe('answered');

    const reset = await session(5, undefined, server);
    reset.call.stream.close(8);
    await until(() => reset.engine.ends.length > 0);
    expect(reset.engine.ends).toEqual(['lost']);

    const client = server.client();
    const lost = await session(5, client, server);
    client.session.socket.destroy();
    await until(() => lost.engine.ends.length > 0);
    expect(lost.engine.ends).toEqual(['lost']);
  });

  test('a client that leaves while its session opens leaves nothing behind', async () => {
    const server = await start();
    let release = (): void => undefined;
    server.deliveries.gate = new Promise((resolve) => (release = resolve));
    const client = server.client();
    const left = client.call(CONSUME);
    left.send(encodeConsumeRequest, open());
    const other = server.client();
    const vanished = other.call(CONSUME);
    vanished.send(encodeConsumeRequest, open());
    await sleep(20);
    left.finish();
    other.session.socket.destroy();
    await sleep(20);
    release();
    expect(await left.ended).toMatchObject({ status: 0 });
    await until(() => server.deliveries.sessions.every((s) => s.ends.length === 1));
    expect(server.deliveries.sessions.map((s) => s.ends).sort()).toEqual([['close'], ['lost']]);
  });

  test.each<[string, ConsumeRequest[], object]>([
    ['the first message is not open', [{ kind: 'credit', credit: 1 }], { status: 3, code: 'REQUEST_INVALID' }],
    ['open comes twice', [open(), open()], { status: 3, code: 'REQUEST_INVALID' }],
    ['settings that are not JSON', [open({ settingsJson: '{' })], { status: 3, field: 'settings' }],
    ['settings that are wrong', [open({ settingsJson: '{"window":0}' })], { status: 3, field: 'settings.window' }],
  ])('%s', async (_what, messages, expected) => {
    const call = (await start()).client().call(CONSUME);
    for (const message of messages) call.send(encodeConsumeRequest, message);
    expect(await call.ended).toMatchObject(expected);
  });

  test('refusals and ends of the engine are the status of the call', async () => {
    const server = await start();
    server.deliveries.refusal = new HadronError('GROUP_SETTINGS_DIFFER', 'window is 1, not 2');
    const refused = server.client().call(CONSUME);
    refused.send(encodeConsumeRequest, open());
    expect(await refused.ended).toMatchObject({ status: Status.FAILED_PRECONDITION, code: 'GROUP_SETTINGS_DIFFER' });
    server.deliveries.refusal = undefined;
    const { call, engine } = await session(1, undefined, server);
    engine.handler.ended(new HadronError('STORAGE_FAILED', 'the disk failed; try again'));
    expect(await call.ended).toMatchObject({ status: Status.UNAVAILABLE, code: 'STORAGE_FAILED' });
    expect(engine.ends).toEqual([]);
  });

  test('D23: credit goes to the engine only as the peer takes what was handed out', async () => {
    const server = await start();
    const client = server.client({ settings: { initialWindowSize: 65_535 } });
    const { call, engine } = await session(2_000, client, server);
    const record = Buffer.alloc(20_000);
    call.stream.pause();
    let handed = 0;
    for (let i = 0; i < 30; i++) {
      handed += engine.handOut(2_000, record);
      await sleep(1);
    }
    // A grant or two, then none while 256 KiB wait.
    expect(handed).toBeGreaterThan(0);
    expect(handed).toBeLessThan(200);
    call.stream.resume();
    await until(() => {
      handed += engine.handOut(2_000, record);
      return handed === 2_000;
    });
    let decoded = 0;
    const offsets: number[] = [];
    await until(() => {
      for (; decoded < call.messages.length; decoded++) {
        const m = decodeConsumeResponse(call.messages[decoded] as Buffer);
        if (m.kind === 'deliveries') offsets.push(...m.deliveries.map((d) => d.offset));
      }
      return offsets.length === 2_000;
    });
    expect(offsets).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
    expect(Math.max(...call.messages.map((m) => m.length))).toBeLessThan(300_000);
  });

  test('credit adds up', async () => {
    const { call, engine } = await session(2);
    expect(engine.handOut(10)).toBe(2);
    call.send(encodeConsumeRequest, { kind: 'credit', credit: 3 });
    await until(() => engine.available === 3);
    expect(engine.handOut(10)).toBe(3);
  });

  test('a stop of the server ends sessions uncounted', async () => {
    const { server, call, engine } = await session(2);
    server.door.stop();
    expect(await call.ended).toMatchObject({ status: Status.UNAVAILABLE });
    expect(engine.ends).toEqual(['close']);
  });

  test('a stop of the server confirms the answers that are under way before it ends the call', async () => {
    const { server, call, engine } = await session(2);
    engine.held = [];
    call.send(encodeConsumeRequest, {
      kind: 'answers',
      answers: { sequence: 5, items: [{ token: 't', verdict: { kind: 'ack' } }] },
    });
    await until(() => engine.held?.length === 1);
    server.door.stop();
    expect(engine.ends).toEqual(['close']);
    // What comes now comes too late: it is not answered, and is no mistake of the client.
    call.send(encodeConsumeRequest, { kind: 'credit', credit: 1 });
    await sleep(20);
    expect(call.messages.map((m) => decodeConsumeResponse(m).kind)).not.toContain('answered');
    for (const confirm of engine.held ?? []) confirm();
    expect(await call.ended).toMatchObject({ status: Status.UNAVAILABLE });
    expect(call.messages.map(decodeConsumeResponse).at(-1)).toMatchObject({
      kind: 'answered',
      answered: { sequence: 5, results: [{ ok: true }] },
    });
  });
});

describe('Tail', () => {
  const tail = (server: RpcServer, client = server.client()): TestCall => {
    const call = client.call(TAIL);
    call.send(encodeTailRequest, { stream: 'orders', from: { cursor: 'abc' }, partition: 1 });
    call.finish();
    return call;
  };

  test('records in messages of bounded size; the place first, and the cursor with the last', async () => {
    const server = await start();
    const call = tail(server);
    await until(() => server.events.tails.length === 1);
    const source = server.events.tails[0] as (typeof server.events.tails)[0];
    expect(server.events.pages).toEqual([{ from: { cursor: 'abc' }, partition: 1 }]);
    expect(source.from).toEqual({ from: { cursor: 'begin' }, partition: 1 });
    const records = Array.from({ length: 10 }, (_, offset) => ({
      partition: 1,
      offset,
      record: { bytes: Buffer.alloc(100_000), timestampMs: -1 },
    }));
    source.listener.records(records, 'next');
    const got = (await call.received(5)).map(decodeTailResponse);
    expect(got.map((m) => m.cursor)).toEqual(['begin', '', '', '', 'next']);
    expect(got.flatMap((m) => m.records.map((r) => r.offset))).toEqual(records.map((r) => r.offset));
    expect(got[1]?.records[0]?.record.timestampMs).toBe(-1);
    source.listener.ended(new HadronError('LIMIT_EXCEEDED', 'it fell behind; resume from the last cursor'));
    expect(await call.ended).toMatchObject({ status: Status.RESOURCE_EXHAUSTED });
  });

  test('a slow reader pauses its source; one that leaves closes it', async () => {
    const server = await start();
    const call = tail(server);
    await until(() => server.events.tails.length === 1);
    const source = server.events.tails[0] as (typeof server.events.tails)[0];
    call.stream.pause();
    const record = { partition: 0, offset: 0, record: { bytes: Buffer.alloc(100_000), timestampMs: 0 } };
    for (let i = 0; i < 100 && !source.paused; i++) {
      source.listener.records([record], 'c');
      await sleep(1);
    }
    expect(source.paused).toBe(true);
    call.stream.resume();
    await until(() => !source.paused);
    call.stream.close(8);
    await until(() => source.closed);
  });

  test('an unknown stream', async () => {
    const call = (await start()).client().call(TAIL);
    call.send(encodeTailRequest, { stream: 'none', from: 'latest', partition: undefined });
    call.finish();
    expect(await call.ended).toMatchObject({ status: Status.NOT_FOUND });
  });
});
