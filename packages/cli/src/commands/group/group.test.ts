/** `hadron group …` as people type it, against a real server (statement 17; delivery.md D4, D5, D22). */
import { connect } from '@hadron/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openServer, type TestServer } from '../../testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await openServer();
  await server.out(['kafka', 'topics', 'create', 'orders', '--partitions', '2', '--bootstrap', server.kafka]);
  for (const partition of ['0', '1'])
    await server.out(['pub', 'orders', '--type', 'job', '--partition', partition, '-q'], '1\n2\n3\n');
});
afterAll(() => server.close());

test('create, ls, describe: settings in the words of the flags, a line for each partition', async () => {
  const settings = ['--max-deliveries', '5', '--backoff', '1s,1.5s,2m', '--timeout', '90s', '--max-processing', '1h'];
  const more = [
    '--rate',
    '50/1s/key',
    '--hold-retention',
    '--filter',
    'type=job',
    '--window',
    '3',
    '--start-offset',
    '1',
  ];
  const made = await server.hadron(['group', 'create', 'orders', 'mail', ...settings, ...more]);
  expect(made).toMatchObject({ code: 0, err: 'Group mail of orders:\n' });
  expect(made.out).toBe(`orders / mail
  state           idle, 0 members
  durable         yes
  began           offset 1
  ordering        key
  window          3
  filter          {"exact":{"type":"job"}}
  timeout         90s, extended to at most 1h
  backoff         1s, 1500ms, 2m
  max deliveries  5, then to orders.dead
  rate            50/1s by key
  hold retention  yes
  since start     nothing yet

PARTITION  SETTLED TO  READ TO  END  LAG  UNSETTLED  OUT  DELAYED
0          1           1        3    2    0          0    0
1          1           1        3    2    0          0    0
`);
  expect(await server.out(['group', 'describe', 'orders', 'mail'])).toBe(made.out);
  // The same again is the same; with other settings it is refused.
  expect((await server.hadron(['group', 'create', 'orders', 'mail', '--window', '3'])).code).toBe(0);
  const other = await server.hadron(['group', 'create', 'orders', 'mail', '--window', '4']);
  expect(other).toMatchObject({ code: 1, err: expect.stringContaining('GROUP_SETTINGS_DIFFER') });
  expect(await server.out(['group', 'ls'])).toBe(
    'STREAM  GROUP  STATE  MEMBERS  LAG  OUT  DELAYED  ACKED  DEAD\norders  mail   idle   0        4    0    0        0      0\n',
  );
  expect(await server.json(['group', 'ls', 'orders'])).toMatchObject([{ stream: 'orders', group: 'mail' }]);
  expect((await server.hadron(['group', 'ls', 'nowhere'])).err).toBe('No groups of nowhere yet.\n');
});

