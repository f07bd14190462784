/** The data folder and its lock, with real child processes (log.md G19). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFolder } from './folder.ts';

let root = '';
let dir = '';
const children: ChildProcess[] = [];
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'hadron-folder-'));
  dir = join(root, 'data');
});
afterEach(() => {
  for (const c of children.splice(0)) c.kill('SIGKILL');
  fs.rmSync(root, { recursive: true, force: true });
});

/** A process that opens the folder, says how that went in one line, and stays. */
async function holder(gate?: string): Promise<{ child: ChildProcess; said: string }> {
  const source = fileURLToPath(new URL('./folder.ts', import.meta.url));
  const script = `
    import { existsSync } from 'node:fs';
    import { openFolder } from ${JSON.stringify(source)};
    const gate = ${JSON.stringify(gate ?? '')};
    if (gate !== '') { console.log('ready'); while (!existsSync(gate)); }
    try { await openFolder(${JSON.stringify(dir)}); console.log('open'); setInterval(() => {}, 1e6); }
    catch (error) { console.log(error.message); }
  `;
  const child = spawn(process.execPath, ['--conditions=hadron-source', '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let errors = '';
  child.stderr?.on('data', (b: Buffer) => (errors += b.toString()));
  const [first] = (await once(child.stdout as NonNullable<typeof child.stdout>, 'data')) as [Buffer];
  expect(errors).toBe('');
  return { child, said: first.toString().trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('the folder lock (G19)', () => {
  it('is dropped by kill -9: the next start opens at once', async () => {
    for (let i = 0; i < 3; i++) {
      const { child, said } = await holder();
      expect(said).toBe('open');
      // Not waited for: the next start comes while the old process is dying.
      child.kill('SIGKILL');
      const folder = await openFolder(dir);
      folder.release();
    }
  });

  it('names who holds it, and what to do', async () => {
    const { child } = await holder();
    const refused = await openFolder(dir).catch((error: unknown) => String(error));
    expect(refused).toContain('DATA_FOLDER_IN_USE');
    expect(refused).toContain(dir);
    expect(refused).toContain(`process id ${child.pid} on ${hostname()}, running since 20`);
    expect(refused).toContain('--data DIR');
  });

  it('lets exactly one of two starts at the same moment in', async () => {
    const gate = join(root, 'gate');
    for (let i = 0; i < 3; i++) {
      const [a, b] = await Promise.all([holder(gate), holder(gate)]);
      const said = [a, b].map(({ child }) => once(child.stdout as NonNullable<typeof child.stdout>, 'data'));
      fs.writeFileSync(gate, '');
      const lines = (await Promise.all(said)).map(([text]) => String(text).trim());
      expect(lines.filter((l) => l === 'open')).toHaveLength(1);
      expect(lines.filter((l) => l.includes('DATA_FOLDER_IN_USE'))).toHaveLength(1);
      for (const { child } of [a, b]) if (child.exitCode === null) await kill(child);
      fs.rmSync(gate);
    }
  });

  it('is not held by a stale file that names a living foreign process', async () => {
    (await openFolder(dir)).release();
    fs.writeFileSync(
      join(dir, 'lock.json'),
      JSON.stringify({ pid: process.ppid, host: hostname(), startedAt: '2026-01-01T00:00:00.000Z' }),
    );
    const folder = await openFolder(dir);
    expect(JSON.parse(fs.readFileSync(join(dir, 'lock.json'), 'utf8'))).toMatchObject({ pid: process.pid });
    folder.release();
    expect(fs.existsSync(join(dir, 'lock.json'))).toBe(false);
  });

  it('keeps a second one of the same process out, and lets it in after release', async () => {
    const first = await openFolder(dir);
    await expect(openFolder(dir)).rejects.toThrow(`process id ${process.pid}`);
    first.release();
    first.release();
    (await openFolder(dir)).release();
  });

  it('does not accuse a dead process', async () => {
    const { child } = await holder();
    const dead = spawn(process.execPath, ['-e', '']);
    await once(dead, 'exit');
    fs.writeFileSync(join(dir, 'lock.json'), JSON.stringify({ pid: dead.pid, host: hostname(), startedAt: 'x' }));
    await expect(openFolder(dir)).rejects.toThrow('is in use by another process');
    await kill(child);
  });
});

describe('the manifest', () => {
  it('is made once and keeps its cluster id', async () => {
    const first = await openFolder(dir);
    first.release();
    const second = await openFolder(dir);
    second.release();
    expect(first.clusterId).toMatch(/^[\w][\w-]{21}$/);
    expect(second).toMatchObject({ path: dir, clusterId: first.clusterId, nodeId: 1 });
    expect(second.shardDirectory(0)).toBe(join(dir, 'shards/0'));
    expect(fs.existsSync(join(dir, 'shards/0'))).toBe(true);
    expect(fs.readdirSync(dir).sort()).toEqual(['hadron.json', 'lock', 'shards']);
  });

  it('of a newer format is refused, and the folder is let go', async () => {
    (await openFolder(dir)).release();
    const file = join(dir, 'hadron.json');
    const manifest = JSON.parse(fs.readFileSync(file, 'utf8')) as object;
    fs.writeFileSync(file, JSON.stringify({ ...manifest, format: 2 }));
    await expect(openFolder(dir)).rejects.toThrow(
      /^DATA_FORMAT_NEWER: .* has format 2, this Hadron reads up to 1; start/,
    );
    fs.writeFileSync(file, JSON.stringify(manifest));
    (await openFolder(dir)).release();
  });

  it.each([
    ['', 'is not JSON'],
    ['{}', 'has no format number'],
    ['null', 'has no format number'],
    ['{"format":1,"clusterId":"x","nodeId":1}', 'has no cluster id'],
    ['{"format":1,"clusterId":"abcdefghijklmnopqrstuv"}', 'has no node id'],
  ])('%j is refused: %s', async (text, why) => {
    fs.mkdirSync(dir);
    fs.writeFileSync(join(dir, 'hadron.json'), text);
    await expect(openFolder(dir)).rejects.toThrow(`DATA_DAMAGED: ${dir}/hadron.json ${why}`);
  });

  it('that is missing beside data is refused: no second cluster id is invented', async () => {
    fs.mkdirSync(join(dir, 'shards/0/commit'), { recursive: true });
    await expect(openFolder(dir)).rejects.toThrow('is missing');
  });
});

describe('a folder that cannot be used', () => {
  it('is a file', async () => {
    fs.writeFileSync(dir, '');
    await expect(openFolder(dir)).rejects.toThrow(/^DATA_FOLDER_UNUSABLE: .*EEXIST.*--data DIR/);
    await expect(openFolder(join(dir, 'below'))).rejects.toThrow(/^DATA_FOLDER_UNUSABLE: .*ENOTDIR/);
    // Node's recursive mkdir never returns there.
    if (process.platform === 'linux') {
      await expect(openFolder('/proc/hadron')).rejects.toThrow(/^DATA_FOLDER_UNUSABLE: .*ENOENT/);
    }
  });

  it.skipIf(process.getuid?.() === 0)('is not writable', async () => {
    fs.mkdirSync(dir, { mode: 0o555 });
    await expect(openFolder(dir)).rejects.toThrow(/^DATA_FOLDER_UNUSABLE: .*EACCES.*chown/);
  });
});
