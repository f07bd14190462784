import { HadronError, isSafeI64, readI64, writeI64 } from '@hadron/base';
import type { Protocol, StateRecord } from './types.ts';

/**
 * What the coordinator keeps on disk, and its bytes.
 *
 *   group key    ┌──┬─────────┐            offset key    ┌──┬─────────┬─────────┬───────────┐
 *                │ 1│ group id│                          │ 2│ group id│  topic  │ partition │
 *                └──┴─────────┘                          └──┴─────────┴─────────┴───────────┘
 *   group value  version u8 = 1 · state u8 (0 Empty, 1 CompletingRebalance, 2 Stable) · generation · empty since i64 ·
 *                protocol type? · protocol name? · leader? · members n × { id · instance id? · client id · client host ·
 *                session timeout · rebalance timeout · protocols n × { name · metadata } · assignment }
 *   offset value version u8 = 1 · topic id · offset i64 · leader epoch + 1 · metadata · committed at i64 · expires at i64
 *
 * string, bytes = varint length, then the bytes (UTF-8 for strings); `?` = varint length + 1, 0 for null; numbers are
 * unsigned varints unless i64 is said. A topic id is u8 1 and 16 bytes when it is a UUID, else u8 0 and a string.
 *
 * A record is a whole value: replaying one twice, or an older one before a newer one, ends in the same state. That is
 * what lets compaction and slowly drained snapshots be simple.
 *
 * To change a layout: a new version byte, a decoder for both. A version this code does not know is refused with
 * DATA_FORMAT_NEWER; bytes that do not parse to the last one are DATA_DAMAGED. Lengths and counts are checked
 * against the bytes that are really there before anything is allocated for them.
 */

/** The states a group can have on disk. PreparingRebalance is not one: a crash in it returns to the generation before. */
export type DurableState = 'Empty' | 'CompletingRebalance' | 'Stable';

/** A group as the log knows it. Immutable; replaced as a whole. */
export interface GroupImage {
  readonly state: DurableState;
  readonly generation: number;
  /** Wall milliseconds at which the group became Empty, −1 in other states. Offset retention counts from it. */
  readonly emptySinceMs: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leaderId: string | null;
  readonly members: readonly MemberImage[];
}

/** The durable part of a member. Immutable; replaced as a whole. */
export interface MemberImage {
  readonly id: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocols: readonly Protocol[];
  readonly assignment: Uint8Array;
}

export interface CommittedOffset {
  readonly topicId: string;
  readonly offset: number;
  /** −1: unknown. */
  readonly leaderEpoch: number;
  readonly metadata: string;
  /** Wall milliseconds. */
  readonly committedAtMs: number;
  /** Wall milliseconds asked for by an old client, −1: the setting decides. */
  readonly expiresAtMs: number;
}

/** One step of the durable state: what a record says. A null deletes. */
export type Change =
  | { readonly type: 'group'; readonly groupId: string; readonly image: GroupImage | null }
  | {
      readonly type: 'offset';
      readonly groupId: string;
      readonly topic: string;
      readonly partition: number;
      readonly committed: CommittedOffset | null;
    };

const KEY_GROUP = 1;
const KEY_OFFSET = 2;
const GROUP_VERSION = 1;
const OFFSET_VERSION = 1;
const STATES: readonly DurableState[] = ['Empty', 'CompletingRebalance', 'Stable'];
/** The least bytes one member and one protocol can take: caps a count before it is believed. */
const MEMBER_BYTES_MIN = 8;
const PROTOCOL_BYTES_MIN = 2;

export function encodeChange(change: Change): StateRecord {
  const w = new Writer();
  if (change.type === 'group') {
    w.u8(KEY_GROUP);
    w.string(change.groupId);
    const key = w.take();
    return { key, value: change.image === null ? null : encodeGroup(w, change.image) };
  }
  w.u8(KEY_OFFSET);
  w.string(change.groupId);
  w.string(change.topic);
  w.varint(change.partition);
  const key = w.take();
  return { key, value: change.committed === null ? null : encodeOffset(w, change.committed) };
}

