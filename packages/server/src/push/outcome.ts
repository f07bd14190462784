/** What the answer of a sink means (cloudevents.md §8.1). Pure. */

export type Outcome =
  | { readonly kind: 'delivered' }
  /** Again by the group's backoff; `afterMs`: nothing at all is sent to this sink before. */
  | { readonly kind: 'failed'; readonly reason: string; readonly afterMs: number | undefined }
  /** Never again: dead letter. */
  | { readonly kind: 'rejected'; readonly reason: string }
  /** 410: the sink wants no more of this Subscription. */
  | { readonly kind: 'unsubscribed' };

/** Nobody is kept waiting for longer than this; a sink that says so is asked again then. */
const RETRY_AFTER_MAX_MS = 7 * 24 * 3_600_000;

export function judge(status: number, retryAfter: string | undefined, nowMs: number): Outcome {
  if (status >= 200 && status <= 299) return { kind: 'delivered' }; // W3: 200, 201, 202, 204
  if (status === 410) return { kind: 'unsubscribed' }; // W4
  const reason = `the sink answered ${status}${status >= 300 && status <= 399 ? '; redirects are not followed' : ''}`;
  if (isPermanent(status)) return { kind: 'rejected', reason }; // W6, W7
  return { kind: 'failed', reason, afterMs: readRetryAfter(retryAfter, nowMs) }; // W2, W5, W7
}

function isPermanent(status: number): boolean {
  return status >= 400 && status <= 499 && status !== 408 && status !== 425 && status !== 429;
}

/** Seconds or an HTTP date, as milliseconds from now; undefined: absent, past, or neither. */
export function readRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const isDate = /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$/.test(text);
  const afterMs = /^[0-9]+$/.test(text) ? Number(text) * 1_000 : isDate ? Date.parse(text) - nowMs : Number.NaN;
  return afterMs > 0 ? Math.min(afterMs, RETRY_AFTER_MAX_MS) : undefined;
}
