/**
 * A rate as a hard limit: never more than so many in any minute. Requests are spread evenly, for a burst at the end of one
 * minute and another at the beginning of the next would be twice the rate.
 */
export class Pace {
  readonly intervalMs: number;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(perMinute: number | undefined) {
    this.intervalMs = perMinute === undefined ? 0 : 60_000 / perMinute;
  }

  /** 0: one may go now, and is counted. Otherwise: how long to wait before asking again. */
  take(nowMs: number): number {
    if (nowMs < this.#nextMs) return this.#nextMs - nowMs;
    this.#nextMs = nowMs + this.intervalMs;
    return 0;
  }
}
