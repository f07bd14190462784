import { describe, expect, it } from 'vitest';
import { Compaction, type CompactionSettings } from './compaction.ts';
import { verifyShard } from './inspect.ts';
import type { Log } from './log.ts';
import { OffsetMap } from './offset-map.ts';
import { findByTime } from './reader.ts';
import { Retention } from './retention.ts';
import type { Shard } from './shard.ts';
import { blockCompactor } from './testing/block-compactor.ts';
import { BlocksWorld, DIRECTORY, type ReadBlock } from './testing/blocks-world.ts';
import { block, keyOf } from './testing/blocks.ts';

const HOUR = 3_600_000;
const OFF = Number.POSITIVE_INFINITY;

class Compacted extends BlocksWorld {
  settings: CompactionSettings | undefined = {
    dirtyRatioMin: 0.5,
    lagMinMs: 0,
    lagMaxMs: OFF,
    deleteRetentionMs: HOUR,
  };
  shard!: Shard;
  log!: Log;
  compaction!: Compaction;
  looks = 0;
  keyBytesMax = 1 << 20;

  segmentBytes = 500;

  async begin(segmentBytes = 500, settings = {}): Promise<void> {
    this.segmentBytes = segmentBytes;
    this.shard = await this.open({ indexIntervalBytes: 128, ...settings });
    this.log = await this.create(this.shard, { name: 'a-0', options: { segmentBytes, segmentMs: 1e12 } });
    this.watch();
  }

  watch(): void {
    this.compaction = new Compaction({
      shard: this.shard,
      compactor: blockCompactor,
      keyBytesMax: this.keyBytesMax,
      backoffMs: 15_000,
      settingsFor: () => {
        this.looks++;
        return this.settings;
      },
    });
  }

  async again(settings = {}): Promise<void> {
    this.restart();
    const optionsFor = () => ({ segmentBytes: this.segmentBytes, segmentMs: 1e12 });
    this.shard = await this.open({ indexIntervalBytes: 128, ...settings }, { optionsFor });
    this.log = [...this.shard.logs.values()].find((l) => l.name === 'a-0') as Log;
    this.watch();
  }

  async put(...keys: string[]): Promise<void> {
    for (const key of keys) {
      const value = key.startsWith('-') ? '' : `v${this.log.nextPosition}`.padEnd(12);
      await this.append(this.shard, this.log, block(key.replace('-', ''), value, this.machine.clock.wallMs()));
    }
  }

  compact(): Promise<void> {
    return this.run(this.compaction.run());
  }

  async all(from?: number): Promise<ReadBlock[]> {
    const options = { maxBytes: 4096, atLeastOne: true };
    // Headers that only stand for a segment of which nothing is left are nobody's record.
    return (await this.read(this.shard, this.log, from, options)).filter((b) => b.key !== '');
  }

  async damage(): Promise<string[]> {
    const found: string[] = [];
    const work = async (): Promise<void> => {
      for await (const f of verifyShard(DIRECTORY, { formats: this.formats, fs: this.machine.fs })) {
        if (!f.harmless) found.push(`${f.file}:${f.byte} ${f.what}`);
      }
    };
    await this.run(work());
    return found;
  }
}

/** What must be left: the last of each key, and everything from `openFrom` on. */
function latest(blocks: readonly ReadBlock[], openFrom = Number.POSITIVE_INFINITY): ReadBlock[] {
  const last = new Map<string, number>();
  for (const b of blocks) last.set(b.key, b.position);
  return blocks.filter((b) => b.position >= openFrom || last.get(b.key) === b.position);
}

const cycle = (n: number, keys: number): string[] => Array.from({ length: n }, (_, i) => `k${(i * 7) % keys}`);

