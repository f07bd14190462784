/**
 * Writes frames into chunks, and lets large byte fields pass by without copying them.
 *
 *   chunk 1                                   (not copied)          chunk 1, or the next one
 *   ┌───────────────┬───────────────────────┐ ┌─────────────────┐   ┌─────────────────────┐
 *   │ length, header│ ... until the records │ │ record batches  │   │ the rest, next frame│
 *   └───────────────┴───────────────────────┘ └─────────────────┘   └─────────────────────┘
 *          part 0                                   part 1                 part 2
 *
 * A frame's length is put in place when the frame ends, so the size on the wire is right before a byte is sent. Several
 * frames may follow one another: a connection collects a tick's responses and hands all parts to one `writev`.
 *
 * Who owns what: parts that the writer made are never written to again, so they may wait in a socket's queue. Slices
 * handed in with {@link Writer.pass} belong to the caller, who must leave them unchanged until the parts were sent.
 */
import { writeI32 } from '@hadron/base';
import { ProtocolError } from '../protocol-error.ts';
import type { UnknownTags } from './tags.ts';
import type { Uuid } from './uuid.ts';

const TWO_32 = 0x1_0000_0000;

/** A slice up to this size is copied: one more entry in the I/O vector costs more than moving 1 KiB. */
const COPY_BYTES_MAX = 1024;

/** Text up to this many characters is written by a loop while it is ASCII: half the price of a native call. */
const ASCII_LOOP_MAX = 64;

const CHUNK_BYTES = 16 * 1024;

const NO_CHUNK = Buffer.alloc(0);

/** Record batches to be encoded: one buffer, several that follow one another (from a tail cache), or null. */
export type RecordSlices = Buffer | readonly Buffer[] | null;

export interface WriterOptions {
  /** Where chunks come from; at least `bytes` long. Default `Buffer.allocUnsafeSlow`. */
  readonly allocate?: (bytes: number) => Buffer;
  /** Size of an ordinary chunk. Default 16 KiB. */
  readonly chunkBytes?: number;
}

export class Writer {
  /** The chunk being filled; the first one is allocated at the first write. */
  bytes: Buffer = NO_CHUNK;
  /** Position of the next byte in the chunk. */
  at: number = 0;

  readonly #allocate: (bytes: number) => Buffer;
  readonly #chunkBytes: number;
  /** Parts that are closed, their total size, and where in the chunk the open part starts. */
  #parts: Buffer[] = [];
  #closedBytes = 0;
  #partStart = 0;
  /** The open frame: where its length goes, and what to return to if it is dropped. */
  #frameChunk: Buffer = NO_CHUNK;
  #frameAt = 0;
  #frameStartBytes = -1;
  #frameParts = 0;
  #frameClosedBytes = 0;

  constructor(options: WriterOptions = {}) {
    this.#allocate = options.allocate ?? ((bytes) => Buffer.allocUnsafeSlow(bytes));
    this.#chunkBytes = options.chunkBytes ?? CHUNK_BYTES;
  }

  /** Bytes written since the last {@link takeParts}, slices included. */
  get size(): number {
    return this.#closedBytes + this.at - this.#partStart;
  }

  // --- frames and parts --------------------------------------------------------------------------------------------

  /** Starts a frame: four bytes for its length, filled in by {@link endFrame}. */
  beginFrame(): void {
    this.ensure(4);
    this.#frameChunk = this.bytes;
    this.#frameAt = this.at;
    this.#frameStartBytes = this.size;
    this.#frameParts = this.#parts.length;
    this.#frameClosedBytes = this.#closedBytes;
    this.at += 4;
  }

