/**
 * The transport to a broker in the same process: no socket, no bytes copied. `openHadron` and the test kit use it; a
 * server's doors show the same services to the world.
 */
import { HadronError } from '@hadron/base/errors';
import type { DeliveryService, DeliverySession, EventStreams, OutgoingDelivery } from '@hadron/broker';
import type {
  AnswerResult,
  OpenSession,
  PublishCall,
  PublishResult,
  SessionListener,
  StreamInfo,
  TailCall,
  TailedEvent,
  Transport,
  TransportDelivery,
  TransportSession,
} from '@hadron/contracts';
import { eventAt } from '@hadron/contracts/events';
import type { ControlPlane } from '@hadron/server/control';
import { closed } from '../errors.ts';
import { Inbox } from '../inbox.ts';
import { withCursors } from '../tail-cursor.ts';
import { onAbort } from '../time.ts';

/**
 * What a broker offers. Asked for with each call: a broker that recovered from a disk failure has new ones.
 *
 * @example
 * ```ts
 * import type { Broker } from '@hadron/broker';
 * import { type BrokerServices, inProcessTransport } from '@hadron/client/in-process';
 * const servicesOf = (broker: Broker): BrokerServices => ({
 *   get events() {
 *     return broker.core.events;
 *   },
 *   get deliveries() {
 *     return broker.core.deliveries;
 *   },
 * });
 * const transportTo = (broker: Broker) => inProcessTransport(servicesOf(broker));
 * ```
 */
export interface BrokerServices {
  readonly events: EventStreams;
  readonly deliveries: DeliveryService;
  /** How records without attributes of their own are seen as events; undefined: as by default. */
  recordSettings?(stream: string): StreamInfo['records'];
}

/**
 * A transport to a broker in the same process. Closing it leaves the broker alone.
 *
 * @example
 * ```ts
 * import { connect } from '@hadron/client';
 * import { type BrokerServices, inProcessTransport } from '@hadron/client/in-process';
 * const open = (services: BrokerServices) => connect({ source: '/shop', transport: inProcessTransport(services) });
 * ```
 */
export function inProcessTransport(services: BrokerServices): Transport {
  return new InProcessTransport(services);
}

/** Records that wait for a reader; above it the broker is asked to pause. */
const TAIL_RECORDS_MAX = 1_000;

class InProcessTransport implements Transport {
  readonly #services: BrokerServices;
  readonly #open = new Set<() => void>();
  /** The routes of the HTTP API, loaded when first asked. */
  #control: Promise<ControlPlane> | undefined;
  #closed = false;

  constructor(services: BrokerServices) {
    this.#services = services;
  }

  async info(stream: string): Promise<StreamInfo> {
    this.#check();
    return this.#services.events.info(stream);
  }

  publish({ stream, events, atomic = false, partition }: PublishCall): Promise<readonly PublishResult[]> {
    return new Promise((resolve, reject) => {
      this.#check();
      this.#services.events.publish(stream, events, { atomic, partition }, (error, results) => {
        if (error === undefined) resolve(results);
        else reject(error);
      });
    });
  }

  async open(call: OpenSession, listener: SessionListener): Promise<TransportSession> {
    this.#check();
    const { deliveries } = this.#services;
    let over = false;
    const end = (error: HadronError | undefined): void => {
      if (over) return;
      over = true;
      this.#open.delete(close);
      listener.ended(error);
    };
    // Nothing is handed out before the session is known: it tells how records are seen.
    const session: DeliverySession = await deliveries.open(
      { ...call, credit: 0, peer: 'in process' },
      {
        deliver: (out) => over || listener.deliver(out.map((one) => deliveryOf(one, session.stream))),
        withdrawn: (tokens) => over || listener.withdrawn(tokens),
        ended: end,
      },
    );
    const close = (): void => {
      if (over) return;
      session.close();
      end(undefined);
    };
    if (this.#closed) close();
    else {
      this.#open.add(close);
      session.credit(call.credit);
    }
    return {
      settings: session.settings,
      credit: (count) => over || session.credit(count),
      answer: (items) =>
        new Promise<readonly AnswerResult[]>((resolve, reject) => {
          if (over) reject(new HadronError('CONNECTION_FAILED', 'the session has ended', { effect: 'none' }));
          else session.answer(items, resolve);
        }),
      drain: async () => session.drain(),
      close: async () => close(),
    };
  }

  async *tail({ stream, from, partition, signal, onCursor }: TailCall): AsyncIterable<TailedEvent> {
    this.#check();
    const { events } = this.#services;
    const info = await events.info(stream);
    // The place first: `latest` is somewhere, before there is any event.
    const { cursor: begin } = await events.page(stream, { from, partition }, { records: 0, bytes: 0 });
    onCursor?.(begin);
    const inbox = new Inbox<readonly TailedEvent[]>();
    let waiting = 0;
    const tail = await events.tail(
      stream,
      { from: { cursor: begin }, partition },
      {
        records: (records, cursor) => {
          const read = records.map(({ partition: at, offset, record }) => ({
            partition: at,
            offset,
            timestampMs: record.timestampMs,
            event: eventAt(info, at, offset, record),
          }));
          waiting += records.length;
          if (waiting > TAIL_RECORDS_MAX) tail.pause();
          inbox.push(withCursors(read, cursor, partition));
        },
        ended: (error) => inbox.end(error),
      },
    );
    const stop = (): void => inbox.end(undefined);
    const stopClosed = (): void => inbox.end(closed('client'));
    const forget = onAbort(signal, stop);
    this.#open.add(stopClosed);
    try {
      for await (const batch of inbox) {
        yield* batch;
        if (waiting > TAIL_RECORDS_MAX && waiting - batch.length <= TAIL_RECORDS_MAX) tail.resume();
        waiting -= batch.length;
      }
    } finally {
      this.#open.delete(stopClosed);
      forget();
      tail.close();
    }
  }

  async request(method: string, path: string, body?: unknown): Promise<unknown> {
    this.#check();
    this.#control ??= import('@hadron/server/control').then(({ controlPlane }) => controlPlane(this.#services));
    return (await this.#control)(method, path, body);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const close of [...this.#open]) close();
  }

  #check(): void {
    if (this.#closed) throw closed('transport');
  }
}

function deliveryOf(one: OutgoingDelivery, stream: StreamInfo): TransportDelivery {
  const { token, partition, offset, attempt, redrive, lane, record } = one;
  const event = eventAt(stream, partition, offset, record);
  return { token, partition, offset, attempt, redrive, lane, event, timestampMs: record.timestampMs };
}
