/** Fetch, fetch sessions, topic ids, leader epochs, ListOffsets: R7a–i, R8, R9, R10, R19, log.md G6. */
import { KafkaError as K } from '@hadron/kafka-protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { SimServer } from './testing/sim-server.ts';
import {
  batch,
  batchesOf,
  createTopic,
  fetch,
  fetchFields,
  firstPartition,
  offsetAt,
  produce,
  produceFields,
  recordsOf,
  STAMP,
  valuesOf,
} from './testing/talk.ts';
import type { Res, WireClient } from './testing/wire-client.ts';

async function withTopic(config: Readonly<Record<string, string>> = {}, partitions = 1): Promise<SimServer> {
  const server = await SimServer.start();
  await createTopic(server, 't', { config, partitions });
  return server;
}

/** A Fetch of several partitions of `t`, each with its own limit. */
function fetchAll(
  client: WireClient,
  partitions: readonly { offset: number; max: number }[],
  maxBytes: number,
): Promise<Res<'Fetch'>> {
  const fields = fetchFields('t', 0, { maxBytes });
  const [topic] = fields.topics ?? [];
  const [part] = topic?.partitions ?? [];
  if (topic === undefined || part === undefined) throw new Error('no topic');
  return client.call('Fetch', 12, {
    ...fields,
    topics: [
      {
        ...topic,
        partitions: partitions.map((p, i) => ({
          ...part,
          partition: i,
          fetchOffset: p.offset,
          partitionMaxBytes: p.max,
        })),
      },
    ],
  });
}

describe.each(['tail', 'files'] as const)('R7 reads from the %s', (where) => {
  const settle = async (server: SimServer): Promise<void> => {
    if (where === 'tail') return;
    await server.run(server.broker.core.shard.checkpoint());
    await server.restart('close');
  };

  test('R7a the whole batch that contains the offset', async () => {
    const server = await withTopic();
    await produce(server, 't', batch(['a', 'b', 'c']));
    await produce(server, 't', batch(['d', 'e', 'f']));
    await settle(server);
    for (const offset of [3, 4, 5]) {
      const p = await fetch(server, 't', offset);
      expect(batchesOf(p.records).map((b) => b.baseOffset)).toEqual([3]);
      expect(recordsOf(p.records).map((r) => r.value)).toEqual(['d', 'e', 'f']);
    }
    for (const offset of [0, 1, 2])
      expect(batchesOf((await fetch(server, 't', offset)).records).map((b) => b.baseOffset)).toEqual([0, 3]);
  });

  test('R7b the first non-empty partition yields a batch whatever the limits, later ones obey them', async () => {
    const server = await withTopic({}, 3);
    for (const partition of [1, 2])
      for (let i = 0; i < 3; i++) await produce(server, 't', batch(['x'.repeat(1_000)]), partition);
    await settle(server);
    const client = server.connect();
    const counts = async (partitions: { offset: number; max: number }[], maxBytes: number): Promise<number[]> =>
      (await server.run(fetchAll(client, partitions, maxBytes))).responses[0]?.partitions.map(
        (p) => batchesOf(p.records).length,
      ) ?? [];
    const from = (max: number) => [0, 1, 2].map(() => ({ offset: 0, max }));
    expect(await counts(from(1), 10_000)).toEqual([0, 1, 0]);
    expect(await counts(from(0), 10_000)).toEqual([0, 1, 0]);
    expect(await counts(from(10_000), 1)).toEqual([0, 1, 0]);
    expect(await counts(from(10_000), 0)).toEqual([0, 1, 0]);
    expect(await counts(from(10_000), 2_300)).toEqual([0, 2, 0]);
    expect(await counts(from(2_300), 100_000)).toEqual([0, 2, 2]);
    expect(await counts(from(10_000), 4_500)).toEqual([0, 3, 1]);
    expect(await counts(from(10_000), 100_000)).toEqual([0, 3, 3]);
  });

  test('R7i offsets are dense', async () => {
    const server = await withTopic();
    for (let i = 0; i < 30; i++)
      await produce(server, 't', batch(Array.from({ length: 1 + (i % 4) }, (_, j) => `${i}.${j}`)));
    await settle(server);
    const seen: number[] = [];
    for (let at = 0; ; ) {
      const got = recordsOf((await fetch(server, 't', at, {}, { partitionMaxBytes: 300 })).records).filter(
        (r) => r.offset >= at,
      );
      if (got.length === 0) break;
      seen.push(...got.map((r) => r.offset));
      at = (seen.at(-1) as number) + 1;
    }
    expect(seen).toEqual(seen.map((_, i) => i));
    expect(seen.length).toBe(73);
  });
});

