/** A full, a failing and a read-only disk (log.md G8, G16). */
import { describe, expect, it } from 'vitest';
import type { Log } from './log.ts';
import type { Shard, ShardOptions, ShardSettings } from './shard.ts';
import { appendUnit, codeOf, createLog, durable, logNamed, readUnits, SimWorld } from './testing/world.ts';
import { Sim } from '@hadron/testkit';

const settings: Partial<ShardSettings> = {
  commitFileBytes: 8192,
  directAtBytes: 2000,
  minFreeBytes: 5000,
  checkpointAtBytes: 1 << 30,
};

class Disk extends SimWorld {
  shard!: Shard;
  log!: Log;
  failure: unknown;

  constructor() {
    super(new Sim(1, { disk: { capacityBytes: 1_000_000, blockBytes: 512 } }));
  }

  async start(options: Partial<ShardOptions> = {}): Promise<void> {
    this.failure = undefined;
    const onFailure = (error: unknown): void => {
      this.failure = error;
    };
    this.shard = await this.open({ settings, onFailure, ...options });
    await this.idle();
  }

  async withLog(): Promise<void> {
    await this.start();
    createLog(this.shard, { name: 'a' });
    await this.run(this.shard.barrier());
    this.log = logNamed(this.shard, 'a');
  }

  append(id: number, bytes = 64): Promise<void> {
    return this.run(durable(this.shard, appendUnit(this.shard, this.log, { id, bytes })));
  }

  /** Somebody else fills the disk, up to so many bytes. */
  leave(bytes: number): void {
    const { disk } = this.sim;
    disk.put('filler', Buffer.alloc(0));
    disk.put('filler', Buffer.alloc(disk.capacityBytes - disk.usedBytes - bytes));
  }

  wait(ms: number): Promise<void> {
    return this.sim.scheduler.runFor(ms);
  }
}

describe('a disk that is nearly full', () => {
  it('refuses data before it is full, lets control changes through, and takes data again when there is room', async () => {
    const d = new Disk();
    await d.withLog();
    await d.append(1);
    d.leave(4500);
    await d.wait(1000);
    await d.append(2);
    await d.wait(100);
    expect(d.shard.refusing?.code).toBe('STORAGE_FULL');
    expect(() => appendUnit(d.shard, d.log, { id: 3 })).toThrow(/STORAGE_FULL/);
    await d.run(durable(d.shard, d.shard.appendSet([{ kind: 'trim', log: d.log, position: 1 }], { control: true })));
    expect(d.log.startPosition).toBe(1);
    expect((await d.run(readUnits(d.shard, d.log))).map((u) => u.id)).toEqual([2]);
    d.leave(500_000);
    await d.wait(2000);
    expect(d.shard.refusing).toBeUndefined();
    await d.append(3);
    expect(d.failure).toBeUndefined();
  });
});

describe('a disk that is full', () => {
  it('ends the shard; the next one opens without room, in the reserve, and can delete', async () => {
    const d = new Disk();
    await d.withLog();
    await d.append(1);
    d.leave(0);
    let refused = 0;
    for (let id = 2; id < 40 && refused === 0; id++) await d.append(id).catch(() => refused++);
    expect(refused).toBe(1);
    await d.idle();
    expect(codeOf(d.failure)).toBe('STORAGE_FAILED');
    const old = d.shard;
    await d.start();
    old.abandon();
    expect(d.shard.refusing?.code).toBe('STORAGE_FULL');
    d.log = logNamed(d.shard, 'a');
    const ids = (await d.run(readUnits(d.shard, d.log))).map((u) => u.id);
    expect(ids.slice(0, 1)).toEqual([1]);
    await d.run(durable(d.shard, d.shard.appendSet([{ kind: 'remove', log: d.log }], { control: true })));
    d.powerLoss('nothing');
    d.leave(100_000);
    await d.start();
    expect(d.shard.logs.size).toBe(0);
  });

  it('keeps the commit log when a checkpoint finds no room, and tries again', async () => {
    const d = new Disk();
    await d.withLog();
    for (let id = 0; id < 20; id++) await d.append(id, 500);
    d.leave(0);
    await expect(d.run(d.shard.checkpoint())).rejects.toThrow(/ENOSPC/);
    expect(d.shard.failed).toBeUndefined();
    expect((await d.run(readUnits(d.shard, d.log))).length).toBe(20);
    d.leave(500_000);
    await d.wait(3000);
    await d.idle();
    expect(d.shard.stats.checkpoints).toBe(1);
  });
});

