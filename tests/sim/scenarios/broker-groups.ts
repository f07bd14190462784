/** A consumer group of the broker scenario: members who join, sync, commit and leave; one of them may be static. */
import type {
  CommitOffsetsResponse,
  FetchOffsetsResponse,
  GroupResponse,
  HeartbeatResponse,
  JoinGroupResponse,
  LeaveGroupResponse,
  SyncGroupResponse,
} from '@hadron/broker';
import { Client } from './broker-clients.ts';
import { type PartitionModel, promise } from './broker-model.ts';
import type { BrokerWorld, Request } from './broker-world.ts';

const PROTOCOL = { name: 'range', metadata: new Uint8Array([1]) };
const SLACK_MS = 20;
const INSTANCE = 'instance';

/** A generation that was answered to somebody. */
interface Generation {
  readonly sinceMs: number;
  readonly leader: string;
  /** Instances or member ids; known when the leader was told. */
  members: string | undefined;
}

/** Offsets committed for one partition; an offset is the number of its attempt. */
interface Commits {
  attempts: number;
  readonly refused: Set<number>;
  /** No answer may show an older one. */
  floor: number;
}

interface Member {
  readonly instanceId: string | null;
  readonly timeoutMs: number;
  memberId: string;
  generation: number;
  phase: 'out' | 'joined' | 'stable';
  busy: boolean;
  members: readonly { readonly memberId: string; readonly instanceId: string | null }[];
  /** When it asked what was answered well last; not a commit, whose answer does not tell of a rebalance. */
  heardMs: number;
  leaving: boolean;
}

export class GroupClients extends Client {
  private readonly groupId: string;
  private readonly members: Member[];
  private readonly generations = new Map<number, Generation>();
  private latest = 0;
  private readonly commits = new Map<PartitionModel, Commits>();
  private readonly simple: Map<PartitionModel, Commits> = new Map();

  constructor(world: BrokerWorld) {
    super(world);
    this.groupId = `g${world.nextId()}`;
    const { random } = world.sim;
    this.members = Array.from({ length: random.between(1, 3) }, (_, i) => ({
      instanceId: i === 0 && random.chance(0.4) ? INSTANCE : null,
      timeoutMs: random.pick([300, 2000, 6000]),
      memberId: '',
      generation: -1,
      phase: 'out',
      busy: false,
      members: [],
      heardMs: 0,
      leaving: false,
    }));
  }

  act(): void {
    const { random } = this.world.sim;
    const m = random.pick(this.members);
    if (random.chance(0.15)) this.fetchOffsets(random.chance(0.5) ? this.simple : this.commits);
    else if (random.chance(0.1)) this.commit(undefined);
    else if (m.busy) return;
    else if (m.phase === 'out') this.join(m);
    else if (m.phase === 'joined') this.sync(m);
    else if (random.chance(0.1)) this.leave(m);
    else if (random.chance(0.5)) this.commit(m);
    else if (m.instanceId !== null && random.chance(0.1)) this.restart(m);
    else this.heartbeat(m);
  }

  // ------------------------------------------------------------------------------------------------------- membership

  private join(m: Member): void {
    const { world } = this;
    const { latest } = this;
    const atMs = world.nowMs;
    const supportsSkipAssignment = world.sim.random.chance(0.5);
    const request = this.request(m, 'JoinGroup');
    this.run<JoinGroupResponse>(
      request,
      m,
      (r) => {
        switch (r.error) {
          case null:
            break;
          case 'MEMBER_ID_REQUIRED':
            promise(m.memberId === '', () => `${request.what}: an id is given twice`);
            m.memberId = r.memberId;
            return;
          case 'MEMBER_UNKNOWN':
          case 'MEMBER_FENCED':
            this.forget(m);
            return;
          default:
            promise(r.error === 'REBALANCE_IN_PROGRESS', () => `${request.what} is answered ${r.error}`);
            return;
        }
        m.memberId = r.memberId;
        m.generation = r.generation;
        m.phase = 'joined';
        m.heardMs = atMs;
        m.members = r.members;
        this.answered(m, r, latest, request);
        if (r.skipAssignment) m.members = [];
      },
      (c, to, now, wallMs) =>
        c.joinGroup(
          {
            groupId: this.groupId,
            memberId: m.memberId,
            instanceId: m.instanceId,
            clientId: 'sim',
            clientHost: '/sim',
            sessionTimeoutMs: m.timeoutMs,
            rebalanceTimeoutMs: m.timeoutMs,
            protocolType: 'consumer',
            protocols: [PROTOCOL],
            requireKnownMemberId: world.sim.random.chance(0.8),
            supportsSkipAssignment,
          },
          to,
          now,
          wallMs,
        ),
    );
  }

