import { assert, Deadline, type Deadlines, type Random, uuid } from '@hadron/base';
import { type Alarm, type Group, type Member, NO_BYTES, sameProtocols } from './group.ts';
import type { MemberImage } from './records.ts';
import { imageOf, joined, joinFailed, type Rebalance } from './rebalance.ts';
import type { GroupStore } from './store.ts';
import type { Turn } from './turn.ts';
import type { GroupsConfig, JoinGroupRequest, Protocol } from './types.ts';

/**
 * JoinGroup: who may come in, under which id, and whether that costs everyone a rebalance.
 *
 *   no member id, no instance id    a newcomer; with `requireKnownMemberId` it first gets an id to come back with, so
 *                                   that a client that gives up waiting does not leave a ghost behind with each retry
 *   no member id, instance id       a newcomer, or a static member after a restart: it replaces its former self
 *   a member id                     a newcomer with the id it was given, or a member that joins again
 */
export class Joining<Token> {
  readonly #store: GroupStore<Token>;
  readonly #deadlines: Deadlines<Alarm<Token>>;
  readonly #rebalance: Rebalance<Token>;
  readonly #config: () => GroupsConfig;
  readonly #random: Random;

  constructor(
    store: GroupStore<Token>,
    deadlines: Deadlines<Alarm<Token>>,
    rebalance: Rebalance<Token>,
    config: () => GroupsConfig,
    random: Random,
  ) {
    this.#store = store;
    this.#deadlines = deadlines;
    this.#rebalance = rebalance;
    this.#config = config;
    this.#random = random;
  }

  join(turn: Turn<Token>, request: JoinGroupRequest, to: Token): void {
    const { groupId, memberId, sessionTimeoutMs } = request;
    const config = this.#config();
    if (groupId === '') {
      turn.answer(to, joinFailed('GROUP_ID_INVALID', memberId));
      return;
    }
    if (!(sessionTimeoutMs >= config.sessionTimeoutMinMs && sessionTimeoutMs <= config.sessionTimeoutMaxMs)) {
      turn.answer(to, joinFailed('SESSION_TIMEOUT_INVALID', memberId));
      return;
    }
    const group = memberId === '' ? this.#store.getOrCreate(groupId) : this.#store.groups.get(groupId);
    if (group === undefined) {
      turn.answer(to, joinFailed('MEMBER_UNKNOWN', memberId));
      return;
    }
    if (!hasRoom(group, memberId, config.groupSizeMax)) {
      turn.answer(to, joinFailed('GROUP_FULL', ''));
      this.#turnAway(turn, group, memberId);
    } else if (!group.supports(request.protocolType, request.protocols)) {
      turn.answer(to, joinFailed('GROUP_PROTOCOL_INCONSISTENT', memberId));
    } else if (memberId === '') {
      this.#joinNew(turn, group, request, to);
    } else {
      this.#joinKnown(turn, group, request, to);
    }
    this.#store.forgetIfVoid(group);
  }

  // --- without a member id -------------------------------------------------------------------------------------------

