/** Record batches: what a good one is (R5), what is refused and how, and that everything encoded can be read again. */
import { createRequire } from 'node:module';
import { crc32c, writeI32 } from '@hadron/base';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CODEC_NAMES, CODEC_NONE, CODEC_ZSTD } from '../compression/codecs.ts';
import { KafkaError } from '../errors.ts';
import { ProtocolError } from '../protocol-error.ts';
import {
  BATCH_HEADER_BYTES,
  batchBaseOffset,
  batchIsLogAppendTime,
  batchLastOffset,
  batchLastSequence,
  batchLeaderEpoch,
  batchMaxTimestamp,
  batchNextOffset,
  batchPositions,
  batchRecordCount,
  batchSizeWithin,
  readBatchHeader,
  setBatchBaseOffset,
  setBatchCrc,
  setBatchLeaderEpoch,
  setBatchLogAppendTime,
} from './batch-header.ts';
import { BatchProblem, describeFinding, problemOf, recordIndexOf } from './batch-problem.ts';
import { encodeBatch, type RecordToEncode } from './encode-batch.ts';
import { type DecodedRecord, RecordCursor, recordsOf } from './record-cursor.ts';
import { type ValidateOptions, validateBatch } from './validate-batch.ts';

const check = (b: Buffer, options: ValidateOptions = {}): number => validateBatch(b, 0, b.length, options);
const problem = (b: Buffer, options: ValidateOptions = {}): number => problemOf(check(b, options));

/** The batch with a change made to it and its checksum put right again. */
function changed(b: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(b);
  change(copy);
  setBatchCrc(copy, 0);
  return copy;
}

const NOW = 1_760_000_000_000;
const three: RecordToEncode[] = [
  { timestamp: NOW, key: 'a', value: 'one', headers: [{ key: 'h', value: 'x' }] },
  {
    timestamp: NOW + 5,
    key: null,
    value: 'two',
    headers: [
      { key: 'é', value: null },
      { key: '', value: Buffer.alloc(300) },
    ],
  },
  { timestamp: NOW - 200, key: 'c', value: null },
];

const arbitraryRecord = fc.record(
  {
    timestamp: fc.oneof(
      fc.nat({ max: 100 }).map((n) => NOW + n),
      fc.maxSafeNat().map((n) => Math.floor(n / 4)),
    ),
    key: fc.option(fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b))),
    value: fc.option(fc.uint8Array({ maxLength: 9000, size: 'max' }).map((b) => Buffer.from(b))),
    headers: fc.array(fc.record({ key: fc.string(), value: fc.option(fc.uint8Array().map((b) => Buffer.from(b))) }), {
      maxLength: 4,
    }),
  },
  { requiredKeys: ['timestamp', 'key', 'value', 'headers'] },
);

