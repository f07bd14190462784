/** Records in bytes: the same as @hadron/kafka-protocol writes and reads, whatever the event; damaged ones are refused. */
import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBatch, RecordCursor } from '../../../kafka-protocol/src/records/index.ts';
import type { CloudEvent, EventRecord } from './event.ts';
import { readRecord, RecordWriter, writeEventRecord } from './record-bytes.ts';
import { eventToRecord } from './record.ts';

const BATCH_HEADER_BYTES = 61;

/** The record as @hadron/kafka-protocol lays it out, length included. */
function reference(record: EventRecord, timestampDelta: number): Uint8Array {
  const b = (value: Uint8Array | null) => (value === null ? null : Buffer.from(value));
  const batch = encodeBatch(
    [
      {
        timestamp: 1_000_000 + timestampDelta,
        key: b(record.key),
        value: b(record.value),
        headers: record.headers.map((h) => ({ key: h.key, value: b(h.value) })),
      },
    ],
    { baseTimestamp: 1_000_000 },
  );
  return new Uint8Array(batch.subarray(BATCH_HEADER_BYTES));
}

function encoded(event: CloudEvent, timestampDelta = 0): Uint8Array {
  const out = new RecordWriter(16);
  writeEventRecord(out, event, 0, timestampDelta);
  return out.view();
}

const event = (data: Uint8Array | undefined, attributes: Record<string, string> = {}): CloudEvent => ({
  id: 'é1',
  source: '/s',
  type: 't',
  attributes: new Map(Object.entries(attributes)),
  data,
});

/** Behind the length. */
function body(record: Uint8Array): Uint8Array {
  let at = 0;
  while ((record[at] as number) >= 0x80) at++;
  return record.subarray(at + 1);
}

describe('writing', () => {
  test.each([undefined, 0, 1, 20, 63, 64, 100, 7_000, 7_700, 7_800, 8_191, 8_192, 20_000, 1_048_000, 1_048_576])(
    'data of %s bytes',
    (size) => {
      const e = event(size === undefined ? undefined : new Uint8Array(size).fill(7));
      expect(Buffer.compare(encoded(e, -5), reference(eventToRecord(e), -5))).toBe(0);
    },
  );
  test.each([0, 1, 50, 58, 59, 60, 61, 200, 1000])('%i attributes', (count) => {
    const e = event(
      undefined,
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`x${i}`, '€'.repeat(i % 50)])),
    );
    expect(Buffer.compare(encoded(e), reference(eventToRecord(e), 0))).toBe(0);
  });
  test('values of two-byte lengths, ASCII and not; attributes that are dropped; types', () => {
    const e: CloudEvent = {
      ...event(Uint8Array.of(1), {
        subject: 'a'.repeat(63) + 'é',
        x: 'é'.repeat(64),
        y: 'z'.repeat(9000),
        hadronpartition: '1',
        hadronoffset: '1',
        n: '5',
      }),
      types: new Map([['n', 'Integer']]),
    };
    for (const delta of [0, 1, -1, 2 ** 31, -(2 ** 40), 2 ** 51])
      expect(Buffer.compare(encoded(e, delta), reference(eventToRecord(e), delta))).toBe(0);
  });
  test('records one behind the other; the cursor of the log reads them', () => {
    const out = new RecordWriter();
    out.reserve(BATCH_HEADER_BYTES);
    out.length = BATCH_HEADER_BYTES;
    const events = Array.from({ length: 300 }, (_, i) => event(new Uint8Array(i), { n: String(i) }));
    events.forEach((e, i) => writeEventRecord(out, e, i, i * 3));
    const batch = Buffer.from(out.view());
    encodeBatch([], { lastOffsetDelta: 299, baseTimestamp: 5 }).copy(batch); // a header; the cursor checks no checksum
    batch.writeInt32BE(batch.length - 12, 8);
    batch.writeInt32BE(300, 57);
    const cursor = new RecordCursor();
    cursor.open(batch);
    for (const [i, e] of events.entries()) {
      expect(cursor.next()).toBe(true);
      expect([cursor.offset, cursor.timestamp]).toEqual([i, 5 + i * 3]);
      expect(readRecord(new Uint8Array(cursor.body()))).toEqual(eventToRecord(e));
    }
    expect(cursor.next()).toBe(false);
  });
});

describe('reading', () => {
  const arbitraryRecord: fc.Arbitrary<EventRecord> = fc.record({
    key: fc.option(fc.uint8Array()),
    value: fc.option(fc.uint8Array({ maxLength: 9000, size: 'max' })),
    headers: fc.array(fc.record({ key: fc.string({ unit: 'grapheme' }), value: fc.option(fc.uint8Array()) }), {
      maxLength: 80,
    }),
  });
  test('any record comes back', () => {
    fc.assert(
      fc.property(
        arbitraryRecord,
        fc.maxSafeInteger().map((n) => Math.floor(n / 4)),
        (record, delta) => {
          fc.pre(record.headers.every((h) => h.key.isWellFormed()));
          expect(readRecord(body(reference(record, delta)))).toEqual(record);
        },
      ),
      { numRuns: 200 },
    );
  });
  test('a header key that is not UTF-8 keeps a readable form', () => {
    // attributes, timestamp, offset, key -1, value -1, one header ff → null
    expect(readRecord(Uint8Array.of(0, 0, 0, 1, 1, 2, 2, 0xff, 1)).headers).toEqual([{ key: '\ufffd', value: null }]);
  });
  test.each([
    ['nothing', []],
    ['one byte', [0]],
    ['cut off before the headers', [0, 0, 0, 1, 1]],
    ['a negative count', [0, 0, 0, 1, 1, 1]],
    ['more headers than bytes', [0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]],
    ['a header without key', [0, 0, 0, 1, 1, 2, 1, 1]],
    ['a length below -1', [0, 0, 0, 3, 1, 0]],
    ['a length beyond the end', [0, 0, 0, 20, 1, 0]],
    ['bytes behind the headers', [0, 0, 0, 1, 1, 0, 0]],
    ['a long varint', [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1, 1, 0]],
    ['a long varlong', [0, ...new Array(11).fill(0xff), 0, 1, 1, 0]],
  ])('%s', (_, damaged) => {
    expect(() => readRecord(Uint8Array.from(damaged))).toThrow(
      expect.objectContaining({ code: 'RECORD_INVALID' }) as HadronError,
    );
  });
  test('damaged bytes give a record or RECORD_INVALID, nothing else', () => {
    const good = body(encoded(event(new Uint8Array(40), { subject: 's', time: '2026-01-01T00:00:00Z' })));
    let refused = 0;
    fc.assert(
      fc.property(
        fc.nat({ max: good.length - 1 }),
        fc.nat({ max: 255 }),
        fc.nat({ max: good.length }),
        (at, value, cut) => {
          const damaged = good.slice(0, cut === 0 ? good.length : cut);
          if (at < damaged.length) damaged[at] = value;
          try {
            readRecord(damaged);
          } catch (error) {
            expect(error).toBeInstanceOf(HadronError);
            expect((error as HadronError).code).toBe('RECORD_INVALID');
            refused++;
          }
        },
      ),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(100);
  });
});
