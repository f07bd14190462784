/**
 * The test kit: a broker of one's own for each test, with time that moves by hand, a disk that can be broken, and a record
 * of what was delivered. README.md has the map.
 *
 * Always true: nothing is shared between two of them (tests may run side by side); after `close` no timer, port, file or
 * handler of it is left.
 */
import { HadronError, type Random } from '@hadron/base';
import type { DeliveryService, DeliverySession, OutgoingDelivery, SessionHandler } from '@hadron/broker';
import type { AnswerResult, GroupStatus, Transport, Verdict } from '@hadron/contracts';
import { readRecord, recordToEvent } from '@hadron/contracts/events';
import type { Client, ConnectOptions } from '../client.ts';
import { type Hadron, type OpenHadronOptions, type Opened, open } from '../embedded/open.ts';
import type { BrokerServices } from '../in-process/index.ts';
import type { Published, PublishOptions } from '../types.ts';
import { SeededRandom } from './seeded-random.ts';
import { VirtualClock } from './virtual-clock.ts';

/** As for `openHadron` of `@hadron/client/embedded`; default in memory. */
export interface TestHadronOptions extends Omit<OpenHadronOptions, 'clock' | 'random'> {
  /** `virtual`: time stands still but for `clock.advance`. Default `system`. */
  readonly clock?: 'virtual' | 'system' | undefined;
  /** Where virtual time begins. Default: now. */
  readonly start?: Date | undefined;
  /** For tests. Default: the same in every run, where the clock is virtual and the data in memory; else the machine's. */
  readonly random?: Random | undefined;
}

/** One delivery to a client of this process, and how it was answered. */
export interface Delivered {
  readonly stream: string;
  readonly group: string;
  readonly partition: number;
  readonly offset: number;
  readonly id: string;
  readonly type: string;
  readonly subject: string | undefined;
  readonly attempt: number;
  /** Undefined: not yet. */
  readonly verdict: Verdict['kind'] | undefined;
  /** What a nack or term said. */
  readonly reason: string | undefined;
}

/** A group as a test wants to see it. */
export interface GroupView {
  /** Events acknowledged since the start. */
  readonly acked: number;
  /** Events that went to the dead letters. */
  readonly dead: number;
  /** Events that nobody has settled yet, out or waiting or not read. */
  readonly lag: number;
  /** Events out right now. */
  readonly out: number;
  /** How many deliveries each event took that a client of this process has settled, in the order in which they were. */
  readonly attempts: readonly number[];
  /** Every delivery to clients of this process. */
  readonly deliveries: readonly Delivered[];
}

/** What can be broken. Each holds until it is healed. */
export interface FaultSwitches {
  /** Every write and sync fails, as with a dying disk: publishing is refused, reads go on, and after `heal` it recovers. */
  failDisk(code?: 'EIO' | 'EROFS'): void;
  /** The disk is full: publishing is refused with STORAGE_FULL until `heal`. */
  fillDisk(): void;
  /** Sessions of clients of this process are lost, as if their connections broke; they come back by themselves. */
  dropSessions(): void;
  /** The next calls to publish fail: `lost-request`, nothing was stored; `lost-answer`, the events are stored and nobody was told. */
  failPublish(how: 'lost-request' | 'lost-answer', times?: number): void;
  heal(): void;
}

/**
 * A broker for one test.
 *
 * @example
 * ```ts
 * import { openHadron } from '@hadron/client/testing';
 * await using h = await openHadron({ clock: 'virtual' });
 * const orders = h.connect().stream('orders');
 * await orders.publish('order.placed', { id: '7' });
 * const done = orders.run({ group: 'billing' }, () => {});
 * await h.clock.advance('1s');
 * console.log(h.group('orders', 'billing').acked); // 1
 * await h.close();
 * await done;
 * ```
 */
