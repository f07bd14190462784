/** The contract of {@link EventLog}, held by every implementation: `event-log.test.ts` runs it over all of them. */
import { HadronError } from '@hadron/base';
import { encodeBatch, type BatchOptions, type RecordToEncode } from '@hadron/kafka-protocol/records';
import { describe, expect, test } from 'vitest';
import type { StateRecord } from '../state/state-log.ts';
import type { EventLog, EventPartition, EventStream, Put, ReadBatches } from './event-log.ts';
import { forEachRecord, sliceOf } from './read-records.ts';

/** An implementation with two shards, and what a test must be able to do to it. */
export interface EventLogWorld {
  readonly log: EventLog;
  /** All partitions on `shard`. Durable when it resolves. */
  createStream(name: string, partitions: number, shard: number): Promise<EventStream>;
  grow(name: string, partitions: number): Promise<void>;
  remove(name: string): Promise<void>;
  trim(partition: EventPartition, offset: number): Promise<void>;
  raiseEpoch(partition: EventPartition): Promise<void>;
  /** Makes everything durable. */
  sync(): Promise<void>;
  /** Waits for what needs the disk. */
  run<T>(promise: Promise<T>): Promise<T>;
  /** What recovery would replay of a shard's deliveries, as far as it is durable. */
  stateRecords(shard: number): Promise<readonly StateRecord[]>;
}

const batch = (values: readonly string[], options: BatchOptions = {}): Buffer =>
  encodeBatch(
    values.map((value): RecordToEncode => ({ key: `k-${value}`, value })),
    { baseTimestamp: 1_000, ...options },
  );

const put = (partition: EventPartition, values: readonly string[], options: BatchOptions = {}): Put => ({
  kind: 'records',
  partition,
  batch: batch(values, options),
});

const state = (key: string, value: string): Put => ({
  kind: 'state',
  state: 'deliveries',
  records: [{ key: Buffer.from(key), value: Buffer.from(value) }],
});

const codeOf = (fn: () => unknown): string => {
  try {
    fn();
    return 'nothing was thrown';
  } catch (error) {
    return error instanceof HadronError ? error.code : String(error);
  }
};

function valuesOf(read: ReadBatches, from = 0): string[] {
  const values: string[] = [];
  forEachRecord(read, from, (r) => {
    values.push(`${r.offset}:${r.value()?.toString() ?? 'null'}`);
  });
  read.release();
  return values;
}

