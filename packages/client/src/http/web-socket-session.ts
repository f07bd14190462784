/** A session of a group over a WebSocket: the frames of docs/http-api.md. */
import { HadronError } from '@hadron/base/errors';
import type {
  AnswerResult,
  GroupSettings,
  OpenSession,
  SessionListener,
  TransportDelivery,
  TransportSession,
} from '@hadron/contracts';
import { closed, failure } from '../errors.ts';
import { onAbort } from '../time.ts';
import { eventOfJson, parseJson } from './json-event.ts';
import { connectionFailed, streamUrl } from './request.ts';

type Frame =
  | { readonly type: 'opened'; readonly settings: GroupSettings }
  | {
      readonly type: 'deliveries';
      readonly deliveries: readonly (Omit<TransportDelivery, 'event'> & { event: unknown })[];
    }
  | { readonly type: 'answered'; readonly sequence: number; readonly results: readonly AnswerResult[] }
  | { readonly type: 'withdrawn'; readonly tokens: readonly string[] }
  | { readonly type: 'drained' }
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly field?: string };

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** Closed in good order: what is out goes back uncounted (delivery.md D14). */
const NORMAL = 1000;

/** Resolves when the server has opened the session. @throws HadronError what it says, or CONNECTION_FAILED */
export function openWebSocketSession(
  url: string,
  call: OpenSession,
  listener: SessionListener,
  signal: AbortSignal,
): Promise<TransportSession> {
  return new Promise((resolve, reject) => {
    const address = `${streamUrl(url, call.stream)}/groups/${encodeURIComponent(call.group)}/session`;
    const socket = new WebSocket(address.replace(/^http/, 'ws'));
    const session = new WebSocketSession(socket, listener, { resolve, reject }, url);
    const forget = onAbort(signal, () => void session.close());
    socket.addEventListener('close', forget);
    socket.onopen = () => session.send({ type: 'open', settings: call.settings, credit: call.credit });
  });
}

class WebSocketSession implements TransportSession {
  /** As soon as it is open; nobody has it before. */
  settings!: GroupSettings;
  readonly #socket: WebSocket;
  readonly #listener: SessionListener;
  readonly #url: string;
  readonly #answers = new Map<number, Waiting<readonly AnswerResult[]>>();
  #opening: Waiting<TransportSession> | undefined;
  #draining: Waiting<void>[] = [];
  #sequence = 0;
  /** What the server said before it closed. */
  #error: HadronError | undefined;
  #over = false;
  #left: (() => void) | undefined;

  constructor(socket: WebSocket, listener: SessionListener, opening: Waiting<TransportSession>, url: string) {
    this.#socket = socket;
    this.#listener = listener;
    this.#opening = opening;
    this.#url = url;
    let cause: unknown;
    socket.onerror = (event) => {
      cause = (event as { error?: unknown } | undefined)?.error;
    };
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code }) => {
      const lost = connectionFailed(this.#url, cause);
      this.#end(this.#error ?? (this.#left !== undefined && code === NORMAL ? undefined : lost));
    };
  }

  send(frame: Readonly<Record<string, unknown>>): void {
    if (!this.#over) this.#socket.send(JSON.stringify(frame));
  }

  credit(count: number): void {
    this.send({ type: 'credit', count });
  }

  answer(items: Parameters<TransportSession['answer']>[0]): Promise<readonly AnswerResult[]> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(new HadronError('CONNECTION_FAILED', 'the session has ended', { effect: 'none' }));
      const sequence = ++this.#sequence;
      this.#answers.set(sequence, { resolve, reject });
      this.send({ type: 'answers', sequence, items });
    });
  }

  drain(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) return resolve();
      this.#draining.push({ resolve, reject });
      this.send({ type: 'drain' });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) return resolve();
      const before = this.#left;
      this.#left = () => {
        before?.();
        resolve();
      };
      if (before === undefined) this.#socket.close(NORMAL);
    });
  }

  #received(data: unknown): void {
    if (this.#over) return;
    try {
      const frame = parseJson(String(data)) as Frame;
      switch (frame.type) {
        case 'opened':
          this.settings = frame.settings;
          this.#opening?.resolve(this);
          this.#opening = undefined;
          break;
        case 'deliveries':
          this.#listener.deliver(
            frame.deliveries.map((one) => ({
              ...one,
              event: eventOfJson(one.event),
            })),
          );
          break;
        case 'answered':
          this.#answers.get(frame.sequence)?.resolve(frame.results);
          this.#answers.delete(frame.sequence);
          break;
        case 'withdrawn':
          this.#listener.withdrawn(frame.tokens);
          break;
        case 'drained':
          for (const { resolve } of this.#draining.splice(0)) resolve();
          break;
        case 'error':
          this.#error = failure(frame.code, frame.message, frame.field);
          break;
        default: // of a newer server
      }
    } catch (cause) {
      this.#error = new HadronError('CONNECTION_FAILED', 'the server sent what is no frame of a session', { cause });
      this.#socket.close();
    }
  }

  #end(error: HadronError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    const lost = error ?? closed('session');
    for (const { reject } of this.#answers.values()) reject(lost);
    for (const { resolve } of this.#draining) resolve();
    if (this.#opening !== undefined) this.#opening.reject(lost);
    else this.#listener.ended(error);
    this.#left?.();
  }
}
