/**
 * The engine: one group on one partition. Pure: an event and the time in; hand-outs, withdrawals and what is to be recorded
 * out. No promise, clock or socket. What may happen to an event is the table in `life.ts`; here are lanes, deadlines and
 * the sets of records that wait to be durable.
 *
 * The shell reads on where {@link Machine.wantsMore} says so ({@link take}, {@link pass}), asks for hand-outs
 * ({@link handOut}), commits what {@link collect} gives and says when it is {@link durable}.
 *
 * After a start it reads again from the floor: what is settled is passed, what failed before waits in its lane until it is
 * due. So lanes are right before anything new is read, and a group that nobody consumes costs its progress and no more.
 */
import { Deadlines, type Random } from '@hadron/base';
import type { GroupSettings, SettledAs, Verdict } from '@hadron/contracts';
import type { Now, SourceItem } from '../types.ts';
import { Delivery, type End } from './delivery.ts';
import { Deque } from './deque.ts';
import { Lane } from './lane.ts';
import { type Cell, type DeliveryEvent, type DeliveryState, step } from './life.ts';
import type { Failure, Progress } from './progress.ts';
import { SlidingWindow } from './rate.ts';
import type { Session, Sessions } from './sessions.ts';

/** Ways to break the engine on purpose: the simulation must notice each. */
export interface DeliverySabotage {
  /** A lane goes on before the verdict is durable. */
  readonly moveLaneEarly?: boolean;
  /** A dead letter is committed apart from its verdict. */
  readonly deadLetterApart?: boolean;
  /** An answer is taken whatever attempt its token is of. */
  readonly acceptStaleToken?: boolean;
}

export interface MachineOptions {
  readonly partition: number;
  readonly progress: Progress;
  readonly settings: GroupSettings;
  readonly sessions: Sessions;
  readonly random: Random;
  /** Reading stops at so many (D12). */
  readonly unsettledMax: number;
  /** Counts starts of the server; part of every token. */
  readonly boot: number;
  /** Numbers hand-outs of this start; never the same twice. */
  readonly nextHandout: () => number;
  readonly sabotage?: DeliverySabotage | undefined;
}

/** What an answer comes to (D16). */
export type Answer =
  | { readonly word: 'now' | 'stale' }
  /** Recorded with the next set, or in one that is not durable yet. */
  | { readonly word: 'durable' }
  /** A dead letter is to be written first: told when this delivery is settled. */
  | { readonly word: 'later'; readonly delivery: Delivery }
  | { readonly word: 'settled'; readonly as: SettledAs };

/** What is committed as one: {@link Machine.durable} takes it back. */
export interface RecordSet {
  readonly number: number;
  /** Settled and skipped: pairs `from, to`, ascending. */
  readonly runs: readonly number[];
  readonly readTo: number;
  readonly redrives: readonly number[];
  readonly failures: readonly { readonly id: number; readonly failure: Failure }[];
  readonly deliveries: readonly Delivery[];
}

/** What the shell must do next; it empties the lists. */
export interface Effects {
  /** Taken back from a session that has seen them. */
  readonly withdrawn: { readonly session: Session; readonly delivery: Delivery }[];
  /** To be written to the dead-letter stream, then {@link Machine.include}d. */
  readonly dead: Delivery[];
}

export interface MachineCounts {
  acked: number;
  dead: number;
  expired: number;
  gone: number;
  skipped: number;
  failed: number;
  delivered: number;
}

const NOW: Answer = { word: 'now' };
const STALE: Answer = { word: 'stale' };
const DURABLE: Answer = { word: 'durable' };
const LATE = { ack: 'lateAck', term: 'lateTerm', nack: 'lateOther', extend: 'lateOther' } as const;
const COUNTED = {
  acked: 'acked',
  dead: 'dead',
  expired: 'expired',
  gone: 'gone',
  skipped: 'skipped',
  settled: 'acked',
} as const;
/** How the last so many were settled is remembered (D16). */
const REMEMBERED = 1_000;
const JITTER = 0.2;
/** Rates of so many keys are kept without a look at which of them still count. */
const LIMITS_MIN = 1_000;
/** Whoever asks for a longer delay gets this one. */
const DELAY_MAX_MS = 365 * 24 * 3_600_000;
const REASON_MAX = 1_000;

