/**
 * The rules of delivery.md by name, over a log in memory and over the engine on the simulated disk. D9 to D18 cell by cell are
 * in `core/life.test.ts`, whole lives of misbehaving sessions in `tests/sim/scenarios/delivery.ts`.
 */
import { readRecord } from '@hadron/contracts/events';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { describe, expect, it } from 'vitest';
import type { DeadLetterEntry, OutgoingDelivery } from './service.ts';
import { Consumer, event, type NewEvent } from './testing/world.ts';
import { lettersOf, MemoryWorld, WORLDS } from './testing/worlds.ts';

const keys = (...list: readonly string[]): NewEvent[] => list.map((key) => ({ key, value: key }));

describe.each(WORLDS)('delivery %s', (_, open) => {
  it('D15 D16: a handled event is acked durably and does not come again over a crash', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a', 'b'));
    const c = await w.consume('s', 'g');
    expect(c.offsets).toEqual([0, 2]); // the second of lane a waits
    expect(await c.ack(0)).toEqual({ ok: true });
    expect(c.offsets).toEqual([0, 2, 1]);
    expect(await c.ack(2)).toEqual({ ok: true });
    await w.crash();
    const again = await w.consume('s', 'g');
    expect(again.offsets).toEqual([1]);
    expect(again.last(1).attempt).toBe(1); // what was out when the server died was no attempt
  });

  it('D2: verdict and dead letter are one set; from one shard to another by the outbox, exactly once', async () => {
    const w = await open({ shards: 2 });
    w.deadShard = 1;
    await w.createStream('s', 1, () => 0);
    await w.publish('s', keys('a', 'b', 'c'));
    const c = await w.consume('s', 'g');
    for (const offset of [0, 1, 2]) await c.answer(offset, { kind: 'term', reason: `bad ${offset}` });
    await w.pass(100);
    expect(w.partition('s.dead').shard).toBe(1);
    expect((await lettersOf(w)).map((l) => [l.from.offset, l.reason])).toEqual([
      [0, 'bad 0'],
      [1, 'bad 1'],
      [2, 'bad 2'],
    ]);
    await w.crash();
    await w.pass(100);
    expect(await lettersOf(w)).toHaveLength(3);
    expect((await w.consume('s', 'g')).offsets).toEqual([]);
  });

  it('D2 D20: a redrive from one shard to another comes exactly once, also over a crash', async () => {
    const w = await open({ shards: 2 });
    w.deadShard = 1;
    await w.createStream('s', 1, () => 0);
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g');
    await c.answer(0, { kind: 'term' });
    await w.pass(100);
    const letters = await lettersOf(w);
    expect(await w.run(w.deliveries.redrive(letters))).toBe(1);
    await w.pass(100);
    expect(c.got.map((d) => [d.offset, d.redrive])).toEqual([
      [0, 0],
      [0, 1],
    ]);
    await w.crash();
    const again = await w.consume('s', 'g');
    await w.pass(100);
    expect(again.got.map((d) => [d.offset, d.redrive])).toEqual([[0, 1]]);
    expect(await again.ack(0)).toEqual({ ok: true });
    await w.crash();
    await w.pass(100);
    expect((await w.consume('s', 'g')).offsets).toEqual([]);
    expect(await w.run(w.deliveries.redrive(letters))).toBe(0);
  });

  it('D3: what vanishes while it waits is gone, counted, and its lane goes on', async () => {
    const w = await open();
    await w.createStream('s');
    for (let i = 0; i < 4; i++) await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g');
    expect(c.offsets).toEqual([0]);
    await w.trim(w.partition('s'), 3);
    expect(await c.ack(0)).toEqual({ ok: true }); // what is out may be answered
    expect(c.offsets).toEqual([0, 3]);
    await w.pass(10);
    expect(w.status('s', 'g').counts).toMatchObject({ acked: 1, gone: 2 });
    await c.ack(3);
    expect(w.status('s', 'g').partitions[0]).toMatchObject({ floor: 4, lag: 0, unsettled: 0 });
  });

  it('D3: a group can hold retention back', async () => {
    const w = await open();
    const { topicId } = await w.createStream('s');
    await w.publish('s', keys('a', 'b'));
    await w.consume('s', 'other');
    expect(w.deliveries.heldOffset(topicId, 0)).toBeUndefined();
    const c = await w.consume('s', 'g', { holdRetention: true });
    expect(w.deliveries.heldOffset(topicId, 0)).toBe(0);
    await c.ack(0);
    expect(w.deliveries.heldOffset(topicId, 0)).toBe(1);
  });

  it("D4: a group begins at a Kafka group's committed offsets", async () => {
    const w = await open();
    await w.createStream('s', 2);
    await w.publish('s', keys('a', 'b', 'c'), 0);
    await w.publish('s', keys('d', 'e', 'f'), 1);
    const made = await w.run(w.deliveries.createGroup('s', 'g', {}, new Map([[0, 2]])));
    expect(made.kind).toBe('hadron');
    expect(made.partitions.map((p) => p.floor)).toEqual([2, 0]);
    const c = await w.consume('s', 'g');
    expect(c.got.map((d) => `${d.partition}-${d.offset}`).sort()).toEqual(['0-2', '1-0', '1-1', '1-2']);
  });

  it('D5: settings belong to the group; another value is refused and both are shown', async () => {
    const w = await open();
    await w.createStream('s');
    await w.consume('s', 'g', { ordering: 'key', policy: { maxDeliveries: 3 } });
    await w.consume('s', 'g', { policy: { maxDeliveries: 3 } });
    await expect(w.consume('s', 'g', { policy: { maxDeliveries: 4 } })).rejects.toMatchObject({
      code: 'GROUP_SETTINGS_DIFFER',
      field: 'settings.policy.maxDeliveries',
      message: expect.stringMatching(/3.*4/),
    });
    await w.run(w.deliveries.set('s', 'g', { policy: { maxDeliveries: 4 } }));
    await w.crash();
    expect(w.status('s', 'g').settings.policy.maxDeliveries).toBe(4);
    await expect(w.run(w.deliveries.set('s', 'g', { ordering: 'none' }))).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
    });
  });

  it('D6: the start is durable before the session is answered', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'b'));
    expect((await w.consume('s', 'g', { start: { from: 'latest' } })).offsets).toEqual([]);
    await w.publish('s', keys('c'));
    await w.crash();
    await w.publish('s', keys('d'));
    expect((await w.consume('s', 'g', { start: { from: 'latest' } })).offsets).toEqual([2, 3]);
    const above = w.consume('s', 'far', { start: { from: 'offset', offset: 99 } });
    await expect(above).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
    const byTime = await w.consume('s', 't', { start: { from: 'time', timeMs: Number.MAX_SAFE_INTEGER } });
    expect(byTime.offsets).toEqual([]);
  });

  it('D6: with beyondEnd an offset above the end is the end, on that partition alone (S14)', async () => {
    const w = await open();
    await w.createStream('s', 2);
    for (let i = 0; i < 5; i++) await w.publish('s', keys('a'), 0);
    await w.publish('s', keys('b'), 1);
    const c = await w.consume('s', 'g', {
      start: { from: 'offset', offset: 3, beyondEnd: 'latest' },
      ordering: 'none',
    });
    expect(c.offsets).toEqual([3, 4]);
    expect(w.status('s', 'g').partitions.map((p) => p.floor)).toEqual([3, 1]);
  });

  it('D6: a start below the beginning is the beginning, and counted', async () => {
    const w = await open();
    await w.createStream('s');
    for (let i = 0; i < 3; i++) await w.publish('s', keys('a'));
    await w.trim(w.partition('s'), 2);
    const c = await w.consume('s', 'g', { start: { from: 'offset', offset: 0 } });
    expect(c.offsets).toEqual([2]);
    expect(w.status('s', 'g').counts.gone).toBe(2);
  });

  it('D7: an ephemeral group goes with its last session, also when something is out', async () => {
    const w = await open();
    await w.createStream('s');
    const [one, two] = [await w.consume('s', 'g', { durable: false }), await w.consume('s', 'g', { durable: false })];
    await w.publish('s', keys('a', 'b'));
    expect([...one.offsets, ...two.offsets].sort()).toEqual([0, 1]);
    one.session.close();
    await w.pass(10);
    expect(two.offsets.sort()).toEqual([0, 1]);
    two.session.lost();
    expect(() => w.status('s', 'g')).toThrow(/GROUP_NOT_FOUND/);
    expect((await w.consume('s', 'g', { durable: false })).offsets).toEqual([]); // begins at the end
  });

  it('D8: a pull is a lease: it waits for the first, and only the time-out returns', async () => {
    const w = await open();
    await w.createStream('s');
    const pull = (max: number, waitMs: number): Promise<readonly OutgoingDelivery[]> =>
      w.deliveries.pull({ stream: 's', group: 'g', settings: {}, max, waitMs });
    expect(await w.run(pull(10, 50))).toEqual([]);
    const waiting = pull(10, 10_000);
    await w.publish('s', keys('a', 'b', 'c'));
    const got = await w.run(waiting);
    expect(got.map((d) => d.offset)).toEqual([0, 1, 2]);
    const answers = await w.run(
      w.deliveries.answer('s', 'g', [
        { token: got[0]?.token ?? '', verdict: { kind: 'ack' } },
        { token: 'nonsense', verdict: { kind: 'ack' } },
        { token: got[1]?.token ?? '', verdict: { kind: 'nack', delayMs: 0 } },
      ]),
    );
    expect(answers).toEqual([{ ok: true }, expect.objectContaining({ code: 'TOKEN_INVALID' }), { ok: true }]);
    expect((await w.run(pull(10, 50))).map((d) => [d.offset, d.attempt])).toEqual([[1, 2]]);
    await w.pass(40_000);
    expect((await w.run(pull(10, 50))).map((d) => [d.offset, d.attempt])).toEqual([
      [1, 3],
      [2, 2],
    ]);
    const abort = new AbortController();
    const aborted = w.deliveries.pull({ stream: 's', group: 'g', settings: {}, max: 1, waitMs: 1e6 }, abort.signal);
    await w.pass(10);
    abort.abort();
    expect(await w.run(aborted)).toEqual([]);
  });

  it('D9: a window of a lane goes to one session in order; what is behind a failure is withdrawn, uncounted', async () => {
    const w = await open();
    await w.createStream('s');
    const policy = { backoffMs: [100] };
    const one = await w.consume('s', 'g', { ordering: 'partition', window: 3, policy });
    const two = await w.consume('s', 'g');
    await w.publish('s', keys('a', 'b', 'c', 'd', 'e'));
    const [holder, idle] = one.got.length > 0 ? [one, two] : [two, one];
    expect([holder.offsets, idle.offsets]).toEqual([[0, 1, 2], []]);
    await holder.ack(2);
    await holder.nack(0);
    expect(holder.lostTokens.sort()).toEqual([holder.last(1).token, holder.last(3).token].sort());
    await w.pass(200);
    const after = [...holder.got.slice(4), ...idle.got];
    expect(after.map((d) => [d.offset, d.attempt])).toEqual([
      [0, 2],
      [1, 1],
      [3, 1],
    ]);
  });

  it('D9: ordering none holds nothing up', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a', 'a'));
    const c = await w.consume('s', 'g', { ordering: 'none' });
    expect(c.offsets).toEqual([0, 1, 2]);
    expect(c.got.map((d) => d.lane)).toEqual([undefined, undefined, undefined]);
  });

  it('D10: the lane is the record key, else partitionkey, else subject, else its own', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', [
      { key: 'k' },
      event({ partitionkey: 'p', subject: 'x' }),
      event({ subject: 'p' }),
      event({}),
      event({}),
    ]);
    const c = await w.consume('s', 'g');
    expect(c.got.map((d) => [d.offset, d.lane])).toEqual([
      [0, 'k'],
      [1, 'p'],
      [3, undefined],
      [4, undefined],
    ]);
    await c.ack(1);
    expect(c.last(2).lane).toBe('p');
  });

  it('D12: one failing lane holds up nobody; reading stops at the limit, and status names the lane', async () => {
    const w = await open({ settings: { unsettledMax: 30 } });
    await w.createStream('s');
    for (let i = 0; i < 10; i++) {
      await w.publish(
        's',
        Array.from({ length: 20 }, (_, j) => ({ key: j % 5 === 0 ? 'bad' : `k${j}` })),
      );
    }
    const c = await w.consume('s', 'g', { policy: { backoffMs: [1e7] } });
    const acked = new Set<string>();
    for (let turn = 0; turn < 100; turn++) {
      for (const d of c.got.splice(0)) {
        if (acked.has(d.token)) continue;
        acked.add(d.token);
        await c.answerToken(d.token, d.lane === 'bad' ? { kind: 'nack' } : { kind: 'ack' });
      }
    }
    const { partitions, blockedLanes, counts } = w.status('s', 'g');
    expect(partitions[0]?.unsettled).toBe(30);
    expect(blockedLanes).toEqual(['bad']);
    expect(w.warnings.join()).toContain('stopped reading');
    expect(counts.acked).toBeGreaterThan(110);
    await w.crash();
    const again = await w.consume('s', 'g');
    again.auto = { kind: 'ack' };
    await w.pass(2e7);
    expect(again.offsets.filter((o) => o % 5 === 0)).toEqual(Array.from({ length: 40 }, (_, i) => i * 5));
    expect(w.status('s', 'g').partitions[0]).toMatchObject({ floor: 200, lag: 0 });
  });

  it('D13: what the filter skips is settled, at most a second later; a changed filter holds for unread events', async () => {
    const w = await open();
    await w.createStream('s');
    const ofType = (type: string) => [{ exact: { type } }];
    await w.publish('s', [event({ type: 'a' }), event({ type: 'b' }), event({ type: 'b' })]);
    const c = await w.consume('s', 'g', { filters: ofType('a'), ordering: 'none' });
    expect(c.offsets).toEqual([0]);
    expect(w.status('s', 'g').partitions[0]).toMatchObject({ position: 3, lag: 1 });
    await w.pass(1_500);
    await w.crash();
    const { partitions } = w.status('s', 'g');
    expect(partitions[0]).toMatchObject({ position: 3, unsettled: 1 });
    await w.run(w.deliveries.set('s', 'g', { filters: ofType('b') }));
    await w.publish('s', [event({ type: 'a' }), event({ type: 'b' })]);
    expect((await w.consume('s', 'g')).offsets).toEqual([0, 4]); // 0 was read when its type matched
  });

  it('D14: close returns at once, uncounted; abrupt loss at once the first time, then by the backoff list', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const first = await w.consume('s', 'g', { policy: { backoffMs: [1_000] } });
    first.session.close();
    expect(first.endedWith).toBeNull();
    const second = await w.consume('s', 'g');
    expect(second.got.map((d) => d.attempt)).toEqual([1]);
    second.session.lost();
    await w.pass(10);
    const third = await w.consume('s', 'g');
    expect(third.got.map((d) => d.attempt)).toEqual([2]);
    third.session.lost();
    await w.pass(10);
    const fourth = await w.consume('s', 'g');
    expect(fourth.got).toEqual([]);
    await w.pass(1_300);
    expect(fourth.got.map((d) => d.attempt)).toEqual([3]);
  });

  it('D15: a nack, its reason and its due time are durable; what was out at a crash counts as not made', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g', { policy: { backoffMs: [60_000] } });
    await c.nack(0, undefined, 'later');
    await w.crash();
    const again = await w.consume('s', 'g');
    expect(again.got).toEqual([]);
    expect(w.deliveries.inFlight('s', 'g', 9)).toMatchObject([
      { state: 'waiting', attempt: 2, reason: 'later', lane: 'a' },
    ]);
    await w.pass(80_000);
    expect(again.got.map((d) => d.attempt)).toEqual([2]);
    await w.crash();
    expect((await w.consume('s', 'g')).got.map((d) => d.attempt)).toEqual([2]);
  });

  it('D16: late acks are taken while it waits, refused while somebody has it, and told how it was settled', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a'));
    const c = await w.consume('s', 'g', { policy: { timeoutMs: 100, backoffMs: [1_000] } });
    const { token } = c.last(0);
    await w.pass(200); // timed out, waits for redelivery
    expect(await c.answerToken(token, { kind: 'nack' })).toMatchObject({ code: 'STALE_DELIVERY' });
    expect(await c.answerToken(token, { kind: 'ack' })).toEqual({ ok: true });
    expect(await c.answerToken(token, { kind: 'ack' })).toMatchObject({ code: 'ALREADY_SETTLED', settled: 'acked' });
    const first = c.last(1).token;
    for (let ms = 0; ms < 2_000 && c.last(1).attempt === 1; ms += 20) await w.pass(20);
    expect(c.last(1).attempt).toBe(2); // timed out, and out again
    expect(await c.answerToken(first, { kind: 'ack' })).toMatchObject({ code: 'STALE_DELIVERY' });
    const { token: second } = c.last(1);
    await w.crash();
    expect((await w.run(w.deliveries.answer('s', 'g', [{ token: second, verdict: { kind: 'ack' } }])))[0]).toEqual({
      ok: true,
    });
    expect((await w.consume('s', 'g')).offsets).toEqual([]); // an ack of the time before the crash, taken
    expect((await w.run(w.deliveries.answer('s', 'g', [{ token, verdict: { kind: 'ack' } }])))[0]).toMatchObject({
      code: 'ALREADY_SETTLED',
    });
  });

  it('D16: an ack of the time before a crash holds its lane until it is durable, and the lane goes on', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a'));
    const { token } = (await w.consume('s', 'g')).last(0);
    await w.crash();
    const c = await w.consume('s', 'g', {}, 0);
    const answered = w.deliveries.answer('s', 'g', [{ token, verdict: { kind: 'ack' } }]);
    c.session.credit(10);
    expect((await w.run(answered))[0]).toEqual({ ok: true });
    await w.pass(10);
    expect(c.offsets).toEqual([1]);
  });

  it('D17: extend moves the time-out, up to the maximum; a delay overrides the backoff once', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g', { policy: { timeoutMs: 100, maxProcessingMs: 250, backoffMs: [10_000] } });
    for (let i = 0; i < 2; i++) {
      await w.pass(80);
      expect(await c.answer(0, { kind: 'extend' })).toEqual({ ok: true });
    }
    await w.pass(60);
    expect(w.status('s', 'g').partitions[0]?.out).toBe(1);
    await w.pass(80); // 250 ms are over, whatever was extended
    expect(w.status('s', 'g').partitions[0]?.out).toBe(0);
    for (let ms = 0; ms < 13_000 && c.last(0).attempt === 1; ms += 50) await w.pass(50);
    expect(c.last(0).attempt).toBe(2);
    await c.nack(0, 50);
    await w.pass(100);
    expect(c.last(0).attempt).toBe(3);
  });

  it('D17: term sends it to the dead letters at once', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'a'));
    const c = await w.consume('s', 'g');
    expect(await c.answer(0, { kind: 'term', reason: 'never' })).toEqual({ ok: true });
    expect(await lettersOf(w)).toMatchObject([{ code: 'HANDLER_TERMINAL', reason: 'never', attempts: 1 }]);
    expect(c.offsets).toEqual([0, 1]);
  });

  it('D18: backoff by the list, ±20 %, then the dead letters', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g', { policy: { backoffMs: [100, 1_000], maxDeliveries: 4 } });
    for (const [attempt, least, most] of [
      [1, 75, 125],
      [2, 795, 1_225],
      [3, 795, 1_225],
    ] as const) {
      expect(c.last(0).attempt).toBe(attempt);
      await c.nack(0, undefined, `no ${attempt}`);
      await w.pass(least - 5);
      expect(c.last(0).attempt).toBe(attempt);
      await w.pass(most - least + 10);
    }
    await c.nack(0, undefined, 'the end');
    expect(await lettersOf(w)).toMatchObject([{ code: 'MAX_DELIVERIES', reason: 'the end', attempts: 4 }]);
    expect(w.status('s', 'g').counts).toMatchObject({ failed: 4, dead: 1, acked: 0 });
  });

  it('D18: without a maximum it is redelivered without end', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g', { policy: { backoffMs: [10], maxDeliveries: 0 } });
    c.auto = { kind: 'nack' };
    await c.nack(0);
    await w.pass(2_000);
    expect(c.last(0).attempt).toBeGreaterThan(50);
  });

  it('D19: a dead letter is the record byte for byte, and says where it comes from', async () => {
    const w = await open();
    await w.createStream('s', 2);
    const sent: NewEvent = { key: 'clé', value: 'wört', headers: { ce_id: '7', other: 'x' } };
    const offset = await w.publish('s', [sent], 1);
    const c = await w.consume('s', 'g');
    await c.answer(offset, { kind: 'term', reason: 'why not' });
    expect(w.log.stream('s.dead')?.partitions).toHaveLength(2);
    const [letter] = await lettersOf(w);
    expect(letter).toMatchObject({
      stream: 's.dead',
      partition: 1,
      group: 'g',
      from: { stream: 's', partition: 1, offset },
    });
    const original = c.last(offset).record;
    expect(letter?.record.timestampMs).toBe(original.timestampMs);
    const fields = (bytes: Buffer) => readRecord(bytes);
    expect(fields((letter as DeadLetterEntry).record.bytes)).toEqual(fields(original.bytes));
  });

  it('D20: a redrive comes again from the copy, from attempt 1, once; to its group only; and may die again', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const [c, other] = [await w.consume('s', 'g', { policy: { maxDeliveries: 1 } }), await w.consume('s', 'other')];
    await other.ack(0);
    await c.nack(0);
    await w.publish('s', keys('z'));
    await w.trim(w.partition('s'), 1);
    const letters = await lettersOf(w);
    expect(await w.run(w.deliveries.redrive(letters))).toBe(1);
    expect(await lettersOf(w)).toEqual([]);
    await w.pass(10);
    expect(c.got.filter((d) => d.offset === 0).map((d) => [d.attempt, d.redrive])).toEqual([
      [1, 0],
      [1, 1],
    ]);
    expect(other.offsets).toEqual([0, 1]);
    await c.nack(0);
    const again = await lettersOf(w);
    expect(again).toMatchObject([{ from: { stream: 's', offset: 0 }, attempts: 1 }]);
    await w.crash();
    const next = await w.consume('s', 'g');
    expect(await w.run(w.deliveries.redrive(again))).toBe(1);
    await w.pass(10);
    expect(next.last(0).redrive).toBe(2);
    expect(next.last(0).record.bytes.includes('hadron-dead')).toBe(false);
    expect(await next.ack(0)).toEqual({ ok: true });
    expect(await next.ack(0)).toMatchObject({ code: 'ALREADY_SETTLED' });
  });

  it('D20: dead letters are copied elsewhere or dropped, by filter', async () => {
    const w = await open();
    await w.createStream('s');
    await w.createStream('copy');
    await w.publish('s', [event({ type: 'a' }, 'k1'), event({ type: 'b' }, 'k2'), event({ type: 'c' }, 'k3')]);
    const c = await w.consume('s', 'g');
    for (const offset of [0, 1, 2]) await c.answer(offset, { kind: 'term' });
    const some = await lettersOf(w, { filters: [{ any: [{ exact: { type: 'a' } }, { exact: { type: 'b' } }] }] });
    expect(some).toHaveLength(2);
    expect(await w.run(w.deliveries.redrive(some.slice(0, 1), 'copy'))).toBe(1);
    expect(await w.run(w.deliveries.drop(some.slice(1)))).toBe(1);
    await w.crash();
    expect((await lettersOf(w)).map((l) => l.from.offset)).toEqual([2]);
    const copies = await w.consume('copy', 'g');
    expect(copies.got.map((d) => d.lane)).toEqual(['k1']);
    expect(copies.last(0).record.bytes.includes('hadron-dead')).toBe(false);
  });

  it('D21: deliverat leaves its lane and comes when due, also over a crash; expirytime is counted', async () => {
    const w = await open();
    await w.createStream('s');
    const at = (ms: number): string => new Date(w.wallMs + ms).toISOString();
    await w.publish('s', [
      event({ deliverat: at(60_000) }, 'a'),
      event({}, 'a'),
      event({ expirytime: at(-1) }, 'b'),
      event({ expirytime: at(5_000) }, 'a'),
    ]);
    const c = await w.consume('s', 'g');
    expect(c.offsets).toEqual([1]);
    expect(w.status('s', 'g').partitions[0]?.delayed).toBe(1);
    await w.pass(10_000);
    await c.ack(1); // the next of its lane has expired meanwhile
    await w.pass(10);
    expect(c.offsets).toEqual([1]);
    expect(w.status('s', 'g').counts.expired).toBe(2);
    await w.crash();
    const again = await w.consume('s', 'g');
    expect(again.offsets).toEqual([]);
    await w.pass(60_000);
    expect(again.offsets).toEqual([0]);
    expect(again.last(0).lane).toBeUndefined();
  });

  it('D22: at most so many per time, for the group or for each key', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'b', 'c', 'd', 'e'));
    const byGroup = await w.consume('s', 'g', { rateLimit: { count: 2, perMs: 1_000, by: 'group' } });
    expect(byGroup.offsets).toEqual([0, 1]);
    await w.pass(1_000);
    expect(byGroup.offsets).toEqual([0, 1, 2, 3]);
    await w.pass(1_000);
    expect(byGroup.offsets).toHaveLength(5);
    await w.publish('s', keys('a', 'a', 'a'));
    const start = { from: 'offset', offset: 5 } as const;
    const byKey = await w.consume('s', 'k', { start, rateLimit: { count: 1, perMs: 1_000, by: 'key' } });
    byKey.auto = { kind: 'ack' };
    await byKey.ack(5);
    await w.pass(500);
    expect(byKey.offsets).toEqual([5]);
    await w.pass(600);
    expect(byKey.offsets).toEqual([5, 6]);
  });

  it('D22: pause and resume, durably', async () => {
    const w = await open();
    await w.createStream('s');
    await w.run(w.deliveries.createGroup('s', 'g', {}));
    await w.run(w.deliveries.pause('s', 'g', true));
    await w.crash();
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g');
    expect(c.offsets).toEqual([]);
    await w.run(w.deliveries.pause('s', 'g', false));
    await w.pass(10);
    expect(c.offsets).toEqual([0]);
  });

  it('D22: a seek withdraws what is out, and tokens from before answer nothing', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a', 'b', 'c'));
    const c = await w.consume('s', 'g');
    await c.ack(0);
    const [acked, out] = [c.last(0).token, c.last(1).token];
    await w.run(w.deliveries.seek('s', 'g', { from: 'beginning' }));
    await w.pass(10);
    expect(c.lostTokens).toContain(out);
    expect(c.offsets.slice(3)).toEqual([0, 1, 2]);
    expect(await c.answerToken(acked, { kind: 'ack' })).toMatchObject({ code: 'STALE_DELIVERY' });
    await w.crash();
    const again = await w.consume('s', 'g');
    expect(again.offsets).toEqual([0, 1, 2]);
    expect(await again.answerToken(acked, { kind: 'ack' })).toMatchObject({ code: 'STALE_DELIVERY' });
    await w.run(w.deliveries.purge('s', 'g'));
    await w.crash();
    expect((await w.consume('s', 'g')).offsets).toEqual([]);
    expect(w.status('s', 'g').partitions[0]).toMatchObject({ floor: 3, lag: 0 });
  });

  it('D22: what is in flight is listed with session, attempt and age', async () => {
    const w = await open();
    await w.createStream('s');
    await w.publish('s', keys('a'));
    const c = await w.consume('s', 'g');
    await w.pass(500);
    const [one] = w.deliveries.inFlight('s', 'g', 10);
    expect(one).toMatchObject({ offset: 0, state: 'out', session: c.session.id, attempt: 1, lane: 'a' });
    expect(one?.ageMs).toBeGreaterThanOrEqual(499);
    expect(w.deliveries.inFlight('s', 'g', 0)).toEqual([]);
  });

  it('D23: everything is bounded', async () => {
    const settings = { sessionsPerGroupMax: 2, groupsPerStreamMax: 1, sessionOutMax: 2, sessionBytesMax: 3_000 };
    const w = await open({ settings });
    await w.createStream('s');
    await w.publish('s', keys('a', 'b', 'c'));
    const c = await w.consume('s', 'g');
    expect(c.offsets).toEqual([0, 1]); // events out
    await c.ack(0);
    expect(c.offsets).toEqual([0, 1, 2]);
    await w.publish('s', [{ key: 'd', value: 'x'.repeat(4_000) }, { key: 'e' }]);
    await c.ack(1);
    await c.ack(2);
    expect(c.offsets).toEqual([0, 1, 2, 3]); // bytes out
    await w.consume('s', 'g');
    await expect(w.consume('s', 'g')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await expect(w.consume('s', 'g2')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await expect(w.consume('s', '')).rejects.toMatchObject({ code: 'GROUP_ID_INVALID' });
    await expect(w.consume('nowhere', 'g')).rejects.toMatchObject({ code: 'TOPIC_NOT_FOUND' });
  });

  it('D23: a session that answers nothing delays nobody; events go to who has least out', async () => {
    const w = await open();
    await w.createStream('s');
    const slow = await w.consume('s', 'g', {}, 5);
    const quick = await w.consume('s', 'g', {}, 5);
    quick.auto = { kind: 'ack' };
    await w.publish(
      's',
      Array.from({ length: 100 }, (_, i) => ({ key: `k${i}` })),
    );
    await w.pass(50);
    expect(slow.got.length).toBe(5);
    expect(quick.got.length).toBe(95);
  });

  it('D23: whatever a session says, others go on', async () => {
    const w = await open();
    await w.createStream('s');
    const hostile = await w.consume('s', 'g', { policy: { backoffMs: [10], maxDeliveries: 0 } }, 2);
    await w.publish('s', keys('a', 'b'));
    hostile.session.credit(Number.NaN);
    hostile.session.credit(-1e9);
    const delays = [Number.NaN, Number.NEGATIVE_INFINITY, -5];
    for (const delayMs of delays) {
      expect(await hostile.nack(0, delayMs, 'x'.repeat(100_000))).toEqual({ ok: true });
      hostile.session.credit(1);
      await w.pass(50);
    }
    expect(hostile.last(0).attempt).toBe(4);
    expect(await hostile.nack(0, Number.POSITIVE_INFINITY)).toEqual({ ok: true });
    const nonsense = ['', 'x', hostile.last(1).token.slice(1), hostile.last(1).token.replace(/.$/, '_')];
    for (const token of nonsense) expect((await hostile.answerToken(token, { kind: 'ack' })).ok).toBe(false);
    const polite = await w.consume('s', 'g');
    polite.auto = { kind: 'ack' };
    await w.publish('s', keys('c', 'd'));
    await w.pass(10);
    expect([...hostile.offsets, ...polite.offsets]).toEqual(expect.arrayContaining([2, 3]));
    await w.crash();
    expect(w.deliveries.inFlight('s', 'g', 10)).toEqual([]); // nobody consumes it
    await w.consume('s', 'g');
    const [waiting] = w.deliveries.inFlight('s', 'g', 10).filter((d) => d.state === 'waiting');
    expect(waiting?.reason?.length).toBeLessThanOrEqual(1_000);
    expect(waiting?.dueMs).toBeLessThan(w.wallMs + 366 * 86_400_000);
  });

  it('tells the sessions when their group or stream goes', async () => {
    const w = await open();
    await w.createStream('s');
    const c = await w.consume('s', 'g');
    await w.run(w.deliveries.remove('s', 'g'));
    expect(c.endedWith).toMatchObject({ code: 'GROUP_NOT_FOUND' });
    await w.crash();
    expect([...w.deliveries.groups('s')]).toEqual([]);
  });
});

