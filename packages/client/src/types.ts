/** What users of the SDK see of publishing and consuming. Durations are {@link Duration}s; moments are Dates or RFC 3339. */
import type { HadronError } from '@hadron/base/errors';
import type { CloudEvent, DeliveryPolicy, Filter, Ordering, Start } from '@hadron/contracts';
import type { Duration } from './duration.ts';

/**
 * Data by event type. Without a definition of one's own: any type, any data. A stream without schemas can be given a type or
 * an interface of one's own, which should not extend this one: it would allow any other type of event too.
 *
 * @example
 * ```ts
 * import { connect, type EventMap, type Stream } from '@hadron/client';
 * interface Orders {
 *   readonly 'order.placed': { readonly id: string };
 * }
 * await connect({ source: '/shop' }).stream<Orders>('orders').publish('order.placed', { id: '7' });
 * const anything: Stream<EventMap> = connect({ source: '/shop' }).stream('orders');
 * await anything.publish('no.questions.asked', 7);
 * ```
 */
export type EventMap = Readonly<Record<string, unknown>>;

/**
 * Everything about an event but its type and data. All optional.
 *
 * @example
 * ```ts
 * import { connect, type PublishOptions } from '@hadron/client';
 * const options: PublishOptions = { subject: 'order-7', delay: '15m', attributes: { tenant: 'acme' } };
 * await connect({ source: '/shop' }).stream('orders').publish('order.reminder', { id: '7' }, options);
 * ```
 */
