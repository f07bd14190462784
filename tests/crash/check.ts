/**
 * The judgement at the end of a crash run: pure functions over what the clients know (ledger.ts) and what a fresh client
 * reads back. Each returns a list of sentences; an empty list is a pass.
 */
import { type KeyState, type Ledger, place } from './ledger.ts';

export interface ReadRecord {
  readonly offset: number;
  readonly crc: number;
  /** Empty when no producer of ours made it. */
  readonly key: string;
  readonly counter: number;
  readonly intact: boolean;
}

/** What one partition holds, in the order in which it was read. */
export interface ReadPartition {
  readonly topic: string;
  readonly partition: number;
  readonly end: number;
  readonly records: readonly ReadRecord[];
}

/** topic/partition → what was read */
export type ReadBack = ReadonlyMap<string, ReadPartition>;

export interface Verdict {
  readonly name: string;
  readonly problems: readonly string[];
  readonly note: string;
}

export function judge(ledger: Ledger, read: ReadBack, groups: ReadonlyMap<string, readonly string[]>): Verdict[] {
  const found = byKey(read);
  return [
    verdict('nothing acknowledged is lost', lost(ledger, found), `${count(ledger)} acknowledged records`),
    verdict('nothing is there twice under idempotence', duplicated(ledger, found), plainDuplicates(ledger, found)),
    verdict('order is kept per key and partition', disordered(ledger, found), `${ledger.keys.size} keys`),
    verdict('every byte is the one that was sent', altered(ledger, read), `${total(read)} records read back`),
    verdict('offsets are dense', sparse(read), `${read.size} partitions`),
    verdict('records are where their answers said', misplaced(ledger, read), `${sizes(ledger.ackedAt)} answers`),
    verdict('what a reader was shown is still there', vanished(ledger, read), `${groups.size} groups`),
    verdict('every group was given everything', unread(ledger, read, groups), `${groups.size} groups`),
    verdict('nothing contradicted itself on the way', ledger.problems, ''),
  ];
}

interface Found {
  readonly counter: number;
  readonly at: string;
}

/** Per key, in read order. */
function byKey(read: ReadBack): Map<string, Found[]> {
  const found = new Map<string, Found[]>();
  for (const [at, { records }] of read) {
    for (const { key, counter } of records) {
      const list = found.get(key);
      if (list === undefined) found.set(key, [{ counter, at }]);
      else list.push({ counter, at });
    }
  }
  return found;
}

function lost(ledger: Ledger, found: Map<string, Found[]>): string[] {
  const problems: string[] = [];
  for (const state of ledger.keys.values()) {
    const there = new Set(found.get(state.key)?.map(({ counter }) => counter));
    const missing: number[] = [];
    for (let n = 0; n < state.acked; n++) if (!there.has(n) && !state.givenUp.has(n)) missing.push(n);
    if (missing.length > 0) problems.push(`${name(state)}: lost ${ranges(missing)} of 0..${state.acked - 1}`);
  }
  return problems;
}

function duplicated(ledger: Ledger, found: Map<string, Found[]>): string[] {
  const problems: string[] = [];
  for (const state of ledger.keys.values()) {
    if (!state.exact) continue;
    const twice = repeats(found.get(state.key) ?? []);
    if (twice.length > 0) problems.push(`${name(state)}: more than once ${ranges(twice)}`);
  }
  return problems;
}

function plainDuplicates(ledger: Ledger, found: Map<string, Found[]>): string {
  let sum = 0;
  for (const state of ledger.keys.values()) if (!state.exact) sum += repeats(found.get(state.key) ?? []).length;
  return `${sum} repeats from producers without idempotence, which is allowed`;
}

function repeats(list: readonly Found[]): number[] {
  const seen = new Set<number>();
  const twice: number[] = [];
  for (const { counter } of list) {
    if (seen.has(counter)) twice.push(counter);
    seen.add(counter);
  }
  return twice;
}

/** Of a record that is there more than once the first one counts. */
function disordered(ledger: Ledger, found: Map<string, Found[]>): string[] {
  const problems: string[] = [];
  for (const state of ledger.keys.values()) {
    const list = found.get(state.key) ?? [];
    const partitions = new Set(list.map(({ at }) => at));
    if (partitions.size > 1) problems.push(`${name(state)}: in several partitions: ${[...partitions].join(', ')}`);
    if (state.partition >= 0 && partitions.size === 1 && !partitions.has(place(state.topic, state.partition))) {
      problems.push(`${name(state)}: in ${[...partitions].join()}, sent to partition ${state.partition}`);
    }
    const seen = new Set<number>();
    let last = -1;
    for (const { counter } of list) {
      if (seen.has(counter)) continue;
      seen.add(counter);
      if (counter < last) {
        problems.push(`${name(state)}: ${counter} comes after ${last}`);
        break;
      }
      last = counter;
    }
  }
  return problems;
}

