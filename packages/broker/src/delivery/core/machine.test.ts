/** What the simulation found, each as small as it gets. */
import type { GroupRequest, Verdict } from '@hadron/contracts';
import { describe, expect, it } from 'vitest';
import { applySet } from '../group-partition.ts';
import { resolveGroup } from '../settings.ts';
import type { Delivery } from './delivery.ts';
import { Machine, type RecordSet } from './machine.ts';
import { Progress } from './progress.ts';
import { Session, Sessions } from './sessions.ts';

const NOW = { ms: 1_000, wallMs: 1_760_000_000_000 };

class Bench {
  readonly sessions = new Sessions();
  readonly progress: Progress;
  readonly machine: Machine;
  private handouts = 0;
  private made = 0;

  constructor(settings: GroupRequest = {}, progress = new Progress(0)) {
    this.progress = progress;
    this.machine = new Machine(
      {
        partition: 0,
        progress,
        settings: resolveGroup(settings),
        sessions: this.sessions,
        random: { u32: () => 0, bytes: (n) => new Uint8Array(n) },
        unsettledMax: 1_000,
        boot: 2,
        nextHandout: () => ++this.handouts,
      },
      NOW,
    );
  }

  session(credit = 100): Session {
    const session = new Session({
      id: String(++this.made),
      credit,
      partition: undefined,
      outMax: 1_000,
      bytesMax: 1e9,
    });
    this.sessions.add(session);
    return session;
  }

  take(id: number, lane: string | undefined): void {
    this.machine.take({ id, lane, dueMs: 0, expiresMs: Infinity }, NOW);
  }

  /** All that can be handed out now. */
  handOut(isSent = true): Delivery[] {
    const all: Delivery[] = [];
    for (let d = this.machine.handOut(NOW); d !== undefined; d = this.machine.handOut(NOW)) {
      d.sent = isSent;
      all.push(d);
    }
    return all;
  }

  ids(): number[] {
    return this.handOut().map((d) => d.id);
  }

  answer(id: number, handout: number, kind: Verdict['kind'], boot = 2): string {
    return this.machine.answer(id, boot, handout, { kind }, NOW).word;
  }

  /** Commits; durable only when {@link durable} says so. */
  commit(): RecordSet {
    const set = this.machine.collect();
    applySet(this.progress, set);
    return set;
  }

  durable(set: RecordSet): void {
    this.machine.durable(set, NOW);
  }
}

describe('found by the simulation', () => {
  it('an ack from before a restart holds its lane, though what it settled is passed when it is read again', () => {
    const before = new Bench();
    before.take(0, 'a');
    before.take(1, 'a');
    const after = new Bench({}, before.progress);
    after.session();
    expect(after.answer(0, 1, 'ack', 1)).toBe('durable');
    const set = after.commit(); // settled, and not durable yet
    expect(after.machine.nextUnsettled()).toBe(0);
    after.take(0, 'a');
    after.take(1, 'a');
    expect(after.ids()).toEqual([]);
    after.durable(set);
    expect(after.ids()).toEqual([1]);
  });

  it('a lane whose events are acked but not durable goes on with the same session only', () => {
    const b = new Bench({ window: 3 });
    const one = b.session(1);
    b.take(0, 'a');
    b.take(1, 'a');
    expect(b.ids()).toEqual([0]);
    expect(b.answer(0, 1, 'ack')).toBe('durable');
    const two = b.session();
    expect([one.canTake, two.canTake]).toEqual([false, true]);
    expect(b.ids()).toEqual([]);
    b.durable(b.commit());
    expect(b.handOut().map((d) => [d.id, d.session])).toEqual([[1, two]]);
  });

  it('a verdict does not ride on the set of the failure before it', () => {
    const b = new Bench();
    b.session();
    b.take(0, undefined);
    b.handOut();
    expect(b.answer(0, 1, 'nack')).toBe('durable');
    const failure = b.commit();
    expect(b.answer(0, 1, 'term')).toBe('later');
    b.durable(failure);
    expect(b.machine.stateOf(0)).toBe('settling'); // its dead letter is not written yet
    const [dead] = b.machine.effects.dead;
    b.machine.include(dead as Delivery);
    b.durable(b.commit());
    expect(b.machine.stateOf(0)).toBe('settled');
  });

  it('what failed and was acked late in one tick is settled once', () => {
    const b = new Bench();
    b.session();
    b.take(0, undefined);
    b.handOut();
    b.answer(0, 1, 'nack');
    expect(b.answer(0, 1, 'ack')).toBe('durable');
    b.durable(b.commit());
    expect(b.machine.stateOf(0)).toBe('settled');
    expect(b.machine.counts.acked).toBe(1);
  });

  it('a lane that ended does not take the key of a new one with it', () => {
    const b = new Bench({ window: 2 });
    const one = b.session(1);
    b.take(0, 'a');
    b.take(1, 'a');
    expect(b.ids()).toEqual([0]); // the lane waits for credit of its session
    b.answer(1, 99, 'ack'); // taken late, so that nothing is left in it
    b.answer(0, 1, 'ack');
    b.durable(b.commit());
    const [parked] = one.parked;
    b.take(2, 'a');
    b.session();
    expect(b.ids()).toEqual([2]);
    if (parked !== undefined) b.machine.unpark(parked.lane);
    b.take(3, 'a');
    expect(b.machine.out).toBe(1);
    expect(b.handOut().map((d) => d.lane?.active.length)).toEqual([2]);
  });

  it('what failed and was given up in one tick is recorded as failed before that is answered', () => {
    const b = new Bench();
    b.session();
    b.take(0, undefined);
    b.handOut();
    expect(b.answer(0, 1, 'nack')).toBe('durable');
    expect(b.answer(0, 1, 'term')).toBe('later');
    expect(b.machine.mustCommit).toBe(true);
    expect(b.commit().failures).toMatchObject([{ id: 0, failure: { attempts: 1 } }]);
  });

  it('what a lost session never saw, and what could not be read in time, was no attempt', () => {
    const b = new Bench({ policy: { maxDeliveries: 1, timeoutMs: 100 } });
    const session = b.session();
    b.take(0, undefined);
    b.handOut(false);
    b.machine.tick({ ms: NOW.ms + 200, wallMs: NOW.wallMs + 200 });
    expect(b.machine.stateOf(0)).toBe('waiting');
    const [again] = b.handOut(false);
    b.sessions.remove(session);
    b.machine.sessionEnded(session, 'lost', NOW);
    expect([again?.id, b.machine.stateOf(0), b.machine.attemptOf(0)]).toEqual([0, 'waiting', 1]);
  });

  it('the last attempt that fails withdraws nothing: its lane goes on when the dead letter is durable', () => {
    const b = new Bench({ window: 2, policy: { maxDeliveries: 1 } });
    b.session();
    b.take(0, 'a');
    b.take(1, 'a');
    b.take(2, 'a');
    expect(b.ids()).toEqual([0, 1]);
    expect(b.answer(0, 1, 'nack')).toBe('later');
    expect(b.machine.effects.withdrawn).toEqual([]);
    expect(b.ids()).toEqual([]);
  });
});
