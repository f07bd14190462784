/**
 * Reads protocol primitives from a buffer, with every bound checked.
 *
 * Always true: `at <= end <= bytes.length`, and nothing is allocated on the word of the sender alone (limits.ts).
 * Byte fields are slices of the buffer, not copies: they are valid as long as the owner leaves the buffer alone.
 * Damaged input throws ProtocolError and nothing else.
 */
import { ProtocolError, type ProtocolErrorReason } from '../protocol-error.ts';
import { ARRAY_ELEMENTS_MAX, TAGGED_FIELDS_MAX } from './limits.ts';
import type { UnknownTag, UnknownTags } from './tags.ts';
import type { Uuid } from './uuid.ts';

const TWO_32 = 0x1_0000_0000;

export class Reader {
  bytes: Buffer;
  /** Position of the next byte to read. */
  at: number;
  /** One past the last byte that may be read. */
  end: number;

  constructor(bytes: Buffer, at: number = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Points the same reader at other bytes: a connection needs one reader for its life. */
  reset(bytes: Buffer, at: number = 0, end: number = bytes.length): this {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    return this;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  /** @throws ProtocolError `trailing-bytes` unless everything was read: a request must be consumed exactly. */
  expectEnd(): void {
    if (this.at !== this.end) this.fail('trailing-bytes', `${this.end - this.at} bytes after the message`);
  }

  // --- fixed-size values -------------------------------------------------------------------------------------------

  bool(): boolean {
    return this.i8() !== 0;
  }

  i8(): number {
    const at = this.at;
    if (at >= this.end) this.fail('truncated', 'int8');
    this.at = at + 1;
    return ((this.bytes[at] as number) << 24) >> 24;
  }

  i16(): number {
    const { bytes, at } = this;
    if (at + 2 > this.end) this.fail('truncated', 'int16');
    this.at = at + 2;
    return (((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)) >> 16;
  }

  i32(): number {
    const { bytes, at } = this;
    if (at + 4 > this.end) this.fail('truncated', 'int32');
    this.at = at + 4;
    return (
      ((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)
    );
  }

  /** A 64-bit integer as a number; one beyond ±(2^53 - 1) is refused rather than rounded. */
  i64(): number {
    if (this.at + 8 > this.end) this.fail('truncated', 'int64');
    const hi = this.i32();
    const lo = this.i32() >>> 0;
    const value = hi * TWO_32 + lo;
    // One comparison admits -2^53 itself, which a double holds but which is not "safe": refuse it too.
    if (!Number.isSafeInteger(value)) this.fail('value', '64-bit value beyond 2^53');
    return value;
  }

  uuid(): Uuid {
    const at = this.at;
    if (at + 16 > this.end) this.fail('truncated', 'uuid');
    this.at = at + 16;
    return this.bytes.toString('hex', at, at + 16);
  }

  /** Unsigned variable-length integer, at most 32 bits. */
  uvarint(): number {
    const { bytes, end } = this;
    let at = this.at;
    if (at >= end) this.fail('truncated', 'varint');
    let byte = bytes[at++] as number;
    if (byte < 0x80) {
      this.at = at;
      return byte;
    }
    let value = byte & 0x7f;
    for (let shift = 7; shift <= 28; shift += 7) {
      if (at >= end) this.fail('truncated', 'varint');
      byte = bytes[at++] as number;
      if (shift === 28 && byte > 0x0f) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.at = at;
        return value >>> 0;
      }
    }
    return this.fail('varint', 'longer than 32 bits');
  }

  // --- strings and bytes: classic (int16 / int32 length) and compact (uvarint length + 1) --------------------------

  string(): string {
    const length = this.i16();
    if (length < 0) this.failLength(length);
    return this.#text(length);
  }

  nullableString(): string | null {
    const length = this.i16();
    if (length < 0) return length === -1 ? null : this.failLength(length);
    return this.#text(length);
  }

  compactString(): string {
    const length = this.uvarint() - 1;
    if (length < 0) this.failNull();
    return this.#text(length);
  }

  compactNullableString(): string | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.#text(length);
  }

  byteString(): Buffer {
    const length = this.i32();
    if (length < 0) this.failLength(length);
    return this.slice(length);
  }

  nullableByteString(): Buffer | null {
    const length = this.i32();
    if (length < 0) return length === -1 ? null : this.failLength(length);
    return this.slice(length);
  }

  compactByteString(): Buffer {
    const length = this.uvarint() - 1;
    if (length < 0) this.failNull();
    return this.slice(length);
  }

  compactNullableByteString(): Buffer | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.slice(length);
  }

  /** The next `length` bytes, not copied. */
  slice(length: number): Buffer {
    const from = this.at;
    if (from + length > this.end) this.fail('truncated', `${length} bytes wanted, ${this.end - from} left`);
    this.at = from + length;
    return this.bytes.subarray(from, from + length);
  }

  #text(length: number): string {
    const from = this.at;
    if (from + length > this.end) this.fail('truncated', `string of ${length} bytes, ${this.end - from} left`);
    this.at = from + length;
    return this.bytes.toString('utf8', from, from + length);
  }

