/**
 * Randomness under a seed: the same seed gives the same run, bit for bit.
 *
 * sfc32: three words of state and a counter, period at least 2^32, about 4 ns per number. Not for secrets.
 *
 * Always true: nothing here reads the machine. A part of the simulation that draws a number more must not change what
 * every other part draws, or a fix in the disk would re-roll the workload; therefore each part draws from its own
 * {@link SimRandom.fork}.
 */
import type { Random } from '@hadron/base';

const TWO_32 = 0x1_0000_0000;
const WARM_UP_ROUNDS = 12;

export class SimRandom implements Random {
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.seed = seed;
    this.#a = seed | 0;
    this.#b = Math.floor(seed / TWO_32) | 0;
    this.#c = 0x9e3779b9 | 0;
    for (let i = 0; i < WARM_UP_ROUNDS; i++) this.u32();
  }

  /** An unsigned 32-bit integer. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }

  bytes(n: number): Uint8Array {
    const out = new Uint8Array(n);
    this.fill(out);
    return out;
  }

  fill(into: Uint8Array): void {
    let word = 0;
    for (let i = 0; i < into.length; i++) {
      if ((i & 3) === 0) word = this.u32();
      into[i] = word;
      word >>>= 8;
    }
  }

  /** A number in [0, 1). */
  float(): number {
    return this.u32() / TWO_32;
  }

  /** An integer in [0, n); 0 when n < 1. */
  int(n: number): number {
    return n < 1 ? 0 : Math.floor((this.u32() / TWO_32) * n);
  }

  /** An integer in [from, to]. */
  between(from: number, to: number): number {
    return from + this.int(to - from + 1);
  }

  /** True with probability `p`. Draws nothing when the answer is certain. */
  chance(p: number): boolean {
    return p > 0 && (p >= 1 || this.u32() < p * TWO_32);
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new TypeError('pick: nothing to pick from');
    return from[this.int(from.length)] as T;
  }

  /** Shuffles in place and returns its argument. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const swapped = items[i] as T;
      items[i] = items[j] as T;
      items[j] = swapped;
    }
    return items;
  }

  /** An independent stream of the same seed. The label, not the moment, decides what it gives. */
  fork(label: string): SimRandom {
    let hash = 0x811c9dc5;
    for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
    const low = (this.seed ^ hash) >>> 0;
    const high = (Math.imul(hash, 0x85ebca6b) ^ Math.floor(this.seed / TWO_32)) & 0x1f_ffff; // together 53 bits: exact
    return new SimRandom(high * TWO_32 + low);
  }
}
