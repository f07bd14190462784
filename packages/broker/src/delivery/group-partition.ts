/**
 * A group on one partition while somebody consumes it: drives the machine between its source, the sessions and the append
 * sets. Made when a session or an answer comes, dropped when nothing is out any more; the progress stays.
 */
import { Deadline, HadronError, type Logger, type Random } from '@hadron/base';
import type { GroupSettings, SettledAs } from '@hadron/contracts';
import type { AppendSets } from './append-sets.ts';
import type { Delivery } from './core/delivery.ts';
import { Deque } from './core/deque.ts';
import { type DeliverySabotage, Machine, type MachineCounts, type RecordSet } from './core/machine.ts';
import type { Progress, Redrive } from './core/progress.ts';
import type { Session, Sessions } from './core/sessions.ts';
import { setRecord } from './records.ts';
import type { DeliverySettings } from './settings.ts';
import { encodeToken } from './token.ts';
import type { OutgoingDelivery } from './service.ts';
import type { Extras, Later, Now, SetPart, Settlement, Source, SourceRecord } from './types.ts';

/** Hand-outs and steps of reading before others have their turn (D23). */
const GIVE_MAX = 256;
const STEPS_MAX = 4;
/** A dead letter that its stream does not take is tried again: after a second, then each time later. */
const REFUSED_RETRY_MS = 1_000;
const REFUSED_RETRY_MAX_MS = 60_000;

/** A dead letter that cannot be written: its event is settling, and its lane waits. */
export interface Refusal {
  readonly tries: number;
  readonly reason: string;
  /** Wall clock, ms: when it is tried again. */
  readonly dueMs: number;
}

export interface GroupPartitionOptions {
  readonly partition: number;
  /** Id of the group, part of every token. */
  readonly group: number;
  readonly name: string;
  readonly stream: string;
  readonly settings: GroupSettings;
  readonly progress: Progress;
  readonly sessions: Sessions;
  readonly source: Source;
  readonly settlement: Settlement;
  readonly sets: AppendSets;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits: DeliverySettings;
  readonly boot: number;
  readonly nextHandout: () => number;
  readonly sabotage: DeliverySabotage | undefined;
  readonly now: () => Now;
  /** The copy of an event that was redriven. */
  readonly readCopy: (redrive: Redrive) => SourceRecord | Later | undefined;
  readonly deliver: (session: Session, delivery: OutgoingDelivery) => void;
  readonly withdrawn: (session: Session, token: string) => void;
  /** Something may be done now. */
  readonly wake: () => void;
  /** Keeps the timer of the service. */
  readonly setTimer: (deadline: Deadline<() => void>, at: number | undefined) => void;
}

export class GroupPartition {
  readonly machine: Machine;
  readonly progress: Progress;
  private readonly options: GroupPartitionOptions;
  /** Handed out, their bytes not sent yet. In order: a read from disk holds up what comes behind. */
  private readonly sending = new Deque<Delivery>();
  private readonly dead: { readonly delivery: Delivery; readonly parts: readonly SetPart[] }[] = [];
  /** Only under sabotage. */
  private readonly apart: (readonly SetPart[])[] = [];
  private readonly onSettled = new Map<Delivery, ((as: SettledAs | undefined) => void)[]>();
  private readonly due = new Deadline<() => void>(() => this.tick());
  private readonly skipsDue = new Deadline<() => void>(() => this.flushSkips());
  private readonly retries = new Set<Deadline<() => void>>();
  readonly refusals = new Map<Delivery, Refusal>();
  private reading = false;
  private fetching = false;
  private skipsAreDue = false;
  private toldFull = false;
  private startSeen: number;
  private unwatch: (() => void) | undefined;
  private closed = false;

  constructor(options: GroupPartitionOptions) {
    this.options = options;
    this.progress = options.progress;
    this.machine = new Machine(
      {
        partition: options.partition,
        progress: options.progress,
        get settings() {
          return options.settings;
        },
        sessions: options.sessions,
        random: options.random,
        unsettledMax: options.limits.unsettledMax,
        boot: options.boot,
        nextHandout: options.nextHandout,
        sabotage: options.sabotage,
      },
      options.now(),
    );
    this.startSeen = Number.NEGATIVE_INFINITY;
    this.noticeStart();
    this.unwatch = options.source.watch(() => {
      this.noticeStart();
      options.wake();
    });
  }

  get source(): Source {
    return this.options.source;
  }

  get counts(): MachineCounts {
    return this.machine.counts;
  }

  /** It may be dropped: everything it knows is in the progress. */
  get isIdle(): boolean {
    return this.machine.isIdle && this.dead.length === 0 && this.onSettled.size === 0;
  }

  close(): void {
    this.closed = true;
    this.unwatch?.();
    this.unwatch = undefined;
    for (const deadline of [this.due, this.skipsDue, ...this.retries]) this.options.setTimer(deadline, undefined);
    for (const fns of this.onSettled.values()) for (const fn of fns) fn(undefined);
    this.onSettled.clear();
  }

