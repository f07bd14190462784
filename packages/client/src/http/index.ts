/**
 * The transport over HTTP: fetch to publish and to manage, server-sent events to tail, a WebSocket for each session. Runs in
 * browsers and in Node, and imports nothing of either.
 */
import { HadronError } from '@hadron/base/errors';
import type {
  OpenSession,
  PublishCall,
  PublishResult,
  SessionListener,
  StreamInfo,
  TailCall,
  TailedEvent,
  Transport,
  TransportSession,
} from '@hadron/contracts';
import { closed } from '../errors.ts';
import { eventOfJson, jsonOfEvent, parseJson } from './json-event.ts';
import { ask, serverUrl, streamUrl } from './request.ts';
import { serverSentEvents } from './server-sent-events.ts';
import { openWebSocketSession } from './web-socket-session.ts';

/**
 * Where the server is.
 *
 * @example
 * ```ts
 * import { httpTransport, type HttpTransportOptions } from '@hadron/client/http';
 * const options: HttpTransportOptions = { url: 'https://events.example' };
 * const transport = httpTransport(options);
 * ```
 */
export interface HttpTransportOptions {
  /** Of the API port: `http://127.0.0.1:7000`. */
  readonly url: string;
  /** Sent as `authorization: bearer …`, but not with WebSockets, which cannot carry it. */
  readonly token?: string | undefined;
}

/**
 * A transport over HTTP and WebSocket: what browsers use, and everybody behind a proxy that knows nothing else.
 *
 * @throws TypeError when the URL is none
 * @example
 * ```ts
 * import { connect } from '@hadron/client';
 * import { httpTransport } from '@hadron/client/http';
 * const transport = httpTransport({ url: 'https://events.example' });
 * const client = connect({ source: '/shop', transport });
 * ```
 */
export function httpTransport(options: HttpTransportOptions): Transport {
  return new HttpTransport(options);
}

class HttpTransport implements Transport {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #open = new AbortController();

  constructor({ url, token }: HttpTransportOptions) {
    this.#url = serverUrl(url);
    this.#headers = token === undefined ? {} : { authorization: `bearer ${token}` };
  }

  async info(stream: string): Promise<StreamInfo> {
    return (await this.request('GET', streamUrl('', stream))) as StreamInfo;
  }

  async publish({ stream, events, atomic = false, partition }: PublishCall): Promise<readonly PublishResult[]> {
    const query = new URLSearchParams();
    if (atomic) query.set('atomic', 'true');
    if (partition !== undefined) query.set('partition', String(partition));
    const answer = await this.#ask(`${streamUrl(this.#url, stream)}/events?${query.toString()}`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: `[${events.map(jsonOfEvent).join(',')}]`,
    });
    return ((await answer.json()) as { results: readonly PublishResult[] }).results;
  }

  async open(call: OpenSession, listener: SessionListener): Promise<TransportSession> {
    this.#check();
    return openWebSocketSession(this.#url, call, listener, this.#open.signal);
  }

  async *tail({ stream, from, partition, signal, onCursor }: TailCall): AsyncIterable<TailedEvent> {
    const query = new URLSearchParams();
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (typeof from === 'object' && 'cursor' in from) headers['last-event-id'] = from.cursor;
    else query.set('from', beginning(from));
    if (partition !== undefined) query.set('partition', String(partition));
    const over = AbortSignal.any(signal === undefined ? [this.#open.signal] : [this.#open.signal, signal]);
    try {
      const answer = await this.#ask(`${streamUrl(this.#url, stream)}/events?${query.toString()}`, {
        headers,
        signal: over,
      });
      for await (const { id, data } of serverSentEvents(answer.body as ReadableStream<Uint8Array>)) {
        if (data === '') onCursor?.(id);
        else yield tailed(data, id);
      }
    } catch (cause) {
      if (signal?.aborted === true) return;
      this.#check();
      throw cause instanceof HadronError
        ? cause
        : new HadronError('CONNECTION_FAILED', 'the connection of a tail was lost', { cause });
    }
    throw new HadronError('CONNECTION_FAILED', 'the server closed a tail; go on from the last cursor');
  }

  async request(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.#ask(`${this.#url}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body), // undefined stays undefined
    });
    const text = await answer.text();
    return text === '' ? {} : (JSON.parse(text) as unknown);
  }

  async close(): Promise<void> {
    this.#open.abort();
  }

  #ask(
    url: string,
    { headers, ...init }: Omit<RequestInit, 'headers'> & { headers?: Record<string, string> },
  ): Promise<Response> {
    this.#check();
    return ask(url, { signal: this.#open.signal, ...init, headers: { ...this.#headers, ...headers } });
  }

  #check(): void {
    if (this.#open.signal.aborted) throw closed('transport');
  }
}

function beginning(from: Exclude<TailCall['from'], { readonly cursor: string }>): string {
  if (typeof from === 'string') return from;
  return 'offset' in from ? String(from.offset) : new Date(from.timeMs).toISOString();
}

/** An event with its position as extensions, which are the transport's and not the event's. */
function tailed(json: string, cursor: string): TailedEvent {
  const { hadronpartition, hadronoffset, ...value } = parseJson(json) as Record<string, unknown>;
  const event = eventOfJson(value);
  // The record's own timestamp does not travel by HTTP.
  const timestampMs = Date.parse(event.attributes.get('time') ?? '');
  return { partition: Number(hadronpartition), offset: Number(hadronoffset), timestampMs, event, cursor };
}
