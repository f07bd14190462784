/** One stream, as a client publishes to it and reads it. */
import type { Clock, Random } from '@hadron/base';
import { HadronError } from '@hadron/base/errors';
import type { CloudEvent, TailCall, Transport } from '@hadron/contracts';
import type { CloudEventInit } from '@hadron/contracts/events';
import { canReconnect, Consumer, type Held } from './consumer.ts';
import { milliseconds } from './duration.ts';
import { asHadronError } from './errors.ts';
import { groupRequest } from './group-settings.ts';
import { type Handling, handle, type Outcome } from './handle.ts';
import { AnswerableMessage, dataOf, type SchemaOf, TailMessage } from './message.ts';
import { checkPartition, givenUp, type Publisher } from './publisher.ts';
import { check } from './schema.ts';
import type { PublishSpan, Telemetry } from './telemetry.ts';
import { newId, onAbort, retryDelayMs, sleep } from './time.ts';
import type {
  ConsumeOptions,
  EventMap,
  EventToPublish,
  Handler,
  Handlers,
  ManualMessageOf,
  Message,
  MessageOf,
  Published,
  PublishManyOptions,
  PublishOptions,
  RunOptions,
  TailedMessage,
  TailOptions,
} from './types.ts';

/** What a stream needs of its client. */
export interface StreamHost {
  readonly source: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly publisher: Publisher;
  readonly telemetry: Telemetry | undefined;
  readonly makeEvent: (init: CloudEventInit) => CloudEvent;
  readonly connectTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** Those that are drained and closed with the client, and at SIGTERM if they want. @returns takes it off the list */
  readonly adopt: (consumer: Consumer, drainOnSigterm: boolean) => () => void;
}

type DataArguments<D, Options> = undefined extends D ? [data?: D, options?: Options] : [data: D, options?: Options];

/** Results of `publishMany` that are waited for at a time, beyond the publisher's own bound. */
const MANY_AT_ONCE = 10_000;

/**
 * A stream: made by `client.stream(name)`. Nothing is sent before it is used.
 *
 * @example
 * ```ts
 * import { connect, type Stream } from '@hadron/client';
 * type Orders = { 'order.placed': { id: string; total: number } };
 * const orders: Stream<Orders> = connect({ source: '/shop' }).stream<Orders>('orders');
 * await orders.publish('order.placed', { id: '7', total: 12 });
 * ```
 */
export class Stream<In extends EventMap = EventMap, Out extends EventMap = In> {
  readonly name: string;
  readonly #host: StreamHost;
  readonly #schemaOf: SchemaOf;

  /** @internal */
  constructor(name: string, host: StreamHost, schemaOf: SchemaOf) {
    this.name = name;
    this.#host = host;
    this.#schemaOf = schemaOf;
  }

  /**
   * Publishes an event. Resolves when it is durable. Events published meanwhile travel together; where the queue is full
   * it waits for room first. Tries again by itself, with the same identity, until the client's `publishTimeout`.
   *
   * @throws HadronError EVENT_INVALID with the path in `field`; EVENT_TOO_LARGE; TOPIC_NOT_FOUND; TIMED_OUT and others
   * when the time is up: `happened` says whether it may have been stored
   * @example
   * ```ts
   * import { connect } from '@hadron/client';
   * const orders = connect({ source: '/shop' }).stream('orders');
   * const { partition, offset } = await orders.publish('order.placed', { id: '7', total: 12 }, { subject: '7' });
   * await orders.publish('order.reminder', { id: '7' }, { subject: '7', delay: '15m' });
   * ```
   */
  async publish<T extends keyof In & string>(
    type: T,
    ...[data, options = {}]: DataArguments<In[T], PublishOptions>
  ): Promise<Published> {
    checkPartition(options.partition);
    const valid = this.#checked(type, data);
    if (valid !== undefined) await valid;
    const { event, span } = this.#make(type, data, options);
    const { partition, signal } = options;
    try {
      const [published] = await this.#host.publisher.publish(this.name, [event], { partition, signal });
      span?.end();
      return published as Published;
    } catch (error) {
      span?.end(error);
      throw error;
    }
  }

