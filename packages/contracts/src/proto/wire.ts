/**
 * Protobuf's wire format for the messages that are read and written by hand (streams.ts): numbers instead of bigint, bytes
 * as views of what was read, one buffer for many messages. Runs in browsers.
 *
 * 64-bit integers are JavaScript numbers; one beyond 2^53 is refused.
 */
import { HadronError } from '@hadron/base/errors';

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/** Tag of a field, for fields below 16 a single byte. */
export const tag = (field: number, type: number): number => (field << 3) | type;

/** Longer text is not looked at for being ASCII. */
const ASCII_TRIED_BYTES = 64;

/** What Node's Buffer has beyond Uint8Array. */
interface NodeBuffer extends Uint8Array {
  latin1Slice(from: number, to: number): string;
}

const TWO_32 = 0x1_0000_0000;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

const damaged = (why: string): HadronError =>
  new HadronError('REQUEST_INVALID', `this is not the protobuf message the method takes: ${why}`);

/** Bytes of an unsigned integer below 2^53 as a varint. */
function varintBytes(value: number): number {
  let n = 1;
  for (let v = value; v >= 0x80; v = Math.floor(v / 0x80)) n++;
  return n;
}

/** Reads the fields of one message. Every bound is checked. All methods but the constructor @throws HadronError REQUEST_INVALID */
export class ProtoReader {
  private readonly buffer: Uint8Array;
  private at: number;
  private readonly end: number;
  private type = 0;

  constructor(buffer: Uint8Array, from: number = 0, to: number = buffer.length) {
    this.buffer = buffer;
    this.at = from;
    this.end = to;
  }

  /** The tag (field and type) of the next field; 0 at the end. Compare it with {@link tag}; give what is unknown to {@link skip}. */
  next(): number {
    if (this.at >= this.end) return 0;
    const read = this.uint32();
    if (read < 8) throw damaged('a field has the number 0');
    this.type = read & 7;
    return read;
  }

  /** Passes the field whose tag was read last. */
  skip(): void {
    if (this.type === VARINT) this.varint();
    else if (this.type === BYTES) this.bytes();
    else if (this.type === FIXED64) this.advance(8);
    else if (this.type === FIXED32) this.advance(4);
    else throw damaged(`wire type ${this.type} does not exist`);
  }

  uint32(): number {
    return this.varint() >>> 0;
  }

  bool(): boolean {
    return this.varint() !== 0;
  }

  /** An unsigned integer up to 2^53. */
  uint64(): number {
    const value = this.varint();
    if (value < 0 || !Number.isSafeInteger(value)) throw damaged('an integer is larger than 2^53');
    return value;
  }

  /** A signed integer of at most 53 bits. */
  int64(): number {
    const value = this.varint();
    if (!Number.isSafeInteger(value)) throw damaged('an integer is larger than 2^53');
    return value;
  }

  /** A view, not a copy. */
  bytes(): Uint8Array {
    const length = this.uint32();
    const from = this.at;
    this.advance(length);
    return this.buffer.subarray(from, this.at);
  }

  string(): string {
    const length = this.uint32();
    const from = this.at;
    this.advance(length);
    const { buffer, at: to } = this;
    // Names and ids are short ASCII; Node's buffers make strings of it at a third of the cost of a TextDecoder.
    if (length <= ASCII_TRIED_BYTES && 'latin1Slice' in buffer) {
      let i = from;
      while (i < to && (buffer[i] as number) < 0x80) i++;
      if (i === to) return (buffer as NodeBuffer).latin1Slice(from, to);
    }
    try {
      return decoder.decode(buffer.subarray(from, to));
    } catch {
      throw damaged('a text is not UTF-8');
    }
  }

  /** The message in this field. */
  message(): ProtoReader {
    const length = this.uint32();
    const from = this.at;
    this.advance(length);
    return new ProtoReader(this.buffer, from, this.at);
  }

  private advance(bytes: number): void {
    this.at += bytes;
    if (this.at > this.end) throw damaged('it ends inside a field');
  }

