/** The README, read as a newcomer does: its commands in their order against a real server, which answers what the page says. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopProcess, which } from '../tests/compat/lib/shell.ts';
import { type ServerProcess, startServerProcess, temporaryFolder } from '../tests/e2e/lib/server-process.ts';
import { until } from './coming-from/tasks.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const HADRON = `"${process.execPath}" --conditions=hadron-source ${ROOT}packages/cli/src/main.ts`;
const run = promisify(execFile);

const folder = temporaryFolder('readme');
const programs: ChildProcess[] = [];
let server: ServerProcess;

beforeAll(async () => {
  server = await startServerProcess(path.join(folder, 'data'));
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
});

afterAll(async () => {
  for (const program of programs) program.kill('SIGKILL');
  await server.kill();
  fs.rmSync(folder, { recursive: true });
});

interface Command {
  readonly code: string;
  /** What comes next on the page, where that is an answer. */
  readonly answer: string | undefined;
}

function commands(): Command[] {
  const page = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const blocks = /^```sh\n([^]*?)^```\n(?:```(?:json|text)\n([^]*?)^```)?/gm;
  return [...page.matchAll(blocks)].map(([, code = '', answer]) => ({ code, answer }));
}

/** `…` stands for anything; how wide a column is does not matter. */
const like = (text: string): RegExp =>
  new RegExp(
    `^${squeezed(text)
      .split('…')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
  );
const squeezed = (text: string): string => text.trim().replaceAll(/ +/g, ' ');

const here = (code: string): string =>
  code
    .replaceAll('127.0.0.1:7000', `127.0.0.1:${server.httpPort}`)
    .replaceAll('127.0.0.1:9092', `127.0.0.1:${server.kafkaPort}`)
    .replaceAll('npx --no-install hadron', HADRON);

/** A program of examples/, started as it is but for the addresses. */
function start(file: string, change: (text: string) => string = (text) => text): { output(): string } {
  const name = path.basename(file);
  fs.cpSync(path.join(ROOT, 'examples/first/events.ts'), path.join(folder, 'events.ts'));
  const text = fs.readFileSync(path.join(ROOT, 'examples', file), 'utf8');
  const url = `http://127.0.0.1:${server.httpPort}`;
  fs.writeFileSync(path.join(folder, name), here(text).replace('connect({ ', `connect({ url: '${url}', `));
  const events = path.join(folder, 'events.ts');
  fs.writeFileSync(events, change(fs.readFileSync(events, 'utf8')));
  const program = spawn(process.execPath, ['--conditions=hadron-source', '--no-warnings', path.join(folder, name)]);
  programs.push(program);
  let output = '';
  for (const stream of [program.stdout, program.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  return { output: () => output };
}

test('every command of the page does what the page says', async () => {
  const all = commands();
  expect(all.length).toBeGreaterThan(7);
  let answers = 0;
  for (const { code, answer } of all) {
    if (code.startsWith('npm start')) continue; // it has been started
    if (code.startsWith('npm run example first')) {
      const consumer = start('first/main.ts');
      await until(() => consumer.output() !== '');
      expect(squeezed(consumer.output())).toMatch(like(answer ?? ''));
      answers += 1;
      continue;
    }
    if (code.includes('kcat') && which('kcat') === undefined) continue;
    if (code.includes('redrive')) await stopProcess(programs.pop() as ChildProcess); // the release that cannot read it
    const env = { ...process.env, HADRON_URL: `http://127.0.0.1:${server.httpPort}`, NO_COLOR: '1' };
    if (code.includes('dlq ls')) await until(async () => (await deadLetters()) === 1);
    const { stdout, stderr } = await run('bash', ['-c', here(code)], { timeout: 20_000, env });
    if (answer === undefined) continue;
    // The command tells people on stderr what it has done; a terminal shows both.
    const shown = code.startsWith('npx') ? stdout + stderr : stdout;
    expect(squeezed(shown), code).toMatch(like(answer));
    answers += 1;
  }
  expect(answers).toBeGreaterThanOrEqual(4);
}, 90_000);

test('the next release reads what was given again, and what the SDK and a Kafka client publish', async () => {
  const consumer = start('first/main.ts', (events) => events.replace('z.number()', 'z.coerce.number()'));
  await until(() => consumer.output().includes('order 8: 30.00 (attempt 1)'));
  if (which('kcat') !== undefined) await until(() => consumer.output().includes('order 9: 5.00'));
  const publisher = start('first/publish.ts');
  await until(() => publisher.output() !== '');
  expect(publisher.output()).toMatch(/^durable, at 0\/\d+\n$/);
  await until(() => consumer.output().split('order 8: 30.00').length === 3);
}, 60_000);

test('kafkajs does what the page shows', async () => {
  const program = start('kafka/plain.ts');
  await until(() => program.output().includes('1 pear'));
  expect(program.output()).toContain('0 0 ann 3 apples\n0 1 bob 1 pear\n');
}, 60_000);

async function deadLetters(): Promise<number> {
  const url = `http://127.0.0.1:${server.httpPort}/v1/streams/orders/dead-letters?count=true`;
  return ((await (await fetch(url)).json()) as { count: number }).count;
}
