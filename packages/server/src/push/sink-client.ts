/** Requests to one sink: own connections, addresses checked as they are connected to, redirects never followed. */
import { Agent as HttpAgent, type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type AddressPolicy, guardedLookup, refuseLiteral, type Resolve } from './address-policy.ts';

export interface SinkAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

export interface SinkRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | undefined;
  /** From the first byte sent to the last of the answer. */
  readonly timeoutMs: number;
}

export interface SinkOptions {
  readonly sink: URL;
  readonly connections: number;
  readonly policy: AddressPolicy;
  readonly resolve: Resolve;
  /** Certificates trusted beside those of the machine. */
  readonly ca?: string | undefined;
}

/** Nobody reads what a sink answers; what is longer costs it the connection. */
const ANSWER_BYTES_MAX = 65_536;

/** A connection that was kept was closed as it was used again: the sink closes idle ones, which is no failure of the event. */
export class IdleConnectionClosed extends Error {
  override readonly name = 'IdleConnectionClosed';
}

export class SinkClient {
  readonly #sink: URL;
  readonly #policy: AddressPolicy;
  readonly #agent: HttpAgent;

  constructor({ sink, connections, policy, resolve, ca }: SinkOptions) {
    this.#sink = sink;
    this.#policy = policy;
    const options = { keepAlive: true, maxSockets: connections, lookup: guardedLookup(policy, resolve) };
    this.#agent =
      sink.protocol === 'https:'
        ? new HttpsAgent({ ...options, ...(ca === undefined ? {} : { ca }) })
        : new HttpAgent(options);
  }

  /**
   * Resolves with the answer, whatever its status; the body has been read and dropped.
   * @throws AddressRefused, IdleConnectionClosed, or an Error that says what failed: resolution, connection, TLS, time-out
   */
  send({ method, headers, body, timeoutMs }: SinkRequest): Promise<SinkAnswer> {
    return new Promise((resolve, reject) => {
      refuseLiteral(this.#sink.hostname, this.#policy);
      const send = this.#sink.protocol === 'https:' ? httpsRequest : httpRequest;
      const request = send(this.#sink, { method, headers: { ...headers }, agent: this.#agent });
      const deadline = setTimeout(
        () => request.destroy(new Error(`the sink did not answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      deadline.unref();
      request.once('close', () => clearTimeout(deadline));
      request.once('error', (error: NodeJS.ErrnoException) => {
        const isStale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(isStale ? new IdleConnectionClosed(error.message, { cause: error }) : error);
      });
      request.once('response', (response: IncomingMessage) => {
        const answered = (): void => resolve({ status: response.statusCode ?? 0, headers: response.headers });
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ANSWER_BYTES_MAX) response.destroy();
        });
        // What was said in the head holds, also if the rest never comes.
        response.once('close', answered);
        response.on('error', answered);
      });
      request.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
