/**
 * Reads the records of a batch one by one, through a cursor that is used again and again: compaction, seek by time and
 * the command line look at millions of records and want an object for none of them.
 *
 *     const cursor = new RecordCursor();
 *     cursor.open(buffer, at);
 *     while (cursor.next()) use(cursor.offset, cursor.key(), cursor.value());
 *
 * The batch must have passed validateBatch or come from our own log; the cursor nevertheless checks every bound and
 * throws ProtocolError `record` on bytes that do not add up.
 */
import { CODEC_NONE, DECOMPRESSED_BYTES_MAX, decompress } from '../compression/codecs.ts';
import { ProtocolError } from '../protocol-error.ts';
import {
  BATCH_HEADER_BYTES,
  batchBaseOffset,
  batchBaseTimestamp,
  batchCodec,
  batchIsLogAppendTime,
  batchMaxTimestamp,
  batchRecordCount,
  batchSizeWithin,
} from './batch-header.ts';

export interface RecordHeader {
  readonly key: string;
  readonly value: Buffer | null;
}

export class RecordCursor {
  /** Of the record: */
  offset = 0;
  offsetDelta = 0;
  timestamp = 0;
  /** Its place within the batch, counted from 0; -1 before the first. */
  index = -1;

  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  #count = 0;
  #baseOffset = 0;
  #baseTimestamp = 0;
  /** The one timestamp of all records under LogAppendTime. */
  #appendTimestamp: number | undefined;

  #recordAt = 0;
  #recordEnd = 0;
  #keyAt = 0;
  #keyLength = -1;
  #valueAt = 0;
  #valueLength = -1;
  #headersAt = 0;

  /**
   * Starts at the batch at `at`, decompressing it if need be.
   * @returns the size of the batch
   * @throws ProtocolError when it is incomplete, does not decompress, or would exceed `decompressedBytesMax`
   */
  open(b: Buffer, at: number = 0, decompressedBytesMax: number = DECOMPRESSED_BYTES_MAX): number {
    const size = batchSizeWithin(b, at, b.length);
    if (size <= 0) throw new ProtocolError('record', 'no complete batch');
    const codec = batchCodec(b, at);
    const from = at + BATCH_HEADER_BYTES;
    if (codec === CODEC_NONE) {
      this.#bytes = b;
      this.#at = from;
      this.#end = at + size;
    } else {
      this.#bytes =
        size === BATCH_HEADER_BYTES
          ? b.subarray(0, 0)
          : decompress(codec, b.subarray(from, at + size), decompressedBytesMax);
      this.#at = 0;
      this.#end = this.#bytes.length;
    }
    this.#count = batchRecordCount(b, at);
    this.#baseOffset = batchBaseOffset(b, at);
    this.#baseTimestamp = batchBaseTimestamp(b, at);
    this.#appendTimestamp = batchIsLogAppendTime(b, at) ? batchMaxTimestamp(b, at) : undefined;
    this.index = -1;
    return size;
  }

  /** Moves to the next record. @returns false after the last */
  next(): boolean {
    if (this.index + 1 >= this.#count) {
      if (this.#at !== this.#end) this.#fail('bytes after the last record');
      return false;
    }
    this.index++;
    const length = this.#varint();
    const from = this.#at;
    if (length < 0 || from + length > this.#end) this.#fail(`length ${length}`);
    this.#recordAt = from;
    this.#recordEnd = from + length;
    this.#at++; // attributes: unused
    const timestampDelta = this.#varlong();
    this.timestamp = this.#appendTimestamp ?? this.#baseTimestamp + timestampDelta;
    this.offsetDelta = this.#varint();
    this.offset = this.#baseOffset + this.offsetDelta;
    this.#keyLength = this.#varint();
    this.#keyAt = this.#at;
    this.#skip(this.#keyLength);
    this.#valueLength = this.#varint();
    this.#valueAt = this.#at;
    this.#skip(this.#valueLength);
    this.#headersAt = this.#at;
    if (this.#headersAt >= this.#recordEnd) this.#fail('no headers');
    this.#at = this.#recordEnd;
    return true;
  }

  /** A slice of the batch (or of its decompressed form), or null. */
  key(): Buffer | null {
    return this.#keyLength < 0 ? null : this.#bytes.subarray(this.#keyAt, this.#keyAt + this.#keyLength);
  }

  value(): Buffer | null {
    return this.#valueLength < 0 ? null : this.#bytes.subarray(this.#valueAt, this.#valueAt + this.#valueLength);
  }

  /** Whether the key / value is null, without making a slice. */
  hasKey(): boolean {
    return this.#keyLength >= 0;
  }

  hasValue(): boolean {
    return this.#valueLength >= 0;
  }

  /** The record as it lies in the batch, without its length: for copying it unchanged. */
  body(): Buffer {
    return this.#bytes.subarray(this.#recordAt, this.#recordEnd);
  }

  headers(): RecordHeader[] {
    this.#at = this.#headersAt;
    const count = this.#varint();
    if (count < 0 || count * 2 > this.#recordEnd - this.#at) this.#fail(`${count} headers`);
    const headers: RecordHeader[] = [];
    for (let i = 0; i < count; i++) {
      const keyLength = this.#varint();
      if (keyLength < 0) this.#fail('a header without key');
      const keyAt = this.#at;
      this.#skip(keyLength);
      const valueLength = this.#varint();
      const valueAt = this.#at;
      this.#skip(valueLength);
      headers.push({
        key: this.#bytes.toString('utf8', keyAt, keyAt + keyLength),
        value: valueLength < 0 ? null : this.#bytes.subarray(valueAt, valueAt + valueLength),
      });
    }
    if (this.#at !== this.#recordEnd) this.#fail('bytes after the headers');
    return headers;
  }

  #skip(length: number): void {
    if (length < -1 || this.#at + length > this.#recordEnd) this.#fail(`length ${length}`);
    if (length > 0) this.#at += length;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= this.#end) this.#fail('cut off');
      const byte = this.#bytes[this.#at++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    return this.#fail('varint longer than 32 bits');
  }

  #varlong(): number {
    let value = 0;
    let scale = 1;
    let sign = 0;
    for (let n = 0; n < 10; n++, scale *= 0x80) {
      if (this.#at >= this.#end) this.#fail('cut off');
      const byte = this.#bytes[this.#at++] as number;
      if (n === 0) sign = byte & 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return sign === 0 ? value / 2 : -(value + 1) / 2;
    }
    return this.#fail('varint longer than 64 bits');
  }

  #fail(message: string): never {
    throw new ProtocolError('record', `record ${this.index}: ${message}`);
  }
}

export interface DecodedRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

/** The records of one batch as objects: for tests and tools, where convenience counts more than allocation. */
export function* recordsOf(b: Buffer, at: number = 0): Generator<DecodedRecord, void, undefined> {
  const cursor = new RecordCursor();
  cursor.open(b, at);
  while (cursor.next()) {
    const { offset, timestamp } = cursor;
    yield { offset, timestamp, key: cursor.key(), value: cursor.value(), headers: cursor.headers() };
  }
}
