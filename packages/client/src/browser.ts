/** The Hadron SDK in browsers: fetch and WebSocket, no protobuf, nothing of Node. */
import { HadronError } from '@hadron/base/errors';
import { draftEvent } from '@hadron/contracts/events';
import { Client, type ConnectOptions, type Platform } from './client.ts';
import { httpTransport } from './http/index.ts';

export * from './api.ts';

const browser: Platform = {
  transport: (kind, at) => {
    if (kind === 'binary')
      throw new HadronError(
        'SETTING_INVALID',
        "transport 'binary' needs HTTP/2 as Node has it; use 'http' in browsers",
      );
    return httpTransport(at);
  },
  telemetry: () => undefined,
  // The rules of every attribute would be a tenth of the bundle: over HTTP the server judges, and names the field.
  makeEvent: draftEvent,
  onTerminate: () => () => undefined,
};

/**
 * A client of a Hadron server, over HTTP and WebSocket. Connects when it is first used.
 *
 * @throws TypeError when an option makes no sense
 * @example
 * ```ts
 * import { connect } from '@hadron/client/browser';
 * const client = connect({ source: '/page', url: 'https://events.example' });
 * await client.stream('clicks').publish('clicked', { x: 1, y: 2 });
 * ```
 */
export function connect(options: ConnectOptions): Client {
  return new Client(options, browser);
}
