/**
 * The header of a record batch (format v2), read and patched where it lies.
 *
 *   offset  size  field
 *        0     8  baseOffset              ┐ outside the checksum: the broker assigns them in place,
 *        8     4  batchLength             │ batchLength counts everything after itself
 *       12     4  partitionLeaderEpoch    │
 *       16     1  magic = 2               │
 *       17     4  crc                     ┘ CRC-32C of everything from attributes to the end
 *       21     2  attributes              bits 0-2 codec · 3 LogAppendTime · 4 transactional · 5 control · 6 delete horizon
 *       23     4  lastOffsetDelta         the batch covers [baseOffset, baseOffset + lastOffsetDelta], with or without holes
 *       27     8  baseTimestamp           or the delete horizon, if bit 6 is set
 *       35     8  maxTimestamp
 *       43     8  producerId              -1: no producer state
 *       51     2  producerEpoch
 *       53     4  baseSequence
 *       57     4  count                   of records
 *       61     -  records                 compressed as one block if the codec says so
 *
 * All functions take the buffer and the position of the batch in it; none allocates, except readBatchHeader. They trust
 * the caller that a header is there: use batchSizeWithin first on bytes of unknown origin.
 */
import { crc32c, readI16, readI32, readI64, readU32, writeI16, writeI32, writeI64 } from '@hadron/base';

export const MAGIC = 2;
/** baseOffset and batchLength: what must be there before the size of a batch is known. */
export const LOG_OVERHEAD_BYTES = 12;
/** The whole header; an empty batch is this long. */
export const BATCH_HEADER_BYTES = 61;

const BATCH_LENGTH = 8;
const PARTITION_LEADER_EPOCH = 12;
const MAGIC_AT = 16;
const CRC = 17;
const ATTRIBUTES = 21;
const LAST_OFFSET_DELTA = 23;
const BASE_TIMESTAMP = 27;
const MAX_TIMESTAMP = 35;
const PRODUCER_ID = 43;
const PRODUCER_EPOCH = 51;
const BASE_SEQUENCE = 53;
const COUNT = 57;

export const ATTRIBUTE_CODEC_MASK = 0x07;
export const ATTRIBUTE_LOG_APPEND_TIME = 0x08;
export const ATTRIBUTE_TRANSACTIONAL = 0x10;
export const ATTRIBUTE_CONTROL = 0x20;
export const ATTRIBUTE_DELETE_HORIZON = 0x40;

/** "No timestamp", as old producers send it. */
export const NO_TIMESTAMP = -1;
export const NO_PRODUCER_ID = -1;

// --- fields --------------------------------------------------------------------------------------------------------

export const batchBaseOffset = (b: Uint8Array, at: number): number => readI64(b, at);
export const batchLeaderEpoch = (b: Uint8Array, at: number): number => readI32(b, at + PARTITION_LEADER_EPOCH);
export const batchMagic = (b: Uint8Array, at: number): number => b[at + MAGIC_AT] as number;
export const batchCrc = (b: Uint8Array, at: number): number => readU32(b, at + CRC);
export const batchAttributes = (b: Uint8Array, at: number): number => readI16(b, at + ATTRIBUTES);
export const batchLastOffsetDelta = (b: Uint8Array, at: number): number => readI32(b, at + LAST_OFFSET_DELTA);
export const batchBaseTimestamp = (b: Uint8Array, at: number): number => readI64(b, at + BASE_TIMESTAMP);
export const batchMaxTimestamp = (b: Uint8Array, at: number): number => readI64(b, at + MAX_TIMESTAMP);
export const batchProducerId = (b: Uint8Array, at: number): number => readI64(b, at + PRODUCER_ID);
export const batchProducerEpoch = (b: Uint8Array, at: number): number => readI16(b, at + PRODUCER_EPOCH);
export const batchBaseSequence = (b: Uint8Array, at: number): number => readI32(b, at + BASE_SEQUENCE);
export const batchRecordCount = (b: Uint8Array, at: number): number => readI32(b, at + COUNT);
/** Sequence number of the last record; sequences wrap from 2147483647 to 0 (R13). */
export const batchLastSequence = (b: Uint8Array, at: number): number =>
  (batchBaseSequence(b, at) + batchLastOffsetDelta(b, at)) % 0x8000_0000;

/** Bytes of the whole batch, as its length field claims. */
export const batchSizeBytes = (b: Uint8Array, at: number): number => LOG_OVERHEAD_BYTES + readI32(b, at + BATCH_LENGTH);
/** The offset of the last record, or of the hole where it was. */
export const batchLastOffset = (b: Uint8Array, at: number): number =>
  batchBaseOffset(b, at) + batchLastOffsetDelta(b, at);
/** The offset after the batch. */
export const batchNextOffset = (b: Uint8Array, at: number): number => batchLastOffset(b, at) + 1;

/** Codec number, see compression/codecs.ts. */
export const batchCodec = (b: Uint8Array, at: number): number =>
  (b[at + ATTRIBUTES + 1] as number) & ATTRIBUTE_CODEC_MASK;

const hasAttribute = (b: Uint8Array, at: number, bit: number): boolean =>
  ((b[at + ATTRIBUTES + 1] as number) & bit) !== 0;
export const batchIsLogAppendTime = (b: Uint8Array, at: number): boolean =>
  hasAttribute(b, at, ATTRIBUTE_LOG_APPEND_TIME);
export const batchIsTransactional = (b: Uint8Array, at: number): boolean =>
  hasAttribute(b, at, ATTRIBUTE_TRANSACTIONAL);
