/**
 * Reading: from the tail cache in the same tick, from segment files on the thread pool.
 *
 * What comes from a file is checked before it is handed out: framing, order of positions, checksum of each unit
 * (log.md G11). Damage fences the positions it hit and nothing else.
 *
 * A read never passes `visiblePosition`, begins with the unit that holds the position asked for, and ends with a whole
 * unit.
 */
import { assert, HadronError } from '@hadron/base';
import { newUnit, type Unit } from './format.ts';
import { decodeIndex, indexFileName } from './index-file.ts';
import type { Log, Segment, SparseIndex, TailChunk } from './log.ts';
import { readAt } from './segment-files.ts';
import type { Shard } from './shard.ts';
import type { Piece } from './slab.ts';
import { chunkAt } from './tail-cache.ts';

/** Bytes of one log, in memory that is held until {@link release}. */
export class ReadResult {
  readonly parts: Buffer[] = [];
  bytes = 0;
  /** Position behind the last unit. */
  nextPosition: number;
  private pieces: Piece[] | undefined;

  constructor(nextPosition: number) {
    this.nextPosition = nextPosition;
  }

  /** @internal */
  add(piece: Piece, from: number, to: number, owned: boolean): void {
    if (!owned) piece.hold();
    this.pieces ??= [];
    this.pieces.push(piece);
    this.parts.push(piece.buffer.subarray(from, to));
    this.bytes += to - from;
  }

  /** Gives the memory back; `parts` must not be used any more. */
  release(): void {
    const pieces = this.pieces;
    if (pieces === undefined) return;
    this.pieces = undefined;
    for (const p of pieces) p.release();
  }
}

export interface ReadOptions {
  maxBytes: number;
  /** Give one whole unit even if it is larger than `maxBytes`. */
  atLeastOne: boolean;
}

const unit: Unit = newUnit();
const SCAN_WINDOW_BYTES = 64 * 1024;
const FILE_READ_MAX_BYTES = 1024 * 1024;
const INDEXES_KEPT = 256;

/**
 * Reads from memory. @returns undefined when the position lies before the tail: ask {@link readFile}
 * The caller has checked `startPosition ≤ position < visiblePosition`.
 */
export function readTail(shard: Shard, log: Log, position: number, options: ReadOptions): ReadResult | undefined {
  const chunks = log.chunks;
  if (chunks.length === 0 || (chunks[0] as TailChunk).basePosition > position) return undefined;
  let lo = 0;
  let hi = chunks.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if ((chunks[mid] as TailChunk).basePosition <= position) lo = mid + 1;
    else hi = mid;
  }
  let c = lo - 1;
  let chunk = chunks[c] as TailChunk;
  const rel = unitAt(log, chunk, position);
  const start = chunk.startByte + rel;
  let end = log.visibleByte;
  let next = log.visiblePosition;
  if (end - start > options.maxBytes) {
    const cut = boundary(log, start, start + options.maxBytes, position, options.atLeastOne);
    end = cut.byte;
    next = cut.position;
  }
  shard.stats.tailReads++;
  const result = new ReadResult(next);
  let at = start;
  while (at < end) {
    const from = at - chunk.startByte;
    const to = Math.min(chunk.used, end - chunk.startByte);
    result.add(chunk.piece, from, to, false);
    at = chunk.startByte + to;
    if (at < end) chunk = chunks[++c] as TailChunk;
  }
  return result;
}

/** Relative byte of the unit in `chunk` that holds `position`. */
function unitAt(log: Log, chunk: TailChunk, position: number): number {
  const format = log.format;
  if (format.headerBytes === 0) return position - chunk.basePosition;
  let rel = 0;
  const marks = chunk.marks;
  if (marks !== undefined) {
    let lo = 0;
    let hi = marks.length >>> 1;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if ((marks[mid * 2] as number) <= position) lo = mid + 1;
      else hi = mid;
    }
    if (lo > 0) rel = marks[lo * 2 - 1] as number;
  }
  for (;;) {
    const ok = format.scan(chunk.piece.buffer, rel, chunk.used, unit);
    assert(ok, `the tail of ${log.name} holds whole units`);
    if (unit.position + unit.extent > position || rel + unit.bytes >= chunk.used) return rel;
    rel += unit.bytes;
  }
}

