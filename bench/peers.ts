/**
 * Hadron beside NATS JetStream and Redis Streams, interleaved, through the clients their people use.
 *
 *   npm run bench:peers [-- ROW…] [--rounds N] [--output json]
 *
 * Where a peer cannot be had it is left out, with a word. What the figures say is in README.md.
 */
import { rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../tests/compat/lib/shell.ts';
import { load } from './lib/load.ts';
import { type PeerName, peerProgram, peers, type PeerServer, startPeer, systemOf } from './lib/peer-servers.ts';
import { Results, type Sample } from './lib/report.ts';
import { prewarm, rssMb, type Workplace } from './lib/servers.ts';
import { peerDuels } from './lib/targets.ts';

const rows = [
  { id: 'publish', title: 'events of 110 B in, 1,024 under way', run: 'peerPublish' },
  {
    id: 'group',
    title: 'a group of 4 consumers with 256 in hand each, acknowledgements confirmed',
    run: 'peerConsume',
  },
  { id: 'latency', title: 'publish → handler → confirmed acknowledgement at 200/s', run: 'peerLatency' },
] as const;
const rowIds = [...rows.map(({ id }) => id), 'memory'];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string' },
    output: { type: 'string', default: 'text' },
    dir: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(`usage: npm run bench:peers [-- ROW…] [options]

rows: ${rowIds.join(', ')}; default: all

  --rounds N       interleaved rounds (5)
  --seconds N      length of a run (4)
  --only a,b       contestants: ${peers.join(', ')}
  --output json    one JSON document
  --dir DIR        where everybody's data lies (a new folder in ${tmpdir()})`);
  process.exit(0);
}
const unknown = positionals.filter((row) => !rowIds.includes(row));
if (unknown.length > 0) {
  console.error(`no such row: ${unknown.join(', ')}; there are ${rowIds.join(', ')}`);
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const wants = (row: string): boolean => positionals.length === 0 || positionals.includes(row);

const place: Workplace = { dir: options.dir ?? join(tmpdir(), `hadron-peers-${process.pid}`), settings: {} };
process.on('exit', () => {
  if (options.dir === undefined) rmSync(place.dir, { recursive: true, force: true });
});
const results = new Results({ contestants: peers, targets: [], duels: peerDuels });
const servers = new Map<PeerName, PeerServer>();
const idle = new Map<PeerName, number>();
const leftOut: Record<string, string> = {};
try {
  for (const name of peers) {
    if (options.only !== undefined && !options.only.split(',').includes(name)) continue;
    const program = await peerProgram(systemOf(name));
    if ('missing' in program) {
      leftOut[name] = program.missing;
      say(`${name}: left out: ${program.missing}`);
      continue;
    }
    const server = await startPeer(name, program.path, place);
    servers.set(name, server);
    await sleep(1000);
    idle.set(name, rssMb(server.pid));
  }
  const seconds = Number(options.seconds);
  for (let round = 1; round <= Number(options.rounds); round++) {
    for (const row of rows.filter(({ id }) => wants(id))) {
      for (const [name, { system, port, pid, prepare }] of servers) {
        const stream = `${row.id}-${round}`;
        try {
          prewarm(place, 200);
          await prepare(stream);
          const { 'CPU %': _, ...sample } = await load(row.run, { system, port, pid, stream, seconds });
          results.add(row.id, row.title, name, sample);
          say(`round ${round}  ${row.id}  ${name}: ${brief(sample)}`);
        } catch (error) {
          results.fail(row.id, row.title, name, error);
          say(`round ${round}  ${row.id}  ${name}: FAILED ${String(error)}`);
        }
      }
    }
  }
  if (wants('memory')) {
    for (const [name, { pid }] of servers) {
      const sample = { 'idle MB': idle.get(name) ?? 0, 'after loads MB': rssMb(pid) };
      results.add('memory', 'resident memory, idle and after these loads', name, sample);
    }
  }
} finally {
  await Promise.all([...servers.values()].map((server) => server.stop()));
}

const facts = {
  date: new Date().toISOString(),
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}`,
  load: `${loadavg()
    .map((value) => value.toFixed(1))
    .join(' ')} at the end (1, 5, 15 minutes): much more than 2 means somebody else was busy`,
  node: process.version,
  leftOut,
};
if (options.output === 'json') console.log(JSON.stringify({ ...facts, ...results.json() }, null, 2));
else
  console.log(
    `${results.text()}\n\n${Object.entries(facts)
      .map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
      .join('\n')}`,
  );
process.exit(results.failures.length > 0 ? 1 : 0);

function brief(sample: Sample): string {
  return Object.entries(sample)
    .map(([name, value]) => `${name} ${value.toFixed(value >= 100 ? 0 : 2)}`)
    .join(', ');
}
