import { assert, Deadline, type ErrorCode } from '@hadron/base';
import type { CommittedOffset, GroupImage, MemberImage } from './records.ts';
import { canRebalance, type GroupEvent, type GroupState, transition } from './transitions.ts';
import type { JoinGroupResponse, Protocol } from './types.ts';

/**
 * One group in memory: bookkeeping and questions, no decisions and no answers (those are rebalance.ts and joining.ts).
 *
 * Two layers. `image` is what the log says, replaced as a whole by {@link adopt}, on the live path and in recovery alike.
 * Everything else is the working layer: who waits, who has yet to come, and members whose subscription is newer than the
 * image because the join phase that will make it durable has not ended. A crash loses the working layer and nothing else.
 *
 * Always true:
 *   generation = image.generation (0 without an image)
 *   state ≠ PreparingRebalance ⇒ state = (image?.state ?? Empty), or Dead
 *   members.size > 0 ⇔ leaderId ≠ null;   state = Empty ⇒ members.size = 0
 *   awaitingJoin = number of members with a join waiter; they exist in PreparingRebalance only
 *   a sync waiter exists in CompletingRebalance only
 *   supported(name) = number of members that offer protocol `name`
 */
export class Group<Token> {
  readonly id: string;
  state: GroupState = 'Empty';
  image: GroupImage | null = null;
  protocolType: string | null = null;
  leaderId: string | null = null;
  /** In order of arrival, which decides who leads next. */
  members = new Map<string, Member<Token>>();
  /** Ids handed out with MEMBER_ID_REQUIRED whose owners have not come back yet. */
  readonly pendingJoins = new Map<string, Deadline<Alarm<Token>>>();
  /** Members of this generation that have not sent SyncGroup. */
  readonly pendingSyncs = new Set<string>();
  /** In PreparingRebalance: it was entered from Empty, so it ends by the initial delay and not by completeness. */
  initialRebalance = false;
  /** In the initial rebalance: someone came since the delay was last set. */
  newMemberAdded = false;
  /** In the initial rebalance: by how much the delay may still be extended after the present deadline. */
  initialDelayLeftMs = 0;
  /** The delay that is running in the initial rebalance. */
  initialDelayMs = 0;
  readonly joinDeadline: Deadline<Alarm<Token>>;
  readonly syncDeadline: Deadline<Alarm<Token>>;
  /** Committed offsets by topic name and partition. */
  readonly offsets = new Map<string, Map<number, CommittedOffset>>();

  readonly #staticMembers = new Map<string, string>();
  readonly #supported = new Map<string, number>();
  #awaitingJoin = 0;

  constructor(id: string) {
    this.id = id;
    this.joinDeadline = new Deadline({ kind: 'join', group: this });
    this.syncDeadline = new Deadline({ kind: 'sync', group: this });
  }

  get generation(): number {
    return this.image?.generation ?? 0;
  }

  get protocolName(): string | null {
    return this.image?.protocolName ?? null;
  }

  get awaitingJoin(): number {
    return this.#awaitingJoin;
  }

  step(event: GroupEvent): void {
    this.state = transition(this.state, event);
  }

  canRebalance(): boolean {
    return canRebalance(this.state);
  }

  /**
   * Takes over what a record says. Waiters and deadlines of members that stay are kept.
   * @throws InvariantError when someone who waits for an answer would be lost
   */
  adopt(image: GroupImage): void {
    const former = this.members;
    this.members = new Map();
    this.#staticMembers.clear();
    this.#supported.clear();
    this.#awaitingJoin = 0;
    for (const memberImage of image.members) {
      const member = former.get(memberImage.id) ?? new Member<Token>(this, memberImage);
      former.delete(memberImage.id);
      member.image = memberImage;
      this.#index(member);
    }
    for (const lost of former.values()) {
      assert(
        lost.joinWaiter === null && lost.syncWaiter === null,
        `member ${lost.id} waits and is not in the new image`,
      );
    }
    this.image = image;
    this.state = image.state;
    this.protocolType = image.protocolType;
    this.leaderId = image.leaderId;
  }

