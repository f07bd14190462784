import type { FileSystem, FsError, OpenFile } from '@hadron/log';
import { describe, expect, it } from 'vitest';
import { fsContract, fsMisuseContract } from './fs-contract.ts';
import { forEachSeed } from './seeds.ts';
import { Sim, type SimMachine, type SimOptions } from './sim.ts';
import { SECTOR_BYTES } from './sim-nodes.ts';

const bytes = (n: number, value: number): Uint8Array => new Uint8Array(n).fill(value);

function call(sim: Sim, start: (done: (error: FsError | undefined) => void) => void): Promise<FsError | undefined> {
  return sim.scheduler.settle(new Promise((resolve) => start(resolve)));
}

async function ok(sim: Sim, start: (done: (error: FsError | undefined) => void) => void): Promise<void> {
  const error = await call(sim, start);
  if (error !== undefined) throw error;
}

/** A machine with an open, empty, durable file `d/a`. */
async function withFile(
  seed = 1,
  options: SimOptions = {},
): Promise<{ sim: Sim; m: SimMachine; fs: FileSystem; file: OpenFile }> {
  const sim = new Sim(seed, options);
  sim.disk.put('d/a', new Uint8Array(0));
  const m = sim.start();
  return { sim, m, fs: m.fs, file: m.fs.openSync('d/a', 'write') };
}

describe('the simulated disk keeps the file-system contract', () => {
  for (const c of fsContract) {
    it(c.name, async () => {
      for (let seed = 0; seed < 20; seed++) {
        const sim = new Sim(seed);
        const { fs } = sim.start();
        fs.mkdirSync('root');
        await c.run({ fs, root: '/root', settle: (promise) => sim.scheduler.settle(promise) });
      }
    });
  }

  for (const c of fsMisuseContract) {
    it(c.name, async () => {
      const sim = new Sim(1);
      const { fs } = sim.start();
      fs.mkdirSync('root');
      await c.run({ fs, root: '/root', settle: (promise) => sim.scheduler.settle(promise) });
      await expect(sim.scheduler.runUntilIdle()).rejects.toThrow('misuse');
    });
  }

  it('a write on an unlinked or replaced file is misuse too', async () => {
    for (const remove of ['unlink', 'rename'] as const) {
      const { sim, fs, file } = await withFile();
      if (remove === 'unlink') await ok(sim, (done) => fs.unlink('d/a', done));
      else {
        fs.openSync('d/b', 'create').closeSync();
        await ok(sim, (done) => fs.rename('d/b', 'd/a', done));
      }
      expect(() => file.writeSync(bytes(1, 1), 0)).toThrow('unlinked');
      await expect(sim.scheduler.runUntilIdle()).rejects.toThrow('misuse');
    }
  });
});

// A model of what must hold, written without looking at the disk: each byte of a file knows the value that is
// certain, and the values that are possible since.
class Model {
  readonly certain: number[] = [];
  readonly possible: Set<number>[] = [];

  write(position: number, length: number, value: number): void {
    for (let i = position; i < position + length; i++) {
      this.possible[i] ??= new Set();
      this.possible[i]?.add(value);
      this.newest[i] = value;
    }
  }
  readonly newest: number[] = [];

  sync(): void {
    for (let i = 0; i < this.newest.length; i++) this.certain[i] = this.newest[i] ?? 0;
    this.possible.length = 0;
  }

  check(found: Uint8Array): void {
    if (found.length < this.certain.length) throw new Error(`size ${found.length} < durable ${this.certain.length}`);
    if (found.length > this.newest.length) throw new Error('longer than ever written');
    for (let i = 0; i < found.length; i++) {
      const value = found[i] as number;
      if (value === (this.certain[i] ?? 0) || this.possible[i]?.has(value)) continue;
      throw new Error(`byte ${i} is ${value}, certain ${this.certain[i]}, possible ${[...(this.possible[i] ?? [])]}`);
    }
  }
}