  #joinNew(turn: Turn<Token>, group: Group<Token>, request: JoinGroupRequest, to: Token): void {
    const { instanceId } = request;
    const newId = `${instanceId ?? request.clientId}-${uuid(this.#random)}`;
    if (instanceId !== null) {
      const formerId = group.staticMemberId(instanceId);
      const former = formerId === undefined ? undefined : group.members.get(formerId);
      if (former === undefined) this.#add(turn, group, newId, request, to);
      else this.#returnStatic(turn, group, former, newId, request, to);
    } else if (request.requireKnownMemberId) {
      const pending = new Deadline<Alarm<Token>>({ kind: 'pendingJoin', group, memberId: newId });
      group.pendingJoins.set(newId, pending);
      this.#deadlines.set(pending, turn.now + request.sessionTimeoutMs);
      turn.answer(to, joinFailed('MEMBER_ID_REQUIRED', newId));
    } else {
      this.#add(turn, group, newId, request, to);
    }
  }

  /** KIP-345: the instance keeps its place; its former self is fenced. */
  #returnStatic(
    turn: Turn<Token>,
    group: Group<Token>,
    former: Member<Token>,
    newId: string,
    request: JoinGroupRequest,
    to: Token,
  ): void {
    const formerLeaderId = group.leaderId;
    this.#rebalance.fence(turn, group, former);
    const image = { ...memberImage(newId, request), assignment: former.image.assignment };
    const member = group.replace(former, image);

    if (group.state === 'Stable' && group.selectProtocol() === group.protocolName) {
      // Nobody else needs to know. The assignment stands; only the id of the member on disk changes.
      this.#rebalance.renewSession(turn, member);
      this.#store.write(turn, { type: 'group', groupId: group.id, image: imageOf(group) });
      if (request.supportsSkipAssignment) {
        turn.answer(to, { ...joined(group, member), skipAssignment: group.isLeader(newId) });
      } else {
        // An older client that is told it leads would assign, and a stable group would not hear it: name the old leader.
        turn.answer(to, { ...joined(group, member), leader: formerLeaderId ?? '', members: [] });
      }
      return;
    }
    this.#rebalance.renewSession(turn, member);
    this.#rebalance.holdJoin(turn, group, member, to);
    // CompletingRebalance: the leader may be assigning to the old id at this moment, so everyone must come again.
    this.#rebalance.request(turn, group);
  }

  // --- with a member id ----------------------------------------------------------------------------------------------

  #joinKnown(turn: Turn<Token>, group: Group<Token>, request: JoinGroupRequest, to: Token): void {
    const { memberId, instanceId } = request;
    const pending = instanceId === null ? group.pendingJoins.get(memberId) : undefined;
    if (pending !== undefined) {
      this.#deadlines.cancel(pending);
      group.pendingJoins.delete(memberId);
      return this.#add(turn, group, memberId, request, to);
    }
    const refusal = group.refusalOf(memberId, instanceId);
    if (refusal !== null) {
      turn.answer(to, joinFailed(refusal, memberId));
      return;
    }
    const member = group.members.get(memberId);
    assert(member !== undefined, 'a member that was not refused exists');
    if (!this.#needsRebalance(group, member, request.protocols)) {
      // The answer was lost on its way, or a follower of a stable group asks again: the generation stands.
      this.#rebalance.renewSession(turn, member);
      turn.answer(to, joined(group, member));
      return;
    }
    group.update(member, {
      ...member.image,
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs: rebalanceTimeoutOf(request),
      protocols: ownProtocols(request.protocols),
    });
    this.#rebalance.holdJoin(turn, group, member, to);
    this.#rebalance.request(turn, group);
  }

  #needsRebalance(group: Group<Token>, member: Member<Token>, protocols: readonly Protocol[]): boolean {
    switch (group.state) {
      case 'CompletingRebalance':
        return !sameProtocols(member.image.protocols, distinct(protocols));
      case 'Stable':
        // A leader joins again because something else changed, the partitions of a topic say: let it assign anew.
        return group.isLeader(member.id) || !sameProtocols(member.image.protocols, distinct(protocols));
      default:
        return true;
    }
  }

  // --- both ----------------------------------------------------------------------------------------------------------

  #add(turn: Turn<Token>, group: Group<Token>, memberId: string, request: JoinGroupRequest, to: Token): void {
    if (group.state === 'PreparingRebalance' && group.initialRebalance) group.newMemberAdded = true;
    const member = group.add(memberImage(memberId, request), request.protocolType);
    member.isNew = true;
    group.awaitJoin(member, to);
    this.#deadlines.set(member.session, turn.now + this.#config().newMemberJoinTimeoutMs);
    this.#rebalance.request(turn, group);
  }

  /** The group is full, or was made smaller while it rebalanced: the last to come lose their place. */
  #turnAway(turn: Turn<Token>, group: Group<Token>, memberId: string): void {
    const pending = group.pendingJoins.get(memberId);
    if (pending !== undefined) this.#deadlines.cancel(pending);
    group.pendingJoins.delete(memberId);
    const member = group.members.get(memberId);
    if (member !== undefined) this.#rebalance.drop(turn, group, member);
    this.#rebalance.completeIfAllJoined(turn, group);
  }
}

/**
 * While members are joining again the count is of those who have: the group may be larger than a limit that was lowered,
 * and then it is the late ones who do not fit.
 */
function hasRoom<Token>(group: Group<Token>, memberId: string, sizeMax: number): boolean {
  const member = group.members.get(memberId);
  switch (group.state) {
    case 'PreparingRebalance':
      return (member !== undefined && member.joinWaiter !== null) || group.awaitingJoin < sizeMax;
    case 'CompletingRebalance':
    case 'Stable':
      return member !== undefined || group.members.size < sizeMax;
    default:
      return true;
  }
}

function memberImage(id: string, request: JoinGroupRequest): MemberImage {
  const { instanceId, clientId, clientHost, sessionTimeoutMs } = request;
  return {
    id,
    instanceId,
    clientId,
    clientHost,
    sessionTimeoutMs,
    rebalanceTimeoutMs: rebalanceTimeoutOf(request),
    protocols: ownProtocols(request.protocols),
    assignment: NO_BYTES,
  };
}

/** Always positive, so that no deadline of a rebalance passes in the turn that sets it. */
function rebalanceTimeoutOf(request: JoinGroupRequest): number {
  return request.rebalanceTimeoutMs <= 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs;
}

/** The first of each name counts; a second one would make the member vote and be counted twice. */
function distinct(protocols: readonly Protocol[]): readonly Protocol[] {
  const names = new Set<string>();
  return protocols.filter(({ name }) => names.size < names.add(name).size);
}

/** Copies: the request's bytes are views of a receive buffer. */
function ownProtocols(protocols: readonly Protocol[]): Protocol[] {
  return distinct(protocols).map(({ name, metadata }) => ({ name, metadata: new Uint8Array(metadata) }));
}
