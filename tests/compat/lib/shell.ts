/**
 * Small helpers around processes, ports and folders, shared by the compatibility runner and the benchmarks.
 * Nothing here knows Kafka or Hadron.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout this file lies in. */
export const repoRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/** A git-ignored folder of the checkout for downloads and builds; made on first use. */
export function cacheDir(...parts: string[]): string {
  const dir = join(repoRoot, '.cache', ...parts);
  mkdirSync(dir, { recursive: true });
  return dir;
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end, never throws; a missing program gives code 127. */
export function run(
  command: string[],
  options: { cwd?: string; timeoutMs?: number; env?: Record<string, string>; input?: string } = {},
): Promise<RunResult> {
  const [program, ...args] = command;
  return new Promise((done) => {
    const child = spawn(program!, args, {
      cwd: options.cwd ?? repoRoot,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    let timedOut = false;
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            child.kill('SIGKILL');
          }, options.timeoutMs);
    const finish = (code: number, note = ''): void => {
      clearTimeout(timer);
      done({
        code,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString() + note,
      });
    };
    child.on('error', (error) => finish(127, String(error)));
    child.on('close', (code) =>
      finish(timedOut ? 124 : (code ?? 1), timedOut ? `\ntimed out after ${options.timeoutMs} ms` : ''),
    );
  });
}

/** The full path of a program on PATH, or undefined. */
export function which(program: string): string | undefined {
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(dir, program);
    if (dir !== '' && existsSync(path)) return path;
  }
  return undefined;
}

/** A TCP port nobody listens on right now. */
export function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const probe = createServer();
    probe.on('error', failed);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => done(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** SIGTERM, then SIGKILL after `graceMs`; resolves when the process is gone. */
export function stopProcess(child: ChildProcess, graceMs = 10_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((done) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    child.once('exit', () => {
      clearTimeout(timer);
      done();
    });
    child.kill('SIGTERM');
  });
}

/** Copies the jars a pom names into `dir` with Maven, once. Returns a reason where that cannot work. */
export async function mavenJars(pom: string, dir: string): Promise<{ missing: string } | { jars: string }> {
  const marker = existsSync(dir) && readdirSync(dir).some((name) => name.endsWith('.jar'));
  if (!marker) {
    if (which('mvn') === undefined) return { missing: 'Maven (mvn) is not installed' };
    const result = await run(
      ['mvn', '-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${dir}`],
      { timeoutMs: 300_000 },
    );
    if (result.code !== 0) return { missing: `Maven could not fetch the jars: ${lastLine(result)}` };
  }
  return { jars: join(dir, '*') };
}

export function lastLine(result: RunResult): string {
  return `${result.stdout}\n${result.stderr}`.trim().split('\n').at(-1) ?? '';
}

/** True where the program answers `--version`-like arguments with code 0. */
export function works(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
