/** One HTTP request, and what its failure means. */
import { HadronError } from '@hadron/base/errors';
import { failure } from '../errors.ts';

export const streamUrl = (base: string, stream: string): string => `${base}/v1/streams/${encodeURIComponent(stream)}`;

/** Without a slash at the end. @throws TypeError when it is no address of a server */
export function serverUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:')
    throw new TypeError(`url: ${url} is no address of a server; give for example http://127.0.0.1:7000`);
  return parsed.href.replace(/\/$/, '');
}

/**
 * The failure of a connection. Where it was refused nothing was sent, so the effect is none; Node says so in the code of the
 * cause, browsers say nothing.
 */
export function connectionFailed(url: string, cause: unknown): HadronError {
  const { code } = ((cause as Error | undefined)?.cause ?? cause ?? {}) as { code?: unknown };
  const told = typeof code === 'string' ? ` (${code})` : '';
  const advice = NO_TLS.test(told)
    ? 'is that http:// and not https://, and its certificate trusted?'
    : 'start a server with `hadron start`, or say where its API is: connect({ url })';
  return new HadronError('CONNECTION_FAILED', `no connection to ${url}${told}; ${advice}`, {
    cause,
    effect: NEVER_SENT.test(told) || NO_TLS.test(told) ? 'none' : 'unknown',
  });
}

const NEVER_SENT = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UNREACH/;
/** A handshake that failed: nothing is sent before it. */
const NO_TLS = /_SSL_|_TLS_|CERT|SELF_SIGNED|UNABLE_TO_/;

/** @throws HadronError what the server says, or CONNECTION_FAILED */
export async function ask(url: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, init);
  } catch (cause) {
    throw connectionFailed(url, cause);
  }
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => ({}))) as { code?: unknown; detail?: unknown; field?: unknown };
  if (typeof problem.code !== 'string') {
    // Not our server's words: a proxy, or something else on that port.
    const transient = answer.status >= 500 || answer.status === 429;
    throw new HadronError(
      transient ? 'CONNECTION_FAILED' : 'REQUEST_INVALID',
      `${url} answered ${answer.status}; is that a Hadron server?`,
    );
  }
  throw failure(
    problem.code,
    typeof problem.detail === 'string' ? problem.detail : `status ${answer.status}`,
    typeof problem.field === 'string' ? problem.field : undefined,
  );
}
