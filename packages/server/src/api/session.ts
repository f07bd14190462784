/**
 * A session of a group over a WebSocket, in JSON (docs/http-api.md). Text frames, one object each; the first is `open`.
 *
 * Always true: what waits in the socket for a slow client is bounded: its credit is taken back until it has read. A client
 * that does not answer pings is gone; closing with code 1000 gives back what is out uncounted, any other end counts (D14).
 */
import { type Clock, HadronError, type Timer } from '@hadron/base';
import type { DeliverySession, OutgoingDelivery, SessionHandler } from '@hadron/broker';
import type { RecordOrigin } from '@hadron/contracts/events';
import { parseGroupRequest } from '@hadron/contracts';
import type { RawData, WebSocket } from 'ws';
import { parseAnswers } from './answers.ts';
import type { SocketCall, SocketRoute } from './door.ts';
import { RequestRefused } from './problem.ts';
import { deliveriesOf } from './records.ts';
import type { AskServices } from './services.ts';
import { integer, object, oneOf, optional } from './shape.ts';

const CREDIT_MAX = 1_000_000;
const PING_MS = 15_000;
/** A client that opened a WebSocket says `open` within so long. */
const OPEN_MS = 10_000;
/** While more waits to be read, nothing new is handed out. */
const HOLD_AT_BYTES = 1024 * 1024;
/** What was under way when it was held, and answers: beyond this the client is closed. */
const BUFFER_BYTES_MAX = 64 * 1024 * 1024;
const TYPES = ['open', 'credit', 'answers', 'drain'] as const;

const NORMAL = 1000;
const GOING_AWAY = 1001;
const POLICY = 1008;
const INTERNAL = 1011;

export function sessionRoute(services: AskServices, clock: Clock, onBug: (error: unknown) => void): SocketRoute {
  return {
    method: 'GET',
    pattern: '/v1/streams/{stream}/groups/{group}/session',
    action: 'subscribe',
    target: (param) => ({ kind: 'Stream', name: param('stream') }),
    protocol: undefined,
    open(call) {
      const session = new SocketSession(call, services, clock, onBug);
      return () => session.stop();
    },
  };
}

class SocketSession implements SessionHandler {
  private readonly socket: WebSocket;
  private readonly stream: string;
  private readonly group: string;
  private readonly peer: string;
  private readonly services: AskServices;
  private readonly onBug: (error: unknown) => void;
  private readonly clock: Clock;
  private state: 'new' | 'opening' | 'open' | 'over' = 'new';
  private session: DeliverySession | undefined;
  private origin: RecordOrigin | undefined;
  /** Came while the session was being opened. */
  private early: RawData[] = [];
  private earlyBytes = 0;
  /** Credit that the engine has and has not used. */
  private credit = 0;
  /** Credit that was taken back until the client has read; undefined: none was. */
  private held: number | undefined;
  /** Answers whose verdicts are not durable yet. */
  private answering = 0;
  private isStopping = false;
  /** It has said something since the last ping. */
  private isAlive = true;
  private timer: Timer;

  constructor(
    { socket, param, peer }: SocketCall,
    services: AskServices,
    clock: Clock,
    onBug: (error: unknown) => void,
  ) {
    this.socket = socket;
    this.stream = param('stream');
    this.group = param('group');
    this.peer = peer;
    this.services = services;
    this.onBug = onBug;
    this.clock = clock;
    this.timer = clock.setTimer(OPEN_MS, () =>
      this.fail(new HadronError('TIMED_OUT', 'no message "open" came; send it first')),
    );
    socket.on('message', (data, isBinary) => this.received(data, isBinary));
    socket.on('pong', () => (this.isAlive = true));
    socket.on('close', (code) => this.closed(code));
  }

  // ------------------------------------------------------------------------------------------------- from the engine

  deliver(deliveries: readonly OutgoingDelivery[]): void {
    this.credit -= deliveries.length;
    let text: string;
    try {
      text = `{"type":"deliveries","deliveries":${deliveriesOf(this.origin as RecordOrigin, deliveries)}}`;
    } catch (error) {
      return this.fail(error); // the engine has others to serve
    }
    this.send(text);
    if (this.held === undefined && this.socket.bufferedAmount > HOLD_AT_BYTES) this.hold();
  }

  withdrawn(tokens: readonly string[]): void {
    this.send(JSON.stringify({ type: 'withdrawn', tokens }));
  }

  ended(error: HadronError | undefined): void {
    if (this.state === 'over' || this.isStopping) return;
    this.session = undefined;
    if (error === undefined) this.end(NORMAL);
    else this.fail(error);
  }

  // ------------------------------------------------------------------------------------------------- from the client

  private received(data: RawData, isBinary: boolean): void {
    if (this.state === 'over' || this.isStopping) return;
    this.isAlive = true;
    try {
      if (isBinary) throw new RequestRefused(400, 'messages are text frames with a JSON object each');
      if (this.state === 'opening') this.keep(data);
      else this.handle(data);
    } catch (error) {
      this.fail(error);
    }
  }

