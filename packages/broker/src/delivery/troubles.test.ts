/** What goes wrong around the engine: streams that refuse, disks that are full, events that vanish, people who change things. */
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { Compaction } from '@hadron/log';
import { describe, expect, it } from 'vitest';
import { RecordCompactor } from '../streams/compactor.ts';
import type { Topic } from '../streams/topics.ts';
import { Consumer, event, type NewEvent } from './testing/world.ts';
import { EngineWorld, lettersOf, MemoryWorld, WORLDS } from './testing/worlds.ts';

const keys = (...list: readonly string[]): NewEvent[] => list.map((key) => ({ key, value: key }));

describe.each(WORLDS)('troubles %s', (_, open) => {
  it('D21 D23: credit for what expired before it was sent is not lost', async () => {
    const w = await open();
    await w.createStream('s');
    const soon = new Date(w.wallMs + 1_000).toISOString();
    await w.publish('s', [
      event({}, 'a'),
      event({ expirytime: soon }, 'a'),
      event({ expirytime: soon }, 'a'),
      event({}, 'a'),
    ]);
    const c = await w.consume('s', 'g', {}, 2);
    expect(c.offsets).toEqual([0]);
    await w.pass(2_000);
    await c.ack(0);
    expect(c.offsets).toEqual([0, 3]);
    expect(w.status('s', 'g').counts).toMatchObject({ expired: 2 });
  });

  it('D8 D21: a pull goes on to what has not expired', async () => {
    const w = await open();
    await w.createStream('s');
    const soon = new Date(w.wallMs + 1_000).toISOString();
    await w.publish('s', [event({}, 'a'), event({ expirytime: soon }, 'a'), event({}, 'a')]);
    const c = await w.consume('s', 'g', {}, 1);
    await w.pass(2_000);
    await c.ack(0);
    const pulled = await w.run(w.deliveries.pull({ stream: 's', group: 'g', settings: {}, max: 1, waitMs: 1_000 }));
    expect(pulled.map((d) => d.offset)).toEqual([2]);
  });

  it('D20: a stream that refuses a copy is told to who asks; nobody else notices', async () => {
    const w = await open();
    await w.createStream('s');
    await w.createStream('t');
    await w.publish('s', keys('a', 'b'));
    const c = await w.consume('s', 'g');
    await c.answer(0, { kind: 'term', reason: 'x' });
    const letters = await lettersOf(w);
    w.refuse('t');
    await expect(w.run(w.deliveries.redrive(letters, 't'))).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' });
    expect(await c.ack(1)).toEqual({ ok: true });
    expect(await lettersOf(w)).toHaveLength(1);
  });

  it('D13: what the filter skipped stays skipped when a dead letter is refused meanwhile', async () => {
    const w = await open();
    await w.createStream('s');
    await w.createStream('s.dead');
    await w.publish('s', [event({ type: 'x' }), event({ type: 'x' })]);
    const c = await w.consume('s', 'g', { filters: [{ exact: { type: 'x' } }] });
    w.refuse('s.dead');
    await w.publish('s', [event({ type: 'y' }), event({ type: 'y' }), event({ type: 'x' })]);
    c.session.answer([{ token: c.last(0).token, verdict: { kind: 'term', reason: 'x' } }], () => undefined);
    await w.pass(100);
    await c.ack(1);
    await w.pass(3_000);
    await w.crash();
    const d = await w.consume('s', 'g');
    expect(d.offsets).not.toContain(2);
    expect(d.offsets).not.toContain(3);
  });

  it('D19: a dead letter its stream refuses holds its lane, is shown, and comes through when it may', async () => {
    const w = await open();
    await w.createStream('s');
    await w.createStream('s.dead');
    await w.publish('s', keys('a', 'a', 'b'));
    const c = await w.consume('s', 'g', { policy: { timeoutMs: 3_600_000 } });
    w.refuse('s.dead');
    c.session.answer([{ token: c.last(0).token, verdict: { kind: 'term', reason: 'x' } }], () => undefined);
    await w.pass(10_000);
    expect(c.offsets).toEqual([0, 2]);
    expect(w.deliveries.inFlight('s', 'g', 10)).toMatchObject([
      { offset: 2, state: 'out' },
      { offset: 0, state: 'waiting', reason: expect.stringContaining('RECORD_TOO_LARGE') },
    ]);
    w.refuse(undefined);
    await w.pass(120_000);
    expect(c.offsets).toEqual([0, 2, 1]);
    expect(await lettersOf(w)).toHaveLength(1);
  });

  it('D22: a seek in the tick of an answer: what was decided before does not come after it', async () => {
    const w = await open();
    await w.createStream('s');
    const filters = [{ exact: { type: 'x' } }];
    await w.publish('s', [event({ type: 'x' }), event({ type: 'y' }), event({ type: 'x' })]);
    const c = await w.consume('s', 'g', { filters });
    expect(c.offsets).toEqual([0, 2]);
    await w.pass(2_000); // what was skipped is recorded
    const sought = w.deliveries.seek('s', 'g', { from: 'beginning' });
    for (let i = 0; i < 20; i++) await Promise.resolve(); // it knows where to go
    c.session.answer([{ token: c.last(2).token, verdict: { kind: 'ack' } }], () => undefined);
    await w.run(sought);
    await w.crash(); // before anything is read again
    const d = await w.consume('s', 'g');
    expect(d.offsets).toEqual([0, 2]);
  });

  it('D20 D22: a redrive in the tick of a seek is not lost', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'b'));
    const c = await w.consume('s', 'g');
    await c.answer(0, { kind: 'term', reason: 'x' });
    const letters = await lettersOf(w);
    const redriven = w.deliveries.redrive(letters);
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    const sought = w.deliveries.seek('s', 'g', { from: 'latest' });
    await w.run(Promise.all([redriven, sought]));
    await w.pass(100);
    expect(c.got.filter((d) => d.redrive === 1)).toHaveLength(1);
  });

  it('D22: a rate by key that is taken away holds nobody any more', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a', 'a'));
    const c = await w.consume('s', 'g', { rateLimit: { count: 1, perMs: 3_600_000, by: 'key' } });
    await c.ack(0);
    expect(c.offsets).toEqual([0]);
    await w.run(w.deliveries.set('s', 'g', { rateLimit: undefined }));
    await w.pass(100);
    expect(c.offsets).toEqual([0, 1]);
  });

  it('D19: the dead letter of a dead letter keeps what the first one said', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g');
    await c.answer(0, { kind: 'term', reason: 'first' });
    const d = await w.consume('s.dead', 'h');
    await d.answer(0, { kind: 'term', reason: 'second' });
    const [inner] = await lettersOf(w, { stream: 's.dead' });
    expect(inner).toMatchObject({ group: 'h', reason: 'second' });
    expect(inner?.record.bytes.equals(d.last(0).record.bytes)).toBe(true);
  });

  it('D15 D23: huge reasons of many nacks in one go', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish(
      's',
      Array.from({ length: 3_000 }, (__, i) => ({ key: String(i) })),
    );
    const c = await w.consume('s', 'g', {}, 10_000);
    expect(c.got).toHaveLength(3_000);
    const reason = '€'.repeat(1_000_000);
    const results = await w.run(
      new Promise<readonly unknown[]>((done) =>
        c.session.answer(
          c.got.map(({ token }) => ({ token, verdict: { kind: 'nack', reason, delayMs: 1e9 } as const })),
          done,
        ),
      ),
    );
    expect(results.every((r) => (r as { ok: boolean }).ok)).toBe(true);
    await w.crash();
    const d = await w.consume('s', 'g', {}, 10_000);
    expect(d.got).toHaveLength(0);
    expect(w.deliveries.inFlight('s', 'g', 1)[0]).toMatchObject({ attempt: 2 });
  });

  it('D15 D16: on a full disk nothing is answered, and when there is room everything is', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a', 'b', 'c'));
    const c = await w.consume('s', 'g', { policy: { timeoutMs: 3_600_000 } });
    w.isFull = true;
    const results: string[] = [];
    for (const [offset, kind] of [
      [0, 'ack'],
      [2, 'nack'],
      [3, 'term'],
    ] as const) {
      c.session.answer([{ token: c.last(offset).token, verdict: { kind } }], ([r]) => results.push(`${kind} ${r?.ok}`));
    }
    await w.pass(10_000);
    expect([results, c.offsets]).toEqual([[], [0, 2, 3]]);
    w.isFull = false;
    await w.pass(2_000);
    expect(results.sort()).toEqual(['ack true', 'nack true', 'term true']);
    expect(c.offsets).toEqual([0, 2, 3, 1, 2]);
    await w.crash();
    expect((await w.consume('s', 'g')).offsets).toEqual([1, 2]);
    expect(await lettersOf(w)).toHaveLength(1);
  });

  it('D22: a seek that a full disk refuses changes nothing', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'b', 'c'));
    const c = await w.consume('s', 'g');
    await c.ack(0);
    w.isFull = true;
    await expect(w.run(w.deliveries.seek('s', 'g', { from: 'latest' }))).rejects.toMatchObject({
      code: 'STORAGE_FULL',
    });
    w.isFull = false;
    await w.pass(2_000);
    c.session.close();
    expect((await w.consume('s', 'g')).offsets.toSorted()).toEqual([1, 2]);
  });

  it('D15 D21: the wall clock jumps: what is delayed follows it within a minute, backoff does not', async () => {
    const w = await open();
    await w.createStream('s');
    const inHours = (h: number): string => new Date(w.wallMs + h * 3_600_000).toISOString();
    await w.publish('s', [event({ deliverat: inHours(2) }), event({}, 'b')]);
    const c = await w.consume('s', 'g', { policy: { timeoutMs: 3_600_000 } });
    expect(c.offsets).toEqual([1]);
    await c.nack(1, 10_000);
    w.sim.scheduler.jumpWall(-86_400_000);
    await w.pass(10_100);
    expect(c.offsets).toEqual([1, 1]);
    await c.nack(1, 10_000);
    w.sim.scheduler.jumpWall(-86_400_000);
    await w.crash();
    const d = await w.consume('s', 'g', { policy: { timeoutMs: 3_600_000 } });
    await w.pass(10_100);
    expect(d.offsets).toEqual([1]);
    w.sim.scheduler.jumpWall(2 * 86_400_000 + 2 * 3_600_000);
    await w.pass(61_000);
    expect(d.offsets).toEqual([1, 0]);
  });

  it('D23: a group that is far behind delays no other', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish(
      's',
      Array.from({ length: 5_000 }, (__, i) => ({ key: String(i) })),
    );
    const order: string[] = [];
    const groups = ['far', 'near'].map((name) => {
      const consumer = new Consumer(w);
      const { deliver } = consumer;
      consumer.deliver = (deliveries): void => {
        order.push(...deliveries.map(() => name));
        deliver.call(consumer, deliveries);
      };
      consumer.auto = { kind: 'ack' };
      return { name, consumer };
    });
    for (const { name, consumer } of groups) {
      const settings = name === 'near' ? { start: { from: 'offset', offset: 4_000 } as const } : {};
      const opened = w.deliveries.open({ stream: 's', group: name, settings, credit: 0 }, consumer);
      consumer.session = await w.run(opened);
    }
    for (const { consumer } of groups) consumer.session.credit(100_000);
    await w.pass(2_000);
    expect(groups.map(({ consumer }) => consumer.got.length)).toEqual([5_000, 1_000]);
    expect(order.lastIndexOf('near')).toBeLessThan(4_000);
  });

  it('D7 D8: an ephemeral group that is only pulled from lives a minute after its last pull', async () => {
    const w = await open();
    await w.createStream('s');
    const pull = () =>
      w.run(w.deliveries.pull({ stream: 's', group: 'g', settings: { durable: false }, max: 1, waitMs: 10 }));
    await pull();
    await w.pass(59_000);
    await pull();
    await w.pass(30_000); // a minute after the first
    expect([...w.deliveries.groups('s')]).toHaveLength(1);
    await w.pass(31_000);
    expect([...w.deliveries.groups('s')]).toHaveLength(0);
  });

  it('D8 D23: pulls that wait are bounded', async () => {
    const w = await open({ settings: { sessionsPerGroupMax: 2 } });
    await w.createStream('s');
    const pull = () => w.deliveries.pull({ stream: 's', group: 'g', settings: {}, max: 1, waitMs: 1_000 });
    const first = [pull(), pull()];
    await w.pass(20);
    await expect(w.run(pull())).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(await w.run(Promise.all(first))).toEqual([[], []]);
    expect(await w.run(pull())).toEqual([]);
  });

  it('D2 D19: a dead letter that another shard refuses holds up no other, and comes once when it is taken', async () => {
    const w = await open({ shards: 2 });
    w.deadShard = 1;
    await w.createStream('s');
    await w.publish('s', keys('a', 'b', 'c', 'd'));
    const c = await w.consume('s', 'g');
    const d = await w.consume('s', 'h', { policy: { deadLetterStream: 'other' } });
    await c.answer(0, { kind: 'term' });
    await d.answer(0, { kind: 'term' });
    await w.pass(100);
    w.refuse('s.dead');
    for (const offset of [1, 2]) await c.answer(offset, { kind: 'term' });
    await d.answer(1, { kind: 'term' });
    await w.pass(5_000);
    const groupsOf = async (): Promise<string[]> =>
      (await lettersOf(w)).map((l) => `${l.group} ${l.from.offset}`).toSorted();
    expect(await groupsOf()).toEqual(['g 0', 'h 0', 'h 1']);
    await w.crash();
    await w.pass(5_000);
    w.refuse(undefined);
    await w.pass(10_000);
    expect(await groupsOf()).toEqual(['g 0', 'g 1', 'g 2', 'h 0', 'h 1']);
    await w.crash();
    await w.pass(5_000);
    expect(await groupsOf()).toEqual(['g 0', 'g 1', 'g 2', 'h 0', 'h 1']);
  });
});

