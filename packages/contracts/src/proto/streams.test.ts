import { create, equals, fromBinary, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RecordSettings } from '../events/record.ts';
import * as wire from './streams.ts';
import * as pb from './services.ts';
import { BYTES, FIXED32, FIXED64, ProtoReader, ProtoWriter, tag, VARINT } from './wire.ts';

const encoded = <T>(encode: (w: ProtoWriter, m: T) => void, message: T): Uint8Array => {
  const w = new ProtoWriter(1);
  encode(w, message);
  return w.written().slice();
};

const offset = fc.maxSafeNat();
const partition = fc.nat(100_000);
const bytes = fc.uint8Array({ maxLength: 300 });
const latin1 = fc.uint8Array({ maxLength: 30 }).map((b) => Buffer.from(b).toString('latin1'));
const word = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constant('x'.repeat(200)));
const error = fc.record({ code: word, message: word, field: word });
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });
const record = fc.record({ bytes, timestampMs: fc.maxSafeInteger() });
const delivery = fc.record({
  token: word,
  partition,
  offset,
  attempt: partition,
  redrive: partition,
  lane: maybe(latin1),
  record,
});
const verdict = fc.oneof(
  fc.record({ kind: fc.constant('ack' as const) }),
  fc.record({ kind: fc.constant('nack' as const), reason: maybe(fc.constant('no')), delayMs: maybe(offset) }),
  fc.record({ kind: fc.constant('term' as const), reason: maybe(fc.constant('never')) }),
  fc.record({ kind: fc.constant('extend' as const) }),
);
const answers = fc.record({ sequence: offset, items: fc.array(fc.record({ token: word, verdict }), { maxLength: 5 }) });
const code = word.filter((w) => w !== '');
const answered = fc.record({
  sequence: offset,
  results: fc.array(
    fc.oneof(
      fc.constant({ ok: true as const }),
      fc.record({ ok: fc.constant(false as const), code, message: word }),
      fc.record({ ok: fc.constant(false as const), code, message: word, settled: fc.constant('acked' as const) }),
    ),
    { maxLength: 5 },
  ),
});
const recordSettings = fc.record({
  interpret: fc.constantFrom('lenient', 'off', 'required'),
  type: word,
  datacontenttype: maybe(word),
  attributesFromHeaders: fc
    .uniqueArray(fc.tuple(word, word), { maxLength: 4, selector: ([header]) => header })
    .map((entries): ReadonlyMap<string, string> => new Map(entries)),
});
const recordSettingsInit = (s: RecordSettings) => ({
  interpret: { lenient: 0, off: 1, required: 2 }[s.interpret] as pb.Interpretation,
  type: s.type,
  ...(s.datacontenttype === undefined ? {} : { datacontenttype: s.datacontenttype }),
  attributesFromHeaders: [...s.attributesFromHeaders].map(([header, attribute]) => ({ header, attribute })),
});
const withRecords = <T extends { readonly records?: RecordSettings | undefined }>({ records, ...rest }: T) => ({
  ...rest,
  ...(records === undefined ? {} : { records: recordSettingsInit(records) }),
});
const openedArbitrary = fc.record({ session: word, settingsJson: word, topicId: word, records: maybe(recordSettings) });
const open = fc.record({ stream: word, group: word, settingsJson: word, credit: partition });

const big = BigInt;
const result = fc.oneof(fc.record({ partition, offset }), fc.record({ error }));

