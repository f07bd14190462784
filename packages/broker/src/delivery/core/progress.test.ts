import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeEntry, progressRecord } from '../records.ts';
import { Progress } from './progress.ts';

/** A reader and settler as the machine is, against plain sets. */
function shown(p: Progress): unknown {
  return { floor: p.floor, readTo: p.readTo, runs: [...p.unsettled.runs()], ahead: [...(p.ahead ?? [])].sort() };
}

const set = fc.record({
  advance: fc.nat(40),
  settle: fc.array(fc.nat(200), { maxLength: 20 }),
  ahead: fc.option(fc.nat(20)),
});

function runsOf(ids: Iterable<number>): number[] {
  const runs: number[] = [];
  for (const id of [...new Set(ids)].sort((a, b) => a - b)) {
    if (runs.at(-1) === id) runs[runs.length - 1] = id + 1;
    else runs.push(id, id + 1);
  }
  return runs;
}

describe('progress', () => {
  it('D12 D13: replay says what a plain set says; replaying any suffix again changes nothing', () => {
    fc.assert(
      fc.property(fc.array(set, { maxLength: 15 }), fc.nat(14), (sets, again) => {
        const real = new Progress(0);
        const settled = new Set<number>();
        let readTo = 0;
        const records: { runs: number[]; readTo: number }[] = [];
        for (const { advance, settle, ahead } of sets) {
          readTo += advance;
          const ids = settle.filter((id) => id < readTo);
          if (ahead !== null) ids.push(readTo + ahead);
          for (const id of ids) settled.add(id);
          records.push({ runs: runsOf(ids), readTo });
        }
        for (const r of records) real.settle(r.runs, r.readTo);
        for (let id = 0; id < readTo; id++) expect([id, real.isSettled(id)]).toEqual([id, settled.has(id)]);
        const before = shown(real);
        for (const r of records.slice(again)) real.settle(r.runs, r.readTo);
        expect(shown(real)).toEqual(before);
        const entry = decodeEntry(progressRecord(1, 0, real));
        expect(entry.kind === 'progress' && shown(entry.progress)).toEqual(before);
      }),
    );
  });

  it('a failed attempt of what is settled is not remembered', () => {
    const p = new Progress(0);
    p.settle([0, 1], 2);
    const failure = { attempts: 1, firstMs: 1, lastMs: 1, dueMs: 1, code: 'NACKED', reason: '' };
    p.fail(0, failure);
    p.fail(1, failure);
    expect([...(p.failures?.keys() ?? [])]).toEqual([1]);
    p.settle([1, 2], 2);
    expect(p.failures).toBeUndefined();
  });

  it('numbers of redrives are not used again', () => {
    const p = new Progress(0);
    p.redrive({ id: -1, offset: 5, number: 1, topicId: 't', partition: 0, position: 0 });
    p.settleRedrive(-1);
    expect([p.lastRedrive, p.isSettled(-1), p.unsettledCount]).toEqual([1, true, 0]);
  });
});
