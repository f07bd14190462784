/** Builds the C load generators on demand and runs them; each prints JSON lines and fails when its checks fail. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, repoRoot, run, stopProcess, which } from '../../tests/compat/lib/shell.ts';

const sources = join(repoRoot, 'bench/src');
const binaries = join(repoRoot, 'bench/bin');
const compiler = 'gcc';
const toolNames = ['kblast', 'kfetch', 'klat', 'kidle', 'csink'] as const;
type ToolName = (typeof toolNames)[number];

/** Why the generators cannot run here, or undefined. */
export function toolsMissing(): string | undefined {
  if (process.arch !== 'x64') return `the load generators need an x86-64 CPU, this is ${process.arch}`;
  if (process.platform === 'linux' && !readFileSync('/proc/cpuinfo', 'utf8').includes('sse4_2')) {
    return 'the CPU has no SSE4.2 (crc32 instruction)';
  }
  if (process.platform !== 'linux') return 'the load generators and /proc need Linux';
  return which(compiler) === undefined ? 'gcc is not installed' : undefined;
}

export function buildTools(): void {
  mkdirSync(binaries, { recursive: true });
  for (const name of toolNames) {
    const source = join(sources, `${name}.c`);
    const binary = join(binaries, name);
    const sourceTime = Math.max(statSync(source).mtimeMs, statSync(join(sources, 'wire.h')).mtimeMs);
    if (existsSync(binary) && statSync(binary).mtimeMs >= sourceTime) continue;
    const built = spawnSync(compiler, ['-O2', '-msse4.2', '-Wall', '-o', binary, source, '-lpthread'], {
      encoding: 'utf8',
    });
    if (built.status !== 0) throw new Error(`gcc ${name}.c: ${built.stderr}`);
  }
}

/** What a generator printed: numbers by name. */
export type ToolResult = Record<string, number>;

/** Options in words: `{ inFlight: 32, check: true }` becomes `--in-flight 32 --check`. */
export type ToolOptions = Record<string, string | number | true | undefined>;

function toolArguments(options: ToolOptions): string[] {
  return Object.entries(options).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const flag = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [flag] : [flag, String(value)];
  });
}

export async function tool(name: ToolName, options: ToolOptions, timeoutMs = 120_000): Promise<ToolResult> {
  const args = toolArguments(options);
  const result = await run([join(binaries, name), ...args], { timeoutMs });
  if (result.code !== 0) {
    throw new Error(`${name} ${args.join(' ')}: code ${result.code}: ${result.stderr.trim()} ${result.stdout.trim()}`);
  }
  return JSON.parse(result.stdout.trim().split('\n').at(-1)!) as ToolResult;
}

/** Runs kidle; `whileReady` is called once all polls are on their way. */
export async function idlePollers(options: ToolOptions, whileReady: () => void): Promise<ToolResult> {
  const child = spawn(join(binaries, 'kidle'), toolArguments(options), { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  let last: ToolResult | undefined;
  let pending = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = (pending + chunk.toString()).split('\n');
    pending = lines.pop()!;
    for (const line of lines) {
      if (line.includes('"ready"')) whileReady();
      else last = JSON.parse(line) as ToolResult;
    }
  });
  const code = await new Promise<number | null>((done) => child.on('close', done));
  if (code !== 0 || last === undefined) {
    throw new Error(`kidle: code ${code}: ${stderr.trim()} ${JSON.stringify(last)} (answers came early?)`);
  }
  return last;
}

/** The floor for one run: started with empty files, stopped after it. */
export async function withFloor<T>(dir: string, body: (port: number, pid: number) => Promise<T>): Promise<T> {
  const port = await freePort();
  const args = toolArguments({ port, mode: 2, dir });
  const child = spawn(join(binaries, 'csink'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await new Promise<void>((done, failed) => {
      child.stdout.once('data', () => done());
      child.once('exit', (code) => failed(new Error(`csink ended with code ${code}`)));
    });
    return await body(port, child.pid!);
  } finally {
    await stopProcess(child);
  }
}
