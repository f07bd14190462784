/** `hadron start`: a server in the foreground, its banner, and its end. */
import fs from 'node:fs';
import path from 'node:path';
import {
  formatHostPort,
  isLoopback,
  loadSettings,
  type RunningServer,
  type ServerSettings,
  startServer,
} from '@hadron/server';
import { CommandFailure } from '../failure.ts';
import { colours, type Io, say } from '../io.ts';
import type { SettingOptions } from '../options.ts';
import { onStopSignals } from '../signals.ts';
import { version } from '../version.ts';

/** A graceful end takes less; after this the process ends anyway. What was acknowledged is on disk either way. */
const GRACE_MS = 1_900;

type Running = Pick<RunningServer, 'kafkaAddresses' | 'httpAddress' | 'close'>;
type StartServer = (settings: ServerSettings) => Promise<Running>;

const servesThisVersion: StartServer = (settings) => startServer(settings, { version: version() });

/** Starts a server and returns when it has stopped. */
export async function start(io: Io, options: SettingOptions, serve: StartServer = servesThisVersion): Promise<void> {
  const readText = (file: string) => fs.readFileSync(file, 'utf8');
  const { settings } = await loadSettings({ flags: options, env: io.env, cwd: io.cwd, readText });

  const stopAsked = Promise.withResolvers<NodeJS.Signals>();
  const removeSignals = onStopSignals({
    first: (signal) => stopAsked.resolve(signal),
    second: () => process.exit(130),
  });
  // A server with nothing to do must still be running when nothing else keeps the process.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    const server = await serve(settings);
    if (options.output === 'json') printReadyLine(io, settings, server);
    else printBanner(io, settings, server);
    await stopAsked.promise;
    await stop(io, server, options);
  } finally {
    clearInterval(alive);
    removeSignals();
  }
}

async function stop(io: Io, server: Running, { output }: SettingOptions): Promise<void> {
  if (output !== 'json') say(io, '\nStopping …');
  const late = Symbol('late');
  const timer = Promise.withResolvers<typeof late>();
  const handle = setTimeout(() => timer.resolve(late), GRACE_MS);
  const ended = await Promise.race([server.close().then(() => undefined), timer.promise]);
  clearTimeout(handle);
  if (ended !== late) {
    if (output !== 'json') say(io, 'Stopped.');
    return;
  }
  say(io, 'Some connections did not end in time; they are cut. Everything acknowledged is on disk.');
  process.exit(0);
}

/** One JSON object on one line: what a script waits for. */
function printReadyLine(io: Io, settings: ServerSettings, server: Running): void {
  const { kafkaAddresses, httpAddress } = server;
  const ready = { event: 'ready', version: version(), pid: process.pid, kafkaAddresses, httpAddress };
  io.stdout.write(`${JSON.stringify({ ...ready, dataDir: settings.dataDir, durability: settings.durability })}\n`);
}

function printBanner(io: Io, settings: ServerSettings, { kafkaAddresses, httpAddress }: Running): void {
  const { bold, cyan, dim, yellow } = colours(io, 'stdout');
  const kafka = kafkaAddresses.map((address) => formatHostPort(address));
  const durability =
    settings.durability === 'fsync'
      ? 'fsync: a record is acknowledged after it is on stable storage'
      : 'os: a record is acknowledged when the operating system has it';
  const moved = settings.httpPortIsDefault && httpAddress.port !== settings.httpPort;
  const http = `http://${formatHostPort(httpAddress)}`;
  const note = moved ? ` ${yellow(`(port ${settings.httpPort} was taken)`)}` : '';
  const line = (name: string, value: string) => `  ${dim(name.padEnd(11))} ${value}\n`;
  io.stdout.write(
    `\n${bold('Hadron')} ${version()} is ready\n\n` +
      line('Kafka', cyan(kafka.join(', '))) +
      line('HTTP', `${cyan(http)}${note}`) +
      line('Data', settings.dataDir) +
      line('Durability', durability),
  );
  const open = settings.listen.filter((host) => !isLoopback(host));
  if (open.length > 0) {
    say(
      io,
      colours(io, 'stderr').yellow(
        `  Warning: listening on ${open.join(', ')}: there is no authentication yet, so everybody who reaches it can read and write.`,
      ),
    );
  }
  io.stdout.write(
    `\nTry it, in another terminal:\n${nextCommands(io, kafkaAddresses, httpAddress)
      .map((c) => `  ${bold(c)}\n`)
      .join('')}`,
  );
  io.stdout.write(`\n${dim('Ctrl-C stops it.')}\n`);
}

type Address = { readonly host: string; readonly port: number };

/** Commands to paste that work where the server was started: an event, and the same stream for Kafka clients. */
function nextCommands(io: Io, kafka: readonly Address[], http: Address): string[] {
  const inCheckout = fs.existsSync(path.join(io.cwd, 'node_modules/.bin/hadron'));
  const hadron = inCheckout ? 'npx --no-install hadron' : 'hadron';
  const [first] = kafka;
  if (first === undefined) throw new CommandFailure('INTERNAL', 'the server listens nowhere');
  const from = (option: string, { host, port }: Address, usual: number): string => {
    if (port === usual && isLoopback(host)) return '';
    return ` ${option}${formatHostPort({ host: host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host, port })}`;
  };
  const url = from('--url http://', http, 7000);
  return [
    `${hadron} pub hello '{"to":"world"}' --type greeting${url}`,
    `${hadron} tail hello --from beginning${url}`,
    `${hadron} kafka consume hello --from-beginning${from('--bootstrap ', first, 9092)}`,
  ];
}
