import { assert, type ErrorCode, type Random } from '@hadron/base';
import { GroupCoordinator } from './coordinator.ts';
import type { TopicIdOf } from './offsets.ts';
import {
  type CommitOffsetsResponse,
  type FetchedOffset,
  type FetchOffsetsResponse,
  GROUPS_CONFIG_DEFAULT,
  type GroupResponse,
  type GroupsConfig,
  type JoinGroupRequest,
  type JoinGroupResponse,
  type LeaveGroupRequest,
  type LeaveGroupResponse,
  type Outcome,
  type StateRecord,
  type SyncGroupRequest,
  type SyncGroupResponse,
} from './types.ts';

/** For the tests of this folder: a coordinator with a hand on its clocks, and short ways to ask it things. */

export const WALL_START = 1_750_000_000_000;
export const GROUP = 'g';
export const TOPIC_ID = '11111111-2222-4333-8444-555555555555';

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function text(b: Uint8Array): string {
  return new TextDecoder().decode(b);
}

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const u32 = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return { u32, bytes: (n) => Uint8Array.from({ length: n }, () => u32() & 0xff) };
}

/** The durable state as comparable text: key → value. */
export function stateOf(records: Iterable<StateRecord>): Map<string, string> {
  const state = new Map<string, string>();
  for (const { key, value } of records) {
    const at = Buffer.from(key).toString('hex');
    if (value === null) state.delete(at);
    else state.set(at, Buffer.from(value).toString('hex'));
  }
  return new Map([...state].sort());
}

/** A question that was asked; the answer may come later. */
export class Asked<R extends GroupResponse> {
  response: R | null = null;

  get waits(): boolean {
    return this.response === null;
  }

  get answer(): R {
    assert(this.response !== null, 'the answer has not come');
    return this.response;
  }
}

export class Bench {
  config: GroupsConfig = GROUPS_CONFIG_DEFAULT;
  topicIds: Map<string, string> | null = null;
  now = 0;
  wallMs = WALL_START;
  readonly records: StateRecord[] = [];
  readonly random: Random;
  coordinator: GroupCoordinator<Asked<GroupResponse>>;

  constructor(config: Partial<GroupsConfig> = {}, seed = 1) {
    this.config = { ...GROUPS_CONFIG_DEFAULT, ...config };
    this.random = seeded(seed);
    this.coordinator = this.fresh();
  }

  fresh(): GroupCoordinator<Asked<GroupResponse>> {
    const topicIdOf: TopicIdOf = (name) => (this.topicIds === null ? TOPIC_ID : this.topicIds.get(name));
    return new GroupCoordinator({ config: () => this.config, random: this.random, topicIdOf });
  }

  take(outcome: Outcome<Asked<GroupResponse>>): void {
    this.records.push(...outcome.records);
    for (const { to, response } of outcome.replies) {
      assert(to.response === null, 'a token is answered once');
      to.response = response;
    }
  }

  /** Lets time pass, ticking at every deadline on the way. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (
      let next = this.coordinator.nextDeadline();
      next !== undefined && next <= end;
      next = this.coordinator.nextDeadline()
    ) {
      this.wallMs += next - this.now;
      this.now = next;
      this.take(this.coordinator.tick(this.now, this.wallMs));
    }
    this.wallMs += end - this.now;
    this.now = end;
  }

  /** The process dies; the log survives. Monotonic time begins anew. */
  crash(): void {
    this.coordinator = this.fresh();
    for (const record of this.records) this.coordinator.replay(record);
    this.now = 5;
    this.coordinator.afterRecovery(this.now);
  }

  // --- asking --------------------------------------------------------------------------------------------------------

