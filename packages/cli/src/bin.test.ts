/** The built command as a process: exit codes, one-line errors, signals. What is decided inside is tested in program.test.ts. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';

const root = path.join(import.meta.dirname, '../../..');
const bin = path.join(root, 'packages/cli/bin/hadron.mjs');

beforeAll(() => {
  // Nothing to do after `npm test` has built; a test file run alone gets what it tests.
  execFileSync(process.execPath, [path.join(root, 'scripts/build.mjs'), '--bundle-only'], { stdio: 'pipe' });
});

const started: ChildProcess[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly exit: Promise<number | null>;
  /** Resolves with the first line of stdout. */
  readonly firstLine: Promise<string>;
}

function hadron(args: readonly string[], input = ''): Run {
  const child = spawn(process.execPath, [bin, ...args], { env: { ...process.env, NO_COLOR: '1' } });
  started.push(child);
  child.stdin.end(input);
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
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, out: () => out, err: () => err, exit, firstLine };
}

function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-cli-'));
  folders.push(made);
  return made;
}

test('exit codes come through, errors are one line without a stack', async () => {
  const good = hadron(['config', 'data', '--output', 'json']);
  expect(await good.exit).toBe(0);
  expect(JSON.parse(good.out())).toHaveLength(1);
  const bad = hadron(['start', '--set', 'num.partitions=none']);
  expect(await bad.exit).toBe(1);
  expect(bad.err()).toMatch(/^hadron: SETTING_INVALID: num\.partitions = "none" \(flag --set\)[^\n]*\n$/);
});

test('the end of a pipe is no failure', async () => {
  const { child, exit } = hadron(['completion', 'fish']);
  child.stdout?.destroy();
  expect(await exit).toBe(0);
});

