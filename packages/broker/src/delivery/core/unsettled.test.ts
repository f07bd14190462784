import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Unsettled } from './unsettled.ts';

const BASE = 2 ** 40; // offsets are not 32-bit numbers

describe('unsettled offsets', () => {
  it('D12: say what a plain set says, whatever is added in order and taken out in any', () => {
    const op = fc.oneof(
      fc.record({ add: fc.nat(100), gap: fc.oneof(fc.nat(5), fc.nat(2_000)) }),
      fc.record({ del: fc.nat(3_000) }),
      fc.record({ delFrom: fc.nat(3_000), count: fc.nat(300) }),
      fc.record({ next: fc.nat(3_000) }),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        const real = new Unsettled();
        const model = new Set<number>();
        let end = BASE;
        const least = (from: number): number | undefined => {
          const some = [...model].filter((x) => x >= from);
          return some.length === 0 ? undefined : Math.min(...some);
        };
        for (const o of ops) {
          if ('add' in o) {
            const from = end + o.gap;
            real.addRange(from, from + o.add);
            for (let id = from; id < from + o.add; id++) model.add(id);
            end = from + o.add;
          } else if ('del' in o) expect(real.delete(BASE + o.del)).toBe(model.delete(BASE + o.del));
          else if ('delFrom' in o) {
            let n = 0;
            for (let id = BASE + o.delFrom; id < BASE + o.delFrom + o.count; id++) if (model.delete(id)) n++;
            expect(real.deleteRange(BASE + o.delFrom, BASE + o.delFrom + o.count)).toBe(n);
          } else expect(real.next(BASE + o.next)).toBe(least(BASE + o.next));
          expect(real.count).toBe(model.size);
          expect(real.first()).toBe(least(0));
        }
        const runs = [...real.runs()].flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
        expect(runs).toEqual([...model].sort((a, b) => a - b));
        for (let id = BASE; id < BASE + 300; id++) expect(real.has(id)).toBe(model.has(id));
      }),
    );
  });
});