describe('power loss', () => {
  it('keeps what was synced; of the rest any part, never anything else (400 seeds)', async () => {
    let lost = 0;
    let kept = 0;
    await forEachSeed({ count: 400 }, async (sim) => {
      const { random, disk, scheduler } = sim;
      const model = new Map<string, Model>();
      for (const path of ['d/a', 'd/b']) {
        disk.put(path, new Uint8Array(0));
        model.set(path, new Model());
      }
      for (let life = 0; life < 3; life++) {
        const { fs, process } = sim.start();
        const files = [...model].map(([path, m]) => ({ m, file: fs.openSync(path, 'write') }));
        for (let step = random.int(15); step >= 0; step--) {
          const { m, file } = random.pick(files);
          if (random.chance(0.3)) {
            await ok(sim, (done) => file.datasync(done));
            m.sync();
          } else {
            const position = random.chance(0.7) ? m.newest.length : random.int(m.newest.length);
            const length = random.between(1, 1_500);
            const value = random.between(1, 255);
            // The model needs no holes: writes begin at the end or inside.
            if (random.chance(0.5)) file.writeSync(bytes(length, value), position);
            else await scheduler.settle(new Promise((done) => file.write([bytes(length, value)], position, done)));
            m.write(position, length, value);
          }
        }
        const asSeen = new Map([...model.keys()].map((path) => [path, disk.content(path)]));
        process.kill();
        if (random.chance(0.3)) {
          for (const [path, seen] of asSeen) expect(disk.content(path)).toEqual(seen); // kill -9 keeps the cache
          continue; // the next life reads and goes on; the bytes are as unsynced as before
        }
        disk.powerLoss();
        for (const [path, m] of model) {
          const found = disk.content(path);
          m.check(found);
          if (m.possible.length > 0) {
            if (found.length < m.newest.length) lost++;
            else kept++;
          }
          const next = new Model();
          next.write(0, found.length, 0);
          found.forEach((value, i) => {
            next.newest[i] = value;
          });
          next.sync();
          model.set(path, next);
        }
        const first = disk.snapshot();
        disk.powerLoss();
        expect(disk.snapshot()).toEqual(first); // what survived is durable
      }
    });
    expect(lost).toBeGreaterThan(50);
    expect(kept).toBeGreaterThan(50);
  });

  it('never mixes a sector; of its writes a prefix survives', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 300; seed++) {
      const { sim, m, file } = await withFile(seed);
      file.writeSync(bytes(100, 1), 0);
      file.writeSync(bytes(100, 2), 100);
      file.writeSync(bytes(100, 3), 200);
      sim.powerLoss(m.process, 'mixed');
      const found = sim.disk.content('d/a');
      outcomes.add([0, 100, 200].map((at) => found[at] ?? '-').join(''));
    }
    // Nothing, each prefix, a tail of zeros behind each; never a later write without the earlier ones.
    for (const outcome of outcomes) expect(outcome).toMatch(/^(1(2(3|[-0])|[-0][-0])|[-0][-0][-0])$/);
    for (const wanted of ['---', '1--', '12-', '123', '000']) expect(outcomes).toContain(wanted);
  });

  it('tears a write at sector size, in any order, also with a hole in front', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const { sim, m, file } = await withFile(seed);
      file.writeSync(bytes(3 * SECTOR_BYTES, 9), 0);
      sim.powerLoss(m.process, 'mixed');
      const found = sim.disk.content('d/a');
      outcomes.add([0, 1, 2].map((s) => found[s * SECTOR_BYTES] ?? '-').join(''));
    }
    for (const wanted of ['---', '9--', '99-', '999', '009', '090', '909', '000']) expect(outcomes).toContain(wanted);
  });

  it('prefix mode keeps an order over all files', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const sim = new Sim(seed);
      const m = sim.start();
      sim.disk.put('a', new Uint8Array(0));
      sim.disk.put('b', new Uint8Array(0));
      const a = m.fs.openSync('a', 'write');
      const b = m.fs.openSync('b', 'write');
      for (let i = 0; i < 10; i++) (i % 2 ? b : a).writeSync(bytes(10, i + 1), (i >> 1) * 10);
      sim.powerLoss(m.process, 'prefix');
      const sizes = [sim.disk.content('a').length, sim.disk.content('b').length] as [number, number];
      expect(sizes[0] - sizes[1] === 0 || sizes[0] - sizes[1] === 10).toBe(true);
    }
  });

  it('a datasync covers what was written before it was called, not what came after', async () => {
    const { sim, m, file } = await withFile();
    file.writeSync(bytes(10, 1), 0);
    const synced = new Promise((done) => file.datasync(done));
    file.writeSync(bytes(10, 2), 5);
    await sim.scheduler.settle(synced);
    sim.powerLoss(m.process, 'nothing');
    expect(sim.disk.content('d/a')).toEqual(bytes(10, 1));
  });

  it('truncation: durable with a sync, undone or done without', async () => {
    const sizes = new Set<number>();
    for (let seed = 0; seed < 50; seed++) {
      const { sim, m, file } = await withFile(seed);
      file.writeSync(bytes(1_000, 1), 0);
      await ok(sim, (done) => file.datasync(done));
      file.truncateSync(100);
      if (seed % 2) await ok(sim, (done) => file.datasync(done));
      sim.powerLoss(m.process);
      const found = sim.disk.content('d/a');
      expect(found).toEqual(bytes(found.length, 1));
      if (seed % 2) expect(found.length).toBe(100);
      else sizes.add(found.length);
    }
    expect([...sizes].sort()).toEqual([100, 1_000]);
  });
});