describe('encode, validate, read', () => {
  test.each(CODEC_NAMES.map((name, codec) => ({ name, codec })))(
    'records of any shape come back: $name',
    ({ codec }) => {
      fc.assert(
        fc.property(fc.array(arbitraryRecord, { minLength: 1, maxLength: 80 }), (records) => {
          const b = encodeBatch(records, { codec, baseOffset: 1000 });
          expect(check(b)).toBe(BatchProblem.NONE);
          const back = [...recordsOf(b)];
          expect(back).toEqual(records.map((r, i) => ({ ...r, offset: 1000 + i })));
          const truth = records.findIndex((r) => r.key === null);
          const finding = check(b, { keysRequired: true });
          expect(truth < 0 ? finding : recordIndexOf(finding)).toBe(truth < 0 ? 0 : truth);
        }),
        { numRuns: 40 },
      );
    },
  );

  test('a thousand small records: two-byte offsets and lengths', () => {
    const records = Array.from({ length: 10_000 }, (_, i) => ({ timestamp: NOW + i * 3, value: 'x'.repeat(i % 200) }));
    const b = encodeBatch(records);
    expect(check(b)).toBe(0);
    expect(batchRecordCount(b, 0)).toBe(10_000);
  });

  test('the header says what was asked for', () => {
    const b = encodeBatch(three, {
      baseOffset: 7,
      leaderEpoch: 3,
      codec: CODEC_ZSTD,
      isTransactional: true,
      producerId: 2 ** 40,
      producerEpoch: 4,
      baseSequence: 9,
    });
    expect(readBatchHeader(b, 0)).toMatchObject({
      baseOffset: 7,
      sizeBytes: b.length,
      leaderEpoch: 3,
      magic: 2,
      codec: CODEC_ZSTD,
      isTransactional: true,
      isControl: false,
      lastOffsetDelta: 2,
      baseTimestamp: NOW,
      maxTimestamp: NOW + 5,
      producerId: 2 ** 40,
      producerEpoch: 4,
      baseSequence: 9,
      recordCount: 3,
    });
  });

  test('compaction leaves holes but keeps the range; an emptied batch keeps it too', () => {
    const b = encodeBatch(
      [
        { offsetDelta: 2, value: 'x' },
        { offsetDelta: 7, value: 'y' },
      ],
      { baseOffset: 100, lastOffsetDelta: 9 },
    );
    expect([...recordsOf(b)].map((r) => r.offset)).toEqual([102, 107]);
    expect(batchLastOffset(b, 0)).toBe(109);
    expect(problem(b)).toBe(BatchProblem.OFFSETS); // but no producer may send it
    const emptied = encodeBatch([], { baseOffset: 100, lastOffsetDelta: 9 });
    expect([...recordsOf(emptied)]).toEqual([]);
    expect([emptied.length, batchNextOffset(emptied, 0)]).toEqual([BATCH_HEADER_BYTES, 110]);
    expect(() => encodeBatch([{ offsetDelta: 3 }, { offsetDelta: 3 }])).toThrow(TypeError);
  });

  test('a batch of known bytes', () => {
    // key "k", value "v", one header a=b, at 1 ms: laid out by hand from the table in batch-header.ts
    const record = '20' + '00' + '00' + '00' + '02' + '6b' + '02' + '76' + '02' + '02' + '61' + '02' + '62';
    const body =
      '0000' +
      '00000000' +
      '0000000000000001'.repeat(2) +
      'ff'.repeat(8) +
      'ffff' +
      'ffffffff' +
      '00000001' +
      '18' +
      record.slice(2);
    const crc = crc32c(Buffer.from(body, 'hex')).toString(16).padStart(8, '0');
    const length = (4 + 1 + 4 + body.length / 2).toString(16).padStart(8, '0');
    const expected = '00'.repeat(8) + length + 'ffffffff' + '02' + crc + body;
    const b = encodeBatch([{ timestamp: 1, key: 'k', value: 'v', headers: [{ key: 'a', value: 'b' }] }]);
    expect(b.toString('hex')).toBe(expected);
  });
});

