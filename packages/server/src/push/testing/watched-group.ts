/**
 * The one group of a test, of a real broker: what becomes of each event is seen at the face of the delivery service. It
 * changes nothing, but for errors that a test wants and a broker would not have now.
 */
import type { HadronError } from '@hadron/base';
import type { Broker, DeliveryService, DeliverySession, OpenRequest, SessionHandler } from '@hadron/broker';
import type { AnswerResult, DeadLetter, GroupStatus, Verdict } from '@hadron/contracts';
import type { CloudEvent } from '@hadron/contracts/events';

interface Entry {
  readonly offset: number;
  /** Of the last delivery; 1 before the first. */
  attempt: number;
  /** `ready`: not delivered, or given back. */
  state: 'ready' | 'out' | 'waiting' | 'acked' | 'dead';
  token: string;
  /** Of the last verdict. */
  reason: string | undefined;
}

export class WatchedGroup implements Pick<DeliveryService, 'open' | 'set'> {
  /** By offset. The stream has one partition, and nobody else publishes. */
  readonly entries: Entry[] = [];
  readonly opened: OpenRequest[] = [];
  /** What `open` is refused with. */
  refusal: HadronError | undefined;
  readonly #broker: Broker;
  #end: ((error: HadronError) => void) | undefined;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  publish(...events: CloudEvent[]): void {
    for (const _ of events) {
      this.entries.push({ offset: this.entries.length, attempt: 1, state: 'ready', token: '', reason: undefined });
    }
    this.#broker.core.events.publish('orders', events, {}, (error) => {
      // A test may be over before its events are durable.
      if (error !== undefined && error.code !== 'STORAGE_CLOSED') throw error;
    });
  }

  /** Ends the session as a broker does whose disk has failed. */
  end(error: HadronError): void {
    this.#end?.(error);
  }

  status(group = 'mail'): GroupStatus {
    return this.#broker.core.deliveries.describe('orders', group);
  }

  /** Those of the stream, by the offset of the event. */
  async deadLetters(): Promise<DeadLetter[]> {
    const found: DeadLetter[] = [];
    for await (const letter of this.#broker.core.deliveries.deadLetters({ stream: 'orders' })) found.push(letter);
    return found.sort((a, b) => a.from.offset - b.from.offset);
  }

  set(...args: Parameters<DeliveryService['set']>): ReturnType<DeliveryService['set']> {
    return this.#broker.core.deliveries.set(...args);
  }

  async open(request: OpenRequest, handler: SessionHandler): Promise<DeliverySession> {
    this.opened.push(request);
    if (this.refusal !== undefined) throw this.refusal;
    const session = await this.#broker.core.deliveries.open(request, {
      deliver: (list) => {
        for (const { offset, attempt, token } of list)
          Object.assign(this.#at(offset), { attempt, token, state: 'out' });
        handler.deliver(list);
      },
      withdrawn: (tokens) => {
        for (const token of tokens) this.#moved(token, 'ready');
        handler.withdrawn(tokens);
      },
      ended: (error) => handler.ended(error),
    });
    this.#end = (error) => {
      close();
      handler.ended(error);
    };
    const close = (): void => {
      for (const { state, token } of this.entries) if (state === 'out') this.#moved(token, 'ready');
      session.close();
    };
    const answer: DeliverySession['answer'] = (items, done) =>
      session.answer(items, (results) => {
        for (const [index, { token, verdict }] of items.entries()) this.#concluded(token, verdict, results[index]);
        done(results);
      });
    return Object.assign(Object.create(session) as DeliverySession, { answer, close });
  }

  #concluded(token: string, verdict: Verdict, result: AnswerResult | undefined): void {
    if (result?.ok !== true || verdict.kind === 'extend') return;
    const { maxDeliveries } = this.status(this.opened.at(-1)?.group).settings.policy;
    const entry = this.#moved(token, verdict.kind === 'ack' ? 'acked' : verdict.kind === 'term' ? 'dead' : 'waiting');
    if (entry === undefined || verdict.kind === 'ack') return;
    entry.reason = verdict.reason;
    if (verdict.kind === 'nack' && entry.attempt === maxDeliveries) entry.state = 'dead';
  }

  #moved(token: string, state: Entry['state']): Entry | undefined {
    const entry = this.entries.find((one) => one.token === token);
    if (entry !== undefined) entry.state = state;
    return entry;
  }

  #at(offset: number): Entry {
    const entry = this.entries[offset];
    if (entry === undefined) throw new Error(`nobody published offset ${offset}`);
    return entry;
  }
}
