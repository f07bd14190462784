import { HadronError } from '@hadron/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Failure, Redrive } from './core/progress.ts';
import {
  arrivedRecord,
  bootRecord,
  decodeEntry,
  groupRecord,
  outboxRecord,
  progressRecord,
  redriveRecord,
  setRecord,
} from './records.ts';
import { Progress } from './core/progress.ts';
import { resolveGroup } from './settings.ts';
import { decodeToken, encodeToken, type Token } from './token.ts';

const uint = fc.maxSafeNat();
const failure: fc.Arbitrary<Failure> = fc.record({
  attempts: fc.nat(),
  firstMs: uint,
  lastMs: uint,
  dueMs: uint,
  code: fc.string(),
  reason: fc.string({ unit: 'grapheme' }),
});
const redrive: fc.Arbitrary<Redrive> = fc.record({
  id: fc.nat().map((n) => -n - 1),
  offset: uint,
  number: fc.nat(),
  topicId: fc.string(),
  partition: fc.nat(),
  position: uint,
});
const runs = fc
  .uniqueArray(fc.nat(1e9), { maxLength: 40 })
  .map((ids) => ids.sort((a, b) => a - b).slice(0, ids.length - (ids.length % 2)));

const samples = [
  bootRecord(300),
  groupRecord(7, {
    topicId: 't',
    stream: 's',
    group: 'g',
    settings: resolveGroup({}),
    paused: false,
    starts: { 0: 5 },
  }),
  setRecord(7, 3, { number: 1, runs: [1, 5, 9, 10], readTo: 12, redrives: [-1], failures: [], deliveries: [] }),
  progressRecord(7, 3, new Progress(9)),
  redriveRecord(7, 3, { id: -2, offset: 4, number: 1, topicId: 't', partition: 0, position: 8 }),
  outboxRecord(5, {
    kind: 'records',
    shard: 1,
    topicId: 't',
    partition: 0,
    stream: 's.dead',
    batch: Buffer.from('bytes'),
  }),
  arrivedRecord(1, 5),
];

describe('records of __deliveries', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(runs, uint, fc.array(fc.tuple(fc.integer({ min: -1e9, max: 1e9 }), failure)), (r, readTo, failed) => {
        const failures = failed.map(([id, f]) => ({ id, failure: f }));
        const set = { number: 1, runs: r, readTo, redrives: [-1, -9], failures, deliveries: [] };
        const { number: _n, deliveries: _d, ...kept } = set;
        expect(decodeEntry(setRecord(0xffff_fffe, 70_000, set))).toEqual({
          kind: 'set',
          id: 0xffff_fffe,
          partition: 70_000,
          ...kept,
        });
      }),
    );
    fc.assert(
      fc.property(redrive, (r) => {
        expect(decodeEntry(redriveRecord(1, 2, r))).toEqual({ kind: 'redrive', id: 1, partition: 2, redrive: r });
      }),
    );
    expect(decodeEntry(outboxRecord(2 ** 40, null))).toEqual({ kind: 'outbox', number: 2 ** 40, entry: null });
    expect(decodeEntry(groupRecord(9, null))).toEqual({ kind: 'group', id: 9, group: null });
  });

  it('that are damaged, cut off or noise are refused, and nothing else happens', () => {
    const refused = (fn: () => unknown): void => {
      try {
        fn();
      } catch (error) {
        expect(error).toBeInstanceOf(HadronError);
        expect(['DATA_DAMAGED', 'DATA_FORMAT_NEWER']).toContain((error as HadronError).code);
      }
    };
    for (const { key, value } of samples) {
      const bytes = Buffer.from(value as Uint8Array);
      for (let n = 0; n < bytes.length; n++)
        expect(() => decodeEntry({ key, value: bytes.subarray(0, n) })).toThrow(HadronError);
      for (let i = 0; i < bytes.length; i++) {
        for (const flip of [0x01, 0x80, 0xff]) {
          const damaged = Buffer.from(bytes);
          damaged[i] = (damaged[i] as number) ^ flip;
          refused(() => decodeEntry({ key, value: damaged }));
        }
      }
      expect(() => decodeEntry({ key, value: Buffer.concat([bytes, Buffer.of(0)]) })).toThrow(HadronError);
      const newer = Buffer.from(bytes);
      newer[0] = 2;
      expect(() => decodeEntry({ key, value: newer })).toThrow(/DATA_FORMAT_NEWER/);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), fc.uint8Array({ maxLength: 60 }), (key, value) => {
        refused(() => decodeEntry({ key, value }));
      }),
    );
  });
});

describe('tokens', () => {
  const u32 = fc.nat(0xffff_ffff);
  it('D16: come back as they went', () => {
    const into: Token = { boot: 0, group: 0, partition: 0, id: 0, handout: 0 };
    fc.assert(
      fc.property(
        u32,
        u32,
        fc.nat(0xff_ffff),
        fc.maxSafeInteger(),
        fc.maxSafeNat(),
        (boot, group, partition, id, n) => {
          const handout = n + 1 > Number.MAX_SAFE_INTEGER ? n : n + 1;
          const text = encodeToken(boot, group, partition, id, handout);
          expect(text).toHaveLength(36);
          expect(decodeToken(text, into)).toBe(true);
          expect(into).toEqual({ boot, group, partition, id, handout });
        },
      ),
    );
  });

  it('that are noise are no tokens, or decode to something in range', () => {
    const into: Token = { boot: 0, group: 0, partition: 0, id: 0, handout: 0 };
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ minLength: 36, maxLength: 36 }), fc.base64String()), (text) => {
        if (decodeToken(text, into)) expect(Number.isSafeInteger(into.id) && into.handout > 0).toBe(true);
      }),
    );
    for (const text of ['', 'x', '€'.repeat(36), 'A'.repeat(36)]) expect(decodeToken(text, into)).toBe(false);
  });
});