describe('R7c long polls', () => {
  test('R7c nothing there: answered at max_wait, not before, not later', async () => {
    const server = await withTopic();
    for (const maxWaitMs of [1, 100, 500, 5_000]) {
      const before = server.nowMs;
      const p = await fetch(server, 't', 0, { maxWaitMs });
      const took = server.nowMs - before;
      expect([p.errorCode, recordsOf(p.records).length]).toEqual([0, 0]);
      expect(took).toBeGreaterThanOrEqual(maxWaitMs);
      expect(took).toBeLessThan(maxWaitMs + 5);
    }
  });

  test('R7c max_wait 0 is answered at once', async () => {
    const server = await withTopic();
    const before = server.nowMs;
    await fetch(server, 't', 0, { maxWaitMs: 0 });
    expect(server.nowMs - before).toBeLessThan(5);
  });

  test('R7c min_bytes is waited for over several produces and partitions', async () => {
    const server = await withTopic({}, 2);
    const client = server.connect();
    const one = batch(['x'.repeat(100)]);
    const fields = fetchFields('t', 0, { maxWaitMs: 10_000, minBytes: 3 * one.length });
    const [topic] = fields.topics ?? [];
    const answer = client.call('Fetch', 12, {
      ...fields,
      topics: [
        {
          topic: 't',
          topicId: '0'.repeat(32),
          partitions: [0, 1].map((partition) => ({
            ...(topic?.partitions[0] as NonNullable<typeof topic>['partitions'][number]),
            partition,
          })),
        },
      ],
    });
    for (const partition of [0, 1]) {
      await produce(server, 't', one, partition);
      await server.advance(100);
      expect(client.answered.length).toBe(0);
    }
    await produce(server, 't', one, 0);
    const r = await server.run(answer);
    expect(server.nowMs).toBeLessThan(5_000);
    expect(r.responses[0]?.partitions.map((p) => batchesOf(p.records).length)).toEqual([2, 1]);
  });

  test('R7c what is there already counts: less than min_bytes waits, and is given at the end', async () => {
    const server = await withTopic();
    await produce(server, 't', batch(['a']));
    const before = server.nowMs;
    const p = await fetch(server, 't', 0, { maxWaitMs: 700, minBytes: 1_000 });
    expect(server.nowMs - before).toBeGreaterThanOrEqual(700);
    expect(recordsOf(p.records).map((r) => r.value)).toEqual(['a']);
  });

  test('R7c a fetch that waits is answered as soon as the record is durable', async () => {
    const server = await withTopic();
    const client = server.connect();
    const answer = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 30_000 }));
    await server.advance(1_000);
    const hold = server.sim.disk.faults.hold('datasync', /commit/);
    const produced = server.connect().call('Produce', 9, produceFields('t', batch(['a'])));
    await server.advance(1_000);
    expect(client.answered.length).toBe(0);
    hold.release();
    await server.run(produced);
    const p = firstPartition(await server.run(answer));
    expect(server.nowMs).toBeLessThan(5_000);
    expect([p.highWatermark, recordsOf(p.records).length]).toEqual([1, 1]);
  });

  test('R7c an error in one partition is told at once', async () => {
    const server = await withTopic();
    const before = server.nowMs;
    expect((await fetch(server, 't', 99, { maxWaitMs: 30_000 })).errorCode).toBe(K.OFFSET_OUT_OF_RANGE);
    expect((await fetch(server, 'nope', 0, { maxWaitMs: 30_000 })).errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
    expect(server.nowMs - before).toBeLessThan(10);
  });

  test('R7c a connection that goes leaves no waiting fetch behind', async () => {
    const server = await withTopic();
    const clients = Array.from({ length: 10 }, () => server.connect());
    for (const c of clients) c.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 30_000 })).catch(() => undefined);
    await server.advance(10);
    expect(server.broker.core.fetcher.waitingCount).toBe(10);
    for (const c of clients) c.close();
    await server.advance(10);
    expect([server.broker.core.fetcher.waitingCount, server.door.connections.size]).toEqual([0, 0]);
  });

  test('R7c G14 a deleted topic answers its waiting fetches at once', async () => {
    const server = await withTopic();
    const client = server.connect();
    const answer = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 30_000 }));
    await server.advance(10);
    await server.ask('DeleteTopics', 3, { topicNames: ['t'] });
    expect(firstPartition(await server.run(answer)).errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
    expect(server.nowMs).toBeLessThan(1_000);
  });

  test('R7c the machine slept for 8 hours: polls are answered, not lost (G18)', async () => {
    const server = await withTopic();
    const client = server.connect();
    const answer = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 500 }));
    await server.advance(10);
    server.sim.scheduler.stall(8 * 3_600_000);
    expect(firstPartition(await server.run(answer)).errorCode).toBe(0);
  });

  test.each([365, -365])(
    'R7c G18 the wall clock jumps by %i days: a long poll takes as long as before',
    async (days) => {
      const server = await withTopic();
      const client = server.connect();
      const before = server.nowMs;
      const answer = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 500 }));
      await server.advance(10);
      server.sim.scheduler.jumpWall(days * 86_400_000);
      await server.run(answer);
      expect(server.nowMs - before).toBeGreaterThanOrEqual(500);
      expect(server.nowMs - before).toBeLessThan(510);
    },
  );
});

