/** Our side of docs/coming-from-*.md, task by task, each on a broker of its own; it comes to what the table says. */
import fs from 'node:fs';
import { connect } from '@hadron/client';
import { openHadron } from '@hadron/client/embedded';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ServerProcess, startServerProcess, temporaryFolder } from '../../tests/e2e/lib/server-process.ts';
import { bullmq } from './bullmq/ours.ts';
import { redisStreams } from './redis-streams/ours.ts';
import { BULLMQ, REDIS_STREAMS } from './tasks.ts';

const folder = temporaryFolder('coming-from');
let server: ServerProcess;
let url: string;

beforeAll(async () => {
  server = await startServerProcess(folder);
  url = `http://127.0.0.1:${server.httpPort}`;
});

afterAll(async () => {
  await server.kill();
  fs.rmSync(folder, { recursive: true });
});

/** What `hadron apply -f` does. */
async function apply(file: string): Promise<void> {
  const body = fs.readFileSync(new URL(file, import.meta.url), 'utf8');
  const answer = await fetch(`${url}/v1/apply`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/yaml' },
  });
  const { results } = (await answer.json()) as { results: { result: string; errors: unknown[] }[] };
  expect(results).toMatchObject([{ result: 'created', errors: [] }]);
}

describe('coming from BullMQ', () => {
  test.each(Object.entries(bullmq))('%s', async (task, ours) => {
    await using hadron = await openHadron({ memory: true });
    if (task === 'the same job twice') await apply('bullmq/stream.yaml');
    const client = hadron.connect({ source: '/shop' });
    expect(await ours({ client, url })).toEqual(BULLMQ[task as keyof typeof BULLMQ]);
  });
});

describe('coming from Redis Streams', () => {
  test.each(Object.entries(redisStreams))('%s', async (task, ours) => {
    await using hadron = await openHadron({ memory: true });
    const client = hadron.connect({ source: '/shop' });
    expect(await ours({ client })).toEqual(REDIS_STREAMS[task as keyof typeof REDIS_STREAMS]);
  });

  test('the limited history is what the server keeps', async () => {
    await apply('redis-streams/stream.yaml');
    await using client = connect({ source: '/shop', url });
    expect((await client.admin.stream('orders')).partitions).toBe(1);
    const stream = (await (await fetch(`${url}/v1/resources/Stream/orders`)).json()) as { spec: object };
    expect(stream.spec).toMatchObject({ retentionPolicy: { retentionSeconds: 86_400, retentionBytes: 10_485_760 } });
  });
});
