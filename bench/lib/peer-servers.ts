/** The servers of `bench:peers`: where they come from, how they are started, how each is told when to sync. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { startHadron } from '../../tests/compat/launch.ts';
import { cacheDir, freePort, lastLine, run, sleep, stopProcess, which, works } from '../../tests/compat/lib/shell.ts';
import type { System } from '../load/peers.ts';
import { createTopic, freshDir, type Workplace } from './servers.ts';

/**
 * Pairs of equal promises. hadron, nats-always, redis-always: what is acknowledged is on the disk. hadron-os, nats,
 * redis-everysec: it is with the operating system, which nats asks to sync every two minutes and redis every second.
 */
export const peers = ['hadron', 'nats-always', 'redis-always', 'hadron-os', 'nats', 'redis-everysec'] as const;
export type PeerName = (typeof peers)[number];

export const systemOf = (name: PeerName): System => name.split('-', 1)[0] as System;

export interface PeerServer {
  readonly system: System;
  /** Where its client connects. */
  readonly port: number;
  readonly pid: number;
  /** What has to be there before clients come. */
  prepare(stream: string): Promise<void>;
  stop(): Promise<void>;
}

const NATS = 'github.com/nats-io/nats-server/v2@v2.12.0';

/** The program of a system, fetched or built once; or why there is none. */
export async function peerProgram(system: System): Promise<{ path: string } | { missing: string }> {
  if (system === 'hadron') return { path: '' };
  if (system === 'nats') {
    const dir = cacheDir('nats');
    const path = join(dir, 'nats-server');
    if (existsSync(path)) return { path };
    const go = which('go') ?? (existsSync('/usr/local/go/bin/go') ? '/usr/local/go/bin/go' : undefined);
    if (go === undefined) return { missing: 'Go is not installed, which builds nats-server' };
    const built = await run([go, 'install', NATS], { env: { GOBIN: dir }, timeoutMs: 600_000 });
    return built.code === 0 ? { path } : { missing: `go install ${NATS} failed: ${lastLine(built)}` };
  }
  if (which('redis-server') === undefined && process.getuid?.() === 0 && works('apt-get', '--version')) {
    // Runlevel 1: the package starts no service of its own.
    const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    await run(['apt-get', 'install', '-y', '--no-install-recommends', 'redis-server'], { env, timeoutMs: 300_000 });
  }
  const path = which('redis-server');
  return path === undefined ? { missing: 'redis-server is not installed (apt install redis-server)' } : { path };
}

export async function startPeer(name: PeerName, program: string, place: Workplace): Promise<PeerServer> {
  const dir = freshDir(place, name);
  if (name === 'hadron' || name === 'hadron-os') {
    const server = await startHadron({ dataDir: dir, durability: name === 'hadron' ? 'fsync' : 'os' });
    return {
      system: 'hadron',
      port: server.httpPort,
      pid: server.pid,
      prepare: (stream) => createTopic(server.port, 'durable', stream, 1),
      async stop() {
        await server.stop();
        rmSync(dir, { recursive: true, force: true });
        rmSync(server.logFile, { force: true });
      },
    };
  }
  const port = await freePort();
  const command =
    name === 'nats' || name === 'nats-always'
      ? [program, '-c', natsConfig(dir, port, name === 'nats-always')]
      : [program, ...redisOptions(dir, port, name === 'redis-always')];
  const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
  const lastResort = (): void => void child.kill('SIGKILL');
  process.once('exit', lastResort);
  await listening(child, port, name);
  return {
    system: systemOf(name),
    port,
    pid: child.pid!,
    prepare: () => Promise.resolve(),
    async stop() {
      await stopProcess(child);
      process.off('exit', lastResort);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function natsConfig(dir: string, port: number, always: boolean): string {
  const path = join(dir, 'nats.conf');
  const sync = always ? 'sync_interval: always' : '';
  writeFileSync(path, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${join(dir, 'js')}"\n ${sync} }\n`);
  return path;
}

function redisOptions(dir: string, port: number, always: boolean): string[] {
  const options = { bind: '127.0.0.1', dir, appendonly: 'yes', appendfsync: always ? 'always' : 'everysec', save: '' };
  return ['--port', String(port), ...Object.entries(options).flatMap(([key, value]) => [`--${key}`, value])];
}

async function listening(child: ChildProcess, port: number, name: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (child.exitCode !== null) throw new Error(`${name} ended with code ${child.exitCode}`);
    const open = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => {
        socket.destroy();
        done(true);
      });
      socket.on('error', () => done(false));
    });
    if (open) return;
    await sleep(20);
  }
  throw new Error(`${name} did not listen within 10 s`);
}