function altered(ledger: Ledger, read: ReadBack): string[] {
  const problems: string[] = [];
  for (const [at, { records }] of read) {
    for (const { offset, key, counter, intact } of records) {
      const state = ledger.keys.get(key);
      if (state === undefined) problems.push(`${at} offset ${offset}: nobody sent this`);
      else if (counter >= state.sent) problems.push(`${at} offset ${offset}: ${name(state)} ${counter} was never sent`);
      else if (!intact) problems.push(`${at} offset ${offset}: ${name(state)} ${counter} has other bytes`);
    }
  }
  return problems;
}

function sparse(read: ReadBack): string[] {
  const problems: string[] = [];
  for (const [at, { records, end }] of read) {
    let next = 0;
    for (const { offset } of records) {
      if (offset !== next) {
        problems.push(`${at}: offset ${offset} where ${next} was due`);
        break;
      }
      next = offset + 1;
    }
    if (next !== end && problems.length === 0) problems.push(`${at}: read up to ${next}, the end is ${end}`);
  }
  return problems;
}

function misplaced(ledger: Ledger, read: ReadBack): string[] {
  const problems: string[] = [];
  for (const [at, answers] of ledger.ackedAt) {
    const there = new Map(read.get(at)?.records.map((record) => [record.offset, record]));
    for (const [offset, { key, counter }] of answers) {
      const record = there.get(offset);
      if (record?.key === key && record.counter === counter) continue;
      const instead = record === undefined ? 'nothing' : `${record.key}#${record.counter}`;
      problems.push(`${at} offset ${offset}: acknowledged ${key}#${counter}, there is ${instead}`);
    }
  }
  return problems;
}

function vanished(ledger: Ledger, read: ReadBack): string[] {
  const problems: string[] = [];
  for (const [group, partitions] of ledger.shown) {
    for (const [at, shown] of partitions) {
      const there = new Map(read.get(at)?.records.map(({ offset, crc }) => [offset, crc]));
      const gone = [...shown].filter(([offset, crc]) => there.get(offset) !== crc).map(([offset]) => offset);
      if (gone.length > 0) problems.push(`${group}: ${at} showed other records before at offsets ${ranges(gone)}`);
    }
  }
  return problems;
}

function unread(ledger: Ledger, read: ReadBack, groups: ReadonlyMap<string, readonly string[]>): string[] {
  const problems: string[] = [];
  for (const [group, topics] of groups) {
    for (const [at, { topic, records }] of read) {
      if (!topics.includes(topic)) continue;
      const shown = ledger.shown.get(group)?.get(at);
      const missing = records.filter(({ offset }) => shown?.has(offset) !== true).map(({ offset }) => offset);
      if (missing.length > 0) problems.push(`${group}: never given ${at} offsets ${ranges(missing)}`);
    }
  }
  return problems;
}

/** Whether a committed offset went back. @param floors taken before the answer was asked for */
export function wentBack(
  group: string,
  floors: ReadonlyMap<string, number>,
  now: ReadonlyMap<string, number>,
): string[] {
  const problems: string[] = [];
  for (const [at, floor] of floors) {
    const offset = now.get(at) ?? -1;
    if (offset < floor) problems.push(`${group}: committed offset of ${at} went back from ${floor} to ${offset}`);
  }
  return problems;
}

/** `3, 7..9, … (200 in all)` */
function ranges(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length && parts.length < 6; ) {
    let j = i;
    while (j + 1 < sorted.length && sorted[j + 1]! <= sorted[j]! + 1) j++;
    parts.push(i === j ? String(sorted[i]) : `${sorted[i]}..${sorted[j]}`);
    i = j + 1;
  }
  return `${parts.join(', ')} (${sorted.length} in all)`;
}

const verdict = (name: string, problems: readonly string[], note: string): Verdict => ({ name, problems, note });
const name = (state: KeyState): string => `key ${state.key} of ${state.topic}`;
const total = (read: ReadBack): number => [...read.values()].reduce((sum, { records }) => sum + records.length, 0);

function sizes(maps: ReadonlyMap<string, ReadonlyMap<number, unknown>>): number {
  return [...maps.values()].reduce((sum, map) => sum + map.size, 0);
}

function count(ledger: Ledger): number {
  return [...ledger.keys.values()].reduce((sum, { acked, givenUp }) => sum + acked - givenUp.size, 0);
}
