/**
 * Foreign clients, unmodified, against one server, and conformance cases of others: prints a table step × client and `N passed, N failed`.
 *
 *   npm run test:compat [-- CLIENT…] [--bootstrap HOST:PORT] [--peer kafka] [--tests a,b] [--output json]
 *
 * Without --bootstrap it starts a server itself: Hadron from this checkout, or with `--peer kafka` the oracle.
 */
import { spawn } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CompatClient, clients, scenario } from './clients.ts';
import { type RunningServer, startHadron, startKafka } from './launch.ts';
import { cacheDir } from './lib/shell.ts';
import { batchesOf, type CodecName, WireConnection } from './lib/wire.ts';

interface StepResult {
  step: string;
  /** null: this client cannot do it. */
  ok: boolean | null;
  detail: string;
  ms: number;
}

interface ClientResult {
  client: string;
  about: string;
  skipped?: string;
  seconds: number;
  steps: StepResult[];
}

// The differential probe is a program of its own that ends the process.
if (process.argv.includes('--probe')) await import('./probe.ts');

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bootstrap: { type: 'string' },
    peer: { type: 'string', default: 'hadron' },
    tests: { type: 'string' },
    partitions: { type: 'string' },
    durability: { type: 'string' },
    output: { type: 'string', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});

const json = options.output === 'json';
const say = (line: string): void => {
  if (!json) console.log(line);
};

if (options.help) {
  console.log(
    `usage: npm run test:compat [-- CLIENT…] [options]

clients: ${clients.map((client) => client.name).join(', ')} (default: all)

  --bootstrap HOST:PORT   test a running server instead of starting one
  --peer hadron|kafka     which server to start (default hadron); kafka is the oracle, Apache Kafka 4.3.1
  --tests a,b             the same as naming the clients
  --partitions N          partitions an auto-created topic must have (default 4; not checked with --bootstrap)
  --durability fsync|os   durability mode of the Hadron started here
  --output json           one JSON document instead of the table
  --probe                 raw frames for the facts of the contract instead of clients (see probe.ts)`,
  );
  process.exit(0);
}

// An interrupted run still ends its server: launch.ts kills it on exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const wanted = [...positionals, ...(options.tests?.split(',') ?? [])];
const unknown = wanted.filter((name) => !clients.some((client) => client.name === name));
if (unknown.length > 0) {
  console.error(`no such client: ${unknown.join(', ')}; there are ${clients.map((client) => client.name).join(', ')}`);
  process.exit(2);
}
const chosen = clients.filter((client) => wanted.length === 0 || wanted.includes(client.name));

let server: RunningServer | undefined;
let bootstrap = options.bootstrap;
let partitions = Number(options.partitions ?? 0);
if (bootstrap === undefined && chosen.some((client) => !client.serverless)) {
  try {
    const durability = options.durability === 'os' ? 'os' : 'fsync';
    server = await (options.peer === 'kafka' ? startKafka() : startHadron({ durability }));
  } catch (error) {
    console.error(`the server did not start: ${error instanceof Error ? error.message : String(error)}`);
    console.log('0 passed, 1 failed');
    process.exit(1);
  }
  bootstrap = `${server.host}:${server.port}`;
  partitions ||= 4;
  say(`${server.name} on ${bootstrap}, ready after ${Math.round(server.startMs)} ms`);
}
bootstrap ??= 'none:0'; // nobody asks for it
const [host, port] = [bootstrap.slice(0, bootstrap.lastIndexOf(':')), Number(bootstrap.split(':').at(-1))];

const runId = `compat-${Date.now().toString(36)}`;
const results: ClientResult[] = [];
for (const client of chosen) {
  const result = await runClient(client);
  tell(client, result);
  results.push(result);
}

function tell(client: CompatClient, result: ClientResult): void {
  if (result.skipped !== undefined) {
    say(`${client.name}: skipped: ${result.skipped}`);
    return;
  }
  const failed = result.steps.filter((one) => one.ok === false);
  say(`${client.name}: ${failed.length === 0 ? 'ok' : `${failed.length} FAILED`} in ${result.seconds.toFixed(1)} s`);
  for (const one of failed) say(`  FAIL ${one.step}: ${one.detail}`);
}

const anyFailed = results.some((result) => result.steps.some((one) => one.ok === false));
if (server !== undefined && anyFailed) {
  const kept = join(cacheDir('compat'), 'server.log');
  copyFileSync(server.logFile, kept);
  say(`what the server said is kept in ${kept}`);
}
await server?.stop();

const all = results.flatMap((result) => result.steps);
const passed = all.filter((one) => one.ok === true).length;
const failed = all.filter((one) => one.ok === false).length;
if (json) console.log(JSON.stringify({ server: server?.name ?? bootstrap, results, passed, failed }, null, 2));
else printTables();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);