  // --- members -------------------------------------------------------------------------------------------------------

  isLeader(memberId: string): boolean {
    return this.leaderId === memberId;
  }

  staticMemberId(instanceId: string): string | undefined {
    return this.#staticMembers.get(instanceId);
  }

  /** Why this member may not speak, or null. The three refusals make clients react differently (R12, error meaning). */
  refusalOf(memberId: string, instanceId: string | null): ErrorCode | null {
    if (instanceId !== null) {
      const owner = this.#staticMembers.get(instanceId);
      if (owner === undefined) return 'MEMBER_UNKNOWN';
      if (owner !== memberId) return 'MEMBER_FENCED';
    }
    return this.members.has(memberId) ? null : 'MEMBER_UNKNOWN';
  }

  add(image: MemberImage, protocolType: string): Member<Token> {
    const { id, instanceId } = image;
    assert(!this.members.has(id), `member ${id} is added twice`);
    assert(instanceId === null || !this.#staticMembers.has(instanceId), `instance ${instanceId} is added twice`);
    if (this.members.size === 0) this.protocolType = protocolType;
    const member = new Member<Token>(this, image);
    this.#index(member);
    this.leaderId ??= id;
    return member;
  }

  /** Forgets a member that waits for nothing. If it led, the oldest of the others leads. */
  remove(member: Member<Token>): void {
    assert(member.joinWaiter === null && member.syncWaiter === null, `member ${member.id} is removed while it waits`);
    this.members.delete(member.id);
    if (member.image.instanceId !== null) this.#staticMembers.delete(member.image.instanceId);
    this.#count(member.image.protocols, -1);
    this.pendingSyncs.delete(member.id);
    if (this.leaderId === member.id) this.leaderId = this.members.keys().next().value ?? null;
  }

  /** A static member came back under a new id: the new one stands for the old, with its assignment and its lead. */
  replace(old: Member<Token>, image: MemberImage): Member<Token> {
    const led = this.leaderId === old.id;
    this.remove(old);
    const member = new Member<Token>(this, image);
    this.#index(member);
    if (led) this.leaderId = member.id;
    return member;
  }

  update(member: Member<Token>, image: MemberImage): void {
    assert(member.id === image.id, 'an update keeps the member id');
    this.#count(member.image.protocols, -1);
    member.image = image;
    this.#count(image.protocols, 1);
  }

  // --- waiting -------------------------------------------------------------------------------------------------------

  awaitJoin(member: Member<Token>, to: Token): void {
    assert(member.joinWaiter === null, `member ${member.id} waits for two joins`);
    member.joinWaiter = { to };
    this.#awaitingJoin += 1;
  }

  takeJoinWaiter(member: Member<Token>): Waiter<Token> | null {
    const waiter = member.joinWaiter;
    if (waiter !== null) this.#awaitingJoin -= 1;
    member.joinWaiter = null;
    return waiter;
  }

  hasAllJoined(): boolean {
    return this.#awaitingJoin === this.members.size && this.pendingJoins.size === 0;
  }

  /** The leader stays if it has joined again; else the first who has takes over. False: nobody has joined. */
  electJoinedLeader(): boolean {
    const leader = this.leaderId === null ? undefined : this.members.get(this.leaderId);
    if (leader === undefined) return false;
    if (leader.joinWaiter !== null) return true;
    for (const member of this.members.values()) {
      if (member.joinWaiter === null) continue;
      this.leaderId = member.id;
      return true;
    }
    return false;
  }

  /** The longest any member asked for; 0 without members. */
  rebalanceTimeoutMs(): number {
    let longest = 0;
    for (const { image } of this.members.values()) longest = Math.max(longest, image.rebalanceTimeoutMs);
    return longest;
  }

  // --- protocols -----------------------------------------------------------------------------------------------------

  /** Whether a member with these protocols can be in one generation with those that are here. */
  supports(protocolType: string, protocols: readonly Protocol[]): boolean {
    if (this.state === 'Empty') return protocolType !== '' && protocols.length > 0;
    if (this.protocolType !== protocolType) return false;
    return protocols.some(({ name }) => (this.#supported.get(name) ?? 0) === this.members.size);
  }

  /** Every member votes for the first of its protocols that all members offer. */
  selectProtocol(): string {
    const votes = new Map<string, number>();
    for (const { image } of this.members.values()) {
      const vote = image.protocols.find(({ name }) => this.#supported.get(name) === this.members.size);
      assert(vote !== undefined, `member ${image.id} shares no protocol with its group`);
      votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1);
    }
    let winner: string | null = null;
    let most = 0;
    for (const [name, count] of votes) {
      if (count > most) {
        winner = name;
        most = count;
      }
    }
    assert(winner !== null, 'an empty group has no protocol to select');
    return winner;
  }

  /** What the leader gets to assign with. */
  membersForLeader(): JoinGroupResponse['members'] {
    const name = this.protocolName;
    return Array.from(this.members.values(), ({ image }) => ({
      memberId: image.id,
      instanceId: image.instanceId,
      metadata: metadataOf(image, name),
    }));
  }

  /** Nothing on disk, nobody here and nobody announced: the group may be forgotten without a record. */
  isVoid(): boolean {
    return (
      this.image === null &&
      this.offsets.size === 0 &&
      this.state === 'Empty' &&
      this.members.size === 0 &&
      this.pendingJoins.size === 0
    );
  }

  #index(member: Member<Token>): void {
    const { id, instanceId, protocols } = member.image;
    this.members.set(id, member);
    if (instanceId !== null) this.#staticMembers.set(instanceId, id);
    this.#count(protocols, 1);
    if (member.joinWaiter !== null) this.#awaitingJoin += 1;
  }

  #count(protocols: readonly Protocol[], by: 1 | -1): void {
    for (const { name } of protocols) {
      const count = (this.#supported.get(name) ?? 0) + by;
      if (count === 0) this.#supported.delete(name);
      else this.#supported.set(name, count);
    }
  }
}

export interface Waiter<Token> {
  readonly to: Token;
}

/** A member: its durable image, and who waits on the other end of the line. */
export class Member<Token> {
  image: MemberImage;
  joinWaiter: Waiter<Token> | null = null;
  syncWaiter: Waiter<Token> | null = null;
  /** It has never completed a join: it cannot heartbeat yet, so waiting does not keep it alive for ever. */
  isNew = false;
  readonly session: Deadline<Alarm<Token>>;

  constructor(group: Group<Token>, image: MemberImage) {
    this.image = image;
    this.session = new Deadline({ kind: 'session', group, member: this });
  }

  get id(): string {
    return this.image.id;
  }

  /** Members whose request we hold back cannot be expected to heartbeat. */
  get isExcusedFromHeartbeat(): boolean {
    return !this.isNew && (this.joinWaiter !== null || this.syncWaiter !== null);
  }
}

/** What a deadline that passed is about. */
export type Alarm<Token> =
  | { readonly kind: 'session'; readonly group: Group<Token>; readonly member: Member<Token> }
  | { readonly kind: 'pendingJoin'; readonly group: Group<Token>; readonly memberId: string }
  | { readonly kind: 'join'; readonly group: Group<Token> }
  | { readonly kind: 'sync'; readonly group: Group<Token> }
  | { readonly kind: 'retention' };

export const NO_BYTES = new Uint8Array(0);

export function metadataOf(image: MemberImage, protocolName: string | null): Uint8Array {
  return image.protocols.find(({ name }) => name === protocolName)?.metadata ?? NO_BYTES;
}

export function sameProtocols(a: readonly Protocol[], b: readonly Protocol[]): boolean {
  return (
    a.length === b.length &&
    a.every((protocol, i) => {
      const other = b[i] as Protocol;
      return protocol.name === other.name && Buffer.compare(protocol.metadata, other.metadata) === 0;
    })
  );
}
