import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesFormat } from './format.ts';
import { Log, type LogId } from './log.ts';
import { SlabPool } from './slab.ts';
import { TailCache } from './tail-cache.ts';

describe('the tail cache', () => {
  it('comes below its budget in one call when everything is flushed, whatever happened before', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ log: fc.nat(2), act: fc.constantFrom('append', 'append', 'flush', 'shrink') }), {
          minLength: 10,
          maxLength: 60,
        }),
        (steps) => {
          // Every append takes a chunk of its own.
          const cache = new TailCache(new SlabPool(), 3 << 20);
          const logs = [1, 2, 3].map(
            (id) =>
              new Log(id as LogId, bytesFormat, `log-${id}`, 'fsync', 0, [{ epoch: 0, start: 0 }], {
                segmentBytes: 1 << 30,
                segmentMs: 1e9,
              }),
          );
          for (const { log: i, act } of steps) {
            const log = logs[i] as Log;
            if (act === 'append') {
              cache.filled(cache.room(log, 600_000, false), log.nextPosition, 600_000);
              log.nextByte += 600_000;
            } else if (act === 'flush') log.flushedByte = log.nextByte;
            else cache.shrink(() => undefined);
          }
          for (const log of logs) log.flushedByte = log.nextByte;
          cache.budgetBytes = 0;
          cache.shrink(() => expect.fail('nothing is left to flush'));
          expect(cache.bytes).toBe(0);
        },
      ),
    );
  });
});
