/** The services behind the door, in memory: durable when the test says so, deliveries by hand. */
import { HadronError } from '@hadron/base';
import type {
  AnswerItem,
  DeliverySession,
  OpenRequest,
  OutgoingDelivery,
  PartitionBatch,
  SessionHandler,
  TailFrom,
  TailListener,
} from '@hadron/broker';
import {
  type AnswerResult,
  type CloudEvent,
  DEFAULT_POLICY,
  type GroupSettings,
  type PublishResult,
  type StreamInfo,
} from '@hadron/contracts';
import type { RpcServices } from '../services.ts';

type Core = ReturnType<RpcServices['ask']>;
type RpcEvents = Core['events'];

/** Publishes count up offsets per partition; `hold` keeps them from being durable. */
export class MemoryEvents implements RpcEvents {
  readonly published: CloudEvent[] = [];
  readonly tails: { from: TailFrom; listener: TailListener; paused: boolean; closed: boolean }[] = [];
  /** Where pages began. */
  readonly pages: TailFrom[] = [];
  hold = false;
  private held: (() => void)[] = [];
  private next = 0;

  info(stream: string): Promise<{ name: string; topicId: string; partitions: number }> {
    if (stream === 'none') return Promise.reject(new HadronError('TOPIC_NOT_FOUND', 'there is no stream none'));
    return Promise.resolve({ name: stream, topicId: `id-${stream}`, partitions: 3 });
  }

  publish(
    stream: string,
    events: readonly CloudEvent[],
    options: { partition?: number | undefined },
    done: (error: HadronError | undefined, results: readonly PublishResult[]) => void,
  ): void {
    if (stream === 'none') {
      done(new HadronError('TOPIC_NOT_FOUND', 'there is no stream none'), []);
      return;
    }
    const results = events.map((event) => {
      this.published.push(event);
      return { partition: options.partition ?? 0, offset: this.next++ };
    });
    this.whenDurable(() => done(undefined, results));
  }

  publishBatch(
    stream: string,
    _partition: number,
    batch: Buffer,
    done: (error: HadronError | undefined, baseOffset: number) => void,
  ): void {
    if (stream === 'none') throw new HadronError('TOPIC_NOT_FOUND', 'there is no stream none');
    if (batch.length < 3) {
      done(new HadronError('CORRUPT_DATA', 'not a batch'), 0);
      return;
    }
    const base = this.next;
    this.next += batch.length;
    this.whenDurable(() => done(undefined, base));
  }

  publishBatches(
    stream: string,
    batches: readonly PartitionBatch[],
    done: (error: HadronError | undefined, baseOffsets: readonly number[]) => void,
  ): void {
    if (stream === 'none') throw new HadronError('TOPIC_NOT_FOUND', 'there is no stream none');
    if (batches.length === 0) {
      done(new HadronError('REQUEST_INVALID', 'a set has record batches'), []);
      return;
    }
    const offsets = batches.map(({ batch }) => (this.next += batch.length) - batch.length);
    this.whenDurable(() => done(undefined, offsets));
  }

  newProducer(): Promise<{ id: number; epoch: number }> {
    return Promise.resolve({ id: 2 ** 40, epoch: 0 });
  }

  page(stream: string, from: TailFrom): ReturnType<RpcEvents['page']> {
    if (stream === 'none') return Promise.reject(new HadronError('TOPIC_NOT_FOUND', 'there is no stream none'));
    this.pages.push(from);
    return Promise.resolve({ records: [], cursor: 'begin', atEnd: true });
  }

  tail(stream: string, from: TailFrom, listener: TailListener): ReturnType<Core['events']['tail']> {
    if (stream === 'none') return Promise.reject(new HadronError('TOPIC_NOT_FOUND', 'there is no stream none'));
    const tail = { from, listener, paused: false, closed: false };
    this.tails.push(tail);
    return Promise.resolve({
      pause: () => void (tail.paused = true),
      resume: () => void (tail.paused = false),
      close: () => void (tail.closed = true),
    });
  }

  /** Everything held becomes durable, the last one first when `reversed`. */
  sync(reversed: boolean = false): void {
    const { held } = this;
    this.held = [];
    for (const done of reversed ? held.reverse() : held) done();
  }

  get heldCount(): number {
    return this.held.length;
  }

  private whenDurable(done: () => void): void {
    if (this.hold) this.held.push(done);
    else setImmediate(done);
  }
}

const SETTINGS: GroupSettings = {
  durable: true,
  start: { from: 'beginning' },
  ordering: 'key',
  window: 1,
  filters: [],
  policy: DEFAULT_POLICY,
  rateLimit: undefined,
  holdRetention: false,
};

/** A session that does what the test says, and remembers what it was told. */
export class MemorySession implements DeliverySession {
  readonly id = 's1';
  readonly stream: StreamInfo;
  readonly settings = SETTINGS;
  readonly request: OpenRequest;
  readonly handler: SessionHandler;
  readonly answers: AnswerItem[] = [];
  /** Ways in which it ended: close, lost. */
  readonly ends: string[] = [];
  available: number;
  drained = false;
  /** Where there is one, verdicts are durable when the test says so. */
  held: (() => void)[] | undefined;
  private made = 0;

  constructor(request: OpenRequest, handler: SessionHandler) {
    this.request = request;
    this.handler = handler;
    this.available = request.credit;
    this.stream = { name: request.stream, topicId: `id-${request.stream}`, partitions: 3 };
  }

  credit(count: number): void {
    this.available = Math.max(0, this.available + count);
  }

  answer(items: readonly AnswerItem[], done: (results: readonly AnswerResult[]) => void): void {
    this.answers.push(...items);
    const results = items.map(
      ({ token }): AnswerResult =>
        token.startsWith('stale')
          ? { ok: false, code: 'STALE_DELIVERY', message: 'given to somebody else' }
          : { ok: true },
    );
    if (this.held !== undefined) this.held.push(() => done(results));
    else setImmediate(() => done(results));
  }

  drain(): void {
    this.drained = true;
  }

  close(): void {
    this.ends.push('close');
  }

  lost(): void {
    this.ends.push('lost');
  }

  /** Hands out up to `count`, as far as there is credit. @returns how many */
  handOut(count: number, record: Buffer = Buffer.from('record'), more: Partial<OutgoingDelivery> = {}): number {
    const deliveries = Array.from({ length: Math.min(count, this.available) }, (): OutgoingDelivery => {
      const offset = this.made++;
      return {
        token: `token-${offset}`,
        partition: 0,
        offset,
        attempt: 1,
        redrive: 0,
        lane: undefined,
        record: { bytes: record, timestampMs: 1 },
        ...more,
      };
    });
    this.available -= deliveries.length;
    if (deliveries.length > 0) this.handler.deliver(deliveries);
    return deliveries.length;
  }
}

export class MemoryDeliveries implements Pick<Core['deliveries'], 'open'> {
  readonly sessions: MemorySession[] = [];
  /** Sessions wait for this before they are open. */
  gate: Promise<void> = Promise.resolve();
  refusal: HadronError | undefined;

  async open(request: OpenRequest, handler: SessionHandler): Promise<DeliverySession> {
    await this.gate;
    if (request.stream === 'none') throw new HadronError('TOPIC_NOT_FOUND', 'there is no stream none');
    if (this.refusal !== undefined) throw this.refusal;
    const session = new MemorySession(request, handler);
    this.sessions.push(session);
    return session;
  }
}