  /** Negative where bit 63 is set, as int64 has it. */
  private varint(): number {
    const { buffer, end } = this;
    let b = this.at < end ? (buffer[this.at++] as number) : this.short();
    if (b < 0x80) return b;
    let low = b & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      b = this.at < end ? (buffer[this.at++] as number) : this.short();
      low |= (b & 0x7f) << shift;
      if (b < 0x80) return low;
    }
    b = this.at < end ? (buffer[this.at++] as number) : this.short();
    low = (low | ((b & 0x0f) << 28)) >>> 0;
    let high = (b & 0x7f) >>> 4;
    for (let shift = 3; b >= 0x80; shift += 7) {
      if (shift > 31) throw damaged('an integer is longer than ten bytes');
      b = this.at < end ? (buffer[this.at++] as number) : this.short();
      high |= (b & 0x7f) << shift;
    }
    return high * TWO_32 + low;
  }

  private short(): never {
    throw damaged('it ends inside a field');
  }
}

/** Writes messages one behind the other into one growing buffer, that is used again after {@link reset}. */
export class ProtoWriter {
  private buffer: Uint8Array;
  /** Bytes written. */
  length = 0;

  constructor(sizeBytes: number = 1024) {
    this.buffer = new Uint8Array(sizeBytes);
  }

  reset(): void {
    this.length = 0;
  }

  /** What was written; valid until the next call of anything. */
  written(from: number = 0): Uint8Array {
    return this.buffer.subarray(from, this.length);
  }

  /** Makes room for `bytes` and passes over them, to be filled in by {@link patch}. @returns where they are */
  reserve(bytes: number): number {
    const at = this.length;
    this.room(bytes);
    this.length += bytes;
    return at;
  }

  /** Big-endian, as frames have their length. */
  patchU32(at: number, value: number): void {
    this.buffer[at] = value >>> 24;
    this.buffer[at + 1] = value >>> 16;
    this.buffer[at + 2] = value >>> 8;
    this.buffer[at + 3] = value;
  }

  patchU8(at: number, value: number): void {
    this.buffer[at] = value;
  }

  /** Of an unsigned integer up to 2^53. */
  uint(fieldTag: number, value: number): void {
    this.room(20);
    this.varint(fieldTag);
    this.varint(value);
  }

  /** As {@link uint}; may be negative. */
  int64(fieldTag: number, value: number): void {
    if (value >= 0) {
      this.uint(fieldTag, value);
      return;
    }
    this.room(20);
    this.varint(fieldTag);
    let low = value >>> 0;
    let high = Math.floor(value / TWO_32) >>> 0;
    for (let i = 0; i < 9; i++) {
      this.buffer[this.length++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.buffer[this.length++] = low;
  }

  bytes(fieldTag: number, value: Uint8Array): void {
    this.room(value.length + 20);
    this.varint(fieldTag);
    this.varint(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  string(fieldTag: number, value: string): void {
    this.room(value.length + 20);
    this.varint(fieldTag);
    const start = this.length;
    this.varint(value.length);
    const { buffer } = this;
    let at = this.length;
    for (let i = 0; i < value.length; i++) {
      const c = value.charCodeAt(i);
      if (c >= 0x80) {
        this.length = start;
        this.lengthAndBytes(encoder.encode(value));
        return;
      }
      buffer[at++] = c;
    }
    this.length = at;
  }

  /** Every character is one byte. */
  latin1(fieldTag: number, value: string): void {
    this.room(value.length + 20);
    this.varint(fieldTag);
    this.varint(value.length);
    for (let i = 0; i < value.length; i++) this.buffer[this.length++] = value.charCodeAt(i);
  }

  /**
   * Begins a message in a message; end it with {@link close}.
   * @param expectedBytes about its size: near enough, its bytes need not be moved when its length is known
   */
  open(fieldTag: number, expectedBytes: number): number {
    this.room(20);
    this.varint(fieldTag);
    const at = this.length;
    this.length += varintBytes(expectedBytes);
    return at * 8 + (this.length - at);
  }

  close(opened: number): void {
    const reserved = opened % 8;
    const at = (opened - reserved) / 8;
    const start = at + reserved;
    const size = this.length - start;
    const needed = varintBytes(size);
    if (needed !== reserved) {
      this.room(8);
      this.buffer.copyWithin(at + needed, start, this.length);
    }
    this.length = at;
    this.varint(size);
    this.length = at + needed + size;
  }

  private lengthAndBytes(value: Uint8Array): void {
    this.room(value.length + 10);
    this.varint(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  private varint(value: number): void {
    let v = value;
    while (v > 0x7fff_ffff) {
      this.buffer[this.length++] = (v % 0x80) | 0x80;
      v = Math.floor(v / 0x80);
    }
    while (v > 0x7f) {
      this.buffer[this.length++] = (v & 0x7f) | 0x80;
      v >>>= 7;
    }
    this.buffer[this.length++] = v;
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.length + bytes));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
  }
}
