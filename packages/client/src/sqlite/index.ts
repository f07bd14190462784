/**
 * Inbox and outbox in a SQLite database (`@hadron/client/sqlite`): what makes the effects of events in that database happen
 * exactly once, although events are delivered at least once.
 *
 *   events in ──► once(message): BEGIN · identity into the inbox · your statements · put() into the outbox · COMMIT ──► ack
 *                                                                                        │
 *   events out ◄────────────────────── ship(): publishes, then deletes ◄────────────────┘
 *
 * Always true: the identity of an event that came in, its effects and the events that follow from it are committed together or
 * not at all. An event that goes out has its identity and time from the transaction on, so that shipping it a second time
 * (a process that died between publishing and deleting) publishes the same event. Who consumes it needs an inbox
 * too.
 *
 * Any driver with the three methods of {@link SqliteDatabase} will do. The whole of it is this file: for another database copy it
 * and change the statements.
 */
import { HadronError } from '@hadron/base/errors';
import type { Client } from '../client.ts';
import { type Duration, milliseconds } from '../duration.ts';
import { failure } from '../errors.ts';
import type { Stream } from '../stream.ts';
import { clientClock, clientRandom, onAbort, retryDelayMs, sleep } from '../time.ts';
import type { EventMap, EventToPublish, Message, PublishOptions } from '../types.ts';

/**
 * What is used of the database: `DatabaseSync` of `node:sqlite` has it, and so has `better-sqlite3`.
 *
 * @example
 * ```ts
 * import { DatabaseSync } from 'node:sqlite';
 * import type { SqliteDatabase } from '@hadron/client/sqlite';
 * const db: SqliteDatabase = new DatabaseSync(':memory:');
 * ```
 */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): {
    run(...parameters: (string | number | null)[]): { readonly changes: number | bigint };
    all(...parameters: (string | number | null)[]): unknown[];
  };
}

/**
 * Whose boxes they are.
 *
 * @example
 * ```ts
 * import { DatabaseSync } from 'node:sqlite';
 * import { type BoxOptions, InboxOutbox } from '@hadron/client/sqlite';
 * const options: BoxOptions = { source: '/warehouse', consumer: 'stock' };
 * const boxes = new InboxOutbox(new DatabaseSync('warehouse.db'), options);
 * ```
 */
export interface BoxOptions {
  /** The `source` of the events that go out. Fixed when they are put, so that it never depends on who ships them. */
  readonly source: string;
  /**
   * Who has seen an event: the group, as a rule. Two that consume the same events into one database need two names.
   * Default: the source.
   */
  readonly consumer?: string | undefined;
}

/** Not what belongs to a call (partition, signal), nor the source, which is the boxes'. */
type PutOptions = Omit<PublishOptions, 'partition' | 'signal' | 'source'>;
type DataArguments<D> = undefined extends D ? [data?: D, options?: PutOptions] : [data: D, options?: PutOptions];
/** Nothing that waits. */
type Work<R> = () => R & (R extends PromiseLike<unknown> ? never : unknown);

interface OutboxRow {
  readonly seq: number;
  readonly stream: string;
  readonly event: string;
  readonly id: string;
}

const TABLES = `
  CREATE TABLE IF NOT EXISTS hadron_inbox (
    consumer TEXT NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    time TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (consumer, source, id)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS hadron_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    stream TEXT NOT NULL,
    event TEXT NOT NULL
  );`;

/** Shipped together: one call to the server as a rule. */
const SHIP_AT_ONCE = 500;
const POLL_MS = 1_000;

