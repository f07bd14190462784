import { HadronError } from '@hadron/base/errors';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { FaultyTransport, lost } from './faulty-transport.ts';
import { inProcessTransport } from './in-process/index.ts';
import { type Client, connect, type ConnectOptions, defineEvents, ignore, type Message, Terminal } from './index.ts';
import { openWorld, type TestWorld } from './test-world.ts';

let world: TestWorld;
let transport: FaultyTransport;
let client: Client;
const open = (options: Partial<ConnectOptions> = {}): Client => {
  transport = new FaultyTransport(inProcessTransport(world.services));
  client = connect({ source: '/shop', transport, telemetry: false, drainTimeout: '1s', ...options });
  return client;
};
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 5_000, interval: 2 });
const kinds = (): string[] => transport.answers.map((one) => one.kind);

beforeEach(async () => {
  world = await openWorld();
  await world.createStream('orders', 1);
  open();
});
afterEach(async () => {
  await client.close();
  await world.close();
});

describe('what the end of a handler means', () => {
  const verdicts = async (
    handler: (m: Message) => unknown,
    rest: object = {},
  ): Promise<{ kind: string; reason?: string; delayMs?: number }[]> => {
    const sent: { kind: string; reason?: string; delayMs?: number }[] = [];
    const openSession = transport.open.bind(transport);
    transport.open = async (call, listener) => {
      const session = await openSession(call, listener);
      return {
        ...session,
        answer: (items) => (sent.push(...items.map((one) => one.verdict as { kind: string })), session.answer(items)),
      };
    };
    await client.stream('orders').publish('tested', { n: 1 });
    const stop = new AbortController();
    const running = client.stream('orders').run({ group: 'g', signal: stop.signal, ...rest }, handler);
    await until(() => expect(sent).not.toEqual([]));
    stop.abort();
    await running;
    return sent;
  };

  test('returning is an ack', async () => {
    expect(await verdicts(() => ({ anything: 'else' }))).toEqual([{ kind: 'ack' }]);
  });
  test('throwing is a nack with the message', async () => {
    const [first] = await verdicts(() => {
      throw new Error('smtp is down');
    });
    expect(first).toEqual({ kind: 'nack', reason: 'smtp is down', delayMs: undefined });
  });
  test('Terminal is a term with the reason', async () => {
    const [first] = await verdicts(async () => {
      throw new Terminal('no such customer');
    });
    expect(first).toEqual({ kind: 'term', reason: 'no such customer' });
  });
  test('retryIn sets the delay, returned or thrown', async () => {
    expect((await verdicts(() => ({ retryIn: '1.5s', reason: 'rate limit' })))[0]).toEqual({
      kind: 'nack',
      reason: 'rate limit',
      delayMs: 1_500,
    });
  });
  test('retryIn thrown with an error', async () => {
    expect(
      (
        await verdicts(() => {
          throw Object.assign(new Error('busy'), { retryIn: 700 });
        })
      )[0],
    ).toEqual({ kind: 'nack', reason: 'busy', delayMs: 700 });
  });
  test('a retryIn that is none is a nack that says so', async () => {
    const [first] = await verdicts(() => ({ retryIn: 'soon' }));
    expect(first?.kind).toBe('nack');
    expect(first?.reason).toContain('soon');
  });
  test('what is thrown is never too long, and may be anything', async () => {
    const [first] = await verdicts(() => {
      throw 'x'.repeat(10_000); // oxlint-disable-line typescript/only-throw-error
    });
    expect(first?.reason).toHaveLength(500);
  });
});

