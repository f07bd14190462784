/** Produce: R5 row by row, R6.1, R12–R14 as far as producers go, G5, §10 #10. */
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_TRANSACTIONAL,
  type BatchOptions,
  CODEC_GZIP,
  CODEC_LZ4,
  CODEC_SNAPPY,
  CODEC_ZSTD,
  KafkaError as K,
  setBatchCrc,
} from '@hadron/kafka-protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import {
  batch,
  batchesOf,
  createTopic,
  fetch,
  offsetAt,
  produce,
  produceFields,
  recordsOf,
  STAMP,
  valuesOf,
} from './testing/talk.ts';
import { ConnectionClosed } from './testing/wire-client.ts';

/** A batch with some bytes of its header changed, and its checksum right again. */
function patched(bytes: Buffer, patch: (b: Buffer) => void): Buffer {
  const b = Buffer.from(bytes);
  patch(b);
  setBatchCrc(b, 0);
  return b;
}

describe('R5 record batches', () => {
  let server: SimServer;
  beforeAll(async () => {
    server = await SimServer.start();
    await createTopic(server, 't');
    await createTopic(server, 'compact', { config: { 'cleanup.policy': 'compact' } });
    await createTopic(server, 'both', { config: { 'cleanup.policy': 'compact,delete' } });
    await createTopic(server, 'before', { config: { 'message.timestamp.before.max.ms': '1000' } });
    await createTopic(server, 'after', { config: { 'message.timestamp.after.max.ms': '1000' } });
    await createTopic(server, 'append', {
      config: {
        'message.timestamp.type': 'LogAppendTime',
        'message.timestamp.before.max.ms': '0',
        'message.timestamp.after.max.ms': '0',
      },
    });
  });
  const good = batch(['a', 'b', 'c']);

  const rows: [row: string, code: number, topic: string, records: () => Buffer | null, version?: number][] = [
    ['a good batch', 0, 't', () => good],
    ['two batches', K.INVALID_RECORD, 't', () => Buffer.concat([good, good])],
    ['no batch, null', K.INVALID_RECORD, 't', () => null],
    ['no batch, empty', K.INVALID_RECORD, 't', () => Buffer.alloc(0)],
    ['magic 1', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt8(1, 16))],
    ['magic 0', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt8(0, 16))],
    ['magic 3', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt8(3, 16))],
    ['wrong CRC', K.CORRUPT_MESSAGE, 't', () => Buffer.from(good).fill(0x55, 17, 21)],
    [
      'a flipped bit in a value',
      K.CORRUPT_MESSAGE,
      't',
      () => Buffer.from(good).fill(0x55, good.length - 2, good.length - 1),
    ],
    ['last offset < 0', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt32BE(-1, 23))],
    ['count 0', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt32BE(0, 57))],
    ['count -1', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt32BE(-1, 57))],
    ['count ≠ offset range', K.INVALID_RECORD, 't', () => patched(good, (b) => void b.writeInt32BE(4, 23))],
    [
      'count more than there are',
      K.INVALID_RECORD,
      't',
      () => patched(good, (b) => void (b.writeInt32BE(4, 57), b.writeInt32BE(3, 23))),
    ],
    [
      'control attribute',
      K.INVALID_RECORD,
      't',
      () => patched(good, (b) => void b.writeInt16BE(ATTRIBUTE_CONTROL, 21)),
    ],
    [
      'producer id without a sequence',
      K.INVALID_RECORD,
      't',
      () => batch(['a'], { producerId: 5, producerEpoch: 0, baseSequence: -1 }),
    ],
    ['no key on compact (§10 #10)', K.INVALID_RECORD, 'compact', () => batch([{ key: 'k', value: 'v' }, 'no key'])],
    ['no key on compact,delete', K.INVALID_RECORD, 'both', () => batch(['no key'])],
    [
      'a key on compact',
      0,
      'compact',
      () =>
        batch([
          { key: 'k', value: 'v' },
          { key: '', value: null },
        ]),
    ],
    ['no key on compact, compressed', K.INVALID_RECORD, 'compact', () => batch(['no key'], { codec: CODEC_LZ4 })],
    [
      'timestamp too early',
      K.INVALID_TIMESTAMP,
      'before',
      () => batch(['a'], { baseTimestamp: server.wallMs - 1_100 }),
    ],
    ['timestamp early enough', 0, 'before', () => batch(['a'], { baseTimestamp: server.wallMs - 900 })],
    ['timestamp too late', K.INVALID_TIMESTAMP, 'after', () => batch(['a'], { baseTimestamp: server.wallMs + 1_100 })],
    ['timestamp late enough', 0, 'after', () => batch(['a'], { baseTimestamp: server.wallMs + 900 })],
    [
      'one record too late',
      K.INVALID_TIMESTAMP,
      'after',
      () => batch(['a', { value: 'b', timestamp: server.wallMs + 5_000 }, 'c'], { baseTimestamp: server.wallMs }),
    ],
    ['timestamps do not count with LogAppendTime', 0, 'append', () => batch(['a'], { baseTimestamp: 5 })],
    [
      'LogAppendTime attribute on a CreateTime topic',
      K.INVALID_TIMESTAMP,
      't',
      () => batch(['a'], { isLogAppendTime: true }),
    ],
    ['zstd in v6', K.UNSUPPORTED_COMPRESSION_TYPE, 't', () => batch(['a'], { codec: CODEC_ZSTD }), 6],
    ['zstd in v7', 0, 't', () => batch(['a'], { codec: CODEC_ZSTD }), 7],
    ['gzip in v3', 0, 't', () => batch(['a'], { codec: CODEC_GZIP }), 3],
    ['snappy in v3', 0, 't', () => batch(['a'], { codec: CODEC_SNAPPY }), 3],
    ['lz4 in v3', 0, 't', () => batch(['a'], { codec: CODEC_LZ4 }), 3],
    ['codec 7', K.UNSUPPORTED_COMPRESSION_TYPE, 't', () => patched(good, (b) => void b.writeInt16BE(7, 21))],
    ['compressed garbage', K.CORRUPT_MESSAGE, 't', () => patched(good, (b) => void b.writeInt16BE(CODEC_GZIP, 21))],
    [
      'transactional (R14 later)',
      K.INVALID_REQUEST,
      't',
      () => batch(['a'], { isTransactional: true, producerId: 1, producerEpoch: 0, baseSequence: 0 }),
    ],
    ['shorter than it says', K.CORRUPT_MESSAGE, 't', () => good.subarray(0, good.length - 1)],
    ['shorter than a header', K.CORRUPT_MESSAGE, 't', () => good.subarray(0, 20)],
    [
      'negative length (§6 hostile peers)',
      K.CORRUPT_MESSAGE,
      't',
      () => patched(good, (b) => void b.writeInt32BE(good.length - 12, 8)).fill(0xff, 8, 12),
    ],
  ];
  test.each(rows)('R5 %s → %i', async (_, code, topic, records, version) => {
    const before = (await offsetAt(server, topic, -1)).offset;
    const p = await produce(server, topic, records(), 0, version ?? 9);
    const after = (await offsetAt(server, topic, -1)).offset;
    if (p.errorCode !== code && code === K.CORRUPT_MESSAGE) expect([code, K.INVALID_RECORD]).toContain(p.errorCode);
    else expect(p.errorCode).toBe(code);
    if (code === 0) expect([p.baseOffset, after > before]).toEqual([before, true]);
    else expect([p.baseOffset, after]).toEqual([-1, before]);
  });

  test('R5 the record without a key is named (per-record error index, v8)', async () => {
    const p = await produce(server, 'compact', batch([{ key: 'k', value: 'v' }, { key: 'l', value: 'v' }, 'no key']));
    expect(p.recordErrors.map((e) => e.batchIndex)).toEqual([2]);
    expect(p.errorMessage).toMatch(/key/);
  });

  test('R5 one bad partition does not harm the others of a request', async () => {
    const r = await server.ask('Produce', 9, {
      acks: -1,
      timeoutMs: 1_000,
      topicData: [
        { name: 't', partitionData: [{ index: 0, records: batch(['ok']) }] },
        { name: 'compact', partitionData: [{ index: 0, records: batch(['no key']) }] },
        { name: 'nope', partitionData: [{ index: 0, records: batch(['x']) }] },
        { name: 'both', partitionData: [{ index: 0, records: batch([{ key: 'a', value: 'ok' }]) }] },
      ],
    });
    expect(r.responses.map((t) => t.partitionResponses[0]?.errorCode)).toEqual([
      0,
      K.INVALID_RECORD,
      K.UNKNOWN_TOPIC_OR_PARTITION,
      0,
    ]);
  });

  test('R5.1 offset and leader epoch are put in place outside the checksum', async () => {
    await createTopic(server, 'place');
    await produce(server, 'place', batch(['a', 'b']));
    const sent = batch(['c', 'd'], { baseOffset: 777, leaderEpoch: 55 });
    await produce(server, 'place', sent);
    const [, second] = batchesOf((await fetch(server, 'place', 0)).records);
    expect([second?.baseOffset, second?.bytes.readInt32BE(12)]).toEqual([2, 0]);
    expect(second?.bytes.subarray(16).equals(sent.subarray(16))).toBe(true);
  });

  test('R5.1 LogAppendTime rewrites attributes and timestamp, and the checksum is right', async () => {
    const wall = server.wallMs;
    const p = await produce(server, 'append', batch(['x', 'y'], { baseTimestamp: 12_345 }));
    expect(p.logAppendTimeMs).toBeGreaterThanOrEqual(wall);
    const records = recordsOf((await fetch(server, 'append', p.baseOffset)).records).filter(
      (r) => r.offset >= p.baseOffset,
    );
    expect(records.map((r) => r.timestamp)).toEqual([p.logAppendTimeMs, p.logAppendTimeMs]);
    const [stored] = batchesOf((await fetch(server, 'append', p.baseOffset)).records);
    const again = Buffer.from(stored?.bytes ?? []);
    setBatchCrc(again, 0);
    expect(again.readUInt32BE(17)).toBe(stored?.bytes.readUInt32BE(17));
    expect((await produce(server, 't', batch(['x']))).logAppendTimeMs).toBe(-1);
  });
});

