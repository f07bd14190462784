/** UTF-8 and base64 between strings and bytes, for Node and browsers alike. */

const encoder = new TextEncoder();
// Without `ignoreBOM` a decoder swallows a leading U+FEFF, which is part of the data.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Up to this many bytes a loop is quicker than the call of a decoder. */
const SHORT = 12;

export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** @returns undefined if the bytes are not valid UTF-8 */
export function decodeUtf8(b: Uint8Array): string | undefined {
  const length = b.length;
  if (length <= SHORT) {
    const codes = new Array<number>(length);
    let high = 0;
    for (let i = 0; i < length; i++) high |= codes[i] = b[i] as number;
    if (high < 0x80) return String.fromCharCode.apply(String, codes);
  }
  try {
    return decoder.decode(b);
  } catch {
    return undefined;
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const PAD = 0x3d;
/** Value of a character of the alphabet; 0xff: none of it. */
const VALUES = new Uint8Array(128).fill(0xff);
for (let i = 0; i < 64; i++) VALUES[ALPHABET.charCodeAt(i)] = i;
const CODES = encoder.encode(ALPHABET);

/** Base64 of RFC 4648 §4, with padding. */
export function encodeBase64(b: Uint8Array): string {
  const out = new Uint8Array(Math.ceil(b.length / 3) * 4);
  let at = 0;
  let i = 0;
  for (; i + 2 < b.length; i += 3) {
    const bits = ((b[i] as number) << 16) | ((b[i + 1] as number) << 8) | (b[i + 2] as number);
    out[at++] = CODES[bits >> 18] as number;
    out[at++] = CODES[(bits >> 12) & 63] as number;
    out[at++] = CODES[(bits >> 6) & 63] as number;
    out[at++] = CODES[bits & 63] as number;
  }
  if (i < b.length) {
    const two = i + 1 < b.length;
    const bits = ((b[i] as number) << 16) | (two ? (b[i + 1] as number) << 8 : 0);
    out[at++] = CODES[bits >> 18] as number;
    out[at++] = CODES[(bits >> 12) & 63] as number;
    out[at++] = two ? (CODES[(bits >> 6) & 63] as number) : PAD;
    out[at++] = PAD;
  }
  return decoder.decode(out);
}

/** @returns undefined if it is not base64 of RFC 4648 §4; padding is required */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const chars = text.length - padding;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  let at = 0;
  let bits = 0;
  let bad = 0;
  for (let i = 0; i < chars; i++) {
    const code = text.charCodeAt(i);
    const value = code < 128 ? (VALUES[code] as number) : 0xff;
    bad |= value;
    bits = (bits << 6) | value;
    const place = i & 3;
    if (place === 1) out[at++] = (bits >> 4) & 0xff;
    else if (place === 2) out[at++] = (bits >> 2) & 0xff;
    else if (place === 3) out[at++] = bits & 0xff;
  }
  return bad > 63 ? undefined : out;
}
