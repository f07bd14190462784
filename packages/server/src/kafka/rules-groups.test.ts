/** Consumer groups through the door, classic protocol: R12 topic by topic, §6, §10 #11, G5, G8, G18. */
import { KafkaError as K } from '@hadron/kafka-protocol';
import { describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import { commit, commitFields, committed, createTopic, joinAlone, joinFields } from './testing/talk.ts';
import type { Req, Res, WireClient } from './testing/wire-client.ts';

type Joined = Res<'JoinGroup'>;

/** Joins by the rules of v5: an empty id first, then with the id given. */
async function join(
  client: WireClient,
  groupId: string,
  memberId = '',
  more: Partial<Req<'JoinGroup'>> = {},
): Promise<Joined> {
  const r = await client.call('JoinGroup', 5, joinFields(groupId, memberId, more));
  return r.errorCode === K.MEMBER_ID_REQUIRED ? client.call('JoinGroup', 5, joinFields(groupId, r.memberId, more)) : r;
}
const heartbeat = async (
  server: SimServer,
  groupId: string,
  j: { memberId: string; generationId: number },
  groupInstanceId: string | null = null,
): Promise<number> =>
  (await server.ask('Heartbeat', 3, { groupId, memberId: j.memberId, generationId: j.generationId, groupInstanceId }))
    .errorCode;
const sync = (
  client: WireClient,
  groupId: string,
  j: Joined,
  to: Readonly<Record<string, string>> = {},
  groupInstanceId: string | null = null,
): Promise<Res<'SyncGroup'>> =>
  client.call('SyncGroup', 3, {
    groupId,
    memberId: j.memberId,
    generationId: j.generationId,
    groupInstanceId,
    assignments: Object.entries(to).map(([memberId, a]) => ({ memberId, assignment: Buffer.from(a) })),
  });

interface Pair {
  readonly server: SimServer;
  readonly a: WireClient;
  readonly b: WireClient;
  readonly ja: Joined;
  readonly jb: Joined;
}
/** Two settled members; `ja` leads. */
async function pair(
  options: Partial<Req<'JoinGroup'>> = {},
  instances: [string | null, string | null] = [null, null],
  start: Parameters<typeof SimServer.start>[0] = {},
): Promise<Pair> {
  const server = await SimServer.start(start);
  await createTopic(server, 't', { partitions: 2 });
  const a = server.connect();
  const b = server.connect();
  const first = await server.run(join(a, 'g', '', { ...options, groupInstanceId: instances[0] }));
  await server.run(sync(a, 'g', first, { [first.memberId]: 'all' }, instances[0]));
  const pb = join(b, 'g', '', { ...options, groupInstanceId: instances[1] });
  await server.advance(10);
  expect(await heartbeat(server, 'g', first, instances[0])).toBe(K.REBALANCE_IN_PROGRESS);
  const pa = join(a, 'g', first.memberId, { ...options, groupInstanceId: instances[0] });
  const [ja, jb] = await server.run(Promise.all([pa, pb]));
  const sb = sync(b, 'g', jb, {}, instances[1]);
  const sa = sync(a, 'g', ja, { [ja.memberId]: 'A', [jb.memberId]: 'B' }, instances[0]);
  expect((await server.run(Promise.all([sa, sb]))).map((s) => s.assignment.toString())).toEqual(['A', 'B']);
  return { server, a, b, ja, jb };
}

describe('R12 new member', () => {
  test('R12 new member: empty id from v4 → MEMBER_ID_REQUIRED with an id, below v4 joined at once', async () => {
    const server = await SimServer.start();
    for (const version of [4, 5, 9]) {
      const r = await server.ask('JoinGroup', version, joinFields(`g${version}`, ''));
      expect([r.errorCode, r.memberId === '', r.generationId]).toEqual([K.MEMBER_ID_REQUIRED, false, -1]);
      expect(await server.ask('JoinGroup', version, joinFields(`g${version}`, r.memberId))).toMatchObject({
        errorCode: 0,
        memberId: r.memberId,
        generationId: 1,
        leader: r.memberId,
      });
    }
    for (const version of [0, 1, 2, 3])
      expect((await server.ask('JoinGroup', version, joinFields(`g${version}`, ''))).errorCode).toBe(0);
  });

  test('R12 an unknown member id → UNKNOWN_MEMBER_ID', async () => {
    const server = await SimServer.start();
    expect((await server.ask('JoinGroup', 5, joinFields('g', 'made-up'))).errorCode).toBe(K.UNKNOWN_MEMBER_ID);
  });
});

test('R12 the leader sees everybody, the others nobody; everybody gets their part', async () => {
  const { ja, jb } = await pair();
  expect([ja.leader, jb.leader, ja.generationId, jb.generationId]).toEqual([ja.memberId, ja.memberId, 2, 2]);
  expect(ja.members.map((m) => m.memberId).sort()).toEqual([ja.memberId, jb.memberId].sort());
  expect(jb.members).toEqual([]);
});

describe('R12 static members', () => {
  test('R12 static members: a restarted instance keeps its assignment, without a rebalance', async () => {
    const { server, ja, jb } = await pair({}, ['one', 'two']);
    // Instance two starts again: no member id, the same instance.
    const again = server.connect();
    const r = await server.run(join(again, 'g', '', { groupInstanceId: 'two' }));
    expect([r.errorCode, r.generationId]).toEqual([0, 2]);
    expect(r.memberId).not.toBe(jb.memberId);
    expect((await server.run(sync(again, 'g', r, {}, 'two'))).assignment.toString()).toBe('B');
    expect(await heartbeat(server, 'g', ja, 'one')).toBe(0);
  });

  test('R12 static members: the old member of an instance is fenced with FENCED_INSTANCE_ID', async () => {
    const { server, jb } = await pair({}, ['one', 'two']);
    const r = await server.run(join(server.connect(), 'g', '', { groupInstanceId: 'two' }));
    expect(r.errorCode).toBe(0);
    expect(await heartbeat(server, 'g', jb, 'two')).toBe(K.FENCED_INSTANCE_ID);
    expect((await server.run(sync(server.connect(), 'g', jb, {}, 'two'))).errorCode).toBe(K.FENCED_INSTANCE_ID);
    expect(await commit(server, { groupId: 'g', ...jb }, 't', 3, { instanceId: 'two' })).toBe(K.FENCED_INSTANCE_ID);
    expect((await server.run(join(server.connect(), 'g', jb.memberId, { groupInstanceId: 'two' }))).errorCode).toBe(
      K.FENCED_INSTANCE_ID,
    );
    const left = await server.ask('LeaveGroup', 3, {
      groupId: 'g',
      members: [{ memberId: jb.memberId, groupInstanceId: 'two', reason: null }],
    });
    expect(left.members[0]?.errorCode).toBe(K.FENCED_INSTANCE_ID);
  });

  test('R12 static members: across kill -9 of the server too', async () => {
    const { server, ja, jb } = await pair({}, ['one', 'two']);
    await server.restart('kill');
    expect([await heartbeat(server, 'g', ja, 'one'), await heartbeat(server, 'g', jb, 'two')]).toEqual([0, 0]);
    const r = await server.run(join(server.connect(), 'g', '', { groupInstanceId: 'two' }));
    expect([r.errorCode, r.generationId]).toEqual([0, 2]);
    expect((await server.run(sync(server.connect(), 'g', r, {}, 'two'))).assignment.toString()).toBe('B');
  });

  test('R12 static members: gone for longer than the session → a rebalance', async () => {
    const { server, a, ja } = await pair({}, ['one', 'two']);
    for (let i = 0; i < 12; i++) {
      await server.advance(1_000);
      const code = await heartbeat(server, 'g', ja, 'one');
      if (code === K.REBALANCE_IN_PROGRESS) break;
      expect(code).toBe(0);
    }
    const r = await server.run(join(a, 'g', ja.memberId, { groupInstanceId: 'one' }));
    expect([r.errorCode, r.generationId, r.members.length]).toEqual([0, 3, 1]);
  });
});

describe('R12 protocol selection', () => {
  test('R12 protocol selection: the vote among names common to all', async () => {
    const server = await SimServer.start();
    const a = server.connect();
    const b = server.connect();
    const protocols = (...names: string[]) => ({
      protocols: names.map((name) => ({ name, metadata: Buffer.from(name) })),
    });
    const first = await server.run(join(a, 'g', '', protocols('range', 'sticky', 'own')));
    expect(first.protocolName).toBe('range');
    const pb = join(b, 'g', '', protocols('roundrobin', 'sticky', 'range'));
    await server.advance(5);
    const [ja, jb] = await server.run(
      Promise.all([join(a, 'g', first.memberId, protocols('own', 'sticky', 'range')), pb]),
    );
    expect([ja.protocolName, jb.protocolName]).toEqual(['sticky', 'sticky']);
    expect(ja.members.map((m) => m.metadata.toString())).toEqual(['sticky', 'sticky']);
  });

  test('R12 protocol selection: another type or no common name → INCONSISTENT_GROUP_PROTOCOL', async () => {
    const server = await SimServer.start();
    const m = await joinAlone(server, 'g');
    expect((await server.ask('JoinGroup', 3, joinFields('g', '', { protocolType: 'connect' }))).errorCode).toBe(
      K.INCONSISTENT_GROUP_PROTOCOL,
    );
    expect(
      (
        await server.ask(
          'JoinGroup',
          3,
          joinFields('g', '', { protocols: [{ name: 'other', metadata: Buffer.alloc(0) }] }),
        )
      ).errorCode,
    ).toBe(K.INCONSISTENT_GROUP_PROTOCOL);
    expect((await server.ask('JoinGroup', 3, joinFields('h', '', { protocolType: '' }))).errorCode).toBe(
      K.INCONSISTENT_GROUP_PROTOCOL,
    );
    expect(await heartbeat(server, 'g', m)).toBe(0);
    for (const [protocolType, protocolName] of [
      ['connect', 'range'],
      ['consumer', 'sticky'],
    ] as const)
      expect((await server.ask('SyncGroup', 5, { ...m, protocolType, protocolName })).errorCode).toBe(
        K.INCONSISTENT_GROUP_PROTOCOL,
      );
  });
});

test('R12 opacity: any type, name and bytes pass through, and survive a kill', async () => {
  const server = await SimServer.start();
  const odd = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  for (const [protocolType, name] of [
    ['connect', 'compatible'],
    ['sr', 'v0'],
    ['x y/ü', 'é'],
  ] as const) {
    const groupId = `g-${protocolType}`;
    const client = server.connect();
    const j = await server.run(join(client, groupId, '', { protocolType, protocols: [{ name, metadata: odd }] }));
    expect([j.errorCode, j.protocolName, j.members[0]?.metadata.equals(odd)]).toEqual([0, name, true]);
    const assignment = Buffer.from(odd).reverse();
    const fields = { groupId, memberId: j.memberId, generationId: j.generationId, groupInstanceId: null };
    await server.run(client.call('SyncGroup', 3, { ...fields, assignments: [{ memberId: j.memberId, assignment }] }));
    await server.restart('kill');
    const again = await server.ask('SyncGroup', 5, { ...fields, protocolType, protocolName: name });
    expect([again.errorCode, again.assignment.equals(assignment), again.protocolType, again.protocolName]).toEqual([
      0,
      true,
      protocolType,
      name,
    ]);
  }
});

describe('R12 initial delay', () => {
  test('R12 initial delay: 0 by default, as long as it is set otherwise', async () => {
    const now = await SimServer.start();
    const t0 = now.nowMs;
    await now.run(join(now.connect(), 'g'));
    expect(now.nowMs - t0).toBeLessThan(100);
    const later = await SimServer.start({ set: { 'group.initial.rebalance.delay.ms': '3000' } });
    const t1 = later.nowMs;
    const joins = [0, 1, 2].map(() => join(later.connect(), 'g'));
    const joined = await later.run(Promise.all(joins));
    expect(later.nowMs - t1).toBeGreaterThanOrEqual(3_000);
    expect(joined.map((j) => j.generationId)).toEqual([1, 1, 1]);
  });
});

describe('R12 session timeout', () => {
  test.each([
    [5_999, K.INVALID_SESSION_TIMEOUT],
    [6_000, 0],
    [1_800_000, 0],
    [1_800_001, K.INVALID_SESSION_TIMEOUT],
    [-1, K.INVALID_SESSION_TIMEOUT],
  ])('R12 session timeout of %i → %i', async (sessionTimeoutMs, code) => {
    const server = await SimServer.start();
    expect((await server.ask('JoinGroup', 3, joinFields('g', '', { sessionTimeoutMs }))).errorCode).toBe(code);
  });

  test('R12 session timeout: a silent member goes after it, not before; heartbeats keep it', async () => {
    const server = await SimServer.start();
    const m = await joinAlone(server, 'g', { sessionTimeoutMs: 6_000 });
    for (let i = 0; i < 5; i++) {
      await server.advance(5_500);
      expect(await heartbeat(server, 'g', m)).toBe(0);
    }
    await server.advance(6_600);
    expect(await heartbeat(server, 'g', m)).toBe(K.UNKNOWN_MEMBER_ID);
  });

  test('R12 the sync phase has its own timeout', async () => {
    const server = await SimServer.start();
    const client = server.connect();
    const j = await server.run(join(client, 'g', '', { sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 7_000 }));
    await server.advance(6_000);
    expect(await heartbeat(server, 'g', j)).toBe(0);
    await server.advance(61_000);
    expect(await heartbeat(server, 'g', j)).toBe(K.UNKNOWN_MEMBER_ID);
  });

  test.each([365, -365])('G18 the wall clock jumps by %i days: no session ends', async (days) => {
    const server = await SimServer.start();
    const m = await joinAlone(server, 'g');
    server.sim.scheduler.jumpWall(days * 86_400_000);
    await server.advance(5_000);
    expect(await heartbeat(server, 'g', m)).toBe(0);
  });
});

describe('R12 error meaning', () => {
  test('R12 error meaning: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, each where it belongs', async () => {
    const { server, ja, jb } = await pair();
    const stranger = { memberId: 'stranger', generationId: 2 };
    const behind = { memberId: ja.memberId, generationId: 1 };
    const ahead = { memberId: ja.memberId, generationId: 9 };
    expect(await heartbeat(server, 'g', stranger)).toBe(K.UNKNOWN_MEMBER_ID);
    expect(await heartbeat(server, 'g', behind)).toBe(K.ILLEGAL_GENERATION);
    expect(await heartbeat(server, 'g', ahead)).toBe(K.ILLEGAL_GENERATION);
    expect(await heartbeat(server, 'no-such-group', ja)).toBe(K.UNKNOWN_MEMBER_ID);
    const syncCode = async (x: { memberId: string; generationId: number }) =>
      (await server.ask('SyncGroup', 3, { groupId: 'g', ...x, groupInstanceId: null })).errorCode;
    expect([await syncCode(stranger), await syncCode(behind), await syncCode(jb)]).toEqual([
      K.UNKNOWN_MEMBER_ID,
      K.ILLEGAL_GENERATION,
      0,
    ]);
    expect(await commit(server, { groupId: 'g', ...stranger }, 't', 1)).toBe(K.UNKNOWN_MEMBER_ID);
    expect(await commit(server, { groupId: 'g', ...behind }, 't', 1)).toBe(K.ILLEGAL_GENERATION);
    expect(await commit(server, { groupId: 'g', ...ja }, 't', 1)).toBe(0);
    expect((await server.ask('LeaveGroup', 1, { groupId: 'g', memberId: 'stranger' })).errorCode).toBe(
      K.UNKNOWN_MEMBER_ID,
    );
  });

  test('R12 §10 #11 while a rebalance completes: heartbeats and commits → REBALANCE_IN_PROGRESS', async () => {
    const { server, a, b, ja, jb } = await pair();
    const c = server.connect();
    const pc = join(c, 'g');
    await server.advance(5);
    // Preparing: members are told, commits of the old generation are still taken.
    expect(await heartbeat(server, 'g', ja)).toBe(K.REBALANCE_IN_PROGRESS);
    expect(await commit(server, { groupId: 'g', ...ja }, 't', 5)).toBe(0);
    const joined = await server.run(Promise.all([join(a, 'g', ja.memberId), join(b, 'g', jb.memberId), pc]));
    // Completing: the leader's assignment is awaited.
    const me = joined[1] as Joined;
    expect(await commit(server, { groupId: 'g', ...me }, 't', 6)).toBe(K.REBALANCE_IN_PROGRESS);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(5);
  });

  test('§6 commits with an unknown member of a group that is gone; commits of generation -1 on a live group', async () => {
    const { server } = await pair();
    expect(await commit(server, { groupId: 'g' }, 't', 1)).toBe(K.UNKNOWN_MEMBER_ID);
    expect(await commit(server, { groupId: 'new', memberId: 'm', generationId: 3 }, 't', 1)).not.toBe(0);
  });

  test('§6 members that come and go during rebalances meet no wrong error, and assignments arrive whole', async () => {
    const server = await SimServer.start();
    const assignment = 'x'.repeat(60_000);
    const members: { client: WireClient; j: Joined }[] = [];
    const bad: string[] = [];
    const live = async (client: WireClient, id: string): Promise<void> => {
      for (let memberId = id, round = 0; round < 20; round++) {
        const j = await join(client, 'g', memberId);
        if (j.errorCode === K.UNKNOWN_MEMBER_ID) {
          memberId = '';
          continue;
        }
        if (j.errorCode !== 0) bad.push(`join ${j.errorCode}`);
        memberId = j.memberId;
        const s = await sync(
          client,
          'g',
          j,
          j.leader === j.memberId
            ? Object.fromEntries(j.members.map((m) => [m.memberId, `${assignment}${m.memberId}`]))
            : {},
        );
        if (s.errorCode === K.REBALANCE_IN_PROGRESS) continue;
        if (s.errorCode !== 0) bad.push(`sync ${s.errorCode}`);
        else if (s.assignment.toString() !== `${assignment}${memberId}`)
          bad.push(`assignment of ${s.assignment.length}`);
        const h = await client.call('Heartbeat', 3, {
          groupId: 'g',
          memberId,
          generationId: j.generationId,
          groupInstanceId: null,
        });
        if (h.errorCode === K.REBALANCE_IN_PROGRESS) continue;
        if (h.errorCode !== 0) bad.push(`heartbeat ${h.errorCode}`);
        members.push({ client, j });
        return;
      }
      bad.push('never settled');
    };
    for (let i = 0; i < 6; i++) {
      const client = server.connect();
      await server.run(Promise.all([live(client, ''), ...members.splice(0).map((m) => live(m.client, m.j.memberId))]));
    }
    expect(bad).toEqual([]);
    expect(new Set(members.map((m) => m.j.generationId)).size).toBe(1);
  });
});

describe('R12 simple consumers, round trip, errors', () => {
  test('R12 simple consumers: generation -1 and no member on an empty group', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    for (const version of [2, 5, 9]) expect(await commit(server, { groupId: 'g' }, 't', version, {}, version)).toBe(0);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(9);
  });

  test('R12 §6 round trip: metadata and leader epoch unchanged, across a kill', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't', { partitions: 3 });
    const metadata = 'ünïcødé "quotes" \u0000 and 😀';
    expect(await commit(server, { groupId: 'g' }, 't', 42, { metadata, epoch: 0 })).toBe(0);
    expect(await commit(server, { groupId: 'g' }, 't', Number.MAX_SAFE_INTEGER, { metadata: '', partition: 1 })).toBe(
      0,
    );
    expect(await commit(server, { groupId: 'g' }, 't', 0, { metadata: null, partition: 2 })).toBe(0);
    for (const how of ['close', 'kill', 'power'] as const) {
      await server.restart(how, 'nothing');
      expect(await committed(server, 'g', 't', 0)).toMatchObject({
        committedOffset: 42,
        metadata,
        committedLeaderEpoch: 0,
      });
      expect(await committed(server, 'g', 't', 1)).toMatchObject({
        committedOffset: Number.MAX_SAFE_INTEGER,
        metadata: '',
        committedLeaderEpoch: -1,
      });
      expect(await committed(server, 'g', 't', 2)).toMatchObject({ committedOffset: 0, metadata: '' });
    }
  });

  test('R12 metadata of 4,096 bytes is taken, one more is OFFSET_METADATA_TOO_LARGE', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    expect(await commit(server, { groupId: 'g' }, 't', 1, { metadata: 'x'.repeat(4_096) })).toBe(0);
    expect(await commit(server, { groupId: 'g' }, 't', 2, { metadata: 'x'.repeat(4_097) })).toBe(
      K.OFFSET_METADATA_TOO_LARGE,
    );
    expect((await committed(server, 'g', 't')).committedOffset).toBe(1);
  });

  test('R12 never 0 for an unknown offset (§6 Bufstream)', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    expect(await committed(server, 'nobody', 't')).toMatchObject({ committedOffset: -1, errorCode: 0 });
    expect(await committed(server, 'nobody', 'nope')).toMatchObject({ committedOffset: -1, errorCode: 0 });
    for (const version of [1, 2, 5, 7]) {
      const r = await server.ask('OffsetFetch', version, {
        groupId: 'nobody',
        topics: [{ name: 't', partitionIndexes: [0] }],
      });
      expect([r.errorCode, r.topics[0]?.partitions[0]?.committedOffset]).toEqual([0, -1]);
    }
  });

  test('R12 one bad partition of a commit does not harm the others', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const fields = commitFields({ groupId: 'g' }, 't', 7);
    const [topic] = fields.topics ?? [];
    const [p] = topic?.partitions ?? [];
    if (topic === undefined || p === undefined) throw new Error('no partition');
    const r = await server.ask('OffsetCommit', 8, {
      ...fields,
      topics: [
        { ...topic, partitions: [p, { ...p, partitionIndex: 5 }] },
        { name: 'nope', partitions: [p] },
      ],
    });
    expect(r.topics.map((t) => t.partitions.map((x) => x.errorCode))).toEqual([
      [0, K.UNKNOWN_TOPIC_OR_PARTITION],
      [K.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(7);
  });

  test('R12 retention: offsets.retention.minutes counts from the moment the group became empty', async () => {
    const server = await SimServer.start({
      set: { 'offsets.retention.minutes': '10', 'offsets.retention.check.interval.ms': '1000' },
    });
    await createTopic(server, 't');
    const m = await joinAlone(server, 'g', { sessionTimeoutMs: 1_800_000 });
    expect(await commit(server, m, 't', 5)).toBe(0);
    await server.advance(15 * 60_000);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(5); // alive: never
    await server.ask('LeaveGroup', 3, {
      groupId: 'g',
      members: [{ memberId: m.memberId, groupInstanceId: null, reason: null }],
    });
    await server.advance(9 * 60_000);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(5);
    await server.advance(2 * 60_000);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(-1);
    await server.restart('kill');
    expect((await committed(server, 'g', 't')).committedOffset).toBe(-1);
  });
});

