import { describe, expect, it } from 'vitest';
import type { Log } from './log.ts';
import { deleteRecordsBefore, Retention, type RetentionSettings } from './retention.ts';
import type { Shard } from './shard.ts';
import { block } from './testing/blocks.ts';
import { BlocksWorld } from './testing/blocks-world.ts';

const HOUR = 3_600_000;
const CHECK_MS = 300_000;
/** Of a block with a key and a value of ten characters each. */
const BLOCK_BYTES = 54;

class Kept extends BlocksWorld {
  settings: RetentionSettings | undefined = { retentionMs: HOUR, retentionBytes: -1 };
  shard!: Shard;
  log!: Log;
  retention!: Retention;
  looks = 0;

  async begin(options = { segmentBytes: 10 * BLOCK_BYTES, segmentMs: 24 * HOUR }): Promise<void> {
    this.shard = await this.open();
    this.log = await this.create(this.shard, { name: 'a-0', options });
    this.watch();
  }

  watch(): void {
    const settingsFor = (): RetentionSettings | undefined => {
      this.looks++;
      return this.settings;
    };
    this.retention = new Retention({ shard: this.shard, settingsFor, checkIntervalMs: CHECK_MS });
    this.retention.start();
  }

  async again(): Promise<void> {
    this.restart();
    this.shard = await this.open();
    this.log = [...this.shard.logs.values()].find((l) => l.name === 'a-0') as Log;
  }

  /** Appends `n` blocks of now, one at a time. */
  async fill(n: number): Promise<void> {
    for (let i = 0; i < n; i++) {
      const at = String(this.log.nextPosition).padStart(10, '0');
      await this.append(this.shard, this.log, block(at, at, this.machine.clock.wallMs()));
    }
  }
}

