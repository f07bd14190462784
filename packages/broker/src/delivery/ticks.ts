/**
 * When things happen: ticks behind the input that is ready (`clock.defer`), one timer for all deadlines, and a look at the
 * wall clock while anything is due.
 */
import { type Clock, type Deadline, Deadlines, type Timer } from '@hadron/base';
import type { Group } from './group.ts';
import type { Now } from './types.ts';

/** While anything is delayed, the wall clock is looked at this often: it may jump. */
const WALL_LOOK_MS = 60_000;
const WALL_JUMP_MS = 1_000;

export interface TicksHost {
  /** Something may be done for these groups. */
  tick(groups: ReadonlySet<Group>): void;
  wallJumped(now: Now): void;
}

export class Ticks {
  private readonly clock: Clock;
  private readonly host: TicksHost;
  private dirty = new Set<Group>();
  private scheduled = false;
  private over = false;
  private readonly deadlines = new Deadlines<() => void>();
  private timer: Timer | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private wallDriftMs = 0;

  constructor(clock: Clock, host: TicksHost) {
    this.clock = clock;
    this.host = host;
  }

  start(): void {
    this.wallDriftMs = this.clock.wallMs() - this.clock.monotonicMs();
    this.schedule();
  }

  close(): void {
    this.over = true;
    this.timer?.cancel();
  }

  get now(): Now {
    return { ms: this.clock.monotonicMs(), wallMs: this.clock.wallMs() };
  }

  /** Those for whom something may be done in the next tick. */
  get waiting(): ReadonlySet<Group> {
    return this.dirty;
  }

  wake(group: Group): void {
    if (group.removed || this.over) return;
    this.dirty.add(group);
    this.schedule();
  }

  /** Their turn did not come: they are first in the next tick. */
  postpone(groups: Set<Group>): void {
    if (groups.size === 0) return;
    for (const group of this.dirty) groups.add(group);
    this.dirty = groups;
    this.schedule();
  }

  forget(group: Group): void {
    this.dirty.delete(group);
  }

  schedule(): void {
    if (this.scheduled || this.over) return;
    this.scheduled = true;
    this.clock.defer(() => {
      this.scheduled = false;
      if (this.over) return;
      const groups = this.dirty;
      this.dirty = new Set();
      this.host.tick(groups);
      this.setTimer();
    });
  }

  scheduleIn(ms: number): void {
    this.clock.setTimer(ms, () => this.schedule());
  }

  /** Calls what the deadline is about at `at` (monotonic, ms); undefined: never. */
  keep(deadline: Deadline<() => void>, at: number | undefined): void {
    if (at === undefined) this.deadlines.cancel(deadline);
    else this.deadlines.set(deadline, at);
    if (at !== undefined && at < this.timerAt && !this.scheduled) this.setTimer();
  }

  private setTimer(): void {
    if (this.over) return;
    const due = this.deadlines.next() ?? Number.POSITIVE_INFINITY;
    if (due >= this.timerAt) return;
    this.timer?.cancel();
    this.timerAt = due;
    // What is delayed waits for the wall clock, which may jump meanwhile.
    const delayMs = Math.min(Math.max(0, due - this.clock.monotonicMs()), WALL_LOOK_MS);
    this.timer = this.clock.setTimer(delayMs, () => {
      this.timerAt = Number.POSITIVE_INFINITY;
      if (this.over) return;
      this.lookAtWall();
      const nowMs = this.clock.monotonicMs();
      for (let d = this.deadlines.takePassed(nowMs); d !== undefined; d = this.deadlines.takePassed(nowMs)) d.what();
      this.setTimer();
    });
  }

  private lookAtWall(): void {
    const { now } = this;
    const driftMs = now.wallMs - now.ms;
    if (Math.abs(driftMs - this.wallDriftMs) < WALL_JUMP_MS) return;
    this.wallDriftMs = driftMs;
    this.host.wallJumped(now);
  }
}