/**
 * @throws HadronError DATA_FORMAT_NEWER for a kind or version of a newer Hadron, DATA_DAMAGED for anything that does not
 * parse exactly
 */
export function decodeRecord(record: StateRecord): Change {
  const r = new Reader(record.key);
  const kind = r.u8();
  if (kind !== KEY_GROUP && kind !== KEY_OFFSET) {
    throw new HadronError(
      'DATA_FORMAT_NEWER',
      `a group record of kind ${kind}; this Hadron knows 1 and 2. Use the newer one.`,
    );
  }
  const groupId = r.string();
  if (kind === KEY_GROUP) {
    r.end();
    return { type: 'group', groupId, image: record.value === null ? null : decodeGroup(record.value) };
  }
  const topic = r.string();
  const partition = r.varint();
  r.end();
  const committed = record.value === null ? null : decodeOffset(record.value);
  return { type: 'offset', groupId, topic, partition, committed };
}

function encodeGroup(w: Writer, image: GroupImage): Uint8Array {
  w.u8(GROUP_VERSION);
  w.u8(STATES.indexOf(image.state));
  w.varint(image.generation);
  w.i64(image.emptySinceMs);
  w.nullableString(image.protocolType);
  w.nullableString(image.protocolName);
  w.nullableString(image.leaderId);
  w.varint(image.members.length);
  for (const member of image.members) {
    w.string(member.id);
    w.nullableString(member.instanceId);
    w.string(member.clientId);
    w.string(member.clientHost);
    w.varint(member.sessionTimeoutMs);
    w.varint(member.rebalanceTimeoutMs);
    w.varint(member.protocols.length);
    for (const protocol of member.protocols) {
      w.string(protocol.name);
      w.bytes(protocol.metadata);
    }
    w.bytes(member.assignment);
  }
  return w.take();
}

function decodeGroup(value: Uint8Array): GroupImage {
  const r = new Reader(value);
  r.version(GROUP_VERSION, 'group');
  const state = STATES[r.u8()];
  if (state === undefined) throw damaged('an unknown group state');
  const generation = r.varint();
  const emptySinceMs = r.i64();
  const protocolType = r.nullableString();
  const protocolName = r.nullableString();
  const leaderId = r.nullableString();
  const members: MemberImage[] = [];
  for (let left = r.count(MEMBER_BYTES_MIN); left > 0; left--) {
    const id = r.string();
    const instanceId = r.nullableString();
    const clientId = r.string();
    const clientHost = r.string();
    const sessionTimeoutMs = r.varint();
    const rebalanceTimeoutMs = r.varint();
    const protocols: Protocol[] = [];
    for (let more = r.count(PROTOCOL_BYTES_MIN); more > 0; more--)
      protocols.push({ name: r.string(), metadata: r.bytes() });
    const assignment = r.bytes();
    members.push({ id, instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols, assignment });
  }
  r.end();
  return { state, generation, emptySinceMs, protocolType, protocolName, leaderId, members };
}

function encodeOffset(w: Writer, committed: CommittedOffset): Uint8Array {
  w.u8(OFFSET_VERSION);
  w.topicId(committed.topicId);
  w.i64(committed.offset);
  w.varint(committed.leaderEpoch + 1);
  w.string(committed.metadata);
  w.i64(committed.committedAtMs);
  w.i64(committed.expiresAtMs);
  return w.take();
}

function decodeOffset(value: Uint8Array): CommittedOffset {
  const r = new Reader(value);
  r.version(OFFSET_VERSION, 'offset');
  const topicId = r.topicId();
  const offset = r.i64();
  const leaderEpoch = r.varint() - 1;
  const metadata = r.string();
  const committedAtMs = r.i64();
  const expiresAtMs = r.i64();
  r.end();
  return { topicId, offset, leaderEpoch, metadata, committedAtMs, expiresAtMs };
}

