/** What users write about a group, as the server is asked for it. What is not given is not asked for (delivery.md D5). */
import { HadronError } from '@hadron/base/errors';
import type { GroupRequest, Start } from '@hadron/contracts';
import { type Duration, milliseconds } from './duration.ts';
import type { GroupOptions, RunOptions } from './types.ts';

/** @throws TypeError when a duration is none; HadronError GROUP_ID_INVALID, which a WebSocket could not tell */
export function groupRequest(options: GroupOptions & Pick<RunOptions, 'maxProcessing'>): GroupRequest {
  if (!NAME.test(options.group)) {
    const message = 'a group name has 1 to 255 characters and no control characters; choose another';
    throw new HadronError('GROUP_ID_INVALID', message, { field: 'group' });
  }
  const { ordering, window, durable, filter, start, policy = {}, maxProcessing } = options;
  const { timeout, backoff, maxDeliveries, deadLetterStream } = policy;
  return {
    ordering,
    window,
    durable,
    filters: filter === undefined || Array.isArray(filter) ? filter : [filter],
    start: start === undefined ? undefined : startOf(start),
    policy: {
      timeoutMs: optional(timeout, 'policy.timeout'),
      backoffMs: backoff?.map((pause) => milliseconds(pause, 'policy.backoff')),
      maxDeliveries,
      deadLetterStream,
      maxProcessingMs: optional(maxProcessing, 'maxProcessing'),
    },
  };
}

// oxlint-disable-next-line no-control-regex
const NAME = /^[^\u0000-\u001f\u007f]{1,255}$/;

const optional = (duration: Duration | undefined, what: string): number | undefined =>
  duration === undefined ? undefined : milliseconds(duration, what);

export function startOf(start: NonNullable<GroupOptions['start']>): Start {
  if (typeof start === 'string') return { from: start };
  return start instanceof Date ? { from: 'time', timeMs: start.getTime() } : start;
}
