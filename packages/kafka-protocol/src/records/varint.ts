/** Zigzag variable-length integers, as records use them. */

/** Bytes of `value` as a signed 32-bit varint. */
export function varintBytes(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x20_0000) return 3;
  return zigzag < 0x1000_0000 ? 4 : 5;
}

/** Writes a signed 32-bit varint. @returns the position after it */
export function writeVarint(b: Uint8Array, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  let p = at;
  while (zigzag > 0x7f) {
    b[p++] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
  }
  b[p++] = zigzag;
  return p;
}

/** A safe integer as unsigned zigzag; exact up to 2^53 in magnitude, which as zigzag still is a double without loss. */
function zigzag64(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

/** Bytes of `value`, a safe integer, as a signed 64-bit varint. */
export function varlongBytes(value: number): number {
  let bytes = 1;
  for (let rest = zigzag64(value); rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

/** Writes a safe integer as a signed 64-bit varint. @returns the position after it */
export function writeVarlong(b: Uint8Array, at: number, value: number): number {
  let rest = zigzag64(value);
  let p = at;
  while (rest >= 0x80) {
    b[p++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  b[p++] = rest;
  return p;
}
