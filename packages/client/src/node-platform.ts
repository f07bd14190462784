/**
 * What clients in Node have beside a transport. Apart from `index.ts`: a broker in this process needs no HTTP/2, whose modules
 * and codecs are a third of the time that the test kit takes to be imported.
 */
import { createRequire } from 'node:module';
import { cloudEvent } from '@hadron/contracts/events';
import type { Platform } from './client.ts';
import { openTelemetry } from './telemetry.ts';

/** What Node has: the API of OpenTelemetry where it is installed, and SIGTERM. */
export const nodePlatform: Omit<Platform, 'transport'> = {
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
