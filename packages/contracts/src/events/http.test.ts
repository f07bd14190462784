/** The HTTP binding, row by row: §4.1, §4.2, §4.3 of cloudevents.md. */
import { HadronError } from '@hadron/base/errors';
import { describe, expect, test } from 'vitest';
import { decodeHeaderValue, encodeHeaderValue, readHttpEvent, writeHttpHeaders } from './http.ts';
import { contentMode } from './media-type.ts';

const NONE = new Uint8Array(0);
const REQUIRED = ['ce-specversion', '1.0', 'ce-id', '1', 'ce-source', '/s', 'ce-type', 't'];

function failure(run: () => unknown): HadronError {
  try {
    run();
  } catch (error) {
    if (error instanceof HadronError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('§4.1: choosing the mode', () => {
  test.each([
    [undefined, 'binary'],
    ['', 'binary'],
    ['application/json', 'binary'],
    ['text/plain', 'binary'],
    ['application/cloudevent+json', 'binary'],
    ['application/cloudevents+json', 'json'],
    ['Application/CloudEvents+JSON', 'json'],
    ['application/cloudevents+json; charset=UTF-8', 'json'],
    ['application/cloudevents+json;charset=utf-8', 'json'],
    ['application/cloudevents-batch+json', 'json-batch'],
    ['APPLICATION/CLOUDEVENTS-BATCH+JSON ; x=y', 'json-batch'],
    ['application/cloudevents+protobuf', 'protobuf'],
    ['application/cloudevents-batch+protobuf', 'protobuf-batch'],
  ])('%s', (contentType, mode) => expect(contentMode(contentType)).toBe(mode));

  test.each([
    'application/cloudevents',
    'application/cloudevents+avro',
    'application/cloudevents-batch',
    'application/cloudevents-batch+xml',
    'application/cloudevents+jsonx',
    'application/cloudevents; charset=utf-8',
    'application/cloudevents+toString',
  ])('an unknown format: %s', (contentType) => {
    const error = failure(() => contentMode(contentType));
    expect([error.code, error.field]).toEqual(['MEDIA_TYPE_UNSUPPORTED', 'content-type']);
  });
});

describe('§4.2: binary mode', () => {
  test('names in any case; Content-Type is datacontenttype; the body is the data', () => {
    const body = Uint8Array.of(0, 255, 10);
    const event = readHttpEvent(
      [
        'Host',
        'x',
        'CE-SpecVersion',
        '1.0',
        'Ce-Id',
        '1',
        'cE-sourcE',
        '/s',
        'CE-TYPE',
        't',
        'cE-MyExt',
        'Y',
        'CONTENT-TYPE',
        'Image/PNG; x="y"',
        'Content-Length',
        '3',
        'cookie',
        'c',
      ],
      body,
    );
    expect(event).toEqual({
      id: '1',
      source: '/s',
      type: 't',
      attributes: new Map([
        ['myext', 'Y'],
        ['datacontenttype', 'Image/PNG; x="y"'],
      ]),
      types: undefined,
      data: body,
    });
    expect(event.data).toBe(body); // untouched
  });
  test('rawHeaders, fetch Headers and pairs say the same', () => {
    const flat = [...REQUIRED, 'ce-subject', 'a%20b', 'content-type', 'text/plain'];
    const pairs = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]] as [string, string]);
    const expected = readHttpEvent(flat, NONE);
    expect(readHttpEvent(pairs, NONE)).toEqual(expected);
    expect(readHttpEvent(new Map(pairs), NONE)).toEqual(expected);
    const fetched = readHttpEvent(new Headers(pairs), NONE);
    expect(Object.fromEntries(fetched.attributes)).toEqual(Object.fromEntries(expected.attributes));
  });
  test('an empty body is no data, also with a content type', () => {
    expect(readHttpEvent([...REQUIRED, 'Content-Type', 'application/json'], NONE).data).toBeUndefined();
  });
  test('ce-datacontenttype must not exist', () => {
    expect(failure(() => readHttpEvent([...REQUIRED, 'Ce-DataContentType', 'text/plain'], NONE)).field).toBe(
      'ce-datacontenttype',
    );
  });
  test('no datacontenttype, no Content-Type', () => {
    const event = readHttpEvent(REQUIRED, Uint8Array.of(1));
    expect(event.attributes.size).toBe(0);
    expect(writeHttpHeaders(event)).toEqual([
      ['ce-specversion', '1.0'],
      ['ce-id', '1'],
      ['ce-source', '/s'],
      ['ce-type', 't'],
    ]);
  });
  test.each(['ce-id', 'ce-source', 'ce-type', 'ce-specversion'])('%s is missing, empty or given twice', (name) => {
    const at = REQUIRED.indexOf(name);
    const without = REQUIRED.filter((_, i) => i !== at && i !== at + 1);
    expect(failure(() => readHttpEvent(without, NONE))).toMatchObject({ code: 'EVENT_INVALID', field: name });
    expect(failure(() => readHttpEvent([...without, name, ''], NONE)).field).toBe(name);
    expect(failure(() => readHttpEvent([...REQUIRED, name.toUpperCase(), '1.0'], NONE)).message).toMatch('twice');
  });
  test('a message with no CloudEvents header at all says what to send', () => {
    expect(failure(() => readHttpEvent([], NONE)).message).toMatch('application/cloudevents+json');
  });
  test.each([
    ['ce-data', 'x', 'ce-data'],
    ['ce-my-ext', 'x', 'ce-my-ext'],
    ['ce-my_ext', 'x', 'ce-my_ext'],
    ['ce-', 'x', 'ce-'],
    ['ce-time', 'today', 'ce-time'],
    ['ce-time', '2026-02-30T00:00:00Z', 'ce-time'],
    ['ce-subject', '', 'ce-subject'],
    ['ce-dataschema', 'relative', 'ce-dataschema'],
    ['ce-sampledrate', '0', 'ce-sampledrate'],
    ['ce-x', 'a%00b', 'ce-x'],
    ['ce-x', '%EF%BF%BF', 'ce-x'],
    ['content-type', 'nonsense', 'content-type'],
    ['ce-specversion', '0.3', 'ce-specversion'],
  ])('%s: %s is refused', (name, value, field) => {
    const base = name === 'ce-specversion' ? REQUIRED.slice(2) : REQUIRED;
    expect(failure(() => readHttpEvent([...base, name, value], NONE))).toMatchObject({ code: 'EVENT_INVALID', field });
  });
  test('extensions given twice', () => {
    expect(failure(() => readHttpEvent([...REQUIRED, 'ce-x', 'a', 'CE-X', 'a'], NONE)).field).toBe('ce-x');
    expect(failure(() => readHttpEvent([...REQUIRED, 'content-type', 'a/b', 'Content-Type', 'a/b'], NONE)).field).toBe(
      'content-type',
    );
  });
  test('§5.5.4: the position leaves as headers', () => {
    const headers = writeHttpHeaders(readHttpEvent([...REQUIRED, 'ce-hadronoffset', '9'], NONE), {
      partition: 2,
      offset: 77,
    });
    expect(headers.slice(4)).toEqual([
      ['ce-hadronpartition', '2'],
      ['ce-hadronoffset', '77'],
    ]);
  });
  test('a cap on attributes', () => {
    const many = Array.from({ length: 1001 }, (_, i) => [`ce-x${i}`, 'v']).flat();
    expect(failure(() => readHttpEvent([...REQUIRED, ...many], NONE)).message).toMatch('1000');
  });
});

