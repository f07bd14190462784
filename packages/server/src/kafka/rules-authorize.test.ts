/** The Kafka door asks `authorize` before it touches a topic, as every door does (statement 3). */
import { type Action, ANONYMOUS } from '@hadron/broker';
import { HadronError } from '@hadron/base';
import { KafkaError as K } from '@hadron/kafka-protocol';
import { expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import { batch, commit, fetchFields, joinFields, produceFields } from './testing/talk.ts';

async function guarded(): Promise<{ server: SimServer; asked: string[]; denied: Set<Action> }> {
  const asked: string[] = [];
  const denied = new Set<Action>();
  const server = await SimServer.start({
    authorize(identity, action, { kind, name }) {
      expect(identity).toBe(ANONYMOUS);
      asked.push(`${action} ${kind} ${name}`);
      if (denied.has(action)) throw new HadronError('PERMISSION_DENIED', 'not you');
    },
  });
  return { server, asked, denied };
}

const NEW = { topics: [{ name: 't', numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }] };

test('with identity, action and topic', async () => {
  const { server, asked } = await guarded();
  await server.ask('CreateTopics', 7, NEW);
  await server.ask('Metadata', 8, { topics: [{ name: 't' }] } as never);
  await server.ask('Produce', 9, produceFields('t', batch(['a'])));
  await server.ask('Fetch', 12, fetchFields('t', 0));
  await server.ask('ListOffsets', 5, {
    topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }],
  });
  await server.ask('CreatePartitions', 3, { topics: [{ name: 't', count: 2, assignments: null }] });
  await server.ask('DeleteRecords', 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: -1 }] }] });
  await server.ask('DeleteTopics', 5, { topicNames: ['t'] });
  expect(asked).toEqual([
    'create Stream t',
    'read Stream t',
    'publish Stream t',
    'subscribe Stream t',
    'read Stream t',
    'change Stream t',
    'change Stream t',
    'delete Stream t',
  ]);
});

test('what is denied is TOPIC_AUTHORIZATION_FAILED, and is not done', async () => {
  const { server, denied } = await guarded();
  await server.ask('CreateTopics', 7, NEW);
  for (const action of ['create', 'read', 'publish', 'subscribe', 'change', 'delete'] as const) denied.add(action);
  const codes = [
    (await server.ask('CreateTopics', 7, { topics: [{ ...NEW.topics[0], name: 'u' }] } as never)).topics[0]?.errorCode,
    (await server.ask('Metadata', 8, { topics: [{ name: 't' }] } as never)).topics[0]?.errorCode,
    (await server.ask('Produce', 9, produceFields('t', batch(['a'])))).responses[0]?.partitionResponses[0]?.errorCode,
    (await server.ask('Fetch', 12, fetchFields('t', 0))).responses[0]?.partitions[0]?.errorCode,
    (
      await server.ask('ListOffsets', 5, {
        topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }],
      })
    ).topics[0]?.partitions[0]?.errorCode,
    (await server.ask('CreatePartitions', 3, { topics: [{ name: 't', count: 2, assignments: null }] })).results[0]
      ?.errorCode,
    (await server.ask('DeleteRecords', 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: -1 }] }] }))
      .topics[0]?.partitions[0]?.errorCode,
    (await server.ask('DeleteTopics', 5, { topicNames: ['t'] })).responses[0]?.errorCode,
  ];
  expect(codes).toEqual(codes.map(() => K.TOPIC_AUTHORIZATION_FAILED));
  expect((await server.ask('Metadata', 8, { topics: null })).topics).toEqual([]);
  const topic = server.broker.core.topics.get('t');
  expect([topic?.partitions.length, topic?.partitions[0]?.highWatermark, server.broker.core.topics.count]).toEqual([
    1, 0, 1,
  ]);
});

async function joined(server: SimServer): Promise<{ memberId: string; generationId: number }> {
  const client = server.connect();
  const first = await server.run(client.call('JoinGroup', 5, joinFields('g', '')));
  return server.run(client.call('JoinGroup', 5, joinFields('g', first.memberId)));
}