  /** Ends the frame. @returns its size on the wire, length field included */
  endFrame(): number {
    const total = this.size - this.#frameStartBytes;
    writeI32(this.#frameChunk, this.#frameAt, total - 4);
    this.#frameStartBytes = -1;
    return total;
  }

  /** Takes back everything since {@link beginFrame}: a response that turned out not to be encodable. */
  dropFrame(): void {
    if (this.#frameStartBytes < 0) return;
    const closedSince = this.#parts.length > this.#frameParts;
    this.#parts.length = this.#frameParts;
    this.#closedBytes = this.#frameClosedBytes;
    if (closedSince || this.#frameChunk !== this.bytes) {
      // The chunk changed or a part was closed within the frame: go back to the chunk where the frame began.
      this.bytes = this.#frameChunk;
      this.#partStart = this.#frameAt - (this.#frameStartBytes - this.#frameClosedBytes);
    }
    this.at = this.#frameAt;
    this.#frameStartBytes = -1;
  }

  /** Everything written, as parts to send in order; the writer starts anew in what is left of its chunk. */
  takeParts(): Buffer[] {
    this.#closePart();
    const parts = this.#parts;
    this.#parts = [];
    this.#closedBytes = 0;
    return parts;
  }

  /** Everything written, in one buffer; copies only if there is more than one part. */
  takeBuffer(): Buffer {
    const parts = this.takeParts();
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  #closePart(): void {
    const { at } = this;
    if (at === this.#partStart) return;
    this.#parts.push(this.bytes.subarray(this.#partStart, at));
    this.#closedBytes += at - this.#partStart;
    this.#partStart = at;
  }

  /** Makes room for `n` more bytes in the chunk. */
  ensure(n: number): void {
    if (this.at + n > this.bytes.length) this.#grow(n);
  }

  #grow(n: number): void {
    // The open part moves to a chunk of at least twice its size, so that growing stays linear over a long message.
    const open = this.at - this.#partStart;
    const chunk = this.#allocate(Math.max(this.#chunkBytes, 2 * (open + n)));
    this.bytes.copy(chunk, 0, this.#partStart, this.at);
    if (this.#frameStartBytes >= 0 && this.#frameChunk === this.bytes && this.#frameAt >= this.#partStart) {
      this.#frameChunk = chunk;
      this.#frameAt -= this.#partStart;
    }
    this.bytes = chunk;
    this.#partStart = 0;
    this.at = open;
  }

  /** Adds a slice as a part of its own (or copies it if it is small). */
  pass(slice: Buffer): void {
    if (slice.length <= COPY_BYTES_MAX) return this.raw(slice);
    this.#closePart();
    this.#parts.push(slice);
    this.#closedBytes += slice.length;
  }

  /** Copies bytes as they are. */
  raw(bytes: Buffer): void {
    this.ensure(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  // --- fixed-size values -------------------------------------------------------------------------------------------

  bool(value: boolean): void {
    this.ensure(1);
    this.bytes[this.at++] = value ? 1 : 0;
  }

  i8(value: number): void {
    if ((value << 24) >> 24 !== value) failInteger('int8', value);
    this.ensure(1);
    this.bytes[this.at++] = value;
  }

  i16(value: number): void {
    if ((value << 16) >> 16 !== value) failInteger('int16', value);
    this.ensure(2);
    const { bytes, at } = this;
    bytes[at] = value >>> 8;
    bytes[at + 1] = value;
    this.at = at + 2;
  }

  i32(value: number): void {
    if ((value | 0) !== value) failInteger('int32', value);
    this.ensure(4);
    const { bytes, at } = this;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
    this.at = at + 4;
  }

  i64(value: number): void {
    if (!Number.isSafeInteger(value)) failInteger('int64', value);
    const hi = Math.floor(value / TWO_32);
    this.ensure(8);
    this.i32(hi);
    this.i32((value - hi * TWO_32) | 0);
  }

  /** 32 hex digits, or 36 characters with dashes. */
  uuid(value: Uuid): void {
    this.ensure(16);
    const hex = value.length === 36 ? value.replaceAll('-', '') : value;
    if (hex.length !== 32 || this.bytes.write(hex, this.at, 'hex') !== 16) {
      throw new ProtocolError('value', `not a UUID: ${value}`);
    }
    this.at += 16;
  }

  uvarint(value: number): void {
    this.ensure(5);
    const { bytes } = this;
    let at = this.at;
    let rest = value;
    while (rest >>> 0 > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.at = at;
  }

  // --- strings and bytes -------------------------------------------------------------------------------------------

  string(value: string): void {
    const length = value.length;
    if (length <= ASCII_LOOP_MAX) {
      this.ensure(2 + length);
      if (this.#ascii(value, this.at + 2)) {
        this.bytes[this.at] = 0;
        this.bytes[this.at + 1] = length;
        this.at += 2 + length;
        return;
      }
    }
    const size = Buffer.byteLength(value);
    if (size > 0x7fff) throw new ProtocolError('length', `string of ${size} bytes`);
    this.i16(size);
    this.#text(value, size);
  }

  nullableString(value: string | null): void {
    if (value === null) this.i16(-1);
    else this.string(value);
  }

  compactString(value: string): void {
    const length = value.length;
    if (length <= ASCII_LOOP_MAX) {
      this.ensure(1 + length);
      if (this.#ascii(value, this.at + 1)) {
        this.bytes[this.at] = length + 1;
        this.at += 1 + length;
        return;
      }
    }
    const size = Buffer.byteLength(value);
    this.uvarint(size + 1);
    this.#text(value, size);
  }

  compactNullableString(value: string | null): void {
    if (value === null) this.uvarint(0);
    else this.compactString(value);
  }

  /** Writes the characters while they are ASCII. @returns whether all were */
  #ascii(value: string, from: number): boolean {
    const { bytes } = this;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[from + i] = code;
    }
    return true;
  }

  #text(value: string, size: number): void {
    this.ensure(size);
    this.bytes.write(value, this.at, size, 'utf8');
    this.at += size;
  }

  byteString(value: Buffer): void {
    this.i32(value.length);
    this.raw(value);
  }

  nullableByteString(value: Buffer | null): void {
    if (value === null) this.i32(-1);
    else this.byteString(value);
  }

  compactByteString(value: Buffer): void {
    this.uvarint(value.length + 1);
    this.raw(value);
  }

  compactNullableByteString(value: Buffer | null): void {
    if (value === null) this.uvarint(0);
    else this.compactByteString(value);
  }

  /** Record batches: the length, then the slices as parts. */
  records(value: RecordSlices): void {
    if (value === null) return this.i32(-1);
    this.i32(slicesSize(value));
    this.#passAll(value);
  }

  compactRecords(value: RecordSlices): void {
    if (value === null) return this.uvarint(0);
    this.uvarint(slicesSize(value) + 1);
    this.#passAll(value);
  }

  #passAll(value: Buffer | readonly Buffer[]): void {
    if (Buffer.isBuffer(value)) this.pass(value);
    else for (const slice of value) this.pass(slice);
  }

  // --- arrays and tagged fields ------------------------------------------------------------------------------------

  compactArrayLength(count: number): void {
    this.uvarint(count + 1);
  }

  /** The tagged fields of a struct that has only unknown ones. */
  unknownTags(tags: UnknownTags): void {
    if (tags === undefined) {
      this.ensure(1);
      this.bytes[this.at++] = 0;
      return;
    }
    this.uvarint(tags.length);
    this.unknownTagsBelow(tags, 0, 0x1_0000_0000);
  }

  /**
   * Writes the unknown tagged fields from index `from` whose tag is below `limit`, so that tags stay in order when they
   * are mixed with known ones. @returns the index of the next unknown one
   */
  unknownTagsBelow(tags: UnknownTags, from: number, limit: number): number {
    if (tags === undefined) return 0;
    let i = from;
    for (; i < tags.length; i++) {
      const { tag, data } = tags[i] as { tag: number; data: Buffer };
      if (tag === limit) throw new ProtocolError('tag', `tag ${tag} is given twice`);
      if (tag > limit) break;
      this.uvarint(tag);
      this.uvarint(data.length);
      this.raw(data);
    }
    return i;
  }

  /** Starts a known tagged field. @returns a mark for {@link endTag} */
  beginTag(tag: number): number {
    this.uvarint(tag);
    this.ensure(1);
    this.at++; // the size, one byte as long as it is below 128
    return this.size;
  }

  endTag(mark: number): void {
    const size = this.size - mark;
    if (size < 0x80) {
      this.bytes[this.at - size - 1] = size;
      return;
    }
    const extra = size < 0x4000 ? 1 : size < 0x20_0000 ? 2 : size < 0x1000_0000 ? 3 : 4;
    this.ensure(extra);
    const start = this.at - size;
    this.bytes.copyWithin(start + extra, start, this.at);
    this.at = start - 1;
    this.uvarint(size);
    this.at += size;
  }
}

function slicesSize(value: Buffer | readonly Buffer[]): number {
  if (Buffer.isBuffer(value)) return value.length;
  let size = 0;
  for (const slice of value) size += slice.length;
  return size;
}

function failInteger(type: string, value: number): never {
  throw new ProtocolError('value', `${value} is not an ${type}`);
}

/** For generated encoders: `field` has a value that `version` of `message` cannot carry. */
export function refuseField(message: string, field: string, version: number): never {
  throw new ProtocolError('field-version', `${message} v${version} cannot carry ${field}`);
}

/** For generated codecs: the version is not served. */
export function refuseVersion(message: string, version: number): never {
  throw new ProtocolError('version', `${message} v${version} is not served`);
}

/** For generated encoders: a field that may be null, in a version where it may not. */
export function notNull<T>(value: T | null, message: string, field: string, version: number): T {
  if (value === null) throw new ProtocolError('null', `${message} v${version}: ${field} must not be null`);
  return value;
}
