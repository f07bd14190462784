/**
 * The rows of the table: what load each one is and what it measures. Every run checks that its data arrived: the
 * generators compare the high watermarks with what was acknowledged, and reads with what was stored.
 */
import type { RunningServer } from '../../tests/compat/launch.ts';
import { sleep } from '../../tests/compat/lib/shell.ts';
import { WireConnection } from '../../tests/compat/lib/wire.ts';
import type { Sample } from './report.ts';
import {
  type Contestant,
  cpuSeconds,
  createTopic,
  deleteTopic,
  discard,
  freeGb,
  freshDir,
  prewarm,
  rssMb,
  startContestant,
  storedRecords,
  type Workplace,
} from './servers.ts';
import { idlePollers, tool, type ToolOptions, withFloor } from './tools.ts';
import { rmSync } from 'node:fs';

export interface Sizes {
  restartGb: number;
  storedGb: number[];
  idleConnections: number;
  seconds: number;
}

/** A row whose runs share long-lived servers; rounds of all contestants are interleaved. */
export interface SharedRow {
  readonly id: string;
  readonly title: string;
  readonly who: readonly Contestant[];
  /** Each run has a part that is not measured: the server need not be warmed for it. */
  readonly warmsItself?: true;
  run(on: Target, round: number): Promise<Sample>;
}

/** Where a shared row runs: a server, or the floor of this run. */
export interface Target {
  readonly who: Contestant;
  readonly port: number;
  /** Of Hadron's API. */
  readonly httpPort: number;
  readonly pid: number;
  readonly place: Workplace;
  readonly sizes: Sizes;
}

/** A row that starts its own servers, by name because one of them adds more rows. */
export interface OwnRow {
  readonly id: string;
  readonly title: string;
  readonly who: readonly Contestant[];
  /** At most this many rounds; the row is long. */
  readonly roundsMax: number;
  run(
    who: Contestant,
    place: Workplace,
    sizes: Sizes,
    add: (id: string, title: string, sample: Sample) => void,
  ): Promise<void>;
}

const everybody: readonly Contestant[] = ['floor', 'durable', 'os', 'kafka', 'kafka-sync'];
const servers: readonly Contestant[] = ['durable', 'os', 'kafka', 'kafka-sync'];

interface ProduceLoad {
  connections: number;
  inFlight: number;
  partitions: number;
  batchBytes: number;
  recordBytes: number;
  megabytes: number;
  per: '100k' | 'GB';
}

async function produceRun(on: Target, topic: string, load: ProduceLoad): Promise<Sample> {
  if (on.who !== 'floor') await createTopic(on.port, on.who, topic, load.partitions);
  prewarm(on.place, load.megabytes * writtenTwice);
  const { per, ...options } = load;
  const cpuBefore = cpuSeconds(on.pid);
  const result = await tool('kblast', { port: on.port, topic, seconds: on.sizes.seconds, check: true, ...options });
  const cpu = cpuSeconds(on.pid) - cpuBefore;
  if (on.who !== 'floor') await deleteTopic(on.port, topic);
  const latencies = { 'p50 µs': result['p50us']!, 'p99 µs': result['p99us']! };
  return per === '100k'
    ? { 'k/s': result['requestsPerSecond']! / 1e3, 'CPU-s/100k': (cpu / result['requests']!) * 1e5, ...latencies }
    : { 'MB/s': result['mbPerSecond']!, 'CPU-s/GB': (cpu / result['bytes']!) * 1e9, ...latencies };
}

function produceRow(id: string, title: string, load: ProduceLoad): SharedRow {
  return { id, title, who: everybody, run: (on, round) => produceRun(on, `${id}-${on.who}-${round}`, load) };
}

const oneRecord = 1; // a batch limit that lets exactly one record in

/** A log may write a byte twice, to its commit log and to its segment; the same is prepared for everybody. */
const writtenTwice = 2;

