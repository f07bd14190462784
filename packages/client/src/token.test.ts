/** A token travels with every request of both transports that can carry one. */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { connect } from './index.ts';

const listening = async (server: http.Server | http2.Http2Server): Promise<string> => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

test.each([
  ['abc', 'bearer abc'],
  [undefined, undefined],
])('token %s over HTTP', async (token, sent) => {
  const seen: unknown[] = [];
  const server = http.createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end('{"groups":[]}');
  });
  const client = connect({ source: '/x', url: await listening(server), token, transport: 'http' });
  expect(await client.admin.groups()).toEqual([]);
  expect(seen).toEqual([sent]);
  await client.close();
  server.close();
});

test('token over HTTP/2', async () => {
  const seen: unknown[] = [];
  const server = http2.createServer();
  server.on('stream', (stream, headers) => {
    seen.push(headers.authorization);
    stream.respond({ ':status': 404 }, { endStream: true });
  });
  const client = connect({ source: '/x', url: await listening(server), token: 'abc', transport: 'binary' });
  await expect(client.admin.stream('orders')).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
  expect(seen).toEqual(['bearer abc']);
  await client.close();
  server.close();
});
