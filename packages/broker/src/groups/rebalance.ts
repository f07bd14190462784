import { assert, type Deadlines, type ErrorCode } from '@hadron/base';
import { type Alarm, type Group, type Member, NO_BYTES } from './group.ts';
import type { GroupImage } from './records.ts';
import type { GroupStore } from './store.ts';
import type { Turn } from './turn.ts';
import type { GroupsConfig, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse } from './types.ts';

/**
 * The round every change of membership runs: begin → (all have joined, or time is up) → complete → the leader assigns.
 *
 * Two records per round, whatever the number of members: one when the join phase completes, before its generation is
 * answered to anyone, so that no crash can hand the same generation out twice; one with the assignment.
 */
export class Rebalance<Token> {
  readonly #store: GroupStore<Token>;
  readonly #deadlines: Deadlines<Alarm<Token>>;
  readonly #config: () => GroupsConfig;

  constructor(store: GroupStore<Token>, deadlines: Deadlines<Alarm<Token>>, config: () => GroupsConfig) {
    this.#store = store;
    this.#deadlines = deadlines;
    this.#config = config;
  }

  // --- the join phase ------------------------------------------------------------------------------------------------

  /** Something changed that needs a new generation; if one is being prepared already, it may just have become complete. */
  request(turn: Turn<Token>, group: Group<Token>): void {
    if (group.canRebalance()) this.begin(turn, group);
    else this.completeIfAllJoined(turn, group);
  }

  begin(turn: Turn<Token>, group: Group<Token>): void {
    for (const member of group.members.values()) {
      if (member.syncWaiter === null) continue;
      this.#answerSync(turn, member, syncFailed('REBALANCE_IN_PROGRESS'));
      this.renewSession(turn, member);
    }
    group.pendingSyncs.clear();
    this.#deadlines.cancel(group.syncDeadline);

    group.initialRebalance = group.state === 'Empty';
    group.step('rebalance');
    if (group.initialRebalance) {
      const delayMs = this.#config().initialRebalanceDelayMs;
      group.newMemberAdded = false;
      group.initialDelayMs = delayMs;
      group.initialDelayLeftMs = Math.max(group.rebalanceTimeoutMs() - delayMs, 0);
      this.#deadlines.set(group.joinDeadline, turn.now + delayMs);
    } else if (group.hasAllJoined()) {
      this.#complete(turn, group);
    } else {
      this.#deadlines.set(group.joinDeadline, turn.now + group.rebalanceTimeoutMs());
    }
  }

  completeIfAllJoined(turn: Turn<Token>, group: Group<Token>): void {
    // The initial rebalance ends by its delay: "all" of a group that is just assembling means nothing.
    if (group.state !== 'PreparingRebalance' || group.initialRebalance || !group.hasAllJoined()) return;
    this.#complete(turn, group);
  }

  joinDeadlinePassed(turn: Turn<Token>, group: Group<Token>): void {
    assert(group.state === 'PreparingRebalance', `a join deadline passed in state ${group.state}`);
    if (!group.initialRebalance || !group.newMemberAdded || group.initialDelayLeftMs === 0) {
      return this.#complete(turn, group);
    }
    // Someone came during the delay: wait once more, at most as long as the members agreed to wait altogether.
    const elapsedMs = group.initialDelayMs;
    group.newMemberAdded = false;
    group.initialDelayMs = Math.min(this.#config().initialRebalanceDelayMs, group.initialDelayLeftMs);
    group.initialDelayLeftMs = Math.max(group.initialDelayLeftMs - elapsedMs, 0);
    this.#deadlines.set(group.joinDeadline, turn.now + group.initialDelayMs);
  }

  #complete(turn: Turn<Token>, group: Group<Token>): void {
    this.#deadlines.cancel(group.joinDeadline);
    for (const member of group.members.values()) {
      // A static member may be restarting: only its session decides.
      if (member.joinWaiter === null && member.image.instanceId === null) this.drop(turn, group, member);
    }
    if (!group.electJoinedLeader() && group.members.size > 0) {
      // Only absent static members are left. Wait for them, or for their sessions to end.
      this.#deadlines.set(group.joinDeadline, turn.now + group.rebalanceTimeoutMs());
      return;
    }
    const image = nextGeneration(group, turn.wallMs);
    group.step(image.state === 'Empty' ? 'emptied' : 'joined');
    this.#store.write(turn, { type: 'group', groupId: group.id, image });
    if (image.state === 'Empty') return;

    for (const member of group.members.values()) {
      const waiter = group.takeJoinWaiter(member);
      if (waiter !== null) turn.answer(waiter.to, joined(group, member));
      member.isNew = false;
      group.pendingSyncs.add(member.id);
      this.renewSession(turn, member);
    }
    this.#deadlines.set(group.syncDeadline, turn.now + group.rebalanceTimeoutMs());
  }

  // --- the sync phase ------------------------------------------------------------------------------------------------

  syncArrived(group: Group<Token>, memberId: string): void {
    group.pendingSyncs.delete(memberId);
    if (group.pendingSyncs.size === 0) this.#deadlines.cancel(group.syncDeadline);
  }

  /** The leader has spoken: members it forgot get an empty assignment, names it invented are ignored. */
  assign(turn: Turn<Token>, group: Group<Token>, assignments: SyncGroupRequest['assignments']): void {
    const byMember = new Map(assignments.map(({ memberId, assignment }) => [memberId, assignment]));
    const members = Array.from(group.members.values(), ({ image }) => {
      const assignment = byMember.get(image.id);
      return { ...image, assignment: assignment === undefined ? NO_BYTES : new Uint8Array(assignment) };
    });
    group.step('assigned');
    const image: GroupImage = { ...imageOf(group), state: 'Stable', members };
    this.#store.write(turn, { type: 'group', groupId: group.id, image });
    for (const member of group.members.values()) {
      if (member.syncWaiter === null) continue;
      this.#answerSync(turn, member, synced(group, member));
      this.renewSession(turn, member);
    }
  }

