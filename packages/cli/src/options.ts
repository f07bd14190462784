/** Options that several commands share, so that they are spelt and explained alike. */
import type { Filter, Start } from '@hadron/contracts';
import type { SettingFlags } from '@hadron/server';
import { type Command, Help, type HelpConfiguration, InvalidArgumentError, Option } from 'commander';
import { CommandFailure } from './failure.ts';
import type { Io, OutputFormat } from './io.ts';

export interface OutputOptions {
  readonly output: OutputFormat;
}

const SHARED = 'Server and output:';

/** In `--help` what many commands share stands behind what is particular to one. */
export const sharedLast: HelpConfiguration = {
  groupItems<T extends Command | Option>(unsorted: T[], visible: T[], groupOf: (item: T) => string): Map<string, T[]> {
    const groups = new Help().groupItems(unsorted, visible, groupOf);
    const shared = groups.get(SHARED);
    if (shared !== undefined && groups.delete(SHARED)) groups.set(SHARED, shared);
    return groups;
  },
};

export function outputOption(command: Command): Command {
  const option = new Option('--output <format>', 'how results are printed').choices(['table', 'json']).default('table');
  return command.addOption(option.helpGroup(SHARED));
}

/** What `--help` ends with. */
export const examples = (...lines: string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}\n`;

export interface ServerAddress {
  readonly url: string;
  readonly token?: string | undefined;
}

export interface ServerOptions extends ServerAddress, OutputOptions {}

const DEFAULT_URL = 'http://127.0.0.1:7000';

/** `--url` and `--token`. May also stand before the verb: {@link resolveServer} looks there as well. */
export function serverAddress(command: Command): Command {
  const url = new Option('--url <url>', `the server to talk to, or HADRON_URL (default: ${DEFAULT_URL})`);
  const token = new Option('--token <token>', 'sent as "authorization: bearer TOKEN", or HADRON_TOKEN');
  return command.addOption(url.helpGroup(SHARED)).addOption(token.helpGroup(SHARED));
}

/** For commands that talk to a server over its own protocol. */
export const serverOptions = (command: Command): Command => outputOption(serverAddress(command));

/** The address for a command: its own option, else one further left, else the environment, else the default. */
export function resolveServer(command: Command, io: Io): void {
  if (!command.options.some(({ long }) => long === '--url')) return;
  const found = (name: string, variable: string): string | undefined => {
    for (let at: Command | null = command; at !== null; at = at.parent) {
      const value = at.getOptionValue(name) as string | undefined;
      if (value !== undefined) return value;
    }
    const given = io.env[variable];
    return given === '' ? undefined : given;
  };
  command.setOptionValue('url', found('url', 'HADRON_URL') ?? DEFAULT_URL);
  command.setOptionValue('token', found('token', 'HADRON_TOKEN'));
}

export interface ClientOptions extends OutputOptions {
  readonly bootstrap: string;
}

/** For commands that talk to a running server. */
export function clientOptions(command: Command, io: Io): Command {
  const bootstrap = new Option('--bootstrap <host:port>', 'the server to talk to, or HADRON_BOOTSTRAP');
  return outputOption(
    command.addOption(bootstrap.helpGroup(SHARED).default(io.env['HADRON_BOOTSTRAP'] ?? '127.0.0.1:9092')),
  );
}

export const collect = (value: string, previous: readonly string[] | undefined): string[] => [
  ...(previous ?? []),
  value,
];

/** For `start` and `config`. Values are texts: they are judged together with the environment and the file. */
export function settingOptions(command: Command): Command {
  return command
    .option('--data <dir>', 'the folder that holds all data (default: .hadron/data)')
    .option('--kafka-port <port>', 'the port for Kafka clients (default: 9092)')
    .option(
      '--http-port <port>',
      'the port for the API, /metrics, /healthz, /readyz (default: 7000, or the next free one)',
    )
    .option('--metrics-port <port>', 'another port for /metrics, /healthz, /readyz alone')
    .option('--original-ports <first-last>', 'ports for clients of the original Hadron, such as 7100-7199')
    .option('--cors-origins <origins>', 'origins of web pages that may call the API, separated by commas')
    .option('--listen <host>', 'an address to listen on; repeat for more (default: 127.0.0.1 and ::1)', collect)
    .option('--advertise <host:port>', 'the address told to clients (default: the one they came in on)')
    .option('--namespace <name>', "the namespace of this server's resources (default: default)")
    .option(
      '--durability <mode>',
      'fsync (default): acknowledge after the disk has it; os: after the page cache has it',
    )
    .option('--log-level <level>', 'debug, info (default), warn, error or silent')
    .option('--config <file>', 'a YAML file with settings')
    .option(
      '--set <name=value>',
      'a broker setting under its Kafka name, e.g. num.partitions=4; repeat for more',
      collect,
    );
}

export type SettingOptions = SettingFlags & OutputOptions;

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

export const isDuration = (text: string): boolean => DURATION.test(text);

/** `250ms`, `10s`, `1.5h`: milliseconds, for an option of a command. */
export function duration(text: string): number {
  const match = DURATION.exec(text);
  if (match === null) throw new InvalidArgumentError('expected a time such as 250ms, 10s, 5m, 2h or 7d');
  return Math.round(Number(match[1]) * UNITS[match[2] as keyof typeof UNITS]);
}

/** A moment, RFC 3339, or how long ago: milliseconds since 1970, for an option of a command. */
export function moment(text: string): number {
  const ms = DURATION.test(text) ? Date.now() - duration(text) : Date.parse(text);
  if (Number.isNaN(ms))
    throw new InvalidArgumentError('expected a time such as 2026-11-20T08:00:00Z, or 15m for that long ago');
  return ms;
}

export interface StartOptions {
  readonly startBeginning?: boolean;
  readonly startLatest?: boolean;
  readonly startOffset?: number;
  readonly startTime?: number;
}

/** Where a group that is new begins. */
export function startOptions(command: Command): Command {
  const all = ['startBeginning', 'startLatest', 'startOffset', 'startTime'];
  const one = (option: Option): Option => option.conflicts(all.filter((name) => name !== option.attributeName()));
  return command
    .addOption(one(new Option('--start-beginning', 'a new group begins with the oldest event')))
    .addOption(one(new Option('--start-latest', 'a new group begins with the next event')))
    .addOption(
      one(
        new Option('--start-offset <n>', 'a new group begins at this offset of every partition').argParser(
          wholeNumber(0),
        ),
      ),
    )
    .addOption(
      one(new Option('--start-time <time>', 'a new group begins at this time, or so long ago (15m)').argParser(moment)),
    );
}

export function startOf(options: StartOptions): Start | undefined {
  if (options.startBeginning === true) return { from: 'beginning' };
  if (options.startLatest === true) return { from: 'latest' };
  if (options.startOffset !== undefined) return { from: 'offset', offset: options.startOffset };
  return options.startTime === undefined ? undefined : { from: 'time', timeMs: options.startTime };
}

export interface FilterOptions {
  readonly filter?: readonly string[];
  readonly sql?: string;
}

export function filterOptions(command: Command): Command {
  return command
    .option(
      '--filter <filter>',
      'only some events: type=order.placed, or != ^= (prefix) $= (suffix), or JSON; repeat: all must hold',
      collect,
    )
    .option('--sql <expression>', 'only some events, by CloudEvents SQL: "type LIKE \'order.%\' AND EXISTS subject"');
}

const SHORTHAND: Readonly<Record<string, (attribute: Readonly<Record<string, string>>) => Filter>> = {
  '=': (exact) => ({ exact }),
  '!=': (exact) => ({ not: { exact } }),
  '^=': (prefix) => ({ prefix }),
  '$=': (suffix) => ({ suffix }),
};

/** Undefined: none was given. @throws HadronError FILTER_INVALID */
export async function filtersOf({ filter = [], sql }: FilterOptions): Promise<readonly Filter[] | undefined> {
  if (filter.length === 0 && sql === undefined) return undefined;
  const { checkFilters } = await import('@hadron/contracts/filters');
  const given = filter.map((text): unknown => {
    const short = /^([a-z0-9]+)(!=|\^=|\$=|=)(.*)$/s.exec(text);
    if (short !== null) return SHORTHAND[short[2] as string]?.({ [short[1] as string]: short[3] as string });
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new CommandFailure(
        'REQUEST_INVALID',
        `--filter ${text}: expected NAME=VALUE, or JSON such as {"prefix":{"type":"order."}}`,
      );
    }
  });
  return checkFilters([...given, ...(sql === undefined ? [] : [{ sql }])], '--filter');
}

/** A whole number of at least `min`, for an option of a command. */
export function wholeNumber(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min) throw new InvalidArgumentError(`expected a whole number from ${min}`);
    return value;
  };
}

/** `name=value` pairs as given, in order. @throws CommandFailure REQUEST_INVALID */
export function pairs(option: string, given: readonly string[] | undefined): [string, string][] {
  return (given ?? []).map((pair) => {
    const at = pair.indexOf('=');
    if (at <= 0) throw new CommandFailure('REQUEST_INVALID', `${option} ${pair}: expected NAME=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}
