import { Deadline, Deadlines, type Random } from '@hadron/base';
import { type Alarm, type Group, type Member, metadataOf, NO_BYTES } from './group.ts';
import { Joining } from './joining.ts';
import { commit, commitRefusal, expire, fetch, forgetTopic, refuseCommit, type TopicIdOf } from './offsets.ts';
import { Rebalance, syncFailed, synced } from './rebalance.ts';
import { GroupStore } from './store.ts';
import { Turn } from './turn.ts';
import type {
  CommitOffsetsRequest,
  DeleteGroupRequest,
  DescribedGroup,
  FetchOffsetsRequest,
  GroupsConfig,
  HeartbeatRequest,
  HeartbeatResponse,
  JoinGroupRequest,
  LeaveGroupRequest,
  LeaveGroupResponse,
  ListedGroup,
  Outcome,
  StateRecord,
  SyncGroupRequest,
  SyncGroupResponse,
  GoneTopic,
} from './types.ts';

/**
 * The classic-protocol consumer-group coordinator: a state machine without sockets, clock, randomness or promises.
 *
 * Each command takes a plain request, a token for whoever asked, and the time; it changes memory at once and returns the
 * records to append and the answers to send (see {@link Outcome} for when they may leave). Answers that have to wait are
 * returned by a later command. `now` is monotonic milliseconds and must not go back; `wallMs` is stored, never waited for.
 *
 * Owner: the shell of one shard. It appends, sends, calls {@link tick} at {@link nextDeadline}, and after a restart
 * replays every record of the state log and calls {@link afterRecovery} once before the first command.
 *
 * Always true: every token is answered exactly once; replaying the records of all outcomes gives {@link snapshot}'s state.
 */
export class GroupCoordinator<Token> {
  readonly #config: () => GroupsConfig;
  readonly #topicIdOf: TopicIdOf | null;
  readonly #deadlines = new Deadlines<Alarm<Token>>();
  readonly #store = new GroupStore<Token>(this.#deadlines);
  readonly #rebalance: Rebalance<Token>;
  readonly #joining: Joining<Token>;
  readonly #retention = new Deadline<Alarm<Token>>({ kind: 'retention' });

  /**
   * @param options.config read at every decision
   * @param options.random makes member ids
   * @param options.topicIdOf when given, offsets committed for another incarnation of a topic are not returned
   */
  constructor(options: { config: () => GroupsConfig; random: Random; topicIdOf?: TopicIdOf }) {
    this.#config = options.config;
    this.#topicIdOf = options.topicIdOf ?? null;
    this.#rebalance = new Rebalance(this.#store, this.#deadlines, this.#config);
    this.#joining = new Joining(this.#store, this.#deadlines, this.#rebalance, this.#config, options.random);
  }

  // --- membership ----------------------------------------------------------------------------------------------------

  joinGroup(request: JoinGroupRequest, to: Token, now: number, wallMs: number): Outcome<Token> {
    const turn = this.#turn(now, wallMs);
    this.#joining.join(turn, request, to);
    return turn;
  }

  syncGroup(request: SyncGroupRequest, to: Token, now: number, wallMs: number): Outcome<Token> {
    const turn = this.#turn(now, wallMs);
    const group = this.#store.groups.get(request.groupId);
    const member = group?.members.get(request.memberId);
    const refusal = syncRefusal(group, request);
    if (refusal !== null || group === undefined || member === undefined) {
      return turn.answer(to, refusal ?? syncFailed('MEMBER_UNKNOWN'));
    }
    this.#rebalance.syncArrived(group, member.id);
    if (group.state === 'Stable') {
      this.#rebalance.renewSession(turn, member);
      return turn.answer(to, synced(group, member));
    }
    this.#rebalance.holdSync(turn, member, to);
    if (group.isLeader(member.id)) this.#rebalance.assign(turn, group, request.assignments);
    return turn;
  }

  heartbeat(request: HeartbeatRequest, to: Token, now: number): Outcome<Token> {
    const turn = new Turn<Token>(now, 0);
    return turn.answer(to, this.#heartbeat(turn, request));
  }

  #heartbeat(turn: Turn<Token>, { groupId, memberId, instanceId, generation }: HeartbeatRequest): HeartbeatResponse {
    if (groupId === '') return { type: 'heartbeat', error: 'GROUP_ID_INVALID' };
    const group = this.#store.groups.get(groupId);
    const refusal = group === undefined ? 'MEMBER_UNKNOWN' : group.refusalOf(memberId, instanceId);
    const member = group?.members.get(memberId);
    if (refusal !== null || group === undefined || member === undefined) {
      return { type: 'heartbeat', error: refusal ?? 'MEMBER_UNKNOWN' };
    }
    if (generation !== group.generation) return { type: 'heartbeat', error: 'GENERATION_ILLEGAL' };
    this.#rebalance.renewSession(turn, member);
    return { type: 'heartbeat', error: group.state === 'PreparingRebalance' ? 'REBALANCE_IN_PROGRESS' : null };
  }

