/** A group: its settings, its sessions, and on each partition its progress. What is out of it is in {@link GroupPartition}. */
import { HadronError } from '@hadron/base';
import type {
  AnswerResult,
  GroupCounts,
  GroupProgress,
  GroupSettings,
  GroupStatus,
  InFlight,
  SettledAs,
} from '@hadron/contracts';
import type { EventPartition, EventStream } from '../ports/event-log.ts';
import type { Answer } from './core/machine.ts';
import { Progress } from './core/progress.ts';
import { SlidingWindow } from './core/rate.ts';
import { type Session, Sessions } from './core/sessions.ts';
import type { GroupPartition } from './group-partition.ts';
import type { GroupRecord } from './records.ts';
import type { AnswerItem, OutgoingDelivery, SessionHandler } from './service.ts';
import { decodeToken, type Token } from './token.ts';
import type { Now } from './types.ts';

const COUNTS = ['acked', 'dead', 'expired', 'gone', 'skipped', 'failed', 'delivered'] as const;
const BLOCKED_LANES_MAX = 10;
const OK: AnswerResult = { ok: true };

/** What a group asks of the service. */
export interface GroupHost {
  readonly boot: number;
  /** How many were handed out since this start. */
  readonly handouts: number;
  now(): Now;
  /** Makes the running part of a group on a partition. */
  run(group: Group, partition: EventPartition): GroupPartition;
  wake(group: Group): void;
  /** Calls `fn` when everything decided on this shard so far is durable. */
  whenDurable(shard: number, fn: () => void): void;
}

/** Somebody who takes events: a session, or a lease that a pull made. */
export interface Taker {
  readonly core: Session;
  readonly handler: SessionHandler;
  /** Made by a pull: nothing but time-outs ends it (D8). */
  readonly isLease: boolean;
  readonly outgoing: OutgoingDelivery[];
  readonly withdrawn: string[];
}

export class Group {
  readonly id: number;
  readonly record: GroupRecord;
  settings: GroupSettings;
  paused: boolean;
  removed = false;
  readonly sessions = new Sessions();
  /** Where it is; durable but for ephemeral groups. */
  readonly progress = new Map<number, Progress>();
  readonly running = new Map<number, GroupPartition>();
  readonly takers = new Map<Session, Taker>();
  private readonly host: GroupHost;
  /** Of partitions that run no more. */
  private readonly past: Record<(typeof COUNTS)[number], number> = {
    acked: 0,
    dead: 0,
    expired: 0,
    gone: 0,
    skipped: 0,
    failed: 0,
    delivered: 0,
  };
  private turn = 0;

  constructor(host: GroupHost, id: number, record: GroupRecord) {
    this.host = host;
    this.id = id;
    this.record = record;
    this.settings = record.settings;
    this.paused = record.paused;
    this.limitsChanged();
  }

  get name(): string {
    return this.record.group;
  }

  get recordNow(): GroupRecord {
    return { ...this.record, settings: this.settings, paused: this.paused };
  }

  /** Where it is on a partition; one that came later begins at 0 (D6). */
  progressOf(partition: number): Progress {
    let progress = this.progress.get(partition);
    if (progress === undefined) {
      progress = new Progress(this.record.starts[String(partition)] ?? 0);
      this.progress.set(partition, progress);
    }
    return progress;
  }

  limitsChanged(): void {
    const { rateLimit } = this.settings;
    this.sessions.limit = rateLimit?.by === 'group' ? new SlidingWindow(rateLimit.count, rateLimit.perMs) : undefined;
  }

  /** The running part of a partition, made if need be. */
  runOn(partition: EventPartition): GroupPartition {
    let running = this.running.get(partition.index);
    if (running === undefined) {
      running = this.host.run(this, partition);
      this.running.set(partition.index, running);
    }
    return running;
  }

  /** Drops the running part; the progress stays. */
  stopOn(partition: number): void {
    const running = this.running.get(partition);
    if (running === undefined) return;
    running.close();
    for (const name of COUNTS) this.past[name] += running.counts[name];
    this.running.delete(partition);
  }

