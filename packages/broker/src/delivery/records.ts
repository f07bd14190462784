/**
 * What the log `__deliveries` of a shard holds. Keys name what a record is about, values say what happened or how it is.
 *
 *     key                                  value, behind a version byte
 *     1                                    start of the server: u number
 *     2 u32 group                          the group: JSON; null: removed
 *     3 u32 group u32 partition            a set: readTo, runs settled, redrives settled, failed attempts
 *     4 u32 group u32 partition            the whole progress: snapshots and seeks
 *     5 u32 group u32 partition            a redrive
 *     6 u64 number                         the outbox: a record or a redrive for another shard; null: it arrived
 *     7 u32 shard                          of that shard's outbox everything up to u number has arrived here
 *
 * `u` is an unsigned LEB128 varint, runs are differences from number to number. A newer version byte is refused
 * (DATA_FORMAT_NEWER), bytes that do not add up are DATA_DAMAGED.
 */
import { HadronError, readI64, readU32, writeI32, writeI64 } from '@hadron/base';
import type { GroupSettings } from '@hadron/contracts';
import type { StateRecord } from '../ports/event-log.ts';
import type { RecordSet } from './core/machine.ts';
import { type Failure, type Mark, Progress, type Redrive } from './core/progress.ts';

const VERSION = 1;
const LIST_MAX = 16_000_000;
const TEXT_MAX = 65_536;

/** A group as it is recorded on each shard that has partitions of it. */
export interface GroupRecord {
  readonly topicId: string;
  readonly stream: string;
  /** Empty: which dead letters of this stream are open (D19). */
  readonly group: string;
  readonly settings: GroupSettings;
  readonly paused: boolean;
  /** Where it began, by partition. Partitions that are not named begin at 0. */
  readonly starts: Readonly<Record<string, number>>;
}

/** What is on its way to another shard (D2). */
export type OutboxEntry = {
  readonly shard: number;
  readonly topicId: string;
  readonly partition: number;
} & (
  | { readonly kind: 'records'; readonly stream: string; readonly batch: Buffer }
  | { readonly kind: 'redrive'; readonly group: number; readonly redrive: Omit<Redrive, 'id'> }
);

export type Entry =
  | { readonly kind: 'boot'; readonly boot: number }
  | { readonly kind: 'group'; readonly id: number; readonly group: GroupRecord | null }
  | {
      readonly kind: 'set';
      readonly id: number;
      readonly partition: number;
      readonly readTo: number;
      readonly runs: readonly number[];
      readonly redrives: readonly number[];
      readonly failures: readonly { readonly id: number; readonly failure: Failure }[];
    }
  | { readonly kind: 'progress'; readonly id: number; readonly partition: number; readonly progress: Progress }
  | { readonly kind: 'redrive'; readonly id: number; readonly partition: number; readonly redrive: Redrive }
  | { readonly kind: 'outbox'; readonly number: number; readonly entry: OutboxEntry | null }
  | { readonly kind: 'arrived'; readonly shard: number; readonly number: number };

const KIND = { boot: 1, group: 2, set: 3, progress: 4, redrive: 5, outbox: 6, arrived: 7 } as const;

// ------------------------------------------------------------------------------------------------------------- encode

export function bootRecord(boot: number): StateRecord {
  const w = new Writer();
  w.uint(boot);
  return { key: Buffer.of(KIND.boot), value: w.done() };
}

export function groupRecord(id: number, group: GroupRecord | null): StateRecord {
  const value = group === null ? null : Buffer.concat([Buffer.of(VERSION), Buffer.from(JSON.stringify(group))]);
  return { key: key(KIND.group, id), value };
}

export function setRecord(id: number, partition: number, set: RecordSet): StateRecord {
  const w = new Writer();
  w.uint(set.readTo);
  w.ascending(set.runs);
  w.list(set.redrives, (redrive) => w.uint(-redrive));
  w.list(set.failures, (f) => w.failure(f.id, f.failure));
  return { key: key(KIND.set, id, partition), value: w.done() };
}

export function progressRecord(id: number, partition: number, progress: Progress): StateRecord {
  const w = new Writer();
  w.uint(progress.readTo);
  const runs: number[] = [];
  for (const [from, to] of progress.unsettled.runs()) runs.push(from, to);
  w.ascending(runs);
  w.ascending([...(progress.ahead ?? [])].sort((a, b) => a - b));
  w.list([...(progress.failures ?? [])], ([failed, failure]) => w.failure(failed, failure));
  w.uint(progress.lastRedrive);
  w.list([...(progress.redrives?.values() ?? [])], (redrive) => w.redrive(redrive));
  w.uint(progress.mark.boot);
  w.uint(progress.mark.handout);
  return { key: key(KIND.progress, id, partition), value: w.done() };
}

