import { describe, expect, it } from 'vitest';
import { Bench, bytes, GROUP, stateOf, text } from './test-harness.ts';
import type { JoinGroupResponse, Protocol } from './types.ts';

const protocols = (...names: string[]): Protocol[] => names.map((name) => ({ name, metadata: bytes(`${name} data`) }));
type Joined = JoinGroupResponse;

describe('R12: a new member', () => {
  it('of JoinGroup ≥ v4 gets an id first and joins with it', () => {
    const bench = new Bench();
    const required = bench.join({ requireKnownMemberId: true, clientId: 'app' }).answer;
    expect(required).toMatchObject({ error: 'MEMBER_ID_REQUIRED', generation: -1, leader: '', members: [] });
    expect(required.memberId).toMatch(/^app-[0-9a-f-]{36}$/);
    const joined = bench.join({ requireKnownMemberId: true, memberId: required.memberId });
    expect(joined.waits).toBe(true);
    bench.advance(0);
    expect(joined.answer).toMatchObject({
      error: null,
      memberId: required.memberId,
      generation: 1,
      leader: required.memberId,
    });
  });

  it('that never comes back with its id is forgotten after its session timeout, and the group with it', () => {
    const bench = new Bench();
    const { memberId } = bench.join({ requireKnownMemberId: true, sessionTimeoutMs: 6_000 }).answer;
    bench.advance(5_999);
    expect(bench.state()).toBe('Empty');
    bench.advance(1);
    expect(bench.state()).toBe('Dead');
    expect(bench.join({ memberId }).answer).toMatchObject({ error: 'MEMBER_UNKNOWN', memberId });
    expect(bench.records).toEqual([]);
  });

  it('that is announced holds up a rebalance, but not longer than it may', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    bench.join({ requireKnownMemberId: true, sessionTimeoutMs: 8_000 });
    const again = bench.join({ memberId: a.memberId });
    expect(again.waits).toBe(true);
    bench.advance(8_000);
    expect(again.answer).toMatchObject({ error: null, generation: 2 });
  });

  it('below v4 joins at once', () => {
    const bench = new Bench();
    const joined = bench.join({ clientId: 'old' });
    bench.advance(0);
    expect(joined.answer).toMatchObject({
      error: null,
      generation: 1,
      protocolType: 'consumer',
      protocolName: 'range',
    });
    expect(joined.answer.memberId).toMatch(/^old-/);
  });

  it('that waits longer than five minutes for its first generation is dropped, and told so', () => {
    const bench = new Bench();
    const [a] = bench.stable({ rebalanceTimeoutMs: 900_000 }) as [Joined];
    const newcomer = bench.join({ rebalanceTimeoutMs: 900_000 });
    for (let i = 0; i < 60; i++) {
      expect(newcomer.waits).toBe(true);
      bench.advance(5_000);
      bench.heartbeat(a.memberId, 1);
    }
    expect(newcomer.answer).toMatchObject({ error: 'MEMBER_UNKNOWN', memberId: '' });
  });

  it('is refused without a group id, with a session timeout out of bounds, or under an unknown id', () => {
    const bench = new Bench();
    expect(bench.join({ groupId: '' }).answer.error).toBe('GROUP_ID_INVALID');
    expect(bench.sync('m', 1, { groupId: '' }).answer.error).toBe('GROUP_ID_INVALID');
    expect(bench.heartbeat('m', 1, null, '')).toBe('GROUP_ID_INVALID');
    expect(bench.leave([], '').error).toBe('GROUP_ID_INVALID');
    expect(bench.join({ sessionTimeoutMs: 5_999 }).answer.error).toBe('SESSION_TIMEOUT_INVALID');
    expect(bench.join({ sessionTimeoutMs: 1_800_001 }).answer.error).toBe('SESSION_TIMEOUT_INVALID');
    expect(bench.join({ memberId: 'nobody' }).answer).toMatchObject({ error: 'MEMBER_UNKNOWN', memberId: 'nobody' });
    expect(bench.coordinator.listGroups()).toEqual([]);
  });
});