test('R12 coordinator discovery succeeds before anything exists', async () => {
  const server = await SimServer.start();
  for (const version of [0, 1, 3])
    expect(await server.ask('FindCoordinator', version, { key: 'g' })).toMatchObject({
      errorCode: 0,
      nodeId: 1,
      port: 9092,
    });
  expect(
    (await server.ask('FindCoordinator', 6, { coordinatorKeys: ['g', '', 'ü'] })).coordinators.map((c) => [
      c.key,
      c.errorCode,
      c.nodeId,
    ]),
  ).toEqual([
    ['g', 0, 1],
    ['', 0, 1],
    ['ü', 0, 1],
  ]);
  expect((await server.ask('Metadata', 9, { topics: null })).topics).toEqual([]);
});

describe('R12 what is durable', () => {
  test('C17 G5 a commit is acknowledged when it is durable, and is there after power loss', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const client = server.connect();
    const answer = client.call('OffsetCommit', 8, commitFields({ groupId: 'g' }, 't', 3));
    await server.advance(500);
    expect(client.answered.length).toBe(0);
    // And nobody reads it before.
    const reader = server.connect();
    const read = reader.call('OffsetFetch', 7, { groupId: 'g', topics: [{ name: 't', partitionIndexes: [0] }] });
    await server.advance(500);
    expect(reader.answered.length).toBe(0);
    hold.release();
    await server.run(Promise.all([answer, read]));
    await server.restart('power', 'nothing');
    expect((await committed(server, 'g', 't')).committedOffset).toBe(3);
  });

  test.each(['close', 'kill', 'power'] as const)(
    'C17 after %s: same generation, no rejoin, no commit refused, sessions begin anew',
    async (how) => {
      const { server, ja, jb } = await pair({ sessionTimeoutMs: 10_000 });
      await server.advance(9_000); // nearly gone
      await server.restart(how, 'nothing');
      await server.advance(9_000);
      expect([await heartbeat(server, 'g', ja), await heartbeat(server, 'g', jb)]).toEqual([0, 0]);
      expect([
        await commit(server, { groupId: 'g', ...ja }, 't', 1),
        await commit(server, { groupId: 'g', ...jb }, 't', 2, { partition: 1 }),
      ]).toEqual([0, 0]);
      const client = server.connect();
      expect((await server.run(sync(client, 'g', jb))).assignment.toString()).toBe('B');
      await server.advance(11_000);
      expect(await heartbeat(server, 'g', ja)).toBe(K.UNKNOWN_MEMBER_ID);
    },
  );

  test('C17 killed in the middle of a rebalance: members settle again', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { server, a, ja, jb } = await pair({}, [null, null], { seed });
      const pc = join(server.connect(), 'g').catch(() => undefined);
      await server.advance(seed * 0.4);
      const pa = join(a, 'g', ja.memberId).catch(() => undefined);
      await server.advance(seed * 0.2);
      await server.restart(seed % 2 === 0 ? 'kill' : 'power');
      await server.run(Promise.all([pc, pa]));
      const clients = [server.connect(), server.connect()];
      const joined = Promise.all([
        join(clients[0] as WireClient, 'g', ja.memberId),
        join(clients[1] as WireClient, 'g', jb.memberId),
      ]);
      const [xa, xb] = await server.run(joined, 120_000);
      expect([xa.errorCode, xb.errorCode]).toEqual([0, 0]);
      expect(xa.generationId).toBe(xb.generationId);
      expect(xa.generationId).toBeGreaterThan(2);
    }
  });
});

test('R12 an offset for a topic that does not exist yet is refused, also when the topic comes before the answer', async () => {
  const server = await SimServer.start();
  await createTopic(server, 't');
  const client = server.connect();
  const other = server.connect();
  // The commit for `t` keeps the groups log busy; `u` is created while the second commit waits for its answer.
  const first = client.call('OffsetCommit', 8, commitFields({ groupId: 'g' }, 't', 3));
  const second = client.call('OffsetCommit', 8, commitFields({ groupId: 'g' }, 'u', 5));
  const made = other.call('Metadata', 8, { topics: [{ name: 'u' }], allowAutoTopicCreation: true } as never);
  const [, answer] = await server.run(Promise.all([first, second, made]));
  expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
});
