/** The way of a record through the engine, on both disks: append, read, close, kill, reopen, checkpoint, trim, remove. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bytesFormat } from './format.ts';
import { read } from './reader.ts';
import type { Shard, ShardSettings } from './shard.ts';
import { makeUnit } from './testing/records.ts';
import {
  appendUnit,
  createLog,
  durable,
  logNamed,
  RealWorld,
  readAll,
  readUnits,
  SimWorld,
  type World,
} from './testing/world.ts';

const small: Partial<ShardSettings> = {
  commitFileBytes: 64 * 1024,
  checkpointAtBytes: 1 << 30,
  directAtBytes: 16 * 1024,
  minFreeBytes: 0,
  indexIntervalBytes: 1024,
};

for (const kind of ['simulated', 'real'] as const) {
  describe(`a shard on the ${kind} disk`, () => {
    let folder = '';
    let world: World;
    let shard: Shard;
    beforeEach(() => {
      folder = kind === 'real' ? mkdtempSync(join(tmpdir(), 'hadron-log-')) : '';
      world = kind === 'real' ? new RealWorld(folder) : new SimWorld();
    });
    afterEach(() => {
      world.kill();
      if (folder !== '') rmSync(folder, { recursive: true, force: true });
    });

    async function reopen(how: 'close' | 'kill'): Promise<void> {
      if (how === 'close') await world.run(shard.close());
      world.kill();
      shard = await world.open({ settings: small });
    }

    for (const how of ['close', 'kill'] as const) {
      it(`keeps inline and direct appends through a ${how}`, async () => {
        shard = await world.open({ settings: small });
        expect(shard.recovered.cases).toContain('empty-folder');
        const log = createLog(shard, { name: 'orders-0' });
        let id = 0;
        for (let round = 0; round < 5; round++) {
          for (let i = 0; i < 20; i++) appendUnit(shard, log, { id: id++, extent: 1 + (i % 3), bytes: 50 + i * 7 });
          appendUnit(shard, log, { id: id++, bytes: 20_000 });
          appendUnit(shard, log, { id: id++, bytes: 900_000 });
          appendUnit(shard, log, { id: id++, bytes: 60 });
          await world.run(shard.barrier());
        }
        const before = await world.run(readAll(shard, log));
        expect((await world.run(readUnits(shard, log))).map((u) => u.id)).toEqual([...Array(id).keys()]);
        const next = log.nextPosition;
        for (let i = 0; i < 3; i++) {
          await reopen(how);
          const again = logNamed(shard, 'orders-0');
          expect(again.nextPosition).toBe(next);
          expect(shard.recovered.clean).toBe(how === 'close');
          expect((await world.run(readAll(shard, again))).equals(before)).toBe(true);
        }
      });
    }

    it('lets callers that wait for room go on, whatever logs they share the cache with', async () => {
      // It fills, everybody waits, and only what the shard does by itself can make room.
      shard = await world.open({ settings: { ...small, tailCacheBytes: 4 << 20, directAtBytes: 1 << 30 } });
      const logs = [0, 1, 2].map((i) => createLog(shard, { name: `orders-${i}` }));
      let id = 0;
      const room = async (): Promise<void> => {
        if (shard.congested) await world.run(new Promise<void>((resolve) => shard.onRelief(resolve)));
      };
      let waits = 0;
      for (let i = 0; i < 5000; i++) {
        if (shard.congested) waits++;
        await room();
        const log = logs[(i * i) % 7 < 4 ? 0 : i % 3] as (typeof logs)[0];
        appendUnit(shard, log, { id: id++, bytes: 16_000 });
        if (i % 1000 === 0) await world.run(shard.barrier());
      }
      await room();
      await world.run(shard.barrier());
      expect(shard.congested).toBe(false);
      expect(waits).toBeGreaterThan(0);
    });

    it('applies a set to all its logs, and serves them after a checkpoint from files', async () => {
      shard = await world.open({ settings: small });
      const a = shard.newLog({ name: 'a', format: bytesFormat });
      const b = shard.newLog({ name: 'b', format: bytesFormat, startPosition: 100 });
      const unit = makeUnit({ id: 1, bytes: 30_000 });
      const lsn = shard.appendSet([
        { kind: 'create', log: a },
        { kind: 'create', log: b },
        { kind: 'append', log: a, bytes: unit, at: 0, length: 500, extent: 500, maxTimestamp: -1 },
        { kind: 'append', log: b, bytes: unit, at: 0, length: 30_000, extent: 30_000, maxTimestamp: -1 },
        { kind: 'append', log: a, bytes: unit, at: 500, length: 500, extent: 500, maxTimestamp: -1 },
      ]);
      await world.run(durable(shard, lsn));
      expect([a.visiblePosition, b.visiblePosition]).toEqual([1000, 30_100]);
      await world.run(shard.checkpoint());
      expect([a.stablePosition, b.stablePosition]).toEqual([1000, 30_100]);
      await reopen('kill');
      expect(shard.recovered.replayedBytes).toBe(0);
      const all = await world.run(readAll(shard, logNamed(shard, 'a')));
      expect(all.equals(unit.subarray(0, 1000))).toBe(true);
      const part = await world.run(read(shard, logNamed(shard, 'b'), 20_100, { maxBytes: 1 << 20, atLeastOne: true }));
      expect(Buffer.concat(part.parts).equals(unit.subarray(20_000))).toBe(true);
      expect(part.nextPosition).toBe(30_100);
      part.release();
    });

    it('rolls segments, trims and removes', async () => {
      shard = await world.open({ settings: small });
      const log = createLog(shard, { name: 'x', options: { segmentBytes: 4000, segmentMs: 1e12 } });
      for (let i = 0; i < 100; i++) appendUnit(shard, log, { id: i, bytes: 500, timestamp: 1000 + i });
      await world.run(shard.barrier());
      expect(log.segments.length).toBe(13);
      await world.run(shard.checkpoint());
      await world.run(durable(shard, shard.appendSet([{ kind: 'trim', log, position: 50 }], { control: true })));
      expect(log.startPosition).toBe(50);
      expect(log.segments.length).toBe(7);
      await reopen('kill');
      const again = logNamed(shard, 'x');
      expect(again.startPosition).toBe(50);
      expect((await world.run(readUnits(shard, again, 50))).map((u) => u.position)).toEqual(
        Array.from({ length: 50 }, (_, i) => 50 + i),
      );
      await world.run(durable(shard, shard.appendSet([{ kind: 'remove', log: again }], { control: true })));
      expect(shard.logs.size).toBe(0);
      const other = createLog(shard, { name: 'x' });
      expect(other.id).not.toBe(again.id);
      appendUnit(shard, other, { id: 7 });
      await reopen('close');
      expect((await world.run(readUnits(shard, logNamed(shard, 'x')))).map((u) => u.id)).toEqual([7]);
    });

    it('goes on through many checkpoints and recycled commit files', async () => {
      shard = await world.open({ settings: { ...small, checkpointAtBytes: 100_000 } });
      const log = createLog(shard, { name: 'x', options: { segmentBytes: 50_000, segmentMs: 1e12 } });
      for (let i = 0; i < 600; i++) {
        appendUnit(shard, log, { id: i, bytes: 1500 });
        if (i % 10 === 9) await world.run(shard.barrier());
      }
      await world.run(shard.checkpoint());
      expect(shard.stats.checkpoints).toBeGreaterThan(3);
      await reopen('kill');
      const units = await world.run(readUnits(shard, logNamed(shard, 'x')));
      expect(units.map((u) => u.id)).toEqual(Array.from({ length: 600 }, (_, i) => i));
    });
  });
}