/** Last unit boundary at or below `limit`, at least one unit behind `start` if asked. */
function boundary(
  log: Log,
  start: number,
  limit: number,
  position: number,
  atLeastOne: boolean,
): { byte: number; position: number } {
  const format = log.format;
  if (format.headerBytes === 0) return { byte: limit, position: position + (limit - start) };
  const c = chunkAt(log, limit);
  const chunk = log.chunks[c] as TailChunk;
  let rel = Math.max(0, start - chunk.startByte);
  const marks = chunk.marks;
  if (marks !== undefined) {
    for (let i = marks.length - 1; i > 0; i -= 2) {
      const at = marks[i] as number;
      if (chunk.startByte + at <= limit) {
        rel = Math.max(rel, at);
        break;
      }
    }
  }
  let next = -1;
  while (rel < chunk.used) {
    const ok = format.scan(chunk.piece.buffer, rel, chunk.used, unit);
    assert(ok, `the tail of ${log.name} holds whole units`);
    if (next === -1) next = unit.position;
    if (chunk.startByte + rel + unit.bytes > limit) {
      const first = chunk.startByte + rel === start;
      if (first && atLeastOne) return { byte: start + unit.bytes, position: unit.position + unit.extent };
      next = unit.position;
      break;
    }
    rel += unit.bytes;
    next = unit.position + unit.extent;
  }
  return { byte: chunk.startByte + rel, position: next };
}

/**
 * Reads from a segment file. May give nothing with a `nextPosition` further on (a gap that compaction left): ask again there.
 * @throws HadronError CORRUPT_DATA inside damaged positions, OFFSET_OUT_OF_RANGE when the position was trimmed meanwhile
 */
