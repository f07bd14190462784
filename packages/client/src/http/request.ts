/** One HTTP request, and what its failure means. */
import { HadronError } from '@hadron/base/errors';
import { failure } from '../errors.ts';

/** The part of `fetch` that is used. */
export type FetchLike = (
  url: string,
  init: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
    readonly signal?: AbortSignal;
  },
) => Promise<Response>;

export const streamUrl = (base: string, stream: string): string => `${base}/v1/streams/${encodeURIComponent(stream)}`;

/** Nothing was sent: the effect is none. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

export function connectionFailed(url: string, cause: unknown): HadronError {
  const code = (cause as { cause?: { code?: unknown }; code?: unknown } | undefined)?.cause?.code;
  const own = (cause as { code?: unknown } | undefined)?.code;
  const known = typeof code === 'string' ? code : typeof own === 'string' ? own : '';
  const { host } = new URL(url);
  return new HadronError(
    'CONNECTION_FAILED',
    `no connection to ${host}${known === '' ? '' : ` (${known})`}; start a server with \`hadron start\`, or say where it is: connect({ url })`,
    { cause, effect: NEVER_SENT.has(known) ? 'none' : 'unknown' },
  );
}

/** @throws HadronError what the server says, or CONNECTION_FAILED */
export async function ask(fetch: FetchLike, url: string, init: Parameters<FetchLike>[1]): Promise<Response> {
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
      `${new URL(url).host} answered ${answer.status} and is perhaps no Hadron server; look at connect({ url })`,
    );
  }
  throw failure(
    problem.code,
    typeof problem.detail === 'string' ? problem.detail : `status ${answer.status}`,
    typeof problem.field === 'string' ? problem.field : undefined,
  );
}