describe('§4.3: header values', () => {
  test.each([
    ['Euro € 😀', 'Euro%20%E2%82%AC%20%F0%9F%98%80'],
    ['"x"', '%22x%22'],
    ['100%', '100%25'],
    ['a/b?c=d', 'a/b?c=d'],
    ["!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"],
    ['é', '%C3%A9'],
    ['\u007f', '%7F'],
    [' ', '%20'],
  ])('%s ↔ %s', (value, onTheWire) => {
    expect(encodeHeaderValue(value)).toBe(onTheWire);
    expect(decodeHeaderValue(onTheWire)).toBe(value);
  });
  test.each([
    ['%e2%82%ac', '€'],
    ['%41', 'A'],
    ['%2541', '%41'], // one round only
    ['"Euro \\"x\\""', 'Euro "x"'],
    ['"Euro %E2%82%AC"', 'Euro €'],
    ['a"b c"d', 'ab cd'],
    ['"a\\\\b"', 'a\\b'],
    ['""', ''],
    ['5" pipe', '5" pipe'], // nothing closes it
    ['"a" 5"', 'a 5"'],
    ['"a\\"', '"a\\"'],
    ['100%', '100%'], // a stray %
    ['100%2', '100%2'],
    ['%zz%41', '%zzA'],
    ['%%41', '%A'],
    ['\u00e2\u0082\u00ac', '€'], // bytes of UTF-8 that nobody escaped
    ['\u00e2%82\u00ac', '€'],
  ])('received %s', (received, value) => expect(decodeHeaderValue(received)).toBe(value));
  test.each(['%C0%A0', '%C0%80', '%FF', '%E2%82', '%ED%A0%80', '%F5%80%80%80', '\u00e9', '€%41'])(
    'rejected %s',
    (received) => {
      expect(decodeHeaderValue(received)).toBeUndefined();
      expect(failure(() => readHttpEvent([...REQUIRED, 'ce-x', received], NONE)).field).toBe('ce-x');
    },
  );
  test('quotes and backslashes cannot make it slow', () => {
    for (const evil of ['"\\'.repeat(100_000), '"'.repeat(200_001), '%'.repeat(300_000), '"\\"'.repeat(100_000)]) {
      const started = performance.now();
      decodeHeaderValue(evil);
      expect(performance.now() - started).toBeLessThan(500);
    }
  });
});
