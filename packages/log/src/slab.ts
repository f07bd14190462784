/**
 * Pooled memory outside the JavaScript heap. Garbage collection frees external buffers late, so the tail cache, staging
 * and file reads take pieces of 1 MiB slabs and give them back by hand.
 *
 * A slab serves one size class at a time (1 KiB ... 1 MiB); when its last piece comes back it may serve another class.
 * Larger pieces are allocated alone and left to the collector.
 */
import { assert } from '@hadron/base';

const SLAB_BYTES = 1024 * 1024;
const MIN_SHIFT = 10;

interface Slab {
  readonly memory: Buffer;
  shift: number;
  readonly free: number[];
  pieces: number;
  listed: boolean;
}

/** A piece of pooled memory with a reference count: whoever keeps it past a tick holds it, and lets go once. */
export class Piece {
  readonly buffer: Buffer;
  /** @internal */ readonly pool: SlabPool;
  /** @internal */ readonly slab: Slab | undefined;
  private holders = 1;

  constructor(pool: SlabPool, slab: Slab | undefined, buffer: Buffer) {
    this.pool = pool;
    this.slab = slab;
    this.buffer = buffer;
  }

  get size(): number {
    return this.buffer.length;
  }

  hold(): void {
    assert(this.holders > 0, 'a piece of memory is held after it was given back');
    this.holders++;
  }

  release(): void {
    assert(this.holders > 0, 'a piece of memory is given back twice');
    if (--this.holders === 0) this.pool.giveBack(this);
  }
}

export class SlabPool {
  /** Bytes in pieces that are out. */
  usedBytes = 0;
  private readonly partial: Slab[][] = [];
  private readonly idle: Slab[] = [];
  private readonly idleMax: number;
  private readonly slabBytes: number;

  /**
   * @param slabBytes a power of two; larger pieces are allocated alone
   * @param idleMax slabs kept when nobody uses them; more are left to the collector
   */
  constructor(slabBytes: number = SLAB_BYTES, idleMax: number = 8) {
    this.slabBytes = slabBytes;
    this.idleMax = idleMax;
    for (let s = 0; s <= Math.log2(slabBytes); s++) this.partial.push([]);
  }

  /** A piece of at least `bytes` bytes: the next power of two from 1 KiB, above a slab exactly `bytes`. Content is undefined. */
  take(bytes: number): Piece {
    if (bytes > this.slabBytes) {
      this.usedBytes += bytes;
      return new Piece(this, undefined, Buffer.allocUnsafeSlow(bytes));
    }
    const shift = Math.max(MIN_SHIFT, 32 - Math.clz32(Math.max(bytes, 1) - 1));
    const list = this.partial[shift] as Slab[];
    let slab = list.at(-1);
    if (slab === undefined) {
      slab = this.idle.pop() ?? {
        memory: Buffer.allocUnsafeSlow(this.slabBytes),
        shift,
        free: [],
        pieces: 0,
        listed: false,
      };
      slab.shift = shift;
      slab.pieces = this.slabBytes >>> shift;
      slab.free.length = 0;
      for (let i = slab.pieces - 1; i >= 0; i--) slab.free.push(i);
      slab.listed = true;
      list.push(slab);
    }
    const at = (slab.free.pop() as number) << shift;
    if (slab.free.length === 0) {
      slab.listed = false;
      list.pop();
    }
    const size = 1 << shift;
    this.usedBytes += size;
    return new Piece(this, slab, slab.memory.subarray(at, at + size));
  }

  /** @internal */
  giveBack(piece: Piece): void {
    this.usedBytes -= piece.size;
    const slab = piece.slab;
    if (slab === undefined) return;
    slab.free.push((piece.buffer.byteOffset - slab.memory.byteOffset) >>> slab.shift);
    const list = this.partial[slab.shift] as Slab[];
    if (slab.free.length === slab.pieces) {
      if (slab.listed) list.splice(list.indexOf(slab), 1);
      slab.listed = false;
      if (this.idle.length < this.idleMax) this.idle.push(slab);
    } else if (!slab.listed) {
      slab.listed = true;
      list.push(slab);
    }
  }
}
