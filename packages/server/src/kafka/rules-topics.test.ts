/** Metadata and topic administration: R11, lessons of §6, §10 #6, #7, #12; what they say is durable. */
import { KafkaError as K } from '@hadron/kafka-protocol';
import { describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import { batch, commit, committed, createTopic, fetch, produce, valuesOf } from './testing/talk.ts';

const named = (...names: string[]) => names.map((name) => ({ name, topicId: '0'.repeat(32) }));

describe('R11 Metadata', () => {
  test('R11.1 R11.2 controller, cluster id: in the list, not null, stable', async () => {
    const server = await SimServer.start();
    for (const how of ['close', 'kill', 'power'] as const) {
      for (const version of [1, 2, 8, 9, 12, 13]) {
        const r = await server.ask('Metadata', version, { topics: [] });
        expect(r.brokers.map((b) => b.nodeId)).toContain(r.controllerId);
        if (version >= 2) expect(r.clusterId).toBe('sim-cluster');
      }
      await server.restart(how);
    }
  });

  test.each([
    [0, true],
    [1, true],
    [4, true],
    [9, true],
    [13, true],
  ])('R11.3 v%i: an unknown topic is created durably before the answer, with num.partitions', async (version) => {
    for (const how of ['kill', 'power'] as const) {
      const server = await SimServer.start({ set: { 'num.partitions': '4' } });
      const r = await server.ask('Metadata', version, { topics: named('auto'), allowAutoTopicCreation: true });
      // Killed right behind the answer, everything unsynced lost.
      await server.restart(how, 'nothing');
      expect(r.topics[0]?.partitions.length).toBe(4);
      const after = await server.ask('Metadata', 12, { topics: null });
      expect(after.topics.map((t) => [t.name, t.errorCode, t.partitions.length])).toEqual([['auto', 0, 4]]);
      if (version >= 10) expect(after.topics[0]?.topicId).toBe(r.topics[0]?.topicId);
    }
  });

  test('R11.3 §6 nobody is told of a topic whose creation is not durable', async () => {
    const server = await SimServer.start();
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const a = server.connect();
    const b = server.connect();
    const first = a.call('Metadata', 9, { topics: named('auto'), allowAutoTopicCreation: true });
    await server.advance(100);
    const second = b.call('Metadata', 9, { topics: null });
    await server.advance(1_000);
    expect([a.answered.length, b.answered.length]).toEqual([0, 0]);
    hold.release();
    expect((await server.run(first)).topics[0]?.errorCode).toBe(0);
    expect((await server.run(second)).topics.length).toBe(1);
  });

  test('R11.3 a creation whose sync fails is answered KAFKA_STORAGE_ERROR, and another try works', async () => {
    const server = await SimServer.start();
    await createTopic(server, 'there');
    server.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    const r = await server.ask('Metadata', 9, { topics: named('auto', 'there'), allowAutoTopicCreation: true });
    expect(r.topics.find((t) => t.name === 'auto')?.errorCode).toBe(K.KAFKA_STORAGE_ERROR);
    await server.advance(3_000);
    expect(
      (await server.ask('Metadata', 9, { topics: named('auto'), allowAutoTopicCreation: true })).topics[0]?.errorCode,
    ).toBe(0);
  });

  test('R11.3 a failed creation does not hide the topics that are there', async () => {
    const server = await SimServer.start();
    await createTopic(server, 'there');
    await produce(server, 'there', batch(['a']));
    server.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    const failed = await server.ask('Metadata', 9, { topics: named('auto', 'there'), allowAutoTopicCreation: true });
    expect(failed.topics.map((t) => [t.name, t.errorCode])).toEqual([
      ['auto', K.KAFKA_STORAGE_ERROR],
      ['there', 0],
    ]);
    expect(
      (await server.ask('Metadata', 9, { topics: named('there'), allowAutoTopicCreation: false })).topics[0]?.errorCode,
    ).toBe(0);
  });

  test('R11.3 an illegal name → INVALID_TOPIC_EXCEPTION, nothing is created', async () => {
    const server = await SimServer.start();
    const bad = ['', '.', '..', 'a b', 'ä', 'x'.repeat(250), 'a/b'];
    const r = await server.ask('Metadata', 9, { topics: named(...bad), allowAutoTopicCreation: true });
    expect(r.topics.map((t) => t.errorCode)).toEqual(bad.map(() => K.INVALID_TOPIC_EXCEPTION));
    expect((await server.ask('Metadata', 9, { topics: null })).topics).toEqual([]);
  });

  test('R11.3 auto-creation off: UNKNOWN_TOPIC_OR_PARTITION, by the setting or by the request', async () => {
    const off = await SimServer.start({ set: { 'auto.create.topics.enable': 'false' } });
    expect(
      (await off.ask('Metadata', 9, { topics: named('x'), allowAutoTopicCreation: true })).topics[0]?.errorCode,
    ).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
    const on = await SimServer.start();
    expect(
      (await on.ask('Metadata', 4, { topics: named('x'), allowAutoTopicCreation: false })).topics[0]?.errorCode,
    ).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
    expect((await on.ask('Metadata', 9, { topics: null })).topics).toEqual([]);
  });

  test('R11.4 null = all; [] = none from v1, all in v0', async () => {
    const server = await SimServer.start();
    await createTopic(server, 'a');
    await createTopic(server, 'b');
    const names = async (version: number, topics: [] | null) =>
      (await server.ask('Metadata', version, { topics })).topics.map((t) => t.name).sort();
    expect(await names(0, [])).toEqual(['a', 'b']);
    for (const version of [1, 4, 9, 13]) {
      expect(await names(version, [])).toEqual([]);
      expect(await names(version, null)).toEqual(['a', 'b']);
    }
  });

  test('R11.5 authorized operations are filled when asked for, else the minimum', async () => {
    const server = await SimServer.start();
    await createTopic(server, 'a');
    const none = await server.ask('Metadata', 8, { topics: named('a') });
    expect([none.clusterAuthorizedOperations, none.topics[0]?.topicAuthorizedOperations]).toEqual([
      -2147483648, -2147483648,
    ]);
    const asked = await server.ask('Metadata', 8, {
      topics: named('a'),
      includeClusterAuthorizedOperations: true,
      includeTopicAuthorizedOperations: true,
    });
    expect([
      (asked.clusterAuthorizedOperations ?? 0) > 0,
      (asked.topics[0]?.topicAuthorizedOperations ?? 0) > 0,
    ]).toEqual([true, true]);
  });
});

describe('CreateTopics, DeleteTopics, DeleteRecords', () => {
  test('§6 mixed valid and invalid configs: one result per topic, the valid ones are created', async () => {
    const server = await SimServer.start();
    const spec = (name: string, configs: { name: string; value: string | null }[] = []) => ({
      name,
      numPartitions: 1,
      replicationFactor: -1,
      assignments: [],
      configs,
    });
    const r = await server.ask('CreateTopics', 7, {
      topics: [
        spec('good', [{ name: 'retention.ms', value: '1000' }]),
        spec('bad', [{ name: 'retention.ms', value: 'soon' }]),
        spec('unknown', [{ name: 'nope', value: '1' }]),
        spec('twice'),
        spec('twice'),
        spec('fine'),
      ],
    });
    expect(r.topics.map((t) => [t.name, t.errorCode])).toEqual([
      ['good', 0],
      ['bad', K.INVALID_CONFIG],
      ['unknown', K.INVALID_CONFIG],
      ['twice', K.INVALID_REQUEST],
      ['fine', 0],
    ]);
    await server.restart('power', 'nothing');
    expect((await server.ask('Metadata', 9, { topics: null })).topics.map((t) => t.name).sort()).toEqual([
      'fine',
      'good',
    ]);
  });

  test('§10 #6 segment.bytes below 1,048,576 → INVALID_CONFIG', async () => {
    const server = await SimServer.start();
    expect((await createTopic(server, 'a', { config: { 'segment.bytes': '1048575' } })).errorCode).toBe(
      K.INVALID_CONFIG,
    );
    expect((await createTopic(server, 'a', { config: { 'segment.bytes': '1048576' } })).errorCode).toBe(0);
  });

  test('validate_only creates nothing and judges the same', async () => {
    const server = await SimServer.start();
    const topics = [{ name: 'a', numPartitions: 3, replicationFactor: 1, assignments: [], configs: [] }];
    expect((await server.ask('CreateTopics', 7, { topics, validateOnly: true })).topics[0]).toMatchObject({
      errorCode: 0,
      numPartitions: 3,
    });
    expect((await server.ask('Metadata', 9, { topics: null })).topics).toEqual([]);
    await createTopic(server, 'a');
    expect((await server.ask('CreateTopics', 7, { topics, validateOnly: true })).topics[0]).toMatchObject({
      errorCode: K.TOPIC_ALREADY_EXISTS,
    });
  });

  test.each(['kill', 'power'] as const)('a created topic is there after %s, a deleted one is not', async (how) => {
    const server = await SimServer.start();
    const { topicId } = await createTopic(server, 'keep', { partitions: 3, config: { 'retention.ms': '5000' } });
    await createTopic(server, 'drop');
    await produce(server, 'drop', batch(['x']));
    await server.ask('DeleteTopics', 6, { topics: named('drop') });
    await server.restart(how, 'nothing');
    const r = await server.ask('Metadata', 10, { topics: null });
    expect(r.topics.map((t) => [t.name, t.topicId, t.partitions.length])).toEqual([['keep', topicId, 3]]);
    expect((await fetch(server, 'drop', 0)).errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test('a topic deleted with a produce in flight: the produce is answered', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const client = server.connect();
    const produced = client.call('Produce', 9, {
      acks: -1,
      timeoutMs: 1,
      topicData: [{ name: 't', partitionData: [{ index: 0, records: batch(['x']) }] }],
    });
    await server.advance(1);
    const deleted = server.connect().call('DeleteTopics', 6, { topics: named('t') });
    await server.advance(1);
    hold.release();
    await server.run(Promise.all([produced, deleted]));
    expect((await produce(server, 't', batch(['x']))).errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test('the same topic named twice in one DeleteTopics', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    const r = await server.ask('DeleteTopics', 4, { topicNames: ['t', 't'] });
    expect(r.responses.filter((x) => x.errorCode === 0).length).toBe(1);
  });

  test('a deleted topic takes its committed offsets with it; created again it has none', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    expect(await commit(server, { groupId: 'g' }, 't', 5)).toBe(0);
    await server.ask('DeleteTopics', 6, { topics: named('t') });
    await createTopic(server, 't');
    expect((await committed(server, 'g', 't')).committedOffset).toBe(-1);
    await server.restart('kill');
    expect((await committed(server, 'g', 't')).committedOffset).toBe(-1);
  });

  test('§10 #7 DeleteRecords: past the end → OFFSET_OUT_OF_RANGE; -1 = the high watermark; below the start = the start', async () => {
    const server = await SimServer.start();
    await createTopic(server, 't');
    await produce(server, 't', batch(['a', 'b', 'c', 'd', 'e']));
    const drop = async (offset: number) =>
      (await server.ask('DeleteRecords', 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset }] }] }))
        .topics[0]?.partitions[0];
    expect(await drop(6)).toMatchObject({ errorCode: K.OFFSET_OUT_OF_RANGE, lowWatermark: -1 });
    expect(await drop(-2)).toMatchObject({ errorCode: K.OFFSET_OUT_OF_RANGE });
    expect(await drop(3)).toMatchObject({ errorCode: 0, lowWatermark: 3 });
    expect(await drop(1)).toMatchObject({ errorCode: 0, lowWatermark: 3 });
    await server.restart('power', 'nothing');
    expect(await fetch(server, 't', 2)).toMatchObject({ errorCode: K.OFFSET_OUT_OF_RANGE, logStartOffset: 3 });
    expect(await valuesOf(server, 't', 3)).toEqual(['d', 'e']);
    expect(await drop(-1)).toMatchObject({ errorCode: 0, lowWatermark: 5 });
    expect(await fetch(server, 't', 5)).toMatchObject({ errorCode: 0, logStartOffset: 5, highWatermark: 5 });
    expect((await produce(server, 't', batch(['f']))).baseOffset).toBe(5);
  });
});