export interface PublishOptions {
  /** What the event is about. Events of one subject keep their order, unless `partitionkey` says otherwise. */
  readonly subject?: string | undefined;
  /** Events of one key keep their order and lie in one partition. Default: the subject. */
  readonly partitionkey?: string | undefined;
  /** Unique within the source. Default: a random UUID. */
  readonly id?: string | undefined;
  /** Default: the client's. */
  readonly source?: string | undefined;
  /** When it happened. Default: now. */
  readonly time?: Date | string | undefined;
  /** Groups get it no sooner than this. */
  readonly deliverAt?: Date | string | undefined;
  /** The same, counted from now. */
  readonly delay?: Duration | undefined;
  /** Groups that have not got it by then never do. */
  readonly expiresAt?: Date | string | undefined;
  /** Default: `application/json`, `text/plain` never by itself; for bytes none. */
  readonly datacontenttype?: string | undefined;
  readonly dataschema?: string | undefined;
  /** Further attributes: lower-case letters and digits as names. */
  readonly attributes?: Readonly<Record<string, string | number | boolean>> | undefined;
  /** Exactly this partition. Default: by key; without one, any. */
  readonly partition?: number | undefined;
  /** Gives up waiting. The event may have been published all the same: the error's `happened` says so. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Where an event lies, durably.
 *
 * @example
 * ```ts
 * import { connect, type Published } from '@hadron/client';
 * const at: Published = await connect({ source: '/shop' }).stream('orders').publish('order.paid', { id: '7' });
 * console.log(`${at.id} is at ${at.partition}/${at.offset}`);
 * ```
 */
export interface Published {
  readonly id: string;
  readonly partition: number;
  readonly offset: number;
}

/**
 * An event of `publishMany`.
 *
 * @example
 * ```ts
 * import { connect, type EventToPublish } from '@hadron/client';
 * type Orders = { 'order.placed': { id: string } };
 * const events: EventToPublish<Orders>[] = [{ type: 'order.placed', data: { id: '7' }, subject: '7' }];
 * await connect({ source: '/shop' }).stream<Orders>('orders').publishMany(events);
 * ```
 */
export type EventToPublish<In extends EventMap = EventMap> = {
  readonly [T in keyof In & string]: Omit<PublishOptions, 'partition' | 'signal'> & {
    readonly type: T;
  } & (undefined extends In[T] ? { readonly data?: In[T] } : { readonly data: In[T] });
}[keyof In & string];

/**
 * How many events are published.
 *
 * @example
 * ```ts
 * import { connect, type PublishManyOptions } from '@hadron/client';
 * const together: PublishManyOptions = { atomic: true, signal: AbortSignal.timeout(5_000) };
 * await connect({ source: '/shop' }).stream('orders').publishMany([{ type: 'a' }, { type: 'b' }], together);
 * ```
 */
export interface PublishManyOptions {
  /** All or none, and visible together; not for more than fits one call (1 MiB). Default false. */
  readonly atomic?: boolean | undefined;
  /** All to exactly this partition. Default: each by its key. */
  readonly partition?: number | undefined;
  /** Stops taking events and gives up waiting. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * An event, as a handler gets it.
 *
 * @example
 * ```ts
 * import { connect, type Message } from '@hadron/client';
 * const log = (m: Message): void => console.log(m.type, m.subject, `attempt ${m.attempt}`, m.data);
 * await connect({ source: '/log' }).stream('orders').run({ group: 'log' }, log);
 * ```
 */
export interface Message<T extends string = string, D = unknown> {
  readonly id: string;
  readonly source: string;
  readonly type: T;
  /** JSON data parsed, text as a string, anything else as bytes; undefined where there is none. With a schema: its output. */
  readonly data: D;
  readonly subject: string | undefined;
  /** When it happened, as the producer says. */
  readonly time: Date | undefined;
  /** All attributes but id, source, type and specversion, as canonical strings. */
  readonly attributes: ReadonlyMap<string, string>;
  /** The event as it travelled, with its data as bytes. */
  readonly event: CloudEvent;
  readonly partition: number;
  readonly offset: number;
  /** When it was stored (or produced, as the stream is configured). */
  readonly timestamp: Date;
  /** 1 for the first. */
  readonly attempt: number;
  /** 0, or how often it has been given back from the dead letters. */
  readonly redrive: number;
  /** Aborts when this delivery is lost: taken back, timed out, or the connection is gone. Somebody else will get the event. */
  readonly signal: AbortSignal;
}

/**
 * A message that is answered by hand. Each answer's promise resolves when it is durable.
 *
 * @example
 * ```ts
 * import { connect, type ManualMessage } from '@hadron/client';
 * const handle = async (m: ManualMessage): Promise<void> => {
 *   await m.extend(); // the time-out begins anew
 *   if (m.attempt > 3) await m.term('three times is enough');
 *   else await m.nack('not yet', { retryIn: '5s' });
 * };
 * for await (const m of connect({ source: '/x' }).stream('orders').consume({ group: 'by-hand' })) await handle(m);
 * ```
 */
export interface ManualMessage<T extends string = string, D = unknown> extends Message<T, D> {
  /** Done. @throws STALE_DELIVERY somebody else has it by now; ALREADY_SETTLED */
  ack(): Promise<void>;
  /** Again, after `retryIn` or the group's back-off. @throws as {@link ack} */
  nack(reason?: string, options?: { readonly retryIn?: Duration }): Promise<void>;
  /** Never again: to the dead letters. @throws as {@link ack} */
  term(reason?: string): Promise<void>;
  /** The time-out begins anew. May be called often. @throws as {@link ack} */
  extend(): Promise<void>;
}

/**
 * The messages of a stream: one type per event type, told apart by `type`.
 *
 * @example
 * ```ts
 * import { connect, type MessageOf } from '@hadron/client';
 * type Orders = { 'order.placed': { id: string }; 'order.paid': { id: string; cents: number } };
 * const handle = (m: MessageOf<Orders>): void => {
 *   if (m.type === 'order.paid') console.log(m.data.cents);
 * };
 * await connect({ source: '/log' }).stream<Orders>('orders').run({ group: 'log' }, handle);
 * ```
 */
export type MessageOf<Out extends EventMap> = { readonly [T in keyof Out & string]: Message<T, Out[T]> }[keyof Out &
  string];
/**
 * As {@link MessageOf}, answered by hand.
 *
 * @example
 * ```ts
 * import { connect, type ManualMessageOf } from '@hadron/client';
 * type Orders = { 'order.placed': { id: string } };
 * const finish = (m: ManualMessageOf<Orders>): Promise<void> => m.ack();
 * for await (const m of connect({ source: '/x' }).stream<Orders>('orders').consume({ group: 'x' })) await finish(m);
 * ```
 */
export type ManualMessageOf<Out extends EventMap> = {
  readonly [T in keyof Out & string]: ManualMessage<T, Out[T]>;
}[keyof Out & string];

/**
 * Handles one event. Returning is an ack, throwing a nack with the error's message; see {@link Terminal} and {@link Retry}.
 *
 * @example
 * ```ts
 * import { connect, type Handler, Terminal } from '@hadron/client';
 * const mail: Handler<'order.placed', { to?: string }> = (m) => {
 *   if (m.data.to === undefined) throw new Terminal('no address');
 * };
 * await connect({ source: '/mail' }).stream<{ 'order.placed': { to?: string } }>('orders').run({ group: 'mail' }, { 'order.placed': mail });
 * ```
 */
export type Handler<T extends string = string, D = unknown> = (message: Message<T, D>) => unknown;

/**
 * A handler for each type. `'*'` gets the types that nobody named.
 *
 * @example
 * ```ts
 * import { connect, type Handlers, ignore } from '@hadron/client';
 * type Orders = { 'order.placed': { id: string }; 'order.paid': { id: string } };
 * const handlers: Handlers<Orders> = {
 *   'order.placed': (m) => console.log(m.data.id),
 *   'order.paid': ignore,
 *   '*': (m) => console.log('new here:', m.type),
 * };
 * await connect({ source: '/log' }).stream<Orders>('orders').run({ group: 'log' }, handlers);
 * ```
 */
export type Handlers<Out extends EventMap> = { readonly [T in keyof Out & string]: Handler<T, Out[T]> } & {
  readonly '*'?: Handler;
};

/**
 * Settings of the group. They are fixed when it is created; other values for one that exists are refused.
 *
 * @example
 * ```ts
 * import { connect, type GroupOptions } from '@hadron/client';
 * const mail: GroupOptions = { group: 'mail', filter: { prefix: { type: 'order.' } }, start: 'latest' };
 * await connect({ source: '/mail' }).stream('orders').run(mail, (m) => console.log(m.type));
 * ```
 */
export interface GroupOptions {
  /** Its name. Consumers of one group share the events; every group gets all of them. */
  readonly group: string;
  /** `key`: events of one key one after another (default). `partition`: all of a partition. `none`: all at once. */
  readonly ordering?: Ordering | undefined;
  /** Only these events. All must be true. Default: every event. */
  readonly filter?: Filter | readonly Filter[] | undefined;
  /** Where a new group begins. Default `beginning`; a group that is not durable: `latest`. */
  readonly start?: 'beginning' | 'latest' | Date | Start | undefined;
  /** Default true. Otherwise it is gone with its last consumer. */
  readonly durable?: boolean | undefined;
  /** Time-out, back-off, attempts, dead letters. */
  readonly policy?: PolicyOptions | undefined;
  /** Events of one lane that may be out at once. Default 1; ordering `partition`: 32. */
  readonly window?: number | undefined;
}

/**
 * What happens to a delivery that does not end well: a part of the group's settings.
 *
 * @example
 * ```ts
 * import { connect, type PolicyOptions } from '@hadron/client';
 * const policy: PolicyOptions = { timeout: '1m', backoff: ['1s', '10s', '5m'], maxDeliveries: 5 };
 * await connect({ source: '/mail' }).stream('orders').run({ group: 'mail', policy }, (m) => console.log(m.type));
 * ```
 */
export interface PolicyOptions {
  /** A delivery without an answer for so long has failed. Default 30 s. */
  readonly timeout?: Duration | undefined;
  /** Waits before the next attempts; the last repeats; ±20 %. Default 0.2, 1, 5, 30, 120 s. */
  readonly backoff?: readonly Duration[] | undefined;
  /** After so many attempts it is a dead letter; 0 = never. Default 10. */
  readonly maxDeliveries?: number | undefined;
  /** Where dead letters go. Default `{stream}.dead`. */
  readonly deadLetterStream?: DeliveryPolicy['deadLetterStream'];
}

/**
 * What both ways of consuming share.
 *
 * @example
 * ```ts
 * import { connect, type ConsumeOptions } from '@hadron/client';
 * const options: ConsumeOptions = { group: 'mail', signal: AbortSignal.timeout(60_000), onError: (e) => console.error(e.message) };
 * for await (const m of connect({ source: '/mail' }).stream('orders').consume(options)) await m.ack();
 * ```
 */
export interface ConsumeOptions extends GroupOptions {
  /** Events that may be in hand at once. Default 1 for `run`, 100 for `consume`. */
  readonly concurrency?: number | undefined;
  /** Ends the consumer: `run` lets handlers finish, `consume` gives back what is not answered. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Data that does not fit its schema: `term` makes it a dead letter at once, `nack` tries again by the back-off.
   * Default `term`: the same bytes will not fit later; after a fixed release `hadron dlq redrive` gives them again.
   */
  readonly invalid?: 'term' | 'nack' | undefined;
  /**
   * Told of connections lost, and of events that a handler failed or whose answer came too late. One that throws ends the
   * consumer with what it threw.
   */
  readonly onError?: ((error: HadronError, message?: Message) => void) | undefined;
}

/**
 * How events are handled by `run`.
 *
 * @example
 * ```ts
 * import { connect, type RunOptions } from '@hadron/client';
 * const options: RunOptions = { group: 'video', concurrency: 4, maxProcessing: '2h', drainOnSigterm: false };
 * await connect({ source: '/video' }).stream('uploads').run(options, (m) => console.log(m.subject));
 * ```
 */
export interface RunOptions extends ConsumeOptions {
  /**
   * A handler may take this long in all; the delivery is extended for it meanwhile, and given back a second (of short times,
   * a sixth) before the end. Default 10 minutes.
   */
  readonly maxProcessing?: Duration | undefined;
  /** Finish what is in hand and stop on SIGTERM, then let the process end. Node only. Default true. */
  readonly drainOnSigterm?: boolean | undefined;
}

/**
 * Where a tail begins and ends.
 *
 * @example
 * ```ts
 * import { connect, type TailOptions } from '@hadron/client';
 * const sinceNoon: TailOptions = { from: new Date('2026-01-02T12:00:00Z'), partition: 0 };
 * for await (const m of connect({ source: '/x' }).stream('orders').tail(sinceNoon)) console.log(m.type);
 * ```
 */
export interface TailOptions {
  /** Where to begin. Default `latest`. An offset needs `partition` where the stream has several. */
  readonly from?: 'beginning' | 'latest' | Date | { readonly offset: number } | { readonly cursor: string } | undefined;
  /** Default: all. */
  readonly partition?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * An event read without a group: nothing is answered, nothing remembered.
 *
 * @example
 * ```ts
 * import { connect, type TailedMessage } from '@hadron/client';
 * let last: TailedMessage | undefined;
 * for await (const m of connect({ source: '/x' }).stream('orders').tail()) {
 *   last = m;
 *   break;
 * }
 * const goOn = last === undefined ? {} : { from: { cursor: last.cursor } };
 * ```
 */
export interface TailedMessage<T extends string = string, D = unknown>
  extends Omit<Message<T, D>, 'attempt' | 'redrive' | 'signal'> {
  /** Goes on behind this event: `tail({ from: { cursor } })`. */
  readonly cursor: string;
}
