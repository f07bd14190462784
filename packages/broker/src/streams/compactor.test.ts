/** Compaction of record batches: what a rewritten batch keeps, and a whole topic against a naive model (kafka.md §5.1). */
import { type Logger, silentLogger } from '@hadron/base';
import {
  BATCH_HEADER_BYTES,
  batchBaseTimestamp,
  batchHasDeleteHorizon,
  batchSizeBytes,
  encodeBatch,
  readBatchHeader,
  type RecordToEncode,
  recordsOf,
} from '@hadron/kafka-protocol/records';
import {
  Compaction,
  type CompactionPass,
  type CompactionSettings,
  type Log,
  OffsetMap,
  read,
  Shard,
  verifyShard,
} from '@hadron/log';
import { Sim, type SimMachine, type SimRandom } from '@hadron/testkit';
import { describe, expect, it } from 'vitest';
import { RecordCompactor } from './compactor.ts';
import { recordFormat } from './record-format.ts';

const NOW = 1_760_000_000_000;
const HOUR = 3_600_000;
const LOG = {} as Log;

function passOver(batches: readonly Buffer[], options: Partial<CompactionPass> = {}): CompactionPass {
  const map = new OffsetMap(1 << 20);
  const compactor = new RecordCompactor();
  for (const b of batches) finish(compactor.note(b, 0, b.length, map, false));
  return { log: LOG, map, nowMs: NOW, deleteRetentionMs: HOUR, horizonMs: Number.POSITIVE_INFINITY, ...options };
}