describe('run', () => {
  test('handlers by type; ignore; a type that nobody named is a dead letter, or goes to *', async () => {
    const events = defineEvents({
      'order.placed': z.object({ id: z.string() }),
      'order.paid': z.object({ id: z.string() }),
    });
    const orders = client.stream('orders', events);
    await orders.publish('order.placed', { id: '1' });
    await orders.publish('order.paid', { id: '2' });
    await client.stream('orders').publish('order.lost', { id: '3' });
    const seen: string[] = [];
    const errors: string[] = [];
    const stop = new AbortController();
    const running = orders.run(
      { group: 'a', signal: stop.signal, onError: (error) => errors.push(error.message) },
      { 'order.placed': (m) => seen.push(m.data.id), 'order.paid': ignore },
    );
    await until(() => expect(kinds()).toHaveLength(3));
    stop.abort();
    await running;
    expect(seen).toEqual(['1']);
    expect(kinds()).toEqual(['ack', 'ack', 'term']);
    expect(errors).toEqual([expect.stringContaining('order.lost')]);
    const others: string[] = [];
    const stopOther = new AbortController();
    const other = orders.run(
      { group: 'b', signal: stopOther.signal },
      { 'order.placed': ignore, 'order.paid': ignore, '*': (m) => others.push(m.type) },
    );
    await until(() => expect(others).toEqual(['order.lost']));
    stopOther.abort();
    await other;
  });

  test.each(['term', 'nack'] as const)('data that does not fit its schema: %s', async (invalid) => {
    await client.stream('orders').publish('order.placed', { id: 7 });
    const orders = client.stream('orders', defineEvents({ 'order.placed': z.object({ id: z.string() }) }));
    const errors: HadronError[] = [];
    const called = vi.fn();
    const stop = new AbortController();
    const running = orders.run(
      { group: 'g', invalid, signal: stop.signal, onError: (error) => errors.push(error) },
      { 'order.placed': called },
    );
    await until(() => expect(kinds()[0]).toBe(invalid));
    stop.abort();
    await running;
    expect(errors[0]).toMatchObject({ code: 'EVENT_INVALID', field: 'data.id' });
    expect(called).not.toHaveBeenCalled();
  });

  test('a message shows the event', async () => {
    await client
      .stream('orders')
      .publish(
        'order.placed',
        { id: '7' },
        { subject: '7', id: 'e1', time: new Date(5), attributes: { tenant: 'acme' } },
      );
    const seen = Promise.withResolvers<Message>();
    const stop = new AbortController();
    const running = client.stream('orders').run({ group: 'g', signal: stop.signal }, (m) => seen.resolve(m));
    const m = await seen.promise;
    expect(m).toMatchObject({
      id: 'e1',
      source: '/shop',
      type: 'order.placed',
      subject: '7',
      data: { id: '7' },
      time: new Date(5),
      partition: 0,
      offset: 0,
      attempt: 1,
      redrive: 0,
    });
    expect(m.attributes.get('tenant')).toBe('acme');
    expect(Date.now() - m.timestamp.getTime()).toBeLessThan(60_000);
    stop.abort();
    await running;
  });

  test('never more handlers at once than concurrency, and credit is the free slots', async () => {
    await client.stream('orders').publishMany(Array.from({ length: 60 }, (_, i) => ({ type: 'n', data: i })));
    let now = 0;
    let most = 0;
    let done = 0;
    const stop = new AbortController();
    const running = client.stream('orders').run({ group: 'g', concurrency: 7, signal: stop.signal }, async () => {
      most = Math.max(most, ++now);
      await pause(3);
      now -= 1;
      done += 1;
    });
    await until(() => expect(done).toBe(60));
    stop.abort();
    await running;
    expect(most).toBe(7);
    expect(transport.opened[0]?.credit).toBe(7);
    expect(transport.credits.every((credit) => credit <= 7)).toBe(true);
  });

  test('events of one key come one after another, those of others at the same time (D9)', async () => {
    const orders = client.stream('orders');
    for (let i = 0; i < 30; i++) await orders.publish('n', i, { subject: `k${i % 3}` });
    const at = new Map<string, number>();
    const seen = new Map<string, number[]>();
    let most = 0;
    const stop = new AbortController();
    const running = orders.run({ group: 'g', concurrency: 10, window: 5, signal: stop.signal }, async (m) => {
      const key = m.subject as string;
      at.set(key, (at.get(key) ?? 0) + 1);
      expect(at.get(key)).toBe(1);
      most = Math.max(
        most,
        [...at.values()].reduce((a, b) => a + b),
      );
      await pause(2);
      at.set(key, 0);
      seen.set(key, [...(seen.get(key) ?? []), m.data as number]);
    });
    await until(() => expect([...seen.values()].flat()).toHaveLength(30));
    stop.abort();
    await running;
    expect(most).toBe(3);
    for (const [key, order] of seen)
      expect(order).toEqual(Array.from({ length: 10 }, (_, i) => i * 3 + Number(key.slice(1))));
  });

  test('after a refusal nothing behind it in its lane starts before it came again', async () => {
    const orders = client.stream('orders');
    for (let i = 0; i < 6; i++) await orders.publish('n', i);
    const seen: string[] = [];
    const stop = new AbortController();
    const running = orders.run(
      { group: 'g', ordering: 'partition', concurrency: 6, signal: stop.signal },
      async (m) => {
        seen.push(`${String(m.data)}.${m.attempt}`);
        await pause(1);
        if (m.data === 2 && m.attempt === 1) throw new Error('once');
      },
    );
    await until(() => expect(seen).toContain('5.1'));
    stop.abort();
    await running;
    expect(seen).toEqual(['0.1', '1.1', '2.1', '2.2', '3.1', '4.1', '5.1']);
  });

  test('the end: no new events, handlers finish, their answers are durable', async () => {
    const orders = client.stream('orders');
    for (let i = 0; i < 5; i++) await orders.publish('n', i);
    const done: unknown[] = [];
    const stop = new AbortController();
    const running = orders.run({ group: 'g', concurrency: 2, signal: stop.signal }, async (m) => {
      if (done.length === 0) stop.abort();
      await pause(20);
      done.push(m.data);
    });
    await running;
    expect(done.toSorted()).toEqual([0, 1]);
    expect(kinds()).toEqual(['ack', 'ack']);
    const rest: unknown[] = [];
    const again = orders.run({ group: 'g' }, (m) => rest.push([m.data, m.attempt]));
    await until(() =>
      expect(rest).toEqual([
        [2, 1],
        [3, 1],
        [4, 1],
      ]),
    );
    await client.drain();
    await again;
  });

  test('a handler that hangs is left behind when draining takes too long; its event goes back', async () => {
    await client.close();
    open({ drainTimeout: '50ms' });
    await client.stream('orders').publish('n', 0);
    const aborted = Promise.withResolvers<void>();
    const running = client.stream('orders').run({ group: 'g' }, (m) => {
      m.signal.addEventListener('abort', () => aborted.resolve());
      return new Promise(() => undefined);
    });
    await pause(50);
    await client.drain();
    await running;
    await aborted.promise;
  });

  test('settings of an existing group that differ are refused', async () => {
    const stop = new AbortController();
    const first = client.stream('orders').run({ group: 'g', ordering: 'key', signal: stop.signal }, ignore);
    await until(() => expect(transport.opened).toHaveLength(1));
    await expect(client.stream('orders').run({ group: 'g', ordering: 'none' }, ignore)).rejects.toMatchObject({
      code: 'GROUP_SETTINGS_DIFFER',
    });
    stop.abort();
    await first;
  });

  test('what is asked of the group is what was written', async () => {
    const stop = new AbortController();
    const running = client.stream('orders').run(
      {
        group: 'g',
        ordering: 'none',
        filter: { exact: { type: 'n' } },
        start: new Date(1_000),
        durable: false,
        window: 3,
        maxProcessing: '1h',
        policy: { timeout: '5s', backoff: ['1s', '1m'], maxDeliveries: 3, deadLetterStream: 'lost' },
        signal: stop.signal,
      },
      ignore,
    );
    await until(() => expect(transport.opened).toHaveLength(1));
    expect(transport.opened[0]).toEqual({
      stream: 'orders',
      group: 'g',
      credit: 1,
      settings: {
        ordering: 'none',
        filters: [{ exact: { type: 'n' } }],
        start: { from: 'time', timeMs: 1_000 },
        durable: false,
        window: 3,
        policy: {
          timeoutMs: 5_000,
          backoffMs: [1_000, 60_000],
          maxDeliveries: 3,
          deadLetterStream: 'lost',
          maxProcessingMs: 3_600_000,
        },
      },
    });
    stop.abort();
    await running;
  });

  test('no server at the start: it says what to do, after connectTimeout', async () => {
    await client.close();
    open({ connectTimeout: '150ms' });
    transport.down = true;
    await expect(client.stream('orders').run({ group: 'g' }, ignore)).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
    });
    expect(transport.opened.length).toBeGreaterThan(1);
  });

  test('a server that accepts and never answers is given up, at the start and later', async () => {
    await client.close();
    open({ connectTimeout: '100ms' });
    transport.mute = 1;
    await expect(client.stream('orders').run({ group: 'g' }, ignore)).rejects.toMatchObject({ code: 'TIMED_OUT' });
    const errors: string[] = [];
    const stop = new AbortController();
    const running = client
      .stream('orders')
      .run({ group: 'g', signal: stop.signal, onError: (error) => errors.push(error.code) }, ignore);
    await until(() => expect(transport.established).toBe(1));
    transport.mute = 1;
    transport.cut();
    await until(() => expect(transport.established).toBe(2));
    stop.abort();
    await running;
    expect(errors).toEqual(['CONNECTION_FAILED', 'TIMED_OUT']);
  });

  test('an onError that fails ends the consumer with what it threw, and nothing is stuck', async () => {
    const orders = client.stream('orders');
    await orders.publishMany([1, 2].map((data) => ({ type: 'n', data })));
    const broken = new Error('in onError');
    const sooner = (): void => {
      throw broken;
    };
    const later = async (): Promise<void> => Promise.reject(broken);
    for (const onError of [sooner, later as () => void]) {
      const running = orders.run({ group: onError.name, onError }, () => {
        throw new Error('in the handler');
      });
      await expect(running).rejects.toBe(broken);
    }
  });

  test('the end while no server answers: handlers at work are waited for all the same', async () => {
    const orders = client.stream('orders');
    await orders.publish('n', 1);
    const stop = new AbortController();
    const steps: string[] = [];
    const running = orders.run({ group: 'g', signal: stop.signal }, async () => {
      steps.push('begun');
      await pause(150);
      steps.push('ended');
    });
    await until(() => expect(steps).toEqual(['begun']));
    transport.down = true;
    transport.cut();
    await pause(20);
    stop.abort();
    await running;
    steps.push('run resolved');
    expect(steps).toEqual(['begun', 'ended', 'run resolved']);
    transport.down = false;
  });

  test('a name that is none is refused before a connection', async () => {
    for (const group of ['', 'x'.repeat(256), 'a\u0000b']) {
      await expect(client.stream('orders').run({ group }, ignore)).rejects.toMatchObject({
        code: 'GROUP_ID_INVALID',
        field: 'group',
      });
    }
    expect(transport.opened).toEqual([]);
  });

  test('a signal that is aborted already: nothing is opened', async () => {
    await client.stream('orders').run({ group: 'g', signal: AbortSignal.abort() }, ignore);
    expect(transport.opened).toEqual([]);
  });
});