  /** What nobody consumes and nothing is out of costs its progress and no more. */
  rest(): void {
    if (this.takers.size > 0) return;
    for (const [index, running] of [...this.running]) {
      if (running.machine.hasSkips) running.flushSkips();
      else if (running.isIdle) this.stopOn(index);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- sessions

  add(taker: Taker): void {
    this.takers.set(taker.core, taker);
    this.sessions.add(taker.core);
  }

  remove(taker: Taker, how: 'lost' | 'returned'): void {
    const { core } = taker;
    if (!this.takers.delete(core)) return;
    this.sessions.remove(core);
    const now = this.host.now();
    for (const running of this.running.values()) running.machine.sessionEnded(core, how, now);
    this.host.wake(this);
  }

  credit(session: Session, count: number): void {
    if (!Number.isFinite(count)) return;
    session.credit = Math.max(0, session.credit + Math.trunc(count));
    this.sessions.changed(session);
    if (session.canTake) for (const { machine, lane } of session.parked.splice(0)) machine.unpark(lane);
    this.host.wake(this);
  }

  /** Hands out until `untilMs`; the other partitions go on in the next tick (D23). */
  pump(untilMs: number): void {
    if (this.paused || this.takers.size === 0) return;
    const running = [...this.running.values()];
    for (let left = running.length; left > 0; left--) {
      this.turn = (this.turn + 1) % running.length;
      running[this.turn]?.pump();
      if (left === 1 || this.host.now().ms <= untilMs) continue;
      this.host.wake(this);
      return;
    }
  }

  /** Tells the sessions what has gathered for them. Called when nothing is in the middle of anything. */
  tell(onThrow: (taker: Taker, error: unknown) => void): void {
    for (const taker of [...this.takers.values()]) {
      try {
        if (taker.withdrawn.length > 0) taker.handler.withdrawn(taker.withdrawn.splice(0));
        if (taker.outgoing.length > 0) taker.handler.deliver(taker.outgoing.splice(0));
      } catch (error) {
        onThrow(taker, error);
      }
    }
  }

  // ----------------------------------------------------------------------------------------------------------- answers

  /** `done` is called when all that was decided is durable (D16). */
  answer(
    stream: EventStream | undefined,
    items: readonly AnswerItem[],
    done: (results: readonly AnswerResult[]) => void,
  ): void {
    const results: AnswerResult[] = new Array<AnswerResult>(items.length).fill(OK);
    const now = this.host.now();
    let open = 1;
    const close = (): void => {
      if (--open === 0) done(results);
    };
    const shards = new Set<number>();
    items.forEach((item, i) => {
      const partition = decodeToken(item.token, token) ? stream?.partitions[token.partition] : undefined;
      if (partition === undefined || token.group !== this.id || !this.couldBe(partition, token)) {
        results[i] = refusal('TOKEN_INVALID', `this is no delivery token of group ${this.name}`);
        return;
      }
      const running = this.runOn(partition);
      const answer = running.machine.answer(token.id, token.boot, token.handout, item.verdict, now);
      if (answer.word === 'durable' || answer.word === 'settled') shards.add(partition.shard);
      if (answer.word !== 'later') {
        results[i] = resultOf(answer);
        return;
      }
      open++;
      running.whenSettled(answer.delivery, (as) => {
        results[i] = as === undefined ? STALE : OK;
        close();
      });
    });
    for (const shard of shards) {
      open++;
      this.host.whenDurable(shard, close);
    }
    this.host.wake(this);
    close();
  }

  private couldBe(partition: EventPartition, { id, boot, handout }: Token): boolean {
    const { boot: now, handouts } = this.host;
    if (boot > now || (boot === now && handout > handouts) || id >= partition.visibleOffset) return false;
    return id >= 0 || -id <= this.progressOf(partition.index).lastRedrive;
  }

  // -------------------------------------------------------------------------------------------------------- for people

  status(stream: EventStream | undefined): GroupStatus {
    const counts = { ...this.past };
    const blockedLanes: string[] = [];
    for (const { machine, refusals } of this.running.values()) {
      for (const name of COUNTS) counts[name] += machine.counts[name];
      blockedLanes.push(...machine.blockedLanes(BLOCKED_LANES_MAX));
      for (const { lane } of refusals.keys()) {
        if (blockedLanes.length >= BLOCKED_LANES_MAX) break;
        if (lane !== undefined) blockedLanes.push(lane.key);
      }
    }
    return {
      stream: this.record.stream,
      group: this.name,
      kind: 'hadron',
      settings: this.settings,
      paused: this.paused,
      sessions: [...this.takers.values()].filter((taker) => !taker.isLease).length,
      partitions: (stream?.partitions ?? []).map((p) => this.progressStatus(p)),
      counts: counts satisfies GroupCounts,
      blockedLanes: blockedLanes.slice(0, BLOCKED_LANES_MAX),
    };
  }

  private progressStatus(partition: EventPartition): GroupProgress {
    const progress = this.progressOf(partition.index);
    const running = this.running.get(partition.index);
    const unread = Math.max(0, partition.visibleOffset - Math.max(progress.readTo, partition.startOffset));
    return {
      partition: partition.index,
      floor: progress.floor,
      position: progress.readTo,
      endOffset: partition.visibleOffset,
      unsettled: progress.unsettledCount,
      out: running?.machine.out ?? 0,
      delayed: running?.machine.delayed ?? 0,
      lag: unread + progress.unsettledCount,
    };
  }

  inFlight(limit: number): InFlight[] {
    const now = this.host.now();
    const list: InFlight[] = [];
    for (const [partition, { machine, progress, refusals }] of this.running) {
      for (const delivery of [...machine.inFlight(), ...refusals.keys()]) {
        if (list.length >= limit) return list;
        const failure = delivery.failure ?? machine.failureOf(delivery.id);
        const refusal = refusals.get(delivery);
        const isOut = delivery.state === 'out';
        list.push({
          partition,
          offset: progress.redrives?.get(delivery.id)?.offset ?? delivery.id,
          state: isOut ? 'out' : 'waiting',
          session: delivery.session?.id,
          attempt: machine.attemptOf(delivery.id),
          ageMs: isOut
            ? Math.max(0, now.ms - delivery.since)
            : Math.max(0, now.wallMs - (failure?.lastMs ?? now.wallMs)),
          dueMs: isOut ? undefined : (refusal?.dueMs ?? failure?.dueMs),
          lane: delivery.lane?.key,
          reason: refusal?.reason ?? failure?.reason,
        });
      }
    }
    return list;
  }
}

// One for all: it is read before anything else is decoded.
const token: Token = { boot: 0, group: 0, partition: 0, id: 0, handout: 0 };

const refusal = (code: string, message: string, settled?: SettledAs): AnswerResult => ({
  ok: false,
  code,
  message: `${code}: ${message}`,
  ...(settled === undefined ? {} : { settled }),
});

const STALE = refusal('STALE_DELIVERY', 'this attempt is over and the event may be with somebody else; drop the work');

const HOW: Readonly<Record<SettledAs, string>> = {
  acked: 'it was acked',
  dead: 'it went to the dead letters',
  expired: 'it has expired',
  gone: 'its record is gone',
  skipped: 'it was skipped',
  settled: 'how is not remembered',
};

function resultOf(answer: Exclude<Answer, { readonly word: 'later' }>): AnswerResult {
  if (answer.word === 'stale') return STALE;
  if (answer.word !== 'settled') return OK;
  return refusal('ALREADY_SETTLED', `the event was settled before: ${HOW[answer.as]}`, answer.as);
}

/** @throws HadronError GROUP_NOT_FOUND */
export function groupNotFound(stream: string, group: string): HadronError {
  return new HadronError('GROUP_NOT_FOUND', `stream ${stream} has no group ${group}; open a session or create it`);
}
