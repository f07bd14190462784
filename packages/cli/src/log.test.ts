/** `hadron log` on a real folder. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@hadron/base';
import { recordFormat } from '@hadron/broker';
import { batchLastOffsetDelta, encodeBatch } from '@hadron/kafka-protocol/records';
import { type Folder, nodeFileSystem, openFolder, Shard } from '@hadron/log';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeIo } from './fake-io.ts';
import { run } from './program.ts';

let dir = '';
let folder: Folder;
let shard: Shard;

beforeAll(async () => {
  dir = fs.mkdtempSync(join(tmpdir(), 'hadron-cli-log-'));
  folder = await openFolder(dir);
  shard = await Shard.open({
    fs: nodeFileSystem,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory: folder.shardDirectory(0),
    formats: [recordFormat],
    settings: { minFreeBytes: 0 },
  });
  const log = shard.newLog({ name: 'orders-0', format: recordFormat });
  shard.appendSet([{ kind: 'create', log }]);
  for (let i = 0; i < 10; i++) {
    const b = encodeBatch([
      { key: `k${i}`, value: `v${i}`, timestamp: 1_760_000_000_000 + i, headers: [{ key: 'h', value: 'x' }] },
      { key: null, value: Buffer.from([0xff, i]), timestamp: 1_760_000_000_000 + i },
    ]);
    shard.append(log, b, 0, b.length, batchLastOffsetDelta(b, 0) + 1, 1_760_000_000_000 + i);
    if (i === 6) await shard.checkpoint();
  }
  await shard.barrier();
  // The server goes on running: everything below is read-only.
});

afterAll(async () => {
  await shard.close();
  folder.release();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function hadron(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = fakeIo();
  const code = await run(['log', ...args, '--data', dir], io);
  return { code, out: io.out(), err: io.err() };
}

describe('hadron log', () => {
  it('ls: the logs, and with --files their files', async () => {
    const { code, out } = await hadron('ls');
    expect(code).toBe(0);
    expect(out).toMatch(/ID\s+LOG\s+FORMAT.*\n\s*1\s+orders-0\s+records\s+fsync\s+0\s+0\s+20\s+1\s+\d+/);
    const files = await hadron('ls', '--files');
    expect(files.out).toContain('00000001-00000000000000000000.seg');
    expect(files.out).toContain('000.log');
    const json = JSON.parse((await hadron('ls', '--output', 'json')).out) as Record<string, unknown>;
    expect(json).toMatchObject({
      format: 1,
      clusterId: folder.clusterId,
      nodeId: 1,
      logs: [{ name: 'orders-0', start: 0, end: 20, format: 'records', segments: [{ base: 0, end: 20 }] }],
      commitFiles: [{ slot: 0, sequence: 1 }],
    });
  });

  it('dump: every batch, from segment and commit log, with --records their records', async () => {
    const { code, out } = await hadron('dump', 'orders-0', '--output', 'json', '--records');
    expect(code).toBe(0);
    const batches = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { position: number; file: string; recordList: object[] });
    expect(batches.map((b) => b.position)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    expect(batches[0]?.file).toMatch(/^segments/);
    expect(batches[9]?.file).toMatch(/^commit/);
    expect(batches[9]?.recordList).toEqual([
      { offset: 18, timestamp: 1_760_000_000_009, key: 'k9', value: 'v9', headers: [['h', 'x']] },
      { offset: 19, timestamp: 1_760_000_000_009, key: null, value: 'base64:/wk=', headers: [] },
    ]);
    const text = await hadron('dump', '1', '--from', '5', '--max', '2');
    expect(text.out.split('\n')).toHaveLength(3);
    expect(text.out).toMatch(/^\[4, 6\) {2}\d+ B {2}segments\/\S+:\d+ {2}records=2 epoch=0 codec=none/);
  });

  it('dump: an unknown log', async () => {
    expect(await hadron('dump', 'orders')).toMatchObject({
      code: 1,
      err: expect.stringContaining('did you mean orders-0?') as string,
    });
    expect((await hadron('dump', 'x')).err).toContain('hadron log ls');
  });

  it('verify: exit code 0 when whole, 1 with what is damaged', async () => {
    expect(await hadron('verify')).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/^\d+ bytes read, nothing that is known to be acknowledged is damaged/) as string,
    });
    const file = join(dir, 'shards/0/segments/00000001-00000000000000000000.seg');
    const bytes = fs.readFileSync(file);
    const at = bytes.indexOf('v3');
    bytes[at] = (bytes[at] as number) ^ 1;
    fs.writeFileSync(file, bytes);
    const text = await hadron('verify');
    expect(text.code).toBe(1);
    expect(text.out).toMatch(
      /^DAMAGED {2}shards\/0\/segments\/00000001-0{20}\.seg:\d+ {2}orders-0 \[6, 8\) {2}checksum\n$/,
    );
    expect(text.err).toContain('DATA_DAMAGED');
    const json = await hadron('verify', '--output', 'json');
    expect(json.code).toBe(1);
    expect(JSON.parse(json.out)).toMatchObject({ findings: [{ log: 'orders-0', from: 6, to: 8, harmless: false }] });
    expect((await hadron('dump', 'orders-0')).code).toBe(1);
    bytes[at] = (bytes[at] as number) ^ 1;
    fs.writeFileSync(file, bytes);
  });

  it('a folder that is none', async () => {
    const io = fakeIo();
    expect(await run(['log', 'ls', '--data', tmpdir()], io)).toBe(1);
    expect(io.err()).toMatch(/^hadron: DATA_FOLDER_UNUSABLE: .* is no Hadron data folder/);
  });
});
