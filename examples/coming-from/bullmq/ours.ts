/** Hadron's side of docs/coming-from-bullmq.md. Tried by ours.test.ts. */
import { type Client, connect, Terminal } from '@hadron/client';
import { type BULLMQ, type Side, until } from '../tasks.ts';

/** A server for one task; its address where a task makes a client of its own. */
export interface Context {
  readonly client: Client;
  readonly url: string;
}

/** A little less than the examples say: clocks are read at different moments. */
const DELAY_MS = 480;

const sent: string[] = [];
let attempts = 0;
/** Of the next tries to send. */
let failures = 0;
let stop = new AbortController();

async function send(text: string): Promise<void> {
  attempts += 1;
  if (failures-- > 0) throw new Error('mail server is down');
  sent.push(text);
}

function begin(): AbortSignal {
  sent.length = 0;
  attempts = 0;
  failures = 0;
  stop = new AbortController();
  return stop.signal;
}

export const bullmq: Side<typeof BULLMQ, Context> = {
  async 'add and work'({ client }) {
    begin();
    // #region add
    const mail = client.stream<{
      welcome: { to: string };
    }>('mail');
    await mail.publish('welcome', { to: 'ann@example.com' });
    // #endregion
    // #region work
    const running = mail.run(
      { group: 'sender', concurrency: 20 },
      {
        welcome: async (m) => {
          await send(m.data.to);
        },
      },
    ); // SIGTERM drains it
    // #endregion
    await until(() => sent.length === 1);
    await client.drain();
    await running;
    return sent;
  },

  async 'several kinds of jobs'({ client }) {
    const signal = begin();
    const mail = client.stream<{
      welcome: { to: string };
      receipt: { to: string };
    }>('mail');
    await mail.publish('welcome', { to: 'ann@example.com' });
    await mail.publish('receipt', { to: 'bob@example.com' });
    // #region kinds
    const running = mail.run(
      { group: 'sender', signal },
      {
        welcome: (m) => send(`welcome ${m.data.to}`),
        receipt: (m) => send(`receipt ${m.data.to}`),
      }, // one missing: does not compile
    );
    // #endregion
    await until(() => sent.length === 2);
    stop.abort();
    await running;
    return sent;
  },

  async 'retries and back-off'({ client }) {
    const signal = begin();
    failures = 2;
    const mail = client.stream<{ welcome: { to: string } }>(
      'mail',
    );
    await mail.publish('welcome', { to: 'ann@example.com' });
    // #region retries
    const running = mail.run(
      {
        group: 'sender',
        policy: {
          maxDeliveries: 10,
          backoff: ['100ms', '200ms', '400ms'],
        },
        signal,
      },
      { welcome: (m) => send(m.data.to) },
    );
    // #endregion
    await until(() => sent.length === 1);
    stop.abort();
    await running;
    return { attempts, done: true };
  },

  async 'giving up at once'({ client }) {
    const signal = begin();
    const mail = client.stream<{ welcome: { to: string } }>(
      'mail',
    );
    await mail.publish('welcome', { to: 'nobody' });
    // #region unrecoverable
    const running = mail.run(
      { group: 'sender', signal },
      {
        welcome: (m) => {
          attempts += 1;
          if (!m.data.to.includes('@'))
            throw new Terminal('no such address');
        },
      },
    );
    // #endregion
    await until(
      async () =>
        (await client.admin.countDeadLetters('mail')) === 1,
    );
    const failed = (await client.admin.deadLetters('mail')).map(
      ({ reason }) => reason,
    );
    stop.abort();
    await running;
    return { attempts, failed };
  },

  async 'failed jobs, again'({ client }) {
    const signal = begin();
    failures = 1;
    const mail = client.stream<{ welcome: { to: string } }>(
      'mail',
    );
    await mail.publish('welcome', { to: 'ann@example.com' });
    const running = mail.run(
      { group: 'sender', policy: { maxDeliveries: 1 }, signal },
      { welcome: (m) => send(m.data.to) },
    );
    await until(
      async () =>
        (await client.admin.countDeadLetters('mail')) === 1,
    );
    const reasons: string[] = [];
    // #region failed
    const { admin } = client;
    for (const letter of await admin.deadLetters('mail')) {
      reasons.push(letter.reason);
    }
    await admin.redrive('mail', { group: 'sender' });
    // #endregion
    await until(() => sent.length === 1);
    stop.abort();
    await running;
    return { failed: reasons, sent };
  },

  async later({ client }) {
    const signal = begin();
    const mail = client.stream<{ welcome: { to: string } }>(
      'mail',
    );
    const data = { to: 'ann@example.com' };
    const began = performance.now();
    // #region later
    await mail.publish('welcome', data, { delay: '500ms' });
    // #endregion
    const running = mail.run(
      { group: 'sender', signal },
      { welcome: (m) => send(m.data.to) },
    );
    await until(() => sent.length === 1);
    const waited = performance.now() - began >= DELAY_MS;
    stop.abort();
    await running;
    return { waited, sent };
  },

  async 'in order'({ client }) {
    const signal = begin();
    const mail = client.stream<{ welcome: { to: string } }>(
      'mail',
    );
    const publish = async (to: string): Promise<void> => {
      const data = { to };
      // #region order
      await mail.publish('welcome', data, {
        subject: 'ann', // in order for ann; bob does not wait
      });
      // #endregion
    };
    for (const to of ['1', '2', '3']) await publish(to);
    const running = mail.run(
      { group: 'sender', concurrency: 20, signal },
      { welcome: (m) => send(m.data.to) },
    );
    await until(() => sent.length === 3);
    stop.abort();
    await running;
    return sent;
  },

  async 'not too fast'({ client }) {
    const signal = begin();
    const mail = client.stream<{ welcome: { to: string } }>(
      'mail',
    );
    for (const to of ['1', '2', '3', '4'])
      await mail.publish('welcome', { to });
    // #region limit
    const rateLimit = {
      count: 2,
      perMs: 500,
      by: 'group', // or 'key': for each subject
    } as const;
    await client.admin.createGroup('mail', 'sender', {
      rateLimit,
    });
    // #endregion
    const began = performance.now();
    const running = mail.run(
      { group: 'sender', concurrency: 20, signal },
      { welcome: (m) => send(m.data.to) },
    );
    await until(() => sent.length === 4);
    const atOnce = performance.now() - began < 400;
    stop.abort();
    await running;
    return { sent: sent.length, atOnce };
  },

  async 'the same job twice'({ url }) {
    const signal = begin();
    const data = { to: 'ann@example.com' };
    // #region twice
    // The stream has a window: see stream.yaml below.
    const shop = connect({
      source: '/shop',
      url,
      transport: 'http',
    });
    const mail = shop.stream('mail');
    const id = 'welcome-ann';
    await mail.publish('welcome', data, { id });
    await mail.publish('welcome', data, { id }); // not stored
    // #endregion
    const running = mail.run({ group: 'sender', signal }, (m) =>
      send((m.data as typeof data).to),
    );
    await until(async () => {
      const [group] = await shop.admin.groups('mail');
      return (
        group?.counts.acked === 1 &&
        group.partitions.every(({ lag }) => lag === 0)
      );
    });
    stop.abort();
    await running;
    await shop.close();
    return sent;
  },

  async 'how much is waiting'({ client }) {
    const mail = client.stream('mail');
    await mail.publish('welcome', { to: '1' });
    await mail.publish('welcome', { to: '2' });
    await client.admin.createGroup('mail', 'sender');
    // #region waiting
    const { admin } = client;
    const group = await admin.group('mail', 'sender');
    const waiting = group.partitions
      .map(({ lag }) => lag)
      .reduce((sum, lag) => sum + lag, 0);
    // #endregion
    return { waiting };
  },
};
