/** A delivered event as users see it. */
import type { HadronError } from '@hadron/base/errors';
import type { CloudEvent, TailedEvent, TransportDelivery } from '@hadron/contracts';
import { eventData } from '@hadron/contracts/events';
import type { Consumer, Held } from './consumer.ts';
import { type Duration, milliseconds } from './duration.ts';
import { asHadronError } from './errors.ts';
import { check, type StandardSchema } from './schema.ts';
import type { ManualMessage, Message, TailedMessage } from './types.ts';

/** The schema of a type; undefined: it has none. */
export type SchemaOf = (type: string) => StandardSchema<unknown, unknown> | undefined;

/**
 * The data of an event as values, checked where there is a schema. A promise only where the schema gives one.
 * @throws HadronError EVENT_INVALID naming the path
 */
export function dataOf(event: CloudEvent, schemaOf: SchemaOf): unknown {
  const schema = schemaOf(event.type);
  const data = eventData(event);
  return schema === undefined ? data : check(schema, data, event.type);
}

/** What every way of reading shows of an event. */
class ReadMessage {
  readonly event: CloudEvent;
  readonly partition: number;
  readonly offset: number;
  readonly #timestampMs: number;

  constructor(from: TransportDelivery | TailedEvent) {
    this.event = from.event;
    this.partition = from.partition;
    this.offset = from.offset;
    this.#timestampMs = from.timestampMs;
  }

  get id(): string {
    return this.event.id;
  }

  get source(): string {
    return this.event.source;
  }

  get type(): string {
    return this.event.type;
  }

  get attributes(): ReadonlyMap<string, string> {
    return this.event.attributes;
  }

  get subject(): string | undefined {
    return this.event.attributes.get('subject');
  }

  get time(): Date | undefined {
    const time = this.event.attributes.get('time');
    return time === undefined ? undefined : new Date(time);
  }

  get timestamp(): Date {
    return new Date(this.#timestampMs);
  }
}

export class DeliveredMessage extends ReadMessage implements Message {
  readonly data: unknown;
  readonly #held: Held;

  constructor(held: Held, data: unknown) {
    super(held.delivery);
    this.data = data;
    this.#held = held;
  }

  get attempt(): number {
    return this.#held.delivery.attempt;
  }

  get redrive(): number {
    return this.#held.delivery.redrive;
  }

  get signal(): AbortSignal {
    return this.#held.signal;
  }
}

export class AnswerableMessage extends DeliveredMessage implements ManualMessage {
  readonly #consumer: Consumer;
  readonly #mine: Held;

  constructor(consumer: Consumer, held: Held, data: unknown) {
    super(held, data);
    this.#consumer = consumer;
    this.#mine = held;
  }

  ack(): Promise<void> {
    return this.#consumer.settle(this.#mine, { kind: 'ack' });
  }

  nack(reason?: string, options?: { readonly retryIn?: Duration }): Promise<void> {
    const delayMs = options?.retryIn === undefined ? undefined : milliseconds(options.retryIn, 'retryIn');
    return this.#consumer.settle(this.#mine, { kind: 'nack', reason, delayMs });
  }

  term(reason?: string): Promise<void> {
    return this.#consumer.settle(this.#mine, { kind: 'term', reason });
  }

  extend(): Promise<void> {
    return this.#consumer.extend(this.#mine);
  }
}

export class TailMessage extends ReadMessage implements TailedMessage {
  readonly cursor: string;
  readonly #data: { readonly value: unknown } | { readonly error: HadronError };

  private constructor(tailed: TailedEvent, data: { readonly value: unknown } | { readonly error: HadronError }) {
    super(tailed);
    this.cursor = tailed.cursor;
    this.#data = data;
  }

  static async of(tailed: TailedEvent, schemaOf: SchemaOf): Promise<TailMessage> {
    try {
      return new TailMessage(tailed, { value: await dataOf(tailed.event, schemaOf) });
    } catch (error) {
      return new TailMessage(tailed, { error: asHadronError(error) });
    }
  }

  /** @throws HadronError EVENT_INVALID it does not fit its schema: that ends nobody's reading unless he looks */
  get data(): unknown {
    if ('error' in this.#data) throw this.#data.error;
    return this.#data.value;
  }
}
