/** Hadron's side of docs/coming-from-redis-streams.md. Tried by ours.test.ts. */
import type { Client } from '@hadron/client';
import {
  type REDIS_STREAMS,
  type Side,
  until,
} from '../tasks.ts';

/** A server for one task. */
export interface Context {
  readonly client: Client;
}

type Orders = { 'order.placed': { id: string } };

const handled: string[] = [];
const handle = async (data: { id: string }): Promise<void> =>
  void handled.push(data.id);

const place = async (
  client: Client,
  ...ids: string[]
): Promise<void> => {
  for (const id of ids)
    await client
      .stream<Orders>('orders')
      .publish('order.placed', { id });
};

/** A limited history is said in stream.yaml, once for every producer. */
type Tasks = Omit<
  typeof REDIS_STREAMS,
  'keeping a limited history'
>;

export const redisStreams: Side<Tasks, Context> = {
  async 'add and consume'({ client }) {
    handled.length = 0;
    const stop = new AbortController();
    const { signal } = stop;
    // #region add
    const orders = client.stream<{
      'order.placed': { id: string };
    }>('orders');
    await orders.publish('order.placed', { id: '7' });
    // #endregion
    // #region consume
    const running = orders.run(
      { group: 'mail', concurrency: 10, signal },
      { 'order.placed': (m) => handle(m.data) },
    );
    // #endregion
    await until(() => handled.length === 1);
    stop.abort();
    await running;
    return handled;
  },

  async 'a consumer that died'({ client }) {
    handled.length = 0;
    await place(client, '7');
    const [first, second] = [
      new AbortController(),
      new AbortController(),
    ];
    const { signal } = second;
    const orders = client.stream<Orders>('orders');
    let taken = false;
    const dead = orders.run(
      {
        group: 'mail',
        signal: first.signal,
        policy: { timeout: '200ms' },
        maxProcessing: '200ms',
      },
      () => {
        taken = true;
        return new Promise((resolve) =>
          setTimeout(resolve, 1_500),
        ); // hangs
      },
    );
    await until(() => taken);
    // #region died
    // Nothing to do. How long an event may be out
    // without an answer is a setting of the group:
    const running = orders.run(
      { group: 'mail', policy: { timeout: '200ms' }, signal },
      {
        'order.placed': (m) => handle(m.data),
      },
    );
    // #endregion
    await until(() => handled.length === 1);
    first.abort();
    second.abort();
    await Promise.all([dead, running]);
    return handled;
  },

  async poison({ client }) {
    let attempts = 0;
    await place(client, '7');
    const stop = new AbortController();
    const { signal } = stop;
    const orders = client.stream<Orders>('orders');
    // #region poison
    const policy = {
      maxDeliveries: 3,
      backoff: ['100ms'],
    } as const;
    const running = orders.run(
      { group: 'mail', policy, signal },
      () => {
        attempts += 1;
        throw new Error('fails again');
      },
    ); // then it is in orders.dead, with the reason
    // #endregion
    await until(
      async () =>
        (await client.admin.countDeadLetters('orders')) === 1,
    );
    stop.abort();
    await running;
    const letters = await client.admin.deadLetters('orders');
    return {
      attempts,
      dead: letters.map(
        ({ event }) => (event['data'] as { id: string }).id,
      ),
    };
  },

  async 'reading without a group'({ client }) {
    await place(client, '1', '2', '3');
    const orders = client.stream<Orders>('orders');
    const read: string[] = [];
    // #region read
    let last = '';
    for await (const m of orders.tail({ from: 'beginning' })) {
      read.push(m.data.id);
      last = m.cursor; // from: { cursor }, to go on here
      if (read.length === 3) break;
    }
    // #endregion
    if (last === '') throw new Error('no cursor');
    return read;
  },

  async replay({ client }) {
    await place(client, '1', '2');
    const seen: string[] = [];
    const stop = new AbortController();
    const running = client
      .stream<Orders>('orders')
      .run(
        { group: 'mail', signal: stop.signal },
        (m) => void seen.push(m.data.id),
      );
    const settled = async (): Promise<boolean> =>
      (
        await client.admin.group('orders', 'mail')
      ).partitions.every(({ lag }) => lag === 0);
    await until(
      async () => seen.length === 2 && (await settled()),
    );
    const { admin } = client;
    // #region replay
    await admin.seek('orders', 'mail', 'beginning');
    // or new Date('2026-11-20T08:00:00Z')
    // #endregion
    await until(() => seen.length === 4);
    stop.abort();
    await running;
    return seen;
  },

  async 'what is pending'({ client }) {
    await place(client, '7');
    const stop = new AbortController();
    let release = (): void => undefined;
    const running = client.stream<Orders>('orders').run(
      { group: 'mail', signal: stop.signal },
      () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
    );
    const { admin } = client;
    await until(
      async () =>
        (
          await admin
            .deliveries('orders', 'mail')
            .catch(() => [])
        ).length === 1,
    );
    // #region pending
    const pending = await admin.deliveries('orders', 'mail');
    // each: { partition, offset, state, attempt, ageMs,
    //         dueMs, reason, session, lane }
    // #endregion
    release();
    stop.abort();
    await running;
    return {
      pending: pending.length,
      deliveries: pending[0]?.attempt,
    };
  },

  async 'several programs, each with all events'({ client }) {
    await place(client, '7');
    const orders = client.stream<Orders>('orders');
    const of = async (group: string): Promise<string[]> => {
      const seen: string[] = [];
      const stop = new AbortController();
      const { signal } = stop;
      // #region groups
      const running = orders.run(
        { group, signal },
        (m) => void seen.push(m.data.id),
      ); // the group is made when it is missing
      // #endregion
      await until(() => seen.length === 1);
      stop.abort();
      await running;
      return seen;
    };
    return { mail: await of('mail'), stock: await of('stock') };
  },
};