describe('what a producer may not send (R5)', () => {
  const good = encodeBatch(three, { producerId: 5, producerEpoch: 0, baseSequence: 0 });

  test('the good one is good', () => {
    expect(check(good)).toBe(0);
  });

  test.each([
    ['no batch', Buffer.alloc(0), BatchProblem.EMPTY, KafkaError.INVALID_RECORD],
    ['half a batch', good.subarray(0, 40), BatchProblem.TRUNCATED, KafkaError.CORRUPT_MESSAGE],
    ['two batches', Buffer.concat([good, good]), BatchProblem.SECOND_BATCH, KafkaError.INVALID_RECORD],
    ['a tail of garbage', Buffer.concat([good, Buffer.alloc(3)]), BatchProblem.SECOND_BATCH, KafkaError.INVALID_RECORD],
    ['message format v1', changed(good, (b) => void (b[16] = 1)), BatchProblem.MAGIC, KafkaError.INVALID_RECORD],
    ['a flipped bit', Buffer.from(good).fill(1, 70, 71), BatchProblem.CRC, KafkaError.CORRUPT_MESSAGE],
    [
      'a negative length',
      changed(good, () => {}).fill(0xff, 8, 12),
      BatchProblem.TRUNCATED,
      KafkaError.CORRUPT_MESSAGE,
    ],
    ['codec 7', changed(good, (b) => void (b[22] = 7)), BatchProblem.CODEC, KafkaError.UNSUPPORTED_COMPRESSION_TYPE],
    ['a control batch', changed(good, (b) => void (b[22] = 0x20)), BatchProblem.CONTROL, KafkaError.INVALID_RECORD],
    [
      'a delete horizon',
      changed(good, (b) => void (b[22] = 0x40)),
      BatchProblem.DELETE_HORIZON,
      KafkaError.INVALID_RECORD,
    ],
    [
      'LogAppendTime',
      changed(good, (b) => void (b[22] = 0x08)),
      BatchProblem.TIMESTAMP_TYPE,
      KafkaError.INVALID_TIMESTAMP,
    ],
    [
      'a negative last offset delta',
      changed(good, (b) => writeI32(b, 23, -1)),
      BatchProblem.OFFSETS,
      KafkaError.INVALID_RECORD,
    ],
    [
      'a count above the offsets',
      changed(good, (b) => writeI32(b, 57, 4)),
      BatchProblem.OFFSETS,
      KafkaError.INVALID_RECORD,
    ],
    ['no records', changed(good, (b) => writeI32(b, 57, 0)), BatchProblem.EMPTY, KafkaError.INVALID_RECORD],
    [
      'a producer without sequence',
      changed(good, (b) => writeI32(b, 53, -1)),
      BatchProblem.PRODUCER,
      KafkaError.INVALID_RECORD,
    ],
    [
      'a transaction without producer',
      encodeBatch(three, { isTransactional: true }),
      BatchProblem.TRANSACTIONAL,
      KafkaError.INVALID_RECORD,
    ],
  ])('%s', (_, b, expected, errorCode) => {
    expect(problem(b)).toBe(expected);
    expect(describeFinding(check(b)).errorCode).toBe(errorCode);
    expect(recordIndexOf(check(b))).toBe(-1);
  });

  test('what depends on the topic and the request', () => {
    expect(problem(good, { batchBytesMax: good.length - 1 })).toBe(BatchProblem.TOO_LARGE);
    expect(problem(good, { batchBytesMax: good.length })).toBe(0);
    expect(check(good, { keysRequired: true })).toBe(BatchProblem.RECORD_KEY + 256 * 1);
    const zstd = encodeBatch(three, { codec: CODEC_ZSTD });
    expect(problem(zstd, { zstdAllowed: false })).toBe(BatchProblem.ZSTD_TOO_EARLY);
    expect(describeFinding(BatchProblem.ZSTD_TOO_EARLY).errorCode).toBe(KafkaError.UNSUPPORTED_COMPRESSION_TYPE);
    const late = check(good, { timestampMinMs: NOW - 100 });
    expect([problemOf(late), recordIndexOf(late)]).toEqual([BatchProblem.RECORD_TIMESTAMP, 2]);
    const early = check(good, { timestampMaxMs: NOW + 4 });
    expect([problemOf(early), recordIndexOf(early)]).toEqual([BatchProblem.RECORD_TIMESTAMP, 1]);
    expect(check(good, { timestampMaxMs: 0, logAppendTime: true })).toBe(0);
    expect(
      check(
        changed(good, (b) => void (b[22] = 0x08)),
        { logAppendTime: true },
      ),
    ).toBe(0);
    const marker = encodeBatch([{ key: 'k', value: 'v' }], {
      isControl: true,
      isTransactional: true,
      producerId: 1,
      producerEpoch: 0,
    });
    expect(check(marker, { controlAllowed: true })).toBe(0);
  });

  test('records without a timestamp are within any limits', () => {
    const b = encodeBatch([
      { timestamp: -1, value: 'x' },
      { timestamp: -1, value: 'y' },
    ]);
    expect(check(b, { timestampMinMs: NOW, timestampMaxMs: NOW + 1 })).toBe(0);
  });

  test('a message of its own for every problem', () => {
    const texts = Object.values(BatchProblem).map((p) => describeFinding(p).message);
    expect(new Set(texts).size).toBe(texts.length);
  });

  test('offsets that are not 0, 1, 2 ...', () => {
    const b = encodeBatch([{ value: 'x' }, { offsetDelta: 2, value: 'y' }, { offsetDelta: 3, value: 'z' }], {
      lastOffsetDelta: 3,
    });
    const lied = changed(b, (copy) => writeI32(copy, 23, 2));
    expect(check(lied)).toBe(BatchProblem.RECORD_OFFSET + 256 * 1);
  });

  test.each(CODEC_NAMES.map((name, codec) => ({ name, codec })))(
    'damaged framing, with the checksum put right: $name',
    ({ codec }) => {
      // The walk must agree with the cursor, which reads the same bytes with every bound checked one by one.
      const records = Array.from({ length: 40 }, (_, i) => ({
        ...(three[i % 3] as RecordToEncode),
        timestamp: NOW + i * 40,
      }));
      const b = encodeBatch(records, { codec });
      const runs = Number(process.env['HADRON_FUZZ'] ?? 20_000) / 20;
      for (let n = 0; n < runs; n++) {
        const at = BATCH_HEADER_BYTES + ((n * 7919) % (b.length - BATCH_HEADER_BYTES));
        const value = [0xff, 0x80, 0x7f, 0x01, 0x00, n & 0xff][n % 6] as number;
        const damaged = changed(b, (copy) => void (copy[at] = value));
        const finding = check(damaged);
        let readable = true;
        try {
          let index = 0;
          for (const r of recordsOf(damaged)) if (r.offset !== index++) readable = false;
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
          readable = false;
        }
        expect(finding === 0, `byte ${at} = ${value}`).toBe(readable);
      }
    },
  );
});

