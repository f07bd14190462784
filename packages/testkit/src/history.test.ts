import { describe, expect, it } from 'vitest';
import { type Batch, History, type HistoryRule, HistoryViolation, type LogView, type PlacedBatch } from './history.ts';

const batch = (log: string, bytesHash: string, extent = 1): Batch => ({ log, extent, bytesHash });
const at = (log: string, position: number, bytesHash: string, extent = 1, epoch?: number): PlacedBatch =>
  epoch === undefined ? { log, position, extent, bytesHash } : { log, position, extent, bytesHash, epoch };
const views = (...batches: PlacedBatch[]): Map<string, LogView> => {
  const out = new Map<string, { start: number; batches: PlacedBatch[] }>();
  for (const b of batches) {
    const view = out.get(b.log) ?? { start: b.position, batches: [] };
    view.batches.push(b);
    out.set(b.log, view);
  }
  return out;
};

function breaks(rule: HistoryRule, deed: () => void): void {
  try {
    deed();
  } catch (error) {
    expect(error).toBeInstanceOf(HistoryViolation);
    expect((error as HistoryViolation).message).toContain(rule);
    expect((error as HistoryViolation).rule).toBe(rule);
    return;
  }
  expect.unreachable(`nothing broke "${rule}"`);
}

/** Sets 1 (x: a) and 2 (x: b, y: c) acknowledged; 3 (x: d, y: e) attempted. */
function started(): History {
  const h = new History();
  h.attempted(1, [batch('x', 'a', 2)]);
  h.acknowledged(1, [at('x', 0, 'a', 2)]);
  h.attempted(2, [batch('x', 'b'), batch('y', 'c')]);
  h.acknowledged(2, [at('x', 2, 'b'), at('y', 0, 'c')]);
  h.attempted(3, [batch('x', 'd'), batch('y', 'e')]);
  return h;
}
const whole = [at('x', 0, 'a', 2), at('x', 2, 'b'), at('y', 0, 'c')];

describe('History accepts', () => {
  it('a recovery with the open set and one without it', () => {
    started().recovered(views(...whole));
    const h = started();
    h.recovered(views(...whole, at('x', 3, 'd'), at('y', 1, 'e')));
    expect(h.counts()).toEqual({
      sets: 3,
      acknowledged: 2,
      refused: 0,
      lost: 0,
      open: 1,
      batchesShown: 5,
      recoveries: 1,
    });
  });

  it('a duplicate answer, reads, trims within what was asked, a deleted log', () => {
    const h = started();
    h.acknowledged(2, [at('x', 2, 'b'), at('y', 0, 'c')]);
    h.read([at('x', 0, 'a', 2), at('x', 2, 'b')]);
    h.trimAttempted('x', 2);
    h.recovered(views(...whole));
    h.trimAcknowledged('x', 2);
    h.trimAttempted('x', 3);
    h.recovered(new Map([...views(at('y', 0, 'c')), ['x', { start: 3, batches: [] }]]));
    h.deleteAttempted('y');
    h.recovered(new Map([['x', { start: 3, batches: [] }]]));
  });

  it('an os log that loses its tail and gives the positions again in a new epoch', () => {
    const h = new History();
    for (const [i, hash] of ['a', 'b', 'c'].entries()) {
      h.attempted(i, [batch('o', hash)], { durability: 'os' });
      h.acknowledged(i, [at('o', i, hash, 1, 1)]);
    }
    h.recovered(views(at('o', 0, 'a', 1, 1)));
    expect(h.counts().lost).toBe(2);
    h.attempted(9, [batch('o', 'z')], { durability: 'os' });
    h.acknowledged(9, [at('o', 1, 'z', 1, 2)]);
  });
});

