/** Options that several commands share, so that they are spelt and explained alike. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { SettingFlags } from '@hadron/server';
import type { Io, OutputFormat } from './io.ts';

export interface OutputOptions {
  readonly output: OutputFormat;
}

export function outputOption(command: Command): Command {
  return command.addOption(
    new Option('--output <format>', 'how results are printed').choices(['table', 'json']).default('table'),
  );
}

export interface ClientOptions extends OutputOptions {
  readonly bootstrap: string;
}

/** For commands that talk to a running server. */
export function clientOptions(command: Command, io: Io): Command {
  const bootstrap = new Option('--bootstrap <host:port>', 'the server to talk to, or HADRON_BOOTSTRAP');
  return outputOption(command.addOption(bootstrap.default(io.env['HADRON_BOOTSTRAP'] ?? '127.0.0.1:9092')));
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

/** A whole number of at least `min`, for an option of a command. */
export function wholeNumber(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min) throw new InvalidArgumentError(`expected a whole number from ${min}`);
    return value;
  };
}

/** `name=value` pairs as given, in order. */
export function pairs(option: string, given: readonly string[] | undefined): [string, string][] {
  return (given ?? []).map((pair) => {
    const at = pair.indexOf('=');
    if (at <= 0) throw new InvalidArgumentError(`${option} ${pair}: expected NAME=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}