describe('R12: protocols', () => {
  it('the one most members prefer among those all offer wins; metadata is handed to the leader unread', () => {
    const bench = new Bench();
    const joined = bench.completing(
      { protocols: protocols('a', 'b', 'c') },
      { protocols: protocols('x', 'c', 'b') },
      { protocols: protocols('c', 'b') },
    );
    expect(joined.map(({ protocolName }) => protocolName)).toEqual(['c', 'c', 'c']);
    const [leader, ...followers] = joined as [Joined, Joined, Joined];
    expect(leader.leader).toBe(leader.memberId);
    expect(leader.members.map(({ memberId }) => memberId)).toEqual(joined.map(({ memberId }) => memberId));
    expect(leader.members.map(({ metadata }) => text(metadata))).toEqual(['c data', 'c data', 'c data']);
    for (const follower of followers) expect(follower).toMatchObject({ leader: leader.memberId, members: [] });
  });

  it('a repeated name counts once', () => {
    const bench = new Bench();
    const joined = bench.completing({ protocols: protocols('a', 'a', 'b') }, { protocols: protocols('b') });
    expect(joined.map(({ protocolName }) => protocolName)).toEqual(['b', 'b']);
  });

  it('no common name, another type, no type or no protocol at all → inconsistent', () => {
    const bench = new Bench();
    expect(bench.join({ protocolType: '' }).answer.error).toBe('GROUP_PROTOCOL_INCONSISTENT');
    expect(bench.join({ protocols: [] }).answer.error).toBe('GROUP_PROTOCOL_INCONSISTENT');
    expect(bench.state()).toBe('Dead');
    bench.stable({ protocols: protocols('range', 'sticky') }, { protocols: protocols('sticky') });
    expect(bench.join({ protocols: protocols('range') }).answer.error).toBe('GROUP_PROTOCOL_INCONSISTENT');
    expect(bench.join({ protocolType: 'connect', protocols: protocols('sticky') }).answer.error).toBe(
      'GROUP_PROTOCOL_INCONSISTENT',
    );
    expect(bench.state()).toBe('Stable');
  });

  it('SyncGroup with another type or name → inconsistent', () => {
    const bench = new Bench();
    const [a] = bench.completing({ protocolType: 'sr', protocols: protocols('v0') }) as [Joined];
    expect(bench.sync(a.memberId, 1, { protocolType: 'consumer' }).answer.error).toBe('GROUP_PROTOCOL_INCONSISTENT');
    expect(bench.sync(a.memberId, 1, { protocolName: 'v1' }).answer.error).toBe('GROUP_PROTOCOL_INCONSISTENT');
    const assignments = [{ memberId: a.memberId, assignment: bytes('all') }];
    const synced = bench.sync(a.memberId, 1, { protocolType: 'sr', protocolName: 'v0', assignments });
    expect(synced.answer).toMatchObject({
      error: null,
      protocolType: 'sr',
      protocolName: 'v0',
      assignment: bytes('all'),
    });
  });

  it('the bytes of a request are copied: the receive buffer is used again', () => {
    const bench = new Bench();
    const buffer = bytes('mine');
    const joined = bench.join({ protocols: [{ name: 'p', metadata: buffer }] });
    buffer.fill(0);
    bench.advance(0);
    expect(text(joined.answer.members[0]?.metadata as Uint8Array)).toBe('mine');
    const assignment = bytes('yours');
    bench.sync(joined.answer.memberId, 1, { assignments: [{ memberId: joined.answer.memberId, assignment }] });
    assignment.fill(0);
    expect(text(bench.sync(joined.answer.memberId, 1).answer.assignment)).toBe('yours');
  });
});

describe('R12: the initial delay', () => {
  it('is extended while members keep coming, up to their rebalance timeout', () => {
    const bench = new Bench({ initialRebalanceDelayMs: 3_000 });
    const first = bench.join({ rebalanceTimeoutMs: 7_000 });
    bench.advance(2_000);
    bench.join({ rebalanceTimeoutMs: 7_000 });
    bench.advance(2_000); // extended at 3 s, to 6 s
    bench.join({ rebalanceTimeoutMs: 7_000 });
    bench.advance(2_500); // extended at 6 s by the one second that is left
    expect(first.waits).toBe(true);
    bench.join({ rebalanceTimeoutMs: 7_000 });
    bench.advance(500);
    expect(first.answer).toMatchObject({ error: null, generation: 1 });
    expect(first.answer.members.length).toBe(4);
  });

  it('passes once when nobody else comes', () => {
    const bench = new Bench({ initialRebalanceDelayMs: 3_000 });
    const first = bench.join();
    bench.advance(2_999);
    expect(first.waits).toBe(true);
    bench.advance(1);
    expect(first.answer.generation).toBe(1);
  });
});

