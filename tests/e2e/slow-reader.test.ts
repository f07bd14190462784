/**
 * G17 over real sockets: a client that takes a large answer slowly but steadily gets all of it, one that stops is closed.
 * The system's send buffer hides from the stream how much of one large write has left; the door must see it.
 */
import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { batch, batchesOf, createTopic, fetchFields, produce } from '../../packages/server/src/kafka/testing/talk.ts';
import { NetClient, over } from './lib/net-client.ts';
import { pause, type ServerProcess, startServerProcess, temporaryFolder } from './lib/server-process.ts';

const RECORDS = 24;
const KIB = 1024;

describe('G17 slow readers', () => {
  const data = temporaryFolder('slow');
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess(data, ['--set', 'hadron.progress.timeout.ms=2000']);
    const c = await NetClient.connect(server.kafkaPort);
    await createTopic(over(c), 't', { partitions: RECORDS });
    for (let i = 0; i < RECORDS; i++)
      expect(
        (await produce(over(c), 't', batch(['x'.repeat(1000 * KIB)], { baseTimestamp: Date.now() }), i)).errorCode,
      ).toBe(0);
    c.close();
  });
  afterAll(async () => {
    await server?.kill();
    fs.rmSync(data, { recursive: true, force: true });
  });
  const one = fetchFields('t', 0, { maxBytes: 50_000 * KIB }, { partitionMaxBytes: 1_100 * KIB });
  const all = {
    ...one,
    topics: (one.topics ?? []).map((t) => ({
      ...t,
      partitions: t.partitions.flatMap((p) => Array.from({ length: RECORDS }, (_, partition) => ({ ...p, partition }))),
    })),
  };

  test('G17 24 MB taken at 5 MB/s with a limit of 2 s without progress: all of it comes', {
    timeout: 30_000,
  }, async () => {
    const c = await NetClient.connect(server.kafkaPort);
    const answer = c.call('Fetch', 11, all);
    let done = false;
    answer.then(
      () => void (done = true),
      () => void (done = true),
    );
    const started = performance.now();
    let taken = 0;
    const due = (): number => (performance.now() - started) * 5 * KIB;
    c.socket.on('data', (chunk) => {
      taken += chunk.length;
      if (taken > due()) c.socket.pause();
    });
    while (!done) {
      if (taken < due()) c.socket.resume();
      await pause(5);
    }
    const got = (await answer).responses[0]?.partitions.map((p) => batchesOf(p.records).length);
    expect(got).toEqual(Array.from({ length: RECORDS }, () => 1));
    expect(performance.now() - started).toBeGreaterThan(4_000);
    c.close();
  });

  test('G17 a client that stops in the middle of 24 MB is closed', { timeout: 30_000 }, async () => {
    const c = await NetClient.connect(server.kafkaPort);
    const answer = c.call('Fetch', 11, all).then(
      () => 'answered',
      () => 'closed',
    );
    c.socket.once('data', () => c.socket.pause());
    await pause(5_500);
    c.socket.resume();
    expect(await answer).toBe('closed');
  });
});