describe('compaction (G14, B11)', () => {
  it('keeps the newest of each key at its position; the active segment stays as it is', async () => {
    const w = new Compacted();
    await w.begin();
    await w.put(...cycle(100, 9));
    const before = await w.all();
    const active = w.log.segments.at(-1)?.base ?? 0;
    const files = w.log.segments.length;
    await w.compact();
    const sealedPart = before.filter((b) => b.position < active);
    expect(w.log.cleanedTo).toBe(active);
    expect(await w.all()).toEqual([...latest(sealedPart), ...before.filter((b) => b.position >= active)]);
    await w.again();
    const after = await w.all();
    expect(after).toEqual([...latest(sealedPart), ...before.filter((b) => b.position >= active)]);
    expect(w.segmentFiles().length).toBeLessThan(files);
    expect(w.segmentFiles()[0]).toBe('00000001-00000000000000000000.1.seg');
    expect(await w.damage()).toEqual([]);
    // From every offset: the first record at or behind it, and nothing twice.
    for (let from = 0; from <= 100; from++) {
      expect(await w.all(from), `from ${from}`).toEqual(after.filter((b) => b.position >= from));
    }
  });

  it('goes on where it ended, and merges what became small', async () => {
    const w = new Compacted();
    await w.begin();
    let written: ReadBlock[] = [];
    for (let round = 0; round < 6; round++) {
      await w.put(...cycle(60, 9 + round));
      await w.compact();
      await w.again();
      const now = await w.all();
      const known = new Set(written.map((b) => b.position));
      written = [...written, ...now.filter((b) => !known.has(b.position))].sort((a, b) => a.position - b.position);
      const active = w.log.segments.at(-1);
      const openFrom = (active?.version ?? 0) > 0 ? Number.POSITIVE_INFINITY : (active?.base ?? 0);
      expect(now.filter((b) => b.position < openFrom)).toEqual(latest(written.filter((b) => b.position < openFrom)));
    }
    expect(w.log.segments.length).toBeLessThan(5);
    expect(await w.damage()).toEqual([]);
  });

  it('the sequence of file calls of a swap', async () => {
    const w = new Compacted();
    await w.begin();
    await w.put(...cycle(25, 3));
    await w.run(w.shard.checkpoint());
    w.sim.disk.startRecording({ strip: `${DIRECTORY}/` });
    await w.compact();
    await w.sleep(10);
    const calls = w.sim.disk.takeRecording().filter((c) => !/^(read|open read|list|size|space)/.test(c));
    expect(calls).toMatchInlineSnapshot(`
      [
        "unlink segments/00000001-00000000000000000000.1.seg",
        "create segments/00000001-00000000000000000000.1.seg",
        "write segments/00000001-00000000000000000000.1.seg 0+144",
        "datasync segments/00000001-00000000000000000000.1.seg",
        "unlink segments/00000001-00000000000000000000.1.idx",
        "syncDir segments",
        "unlink checkpoint.tmp",
        "create checkpoint.tmp",
        "write checkpoint.tmp 0+229",
        "datasync checkpoint.tmp",
        "rename checkpoint.tmp → checkpoint",
        "syncDir /data/shards/0",
        "unlink segments/00000001-00000000000000000000.seg",
        "unlink segments/00000001-00000000000000000000.idx",
        "unlink segments/00000001-00000000000000000010.seg",
        "unlink segments/00000001-00000000000000000010.idx",
      ]
    `);
  });

  it('a crash at any step loses nothing, and the next pass ends the work', async () => {
    let changes = 0;
    for (const keep of ['kill', 'nothing', 'everything', 'mixed'] as const) {
      for (let n = 1; n < 200; n++) {
        const w = new Compacted(n);
        await w.begin();
        await w.put(...cycle(60, 7));
        await w.run(w.shard.checkpoint());
        const before = await w.all();
        const active = w.log.segments.at(-1)?.base ?? 0;
        w.sim.disk.killAtChange(n);
        let done = false;
        void w.compaction.run().then(() => {
          done = true;
        });
        await w.sim.scheduler.runUntilIdle();
        if (w.machine.process.isAlive) {
          expect(done).toBe(true);
          break;
        }
        changes = Math.max(changes, n);
        if (keep !== 'kill') w.sim.powerLoss(w.machine.process, keep);
        await w.again();
        const after = await w.all();
        const compacted = [
          ...latest(before.filter((b) => b.position < active)),
          ...before.filter((b) => b.position >= active),
        ];
        // Every record with a newer one may be there or not; no other may be missing, none may be new.
        expect(before).toEqual(expect.arrayContaining(after));
        expect(after).toEqual(expect.arrayContaining(compacted));
        if (w.log.cleanedTo > 0) expect(after).toEqual(compacted);
        expect(await w.damage(), `change ${n}, ${keep}`).toEqual([]);
        await w.put('x');
        await w.compact();
        await w.again();
        const open = w.log.segments.at(-1);
        const end = (open?.version ?? 0) > 0 ? w.log.nextPosition : (open?.base ?? 0);
        const now = await w.all();
        expect(now.filter((b) => b.position < end)).toEqual(latest(now.filter((b) => b.position < end)));
        expect(w.strayFiles(w.shard)).toEqual([]);
      }
    }
    // Create, write, syncs, checkpoint, rename, unlinks: each was a place to die.
    expect(changes).toBeGreaterThan(15);
  });

  it('survives a restart between swap and the next append: nothing is appended to a compacted file', async () => {
    const w = new Compacted();
    await w.begin();
    w.settings = { dirtyRatioMin: 0, lagMinMs: 0, lagMaxMs: 1, deleteRetentionMs: HOUR };
    await w.put(...cycle(12, 2));
    await w.sleep(10);
    await w.compact();
    await w.again();
    expect(w.log.segments.map((s) => s.version)).toEqual([1]);
    await w.put('k0', 'k9');
    expect(w.log.segments).toHaveLength(2);
    await w.again();
    expect((await w.all()).map((b) => b.position)).toEqual([10, 11, 12, 13]);
    expect(await w.damage()).toEqual([]);
  });

  it('tombstones stay for delete.retention.ms, then go by themselves', async () => {
    const w = new Compacted();
    await w.begin();
    await w.put('a', 'b', '-a', ...cycle(20, 3));
    await w.compact();
    await w.again();
    expect((await w.all()).filter((b) => b.key === 'a').map((b) => b.position)).toEqual([2]);
    // Nobody appends any more, and this process has never seen the tombstone.
    w.compaction.start();
    await w.sleep(HOUR / 2);
    expect((await w.all()).some((b) => b.key === 'a')).toBe(true);
    await w.sleep(HOUR);
    await w.again();
    expect((await w.all()).some((b) => b.key === 'a')).toBe(false);
    expect((await w.all()).some((b) => b.key === 'b')).toBe(true);
    w.compaction.start();
    await w.sleep(3 * HOUR);
    const { looks } = w;
    await w.sleep(100 * HOUR);
    expect(w.looks).toBe(looks);
  });

  it('a segment of which nothing is left keeps one header', async () => {
    const w = new Compacted();
    w.settings = { dirtyRatioMin: 0, lagMinMs: 0, lagMaxMs: OFF, deleteRetentionMs: 0 };
    await w.begin(200);
    await w.put('-a', '-b', '-c', '-d', '-e', '-f', '-g', '-h', '-i', '-j', '-k', '-l', 'z', 'z', 'z', 'z', 'z');
    await w.sleep(10);
    await w.compact();
    await w.again();
    for (const s of w.log.segments) expect(s.bytes).toBeGreaterThan(0);
    expect((await w.all(0)).filter((b) => b.key !== '' && b.key !== 'z')).toEqual([]);
    expect(await w.damage()).toEqual([]);
  });

  it('what does not fit into the map waits for the next pass', async () => {
    const w = new Compacted();
    w.keyBytesMax = 1;
    w.settings = { dirtyRatioMin: 0, lagMinMs: 0, lagMaxMs: OFF, deleteRetentionMs: HOUR };
    await w.begin(20_000);
    const keys = [...Array(1500).keys()].map((i) => `k${i}`);
    for (const key of [...keys, ...keys, 'end', 'end']) {
      const b = block(key, 'v'.padEnd(20), w.machine.clock.wallMs());
      w.shard.append(w.log, b, 0, b.length, 1, 0);
    }
    await w.run(w.shard.barrier());
    w.compaction.start();
    await w.sleep(300_000);
    expect(w.compaction.stats.passes).toBeGreaterThan(2);
    const active = w.log.segments.at(-1)?.base ?? 0;
    expect(w.log.cleanedTo).toBe(active);
    await w.again();
    const now = (await w.all()).filter((b) => b.position < active);
    expect(now).toEqual(latest(now));
    expect(new Set(now.map((b) => b.key)).size).toBe(1500);
  });

  it('leaves a damaged log alone, and says so', async () => {
    const w = new Compacted();
    const errors: string[] = [];
    w.logger = { debug() {}, info() {}, warn() {}, error: (_, message) => void errors.push(message) };
    await w.begin();
    await w.put(...cycle(60, 7));
    await w.run(w.shard.checkpoint());
    const path = `${DIRECTORY}/segments/${w.segmentFiles()[1]}`;
    w.sim.disk.corrupt(path, 60, 1);
    await w.compact();
    expect(errors).toEqual([expect.stringContaining('hadron log verify')]);
    expect(w.log.cleanedTo).toBe(0);
    expect(w.segmentFiles().every((f) => !f.includes('.1.'))).toBe(true);
    const looks = w.looks;
    await w.compact();
    expect(w.looks).toBe(looks);
  });

  it('a full disk stops it, and it goes on when there is room', async () => {
    const w = new Compacted();
    await w.begin();
    await w.put(...cycle(60, 7));
    await w.run(w.shard.checkpoint());
    w.sim.disk.faults.failNext('write', /\.1\.seg$/, { code: 'ENOSPC' });
    w.compaction.start();
    await w.sleep(20_000);
    expect(w.log.cleanedTo).toBe(0);
    expect(w.shard.failed).toBeUndefined();
    await w.sleep(100_000);
    expect(w.log.cleanedTo).toBeGreaterThan(0);
    expect(w.sim.disk.faults.unmet).toEqual([]);
  });
});

