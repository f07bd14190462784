/** A3: how a server ends, with real processes: answers what is in flight, exits 0 within 2 s, loses nothing. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { produceBody, requestFrame, WireConnection, WireWriter } from '../compat/lib/wire.ts';
import { buildBundle, cleanUp, connect, namedBatch, newFolder, type Ready, readAll, ready, start } from './process.ts';

beforeAll(buildBundle);
afterEach(cleanUp);

const LONG_POLL_MS = 60_000;
const IDLE_POLLS = 40;

/** A Fetch v4 at the end of the log that waits for `maxWaitMs`. */
function longPoll(topic: string, offset: number, correlationId: number): Buffer {
  const body = new WireWriter()
    .int32(-1)
    .int32(LONG_POLL_MS)
    .int32(1)
    .int32(1 << 20)
    .int8(0);
  body
    .int32(1)
    .string(topic)
    .int32(1)
    .int32(0)
    .int64(offset)
    .int32(1 << 20);
  return requestFrame(1, 4, correlationId, body.finish());
}

/** Keeps `inFlight` produce requests on their way until the connection is gone; says which were acknowledged. */
async function produceUntilCut(client: WireConnection, topic: string, name: string, inFlight = 8): Promise<string[]> {
  const acknowledged: string[] = [];
  let sent = 0;
  const send = (): void => {
    const body = produceBody(topic, 0, namedBatch(`<${name}-${sent}>`, 200), -1);
    client.write(requestFrame(0, 3, sent++, body.finish()));
  };
  for (let i = 0; i < inFlight; i++) send();
  for (;;) {
    const frame = await client.frame(5_000);
    if (typeof frame === 'string') return acknowledged;
    // correlation id, topics 1, name, partitions 1, index, error
    const error = frame.readInt16BE(4 + 4 + 2 + topic.length + 4 + 4);
    if (error === 0) acknowledged.push(`<${name}-${frame.readInt32BE(0)}>`);
    send();
  }
}

/** @returns the names that are not there, each of which was acknowledged */
async function missing(data: string, topic: string, acknowledged: readonly string[]): Promise<string[]> {
  const client = await connect(await ready(start(data)));
  const text = await readAll(client, topic, 0);
  client.close();
  return acknowledged.filter((name) => !text.includes(name));
}

async function refused({ host, port }: Ready): Promise<boolean> {
  try {
    (await WireConnection.open(host, port)).close();
    return false;
  } catch {
    return true;
  }
}

describe.each(['SIGINT', 'SIGTERM'] as const)('A3: %s', (signal) => {
  test('answers idle long polls, ends within 2 s with 0, and loses nothing it acknowledged', async () => {
    const data = newFolder();
    const server = start(data);
    const at = await ready(server);
    const admin = await connect(at);
    await admin.createTopic('quiet', 1);
    await admin.createTopic('busy', 1);
    await admin.awaitTopic('busy', 1);

    const polls = await Promise.all(Array.from({ length: IDLE_POLLS }, () => connect(at)));
    for (const [i, poll] of polls.entries()) poll.write(longPoll('quiet', 0, i));
    const idle = await Promise.all(Array.from({ length: 10 }, () => connect(at)));
    const producers = await Promise.all(Array.from({ length: 4 }, () => connect(at)));
    const producing = producers.map((client, i) => produceUntilCut(client, 'busy', `p${i}`));
    await new Promise((done) => setTimeout(done, 300));

    const askedAt = performance.now();
    server.child.kill(signal);
    const { code, atMs } = await server.exit;
    expect(code).toBe(0);
    expect(atMs - askedAt).toBeLessThan(2_000);
    expect(await refused(at)).toBe(true);

    const answers = await Promise.all(polls.map((poll) => poll.frame(1_000)));
    expect(answers.filter((answer) => typeof answer === 'string')).toEqual([]);
    const acknowledged = (await Promise.all(producing)).flat();
    expect(acknowledged.length).toBeGreaterThan(100);
    expect(await missing(data, 'busy', acknowledged)).toEqual([]);
    for (const client of [admin, ...idle, ...polls]) client.close();
  });

  test('stops accepting at once, also while a slow reader is still being answered', async () => {
    const data = newFolder();
    const server = start(data);
    const at = await ready(server);
    const slow = await slowReader(at);

    const askedAt = performance.now();
    server.child.kill(signal);
    await new Promise((done) => setTimeout(done, 100));
    expect(await refused(at)).toBe(true);
    const { code, atMs } = await server.exit;
    expect(code).toBe(0);
    expect(atMs - askedAt).toBeLessThan(2_000);
    slow.close();
  });
});

test('A3: a second signal ends it at once, and what was acknowledged is there', async () => {
  const data = newFolder();
  const server = start(data);
  const at = await ready(server);
  const slow = await slowReader(at); // keeps the graceful end waiting
  const admin = await connect(at);
  await admin.createTopic('busy', 1);
  await admin.awaitTopic('busy', 1);
  const producing = produceUntilCut(await connect(at), 'busy', 'p');
  await new Promise((done) => setTimeout(done, 300));

  server.child.kill('SIGINT');
  await new Promise((done) => setTimeout(done, 400)); // one key press can come twice (signals.ts); this is another one
  const askedAt = performance.now();
  const ranOn = server.child.exitCode === null;
  server.child.kill('SIGINT');
  const { code, atMs } = await server.exit;
  expect([ranOn, code]).toEqual([true, 130]);
  expect(atMs - askedAt).toBeLessThan(250);
  const acknowledged = await producing;
  expect(acknowledged.length).toBeGreaterThan(20);
  expect(await missing(data, 'busy', acknowledged)).toEqual([]);
  slow.close();
  admin.close();
});

test('A3: signals while it is still starting end it, and the folder opens again', async () => {
  const data = newFolder();
  for (const afterMs of [0, 40, 80, 120, 180]) {
    const server = start(data);
    await new Promise((done) => setTimeout(done, afterMs));
    server.child.kill('SIGTERM');
    const { code } = await server.exit;
    expect([0, 130, 143]).toContain(code);
    expect(server.err()).not.toMatch(/\n\s+at /);
  }
  const server = start(data);
  await ready(server);
});

/** A client that asks for 16 MiB again and again and reads none of it: the server has an answer it cannot get rid of. */
async function slowReader(at: Ready): Promise<WireConnection> {
  const client = await connect(at);
  await client.createTopic('large', 1);
  await client.awaitTopic('large', 1);
  for (let i = 0; i < 20; i++) await client.produce('large', 0, namedBatch('large', 900_000), -1);
  client.socket.pause();
  const body = new WireWriter()
    .int32(-1)
    .int32(0)
    .int32(1)
    .int32(16 << 20)
    .int8(0);
  body
    .int32(1)
    .string('large')
    .int32(1)
    .int32(0)
    .int64(0)
    .int32(16 << 20);
  for (let i = 0; i < 4; i++) client.write(requestFrame(1, 4, 100 + i, body.finish()));
  await new Promise((done) => setTimeout(done, 200));
  return client;
}
