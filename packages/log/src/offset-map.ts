/**
 * The newest position of each key, for compaction, in a fixed amount of memory.
 *
 * Keys are told apart by 16 bytes of their SHA-256: nobody finds two that collide, also not on purpose. Open addressing
 * over typed arrays, 24 bytes a slot. It is made as large as it may become, within the limit: growing is a stall.
 */
import { hash } from 'node:crypto';

const SLOT_BYTES = 24;
const SLOTS_MIN = 1024;
const FULL = 0.8;

export class OffsetMap {
  /** Keys it holds. */
  size = 0;
  readonly #slotsMax: number;
  #slots: number;
  /** Four words a slot. */
  #words: Uint32Array<ArrayBuffer>;
  /** Position + 1 of a slot, 0 for an empty one. */
  #positions: Float64Array<ArrayBuffer>;

  /**
   * @param bytesMax its memory at most
   * @param keysMax more keys do not come; by default it begins small and grows
   */
  constructor(bytesMax: number, keysMax: number = 0) {
    this.#slotsMax = Math.max(SLOTS_MIN, 2 ** Math.floor(Math.log2(bytesMax / SLOT_BYTES)));
    this.#slots = Math.min(this.#slotsMax, Math.max(SLOTS_MIN, 2 ** Math.ceil(Math.log2(keysMax / FULL + 1))));
    this.#words = new Uint32Array(this.#slots * 4);
    this.#positions = new Float64Array(this.#slots);
  }

  get bytes(): number {
    return this.#slots * SLOT_BYTES;
  }

  /**
   * Notes the position of a key; a later one replaces it.
   * @param force grow beyond the limit rather than refuse
   * @returns false when the key is new and the map is full
   */
  put(key: Uint8Array, position: number, force: boolean = false): boolean {
    const d = hash('sha256', key, 'buffer');
    const a = d.readUInt32LE(0);
    const b = d.readUInt32LE(4);
    const c = d.readUInt32LE(8);
    const e = d.readUInt32LE(12);
    let slot = this.#find(a, b, c, e);
    if (this.#positions[slot] === 0) {
      if (this.size + 1 > this.#slots * FULL) {
        if (this.#slots >= this.#slotsMax && !force) return false;
        this.#grow();
        slot = this.#find(a, b, c, e);
      }
      this.#words.set([a, b, c, e], slot * 4);
      this.size++;
    }
    this.#positions[slot] = position + 1;
    return true;
  }

  /** The newest position noted for a key, -1 for none. */
  get(key: Uint8Array): number {
    const d = hash('sha256', key, 'buffer');
    const slot = this.#find(d.readUInt32LE(0), d.readUInt32LE(4), d.readUInt32LE(8), d.readUInt32LE(12));
    return (this.#positions[slot] as number) - 1;
  }

  /** The slot of these words, or the empty one where they would go. */
  #find(a: number, b: number, c: number, e: number): number {
    const mask = this.#slots - 1;
    const words = this.#words;
    for (let slot = a & mask; ; slot = (slot + 1) & mask) {
      if (this.#positions[slot] === 0) return slot;
      const at = slot * 4;
      if (words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === e) return slot;
    }
  }

  #grow(): void {
    const words = this.#words;
    const positions = this.#positions;
    this.#slots *= 2;
    this.#words = new Uint32Array(this.#slots * 4);
    this.#positions = new Float64Array(this.#slots);
    for (let i = 0; i < positions.length; i++) {
      if (positions[i] === 0) continue;
      const at = i * 4;
      const slot = this.#find(
        words[at] as number,
        words[at + 1] as number,
        words[at + 2] as number,
        words[at + 3] as number,
      );
      this.#words.set(words.subarray(at, at + 4), slot * 4);
      this.#positions[slot] = positions[i] as number;
    }
  }
}
