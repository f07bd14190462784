/**
 * The tail cache: recent bytes of all logs of a shard, within one budget.
 *
 * Every append is copied here once, patched with its position, and served from here to readers, to segment files and to
 * the commit log. A chunk leaves only when its bytes are in the segment file (log.md G13); when the budget is spent and
 * the oldest chunks are not written yet, `wantFlush` names their logs.
 */
import type { Log, TailChunk } from './log.ts';
import type { SlabPool } from './slab.ts';

const MARK_EVERY_BYTES = 8192;
const CHUNK_MIN_BYTES = 1024;
const CHUNK_MAX_BYTES = 1024 * 1024;
const SHRINK_LOOKS = 256;

export class TailCache {
  /** Bytes of memory in chunks (allocated, not used). */
  bytes = 0;
  budgetBytes: number;
  private readonly pool: SlabPool;
  /** Chunks by age, with their logs; a ring would save the odd slice, an array with a head is enough. */
  private ages: { log: Log; chunk: TailChunk }[] = [];
  private head = 0;
  /** Chunks in memory. */
  private chunks = 0;

  constructor(pool: SlabPool, budgetBytes: number) {
    this.pool = pool;
    this.budgetBytes = budgetBytes;
  }

  /** Room for one append of `length` bytes at the log's `nextByte`, in one piece. */
  room(log: Log, length: number, newSegment: boolean): TailChunk {
    const last = log.chunks.length === 0 ? undefined : (log.chunks[log.chunks.length - 1] as TailChunk);
    if (last !== undefined && !newSegment && last.used + length <= last.piece.size) return last;
    const grown =
      last === undefined ? CHUNK_MIN_BYTES : Math.min(Math.max(last.used * 4, CHUNK_MIN_BYTES), CHUNK_MAX_BYTES);
    const piece = this.pool.take(Math.max(grown, length));
    const chunk: TailChunk = {
      piece,
      startByte: log.nextByte,
      basePosition: log.nextPosition,
      used: 0,
      marks: undefined,
      lastMark: 0,
      dropped: false,
    };
    this.bytes += piece.size;
    this.chunks++;
    log.chunks.push(chunk);
    if (this.ages.length > 1024 && this.ages.length > 2 * this.chunks) this.forgetDropped();
    this.ages.push({ log, chunk });
    return chunk;
  }

  /** Notes that `length` bytes at `position` were put into `chunk`. */
  filled(chunk: TailChunk, position: number, length: number): void {
    if (chunk.used - chunk.lastMark >= MARK_EVERY_BYTES) {
      chunk.marks ??= [];
      chunk.marks.push(position, chunk.used);
      chunk.lastMark = chunk.used;
    }
    chunk.used += length;
  }

  /**
   * Brings memory below the budget as far as flushed bytes allow. `wantFlush` gets logs whose oldest bytes block.
   *
   * An entry of `ages` stands for one chunk of its log, not for a certain one: blocked entries go to the back, so those of
   * a log may come in any order, and what leaves is always the log's oldest chunk. So every look at a log that is flushed
   * makes room; where only its own chunk could leave, one call might free next to nothing and nobody would call again.
   */
  shrink(wantFlush: (log: Log) => void): void {
    // Called after every sync: where many logs block, the rest is looked at next time.
    const blockedMax = Math.min(this.chunks, SHRINK_LOOKS);
    let blocked = 0;
    while (this.bytes > this.budgetBytes && blocked < blockedMax) {
      const age = this.ages[this.head++] as { log: Log; chunk: TailChunk };
      if (this.head > 1024 && this.head * 2 > this.ages.length) {
        this.ages.splice(0, this.head);
        this.head = 0;
      }
      const { log, chunk } = age;
      if (chunk.dropped) continue;
      const oldest = log.chunks[0] as TailChunk;
      if (oldest.startByte + oldest.used > log.flushedByte) {
        wantFlush(log);
        blocked++;
      } else this.dropFirst(log);
      if (!chunk.dropped) this.ages.push(age);
    }
  }

  /** Drops the memory of a log that is done: removed, or idle and flushed. */
  dropFlushed(log: Log): void {
    while (log.chunks.length > 0) {
      const chunk = log.chunks[0] as TailChunk;
      if (chunk.startByte + chunk.used > log.flushedByte) return;
      this.dropFirst(log);
    }
  }

  dropAll(log: Log): void {
    while (log.chunks.length > 0) this.dropFirst(log);
  }

  private forgetDropped(): void {
    this.ages = this.ages.slice(this.head).filter((age) => !age.chunk.dropped);
    this.head = 0;
  }

  private dropFirst(log: Log): void {
    const chunk = log.chunks.shift() as TailChunk;
    this.bytes -= chunk.piece.size;
    this.chunks--;
    chunk.dropped = true;
    chunk.piece.release();
  }
}

/** Index of the chunk that holds `byte`; the caller knows that one does. */
export function chunkAt(log: Log, byte: number): number {
  let lo = 0;
  let hi = log.chunks.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if ((log.chunks[mid] as TailChunk).startByte <= byte) lo = mid + 1;
    else hi = mid;
  }
  return lo - 1;
}