describe('compaction beside other work', () => {
  it('appends, reads, trims and a removal go on', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const w = new Compacted(seed);
      await w.begin(400, { tailCacheBytes: 1024, openFilesMax: 2 });
      const other = await w.create(w.shard, { name: 'b-0', options: { segmentBytes: 400, segmentMs: 1e12 } });
      for (let i = 0; i < 60; i++) {
        await w.put(`k${w.sim.random.int(8)}`);
        await w.append(w.shard, other, block(`k${w.sim.random.int(8)}`, 'v'));
      }
      await w.run(w.shard.checkpoint());
      const start = await w.all();
      const pass = w.compaction.run();
      const seen = new Set(start.map((b) => b.position));
      const work = async (): Promise<void> => {
        for (let i = 0; i < 12; i++) {
          const from = w.sim.random.int(w.log.nextPosition - w.log.startPosition) + w.log.startPosition;
          let lastPosition = from - 1;
          const keys = new Set<string>();
          for (const b of await w.readNow(w.shard, w.log, from)) {
            expect(b.position).toBeGreaterThan(lastPosition);
            lastPosition = b.position;
            keys.add(b.key);
          }
          // Nothing with no newer record may be missing.
          for (const b of latest(start))
            if (b.position >= Math.max(from, w.log.startPosition)) expect(keys.has(b.key)).toBe(true);
          const b = block(`k${w.sim.random.int(8)}`, 'new'.padEnd(12), 7);
          w.shard.append(w.log, b, 0, b.length, 1, 7);
          if (i === seed % 12)
            w.shard.appendSet([{ kind: 'trim', log: w.log, position: 10 + (seed % 30) }], { control: true });
          if (i === (seed * 7) % 12) w.shard.appendSet([{ kind: 'remove', log: other }], { control: true });
          await w.shard.barrier();
        }
      };
      await w.run(work());
      await w.run(pass);
      await w.sleep(100);
      expect(w.shard.failed).toBeUndefined();
      expect(await w.damage(), `seed ${seed}`).toEqual([]);
      await w.again();
      expect((await w.all()).filter((b) => !seen.has(b.position))).toHaveLength(12);
      expect(w.shard.recovered.damage).toEqual([]);
      expect(w.strayFiles(w.shard)).toEqual([]);
    }
  });

  it('a seek by time finds what is left', async () => {
    const w = new Compacted();
    await w.begin();
    for (let i = 0; i < 40; i++) {
      await w.put(`k${i % 5}`);
      await w.sleep(1000);
    }
    const times = (await w.all()).map((b) => b.position);
    expect(times).toHaveLength(40);
    await w.compact();
    await w.again();
    const startMs = w.log.segments[0]?.createdMs ?? 0;
    const left = await w.all(0);
    for (let s = 0; s < 40; s++) {
      const found = await w.run(findByTime(w.shard, w.log, startMs + s * 1000 - 500, 0));
      const expected = left.find((b) => b.position >= s);
      expect(found === undefined ? undefined : keyOf(found)).toBe(expected?.key);
    }
  });

  it('policy compact,delete: both', async () => {
    const w = new Compacted();
    await w.begin();
    await w.put(...cycle(40, 5));
    await w.compact();
    const retention = new Retention({
      shard: w.shard,
      settingsFor: () => ({ retentionMs: HOUR, retentionBytes: -1 }),
      checkIntervalMs: 300_000,
    });
    retention.start();
    await w.sleep(HOUR / 2);
    await w.put(...cycle(40, 5));
    await w.sleep(HOUR / 2 + 1000);
    expect(w.log.startPosition).toBeGreaterThan(30);
    await w.compact();
    await w.sleep(HOUR);
    expect(w.log.startPosition).toBe(80);
    await w.sleep(1000);
    expect(w.segmentFiles()).toEqual([]);
  });

  it('ends within a slice when the shard closes', async () => {
    const w = new Compacted();
    await w.begin();
    await w.put(...cycle(200, 7));
    await w.run(w.shard.checkpoint());
    const pass = w.compaction.run();
    await w.run(w.shard.close());
    await w.run(pass);
    await w.again();
    expect(await w.damage()).toEqual([]);
    expect(w.shard.recovered.clean).toBe(true);
  });
});

