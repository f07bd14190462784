/** Bugs that the simulation found, each with the shortest way to it. */
import { Sim } from '@hadron/testkit';
import { describe, expect, it } from 'vitest';
import type { CommitWaiter, Shard, ShardSettings } from './shard.ts';
import { makeUnit } from './testing/records.ts';
import { appendUnit, createLog, durable, logNamed, readUnits, SimWorld } from './testing/world.ts';

const settings: Partial<ShardSettings> = {
  commitFileBytes: 2048,
  directAtBytes: 1000,
  minFreeBytes: 0,
  checkpointAtBytes: 1 << 30,
  pooledWriteBytes: 1,
  snapshotMinBytes: 100,
};

const ids = async (world: SimWorld, shard: Shard): Promise<number[]> =>
  (await world.run(readUnits(shard, logNamed(shard, 'a')))).map((u) => u.id);

async function withLog(durability: 'fsync' | 'os' = 'fsync'): Promise<{ world: SimWorld; shard: Shard }> {
  const world = new SimWorld(new Sim(1));
  const shard = await world.open({ settings });
  createLog(shard, { name: 'a', durability });
  await world.run(shard.barrier());
  await world.idle();
  return { world, shard };
}

class Answer implements CommitWaiter {
  state: 'none' | 'committed' | 'failed' = 'none';

  committed(): void {
    this.state = 'committed';
  }

  failed(): void {
    this.state = 'failed';
  }
}

