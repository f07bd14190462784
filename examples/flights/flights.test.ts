/** The story runs on a real server; what the dead letters were, and that each airport's flights came in order. */
import fs from 'node:fs';
import { type Client, connect } from '@hadron/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ServerProcess, startServerProcess, temporaryFolder } from '../../tests/e2e/lib/server-process.ts';
import { DelayChart } from './chart.ts';
import { loadFlights, loadStates } from './data.ts';
import { flightEvents } from './events.ts';
import { flights } from './story.ts';

const folder = temporaryFolder('flights');
let server: ServerProcess;
let client: Client;

beforeAll(async () => {
  server = await startServerProcess(folder);
  client = connect({ source: '/test', url: `http://127.0.0.1:${server.httpPort}` });
});

afterAll(async () => {
  await client.close();
  await server.kill();
  fs.rmSync(folder, { recursive: true });
});

test('flights of airports that the first release does not know end as dead letters, and are charted by the second', async () => {
  const said: string[] = [];
  const outcome = await flights(client, (text) => said.push(text));
  const states = loadStates();
  const poison = loadFlights().filter(({ origin }) => ['PR', 'VI'].includes(states.get(origin) ?? ''));
  expect(poison.length).toBe(15);
  expect(outcome).toEqual({
    published: 2_000,
    charted: 2_000,
    dead: new Map([
      ['no region for PR', 10],
      ['no region for VI', 5],
    ]),
    redriven: 15,
  });
  const text = said.join('\n');
  const [first, second] = said.filter((part) => part.includes('Northeast'));
  expect(first).not.toContain('Territories');
  expect(second).toMatch(/Territories.* 15 flights/);
  expect(text).toContain('10 dead letters: no region for PR');
  expect(text).toContain('\n0 dead letters are left.');
}, 60_000);

test('flights of one airport come one after another, in order; airports side by side', async () => {
  const order = new Map<string, string[]>();
  const working = new Set<string>();
  let [handled, sideBySide] = [0, 0];
  const stop = new AbortController();
  const problems: string[] = [];
  await client
    .stream('flights', flightEvents)
    .run({ group: 'order', concurrency: 20, signal: stop.signal }, async (m) => {
      const { origin, scheduled } = m.data;
      if (working.has(origin)) problems.push(`two of ${origin} at once`);
      working.add(origin);
      sideBySide = Math.max(sideBySide, working.size);
      await new Promise(setImmediate);
      working.delete(origin);
      order.set(origin, [...(order.get(origin) ?? []), scheduled]);
      if (++handled === 2_000) stop.abort();
    });
  expect(problems).toEqual([]);
  expect(sideBySide).toBeGreaterThan(5);
  for (const times of order.values()) expect(times).toEqual(times.toSorted());
}, 60_000);

test('the chart counts an event once, and shades by the mean', () => {
  const chart = new DelayChart();
  for (let i = 0; i < 3; i++) chart.add('same', { region: 'West', hour: 0, delayMinutes: 40 });
  chart.add('other', { region: 'West', hour: 23, delayMinutes: 4 });
  expect(chart.size).toBe(2);
  expect(chart.toString().split('\n')[1]).toBe(`West  ██${' '.repeat(44)}░░     2 flights,  22.0 min late`);
});
