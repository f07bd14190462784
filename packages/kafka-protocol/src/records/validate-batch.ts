/**
 * Is this record set, as a producer sent it, one good batch (R5)?
 *
 * The hot path of Produce: no allocation, no exceptions, one pass of CRC-32C and one walk over the framing of the
 * records. What the walk guarantees is what every later reader relies on: records fill the batch exactly, their offset
 * deltas are 0, 1, 2 ..., keys, values and headers lie within their record.
 */
import { readI16 } from '@hadron/base';
import { CODEC_NONE, CODEC_ZSTD, CODECS_KNOWN, DECOMPRESSED_BYTES_MAX, decompress } from '../compression/codecs.ts';
import { ProtocolError } from '../protocol-error.ts';
import {
  ATTRIBUTE_CODEC_MASK,
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_DELETE_HORIZON,
  ATTRIBUTE_LOG_APPEND_TIME,
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_HEADER_BYTES,
  batchBaseSequence,
  batchBaseTimestamp,
  batchCrc,
  batchLastOffsetDelta,
  batchMagic,
  batchProducerEpoch,
  batchProducerId,
  batchRecordCount,
  batchSizeBytes,
  computeBatchCrc,
  LOG_OVERHEAD_BYTES,
  MAGIC,
  NO_TIMESTAMP,
} from './batch-header.ts';
import { BatchProblem, findingAt } from './batch-problem.ts';

export interface ValidateOptions {
  /** `max.message.bytes`. Default: no limit. */
  readonly batchBytesMax?: number;
  /** Every record must have a key: the topic is compacted. */
  readonly keysRequired?: boolean;
  /** The topic stamps records itself, so timestamps and their type do not matter. */
  readonly logAppendTime?: boolean;
  /** Oldest and newest timestamp accepted (`message.timestamp.before/after.max.ms`, applied to now). Default: any. */
  readonly timestampMinMs?: number;
  readonly timestampMaxMs?: number;
  /** False below Produce v7. Default true. */
  readonly zstdAllowed?: boolean;
  /** True for our own transaction coordinator. Default false. */
  readonly controlAllowed?: boolean;
  /** Limit of what a compressed batch may hold. Default 100 MiB. */
  readonly decompressedBytesMax?: number;
}

/**
 * Checks the record set `b[at, end)`.
 * @returns 0 if it is one good batch, else a finding (see batch-problem.ts). Never throws.
 */
