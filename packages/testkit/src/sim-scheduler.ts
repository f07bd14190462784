/**
 * One thread, virtual time, and an order of events that the seed chooses.
 *
 * Everything that happens later – a timer, a `defer`, the end of a disk call – is a *macro-event* in one heap ordered by
 * (virtual time, order of creation). Running = take the next event, move the clock to it, call it, drain the microtasks.
 *
 * Draining. The code under test is async/await of unknown depth, so a fixed number of awaits would not do. After an event
 * the loop queues one microtask whose only deed is `process.nextTick(next)`: Node runs a tick only when the microtask
 * queue is empty, however deep the chains were. Measured on Node 24: 167 ns per event, against 833 ns for `setImmediate`,
 * 612 ns for a MessageChannel and 44 ns for *each* await. Three consequences: the code under test must not use
 * `process.nextTick` or `setImmediate` itself (it has a Clock); real I/O does not progress while a run is going on; and
 * a loop over seeds gives the real event loop a turn between two seeds (see seeds.ts).
 *
 * Always true:
 * - an event of a process that has died is never delivered;
 * - `monotonicMs` never goes back; only {@link SimScheduler.jumpWall} and {@link SimScheduler.stall} move wall time by itself;
 * - timers never fire early; defers of one process run in the order they were made;
 * - an error thrown by an event ends the run and rejects its promise.
 */
import type { Clock, Timer } from '@hadron/base';
import type { SimRandom } from './sim-random.ts';
import { Trace } from './trace.ts';

/** Where wall time stands at virtual time 0: 2025-10-09T08:53:20Z. */
export const WALL_START_MS = 1_760_000_000_000;

// Vitest's fake timers may replace these; a run must not notice.
const nextTick = process.nextTick.bind(process);
const microtask = queueMicrotask;

export interface SchedulerOptions {
  /** A timer is late by up to this much, chosen by the seed. Default 0.5. */
  timerLateMsMax?: number;
  /** A defer runs within this time, after input that comes ready before it. Default 0.02. */
  deferMsMax?: number;
  /** Entries of the trace that are kept. Default 2,000. */
  traceEntriesMax?: number;
  /** More events than this in one run is a livelock. Default 1,000,000. */
  eventsMax?: number;
}

/** Why a run ended. */
export type RunEnd = 'idle' | 'until' | 'time';

export interface ScheduledEvent {
  readonly timeMs: number;
  readonly order: number;
  readonly owner: SimProcess;
  readonly isTimer: boolean;
  fn: (() => void) | undefined; // undefined: cancelled
}

export class SimScheduler {
  readonly trace: Trace;
  /** The world outside the processes under test: clients, operators, the test itself. It never dies. */
  readonly world: SimProcess;
  readonly #random: SimRandom;
  readonly #timerLateMsMax: number;
  readonly #deferMsMax: number;
  readonly #eventsMax: number;
  readonly #heap: ScheduledEvent[] = [];
  #nowMs = 0;
  #wallOffsetMs = 0;
  #order = 0;
  #lastDeferMs = 0;
  #workCount = 0; // live events that are not timers
  #running = false;
  #failure: { error: unknown } | undefined;
  #eventCount = 0;
  #epoch = 0;