describe('deliveries that are lost', () => {
  test('taken back: the signal aborts, nothing is answered, it comes again', async () => {
    await client.stream('orders').publish('n', 0);
    const seen: string[] = [];
    const stop = new AbortController();
    let first = true;
    const running = client.stream('orders').run({ group: 'g', signal: stop.signal }, async (m) => {
      if (first) {
        first = false;
        setTimeout(() => void world.services.deliveries.seek('orders', 'g', { from: 'beginning' }), 5);
        await new Promise((resolve) => m.signal.addEventListener('abort', resolve));
        seen.push((m.signal.reason as HadronError).code);
      } else seen.push('again');
    });
    await until(() => expect(seen).toEqual(['STALE_DELIVERY', 'again']));
    stop.abort();
    await running;
    expect(kinds()).toEqual(['ack']);
  });

  test('the connection is lost: signals abort, a new session is opened, and the event comes again after its handler ended', async () => {
    await client.stream('orders').publish('n', 0);
    const seen: string[] = [];
    let running = 0;
    const errors: string[] = [];
    const stop = new AbortController();
    const run = client
      .stream('orders')
      .run(
        { group: 'g', concurrency: 3, signal: stop.signal, onError: (error) => errors.push(error.code) },
        async (m) => {
          running += 1;
          expect(running).toBe(1);
          if (seen.length === 0) {
            seen.push('first');
            setTimeout(() => transport.cut(), 5);
            await new Promise((resolve) => m.signal.addEventListener('abort', resolve));
            await pause(150); // the new session has delivered it again by now
            seen.push('aborted');
            running -= 1;
            throw new Error('aborted');
          }
          seen.push(`again ${m.attempt}`);
          running -= 1;
        },
      );
    await until(() => expect(seen).toHaveLength(3));
    expect(seen.slice(0, 2)).toEqual(['first', 'aborted']);
    expect(transport.opened.length).toBe(2);
    expect(errors).toEqual(['CONNECTION_FAILED']);
    stop.abort();
    await run;
    expect(kinds()).toEqual(['ack']);
  });

  test('one that managed all the same is acknowledged in the next session, if nobody else has it', async () => {
    await client.stream('orders').publish('n', 0);
    const stop = new AbortController();
    let handled = 0;
    const run = client.stream('orders').run({ group: 'g', signal: stop.signal }, async () => {
      if (++handled === 1) transport.cut();
      await pause(5);
    });
    await until(() => expect(kinds()).toEqual(['ack']));
    await pause(50);
    expect(handled).toBe(1);
    stop.abort();
    await run;
  });

  test('an answer whose answer was lost is sent again, and counts as taken', async () => {
    const orders = client.stream('orders');
    await orders.publish('n', 0);
    transport.loseVerdicts = 1;
    const errors: string[] = [];
    const stop = new AbortController();
    const run = orders.run({ group: 'g', signal: stop.signal, onError: (error) => errors.push(error.code) }, ignore);
    await until(() => expect(kinds()).toEqual(['ack', 'ack']));
    await orders.publish('n', 1);
    await until(() => expect(kinds()).toEqual(['ack', 'ack', 'ack']));
    stop.abort();
    await run;
    expect(errors).toEqual(['CONNECTION_FAILED']);
  });

  test('it connects again for ever, and stops where nothing can help', async () => {
    const orders = client.stream('orders');
    const errors: string[] = [];
    const run = orders.run({ group: 'g', onError: (error) => errors.push(error.code) }, ignore);
    await until(() => expect(transport.established).toBe(1));
    for (let i = 0; i < 3; i++) {
      transport.cut();
      await until(() => expect(transport.established).toBe(i + 2));
    }
    const failing = expect(run).rejects.toMatchObject({ code: 'GROUP_NOT_FOUND' });
    await world.services.deliveries.remove('orders', 'g');
    await failing;
    expect(errors).toEqual(['CONNECTION_FAILED', 'CONNECTION_FAILED', 'CONNECTION_FAILED']);
  });
});

