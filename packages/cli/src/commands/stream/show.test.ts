import type { CloudEvent } from '@hadron/contracts';
import fc from 'fast-check';
import picocolors from 'picocolors';
import { describe, expect, test } from 'vitest';
import { formatEvent, indented } from './show.ts';

const plain = picocolors.createColors(false);
const event = (attributes: Record<string, string>, data?: string | Uint8Array): CloudEvent => ({
  id: '1',
  source: '/s',
  type: 't',
  attributes: new Map(Object.entries(attributes)),
  data: typeof data === 'string' ? Buffer.from(data) : data,
});
const pretty = (attributes: Record<string, string>, data?: string | Uint8Array, attempt?: number): string[] =>
  String(formatEvent({ event: event(attributes, data), partition: 0, offset: 7, attempt }, 'pretty', plain)).split(
    '\n',
  );

describe('pretty', () => {
  test('names what people look for, then the rest, then the data', () => {
    const json = { datacontenttype: 'application/json' };
    expect(pretty({ subject: 'x', time: '2026-01-01T00:00:00Z', ...json, region: 'eu' }, '{"a":1}', 2)).toEqual([
      't  0/7  x  2026-01-01T00:00:00Z  attempt 2',
      '  id 1  source /s  region eu',
      '  {"a":1}',
      '',
    ]);
    expect(pretty({})).toEqual(['t  0/7', '  id 1  source /s', '']);
    const long = JSON.stringify({ text: 'x'.repeat(100) });
    expect(pretty(json, long).slice(2, 5)).toEqual(['  {', `    "text": "${'x'.repeat(100)}"`, '  }']);
    expect(pretty(json, '{"broken')[2]).toBe('  {"broken');
    expect(pretty({ datacontenttype: 'image/png' }, Uint8Array.of(0x89, 0x50, 0xff))[2]).toBe(
      '  (3 bytes of image/png: 8950ff)',
    );
    expect(pretty({}, new Uint8Array(33).fill(255))[2]).toBe(`  (33 bytes: ${'ff'.repeat(32)}…)`);
  });

  test('nothing in an event moves the cursor or sets a colour', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (subject, data) => {
        const text = pretty({ subject, datacontenttype: 'text/plain' }, data, 2).join('\n');
        // oxlint-disable-next-line no-control-regex
        expect(text.replaceAll('\n', '').replaceAll('\t', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
      }),
    );
  });
});

test('data is byte for byte what it is; json keeps every digit', () => {
  const bytes = Uint8Array.of(0, 255, 10);
  const shown = { event: event({}, bytes), partition: 0, offset: 0 };
  expect(formatEvent(shown, 'data', plain)).toEqual(Buffer.from([0, 255, 10, 10]));
  expect(indented('{"n":1.0,"m":[12345678901234567890]}')).toBe(
    '{\n  "n": 1.0,\n  "m": [\n    12345678901234567890\n  ]\n}',
  );
});
