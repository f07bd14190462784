/**
 * Streams.Consume: a session of a group.
 *
 * The client says how much it can take (credit); the engine is told of it piece by piece, as the connection takes what was
 * handed out before. So a peer whose window is full is handed nothing: its events go to others.
 */
import { HadronError } from '@hadron/base';
import type { DeliverySession, OutgoingDelivery, SessionHandler } from '@hadron/broker';
import { parseGroupRequestText } from '@hadron/contracts';
import {
  type Answers,
  type ConsumeResponse,
  decodeConsumeRequest,
  deliverySize,
  encodeConsumeResponse,
  encodeDeliveries,
  type Open,
  type ProtoWriter,
} from '@hadron/contracts/protobuf';
import { type Call, type CallHandler, type Method, stopped } from './call.ts';
import type { RpcServices } from './services.ts';

/** Deliveries are packed into messages of about this size. */
const MESSAGE_BYTES = 256 * 1024;
/** Of deliveries that the engine may hand out before the connection has taken earlier ones, by their average size. */
const GRANTED_BYTES = 1024 * 1024;
const GRANTED_MAX = 1024;
/** More is no different from no limit. */
const CREDIT_MAX = 1_000_000;

export function consume(services: RpcServices): Method {
  return (call) => new ConsumeCall(services, call);
}

class ConsumeCall implements CallHandler, SessionHandler {
  private readonly services: RpcServices;
  private readonly call: Call;
  private session: DeliverySession | undefined;
  private opening = false;
  /** Messages that came while the session opens. */
  private early: Buffer[] = [];
  /** Answers whose verdicts are not durable yet. */
  private answering = 0;
  private over: 'closed' | 'lost' | undefined;
  /** Why the call ends, once all answers have been confirmed. */
  private reason: HadronError | undefined;
  /** Of the client's credit: not passed on yet, and passed on but not used. */
  private credit = 0;
  private granted = 0;
  /** A moving average. Nothing is known of the first: large ones do not come by the thousand. */
  private deliveryBytes = 16_384;

  constructor(services: RpcServices, call: Call) {
    this.services = services;
    this.call = call;
  }

  message(bytes: Buffer): void {
    if (this.over !== undefined) return;
    if (this.opening) {
      this.early.push(bytes);
      return;
    }
    const request = decodeConsumeRequest(bytes);
    const { session } = this;
    if (request.kind === 'open') {
      if (session !== undefined) throw new HadronError('REQUEST_INVALID', 'a call has one session; open comes once');
      this.open(request.open);
    } else if (session === undefined) {
      throw new HadronError('REQUEST_INVALID', 'the first message of a session is open');
    } else if (request.kind === 'credit') {
      this.credit = Math.min(CREDIT_MAX, this.credit + request.credit);
      this.grant();
    } else if (request.kind === 'answers') this.answer(session, request.answers);
    else {
      session.drain();
      this.send({ kind: 'drained' });
    }
  }

  finished(): void {
    this.leave('closed');
    this.endWhenAnswered();
  }

  lost(): void {
    this.leave('lost');
  }

  drained(): void {
    this.grant();
  }

  stopping(): void {
    this.leave('closed');
    this.reason = stopped();
    this.endWhenAnswered();
  }

  // --- told by the engine ------------------------------------------------------------------------------------------

  deliver(deliveries: readonly OutgoingDelivery[]): void {
    if (this.over !== undefined) return;
    this.granted -= deliveries.length;
    let from = 0;
    let size = 0;
    for (let i = 0; i < deliveries.length; i++) {
      const bytes = deliverySize(deliveries[i] as OutgoingDelivery);
      this.deliveryBytes += (bytes - this.deliveryBytes) / 16;
      if (size > 0 && size + bytes > MESSAGE_BYTES) {
        this.call.send(encodePart, { deliveries, from, to: i });
        from = i;
        size = 0;
      }
      size += bytes;
    }
    this.call.send(encodePart, { deliveries, from, to: deliveries.length });
    this.grant();
  }

  withdrawn(tokens: readonly string[]): void {
    if (this.over === undefined) this.send({ kind: 'withdrawn', tokens });
  }

  ended(error: HadronError | undefined): void {
    if (this.over !== undefined) return;
    this.over = 'closed';
    this.reason = error;
    this.endWhenAnswered();
  }

  // ---------------------------------------------------------------------------------------------------------------

  private open({ stream, group, settingsJson, credit }: Open): void {
    const { services, call } = this;
    services.authorize(call.identity, 'subscribe', { kind: 'Stream', name: stream });
    const settings = parseGroupRequestText(settingsJson);
    this.opening = true;
    call.pause();
    const begin = async (): Promise<void> => {
      const { deliveries } = services.ask();
      // Nothing is granted before the client has been told that its session is open.
      const session = await deliveries.open({ stream, group, settings, credit: 0, peer: call.peer }, this);
      this.session = session;
      this.opening = false;
      if (this.over !== undefined) {
        this.release();
        this.endWhenAnswered();
        return;
      }
      const { topicId, records } = session.stream;
      this.send({
        kind: 'opened',
        opened: { session: session.id, settingsJson: JSON.stringify(session.settings), topicId, records },
      });
      this.credit = Math.min(CREDIT_MAX, credit);
      this.grant();
      const { early } = this;
      this.early = [];
      for (const bytes of early) this.message(bytes);
      call.resume();
    };
    begin().catch((error: unknown) => {
      this.opening = false;
      this.leave('closed');
      call.end(error);
    });
  }

  private answer(session: DeliverySession, { sequence, items }: Answers): void {
    this.answering++;
    session.answer(items, (results) => {
      this.answering--;
      if (this.over === 'lost') return;
      this.send({ kind: 'answered', answered: { sequence, results } });
      this.endWhenAnswered();
    });
  }

  private endWhenAnswered(): void {
    if (this.over === 'closed' && !this.opening && this.answering === 0) this.call.end(this.reason);
  }

  /** Passes on as much credit as the connection can take. */
  private grant(): void {
    const { session } = this;
    if (session === undefined || this.over !== undefined || this.credit === 0 || this.call.congested) return;
    const limit = Math.min(GRANTED_MAX, Math.ceil(GRANTED_BYTES / this.deliveryBytes));
    if (this.granted * 2 > limit) return;
    const count = Math.min(this.credit, limit - this.granted);
    if (count <= 0) return;
    this.credit -= count;
    this.granted += count;
    session.credit(count);
  }

  private send(response: ConsumeResponse): void {
    this.call.send(encodeConsumeResponse, response);
  }

  /** D14: who ends the call returns what is out at once, uncounted; who vanishes has failed it. */
  private leave(how: 'closed' | 'lost'): void {
    if (this.over !== undefined) return;
    this.over = how;
    if (!this.opening) this.release();
  }

  private release(): void {
    const { session } = this;
    this.session = undefined;
    if (this.over === 'lost') session?.lost();
    else session?.close();
  }
}

interface Part {
  readonly deliveries: readonly OutgoingDelivery[];
  readonly from: number;
  readonly to: number;
}

const encodePart = (w: ProtoWriter, { deliveries, from, to }: Part): void => encodeDeliveries(w, deliveries, from, to);