describe('acks', () => {
  test('R13.6 acks=0 gets no answer; later answers of the connection stay in order', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    for (let i = 0; i < 5; i++) client.sendRequest('Produce', 9, produceFields('t', batch([`v${i}`]), 0, 0));
    const r = await server.run(client.call('Metadata', 9, { topics: [] }));
    expect(r.brokers.length).toBe(1);
    await server.advance(10);
    expect([client.answered.length, client.closed]).toEqual([1, false]);
    expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });

  test.each([
    ['unknown topic', () => produceFields('nope', batch(['x']), 0, 0)],
    ['bad batch', () => produceFields('t', Buffer.from('bad'), 0, 0)],
    ['transactional id', () => ({ ...produceFields('t', batch(['x']), 0, 0), transactionalId: 'tx' })],
  ])('R13.6 acks=0 with an error closes the connection: %s', async (_, fields) => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    client.sendRequest('Produce', 9, fields());
    await server.run(client.whenClosed());
    expect(client.answered).toEqual([]);
  });

  test('R13.6 acks=0 whose sync fails closes the connection', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const client = server.connect();
    server.sim.disk.faults.failNext('datasync', /commit/);
    client.sendRequest('Produce', 9, produceFields('t', batch(['x']), 0, 0));
    await server.run(client.whenClosed());
  });

  test.each([2, -2, 127, -32768])('acks=%i → INVALID_REQUIRED_ACKS', async (acks) => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const r = await server.ask('Produce', 9, produceFields('t', batch(['x']), 0, acks));
    expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.INVALID_REQUIRED_ACKS);
    expect(await valuesOf(server, 't')).toEqual([]);
  });

  test.each([1, -1])('acks=%i waits for the sync, and nobody reads the record before', async (acks) => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const client = server.connect();
    const answer = client.call('Produce', 9, produceFields('t', batch(['x']), 0, acks));
    await server.advance(1_000);
    expect(client.answered).toEqual([]);
    expect((await fetch(server, 't', 0)).highWatermark).toBe(0);
    expect((await offsetAt(server, 't', -1)).offset).toBe(0);
    hold.release();
    expect((await server.run(answer)).responses[0]?.partitionResponses[0]?.baseOffset).toBe(0);
    expect((await fetch(server, 't', 0)).highWatermark).toBe(1);
    expect(server.sim.disk.faults.unmet).toEqual([]);
  });
});

