/** At most `count` in any `perMs` (delivery.md D22): the times of the last `count`, in a ring. */
export class SlidingWindow {
  readonly #count: number;
  readonly #perMs: number;
  readonly #times: number[] = [];
  #at = 0;

  constructor(count: number, perMs: number) {
    this.#count = count;
    this.#perMs = perMs;
  }

  /** When the next may be; at most `nowMs`: at once. */
  freeAt(): number {
    if (this.#times.length < this.#count) return Number.NEGATIVE_INFINITY;
    return (this.#times[this.#at] as number) + this.#perMs;
  }

  take(nowMs: number): void {
    if (this.#times.length < this.#count) this.#times.push(nowMs);
    else {
      this.#times[this.#at] = nowMs;
      this.#at = (this.#at + 1) % this.#count;
    }
  }

  /** Whether it remembers nothing that still counts. */
  isIdle(nowMs: number): boolean {
    const last = this.#times[(this.#at + this.#times.length - 1) % Math.max(1, this.#times.length)];
    return last === undefined || last + this.#perMs <= nowMs;
  }
}
