/**
 * The official JavaScript SDK (`cloudevents` 10.0.0) as the oracle, both ways. Where it departs from the specification
 * (cloudevents.md §12) the test says how, so that a new version of it that does not is noticed.
 */
import { CloudEvent as SdkEvent, type CloudEventV1, HTTP, Kafka, type KafkaMessage, type Message } from 'cloudevents';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CloudEvent, EventRecord } from './event.ts';
import { readHttpEvent, writeHttpHeaders } from './http.ts';
import { parseJsonBatch, parseJsonEvent, writeJsonBatch, writeJsonEvent } from './json.ts';
import { contentMode } from './media-type.ts';
import { cloudEvent, type CloudEventInit, toPlainEvent } from './plain.ts';
import { eventToRecord, recordToEvent } from './record.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (b: Uint8Array | null | undefined): string => new TextDecoder().decode(b ?? undefined);
const CONTEXT = { stream: 's', topicId: 'i', partition: 0, offset: 0, timestampMs: 0 };

/** What both sides can say: visible ASCII in attributes (the SDK neither escapes nor unescapes), JSON objects as data. */
const visible = fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom(...'abcXYZ019/:?&=-_.~'.split('')) });
const shared = fc.record(
  {
    id: visible,
    source: fc.constantFrom('/s', 'https://example.com/a?b=c', 'urn:x:y'),
    type: visible,
    subject: visible,
    time: fc.integer({ min: 0, max: 4e12 }).map((ms) => new Date(ms).toISOString()),
    dataschema: fc.constantFrom('https://example.com/schema'),
    datacontenttype: fc.constantFrom('application/json'),
    partitionkey: visible,
    myext: visible,
    data: fc.dictionary(
      visible,
      fc.oneof(
        fc.string({ unit: 'grapheme' }).filter((s) => s.isWellFormed()),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
      ),
      { minKeys: 1 },
    ),
  },
  { requiredKeys: ['id', 'source', 'type', 'time', 'datacontenttype', 'data'] },
) as fc.Arbitrary<CloudEventInit & { data: unknown }>;

/** The same for ours and theirs: a plain object. */
const ofSdk = (event: unknown): unknown => {
  const { data_base64: _, ...plain } = JSON.parse(JSON.stringify(event)) as Record<string, unknown>;
  return plain;
};
const ofOurs = (event: CloudEvent): unknown => JSON.parse(JSON.stringify(toPlainEvent(event)));

const sdk = (init: object): SdkEvent<unknown> => new SdkEvent(init as CloudEventV1<unknown>);
const rawHeaders = (headers: Message['headers']): string[] =>
  Object.entries(headers).flatMap(([name, value]) => [name, String(value)]);

const both = (name: string, run: (init: CloudEventInit & { data: unknown }) => void): void => {
  test(name, () => fc.assert(fc.property(shared, run), { numRuns: 200 }));
};

describe('HTTP', () => {
  both('structured, theirs read by us', (init) => {
    const message = HTTP.structured(sdk(init));
    expect(contentMode(String(message.headers['content-type']))).toBe('json');
    expect(ofOurs(parseJsonEvent(message.body as string))).toEqual(ofSdk(sdk(init)));
  });
  both('structured, ours read by them', (init) => {
    const ours = cloudEvent(init);
    const read = HTTP.toEvent({
      headers: { 'content-type': 'application/cloudevents+json' },
      body: writeJsonEvent(ours),
    });
    expect(ofSdk(read)).toEqual(ofOurs(ours));
  });
  both('binary, theirs read by us', (init) => {
    const message = HTTP.binary(sdk(init));
    expect(ofOurs(readHttpEvent(rawHeaders(message.headers), bytes(message.body as string)))).toEqual(ofSdk(sdk(init)));
  });
  both('binary, ours read by them', (init) => {
    const ours = cloudEvent(init);
    const read = HTTP.toEvent({ headers: Object.fromEntries(writeHttpHeaders(ours)), body: text(ours.data) });
    expect(ofSdk(read)).toEqual(ofOurs(ours));
  });
  both('batches, both ways', (init) => {
    const ours = [cloudEvent(init), cloudEvent({ ...init, id: 'second' })];
    const headers = { 'content-type': 'application/cloudevents-batch+json' };
    const read = HTTP.toEvent({ headers, body: writeJsonBatch(ours) }) as unknown as unknown[];
    expect(read.map(ofSdk)).toEqual(ours.map(ofOurs));
    const theirs = JSON.stringify([sdk(init), sdk(init)]);
    expect((parseJsonBatch(theirs) as CloudEvent[]).map(ofOurs)).toEqual([ofSdk(sdk(init)), ofSdk(sdk(init))]);
  });
});