  /** A generation is one membership for ever, and generations only grow. */
  private answered(m: Member, r: JoinGroupResponse, latestBefore: number, request: Request): void {
    this.world.count('joins');
    this.world.note(`${this.groupId} generation`, `${r.memberId}, led by ${r.leader}`, r.generation);
    promise(r.generation >= latestBefore, () => `${request.what}: generation ${r.generation} after ${latestBefore}`);
    this.latest = Math.max(this.latest, r.generation);
    const leader = this.identity(r.leader);
    const members =
      r.members.length === 0
        ? undefined
        : r.members
            .map((x) => x.instanceId ?? x.memberId)
            .sort()
            .join(' ');
    const known = this.generations.get(r.generation);
    if (known === undefined) {
      this.generations.set(r.generation, { sinceMs: this.world.nowMs, leader, members });
      return;
    }
    promise(
      known.leader === leader,
      () => `${request.what}: generation ${r.generation} is led by ${leader}, and was led by ${known.leader}`,
    );
    promise(
      known.members === undefined || members === undefined || known.members === members,
      () => `${request.what}: generation ${r.generation} has ${members}, and had ${known.members}`,
    );
    known.members ??= members;
    const me = m.instanceId ?? m.memberId;
    promise(
      known.members?.split(' ').includes(me) ?? true,
      () => `${request.what}: ${me} is in generation ${r.generation}, which has ${known.members}`,
    );
  }

  private identity(memberId: string): string {
    return memberId.startsWith(`${INSTANCE}-`) ? INSTANCE : memberId;
  }

  private sync(m: Member): void {
    const { generation, memberId } = m;
    const atMs = this.world.nowMs;
    const request = this.request(m, 'SyncGroup');
    const assignments = m.members.map((x) => ({
      memberId: x.memberId,
      assignment: Buffer.from(this.assignment(generation, x.instanceId ?? x.memberId)),
    }));
    this.run<SyncGroupResponse>(
      request,
      m,
      (r) => {
        switch (r.error) {
          case null: {
            const mine = Buffer.from(r.assignment).toString();
            const expected = this.assignment(generation, m.instanceId ?? memberId);
            promise(mine === expected, () => `${request.what} gives '${mine}', not '${expected}'`);
            m.phase = 'stable';
            m.heardMs = atMs;
            this.world.count('syncs');
            return;
          }
          case 'REBALANCE_IN_PROGRESS':
            m.phase = 'out';
            return;
          default:
            this.judgeGone(m, r.error, request);
        }
      },
      (c, to, now, wallMs) =>
        c.syncGroup(
          {
            groupId: this.groupId,
            memberId,
            instanceId: m.instanceId,
            generation,
            protocolType: 'consumer',
            protocolName: PROTOCOL.name,
            assignments,
          },
          to,
          now,
          wallMs,
        ),
    );
  }

  private assignment(generation: number, identity: string): string {
    return `${this.groupId} ${generation} ${identity}`;
  }

  private heartbeat(m: Member): void {
    const atMs = this.world.nowMs;
    const request = this.request(m, 'Heartbeat');
    this.run<HeartbeatResponse>(
      request,
      m,
      (r) => {
        if (r.error === null) m.heardMs = atMs;
        else if (r.error === 'REBALANCE_IN_PROGRESS') m.phase = 'out';
        else this.judgeGone(m, r.error, request);
        this.world.count('heartbeats');
      },
      (c, to, now) =>
        c.heartbeat(
          { groupId: this.groupId, memberId: m.memberId, instanceId: m.instanceId, generation: m.generation },
          to,
          now,
        ),
    );
  }

  private leave(m: Member): void {
    const request = this.request(m, 'LeaveGroup');
    m.leaving = true;
    this.run<LeaveGroupResponse>(
      request,
      m,
      (r) => {
        const error = r.members[0]?.error ?? null;
        if (error !== null) this.judgeGone(m, error, request);
        this.forget(m);
      },
      (c, to, now, wallMs) =>
        c.leaveGroup(
          { groupId: this.groupId, members: [{ memberId: m.memberId, instanceId: m.instanceId }] },
          to,
          now,
          wallMs,
        ),
    );
  }

  /** A static member starts anew and has forgotten its id. */
  private restart(m: Member): void {
    m.memberId = '';
    m.phase = 'out';
    this.join(m);
  }

  /** A member is told that it is none, or of another generation: then it was silent for too long. */
  private judgeGone(m: Member, error: string, request: Request): void {
    const known =
      error === 'MEMBER_UNKNOWN' ||
      error === 'GENERATION_ILLEGAL' ||
      error === 'MEMBER_FENCED' ||
      error === 'GROUP_NOT_FOUND';
    promise(known, () => `${request.what} is answered ${error}`);
    // Who has joined and not synced is bound to the deadline of its generation.
    const sinceMs = this.generations.get(m.generation)?.sinceMs ?? m.heardMs;
    const silentMs = this.world.servedSince(m.phase === 'joined' ? Math.min(m.heardMs, sinceMs) : m.heardMs);
    const excused = m.leaving || silentMs >= m.timeoutMs - SLACK_MS;
    promise(
      excused,
      () => `${request.what} is answered ${error} after ${silentMs} ms of silence; its session is ${m.timeoutMs} ms`,
    );
    this.forget(m);
  }