describe('R7d–h watermarks', () => {
  test('R7d the high watermark is fresh in every answer and never goes backwards, across kills and power loss', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const server = await SimServer.start({ seed });
      await createTopic(server, 't');
      let seen = 0;
      let acked = 0;
      const look = async (): Promise<void> => {
        const before = acked;
        const hw = (await fetch(server, 't', 0)).highWatermark;
        const latest = (await offsetAt(server, 't', -1)).offset;
        expect(hw).toBeGreaterThanOrEqual(seen);
        expect(latest).toBeGreaterThanOrEqual(hw);
        expect(hw).toBeGreaterThanOrEqual(before);
        seen = latest;
      };
      for (let life = 0; life < 4; life++) {
        const client = server.connect();
        const answers = Array.from({ length: 20 }, (_, i) =>
          client.call('Produce', 9, produceFields('t', batch([`${life}.${i}`]))).then(
            (r) => {
              acked = Math.max(acked, (r.responses[0]?.partitionResponses[0]?.baseOffset as number) + 1);
            },
            () => undefined,
          ),
        );
        for (let i = 0; i < 5; i++) {
          await server.advance(0.3);
          await look();
        }
        await server.restart(life % 2 === 0 ? 'kill' : 'power');
        await server.run(Promise.all(answers));
        await look();
      }
    }
  });

  test('R7d a waiting fetch’s empty answer carries the newest watermark', async () => {
    const server = await withTopic({}, 1);
    const client = server.connect();
    const answer = client.call('Fetch', 11, fetchFields('t', 0, { maxWaitMs: 1_000, minBytes: 100_000 }));
    await produce(server, 't', batch(['a']));
    await produce(server, 't', batch(['b']));
    expect(firstPartition(await server.run(answer))).toMatchObject({ highWatermark: 2 });
  });

  test('R7e R7f last stable offset and aborted transactions', async () => {
    const server = await withTopic();
    await produce(server, 't', batch(['a', 'b']));
    for (const version of [4, 11, 12, 16]) {
      const topicId = server.broker.core.topics.get('t')?.id ?? '';
      const ask = async (isolationLevel: number) => {
        const fields = fetchFields('t', 0, { isolationLevel });
        return firstPartition(
          await server.ask('Fetch', version, {
            ...fields,
            topics: (fields.topics ?? []).map((t) => ({ ...t, topicId })),
          }),
        );
      };
      expect(await ask(0)).toMatchObject({ highWatermark: 2, lastStableOffset: 2, abortedTransactions: null });
      expect(await ask(1)).toMatchObject({ highWatermark: 2, lastStableOffset: 2, abortedTransactions: [] });
      expect(recordsOf((await ask(1)).records).length).toBe(2);
    }
  });

  test('R7g v12+ carries epochs as tagged fields, only where they are needed', async () => {
    const server = await withTopic();
    await produce(server, 't', batch(['a']));
    expect(await fetch(server, 't', 0)).toMatchObject({ divergingEpoch: null, currentLeader: null, snapshotId: null });
    const ahead = await fetch(server, 't', 0, {}, { currentLeaderEpoch: 7 });
    expect(ahead).toMatchObject({ errorCode: K.UNKNOWN_LEADER_EPOCH, currentLeader: { leaderId: 1, leaderEpoch: 0 } });
  });

  test('R7h the log end waits; past it and below the start → OFFSET_OUT_OF_RANGE, with the watermarks', async () => {
    const server = await withTopic();
    await produce(server, 't', batch(['a', 'b', 'c', 'd']));
    await server.ask('DeleteRecords', 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: 2 }] }] });
    for (const offset of [0, 1, 5, 100, Number.MAX_SAFE_INTEGER, -1])
      expect(await fetch(server, 't', offset)).toMatchObject({
        errorCode: K.OFFSET_OUT_OF_RANGE,
        highWatermark: 4,
        logStartOffset: 2,
      });
    const before = server.nowMs;
    expect(await fetch(server, 't', 4, { maxWaitMs: 100 })).toMatchObject({
      errorCode: 0,
      highWatermark: 4,
      logStartOffset: 2,
    });
    expect(server.nowMs - before).toBeGreaterThanOrEqual(100);
    expect(
      recordsOf((await fetch(server, 't', 2)).records)
        .filter((r) => r.offset >= 2)
        .map((r) => r.value),
    ).toEqual(['c', 'd']);
  });
});