export interface TestHadron extends Omit<Hadron, 'connect'> {
  /**
   * A client of this broker; closed with it. Where the clock is the system's, handlers that hang are waited for one second
   * (`drainTimeout`) and not thirty: nobody waits for a test that long.
   */
  connect(options?: Partial<Omit<ConnectOptions, 'url' | 'transport'>>): Client;
  /** Its `advance` moves time. @throws TypeError from `advance` where the clock is the system's */
  readonly clock: TestClock;
  readonly faults: FaultSwitches;
  /**
   * Publishes to the one stream that there is, or that a client of this process has spoken of; `stream` names it where
   * there are several.
   */
  publish(type: string, data?: unknown, options?: PublishOptions & { readonly stream?: string }): Promise<Published>;
  /** @throws HadronError GROUP_NOT_FOUND, TOPIC_NOT_FOUND */
  group(stream: string, group: string): GroupView;
  /** Everything the broker knows of a group. */
  describe(stream: string, group: string): GroupStatus;
  /** Ends the broker and opens it again on the same data. Clients connect again by themselves. */
  restart(): Promise<void>;
}

/** The part of the clock that tests use. */
export interface TestClock {
  /** Lets time pass; everything is at rest when it resolves. Durations as `'10m'` or milliseconds. */
  advance: VirtualClock['advance'];
  /** Resolves when everything is at rest, without time passing. */
  settle(): Promise<void>;
  readonly now: Date;
}

const DISK_FULL_BYTES = 1;
/** A handler that has not ended after this much real time is taken to wait for something that only the test can do. */
const HANDLER_PATIENCE_MS = 50;
/** Of clients whose time is real. */
const SYSTEM_DRAIN = '1s';
const SEED = 1;
/** After this much real time without a byte the Kafka port counts as quiet. */
const KAFKA_QUIET_MS = 15;

/** @see openHadron */
export async function openForTest(options: TestHadronOptions = {}): Promise<TestHadron> {
  const { clock: time = 'system', start, memory = options.data === undefined, ...rest } = options;
  const virtual = time === 'virtual' ? new VirtualClock(start?.getTime()) : undefined;
  const watched = new Watch();
  const opened = await open(
    {
      ...rest,
      memory,
      random: options.random ?? (virtual !== undefined && memory ? new SeededRandom(SEED) : undefined),
      ...(virtual === undefined ? {} : { clock: virtual }),
      // Nobody waits for members to gather in a test.
      settings: { 'group.initial.rebalance.delay.ms': '0', ...options.settings },
    },
    { services: (s) => watched.services(s), transport: (t) => watched.transport(t) },
  );
  virtual?.attend(diskActivity(opened));
  virtual?.attend(watched);
  if (opened.kafka !== undefined) virtual?.attend(kafkaActivity(opened));
  let publisher: Client | undefined;

  const hadron: TestHadron = {
    kafka: opened.kafka,
    connect: (connectOptions) =>
      opened.connect({
        source: '/test',
        telemetry: false,
        ...(virtual === undefined ? { drainTimeout: SYSTEM_DRAIN } : {}),
        ...connectOptions,
      }),
    clock: {
      advance(duration) {
        if (virtual !== undefined) return virtual.advance(duration);
        throw new TypeError("time passes by itself here: open with clock: 'virtual' to move it by hand");
      },
      settle: () => virtual?.settle() ?? Promise.resolve(),
      get now() {
        return virtual?.now ?? new Date();
      },
    },
    faults: {
      failDisk: (code = 'EIO') => void (memoryOf(opened).faults.fail = code),
      fillDisk: () => void (memoryOf(opened).faults.capacityBytes = DISK_FULL_BYTES),
      dropSessions: () => watched.dropSessions(),
      failPublish: (how, times = 1) => watched.failPublish(how, times),
      heal() {
        if (opened.disk !== undefined) {
          opened.disk.faults.fail = undefined;
          opened.disk.faults.capacityBytes = undefined;
        }
        watched.heal();
      },
    },
    publish(type, data, { stream = watched.onlyStream(opened), ...publishOptions } = {}) {
      publisher ??= hadron.connect();
      return publisher.stream(stream).publish(type, data, publishOptions);
    },
    describe: (stream, group) => opened.broker.core.deliveries.describe(stream, group),
    group(stream, group) {
      const { counts, partitions } = hadron.describe(stream, group);
      const deliveries = watched.of(stream, group);
      return {
        acked: counts.acked,
        dead: counts.dead,
        lag: partitions.reduce((sum, p) => sum + p.lag, 0),
        out: partitions.reduce((sum, p) => sum + p.out, 0),
        attempts: deliveries.filter((d) => d.verdict === 'ack' || d.verdict === 'term').map((d) => d.attempt),
        deliveries,
      };
    },
    restart: () => opened.restart(),
    async close() {
      // Handlers and clients wait on a clock that nobody moves any more.
      const closing = opened.close();
      if (virtual !== undefined) await passWhile(virtual, closing);
      await closing;
    },
    [Symbol.asyncDispose]: () => hadron.close(),
  };
  return hadron;
}

