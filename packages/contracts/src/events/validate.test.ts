/** Attributes: §2.1, §2.2, §9.2 and §10 of cloudevents.md. */
import { HadronError } from '@hadron/base/errors';
import { describe, expect, test } from 'vitest';
import type { CloudEvent } from './event.ts';
import {
  attributeOf,
  attributeProblem,
  formatMoment,
  isProtoMoment,
  parseMoment,
  parseTimestamp,
  positionOf,
  requiredProblem,
  typeOf,
  validateEvent,
  valueProblem,
} from './validate.ts';

const event = (attributes: Record<string, string>, more: Partial<CloudEvent> = {}): CloudEvent => ({
  id: '1',
  source: '/s',
  type: 't',
  attributes: new Map(Object.entries(attributes)),
  data: undefined,
  ...more,
});

describe('§2.2: types and canonical strings', () => {
  test.each([
    ['Boolean', ['true', 'false'], ['True', '1', '', 'yes']],
    [
      'Integer',
      ['0', '-1', '2147483647', '-2147483648'],
      ['', '-', '+1', '01', '-0', '1.0', '1e3', '2147483648', '-2147483649', ' 1', '٣'],
    ],
    [
      'String',
      ['', 'a', 'é€😀', '\u00a0'],
      [
        '\u0000',
        'a\u001f',
        '\n',
        '\u007f',
        '\u0080',
        '\u009f',
        '\ufdd0',
        '\ufdef',
        '\ufffe',
        '\uffff',
        '\u{1fffe}',
        '\u{10ffff}',
        '\ud800',
        'a\udc00b',
      ],
    ],
    ['Binary', ['', 'AA==', 'AAE=', 'AAEC'], ['A', 'AA', 'AAE', '_-==', 'A===', 'AA==AA==', '====', 'AA= =']],
    [
      'URI',
      ['http://x', 'urn:a:b', 'mailto:a@b', 'a+b.c-1:'],
      ['', '/x', 'x', '1a:b', ':b', 'http://a b', 'http://é', 'http://%zz'],
    ],
    [
      'URI-reference',
      ['/x', 'x?y#z', '//a', 'urn:a', '%20', '', '#'],
      ['a b', 'é', '%2', '<a>', '"', '{x}', '\\', '^', '`', '|'],
    ],
    [
      'Timestamp',
      [
        '2026-01-31T23:59:59Z',
        '2026-01-31t23:59:59z',
        '1937-01-01T12:00:27.87+00:20',
        '1990-12-31T23:59:60Z',
        '2024-02-29T00:00:00-23:59',
        '0000-01-01T00:00:00.123456789012Z',
        '2000-02-29T00:00:00Z',
      ],
      [
        '',
        '2026-01-31',
        '2026-01-31 23:59:59Z',
        '2026-13-01T00:00:00Z',
        '2026-00-01T00:00:00Z',
        '2026-02-29T00:00:00Z',
        '1900-02-29T00:00:00Z',
        '2026-04-31T00:00:00Z',
        '2026-01-00T00:00:00Z',
        '2026-01-01T24:00:00Z',
        '2026-01-01T00:60:00Z',
        '2026-01-01T00:00:61Z',
        '2026-01-01T00:00:00',
        '2026-01-01T00:00:00.Z',
        '2026-01-01T00:00:00+24:00',
        '2026-01-01T00:00:00+00:60',
        '2026-01-01T00:00:00+0000',
        '12026-01-01T00:00:00Z',
      ],
    ],
  ] as const)('%s', (type, good, bad) => {
    for (const value of good) expect([value, valueProblem(type, value)]).toEqual([value, undefined]);
    for (const value of bad) expect([value, typeof valueProblem(type, value)]).toEqual([value, 'string']);
  });
});

describe('§2.1, §10: by name', () => {
  test.each([
    [
      'datacontenttype',
      ['a/b', 'application/json', 'text/plain; charset="x"', 'a/b;'],
      ['', 'json', 'a/', '/b', 'a/b c', 'a b/c', 'a/b;\u0001'],
    ],
    ['dataschema', ['http://x/y#z', 'urn:x', 'type.googleapis.com/shop.Order'], ['', '/x', 'x', 'x.y', 'a b']],
    ['subject', ['x', 'é 1'], ['', '\n']],
    ['time', ['2026-01-01T00:00:00Z'], ['', '5', 'now']],
    ['partitionkey', ['x'], ['']],
    ['sequence', ['0001'], ['']],
    ['correlationid', ['x'], ['']],
    ['causationid', ['x'], ['']],
    ['expirytime', ['2026-01-01T00:00:00Z'], ['', 'x']],
    ['recordedtime', ['2026-01-01T00:00:00Z'], ['x']],
    ['deliverat', ['2026-01-01T00:00:00Z'], ['x']],
    ['dataref', ['/x', 'http://y'], ['', 'a b']],
    ['sampledrate', ['1', '30'], ['0', '-1', 'x', '']],
    ['severitynumber', ['0', '9'], ['-1', 'x']],
    ['severitytext', ['', 'warn'], ['\n']],
    ['dssematerial', ['AAEC'], ['!']],
    ['deprecated', ['true'], ['false', 'x']],
    ['deprecationfrom', ['2026-01-01T00:00:00Z'], ['x']],
    ['deprecationsunset', ['2026-01-01T00:00:00Z'], ['x']],
    ['deprecationmigration', ['https://x'], ['/x']],
    ['traceparent', ['00-a-b-01'], ['\u0000']],
    ['authtype', ['user'], ['\u0000']],
    ['anything', ['', 'x', '5'], ['\u0000']],
    ['data', [], ['x']],
    ['Upper', [], ['x']],
  ])('%s', (name, good, bad) => {
    for (const value of good) expect([value, attributeProblem(name, value)]).toEqual([value, undefined]);
    for (const value of bad) expect([value, typeof attributeProblem(name, value)]).toEqual([value, 'string']);
  });

  test('a type that came with the value is judged too', () => {
    expect(attributeProblem('sequence', '1.5', 'Integer')).toMatch('whole number');
    expect(attributeProblem('x', '1.5', 'Integer')).toMatch('whole number');
  });

  test.each([
    ['id', ['1', 'é'], ['', '\n', undefined]],
    ['source', ['/', 'urn:x'], ['', 'a b', undefined]],
    ['type', ['t', 'a.b'], ['', '\u0000', undefined]],
  ] as const)('%s', (name, good, bad) => {
    for (const value of good) expect(requiredProblem(name, value)).toBeUndefined();
    for (const value of bad) expect(requiredProblem(name, value)).toBeTypeOf('string');
  });
});

