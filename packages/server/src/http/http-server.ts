/**
 * The HTTP port: /metrics for Prometheus, /healthz and /readyz for whoever restarts or routes to this server, and behind
 * them the API where there is one. Without it everything else is 404. Answers are small JSON bodies (metrics: text); no
 * stack traces, no request bodies.
 *
 * One port on every address of `listen` ({@link listenOnAll}), for every kind of HTTP ({@link SharedPort}).
 */
import type { Server } from 'node:net';
import type { Logger, MetricsRegistry } from '@hadron/base';
import type { HostPort } from '../settings/server-settings.ts';
import { addressesOf, listenOnAll, stopListening } from './listen.ts';
import { type Page, prometheusPage } from './prometheus.ts';
import {
  type HttpRequest,
  type HttpResponse,
  PORT_TIMES,
  type PortHandler,
  type PortTimes,
  SharedPort,
} from './shared-port.ts';

/** How the server is. `reasons` are short sentences for people; empty when all is well. */
export interface Health {
  /** False when only a restart helps. */
  readonly healthy: boolean;
  /** False while it does not serve: starting, recovering, stopping. */
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

/** Everything on the port but the pages of operations. */
export interface HttpDoor extends PortHandler {
  /** Ends what does not end by itself: tails, sessions, waiting pulls. */
  stop(): void;
}

export interface HttpServerOptions {
  readonly listen: readonly string[];
  /** Addresses nobody asked for: one this machine does not have is left out. */
  readonly listenIsDefault: boolean;
  readonly port: number;
  readonly portIsDefault: boolean;
  /** Another port, with the pages of operations alone. */
  readonly metricsPort?: number | undefined;
  readonly metrics: MetricsRegistry;
  readonly health: () => Health;
  readonly logger: Logger;
  readonly door?: HttpDoor;
  /** Default 20,000; one more is closed at once. */
  readonly connectionsMax?: number;
  /** How long answers under way may take when the port closes. Default 600. */
  readonly graceMs?: number;
  /** Default {@link PORT_TIMES}. */
  readonly times?: PortTimes;
}

export interface RunningHttpServer {
  /** Where it listens: one per address, all with the same port. */
  readonly addresses: readonly HostPort[];
  /** The same of the port with the pages of operations alone; empty without one. */
  readonly metricsAddresses: readonly HostPort[];
  /** Connections open now, of every kind. */
  readonly connectionCount: number;
  /** Stops listening, lets answers under way end, closes what is open. */
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 20_000;
const GRACE_MS = 600;

/**
 * Starts the HTTP port.
 * @throws HadronError PORT_IN_USE, or SETTING_INVALID when an address is not one of this machine
 */
export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const { door, metricsPort, connectionsMax = CONNECTIONS_MAX, graceMs = GRACE_MS, times = PORT_TIMES } = options;
  const operations = new Operations(options);
  const ports: SharedPort[] = [];
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    const stopped = stopListening(servers);
    door?.stop();
    await Promise.all(ports.map((port) => port.close(graceMs)));
    await stopped;
  };
  const open = async (handler: PortHandler, port: number, portIsDefault: boolean, flag: string) => {
    const shared = new SharedPort(handler, connectionsMax, times);
    ports.push(shared);
    const opened = await listenOnAll(() => shared.server(), { ...options, port, portIsDefault, flag });
    servers.push(...opened);
    return addressesOf(opened);
  };
  try {
    const behind = door === undefined ? operations : operations.before(door);
    const addresses = await open(behind, options.port, options.portIsDefault, '--http-port');
    const metricsAddresses =
      metricsPort === undefined ? [] : await open(operations, metricsPort, false, '--metrics-port');
    return {
      addresses,
      metricsAddresses,
      get connectionCount() {
        return ports.reduce((n, port) => n + port.connections.size, 0);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Reply extends Page {
  readonly status: number;
}

/** The pages of operations; everything else is 404. */
class Operations implements PortHandler {
  private readonly health: () => Health;
  private readonly page: () => Promise<Page>;
  private readonly logger: Logger;

  constructor({ health, metrics, logger }: Pick<HttpServerOptions, 'health' | 'metrics' | 'logger'>) {
    this.health = health;
    this.page = prometheusPage(metrics);
    this.logger = logger;
  }

  /** These pages, and `door` for everything else. */
  before(door: HttpDoor): PortHandler {
    return {
      request: (request, response) => {
        if (PAGES.has(pathOf(request))) this.request(request, response);
        else door.request(request, response);
      },
      upgrade: (request, socket, head) => door.upgrade(request, socket, head),
      malformed: (error) => door.malformed(error),
    };
  }

  request(request: HttpRequest, response: HttpResponse): void {
    this.answer(request).then(
      (reply) => send(request, response, reply),
      (error: unknown) => {
        this.logger.error({ err: error, url: request.url }, 'HTTP request failed');
        send(request, response, json(500, { error: 'internal error; see the log' }));
      },
    );
  }

  upgrade(_request: HttpRequest, socket: { end(text: string): void }): void {
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }

  malformed(): string {
    return 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
  }

  private async answer(request: HttpRequest): Promise<Reply> {
    const path = pathOf(request);
    if (!PAGES.has(path)) return json(404, { error: `nothing at ${path}`, paths: [...PAGES] });
    if (request.method !== 'GET' && request.method !== 'HEAD') return json(405, { error: 'GET only' });
    if (path === '/metrics') return { status: 200, ...(await this.page()) };
    const { healthy, ready, reasons } = this.health();
    const ok = path === '/healthz' ? healthy : healthy && ready;
    return json(ok ? 200 : 503, { status: ok ? 'ok' : path === '/healthz' ? 'unhealthy' : 'not ready', reasons });
  }
}

const PAGES: ReadonlySet<string> = new Set(['/metrics', '/healthz', '/readyz']);

function pathOf({ url = '/' }: HttpRequest): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

function json(status: number, body: object): Reply {
  return { status, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(body)}\n` };
}

function send(request: HttpRequest, response: HttpResponse, { status, contentType, body }: Reply): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
