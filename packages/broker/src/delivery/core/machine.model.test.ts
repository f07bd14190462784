/**
 * The machine against a model that is too simple to be wrong: a list of events, each with a lane, its attempts, and whether it
 * is settled. Random sessions, answers, losses, commits and crashes; what is handed out must be what the model allows.
 */
import type { Verdict } from '@hadron/contracts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applySet } from '../group-partition.ts';
import { resolveGroup } from '../settings.ts';
import type { Delivery } from './delivery.ts';
import { type DeliverySabotage, Machine, type RecordSet } from './machine.ts';
import { Progress } from './progress.ts';
import { Session, Sessions } from './sessions.ts';

const WALL = 1_760_000_000_000;
const TIMEOUT_MS = 1_000;

/** What a test knows of an event. */
interface Model {
  readonly lane: string | undefined;
  /** Attempts that ended unsettled, told to the machine in this life or durable. */
  failed: number;
  durableFailed: number;
  settled: boolean;
  /** Who had it when it was settled; undefined: nobody. */
  settledBy: Session | undefined;
  isDurable: boolean;
  out: { readonly session: Session; readonly handout: number; readonly attempt: number } | undefined;
}

class Course {
  private readonly ordering: 'key' | 'partition' | 'none';
  private readonly window: number;
  readonly events: Model[] = [];
  private readonly durable: RecordSet[] = [];
  private sets: RecordSet[] = [];
  private sessions = new Sessions();
  private open: Session[] = [];
  private machine!: Machine;
  private progress!: Progress;
  private handouts = 0;
  private boot = 0;
  private nowMs = 0;
  private readonly tokens: { readonly id: number; readonly boot: number; readonly handout: number }[] = [];

  private readonly sabotage: DeliverySabotage;

  constructor(ordering: 'key' | 'partition' | 'none', window: number, sabotage: DeliverySabotage) {
    this.sabotage = sabotage;
    this.ordering = ordering;
    this.window = window;
    this.crash();
  }

  private get now(): { readonly ms: number; readonly wallMs: number } {
    return { ms: this.nowMs, wallMs: WALL + this.nowMs };
  }

  /** Only what was durable is left. */
  crash(): void {
    this.progress = new Progress(0);
    for (const set of this.durable) applySet(this.progress, set);
    for (const event of this.events) {
      event.settled = event.isDurable;
      event.settledBy = undefined;
      event.failed = event.durableFailed;
      event.out = undefined;
    }
    this.sessions = new Sessions();
    this.open = [];
    this.sets = [];
    this.handouts = 0;
    this.boot++;
    this.machine = new Machine(
      {
        partition: 0,
        progress: this.progress,
        settings: resolveGroup({
          ordering: this.ordering,
          window: this.window,
          policy: { timeoutMs: TIMEOUT_MS, maxDeliveries: 3, backoffMs: [0, 50] },
        }),
        sessions: this.sessions,
        random: { u32: () => 0, bytes: (n) => new Uint8Array(n) },
        unsettledMax: 1_000,
        boot: this.boot,
        nextHandout: () => ++this.handouts,
        sabotage: this.sabotage,
      },
      this.now,
    );
  }

  publish(lane: string | undefined): void {
    this.events.push({
      lane,
      failed: 0,
      durableFailed: 0,
      settled: false,
      settledBy: undefined,
      isDurable: false,
      out: undefined,
    });
  }

  connect(credit: number): void {
    if (this.open.length >= 3) return;
    const session = new Session({ id: '', credit, partition: undefined, outMax: 100, bytesMax: 1e9 });
    this.sessions.add(session);
    this.open.push(session);
  }

  leave(n: number, how: 'lost' | 'returned'): void {
    const session = this.open.splice(n % Math.max(1, this.open.length), 1)[0];
    if (session === undefined) return;
    this.sessions.remove(session);
    this.machine.sessionEnded(session, how, this.now);
    this.look();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.machine.tick(this.now);
    this.look();
  }

  /** Reads and hands out what there is. */
  pump(): void {
    const { machine } = this;
    for (;;) {
      const delivery = machine.handOut(this.now);
      if (delivery !== undefined) this.handedOut(delivery);
      else if (machine.wantsMore && machine.scan < this.events.length && this.sessions.canTake(0)) {
        machine.pass(machine.nextUnsettled());
        const id = machine.scan;
        if (id >= this.events.length) return;
        machine.take({ id, lane: this.events[id]?.lane, dueMs: 0, expiresMs: Infinity }, this.now);
      } else return;
    }
  }

  private handedOut(delivery: Delivery): void {
    const { id } = delivery;
    const event = this.events[id] as Model;
    const session = delivery.session as Session;
    delivery.sent = true;
    expect(event.settled, `${id} was settled`).toBe(false);
    expect(event.out, `${id} is out`).toBeUndefined();
    expect(this.machine.attemptOf(id)).toBe(event.failed + 1);
    event.out = { session, handout: delivery.handout, attempt: event.failed + 1 };
    this.tokens.push({ id, boot: this.boot, handout: delivery.handout });
    if (this.ordering === 'none' || (this.ordering === 'key' && event.lane === undefined)) return;
    const lane = this.events.slice(0, this.machine.scan).filter((e) => this.laneOf(e) === this.laneOf(event));
    const before = lane.slice(0, lane.indexOf(event));
    for (const other of before) {
      if (other.isDurable) continue;
      // Not durable: then the same session has it, or has settled it.
      expect(other.out?.session ?? other.settledBy, `${id} overtakes in its lane`).toBe(session);
    }
    const active = lane.filter((e) => e.out !== undefined || (e.settledBy !== undefined && !e.isDurable));
    expect(active.length).toBeLessThanOrEqual(this.window);
    for (const other of lane) if (other.out !== undefined) expect(other.out.session).toBe(session);
  }

