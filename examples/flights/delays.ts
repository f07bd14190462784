/** The consumer: puts every departure into the chart. Flights of one airport come one after another, airports side by side. */
import type { Client } from '@hadron/client';
import type { DelayChart } from './chart.ts';
import { flightEvents } from './events.ts';
import type { RegionOf } from './regions.ts';

/** Resolves when `signal` has aborted and what was in hand is done. */
export async function watchDelays(
  client: Client,
  chart: DelayChart,
  regionOf: RegionOf,
  signal: AbortSignal,
): Promise<void> {
  // #region run
  const flights = client.stream('flights', flightEvents);
  await flights.run(
    { group: 'delays', concurrency: 50, policy: { maxDeliveries: 3, backoff: ['100ms'] }, signal },
    {
      'flight.departed': (m) => {
        const { origin, scheduled, delayMinutes } = m.data; // typed, and checked
        const region = regionOf(origin); // throws where it knows none: tried again, then a dead letter
        chart.add(m.id, { region, hour: Number(scheduled.slice(11, 13)), delayMinutes });
      },
    },
  );
  // #endregion
}
