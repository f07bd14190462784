/** The protobuf format (§6.1 of cloudevents.md), with generated code as the oracle in both directions. */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AttributeType, CloudEvent } from '../events/event.ts';
import { parseProtoBatch, parseProtoEvent, writeProtoBatch, writeProtoEvent } from './events.ts';
import {
  CloudEventBatchSchema,
  type CloudEvent_CloudEventAttributeValue as AttributeValue,
  CloudEvent_CloudEventAttributeValueSchema as AttributeValueSchema,
  CloudEventSchema,
} from './generated/io/cloudevents/v1/cloudevents_pb.ts';

type Attr = AttributeValue['attr'];
type Data = NonNullable<MessageInitShape<typeof CloudEventSchema>['data']>;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A message as any other implementation would make it. */
function message(attributes: Record<string, Attr>, data?: Data, more: object = {}): Uint8Array {
  const values = Object.entries(attributes).map(([name, attr]) => [name, create(AttributeValueSchema, { attr })]);
  return toBinary(
    CloudEventSchema,
    create(CloudEventSchema, {
      id: '1',
      source: '/s',
      specVersion: '1.0',
      type: 't',
      attributes: Object.fromEntries(values),
      ...(data === undefined ? {} : { data }),
      ...more,
    }),
  );
}

const event = (attributes: Record<string, string>, more: Partial<CloudEvent> = {}): CloudEvent => ({
  id: '1',
  source: '/s',
  type: 't',
  attributes: new Map(Object.entries(attributes)),
  types: undefined,
  data: undefined,
  ...more,
});