  /** Who knows the generation and does not ask for its assignment within the rebalance timeout is gone. */
  syncDeadlinePassed(turn: Turn<Token>, group: Group<Token>): void {
    if (group.pendingSyncs.size === 0) return;
    for (const memberId of group.pendingSyncs) {
      const member = group.members.get(memberId);
      assert(member !== undefined, `${memberId} should sync and is no member`);
      this.drop(turn, group, member);
    }
    this.begin(turn, group);
  }

  /** After recovery: nobody waits and nobody has been heard from, so every clock starts from here. */
  resume(turn: Turn<Token>, group: Group<Token>): void {
    for (const member of group.members.values()) {
      this.renewSession(turn, member);
      if (group.state === 'CompletingRebalance') group.pendingSyncs.add(member.id);
    }
    if (group.pendingSyncs.size > 0) this.#deadlines.set(group.syncDeadline, turn.now + group.rebalanceTimeoutMs());
    // The limit was lowered while we were down: a rebalance lets the members commit before the last ones are turned away.
    if (group.members.size > this.#config().groupSizeMax) this.begin(turn, group);
  }

  // --- members come back and go --------------------------------------------------------------------------------------

  renewSession(turn: Turn<Token>, member: Member<Token>): void {
    this.#deadlines.set(member.session, turn.now + member.image.sessionTimeoutMs);
  }

  /** A member holds its place by waiting. If it asks twice, the older request is a lost one: it is told to join again. */
  holdJoin(turn: Turn<Token>, group: Group<Token>, member: Member<Token>, to: Token): void {
    const older = group.takeJoinWaiter(member);
    if (older !== null) turn.answer(older.to, joinFailed('REBALANCE_IN_PROGRESS', member.id));
    group.awaitJoin(member, to);
  }

  holdSync(turn: Turn<Token>, member: Member<Token>, to: Token): void {
    this.#answerSync(turn, member, syncFailed('REBALANCE_IN_PROGRESS'));
    member.syncWaiter = { to };
  }

  /** Answers whatever the member waits for and forgets it. What that means for the group is the caller's next line. */
  drop(turn: Turn<Token>, group: Group<Token>, member: Member<Token>, error: ErrorCode = 'MEMBER_UNKNOWN'): void {
    this.#releaseWaiters(turn, group, member, joinFailed(error, ''), error);
    group.remove(member);
  }

  /** A static member returned under a new id; whoever still waits under the old one is a duplicate and is fenced. */
  fence(turn: Turn<Token>, group: Group<Token>, member: Member<Token>): void {
    this.#releaseWaiters(turn, group, member, joinFailed('MEMBER_FENCED', member.id), 'MEMBER_FENCED');
  }

  #releaseWaiters(
    turn: Turn<Token>,
    group: Group<Token>,
    member: Member<Token>,
    joinAnswer: JoinGroupResponse,
    syncError: ErrorCode,
  ): void {
    const waiter = group.takeJoinWaiter(member);
    if (waiter !== null) turn.answer(waiter.to, joinAnswer);
    this.#answerSync(turn, member, syncFailed(syncError));
    this.#deadlines.cancel(member.session);
  }

  #answerSync(turn: Turn<Token>, member: Member<Token>, response: SyncGroupResponse): void {
    if (member.syncWaiter !== null) turn.answer(member.syncWaiter.to, response);
    member.syncWaiter = null;
  }
}

function nextGeneration<Token>(group: Group<Token>, wallMs: number): GroupImage {
  const isEmpty = group.members.size === 0;
  return {
    state: isEmpty ? 'Empty' : 'CompletingRebalance',
    generation: group.generation + 1,
    emptySinceMs: isEmpty ? wallMs : -1,
    protocolType: group.protocolType,
    protocolName: isEmpty ? null : group.selectProtocol(),
    leaderId: group.leaderId,
    members: Array.from(group.members.values(), ({ image }) => ({ ...image, assignment: NO_BYTES })),
  };
}

/** The group as it is now, as an image of the same generation. */
export function imageOf<Token>(group: Group<Token>): GroupImage {
  assert(group.image !== null, 'a generation that was answered has an image');
  const members = Array.from(group.members.values(), ({ image }) => image);
  return { ...group.image, leaderId: group.leaderId, members };
}

// --- answers ---------------------------------------------------------------------------------------------------------

export function joinFailed(error: ErrorCode, memberId: string): JoinGroupResponse {
  return {
    type: 'joinGroup',
    error,
    memberId,
    generation: -1,
    protocolType: null,
    protocolName: null,
    leader: '',
    skipAssignment: false,
    members: [],
  };
}

/** The present generation as this member sees it: the leader gets the members. */
export function joined<Token>(group: Group<Token>, member: Member<Token>): JoinGroupResponse {
  return {
    type: 'joinGroup',
    error: null,
    memberId: member.id,
    generation: group.generation,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    leader: group.leaderId ?? '',
    skipAssignment: false,
    members: group.isLeader(member.id) ? group.membersForLeader() : [],
  };
}

export function syncFailed(error: ErrorCode): SyncGroupResponse {
  return { type: 'syncGroup', error, protocolType: null, protocolName: null, assignment: NO_BYTES };
}

export function synced<Token>(group: Group<Token>, member: Member<Token>): SyncGroupResponse {
  const { protocolType, protocolName } = group;
  return { type: 'syncGroup', error: null, protocolType, protocolName, assignment: member.image.assignment };
}