describe('long work', () => {
  test('is extended while the handler lives', async () => {
    await client.stream('orders').publish('n', 0);
    const stop = new AbortController();
    const run = client
      .stream('orders')
      .run({ group: 'g', policy: { timeout: 300 }, signal: stop.signal }, () => pause(1_000));
    await until(() => expect(kinds()).toContain('ack'));
    stop.abort();
    await run;
    expect(kinds().filter((kind) => kind === 'extend').length).toBeGreaterThanOrEqual(4);
    expect(kinds().at(-1)).toBe('ack');
  });

  test('up to maxProcessing: then it is given back and its signal aborts', async () => {
    await client.stream('orders').publish('n', 0);
    const stop = new AbortController();
    const reasons: unknown[] = [];
    const run = client
      .stream('orders')
      .run({ group: 'g', policy: { timeout: 600 }, maxProcessing: 1_000, signal: stop.signal }, async (m) => {
        if (m.attempt > 1) return;
        await new Promise((resolve) => m.signal.addEventListener('abort', resolve));
        reasons.push((m.signal.reason as HadronError).code);
      });
    await until(() => expect(kinds()).toContain('ack'));
    stop.abort();
    await run;
    expect(reasons).toEqual(['TIMED_OUT']);
    expect(kinds().filter((kind) => kind !== 'extend')).toEqual(['nack', 'ack']);
  });

  test('an extension that comes too late aborts it', async () => {
    await client.stream('orders').publish('n', 0);
    const openSession = transport.open.bind(transport);
    transport.open = async (call, listener) => {
      const session = await openSession(call, listener);
      return {
        ...session,
        answer: async (items) =>
          items[0]?.verdict.kind === 'extend'
            ? [{ ok: false, code: 'STALE_DELIVERY', message: 'somebody else has it' }]
            : session.answer(items),
      };
    };
    const aborted = Promise.withResolvers<string>();
    const stop = new AbortController();
    const run = client.stream('orders').run({ group: 'g', policy: { timeout: 60 }, signal: stop.signal }, async (m) => {
      m.signal.addEventListener('abort', () => aborted.resolve((m.signal.reason as HadronError).code));
      await pause(100);
    });
    expect(await aborted.promise).toBe('STALE_DELIVERY');
    stop.abort();
    await run;
  });
});

