/**
 * Records as they lie in a record batch v2, between the batch's header and its end, for Node and browsers alike:
 *
 *   length varint │ attributes int8 │ timestampDelta varlong │ offsetDelta varint │ key │ value │ count varint, headers
 *
 * Key, value, header keys and header values are a varint length (-1: null) and their bytes; integers are zigzag.
 */
import { HadronError } from '@hadron/base/errors';
import type { CloudEvent, EventRecord, RecordHeader } from './event.ts';
import { eachRecordHeader, eventKey, type RecordSettings, recordToEvent } from './record.ts';
import { decodeUtf8, encodeUtf8 } from './text.ts';

/** The stream that a record is of: what events without attributes of their own are named by, and how records are seen. */
export interface RecordOrigin {
  readonly name: string;
  readonly topicId: string;
  readonly records?: RecordSettings | undefined;
}

/** The event that a record of a stream is, out of its bytes. @throws HadronError RECORD_INVALID */
export function eventAt(
  { name, topicId, records }: RecordOrigin,
  partition: number,
  offset: number,
  { bytes, timestampMs }: { readonly bytes: Uint8Array; readonly timestampMs: number },
): CloudEvent {
  return recordToEvent(readRecord(bytes), { stream: name, topicId, partition, offset, timestampMs, settings: records });
}

/** Bytes that grow as they are written. What `bytes` holds from `length` on is undefined. */
export class RecordWriter {
  bytes: Uint8Array;
  /** Bytes written. May be set back, or forward over room that {@link reserve} has made. */
  length = 0;

