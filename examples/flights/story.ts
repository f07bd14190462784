/** Flights as events: published, charted by a consumer with a bug, given again after the fix. May be played again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, HadronError } from '@hadron/client';
import { DelayChart } from './chart.ts';
import { loadFlights } from './data.ts';
import { watchDelays } from './delays.ts';
import { flightEvents } from './events.ts';
import { type RegionOf, regionsOfRelease1, regionsOfRelease2 } from './regions.ts';

/** What it came to. */
export interface Outcome {
  readonly published: number;
  readonly charted: number;
  readonly dead: ReadonlyMap<string, number>;
  readonly redriven: number;
}

export async function flights(client: Client, say: (text: string) => void): Promise<Outcome> {
  const chart = new DelayChart();

  const started = performance.now();
  const published = await publishFlights(client);
  const seconds = ((performance.now() - started) / 1000).toFixed(2);
  say(`${published} flights published to the stream "flights" and durable, in ${seconds} s.`);

  say('\nRelease 1 of the consumer charts them. It knows fifty states.\n');
  await whileRunning(client, chart, regionsOfRelease1);
  say(chart.toString());

  // #region dead-letters
  const letters = await client.admin.deadLetters('flights', { group: 'delays' }, 10_000);
  const dead = Map.groupBy(letters, ({ reason }) => reason);
  for (const [reason, { length }] of dead) say(`${length} dead letters: ${reason}`);
  // #endregion

  say('\nRelease 2 knows the territories, and the dead letters are given to the group again.\n');
  // #region redrive
  const redriven = await client.admin.redrive('flights', { group: 'delays' });
  // #endregion
  await whileRunning(client, chart, regionsOfRelease2);
  say(chart.toString());
  say(`\n${await client.admin.countDeadLetters('flights', { group: 'delays' })} dead letters are left.`);
  const counts = new Map([...dead].map(([reason, { length }]) => [reason, length]));
  return { published, charted: chart.size, dead: counts, redriven };
}

async function publishFlights(client: Client): Promise<number> {
  // #region publish
  const stream = client.stream('flights', flightEvents);
  const events = loadFlights().map((data) => ({ type: 'flight.departed', data, subject: data.origin }) as const);
  const { length } = await stream.publishMany(events); // resolves when all are on stable storage
  // #endregion
  return length;
}

/** Runs the consumer until its group has settled everything. */
async function whileRunning(client: Client, chart: DelayChart, regionOf: RegionOf): Promise<void> {
  const stop = new AbortController();
  const running = watchDelays(client, chart, regionOf, stop.signal);
  await Promise.race([running, settled(client)]); // a consumer that cannot start rejects
  stop.abort();
  await running;
}

async function settled(client: Client): Promise<void> {
  for (;;) {
    try {
      const { partitions } = await client.admin.group('flights', 'delays');
      if (partitions.every(({ lag }) => lag === 0)) return;
    } catch (error) {
      if (!(error instanceof HadronError) || error.code !== 'GROUP_NOT_FOUND') throw error; // not made yet
    }
    await sleep(20);
  }
}