function damaged(what: string): HadronError {
  return new HadronError('DATA_DAMAGED', `a group record holds ${what}.`);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Writer {
  #b = Buffer.allocUnsafe(256);
  #at = 0;

  /** What was written since the last take, in memory of its own. */
  take(): Uint8Array {
    const out = new Uint8Array(this.#at);
    out.set(this.#b.subarray(0, this.#at));
    this.#at = 0;
    return out;
  }

  u8(value: number): void {
    this.#room(1);
    this.#b[this.#at++] = value;
  }

  varint(value: number): void {
    this.#room(5);
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.#b[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#b[this.#at++] = rest;
  }

  i64(value: number): void {
    this.#room(8);
    writeI64(this.#b, this.#at, value);
    this.#at += 8;
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.#raw(value);
  }

  string(value: string): void {
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.#room(length);
    this.#at += this.#b.write(value, this.#at, 'utf8');
  }

  nullableString(value: string | null): void {
    if (value === null) return this.varint(0);
    const length = Buffer.byteLength(value);
    this.varint(length + 1);
    this.#room(length);
    this.#at += this.#b.write(value, this.#at, 'utf8');
  }

  topicId(value: string): void {
    const isUuid = UUID.test(value);
    this.u8(isUuid ? 1 : 0);
    if (isUuid) this.#raw(Buffer.from(value.replaceAll('-', ''), 'hex'));
    else this.string(value);
  }

  #raw(value: Uint8Array): void {
    this.#room(value.length);
    this.#b.set(value, this.#at);
    this.#at += value.length;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#b.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#b.length * 2, this.#at + bytes));
    grown.set(this.#b.subarray(0, this.#at));
    this.#b = grown;
  }
}

class Reader {
  readonly #b: Uint8Array;
  #at = 0;

  constructor(b: Uint8Array) {
    this.#b = b;
  }

  u8(): number {
    return this.#b[this.#advance(1)] as number;
  }

  varint(): number {
    let value = 0;
    for (let factor = 1, i = 0; i < 5; i++, factor *= 0x80) {
      const byte = this.u8();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (value > 0xffff_ffff || (byte === 0 && i > 0)) break;
        return value;
      }
    }
    throw damaged('a number that is not a 32-bit varint');
  }

  i64(): number {
    const at = this.#advance(8);
    if (!isSafeI64(this.#b, at)) throw damaged('a number beyond 2^53');
    return readI64(this.#b, at);
  }

  /** A copy: the record may be a view of a large segment buffer that must not be kept alive. */
  bytes(): Uint8Array {
    const length = this.varint();
    const at = this.#advance(length);
    return new Uint8Array(this.#b.subarray(at, at + length));
  }

  string(): string {
    return this.#text(this.varint());
  }

  nullableString(): string | null {
    const length = this.varint();
    return length === 0 ? null : this.#text(length - 1);
  }

  topicId(): string {
    const form = this.u8();
    if (form === 0) return this.string();
    if (form !== 1) throw damaged('a topic id of an unknown form');
    const at = this.#advance(16);
    const hex = Buffer.from(this.#b.buffer, this.#b.byteOffset + at, 16).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  /** How many things follow, each of at least `bytesMin` bytes. */
  count(bytesMin: number): number {
    const count = this.varint();
    if (count * bytesMin > this.#b.length - this.#at) throw damaged('a count larger than the record');
    return count;
  }

  version(known: number, what: string): void {
    const version = this.u8();
    if (version === 0) throw damaged(`version 0 of a ${what}`);
    if (version > known) {
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `a ${what} record of version ${version}; this Hadron knows up to ${known}. Use the newer one.`,
      );
    }
  }

  end(): void {
    if (this.#at !== this.#b.length) throw damaged('bytes after its end');
  }

  #text(length: number): string {
    const at = this.#advance(length);
    try {
      return utf8.decode(this.#b.subarray(at, at + length));
    } catch {
      throw damaged('text that is not UTF-8');
    }
  }

  #advance(length: number): number {
    const at = this.#at;
    if (length > this.#b.length - at) throw damaged('less than it announces');
    this.#at = at + length;
    return at;
  }
}