/** With all bytes as hex: a Buffer is not equal to other bytes. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}

/** Bytes by hand = bytes of the generated code, and what was encoded comes back. */
function same<T, D extends DescMessage>(
  name: string,
  arbitrary: fc.Arbitrary<T>,
  encode: (w: ProtoWriter, m: T) => void,
  decode: (b: Uint8Array) => unknown,
  schema: D,
  init: (m: T) => MessageInitShape<D>,
): void {
  test(`${name}: the bytes of the generated code`, () => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        const mine = encoded(encode, message);
        const theirs = create(schema, init(message));
        expect(Buffer.from(mine).toString('hex')).toBe(Buffer.from(toBinary(schema, theirs)).toString('hex'));
        expect(equals(schema, fromBinary(schema, mine), theirs)).toBe(true);
        expect(decode(mine)).toEqual(message);
        // Node's buffers have a way of their own for short texts.
        expect(plain(decode(Buffer.from(mine)))).toEqual(plain(message));
      }),
    );
  });
  test(`${name}: damaged bytes are REQUEST_INVALID or another message, never anything else`, () => {
    const attempt = (input: Uint8Array): void => {
      try {
        decode(input);
      } catch (thrown) {
        if (!(thrown instanceof HadronError) || thrown.code !== 'REQUEST_INVALID') throw thrown;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), attempt));
    fc.assert(
      fc.property(arbitrary, fc.nat(), fc.nat(255), (message, at, value) => {
        const input = encoded(encode, message);
        if (input.length === 0) return;
        input[at % input.length] = value;
        attempt(input);
        attempt(input.subarray(0, at % input.length));
      }),
    );
  });
}

const recordInit = (d: wire.WireTailRecord) => ({
  partition: d.partition,
  offset: big(d.offset),
  record: d.record.bytes as Uint8Array<ArrayBuffer>,
  timestampMs: big(d.record.timestampMs),
});

