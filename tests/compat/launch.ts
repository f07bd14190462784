/**
 * Starts a server to test against and stops it again: Hadron from this checkout, or a real Apache Kafka 4.3.1
 * from Maven Central (the oracle of the compatibility tests and the peer of the benchmarks).
 *
 * Everything listens on loopback; data lies in a temporary folder that `stop` removes unless the caller gave one.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDir, freePort, mavenJars, repoRoot, sleep, stopProcess } from './lib/shell.ts';
import { WireConnection } from './lib/wire.ts';

export interface RunningServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Of Hadron's API; 0 where there is none. */
  readonly httpPort: number;
  /** Process whose CPU and memory the benchmarks read. */
  readonly pid: number;
  readonly dataDir: string;
  readonly logFile: string;
  /** From spawn to the first answered ApiVersions request. */
  readonly startMs: number;
  readonly command: string[];
  stop(): Promise<void>;
  /** kill -9, for the restart rows; the data folder stays. */
  kill(): Promise<void>;
}

export interface LaunchOptions {
  dataDir?: string;
  port?: number;
  /** Kafka setting names; given to Hadron as `--set`, to Kafka in its properties. */
  settings?: Record<string, string>;
  /** Hadron only. */
  durability?: 'fsync' | 'os';
  /** Hadron only: for Node, such as `--inspect=127.0.0.1:0`. */
  nodeArguments?: readonly string[];
  readyTimeoutMs?: number;
}

/** The node that runs TypeScript here also runs the server under test. */
const hadronBin = join(repoRoot, 'packages/cli/bin/hadron.mjs');

const java = 'java';

const defaultSettings = { 'num.partitions': '4', 'group.initial.rebalance.delay.ms': '0' };

export function hadronMissing(): string | undefined {
  return existsSync(hadronBin) ? undefined : `packages/cli/bin/hadron.mjs does not exist (not built yet?)`;
}

