/** A real server in a process of its own, from the sources. */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly kafkaPort: number;
  readonly httpPort: number;
  /** What it has logged so far. */
  log(): string;
  /** kill -9, and wait for the end. */
  kill(): Promise<void>;
}

export function temporaryFolder(name: string): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), `hadron-${name}-`));
}

/** Starts it and resolves when it is ready. `args` follow the command. */
export function startServerProcess(data: string, args: readonly string[] = [], kafkaPort = 0): Promise<ServerProcess> {
  const argv = ['--conditions=hadron-source', path.join(ROOT, 'packages/cli/src/main.ts'), 'start', '--data', data];
  argv.push('--kafka-port', String(kafkaPort), '--http-port', '0', '--output', 'json', ...args);
  // HADRON_FUZZ and the like steer tests; to the server they would be settings it does not know.
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('HADRON_')));
  const child = spawn(process.execPath, argv, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let log = '';
  return new Promise((resolve, reject) => {
    const failed = (why: string): void => reject(new Error(`the server did not start (${why}):\n${out}\n${log}`));
    child.once('error', (error) => failed(error.message));
    child.once('exit', (code) => failed(`exit ${code}`));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-100_000);
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      const line = out.split('\n').find((l) => l.includes('"ready"'));
      if (line === undefined || !out.includes('\n')) return;
      const ready = JSON.parse(line) as {
        pid: number;
        kafkaAddresses: { port: number }[];
        httpAddress: { port: number };
      };
      resolve({
        child,
        pid: ready.pid,
        kafkaPort: ready.kafkaAddresses[0]?.port ?? 0,
        httpPort: ready.httpAddress.port,
        log: () => log,
        kill: () =>
          new Promise((ended) => {
            if (child.exitCode !== null || child.signalCode !== null) ended();
            child.once('exit', () => ended());
            process.kill(ready.pid, 'SIGKILL');
          }),
      });
    });
  });
}

/** Resident memory in bytes and CPU time in milliseconds of a process, from /proc. */
export function usage(pid: number): { rssBytes: number; cpuMs: number } {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { rssBytes: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024, cpuMs: ticks * 10 };
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is good. */
export async function until<T>(what: string, withinMs: number, ask: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const got = await ask();
    if (got !== undefined) return got;
    if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms`);
    await pause(50);
  }
}
