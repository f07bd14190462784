/**
 * The rows of events in and events out (issue 4, statements 12 and 19): each load once with bytes made beforehand and once
 * through the SDK. Every run checks that what was sent is stored, and that all that was stored was settled.
 */
import type { GroupRequest, GroupStatus } from '@hadron/contracts';
import { encodeConsumeRequest } from '@hadron/contracts/protobuf';
import type { RunningServer } from '../../tests/compat/launch.ts';
import { sleep } from '../../tests/compat/lib/shell.ts';
import type { ConsumeLoad } from '../load/consume.ts';
import { framed, openConnection, RawCall } from '../load/grpc.ts';
import { inspectable, type Memory, settledMemory } from './inspect.ts';
import { load } from './load.ts';
import type { Sample } from './report.ts';
import type { OwnRow, SharedRow, Target } from './rows.ts';
import {
  type Contestant,
  cpuSeconds,
  createTopic,
  deleteTopic,
  discard,
  prewarm,
  startContestant,
  storedRecords,
  type Workplace,
} from './servers.ts';

const both: readonly Contestant[] = ['durable', 'os'];
const durable: readonly Contestant[] = ['durable'];

const apiUrl = (on: { httpPort: number }): string => `http://127.0.0.1:${on.httpPort}`;

/** A stream for one run, gone afterwards. */
async function withStream<T>(on: Target, name: string, partitions: number, body: () => Promise<T>): Promise<T> {
  await createTopic(on.port, on.who, name, partitions);
  try {
    return await body();
  } finally {
    await deleteTopic(on.port, name);
  }
}

/** The load tells how many events were acknowledged; as many must be stored. */
async function stored(on: Target, stream: string, megabytes: number, run: () => Promise<Sample>): Promise<Sample> {
  return withStream(on, stream, 1, async () => {
    prewarm(on.place, megabytes);
    const { events, 'CPU %': _, ...sample } = await run();
    const found = await storedRecords(on.port, stream, 1);
    if (found !== events) throw new Error(`${events} events were acknowledged, ${found} are stored`);
    return sample;
  });
}

function publishRow(
  id: string,
  title: string,
  how: 'publishRaw' | 'publishSdk',
  { inFlight, eventsPer }: { inFlight: number; eventsPer: number },
): SharedRow {
  return {
    id,
    title,
    who: both,
    warmsItself: true,
    run: (on, round) => {
      const stream = `${id}-${on.who}-${round}`;
      const options = { url: apiUrl(on), pid: on.pid, stream, seconds: on.sizes.seconds, warmSeconds: 1.5 };
      // What a quick machine writes in that time, twice: into the commit log and into the segment.
      return stored(on, stream, eventsPer === 1 ? 400 : 1600, () => load(how, { ...options, inFlight, eventsPer }));
    },
  };
}

interface ConsumeShape {
  readonly settings: GroupRequest;
  readonly partitions: number;
  readonly keys: number;
  readonly sessions: number;
  readonly credit: number;
  /** Events stored beforehand, for each second of the run. */
  readonly perSecond: number;
}

function consumeRow(id: string, title: string, how: 'consumeRaw' | 'consumeSdk', shape: ConsumeShape): SharedRow {
  return {
    id,
    title,
    who: both,
    warmsItself: true,
    run: (on, round) => {
      const stream = `${id}-${on.who}-${round}`;
      const { settings, partitions, keys, sessions, credit, perSecond } = shape;
      const warm = perSecond;
      const events = Math.round(perSecond * (on.sizes.seconds + 1));
      const url = apiUrl(on);
      return withStream(on, stream, partitions, async () => {
        await load('fill', { url, stream, events, keys });
        const options: ConsumeLoad = { url, pid: on.pid, stream, group: 'g', settings, sessions, credit, events, warm };
        const { 'CPU %': _, ...sample } = await load(how, options);
        const { counts, partitions: progress } = await groupStatus(url, stream, 'g');
        const settled = progress.reduce((sum, { floor }) => sum + floor, 0);
        if (counts.acked !== events || settled !== events)
          throw new Error(`${events} events are stored, ${counts.acked} acknowledged, ${settled} below the floors`);
        return sample;
      });
    },
  };
}

function latencyRow(id: string, title: string, how: 'latencyRaw' | 'latencySdk'): SharedRow {
  return {
    id,
    title,
    who: both,
    warmsItself: true,
    run: (on, round) => {
      const stream = `${id}-${on.who}-${round}`;
      const rate = { perSecond: 1000, seconds: on.sizes.seconds, warmSeconds: 2 };
      return withStream(on, stream, 1, () => load(how, { url: apiUrl(on), pid: on.pid, stream, group: 'g', ...rate }));
    },
  };
}

const keyLanes: ConsumeShape = {
  settings: { ordering: 'key' },
  partitions: 4,
  keys: 10_000,
  sessions: 4,
  credit: 1024,
  perSecond: 60_000,
};
const onePartition: ConsumeShape = {
  settings: { ordering: 'partition', window: 32 },
  partitions: 1,
  keys: 1000,
  sessions: 1,
  credit: 1024,
  perSecond: 20_000,
};

