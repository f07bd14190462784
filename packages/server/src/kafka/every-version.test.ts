/**
 * Every API in every version that is served: an answer, decoded, on a connection that stays open; in the good case and in
 * cases that give errors. This is what finds a field that a version cannot carry.
 */
import { API_TABLE, ApiKey, KafkaError as K } from '@hadron/kafka-protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import {
  batch,
  commitFields,
  createTopic,
  fetchFields,
  joinAlone,
  joinFields,
  produce,
  produceFields,
} from './testing/talk.ts';
import type { ApiName, Req, Res, WireClient } from './testing/wire-client.ts';

let server: SimServer;
let id: string;
beforeAll(async () => {
  server = await SimServer.start();
  id = (await createTopic(server, 't', { partitions: 2 })).topicId;
  await produce(server, 't', batch(['a', 'b', 'c']));
});

type Case<A extends ApiName> = readonly [
  what: string,
  fields: Partial<Req<A>> | ((version: number) => Partial<Req<A>> | undefined),
  check?: (r: Res<A>, version: number) => void,
];

const seen = new Set<string>();

/** Every case in every version on one connection, which is alive at the end. */
function everyVersion<A extends ApiName>(api: A, cases: readonly Case<A>[]): void {
  seen.add(api);
  const info = API_TABLE.find((a) => a.key === ApiKey[api]) as (typeof API_TABLE)[number];
  const versions = Array.from({ length: info.servedMax - info.servedMin + 1 }, (_, i) => info.servedMin + i);
  describe(`${api} v${info.servedMin}-${info.servedMax}`, () => {
    test.each(versions)('v%i', async (version) => {
      const client: WireClient = server.connect();
      for (const [what, given, check] of cases) {
        const fields = typeof given === 'function' ? given(version) : given;
        if (fields === undefined) continue;
        try {
          const r = await server.run(client.call(api, version, fields));
          check?.(r, version);
        } catch (error) {
          throw new Error(
            `${api} v${version}, ${what}: ${(error as Error).message}\n${server.logger.lines.slice(-3).join('\n')}`,
            { cause: error },
          );
        }
      }
      const alive = await server.run(client.call('ApiVersions', 0));
      expect(alive.errorCode).toBe(0);
      client.close();
    });
  });
}

everyVersion('ApiVersions', [
  [
    'good',
    { clientSoftwareName: 'test', clientSoftwareVersion: '1.0' },
    (r) => expect([r.errorCode, r.apiKeys.length]).toEqual([0, API_TABLE.length]),
  ],
  [
    'no name',
    { clientSoftwareName: '', clientSoftwareVersion: '' },
    (r, v) => expect(r.errorCode).toBe(v >= 3 ? K.INVALID_REQUEST : 0),
  ],
]);

