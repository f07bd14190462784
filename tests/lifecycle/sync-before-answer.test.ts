/**
 * log.md §5, on the real process: no Produce answer precedes the end of an fdatasync begun after its write.
 * Needs strace; where it is missing, or may not trace, the test is skipped and says so.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { which } from '../compat/lib/shell.ts';
import { produceBody, requestFrame, type WireConnection } from '../compat/lib/wire.ts';
import { buildBundle, cleanUp, connect, namedBatch, newFolder, ready, start } from './process.ts';
import { type Call, parseStrace } from './strace.ts';

const CALLS = 'pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,fdatasync,fsync';
const CLIENTS = 3;
const REQUESTS_EACH = 40;
const IN_FLIGHT = 5;
const LARGE_BYTES = 200_000;

const strace = which('strace') ?? '';
const traces = strace !== '' && spawnSync(strace, ['-f', '-o', '/dev/null', 'true'], { stdio: 'ignore' }).status === 0;
if (!traces) process.stderr.write('sync-before-answer: skipped, strace is missing or may not trace\n');

beforeAll(buildBundle);
afterEach(cleanUp);

test.skipIf(!traces)(
  'G5, log.md §5: no Produce answer precedes the end of a sync begun after its write',
  { timeout: 60_000 },
  async () => {
    const data = newFolder();
    const trace = path.join(newFolder(), 'trace');
    const wrapper = [
      strace,
      '-f',
      '--seccomp-bpf',
      '-ttt',
      '-T',
      '-yy',
      '-xx',
      '-s',
      '400000',
      '-e',
      `trace=${CALLS}`,
      '-o',
      trace,
    ];
    const server = start(data, [], { wrapper, env: { UV_USE_IO_URING: '0' } });
    const at = await ready(server);
    const admin = await connect(at);
    await admin.createTopic('t', 2);
    await admin.awaitTopic('t', 2);
    admin.close();

    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(at)));
    await Promise.all(clients.map((client, n) => produce(client, n)));
    for (const client of clients) client.close();
    process.kill(at.pid, 'SIGTERM');
    expect((await server.exit).code).toBe(0);

    const calls = parseStrace(fs.readFileSync(trace, 'utf8'));
    const { checked, problems } = judge(calls, data);
    expect(problems).toEqual([]);
    expect(checked).toBe(CLIENTS * REQUESTS_EACH);
    // The judgement can fail: without the syncs, and with answers sent earlier, it must say so.
    const unsynced = calls.filter(({ name }) => !name.endsWith('sync'));
    expect(judge(unsynced, data).problems.length).toBeGreaterThanOrEqual(checked);
    const early = calls.map((c) => (c.on.startsWith('TCP') ? { ...c, startMs: c.startMs - 10_000 } : c));
    expect(judge(early, data).problems.length).toBeGreaterThanOrEqual(checked);
  },
);

/** Correlation ids and names are unique over all clients. Every tenth batch is large and goes straight to a segment. */
async function produce(client: WireConnection, n: number): Promise<void> {
  let sent = 0;
  const send = (): void => {
    const id = n * 1_000 + sent++;
    const batch = namedBatch(`<request ${id}>`, id % 10 === 9 ? LARGE_BYTES : 300);
    client.write(requestFrame(0, 3, id, produceBody('t', n % 2, batch, -1).finish()));
  };
  for (let i = 0; i < IN_FLIGHT; i++) send();
  for (let answered = 0; answered < REQUESTS_EACH; answered++) {
    const frame = await client.frame(20_000);
    if (typeof frame === 'string') throw new Error(`connection ${frame}`);
    if (sent < REQUESTS_EACH) send();
  }
}

function judge(calls: readonly Call[], data: string): { checked: number; problems: string[] } {
  const answers = answersOf(calls);
  const writes = calls.filter(({ name, on, result }) => name.includes('write') && on.startsWith(data) && result > 0);
  const syncs = calls.filter(({ name, on, result }) => name.endsWith('sync') && on.startsWith(data) && result === 0);
  const problems: string[] = [];
  let checked = 0;
  for (let n = 0; n < CLIENTS; n++) {
    for (let i = 0; i < REQUESTS_EACH; i++) {
      const id = n * 1_000 + i;
      const answeredMs = answers.get(id);
      const name = Buffer.from(`<request ${id}>`);
      const write = writes.find(({ bytes }) => bytes.includes(name));
      if (answeredMs === undefined || write === undefined) {
        problems.push(`request ${id}: ${write === undefined ? 'no write' : 'no answer'} in the trace`);
        continue;
      }
      checked += 1;
      const synced = (of: Call): boolean =>
        syncs.some(({ on, startMs, endMs }) => on === of.on && startMs >= of.endMs && endMs <= answeredMs);
      if (!synced(write)) problems.push(`request ${id}: answered before a sync of ${write.on} begun after its write`);
      if (write.on.includes('/commit/')) continue;
      // A direct append counts when its reference frame, written in the same group, is synced too (G3).
      const begunMs = syncs.find(({ on, startMs }) => on === write.on && startMs >= write.endMs)?.startMs ?? 0;
      const reference = writes.findLast(({ on, startMs }) => on.includes('/commit/') && startMs <= begunMs);
      if (reference === undefined || !synced(reference)) {
        problems.push(`request ${id}: its reference frame was not synced before the answer`);
      }
    }
  }
  return { checked, problems };
}

/** Correlation id → when the call began that sent the answer. Answers are whole frames, perhaps several in one call. */
function answersOf(calls: readonly Call[]): Map<number, number> {
  const answers = new Map<number, number>();
  const rest = new Map<string, Buffer>();
  for (const { name, on, startMs, bytes, result } of calls) {
    if (!on.startsWith('TCP') || name.endsWith('sync') || result <= 0) continue;
    let stream = Buffer.concat([rest.get(on) ?? Buffer.alloc(0), bytes.subarray(0, result)]);
    while (stream.length >= 8 && stream.length >= 4 + stream.readInt32BE(0)) {
      answers.set(stream.readInt32BE(4), startMs);
      stream = stream.subarray(4 + stream.readInt32BE(0));
    }
    rest.set(on, stream);
  }
  return answers;
}
