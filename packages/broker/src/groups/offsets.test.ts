import { describe, expect, it } from 'vitest';
import { Bench, GROUP, stateOf, TOPIC_ID, WALL_START } from './test-harness.ts';
import type { JoinGroupResponse } from './types.ts';

const DAY_MS = 24 * 3_600_000;
const CHECK_MS = 600_000;
type Joined = JoinGroupResponse;

describe('R12: commits', () => {
  it('of a simple consumer make a group that lives by its offsets', () => {
    const bench = new Bench();
    expect(bench.commit(7)).toBe(null);
    expect(bench.coordinator.listGroups()).toEqual([{ groupId: GROUP, state: 'Empty', protocolType: '' }]);
    expect(bench.fetch().offset).toBe(7);
    expect(bench.commit(8)).toBe(null);
    bench.crash();
    expect(bench.fetch().offset).toBe(8);
  });

  it('of members need the right member, then the right generation, then a finished rebalance', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({}, {}) as [Joined, Joined];
    const who = { memberId: b.memberId, generation: 1 };
    expect(bench.commit(1, who)).toBe(null);
    expect(bench.commit(1, { memberId: 'x', generation: 1 })).toBe('MEMBER_UNKNOWN');
    expect(bench.commit(1, { ...who, generation: 0 })).toBe('GENERATION_ILLEGAL');
    expect(bench.commit(1, { ...who, generation: 2 })).toBe('GENERATION_ILLEGAL');
    expect(bench.commit(1, { ...who, generation: -1 })).toBe('GENERATION_ILLEGAL');
    expect(bench.commit(1, {})).toBe('MEMBER_UNKNOWN');
    // While members rejoin, what was read before may still be committed (§10.11: not while the rebalance completes).
    bench.join({ memberId: a.memberId });
    expect(bench.commit(2, who)).toBe(null);
    bench.join({ memberId: b.memberId });
    expect(bench.commit(3, who)).toBe('GENERATION_ILLEGAL');
    expect(bench.commit(3, { ...who, generation: 2 })).toBe('REBALANCE_IN_PROGRESS');
    bench.sync(a.memberId, 2);
    expect(bench.commit(4, { ...who, generation: 2 })).toBe(null);
    expect(bench.fetch().offset).toBe(4);
  });

  it('to a group that does not exist, by someone who thinks to be a member', () => {
    const bench = new Bench();
    expect(bench.commit(1, { memberId: 'm', generation: 3 })).toBe('GROUP_NOT_FOUND');
    expect(bench.records).toEqual([]);
  });

  it('with too much metadata fail for that partition only', () => {
    const bench = new Bench({ offsetMetadataMax: 10 });
    const { topics } = bench.commitAll([
      { partition: 0, offset: 1, metadata: 'x'.repeat(10) },
      { partition: 1, offset: 1, metadata: 'x'.repeat(11) },
      { partition: 2, offset: 1, metadata: null },
    ]);
    expect(topics.map(({ partitions }) => partitions[0]?.error)).toEqual([null, 'OFFSET_METADATA_TOO_LARGE', null]);
    expect(bench.records.length).toBe(2);
    expect(bench.fetch('t', 1).offset).toBe(-1);
    expect(bench.fetch('t', 2)).toEqual({ partition: 2, offset: 1, leaderEpoch: -1, metadata: '' });
  });

  it('that the log could not carry are refused', () => {
    const bench = new Bench();
    expect(bench.commit(2 ** 53)).toBe('REQUEST_INVALID');
    expect(bench.commitAll([{ partition: -1, offset: 1 }]).topics[0]?.partitions[0]?.error).toBe('REQUEST_INVALID');
    expect(bench.coordinator.listGroups()).toEqual([]);
  });

  it('cost few bytes', () => {
    const bench = new Bench();
    bench.commit(123_456);
    const [{ key, value }] = bench.records as [{ key: Uint8Array; value: Uint8Array }];
    expect(key.length + value.length).toBeLessThan(64);
  });
});

