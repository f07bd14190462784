/**
 * StreamSubscribe: a session of a group on one partition, in the way of the original (hadron.md §4.2): one delivery, one
 * answer, and so on.
 *
 * A delivery is a batch. When one is refused its events come singly, so that the one that is poison is found (§16.4). While
 * a batch is out the engine is granted nothing: what it would hand out would wait here with its time-out running.
 */
import { HadronError } from '@hadron/base';
import type { DeliverySession, OutgoingDelivery, SessionHandler } from '@hadron/broker';
import type { GroupRequest, Start, StreamInfo } from '@hadron/contracts';
import { eventAt } from '@hadron/contracts/events';
import { type Call, type CallHandler, stopped } from '../rpc/call.ts';
import type { RpcServices } from '../rpc/index.ts';
import { decodeSubscribe, encodeDelivery, type OldEvent, type Setup } from './messages.ts';
import type { Place } from './places.ts';

/** More than anybody handles at once. */
const BATCH_EVENTS_MAX = 1_000;
/** A batch ends here: clients of the original take messages of 4 MiB. */
const BATCH_BYTES_MAX = 3 * 1024 * 1024;

export class Subscription implements CallHandler, SessionHandler {
  private readonly services: RpcServices;
  private readonly call: Call;
  private readonly stream: string;
  private readonly partition: number;
  /** Of the session: what records are seen as events by. */
  private origin: StreamInfo | undefined;
  private session: DeliverySession | undefined;
  private state: 'new' | 'opening' | 'open' | 'over' = 'new';
  private batchSize = 1;
  /** Granted to the engine and not used. */
  private granted = 0;
  /** Handed out by the engine, not by us. */
  private waiting: OutgoingDelivery[] = [];
  /** Some of these stood behind a batch. */
  private held = false;
  /** The batch that is out, by token. */
  private out: readonly string[] = [];
  /** So many events come singly. */
  private singly = 0;

  constructor(services: RpcServices, call: Call, { stream, partition }: Place & { readonly partition: number }) {
    this.services = services;
    this.call = call;
    this.stream = stream;
    this.partition = partition;
  }

  message(bytes: Buffer): void {
    const request = decodeSubscribe(bytes);
    if (this.state === 'new') {
      if (request.kind !== 'setup')
        throw new HadronError('REQUEST_INVALID', 'the first message of a subscription is its setup', {
          field: 'setup',
        });
      this.open(request.setup);
      return;
    }
    const { session, out } = this;
    // Nothing is out: a client's mistake without consequences (§4.2).
    if (session === undefined || out.length === 0) return;
    this.out = [];
    if (request.kind === 'ack') {
      this.singly = Math.max(0, this.singly - out.length);
      this.answer(session, out, { kind: 'ack' });
    } else {
      this.singly = Math.max(this.singly, out.length);
      const reason = request.kind === 'nack' ? request.reason : 'neither ack nor nack';
      // The first is refused; the rest of its lane is withdrawn with it and comes again, uncounted (D9).
      this.answer(session, out.slice(0, 1), { kind: 'nack', reason });
    }
    this.next();
  }

  finished(): void {
    this.leave();
    this.call.end();
  }

  lost(): void {
    this.leave();
  }

  stopping(): void {
    // The batch that is out has not failed: the server leaves.
    this.out = [];
    this.leave();
    this.call.end(stopped());
  }

  // --- told by the engine ------------------------------------------------------------------------------------------

  deliver(deliveries: readonly OutgoingDelivery[]): void {
    this.granted -= deliveries.length;
    this.waiting.push(...deliveries);
    this.next();
  }

  withdrawn(tokens: readonly string[]): void {
    const gone = new Set(tokens);
    this.waiting = this.waiting.filter(({ token }) => !gone.has(token));
    // One that is out is answered all the same; the engine knows what that answer is worth.
  }

