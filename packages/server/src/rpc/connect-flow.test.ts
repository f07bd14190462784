/** Flow control of calls that Connect's library carries: over sockets, with a client that shows what it was let send. */
import http2 from 'node:http2';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RpcServer } from './testing/rpc-server.ts';

let server: RpcServer;
let session: http2.ClientHttp2Session;
beforeEach(async () => {
  server = await new RpcServer().listen();
  session = http2.connect(`http://${server.authority}`);
  session.on('error', () => undefined);
});
afterEach(async () => {
  session.destroy();
  await server.close();
  expect(server.errors).toEqual([]);
});

const COUNT = 60_000;

test('a client that sends and does not read its answers is not read either, and goes on when it reads', async () => {
  const call = session.request({
    ':method': 'POST',
    ':path': '/hadron.v1.Streams/Publish',
    'content-type': 'application/connect+json',
    'connect-protocol-version': '1',
  });
  call.pause();
  // No stream is named: each is refused.
  const message = Buffer.from(`\0\0\0\0\xc8{${' '.repeat(198)}}`, 'latin1');
  const chunk = Buffer.concat(Array.from({ length: 1_000 }, () => message));
  let sent = 0;
  let waiting = false;
  const send = (): void => {
    for (waiting = false; sent < COUNT && !waiting; sent += 1_000) waiting = !call.write(chunk);
  };
  call.on('drain', send);
  send();
  let before = -1;
  while (before !== sent) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  expect(sent).toBeLessThan(COUNT / 2);

  let bytes = 0;
  call.on('data', (d: Buffer) => (bytes += d.length));
  call.resume();
  while (sent < COUNT) await new Promise((resolve) => setTimeout(resolve, 10));
  call.end();
  await new Promise((resolve) => call.on('end', resolve));
  expect(bytes).toBeGreaterThan(COUNT * 50);
});
