/**
 * Statement 18: what idle long polls cost a real server. 5,000 connections with max_wait 60 s: memory each, and no CPU;
 * with 500 ms: CPU per poll. Linux only (/proc); slow, so only with HADRON_SLOW=1. bench/kidle measures the same from C.
 */
import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTopic, fetchFields } from '../../packages/server/src/kafka/testing/talk.ts';
import { NetClient, over } from './lib/net-client.ts';
import { pause, type ServerProcess, startServerProcess, temporaryFolder, usage } from './lib/server-process.ts';

const SLOW = process.env['HADRON_SLOW'] !== undefined && process.platform === 'linux';
const CONNECTIONS = Number(process.env['HADRON_IDLE'] ?? 5_000);
const KIB = 1024;

describe.skipIf(!SLOW)('C18 R7c idle long polls', () => {
  const data = temporaryFolder('idle');
  let server: ServerProcess;
  let clients: NetClient[] = [];
  beforeAll(async () => {
    server = await startServerProcess(data);
  });
  afterAll(async () => {
    for (const c of clients) c.close();
    await server?.kill();
    fs.rmSync(data, { recursive: true, force: true });
  });

  /** Connects, polls, and lets what was garbage go. */
  async function polling(maxWaitMs: number, again: boolean): Promise<{ polls: () => number; stop: () => void }> {
    clients = [];
    let polls = 0;
    let over_ = false;
    const poll = async (c: NetClient): Promise<void> => {
      do {
        await c.call('Fetch', 11, fetchFields('idle', 0, { maxWaitMs, maxBytes: 1 << 20 }));
        polls++;
      } while (again && !over_);
    };
    for (let i = 0; i < CONNECTIONS; i += 100) {
      const some = await Promise.all(
        Array.from({ length: Math.min(100, CONNECTIONS - i) }, () => NetClient.connect(server.kafkaPort)),
      );
      clients.push(...some);
      for (const c of some) poll(c).catch(() => undefined);
    }
    return { polls: () => polls, stop: () => void (over_ = true) };
  }

  async function quiet(): Promise<void> {
    for (const c of clients) c.close();
    await pause(1_500);
  }

  test('C18 max_wait 60 s: ≤ 10 KB each and next to no CPU', { timeout: 120_000 }, async () => {
    const one = await NetClient.connect(server.kafkaPort);
    await createTopic(over(one), 'idle');
    await pause(2_000);
    const before = usage(server.pid).rssBytes;
    await polling(60_000, false);
    await pause(8_000);
    const { rssBytes } = usage(server.pid);
    const a = usage(server.pid).cpuMs;
    await pause(10_000);
    const cpu = usage(server.pid).cpuMs - a;
    const fresh = (rssBytes - before) / CONNECTIONS;
    console.log(
      `${CONNECTIONS} polls of 60 s: rss ${Math.round(before / KIB / KIB)} → ${Math.round(rssBytes / KIB / KIB)} MiB, ${(fresh / KIB).toFixed(2)} KiB each, ${cpu} ms CPU in 10 s`,
    );
    expect(fresh).toBeLessThan(10 * KIB);
    // 10 ms on an idle machine. The bound is for one that is slow and gives its memory away; anything that polls costs far more.
    expect(cpu).toBeLessThan(1_000);
    await quiet();
    one.close();
  });

  test('C18 max_wait 500 ms: little CPU per poll, none early', { timeout: 120_000 }, async () => {
    const { polls, stop } = await polling(500, true);
    await pause(3_000);
    const [n, a] = [polls(), usage(server.pid).cpuMs];
    await pause(8_000);
    const done = polls() - n;
    const cpu = usage(server.pid).cpuMs - a;
    stop();
    console.log(
      `${CONNECTIONS} polls of 500 ms: ${done} polls, ${((cpu * 1000) / done).toFixed(1)} µs CPU each, rss ${Math.round(usage(server.pid).rssBytes / KIB / KIB)} MiB`,
    );
    expect(done).toBeLessThanOrEqual(((8_000 + 500) / 500) * CONNECTIONS);
    // 25 µs on an idle machine (the target is 40, see bench/README.md); a slow one was seen at 59.
    expect((cpu * 1000) / done).toBeLessThan(120);
    await quiet();
  });
});
