/** What `run` does with one event, and what its handler's end means. Pure but for the handler. */
import { HadronError } from '@hadron/base/errors';
import type { Verdict } from '@hadron/contracts';
import type { Held } from './consumer.ts';
import { type Duration, milliseconds } from './duration.ts';
import { asHadronError, Terminal } from './errors.ts';
import { DeliveredMessage, dataOf, type SchemaOf } from './message.ts';
import type { Telemetry } from './telemetry.ts';
import type { Handler, Message } from './types.ts';

/**
 * Handler for events of a type that is of no interest here: they are acknowledged unread.
 *
 * @example
 * ```ts
 * import { connect, ignore } from '@hadron/client';
 * await connect({ source: '/mail' }).stream<{ 'order.placed': { id: string }; 'order.paid': unknown }>('orders').run(
 *   { group: 'mail' },
 *   { 'order.placed': (m) => console.log(m.data.id), 'order.paid': ignore },
 * );
 * ```
 */
export const ignore = (): void => undefined;

/** Reasons are kept with progress and dead letters: enough to understand, not a dump. */
const REASON_CHARACTERS_MAX = 500;

const ACK: Verdict = { kind: 'ack' };

export interface Handling {
  readonly stream: string;
  readonly group: string;
  readonly handlerOf: (type: string) => Handler | undefined;
  readonly schemaOf: SchemaOf;
  readonly invalid: 'term' | 'nack';
  readonly telemetry: Telemetry | undefined;
}

/** A verdict, and the failure that led to it with the message it is about. */
export interface Outcome {
  readonly verdict: Verdict;
  readonly error?: HadronError;
  readonly message?: Message;
}

export async function handle(held: Held, handling: Handling): Promise<Outcome> {
  const { event } = held.delivery;
  const handler = handling.handlerOf(event.type);
  if (handler === ignore) return { verdict: ACK };
  if (handler === undefined) {
    const error = new HadronError(
      'EVENT_INVALID',
      `no handler for the type ${event.type}; add one, or '*' for all others`,
    );
    return { verdict: { kind: 'term', reason: error.message }, error };
  }
  let message: Message;
  try {
    message = new DeliveredMessage(held, await dataOf(event, handling.schemaOf));
  } catch (thrown) {
    const error = asHadronError(thrown);
    return { verdict: { kind: handling.invalid, reason: shortened(error.message) }, error };
  }
  try {
    const work = (): unknown => handler(message);
    const { telemetry, stream, group } = handling;
    const result = await (telemetry === undefined ? work() : telemetry.process(stream, group, message, work));
    const retry = retryOf(result);
    if (retry === undefined) return { verdict: ACK };
    const reason = retry.reason === undefined ? 'the handler asked for another try' : retry.reason;
    return { verdict: { kind: 'nack', reason: shortened(reason), delayMs: retry.delayMs } };
  } catch (thrown) {
    return { verdict: verdictOf(thrown), error: asHandlerError(thrown), message };
  }
}

/** @throws TypeError when `retryIn` is no duration: a mistake in the handler, which ends as a nack that says so */
function retryOf(result: unknown): { delayMs: number; reason: string | undefined } | undefined {
  if (typeof result !== 'object' || result === null || !('retryIn' in result)) return undefined;
  const { retryIn } = result;
  if (retryIn === undefined) return undefined;
  const reason = 'reason' in result && typeof result.reason === 'string' ? result.reason : undefined;
  return { delayMs: milliseconds(retryIn as Duration, 'retryIn'), reason };
}

function verdictOf(thrown: unknown): Verdict {
  if (thrown instanceof Terminal) return { kind: 'term', reason: shortened(String(thrown.reason)) };
  let retry: ReturnType<typeof retryOf>;
  try {
    retry = retryOf(thrown);
  } catch (mistake) {
    return { kind: 'nack', reason: shortened(describe(mistake)) };
  }
  return { kind: 'nack', reason: shortened(retry?.reason ?? describe(thrown)), delayMs: retry?.delayMs };
}

function describe(thrown: unknown): string {
  if (!(thrown instanceof Error))
    return typeof thrown === 'string' ? thrown : 'a handler threw something that is no Error';
  const { message } = thrown as { message: unknown };
  return typeof message === 'string' && message !== '' ? message : thrown.name;
}

function asHandlerError(thrown: unknown): HadronError {
  return thrown instanceof HadronError
    ? thrown
    : new HadronError('INTERNAL', `a handler failed: ${describe(thrown)}`, { cause: thrown });
}

function shortened(reason: string): string {
  return reason.length <= REASON_CHARACTERS_MAX ? reason : `${reason.slice(0, REASON_CHARACTERS_MAX - 1)}…`;
}
