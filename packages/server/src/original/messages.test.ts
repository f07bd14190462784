import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { HadronError } from '@hadron/base';
import { ProtoWriter } from '@hadron/contracts/protobuf';
import { original as pb } from '@hadron/contracts/services';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodePublish, decodeSubscribe, encodeDelivery, encodeMetadata, encodePublished } from './messages.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const encoded = <T>(encode: (w: ProtoWriter, m: T) => void, message: T): Uint8Array => {
  const w = new ProtoWriter(1);
  encode(w, message);
  return w.written();
};

const word = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
const event = fc.record({
  id: word,
  source: word,
  type: word,
  attributes: fc.dictionary(fc.stringMatching(/^[a-z0-9]{1,10}$/), word, { maxKeys: 4 }),
  data: fc.uint8Array({ maxLength: 200 }),
});
const initOf = ({ id, source, type, attributes, data }: typeof event extends fc.Arbitrary<infer T> ? T : never) => ({
  id,
  source,
  type,
  specversion: '1.0',
  optattrs: attributes,
  data: data as Uint8Array<ArrayBuffer>,
});

describe('messages of the original, by hand and by the generated code', () => {
  test('StreamPublishRequest', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 4 }), (events) => {
        const message = create(pb.StreamPublishRequestSchema, { batch: events.map(initOf), fsync: true, ack: 2 });
        const got = decodePublish(toBinary(pb.StreamPublishRequestSchema, message));
        expect(
          got.map((e) => ({ ...e, attributes: Object.fromEntries(e.attributes), data: hex(e.data ?? Buffer.of()) })),
        ).toEqual(events.map((e) => ({ ...e, data: hex(e.data) })));
      }),
    );
  });

  test('what is reserved does not come in; another specversion is refused', () => {
    const publish = (init: MessageInitShape<typeof pb.EventSchema>): Uint8Array =>
      toBinary(pb.StreamPublishRequestSchema, create(pb.StreamPublishRequestSchema, { batch: [init] }));
    const base = { id: '1', source: 's', type: 't', specversion: '1.0' };
    const [read] = decodePublish(publish({ ...base, optattrs: { hadronoffset: '1', hadronpartition: '0', a: 'b' } }));
    expect(read).toEqual({ id: '1', source: 's', type: 't', attributes: new Map([['a', 'b']]), data: undefined });
    for (const specversion of ['', '0.3']) {
      expect(() => decodePublish(publish({ ...base, specversion }))).toThrow(/^EVENT_INVALID: specversion/);
    }
  });

  test('StreamSubscribeResponse', () => {
    const at = fc.record({ partition: fc.nat(1000), offset: fc.maxSafeNat() });
    fc.assert(
      fc.property(fc.array(fc.tuple(event, at), { maxLength: 4 }), (items) => {
        const events = items.map(([e, place]) => ({
          event: { ...e, attributes: new Map(Object.entries(e.attributes)) },
          ...place,
        }));
        const message = create(pb.StreamSubscribeResponseSchema, {
          batch: items.map(([e, { partition, offset }]) => ({
            ...initOf(e),
            optattrs: { ...e.attributes, hadronpartition: String(partition), hadronoffset: String(offset) },
          })),
          lastIncludedOffset: BigInt(items.at(-1)?.[1].offset ?? 0),
        });
        const bytes = encoded(encodeDelivery, events);
        expect(fromBinary(pb.StreamSubscribeResponseSchema, bytes)).toEqual(message);
        expect(hex(bytes)).toBe(hex(toBinary(pb.StreamSubscribeResponseSchema, message)));
      }),
    );
  });

  test('StreamSubscribeRequest', () => {
    const request = (init: MessageInitShape<typeof pb.StreamSubscribeRequestSchema>) =>
      decodeSubscribe(toBinary(pb.StreamSubscribeRequestSchema, create(pb.StreamSubscribeRequestSchema, init)));
    const setup = { groupName: 'g', durable: true, maxBatchSize: 50 };
    const starts = [
      [{ case: 'beginning', value: {} }, 'beginning'],
      [{ case: 'latest', value: {} }, 'latest'],
      [{ case: 'offset', value: 0n }, { offset: 0 }],
      [{ case: 'offset', value: 7n }, { offset: 7 }],
      [{ case: undefined }, undefined],
    ] as const;
    for (const [startingPoint, start] of starts) {
      expect(request({ action: { case: 'setup', value: { ...setup, startingPoint } } })).toEqual({
        kind: 'setup',
        setup: { ...setup, start },
      });
    }
    expect(request({ action: { case: 'setup', value: {} } })).toEqual({
      kind: 'setup',
      setup: { groupName: '', durable: false, maxBatchSize: 0, start: undefined },
    });
    expect(request({ action: { case: 'ack', value: {} } })).toEqual({ kind: 'ack' });
    expect(request({ action: { case: 'nack', value: '' } })).toEqual({ kind: 'nack', reason: '' });
    expect(request({})).toEqual({ kind: 'nothing' });
  });

  test('MetadataResponse, StreamPublishResponse', () => {
    const partitions = [
      { partition: 0, internal: 'a:1', external: '' },
      { partition: 1, internal: 'b:2', external: 'c:3' },
    ];
    expect(hex(encoded(encodeMetadata, partitions))).toBe(
      hex(toBinary(pb.MetadataResponseSchema, create(pb.MetadataResponseSchema, { partitions }))),
    );
    for (const offset of [0, 1, 2 ** 40]) {
      const message = create(pb.StreamPublishResponseSchema, { offset: BigInt(offset) });
      expect(hex(encoded(encodePublished, offset))).toBe(hex(toBinary(pb.StreamPublishResponseSchema, message)));
    }
  });

  test('random bytes are refused or mean something else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const decode of [decodePublish, decodeSubscribe]) {
          try {
            decode(bytes);
          } catch (error) {
            if (!(error instanceof HadronError)) throw error;
          }
        }
      }),
    );
  });
});
