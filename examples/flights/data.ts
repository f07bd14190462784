/** Two thousand real departures of early 2001, and where American airports are: data sets of the package vega-datasets. */
import { readFileSync } from 'node:fs';

export interface Flight {
  readonly origin: string;
  readonly destination: string;
  readonly scheduled: string;
  readonly delayMinutes: number;
  readonly distanceMiles: number;
}

interface Row {
  readonly date: string;
  readonly delay: number;
  readonly distance: number;
  readonly origin: string;
  readonly destination: string;
}

const read = (file: string): string =>
  readFileSync(new URL(`../../node_modules/vega-datasets/data/${file}`, import.meta.url), 'utf8');

/** In the order of their dates. */
export function loadFlights(): Flight[] {
  return (JSON.parse(read('flights-2k.json')) as Row[]).map(({ date, delay, distance, origin, destination }) => ({
    origin,
    destination,
    scheduled: `${date.replaceAll('/', '-').replace(' ', 'T')}:00`,
    delayMinutes: delay,
    distanceMiles: distance,
  }));
}

/** The state (or territory) of an airport, by its code. */
export function loadStates(): ReadonlyMap<string, string> {
  const lines = read('airports.csv').trim().split(/\r?\n/).slice(1);
  // Names of airports may have commas in quotes; what is looked for stands at the end.
  return new Map(lines.map((line) => [line.slice(0, 3), line.split(',').at(-4) ?? '']));
}
