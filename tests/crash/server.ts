/** One real server on one folder: started, killed at any moment (also before it is ready), started again on the same port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { repoRoot } from '../compat/lib/shell.ts';

const BIN = join(repoRoot, 'packages/cli/bin/hadron.mjs');
const READY_MS_MAX = 20_000;

/** What the server logs about the folder it opened. */
export interface Opened {
  /** From spawn to the ready line. */
  readonly readyMs: number;
  readonly recoveryMs: number;
  readonly cases: readonly string[];
  readonly frames: number;
  readonly replayedBytes: number;
}

/** A stopped process: its code or signal, and how long it took from the signal. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly ms: number;
}

export class Server {
  readonly dataDir: string;
  readonly port: number;
  readonly logFile: string;
  private child: ChildProcess | undefined;
  private lastResort: (() => void) | undefined;

  constructor(dataDir: string, port: number) {
    this.dataDir = dataDir;
    this.port = port;
    this.logFile = `${dataDir}.log`;
  }

  get bootstrap(): string {
    return `127.0.0.1:${this.port}`;
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when the ready line is there. @throws Error when the process ends before that, with what it said */
  async start(settings: Readonly<Record<string, string>>): Promise<Opened> {
    const logAt = existsSync(this.logFile) ? statSync(this.logFile).size : 0;
    const startedAt = performance.now();
    const child = this.spawn(settings);
    await new Promise<void>((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`not ready after ${READY_MS_MAX} ms`)), READY_MS_MAX);
      let text = '';
      child.stdout!.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (!text.includes('"event":"ready"') || !text.includes('\n')) return;
        clearTimeout(timer);
        done();
      });
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        failed(new Error(`the server ended (${signal ?? code}) before it was ready: ${this.logSince(logAt).trim()}`));
      });
    });
    const readyMs = Math.round(performance.now() - startedAt);
    return { readyMs, ...openedLine(this.logSince(logAt)) };
  }

  /** Starts, and kills after `ms`, whatever it is doing by then. */
  async startAndKill(settings: Readonly<Record<string, string>>, ms: number): Promise<void> {
    this.spawn(settings);
    await new Promise((done) => setTimeout(done, ms));
    await this.end('SIGKILL');
  }

  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  async end(signal: NodeJS.Signals): Promise<Ended> {
    const child = this.child;
    if (child === undefined) throw new Error('no server is running');
    const at = performance.now();
    const done = new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve();
      else child.once('exit', () => resolve());
    });
    child.kill(signal);
    await done;
    if (this.lastResort !== undefined) process.off('exit', this.lastResort);
    this.child = undefined;
    return { code: child.exitCode, signal: child.signalCode, ms: performance.now() - at };
  }

  /** The end of its log. */
  lastWords(lines = 3): string {
    return this.logSince(0).trim().split('\n').slice(-lines).join('\n');
  }

  private spawn(settings: Readonly<Record<string, string>>): ChildProcess {
    const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const ports = ['--kafka-port', String(this.port), '--http-port', '0'];
    const argv = [BIN, 'start', '--data', this.dataDir, ...ports, '--listen', '127.0.0.1', '--output', 'json', ...sets];
    // Straight into a file: what it says must not depend on our event loop.
    const log = openSync(this.logFile, 'a');
    const child = spawn(process.execPath, argv, { cwd: repoRoot, stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    this.child = child;
    this.lastResort = () => child.kill('SIGKILL');
    process.on('exit', this.lastResort);
    return child;
  }

  private logSince(at: number): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile).subarray(at).toString() : '';
  }
}

function openedLine(log: string): Omit<Opened, 'readyMs'> {
  for (const line of log.split('\n')) {
    if (!line.includes('the data folder') || !line.includes('"cases"')) continue;
    const { ms, cases, frames, replayedBytes } = JSON.parse(line) as Record<string, number> & { cases: string[] };
    return { recoveryMs: ms ?? 0, cases, frames: frames ?? 0, replayedBytes: replayedBytes ?? 0 };
  }
  return { recoveryMs: 0, cases: ['?'], frames: 0, replayedBytes: 0 };
}

/**
 * A free port outside the range of ephemeral ports. Inside it, a client that connects again and again while nobody listens
 * is now and then given that very port as its own, connects to itself, and keeps the server from its port.
 */
export async function quietPort(from = 21_000, to = 31_000): Promise<number> {
  for (;;) {
    const port = from + Math.floor(Math.random() * (to - from));
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((done) => {
    const probe = createServer();
    probe.once('error', () => done(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => done(true)));
  });
}