describe('R8 fetch sessions', () => {
  test.each([
    [0, -1],
    [0, 0],
    [123, 0],
    [123, -1],
  ])('R8 (%i, %i): a full answer with session 0', async (sessionId, sessionEpoch) => {
    const server = await withTopic();
    await produce(server, 't', batch(['a']));
    const r = await server.ask('Fetch', 12, fetchFields('t', 0, { sessionId, sessionEpoch }));
    expect([r.errorCode, r.sessionId, recordsOf(firstPartition(r).records).length]).toEqual([0, 0, 1]);
  });

  test('R8 an incremental fetch of a session that is not there → FETCH_SESSION_ID_NOT_FOUND', async () => {
    const server = await withTopic();
    for (const version of [7, 12])
      expect(
        await server.ask('Fetch', version, { ...fetchFields('t', 0, { sessionId: 9, sessionEpoch: 1 }) }),
      ).toMatchObject({ errorCode: K.FETCH_SESSION_ID_NOT_FOUND, sessionId: 0, responses: [] });
  });
});

describe('R9 topic ids', () => {
  test('R9.1 real, stable across restarts; Fetch v13+ by id', async () => {
    const server = await SimServer.start();
    const { topicId } = await createTopic(server, 't');
    expect(topicId).toMatch(/^[0-9a-f]{32}$/);
    expect(topicId).not.toBe('0'.repeat(32));
    await produce(server, 't', batch(['a']));
    for (const how of ['close', 'kill', 'power'] as const) {
      await server.restart(how);
      expect((await server.ask('Metadata', 10, { topics: null })).topics[0]?.topicId).toBe(topicId);
      for (const version of [13, 16]) {
        const fields = fetchFields('', 0);
        const r = await server.ask('Fetch', version, {
          ...fields,
          topics: (fields.topics ?? []).map((t) => ({ ...t, topicId })),
        });
        expect([r.responses[0]?.topicId, recordsOf(firstPartition(r).records).length]).toEqual([topicId, 1]);
      }
    }
  });

  test('R9.3 §10 #12 a topic created again has a new id and an empty log; the old id → UNKNOWN_TOPIC_ID', async () => {
    const server = await SimServer.start();
    const { topicId: old } = await createTopic(server, 't');
    await produce(server, 't', batch(['old']));
    const client = server.connect();
    const byId = (topicId: string, maxWaitMs = 0) => {
      const fields = fetchFields('t', 0, { maxWaitMs });
      return {
        ...fields,
        topics: (fields.topics ?? []).map((t) => ({
          ...t,
          topicId,
          partitions: t.partitions.map((p) => ({ ...p, fetchOffset: 1 })),
        })),
      };
    };
    const waiting = client.call('Fetch', 13, byId(old, 30_000));
    await server.advance(5);
    await server.ask('DeleteTopics', 6, { topics: [{ name: 't', topicId: '0'.repeat(32) }] });
    expect(firstPartition(await server.run(waiting)).errorCode).toBe(K.UNKNOWN_TOPIC_ID);
    const { topicId: fresh } = await createTopic(server, 't');
    expect(fresh).not.toBe(old);
    expect(await valuesOf(server, 't')).toEqual([]);
    expect(firstPartition(await server.ask('Fetch', 13, byId(old))).errorCode).toBe(K.UNKNOWN_TOPIC_ID);
    expect((await server.ask('Metadata', 12, { topics: [{ name: null, topicId: old }] })).topics[0]?.errorCode).toBe(
      K.UNKNOWN_TOPIC_ID,
    );
    expect(
      (await server.ask('DeleteTopics', 6, { topics: [{ name: null, topicId: old }] })).responses[0]?.errorCode,
    ).toBe(K.UNKNOWN_TOPIC_ID);
    await server.restart('kill');
    expect(await valuesOf(server, 't')).toEqual([]);
    expect((await produce(server, 't', batch(['new']))).baseOffset).toBe(0);
  });
});

