/**
 * Publishers, crashes and readers at random on the simulated disk, against a model that only knows what was answered:
 * what was acknowledged lies where it was said, once; readers get every partition whole and in order, from wherever they
 * begin and however often they pause, leave and come back by their cursor.
 */
import { silentLogger } from '@hadron/base';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import { cloudEvent, readRecord, recordToEvent } from '@hadron/contracts/events';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { Sim, type SimMachine } from '@hadron/testkit';
import { expect, test } from 'vitest';
import { Broker } from '../broker.ts';
import { resolveBrokerSettings } from '../config/index.ts';
import { newProduceOutcome, type Partition } from '../streams/partition.ts';
import type { Tail, TailFrom, TailListener, TailRecord } from './service.ts';

const PARTITIONS = 3;

/** A reader that comes back by its cursor, as an EventSource does. */
class Reader implements TailListener {
  /** Ids by partition, from the first offset read on. */
  readonly seen: { offset: number; id: string }[][] = Array.from({ length: PARTITIONS }, () => []);
  cursor: string | undefined;
  tail: Tail | undefined;
  joining = false;
  onRecords: (() => void) | undefined;

  records(records: readonly TailRecord[], cursor: string): void {
    for (const r of records) this.seen[r.partition]?.push({ offset: r.offset, id: idOf(r) });
    this.cursor = cursor;
    this.onRecords?.();
  }

  ended(): void {
    this.tail = undefined;
  }
}

class Run {
  readonly sim: Sim;
  machine!: SimMachine;
  broker!: Broker;
  /** What was answered: id → place. */
  readonly acknowledged = new Map<string, string>();
  readonly asked = new Set<string>();
  /** Written by a Kafka producer and published here at the same moment. */
  readonly perhapsTwice = new Set<string>();
  readonly readers: Reader[] = [];
  made = 0;