function failure(run: () => unknown): HadronError {
  try {
    run();
  } catch (error) {
    if (error instanceof HadronError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('attribute types', () => {
  test.each<[AttributeType, Attr, string]>([
    ['Boolean', { case: 'ceBoolean', value: true }, 'true'],
    ['Boolean', { case: 'ceBoolean', value: false }, 'false'],
    ['Integer', { case: 'ceInteger', value: 0 }, '0'],
    ['Integer', { case: 'ceInteger', value: -5 }, '-5'],
    ['Integer', { case: 'ceInteger', value: -2147483648 }, '-2147483648'],
    ['Integer', { case: 'ceInteger', value: 2147483647 }, '2147483647'],
    ['String', { case: 'ceString', value: 'é' }, 'é'],
    ['String', { case: 'ceString', value: '' }, ''],
    ['Binary', { case: 'ceBytes', value: Uint8Array.of(0, 255) }, 'AP8='],
    ['URI', { case: 'ceUri', value: 'urn:x' }, 'urn:x'],
    ['URI-reference', { case: 'ceUriRef', value: '/x' }, '/x'],
    [
      'Timestamp',
      { case: 'ceTimestamp', value: { seconds: 1n, nanos: 5_000_000 } as never },
      '1970-01-01T00:00:01.005Z',
    ],
    [
      'Timestamp',
      { case: 'ceTimestamp', value: { seconds: -62135596800n, nanos: 0 } as never },
      '0001-01-01T00:00:00Z',
    ],
    [
      'Timestamp',
      { case: 'ceTimestamp', value: { seconds: 253402300799n, nanos: 999999999 } as never },
      '9999-12-31T23:59:59.999999999Z',
    ],
  ])('%s (%#)', (type, attr, text) => {
    const wire = message({ x: attr });
    const read = parseProtoEvent(wire);
    expect(read).toEqual(event({ x: text }, { types: type === 'String' ? undefined : new Map([['x', type]]) }));
    expect(fromBinary(CloudEventSchema, writeProtoEvent(read))).toEqual(fromBinary(CloudEventSchema, wire));
    expect(parseProtoEvent(writeProtoEvent(read))).toEqual(read);
  });
  test('what names tell needs no type beside it, and leaves with its type', () => {
    const time = { case: 'ceTimestamp', value: { seconds: 5n, nanos: 0 } as never } as const;
    const read = parseProtoEvent(
      message({ time, subject: { case: 'ceString', value: 's' }, sampledrate: { case: 'ceInteger', value: 3 } }),
    );
    expect(read.types).toBeUndefined();
    const out = fromBinary(
      CloudEventSchema,
      writeProtoEvent(
        event({ time: '1970-01-01T00:00:05Z', sampledrate: '3', dataschema: 'urn:x', dataref: '/r', x: '5' }),
      ),
    );
    expect(Object.entries(out.attributes).map(([name, v]) => [name, v.attr.case])).toEqual([
      ['time', 'ceTimestamp'],
      ['sampledrate', 'ceInteger'],
      ['dataschema', 'ceUri'],
      ['dataref', 'ceUriRef'],
      ['x', 'ceString'],
    ]);
  });
  test('a time keeps its moment; one that a Timestamp cannot hold keeps its text', () => {
    const back = (time: string): string | undefined =>
      parseProtoEvent(writeProtoEvent(event({ time }))).attributes.get('time');
    expect(back('2026-01-01T01:00:00.10+02:00')).toBe('2025-12-31T23:00:00.100Z');
    expect(back('1969-12-31T23:59:59.5Z')).toBe('1969-12-31T23:59:59.500Z');
    expect(back('2026-01-01T00:00:00.1234567890Z')).toBe('2026-01-01T00:00:00.123456789Z');
    for (const kept of ['2016-12-31T23:59:60Z', '2026-01-01T00:00:00.1234567891Z', '0000-01-01T00:00:00Z'])
      expect(back(kept)).toBe(kept);
  });
  test('a string may stand for the type that a name tells', () => {
    const read = parseProtoEvent(message({ time: { case: 'ceString', value: '2026-01-01T00:00:00+02:00' } }));
    expect([read.attributes.get('time'), read.types]).toEqual(['2026-01-01T00:00:00+02:00', undefined]);
  });
  test.each<[string, Record<string, Attr>]>([
    ['time', { time: { case: 'ceString', value: 'now' } }],
    ['time', { time: { case: 'ceInteger', value: 5 } }],
    ['time', { time: { case: 'ceTimestamp', value: { seconds: 253402300800n, nanos: 0 } as never } }],
    ['time', { time: { case: 'ceTimestamp', value: { seconds: 0n, nanos: -1 } as never } }],
    ['x', { x: { case: undefined } }],
    ['x', { x: { case: 'ceUri', value: 'relative' } }],
    ['x', { x: { case: 'ceUriRef', value: 'a b' } }],
    ['x', { x: { case: 'ceString', value: '\n' } }],
    ['a-b', { 'a-b': { case: 'ceString', value: '' } }],
    ['data', { data: { case: 'ceString', value: '' } }],
    ['', { '': { case: 'ceString', value: '' } }],
    ['attributes.id', { id: { case: 'ceString', value: '2' } }],
    ['attributes.specversion', { specversion: { case: 'ceString', value: '1.0' } }],
  ])('%s is refused (%#)', (field, attributes) => {
    expect(failure(() => parseProtoEvent(message(attributes)))).toMatchObject({ code: 'EVENT_INVALID', field });
  });
  test.each([
    ['id', { id: '' }],
    ['source', { source: '' }],
    ['type', { type: '' }],
    ['spec_version', { specVersion: '' }],
    ['spec_version', { specVersion: '0.3' }],
  ])('%s is required', (field, more) => {
    expect(failure(() => parseProtoEvent(message({}, undefined, more)))).toMatchObject({
      code: 'EVENT_INVALID',
      field,
    });
  });
});

describe('data', () => {
  const out = (attributes: Record<string, string>, data: Uint8Array) =>
    fromBinary(CloudEventSchema, writeProtoEvent(event(attributes, { data }))).data;
  test('binary_data, text_data, none', () => {
    expect(parseProtoEvent(message({}, { case: 'binaryData', value: Uint8Array.of(0, 255) })).data).toEqual(
      Uint8Array.of(0, 255),
    );
    expect(parseProtoEvent(message({}, { case: 'binaryData', value: new Uint8Array(0) })).data).toEqual(
      new Uint8Array(0),
    );
    expect(parseProtoEvent(message({}, { case: 'textData', value: 'é' })).data).toEqual(bytes('é'));
    expect(parseProtoEvent(message({})).data).toBeUndefined();
  });
  test.each([
    ['application/json', '{}', 'textData'],
    ['a/b+json', 'not json', 'textData'],
    ['text/plain; charset=utf-8', 'é', 'textData'],
    ['text/plain; charset=latin1', 'é', 'binaryData'],
    ['image/svg+xml', '<x/>', 'binaryData'],
    ['application/octet-stream', 'x', 'binaryData'],
    [undefined, 'x', 'binaryData'],
  ])('%s leaves as such', (type, data, expected) => {
    expect(out(type === undefined ? {} : { datacontenttype: type }, bytes(data)).case).toBe(expected);
  });
  test('text that is not UTF-8 leaves as bytes, and is refused as text', () => {
    expect(out({ datacontenttype: 'text/plain' }, Uint8Array.of(0xff)).case).toBe('binaryData');
    const wire = message({}, { case: 'textData', value: '\u0001' });
    wire[wire.length - 1] = 0xff;
    expect(failure(() => parseProtoEvent(wire)).field).toBe('text_data');
  });
  test('proto_data: the raw message, application/protobuf, the type URL as dataschema; and back', () => {
    const any = { typeUrl: 'type.googleapis.com/shop.Order', value: Uint8Array.of(8, 1) };
    const wire = message({}, { case: 'protoData', value: any as never });
    const read = parseProtoEvent(wire);
    expect(read).toEqual(
      event({ datacontenttype: 'application/protobuf', dataschema: any.typeUrl }, { data: any.value }),
    );
    expect(out(Object.fromEntries(read.attributes), any.value)).toMatchObject({ case: 'protoData', value: any });
    // protobuf whose type nobody told is bytes
    expect(out({ datacontenttype: 'application/protobuf' }, any.value).case).toBe('binaryData');
    expect(
      out({ datacontenttype: 'application/protobuf', dataschema: 'https://x/schema.proto?v=1' }, any.value).case,
    ).toBe('binaryData');
    expect(
      failure(() =>
        parseProtoEvent(message({}, { case: 'protoData', value: { typeUrl: '', value: any.value } as never })),
      ).field,
    ).toBe('proto_data.type_url');
  });
  test('of several forms of data the last counts', () => {
    const both = new Uint8Array([
      ...message({}, { case: 'binaryData', value: Uint8Array.of(1) }),
      ...message({}, { case: 'textData', value: 'x' }),
    ]);
    expect(parseProtoEvent(both).data).toEqual(bytes('x'));
  });
});

test('§5.5.4: the position', () => {
  const out = fromBinary(
    CloudEventSchema,
    writeProtoEvent(event({ hadronoffset: '1' }), { partition: 3, offset: 2 ** 40 }),
  );
  expect(out.attributes['hadronpartition']?.attr).toEqual({ case: 'ceInteger', value: 3 });
  expect(out.attributes['hadronoffset']?.attr).toEqual({ case: 'ceString', value: '1099511627776' });
});

describe('batches', () => {
  test('both ways, one invalid', () => {
    const events = Array.from({ length: 20 }, (_, i) =>
      event({ x: 'y'.repeat(i * 20) }, { data: new Uint8Array(i * 100) }),
    );
    expect(parseProtoBatch(writeProtoBatch(events))).toEqual(events);
    expect(fromBinary(CloudEventBatchSchema, writeProtoBatch(events)).events).toHaveLength(20);
    expect(parseProtoBatch(new Uint8Array(0))).toEqual([]);
    const mixed = toBinary(
      CloudEventBatchSchema,
      create(CloudEventBatchSchema, { events: [{ id: '1' }, fromBinary(CloudEventSchema, message({}))] }),
    );
    const results = parseProtoBatch(mixed);
    expect(results[0]).toMatchObject({ code: 'EVENT_INVALID', field: 'spec_version' });
    expect(results[1]).toEqual(event({}));
  });
  test('a cap on events', () => {
    const events = Array.from({ length: 10_001 }, () => [10, 0]).flat();
    expect(failure(() => parseProtoBatch(Uint8Array.from(events))).code).toBe('EVENT_TOO_LARGE');
  });
});

test('unknown fields are passed over', () => {
  const wire = new Uint8Array([...message({}), 0xf8, 0x01, 5, 0xfa, 0x01, 2, 1, 2]); // fields 31 of two types
  expect(parseProtoEvent(wire)).toEqual(event({}));
});

test('damaged bytes give an event or a HadronError, nothing else', () => {
  const good = message(
    {
      time: { case: 'ceTimestamp', value: { seconds: 5n, nanos: 7 } as never },
      n: { case: 'ceInteger', value: -5 },
      b: { case: 'ceBytes', value: Uint8Array.of(1, 2, 3) },
      u: { case: 'ceUri', value: 'urn:x' },
    },
    { case: 'protoData', value: { typeUrl: 'type.googleapis.com/a.B', value: Uint8Array.of(1) } as never },
  );
  let refused = 0;
  const tried = (input: Uint8Array): void => {
    for (const read of [parseProtoEvent, parseProtoBatch])
      try {
        read(input);
      } catch (error) {
        expect(error).toBeInstanceOf(HadronError);
        refused++;
      }
  };
  fc.assert(
    fc.property(
      fc.nat({ max: good.length - 1 }),
      fc.nat({ max: 255 }),
      fc.nat({ max: good.length }),
      fc.uint8Array(),
      (at, value, cut, random) => {
        const damaged = good.slice(0, cut === 0 ? good.length : cut);
        if (at < damaged.length) damaged[at] = value;
        tried(damaged);
        tried(random);
      },
    ),
    { numRuns: 2000 },
  );
  expect(refused).toBeGreaterThan(500);
});