  /** Calls `fn` when the delivery is durably settled; with undefined when that will not be, because of a seek. */
  whenSettled(delivery: Delivery, fn: (as: SettledAs | undefined) => void): void {
    const fns = this.onSettled.get(delivery);
    if (fns === undefined) this.onSettled.set(delivery, [fn]);
    else fns.push(fn);
  }

  /** Everything that is skipped is to be recorded with the next set. */
  flushSkips(): void {
    this.skipsAreDue = true;
    this.options.wake();
  }

  private noticeStart(): void {
    const { start } = this.options.source;
    if (start <= this.startSeen) return;
    this.startSeen = start;
    if (start > this.progress.floor) this.machine.trim(start);
  }

  private tick(): void {
    this.machine.tick(this.options.now());
    this.options.wake();
  }

  // --------------------------------------------------------------------------------------------------------- hand-outs

  /** Reads and hands out while somebody can take. */
  pump(): void {
    if (this.closed) return;
    const { machine } = this;
    const { sessions, source, partition } = this.options;
    const now = this.options.now();
    let given = 0;
    let steps = 0;
    while (sessions.canTake(partition) && !((sessions.limit?.freeAt() ?? 0) > now.ms)) {
      if (given === GIVE_MAX || steps === STEPS_MAX) {
        this.options.wake();
        break;
      }
      const delivery = machine.handOut(now);
      if (delivery !== undefined) {
        given++;
        steps = 0;
        this.sending.push(delivery);
        continue;
      }
      if (!machine.wantsMore || this.reading) break;
      machine.pass(machine.nextUnsettled());
      const { scan, knownTo } = machine;
      const isKnown = scan < knownTo;
      const step = source.next(scan, isKnown);
      if (step === undefined) break;
      if (step instanceof Promise) {
        this.reading = true;
        this.resume(step, () => {
          this.reading = false;
        });
        break;
      }
      if (isKnown && step.item !== undefined && step.item.id >= knownTo) {
        machine.pass(knownTo); // from here on the filter is asked
        continue;
      }
      if (step.item !== undefined) machine.take(step.item, now);
      else steps++;
      machine.pass(step.next);
    }
    this.tellFull();
    this.send();
  }

  /** Gives the sessions the bytes of what was handed out to them. */
  private send(): void {
    if (this.fetching) return;
    const { options, machine } = this;
    for (let delivery = this.sending.peek(); delivery !== undefined; delivery = this.sending.peek()) {
      const { session, id } = delivery;
      if (delivery.state === 'out' && session !== undefined) {
        const found = this.read(id);
        if (found instanceof Promise) {
          this.fetching = true;
          this.resume(found, () => {
            this.fetching = false;
          });
          return;
        }
        if (found === undefined) machine.vanished(id);
        else if (found.expiresMs <= options.now().wallMs) machine.expire(delivery);
        else {
          const { record } = found;
          delivery.sent = true;
          delivery.bytes = record.bytes.length;
          session.bytes += delivery.bytes;
          const redrive = machine.redriveOf(id);
          options.deliver(session, {
            token: this.tokenOf(delivery),
            partition: options.partition,
            offset: redrive?.offset ?? id,
            attempt: machine.attemptOf(id),
            redrive: redrive?.number ?? 0,
            lane: options.settings.ordering === 'key' ? delivery.lane?.key : undefined,
            record,
          });
        }
      }
      this.sending.shift();
    }
  }

  private resume(later: Later, then: () => void): void {
    void later.then(() => {
      then();
      if (!this.closed) this.options.wake();
    });
  }

  private read(id: number): SourceRecord | Later | undefined {
    if (id >= 0) return this.options.source.read(id);
    const redrive = this.progress.redrives?.get(id);
    return redrive === undefined ? undefined : this.options.readCopy(redrive);
  }

  private tokenOf(delivery: Delivery): string {
    const { boot, group, partition } = this.options;
    return encodeToken(boot, group, partition, delivery.id, delivery.handout);
  }

  /** Once each time reading stops for lanes that do not move (D12). */
  private tellFull(): void {
    const { isFull } = this.machine;
    if (isFull && !this.toldFull) {
      const { stream, name, partition, limits } = this.options;
      this.options.logger.warn(
        { stream, group: name, partition, unsettled: limits.unsettledMax, lanes: this.machine.blockedLanes(10) },
        'a group has stopped reading: too many events wait behind others of their lane',
      );
    }
    this.toldFull = isFull;
  }

  // ----------------------------------------------------------------------------------------------------------- records

  /** After anything happened: tells sessions what they lost, puts what is decided into the append set, sets timers. */
  contribute(): void {
    if (this.closed) return;
    const { machine } = this;
    for (const { session, delivery } of machine.effects.withdrawn.splice(0)) {
      this.options.withdrawn(session, this.tokenOf(delivery));
    }
    for (const delivery of machine.effects.dead.splice(0)) this.bury(delivery);
    // A dead letter's set may be refused: it takes nothing with it that is not its own.
    const { length: dying } = this.dead;
    if (machine.mustCommit || (machine.hasSkips && (this.skipsAreDue || dying > 0))) this.put(machine.collect(), []);
    this.skipsAreDue = false;
    for (const parts of this.apart.splice(0)) {
      this.options.sets.put({ records: [], parts, committed() {}, durable() {} });
    }
    for (const { delivery, parts } of this.dead.splice(0)) {
      machine.include(delivery);
      if (this.options.sabotage?.deadLetterApart === true) {
        this.put(machine.collect(), []);
        this.apart.push(parts);
        this.options.wake();
      } else this.put(machine.collect(), parts, delivery);
    }
  }

