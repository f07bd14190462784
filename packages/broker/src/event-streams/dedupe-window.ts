/**
 * What a deduplication window remembers: for source and id of an event, where and when it was stored. Pure.
 *
 * A ring of entries, oldest first, in typed arrays, and an index over it (open addressing, linear probing). The identity
 * is kept as 96 bits of a seeded hash: with 20 million entries remembered and 10¹² events asked for, the chance that a
 * new event is ever taken for a known one is below 10⁻⁹. Memory: 30 bytes an entry and 4 a slot of the index, of which
 * there are 1.25 to 2.5 per entry: 40 at most. It grows by doubling, as entries come.
 */
import type { Random } from '@hadron/base';

const CAPACITY_FIRST = 256;
/** Slots of the index per entry, at least. */
const SLOTS_PER_ENTRY = 1.25;
/** Offset of an entry that is in no slot: it was taken back, or a newer one of the same identity took its place. */
const UNLINKED = -1;

export interface FirstPosition {
  readonly partition: number;
  readonly offset: number;
}

export class DedupeWindow {
  private readonly entriesMax: number;
  private readonly seeds: readonly [number, number, number];
  /** Of the identity that was looked up or added last. */
  private h0 = 0;
  private h1 = 0;
  private h2 = 0;

  private capacity = 0;
  /** Ring entry that is the oldest, and how many there are. */
  private head = 0;
  private count = 0;
  private hash0 = new Uint32Array(0);
  private hash1 = new Uint32Array(0);
  private hash2 = new Uint32Array(0);
  private offsets = new Float64Array(0);
  private times = new Float64Array(0);
  private partitions = new Uint16Array(0);
  /** Ring entry + 1; 0: free. Its length is a power of two. */
  private index = new Int32Array(0);

  constructor(entriesMax: number, random: Random) {
    this.entriesMax = entriesMax;
    this.seeds = [random.u32(), random.u32(), random.u32()];
  }

  get size(): number {
    return this.count;
  }

  get bytes(): number {
    return this.capacity * 30 + this.index.byteLength;
  }

  /** Where the event was stored first, if that was at `oldestMs` or later. */
  find(source: string, id: string, oldestMs: number): FirstPosition | undefined {
    this.hash(source, id);
    const slot = this.slotOf();
    if (slot < 0) return undefined;
    const entry = (this.index[slot] as number) - 1;
    if ((this.times[entry] as number) < oldestMs) return undefined;
    return { partition: this.partitions[entry] as number, offset: this.offsets[entry] as number };
  }

  /**
   * Remembers an event. One that is known since `oldestMs` or later keeps its first position; an older one is replaced.
   * @param timeMs when it was stored
   */
  add(source: string, id: string, partition: number, offset: number, timeMs: number, oldestMs: number): void {
    this.hash(source, id);
    while (this.count > 0 && (this.times[this.head] as number) < oldestMs) this.dropOldest();
    const slot = this.slotOf();
    if (slot >= 0) {
      const known = (this.index[slot] as number) - 1;
      if ((this.times[known] as number) >= oldestMs) return;
      this.offsets[known] = UNLINKED;
      this.clearSlot(slot);
    }
    if (this.count === this.capacity) {
      if (this.capacity < this.entriesMax) this.grow();
      else this.dropOldest();
    }
    const entry = (this.head + this.count) % this.capacity;
    this.count++;
    this.hash0[entry] = this.h0;
    this.hash1[entry] = this.h1;
    this.hash2[entry] = this.h2;
    this.offsets[entry] = offset;
    this.times[entry] = timeMs;
    this.partitions[entry] = partition;
    this.link(entry);
  }

  /** Takes an event back: what was told of it did not happen. */
  forget(source: string, id: string): void {
    this.hash(source, id);
    const slot = this.slotOf();
    if (slot < 0) return;
    this.offsets[(this.index[slot] as number) - 1] = UNLINKED;
    this.clearSlot(slot);
  }

