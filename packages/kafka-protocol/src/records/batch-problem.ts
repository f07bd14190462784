/**
 * What can be wrong with a batch that a producer sent (R5), as small integers: validation of a good batch, which is
 * nearly every batch, allocates nothing.
 *
 * A *finding* is one number: the problem in the low byte, the index of the offending record above it.
 */
import { KafkaError } from '../errors.ts';

export const BatchProblem = {
  NONE: 0,
  EMPTY: 1,
  TRUNCATED: 2,
  SECOND_BATCH: 3,
  MAGIC: 4,
  CRC: 5,
  TOO_LARGE: 6,
  OFFSETS: 7,
  CONTROL: 8,
  PRODUCER: 9,
  TRANSACTIONAL: 10,
  CODEC: 11,
  ZSTD_TOO_EARLY: 12,
  COMPRESSION: 13,
  DECOMPRESSED_TOO_LARGE: 14,
  RECORD: 15,
  RECORD_OFFSET: 16,
  RECORD_KEY: 17,
  RECORD_TIMESTAMP: 18,
  TIMESTAMP_TYPE: 19,
  DELETE_HORIZON: 20,
} as const;

export type BatchProblemCode = (typeof BatchProblem)[keyof typeof BatchProblem];

export interface BatchProblemInfo {
  /** Kafka error code to answer. */
  readonly errorCode: number;
  readonly message: string;
  /** Whether the finding names a record. */
  readonly hasRecordIndex: boolean;
}

const batch = (errorCode: number, message: string): BatchProblemInfo => ({ errorCode, message, hasRecordIndex: false });
const record = (errorCode: number, message: string): BatchProblemInfo => ({ errorCode, message, hasRecordIndex: true });

const { CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, NONE, UNSUPPORTED_COMPRESSION_TYPE } =
  KafkaError;

const INFO: Readonly<Record<BatchProblemCode, BatchProblemInfo>> = {
  [BatchProblem.NONE]: batch(NONE, ''),
  [BatchProblem.EMPTY]: batch(INVALID_RECORD, 'There is no record batch.'),
  [BatchProblem.TRUNCATED]: batch(CORRUPT_MESSAGE, 'The batch does not fill its length.'),
  [BatchProblem.SECOND_BATCH]: batch(INVALID_RECORD, 'Exactly one batch per partition is allowed.'),
  [BatchProblem.MAGIC]: batch(INVALID_RECORD, 'Only record batches of format v2 (magic 2) are accepted.'),
  [BatchProblem.CRC]: batch(CORRUPT_MESSAGE, 'The batch does not match its checksum.'),
  [BatchProblem.TOO_LARGE]: batch(MESSAGE_TOO_LARGE, 'The batch is larger than max.message.bytes.'),
  [BatchProblem.OFFSETS]: batch(INVALID_RECORD, 'The record count does not match the range of offsets.'),
  [BatchProblem.CONTROL]: batch(INVALID_RECORD, 'Clients may not write control batches.'),
  [BatchProblem.PRODUCER]: batch(INVALID_RECORD, 'A producer id needs an epoch and a base sequence.'),
  [BatchProblem.TRANSACTIONAL]: batch(INVALID_RECORD, 'A transactional batch needs a producer id.'),
  [BatchProblem.CODEC]: batch(UNSUPPORTED_COMPRESSION_TYPE, 'The codec does not exist.'),
  [BatchProblem.ZSTD_TOO_EARLY]: batch(UNSUPPORTED_COMPRESSION_TYPE, 'zstd needs Produce v7 or later.'),
  [BatchProblem.COMPRESSION]: batch(INVALID_RECORD, 'The records do not decompress.'),
  [BatchProblem.DECOMPRESSED_TOO_LARGE]: batch(MESSAGE_TOO_LARGE, 'The records decompress to more than is allowed.'),
  [BatchProblem.RECORD]: record(INVALID_RECORD, 'The framing of the record is wrong.'),
  [BatchProblem.RECORD_OFFSET]: record(INVALID_RECORD, 'Record offsets must be 0, 1, 2 ... within the batch.'),
  [BatchProblem.RECORD_KEY]: record(INVALID_RECORD, 'A compacted topic accepts no record without a key.'),
  [BatchProblem.RECORD_TIMESTAMP]: record(INVALID_TIMESTAMP, 'The timestamp is too far from the time of the broker.'),
  [BatchProblem.TIMESTAMP_TYPE]: batch(
    INVALID_TIMESTAMP,
    'A producer may not set LogAppendTime on a CreateTime topic.',
  ),
  [BatchProblem.DELETE_HORIZON]: batch(INVALID_RECORD, 'Clients may not set a delete horizon.'),
};

/** A finding about record number `recordIndex`. */
export function findingAt(problem: BatchProblemCode, recordIndex: number): number {
  return recordIndex * 256 + problem;
}

/** The problem in a finding; `BatchProblem.NONE` when the batch is good. */
export function problemOf(finding: number): BatchProblemCode {
  return (finding % 256) as BatchProblemCode;
}

/** The index of the offending record, or -1 when the finding is about the whole batch. */
export function recordIndexOf(finding: number): number {
  return INFO[problemOf(finding)].hasRecordIndex ? Math.floor(finding / 256) : -1;
}

/** Error code and message of a finding. */
export function describeFinding(finding: number): BatchProblemInfo {
  return INFO[problemOf(finding)];
}
