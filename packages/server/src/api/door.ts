/**
 * The API door: every request that is not for the pages of operations comes here, is looked at by the guard, given to the
 * remote procedure calls if it is one, else to the route of its path. No route decides anything: it decodes, asks a
 * service, encodes.
 *
 * Always true: every request is answered or its connection is closed; whoever may not do something is told before anything
 * is done (`authorize`); a mistake of a handler is an answer INTERNAL and a line in the log, never the end of the process.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Duplex } from 'node:stream';
import { type Clock, Counter, HadronError, Histogram, LATENCY_BOUNDS_SECONDS, type Logger } from '@hadron/base';
import { ANONYMOUS, type Authorize } from '@hadron/broker';
import type { WebSocket, WebSocketServer } from 'ws';
import type { HttpDoor, HttpRequest, HttpResponse } from '../http/index.ts';
import { BodyBudget } from './body.ts';
import { Call } from './call.ts';
import { type GuardSettings, guard, isAllowedOrigin } from './guard.ts';
import { PROBLEM_TYPE, problemOf, RequestRefused } from './problem.ts';
import { type Guarded, type Params, type Route, Router } from './router.ts';
import type { Tails } from './tail.ts';

/** Remote procedure calls (gRPC, Connect, gRPC-Web). @returns whether the request is one, and taken */
export type RpcHook = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
) => boolean;

/** A WebSocket and where it came to. */
export interface SocketCall {
  readonly socket: WebSocket;
  readonly param: Params;
  readonly peer: string;
}

export interface SocketRoute extends Guarded {
  readonly method: 'GET';
  readonly pattern: string;
  /** The subprotocol that must be offered; undefined: none is spoken. */
  readonly protocol: string | undefined;
  /** @returns what ends it in order when the server stops */
  readonly open: (call: SocketCall) => () => void;
}

export interface ApiDoorOptions extends GuardSettings {
  readonly routes: readonly Route[];
  readonly sockets: readonly SocketRoute[];
  readonly rpc?: RpcHook | undefined;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Answers that never end by themselves. */
  readonly tails: Tails;
  /** Bytes of one message of a WebSocket. Default 4 MiB. */
  readonly socketMessageBytesMax?: number;
  /** Bytes of requests that are not whole yet, all together. Default 256 MiB. */
  readonly bodyBytesMax?: number;
}

/** What the door counts; by route, in the order of the table. */
export interface ApiMetrics {
  readonly latency: readonly Histogram[];
  /** By route and status. */
  readonly answers: readonly Map<number, Counter>[];
  /** Requests that no route got, by status. */
  readonly refused: Map<number, Counter>;
  readonly sockets: Counter;
  socketsOpen: number;
}

const MIB = 1024 * 1024;

export class ApiDoor implements HttpDoor {
  readonly metrics: ApiMetrics;
  readonly router: Router<Route>;
  readonly tails: Tails;
  /** Connections of its port; set by whoever opened it. */
  connectionCount: () => number = () => 0;
  private readonly sockets: Router<SocketRoute>;
  private readonly options: ApiDoorOptions;
  private readonly budget: BodyBudget;
  private webSockets: Promise<WebSocketServer> | undefined;
  /** With what ends each in order. */
  private readonly openSockets = new Map<WebSocket, () => void>();
  private readonly onUnexpected = (error: unknown): void =>
    this.options.logger.error({ err: error }, 'a request to the API failed: this is a bug');

  constructor(options: ApiDoorOptions) {
    this.options = options;
    this.tails = options.tails;
    this.router = new Router(options.routes);
    this.sockets = new Router(options.sockets);
    this.budget = new BodyBudget(options.bodyBytesMax ?? 256 * MIB);
    this.metrics = {
      latency: options.routes.map(() => new Histogram(LATENCY_BOUNDS_SECONDS)),
      answers: options.routes.map(() => new Map<number, Counter>()),
      refused: new Map(),
      sockets: new Counter(),
      socketsOpen: 0,
    };
  }

