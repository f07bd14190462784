/**
 * What is remembered of a group on one partition (delivery.md D12): everything below `floor` is settled, everything below
 * `readTo` was read, and `unsettled` is what lies between and is not settled. Beside it the failed attempts and the redrives.
 *
 * All of it is durable except that reading runs ahead: `readTo` moves as events are read, and the next record tells of it.
 * What was read and settled is told in one record, so a start never asks the filter again for what was read (D13).
 *
 * Replaying a record twice changes nothing, in whatever order it meets a snapshot that is newer than the record: settling
 * is for ever, attempts are absolute numbers, and a reset replaces everything.
 *
 * Always true: floor ≤ readTo; unsettled ids lie in [floor, readTo); ids in `ahead` are ≥ readTo.
 */
import { Unsettled } from './unsettled.ts';

/** Attempts of an event that ended unsettled. */
export interface Failure {
  readonly attempts: number;
  /** Wall clock of the first and last, ms. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Wall clock, ms: the next attempt. */
  readonly dueMs: number;
  readonly code: string;
  readonly reason: string;
}

/** An event that comes again from its dead letter (D20). Its id is negative and never used again. */
export interface Redrive {
  readonly id: number;
  /** Where the original lay. */
  readonly offset: number;
  /** 1 for the first redrive of this event. */
  readonly number: number;
  /** The copy. */
  readonly topicId: string;
  readonly partition: number;
  readonly position: number;
}

/** A place in the order of all hand-outs: tokens up to a mark are void after a seek. */
export interface Mark {
  readonly boot: number;
  readonly handout: number;
}

const NO_MARK: Mark = { boot: 0, handout: 0 };

/** Late answers for events that were not read again yet (D16): more wait for the reading. */
const AHEAD_MAX = 10_000;

export class Progress {
  readTo: number;
  readonly unsettled = new Unsettled();
  /** Settled before they were read again: answers that came late, over a restart. */
  ahead: Set<number> | undefined;
  failures: Map<number, Failure> | undefined;
  redrives: Map<number, Redrive> | undefined;
  /** Of the last redrive. */
  lastRedrive = 0;
  /** Tokens of hand-outs up to here answer nothing: the group was sought since. */
  mark: Mark = NO_MARK;

  constructor(start: number) {
    this.readTo = start;
  }

  /** Everything below is settled. */
  get floor(): number {
    return this.unsettled.first() ?? this.readTo;
  }

  get unsettledCount(): number {
    return this.unsettled.count + (this.redrives?.size ?? 0);
  }

  isSettled(id: number): boolean {
    if (id < 0) return this.redrives?.has(id) !== true;
    return id < this.readTo ? !this.unsettled.has(id) : this.ahead?.has(id) === true;
  }

  get canSettleAhead(): boolean {
    return (this.ahead?.size ?? 0) < AHEAD_MAX;
  }

  // ------------------------------------------------------------------------------------------------- while it is read

  /** `id` was read and is to be delivered; what lies before it is not. */
  add(id: number): void {
    this.unsettled.add(id);
    this.readTo = id + 1;
  }

  /** Nothing is to be delivered below `to`. */
  skipTo(to: number): void {
    if (to <= this.readTo) return;
    this.readTo = to;
    this.#dropAhead();
  }

  // ------------------------------------------------------------------------------------------------------- the records

  /**
   * `runs` are settled, and everything below `readTo` was read: what of it is in no run is unsettled.
   * @param runs pairs `from, to`, ascending, also behind `readTo`
   */
  settle(runs: readonly number[], readTo: number): void {
    let at = this.readTo;
    for (let i = 0; i < runs.length; i += 2) {
      const from = runs[i] as number;
      const to = runs[i + 1] as number;
      if (from < at) this.#forget(from, Math.min(to, at));
      if (to <= at) continue;
      if (from >= readTo) {
        const ahead = (this.ahead ??= new Set());
        for (let id = Math.max(from, at); id < to; id++) ahead.add(id);
        continue;
      }
      if (from > at) this.#addUnread(at, from);
      at = to;
    }
    if (readTo > at) this.#addUnread(at, readTo);
    this.readTo = Math.max(this.readTo, at, readTo);
    this.#dropAhead();
  }

  fail(id: number, failure: Failure): void {
    if (id < 0 ? this.isSettled(id) : id < this.readTo && !this.unsettled.has(id)) return;
    (this.failures ??= new Map()).set(id, failure);
  }

  redrive(redrive: Redrive): void {
    this.lastRedrive = Math.max(this.lastRedrive, -redrive.id);
    (this.redrives ??= new Map()).set(redrive.id, redrive);
  }

  settleRedrive(id: number): void {
    // Numbers are not used again, though the redrive itself may have come and gone before a snapshot.
    this.lastRedrive = Math.max(this.lastRedrive, -id);
    this.redrives?.delete(id);
    this.#forgetFailure(id);
  }

  /** What it is after a seek: everything below `to` is settled and nothing else is; redrives stay. */
  soughtTo(to: number, mark: Mark): Progress {
    const sought = new Progress(to);
    sought.mark = mark;
    sought.lastRedrive = this.lastRedrive;
    for (const redrive of this.redrives?.values() ?? []) sought.redrive(redrive);
    for (const [id, failure] of this.failures ?? []) if (id < 0) sought.fail(id, failure);
    return sought;
  }

  /** Between `from` and `to` all is unsettled but what was settled ahead. */
  #addUnread(from: number, to: number): void {
    let at = from;
    if (this.ahead !== undefined) {
      for (const id of [...this.ahead].filter((x) => x >= from && x < to).sort((a, b) => a - b)) {
        this.unsettled.addRange(at, id);
        at = id + 1;
      }
    }
    this.unsettled.addRange(at, to);
  }

  #forget(from: number, to: number): void {
    this.unsettled.deleteRange(from, to);
    if (this.failures === undefined) return;
    if (to - from <= this.failures.size) for (let id = from; id < to; id++) this.#forgetFailure(id);
    else for (const id of this.failures.keys()) if (id >= from && id < to) this.#forgetFailure(id);
  }

  #forgetFailure(id: number): void {
    if (this.failures?.delete(id) === true && this.failures.size === 0) this.failures = undefined;
  }

  #dropAhead(): void {
    if (this.ahead === undefined) return;
    for (const id of this.ahead) if (id < this.readTo) this.ahead.delete(id);
    if (this.ahead.size === 0) this.ahead = undefined;
  }
}