  private dropOldest(): void {
    this.unlink(this.head);
    this.head = (this.head + 1) % this.capacity;
    this.count--;
  }

  // -------------------------------------------------------------------------------------------------------- the index

  /** The slot of the identity hashed last, or -1. */
  private slotOf(): number {
    const mask = this.index.length - 1;
    if (mask < 0) return -1;
    for (let slot = this.h0 & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.index[slot] as number) - 1;
      if (entry < 0) return -1;
      if (this.hash0[entry] === this.h0 && this.hash1[entry] === this.h1 && this.hash2[entry] === this.h2) return slot;
    }
  }

  private link(entry: number): void {
    const mask = this.index.length - 1;
    let slot = (this.hash0[entry] as number) & mask;
    while (this.index[slot] !== 0) slot = (slot + 1) & mask;
    this.index[slot] = entry + 1;
  }

  private unlink(entry: number): void {
    if (this.offsets[entry] === UNLINKED) return;
    const mask = this.index.length - 1;
    let slot = (this.hash0[entry] as number) & mask;
    while (this.index[slot] !== entry + 1) slot = (slot + 1) & mask;
    this.clearSlot(slot);
  }

  /** Frees a slot, and moves up what was pushed behind it: every probe ends at the first free slot. */
  private clearSlot(slot: number): void {
    const mask = this.index.length - 1;
    let free = slot;
    for (let next = (free + 1) & mask; this.index[next] !== 0; next = (next + 1) & mask) {
      const home = (this.hash0[(this.index[next] as number) - 1] as number) & mask;
      if (((next - home) & mask) < ((next - free) & mask)) continue;
      this.index[free] = this.index[next] as number;
      free = next;
    }
    this.index[free] = 0;
  }

  private grow(): void {
    const capacity = Math.min(Math.max(this.capacity * 2, CAPACITY_FIRST), this.entriesMax);
    // In order from the head, which becomes 0.
    const moved = <T extends Uint32Array | Uint16Array | Float64Array>(from: T, to: T): T => {
      to.set(from.subarray(this.head, this.head + this.count));
      to.set(from.subarray(0, Math.max(0, this.head + this.count - this.capacity)), this.capacity - this.head);
      return to;
    };
    this.hash0 = moved(this.hash0, new Uint32Array(capacity));
    this.hash1 = moved(this.hash1, new Uint32Array(capacity));
    this.hash2 = moved(this.hash2, new Uint32Array(capacity));
    this.offsets = moved(this.offsets, new Float64Array(capacity));
    this.times = moved(this.times, new Float64Array(capacity));
    this.partitions = moved(this.partitions, new Uint16Array(capacity));
    this.head = 0;
    this.capacity = capacity;
    this.index = new Int32Array(2 ** Math.ceil(Math.log2(capacity * SLOTS_PER_ENTRY)));
    for (let i = 0; i < this.count; i++) if (this.offsets[i] !== UNLINKED) this.link(i);
  }

  // ---------------------------------------------------------------------------------------------------------- the hash

  private hash(source: string, id: string): void {
    let [a, b, c] = this.seeds;
    for (let i = 0; i <= source.length; i++) {
      // An attribute has no U+0000: it stands between the two.
      const k = i === source.length ? 0 : source.charCodeAt(i);
      a = step(a, k, 0x85ebca6b);
      b = step(b, k, 0xc2b2ae35);
      c = step(c, k, 0x27d4eb2f);
    }
    for (let i = 0; i < id.length; i++) {
      const k = id.charCodeAt(i);
      a = step(a, k, 0x85ebca6b);
      b = step(b, k, 0xc2b2ae35);
      c = step(c, k, 0x27d4eb2f);
    }
    this.h0 = finish(a ^ (b >>> 7));
    this.h1 = finish(b ^ (c >>> 11));
    this.h2 = finish(c ^ (a >>> 13));
  }
}

function step(h: number, k: number, m: number): number {
  const x = Math.imul(h ^ k, m);
  return x ^ (x >>> 15);
}

function finish(h: number): number {
  let x = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