/**
 * Inbox and outbox of one consumer in one database. The two tables (`hadron_inbox`, `hadron_outbox`) are made where they are
 * missing.
 *
 * @example
 * ```ts
 * import { DatabaseSync } from 'node:sqlite';
 * import { connect } from '@hadron/client';
 * import { InboxOutbox } from '@hadron/client/sqlite';
 *
 * const db = new DatabaseSync('shop.db');
 * const boxes = new InboxOutbox(db, { source: '/shop' });
 * const client = connect({ source: '/shop' });
 * const payments = client.stream<{ 'payment.received': { order: string } }>('payments');
 * const orders = client.stream<{ 'order.paid': { id: string } }>('orders');
 *
 * void boxes.ship(client); // what is put below, in the background
 * await payments.run({ group: 'shop' }, {
 *   'payment.received': (m) =>
 *     boxes.once(m, () => {
 *       db.prepare(`UPDATE orders SET state = 'paid' WHERE id = ?`).run(m.data.order);
 *       boxes.put(orders, 'order.paid', { id: m.data.order }, { subject: m.data.order });
 *     }),
 * });
 * ```
 */
export class InboxOutbox {
  readonly #db: SqliteDatabase;
  readonly #source: string;
  readonly #consumer: string;
  #open = false;
  #commits = 0;
  /** Of the shippers of this process, which wait for something to ship. */
  readonly #wake = new Set<() => void>();

  /** Makes the tables. */
  constructor(db: SqliteDatabase, { source, consumer = source }: BoxOptions) {
    if (source === '') throw new TypeError("source: names this application in its events; for example '/shop'");
    this.#db = db;
    this.#source = source;
    this.#consumer = consumer;
    db.exec(TABLES);
  }

  /**
   * Runs `work` in a transaction with the identity of the event, once: for an event whose identity is there already nothing is
   * run. What `work` throws is thrown, and nothing of the transaction stays; the event comes again.
   *
   * `work` must not wait for anything: other statements of the process would land in its transaction. What has to be waited
   * for comes before, in the handler.
   *
   * @returns whether it was run now
   */
  once<R>(message: Pick<Message, 'id' | 'source'>, work: Work<R>): boolean {
    return this.#transaction(() => {
      const insert = this.#db.prepare(
        'INSERT INTO hadron_inbox (consumer, source, id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
      );
      if (Number(insert.run(this.#consumer, message.source, message.id).changes) === 0) return false;
      settled(work());
      return true;
    });
  }

  /** Runs `work` in a transaction of its own, for effects that do not come from an event. As {@link once} in all else. */
  transaction<R>(work: Work<R>): R {
    return this.#transaction(() => settled<R>(work()));
  }