export function redriveRecord(id: number, partition: number, redrive: Redrive): StateRecord {
  const w = new Writer();
  w.redrive(redrive);
  return { key: key(KIND.redrive, id, partition), value: w.done() };
}

export function outboxRecord(number: number, entry: OutboxEntry | null): StateRecord {
  const k = Buffer.alloc(9);
  k[0] = KIND.outbox;
  writeI64(k, 1, number);
  if (entry === null) return { key: k, value: null };
  const w = new Writer();
  w.uint(entry.shard);
  w.text(entry.topicId);
  w.uint(entry.partition);
  if (entry.kind === 'records') {
    w.uint(0);
    w.text(entry.stream);
    w.bytes(entry.batch);
  } else {
    w.uint(1);
    w.uint(entry.group);
    w.redrive({ ...entry.redrive, id: 0 });
  }
  return { key: k, value: w.done() };
}

export function arrivedRecord(shard: number, number: number): StateRecord {
  const w = new Writer();
  w.uint(number);
  return { key: key(KIND.arrived, shard), value: w.done() };
}

function key(kind: number, id: number, partition?: number): Buffer {
  const k = Buffer.alloc(partition === undefined ? 5 : 9);
  k[0] = kind;
  writeI32(k, 1, id);
  if (partition !== undefined) writeI32(k, 5, partition);
  return k;
}

// ------------------------------------------------------------------------------------------------------------- decode

/** @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER */
export function decodeEntry({ key: k, value }: StateRecord): Entry {
  const kind = k[0];
  const r = value === null ? undefined : new Reader(value);
  const id = k.length >= 5 ? readU32(k, 1) : 0;
  const partition = k.length >= 9 ? readU32(k, 5) : 0;
  const entry = decodeBody(kind, k, id, partition, r);
  r?.end();
  return entry;
}

function decodeBody(
  kind: number | undefined,
  k: Uint8Array,
  id: number,
  partition: number,
  r: Reader | undefined,
): Entry {
  switch (kind) {
    case KIND.boot:
      return { kind: 'boot', boot: some(r).uint() };
    case KIND.group:
      return { kind: 'group', id, group: r === undefined ? null : (r.json() as GroupRecord) };
    case KIND.set:
      return {
        kind: 'set',
        id,
        partition,
        readTo: some(r).uint(),
        runs: some(r).ascending(2),
        redrives: some(r).list(() => -some(r).uint()),
        failures: some(r).list(() => some(r).failure()),
      };
    case KIND.progress:
      return { kind: 'progress', id, partition, progress: decodeProgress(some(r)) };
    case KIND.redrive:
      return { kind: 'redrive', id, partition, redrive: some(r).redrive() };
    case KIND.outbox:
      if (k.length !== 9) throw damaged('the key of an outbox entry');
      return { kind: 'outbox', number: readI64(k, 1), entry: r === undefined ? null : decodeOutbox(r) };
    case KIND.arrived:
      return { kind: 'arrived', shard: id, number: some(r).uint() };
    default:
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `a record of kind ${String(kind)} in __deliveries is not known; start the newer Hadron that wrote it`,
      );
  }
}

function decodeProgress(r: Reader): Progress {
  const readTo = r.uint();
  const progress = new Progress(readTo);
  const runs = r.ascending(2);
  for (let i = 0; i < runs.length; i += 2) {
    const to = runs[i + 1] as number;
    if (to > readTo) throw damaged('an unsettled offset behind what was read');
    progress.unsettled.addRange(runs[i] as number, to);
  }
  const ahead = r.ascending(1);
  if (ahead.length > 0) progress.ahead = new Set(ahead);
  const failures = r.list(() => r.failure());
  if (failures.length > 0) progress.failures = new Map(failures.map((f) => [f.id, f.failure]));
  const lastRedrive = r.uint();
  for (const redrive of r.list(() => r.redrive())) progress.redrive(redrive);
  progress.lastRedrive = Math.max(progress.lastRedrive, lastRedrive);
  const mark: Mark = { boot: r.uint(), handout: r.uint() };
  progress.mark = mark;
  return progress;
}

