/**
 * Speed, side by side: Hadron in both durability modes, the floor of this machine and, when asked, a real Kafka.
 *
 *   npm run bench [-- ROW…] [--rounds N] [--output json]      npm run bench:kafka [-- …]
 *
 * How the figures are kept honest is written in README.md; the loads are in lib/rows.ts, the targets in lib/targets.ts.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { hadronMissing, kafkaJars, type RunningServer } from '../tests/compat/launch.ts';
import { repoRoot, sleep, works } from '../tests/compat/lib/shell.ts';
import { Results } from './lib/report.ts';
import { eventOwnRows, eventRows } from './lib/event-rows.ts';
import { onFloor, ownRows as kafkaOwnRows, sharedRows as kafkaRows, type Sizes, warm } from './lib/rows.ts';
import { type Contestant, contestants, discard, rssMb, startContestant, type Workplace } from './lib/servers.ts';
import { duels, targets } from './lib/targets.ts';
import { buildTools, toolsMissing } from './lib/tools.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kafka: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '7' },
    only: { type: 'string' },
    output: { type: 'string', default: 'text' },
    dir: { type: 'string' },
    set: { type: 'string', multiple: true, default: [] },
    seconds: { type: 'string', default: '4' },
    'restart-gb': { type: 'string', default: '10' },
    'stored-gb': { type: 'string', default: '1,20' },
    'idle-connections': { type: 'string', default: '5000' },
    help: { type: 'boolean', default: false },
  },
});

const sharedRows = [...kafkaRows, ...eventRows];
const ownRows = [...kafkaOwnRows, ...eventOwnRows];
const rowIds = [...sharedRows.map((row) => row.id), 'rss', ...ownRows.map((row) => row.id)];
if (options.help) {
  console.log(`usage: npm run bench [-- ROW…] [options]     (npm run bench:kafka = the same with --kafka)

rows: ${rowIds.join(', ')}; default: all, kafka = the rows of issue 3, events = those of issue 4

  --rounds N            interleaved rounds (7)
  --kafka               also Apache Kafka 4.3.1, with its default and with flush.messages=1
  --only a,b            contestants: ${contestants.join(', ')}
  --output json         one JSON document
  --dir DIR             where everybody's data lies (a new folder in ${tmpdir()})
  --set KEY=VALUE       broker setting for Hadron; may be repeated
  --seconds N           length of a produce or latency run (4)
  --restart-gb N        size of the restart row (10)
  --stored-gb A,B       sizes of the stored row (1,20)
  --idle-connections N  of the idle row (5000)`);
  process.exit(0);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const json = options.output === 'json';
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const missing = toolsMissing();
if (missing !== undefined) {
  console.log(`skipped: ${missing}`);
  process.exit(0);
}
const unknown = positionals.filter((row) => !rowIds.includes(row) && row !== 'kafka' && row !== 'events');
if (unknown.length > 0) {
  console.error(`no such row: ${unknown.join(', ')}; there are ${rowIds.join(', ')}`);
  process.exit(2);
}
buildTools();

const place: Workplace = {
  dir: options.dir ?? join(tmpdir(), `hadron-bench-${process.pid}`),
  settings: Object.fromEntries(
    options.set.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  ),
};
process.on('exit', () => {
  if (options.dir === undefined) rmSync(place.dir, { recursive: true, force: true });
});
const sizes: Sizes = {
  restartGb: Number(options['restart-gb']),
  storedGb: options['stored-gb'].split(',').map(Number),
  idleConnections: Number(options['idle-connections']),
  seconds: Number(options.seconds),
};
const rounds = Number(options.rounds);
const families = { kafka: [...kafkaRows, ...kafkaOwnRows, { id: 'rss' }], events: [...eventRows, ...eventOwnRows] };
const asked = positionals.flatMap((one) =>
  one === 'kafka' || one === 'events' ? families[one].map((row) => row.id) : [one],
);
const wants = (row: string): boolean => asked.length === 0 || asked.includes(row);

const taking = await whoTakesPart();
const results = new Results({ contestants, targets, duels });
const startedAt = new Date();
await runSharedRows();
await runOwnRows();

const facts = {
  date: startedAt.toISOString(),
  minutes: Math.round((Date.now() - startedAt.getTime()) / 6000) / 10,
  command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
  commit: commit(),
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}`,
  load: `${loadavg()
    .map((value) => value.toFixed(1))
    .join(' ')} at the end (1, 5, 15 minutes): much more than 2 means somebody else was busy`,
  node: process.version,
  rounds,
  contestants: taking,
  durability: 'durable = --durability fsync (the default), os = --durability os',
};
if (json) {
  console.log(JSON.stringify({ ...facts, ...results.json() }, null, 2));
} else {
  console.log(results.text());
  console.log(
    `\n${Object.entries(facts)
      .map(([key, value]) => `${key}: ${String(value)}`)
      .join('\n')}`,
  );
}
const verdicts = results.verdicts();
const notMet = verdicts.filter((verdict) => !verdict.met).length;
if (!json)
  console.log(`\ntargets: ${verdicts.length - notMet} met, ${notMet} not met; ${results.failures.length} runs failed`);
process.exit(results.failures.length > 0 ? 1 : 0);

async function whoTakesPart(): Promise<Contestant[]> {
  const absent = new Map<Contestant, string>();
  const noHadron = hadronMissing();
  if (noHadron !== undefined) for (const who of ['durable', 'os'] as const) absent.set(who, noHadron);
  let noKafka = options.kafka ? undefined : 'not asked for (--kafka)';
  if (noKafka === undefined && !works('java', '-version')) noKafka = 'Java is not installed';
  if (noKafka === undefined) {
    const jars = await kafkaJars();
    if ('missing' in jars) noKafka = jars.missing;
  }
  if (noKafka !== undefined) for (const who of ['kafka', 'kafka-sync'] as const) absent.set(who, noKafka);
  const only = options.only?.split(',');
  for (const who of contestants) if (only !== undefined && !only.includes(who)) absent.set(who, 'not in --only');
  for (const [who, why] of absent) say(`${who}: left out: ${why}`);
  return contestants.filter((who) => !absent.has(who));
}

/** Long-lived servers, one per process kind; rounds of all contestants follow one another row by row. */
async function runSharedRows(): Promise<void> {
  const rows = sharedRows.filter((row) => wants(row.id));
  if (rows.length === 0 && !wants('rss')) return;
  const servers = new Map<Contestant, RunningServer>();
  const idleRss = new Map<Contestant, number>();
  try {
    for (const who of taking) {
      if (who === 'floor' || (rows.length > 0 && !rows.some((row) => row.who.includes(who)))) continue;
      const kafka = servers.get('kafka');
      if (who === 'kafka-sync' && kafka !== undefined) {
        servers.set(who, kafka);
        continue;
      }
      say(`starting ${who}`);
      let server: RunningServer;
      try {
        server = await startContestant(who, place);
      } catch (error) {
        // The others are worth measuring all the same; the exit code tells.
        results.fail('servers', 'servers that did not start', who, error);
        continue;
      }
      servers.set(who, server);
      await sleep(2000);
      idleRss.set(who, rssMb(server.pid));
    }
    for (const [who, server] of servers) {
      // Kafka's JIT needs about 20 s; Node's far less.
      const seconds = who.startsWith('kafka') ? 20 : 8;
      if (who === 'kafka-sync' && servers.has('kafka')) continue;
      if (rows.every((row) => row.warmsItself)) continue;
      say(`warming ${who}`);
      await warm(server, who, seconds);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const row of rows) {
        for (const who of taking.filter((one) => row.who.includes(one))) {
          const server = servers.get(who);
          if (server === undefined && who !== 'floor') continue;
          try {
            const sample =
              server === undefined
                ? await onFloor(row, place, sizes, round)
                : await row.run(
                    { who, port: server.port, httpPort: server.httpPort, pid: server.pid, place, sizes },
                    round,
                  );
            results.add(row.id, row.title, who, sample);
            say(`round ${round}/${rounds}  ${row.id}  ${who}: ${brief(sample)}`);
          } catch (error) {
            results.fail(row.id, row.title, who, error);
            say(`round ${round}/${rounds}  ${row.id}  ${who}: FAILED ${String(error)}`);
          }
        }
      }
    }
    if (wants('rss')) {
      for (const [who, idle] of idleRss) {
        const after = rows.length === 0 ? {} : { 'after loads MB': rssMb(servers.get(who)!.pid) };
        results.add('rss', 'resident memory, idle and after these loads', who, { 'idle MB': idle, ...after });
      }
    }
  } finally {
    for (const server of new Set(servers.values())) await discard(server);
  }
}

async function runOwnRows(): Promise<void> {
  for (const row of ownRows.filter((one) => wants(one.id))) {
    for (let round = 1; round <= Math.min(rounds, row.roundsMax); round++) {
      for (const who of taking.filter((one) => row.who.includes(one))) {
        try {
          await row.run(who, place, sizes, (id, title, sample) => {
            results.add(id, title, who, sample);
            say(`round ${round}  ${id}  ${who}: ${brief(sample)}`);
          });
        } catch (error) {
          results.fail(row.id, row.title, who, error);
          say(`round ${round}  ${row.id}  ${who}: FAILED ${String(error)}`);
        }
      }
    }
  }
}

function brief(sample: Record<string, number>): string {
  return Object.entries(sample)
    .map(([name, value]) => `${name} ${value.toFixed(value >= 100 ? 0 : 2)}`)
    .join(', ');
}

function commit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { cwd: repoRoot, encoding: 'utf8' }).trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ' with changes'}`;
  } catch {
    return 'unknown';
  }
}