describe('a server', () => {
  const start = (data: string, ...args: string[]) =>
    hadron(['start', '--output', 'json', '--log-level', 'error', '--http-port', '0', '--data', data, ...args]);

  interface Ready {
    readonly event: string;
    readonly pid: number;
    readonly kafkaAddresses: readonly { host: string; port: number }[];
    readonly httpAddress: { readonly host: string; readonly port: number };
  }

  async function ready(run: Run): Promise<Ready> {
    return JSON.parse(await run.firstLine) as Ready;
  }

  test.each(['SIGINT', 'SIGTERM'] as const)('A3: %s ends it with 0 within 2 s', async (signal) => {
    const server = start(folder(), '--kafka-port', '0');
    const { event, pid, kafkaAddresses } = await ready(server);
    expect([event, pid]).toEqual(['ready', server.child.pid]);
    const { host, port } = kafkaAddresses[0] as { host: string; port: number };
    const client = net.connect({ host, port });
    await new Promise((resolve) => client.once('connect', resolve));
    client.on('error', () => {}); // it is cut when the server ends
    const askedMs = performance.now();
    server.child.kill(signal);
    expect(await server.exit).toBe(0);
    expect(performance.now() - askedMs).toBeLessThan(2_000);
    client.destroy();
  });

  test('A3: a taken Kafka port and a folder in use are one clear line and exit code 1', async () => {
    const data = folder();
    const first = start(data, '--kafka-port', '0');
    const { kafkaAddresses } = await ready(first);
    const port = String(kafkaAddresses[0]?.port);
    const samePort = start(folder(), '--kafka-port', port);
    expect(await samePort.exit).toBe(1);
    expect(JSON.parse(samePort.err())).toMatchObject({ error: { code: 'PORT_IN_USE' } });
    const sameFolder = start(data, '--kafka-port', '0');
    expect(await sameFolder.exit).toBe(1);
    expect(JSON.parse(sameFolder.err())).toMatchObject({ error: { code: 'DATA_FOLDER_IN_USE' } });
    expect(await Promise.race([first.exit, Promise.resolve('runs')])).toBe('runs');
  });

  test('a folder that cannot be used is one clear line', async () => {
    const file = path.join(folder(), 'file');
    fs.writeFileSync(file, '');
    const server = start(path.join(file, 'data'), '--kafka-port', '0');
    expect(await server.exit).toBe(1);
    expect(JSON.parse(server.err())).toMatchObject({ error: { code: 'DATA_FOLDER_UNUSABLE' } });
  });

  test('resources: applied, read as YAML, applied again, deleted', async () => {
    const server = start(folder(), '--kafka-port', '0');
    const { httpAddress } = await ready(server);
    const url = `http://${httpAddress.host}:${httpAddress.port}`;
    const verb = async (args: string[], input = ''): Promise<string> => {
      const run = hadron([...args, '--url', url], input);
      expect(await run.exit, run.err()).toBe(0);
      return run.out();
    };
    const document = 'apiVersion: hadron.rs/v1\nkind: Stream\nmetadata: {name: orders}\nspec: {partitions: 2}\n';
    expect(await verb(['apply', '-f', '-'], document)).toBe('stream/orders created\n');
    const yaml = await verb(['get', 'stream', 'orders', '-o', 'yaml']);
    expect(yaml).toContain('partitions: 2');
    expect(await verb(['apply', '-f', '-'], yaml)).toBe('stream/orders unchanged\n');
    expect(await verb(['describe', 'stream', 'orders'])).toContain('Created');
    expect(await verb(['delete', 'stream', 'orders', '--yes'])).toBe('stream/orders deleted\n');
  });

  test('docs/cli.md: its commands do what it says', { timeout: 60_000 }, async () => {
    const server = start(folder(), '--kafka-port', '0');
    const { httpAddress } = await ready(server);
    const here = folder();
    fs.writeFileSync(path.join(here, 'hadron'), `#!/bin/sh\nexec "${process.execPath}" "${bin}" "$@"\n`, {
      mode: 0o755,
    });
    const env = {
      ...process.env,
      NO_COLOR: '1',
      PATH: `${here}:${process.env['PATH'] ?? ''}`,
      PORT: String(httpAddress.port),
      HADRON_URL: `http://${httpAddress.host}:${httpAddress.port}`,
    };
    const page = fs.readFileSync(path.join(root, 'docs/cli.md'), 'utf8');
    const examples = [...page.matchAll(/```sh\n([^]*?)```\n```text\n([^]*?)```/g)];
    expect(examples.length).toBeGreaterThan(10);
    for (const [, code = '', answer = ''] of examples) {
      const out = execFileSync('bash', ['-c', code], {
        env,
        cwd: here,
        encoding: 'utf8',
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      const parts = answer.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
      expect(out, code).toMatch(new RegExp(`^${parts.join('[^]*?')}$`));
    }
  });

  test('`sub | head`: what was not read comes again, uncounted', async () => {
    const server = start(folder(), '--kafka-port', '0');
    const { httpAddress } = await ready(server);
    const env = { ...process.env, HADRON_URL: `http://${httpAddress.host}:${httpAddress.port}` };
    const shell = (line: string): string =>
      execFileSync('bash', ['-c', line.replaceAll('hadron ', `"${process.execPath}" "${bin}" `)], {
        env,
        encoding: 'utf8',
      });
    shell('seq 5000 | hadron pub numbers --type n --quiet 2>&1');
    expect(shell('hadron sub numbers -g g -d --start-beginning -b 10 --format data | head -n 3')).toBe('1\n2\n3\n');
    const status = JSON.parse(shell('hadron group describe numbers g --output json')) as {
      counts: { acked: number; failed: number };
      sessions: number;
    };
    expect(status).toMatchObject({ sessions: 0, counts: { failed: 0 } });
    expect(status.counts.acked).toBeLessThan(5_000);
  });

  test('E25: topics, produce and consume, as people type them', async () => {
    const server = start(folder(), '--kafka-port', '0');
    const { kafkaAddresses } = await ready(server);
    const { host, port } = kafkaAddresses[0] as { host: string; port: number };
    const kafka = async (args: string[], input = ''): Promise<string> => {
      const run = hadron(['kafka', ...args, '--bootstrap', `${host}:${port}`, '--output', 'json'], input);
      expect(await run.exit, run.err()).toBe(0);
      return run.out();
    };
    const json = async (args: string[], input?: string): Promise<unknown> => JSON.parse(await kafka(args, input));

    await json(['topics', 'create', 'orders', '--partitions', '3', '--config', 'retention.ms=60000']);
    expect(await json(['topics', 'list'])).toEqual([{ name: 'orders', partitions: 3 }]);
    expect(await json(['produce', 'orders', 'one', 'two', '--key', 'k'])).toMatchObject({
      topic: 'orders',
      records: 2,
    });
    expect(await json(['produce', 'orders', '--key-separator', ':'], 'k:three\nk:four\n')).toMatchObject({
      records: 2,
    });
    const lines = (await kafka(['consume', 'orders', '--from-beginning', '--exit'])).trim().split('\n');
    const records = lines.map((line) => JSON.parse(line) as { key: string; value: string; offset: number });
    expect(records.map(({ key, value, offset }) => [key, value, offset])).toEqual([
      ['k', 'one', 0],
      ['k', 'two', 1],
      ['k', 'three', 2],
      ['k', 'four', 3],
    ]);
    const described = (await json(['topics', 'describe', 'orders'])) as { partitions: { endOffset: number }[] };
    expect(described.partitions.map(({ endOffset }) => endOffset).sort()).toEqual([0, 0, 4]);
    await json(['topics', 'delete', 'orders']);
    expect(await json(['topics', 'list'])).toEqual([]);

    const refused = hadron(['kafka', 'consume', 'nowhere', '--bootstrap', `${host}:${port}`]);
    expect(await refused.exit).toBe(1);
    expect(refused.err()).toMatch(/^hadron: UNKNOWN_TOPIC_OR_PARTITION: there is no topic nowhere/);
  });
});

test('the built command reads a YAML file', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-bin-'));
  folders.push(folder);
  const file = path.join(folder, 'hadron.yaml');
  fs.writeFileSync(file, 'kafka-port: 9999\n');
  const run = hadron(['config', '--changed', '--config', file]);
  expect(await run.exit).toBe(0);
  expect(run.out()).toContain(`${file}:1`);
});