describe('History finds', () => {
  it('an acknowledged batch that is gone, or other bytes in its place', () => {
    breaks('acknowledged', () => started().recovered(views(at('x', 0, 'a', 2), at('y', 0, 'c'))));
    breaks('acknowledged', () => started().recovered(views(...whole.slice(0, 2))));
    breaks('acknowledged', () => started().recovered(new Map()));
    breaks('acknowledged', () =>
      started().recovered(views(at('x', 0, 'a', 2), at('x', 2, 'd'), at('y', 0, 'c'), at('y', 1, 'e'))),
    );
  });

  it('half a set', () => {
    breaks('half set', () => started().recovered(views(...whole, at('x', 3, 'd'))));
    breaks('half set', () => started().acknowledged(3, [at('x', 3, 'd')]));
  });

  it('what a reader saw and then vanished, though it was never acknowledged', () => {
    const h = started();
    h.read([at('x', 3, 'd')]);
    breaks('shown', () => h.recovered(views(...whole)));
    const second = started();
    second.recovered(views(...whole, at('x', 3, 'd'), at('y', 1, 'e')));
    breaks('shown', () => second.recovered(views(...whole)));
  });

  it('holes, overlaps, a start that is not the first batch, a hole in a read', () => {
    breaks('dense', () => started().recovered(views(...whole, at('x', 4, 'd'), at('y', 1, 'e'))));
    breaks('dense', () => started().read([at('x', 0, 'a', 2), at('x', 3, 'd')]));
    breaks('dense', () =>
      started().recovered(new Map([...views(...whole), ['x', { start: 0, batches: whole.slice(1, 2) }]])),
    );
    const h = started();
    h.acknowledged(3, [at('x', 3, 'd'), at('y', 1, 'e')]);
    h.trimAttempted('x', 3);
    breaks('acknowledged', () =>
      h.recovered(new Map([...views(at('y', 0, 'c'), at('y', 1, 'e')), ['x', { start: 3, batches: [] }]])),
    );
  });

  it('bytes nobody appended, another extent, a batch twice', () => {
    breaks('invented', () => started().read([at('x', 3, '?')]));
    breaks('invented', () => started().read([at('x', 0, 'a', 3)]));
    breaks('invented', () => started().read([at('y', 0, 'a', 2)]));
    breaks('twice', () => started().recovered(views(...whole, at('x', 3, 'a', 2))));
    breaks('twice', () => started().read([at('x', 3, 'b')]));
    breaks('re-used', () => started().read([at('x', 2, 'd')]));
  });

  it('a refused set that shows, a lost one that comes back', () => {
    const refused = started();
    refused.refused(3);
    breaks('refused', () => refused.recovered(views(...whole, at('x', 3, 'd'), at('y', 1, 'e'))));
    breaks('refused', () => refused.read([at('x', 3, 'd')]));
    breaks('refused', () => started().refused(2));
    const lost = started();
    lost.recovered(views(...whole));
    breaks('from the dead', () => lost.recovered(views(...whole, at('x', 3, 'd'), at('y', 1, 'e'))));
    breaks('from the dead', () => lost.acknowledged(3, [at('x', 3, 'd'), at('y', 1, 'e')]));
  });

  it('a log start nobody asked for, or in front of an acknowledged trim', () => {
    breaks('log start', () =>
      started().recovered(new Map([...views(...whole), ['x', { start: 2, batches: whole.slice(1, 2) }]])),
    );
    const h = started();
    h.trimAcknowledged('x', 2);
    breaks('log start', () => h.recovered(views(...whole)));
  });

  it('an os log with a hole, or a position given again in the same epoch', () => {
    const os = (): History => {
      const h = new History();
      for (const [i, hash] of ['a', 'b', 'c'].entries()) {
        h.attempted(i, [batch('o', hash)], { durability: 'os' });
        h.acknowledged(i, [at('o', i, hash, 1, 1)]);
      }
      h.attempted(9, [batch('o', 'z')], { durability: 'os' });
      return h;
    };
    breaks('prefix', () => os().recovered(views(at('o', 0, 'a', 1, 1), at('o', 1, 'z', 1, 1), at('o', 2, 'c', 1, 1))));
    const h = os();
    h.recovered(views(at('o', 0, 'a', 1, 1)));
    h.attempted(10, [batch('o', 'y')], { durability: 'os' });
    breaks('re-used', () => h.acknowledged(10, [at('o', 1, 'y', 1, 1)]));
  });

  it('misuse', () => {
    breaks('misuse', () => started().attempted(1, []));
    breaks('misuse', () => started().attempted(4, [batch('x', 'a')]));
    breaks('misuse', () => started().acknowledged(7, []));
  });
});
