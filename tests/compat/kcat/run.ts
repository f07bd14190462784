/** The common scenario with kcat (Debian: librdkafka 2.0.2), driven as a user would: one process per action. */
import { createInterface } from 'node:readline';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, clientArguments, codecValues, largeValue, NotApplicable, step, until } from '../lib/client.ts';
import { run } from '../lib/shell.ts';
import { WireConnection } from '../lib/wire.ts';

const program = 'kcat';
const { bootstrap, host, port, prefix, partitions } = clientArguments();

// kcat has no admin commands: topics with a wanted partition count are created by the runner's own wire client.
const wire = await WireConnection.open(host, port);
async function createTopic(name: string, count: number): Promise<string> {
  const topic = `${prefix}-${name}`;
  await wire.createTopic(topic, count);
  return topic;
}

async function kcat(args: string[], input?: string): Promise<string> {
  const result = await run([program, '-b', bootstrap, ...args], {
    timeoutMs: 20_000,
    ...(input === undefined ? {} : { input }),
  });
  check(result.code === 0, `kcat ${args.join(' ')}: ${result.stderr.trim().split('\n').at(-1)}`);
  return result.stdout;
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
const produce = (topic: string, values: string[], ...more: string[]): Promise<string> =>
  kcat(['-P', '-t', topic, ...more], `${values.join('\n')}\n`);
const readAll = async (topic: string, ...more: string[]): Promise<string[]> =>
  lines(await kcat(['-C', '-t', topic, '-o', 'beginning', '-e', '-q', ...more]));

for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
  await step(`codec ${codec}`, async () => {
    const topic = await createTopic(`codec-${codec}`, 2);
    const values = codecValues(codec);
    await produce(topic, values, '-z', codec);
    const got = await readAll(topic);
    check(got.sort().join() === values.sort().join(), `values differ (${got.length} read)`);
    return `${values.length} records`;
  });
}

await step('headers', async () => {
  const topic = await createTopic('headers', 1);
  await produce(topic, ['v'], '-H', 'a=one', '-H', 'b=', '-H', 'a=two');
  const [message] = await readAll(topic, '-f', '%h|%s\\n');
  check(message === 'a=one,b=,a=two|v', message ?? 'nothing');
  return 'repeated and empty headers, in order';
});

await step('nulls', async () => {
  const topic = await createTopic('nulls', 1);
  await produce(topic, ['no key']);
  await produce(topic, ['tombstone:'], '-K:', '-Z');
  const got = await readAll(topic, '-f', '%K %S\\n');
  check(got.join() === '-1 6,9 -1', got.join());
  return 'null key, null value';
});

await step('large', async () => {
  const topic = await createTopic('large', 1);
  const dir = mkdtempSync(join(tmpdir(), 'kcat-'));
  try {
    const value = largeValue().toString('latin1').replaceAll('\n', ' ').slice(0, 450_000);
    const bytes = Buffer.from(value, 'latin1').toString('hex');
    writeFileSync(join(dir, 'value'), bytes);
    await kcat(['-P', '-t', topic, join(dir, 'value')]);
    const got = await readAll(topic);
    check(got[0] === bytes && got.length === 1, `${got[0]?.length ?? 0} bytes back`);
    return `${bytes.length} bytes`;
  } finally {
    rmSync(dir, { recursive: true });
  }
});

await step('seek by time', async () => {
  const topic = await createTopic('seek', 1);
  await produce(topic, ['0', '1', '2']);
  await new Promise((done) => setTimeout(done, 50));
  const between = Date.now();
  await new Promise((done) => setTimeout(done, 50));
  await produce(topic, ['3', '4']);
  const got = lines(await kcat(['-C', '-t', topic, '-o', `s@${between}`, '-e', '-q']));
  check(got.join() === '3,4', got.join());
  const query = await kcat(['-Q', '-t', `${topic}:0:${between}`]);
  check(query.includes('offset 3'), query.trim());
  return 'offset 3 of 5 by -o s@ and by -Q';
});

await step('idempotent', async () => {
  const topic = await createTopic('idempotent', 1);
  const values = Array.from({ length: 500 }, (_, index) => String(index));
  await produce(topic, values, '-X', 'enable.idempotence=true', '-X', 'batch.num.messages=20');
  const got = await readAll(topic);
  check(got.join() === values.join(), `${got.length} read, order or count differs`);
  return '500 records in order';
});

