/** A client: one transport, any number of streams, and an end in good order. */
import type { Clock, Random } from '@hadron/base';
import type { CloudEvent, Transport } from '@hadron/contracts';
import type { CloudEventInit } from '@hadron/contracts/events';
import { Admin } from './admin.ts';
import type { Consumer } from './consumer.ts';
import { type Duration, milliseconds } from './duration.ts';
import { Publisher } from './publisher.ts';
import type { Events, InputOf, OutputOf, StandardSchema } from './schema.ts';
import { Stream, type StreamHost } from './stream.ts';
import type { Telemetry } from './telemetry.ts';
import { clientClock, clientRandom } from './time.ts';
import type { EventMap } from './types.ts';

/**
 * How to reach a server, and what holds for everything done with this client.
 *
 * @example
 * ```ts
 * import { connect, type ConnectOptions } from '@hadron/client';
 * const options: ConnectOptions = { source: '/shop', url: 'http://hadron.internal:7000', publishTimeout: '1m' };
 * const client = connect(options);
 * ```
 */
export interface ConnectOptions {
  /** The `source` of events published here: a URI reference that names this application. */
  readonly source: string;
  /** Default `http://127.0.0.1:7000`. */
  readonly url?: string | undefined;
  /** Sent as `authorization: bearer …`, but not with WebSockets, which cannot carry it. Default: none. */
  readonly token?: string | undefined;
  /**
   * What carries it. `binary`: HTTP/2, default in Node. `http`: fetch and WebSocket, default in browsers. Or one that was
   * made elsewhere: in process, for tests.
   */
  readonly transport?: 'binary' | 'http' | Transport | undefined;
  /** Tries to publish go on for so long. Default 30 s. */
  readonly publishTimeout?: Duration | undefined;
  /** A consumer's first connection must stand within this; later ones are tried for ever. Default 30 s. */
  readonly connectTimeout?: Duration | undefined;
  /** Draining waits so long for handlers. Default 30 s. */
  readonly drainTimeout?: Duration | undefined;
  /** Published and not answered; beyond it `publish` waits for room. Default 16 MiB. */
  readonly maxQueuedBytes?: number | undefined;
  /** Made by `openTelemetry(api)`. Default: in Node, where OpenTelemetry's API is installed, that. `false`: no spans. */
  readonly telemetry?: Telemetry | false | undefined;
  /** For tests with virtual time. */
  readonly clock?: Clock | undefined;
  /** For tests that repeat. */
  readonly random?: Random | undefined;
}

export interface TransportAddress {
  readonly url: string;
  readonly token: string | undefined;
}

/** What differs between Node and browsers. */
export interface Platform {
  readonly transport: (kind: 'binary' | 'http' | undefined, at: TransportAddress) => Transport;
  readonly telemetry: () => Telemetry | undefined;
  /** @throws HadronError EVENT_INVALID. What it lets pass the server judges in the same words */
  readonly makeEvent: (init: CloudEventInit) => CloudEvent;
  /** Calls `drain` when the process is asked to end, and lets it end afterwards. @returns takes it back */
  readonly onTerminate: (drain: () => Promise<void>) => () => void;
}

const DEFAULT_URL = 'http://127.0.0.1:7000';
const QUEUED_BYTES = 16 * 1024 * 1024;

/**
 * A connection to Hadron, made by {@link connect}. Close it, or let `await using` do so.
 *
 * @example
 * ```ts
 * import { connect } from '@hadron/client';
 * await using client = connect({ source: '/shop' });
 * await client.stream('orders').publish('order.placed', { id: '7' });
 * ```
 */
export class Client implements AsyncDisposable {
  /** Groups and dead letters. */
  readonly admin: Admin;
  readonly #host: StreamHost;
  readonly #platform: Platform;
  readonly #consumers = new Set<Consumer>();
  /** Of the consumers that drain at SIGTERM. */
  readonly #terminating = new Set<Consumer>();
  #forgetTerminate: (() => void) | undefined;
  #closed: Promise<void> | undefined;

  /** @internal */
  constructor(options: ConnectOptions, platform: Platform) {
    const { source, url = DEFAULT_URL, token, clock = clientClock, random = clientRandom } = options;
    if (typeof source !== 'string' || source === '')
      throw new TypeError("source: names this application in its events; for example connect({ source: '/shop' })");
    const transport =
      typeof options.transport === 'object' ? options.transport : platform.transport(options.transport, { url, token });
    const { telemetry = platform.telemetry() } = options;
    this.#platform = platform;
    this.#host = {
      source,
      transport,
      clock,
      random,
      publisher: new Publisher(transport, clock, random, {
        queuedBytes: options.maxQueuedBytes ?? QUEUED_BYTES,
        timeoutMs: milliseconds(options.publishTimeout ?? '30s', 'publishTimeout'),
      }),
      telemetry: telemetry === false ? undefined : telemetry,
      makeEvent: platform.makeEvent,
      connectTimeoutMs: milliseconds(options.connectTimeout ?? '30s', 'connectTimeout'),
      drainTimeoutMs: milliseconds(options.drainTimeout ?? '30s', 'drainTimeout'),
      adopt: (consumer, drainOnSigterm) => this.#adopt(consumer, drainOnSigterm),
    };
    this.admin = new Admin(transport);
  }

  /**
   * A stream of this name: typed and checked by `events`, or typed by hand, or not at all. Nothing is sent for it.
   *
   * @example
   * ```ts
   * import { connect } from '@hadron/client';
   * const client = connect({ source: '/shop' });
   * const typed = client.stream<{ 'order.paid': { id: string } }>('orders');
   * await typed.publish('order.paid', { id: '7' });
   * await client.stream('anything').publish('no.questions.asked', [1, 2, 3]);
   * ```
   */
  stream<S extends Readonly<Record<string, StandardSchema<unknown, unknown>>>>(
    name: string,
    events: Events<S>,
  ): Stream<InputOf<S>, OutputOf<S>>;
  stream<M extends object = EventMap>(name: string): Stream<{ readonly [T in keyof M & string]: M[T] }>;
  stream(name: string, events?: Events): Stream {
    const schemas = events?.schemas;
    return new Stream(name, this.#host, (type) =>
      schemas !== undefined && Object.hasOwn(schemas, type) ? schemas[type] : undefined,
    );
  }

  /** Resolves when everything published so far has been answered, well or not. */
  flush(): Promise<void> {
    return this.#host.publisher.flush();
  }

  /** Ends all consumers: no new events, handlers finish, their answers become durable; then each `run` resolves. */
  async drain(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.drain(this.#host.drainTimeoutMs)));
  }

  /** Drains the consumers, waits for what was published, and closes the connection. Can be called again. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#forgetTerminate?.();
      await this.drain();
      await this.flush();
      this.#host.publisher.close();
      await this.#host.transport.close();
    })();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #adopt(consumer: Consumer, drainOnSigterm: boolean): () => void {
    this.#consumers.add(consumer);
    if (drainOnSigterm) {
      this.#terminating.add(consumer);
      this.#forgetTerminate ??= this.#platform.onTerminate(async () => {
        const { drainTimeoutMs } = this.#host;
        await Promise.all([...this.#terminating].map((each) => each.drain(drainTimeoutMs)));
        await this.flush();
      });
    }
    return () => {
      this.#consumers.delete(consumer);
      if (!this.#terminating.delete(consumer) || this.#terminating.size > 0) return;
      this.#forgetTerminate?.();
      this.#forgetTerminate = undefined;
    };
  }
}
