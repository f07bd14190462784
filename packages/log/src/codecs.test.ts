/** The engine's own formats and memory against hostile bytes and naive models. */
import { Sim, SimRandom } from '@hadron/testkit';
import { describe, expect, it } from 'vitest';
import { CheckpointWriter, readCheckpoint } from './checkpoint-file.ts';
import {
  EntryKind,
  ENTRY_BYTES,
  FRAME_HEAD_BYTES,
  newFrameHead,
  readEntries,
  readFrame,
  sealFrame,
  writeEntry,
} from './frame.ts';
import { decodeIndex, encodeIndexBlock, encodeIndexHeader } from './index-file.ts';
import { SparseIndex } from './log.ts';
import { findByTime, readTail } from './reader.ts';
import { SlabPool } from './slab.ts';
import type { ShardSettings } from './shard.ts';
import { seeUnits } from './testing/records.ts';
import { appendUnit, createLog, logNamed, readUnits, SimWorld } from './testing/world.ts';

const INCARNATION = 0xabcd;

function frame(random: SimRandom): Buffer {
  const body = random.bytes(random.int(300));
  const length = FRAME_HEAD_BYTES + ENTRY_BYTES + body.length;
  const b = Buffer.alloc((length + 7) & ~7, 0xff);
  writeEntry(b, FRAME_HEAD_BYTES, EntryKind.append, 1, 0, 3, 2 ** 40, 9, body.length, 0, 0);
  b.set(body, FRAME_HEAD_BYTES + ENTRY_BYTES);
  sealFrame(b, 0, length, 7, 5, 1, INCARNATION);
  return b;
}

describe('frames', () => {
  it('come back as written, and only in their own incarnation', () => {
    const b = frame(new SimRandom(1));
    const head = newFrameHead();
    expect(readFrame(b, 0, b.length, INCARNATION, head)).toBe('whole');
    expect(head).toMatchObject({ lsn: 7, durableLsn: 5, entries: 1 });
    expect(readEntries(b, 0, head)).toMatchObject([
      { kind: EntryKind.append, flags: 1, logId: 3, position: 2 ** 40, extent: 9 },
    ]);
    expect(readFrame(b, 0, b.length, INCARNATION + 1, head)).toBe('broken');
  });

  it('are never taken for whole with a flipped bit or a cut, and never throw', () => {
    const random = new SimRandom(2);
    const head = newFrameHead();
    for (let round = 0; round < 2000; round++) {
      const b = frame(random);
      const at = random.int(b.readUInt32BE(4));
      if (at >= 36 && at < 40) continue; // reserved
      b[at] = (b[at] as number) ^ (1 << random.int(8));
      expect(readFrame(b, 0, b.length, INCARNATION, head)).not.toBe('whole');
      const cut = frame(random);
      expect(readFrame(cut, 0, random.int(cut.readUInt32BE(4)), INCARNATION, head)).not.toBe('whole');
      const garbage = Buffer.from(random.bytes(200));
      garbage.writeUInt32BE(0x48444631, 0);
      expect(readFrame(garbage, 0, garbage.length, INCARNATION, head)).toBe('broken');
    }
  });
});

