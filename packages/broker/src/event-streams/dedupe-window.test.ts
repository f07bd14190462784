import type { Random } from '@hadron/base';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DedupeWindow, type FirstPosition } from './dedupe-window.ts';

const random: Random = { bytes: (n) => new Uint8Array(n), u32: () => 0x12345678 };

/** The same by list. */
class NaiveWindow {
  entries: { id: string; at: FirstPosition; timeMs: number; linked: boolean }[] = [];
  readonly entriesMax: number;

  constructor(entriesMax: number) {
    this.entriesMax = entriesMax;
  }

  find(id: string, oldestMs: number): FirstPosition | undefined {
    return this.entries.find((e) => e.linked && e.id === id && e.timeMs >= oldestMs)?.at;
  }

  add(id: string, partition: number, offset: number, timeMs: number, oldestMs: number): void {
    while (this.entries[0] !== undefined && this.entries[0].timeMs < oldestMs) this.entries.shift();
    const known = this.entries.find((e) => e.linked && e.id === id);
    if (known !== undefined && known.timeMs >= oldestMs) return;
    if (known !== undefined) known.linked = false;
    if (this.entries.length === this.entriesMax) this.entries.shift();
    this.entries.push({ id, at: { partition, offset }, timeMs, linked: true });
  }

  forget(id: string): void {
    for (const e of this.entries) if (e.id === id) e.linked = false;
  }
}

describe('the deduplication window', () => {
  test('does what a list would do, over many adds, evictions and replacements', () => {
    const step = fc.record({
      what: fc.constantFrom('add', 'add', 'add', 'find', 'forget'),
      id: fc.nat(30).map(String),
      wait: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 7, 300), fc.array(step, { maxLength: 400 }), (entriesMax, steps) => {
        const window = new DedupeWindow(entriesMax, random);
        const naive = new NaiveWindow(entriesMax);
        let now = 1_000;
        steps.forEach(({ what, id, wait }, i) => {
          now += wait;
          const oldest = now - 100;
          if (what === 'add') {
            window.add('/s', id, i % 3, i, now, oldest);
            naive.add(id, i % 3, i, now, oldest);
          } else if (what === 'forget') {
            window.forget('/s', id);
            naive.forget(id);
          }
          expect(window.find('/s', id, oldest)).toEqual(naive.find(id, oldest));
          expect(window.size).toBe(naive.entries.length);
        });
        for (let id = 0; id <= 30; id++) {
          expect(window.find('/s', String(id), now - 100)).toEqual(naive.find(String(id), now - 100));
        }
      }),
      { numRuns: 200 },
    );
  });

  test('source and id count, and where one ends', () => {
    const window = new DedupeWindow(10, random);
    window.add('/a', 'bc', 1, 2, 0, 0);
    expect(window.find('/a', 'bc', 0)).toEqual({ partition: 1, offset: 2 });
    for (const [source, id] of [
      ['/ab', 'c'],
      ['/a', 'b'],
      ['/abc', ''],
      ['', '/abc'],
      ['/b', 'bc'],
    ] as const) {
      expect(window.find(source, id, 0)).toBeUndefined();
    }
  });

  test.each([1_000, 100_000, 131_073, 300_000])(
    '%i entries take 40 bytes each at most, and the oldest go first',
    (entriesMax) => {
      const window = new DedupeWindow(entriesMax, random);
      for (let i = 0; i < entriesMax + 10; i++) window.add('/shop/orders', `order-${i}`, 3, 2 ** 40 + i, i, 0);
      expect(window.size).toBe(entriesMax);
      expect(window.bytes).toBeLessThanOrEqual(40 * entriesMax);
      for (let i = 0; i < 10; i++) expect(window.find('/shop/orders', `order-${i}`, 0)).toBeUndefined();
      for (let i = 10; i < entriesMax + 10; i += 97) {
        expect(window.find('/shop/orders', `order-${i}`, 0)).toEqual({ partition: 3, offset: 2 ** 40 + i });
      }
    },
  );

  test('identities that differ little do not meet: each third of the hash spreads as chance would', () => {
    const window = new DedupeWindow(60_000, random);
    const seen = [new Set<number>(), new Set<number>(), new Set<number>()];
    const n = 60_000;
    for (let i = 0; i < n; i++) {
      window.add('/s', String(i), 0, i, 0, 0);
      const { h0, h1, h2 } = window as unknown as { h0: number; h1: number; h2: number };
      seen[0]?.add(h0);
      seen[1]?.add(h1);
      seen[2]?.add(h2);
    }
    // By chance n² / 2³³ = 0.42 pairs meet in 32 bits.
    for (const s of seen) expect(n - s.size).toBeLessThan(10);
  });
});
