/**
 * One group over a list of events, with the face of the delivery service: lanes by key, attempts, backoff, dead letters. It
 * stands where the engine will, and keeps of delivery.md what a sink can notice (D9, D14, D16, D18).
 */
import { type Clock, HadronError } from '@hadron/base';
import type { DeliveryService, DeliverySession, OpenRequest, OutgoingDelivery, SessionHandler } from '@hadron/broker';
import { type AnswerResult, DEFAULT_POLICY, type GroupSettings } from '@hadron/contracts';
import {
  type CloudEvent,
  eventKey,
  readRecord,
  recordToEvent,
  RecordWriter,
  writeEventRecord,
} from '@hadron/contracts/events';

interface Entry {
  readonly event: CloudEvent;
  readonly offset: number;
  attempt: number;
  state: 'ready' | 'out' | 'waiting' | 'acked' | 'dead';
  token: string;
  deadline: { cancel(): void } | undefined;
  reason: string | undefined;
}

export class ListGroup implements Pick<DeliveryService, 'open' | 'set'> {
  readonly entries: Entry[] = [];
  readonly opened: OpenRequest[] = [];
  /** What was set on the group by `set`; `open` refuses while it is false. */
  settingsAgree = true;
  refusal: HadronError | undefined;
  readonly #clock: Clock;
  #settings!: GroupSettings;
  #handler: SessionHandler | undefined;
  #credit = 0;
  #tokens = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  publish(...events: CloudEvent[]): void {
    for (const event of events) {
      const offset = this.entries.length;
      this.entries.push({
        event,
        offset,
        attempt: 1,
        state: 'ready',
        token: '',
        deadline: undefined,
        reason: undefined,
      });
    }
    this.#hand();
  }

  /** As the engine ends a session of its own accord. */
  end(): void {
    const handler = this.#handler;
    this.#return();
    handler?.ended(new HadronError('STORAGE_FAILED', 'the disk failed'));
  }

  async open(request: OpenRequest, handler: SessionHandler): Promise<DeliverySession> {
    await Promise.resolve();
    this.opened.push(request);
    if (this.refusal !== undefined) throw this.refusal;
    if (!this.settingsAgree) throw new HadronError('GROUP_SETTINGS_DIFFER', 'another filter');
    const { policy, ...settings } = request.settings;
    this.#settings = {
      durable: true,
      start: { from: 'beginning' },
      ordering: 'key',
      window: settings.window ?? 1,
      filters: settings.filters ?? [],
      policy: { ...DEFAULT_POLICY, ...(policy as Partial<typeof DEFAULT_POLICY>) },
      rateLimit: undefined,
      holdRetention: false,
    };
    this.#handler = handler;
    this.#credit = request.credit;
    this.#clock.defer(() => this.#hand());
    return {
      id: 'session',
      settings: this.#settings,
      credit: (count) => {
        if (this.#handler !== handler) return;
        this.#credit += count;
        this.#hand();
      },
      answer: (items, done) => {
        const results = items.map(({ token, verdict }): AnswerResult => this.#answer(token, verdict));
        this.#clock.defer(() => {
          done(results);
          this.#hand();
        });
      },
      drain: () => undefined,
      close: () => {
        if (this.#handler === handler) this.#return();
      },
      lost: () => undefined,
    };
  }

  async set(): ReturnType<DeliveryService['set']> {
    await Promise.resolve();
    this.settingsAgree = true;
    return {} as Awaited<ReturnType<DeliveryService['set']>>;
  }

  #answer(
    token: string,
    verdict: { kind: string; reason?: string | undefined; delayMs?: number | undefined },
  ): AnswerResult {
    const entry = this.entries.find((one) => one.token === token && one.state === 'out');
    if (entry === undefined) return { ok: false, code: 'STALE_DELIVERY', message: 'given again' };
    if (verdict.kind === 'extend') this.#arm(entry);
    else if (verdict.kind === 'ack') this.#settle(entry, 'acked');
    else if (verdict.kind === 'term') this.#settle(entry, 'dead', verdict.reason);
    else this.#failed(entry, verdict.reason, verdict.delayMs);
    return { ok: true };
  }

  #settle(entry: Entry, state: 'acked' | 'dead', reason?: string): void {
    entry.deadline?.cancel();
    Object.assign(entry, { state, reason });
  }

  #failed(entry: Entry, reason: string | undefined, delayMs?: number): void {
    const { maxDeliveries, backoffMs } = this.#settings.policy;
    entry.reason = reason;
    if (entry.attempt === maxDeliveries) return this.#settle(entry, 'dead', reason);
    entry.deadline?.cancel();
    const waitMs = delayMs ?? backoffMs[Math.min(entry.attempt, backoffMs.length) - 1]!;
    entry.attempt++;
    entry.state = 'waiting';
    this.#clock.setTimer(waitMs, () => {
      if (entry.state === 'waiting') entry.state = 'ready';
      this.#hand();
    });
    // D9: the later ones of the lane come again, uncounted.
    const later = this.entries.filter(
      (one) =>
        one.state === 'out' && one.offset > entry.offset && laneOf(one) !== undefined && laneOf(one) === laneOf(entry),
    );
    for (const one of later) this.#ready(one);
    if (later.length > 0) this.#handler?.withdrawn(later.map((one) => one.token));
  }

  #ready(entry: Entry): void {
    entry.deadline?.cancel();
    entry.state = 'ready';
  }

  #arm(entry: Entry): void {
    entry.deadline?.cancel();
    entry.deadline = this.#clock.setTimer(this.#settings.policy.timeoutMs, () => {
      if (entry.state === 'out') this.#failed(entry, 'timed out');
    });
  }

  #return(): void {
    for (const entry of this.entries) if (entry.state === 'out') this.#ready(entry);
    this.#handler = undefined;
  }

  #hand(): void {
    const list: OutgoingDelivery[] = [];
    const perLane = new Map<string, number>();
    for (const entry of this.entries) {
      const lane = laneOf(entry);
      if (entry.state === 'acked' || entry.state === 'dead') continue;
      const before = lane === undefined ? 0 : (perLane.get(lane) ?? 0);
      if (lane !== undefined) perLane.set(lane, entry.state === 'waiting' ? Number.POSITIVE_INFINITY : before + 1);
      if (
        entry.state !== 'ready' ||
        before >= this.#settings?.window ||
        this.#handler === undefined ||
        this.#credit === 0
      )
        continue;
      this.#credit--;
      entry.state = 'out';
      entry.token = `t${++this.#tokens}`;
      this.#arm(entry);
      const { token, offset, attempt } = entry;
      list.push({
        token,
        partition: 0,
        offset,
        attempt,
        redrive: 0,
        lane,
        record: { bytes: recordOf(entry.event), timestampMs: 0 },
      });
    }
    if (list.length > 0) this.#handler!.deliver(list);
  }
}

export function eventOf(stream: string, { partition, offset, record }: OutgoingDelivery): CloudEvent {
  const context = { stream, topicId: 'topic', partition, offset, timestampMs: record.timestampMs };
  return recordToEvent(readRecord(record.bytes), context);
}

const laneOf = ({ event }: Entry): string | undefined => eventKey(event);

/** The bytes of a record, without its length prefix. */
function recordOf(event: CloudEvent): Buffer {
  const writer = new RecordWriter();
  writeEventRecord(writer, event, 0, 0);
  let at = 0;
  while (writer.bytes[at]! >= 0x80) at++;
  return Buffer.from(writer.bytes.slice(at + 1, writer.length));
}
