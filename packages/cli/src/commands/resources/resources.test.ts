/** The resource verbs as people type them, against a real server on a folder of its own (statement 1). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { silentLogger } from '@hadron/base';
import { loadSettings, type RunningServer, startServer } from '@hadron/server';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { fakeIo } from '../../fake-io.ts';
import type { Io } from '../../io.ts';
import { run } from '../../program.ts';

let server: RunningServer;
let url: string;
let folder: string;

async function start(port: string): Promise<void> {
  const flags = { data: path.join(folder, 'data'), kafkaPort: '0', httpPort: port, listen: ['127.0.0.1'] };
  const { settings } = await loadSettings({ flags, env: {}, cwd: folder, readText: () => '' });
  server = await startServer(settings, { logger: silentLogger });
  url = `http://127.0.0.1:${server.httpAddress.port}`;
}

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hadron-cli-resources-'));
  await start('0');
});
afterAll(async () => {
  await server.close();
  fs.rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const kind of ['subscriptions', 'streams']) {
    const { out } = await hadron(['get', kind, '-o', 'name']);
    const names = out.split('\n').flatMap((line) => line.split('/')[1] ?? []);
    if (names.length > 0) await hadron(['delete', kind, ...names, '--yes']);
  }
});

async function hadron(args: readonly string[], input = ''): Promise<{ code: number; out: string; err: string }> {
  const io = { ...fakeIo({ env: { HADRON_URL: url }, input }), cwd: folder };
  const code = await run(args, io);
  return { code, out: io.out(), err: io.err() };
}

function file(name: string, text: string): string {
  const full = path.join(folder, name);
  fs.mkdirSync(path.dirname(full), { recursive: true });
  fs.writeFileSync(full, text);
  return name;
}

const stream = (name: string, spec: string, metadata = ''): string =>
  `apiVersion: hadron.rs/v1\nkind: Stream\nmetadata: {name: ${name}${metadata}}\nspec: ${spec}\n`;
const push = (name: string, of: string): string =>
  `apiVersion: hadron.rs/v1\nkind: Subscription\nmetadata: {name: ${name}}\nspec: {stream: ${of}, sink: "https://hooks.invalid"}\n`;

describe('apply', () => {
  test('files, folders, standard input; prints what became of each and what changed', async () => {
    file('deploy/a.yaml', `${push('mail', 'orders')}---\n${stream('orders', '{partitions: 1}')}`);
    file(
      'deploy/b.json',
      JSON.stringify({
        apiVersion: 'hadron.rs/v1',
        kind: 'Stream',
        metadata: { name: 'bills' },
        spec: { partitions: 1 },
      }),
    );
    file('deploy/notes.txt', 'not for us');
    file('deploy/deeper/c.yml', stream('deep', '{partitions: 1}'));
    expect(await hadron(['apply', '-f', 'deploy'])).toEqual({
      code: 0,
      out: 'subscription/mail created\nstream/orders created\nstream/bills created\n',
      err: '',
    });
    expect((await hadron(['apply', '-f', 'deploy', '-R'])).out).toBe(
      'subscription/mail unchanged\nstream/orders unchanged\nstream/bills unchanged\nstream/deep created\n',
    );
    const changed = await hadron(
      ['apply', '-f', '-'],
      stream('orders', '{partitions: 1, durability: os}', ', labels: {a: b}'),
    );
    expect(changed.out).toBe('stream/orders configured\n  metadata.labels.a: b\n  spec.durability: os\n');
    const back = await hadron(['apply', '-f', '-'], stream('orders', '{partitions: 1}'));
    expect(back.out).toBe('stream/orders configured\n  spec.durability: os → (default)\n');
  });

  test('a refusal names file, line, path, value and what is allowed; the others are applied', async () => {
    file(
      'bad.yaml',
      `${stream('good', '{partitions: 1}')}---\n${stream('bad', '\n  partitions: 0\n  durability: disk')}`,
    );
    const { code, out, err } = await hadron(['apply', '-f', 'bad.yaml']);
    expect(code).toBe(1);
    expect(out).toBe('stream/good created\n');
    expect(err.split('\n')).toEqual([
      'bad.yaml:10: stream/bad: spec.partitions 0 is not allowed; expected a whole number from 1 to 4294967295',
      'bad.yaml:11: stream/bad: spec.durability "disk" is not allowed; expected one of fsync, os',
      'hadron: RESOURCE_INVALID: 1 of 2 documents were refused and changed nothing',
      '',
    ]);
  });

  test('a conflict shows the difference', async () => {
    await hadron(['apply', '-f', '-'], stream('orders', '{partitions: 1}'));
    const old = (await hadron(['get', 'stream', 'orders', '-o', 'yaml'])).out;
    await hadron(['apply', '-f', '-'], stream('orders', '{partitions: 2}'));
    const { code, err } = await hadron(['apply', '-f', '-'], old);
    expect(code).toBe(1);
    expect(err).toContain('metadata.resourceVersion');
    expect(err).toContain('  spec.partitions: 2 → 1\n');
    expect(err).toContain('hadron: RESOURCE_CONFLICT:');
  });

  test('a dry run changes nothing; JSON is one document', async () => {
    const dry = await hadron(['apply', '-f', '-', '--dry-run'], stream('orders', '{partitions: 1}'));
    expect(dry.out).toBe('stream/orders created (dry run)\n');
    expect((await hadron(['get', 'streams'])).err).toBe('No Stream yet.\n');
    const json = await hadron(['apply', '-f', '-', '-o', 'json'], stream('orders', '{partitions: 1}'));
    expect(JSON.parse(json.out)).toMatchObject({ results: [{ result: 'created', object: { kind: 'Stream' } }] });
  });

  test.each<[string, string[], RegExp]>([
    [
      'a file that is not there',
      ['apply', '-f', 'nowhere.yaml'],
      /REQUEST_INVALID: cannot read nowhere.yaml \(ENOENT\)/,
    ],
    ['a folder without files', ['apply', '-f', 'empty'], /has no .yaml/],
    ['no documents', ['apply', '-f', 'nothing.yaml'], /no documents in nothing.yaml/],
    ['a file that is no YAML', ['apply', '-f', 'broken.yaml'], /RESOURCE_INVALID: broken.yaml:3: is not YAML/],
    [
      'no server',
      ['get', 'streams', '--url', 'http://127.0.0.1:9'],
      /CONNECTION_FAILED: no Hadron answers at .*"hadron start"/,
    ],
    ['no URL', ['get', 'streams', '--url', 'example.com'], /REQUEST_INVALID: --url example.com/],
    ['an unknown kind', ['get', 'tables'], /there is no kind tables; there are streams, subscriptions/],
    ['a name that is not there', ['get', 'stream', 'none'], /RESOURCE_NOT_FOUND: there is no Stream "none"/],
    ['no selector', ['get', 'streams', '-l', 'a=b=c'], /REQUEST_INVALID: label selector/],
  ])('%s is one line with what to do', async (_, args, message) => {
    fs.mkdirSync(path.join(folder, 'empty'), { recursive: true });
    file('nothing.yaml', '# nothing\n');
    file('broken.yaml', 'a: 1\nb: [\n');
    const { code, err } = await hadron(args);
    expect(code).toBe(/CONNECTION_FAILED/.test(err) ? 4 : /NOT_FOUND/.test(err) ? 3 : 1);
    expect(err).toMatch(message);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});

describe('get', () => {
  beforeEach(async () => {
    await hadron(
      ['apply', '-f', '-'],
      [
        stream(
          'orders',
          '{partitions: 3, retentionPolicy: {strategy: size, retentionBytes: 5}}',
          ', labels: {app: shop}',
        ),
        stream('users', '{partitions: 1, compaction: {strategy: compact}}'),
      ].join('---\n'),
    );
  });

  test('as a table, wide, by name', async () => {
    const rows = async (...args: string[]): Promise<string[][]> =>
      (await hadron(['get', 'streams', ...args])).out
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/ {2,}/));
    expect(await rows()).toEqual([
      ['NAME', 'PARTITIONS', 'RETENTION', 'COMPACTION', 'READY', 'AGE'],
      ['orders', '3', 'size', '-', 'True', expect.stringMatching(/^\d+s$/)],
      ['users', '1', '-', 'compact', 'True', expect.stringMatching(/^\d+s$/)],
    ]);
    expect((await rows('-o', 'wide'))[1]?.at(-1)).toBe('app=shop');
    expect(await rows('-o', 'name')).toEqual([['stream/orders'], ['stream/users']]);
    expect(await rows('-o', 'name', '-l', 'app=shop')).toEqual([['stream/orders']]);
    expect(await rows('-o', 'name', '-l', '!app')).toEqual([['stream/users']]);
  });

  test('what is read can be applied and changes nothing', async () => {
    const yaml = (await hadron(['get', 'streams', '-o', 'yaml'])).out;
    expect(parseAllDocuments(yaml)).toHaveLength(2);
    const json = (await hadron(['get', 'streams', '-o', 'json'])).out;
    expect(JSON.parse(json)).toMatchObject({ kind: 'List', items: [{ kind: 'Stream' }, { kind: 'Stream' }] });
    for (const text of [yaml, json])
      expect((await hadron(['apply', '-f', '-'], text)).out).toBe('stream/orders unchanged\nstream/users unchanged\n');
  });

  test('describe shows everything', async () => {
    const { out } = await hadron(['describe', 'stream', 'orders']);
    for (const text of ['stream/orders', 'app: shop', 'retentionBytes: 5', 'topicId: ', 'Ready', 'Created'])
      expect(out).toContain(text);
  });
});

describe('diff', () => {
  test('shows what would change and changes nothing', async () => {
    file('d.yaml', stream('orders', '{partitions: 2}'));
    expect(await hadron(['diff', '-f', 'd.yaml'])).toMatchObject({
      code: 0,
      out: 'stream/orders (new)\n  spec.partitions: 2\n',
    });
    await hadron(['apply', '-f', 'd.yaml']);
    expect(await hadron(['diff', '-f', 'd.yaml', '--exit-code'])).toEqual({
      code: 0,
      out: '',
      err: 'No differences.\n',
    });
    file('d.yaml', stream('orders', '{partitions: 4}'));
    const { code, out } = await hadron(['diff', '-f', 'd.yaml', '--exit-code']);
    expect([code, out]).toEqual([1, 'stream/orders\n  spec.partitions: 2 → 4\n']);
  });
});

describe('delete', () => {
  test('needs --yes where nobody can be asked; says who uses it; cascades', async () => {
    await hadron(['apply', '-f', '-'], `${stream('orders', '{partitions: 1}')}---\n${push('mail', 'orders')}`);
    const used = await hadron(['delete', 'stream', 'orders', '--yes']);
    expect(used.err).toMatch(/RESOURCE_IN_USE: .*Subscription mail.*--cascade/);
    const silent = await hadron(['delete', 'stream', 'orders', '--cascade']);
    expect(silent).toMatchObject({
      code: 1,
      err: expect.stringContaining('subscription/mail, stream/orders and all records of the Stream; say --yes'),
    });
    expect((await hadron(['get', 'streams', '-o', 'name'])).out).toBe('stream/orders\n');
    expect((await hadron(['delete', 'stream', 'orders', '--cascade', '--yes'])).out).toBe(
      'subscription/mail deleted\nstream/orders deleted\n',
    );
    expect((await hadron(['delete', 'stream', 'orders', '--yes'])).err).toContain('RESOURCE_NOT_FOUND');
    expect((await hadron(['delete', 'stream', 'orders', '--yes', '--ignore-not-found'])).code).toBe(0);
  });

  test.each([
    ['y', 0, []],
    ['n', 130, ['stream/orders']],
  ] as const)('asks on a terminal: %s', async (key, code, left) => {
    await hadron(['apply', '-f', '-'], stream('orders', '{partitions: 1}'));
    const io = fakeIo({ env: { HADRON_URL: url }, isTTY: true });
    const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => stdin });
    const typing = setInterval(() => stdin.write(key), 50);
    const ended = await run(['delete', 'stream', 'orders'], { ...io, stdin: stdin as unknown as Io['stdin'] });
    clearInterval(typing);
    expect(ended).toBe(code);
    expect(io.err()).toContain('Delete stream/orders and all records of the Stream?');
    expect((await hadron(['get', 'streams', '-o', 'name'])).out.split('\n').filter((l) => l !== '')).toEqual(left);
  });
});

describe('explain', () => {
  test('a field, without a server', async () => {
    const { out } = await hadron(['explain', 'stream.spec.retentionPolicy', '--output', 'table']);
    for (const text of [
      'Stream  hadron.rs/v1',
      'spec.retentionPolicy',
      'strategy  <string>  required',
      'retentionSeconds',
    ])
      expect(out).toContain(text);
    expect(JSON.parse((await hadron(['explain', 'stream', '-o', 'json'])).out)).toMatchObject({ kind: 'Stream' });
    expect((await hadron(['explain', 'stream.spec.nothing'])).err).toMatch(/RESOURCE_NOT_FOUND: .*it has partitions/);
  });
});

test('--watch: what there is, then every change, also across a restart of the server', async () => {
  await hadron(['apply', '-f', '-'], stream('first', '{partitions: 1}'));
  const io = fakeIo({ env: { HADRON_URL: url } });
  const watching = run(['get', 'streams', '--watch', '-o', 'name'], { ...io, stdin: Readable.from([]) });
  const seen = async (text: string): Promise<void> => {
    await expect.poll(io.out, { timeout: 8_000, interval: 20 }).toBe(text);
  };
  await seen('added stream/first\n');
  await hadron(['apply', '-f', '-'], stream('first', '{partitions: 2}'));
  await seen('added stream/first\nmodified stream/first\n');
  const port = String(server.httpAddress.port);
  await server.close();
  await start(port);
  await hadron(['apply', '-f', '-'], stream('second', '{partitions: 1}'));
  await hadron(['delete', 'stream', 'first', '--yes']);
  await seen('added stream/first\nmodified stream/first\nadded stream/second\ndeleted stream/first\n');
  process.emit('SIGINT');
  expect(await watching).toBe(0);
});