everyVersion('Metadata', [
  [
    'all',
    (v) => (v === 0 ? { topics: [] } : { topics: null }),
    (r) => expect(r.topics.map((t) => [t.name, t.errorCode, t.partitions.length])).toContainEqual(['t', 0, 2]),
  ],
  ['one', { topics: [{ name: 't', topicId: '0'.repeat(32) }] }, (r) => expect(r.topics[0]?.errorCode).toBe(0)],
  [
    'bad name',
    { topics: [{ name: 'a b', topicId: '0'.repeat(32) }] },
    (r) => expect(r.topics[0]?.errorCode).toBe(K.INVALID_TOPIC_EXCEPTION),
  ],
  [
    'created',
    (v) => ({ topics: [{ name: `auto-${v}`, topicId: '0'.repeat(32) }], allowAutoTopicCreation: true }),
    (r) => expect(r.topics[0]?.errorCode).toBe(0),
  ],
  [
    'unknown',
    (v) =>
      v < 4 ? undefined : { topics: [{ name: `not-${v}`, topicId: '0'.repeat(32) }], allowAutoTopicCreation: false },
    (r) => expect(r.topics[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'by id',
    (v) => (v < 12 ? undefined : { topics: [{ name: null, topicId: id }] }),
    (r) => expect(r.topics[0]?.name).toBe('t'),
  ],
  [
    'by id, too early',
    (v) => (v < 10 || v > 11 ? undefined : { topics: [{ name: null, topicId: id }] }),
    (r) => expect(r.topics[0]?.errorCode).toBe(K.INVALID_REQUEST),
  ],
  [
    'by unknown id',
    (v) => (v < 12 ? undefined : { topics: [{ name: null, topicId: 'f'.repeat(32) }] }),
    (r) => expect(r.topics[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_ID),
  ],
  [
    'operations',
    (v) =>
      v < 8
        ? undefined
        : {
            topics: [{ name: 't', topicId: '0'.repeat(32) }],
            includeTopicAuthorizedOperations: true,
            includeClusterAuthorizedOperations: v <= 10,
          },
  ],
]);

everyVersion('Produce', [
  [
    'good',
    () => produceFields('t', batch(['x']), 1),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(0),
  ],
  ['acks 1', () => produceFields('t', batch(['x']), 1, 1)],
  [
    'unknown topic',
    () => produceFields('nope', batch(['x'])),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'unknown partition',
    () => produceFields('t', batch(['x']), 7),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'negative partition',
    () => produceFields('t', batch(['x']), -1),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'null records',
    produceFields('t', null),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.INVALID_RECORD),
  ],
  [
    'garbage',
    produceFields('t', Buffer.from('garbage')),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).not.toBe(0),
  ],
  [
    'bad acks',
    () => produceFields('t', batch(['x']), 0, 7),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.INVALID_REQUIRED_ACKS),
  ],
  [
    'transactional id',
    () => ({ ...produceFields('t', batch(['x'])), transactionalId: 'tx' }),
    (r) => expect(r.responses[0]?.partitionResponses[0]?.errorCode).toBe(K.INVALID_REQUEST),
  ],
  ['no topics', { acks: -1, topicData: [] }],
  ['record to blame', () => produceFields('compacted', batch(['x']))],
]);

const withId = (fields: Partial<Req<'Fetch'>>, topicId: string): Partial<Req<'Fetch'>> => ({
  ...fields,
  topics: (fields.topics ?? []).map((t) => ({ ...t, topicId })),
});
everyVersion('Fetch', [
  [
    'good',
    () => withId(fetchFields('t', 0), id),
    (r) => expect(r.responses[0]?.partitions[0]).toMatchObject({ errorCode: 0, highWatermark: 3 }),
  ],
  [
    'committed',
    () => withId(fetchFields('t', 0, { isolationLevel: 1 }), id),
    (r) => expect(r.responses[0]?.partitions[0]?.abortedTransactions).toEqual([]),
  ],
  [
    'end',
    () => withId(fetchFields('t', 3), id),
    (r) => expect(r.responses[0]?.partitions[0]).toMatchObject({ errorCode: 0, highWatermark: 3 }),
  ],
  [
    'past the end',
    () => withId(fetchFields('t', 30), id),
    (r) => expect(r.responses[0]?.partitions[0]?.errorCode).toBe(K.OFFSET_OUT_OF_RANGE),
  ],
  [
    'negative offset',
    () => withId(fetchFields('t', -1), id),
    (r) => expect(r.responses[0]?.partitions[0]?.errorCode).toBe(K.OFFSET_OUT_OF_RANGE),
  ],
  [
    'unknown',
    () => withId(fetchFields('nope', 0), 'e'.repeat(32)),
    (r, v) =>
      expect(r.responses[0]?.partitions[0]?.errorCode).toBe(
        v >= 13 ? K.UNKNOWN_TOPIC_ID : K.UNKNOWN_TOPIC_OR_PARTITION,
      ),
  ],
  [
    'unknown partition',
    () => withId(fetchFields('t', 0, {}, { partition: 9 }), id),
    (r) => expect(r.responses[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'old leader epoch',
    (v) => (v < 9 ? undefined : withId(fetchFields('t', 0, {}, { currentLeaderEpoch: 99 }), id)),
    (r) => expect(r.responses[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_LEADER_EPOCH),
  ],
  [
    'diverging',
    (v) => (v < 12 ? undefined : withId(fetchFields('t', 30, {}, { lastFetchedEpoch: 0 }), id)),
    (r) => expect(r.responses[0]?.partitions[0]?.divergingEpoch).toMatchObject({ epoch: 0, endOffset: 3 }),
  ],
  [
    'session',
    (v) => (v < 7 ? undefined : withId(fetchFields('t', 0, { sessionId: 0, sessionEpoch: 0 }), id)),
    (r) => expect(r.sessionId).toBe(0),
  ],
  [
    'unknown session',
    (v) => (v < 7 ? undefined : withId(fetchFields('t', 0, { sessionId: 5, sessionEpoch: 2 }), id)),
    (r) => expect(r.errorCode).toBe(K.FETCH_SESSION_ID_NOT_FOUND),
  ],
  [
    'forgotten',
    (v) =>
      v < 7
        ? undefined
        : { ...withId(fetchFields('t', 0), id), forgottenTopicsData: [{ topic: 't', topicId: id, partitions: [0] }] },
  ],
  ['nothing', { topics: [], maxWaitMs: 0 }],
]);

everyVersion('ListOffsets', [
  ...[-1, -2, 0, 1_760_000_000_000, 9e15].map(
    (timestamp): Case<'ListOffsets'> => [
      `time ${timestamp}`,
      { topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp }] }] },
      (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(0),
    ],
  ),
  ...[-3, -4, -5, -6, -100].map(
    (timestamp): Case<'ListOffsets'> => [
      `time ${timestamp}`,
      { topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp }] }] },
    ],
  ),
  [
    'unknown',
    { topics: [{ name: 'nope', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }] },
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'epoch ahead',
    (v) =>
      v < 4
        ? undefined
        : { topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: 9, timestamp: -1 }] }] },
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_LEADER_EPOCH),
  ],
  [
    'isolation',
    (v) =>
      v < 2
        ? undefined
        : {
            isolationLevel: 1,
            topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }],
          },
    (r) => expect(r.topics[0]?.partitions[0]?.offset).toBe(3),
  ],
]);

