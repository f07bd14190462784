/**
 * An order service: orders and the money for them in SQLite, events in and out through inbox and outbox.
 *
 * Always true, wherever it is killed: an order is in the database if and only if `order.placed` goes out, money of a payment is in
 * the till if and only if its order is paid and `order.paid` goes out, and each of these once.
 */
import type { Client, InputOf, OutputOf, Stream } from '@hadron/client';
import { InboxOutbox, type SqliteDatabase } from '@hadron/client/sqlite';
import { orderEvents, paymentEvents } from './events.ts';

type OrderEvents = InputOf<typeof orderEvents.schemas>;
type PaymentEvents = OutputOf<typeof paymentEvents.schemas>;
export type Order = OrderEvents['order.placed'];

const TABLES = `
  CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, item TEXT NOT NULL, cents INTEGER NOT NULL, state TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS till (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
  INSERT INTO till VALUES (1, 0) ON CONFLICT DO NOTHING;`;

export class Shop {
  readonly #db: SqliteDatabase;
  readonly #client: Client;
  readonly #boxes: InboxOutbox;
  readonly #payments: Stream<PaymentEvents>;
  readonly #orders: Stream<OrderEvents>;

  constructor(db: SqliteDatabase, client: Client, names = { payments: 'payments', orders: 'orders' }) {
    db.exec(TABLES);
    this.#db = db;
    this.#client = client;
    this.#boxes = new InboxOutbox(db, { source: '/shop' });
    this.#payments = client.stream(names.payments, paymentEvents);
    this.#orders = client.stream(names.orders, orderEvents);
  }

  /** What a request to the shop does. The same order again changes nothing. @returns whether it is new */
  place(order: Order): boolean {
    // #region place
    return this.#boxes.transaction(() => {
      const insert = this.#db.prepare(`INSERT INTO orders VALUES (?, ?, ?, 'placed') ON CONFLICT DO NOTHING`);
      if (insert.run(order.id, order.item, order.cents).changes === 0) return false;
      this.#boxes.put(this.#orders, 'order.placed', order, { subject: order.id });
      return true;
    });
    // #endregion
  }

  /** Handles payments and publishes what follows, until `signal` aborts. */
  async work(signal: AbortSignal): Promise<void> {
    const handling = this.#payments.run(
      { group: 'shop', concurrency: 10, signal },
      {
        'payment.received': (m) => {
          const { order, cents } = m.data;
          // #region once
          this.#boxes.once(m, () => {
            const paid = this.#db.prepare(`UPDATE orders SET state = 'paid' WHERE id = ?`).run(order);
            if (paid.changes === 0) throw new Error(`no order ${order} yet`); // nothing has happened; it comes again
            this.#db.prepare('UPDATE till SET cents = cents + ?').run(cents); // twice would be wrong
            this.#boxes.put(this.#orders, 'order.paid', { id: order, cents }, { subject: order });
          });
          // #endregion
        },
      },
    );
    await Promise.all([handling, this.#boxes.ship(this.#client, { signal })]);
  }
}