interface Producer {
  readonly id: number;
  epoch: number;
}
const idempotent = (
  p: Producer,
  sequence: number,
  values: readonly string[] = ['x'],
  more: BatchOptions = {},
): Buffer => batch(values, { producerId: p.id, producerEpoch: p.epoch, baseSequence: sequence, ...more });

async function newProducer(server: SimServer): Promise<Producer> {
  const r = await server.ask('InitProducerId', 4, {
    transactionalId: null,
    transactionTimeoutMs: 1_000,
    producerId: -1,
    producerEpoch: -1,
  });
  expect([r.errorCode, r.producerEpoch]).toEqual([0, 0]);
  return { id: r.producerId, epoch: 0 };
}

const LIVES = ['same life', 'close', 'kill', 'power'] as const;
async function nextLife(server: SimServer, how: (typeof LIVES)[number]): Promise<void> {
  if (how !== 'same life') await server.restart(how, 'nothing');
}

describe.each(LIVES)('R13 idempotent producers, %s', (life) => {
  test('R13.1 R13.2 the last five batches are remembered: a duplicate gets its original offset', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    await produce(server, 't', batch(['before']));
    const p = await newProducer(server);
    for (let i = 0; i < 8; i++)
      expect(await produce(server, 't', idempotent(p, i * 2, [`a${i}`, `b${i}`]))).toMatchObject({
        errorCode: 0,
        baseOffset: 1 + i * 2,
      });
    await nextLife(server, life);
    for (const i of [7, 3, 5, 4, 6, 7])
      expect(await produce(server, 't', idempotent(p, i * 2, [`a${i}`, `b${i}`]))).toMatchObject({
        errorCode: 0,
        baseOffset: 1 + i * 2,
      });
    // Older than the five: it was written, and where is forgotten. Never 0, never -1 as an offset with success.
    expect((await produce(server, 't', idempotent(p, 4, ['a2', 'b2']))).errorCode).toBe(K.DUPLICATE_SEQUENCE_NUMBER);
    expect((await valuesOf(server, 't')).length).toBe(17);
    expect(await produce(server, 't', idempotent(p, 16, ['next']))).toMatchObject({ errorCode: 0, baseOffset: 17 });
  });

  test('R13.3 a gap → OUT_OF_ORDER_SEQUENCE_NUMBER, nothing written', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    await produce(server, 't', idempotent(p, 0));
    await nextLife(server, life);
    for (const sequence of [2, 5, 100])
      expect((await produce(server, 't', idempotent(p, sequence))).errorCode).toBe(K.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await produce(server, 't', idempotent(p, 1))).errorCode).toBe(0);
    expect((await valuesOf(server, 't')).length).toBe(2);
  });

  test('R13.3 the sequence wraps from 2147483647 to 0', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    const max = 2_147_483_647;
    expect((await produce(server, 't', idempotent(p, max - 1, ['a']))).errorCode).toBe(0);
    expect((await produce(server, 't', idempotent(p, max, ['b', 'c', 'd']))).errorCode).toBe(0); // max, 0, 1
    await nextLife(server, life);
    expect(await produce(server, 't', idempotent(p, max, ['b', 'c', 'd']))).toMatchObject({
      errorCode: 0,
      baseOffset: 1,
    });
    expect((await produce(server, 't', idempotent(p, 3, ['gap']))).errorCode).toBe(K.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect(await produce(server, 't', idempotent(p, 2, ['e']))).toMatchObject({ errorCode: 0, baseOffset: 4 });
    // Written before the wrap, and still remembered.
    expect(await produce(server, 't', idempotent(p, max - 1, ['a']))).toMatchObject({ errorCode: 0, baseOffset: 0 });
  });

  test('R13.4 a newer epoch begins at 0, an older one is INVALID_PRODUCER_EPOCH', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    await produce(server, 't', idempotent(p, 0, ['a', 'b']));
    await nextLife(server, life);
    const newer = { id: p.id, epoch: 1 };
    expect((await produce(server, 't', idempotent(newer, 2))).errorCode).toBe(K.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect(await produce(server, 't', idempotent(newer, 0))).toMatchObject({ errorCode: 0, baseOffset: 2 });
    await nextLife(server, life);
    expect((await produce(server, 't', idempotent(p, 2))).errorCode).toBe(K.INVALID_PRODUCER_EPOCH);
    expect((await produce(server, 't', idempotent(p, 0, ['a', 'b']))).errorCode).toBe(K.INVALID_PRODUCER_EPOCH);
    expect(await produce(server, 't', idempotent(newer, 0))).toMatchObject({ errorCode: 0, baseOffset: 2 });
  });

  test('R13.4 without state any first sequence is accepted (KIP-360)', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't', { partitions: 2 });
    const p = await newProducer(server);
    await produce(server, 't', idempotent(p, 0), 0);
    await nextLife(server, life);
    expect(await produce(server, 't', idempotent(p, 41), 1)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect((await produce(server, 't', idempotent(p, 43), 1)).errorCode).toBe(K.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await produce(server, 't', idempotent(p, 42), 1)).errorCode).toBe(0);
  });

  test('R13.5 G5 producer ids are never given twice', async () => {
    const server = await SimServer.start();
    const ids = new Set<number>();
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 3; i++) ids.add((await newProducer(server)).id);
      await nextLife(server, life);
    }
    expect(ids.size).toBe(12);
  });
});

