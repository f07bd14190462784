/**
 * What the consumers of the delivery scenario know and were promised (delivery.md §5), for one group: of every event, who
 * has it, what was answered, what that came to. It holds every delivery and every answer against that; it asks nothing.
 */
import type { OutgoingDelivery } from '@hadron/broker';
import type { AnswerResult, GroupRequest, Verdict } from '@hadron/contracts';
import { promise } from './broker-model.ts';

/** A delivery may be read from disk between the moment it is handed out and the moment its session sees it. */
const ON_ITS_WAY_MS = 200;
/** Timers fire late, never early. */
const LATE_MS = 10;

export interface Published {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly type: 'wanted' | 'other';
  /** Wall clock; 0: at once. */
  readonly dueMs: number;
  readonly expiresMs: number;
}

/** One hand-out. */
export class Attempt {
  readonly delivery: OutgoingDelivery;
  readonly event: EventModel;
  readonly session: object;
  readonly atMs: number;
  /** Its time-out cannot have passed before. */
  untilMs: number;
  /** Verdicts that would end it, and of which nothing was heard yet. */
  readonly onTheWay: Verdict[] = [];
  /** It is over: settled, failed, withdrawn, lost. */
  over = false;

  constructor(delivery: OutgoingDelivery, event: EventModel, session: object, atMs: number, untilMs: number) {
    this.delivery = delivery;
    this.event = event;
    this.session = session;
    this.atMs = atMs;
    this.untilMs = untilMs;
  }
}

/** An event in the eyes of one group. */
export class EventModel {
  readonly published: Published;
  attempts: Attempt[] = [];
  /** How often it was redriven, for certain. */
  redrives = 0;
  /** How often that was promised. */
  redrivesPromised = 0;
  /** Of the present redrive: promised to be settled so. */
  settled: 'acked' | 'dead' | undefined;
  /** Of the present redrive: verdicts of which nobody knows whether they came through. */
  maybe = new Set<'acked' | 'dead'>();
  /** Failed attempts that were promised to count. */
  failures = 0;
  /** Not before, on the wall clock. */
  dueMs = 0;
  mayBeGone = false;

  constructor(published: Published) {
    this.published = published;
  }

  /** What happened to it, for a report. */
  get told(): string {
    const attempts = this.attempts.map(
      (a) =>
        `${a.delivery.attempt}.${a.delivery.redrive} at ${a.atMs.toFixed(0)} ${a.onTheWay.map((v) => v.kind).join('+')}${a.over ? ' over' : ''}`,
    );
    return `[${attempts.join(', ')}], ${this.settled ?? [...this.maybe].join()}, ${this.published.key}`;
  }

  toString(): string {
    return `${this.published.partition}-${this.published.offset}`;
  }
}

export class GroupModel {
  readonly name: string;
  readonly settings: GroupRequest;
  readonly events = new Map<string, EventModel>();
  readonly backoffMs: readonly number[];
  readonly maxDeliveries: number;
  readonly timeoutMs: number;
  readonly window: number;
  private readonly now: () => { readonly ms: number; readonly wallMs: number };

  constructor(name: string, settings: GroupRequest, now: GroupModel['now']) {
    this.name = name;
    this.settings = settings;
    this.now = now;
    this.backoffMs = settings.policy?.backoffMs ?? [];
    this.maxDeliveries = settings.policy?.maxDeliveries ?? 10;
    this.timeoutMs = settings.policy?.timeoutMs ?? 30_000;
    this.window = settings.window ?? 1;
  }

  add(published: Published): void {
    this.events.set(`${published.partition}-${published.offset}`, new EventModel(published));
  }

  matches({ published }: EventModel): boolean {
    return this.settings.filters === undefined || published.type === 'wanted';
  }

  /** An event was handed to a session. */
  delivered(delivery: OutgoingDelivery, session: object): Attempt {
    this.pass();
    const now = this.now();
    const event = this.events.get(`${delivery.partition}-${delivery.offset}`);
    promise(event !== undefined, () => `${delivery.partition}-${delivery.offset} was never published`);
    const what = `${this.name}: ${event} (attempt ${delivery.attempt}, redrive ${delivery.redrive})`;
    promise(this.matches(event as EventModel), () => `${what} does not pass the filter`);
    return this.handedOut(event as EventModel, delivery, session, now, what);
  }