describe('R12: fetching offsets', () => {
  it('returns metadata and leader epoch as they were committed', () => {
    const bench = new Bench();
    bench.commitAll([{ partition: 3, offset: 42, leaderEpoch: 9, metadata: 'héllo ☃' }]);
    bench.crash();
    expect(bench.fetch('t', 3)).toEqual({ partition: 3, offset: 42, leaderEpoch: 9, metadata: 'héllo ☃' });
  });

  it('of several groups, named partitions or all; nothing is −1, never 0', () => {
    const bench = new Bench();
    bench.commitAll([{ offset: 1 }, { topic: 'u', partition: 4, offset: 2 }], { groupId: 'a' });
    bench.commit(3, { groupId: 'b' });
    expect(bench.fetchAll(['a', 'b', 'c']).groups).toEqual([
      {
        groupId: 'a',
        topics: [
          { name: 't', partitions: [{ partition: 0, offset: 1, leaderEpoch: -1, metadata: '' }] },
          { name: 'u', partitions: [{ partition: 4, offset: 2, leaderEpoch: -1, metadata: '' }] },
        ],
      },
      {
        groupId: 'b',
        topics: [{ name: 't', partitions: [{ partition: 0, offset: 3, leaderEpoch: -1, metadata: '' }] }],
      },
      { groupId: 'c', topics: [] },
    ]);
    expect(bench.fetch('none', 0, 'a')).toEqual({ partition: 0, offset: -1, leaderEpoch: -1, metadata: '' });
    expect(bench.fetch('t', 0, 'c').offset).toBe(-1);
  });
});

describe('a topic that is deleted', () => {
  const other = '99999999-2222-4333-8444-555555555555';

  it('takes its offsets along, in every group, and simple groups that had no others', () => {
    const bench = new Bench();
    bench.stable({});
    bench.commitAll([{ topic: 'u', offset: 1 }, { offset: 2 }], { groupId: 'a' });
    bench.commit(3, { groupId: 'b' });
    bench.take(bench.coordinator.topicDeleted({ name: 't', topicId: TOPIC_ID }));
    expect(bench.fetch('t', 0, 'a').offset).toBe(-1);
    expect(bench.fetch('u', 0, 'a').offset).toBe(1);
    expect(bench.state('b')).toBe('Dead');
    const state = stateOf(bench.records);
    bench.crash();
    expect(stateOf(bench.coordinator.snapshot())).toEqual(state);
  });

  it('and created again starts clean, even if the tombstones were never written', () => {
    const bench = new Bench();
    bench.topicIds = new Map([['t', TOPIC_ID]]);
    bench.commit(5);
    expect(bench.fetch().offset).toBe(5);
    bench.topicIds.set('t', other);
    expect(bench.fetch().offset).toBe(-1);
    expect(bench.fetchAll().groups).toEqual([{ groupId: GROUP, topics: [] }]);
    bench.commitAll([{ offset: 1, topicId: other }]);
    expect(bench.fetch().offset).toBe(1);
    // A late deletion of the first incarnation does not touch the second.
    bench.take(bench.coordinator.topicDeleted({ name: 't', topicId: TOPIC_ID }));
    bench.take(bench.coordinator.topicDeleted({ topicId: TOPIC_ID }));
    expect(bench.fetch().offset).toBe(1);
    bench.take(bench.coordinator.topicDeleted({ topicId: other }));
    expect(bench.state()).toBe('Dead');
    bench.commitAll([{ offset: 1, topicId: other }]);
    bench.topicIds.delete('t');
    expect(bench.fetch().offset).toBe(-1);
  });
});