  join(request: Partial<JoinGroupRequest> = {}): Asked<JoinGroupResponse> {
    const to = new Asked<JoinGroupResponse>();
    const full: JoinGroupRequest = {
      groupId: GROUP,
      memberId: '',
      instanceId: null,
      clientId: 'client',
      clientHost: '/127.0.0.1',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 60_000,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: bytes('topics') }],
      requireKnownMemberId: false,
      supportsSkipAssignment: false,
      ...request,
    };
    this.take(this.coordinator.joinGroup(full, to as Asked<GroupResponse>, this.now, this.wallMs));
    return to;
  }

  sync(memberId: string, generation: number, request: Partial<SyncGroupRequest> = {}): Asked<SyncGroupResponse> {
    const to = new Asked<SyncGroupResponse>();
    const full: SyncGroupRequest = {
      groupId: GROUP,
      memberId,
      instanceId: null,
      generation,
      protocolType: null,
      protocolName: null,
      assignments: [],
      ...request,
    };
    this.take(this.coordinator.syncGroup(full, to as Asked<GroupResponse>, this.now, this.wallMs));
    return to;
  }

  heartbeat(memberId: string, generation: number, instanceId: string | null = null, groupId = GROUP): ErrorCode | null {
    const to = new Asked<GroupResponse>();
    this.take(this.coordinator.heartbeat({ groupId, memberId, instanceId, generation }, to, this.now));
    assert(to.answer.type === 'heartbeat', 'a heartbeat is answered at once');
    return to.answer.error;
  }

  leave(members: LeaveGroupRequest['members'], groupId = GROUP): LeaveGroupResponse {
    const to = new Asked<GroupResponse>();
    this.take(this.coordinator.leaveGroup({ groupId, members }, to, this.now, this.wallMs));
    assert(to.answer.type === 'leaveGroup', 'leaving is answered at once');
    return to.answer;
  }

  leaveOne(memberId: string): ErrorCode | null {
    return this.leave([{ memberId, instanceId: null }]).members[0]?.error ?? null;
  }

  commitAll(
    partitions: CommitOffsetsPartition[],
    who: {
      memberId?: string;
      generation?: number;
      instanceId?: string | null;
      groupId?: string;
      retentionMs?: number;
    } = {},
  ): CommitOffsetsResponse {
    const to = new Asked<GroupResponse>();
    const request = {
      groupId: who.groupId ?? GROUP,
      generation: who.generation ?? -1,
      memberId: who.memberId ?? '',
      instanceId: who.instanceId ?? null,
      retentionMs: who.retentionMs ?? null,
      topics: partitions.map(
        ({ topic = 't', topicId = TOPIC_ID, partition = 0, offset, leaderEpoch = -1, metadata = '' }) => ({
          name: topic,
          topicId,
          partitions: [{ partition, offset, leaderEpoch, metadata }],
        }),
      ),
    };
    this.take(this.coordinator.commitOffsets(request, to, this.now, this.wallMs));
    assert(to.answer.type === 'commitOffsets', 'a commit is answered at once');
    return to.answer;
  }

  commit(offset: number, who: Parameters<Bench['commitAll']>[1] = {}): ErrorCode | null {
    return this.commitAll([{ offset }], who).topics[0]?.partitions[0]?.error ?? null;
  }

  fetchAll(groupIds: string[] = [GROUP]): FetchOffsetsResponse {
    const to = new Asked<GroupResponse>();
    this.take(this.coordinator.fetchOffsets({ groups: groupIds.map((groupId) => ({ groupId, topics: null })) }, to));
    assert(to.answer.type === 'fetchOffsets', 'a fetch is answered at once');
    return to.answer;
  }

  fetch(topic = 't', partition = 0, groupId = GROUP): FetchedOffset {
    const to = new Asked<GroupResponse>();
    const topics = [{ name: topic, partitions: [partition] }];
    this.take(this.coordinator.fetchOffsets({ groups: [{ groupId, topics }] }, to));
    assert(to.answer.type === 'fetchOffsets', 'a fetch is answered at once');
    return to.answer.groups[0]?.topics[0]?.partitions[0] as FetchedOffset;
  }

  deleteGroup(groupId = GROUP): ErrorCode | null {
    const to = new Asked<GroupResponse>();
    this.take(this.coordinator.deleteGroup({ groupId }, to));
    assert(to.answer.type === 'deleteGroup', 'a deletion is answered at once');
    return to.answer.error;
  }

  state(groupId = GROUP): string {
    return this.coordinator.describeGroup(groupId)?.state ?? 'Dead';
  }

  // --- whole situations ----------------------------------------------------------------------------------------------

  /** Members that have joined one generation and not yet synced; the first leads. */
  completing(...requests: Partial<JoinGroupRequest>[]): JoinGroupResponse[] {
    const asked = requests.map((request) => this.join(request));
    this.advance(this.config.initialRebalanceDelayMs);
    return asked.map(({ answer }) => answer);
  }

  /** The same, stable: every member is assigned its own id. */
  stable(...requests: Partial<JoinGroupRequest>[]): JoinGroupResponse[] {
    const joined = this.completing(...requests);
    this.syncAll(joined, requests);
    return joined;
  }

  syncAll(joined: JoinGroupResponse[], requests: Partial<JoinGroupRequest>[] = []): Asked<SyncGroupResponse>[] {
    const assignments = joined.map(({ memberId }) => ({ memberId, assignment: bytes(memberId) }));
    return joined.map(({ memberId, generation, leader }, i) => {
      const instanceId = requests[i]?.instanceId ?? null;
      return this.sync(memberId, generation, { instanceId, assignments: leader === memberId ? assignments : [] });
    });
  }
}

export interface CommitOffsetsPartition {
  topic?: string;
  topicId?: string;
  partition?: number;
  offset: number;
  leaderEpoch?: number;
  metadata?: string | null;
}
