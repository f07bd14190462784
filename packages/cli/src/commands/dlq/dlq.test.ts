/** `hadron dlq …` as people type it, against a real server (statements 11, 17; delivery.md D19, D20). */
import { connect, Terminal } from '@hadron/client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../program.ts';
import { openServer, type TestServer } from '../../testing.ts';

let server: TestServer;
beforeEach(async () => {
  server = await openServer();
});
afterEach(() => server.close());

/** Publishes `count` events of which the group gives up on each. */
async function fail(count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, n) => `{"n":${n}}\n`).join('');
  await server.out(['pub', 'orders', '--type', 'job', '--subject', 's', '-q'], lines);
  const client = connect({ source: '/x', url: server.url });
  const stop = new AbortController();
  let seen = 0;
  await client.stream('orders').run({ group: 'mail', ordering: 'none', concurrency: 100, signal: stop.signal }, (m) => {
    seen += 1;
    if (seen === count) stop.abort();
    throw new Terminal(`cannot do ${(m.data as { n: number }).n} \u001b[31m`);
  });
  await client.close();
}

const count = async (): Promise<number> =>
  (await server.json<unknown[]>(['dlq', 'ls', 'orders', '--limit', '10000'])).length;

test('ls and show: where, why, and the event; harmless on a terminal', async () => {
  expect((await server.hadron(['dlq', 'ls', 'orders'])).err).toMatch(/No dead letters|TOPIC_NOT_FOUND/);
  await fail(3);
  const { out, err } = await server.hadron(['dlq', 'ls', 'orders', '--limit', '2']);
  const [head, first, second, end] = out.split('\n');
  expect(head).toMatch(/^POSITION +FROM +GROUP +CODE +ATTEMPTS +LAST +TYPE +SUBJECT +REASON$/);
  expect(first).toMatch(/^0\/\d +0\/\d +mail +HANDLER_TERMINAL +1 +\S+Z +job +s +cannot do \d \\x1b\[31m$/);
  expect([second?.slice(0, 2), end, err]).toEqual(['0/', '', '2 of 3; --limit shows more\n']);
  expect(await server.json(['dlq', 'ls', 'orders', '--group', 'other'])).toEqual([]);
  expect(await server.json(['dlq', 'ls', 'orders', '--code', 'HANDLER_TERMINAL', '--filter', 'type=job'])).toHaveLength(
    3,
  );
  expect(await server.json(['dlq', 'ls', 'orders', '--sql', "subject <> 's'"])).toEqual([]);

  const shown = await server.out(['dlq', 'show', 'orders', '0/1']);
  expect(shown).toMatch(
    /^orders\.dead 0\/1\n {2}event {5}orders 0\/\d\n {2}group {5}mail\n {2}code {6}HANDLER_TERMINAL\n/,
  );
  expect(shown).toContain('"type": "job"');
  expect(shown).not.toContain('\u001b');
  expect(await server.json(['dlq', 'show', 'orders', '0/1'])).toMatchObject({ offset: 1, event: { type: 'job' } });
  expect(await server.hadron(['dlq', 'show', 'orders', '0/99'])).toMatchObject({
    code: 3,
    err: expect.stringContaining('no open dead letter at 0/99'),
  });
  expect((await server.hadron(['dlq', 'show', 'orders', '99'])).err).toContain('PARTITION/OFFSET');
});

test('redrive: says how many first, needs --yes, one or all, to the group or elsewhere', async () => {
  await fail(4);
  const dry = await server.hadron(['dlq', 'redrive', 'orders', '--dry-run']);
  expect(dry).toEqual({ code: 0, out: '', err: 'Would give 4 dead letters of orders again to their groups.\n' });
  const unasked = await server.hadron(['dlq', 'redrive', 'orders', '--group', 'mail']);
  expect(unasked).toMatchObject({
    code: 1,
    err: expect.stringContaining('Give 4 dead letters of orders again to their groups; say --yes'),
  });
  expect(await count()).toBe(4);

  expect((await server.hadron(['dlq', 'redrive', 'orders', '0/2', '-y'])).err).toBe(
    'Gave 1 dead letter of orders again to its group.\n',
  );
  expect((await server.hadron(['dlq', 'redrive', 'orders', '0/2', '-y'])).code).toBe(3);
  const again = await server.json<{ event: { data: { n: number } } }[]>(['dlq', 'ls', 'orders']);
  expect(again).toHaveLength(3);
  const out = await server.out(['sub', 'orders', '-g', 'mail', '-n', '1', '--format', 'data']);
  expect(again.map(({ event }) => event.data.n)).not.toContain((JSON.parse(out) as { n: number }).n);

  const nowhere = await server.hadron(['dlq', 'redrive', 'orders', '--to', 'repaired', '-y']);
  expect(nowhere).toMatchObject({
    code: 3,
    err: expect.stringContaining('there is no stream repaired; create it first'),
  });
  await server.out(['kafka', 'topics', 'create', 'repaired', '--bootstrap', server.kafka]);
  expect(await server.json(['dlq', 'redrive', 'orders', '--to', 'repaired', '-y'])).toEqual({
    redriven: 3,
    matching: 3,
  });
  expect(await server.out(['tail', 'repaired', '--no-follow', '--format', 'data'])).toMatch(/^(\{"n":\d\}\n){3}$/);
  expect((await server.hadron(['dlq', 'redrive', 'orders', '-y'])).err).toBe('No dead letters of orders match.\n');
});

test('drop by filter; many with progress', async () => {
  await fail(1_200);
  await server.out(['pub', 'orders', '1', '--type', 'other', '-q']);
  expect(await server.json(['dlq', 'drop', 'orders', '--filter', 'subject=x', '-y'])).toEqual({
    dropped: 0,
    matching: 0,
  });
  expect((await server.hadron(['dlq', 'drop', 'orders', '--dry-run'])).err).toBe(
    'Would drop 1,200 dead letters of orders.\n',
  );
  const io = server.io({ isTTY: true });
  expect(await run(['dlq', 'drop', 'orders', '--yes'], io)).toBe(0);
  expect(io.err()).toMatch(/Dropping .*100%.*1,200 dead letters/);
  expect(io.err()).toMatch(/Dropped 1,200 dead letters of orders\.\n$/);
  expect(await count()).toBe(0);
});