function finish<T>(work: Generator<void, T, void>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

function rewrite(compactor: RecordCompactor, b: Buffer, pass: CompactionPass): Buffer | undefined {
  // In the middle of other bytes, as in a segment.
  const around = Buffer.concat([Buffer.alloc(13, 0xee), b, Buffer.alloc(7, 0xee)]);
  const left = finish(compactor.rewrite(around, 13, b.length, pass));
  if (left === undefined) return undefined;
  expect(left.length).toBe(batchSizeBytes(left, 0));
  expect(recordFormat.intact(left, 0, left.length)).toBe(true);
  return Buffer.from(left);
}

const shown = (b: Buffer): unknown[] =>
  [...recordsOf(b)].map((r) => [
    r.offset,
    r.timestamp,
    r.key?.toString() ?? null,
    r.value?.toString() ?? null,
    r.headers.map((h) => [h.key, h.value?.toString() ?? null]),
  ]);

const FIVE: RecordToEncode[] = [
  { key: 'a', value: '1', timestamp: NOW - 50, headers: [{ key: 'x', value: null }] },
  { key: 'b', value: '2', timestamp: NOW - 10 },
  { key: 'a', value: '3', timestamp: NOW - 30, headers: [{ key: 'ü', value: 'ö' }] },
  { key: 'c', value: 'x'.repeat(300), timestamp: NOW - 40 },
  { key: 'b', value: '5', timestamp: NOW - 45 },
];

describe('a batch without the records that have a newer one', () => {
  it.each([0, 1, 2, 3, 4])('keeps base and last offset, codec %i, timestamps, headers, producer', (codec) => {
    const b = encodeBatch(FIVE, {
      baseOffset: 1000,
      leaderEpoch: 4,
      codec,
      producerId: 77,
      producerEpoch: 3,
      baseSequence: 12,
    });
    const left = rewrite(new RecordCompactor(), b, passOver([b])) as Buffer;
    expect(readBatchHeader(left, 0)).toMatchObject({
      baseOffset: 1000,
      lastOffsetDelta: 4,
      leaderEpoch: 4,
      codec,
      producerId: 77,
      producerEpoch: 3,
      baseSequence: 12,
      recordCount: 3,
      baseTimestamp: NOW - 50,
      maxTimestamp: NOW - 30,
    });
    expect(shown(left)).toEqual(shown(b).slice(2));
  });

  it('is the same bytes when nothing goes', () => {
    const b = encodeBatch([{ key: 'a', value: '1' }], { baseOffset: 5 });
    expect(rewrite(new RecordCompactor(), b, passOver([b]))).toEqual(b);
  });

  it('keeps the append time of LogAppendTime', () => {
    const b = encodeBatch(FIVE, { isLogAppendTime: true, maxTimestamp: NOW });
    const left = rewrite(new RecordCompactor(), b, passOver([b])) as Buffer;
    expect([...recordsOf(left)].map((r) => r.timestamp)).toEqual([NOW, NOW, NOW]);
    expect(readBatchHeader(left, 0)).toMatchObject({ isLogAppendTime: true, maxTimestamp: NOW });
  });

  it('does not keep records without a key', () => {
    const b = encodeBatch([
      { key: null, value: '1' },
      { key: 'a', value: '2' },
    ]);
    expect(shown(rewrite(new RecordCompactor(), b, passOver([b])) as Buffer)).toEqual(shown(b).slice(1));
  });

  it('can hold an empty key, and can be looked at again', () => {
    const b = encodeBatch([
      { key: '', value: '1' },
      { key: '', value: '2' },
      { key: 'z', value: '3' },
    ]);
    const once = rewrite(new RecordCompactor(), b, passOver([b])) as Buffer;
    expect(shown(once)).toEqual(shown(b).slice(1));
    const newer = encodeBatch([{ key: 'z', value: '4' }], { baseOffset: 3 });
    const twice = rewrite(new RecordCompactor(), once, passOver([once, newer])) as Buffer;
    expect(shown(twice)).toEqual(shown(b).slice(1, 2));
    expect(readBatchHeader(twice, 0)).toMatchObject({ baseOffset: 0, lastOffsetDelta: 2 });
  });

  it('of a transaction is left alone', () => {
    for (const options of [{ isTransactional: true }, { isControl: true }]) {
      const b = encodeBatch(FIVE, { ...options, producerId: 1, producerEpoch: 0, baseSequence: 0 });
      const newer = encodeBatch(FIVE, { baseOffset: 5 });
      expect(rewrite(new RecordCompactor(), b, passOver([b, newer]))).toEqual(b);
    }
  });
});

describe('a batch of which nothing is left', () => {
  const old = encodeBatch(FIVE, { codec: 1, producerId: 9, producerEpoch: 1, baseSequence: 40 });
  const newer = encodeBatch(FIVE, { baseOffset: 5 });

  it('goes', () => {
    const b = encodeBatch(FIVE);
    expect(rewrite(new RecordCompactor(), b, passOver([b, newer]))).toBeUndefined();
  });

  it('stays as a header while it is the last of its producer', () => {
    let last: number | undefined = 4;
    const compactor = new RecordCompactor({ lastOffsetOf: (_, id) => (id === 9 ? last : undefined) });
    const left = rewrite(compactor, old, passOver([old, newer])) as Buffer;
    expect(left.length).toBe(BATCH_HEADER_BYTES);
    expect(readBatchHeader(left, 0)).toMatchObject({
      lastOffsetDelta: 4,
      producerId: 9,
      producerEpoch: 1,
      baseSequence: 40,
      recordCount: 0,
      codec: 0,
    });
    expect([...recordsOf(left)]).toEqual([]);
    expect(rewrite(compactor, left, passOver([]))).toEqual(left);
    last = 7;
    expect(rewrite(compactor, left, passOver([]))).toBeUndefined();
    expect(rewrite(compactor, old, passOver([old, newer]))).toBeUndefined();
    last = undefined;
    expect(rewrite(compactor, old, passOver([old, newer]))).toBeUndefined();
  });
});

describe('tombstones', () => {
  it.each([0, 1, 4])('stay until delete.retention.ms after the first pass (codec %i)', (codec) => {
    const compactor = new RecordCompactor();
    const b = encodeBatch([...FIVE.slice(0, 2), { key: 'a', value: null, timestamp: NOW - 5 }], {
      baseOffset: 7,
      codec,
    });
    const first = passOver([b]);
    const once = rewrite(compactor, b, first) as Buffer;
    expect(shown(once)).toEqual(shown(b).slice(1));
    expect(batchHasDeleteHorizon(once, 0)).toBe(true);
    expect(batchBaseTimestamp(once, 0)).toBe(NOW + HOUR);
    expect(first.horizonMs).toBe(NOW + HOUR);
    expect(readBatchHeader(once, 0)).toMatchObject({ baseOffset: 7, lastOffsetDelta: 2, codec });
    // Later passes do not move it.
    const second = passOver([once], { nowMs: NOW + HOUR - 1 });
    expect(rewrite(compactor, once, second)).toEqual(once);
    expect(second.horizonMs).toBe(NOW + HOUR);
    const third = passOver([once], { nowMs: NOW + HOUR });
    const left = rewrite(compactor, once, third) as Buffer;
    expect(shown(left)).toEqual(shown(b).slice(1, 2));
    expect(third.horizonMs).toBe(Number.POSITIVE_INFINITY);
  });

  it('with a newer value go at once', () => {
    const b = encodeBatch([
      { key: 'a', value: null },
      { key: 'a', value: 'again' },
    ]);
    const left = rewrite(new RecordCompactor(), b, passOver([b])) as Buffer;
    expect(shown(left)).toEqual(shown(b).slice(1));
    expect(batchHasDeleteHorizon(left, 0)).toBe(false);
  });
});

it('a stored batch that cannot be decoded is named', () => {
  const b = encodeBatch(FIVE, { codec: 1 });
  b.fill(0xaa, BATCH_HEADER_BYTES);
  const compactor = new RecordCompactor();
  expect(() => finish(compactor.note(b, 0, b.length, new OffsetMap(1), false))).toThrow('CORRUPT_DATA');
});

// --------------------------------------------------------------------------------------------- against a naive model

interface Kept {
  readonly key: string;
  readonly value: string | null;
  readonly timestamp: number;
}

/** A topic partition and what a naive reader believes of it. */
class Topic {
  readonly sim: Sim;
  machine: SimMachine;
  readonly random: SimRandom;
  shard!: Shard;
  log!: Log;
  compaction!: Compaction;
  readonly written = new Map<number, Kept>();
  readonly lastOf = new Map<number, number>();
  settings: CompactionSettings = {
    dirtyRatioMin: 0,
    lagMinMs: 0,
    lagMaxMs: Number.POSITIVE_INFINITY,
    deleteRetentionMs: HOUR,
  };
  private sequence = 0;

  constructor(seed: number) {
    this.sim = new Sim(seed);
    this.random = this.sim.random;
    this.machine = this.sim.start();
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  async open(): Promise<void> {
    const { fs, clock, random } = this.machine;
    const logger: Logger = silentLogger;
    const options = { segmentBytes: 2500, segmentMs: 1e12 };
    fs.mkdirSync('/data/shards/0');
    for (const path of ['/', '/data', '/data/shards'])
      await this.run(new Promise<void>((resolve) => fs.syncDir(path, () => resolve())));
    this.shard = await this.run(
      Shard.open({
        fs,
        clock,
        random,
        logger,
        directory: '/data/shards/0',
        formats: [recordFormat],
        optionsFor: () => options,
        settings: { minFreeBytes: 0, indexIntervalBytes: 300, commitFileBytes: 65536, directAtBytes: 700 },
      }),
    );
    const found = [...this.shard.logs.values()][0];
    if (found === undefined) {
      this.log = this.shard.newLog({ name: 'users-0', format: recordFormat, options });
      this.shard.appendSet([{ kind: 'create', log: this.log }]);
      await this.run(this.shard.barrier());
    } else this.log = found;
    const compactor = new RecordCompactor({ lastOffsetOf: (_, id) => this.lastOf.get(id) });
    this.compaction = new Compaction({
      shard: this.shard,
      compactor,
      settingsFor: () => this.settings,
      keyBytesMax: 1 << 20,
      backoffMs: 15_000,
    });
  }

  async restart(powerLoss: boolean): Promise<void> {
    if (powerLoss) this.sim.powerLoss(this.machine.process);
    else this.machine.process.kill();
    this.machine = this.sim.start();
    await this.open();
  }

  async produce(batches: number, keys: number): Promise<void> {
    const { random, machine, log } = this;
    for (let i = 0; i < batches; i++) {
      const records: RecordToEncode[] = [];
      const base = log.nextPosition;
      const producerId = random.int(3) === 0 ? random.int(4) : -1;
      for (let n = 1 + random.int(6); n > 0; n--) {
        const kept: Kept = {
          key: `key ${random.int(keys)}`,
          value: random.int(6) === 0 ? null : `value ${random.int(1000)} ${'.'.repeat(random.int(60))}`,
          timestamp: machine.clock.wallMs() - random.int(1000),
        };
        this.written.set(base + records.length, kept);
        records.push({
          ...kept,
          headers: random.int(2) === 0 ? [] : [{ key: 'n', value: String(base + records.length) }],
        });
      }
      const b = encodeBatch(records, {
        codec: random.int(5),
        ...(producerId < 0 ? {} : { producerId, producerEpoch: 0, baseSequence: this.sequence++ }),
      });
      if (producerId >= 0) this.lastOf.set(producerId, base + records.length - 1);
      this.shard.append(log, b, 0, b.length, records.length, readBatchHeader(b, 0).maxTimestamp);
    }
    await this.run(this.shard.barrier());
  }

  /** All records from an offset on, as a consumer sees them; and that each batch is one that a client accepts. */
  async consume(from: number, maxBytes = 1500): Promise<Map<number, Kept>> {
    const seen = new Map<number, Kept>();
    let last = from - 1;
    const work = async (): Promise<void> => {
      for (let at = from; at < this.log.visiblePosition; ) {
        const got = await read(this.shard, this.log, at, { maxBytes, atLeastOne: true });
        for (const part of got.parts) {
          for (let p = 0; p < part.length; p += batchSizeBytes(part, p)) {
            for (const r of recordsOf(part, p)) {
              if (r.offset < from) continue;
              expect(r.offset).toBeGreaterThan(last);
              last = r.offset;
              seen.set(r.offset, { key: String(r.key), value: r.value?.toString() ?? null, timestamp: r.timestamp });
              if (r.headers.length > 0) expect(r.headers[0]?.value?.toString()).toBe(String(r.offset));
            }
          }
        }
        got.release();
        expect(got.nextPosition).toBeGreaterThan(at);
        at = got.nextPosition;
      }
    };
    await this.run(work());
    return seen;
  }

  async check(): Promise<void> {
    const seen = await this.consume(this.log.startPosition);
    // Survivors are what was written, where it was written.
    for (const [offset, kept] of seen) expect(kept).toEqual(this.written.get(offset));
    const newest = new Map<string, number>();
    for (const [offset, { key }] of this.written) newest.set(key, offset);
    const newestClean = new Map<string, number>();
    for (const [offset, { key }] of this.written) if (offset < this.log.cleanedTo) newestClean.set(key, offset);
    for (const [key, offset] of newest) {
      if (this.written.get(offset)?.value !== null) expect(seen.has(offset), `${key} at ${offset}`).toBe(true);
    }
    // Below what compaction has gone over, only the newest.
    for (const [offset, { key }] of seen) {
      if (offset < this.log.cleanedTo) expect(offset, key).toBe(newestClean.get(key));
    }
    // Whoever reads all of it ends with the same state as who read it before compaction.
    const state = (records: Iterable<Kept>): Map<string, string> => {
      const m = new Map<string, string>();
      for (const { key, value } of records) {
        if (value === null) m.delete(key);
        else m.set(key, value);
      }
      return m;
    };
    expect(new Map([...state(seen.values())].sort())).toEqual(new Map([...state(this.written.values())].sort()));
    for (let i = 0; i < 10; i++) {
      const from = this.random.int(this.log.nextPosition + 1);
      const part = await this.consume(from, 100 + this.random.int(3000));
      expect([...part.keys()]).toEqual([...seen.keys()].filter((offset) => offset >= from));
    }
  }

  async damage(): Promise<string[]> {
    const found: string[] = [];
    const work = async (): Promise<void> => {
      const { fs } = this.machine;
      for await (const f of verifyShard('/data/shards/0', { formats: [recordFormat], fs })) {
        if (!f.harmless) found.push(`${f.file}:${f.byte} ${f.what}`);
      }
    };
    await this.run(work());
    return found;
  }
}

describe('a compacted topic', () => {
  it('against a naive model: newest value of each key, offsets and order as they were, reads at any offset', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const t = new Topic(seed);
      await t.open();
      for (let round = 0; round < 4; round++) {
        await t.produce(20 + t.random.int(40), 3 + t.random.int(15));
        if (t.random.int(3) === 0) await t.sim.scheduler.runFor(HOUR + 1);
        await t.run(t.compaction.run());
        await t.sim.scheduler.runFor(50);
        await t.check();
        if (t.random.int(2) === 0) {
          await t.restart(t.random.int(2) === 0);
          await t.check();
        }
        expect(await t.damage(), `seed ${seed}`).toEqual([]);
      }
      expect(t.log.cleanedTo).toBeGreaterThan(0);
      expect(t.log.sizeBytes).toBeLessThan(20_000);
    }
  });

  it('tombstones are there for delete.retention.ms, and gone after it', async () => {
    const t = new Topic(3);
    await t.open();
    t.compaction.start();
    await t.produce(200, 60);
    await t.sim.scheduler.runFor(60_000);
    const tombstones = async (): Promise<number> =>
      [...(await t.consume(0)).entries()].filter(([o, r]) => o < t.log.cleanedTo && r.value === null).length;
    const before = await tombstones();
    expect(before).toBeGreaterThan(0);
    await t.sim.scheduler.runFor(HOUR - 120_000);
    expect(await tombstones()).toBe(before);
    await t.sim.scheduler.runFor(600_000);
    expect(await tombstones()).toBe(0);
    await t.check();
  });

  it("keeps each producer's last header, whatever happens to its records", async () => {
    const t = new Topic(5);
    await t.open();
    await t.produce(60, 4);
    t.lastOf.set(99, t.log.nextPosition);
    const b = encodeBatch([{ key: 'key 0', value: 'once', timestamp: 1 }], {
      producerId: 99,
      producerEpoch: 0,
      baseSequence: 0,
    });
    t.written.set(t.log.nextPosition, { key: 'key 0', value: 'once', timestamp: 1 });
    t.shard.append(t.log, b, 0, b.length, 1, 1);
    for (let i = 0; i < 6; i++) {
      await t.produce(60, 4);
      await t.run(t.compaction.run());
    }
    await t.sim.scheduler.runFor(50);
    await t.restart(false);
    const at = t.lastOf.get(99) as number;
    const got = await t.run(read(t.shard, t.log, at, { maxBytes: 1, atLeastOne: true }));
    const first = got.parts[0] as Buffer;
    expect(readBatchHeader(first, 0)).toMatchObject({ baseOffset: at, producerId: 99, recordCount: 0 });
    got.release();
    await t.check();
  });
});
