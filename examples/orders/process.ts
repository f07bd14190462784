/**
 * The shop as a process of its own, which can be told to kill itself (SIGKILL) at the Nth boundary of its statements:
 *
 *   node orders/process.ts '{"file": "shop.db", "url": "http://…", "orders": [ … ], "names": { … }, "dieAt": 7}'
 *
 * It places the orders, works until all are paid and everything is published and acknowledged, and ends; 0 means that it has. It
 * prints how many boundaries it has passed.
 */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@hadron/client';
import type { SqliteDatabase } from '@hadron/client/sqlite';
import { type Order, Shop } from './shop.ts';

export interface Job {
  readonly file: string;
  readonly url: string;
  readonly names: { readonly payments: string; readonly orders: string };
  readonly orders: readonly Order[];
  /** 1 is the first. Absent: lives. */
  readonly dieAt?: number | undefined;
}

const BUSY_MS = 5_000;

/** Runs the job to its end. `boundary` is called before and after every statement of the shop. */
export async function runShop(job: Job, boundary: () => void = () => undefined): Promise<void> {
  const db = new DatabaseSync(job.file, { timeout: BUSY_MS });
  db.exec('PRAGMA journal_mode = WAL'); // others can look while it writes; synchronous stays FULL, so a commit is on the disk
  await using client = connect({ source: '/shop', url: job.url });
  const shop = new Shop(watched(db, boundary), client, job.names);
  const stop = new AbortController();
  const working = shop.work(stop.signal);
  for (const order of job.orders) shop.place(order);
  const done = (async () => {
    while (!(await isDone(db, job, client))) await sleep(10);
  })();
  await Promise.race([working, done]);
  stop.abort();
  await working;
  db.close();
}

async function isDone(db: DatabaseSync, job: Job, client: ReturnType<typeof connect>): Promise<boolean> {
  const open = db.prepare(`SELECT count(*) AS n FROM orders WHERE state <> 'paid'`).get()?.['n'];
  const unshipped = db.prepare('SELECT count(*) AS n FROM hadron_outbox').get()?.['n'];
  if (open !== 0 || unshipped !== 0) return false;
  const { partitions } = await client.admin.group(job.names.payments, 'shop');
  return partitions.every(({ lag }) => lag === 0);
}

function watched(db: DatabaseSync, boundary: () => void): SqliteDatabase {
  const around = <R>(run: () => R): R => {
    boundary();
    const result = run();
    boundary();
    return result;
  };
  return {
    exec: (sql) => around(() => db.exec(sql)),
    prepare(sql) {
      const statement = db.prepare(sql);
      return {
        run: (...parameters) => around(() => statement.run(...parameters)),
        all: (...parameters) => around(() => statement.all(...parameters)),
      };
    },
  };
}

if (import.meta.main) {
  const job = JSON.parse(process.argv[2] ?? '') as Job;
  let passed = 0;
  await runShop(job, () => {
    passed += 1;
    if (passed !== job.dieAt) return;
    process.kill(process.pid, 'SIGKILL');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // not one instruction more
  });
  console.log(passed);
}
