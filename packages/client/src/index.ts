/** The Hadron SDK in Node. README.md is the map. */
import { createRequire } from 'node:module';
import { cloudEvent } from '@hadron/contracts/events';
import { binaryTransport } from './binary/index.ts';
import { Client, type ConnectOptions, type Platform } from './client.ts';
import { httpTransport } from './http/index.ts';
import { openTelemetry } from './telemetry.ts';

export * from './api.ts';

const node: Platform = {
  transport: (kind, at) => (kind === 'http' ? httpTransport(at) : binaryTransport(at)),
  telemetry: () => {
    try {
      return openTelemetry(createRequire(import.meta.url)('@opentelemetry/api') as Parameters<typeof openTelemetry>[0]);
    } catch {
      return undefined; // not installed: no spans
    }
  },
  makeEvent: cloudEvent,
  onTerminate: (drain) => {
    let isDraining = false;
    const onSignal = (): void => {
      if (isDraining) return;
      isDraining = true;
      void drain().finally(() => {
        process.removeListener('SIGTERM', onSignal);
        // Having listened took the signal's usual end away: given back by the last that drains, unless the application
        // listens itself.
        if (process.listenerCount('SIGTERM') === 0) process.kill(process.pid, 'SIGTERM');
      });
    };
    process.on('SIGTERM', onSignal);
    return () => process.removeListener('SIGTERM', onSignal);
  },
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
