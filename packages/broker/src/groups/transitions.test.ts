import type { ErrorCode } from '@hadron/base';
import { describe, expect, it } from 'vitest';
import { type Asked, Bench, bytes } from './test-harness.ts';
import { type GroupEvent, type GroupState, TRANSITIONS, transition } from './transitions.ts';
import type { JoinGroupRequest, JoinGroupResponse, SyncGroupResponse } from './types.ts';

describe('the table of steps', () => {
  for (const [from, row] of Object.entries(TRANSITIONS)) {
    for (const [event, to] of Object.entries(row)) {
      it(`${from} + ${event} → ${to ?? 'a broken invariant'}`, () => {
        const step = () => transition(from as GroupState, event as GroupEvent);
        if (to === null) expect(step).toThrow('Broken invariant');
        else expect(step()).toBe(to);
      });
    }
  }
});

/**
 * Every state × everything that can happen to a group, driven through the coordinator.
 *
 * In the first four states there are a leader A and a follower B of one generation (in Empty they have left; Dead is the
 * same group deleted). In PreparingRebalance a newcomer C waits for them.
 */
type Happening =
  | 'a new member joins'
  | 'a new member asks for its id'
  | 'a member of another protocol type joins'
  | 'the follower joins again'
  | 'the follower joins with new metadata'
  | 'the leader joins again'
  | 'the leader syncs'
  | 'the follower syncs'
  | 'the follower syncs an old generation'
  | 'the follower heartbeats'
  | 'the follower heartbeats an old generation'
  | 'a stranger heartbeats'
  | 'the follower leaves'
  | 'leader and follower leave'
  | 'the follower commits'
  | 'a simple consumer commits'
  | 'sessions end'
  | 'the rebalance timeout passes'
  | 'it is deleted';

/** The state after, and what was answered: an error, 'ok', 'waits', or 'nobody asked'. */
type Cell = [state: GroupState, answer: ErrorCode | 'ok' | 'waits' | 'nobody asked'];