describe('messages of hadron.v1.Streams', () => {
  const event = { id: '1', source: '/s', specVersion: '1.0', type: 't', attributes: {}, data: { case: undefined } };
  const eventBytes = toBinary(
    pb.CloudEventSchema,
    create(pb.CloudEventSchema, { ...event, data: { case: undefined } }),
  );
  same(
    'PublishRequest',
    fc
      .record({
        sequence: offset,
        stream: word,
        kind: fc.constantFrom('events', 'recordBatch', 'recordBatches'),
        count: fc.nat(200),
        recordBatch: bytes,
        recordBatches: fc.array(fc.record({ partition, recordBatch: bytes }), { maxLength: 5 }),
        partition: maybe(partition),
        atomic: fc.boolean(),
      })
      .map(({ kind, count, recordBatch, recordBatches, ...rest }) => ({
        ...rest,
        events: kind === 'events' ? Array.from({ length: count }, () => eventBytes) : undefined,
        recordBatch: kind === 'recordBatch' ? recordBatch : undefined,
        recordBatches: kind === 'recordBatches' ? recordBatches : undefined,
      })),
    wire.encodePublishRequest,
    wire.decodePublishRequest,
    pb.PublishRequestSchema,
    (m): MessageInitShape<typeof pb.PublishRequestSchema> => ({
      sequence: big(m.sequence),
      stream: m.stream,
      batch:
        m.recordBatches !== undefined
          ? {
              case: 'recordBatches',
              value: {
                items: m.recordBatches.map((b) => ({ ...b, recordBatch: b.recordBatch as Uint8Array<ArrayBuffer> })),
              },
            }
          : m.events === undefined
            ? { case: 'recordBatch', value: m.recordBatch as Uint8Array<ArrayBuffer> }
            : { case: 'events', value: { events: m.events.map((b) => fromBinary(pb.CloudEventSchema, b)) } },
      ...(m.partition === undefined ? {} : { partition: m.partition }),
      atomic: m.atomic,
    }),
  );
  same(
    'PublishResponse',
    fc.record({
      sequence: offset,
      error: maybe(error),
      partition,
      baseOffset: offset,
      results: fc.array(result, { maxLength: 5 }),
    }),
    wire.encodePublishResponse,
    wire.decodePublishResponse,
    pb.PublishResponseSchema,
    (m) => ({
      sequence: big(m.sequence),
      ...(m.error === undefined ? {} : { error: m.error }),
      partition: m.partition,
      baseOffset: big(m.baseOffset),
      results: m.results.map((r) =>
        'error' in r ? { error: r.error } : { partition: r.partition, offset: big(r.offset) },
      ),
    }),
  );
  same(
    'ConsumeRequest',
    fc.oneof(
      fc.record({ kind: fc.constant('open' as const), open }),
      fc.record({ kind: fc.constant('credit' as const), credit: partition }),
      fc.record({ kind: fc.constant('answers' as const), answers }),
      fc.record({ kind: fc.constant('drain' as const) }),
    ),
    wire.encodeConsumeRequest,
    wire.decodeConsumeRequest,
    pb.ConsumeRequestSchema,
    (m): MessageInitShape<typeof pb.ConsumeRequestSchema> => {
      if (m.kind === 'open') return { action: { case: 'open', value: m.open } };
      if (m.kind === 'credit') return { action: { case: 'credit', value: m.credit } };
      if (m.kind === 'drain') return { action: { case: 'drain', value: true } };
      const items = m.answers.items.map(({ token, verdict: v }) => ({
        token,
        verdict: { ack: 0, nack: 1, term: 2, extend: 3 }[v.kind] as pb.VerdictKind,
        ...('reason' in v && v.reason !== undefined ? { reason: v.reason } : {}),
        ...('delayMs' in v && v.delayMs !== undefined ? { delayMs: big(v.delayMs) } : {}),
      }));
      return { action: { case: 'answers', value: { sequence: big(m.answers.sequence), items } } };
    },
  );
  same(
    'ConsumeResponse',
    fc.oneof(
      fc.record({ kind: fc.constant('opened' as const), opened: openedArbitrary }),
      fc.record({ kind: fc.constant('deliveries' as const), deliveries: fc.array(delivery, { maxLength: 4 }) }),
      fc.record({ kind: fc.constant('answered' as const), answered }),
      fc.record({ kind: fc.constant('withdrawn' as const), tokens: fc.array(word, { maxLength: 4 }) }),
      fc.record({ kind: fc.constant('drained' as const) }),
    ),
    wire.encodeConsumeResponse,
    wire.decodeConsumeResponse,
    pb.ConsumeResponseSchema,
    (m): MessageInitShape<typeof pb.ConsumeResponseSchema> => {
      if (m.kind === 'opened') return { event: { case: 'opened', value: withRecords(m.opened) } };
      if (m.kind === 'withdrawn') return { event: { case: 'withdrawn', value: { tokens: [...m.tokens] } } };
      if (m.kind === 'drained') return { event: { case: 'drained', value: true } };
      if (m.kind === 'deliveries') {
        const items = m.deliveries.map((d) => ({
          token: d.token,
          attempt: d.attempt,
          redrive: d.redrive,
          ...recordInit(d),
          ...(d.lane === undefined ? {} : { lane: new Uint8Array(Buffer.from(d.lane, 'latin1')) }),
        }));
        return { event: { case: 'deliveries', value: { items } } };
      }
      const results = m.answered.results.map((r) =>
        r.ok ? {} : { code: r.code, message: r.message, settled: ('settled' in r ? r.settled : undefined) ?? '' },
      );
      return { event: { case: 'answered', value: { sequence: big(m.answered.sequence), results } } };
    },
  );
  same(
    'TailRequest',
    fc.record({
      stream: word,
      from: fc.oneof(
        fc.constant('beginning' as const),
        fc.constant('latest' as const),
        fc.record({ timeMs: fc.maxSafeInteger() }),
        fc.record({ cursor: word }),
        fc.record({ offset }),
      ),
      partition: maybe(partition),
    }),
    wire.encodeTailRequest,
    wire.decodeTailRequest,
    pb.TailRequestSchema,
    ({ stream, from, partition: p }): MessageInitShape<typeof pb.TailRequestSchema> => ({
      stream,
      from:
        from === 'beginning'
          ? { case: 'beginning', value: true }
          : from === 'latest'
            ? { case: 'latest', value: true }
            : 'timeMs' in from
              ? { case: 'timeMs', value: big(from.timeMs) }
              : 'cursor' in from
                ? { case: 'cursor', value: from.cursor }
                : { case: 'offset', value: big(from.offset) },
      ...(p === undefined ? {} : { partition: p }),
    }),
  );
  same(
    'TailResponse',
    fc.record({ records: fc.array(fc.record({ partition, offset, record }), { maxLength: 5 }), cursor: word }),
    (w, m) => wire.encodeTailResponse(w, m),
    wire.decodeTailResponse,
    pb.TailResponseSchema,
    (m) => ({ records: m.records.map(recordInit), cursor: m.cursor }),
  );
  same(
    'InfoRequest',
    fc.record({ stream: word }),
    (w, m) => wire.encodeInfoRequest(w, m.stream),
    (b) => ({ stream: wire.decodeInfoRequest(b) }),
    pb.InfoRequestSchema,
    (m) => m,
  );
  same(
    'InfoResponse',
    fc.record({ name: word, topicId: word, partitions: partition, records: maybe(recordSettings) }),
    wire.encodeInfoResponse,
    wire.decodeInfoResponse,
    pb.InfoResponseSchema,
    withRecords,
  );
  same(
    'NewProducerResponse',
    fc.record({ producerId: offset, producerEpoch: fc.nat(32_767) }),
    wire.encodeNewProducerResponse,
    wire.decodeNewProducerResponse,
    pb.NewProducerResponseSchema,
    (m) => ({ producerId: big(m.producerId), producerEpoch: m.producerEpoch }),
  );
});