describe('directory entries', () => {
  it('a created file without syncDir may vanish with its synced bytes; with syncDir it stays', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      const sim = new Sim(seed);
      const m = sim.start();
      m.fs.mkdirSync('d');
      await ok(sim, (done) => m.fs.syncDir('/', done));
      const file = m.fs.openSync('d/x', 'create');
      file.writeSync(bytes(5, 1), 0);
      await ok(sim, (done) => file.datasync(done));
      const synced = seed % 2 === 1;
      if (synced) await ok(sim, (done) => m.fs.syncDir('d', done));
      sim.powerLoss(m.process);
      const there = sim.disk.snapshot().has('d/x');
      if (there) expect(sim.disk.content('d/x')).toEqual(bytes(5, 1));
      outcomes.add(`${synced} ${there}`);
    }
    expect([...outcomes].sort()).toEqual(['false false', 'false true', 'true true']);
  });

  it('a directory whose own entry was not synced takes everything in it along', async () => {
    const sim = new Sim(1);
    const m = sim.start();
    m.fs.mkdirSync('p/q');
    const file = m.fs.openSync('p/q/x', 'create');
    await ok(sim, (done) => file.datasync(done));
    await ok(sim, (done) => m.fs.syncDir('p/q', done));
    expect(sim.disk.files()[0]?.entryDurable).toBe(false);
    sim.powerLoss(m.process, 'nothing');
    expect([...sim.disk.snapshot().keys()]).toEqual([]);
  });

  it('a rename is old or new, never neither, never half', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const sim = new Sim(seed);
      sim.disk.put('d/target', bytes(3, 1));
      const m = sim.start();
      const file = m.fs.openSync('d/tmp', 'create');
      file.writeSync(bytes(3, 2), 0);
      await ok(sim, (done) => file.datasync(done));
      await ok(sim, (done) => m.fs.rename('d/tmp', 'd/target', done));
      if (seed % 2) await ok(sim, (done) => m.fs.syncDir('d', done));
      sim.powerLoss(m.process);
      const image = sim.disk.snapshot();
      const value = image.get('d/target')?.[0];
      expect(value === 1 || value === 2).toBe(true);
      if (value === 2) expect(image.has('d/tmp')).toBe(false);
      if (seed % 2) expect(value).toBe(2);
      outcomes.add(`${value} ${image.has('d/tmp')}`);
    }
    expect([...outcomes].sort()).toEqual(['1 false', '1 true', '2 false']);
  });

  it('a rename across directories loses the file in no case', async () => {
    for (let seed = 0; seed < 100; seed++) {
      const sim = new Sim(seed);
      sim.disk.put('p/x', bytes(3, 1));
      sim.disk.put('q/y', bytes(1, 0));
      const m = sim.start();
      await ok(sim, (done) => m.fs.rename('p/x', 'q/x', done));
      if (seed % 3 > 0) await ok(sim, (done) => m.fs.syncDir(seed % 3 === 1 ? 'p' : 'q', done));
      sim.powerLoss(m.process);
      const image = sim.disk.snapshot();
      expect(image.has('p/x') || image.has('q/x')).toBe(true);
      if (seed % 3 > 0) expect(image.has('q/x')).toBe(true);
    }
  });

  it('an unlink without syncDir may come back, with its bytes', async () => {
    const outcomes = new Set<boolean>();
    for (let seed = 0; seed < 50; seed++) {
      const { sim, m, fs, file } = await withFile(seed);
      file.writeSync(bytes(9, 9), 0);
      await ok(sim, (done) => file.datasync(done));
      file.closeSync();
      await ok(sim, (done) => fs.unlink('d/a', done));
      sim.powerLoss(m.process);
      const image = sim.disk.snapshot();
      outcomes.add(image.has('d/a'));
      if (image.has('d/a')) expect(image.get('d/a')).toEqual(bytes(9, 9));
    }
    expect(outcomes.size).toBe(2);
  });
});