export const eventRows: readonly SharedRow[] = [
  publishRow('E1', 'events in: one call, 4,096 single events in flight, pre-encoded', 'publishRaw', {
    inFlight: 4096,
    eventsPer: 1,
  }),
  publishRow('E1-sdk', 'the same through the SDK: 4,096 promises of publish()', 'publishSdk', {
    inFlight: 4096,
    eventsPer: 1,
  }),
  publishRow('E2', 'events in: one call, record batches of 100, 64 in flight, pre-encoded', 'publishRaw', {
    inFlight: 64,
    eventsPer: 100,
  }),
  publishRow('E2-sdk', 'the same through the SDK: 64 promises of publishMany()', 'publishSdk', {
    inFlight: 64,
    eventsPer: 100,
  }),
  consumeRow('G1', 'group: 4 sessions, lanes over 10,000 keys, durable acks, raw', 'consumeRaw', keyLanes),
  consumeRow('G1-sdk', 'the same through the SDK: run() with concurrency 1,024', 'consumeSdk', keyLanes),
  consumeRow('G2', 'group: partition order, 1 partition, window 32, raw', 'consumeRaw', onePartition),
  consumeRow('G2-sdk', 'the same through the SDK', 'consumeSdk', onePartition),
  latencyRow('G3', 'publish → handler → durable ack at 1,000/s, raw', 'latencyRaw'),
  latencyRow('G3-sdk', 'the same through the SDK: publish(), consume(), ack()', 'latencySdk'),
  {
    id: 'H1',
    title: 'events in by HTTP: binary mode, 64 connections with one request each',
    who: both,
    warmsItself: true,
    run: (on, round) => {
      const stream = `H1-${on.who}-${round}`;
      const options = { url: apiUrl(on), pid: on.pid, stream, connections: 64 };
      return stored(on, stream, 100, () =>
        load('publishHttp', { ...options, seconds: on.sizes.seconds, warmSeconds: 2 }),
      );
    },
  },
  {
    id: 'H2',
    title: 'server-sent events: 20 events/s to 2,000 clients',
    who: durable,
    warmsItself: true,
    run: (on, round) => {
      const stream = `H2-${on.who}-${round}`;
      const options = { url: apiUrl(on), pid: on.pid, stream, connections: 2000, perSecond: 20 };
      return withStream(on, stream, 1, () =>
        load('listenSse', { ...options, seconds: on.sizes.seconds, warmSeconds: 2 }),
      );
    },
  },
];

/** Sessions that take what comes and answer nothing. */
async function hold(url: string, stream: string, settings: GroupRequest, sessions: number, credit: number) {
  const connection = openConnection(url);
  const calls = Array.from({ length: sessions }, () => {
    const call = new RawCall(connection, 'Consume', () => undefined);
    const open = { stream, group: 'g', settingsJson: JSON.stringify(settings), credit };
    call.write(framed(encodeConsumeRequest, { kind: 'open', open }));
    return call;
  });
  return {
    async close(): Promise<void> {
      await Promise.all(calls.map((call) => call.end()));
      connection.close();
    },
  };
}

async function api<T>(url: string, method: string, path: string, body?: unknown): Promise<T> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await fetch(`${url}${path}`, { ...init, headers: { 'content-type': 'application/json' } });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

const groupStatus = (url: string, stream: string, group: string): Promise<GroupStatus> =>
  api(url, 'GET', `/v1/streams/${stream}/groups/${group}`);

async function until(url: string, stream: string, reached: (status: GroupStatus) => boolean): Promise<void> {
  const deadline = performance.now() + 120_000;
  for (;;) {
    const status = await groupStatus(url, stream, 'g');
    if (reached(status)) return;
    if (performance.now() > deadline) throw new Error(`not reached: ${JSON.stringify(status)}`);
    await sleep(200);
  }
}

const sumOf = ({ partitions }: GroupStatus, key: 'out' | 'delayed' | 'floor'): number =>
  partitions.reduce((sum, one) => sum + one[key], 0);

/** Fills the caches, whose budgets are no price of what is measured, and shows the code to the JIT. */
async function fillCaches(on: RunningServer, who: Contestant): Promise<void> {
  const url = apiUrl(on);
  await createTopic(on.port, who, 'before', 4);
  await load('fill', { url, stream: 'before', events: 300_000, keys: 10_000 });
  const options = { url, pid: on.pid, stream: 'before', group: 'g', settings: {}, sessions: 4, credit: 1024 };
  await load('consumeRaw', { ...options, events: 300_000, warm: 1 });
}

const grown = (before: Memory, after: Memory): Sample => ({
  'RSS +MB': after.rss - before.rss,
  'in use +MB': after.live - before.live,
});

async function cpuPercent(pid: number, seconds: number): Promise<number> {
  const before = cpuSeconds(pid);
  await sleep(seconds * 1000);
  return ((cpuSeconds(pid) - before) / seconds) * 100;
}

async function withInspectable(
  who: Contestant,
  place: Workplace,
  body: (server: RunningServer) => Promise<void>,
): Promise<void> {
  const server = await startContestant(who, place, { nodeArguments: inspectable });
  try {
    await body(server);
  } finally {
    await discard(server);
  }
}

