/** Heartbeats and readers that do not read, on a clock of the test; sockets and broker are real. */
import net from 'node:net';
import { cloudEvent } from '@hadron/contracts/events';
import { expect, onTestFinished, test } from 'vitest';
import { readRoutes } from './read.ts';
import { Tails } from './tail.ts';
import { openDoor } from './testing/door.ts';
import { HandClock, openBroker } from './testing/hand-clock.ts';

async function open() {
  const broker = await openBroker();
  const clock = new HandClock();
  const tails = new Tails(clock);
  const { port } = await openDoor({ routes: readRoutes(() => broker.core, tails), tails, clock });
  await broker.core.events.info('orders');
  const publish = (id: string, data: string): Promise<void> =>
    new Promise((resolve, reject) =>
      broker.core.events.publish('orders', [cloudEvent({ id, source: '/t', type: 't', data })], {}, (error) =>
        error === undefined ? resolve() : reject(error),
      ),
    );
  return { port, clock, tails, publish };
}

/** A reader of server-sent events that can stop reading. */
function reader(port: number, headers = '') {
  const socket = net.connect(port, '127.0.0.1');
  const state = { text: '', isClosed: false };
  socket.setEncoding('utf8').on('data', (text: string) => (state.text += text));
  socket.on('error', () => undefined).on('close', () => (state.isClosed = true));
  const head = `GET /v1/streams/orders/events?from=beginning HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n${headers}\r\n`;
  socket.write(head);
  onTestFinished(() => void socket.destroy());
  return { socket, state };
}

const idsIn = (text: string): string[] => [...text.matchAll(/"id":"(\d+)"/g)].map((m) => m[1] as string);

test('a comment every 15 s, none before, and none when nobody listens', async () => {
  const { port, clock, tails } = await open();
  const { state, socket } = reader(port);
  await expect.poll(() => tails.count).toBe(1);
  clock.advance(14_999);
  clock.advance(1);
  await expect.poll(() => state.text.split(':\n\n').length - 1).toBe(1);
  clock.advance(15_000);
  await expect.poll(() => state.text.split(':\n\n').length - 1).toBe(2);
  socket.destroy();
  await expect.poll(() => tails.count).toBe(0);
  clock.advance(60_000);
});

test('one that reads nothing for two heartbeats is told to come back, and resumes from the disk without a gap', async () => {
  const { port, clock, tails, publish } = await open();
  const { socket, state } = reader(port);
  await expect.poll(() => state.text).toContain('id: ');
  socket.pause();
  for (let i = 0; i < 40; i++) await publish(String(i), 'x'.repeat(500_000));
  clock.advance(15_000);
  expect([tails.count, tails.lagged.value]).toEqual([1, 0]);
  clock.advance(15_000);
  expect(tails.lagged.value).toBe(1);
  socket.resume();
  await expect.poll(() => state.isClosed || state.text.endsWith('0\r\n\r\n'), { timeout: 10_000 }).toBe(true);
  expect(state.text).toContain('retry: 1000');
  const seen = idsIn(state.text);
  expect(seen.length).toBeLessThan(40);
  const last = [...state.text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1];
  const again = reader(port, `Last-Event-ID: ${last}\r\n`);
  await expect.poll(() => idsIn(again.state.text).length, { timeout: 10_000 }).toBe(40 - seen.length);
  expect([...seen, ...idsIn(again.state.text)]).toEqual(Array.from({ length: 40 }, (_, i) => String(i)));
});

test('one that does not even read its farewell is cut', async () => {
  const { port, clock, tails, publish } = await open();
  const { socket, state } = reader(port);
  await expect.poll(() => state.text).toContain('id: ');
  socket.pause();
  for (let i = 0; i < 40; i++) await publish(String(i), 'x'.repeat(500_000));
  for (let beats = 0; beats < 4; beats++) clock.advance(15_000);
  await expect.poll(() => tails.count).toBe(0);
});