export function validateBatch(b: Buffer, at: number, end: number, options: ValidateOptions): number {
  if (end - at < LOG_OVERHEAD_BYTES) return end === at ? BatchProblem.EMPTY : BatchProblem.TRUNCATED;
  // Old formats put their magic at the same place, and have shorter headers: tell them apart before anything else.
  if (end - at > 16 && batchMagic(b, at) !== MAGIC) return BatchProblem.MAGIC;
  const size = batchSizeBytes(b, at);
  if (size < BATCH_HEADER_BYTES || size > end - at) return BatchProblem.TRUNCATED;
  if (size > (options.batchBytesMax ?? Number.POSITIVE_INFINITY)) return BatchProblem.TOO_LARGE;
  if (size < end - at) return BatchProblem.SECOND_BATCH;
  if (computeBatchCrc(b, at) !== batchCrc(b, at)) return BatchProblem.CRC;

  const attributes = readI16(b, at + 21);
  const codec = attributes & ATTRIBUTE_CODEC_MASK;
  if (codec >= CODECS_KNOWN) return BatchProblem.CODEC;
  if (codec === CODEC_ZSTD && options.zstdAllowed === false) return BatchProblem.ZSTD_TOO_EARLY;
  if ((attributes & ATTRIBUTE_CONTROL) !== 0 && options.controlAllowed !== true) return BatchProblem.CONTROL;
  if ((attributes & ATTRIBUTE_DELETE_HORIZON) !== 0) return BatchProblem.DELETE_HORIZON;

  const count = batchRecordCount(b, at);
  const lastOffsetDelta = batchLastOffsetDelta(b, at);
  if (count <= 0) return BatchProblem.EMPTY;
  if (lastOffsetDelta < 0 || count !== lastOffsetDelta + 1) return BatchProblem.OFFSETS;

  const producerId = batchProducerId(b, at);
  if (producerId >= 0) {
    const isControl = (attributes & ATTRIBUTE_CONTROL) !== 0; // markers carry no sequence
    if (batchProducerEpoch(b, at) < 0 || (batchBaseSequence(b, at) < 0 && !isControl)) return BatchProblem.PRODUCER;
  } else if ((attributes & ATTRIBUTE_TRANSACTIONAL) !== 0) {
    return BatchProblem.TRANSACTIONAL;
  }

  const { logAppendTime = false, keysRequired = false } = options;
  if ((attributes & ATTRIBUTE_LOG_APPEND_TIME) !== 0 && !logAppendTime) return BatchProblem.TIMESTAMP_TYPE;
  const baseTimestamp = batchBaseTimestamp(b, at);
  const deltaMin = logAppendTime
    ? Number.NEGATIVE_INFINITY
    : (options.timestampMinMs ?? Number.NEGATIVE_INFINITY) - baseTimestamp;
  const deltaMax = logAppendTime
    ? Number.POSITIVE_INFINITY
    : (options.timestampMaxMs ?? Number.POSITIVE_INFINITY) - baseTimestamp;
  const deltaNone = NO_TIMESTAMP - baseTimestamp;

  const recordsAt = at + BATCH_HEADER_BYTES;
  if (codec === CODEC_NONE) return walkRecords(b, recordsAt, end, count, keysRequired, deltaMin, deltaMax, deltaNone);
  let records: Buffer;
  try {
    const bytesMax = options.decompressedBytesMax ?? DECOMPRESSED_BYTES_MAX;
    records = decompress(codec, b.subarray(recordsAt, end), bytesMax);
  } catch (error) {
    const isLimit = error instanceof ProtocolError && error.reason === 'limit';
    return isLimit ? BatchProblem.DECOMPRESSED_TOO_LARGE : BatchProblem.COMPRESSION;
  }
  return walkRecords(records, 0, records.length, count, keysRequired, deltaMin, deltaMax, deltaNone);
}

/**
 * Walks the framing of `count` records in `b[at, end)`.
 *
 *   length varint · attributes int8 · timestampDelta varlong · offsetDelta varint · keyLength varint · key
 *   · valueLength varint · value · headerCount varint · (keyLength · key · valueLength · value)*
 *
 * Every varint is zigzag. Nearly all of them are one byte (two for lengths above 63), so that case is spelled out in
 * line and the general one is a call. Lengths are never negative once accepted, so the position only moves forward, and
 * a record that over-reads cannot end exactly where its length says: bounds are checked there, and before each jump.
 */
