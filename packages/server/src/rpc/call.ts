/**
 * A call as methods see it, whatever carries it: own gRPC framing (grpc-call.ts) or Connect's library (connect.ts). A
 * message is bytes; a method decodes what it takes and encodes what it gives.
 */
import { HadronError } from '@hadron/base';
import type { Identity } from '@hadron/broker';
import type { ProtoWriter } from '@hadron/contracts/protobuf';

export interface Call {
  /** Who called, for people: address and port. */
  readonly peer: string;
  readonly identity: Identity;
  /** `:authority`, or the Host header. */
  readonly authority: string;
  /** The address the client reached: host and port of this end of the connection. */
  readonly local: { readonly host: string; readonly port: number };
  /** A header of the request, by its lower-case name. */
  header(name: string): string | undefined;
  /**
   * Appends a message. It leaves with all others of this tick.
   * @param encode adds one message to the writer and keeps nothing of it
   */
  send<T>(encode: (w: ProtoWriter, message: T) => void, message: T): void;
  /** The peer does not take what was sent: hand out nothing that can wait. {@link CallHandler.drained} tells the end of it. */
  readonly congested: boolean;
  /** No more messages, but what has been received already; the peer is held back by flow control. */
  pause(): void;
  resume(): void;
  /** Ends the call, with what was sent before; nothing is told to the handler any more. Undefined: all went well. */
  end(error?: unknown): void;
}

/** What a method does with a call. One that throws ends the call with what it threw. */
export interface CallHandler {
  /** @param bytes the handler may keep them */
  message(bytes: Buffer): void;
  /** The client has sent all it wants to send. */
  finished(): void;
  /** The call is over and the handler did not end it: cancelled, past its deadline, or the connection is lost. */
  lost(): void;
  /** {@link Call.congested} no longer. */
  drained?(): void;
  /** The server stops. Default: the call ends as UNAVAILABLE. */
  stopping?(): void;
}

/** Begins a call. What it throws is the answer: no response headers have left yet. */
export type Method = (call: Call) => CallHandler;

export type Encode<T> = (w: ProtoWriter, message: T) => void;

/** A method with one request and one response. */
export function unary<Request, Response>(
  decode: (bytes: Uint8Array) => Request,
  encode: Encode<Response>,
  answer: (request: Request, call: Call) => Promise<Response> | Response,
): Method {
  return (call) => {
    let request: Buffer | undefined;
    let over = false;
    return {
      message(bytes) {
        if (request !== undefined) throw tooMany();
        request = bytes;
      },
      finished() {
        if (request === undefined) throw tooFew();
        void (async () => {
          try {
            const response = await answer(decode(request), call);
            if (over) return;
            call.send(encode, response);
            call.end();
          } catch (error) {
            if (!over) call.end(error);
          }
        })();
      },
      lost() {
        over = true;
      },
    };
  };
}

/** A method with one request and a stream of responses. `begin` is called with the request. */
export function serverStream<Request>(
  decode: (bytes: Uint8Array) => Request,
  begin: (request: Request, call: Call) => Pick<CallHandler, 'lost' | 'drained' | 'stopping'>,
): Method {
  return (call) => {
    let request: Buffer | undefined;
    let begun: ReturnType<typeof begin> | undefined;
    return {
      message(bytes) {
        if (request !== undefined) throw tooMany();
        request = bytes;
      },
      finished() {
        if (request === undefined) throw tooFew();
        begun = begin(decode(request), call);
      },
      lost: () => begun?.lost(),
      drained: () => begun?.drained?.(),
      stopping() {
        if (begun?.stopping === undefined) call.end(stopped());
        else begun.stopping();
      },
    };
  };
}

const tooMany = (): HadronError => new HadronError('REQUEST_INVALID', 'this method takes one request message');
const tooFew = (): HadronError => new HadronError('REQUEST_INVALID', 'the call ended before its request message');

/** To all who call while the server stops. */
export const stopped = (): HadronError =>
  new HadronError('CONNECTION_FAILED', 'the server is shutting down; connect again');