describe('retention by time (B11)', () => {
  it('removes sealed segments when their newest record is too old, oldest first', async () => {
    const w = new Kept();
    await w.begin();
    await w.fill(10);
    await w.sleep(HOUR / 2);
    await w.fill(15);
    await w.run(w.shard.checkpoint());
    expect(w.segmentFiles()).toHaveLength(3);
    await w.sleep(HOUR / 2 - 10_000);
    expect(w.log.startPosition).toBe(0);
    await w.sleep(20_000);
    expect(w.log.startPosition).toBe(10);
    expect(w.segmentFiles()).toHaveLength(2);
    expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([...Array(15).keys()].map((i) => i + 10));
  });

  it('keeps what is held, whole segments of it, and removes it when it is not held any more', async () => {
    const w = new Kept();
    await w.begin();
    await w.fill(25);
    w.settings = { retentionMs: HOUR, retentionBytes: 0, heldFrom: 13 };
    await w.sleep(2 * HOUR);
    expect(w.log.startPosition).toBe(10);
    w.settings = { ...w.settings, heldFrom: 20 };
    await w.sleep(CHECK_MS + 1_000);
    expect(w.log.startPosition).toBe(20);
    w.settings = { ...w.settings, heldFrom: undefined };
    await w.sleep(CHECK_MS + 1_000);
    expect(w.log.startPosition).toBe(25);
  });

  it('removes the active segment too, though nobody appends, and positions go on', async () => {
    const w = new Kept();
    await w.begin();
    await w.fill(3);
    await w.sleep(HOUR + 5000);
    expect(w.log.startPosition).toBe(3);
    // Files that no checkpoint covered: one was made, so that they could go.
    await w.sleep(1000);
    expect(w.segmentFiles()).toEqual([]);
    await w.fill(2);
    expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([3, 4]);
    await w.again();
    expect(w.log.startPosition).toBe(3);
    expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([3, 4]);
  });

  it('runs on time right after a restart', async () => {
    const w = new Kept();
    await w.begin();
    await w.fill(15);
    await w.run(w.shard.checkpoint());
    w.machine.process.kill();
    w.sim.scheduler.jumpWall(2 * HOUR);
    await w.again();
    expect(w.log.startPosition).toBe(0);
    w.watch();
    await w.sleep(100);
    expect(w.log.startPosition).toBe(15);
    await w.sleep(1000);
    expect(w.segmentFiles()).toEqual([]);
    await w.fill(1);
    await w.again();
    expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([15]);
  });

  it('finishes what a server left that stopped between trim and unlink', async () => {
    const w = new Kept();
    await w.begin();
    await w.fill(5);
    await w.run(w.shard.checkpoint());
    w.retention.stop();
    w.shard.appendSet([{ kind: 'trim', log: w.log, position: 5 }], { control: true });
    await w.run(w.shard.barrier());
    await w.again();
    expect(w.segmentFiles()).toHaveLength(1);
    w.watch();
    await w.sleep(100);
    expect(w.segmentFiles()).toEqual([]);
    await w.fill(1);
    expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([5]);
  });

  it('notices within the check interval that the wall clock jumped', async () => {
    const w = new Kept();
    await w.begin();
    await w.fill(12);
    w.sim.scheduler.jumpWall(2 * HOUR);
    await w.sleep(CHECK_MS + 1000);
    expect(w.log.startPosition).toBe(12);
  });

  it('keeps records of the future, and everything when time is -1', async () => {
    const w = new Kept();
    await w.begin();
    w.sim.scheduler.jumpWall(365 * 24 * HOUR);
    await w.fill(12);
    w.sim.scheduler.jumpWall(-365 * 24 * HOUR);
    await w.sleep(2 * HOUR);
    expect(w.log.startPosition).toBe(0);
    w.settings = { retentionMs: -1, retentionBytes: -1 };
    w.sim.scheduler.jumpWall(1000 * 24 * HOUR);
    await w.sleep(2 * HOUR);
    expect(w.log.startPosition).toBe(0);
  });

  it('a segment boundary never makes data outlive its time by more than segment.ms', async () => {
    const w = new Kept();
    await w.begin({ segmentBytes: 1e9, segmentMs: HOUR });
    for (let i = 0; i < 100; i++) {
      await w.fill(1);
      const oldest = w.log.segments[0];
      expect(w.machine.clock.wallMs() - (oldest?.createdMs ?? 0)).toBeLessThanOrEqual(2 * HOUR + CHECK_MS);
      await w.sleep(HOUR / 10);
    }
    expect(w.log.startPosition).toBeGreaterThan(70);
  });

  it('counts from the next segment where records carry no time', async () => {
    const w = new Kept();
    await w.begin({ segmentBytes: 10 * BLOCK_BYTES, segmentMs: 2 * HOUR });
    const blank = block('0123456789', '0123456789', -1);
    for (let i = 0; i < 15; i++) await w.append(w.shard, w.log, blank);
    await w.sleep(HOUR + 5000);
    expect(w.log.startPosition).toBe(10);
    await w.sleep(2 * HOUR);
    expect(w.log.startPosition).toBe(15);
  });
});

describe('a crash at any step of a trim (G14)', () => {
  it('leaves the log with its old or its new start, whole, and the next look ends the work', async () => {
    let steps = 0;
    for (const keep of ['kill', 'nothing', 'everything', 'mixed'] as const) {
      for (let n = 1; n < 100; n++) {
        const w = new Kept(n);
        await w.begin();
        await w.fill(25);
        await w.run(w.shard.checkpoint());
        await w.fill(3);
        w.retention.stop();
        w.sim.scheduler.jumpWall(2 * HOUR);
        w.sim.disk.killAtChange(n);
        w.retention.start();
        await w.sim.scheduler.runUntilIdle();
        if (w.machine.process.isAlive) break;
        steps = Math.max(steps, n);
        if (keep !== 'kill') w.sim.powerLoss(w.machine.process, keep);
        await w.again();
        const start = w.log.startPosition;
        expect([0, 28], `step ${n}, ${keep}`).toContain(start);
        const left = (await w.read(w.shard, w.log)).map((b) => b.position);
        expect(left).toEqual([...Array(28).keys()].filter((i) => i >= start));
        expect(w.shard.recovered.damage).toEqual([]);
        w.watch();
        await w.sleep(2000);
        expect(w.log.startPosition).toBe(28);
        expect(w.segmentFiles(), `step ${n}, ${keep}`).toEqual([]);
        await w.fill(1);
        await w.again();
        expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([28]);
      }
    }
    expect(steps).toBeGreaterThan(5);
  });
});

