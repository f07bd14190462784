/**
 * A log in memory: its ends, its segments and the bytes of its tail. Only the shard changes it.
 *
 * Positions, always in this order (a broken order is a bug, asserted where they move):
 *
 *     startPosition ≤ durable ≤ visible ≤ next          visible = durable, or written where durability is `os`
 *                     stable ≤ flushed ≤ next
 *     checkpointed ≤  stable
 *
 *   next     assigned: the next append goes here
 *   visible  shown to readers (a partition's high watermark)
 *   durable  covered by a finished sync of the commit log
 *   flushed  lies in its segment file. A direct append is there before its frame is durable
 *   stable   that file is synced: the checkpoint may name it, once the commit log is durable that far
 *
 * Beside each position runs a byte count. `…Byte` values count from an arbitrary zero chosen at open, over all segments;
 * a segment's `startByte` translates to its file. They exist for the tail only and are never stored.
 */
import type { LogFormat } from './format.ts';
import type { Piece } from './slab.ts';

declare const logIdBrand: unique symbol;
/** Names a log for ever; never used again after the log is removed (log.md G9). */
export type LogId = number & { readonly [logIdBrand]: true };

export type Durability = 'fsync' | 'os';

/** Where a leader epoch began: records from `start` on carry `epoch` or a later one. */
export interface EpochStart {
  readonly epoch: number;
  readonly start: number;
}

/** Positions `[from, to)` whose bytes are damaged: reads there fail, before and behind they go on. */
export interface Fence {
  readonly from: number;
  readonly to: number;
  /** The damaged bytes `[fromByte, toByte)` of the segment that begins at `segmentBase`. */
  readonly segmentBase: number;
  readonly fromByte: number;
  readonly toByte: number;
}

/** Settings of one log that may change while it is open. */
export interface LogOptions {
  /** A segment is rolled before it grows beyond this. */
  segmentBytes: number;
  /** A segment older than this is rolled. */
  segmentMs: number;
}

const NO_ENTRIES: Float64Array<ArrayBuffer> = new Float64Array(0);

/** Sparse map from position and time to a byte of the segment: one entry per index interval. */
export class SparseIndex {
  count = 0;
  // Empty until used: most segments of many logs never get an entry.
  private positions = NO_ENTRIES;
  private bytes = NO_ENTRIES;
  /** Largest timestamp of all units before the entry's byte. */
  private maxTimestamps = NO_ENTRIES;

  add(position: number, byte: number, maxTimestampBefore: number): void {
    if (this.count === this.positions.length) {
      const grow = (a: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> => {
        const b = new Float64Array(Math.max(8, a.length * 2));
        b.set(a);
        return b;
      };
      this.positions = grow(this.positions);
      this.bytes = grow(this.bytes);
      this.maxTimestamps = grow(this.maxTimestamps);
    }
    this.positions[this.count] = position;
    this.bytes[this.count] = byte;
    this.maxTimestamps[this.count++] = maxTimestampBefore;
  }

  positionAt(i: number): number {
    return this.positions[i] as number;
  }

  byteAt(i: number): number {
    return this.bytes[i] as number;
  }

  maxTimestampAt(i: number): number {
    return this.maxTimestamps[i] as number;
  }

  /** The last entry at or before `position`, or -1. */
  entryFor(position: number): number {
    let lo = 0;
    let hi = this.count;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if ((this.positions[mid] as number) <= position) lo = mid + 1;
      else hi = mid;
    }
    return lo - 1;
  }

  /** Byte at or before the unit that holds `position`. */
  byteFor(position: number): number {
    const i = this.entryFor(position);
    return i === -1 ? 0 : (this.bytes[i] as number);
  }

  /** Byte before which every timestamp is smaller than `timestamp`. */
  byteForTime(timestamp: number): number {
    let lo = 0;
    let hi = this.count;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if ((this.maxTimestamps[mid] as number) < timestamp) lo = mid + 1;
      else hi = mid;
    }
    return lo === 0 ? 0 : (this.bytes[lo - 1] as number);
  }
}

/** A run of a log in one file. The last one is active; the others are sealed and never change. */
export class Segment {
  readonly base: number;
  /** First byte in the log-wide byte count; NaN for a compacted segment, which has no place in it. */
  startByte: number;
  /** Position behind its last unit. */
  end: number;
  /** Bytes assigned to it (some may still be in the tail only). */
  bytes = 0;
  /** Bytes written to its file, and their CRC-32C. */
  fileBytes = 0;
  fileCrc = 0;
  /** Of those, known to be on stable storage; the checkpoint names these. */
  stableBytes = 0;
  stableCrc = 0;
  /** Its file has been made. */
  exists = false;
  /** Wall time of its first append. */
  createdMs: number;
  maxTimestamp = -1;
  /** Position of the first unit that holds `maxTimestamp`. */
  maxTimestampAt = -1;
  /** Undefined until loaded from its file. */
  index: SparseIndex | undefined;
  /** Bytes since the last index entry. */
  sinceIndex = 0;
  /** Entries that the index file holds, and its length. */
  indexSaved = 0;
  indexFileBytes = 0;
  /** Seeds the checksums of its blocks, so that blocks an earlier life left behind are not believed. */
  indexLife = 0;
  /** Entries of an index file at or behind this byte are not believed: they may tell of bytes lost in a crash. */
  indexLimit = Number.POSITIVE_INFINITY;
  /** Where the last read from the file ended: the next one of a sequential reader begins there. */
  hintPosition = -1;
  hintByte = 0;
  /** File generation: 0 as appended, +1 for each compaction. */
  version = 0;