export async function readFile(shard: Shard, log: Log, position: number, options: ReadOptions): Promise<ReadResult> {
  const fence = log.fenceAt(position);
  if (fence !== undefined) throw corrupt(log, fence.from, fence.to);
  const segment = log.segmentFor(position);
  if (segment === undefined || log.removed) {
    throw new HadronError(
      'OFFSET_OUT_OF_RANGE',
      `${log.name} begins at ${log.startPosition}, ${position} is gone; read on from there`,
    );
  }
  if (position >= segment.end) return new ReadResult(segment.end);
  const limit = visibleBytes(log, segment);
  const hint = segment.hintPosition === position ? segment.hintByte : -1;
  const index = await loadIndex(shard, log, segment);
  let byte = hint >= 0 ? hint : Math.max(index.byteFor(position), fencedTo(log, segment, position));
  if (log.format.headerBytes === 0) byte = position - segment.base;
  const slack = hint >= 0 || log.format.headerBytes === 0 ? 0 : shard.settings.indexIntervalBytes;
  const cap = nextFence(log, position);
  let want = Math.min(Math.max(options.maxBytes, log.format.headerBytes, 1) + slack, FILE_READ_MAX_BYTES, limit - byte);
  shard.stats.fileReads++;
  for (;;) {
    if (byte >= limit) return new ReadResult(segment.end);
    const piece = shard.pool.take(want);
    let kept = false;
    try {
      const n = await readSegment(shard, log, segment, piece.buffer.subarray(0, want), byte);
      const b = piece.buffer;
      if (log.format.headerBytes === 0) {
        const result = new ReadResult(position + n);
        result.add(piece, 0, n, true);
        kept = true;
        return result;
      }
      let at = 0;
      let from = -1;
      let next = position;
      let expected = -1;
      let needed = 0;
      while (at < n) {
        if (!log.format.scan(b, at, n, unit)) {
          if (n - at >= log.format.headerBytes)
            damaged(shard, log, segment, byte + at, expected === -1 ? position : expected, 'framing');
          break;
        }
        const end = unit.position + unit.extent;
        if (expected !== -1 && (segment.version === 0 ? unit.position !== expected : unit.position < expected)) {
          damaged(shard, log, segment, byte + at, expected, 'order of offsets');
          break;
        }
        if (end > segment.end) {
          damaged(shard, log, segment, byte + at, expected === -1 ? position : expected, 'offset behind the end');
          break;
        }
        if (at + unit.bytes > n) {
          needed = unit.bytes;
          break;
        }
        expected = end;
        if (end <= position) {
          at += unit.bytes;
          continue;
        }
        if (unit.position >= cap) break;
        if (from !== -1 && at + unit.bytes - from > options.maxBytes) break;
        if (from === -1 && unit.bytes > options.maxBytes && !options.atLeastOne) break;
        if (!log.format.intact(b, at, unit.bytes)) {
          damaged(shard, log, segment, byte + at, unit.position, 'checksum', end, byte + at + unit.bytes);
          break;
        }
        if (from === -1) from = at;
        at += unit.bytes;
        next = end;
        if (at - from >= options.maxBytes) break;
      }
      if (from !== -1) {
        segment.hintPosition = next;
        segment.hintByte = byte + at;
        const result = new ReadResult(next);
        result.add(piece, from, at, true);
        kept = true;
        return result;
      }
      const now = log.fenceAt(position);
      if (now !== undefined) throw corrupt(log, now.from, now.to);
      if (needed > 0 && expected <= position && needed <= limit - byte - at) {
        // The unit that holds the position is larger than what was read, or lies across its end.
        if (unit.position + unit.extent > position && unit.bytes > options.maxBytes && !options.atLeastOne)
          return new ReadResult(position);
        byte += at;
        want = Math.min(Math.max(needed, options.maxBytes), limit - byte);
        if (want > FILE_READ_MAX_BYTES) want = Math.max(needed, FILE_READ_MAX_BYTES);
        continue;
      }
      if (at > 0 && expected !== -1 && expected <= position) {
        byte += at;
        want = Math.min(FILE_READ_MAX_BYTES, limit - byte);
        if (byte < limit && n > at && needed === 0) continue;
        if (byte < limit) continue;
        return new ReadResult(segment.end);
      }
      return new ReadResult(position);
    } finally {
      if (!kept) piece.release();
    }
  }
}

/** Reads wherever the bytes are. The caller has checked the range. @throws as {@link readFile} */
export async function read(shard: Shard, log: Log, position: number, options: ReadOptions): Promise<ReadResult> {
  let at = position;
  for (;;) {
    if (at >= log.visiblePosition) return new ReadResult(at);
    const result = readTail(shard, log, at, options) ?? (await readFile(shard, log, at, options));
    if (result.bytes > 0 || result.nextPosition === at) return result;
    at = result.nextPosition;
  }
}

/**
 * The first unit at or behind `from` whose largest timestamp is at least `timestamp`, copied.
 * @returns undefined when there is none among the visible ones
 */