test('describe --deliveries: what is out and what waits, with session and reason', async () => {
  await server.out(['group', 'create', 'orders', 'busy', '--ordering', 'none', '--backoff', '1h']);
  const client = connect({ source: '/x', url: server.url });
  let seen = 0;
  for await (const message of client.stream('orders').consume({ group: 'busy' })) {
    seen += 1;
    if (seen === 1) await message.nack('not \u001b[31mtoday');
    if (seen < 2) continue;
    const out = await server.out(['group', 'describe', 'orders', 'busy', '--deliveries', '10']);
    expect(out).toContain('active, 1 member\n');
    expect(out).toMatch(/waiting {2}2 .* in (59m|1h|\d+[sm]).* not \\x1b\[31mtoday\n/);
    expect(out).toMatch(/ out {6}1 /);
    const status = await server.json<{ deliveries: unknown[] }>([
      'group',
      'describe',
      'orders',
      'busy',
      '--deliveries',
      '1',
    ]);
    expect(status.deliveries).toHaveLength(1);
    break;
  }
  await client.close();
  const idle = await server.hadron(['group', 'describe', 'orders', 'mail', '--deliveries', '1']);
  expect(idle.err).toContain('Nothing is out');
});

test('set changes what is named and nothing else', async () => {
  await server.out(['group', 'create', 'orders', 'set', '--rate', '5/1s', '--filter', 'type=x', '--timeout', '1m']);
  const of = async (...args: string[]): Promise<unknown> =>
    (await server.json<{ settings: unknown }>(['group', 'set', 'orders', 'set', ...args])).settings;
  expect(await of('--max-deliveries', '0')).toMatchObject({
    filters: [{ exact: { type: 'x' } }],
    policy: { maxDeliveries: 0, timeoutMs: 60_000 },
    rateLimit: { count: 5, perMs: 1_000, by: 'group' },
  });
  expect(await of('--no-filter', '--no-rate')).toMatchObject({ filters: [], policy: { maxDeliveries: 0 } });
  expect(await of('--sql', 'EXISTS subject')).toMatchObject({ filters: [{ sql: 'EXISTS subject' }] });
  const { out } = await server.hadron(['group', 'set', 'orders', 'set', '--window', '2']);
  expect(out).toMatch(/rate {12}none\n/);
  expect(await server.hadron(['group', 'set', 'orders', 'set'])).toMatchObject({
    code: 1,
    err: expect.stringContaining('nothing to change'),
  });
  expect((await server.hadron(['group', 'set', 'orders', 'none', '--window', '1'])).code).toBe(3);
});

test('seek, purge, delete ask, or need --yes; pause and resume do not', async () => {
  await server.out(['group', 'create', 'orders', 'moved', '--start-latest']);
  const floors = async (...args: string[]): Promise<number[]> =>
    (await server.json<{ partitions: { floor: number }[] }>(['group', ...args])).partitions.map((p) => p.floor);
  const refused = await server.hadron(['group', 'seek', 'orders', 'moved', '--beginning']);
  expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/to beginning.*say --yes/) });
  expect(await floors('describe', 'orders', 'moved')).toEqual([3, 3]);
  expect(await floors('seek', 'orders', 'moved', '--beginning', '--yes')).toEqual([0, 0]);
  expect(await floors('seek', 'orders', 'moved', '--offset', '2', '--partition', '1', '-y')).toEqual([0, 2]);
  expect(await floors('seek', 'orders', 'moved', '--time', '1h', '-y')).toEqual([0, 0]);
  expect(await floors('seek', 'orders', 'moved', '--latest', '-y')).toEqual([3, 3]);
  expect((await server.hadron(['group', 'seek', 'orders', 'moved', '-y'])).err).toContain('where to?');
  expect((await server.hadron(['group', 'seek', 'orders', 'moved', '--latest', '--offset', '1'])).err).toContain(
    'cannot be used with',
  );
  await floors('seek', 'orders', 'moved', '--beginning', '--yes');

  expect((await server.hadron(['group', 'pause', 'orders', 'moved'])).err).toBe('Paused moved of orders, lag 6.\n');
  expect(await server.out(['group', 'ls', 'orders'])).toMatch(/moved +paused/);
  expect((await server.hadron(['group', 'resume', 'orders', 'moved'])).err).toBe('Resumed moved of orders, lag 6.\n');

  const purge = await server.hadron(['group', 'purge', 'orders', 'moved']);
  expect(purge).toMatchObject({
    code: 1,
    err: expect.stringContaining('Skip 6 events that moved of orders has not settled; say --yes'),
  });
  expect((await server.hadron(['group', 'purge', 'orders', 'moved', '-y'])).err).toBe(
    'Skipped 6 events of orders for moved.\n',
  );
  expect(await floors('describe', 'orders', 'moved')).toEqual([3, 3]);

  expect((await server.hadron(['group', 'delete', 'orders', 'moved'])).err).toContain('say --yes');
  expect(await server.json(['group', 'delete', 'orders', 'moved', '--yes'])).toEqual({
    stream: 'orders',
    group: 'moved',
    deleted: true,
  });
  expect(await server.hadron(['group', 'delete', 'orders', 'moved', '--yes'])).toMatchObject({
    code: 3,
    err: expect.stringContaining('GROUP_NOT_FOUND'),
  });
});

test('D4: create --from-kafka begins where the consumer group has committed', async () => {
  // What is committed is what was printed, no more.
  const some = ['kafka', 'consume', 'orders', '--group', 'some', '--from-beginning', '--max', '2'];
  expect((await server.out([...some, '--bootstrap', server.kafka])).trim().split('\n')).toHaveLength(2);
  type Placed = { partitions: { floor: number }[] };
  const begun = await server.json<Placed>(['group', 'create', 'orders', 'some', '--from-kafka', 'some']);
  expect(begun.partitions.reduce((sum, { floor }) => sum + floor, 0)).toBe(2);

  const consumed = [
    'kafka',
    'consume',
    'orders',
    '--group',
    'svc',
    '--from-beginning',
    '--exit',
    '--bootstrap',
    server.kafka,
  ];
  await server.out(consumed);
  await server.out(['pub', 'orders', '--type', 'job', '--partition', '1', '-q'], '4\n5\n');
  const made = await server.json<{ partitions: unknown[] }>([
    'group',
    'create',
    'orders',
    'billing',
    '--from-kafka',
    'svc',
  ]);
  expect(made.partitions).toMatchObject([
    { partition: 0, floor: 3, lag: 0 },
    { partition: 1, floor: 3, lag: 2 },
  ]);
  const again = await server.hadron(['group', 'create', 'orders', 'billing', '--from-kafka', 'svc']);
  expect(again).toMatchObject({ code: 1, err: expect.stringMatching(/exists already; .*seek/) });
  const bootstrap = ['--from-kafka', 'nobody', '--bootstrap', server.kafka];
  const nobody = await server.hadron(['group', 'create', 'orders', 'b', ...bootstrap]);
  expect(nobody).toMatchObject({ code: 3, err: expect.stringContaining('nobody has committed nothing') });
});

test('a token goes with every request, also of the HTTP API', async () => {
  const { createServer } = await import('node:http');
  const seen = new Set<unknown>();
  const other = createServer((request, response) => {
    seen.add(`${request.url} ${request.headers.authorization}`);
    response.end('{"groups":[],"kinds":[],"items":[]}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const url = `http://127.0.0.1:${(other.address() as { port: number }).port}`;
  await server.hadron(['--token', 'first', 'group', 'ls', '--url', url]);
  await server.hadron(['--url', url, 'get', 'streams', '--token', 'second']);
  expect([...seen]).toEqual(['/v1/groups bearer first', '/v1/kinds bearer second']);
  other.close();
});
