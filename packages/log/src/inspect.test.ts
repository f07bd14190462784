import { silentLogger } from '@hadron/base';
import { Sim, type SimMachine } from '@hadron/testkit';
import { describe, expect, it } from 'vitest';
import { type Finding, inspectShard, verifyShard, dumpLog, type DumpedUnit, type ShardImage } from './inspect.ts';
import type { Log } from './log.ts';
import { type NewLog, Shard, type ShardSettings } from './shard.ts';
import { block, blockFormat, keyOf } from './testing/blocks.ts';

const DIRECTORY = '/data/shards/0';
const formats = [blockFormat];

/** A folder on a simulated disk: written by a server, then looked at from another process. */
class World {
  readonly sim = new Sim(1);
  machine: SimMachine = this.sim.start();

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  async open(settings: Partial<ShardSettings> = {}): Promise<Shard> {
    const { fs, clock, random } = this.machine;
    fs.mkdirSync(DIRECTORY);
    const options = {
      fs,
      clock,
      random,
      logger: silentLogger,
      directory: DIRECTORY,
      formats,
      settings: { minFreeBytes: 0, ...settings },
    };
    return this.run(Shard.open(options));
  }

  async create(shard: Shard, spec: Partial<NewLog> & { name: string }): Promise<Log> {
    const log = shard.newLog({ format: blockFormat, ...spec });
    shard.appendSet([{ kind: 'create', log }]);
    await this.run(shard.barrier());
    return log;
  }

  async append(shard: Shard, log: Log, ...blocks: Buffer[]): Promise<void> {
    for (const b of blocks) shard.append(log, b, 0, b.length, 1, 0);
    await this.run(shard.barrier());
  }

  inspect(): Promise<ShardImage> {
    return this.run(inspectShard(DIRECTORY, { formats, fs: this.machine.fs }));
  }

  async verify(): Promise<Finding[]> {
    const found: Finding[] = [];
    let last = [0, 0];
    const onProgress = (done: number, total: number): void => {
      expect(done).toBeGreaterThanOrEqual(last[0] as number);
      last = [done, total];
    };
    const work = async (): Promise<void> => {
      for await (const f of verifyShard(DIRECTORY, { formats, fs: this.machine.fs, onProgress })) found.push(f);
    };
    await this.run(work());
    return found;
  }

  async dump(name: string, from = 0): Promise<DumpedUnit[]> {
    const image = await this.inspect();
    const log = image.logs.find((l) => l.name === name);
    if (log === undefined) throw new Error(`no log ${name}`);
    const units: DumpedUnit[] = [];
    const work = async (): Promise<void> => {
      for await (const u of dumpLog(image, log, { from, fs: this.machine.fs })) units.push(u);
    };
    await this.run(work());
    return units;
  }

  path(end: string): string {
    const found = this.sim.disk.files().filter((f) => f.path.endsWith(end));
    expect(found.map((f) => f.path)).toHaveLength(1);
    return (found[0] as { path: string }).path;
  }
}

const keys = (units: readonly DumpedUnit[]): string[] =>
  units.map((u) => (u.damage === undefined ? keyOf(u.bytes) : `! ${u.damage}`));
const numbered = (from: number, to: number, size = 20): Buffer[] => {
  const blocks: Buffer[] = [];
  for (let i = from; i < to; i++) blocks.push(block(`k${i}`, 'v'.repeat(size)));
  return blocks;
};

/** orders-0: [0, 60) in segments of ten and a checkpoint, [60, 65) behind it. */
async function folder(): Promise<World> {
  const w = new World();
  const shard = await w.open({ indexIntervalBytes: 128 });
  const log = await w.create(shard, { name: 'orders-0', options: { segmentBytes: 10 * 57, segmentMs: 1e12 } });
  for (let i = 0; i < 60; i++) await w.append(shard, log, ...numbered(i, i + 1));
  await w.run(shard.checkpoint());
  await w.append(shard, log, ...numbered(60, 65));
  await w.run(shard.close());
  return w;
}

