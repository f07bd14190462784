/**
 * `npm run demo`: real data through a real server that is killed with -9 in the middle.
 *
 * Data sets of vega-datasets go in as keyed records with one client library (@platformatic/kafka), a consumer group of two
 * members of another one (kafkajs) reads them, the server is killed when half is acknowledged and started again on the
 * same folder. At the end each record read back must equal the one that went in: count and hash per topic. Exit code 0
 * only then. Takes about 15 seconds, 60 at most, and leaves nothing behind.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Admin, Producer } from '@platformatic/kafka';
import kafkajs, { type Consumer, type IHeaders } from 'kafkajs';
import { quietPort, Server } from '../crash/server.ts';
import { type DataSet, hashOf, loadDataSets, type Row } from './data-sets.ts';
import { type Bar, number, paint, Screen, table } from './screen.ts';

const PARTITIONS = 4;
const BATCH = 500;
/** Between two batches, so that a person can follow. */
const PAUSE_MS = 30;
const LIMIT_MS = 55_000;
const RETRY_MS = 50;
const GROUP = 'demo-readers';

/** What the consumers were given, per topic; the header `row` says which row of the file a record is. */
interface Received {
  readonly rows: (Row | undefined)[];
  count: number;
  /** Given a second time, because the kill came between reading and committing. */
  again: number;
  /** There twice at different offsets, or at a place where nothing was sent. */
  wrong: number;
  readonly offsetOf: Map<number, string>;
}

const screen = new Screen();
const startedAt = performance.now();
const dataDir = mkdtempSync(join(tmpdir(), 'hadron-demo-'));
const server = new Server(dataDir, await quietPort());
const cleanUp = (): void => {
  rmSync(dataDir, { recursive: true, force: true });
  rmSync(server.logFile, { force: true });
};
const end = async (code: number): Promise<never> => {
  if (server.running) await server.end('SIGKILL');
  cleanUp();
  process.exit(code);
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    screen.leaveBars();
    void end(130);
  });
}
// kafkajs now and then sets a timer for a moment that is past. Node tells of it; nothing follows from it.
process.removeAllListeners('warning');

try {
  const ok = await demo();
  await end(ok ? 0 : 1);
} catch (error) {
  screen.leaveBars();
  screen.say(`\n  ${paint('red', '✗')}  ${error instanceof Error ? error.message : String(error)}`);
  await end(1);
}

async function demo(): Promise<boolean> {
  const step = (title: string, text: string): void =>
    screen.say(`  ${paint('cyan', '●')}  ${paint('bold', title.padEnd(10))} ${text}`);
  screen.say(`\n  ${paint('bold', 'Hadron demo')}: real data through a server that is killed in the middle\n`);

  const sets = loadDataSets();
  const total = sets.reduce((sum, { rows }) => sum + rows.length, 0);
  const bytes = sets.reduce((sum, set) => sum + set.bytes, 0);
  step(
    'data',
    `${number(total)} records, ${(bytes / 1e6).toFixed(1)} MB: ${sets.map(({ topic }) => topic).join(', ')}`,
  );

  const { readyMs } = await server.start({});
  step(
    'server',
    `hadron start, ready in ${readyMs} ms on ${server.bootstrap}; every acknowledgement waits for the disk`,
  );

  const admin = new Admin({ clientId: 'demo', bootstrapBrokers: [server.bootstrap] });
  await admin.createTopics({ topics: sets.map(({ topic }) => topic), partitions: PARTITIONS, replicas: 1 });
  await admin.close();
  step('topics', `${sets.length} topics, ${PARTITIONS} partitions each`);

  const received = new Map(sets.map(({ topic, rows }) => [topic, newReceived(rows.length)]));
  const produced: Bar = { title: 'produced', total, style: 'cyan', done: 0 };
  const consumed: Bar = { title: 'consumed', total, style: 'green', done: 0 };
  const shares = [0, 0];
  const members = await Promise.all([0, 1].map((n) => member(sets, received, consumed, shares, n)));
  step('clients', `@platformatic/kafka produces (idempotent), two members of kafkajs consume as group ${GROUP}\n`);

  screen.showBars([produced, consumed]);
  const killed = killAt(produced, total / 2);
  await inTime(Promise.all([produceAll(sets, produced), killed]), 'producing');
  await inTime(untilAllRead(consumed, received, sets), 'reading');
  screen.leaveBars();
  await Promise.race([Promise.all(members.map((consumer) => consumer.disconnect())), sleep(3_000)]);
  const stop = await server.end('SIGTERM');

  return report(sets, received, shares, stop.code === 0);
}

function newReceived(rows: number): Received {
  return { rows: new Array<Row | undefined>(rows).fill(undefined), count: 0, again: 0, wrong: 0, offsetOf: new Map() };
}

