/**
 * A call of gRPC over HTTP/2 with framing of our own: messages in, messages out, trailers at the end.
 *
 * Always true: response headers leave as soon as the method has begun, before any message (clients of the original wait for
 * them, hadron.md §4.7); everything sent in one tick leaves in one write; a peer that does not read is not read either, so
 * nothing grows without end; the handler hears of the end of the call exactly once, unless it ended it.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { gunzipSync } from 'node:zlib';
import { type Clock, HadronError, type Logger, type Timer } from '@hadron/base';
import { ANONYMOUS, type Identity } from '@hadron/broker';
import { ProtoWriter } from '@hadron/contracts/protobuf';
import { type Call, type CallHandler, type Encode, type Method, stopped } from './call.ts';
import { FRAME_HEADER_BYTES, MessageFramer } from './framer.ts';
import { expected, parseTimeout, RpcRefused, Status, trailersOf } from './status.ts';

export interface GrpcCallOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes of one request message, after decompression. */
  readonly messageBytesMax: number;
  /** Told with the grpc-status when the call is over. */
  readonly onOver: (call: GrpcCall, status: number) => void;
}

/** Bytes that wait for the peer's window before a call counts as congested. */
const CONGESTED_BYTES = 256 * 1024;
/** A writer that grew beyond this is not kept. */
const WRITER_KEPT_BYTES = 64 * 1024;

const CONTENT_TYPE = 'application/grpc+proto';