function memoryOf(opened: Opened): NonNullable<Opened['disk']> {
  if (opened.disk === undefined) throw new TypeError('only a disk in memory can be broken: open with memory: true');
  return opened.disk;
}

/** Lets virtual time pass until `work` ends: draining and time-outs of clients are counted on it. */
async function passWhile(clock: VirtualClock, work: Promise<void>): Promise<void> {
  let over = false;
  const end = (): void => {
    over = true;
  };
  work.then(end, end);
  await clock.settle();
  while (!over) await clock.advance('1s');
}

const diskActivity = (opened: Opened): { count(): number; busy(): boolean } => ({
  count: () => opened.broker.core.shard.stats.writes + opened.broker.core.shard.stats.syncs,
  busy() {
    const { shard } = opened.broker.core;
    return (opened.disk?.pending ?? 0) > 0 || (shard.refusing === undefined && !shard.isDurable(shard.stagedLsn));
  },
});

function kafkaActivity(opened: Opened): { count(): number; busy(): boolean } {
  let seen = -1;
  let movedAt = 0;
  const count = (): number => {
    const metrics = opened.door?.metrics;
    return metrics === undefined ? 0 : metrics.receivedBytes.value + metrics.sentBytes.value;
  };
  return {
    count,
    busy() {
      const bytes = count();
      if (bytes !== seen) {
        seen = bytes;
        movedAt = performance.now();
      }
      return performance.now() - movedAt < KAFKA_QUIET_MS;
    },
  };
}

interface Out {
  readonly sinceMs: number;
  readonly index: number;
}

/** Sees what goes to the clients of this process and back, and can get in its way. */
class Watch {
  private readonly log: Delivered[] = [];
  /** Without an answer yet, by token. */
  private readonly out = new Map<string, Out>();
  private readonly sessions = new Set<{ session: DeliverySession; handler: SessionHandler }>();
  private readonly streams = new Set<string>();
  private happened = 0;
  private failing: { how: 'lost-request' | 'lost-answer'; times: number } | undefined;

  count(): number {
    return this.happened;
  }

  /** Handlers are at work; but not for ever. */
  busy(): boolean {
    const now = performance.now();
    for (const { sinceMs } of this.out.values()) if (now - sinceMs < HANDLER_PATIENCE_MS) return true;
    return false;
  }

  of(stream: string, group: string): readonly Delivered[] {
    return this.log.filter((d) => d.stream === stream && d.group === group);
  }

  /** @throws TypeError when there is none or more than one */
  onlyStream(opened: Opened): string {
    const names = new Set(this.streams);
    for (const { name } of opened.broker.core.eventLog.streams()) {
      if (!name.startsWith('__') && !name.endsWith('.dead')) names.add(name);
    }
    const [only] = names;
    if (only !== undefined && names.size === 1) return only;
    const found = names.size === 0 ? 'there is no stream' : `there are ${[...names].sort().join(', ')}`;
    throw new TypeError(`which stream? ${found}; say publish(type, data, { stream: 'orders' })`);
  }

  failPublish(how: 'lost-request' | 'lost-answer', times: number): void {
    this.failing = { how, times };
  }

  heal(): void {
    this.failing = undefined;
  }

  dropSessions(): void {
    const error = new HadronError('CONNECTION_FAILED', 'the test dropped the connection; it is tried again');
    for (const { session, handler } of [...this.sessions]) {
      session.lost();
      handler.ended(error);
    }
    this.sessions.clear();
    this.happened++;
  }

