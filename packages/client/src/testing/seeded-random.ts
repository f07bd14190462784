/**
 * Randomness that is the same in every run: with it and the virtual clock a test that passes once passes always. Identities
 * made from it are unique within one broker, not between brokers; so it is not for folders that outlive one.
 */
import type { Random } from '@hadron/base';

export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Mulberry32: a counter, well stirred. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  bytes(n: number): Uint8Array {
    return Uint8Array.from({ length: n }, () => this.u32() >>> 24);
  }
}
