/**
 * Dead letters as records (delivery.md D19): the record byte for byte and, behind its own headers, those that say where it
 * comes from and why it is here. Taking them off again gives the record as it was.
 */
import { encodeBatch, RecordCursor } from '@hadron/kafka-protocol/records';
import type { RecordSlice } from './service.ts';

const PREFIX = 'hadron-dead-';
/** In this order behind the record's own headers; `redrive` only where there was one. */
const NAMES = [
  'stream',
  'partition',
  'offset',
  'group',
  'reason',
  'code',
  'attempts',
  'first',
  'last',
  'redrive',
] as const;

const FIRST = Buffer.from(`${PREFIX}${NAMES[0]}`);

export interface DeathCertificate {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  readonly group: string;
  readonly reason: string;
  readonly code: string;
  readonly attempts: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** How often it had been redriven. */
  readonly redrive: number;
}

/** The record batch that takes a dead letter to its stream. */
export function deadLetterBatch(record: RecordSlice, death: DeathCertificate): Buffer {
  const { key, value, headers } = layoutOf(record.bytes);
  const values: Record<(typeof NAMES)[number], string | undefined> = {
    stream: death.stream,
    partition: String(death.partition),
    offset: String(death.offset),
    group: death.group,
    reason: death.reason,
    code: death.code,
    attempts: String(death.attempts),
    first: new Date(death.firstMs).toISOString(),
    last: new Date(death.lastMs).toISOString(),
    redrive: death.redrive > 0 ? String(death.redrive) : undefined,
  };
  const certificate = NAMES.flatMap((name) => {
    const text = values[name];
    return text === undefined ? [] : [{ key: PREFIX + name, value: text }];
  });
  return encodeBatch([{ timestamp: record.timestampMs, key, value, headers: [...headers, ...certificate] }]);
}

/** A batch of one record, unchanged but for its place: key, value and headers are the bytes that they were. */
export function batchOf(record: RecordSlice): Buffer {
  const { key, value, headers } = layoutOf(record.bytes);
  return encodeBatch([{ timestamp: record.timestampMs, key, value, headers }]);
}

/** What a dead letter says of itself; undefined if it is none. */
export function certificateOf(record: RecordSlice): DeathCertificate | undefined {
  const found = new Map<string, string>();
  const { headers } = layoutOf(record.bytes);
  for (const { key, value } of headers.slice(ownHeaders(headers).length)) {
    const name = key.toString('latin1');
    if (name.startsWith(PREFIX) && value !== null) found.set(name.slice(PREFIX.length), value.toString('utf8'));
  }
  const stream = found.get('stream');
  const group = found.get('group');
  const partition = whole(found.get('partition'));
  const offset = whole(found.get('offset'));
  if (stream === undefined || group === undefined || partition === undefined || offset === undefined) return undefined;
  return {
    stream,
    partition,
    offset,
    group,
    reason: found.get('reason') ?? '',
    code: found.get('code') ?? '',
    attempts: whole(found.get('attempts')) ?? 0,
    firstMs: Date.parse(found.get('first') ?? '') || 0,
    lastMs: Date.parse(found.get('last') ?? '') || 0,
    redrive: whole(found.get('redrive')) ?? 0,
  };
}

/** The record as it was before it died. */
export function withoutCertificate(record: RecordSlice): RecordSlice {
  const { key, value, headers } = layoutOf(record.bytes);
  const own = ownHeaders(headers);
  return own.length === headers.length ? record : sliceOf({ key, value, headers: own }, record.timestampMs);
}

/** Those before the certificate, which is always last. A dead letter that dies again has several: the others are its own. */
function ownHeaders(headers: readonly RawHeader[]): readonly RawHeader[] {
  const at = headers.findLastIndex(({ key }) => key.equals(FIRST));
  return at === -1 ? headers : headers.slice(0, at);
}

function sliceOf(layout: Layout, timestampMs: number): RecordSlice {
  const cursor = new RecordCursor();
  cursor.open(encodeBatch([{ timestamp: timestampMs, ...layout }]));
  cursor.next();
  return { bytes: cursor.body(), timestampMs };
}

interface RawHeader {
  readonly key: Buffer;
  readonly value: Buffer | null;
}

interface Layout {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RawHeader[];
}

/** The fields of a record of our own log; header keys stay bytes, for they need not be UTF-8. */
function layoutOf(bytes: Buffer): Layout {
  let at = 1; // behind the attributes
  const varint = (): number => {
    let coded = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError('a record that is cut off');
      coded |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return (coded >>> 1) ^ -(coded & 1);
  };
  const field = (): Buffer | null => {
    const length = varint();
    if (length < 0) return null;
    at += length;
    if (at > bytes.length) throw new RangeError('a record that is cut off');
    return bytes.subarray(at - length, at);
  };
  while ((bytes[at++] ?? 0) >= 0x80); // timestamp delta
  varint(); // offset delta
  const key = field();
  const value = field();
  const headers: RawHeader[] = [];
  for (let left = varint(); left > 0; left--) headers.push({ key: field() ?? Buffer.alloc(0), value: field() });
  return { key, value, headers };
}

const whole = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
