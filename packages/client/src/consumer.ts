/**
 * A group's session that outlives connections: opens, keeps credit, runs lanes one after another, carries answers, opens
 * again. `run` and `consume` are thin layers on it.
 *
 *              deliver          ready                settle           answered
 *   transport ────────▶ Held ────────▶ handler ─────────────▶ outbox ──────────▶ durable
 *                        │  waits behind the others of its lane
 *                        └─▶ lost: withdrawn · session ended · stale · too old        (its signal aborts)
 *
 * Always true:
 * - granted + occupied ≤ capacity: the server never sends more than there are free slots, so nothing lies here that
 *   somebody else could be working on;
 * - two events of one lane are never in a handler at the same time, also not when the first was lost while it ran;
 * - after an event of a lane was refused, none of those behind it starts: the server takes them back and sends them again
 *   in order (delivery.md D9);
 * - an answer is sent until it is known to be durable or known to be too late. One whose connection broke is sent again in
 *   the next session: the server takes it if nobody else has the event by then (D16).
 */
import type { Clock, Random } from '@hadron/base';
import { HadronError } from '@hadron/base/errors';
import type {
  AnswerResult,
  DeliveryPolicy,
  GroupRequest,
  OpenSession,
  Ordering,
  Transport,
  TransportDelivery,
  TransportSession,
  Verdict,
} from '@hadron/contracts';
import { asHadronError, closed, failure, isTransient } from './errors.ts';
import { retryDelayMs, sleep, within } from './time.ts';

/** A delivery in this process's hands. */
export class Held {
  readonly delivery: TransportDelivery;
  readonly lane: string;
  readonly heldSinceMs: number;
  /** Starts to run, ends, or is lost: never two of these ways back. */
  state: 'queued' | 'running' | 'done' = 'queued';
  /** Why it is not ours any more. */
  lost: HadronError | undefined;
  /** Whether an answer can still be taken: not after the server took it back (D9), but after a lost connection (D16). */
  answerable = true;
  #controller: AbortController | undefined;

  constructor(delivery: TransportDelivery, lane: string, heldSinceMs: number) {
    this.delivery = delivery;
    this.lane = lane;
    this.heldSinceMs = heldSinceMs;
  }

  /** Made when asked for: most handlers never look. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.lost !== undefined) this.#controller.abort(this.lost);
    return this.#controller.signal;
  }

  lose(error: HadronError, answerable: boolean): void {
    this.answerable &&= answerable;
    if (this.lost !== undefined) return;
    this.lost = error;
    this.#controller?.abort(error);
  }
}

export interface ConsumerOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly stream: string;
  readonly group: string;
  readonly settings: GroupRequest;
  /** How many more events are wanted right now, beyond those here; asked again whenever it may have changed. */
  readonly room: (occupied: number) => number;
  /** Its turn has come. */
  readonly ready: (held: Held) => void;
  readonly onError: (error: HadronError) => void;
  /** Deliveries are extended until the age that the group's policy allows; then they are given back. */
  readonly extends: boolean;
  /** How long the first session may take to open. */
  readonly connectTimeoutMs: number;
}

interface Answer {
  readonly held: Held;
  readonly verdict: Verdict;
  readonly resolve: () => void;
  readonly reject: (error: HadronError) => void;
  /** Sent before, and the connection broke: it may have been taken. */
  inDoubt: boolean;
}

/** Answers under way at once; beyond it no new events are asked for. */
const UNANSWERED_MAX = 10_000;
/** Of the time-out: two extensions may get lost. */
const EXTEND_FRACTION = 1 / 3;
/** Before the end of its time a delivery is given back; of short times, half an interval of extension. */
const GIVE_BACK_MS = 1_000;