describe('process death', () => {
  it('keeps the cache; later power loss takes what was never written again (G7)', async () => {
    const { sim, m, file } = await withFile();
    file.writeSync(bytes(10, 7), 0);
    m.process.kill();
    const second = sim.start();
    const reader = second.fs.openSync('d/a', 'write');
    const into = new Uint8Array(10);
    expect(reader.readSync(into, 0)).toBe(10); // recovery reads it …
    expect(into).toEqual(bytes(10, 7));
    sim.powerLoss(second.process, 'nothing');
    expect(sim.disk.content('d/a').length).toBe(0); // … and it is gone
  });

  it('decides calls under way: done, not done, a write also in part; nobody is called back', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      const { sim, m, fs, file } = await withFile(seed);
      file.write([bytes(600, 1), bytes(600, 2)], 0, () => expect.unreachable());
      fs.rename('d/a', 'd/b', () => expect.unreachable());
      m.process.kill();
      await sim.scheduler.runUntilIdle();
      const image = sim.disk.snapshot();
      const size = (image.get('d/a') ?? image.get('d/b'))?.length ?? -1;
      outcomes.add(`${image.has('d/a') ? 'a' : 'b'} ${size === 0 ? 'none' : size === 1_200 ? 'all' : 'part'}`);
    }
    expect([...outcomes].sort()).toEqual(['a all', 'a none', 'a part', 'b all', 'b none', 'b part']);
  });

  it('killAtChange strikes in the middle of synchronous code; the dead process changes nothing any more', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const { sim, m, file } = await withFile(seed);
      sim.disk.killAtChange(2);
      const steps: string[] = [];
      try {
        for (let i = 0; i < 4; i++) {
          file.writeSync(bytes(10, i + 1), i * 10);
          steps.push(`w${i}`);
        }
      } catch (error) {
        steps.push((error as FsError).code);
      } finally {
        file.closeSync(); // no misuse, no effect
      }
      file.datasync(() => expect.unreachable());
      expect(steps).toEqual(['w0', 'EIO']);
      expect(m.process.isAlive).toBe(false);
      await sim.scheduler.runUntilIdle();
      const size = sim.disk.content('d/a').length;
      outcomes.add(size === 10 ? 'none' : size === 20 ? 'all' : 'part');
    }
    expect([...outcomes].sort()).toEqual(['all', 'none', 'part']);
  });

  it('a buffer that is re-used before the callback is found in the file', async () => {
    let damaged = 0;
    for (let seed = 0; seed < 20; seed++) {
      const { sim, file } = await withFile(seed);
      const buffer = bytes(10, 1);
      const written = new Promise((done) => file.write([buffer], 0, done));
      buffer.fill(2);
      await sim.scheduler.settle(written);
      if (sim.disk.content('d/a')[0] === 2) damaged++;
    }
    expect(damaged).toBeGreaterThan(5);
    expect(damaged).toBeLessThan(20);
  });
});

