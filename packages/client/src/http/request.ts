/** One HTTP request, and what its failure means. */
import { HadronError } from '@hadron/base/errors';
import { failure } from '../errors.ts';

export const streamUrl = (base: string, stream: string): string => `${base}/v1/streams/${encodeURIComponent(stream)}`;

/**
 * The failure of a connection. Where it was refused nothing was sent, so the effect is none; Node says so in the code of the
 * cause, browsers say nothing.
 */
export function connectionFailed(url: string, cause: unknown): HadronError {
  const { code } = ((cause as Error | undefined)?.cause ?? cause ?? {}) as { code?: unknown };
  const told = typeof code === 'string' ? ` (${code})` : '';
  return new HadronError(
    'CONNECTION_FAILED',
    `no connection to ${url}${told}; start a server with \`hadron start\`, or say where it is: connect({ url })`,
    { cause, effect: NEVER_SENT.test(told) ? 'none' : 'unknown' },
  );
}

const NEVER_SENT = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UNREACH/;

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