export async function findByTime(shard: Shard, log: Log, timestamp: number, from: number): Promise<Buffer | undefined> {
  for (const segment of [...log.segments]) {
    if (segment.end <= from || segment.maxTimestamp < timestamp) continue;
    const index = await loadIndex(shard, log, segment);
    const byte = Math.max(index.byteForTime(timestamp), index.byteFor(from));
    const found = await scanSegment(
      shard,
      log,
      segment,
      byte,
      (u) => u.position + u.extent > from && u.maxTimestamp >= timestamp,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The first unit from `byte` on that `wanted` accepts, copied. Walks headers only, up to the visible end. */
async function scanSegment(
  shard: Shard,
  log: Log,
  segment: Segment,
  byte: number,
  wanted: (u: Unit) => boolean,
): Promise<Buffer | undefined> {
  let at = byte;
  const u = newUnit();
  let window = SCAN_WINDOW_BYTES;
  for (;;) {
    const limit = visibleBytes(log, segment);
    if (at >= limit) return undefined;
    const b = Buffer.allocUnsafe(Math.min(window, limit - at));
    await readSegment(shard, log, segment, b, at);
    let rel = 0;
    while (rel < b.length && log.format.scan(b, rel, b.length, u)) {
      if (u.position >= log.visiblePosition) return undefined;
      if (wanted(u)) {
        if (rel + u.bytes <= b.length) return b.subarray(rel, rel + u.bytes);
        const whole = Buffer.allocUnsafe(u.bytes);
        await readSegment(shard, log, segment, whole, at + rel);
        return whole;
      }
      rel += u.bytes;
    }
    if (rel === 0) {
      if (b.length < window) return undefined; // damaged framing: a read of it will say so
      window *= 2;
    }
    at += rel;
  }
}

/** Fills `into` from byte `at` of a segment, from the tail or the file. @returns the bytes read */
async function readSegment(shard: Shard, log: Log, segment: Segment, into: Buffer, at: number): Promise<number> {
  let done = 0;
  if (at < segment.fileBytes) {
    const opened = await shard.files.acquire(log, segment);
    try {
      const n = Math.min(into.length, segment.fileBytes - at);
      while (done < n) {
        const got = await readAt(opened.file, into.subarray(done, n), at + done);
        if (got === 0) break;
        done += got;
      }
      if (done < n) {
        throw new HadronError(
          'CORRUPT_DATA',
          `the segment file of ${log.name} at ${segment.base} ends at byte ${at + done}, ${segment.fileBytes} were written; run "hadron log verify"`,
        );
      }
    } finally {
      shard.files.done(opened);
    }
  }
  while (done < into.length) {
    const byte = segment.startByte + at + done;
    const chunk = log.chunks[chunkAt(log, byte)];
    if (chunk === undefined || byte >= chunk.startByte + chunk.used) break;
    const rel = byte - chunk.startByte;
    const n = Math.min(into.length - done, chunk.used - rel);
    chunk.piece.buffer.copy(into, done, rel, rel + n);
    done += n;
  }
  return done;
}

/** Bytes of a segment that readers may see. */
function visibleBytes(log: Log, segment: Segment): number {
  if (Number.isNaN(segment.startByte)) return segment.bytes;
  return Math.max(0, Math.min(segment.bytes, log.visibleByte - segment.startByte));
}

/** The segment's sparse index: from memory, its file, or a scan of the segment. */
export async function loadIndex(shard: Shard, log: Log, segment: Segment): Promise<SparseIndex> {
  if (segment.index !== undefined) return segment.index;
  const loaded = await readIndexFile(shard, log, segment);
  const index = loaded.index;
  // Walk what the file does not cover.
  const u = newUnit();
  let at = index.count === 0 ? 0 : index.byteAt(index.count - 1);
  let maxTimestamp = index.count === 0 ? -1 : index.maxTimestampAt(index.count - 1);
  let since = 0;
  const end = Math.min(segment.bytes, visibleBytes(log, segment));
  const b = Buffer.allocUnsafe(SCAN_WINDOW_BYTES);
  while (at < end && log.format.headerBytes > 0) {
    const n = await readSegment(shard, log, segment, b.subarray(0, Math.min(b.length, end - at)), at);
    let rel = 0;
    let big = 0;
    while (rel < n && log.format.scan(b, rel, n, u)) {
      if (since >= shard.settings.indexIntervalBytes) {
        index.add(u.position, at + rel, maxTimestamp);
        since = 0;
      }
      since += u.bytes;
      if (u.maxTimestamp > maxTimestamp) maxTimestamp = u.maxTimestamp;
      if (rel + u.bytes > n) {
        big = u.bytes;
        break;
      }
      rel += u.bytes;
    }
    if (big > 0) rel += big;
    if (rel === 0) break; // damaged: a read of it will say so
    at += rel;
  }
  if (segment.index !== undefined) return segment.index; // somebody else was faster
  segment.index = index;
  segment.sinceIndex = since;
  segment.indexSaved = loaded.saved;
  segment.indexFileBytes = loaded.bytes;
  shard.indexed.push(segment);
  if (shard.indexed.length > INDEXES_KEPT) forgetIndex(shard, log);
  return index;
}

function forgetIndex(shard: Shard, current: Log): void {
  const n = shard.indexed.length;
  for (let i = 0; i < n; i++) {
    const s = shard.indexed.shift() as Segment;
    // An active segment, or one whose index is not saved, keeps it.
    if (
      s !== current.segments.at(-1) &&
      s.stableBytes === s.bytes &&
      s.index !== undefined &&
      s.index.count === s.indexSaved
    ) {
      s.index = undefined;
      return;
    }
    if (s.index !== undefined) shard.indexed.push(s);
  }
}

async function readIndexFile(
  shard: Shard,
  log: Log,
  segment: Segment,
): Promise<{ index: SparseIndex; saved: number; bytes: number }> {
  const path = indexFileName(shard.files.path(log, segment));
  const size = shard.fs.sizeSync(path) ?? 0;
  const content = Buffer.alloc(Math.min(size, 64 * 1024 * 1024));
  if (content.length > 0) {
    await new Promise<void>((resolve) => {
      shard.fs.open(path, 'read', (_error, file) => {
        if (file === undefined) {
          resolve();
          return;
        }
        file.read(content, 0, () => {
          file.closeSync();
          resolve();
        });
      });
    });
  }
  const { index, goodBytes } = decodeIndex(
    content,
    log.id,
    segment.base,
    segment.version,
    Math.min(segment.indexLimit, segment.bytes),
  );
  return goodBytes === 0 ? { index, saved: 0, bytes: 0 } : { index, saved: index.count, bytes: goodBytes };
}

function fencedTo(log: Log, segment: Segment, position: number): number {
  let byte = 0;
  for (const f of log.fences) if (f.segmentBase === segment.base && f.to <= position) byte = Math.max(byte, f.toByte);
  return byte;
}

function nextFence(log: Log, position: number): number {
  let at = Number.POSITIVE_INFINITY;
  for (const f of log.fences) if (f.from > position) at = Math.min(at, f.from);
  return at;
}

/** Fences what is damaged: to the end of the unit when its length can be believed, else to the next index entry. */
function damaged(
  shard: Shard,
  log: Log,
  segment: Segment,
  byte: number,
  position: number,
  what: string,
  endPosition?: number,
  endByte?: number,
): void {
  let to = endPosition;
  let toByte = endByte;
  if (to === undefined || toByte === undefined) {
    const index = segment.index;
    to = segment.end;
    toByte = segment.bytes;
    for (let i = 0; index !== undefined && i < index.count; i++) {
      if (index.byteAt(i) > byte && index.positionAt(i) > position) {
        to = index.positionAt(i);
        toByte = index.byteAt(i);
        break;
      }
    }
  }
  log.fences.push({ from: position, to, segmentBase: segment.base, fromByte: byte, toByte });
  shard.logger.error(
    { log: log.name, segment: shard.files.path(log, segment), byte, from: position, to },
    `damaged data (${what}): these offsets answer CORRUPT_MESSAGE, others are served; run "hadron log verify"`,
  );
}

function corrupt(log: Log, from: number, to: number): HadronError {
  return new HadronError(
    'CORRUPT_DATA',
    `offsets ${from} to ${to - 1} of ${log.name} are damaged on disk; go on at ${to}, or restore the segment from a copy`,
  );
}