describe('R12: group.max.size', () => {
  it('turns newcomers away when the group is full', () => {
    const bench = new Bench({ groupSizeMax: 2 });
    const [a, b] = bench.stable({}, {}) as [Joined, Joined];
    expect(bench.join().answer).toMatchObject({ error: 'GROUP_FULL', memberId: '' });
    expect(bench.state()).toBe('Stable');
    expect(bench.join({ memberId: b.memberId }).answer.error).toBe(null);
    expect(bench.join({ memberId: a.memberId }).waits).toBe(true);
  });

  it('lowered: after a restart the last to rejoin lose their place, and nobody waits for them', () => {
    const bench = new Bench();
    const [a, b, c] = bench.stable({}, {}, {}) as [Joined, Joined, Joined];
    bench.config = { ...bench.config, groupSizeMax: 2 };
    bench.crash();
    expect(bench.heartbeat(a.memberId, 1)).toBe('REBALANCE_IN_PROGRESS');
    const again = [bench.join({ memberId: a.memberId }), bench.join({ memberId: b.memberId })];
    expect(bench.join({ memberId: c.memberId }).answer.error).toBe('GROUP_FULL');
    expect(again.map(({ answer }) => answer.generation)).toEqual([2, 2]);
  });
});

describe('R12: joining again', () => {
  it('in a stable group: a follower gets the generation, a leader starts a new one', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({}, {}) as [Joined, Joined];
    expect(bench.join({ memberId: b.memberId }).answer).toMatchObject({
      error: null,
      generation: 1,
      leader: a.memberId,
    });
    const leader = bench.join({ memberId: a.memberId });
    expect(leader.waits).toBe(true);
    expect(bench.heartbeat(b.memberId, 1)).toBe('REBALANCE_IN_PROGRESS');
    const follower = bench.join({ memberId: b.memberId });
    expect([leader.answer.generation, follower.answer.generation]).toEqual([2, 2]);
    expect(leader.answer.members.length).toBe(2);
  });

  it('when the answer was lost: the leader gets its members again', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    expect(bench.join({ memberId: a.memberId }).answer).toEqual(a);
    expect(bench.join({ memberId: b.memberId }).answer).toEqual(b);
  });

  it('twice while waiting: the older request is told to join again, the newer one waits', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({}, {}) as [Joined, Joined];
    const older = bench.join({ memberId: a.memberId });
    const newer = bench.join({ memberId: a.memberId });
    expect(older.answer).toMatchObject({ error: 'REBALANCE_IN_PROGRESS', memberId: a.memberId });
    expect(newer.waits).toBe(true);
    bench.join({ memberId: b.memberId });
    expect(newer.answer).toMatchObject({ error: null, generation: 2 });
  });

  it('syncing twice while waiting: likewise', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    const older = bench.sync(b.memberId, 1);
    const newer = bench.sync(b.memberId, 1);
    expect(older.answer.error).toBe('REBALANCE_IN_PROGRESS');
    bench.sync(a.memberId, 1, { assignments: [{ memberId: b.memberId, assignment: bytes('b') }] });
    expect(text(newer.answer.assignment)).toBe('b');
  });
});