describe('faults', () => {
  it('a failed datasync: EIO; the bytes stay readable; a later sync does not save them; writing them again does', async () => {
    for (const again of [false, true]) {
      const { sim, m, file } = await withFile();
      file.writeSync(bytes(10, 1), 0);
      sim.disk.faults.failNext('datasync', 'd/a', { keep: 0 });
      expect((await call(sim, (done) => file.datasync(done)))?.code).toBe('EIO');
      const into = new Uint8Array(10);
      expect(file.readSync(into, 0)).toBe(10);
      expect(into).toEqual(bytes(10, 1));
      if (again) file.writeSync(bytes(10, 1), 0);
      await ok(sim, (done) => file.datasync(done));
      sim.powerLoss(m.process, 'everything');
      expect(sim.disk.content('d/a').length).toBe(again ? 10 : 0);
    }
  });

  it('a failed datasync may have written some sectors, and never harms what was durable or is synced later', async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      const { sim, m, file } = await withFile(seed);
      file.writeSync(bytes(2 * SECTOR_BYTES, 1), 0);
      await ok(sim, (done) => file.datasync(done));
      file.writeSync(bytes(2 * SECTOR_BYTES, 2), 0);
      sim.disk.faults.failNext('datasync', /a$/);
      await call(sim, (done) => file.datasync(done));
      file.writeSync(bytes(SECTOR_BYTES, 3), 0);
      await ok(sim, (done) => file.datasync(done));
      sim.powerLoss(m.process);
      const found = sim.disk.content('d/a');
      expect(found.length).toBe(2 * SECTOR_BYTES);
      outcomes.add(`${found[0]}${found[SECTOR_BYTES]}`);
    }
    expect([...outcomes].sort()).toEqual(['31', '32']);
  });

  it('directed: EIO on read and write, short write, skip, EMFILE, slow sync, hold', async () => {
    const { sim, fs, file } = await withFile();
    const { faults } = sim.disk;
    faults.failNext('write', 'a');
    expect(() => file.writeSync(bytes(3, 1), 0)).toThrow('EIO');
    expect(file.writeSync(bytes(3, 1), 0)).toBe(3);
    faults.failNext('read', 'a', { skip: 1 });
    file.readSync(new Uint8Array(1), 0);
    expect(() => file.readSync(new Uint8Array(1), 0)).toThrow('EIO');
    for (const short of [0, 1, 99, 100]) {
      faults.shortNext('a', short);
      expect(file.writeSync(bytes(100, 1), 0)).toBe(short);
      faults.shortNext('a', short);
      const written = new Promise((done) => file.write([bytes(60, 1), bytes(40, 2)], 0, (_, n) => done(n)));
      expect(await sim.scheduler.settle(written)).toBe(short);
    }
    faults.failNext('open', /./, { code: 'EMFILE' });
    expect(() => fs.openSync('d/a', 'read')).toThrow('EMFILE');
    faults.slowNext('datasync', 'a', 4_000);
    const before = sim.scheduler.nowMs;
    await ok(sim, (done) => file.datasync(done));
    expect(sim.scheduler.nowMs - before).toBeGreaterThan(4_000);
    const hold = faults.hold('datasync', 'a');
    let synced = false;
    file.datasync(() => {
      synced = true;
    });
    await sim.scheduler.runFor(10_000);
    expect([synced, hold.count]).toEqual([false, 1]);
    hold.release();
    await sim.scheduler.runUntilIdle();
    expect(synced).toBe(true);
    expect(faults.unmet).toEqual([]);
    faults.failNext('rename', 'never');
    expect(faults.unmet).toEqual(['rename never × 1']);
  });

  it('EROFS for every change; reading goes on', async () => {
    const { sim, fs, file } = await withFile();
    file.writeSync(bytes(3, 1), 0);
    sim.disk.readOnly = true;
    expect(() => file.writeSync(bytes(1, 1), 0)).toThrow('EROFS');
    expect(() => file.truncateSync(0)).toThrow('EROFS');
    expect(() => fs.mkdirSync('x')).toThrow('EROFS');
    expect(() => fs.openSync('d/new', 'create')).toThrow('EROFS');
    expect((await call(sim, (done) => fs.rename('d/a', 'd/b', done)))?.code).toBe('EROFS');
    expect((await call(sim, (done) => fs.unlink('d/a', done)))?.code).toBe('EROFS');
    expect((await call(sim, (done) => file.datasync(done)))?.code).toBe('EROFS');
    expect(file.readSync(new Uint8Array(3), 0)).toBe(3);
    fs.openSync('d/a', 'read').closeSync();
  });

  it('a full disk: short, then ENOSPC; overwriting needs nothing; what goes gives space back', async () => {
    const { sim, fs, file } = await withFile(1, { disk: { capacityBytes: 8 * 4096 } });
    const free = (): Promise<number> =>
      sim.scheduler.settle(new Promise((done) => fs.space('d', (_, freeBytes) => done(freeBytes))));
    expect(await free()).toBe(8 * 4096);
    expect(file.writeSync(bytes(100, 1), 0)).toBe(100);
    expect(await free()).toBe(7 * 4096);
    expect(file.writeSync(bytes(10 * 4096, 1), 100)).toBe(8 * 4096 - 100);
    expect(() => file.writeSync(bytes(1, 1), 8 * 4096)).toThrow('ENOSPC');
    expect(() => fs.openSync('d/b', 'create')).toThrow('ENOSPC');
    expect(file.writeSync(bytes(8 * 4096, 2), 0)).toBe(8 * 4096);
    file.truncateSync(4096 + 1);
    expect(await free()).toBe(6 * 4096);
    await ok(sim, (done) => fs.unlink('d/a', done));
    expect(await free()).toBe(6 * 4096); // open still
    file.closeSync();
    expect(await free()).toBe(8 * 4096);
  });

  it('a plan strikes by probability, only on its paths', async () => {
    const { sim, fs, file } = await withFile(3);
    sim.disk.faults.plan = { path: /a$/, fail: { write: 0.5, datasync: 0.5 }, shortWrite: 0.3, slow: 0.2, slowMs: 50 };
    let failed = 0;
    let short = 0;
    for (let i = 0; i < 200; i++) {
      try {
        if (file.writeSync(bytes(100, 1), 0) < 100) short++;
      } catch {
        failed++;
      }
    }
    expect(failed).toBeGreaterThan(60);
    expect(short).toBeGreaterThan(10);
    const other = fs.openSync('d/b', 'create');
    for (let i = 0; i < 50; i++) expect(other.writeSync(bytes(9, 1), 0)).toBe(9);
    expect(sim.disk.faults.injectedCount).toBe(failed + short);
  });

  it('corrupt flips a bit in cache and on the platter', async () => {
    const { sim, m, file } = await withFile();
    file.writeSync(bytes(10, 1), 0);
    await ok(sim, (done) => file.datasync(done));
    sim.disk.corrupt('d/a', 4, 0x80);
    expect(sim.disk.content('d/a')[4]).toBe(0x81);
    sim.powerLoss(m.process);
    expect(sim.disk.content('d/a')[4]).toBe(0x81);
    expect(() => sim.disk.corrupt('d/a', 10, 1)).toThrow(TypeError);
  });
});

