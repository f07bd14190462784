/**
 * The other side of docs/coming-from-*.md, as it is quoted there, against a Redis of its own: each task must come to what the table
 * that both sides share says. Prints one line of JSON per step as every client here does.
 *
 *   node --conditions=hadron-source tests/compat/migration/run.ts
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Redis } from 'ioredis';
import { bullmq } from '../../../examples/coming-from/bullmq/theirs.ts';
import { redisStreams } from '../../../examples/coming-from/redis-streams/theirs.ts';
import { BULLMQ, REDIS_STREAMS } from '../../../examples/coming-from/tasks.ts';
import { freePort, stopProcess } from '../lib/shell.ts';
import { stepOf } from './steps.ts';

const port = await freePort();
const folder = mkdtempSync(join(tmpdir(), 'hadron-redis-'));
const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder];
const server = spawn('redis-server', settings, { stdio: 'ignore' });
process.once('exit', () => server.kill('SIGKILL'));

const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const redis = new Redis(connection); // tries until it is there
redis.on('error', () => undefined);

async function step(name: string, expected: unknown, task: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  let [ok, detail] = [false, ''];
  try {
    await redis.flushall();
    const came = await task();
    ok = isDeepStrictEqual(came, expected);
    detail = ok ? '' : `came to ${JSON.stringify(came)}, not ${JSON.stringify(expected)}`;
  } catch (error) {
    detail = String(error);
  }
  console.log(JSON.stringify({ step: name, ok, detail, ms: Math.round(performance.now() - started) }));
}

for (const [task, expected] of Object.entries(BULLMQ))
  await step(stepOf('bullmq', task), expected, () => bullmq[task as keyof typeof BULLMQ](connection));
for (const [task, expected] of Object.entries(REDIS_STREAMS))
  await step(stepOf('redis', task), expected, () => redisStreams[task as keyof typeof REDIS_STREAMS](redis));

redis.disconnect();
await stopProcess(server);
rmSync(folder, { recursive: true, force: true });