/** One member of the group. It goes on by itself when the server is gone and back. */
async function member(
  sets: readonly DataSet[],
  received: ReadonlyMap<string, Received>,
  bar: Bar,
  shares: number[],
  n: number,
): Promise<Consumer> {
  const kafka = new kafkajs.Kafka({
    clientId: `demo-reader-${n + 1}`,
    brokers: [server.bootstrap],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: RETRY_MS, maxRetryTime: 250, retries: 1_000_000 },
  });
  const consumer = kafka.consumer({
    groupId: GROUP,
    maxWaitTimeInMs: 100,
    heartbeatInterval: 500,
    sessionTimeout: 10_000,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: sets.map(({ topic }) => topic), fromBeginning: true });
  await consumer.run({
    eachBatch: async ({ batch: { topic, partition, messages } }) => {
      const into = received.get(topic)!;
      for (const { key, value, headers, offset } of messages) {
        const isNew = take(into, rowOf(headers), `${partition}/${offset}`, { key: String(key), value: String(value) });
        if (!isNew) continue;
        bar.done += 1;
        shares[n]! += 1;
      }
    },
  });
  return consumer;
}

/** @returns whether it is the first time that this record is read */
function take(into: Received, row: number, at: string, record: Row): boolean {
  const before = into.offsetOf.get(row);
  if (before === at) into.again += 1;
  else if (before !== undefined || !(row >= 0 && row < into.rows.length)) into.wrong += 1;
  else {
    into.offsetOf.set(row, at);
    into.rows[row] = record;
    into.count += 1;
    return true;
  }
  return false;
}

function rowOf(headers: IHeaders | undefined): number {
  return Number(headers?.['row'] ?? -1);
}

/** All topics side by side, a batch of each in turn, each acknowledged before the next. */
async function produceAll(sets: readonly DataSet[], bar: Bar): Promise<void> {
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({
    clientId: 'demo-producer',
    bootstrapBrokers: [server.bootstrap],
    idempotent: true,
    retries: true,
    retryDelay: RETRY_MS,
  });
  const header = Buffer.from('row');
  const rowsMax = Math.max(...sets.map(({ rows }) => rows.length));
  for (let from = 0; from < rowsMax; from += BATCH) {
    for (const { topic, rows } of sets) {
      const slice = rows.slice(from, from + BATCH);
      if (slice.length === 0) continue;
      const messages = slice.map(({ key, value }, i) => ({
        topic,
        key: Buffer.from(key),
        value: Buffer.from(value),
        headers: new Map([[header, Buffer.from(String(from + i))]]),
      }));
      await producer.send({ messages, acks: -1 });
      bar.done += slice.length;
      await sleep(PAUSE_MS);
    }
  }
  await producer.close();
}

/** The point of it all: no warning, no goodbye, and a new server on the same folder right after. */
async function killAt(bar: Bar, records: number): Promise<void> {
  while (bar.done < records) await sleep(5);
  await sleep(7); // into the middle of a request
  const acknowledged = bar.done;
  await server.kill();
  screen.say(
    `  ${paint('red', '✗')}  ${paint(['bold', 'red'], 'kill -9')}    at ${number(acknowledged)} acknowledged records`,
  );
  const { readyMs, recoveryMs, frames } = await server.start({});
  const recovery = `recovery ${Math.round(recoveryMs)} ms, ${number(frames)} frames read again`;
  screen.say(
    `  ${paint('green', '✓')}  ${paint('bold', 'back')}       after ${readyMs} ms on the same folder (${recovery})\n`,
  );
}

async function untilAllRead(
  bar: Bar,
  received: ReadonlyMap<string, Received>,
  sets: readonly DataSet[],
): Promise<void> {
  while (sets.some(({ topic, rows }) => received.get(topic)!.count < rows.length)) await sleep(20);
  bar.done = bar.total;
  await sleep(300); // what comes twice would come now
}

function report(
  sets: readonly DataSet[],
  received: ReadonlyMap<string, Received>,
  shares: readonly number[],
  stopped: boolean,
): boolean {
  const rows = sets.map(({ topic, file, rows: sent, hash }) => {
    const { rows: read, count, wrong } = received.get(topic)!;
    const hashRead = hashOf(read);
    const equal = hash === hashRead && count === sent.length && wrong === 0;
    return [topic, file, number(sent.length), number(count), hash, hashRead, equal ? 'equal' : 'DIFFERENT'];
  });
  screen.say();
  const [head, ...lines] = table(['topic', 'file', 'sent', 'read', 'hash sent', 'hash read', ''], rows);
  screen.say(head);
  for (const line of lines) {
    screen.say(line.replace(/equal$/, paint('green', 'equal')).replace(/DIFFERENT$/, paint('red', 'DIFFERENT')));
  }
  const ok = rows.every((row) => row.at(-1) === 'equal');
  const again = [...received.values()].reduce((sum, r) => sum + r.again, 0);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  screen.say(
    `\n     The two members read ${number(shares[0]!)} and ${number(shares[1]!)} records; ${number(again)} were given again after the kill.`,
  );
  if (!stopped) screen.say(`     ${paint('red', 'The server did not stop cleanly.')}`);
  const verdict = ok
    ? paint('green', '✓  Every record read back equals what went in.')
    : paint('red', '✗  What was read back is not what went in.');
  screen.say(`\n  ${verdict}  ${paint('dim', `${seconds} s`)}\n`);
  return ok && stopped;
}

async function inTime<T>(work: Promise<T>, what: string): Promise<T> {
  const left = LIMIT_MS - (performance.now() - startedAt);
  const late = sleep(left).then(() => {
    throw new Error(`${what} took longer than a minute in all; the last the server said:\n${server.lastWords()}`);
  });
  return await Promise.race([work, late]);
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