  private laneOf(event: Model): string | undefined {
    return this.ordering === 'partition' ? '' : event.lane;
  }

  /** A token of any time. */
  answer(n: number, kind: Verdict['kind']): void {
    const token = this.tokens[n % Math.max(1, this.tokens.length)];
    if (token === undefined) return;
    const event = this.events[token.id] as Model;
    const isCurrent = token.boot === this.boot && event.out?.handout === token.handout;
    const wasSettled = event.settled;
    const wasOut = event.out !== undefined;
    const { word } = this.machine.answer(
      token.id,
      token.boot,
      token.handout,
      { kind, delayMs: 10 } as Verdict,
      this.now,
    );
    const settles = kind === 'ack' || kind === 'term';
    if (wasSettled) expect(word).toBe('settled');
    else if (isCurrent) expect(word).not.toBe('stale');
    else if (wasOut || !settles) expect(word).toBe('stale');
    else expect(['durable', 'later']).toContain(word);
    if (settles && (word === 'durable' || word === 'later')) {
      event.settled = true;
      event.settledBy = event.out?.session;
    }
    if (settles && isCurrent) event.out = undefined;
    this.look();
  }

  /** The model follows what ended unanswered. */
  private look(): void {
    this.events.forEach((event, id) => {
      if (event.out === undefined || this.machine.stateOf(id) === 'out') return;
      if (this.machine.stateOf(id) === 'settling') {
        event.settled = true; // it was the last attempt
        event.settledBy = event.out.session;
      }
      event.out = undefined;
    });
    for (const { delivery } of this.machine.effects.withdrawn.splice(0)) {
      const event = this.events[delivery.id] as Model;
      expect(event.settled).toBe(false);
    }
    for (const dead of this.machine.effects.dead.splice(0)) this.machine.include(dead);
    this.events.forEach((event, id) => {
      const state = this.machine.stateOf(id);
      if (state === 'failing') event.failed = this.machine.failureOf(id)?.attempts ?? event.failed;
    });
  }

  commit(): void {
    if (!this.machine.mustCommit && !this.machine.hasSkips) return;
    const set = this.machine.collect();
    applySet(this.progress, set);
    for (const { id, failure } of set.failures) (this.events[id] as Model).failed = failure.attempts;
    this.sets.push(set);
  }

  sync(): void {
    for (const set of this.sets.splice(0)) {
      this.durable.push(set);
      for (const { id, failure } of set.failures) (this.events[id] as Model).durableFailed = failure.attempts;
      for (let i = 0; i < set.runs.length; i += 2) {
        for (let id = set.runs[i] as number; id < (set.runs[i + 1] as number); id++)
          (this.events[id] as Model).isDurable = true;
      }
      this.machine.durable(set, this.now);
    }
  }

  /** Everything is acked in the end. */
  drain(): void {
    while (this.open.length > 0) this.leave(0, 'returned');
    this.connect(1e9);
    for (let i = 0; i < 10 * this.events.length + 20; i++) {
      this.pump();
      this.tokens.slice(-20).forEach((_, k) => this.answer(Math.max(0, this.tokens.length - 20) + k, 'ack'));
      this.commit();
      this.sync();
      this.pass(100);
    }
    expect(this.events.every((e) => e.isDurable)).toBe(true);
    expect(this.progress.floor).toBe(this.events.length);
    expect(this.machine.out).toBe(0);
    expect(this.open.every((s) => s.out === 0)).toBe(true);
  }
}

type Step = (course: Course) => void;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('a', 'a', 'b', undefined).map(
      (lane): Step =>
        (c) =>
          c.publish(lane),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 0, max: 4 }).map(
      (credit): Step =>
        (c) =>
          c.connect(credit),
    ),
  },
  { weight: 5, arbitrary: fc.constant<Step>((c) => c.pump()) },
  {
    weight: 8,
    arbitrary: fc.tuple(fc.nat(1_000), fc.constantFrom<Verdict['kind']>('ack', 'ack', 'nack', 'term', 'extend')).map(
      ([n, kind]): Step =>
        (c) =>
          c.answer(n, kind),
    ),
  },
  { weight: 3, arbitrary: fc.constant<Step>((c) => c.commit()) },
  { weight: 3, arbitrary: fc.constant<Step>((c) => c.sync()) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(1, 20, 60, TIMEOUT_MS).map(
      (ms): Step =>
        (c) =>
          c.pass(ms),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(2), fc.constantFrom<'lost' | 'returned'>('lost', 'returned')).map(
      ([n, how]): Step =>
        (c) =>
          c.leave(n, how),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Step>((c) => c.crash()) },
);

const lives = (sabotage: DeliverySabotage) =>
  fc.property(
    fc.constantFrom<'key' | 'partition' | 'none'>('key', 'key', 'partition', 'none'),
    fc.constantFrom(1, 1, 3),
    fc.array(step, { minLength: 20, maxLength: 150 }),
    (ordering, window, steps) => {
      const course = new Course(ordering, window, sabotage);
      for (const one of steps) one(course);
      course.drain();
    },
  );

describe('the machine and a naive model', () => {
  it('D9 D14 D15 D16: hand out, take and settle the same', { timeout: 60_000 }, () => {
    fc.assert(lives({}), { numRuns: 400 });
  });

  it.each([{ moveLaneEarly: true }, { acceptStaleToken: true }])('notices %o', { timeout: 60_000 }, (sabotage) => {
    expect(fc.check(lives(sabotage), { numRuns: 400, endOnFailure: true }).failed).toBe(true);
  });
});
