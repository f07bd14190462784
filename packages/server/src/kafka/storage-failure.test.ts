/** When the disk fails, is full or read-only, seen by clients: G8, G16, statement 12. */
import { KafkaError as K } from '@hadron/kafka-protocol';
import { describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import {
  batch,
  commit,
  commitFields,
  committed,
  createTopic,
  fetch,
  fetchFields,
  firstPartition,
  joinAlone,
  joinFields,
  offsetAt,
  produce,
  produceFields,
  recordsOf,
  valuesOf,
} from './testing/talk.ts';

const KIB = 1024;
const named = (name: string) => [{ name, topicId: '0'.repeat(32) }];

/** A server with records and a group of one. */
async function running(options: Parameters<typeof SimServer.start>[0] = {}) {
  const server = await SimServer.start(options);
  await createTopic(server, 't');
  for (let i = 0; i < 3; i++) await produce(server, 't', batch([`v${i}`]));
  const member = await joinAlone(server, 'g', { sessionTimeoutMs: 1_800_000 });
  expect(await commit(server, member, 't', 1)).toBe(0);
  return { server, member };
}

describe('G8 a failed sync', () => {
  test.each(['datasync', 'write'] as const)(
    'G8 a failed %s: everything pending is answered KAFKA_STORAGE_ERROR, reads go on, service returns by itself',
    async (op) => {
      const { server, member } = await running();
      server.sim.disk.faults.failNext(op, /commit/, { keep: 0 });
      const clients = Array.from({ length: 8 }, () => server.connect());
      const produced = clients.slice(0, 5).map((c, i) => c.call('Produce', 9, produceFields('t', batch([`lost${i}`]))));
      const commits = (clients[5] as (typeof clients)[number]).call('OffsetCommit', 7, commitFields(member, 't', 2));
      const created = (clients[6] as (typeof clients)[number]).call('CreateTopics', 7, {
        topics: [{ name: 'new', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
      });
      const reader = clients[7] as (typeof clients)[number];
      // Those that came before the failure was known are answered with it; none is acknowledged.
      for (const r of await server.run(Promise.all(produced)))
        expect(r.responses[0]?.partitionResponses[0]).toMatchObject({
          errorCode: K.KAFKA_STORAGE_ERROR,
          baseOffset: -1,
        });
      expect((await server.run(commits)).topics[0]?.partitions[0]?.errorCode).toBe(K.COORDINATOR_NOT_AVAILABLE);
      expect((await server.run(created)).topics[0]?.errorCode).toBe(K.KAFKA_STORAGE_ERROR);
      const read = firstPartition(await server.run(reader.call('Fetch', 12, fetchFields('t', 0))));
      expect([
        read.errorCode,
        read.highWatermark >= 3,
        recordsOf(read.records)
          .slice(0, 3)
          .map((r) => r.value),
      ]).toEqual([0, true, ['v0', 'v1', 'v2']]);
      await server.advance(2_000);
      expect(server.broker.trouble).toBeUndefined();
      expect((await produce(server, 't', batch(['after']))).errorCode).toBe(0);
      const values = await valuesOf(server, 't');
      expect([values.slice(0, 3), values.at(-1)]).toEqual([['v0', 'v1', 'v2'], 'after']);
      expect(await commit(server, member, 't', 3)).toBe(0);
      expect(server.sim.disk.faults.unmet).toEqual([]);
    },
  );

  test('G8 while the disk does not recover: produce refused, fetch and lists go on, groups say COORDINATOR_NOT_AVAILABLE', async () => {
    const { server, member } = await running();
    server.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    server.sim.disk.faults.plan = { fail: { datasync: 1, write: 1, open: 1 } };
    expect((await produce(server, 't', batch(['x']))).errorCode).toBe(K.KAFKA_STORAGE_ERROR);
    for (let i = 0; i < 5; i++) {
      await server.advance(1_000);
      const before = server.nowMs;
      expect((await produce(server, 't', batch(['x']))).errorCode).toBe(K.KAFKA_STORAGE_ERROR);
      expect(
        (
          await server.ask('InitProducerId', 4, {
            transactionalId: null,
            transactionTimeoutMs: 1,
            producerId: -1,
            producerEpoch: -1,
          })
        ).errorCode,
      ).not.toBe(0);
      expect((await server.ask('Heartbeat', 3, { ...member, groupInstanceId: null })).errorCode).toBe(
        K.COORDINATOR_NOT_AVAILABLE,
      );
      expect((await server.ask('JoinGroup', 5, joinFields('g', member.memberId))).errorCode).toBe(
        K.COORDINATOR_NOT_AVAILABLE,
      );
      expect((await server.ask('JoinGroup', 5, joinFields('other', ''))).errorCode).toBe(K.COORDINATOR_NOT_AVAILABLE);
      expect((await server.ask('SyncGroup', 3, { ...member })).errorCode).toBe(K.COORDINATOR_NOT_AVAILABLE);
      expect((await server.ask('LeaveGroup', 1, { ...member })).errorCode).toBe(K.COORDINATOR_NOT_AVAILABLE);
      expect(await commit(server, member, 't', 2)).toBe(K.COORDINATOR_NOT_AVAILABLE);
      expect((await server.ask('OffsetFetch', 7, { groupId: 'g', topics: null })).errorCode).toBe(
        K.COORDINATOR_NOT_AVAILABLE,
      );
      expect(
        (
          await server.ask('OffsetFetch', 8, {
            groups: [{ groupId: 'g', memberId: null, memberEpoch: -1, topics: null }],
          })
        ).groups[0]?.errorCode,
      ).toBe(K.COORDINATOR_NOT_AVAILABLE);
      expect((await createTopic(server, 'new')).errorCode).toBe(K.KAFKA_STORAGE_ERROR);
      expect((await server.ask('DeleteTopics', 6, { topics: named('t') })).responses[0]?.errorCode).toBe(
        K.KAFKA_STORAGE_ERROR,
      );
      expect(
        (
          await server.ask('DeleteRecords', 2, {
            topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: 1 }] }],
          })
        ).topics[0]?.partitions[0]?.errorCode,
      ).toBe(K.KAFKA_STORAGE_ERROR);
      expect((await server.ask('Metadata', 9, { topics: named('t') })).topics[0]).toMatchObject({ errorCode: 0 });
      expect(
        (await server.ask('Metadata', 9, { topics: named('auto'), allowAutoTopicCreation: true })).topics[0]?.errorCode,
      ).toBe(K.KAFKA_STORAGE_ERROR);
      expect((await server.ask('FindCoordinator', 3, { key: 'g' })).errorCode).toBe(0);
      expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2']);
      expect((await offsetAt(server, 't', -1)).offset).toBe(3);
      expect(server.nowMs - before).toBeLessThan(50); // nobody waits for nothing
    }
    server.sim.disk.faults.clear();
    await server.advance(3_000);
    expect((await produce(server, 't', batch(['after']))).baseOffset).toBe(3);
    expect((await server.ask('Heartbeat', 3, { ...member, groupInstanceId: null })).errorCode).toBe(0);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(1);
    expect((await server.ask('Metadata', 9, { topics: null })).topics.map((t) => t.name)).toEqual(['t']);
  });

  test('G8 waiting fetches outlive the failure and the high watermark does not go back', async () => {
    const { server } = await running();
    const client = server.connect();
    const poll = client.call('Fetch', 12, fetchFields('t', 3, { maxWaitMs: 20_000 }));
    await server.advance(10);
    server.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    await produce(server, 't', batch(['lost']));
    await server.advance(3_000);
    const p = firstPartition(await server.run(poll));
    expect([p.errorCode, p.highWatermark >= 3]).toEqual([0, true]);
    expect((await produce(server, 't', batch(['after']))).errorCode).toBe(0);
    expect((await fetch(server, 't', 0)).highWatermark).toBeGreaterThanOrEqual(4);
  });

  test('G8 members that wait for a rebalance are told, and settle after recovery', async () => {
    const { server, member } = await running();
    const client = server.connect();
    const waiting = client.call('JoinGroup', 3, joinFields('g', ''));
    await server.advance(10);
    server.sim.disk.faults.failNext('datasync', /commit/, { keep: 0 });
    expect((await produce(server, 't', batch(['x']))).errorCode).toBe(K.KAFKA_STORAGE_ERROR);
    expect((await server.run(waiting)).errorCode).toBe(K.COORDINATOR_NOT_AVAILABLE);
    await server.advance(2_000);
    expect([0, K.REBALANCE_IN_PROGRESS]).toContain(
      (await server.ask('Heartbeat', 3, { ...member, groupInstanceId: null })).errorCode,
    );
  });

  test('G8 again and again: what was acknowledged is there, once and in order', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const server = await SimServer.start({ seed });
      await createTopic(server, 't');
      const acked: string[] = [];
      for (let i = 0; i < 40; i++) {
        if (i % 7 === 3) server.sim.disk.faults.failNext(seed % 2 === 0 ? 'datasync' : 'write', /commit/);
        const p = await produce(server, 't', batch([`v${i}`]));
        if (p.errorCode === 0) acked.push(`v${i}`);
        else await server.advance(1_500);
      }
      const values = (await valuesOf(server, 't')) as string[];
      expect(values.filter((v) => acked.includes(v))).toEqual(acked);
      expect(acked.length).toBeGreaterThan(25);
      await server.restart('power', 'nothing');
      expect(((await valuesOf(server, 't')) as string[]).filter((v) => acked.includes(v))).toEqual(acked);
    }
  });
});

