/** Redis Streams' side of docs/coming-from-redis-streams.md, with ioredis. Tried by `npm run test:compat -- migration`. */
import type { Redis } from 'ioredis';
import {
  type REDIS_STREAMS,
  type Side,
  until,
} from '../tasks.ts';

type Entry = [id: string, fields: string[]];
type Read = [stream: string, entries: Entry[]][] | null;

const handled: string[] = [];
const handle = async (data: { id: string }): Promise<void> =>
  void handled.push(data.id);

const dataOf = ([, fields]: Entry): { id: string } =>
  JSON.parse(fields[fields.indexOf('data') + 1] ?? 'null') as {
    id: string;
  };

const place = (
  redis: Redis,
  id: string,
): Promise<string | null> =>
  redis.xadd(
    'orders',
    '*',
    'type',
    'order.placed',
    'data',
    JSON.stringify({ id }),
  );

export const redisStreams: Side<typeof REDIS_STREAMS, Redis> = {
  async 'add and consume'(redis) {
    handled.length = 0;
    // #region add
    const data = JSON.stringify({ id: '7' });
    // biome-ignore format: a command as it is written
    await redis.xadd(
      'orders', '*', 'type', 'order.placed', 'data', data,
    );
    // #endregion
    let stopped = false;
    const reader = redis.duplicate(); // a connection that blocks
    const consume = async (): Promise<void> => {
      // #region consume
      await redis
        .xgroup('CREATE', 'orders', 'mail', '0', 'MKSTREAM')
        .catch(() => undefined); // it is there already
      while (!stopped) {
        // biome-ignore format: a command as it is written
        const read = (await reader.xreadgroup(
          'GROUP', 'mail', 'consumer-1', 'COUNT', 10,
          'BLOCK', 100, 'STREAMS', 'orders', '>',
        )) as Read;
        for (const entry of read?.[0]?.[1] ?? []) {
          await handle(dataOf(entry));
          await redis.xack('orders', 'mail', entry[0]);
        }
      }
      // #endregion
    };
    const running = consume();
    await until(() => handled.length === 1);
    stopped = true;
    await running;
    await reader.quit();
    return handled;
  },

  async 'a consumer that died'(redis) {
    handled.length = 0;
    await place(redis, '7');
    await redis.xgroup('CREATE', 'orders', 'mail', '0');
    // Read by one that never answers.
    await redis.xreadgroup(
      'GROUP',
      'mail',
      'dead',
      'COUNT',
      1,
      'STREAMS',
      'orders',
      '>',
    );
    await new Promise((resolve) => setTimeout(resolve, 250));
    // #region died
    // Somebody must do this again and again:
    // biome-ignore format: a command as it is written
    const [, entries] = (await redis.xautoclaim(
      'orders', 'mail', 'consumer-2', 200, '0',
    )) as [string, Entry[]];
    for (const entry of entries) {
      await handle(dataOf(entry));
      await redis.xack('orders', 'mail', entry[0]);
    }
    // #endregion
    return handled;
  },

  async poison(redis) {
    let attempts = 0;
    await place(redis, '7');
    await redis.xgroup('CREATE', 'orders', 'mail', '0');
    await redis.xreadgroup(
      'GROUP',
      'mail',
      'c',
      'COUNT',
      1,
      'STREAMS',
      'orders',
      '>',
    );
    attempts += 1; // and it failed
    const maxDeliveries = 3;
    const again = async (): Promise<void> => {
      // #region poison
      // biome-ignore format: a command as it is written
      const pending = (await redis.xpending(
        'orders', 'mail', 'IDLE', 100, '-', '+', 10,
      )) as [string, string, number, number][];
      for (const [id, , , deliveries] of pending) {
        // biome-ignore format: a command as it is written
        const [entry] = (await redis.xclaim(
          'orders', 'mail', 'c', 100, id,
        )) as Entry[];
        if (entry === undefined) continue; // another was quicker
        if (deliveries >= maxDeliveries) {
          await redis
            .multi()
            .xadd('orders.dead', '*', ...entry[1])
            .xack('orders', 'mail', id)
            .exec();
          continue;
        }
        attempts += 1; // handle it; it fails again
      }
      // #endregion
    };
    await until(async () => {
      await again();
      return (await redis.xlen('orders.dead')) === 1;
    });
    const dead = (
      (await redis.xrange('orders.dead', '-', '+')) as Entry[]
    ).map((entry) => dataOf(entry).id);
    return { attempts, dead };
  },

  async 'reading without a group'(redis) {
    for (const id of ['1', '2', '3']) await place(redis, id);
    const read: string[] = [];
    // #region read
    let last = '0';
    while (read.length < 3) {
      // biome-ignore format: a command as it is written
      const found = (await redis.xread(
        'COUNT', 100, 'BLOCK', 100, 'STREAMS', 'orders', last,
      )) as Read;
      for (const entry of found?.[0]?.[1] ?? []) {
        read.push(dataOf(entry).id);
        last = entry[0]; // keep it, to go on here
      }
    }
    // #endregion
    return read;
  },

  async replay(redis) {
    const seen: string[] = [];
    for (const id of ['1', '2']) await place(redis, id);
    await redis.xgroup('CREATE', 'orders', 'mail', '0');
    const consume = async (): Promise<void> => {
      const read = (await redis.xreadgroup(
        'GROUP',
        'mail',
        'c',
        'COUNT',
        10,
        'STREAMS',
        'orders',
        '>',
      )) as Read;
      for (const entry of read?.[0]?.[1] ?? []) {
        seen.push(dataOf(entry).id);
        await redis.xack('orders', 'mail', entry[0]);
      }
    };
    await consume();
    // #region replay
    await redis.xgroup('SETID', 'orders', 'mail', '0');
    // #endregion
    await consume();
    return seen;
  },

  async 'keeping a limited history'(redis) {
    const data = JSON.stringify({ id: '7' });
    // #region trim
    for (let i = 0; i < 1_000; i++) {
      // biome-ignore format: a command as it is written
      await redis.xadd(
        'orders', 'MAXLEN', '~', 100, '*', 'data', data,
      ); // each producer must say so
    }
    // #endregion
    return { small: (await redis.xlen('orders')) < 500 };
  },

  async 'what is pending'(redis) {
    await place(redis, '7');
    await redis.xgroup('CREATE', 'orders', 'mail', '0');
    await redis.xreadgroup(
      'GROUP',
      'mail',
      'c',
      'COUNT',
      1,
      'STREAMS',
      'orders',
      '>',
    );
    // #region pending
    // biome-ignore format: a command as it is written
    const pending = (await redis.xpending(
      'orders', 'mail', '-', '+', 10,
    )) as [string, string, idleMs: number, count: number][];
    // #endregion
    return {
      pending: pending.length,
      deliveries: pending[0]?.[3],
    };
  },

  async 'several programs, each with all events'(redis) {
    await place(redis, '7');
    const of = async (group: string): Promise<string[]> => {
      // #region groups
      await redis.xgroup('CREATE', 'orders', group, '0');
      // #endregion
      const read = (await redis.xreadgroup(
        'GROUP',
        group,
        'c',
        'STREAMS',
        'orders',
        '>',
      )) as Read;
      return (read?.[0]?.[1] ?? []).map(
        (entry) => dataOf(entry).id,
      );
    };
    return { mail: await of('mail'), stock: await of('stock') };
  },
};
