/** `pub`, `sub`, `tail`, `stream export|import` as people type them, against a real server (statement 17). */
import fs from 'node:fs';
import path from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../program.ts';
import { objectsOf, openServer, type TestServer } from '../../testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await openServer();
});
afterAll(() => server.close());

const stored = async (stream: string): Promise<Record<string, unknown>[]> =>
  objectsOf(await server.out(['tail', stream, '--no-follow', '--format', 'ndjson']));

const publish = (stream: string, count: number, ...more: string[]): Promise<string> =>
  server.out(
    ['pub', stream, '--type', 'job', ...more],
    Array.from({ length: count }, (_, n) => `{"n":${n}}\n`).join(''),
  );

interface Status {
  readonly counts: Readonly<Record<string, number>>;
  readonly partitions: readonly { readonly lag: number; readonly floor: number }[];
}
const group = (stream: string, name: string): Promise<Status> =>
  server.json<Status>(['group', 'describe', stream, name]);

describe('pub', () => {
  test('an argument: JSON as it stands, text, base64; attributes; where it is and how it is called', async () => {
    const line = await server.out([
      'pub',
      'one',
      '{"total": 12.50}',
      '--type',
      'order.placed',
      '--id',
      'a',
      '--subject',
      '7',
    ]);
    expect(line).toBe('one 0/0 a\n');
    expect(
      await server.json(['stream', 'pub', 'one', 'héllo', '--type', 'note', '--id', 'b', '--source', '/me']),
    ).toEqual({
      stream: 'one',
      id: 'b',
      partition: 0,
      offset: 1,
    });
    await server.out([
      'pub',
      'one',
      'AAH/',
      '--type',
      'raw',
      '--binary',
      '-o',
      'region=eu',
      '-o',
      'time=2020-01-01T00:00:00Z',
    ]);
    await server.out(['pub', 'one', 'a,b', '--type', 'csv', '-o', 'datacontenttype=text/csv', '--quiet']);
    const events = await stored('one');
    expect(events).toMatchObject([
      { id: 'a', source: 'hadron-cli', type: 'order.placed', subject: '7', data: { total: 12.5 }, hadronoffset: '0' },
      { id: 'b', source: '/me', datacontenttype: 'text/plain', data: 'héllo' },
      { type: 'raw', data_base64: 'AAH/', region: 'eu', time: '2020-01-01T00:00:00Z' },
      { datacontenttype: 'text/csv', data: 'a,b' },
    ]);
    expect(events[2]?.['id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(events[2]).not.toHaveProperty('datacontenttype');
    // Byte for byte, spaces and zeros too.
    expect(await server.out(['tail', 'one', '--no-follow', '--format', 'data', '-n', '1'])).toBe('{"total": 12.50}\n');
  });

  test('lines of standard input: each has its result; what is wrong names its line, the others go on', async () => {
    const { code, out, err } = await server.hadron(
      ['pub', 'lines', '--type', 'n', '--output', 'json'],
      '{"n":1}\nnonsense\n\n[2]\n',
    );
    expect(code).toBe(1);
    expect(objectsOf(out)).toMatchObject([
      { line: 1, partition: 0, offset: 0 },
      { line: 2, error: { code: 'EVENT_INVALID', field: 'data' } },
      { line: 4, partition: 0, offset: 1 },
    ]);
    expect(JSON.parse(err)).toEqual({
      error: { code: 'EVENT_INVALID', message: '1 line refused; the others are published' },
    });
    const people = await server.hadron(['pub', 'lines', '--type', 'n'], 'nonsense\n');
    expect(people.err).toMatch(
      /^line 1: EVENT_INVALID: .*datacontenttype=text\/plain\nhadron: EVENT_INVALID: 1 line refused; nothing/,
    );
    expect(
      await server.hadron(['pub', 'lines', '--type', 'n', '-q', '-o', 'datacontenttype=text/plain'], 'a\nb\n'),
    ).toEqual({
      code: 0,
      out: '',
      err: '2 events to lines\n',
    });
  });

  test('whole events of a file keep what they are', async () => {
    const event = { specversion: '1.0', id: 'x', source: '/s', type: 't', urgent: true, data: { big: 1 } };
    fs.writeFileSync(path.join(server.folder, 'events.ndjson'), `${JSON.stringify(event)}\n{"id":"no source"}\n`);
    const { code, err } = await server.hadron(['pub', 'whole', '--events', '--file', 'events.ndjson']);
    expect([code, err]).toEqual([1, expect.stringContaining('line 2: EVENT_INVALID')]);
    const [first, ...rest] = await stored('whole');
    expect(first).toMatchObject(event);
    expect(first).not.toHaveProperty('time');
    expect(rest).toEqual([]);
  });

  test('--atomic: one bad line and nothing is published; else all', async () => {
    const refused = await server.hadron(['pub', 'atomic', '--type', 'n', '--atomic'], '1\nx\n');
    expect(refused).toMatchObject({ code: 1, out: '', err: expect.stringContaining('nothing was published') });
    expect(await stored('atomic')).toEqual([]);
    expect(await publish('atomic', 3, '--atomic', '-q')).toBe('');
    expect(await stored('atomic')).toHaveLength(3);
  });

  test('--delay: groups get it later', async () => {
    await server.out(['pub', 'later', '1', '--type', 'now']);
    await server.out(['pub', 'later', '2', '--type', 'then', '--delay', '1h']);
    const out = await server.out(['sub', 'later', '-g', 'g', '--start-beginning', '--dry-run', '--format', 'ndjson']);
    expect(objectsOf(out).map((event) => event['type'])).toEqual(['now']);
  });

  test('lines are answered as they come; Ctrl-C says how far it came', async () => {
    const io = server.io();
    const stdin = new PassThrough();
    stdin.write('1\n2\n3');
    const ended = run(['pub', 'cut', '--type', 'n'], { ...io, stdin });
    await expect.poll(() => io.out().split('\n').length).toBe(3);
    process.emit('SIGINT', 'SIGINT');
    expect(await ended).toBe(130);
    expect(io.err()).toBe('hadron: INTERRUPTED: stopped; published up to line 2\n');
  });

  test.each([
    [['pub', 'x', '1'], /REQUEST_INVALID: --type is missing/],
    [['pub'], /REQUEST_INVALID: which stream\?/],
    [['pub', 'x', '1', '--type', 't', '--file', 'f'], /as an argument or with --file/],
    [['pub', 'x', '1', '--type', 't', '-o', 'id=1'], /say it with --id/],
    [['pub', 'x', '1', '--type', 't', '-o', 'id'], /-o id: expected NAME=VALUE/],
    [['pub', 'x', '!', '--type', 't', '--binary'], /EVENT_INVALID: the data is not base64/],
    [['pub', 'x', 'a', '--type', 't', '-o', 'datacontenttype=application/json'], /the data is not JSON, which/],
    [['pub', 'x', '--type', 't', '--id', '1'], /--id is for one event/],
    [['pub', 'x', '--events', '--subject', 's'], /--subject has no place there/],
    [['pub', 'x', '--type', 't', '--file', 'nowhere'], /cannot read nowhere \(ENOENT\)/],
    [['pub', 'x', '--type', 't', '--file', '.'], /\. is a folder/],
    [['pub', 'a b', '1', '--type', 't'], /TOPIC_NAME_INVALID/],
    [['pub', 'x', '1', '--type', 't', '--stream', 'y'], /named twice/],
    [['tail', 'x', '--from', 'nonsense'], /--from nonsense: expected beginning/],
    [['sub', 'x', '-g', 'g', '--filter', 'nonsense'], /--filter nonsense: expected NAME=VALUE/],
    [['sub', 'x', '-g', 'g', '--sql', 'type ='], /FILTER_INVALID: .*character 7/],
  ])('%j is one line with what to do', async (args, message) => {
    const { code, out, err } = await server.hadron(args);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(message);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});

describe('sub', () => {
  test('as the original: prints and acknowledges from now on, in memory; -d keeps the progress', async () => {
    await publish('subs', 5);
    const out = await server.out([
      'sub',
      'subs',
      '-g',
      'kept',
      '-d',
      '--start-beginning',
      '-n',
      '2',
      '--format',
      'ndjson',
    ]);
    expect(objectsOf(out).map((event) => event['data'])).toEqual([{ n: 0 }, { n: 1 }]);
    expect(await group('subs', 'kept')).toMatchObject({ counts: { acked: 2, failed: 0 }, partitions: [{ floor: 2 }] });
    const more = await server.hadron([
      'sub',
      'subs',
      '-g',
      'kept',
      '--start-beginning',
      '-b',
      '3',
      '-n',
      '3',
      '--output',
      'json',
    ]);
    expect(objectsOf(more.out).map((event) => event['data'])).toEqual([{ n: 2 }, { n: 3 }, { n: 4 }]);
    expect(await group('subs', 'kept')).toMatchObject({ counts: { acked: 5, failed: 0 }, partitions: [{ lag: 0 }] });

    await server.out(['sub', 'subs', '-g', 'gone', '--start-offset', '4', '-n', '1']);
    await expect.poll(async () => (await server.hadron(['group', 'describe', 'subs', 'gone'])).code).toBe(3);
  });

  test('Ctrl-C ends it well; what comes first is shown first', async () => {
    await publish('ctrl', 1);
    const io = server.io();
    const ended = run(['stream', 'sub', 'ctrl', '-g', 'g', '-d', '--start-beginning'], io);
    await expect.poll(() => io.out()).toContain('{"n":0}');
    await server.out(['pub', 'ctrl', 'second', '--type', 'note', '--subject', 's', '-o', 'region=eu']);
    await expect.poll(() => io.out()).toContain('second');
    process.emit('SIGINT', 'SIGINT');
    expect(await ended).toBe(0);
    expect(io.out()).toMatch(
      /^job {2}0\/0 {2}\S+Z\n {2}id \S+ {2}source hadron-cli\n {2}\{"n":0\}\nnote {2}0\/1 {2}s {2}\S+Z\n {2}id \S+ {2}source hadron-cli {2}region eu\n {2}second\n$/,
    );
    expect(await group('ctrl', 'g')).toMatchObject({ counts: { acked: 2, failed: 0 } });
  });

  test('a reader that goes away ends it, and what it did not read comes again, uncounted', async () => {
    await publish('head', 3);
    const io = server.io();
    let taken = 0;
    const stdout = new Writable({
      autoDestroy: false,
      write: (_chunk, _encoding, done) =>
        done(taken++ === 0 ? null : Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
    });
    stdout.on('error', () => undefined); // as main.ts listens
    expect(await run(['sub', 'head', '-g', 'g', '-d', '--start-beginning'], { ...io, stdout })).toBe(0);
    expect(await group('head', 'g')).toMatchObject({ counts: { acked: 1, failed: 0 }, partitions: [{ lag: 2 }] });
  });

  test('filters: shorthand, JSON, SQL; all must hold', async () => {
    await server.out(['pub', 'filters', '1', '--type', 'order.placed', '--subject', 'a']);
    await server.out(['pub', 'filters', '2', '--type', 'order.paid', '--subject', 'b']);
    await server.out(['pub', 'filters', '3', '--type', 'user.seen', '--subject', 'b']);
    const seen = async (...filter: string[]): Promise<unknown[]> => {
      const args = ['sub', 'filters', '-g', 'look', '--start-beginning', '--dry-run', '--format', 'data', ...filter];
      return (await server.out(args)).trim().split('\n');
    };
    expect(await seen('--filter', 'type=order.paid')).toEqual(['2']);
    expect(await seen('--filter', 'type^=order.', '--filter', 'subject!=a')).toEqual(['2']);
    expect(await seen('--filter', '{"suffix":{"type":".seen"}}')).toEqual(['3']);
    expect(await seen('--sql', "type LIKE 'order.%' AND subject = 'a'")).toEqual(['1']);
  });

  test('--dry-run shows what would come, gives it back and leaves no group behind', async () => {
    await publish('dry', 4);
    const args = [
      'sub',
      'dry',
      '-g',
      'looked',
      '--start-beginning',
      '--ordering',
      'none',
      '--dry-run',
      '--format',
      'ndjson',
    ];
    expect(objectsOf(await server.out(args))).toHaveLength(4);
    await expect.poll(async () => (await server.hadron(['group', 'describe', 'dry', 'looked'])).code).toBe(3);
    await server.out(['group', 'create', 'dry', 'real', '--ordering', 'none']);
    const again = ['sub', 'dry', '-g', 'real', '--dry-run', '-n', '3', '--format', 'ndjson'];
    expect(objectsOf(await server.out(again))).toHaveLength(3);
    expect(await group('dry', 'real')).toMatchObject({
      counts: { acked: 0, failed: 0 },
      partitions: [{ floor: 0, lag: 4 }],
    });
  });

  test('an event whose data is not what it says is shown and acknowledged like any other', async () => {
    const produced = [
      '--header',
      'content-type=application/json',
      '--header',
      'ce_specversion=1.0',
      '--header',
      'ce_id=1',
    ];
    const event = [...produced, '--header', 'ce_source=/k', '--header', 'ce_type=broken', '--bootstrap', server.kafka];
    await server.out(['kafka', 'produce', 'poison', '{"not": json', ...event]);
    const args = ['sub', 'poison', '-g', 'g', '-d', '--start-beginning', '-n', '1'];
    expect(await server.hadron(args)).toMatchObject({
      code: 0,
      out: expect.stringContaining('\n  {"not": json\n'),
      err: '',
    });
    expect(await group('poison', 'g')).toMatchObject({ counts: { acked: 1, failed: 0, dead: 0 } });
  });

  test('settings of a group that exists are its own', async () => {
    await publish('own', 1);
    await server.out(['group', 'create', 'own', 'g']);
    const differs = await server.hadron(['sub', 'own', '-g', 'g', '--ordering', 'none', '-n', '1']);
    expect(differs).toMatchObject({ code: 1, err: expect.stringMatching(/GROUP_SETTINGS_DIFFER: .*ordering/) });
    const start = await server.hadron(['sub', 'own', '-g', 'g', '--start-latest', '-n', '1', '--format', 'data']);
    expect(start).toMatchObject({ code: 0, out: '{"n":0}\n', err: expect.stringContaining('hadron group seek') });
  });
});

describe('tail', () => {
  test('from anywhere, of a partition, up to the end or so many', async () => {
    await server.out(['kafka', 'topics', 'create', 'parts', '--partitions', '2', '--bootstrap', server.kafka]);
    await publish('parts', 3, '--partition', '1');
    await publish('parts', 2, '--partition', '0');
    const tail = async (...args: string[]): Promise<string> =>
      (await server.out(['tail', 'parts', '--format', 'data', ...args])).replaceAll('\n', ' ').trim();
    expect(await tail('--no-follow', '--partition', '1')).toBe('{"n":0} {"n":1} {"n":2}');
    expect(await tail('--no-follow', '--partition', '1', '--from', '2')).toBe('{"n":2}');
    expect(await tail('--partition', '1', '--from', '1', '-n', '1')).toBe('{"n":1}');
    expect((await tail('--from', 'beginning', '-n', '5')).split(' ')).toHaveLength(5);
    expect((await tail('--from', '1h', '-n', '5')).split(' ')).toHaveLength(5);
    expect(await tail('--no-follow', '--from', '2100-01-01T00:00:00Z')).toBe('');
    const several = await server.hadron(['tail', 'parts', '--from', '1', '--no-follow']);
    expect(several).toMatchObject({ code: 1, err: expect.stringMatching(/partition/) });
  });

  test('follows what comes until Ctrl-C, and acknowledges nothing', async () => {
    await publish('follow', 1);
    const io = server.io();
    const ended = run(['tail', 'follow', '--format', 'data'], io);
    await expect
      .poll(async () => {
        await server.out(['pub', 'follow', 'next', '--type', 'n']);
        return io.out();
      })
      .toContain('next\n');
    process.emit('SIGINT', 'SIGINT');
    expect(await ended).toBe(0);
    expect(io.out()).not.toContain('{"n":0}');
    expect(await server.json(['group', 'ls', 'follow'])).toEqual([]);
  });

  test('--format json is indented and keeps every digit', async () => {
    await server.out(['pub', 'digits', '{"n":12345678901234567890.10}', '--type', 't', '--id', 'i']);
    const out = await server.out(['tail', 'digits', '--no-follow', '--format', 'json']);
    expect(out).toContain('  "id": "i",\n');
    expect(out).toContain('    "n": 12345678901234567890.10\n');
  });
});

describe('export and import', () => {
  test('a stream becomes a file and the file a stream, event by event', async () => {
    await publish('from', 20, '--subject', 's');
    await server.out(['pub', 'from', 'AP8=', '--binary', '--type', 'raw', '-o', 'time=2020-02-02T00:00:00.123456789Z']);
    expect(await server.json(['stream', 'export', 'from', '--file', 'from.ndjson'])).toEqual({
      stream: 'from',
      file: 'from.ndjson',
      events: 21,
    });
    const exists = await server.hadron(['stream', 'export', 'from', '--file', 'from.ndjson']);
    expect(exists).toMatchObject({ code: 1, err: expect.stringContaining('--force') });
    const text = fs.readFileSync(path.join(server.folder, 'from.ndjson'), 'utf8');
    expect(await server.out(['stream', 'export', 'from'])).toBe(text);
    const imported = await server.hadron(['stream', 'import', 'to', '--file', 'from.ndjson']);
    expect(imported).toEqual({ code: 0, out: '', err: '21 events to to\n' });
    expect(await server.out(['stream', 'export', 'to'])).toBe(text);
    expect(await server.json(['stream', 'import', 'to2'], text)).toEqual({ stream: 'to2', events: 21 });
    expect(await server.out(['stream', 'export', 'to2'])).toBe(text);
  });

  test('on a terminal there is a bar with rate and time left, which goes again; elsewhere nothing', async () => {
    await publish('bar', 5);
    const io = server.io({ isTTY: true });
    expect(await run(['stream', 'export', 'bar', '--file', 'bar.ndjson'], io)).toBe(0);
    expect(io.err()).toMatch(/Exporting bar .*100%.*5 events.*\/s.*ETA/);
    expect(io.err()).toContain('5 events of bar to bar.ndjson\n');
    const back = server.io({ isTTY: true });
    expect(await run(['stream', 'import', 'bar2', '--file', 'bar.ndjson'], back)).toBe(0);
    expect(back.err()).toMatch(/Publishing to bar2 .*100%.*5 events/);
    fs.appendFileSync(path.join(server.folder, 'bar.ndjson'), '{}\n');
    const wrong = server.io({ isTTY: true });
    expect(await run(['stream', 'import', 'bar2', '--file', 'bar.ndjson'], wrong)).toBe(1);
    expect(wrong.err()).toContain('\r\u001b[2Kline 6: EVENT_INVALID: ');
  });
});

test('sub and tail outlive the server, and say once that it is away', async () => {
  const own = await openServer();
  await own.out(['pub', 'r', 'one', '--type', 't']);
  const sub = own.io();
  const tail = own.io();
  const ends = [
    run(['sub', 'r', '-g', 'g', '-d', '--start-beginning', '--format', 'data'], sub),
    run(['tail', 'r', '--from', 'beginning', '--format', 'data'], tail),
  ];
  await expect.poll(() => [sub.out(), tail.out()]).toEqual(['one\n', 'one\n']);
  await own.restart();
  await own.out(['pub', 'r', 'two', '--type', 't']);
  await expect.poll(() => [sub.out(), tail.out()], { timeout: 10_000 }).toEqual(['one\ntwo\n', 'one\ntwo\n']);
  process.emit('SIGTERM', 'SIGTERM');
  expect(await Promise.all(ends)).toEqual([0, 0]);
  expect(sub.err()).toBe(`${own.url} does not answer; trying again until it does\n`);
  await own.close();
});

test('hadron.md §12: the original command line, where the URL names the stream', async () => {
  await publish('shop.orders', 1);
  await publish('shop', 2);
  const url = server.url.replace('127.0.0.1', 'shop.orders.localhost');
  const env = { HADRON_URL: '' };
  const original = async (args: readonly string[]): Promise<string> => {
    const io = server.io({ env });
    expect(await run(args, io), io.err()).toBe(0);
    return io.out();
  };
  await original(['-v', '--url', url, '--token', 'abc', 'stream', 'pub', '{"o":1}', '--type', 'T', '-o', 'k=v']);
  const sub = ['sub', '-g', 'G', '-d', '-b', '5', '--start-offset', '0'];
  const out = await original(['--url', url, 'stream', ...sub, '-n', '2', '--format', 'ndjson']);
  expect(objectsOf(out)).toMatchObject([
    { data: { n: 0 } },
    { data: { o: 1 }, type: 'T', k: 'v', source: 'hadron-cli' },
  ]);
  expect(await original(['stream', '--url', url, 'tail', '--no-follow', '--format', 'data'])).toBe(
    '{"n":0}\n{"o":1}\n',
  );
});

test('stream ls lists them', async () => {
  await publish('listed', 1);
  expect(await server.out(['stream', 'ls', '-o', 'name'])).toContain('stream/listed\n');
});
