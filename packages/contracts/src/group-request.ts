/**
 * A GroupRequest out of the JSON of a request: what doors take from clients. Shape, types and ranges are looked at here,
 * and that every filter can be compiled.
 */
import { HadronError } from '@hadron/base/errors';
import type { DeliveryPolicy, GroupRequest, Ordering, RateLimit, Start } from './delivery.ts';
import { checkFilters } from './filters/index.ts';

type Json = Readonly<Record<string, unknown>>;
type Writable<T> = { -readonly [K in keyof T]: T[K] };

const refuse = (field: string, expected: string): HadronError =>
  new HadronError('REQUEST_INVALID', `${field}: expected ${expected}`, { field });

function object(value: unknown, field: string, known: readonly string[]): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(field, 'an object');
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) throw refuse(`${field}.${name.slice(0, 100)}`, `one of ${known.join(', ')}`);
  }
  return value as Json;
}

function integer(value: unknown, field: string, min: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min)
    throw refuse(field, `a whole number from ${min} on`);
  return value;
}

function flag(value: unknown, field: string): boolean {
  if (typeof value !== 'boolean') throw refuse(field, 'true or false');
  return value;
}

const ORDERINGS: readonly Ordering[] = ['partition', 'key', 'none'];

/** @throws HadronError REQUEST_INVALID with the field */
export function parseStart(value: unknown, field: string): Start {
  const { from, offset, beyondEnd, timeMs } = object(value, field, ['from', 'offset', 'beyondEnd', 'timeMs']);
  if (from === 'beginning' || from === 'latest') return { from };
  if (from === 'offset') {
    if (beyondEnd !== undefined && beyondEnd !== 'latest') throw refuse(`${field}.beyondEnd`, 'latest, or nothing');
    return { from, offset: integer(offset, `${field}.offset`, 0), ...(beyondEnd === undefined ? {} : { beyondEnd }) };
  }
  if (from === 'time') return { from, timeMs: integer(timeMs, `${field}.timeMs`, 0) };
  throw refuse(`${field}.from`, 'one of beginning, latest, offset, time');
}

function parsePolicy(value: unknown, field: string): Partial<DeliveryPolicy> {
  const policy = object(value, field, [
    'timeoutMs',
    'maxProcessingMs',
    'backoffMs',
    'maxDeliveries',
    'deadLetterStream',
  ]);
  const result: Partial<Writable<DeliveryPolicy>> = {};
  const { timeoutMs, maxProcessingMs, backoffMs, maxDeliveries, deadLetterStream } = policy;
  if (timeoutMs !== undefined) result.timeoutMs = integer(timeoutMs, `${field}.timeoutMs`, 1);
  if (maxProcessingMs !== undefined) result.maxProcessingMs = integer(maxProcessingMs, `${field}.maxProcessingMs`, 1);
  if (maxDeliveries !== undefined) result.maxDeliveries = integer(maxDeliveries, `${field}.maxDeliveries`, 0);
  if (backoffMs !== undefined) {
    if (!Array.isArray(backoffMs) || backoffMs.length === 0 || backoffMs.length > 100)
      throw refuse(`${field}.backoffMs`, 'one to 100 waits in milliseconds');
    result.backoffMs = backoffMs.map((wait, i) => integer(wait, `${field}.backoffMs[${i}]`, 0));
  }
  if (deadLetterStream !== undefined) {
    if (typeof deadLetterStream !== 'string' || deadLetterStream === '')
      throw refuse(`${field}.deadLetterStream`, 'the name of a stream');
    result.deadLetterStream = deadLetterStream;
  }
  return result;
}

function parseRateLimit(value: unknown, field: string): RateLimit {
  const { count, perMs, by = 'group' } = object(value, field, ['count', 'perMs', 'by']);
  if (by !== 'group' && by !== 'key') throw refuse(`${field}.by`, 'group or key');
  return { count: integer(count, `${field}.count`, 1), perMs: integer(perMs, `${field}.perMs`, 1), by };
}

/**
 * `null` and an absent member are the same: not asked for. But a `rateLimit` of `null` asks for none.
 * @param field how the value is called in messages
 * @throws HadronError REQUEST_INVALID, for filters FILTER_INVALID, with the field
 */
export function parseGroupRequest(value: unknown, field: string = 'settings'): GroupRequest {
  if (value === undefined || value === null) return {};
  const all = object(value, field, [
    'durable',
    'start',
    'ordering',
    'window',
    'filters',
    'policy',
    'rateLimit',
    'holdRetention',
  ]);
  const given = Object.fromEntries(Object.entries(all).filter(([, member]) => member !== null));
  const { durable, start, ordering, window, filters, policy, rateLimit, holdRetention } = given;
  const request: Writable<GroupRequest> = {};
  if (durable !== undefined) request.durable = flag(durable, `${field}.durable`);
  if (start !== undefined) request.start = parseStart(start, `${field}.start`);
  if (ordering !== undefined) {
    if (!ORDERINGS.includes(ordering as Ordering)) throw refuse(`${field}.ordering`, `one of ${ORDERINGS.join(', ')}`);
    request.ordering = ordering as Ordering;
  }
  if (window !== undefined) request.window = integer(window, `${field}.window`, 1);
  if (filters !== undefined) request.filters = checkFilters(filters, `${field}.filters`);
  if (policy !== undefined) request.policy = parsePolicy(policy, `${field}.policy`);
  if (rateLimit !== undefined) request.rateLimit = parseRateLimit(rateLimit, `${field}.rateLimit`);
  else if (all['rateLimit'] === null) request.rateLimit = undefined;
  if (holdRetention !== undefined) request.holdRetention = flag(holdRetention, `${field}.holdRetention`);
  return request;
}

/** As {@link parseGroupRequest}, from the text of a binary session's first message. Empty: nothing is asked for. */
export function parseGroupRequestText(text: string): GroupRequest {
  if (text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('settings', 'a JSON object');
  }
  return parseGroupRequest(value);
}