  private handedOut(
    event: EventModel,
    delivery: OutgoingDelivery,
    session: object,
    now: { readonly ms: number; readonly wallMs: number },
    what: string,
  ): Attempt {
    const { published } = event;
    if (delivery.redrive > event.redrives) this.redriven(event, delivery.redrive);
    promise(delivery.redrive === event.redrives, () => `${what}: it was redriven ${event.redrives} times`);
    promise(event.settled === undefined, () => `${what} was settled durably before: ${event.settled}`);
    promise(
      this.maxDeliveries === 0 || delivery.attempt <= this.maxDeliveries,
      () => `${what}: more attempts than ${this.maxDeliveries}`,
    );
    promise(delivery.attempt > event.failures, () => `${what}: ${event.failures} attempts had failed durably`);
    promise(published.dueMs <= now.wallMs + 1, () => `${what} comes ${published.dueMs - now.wallMs} ms too early`);
    // It is judged when its bytes are there; those of others of the same pull may take longer.
    promise(published.expiresMs + ON_ITS_WAY_MS > now.wallMs, () => `${what} had expired`);
    promise(event.dueMs <= now.wallMs + 1, () => `${what} comes ${event.dueMs - now.wallMs} ms before its backoff`);
    for (const other of event.attempts) {
      promise(
        other.over || now.ms >= other.untilMs,
        () => `${what}: somebody has had it for ${(now.ms - other.atMs).toFixed(1)} ms`,
      );
      other.over = true;
    }
    // Nobody has it, so what was on its way from an earlier attempt did not come through.
    if (event.maybe.size > 0) event.maybe.clear();
    this.inOrder(event, session, what);
    const attempt = new Attempt(delivery, event, session, now.ms, now.ms + this.timeoutMs - ON_ITS_WAY_MS);
    event.attempts.push(attempt);
    return attempt;
  }

  private redriven(event: EventModel, redrive: number): void {
    event.redrives = redrive;
    event.settled = undefined;
    event.maybe.clear();
    event.failures = 0;
    event.dueMs = 0;
  }

  /** Order per lane: what lies before it is settled, or out to the same session within the window. */
  private inOrder(event: EventModel, session: object, what: string): void {
    if (event.redrives > 0 || event.published.dueMs > 0) return;
    let before = 0;
    for (const other of this.laneOf(event)) {
      const { offset } = other.published;
      if (offset < event.published.offset) {
        if (this.mayBeSettled(other)) continue;
        const out = other.attempts.at(-1);
        before++;
        promise(
          out !== undefined && !out.over && out.session === session && before < this.window,
          () =>
            `${what}: ${other} of its lane comes first and is not settled (${before} of ${this.window}${out?.session === session ? '' : ', with another session'}): ${other.told}`,
        );
      } else if (offset > event.published.offset) {
        // One behind it was handed out before: then this one was out, and that one was withdrawn or is settled.
        const later = other.attempts.at(-1);
        promise(
          later === undefined ||
            later.over ||
            this.now().ms >= later.untilMs ||
            later.onTheWay.length > 0 ||
            this.mayBeSettled(other) ||
            other.redrives > 0,
          () => `${what}: ${other} of its lane is out behind it`,
        );
        promise(
          this.window > 1 || other.attempts.length === 0 || other.redrives > 0,
          () => `${what}: ${other} of its lane was handed out before it`,
        );
      }
    }
  }

  private *laneOf({ published }: EventModel): Generator<EventModel> {
    const { ordering } = this.settings;
    if (ordering === 'none') return;
    if (ordering === 'key' && published.key === null) return;
    for (const other of this.events.values()) {
      const p = other.published;
      if (p.partition !== published.partition || p.dueMs > 0 || other.published === published) continue;
      if (ordering === 'key' && p.key !== published.key) continue;
      if (this.matches(other)) yield other;
    }
  }

  /** Nothing promised says that it is still to come. An answer that is on its way settles nothing yet. */
  private mayBeSettled(event: EventModel): boolean {
    if (event.settled !== undefined || event.redrives > 0 || event.mayBeGone || event.maybe.size > 0) return true;
    return event.published.expiresMs <= this.now().wallMs;
  }

  /** The last attempt may have been its last without anybody knowing: it timed out, or its session was lost. */
  endedUnanswered(attempt: Attempt): void {
    attempt.over = true;
    this.mayHaveDied(attempt);
  }

  private mayHaveDied({ delivery, event }: Attempt): void {
    if (this.maxDeliveries > 0 && delivery.attempt >= this.maxDeliveries) event.maybe.add('dead');
  }

  /** What time has ended. */
  pass(): void {
    const { ms } = this.now();
    for (const event of this.events.values()) {
      const last = event.attempts.at(-1);
      if (last === undefined || last.over || ms < last.untilMs) continue;
      if (ms >= last.untilMs + ON_ITS_WAY_MS + LATE_MS) this.endedUnanswered(last);
      else this.mayHaveDied(last);
    }
  }

  /** A verdict was sent; from here on it may come true. */
  sent(attempt: Attempt, verdict: Verdict): void {
    attempt.onTheWay.push(verdict);
  }