/** Ack latency with an optional neighbour, on a topic of its own. */
async function ackLatency(on: Target, topic: string, options: ToolOptions = {}): Promise<Sample> {
  await createTopic(on.port, on.who, topic, 1);
  // Kafka with a sync per append cannot keep 1,000 requests per second on this disk.
  const perSecond = on.who === 'kafka-sync' ? 500 : 1000;
  const count = Math.round(perSecond * on.sizes.seconds);
  const result = await tool('klat', { port: on.port, topic, rate: perSecond, count, ackOnly: true, ...options });
  await deleteTopic(on.port, topic);
  return { 'p50 µs': result['ackP50us']!, 'p99 µs': result['ackP99us']!, 'max µs': result['ackMaxus']! };
}

/** Fills a topic with 256 KB batches; gives back how many records went in. */
async function fill(port: number, topic: string, partitions: number, megabytes: number): Promise<number> {
  const options = { port, topic, partitions, connections: 2, inFlight: 4, batchBytes: 262_144, recordBytes: 100 };
  const result = await tool('kblast', { ...options, megabytes, seconds: 600, check: true }, 620_000);
  return result['records']!;
}

async function fetchRun(on: Target, topic: string, expected: number, options: ToolOptions): Promise<Sample> {
  const cpuBefore = cpuSeconds(on.pid);
  const result = await tool('kfetch', { port: on.port, topic, partitionBytes: 1_048_576, ...options });
  const cpu = cpuSeconds(on.pid) - cpuBefore;
  if (result['records'] !== expected * result['passes']!) {
    throw new Error(`${topic}: ${result['records']} records in ${result['passes']} passes, ${expected} are stored`);
  }
  return { 'MB/s': result['mbPerSecond']!, 'CPU-s/GB': (cpu / result['bytes']!) * 1e9 };
}

export const sharedRows: readonly SharedRow[] = [
  produceRow('P1', 'produce: 1 partition, 2 connections × 32 in flight, one 100 B record per request', {
    connections: 2,
    inFlight: 32,
    partitions: 1,
    batchBytes: oneRecord,
    recordBytes: 100,
    megabytes: 200,
    per: '100k',
  }),
  produceRow('P2', 'produce: 1 partition, 2 × 8, 16 KB batches of 100 B records', {
    connections: 2,
    inFlight: 8,
    partitions: 1,
    batchBytes: 16_384,
    recordBytes: 100,
    megabytes: 500,
    per: 'GB',
  }),
  produceRow('P3', 'produce: 1 partition, 2 × 4, 256 KB batches of 100 B records', {
    connections: 2,
    inFlight: 4,
    partitions: 1,
    batchBytes: 262_144,
    recordBytes: 100,
    megabytes: 700,
    per: 'GB',
  }),
  produceRow('P4', 'produce: 12 partitions, 4 × 32, one 200 B record per request', {
    connections: 4,
    inFlight: 32,
    partitions: 12,
    batchBytes: oneRecord,
    recordBytes: 200,
    megabytes: 300,
    per: '100k',
  }),
  {
    id: 'L1',
    title: 'acknowledgement at 1,000 requests/s (kafka-sync: 500/s), one connection',
    who: servers,
    run: (on, round) => ackLatency(on, `L1-${on.who}-${round}`),
  },
  {
    id: 'L1-bulk',
    title: 'the same beside 100 MB/s of 256 KB batches on another topic',
    who: servers,
    async run(on, round) {
      const topic = `L1-bulk-load-${on.who}-${round}`;
      await createTopic(on.port, on.who, topic, 1);
      prewarm(on.place, 700 * writtenTwice);
      const seconds = on.sizes.seconds + 2;
      // 400 × 256 KB; at most 800 MB in a run.
      const load = { batchBytes: 262_144, recordBytes: 100, inFlight: 8, rate: 381, seconds, megabytes: 800 };
      const neighbour = tool('kblast', { port: on.port, topic, check: true, ...load });
      await sleep(1000);
      const [sample, loaded] = await Promise.all([ackLatency(on, `L1-bulk-${on.who}-${round}`), neighbour]);
      await deleteTopic(on.port, topic);
      return { ...sample, 'neighbour MB/s': loaded['mbPerSecond']! };
    },
  },
  {
    id: 'L2',
    title: 'producer to consumer at 1,000 messages/s (kafka-sync: 500/s), 100 B',
    who: servers,
    async run(on, round) {
      const topic = `L2-${on.who}-${round}`;
      await createTopic(on.port, on.who, topic, 1);
      const perSecond = on.who === 'kafka-sync' ? 500 : 1000;
      const count = Math.round(perSecond * on.sizes.seconds);
      const result = await tool('klat', { port: on.port, topic, rate: perSecond, count });
      await deleteTopic(on.port, topic);
      return { 'p50 µs': result['e2eP50us']!, 'p99 µs': result['e2eP99us']!, 'max µs': result['e2eMaxus']! };
    },
  },
  {
    id: 'F1',
    title: 'fetch: 700 MB of 256 KB batches from page cache, 1 connection, 1 MB per partition',
    who: ['durable', 'os', 'kafka'],
    async run(on) {
      // Filled once per server; 700 MB is far more than any tail cache keeps.
      const topic = 'F1-cold';
      let expected = filled.get(on.pid);
      if (expected === undefined) {
        await createTopic(on.port, on.who, topic, 1);
        prewarm(on.place, 700 * writtenTwice);
        expected = await fill(on.port, topic, 1, 700);
        await tool('kfetch', { port: on.port, topic, checkCrc: true });
        filled.set(on.pid, expected);
      }
      return fetchRun(on, topic, expected, { loops: 1 });
    },
  },
  {
    id: 'F1-tail',
    title: 'fetch: the newest 16 MB again and again up to 1 GB, just written',
    who: ['durable', 'os', 'kafka'],
    async run(on, round) {
      const topic = `F1-tail-${on.who}-${round}`;
      await createTopic(on.port, on.who, topic, 1);
      const expected = await fill(on.port, topic, 1, 16);
      const sample = await fetchRun(on, topic, expected, { megabytes: 1024 });
      await deleteTopic(on.port, topic);
      return sample;
    },
  },
];

