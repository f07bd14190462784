/**
 * Statement 19 over real sockets: 1,000 connections that each announce 100 MB and send as much as is taken. The memory of
 * the server stays bounded, it goes on answering, and it gets rid of them. Linux only (/proc).
 */
import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { batch, createTopic, produce } from '../../packages/server/src/kafka/testing/talk.ts';
import { NetClient, over } from './lib/net-client.ts';
import { pause, type ServerProcess, startServerProcess, temporaryFolder, usage } from './lib/server-process.ts';

const MIB = 1024 * 1024;
const ATTACKERS = 1_000;

describe.skipIf(process.platform !== 'linux')('G17 C19 memory', () => {
  const data = temporaryFolder('flood');
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess(data, [
      '--set',
      'queued.max.request.bytes=33554432',
      '--set',
      'hadron.progress.timeout.ms=4000',
      '--set',
      'max.connections=1100',
    ]);
  });
  afterAll(async () => {
    await server?.kill();
    fs.rmSync(data, { recursive: true, force: true });
  });

  test('G17 1,000 connections that each announce 100 MB', { timeout: 60_000 }, async () => {
    const good = await NetClient.connect(server.kafkaPort);
    await createTopic(over(good), 't');
    const before = usage(server.pid).rssBytes;
    const attackers: NetClient[] = [];
    for (let i = 0; i < ATTACKERS; i += 100)
      attackers.push(...(await Promise.all(Array.from({ length: 100 }, () => NetClient.connect(server.kafkaPort)))));
    const head = Buffer.alloc(4);
    head.writeInt32BE(100 * MIB);
    const piece = Buffer.alloc(256 * 1024, 1);
    let most = 0;
    for (const a of attackers) a.send(head);
    let slowest = 0;
    for (let round = 0; round < 8; round++) {
      for (const a of attackers) if (!a.closed && a.socket.writableLength < MIB) a.send(piece);
      await pause(60);
      most = Math.max(most, usage(server.pid).rssBytes);
      const t0 = performance.now();
      expect((await produce(over(good), 't', batch([`${round}`]))).errorCode).toBe(0);
      slowest = Math.max(slowest, performance.now() - t0);
    }
    console.log(
      `rss ${Math.round(before / MIB)} → at most ${Math.round(most / MIB)} MiB; the slowest produce meanwhile took ${Math.round(slowest)} ms`,
    );
    // Budget 32 MiB, a reserve of one frame of 100 MiB, what was on its way; not 1,000 times anything.
    expect(most - before).toBeLessThan(400 * MIB);
    for (let i = 0; i < 40 && attackers.some((a) => !a.closed); i++) await pause(500);
    expect(attackers.filter((a) => !a.closed).length).toBe(0);
    expect((await produce(over(good), 't', batch(['end']))).errorCode).toBe(0);
    good.close();
  });
});
