import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deadline, Deadlines } from './deadlines.ts';

describe('deadlines', () => {
  it('behave as a plain sorted list does', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), which: fc.nat(19), at: fc.nat(100) }),
      fc.record({ do: fc.constant('cancel' as const), which: fc.nat(19), at: fc.constant(0) }),
      fc.record({ do: fc.constant('take' as const), which: fc.constant(0), at: fc.nat(100) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const deadlines = new Deadlines<number>();
        const all = Array.from({ length: 20 }, (_, i) => new Deadline(i));
        const model = new Map<number, number>();
        for (const { do: what, which, at } of steps) {
          const deadline = all[which] as Deadline<number>;
          if (what === 'set') {
            deadlines.set(deadline, at);
            model.set(which, at);
          } else if (what === 'cancel') {
            deadlines.cancel(deadline);
            model.delete(which);
          } else {
            const passed = deadlines.takePassed(at);
            const earliest = model.size === 0 ? undefined : Math.min(...model.values());
            if (earliest === undefined || earliest > at) expect(passed).toBeUndefined();
            else {
              expect(model.get(passed?.what as number)).toBe(earliest);
              model.delete(passed?.what as number);
            }
          }
          expect(deadlines.next()).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
          expect(deadlines.size).toBe(model.size);
          expect(all.filter(({ armed }) => armed).map(({ what: name }) => name)).toEqual(
            [...model.keys()].sort((a, b) => a - b),
          );
        }
        const rest = [...model.values()].sort((a, b) => a - b);
        expect(rest.map(() => deadlines.takePassed(Infinity)?.at)).toEqual(rest);
      }),
      { numRuns: 500 },
    );
  });

  it('keep their order when many are taken out of the middle', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1_000), fc.boolean()), { minLength: 30, maxLength: 100 }), (plan) => {
        const deadlines = new Deadlines<number>();
        const all = plan.map(([at, cancelled]) => ({ deadline: new Deadline(at), at, cancelled }));
        for (const { deadline, at } of all) deadlines.set(deadline, at);
        for (const { deadline, cancelled } of all) if (cancelled) deadlines.cancel(deadline);
        const kept = all.filter(({ cancelled }) => !cancelled).map(({ at }) => at);
        expect(kept.map(() => deadlines.takePassed(Infinity)?.at)).toEqual(kept.sort((x, y) => x - y));
      }),
      { numRuns: 500 },
    );
  });

  it('cost nothing to push back: a million heartbeats of 10,000 members', () => {
    const deadlines = new Deadlines<number>();
    const all = Array.from({ length: 10_000 }, (_, i) => new Deadline(i));
    for (const deadline of all) deadlines.set(deadline, 45_000);
    const start = performance.now();
    for (let round = 1; round <= 100; round++) {
      for (const deadline of all) deadlines.set(deadline, 45_000 + round * 3_000);
      deadlines.next();
    }
    expect(deadlines.size).toBe(10_000);
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});
