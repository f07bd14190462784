/** Inbox and outbox over node:sqlite and a broker in memory. Killed at every statement: examples/orders. */
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Hadron, openHadron } from '../embedded/index.ts';
import type { Client } from '../index.ts';
import { InboxOutbox } from './index.ts';

type Orders = { 'order.placed': { id: string }; 'order.closed': undefined };

let db: DatabaseSync;
let boxes: InboxOutbox;
let hadron: Hadron;
let client: Client;

beforeEach(async () => {
  db = new DatabaseSync(':memory:');
  db.exec('CREATE TABLE effects (what TEXT)');
  boxes = new InboxOutbox(db, { source: '/shop' });
  hadron = await openHadron({ memory: true });
  client = hadron.connect({ source: '/somebody' });
});

afterEach(async () => {
  await hadron.close();
  db.close();
});

const message = { id: '1', source: '/payments' };
const effect = (what: string): void => void db.prepare('INSERT INTO effects VALUES (?)').run(what);
const count = (table: string): number => Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.['n']);
const orders = () => client.stream<Orders>('orders');

async function published(many: number) {
  const found = [];
  for await (const m of client.stream('orders').tail({ from: 'beginning' })) {
    found.push(m);
    if (found.length === many) break;
  }
  return found;
}

describe('inbox', () => {
  test('the work of an event is done once', () => {
    expect(boxes.once(message, () => effect('paid'))).toBe(true);
    expect(boxes.once(message, () => effect('paid'))).toBe(false);
    expect(boxes.once({ ...message, source: '/elsewhere' }, () => effect('paid'))).toBe(true);
    expect(count('effects')).toBe(2);
  });

  test('what throws leaves nothing, and is done when the event comes again', () => {
    const failing = (): void => {
      effect('half');
      boxes.put(orders(), 'order.placed', { id: '7' });
      throw new Error('out of paper');
    };
    expect(() => boxes.once(message, failing)).toThrow('out of paper');
    expect([count('effects'), count('hadron_inbox'), count('hadron_outbox')]).toEqual([0, 0, 0]);
    expect(boxes.once(message, () => effect('whole'))).toBe(true);
  });

  test('two consumers of one database see an event once each', () => {
    const other = new InboxOutbox(db, { source: '/shop', consumer: 'statistics' });
    expect([boxes.once(message, () => undefined), other.once(message, () => undefined)]).toEqual([true, true]);
    expect([boxes.once(message, () => undefined), other.once(message, () => undefined)]).toEqual([false, false]);
  });

  test('async work is refused, also where the compiler did not see it, and rolled back', () => {
    // @ts-expect-error -- what the types say
    expect(() => boxes.once(message, async () => effect('late'))).toThrow(/must not be async/);
    expect([count('effects'), count('hadron_inbox')]).toEqual([0, 0]);
  });

  test('transactions are not nested', () => {
    expect(() => boxes.once(message, () => boxes.transaction(() => effect('inner')))).toThrow(TypeError);
    expect(count('hadron_inbox')).toBe(0);
  });

  test('what is old is forgotten', () => {
    boxes.once(message, () => undefined);
    db.exec(`UPDATE hadron_inbox SET time = '2020-01-01T00:00:00.000Z'`);
    boxes.once({ ...message, id: '2' }, () => undefined);
    expect(boxes.forget('30d')).toBe(1);
    expect(boxes.once({ ...message, id: '2' }, () => undefined)).toBe(false);
  });
});

describe('outbox', () => {
  test('put outside of a transaction is refused', () => {
    expect(() => boxes.put(orders(), 'order.placed', { id: '7' })).toThrow(/once\(\) or transaction\(\)/);
  });

  test('events go out in order with the source of the boxes and everything that was said of them', async () => {
    const before = Date.now();
    boxes.transaction(() => {
      boxes.put(orders(), 'order.placed', { id: '7' }, { subject: '7', attributes: { tenant: 'acme' } });
      boxes.put(orders(), 'order.closed', undefined, { id: 'mine', delay: '1h' });
    });
    expect(await boxes.shipNow(client)).toBe(2);
    expect(count('hadron_outbox')).toBe(0);
    const [placed, closed] = await published(2);
    expect(placed).toMatchObject({ type: 'order.placed', source: '/shop', subject: '7', data: { id: '7' } });
    expect(placed?.id).toMatch(/^[0-9a-f]{32}$/);
    expect(placed?.attributes.get('tenant')).toBe('acme');
    expect(closed).toMatchObject({ id: 'mine', type: 'order.closed', data: undefined });
    expect(Date.parse(closed?.attributes.get('deliverat') ?? '')).toBeGreaterThanOrEqual(before + 3_600_000);
  });

  test('what is shipped twice is the same event: identity and time', async () => {
    boxes.transaction(() => boxes.put(orders(), 'order.placed', { id: '7' }));
    const row = db.prepare('SELECT * FROM hadron_outbox').get() as Record<string, string | number>;
    await boxes.shipNow(client);
    // As if the process had died before the row was deleted.
    const { seq = 0, id = '', stream = '', event = '' } = row;
    db.prepare('INSERT INTO hadron_outbox (seq, id, stream, event) VALUES (?, ?, ?, ?)').run(seq, id, stream, event);
    await boxes.shipNow(client);
    const [first, second] = await published(2);
    expect([second?.id, second?.source, second?.time]).toEqual([first?.id, first?.source, first?.time]);
    expect(second?.offset).not.toBe(first?.offset);
  });

  test('what comes behind an event that cannot go out waits, whatever its stream', async () => {
    boxes.transaction(() => {
      boxes.put(client.stream('a'), 'n', 0);
      boxes.put(client.stream('b'), 'n', 1, { attributes: { 'Not-A-Name': 1 } });
      boxes.put(client.stream('a'), 'n', 2);
    });
    await expect(boxes.shipNow(client)).rejects.toMatchObject({ code: 'EVENT_INVALID' });
    expect(db.prepare('SELECT stream FROM hadron_outbox ORDER BY seq').all()).toEqual([
      { stream: 'b' },
      { stream: 'a' },
    ]);
  });

  test('ship publishes what is put later without waiting for its next look, and ends with its signal', async () => {
    const stop = new AbortController();
    const shipping = boxes.ship(client, { signal: stop.signal, poll: '1h' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    boxes.transaction(() => boxes.put(orders(), 'order.placed', { id: '7' }));
    expect(await published(1)).toHaveLength(1);
    stop.abort();
    await shipping;
  });

  test('an event that can never be published is told with its row, which stays', async () => {
    boxes.transaction(() => boxes.put(orders(), 'order.placed', { id: '7' }, { attributes: { 'Not-A-Name': 1 } }));
    await expect(boxes.ship(client)).rejects.toThrow(/^EVENT_INVALID: (?!EVENT).*seq 1 to 1, for stream orders/);
    expect(count('hadron_outbox')).toBe(1);
  });

  test('ship ends when its client is closed', async () => {
    const shipping = boxes.ship(client);
    await client.close();
    boxes.transaction(() => boxes.put(orders(), 'order.placed', { id: '7' }));
    await shipping;
    expect(count('hadron_outbox')).toBe(1);
  });
});
