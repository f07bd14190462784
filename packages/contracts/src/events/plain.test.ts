/** Events from and to plain values. */
import { HadronError } from '@hadron/base/errors';
import { describe, expect, test } from 'vitest';
import { writeJsonEvent } from './json.ts';
import { cloudEvent, type CloudEventInit, eventData, toPlainEvent } from './plain.ts';

const base = { id: '1', source: '/s', type: 't' };
const text = (data: Uint8Array | undefined): string => new TextDecoder().decode(data);

function field(init: Record<string, unknown>): string | undefined {
  try {
    cloudEvent({ ...base, ...init });
  } catch (error) {
    if (error instanceof HadronError && error.code === 'EVENT_INVALID') return error.field;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('data', () => {
  test.each<[unknown, string | undefined, string, string | undefined]>([
    [{ a: [1, null] }, undefined, '{"a":[1,null]}', 'application/json'],
    ['hi', undefined, '"hi"', 'application/json'],
    ['hi', 'application/x+json', '"hi"', 'application/x+json'],
    [null, undefined, 'null', 'application/json'],
    [0, undefined, '0', 'application/json'],
    [false, undefined, 'false', 'application/json'],
    ['', undefined, '""', 'application/json'],
    ['hi', 'text/plain', 'hi', 'text/plain'],
    [Uint8Array.of(0x61), undefined, 'a', undefined],
    [Uint8Array.of(0x61), 'image/png', 'a', 'image/png'],
    [Uint8Array.of(0x37), 'application/json', '7', 'application/json'],
    [new Uint8Array([0x61]).buffer, undefined, 'a', undefined],
  ])('%j as %s', (data, datacontenttype, stored, type) => {
    const event = cloudEvent({ ...base, data, datacontenttype });
    expect(text(event.data)).toBe(stored);
    expect(event.attributes.get('datacontenttype')).toBe(type);
  });
  test('none', () => {
    const event = cloudEvent(base);
    expect([event.data, event.attributes.size, eventData(event)]).toEqual([undefined, 0, undefined]);
  });
  test('what has no JSON form', () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (const data of [() => 1, Symbol('x'), 1n, circular]) expect(field({ data })).toBe('data');
    expect(field({ data: {}, datacontenttype: 'text/plain' })).toBe('data');
    expect(field({ data: '\ud800', datacontenttype: 'text/plain' })).toBe('data');
  });
  test('back', () => {
    expect(eventData(cloudEvent({ ...base, data: { a: 1 } }))).toEqual({ a: 1 });
    expect(eventData(cloudEvent({ ...base, data: '"x"', datacontenttype: 'text/plain' }))).toBe('"x"');
    expect(eventData(cloudEvent({ ...base, data: Uint8Array.of(1) }))).toEqual(Uint8Array.of(1));
    expect(eventData(cloudEvent({ ...base, data: Uint8Array.of(0xff), datacontenttype: 'text/plain' }))).toEqual(
      Uint8Array.of(0xff),
    );
    for (const bad of [Uint8Array.of(0x7b), Uint8Array.of(0xff), new Uint8Array(0)])
      expect(() => eventData(cloudEvent({ ...base, data: bad, datacontenttype: 'application/json' }))).toThrow(
        /not JSON/,
      );
  });
});

describe('attributes', () => {
  test('types of extensions; what is left out', () => {
    const event = cloudEvent({
      ...base,
      specversion: '1.0',
      time: new Date(5),
      subject: undefined,
      urgent: true,
      count: 5,
      zero: -0,
      blob: Uint8Array.of(1, 2),
      at: new Date(6),
      note: 'x',
      nothing: null,
      sampledrate: 3,
    });
    expect(Object.fromEntries(event.attributes)).toEqual({
      time: '1970-01-01T00:00:00.005Z',
      urgent: 'true',
      count: '5',
      zero: '0',
      blob: 'AQI=',
      at: '1970-01-01T00:00:00.006Z',
      note: 'x',
      sampledrate: '3',
    });
    expect(event.types).toEqual(
      new Map([
        ['urgent', 'Boolean'],
        ['count', 'Integer'],
        ['zero', 'Integer'],
        ['blob', 'Binary'],
        ['at', 'Timestamp'],
      ]),
    );
    expect(writeJsonEvent(event)).toContain('"urgent":true,"count":5,"zero":0,"blob":"AQI="');
  });
  test('a time keeps its text', () => {
    const time = '2026-01-01T00:00:00.123456789+02:00';
    expect(cloudEvent({ ...base, time }).attributes.get('time')).toBe(time);
  });
  test.each<[string, Record<string, unknown>]>([
    ['id', { id: '' }],
    ['id', { id: 5 }],
    ['id', { id: undefined }],
    ['source', { source: 'a b' }],
    ['type', { type: '' }],
    ['specversion', { specversion: '0.3' }],
    ['time', { time: 'now' }],
    ['time', { time: new Date(NaN) }],
    ['x', { x: 1.5 }],
    ['x', { x: 2 ** 31 }],
    ['x', { x: NaN }],
    ['x', { x: {} }],
    ['x', { x: 1n }],
    ['Big', { Big: 'x' }],
    ['subject', { subject: '' }],
  ])('%s is refused (%#)', (name, init) => expect(field(init)).toBe(name));
});

test('there and back', () => {
  const init: CloudEventInit = {
    ...base,
    subject: 's',
    urgent: false,
    count: -5,
    sampledrate: 3,
    note: '5',
    time: '2026-01-01T00:00:00+02:00',
    data: { a: [1] },
  };
  const event = cloudEvent(init);
  expect(toPlainEvent(event)).toEqual({ ...init, specversion: '1.0', datacontenttype: 'application/json' });
  expect(cloudEvent(toPlainEvent(event))).toEqual(event);
});
