import { describe, expect, it } from 'vitest';
import { SimRandom } from './sim-random.ts';
import { SimScheduler, WALL_START_MS } from './sim-scheduler.ts';

const scheduler = (seed = 1) => new SimScheduler(new SimRandom(seed));

describe('virtual time', () => {
  it('moves to each event, never back; timers are never early', async () => {
    const s = scheduler();
    const p = s.spawn('p');
    const fired: number[] = [];
    for (const ms of [30, 10, 20, 10]) p.setTimer(ms, () => fired.push(ms, p.monotonicMs()));
    await s.runFor(100);
    expect(fired.filter((_, i) => i % 2 === 0)).toEqual([10, 10, 20, 30]);
    for (let i = 0; i < fired.length; i += 2) expect(fired[i + 1]).toBeGreaterThanOrEqual(fired[i] as number);
    expect(p.monotonicMs()).toBe(100);
    expect(p.wallMs()).toBe(WALL_START_MS + 100);
  });

  it('the wall clock jumps, monotonic time does not; a stall moves both and delivers nothing meanwhile', async () => {
    const s = scheduler();
    const p = s.spawn('p');
    const year = 365 * 86_400_000;
    s.jumpWall(year);
    expect(p.wallMs()).toBe(WALL_START_MS + year);
    s.jumpWall(-2 * year);
    expect(p.wallMs()).toBe(WALL_START_MS - year);
    expect(p.monotonicMs()).toBe(0);
    let fired = 0;
    p.setTimer(1_000, () => fired++);
    s.stall(8 * 3_600_000);
    expect([fired, p.monotonicMs()]).toEqual([0, 8 * 3_600_000]);
    await s.runFor(0);
    expect(fired).toBe(1);
  });

  it('a cancelled timer does not fire; a process begins at 0', async () => {
    const s = scheduler();
    await s.runFor(500);
    const p = s.spawn('p');
    expect(p.monotonicMs()).toBe(0);
    p.setTimer(1, () => expect.unreachable()).cancel();
    expect(await s.runUntilIdle({ timersMs: 1_000 })).toBe('idle');
  });
});

describe('order', () => {
  it('drains microtasks of any depth between two events', async () => {
    const s = scheduler();
    const p = s.spawn('p');
    const order: string[] = [];
    const deep = async (): Promise<void> => {
      for (let i = 0; i < 5_000; i++) await Promise.resolve();
      order.push('deep');
    };
    p.defer(() => void deep());
    p.defer(() => order.push('next'));
    await s.runUntilIdle();
    expect(order).toEqual(['deep', 'next']);
  });

  it('keeps the order of defers, and lets the seed choose that of disk calls', async () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const r = new SimRandom(seed);
      const s = new SimScheduler(r);
      const p = s.spawn('p');
      const defers: number[] = [];
      const calls: number[] = [];
      for (let i = 0; i < 4; i++) {
        p.defer(() => defers.push(i));
        s.schedule(p, r.float(), () => calls.push(i));
      }
      await s.runUntilIdle();
      expect(defers).toEqual([0, 1, 2, 3]);
      orders.add(calls.join());
    }
    expect(orders.size).toBeGreaterThan(8);
  });

  it('the same seed gives the same trace', async () => {
    const run = async (seed: number): Promise<string> => {
      const s = scheduler(seed);
      const p = s.spawn('p');
      for (let i = 0; i < 50; i++) p.setTimer(i % 7, () => s.note('p', 'timer', '', i));
      await s.runFor(10);
      return s.trace.fingerprint + s.trace.lines().join();
    };
    expect(await run(5)).toBe(await run(5));
    expect(await run(5)).not.toBe(await run(6));
  });
});

describe('death', () => {
  it('delivers nothing of a dead process, everything of the others', async () => {
    const s = scheduler();
    const a = s.spawn('a');
    const b = s.spawn('b');
    const got: string[] = [];
    for (const p of [a, b]) {
      p.setTimer(1, () => got.push(`${p.name} timer`));
      p.defer(() => got.push(`${p.name} defer`));
      s.schedule(p, 0.5, () => got.push(`${p.name} disk`));
    }
    const acknowledge = a.guard(() => got.push('a acknowledges'));
    acknowledge();
    a.kill();
    acknowledge();
    a.defer(() => got.push('ghost'));
    a.setTimer(0, () => got.push('ghost')).cancel();
    await s.runFor(5);
    expect(got).toEqual(['a acknowledges', 'b defer', 'b disk', 'b timer']);
    expect(await s.runUntilIdle()).toBe('idle');
  });
});

describe('runs', () => {
  it('settle returns what a promise gives, and names a deadlock', async () => {
    const s = scheduler();
    const value = new Promise<number>((resolve) => void s.world.setTimer(5, () => resolve(42)));
    expect(await s.settle(value)).toBe(42);
    await expect(s.settle(new Promise(() => {}))).rejects.toThrow('deadlock');
    await expect(s.settle(Promise.reject(new Error('no')))).rejects.toThrow('no');
    s.world.setTimer(100_000, () => {});
    await expect(s.runUntil(() => false, { withinMs: 10, what: 'godot' })).rejects.toThrow('godot did not come');
  });

  it('an error in an event ends the run; a failure cannot be swallowed; a livelock is found', async () => {
    const s = new SimScheduler(new SimRandom(1), { eventsMax: 1_000 });
    s.world.defer(() => {
      throw new Error('bug');
    });
    await expect(s.runUntilIdle()).rejects.toThrow('bug');
    s.world.defer(() => s.fail(new Error('misused')));
    await expect(s.runUntilIdle()).rejects.toThrow('misused');
    expect(await s.runUntilIdle()).toBe('idle');
    const again = (): void => s.world.defer(again);
    again();
    await expect(s.runUntilIdle()).rejects.toThrow('livelock');
  });

  it('the trace keeps the last lines', () => {
    const s = new SimScheduler(new SimRandom(1), { traceEntriesMax: 3 });
    for (let i = 0; i < 5; i++) s.note('me', 'counts', 'x', i, 2);
    expect(s.trace.lines().map((line) => line.trim())).toEqual([
      '… 2 earlier entries forgotten',
      '0.000 me       counts x 2+2',
      '0.000 me       counts x 3+2',
      '0.000 me       counts x 4+2',
    ]);
  });
});