  constructor(seed: number) {
    this.sim = new Sim(seed);
    this.sim.disk.put('data/shards/readme', new Uint8Array()); // the folder above is its owner's to make durable
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  async open(): Promise<void> {
    this.machine = this.sim.start();
    const { fs, clock, random } = this.machine;
    this.broker = await this.settle(
      Broker.open({
        fs,
        clock,
        random,
        logger: silentLogger,
        directory: 'data/shards/0',
        clusterId: 'c',
        nodeId: 1,
        settings: resolveBrokerSettings({}),
        // Small, so that readers go to files, segments roll and checkpoints run.
        shardSettings: {
          commitFileBytes: 65_536,
          checkpointAtBytes: 65_536,
          slowAtBytes: 262_144,
          minFreeBytes: 0,
          tailCacheBytes: 32_768,
          slabBytes: 16_384,
        },
      }),
    );
    // Now and then a read takes its time, as from a busy disk.
    const { eventLog } = this.broker.core;
    const read = eventLog.read.bind(eventLog);
    eventLog.read = (partition, offset, maxBytes) => {
      const got = read(partition, offset, maxBytes);
      if (this.sim.random.int(3) > 0) return got;
      return new Promise((resolve) => clock.setTimer(this.sim.random.int(4), () => resolve(got)));
    };
    if (this.broker.core.topics.get('s') === undefined) {
      this.broker.core.topics.create({
        name: 's',
        partitions: PARTITIONS,
        config: { 'hadron.dedupe.window.ms': '3600000', 'segment.bytes': '1048576' },
      });
      await this.settle(this.broker.core.shard.barrier());
    }
  }

  publish(): void {
    const { random } = this.sim;
    const count = 1 + random.int(4);
    const events: CloudEvent[] = [];
    for (let i = 0; i < count; i++) {
      // Now and then one that was published before.
      const again = this.asked.size > 0 && random.int(4) === 0;
      const earlier = [...this.asked];
      const id = again ? (earlier[random.int(earlier.length)] as string) : `e${this.made++}`;
      events.push(
        cloudEvent({
          id,
          source: '/s',
          type: 't',
          subject: `k${random.int(5)}`,
          datacontenttype: 'text/plain',
          data: 'x'.repeat(random.int(3_000)),
        }),
      );
      this.asked.add(id);
    }
    // A duplicate of what was acknowledged before the call is answered with that place, across crashes too.
    for (const { id } of events) if (id.startsWith('f') && !this.acknowledged.has(id)) this.perhapsTwice.add(id);
    const known = events.map(({ id }) => (this.perhapsTwice.has(id) ? undefined : this.acknowledged.get(id)));
    const answered = (results: readonly PublishResult[]): void =>
      results.forEach((r, i) => {
        if ('error' in r) throw new Error(r.error.message);
        const { id } = events[i] as CloudEvent;
        const place = `${r.partition}/${r.offset}`;
        expect(known[i] ?? place).toBe(place);
        if (!this.acknowledged.has(id)) this.acknowledged.set(id, place);
      });
    this.broker.core.events.publish('s', events, { atomic: random.int(3) === 0 }, (error, results) => {
      if (error === undefined) answered(results);
    });
  }

  /** A Kafka producer writes, new events only: it does not ask the window, and the window learns of it. */
  produce(): void {
    const { random } = this.sim;
    const { shard, topics } = this.broker.core;
    const partition = topics.get('s')?.partitions[random.int(PARTITIONS)] as Partition;
    const ids = Array.from({ length: 1 + random.int(3) }, () => `f${this.made++}`);
    const bytes = encodeBatch(
      ids.map((id) => ({
        value: 'x'.repeat(random.int(2_000)),
        headers: Object.entries({ ce_specversion: '1.0', ce_id: id, ce_source: '/s', ce_type: 't' }).map(
          ([key, value]) => ({ key, value }),
        ),
      })),
      { baseTimestamp: this.sim.scheduler.wallMs },
    );
    const out = newProduceOutcome();
    partition.produce(bytes, 0, bytes.length, true, this.sim.scheduler.wallMs, out);
    for (const id of ids) this.asked.add(id);
    shard.when(out.lsn, 'fsync', {
      committed: () => {
        ids.forEach((id, i) => this.acknowledged.set(id, `${partition.index}/${out.baseOffset + i}`));
      },
      failed() {},
    });
  }

  /** Reader `r` does something. */
  stir(r: Reader): void {
    const { random } = this.sim;
    if (r.tail === undefined) {
      if (r.joining) return;
      r.joining = true;
      const from: TailFrom = { from: r.cursor === undefined ? 'beginning' : { cursor: r.cursor } };
      this.broker.core.events.tail('s', from, r).then(
        (tail) => {
          r.tail = tail;
          r.joining = false;
        },
        () => {
          r.joining = false;
        },
      );
      return;
    }
    const what = random.int(8);
    if (what === 0) {
      r.tail.close();
      r.tail = undefined;
    } else if (what < 3) r.tail.pause();
    else r.tail.resume();
  }

  /** The process dies, or the machine. */
  async crash(): Promise<void> {
    if (this.sim.random.int(2) === 0) this.sim.powerLoss(this.machine.process);
    else this.machine.process.kill();
    for (const r of this.readers) {
      r.tail = undefined;
      r.joining = false;
    }
    await this.open();
  }

  async everything(): Promise<Map<string, string>> {
    const page = await this.settle(
      this.broker.core.events.page('s', { from: 'beginning' }, { records: 1_000_000, bytes: 1_000_000_000 }),
    );
    expect(page.atEnd).toBe(true);
    return new Map(page.records.map((r) => [`${r.partition}/${r.offset}`, idOf(r)]));
  }
}

const idOf = (r: TailRecord): string =>
  recordToEvent(readRecord(r.record.bytes), {
    stream: 's',
    topicId: 't',
    partition: r.partition,
    offset: r.offset,
    timestampMs: r.record.timestampMs,
  }).id;

async function play(seed: number): Promise<void> {
  const run = new Run(seed);
  const { random } = run.sim;
  await run.open();
  for (let i = 0; i < 4; i++) run.readers.push(new Reader());
  for (const r of run.readers) {
    // Its peer does not take more: it pauses when it is told, and goes on a moment later.
    r.onRecords = () => {
      const { tail } = r;
      if (tail === undefined || random.int(3) > 0) return;
      tail.pause();
      run.machine.clock.setTimer(random.int(4), () => tail.resume());
    };
  }
  for (let step = 0; step < 120; step++) {
    const what = random.int(20);
    if (what === 0) await run.crash();
    else if (what < 9) run.publish();
    else if (what < 12) run.produce();
    else run.stir(run.readers[random.int(run.readers.length)] as Reader);
    if (random.int(3) === 0) await run.sim.scheduler.runFor(random.int(30));
  }
  await run.sim.scheduler.runFor(1_000);
  for (const r of run.readers) {
    r.tail?.close();
    r.tail = undefined;
    run.stir(r);
  }
  await run.sim.scheduler.runFor(1_000);

  const stored = await run.everything();
  for (const [id, place] of run.acknowledged) expect(`${place} ${stored.get(place)}`).toBe(`${place} ${id}`);
  const ids = [...stored.values()];
  expect(ids.filter((id) => !run.asked.has(id))).toEqual([]);
  const ours = ids.filter((id) => !run.perhapsTwice.has(id));
  expect(new Set(ours).size).toBe(ours.length);
  for (const r of run.readers) {
    r.seen.forEach((seen, partition) => {
      const whole = [...stored].filter(([place]) => place.startsWith(`${partition}/`)).map(([, id]) => id);
      expect(seen.map((e) => e.offset)).toEqual(whole.map((_, offset) => offset));
      expect(seen.map((e) => e.id)).toEqual(whole);
    });
  }
}

const seeds = Number(process.env['HADRON_SEEDS'] ?? 40);
test(`what was acknowledged is there once, and readers see all of it in order: ${seeds} seeds`, async () => {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      await play(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}, 120_000);