everyVersion('FindCoordinator', [
  [
    'good',
    (v) => (v >= 4 ? { coordinatorKeys: ['g', 'h'] } : { key: 'g' }),
    (r, v) =>
      expect(v >= 4 ? r.coordinators.map((c) => [c.key, c.nodeId, c.errorCode]) : [r.nodeId, r.errorCode]).toEqual(
        v >= 4
          ? [
              ['g', 1, 0],
              ['h', 1, 0],
            ]
          : [1, 0],
      ),
  ],
  [
    'transaction',
    (v) => (v < 1 ? undefined : v >= 4 ? { keyType: 1, coordinatorKeys: ['g'] } : { keyType: 1, key: 'g' }),
    (r, v) => expect(v >= 4 ? r.coordinators[0]?.errorCode : r.errorCode).toBe(K.INVALID_REQUEST),
  ],
  ['no keys', (v) => (v < 4 ? undefined : { coordinatorKeys: [] })],
]);

everyVersion('JoinGroup', [
  ['good', (v) => joinFields(`join-${v}`, ''), (r, v) => expect(r.errorCode).toBe(v >= 4 ? K.MEMBER_ID_REQUIRED : 0)],
  [
    'static',
    (v) => (v < 5 ? undefined : joinFields(`static-${v}`, '', { groupInstanceId: 'one' })),
    (r) => expect([r.errorCode, r.generationId, r.members.length]).toEqual([0, 1, 1]),
  ],
  [
    'short session',
    (v) => joinFields(`join-${v}`, '', { sessionTimeoutMs: 1 }),
    (r) => expect(r.errorCode).toBe(K.INVALID_SESSION_TIMEOUT),
  ],
  ['no group', joinFields('', ''), (r) => expect(r.errorCode).toBe(K.INVALID_GROUP_ID)],
  ['unknown member', joinFields('g', 'nobody'), (r) => expect(r.errorCode).toBe(K.UNKNOWN_MEMBER_ID)],
  [
    'no protocols',
    joinFields('g', '', { protocols: [] }),
    (r) => expect(r.errorCode).toBe(K.INCONSISTENT_GROUP_PROTOCOL),
  ],
  ['reason', (v) => (v < 8 ? undefined : joinFields(`reason-${v}`, '', { reason: 'because' }))],
]);