export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #stop = new AbortController();
  readonly #held = new Map<string, Held>();
  /** Queued behind the one that runs, by lane. A lane without any has no entry. */
  readonly #lanes = new Map<string, Held[]>();
  #session: TransportSession | undefined;
  /** Delivered before the session was known to be open. */
  #early: TransportDelivery[] = [];
  /** Raised with each session: what an older one still says is not heard. */
  #generation = 0;
  #granted = 0;
  #occupied = 0;
  #outbox: Answer[] = [];
  #unanswered = 0;
  #flushPlanned = false;
  #draining = false;
  #drained: Promise<void> | undefined;
  #extendTimer: { cancel(): void } | undefined;
  #endSession: (error: HadronError | undefined) => void = () => undefined;
  #idle: (() => void)[] = [];

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  /**
   * Works until {@link drain}, {@link close} or a failure that trying again cannot help.
   * @throws HadronError GROUP_SETTINGS_DIFFER, TOPIC_NOT_FOUND, …; CONNECTION_FAILED if the first session does not open in time
   */
  async run(): Promise<void> {
    const { clock, random, connectTimeoutMs, onError } = this.#options;
    const startedMs = clock.monotonicMs();
    let opened = false;
    try {
      for (let failures = 0; !this.#stop.signal.aborted && !this.#draining; ) {
        let error: HadronError | undefined;
        try {
          // Asking for it makes a stream that is not there yet, where the server does that.
          if (!opened) await this.#inTime(this.#options.transport.info(this.#options.stream));
          error = await this.#connected(() => {
            opened = true;
            failures = 0;
          });
        } catch (thrown) {
          error = asHadronError(thrown);
          const waitedMs = clock.monotonicMs() - startedMs;
          if (!canReconnect(error) || error.code === 'CLIENT_CLOSED' || (!opened && waitedMs >= connectTimeoutMs))
            throw error;
        }
        if (this.#stop.signal.aborted || this.#draining) break;
        if (error !== undefined) {
          if (!canReconnect(error)) throw error;
          onError(error);
        }
        failures += 1;
        await sleep(clock, retryDelayMs(failures, random), this.#stop.signal);
      }
    } finally {
      this.#finish();
      await this.#drained;
    }
  }

  /** One session, from opening to its end. Resolves with why it ended. */
  async #connected(onOpen: () => void): Promise<HadronError | undefined> {
    const { transport, stream, group, settings, room } = this.#options;
    const generation = ++this.#generation;
    const current = (): boolean => generation === this.#generation;
    const ended = new Promise<HadronError | undefined>((resolve) => {
      this.#endSession = resolve;
    });
    // Answers from before go first: credit at once could bring back the very events that they are about.
    this.#granted = this.#outbox.length > 0 ? 0 : Math.max(0, room(this.#occupied));
    const call: OpenSession = { stream, group, settings, credit: this.#granted };
    const opening = transport.open(call, {
      deliver: (deliveries) => current() && this.#delivered(deliveries),
      withdrawn: (tokens) => current() && this.#withdrawn(tokens),
      ended: (error) => current() && this.#endSession(error === undefined ? undefined : asHadronError(error)),
    });
    this.#early = [];
    let session: TransportSession | undefined;
    try {
      session = await this.#inTime(opening);
    } finally {
      // One that opens after all is nobody's.
      if (session === undefined) opening.then((late) => late.close()).catch(() => undefined);
    }
    if (session === undefined) return undefined;
    onOpen();
    this.#session = session;
    this.#delivered(this.#early.splice(0));
    if (this.#options.extends) this.#extendRegularly(session.settings.policy);
    this.#planFlush();
    const error = await ended;
    this.#extendTimer?.cancel();
    if (this.#session === session) this.#session = undefined;
    this.#generation += 1;
    this.#loseAll(error ?? closed('session'));
    return error;
  }

  /** Undefined: the consumer was stopped. @throws HadronError TIMED_OUT a server that accepts and never answers */
  async #inTime<T>(answer: Promise<T>): Promise<T | undefined> {
    const { clock, connectTimeoutMs } = this.#options;
    const result = await within(clock, connectTimeoutMs, answer, this.#stop.signal);
    if (result === undefined && !this.#stop.signal.aborted)
      throw new HadronError('TIMED_OUT', `no answer within ${connectTimeoutMs} ms`, { effect: 'none' });
    return result;
  }

  // --- deliveries ------------------------------------------------------------------------------------------------

  #delivered(deliveries: readonly TransportDelivery[]): void {
    if (this.#session === undefined) {
      this.#early.push(...deliveries);
      return;
    }
    const { ordering } = this.#session.settings;
    const now = this.#options.clock.monotonicMs();
    for (const delivery of deliveries) {
      const held = new Held(delivery, laneOf(delivery, ordering), now);
      this.#granted = Math.max(0, this.#granted - 1);
      this.#occupied += 1;
      this.#held.set(delivery.token, held);
      const queue = this.#lanes.get(held.lane);
      if (queue !== undefined) queue.push(held);
      else {
        this.#lanes.set(held.lane, []);
        this.#start(held);
      }
    }
  }

  #start(held: Held): void {
    held.state = 'running';
    this.#options.ready(held);
  }

  /**
   * The handler has ended. Frees the slot and lets the next of the lane start.
   * @returns resolves when the answer is durable. @throws STALE_DELIVERY, ALREADY_SETTLED, CLIENT_CLOSED, or why it was lost
   */
  settle(held: Held, verdict: Verdict): Promise<void> {
    const open = held.state !== 'done';
    const answered = this.#answer(held, verdict);
    if (open) this.#leave(held, verdict, answered);
    return answered;
  }

  /** The time-out begins anew. @throws as {@link settle} */
  extend(held: Held): Promise<void> {
    return this.#answer(held, { kind: 'extend' });
  }

  /** Nobody will answer it: it goes back when its time is up or the session ends. */
  release(held: Held): void {
    if (held.state === 'done') return;
    this.#free(held);
    this.#next(held.lane);
  }

  #leave(held: Held, verdict: Verdict | undefined, answered: Promise<void>): void {
    this.#free(held);
    const { lane } = held;
    // Those behind an event that was not settled come again: the server withdraws them. Until its answer is here nothing
    // of the lane may start; after it, what is still queued from before is not to be started at all.
    const behind = [...(this.#lanes.get(lane) ?? [])];
    if (verdict?.kind !== 'nack' || behind.length === 0) return this.#next(lane);
    const forget = (): void => {
      for (const other of behind) if (other.state === 'queued') this.#free(other);
      this.#next(lane);
    };
    answered.then(forget, (error: unknown) =>
      error instanceof HadronError && error.code === 'ALREADY_SETTLED' ? this.#next(lane) : forget(),
    );
  }

  #next(lane: string): void {
    const queue = this.#lanes.get(lane);
    let next = queue?.shift();
    while (next !== undefined && next.state === 'done') next = queue?.shift();
    if (next === undefined) this.#lanes.delete(lane);
    else this.#start(next);
  }

  /** The slot is free. */
  #free(held: Held): void {
    if (held.state === 'done') return;
    held.state = 'done';
    this.#occupied -= 1;
    if (this.#held.get(held.delivery.token) === held) this.#held.delete(held.delivery.token);
    if (this.#occupied === 0) for (const resolve of this.#idle.splice(0)) resolve();
    this.#planFlush();
  }

  #withdrawn(tokens: readonly string[]): void {
    this.#early = this.#early.filter(({ token }) => !tokens.includes(token));
    for (const token of tokens) {
      const held = this.#held.get(token);
      if (held !== undefined)
        this.#lose(
          held,
          new HadronError('STALE_DELIVERY', 'the server took this delivery back; it comes again'),
          false,
        );
    }
  }

  /** Queued ones are forgotten; one that runs keeps its slot and its lane until its handler ends. */
  #lose(held: Held, error: HadronError, answerable: boolean): void {
    held.lose(error, answerable);
    if (held.state === 'queued') this.#free(held);
  }

  #loseAll(error: HadronError): void {
    for (const held of [...this.#held.values()]) this.#lose(held, error, true);
    this.#held.clear();
  }

  // --- answers and credit: once per tick -------------------------------------------------------------------------

  #answer(held: Held, verdict: Verdict): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!held.answerable) throw held.lost ?? closed('session');
      if (this.#stop.signal.aborted) throw closed('consumer');
      if (held.state === 'done') throw new HadronError('ALREADY_SETTLED', 'this delivery was answered; answer once');
      this.#unanswered += 1;
      this.#outbox.push({ held, verdict, resolve, reject, inDoubt: false });
      this.#planFlush();
    });
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    this.#options.clock.defer(() => {
      this.#flushPlanned = false;
      const session = this.#session;
      if (session === undefined) return;
      if (this.#outbox.length > 0) void this.#send(session, this.#outbox.splice(0));
      if (this.#draining || this.#unanswered > UNANSWERED_MAX) return;
      const more = this.#options.room(this.#occupied) - this.#granted;
      if (more > 0) {
        this.#granted += more;
        session.credit(more);
      }
    });
  }

  /** Room may have changed. */
  changed(): void {
    this.#planFlush();
  }

  async #send(session: TransportSession, answers: readonly Answer[]): Promise<void> {
    try {
      const results = await session.answer(
        answers.map(({ held, verdict }) => ({ token: held.delivery.token, verdict })),
      );
      answers.forEach((answer, i) => this.#answered(answer, results[i]));
    } catch (thrown) {
      const error = asHadronError(thrown);
      if (this.#stop.signal.aborted || !canReconnect(error)) {
        for (const answer of answers) this.#settleAnswer(answer, error);
        return;
      }
      // An extension is of no use to a later session: there its delivery is nobody's.
      for (const answer of answers) {
        if (answer.verdict.kind === 'extend') this.#settleAnswer(answer, error);
        else {
          answer.inDoubt = true;
          this.#outbox.push(answer);
        }
      }
      // The session may live on (a full disk): its answers are tried again by and by. A new one sends them by itself.
      await sleep(this.#options.clock, retryDelayMs(3, this.#options.random), this.#stop.signal);
    }
    this.#planFlush();
  }

  #answered(answer: Answer, result: AnswerResult | undefined): void {
    if (result === undefined) return this.#settleAnswer(answer, failure('INTERNAL', 'an answer was not answered'));
    if (result.ok) return this.#settleAnswer(answer, undefined);
    const { held, verdict } = answer;
    const error = failure(result.code, result.message);
    if (isTransient(error) && verdict.kind !== 'extend' && !this.#stop.signal.aborted) {
      answer.inDoubt = true;
      this.#outbox.push(answer);
      return;
    }
    if (error.code === 'ALREADY_SETTLED' && answer.inDoubt && isSame(verdict, result.settled)) {
      return this.#settleAnswer(answer, undefined); // by ourselves: that answer's answer was lost
    }
    if (verdict.kind === 'extend') this.#lose(held, error, false);
    this.#settleAnswer(answer, error);
  }

  #settleAnswer(answer: Answer, error: HadronError | undefined): void {
    this.#unanswered -= 1;
    if (error === undefined) answer.resolve();
    else answer.reject(error);
    if (this.#unanswered === 0) for (const resolve of this.#idle.splice(0)) resolve();
    if (this.#unanswered === UNANSWERED_MAX) this.#planFlush();
  }

  // --- extension -------------------------------------------------------------------------------------------------

  #extendRegularly({ timeoutMs, maxProcessingMs }: DeliveryPolicy): void {
    const { clock } = this.#options;
    const everyMs = Math.max(Math.min(timeoutMs, maxProcessingMs) * EXTEND_FRACTION, 1);
    // The server counts from the hand-out, which was earlier: what is given back must get there before it gives up.
    const giveBackMs = maxProcessingMs - Math.min(everyMs / 2, GIVE_BACK_MS);
    const look = (): void => {
      let nextMs = everyMs;
      for (const held of [...this.#held.values()]) {
        const ageMs = clock.monotonicMs() - held.heldSinceMs;
        if (held.lost !== undefined) continue;
        if (ageMs >= giveBackMs) this.#tooOld(held, maxProcessingMs);
        else {
          nextMs = Math.min(nextMs, giveBackMs - ageMs);
          // One that arrived just now has its whole time-out before it.
          if (ageMs >= everyMs / 2) this.#answer(held, { kind: 'extend' }).catch(() => undefined);
        }
      }
      this.#extendTimer = clock.setTimer(Math.max(nextMs, 1), look);
    };
    this.#extendTimer?.cancel();
    this.#extendTimer = clock.setTimer(everyMs, look);
  }

  #tooOld(held: Held, maxProcessingMs: number): void {
    const reason = `not done within ${maxProcessingMs} ms (maxProcessing)`;
    this.#answer(held, { kind: 'nack', reason }).catch(() => undefined);
    this.#lose(held, new HadronError('TIMED_OUT', reason), false);
  }

  // --- the end ---------------------------------------------------------------------------------------------------

  /**
   * No new events; resolves when what is in hand has ended and its answers are durable, or after `timeoutMs`. Then the
   * session closes, which gives back what is not answered, uncounted.
   */
  drain(timeoutMs: number): Promise<void> {
    this.#drained ??= this.#drain(timeoutMs);
    return this.#drained;
  }

  async #drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    const session = this.#session;
    // Without one answers have nowhere to go; handlers are waited for all the same.
    if (session === undefined) await this.close();
    const finished = (async () => {
      await session?.drain().catch(() => undefined);
      for (const held of [...this.#held.values()]) {
        // What has not begun goes back as it is, instead of being done first.
        if (held.state === 'queued') this.#free(held);
      }
      while (this.#occupied > 0 || this.#unanswered > 0)
        await new Promise<void>((resolve) => {
          this.#idle.push(resolve);
        });
    })();
    await within(this.#options.clock, timeoutMs, finished);
    await this.close();
  }

  /** As {@link drain}, for who is not waiting for anything in hand: that goes back, and answers given become durable. */
  stop(timeoutMs: number): Promise<void> {
    for (const held of [...this.#held.values()]) this.#free(held);
    return this.drain(timeoutMs);
  }

  /** What is not answered goes back at once, uncounted. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const session = this.#session;
    this.#stop.abort();
    this.#loseAll(closed('consumer'));
    await session?.close().catch(() => undefined);
    this.#endSession(undefined);
  }

  /** Nobody waits for ever for what cannot come any more. */
  #finish(): void {
    this.#stop.abort();
    this.#extendTimer?.cancel();
    this.#loseAll(closed('consumer'));
    for (const answer of this.#outbox.splice(0)) this.#settleAnswer(answer, closed('consumer'));
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/**
 * Lanes are told apart per partition (D9); by `partition` there is one. An event without a lane is its own: given again, it
 * waits for its lost handler.
 */
function laneOf({ partition, offset, lane }: TransportDelivery, ordering: Ordering): string {
  if (ordering === 'partition') return `${partition}`;
  return lane === undefined ? `${partition}@${offset}` : `${partition}/${lane}`;
}

/** Whether another session may go better: after a lost connection, or when the server was closed. */
export function canReconnect(error: HadronError): boolean {
  return isTransient(error) || error.kind === 'closed';
}

function isSame(verdict: Verdict, settled: string | undefined): boolean {
  if (settled === 'settled') return true; // long ago: it is not remembered how
  return verdict.kind === 'ack' ? settled === 'acked' : verdict.kind === 'term' && settled === 'dead';
}
