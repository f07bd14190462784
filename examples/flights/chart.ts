/** Delays by region and hour as a picture in characters. Pure: what was added is all it knows. */

const HOURS = 24;
const SHADES: readonly (readonly [fromMinutes: number, shade: string])[] = [
  [30, '█'],
  [15, '▓'],
  [8, '▒'],
  [3, '░'],
  [-Infinity, '·'],
];

export interface Departure {
  readonly region: string;
  readonly hour: number;
  readonly delayMinutes: number;
}

export class DelayChart {
  /** By the identity of the event: one that is delivered twice counts once. */
  readonly #departures = new Map<string, Departure>();

  add(id: string, departure: Departure): void {
    this.#departures.set(id, departure);
  }

  get size(): number {
    return this.#departures.size;
  }

  /** One row per region, one column per hour, darker where flights are later. */
  toString(): string {
    const regions = Map.groupBy(this.#departures.values(), ({ region }) => region);
    const width = Math.max(...[...regions.keys()].map((region) => region.length));
    const hours = Array.from({ length: HOURS / 3 }, (_, i) => String(i * 3).padEnd(6)).join('');
    const rows = [...regions]
      .sort(([, a], [, b]) => b.length - a.length)
      .map(([region, all]) => {
        const byHour = Map.groupBy(all, ({ hour }) => hour);
        const cells = Array.from({ length: HOURS }, (_, hour) => shade(byHour.get(hour)).repeat(2)).join('');
        const summary = `${String(all.length).padStart(6)} flights, ${mean(all).toFixed(1).padStart(5)} min late`;
        return `${region.padEnd(width)}  ${cells}${summary}`;
      });
    const legend = SHADES.slice(0, -1).map(([from, sign]) => `${sign} ${from}`);
    return [
      `${' '.repeat(width)}  ${hours}`.trimEnd(),
      ...rows,
      `${' '.repeat(width)}  minutes late, by hour of departure: ${legend.reverse().join('  ')} and more`,
    ].join('\n');
  }
}

function shade(departures: readonly Departure[] | undefined): string {
  if (departures === undefined) return ' ';
  const late = mean(departures);
  return SHADES.find(([from]) => late >= from)?.[1] ?? ' ';
}

const mean = (departures: readonly Departure[]): number =>
  departures.reduce((sum, { delayMinutes }) => sum + delayMinutes, 0) / departures.length;
