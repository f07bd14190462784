/**
 * The messages of `stream.StreamController` (proto/stream/stream.proto) as events: encoded and decoded by hand, with the
 * same bytes as the generated code (messages.test.ts). All decoders @throws HadronError REQUEST_INVALID
 */
import { HadronError } from '@hadron/base';
import type { CloudEvent } from '@hadron/contracts';
import { ProtoReader, type ProtoWriter, tag } from '@hadron/contracts/protobuf';

const int = (field: number): number => tag(field, 0);
const len = (field: number): number => tag(field, 2);

/** Where a subscription begins that has no progress yet. */
export type StartingPoint = 'beginning' | 'latest' | { readonly offset: number };

export interface Setup {
  readonly groupName: string;
  readonly durable: boolean;
  readonly maxBatchSize: number;
  /** Undefined: nothing was said. */
  readonly start: StartingPoint | undefined;
}

export type SubscribeRequest =
  | { readonly kind: 'setup'; readonly setup: Setup }
  | { readonly kind: 'ack' }
  | { readonly kind: 'nack'; readonly reason: string }
  /** Neither: counts as a nack. */
  | { readonly kind: 'nothing' };

export interface OldEvent {
  readonly event: CloudEvent;
  readonly partition: number;
  readonly offset: number;
}

export interface OldPartition {
  readonly partition: number;
  /** host:port */
  readonly internal: string;
  /** host:port; empty: not reachable from outside. */
  readonly external: string;
}

/** @returns the events of a StreamPublishRequest. Acknowledgement level and fsync make no difference: a batch is always synced */
export function decodePublish(bytes: Uint8Array): CloudEvent[] {
  const r = new ProtoReader(bytes);
  const events: CloudEvent[] = [];
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) events.push(decodeEvent(r.message()));
    else r.skip();
  }
  return events;
}

/** Absent and empty data are the same on this wire (cloudevents.md §9.1): the event has none. */
function decodeEvent(r: ProtoReader): CloudEvent {
  let id = '';
  let source = '';
  let specversion = '';
  let type = '';
  let data: Uint8Array | undefined;
  const attributes = new Map<string, string>();
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) id = r.string();
    else if (t === len(2)) source = r.string();
    else if (t === len(3)) specversion = r.string();
    else if (t === len(4)) type = r.string();
    else if (t === len(5)) {
      const entry = r.message();
      let name = '';
      let value = '';
      for (let e = entry.next(); e !== 0; e = entry.next()) {
        if (e === len(1)) name = entry.string();
        else if (e === len(2)) value = entry.string();
        else entry.skip();
      }
      if (!POSITION.has(name)) attributes.set(name, value);
    } else if (t === len(6)) {
      const read = r.bytes();
      data = read.length === 0 ? undefined : read;
    } else r.skip();
  }
  if (specversion !== '1.0') {
    throw new HadronError('EVENT_INVALID', `specversion is ${JSON.stringify(specversion.slice(0, 50))}; send "1.0"`, {
      field: 'specversion',
    });
  }
  return { id, source, type, attributes, data };
}

/** Where an event lies: reserved, so what comes with them is passed over (cloudevents.md §5.5.4). */
const POSITION: ReadonlySet<string> = new Set(['hadronpartition', 'hadronoffset']);

function encodeEvent(w: ProtoWriter, fieldTag: number, { event, partition, offset }: OldEvent): void {
  const opened = w.open(fieldTag, 200 + (event.data?.length ?? 0));
  w.string(len(1), event.id);
  w.string(len(2), event.source);
  w.string(len(3), '1.0');
  w.string(len(4), event.type);
  const attribute = (name: string, value: string): void => {
    const entry = w.open(len(5), name.length + value.length + 4);
    w.string(len(1), name);
    w.string(len(2), value);
    w.close(entry);
  };
  for (const [name, value] of event.attributes) attribute(name, value);
  attribute('hadronpartition', String(partition));
  attribute('hadronoffset', String(offset));
  if (event.data !== undefined && event.data.length > 0) w.bytes(len(6), event.data);
  w.close(opened);
}

export function encodePublished(w: ProtoWriter, offset: number): void {
  if (offset !== 0) w.uint(int(1), offset);
}

export function decodeSubscribe(bytes: Uint8Array): SubscribeRequest {
  const r = new ProtoReader(bytes);
  let request: SubscribeRequest = { kind: 'nothing' };
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) request = { kind: 'setup', setup: decodeSetup(r.message()) };
    else if (t === len(2)) {
      r.skip();
      request = { kind: 'ack' };
    } else if (t === len(3)) request = { kind: 'nack', reason: r.string() };
    else r.skip();
  }
  return request;
}

function decodeSetup(r: ProtoReader): Setup {
  let groupName = '';
  let durable = false;
  let maxBatchSize = 0;
  let start: StartingPoint | undefined;
  for (let t = r.next(); t !== 0; t = r.next()) {
    if (t === len(1)) groupName = r.string();
    else if (t === int(2)) durable = r.bool();
    else if (t === int(3)) maxBatchSize = r.uint32();
    else if (t === len(10) || t === len(11)) {
      r.skip();
      start = t === len(10) ? 'beginning' : 'latest';
    } else if (t === int(12)) start = { offset: r.uint64() };
    else r.skip();
  }
  return { groupName, durable, maxBatchSize, start };
}

export function encodeDelivery(w: ProtoWriter, events: readonly OldEvent[]): void {
  for (const event of events) encodeEvent(w, len(1), event);
  const last = events.at(-1);
  if (last !== undefined && last.offset !== 0) w.uint(int(2), last.offset);
}

export function encodeMetadata(w: ProtoWriter, partitions: readonly OldPartition[]): void {
  for (const { partition, internal, external } of partitions) {
    const opened = w.open(len(1), internal.length + external.length + 8);
    if (partition !== 0) w.uint(int(1), partition);
    w.string(len(2), internal);
    if (external !== '') w.string(len(3), external);
    w.close(opened);
  }
}
