/** What goes wrong around the engine: streams that refuse, disks that are full, events that vanish, people who change things. */
import { describe, expect, it } from 'vitest';
import { event, type NewEvent } from './testing/world.ts';
import { lettersOf, WORLDS } from './testing/worlds.ts';

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
    c.session.answer([{ token: c.last(2).token, verdict: { kind: 'ack' } }], () => undefined);
    await w.run(sought);
    c.session.close();
    await w.pass(3_000);
    await w.crash();
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
});
