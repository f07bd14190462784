import { expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../browser.ts';
import { openWorld } from '../test-world.ts';
import type { PublishOptions } from '../types.ts';
import { transportContract } from '../transport-contract.ts';
import { httpTransport } from './index.ts';

transportContract(
  'HTTP and WebSocket',
  async () => {
    const world = await openWorld();
    const url = await world.listen();
    return { ...world, connect: () => httpTransport({ url }) };
  },
  { timestamps: false, bytes: false },
);

/** A server's address, with a stream that has this configuration. */
async function serverWith(config: Readonly<Record<string, string>>): Promise<string> {
  const world = await openWorld();
  onTestFinished(() => world.close());
  await world.createStream('orders', 2, config);
  return world.listen();
}

/** The next `count` answers to publishes are lost behind the server, as by a network that breaks. */
function loseAnswers(count: number): { readonly lost: number } {
  const state = { lost: 0 };
  const real = globalThis.fetch;
  const spy = vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    const answer = await real(input, init);
    if (init?.method !== 'POST' || state.lost === count) return answer;
    state.lost++;
    await answer.arrayBuffer();
    throw new TypeError('fetch failed');
  });
  onTestFinished(() => spy.mockRestore());
  return state;
}

test.each([
  ['without a deduplication window: an event may be there more than once', {}, 3],
  ['with one: once, and the answer is its first position', { 'hadron.dedupe.window.ms': '60000' }, 1],
])('answers that were lost over HTTP, on a stream %s', async (_, config, copies) => {
  const url = await serverWith(config);
  const client = connect({ source: '/shop', url });
  const answers = loseAnswers(2);
  const orders = client.stream('orders');
  const first = await orders.publish('placed', { total: 12 }, { id: '7', subject: 'k' });
  expect(answers.lost).toBe(2);
  await orders.publish('end', null, { subject: 'k' });
  const ids: string[] = [];
  const offsets: number[] = [];
  for await (const m of orders.tail({ from: 'beginning' })) {
    if (m.type === 'end') break;
    ids.push(m.id);
    offsets.push(m.offset);
  }
  expect(ids).toEqual(Array.from({ length: copies }, () => '7'));
  expect(first.offset).toBe(offsets.at(-1));
  await client.close();
});

test('the browser build leaves the rules of attributes to the server, which answers as the client in Node does', async () => {
  const client = connect({ source: '/page', url: await serverWith({}) });
  const clicks = client.stream('orders');
  const refused = async (options: PublishOptions): Promise<unknown> =>
    clicks.publish('clicked', {}, options).catch((error: unknown) => error);
  const problem = (field: string) => ({ code: 'EVENT_INVALID', field, happened: 'no' });
  const bad = [
    refused({ attributes: { 'Not-A-Name': 'x' } }),
    refused({ attributes: { sampledrate: 0 } }),
    refused({ attributes: { weight: 1.5 } }),
    refused({ time: 'yesterday' }),
    refused({ id: '' }),
    refused({ attributes: { data_base64: 'AAAA' } }),
  ];
  const good = clicks.publish('clicked', {}, { id: 'good' });
  expect(await Promise.all(bad)).toMatchObject(
    ['Not-A-Name', 'sampledrate', 'weight', 'time', 'id', 'data_base64'].map(problem),
  );
  expect(await good).toMatchObject({ id: 'good' });
  await client.close();
});