function walkRecords(
  b: Buffer,
  at: number,
  end: number,
  count: number,
  keysRequired: boolean,
  deltaMin: number,
  deltaMax: number,
  deltaNone: number,
): number {
  let p = at;
  for (let index = 0; index < count; index++) {
    // length: up to 63 in one byte, up to 8191 in two
    let byte = b[p] as number;
    let length: number;
    if (byte < 0x80) {
      length = byte;
      p += 1;
    } else {
      const second = b[p + 1] as number;
      if (second < 0x80) {
        length = (byte & 0x7f) | (second << 7);
        p += 2;
      } else {
        length = uvarintAt(b, p);
        p = afterVarint(b, p, 5);
      }
    }
    const recordEnd = p + (length >>> 1);
    if ((length & 1) !== 0 || !(recordEnd <= end)) return findingAt(BatchProblem.RECORD, index);

    p += 1; // attributes: unused

    // timestamp delta: milliseconds since the first record, small when records arrive in time
    byte = b[p] as number;
    let delta: number;
    if (byte < 0x80) {
      delta = (byte >>> 1) ^ -(byte & 1);
      p += 1;
    } else {
      delta = varlongAt(b, p);
      p = afterVarint(b, p, 10);
    }
    if ((delta < deltaMin || delta > deltaMax) && delta !== deltaNone) {
      return findingAt(BatchProblem.RECORD_TIMESTAMP, index);
    }

    // offset delta: must equal the index, whose zigzag form is twice the index
    byte = b[p] as number;
    if (byte < 0x80) {
      p += 1;
    } else {
      const second = b[p + 1] as number;
      if (second < 0x80) {
        byte = (byte & 0x7f) | (second << 7);
        p += 2;
      } else {
        byte = uvarintAt(b, p);
        p = afterVarint(b, p, 5);
      }
    }
    if (byte !== index * 2) return findingAt(BatchProblem.RECORD_OFFSET, index);

    // key: -1 (zigzag 1) is null
    byte = b[p] as number;
    if (byte < 0x80) {
      p += 1;
    } else {
      byte = uvarintAt(b, p);
      p = afterVarint(b, p, 5);
    }
    if ((byte & 1) === 0) {
      p += byte >>> 1;
    } else {
      if (byte !== 1) return findingAt(BatchProblem.RECORD, index);
      if (keysRequired) return findingAt(BatchProblem.RECORD_KEY, index);
    }
    if (p >= recordEnd) return findingAt(BatchProblem.RECORD, index);

    // value: the same
    byte = b[p] as number;
    if (byte < 0x80) {
      p += 1;
    } else {
      const second = b[p + 1] as number;
      if (second < 0x80) {
        byte = (byte & 0x7f) | (second << 7);
        p += 2;
      } else {
        byte = uvarintAt(b, p);
        p = afterVarint(b, p, 5);
      }
    }
    if ((byte & 1) === 0) p += byte >>> 1;
    else if (byte !== 1) return findingAt(BatchProblem.RECORD, index);
    if (p >= recordEnd) return findingAt(BatchProblem.RECORD, index);

    // headers
    byte = b[p] as number;
    if (byte === 0) p += 1;
    else p = afterHeaders(b, p, recordEnd);
    if (p !== recordEnd) return findingAt(BatchProblem.RECORD, index);
  }
  return p === end ? BatchProblem.NONE : findingAt(BatchProblem.RECORD, count - 1);
}

/** The position after the headers that start with their count at `at`, or -1 if they make no sense. */
function afterHeaders(b: Buffer, at: number, end: number): number {
  const count = uvarintAt(b, at);
  let p = afterVarint(b, at, 5);
  // A header takes at least two bytes: refuse a count the record cannot hold before counting up to it.
  if ((count & 1) !== 0 || count > end - p) return -1;
  for (let n = count >>> 1; n > 0; n--) {
    const keyLength = uvarintAt(b, p);
    p = afterVarint(b, p, 5) + (keyLength >>> 1);
    if ((keyLength & 1) !== 0 || p >= end) return -1;
    const valueLength = uvarintAt(b, p);
    p = afterVarint(b, p, 5);
    if ((valueLength & 1) === 0) p += valueLength >>> 1;
    else if (valueLength !== 1) return -1;
    if (p > end) return -1;
  }
  return p;
}

/** The raw (not zigzag-decoded) unsigned 32-bit varint at `at`. */
function uvarintAt(b: Buffer, at: number): number {
  let value = 0;
  for (let p = at, shift = 0; shift <= 28; shift += 7) {
    const byte = b[p++] as number;
    value |= (byte & 0x7f) << shift;
    if (!(byte >= 0x80)) break;
  }
  return value >>> 0;
}

/** The zigzag 64-bit varint at `at`, as a double. */
function varlongAt(b: Buffer, at: number): number {
  let value = 0;
  let scale = 1;
  const first = b[at] as number;
  for (let p = at, n = 0; n < 10; n++, scale *= 128) {
    const byte = b[p++] as number;
    value += (byte & 0x7f) * scale;
    if (!(byte >= 0x80)) break;
  }
  // Halving a double is exact; the lowest bit of the first byte is the sign.
  return (first & 1) === 0 ? value / 2 : -(value + 1) / 2;
}

/** The position after a varint of at most `bytesMax` bytes; beyond any record when it is longer. */
function afterVarint(b: Buffer, at: number, bytesMax: number): number {
  for (let n = 0; n < bytesMax; n++) {
    if (!((b[at + n] as number) >= 0x80)) return at + n + 1;
  }
  return Number.MAX_SAFE_INTEGER;
}