  private forget(m: Member): void {
    m.memberId = '';
    m.phase = 'out';
    m.leaving = false;
  }

  // ---------------------------------------------------------------------------------------------------------- offsets

  /** By a member, or by somebody who is none, into a group of its own. */
  private commit(m: Member | undefined): void {
    const { world } = this;
    const topics = world.usable();
    if (topics.length === 0) return;
    const p = world.sim.random.pick(world.sim.random.pick(topics).partitions);
    const all = m === undefined ? this.simple : this.commits;
    const known = all.get(p) ?? { attempts: 0, refused: new Set(), floor: -1 };
    all.set(p, known);
    const offset = known.attempts++;
    const { core } = world;
    const topicId = core.topics.get(p.topic.name)?.id ?? '';
    const request = this.request(m, `OffsetCommit of ${offset} for ${p.name}`);
    if (topicId !== p.topic.id) {
      known.refused.add(offset);
      world.answer(request, () => {
        if (m !== undefined) m.busy = false;
        promise(p.topic.mayBeMissing, () => `${p.name} is not there to commit for`);
      })();
      return;
    }
    this.run<CommitOffsetsResponse>(
      request,
      m,
      (r) => {
        const error = r.topics[0]?.partitions[0]?.error;
        promise(error !== undefined, () => `${request.what} has no result`);
        if (error === null) {
          known.floor = Math.max(known.floor, offset);
          world.count('commits');
          return;
        }
        known.refused.add(offset);
        if (error === 'REBALANCE_IN_PROGRESS') return;
        promise(m !== undefined, () => `${request.what} by nobody is answered ${error}`);
        if (m !== undefined) this.judgeGone(m, error as string, request);
      },
      (c, to, now, wallMs) =>
        c.commitOffsets(
          {
            groupId: this.idOf(all),
            generation: m?.generation ?? -1,
            memberId: m?.memberId ?? '',
            instanceId: m?.instanceId ?? null,
            retentionMs: null,
            topics: [
              {
                name: p.topic.name,
                topicId,
                partitions: [{ partition: p.index, offset, leaderEpoch: offset % 3, metadata: `m${offset}` }],
              },
            ],
          },
          to,
          now,
          wallMs,
        ),
    );
  }

  private fetchOffsets(all: Map<PartitionModel, Commits>): void {
    const { world } = this;
    const asked = [...all].filter(([p]) => world.usable().includes(p.topic));
    const [p, known] = asked.length === 0 ? [] : world.sim.random.pick(asked);
    if (p === undefined || known === undefined) return;
    const { floor } = known;
    const request = this.request(undefined, `OffsetFetch for ${p.name}`);
    this.run<FetchOffsetsResponse>(
      request,
      undefined,
      (r) => {
        const got = r.groups[0]?.topics[0]?.partitions[0];
        if (p.topic.mayBeMissing || got === undefined) return;
        world.count('offsets fetched');
        promise(got.offset >= floor, () => `${request.what} gives ${got.offset}; ${floor} was committed`);
        if (got.offset === -1) return;
        promise(
          got.offset < known.attempts && !known.refused.has(got.offset),
          () => `${request.what} gives ${got.offset}, which was refused or never committed`,
        );
        promise(
          got.metadata === `m${got.offset}` && got.leaderEpoch === got.offset % 3,
          () => `${request.what} gives ${JSON.stringify(got)}`,
        );
        known.floor = Math.max(known.floor, got.offset);
      },
      (c, to) =>
        c.fetchOffsets(
          { groups: [{ groupId: this.idOf(all), topics: [{ name: p.topic.name, partitions: [p.index] }] }] },
          to,
        ),
    );
  }

  private idOf(all: Map<PartitionModel, Commits>): string {
    return all === this.simple ? `${this.groupId}-simple` : this.groupId;
  }

  // --------------------------------------------------------------------------------------------------------- requests

  private request(m: Member | undefined, what: string): Request {
    if (m !== undefined) m.busy = true;
    const who = m === undefined ? 'nobody' : `${m.memberId === '' ? 'a newcomer' : m.memberId} in ${m.generation}`;
    return this.world.ask(`${what} by ${who} of ${this.groupId}`, () => {
      if (m === undefined) return;
      m.busy = false;
      if (m.phase === 'joined') m.phase = 'out';
    });
  }

  private run<R extends GroupResponse>(
    request: Request,
    m: Member | undefined,
    answer: (r: R) => void,
    decide: Parameters<typeof this.world.core.groups.run<R>>[1],
  ): void {
    const { world } = this;
    const over = (): void => {
      if (m !== undefined) m.busy = false;
    };
    world.note(request.what, '');
    world.core.groups.run<R>(
      {
        answer: world.answer(request, (r: R) => {
          over();
          answer(r);
        }),
        failed: world.answer(request, (error) => {
          over();
          world.expectTrouble(error, request);
        }),
      },
      decide,
    );
  }
}
