/**
 * What delivery costs in memory and at a start (delivery.md D12, D21; issue figures). Slow, and meaningful only with
 * `HADRON_SLOW=1` and `--expose-gc`: without them it is skipped.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { silentLogger } from '@hadron/base';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { Sim } from '@hadron/testkit';
import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from '../ports/memory-event-log.ts';
import { Machine } from './core/machine.ts';
import { Progress } from './core/progress.ts';
import { Session, Sessions } from './core/sessions.ts';
import { Deliveries } from './deliveries.ts';
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
