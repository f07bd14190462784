/** The Kafka binding, rule by rule: K1–K7 of §5.1, §5.2, each row of §5.3, §5.4, §5.5.1, §5.5.4, §5.5.5 of cloudevents.md. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CloudEvent, EventRecord } from './event.ts';
import { parseJsonEvent } from './json.ts';
import {
  attributeOfRecord,
  classifyRecord,
  DEFAULT_RECORD_SETTINGS,
  eventKey,
  eventToRecord,
  type RecordContext,
  type RecordSettings,
  recordLookup,
  recordToEvent,
} from './record.ts';
import { attributeOf } from './validate.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const TOPIC_ID = '0b5e7a52-3b0e-4a43-8a6a-000000000001';
const context = (more: Partial<RecordContext> = {}): RecordContext => ({
  stream: 'orders',
  topicId: TOPIC_ID,
  partition: 3,
  offset: 42,
  timestampMs: 1_790_000_000_123,
  ...more,
});
const settings = (more: Partial<RecordSettings>): RecordContext =>
  context({ settings: { ...DEFAULT_RECORD_SETTINGS, ...more } });

type Headers = readonly (readonly [string, string | Uint8Array | null])[];
function record(
  headers: Headers,
  value: string | Uint8Array | null = null,
  key: string | Uint8Array | null = null,
): EventRecord {
  const b = (v: string | Uint8Array | null): Uint8Array | null => (typeof v === 'string' ? bytes(v) : v);
  return { key: b(key), value: b(value), headers: headers.map(([name, v]) => ({ key: name, value: b(v) })) };
}
const REQUIRED: Headers = [
  ['ce_specversion', '1.0'],
  ['ce_id', '1'],
  ['ce_source', '/s'],
  ['ce_type', 't'],
];
const plainly = (r: EventRecord): [string, string | null][] =>
  r.headers.map((h) => [h.key, h.value === null ? null : new TextDecoder().decode(h.value)]);
const isPlain = (event: CloudEvent): boolean => event.source === `/streams/orders/${TOPIC_ID}` && event.id === '3-42';

describe('K1: structured or binary', () => {
  const body = '{"specversion":"1.0","id":"9","source":"/b","type":"u","data":[1, 2]}';
  test.each(['application/cloudevents+json', 'Application/CloudEvents+JSON; charset=UTF-8'])(
    'structured: %s',
    (type) => {
      const r = record([['content-type', type]], body);
      expect(recordToEvent(r, context())).toEqual(parseJsonEvent(body));
      expect(classifyRecord(r)).toEqual({ kind: 'structured' });
    },
  );
  test('binary', () => {
    const r = record([...REQUIRED, ['content-type', 'text/plain']], 'hi');
    expect(classifyRecord(r)).toEqual({ kind: 'binary' });
    expect(recordToEvent(r, context())).toMatchObject({ id: '1', source: '/s', type: 't', data: bytes('hi') });
  });
  test('no batch mode, no format that is not read here', () => {
    for (const type of [
      'application/cloudevents-batch+json',
      'application/cloudevents+avro',
      'application/cloudevents',
    ]) {
      const r = record([['content-type', type]], `[${body}]`);
      expect(classifyRecord(r).kind).toBe('plain');
      expect(classifyRecord(r).problem).toMatch('content-type');
      expect(isPlain(recordToEvent(r, context()))).toBe(true);
    }
  });
});

describe('K2, §5.2: how an event is stored', () => {
  test('headers, value, no percent-encoding, datacontenttype as content-type', () => {
    const event = parseJsonEvent(
      '{"specversion":"1.0","id":"é 1%","source":"/s","type":"t","subject":"a b","datacontenttype":"application/json","x":"\\"","data":{ "n" : 12345678901234567890 }}',
    );
    const r = eventToRecord(event);
    expect(plainly(r)).toEqual([
      ['ce_specversion', '1.0'],
      ['ce_id', 'é 1%'],
      ['ce_source', '/s'],
      ['ce_type', 't'],
      ['ce_subject', 'a b'],
      ['content-type', 'application/json'],
      ['ce_x', '"'],
    ]);
    expect(r.value).toEqual(bytes('{ "n" : 12345678901234567890 }'));
    expect(recordToEvent(r, context())).toEqual(event);
    expect(classifyRecord(r)).toEqual({ kind: 'binary' });
  });
});

describe('K3: no data is a null value', () => {
  test('both ways; empty data differs', () => {
    const event = recordToEvent(record(REQUIRED, null), context());
    expect(event.data).toBeUndefined();
    expect(eventToRecord(event).value).toBeNull();
    const empty = recordToEvent(record(REQUIRED, ''), context());
    expect(empty.data).toEqual(new Uint8Array(0));
    expect(eventToRecord(empty).value).toEqual(new Uint8Array(0));
  });
  test('structured without a value is no event', () => {
    expect(classifyRecord(record([['content-type', 'application/cloudevents+json']], null)).kind).toBe('plain');
  });
});

describe('K4, §5.5.1: keys', () => {
  const event = (attributes: Record<string, string>): CloudEvent => ({
    id: '1',
    source: '/s',
    type: 't',
    attributes: new Map(Object.entries(attributes)),
    data: undefined,
  });
  test.each([
    [{ partitionkey: 'é', subject: 's' }, 'é'],
    [{ subject: 's' }, 's'],
    [{}, undefined],
  ])('%j → %s', (attributes, key) => {
    expect(eventKey(event(attributes))).toBe(key);
    const r = eventToRecord(event(attributes));
    expect(r.key).toEqual(key === undefined ? null : bytes(key));
    expect(Object.fromEntries(recordToEvent(r, context()).attributes)).toEqual(attributes); // they stay in the event
  });
  test("a producer's key is no attribute of a real event", () => {
    const read = recordToEvent(record(REQUIRED, null, 'key'), context());
    expect(read.attributes.size).toBe(0);
  });
});

test('K5: in structured mode the body wins', () => {
  const body = '{"specversion":"1.0","id":"9","source":"/b","type":"u"}';
  const r = record([...REQUIRED, ['ce_x', 'y'], ['content-type', 'application/cloudevents+json']], body);
  expect(recordToEvent(r, context())).toEqual(parseJsonEvent(body));
  const twice = record([...REQUIRED, ...REQUIRED, ['content-type', 'application/cloudevents+json']], body);
  expect(recordToEvent(twice, context()).id).toBe('9');
});

describe('K6: what looks like an event and is none', () => {
  test.each<[string, Headers]>([
    ['no specversion', REQUIRED.slice(1)],
    ['another version', [['ce_specversion', '0.3'], ...REQUIRED.slice(1)]],
    ['no id', [REQUIRED[0]!, ...REQUIRED.slice(2)]],
    ['no source', [...REQUIRED.slice(0, 2), REQUIRED[3]!]],
    ['no type', REQUIRED.slice(0, 3)],
    ['null for an id', [['ce_id', null], ...REQUIRED.filter(([n]) => n !== 'ce_id')]],
    ['an empty id', [['ce_id', ''], ...REQUIRED.filter(([n]) => n !== 'ce_id')]],
    ['id twice', [...REQUIRED, ['ce_id', '1']]],
    ['type twice', [...REQUIRED, ['ce_type', 't']]],
    ['source twice', [...REQUIRED, ['ce_source', '/s']]],
    ['specversion twice', [...REQUIRED, ['ce_specversion', '1.0']]],
    ['an extension twice', [...REQUIRED, ['ce_x', 'a'], ['ce_x', 'a']]],
    ['a bad time', [...REQUIRED, ['ce_time', 'today']]],
    ['a bad name', [...REQUIRED, ['ce_Upper', 'x']]],
    ['no name', [...REQUIRED, ['ce_', 'x']]],
    ['data as a name', [...REQUIRED, ['ce_data', 'x']]],
    ['not UTF-8', [...REQUIRED, ['ce_x', Uint8Array.of(0xff)]]],
    ['a control character', [...REQUIRED, ['ce_x', 'a\nb']]],
    ['a bad content type', [...REQUIRED, ['content-type', 'nonsense']]],
    ['a bad source', [...REQUIRED.filter(([n]) => n !== 'ce_source'), ['ce_source', 'a b']]],
    ['ce_datacontenttype twice', [...REQUIRED, ['ce_datacontenttype', 'a/b'], ['ce_datacontenttype', 'a/b']]],
    ['a bad ce_datacontenttype', [...REQUIRED, ['ce_datacontenttype', 'nonsense']]],
    ['too many attributes', [...REQUIRED, ...Array.from({ length: 1001 }, (_, i) => [`ce_x${i}`, 'v'] as const)]],
  ])('%s', (_, headers) => {
    const r = record(headers, 'value');
    const found = classifyRecord(r);
    expect(found.kind).toBe('plain');
    expect(found.problem).toBeTypeOf('string');
    const read = recordToEvent(r, context());
    expect(isPlain(read)).toBe(true);
    expect(read.data).toEqual(bytes('value'));
  });
  test.each([
    '',
    'x',
    '{}',
    '[]',
    '{"specversion":"1.0","id":"1","id":"1","source":"/","type":"t"}',
    '{"specversion":"1.0"',
  ])('a malformed structured payload keeps its content type: %s', (body) => {
    const read = recordToEvent(record([['content-type', 'application/cloudevents+json']], body), context());
    expect(isPlain(read)).toBe(true);
    expect(read.attributes.get('datacontenttype')).toBe('application/cloudevents+json');
    expect(read.data).toEqual(bytes(body));
  });
  test('null for an optional attribute is absent', () => {
    expect(recordToEvent(record([...REQUIRED, ['ce_x', null]]), context()).attributes.size).toBe(0);
  });
});

describe('K7: ce_datacontenttype', () => {
  test('is taken where content-type is missing, and never written', () => {
    const read = recordToEvent(record([...REQUIRED, ['ce_datacontenttype', 'text/plain']], 'x'), context());
    expect(read.attributes.get('datacontenttype')).toBe('text/plain');
    expect(plainly(eventToRecord(read)).at(-1)).toEqual(['content-type', 'text/plain']);
  });
  test('beside content-type it is passed over, in either order', () => {
    for (const headers of [
      [...REQUIRED, ['ce_datacontenttype', 'text/a'], ['content-type', 'text/b']],
      [...REQUIRED, ['content-type', 'text/b'], ['ce_datacontenttype', 'text/a']],
    ] as Headers[])
      expect(recordToEvent(record(headers), context())).toMatchObject({
        id: '1',
        attributes: new Map([['datacontenttype', 'text/b']]),
      });
  });
});

describe('§5.3: a record without CloudEvents headers', () => {
  const plain = (r: EventRecord, at = context()): Record<string, string | undefined> => {
    const e = recordToEvent(r, at);
    return { id: e.id, source: e.source, type: e.type, ...Object.fromEntries(e.attributes) };
  };
  test('specversion, id, source, type, time; nothing else', () => {
    expect(plain(record([], 'x'))).toEqual({
      id: '3-42',
      source: `/streams/orders/${TOPIC_ID}`,
      type: 'rs.hadron.record.v1',
      time: '2026-09-21T14:13:20.123Z',
    });
    expect(classifyRecord(record([], 'x'))).toEqual({ kind: 'plain', problem: undefined });
  });
  test('type: the setting of the stream', () => expect(plain(record([]), settings({ type: 'x.y' })).type).toBe('x.y'));
  test.each([
    [-1, undefined],
    [-5, undefined],
    [0, '1970-01-01T00:00:00.000Z'],
    [253_402_300_799_999, '9999-12-31T23:59:59.999Z'],
    [253_402_300_800_000, undefined],
    [Number.MAX_SAFE_INTEGER, undefined],
  ])('time: %d is %s', (timestampMs, time) => expect(plain(record([]), context({ timestampMs })).time).toBe(time));
  test.each<[string | Uint8Array | null | undefined, string | undefined, string | undefined]>([
    ['text/plain', undefined, 'text/plain'],
    ['nonsense', undefined, undefined],
    ['nonsense', 'a/b', 'a/b'],
    [undefined, 'a/b', 'a/b'],
    [undefined, undefined, undefined],
    [null, undefined, undefined],
    [Uint8Array.of(0xff), 'a/b', 'a/b'],
  ])('datacontenttype: header %s, setting %s', (header, setting, expected) => {
    const r = record(header === undefined ? [] : [['content-type', header]], '{}');
    expect(plain(r, settings({ datacontenttype: setting })).datacontenttype).toBe(expected); // no sniffing
  });
  test.each<[string | Uint8Array | null, string | undefined]>([
    ['key', 'key'],
    ['é', 'é'],
    ['', undefined],
    [null, undefined],
    [Uint8Array.of(0xff), undefined],
    ['a\nb', undefined],
    ['\uffff', undefined],
  ])('partitionkey: key %s', (key, expected) => expect(plain(record([], 'x', key)).partitionkey).toBe(expected));
  test('traceparent, tracestate', () => {
    expect(
      plain(
        record([
          ['traceparent', '00-1-2-01'],
          ['tracestate', 'a=b'],
        ]),
      ),
    ).toMatchObject({
      traceparent: '00-1-2-01',
      tracestate: 'a=b',
    });
    expect(plain(record([['traceparent', Uint8Array.of(0xff)]]))).not.toHaveProperty('traceparent');
  });
  test('data: the value byte for byte; null is no data', () => {
    const value = Uint8Array.of(0, 0xff, 0x22);
    expect(recordToEvent(record([], value), context()).data).toEqual(value);
    expect(recordToEvent(record([], ''), context()).data).toEqual(new Uint8Array(0));
    expect(recordToEvent(record([], null), context()).data).toBeUndefined();
  });
  test('other headers are no attributes; mapped ones are, where they fit', () => {
    const headers: Headers = [
      ['tenant', 'acme'],
      ['topic', 'shoes'],
      ['schema', 'not absolute'],
      ['when', '2026-01-01T00:00:00Z'],
      ['id', 'mine'],
    ];
    expect(plain(record(headers))).not.toHaveProperty('tenant');
    const mapped = settings({
      attributesFromHeaders: new Map([
        ['tenant', 'tenant'],
        ['topic', 'subject'],
        ['schema', 'dataschema'],
        ['when', 'expirytime'],
        ['id', 'id'],
        ['missing', 'nothing'],
      ]),
    });
    expect(plain(record(headers), mapped)).toMatchObject({
      id: '3-42',
      tenant: 'acme',
      subject: 'shoes',
      expirytime: '2026-01-01T00:00:00Z',
    });
    expect(plain(record(headers), mapped)).not.toHaveProperty('dataschema');
    expect(plain(record(headers), mapped)).not.toHaveProperty('nothing');
  });
  test('identically at every read, and the record is not changed', () => {
    const r = record([['x', 'y']], 'v', 'k');
    const before = structuredClone(r);
    expect(recordToEvent(r, context())).toEqual(recordToEvent(r, context()));
    expect(r).toEqual(before);
  });
});

describe('§5.4: strictness', () => {
  test('off: no record is read as an event of its own', () => {
    expect(isPlain(recordToEvent(record(REQUIRED, 'x'), settings({ interpret: 'off' })))).toBe(true);
    expect(attributeOfRecord(record(REQUIRED), 'id', settings({ interpret: 'off' }))).toBe('3-42');
  });
  test('required: what is there already is seen as it is under lenient', () => {
    for (const r of [record(REQUIRED, 'x'), record([], 'x')])
      expect(recordToEvent(r, settings({ interpret: 'required' }))).toEqual(recordToEvent(r, context()));
  });
});

test('§5.5.4: nobody can write a position into a record', () => {
  const forged = record([...REQUIRED, ['ce_hadronpartition', '9'], ['ce_hadronoffset', '9']]);
  const read = recordToEvent(forged, context());
  expect([...read.attributes.keys()]).toEqual([]);
  const structured = record(
    [['content-type', 'application/cloudevents+json']],
    '{"specversion":"1.0","id":"9","source":"/b","type":"u","hadronpartition":1,"hadronoffset":"2","x":"y"}',
  );
  expect([...recordToEvent(structured, context()).attributes.keys()]).toEqual(['x']);
  const event = {
    ...read,
    attributes: new Map([
      ['hadronpartition', '1'],
      ['hadronoffset', '2'],
    ]),
  };
  expect(plainly(eventToRecord(event)).map(([name]) => name)).toEqual(REQUIRED.map(([name]) => name));
});

describe('§5.5.5: hadron-types', () => {
  const typed = (types: CloudEvent['types'], attributes: Record<string, string>): CloudEvent => ({
    id: '1',
    source: '/s',
    type: 't',
    attributes: new Map(Object.entries(attributes)),
    types,
    data: undefined,
  });
  test('only what names do not tell is written', () => {
    const event = typed(
      new Map([
        ['n', 'Integer'],
        ['time', 'Timestamp'],
        ['b', 'Boolean'],
        ['gone', 'Integer'],
      ]),
      { n: '5', time: '2026-01-01T00:00:00Z', b: 'true' },
    );
    const r = eventToRecord(event);
    expect(plainly(r).at(-1)).toEqual(['hadron-types', 'n:Integer,b:Boolean']);
    expect(recordToEvent(r, context()).types).toEqual(
      new Map([
        ['n', 'Integer'],
        ['b', 'Boolean'],
      ]),
    );
    expect(
      plainly(eventToRecord(typed(new Map([['time', 'Timestamp']]), { time: 'x' }))).map(([n]) => n),
    ).not.toContain('hadron-types');
  });
  test.each(['', ',', 'n', ':', 'n:', 'n:Float', 'x:Integer', 'n:Boolean', 'n:Integer:', 'toString:Integer', ',,n'])(
    'what does not fit is passed over: %s',
    (header) => {
      const read = recordToEvent(record([...REQUIRED, ['ce_n', '5'], ['hadron-types', header]]), context());
      expect([read.id, read.types]).toEqual(['1', undefined]);
    },
  );
});

test('attributes asked one by one are those of the event', () => {
  const names = [
    'ce_specversion',
    'ce_id',
    'ce_source',
    'ce_type',
    'ce_x',
    'ce_time',
    'ce_datacontenttype',
    'content-type',
    'traceparent',
    'hadron-types',
    'ce_hadronoffset',
    'tenant',
  ];
  const values = [
    '1.0',
    '1',
    '/s',
    't',
    '',
    'a b',
    '2026-01-01T00:00:00Z',
    'text/plain',
    'application/cloudevents+json',
    'x:Integer',
  ];
  const header = fc.record({
    key: fc.constantFrom(...names),
    value: fc.option(fc.oneof(fc.constantFrom(...values).map(bytes), fc.uint8Array({ maxLength: 4 }))),
  });
  const valid = fc.array(header, { maxLength: 3 }).map((more) => [...record(REQUIRED).headers, ...more]);
  const mapped = settings({ attributesFromHeaders: new Map([['tenant', 'subject']]) });
  let events = 0;
  fc.assert(
    fc.property(
      fc.oneof(valid, fc.array(header, { maxLength: 6 })),
      fc.option(
        fc.oneof(fc.uint8Array(), fc.constant(bytes('{"specversion":"1.0","id":"z","source":"/","type":"y"}'))),
      ),
      fc.option(fc.uint8Array({ maxLength: 3 })),
      (headers, value, key) => {
        const r = { key, value, headers };
        for (const at of [context(), mapped]) {
          const event = recordToEvent(r, at);
          if (!isPlain(event)) events++;
          const lookup = recordLookup(r, at);
          for (const name of [
            'id',
            'source',
            'type',
            'specversion',
            'x',
            'time',
            'datacontenttype',
            'traceparent',
            'partitionkey',
            'subject',
            'hadronoffset',
            'none',
          ]) {
            expect(lookup(name)).toBe(attributeOf(event, name));
            expect(attributeOfRecord(r, name, at)).toBe(attributeOf(event, name));
          }
        }
      },
    ),
    { numRuns: 400 },
  );
  expect(events).toBeGreaterThan(50);
});
