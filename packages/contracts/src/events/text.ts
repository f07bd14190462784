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

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
/** Arguments of one call: more might not fit on the stack. */
const CHUNK = 8192;

/** Base64 of RFC 4648 §4, with padding. */
export function encodeBase64(b: Uint8Array): string {
  let latin1 = '';
  for (let i = 0; i < b.length; i += CHUNK) latin1 += String.fromCharCode(...b.subarray(i, i + CHUNK));
  return btoa(latin1);
}

/** @returns undefined if it is not base64 of RFC 4648 §4; padding is required */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !BASE64.test(text)) return undefined; // atob forgives more
  const latin1 = atob(text);
  const b = new Uint8Array(latin1.length);
  for (let i = 0; i < b.length; i++) b[i] = latin1.charCodeAt(i);
  return b;
}