describe('Kafka', () => {
  /** As a client sends it: headers without value are not sent. */
  const asRecord = (message: KafkaMessage<unknown>): EventRecord => ({
    key: message.key === undefined ? null : bytes(String(message.key)),
    value:
      message.value === undefined
        ? null
        : bytes(typeof message.value === 'string' ? message.value : JSON.stringify(message.value)),
    headers: Object.entries(message.headers).map(([key, value]) => ({
      key,
      value: value === undefined ? null : bytes(String(value)),
    })),
  });
  const asMessage = (record: EventRecord): KafkaMessage => {
    const headers = Object.fromEntries(record.headers.map((h) => [h.key, text(h.value)]));
    const value = text(record.value);
    return { key: record.key === null ? '' : text(record.key), value, headers, body: value };
  };
  both('binary, theirs read by us', (init) => {
    expect(ofOurs(recordToEvent(asRecord(Kafka.binary(sdk(init)) as KafkaMessage<unknown>), CONTEXT))).toEqual(
      ofSdk(sdk(init)),
    );
  });
  both('binary, ours read by them', (init) => {
    const ours = cloudEvent(init);
    const read = ofSdk(Kafka.toEvent(asMessage(eventToRecord(ours)))) as Record<string, unknown>;
    // §12: the record key is copied into partitionkey, also where it was the subject.
    if (init['partitionkey'] === undefined) delete read['partitionkey'];
    expect(read).toEqual(ofOurs(ours));
  });
  both('structured, theirs read by us', (init) => {
    expect(ofOurs(recordToEvent(asRecord(Kafka.structured(sdk(init)) as KafkaMessage<unknown>), CONTEXT))).toEqual(
      ofSdk(sdk(init)),
    );
  });
});

describe('where the SDK departs (§12), and what we make of it', () => {
  const base = { id: '1', source: '/s', type: 't', time: '2026-01-01T00:00:00.000Z' };

  test('it does not escape: quotes go, a lone % stays', () => {
    const message = HTTP.binary(sdk({ ...base, subject: 'say "x" 100%' }));
    expect(message.headers['ce-subject']).toBe('say "x" 100%');
    expect(readHttpEvent(rawHeaders(message.headers), new Uint8Array(0)).attributes.get('subject')).toBe('say x 100%');
  });
  test('it does not unescape', () => {
    const headers = Object.fromEntries(writeHttpHeaders(cloudEvent({ ...base, subject: 'é' })));
    expect((HTTP.toEvent({ headers, body: '' }) as CloudEventV1<unknown>).subject).toBe('%C3%A9');
  });
  test('it invents a content type; we take it as sent', () => {
    const message = HTTP.binary(sdk({ ...base, data: Uint8Array.of(1, 2) }));
    expect(readHttpEvent(rawHeaders(message.headers), Uint8Array.of(1, 2)).attributes.get('datacontenttype')).toBe(
      'application/json; charset=utf-8',
    );
  });
  test('its binary data in the JSON format is ours byte for byte', () => {
    const event = parseJsonEvent(HTTP.structured(sdk({ ...base, data_base64: 'AAH/' })).body as string);
    expect(event.data).toEqual(Uint8Array.of(0, 1, 255));
    expect(event.attributes.has('datacontenttype')).toBe(false);
  });
  test.each([0, false, '', null])('it loses data %j on receipt; we do not', (data) => {
    const ours = cloudEvent({ ...base, data });
    const body = writeJsonEvent(ours);
    const theirs = HTTP.toEvent({
      headers: { 'content-type': 'application/cloudevents+json' },
      body,
    }) as CloudEventV1<unknown>;
    expect(theirs.data).not.toBe(data === null ? null : data);
    expect(parseJsonEvent(body)).toEqual(ours);
  });
  test('it writes ce_datacontenttype beside content-type (K7)', () => {
    const { headers } = Kafka.binary(sdk({ ...base, datacontenttype: 'text/plain', data: 'x' })) as KafkaMessage;
    expect(Object.keys(headers)).toContain('ce_datacontenttype');
  });
});
