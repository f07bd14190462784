/** One request under way, and its answer: what the handlers of routes get. */
import { HadronError } from '@hadron/base';
import type { HttpRequest, HttpResponse } from '../http/index.ts';
import { type BodyBudget, readBody } from './body.ts';
import { ControlCall } from './control-call.ts';
import { PROBLEM_TYPE, problemOf, RequestRefused } from './problem.ts';
import type { Params } from './router.ts';

/** JSON bodies of requests; events have a limit of their own. */
const JSON_BYTES_MAX = 1024 * 1024;

interface CallContext {
  readonly param: Params;
  /** What follows the path, with its question mark; empty without a query. */
  readonly search: string;
  readonly budget: BodyBudget;
  readonly onUnexpected: (error: unknown) => void;
}

export class Call extends ControlCall {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  /** Told of errors that are bugs. */
  private readonly onUnexpected: (error: unknown) => void;
  private readonly budget: BodyBudget;
  private gone: AbortController | undefined;

  constructor(request: HttpRequest, response: HttpResponse, { param, search, budget, onUnexpected }: CallContext) {
    super(param, search);
    this.request = request;
    this.response = response;
    this.budget = budget;
    this.onUnexpected = onUnexpected;
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** Whether only the head of the answer is wanted. */
  get headOnly(): boolean {
    return this.request.method === 'HEAD';
  }

  /** Aborted when the client goes away before its answer has left. */
  get signal(): AbortSignal {
    if (this.gone === undefined) {
      const gone = (this.gone = new AbortController());
      this.response.once('close', () => {
        if (!this.response.writableFinished) gone.abort();
      });
    }
    return this.gone.signal;
  }

  /**
   * Calls back with the whole body. A body beyond `bytesMax` or one that does not arrive is answered with a problem, and
   * `done` is never called.
   */
  body(bytesMax: number, done: (body: Buffer) => void): void {
    readBody(this.request, bytesMax, this.budget, (error, body) => {
      if (error !== undefined) {
        this.refuseBody(error);
        return;
      }
      try {
        done(body);
      } catch (thrown) {
        this.fail(thrown);
      }
    });
  }

  /** The body as JSON; an empty one is `{}`. @throws RequestRefused */
  async json(): Promise<unknown> {
    const body = await new Promise<Buffer>((resolve) => this.body(JSON_BYTES_MAX, resolve));
    if (body.length === 0) return {};
    try {
      return JSON.parse(body.toString('utf8'));
    } catch {
      throw new RequestRefused(400, 'the body is not JSON');
    }
  }

  /** Answers, in one write where the body is a string. @param headers name, value, name, value … */
  send(status: number, contentType: string, body: string | Buffer, headers: readonly string[] = []): void {
    const { response } = this;
    if (response.headersSent || response.destroyed) return;
    response.writeHead(status, [
      'content-type',
      contentType,
      'content-length',
      String(Buffer.byteLength(body)),
      ...headers,
    ]);
    response.end(this.headOnly ? undefined : body);
  }

  /** Answers with a problem; once an answer has begun, its connection is cut, so that nobody takes it for a whole one. */
  fail(error: unknown): void {
    const { response } = this;
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const known = error instanceof HadronError ? error : this.unexpected(error);
    const { status, headers, body } = problemOf(known);
    this.send(status, PROBLEM_TYPE, body, headers);
  }

  private unexpected(error: unknown): HadronError {
    this.onUnexpected(error);
    return new HadronError('INTERNAL', 'the server made a mistake; its log has more');
  }

  /**
   * The rest of the body is not wanted, but a connection that is closed while its peer still sends loses the answer: what
   * comes is thrown away for a moment first.
   */
  private refuseBody(error: HadronError): void {
    const { request, response } = this;
    if (response.headersSent || response.destroyed) return;
    const { status, headers, body } = problemOf(error);
    const close = request.httpVersionMajor === 1 ? ['connection', 'close'] : [];
    response.writeHead(status, [
      'content-type',
      PROBLEM_TYPE,
      'content-length',
      String(Buffer.byteLength(body)),
      ...headers,
      ...close,
    ]);
    response.write(body);
    const end = (): void => {
      clearTimeout(timer);
      response.end();
    };
    const timer = setTimeout(end, LINGER_MS);
    request.once('end', end);
    request.once('close', end);
    request.resume();
  }
}

const LINGER_MS = 1_000;