describe('the recorder', () => {
  it('gives the exact sequence of calls', async () => {
    const sim = new Sim(1);
    sim.disk.put('data/commit/0.clog', new Uint8Array(0));
    const { fs } = sim.start();
    sim.disk.startRecording({ strip: 'data', ends: true });
    const file = fs.openSync('data/commit/0.clog', 'write');
    file.writeSync(bytes(272, 1), 4096);
    await ok(sim, (done) => file.datasync(done));
    await ok(sim, (done) => fs.rename('data/x.tmp', 'data/x', done)).catch(() => {});
    await ok(sim, (done) => fs.syncDir('data', done));
    file.truncateSync(4100);
    sim.disk.faults.failNext('write', /clog/);
    expect(() => file.writeSync(bytes(1, 1), 0)).toThrow();
    fs.openSync('data/new', 'create');
    expect(sim.disk.takeRecording()).toEqual([
      'write commit/0.clog 4096+272',
      'datasync commit/0.clog',
      '· datasync commit/0.clog',
      'rename x.tmp → x',
      '· rename x.tmp → x !ENOENT',
      'syncDir .',
      '· syncDir .',
      'truncate commit/0.clog 4100',
      'write commit/0.clog 0+1',
      '· write commit/0.clog !EIO',
      'create new',
    ]);
  });
});