everyVersion('SyncGroup', [
  [
    'unknown group',
    { groupId: 'nope', generationId: 1, memberId: 'm' },
    (r) => expect(r.errorCode).toBe(K.UNKNOWN_MEMBER_ID),
  ],
  ['no group', { groupId: '', generationId: 1, memberId: 'm' }, (r) => expect(r.errorCode).toBe(K.INVALID_GROUP_ID)],
]);
everyVersion('Heartbeat', [
  [
    'unknown group',
    { groupId: 'nope', generationId: 1, memberId: 'm' },
    (r) => expect(r.errorCode).toBe(K.UNKNOWN_MEMBER_ID),
  ],
  ['no group', { groupId: '', generationId: 1, memberId: 'm' }, (r) => expect(r.errorCode).toBe(K.INVALID_GROUP_ID)],
]);
everyVersion('LeaveGroup', [
  [
    'unknown member',
    (v) =>
      v >= 3
        ? {
            groupId: 'nope',
            members: [
              { memberId: 'm', groupInstanceId: null, reason: null },
              { memberId: '', groupInstanceId: 'i', reason: null },
            ],
          }
        : { groupId: 'nope', memberId: 'm' },
    (r, v) => expect(v >= 3 ? r.members[0]?.errorCode : r.errorCode).toBe(K.UNKNOWN_MEMBER_ID),
  ],
  [
    'no group',
    (v) => (v >= 3 ? { groupId: '', members: [] } : { groupId: '', memberId: 'm' }),
    (r) => expect(r.errorCode).toBe(K.INVALID_GROUP_ID),
  ],
]);

/** The whole life of a member in one version of each group API. */
test.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])('a member’s life, JoinGroup v%i', async (version) => {
  const client = server.connect();
  const call = <A extends ApiName>(api: A, v: number, fields: Partial<Req<A>>): Promise<Res<A>> =>
    server.run(client.call(api, v, fields));
  const groupId = `life-${version}`;
  let joined = await call('JoinGroup', version, joinFields(groupId, ''));
  if (version >= 4) joined = await call('JoinGroup', version, joinFields(groupId, joined.memberId));
  expect(joined).toMatchObject({ errorCode: 0, generationId: 1, leader: joined.memberId, protocolName: 'range' });
  if (version >= 7) expect(joined.protocolType).toBe('consumer');
  const me = { groupId, generationId: 1, memberId: joined.memberId };
  for (let v = 0; v <= 5; v++) {
    const synced = await call('SyncGroup', v, {
      ...me,
      protocolType: v >= 5 ? 'consumer' : null,
      protocolName: v >= 5 ? 'range' : null,
      assignments: [{ memberId: me.memberId, assignment: Buffer.from('mine') }],
    });
    expect([synced.errorCode, synced.assignment.toString()]).toEqual([0, 'mine']);
  }
  for (let v = 0; v <= 4; v++) expect((await call('Heartbeat', v, me)).errorCode).toBe(0);
  for (let v = 2; v <= 9; v++)
    expect(
      (await call('OffsetCommit', v, { ...commitFields(me, 't', v), ...(v >= 5 ? { retentionTimeMs: -1 } : {}) }))
        .topics[0]?.partitions[0]?.errorCode,
    ).toBe(0);
  const leaving = version % 6;
  const left = await call(
    'LeaveGroup',
    leaving,
    leaving >= 3
      ? { groupId, members: [{ memberId: me.memberId, groupInstanceId: null, reason: null }] }
      : { groupId, memberId: me.memberId },
  );
  expect([left.errorCode, left.members.map((m) => m.errorCode)]).toEqual([0, leaving >= 3 ? [0] : []]);
  client.close();
});

everyVersion('OffsetCommit', [
  [
    'simple consumer',
    (v) => commitFields({ groupId: `simple-${v}` }, 't', 2, { metadata: 'm', epoch: v >= 6 ? 0 : -1 }),
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(0),
  ],
  [
    'unknown topic',
    commitFields({ groupId: 'simple' }, 'nope', 2),
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'unknown member',
    commitFields({ groupId: 'simple', generationId: 3, memberId: 'nobody' }, 't', 2),
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).not.toBe(0),
  ],
  [
    'large metadata',
    commitFields({ groupId: 'simple' }, 't', 2, { metadata: 'x'.repeat(5000) }),
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(K.OFFSET_METADATA_TOO_LARGE),
  ],
  // Kafka takes commits of the empty group, for very old simple consumers.
  ['no group', commitFields({ groupId: '' }, 't', 2), (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(0)],
  ['no topics', { groupId: 'simple', generationIdOrMemberEpoch: -1, topics: [] }],
]);

