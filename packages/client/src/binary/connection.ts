/**
 * Calls of gRPC over one HTTP/2 connection, with framing of our own: one byte of flags, four of length, the message. The
 * connection is made when it is first needed and again after it was lost.
 *
 * Always true: everything sent in one tick leaves in one write; a call ends exactly once, with a HadronError or with
 * undefined when all went well.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';
import { HadronError } from '@hadron/base/errors';
import { ProtoWriter } from '@hadron/contracts/protobuf';
import { closed, failure } from '../errors.ts';
import { connectionFailed, serverUrl } from '../http/request.ts';

const FRAME_HEADER_BYTES = 5;
/** The server sends no larger ones; a length beyond it is no gRPC of ours. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
/** What the server may send before it is read: of a call, of all calls. */
const CALL_WINDOW_BYTES = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
const WRITER_KEPT_BYTES = 64 * 1024;
/** What waits to leave, of all calls; beyond it no call can begin. Node's 10 are less than one large event. */
const SESSION_MEGABYTES_MAX = 256;

export type Encode<T> = (w: ProtoWriter, message: T) => void;

export interface CallEvents {
  /** @param bytes a view that may be kept */
  readonly message: (bytes: Uint8Array) => void;
  readonly ended: (error: HadronError | undefined) => void;
}

export class Connection {
  readonly #url: string;
  readonly #authorization: { readonly authorization?: string };
  #session: ClientHttp2Session | undefined;
  #closed = false;

  readonly #pingMs: number;

  constructor(url: string, pingMs: number, token?: string) {
    this.#url = serverUrl(url);
    if (this.#url !== new URL(url).origin)
      throw new TypeError(`url: ${url} has a path, which gRPC cannot have; leave it out, or use transport: 'http'`);
    this.#pingMs = pingMs;
    this.#authorization = token === undefined ? {} : { authorization: `bearer ${token}` };
  }

  /** Begins a call of `hadron.v1.Streams`. @throws HadronError CLIENT_CLOSED */
  call(method: string, events: CallEvents): Call {
    if (this.#closed) throw closed('transport');
    const session = this.#connected();
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': `/hadron.v1.Streams/${method}`,
        'content-type': 'application/grpc+proto',
        te: 'trailers',
        ...this.#authorization,
      },
      { endStream: false },
    );
    return new Call(stream, this.#url, events);
  }

  /** A method with one request and one response. */
  unary<Q, R>(method: string, encode: Encode<Q>, request: Q, decode: (bytes: Uint8Array) => R): Promise<R> {
    return new Promise((resolve, reject) => {
      let response: Uint8Array | undefined;
      const call = this.call(method, {
        message: (bytes) => {
          response = bytes;
        },
        ended: (error) => {
          try {
            if (error !== undefined) reject(error);
            else if (response === undefined) reject(new HadronError('INTERNAL', `${method} was answered with nothing`));
            else resolve(decode(response));
          } catch (cause) {
            reject(cause as Error);
          }
        },
      });
      call.send(encode, request);
      call.finish();
    });
  }

  close(): void {
    this.#closed = true;
    // Calls that ended well are let out first; the others are told.
    this.#session?.close();
    this.#session?.destroy();
    this.#session = undefined;
  }

  #connected(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(this.#url, {
      settings: { initialWindowSize: CALL_WINDOW_BYTES, enablePush: false },
      maxSessionMemory: SESSION_MEGABYTES_MAX,
    });
    this.#session = session;
    const forget = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    session.on('connect', () => {
      if (session.destroyed) return; // closed as it came to stand
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
      this.#watch(session);
    });
    session.on('error', forget); // each of its calls is told by its own error
    session.on('goaway', forget);
    session.on('close', forget);
    return session;
  }

  /** A network can vanish without a word: a connection that has not answered a ping when the next is due is lost. */
  #watch(session: ClientHttp2Session): void {
    let isAnswered = true;
    const timer = setInterval(() => {
      if (session.destroyed) return; // its end is told in a moment
      if (!isAnswered) {
        session.destroy(new Error('no answer to a ping'));
        return;
      }
      isAnswered = false;
      session.ping((error) => {
        isAnswered = error === null;
      });
    }, this.#pingMs);
    timer.unref();
    session.once('close', () => clearInterval(timer));
  }
}

