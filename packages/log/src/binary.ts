/** A growable writer and a checked reader for the engine's own files (checkpoint, snapshots). Big-endian. */
import { HadronError, readI64, readU16, readU32, writeI16, writeI32, writeI64 } from '@hadron/base';

export class ByteWriter {
  private b: Buffer = Buffer.allocUnsafe(4096);
  private n = 0;

  get length(): number {
    return this.n;
  }

  u8(v: number): void {
    this.need(1);
    this.b[this.n++] = v;
  }

  u16(v: number): void {
    this.need(2);
    writeI16(this.b, this.n, v);
    this.n += 2;
  }

  u32(v: number): void {
    this.need(4);
    writeI32(this.b, this.n, v);
    this.n += 4;
  }

  i64(v: number): void {
    this.need(8);
    writeI64(this.b, this.n, v);
    this.n += 8;
  }

  /** u32 length, then the bytes. */
  bytes(v: Uint8Array): void {
    this.u32(v.length);
    this.need(v.length);
    this.b.set(v, this.n);
    this.n += v.length;
  }

  string(v: string): void {
    this.bytes(Buffer.from(v, 'utf8'));
  }

  /** Overwrites four bytes written before. */
  patchU32(at: number, v: number): void {
    writeI32(this.b, at, v);
  }

  done(): Buffer {
    return this.b.subarray(0, this.n);
  }

  private need(bytes: number): void {
    if (this.n + bytes <= this.b.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.b.length * 2, this.n + bytes));
    this.b.copy(grown, 0, 0, this.n);
    this.b = grown;
  }
}

/** Reads what {@link ByteWriter} wrote. Running past the end is DATA_DAMAGED, never a crash or a large allocation. */
export class ByteReader {
  private readonly b: Buffer;
  private readonly what: string;
  private n: number;

  constructor(b: Buffer, what: string, at: number = 0) {
    this.b = b;
    this.what = what;
    this.n = at;
  }

  get position(): number {
    return this.n;
  }

  get remaining(): number {
    return this.b.length - this.n;
  }

  u8(): number {
    return this.b[this.take(1)] as number;
  }

  u16(): number {
    return readU16(this.b, this.take(2));
  }

  u32(): number {
    return readU32(this.b, this.take(4));
  }

  i64(): number {
    return readI64(this.b, this.take(8));
  }

  bytes(): Buffer {
    const length = this.u32();
    const at = this.take(length);
    return this.b.subarray(at, at + length);
  }

  string(): string {
    return this.bytes().toString('utf8');
  }

  skip(bytes: number): void {
    this.take(bytes);
  }

  /** A count of things that take at least `eachBytes` bytes. */
  count(eachBytes: number): number {
    const n = this.u32();
    if (n * eachBytes > this.remaining) this.fail();
    return n;
  }

  private take(bytes: number): number {
    const at = this.n;
    if (at + bytes > this.b.length) this.fail();
    this.n = at + bytes;
    return at;
  }

  private fail(): never {
    throw new HadronError('DATA_DAMAGED', `${this.what} ends in the middle of a value`);
  }
}