  /**
   * Publishes many events, from a list or anything that can be iterated. Takes no more from the source than there is room
   * for. Resolves when all are durable, with their positions in order.
   *
   * @throws HadronError the first failure. Without `atomic` others of the events may be stored
   * @example
   * ```ts
   * import { connect } from '@hadron/client';
   * const orders = connect({ source: '/shop' }).stream('orders');
   * await orders.publishMany(
   *   [
   *     { type: 'order.placed', data: { id: '7' }, subject: '7' },
   *     { type: 'order.paid', data: { id: '7' }, subject: '7' },
   *   ],
   *   { atomic: true },
   * );
   * ```
   */
  async publishMany(
    events: Iterable<EventToPublish<In>> | AsyncIterable<EventToPublish<In>>,
    options: PublishManyOptions = {},
  ): Promise<readonly Published[]> {
    const { publisher } = this.#host;
    const { atomic = false, partition, signal } = options;
    checkPartition(partition);
    if (atomic) {
      const all: CloudEvent[] = [];
      for await (const event of events) all.push(await this.#eventOf(event));
      return all.length === 0 ? [] : publisher.publish(this.name, all, { partition, atomic, signal });
    }
    const published: Published[] = [];
    let failed: HadronError | undefined;
    let pending: Promise<unknown>[] = [];
    let index = 0;
    const source = signal !== undefined && Symbol.asyncIterator in events ? untilAborted(events, signal) : events;
    for await (const event of source) {
      if (failed !== undefined) break;
      const room = publisher.room(signal);
      if (room !== undefined) await room;
      const at = index++;
      const made = await this.#eventOf(event);
      pending.push(
        publisher.publish(this.name, [made], { partition, signal }).then(
          ([result]) => {
            published[at] = result as Published;
          },
          (error: unknown) => {
            failed ??= asHadronError(error);
          },
        ),
      );
      if (pending.length >= MANY_AT_ONCE) {
        await Promise.all(pending);
        pending = [];
      }
    }
    await Promise.all(pending);
    if (signal?.aborted === true && source !== events) failed ??= givenUp(signal, index > 0);
    if (failed !== undefined) throw failed;
    return published;
  }

  /**
   * Publishes events, at least one, as they are, with the identity, time and data that they have: what was read elsewhere goes on from
   * here. Resolves when all are durable, with their positions in order. One that is refused fails the call: where the end of
   * each matters, call it for each; they travel together all the same.
   *
   * @throws HadronError as {@link publish}. Without `atomic` others of the events may be stored
   * @example
   * ```ts
   * import { connect } from '@hadron/client';
   * const client = connect({ source: '/copy' });
   * for await (const m of client.stream('orders').tail({ from: 'beginning' })) {
   *   await client.stream('orders.copy').publishEvents([m.event]);
   * }
   * ```
   */
  async publishEvents(events: readonly CloudEvent[], options: PublishManyOptions = {}): Promise<readonly Published[]> {
    checkPartition(options.partition);
    return this.#host.publisher.publish(this.name, events, options);
  }

  /**
   * Handles the events of a group until it is stopped: by `signal`, by SIGTERM, by `client.drain()`. Then it resolves, when
   * the handlers that were at work have ended and their answers are durable.
   *
   * A handler that returns acknowledges its event; one that throws has it delivered again after the group's back-off, and
   * in the end to the dead letters ({@link Terminal}: at once; `{ retryIn }`: after that time). While it works its delivery
   * is extended. Events of one key come one after another. Connections are made again by themselves.
   *
   * With a definition of events there must be a handler for every type; `ignore` is one. Events of types that nobody named
   * go to `'*'`, or without that to the dead letters.
   *
   * @throws HadronError GROUP_SETTINGS_DIFFER: the group exists with other settings; TOPIC_NOT_FOUND; CONNECTION_FAILED
   * where no server answers within the client's `connectTimeout` at the start. What `onError` throws, when all is drained
   * @example
   * ```ts
   * import { connect, defineEvents, ignore } from '@hadron/client';
   * import { z } from 'zod';
   * const events = defineEvents({
   *   'order.placed': z.object({ id: z.string() }),
   *   'order.paid': z.object({ id: z.string() }),
   * });
   * const orders = connect({ source: '/mail' }).stream('orders', events);
   * await orders.run({ group: 'mail', concurrency: 20 }, {
   *   'order.placed': async (m) => {
   *     await fetch(`https://mail.example/${m.data.id}`, { method: 'POST', signal: m.signal });
   *   },
   *   'order.paid': ignore,
   * });
   * ```
   */
  async run(options: RunOptions, handlers: Handlers<Out> | ((message: MessageOf<Out>) => unknown)): Promise<void> {
    const host = this.#host;
    const { group, concurrency = 1, invalid = 'term', signal, onError } = options;
    positive(concurrency, 'concurrency');
    const byType = new Map(
      typeof handlers === 'function' ? [] : Object.entries(handlers as Readonly<Record<string, Handler>>),
    );
    const otherwise = typeof handlers === 'function' ? (handlers as unknown as Handler) : byType.get('*');
    const handling: Handling = {
      stream: this.name,
      group,
      handlerOf: (type) => byType.get(type) ?? otherwise,
      schemaOf: this.#schemaOf,
      invalid,
      telemetry: host.telemetry,
    };
    // One that tells errors and fails itself ends all, loudly; never a slot or a promise without an end.
    let untold: { readonly error: unknown } | undefined;
    const failed = (error: unknown): void => {
      untold ??= { error };
      void consumer.drain(host.drainTimeoutMs);
    };
    const tell = (error: HadronError, message?: Message): void => {
      try {
        const told: unknown = onError?.(error, message);
        if (told instanceof Promise) told.catch(failed);
      } catch (thrown) {
        failed(thrown);
      }
    };
    const work = async (held: Held): Promise<void> => {
      const { verdict, error, message }: Outcome = await handle(held, handling);
      // A handler that failed because its delivery was lost has nothing to say; one that managed all the same may try.
      if (held.lost !== undefined && verdict.kind !== 'ack') return consumer.release(held);
      if (error !== undefined) tell(error, message);
      try {
        await consumer.settle(held, verdict);
      } catch (late) {
        tell(asHadronError(late), message);
      }
    };
    const consumer = this.#consumer(
      { ...options, onError: tell },
      {
        room: (occupied) => concurrency - occupied,
        ready: (held) => void work(held),
        extends: true,
      },
    );
    const dismiss = host.adopt(consumer, options.drainOnSigterm !== false);
    const forget = onAbort(signal, () => void consumer.drain(host.drainTimeoutMs));
    try {
      await consumer.run();
      if (untold !== undefined) throw untold.error;
    } finally {
      forget();
      dismiss();
    }
  }