export function eventLogContract(name: string, make: () => Promise<EventLogWorld>): void {
  describe(`EventLog: ${name}`, () => {
    const open = async (): Promise<{ w: EventLogWorld; a: EventPartition; b: EventPartition; far: EventPartition }> => {
      const w = await make();
      const near = await w.createStream('near', 2, 0);
      const far = await w.createStream('far', 1, 1);
      const [a, b] = near.partitions as [EventPartition, EventPartition];
      return { w, a, b, far: far.partitions[0] as EventPartition };
    };
    const all = async (w: EventLogWorld, p: EventPartition, from = 0, maxBytes = 1_000_000): Promise<string[]> =>
      valuesOf(await w.run(Promise.resolve(w.log.read(p, from, maxBytes))), from);

    test('a commit is visible when it is durable, in all its partitions at once, before anybody is told', async () => {
      const { w, a, b } = await open();
      const seen: string[] = [];
      const look = (what: string): void => void seen.push(`${what} ${a.visibleOffset} ${b.visibleOffset}`);
      w.log.watch(a, () => look('a'));
      w.log.watch(b, () => look('b'));
      const { ticket, baseOffsets } = w.log.commit(0, [put(a, ['1', '2']), state('k', 'v'), put(b, ['3'])]);
      expect(baseOffsets).toEqual([0, 0]);
      expect([a.nextOffset, a.visibleOffset, b.nextOffset, b.visibleOffset]).toEqual([2, 0, 1, 0]);
      expect(valuesOf(await w.run(Promise.resolve(w.log.read(a, 0, 1_000))))).toEqual([]);
      w.log.whenDurable(0, ticket, { committed: () => look('durable'), failed: (e) => void seen.push(e.code) });
      look('before');
      await w.sync();
      expect(seen[0]).toBe('before 0 0');
      expect(seen.slice(1).sort()).toEqual(['a 2 1', 'b 2 1', 'durable 2 1']);
      expect(seen.at(-1)).toBe('durable 2 1');
      expect(await all(w, a)).toEqual(['0:1', '1:2']);
      expect(await all(w, b)).toEqual(['0:3']);
      expect((await w.stateRecords(0)).map((r) => Buffer.from(r.key).toString())).toEqual(['k']);
      // What is durable is said at once.
      let atOnce = false;
      w.log.whenDurable(0, ticket, {
        committed: () => {
          atOnce = true;
        },
        failed() {},
      });
      expect(atOnce).toBe(true);
    });

    test('two batches for one partition in one commit lie one behind the other', async () => {
      const { w, a } = await open();
      const { baseOffsets } = w.log.commit(0, [put(a, ['1', '2']), put(a, ['3'])]);
      expect(baseOffsets).toEqual([0, 2]);
      await w.sync();
      expect(await all(w, a)).toEqual(['0:1', '1:2', '2:3']);
    });

    test('all or nothing: one bad batch, a foreign shard, a stale fence, and nothing happened', async () => {
      const { w, a, b, far } = await open();
      const broken = batch(['x']);
      broken[broken.length - 1] = (broken.at(-1) as number) ^ 1;
      expect(codeOf(() => w.log.commit(0, [put(a, ['1']), { kind: 'records', partition: b, batch: broken }]))).toBe(
        'CORRUPT_DATA',
      );
      expect(codeOf(() => w.log.commit(0, [put(a, ['1']), put(far, ['2'])]))).toBe('CROSS_SHARD');
      expect(() => w.log.commit(0, [put(far, ['2'])])).toThrow(/partition 0 of stream far lies on shard 1/);
      const { epoch } = a;
      await w.raiseEpoch(a);
      const fence = [{ partition: a, epoch }];
      expect(codeOf(() => w.log.commit(0, [put(b, ['1']), state('k', 'v')], { fence }))).toBe('PRECONDITION_FAILED');
      await w.sync();
      expect([a.nextOffset, b.nextOffset, far.nextOffset]).toEqual([0, 0, 0]);
      expect(await w.stateRecords(0)).toEqual([]);
      const { ticket } = w.log.commit(0, [put(b, ['1'])], { fence: [{ partition: a, epoch: a.epoch }] });
      expect(ticket).toBeGreaterThan(0);
    });

    test('a producer that sends a batch again gets its first offset, and its next batch follows', async () => {
      const { w, a } = await open();
      const of = (baseSequence: number, values: string[]): Put =>
        put(a, values, { producerId: 7, producerEpoch: 0, baseSequence });
      expect(w.log.commit(0, [of(0, ['1', '2'])]).baseOffsets).toEqual([0]);
      const again = w.log.commit(0, [of(0, ['1', '2']), put(a, ['x'])]);
      expect(again.baseOffsets).toEqual([0, 2]);
      expect(codeOf(() => w.log.commit(0, [of(9, ['y'])]))).toBe('SEQUENCE_OUT_OF_ORDER');
      expect(w.log.commit(0, [of(2, ['3'])]).baseOffsets).toEqual([3]);
      await w.sync();
      expect(await all(w, a)).toEqual(['0:1', '1:2', '2:x', '3:3']);
    });

    test('a read begins with the batch that holds the offset, gives one at least, and ends at what is visible', async () => {
      const { w, a } = await open();
      for (const values of [['0', '1', '2'], ['3'], ['4', '5']]) w.log.commit(0, [put(a, values)]);
      await w.sync();
      w.log.commit(0, [put(a, ['unsynced'])]);
      const one = await w.run(Promise.resolve(w.log.read(a, 1, 1)));
      expect(one.nextOffset).toBe(3);
      expect(valuesOf(one, 1)).toEqual(['1:1', '2:2']);
      expect(await all(w, a, 4)).toEqual(['4:4', '5:5']);
      const end = await w.run(Promise.resolve(w.log.read(a, 6, 1_000)));
      expect([end.parts.length, end.nextOffset]).toEqual([0, 6]);
      for (const offset of [-1, 7]) expect(codeOf(() => w.log.read(a, offset, 1_000))).toBe('OFFSET_OUT_OF_RANGE');
      await w.sync();
    });

    test('compressed batches are read like others', async () => {
      const { w, a } = await open();
      const values = Array.from({ length: 50 }, (_, i) => `value ${i}`);
      for (const codec of [1, 2, 3, 4]) w.log.commit(0, [put(a, values, { codec })]);
      await w.sync();
      expect((await all(w, a, 25)).length).toBe(175);
    });

    test('a slice is a copy', async () => {
      const { w, a } = await open();
      w.log.commit(0, [put(a, ['v'])]);
      await w.sync();
      const read = await w.run(Promise.resolve(w.log.read(a, 0, 1_000)));
      const slices: Buffer[] = [];
      forEachRecord(read, 0, (r) => void slices.push(sliceOf(r).bytes));
      const before = slices[0]?.toString('hex');
      for (const part of read.parts) part.fill(0);
      expect([slices.length, slices[0]?.toString('hex')]).toEqual([1, before]);
      read.release();
    });

    test('a trim moves the start, and watchers are told', async () => {
      const { w, a } = await open();
      for (const v of ['0', '1', '2']) w.log.commit(0, [put(a, [v])]);
      await w.sync();
      let told = 0;
      const end = w.log.watch(a, () => void told++);
      await w.trim(a, 2);
      expect([a.startOffset, told > 0]).toEqual([2, true]);
      expect(codeOf(() => w.log.read(a, 1, 1_000))).toBe('OFFSET_OUT_OF_RANGE');
      expect(await all(w, a, 2)).toEqual(['2:2']);
      end();
      const before = told;
      w.log.commit(0, [put(a, ['3'])]);
      await w.sync();
      expect(told).toBe(before);
    });

    test('watchers may come and go while they are told', async () => {
      const { w, a } = await open();
      let told = 0;
      let end = (): void => undefined;
      const again = (): void => {
        told++;
        end();
        end = w.log.watch(a, again);
      };
      end = w.log.watch(a, again);
      w.log.commit(0, [put(a, ['0'])]);
      await w.sync();
      w.log.commit(0, [put(a, ['1'])]);
      await w.sync();
      expect(told).toBe(2);
    });

    test('a stream that goes: watchers are told, its partitions say so, nothing can be put there', async () => {
      const { w, a } = await open();
      const changes: string[] = [];
      w.log.watchStreams(({ type, stream }) => void changes.push(`${type} ${stream.name} ${stream.partitions.length}`));
      let told = 0;
      w.log.watch(a, () => void told++);
      const known = w.log.stream('near');
      expect(w.log.streamById(known?.topicId ?? '')).toBe(known);
      await w.grow('near', 3);
      expect(known?.partitions.length).toBe(3);
      await w.remove('near');
      expect([told, a.removed, w.log.stream('near'), w.log.streamById(a.topicId)]).toEqual([
        1,
        true,
        undefined,
        undefined,
      ]);
      expect(codeOf(() => w.log.commit(0, [put(a, ['1'])]))).toBe('TOPIC_NOT_FOUND');
      expect(codeOf(() => w.log.read(a, 0, 100))).toBe('TOPIC_NOT_FOUND');
      const anew = await w.createStream('near', 1, 0);
      expect(anew.topicId).not.toBe(a.topicId);
      expect(changes).toEqual(['put near 3', 'delete near 3', 'put near 1']);
      expect([...w.log.streams()].map((s) => s.name).sort()).toEqual(['far', 'near']);
    });

    test('the first offset of a time', async () => {
      const { w, a } = await open();
      w.log.commit(0, [put(a, ['0', '1'], { baseTimestamp: 1_000 }), put(a, ['2'], { baseTimestamp: 2_000 })]);
      await w.sync();
      const at = (t: number): Promise<number> => w.run(w.log.offsetForTime(a, t));
      expect([await at(0), await at(1_000), await at(1_001), await at(2_001)]).toEqual([0, 0, 2, 3]);
    });
  });
}