describe('G16 a full disk', () => {
  const shard = {
    commitFileBytes: 64 * KIB,
    checkpointAtBytes: 128 * KIB,
    slowAtBytes: 1024 * KIB,
    minFreeBytes: 256 * KIB,
  };

  test('G16 produce is refused with a retriable error, reads and commits go on, deleting a topic brings service back', async () => {
    const { server, member } = await running({ shard, sim: { disk: { capacityBytes: 32 * 1024 * KIB } } });
    await createTopic(server, 'big');
    let refusedAt = -1;
    for (let i = 0; i < 2_000 && refusedAt < 0; i++) {
      // The free space is looked at twice a second: the last 256 KiB must not go faster than that.
      await server.advance(150);
      const p = await produce(server, 'big', batch(['x'.repeat(60_000)]));
      if (p.errorCode !== 0) {
        expect(p.errorCode).toBe(K.KAFKA_STORAGE_ERROR);
        refusedAt = i;
      }
    }
    expect(refusedAt).toBeGreaterThan(100);
    // It stays so, and everything else works.
    for (let i = 0; i < 3; i++) {
      await server.advance(2_000);
      expect((await produce(server, 't', batch(['x']))).errorCode).toBe(K.KAFKA_STORAGE_ERROR);
      expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2']);
      expect(await commit(server, member, 't', 2 + i)).toBe(0);
      expect((await server.ask('Heartbeat', 3, { ...member, groupInstanceId: null })).errorCode).toBe(0);
    }
    expect((await fetch(server, 'big', refusedAt - 1)).errorCode).toBe(0);
    expect((await server.ask('DeleteTopics', 6, { topics: named('big') })).responses[0]?.errorCode).toBe(0);
    await server.advance(5_000);
    expect((await produce(server, 't', batch(['after']))).baseOffset).toBe(3);
    await server.restart('power', 'nothing');
    expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2', 'after']);
    expect((await committed(server, 'g', 't')).committedOffset).toBe(4);
  });

  test('G16 ENOSPC without any warning: nothing acknowledged is lost, service returns when there is room', async () => {
    const { server } = await running({
      shard: { ...shard, minFreeBytes: 0 },
      sim: { disk: { capacityBytes: 8 * 1024 * KIB } },
    });
    await createTopic(server, 'big');
    let acked = 0;
    let refused = 0;
    for (let i = 0; i < 400 && refused < 20; i++) {
      const p = await produce(server, 'big', batch([`${i}`.padStart(50_000, 'x')]));
      if (p.errorCode === 0) acked++;
      else {
        expect(p.errorCode).toBe(K.KAFKA_STORAGE_ERROR);
        refused++;
        await server.advance(200);
      }
    }
    expect([acked > 20, refused]).toEqual([true, 20]);
    expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2']);
    server.sim.disk.capacityBytes = 64 * 1024 * KIB;
    await server.advance(5_000);
    expect((await produce(server, 't', batch(['after']))).errorCode).toBe(0);
    expect((await offsetAt(server, 'big', -1)).offset).toBeGreaterThanOrEqual(acked);
    await server.restart('power', 'nothing');
    expect((await offsetAt(server, 'big', -1)).offset).toBeGreaterThanOrEqual(acked);
  });
});

