/** The HTTP API as the resource commands use it: JSON in and out, problems as failures of one line. */
import { CommandFailure } from '../../failure.ts';
import type { ServerAddress } from '../../options.ts';
import { connectableUrl } from '../../server.ts';

/** Long enough for a disk that syncs slowly; watches have no limit. */
const TIMEOUT_MS = 30_000;

interface Problem {
  readonly code?: unknown;
  readonly detail?: unknown;
}

export class Api {
  private readonly base: string;
  private readonly token: string | undefined;

  /** @throws CommandFailure REQUEST_INVALID */
  constructor({ url, token }: ServerAddress) {
    this.base = connectableUrl(url);
    this.token = token;
  }

  get<T>(path: string): Promise<T> {
    return this.json('GET', path);
  }

  delete<T>(path: string): Promise<T> {
    return this.json('DELETE', path);
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.json('POST', path, JSON.stringify(body));
  }

  /** Lines of JSON until the server ends them or `signal` is aborted. */
  async *lines<T>(path: string, signal: AbortSignal): AsyncGenerator<T> {
    for await (const line of this.textLines(path, signal)) yield JSON.parse(line) as T;
  }

  /** {@link lines} as they come. */
  async *textLines(path: string, signal: AbortSignal, accept?: string): AsyncGenerator<string> {
    const response = await this.ask('GET', path, undefined, signal, accept);
    let text = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        const lines = text.split('\n');
        text = lines.pop() as string;
        for (const line of lines) if (line !== '') yield line;
      }
    } catch (error) {
      if (!signal.aborted) throw this.unreachable(error);
    }
  }

  private async json<T>(method: string, path: string, body?: string): Promise<T> {
    const response = await this.ask(method, path, body, AbortSignal.timeout(TIMEOUT_MS));
    try {
      return (await response.json()) as T;
    } catch (error) {
      throw this.foreign(error);
    }
  }

  private async ask(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    accept?: string,
  ): Promise<Response> {
    const headers = {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(accept === undefined ? {} : { accept }),
      ...(this.token === undefined ? {} : { authorization: `bearer ${this.token}` }),
    };
    let response: Response;
    try {
      response = await fetch(this.base + path, { method, headers, signal, ...(body === undefined ? {} : { body }) });
    } catch (error) {
      if ((error as { name?: unknown }).name === 'TimeoutError')
        throw new CommandFailure(
          'TIMED_OUT',
          `${this.base} did not answer within ${TIMEOUT_MS / 1000} s; look at its log`,
        );
      throw this.unreachable(error);
    }
    if (response.ok) return response;
    const problem = (await response.json().catch(() => undefined)) as Problem | undefined;
    if (typeof problem?.code !== 'string' || typeof problem.detail !== 'string') throw this.foreign(undefined);
    throw new CommandFailure(problem.code, problem.detail);
  }

  private unreachable(cause: unknown): CommandFailure {
    const why = (cause as { cause?: { code?: unknown } } | null)?.cause?.code;
    const reason = typeof why === 'string' ? ` (${why})` : '';
    return new CommandFailure(
      'CONNECTION_FAILED',
      `no Hadron answers at ${this.base}${reason}; start one with "hadron start", or name another with --url or HADRON_URL`,
      { cause },
    );
  }

  private foreign(cause: unknown): CommandFailure {
    return new CommandFailure('CONNECTION_FAILED', `what answers at ${this.base} is not Hadron's API; look at --url`, {
      cause,
    });
  }
}

export const resourcesPath = (kind: string, name?: string): string =>
  `/v1/resources/${encodeURIComponent(kind)}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