describe('R12: time', () => {
  it('a dynamic member that does not rejoin within the longest rebalance timeout is removed', () => {
    const bench = new Bench();
    const [a, b, c] = bench.stable({}, { rebalanceTimeoutMs: 20_000 }, { rebalanceTimeoutMs: 5_000 }) as Joined[];
    bench.config = { ...bench.config };
    const again = [
      bench.join({ memberId: b?.memberId as string, rebalanceTimeoutMs: 20_000, protocols: protocols('range') }),
    ];
    again.push(bench.join({ memberId: c?.memberId as string, rebalanceTimeoutMs: 5_000 }));
    for (let i = 0; i < 12; i++) {
      expect(again[0]?.waits).toBe(true);
      expect(bench.heartbeat(a?.memberId as string, 1)).toBe('REBALANCE_IN_PROGRESS');
      bench.advance(5_000);
    }
    // The leader was the one that stayed away: the first that came leads.
    expect(again.map(({ answer }) => answer.leader)).toEqual([b?.memberId, b?.memberId]);
    expect(bench.heartbeat(a?.memberId as string, 1)).toBe('MEMBER_UNKNOWN');
  });

  it('a member that waits in a rebalance needs no heartbeat, and has a whole session afterwards', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({}, {}) as [Joined, Joined];
    const waiting = bench.join({ memberId: a.memberId });
    for (let i = 0; i < 4; i++) {
      bench.heartbeat(b.memberId, 1);
      bench.advance(9_000);
    }
    bench.join({ memberId: b.memberId });
    expect(waiting.answer.generation).toBe(2);
    bench.advance(9_999);
    expect(bench.heartbeat(a.memberId, 2)).toBe(null);
  });

  it('a member that outlived its session waiting for its assignment has a whole session afterwards, and no longer', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    bench.sync(b.memberId, 1);
    bench.advance(9_000);
    bench.heartbeat(a.memberId, 1);
    bench.advance(9_000);
    bench.sync(a.memberId, 1);
    bench.heartbeat(a.memberId, 1);
    bench.advance(9_999);
    expect(bench.state()).toBe('Stable');
    bench.advance(1);
    expect(bench.state()).toBe('Empty');
    expect(bench.heartbeat(b.memberId, 1)).toBe('MEMBER_UNKNOWN');
  });

  it('a silent member is removed after its session, and the others rebalance', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({}, { sessionTimeoutMs: 6_000 }) as [Joined, Joined];
    bench.advance(5_999);
    expect(bench.heartbeat(a.memberId, 1)).toBe(null);
    bench.advance(1);
    expect(bench.heartbeat(b.memberId, 1)).toBe('MEMBER_UNKNOWN');
    expect(bench.heartbeat(a.memberId, 1)).toBe('REBALANCE_IN_PROGRESS');
    expect(bench.join({ memberId: a.memberId }).answer.generation).toBe(2);
  });

  it('a leader that never syncs is removed at the rebalance timeout; who waited is told to rejoin', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({ rebalanceTimeoutMs: 15_000 }, { rebalanceTimeoutMs: 15_000 }) as [Joined, Joined];
    const waiting = bench.sync(b.memberId, 1);
    for (let i = 0; i < 3; i++) {
      expect(waiting.waits).toBe(true);
      expect(bench.heartbeat(a.memberId, 1)).toBe(null);
      bench.advance(5_000);
    }
    expect(waiting.answer.error).toBe('REBALANCE_IN_PROGRESS');
    expect(bench.heartbeat(a.memberId, 1)).toBe('MEMBER_UNKNOWN');
    expect(bench.join({ memberId: b.memberId }).answer).toMatchObject({ generation: 2, leader: b.memberId });
  });

  it('a follower that never syncs is removed even after the group became stable', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({ rebalanceTimeoutMs: 9_000 }, { rebalanceTimeoutMs: 9_000 }) as [Joined, Joined];
    bench.sync(a.memberId, 1);
    expect(bench.state()).toBe('Stable');
    bench.advance(5_000);
    bench.heartbeat(a.memberId, 1);
    bench.heartbeat(b.memberId, 1);
    bench.advance(4_000);
    expect(bench.heartbeat(b.memberId, 1)).toBe('MEMBER_UNKNOWN');
    expect(bench.state()).toBe('PreparingRebalance');
  });

  it('a commit keeps the session', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    for (let i = 0; i < 5; i++) {
      bench.advance(9_000);
      expect(bench.commit(i, { memberId: a.memberId, generation: 1 })).toBe(null);
    }
  });

  it('found by simulation: asking a stable group for the assignment keeps the session', () => {
    const bench = new Bench();
    const [, b] = bench.stable({}, { sessionTimeoutMs: 6_000, rebalanceTimeoutMs: 6_000 }) as [Joined, Joined];
    bench.advance(4_000);
    expect(bench.sync(b.memberId, 1).answer.error).toBe(null);
    bench.advance(4_000);
    expect(bench.heartbeat(b.memberId, 1)).toBe(null);
  });

  it('found by simulation: joining a generation again after a lost answer keeps the session', () => {
    const bench = new Bench();
    const [, b] = bench.stable({}, { sessionTimeoutMs: 6_000, rebalanceTimeoutMs: 6_000 }) as [Joined, Joined];
    bench.advance(4_000);
    expect(bench.join({ memberId: b.memberId, sessionTimeoutMs: 6_000 }).answer).toMatchObject({
      error: null,
      generation: 1,
    });
    bench.advance(4_000);
    expect(bench.heartbeat(b.memberId, 1)).toBe(null);
  });

  it('a rebalance timeout of zero, which nobody could meet, and none at all (v0) mean the session timeout', () => {
    for (const rebalanceTimeoutMs of [0, -1]) {
      const bench = new Bench();
      const [a, b] = bench.stable({ rebalanceTimeoutMs }, { rebalanceTimeoutMs }) as [Joined, Joined];
      bench.advance(5_000);
      bench.heartbeat(b.memberId, 1);
      const again = bench.join({ memberId: a.memberId, rebalanceTimeoutMs });
      bench.advance(9_999);
      expect(again.waits).toBe(true);
      bench.advance(1);
      expect(again.answer).toMatchObject({ error: null, generation: 2 });
    }
  });

  it('a tiny rebalance timeout and an absent static member: every try is its own tick', () => {
    const bench = new Bench();
    const [, b] = bench.stable({ instanceId: 'i', rebalanceTimeoutMs: 1 }, { rebalanceTimeoutMs: 1 }) as [
      Joined,
      Joined,
    ];
    bench.leaveOne(b.memberId);
    bench.advance(9_999);
    expect(bench.state()).toBe('PreparingRebalance');
    bench.advance(1);
    expect(bench.state()).toBe('Empty');
  });
});

