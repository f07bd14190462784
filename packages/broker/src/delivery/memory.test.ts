/**
 * What delivery costs in memory and at a start (delivery.md D12, D21; issue figures). Slow, and meaningful only with
 * `HADRON_SLOW=1` and `--expose-gc`: without them it is skipped.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Clock, silentLogger } from '@hadron/base';
import type { Verdict } from '@hadron/contracts';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { Sim } from '@hadron/testkit';
import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from '../ports/memory-event-log.ts';
import { Machine } from './core/machine.ts';
import { Progress } from './core/progress.ts';
import { Session, Sessions } from './core/sessions.ts';
import { Deliveries } from './deliveries.ts';
import { applySet } from './group-partition.ts';
import { DELIVERY_DEFAULTS, resolveGroup } from './settings.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const MIB = 1024 * 1024;
const used = (): number => {
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / MIB;
};

const NOW = { ms: 1_000, wallMs: 1_760_000_000_000 };

function machineOf(
  settings: Parameters<typeof resolveGroup>[0],
  credit: number,
): { machine: Machine; progress: Progress } {
  const sessions = new Sessions();
  sessions.add(new Session({ id: 's', credit, partition: undefined, outMax: 1e9, bytesMax: 1e12 }));
  let handouts = 0;
  const progress = new Progress(0);
  const options = {
    partition: 0,
    progress,
    settings: resolveGroup(settings),
    sessions,
    random: { u32: () => 0, bytes: (n: number) => new Uint8Array(n) },
    unsettledMax: DELIVERY_DEFAULTS.unsettledMax,
    boot: 1,
    nextHandout: () => ++handouts,
  };
  return { machine: new Machine(options, NOW), progress };
}

describe.skipIf(process.env.HADRON_SLOW !== '1')('what delivery costs', () => {
  it('1,000,000 in flight over 100,000 keys: at most 300 MB', { timeout: 120_000 }, () => {
    const before = used();
    const { machine } = machineOf({ window: 10 }, 1_000_000);
    for (let id = 0; id < 1_000_000; id++) {
      machine.take({ id, lane: `key-${id % 100_000}`, dueMs: 0, expiresMs: Infinity }, NOW);
      machine.handOut(NOW);
    }
    expect(machine.out).toBe(1_000_000);
    const cost = used() - before;
    console.log(`1,000,000 in flight over 100,000 keys: ${cost.toFixed(0)} MB`);
    expect(cost).toBeLessThan(300);
    expect(machine.out).toBe(1_000_000);
  });

  it('D12: 200,000 events behind a failing key: at most 20 MB', { timeout: 60_000 }, () => {
    const before = used();
    const { machine, progress } = machineOf({}, 1);
    for (let i = 0; i < 200_000; i++) {
      machine.take({ id: i * 50, lane: 'bad', dueMs: 0, expiresMs: Infinity }, NOW);
    }
    const cost = used() - before;
    console.log(`200,000 behind one key: ${cost.toFixed(1)} MB`);
    expect(cost).toBeLessThan(20);
    expect(progress.unsettledCount).toBe(200_000);
    expect(machine.unsettledCount).toBe(200_000);
  });

  it('D12: the other lanes lose at most a tenth of their throughput to it', { timeout: 120_000 }, () => {
    /** Events of 10,000 keys, each handed out, acked and durable, beside so many that wait. */
    const msFor = (blocked: number): number => {
      const { machine, progress } = machineOf({}, 1e9);
      let id = 0;
      const take = (lane: string): void => machine.take({ id: id++, lane, dueMs: 0, expiresMs: Infinity }, NOW);
      if (blocked > 0) {
        take('bad');
        const bad = machine.handOut(NOW);
        const day = { kind: 'nack', delayMs: 86_400_000 } as const;
        machine.answer(0, 1, bad?.handout ?? 0, day, NOW);
      }
      const startMs = performance.now();
      for (let round = 0; round < 400; round++) {
        if (blocked > 0) {
          for (let i = 0; i < blocked / 400; i++) take('bad');
        } else id += 500;
        for (let i = 0; i < 500; i++) take(`key-${(round * 500 + i) % 10_000}`);
        for (let d = machine.handOut(NOW); d !== undefined; d = machine.handOut(NOW)) {
          d.sent = true;
          machine.answer(d.id, 1, d.handout, { kind: 'ack' }, NOW);
        }
        const set = machine.collect();
        applySet(progress, set);
        machine.durable(set, NOW);
      }
      const took = performance.now() - startMs;
      expect(machine.counts.acked).toBe(200_000);
      expect(progress.unsettledCount).toBe(blocked > 0 ? blocked + 1 : 0);
      return took;
    };
    msFor(0);
    msFor(200_000);
    const pairs = Array.from({ length: 7 }, () => [msFor(0), msFor(200_000)] as const);
    const [plain, beside] = [0, 1].map((i) => Math.min(...pairs.map((pair) => pair[i] as number))) as [number, number];
    console.log(
      `200,000 of other keys: ${plain.toFixed(0)} ms; while 200,000 gather behind a failing one: ${beside.toFixed(0)} ms`,
    );
    // A tenth of what they cost on the whole way at 60,000 events a second; here is only what the machine does.
    expect(beside - plain).toBeLessThan(0.1 * 200_000 * (1_000 / 60_000));
  });

  it('D12: 200,000 behind a failing key are back within a second of a start, and come in order', {
    timeout: 60_000,
  }, async () => {
    const sim = new Sim(1);
    const { clock, random } = sim.start();
    const log = new MemoryEventLog({ autoSync: true });
    const partition = log.createStream('s', 1).partitions[0];
    if (partition === undefined) throw new Error('no partition');
    const batch = encodeBatch(
      Array.from({ length: 2_000 }, (_, i) => ({ key: i % 2 === 0 ? 'bad' : `k${i}`, value: 'v', timestamp: 1 })),
    );
    for (let i = 0; i < 200; i++) log.commit(0, [{ kind: 'records', partition, batch: Buffer.from(batch) }]);
    await sim.scheduler.runFor(10);
    const open = (): Deliveries => new Deliveries({ log, clock, random, logger: silentLogger });
    const consume = async (deliveries: Deliveries, answer: (offset: number) => Verdict): Promise<number[]> => {
      const got: number[] = [];
      const session = await sim.scheduler.settle(
        deliveries.open(
          { stream: 's', group: 'g', settings: {}, credit: 10_000 },
          {
            deliver: (some) => {
              got.push(...some.map((d) => d.offset));
              session.answer(
                some.map((d) => ({ token: d.token, verdict: answer(d.offset) })),
                () => session.credit(some.length),
              );
            },
            withdrawn: () => undefined,
            ended: () => undefined,
          },
        ),
      );
      return got;
    };
    const first = open();
    first.start();
    const day = 86_400_000;
    const before = await consume(first, (offset) =>
      offset % 2 === 0 ? { kind: 'nack', delayMs: day } : { kind: 'ack' },
    );
    await sim.scheduler.runFor(60_000);
    expect(before).toHaveLength(200_001);
    first.close(new Error('stops') as never);
    const records = [...first.snapshot()];
    const startMs = performance.now();
    const second = open();
    for (const record of records) second.replay(record);
    second.start();
    await sim.scheduler.runFor(100);
    const tookMs = performance.now() - startMs;
    console.log(`200,000 behind a key: back in ${tookMs.toFixed(0)} ms`);
    expect(tookMs).toBeLessThan(1_000);
    const after = await consume(second, () => ({ kind: 'ack' }));
    await sim.scheduler.runFor(2 * day);
    expect(after).toEqual(Array.from({ length: 200_000 }, (_, i) => 2 * i));
  });

  it('D13: 2,000,000 events of which none matches: lag 0, no long ticks, a start rescans a second of them', {
    timeout: 120_000,
  }, async () => {
    const sim = new Sim(1);
    const { clock, random } = sim.start();
    const log = new MemoryEventLog({ autoSync: true });
    const partition = log.createStream('s', 1).partitions[0];
    if (partition === undefined) throw new Error('no partition');
    const attribute = (key: string, value: string) => ({ key: `ce_${key}`, value });
    const headers = [
      attribute('specversion', '1.0'),
      attribute('id', '1'),
      attribute('source', '/'),
      attribute('type', 'other'),
    ];
    const batch = encodeBatch(Array.from({ length: 2_000 }, () => ({ key: null, value: 'v', timestamp: 1, headers })));
    for (let i = 0; i < 1_000; i++) log.commit(0, [{ kind: 'records', partition, batch }]);
    await sim.scheduler.runFor(10);
    const ticks: number[] = [];
    const timed: Clock = {
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs(),
      setTimer: (ms, fn) => clock.setTimer(ms, fn),
      defer: (fn) =>
        clock.defer(() => {
          const before = process.cpuUsage();
          fn();
          ticks.push(process.cpuUsage(before).user / 1_000);
        }),
    };
    let reads = 0;
    const counted = new Proxy(log, {
      get: (of, name) => {
        const member: unknown = Reflect.get(of, name, of);
        if (name === 'read') reads++;
        return typeof member === 'function' ? member.bind(of) : member;
      },
    });
    const open = (): Deliveries => new Deliveries({ log: counted, clock: timed, random, logger: silentLogger });
    const handler = { deliver: () => undefined, withdrawn: () => undefined, ended: () => undefined };
    const filters = [{ exact: { type: 'wanted' } }];
    const request = { stream: 's', group: 'g', settings: { filters }, credit: 10 };
    const first = open();
    first.start();
    const startMs = performance.now();
    await sim.scheduler.settle(first.open(request, handler));
    await sim.scheduler.runFor(60_000);
    const tickMs = ticks.toSorted((a, b) => a - b)[Math.floor(ticks.length * 0.99)] as number;
    console.log(
      `2,000,000 that do not match: ${(performance.now() - startMs).toFixed(0)} ms, 99 % of ticks within ${tickMs.toFixed(1)} ms`,
    );
    expect(first.describe('s', 'g').partitions).toMatchObject([{ lag: 0, position: 2_000_000 }]);
    expect(tickMs).toBeLessThan(25);
    first.close(new Error('dies') as never);
    log.crash();
    const second = open();
    for (const record of log.stateRecords('deliveries')) second.replay(record);
    second.start();
    reads = 0;
    await sim.scheduler.settle(second.open(request, handler));
    await sim.scheduler.runFor(60_000);
    expect(reads).toBe(0); // all of it was recorded long ago
  });

  it('D21: 100,000 delayed: at most 30 MB', { timeout: 60_000 }, () => {
    const before = used();
    const { machine } = machineOf({}, 1);
    for (let id = 0; id < 100_000; id++) {
      machine.take({ id, lane: 'k', dueMs: NOW.wallMs + 86_400_000 + id, expiresMs: Infinity }, NOW);
    }
    const cost = used() - before;
    console.log(`100,000 delayed: ${cost.toFixed(1)} MB`);
    expect(cost).toBeLessThan(30);
    expect(machine.delayed).toBe(100_000);
  });

  it('10,000 idle groups: at most 40 MB, no timer, started within a second', { timeout: 120_000 }, async () => {
    const sim = new Sim(1);
    const { clock, random } = sim.start();
    const log = new MemoryEventLog({ autoSync: true });
    const stream = log.createStream('s', 1);
    const partition = stream.partitions[0];
    if (partition === undefined) throw new Error('no partition');
    log.commit(0, [{ kind: 'records', partition, batch: encodeBatch([{ key: 'a', value: 'b', timestamp: 1 }]) }]);
    const open = (): Deliveries => new Deliveries({ log, clock, random, logger: silentLogger });
    const first = open();
    first.start();
    for (let i = 0; i < 10_000; i += 500) {
      await sim.scheduler.settle(
        Promise.all(Array.from({ length: 500 }, (_, j) => first.createGroup('s', `group-${i + j}`, {}))),
      );
    }
    first.close(new Error('stops') as never);
    const records = [...log.stateRecords('deliveries')];
    const before = used();
    const startMs = performance.now();
    const deliveries = open();
    for (const record of records) deliveries.replay(record);
    deliveries.start();
    await sim.scheduler.runFor(100);
    const tookMs = performance.now() - startMs;
    const cost = used() - before;
    console.log(`10,000 idle groups: ${cost.toFixed(1)} MB, started in ${tookMs.toFixed(0)} ms`);
    expect(cost).toBeLessThan(40);
    expect(tookMs).toBeLessThan(1_000);
    const { eventCount } = sim.scheduler;
    await sim.scheduler.runFor(3_600_000);
    expect(sim.scheduler.eventCount).toBe(eventCount); // no CPU
    expect([...deliveries.groups()]).toHaveLength(10_000);
  });
});
