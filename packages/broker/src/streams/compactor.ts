/**
 * The record part of compaction (engine part: packages/log/src/compaction.ts): which records of a batch have a newer one,
 * and the batch without them (kafka.md §5.1; log.md G14).
 *
 * - A batch keeps its base and last offset, codec, timestamps, producer and sequence; records keep theirs, byte for byte.
 * - A record stays when no later record of its key was seen. A record without a key is not of a compacted topic and goes.
 * - A tombstone stays readable for `delete.retention.ms` after the first pass over it. That moment is written into its
 *   batch as Kafka does it: attribute bit 6 says that the base timestamp is the moment from which tombstones may go.
 * - A batch without records goes, but the last one of a producer stays as a header, so that its sequence is not lost.
 * - Batches of transactions are left alone until transactions exist.
 */
import { HadronError } from '@hadron/base';
import {
  ATTRIBUTE_CODEC_MASK,
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_DELETE_HORIZON,
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_HEADER_BYTES,
  batchAttributes,
  batchBaseTimestamp,
  batchCodec,
  batchHasDeleteHorizon,
  batchIsLogAppendTime,
  batchLastOffset,
  batchProducerId,
  batchRecordCount,
  CODEC_NONE,
  compress,
  ProtocolError,
  readBatchHeader,
  RecordCursor,
  setBatchCrc,
  varintBytes,
  varlongBytes,
  writeBatchHeader,
  writeVarint,
  writeVarlong,
} from '@hadron/kafka-protocol/records';
import type { CompactionPass, Log, OffsetMap, UnitCompactor } from '@hadron/log';

export interface RecordCompactorOptions {
  /**
   * Offset of the last record that a producer wrote to a log; undefined for a producer that is forgotten. Without this
   * function, the header of every batch of a producer stays.
   */
  readonly lastOffsetOf?: (log: Log, producerId: number) => number | undefined;
}

/** Between two yields: about half a millisecond. */
const RECORDS_PER_STEP = 256;

export class RecordCompactor implements UnitCompactor {
  readonly #lastOffsetOf: RecordCompactorOptions['lastOffsetOf'];
  readonly #cursor = new RecordCursor();

  constructor(options: RecordCompactorOptions = {}) {
    this.#lastOffsetOf = options.lastOffsetOf;
  }

  *note(b: Buffer, at: number, _length: number, map: OffsetMap, force: boolean): Generator<void, boolean, void> {
    if (isOfTransaction(b, at) || batchRecordCount(b, at) === 0) return true;
    const cursor = this.#cursor;
    try {
      cursor.open(b, at);
      while (cursor.next()) {
        const key = cursor.key();
        if (key !== null && !map.put(key, cursor.offset, force)) return false;
        if (cursor.index % RECORDS_PER_STEP === RECORDS_PER_STEP - 1) yield;
      }
      return true;
    } catch (error) {
      throw undecodable(error);
    }
  }

  *rewrite(b: Buffer, at: number, length: number, pass: CompactionPass): Generator<void, Buffer | undefined, void> {
    const unchanged = b.subarray(at, at + length);
    if (isOfTransaction(b, at)) return unchanged;
    const count = batchRecordCount(b, at);
    if (count === 0) return this.#isLastOfProducer(b, at, pass.log) ? unchanged : undefined;
    const kept = yield* this.#keep(b, at, pass);
    if (kept.bodies.length === 0) return this.#isLastOfProducer(b, at, pass.log) ? this.emptied(b, at) : undefined;
    // A tombstone that was kept for the first time begins to count now.
    const horizonMs = kept.horizonMs ?? (kept.tombstones > 0 ? pass.nowMs + pass.deleteRetentionMs : undefined);
    if (kept.tombstones > 0 && horizonMs !== undefined) pass.horizonMs = Math.min(pass.horizonMs, horizonMs);
    if (kept.bodies.length === count && horizonMs === kept.horizonMs) return unchanged;
    if (horizonMs !== kept.horizonMs && horizonMs !== undefined) this.#rebase(kept, horizonMs);
    yield;
    return assemble(b, at, kept, horizonMs);
  }

  emptied(b: Buffer, at: number): Buffer {
    const out = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
    writeBatchHeader(out, 0, {
      ...readBatchHeader(b, at),
      sizeBytes: BATCH_HEADER_BYTES,
      // There is nothing to decompress, and clients would try.
      attributes: batchAttributes(b, at) & ~(ATTRIBUTE_CODEC_MASK | ATTRIBUTE_DELETE_HORIZON),
      recordCount: 0,
    });
    setBatchCrc(out, 0);
    return out;
  }

