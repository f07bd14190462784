/** The input of the demo: data sets of the npm package vega-datasets, one topic each, one record per row. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repoRoot } from '../compat/lib/shell.ts';

export interface Row {
  readonly key: string;
  readonly value: string;
}

export interface DataSet {
  readonly topic: string;
  readonly file: string;
  readonly rows: readonly Row[];
  readonly bytes: number;
  readonly hash: string;
}

/** Topic, file, and what the key of a record is: a field of a JSON row, the number of a column of a CSV row. */
const FILES: readonly (readonly [topic: string, file: string, key: string | number])[] = [
  ['flights', 'flights-20k.json', 'origin'],
  ['zipcodes', 'zipcodes.csv', 0],
  ['species', 'species.csv', 0],
  ['birdstrikes', 'birdstrikes.csv', 0],
  ['weather', 'seattle-weather-hourly-normals.csv', 0],
  ['football', 'football.json', 'home_team'],
  ['movies', 'movies.json', 'Title'],
];

/** @throws Error when the package is not installed */
export function loadDataSets(): DataSet[] {
  const folder = join(repoRoot, 'node_modules/vega-datasets/data');
  if (!existsSync(folder)) throw new Error('vega-datasets is not installed: run `npm ci`, then try again');
  return FILES.map(([topic, file, key]) => {
    const text = readFileSync(join(folder, file), 'utf8');
    const rows = typeof key === 'string' ? jsonRows(text, key) : csvRows(text, key);
    const bytes = rows.reduce((sum, row) => sum + Buffer.byteLength(row.key) + Buffer.byteLength(row.value), 0);
    return { topic, file, rows, bytes, hash: hashOf(rows) };
  });
}

function jsonRows(text: string, key: string): Row[] {
  const rows = JSON.parse(text) as Record<string, unknown>[];
  return rows.map((row) => ({ key: String(row[key]), value: JSON.stringify(row) }));
}

function csvRows(text: string, key: number): Row[] {
  const [, ...lines] = text.split(/\r?\n/).filter((line) => line !== '');
  return lines.map((line) => ({ key: line.split(',')[key]!, value: line }));
}

/** Over all rows in their order; a row that is not there counts as such. */
export function hashOf(rows: readonly (Row | undefined)[]): string {
  const hash = createHash('sha256');
  for (const row of rows) hash.update(row === undefined ? '\0missing\n' : `${row.key}\0${row.value}\n`);
  return hash.digest('hex').slice(0, 16);
}
