import { describe, expect, it } from 'vitest';
import { type DeliveryEvent, type DeliveryState, LIFE, step } from './life.ts';

// Each cell as one word: state, record, answer; - where it cannot happen. The table of life.ts written once more, by hand.
const EVENTS = [
  'read',
  'delay',
  'due',
  'handOut',
  'ack',
  'nack',
  'term',
  'extend',
  'lateAck',
  'lateTerm',
  'lateOther',
  'timeout',
  'lost',
  'returned',
  'withdraw',
  'exhaust',
  'expire',
  'gone',
  'durable',
] as const satisfies readonly DeliveryEvent[];

const S = 'settling/settle/none';
const SA = 'settling/settle/durable';

const EXPECTED: Record<DeliveryState, Partial<Record<DeliveryEvent, string>>> = {
  unread: {
    read: 'waiting/none/none',
    delay: 'delayed/none/none',
    lateAck: SA,
    lateTerm: SA,
    lateOther: 'unread/none/stale',
    expire: S,
    gone: S,
  },
  waiting: { handOut: 'out/none/none', lateAck: SA, lateTerm: SA, lateOther: 'waiting/none/stale', gone: S },
  delayed: { due: 'waiting/none/none', lateAck: SA, lateTerm: SA, lateOther: 'delayed/none/stale', gone: S },
  out: {
    ack: SA,
    nack: 'failing/fail/durable',
    term: SA,
    extend: 'out/none/now',
    lateAck: 'out/none/stale',
    lateTerm: 'out/none/stale',
    lateOther: 'out/none/stale',
    timeout: 'failing/fail/none',
    lost: 'failing/fail/none',
    returned: 'waiting/none/none',
    withdraw: 'waiting/none/none',
    exhaust: SA,
    expire: S,
    gone: S,
  },
  failing: { lateAck: SA, lateTerm: SA, lateOther: 'failing/none/stale', gone: S, durable: 'backoff/none/none' },
  backoff: { due: 'waiting/none/none', lateAck: SA, lateTerm: SA, lateOther: 'backoff/none/stale', gone: S },
  settling: {
    lateAck: 'settling/none/settled',
    lateTerm: 'settling/none/settled',
    lateOther: 'settling/none/settled',
    gone: 'settling/none/none',
    durable: 'settled/none/none',
  },
  settled: {
    lateAck: 'settled/none/settled',
    lateTerm: 'settled/none/settled',
    lateOther: 'settled/none/settled',
    gone: 'settled/none/none',
  },
};

describe('the life of a delivery', () => {
  for (const state of Object.keys(EXPECTED) as DeliveryState[]) {
    for (const event of EVENTS) {
      const expected = EXPECTED[state][event];
      it(`${state} × ${event} → ${expected ?? 'never'}`, () => {
        if (expected === undefined) {
          expect(LIFE[state][event]).toBeNull();
          expect(() => step(state, event)).toThrow(/cannot see/);
        } else {
          const { to, record, answer } = step(state, event);
          expect(`${to}/${record}/${answer}`).toBe(expected);
        }
      });
    }
  }

  it('has no event that the test does not know', () => {
    for (const row of Object.values(LIFE)) expect(Object.keys(row).sort()).toEqual([...EVENTS].sort());
  });

  it('whatever is recorded waits to be durable, and only that', () => {
    for (const row of Object.values(LIFE)) {
      for (const cell of Object.values(row)) {
        if (cell === null || cell.record === 'none') continue;
        expect(cell.to).toBe(cell.record === 'fail' ? 'failing' : 'settling');
        expect(cell.answer).not.toBe('now');
      }
    }
  });
});
