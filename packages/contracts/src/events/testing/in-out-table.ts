/**
 * What an event keeps on its way through Hadron: every form in which it can come × every form in which it can leave
 * (cloudevents.md §5.5.7). Each cell is found by sending awkward events through and comparing; a difference that has no
 * name in {@link DIFFERENCES} is an error. docs/cloudevents-table.md is written from it.
 */
import { parseProtoEvent, writeProtoEvent } from '../../proto/events.ts';
import type { CloudEvent, EventRecord } from '../event.ts';
import { readHttpEvent, writeHttpHeaders } from '../http.ts';
import { parseJsonBatch, parseJsonEvent, writeJsonBatch, writeJsonEvent } from '../json.ts';
import { cloudEvent } from '../plain.ts';
import { readRecord, RecordWriter, writeEventRecord } from '../record-bytes.ts';
import { eventToRecord, type RecordContext, recordToEvent } from '../record.ts';
import { encodeUtf8 } from '../text.ts';
import { isPositionName, parseTimestamp, typeOf } from '../validate.ts';

const CONTEXT: RecordContext = {
  stream: 'orders',
  topicId: '0b5e7a52-3b0e-4a43-8a6a-000000000001',
  partition: 3,
  offset: 42,
  timestampMs: 1_790_000_000_123,
};
const POSITION = { partition: CONTEXT.partition, offset: CONTEXT.offset };

/** What may differ between an event that came and the same event as it leaves. */
export const DIFFERENCES = {
  types:
    'types of extensions that the form cannot tell (only Boolean and Integer in JSON, none in HTTP headers) become String; the canonical string stays',
  moment: 'a timestamp leaves as the same moment in UTC, with 0, 3, 6 or 9 digits behind the point',
  empty: 'empty data leaves as no data',
  space: 'white space before and behind a JSON text is not part of the member that holds it',
} as const;

export type Difference = keyof typeof DIFFERENCES;

/** As a form writes it: bytes of a body or record, headers beside it. */
interface Incoming {
  readonly name: string;
  /** The message of an event, read as the door reads it: the record that is stored. */
  receive(event: CloudEvent): EventRecord;
  /** The event that the message holds. */
  meant(event: CloudEvent): CloudEvent;
}

/** A native door stores what it read as a binary-mode record, through the bytes of a batch. */
function stored(event: CloudEvent): EventRecord {
  const out = new RecordWriter();
  writeEventRecord(out, event, 0, 0);
  let prefix = 0;
  while ((out.bytes[prefix] as number) >= 0x80) prefix++;
  return readRecord(out.view().slice(prefix + 1));
}

const one = (results: readonly unknown[]): CloudEvent => results[0] as CloudEvent;
const door = (name: string, meant: (event: CloudEvent) => CloudEvent): Incoming => ({
  name,
  meant,
  receive: (event) => stored(meant(event)),
});
const produced = (name: string, record: (event: CloudEvent) => EventRecord): Incoming => ({
  name,
  receive: record,
  meant: (event) => recordToEvent(record(event), CONTEXT),
});

const IN: readonly Incoming[] = [
  door('HTTP binary', (e) => readHttpEvent(writeHttpHeaders(e), e.data ?? new Uint8Array(0))),
  door('HTTP structured', (e) => parseJsonEvent(encodeUtf8(writeJsonEvent(e)))),
  door('HTTP batch', (e) => one(parseJsonBatch(encodeUtf8(writeJsonBatch([e]))))),
  door('gRPC protobuf', (e) => parseProtoEvent(writeProtoEvent(e))),
  door('WebSocket', (e) => parseJsonEvent(writeJsonEvent(e))),
  produced('Kafka binary', (e) => eventToRecord(e)),
  produced('Kafka structured', (e) => ({
    key: encodeUtf8('key'),
    value: encodeUtf8(writeJsonEvent(e)),
    headers: [{ key: 'content-type', value: encodeUtf8('application/cloudevents+json') }],
  })),
  produced('plain record', (e) => {
    const type = e.attributes.get('datacontenttype');
    return {
      key: encodeUtf8('key'),
      value: e.data ?? null,
      headers: type === undefined ? [] : [{ key: 'content-type', value: encodeUtf8(type) }],
    };
  }),
];

/** Each form out, read back by its own reader. */
const OUT: readonly { readonly name: string; send(record: EventRecord): CloudEvent | EventRecord }[] = [
  {
    name: 'HTTP binary',
    send: (r) => {
      const event = recordToEvent(r, CONTEXT);
      return readHttpEvent(writeHttpHeaders(event, POSITION), event.data ?? new Uint8Array(0));
    },
  },
  { name: 'structured', send: (r) => parseJsonEvent(writeJsonEvent(recordToEvent(r, CONTEXT), POSITION)) },
  {
    name: 'batch',
    send: (r) => one(parseJsonBatch(encodeUtf8(`[${writeJsonEvent(recordToEvent(r, CONTEXT), POSITION)}]`))),
  },
  { name: 'gRPC protobuf', send: (r) => parseProtoEvent(writeProtoEvent(recordToEvent(r, CONTEXT), POSITION)) },
  {
    name: 'WebSocket',
    send: (r) => parseJsonEvent(encodeUtf8(writeJsonEvent(recordToEvent(r, CONTEXT), POSITION))),
  },
  { name: 'Kafka', send: (r) => r },
];

