/**
 * Big-endian integers in buffers, without BigInt.
 *
 * Offsets, timestamps and log sequence numbers are 64-bit on the wire and on disk; in memory they are JavaScript
 * numbers. Two 32-bit halves make a double, which is exact up to 2^53 - 1. Measured: 2.5-4 times faster than BigInt.
 */

const TWO_32 = 0x1_0000_0000;

/** A signed 64-bit integer at `at`. Values outside the safe integer range lose precision; callers with hostile input use {@link isSafeI64}. */
export function readI64(b: Uint8Array, at: number): number {
  const hi =
    ((b[at] as number) << 24) | ((b[at + 1] as number) << 16) | ((b[at + 2] as number) << 8) | (b[at + 3] as number);
  return hi * TWO_32 + readU32(b, at + 4);
}

/** Writes a safe integer as a signed 64-bit big-endian value. */
export function writeI64(b: Uint8Array, at: number, value: number): void {
  const hi = Math.floor(value / TWO_32);
  writeI32(b, at, hi);
  writeI32(b, at + 4, value - hi * TWO_32);
}

/** Whether the signed 64-bit integer at `at` fits a JavaScript number exactly. */
export function isSafeI64(b: Uint8Array, at: number): boolean {
  const hi = readI32(b, at);
  return hi >= -0x20_0000 && hi < 0x20_0000;
}

export function readU32(b: Uint8Array, at: number): number {
  return (
    (((b[at] as number) << 24) |
      ((b[at + 1] as number) << 16) |
      ((b[at + 2] as number) << 8) |
      (b[at + 3] as number)) >>>
    0
  );
}

export function readI32(b: Uint8Array, at: number): number {
  return (
    ((b[at] as number) << 24) | ((b[at + 1] as number) << 16) | ((b[at + 2] as number) << 8) | (b[at + 3] as number)
  );
}

/** Writes the low 32 bits of `value` (signed or unsigned). */
export function writeI32(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}

export function readI16(b: Uint8Array, at: number): number {
  return (((b[at] as number) << 24) | ((b[at + 1] as number) << 16)) >> 16;
}

export function readU16(b: Uint8Array, at: number): number {
  return ((b[at] as number) << 8) | (b[at + 1] as number);
}

export function writeI16(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 8;
  b[at + 1] = value;
}
