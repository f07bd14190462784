/** The calls against a whole server on disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { silentLogger } from '@hadron/base';
import { cloudEvent, readRecord, recordToEvent } from '@hadron/contracts/events';
import {
  type ConsumeRequest,
  type ConsumeResponse,
  decodeConsumeResponse,
  decodeInfoResponse,
  decodeNewProducerResponse,
  decodePublishResponse,
  decodeTailResponse,
  encodeConsumeRequest,
  encodeInfoRequest,
  encodePublishRequest,
  encodeTailRequest,
  type WireDelivery,
  writeProtoEvent,
} from '@hadron/contracts/protobuf';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../server.ts';
import { loadSettings } from '../settings/index.ts';
import { GrpcClient, type TestCall } from './testing/grpc-client.ts';

const STREAMS = '/hadron.v1.Streams/';

let folder: string;
let server: RunningServer;
let client: GrpcClient;
async function start(): Promise<void> {
  const { settings } = await loadSettings({
    flags: { data: folder, kafkaPort: '0', httpPort: '0', listen: ['127.0.0.1'], set: ['num.partitions=2'] },
    env: {},
    cwd: folder,
    readText: () => '',
  });
  server = await startServer(settings, { logger: silentLogger });
  client = new GrpcClient(`127.0.0.1:${server.httpAddress.port}`);
}
async function stop(): Promise<void> {
  await client.close();
  await server.close();
}
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hadron-rpc-'));
  await start();
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true });
});

const event = (id: string, subject = 'k'): Uint8Array =>
  writeProtoEvent(cloudEvent({ id, source: '/test', type: 'tested', subject, data: { id } }));
const publish = (call: TestCall, sequence: number, events: Uint8Array[], atomic = false): void =>
  call.send(encodePublishRequest, {
    sequence,
    stream: 'orders',
    events,
    recordBatch: undefined,
    partition: undefined,
    atomic,
  });

async function opened(group: string, settings: object, credit: number): Promise<TestCall> {
  const call = client.call(`${STREAMS}Consume`);
  const open = { stream: 'orders', group, settingsJson: JSON.stringify(settings), credit };
  call.send(encodeConsumeRequest, { kind: 'open', open });
  await call.received(1);
  return call;
}

/** The deliveries of a session, until there are `count`. */
async function deliveries(call: TestCall, count: number): Promise<WireDelivery[]> {
  for (let messages = 1; ; messages++) {
    const all = (await call.received(messages)).map(decodeConsumeResponse);
    const found = all.flatMap((m: ConsumeResponse) => (m.kind === 'deliveries' ? m.deliveries : []));
    if (found.length >= count) return found;
    if (call.stream.closed) throw new Error(`the session ended: ${JSON.stringify(await call.ended)}`);
  }
}
const ids = (all: readonly WireDelivery[]): string[] =>
  all.map(({ record, partition, offset }) => {
    const { bytes, timestampMs } = record;
    return recordToEvent(readRecord(bytes), { stream: 'orders', topicId: '', partition, offset, timestampMs }).id;
  });
const answers = (sequence: number, tokens: readonly string[], kind: 'ack' | 'nack'): ConsumeRequest => ({
  kind: 'answers',
  answers: { sequence, items: tokens.map((token) => ({ token, verdict: { kind } })) },
});