  /**
   * The events of a group one by one, to be answered by hand. One is asked for when the loop asks for it. Leaving the loop
   * gives back what is not answered and waits for the answers under way.
   *
   * Nothing is extended here: long work calls `m.extend()`.
   *
   * @throws HadronError as {@link run}
   * @example
   * ```ts
   * import { connect } from '@hadron/client';
   * const orders = connect({ source: '/mail' }).stream('orders');
   * for await (const m of orders.consume({ group: 'mail' })) {
   *   try {
   *     console.log(m.type, m.data);
   *     await m.ack();
   *   } catch (error) {
   *     await m.nack(String(error), { retryIn: '10s' });
   *   }
   * }
   * ```
   */
  async *consume(options: ConsumeOptions): AsyncGenerator<ManualMessageOf<Out>, void, undefined> {
    const host = this.#host;
    const { concurrency = 100, invalid = 'term', signal, onError } = options;
    positive(concurrency, 'concurrency');
    const ready: Held[] = [];
    let wanting = false;
    let wake = (): void => undefined;
    const consumer = this.#consumer(options, {
      room: (occupied) => (wanting && ready.length === 0 ? Math.min(1, concurrency - occupied) : 0),
      ready: (held) => {
        ready.push(held);
        wake();
      },
      extends: false,
    });
    let over: { readonly error?: HadronError } | undefined;
    const end = (result: { readonly error?: HadronError }): void => {
      over ??= result;
      wake();
    };
    const dismiss = host.adopt(consumer, false);
    const forget = onAbort(signal, () => end({}));
    if (over === undefined) {
      consumer.run().then(
        () => end({}),
        (error: unknown) => end({ error: asHadronError(error) }),
      );
    }
    try {
      while (over === undefined) {
        const held = ready.shift();
        if (held === undefined) {
          const woken = new Promise<void>((resolve) => {
            wake = resolve;
          });
          wanting = true;
          consumer.changed();
          await woken;
          wanting = false;
        } else if (held.lost !== undefined) consumer.release(held);
        else {
          let data: unknown;
          try {
            data = await dataOf(held.delivery.event, this.#schemaOf);
          } catch (thrown) {
            const error = asHadronError(thrown);
            onError?.(error);
            consumer.settle(held, { kind: invalid, reason: error.message }).catch(() => undefined);
            continue;
          }
          yield new AnswerableMessage(consumer, held, data) as ManualMessageOf<Out>;
        }
      }
      if (over.error !== undefined) throw over.error;
    } finally {
      forget();
      dismiss();
      await consumer.stop(host.drainTimeoutMs);
    }
  }

  /**
   * Reads events without a group: nothing is answered and nothing remembered. Goes on after lost connections where it was.
   * Ends when `signal` aborts or the client closes.
   * Data that does not fit its schema throws when `data` is read, not before.
   *
   * @throws HadronError TOPIC_NOT_FOUND, OFFSET_OUT_OF_RANGE
   * @example
   * ```ts
   * import { connect } from '@hadron/client';
   * const orders = connect({ source: '/screen' }).stream('orders');
   * for await (const m of orders.tail({ from: 'beginning' })) console.log(m.offset, m.type, m.data);
   * ```
   */
  async *tail(
    options: TailOptions = {},
  ): AsyncGenerator<{ [T in keyof Out & string]: TailedMessage<T, Out[T]> }[keyof Out & string], void, undefined> {
    const { transport, clock, random, connectTimeoutMs } = this.#host;
    const { partition, signal } = options;
    checkPartition(partition);
    const start = options.from ?? 'latest';
    let from: TailCall['from'] = start instanceof Date ? { timeMs: start.getTime() } : start;
    let place: { readonly cursor: string } | undefined;
    const onCursor = (cursor: string): void => {
      place = { cursor };
    };
    const isAborted = (): boolean => signal?.aborted === true;
    let failingSinceMs = clock.monotonicMs();
    for (let failures = 0; !isAborted(); ) {
      let error: HadronError | undefined;
      try {
        for await (const tailed of transport.tail({ stream: this.name, from, partition, signal, onCursor })) {
          failures = 0;
          place = tailed;
          yield (await TailMessage.of(tailed, this.#schemaOf)) as never;
        }
      } catch (thrown) {
        error = asHadronError(thrown);
        if (!isAborted() && (!canReconnect(error) || (error.code === 'CLIENT_CLOSED' && place === undefined)))
          throw error;
      }
      if (isAborted() || error?.code === 'CLIENT_CLOSED') return;
      // Inside a batch a cursor costs something: it is asked for here, not with every event.
      if (place !== undefined) from = { cursor: place.cursor };
      const nowMs = clock.monotonicMs();
      if (failures === 0) failingSinceMs = nowMs;
      if (error !== undefined && place === undefined && nowMs - failingSinceMs >= connectTimeoutMs) throw error;
      failures += 1;
      await sleep(clock, retryDelayMs(failures, random), signal);
    }
  }

  #consumer(
    options: ConsumeOptions & Pick<RunOptions, 'maxProcessing'>,
    own: Pick<ConstructorParameters<typeof Consumer>[0], 'room' | 'ready' | 'extends'>,
  ): Consumer {
    const { transport, clock, random, connectTimeoutMs } = this.#host;
    const { onError } = options;
    return new Consumer({
      ...own,
      transport,
      clock,
      random,
      stream: this.name,
      group: options.group,
      settings: groupRequest(options),
      onError: (error) => onError?.(error),
      connectTimeoutMs,
    });
  }

  /** Data that fits, or no schema. @throws HadronError EVENT_INVALID */
  #checked(type: string, data: unknown): Promise<unknown> | undefined {
    const schema = this.#schemaOf(type);
    const result = schema === undefined ? undefined : check(schema, data, type);
    return result instanceof Promise ? result : undefined;
  }

  async #eventOf(event: EventToPublish<In>): Promise<CloudEvent> {
    const { type, data, ...options } = event as PublishOptions & { type: string; data?: unknown };
    const valid = this.#checked(type, data);
    if (valid !== undefined) await valid;
    const made = this.#make(type, data, options);
    made.span?.end(); // made here, sent with others
    return made.event;
  }

  /** Identity and time are fixed here, before the first try. @throws HadronError EVENT_INVALID */
  #make(type: string, data: unknown, options: PublishOptions): { event: CloudEvent; span: PublishSpan | undefined } {
    const { clock, random, telemetry, makeEvent, source: ownSource } = this.#host;
    const {
      id = newId(random),
      source = ownSource,
      time,
      subject,
      partitionkey,
      datacontenttype,
      dataschema,
    } = options;
    const { delay, deliverAt, expiresAt, attributes } = options;
    const nowMs = clock.wallMs();
    if (delay !== undefined && deliverAt !== undefined)
      throw new HadronError('EVENT_INVALID', 'delay or deliverAt, not both', { field: 'delay' });
    const span = telemetry?.publish(this.name, { id, source, type, subject });
    const init = {
      ...span?.attributes,
      ...attributes,
      id,
      source,
      type,
      time: time ?? isoTime(nowMs),
      subject,
      partitionkey,
      datacontenttype,
      dataschema,
      deliverat: delay === undefined ? deliverAt : new Date(nowMs + milliseconds(delay, 'delay')),
      expirytime: expiresAt,
      data,
    };
    try {
      return { event: makeEvent(init), span };
    } catch (error) {
      span?.end(error);
      throw error;
    }
  }
}

/** What a source gives until `signal` aborts, also while it gives nothing: it is told to end, and not waited for. */
async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  const iterator = source[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
        const forget = onAbort(signal, () => resolve(undefined));
        iterator.next().then(resolve, reject).finally(forget);
      });
      ended = next?.done === true;
      if (next === undefined || next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    ended = true;
    throw error;
  } finally {
    if (!ended) iterator.return?.().catch(() => undefined);
  }
}

let lastMs: number;
let lastTime: string;

/** Many events are made in one millisecond, and its text costs as much as all their other attributes. */
const isoTime = (ms: number): string => (ms === lastMs ? lastTime : (lastTime = new Date((lastMs = ms)).toISOString()));

function positive(value: number, what: string): void {
  if (!Number.isInteger(value) || value < 1) throw new TypeError(`${what}: ${value} is no whole number above 0`);
}