  constructor(capacity: number = 1024) {
    this.bytes = new Uint8Array(capacity);
  }

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    const wanted = this.length + size;
    if (wanted <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(wanted, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  /** What was written, as a view: valid until the next write. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/**
 * Appends the record of an event, length included; the bytes are those of `eventToRecord`.
 * @param offsetDelta its index in the batch
 * @param timestampDelta milliseconds behind the batch's base timestamp
 */
export function writeEventRecord(
  out: RecordWriter,
  event: CloudEvent,
  offsetDelta: number,
  timestampDelta: number,
): void {
  const start = out.length;
  const { data } = event;
  const dataLength = data === undefined ? 0 : data.length;
  // The length goes before what it counts. Its own size is guessed; a wrong guess costs a move.
  const guess = varintSize(dataLength + 200);
  out.reserve(dataLength + 64);
  let at = start + guess;
  out.bytes[at++] = 0;
  at = writeVarlong(out.bytes, at, timestampDelta);
  at = writeVarint(out.bytes, at, offsetDelta);
  out.length = at;
  const key = eventKey(event);
  if (key === undefined)
    out.bytes[out.length++] = 1; // -1
  else writeText(out, key);
  if (data === undefined) {
    out.reserve(1);
    out.bytes[out.length++] = 1;
  } else {
    out.reserve(dataLength + 5);
    at = writeVarint(out.bytes, out.length, dataLength);
    out.bytes.set(data, at);
    out.length = at + dataLength;
  }
  // The count of headers, one byte below 64 of them, is known when they are written.
  const countAt = out.length;
  const countRoom = varintSize(event.attributes.size + 5);
  out.reserve(countRoom);
  out.length += countRoom;
  let count = 0;
  eachRecordHeader(event, (name, value) => {
    writeText(out, name);
    writeText(out, value);
    count++;
  });
  if (varintSize(count) !== countRoom) shift(out, countAt + countRoom, countAt + varintSize(count));
  writeVarint(out.bytes, countAt, count);
  const length = out.length - start - guess;
  const prefix = varintSize(length);
  if (prefix !== guess) shift(out, start + guess, start + prefix);
  writeVarint(out.bytes, start, length);
}

/** Moves everything from `from` on to `to`. */
function shift(out: RecordWriter, from: number, to: number): void {
  if (to > from) out.reserve(to - from);
  out.bytes.copyWithin(to, from, out.length);
  out.length += to - from;
}

function writeText(out: RecordWriter, text: string): void {
  const { length } = text;
  out.reserve(length + 5);
  const { bytes } = out;
  const at = writeVarint(bytes, out.length, length);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) {
      writeBytes(out, encodeUtf8(text));
      return;
    }
    bytes[at + i] = code;
  }
  out.length = at + length;
}

function writeBytes(out: RecordWriter, value: Uint8Array): void {
  out.reserve(value.length + 5);
  const at = writeVarint(out.bytes, out.length, value.length);
  out.bytes.set(value, at);
  out.length = at + value.length;
}

function varintSize(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x10_0000 ? 3 : value < 0x800_0000 ? 4 : 5;
}

/** A signed 32-bit value, zigzag. @returns the index behind it */
function writeVarint(b: Uint8Array, at: number, value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  let p = at;
  while (rest > 0x7f) {
    b[p++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  b[p++] = rest;
  return p;
}

/** A safe integer, zigzag. @returns the index behind it */
function writeVarlong(b: Uint8Array, at: number, value: number): number {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  let p = at;
  while (rest > 0x7f) {
    b[p++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  b[p++] = rest;
  return p;
}

// ------------------------------------------------------------------------------------------------------------- reading

/**
 * Reads a record without its length prefix, as record slices travel. Key, value and header values are views of `bytes`.
 * @throws HadronError RECORD_INVALID the bytes do not add up
 */
export function readRecord(bytes: Uint8Array): EventRecord {
  return new RecordReader(bytes).record();
}

class RecordReader {
  readonly #bytes: Uint8Array;
  #at = 1; // behind the attributes, which are unused

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  record(): EventRecord {
    this.#skipVarlong();
    this.#varint();
    const key = this.#nullable();
    const value = this.#nullable();
    const count = this.#varint();
    // A header is two bytes at least, so the count cannot make more of it than there is.
    if (count < 0 || count * 2 > this.#bytes.length - this.#at) throw broken(`${count} headers`);
    const headers: RecordHeader[] = [];
    for (let i = 0; i < count; i++) {
      const name = this.#nullable();
      if (name === null) throw broken('a header without key');
      headers.push({ key: headerKey(name), value: this.#nullable() });
    }
    if (this.#at !== this.#bytes.length) throw broken('bytes behind the headers');
    return { key, value, headers };
  }

  #nullable(): Uint8Array | null {
    const length = this.#varint();
    if (length === -1) return null;
    const from = this.#at;
    if (length < 0 || length > this.#bytes.length - from) throw broken(`a length of ${length}`);
    this.#at = from + length;
    return this.#bytes.subarray(from, this.#at);
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw broken('it ends too early');
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    throw broken('an integer of more than 32 bits');
  }

  #skipVarlong(): void {
    for (let i = 0; i < 10; i++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw broken('it ends too early');
      if (byte < 0x80) return;
    }
    throw broken('an integer of more than 64 bits');
  }
}

const lenient = /* @__PURE__ */ new TextDecoder('utf-8', { ignoreBOM: true });

/** The names that nearly every record has, by their length: comparing bytes is quicker than decoding them. */
const COMMON_KEYS = /* @__PURE__ */ byLength([
  'ce_specversion',
  'ce_id',
  'ce_source',
  'ce_type',
  'ce_subject',
  'ce_time',
  'ce_partitionkey',
  'content-type',
]);

interface CommonKey {
  readonly key: string;
  readonly bytes: Uint8Array;
}

function byLength(keys: readonly string[]): ReadonlyMap<number, readonly CommonKey[]> {
  const map = new Map<number, CommonKey[]>();
  for (const key of keys) map.set(key.length, [...(map.get(key.length) ?? []), { key, bytes: encodeUtf8(key) }]);
  return map;
}

/** Names that are not UTF-8 are no names of ours; they keep a readable form. */
function headerKey(name: Uint8Array): string {
  for (const { key, bytes } of COMMON_KEYS.get(name.length) ?? NONE) if (equal(bytes, name)) return key;
  return decodeUtf8(name) ?? lenient.decode(name);
}

const NONE: readonly never[] = [];

/** Both are of one length. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = a.length - 1; i >= 0; i--) if (a[i] !== b[i]) return false;
  return true;
}

function broken(problem: string): HadronError {
  return new HadronError('RECORD_INVALID', `a record that cannot be read: ${problem}`);
}