describe('checkpoints', () => {
  const bytes = (): Buffer => {
    const w = new CheckpointWriter(9, 4, 123);
    w.log({
      id: 3,
      format: 2,
      durability: 'os',
      name: 'orders-ü',
      start: 5,
      position: 2 ** 45,
      cleanedTo: 1,
      epochs: [{ epoch: 2, start: 5 }],
      segments: [
        {
          base: 5,
          end: 9,
          bytes: 2 ** 33,
          crc: 0xffffffff,
          createdMs: 1,
          maxTimestamp: -1,
          maxTimestampAt: -1,
          version: 1,
        },
      ],
      fences: [{ from: 5, to: 6, segmentBase: 5, fromByte: 0, toByte: 9 }],
      aux: Buffer.from('aux'),
    });
    return Buffer.from(w.finish(11, [{ logId: 3, position: 7, file: 'x.snap' }], 0));
  };

  it('come back as written', () => {
    const c = readCheckpoint(bytes(), 'c');
    expect(c).toMatchObject({
      lsn: 9,
      durableLsn: 11,
      nextLogId: 4,
      wallMs: 123,
      snapshots: [{ logId: 3, position: 7, file: 'x.snap' }],
    });
    expect(c.logs[0]).toMatchObject({
      name: 'orders-ü',
      durability: 'os',
      position: 2 ** 45,
      segments: [{ bytes: 2 ** 33, crc: 0xffffffff }],
    });
    expect(c.logs[0]?.aux.toString()).toBe('aux');
  });

  it('are refused with any flipped bit and any cut', () => {
    const whole = bytes();
    for (let bit = 0; bit < whole.length * 8; bit++) {
      if (bit >> 3 === 6 || bit >> 3 === 7) continue; // the shard's number
      const b = Buffer.from(whole);
      b[bit >> 3] = (b[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => readCheckpoint(b, 'c')).toThrow(/DATA_(DAMAGED|FORMAT_NEWER)/);
    }
    for (let n = 0; n < whole.length; n++)
      expect(() => readCheckpoint(whole.subarray(0, n), 'c')).toThrow(/DATA_DAMAGED/);
  });
});

describe('index files', () => {
  const index = new SparseIndex();
  for (let i = 1; i <= 20; i++) index.add(i * 10, i * 100, i);
  const file = (): Buffer =>
    Buffer.concat([
      encodeIndexHeader(1, 0, 0, 77),
      encodeIndexBlock(index, 0, 12, 77),
      encodeIndexBlock(index, 12, 20, 77),
    ]);

  it('come back as written; blocks of another life, broken ones and a newer version are not believed', () => {
    expect(decodeIndex(file(), 1, 0, 0, 1e9)).toMatchObject({
      goodBytes: file().length,
      life: 77,
      index: { count: 20 },
    });
    const stale = Buffer.concat([encodeIndexHeader(1, 0, 0, 78), file().subarray(32)]);
    expect(decodeIndex(stale, 1, 0, 0, 1e9).goodBytes).toBe(0);
    const broken = file();
    broken[32 + 8 + 12 * 24 + 20] = 0xff;
    expect(decodeIndex(broken, 1, 0, 0, 1e9).index.count).toBe(12);
    const newer = file();
    newer.writeUInt16BE(2, 4);
    expect(decodeIndex(newer, 1, 0, 0, 1e9).goodBytes).toBe(0);
    expect(decodeIndex(file(), 1, 0, 0, 1500).goodBytes).toBe(0); // it tells of bytes that a crash took
  });

  it('never give an entry that was not written, whatever bit flips', () => {
    const whole = file();
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const b = Buffer.from(whole);
      b[bit >> 3] = (b[bit >> 3] as number) ^ (1 << (bit & 7));
      const { index: found } = decodeIndex(b, 1, 0, 0, 1e9);
      for (let i = 0; i < found.count; i++) {
        expect([found.positionAt(i), found.byteAt(i)]).toEqual([index.positionAt(i), index.byteAt(i)]);
      }
    }
  });
});

describe('the slab pool', () => {
  it('never gives the same memory twice, and gets all of it back', () => {
    const pool = new SlabPool(16_384);
    const random = new SimRandom(3);
    const out: { piece: ReturnType<SlabPool['take']>; mark: number }[] = [];
    for (let round = 0; round < 5000; round++) {
      if (out.length > 40 || random.chance(0.45)) {
        const [taken] = out.splice(random.int(out.length), 1);
        if (taken === undefined) continue;
        expect(taken.piece.buffer.every((x) => x === taken.mark)).toBe(true);
        taken.piece.release();
      } else {
        const piece = pool.take(random.pick([1, 1000, 1025, 4096, 16_384, 20_000]));
        const mark = random.int(256);
        piece.buffer.fill(mark);
        out.push({ piece, mark });
      }
    }
    for (const { piece } of out) piece.release();
    expect(pool.usedBytes).toBe(0);
    expect(() => out[0]?.piece.release()).toThrow(/given back twice/);
  });
});

const settings: Partial<ShardSettings> = {
  minFreeBytes: 0,
  checkpointAtBytes: 1 << 30,
  indexIntervalBytes: 300,
  tailCacheBytes: 1 << 24,
};