  /** Its answer came. */
  answered(
    attempt: Attempt,
    verdict: Verdict,
    sentMs: { readonly ms: number; readonly wallMs: number },
    result: AnswerResult,
  ): void {
    const { event, onTheWay } = attempt;
    if (onTheWay.includes(verdict)) onTheWay.splice(onTheWay.indexOf(verdict), 1);
    const last = event.attempts.at(-1);
    const what = `${this.name}: ${event} (attempt ${attempt.delivery.attempt}): ${verdict.kind}`;
    if (!result.ok) {
      promise(
        result.code === 'STALE_DELIVERY' || result.code === 'ALREADY_SETTLED',
        () => `${what} was answered ${result.code}`,
      );
      return;
    }
    if (verdict.kind === 'extend') {
      attempt.untilMs = sentMs.ms + this.timeoutMs - ON_ITS_WAY_MS;
      return;
    }
    promise(
      attempt.delivery.redrive === event.redrives &&
        (last === attempt || last === undefined || last.over || this.now().ms >= last.untilMs),
      () => `${what} was taken, but somebody else has it`,
    );
    attempt.over = true;
    if (verdict.kind === 'nack') {
      const { attempt: number } = attempt.delivery;
      if (this.maxDeliveries > 0 && number >= this.maxDeliveries) event.settled = 'dead';
      else {
        // What its session had behind it in its lane was withdrawn; a lease is not told.
        const isInLane = attempt.delivery.redrive === 0 && event.published.dueMs === 0;
        for (const other of isInLane ? this.laneOf(event) : []) {
          const last = other.attempts.at(-1);
          if (last !== undefined && (last.atMs > sentMs.ms || last.onTheWay.length > 0)) continue;
          if (last?.session === attempt.session && other.published.offset > event.published.offset) last.over = true;
        }
        event.failures = number;
        const backoff = this.backoffMs[Math.min(number, this.backoffMs.length) - 1] ?? 0;
        event.dueMs = sentMs.wallMs + (verdict.delayMs ?? backoff * 0.8 - 1);
      }
      return;
    }
    const as = verdict.kind === 'ack' ? 'acked' : 'dead';
    promise(event.settled === undefined, () => `${what} was taken, but the event was settled before: ${event.settled}`);
    event.settled = as;
  }

  /** The process died: what was on its way came through or not, what was out counts as not made. */
  crashed(): void {
    for (const event of this.events.values()) {
      for (const attempt of event.attempts) {
        const isPresent = event.settled === undefined && attempt.delivery.redrive === event.redrives;
        for (const { kind } of attempt.onTheWay.splice(0)) {
          if (!isPresent) continue;
          if (kind === 'ack') event.maybe.add('acked');
          else if (kind === 'term') event.maybe.add('dead');
          else if (this.maxDeliveries > 0 && attempt.delivery.attempt >= this.maxDeliveries) event.maybe.add('dead');
        }
        if (!attempt.over) this.endedUnanswered(attempt);
      }
    }
  }

  /** Everything is settled: each event exactly once (per redrive). @param dead how often each lies among the dead letters */
  judge(dead: ReadonlyMap<string, number>): void {
    for (const event of this.events.values()) {
      const what = `${this.name}: ${event}`;
      const letters = dead.get(String(event)) ?? 0;
      if (!this.matches(event)) {
        promise(
          letters === 0 && event.attempts.length === 0,
          () => `${what} does not pass the filter and was delivered`,
        );
        continue;
      }
      // Each redrive began with a dead letter; the last life may have ended with one more.
      const deaths = letters - event.redrives;
      promise(deaths === 0 || deaths === 1, () => `${what}: ${letters} dead letters after ${event.redrives} redrives`);
      promise(
        event.redrives >= event.redrivesPromised || event.published.expiresMs <= this.now().wallMs,
        () => `${what} was redriven ${event.redrivesPromised} times and came ${event.redrives} times`,
      );
      const mayExpire = event.published.expiresMs <= this.now().wallMs;
      if (deaths === 1) {
        promise(event.settled !== 'acked', () => `${what} was acked and lies among the dead letters`);
        promise(
          event.settled === 'dead' || event.maybe.has('dead'),
          () => `${what} lies among the dead letters, but nothing sent it there`,
        );
      } else {
        promise(
          event.settled !== 'dead' || event.mayBeGone,
          () => `${what} was given up and lies nowhere: ${event.told}`,
        );
        promise(
          event.settled === 'acked' || event.maybe.has('acked') || mayExpire || event.mayBeGone,
          () => `${what} is settled, but nobody acked it, and it is not among the dead letters`,
        );
      }
    }
  }
}