describe('the whole machine', () => {
  /** A small write-ahead log, enough to keep all parts busy. */
  async function workload(sim: Sim, operations: number): Promise<void> {
    const { random, disk, scheduler } = sim;
    disk.faults.plan = { fail: { datasync: 0.01 }, shortWrite: 0.01 };
    for (let life = 0; life < 3; life++) {
      const { fs, process } = sim.start();
      fs.mkdirSync('d');
      const files = Array.from({ length: 4 }, (_, i) => fs.openSync(`d/${i}`, 'create'));
      const ends = files.map((_, i) => fs.sizeSync(`d/${i}`) ?? 0);
      let finished = 0;
      const worker = async (): Promise<void> => {
        for (let i = 0; i < operations / 24; i++) {
          const n = random.int(4);
          const file = files[n] as OpenFile;
          const part = random.bytes(random.between(10, 400));
          const position = ends[n] as number;
          ends[n] = position + part.length;
          if (random.chance(0.5)) file.writeSync(part, position);
          else await new Promise((done) => file.write([part, part], position, done));
          if (random.chance(0.5)) await new Promise((done) => file.datasync(done));
          else await new Promise<void>((done) => process.defer(done));
        }
        finished++;
      };
      for (let i = 0; i < 8; i++) void worker();
      await scheduler.runUntil(() => finished === 8 || random.chance(0.002));
      if (random.chance(0.5)) process.kill();
      else sim.powerLoss(process);
    }
  }

  it('same seed, same trace, same bytes', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const [a, b] = [new Sim(seed), new Sim(seed)];
      await workload(a, 500);
      await workload(b, 500);
      expect(a.scheduler.trace.fingerprint).toBe(b.scheduler.trace.fingerprint);
      expect(a.scheduler.trace.lines()).toEqual(b.scheduler.trace.lines());
      expect(a.disk.snapshot()).toEqual(b.disk.snapshot());
      const other = new Sim(seed + 1_000);
      await workload(other, 500);
      expect(other.scheduler.trace.fingerprint).not.toBe(a.scheduler.trace.fingerprint);
    }
  });

  it('a seed of some 1,500 disk calls and 1,500 events costs far less than 25 ms', async () => {
    await forEachSeed({ count: 20 }, (sim) => workload(sim, 3_000)); // warm
    let events = 0;
    let calls = 0;
    const cost = await forEachSeed({ first: 100, count: 100 }, async (sim) => {
      await workload(sim, 3_000);
      events += sim.scheduler.eventCount;
      calls += sim.disk.changeCount;
    });
    expect(calls / 100).toBeGreaterThan(1_000);
    expect(events / 100).toBeGreaterThan(1_000);
    expect(cost.meanMs).toBeLessThan(25);
  });

  it('load(snapshot) gives the same files again; a failing seed reports itself', async () => {
    const sim = new Sim(4);
    await workload(sim, 300);
    const image = sim.disk.snapshot();
    const other = new Sim(5);
    other.disk.load(image);
    expect(other.disk.snapshot()).toEqual(image);
    expect(other.disk.durableSnapshot()).toEqual(image);
    const failure = forEachSeed({ first: 10, count: 5 }, (s) => {
      s.scheduler.note('test', 'was here');
      if (s.seed === 12) throw new Error('broken');
    });
    await expect(failure).rejects.toThrow(/seed 12: Error: broken[\s\S]*was here/);
  });
});
