/**
 * One Subscription at work: asks the sink for its consent, opens a session of the group, and turns each delivery into a request
 * and each answer into a verdict. Retries, dead letters and order are the group's: nothing here remembers an event.
 *
 * Always true: no event is sent without consent, none above the granted rate, none before a Retry-After has passed; events of
 * one lane go one after another; requests under way ≤ concurrency; what is held is extended, so that waiting for one's turn
 * is no failed attempt.
 */
import { type Clock, HadronError, type Logger, type Random, type Timer } from '@hadron/base';
import type { DeliveryService, DeliverySession, OutgoingDelivery, SessionHandler } from '@hadron/broker';
import type { GroupRequest, GroupSettings, Verdict } from '@hadron/contracts';
import { type CloudEvent, eventAt, MEDIA_TYPES, writeHttpHeaders, writeJsonEvent } from '@hadron/contracts/events';
import { groupSettingsOf, type SubscriptionSpec } from '@hadron/contracts/resources';
import { type AddressPolicy, AddressRefused, type Resolve } from './address-policy.ts';
import { handshakeHeaders, type Handshake, readConsent } from './consent.ts';
import { judge, type Outcome, readRetryAfter } from './outcome.ts';
import { Pace } from './pace.ts';
import { IdleConnectionClosed, type SinkAnswer, SinkClient } from './sink-client.ts';

/** One word for programs; `ready` says whether events flow. */
export type PushReason =
  | 'Delivering'
  | 'Suspended'
  | 'Handshaking'
  | 'AwaitingConsent'
  | 'ConsentRefused'
  | 'SinkUnreachable'
  | 'SinkNotAllowed'
  | 'CredentialUnsupported'
  | 'StreamUnavailable'
  | 'GroupRefused'
  | 'RetryAfter'
  | 'Unsubscribed';

export interface PushStatus {
  readonly ready: boolean;
  readonly reason: PushReason;
  readonly message: string;
}

export interface PushContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Asked for anew with every session: a broker whose disk failed goes on with another. */
  readonly deliveries: () => Pick<DeliveryService, 'open' | 'set'>;
  /** The DNS name by which sinks know this system. */
  readonly origin: string;
  /** Default of the command: the public internet only. */
  readonly policy: AddressPolicy;
  /** Plain HTTP, for development (W1). */
  readonly allowHttp: boolean;
  readonly resolve: Resolve;
  readonly ca?: string | undefined;
}

export interface WorkerOptions extends PushContext {
  readonly name: string;
  readonly group: string;
  readonly spec: SubscriptionSpec;
  /** Where somebody may consent later, with a key in it. Undefined: nobody can. */
  readonly callback: string | undefined;
  readonly onStatus: (status: PushStatus) => void;
}

export interface PushCounts {
  delivered: number;
  failed: number;
  rejected: number;
}

const HANDSHAKE_MS = 10_000;
const RECONNECT_MS = [1_000, 5_000, 30_000, 120_000] as const;
/** Who said no is left alone for longer than who was not there. */
const CONSENT_MS = [60_000, 300_000, 1_800_000] as const;
/** Requests under way get this long when the worker stops. */
const DRAIN_MS = 1_000;