/** Events that have everything a form might lose. */
function samples(): CloudEvent[] {
  const base = { id: 'é 1%', source: 'https://example.com/shop?a=b#c', type: 'order.placed' };
  const attributes = { subject: 'Euro € 😀 "x" 100%', time: '2026-01-31T23:59:59.120+02:00', partitionkey: 'k' };
  const typed = { flag: true, count: -5, blob: Uint8Array.of(0, 255), at: new Date(5), sampledrate: 3, text: '5' };
  const data: [unknown, string | undefined][] = [
    [{ n: 1 }, undefined],
    [encodeUtf8(' { "n" : 123456789012345678901234567890, "n" : 1e400 }\n'), 'application/json'],
    [encodeUtf8('1,"id":"x"'), 'application/json'],
    [null, 'application/json'],
    ['hi', 'application/json'],
    ['é\r\n"<', 'text/plain; charset=utf-8'],
    [encodeUtf8('é'), 'text/plain; charset=iso-8859-1'],
    ['<svg/>', 'image/svg+xml'],
    [Uint8Array.of(0, 0xff, 0xfe), 'application/octet-stream'],
    [Uint8Array.of(0xff), 'text/plain'],
    [Uint8Array.of(8, 1), 'application/protobuf'],
    [Uint8Array.of(1, 2, 3), undefined],
    [new Uint8Array(0), 'text/plain'],
    [undefined, 'application/json'],
    [undefined, undefined],
  ];
  const uris = cloudEvent({ ...base, dataschema: 'type.googleapis.com/shop.Order', dataref: '/blob/1' });
  return [
    ...data.map(([value, datacontenttype]) =>
      cloudEvent({ ...base, ...attributes, ...typed, data: value, datacontenttype }),
    ),
    {
      ...uris,
      types: new Map([
        ['link', 'URI'],
        ['ref', 'URI-reference'],
      ]),
      attributes: new Map([...uris.attributes, ['link', 'urn:a:b'], ['ref', '/x']]),
    },
  ];
}

/** @throws Error a difference without a name */
function differences(came: CloudEvent, left: CloudEvent): Set<Difference> {
  const found = new Set<Difference>();
  const same = (what: string, a: unknown, b: unknown): void => {
    if (a !== b) throw new Error(`${what}: ${String(a)} became ${String(b)}, which no difference permits`);
  };
  same('id', came.id, left.id);
  same('source', came.source, left.source);
  same('type', came.type, left.type);
  const names = [...left.attributes.keys()].filter((name) => !isPositionName(name));
  same('attributes', [...came.attributes.keys()].sort().join(), names.sort().join());
  for (const [name, value] of came.attributes) {
    const now = left.attributes.get(name) as string;
    if (typeOf(came, name) !== typeOf(left, name)) {
      same(`type of ${name}`, typeOf(left, name), 'String');
      found.add('types');
    }
    if (now === value) continue;
    same(name, parseTimestamp(value), parseTimestamp(now) ?? now);
    found.add('moment');
  }
  const text = (data: Uint8Array): string => String.fromCharCode(...data);
  if (came.data === undefined || left.data === undefined) {
    if (came.data !== left.data) {
      same('data', came.data?.length, 0);
      found.add('empty');
    }
  } else if (text(came.data) !== text(left.data)) {
    same('data', text(came.data).trim(), text(left.data));
    found.add('space');
  }
  return found;
}

function sameRecord(a: EventRecord, b: EventRecord): boolean {
  const shown = (r: EventRecord): string =>
    JSON.stringify([r.key, r.value, r.headers], (_, v: unknown) => (v instanceof Uint8Array ? [...v] : v));
  return shown(a) === shown(b);
}

/** A row per form in which events come: its name, then what differs for each form in which they leave. */
export function inOutTable(): {
  readonly out: readonly string[];
  readonly rows: readonly { readonly in: string; readonly cells: readonly (readonly Difference[])[] }[];
} {
  const events = samples();
  const rows = IN.map((incoming) => ({
    in: incoming.name,
    cells: OUT.map((outgoing) => {
      const found = new Set<Difference>();
      for (const event of events) {
        const record = incoming.receive(event);
        const sent = outgoing.send(record);
        if ('headers' in sent) {
          if (!sameRecord(record, sent)) throw new Error(`${incoming.name}: the record changed`);
          // What a Kafka client reads is the record; read as an event it is the event that came.
          for (const d of differences(incoming.meant(event), recordToEvent(sent, CONTEXT))) found.add(d);
        } else for (const d of differences(incoming.meant(event), sent)) found.add(d);
      }
      return (Object.keys(DIFFERENCES) as Difference[]).filter((d) => found.has(d));
    }),
  }));
  return { out: OUT.map((o) => o.name), rows };
}
