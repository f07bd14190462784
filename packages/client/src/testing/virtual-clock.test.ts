import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from './virtual-clock.ts';

describe('the virtual clock', () => {
  it('fires timers in order of time, then of age, and none that was cancelled', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(50), cancel: fc.boolean() }), { maxLength: 40 }),
        async (plan) => {
          const clock = new VirtualClock(0);
          const fired: string[] = [];
          plan.forEach(({ at, cancel }, i) => {
            const timer = clock.setTimer(at, () => fired.push(`${clock.monotonicMs()}/${i}`));
            if (cancel) timer.cancel();
          });
          await clock.advance(50);
          const expected = plan
            .map(({ at, cancel }, i) => ({ at, cancel, i }))
            .filter((t) => !t.cancel)
            .sort((a, b) => a.at - b.at || a.i - b.i)
            .map((t) => `${t.at}/${t.i}`);
          expect(fired).toEqual(expected);
          expect(clock.monotonicMs()).toBe(50);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('lets everything that follows from a timer come to rest before the next one fires', async () => {
    const clock = new VirtualClock(0);
    const seen: string[] = [];
    clock.setTimer(10, () => {
      clock.defer(
        () => void Promise.resolve().then(() => clock.defer(() => seen.push(`first done at ${clock.monotonicMs()}`))),
      );
    });
    clock.setTimer(11, () => seen.push('second'));
    await clock.advance('1s');
    expect(seen).toEqual(['first done at 10', 'second']);
    expect(clock.wallMs()).toBe(1000);
  });

  it('fires what is set on the way, as often as it is due, and lets a month pass quickly', async () => {
    const clock = new VirtualClock(0);
    let ticks = 0;
    const tick = (): void => {
      ticks++;
      clock.setTimer(60_000, tick);
    };
    clock.setTimer(60_000, tick);
    const started = performance.now();
    await clock.advance('30d');
    expect(ticks).toBe(43_200);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it('waits for what says that it is busy, and lets calls of advance follow each other', async () => {
    const clock = new VirtualClock(0);
    let work = 0;
    clock.attend({ count: () => 0, busy: () => work > 0 });
    const log: number[] = [];
    clock.setTimer(5, () => {
      work++;
      setTimeout(() => {
        work--;
        log.push(clock.monotonicMs());
      }, 20);
    });
    const first = clock.advance(10);
    const second = clock.advance(10);
    await Promise.all([first, second]);
    expect(log).toEqual([5]);
    expect(clock.monotonicMs()).toBe(20);
  });
});