  /** After pumping: when to look again. */
  schedule(): void {
    if (this.closed) return;
    const { machine, options } = this;
    const limitedTo = options.sessions.limit?.freeAt() ?? Number.NEGATIVE_INFINITY;
    const isLimited = limitedTo > options.now().ms;
    const due = machine.nextDue();
    options.setTimer(this.due, isLimited ? Math.min(due ?? limitedTo, limitedTo) : due);
    if (machine.mustCommit || machine.effects.dead.length > 0) options.wake();
    if (!machine.hasSkips) options.setTimer(this.skipsDue, undefined);
    else if (!this.skipsDue.armed) options.setTimer(this.skipsDue, options.now().ms + options.limits.skipDelayMs);
  }

  private put(set: RecordSet, parts: readonly SetPart[], dead?: Delivery): void {
    const { settings, sets, group, partition } = this.options;
    const committed = (): void => {
      applySet(this.progress, set);
      if (dead !== undefined) this.refusals.delete(dead);
    };
    const durable = (): void => {
      this.machine.durable(set, this.options.now());
      for (const delivery of set.deliveries) this.tellSettled(delivery);
      this.options.wake();
    };
    if (!settings.durable && parts.length === 0) {
      committed();
      durable();
      return;
    }
    sets.put({
      records: settings.durable ? [setRecord(group, partition, set)] : [],
      parts,
      committed,
      durable,
      ...(dead === undefined ? {} : { refused: (error: HadronError) => this.refused(dead, error) }),
    });
  }

  private tellSettled(delivery: Delivery): void {
    if (delivery.state !== 'settled') return;
    const fns = this.onSettled.get(delivery);
    this.onSettled.delete(delivery);
    for (const fn of fns ?? []) fn(delivery.end?.as ?? 'acked');
  }

  // ------------------------------------------------------------------------------------------------------ dead letters

  /** Finds out what the dead letter is made of; until then the event is settling and its lane waits. */
  private bury(delivery: Delivery): void {
    if (this.closed || delivery.end === undefined) return;
    const { machine, options } = this;
    const { id, end } = delivery;
    const found = this.read(id);
    if (found instanceof Promise) {
      void found.then(() => this.bury(delivery));
      return;
    }
    if (found === undefined) {
      delivery.end = { ...end, as: 'gone' };
      machine.include(delivery);
      options.wake();
      return;
    }
    const failure = delivery.failure ?? machine.failureOf(id);
    const { wallMs } = options.now();
    const extras: Extras = {
      record: found.record,
      code: end.code,
      reason: end.reason,
      attempts: end.attempts,
      redrive: machine.redriveOf(id)?.number ?? 0,
      firstMs: failure?.firstMs ?? wallMs,
      lastMs: failure?.lastMs ?? wallMs,
    };
    const parts = options.settlement.settle(machine.redriveOf(id)?.offset ?? id, end.as, extras);
    if (parts instanceof Promise) {
      parts.then(
        () => this.bury(delivery),
        (error: unknown) => this.refused(delivery, asHadronError(error)),
      );
      return;
    }
    this.dead.push({ delivery, parts });
    options.wake();
  }

  private refused(delivery: Delivery, error: HadronError): void {
    if (this.closed) return;
    const { stream, name, partition } = this.options;
    if (this.refusals.size === 0) {
      this.options.logger.warn(
        { stream, group: name, partition, offset: delivery.id, err: error.message },
        'dead letters cannot be written: their lanes wait, and it is tried again; mend their stream, or name another',
      );
    }
    const tries = (this.refusals.get(delivery)?.tries ?? 0) + 1;
    const delayMs = Math.min(REFUSED_RETRY_MS * 2 ** (tries - 1), REFUSED_RETRY_MAX_MS);
    const { ms, wallMs } = this.options.now();
    this.refusals.set(delivery, { tries, reason: `dead letter refused: ${error.message}`, dueMs: wallMs + delayMs });
    const retry = new Deadline<() => void>(() => {
      this.retries.delete(retry);
      this.bury(delivery);
    });
    this.retries.add(retry);
    this.options.setTimer(retry, ms + delayMs);
  }
}

const asHadronError = (error: unknown): HadronError =>
  error instanceof HadronError ? error : new HadronError('INTERNAL', String(error), { cause: error });

/** What a set changes; live, and when it is replayed. */
export function applySet(progress: Progress, set: Pick<RecordSet, 'runs' | 'readTo' | 'redrives' | 'failures'>): void {
  for (const { id, failure } of set.failures) progress.fail(id, failure);
  progress.settle(set.runs, set.readTo);
  for (const id of set.redrives) progress.settleRedrive(id);
}
