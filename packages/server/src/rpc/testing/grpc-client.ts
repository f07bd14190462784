/** A gRPC client on node:http2 that shows everything: when headers came, each message, how the call ended. */
import http2 from 'node:http2';
import { once } from 'node:events';
import { ProtoWriter } from '@hadron/contracts/protobuf';
import type { Encode } from '../call.ts';
import { MessageFramer } from '../framer.ts';

export interface Ended {
  readonly status: number;
  readonly message: string;
  readonly code: string | undefined;
  readonly field: string | undefined;
  /** No headers came before. */
  readonly trailersOnly: boolean;
}

export class GrpcClient {
  readonly session: http2.ClientHttp2Session;

  /** @param authority where to connect */
  constructor(authority: string, options: http2.ClientSessionOptions = {}) {
    this.session = http2.connect(`http://${authority}`, options);
    this.session.on('error', () => undefined);
  }

  call(path: string, headers: http2.OutgoingHttpHeaders = {}): TestCall {
    return new TestCall(
      this.session.request({
        ':method': 'POST',
        ':path': path,
        te: 'trailers',
        'content-type': 'application/grpc',
        ...headers,
      }),
    );
  }

  /** Sends one message and waits for the end. */
  async unary<T>(
    path: string,
    encode: Encode<T>,
    message: T,
    headers: http2.OutgoingHttpHeaders = {},
  ): Promise<TestCall> {
    const call = this.call(path, headers);
    call.send(encode, message);
    call.finish();
    await call.ended;
    return call;
  }

  async close(): Promise<void> {
    if (this.session.destroyed) return;
    this.session.destroy();
    await once(this.session, 'close').catch(() => undefined);
  }
}

export class TestCall {
  readonly stream: http2.ClientHttp2Stream;
  readonly messages: Buffer[] = [];
  /** Resolves with the response headers. */
  readonly headers: Promise<http2.IncomingHttpHeaders>;
  readonly ended: Promise<Ended>;
  private readonly waiters: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(stream: http2.ClientHttp2Stream) {
    this.stream = stream;
    const framer = new MessageFramer(1 << 30, (message) => {
      this.messages.push(Buffer.from(message));
      this.wake();
    });
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => framer.push(chunk));
    this.headers = new Promise((resolve) => stream.once('response', resolve));
    let trailersOnly = false;
    this.ended = new Promise((resolve) => {
      let seen: http2.IncomingHttpHeaders = {};
      const collect = (headers: http2.IncomingHttpHeaders): void => {
        if (headers['grpc-status'] !== undefined) seen = headers;
      };
      stream.once('response', (headers) => {
        trailersOnly = headers['grpc-status'] !== undefined;
        collect(headers);
      });
      stream.on('trailers', collect);
      stream.once('close', () => {
        resolve({
          status: Number(seen['grpc-status'] ?? -1),
          message: decodeURIComponent(String(seen['grpc-message'] ?? '')),
          code: seen['hadron-code'] as string | undefined,
          field: seen['hadron-field'] as string | undefined,
          trailersOnly,
        });
        for (const { resolve: wake } of this.waiters.splice(0)) wake();
      });
    });
  }

  /** Resolves when `count` messages have come, or the call has ended. */
  async received(count: number): Promise<Buffer[]> {
    if (this.messages.length < count && !this.stream.closed) {
      await new Promise<void>((resolve) => this.waiters.push({ count, resolve }));
    }
    return this.messages;
  }

  send<T>(encode: Encode<T>, message: T): void {
    this.stream.write(frame(encode, message));
  }

  /** Half-closes. */
  finish(): void {
    this.stream.end();
  }

  private wake(): void {
    for (const waiter of [...this.waiters]) {
      if (this.messages.length < waiter.count) continue;
      this.waiters.splice(this.waiters.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}

export function frame<T>(encode: Encode<T>, message: T): Buffer {
  const w = new ProtoWriter();
  const at = w.reserve(5);
  w.patchU8(at, 0);
  encode(w, message);
  w.patchU32(at + 1, w.length - 5);
  return Buffer.from(w.written());
}