describe('reading against a naive model', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    it(`tail, files and time, seed ${seed}`, async () => {
      const world = new SimWorld(new Sim(seed));
      const { random } = world.sim;
      let shard = await world.open({ settings });
      let log = createLog(shard, { name: 'a', options: { segmentBytes: 5000, segmentMs: 1e12 } });
      const model: { id: number; position: number; extent: number; bytes: number; timestamp: number }[] = [];
      for (let id = 0; id < 150; id++) {
        const spec = {
          id,
          extent: random.between(1, 4),
          bytes: random.between(40, 900),
          timestamp: 1000 + random.int(id + 1),
        };
        model.push({ ...spec, position: log.nextPosition });
        appendUnit(shard, log, spec);
        if (random.chance(0.3)) await world.run(shard.barrier());
      }
      await world.run(shard.barrier());

      const expected = (from: number, maxBytes: number, atLeastOne: boolean): number[] => {
        const ids: number[] = [];
        let bytes = 0;
        for (const u of model.filter((m) => m.position + m.extent > from)) {
          bytes += u.bytes;
          if (bytes > maxBytes && !(atLeastOne && ids.length === 0)) break;
          ids.push(u.id);
        }
        return ids;
      };
      for (let i = 0; i < 300; i++) {
        const from = random.int(log.nextPosition);
        const maxBytes = random.pick([0, 50, 500, 3000, 100_000]);
        const atLeastOne = random.chance(0.5);
        const result = readTail(shard, log, from, { maxBytes, atLeastOne });
        const units = seeUnits(Buffer.concat(result?.parts ?? []));
        expect(units.map((u) => u.id)).toEqual(expected(from, maxBytes, atLeastOne));
        const last = units.at(-1);
        expect(result?.nextPosition).toBe(last === undefined ? from : last.position + last.extent);
        result?.release();
      }

      const times = async (): Promise<void> => {
        for (let i = 0; i < 40; i++) {
          const timestamp = 1000 + random.int(170);
          const from = random.int(log.nextPosition);
          const found = await world.run(findByTime(shard, log, timestamp, from));
          const want = model.find((u) => u.position + u.extent > from && u.timestamp >= timestamp);
          expect(found === undefined ? undefined : seeUnits(found)[0]?.id).toBe(want?.id);
        }
      };
      await times();
      await world.run(shard.checkpoint());
      world.kill();
      shard = await world.open({ settings });
      log = logNamed(shard, 'a');
      expect(log.chunks.length).toBe(0);
      for (let i = 0; i < 60; i++) {
        const from = random.int(log.nextPosition);
        const units = await world.run(readUnits(shard, log, from, random.pick([1, 700, 20_000])));
        expect(units.map((u) => u.id)).toEqual(expected(from, Number.POSITIVE_INFINITY, true));
      }
      await times();
    });
  }

  it('a flipped bit in a sealed segment: CORRUPT_DATA for that unit, the others are served', async () => {
    const world = new SimWorld();
    let shard = await world.open({ settings });
    let log = createLog(shard, { name: 'a', options: { segmentBytes: 2000, segmentMs: 1e12 } });
    for (let id = 0; id < 40; id++) appendUnit(shard, log, { id, bytes: 100 });
    await world.run(shard.barrier());
    await world.run(shard.checkpoint());
    for (const byte of [50, 2, 22]) {
      // In the payload, in the length, in the extent of the sixth unit.
      world.kill();
      const path = 'data/shards/0/segments/00000001-00000000000000000000.seg';
      world.sim.disk.corrupt(path, 5 * 100 + byte, 2);
      shard = await world.open({ settings });
      log = logNamed(shard, 'a');
      expect((await world.run(readUnits(shard, log, 0, 500).catch(() => []))).length).toBe(0);
      await expect(world.run(readUnits(shard, log, 5))).rejects.toMatchObject({ code: 'CORRUPT_DATA' });
      const fence = log.fenceAt(5);
      expect(fence).toMatchObject({ from: 5 });
      // A unit whose length can be believed is fenced alone; else up to the next index entry.
      if (byte === 50) expect(fence?.to).toBe(6);
      expect((await world.run(readUnits(shard, log, fence?.to ?? 0))).at(-1)?.id).toBe(39);
      world.kill();
      world.sim.disk.corrupt(path, 5 * 100 + byte, 2);
      shard = await world.open({ settings });
    }
  });
});