const CELLS: Record<GroupState, Record<Happening, Cell>> = {
  Empty: {
    'a new member joins': ['PreparingRebalance', 'waits'],
    'a new member asks for its id': ['Empty', 'MEMBER_ID_REQUIRED'],
    'a member of another protocol type joins': ['PreparingRebalance', 'waits'],
    'the follower joins again': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower joins with new metadata': ['Empty', 'MEMBER_UNKNOWN'],
    'the leader joins again': ['Empty', 'MEMBER_UNKNOWN'],
    'the leader syncs': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower syncs': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower syncs an old generation': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower heartbeats': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower heartbeats an old generation': ['Empty', 'MEMBER_UNKNOWN'],
    'a stranger heartbeats': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower leaves': ['Empty', 'MEMBER_UNKNOWN'],
    'leader and follower leave': ['Empty', 'MEMBER_UNKNOWN'],
    'the follower commits': ['Empty', 'MEMBER_UNKNOWN'],
    'a simple consumer commits': ['Empty', 'ok'],
    'sessions end': ['Empty', 'nobody asked'],
    'the rebalance timeout passes': ['Empty', 'nobody asked'],
    'it is deleted': ['Dead', 'ok'],
  },
  PreparingRebalance: {
    'a new member joins': ['PreparingRebalance', 'waits'],
    'a new member asks for its id': ['PreparingRebalance', 'MEMBER_ID_REQUIRED'],
    'a member of another protocol type joins': ['PreparingRebalance', 'GROUP_PROTOCOL_INCONSISTENT'],
    'the follower joins again': ['PreparingRebalance', 'waits'],
    'the follower joins with new metadata': ['PreparingRebalance', 'waits'],
    'the leader joins again': ['PreparingRebalance', 'waits'],
    'the leader syncs': ['PreparingRebalance', 'REBALANCE_IN_PROGRESS'],
    'the follower syncs': ['PreparingRebalance', 'REBALANCE_IN_PROGRESS'],
    'the follower syncs an old generation': ['PreparingRebalance', 'GENERATION_ILLEGAL'],
    'the follower heartbeats': ['PreparingRebalance', 'REBALANCE_IN_PROGRESS'],
    'the follower heartbeats an old generation': ['PreparingRebalance', 'GENERATION_ILLEGAL'],
    'a stranger heartbeats': ['PreparingRebalance', 'MEMBER_UNKNOWN'],
    'the follower leaves': ['PreparingRebalance', 'ok'],
    'leader and follower leave': ['CompletingRebalance', 'ok'],
    'the follower commits': ['PreparingRebalance', 'ok'],
    'a simple consumer commits': ['PreparingRebalance', 'MEMBER_UNKNOWN'],
    'sessions end': ['CompletingRebalance', 'nobody asked'],
    'the rebalance timeout passes': ['CompletingRebalance', 'nobody asked'],
    'it is deleted': ['PreparingRebalance', 'GROUP_NOT_EMPTY'],
  },
  CompletingRebalance: {
    'a new member joins': ['PreparingRebalance', 'waits'],
    'a new member asks for its id': ['CompletingRebalance', 'MEMBER_ID_REQUIRED'],
    'a member of another protocol type joins': ['CompletingRebalance', 'GROUP_PROTOCOL_INCONSISTENT'],
    'the follower joins again': ['CompletingRebalance', 'ok'],
    'the follower joins with new metadata': ['PreparingRebalance', 'waits'],
    'the leader joins again': ['CompletingRebalance', 'ok'],
    'the leader syncs': ['Stable', 'ok'],
    'the follower syncs': ['CompletingRebalance', 'waits'],
    'the follower syncs an old generation': ['CompletingRebalance', 'GENERATION_ILLEGAL'],
    'the follower heartbeats': ['CompletingRebalance', 'ok'],
    'the follower heartbeats an old generation': ['CompletingRebalance', 'GENERATION_ILLEGAL'],
    'a stranger heartbeats': ['CompletingRebalance', 'MEMBER_UNKNOWN'],
    'the follower leaves': ['PreparingRebalance', 'ok'],
    'leader and follower leave': ['Empty', 'ok'],
    'the follower commits': ['CompletingRebalance', 'REBALANCE_IN_PROGRESS'],
    'a simple consumer commits': ['CompletingRebalance', 'MEMBER_UNKNOWN'],
    'sessions end': ['Empty', 'nobody asked'],
    'the rebalance timeout passes': ['Empty', 'nobody asked'],
    'it is deleted': ['CompletingRebalance', 'GROUP_NOT_EMPTY'],
  },
  Stable: {
    'a new member joins': ['PreparingRebalance', 'waits'],
    'a new member asks for its id': ['Stable', 'MEMBER_ID_REQUIRED'],
    'a member of another protocol type joins': ['Stable', 'GROUP_PROTOCOL_INCONSISTENT'],
    'the follower joins again': ['Stable', 'ok'],
    'the follower joins with new metadata': ['PreparingRebalance', 'waits'],
    'the leader joins again': ['PreparingRebalance', 'waits'],
    'the leader syncs': ['Stable', 'ok'],
    'the follower syncs': ['Stable', 'ok'],
    'the follower syncs an old generation': ['Stable', 'GENERATION_ILLEGAL'],
    'the follower heartbeats': ['Stable', 'ok'],
    'the follower heartbeats an old generation': ['Stable', 'GENERATION_ILLEGAL'],
    'a stranger heartbeats': ['Stable', 'MEMBER_UNKNOWN'],
    'the follower leaves': ['PreparingRebalance', 'ok'],
    'leader and follower leave': ['Empty', 'ok'],
    'the follower commits': ['Stable', 'ok'],
    'a simple consumer commits': ['Stable', 'MEMBER_UNKNOWN'],
    'sessions end': ['Empty', 'nobody asked'],
    'the rebalance timeout passes': ['Stable', 'nobody asked'],
    'it is deleted': ['Stable', 'GROUP_NOT_EMPTY'],
  },
  Dead: {
    'a new member joins': ['PreparingRebalance', 'waits'],
    'a new member asks for its id': ['Empty', 'MEMBER_ID_REQUIRED'],
    'a member of another protocol type joins': ['PreparingRebalance', 'waits'],
    'the follower joins again': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower joins with new metadata': ['Dead', 'MEMBER_UNKNOWN'],
    'the leader joins again': ['Dead', 'MEMBER_UNKNOWN'],
    'the leader syncs': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower syncs': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower syncs an old generation': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower heartbeats': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower heartbeats an old generation': ['Dead', 'MEMBER_UNKNOWN'],
    'a stranger heartbeats': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower leaves': ['Dead', 'MEMBER_UNKNOWN'],
    'leader and follower leave': ['Dead', 'MEMBER_UNKNOWN'],
    'the follower commits': ['Dead', 'GROUP_NOT_FOUND'],
    'a simple consumer commits': ['Empty', 'ok'],
    'sessions end': ['Dead', 'nobody asked'],
    'the rebalance timeout passes': ['Dead', 'nobody asked'],
    'it is deleted': ['Dead', 'GROUP_NOT_FOUND'],
  },
};