describe('R10 leader epochs', () => {
  const epochOf = async (server: SimServer): Promise<number> =>
    (await server.ask('Metadata', 9, { topics: [{ name: 't', topicId: '0'.repeat(32) }] })).topics[0]?.partitions[0]
      ?.leaderEpoch as number;

  test('R10.1 R10.2 durable topics: never -1, never lower, across every kind of stop', async () => {
    const server = await withTopic();
    let last = await epochOf(server);
    expect(last).toBeGreaterThanOrEqual(0);
    for (const how of ['close', 'kill', 'power', 'kill', 'close'] as const) {
      await produce(server, 't', batch(['a']));
      await server.restart(how);
      const now = await epochOf(server);
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
      expect((await offsetAt(server, 't', -1)).leaderEpoch).toBeLessThanOrEqual(now);
    }
    expect((await valuesOf(server, 't')).length).toBe(5);
  });

  test('R10.2 G6 `os` topics: every unclean start raises the epoch, durably before serving; a clean one does not', async () => {
    const server = await withTopic({ 'hadron.durability': 'os' });
    await produce(server, 't', batch(['a']));
    expect(await epochOf(server)).toBe(0);
    await server.restart('close');
    expect(await epochOf(server)).toBe(0);
    for (let i = 1; i <= 3; i++) {
      await server.restart('kill');
      expect(await epochOf(server)).toBe(i);
    }
    await server.restart('power');
    expect(await epochOf(server)).toBe(4);
    // Durable before serving: killed again at once it is not given twice.
    await server.restart('power', 'nothing');
    expect(await epochOf(server)).toBe(5);
  });

  test('G6 `os`: a client ahead of what survived is told where it diverges, or that its offset is out of range', async () => {
    let lost = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const server = await SimServer.start({ seed });
      await createTopic(server, 't', { config: { 'hadron.durability': 'os' } });
      for (let i = 0; i < 20; i++) expect((await produce(server, 't', batch([`v${i}`]))).errorCode).toBe(0);
      const before = await valuesOf(server, 't');
      await server.restart('power', 'nothing');
      const epoch = await epochOf(server);
      expect(epoch).toBe(1);
      const values = await valuesOf(server, 't');
      expect(before.slice(0, values.length)).toEqual(values); // a prefix
      const end = values.length;
      expect((await fetch(server, 't', end, {}, { lastFetchedEpoch: 0 })).divergingEpoch).toBe(null);
      if (end === 20) continue;
      lost++;
      const p = await fetch(server, 't', 20, {}, { lastFetchedEpoch: 0, currentLeaderEpoch: epoch });
      expect(p).toMatchObject({ errorCode: 0, divergingEpoch: { epoch: 0, endOffset: end }, highWatermark: end });
      expect((await fetch(server, 't', 20)).errorCode).toBe(K.OFFSET_OUT_OF_RANGE);
      // New records under the new epoch up to the same offset: still diverging.
      for (let i = end; i < 22; i++) await produce(server, 't', batch([`w${i}`]));
      expect((await fetch(server, 't', 20, {}, { lastFetchedEpoch: 0 })).divergingEpoch).toMatchObject({
        epoch: 0,
        endOffset: end,
      });
      expect((await fetch(server, 't', 20, {}, { lastFetchedEpoch: 1 })).divergingEpoch).toBe(null);
      expect(recordsOf((await fetch(server, 't', end)).records)[0]?.value).toBe(`w${end}`);
    }
    expect(lost).toBeGreaterThan(0);
  });

  test('R10.3 no end offset below a valid position: the last epoch’s end is the high watermark', async () => {
    const server = await withTopic();
    await produce(server, 't', batch(['a', 'b', 'c']));
    await server.ask('DeleteRecords', 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: -1 }] }] });
    for (const offset of [3])
      expect(await fetch(server, 't', offset, {}, { lastFetchedEpoch: 0 })).toMatchObject({
        errorCode: 0,
        divergingEpoch: null,
      });
    await server.restart('kill');
    expect(await fetch(server, 't', 3, {}, { lastFetchedEpoch: 0 })).toMatchObject({
      errorCode: 0,
      divergingEpoch: null,
    });
  });

  test('R10 ListOffsets v4 and Fetch v9: FENCED_LEADER_EPOCH behind, UNKNOWN_LEADER_EPOCH ahead', async () => {
    const server = await withTopic({ 'hadron.durability': 'os' });
    await produce(server, 't', batch(['a']));
    await server.restart('kill');
    await server.restart('kill');
    for (const [currentLeaderEpoch, code] of [
      [0, K.FENCED_LEADER_EPOCH],
      [1, K.FENCED_LEADER_EPOCH],
      [2, 0],
      [3, K.UNKNOWN_LEADER_EPOCH],
      [-1, 0],
    ] as const) {
      for (const version of [9, 11, 12])
        expect((await fetch(server, 't', 0, {}, { currentLeaderEpoch }, version)).errorCode).toBe(code);
      for (const version of [4, 9]) {
        const r = await server.ask('ListOffsets', version, {
          replicaId: -1,
          topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch, timestamp: -1 }] }],
        });
        expect(r.topics[0]?.partitions[0]?.errorCode).toBe(code);
      }
    }
  });
});