  /**
   * Puts an event into the outbox, in the transaction that is open: it goes out if that is committed. Its identity and time are
   * fixed here. Its data must be JSON. {@link ship} publishes it.
   *
   * @throws TypeError outside of `once` and `transaction`
   */
  put<In extends EventMap, Out extends EventMap, T extends keyof In & string>(
    stream: Stream<In, Out>,
    type: T,
    ...[data, { id, delay, ...options } = {}]: DataArguments<In[T]>
  ): void {
    if (!this.#open) throw new TypeError('put: call it within once() or transaction(), so that both happen or none');
    const nowMs = clientClock.wallMs();
    const due = delay === undefined ? {} : { deliverAt: new Date(nowMs + milliseconds(delay, 'delay')) };
    const event = { time: new Date(nowMs), ...options, ...due, source: this.#source, type, data };
    const row = [stream.name, JSON.stringify(event)];
    if (id === undefined) this.#db.prepare('INSERT INTO hadron_outbox (stream, event) VALUES (?, ?)').run(...row);
    else this.#db.prepare('INSERT INTO hadron_outbox (stream, event, id) VALUES (?, ?, ?)').run(...row, id);
  }

  /**
   * Publishes what lies in the outbox and what is put there, in that order, until `signal` aborts or the client
   * is closed; then it resolves, and what was under way has ended. A row is deleted when its event is durable. Failures that pass are tried again for ever.
   *
   * One of these is enough. Two, of two processes, publish some events twice, with the same identity.
   *
   * @throws HadronError EVENT_INVALID, EVENT_TOO_LARGE and others that no further try can change. The row stays; its number is
   * in the message
   */
  async ship(
    client: Client,
    options: { readonly signal?: AbortSignal | undefined; readonly poll?: Duration | undefined } = {},
  ): Promise<void> {
    const { signal, poll = POLL_MS } = options;
    const pollMs = milliseconds(poll, 'poll');
    for (let failures = 0; signal?.aborted !== true; ) {
      try {
        const commits = this.#commits;
        const shipped = await this.shipNow(client);
        failures = 0;
        if (shipped === 0 && commits === this.#commits) await this.#woken(pollMs, signal);
      } catch (error) {
        if (error instanceof HadronError && error.code === 'CLIENT_CLOSED') return;
        if (!(error instanceof HadronError) || !error.retryable) throw error;
        failures += 1;
        await sleep(clientClock, retryDelayMs(failures, clientRandom), signal);
      }
    }
  }

  /**
   * Publishes what lies in the outbox now, at most some hundred events. Resolves when they are durable and deleted here.
   *
   * @returns how many
   * @throws HadronError as `publish`; the rows stay
   */
  async shipNow(client: Client): Promise<number> {
    const all = this.#db.prepare('SELECT seq, id, stream, event FROM hadron_outbox ORDER BY seq LIMIT ?');
    const rows = all.all(SHIP_AT_ONCE) as OutboxRow[];
    // A run of rows of one stream is one call. Between runs it waits, so that what is published is a prefix of the outbox.
    for (let from = 0; from < rows.length; ) {
      const { stream } = rows[from] as OutboxRow;
      let to = from + 1;
      while (rows[to]?.stream === stream) to += 1;
      const run = rows.slice(from, to);
      const last = run.at(-1) as OutboxRow;
      try {
        await client.stream(stream).publishMany(run.map((row) => eventOf(row)));
      } catch (error) {
        if (!(error instanceof HadronError)) throw error;
        const rowsTold = `hadron_outbox, seq ${run[0]?.seq} to ${last.seq}, for stream ${stream}`;
        throw failure(error.code, `${error.message} (${rowsTold})`, error.field);
      }
      this.#db.prepare('DELETE FROM hadron_outbox WHERE seq BETWEEN ? AND ?').run(run[0]?.seq ?? 0, last.seq);
      from = to;
    }
    return rows.length;
  }

  /**
   * Forgets what came in longer ago than `age`. An older event that comes again is taken for a new one: choose more than events
   * are kept, and than a dead letter may wait.
   *
   * @returns how many
   */
  forget(age: Duration): number {
    const before = new Date(clientClock.wallMs() - milliseconds(age, 'age')).toISOString();
    const remove = this.#db.prepare('DELETE FROM hadron_inbox WHERE consumer = ? AND time < ?');
    return Number(remove.run(this.#consumer, before).changes);
  }

  #transaction<R>(work: () => R): R {
    if (this.#open) throw new TypeError('once, transaction: one is open already; they cannot be nested');
    this.#db.exec('BEGIN IMMEDIATE');
    this.#open = true;
    let result: R;
    try {
      result = work();
      this.#db.exec('COMMIT');
    } catch (error) {
      try {
        this.#db.exec('ROLLBACK');
      } catch {
        // SQLite has rolled it back already; what went wrong first is what is thrown.
      }
      throw error;
    } finally {
      this.#open = false;
    }
    this.#commits += 1;
    for (const wake of this.#wake) wake();
    return result;
  }

  /** Until something was committed here, or `pollMs` have passed: other processes put into the same outbox. */
  async #woken(pollMs: number, signal: AbortSignal | undefined): Promise<void> {
    const awake = new AbortController();
    const wake = (): void => awake.abort();
    this.#wake.add(wake);
    const forget = onAbort(signal, wake);
    await sleep(clientClock, pollMs, awake.signal);
    forget();
    this.#wake.delete(wake);
  }
}

/** The event as it was put; its identity is the row's. */
function eventOf({ id, event }: OutboxRow): EventToPublish {
  return { ...(JSON.parse(event) as EventToPublish), id };
}

function settled<R>(result: R): R {
  if (typeof (result as { then?: unknown } | undefined)?.then === 'function')
    throw new TypeError('work: must not be async; wait for things before once() or transaction()');
  return result;
}
