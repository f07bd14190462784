/** Groups and dead letters from a program, the same over every transport. */
import type { Transport } from '@hadron/contracts';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { binaryTransport } from './binary/index.ts';
import { httpTransport } from './http/index.ts';
import { inProcessTransport } from './in-process/index.ts';
import { type Client, connect, Terminal } from './index.ts';
import { openWorld, type TestWorld } from './test-world.ts';

let world: TestWorld;
let url: string;
beforeAll(async () => {
  world = await openWorld();
  url = await world.listen();
});
afterAll(() => world.close());

const transports: readonly (readonly [string, () => Transport])[] = [
  ['in-process', () => inProcessTransport(world.services)],
  ['binary', () => binaryTransport({ url })],
  ['http', () => httpTransport({ url })],
];

describe.each(transports)('%s', (name, transport) => {
  const stream = `admin-${name}`;
  let client: Client;
  beforeAll(async () => {
    client = connect({ source: '/ops', transport: transport(), telemetry: false });
    await world.createStream(stream, 1);
    await client
      .stream(stream)
      .publishMany(Array.from({ length: 6 }, (_, i) => ({ type: i % 2 === 0 ? 'even' : 'odd', data: i })));
  });
  afterAll(() => client.close());

  /** Handles what there is until `count` handlers have ended. */
  const handle = async (group: string, count: number, handler: (data: number) => unknown): Promise<number[]> => {
    const seen: number[] = [];
    const stop = new AbortController();
    const running = client.stream<Record<string, number>>(stream).run({ group, signal: stop.signal }, async (m) => {
      seen.push(m.data);
      if (seen.length === count) stop.abort();
      return handler(m.data);
    });
    await running;
    return seen;
  };

  test('a stream', async () => {
    expect(await client.admin.stream(stream)).toMatchObject({ name: stream, partitions: 1 });
  });

  test('what is wrong is refused in the same words, whatever carries it', async () => {
    const direct = transport();
    const groups = `/v1/streams/${stream}/groups`;
    await client.admin.createGroup(stream, 'strict', {});
    const refused = (path: string, body: unknown) =>
      direct.request('POST', path, body).catch((error: unknown) => error);
    expect(await refused(`${groups}/strict/seek`, { to: { from: 'beginning' }, partition: 'x' })).toMatchObject({
      code: 'REQUEST_INVALID',
      field: 'partition',
      message: 'REQUEST_INVALID: partition: expected a whole number from 0 to 2147483647',
    });
    expect(await refused(`/v1/streams/${stream}/dead-letters/drop`, { filter: [] })).toMatchObject({
      code: 'REQUEST_INVALID',
      field: 'body.filter',
    });
    expect(await refused(`${groups}/strict/nothing`, {})).toMatchObject({ code: 'REQUEST_INVALID' });
    await client.admin.removeGroup(stream, 'strict');
    await direct.close();
  });

  test('a group: created, listed, described, changed, paused, sought, purged, removed', async () => {
    const { admin } = client;
    const made = await admin.createGroup(stream, 'g', { ordering: 'partition', policy: { maxDeliveries: 3 } });
    expect(made).toMatchObject({
      stream,
      group: 'g',
      kind: 'hadron',
      settings: { ordering: 'partition', window: 32, policy: { maxDeliveries: 3 } },
    });
    await expect(admin.createGroup(stream, 'g', { ordering: 'none' })).rejects.toMatchObject({
      code: 'GROUP_SETTINGS_DIFFER',
    });
    expect((await admin.groups(stream)).map((one) => one.group)).toContain('g');
    expect((await admin.groups()).some((one) => one.stream === stream && one.group === 'g')).toBe(true);
    expect(await admin.setGroup(stream, 'g', { filters: [{ exact: { type: 'odd' } }] })).toMatchObject({
      settings: { filters: [{ exact: { type: 'odd' } }] },
    });
    expect(await admin.pause(stream, 'g')).toMatchObject({ paused: true });
    expect(await admin.resume(stream, 'g')).toMatchObject({ paused: false });
    expect(await handle('g', 3, () => undefined)).toEqual([1, 3, 5]);
    expect((await admin.seek(stream, 'g', { from: 'offset', offset: 4 }, 0)).partitions[0]).toMatchObject({ floor: 4 });
    expect(await handle('g', 1, () => undefined)).toEqual([5]);
    await admin.seek(stream, 'g', 'beginning');
    await admin.purge(stream, 'g');
    expect((await admin.group(stream, 'g')).partitions[0]).toMatchObject({ lag: 0 });
    await admin.removeGroup(stream, 'g');
    await expect(admin.group(stream, 'g')).rejects.toMatchObject({ code: 'GROUP_NOT_FOUND' });
  });

  test('what is out', async () => {
    for await (const m of client.stream(stream).consume({ group: 'out' })) {
      expect(await client.admin.deliveries(stream, 'out')).toMatchObject([
        { partition: 0, offset: 0, state: 'out', attempt: 1 },
      ]);
      await m.ack();
      break;
    }
    await client.admin.removeGroup(stream, 'out');
  });

  test('dead letters: listed, counted, given again, forgotten', async () => {
    const { admin } = client;
    await handle('dead', 6, (data) => {
      if (data > 2) throw new Terminal(`not ${data}`);
    });
    await vi.waitFor(async () => expect(await admin.countDeadLetters(stream)).toBe(3));
    const listed = await admin.deadLetters(stream, { group: 'dead' });
    const letters = listed.toSorted((a, b) => a.from.offset - b.from.offset); // they are listed as they died
    expect(letters).toMatchObject([
      {
        from: { stream, partition: 0, offset: 3 },
        group: 'dead',
        reason: 'not 3',
        attempts: 1,
        event: { type: 'odd', data: 3 },
      },
      { reason: 'not 4', event: { type: 'even', data: 4 } },
      { reason: 'not 5' },
    ]);
    expect(await admin.deadLetters(stream, {}, 1)).toHaveLength(1);
    expect(await admin.countDeadLetters(stream, { filters: [{ exact: { type: 'odd' } }] })).toBe(2);
    expect(
      await admin.countDeadLetters(stream, { filters: [{ exact: { type: 'odd' } }, { exact: { type: 'even' } }] }),
    ).toBe(0);
    expect(await admin.countDeadLetters(stream, { group: 'nobody' })).toBe(0);

    await world.createStream(`${stream}-copy`, 1);
    const [first] = letters;
    expect(
      await admin.redrive(stream, { position: { partition: first?.partition ?? 0, offset: first?.offset ?? 0 } }),
    ).toBe(1);
    expect(await handle('dead', 1, () => undefined)).toEqual([3]);
    expect(await admin.redrive(stream, { filters: [{ exact: { type: 'even' } }] }, { to: `${stream}-copy` })).toBe(1);
    for await (const m of client.stream(`${stream}-copy`).tail({ from: 'beginning' })) {
      expect([m.type, m.data]).toEqual(['even', 4]);
      break;
    }
    expect(await admin.drop(stream, { group: 'dead' })).toBe(1);
    expect(await admin.countDeadLetters(stream)).toBe(0);
  });
});