function decodeOutbox(r: Reader): OutboxEntry {
  const target = { shard: r.uint(), topicId: r.text(), partition: r.uint() };
  if (r.uint() === 0) return { ...target, kind: 'records', stream: r.text(), batch: r.bytes() };
  return { ...target, kind: 'redrive', group: r.uint(), redrive: r.redrive() };
}

function some(r: Reader | undefined): Reader {
  if (r === undefined) throw damaged('a record without a value');
  return r;
}

const damaged = (what: string): HadronError =>
  new HadronError('DATA_DAMAGED', `__deliveries holds ${what}; restore the data folder from a copy`);

// -------------------------------------------------------------------------------------------------------------- bytes

class Writer {
  #bytes = Buffer.allocUnsafe(64);
  #at = 0;

  constructor() {
    this.#bytes[this.#at++] = VERSION;
  }

  uint(value: number): void {
    this.#room(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  bytes(value: Uint8Array): void {
    this.uint(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  text(value: string): void {
    this.bytes(Buffer.from(value));
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.uint(items.length);
    for (const item of items) write(item);
  }

  ascending(numbers: readonly number[]): void {
    this.uint(numbers.length);
    let last = 0;
    for (const n of numbers) {
      this.uint(n - last);
      last = n;
    }
  }

  failure(id: number, f: Failure): void {
    this.uint(id < 0 ? -id * 2 - 1 : id * 2);
    this.uint(f.attempts);
    this.uint(f.firstMs);
    this.uint(f.lastMs);
    this.uint(f.dueMs);
    this.text(f.code);
    this.text(f.reason);
  }

  redrive(r: Redrive): void {
    this.uint(-r.id);
    this.uint(r.offset);
    this.uint(r.number);
    this.text(r.topicId);
    this.uint(r.partition);
    this.uint(r.position);
  }

  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #room(n: number): void {
    if (this.#at + n <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + n));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 1;

  constructor(bytes: Uint8Array) {
    const version = bytes[0];
    if (version === undefined) throw damaged('an empty value');
    if (version > VERSION) {
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `__deliveries has format ${version}, this Hadron reads up to ${VERSION}; start the newer Hadron that wrote it`,
      );
    }
    this.#bytes = bytes;
  }

  uint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++, scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw damaged('a number that is cut off');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw damaged('a number that is too large');
  }

  bytes(): Buffer {
    const length = this.uint();
    if (this.#at + length > this.#bytes.length) throw damaged('bytes that are cut off');
    const value = Buffer.from(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return value;
  }

  text(): string {
    const bytes = this.bytes();
    if (bytes.length > TEXT_MAX) throw damaged('a text that is too long');
    return bytes.toString('utf8');
  }

  /** The rest. */
  json(): unknown {
    const text = Buffer.from(this.#bytes.subarray(this.#at)).toString('utf8');
    this.#at = this.#bytes.length;
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null && 'topicId' in value && 'settings' in value) return value;
    } catch {
      // said below
    }
    throw damaged('a group that cannot be read');
  }

  list<T>(read: () => T): T[] {
    const length = this.#length();
    const items: T[] = [];
    for (let i = 0; i < length; i++) items.push(read());
    return items;
  }

  /** Numbers that grow; in pairs `from < to` with `step` 2. */
  ascending(step: 1 | 2): number[] {
    const length = this.#length();
    if (length % step !== 0) throw damaged('half a run');
    const numbers: number[] = [];
    let last = 0;
    for (let i = 0; i < length; i++) {
      const next = last + this.uint();
      if ((i > 0 && next <= last) || !Number.isSafeInteger(next)) throw damaged('runs out of order');
      numbers.push(next);
      last = next;
    }
    return numbers;
  }

  failure(): { readonly id: number; readonly failure: Failure } {
    const coded = this.uint();
    const id = coded % 2 === 1 ? -(coded + 1) / 2 : coded / 2;
    const failure = {
      attempts: this.uint(),
      firstMs: this.uint(),
      lastMs: this.uint(),
      dueMs: this.uint(),
      code: this.text(),
      reason: this.text(),
    };
    return { id, failure };
  }

  redrive(): Redrive {
    return {
      id: -this.uint(),
      offset: this.uint(),
      number: this.uint(),
      topicId: this.text(),
      partition: this.uint(),
      position: this.uint(),
    };
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw damaged('bytes behind a record');
  }

  /** A list cannot have more items than there are bytes left. */
  #length(): number {
    const length = this.uint();
    if (length > this.#bytes.length - this.#at || length > LIST_MAX) throw damaged('a list that is too long');
    return length;
  }
}