  private keep(data: RawData): void {
    this.early.push(data);
    this.earlyBytes += (data as Buffer).length;
    if (this.earlyBytes > BUFFER_BYTES_MAX) throw slow();
  }

  private handle(data: RawData): void {
    let message: unknown;
    try {
      message = JSON.parse((data as Buffer).toString('utf8'));
    } catch {
      throw new RequestRefused(400, 'the message is not JSON');
    }
    const known = ['type', 'settings', 'credit', 'count', 'sequence', 'items'];
    const fields = object(message, 'message', known);
    const type = oneOf(fields['type'], 'type', TYPES);
    if (type === 'open') return this.open(fields);
    const { session } = this;
    if (session === undefined) throw new RequestRefused(400, 'the first message must be "open"', { field: 'type' });
    switch (type) {
      case 'credit':
        return this.give(integer(fields['count'], 'count', -CREDIT_MAX, CREDIT_MAX));
      case 'drain':
        session.drain();
        return this.send('{"type":"drained"}');
      case 'answers': {
        const sequence = integer(fields['sequence'], 'sequence', 0, Number.MAX_SAFE_INTEGER);
        const items = parseAnswers(fields['items'], 'items');
        this.answering++;
        return session.answer(items, (results) => {
          this.answering--;
          this.send(JSON.stringify({ type: 'answered', sequence, results }));
          if (this.isStopping && this.answering === 0) this.end(GOING_AWAY);
        });
      }
    }
  }

  private open(fields: Readonly<Record<string, unknown>>): void {
    if (this.state !== 'new') throw new RequestRefused(400, 'the session is open already', { field: 'type' });
    const settings = parseGroupRequest(fields['settings']);
    const credit = optional(fields['credit'], 'credit', (v, f) => integer(v, f, 0, CREDIT_MAX)) ?? 0;
    this.state = 'opening';
    this.timer.cancel();
    this.timer = this.clock.setTimer(PING_MS, () => this.ping());
    const { stream, group, peer } = this;
    this.services()
      .deliveries.open({ stream, group, settings, credit: 0, peer }, this)
      .then(
        (session) => this.begun(session, credit),
        (error: unknown) => this.fail(error),
      );
  }

  /** Deliveries come behind the answer to `open`: that is why credit is given only now. */
  private begun(session: DeliverySession, credit: number): void {
    // The client has left while it was opened.
    if (this.state === 'over') return session.lost();
    this.session = session;
    this.origin = session.stream;
    this.state = 'open';
    this.send(
      JSON.stringify({
        type: 'opened',
        session: session.id,
        topicId: session.stream.topicId,
        settings: session.settings,
      }),
    );
    this.give(credit);
    for (const data of this.early.splice(0)) this.received(data, false);
  }

  // --------------------------------------------------------------------------------------------------------- the wire

  private send(text: string): void {
    if (this.state === 'over') return;
    this.socket.send(text, this.sent);
    if (this.socket.bufferedAmount > BUFFER_BYTES_MAX) this.fail(slow());
  }

  /** Credit for the engine, or for later while the client is held. */
  private give(count: number): void {
    if (this.held !== undefined) this.held = Math.max(0, this.held + count);
    else {
      const change = Math.max(count, -this.credit);
      this.credit += change;
      if (change !== 0) this.session?.credit(change);
    }
  }

  private hold(): void {
    const unused = this.credit;
    this.give(-unused);
    this.held = unused;
  }

  private readonly sent = (): void => {
    if (this.held === undefined || this.socket.bufferedAmount > HOLD_AT_BYTES / 2) return;
    const { held } = this;
    this.held = undefined;
    this.give(held);
  };

  private ping(): void {
    if (!this.isAlive) return this.socket.terminate();
    this.isAlive = false;
    this.socket.ping();
    this.timer = this.clock.setTimer(PING_MS, () => this.ping());
  }

  /** Tells why and closes. What is out goes back, counted. */
  private fail(error: unknown): void {
    if (this.state === 'over') return;
    if (!(error instanceof HadronError)) this.onBug(error);
    const known = error instanceof HadronError ? error : new HadronError('INTERNAL', 'the server made a mistake');
    const { code, field, retry, effect } = known;
    this.socket.send(JSON.stringify({ type: 'error', code, message: known.detail, field, retry, effect }));
    this.end(known.kind === 'invalid' || known.kind === 'limit' ? POLICY : INTERNAL);
  }

  /** The server stops: nobody is to blame for what is out. Answers under way are still confirmed. */
  stop(): void {
    const { session } = this;
    this.isStopping = true;
    this.session = undefined;
    session?.close();
    if (this.answering === 0) this.end(GOING_AWAY);
  }

  private end(code: number): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.timer.cancel();
    this.socket.close(code);
    this.session?.lost();
    this.session = undefined;
  }

  private closed(code: number): void {
    this.timer.cancel();
    const { session } = this;
    this.state = 'over';
    this.session = undefined;
    if (code === NORMAL) session?.close();
    else session?.lost();
  }
}

function slow(): HadronError {
  return new HadronError('LIMIT_EXCEEDED', 'this client does not keep up with its messages; give less credit');
}
