import { HadronError } from '@hadron/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Change, decodeRecord, encodeChange } from './records.ts';
import type { StateRecord } from './types.ts';

const name = fc.string({ unit: 'grapheme', maxLength: 20 });
const nullableName = fc.option(name);
const blob = fc.uint8Array({ maxLength: 40 });
const i32 = fc.nat(2_147_483_647);
const i64 = fc.maxSafeInteger();

const member = fc.record({
  id: name,
  instanceId: nullableName,
  clientId: name,
  clientHost: name,
  sessionTimeoutMs: i32,
  rebalanceTimeoutMs: i32,
  protocols: fc.array(fc.record({ name, metadata: blob }), { maxLength: 4 }),
  assignment: blob,
});
const image = fc.record({
  state: fc.constantFrom('Empty' as const, 'CompletingRebalance' as const, 'Stable' as const),
  generation: i32,
  emptySinceMs: i64,
  protocolType: nullableName,
  protocolName: nullableName,
  leaderId: nullableName,
  members: fc.array(member, { maxLength: 5 }),
});
const committed = fc.record({
  topicId: fc.oneof(fc.uuid(), name),
  offset: i64,
  leaderEpoch: fc.integer({ min: -1, max: 2_147_483_647 }),
  metadata: name,
  committedAtMs: i64,
  expiresAtMs: i64,
});
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ type: fc.constant('group' as const), groupId: name, image: fc.option(image) }),
  fc.record({
    type: fc.constant('offset' as const),
    groupId: name,
    topic: name,
    partition: i32,
    committed: fc.option(committed),
  }),
);

/** Decoding either gives a change or one of the two refusals; anything else is a crash. */
function decodesOrRefuses(record: StateRecord): void {
  try {
    decodeRecord(record);
  } catch (error) {
    expect(error).toBeInstanceOf(HadronError);
    expect(['DATA_DAMAGED', 'DATA_FORMAT_NEWER']).toContain((error as HadronError).code);
  }
}

describe('group records', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(change, (one) => {
        // Through JSON: fast-check's records have no prototype.
        expect(JSON.parse(JSON.stringify(decodeRecord(encodeChange(one))))).toEqual(JSON.parse(JSON.stringify(one)));
      }),
    );
  });

  it('survive lone halves of surrogate pairs as the replacement character', () => {
    const one = { type: 'group' as const, groupId: 'a\ud800', image: null };
    expect(decodeRecord(encodeChange(one))).toEqual({ ...one, groupId: 'a\ufffd' });
  });

  it('refuse damaged bytes without crashing', () => {
    fc.assert(
      fc.property(change, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, at, flip) => {
        const { key, value } = encodeChange(one);
        const broken = new Uint8Array(value ?? key);
        broken[at % broken.length] = (broken[at % broken.length] as number) ^ flip;
        decodesOrRefuses(value === null ? { key: broken, value } : { key, value: broken });
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuse every prefix of themselves', () => {
    fc.assert(
      fc.property(change, (one) => {
        const { key, value } = encodeChange(one);
        for (let length = 0; length < (value?.length ?? 0); length++) {
          expect(() => decodeRecord({ key, value: (value as Uint8Array).subarray(0, length) })).toThrow('DATA_DAMAGED');
        }
        for (let length = 0; length < key.length; length++) {
          expect(() => decodeRecord({ key: key.subarray(0, length), value })).toThrow('DATA_DAMAGED');
        }
      }),
      { numRuns: 50 },
    );
  });

  it('are never mistaken for noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.option(fc.uint8Array({ maxLength: 60 })), (key, value) =>
        decodesOrRefuses({ key, value }),
      ),
      { numRuns: 2_000 },
    );
  });

  it('with a huge count are refused before anything is allocated', () => {
    const empty = { type: 'group' as const, groupId: 'g', image: EMPTY };
    const { key, value } = encodeChange(empty);
    const lying = Uint8Array.from([...(value as Uint8Array).subarray(0, -1), 0xff, 0xff, 0xff, 0xff, 0x0f]);
    expect(() => decodeRecord({ key, value: lying })).toThrow('a count larger than the record');
  });

  it('of a newer version are refused by name', () => {
    for (const one of [
      { type: 'group' as const, groupId: 'g', image: EMPTY },
      { type: 'offset' as const, groupId: 'g', topic: 't', partition: 0, committed: COMMITTED },
    ]) {
      const { key, value } = encodeChange(one);
      const newer = new Uint8Array(value as Uint8Array);
      newer[0] = 2;
      expect(() => decodeRecord({ key, value: newer })).toThrow(
        /DATA_FORMAT_NEWER: .* version 2; this Hadron knows up to 1/,
      );
      expect(() => decodeRecord({ key: Uint8Array.from([3, ...key.subarray(1)]), value })).toThrow('DATA_FORMAT_NEWER');
    }
  });

  it('keep their layout (golden)', () => {
    const hex = (b: Uint8Array | null) => (b === null ? null : Buffer.from(b).toString('hex'));
    const group = encodeChange({ type: 'group', groupId: 'g', image: { ...EMPTY, members: [MEMBER] } });
    expect(hex(group.key)).toBe('010167');
    expect(hex(group.value)).toBe(
      '0100070000000000000005' +
        '02700000' +
        '01' +
        '016d' +
        '0269' +
        '0163' +
        '0168' +
        'f02e' +
        'e0d403' +
        '01' +
        '01720102' +
        '0103',
    );
    const offset = encodeChange({ type: 'offset', groupId: 'g', topic: 't', partition: 3, committed: COMMITTED });
    expect(hex(offset.key)).toBe('020167017403');
    expect(hex(offset.value)).toBe(
      '01' +
        '0111111111222243338444555555555555' +
        '000000000000002a' +
        '06' +
        '026d64' +
        '0000000000000009' +
        'ffffffffffffffff',
    );
  });
});

const MEMBER = {
  id: 'm',
  instanceId: 'i',
  clientId: 'c',
  clientHost: 'h',
  sessionTimeoutMs: 6_000,
  rebalanceTimeoutMs: 60_000,
  protocols: [{ name: 'r', metadata: Uint8Array.of(2) }],
  assignment: Uint8Array.of(3),
};
const EMPTY = {
  state: 'Empty' as const,
  generation: 7,
  emptySinceMs: 5,
  protocolType: 'p',
  protocolName: null,
  leaderId: null,
  members: [],
};
const COMMITTED = {
  topicId: '11111111-2222-4333-8444-555555555555',
  offset: 42,
  leaderEpoch: 5,
  metadata: 'md',
  committedAtMs: 9,
  expiresAtMs: -1,
};