  transport(inner: Transport): Transport {
    const noted = (stream: string): void => void this.streams.add(stream);
    return {
      info: (stream) => inner.info(stream),
      open: (call, listener) => {
        noted(call.stream);
        return inner.open(call, listener);
      },
      tail: (call) => inner.tail(call),
      request: (method, path, body) => inner.request(method, path, body),
      close: () => inner.close(),
      publish: async (call) => {
        noted(call.stream);
        const failure = this.nextFailure();
        if (failure === 'lost-request') {
          throw new HadronError('CONNECTION_FAILED', 'the test lost the request; try again', { effect: 'none' });
        }
        const results = await inner.publish(call);
        if (failure === 'lost-answer')
          throw new HadronError('CONNECTION_FAILED', 'the test lost the answer; try again');
        return results;
      },
    };
  }

  services(inner: BrokerServices): BrokerServices {
    const opening =
      (deliveries: DeliveryService): DeliveryService['open'] =>
      async (request, handler) => {
        const watching = this.handler(request.stream, request.group, handler);
        return this.session(await deliveries.open(request, watching), watching);
      };
    return {
      get events() {
        return inner.events;
      },
      get deliveries() {
        const { deliveries } = inner;
        return Object.create(deliveries, { open: { value: opening(deliveries) } }) as DeliveryService;
      },
      recordSettings: (stream) => inner.recordSettings?.(stream),
    };
  }

  private handler(stream: string, group: string, inner: SessionHandler): SessionHandler {
    return {
      deliver: (deliveries) => {
        for (const d of deliveries) this.delivered(stream, group, d);
        inner.deliver(deliveries);
      },
      withdrawn: (tokens) => {
        for (const token of tokens) this.out.delete(token);
        this.happened++;
        inner.withdrawn(tokens);
      },
      ended: (error) => {
        this.happened++;
        inner.ended(error);
      },
    };
  }

  private session(inner: DeliverySession, handler: SessionHandler): DeliverySession {
    const entry = { session: inner, handler };
    this.sessions.add(entry);
    const over = (end: () => void): void => {
      this.sessions.delete(entry);
      end();
    };
    return Object.create(inner, {
      answer: {
        value: (
          items: Parameters<DeliverySession['answer']>[0],
          done: (results: readonly AnswerResult[]) => void,
        ): void => {
          inner.answer(items, (results) => {
            items.forEach(({ token, verdict }, i) => {
              if (results[i]?.ok === true && verdict.kind !== 'extend') this.answered(token, verdict);
            });
            done(results);
          });
        },
      },
      credit: { value: (count: number) => inner.credit(count) },
      drain: { value: () => inner.drain() },
      close: { value: () => over(() => inner.close()) },
      lost: { value: () => over(() => inner.lost()) },
    });
  }

  private delivered(stream: string, group: string, d: OutgoingDelivery): void {
    this.happened++;
    const { partition, offset, attempt } = d;
    const { timestampMs } = d.record;
    const event = recordToEvent(readRecord(d.record.bytes), { stream, topicId: '', partition, offset, timestampMs });
    this.out.set(d.token, { sinceMs: performance.now(), index: this.log.length });
    this.log.push({
      ...{ stream, group, partition, offset, attempt },
      id: event.id,
      type: event.type,
      subject: event.attributes.get('subject'),
      verdict: undefined,
      reason: undefined,
    });
  }

  private answered(token: string, verdict: Verdict): void {
    this.happened++;
    const out = this.out.get(token);
    if (out === undefined) return;
    this.out.delete(token);
    this.log[out.index] = {
      ...(this.log[out.index] as Delivered),
      verdict: verdict.kind,
      reason: 'reason' in verdict ? verdict.reason : undefined,
    };
  }

  private nextFailure(): 'lost-request' | 'lost-answer' | undefined {
    const { failing } = this;
    if (failing === undefined || failing.times <= 0) return undefined;
    failing.times--;
    return failing.how;
  }
}
