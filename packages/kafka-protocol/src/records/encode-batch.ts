/** Makes a record batch: for state logs, compaction, bridges and tests. Producers' batches are never re-encoded. */
import { CODEC_NONE, compress } from '../compression/codecs.ts';
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_DELETE_HORIZON,
  ATTRIBUTE_LOG_APPEND_TIME,
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_HEADER_BYTES,
  NO_PRODUCER_ID,
  NO_TIMESTAMP,
  setBatchCrc,
  writeBatchHeader,
} from './batch-header.ts';
import { varintBytes, varlongBytes, writeVarint, writeVarlong } from './varint.ts';

export interface HeaderToEncode {
  readonly key: string | Buffer;
  readonly value: Buffer | string | null;
}

export interface RecordToEncode {
  /** Default: the record's index. Give it where the batch has holes (compaction); it must grow from record to record. */
  readonly offsetDelta?: number;
  /** Milliseconds since 1970. Default: the batch's `baseTimestamp`. */
  readonly timestamp?: number;
  readonly key?: Buffer | string | null;
  readonly value?: Buffer | string | null;
  readonly headers?: readonly HeaderToEncode[];
}

export interface BatchOptions {
  readonly baseOffset?: number;
  readonly leaderEpoch?: number;
  /** Default: the last record's. Compaction keeps the old one, so that the batch covers the same offsets as before. */
  readonly lastOffsetDelta?: number;
  /** Default: the first record's timestamp, or -1. */
  readonly baseTimestamp?: number;
  /** Default: the largest timestamp. */
  readonly maxTimestamp?: number;
  /** Codec number. Default none. */
  readonly codec?: number;
  /** Compression level of gzip and zstd. */
  readonly level?: number;
  readonly isLogAppendTime?: boolean;
  readonly isTransactional?: boolean;
  readonly isControl?: boolean;
  /** `baseTimestamp` is the moment from which tombstones may go. */
  readonly hasDeleteHorizon?: boolean;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
}

/**
 * The batch as one buffer, checksum included. No records is allowed (compaction may have removed all of them), together
 * with an explicit `lastOffsetDelta`.
 * @throws TypeError when offset deltas do not grow or exceed `lastOffsetDelta`
 */
export function encodeBatch(records: readonly RecordToEncode[], options: BatchOptions = {}): Buffer {
  const { codec = CODEC_NONE } = options;
  const baseTimestamp = options.baseTimestamp ?? records[0]?.timestamp ?? NO_TIMESTAMP;

  const bodies: number[] = [];
  let recordsBytes = 0;
  let lastDelta = -1;
  let maxTimestamp = records.length === 0 ? baseTimestamp : Number.NEGATIVE_INFINITY;
  for (let i = 0; i < records.length; i++) {
    const record = records[i] as RecordToEncode;
    const offsetDelta = record.offsetDelta ?? i;
    if (offsetDelta <= lastDelta) throw new TypeError(`Offset delta ${offsetDelta} does not grow`);
    lastDelta = offsetDelta;
    const timestamp = record.timestamp ?? baseTimestamp;
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    const body = recordBodyBytes(record, offsetDelta, timestamp - baseTimestamp);
    bodies.push(body);
    recordsBytes += varintBytes(body) + body;
  }
  const lastOffsetDelta = options.lastOffsetDelta ?? Math.max(lastDelta, 0);
  if (lastDelta > lastOffsetDelta) throw new TypeError(`Offset delta ${lastDelta} exceeds ${lastOffsetDelta}`);

  const headerBytes = codec === CODEC_NONE ? BATCH_HEADER_BYTES : 0;
  let b = Buffer.allocUnsafeSlow(headerBytes + recordsBytes);
  let at = headerBytes;
  for (let i = 0; i < records.length; i++) {
    const record = records[i] as RecordToEncode;
    at = writeVarint(b, at, bodies[i] as number);
    at = writeRecordBody(b, at, record, record.offsetDelta ?? i, (record.timestamp ?? baseTimestamp) - baseTimestamp);
  }
  if (codec !== CODEC_NONE)
    b = Buffer.concat([Buffer.allocUnsafe(BATCH_HEADER_BYTES), compress(codec, b, options.level)]);

  writeBatchHeader(b, 0, {
    baseOffset: options.baseOffset ?? 0,
    sizeBytes: b.length,
    leaderEpoch: options.leaderEpoch ?? -1,
    attributes:
      codec |
      (options.isLogAppendTime === true ? ATTRIBUTE_LOG_APPEND_TIME : 0) |
      (options.isTransactional === true ? ATTRIBUTE_TRANSACTIONAL : 0) |
      (options.isControl === true ? ATTRIBUTE_CONTROL : 0) |
      (options.hasDeleteHorizon === true ? ATTRIBUTE_DELETE_HORIZON : 0),
    lastOffsetDelta,
    baseTimestamp,
    maxTimestamp: options.maxTimestamp ?? maxTimestamp,
    producerId: options.producerId ?? NO_PRODUCER_ID,
    producerEpoch: options.producerEpoch ?? -1,
    baseSequence: options.baseSequence ?? -1,
    recordCount: records.length,
  });
  setBatchCrc(b, 0);
  return b;
}

type Bytes = Buffer | string | null | undefined;

function byteLength(value: Buffer | string): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.length;
}

function nullableBytes(value: Bytes): number {
  if (value === null || value === undefined) return 1;
  const length = byteLength(value);
  return varintBytes(length) + length;
}

/** Bytes of a record after its length. */
function recordBodyBytes(record: RecordToEncode, offsetDelta: number, timestampDelta: number): number {
  const { headers = [] } = record;
  let size = 1 + varlongBytes(timestampDelta) + varintBytes(offsetDelta);
  size += nullableBytes(record.key) + nullableBytes(record.value) + varintBytes(headers.length);
  for (const header of headers) size += nullableBytes(header.key) + nullableBytes(header.value);
  return size;
}

function writeNullable(b: Buffer, at: number, value: Bytes): number {
  if (value === null || value === undefined) return writeVarint(b, at, -1);
  const length = byteLength(value);
  const p = writeVarint(b, at, length);
  if (typeof value === 'string') b.write(value, p, length, 'utf8');
  else b.set(value, p);
  return p + length;
}

function writeRecordBody(
  b: Buffer,
  at: number,
  record: RecordToEncode,
  offsetDelta: number,
  timestampDelta: number,
): number {
  const { headers = [] } = record;
  let p = at;
  b[p++] = 0; // attributes: unused
  p = writeVarlong(b, p, timestampDelta);
  p = writeVarint(b, p, offsetDelta);
  p = writeNullable(b, p, record.key);
  p = writeNullable(b, p, record.value);
  p = writeVarint(b, p, headers.length);
  for (const header of headers) {
    p = writeNullable(b, p, header.key);
    p = writeNullable(b, p, header.value);
  }
  return p;
}
