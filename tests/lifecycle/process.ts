/** Real `hadron` processes for the lifecycle tests: started, watched, signalled, and gone when a test is over. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { repoRoot } from '../compat/lib/shell.ts';
import { recordBatch, WireConnection } from '../compat/lib/wire.ts';

const bin = path.join(repoRoot, 'packages/cli/bin/hadron.mjs');

/** Nothing to do after `npm test` has built; a test file run alone gets what it tests. */
export function buildBundle(): void {
  execFileSync(process.execPath, [path.join(repoRoot, 'scripts/build.mjs'), '--bundle-only'], { stdio: 'pipe' });
}

export interface Run {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  /** The code, 128 + n for signal n, and when it came. */
  readonly exit: Promise<{ readonly code: number; readonly atMs: number }>;
  readonly firstLine: Promise<string>;
}

export interface Ready {
  readonly pid: number;
  readonly host: string;
  readonly port: number;
}

export interface RunOptions {
  /** In front of the command: strace and its arguments. */
  readonly wrapper?: readonly string[];
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
}

const children: ChildProcess[] = [];
const folders: string[] = [];

/** For afterEach. */
export async function cleanUp(): Promise<void> {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }
  for (const folder of folders.splice(0)) {
    fs.chmodSync(folder, 0o755);
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

export function newFolder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-lifecycle-'));
  folders.push(made);
  return made;
}

export function hadron(args: readonly string[], options: RunOptions = {}): Run {
  const [file, ...argv] = [...(options.wrapper ?? []), process.execPath, bin, ...args];
  const child = spawn(file!, argv, {
    cwd: repoRoot,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid }),
  });
  children.push(child);
  let out = '';
  let err = '';
  const firstLine = new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')));
    });
    child.on('exit', () => reject(new Error(`ended without a line: ${err}`)));
  });
  firstLine.catch(() => {}); // only some tests wait for it
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const exit = new Promise<{ code: number; atMs: number }>((resolve) => {
    let atMs = 0;
    child.on('exit', () => (atMs = performance.now()));
    child.on('close', (code, signal) => resolve({ code: code ?? 128 + os.constants.signals[signal!], atMs }));
  });
  return { child, out: () => out, err: () => err, exit, firstLine };
}

/** A server on any free port. */
export function start(data: string, args: readonly string[] = [], options: RunOptions = {}): Run {
  const ports = args.includes('--kafka-port') ? [] : ['--kafka-port', '0'];
  const fixed = ['--output', 'json', '--log-level', 'error', '--http-port', '0', '--listen', '127.0.0.1'];
  return hadron(['start', ...fixed, '--data', data, ...ports, ...args], options);
}

export async function ready(run: Run): Promise<Ready> {
  const { pid, kafkaAddresses } = JSON.parse(await run.firstLine) as {
    pid: number;
    kafkaAddresses: { host: string; port: number }[];
  };
  return { pid, ...kafkaAddresses[0]! };
}

export function connect({ host, port }: Ready): Promise<WireConnection> {
  return WireConnection.open(host, port);
}

/** A batch of one record whose value begins with its name. */
export function namedBatch(name: string, bytes = name.length): Buffer {
  return recordBatch([Buffer.from(name.padEnd(bytes, '.'))]);
}

/** Everything one partition holds, as one text. */
export async function readAll(client: WireConnection, topic: string, partition: number): Promise<string> {
  const [end = 0] = (await client.offsets(topic, 1, -1)).slice(partition);
  let text = '';
  for (let offset = 0; offset < end; ) {
    const { error, records } = await client.fetch(topic, partition, offset);
    if (error !== 0 || records.length === 0) throw new Error(`fetch at ${offset} of ${end}: error ${error}`);
    text += records.toString('latin1');
    offset = lastOffset(records) + 1;
  }
  return text;
}

function lastOffset(records: Buffer): number {
  let last = -1;
  for (let at = 0; at + 61 <= records.length; ) {
    const end = at + 12 + records.readInt32BE(at + 8);
    if (end > records.length) break;
    last = Number(records.readBigInt64BE(at)) + records.readInt32BE(at + 23);
    at = end;
  }
  return last;
}
