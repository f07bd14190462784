/**
 * What the engine asks of the world (delivery.md D1): a source that says what there is to deliver, and a settlement that
 * says what belongs into the append set of a verdict. The engine knows neither streams nor events nor sockets.
 *
 * Streams are the first pair (`stream-source.ts`, `stream-settlement.ts`), a list in memory the second (tests). The shapes
 * are those that the later users need as well:
 *
 * |             | stream partition            | pipeline stage                       | Kafka share group                 |
 * |-------------|-----------------------------|--------------------------------------|-----------------------------------|
 * | id          | offset                      | number of the ready (instance, stage) | offset                            |
 * | lane        | record key                  | the instance, or none                | none: ordering `none`             |
 * | due         | attribute `deliverat`       | when a delay of the stage ends       | –                                 |
 * | a delivery  | one event                   | one run of a stage                   | a record that is acquired         |
 * | ack         | nothing else                | with the output event: `extras`      | accept                            |
 * | nack        | backoff of the group        | backoff of the stage                 | release: `nack` with delay 0      |
 * | term        | dead letter                 | the instance fails                   | reject: settles without a copy    |
 * | extend      | time-out anew               | time-out anew                        | renew                             |
 * | attempt     | attempt                     | attempt                              | delivery count                    |
 * | session     | who has credit              | a consumer of the stage              | a member: acquires by credit      |
 */
import type { SettledAs } from '@hadron/contracts';
import type { EventPartition } from '../ports/event-log.ts';
import type { RecordSlice } from './service.ts';

/** An event as the engine knows it: where it is and in which order it comes. Its bytes are read when it is handed out. */
export interface SourceItem {
  /** Grows from item to item; not negative. */
  readonly id: number;
  /** Undefined: a lane of its own. */
  readonly lane: string | undefined;
  /** Wall clock, ms: not before. 0: at once. */
  readonly dueMs: number;
  /** Wall clock, ms: useless from then on. */
  readonly expiresMs: number;
}

/** One step of reading. */
export interface Scan {
  /** The next item at or behind where the step began. */
  readonly item: SourceItem | undefined;
  /** Between the beginning of the step and here nothing but `item` is to be delivered. */
  readonly next: number;
}

/** An event's bytes, and until when they are worth delivering. */
export interface SourceRecord {
  readonly record: RecordSlice;
  readonly expiresMs: number;
}

/** Not in memory: call again when it resolves. It never rejects; a source that cannot be read tries again by itself. */
export type Later = Promise<void>;

export interface Source {
  /** What lies below is gone. */
  readonly start: number;
  /** Behind the last item that may be delivered (D3). */
  readonly end: number;
  /**
   * The next step from `from` on; undefined at the end.
   * @param known whether what matches was decided before: then the filter is not asked again (D13)
   */
  next(from: number, known: boolean): Scan | Later | undefined;
  /** The bytes of an item; undefined when it is gone. */
  read(id: number): SourceRecord | Later | undefined;
  /** Calls `fn` when `start` or `end` moved. @returns end it */
  watch(fn: () => void): () => void;
}

/** A record bound for a partition, as part of an append set. Which shard it lies on does not matter (D2). */
export interface SetPart {
  readonly partition: EventPartition;
  readonly batch: Buffer;
}

/** What is known of an event when it is settled for good. */
export interface Extras {
  readonly record: RecordSlice;
  readonly code: string;
  readonly reason: string;
  readonly attempts: number;
  readonly redrive: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

export interface Settlement {
  /**
   * What belongs into the append set of this verdict. A promise: not possible yet, call again when it resolves; it rejects
   * when it is not possible now, and then the event stays as it is and is tried again.
   */
  settle(id: number, as: SettledAs, extras: Extras): readonly SetPart[] | Promise<void>;
}

/** Time, both kinds. */
export interface Now {
  readonly ms: number;
  readonly wallMs: number;
}