describe('when compaction looks', () => {
  it('max.compaction.lag.ms ends the active segment in time, though nobody appends', async () => {
    const w = new Compacted();
    w.settings = { dirtyRatioMin: 0.9, lagMinMs: 0, lagMaxMs: 2000, deleteRetentionMs: HOUR };
    await w.begin(1e6);
    w.compaction.start();
    await w.sleep(HOUR);
    await w.put('a', 'a', 'b', 'b');
    await w.sleep(7000);
    expect(w.log.cleanedTo).toBe(4);
    await w.again();
    expect((await w.all()).map((b) => b.position)).toEqual([1, 3]);
  });

  it('min.compaction.lag.ms keeps the young, and looks again when they are old enough', async () => {
    const w = new Compacted();
    w.settings = { dirtyRatioMin: 0, lagMinMs: HOUR, lagMaxMs: OFF, deleteRetentionMs: HOUR };
    await w.begin();
    w.compaction.start();
    await w.put(...cycle(60, 5));
    await w.sleep(HOUR - 60_000);
    expect(w.log.cleanedTo).toBe(0);
    await w.sleep(120_000);
    expect(w.log.cleanedTo).toBeGreaterThan(40);
  });

  it('min.cleanable.dirty.ratio', async () => {
    const w = new Compacted();
    await w.begin(2000);
    w.compaction.start();
    await w.put(...[...Array(200).keys()].map((i) => `unique${i}`));
    await w.sleep(60_000);
    const cleaned = w.log.cleanedTo;
    expect(cleaned).toBeGreaterThan(100);
    await w.put(...cycle(100, 5));
    await w.sleep(60_000);
    expect(w.log.cleanedTo).toBe(cleaned);
    await w.put(...cycle(150, 5));
    await w.sleep(60_000);
    expect(w.log.cleanedTo).toBeGreaterThan(cleaned);
  });

  it('costs nothing while nothing is to be done', async () => {
    const w = new Compacted();
    await w.begin();
    w.compaction.start();
    await w.put(...cycle(60, 5));
    await w.sleep(HOUR);
    const looks = w.looks;
    await w.sleep(1000 * HOUR);
    expect(w.looks).toBe(looks);
    w.settings = undefined;
    await w.put(...cycle(60, 5));
    const cleaned = w.log.cleanedTo;
    await w.sleep(HOUR);
    expect(w.log.cleanedTo).toBe(cleaned);
    w.compaction.stop();
  });
});

