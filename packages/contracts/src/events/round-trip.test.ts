/**
 * Any event through any two forms, one behind the other: what comes out is what went in, but for what the forms are
 * permitted to lose (docs/cloudevents-table.md). And any bytes into any reader: an event or a HadronError, in time and
 * memory of the order of the input.
 */
import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseProtoBatch, parseProtoEvent, writeProtoBatch, writeProtoEvent } from '../proto/events.ts';
import type { AttributeType, CloudEvent } from './event.ts';
import { decodeHeaderValue, encodeHeaderValue, readHttpEvent, writeHttpHeaders } from './http.ts';
import { isJsonText } from './json-text.ts';
import { parseJsonBatch, parseJsonEvent, writeJsonBatch, writeJsonEvent, writeJsonLine } from './json.ts';
import { isJsonType } from './media-type.ts';
import { cloudEvent, toPlainEvent } from './plain.ts';
import { readRecord, RecordWriter, writeEventRecord } from './record-bytes.ts';
import { eventToRecord, type RecordContext, recordToEvent } from './record.ts';
import { decodeBase64, decodeUtf8, encodeBase64, encodeUtf8 } from './text.ts';
import {
  formatMoment,
  isLegalString,
  isProtoMoment,
  isRequiredName,
  knownType,
  parseMoment,
  typeOf,
  validateEvent,
} from './validate.ts';

const CONTEXT: RecordContext = { stream: 's', topicId: 'i', partition: 0, offset: 0, timestampMs: 0 };

// -------------------------------------------------------------------------------------------------------------- events

const legal = (minLength: number): fc.Arbitrary<string> =>
  fc
    .oneof(
      fc.string({ minLength, maxLength: 30 }),
      fc.string({ minLength, maxLength: 20, unit: 'binary' }),
      fc.constantFrom('Euro € 😀', '"x"', '100%', '%41', 'a\\b', '{"a":1}', '  x ', 'x,y:z', '\u{feff}x'),
    )
    .filter((s) => s.length >= minLength && isLegalString(s));

const uri = fc.constantFrom('http://example.com/a?b=c#d', 'urn:a:b', 'mailto:x@y');
const timestamp = fc
  .record({
    ms: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    more: fc.constantFrom('', '1', '120', '123456'),
  })
  .map(({ ms, more }) => new Date(ms).toISOString().replace('Z', `${more}Z`));
const anyTimestamp = fc.oneof(
  timestamp,
  fc.constantFrom(
    '2026-01-01T00:00:00Z',
    '2026-01-01t01:02:03.10-05:30',
    '2016-12-31T23:59:60Z',
    '0000-01-01T00:00:00Z',
  ),
);

const VALUES: Readonly<Record<AttributeType, fc.Arbitrary<string>>> = {
  Boolean: fc.constantFrom('true', 'false'),
  Integer: fc.integer().map((n) => String(n === 0 ? 0 : n)),
  String: legal(0),
  Binary: fc.uint8Array({ maxLength: 20 }).map(encodeBase64),
  URI: uri,
  'URI-reference': fc.oneof(uri, fc.constantFrom('/a', 'a/b?c', '')),
  Timestamp: anyTimestamp,
};