describe('inspect', () => {
  it('shows logs, segments, commit files', async () => {
    const w = await folder();
    const image = await w.inspect();
    const log = image.logs[0];
    expect(image.logs).toHaveLength(1);
    expect(log).toMatchObject({
      id: 1,
      name: 'orders-0',
      start: 0,
      end: 65,
      durability: 'fsync',
      epochs: [{ epoch: 0, start: 0 }],
    });
    expect(log?.segments.at(0)).toMatchObject({ base: 0, tailBytes: 0, file: '00000001-00000000000000000000.seg' });
    expect(log?.segments.at(-1)?.end).toBe(65);
    expect(log?.bytes).toBe(numbered(0, 65).reduce((n, b) => n + b.length, 0));
    expect(image.commitFiles.at(-1)).toMatchObject({ end: 'clean stop', covered: false });
    expect(image.lastLsn).toBe(image.commitFiles.at(-1)?.lastLsn);
  });

  it('shows a folder without any checkpoint, and one of a running server', async () => {
    const w = new World();
    const shard = await w.open();
    const a = await w.create(shard, { name: 'a-0', startPosition: 7, durability: 'os' });
    const b = await w.create(shard, { name: 'b-0' });
    await w.append(shard, a, ...numbered(0, 3));
    shard.appendSet([
      { kind: 'trim', log: a, position: 9 },
      { kind: 'epoch', log: a, epoch: 4 },
      { kind: 'remove', log: b },
    ]);
    await w.run(shard.barrier());
    const image = await w.inspect();
    expect(image.checkpoint).toBeUndefined();
    expect(image.logs).toHaveLength(1);
    expect(image.logs[0]).toMatchObject({
      name: 'a-0',
      start: 9,
      end: 10,
      durability: 'os',
      epochs: [
        { epoch: 0, start: 7 },
        { epoch: 4, start: 10 },
      ],
    });
    expect(await w.verify()).toEqual([]);
    expect(keys(await w.dump('a-0'))).toEqual(['k2']);
  });

  it('dumps every unit once, across segments and commit log, from any position', async () => {
    const w = await folder();
    const all = await w.dump('orders-0');
    expect(all.map((u) => u.position)).toEqual([...Array(65).keys()]);
    expect(keys(all)).toEqual([...Array(65).keys()].map((i) => `k${i}`));
    for (const from of [0, 1, 9, 10, 35, 59, 60, 61, 64, 65]) {
      expect((await w.dump('orders-0', from)).map((u) => u.position)).toEqual([...Array(65).keys()].slice(from));
    }
    expect(all.at(-1)?.file).toMatch(/^commit\//);
    expect(all.at(0)?.file).toMatch(/^segments\//);
  });

  it('follows references of direct appends behind the checkpoint', async () => {
    const w = new World();
    const shard = await w.open({ directAtBytes: 100 });
    const log = await w.create(shard, { name: 'big-0' });
    await w.append(shard, log, ...numbered(0, 3, 500));
    expect(keys(await w.dump('big-0'))).toEqual(['k0', 'k1', 'k2']);
    expect(await w.verify()).toEqual([]);
    w.machine.process.kill();
    w.machine = w.sim.start();
    w.sim.disk.corrupt(w.path('.seg'), 700, 1);
    expect(keys(await w.dump('big-0'))).toEqual(['k0', '! checksum of the append', 'k2']);
  });
});

describe('verify', () => {
  it('finds nothing in a good folder', async () => {
    expect(await (await folder()).verify()).toEqual([]);
  });

  it('finds every flipped bit of a segment, and blames only what it hit', async () => {
    const w = await folder();
    const path = w.path('20.seg');
    const size = w.sim.disk.content(path).length;
    const first = (await w.inspect()).logs[0]?.segments.find((s) => path.endsWith(s.file));
    expect(first?.bytes).toBe(size);
    for (let byte = 0; byte < size; byte += 3) {
      w.sim.disk.corrupt(path, byte, 1 << (byte % 8));
      const found = await w.verify();
      expect(found.length, `byte ${byte}`).toBeGreaterThan(0);
      for (const f of found) {
        expect(f, `byte ${byte}`).toMatchObject({
          file: `segments/${path.slice(path.lastIndexOf('/') + 1)}`,
          log: 'orders-0',
          harmless: false,
        });
        const unit = 20 + Math.floor(byte / 57);
        expect([f.from, f.to], `byte ${byte}: ${f.what}`).toEqual([unit, unit + 1]);
      }
      // The others can still be read.
      const units = await w.dump('orders-0', 20);
      expect(units.filter((u) => u.damage === undefined)).toHaveLength(44);
      w.sim.disk.corrupt(path, byte, 1 << (byte % 8));
    }
    expect(await w.verify()).toEqual([]);
  });

  it('finds a short and a missing segment', async () => {
    const w = await folder();
    const path = w.path('30.seg');
    const bytes = w.sim.disk.content(path);
    w.sim.disk.put(path, bytes.slice(0, 57 * 4 + 10));
    expect(await w.verify()).toMatchObject([{ from: 34, to: 40, log: 'orders-0', harmless: false }]);
    w.sim.disk.remove(path);
    const found = await w.verify();
    expect(found).toMatchObject([{ from: 30, to: 40, log: 'orders-0', harmless: false }]);
    expect(keys(await w.dump('orders-0', 30))).toHaveLength(26);
  });

  it('finds a swapped segment: every block is whole, but it is not what the checkpoint names', async () => {
    const w = await folder();
    const path = w.path('30.seg');
    const copy = Buffer.from(w.sim.disk.content(path));
    block('k39', 'w'.repeat(20), 0, 1, 39).copy(copy, 57 * 9);
    w.sim.disk.put(path, copy);
    expect(await w.verify()).toMatchObject([
      { from: 30, to: 40, what: expect.stringContaining('checkpoint') as string },
    ]);
  });

  it('finds damage in acknowledged frames, and calls a torn tail harmless', async () => {
    const w = new World();
    const shard = await w.open();
    const log = await w.create(shard, { name: 'a-0' });
    for (let i = 0; i < 5; i++) await w.append(shard, log, ...numbered(i, i + 1));
    w.machine.process.kill();
    w.machine = w.sim.start();
    const path = w.path('000.log');
    const content = Buffer.from(w.sim.disk.content(path));
    for (const [i, harmless] of [
      [0, false],
      [2, false],
      [4, true],
    ] as const) {
      const at = content.indexOf(`k${i}vvv`);
      w.sim.disk.corrupt(path, at, 4);
      const found = await w.verify();
      expect(found).toHaveLength(1);
      expect(found[0]?.harmless).toBe(harmless);
      expect(found[0]?.what).toMatch(/does not match its checksum \(a-0\)$/);
      w.sim.disk.corrupt(path, at, 4);
      // The head of the frame lies 72 bytes and a block header before: nobody knows any more what it held.
      const head = at - 34 - 72;
      w.sim.disk.corrupt(path, head + 8, 4);
      const broken = await w.verify();
      if (!harmless) expect(broken.filter((f) => !f.harmless)).toMatchObject([{ file: 'commit/000.log', byte: head }]);
      else expect(broken).toEqual([]);
      w.sim.disk.corrupt(path, head + 8, 4);
    }
    expect(await w.verify()).toEqual([]);
  });

  it('finds a damaged checkpoint, file header, index entry, and names strangers', async () => {
    const w = await folder();
    w.sim.disk.corrupt(w.path('checkpoint'), 40, 8);
    expect(await w.verify()).toMatchObject([{ file: 'checkpoint', harmless: false }]);
    w.sim.disk.corrupt(w.path('checkpoint'), 40, 8);
    // A commit file has two copies of its header.
    w.sim.disk.corrupt(w.path('000.log'), 12, 8);
    expect(await w.verify()).toMatchObject([{ file: 'commit/000.log', harmless: true }]);
    w.sim.disk.corrupt(w.path('000.log'), 64 + 12, 8);
    expect(await w.verify()).toMatchObject([{ file: 'commit/000.log', harmless: false }]);
    w.sim.disk.corrupt(w.path('000.log'), 12, 8);
    w.sim.disk.corrupt(w.path('000.log'), 64 + 12, 8);
    const index = w.path('20.idx');
    const good = Buffer.from(w.sim.disk.content(index));
    w.sim.disk.corrupt(index, good.length - 3, 1);
    expect(await w.verify()).toMatchObject([{ harmless: true, what: expect.stringContaining('index') as string }]);
    w.sim.disk.put(index, good);
    w.sim.disk.put(`${DIRECTORY}/segments/00000009-00000000000000000000.seg`, Buffer.from('x'));
    expect(await w.verify()).toMatchObject([{ harmless: true, file: 'segments/00000009-00000000000000000000.seg' }]);
  });

  it('does not count what is trimmed', async () => {
    const w = new World();
    const shard = await w.open();
    const log = await w.create(shard, { name: 'a-0', options: { segmentBytes: 10 * 57, segmentMs: 1e12 } });
    for (let i = 0; i < 30; i++) await w.append(shard, log, ...numbered(i, i + 1));
    await w.run(shard.checkpoint());
    shard.appendSet([{ kind: 'trim', log, position: 24 }]);
    await w.run(shard.barrier());
    const [image] = (await w.inspect()).logs;
    expect(image?.segments.map((s) => s.base)).toEqual([20]);
    expect(image?.bytes).toBe(image?.segments[0]?.bytes);
    expect(keys(await w.dump('a-0'))).toEqual(['k24', 'k25', 'k26', 'k27', 'k28', 'k29']);
    expect(await w.verify()).toEqual([]);
  });

  it('keeps to its pace', async () => {
    const w = await folder();
    const { clock, fs } = w.machine;
    const startedMs = clock.monotonicMs();
    const work = async (): Promise<void> => {
      for await (const _ of verifyShard(DIRECTORY, { formats, fs, clock, bytesPerSecond: 1000 }));
    };
    await w.run(work());
    expect(clock.monotonicMs() - startedMs).toBeGreaterThan(3000);
  });
});
