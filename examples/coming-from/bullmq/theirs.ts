/** BullMQ's side of docs/coming-from-bullmq.md. Tried against Redis by `npm run test:compat -- migration`. */
import {
  type ConnectionOptions,
  Queue,
  UnrecoverableError,
  Worker,
} from 'bullmq';
import { type BULLMQ, type Side, until } from '../tasks.ts';

/** A little less than the examples say: clocks are read at different moments. */
const DELAY_MS = 480;

const sent: string[] = [];
let attempts = 0;
/** Of the next tries to send. */
let failures = 0;

async function send(text: string): Promise<void> {
  attempts += 1;
  if (failures-- > 0) throw new Error('mail server is down');
  sent.push(text);
}

function begin(): void {
  sent.length = 0;
  attempts = 0;
  failures = 0;
}

export const bullmq: Side<typeof BULLMQ, ConnectionOptions> = {
  async 'add and work'(connection) {
    begin();
    // #region add
    const queue = new Queue('mail', { connection });
    await queue.add('welcome', { to: 'ann@example.com' });
    // #endregion
    // #region work
    const worker = new Worker(
      'mail',
      async (job) => {
        await send(job.data.to);
      },
      { connection, concurrency: 20 },
    );
    process.once('SIGTERM', () => void worker.close());
    // #endregion
    await until(() => sent.length === 1);
    await worker.close();
    await queue.close();
    return sent;
  },

  async 'several kinds of jobs'(connection) {
    begin();
    const queue = new Queue('mail', { connection });
    await queue.add('welcome', { to: 'ann@example.com' });
    await queue.add('receipt', { to: 'bob@example.com' });
    // #region kinds
    const worker = new Worker(
      'mail',
      async (job) => {
        switch (job.name) {
          case 'welcome':
            return send(`welcome ${job.data.to}`);
          case 'receipt':
            return send(`receipt ${job.data.to}`);
        }
      },
      { connection },
    );
    // #endregion
    await until(() => sent.length === 2);
    await worker.close();
    await queue.close();
    return sent;
  },

  async 'retries and back-off'(connection) {
    begin();
    failures = 2;
    const queue = new Queue('mail', { connection });
    const data = { to: 'ann@example.com' };
    // #region retries
    await queue.add('welcome', data, {
      attempts: 10,
      backoff: { type: 'exponential', delay: 100 },
    });
    // #endregion
    const worker = new Worker(
      'mail',
      async (job) => send(job.data.to),
      { connection },
    );
    await until(() => sent.length === 1);
    await worker.close();
    await queue.close();
    return { attempts, done: true };
  },

  async 'giving up at once'(connection) {
    begin();
    const queue = new Queue('mail', { connection });
    await queue.add(
      'welcome',
      { to: 'nobody' },
      { attempts: 10 },
    );
    // #region unrecoverable
    const worker = new Worker(
      'mail',
      async (job) => {
        attempts += 1;
        if (!job.data.to.includes('@'))
          throw new UnrecoverableError('no such address');
      },
      { connection },
    );
    // #endregion
    await until(
      async () => (await queue.getFailedCount()) === 1,
    );
    const failed = (await queue.getFailed()).map(
      (job) => job.failedReason,
    );
    await worker.close();
    await queue.close();
    return { attempts, failed };
  },

  async 'failed jobs, again'(connection) {
    begin();
    failures = 1;
    const queue = new Queue('mail', { connection });
    await queue.add('welcome', { to: 'ann@example.com' });
    const worker = new Worker(
      'mail',
      async (job) => send(job.data.to),
      { connection },
    );
    await until(
      async () => (await queue.getFailedCount()) === 1,
    );
    const reasons: string[] = [];
    // #region failed
    for (const job of await queue.getFailed()) {
      reasons.push(job.failedReason);
      await job.retry();
    }
    // #endregion
    await until(() => sent.length === 1);
    await worker.close();
    await queue.close();
    return { failed: reasons, sent };
  },

  async later(connection) {
    begin();
    const queue = new Queue('mail', { connection });
    const data = { to: 'ann@example.com' };
    const began = performance.now();
    // #region later
    await queue.add('welcome', data, { delay: 500 });
    // #endregion
    const worker = new Worker(
      'mail',
      async (job) => send(job.data.to),
      { connection },
    );
    await until(() => sent.length === 1);
    const waited = performance.now() - began >= DELAY_MS;
    await worker.close();
    await queue.close();
    return { waited, sent };
  },

  async 'in order'(connection) {
    begin();
    const queue = new Queue('mail', { connection });
    for (const to of ['1', '2', '3'])
      await queue.add('welcome', { to });
    // #region order
    const worker = new Worker(
      'mail',
      async (job) => send(job.data.to),
      { connection, concurrency: 1 }, // of all workers: one
    );
    // #endregion
    await until(() => sent.length === 3);
    await worker.close();
    await queue.close();
    return sent;
  },

  async 'not too fast'(connection) {
    begin();
    const queue = new Queue('mail', { connection });
    for (const to of ['1', '2', '3', '4'])
      await queue.add('welcome', { to });
    const began = performance.now();
    // #region limit
    const worker = new Worker(
      'mail',
      async (job) => send(job.data.to),
      { connection, limiter: { max: 2, duration: 500 } },
    );
    // #endregion
    await until(() => sent.length === 4);
    const atOnce = performance.now() - began < 400;
    await worker.close();
    await queue.close();
    return { sent: sent.length, atOnce };
  },

  async 'the same job twice'(connection) {
    begin();
    const queue = new Queue('mail', { connection });
    const data = { to: 'ann@example.com' };
    // #region twice
    const jobId = 'welcome-ann';
    await queue.add('welcome', data, { jobId });
    await queue.add('welcome', data, { jobId }); // is not added
    // #endregion
    const worker = new Worker(
      'mail',
      async (job) => send(job.data.to),
      { connection },
    );
    await until(
      async () =>
        (await queue.getCompletedCount()) > 0 &&
        (await queue.getWaitingCount()) === 0,
    );
    await worker.close();
    await queue.close();
    return sent;
  },

  async 'how much is waiting'(connection) {
    const queue = new Queue('mail', { connection });
    await queue.add('welcome', { to: '1' });
    await queue.add('welcome', { to: '2' });
    // #region waiting
    const counts = await queue.getJobCounts();
    const { waiting } = counts;
    // #endregion
    await queue.close();
    return { waiting };
  },
};