export class Call {
  readonly #stream: ClientHttp2Stream;
  readonly #url: string;
  readonly #events: CallEvents;
  #writer = new ProtoWriter(256);
  #flushing = false;
  #finishing = false;
  #over = false;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #needed = FRAME_HEADER_BYTES;
  #status: HadronError | 'ok' | undefined;
  #cause: unknown;

  constructor(stream: ClientHttp2Stream, url: string, events: CallEvents) {
    this.#stream = stream;
    this.#url = url;
    this.#events = events;
    stream.on('response', (headers) => this.#headers(headers));
    stream.on('trailers', (headers) => this.#headers(headers));
    stream.on('data', (chunk: Buffer) => this.#received(chunk));
    stream.on('error', (error) => {
      this.#cause = error;
    });
    stream.on('close', () => this.#closed());
  }

  /** Appends a message; it leaves with all others of this tick. */
  send<T>(encode: Encode<T>, message: T): void {
    if (this.#over) return;
    const writer = this.#writer;
    const at = writer.reserve(FRAME_HEADER_BYTES);
    writer.patchU8(at, 0);
    encode(writer, message);
    writer.patchU32(at + 1, writer.length - at - FRAME_HEADER_BYTES);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  /** Nothing more will be sent. */
  finish(): void {
    this.#finishing = true;
    if (!this.#flushing) this.#flush();
  }

  /** Of no interest any more. `ended` is not told. */
  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  #flush(): void {
    this.#flushing = false;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    const writer = this.#writer;
    if (writer.length > 0) {
      // A small writer is used again while its bytes wait to leave; a large one goes with them.
      let bytes: Uint8Array = writer.written();
      if (writer.length > WRITER_KEPT_BYTES) this.#writer = new ProtoWriter(256);
      else {
        bytes = Buffer.from(bytes);
        writer.reset();
      }
      stream.write(bytes);
    }
    if (this.#finishing) stream.end();
  }

  #headers(headers: IncomingHttpHeaders): void {
    const httpStatus = Number(headers[':status'] ?? 200);
    const status = headers['grpc-status'];
    if (httpStatus !== 200) {
      this.#status = failure(
        'CONNECTION_FAILED',
        `${this.#url} answered ${httpStatus} and is perhaps no Hadron server`,
      );
    } else if (status === '0') this.#status = 'ok';
    else if (status !== undefined) {
      const code = headers['hadron-code'];
      const field = headers['hadron-field'];
      this.#status = failure(
        typeof code === 'string' ? code : 'CONNECTION_FAILED',
        decoded(headers['grpc-message']) ?? `grpc-status ${String(status)}`,
        decoded(field),
      );
    }
  }

  #received(chunk: Buffer): void {
    if (this.#over) return;
    let bytes = chunk;
    if (this.#pieceBytes > 0) {
      this.#pieces.push(chunk);
      this.#pieceBytes += chunk.length;
      if (this.#pieceBytes < this.#needed) return;
      bytes = Buffer.concat(this.#pieces, this.#pieceBytes);
      this.#pieces = [];
      this.#pieceBytes = 0;
      this.#needed = FRAME_HEADER_BYTES;
    }
    let at = 0;
    try {
      while (bytes.length - at >= FRAME_HEADER_BYTES) {
        const length = bytes.readUInt32BE(at + 1);
        if (bytes[at] !== 0 || length > MESSAGE_BYTES_MAX) throw new TypeError('not a message of gRPC');
        const end = at + FRAME_HEADER_BYTES + length;
        if (end > bytes.length) {
          this.#needed = FRAME_HEADER_BYTES + length;
          break;
        }
        this.#events.message(bytes.subarray(at + FRAME_HEADER_BYTES, end));
        at = end;
      }
    } catch (cause) {
      this.#status = new HadronError('CONNECTION_FAILED', 'the server sent what this version cannot read', { cause });
      this.#stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    if (at < bytes.length) {
      this.#pieces = [bytes.subarray(at)];
      this.#pieceBytes = bytes.length - at;
    }
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    const status = this.#status;
    this.#events.ended(status === 'ok' ? undefined : (status ?? connectionFailed(this.#url, this.#cause)));
  }
}

/** Header values are percent-encoded. */
function decoded(value: string | string[] | undefined): string | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