describe('R12: static members', () => {
  const one = { instanceId: 'one' };
  const two = { instanceId: 'two' };

  it('come back under a new id without a rebalance, keep their assignment, and fence their former self', () => {
    const bench = new Bench();
    const [a, b] = bench.stable(one, two) as [Joined, Joined];
    expect(b.memberId).toMatch(/^two-/);
    const before = bench.records.length;
    const back = bench.join(two).answer;
    expect(back).toMatchObject({ error: null, generation: 1, leader: a.memberId, members: [], skipAssignment: false });
    expect(back.memberId).not.toBe(b.memberId);
    expect(bench.records.length - before).toBe(1);
    expect(bench.state()).toBe('Stable');
    expect(text(bench.sync(back.memberId, 1, two).answer.assignment)).toBe(b.memberId);
    expect(bench.heartbeat(a.memberId, 1, 'one')).toBe(null);
    // the former self
    expect(bench.heartbeat(b.memberId, 1, 'two')).toBe('MEMBER_FENCED');
    expect(bench.sync(b.memberId, 1, two).answer.error).toBe('MEMBER_FENCED');
    expect(bench.join({ ...two, memberId: b.memberId }).answer.error).toBe('MEMBER_FENCED');
    expect(bench.commit(1, { memberId: b.memberId, generation: 1, instanceId: 'two' })).toBe('MEMBER_FENCED');
    expect(bench.leave([{ memberId: b.memberId, instanceId: 'two' }]).members[0]?.error).toBe('MEMBER_FENCED');
    // and it is durable
    bench.crash();
    expect(bench.heartbeat(back.memberId, 1, 'two')).toBe(null);
  });

  it('a leader that comes back: KIP-814 clients hear that they lead and must not assign, older ones that another leads', () => {
    const bench = new Bench();
    const [a] = bench.stable(one, two) as [Joined, Joined];
    const newer = bench.join({ ...one, supportsSkipAssignment: true }).answer;
    expect(newer).toMatchObject({ leader: newer.memberId, skipAssignment: true });
    expect(newer.members.map(({ instanceId }) => instanceId).sort()).toEqual(['one', 'two']);
    const older = bench.join(one).answer;
    expect(older).toMatchObject({ leader: newer.memberId, skipAssignment: false, members: [] });
    expect(text(bench.sync(older.memberId, 1, one).answer.assignment)).toBe(a.memberId);
    // It does lead all the same: its next join starts a rebalance.
    expect(bench.join({ ...one, memberId: older.memberId }).waits).toBe(true);
  });

  it('a return that changes the selected protocol rebalances', () => {
    const bench = new Bench();
    bench.stable({ ...one, protocols: protocols('a', 'b') }, { ...two, protocols: protocols('b', 'a') });
    const back = bench.join({ ...one, protocols: protocols('b') });
    expect(back.waits).toBe(true);
    expect(bench.state()).toBe('PreparingRebalance');
  });

  it('a return while the leader assigns rebalances, and the former self that waits is fenced', () => {
    const bench = new Bench();
    const [a, b] = bench.completing(one, two) as [Joined, Joined];
    const former = bench.sync(b.memberId, 1, two);
    const back = bench.join(two);
    expect(former.answer.error).toBe('MEMBER_FENCED');
    expect(back.waits).toBe(true);
    expect(bench.sync(a.memberId, 1, one).answer.error).toBe('REBALANCE_IN_PROGRESS');
    const leader = bench.join({ ...one, memberId: a.memberId }).answer;
    expect(leader.members.map(({ memberId }) => memberId).sort()).toEqual([a.memberId, back.answer.memberId].sort());
  });

  it('a return while members rejoin replaces the one that waits', () => {
    const bench = new Bench();
    const [a] = bench.stable(one, two) as [Joined, Joined];
    const former = bench.join({ ...one, memberId: a.memberId });
    const back = bench.join(one);
    expect(former.answer).toMatchObject({ error: 'MEMBER_FENCED', memberId: a.memberId });
    const other = bench.join(two);
    expect(back.answer.leader).toBe(back.answer.memberId);
    expect(other.answer).toMatchObject({ generation: 2, leader: back.answer.memberId });
  });

  it('survive a rebalance they are absent from, until their session ends', () => {
    const bench = new Bench();
    const session = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 10_000 };
    const [a, b] = bench.stable({ ...one, ...session }, { ...two, ...session }) as [Joined, Joined];
    const again = bench.join({ ...one, ...session, memberId: a.memberId });
    bench.advance(10_000);
    expect(again.answer).toMatchObject({ error: null, generation: 2 });
    expect(again.answer.members.map(({ memberId }) => memberId)).toContain(b.memberId);
  });

  it('that lead and are absent hand the lead to the first who joined', () => {
    const bench = new Bench();
    const session = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 10_000 };
    const [a, b] = bench.stable({ ...one, ...session }, { ...two, ...session }) as [Joined, Joined];
    const again = bench.join({ ...two, ...session, memberId: b.memberId, protocols: protocols('range') });
    bench.advance(10_000);
    expect(again.answer).toMatchObject({ error: null, leader: b.memberId });
    expect(again.answer.members.map(({ memberId }) => memberId)).toEqual([a.memberId, b.memberId]);
  });

  it('that are all absent hold the rebalance until one returns or the last session ends', () => {
    const bench = new Bench();
    const [, b] = bench.stable({ ...one, sessionTimeoutMs: 100_000 }, {}) as [Joined, Joined];
    bench.leaveOne(b.memberId);
    bench.advance(70_000);
    expect(bench.state()).toBe('PreparingRebalance');
    bench.advance(30_000);
    expect(bench.state()).toBe('Empty');
  });

  it('with an id that was only announced, or an instance that is not here, are unknown', () => {
    const bench = new Bench();
    const { memberId } = bench.join({ requireKnownMemberId: true }).answer;
    expect(bench.join({ memberId, instanceId: 'i' }).answer.error).toBe('MEMBER_UNKNOWN');
    const [a] = bench.stable(one) as [Joined];
    expect(bench.heartbeat(a.memberId, 1, 'nobody')).toBe('MEMBER_UNKNOWN');
  });
});