await step('commit', async () => {
  const topic = await createTopic('commit', 1);
  await produce(topic, ['0', '1', '2', '3', '4', '5']);
  const group = ['-G', `${topic}-group`, '-q', '-X', 'auto.offset.reset=earliest', '-X', 'fetch.wait.max.ms=100'];
  const first = lines(await kcat([...group, '-c', '4', topic]));
  const second = lines(await kcat([...group, '-e', topic]));
  check(first.join() === '0,1,2,3' && second.join() === '4,5', `${first.join()} then ${second.join()}`);
  return 'second run resumes at offset 4 (kcat sends no metadata)';
});

interface Member {
  child: ChildProcess;
  assigned: number[] | undefined;
  rebalances: number;
  seen: string[];
}

/** `kcat -G`: prints "assigned: t [0], t [2]" and "revoked: …" on stderr. */
function member(topic: string, ...more: string[]): Member {
  const args = ['-b', bootstrap, '-G', `${topic}-group`, '-u', '-X', 'auto.offset.reset=earliest'];
  // Short intervals, so that a rebalance is noticed at once.
  args.push('-X', 'heartbeat.interval.ms=300', '-X', 'session.timeout.ms=10000', ...more, topic);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const state: Member = { child, assigned: undefined, rebalances: 0, seen: [] };
  child.stdout.on('data', (chunk: Buffer) => state.seen.push(...lines(chunk.toString())));
  // Whole lines: kcat's standard error is not buffered, so a line comes in pieces.
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.includes('assigned:')) {
      state.assigned = [...line.matchAll(/\[(\d+)\]/g)].map((match) => Number(match[1])).sort();
      state.rebalances += 1;
    } else if (line.includes('revoked:')) state.assigned = undefined;
  });
  return state;
}

const stopMember = (which: Member, signal: 'SIGINT' | 'SIGKILL'): Promise<void> =>
  new Promise((done) => {
    which.child.once('exit', () => done());
    which.child.kill(signal);
  });

await step('group', async () => {
  const topic = await createTopic('group', 4);
  const first = member(topic);
  const second = member(topic);
  try {
    await until('2 and 2', () => first.assigned?.length === 2 && second.assigned?.length === 2);
    const values = Array.from({ length: 40 }, (_, index) => String(index));
    await produce(topic, values.slice(0, 20));
    await until('20 messages', () => new Set([...first.seen, ...second.seen]).size === 20);
    await stopMember(second, 'SIGINT');
    await until('the first member to own 4', () => first.assigned?.length === 4);
    await produce(topic, values.slice(20));
    await until('40 messages', () => new Set([...first.seen, ...second.seen]).size === 40);
    await stopMember(first, 'SIGINT');
  } finally {
    first.child.kill('SIGKILL');
    second.child.kill('SIGKILL');
  }
  return '2+2 → 4 partitions, 40 records';
});

await step('static member', async () => {
  const topic = await createTopic('static', 4);
  const one = member(topic, '-X', 'group.instance.id=one');
  let two = member(topic, '-X', 'group.instance.id=two');
  try {
    await until('2 and 2', () => one.assigned?.length === 2 && two.assigned?.length === 2);
    const before = two.assigned!.join();
    const rebalances = one.rebalances;
    await stopMember(two, 'SIGINT');
    two = member(topic, '-X', 'group.instance.id=two');
    await until('the member back', () => two.assigned !== undefined);
    check(two.assigned!.join() === before, `assignment ${before} became ${two.assigned!.join()}`);
    await new Promise((done) => setTimeout(done, 700));
    check(one.rebalances === rebalances, 'the other member was rebalanced');
    return `stopped and back: partitions ${before} kept, other member untouched`;
  } finally {
    one.child.kill('SIGKILL');
    two.child.kill('SIGKILL');
  }
});

await step('admin', async () => {
  throw new NotApplicable('kcat has no admin commands');
});

await step('auto-create', async () => {
  const topic = `${prefix}-auto`;
  const values = Array.from({ length: 40 }, (_, index) => `${index}:${index}`);
  await produce(topic, values, '-K:');
  const got = await readAll(topic);
  check(got.length === 40, `${got.length} messages`);
  const listed = JSON.parse(await kcat(['-L', '-J', '-t', topic])) as { topics: { partitions: unknown[] }[] };
  const count = listed.topics[0]!.partitions.length;
  check(partitions === 0 || count === partitions, `${count} partitions, expected ${partitions}`);
  return `${count} partitions`;
});

wire.close();