describe('in place', () => {
  test('offset and epoch lie outside the checksum, LogAppendTime does not', () => {
    const b = encodeBatch(three);
    setBatchBaseOffset(b, 0, 2 ** 40);
    setBatchLeaderEpoch(b, 0, 12);
    expect([batchBaseOffset(b, 0), batchLeaderEpoch(b, 0), check(b)]).toEqual([2 ** 40, 12, 0]);
    setBatchLogAppendTime(b, 0, NOW + 1000);
    expect([batchIsLogAppendTime(b, 0), batchMaxTimestamp(b, 0), check(b, { logAppendTime: true })]).toEqual([
      true,
      NOW + 1000,
      0,
    ]);
    expect([...recordsOf(b)].map((r) => r.timestamp)).toEqual([NOW + 1000, NOW + 1000, NOW + 1000]);
  });

  test('batches one after the other, the last one cut off', () => {
    const one = encodeBatch(three);
    const two = encodeBatch(three, { baseOffset: 3 });
    const all = Buffer.concat([one, two, one.subarray(0, 50)]);
    expect([...batchPositions(all)]).toEqual([0, one.length]);
    expect(batchSizeWithin(all, one.length + two.length, all.length)).toBe(0);
    expect(batchSizeWithin(Buffer.alloc(61), 0, 61)).toBe(-1);
  });

  test('one cursor reads many batches', () => {
    const cursor = new RecordCursor();
    for (const codec of [CODEC_NONE, CODEC_ZSTD]) {
      const b = encodeBatch(three, { codec });
      expect(cursor.open(b)).toBe(b.length);
      const seen: string[] = [];
      while (cursor.next()) {
        expect(cursor.hasKey()).toBe(cursor.key() !== null);
        seen.push(`${cursor.key()}/${cursor.value()}/${cursor.headers().length}`);
      }
      expect(seen).toEqual(['a/one/1', 'null/two/2', 'c/null/0']);
    }
  });
});

describe('batches made by kafkajs', () => {
  const require = createRequire(import.meta.url);
  const Long = require('kafkajs/src/utils/long');
  const makeRecord = require('kafkajs/src/protocol/recordBatch/record/v0');
  const { RecordBatch } = require('kafkajs/src/protocol/recordBatch/v0');
  const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder');
  const Decoder = require('kafkajs/src/protocol/decoder');

  test.each([0, 1])('codec %i: theirs is good and reads the same', async (compression) => {
    const records = [
      makeRecord({ offsetDelta: 0, timestampDelta: 0, key: 'k', value: 'v', headers: { a: 'b' } }),
      makeRecord({ offsetDelta: 1, timestampDelta: 3, key: null, value: 'w'.repeat(500) }),
    ];
    const producerId = Long.fromInt(-1);
    const encoder = await RecordBatch({
      compression,
      firstTimestamp: NOW,
      maxTimestamp: NOW + 3,
      records,
      producerId,
      firstSequence: 0,
      lastOffsetDelta: 1,
    });
    const b = encoder.buffer as Buffer;
    expect(check(b)).toBe(0);
    expect([...recordsOf(b)]).toMatchObject([
      { offset: 0, timestamp: NOW, key: Buffer.from('k'), headers: [{ key: 'a', value: Buffer.from('b') }] },
      { offset: 1, timestamp: NOW + 3, key: null, value: Buffer.from('w'.repeat(500)) },
    ]);
  });

  test.each([0, 1])('codec %i: they read ours', async (codec) => {
    const b = encodeBatch(three, { codec, baseOffset: 44 });
    const { records } = await decodeBatch(new Decoder(b));
    expect(
      records.map((r: Pick<DecodedRecord, 'key' | 'value'>) => [
        r.key?.toString() ?? null,
        r.value?.toString() ?? null,
      ]),
    ).toEqual([
      ['a', 'one'],
      [null, 'two'],
      ['c', null],
    ]);
  });
});

test('sequences wrap around (R13)', () => {
  const b = encodeBatch([{}, {}, {}], { producerId: 1, producerEpoch: 0, baseSequence: 2 ** 31 - 2 });
  expect(batchLastSequence(b, 0)).toBe(0);
});
