/**
 * UUIDs travel as 16 bytes and live in memory as **32 lower-case hex digits** without dashes.
 *
 * The broker looks topics up by id on every Fetch. A string is the one form a `Map` finds by value; hex is made by one
 * native call (~50 ns) where the 36-character form needs five pieces and a concatenation. Encoders accept both forms.
 */
export type Uuid = string;

/** "No id". */
export const ZERO_UUID: Uuid = '00000000000000000000000000000000';

/** The in-memory form of a UUID given with or without dashes, in any case. */
export function toUuid(text: string): Uuid {
  const hex = text.length === 36 ? text.replaceAll('-', '') : text;
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new TypeError(`Not a UUID: ${text}`);
  return hex.toLowerCase();
}

/** The 36-character form, for people. */
export function formatUuid(uuid: Uuid): string {
  const u = toUuid(uuid);
  return `${u.slice(0, 8)}-${u.slice(8, 12)}-${u.slice(12, 16)}-${u.slice(16, 20)}-${u.slice(20)}`;
}