describe('the offset map', () => {
  it('agrees with a Map, within its memory', () => {
    const map = new OffsetMap(1 << 20);
    const model = new Map<string, number>();
    let position = 0;
    for (let i = 0; i < 60_000; i++) {
      const key = `key ${(i * 7919) % 25_000}`;
      if (map.put(Buffer.from(key), position)) model.set(key, position);
      position += 3;
    }
    expect(map.size).toBe(model.size);
    expect(map.size).toBe(25_000);
    for (const [key, at] of model) expect(map.get(Buffer.from(key))).toBe(at);
    expect(map.get(Buffer.from('no key'))).toBe(-1);
    expect(map.bytes).toBeLessThanOrEqual(1 << 20);
  });

  it('refuses new keys when it is full, never known ones, and takes all by force', () => {
    const map = new OffsetMap(1);
    let n = 0;
    while (map.put(Buffer.from(`k${n}`), n)) n++;
    expect(n).toBe(819);
    expect(map.put(Buffer.from('k0'), 5000)).toBe(true);
    expect(map.get(Buffer.from('k0'))).toBe(5000);
    expect(map.put(Buffer.from('new'), 1)).toBe(false);
    expect(map.put(Buffer.from('new'), 1, true)).toBe(true);
    expect(map.get(Buffer.from('new'))).toBe(1);
  });
});