async function runClient(client: CompatClient): Promise<ClientResult> {
  const prepared = await client.prepare();
  const base = { client: client.name, about: client.about };
  if ('skipped' in prepared) return { ...base, skipped: prepared.skipped, seconds: 0, steps: [] };
  const started = performance.now();
  const prefix = `${runId}-${client.name}`;
  const args = client.serverless ? [] : [bootstrap!, prefix, String(partitions)];
  const { lines, ending } = await collectLines([...prepared.command, ...args], client.limitMs);
  const steps = (client.steps ?? scenario).map(
    (step): StepResult =>
      lines.find((line) => line.step === step) ?? { step, ok: false, detail: `no answer: ${ending}`, ms: 0 },
  );
  if (!client.serverless) {
    await checkStoredCodecs(prefix, steps);
    await removeTopics(prefix);
  }
  return { ...base, seconds: (performance.now() - started) / 1000, steps };
}

/** Runs the client and keeps its JSON lines; what else it prints matters only if it breaks. */
function collectLines(command: string[], limitMs: number): Promise<{ lines: StepResult[]; ending: string }> {
  return new Promise((done) => {
    const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    const lines: StepResult[] = [];
    let other = '';
    let pending = '';
    child.stdout.on('data', (chunk: Buffer) => {
      const parts = (pending + chunk.toString()).split('\n');
      pending = parts.pop()!;
      for (const part of parts) {
        if (part.startsWith('{')) lines.push(JSON.parse(part) as StepResult);
        else other += `${part}\n`;
      }
    });
    child.stderr.on('data', (chunk: Buffer) => {
      other = (other + chunk.toString()).slice(-4000);
    });
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, limitMs);
    const finish = (how: string): void => {
      clearTimeout(timer);
      const last = other.trim().split('\n').at(-1);
      done({ lines, ending: `${how}${last ? `: ${last}` : ''}` });
    };
    child.on('error', (error) => finish(String(error)));
    child.on('close', (code) => finish(timedOut ? `time limit of ${limitMs / 1000} s` : `ended with code ${code}`));
  });
}

/**
 * Looks with a raw fetch at what the codec steps really stored. Old librdkafka quietly sends uncompressed
 * when the advertised Produce range does not please it (contract R6): the client itself sees nothing wrong.
 */
async function checkStoredCodecs(prefix: string, steps: StepResult[]): Promise<void> {
  for (const step of steps) {
    if (step.ok !== true || !step.step.startsWith('codec ')) continue;
    const codec = step.step.slice('codec '.length) as CodecName;
    const topic = `${prefix}-codec-${codec}`;
    try {
      const found = new Set<CodecName>();
      const wire = await WireConnection.open(host, port);
      const [facts] = await wire.metadata([topic]);
      for (const { index } of facts!.partitions) {
        const { records } = await wire.fetch(topic, index, 0);
        for (const batch of batchesOf(records)) found.add(batch.codec);
      }
      wire.close();
      if (found.size === 1 && found.has(codec)) step.detail += `, stored as ${codec}`;
      else Object.assign(step, { ok: false, detail: `stored as ${[...found].join(' and ') || 'nothing'}` });
    } catch (error) {
      Object.assign(step, { ok: false, detail: `raw fetch of ${topic}: ${String(error)}` });
    }
  }
}

/** Leaves somebody's server as it was found; best effort. */
async function removeTopics(prefix: string): Promise<void> {
  try {
    const wire = await WireConnection.open(host, port);
    const names = (await wire.metadata(null)).map((topic) => topic.name).filter((name) => name.startsWith(prefix));
    if (names.length > 0) await wire.deleteTopics(...names);
    wire.close();
  } catch {
    // DeleteTopics may not be served; the topics carry the run's name and do not disturb another run.
  }
}

function printTables(): void {
  const ran = results.filter((result) => result.skipped === undefined);
  const common = ran.filter((result) => result.steps[0]?.step === scenario[0]);
  if (common.length > 0) {
    console.log('');
    printTable(scenario, common);
  }
  for (const result of ran.filter((one) => !common.includes(one))) {
    console.log('');
    const steps = result.steps.map((one) => one.step);
    printTable(steps, [result]);
  }
  const notApplicable = ran.flatMap((result) =>
    result.steps.filter((one) => one.ok === null).map((one) => `  ${result.client}, ${one.step}: ${one.detail}`),
  );
  if (notApplicable.length > 0) console.log(`\nn/a:\n${notApplicable.join('\n')}`);
  const skipped = results.filter((result) => result.skipped !== undefined);
  if (skipped.length > 0) {
    console.log(`\nskipped:\n${skipped.map((one) => `  ${one.client}: ${one.skipped}`).join('\n')}`);
  }
  console.log('');
}

function printTable(steps: readonly string[], columns: ClientResult[]): void {
  const cell = (result: ClientResult, step: string): string => {
    const ok = result.steps.find((one) => one.step === step)?.ok;
    return ok === true ? 'ok' : ok === false ? 'FAIL' : 'n/a';
  };
  const width = Math.max(...steps.map((step) => step.length), 7);
  const row = (head: string, cells: string[]): string =>
    [head.padEnd(width), ...cells.map((text, index) => text.padEnd(columns[index]!.client.length))].join('  ');
  console.log(
    row(
      'step',
      columns.map((column) => column.client),
    ),
  );
  for (const step of steps) {
    console.log(
      row(
        step,
        columns.map((column) => cell(column, step)),
      ),
    );
  }
  console.log(
    row(
      'seconds',
      columns.map((column) => column.seconds.toFixed(1)),
    ),
  );
}
