/**
 * The door of remote procedure calls: finds the method of a path and the protocol of a request. gRPC over HTTP/2 has
 * framing of our own; Connect, gRPC-Web and everything over HTTP/1.1 goes through Connect's library to the same methods.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse, type ServerHttp2Session } from 'node:http2';
import { type Clock, Counter, HadronError, type Logger } from '@hadron/base';
import type { Method } from './call.ts';
import { GrpcCall } from './grpc-call.ts';
import { RpcRefused, Status, STATUS_NAMES } from './status.ts';

export type RpcRequest = IncomingMessage | Http2ServerRequest;
export type RpcResponse = ServerResponse | Http2ServerResponse;

/** A method and where it is. */
export interface RpcRoute {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly method: Method;
}

export interface RpcDoorOptions {
  readonly routes: readonly RpcRoute[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes of one message. Default 16 MiB. */
  readonly messageBytesMax?: number;
  /** A connection that answers no ping for so long is lost. Default 20,000. */
  readonly pingMs?: number;
}

const MIB = 1024 * 1024;

export class RpcDoor {
  private readonly options: RpcDoorOptions;
  private readonly methods: ReadonlyMap<string, Method>;
  /** Those under way. */
  private readonly open = new Set<{ stop(): void }>();
  /** Calls that are over, by method and gRPC status. */
  private readonly over = new Map<string, Counter[]>();
  private readonly known = new WeakSet<ServerHttp2Session>();
  private readonly messageBytesMax: number;
  private connect: Promise<(request: RpcRequest, response: RpcResponse) => void> | undefined;
  private closing = false;

  constructor(options: RpcDoorOptions) {
    this.options = options;
    this.methods = new Map(options.routes.map(({ path, method }) => [path, method]));
    this.messageBytesMax = options.messageBytesMax ?? 16 * MIB;
  }

  /** Takes a request if it is a call. @returns whether it is one */
  readonly handle = (request: RpcRequest, response: RpcResponse): boolean => {
    const type = request.headers['content-type'] ?? '';
    const path = (request.url ?? '').split('?', 1)[0] as string;
    const known = this.methods.has(path);
    if (!known && !type.startsWith('application/grpc') && !type.startsWith('application/connect+')) return false;
    if (request.method === 'OPTIONS') answerPreflight(request, response);
    else if (isGrpc(type) && 'stream' in request) this.grpc(request, path);
    else this.byLibrary(request, response);
    return true;
  };

  /** Ends calls that go on: publishes when what was taken is answered, sessions at once and uncounted. */
  stop(): void {
    this.closing = true;
    for (const call of [...this.open]) call.stop();
  }

  /** How often calls of each method ended in each way. */
  *calls(): Iterable<{ readonly method: string; readonly status: string; readonly count: number }> {
    for (const [method, counters] of this.over) {
      for (const [i, { value }] of counters.entries())
        if (value > 0) yield { method, status: STATUS_NAMES[i] as string, count: value };
    }
  }

  get openCalls(): number {
    return this.open.size;
  }

  private grpc(request: Http2ServerRequest, path: string): void {
    const { stream } = request;
    // Node tells of a stream a tick later: a client may have reset it by then, or be gone, and nobody can be answered.
    if (stream.destroyed || stream.closed || stream.session === undefined) return;
    this.greet(stream.session as ServerHttp2Session);
    const { clock, logger } = this.options;
    const call = new GrpcCall(stream, request.headers, path, {
      clock,
      logger,
      messageBytesMax: this.messageBytesMax,
      onOver: (over, status) => {
        this.open.delete(over);
        this.count(path, status);
      },
    });
    this.open.add(call);
    call.begin(this.closing ? refuseAll : (this.methods.get(path) ?? unknown(path)));
    if (this.closing) call.stop();
  }

  /** Connect and gRPC-Web: loaded when the first of them comes. */
  private byLibrary(request: RpcRequest, response: RpcResponse): void {
    this.connect ??= import('./connect.ts').then(({ connectHandler }) =>
      connectHandler(this.options.routes, {
        logger: this.options.logger,
        messageBytesMax: this.messageBytesMax,
        calls: this.open,
        onOver: (path, status) => this.count(path, status),
      }),
    );
    this.connect.then(
      (handler) => handler(request, response),
      (error: unknown) => {
        this.options.logger.error({ err: String(error) }, 'a Connect call failed: this is a bug');
        response.destroy();
      },
    );
  }

  /** Once per connection: pings that find out that nobody is there any more. */
  private greet(session: ServerHttp2Session): void {
    if (this.known.has(session)) return;
    this.known.add(session);
    const { clock, pingMs = 20_000 } = this.options;
    let silent = false;
    const ping = (): void => {
      if (session.destroyed) return;
      if (silent) {
        session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
        return;
      }
      silent = !session.closed;
      session.ping((error) => {
        if (error === null) silent = false;
      });
      timer = clock.setTimer(pingMs, ping);
    };
    let timer = clock.setTimer(pingMs, ping);
    session.on('close', () => timer.cancel());
  }

  private count(path: string, status: number): void {
    const method = this.methods.has(path) ? path : 'unknown';
    let counters = this.over.get(method);
    if (counters === undefined) this.over.set(method, (counters = STATUS_NAMES.map(() => new Counter())));
    (counters[status] as Counter).value++;
  }
}

/** A browser asks before a call to another origin; whether it may was looked at before. */
function answerPreflight(request: RpcRequest, response: RpcResponse): void {
  const asked = request.headers['access-control-request-headers'];
  response.statusCode = 204;
  response.setHeader('allow', 'POST');
  response.setHeader('access-control-allow-methods', 'POST');
  response.setHeader('access-control-max-age', '600');
  if (asked !== undefined) response.setHeader('access-control-allow-headers', asked);
  response.end();
}

/** Plain gRPC: `application/grpc`, perhaps with the format behind it. gRPC-Web begins the same. */
function isGrpc(type: string): boolean {
  const essence = (type.split(';', 1)[0] as string).trim().toLowerCase();
  return essence === 'application/grpc' || essence === 'application/grpc+proto';
}

const unknown =
  (path: string): Method =>
  () => {
    throw new RpcRefused(
      'NOT_IMPLEMENTED',
      Status.UNIMPLEMENTED,
      `there is no method ${path.slice(0, 200)}; the proto files come with the package @hadron/contracts`,
    );
  };

const refuseAll: Method = () => {
  throw new HadronError('CONNECTION_FAILED', 'the server is shutting down; connect again');
};