export async function startHadron(options: LaunchOptions = {}): Promise<RunningServer> {
  const missing = hadronMissing();
  if (missing !== undefined) throw new Error(missing);
  const port = options.port ?? (await freePort());
  const { dataDir, ownsDataDir } = dataFolder('hadron', options.dataDir);
  const settings = { ...defaultSettings, ...options.settings };
  const command = [
    process.execPath,
    ...(options.nodeArguments ?? []),
    hadronBin,
    'start',
    '--data',
    dataDir,
    '--kafka-port',
    String(port),
    '--http-port',
    '0',
    '--output',
    'json',
    ...(options.durability === undefined ? [] : ['--durability', options.durability]),
    ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ];
  const logFile = `${dataDir}.log`;
  const startedAt = performance.now();
  const child = spawn(command[0]!, command.slice(1), { cwd: repoRoot, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stderr.on('data', (chunk: Buffer) => appendFileSync(logFile, chunk));
  let pending = '';
  let readyPid: number | undefined;
  let httpPort = 0;
  const ready = new Promise<void>((done, failed) => {
    const timer = setTimeout(() => failed(new Error('no ready line in time')), options.readyTimeoutMs ?? 60_000);
    child.stdout.on('data', (chunk: Buffer) => {
      appendFileSync(logFile, chunk);
      pending += chunk.toString();
      const lines = pending.split('\n');
      pending = lines.pop()!;
      for (const line of lines) {
        const event = parseJson(line);
        if (event?.['event'] !== 'ready') continue;
        if (typeof event['pid'] === 'number') readyPid = event['pid'];
        httpPort = (event['httpAddress'] as { port: number }).port;
        clearTimeout(timer);
        done();
      }
    });
    child.on('exit', (code) => {
      clearTimeout(timer);
      failed(new Error(`hadron ended with code ${code} before it was ready: ${tail(logFile)}`));
    });
  });
  try {
    await ready;
    await firstAnswer('127.0.0.1', port, 5_000);
  } catch (error) {
    await stopProcess(child);
    if (ownsDataDir) removeFolder(dataDir, logFile);
    throw error;
  }
  // The bin may re-exec on the pinned runtime; then the ready line or /proc tells which process serves.
  const pid = readyPid ?? deepestChild(child.pid!);
  return running('hadron', child, {
    port,
    httpPort,
    pid,
    dataDir,
    ownsDataDir,
    logFile,
    command,
    startMs: performance.now() - startedAt,
  });
}

/** Starts Kafka 4.3.1; the first call fetches its jars. `undefined` jars mean Java or Maven is missing: see kafkaMissing. */
export async function startKafka(options: LaunchOptions = {}): Promise<RunningServer> {
  const jars = await kafkaJars();
  if ('missing' in jars) throw new Error(jars.missing);
  const port = options.port ?? (await freePort());
  const controllerPort = await freePort();
  const { dataDir, ownsDataDir } = dataFolder('kafka', options.dataDir);
  const properties = join(dataDir, 'server.properties');
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': join(dataDir, 'logs'),
    'offsets.topic.num.partitions': '4',
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.num.partitions': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    ...defaultSettings,
    ...options.settings,
  };
  const fresh = !existsSync(properties);
  writeFileSync(
    properties,
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  );
  const logFile = `${dataDir}.log`;
  const log4j = join(dataDir, 'log4j2.properties');
  writeFileSync(
    log4j,
    'rootLogger.level=warn\nrootLogger.appenderRefs=out\nrootLogger.appenderRef.out.ref=out\nappender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %c: %m%n\n',
  );
  if (fresh) {
    const format = spawn(
      java,
      // biome-ignore format: one command
      ['-cp', jars.jars, 'kafka.tools.StorageTool', 'format', '-t', 'MkU3OEVBNTcwNTJENDM2Qk', '-c', properties],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const code = await new Promise((done) => format.on('close', done));
    if (code !== 0) throw new Error('Kafka could not format its folder');
  }
  const command = [
    java,
    '-Xms1g',
    '-Xmx1g',
    '-server',
    '-XX:+UseG1GC',
    '-XX:MaxGCPauseMillis=20',
    '-XX:InitiatingHeapOccupancyPercent=35',
    `-Dlog4j2.configurationFile=${log4j}`,
    '-cp',
    jars.jars,
    'kafka.Kafka',
    properties,
  ];
  const startedAt = performance.now();
  const child = spawn(command[0]!, command.slice(1), { cwd: dataDir, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.on('data', (chunk: Buffer) => appendFileSync(logFile, chunk));
  child.stderr.on('data', (chunk: Buffer) => appendFileSync(logFile, chunk));
  try {
    await firstAnswer('127.0.0.1', port, options.readyTimeoutMs ?? 60_000, child);
  } catch (error) {
    await stopProcess(child);
    throw new Error(`Kafka did not start: ${String(error)}: ${tail(logFile)}`);
  }
  return running('kafka', child, {
    port,
    httpPort: 0,
    pid: child.pid!,
    dataDir,
    ownsDataDir,
    logFile,
    command,
    startMs: performance.now() - startedAt,
  });
}

export function kafkaJars(): Promise<{ missing: string } | { jars: string }> {
  return mavenJars(join(repoRoot, 'tests/compat/kafka/pom.xml'), join(cacheDir('kafka'), 'libs'));
}

function running(
  name: string,
  child: ChildProcess,
  facts: {
    port: number;
    httpPort: number;
    pid: number;
    dataDir: string;
    ownsDataDir: boolean;
    logFile: string;
    command: string[];
    startMs: number;
  },
): RunningServer {
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  // A test run that is interrupted must not leave servers behind.
  const lastResort = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', lastResort);
  return {
    name,
    host: '127.0.0.1',
    ...facts,
    async stop() {
      await stopProcess(child);
      process.off('exit', lastResort);
      if (facts.ownsDataDir) removeFolder(facts.dataDir, facts.logFile);
    },
    async kill() {
      process.kill(facts.pid, 'SIGKILL');
      child.kill('SIGKILL');
      await exited;
      process.off('exit', lastResort);
    },
  };
}

/** Ends when the server answers an ApiVersions request: an open port alone is not a service. */
async function firstAnswer(host: string, port: number, timeoutMs: number, child?: ChildProcess): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (child !== undefined && child.exitCode !== null) throw new Error(`process ended with code ${child.exitCode}`);
    if (await portOpen(host, port)) {
      const wire = await WireConnection.open(host, port);
      try {
        await wire.apiVersions();
        return;
      } finally {
        wire.close();
      }
    }
    if (performance.now() > deadline) throw new Error('no answer in time');
    await sleep(10);
  }
}

function portOpen(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, host);
    socket.on('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}

function deepestChild(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const first = children.split(' ')[0];
    return first === undefined || first === '' ? pid : deepestChild(Number(first));
  } catch {
    return pid;
  }
}

function dataFolder(name: string, given: string | undefined): { dataDir: string; ownsDataDir: boolean } {
  if (given === undefined) return { dataDir: mkdtempSync(join(tmpdir(), `${name}-`)), ownsDataDir: true };
  mkdirSync(given, { recursive: true });
  return { dataDir: given, ownsDataDir: false };
}

function removeFolder(dataDir: string, logFile: string): void {
  rmSync(dataDir, { recursive: true, force: true });
  rmSync(logFile, { force: true });
}

function parseJson(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function tail(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim().split('\n').slice(-3).join(' | ');
  } catch {
    return '';
  }
}

// `node tests/compat/launch.ts kafka|hadron [PORT]` keeps one server running until it is interrupted.
if (import.meta.main) {
  const [kind = 'hadron', port] = process.argv.slice(2);
  const options: LaunchOptions = port === undefined ? {} : { port: Number(port) };
  const server = await (kind === 'kafka' ? startKafka(options) : startHadron(options));
  console.log(`${server.name} serves ${server.host}:${server.port}, pid ${server.pid}, data ${server.dataDir}`);
  const end = (): void => {
    void server.stop().then(() => process.exit(0));
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  // The child keeps the event loop alive.
}