describe('R13 G5', () => {
  test('R13.2 G5 the answer to a duplicate waits for the original’s sync', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const first = server.connect();
    const second = server.connect();
    const original = first.call('Produce', 9, produceFields('t', idempotent(p, 0)));
    await server.advance(100);
    const duplicate = second.call('Produce', 9, produceFields('t', idempotent(p, 0)));
    await server.advance(1_000);
    expect([first.answered.length, second.answered.length]).toEqual([0, 0]);
    hold.release();
    const answers = await server.run(Promise.all([original, duplicate]));
    expect(answers.map((r) => r.responses[0]?.partitionResponses[0])).toEqual([
      expect.objectContaining({ errorCode: 0, baseOffset: 0 }),
      expect.objectContaining({ errorCode: 0, baseOffset: 0 }),
    ]);
  });

  test('R13.2 G5 the duplicate of a batch whose sync fails is not acknowledged', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    server.sim.disk.faults.slowNext('datasync', /commit/, 500);
    await server.run(server.connect().call('Produce', 9, produceFields('t', batch(['first']))));
    server.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    const first = server.connect();
    const second = server.connect();
    const original = first.call('Produce', 9, produceFields('t', idempotent(p, 0)));
    await server.advance(0.1);
    const duplicate = second.call('Produce', 9, produceFields('t', idempotent(p, 0)));
    const answers = await server.run(Promise.all([original, duplicate]));
    expect(answers.map((r) => r.responses[0]?.partitionResponses[0]?.errorCode)).toEqual([
      K.KAFKA_STORAGE_ERROR,
      K.KAFKA_STORAGE_ERROR,
    ]);
    await server.advance(2_000);
    // The retry is judged by what recovery found, and is there once.
    expect((await produce(server, 't', idempotent(p, 0))).errorCode).toBe(0);
    expect((await valuesOf(server, 't')).length).toBe(2);
  });

  test('R13.2 G5 killed between the write and the sync: the retry succeeds and the record is there once', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const server = await SimServer.start({ seed });
      await createTopic(server, 't');
      const p = await newProducer(server);
      const client = server.connect();
      const answers = Array.from({ length: 5 }, (_, i) =>
        client.call('Produce', 9, produceFields('t', idempotent(p, i, [`v${i}`]))).catch(() => undefined),
      );
      await server.advance(0.2 * seed);
      await server.restart(seed % 2 === 0 ? 'kill' : 'power');
      await server.run(Promise.all(answers));
      for (let i = 0; i < 5; i++)
        expect(await produce(server, 't', idempotent(p, i, [`v${i}`]))).toMatchObject({ errorCode: 0, baseOffset: i });
      expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
    }
  });

  test('R13.1 five batches in flight on one connection', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    const client = server.connect();
    const batches = Array.from({ length: 5 }, (_, i) => idempotent(p, i * 3, ['a', 'b', 'c']));
    const offsets = async (): Promise<(number | undefined)[]> =>
      (await server.run(Promise.all(batches.map((b) => client.call('Produce', 9, produceFields('t', b)))))).map(
        (r) => r.responses[0]?.partitionResponses[0]?.baseOffset,
      );
    expect(await offsets()).toEqual([0, 3, 6, 9, 12]);
    expect(await offsets()).toEqual([0, 3, 6, 9, 12]);
  });

  test('R13.2 a batch of the same first sequence and another length is no duplicate', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    await produce(server, 't', idempotent(p, 0, ['a', 'b']));
    expect((await produce(server, 't', idempotent(p, 0, ['a', 'b', 'c']))).errorCode).not.toBe(0);
    expect((await produce(server, 't', idempotent(p, 1, ['b']))).errorCode).not.toBe(0);
    expect((await valuesOf(server, 't')).length).toBe(2);
  });

  test('R13.5 an idle producer is forgotten after producer.id.expiration.ms, not before', async () => {
    const server = await SimServer.start({ set: { 'producer.id.expiration.ms': '60000' } });
    await createTopic(server, 't');
    const p = await newProducer(server);
    await produce(server, 't', idempotent(p, 0));
    await server.advance(50_000);
    expect((await produce(server, 't', idempotent(p, 5))).errorCode).toBe(K.OUT_OF_ORDER_SEQUENCE_NUMBER);
    await server.advance(40_000);
    expect((await produce(server, 't', idempotent(p, 5))).errorCode).toBe(0);
  });

  test.each([365, -365])(
    'R13.5 G18 the wall clock jumps by %i days, up or down: no producer is forgotten',
    async (days) => {
      const server = await SimServer.start();
      await createTopic(server, 't', { config: { 'retention.ms': '-1' } });
      const old = { baseTimestamp: 1_000 };
      const p = await newProducer(server);
      await produce(server, 't', idempotent(p, 0, ['x'], old));
      server.sim.scheduler.jumpWall(days * 86_400_000);
      await server.advance(700_000);
      expect(await produce(server, 't', idempotent(p, 0, ['x'], old))).toMatchObject({ errorCode: 0, baseOffset: 0 });
      await server.run(server.broker.core.shard.checkpoint());
      server.kill();
      server.sim.scheduler.jumpWall(-2 * days * 86_400_000);
      await server.open();
      await server.advance(700_000);
      expect(await produce(server, 't', idempotent(p, 0, ['x'], old))).toMatchObject({ errorCode: 0, baseOffset: 0 });
      expect(server.logger.lines.some((l) => l.startsWith('warn the wall clock has jumped'))).toBe(true);
    },
  );

  test('R13.5 an old record timestamp does not make recovery forget its producer', async () => {
    const server = await SimServer.start({ set: { 'producer.id.expiration.ms': '60000' } });
    await createTopic(server, 't', { config: { 'retention.ms': '-1' } });
    const p = await newProducer(server);
    expect((await produce(server, 't', idempotent(p, 0, ['old'], { baseTimestamp: 1_000 }))).errorCode).toBe(0);
    await server.restart('kill');
    await server.advance(30_000);
    expect(await produce(server, 't', idempotent(p, 0, ['old'], { baseTimestamp: 1_000 }))).toMatchObject({
      errorCode: 0,
      baseOffset: 0,
    });
    expect((await produce(server, 't', idempotent(p, 5))).errorCode).toBe(K.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect((await valuesOf(server, 't')).length).toBe(1);
  });

  test('R13.2 a duplicate on a LogAppendTime topic gets the original’s time too', async () => {
    for (const life of ['same life', 'kill'] as const) {
      const server = await SimServer.start();
      await createTopic(server, 't', { config: { 'message.timestamp.type': 'LogAppendTime' } });
      const p = await newProducer(server);
      const first = await produce(server, 't', idempotent(p, 0));
      await server.advance(5_000);
      await nextLife(server, life);
      const again = await produce(server, 't', idempotent(p, 0));
      expect([again.baseOffset, again.logAppendTimeMs]).toEqual([0, first.logAppendTimeMs]);
    }
  });

  test('R13.5 the state outlives DeleteRecords of everything', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const p = await newProducer(server);
    await produce(server, 't', idempotent(p, 0));
    const deleted = await server.ask('DeleteRecords', 2, {
      topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: -1 }] }],
    });
    expect(deleted.topics[0]?.partitions[0]).toMatchObject({ errorCode: 0, lowWatermark: 1 });
    await server.restart('kill');
    expect(await produce(server, 't', idempotent(p, 0))).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect((await produce(server, 't', idempotent(p, 1))).baseOffset).toBe(1);
  });
});