describe('troubles of the engine', () => {
  const topicOf = (w: EngineWorld): Topic => w.parts[0]?.topics.get('s') as Topic;

  it.each([0, 1, 2, 3, 4])('D19: byte for byte out of a batch of codec %i of an idempotent producer', async (codec) => {
    const w = await EngineWorld.open();
    await w.createStream('s');
    const partition = w.partition('s');
    const headers = [
      { key: 'ce_id', value: Buffer.from([0xff, 0, 1]) },
      { key: 'ce_id', value: null },
      { key: '', value: '' },
    ];
    const timestamp = w.wallMs - 12_345;
    const records = ['a', 'b', 'a'].map((key, i) => ({
      key,
      value: `${i}`.repeat(500),
      timestamp: timestamp - i,
      headers,
    }));
    const batch = encodeBatch(records, { codec, producerId: 7, producerEpoch: 0, baseSequence: 0 });
    w.log.commit(0, [{ kind: 'records', partition, batch }]);
    w.log.commit(0, [{ kind: 'records', partition, batch: Buffer.from(batch) }]); // sent again
    await w.pass(50);
    const c = await w.consume('s', 'g');
    expect(c.offsets).toEqual([0, 1]);
    const { record } = c.last(1);
    await c.answer(1, { kind: 'term', reason: 'x' });
    const [letter] = await lettersOf(w);
    expect(letter?.record.timestampMs).toBe(timestamp - 1);
    expect(letter?.record.bytes.subarray(3).equals(record.bytes.subarray(3))).toBe(true);
    await c.ack(0);
    expect(c.offsets).toEqual([0, 1, 2]);
    await w.run(w.deliveries.redrive([letter as NonNullable<typeof letter>]));
    await w.pass(50);
    const again = c.got.at(-1);
    expect([again?.redrive, again?.record.timestampMs]).toEqual([1, timestamp - 1]);
    expect(again?.record.bytes.subarray(3).equals(record.bytes.subarray(3))).toBe(true);
  });

  it("D3: control batches are nobody's, and lanes go past them", async () => {
    const w = await EngineWorld.open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const marker = encodeBatch([{ key: Buffer.from([0, 0, 0, 1]), value: Buffer.alloc(6), timestamp: w.wallMs }], {
      isControl: true,
      isTransactional: true,
      producerId: 9,
      producerEpoch: 0,
    });
    const { log } = topicOf(w).partitions[0] as Topic['partitions'][number];
    w.parts[0]?.shard.append(log, marker, 0, marker.length, 1, w.wallMs);
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g');
    await c.ack(0);
    expect(c.offsets).toEqual([0, 2]);
    await c.ack(2);
    await w.pass(2_000);
    expect(w.status('s', 'g').partitions).toMatchObject([{ floor: 3, lag: 0 }]);
  });

  it('D3: what compaction takes while it waits is gone, counted, and its lane goes on', async () => {
    const w = await EngineWorld.open({ settings: { cacheBytes: 0 } });
    w.parts[0]?.topics.create({
      name: 's',
      partitions: 1,
      config: { 'cleanup.policy': 'compact', 'segment.ms': '1000' },
    });
    await w.pass(20);
    await w.publish('s', keys('a', 'a', 'a', 'b'));
    const c = await w.consume('s', 'g', { policy: { timeoutMs: 86_400_000 } });
    expect(c.offsets).toEqual([0, 3]);
    await c.nack(3, 0); // tells how far it has read
    await w.pass(2_000);
    await w.publish('s', keys('a'));
    await w.pass(2_000);
    await w.publish('s', keys('c'));
    const { shard } = w.parts[0] as EngineWorld['parts'][number];
    const log = (topicOf(w).partitions[0] as Topic['partitions'][number]).log;
    const compaction = new Compaction({
      shard,
      compactor: new RecordCompactor(),
      settingsFor: (of) =>
        of === log ? { dirtyRatioMin: 0, lagMinMs: 0, lagMaxMs: Infinity, deleteRetentionMs: 0 } : undefined,
      keyBytesMax: 1 << 20,
      backoffMs: 10,
    });
    compaction.start();
    await w.pass(60_000);
    expect(compaction.stats.passes).toBeGreaterThan(0);
    await w.crash(); // nothing of it is in memory any more
    const d = await w.consume('s', 'g', { policy: { timeoutMs: 86_400_000 } });
    await w.pass(1_000);
    expect(d.offsets.toSorted((x, y) => x - y)).toEqual([3, 4, 5]);
    expect(w.status('s', 'g').counts).toMatchObject({ gone: 3 });
    for (const offset of [3, 4, 5]) await d.ack(offset);
    await w.pass(2_000);
    expect(w.status('s', 'g').partitions).toMatchObject([{ lag: 0 }]);
  });

  it('D15 D16: a disk that fails ends sessions and answers nothing as taken; the next service goes on', async () => {
    const w = await EngineWorld.open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a', 'b'));
    const c = await w.consume('s', 'g');
    await c.ack(0);
    expect(c.offsets).toEqual([0, 2, 1]);
    w.sim.disk.faults.failNext('datasync', /commit/, { code: 'EIO' });
    const heard: unknown[] = [];
    c.session.answer([{ token: c.last(1).token, verdict: { kind: 'ack' } }], (results) => heard.push(...results));
    const made = w.deliveries.createGroup('s', 'late', {});
    await expect(w.run(made)).rejects.toMatchObject({ code: expect.stringMatching(/^STORAGE_/) });
    expect(w.sim.disk.faults.unmet).toEqual([]);
    expect(heard).toMatchObject([{ ok: false }]);
    expect(c.endedWith).toMatchObject({ code: expect.stringMatching(/^STORAGE_/) });
    await expect(w.run(w.deliveries.open({ stream: 's', group: 'g', settings: {}, credit: 1 }, c))).rejects.toThrow();
    await w.crash();
    const d = await w.consume('s', 'g');
    expect(d.offsets).not.toContain(0);
    expect(d.offsets).toContain(2);
    // What was asked for and not answered may have happened or not.
    if (d.offsets.includes(1)) await d.ack(1);
    await d.ack(2);
    await w.pass(2_000);
    expect(w.status('s', 'g').partitions).toMatchObject([{ lag: 0 }]);
  });

  it('D3: a batch that the disk has damaged is passed, and no other', async () => {
    const w = await EngineWorld.open();
    await w.createStream('s');
    for (let i = 0; i < 60; i++) await w.publish('s', [{ key: `k${i}`, value: `${i} `.repeat(700) }]);
    await w.pass(5_000);
    await w.crash(); // what is in memory is gone
    const { disk } = w.sim;
    const marker = Buffer.from('20 20 20 ');
    const find = (path: string): number => Buffer.from(disk.content(path)).indexOf(marker);
    const path = disk.files().find((file) => file.path.endsWith('.seg') && find(file.path) > 0)?.path ?? 'none';
    const at = find(path);
    disk.corrupt(path, at, 0x40);
    const c = await w.consume('s', 'g');
    await w.pass(5_000);
    expect(c.offsets).toEqual(Array.from({ length: 60 }, (__, i) => i).filter((i) => i !== 20));
  });

  it('D6: partitions grow and shrink under a group; one that comes again begins at 0', async () => {
    const w = await EngineWorld.open();
    await w.createStream('s', 2);
    const alter = async (partitions: number): Promise<void> => {
      w.parts[0]?.topics.alter('s', { partitions });
      await w.pass(50);
    };
    await w.publish('s', keys('a', 'b', 'c'), 1);
    const c = await w.consume('s', 'g', { start: { from: 'latest' } });
    await alter(3);
    await w.publish('s', keys('x'), 2);
    expect(c.got.map((d) => [d.partition, d.offset])).toEqual([[2, 0]]);
    await w.publish('s', keys('y'), 1);
    const old = c.got.at(-1);
    await alter(1);
    expect(c.lostTokens.toSorted()).toEqual(c.got.map((d) => d.token).toSorted());
    await alter(2);
    expect((await c.answerToken(old?.token ?? '', { kind: 'ack' })).ok).toBe(false);
    await w.publish('s', keys('z'), 1);
    expect(c.got.slice(2).map((d) => [d.partition, d.offset])).toEqual([[1, 0]]);
  });

  it('D6: so it is over a restart, where the group only says where it began', async () => {
    const w = await EngineWorld.open();
    await w.createStream('s', 2);
    await w.publish('s', keys('a', 'b', 'c'), 1);
    await w.run(w.deliveries.createGroup('s', 'g', { start: { from: 'latest' } }));
    await w.crash();
    w.parts[0]?.topics.alter('s', { partitions: 1 });
    w.parts[0]?.topics.alter('s', { partitions: 2 });
    await w.pass(50);
    await w.publish('s', keys('z'), 1);
    expect((await w.consume('s', 'g')).got.map((d) => [d.partition, d.offset])).toEqual([[1, 0]]);
  });

  it('D4 D6: a stream that is deleted and made again has none of its groups, and ends their sessions', async () => {
    const w = await EngineWorld.open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'b'));
    const c = await w.consume('s', 'g');
    const { token } = c.last(0);
    w.parts[0]?.topics.remove('s');
    w.parts[0]?.topics.create({ name: 's', partitions: 1 });
    await w.pass(50);
    expect(c.endedWith).toMatchObject({ code: 'TOPIC_NOT_FOUND' });
    expect(await c.answerToken(token, { kind: 'ack' })).toMatchObject({ ok: false, code: 'TOKEN_INVALID' });
    await w.publish('s', keys('x'));
    const d = await w.consume('s', 'g');
    expect(d.offsets).toEqual([0]);
    expect(await d.answerToken(token, { kind: 'ack' })).toMatchObject({ ok: false, code: 'TOKEN_INVALID' });
  });
});

