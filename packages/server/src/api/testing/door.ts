/** For tests: a door with routes of the test on a port of its own, and raw connections to it. */
import net from 'node:net';
import { type Logger, MetricsRegistry, silentLogger, systemClock } from '@hadron/base';
import { allowAll } from '@hadron/broker';
import { onTestFinished } from 'vitest';
import { type HttpServerOptions, type RunningHttpServer, startHttpServer } from '../../http/index.ts';
import { ApiDoor, type ApiDoorOptions } from '../door.ts';
import { Tails } from '../tail.ts';

export interface TestDoor {
  readonly door: ApiDoor;
  readonly server: RunningHttpServer;
  readonly port: number;
  readonly url: string;
  /** Errors that were logged as bugs. */
  readonly bugs: readonly string[];
}

export async function openDoor(
  options: Partial<ApiDoorOptions> = {},
  http: Partial<HttpServerOptions> = {},
): Promise<TestDoor> {
  const bugs: string[] = [];
  const logger: Logger = { ...silentLogger, error: (fields) => bugs.push(String((fields as { err?: unknown }).err)) };
  const door = new ApiDoor({
    routes: [],
    sockets: [],
    tails: new Tails(systemClock),
    authorize: allowAll,
    clock: systemClock,
    logger,
    loopbackOnly: true,
    origins: [],
    ...options,
  });
  const server = await startHttpServer({
    listen: ['127.0.0.1'],
    listenIsDefault: false,
    port: 0,
    portIsDefault: false,
    metrics: new MetricsRegistry(),
    health: () => ({ healthy: true, ready: true, reasons: [] }),
    logger,
    door,
    graceMs: 200,
    ...http,
  });
  onTestFinished(() => server.close());
  const port = server.addresses[0]?.port ?? 0;
  return { door, server, port, url: `http://127.0.0.1:${port}`, bugs };
}

/** Sends bytes and resolves with everything that came until the other side ended, or `ms` have passed. */
export function talk(port: number, parts: readonly (string | Uint8Array)[], ms = 2_000): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(done, ms);
    socket.setNoDelay(true);
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.on('end', done).on('error', done).on('close', done);
    socket.on('connect', () => {
      void (async () => {
        for (const part of parts) {
          socket.write(part);
          await new Promise((next) => setTimeout(next, 5));
        }
      })();
    });
  });
}