describe('transactions are refused until they exist', () => {
  test('InitProducerId with a transactional id → INVALID_REQUEST, logged', async () => {
    const server = await SimServer.start();
    for (const transactionalId of ['tx', '']) {
      const r = await server.ask('InitProducerId', 4, {
        transactionalId,
        transactionTimeoutMs: 1_000,
        producerId: -1,
        producerEpoch: -1,
      });
      expect([r.errorCode, r.producerId, r.producerEpoch]).toEqual([K.INVALID_REQUEST, -1, -1]);
    }
    expect(server.logger.lines.filter((l) => l.startsWith('warn') && l.includes('transaction')).length).toBe(2);
  });

  test('Produce with a transactional id, and a transactional batch → INVALID_REQUEST, logged', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const tx = await server.ask('Produce', 9, { ...produceFields('t', batch(['x'])), transactionalId: 'tx' });
    expect(tx.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.INVALID_REQUEST);
    expect(server.logger.lines.filter((l) => l.startsWith('warn') && l.includes('transaction')).length).toBe(1);
    const bit = await produce(
      server,
      't',
      patched(
        batch(['x'], { producerId: 1, producerEpoch: 0, baseSequence: 0 }),
        (b) => void b.writeInt16BE(ATTRIBUTE_TRANSACTIONAL, 21),
      ),
    );
    expect(bit.errorCode).toBe(K.INVALID_REQUEST);
    expect(server.logger.lines.filter((l) => l.startsWith('warn') && l.includes('transaction')).length).toBe(2);
    expect(await valuesOf(server, 't')).toEqual([]);
  });

  test.each([1, 2, 3, -1])('FindCoordinator of type %i → INVALID_REQUEST, logged', async (keyType) => {
    const server = await SimServer.start();
    for (const v of [1, 3])
      expect(await server.ask('FindCoordinator', v, { keyType, key: 'k' })).toMatchObject({
        errorCode: K.INVALID_REQUEST,
        nodeId: -1,
      });
    for (const v of [4, 6])
      expect(
        (await server.ask('FindCoordinator', v, { keyType, coordinatorKeys: ['k', 'l'] })).coordinators.map(
          (c) => c.errorCode,
        ),
      ).toEqual([K.INVALID_REQUEST, K.INVALID_REQUEST]);
    expect(server.logger.lines.filter((l) => l.startsWith('warn') && l.includes('transactions')).length).toBe(4);
  });
});

test('STAMP lies in the past of the simulated clock', async () => {
  const server = await SimServer.start();
  expect(STAMP).toBeLessThanOrEqual(server.wallMs);
  expect(await Promise.reject(new ConnectionClosed()).catch((e: unknown) => e)).toBeInstanceOf(ConnectionClosed);
});