describe('a server on disk', () => {
  test('published, read, delivered, acknowledged, and gone on with after a restart', async () => {
    const call = client.call(`${STREAMS}Publish`);
    for (let i = 0; i < 200; i++) publish(call, i, [event(String(i), `key-${i % 7}`)]);
    const responses = (await call.received(200)).map(decodePublishResponse);
    expect(responses.map((r) => r.sequence)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(responses.every((r) => r.error === undefined && 'offset' in (r.results[0] ?? {}))).toBe(true);
    call.finish();
    expect(await call.ended).toMatchObject({ status: 0 });

    const tail = client.call(`${STREAMS}Tail`);
    tail.send(encodeTailRequest, { stream: 'orders', from: 'beginning', partition: undefined });
    tail.finish();
    let read = 0;
    for (let n = 1; read < 200; n++) {
      const page = decodeTailResponse((await tail.received(n))[n - 1] as Buffer);
      read += page.records.length;
    }
    tail.stream.close(8);

    const first = await opened('mail', { ordering: 'key', start: { from: 'beginning' } }, 50);
    // One of each key: the others of a lane wait for it (D9).
    const got = await deliveries(first, 7);
    expect(got).toHaveLength(7);
    first.send(
      encodeConsumeRequest,
      answers(
        1,
        got.map((d) => d.token),
        'ack',
      ),
    );
    const more = await deliveries(first, 14);
    const answered = first.messages.map(decodeConsumeResponse).find((m) => m.kind === 'answered');
    expect(answered).toMatchObject({ answered: { sequence: 1, results: got.map(() => ({ ok: true })) } });
    first.finish();
    await first.ended;

    await stop();
    await start();
    const second = await opened('mail', {}, 50);
    const again = await deliveries(second, 7);
    // What was out when the session ended comes again, uncounted (D14); what was acknowledged does not.
    expect(ids(again).sort()).toEqual(ids(more.slice(7)).sort());
    expect(again.every((d) => d.attempt === 1)).toBe(true);
  });

  test('a lost session fails what was out; another one gets it', async () => {
    const call = client.call(`${STREAMS}Publish`);
    publish(call, 1, [event('a')]);
    await call.received(1);
    const first = await opened('mail', { start: { from: 'beginning' } }, 5);
    await deliveries(first, 1);
    const second = await opened('mail', {}, 5);
    first.stream.close(8);
    const [delivery] = await deliveries(second, 1);
    expect(delivery).toMatchObject({ attempt: 2 });
  });

  test('a record batch that is sent again gets its first place (statement 5)', async () => {
    await client.unary(`${STREAMS}Info`, encodeInfoRequest, 'orders').then((info) => {
      expect(decodeInfoResponse(info.messages[0] as Buffer)).toMatchObject({ name: 'orders', partitions: 2 });
    });
    const producer = await client.unary(`${STREAMS}NewProducer`, () => undefined, undefined);
    const { producerId, producerEpoch } = decodeNewProducerResponse(producer.messages[0] as Buffer);
    const batch = (baseSequence: number): Buffer =>
      encodeBatch(
        [1, 2, 3].map((n) => ({ value: `v${n}`, timestamp: 1_700_000_000_000 })),
        { producerId, producerEpoch, baseSequence },
      );
    const call = client.call(`${STREAMS}Publish`);
    const send = (sequence: number, recordBatch: Buffer): void =>
      call.send(encodePublishRequest, {
        sequence,
        stream: 'orders',
        events: undefined,
        recordBatch,
        partition: 1,
        atomic: false,
      });
    send(1, batch(0));
    send(2, batch(3));
    send(3, batch(0));
    const damaged = batch(6);
    damaged[70] = (damaged[70] as number) ^ 1;
    send(4, damaged);
    const got = (await call.received(4)).map(decodePublishResponse);
    expect(got.map((r) => [r.sequence, r.partition, r.baseOffset, r.error?.code])).toEqual([
      [1, 1, 0, undefined],
      [2, 1, 3, undefined],
      [3, 1, 0, undefined],
      [4, 0, 0, 'CORRUPT_DATA'],
    ]);
  });

  test('atomic: one bad event refuses all; a batch over partitions is all there', async () => {
    const call = client.call(`${STREAMS}Publish`);
    const bad = writeProtoEvent({ id: '', source: '/s', type: 't', attributes: new Map(), data: undefined });
    publish(call, 1, [event('a', '1'), bad], true);
    publish(call, 2, [event('b', '1'), event('c', '2'), event('d', '3'), event('e', '4')], true);
    publish(call, 3, [event('f', '1'), bad]);
    const [one, two, three] = (await call.received(3)).map(decodePublishResponse);
    expect(one?.error).toMatchObject({ code: 'EVENT_INVALID' });
    expect(two?.results.map((r) => ('error' in r ? r.error : 0))).toEqual([0, 0, 0, 0]);
    expect(three?.results.map((r) => ('error' in r ? r.error.code : 'stored'))).toEqual(['stored', 'EVENT_INVALID']);
  });

  test('record batches of several partitions: all or none, and stored once when they are sent again', async () => {
    const producer = await client.unary(`${STREAMS}NewProducer`, () => undefined, undefined);
    const { producerId, producerEpoch } = decodeNewProducerResponse(producer.messages[0] as Buffer);
    const batch = (baseSequence: number, count: number): Buffer =>
      encodeBatch(
        Array.from({ length: count }, (_, n) => ({ value: `v${n}`, timestamp: 1_700_000_000_000 })),
        { producerId, producerEpoch, baseSequence },
      );
    const call = client.call(`${STREAMS}Publish`);
    const send = (sequence: number, recordBatches: { partition: number; recordBatch: Buffer }[]): void =>
      call.send(encodePublishRequest, {
        sequence,
        stream: 'orders',
        events: undefined,
        recordBatch: undefined,
        recordBatches,
        partition: undefined,
        atomic: true,
      });
    const set = [
      { partition: 1, recordBatch: batch(0, 2) },
      { partition: 0, recordBatch: batch(0, 3) },
    ];
    const damaged = batch(2, 1);
    damaged[65] = (damaged[65] as number) ^ 1;
    send(1, set);
    send(2, [
      { partition: 0, recordBatch: batch(3, 1) },
      { partition: 1, recordBatch: damaged },
    ]);
    send(3, set);
    send(4, [{ partition: 1, recordBatch: batch(2, 1) }]);
    send(5, [
      { partition: 1, recordBatch: batch(3, 1) },
      { partition: 1, recordBatch: batch(4, 1) },
    ]);
    send(6, []);
    const got = (await call.received(6)).map(decodePublishResponse);
    expect(got.map((r) => [r.error?.code, r.results])).toEqual([
      [
        undefined,
        [
          { partition: 1, offset: 0 },
          { partition: 0, offset: 0 },
        ],
      ],
      ['CORRUPT_DATA', []],
      [
        undefined,
        [
          { partition: 1, offset: 0 },
          { partition: 0, offset: 0 },
        ],
      ],
      [undefined, [{ partition: 1, offset: 2 }]],
      ['REQUEST_INVALID', []],
      ['REQUEST_INVALID', []],
    ]);
  });

  test('a tail begins with its place: from there one that was cut off before the first event skips nothing', async () => {
    const tailFrom = (from: { readonly cursor: string } | 'latest'): TestCall => {
      const call = client.call(`${STREAMS}Tail`);
      call.send(encodeTailRequest, { stream: 'orders', from, partition: undefined });
      call.finish();
      return call;
    };
    const first = tailFrom('latest');
    const begin = decodeTailResponse((await first.received(1))[0] as Buffer);
    expect(begin.records).toEqual([]);
    first.stream.close(8);
    const call = client.call(`${STREAMS}Publish`);
    publish(call, 1, [event('between')]);
    await call.received(1);
    const second = await tailFrom({ cursor: begin.cursor }).received(2);
    expect(second.flatMap((m) => decodeTailResponse(m).records)).toHaveLength(1);
  });

  test('a group that exists with other settings', async () => {
    const call = client.call(`${STREAMS}Publish`);
    publish(call, 1, [event('a')]);
    await call.received(1);
    await opened('mail', { ordering: 'key' }, 1);
    const other = client.call(`${STREAMS}Consume`);
    const open = { stream: 'orders', group: 'mail', settingsJson: '{"ordering":"none"}', credit: 1 };
    other.send(encodeConsumeRequest, { kind: 'open', open });
    expect(await other.ended).toMatchObject({ status: 9, code: 'GROUP_SETTINGS_DIFFER' });
  });

  test('a session of a stream that is not there yet makes it; a stop of the server ends calls and does not wait for them', async () => {
    const call = await opened('mail', {}, 1);
    const tail = client.call(`${STREAMS}Tail`);
    tail.send(encodeTailRequest, { stream: 'orders', from: 'latest', partition: undefined });
    tail.finish();
    await tail.headers;
    const begin = performance.now();
    await server.close();
    expect(performance.now() - begin).toBeLessThan(2_000);
    expect(await call.ended).toMatchObject({ status: 14 });
    expect((await tail.ended).status).toBe(14);
    await start();
  });
});
