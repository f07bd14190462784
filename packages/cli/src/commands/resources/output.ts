/** How resources are printed. */
import type { Column, Resource } from '@hadron/contracts/resources';
import { type Io, printJson, printTable, say } from '../../io.ts';

export const FORMATS = ['table', 'wide', 'yaml', 'json', 'name'] as const;
export type Format = (typeof FORMATS)[number];

export interface KindInfo {
  readonly kind: string;
  readonly columns: readonly Column[];
}

/** `stream/orders`, as it is written to name one. */
export const nameOf = ({ kind, metadata }: Resource): string => `${kind.toLowerCase()}/${metadata.name}`;

/** One resource that was asked for by name, or a list. */
export async function printResources(
  io: Io,
  format: Format,
  kind: KindInfo,
  items: readonly Resource[],
  single: boolean,
): Promise<void> {
  switch (format) {
    case 'json':
      printJson(io, single ? items[0] : { apiVersion: 'v1', kind: 'List', items });
      return;
    case 'yaml':
      io.stdout.write((await import('./yaml.ts')).asYaml(items));
      return;
    case 'name':
      for (const item of items) io.stdout.write(`${nameOf(item)}\n`);
      return;
    case 'table':
    case 'wide': {
      if (items.length === 0) {
        say(io, `No ${kind.kind} yet.`);
        return;
      }
      const columns = columnsOf(kind, format);
      await printTable(
        io,
        columns.map((c) => c.name),
        items.map((item) => columns.map((c) => c.value(item))),
      );
    }
  }
}

interface PrintedColumn {
  readonly name: string;
  readonly value: (item: Resource) => string;
}

export function columnsOf({ columns }: KindInfo, format: Format): PrintedColumn[] {
  const shown = columns.filter((c) => format === 'wide' || c.wide !== true);
  return [
    { name: 'name', value: (item) => item.metadata.name },
    ...shown.map(({ name, path }) => ({ name, value: (item: Resource) => cell(at(item, path)) })),
    { name: 'ready', value: (item) => item.status.conditions.find((c) => c.type === 'Ready')?.status ?? 'Unknown' },
    { name: 'age', value: (item) => age(item.metadata.creationTimestamp) },
    ...(format === 'wide' ? [{ name: 'labels', value: (item: Resource) => labels(item) }] : []),
  ];
}

const at = (item: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((value, step) => (value as Record<string, unknown> | undefined)?.[step], item);

function cell(value: unknown): string {
  if (value === undefined || value === null) return '-';
  if (Array.isArray(value)) return value.map(cell).join(',');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const labels = ({ metadata }: Resource): string =>
  Object.entries(metadata.labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || '-';

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
] as const;

function age(timestamp: string | undefined): string {
  if (timestamp === undefined) return '-';
  const ms = Math.max(0, Date.now() - Date.parse(timestamp));
  for (const [unit, size] of UNITS) if (ms >= 2 * size) return `${Math.floor(ms / size)}${unit}`;
  return `${Math.floor(ms / 1000)}s`;
}
