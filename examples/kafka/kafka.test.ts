/** The stream `flights` for clients that know only Kafka: kafkajs, and kcat where it is installed. */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';
import { type Client, connect } from '@hadron/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { which } from '../../tests/compat/lib/shell.ts';
import { type ServerProcess, startServerProcess, temporaryFolder } from '../../tests/e2e/lib/server-process.ts';
import { loadFlights } from '../flights/data.ts';
import { flightEvents } from '../flights/events.ts';
import { produceFlight, readRecords } from './both-ways.ts';

const folder = temporaryFolder('kafka-example');
const run = promisify(execFile);
const some = loadFlights().slice(0, 3);
let server: ServerProcess;
let client: Client;
let brokers: string[];

beforeAll(async () => {
  server = await startServerProcess(folder);
  brokers = [`127.0.0.1:${server.kafkaPort}`];
  client = connect({ source: '/airport', url: `http://127.0.0.1:${server.httpPort}` });
  await client
    .stream('flights', flightEvents)
    .publishMany(
      some.map((data, i) => ({ type: 'flight.departed', data, subject: data.origin, id: `f${i}` }) as const),
    );
});

afterAll(async () => {
  await client.close();
  await server.kill();
  fs.rmSync(folder, { recursive: true });
});

test('kafkajs sees the subject as key, attributes as headers, data as value', async () => {
  const records = await readRecords(brokers, 'flights', 3);
  expect(records.map(({ key }) => key)).toEqual(['LAX', 'SJC', 'IAH']);
  expect(records[0]).toEqual({
    partition: 0,
    offset: '0',
    key: 'LAX',
    headers: {
      ce_specversion: '1.0',
      ce_id: 'f0',
      ce_source: '/airport',
      ce_type: 'flight.departed',
      ce_time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      ce_subject: 'LAX',
      'content-type': 'application/json',
    },
    value: JSON.stringify(some[0]),
  });
});

test.skipIf(which('kcat') === undefined)(
  'kcat reads them, and what it produces is an event (skipped where there is no kcat)',
  async () => {
    const format = ['-f', '%k %h %s\\n'];
    const read = await run('kcat', [
      '-b',
      brokers[0]!,
      '-t',
      'flights',
      '-C',
      '-o',
      'beginning',
      '-e',
      '-q',
      ...format,
    ]);
    const lines = read.stdout.trim().split('\n');
    expect(lines.length).toBeGreaterThanOrEqual(3);
    expect(lines[0]).toMatch(
      /^LAX ce_specversion=1.0,ce_id=f0,ce_source=\/airport,ce_type=flight.departed,.* \{"origin":"LAX"/,
    );

    fs.writeFileSync(`${folder}/flight.json`, JSON.stringify(some[0]));
    const attributes = ['ce_specversion=1.0', 'ce_id=from-kcat', 'ce_source=/kcat', 'ce_type=flight.departed'];
    const headers = [...attributes, 'content-type=application/json'];
    const flags = headers.flatMap((header) => ['-H', header]);
    await run('kcat', ['-b', brokers[0]!, '-t', 'flights', '-P', '-k', 'LAX', ...flags, `${folder}/flight.json`]);
    expect(await consumed('from-kcat')).toMatchObject({ source: '/kcat', data: some[0] });
  },
);

test('what kafkajs produces is an event for a group, typed and checked', async () => {
  const id = await produceFlight(brokers, 'flights');
  expect(await consumed(id)).toMatchObject({
    source: '/kafkajs',
    subject: 'SJU',
    data: { origin: 'SJU', destination: 'JFK' },
  });
});

async function consumed(id: string) {
  for await (const m of client.stream('flights', flightEvents).consume({ group: `looks-for-${id}` })) {
    await m.ack();
    if (m.id === id) return { source: m.source, subject: m.subject, data: m.data };
  }
  return undefined;
}