// Known: a disk filled faster than the free space is looked at ends in ENOSPC, and recovery, which needs a new commit file,
// does not take the reserve for it: deleting a topic is refused until somebody makes room from outside.
test.todo('G16 ENOSPC without any warning: deleting a topic brings service back');

describe('G16 a read-only disk', () => {
  test('G16 a disk that turns read-only: produce refused, reads go on, service returns by itself', async () => {
    const { server, member } = await running();
    server.sim.disk.readOnly = true;
    for (let i = 0; i < 5; i++) {
      expect((await produce(server, 't', batch(['x']))).errorCode).toBe(K.KAFKA_STORAGE_ERROR);
      expect(await valuesOf(server, 't')).toEqual(['v0', 'v1', 'v2']);
      expect((await server.ask('Heartbeat', 3, { ...member, groupInstanceId: null })).errorCode).toBe(
        K.COORDINATOR_NOT_AVAILABLE,
      );
      await server.advance(3_000);
    }
    server.sim.disk.readOnly = false;
    await server.advance(3_000);
    expect((await produce(server, 't', batch(['after']))).baseOffset).toBe(3);
    expect(await commit(server, member, 't', 3)).toBe(0);
    expect(server.broker.trouble).toBeUndefined();
  });
});

describe('closing', () => {
  test('A3 what is in flight is answered, waiting polls at once, then everything is closed', async () => {
    const { server } = await running();
    const idle = server.connect();
    const poller = server.connect();
    const joiner = server.connect();
    const poll = poller.call('Fetch', 12, fetchFields('t', 3, { maxWaitMs: 60_000 }));
    const joining = joiner.call('JoinGroup', 3, joinFields('g', '')).catch(() => undefined); // waits for the other member
    await server.advance(10);
    const producer = server.connect();
    const produced = Array.from({ length: 20 }, (_, i) =>
      producer.call('Produce', 9, produceFields('t', batch([`last${i}`]))),
    );
    await server.advance(0.1);
    const before = server.nowMs;
    await server.close();
    expect(server.nowMs - before).toBeLessThan(2_000);
    expect(firstPartition(await server.run(poll)).errorCode).toBe(0);
    expect(
      (await server.run(Promise.all(produced))).map((r) => r.responses[0]?.partitionResponses[0]?.errorCode),
    ).toEqual(produced.map(() => 0));
    await server.run(joining);
    await server.advance(10);
    expect([idle.closed, poller.closed, producer.closed, joiner.closed]).toEqual([true, true, true, true]);
    await server.open();
    expect((await valuesOf(server, 't')).length).toBe(23);
    expect(server.broker.core.shard.recovered.clean).toBe(true);
  });

  test('A3 idle connections do not hold the end back', async () => {
    const { server } = await running();
    const clients = Array.from({ length: 20 }, () => server.connect());
    await server.run(Promise.all(clients.map((c) => c.call('Metadata', 9, { topics: [] }))));
    const before = server.nowMs;
    await server.close();
    expect(server.nowMs - before).toBeLessThan(200);
  });
});