  // --- arrays: the count only; the generated code reads the elements -----------------------------------------------

  /** @param elementBytesMin the fewest bytes one element can take in this version */
  arrayLength(elementBytesMin: number): number {
    const count = this.i32();
    if (count < 0) this.failLength(count);
    return this.#count(count, elementBytesMin);
  }

  /** -1 for null. */
  nullableArrayLength(elementBytesMin: number): number {
    const count = this.i32();
    if (count < 0) return count === -1 ? -1 : this.failLength(count);
    return this.#count(count, elementBytesMin);
  }

  compactArrayLength(elementBytesMin: number): number {
    const count = this.uvarint() - 1;
    if (count < 0) this.failNull();
    return this.#count(count, elementBytesMin);
  }

  /** -1 for null. */
  compactNullableArrayLength(elementBytesMin: number): number {
    const count = this.uvarint() - 1;
    return count < 0 ? -1 : this.#count(count, elementBytesMin);
  }

  #count(count: number, elementBytesMin: number): number {
    if (count > ARRAY_ELEMENTS_MAX) this.fail('limit', `array of ${count} elements`);
    if (count * elementBytesMin > this.end - this.at) this.fail('length', `array of ${count} elements does not fit`);
    return count;
  }

  // --- tagged fields -----------------------------------------------------------------------------------------------

  /** How many tagged fields follow. */
  tagCount(): number {
    const count = this.uvarint();
    if (count === 0) return 0;
    if (count > TAGGED_FIELDS_MAX) this.fail('limit', `${count} tagged fields`);
    if (count * 2 > this.end - this.at) this.fail('length', `${count} tagged fields do not fit`);
    return count;
  }

  /** Reads a tagged field's size and confines the reader to it. @returns the end to give to {@link leaveTag} */
  enterTag(): number {
    const size = this.uvarint();
    const outer = this.end;
    if (this.at + size > outer) this.fail('truncated', `tagged field of ${size} bytes`);
    this.end = this.at + size;
    return outer;
  }

  leaveTag(outerEnd: number): void {
    if (this.at !== this.end) this.fail('tag', `${this.end - this.at} bytes left in a tagged field`);
    this.end = outerEnd;
  }

  /** Keeps the tagged field just entered, whatever it is. */
  keepTag(known: UnknownTags, tag: number): UnknownTags {
    const kept = { tag, data: this.slice(this.end - this.at) };
    if (known === undefined) return [kept];
    (known as UnknownTag[]).push(kept);
    return known;
  }

  /** All tagged fields of a struct that knows none in this version. */
  unknownTags(): UnknownTags {
    let tags: UnknownTags;
    for (let n = this.tagCount(); n > 0; n--) {
      const tag = this.uvarint();
      const end = this.enterTag();
      tags = this.keepTag(tags, tag);
      this.leaveTag(end);
    }
    return tags;
  }

  // --- failure -----------------------------------------------------------------------------------------------------

  fail(reason: ProtocolErrorReason, message: string): never {
    throw new ProtocolError(reason, `${message} (at byte ${this.at})`);
  }

  failNull(): never {
    return this.fail('null', 'null where this version does not allow it');
  }

  failLength(length: number): never {
    return length === -1 ? this.failNull() : this.fail('length', `length ${length}`);
  }
}
