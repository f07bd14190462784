/** The exact sequence of file calls (log.md §5): a lost sync or a changed order shows here, in review. */
import { describe, expect, it } from 'vitest';
import type { Shard, ShardSettings } from './shard.ts';
import { appendUnit, createLog, durable, SimWorld } from './testing/world.ts';

const settings: Partial<ShardSettings> = {
  commitFileBytes: 4096,
  directAtBytes: 2000,
  minFreeBytes: 0,
  checkpointAtBytes: 1 << 30,
};

/** The calls of `work`, after a shard with log `a` (id 1) was opened and is idle. */
async function callsOf(
  work: (shard: Shard, world: SimWorld) => Promise<unknown>,
  before: (shard: Shard, world: SimWorld) => Promise<unknown> = async () => {},
): Promise<string[]> {
  const world = new SimWorld();
  const shard = await world.open({ settings });
  createLog(shard, { name: 'a', options: { segmentBytes: 4000, segmentMs: 1e12 } });
  await world.idle();
  await before(shard, world);
  await world.idle();
  world.sim.disk.startRecording({ strip: 'data/shards/0/' });
  await work(shard, world);
  await world.idle();
  return world.sim.disk.takeRecording();
}

const append = (bytes: number) => async (shard: Shard, world: SimWorld) => {
  const [log] = shard.logs.values();
  if (log !== undefined) await world.run(durable(shard, appendUnit(shard, log, { id: 1, bytes })));
};

const SEGMENT = 'segments/00000001-00000000000000000000.seg';

describe('file calls of', () => {
  it('the first open', async () => {
    const world = new SimWorld();
    world.sim.disk.startRecording({ strip: 'data/shards/0/' });
    await world.open({ settings });
    await world.idle();
    expect(world.sim.disk.takeRecording()).toMatchInlineSnapshot(`
      [
        "mkdir commit",
        "mkdir segments",
        "mkdir snapshots",
        "syncDir data/shards/0",
        "syncDir data/shards",
        "create commit/000.log",
        "write commit/000.log 0+128",
        "write commit/000.log 128+72",
        "syncDir commit",
        "datasync commit/000.log",
        "create commit/001.log",
        "write commit/001.log 0+4096",
        "datasync commit/001.log",
        "syncDir commit",
      ]
    `);
  });

  it('an append', async () => {
    expect(await callsOf(append(100))).toMatchInlineSnapshot(`
      [
        "write commit/000.log 280+176",
        "datasync commit/000.log",
      ]
    `);
  });

  it('three appends of one tick: one write, one sync', async () => {
    const calls = await callsOf(async (shard, world) => {
      const [log] = shard.logs.values();
      for (let id = 0; id < 3 && log !== undefined; id++) appendUnit(shard, log, { id, bytes: 100 });
      await world.run(shard.barrier());
    });
    expect(calls).toMatchInlineSnapshot(`
      [
        "write commit/000.log 280+528",
        "datasync commit/000.log",
      ]
    `);
  });

  it('a direct append, which makes its segment', async () => {
    expect(await callsOf(append(3000))).toMatchInlineSnapshot(`
      [
        "write commit/000.log 280+72",
        "create segments/00000001-00000000000000000000.seg",
        "write segments/00000001-00000000000000000000.seg 0+3000",
        "syncDir segments",
        "datasync commit/000.log",
        "datasync segments/00000001-00000000000000000000.seg",
      ]
    `);
  });

  it('the next direct append', async () => {
    expect(await callsOf(append(2000), append(2000))).toMatchInlineSnapshot(`
      [
        "write commit/000.log 352+72",
        "write segments/00000001-00000000000000000000.seg 2000+2000",
        "datasync commit/000.log",
        "datasync segments/00000001-00000000000000000000.seg",
      ]
    `);
  });

  it('an append that rolls the segment: nothing of it in the append itself', async () => {
    expect(
      await callsOf(append(1500), async (s, w) => [await append(1500)(s, w), await append(1500)(s, w)]),
    ).toMatchInlineSnapshot(`
      [
        "write commit/000.log 3432+1576",
        "datasync commit/000.log",
      ]
    `);
  });

  it('an append that rolls the commit log', async () => {
    const fill = async (s: Shard, w: SimWorld): Promise<void> => {
      while ((s.commit.current?.end ?? 0) < 4096) await append(1000)(s, w);
    };
    expect(await callsOf(append(100), fill)).toMatchInlineSnapshot(`
      [
        "create commit/002.log",
        "write commit/002.log 0+128",
        "write commit/002.log 128+176",
        "syncDir commit",
        "datasync commit/002.log",
      ]
    `);
  });

  it('a checkpoint', async () => {
    const calls = await callsOf((shard, world) => world.run(shard.checkpoint()), append(100));
    expect(calls.indexOf(`datasync ${SEGMENT}`)).toBeLessThan(calls.indexOf('syncDir segments'));
    expect(calls).toMatchInlineSnapshot(`
      [
        "create segments/00000001-00000000000000000000.seg",
        "write segments/00000001-00000000000000000000.seg 0+100",
        "datasync segments/00000001-00000000000000000000.seg",
        "syncDir segments",
        "unlink checkpoint.tmp",
        "create checkpoint.tmp",
        "write checkpoint.tmp 0+171",
        "datasync checkpoint.tmp",
        "rename checkpoint.tmp → checkpoint",
        "syncDir data/shards/0",
      ]
    `);
  });

  it('a trim', async () => {
    const calls = await callsOf(
      async (shard, world) => {
        const [log] = shard.logs.values();
        if (log !== undefined) await world.run(durable(shard, shard.appendSet([{ kind: 'trim', log, position: 2 }])));
      },
      async (shard, world) => {
        for (let i = 0; i < 3; i++) await append(3000)(shard, world);
        await world.run(shard.checkpoint());
      },
    );
    expect(calls).toMatchInlineSnapshot(`
      [
        "write commit/000.log 496+72",
        "datasync commit/000.log",
        "unlink segments/00000001-00000000000000000000.seg",
        "unlink segments/00000001-00000000000000000000.idx",
        "unlink segments/00000001-00000000000000000001.seg",
        "unlink segments/00000001-00000000000000000001.idx",
      ]
    `);
  });

  it('a removal', async () => {
    const calls = await callsOf(async (shard, world) => {
      const [log] = shard.logs.values();
      if (log !== undefined) await world.run(durable(shard, shard.appendSet([{ kind: 'remove', log }])));
    }, append(3000));
    expect(calls).toMatchInlineSnapshot(`
      [
        "write commit/000.log 352+72",
        "datasync commit/000.log",
        "unlink segments/00000001-00000000000000000000.seg",
        "unlink segments/00000001-00000000000000000000.idx",
      ]
    `);
  });
});
