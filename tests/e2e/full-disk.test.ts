/** A real server on a real small file system (G16, statement 12): fill it, see it refuse and serve, make room, go on. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { KafkaError as K } from '@hadron/kafka-protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  batch,
  commit,
  committed,
  createTopic,
  fetch,
  offsetAt,
  produce,
} from '../../packages/server/src/kafka/testing/talk.ts';
import { NetClient, over } from './lib/net-client.ts';
import { type ServerProcess, startServerProcess, temporaryFolder, until } from './lib/server-process.ts';

/** Retention looks at these stamps: they must not be old. */
const now = (values: string[]): Buffer => batch(values, { baseTimestamp: Date.now() });
const folder = temporaryFolder('small-disk');

const system = (program: string, args: string[]): unknown => execFileSync(program, args, { stdio: 'ignore' });

function mount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    system('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', folder]);
    return true;
  } catch {
    return false;
  }
}
const mounted = mount();

describe.skipIf(!mounted)('G16 on a tmpfs of 96 MB (skipped where mounting is not allowed)', () => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess(`${folder}/data`, [
      '--set',
      'storage.min.free.bytes=33554432',
      '--set',
      'storage.commit.file.bytes=4194304',
      '--set',
      'storage.commit.log.bytes=8388608',
      '--set',
      'storage.commit.log.max.bytes=16777216',
    ]);
  });
  afterAll(async () => {
    await server?.kill();
    if (mounted) system('umount', ['-l', folder]);
    fs.rmSync(folder, { recursive: true, force: true });
  });

  test('G16 fill it, produce refused with a retriable error, fetch works, delete topic frees space, produce works again', {
    timeout: 60_000,
  }, async () => {
    const client = await NetClient.connect(server.kafkaPort);
    const at = over(client);
    await createTopic(at, 'keep');
    await createTopic(at, 'big');
    expect((await produce(at, 'keep', now(['first']))).errorCode).toBe(0);
    const value = 'x'.repeat(900_000);
    let accepted = 0;
    let refused: number | undefined;
    for (let i = 0; i < 300 && refused === undefined; i++) {
      const p = await produce(at, 'big', now([value]));
      if (p.errorCode === 0) accepted++;
      else refused = p.errorCode;
    }
    expect(refused).toBe(K.KAFKA_STORAGE_ERROR);
    expect(accepted).toBeGreaterThan(20);
    // Refused for good, and in small too.
    await until('small produces refused', 3_000, async () =>
      (await produce(at, 'keep', now(['x']))).errorCode === K.KAFKA_STORAGE_ERROR ? true : undefined,
    );
    // Reads go on: every record that was accepted is there.
    expect((await offsetAt(at, 'big', -1)).offset).toBeGreaterThanOrEqual(accepted);
    for (const offset of [0, Math.floor(accepted / 2), accepted - 1])
      expect((await fetch(at, 'big', offset, {}, { partitionMaxBytes: 2_000_000 })).errorCode).toBe(0);
    // What frees space works, and so do offset commits.
    expect(
      await until('a commit', 10_000, async () =>
        (await commit(at, { groupId: 'g' }, 'keep', 1)) === 0 ? true : undefined,
      ),
    ).toBe(true);
    const deleted = await until('the topic deleted', 15_000, async () => {
      const r = await at.ask('DeleteTopics', 5, { topicNames: ['big'] });
      return r.responses[0]?.errorCode === 0 ? true : undefined;
    });
    expect(deleted).toBe(true);
    const again = await until('produce works again', 15_000, async () => {
      const p = await produce(at, 'keep', now(['second']));
      return p.errorCode === 0 ? p.baseOffset : undefined;
    });
    expect(again).toBeGreaterThanOrEqual(1);
    client.close();

    await server.kill();
    server = await startServerProcess(`${folder}/data`);
    const after = await NetClient.connect(server.kafkaPort);
    expect((await committed(over(after), 'g', 'keep')).committedOffset).toBe(1);
    expect((await offsetAt(over(after), 'keep', -1)).offset).toBe(again + 1);
    expect((await fetch(over(after), 'big', 0)).errorCode).toBe(K.UNKNOWN_TOPIC_OR_PARTITION);
    after.close();
  });
});