describe('retention by size (B11)', () => {
  it('removes the oldest segments while what is left is at least the limit; the active one stays', async () => {
    const w = new Kept();
    w.settings = { retentionMs: -1, retentionBytes: 20 * BLOCK_BYTES };
    await w.begin();
    await w.fill(55);
    await w.sleep(2000);
    // 35 blocks would be left without the segment [20, 30); 25 are at least the limit, 15 are not.
    expect(w.log.startPosition).toBe(30);
    w.settings = { retentionMs: -1, retentionBytes: 0 };
    w.retention.settingsChanged();
    await w.sleep(100);
    expect(w.log.startPosition).toBe(50);
  });
});

describe('the sleep of retention', () => {
  it('costs nothing when nothing is due, and looks at most every check interval', async () => {
    const w = new Kept();
    w.settings = { retentionMs: -1, retentionBytes: -1 };
    await w.begin();
    await w.fill(25);
    await w.sleep(2000);
    const before = w.looks;
    await w.sleep(1000 * HOUR);
    expect(w.looks).toBe(before);
    w.settings = { retentionMs: 1e12, retentionBytes: -1 };
    w.retention.settingsChanged();
    await w.sleep(10 * CHECK_MS);
    expect(w.looks - before).toBeLessThan(13);
    w.retention.stop();
    const stopped = w.looks;
    await w.sleep(100 * CHECK_MS);
    expect(w.looks).toBe(stopped);
  });

  it('leaves logs alone that have no settings', async () => {
    const w = new Kept();
    w.settings = undefined;
    await w.begin();
    await w.fill(25);
    await w.sleep(1000 * HOUR);
    expect(w.log.startPosition).toBe(0);
  });
});

describe('state logs', () => {
  it('lose what lies before their newest snapshot, after the checkpoint that names it', async () => {
    const w = new Kept();
    w.settings = undefined;
    await w.begin({ segmentBytes: 1e9, segmentMs: 1e12 });
    const { shard, log } = w;
    shard.registerSnapshots({ log, chunks: () => [Buffer.from('state')] });
    const big = block('k', 'x'.repeat(100_000), 5);
    for (let i = 0; i < 12; i++) await w.append(shard, log, big);
    await w.run(shard.checkpoint());
    await w.sleep(10);
    expect(log.startPosition).toBe(12);
    for (let i = 0; i < 12; i++) await w.append(shard, log, big);
    await w.run(shard.checkpoint());
    await w.sleep(10);
    expect(log.startPosition).toBe(24);
    await w.append(shard, log, big);
    await w.run(shard.checkpoint());
    await w.sleep(10);
    expect(log.segments.map((s) => s.base)).toEqual([24]);
    expect(w.segmentFiles()).toHaveLength(1);
  });
});

describe('deleteRecordsBefore', () => {
  it('moves the log start durably, at once for readers that wait for it', async () => {
    const w = new Kept();
    await w.begin();
    w.retention.stop();
    await w.fill(25);
    const wait = (lsn: number): Promise<void> =>
      w.run(new Promise((committed, failed) => w.shard.when(lsn, 'fsync', { committed, failed })));
    const first = deleteRecordsBefore(w.shard, w.log, 7);
    expect(first.logStart).toBe(7);
    await wait(first.lsn);
    expect(w.log.startPosition).toBe(7);
    expect((await w.read(w.shard, w.log)).map((b) => b.position)[0]).toBe(7);
    // Below the start: nothing changes.
    expect(deleteRecordsBefore(w.shard, w.log, 3).logStart).toBe(7);
    expect(() => deleteRecordsBefore(w.shard, w.log, 26)).toThrow('OFFSET_OUT_OF_RANGE');
    expect(() => deleteRecordsBefore(w.shard, w.log, -2)).toThrow('OFFSET_OUT_OF_RANGE');
    const all = deleteRecordsBefore(w.shard, w.log, -1);
    expect(all.logStart).toBe(25);
    await wait(all.lsn);
    await w.run(w.shard.checkpoint());
    await w.sleep(10);
    expect(w.segmentFiles()).toEqual([]);
    await w.fill(1);
    await w.again();
    expect(w.log.startPosition).toBe(25);
    expect((await w.read(w.shard, w.log)).map((b) => b.position)).toEqual([25]);
  });
});
