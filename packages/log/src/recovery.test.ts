/** Each state of RECOVERY_CASES, built on the simulated disk: the decision, and that recovery twice is recovery once (log.md G10). */
import { crc32c, writeI16, writeI32 } from '@hadron/base';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT_HEADER_BYTES } from './checkpoint-file.ts';
import { COMMIT_FILE_HEADER_BYTES } from './commit-log.ts';
import { readSnapshot, scanFrames } from './recovery.ts';
import { RECOVERY_CASES, type RecoveryCaseName } from './recovery-cases.ts';
import type { Shard, ShardSettings } from './shard.ts';
import { appendUnit, codeOf, createLog, durable, logNamed, readUnits, SimWorld } from './testing/world.ts';

const small: Partial<ShardSettings> = {
  commitFileBytes: 8192,
  directAtBytes: 2000,
  minFreeBytes: 0,
  checkpointAtBytes: 1 << 30,
};
const COMMIT = 'data/shards/0/commit';
const SEGMENTS = 'data/shards/0/segments';

class Folder extends SimWorld {
  shard!: Shard;

  async start(): Promise<Shard> {
    this.shard = await this.open({ settings: small });
    await this.idle();
    return this.shard;
  }

  /** A log `a` with units 1, 2, 3, all durable. */
  async withLog(durability: 'fsync' | 'os' = 'fsync'): Promise<void> {
    const shard = await this.start();
    const log = createLog(shard, { name: 'a', durability });
    await this.run(shard.barrier());
    for (const id of [1, 2, 3]) await this.append(id);
    expect(log.visiblePosition).toBe(3);
  }

  async append(id: number, bytes = 64): Promise<void> {
    await this.run(durable(this.shard, appendUnit(this.shard, logNamed(this.shard, 'a'), { id, bytes })));
  }

  /** kill -9; what was written stays. */
  crash(): void {
    this.kill();
  }

  /** The last commit file with frames: its path, content and frames. */
  commitFile(): { path: string; bytes: Uint8Array; frames: { at: number; lsn: number; length: number }[] } {
    const inspector = this.sim.start('inspector');
    const scan = scanFrames(inspector.fs, COMMIT);
    inspector.process.kill();
    const file = scan.files.filter((f) => f.frames.length > 0).at(-1);
    if (file === undefined) throw new Error('no commit file with frames');
    const frames = file.frames.map((f) => ({ at: f.at, lsn: f.head.lsn, length: f.head.length }));
    return { path: file.path, bytes: this.sim.disk.content(file.path), frames };
  }

  /** Flips a bit of the frame that is `back` frames before the last one. */
  damageFrame(back: number, part: 'head' | 'body'): void {
    const { path, frames } = this.commitFile();
    const frame = frames.at(-1 - back) as { at: number; length: number };
    this.sim.disk.corrupt(path, part === 'head' ? frame.at + 30 : frame.at + frame.length - 1, 1);
  }

  async ids(): Promise<number[]> {
    return (await this.run(readUnits(this.shard, logNamed(this.shard, 'a')))).map((u) => u.id);
  }

  segment(name: RegExp = /\.seg$/): string {
    const file = this.sim.disk.files().find((f) => f.path.startsWith(SEGMENTS) && name.test(f.path));
    if (file === undefined) throw new Error('no segment file');
    return file.path;
  }
}

interface Case {
  build(f: Folder): Promise<void>;
  /** Ids of the units of log `a` afterwards, an error code, or nothing to say of them. */
  expect: number[] | 'DATA_DAMAGED' | undefined;
  check?(f: Folder): Promise<void> | void;
}

async function reference(f: Folder, durability: 'fsync' | 'os', acknowledgedBehind: boolean): Promise<void> {
  await f.withLog(durability);
  await f.append(4, 3000);
  if (acknowledgedBehind) {
    await f.append(5);
    await f.append(6);
  }
  f.crash();
  f.sim.disk.corrupt(f.segment(), 3 * 64 + 100, 1);
}

