/** Settings of a group, from flags and to people. */
import type { GroupRequest, GroupSettings, RateLimit, Start } from '@hadron/contracts';
import { InvalidArgumentError } from 'commander';
import { duration, type FilterOptions, filtersOf } from '../../options.ts';

export interface SettingsOptions extends Omit<FilterOptions, 'filter'> {
  /** False: --no-filter. */
  readonly filter?: readonly string[] | false;
  readonly window?: number;
  readonly timeout?: number;
  readonly maxProcessing?: number;
  readonly backoff?: readonly number[];
  readonly maxDeliveries?: number;
  readonly deadLetterStream?: string;
  /** False: --no-rate. */
  readonly rate?: RateLimit | false;
  readonly holdRetention?: boolean;
}

/** `50/1s`, `5/1s/key`: for an option of a command. */
export function rate(text: string): RateLimit {
  const [, count, per, by = 'group'] = /^([1-9]\d{0,8})\/([^/]+)(?:\/(group|key))?$/.exec(text) ?? [];
  if (count === undefined || per === undefined)
    throw new InvalidArgumentError('expected COUNT/TIME, such as 50/1s, or 5/1s/key for each key');
  return { count: Number(count), perMs: duration(/^\d/.test(per) ? per : `1${per}`), by: by as 'group' | 'key' };
}

/** Only what was asked for. @throws HadronError FILTER_INVALID */
export async function settingsOf(options: SettingsOptions): Promise<GroupRequest> {
  const { filter, sql, window, timeout, maxProcessing, backoff, maxDeliveries, deadLetterStream, holdRetention } =
    options;
  const filters =
    filter === false
      ? []
      : await filtersOf({ ...(filter === undefined ? {} : { filter }), ...(sql === undefined ? {} : { sql }) });
  return {
    window,
    filters,
    policy: {
      timeoutMs: timeout,
      maxProcessingMs: maxProcessing,
      backoffMs: backoff,
      maxDeliveries,
      deadLetterStream,
    },
    rateLimit: options.rate === false ? undefined : options.rate,
    holdRetention,
  };
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** `90s` is `90s`, `60s` is `1m`: the largest unit that loses nothing. */
export function durationText(ms: number): string {
  const [unit, size] = UNITS.find(([, each]) => ms >= each && ms % each === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

export function startText(start: Start): string {
  if (start.from === 'offset') return `offset ${start.offset}`;
  return start.from === 'time' ? new Date(start.timeMs).toISOString() : start.from;
}

/** Names and values, in the words of the flags. */
export function settingsRows(stream: string, settings: GroupSettings): [string, string][] {
  const { durable, start, ordering, window, filters, policy, rateLimit, holdRetention } = settings;
  const { timeoutMs, maxProcessingMs, backoffMs, maxDeliveries, deadLetterStream } = policy;
  const limit =
    rateLimit === undefined ? 'none' : `${rateLimit.count}/${durationText(rateLimit.perMs)} by ${rateLimit.by}`;
  return [
    ['durable', durable ? 'yes' : 'no: gone with its last member'],
    ['began', startText(start)],
    ['ordering', ordering],
    ['window', String(window)],
    ['filter', filters.length === 0 ? 'none' : filters.map((filter) => JSON.stringify(filter)).join(' and ')],
    ['timeout', `${durationText(timeoutMs)}, extended to at most ${durationText(maxProcessingMs)}`],
    ['backoff', backoffMs.map(durationText).join(', ')],
    [
      'max deliveries',
      maxDeliveries === 0 ? 'no end' : `${maxDeliveries}, then to ${deadLetterStream ?? `${stream}.dead`}`,
    ],
    ['rate', limit],
    ['hold retention', holdRetention ? 'yes' : 'no'],
  ];
}
