/** Failures as the client makes and reads them. One class for all: HadronError. */
import { ERRORS, type ErrorCode, HadronError } from '@hadron/base/errors';
import type { Duration } from './duration.ts';

/**
 * Thrown by a handler that knows that another try cannot help: the event goes to the dead letters at once.
 *
 * @example
 * ```ts
 * import { connect, Terminal } from '@hadron/client';
 * const orders = connect({ source: '/mail' }).stream('orders');
 * await orders.run({ group: 'mail' }, async (m) => {
 *   if (m.subject === undefined) throw new Terminal('an order without a number');
 * });
 * ```
 */
export class Terminal extends HadronError {
  /** Kept with the dead letter. */
  readonly reason: string;

  constructor(reason: string, options?: { cause?: unknown }) {
    super('HANDLER_TERMINAL', reason, options);
    this.reason = reason;
  }
}

/**
 * What a handler returns or throws (any object with `retryIn`) to be given the event again after that time, whatever the
 * group's back-off says. It counts as an attempt.
 *
 * @example
 * ```ts
 * import { connect, type Retry } from '@hadron/client';
 * const orders = connect({ source: '/mail' }).stream('orders');
 * await orders.run({ group: 'mail' }, async (): Promise<Retry | undefined> => {
 *   const limited = Math.random() < 0.1;
 *   return limited ? { retryIn: '30s', reason: 'rate limit' } : undefined;
 * });
 * ```
 */
export interface Retry {
  readonly retryIn: Duration;
  /** Shown by `hadron group` and kept if the event ends as a dead letter. */
  readonly reason?: string;
}

/** A failure that came as code and message; a code of a newer server becomes INTERNAL and stays readable. */
export function failure(code: string, message: string, field?: string): HadronError {
  const known = Object.hasOwn(ERRORS, code);
  const text = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return known
    ? new HadronError(code as ErrorCode, text, { field })
    : new HadronError('INTERNAL', `${code}: ${text}`, { field });
}

/** Whatever was thrown, as a HadronError. */
export function asHadronError(error: unknown): HadronError {
  if (error instanceof HadronError) return error;
  return new HadronError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
}

export const closed = (what: string): HadronError =>
  new HadronError('CLIENT_CLOSED', `the ${what} was closed; connect again to go on`, { effect: 'none' });

/** Whether the same call can succeed a little later without anybody's help. */
export function isTransient(error: HadronError): boolean {
  return error.retry === 'after-backoff';
}