test('validateEvent names the attribute and what to do', () => {
  validateEvent(event({ subject: 'x', n: '5' }, { types: new Map([['n', 'Integer']]) }));
  const failing: [CloudEvent, string][] = [
    [event({ time: 'today' }), 'time'],
    [event({ n: 'x' }, { types: new Map([['n', 'Integer']]) }), 'n'],
    [event({}, { id: '' }), 'id'],
    [event({}, { source: 'a b' }), 'source'],
    [event({}, { type: '' }), 'type'],
    [event({ id: '2' }), 'id'],
    [event({ specversion: '1.0' }), 'specversion'],
    [event({ 'a-b': 'x' }), 'a-b'],
  ];
  for (const [invalid, field] of failing) {
    let thrown: unknown;
    try {
      validateEvent(invalid);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(HadronError);
    expect(thrown).toMatchObject({ code: 'EVENT_INVALID', field });
  }
});

describe('timestamps', () => {
  test.each([
    ['1970-01-01T00:00:00Z', 0],
    ['1970-01-01T00:00:00.0019Z', 1],
    ['1969-12-31T23:59:59.999Z', -1],
    ['2026-11-21T14:00:00.5+02:00', Date.parse('2026-11-21T12:00:00.500Z')],
    ['2016-12-31T23:59:60Z', Date.parse('2016-12-31T23:59:59Z')],
    ['0001-01-01T00:00:00Z', -62_135_596_800_000],
    ['0099-12-31T00:00:00Z', Date.parse('0099-12-31T00:00:00Z')],
    ['9999-12-31T23:59:59.999999999Z', 253_402_300_799_999],
    ['nonsense', undefined],
  ])('%s is %s ms', (text, ms) => expect(parseTimestamp(text)).toBe(ms));

  test('agrees with Date over four thousand years', () => {
    for (let ms = -62_135_596_800_000; ms < 64_000_000_000_000; ms += 86_400_000 * 367.123) {
      const text = new Date(Math.floor(ms)).toISOString();
      expect([text, parseTimestamp(text)]).toEqual([text, Math.floor(ms)]);
      const seconds = Math.floor(ms / 1000);
      const nanos = (Math.floor(ms) - seconds * 1000) * 1e6;
      expect(formatMoment(seconds, nanos)).toBe(nanos === 0 ? text.replace('.000', '') : text);
    }
  });

  test('moments as protobuf has them', () => {
    expect(formatMoment(0, 0)).toBe('1970-01-01T00:00:00Z');
    expect(formatMoment(-1, 120_000_000)).toBe('1969-12-31T23:59:59.120Z');
    expect(formatMoment(1, 1_000)).toBe('1970-01-01T00:00:01.000001Z');
    expect(formatMoment(1, 1)).toBe('1970-01-01T00:00:01.000000001Z');
    expect(formatMoment(-62_135_596_800, 0)).toBe('0001-01-01T00:00:00Z');
    expect(formatMoment(253_402_300_799, 999_999_999)).toBe('9999-12-31T23:59:59.999999999Z');
    for (const [seconds, nanos] of [
      [253_402_300_800, 0],
      [-62_135_596_801, 0],
      [0, -1],
      [0, 1e9],
      [NaN, 0],
      [0, NaN],
    ])
      expect(isProtoMoment(seconds as number, nanos as number)).toBe(false);
    expect(parseMoment('1990-12-31T23:59:60.5Z')).toEqual({ seconds: 662_687_999, fraction: '5', isLeapSecond: true });
  });
});

test('attributes and types by name', () => {
  const e = event({ n: '5', time: '2026-01-01T00:00:00Z', x: 'y' }, { types: new Map([['n', 'Integer']]) });
  expect(['id', 'source', 'type', 'specversion', 'n', 'none'].map((name) => attributeOf(e, name))).toEqual([
    '1',
    '/s',
    't',
    '1.0',
    '5',
    undefined,
  ]);
  expect(['n', 'time', 'x'].map((name) => typeOf(e, name))).toEqual(['Integer', 'Timestamp', 'String']);
});

test('the position that an event carries', () => {
  expect(positionOf(event({ hadronpartition: '3', hadronoffset: '99' }))).toEqual({ partition: 3, offset: 99 });
  expect(positionOf(event({ hadronpartition: '3' }))).toBeUndefined();
  expect(positionOf(event({ hadronpartition: '3', hadronoffset: 'x' }))).toBeUndefined();
});