export class GrpcCall implements Call {
  readonly identity: Identity = ANONYMOUS;
  readonly peer: string;
  readonly local: Call['local'];
  private readonly stream: ServerHttp2Stream;
  private readonly headers: IncomingHttpHeaders;
  private readonly method: string;
  private readonly options: GrpcCallOptions;
  private readonly framer: MessageFramer;
  private handler: CallHandler | undefined;
  private writer = new ProtoWriter(256);
  private flushing = false;
  private over = false;
  private paused = false;
  private wasCongested = false;
  private trailers: Record<string, string> = trailersOf(undefined);
  private deadline: Timer | undefined;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, method: string, options: GrpcCallOptions) {
    this.stream = stream;
    this.headers = headers;
    this.method = method;
    this.options = options;
    // Read now: a connection that is gone tells nothing of itself.
    const { remoteAddress, remotePort, localAddress, localPort } = stream.session?.socket ?? {};
    this.peer = `${remoteAddress ?? '?'}:${remotePort ?? 0}`;
    this.local = { host: localAddress ?? '', port: localPort ?? 0 };
    this.framer = new MessageFramer(options.messageBytesMax, (message, compressed) => {
      if (!this.over) this.handler?.message(compressed ? this.decompress(message) : message);
    });
    stream.on('error', () => undefined); // 'close' follows
    stream.on('close', () => this.lose());
  }

  /** Begins the call. */
  begin(method: Method): void {
    const { stream } = this;
    try {
      const encoding = this.headers['grpc-encoding'];
      if (encoding !== undefined && encoding !== 'identity' && encoding !== 'gzip') {
        throw new RpcRefused(
          'COMPRESSION_UNSUPPORTED',
          Status.UNIMPLEMENTED,
          `grpc-encoding ${String(encoding).slice(0, 50)} is not spoken here: send gzip or identity`,
        );
      }
      const timeout = this.header('grpc-timeout');
      if (timeout !== undefined) this.expire(parseTimeout(timeout));
      this.handler = method(this);
    } catch (error) {
      this.end(error);
      return;
    }
    if (this.over || stream.closed || stream.destroyed) return; // 'close' follows
    this.respond();
    stream.on('data', (chunk: Buffer) => this.received(chunk));
    // A client of Node that cancels ends its side first and resets the call right behind: that is no clean end.
    stream.on('end', () => this.options.clock.defer(() => this.finished()));
    stream.on('drain', () => this.drained());
  }

  get authority(): string {
    return this.headers[':authority'] ?? this.headers.host ?? '';
  }

  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value.join(',') : value;
  }

  send<T>(encode: Encode<T>, message: T): void {
    if (this.over) return;
    const { writer } = this;
    const at = writer.reserve(FRAME_HEADER_BYTES);
    writer.patchU8(at, 0);
    encode(writer, message);
    writer.patchU32(at + 1, writer.length - at - FRAME_HEADER_BYTES);
    if (this.flushing) return;
    this.flushing = true;
    queueMicrotask(this.flush);
  }

  get congested(): boolean {
    return this.stream.writableLength + this.writer.length > CONGESTED_BYTES;
  }

  pause(): void {
    this.paused = true;
    this.stream.pause();
  }

  resume(): void {
    this.paused = false;
    if (!this.wasCongested && !this.over) this.stream.resume();
  }

  end(error?: unknown): void {
    if (this.over) return;
    const failure = error === undefined ? undefined : expected(error, this.options.logger, this.method);
    this.trailers = trailersOf(failure);
    this.flush();
    this.settle();
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    if (!stream.headersSent) {
      stream.respond({ ':status': 200, 'content-type': CONTENT_TYPE, ...this.trailers }, { endStream: true });
      this.letGo();
    } else stream.end();
  }

  /** The server stops. */
  stop(): void {
    if (this.over) return;
    if (this.handler?.stopping !== undefined) this.handler.stopping();
    else this.end(stopped());
  }

  private respond(): void {
    this.stream.respond(
      { ':status': 200, 'content-type': CONTENT_TYPE, 'grpc-accept-encoding': 'identity,gzip' },
      { waitForTrailers: true },
    );
    // Node's compatibility layer, which brought the stream here, would send trailers of its own.
    this.stream.removeAllListeners('wantTrailers');
    this.stream.on('wantTrailers', () => {
      this.stream.sendTrailers(this.trailers);
      this.letGo();
    });
  }

  /** What the client still sends is of no interest; it is told so once the answer is out. */
  private letGo(): void {
    const { stream } = this;
    stream.resume();
    if (stream.readableEnded) return;
    stream.on('data', () => undefined);
    this.options.clock.defer(() => {
      if (!stream.closed && !stream.destroyed) stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  private received(chunk: Buffer): void {
    if (this.over) return;
    try {
      this.framer.push(chunk);
    } catch (error) {
      this.end(error);
    }
  }

  private finished(): void {
    // A call that was cut off ends its readable side as well.
    if (this.over || this.stream.aborted || this.stream.closed) return;
    try {
      if (!this.framer.isWhole) throw new HadronError('REQUEST_INVALID', 'the call ended inside a message');
      this.handler?.finished();
    } catch (error) {
      this.end(error);
    }
  }

  private drained(): void {
    if (!this.wasCongested) return;
    this.wasCongested = false;
    if (!this.paused) this.stream.resume();
    if (!this.over) this.handler?.drained?.();
  }

  private lose(): void {
    if (this.over) return;
    this.trailers = { 'grpc-status': String(Status.CANCELLED) };
    this.settle();
    this.handler?.lost();
  }

  private expire(timeoutMs: number): void {
    this.deadline = this.options.clock.setTimer(timeoutMs, () => {
      if (this.over) return;
      const { handler } = this;
      this.end(new HadronError('TIMED_OUT', 'the deadline of the call (grpc-timeout) has passed'));
      handler?.lost();
    });
  }

  private settle(): void {
    this.over = true;
    this.deadline?.cancel();
    this.options.onOver(this, Number(this.trailers['grpc-status']));
  }

  private readonly flush = (): void => {
    this.flushing = false;
    const { writer, stream } = this;
    if (writer.length === 0 || stream.destroyed || stream.closed) return;
    // A small writer is used again while the bytes wait for the peer; a large one goes with them.
    let bytes: Uint8Array = writer.written();
    if (writer.length > WRITER_KEPT_BYTES) this.writer = new ProtoWriter(256);
    else {
      bytes = Buffer.from(bytes);
      writer.reset();
    }
    stream.write(bytes);
    if (!this.wasCongested && this.congested) {
      this.wasCongested = true;
      stream.pause();
    }
  };

  private decompress(message: Buffer): Buffer {
    if (this.headers['grpc-encoding'] !== 'gzip')
      throw new HadronError('REQUEST_INVALID', 'a message is marked as compressed, but the call has no grpc-encoding');
    try {
      return gunzipSync(message, { maxOutputLength: this.options.messageBytesMax });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
        throw new RpcRefused(
          'LIMIT_EXCEEDED',
          Status.RESOURCE_EXHAUSTED,
          `a message is larger than ${this.options.messageBytesMax} bytes when decompressed; send smaller batches`,
        );
      }
      throw new HadronError('REQUEST_INVALID', 'a message is not the gzip it claims to be', { cause: error });
    }
  }
}
