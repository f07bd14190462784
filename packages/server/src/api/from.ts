/** Where reading begins: `from=beginning|latest|OFFSET|TIME`, or a cursor of an earlier page. */
import type { TailFrom } from '@hadron/broker';
import { parseTimestamp } from '@hadron/contracts/events';
import { RequestRefused } from './problem.ts';

/** @param from undefined: as `otherwise` says */
export function parseFrom(
  from: string | undefined,
  cursor: string | undefined,
  partition: number | undefined,
  otherwise: 'beginning' | 'latest',
): TailFrom {
  if (cursor !== undefined && cursor !== '') {
    if (from === undefined) return { from: { cursor }, partition };
    throw new RequestRefused(400, 'give either from or cursor: a cursor says where to go on by itself', {
      field: 'from',
    });
  }
  if (from === undefined) return { from: otherwise, partition };
  if (from === 'beginning' || from === 'latest') return { from, partition };
  if (/^\d{1,15}$/.test(from)) return { from: { offset: Number(from) }, partition };
  // The + of an offset that was not percent-encoded is a space in a query, and no time has one.
  const timeMs = parseTimestamp(from.replace(' ', '+'));
  if (timeMs !== undefined) return { from: { timeMs }, partition };
  throw new RequestRefused(
    400,
    'from must be beginning, latest, an offset such as 42 (with partition), or a time such as 2026-11-20T08:00:00Z',
    { field: 'from' },
  );
}