  constructor(base: number, startByte: number, createdMs: number) {
    this.base = base;
    this.end = base;
    this.startByte = startByte;
    this.createdMs = createdMs;
    this.index = new SparseIndex();
  }
}

/** Recent bytes of one log in memory: whole appends, one behind the other. Never spans two segments. */
export interface TailChunk {
  readonly piece: Piece;
  readonly startByte: number;
  readonly basePosition: number;
  used: number;
  /** Every few kilobytes the position and relative byte of an append, as pairs. */
  marks: number[] | undefined;
  lastMark: number;
  /** Its memory was given back. */
  dropped: boolean;
}

export class Log {
  readonly id: LogId;
  readonly format: LogFormat;
  /** For people and tools: `orders-0`. */
  readonly name: string;
  durability: Durability;
  options: LogOptions;

  startPosition: number;
  nextPosition: number;
  visiblePosition: number;
  durablePosition: number;
  stablePosition: number;
  nextByte = 0;
  visibleByte = 0;
  durableByte = 0;
  stableByte = 0;
  /** What lies below is in segment files, perhaps unsynced. The position is exact whenever no flush is under way. */
  flushedByte = 0;
  flushedPosition: number;
  /** Compaction has gone over everything below. */
  cleanedTo = 0;
  /** The last durable checkpoint holds everything below: no frame of it is ever replayed. */
  checkpointedPosition: number;

  /** Never empty. Epochs and starts both grow. */
  epochs: EpochStart[];
  segments: Segment[] = [];
  fences: Fence[] = [];
  chunks: TailChunk[] = [];
  removed = false;

  /** @internal an asynchronous flush owns `flushedByte` */ flushing = false;
  /** @internal appends go straight to the segment */ direct = false;
  /** @internal bytes staged for the next write of the commit log */ stagedBytes = 0;
  /** @internal the staged group has a reference frame of this log */ stagedDirect = false;
  /** @internal one that was promised to be synced */ stagedSync = false;
  /** @internal */ staged = false;
  /** @internal changes of durability that were staged */ durabilityChanges = 0;
  /** @internal first LSN that is not stable yet, for "oldest first" */ dirtySinceLsn = 0;
  /** @internal last LSN of this log; the answer to a duplicate waits for it */ lastLsn = 0;
  /** @internal ends as the last write of the commit log left them */ writtenPosition = 0;
  /** @internal */ writtenByte = 0;
  /** @internal in the shard's list of written, unsynced logs */ inWritten = false;
  /** @internal in the shard's list of logs whose segments the next sync covers */ inDirect = false;
  /** @internal waits for a background flush */ wantsFlush = false;
  /** @internal an `os` log took part in a set that must be synced: nothing is shown before that LSN is */ strictLsn = 0;
  /** @internal the next append begins a segment */ rollNext = false;

  /** Called when `visiblePosition` or `startPosition` moved or the log was removed; set while somebody waits. */
  onAdvance: ((log: Log) => void) | undefined;

  constructor(
    id: LogId,
    format: LogFormat,
    name: string,
    durability: Durability,
    startPosition: number,
    epochs: EpochStart[],
    options: LogOptions,
  ) {
    this.id = id;
    this.format = format;
    this.name = name;
    this.durability = durability;
    this.options = options;
    this.startPosition = startPosition;
    this.nextPosition = startPosition;
    this.visiblePosition = startPosition;
    this.durablePosition = startPosition;
    this.stablePosition = startPosition;
    this.flushedPosition = startPosition;
    this.checkpointedPosition = startPosition;
    this.epochs = epochs;
  }

  get epoch(): number {
    return (this.epochs[this.epochs.length - 1] as EpochStart).epoch;
  }

  /** The segment that holds `position`, or undefined below the first and at or above the end. */
  segmentFor(position: number): Segment | undefined {
    const s = this.segments;
    let lo = 0;
    let hi = s.length;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if ((s[mid] as Segment).base <= position) lo = mid + 1;
      else hi = mid;
    }
    return lo === 0 ? undefined : s[lo - 1];
  }

  /** Takes the oldest `n` segments out, not the last one; what they held needs no flush any more. */
  takeFirstSegments(n: number): Segment[] {
    const gone = this.segments.splice(0, n);
    const { end } = gone[n - 1] as Segment;
    const endByte = (this.segments[0] as Segment).startByte;
    if (endByte > this.flushedByte) {
      this.flushedByte = endByte;
      this.flushedPosition = end;
    }
    if (endByte > this.stableByte) {
      this.stableByte = endByte;
      this.stablePosition = end;
    }
    return gone;
  }

  /** First byte still in memory; `nextByte` when there is none. */
  get tailByte(): number {
    return this.chunks.length === 0 ? this.nextByte : (this.chunks[0] as TailChunk).startByte;
  }

  /** Bytes on disk and in the tail, of all segments. */
  get sizeBytes(): number {
    let n = 0;
    for (const s of this.segments) n += s.bytes;
    return n;
  }

  fenceAt(position: number): Fence | undefined {
    for (const f of this.fences) if (position >= f.from && position < f.to) return f;
    return undefined;
  }
}
