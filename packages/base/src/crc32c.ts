/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as Kafka record batches and our own files use it.
 *
 * Two implementations behind one function: slicing-by-16 in JavaScript for short input, where a native call costs more
 * than the work (~100 ns), and `@node-rs/crc32` (SSE 4.2 / ARMv8, 10-14 GB/s) above {@link NATIVE_FROM_BYTES}. Where
 * the native module does not load, the JavaScript one (~2 GB/s) serves every length.
 */
import { createRequire } from 'node:module';

const NATIVE_FROM_BYTES = 256;

/** 16 tables of 256 entries, one after the other. */
const T: Int32Array = (() => {
  const t = new Int32Array(16 * 256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    t[n] = c;
  }
  for (let n = 0; n < 256; n++) {
    let c = t[n] as number;
    for (let s = 1; s < 16; s++) {
      c = (t[c & 0xff] as number) ^ (c >>> 8);
      t[s * 256 + n] = c;
    }
  }
  return t;
})();

/** Pure JavaScript CRC-32C of `b[from, to)`, continuing from `seed` (the CRC of what came before, 0 at the start). */
export function crc32cJs(b: Uint8Array, from: number, to: number, seed: number): number {
  let c = ~seed;
  let i = from;
  const t = T;
  for (const stop = to - 16; i <= stop; i += 16) {
    c ^= (b[i] as number) | ((b[i + 1] as number) << 8) | ((b[i + 2] as number) << 16) | ((b[i + 3] as number) << 24);
    c =
      (t[0xf00 + (c & 0xff)] as number) ^
      (t[0xe00 + ((c >>> 8) & 0xff)] as number) ^
      (t[0xd00 + ((c >>> 16) & 0xff)] as number) ^
      (t[0xc00 + (c >>> 24)] as number) ^
      (t[0xb00 + (b[i + 4] as number)] as number) ^
      (t[0xa00 + (b[i + 5] as number)] as number) ^
      (t[0x900 + (b[i + 6] as number)] as number) ^
      (t[0x800 + (b[i + 7] as number)] as number) ^
      (t[0x700 + (b[i + 8] as number)] as number) ^
      (t[0x600 + (b[i + 9] as number)] as number) ^
      (t[0x500 + (b[i + 10] as number)] as number) ^
      (t[0x400 + (b[i + 11] as number)] as number) ^
      (t[0x300 + (b[i + 12] as number)] as number) ^
      (t[0x200 + (b[i + 13] as number)] as number) ^
      (t[0x100 + (b[i + 14] as number)] as number) ^
      (t[b[i + 15] as number] as number);
  }
  for (; i < to; i++) c = (t[(c ^ (b[i] as number)) & 0xff] as number) ^ (c >>> 8);
  return ~c >>> 0;
}

type NativeCrc32c = (input: Uint8Array, seed?: number) => number;

const native: NativeCrc32c | undefined = (() => {
  try {
    const loaded = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c?: NativeCrc32c };
    const check = new Uint8Array([49, 50, 51, 52, 53, 54, 55, 56, 57]);
    return loaded.crc32c?.(check) === 0xe3069283 ? loaded.crc32c : undefined;
  } catch {
    return undefined; // no prebuilt binary for this platform: the JavaScript version serves
  }
})();

/**
 * CRC-32C of `b[from, to)`.
 * @param seed the CRC of the bytes before, so that `crc(a ++ b) === crc(b, crc(a))`; 0 at the start
 * @returns an unsigned 32-bit integer
 */
export function crc32c(b: Uint8Array, from: number = 0, to: number = b.length, seed: number = 0): number {
  if (native === undefined || to - from < NATIVE_FROM_BYTES) return crc32cJs(b, from, to, seed);
  return native(from === 0 && to === b.length ? b : b.subarray(from, to), seed);
}

/** Whether the native implementation is in use (shown by `hadron start --log-level debug` and in bench output). */
export const crc32cIsNative: boolean = native !== undefined;