describe('R12: retention', () => {
  /** Lets wall time pass with the process down: monotonic time does not follow. */
  const sleep = (bench: Bench, ms: number): void => {
    bench.wallMs += ms;
    bench.advance(CHECK_MS);
  };

  it('counts from the moment the group becomes empty, not from the commit, and survives restarts', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    bench.commit(1, { memberId: a.memberId, generation: 1 });
    for (let i = 0; i < 20; i++) {
      bench.wallMs += DAY_MS;
      expect(bench.heartbeat(a.memberId, 1)).toBe(null);
      bench.advance(9_000);
    }
    expect(bench.fetch().offset).toBe(1);
    bench.leaveOne(a.memberId);
    bench.crash();
    sleep(bench, 6.9 * DAY_MS);
    expect(bench.fetch().offset).toBe(1);
    bench.crash();
    sleep(bench, 0.1 * DAY_MS);
    expect(bench.fetch().offset).toBe(-1);
    expect(bench.state()).toBe('Dead');
    expect(stateOf(bench.records).size).toBe(0);
  });

  it('of a simple group counts from each commit', () => {
    const bench = new Bench();
    bench.commitAll([{ partition: 0, offset: 1 }]);
    sleep(bench, 4 * DAY_MS);
    bench.commitAll([{ partition: 1, offset: 1 }]);
    sleep(bench, 4 * DAY_MS);
    expect([bench.fetch('t', 0).offset, bench.fetch('t', 1).offset]).toEqual([-1, 1]);
    sleep(bench, 4 * DAY_MS);
    expect(bench.state()).toBe('Dead');
    expect(stateOf(bench.records).size).toBe(0);
    expect(bench.coordinator.nextDeadline()).toBeUndefined();
  });

  it('asked for by an old client is kept', () => {
    const bench = new Bench();
    bench.commitAll([{ partition: 0, offset: 1 }], { retentionMs: 1_000 });
    bench.commitAll([{ partition: 1, offset: 1 }], { retentionMs: 30 * DAY_MS });
    bench.commitAll([{ partition: 2, offset: 1 }], { retentionMs: Number.MAX_SAFE_INTEGER });
    bench.commitAll([{ partition: 3, offset: 1 }], { retentionMs: -1 });
    sleep(bench, 10 * DAY_MS);
    expect([0, 1, 2, 3].map((partition) => bench.fetch('t', partition).offset)).toEqual([-1, 1, 1, -1]);
  });

  it('with a wall clock that jumps back keeps longer, never shorter; monotonic time-outs do not notice', () => {
    const bench = new Bench();
    bench.commit(1, { groupId: 'simple' });
    const [a] = bench.stable({}) as [Joined];
    bench.wallMs = WALL_START - 365 * DAY_MS;
    bench.advance(9_000);
    expect(bench.heartbeat(a.memberId, 1)).toBe(null);
    bench.wallMs = WALL_START + 365 * DAY_MS;
    bench.advance(9_000);
    expect(bench.heartbeat(a.memberId, 1)).toBe(null);
    bench.wallMs = WALL_START - 365 * DAY_MS;
    bench.advance(CHECK_MS);
    expect(bench.fetch('t', 0, 'simple').offset).toBe(1);
  });

  it('forgets an empty group without offsets at the next check', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    bench.leaveOne(a.memberId);
    expect(bench.state()).toBe('Empty');
    bench.advance(CHECK_MS);
    expect(bench.state()).toBe('Dead');
  });
});

describe('deleting a group', () => {
  it('is refused while it has members, and takes everything along when it has none', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    bench.commit(1, { memberId: a.memberId, generation: 1 });
    expect(bench.deleteGroup()).toBe('GROUP_NOT_EMPTY');
    bench.leaveOne(a.memberId);
    const pending = bench.join({ requireKnownMemberId: true }).answer;
    expect(bench.deleteGroup()).toBe(null);
    expect(bench.deleteGroup()).toBe('GROUP_NOT_FOUND');
    expect(stateOf(bench.records).size).toBe(0);
    expect(bench.join({ memberId: pending.memberId }).answer.error).toBe('MEMBER_UNKNOWN');
    bench.crash();
    expect(bench.state()).toBe('Dead');
    expect(bench.fetch().offset).toBe(-1);
  });

  it('of announced members only leaves nothing', () => {
    const bench = new Bench();
    bench.join({ requireKnownMemberId: true });
    expect(bench.deleteGroup()).toBe(null);
    expect(bench.state()).toBe('Dead');
    expect(bench.records).toEqual([]);
    bench.advance(CHECK_MS);
    expect(bench.coordinator.nextDeadline()).toBeUndefined();
  });

  it('of a simple group', () => {
    const bench = new Bench();
    bench.commitAll([{ offset: 1 }, { topic: 'u', offset: 1 }]);
    expect(bench.deleteGroup()).toBe(null);
    expect(bench.state()).toBe('Dead');
    expect(stateOf(bench.records).size).toBe(0);
  });
});