const name = fc
  .string({ minLength: 1, maxLength: 22, unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789'.split('')) })
  .filter((n) => n !== 'data' && !isRequiredName(n) && knownType(n) === 'String' && !KNOWN_STRINGS.has(n));
const KNOWN_STRINGS = new Set([
  'datacontenttype',
  'subject',
  'partitionkey',
  'sequence',
  'correlationid',
  'causationid',
  'hadronoffset',
]);

const extension = fc
  .constantFrom(...(Object.keys(VALUES) as AttributeType[]))
  .chain((type) => fc.tuple(name, fc.constant(type), VALUES[type]));

const data = fc.oneof(
  fc.constant(undefined),
  fc.uint8Array({ maxLength: 60 }),
  fc.json({ maxDepth: 3 }).map(encodeUtf8),
  fc
    .string({ maxLength: 30, unit: 'grapheme' })
    .filter((s) => s.isWellFormed())
    .map(encodeUtf8),
  fc.constantFrom(' {"a" : 1e400}\n', '1,"id":"x"', 'null', '"hi"', '', '\u{feff}{}').map(encodeUtf8),
);

const arbitraryEvent: fc.Arbitrary<CloudEvent> = fc
  .record(
    {
      id: legal(1),
      source: fc.oneof(uri, fc.constantFrom('/s', 'a%20b', '#x')),
      type: legal(1),
      known: fc.record(
        {
          datacontenttype: fc.constantFrom(
            'application/json',
            'application/x+json; v="1"',
            'text/plain',
            'text/plain;charset=latin1',
            'image/svg+xml',
            'application/octet-stream',
            'application/protobuf',
          ),
          subject: legal(1),
          time: anyTimestamp,
          dataschema: fc.oneof(uri, fc.constantFrom('type.googleapis.com/shop.Order')),
          partitionkey: legal(1),
          sampledrate: fc.integer({ min: 1 }).map(String),
          deprecated: fc.constant('true'),
          dssematerial: VALUES.Binary,
        },
        { requiredKeys: [] },
      ),
      extensions: fc.uniqueArray(extension, { maxLength: 5, selector: ([n]) => n }),
      data,
    },
    { requiredKeys: ['id', 'source', 'type', 'known', 'extensions', 'data'] },
  )
  .map((e) => ({
    id: e.id,
    source: e.source,
    type: e.type,
    attributes: new Map([...Object.entries(e.known), ...e.extensions.map(([n, , value]) => [n, value] as const)] as [
      string,
      string,
    ][]),
    types: new Map(e.extensions.filter(([, type]) => type !== 'String').map(([n, type]) => [n, type])),
    data: e.data,
  }));

// --------------------------------------------------------------------------------------------------------------- forms

interface Form {
  readonly name: string;
  /** Writes the event and reads what was written. */
  pass(event: CloudEvent): CloudEvent;
  /** What the form is permitted to make of it. */
  permitted(event: CloudEvent): CloudEvent;
}

const mapAttributes = (
  event: CloudEvent,
  change: (type: AttributeType, value: string) => string,
): CloudEvent['attributes'] =>
  new Map([...event.attributes].map(([n, value]) => [n, change(typeOf(event, n), value)] as const));
const keepTypes = (event: CloudEvent, keep: (type: AttributeType, name: string) => boolean): CloudEvent => ({
  ...event,
  types: new Map([...(event.types ?? [])].filter(([n, type]) => keep(type, n))),
});

/** A moment as a protobuf Timestamp has it; undefined: it cannot. */
function protoMoment(text: string): string | undefined {
  const moment = parseMoment(text);
  if (moment === undefined || moment.isLeapSecond || /[1-9]/.test(moment.fraction.slice(9))) return undefined;
  const nanos = Number(moment.fraction.slice(0, 9).padEnd(9, '0'));
  return isProtoMoment(moment.seconds, nanos) ? formatMoment(moment.seconds, nanos) : undefined;
}

/** JSON text loses the space around it when it becomes a member. */
function trimmed(event: CloudEvent): Uint8Array | undefined {
  const contentType = event.attributes.get('datacontenttype');
  if (event.data === undefined || contentType === undefined || !isJsonType(contentType)) return event.data;
  const text = decodeUtf8(event.data);
  return text !== undefined && isJsonText(text) ? encodeUtf8(text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '')) : event.data;
}

const json = (formName: string, pass: Form['pass']): Form => ({
  name: formName,
  pass,
  permitted: (e) => ({ ...keepTypes(e, (type) => type === 'Boolean' || type === 'Integer'), data: trimmed(e) }),
});
const protobuf = (formName: string, pass: Form['pass']): Form => ({
  name: formName,
  pass,
  permitted: (e) => ({
    ...keepTypes(e, (type, n) => type !== 'Timestamp' || protoMoment(e.attributes.get(n) as string) !== undefined),
    attributes: mapAttributes(e, (type, value) => (type === 'Timestamp' ? (protoMoment(value) ?? value) : value)),
  }),
});
const first = (results: readonly (CloudEvent | HadronError)[]): CloudEvent => {
  const [result] = results;
  if (result === undefined || result instanceof HadronError) throw result ?? new Error('no event');
  return result;
};

const FORMS: readonly Form[] = [
  json('JSON', (e) => parseJsonEvent(writeJsonEvent(e))),
  json('JSON in bytes', (e) => parseJsonEvent(encodeUtf8(writeJsonEvent(e)))),
  json('JSON batch', (e) => first(parseJsonBatch(encodeUtf8(writeJsonBatch([e]))))),
  {
    name: 'HTTP binary',
    pass: (e) => readHttpEvent(writeHttpHeaders(e).flat(), e.data ?? new Uint8Array(0)),
    permitted: (e) => ({ ...e, types: undefined, data: e.data?.length === 0 ? undefined : e.data }),
  },
  { name: 'record', pass: (e) => recordToEvent(eventToRecord(e), CONTEXT), permitted: (e) => e },
  {
    name: 'record in bytes',
    pass: (e) => {
      const out = new RecordWriter(8);
      writeEventRecord(out, e, 3, -7);
      let prefix = 0;
      while ((out.bytes[prefix] as number) >= 0x80) prefix++;
      return recordToEvent(readRecord(out.view().subarray(prefix + 1)), CONTEXT);
    },
    permitted: (e) => e,
  },
  protobuf('protobuf', (e) => parseProtoEvent(writeProtoEvent(e))),
  protobuf('protobuf batch', (e) => first(parseProtoBatch(writeProtoBatch([e])))),
];

/** For comparison: no order of attributes, no difference between no types and none. */
const shown = (event: CloudEvent): unknown => ({
  id: event.id,
  source: event.source,
  type: event.type,
  attributes: Object.fromEntries([...event.attributes].sort()),
  types: Object.fromEntries([...(event.types ?? [])].sort()),
  data: event.data === undefined ? undefined : Buffer.from(event.data).toString('latin1'),
});

describe('through two forms', () => {
  const pairs = FORMS.flatMap((a) => FORMS.map((b) => [a.name, b.name, a, b] as const));
  test.each(pairs)('%s, then %s', (_a, _b, a, b) => {
    fc.assert(
      fc.property(arbitraryEvent, (event) => {
        validateEvent(event);
        const once = a.pass(event);
        expect(shown(once)).toEqual(shown(a.permitted(event)));
        expect(shown(b.pass(once))).toEqual(shown(b.permitted(a.permitted(event))));
      }),
      { numRuns: 60 },
    );
  });
  test('one line says what several say', () => {
    fc.assert(
      fc.property(arbitraryEvent, (event) => {
        const line = writeJsonLine(event);
        expect(line).not.toMatch(/[\r\n]/);
        expect(JSON.parse(line)).toEqual(JSON.parse(writeJsonEvent(event)));
      }),
    );
  });
  test('plain values and back', () => {
    fc.assert(
      fc.property(arbitraryEvent, (event) => {
        fc.pre(event.data === undefined || !isJsonType(event.attributes.get('datacontenttype') ?? ''));
        const permitted = keepTypes(event, (type) => type === 'Boolean' || type === 'Integer');
        expect(shown(cloudEvent(toPlainEvent(event)))).toEqual(shown(permitted));
      }),
    );
  });
});

describe('text', () => {
  test('header values: any legal string comes back; only visible ASCII travels', () => {
    fc.assert(
      fc.property(legal(0), (value) => {
        const wire = encodeHeaderValue(value);
        expect(wire).toMatch(/^[\x21\x23-\x7e]*$/);
        expect(decodeHeaderValue(wire)).toBe(value);
      }),
      { numRuns: 2000 },
    );
  });
  test('base64 and UTF-8 as Node has them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (b) => {
        const expected = Buffer.from(b).toString('base64');
        expect(encodeBase64(b)).toBe(expected);
        expect(decodeBase64(expected)).toEqual(b);
        const text = decodeUtf8(b);
        if (text === undefined) expect(Buffer.from(Buffer.from(b).toString('utf8'))).not.toEqual(Buffer.from(b));
        else expect(encodeUtf8(text)).toEqual(b);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('any input', () => {
  const READERS: Readonly<Record<string, (input: Uint8Array) => unknown>> = {
    'JSON event': parseJsonEvent,
    'JSON batch': parseJsonBatch,
    'JSON event as text': (b) => parseJsonEvent(Buffer.from(b).toString('latin1')),
    'HTTP headers': (b) => readHttpEvent(Buffer.from(b).toString('latin1').split('\n'), b),
    'structured record': (b) =>
      recordToEvent(
        { key: b, value: b, headers: [{ key: 'content-type', value: encodeUtf8('application/cloudevents+json') }] },
        CONTEXT,
      ),
    'binary record': (b) =>
      recordToEvent(
        {
          key: b,
          value: b,
          headers: Buffer.from(b)
            .toString('latin1')
            .split('\n')
            .map((h, i, all) => ({ key: h, value: encodeUtf8(all[i + 1] ?? '') })),
        },
        CONTEXT,
      ),
    'protobuf event': parseProtoEvent,
    'protobuf batch': parseProtoBatch,
    record: readRecord,
  };
  const sample = cloudEvent({
    id: '1',
    source: '/s',
    type: 't',
    subject: 'é',
    time: '2026-01-01T00:00:00Z',
    n: 5,
    b: true,
    data: { a: ['x', 1.5e3, null, '\u0001'] },
  });
  const seeds = [
    encodeUtf8(writeJsonEvent(sample)),
    encodeUtf8(writeJsonBatch([sample, sample])),
    encodeUtf8(writeHttpHeaders(sample).flat().join('\n')),
    encodeUtf8(
      eventToRecord(sample)
        .headers.flatMap((h) => [h.key, new TextDecoder().decode(h.value ?? undefined)])
        .join('\n'),
    ),
    writeProtoEvent(sample),
    writeProtoBatch([sample, sample]),
  ];
  const mutated = fc
    .record({
      seed: fc.constantFrom(...seeds),
      edits: fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.nat({ max: 3 })), { maxLength: 4 }),
    })
    .map(({ seed, edits }) => {
      let b = [...seed];
      for (const [at, value, kind] of edits) {
        const i = at % b.length;
        if (kind === 0) b[i] = value;
        else if (kind === 1) b.splice(i, 0, value);
        else if (kind === 2) b.splice(i, 1);
        else b = [...b.slice(0, i), ...b.slice(Math.floor(i / 2))];
        if (b.length === 0) b = [value];
      }
      return Uint8Array.from(b);
    });

  test.each(Object.keys(READERS))('%s: an event or a HadronError', (reader) => {
    const read = READERS[reader] as (input: Uint8Array) => unknown;
    let [good, bad] = [0, 0];
    fc.assert(
      fc.property(
        fc.oneof(
          mutated,
          fc.uint8Array(),
          fc.string({ unit: fc.constantFrom(...'{}[]":,\\u0aenl1.- '.split('')) }).map(encodeUtf8),
        ),
        (input) => {
          try {
            read(input);
            good++;
          } catch (error) {
            if (!(error instanceof HadronError)) throw error;
            expect(error.message).not.toMatch(/\bat .*\.ts:/);
            bad++;
          }
        },
      ),
      { numRuns: Number(process.env['HADRON_FUZZ'] ?? 1500) },
    );
    expect(good + bad).toBeGreaterThan(1000);
  });

  test('hostile input of a quarter of a megabyte takes time of its order', () => {
    const size = 1 << 18;
    const fill = (text: string): Uint8Array => encodeUtf8(text.repeat(Math.ceil(size / text.length)));
    const inputs = [
      '[',
      '{"a":',
      '[1,',
      '"\\',
      '\\',
      '{"id":"1",',
      '{},',
      '[{},',
      '"',
      '0',
      ' ',
      '\n',
      'ce_x\n',
      'ce-x\nv\n',
      'a:',
      '\u0000',
      '\n\u0000',
      '\u000a\u0001',
      '*\u0004\u000a\u0000',
      'é',
      '%',
      '{"x":null,',
      '{"specversion":"1.0","id":"1","source":"/","type":"t"},',
    ];
    for (const [reader, read] of Object.entries(READERS))
      for (const input of inputs)
        for (const bytes of [fill(input), encodeUtf8(`[${new TextDecoder().decode(fill(input))}`)]) {
          const started = performance.now();
          try {
            read(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(HadronError);
          }
          const ms = performance.now() - started; // what takes the square of the input takes minutes
          expect([reader, input, ms < 5000]).toEqual([reader, input, true]);
        }
  });
});