export const batchIsControl = (b: Uint8Array, at: number): boolean => hasAttribute(b, at, ATTRIBUTE_CONTROL);
export const batchHasDeleteHorizon = (b: Uint8Array, at: number): boolean =>
  hasAttribute(b, at, ATTRIBUTE_DELETE_HORIZON);

/**
 * Size of the batch at `at` if all of it lies before `end`; 0 if the bytes end too early to tell or the batch is
 * incomplete (the usual end of a fetched range); -1 if its length makes no sense.
 */
export function batchSizeWithin(b: Uint8Array, at: number, end: number): number {
  if (end - at < LOG_OVERHEAD_BYTES) return 0;
  const size = batchSizeBytes(b, at);
  if (size < BATCH_HEADER_BYTES) return -1;
  return at + size <= end ? size : 0;
}

/** Positions of the complete batches in `b[from, to)`, one after the other; stops at an incomplete or senseless one. */
export function* batchPositions(
  b: Uint8Array,
  from: number = 0,
  to: number = b.length,
): Generator<number, void, undefined> {
  for (let at = from, size = 0; ; at += size) {
    size = batchSizeWithin(b, at, to);
    if (size <= 0) return;
    yield at;
  }
}

// --- the header as an object, for tools and tests ------------------------------------------------------------------

export interface BatchHeader {
  baseOffset: number;
  sizeBytes: number;
  leaderEpoch: number;
  magic: number;
  crc: number;
  codec: number;
  isLogAppendTime: boolean;
  isTransactional: boolean;
  isControl: boolean;
  hasDeleteHorizon: boolean;
  lastOffsetDelta: number;
  baseTimestamp: number;
  maxTimestamp: number;
  producerId: number;
  producerEpoch: number;
  baseSequence: number;
  recordCount: number;
}

export function readBatchHeader(b: Uint8Array, at: number): BatchHeader {
  return {
    baseOffset: batchBaseOffset(b, at),
    sizeBytes: batchSizeBytes(b, at),
    leaderEpoch: batchLeaderEpoch(b, at),
    magic: batchMagic(b, at),
    crc: batchCrc(b, at),
    codec: batchCodec(b, at),
    isLogAppendTime: batchIsLogAppendTime(b, at),
    isTransactional: batchIsTransactional(b, at),
    isControl: batchIsControl(b, at),
    hasDeleteHorizon: batchHasDeleteHorizon(b, at),
    lastOffsetDelta: batchLastOffsetDelta(b, at),
    baseTimestamp: batchBaseTimestamp(b, at),
    maxTimestamp: batchMaxTimestamp(b, at),
    producerId: batchProducerId(b, at),
    producerEpoch: batchProducerEpoch(b, at),
    baseSequence: batchBaseSequence(b, at),
    recordCount: batchRecordCount(b, at),
  };
}

// --- patching ------------------------------------------------------------------------------------------------------

/** Assigns the batch its place in the log. The checksum does not cover it. */
export function setBatchBaseOffset(b: Uint8Array, at: number, baseOffset: number): void {
  writeI64(b, at, baseOffset);
}

/** Stamps the batch with the leader epoch under which it was appended. The checksum does not cover it. */
export function setBatchLeaderEpoch(b: Uint8Array, at: number, leaderEpoch: number): void {
  writeI32(b, at + PARTITION_LEADER_EPOCH, leaderEpoch);
}

/** Gives every record the time of the append (`message.timestamp.type=LogAppendTime`); the checksum is made anew. */
export function setBatchLogAppendTime(b: Uint8Array, at: number, timestampMs: number): void {
  (b[at + ATTRIBUTES + 1] as number) |= ATTRIBUTE_LOG_APPEND_TIME;
  writeI64(b, at + MAX_TIMESTAMP, timestampMs);
  setBatchCrc(b, at);
}

/** The checksum as it should be. The batch must be complete. */
export function computeBatchCrc(b: Uint8Array, at: number): number {
  return crc32c(b, at + ATTRIBUTES, at + batchSizeBytes(b, at));
}

export function setBatchCrc(b: Uint8Array, at: number): void {
  writeI32(b, at + CRC, computeBatchCrc(b, at));
}

/** Writes all of a header but the checksum; for encodeBatch. */
export function writeBatchHeader(
  b: Uint8Array,
  at: number,
  header: Omit<
    BatchHeader,
    'crc' | 'magic' | 'codec' | 'isLogAppendTime' | 'isTransactional' | 'isControl' | 'hasDeleteHorizon'
  > & {
    readonly attributes: number;
  },
): void {
  writeI64(b, at, header.baseOffset);
  writeI32(b, at + BATCH_LENGTH, header.sizeBytes - LOG_OVERHEAD_BYTES);
  writeI32(b, at + PARTITION_LEADER_EPOCH, header.leaderEpoch);
  b[at + MAGIC_AT] = MAGIC;
  writeI16(b, at + ATTRIBUTES, header.attributes);
  writeI32(b, at + LAST_OFFSET_DELTA, header.lastOffsetDelta);
  writeI64(b, at + BASE_TIMESTAMP, header.baseTimestamp);
  writeI64(b, at + MAX_TIMESTAMP, header.maxTimestamp);
  writeI64(b, at + PRODUCER_ID, header.producerId);
  writeI16(b, at + PRODUCER_EPOCH, header.producerEpoch);
  writeI32(b, at + BASE_SEQUENCE, header.baseSequence);
  writeI32(b, at + COUNT, header.recordCount);
}
