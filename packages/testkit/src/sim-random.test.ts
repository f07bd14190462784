import { describe, expect, it } from 'vitest';
import { SimRandom } from './sim-random.ts';

describe('SimRandom', () => {
  it('gives the same numbers for the same seed, others for another', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 20 },
        (
          (r) => () =>
            r.u32()
        )(new SimRandom(seed)),
      );
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    expect(draw(7)).not.toEqual(draw(7 + 2 ** 32));
  });

  it('forks are independent of how far the parent has come', () => {
    const a = new SimRandom(1);
    const early = a.fork('disk').bytes(16);
    a.u32();
    expect(a.fork('disk').bytes(16)).toEqual(early);
    expect(a.fork('clock').bytes(16)).not.toEqual(early);
    const firsts = new Set(Array.from({ length: 1000 }, (_, i) => new SimRandom(i).fork('x').u32()));
    expect(firsts.size).toBe(1000);
  });

  it('is even enough and stays in range', () => {
    const r = new SimRandom(3);
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) {
      const drawn = r.int(10);
      counts[drawn] = (counts[drawn] as number) + 1;
    }
    for (let i = 0; i < 10_000; i++) {
      const n = r.between(-2, 2);
      if (n < -2 || n > 2 || !Number.isInteger(n)) expect.unreachable();
    }
    expect(Math.min(...counts)).toBeGreaterThan(900);
    expect(Math.max(...counts)).toBeLessThan(1_100);
    let hits = 0;
    for (let i = 0; i < 10_000; i++) if (r.chance(0.25)) hits++;
    expect(hits).toBeGreaterThan(2_300);
    expect(hits).toBeLessThan(2_700);
    expect([r.chance(0), r.chance(1), r.int(0), r.int(1)]).toEqual([false, true, 0, 0]);
    expect(r.shuffle([1, 2, 3, 4]).sort()).toEqual([1, 2, 3, 4]);
  });
});