export class Machine {
  readonly effects: Effects = { withdrawn: [], dead: [] };
  readonly counts: MachineCounts = { acked: 0, dead: 0, expired: 0, gone: 0, skipped: 0, failed: 0, delivered: 0 };
  /** Read up to here since this machine was made. */
  scan: number;
  out = 0;
  delayed = 0;
  private readonly options: MachineOptions;
  private readonly progress: Progress;
  private readonly deliveries = new Map<number, Delivery>();
  private readonly lanes = new Map<string, Lane>();
  /** Lanes, and events that are a lane of their own, which may be handed out. Round robin. */
  private readonly ready = new Deque<Lane | number>();
  private readonly deadlines = new Deadlines<number>();
  private readonly limited = new Deadlines<string>();
  private limits: Map<string, SlidingWindow> | undefined;
  private sweepLimitsAt = LIMITS_MIN;
  /** Settled by a late answer before they were read again: their lane must still meet them, until that is durable. */
  private readonly early = new Set<number>();
  private readonly recent = new Map<number, SettledAs>();

  // The set that is being gathered:
  private number = 1;
  private settled: number[] = [];
  private skipped: number[] = [];
  private redriven: number[] = [];
  private failed: { id: number; failure: Failure }[] = [];
  private waiting = new Set<Delivery>();

  constructor(options: MachineOptions, now: Now) {
    this.options = options;
    this.progress = options.progress;
    this.scan = this.progress.floor;
    for (const redrive of this.progress.redrives?.values() ?? []) this.place(redrive.id, undefined, now);
  }

  /** An event comes again from its dead letter (D20). */
  addRedrive(id: number, now: Now): void {
    this.place(id, undefined, now);
  }

