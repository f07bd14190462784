/** The JSON format, rule by rule: J1–J12 of §3, §5.5.3 of cloudevents.md. */
import { HadronError } from '@hadron/base/errors';
import { describe, expect, test } from 'vitest';
import type { CloudEvent } from './event.ts';
import { isJsonText, JSON_DEPTH_MAX } from './json-text.ts';
import { parseJsonBatch, parseJsonEvent, writeJsonBatch, writeJsonEvent, writeJsonLine } from './json.ts';
import { contentMode } from './media-type.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined): string | undefined =>
  data === undefined ? undefined : new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);

const HEAD = '"specversion":"1.0","id":"1","source":"/s","type":"t"';
const parse = (members: string): CloudEvent => parseJsonEvent(`{${HEAD}${members === '' ? '' : `,${members}`}}`);

function failure(run: () => unknown): HadronError {
  try {
    run();
  } catch (error) {
    if (error instanceof HadronError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('J1: the media types', () => {
  expect(contentMode('application/cloudevents+json')).toBe('json');
  expect(contentMode('application/cloudevents-batch+json; charset=UTF-8')).toBe('json-batch');
});

describe('J2: attributes are members; types', () => {
  test.each([
    ['"x":true', 'true', 'Boolean'],
    ['"x":false', 'false', 'Boolean'],
    ['"x":7', '7', 'Integer'],
    ['"x":-0', '0', 'Integer'],
    ['"x":-2147483648', '-2147483648', 'Integer'],
    ['"x":2147483647', '2147483647', 'Integer'],
    ['"x":"7"', '7', undefined],
    ['"x":"true"', 'true', undefined],
    ['"x":""', '', undefined],
    ['"x":"\\u20ac\\n"'.replace('\\n', ''), '€', undefined],
    // known by name: no type of its own is needed
    ['"sampledrate":5', '5', undefined],
    ['"sampledrate":"5"', '5', undefined],
    ['"deprecated":true', 'true', undefined],
    // and an extension keeps another type than the one it should have (golden rule)
    ['"sequence":5', '5', 'Integer'],
  ])('%s', (member, value, type) => {
    const event = parse(member);
    const [name] = [...event.attributes.keys()];
    expect(event.attributes.get(name as string)).toBe(value);
    expect(event.types?.get(name as string)).toBe(type);
    const again = parseJsonEvent(writeJsonEvent(event));
    expect(again).toEqual(event);
  });

  test('what leaves has the native type only where it is known (§9.2)', () => {
    expect(writeJsonEvent(parse('"x":5,"y":"5","b":true,"c":"true","sampledrate":"3"'))).toBe(
      `{${HEAD},"x":5,"y":"5","b":true,"c":"true","sampledrate":3}`,
    );
  });
});

describe('J3: null is absent; what no attribute can be', () => {
  test('null', () => {
    expect(parse('"subject":null,"x":null').attributes.size).toBe(0);
    expect(failure(() => parseJsonEvent(`{"id":null,"specversion":"1.0","source":"/s","type":"t"}`)).field).toBe('id');
  });
  test.each(['{}', '[]', '[1]', '1.5', '5.0', '1e2', '2147483648', '-2147483649', '99999999999999999999'])(
    '%s',
    (value) => {
      const error = failure(() => parse(`"x":${value}`));
      expect([error.code, error.field]).toEqual(['EVENT_INVALID', 'x']);
    },
  );
  test.each(['time', 'subject', 'datacontenttype', 'dataschema', 'id', 'source', 'type', 'specversion'])(
    '%s must be a string',
    (name) => {
      const members = { specversion: '"1.0"', id: '"1"', source: '"/s"', type: '"t"', [name]: '5' };
      const body = Object.entries(members).map(([key, value]) => `"${key}":${value}`);
      expect(failure(() => parseJsonEvent(`{${body.join()}}`)).field).toBe(name);
    },
  );
});

describe('J4, J5: data or data_base64 or neither', () => {
  test('neither', () => expect(parse('').data).toBeUndefined());
  test('both', () => expect(failure(() => parse('"data":1,"data_base64":""')).field).toBe('data_base64'));
  test('null stands for no data_base64', () => expect(text(parse('"data_base64":null,"data":1').data)).toBe('1'));
  test('binary, and nothing is invented about it', () => {
    const event = parse('"data_base64":"AAH/"');
    expect(event.data).toEqual(Uint8Array.of(0, 1, 255));
    expect(event.attributes.has('datacontenttype')).toBe(false);
    expect(writeJsonEvent(event)).toBe(`{${HEAD},"data_base64":"AAH/"}`);
  });
  test('empty data is data', () => {
    const event = parse('"data_base64":""');
    expect(event.data).toEqual(new Uint8Array(0));
    expect(parseJsonEvent(writeJsonEvent(event))).toEqual(event);
  });
  test.each(['"A"', '"AA"', '"AA=A"', '"A A="', '"____"', '"€€€€"', '"===="', '5', '{}'])('not base64: %s', (value) => {
    expect(failure(() => parse(`"data_base64":${value}`)).field).toBe('data_base64');
  });
});

describe('J6, J8, J9: JSON data', () => {
  test.each([
    'application/json',
    'application/JSON; charset=utf-8',
    'text/json',
    'application/vnd.x+json',
    'image/a+JSON;v=1',
  ])('%s is JSON', (type) => {
    const event = parse(`"datacontenttype":"${type}","data":"{\\"a\\":1}"`);
    expect(text(event.data)).toBe('"{\\"a\\":1}"'); // the string stays a string and is not parsed again
    expect(parseJsonEvent(writeJsonEvent(event))).toEqual(event);
  });
  test.each(['null', '0', 'false', '""', '"hi"', '{}', '[]', '-1.5e-7'])('%s is data', (value) => {
    const event = parse(`"data":${value}`);
    expect(text(event.data)).toBe(value);
    expect(event.attributes.get('datacontenttype')).toBe('application/json'); // J9
    expect(writeJsonEvent(event)).toBe(`{${HEAD},"datacontenttype":"application/json","data":${value}}`);
  });
  test('J9: without data nothing is set', () => expect(parse('').attributes.size).toBe(0));
  test('the type may follow the data', () => {
    expect(text(parse('"data":"hi","datacontenttype":"text/plain"').data)).toBe('hi');
  });
});

describe('J7: other data is a string that holds it', () => {
  test.each(['text/plain', 'text/xml', 'application/xml', 'image/svg+xml', 'application/x'])('%s', (type) => {
    const event = parse(`"datacontenttype":"${type}","data":"<a>\\u20ac \\"\\n</a>"`);
    expect(text(event.data)).toBe('<a>€ "\n</a>');
    expect(parseJsonEvent(writeJsonEvent(event))).toEqual(event);
  });
  test.each(['1', 'null', '{}'])('no string: %s', (value) => {
    expect(failure(() => parse(`"datacontenttype":"text/plain","data":${value}`)).field).toBe('data');
  });
  test('half a character cannot be stored', () => {
    expect(failure(() => parse('"datacontenttype":"text/plain","data":"\\ud83d"')).field).toBe('data');
  });
});

describe('J10: batches', () => {
  test('empty', () => {
    expect(parseJsonBatch(' [ ] ')).toEqual([]);
    expect(writeJsonBatch([])).toBe('[]');
  });
  test('a result for each; an invalid one does not spoil the others', () => {
    const results = parseJsonBatch(
      bytes(`[{${HEAD},"data":[1,{"x":"]}"}]}, {"id":"2"} ,7,{${HEAD},"time":"today"},{${HEAD}}]`),
    );
    expect(results.map((r) => (r instanceof HadronError ? r.field : r.id))).toEqual([
      '1',
      'specversion',
      undefined,
      'time',
      '1',
    ]);
    const good = results.filter((r) => !(r instanceof HadronError)) as CloudEvent[];
    expect(parseJsonBatch(writeJsonBatch(good))).toEqual(good);
  });
  test.each(['', '{}', '[', '[{}', '[{},]', '[,]', '[{}] x', '[{} {}]', '[{"a":}]', 'null'])(
    'not a batch: %s',
    (body) => {
      expect(failure(() => parseJsonBatch(body)).code).toBe('EVENT_INVALID');
    },
  );
  test('a cap on events', () => {
    expect(parseJsonBatch(`[${'{},'.repeat(9_999)}{}]`)).toHaveLength(10_000);
    expect(failure(() => parseJsonBatch(`[${'{},'.repeat(10_000)}{}]`)).code).toBe('EVENT_TOO_LARGE');
  });
});

describe('J11: data keeps its text', () => {
  test.each([
    '123456789012345678901234567890',
    '1.000000000000000000001',
    '{ "b" : 1 ,\n\t"a" : [ 1e400 , -0.0 ] }',
    '{"a":1,"a":2}', // what the data says is the data's own affair
    '"\\u0041\\/"',
    '"€😀"',
    '{"__proto__":{"x":1}}',
  ])('%s', (value) => {
    for (const input of [`{${HEAD},"data":${value}}`, `{${HEAD},"x":"é","data": ${value} }`]) {
      const fromText = parseJsonEvent(input);
      const fromBytes = parseJsonEvent(bytes(input));
      expect(text(fromText.data)).toBe(value);
      expect(text(fromBytes.data)).toBe(value);
      expect(writeJsonEvent(fromBytes)).toContain(`"data":${value}}`);
    }
  });
});

describe('J12: members given twice', () => {
  test.each([
    '"id":"2"',
    '"specversion":"1.0"',
    '"x":"a","x":"a"',
    '"x":null,"x":"a"',
    '"x":"a","x":null',
    '"x":null,"x":null',
    '"data":1,"data":1',
    '"data_base64":"","data_base64":""',
    '"data_base64":null,"data_base64":""',
    '"x":"a","\\u0078":"a"', // the same name, spelled otherwise
  ])('%s', (members) => {
    const error = failure(() => parse(members));
    expect(error.code).toBe('EVENT_INVALID');
    expect(error.message).toMatch(/twice/);
  });
});

describe('names and required members', () => {
  test.each(['Subject', 'a-b', 'a_b', 'é', '', 'a b', '__proto__'])('%j is no name', (name) => {
    expect(failure(() => parse(`${JSON.stringify(name)}:"x"`)).field).toBe(name);
  });
  test.each(['constructor', 'tostring', '0', 'averyveryverylongnamethatisallowed'])('%j is one', (name) => {
    expect(parse(`"${name}":"x"`).attributes.get(name)).toBe('x');
  });
  test.each(['id', 'source', 'type', 'specversion'])('%s is missing or empty', (name) => {
    for (const value of [undefined, '']) {
      const members = { specversion: '1.0', id: '1', source: '/s', type: 't', [name]: value };
      expect(failure(() => parseJsonEvent(JSON.stringify(members))).field).toBe(name);
    }
  });
  test('another version', () => {
    expect(failure(() => parseJsonEvent('{"specversion":"0.3","id":"1","source":"/s","type":"t"}')).message).toMatch(
      '1.0',
    );
  });
});

describe('§5.5.3: what is embedded as JSON', () => {
  const stored = (data: string | Uint8Array, datacontenttype?: string): CloudEvent => ({
    id: '1',
    source: '/s',
    type: 't',
    attributes: new Map(datacontenttype === undefined ? [] : [['datacontenttype', datacontenttype]]),
    data: typeof data === 'string' ? bytes(data) : data,
  });
  const member = (event: CloudEvent): string => Object.keys(JSON.parse(writeJsonEvent(event))).at(-1) as string;

  test('a value cannot add members to the event around it', () => {
    for (const data of [
      '1,"id":"x"',
      '1}',
      '"a","b":"c"',
      '{} {}',
      '1 2',
      '',
      ' ',
      '\u{feff}1',
      '{',
      "{'a':1}",
      'NaN',
      '01',
      '+1',
      '.5',
      '1.',
      '"\t"',
      '"\\x"',
      'nul',
      '[1,]',
      '{"a":1,}',
    ]) {
      const event = stored(data, 'application/json');
      expect([data, member(event)]).toEqual([data, 'data_base64']);
      expect(parseJsonEvent(writeJsonEvent(event))).toEqual({ ...event, types: undefined });
    }
  });
  test('nesting beyond the cap is bytes', () => {
    const deep = (n: number): string => '['.repeat(n) + ']'.repeat(n);
    expect(member(stored(deep(JSON_DEPTH_MAX), 'application/json'))).toBe('data');
    expect(member(stored(deep(JSON_DEPTH_MAX + 1), 'application/json'))).toBe('data_base64');
    expect(failure(() => parse(`"data":${deep(100_000)}`)).code).toBe('EVENT_INVALID');
  });
  test.each([
    ['text/plain', 'data'],
    ['text/plain; charset=utf-8', 'data'],
    ['text/plain; charset=iso-8859-1', 'data_base64'], // valid UTF-8 by chance only
    ['image/svg+xml', 'data'],
    ['application/xml', 'data_base64'],
    ['application/octet-stream', 'data_base64'],
    [undefined, 'data_base64'],
  ])('%s', (type, expected) => expect(member(stored('é', type))).toBe(expected));
  test('not UTF-8', () => {
    for (const type of ['application/json', 'text/plain'])
      expect(member(stored(Uint8Array.of(0x22, 0xff, 0x22), type))).toBe('data_base64');
  });
  test('a byte order mark is part of the text', () => {
    const event = stored('\u{feff}hi', 'text/plain');
    expect(parseJsonEvent(writeJsonEvent(event)).data).toEqual(event.data);
  });
  test('on one line: breaks between tokens become spaces, within strings they are escaped already', () => {
    const event = stored('{\r\n "a":\n"\\n\u2028"}', 'application/json');
    expect(writeJsonLine(event)).toContain('"data":{   "a": "\\n\u2028"}}');
    expect(writeJsonLine(stored('a\nb\r', 'text/plain'))).not.toMatch(/[\r\n]/);
    expect(JSON.parse(writeJsonLine(event))).toEqual(JSON.parse(writeJsonEvent(event)));
  });
});

test('§5.5.4: the position', () => {
  const event = parse('"x":"y","hadronpartition":9,"hadronoffset":"8"');
  const written = writeJsonEvent(event, { partition: 3, offset: 2 ** 40 });
  expect(JSON.parse(written)).toMatchObject({ hadronpartition: 3, hadronoffset: '1099511627776', x: 'y' });
  expect(written.match(/hadronoffset/g)).toHaveLength(1);
});

describe('what is no JSON', () => {
  test.each([
    '',
    ' ',
    'x',
    '[]',
    '"a"',
    '{',
    '{"a"',
    '{"a":',
    '{"a":"b"',
    '{"a":"b",',
    '{"a":"b"} x',
    "{'a':1}",
    '{"a":"\u0001"}',
    '{"a":"\\u12g4"}',
    '{"a":tru}',
    '{a:1}',
    '{"a":1,}',
  ])('%s', (input) => {
    for (const form of [input, bytes(input)]) expect(failure(() => parseJsonEvent(form)).code).toBe('EVENT_INVALID');
  });
  test('bytes that are not UTF-8, text that is not Unicode', () => {
    expect(failure(() => parseJsonEvent(Uint8Array.of(0x7b, 0xc0, 0x80, 0x7d))).message).toMatch('UTF-8');
    expect(failure(() => parseJsonEvent('{"a":"\ud800"}')).message).toMatch('surrogates');
  });
  test('a byte order mark before the event is passed', () =>
    expect(parseJsonEvent(bytes(`\u{feff}{${HEAD}}`)).id).toBe('1'));
  test('the walk agrees with JSON.parse on what is JSON', () => {
    const parts = ['{', '}', '[', ']', ',', ':', '"a"', '"', '1', '-', '.', 'e', '0', 'true', 'null', ' ', '\\', '\n'];
    let seed = 1;
    let good = 0;
    for (let n = 0; n < 30_000; n++) {
      let candidate = '';
      for (let k = 0; k <= n % 7; k++) {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        candidate += parts[(seed >>> 16) % parts.length];
      }
      let expected = true;
      try {
        JSON.parse(candidate);
        good++;
      } catch {
        expected = false;
      }
      expect([candidate, isJsonText(candidate)]).toEqual([candidate, expected]);
    }
    expect(good).toBeGreaterThan(1000);
  });
});