describe('R12: leaving', () => {
  it('several at once, each with its own answer, in their order', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({ instanceId: 'one' }, { instanceId: 'two' }, {}) as [Joined, Joined, Joined];
    const pending = bench.join({ requireKnownMemberId: true }).answer;
    const answer = bench.leave([
      { memberId: '', instanceId: 'one' },
      { memberId: a.memberId, instanceId: 'one' },
      { memberId: 'x', instanceId: 'two' },
      { memberId: pending.memberId, instanceId: null },
      { memberId: '', instanceId: null },
      { memberId: '', instanceId: 'three' },
    ]);
    expect(answer.error).toBe(null);
    expect(answer.members.map(({ error }) => error)).toEqual([
      null,
      'MEMBER_UNKNOWN',
      'MEMBER_FENCED',
      null,
      'MEMBER_UNKNOWN',
      'MEMBER_UNKNOWN',
    ]);
    expect(answer.members[0]).toEqual({ memberId: '', instanceId: 'one', error: null });
    expect(bench.heartbeat(b.memberId, 1, 'two')).toBe('REBALANCE_IN_PROGRESS');
  });

  it('of an announced member only disturbs nobody', () => {
    const bench = new Bench();
    bench.stable({});
    const pending = bench.join({ requireKnownMemberId: true }).answer;
    expect(bench.leaveOne(pending.memberId)).toBe(null);
    expect(bench.state()).toBe('Stable');
  });

  it('while waiting: the request that waits is answered', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    const syncing = bench.sync(b.memberId, 1);
    expect(bench.leaveOne(b.memberId)).toBe(null);
    expect(syncing.answer.error).toBe('MEMBER_UNKNOWN');
    const joining = bench.join();
    const leader = bench.join({ memberId: a.memberId });
    expect(leader.answer.members.length).toBe(2);
    const again = bench.join({ memberId: joining.answer.memberId, protocols: protocols('range') });
    expect(bench.leaveOne(joining.answer.memberId)).toBe(null);
    expect(again.answer).toMatchObject({ error: 'MEMBER_UNKNOWN', memberId: '' });
  });

  it('of the last member empties the group under a new generation', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    bench.leaveOne(a.memberId);
    expect(bench.coordinator.describeGroup(GROUP)).toMatchObject({
      state: 'Empty',
      generation: 2,
      protocolType: 'consumer',
    });
    bench.crash();
    expect(bench.coordinator.describeGroup(GROUP)).toMatchObject({
      state: 'Empty',
      generation: 2,
      protocolType: 'consumer',
    });
    const next = bench.join({ protocolType: 'connect' });
    bench.advance(0);
    expect(next.answer).toMatchObject({ error: null, generation: 3, protocolType: 'connect' });
  });

  it('from a group that does not exist: each is unknown', () => {
    const bench = new Bench();
    expect(bench.leave([{ memberId: 'm', instanceId: null }])).toEqual({
      type: 'leaveGroup',
      error: null,
      members: [{ memberId: 'm', instanceId: null, error: 'MEMBER_UNKNOWN' }],
    });
  });
});