describe('what is durable when', () => {
  it('D3 D6 D16: no event before it is visible, no session, answer or next event of a lane before the sync', async () => {
    const w = new MemoryWorld({ autoSync: false });
    await w.createStream('s');
    await w.sync(); // the start of the server
    const opening = w.deliveries.open({ stream: 's', group: 'g', settings: {}, credit: 10 }, new Consumer(w));
    let isOpen = false;
    void opening.then(() => {
      isOpen = true;
    });
    await w.pass(10);
    expect(isOpen).toBe(false);
    await w.sync();
    expect(isOpen).toBe(true);
    const c = new Consumer(w);
    c.session = await w.run(w.deliveries.open({ stream: 's', group: 'g', settings: {}, credit: 10 }, c));
    (await opening).close();
    const batch = encodeBatch(['1', '2'].map((value) => ({ key: 'a', value, timestamp: 1 })));
    w.log.commit(0, [{ kind: 'records', partition: w.partition('s'), batch }]);
    await w.pass(10);
    expect(c.offsets).toEqual([]);
    await w.sync();
    expect(c.offsets).toEqual([0]);
    const results: unknown[] = [];
    c.session.answer([{ token: c.last(0).token, verdict: { kind: 'ack' } }], (r) => results.push(...r));
    await w.pass(1_000);
    expect([results, c.offsets]).toEqual([[], [0]]);
    await w.sync();
    expect([results, c.offsets]).toEqual([[{ ok: true }], [0, 1]]);
  });
});
