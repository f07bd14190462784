const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/**
 * A length of time: a number of milliseconds, or a number with a unit.
 *
 * @example
 * ```ts
 * import type { Duration } from '@hadron/client';
 * const pauses: Duration[] = [250, '250ms', '1.5s', '10m', '2h', '7d'];
 * ```
 */
export type Duration = number | `${number}${keyof typeof UNITS}`;

/** Whole milliseconds. @throws TypeError when it is no duration, or negative */
export function milliseconds(duration: Duration, what: string): number {
  const match = typeof duration === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration) : null;
  const ms = match === null ? duration : Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
  if (typeof ms === 'number' && ms >= 0 && ms < Number.MAX_SAFE_INTEGER) return Math.round(ms);
  throw new TypeError(
    `${what}: ${String(duration)} is no duration; give milliseconds or, for example, '10s', '5m', '2h'`,
  );
}