describe('assignments', () => {
  it('of members the leader forgot are empty, of members it invented are ignored', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    const follower = bench.sync(b.memberId, 1);
    bench.sync(a.memberId, 1, { assignments: [{ memberId: 'ghost', assignment: bytes('x') }] });
    expect(follower.answer).toMatchObject({ error: null, assignment: new Uint8Array(0) });
    expect(bench.coordinator.describeGroup(GROUP)?.members.length).toBe(2);
  });

  it('sent by a follower are not used', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    const follower = bench.sync(b.memberId, 1, {
      assignments: [{ memberId: b.memberId, assignment: bytes('all mine') }],
    });
    bench.sync(a.memberId, 1, { assignments: [{ memberId: b.memberId, assignment: bytes('a bit') }] });
    expect(text(follower.answer.assignment)).toBe('a bit');
  });
});

describe('what is shown', () => {
  it('of a stable group: metadata of the protocol in use, and assignments', () => {
    const bench = new Bench();
    const [a] = bench.stable({ protocols: protocols('p', 'q'), clientId: 'c', clientHost: '/10.0.0.1' }) as [Joined];
    expect(bench.coordinator.listGroups()).toEqual([{ groupId: GROUP, state: 'Stable', protocolType: 'consumer' }]);
    expect(bench.coordinator.describeGroup(GROUP)).toEqual({
      groupId: GROUP,
      state: 'Stable',
      generation: 1,
      protocolType: 'consumer',
      protocolName: 'p',
      members: [
        {
          memberId: a.memberId,
          instanceId: null,
          clientId: 'c',
          clientHost: '/10.0.0.1',
          metadata: bytes('p data'),
          assignment: bytes(a.memberId),
        },
      ],
    });
    bench.join({ protocols: protocols('p') });
    const rebalancing = bench.coordinator.describeGroup(GROUP);
    expect(rebalancing).toMatchObject({ state: 'PreparingRebalance', protocolName: '' });
    expect(rebalancing?.members.map(({ metadata, assignment }) => metadata.length + assignment.length)).toEqual([0, 0]);
    expect(bench.coordinator.describeGroup('other')).toBeUndefined();
  });
});