  /** Memory of requests that are not whole yet. */
  get bodyBytes(): number {
    return this.budget.usedBytes;
  }

  request(request: HttpRequest, response: HttpResponse): void {
    // Peers vanish; whoever cares listens for 'close'.
    request.on('error', ignore);
    response.on('error', ignore);
    const { options, budget, onUnexpected } = this;
    const url = request.url ?? '/';
    const question = url.indexOf('?');
    const path = question < 0 ? url : url.slice(0, question);
    const search = question < 0 ? '' : url.slice(question);
    const method = request.method ?? 'GET';
    const { host, origin } = request.headers;
    if (host === undefined && request.httpVersion === '1.1') return this.refuse(request, response, noHost());
    try {
      guard(request.headers, request.httpVersionMajor === 2, options);
      if (origin !== undefined) this.allowOrigin(response, origin);
    } catch (error) {
      if (!this.isUnguarded(method, path)) return this.refuse(request, response, error);
    }
    if (options.rpc?.(request, response) === true) return;

    const found = this.router.find(method, path);
    if (found === undefined) {
      const upgrades = this.sockets.find('GET', path) !== undefined;
      return this.refuse(request, response, upgrades ? upgradeNeeded(path) : nothingAt(path));
    }
    if (!('route' in found)) {
      const allow = found.join(', ');
      if (method === 'OPTIONS') return answerOptions(request, response, allow);
      return this.refuse(
        request,
        response,
        new RequestRefused(405, `${path} has ${allow}`, { headers: ['allow', allow] }),
      );
    }
    const { route, index, param } = found;
    const call = new Call(request, response, { param, search, budget, onUnexpected });
    const begin = options.clock.monotonicMs();
    response.on('finish', () => {
      count(this.metrics.answers[index] as Map<number, Counter>, response.statusCode);
      (this.metrics.latency[index] as Histogram).observe((options.clock.monotonicMs() - begin) / 1000);
    });
    try {
      options.authorize(ANONYMOUS, route.action, route.target(param));
      const handled = route.handle(call);
      if (handled !== undefined) handled.catch((error: unknown) => call.fail(error));
    } catch (error) {
      call.fail(error);
    }
  }