const GROUPS = 10_000;
const groupStreams = Array.from({ length: 10 }, (_, i) => `groups-${i}`);

/** 10,000 groups on ten streams of one partition, each with one event acknowledged and one to come. */
async function makeGroups(on: RunningServer, who: Contestant): Promise<void> {
  const url = apiUrl(on);
  for (const stream of groupStreams) {
    await createTopic(on.port, who, stream, 1);
    await load('fill', { url, stream, events: 2, keys: 1 });
    const names = Array.from({ length: GROUPS / groupStreams.length }, (_, i) => `group-${i}`);
    const worker = async (): Promise<void> => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        const path = `/v1/streams/${stream}/groups/${name}`;
        const pulled = await api<{ deliveries: { token: string }[] }>(url, 'POST', `${path}/pull`, {
          max: 1,
          waitMs: 5000,
        });
        const items = pulled.deliveries.map(({ token }) => ({ token, verdict: { kind: 'ack' } }));
        const { results } = await api<{ results: { ok: boolean }[] }>(url, 'POST', `${path}/answers`, { items });
        if (results.length !== 1 || results[0]?.ok !== true) throw new Error(`${path}: ${JSON.stringify(results)}`);
      }
    };
    await Promise.all(Array.from({ length: 32 }, worker));
  }
}

export const eventOwnRows: readonly OwnRow[] = [
  {
    id: 'delayed',
    title: '100,000 events that are due in an hour, in a group',
    who: durable,
    roundsMax: 3,
    run: (who, place, _sizes, add) =>
      withInspectable(who, place, async (server) => {
        const url = apiUrl(server);
        await fillCaches(server, who);
        await createTopic(server.port, who, 'delayed', 1);
        const before = await settledMemory(server);
        await load('fill', { url, stream: 'delayed', events: 100_000, keys: 10_000, delayMs: 3_600_000 });
        const session = await hold(url, 'delayed', {}, 1, 1000);
        await sleep(500);
        await until(url, 'delayed', (status) => sumOf(status, 'delayed') === 100_000);
        const after = await settledMemory(server);
        const idle = await cpuPercent(server.pid, 5);
        await session.close();
        add('delayed', '100,000 events that are due in an hour, in a group', {
          ...grown(before, after),
          'idle CPU %': idle,
        });
      }),
  },
  {
    id: 'in-flight',
    title: '1,000,000 events of 100,000 keys in flight, 16 sessions that answer nothing',
    who: durable,
    roundsMax: 1,
    run: (who, place, _sizes, add) =>
      withInspectable(who, place, async (server) => {
        const url = apiUrl(server);
        await fillCaches(server, who);
        await createTopic(server.port, who, 'held', 4);
        await load('fill', { url, stream: 'held', events: 1_000_000, keys: 100_000 });
        const before = await settledMemory(server);
        const settings: GroupRequest = { ordering: 'key', window: 10, policy: { timeoutMs: 600_000 } };
        const sessions = await hold(url, 'held', settings, 16, 100_000);
        await sleep(500);
        await until(url, 'held', (status) => sumOf(status, 'out') === 1_000_000);
        const after = await settledMemory(server);
        add('in-flight', '1,000,000 events of 100,000 keys in flight, 16 sessions that answer nothing', {
          ...grown(before, after),
        });
        await sessions.close();
      }),
  },
  {
    id: 'groups',
    title: '10,000 groups that have nothing to do; then kill -9 and a start',
    who: durable,
    roundsMax: 3,
    async run(who, place, _sizes, add) {
      let dataDir = '';
      const first = await startContestant(who, place, { nodeArguments: inspectable });
      try {
        dataDir = first.dataDir;
        await fillCaches(first, who);
        const before = await settledMemory(first);
        await makeGroups(first, who);
        const after = await settledMemory(first);
        const idle = await cpuPercent(first.pid, 10);
        add('idle-groups', '10,000 groups that have nothing to do', { ...grown(before, after), 'idle CPU %': idle });
        await first.kill();
        const second = await startContestant(who, place, { dataDir });
        try {
          const asked = performance.now();
          const last = groupStreams.at(-1) as string;
          const { partitions } = await groupStatus(apiUrl(second), last, 'group-999');
          const seconds = (second.startMs + performance.now() - asked) / 1000;
          const { groups } = await api<{ groups: GroupStatus[] }>(apiUrl(second), 'GET', '/v1/groups');
          const floors = groups.filter(({ group }) => group !== 'g').reduce((sum, one) => sum + sumOf(one, 'floor'), 0);
          if (partitions.length === 0 || floors !== GROUPS)
            throw new Error(`${floors} events of ${GROUPS} are acknowledged after the restart`);
          add('group-recovery', 'kill -9 with 10,000 groups, then process start to the first answer of a group', {
            s: seconds,
          });
        } finally {
          await second.stop();
        }
      } finally {
        await first.kill().catch(() => undefined);
        await discard({ ...first, stop: () => Promise.resolve() });
      }
    },
  },
];
