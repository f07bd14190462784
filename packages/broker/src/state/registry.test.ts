/** What the registry remembers of changes, and what replaying a log does, also one of before and over a fuzzy snapshot. */
import type { StateLog, StateRecord } from './state-log.ts';
import { describe, expect, test } from 'vitest';
import { Registry } from './registry.ts';

/** Keeps what is appended, as the log on disk would. */
class Recorder {
  readonly records: StateRecord[] = [];
  readonly registry = new Registry({
    append: (records: readonly StateRecord[]) => this.records.push(...records),
  } as unknown as StateLog);
}

const replayed = (records: Iterable<StateRecord>): Registry => {
  const registry = new Registry({} as StateLog);
  for (const record of records) registry.replay(record);
  return registry;
};

const state = (registry: Registry): string[] =>
  ['A', 'B']
    .flatMap((kind) => [...registry.list(kind)].map((r) => `${kind}/${r.name}@${r.revision}=${String(r.value)}`))
    .sort();

const told = (registry: Registry, kind: string, revision: number): string[] | undefined =>
  registry
    .since(kind, revision)
    ?.map((e) => `${e.type} ${e.resource.name}@${e.revision} after ${e.previous?.revision ?? 'nothing'}`);

function busy(): Recorder {
  const recorder = new Recorder();
  const { registry } = recorder;
  registry.put('A', 'x', 1);
  registry.put('A', 'y', 2);
  registry.put('B', 'x', 3);
  registry.put('A', 'x', 4);
  registry.delete('A', 'y');
  registry.put('A', 'y', 6);
  registry.delete('A', 'x');
  return recorder;
}

describe('history', () => {
  const all = [
    'put x@1 after nothing',
    'put y@2 after nothing',
    'put x@4 after 1',
    'delete y@5 after 2',
    'put y@6 after nothing',
    'delete x@7 after 4',
  ];

  test('every change of a kind behind a revision, live and replayed', () => {
    const { registry, records } = busy();
    for (const r of [registry, replayed(records)]) {
      expect(r.revision).toBe(7);
      expect(told(r, 'A', 0)).toEqual(all);
      expect(told(r, 'A', 4)).toEqual(all.slice(3));
      expect(told(r, 'A', 7)).toEqual([]);
      expect(told(r, 'A', 8)).toBeUndefined();
      expect(told(r, 'A', Number.NaN)).toBeUndefined();
    }
  });

  test('what a snapshot covers is forgotten, what is behind it is known', () => {
    const { registry, records } = busy();
    const snapshot = [...registry.snapshot()];
    const before = records.length;
    registry.put('A', 'z', 8);
    const again = replayed([...snapshot, ...records.slice(before)]);
    expect(state(again)).toEqual(state(registry));
    expect(told(again, 'A', 6)).toBeUndefined();
    expect(told(again, 'A', 7)).toEqual(['put z@8 after nothing']);
  });

  test('is bounded by number and by bytes', () => {
    const many = new Recorder().registry;
    for (let i = 0; i < 5_000; i++) many.put('A', 'x', i);
    expect(many.since('A', 3_900)).toBeUndefined();
    expect(many.since('A', 4_500)).toHaveLength(500);
    const large = new Recorder().registry;
    for (let i = 0; i < 20; i++) large.put('A', 'x', 'v'.repeat(1024 * 1024));
    expect(large.since('A', 0)).toBeUndefined();
    expect(large.since('A', 19)).toHaveLength(1);
  });
});

describe('replay', () => {
  test('twice, from any point, over a snapshot that knows more: the same state and revision', () => {
    const { registry, records } = busy();
    const snapshot = [...registry.snapshot()];
    // A deletion is two records of one batch: a replay begins at a batch.
    const starts = records.flatMap((_, i) => (records[i - 1]?.key.toString() === '_/deletion' ? [] : [i]));
    for (const from of starts) {
      const again = replayed([...snapshot, ...records.slice(from)]);
      expect([state(again), again.revision], `from ${from}`).toEqual([state(registry), 7]);
    }
    const twice = replayed([...records, ...records]);
    expect([state(twice), twice.revision]).toEqual([state(registry), 7]);
  });

  test('a log from before deletions had a revision', () => {
    const { records } = busy();
    const old = replayed(records.filter((r) => r.key.toString() !== '_/deletion'));
    expect([state(old), old.revision]).toEqual([['A/y@6=6', 'B/x@3=3'], 7]);
  });
});
