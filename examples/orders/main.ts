/** `npm run example orders`: the shop, killed with -9 again and again while it works; and whether the money is right. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { connect } from '@hadron/client';
import { orderEvents, paymentEvents } from './events.ts';
import type { Job } from './process.ts';

const ORDERS = 300;
const KILLS = 6;
/** A life ends when at most so many more are paid. */
const PAID_IN_A_LIFE = 60;
const LOOK_EVERY_MS = 2;

const program = fileURLToPath(new URL('process.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'hadron-shop-'));
const url = process.env['HADRON_URL'] ?? 'http://127.0.0.1:7000';
const run = randomUUID().slice(0, 8);
const names = { payments: `payments-${run}`, orders: `orders-${run}` };
const orders = Array.from({ length: ORDERS }, (_, i) => ({ id: `${run}-${i}`, item: 'teapot', cents: 1_000 + i }));
const total = orders.reduce((sum, { cents }) => sum + cents, 0);
const db = new DatabaseSync(join(folder, 'shop.db'), { timeout: 1_000 }); // to look, while the shop writes
const job: Job = { file: join(folder, 'shop.db'), url, names, orders };

await using client = connect({ source: '/bank', url });
const payments = orders.map(({ id, cents }) => {
  return { type: 'payment.received', data: { order: id, cents }, subject: id, id: `payment-${id}` } as const;
});
await client.stream(names.payments, paymentEvents).publishMany([...payments, ...payments]);
console.log(`${ORDERS} orders; their payments are published, each of them twice.\n`);

for (let life = 1; life <= KILLS + 1; life++) {
  const killed = await live(life <= KILLS ? look().paid + Math.ceil(Math.random() * PAID_IN_A_LIFE) : undefined);
  const { paid, cents } = look();
  const bar = '█'.repeat(Math.round((paid / ORDERS) * 40)).padEnd(40, '·');
  console.log(`life ${life}  ${bar} ${String(paid).padStart(3)} paid, till ${(cents / 100).toFixed(2)}  ${killed}`);
  if (killed === 'done') break;
}

const copies = new Map<string, number>();
for await (const m of client.stream(names.orders, orderEvents).tail({ from: 'beginning' })) {
  copies.set(m.id, (copies.get(m.id) ?? 0) + 1);
  if (copies.size === 2 * ORDERS) break;
}
const twice = [...copies.values()].filter((n) => n > 1).length;
const { cents } = look();
console.log(`
In the till: ${(cents / 100).toFixed(2)}; it must be ${(total / 100).toFixed(2)}: ${cents === total ? 'right' : 'WRONG'}
Events told: ${copies.size}; ${twice} of them lie in the stream more than once, with the same identity`);
db.close();
rmSync(folder, { recursive: true });
if (cents !== total) process.exitCode = 1;

/** The shop as a process, until `paid` orders are paid or it is done. */
function live(paid: number | undefined): Promise<string> {
  const argv = [...process.execArgv, program, JSON.stringify(job)];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] });
  const timer = setInterval(() => {
    if (paid !== undefined && look().paid >= paid) child.kill('SIGKILL');
  }, LOOK_EVERY_MS);
  return new Promise((resolve) => {
    child.on('exit', (code) => {
      clearInterval(timer);
      resolve(code === 0 ? 'done' : 'killed');
    });
  });
}

function look(): { paid: number; cents: number } {
  const number = (sql: string): number => {
    try {
      return Number(db.prepare(sql).get()?.['n']);
    } catch {
      return 0; // the shop has not made its tables yet
    }
  };
  return {
    paid: number(`SELECT count(*) AS n FROM orders WHERE state = 'paid'`),
    cents: number('SELECT cents AS n FROM till'),
  };
}
