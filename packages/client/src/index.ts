/** The Hadron SDK in Node. README.md is the map. */
import { binaryTransport } from './binary/index.ts';
import { Client, type ConnectOptions, type Platform } from './client.ts';
import { httpTransport } from './http/index.ts';
import { nodePlatform } from './node-platform.ts';

export * from './api.ts';

const node: Platform = {
  ...nodePlatform,
  transport: (kind, at) => (kind === 'http' ? httpTransport(at) : binaryTransport(at)),
};

/**
 * A client of a Hadron server. Connects when it is first used.
 *
 * @throws TypeError when an option makes no sense
 * @example
 * ```ts
 * import { connect } from '@hadron/client';
 * const client = connect({ source: '/shop' }); // http://127.0.0.1:7000
 * await client.stream('orders').publish('order.placed', { id: '7', total: 12 }, { subject: '7' });
 * await client.close();
 * ```
 */
export function connect(options: ConnectOptions): Client {
  return new Client(options, node);
}