test('groups: with identity, action and group; and the topics of their offsets', async () => {
  const { server, asked } = await guarded();
  await server.ask('CreateTopics', 7, NEW);
  asked.length = 0;
  await server.ask('FindCoordinator', 4, { keyType: 0, coordinatorKeys: ['g', 'h'] });
  const { memberId, generationId } = await joined(server);
  await server.ask('SyncGroup', 3, {
    groupId: 'g',
    memberId,
    generationId,
    assignments: [{ memberId, assignment: Buffer.from('x') }],
  });
  await server.ask('Heartbeat', 3, { groupId: 'g', memberId, generationId });
  await commit(server, { groupId: 'g', memberId, generationId }, 't', 1);
  await server.ask('OffsetFetch', 5, { groupId: 'g', topics: [{ name: 't', partitionIndexes: [0] }] });
  await server.ask('LeaveGroup', 3, { groupId: 'g', members: [{ memberId, groupInstanceId: null, reason: null }] });
  expect([...new Set(asked)]).toEqual([
    'read KafkaGroup g',
    'read KafkaGroup h',
    'subscribe KafkaGroup g',
    'subscribe Stream t',
    'read Stream t',
  ]);
});

test('groups: what is denied is GROUP_AUTHORIZATION_FAILED, of topics TOPIC_AUTHORIZATION_FAILED, and is not done', async () => {
  const denied = new Set<string>();
  const server = await SimServer.start({
    authorize(_, action, { kind }) {
      if (denied.has(`${action} ${kind}`)) throw new HadronError('PERMISSION_DENIED', 'not you');
    },
  });
  await server.ask('CreateTopics', 7, NEW);
  const commitAt = (offset: number): Promise<number> => commit(server, { groupId: 'solo' }, 't', offset);
  const fetched = async (version: 5 | 8) => {
    const topics = [{ name: 't', partitionIndexes: [0] }];
    const solo = { groupId: 'solo', memberId: null, memberEpoch: -1, topics };
    const r = await server.ask(
      'OffsetFetch',
      version,
      version === 5 ? { groupId: 'solo', topics } : { groups: [solo] },
    );
    const { errorCode, topics: found } = version === 5 ? r : (r.groups[0] ?? r);
    const [partition] = found[0]?.partitions ?? [];
    return [errorCode, partition?.errorCode, partition?.committedOffset];
  };
  expect(await commitAt(7)).toBe(0);
  denied.add('subscribe Stream').add('read Stream');
  expect(await commitAt(8)).toBe(K.TOPIC_AUTHORIZATION_FAILED);
  expect(await fetched(5)).toEqual([0, K.TOPIC_AUTHORIZATION_FAILED, -1]);
  expect(await fetched(8)).toEqual([0, K.TOPIC_AUTHORIZATION_FAILED, -1]);
  const all = await server.ask('OffsetFetch', 5, { groupId: 'solo', topics: null });
  expect(all.topics).toEqual([]);
  denied.clear();
  denied.add('subscribe KafkaGroup').add('read KafkaGroup');
  const G = K.GROUP_AUTHORIZATION_FAILED;
  expect(await commitAt(9)).toBe(G);
  expect(await fetched(5)).toEqual([G, G, -1]);
  expect(await fetched(8)).toEqual([G, undefined, undefined]);
  const found = await server.ask('FindCoordinator', 4, { keyType: 0, coordinatorKeys: ['g'] });
  expect(found.coordinators).toMatchObject([{ key: 'g', errorCode: G, nodeId: -1 }]);
  expect((await server.ask('JoinGroup', 5, joinFields('g', ''))).errorCode).toBe(G);
  const member = { groupId: 'g', memberId: 'm', generationId: 1 };
  expect((await server.ask('SyncGroup', 3, { ...member, assignments: [] })).errorCode).toBe(G);
  expect((await server.ask('Heartbeat', 3, member)).errorCode).toBe(G);
  expect((await server.ask('LeaveGroup', 3, { groupId: 'g', members: [] })).errorCode).toBe(G);
  denied.clear();
  expect(await fetched(5)).toEqual([0, 0, 7]);
});
