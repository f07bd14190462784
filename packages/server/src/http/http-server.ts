/**
 * The HTTP port: /metrics for Prometheus, /healthz and /readyz for whoever restarts or routes to this server. Everything
 * else is 404. Answers are small JSON bodies (metrics: text); no stack traces, no request bodies.
 *
 * One port on every address of `listen`. The default port being taken is no reason to fail: the next free one is used and
 * the caller prints it. A port that somebody asked for is used or refused.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { HadronError, type Logger, type MetricsRegistry } from '@hadron/base';
import { formatHostPort, type HostPort } from '../settings/server-settings.ts';
import { type Page, prometheusPage } from './prometheus.ts';

/** How the server is. `reasons` are short sentences for people; empty when all is well. */
export interface Health {
  /** False when only a restart helps. */
  readonly healthy: boolean;
  /** False while it does not serve: starting, recovering, stopping. */
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

export interface HttpServerOptions {
  readonly listen: readonly string[];
  /** Addresses nobody asked for: one this machine does not have is left out. */
  readonly listenIsDefault: boolean;
  readonly port: number;
  readonly portIsDefault: boolean;
  readonly metrics: MetricsRegistry;
  readonly health: () => Health;
  readonly logger: Logger;
}

export interface RunningHttpServer {
  /** Where it listens: one per address, all with the same port. */
  readonly addresses: readonly HostPort[];
  /** Stops listening and closes what is open. */
  close(): Promise<void>;
}

const PORTS_TRIED = 100;

/**
 * Starts the HTTP port.
 * @throws HadronError PORT_IN_USE, or SETTING_INVALID when an address is not one of this machine
 */
export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const page = prometheusPage(options.metrics);
  const handler: http.RequestListener = (request, response) => {
    answer(request, options.health, page).then(
      (reply) => send(request, response, reply),
      (error: unknown) => {
        options.logger.error({ err: error, url: request.url }, 'HTTP request failed');
        send(request, response, json(500, { error: 'internal error; see the log' }));
      },
    );
  };
  const last = options.portIsDefault ? options.port + PORTS_TRIED : options.port;
  for (let port = options.port; ; port++) {
    const servers = await listenOnAll(handler, options, port);
    if (servers !== undefined) return running(servers);
    if (port >= last) {
      throw new HadronError(
        'PORT_IN_USE',
        `HTTP port ${options.port} is taken: stop what uses it, or choose another with --http-port (0 for any)`,
      );
    }
  }
}

/** Listens on every address, or on none: undefined when the port is taken on one of them. */
async function listenOnAll(
  handler: http.RequestListener,
  { listen, listenIsDefault }: HttpServerOptions,
  port: number,
): Promise<http.Server[] | undefined> {
  const servers: http.Server[] = [];
  let chosen = port; // 0 becomes what the system gave the first address
  for (const host of listen) {
    const server = http.createServer({ keepAliveTimeout: 10_000 }, handler);
    try {
      await listening(server, host, chosen, listen.includes('0.0.0.0'));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      const absent = code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT';
      if (absent && listenIsDefault && listen.length > 1) continue;
      await Promise.all(servers.map(closed));
      if (code === 'EADDRINUSE') return undefined;
      if (code === 'EACCES') {
        throw new HadronError(
          'SETTING_INVALID',
          `HTTP port ${port} needs rights this user does not have: choose one above 1023 with --http-port`,
        );
      }
      throw new HadronError(
        'SETTING_INVALID',
        `cannot listen on ${formatHostPort({ host, port })} (${code}): check --listen`,
        {
          cause: error,
        },
      );
    }
    servers.push(server);
    chosen = (server.address() as AddressInfo).port;
  }
  return servers;
}

/** `::` takes IPv4 connections as well, unless 0.0.0.0 is listened on beside it. */
function listening(server: http.Server, host: string, port: number, ipv6Only: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, ipv6Only }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closed(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function running(servers: readonly http.Server[]): RunningHttpServer {
  const addresses = servers.map((server) => {
    const { address, port } = server.address() as AddressInfo;
    return { host: address, port };
  });
  return {
    addresses,
    async close() {
      await Promise.all(servers.map(closed));
    },
  };
}

interface Reply extends Page {
  readonly status: number;
}

async function answer(request: http.IncomingMessage, health: () => Health, page: () => Promise<Page>): Promise<Reply> {
  const path = (request.url ?? '/').split('?', 1)[0] as string;
  if (path !== '/metrics' && path !== '/healthz' && path !== '/readyz') {
    return json(404, { error: `nothing at ${path}`, paths: ['/metrics', '/healthz', '/readyz'] });
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') return json(405, { error: 'GET only' });
  if (path === '/metrics') return { status: 200, ...(await page()) };
  const { healthy, ready, reasons } = health();
  const ok = path === '/healthz' ? healthy : healthy && ready;
  return json(ok ? 200 : 503, { status: ok ? 'ok' : path === '/healthz' ? 'unhealthy' : 'not ready', reasons });
}

function json(status: number, body: object): Reply {
  return { status, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(body)}\n` };
}

function send(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { status, contentType, body }: Reply,
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