describe('a crash', () => {
  it('never lets an answered generation be used again', () => {
    const bench = new Bench();
    const [a] = bench.completing({}) as [Joined];
    expect(a.generation).toBe(1);
    bench.crash();
    const again = bench.join({ memberId: a.memberId, protocols: protocols('other', 'range') });
    expect(again.answer.generation).toBe(2);
  });

  it('in the sync phase: members ask again and the leader assigns', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({}, {}) as [Joined, Joined];
    bench.crash();
    expect(bench.state()).toBe('CompletingRebalance');
    const follower = bench.sync(b.memberId, 1);
    expect(bench.join({ memberId: a.memberId }).answer.members.length).toBe(2);
    bench.sync(a.memberId, 1, { assignments: [{ memberId: b.memberId, assignment: bytes('b') }] });
    expect(text(follower.answer.assignment)).toBe('b');
  });

  it('in the sync phase: who does not ask is removed at the rebalance timeout', () => {
    const bench = new Bench();
    const [a, b] = bench.completing({ sessionTimeoutMs: 100_000 }, { sessionTimeoutMs: 100_000 }) as [Joined, Joined];
    bench.crash();
    const follower = bench.sync(b.memberId, 1);
    bench.advance(60_000);
    expect(follower.answer.error).toBe('REBALANCE_IN_PROGRESS');
    expect(bench.heartbeat(a.memberId, 1)).toBe('MEMBER_UNKNOWN');
  });

  it('in the join phase returns to the generation before, which goes on', () => {
    const bench = new Bench();
    const [a, b] = bench.stable({}, {}) as [Joined, Joined];
    bench.join({ memberId: a.memberId });
    bench.join();
    bench.crash();
    expect(bench.state()).toBe('Stable');
    expect(bench.heartbeat(b.memberId, 1)).toBe(null);
    expect(text(bench.sync(b.memberId, 1).answer.assignment)).toBe(b.memberId);
  });

  it('gives every member a whole session', () => {
    const bench = new Bench();
    const [a] = bench.stable({}) as [Joined];
    bench.advance(9_000);
    bench.crash();
    bench.advance(9_999);
    expect(bench.heartbeat(a.memberId, 1)).toBe(null);
    bench.advance(10_000);
    expect(bench.heartbeat(a.memberId, 1)).toBe('MEMBER_UNKNOWN');
  });

  it('twice is as once', () => {
    const bench = new Bench();
    bench.stable({}, { instanceId: 'i' });
    bench.commit(5, { groupId: 'simple' });
    const log = stateOf(bench.records);
    bench.crash();
    expect(stateOf(bench.coordinator.snapshot())).toEqual(log);
    for (const record of bench.records) bench.coordinator.replay(record);
    expect(stateOf(bench.coordinator.snapshot())).toEqual(log);
  });
});

describe('size', () => {
  it('200 members that join together cost two records, and few bytes each', () => {
    const bench = new Bench();
    const metadata = new Uint8Array(200);
    const requests = Array.from({ length: 200 }, () => ({ protocols: [{ name: 'range', metadata }] }));
    const joined = bench.completing(...requests);
    bench.syncAll(joined);
    expect(bench.state()).toBe('Stable');
    expect(bench.records.length).toBe(2);
    const logged = bench.records.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
    expect(logged / 200).toBeLessThan(2 * 400);
  });

  it('200 members that come one by one settle one round after the last, without a record per join', () => {
    const bench = new Bench();
    const [first] = bench.stable({}) as [Joined];
    const asked = Array.from({ length: 199 }, () => bench.join());
    const before = bench.records.length;
    expect(bench.heartbeat(first.memberId, 1)).toBe('REBALANCE_IN_PROGRESS');
    const again = bench.join({ memberId: first.memberId });
    bench.syncAll([again.answer, ...asked.map(({ answer }) => answer)]);
    expect(bench.records.length - before).toBe(2);
    expect(bench.state()).toBe('Stable');
  });

  it('10,000 members heartbeat without slowing each other', () => {
    const bench = new Bench();
    const joined = bench.stable(...Array.from({ length: 10_000 }, () => ({})));
    const start = performance.now();
    for (let round = 0; round < 10; round++) {
      for (const { memberId } of joined) bench.heartbeat(memberId, 1);
      bench.advance(3_000);
    }
    expect(performance.now() - start).toBeLessThan(3_000);
    expect(bench.state()).toBe('Stable');
    bench.advance(10_000);
    expect(bench.state()).toBe('Empty');
  });
});