  ended(error: HadronError | undefined): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.session = undefined;
    this.call.end(error);
  }

  // ---------------------------------------------------------------------------------------------------------------

  private open(setup: Setup): void {
    const { services, call, stream, partition } = this;
    const { groupName: group, durable, maxBatchSize } = setup;
    if (group === '')
      throw new HadronError('REQUEST_INVALID', 'a subscription names its group', { field: 'group_name' });
    if (maxBatchSize === 0)
      throw new HadronError('REQUEST_INVALID', 'a batch has at least one event', { field: 'max_batch_size' });
    services.authorize(call.identity, 'subscribe', { kind: 'Stream', name: stream });
    this.batchSize = Math.min(maxBatchSize, BATCH_EVENTS_MAX);
    this.state = 'opening';
    const request = { stream, group, settings: { durable }, defaults: defaults(startOf(setup)), partition };
    const begin = async (): Promise<void> => {
      const session = await services.ask().deliveries.open({ ...request, credit: 0, peer: call.peer }, this);
      if (this.hasLeft) {
        session.close();
        return;
      }
      this.session = session;
      this.origin = session.stream;
      this.state = 'open';
      this.next();
    };
    begin().catch((error: unknown) => {
      this.state = 'over';
      call.end(error);
    });
  }

  private get hasLeft(): boolean {
    return this.state === 'over';
  }

  private answer(session: DeliverySession, tokens: readonly string[], verdict: Parameters<typeof toItem>[1]): void {
    // The client cannot be told whether it came too late: an event that somebody else has comes to nobody twice.
    session.answer(
      tokens.map((token) => toItem(token, verdict)),
      () => undefined,
    );
  }

  /** Sends what waits, or asks for more. */
  private next(): void {
    const { session, call } = this;
    if (session === undefined || this.out.length > 0) return;
    if (this.waiting.length === 0) {
      const wanted = this.singly > 0 ? 1 : this.batchSize;
      const more = wanted - this.granted;
      this.granted = wanted;
      if (more !== 0) session.credit(more);
      return;
    }
    const batch = this.cut();
    this.waiting = this.waiting.slice(batch.length);
    this.out = batch.map(({ token }) => token);
    // These stood behind another batch with their time-out running.
    if (this.held) this.answer(session, this.out, { kind: 'extend' });
    this.held = this.waiting.length > 0;
    if (this.granted > 0) {
      const unused = this.granted;
      this.granted = 0;
      session.credit(-unused);
    }
    call.send(
      encodeDelivery,
      batch.map((delivery) => this.event(delivery)),
    );
  }

  /** What goes out together: one, where one may be poison. */
  private cut(): OutgoingDelivery[] {
    const { waiting } = this;
    const [first] = waiting;
    if (first === undefined) return [];
    if (this.singly > 0 || first.attempt > 1) return [first];
    let bytes = 0;
    let count = 0;
    for (const delivery of waiting) {
      bytes += delivery.record.bytes.length + 100;
      if (count > 0 && (delivery.attempt > 1 || bytes > BATCH_BYTES_MAX || count >= this.batchSize)) break;
      count++;
    }
    return waiting.slice(0, count);
  }

  private event({ partition, offset, record }: OutgoingDelivery): OldEvent {
    return { event: eventAt(this.origin as StreamInfo, partition, offset, record), partition, offset };
  }

  /** A batch that is out has failed with its connection (S10); without one nothing has. */
  private leave(): void {
    if (this.state === 'over') return;
    const { session } = this;
    this.session = undefined;
    this.state = 'over';
    if (this.out.length > 0) session?.lost();
    else session?.close();
  }
}

function toItem(
  token: string,
  verdict: { readonly kind: 'ack' | 'extend' } | { readonly kind: 'nack'; readonly reason: string },
): { readonly token: string; readonly verdict: typeof verdict } {
  return { token, verdict };
}

function startOf({ start = 'latest' }: Setup): Start {
  // S14: out of range is the latest, for each partition by itself.
  return typeof start === 'string' ? { from: start } : { from: 'offset', offset: start.offset, beyondEnd: 'latest' };
}

/** D6, D11, D18: what a group is that the original's clients make. One that exists is as it is. */
const defaults = (start: Start): GroupRequest => ({
  start,
  ordering: 'partition',
  window: BATCH_EVENTS_MAX,
  policy: { maxDeliveries: 0 },
});