everyVersion('OffsetFetch', [
  [
    'some',
    (v) =>
      v >= 8
        ? {
            groups: [
              {
                groupId: 'simple-9',
                memberId: null,
                memberEpoch: -1,
                topics: [{ name: 't', partitionIndexes: [0, 1] }],
              },
            ],
          }
        : { groupId: 'simple-9', topics: [{ name: 't', partitionIndexes: [0, 1] }] },
    (r, v) => expect((v >= 8 ? r.groups[0] : r)?.topics[0]?.partitions.map((p) => p.committedOffset)).toEqual([2, -1]),
  ],
  [
    'all',
    (v) =>
      v >= 8
        ? { groups: [{ groupId: 'simple-9', memberId: null, memberEpoch: -1, topics: null }] }
        : v >= 2
          ? { groupId: 'simple-9', topics: null }
          : undefined,
    (r, v) =>
      expect((v >= 8 ? r.groups[0] : r)?.topics[0]?.partitions.map((p) => [p.committedOffset, p.metadata])).toEqual([
        [2, 'm'],
      ]),
  ],
  [
    'unknown',
    (v) =>
      v >= 8
        ? {
            groups: [
              { groupId: 'nobody', memberId: null, memberEpoch: -1, topics: [{ name: 'nope', partitionIndexes: [0] }] },
            ],
          }
        : { groupId: 'nobody', topics: [{ name: 'nope', partitionIndexes: [0] }] },
  ],
  [
    'several',
    (v) =>
      v < 8
        ? undefined
        : { groups: ['a', 'b'].map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics: null })) },
    (r) => expect(r.groups.map((g) => g.groupId)).toEqual(['a', 'b']),
  ],
  [
    'stable',
    (v) =>
      v < 7
        ? undefined
        : v >= 8
          ? { requireStable: true, groups: [{ groupId: 'simple-9', memberId: null, memberEpoch: -1, topics: null }] }
          : { requireStable: true, groupId: 'simple-9', topics: null },
  ],
]);

const spec = (
  name: string,
  more: Partial<Req<'CreateTopics'>['topics'][number]> = {},
): Req<'CreateTopics'>['topics'][number] => ({
  name,
  numPartitions: 1,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...more,
});
everyVersion('CreateTopics', [
  ['good', (v) => ({ topics: [spec(`created-${v}`)], timeoutMs: 1000 }), (r) => expect(r.topics[0]?.errorCode).toBe(0)],
  [
    'validated',
    (v) => ({ topics: [spec(`validated-${v}`)], timeoutMs: 1000, validateOnly: true }),
    (r) => expect(r.topics[0]?.errorCode).toBe(0),
  ],
  [
    'several',
    (v) => ({
      topics: [
        spec('t'),
        spec('a b'),
        spec(`ok-${v}`),
        spec('many', { numPartitions: 1_000_000 }),
        spec('zero', { numPartitions: 0 }),
        spec('rf', { replicationFactor: 3 }),
        spec('cfg', { configs: [{ name: 'no.such', value: '1' }] }),
        spec('as', { numPartitions: -1, replicationFactor: -1, assignments: [{ partitionIndex: 0, brokerIds: [9] }] }),
        spec('null', { configs: [{ name: 'retention.ms', value: null }] }),
      ],
    }),
    (r) =>
      expect(r.topics.map((t) => t.errorCode)).toEqual([
        K.TOPIC_ALREADY_EXISTS,
        K.INVALID_TOPIC_EXCEPTION,
        0,
        K.INVALID_PARTITIONS,
        K.INVALID_PARTITIONS,
        K.INVALID_REPLICATION_FACTOR,
        K.INVALID_CONFIG,
        K.INVALID_REPLICA_ASSIGNMENT,
        K.INVALID_CONFIG,
      ]),
  ],
  ['none', { topics: [] }],
]);