  constructor(random: SimRandom, options: SchedulerOptions = {}) {
    this.#random = random;
    this.#timerLateMsMax = options.timerLateMsMax ?? 0.5;
    this.#deferMsMax = options.deferMsMax ?? 0.02;
    this.#eventsMax = options.eventsMax ?? 1_000_000;
    this.trace = new Trace(options.traceEntriesMax ?? 2_000);
    this.world = this.spawn('world');
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get wallMs(): number {
    return Math.floor(WALL_START_MS + this.#nowMs + this.#wallOffsetMs);
  }

  /** Events delivered so far. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** A new process. Each has its own epoch; what an earlier one left behind never reaches it. */
  spawn(name: string): SimProcess {
    return new SimProcess(this, name, this.#epoch++);
  }

  /** Moves the wall clock, in either direction. Monotonic time does not move. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.note('world', 'wall clock jumps', '', byMs);
  }

  /** Both clocks move and nothing is delivered meanwhile: a stalled event loop, or a machine that slept. */
  stall(forMs: number): void {
    if (!(forMs >= 0)) throw new TypeError(`stall: ${forMs} ms`);
    this.#nowMs += forMs;
    this.note('world', 'stalls', '', forMs);
  }

  /** Adds a line to the trace. */
  note(actor: string, event: string, subject = '', a?: number, b?: number): void {
    this.trace.add(this.#nowMs, actor, event, subject, a, b);
  }

  /** Ends the current or the next run with this error, even if whoever caused it swallows it. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Calls `fn` after `delayMs` unless `owner` has died by then. A part of the simulated machine, such as a disk, calls this. */
  schedule(owner: SimProcess, delayMs: number, fn: () => void): ScheduledEvent {
    return this.#push(owner, this.#nowMs + delayMs, false, fn);
  }

  /** Runs until nothing but timers is left. With `timersMs`, also fires the timers due within that time from now. */
  runUntilIdle(options: { timersMs?: number } = {}): Promise<RunEnd> {
    const deadlineMs = this.#nowMs + (options.timersMs ?? 0);
    return this.#run(() => {
      if (this.#workCount > 0) return undefined;
      const next = this.#peek();
      return next === undefined || next.timeMs > deadlineMs ? 'idle' : undefined;
    });
  }

  /**
   * Runs until `predicate` holds (looked at after every event and its microtasks).
   * @throws Error when nothing is left to run or `withinMs` of virtual time (default 60 s) has passed
   */
  async runUntil(predicate: () => boolean, options: { withinMs?: number; what?: string } = {}): Promise<void> {
    const deadlineMs = this.#nowMs + (options.withinMs ?? 60_000);
    const end = await this.#run(() => {
      if (predicate()) return 'until';
      const next = this.#peek();
      return next === undefined ? 'idle' : next.timeMs > deadlineMs ? 'time' : undefined;
    });
    const what = options.what ?? 'the condition';
    if (end === 'idle') throw new Error(`deadlock: nothing left to run, waiting for ${what}`);
    if (end === 'time') throw new Error(`${what} did not come within ${options.withinMs ?? 60_000} ms of virtual time`);
  }

  /** Runs what is due within `ms` and moves the clock to the end of it. */
  async runFor(ms: number): Promise<void> {
    const deadlineMs = this.#nowMs + ms;
    await this.#run(() => {
      const next = this.#peek();
      return next === undefined || next.timeMs > deadlineMs ? 'time' : undefined;
    });
    this.#nowMs = Math.max(this.#nowMs, deadlineMs);
  }

  /**
   * Runs until `promise` has settled, and returns what it gives.
   * @throws Error when it cannot settle any more (deadlock) or not in time
   */
  async settle<T>(promise: Promise<T>, options: { withinMs?: number; what?: string } = {}): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.runUntil(() => settled, { what: 'a promise', ...options });
    return promise;
  }

  /** Only drains microtasks; delivers nothing. */
  async drain(): Promise<void> {
    await this.#run(() => 'idle');
  }

  /** @internal */
  setTimer(owner: SimProcess, delayMs: number, fn: () => void): Timer {
    const lateMs = this.#random.float() * this.#timerLateMsMax;
    const event = this.#push(owner, this.#nowMs + Math.max(0, delayMs) + lateMs, true, fn);
    return {
      cancel: () => {
        event.fn = undefined;
      },
    };
  }

  /** @internal */
  defer(owner: SimProcess, fn: () => void): void {
    const at = Math.max(this.#lastDeferMs, this.#nowMs + this.#random.float() * this.#deferMsMax);
    this.#lastDeferMs = at;
    this.#push(owner, at, false, fn);
  }

  /** @internal Forgets every event of a process that has died. */
  dropEventsOf(owner: SimProcess): void {
    const kept = this.#heap.filter((event) => event.owner !== owner && event.fn !== undefined);
    this.#heap.length = 0;
    this.#workCount = 0;
    for (const event of kept) this.#insert(event);
  }

  #push(owner: SimProcess, timeMs: number, isTimer: boolean, fn: () => void): ScheduledEvent {
    const event: ScheduledEvent = { timeMs, order: this.#order++, owner, isTimer, fn };
    if (owner.isAlive) this.#insert(event);
    return event;
  }

  /**
   * Looks at `stop` whenever the microtasks are drained, and delivers one event after the other until it answers.
   * A promise made of ticks, not an async function: see "Draining" above.
   */
  #run(stop: () => RunEnd | undefined): Promise<RunEnd> {
    if (this.#running) throw new TypeError('the scheduler is running already');
    this.#running = true;
    const eventsMax = this.#eventCount + this.#eventsMax;
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        this.#running = false;
      };
      const step = (): void => {
        try {
          if (this.#failure !== undefined) {
            const { error } = this.#failure;
            this.#failure = undefined;
            throw error;
          }
          const end = stop();
          if (end !== undefined) {
            finish();
            resolve(end);
            return;
          }
          if (this.#eventCount >= eventsMax) throw new Error(`livelock: ${this.#eventsMax} events in one run`);
          this.#deliver();
        } catch (error) {
          finish();
          reject(error);
          return;
        }
        microtask(hop);
      };
      const hop = (): void => nextTick(step);
      microtask(hop);
    });
  }

  #deliver(): void {
    const event = this.#peek();
    if (event === undefined) return;
    this.#removeFirst();
    if (!event.isTimer) this.#workCount--;
    if (event.timeMs > this.#nowMs) this.#nowMs = event.timeMs;
    this.#eventCount++;
    const fn = event.fn as () => void;
    event.fn = undefined;
    fn();
  }

  /** The next event that has not been cancelled. */
  #peek(): ScheduledEvent | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.fn !== undefined) return first;
      this.#removeFirst();
      if (!first.isTimer) this.#workCount--;
    }
  }

  #insert(event: ScheduledEvent): void {
    if (!event.isTimer) this.#workCount++;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as ScheduledEvent;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as ScheduledEvent;
    const count = heap.length;
    if (count === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && isBefore(heap[child + 1] as ScheduledEvent, heap[child] as ScheduledEvent)) child++;
      if (!isBefore(heap[child] as ScheduledEvent, last)) break;
      heap[at] = heap[child] as ScheduledEvent;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: ScheduledEvent, b: ScheduledEvent): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
}