  /** Window, policy or rate changed: lanes that stood still may go on. */
  settingsChanged(): void {
    this.limits = undefined;
    for (const lane of [...this.lanes.values()]) {
      if (lane.place === 'limited') {
        this.limited.cancel(lane);
        lane.place = 'idle';
      }
      this.refresh(lane);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- reading

  /** Below this, what is not settled matched the filter when it was read. */
  get knownTo(): number {
    return this.progress.readTo;
  }

  get unsettledCount(): number {
    return this.progress.unsettledCount;
  }

  /** Whether reading on can bring something to hand out. */
  get wantsMore(): boolean {
    if (this.ready.length > 0 || this.isFull) return false;
    if (this.options.settings.ordering !== 'partition') return true;
    const lane = this.lanes.get('');
    return lane === undefined || lane.waiting.length === 0;
  }

  /** Too many unsettled: reading stops until some are settled (D12). */
  get isFull(): boolean {
    return this.progress.unsettledCount >= this.options.unsettledMax;
  }

  /** While reading again: the next offset that is not durably settled; what lies between need not be read. */
  nextUnsettled(): number {
    const { scan, progress } = this;
    if (scan >= progress.readTo) return scan;
    let next = progress.unsettled.next(scan) ?? progress.readTo;
    for (const id of this.early) if (id >= scan && id < next) next = id;
    return next;
  }

  /** Nothing is to be delivered between here and `to`. */
  pass(to: number): void {
    if (to <= this.scan) return;
    const { progress } = this;
    const known = Math.min(to, progress.readTo);
    // While reading again: unsettled, and no longer there.
    for (let at = this.scan; at < known; ) {
      const id = progress.unsettled.next(at) ?? known;
      if (id < known) this.vanished(id);
      at = id + 1;
    }
    if (to > progress.readTo) this.skip(Math.max(this.scan, progress.readTo), to, 'skipped');
    this.scan = Math.max(this.scan, to);
  }

  /** The next event. */
  take(item: SourceItem, now: Now): void {
    const { id } = item;
    this.pass(id);
    this.scan = id + 1;
    const { progress } = this;
    const isSettled = progress.isSettled(id);
    if (id >= progress.readTo) {
      if (isSettled) progress.skipTo(id + 1);
      else progress.add(id);
    }
    const delivery = this.deliveries.get(id);
    if (delivery !== undefined) {
      // A late answer was faster than reading; the lane waits until it is durable.
      this.early.delete(id);
      delivery.lane = item.dueMs > 0 ? undefined : this.laneOf(item.lane);
      delivery.lane?.waiting.insert(id);
      return;
    }
    if (isSettled) return;
    if (item.expiresMs <= now.wallMs) {
      const expired = this.track(id, undefined);
      expired.lane = item.dueMs > 0 ? undefined : this.laneOf(item.lane);
      expired.lane?.waiting.insert(id);
      this.settle(expired, step('unread', 'expire'), ended('expired'));
      return;
    }
    if (item.dueMs > now.wallMs && progress.failures?.has(id) !== true) {
      const delayed = this.track(id, undefined);
      delayed.state = step('unread', 'delay').to;
      delayed.since = item.dueMs;
      this.delayed++;
      this.deadlines.set(delayed, Math.ceil(now.ms + item.dueMs - now.wallMs));
      return;
    }
    this.place(id, item.dueMs > 0 ? undefined : this.laneOf(item.lane), now);
  }

  /** The source begins at `start` now: what lies below and waits is gone (D3). What is out may still be answered. */
  trim(start: number): void {
    if (start > this.progress.readTo) this.skip(this.progress.readTo, start, 'gone');
    if (start > this.scan) this.pass(start);
    const { unsettled } = this.progress;
    for (let id = unsettled.first(); id !== undefined && id < start; ) {
      const next = unsettled.next(id + 1);
      const delivery = this.deliveries.get(id);
      if (delivery === undefined || delivery.state === 'delayed' || delivery.state === 'backoff') this.vanished(id);
      id = next;
    }
  }

  private skip(from: number, to: number, as: 'skipped' | 'gone'): void {
    const { progress } = this;
    if (from >= to) return;
    this.counts[as] += to - from;
    progress.skipTo(to);
    const { skipped } = this;
    if (skipped.at(-1) === from) skipped[skipped.length - 1] = to;
    else skipped.push(from, to);
  }

  // --------------------------------------------------------------------------------------------------------- hand-outs

  /** Hands out the next event to whoever has least out; undefined: nothing is ready, or nobody can take it. */
  handOut(now: Now): Delivery | undefined {
    const { sessions, settings, partition } = this.options;
    for (;;) {
      const next = this.ready.peek();
      if (next === undefined) return undefined;
      if (typeof next === 'number') {
        if (this.progress.isSettled(next) || this.deliveries.has(next)) {
          this.ready.shift();
          continue;
        }
        const session = sessions.pick(partition);
        if (session === undefined) return undefined;
        this.ready.shift();
        return this.give(this.track(next, undefined), session, now);
      }
      const id = this.head(next);
      if (id === undefined || this.deliveries.has(id) || next.active.length >= settings.window) {
        this.ready.shift();
        next.place = 'idle';
        this.refresh(next);
        continue;
      }
      const limit = this.limitOf(next.key, now);
      const freeAt = limit?.freeAt() ?? Number.NEGATIVE_INFINITY;
      if (freeAt > now.ms) {
        this.ready.shift();
        next.place = 'limited';
        this.limited.set(next, freeAt);
        continue;
      }
      let session = next.active.length > 0 ? next.session : undefined;
      if (session !== undefined && !session.canTake) {
        this.ready.shift();
        next.place = 'parked';
        session.parked.push({ machine: this, lane: next });
        continue;
      }
      session ??= sessions.pick(partition);
      if (session === undefined) return undefined;
      this.ready.shift();
      next.place = 'idle';
      next.waiting.shift();
      limit?.take(now.ms);
      const delivery = this.track(id, next);
      next.active.push(delivery);
      next.session = session;
      this.give(delivery, session, now);
      this.refresh(next);
      return delivery;
    }
  }

  /** A session has credit again: its lanes go on. */
  unpark(lane: Lane): void {
    if (lane.place === 'parked') lane.place = 'idle';
    this.refresh(lane);
  }

  private give(delivery: Delivery, session: Session, now: Now): Delivery {
    delivery.state = step('waiting', 'handOut').to;
    delivery.session = session;
    delivery.handout = this.options.nextHandout();
    delivery.since = Math.ceil(now.ms);
    const { timeoutMs, maxProcessingMs } = this.options.settings.policy;
    this.deadlines.set(delivery, delivery.since + Math.min(timeoutMs, maxProcessingMs));
    session.credit--;
    session.out++;
    this.out++;
    this.counts.delivered++;
    this.options.sessions.limit?.take(now.ms);
    return delivery;
  }

  /** Which attempt this is; 1 for the first. */
  attemptOf(id: number): number {
    return (this.progress.failures?.get(id)?.attempts ?? 0) + 1;
  }

  redriveOf(id: number): { readonly offset: number; readonly number: number } | undefined {
    return this.progress.redrives?.get(id);
  }

  // ----------------------------------------------------------------------------------------------------------- answers

  stateOf(id: number): DeliveryState {
    const delivery = this.deliveries.get(id);
    if (delivery !== undefined) return delivery.state;
    if (this.progress.isSettled(id)) return 'settled';
    return id >= this.scan ? 'unread' : 'waiting';
  }

  /** An answer with the token of hand-out `handout` of start `boot` (D16). */
  answer(id: number, boot: number, handout: number, verdict: Verdict, now: Now): Answer {
    const { mark } = this.progress;
    if (id >= 0 && (boot < mark.boot || (boot === mark.boot && handout <= mark.handout))) return STALE;
    const state = this.stateOf(id);
    let delivery = this.deliveries.get(id);
    const current =
      state === 'out' &&
      ((boot === this.options.boot && handout === delivery?.handout) ||
        this.options.sabotage?.acceptStaleToken === true);
    if (!current && state === 'unread' && !this.progress.canSettleAhead) return STALE;
    const last = current && verdict.kind === 'nack' && this.isLast(id);
    const event = last ? 'exhaust' : current ? verdict.kind : LATE[verdict.kind];
    const cell = step(state, event);
    if (cell.answer === 'stale') return STALE;
    if (cell.answer === 'settled') return { word: 'settled', as: delivery?.end?.as ?? this.settledAs(id, delivery) };
    if (state === 'unread') this.early.add(id);
    if (delivery === undefined) delivery = this.track(id, undefined);
    switch (verdict.kind) {
      case 'extend':
        this.extend(delivery, now);
        return NOW;
      case 'ack':
        this.settle(delivery, cell, undefined);
        return DURABLE;
      case 'nack':
        this.fail(delivery, event, { code: 'NACKED', reason: verdict.reason ?? '', delayMs: verdict.delayMs }, now);
        break;
      case 'term':
        this.settle(delivery, cell, {
          as: 'dead',
          code: 'HANDLER_TERMINAL',
          reason: clipped(verdict.reason ?? ''),
          attempts: this.attemptOf(id) - (current ? 0 : 1),
        });
        break;
    }
    return delivery.state === 'settling' ? { word: 'later', delivery } : DURABLE;
  }

  private settledAs(id: number, delivery: Delivery | undefined): SettledAs {
    return delivery !== undefined ? 'acked' : (this.recent.get(id) ?? 'settled');
  }

  private extend(delivery: Delivery, now: Now): void {
    const { timeoutMs, maxProcessingMs } = this.options.settings.policy;
    this.deadlines.set(delivery, Math.ceil(Math.min(now.ms + timeoutMs, delivery.since + maxProcessingMs)));
  }

  /** What the source says when it was to be sent. */
  vanished(id: number): void {
    const state = this.stateOf(id);
    const cell = step(state, 'gone');
    if (cell.record === 'settle')
      this.settle(this.deliveries.get(id) ?? this.track(id, undefined), cell, ended('gone'));
  }

  expire(delivery: Delivery): void {
    this.settle(delivery, step(delivery.state, 'expire'), ended('expired'));
  }

  // --------------------------------------------------------------------------------------- attempts that end unsettled

  /** When {@link tick} has something to do; undefined: never. */
  nextDue(): number | undefined {
    const due = this.deadlines.next();
    const limited = this.limited.next();
    return due === undefined ? limited : limited === undefined ? due : Math.min(due, limited);
  }

  /** Time has passed: attempts time out, what is due comes. */
  tick(now: Now): void {
    for (let d = this.deadlines.takePassed(now.ms); d !== undefined; d = this.deadlines.takePassed(now.ms)) {
      const delivery = d as Delivery;
      if (delivery.state === 'out' && !delivery.sent) {
        this.giveBack(delivery, 'returned'); // its bytes could not be read in time
      } else if (delivery.state === 'out') {
        const age = Math.round(now.ms - delivery.since);
        this.endAttempt(delivery, 'timeout', { code: 'TIMED_OUT', reason: `no answer within ${age} ms` }, now);
      } else if (delivery.state === 'delayed' && delivery.since > now.wallMs) {
        this.deadlines.set(delivery, Math.ceil(now.ms + delivery.since - now.wallMs)); // the wall clock went back
      } else {
        this.due(delivery);
      }
    }
    for (let l = this.limited.takePassed(now.ms); l !== undefined; l = this.limited.takePassed(now.ms)) {
      const lane = l as Lane;
      lane.place = 'idle';
      this.refresh(lane);
    }
  }

  /** The wall clock jumped: what is delayed is due at another time now. */
  wallJumped(now: Now): void {
    for (const delivery of this.deliveries.values()) {
      if (delivery.state !== 'delayed') continue;
      this.deadlines.set(delivery, Math.ceil(now.ms + Math.max(0, delivery.since - now.wallMs)));
    }
  }

  /** A session ended: `lost` counts the attempts (D14). In the order of the source, so that of a lane only the first counts. */
  sessionEnded(session: Session, how: 'lost' | 'returned', now: Now): void {
    const out: Delivery[] = [];
    for (const delivery of this.deliveries.values()) {
      if (delivery.state === 'out' && delivery.session === session) out.push(delivery);
    }
    out.sort((a, b) => a.id - b.id);
    // What the session never saw was no attempt.
    for (const delivery of out.toReversed()) {
      if (how === 'returned' || !delivery.sent) this.giveBack(delivery, 'returned');
    }
    for (const delivery of out) {
      if (delivery.state !== 'out') continue; // returned, or withdrawn by one before it
      this.endAttempt(delivery, 'lost', { code: 'SESSION_LOST', reason: 'the session was lost' }, now);
    }
  }

  /** Everything that is out, as if it had never been: before a seek. */
  withdrawAll(): void {
    for (const delivery of [...this.deliveries.values()])
      if (delivery.state === 'out') this.giveBack(delivery, 'returned');
  }

  private isLast(id: number): boolean {
    const { maxDeliveries } = this.options.settings.policy;
    return maxDeliveries > 0 && this.attemptOf(id) >= maxDeliveries;
  }

  private endAttempt(
    delivery: Delivery,
    event: 'timeout' | 'lost',
    why: { readonly code: string; readonly reason: string },
    now: Now,
  ): void {
    this.fail(delivery, this.isLast(delivery.id) ? 'exhaust' : event, { ...why, delayMs: undefined }, now);
  }

  private fail(
    delivery: Delivery,
    event: DeliveryEvent,
    why: { readonly code: string; readonly reason: string; readonly delayMs: number | undefined },
    now: Now,
  ): void {
    const { id, lane } = delivery;
    const before = this.progress.failures?.get(id);
    const attempts = (before?.attempts ?? 0) + 1;
    const reason = clipped(why.reason);
    this.counts.failed++;
    const cell = step(delivery.state, event);
    // First the later ones: nothing of the lane is out behind an event that comes again (D9).
    if (lane !== undefined && cell.record === 'fail') {
      for (const later of lane.active.filter((d) => d.id > id && d.state === 'out').reverse()) {
        this.giveBack(later, 'withdraw');
      }
    }
    const failure: Failure = {
      attempts,
      firstMs: before?.firstMs ?? now.wallMs,
      lastMs: now.wallMs,
      dueMs: now.wallMs + Math.round(delayOf(why.delayMs) ?? this.backoff(attempts, event)),
      code: why.code,
      reason,
    };
    delivery.failure = failure;
    if (cell.record === 'settle') {
      this.settle(delivery, cell, {
        as: 'dead',
        code: 'MAX_DELIVERIES',
        reason: reason === '' ? why.code : reason,
        attempts,
      });
      return;
    }
    this.leaveSession(delivery);
    this.deadlines.cancel(delivery);
    delivery.state = cell.to;
    this.leaveLane(delivery);
    lane?.waiting.insert(id);
    this.failed.push({ id, failure });
    this.await(delivery);
  }

  private backoff(attempts: number, event: DeliveryEvent): number {
    if (event === 'lost' && attempts === 1) return 0;
    const list = this.options.settings.policy.backoffMs;
    const base = list[Math.min(attempts, list.length) - 1] ?? 0;
    return base * (1 - JITTER + (2 * JITTER * this.options.random.u32()) / 0xffff_ffff);
  }

  /** Back to its lane, uncounted. */
  private giveBack(delivery: Delivery, event: 'returned' | 'withdraw'): void {
    const { id, lane, session } = delivery;
    delivery.state = step(delivery.state, event).to;
    this.leaveSession(delivery);
    this.deadlines.cancel(delivery);
    this.deliveries.delete(id);
    if (delivery.sent && session?.open === true) this.effects.withdrawn.push({ session, delivery });
    if (lane === undefined) this.ready.unshift(id);
    else {
      this.leaveLane(delivery);
      lane.waiting.insert(id);
      this.refresh(lane);
    }
  }

  private due(delivery: Delivery): void {
    if (delivery.state === 'delayed') this.delayed--;
    delivery.state = step(delivery.state, 'due').to;
    this.deadlines.cancel(delivery);
    this.deliveries.delete(delivery.id);
    if (delivery.lane === undefined) this.ready.push(delivery.id);
    else this.refresh(delivery.lane);
  }

  private leaveSession(delivery: Delivery): void {
    const { session } = delivery;
    if (session === undefined) return;
    session.out--;
    session.bytes -= delivery.bytes;
    // Nobody will answer what was never sent, and give credit for it.
    if (!delivery.sent) session.credit++;
    delivery.session = undefined;
    this.out--;
    this.options.sessions.changed(session);
    if (session.canTake && session.parked.length > 0) {
      for (const parked of session.parked.splice(0)) parked.machine.unpark(parked.lane);
    }
  }

  // ----------------------------------------------------------------------------------------------------------- records

  private settle(delivery: Delivery, cell: Cell, end: End | undefined): void {
    if (delivery.state === 'delayed') this.delayed--;
    this.leaveSession(delivery);
    this.deadlines.cancel(delivery);
    delivery.state = cell.to;
    delivery.end = end;
    // No longer for the set of a failure before it, which may be on its way.
    delivery.set = 0;
    this.waiting.delete(delivery);
    if (end?.as === 'dead') this.effects.dead.push(delivery);
    else this.include(delivery);
    if (this.options.sabotage?.moveLaneEarly === true) this.leaveLane(delivery);
    if (delivery.lane !== undefined) this.refresh(delivery.lane);
  }

  /** It is settled with the next set. Dead letters come here when their record is at hand. */
  include(delivery: Delivery): void {
    if (delivery.id < 0) this.redriven.push(delivery.id);
    else this.settled.push(delivery.id);
    this.await(delivery);
  }

  private await(delivery: Delivery): void {
    delivery.set = this.number;
    this.waiting.add(delivery);
  }

  /** Whether there is something that somebody waits for. */
  get mustCommit(): boolean {
    return this.waiting.size > 0 || this.failed.length > 0; // settled late in the tick in which it failed
  }

  /** Whether there are skips, which may wait a second (D13). */
  get hasSkips(): boolean {
    return this.skipped.length > 0;
  }

  /** What is to be recorded, as one set; from here on it counts as recorded. */
  collect(): RecordSet {
    const set: RecordSet = {
      number: this.number++,
      runs: mergedRuns(this.settled, this.skipped),
      readTo: this.progress.readTo,
      redrives: this.redriven,
      failures: this.failed,
      deliveries: [...this.waiting],
    };
    this.settled = [];
    this.skipped = [];
    this.redriven = [];
    this.failed = [];
    this.waiting = new Set();
    return set;
  }

  /** The set is durable: lanes move on, what failed waits for its time. */
  durable(set: RecordSet, now: Now): void {
    for (const delivery of set.deliveries) {
      if (delivery.set !== set.number) continue; // more has happened to it since
      const cell = step(delivery.state, 'durable');
      delivery.state = cell.to;
      if (cell.to === 'settled') this.finish(delivery);
      else this.waitForDue(delivery, delivery.failure as Failure, now);
    }
  }

  private finish(delivery: Delivery): void {
    const { id, lane } = delivery;
    const as = delivery.end?.as ?? 'acked';
    this.counts[COUNTED[as]]++;
    this.deliveries.delete(id);
    this.early.delete(id);
    this.recent.set(id, as);
    if (this.recent.size > REMEMBERED) this.recent.delete(this.recent.keys().next().value as number);
    this.leaveLane(delivery);
    if (lane !== undefined) this.refresh(lane);
  }

  private waitForDue(delivery: Delivery, failure: Failure, now: Now): void {
    // A wall clock that went back must not make it wait longer than was meant.
    const delayMs = Math.min(failure.dueMs - now.wallMs, failure.dueMs - failure.lastMs);
    if (delayMs <= 0) this.due(delivery);
    else this.deadlines.set(delivery, Math.ceil(now.ms + delayMs));
  }

  // ------------------------------------------------------------------------------------------------------------- lanes

  /** Puts an event that was read into its lane; one that failed before waits there until it is due. */
  private place(id: number, lane: Lane | undefined, now: Now): void {
    step('unread', 'read');
    lane?.waiting.insert(id);
    const failure = this.progress.failures?.get(id);
    if (failure !== undefined && failure.dueMs > now.wallMs) {
      const delivery = this.track(id, lane);
      delivery.state = 'backoff';
      delivery.failure = failure;
      this.waitForDue(delivery, failure, now);
      return;
    }
    if (lane === undefined) this.ready.push(id);
    else this.refresh(lane);
  }

  private track(id: number, lane: Lane | undefined): Delivery {
    const delivery = new Delivery(id);
    delivery.lane = lane;
    this.deliveries.set(id, delivery);
    return delivery;
  }

  private laneOf(key: string | undefined): Lane | undefined {
    const { ordering } = this.options.settings;
    if (ordering === 'none') return undefined;
    const name = ordering === 'partition' ? '' : key;
    if (name === undefined) return undefined;
    let lane = this.lanes.get(name);
    if (lane === undefined) this.lanes.set(name, (lane = new Lane(name)));
    return lane;
  }

  /** The first of a lane that is not settled. */
  private head(lane: Lane): number | undefined {
    for (let id = lane.waiting.peek(); id !== undefined; id = lane.waiting.peek()) {
      if (this.deliveries.has(id) || !this.progress.isSettled(id)) return id;
      lane.waiting.shift();
    }
    return undefined;
  }

  /** After anything happened in a lane: it goes into the ready queue if its next event may be handed out. */
  private refresh(lane: Lane): void {
    if (lane.place !== 'idle') return;
    const id = this.head(lane);
    if (id === undefined) {
      // A session may still name a lane that ended long ago; the key may have a new one.
      if (lane.active.length === 0 && this.lanes.get(lane.key) === lane) this.lanes.delete(lane.key);
      return;
    }
    const blocker = this.deliveries.get(id);
    if (blocker !== undefined) {
      blocker.lane = lane; // settled late, while it waited: now the lane waits for it
      return;
    }
    if (lane.active.length >= this.options.settings.window) return;
    lane.place = 'ready';
    this.ready.push(lane);
  }

  /** It is no longer handed out; when it was the last, any session may have the next. */
  private leaveLane(delivery: Delivery): void {
    const { lane } = delivery;
    if (lane === undefined) return;
    const at = lane.active.indexOf(delivery);
    if (at !== -1) lane.active.splice(at, 1);
    if (lane.active.length > 0) return;
    lane.session = undefined;
    if (lane.place === 'parked') lane.place = 'idle';
  }

  private limitOf(key: string, now: Now): SlidingWindow | undefined {
    const { rateLimit } = this.options.settings;
    if (rateLimit === undefined || rateLimit.by !== 'key') return undefined;
    const limits = (this.limits ??= new Map());
    let limit = limits.get(key);
    if (limit !== undefined) return limit;
    if (limits.size >= this.sweepLimitsAt) {
      // Keys that were not seen for long have nothing that counts.
      for (const [old, window] of limits) if (window.isIdle(now.ms)) limits.delete(old);
      this.sweepLimitsAt = Math.max(LIMITS_MIN, limits.size * 2);
    }
    limits.set(key, (limit = new SlidingWindow(rateLimit.count, rateLimit.perMs)));
    return limit;
  }

  // -------------------------------------------------------------------------------------------------------- for people

  /** Nothing is out and nothing waits to be durable: it can be made again from its progress. */
  get isIdle(): boolean {
    if (this.out > 0 || this.mustCommit || this.skipped.length > 0) return false;
    for (const { state } of this.deliveries.values()) if (state === 'settling' || state === 'failing') return false;
    return true;
  }

  /** What is out or waits for its next attempt. */
  *inFlight(): Generator<Delivery, void, undefined> {
    for (const d of this.deliveries.values())
      if (d.state === 'out' || d.state === 'backoff' || d.state === 'failing') yield d;
  }

  failureOf(id: number): Failure | undefined {
    return this.progress.failures?.get(id);
  }

  /** Keys of lanes with most waiting, when reading has stopped for them (D12). */
  blockedLanes(max: number): string[] {
    if (!this.isFull) return [];
    return [...this.lanes.values()]
      .filter((lane) => lane.waiting.length > 0)
      .sort((a, b) => b.waiting.length - a.waiting.length)
      .slice(0, max)
      .map((lane) => lane.key);
  }
}

const ended = (as: 'expired' | 'gone'): End => ({ as, code: '', reason: '', attempts: 0 });

/** What a client asks for may be anything; what is no time is not asked for. */
const delayOf = (ms: number | undefined): number | undefined =>
  ms === undefined || !(ms >= 0) ? undefined : Math.min(ms, DELAY_MAX_MS);

const clipped = (reason: string): string => (reason.length <= REASON_MAX ? reason : reason.slice(0, REASON_MAX));

/** Single ids and runs as ascending runs that do not touch. */
function mergedRuns(ids: readonly number[], runs: readonly number[]): number[] {
  const pairs: [number, number][] = ids.map((id) => [id, id + 1]);
  for (let i = 0; i < runs.length; i += 2) pairs.push([runs[i] as number, runs[i + 1] as number]);
  pairs.sort((a, b) => a[0] - b[0]);
  const merged: number[] = [];
  for (const [from, to] of pairs) {
    const end = merged.at(-1);
    if (end !== undefined && from <= end) merged[merged.length - 1] = Math.max(end, to);
    else merged.push(from, to);
  }
  return merged;
}
