/** What users write about a group, as the server is asked for it. What is not given is not asked for (delivery.md D5). */
import type { GroupRequest, Start } from '@hadron/contracts';
import { milliseconds } from './duration.ts';
import type { GroupOptions, RunOptions } from './types.ts';

/** @throws TypeError when a duration is none */
export function groupRequest(options: GroupOptions & Pick<RunOptions, 'maxProcessing'>): GroupRequest {
  const { ordering, window, durable, filter, start, policy = {}, maxProcessing } = options;
  const { timeout, backoff, maxDeliveries, deadLetterStream } = policy;
  const asked = {
    ...given('timeoutMs', timeout === undefined ? undefined : milliseconds(timeout, 'policy.timeout')),
    ...given(
      'backoffMs',
      backoff?.map((pause) => milliseconds(pause, 'policy.backoff')),
    ),
    ...given('maxDeliveries', maxDeliveries),
    ...given('deadLetterStream', deadLetterStream),
    ...given('maxProcessingMs', maxProcessing === undefined ? undefined : milliseconds(maxProcessing, 'maxProcessing')),
  };
  return {
    ...given('ordering', ordering),
    ...given('window', window),
    ...given('durable', durable),
    ...given('filters', filter === undefined ? undefined : Array.isArray(filter) ? filter : [filter]),
    ...given('start', start === undefined ? undefined : startOf(start)),
    ...given('policy', Object.keys(asked).length === 0 ? undefined : asked),
  };
}

export function startOf(start: NonNullable<GroupOptions['start']>): Start {
  if (typeof start === 'string') return { from: start };
  return start instanceof Date ? { from: 'time', timeMs: start.getTime() } : start;
}

/** JSON has no undefined, and neither has a group. */
function given<K extends string, V>(key: K, value: V | undefined): { [_ in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [_ in K]: V });
}