const CASES: Record<RecoveryCaseName, Case> = {
  'empty-folder': {
    build: async () => {},
    expect: undefined,
    check: (f) => expect(f.shard.syncedLsn).toBe(1),
  },
  'clean-stop': {
    async build(f) {
      await f.withLog('os');
      await f.run(f.shard.close());
      f.kill();
    },
    expect: [1, 2, 3],
    check: (f) => expect(logNamed(f.shard, 'a').epoch).toBe(0),
  },
  'unclean-stop': {
    async build(f) {
      await f.withLog('os');
      f.crash();
    },
    expect: [1, 2, 3],
    check: (f) => expect(logNamed(f.shard, 'a').epochs.at(-1)).toEqual({ epoch: 1, start: 3 }),
  },
  'torn-tail': {
    async build(f) {
      await f.withLog();
      f.crash();
      f.damageFrame(0, 'head');
    },
    expect: [1, 2],
  },
  'torn-set': {
    async build(f) {
      await f.withLog();
      f.crash();
      f.damageFrame(0, 'body');
    },
    expect: [1, 2],
  },
  'frames-behind-a-cut': {
    async build(f) {
      await f.withLog();
      // Two frames of one write: neither knows of the other as durable.
      appendUnit(f.shard, logNamed(f.shard, 'a'), { id: 4 });
      await f.run(durable(f.shard, appendUnit(f.shard, logNamed(f.shard, 'a'), { id: 5 })));
      f.crash();
      f.damageFrame(1, 'head');
    },
    expect: [1, 2, 3],
  },
  'former-life': {
    async build(f) {
      await f.withLog();
      f.crash();
      // Behind the end lies a frame that was whole in another life of the file.
      const { path, bytes, frames } = f.commitFile();
      const first = frames[1] as { at: number; length: number };
      const old = bytes.slice(first.at, first.at + first.length);
      writeI32(old, 32, 0x1234);
      f.sim.disk.put(path, Buffer.concat([bytes, old]));
    },
    expect: [1, 2, 3],
  },
  'zero-tail': {
    async build(f) {
      await f.withLog();
      f.crash();
      const { path, bytes } = f.commitFile();
      f.sim.disk.put(path, Buffer.concat([bytes, Buffer.alloc(4096)]));
    },
    expect: [1, 2, 3],
  },
  'unbegun-file': {
    async build(f) {
      await f.withLog();
      f.crash();
      f.sim.disk.put(`${COMMIT}/007.log`, Buffer.alloc(100));
    },
    expect: [1, 2, 3],
  },
  'covered-file': {
    async build(f) {
      await f.withLog();
      await f.run(f.shard.checkpoint());
      f.crash();
    },
    expect: [1, 2, 3],
  },
  'damaged-body': {
    async build(f) {
      await f.withLog();
      f.crash();
      f.damageFrame(2, 'body');
    },
    expect: undefined,
    async check(f) {
      const log = logNamed(f.shard, 'a');
      expect(f.shard.recovered.damage).toEqual([{ log: 'a', from: 0, to: 1, what: 'damaged-body' }]);
      expect(log.fences).toMatchObject([{ from: 0, to: 1 }]);
      await expect(f.run(readUnits(f.shard, log, 0))).rejects.toMatchObject({ code: 'CORRUPT_DATA' });
      expect((await f.run(readUnits(f.shard, log, 1))).map((u) => u.id)).toEqual([2, 3]);
    },
  },
  'damaged-head': {
    async build(f) {
      await f.withLog();
      f.crash();
      f.damageFrame(2, 'head');
    },
    expect: 'DATA_DAMAGED',
  },
  'reference-without-bytes': { build: (f) => reference(f, 'fsync', false), expect: [1, 2, 3] },
  'damaged-reference': {
    build: (f) => reference(f, 'fsync', true),
    expect: undefined,
    async check(f) {
      const log = logNamed(f.shard, 'a');
      expect(log.fences).toMatchObject([{ from: 3, to: 4 }]);
      await expect(f.run(readUnits(f.shard, log, 3))).rejects.toMatchObject({ code: 'CORRUPT_DATA' });
      expect((await f.run(readUnits(f.shard, log, 4))).map((u) => u.id)).toEqual([5, 6]);
    },
  },
  'lost-os-bytes': {
    build: (f) => reference(f, 'os', true),
    expect: [1, 2, 3],
    check: (f) => expect(logNamed(f.shard, 'a').epochs.at(-1)?.start).toBe(3),
  },
  'checkpoint-half-written': {
    async build(f) {
      await f.withLog();
      await f.run(f.shard.checkpoint());
      f.crash();
      f.sim.disk.put('data/shards/0/checkpoint.tmp', Buffer.alloc(10, 7));
    },
    expect: [1, 2, 3],
  },
  'checkpoint-newer': {
    async build(f) {
      await f.withLog();
      // A row is newer than the checkpoint's LSN: a direct append is synced while the checkpoint is at another log.
      const other = createLog(f.shard, { name: 'b' });
      appendUnit(f.shard, other, { id: 8 });
      const hold = f.sim.disk.faults.hold('datasync', /00000002-0*\.seg$/);
      const checkpoint = f.shard.checkpoint();
      await f.idle();
      await f.append(4, 3000);
      hold.release();
      await f.run(checkpoint);
      f.crash();
    },
    expect: [1, 2, 3, 4],
  },
  'missing-segment': {
    async build(f) {
      await f.withLog();
      await f.run(f.shard.checkpoint());
      await f.append(4);
      f.crash();
      f.sim.disk.remove(f.segment());
    },
    expect: undefined,
    async check(f) {
      const log = logNamed(f.shard, 'a');
      expect(log.fences).toMatchObject([{ from: 0, to: 3 }]);
      expect((await f.run(readUnits(f.shard, log, 3))).map((u) => u.id)).toEqual([4]);
    },
  },
  'short-segment': {
    async build(f) {
      await f.withLog();
      await f.run(f.shard.checkpoint());
      await f.append(4);
      f.crash();
      const path = f.segment();
      f.sim.disk.put(path, f.sim.disk.content(path).slice(0, 2 * 64 + 10));
    },
    expect: undefined,
    async check(f) {
      const log = logNamed(f.shard, 'a');
      expect(log.fences).toMatchObject([{ from: 2, to: 3 }]);
      const read = await f.run(readUnits(f.shard, log, 3));
      expect(read.map((u) => u.id)).toEqual([4]);
    },
  },
  'extra-segment': {
    async build(f) {
      await f.withLog();
      f.crash();
      f.sim.disk.put(`${SEGMENTS}/00000063-00000000000000000000.seg`, Buffer.alloc(10));
    },
    expect: [1, 2, 3],
    check: (f) => expect(f.sim.disk.files().some((x) => x.path.includes('00000063'))).toBe(false),
  },
  'dead-log': {
    async build(f) {
      await f.withLog();
      const log = logNamed(f.shard, 'a');
      await f.run(durable(f.shard, f.shard.appendSet([{ kind: 'remove', log }])));
      f.crash();
    },
    expect: undefined,
    check: (f) => expect([f.shard.logs.size, f.shard.nextLogId]).toEqual([0, 2]),
  },
  'trimmed-segments': {
    async build(f) {
      const shard = await f.start();
      const log = createLog(shard, { name: 'a', options: { segmentBytes: 64, segmentMs: 1e12 } });
      await f.run(shard.barrier());
      for (const id of [1, 2, 3]) await f.append(id);
      await f.run(shard.checkpoint());
      // The trim is durable, the process dies before the files go.
      f.sim.disk.faults.hold('unlink', /\.seg$/);
      await f.run(durable(shard, shard.appendSet([{ kind: 'trim', log, position: 2 }])));
      f.crash();
      f.sim.disk.faults.clear();
    },
    expect: [3],
    check: (f) => expect(f.sim.disk.files().filter((x) => x.path.endsWith('.seg')).length).toBe(1),
  },
};

