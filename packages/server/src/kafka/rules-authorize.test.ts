/** The Kafka door asks `authorize` before it touches a topic, as every door does (statement 3). */
import { type Action, ANONYMOUS } from '@hadron/broker';
import { HadronError } from '@hadron/base';
import { KafkaError as K } from '@hadron/kafka-protocol';
import { expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import { batch, fetchFields, produceFields } from './testing/talk.ts';

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