describe('found by the simulation', () => {
  it('a checkpoint that was renamed in the cache only is made durable before commit files are overwritten', async () => {
    const { world, shard } = await withLog();
    await world.run(durable(shard, appendUnit(shard, logNamed(shard, 'a'), { id: 1 })));
    world.sim.disk.faults.hold('syncDir', /shards\/0$/);
    void shard.checkpoint().catch(() => undefined);
    await world.idle();
    world.kill(); // the rename stays in the cache
    world.sim.disk.faults.clear();
    await world.open({ settings });
    world.powerLoss('nothing');
    expect(await ids(world, await world.open({ settings }))).toEqual([1]);
  });

  it('the entry of a reserve file is durable before frames are written to it', async () => {
    const { world, shard } = await withLog();
    await world.run(shard.checkpoint());
    const hold = world.sim.disk.faults.hold('syncDir', /commit$/);
    for (let id = 0; id < 60; id++)
      await world
        .run(durable(shard, appendUnit(shard, logNamed(shard, 'a'), { id })))
        .catch(() => undefined)
        .finally(() => hold.release());
    world.kill();
    world.sim.disk.faults.clear();
    const next = await world.open({ settings });
    await world.run(durable(next, appendUnit(next, logNamed(next, 'a'), { id: 99 })));
    world.powerLoss('nothing');
    expect((await ids(world, await world.open({ settings }))).at(-1)).toBe(99);
  });

  it('an append to an `os` log behind a new leader epoch is answered when the epoch is durable', async () => {
    const { world, shard } = await withLog('os');
    const log = logNamed(shard, 'a');
    const hold = world.sim.disk.faults.hold('datasync', /./);
    shard.appendSet([{ kind: 'epoch', log, epoch: 1 }]);
    const answer = new Answer();
    shard.when(appendUnit(shard, log, { id: 1 }), 'os', answer);
    await world.idle();
    // A later set must not hide that the earlier one is not durable.
    shard.appendSet([{ kind: 'epoch', log, epoch: 2 }]);
    await world.idle();
    expect([answer.state, log.visiblePosition]).toEqual(['none', 0]);
    hold.release();
    await world.idle();
    expect([answer.state, log.visiblePosition]).toEqual(['committed', 1]);
  });

  it('a log becomes `os` when that is durable', async () => {
    const { world, shard } = await withLog();
    const log = logNamed(shard, 'a');
    const lsn = shard.appendSet([{ kind: 'durability', log, durability: 'os' }]);
    expect(log.durability).toBe('fsync');
    await world.run(durable(shard, lsn));
    expect(log.durability).toBe('os');
    shard.appendSet([{ kind: 'durability', log, durability: 'fsync' }]);
    expect(log.durability).toBe('fsync');
  });

  it('an `os` log that lost its end and was appended to again loses nothing at the start after that', async () => {
    const { world, shard } = await withLog('os');
    const log = logNamed(shard, 'a');
    shard.when(appendUnit(shard, log, { id: 1, bytes: 3000 }), 'os', new Answer());
    await world.idle();
    await world.run(shard.barrier()); // the frame is durable, the bytes in the segment are not
    world.powerLoss('nothing');
    let next = await world.open({ settings });
    expect(await ids(world, next)).toEqual([]);
    await world.run(durable(next, appendUnit(next, logNamed(next, 'a'), { id: 2 })));
    await world.run(next.barrier());
    world.powerLoss('nothing');
    next = await world.open({ settings });
    expect(await ids(world, next)).toEqual([2]);
  });

  it('a set that makes a log and appends to it directly, twice and over a roll, is recovered', async () => {
    const world = new SimWorld();
    let shard = await world.open({ settings });
    const log = shard.newLog({
      name: 'a',
      format: (await withLog()).shard.logs.values().next().value!.format,
      options: { segmentBytes: 2000, segmentMs: 1e12 },
    });
    const entries = [1, 2, 3].map(
      (id) =>
        ({
          kind: 'append',
          log,
          bytes: makeUnit({ id, bytes: 1500 }),
          at: 0,
          length: 1500,
          extent: 1,
          maxTimestamp: -1,
        }) as const,
    );
    await world.run(durable(shard, shard.appendSet([{ kind: 'create', log }, ...entries])));
    world.powerLoss('nothing');
    shard = await world.open({ settings });
    expect(await ids(world, shard)).toEqual([1, 2, 3]);
  });

  it('a trimmed segment whose frames are replayed does not count as damage', async () => {
    const { world, shard } = await withLog();
    const log = logNamed(shard, 'a');
    log.options.segmentBytes = 1000;
    for (const id of [1, 2, 3]) await world.run(durable(shard, appendUnit(shard, log, { id, bytes: 1200 })));
    await world.run(durable(shard, shard.appendSet([{ kind: 'trim', log, position: 2 }])));
    world.kill();
    for (const f of world.sim.disk.files()) if (/-0*[01]\.seg$/.test(f.path)) world.sim.disk.remove(f.path);
    const next = await world.open({ settings });
    expect([await ids(world, next), next.recovered.damage]).toEqual([[3], []]);
  });

  it('appends behind a trimmed segment whose file is gone begin a new one', async () => {
    const { world, shard } = await withLog();
    const log = logNamed(shard, 'a');
    await world.run(durable(shard, appendUnit(shard, log, { id: 1 })));
    await world.run(shard.checkpoint());
    await world.run(durable(shard, shard.appendSet([{ kind: 'trim', log, position: 1 }])));
    world.kill();
    world.sim.disk.remove('data/shards/0/segments/00000001-00000000000000000000.seg');
    let next = await world.open({ settings });
    await world.run(durable(next, appendUnit(next, logNamed(next, 'a'), { id: 2 })));
    await world.run(next.checkpoint());
    world.kill();
    next = await world.open({ settings });
    expect(await ids(world, next)).toEqual([2]);
  });

  it('a flush that finds no room is tried again later, not at once', async () => {
    const world = new SimWorld(new Sim(1));
    const shard = await world.open({ settings: { ...settings, tailCacheBytes: 2048, commitFileBytes: 1 << 20 } });
    createLog(shard, { name: 'a' });
    await world.run(shard.barrier());
    await world.idle();
    world.sim.disk.faults.failNext('open', /\.seg$/, { code: 'ENOSPC', times: 1000 });
    for (let id = 0; id < 20; id++) appendUnit(shard, logNamed(shard, 'a'), { id, bytes: 900 });
    await world.run(shard.barrier());
    await world.idle();
    expect(world.sim.disk.faults.injectedCount).toBeLessThan(4);
    world.sim.disk.faults.clear();
    await world.sim.scheduler.runFor(2000);
    await world.idle();
    expect(shard.tail.bytes).toBeLessThan(10_000);
    expect(await ids(world, shard)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('a snapshot is not made again at the same position, over the file that the checkpoint names', async () => {
    const { world, shard } = await withLog();
    const log = logNamed(shard, 'a');
    const register = (s: Shard): void =>
      s.registerSnapshots({ log: logNamed(s, 'a'), chunks: () => [Buffer.from('state')] });
    register(shard);
    await world.run(durable(shard, appendUnit(shard, log, { id: 1, bytes: 500 })));
    await world.run(shard.checkpoint());
    await world.run(durable(shard, appendUnit(shard, log, { id: 2, bytes: 500 })));
    await world.run(shard.checkpoint());
    const [snapshot] = shard.snapshots.values();
    const path = `data/shards/0/snapshots/${snapshot?.file}`;
    world.kill();
    const next = await world.open({ settings });
    register(next);
    const [known] = next.snapshots.values();
    if (known !== undefined) known.atByte -= 1000;
    world.sim.disk.startRecording();
    await world.run(next.checkpoint());
    expect(world.sim.disk.takeRecording().filter((line) => line.includes(path))).toEqual([]);
  });

  it('half a header over an old one leaves the old one', async () => {
    const { world, shard } = await withLog();
    await world.run(durable(shard, appendUnit(shard, logNamed(shard, 'a'), { id: 1 })));
    world.kill();
    for (let byte = 0; byte < 64; byte++) world.sim.disk.corrupt('data/shards/0/commit/000.log', byte, 0xff);
    expect(await ids(world, await world.open({ settings }))).toEqual([1]);
  });
});