function stateOf(shard: Shard): unknown {
  return [...shard.logs.values()].map((l) => [l.id, l.name, l.startPosition, l.nextPosition, l.fences]);
}

describe('recovery', () => {
  for (const [name, c] of Object.entries(CASES) as [RecoveryCaseName, Case][]) {
    it(`${name}: ${RECOVERY_CASES[name].decision}`, async () => {
      const f = new Folder();
      await c.build(f);
      if (c.expect === 'DATA_DAMAGED') {
        for (let i = 0; i < 2; i++) {
          expect(codeOf(await f.start().catch((e: unknown) => e))).toBe('DATA_DAMAGED');
          f.kill();
        }
        return;
      }
      await f.start();
      expect(f.shard.recovered.cases).toContain(name);
      if (c.expect !== undefined) expect(await f.ids()).toEqual(c.expect);
      await c.check?.(f);
      const once = stateOf(f.shard);
      for (const keep of ['nothing', 'mixed'] as const) {
        f.powerLoss(keep);
        await f.start();
        expect(stateOf(f.shard)).toEqual(once);
      }
    });
  }

  it('goes on behind a cut: what is appended there survives the next crash, what was cut does not come back', async () => {
    const f = new Folder();
    await f.withLog();
    f.crash();
    f.damageFrame(0, 'body');
    await f.start();
    await f.append(9);
    f.powerLoss('nothing');
    await f.start();
    expect(await f.ids()).toEqual([1, 2, 9]);
  });

  describe('a newer format is refused', () => {
    const refused = async (f: Folder): Promise<void> => {
      expect(codeOf(await f.start().catch((e: unknown) => e))).toBe('DATA_FORMAT_NEWER');
    };

    it('of a commit file', async () => {
      const f = new Folder();
      await f.withLog();
      f.crash();
      const { path, bytes } = f.commitFile();
      writeI16(bytes, 4, 2);
      writeI32(bytes, 60, crc32c(bytes, 0, 60));
      f.sim.disk.put(path, bytes);
      await refused(f);
      expect(COMMIT_FILE_HEADER_BYTES).toBe(128);
    });

    it('of a checkpoint', async () => {
      const f = new Folder();
      await f.withLog();
      await f.run(f.shard.checkpoint());
      f.crash();
      const bytes = f.sim.disk.content('data/shards/0/checkpoint');
      writeI16(bytes, 4, 2);
      f.sim.disk.put('data/shards/0/checkpoint', bytes);
      await refused(f);
      expect(bytes.length).toBeGreaterThan(CHECKPOINT_HEADER_BYTES);
    });

    it('of a snapshot', () => {
      const f = new Folder();
      const bytes = Buffer.alloc(40);
      writeI32(bytes, 0, 0x4844534e);
      writeI16(bytes, 4, 2);
      f.sim.disk.put('s', bytes);
      expect(() => readSnapshot(f.sim.start().fs, 's')).toThrow(/DATA_FORMAT_NEWER/);
    });

    it('of a log', async () => {
      const f = new Folder();
      await f.withLog();
      f.crash();
      const opening = f.open({ settings: small, formats: [] });
      expect(codeOf(await opening.catch((e: unknown) => e))).toBe('DATA_FORMAT_NEWER');
    });
  });
});