  leaveGroup(request: LeaveGroupRequest, to: Token, now: number, wallMs: number): Outcome<Token> {
    const turn = this.#turn(now, wallMs);
    if (request.groupId === '') {
      return turn.answer(to, { type: 'leaveGroup', error: 'GROUP_ID_INVALID', members: [] });
    }
    const group = this.#store.groups.get(request.groupId);
    const sizeBefore = group?.members.size ?? 0;
    const members: LeaveGroupResponse['members'] = request.members.map((leaver) => ({
      ...leaver,
      error: group === undefined ? 'MEMBER_UNKNOWN' : this.#leave(turn, group, leaver),
    }));
    turn.answer(to, { type: 'leaveGroup', error: null, members });
    if (group === undefined) return turn;
    // Others must share what a member had; one that was only announced need not be waited for any longer.
    if (group.members.size < sizeBefore) this.#rebalance.request(turn, group);
    else this.#rebalance.completeIfAllJoined(turn, group);
    this.#store.forgetIfVoid(group);
    return turn;
  }

  #leave(
    turn: Turn<Token>,
    group: Group<Token>,
    { memberId, instanceId }: LeaveGroupRequest['members'][number],
  ): LeaveGroupResponse['members'][number]['error'] {
    const pending = group.pendingJoins.get(memberId);
    if (pending !== undefined) {
      this.#deadlines.cancel(pending);
      group.pendingJoins.delete(memberId);
      return null;
    }
    // An administrator names the instance only; everyone else must be who they say.
    const id = memberId === '' && instanceId !== null ? (group.staticMemberId(instanceId) ?? '') : memberId;
    const refusal = group.refusalOf(id, instanceId);
    const member = group.members.get(id);
    if (refusal !== null || member === undefined) return refusal ?? 'MEMBER_UNKNOWN';
    this.#rebalance.drop(turn, group, member);
    return null;
  }

  // --- offsets -------------------------------------------------------------------------------------------------------

  commitOffsets(request: CommitOffsetsRequest, to: Token, now: number, wallMs: number): Outcome<Token> {
    const turn = this.#turn(now, wallMs);
    const group = this.#store.groups.get(request.groupId);
    const refusal = commitRefusal(group, request);
    if (refusal !== null) return turn.answer(to, refuseCommit(request.topics, refusal));
    const member = group?.members.get(request.memberId);
    if (member !== undefined) this.#rebalance.renewSession(turn, member);
    return turn.answer(to, commit(turn, this.#store, request, this.#config()));
  }

  fetchOffsets(request: FetchOffsetsRequest, to: Token): Outcome<Token> {
    return new Turn<Token>(0, 0).answer(to, fetch(this.#store, request, this.#topicIdOf));
  }

  /** Call it when a topic is deleted. Offsets carry the topic's id, so those that a crash leaves are never given out. */
  topicDeleted(topic: GoneTopic): Outcome<Token> {
    const turn = new Turn<Token>(0, 0);
    forgetTopic(turn, this.#store, topic);
    return turn;
  }

  // --- groups --------------------------------------------------------------------------------------------------------

  deleteGroup({ groupId }: DeleteGroupRequest, to: Token): Outcome<Token> {
    const turn = new Turn<Token>(0, 0);
    const group = this.#store.groups.get(groupId);
    if (group === undefined) return turn.answer(to, { type: 'deleteGroup', groupId, error: 'GROUP_NOT_FOUND' });
    if (group.state !== 'Empty') return turn.answer(to, { type: 'deleteGroup', groupId, error: 'GROUP_NOT_EMPTY' });
    this.#store.delete(turn, group);
    return turn.answer(to, { type: 'deleteGroup', groupId, error: null });
  }

  /** A read: its answer waits for durability like any other. */
  listGroups(): ListedGroup[] {
    return Array.from(this.#store.groups.values(), ({ id, state, protocolType }) => ({
      groupId: id,
      state,
      protocolType: protocolType ?? '',
    }));
  }

  /** A read. Members' metadata and assignments are shown in a stable group only; undefined: there is no such group. */
  describeGroup(groupId: string): DescribedGroup | undefined {
    const group = this.#store.groups.get(groupId);
    if (group === undefined) return undefined;
    const isStable = group.state === 'Stable';
    const protocolName = isStable ? group.protocolName : null;
    return {
      groupId,
      state: group.state,
      generation: group.generation,
      protocolType: group.protocolType ?? '',
      protocolName: protocolName ?? '',
      members: Array.from(group.members.values(), ({ image }) => ({
        memberId: image.id,
        instanceId: image.instanceId,
        clientId: image.clientId,
        clientHost: image.clientHost,
        metadata: isStable ? metadataOf(image, protocolName) : NO_BYTES,
        assignment: isStable ? image.assignment : NO_BYTES,
      })),
    };
  }

  // --- time ----------------------------------------------------------------------------------------------------------

  /** Everything whose time has come: sessions, rebalance and sync timeouts, the initial delay, offset retention. */
  tick(now: number, wallMs: number): Outcome<Token> {
    const turn = this.#turn(now, wallMs);
    for (let passed = this.#deadlines.takePassed(now); passed !== undefined; passed = this.#deadlines.takePassed(now)) {
      this.#passed(turn, passed.what);
    }
    return turn;
  }

  /** Monotonic milliseconds at which {@link tick} is needed next; undefined: only after another command. */
  nextDeadline(): number | undefined {
    return this.#deadlines.next();
  }

  #passed(turn: Turn<Token>, alarm: Alarm<Token>): void {
    switch (alarm.kind) {
      case 'session':
        return this.#sessionEnded(turn, alarm.group, alarm.member);
      case 'pendingJoin':
        alarm.group.pendingJoins.delete(alarm.memberId);
        this.#rebalance.completeIfAllJoined(turn, alarm.group);
        return this.#store.forgetIfVoid(alarm.group);
      case 'join':
        return this.#rebalance.joinDeadlinePassed(turn, alarm.group);
      case 'sync':
        return this.#rebalance.syncDeadlinePassed(turn, alarm.group);
      case 'retention':
        expire(turn, this.#store, this.#config());
        return this.#watchRetention(turn.now);
    }
  }

  /** A member whose request we hold back is excused; its session is renewed with the answer. */
  #sessionEnded(turn: Turn<Token>, group: Group<Token>, member: Member<Token>): void {
    if (member.isExcusedFromHeartbeat) return;
    this.#rebalance.drop(turn, group, member);
    this.#rebalance.request(turn, group);
  }

  #turn(now: number, wallMs: number): Turn<Token> {
    if (!this.#retention.armed)
      this.#deadlines.set(this.#retention, now + this.#config().offsetsRetentionCheckIntervalMs);
    return new Turn<Token>(now, wallMs);
  }

  #watchRetention(now: number): void {
    if (this.#store.groups.size === 0) return;
    this.#deadlines.set(this.#retention, now + this.#config().offsetsRetentionCheckIntervalMs);
  }

  // --- recovery ------------------------------------------------------------------------------------------------------

  /** @throws HadronError DATA_FORMAT_NEWER, DATA_DAMAGED */
  replay(record: StateRecord): void {
    this.#store.replay(record);
  }

  /**
   * Once, after the last {@link replay}. Every member has a whole session to be heard from again, and where a rebalance
   * was completing everyone has a whole rebalance timeout to ask for its assignment.
   */
  afterRecovery(now: number): void {
    const turn = new Turn<Token>(now, 0);
    this.#watchRetention(now);
    for (const group of this.#store.groups.values()) this.#rebalance.resume(turn, group);
  }

  /** The durable state as records; may be drained slowly between commands (records.ts says why). */
  snapshot(): Iterable<StateRecord> {
    return this.#store.snapshot();
  }
}

function syncRefusal<Token>(group: Group<Token> | undefined, request: SyncGroupRequest): SyncGroupResponse | null {
  if (request.groupId === '') return syncFailed('GROUP_ID_INVALID');
  if (group === undefined) return syncFailed('MEMBER_UNKNOWN');
  const refusal = group.refusalOf(request.memberId, request.instanceId);
  if (refusal !== null) return syncFailed(refusal);
  if (request.generation !== group.generation) return syncFailed('GENERATION_ILLEGAL');
  const { protocolType, protocolName } = request;
  if (
    (protocolType !== null && protocolType !== group.protocolType) ||
    (protocolName !== null && protocolName !== group.protocolName)
  ) {
    return syncFailed('GROUP_PROTOCOL_INCONSISTENT');
  }
  return group.state === 'PreparingRebalance' ? syncFailed('REBALANCE_IN_PROGRESS') : null;
}
