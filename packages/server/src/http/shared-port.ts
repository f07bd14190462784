/**
 * One port for everything over HTTP: HTTP/1.1, HTTP/2 without TLS (prior knowledge: gRPC), and WebSocket. The first bytes
 * of a connection tell which: `PRI ` begins HTTP/2 and nothing else. Node's own two servers do the rest; neither of them
 * listens.
 *
 * Always true: a connection that says nothing, or says it too slowly, is closed; nothing a peer sends ends the process.
 */
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import type { Duplex } from 'node:stream';

/** A request, of either version: `node:http2` offers the same surface. */
export type HttpRequest = http.IncomingMessage;
export type HttpResponse = http.ServerResponse;

/** What a port does with what it understood. */
export interface PortHandler {
  request(request: HttpRequest, response: HttpResponse): void;
  /** Something else wants to begin on this connection: a WebSocket, as far as we know. */
  upgrade(request: HttpRequest, socket: Duplex, head: Buffer): void;
  /** Not HTTP, or beyond its limits: an answer for the peer, written before its connection is closed. */
  malformed(error: NodeJS.ErrnoException): string;
}

/** An event of 64 KiB may travel in headers, percent-encoded (cloudevents.md §2.3). */
const HEADER_BYTES_MAX = 256 * 1024;
/** How long a connection may take, in milliseconds. */
export interface PortTimes {
  /** For the first bytes. */
  readonly first: number;
  /** For the head of a request. */
  readonly head: number;
  /** For a whole request, body included (HTTP/1.1). */
  readonly request: number;
  /** Between two requests. */
  readonly idle: number;
}

export const PORT_TIMES: PortTimes = { first: 10_000, head: 15_000, request: 60_000, idle: 60_000 };
const HTTP2_STREAMS_MAX = 1_000;
const HTTP2_SESSION_MEGABYTES = 128;
const HTTP2_WINDOW_BYTES = 1024 * 1024;
/** The least allowed, 16 KiB, cuts a batch into pieces that would have to be put together again. */
const HTTP2_FRAME_BYTES = 256 * 1024;

const PREFACE = Buffer.from('PRI ');

export class SharedPort {
  /** Every connection, whatever it speaks. */
  readonly connections = new Set<net.Socket>();
  /** Of these, those that have not said yet what they speak. */
  private readonly undecided = new Set<net.Socket>();
  private readonly sessions = new Set<http2.ServerHttp2Session>();
  private readonly http1: http.Server;
  private readonly http2: http2.Http2Server;
  private readonly connectionsMax: number;
  private readonly times: PortTimes;

  constructor(handler: PortHandler, connectionsMax: number, times: PortTimes) {
    this.connectionsMax = connectionsMax;
    this.times = times;
    this.http1 = http.createServer(
      {
        maxHeaderSize: HEADER_BYTES_MAX,
        headersTimeout: times.head,
        requestTimeout: times.request,
        connectionsCheckingInterval: times.head / 3,
        keepAliveTimeout: times.idle,
        // The handler says so itself, with more words.
        requireHostHeader: false,
        // Offers of h2c and the like are passed over, as the standard wants; the request is answered as it is (Node 24.9 on).
        shouldUpgradeCallback: wantsWebSocket,
      },
      (request, response) => handler.request(request, response),
    );
    // An expectation that nobody knows: the request is answered all the same.
    this.http1.on('checkExpectation', (request, response) => handler.request(request, response));
    this.http1.on('upgrade', (request, socket, head) => handler.upgrade(request, socket, head));
    this.http1.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
      else socket.end(handler.malformed(error), () => socket.destroy());
    });
    // It never listens by itself: this starts its sweep for requests that come too slowly.
    this.http1.emit('listening');
    this.http2 = http2.createServer(
      {
        // One session's calls may each have 256 KiB on the way; Node's 10 MB would refuse new ones before that.
        maxSessionMemory: HTTP2_SESSION_MEGABYTES,
        settings: {
          maxConcurrentStreams: HTTP2_STREAMS_MAX,
          initialWindowSize: HTTP2_WINDOW_BYTES,
          maxFrameSize: HTTP2_FRAME_BYTES,
          maxHeaderListSize: HEADER_BYTES_MAX,
          enablePush: false,
        },
      },
      (request, response) => handler.request(request as unknown as HttpRequest, response as unknown as HttpResponse),
    );
    this.http2.on('session', (session) => {
      this.sessions.add(session);
      session.on('close', () => this.sessions.delete(session));
      session.setLocalWindowSize(4 * HTTP2_WINDOW_BYTES);
      session.on('error', () => session.destroy());
    });
    this.http2.on('sessionError', () => undefined);
  }

  /** A server to listen with: what it accepts comes here. */
  server(): net.Server {
    const server = net.createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, (socket) =>
      this.accept(socket),
    );
    server.maxConnections = this.connectionsMax;
    return server;
  }

  private accept(socket: net.Socket): void {
    this.connections.add(socket);
    this.undecided.add(socket);
    socket.on('close', () => {
      this.connections.delete(socket);
      this.undecided.delete(socket);
    });
    socket.on('error', () => socket.destroy());
    const timedOut = (): void => void socket.destroy();
    const ended = (): void => void socket.destroy();
    socket.setTimeout(this.times.first, timedOut);
    socket.once('end', ended);
    let first: Buffer | undefined;
    const look = (chunk: Buffer): void => {
      first = first === undefined ? chunk : Buffer.concat([first, chunk]);
      const known = Math.min(first.length, PREFACE.length);
      const isHttp2 = first.compare(PREFACE, 0, known, 0, known) === 0;
      if (isHttp2 && known < PREFACE.length) return;
      this.undecided.delete(socket);
      socket.off('data', look);
      socket.off('end', ended);
      socket.off('timeout', timedOut);
      socket.setTimeout(0);
      socket.pause();
      socket.unshift(first);
      if (isHttp2) {
        socket.allowHalfOpen = false;
        this.http2.emit('connection', socket); // takes what was read by itself
      } else {
        this.http1.emit('connection', socket);
        socket.resume();
      }
    };
    socket.on('data', look);
  }

  /** Answers under way are finished, within `graceMs`; what is idle ends at once. */
  async close(graceMs: number): Promise<void> {
    for (const socket of this.undecided) socket.destroy();
    for (const session of this.sessions) session.close();
    const cut = setTimeout(() => {
      for (const socket of this.connections) socket.destroy();
    }, graceMs);
    while (this.connections.size > 0) {
      this.http1.closeIdleConnections();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    clearTimeout(cut);
    this.http1.close();
  }
}

function wantsWebSocket(request: HttpRequest): boolean {
  return request.method === 'GET' && request.headers.upgrade?.toLowerCase() === 'websocket';
}