interface Scene {
  bench: Bench;
  leaderId: string;
  followerId: string;
  generation: number;
}

function sceneIn(state: GroupState): Scene {
  const bench = new Bench();
  const [a, b] = state === 'CompletingRebalance' ? bench.completing({}, {}) : bench.stable({}, {});
  const { memberId: leaderId, generation } = a as JoinGroupResponse;
  const { memberId: followerId } = b as JoinGroupResponse;
  if (state === 'PreparingRebalance') bench.join();
  if (state === 'Empty' || state === 'Dead') {
    bench.leave([
      { memberId: leaderId, instanceId: null },
      { memberId: followerId, instanceId: null },
    ]);
  }
  if (state === 'Dead') bench.deleteGroup();
  expect(bench.state()).toBe(state);
  return { bench, leaderId, followerId, generation };
}

type Answer = ErrorCode | null | 'nobody asked' | Asked<JoinGroupResponse> | Asked<SyncGroupResponse>;

const HAPPENINGS: Record<Happening, (scene: Scene) => Answer> = {
  'a new member joins': ({ bench }) => bench.join(),
  'a new member asks for its id': ({ bench }) => bench.join({ requireKnownMemberId: true }),
  'a member of another protocol type joins': ({ bench }) => bench.join({ protocolType: 'connect' }),
  'the follower joins again': ({ bench, followerId }) => bench.join({ memberId: followerId }),
  'the follower joins with new metadata': ({ bench, followerId }) => bench.join({ memberId: followerId, ...changed }),
  'the leader joins again': ({ bench, leaderId }) => bench.join({ memberId: leaderId }),
  'the leader syncs': ({ bench, leaderId, generation }) => bench.sync(leaderId, generation),
  'the follower syncs': ({ bench, followerId, generation }) => bench.sync(followerId, generation),
  'the follower syncs an old generation': ({ bench, followerId, generation }) => bench.sync(followerId, generation - 1),
  'the follower heartbeats': ({ bench, followerId, generation }) => bench.heartbeat(followerId, generation),
  'the follower heartbeats an old generation': ({ bench, followerId, generation }) =>
    bench.heartbeat(followerId, generation - 1),
  'a stranger heartbeats': ({ bench, generation }) => bench.heartbeat('stranger', generation),
  'the follower leaves': ({ bench, followerId }) => bench.leaveOne(followerId),
  'leader and follower leave': ({ bench, leaderId, followerId }) =>
    bench.leave([
      { memberId: leaderId, instanceId: null },
      { memberId: followerId, instanceId: null },
    ]).members[1]?.error ?? null,
  'the follower commits': ({ bench, followerId, generation }) => bench.commit(1, { memberId: followerId, generation }),
  'a simple consumer commits': ({ bench }) => bench.commit(1),
  'sessions end': ({ bench }) => {
    bench.advance(10_000);
    return 'nobody asked';
  },
  'the rebalance timeout passes': ({ bench, leaderId, followerId, generation }) => {
    for (let i = 0; i < 12; i++) {
      bench.heartbeat(leaderId, generation);
      bench.heartbeat(followerId, generation);
      bench.advance(5_000);
    }
    return 'nobody asked';
  },
  'it is deleted': ({ bench }) => bench.deleteGroup(),
};

const changed: Partial<JoinGroupRequest> = { protocols: [{ name: 'range', metadata: bytes('other topics') }] };

function nameOf(answer: Answer): Cell[1] {
  if (answer === null) return 'ok';
  if (typeof answer === 'string') return answer;
  return answer.waits ? 'waits' : (answer.answer.error ?? 'ok');
}

describe('R12: states × happenings', () => {
  for (const [state, row] of Object.entries(CELLS) as [GroupState, Record<Happening, Cell>][]) {
    for (const [happening, [after, answer]] of Object.entries(row) as [Happening, Cell][]) {
      it(`${state}: ${happening} → ${after}, ${answer}`, () => {
        const scene = sceneIn(state);
        expect(nameOf(HAPPENINGS[happening](scene))).toBe(answer);
        expect(scene.bench.state()).toBe(after);
      });
    }
  }
});