/** Server process → records of its F1 topic. */
const filled = new Map<number, number>();

/** The small and the large loads, a fetch and a slow rate: what a JIT has to have seen before figures count. */
export async function warm(server: RunningServer, who: Contestant, seconds: number): Promise<void> {
  const topic = `warm-${who}`;
  await createTopic(server.port, who, topic, 2);
  const base = { port: server.port, topic, partitions: 2, connections: 2, recordBytes: 100, megabytes: 400 };
  const part = seconds / 4;
  await tool('kblast', { ...base, batchBytes: 1, inFlight: 32, seconds: part });
  await tool('kblast', { ...base, batchBytes: 16_384, inFlight: 8, seconds: part });
  await tool('kblast', { ...base, batchBytes: 262_144, inFlight: 4, seconds: part });
  await tool('kfetch', { port: server.port, topic, partitions: 2, loops: 1, seconds: part });
  await deleteTopic(server.port, topic);
  const slow = `${topic}-slow`;
  await createTopic(server.port, who, slow, 1);
  await tool('klat', { port: server.port, topic: slow, rate: 500, count: Math.round(part * 500) });
  await deleteTopic(server.port, slow);
}

/** Runs a shared row on the floor with files of its own. */
export async function onFloor(row: SharedRow, place: Workplace, sizes: Sizes, round: number): Promise<Sample> {
  const dir = freshDir(place, 'floor');
  try {
    return await withFloor(dir, (port, pid) => row.run({ who: 'floor', port, httpPort: 0, pid, place, sizes }, round));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function withServer<T>(
  who: Contestant,
  place: Workplace,
  body: (server: RunningServer) => Promise<T>,
  settings: Record<string, string> = {},
): Promise<T> {
  const server = await startContestant(who, place, { settings });
  try {
    return await body(server);
  } finally {
    await discard(server);
  }
}

const topicsOf10k = Array.from({ length: 10 }, (_, index) => `many-${index}`);

/** 10,000 partitions in ten topics, one record in each; checked. */
async function write10k(server: RunningServer, who: Contestant): Promise<void> {
  for (const topic of topicsOf10k) {
    await createTopic(server.port, who, topic, 1000);
    const load = { partitions: 1000, batchBytes: oneRecord, recordBytes: 100, inFlight: 32, once: true as const };
    const result = await tool('kblast', { port: server.port, topic, check: true, ...load });
    if (result['records'] !== 1000) throw new Error(`${result['records']} of 1000 partitions written`);
  }
}

async function cpuPercent(pid: number, seconds: number): Promise<number> {
  const before = cpuSeconds(pid);
  await sleep(seconds * 1000);
  return ((cpuSeconds(pid) - before) / seconds) * 100;
}

export const ownRows: readonly OwnRow[] = [
  {
    id: 'start',
    title: 'process start to first answer, empty folder',
    who: ['durable', 'kafka'],
    roundsMax: 7,
    async run(who, place, _sizes, add) {
      await withServer(who, place, async (server) => {
        add('start', 'process start to first answer, empty folder', { s: server.startMs / 1000 });
      });
    },
  },
  {
    id: 'partitions',
    title: '10,000 partitions, each written once',
    who: ['durable'],
    roundsMax: 1,
    async run(who, place, _sizes, add) {
      await withServer(who, place, async (server) => {
        await write10k(server, who);
        await sleep(3000);
        const idle = await cpuPercent(server.pid, 10);
        add('partitions', '10,000 partitions, each written once', { 'RSS MB': rssMb(server.pid), 'idle CPU %': idle });
      });
    },
  },
  {
    id: 'L1-checkpoint',
    title: 'acknowledgement at 1,000 requests/s while 10,000 dirty partitions are checkpointed',
    who: ['durable'],
    roundsMax: 3,
    async run(who, place, sizes, add) {
      await withServer(who, place, async (server) => {
        await write10k(server, who);
        // All of them stay dirty: small records go round all partitions while the latency is taken.
        const load = {
          partitions: 1000,
          batchBytes: oneRecord,
          recordBytes: 1000,
          inFlight: 4,
          rate: 500,
          seconds: 24,
        };
        const neighbours = topicsOf10k.map((topic) =>
          tool('kblast', { port: server.port, topic, check: true, ...load }),
        );
        await sleep(1000);
        const on = { who, port: server.port, httpPort: server.httpPort, pid: server.pid, place, sizes };
        const sample = await ackLatency(on, 'latency', { count: 20_000 });
        await Promise.all(neighbours);
        add('L1-checkpoint', this.title, sample);
      });
    },
  },
  {
    id: 'restart',
    title: 'kill -9, then process start to first answer with 1,000 partitions',
    who: ['durable'],
    roundsMax: 1,
    async run(who, place, sizes, add) {
      const title = `${this.title}, ${sizes.restartGb} GB`;
      requireSpace(place, sizes.restartGb + 2);
      const first = await startContestant(who, place);
      try {
        await createTopic(first.port, who, 'restart', 1000);
        for (let left = sizes.restartGb * 1000; left > 0; left -= 800) {
          await fill(first.port, 'restart', 1000, Math.min(left, 800) * 0.954);
        }
        const before = await storedRecords(first.port, 'restart', 1000);
        await first.kill();
        const second = await startContestant(who, place, { dataDir: first.dataDir });
        try {
          // The first answer is not enough: every partition must serve, with all of its records.
          const wire = await WireConnection.open(second.host, second.port);
          const servingFrom = performance.now();
          await wire.awaitTopic('restart', 1000);
          const serving = (performance.now() - servingFrom) / 1000;
          wire.close();
          const after = await storedRecords(second.port, 'restart', 1000);
          if (after !== before) throw new Error(`${before} records before the kill, ${after} after`);
          const start = second.startMs / 1000;
          add('restart', title, { s: start, 's to all partitions': start + serving, 'RSS MB': rssMb(second.pid) });
        } finally {
          await second.stop();
        }
      } finally {
        await first.kill().catch(() => undefined);
        rmSync(first.dataDir, { recursive: true, force: true });
        rmSync(first.logFile, { force: true });
      }
    },
  },
  {
    id: 'stored',
    title: 'CPU per unit of produce and tail read while more and more is stored',
    who: ['durable'],
    roundsMax: 1,
    async run(who, place, sizes, add) {
      requireSpace(place, Math.max(...sizes.storedGb) + 4);
      await withServer(who, place, async (server) => {
        await warm(server, who, 8);
        await createTopic(server.port, who, 'stored', 12);
        let stored = 0;
        for (const gb of sizes.storedGb.toSorted((a, b) => a - b)) {
          for (; stored < gb * 1000; stored += 800) await fill(server.port, 'stored', 12, 763);
          const on = { who, port: server.port, httpPort: server.httpPort, pid: server.pid, place, sizes };
          for (let round = 0; round < 5; round++) {
            const load = { connections: 2, inFlight: 4, partitions: 1, batchBytes: 262_144, recordBytes: 100 };
            const produced = await produceRun(on, `stored-${gb}-${round}`, { ...load, megabytes: 500, per: 'GB' });
            const topic = `stored-tail-${gb}-${round}`;
            await createTopic(server.port, who, topic, 1);
            const tail = await fetchRun(on, topic, await fill(server.port, topic, 1, 16), { megabytes: 1024 });
            await deleteTopic(server.port, topic);
            add(`stored-${gb}GB`, `with ${gb} GB stored`, {
              'produce CPU-s/GB': produced['CPU-s/GB']!,
              'tail read CPU-s/GB': tail['CPU-s/GB']!,
            });
          }
        }
      });
    },
  },
  {
    id: 'idle',
    title: 'idle long polls',
    who: ['durable', 'kafka'],
    roundsMax: 1,
    async run(who, place, sizes, add) {
      for (const [name, maxWaitMs] of [
        ['60s', 60_000],
        ['500ms', 500],
      ] as const) {
        await withServer(
          who,
          place,
          async (server) => {
            const topic = 'idle';
            await createTopic(server.port, who, topic, 1);
            // One round of pollers first: code and buffers that stay are not the price of a connection.
            await idlePollers(
              { port: server.port, topic, connections: 50, maxWaitMs: 200, seconds: 2 },
              () => undefined,
            );
            const rssBefore = rssMb(server.pid);
            let rss = 0;
            let cpuBefore = 0;
            const connections = sizes.idleConnections;
            const result = await idlePollers({ port: server.port, topic, connections, maxWaitMs, seconds: 10 }, () => {
              rss = rssMb(server.pid);
              cpuBefore = cpuSeconds(server.pid);
            });
            const cpu = cpuSeconds(server.pid) - cpuBefore;
            add(`idle-${name}`, `${connections} idle long polls, max_wait ${name}`, {
              late: result['late']!,
              'KB/connection': ((rss - rssBefore) * 1000) / connections,
              ...(maxWaitMs === 60_000
                ? { 'CPU %': (cpu / result['seconds']!) * 100 }
                : {
                    'CPU µs/poll': (cpu / result['answers']!) * 1e6,
                    'polls/s': result['answers']! / result['seconds']!,
                  }),
            });
          },
          // Kafka's own listen queue of 50 makes 5,000 connects a matter of minutes.
          who === 'kafka' ? { 'socket.listen.backlog.size': '5000' } : {},
        );
      }
    },
  },
];

function requireSpace(place: Workplace, gb: number): void {
  const free = freeGb(place);
  if (free < gb) throw new Error(`${gb} GB are needed in ${place.dir}, ${free.toFixed(1)} are free`);
}