describe('R19 ListOffsets', () => {
  let server: SimServer;
  beforeAll(async () => {
    server = await withTopic();
    await createTopic(server, 'empty');
    await produce(
      server,
      't',
      batch([
        { value: 'a', timestamp: STAMP },
        { value: 'b', timestamp: STAMP + 100 },
      ]),
    );
    await produce(
      server,
      't',
      batch([
        { value: 'c', timestamp: STAMP + 50 },
        { value: 'd', timestamp: STAMP + 300 },
        { value: 'e', timestamp: STAMP + 300 },
      ]),
    );
    await produce(server, 't', batch([{ value: 'f', timestamp: STAMP + 200 }]));
  });

  test.each(['tail', 'files'] as const)('R19 times, from the %s', async (where) => {
    if (where === 'files') {
      await server.run(server.broker.core.shard.checkpoint());
      await server.restart('kill');
    }
    for (const version of [1, 2, 4, 6, 9]) {
      for (const [timestamp, offset, at] of [
        [0, 0, STAMP],
        [STAMP, 0, STAMP],
        [STAMP + 1, 1, STAMP + 100],
        [STAMP + 100, 1, STAMP + 100],
        [STAMP + 101, 3, STAMP + 300],
        [STAMP + 300, 3, STAMP + 300],
        [STAMP + 301, -1, -1],
        [-1, 6, -1],
        [-2, 0, -1],
      ] as const) {
        expect(await offsetAt(server, 't', timestamp, version)).toMatchObject({ errorCode: 0, offset, timestamp: at });
      }
    }
    // §10 #7: the first among equal timestamps.
    for (const version of [7, 9])
      expect(await offsetAt(server, 't', -3, version)).toMatchObject({
        errorCode: 0,
        offset: 3,
        timestamp: STAMP + 300,
      });
    for (const version of [8, 9])
      expect(await offsetAt(server, 't', -4, version)).toMatchObject({ errorCode: 0, offset: 0 });
    expect(await offsetAt(server, 't', -5, 9)).toMatchObject({ errorCode: 0, offset: -1 });
  });

  test('R19 §10 #7 an empty partition: -3 and times → -1, ends → 0', async () => {
    for (const timestamp of [-3, 0, STAMP, -5])
      expect(await offsetAt(server, 'empty', timestamp)).toMatchObject({ errorCode: 0, offset: -1, timestamp: -1 });
    for (const timestamp of [-1, -2, -4])
      expect(await offsetAt(server, 'empty', timestamp)).toMatchObject({ errorCode: 0, offset: 0 });
  });

  test('R19 special times before the version that has them, and unknown ones → UNSUPPORTED_VERSION', async () => {
    for (const [timestamp, version] of [
      [-3, 6],
      [-4, 7],
      [-5, 8],
      [-6, 9],
      [-7, 9],
    ] as const)
      expect((await offsetAt(server, 't', timestamp, version)).errorCode).toBe(K.UNSUPPORTED_VERSION);
  });

  test('R19 isolation level: the last stable offset is the high watermark', async () => {
    const r = await server.ask('ListOffsets', 5, {
      replicaId: -1,
      isolationLevel: 1,
      topics: [{ name: 't', partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }],
    });
    expect(r.topics[0]?.partitions[0]?.offset).toBe(6);
  });

  test('R19 below the log start nothing is found; the maximum is of what is left', async () => {
    const s = await withTopic();
    await produce(
      s,
      't',
      batch([
        { value: 'a', timestamp: STAMP + 500 },
        { value: 'b', timestamp: STAMP + 100 },
        { value: 'c', timestamp: STAMP + 200 },
      ]),
    );
    await s.ask('DeleteRecords', 2, { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: 1 }] }] });
    expect(await offsetAt(s, 't', 0)).toMatchObject({ offset: 1, timestamp: STAMP + 100 });
    expect(await offsetAt(s, 't', STAMP + 400)).toMatchObject({ offset: -1 });
    expect(await offsetAt(s, 't', -2)).toMatchObject({ offset: 1 });
    expect(await offsetAt(s, 't', -3)).toMatchObject({ offset: 2, timestamp: STAMP + 200 });
  });

  test('R19 nothing that is not durable is found', async () => {
    const s = await withTopic();
    await produce(s, 't', batch([{ value: 'a', timestamp: STAMP }]));
    const hold = s.sim.disk.faults.hold('datasync', /commit/);
    const pending = s.connect().call('Produce', 9, produceFields('t', batch([{ value: 'b', timestamp: STAMP + 10 }])));
    await s.advance(100);
    expect(await offsetAt(s, 't', STAMP + 5)).toMatchObject({ offset: -1 });
    expect(await offsetAt(s, 't', -3)).toMatchObject({ offset: 0 });
    expect(await offsetAt(s, 't', -1)).toMatchObject({ offset: 1 });
    hold.release();
    await s.run(pending);
    expect(await offsetAt(s, 't', STAMP + 5)).toMatchObject({ offset: 1 });
  });
});
