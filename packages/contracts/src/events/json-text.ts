/**
 * Walks over JSON text (RFC 8259) without making values of it: data keeps its text (cloudevents.md J11), and what
 * JSON.parse forgives or hides (duplicate members, large numbers) is seen.
 *
 * Functions take the text and an index and return the index behind what they read, or `~index` (negative) of the place
 * where the text is not JSON. They allocate nothing.
 */

/** Arrays and objects within each other beyond this are refused. */
export const JSON_DEPTH_MAX = 256;

/** @returns the index of the next token */
export function skipSpace(text: string, at: number): number {
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at++;
  }
}

/** From the opening quote. */
export function skipString(text: string, at: number): number {
  if (text.charCodeAt(at) !== 0x22) return ~at;
  for (let i = at + 1; ; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) return i + 1;
    if (code === 0x5c) {
      const escape = text.charCodeAt(++i);
      switch (escape) {
        case 0x22: // "
        case 0x5c: // \
        case 0x2f: // /
        case 0x62: // b
        case 0x66: // f
        case 0x6e: // n
        case 0x72: // r
        case 0x74: // t
          break;
        case 0x75: // u
          for (let k = 0; k < 4; k++) if (!isHexDigit(text.charCodeAt(++i))) return ~i;
          break;
        default:
          return ~i;
      }
    } else if (!(code >= 0x20)) return ~i; // a control character, or NaN at the end of the text
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isHexDigit(code: number): boolean {
  return isDigit(code) || ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x66);
}

function skipDigits(text: string, at: number): number {
  let i = at;
  while (isDigit(text.charCodeAt(i))) i++;
  return i === at ? ~at : i;
}

function skipNumber(text: string, at: number): number {
  let i = at;
  if (text.charCodeAt(i) === 0x2d) i++;
  if (text.charCodeAt(i) === 0x30) i++;
  else if ((i = skipDigits(text, i)) < 0) return i;
  if (text.charCodeAt(i) === 0x2e && (i = skipDigits(text, i + 1)) < 0) return i;
  if ((text.charCodeAt(i) | 0x20) === 0x65) {
    i++;
    const sign = text.charCodeAt(i);
    if (sign === 0x2b || sign === 0x2d) i++;
    i = skipDigits(text, i);
  }
  return i;
}

/** From the first character of the value. */
export function skipValue(text: string, at: number, depth = 0): number {
  switch (text.charCodeAt(at)) {
    case 0x22:
      return skipString(text, at);
    case 0x7b:
      return depth >= JSON_DEPTH_MAX ? ~at : skipObject(text, at, depth);
    case 0x5b:
      return depth >= JSON_DEPTH_MAX ? ~at : skipArray(text, at, depth);
    case 0x74:
      return text.startsWith('true', at) ? at + 4 : ~at;
    case 0x66:
      return text.startsWith('false', at) ? at + 5 : ~at;
    case 0x6e:
      return text.startsWith('null', at) ? at + 4 : ~at;
    default:
      return skipNumber(text, at);
  }
}

function skipObject(text: string, at: number, depth: number): number {
  let i = skipSpace(text, at + 1);
  if (text.charCodeAt(i) === 0x7d) return i + 1;
  for (;;) {
    if ((i = skipString(text, i)) < 0) return i;
    i = skipSpace(text, i);
    if (text.charCodeAt(i) !== 0x3a) return ~i;
    if ((i = skipValue(text, skipSpace(text, i + 1), depth + 1)) < 0) return i;
    i = skipSpace(text, i);
    const code = text.charCodeAt(i);
    if (code === 0x7d) return i + 1;
    if (code !== 0x2c) return ~i;
    i = skipSpace(text, i + 1);
  }
}

function skipArray(text: string, at: number, depth: number): number {
  let i = skipSpace(text, at + 1);
  if (text.charCodeAt(i) === 0x5d) return i + 1;
  for (;;) {
    if ((i = skipValue(text, i, depth + 1)) < 0) return i;
    i = skipSpace(text, i);
    const code = text.charCodeAt(i);
    if (code === 0x5d) return i + 1;
    if (code !== 0x2c) return ~i;
    i = skipSpace(text, i + 1);
  }
}

/** Whether it is exactly one JSON text: `1,"id":"x"` is none (§5.5.3). */
export function isJsonText(text: string): boolean {
  const end = skipValue(text, skipSpace(text, 0));
  return end >= 0 && skipSpace(text, end) === text.length;
}

/** What the JSON string between `from` (its opening quote) and `to` says; it has passed {@link skipString}. */
export function stringAt(text: string, from: number, to: number): string {
  const raw = text.slice(from + 1, to - 1);
  return raw.includes('\\') ? (JSON.parse(text.slice(from, to)) as string) : raw;
}