/** A process under test: its Clock, and its death. */
export class SimProcess implements Clock {
  readonly name: string;
  /** Counts processes of this run; 0 is the world. */
  readonly epoch: number;
  readonly #scheduler: SimScheduler;
  readonly #startedMs: number;
  readonly #onKill: (() => void)[] = [];
  #alive = true;

  constructor(scheduler: SimScheduler, name: string, epoch: number) {
    this.#scheduler = scheduler;
    this.name = name;
    this.epoch = epoch;
    this.#startedMs = scheduler.nowMs;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  monotonicMs(): number {
    return this.#scheduler.nowMs - this.#startedMs;
  }

  wallMs(): number {
    return this.#scheduler.wallMs;
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    return this.#scheduler.setTimer(this, delayMs, fn);
  }

  defer(fn: () => void): void {
    this.#scheduler.defer(this, fn);
  }

  /** kill -9: no event of this process is delivered from here on. Its memory is garbage; what it wrote is the disk's affair. */
  kill(): void {
    if (!this.#alive) return;
    if (this.epoch === 0) throw new TypeError('the world does not die');
    this.#alive = false;
    this.#scheduler.note(this.name, 'dies', `(epoch ${this.epoch})`);
    this.#scheduler.dropEventsOf(this);
    for (const fn of this.#onKill) fn();
  }

  /** Calls `fn` when this process dies. */
  onKill(fn: () => void): void {
    this.#onKill.push(fn);
  }

  /**
   * Wraps a callback of the test so that a dead process cannot call it. JavaScript cannot be stopped in the middle of a
   * function: code that was on the stack when its process died runs on to its next await. It reaches no disk and no
   * timer any more, but it could still "acknowledge" to the test. Hand every such callback through here.
   */
  guard<A extends unknown[]>(fn: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      if (this.#alive) fn(...args);
    };
  }
}