describe('consume', () => {
  test('one by one, answered by hand; leaving the loop gives back the rest', async () => {
    const orders = client.stream('orders');
    for (let i = 0; i < 4; i++) await orders.publish('n', i);
    const seen: unknown[] = [];
    for await (const m of orders.consume({ group: 'g' })) {
      seen.push([m.data, m.attempt]);
      if (m.data === 0) await m.ack();
      else if (m.data === 1 && m.attempt === 1) await m.nack('not yet', { retryIn: 0 });
      else if (m.data === 1) await m.term('never');
      else if (m.data === 2) {
        await m.extend();
        void m.ack(); // under way when the loop is left
      } else break;
      if (m.data === 0) await expect(m.ack()).rejects.toMatchObject({ code: 'ALREADY_SETTLED' });
    }
    expect(seen.toSorted()).toEqual([
      [0, 1],
      [1, 1],
      [1, 2],
      [2, 1],
      [3, 1],
    ]);
    const rest: unknown[] = [];
    for await (const m of orders.consume({ group: 'g' })) {
      rest.push([m.data, m.attempt]);
      await m.ack();
      break;
    }
    expect(rest).toEqual([[3, 1]]);
  });

  test('asks for one when the loop asks for one', async () => {
    const orders = client.stream('orders');
    for (let i = 0; i < 5; i++) await orders.publish('n', i);
    let got = 0;
    for await (const m of orders.consume({ group: 'g' })) {
      got += 1;
      await pause(10);
      expect(transport.credits.reduce((a, b) => a + b, transport.opened[0]?.credit ?? 0)).toBeLessThanOrEqual(got);
      await m.ack();
      if (got === 5) break;
    }
  });

  test('ends with its signal', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    for await (const _ of client.stream('orders').consume({ group: 'g', signal: stop.signal }))
      throw new Error('nothing is there');
  });

  test('a lost message tells, and its answer is refused or taken late', async () => {
    const orders = client.stream('orders');
    await orders.publish('n', 0);
    const seen: number[] = [];
    for await (const m of orders.consume({ group: 'g' })) {
      seen.push(m.attempt);
      if (seen.length === 1) {
        await world.services.deliveries.seek('orders', 'g', { from: 'beginning' });
        await until(() => expect(m.signal.aborted).toBe(true));
        await expect(m.ack()).rejects.toMatchObject({ code: 'STALE_DELIVERY' });
      } else {
        await m.ack();
        break;
      }
    }
    expect(seen).toEqual([1, 1]);
  });

  test('failures that nothing can help are thrown', async () => {
    const loop = async (): Promise<void> => {
      for await (const _ of client.stream('bad name').consume({ group: 'g' })) break;
    };
    await expect(loop()).rejects.toMatchObject({ code: 'TOPIC_NAME_INVALID' });
    expect(lost()).toBeInstanceOf(HadronError);
  });
});
