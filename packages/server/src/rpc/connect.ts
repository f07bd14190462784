/**
 * Connect, gRPC-Web and gRPC-JSON through Connect's library, to the same methods as gRPC: each message goes through the
 * generated code into the bytes the method takes. It costs a second decoding, which the control plane and browsers can
 * afford; the hot path is grpc-call.ts. Loaded when the first such call comes.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { create, type DescMethod, type DescService, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import {
  type Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
  type ServiceImpl,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { HadronError, type Logger } from '@hadron/base';
import { ANONYMOUS, type Identity } from '@hadron/broker';
import { ProtoWriter } from '@hadron/contracts/protobuf';
import { Health, Streams } from '@hadron/contracts/services';
import { type Call, type CallHandler, type Encode, type Method, stopped } from './call.ts';
import type { RpcRoute } from './door.ts';
import { expected, Status, statusOf } from './status.ts';

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

interface ConnectOptions {
  readonly logger: Logger;
  readonly messageBytesMax: number;
  /** Those that go on, to be ended when the server stops. */
  readonly calls: Set<{ stop(): void }>;
  readonly onOver: (path: string, status: number) => void;
}

const SERVICES: readonly DescService[] = [Streams, Health];
const CONGESTED_BYTES = 256 * 1024;

/** A handler of requests for node:http and node:http2's compatibility layer. */
export function connectHandler(
  routes: readonly RpcRoute[],
  options: ConnectOptions,
): (request: Request, response: Response) => void {
  const methods = new Map(routes.map(({ path, method }) => [path, method]));
  return connectNodeAdapter({
    readMaxBytes: options.messageBytesMax,
    routes(router: ConnectRouter) {
      for (const service of SERVICES) {
        const implementation: Record<string, unknown> = {};
        for (const descriptor of service.methods) {
          const path = `/${service.typeName}/${descriptor.name}`;
          const method = methods.get(path);
          if (method !== undefined) implementation[descriptor.localName] = implement(descriptor, path, method, options);
        }
        router.service(service, implementation as Partial<ServiceImpl<DescService>>);
      }
    },
  });
}

/** The method in the form that the library wants for its kind. */
function implement(descriptor: DescMethod, path: string, method: Method, options: ConnectOptions): unknown {
  const start = (context: HandlerContext): ConnectCall => new ConnectCall(descriptor, path, method, context, options);
  switch (descriptor.methodKind) {
    case 'unary':
      return async (request: Message, context: HandlerContext) => {
        for await (const response of start(context).run([request])) return response;
        return create(descriptor.output);
      };
    case 'server_streaming':
      return (request: Message, context: HandlerContext) => start(context).run([request]);
    case 'client_streaming':
    case 'bidi_streaming':
      return (requests: AsyncIterable<Message>, context: HandlerContext) => start(context).run(requests);
  }
}

class ConnectCall implements Call {
  readonly identity: Identity = ANONYMOUS;
  private readonly descriptor: DescMethod;
  private readonly path: string;
  private readonly method: Method;
  private readonly context: HandlerContext;
  private readonly options: ConnectOptions;
  private readonly writer = new ProtoWriter();
  private readonly outgoing: Message[] = [];
  private outgoingBytes = 0;
  private handler: CallHandler | undefined;
  private over = false;
  private failure: HadronError | undefined;
  private wakeWriter: (() => void) | undefined;
  private wakeReader: (() => void) | undefined;
  private paused = false;

  constructor(descriptor: DescMethod, path: string, method: Method, context: HandlerContext, options: ConnectOptions) {
    this.descriptor = descriptor;
    this.path = path;
    this.method = method;
    this.context = context;
    this.options = options;
  }

  get peer(): string {
    return this.header('host') ?? 'connect';
  }

  get authority(): string {
    return this.header('host') ?? '';
  }

  get local(): { readonly host: string; readonly port: number } {
    return { host: '', port: 0 };
  }

  header(name: string): string | undefined {
    return this.context.requestHeader.get(name) ?? undefined;
  }

  get congested(): boolean {
    return this.outgoingBytes > CONGESTED_BYTES;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.wakeReader?.();
  }

  send<T>(encode: Encode<T>, message: T): void {
    if (this.over) return;
    const { writer } = this;
    writer.reset();
    encode(writer, message);
    this.outgoingBytes += writer.length;
    // Copied: the generated code keeps views of what it reads.
    this.outgoing.push(fromBinary(this.descriptor.output, writer.written().slice()));
    this.wakeWriter?.();
  }

  end(error?: unknown): void {
    if (this.over) return;
    this.over = true;
    if (error !== undefined) this.failure = expected(error, this.options.logger, this.path);
    this.wakeWriter?.();
    this.wakeReader?.();
  }

  stop(): void {
    if (this.over) return;
    if (this.handler?.stopping !== undefined) this.handler.stopping();
    else this.end(stopped());
  }

  /** Feeds the requests to the method and yields its responses. @throws ConnectError */
  async *run(requests: Iterable<Message> | AsyncIterable<Message>): AsyncGenerator<Message> {
    const { options, context } = this;
    options.calls.add(this);
    const lose = (): void => {
      if (this.over) return;
      this.end(new HadronError('CLIENT_CLOSED', 'the call was cancelled'));
      this.handler?.lost();
    };
    try {
      this.handler = this.method(this);
      context.signal.addEventListener('abort', lose);
      void this.feed(requests, lose);
      for (;;) {
        const next = this.outgoing.shift();
        if (next !== undefined) {
          yield next;
          if (this.outgoing.length === 0 && this.outgoingBytes > 0) {
            const wasCongested = this.congested;
            this.outgoingBytes = 0;
            if (wasCongested && !this.over) this.handler.drained?.();
            this.wakeReader?.();
          }
        } else if (this.over) break;
        else await new Promise<void>((resolve) => (this.wakeWriter = resolve));
      }
    } catch (error) {
      this.end(error);
    } finally {
      context.signal.removeEventListener('abort', lose);
      lose();
      options.calls.delete(this);
      options.onOver(this.path, this.failure === undefined ? Status.OK : statusOf(this.failure));
    }
    if (this.failure !== undefined) throw asConnectError(this.failure);
  }

  private async feed(requests: Iterable<Message> | AsyncIterable<Message>, lose: () => void): Promise<void> {
    try {
      for await (const request of requests) {
        // Who does not take its answers is not read either.
        while ((this.paused || this.congested) && !this.over)
          await new Promise<void>((resolve) => (this.wakeReader = resolve));
        if (this.over) return;
        this.handler?.message(Buffer.from(toBinary(this.descriptor.input, request)));
      }
    } catch (error) {
      if (error instanceof HadronError) this.end(error);
      else lose();
      return;
    }
    // A client of Node that cancels ends its side first and resets the call right behind: that is no clean end.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.over) return;
    try {
      this.handler?.finished();
    } catch (error) {
      this.end(error);
    }
  }
}

function asConnectError(error: HadronError): ConnectError {
  const metadata: Record<string, string> = { 'hadron-code': error.code };
  if (error.field !== undefined) metadata['hadron-field'] = encodeURIComponent(error.field.slice(0, 200));
  return new ConnectError(error.detail, statusOf(error) as Code, metadata);
}
