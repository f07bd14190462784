import { describe, expect, test } from 'vitest';
import { BATCHES_REMEMBERED, ProducerStates, sequenceAfter } from './producer-state.ts';

const MAX = 2_147_483_647;

test('R13.3 sequences wrap from 2147483647 to 0', () => {
  expect([sequenceAfter(MAX, 1), sequenceAfter(MAX, 2), sequenceAfter(MAX - 3, 10), sequenceAfter(0, 5)]).toEqual([
    0, 1, 6, 5,
  ]);
});

describe('R13 against a model that remembers everything', () => {
  test.each([1, 2, 3, 4, 5, 6])('seed %i', (seed) => {
    let x = seed;
    const below = (n: number): number => (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) % n;
    let states = new ProducerStates();
    const start = below(2) === 0 ? 0 : MAX - 20;
    const written: { sequence: number; count: number; offset: number }[] = [];
    let next = start;
    let offset = 0;
    for (let step = 0; step < 400; step++) {
      if (below(20) === 0) {
        // A restart: what was encoded comes back, and replay tells of the last batches again.
        const bytes = states.encode();
        states = bytes === undefined ? new ProducerStates() : ProducerStates.decode(bytes);
        for (const b of written.slice(-3)) states.appended(7, 1, b.sequence, b.count, b.offset, 0, step);
      }
      const kind = written.length === 0 ? 0 : below(4);
      if (kind <= 1) {
        const count = 1 + below(5);
        expect(states.judge(7, 1, next, count).kind).toBe('append');
        states.appended(7, 1, next, count, offset, step, step);
        written.push({ sequence: next, count, offset });
        next = sequenceAfter(next, count);
        offset += count + below(3);
      } else if (kind === 2) {
        const back = 1 + below(Math.min(8, written.length));
        const b = written.at(-back) as (typeof written)[number];
        const verdict = states.judge(7, 1, b.sequence, b.count);
        if (back <= BATCHES_REMEMBERED) expect(verdict).toMatchObject({ kind: 'duplicate', baseOffset: b.offset });
        else expect(verdict.kind).toBe('error');
      } else {
        expect(states.judge(7, 1, sequenceAfter(next, 1 + below(50)), 1)).toEqual({
          kind: 'error',
          code: 'SEQUENCE_OUT_OF_ORDER',
        });
      }
    }
  });
});

test('R13.4 epochs', () => {
  const s = new ProducerStates();
  expect(s.judge(1, 3, 99, 1).kind).toBe('append');
  s.appended(1, 3, 99, 1, 0, 0, 0);
  expect(s.judge(1, 2, 100, 1)).toEqual({ kind: 'error', code: 'PRODUCER_EPOCH_FENCED' });
  expect(s.judge(1, 4, 100, 1)).toEqual({ kind: 'error', code: 'SEQUENCE_OUT_OF_ORDER' });
  expect(s.judge(1, 4, 0, 1).kind).toBe('append');
});

test('R13.5 expiry goes by when a producer was heard of, not by the stamps of its records', () => {
  const s = new ProducerStates();
  s.appended(1, 0, 0, 1, 0, 1_000, 5);
  s.expire(999);
  expect(s.size).toBe(1);
  s.expire(1_001);
  expect(s.size).toBe(0);
});

test('foreign bytes are refused', () => {
  expect(() => ProducerStates.decode(Buffer.from([9, 0, 0]))).toThrow(RangeError);
});
