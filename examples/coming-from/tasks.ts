/**
 * What the pages docs/coming-from-*.md show twice, theirs and ours, and what either must come to. Both sides are tried against the
 * same table: ours in ours.test.ts, theirs by `npm run test:compat -- migration`.
 */

export const BULLMQ = {
  'add and work': ['ann@example.com'],
  'several kinds of jobs': ['welcome ann@example.com', 'receipt bob@example.com'],
  'retries and back-off': { attempts: 3, done: true },
  'giving up at once': { attempts: 1, failed: ['no such address'] },
  'failed jobs, again': { failed: ['mail server is down'], sent: ['ann@example.com'] },
  later: { waited: true, sent: ['ann@example.com'] },
  'in order': ['1', '2', '3'],
  'not too fast': { sent: 4, atOnce: false },
  'the same job twice': ['ann@example.com'],
  'how much is waiting': { waiting: 2 },
} as const;

export const REDIS_STREAMS = {
  'add and consume': ['7'],
  'a consumer that died': ['7'],
  poison: { attempts: 3, dead: ['7'] },
  'reading without a group': ['1', '2', '3'],
  replay: ['1', '2', '1', '2'],
  'keeping a limited history': { small: true },
  'what is pending': { pending: 1, deliveries: 1 },
  'several programs, each with all events': { mail: ['7'], stock: ['7'] },
} as const;

/** A side of a page: every task of it, by name. */
export type Side<Tasks, Context> = { readonly [K in keyof Tasks]: (context: Context) => Promise<unknown> };

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 25_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('it did not happen within 25 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