describe('many small items in one message', () => {
  const empty = (count: number): Uint8Array => Uint8Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? 10 : 0));

  test('events: refused beyond 10,000, before an object is made of each', () => {
    const request = (count: number): Uint8Array =>
      encoded((w, events: Uint8Array) => w.bytes(tag(3, BYTES), events), empty(count));
    expect(wire.decodePublishRequest(request(10_000)).events).toHaveLength(10_000);
    expect(() => wire.decodePublishRequest(request(10_001))).toThrow(/^EVENT_TOO_LARGE.*10000 events/);
  });

  test('record batches: refused beyond 10,000', () => {
    const request = (count: number): Uint8Array =>
      encoded((w, batches: Uint8Array) => w.bytes(tag(7, BYTES), batches), empty(count));
    expect(wire.decodePublishRequest(request(10_000)).recordBatches).toHaveLength(10_000);
    expect(() => wire.decodePublishRequest(request(10_001))).toThrow(/^REQUEST_INVALID.*10000 record batches/);
  });

  test('answers: refused beyond 100,000', () => {
    const items = empty(100_001).map((b) => (b === 10 ? tag(2, BYTES) : b));
    const request = (count: number): Uint8Array =>
      encoded((w, bytes: Uint8Array) => w.bytes(tag(3, BYTES), bytes), items.subarray(0, 2 * count));
    expect(wire.decodeConsumeRequest(request(100_000))).toMatchObject({ kind: 'answers', answers: { sequence: 0 } });
    expect(() => wire.decodeConsumeRequest(request(100_001))).toThrow(/^REQUEST_INVALID.*100000 answers/);
  });
});

describe('wire format', () => {
  const read = (...b: number[]): ProtoReader => {
    const reader = new ProtoReader(Uint8Array.of(...b));
    reader.next();
    return reader;
  };

  test('unknown fields of every type are passed over', () => {
    const w = new ProtoWriter();
    w.uint(tag(900, VARINT), 2 ** 52);
    w.bytes(tag(901, BYTES), new Uint8Array(300));
    w.uint(tag(902, VARINT), 1);
    w.string(tag(1, BYTES), 'orders');
    const fixed = [...[tag(14, FIXED64), 1, 2, 3, 4, 5, 6, 7, 8], ...[tag(15, FIXED32), 1, 2, 3, 4]];
    expect(wire.decodeInfoRequest(Uint8Array.of(...fixed, ...w.written()))).toBe('orders');
  });

  test.each([
    ['an integer of eleven bytes', () => read(8, ...Array.from({ length: 10 }, () => 0xff), 1).uint64()],
    ['an integer beyond 2^53', () => read(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f).uint64()],
    ['a negative where none may be', () => read(8, ...Array.from({ length: 9 }, () => 0xff), 1).uint64()],
    ['an end inside an integer', () => read(8, 0xff).uint64()],
    ['a length beyond the end', () => read(10, 5, 1).bytes()],
    ['text that is not UTF-8', () => read(10, 1, 0xff).string()],
    ['field 0', () => read(1)],
    ['a group', () => read(11).skip()],
  ])('%s is refused', (_what, fn) => {
    expect(fn).toThrow(/^REQUEST_INVALID/);
  });
});
