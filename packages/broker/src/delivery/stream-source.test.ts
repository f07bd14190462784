import { RecordCursor, encodeBatch } from '@hadron/kafka-protocol/records';
import { compileFilters } from '@hadron/contracts/filters';
import { silentLogger } from '@hadron/base';
import { Sim } from '@hadron/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from '../ports/memory-event-log.ts';
import { ChunkCache } from './chunks.ts';
import { certificateOf, deadLetterBatch, withoutCertificate } from './dead-letter-record.ts';
import { PartitionReader, StreamSource } from './stream-source.ts';

const bytes = fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b));
const headerName = fc.oneof(
  fc.constantFrom('ce_id', 'ce_specversion', 'ce_type', 'ce_source', 'ce_deliverat', 'ce_expirytime', 'ce_subject'),
  fc.constantFrom('content-type', 'hadron-types', 'hadron-dead-stream', 'hadron-dead-offset', 'deliverat'),
  fc.string({ maxLength: 10 }),
);
const records = fc.array(
  fc.record({
    timestamp: fc.oneof(fc.integer(), fc.constantFrom(-1, 0, 2 ** 52)),
    key: fc.option(bytes, { nil: null }),
    value: fc.option(fc.oneof(bytes, fc.constant(Buffer.from('{"specversion":"1.0"}'))), { nil: null }),
    headers: fc.array(
      fc.record({
        key: headerName,
        value: fc.option(fc.oneof(bytes, fc.constantFrom(Buffer.from('1.0'), Buffer.from('9999-12-31T23:59:60Z'))), {
          nil: null,
        }),
      }),
      { maxLength: 8 },
    ),
  }),
  { minLength: 1, maxLength: 8 },
);
const FILTERS = [
  { sql: "int(subject) > 1 OR type LIKE '%x' OR EXISTS deliverat" },
  { any: [{ prefix: { subject: 'a' } }, { not: { exact: { type: 'x' } } }] },
];

describe('a partition as a source', () => {
  it('D3 D23: whatever records a Kafka client may write are read, filtered, given up and come back as they were', () => {
    fc.assert(
      fc.property(records, fc.constantFrom(...FILTERS, undefined), (some, filter) => {
        const log = new MemoryEventLog({});
        const partition = log.createStream('s', 1).partitions[0];
        if (partition === undefined) throw new Error('no partition');
        log.commit(0, [{ kind: 'records', partition, batch: encodeBatch(some) }]);
        log.sync();
        const { clock } = new Sim(1).start();
        const reader = new PartitionReader({ log, clock, logger: silentLogger, cache: new ChunkCache(1e6) });
        const source = new StreamSource({
          log,
          reader,
          partition,
          filter: compileFilters(filter === undefined ? [] : [filter]),
          hasFilter: () => filter !== undefined,
          recordSettings: undefined,
          byKey: true,
        });
        for (let at = 0; at < partition.visibleOffset; ) {
          const step = source.next(at, false);
          if (step === undefined || step instanceof Promise) throw new Error('everything is in memory');
          at = step.next;
        }
        for (let i = 0; i < some.length; i++) {
          const read = source.read(i);
          if (read === undefined || read instanceof Promise) throw new Error('everything is in memory');
          const { record } = read;
          const death = { stream: 's', partition: 0, offset: i, group: 'g', reason: '', code: 'X', attempts: 1 };
          const cursor = new RecordCursor();
          cursor.open(deadLetterBatch(record, { ...death, firstMs: 0, lastMs: 0, redrive: 0 }));
          cursor.next();
          const letter = { bytes: cursor.body(), timestampMs: cursor.timestamp };
          expect(certificateOf(letter)).toMatchObject(death);
          const own = withoutCertificate(letter);
          expect(own.timestampMs).toBe(record.timestampMs);
          expect(contentOf(own.bytes).equals(contentOf(record.bytes))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** Key, value and headers: what lies behind the deltas of time and offset. */
function contentOf(body: Buffer): Buffer {
  let at = 1;
  for (let i = 0; i < 2; i++) while ((body[at++] ?? 0) >= 0x80);
  return body.subarray(at);
}