  /** The records that stay. Their bodies are slices of the batch, or of its decompressed form. */
  *#keep(b: Buffer, at: number, pass: CompactionPass): Generator<void, Kept, void> {
    const cursor = this.#cursor;
    const horizonMs = batchHasDeleteHorizon(b, at) ? batchBaseTimestamp(b, at) : undefined;
    const isOver = horizonMs !== undefined && pass.nowMs >= horizonMs;
    const kept: Kept = { bodies: [], timestamps: [], tombstones: 0, maxTimestamp: Number.NEGATIVE_INFINITY, horizonMs };
    try {
      cursor.open(b, at);
      while (cursor.next()) {
        if (cursor.index % RECORDS_PER_STEP === RECORDS_PER_STEP - 1) yield;
        const key = cursor.key();
        if (key === null || cursor.offset < pass.map.get(key)) continue;
        if (!cursor.hasValue()) {
          if (isOver) continue;
          kept.tombstones++;
        }
        kept.bodies.push(cursor.body());
        kept.timestamps.push(cursor.timestamp);
        if (cursor.timestamp > kept.maxTimestamp) kept.maxTimestamp = cursor.timestamp;
      }
    } catch (error) {
      throw undecodable(error);
    }
    return kept;
  }

  /** Timestamps count from the base timestamp, which is going to be the delete horizon: the deltas are written anew. */
  #rebase(kept: Kept, baseTimestamp: number): void {
    for (let i = 0; i < kept.bodies.length; i++) {
      const body = kept.bodies[i] as Buffer;
      // A body is attributes, timestamp delta, and what stays as it is.
      let rest = 1;
      while ((body[rest] as number) >= 0x80) rest++;
      rest++;
      const delta = (kept.timestamps[i] as number) - baseTimestamp;
      const out = Buffer.allocUnsafe(1 + varlongBytes(delta) + body.length - rest);
      out[0] = body[0] as number;
      body.copy(out, writeVarlong(out, 1, delta), rest);
      kept.bodies[i] = out;
    }
  }

  #isLastOfProducer(b: Buffer, at: number, log: Log): boolean {
    const producerId = batchProducerId(b, at);
    if (producerId < 0) return false;
    return this.#lastOffsetOf === undefined || this.#lastOffsetOf(log, producerId) === batchLastOffset(b, at);
  }
}

interface Kept {
  readonly bodies: Buffer[];
  readonly timestamps: number[];
  tombstones: number;
  maxTimestamp: number;
  /** The batch's, if it has one already. */
  readonly horizonMs: number | undefined;
}

function assemble(b: Buffer, at: number, { bodies, maxTimestamp }: Kept, horizonMs: number | undefined): Buffer {
  let bytes = 0;
  for (const body of bodies) bytes += varintBytes(body.length) + body.length;
  const codec = batchCodec(b, at);
  const from = codec === CODEC_NONE ? BATCH_HEADER_BYTES : 0;
  let out = Buffer.allocUnsafeSlow(from + bytes);
  let p = from;
  for (const body of bodies) {
    p = writeVarint(out, p, body.length);
    p += body.copy(out, p);
  }
  if (codec !== CODEC_NONE) out = Buffer.concat([Buffer.allocUnsafe(BATCH_HEADER_BYTES), compress(codec, out)]);
  const header = readBatchHeader(b, at);
  writeBatchHeader(out, 0, {
    ...header,
    sizeBytes: out.length,
    attributes: batchAttributes(b, at) | (horizonMs === undefined ? 0 : ATTRIBUTE_DELETE_HORIZON),
    baseTimestamp: horizonMs ?? header.baseTimestamp,
    maxTimestamp: batchIsLogAppendTime(b, at) ? header.maxTimestamp : maxTimestamp,
    recordCount: bodies.length,
  });
  setBatchCrc(out, 0);
  return out;
}

const isOfTransaction = (b: Buffer, at: number): boolean =>
  (batchAttributes(b, at) & (ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL)) !== 0;

/** A batch whose checksum is good and whose records make no sense was stored wrong: nothing of the log is touched then. */
function undecodable(error: unknown): unknown {
  if (!(error instanceof ProtocolError)) return error;
  return new HadronError('CORRUPT_DATA', `a stored batch cannot be decoded: ${error.message}`, { cause: error });
}