export class PushWorker {
  readonly counts: PushCounts = { delivered: 0, failed: 0, rejected: 0 };
  readonly #options: WorkerOptions;
  readonly #spec: SubscriptionSpec;
  readonly #settings: GroupSettings;
  readonly #client: SinkClient;
  readonly #handshake: Handshake;
  #pace = new Pace(undefined);
  #session: DeliverySession | undefined;
  /** Handed out and not sent yet, in order. */
  #waiting = new Map<string, OutgoingDelivery>();
  /** Of this session: sent, and the verdict not durable yet. */
  readonly #underWay = new Set<string>();
  readonly #busyLanes = new Set<string>();
  /** Requests that have not ended, also those of a session that has. */
  #requests = 0;
  /** Why the session ends as soon as nothing is under way. */
  #leaving: 'hold' | 'refused' | 'unsubscribed' | 'stop' | undefined;
  #holdUntilMs = 0;
  #refusedFor = '';
  #failures = 0;
  #waits: readonly number[] = RECONNECT_MS;
  /** Sessions opened, to know those of before by. */
  #sessions = 0;
  #status: PushStatus | undefined;
  #stopped = false;
  #awaiting = false;
  #turn: Timer | undefined;
  #extension: Timer | undefined;
  #reconnect: Timer | undefined;
  #idle: (() => void) | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#spec = options.spec;
    this.#settings = groupSettingsOf(options.spec);
    const { policy, resolve, ca, origin, callback } = options;
    const connections = options.spec.concurrency;
    this.#client = new SinkClient({ sink: new URL(options.spec.sink), connections, policy, resolve, ca });
    this.#handshake = { origin, callback, perMinute: wantedRate(options.spec) };
  }

  /** As it was told last; undefined before it began. */
  get status(): PushStatus | undefined {
    return this.#status;
  }

  start(): void {
    const refusal = this.#refusal();
    if (refusal === undefined) void this.#ask();
    else this.#tell(false, ...refusal);
  }

  /** Consent by the callback (§8.2.3). Without a rate, the one that was asked for applies. False: nobody waits for it. */
  consent(perMinute: number | undefined): boolean {
    if (!this.#awaiting || this.#stopped) return false;
    this.#awaiting = false;
    this.#pace = new Pace(perMinute ?? this.#handshake.perMinute);
    void this.#open();
    return true;
  }

  /** Resolves when nothing is under way any more, after a second at most; what was not answered goes back to the group. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#reconnect?.cancel();
    this.#leaving = 'stop';
    if (this.#requests > 0 || this.#underWay.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
        this.#options.clock.setTimer(DRAIN_MS, resolve);
      });
    }
    this.#closeSession();
    this.#client.close();
  }

  // ------------------------------------------------------------------------------------------- consent and session

  #refusal(): readonly [PushReason, string] | undefined {
    const { sink, suspended, credential } = this.#spec;
    if (suspended) return ['Suspended', 'spec.suspended is true'];
    if (new URL(sink).protocol === 'http:' && !this.#options.allowHttp) {
      return [
        'SinkNotAllowed',
        'the sink is plain HTTP; use https, or allow HTTP in the settings of a development server',
      ];
    }
    if (credential?.type === 'REFRESHTOKEN') {
      return ['CredentialUnsupported', 'tokens are not refreshed yet; use ACCESSTOKEN or PLAIN'];
    }
    return undefined;
  }

  async #ask(): Promise<void> {
    // Asked again, its condition goes on saying why.
    if (this.#failures === 0) this.#tell(false, 'Handshaking', `asking ${this.#spec.sink} for its consent`);
    let answer: SinkAnswer;
    try {
      answer = await this.#client.send({
        method: 'OPTIONS',
        headers: { ...this.#credential(), ...handshakeHeaders(this.#handshake) },
        body: undefined,
        timeoutMs: HANDSHAKE_MS,
      });
    } catch (error) {
      if (!this.#stopped) this.#later(() => void this.#ask(), reasonOf(error), messageOf(error));
      return;
    }
    if (this.#stopped) return;
    if (answer.status === 410) return this.#unsubscribed();
    const consent = readConsent(answer.headers, this.#handshake);
    if (consent.kind === 'granted') {
      this.#pace = new Pace(consent.perMinute);
      await this.#open();
    } else if (this.#handshake.callback !== undefined) {
      this.#awaiting = true;
      this.#tell(false, 'AwaitingConsent', `${consent.reason}; consent is awaited at the callback URL it was given`);
    } else {
      const atLeastMs = readRetryAfter(answer.headers['retry-after'], this.#options.clock.wallMs());
      this.#later(() => void this.#ask(), 'ConsentRefused', consent.reason, CONSENT_MS, atLeastMs);
    }
  }

  async #open(): Promise<void> {
    const { stream, sink } = this.#spec;
    const deliveries = this.#options.deliveries();
    try {
      let session = await this.#openSession(deliveries, this.#settings);
      if (session === undefined) {
        // The document is the explicit call that D5 asks for. Where a group once began cannot change.
        const { start: _, ...changed } = this.#settings;
        await deliveries.set(stream, this.#options.group, changed);
        session = await this.#openSession(deliveries, changed);
      }
      if (this.#stopped) {
        session?.close();
        return;
      }
      if (session === undefined) throw new Error('somebody else changes the group');
      this.#session = session;
      this.#failures = 0;
      this.#tell(true, 'Delivering', `to ${sink}`);
      this.#pump();
    } catch (error) {
      if (this.#stopped) return;
      const hopeless = error instanceof HadronError && error.retry === 'no';
      if (hopeless) this.#tell(false, 'GroupRefused', error.message);
      else this.#later(() => void this.#open(), 'StreamUnavailable', messageOf(error));
    }
  }

  /** Undefined: the group is there and has other settings. */
  async #openSession(
    deliveries: Pick<DeliveryService, 'open'>,
    settings: GroupRequest,
  ): Promise<DeliverySession | undefined> {
    const { stream, sink } = this.#spec;
    const { group } = this.#options;
    const number = ++this.#sessions;
    const ifMine = (then: () => void): void => {
      if (number === this.#sessions) then();
    };
    const handler: SessionHandler = {
      deliver: (list) => ifMine(() => this.#deliver(list)),
      withdrawn: (tokens) => ifMine(() => this.#withdrawn(tokens)),
      ended: (error) => ifMine(() => this.#ended(error)),
    };
    const request = { stream, group, settings, credit: this.#window(), peer: new URL(sink).host };
    let session: DeliverySession;
    try {
      session = await deliveries.open(request, handler);
    } catch (error) {
      if (error instanceof HadronError && error.code === 'GROUP_SETTINGS_DIFFER') return undefined;
      throw error;
    }
    // To ask for no limit is not to ask for one, to a group.
    if (settings.rateLimit !== undefined || session.settings.rateLimit === undefined) return session;
    session.close();
    this.#forget();
    return undefined;
  }

  /** Deliveries asked for: no more than can be sent before the longest an attempt may live. */
  #window(): number {
    const { concurrency } = this.#spec;
    const livesMs = this.#settings.policy.maxProcessingMs;
    const { intervalMs } = this.#pace;
    return intervalMs === 0 ? concurrency : Math.min(concurrency, Math.max(1, Math.floor(livesMs / 2 / intervalMs)));
  }

  #ended(error: HadronError | undefined): void {
    if (this.#session === undefined) return; // we closed it
    this.#session = undefined;
    this.#forget();
    if (this.#leaving === undefined) {
      this.#later(() => void this.#open(), 'StreamUnavailable', error?.message ?? 'the group ended the session');
    } else this.#settled();
  }

  #later(
    again: () => void,
    reason: PushReason,
    message: string,
    waits: readonly number[] = RECONNECT_MS,
    atLeastMs = 0,
  ): void {
    if (waits !== this.#waits) this.#failures = 0;
    this.#waits = waits;
    const base = waits[Math.min(this.#failures, waits.length - 1)]!;
    this.#failures++;
    const delayMs = Math.max(atLeastMs, base * (0.8 + (0.4 * this.#options.random.u32()) / 2 ** 32));
    this.#tell(false, reason, `${message}; tried again in ${Math.ceil(delayMs / 1_000)} s`);
    this.#reconnect = this.#options.clock.setTimer(delayMs, again);
  }

  /** What is out goes back at once, uncounted (D14). */
  #closeSession(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#forget();
    session?.close();
  }

  #forget(): void {
    this.#waiting.clear();
    this.#underWay.clear();
    this.#busyLanes.clear();
    this.#turn?.cancel();
    this.#extension?.cancel();
    this.#extension = undefined;
  }

  // ---------------------------------------------------------------------------------------------------- deliveries

  #deliver(list: readonly OutgoingDelivery[]): void {
    for (const delivery of list) this.#waiting.set(delivery.token, delivery);
    if (this.#extension === undefined) this.#extend();
    this.#pump();
  }

  #withdrawn(tokens: readonly string[]): void {
    let back = 0;
    for (const token of tokens) if (this.#waiting.delete(token)) back++;
    // What is under way is answered all the same: a late ack is taken where nobody else has the event (D16).
    if (back > 0) this.#session?.credit(back);
  }

  /** Sends what may be sent now. */
  #pump(): void {
    const session = this.#session;
    if (session === undefined || this.#leaving !== undefined) return;
    for (const delivery of this.#waiting.values()) {
      if (this.#requests >= this.#spec.concurrency) return;
      if (this.#busyLanes.has(this.#laneOf(delivery))) continue;
      const waitMs = this.#pace.take(this.#options.clock.monotonicMs());
      if (waitMs > 0) {
        this.#turn?.cancel();
        this.#turn = this.#options.clock.setTimer(waitMs, () => this.#pump());
        return;
      }
      this.#waiting.delete(delivery.token);
      void this.#send(session, delivery);
    }
  }

  async #send(session: DeliverySession, delivery: OutgoingDelivery): Promise<void> {
    const { token } = delivery;
    const lane = this.#laneOf(delivery);
    this.#underWay.add(token);
    this.#busyLanes.add(lane);
    this.#requests++;
    const outcome = await this.#request(session, delivery);
    this.#requests--;
    if (session !== this.#session) {
      this.#pump();
      this.#settled();
      return;
    }
    if (outcome instanceof IdleConnectionClosed) {
      // Sent again in its turn: at the head, for the order of its lane, and by the pump, for pace and Retry-After.
      this.#underWay.delete(token);
      this.#busyLanes.delete(lane);
      this.#waiting = new Map([[token, delivery], ...this.#waiting]);
      this.#pump();
      this.#settled();
      return;
    }
    // The lane goes on when the verdict is durable: behind a failure its later events have been withdrawn by then.
    const done = (): void => {
      if (session !== this.#session) return;
      this.#underWay.delete(token);
      this.#busyLanes.delete(lane);
      if (this.#leaving === undefined) session.credit(1);
      this.#pump();
      this.#settled();
    };
    const verdict = this.#conclude(outcome, delivery);
    if (verdict === undefined) done();
    else session.answer([{ token, verdict }], done);
    this.#pump();
  }

  async #request(
    { stream }: DeliverySession,
    { partition, offset, record }: OutgoingDelivery,
  ): Promise<Outcome | AddressRefused | IdleConnectionClosed> {
    const { method = 'POST', headers = {} } = this.#spec.protocolSettings ?? {};
    try {
      const event = eventAt(stream, partition, offset, record);
      const { status, headers: answered } = await this.#client.send({
        method,
        headers: {
          ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
          ...this.#credential(),
          ...this.#eventHeaders(event),
          'webhook-request-origin': this.#handshake.origin, // W9
        },
        body: this.#spec.mode === 'structured' ? writeJsonEvent(event) : event.data,
        timeoutMs: this.#settings.policy.timeoutMs,
      });
      return judge(status, answered['retry-after'], this.#options.clock.wallMs());
    } catch (error) {
      if (error instanceof AddressRefused || error instanceof IdleConnectionClosed) return error;
      return { kind: 'failed', reason: messageOf(error), afterMs: undefined };
    }
  }

  #eventHeaders(event: CloudEvent): Record<string, string> {
    return this.#spec.mode === 'structured'
      ? { 'content-type': `${MEDIA_TYPES.json}; charset=utf-8` }
      : Object.fromEntries(writeHttpHeaders(event));
  }

  #credential(): Record<string, string> {
    const { credential } = this.#spec;
    if (credential?.type === 'PLAIN') {
      const pair = Buffer.from(`${credential.identifier ?? ''}:${credential.secret ?? ''}`).toString('base64');
      return { authorization: `Basic ${pair}` };
    }
    if (credential?.type === 'ACCESSTOKEN') {
      return { authorization: `${credential.accessTokenType ?? 'Bearer'} ${credential.accessToken ?? ''}` };
    }
    return {};
  }

  /** The verdict on an outcome; undefined: the event goes back with the session, uncounted. */
  #conclude(outcome: Outcome | AddressRefused, delivery: OutgoingDelivery): Verdict | undefined {
    if (outcome instanceof AddressRefused) {
      // The name has moved to where nothing may be sent. That is no fault of the event.
      this.#leaving = 'refused';
      this.#refusedFor = outcome.message;
      return undefined;
    }
    switch (outcome.kind) {
      case 'delivered':
        this.counts.delivered++;
        return { kind: 'ack' };
      case 'rejected':
        this.counts.rejected++;
        return { kind: 'term', reason: outcome.reason };
      case 'unsubscribed':
        this.#leaving = 'unsubscribed';
        return undefined;
      case 'failed': {
        const { reason, afterMs } = outcome;
        this.counts.failed++;
        if (afterMs === undefined) return { kind: 'nack', reason };
        this.#hold(afterMs, reason);
        return { kind: 'nack', reason, delayMs: Math.max(afterMs, this.#backoffMs(delivery.attempt)) };
      }
    }
  }

  /** A Retry-After is the least to wait; the group's own patience may be longer. */
  #backoffMs(attempt: number): number {
    const list = this.#settings.policy.backoffMs;
    return list[Math.min(attempt, list.length) - 1] ?? 0;
  }

  /** Retry-After holds for the whole sink (W5). */
  #hold(afterMs: number, reason: string): void {
    this.#holdUntilMs = Math.max(this.#holdUntilMs, this.#options.clock.monotonicMs() + afterMs);
    if (this.#leaving !== undefined) return;
    this.#leaving = 'hold';
    this.#tell(false, 'RetryAfter', `${reason} and wants nothing for ${Math.ceil(afterMs / 1_000)} s`);
  }

  /** Once nothing is under way, does what that was waited for. */
  #settled(): void {
    if (this.#requests > 0 || this.#underWay.size > 0 || this.#leaving === undefined) return;
    const why = this.#leaving;
    if (why === 'stop') {
      this.#idle?.();
      return;
    }
    this.#closeSession();
    if (why === 'unsubscribed') {
      this.#unsubscribed();
      return;
    }
    this.#leaving = undefined;
    if (why === 'refused') this.#later(() => void this.#ask(), 'SinkNotAllowed', this.#refusedFor);
    else {
      const waitMs = Math.max(0, this.#holdUntilMs - this.#options.clock.monotonicMs());
      this.#reconnect = this.#options.clock.setTimer(waitMs, () => void this.#open());
    }
  }

  #unsubscribed(): void {
    this.#tell(false, 'Unsubscribed', 'the sink answered 410 Gone; change the Subscription to deliver again');
  }

  /** Lanes are the partition's: two partitions may know the same key. Without a key, an event is its own lane. */
  #laneOf({ partition, lane, token }: OutgoingDelivery): string {
    if (this.#settings.ordering === 'partition') return String(partition);
    return lane === undefined ? token : `${partition}/${lane}`;
  }

  /** While anything is held: three times within a time-out, so that one lost tick does no harm. */
  #extend(): void {
    this.#extension = this.#options.clock.setTimer(this.#settings.policy.timeoutMs / 3, () => {
      this.#extension = undefined;
      const held = [...this.#waiting.keys(), ...this.#underWay];
      if (this.#session === undefined || held.length === 0) return;
      const verdict: Verdict = { kind: 'extend' };
      this.#session.answer(
        held.map((token) => ({ token, verdict })),
        () => undefined,
      );
      this.#extend();
    });
  }

  #tell(ready: boolean, reason: PushReason, message: string): void {
    this.#status = { ready, reason, message };
    const expected = ready || reason === 'Handshaking' || reason === 'Suspended';
    this.#options.logger[expected ? 'info' : 'warn']({ subscription: this.#options.name, reason }, `push: ${message}`);
    this.#options.onStatus(this.#status);
  }
}

/** Requests per minute that the group would use; undefined: it has no limit of its own. */
function wantedRate({ delivery }: SubscriptionSpec): number | undefined {
  const limit = delivery?.rateLimit;
  return limit?.by === 'group' ? Math.max(1, Math.floor((limit.count * 60_000) / limit.perMs)) : undefined;
}

function reasonOf(error: unknown): PushReason {
  return error instanceof AddressRefused ? 'SinkNotAllowed' : 'SinkUnreachable';
}

function messageOf(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
