/** A3: when a server cannot start, it says one clear line with the way out, changes nothing, and ends with a code that is not 0. */
import fs from 'node:fs';
import path from 'node:path';
import { crc32c } from '@hadron/base';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { buildBundle, cleanUp, connect, hadron, namedBatch, newFolder, type Run, ready, start } from './process.ts';

beforeAll(buildBundle);
afterEach(cleanUp);

const NOBODY = 65_534;

function startPlainly(data: string, port = '0', uid?: number): Run {
  const argv = ['start', '--data', data, '--kafka-port', port, '--http-port', '0', '--log-level', 'error'];
  return hadron(argv, uid === undefined ? {} : { uid });
}

/** What was said: one line, without a stack. */
async function refusal(run: Run): Promise<string> {
  const { code } = await run.exit;
  expect(code).toBe(1);
  expect(run.out()).toBe('');
  expect(run.err()).toMatch(/^hadron: [A-Z_]+: [^\n]+\n$/);
  expect(run.err()).not.toContain(' at file:');
  return run.err();
}

/** Every file of a folder and its bytes. */
function contents(dir: string): string[] {
  const entries = fs.readdirSync(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith('lock'))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()
    .map((file) => `${file} ${crc32c(fs.readFileSync(file))}`);
}

test('A3: the Kafka port is in use', async () => {
  const { port } = await ready(start(newFolder()));
  const said = await refusal(startPlainly(newFolder(), String(port)));
  expect(said).toContain('PORT_IN_USE');
  expect(said).toContain(String(port));
  expect(said).toContain('--kafka-port');
});

test('A3: the data folder is in use: the line names the process', async () => {
  const data = newFolder();
  const { pid } = await ready(start(data));
  const said = await refusal(startPlainly(data));
  expect(said).toContain('DATA_FOLDER_IN_USE');
  expect(said).toContain(String(pid));
});

test('G19: after kill -9 the next start gets the folder at once; of two starts at the same moment one gets it', async () => {
  const data = newFolder();
  const first = start(data);
  await ready(first);
  first.child.kill('SIGKILL');
  await first.exit;
  const both = [start(data), start(data)];
  const outcome = await Promise.all(
    both.map((run) =>
      Promise.race([ready(run).then(() => 'ready'), run.exit.then(({ code }) => `ended ${code}`)]).catch(
        () => 'ended 1',
      ),
    ),
  );
  expect(outcome.sort()).toEqual(['ended 1', 'ready']);
});

test.skipIf(process.getuid === undefined)('A3: the data folder is not writable', async () => {
  const data = newFolder();
  fs.chmodSync(data, 0o555);
  const isRoot = process.getuid?.() === 0;
  const said = await refusal(startPlainly(data, '0', isRoot ? NOBODY : undefined));
  expect(said).toContain('DATA_FOLDER_UNUSABLE');
  expect(said).toContain(data);
  expect(said).toMatch(/chown|--data/);
});

test('A3: the data folder is a file', async () => {
  const file = path.join(newFolder(), 'file');
  fs.writeFileSync(file, '');
  const said = await refusal(startPlainly(file));
  expect(said).toContain('DATA_FOLDER_UNUSABLE');
  expect(said).toContain('--data');
});

describe('A3: data of a newer format', () => {
  /** A folder with a manifest, commit files and a checkpoint. */
  async function usedFolder(): Promise<string> {
    const data = newFolder();
    const small = ['--set', 'storage.commit.log.bytes=65536', '--set', 'storage.commit.file.bytes=65536'];
    const server = start(data, small);
    const client = await connect(await ready(server));
    await client.createTopic('t', 1);
    await client.awaitTopic('t', 1);
    const checkpoint = path.join(data, 'shards/0/checkpoint');
    for (let i = 0; !fs.existsSync(checkpoint); i++) {
      expect(i).toBeLessThan(2_000);
      await client.produce('t', 0, namedBatch(`r${i}`, 10_000), -1);
    }
    client.close();
    server.child.kill('SIGTERM');
    expect((await server.exit).code).toBe(0);
    return data;
  }

  async function refusesUnchanged(data: string): Promise<void> {
    const before = contents(data);
    const said = await refusal(startPlainly(data));
    expect(said).toContain('DATA_FORMAT_NEWER');
    expect(said).toMatch(/start the newer Hadron/);
    expect(contents(data)).toEqual(before);
  }

  test('the folder (hadron.json)', async () => {
    const data = await usedFolder();
    const file = path.join(data, 'hadron.json');
    const manifest = JSON.parse(fs.readFileSync(file, 'utf8')) as { format: number };
    fs.writeFileSync(file, JSON.stringify({ ...manifest, format: manifest.format + 1 }));
    await refusesUnchanged(data);
  });

  test('the checkpoint', async () => {
    const data = await usedFolder();
    const file = path.join(data, 'shards/0/checkpoint');
    const bytes = fs.readFileSync(file);
    bytes.writeUInt16BE(bytes.readUInt16BE(4) + 1, 4);
    fs.writeFileSync(file, bytes);
    await refusesUnchanged(data);
  });

  test('a commit-log file', async () => {
    const data = await usedFolder();
    const dir = path.join(data, 'shards/0/commit');
    for (const name of fs.readdirSync(dir).filter((n) => n.endsWith('.log'))) {
      const bytes = fs.readFileSync(path.join(dir, name));
      // Each copy of the header: version at 4, checksum of the first 60 bytes at 60.
      for (let at = 0; at < bytes.length && bytes.toString('latin1', at, at + 4) === 'HDCL'; at += 64) {
        bytes.writeUInt16BE(bytes.readUInt16BE(at + 4) + 1, at + 4);
        bytes.writeUInt32BE(crc32c(bytes, at, at + 60) >>> 0, at + 60);
      }
      fs.writeFileSync(path.join(dir, name), bytes);
    }
    await refusesUnchanged(data);
  });
});