everyVersion('DeleteRecords', [
  [
    'good',
    (v) => ({
      topics: [{ name: `created-${v + 2}`, partitions: [{ partitionIndex: 0, offset: -1 }] }],
      timeoutMs: 1000,
    }),
    (r) => expect(r.topics[0]?.partitions[0]).toMatchObject({ errorCode: 0, lowWatermark: 0 }),
  ],
  [
    'past the end',
    { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: 99 }] }] },
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(K.OFFSET_OUT_OF_RANGE),
  ],
  [
    'unknown',
    { topics: [{ name: 'nope', partitions: [{ partitionIndex: 0, offset: 0 }] }] },
    (r) => expect(r.topics[0]?.partitions[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
]);

everyVersion('CreatePartitions', [
  [
    'good',
    (v) => ({ topics: [{ name: `created-${v + 2}`, count: 9, assignments: null }], timeoutMs: 1000 }),
    (r) => expect(r.results).toMatchObject([{ errorCode: 0, errorMessage: null }]),
  ],
  [
    'good, assigned, only looked at',
    { topics: [{ name: 't', count: 3, assignments: [{ brokerIds: [1] }] }], validateOnly: true },
    (r) => expect(r.results).toMatchObject([{ name: 't', errorCode: 0 }]),
  ],
  [
    'wrong in all the ways',
    {
      topics: [
        { name: 't', count: 2, assignments: null },
        { name: 'nope', count: 3, assignments: null },
        { name: 'created-7', count: 9, assignments: [{ brokerIds: [2] }] },
        { name: 'twice', count: 1, assignments: null },
        { name: 'twice', count: 1, assignments: null },
      ],
    },
    (r) =>
      expect(r.results.map((x) => x.errorCode)).toEqual([
        K.INVALID_PARTITIONS,
        K.UNKNOWN_TOPIC_OR_PARTITION,
        K.INVALID_REPLICA_ASSIGNMENT,
        K.INVALID_REQUEST,
      ]),
  ],
]);

everyVersion('DeleteTopics', [
  [
    'good',
    (v) =>
      v >= 6
        ? { topics: [{ name: `created-${v + 1}`, topicId: '0'.repeat(32) }] }
        : { topicNames: [`created-${v + 1}`] },
    (r) => expect(r.responses[0]?.errorCode).toBe(0),
  ],
  [
    'unknown',
    (v) => (v >= 6 ? { topics: [{ name: 'nope', topicId: '0'.repeat(32) }] } : { topicNames: ['nope'] }),
    (r) => expect(r.responses[0]?.errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION),
  ],
  [
    'unknown id',
    (v) => (v < 6 ? undefined : { topics: [{ name: null, topicId: 'a'.repeat(32) }] }),
    (r) => expect(r.responses[0]).toMatchObject({ errorCode: K.UNKNOWN_TOPIC_ID }),
  ],
  [
    'both',
    (v) => (v < 6 ? undefined : { topics: [{ name: 't', topicId: id }] }),
    (r) => expect(r.responses[0]?.errorCode).toBe(K.INVALID_REQUEST),
  ],
  [
    'neither',
    (v) => (v < 6 ? undefined : { topics: [{ name: null, topicId: '0'.repeat(32) }] }),
    (r) => expect(r.responses[0]?.errorCode).not.toBe(0),
  ],
  ['same twice', (v) => (v >= 6 ? undefined : { topicNames: [`ok-${v + 1}`, `ok-${v + 1}`] })],
]);

everyVersion('InitProducerId', [
  [
    'good',
    { transactionalId: null, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 },
    (r) => expect([r.errorCode, r.producerEpoch]).toEqual([0, 0]),
  ],
  [
    'transactional',
    { transactionalId: 'tx', transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 },
    (r) => expect(r.errorCode).toBe(K.INVALID_REQUEST),
  ],
  [
    'known id',
    (v) =>
      v < 3 ? undefined : { transactionalId: null, transactionTimeoutMs: 60_000, producerId: 3, producerEpoch: 2 },
  ],
]);

test('every API of the table is here', () => {
  expect(API_TABLE.map((a) => a.name).filter((n) => !seen.has(n))).toEqual([]);
});

test('joinAlone settles', async () => {
  expect((await joinAlone(server, 'alone')).generationId).toBe(1);
});