  upgrade(request: HttpRequest, socket: Duplex, head: Buffer): void {
    socket.on('error', ignore);
    const path = (request.url ?? '/').split('?', 1)[0] as string;
    try {
      guard(request.headers, false, this.options);
      if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
        throw new RequestRefused(400, 'this server upgrades to websocket only; leave the header "upgrade" out');
      }
      const found = this.sockets.find('GET', path);
      if (found === undefined || !('route' in found)) throw nothingAt(path);
      const { route, param } = found;
      const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
      if (route.protocol !== undefined && !offered.includes(route.protocol)) {
        throw new RequestRefused(400, `a WebSocket at ${path} speaks the subprotocol ${route.protocol}; offer it`, {
          field: 'sec-websocket-protocol',
        });
      }
      this.options.authorize(ANONYMOUS, route.action, route.target(param));
      this.accept(request, socket, head, route, param);
    } catch (error) {
      socket.end(this.rawProblem(error));
    }
  }

  malformed(error: NodeJS.ErrnoException): string {
    const [status, message] =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? [431, 'the headers are too large; send the event in the body (structured mode)']
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? [408, 'the request did not arrive in time; send it again']
          : [400, 'this is not HTTP/1.1 as the standard has it'];
    return this.rawProblem(new RequestRefused(status as number, message as string));
  }

  stop(): void {
    this.options.tails.stop();
    for (const stop of this.openSockets.values()) stop();
  }

  private accept(request: HttpRequest, socket: Duplex, head: Buffer, route: SocketRoute, param: Params): void {
    // Loaded when the first one comes: most servers never see a WebSocket.
    this.webSockets ??= import('ws').then(
      ({ WebSocketServer }) =>
        new WebSocketServer({
          noServer: true,
          clientTracking: false,
          perMessageDeflate: false,
          maxPayload: this.options.socketMessageBytesMax ?? 4 * MIB,
          // What is spoken was looked at before; here only the answer is chosen.
          handleProtocols: (offered) => (offered.has(CLOUDEVENTS_PROTOCOL) ? CLOUDEVENTS_PROTOCOL : false),
        }),
    );
    this.webSockets
      .then((server) =>
        server.handleUpgrade(request, socket, head, (ws) => {
          this.metrics.sockets.value++;
          this.metrics.socketsOpen++;
          ws.on('error', ignore);
          ws.on('close', () => {
            this.openSockets.delete(ws);
            this.metrics.socketsOpen--;
          });
          const { remoteAddress, remotePort } = request.socket;
          this.openSockets.set(ws, route.open({ socket: ws, param, peer: `${remoteAddress}:${remotePort}` }));
        }),
      )
      .catch((error: unknown) => {
        this.onUnexpected(error);
        socket.destroy();
      });
  }

  private isUnguarded(method: string, path: string): boolean {
    const found = this.router.find(method, path);
    return found !== undefined && 'route' in found && found.route.unguarded === true;
  }

  private allowOrigin(response: HttpResponse, origin: string): void {
    if (!isAllowedOrigin(origin, this.options.origins)) return;
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('access-control-expose-headers', 'link, retry-after, grpc-status, grpc-message');
    response.setHeader('vary', 'origin');
  }

  /** Before a route has it. */
  private refuse(request: HttpRequest, response: HttpResponse, error: unknown): void {
    const { budget, onUnexpected } = this;
    const call = new Call(request, response, { param: noParams, search: '', budget, onUnexpected });
    call.fail(error);
    count(this.metrics.refused, response.statusCode);
  }

  /** An answer for a connection that is no request any more. */
  private rawProblem(error: unknown): string {
    if (!(error instanceof HadronError)) this.onUnexpected(error);
    const known = error instanceof HadronError ? error : new HadronError('INTERNAL', 'the server made a mistake');
    const { status, headers, body } = problemOf(known);
    count(this.metrics.refused, status);
    const lines = [`HTTP/1.1 ${status} ${known.kind}`, 'Connection: close', `Content-Type: ${PROBLEM_TYPE}`];
    for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
    return `${lines.join('\r\n')}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  }
}

/** cloudevents.md §6.2. */
export const CLOUDEVENTS_PROTOCOL = 'cloudevents.json';

function ignore(): void {}

function noParams(): never {
  throw new TypeError('no route, no parameters');
}

function nothingAt(path: string): RequestRefused {
  return new RequestRefused(404, `nothing at ${path.slice(0, 200)}; the API begins at /v1`);
}

function noHost(): RequestRefused {
  return new RequestRefused(400, 'HTTP/1.1 wants the header "host"', { field: 'host' });
}

function upgradeNeeded(path: string): RequestRefused {
  return new RequestRefused(426, `${path} is a WebSocket; connect to it with ws://`, {
    headers: ['upgrade', 'websocket'],
  });
}

function count(counters: Map<number, Counter>, status: number): void {
  let counter = counters.get(status);
  if (counter === undefined) counters.set(status, (counter = new Counter()));
  counter.value++;
}

/** Also a browser's question before a request to another origin. */
function answerOptions(request: HttpRequest, response: HttpResponse, allow: string): void {
  const asked = request.headers['access-control-request-headers'];
  const crossOrigin = response.hasHeader('access-control-allow-origin');
  response.writeHead(204, [
    'allow',
    allow,
    ...(crossOrigin ? ['access-control-allow-methods', allow, 'access-control-max-age', '600'] : []),
    ...(crossOrigin && asked !== undefined ? ['access-control-allow-headers', asked] : []),
    // A page of the internet that calls a server on this machine.
    ...(crossOrigin ? ['access-control-allow-private-network', 'true'] : []),
  ]);
  response.end();
}