describe('what doors say', () => {
  it("D6 D11 D18: groups of our doors begin at the beginning, by key; those of the original's door at latest, by partition, without end", async () => {
    const w = new MemoryWorld();
    await w.createStream('s');
    await w.run(w.deliveries.createGroup('s', 'ours', {}));
    await w.run(w.deliveries.createGroup('s', 'lost', { durable: false }));
    // As `original/subscription.ts` opens its sessions.
    const defaults = {
      start: { from: 'latest' },
      ordering: 'partition',
      window: 32,
      policy: { maxDeliveries: 0 },
    } as const;
    const request = { stream: 's', group: 'original', settings: {}, defaults, partition: 0, credit: 0 };
    await w.run(w.deliveries.open(request, new Consumer(w)));
    const of = (group: string) => {
      const { start, ordering, window, policy } = w.status('s', group).settings;
      return [start.from, ordering, window, policy.maxDeliveries, policy.timeoutMs, policy.backoffMs];
    };
    expect(of('ours')).toEqual(['beginning', 'key', 1, 10, 30_000, [200, 1_000, 5_000, 30_000, 120_000]]);
    expect(of('lost')).toEqual(['latest', 'key', 1, 10, 30_000, [200, 1_000, 5_000, 30_000, 120_000]]);
    expect(of('original')).toEqual(['latest', 'partition', 32, 0, 30_000, [200, 1_000, 5_000, 30_000, 120_000]]);
  });
});