describe('a disk that fails', () => {
  it('a failed sync ends the shard: waiters hear of it, reads of what was visible go on, a successor has all of it', async () => {
    const d = new Disk();
    await d.withLog();
    await d.append(1);
    d.sim.disk.faults.failNext('datasync', /commit/);
    expect(codeOf(await d.append(2).catch((e: unknown) => e))).toBe('STORAGE_FAILED');
    expect(d.log.visiblePosition).toBe(1);
    expect((await d.run(readUnits(d.shard, d.log))).map((u) => u.id)).toEqual([1]);
    await d.idle();
    expect(codeOf(d.failure)).toBe('STORAGE_FAILED');
    expect(() => appendUnit(d.shard, d.log, { id: 3 })).toThrow(/STORAGE_FAILED/);
    const old = d.shard;
    await d.start();
    old.abandon();
    expect((await d.run(readUnits(d.shard, logNamed(d.shard, 'a')))).map((u) => u.id).slice(0, 1)).toEqual([1]);
  });

  it('the owner hears of a failure only when nothing of the old shard writes any more', async () => {
    const d = new Disk();
    await d.start({ settings: { ...settings, pooledWriteBytes: 1 } });
    createLog(d.shard, { name: 'a' });
    await d.run(d.shard.barrier());
    d.log = logNamed(d.shard, 'a');
    const hold = d.sim.disk.faults.hold('write', /\.seg$/);
    const appended = durable(d.shard, appendUnit(d.shard, d.log, { id: 1, bytes: 4000 })).catch(codeOf);
    await d.idle();
    d.shard.fail(new Error('something else'));
    await d.idle();
    expect(d.failure).toBeUndefined();
    hold.release();
    await d.idle();
    expect(codeOf(d.failure)).toBe('STORAGE_FAILED');
    expect(await d.run(appended)).toBe('STORAGE_FAILED');
  });

  it('a read that fails is an error of that read only', async () => {
    const d = new Disk();
    await d.withLog();
    await d.append(1);
    await d.run(d.shard.checkpoint());
    d.kill();
    await d.start();
    d.log = logNamed(d.shard, 'a');
    d.sim.disk.faults.failNext('read', /\.seg$/);
    expect(codeOf(await d.run(readUnits(d.shard, d.log)).catch((e: unknown) => e))).toBe('STORAGE_FAILED');
    expect(d.shard.failed).toBeUndefined();
    expect((await d.run(readUnits(d.shard, d.log))).map((u) => u.id)).toEqual([1]);
  });

  it('a read-only disk: the shard ends, and the folder does not open until it can be written', async () => {
    const d = new Disk();
    await d.withLog();
    await d.append(1);
    d.sim.disk.readOnly = true;
    expect(codeOf(await d.append(2).catch((e: unknown) => e))).toBe('STORAGE_FAILED');
    expect((await d.run(readUnits(d.shard, d.log))).map((u) => u.id)).toEqual([1]);
    await d.idle();
    await expect(d.start()).rejects.toThrow(/EROFS/);
    d.sim.disk.readOnly = false;
    await d.start();
    expect((await d.run(readUnits(d.shard, logNamed(d.shard, 'a')))).map((u) => u.id)).toEqual([1]);
  });
});
