/**
 * Time that a test moves by hand. Nothing waits for real time: a month of back-off passes in milliseconds.
 *
 * Always true: timers fire in the order in which they are due, one at a time, and everything that follows from one has come
 * to rest before the next fires. To rest means: no deferred work, no file operation, no commit under way, no handler
 * running that still moves, and nothing of all that for some turns of the event loop.
 */
import type { Clock, Timer } from '@hadron/base';
import { type Duration, milliseconds } from '../duration.ts';

/** Something that may still be at work after the event loop has turned: files, commits, handlers, sockets. */
export interface Activity {
  /** Grows whenever something happens. */
  count(): number;
  /** Something is under way that ends by itself, without time passing. */
  busy(): boolean;
}

interface Pending extends Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fn: () => void;
  cancelled: boolean;
}

/** Turns of the event loop without anything happening that count as rest. */
const QUIET_TURNS = 4;

export class VirtualClock implements Clock {
  private nowMs = 0;
  private readonly startMs: number;
  /** A binary heap by due time, then by age. */
  private readonly timers: Pending[] = [];
  private made = 0;
  private deferred = 0;
  private happened = 0;
  private readonly activities: Activity[] = [];
  private advancing: Promise<void> = Promise.resolve();

  /** @param startMs the wall clock at the beginning. Default: the machine's, so that records look as usual */
  constructor(startMs: number = Date.now()) {
    this.startMs = Math.floor(startMs);
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return Math.floor(this.startMs + this.nowMs);
  }

  /** The virtual date. */
  get now(): Date {
    return new Date(this.wallMs());
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const timer: Pending = {
      dueMs: this.nowMs + Math.max(0, delayMs),
      order: this.made++,
      fn,
      cancelled: false,
      cancel() {
        this.cancelled = true;
      },
    };
    if (delayMs > 0) push(this.timers, timer);
    // Due now: no time has to pass for it.
    else this.defer(() => timer.cancelled || fn());
    return timer;
  }

  defer(fn: () => void): void {
    this.deferred++;
    this.happened++;
    setImmediate(() => {
      this.deferred--;
      fn();
    });
  }

  /** @internal What {@link settle} has to wait for as well. @returns ends it */
  attend(activity: Activity): () => void {
    this.activities.push(activity);
    return () => {
      const at = this.activities.indexOf(activity);
      if (at >= 0) this.activities.splice(at, 1);
    };
  }

  /**
   * Lets `duration` pass: every timer that is due by then fires, in order. When it resolves everything is at rest.
   *
   * @param duration milliseconds, or a text such as `'10m'`
   * @example
   * ```ts
   * import { openHadron } from '@hadron/client/testing';
   * await using h = await openHadron({ memory: true, clock: 'virtual' });
   * await h.clock.advance('10m');
   * ```
   */
  advance(duration: Duration): Promise<void> {
    const ms = milliseconds(duration, 'duration');
    // One after the other, also when a test does not wait for the first.
    this.advancing = this.advancing.then(() => this.pass(ms));
    return this.advancing;
  }

  /** Resolves when everything is at rest, without time passing. */
  async settle(): Promise<void> {
    let seen = this.total();
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      await turn();
      const now = this.total();
      quiet = now === seen && this.idle() ? quiet + 1 : 0;
      seen = now;
    }
  }

  private async pass(ms: number): Promise<void> {
    await this.settle();
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = this.timers[0];
      if (next === undefined || next.dueMs > untilMs) break;
      pop(this.timers);
      if (next.cancelled) continue;
      this.nowMs = Math.max(this.nowMs, next.dueMs);
      const before = this.total();
      next.fn();
      // Most timers look around and are set again: a month has many of them.
      await turn();
      if (this.total() !== before || !this.idle()) await this.settle();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
    await this.settle();
  }

  private total(): number {
    return this.activities.reduce((sum, a) => sum + a.count(), this.happened);
  }

  private idle(): boolean {
    return this.deferred === 0 && !this.activities.some((a) => a.busy());
  }
}

/** Everything that is ready now, promises included, has run when it resolves. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const isBefore = (a: Pending, b: Pending): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

function push(heap: Pending[], timer: Pending): void {
  let at = heap.length;
  heap.push(timer);
  while (at > 0) {
    const up = (at - 1) >> 1;
    const parent = heap[up] as Pending;
    if (!isBefore(timer, parent)) break;
    heap[at] = parent;
    at = up;
  }
  heap[at] = timer;
}

function pop(heap: Pending[]): void {
  const last = heap.pop() as Pending;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && isBefore(right, heap[child] as Pending)) child++;
    if (!isBefore(heap[child] as Pending, last)) break;
    heap[at] = heap[child] as Pending;
    at = child;
  }
  heap[at] = last;
}
