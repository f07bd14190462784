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
import type { FsError } from './fs.ts';
import type { Log, Segment, SparseIndex, TailChunk } from './log.ts';
import { openFile, readAt } from './segment-files.ts';
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

  /** @internal holds the piece */
  add(piece: Piece, from: number, to: number): void {
    piece.hold();
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
const INDEX_FILE_MAX_BYTES = 64 * 1024 * 1024;

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
    next = Math.max(position, cut.position);
  }
  shard.stats.tailReads++;
  const result = new ReadResult(next);
  let at = start;
  while (at < end) {
    const from = at - chunk.startByte;
    const to = Math.min(chunk.used, end - chunk.startByte);
    result.add(chunk.piece, from, to);
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
 * @throws HadronError CORRUPT_DATA inside damaged positions, OFFSET_OUT_OF_RANGE when the position was trimmed meanwhile,
 *   STORAGE_FAILED when the disk cannot be read
 */
export async function readFile(shard: Shard, log: Log, position: number, options: ReadOptions): Promise<ReadResult> {
  shard.stats.fileReads++;
  for (;;) {
    const fence = log.fenceAt(position);
    if (fence !== undefined) throw corrupt(log, fence.from, fence.to);
    const segment = log.segmentFor(position);
    if (segment === undefined || log.removed || position < log.startPosition) {
      throw new HadronError(
        'OFFSET_OUT_OF_RANGE',
        `${log.name} begins at ${log.startPosition}, ${position} is gone; read on from there`,
      );
    }
    if (position >= segment.end) return new ReadResult(segment.end);
    try {
      if (log.format.headerBytes === 0) return await readRaw(shard, log, segment, position, options);
      return await readUnits(shard, log, segment, position, options);
    } catch (error) {
      // Trimmed or compacted while we read: the position is looked up again (G14).
      if (shard.failed === undefined && !log.segments.includes(segment)) continue;
      throw readError(shard, log, error);
    }
  }
}

/** Bytes without framing: as many as there are, up to a fence. */
async function readRaw(
  shard: Shard,
  log: Log,
  segment: Segment,
  position: number,
  options: ReadOptions,
): Promise<ReadResult> {
  const at = position - segment.base;
  const end = Math.min(visibleBytes(log, segment), nextFence(log, position) - segment.base);
  const want = Math.min(Math.max(options.maxBytes, options.atLeastOne ? 1 : 0), FILE_READ_MAX_BYTES, end - at);
  const piece = shard.pool.take(want);
  try {
    await readSegment(shard, log, segment, piece.buffer.subarray(0, want), at);
    const result = new ReadResult(position + want);
    result.add(piece, 0, want);
    return result;
  } finally {
    piece.release();
  }
}

/** Whole, checked units; the first of them is the first that ends behind `position`. */
async function readUnits(
  shard: Shard,
  log: Log,
  segment: Segment,
  position: number,
  options: ReadOptions,
): Promise<ReadResult> {
  const place = await placeBefore(shard, log, segment, position);
  const cap = nextFence(log, position);
  let want = Math.min(Math.max(options.maxBytes, log.format.headerBytes) + place.slackBytes, FILE_READ_MAX_BYTES);
  for (;;) {
    const limit = visibleBytes(log, segment);
    if (place.byte >= limit) return new ReadResult(segment.end);
    want = Math.min(want, limit - place.byte);
    const piece = shard.pool.take(want);
    try {
      await readSegment(shard, log, segment, piece.buffer.subarray(0, want), place.byte);
      const run = checkUnits(
        log,
        segment,
        piece.buffer,
        want,
        limit - place.byte,
        place.position,
        position,
        cap,
        options,
      );
      const d = run.damage;
      if (d !== undefined) fenceDamage(shard, log, segment, place.byte + d.at, d);
      if (run.to > run.from) {
        segment.hintPosition = run.next;
        segment.hintByte = place.byte + run.to;
        const result = new ReadResult(run.next);
        result.add(piece, run.from, run.to);
        return result;
      }
      const fence = log.fenceAt(position);
      if (fence !== undefined) throw corrupt(log, fence.from, fence.to);
      if (run.ended) return new ReadResult(Math.max(position, run.next));
      // All of it lies before the position, or the unit that holds the position is longer than what was read.
      place.byte += run.to;
      place.position = run.next;
      if (run.needed > limit - place.byte) {
        fenceDamage(shard, log, segment, place.byte, {
          at: 0,
          position: run.next,
          what: 'a unit longer than its segment',
        });
        continue;
      }
      want = Math.max(run.needed, Math.min(Math.max(options.maxBytes, SCAN_WINDOW_BYTES), FILE_READ_MAX_BYTES));
    } finally {
      piece.release();
    }
  }
}

/** Damage found while units were checked. Without an end, nothing of the unit can be believed. */
interface UnitDamage {
  /** Byte in the buffer where it begins. */
  readonly at: number;
  readonly position: number;
  readonly what: string;
  readonly end?: { readonly position: number; readonly bytes: number };
}

interface CheckedRun {
  /** The units to hand out: `[from, to)`. Where there are none, everything below `to` lies before the position. */
  from: number;
  to: number;
  /** Position behind them. */
  next: number;
  /** Bytes of the next unit, which is not whole in the buffer; 0 when the buffer ended with a unit. */
  needed: number;
  /** No more bytes would change the result. */
  ended: boolean;
  damage: UnitDamage | undefined;
}

/**
 * Walks the units in `b[0, n)`, the first of which begins at `expected` (-1: not known): framing and order of positions of
 * each, the checksum of those that end behind `position`, up to `cap` and within the size asked for. Visible bytes end
 * at `limit`, counted as those of `b`.
 */
function checkUnits(
  log: Log,
  segment: Segment,
  b: Buffer,
  n: number,
  limit: number,
  expected: number,
  position: number,
  cap: number,
  options: ReadOptions,
): CheckedRun {
  const { format } = log;
  const run: CheckedRun = { from: -1, to: 0, next: expected, needed: 0, ended: false, damage: undefined };
  let at = 0;
  while (at < n) {
    if (n - at < format.headerBytes) {
      run.needed = format.headerBytes;
      break;
    }
    const damagedAt = Math.max(run.next, segment.base);
    if (!format.scan(b, at, n, unit)) {
      run.damage = { at, position: damagedAt, what: 'framing' };
      break;
    }
    const end = unit.position + unit.extent;
    const inOrder = run.next === -1 || (segment.version === 0 ? unit.position === run.next : unit.position >= run.next);
    if (!inOrder || end > segment.end) {
      run.damage = { at, position: damagedAt, what: 'order of positions' };
      break;
    }
    if (end > position) {
      const size = at + unit.bytes - (run.from === -1 ? at : run.from);
      const fits = size <= options.maxBytes || (run.from === -1 && options.atLeastOne);
      if (unit.position >= cap || !fits) {
        if (unit.position >= cap) run.next = cap;
        run.ended = true;
        break;
      }
    }
    if (at + unit.bytes > n) {
      run.needed = unit.bytes;
      break;
    }
    if (end > position) {
      if (!format.intact(b, at, unit.bytes)) {
        const { bytes, position: from } = unit;
        const behind = at + bytes;
        if (behind < limit && behind + format.headerBytes > n && n < limit) {
          run.needed = bytes + format.headerBytes;
          break;
        }
        // Its length is as doubtful as the rest, unless the next unit begins where it says.
        const isPlausible = behind === limit || (format.scan(b, behind, n, unit) && unit.position === end);
        run.damage = {
          at,
          position: from,
          what: 'checksum',
          ...(isPlausible ? { end: { position: end, bytes } } : {}),
        };
        break;
      }
      if (run.from === -1) run.from = at;
    }
    at += unit.bytes;
    run.next = end;
    run.to = at;
  }
  if (run.from === -1) run.from = run.to;
  return run;
}

/** Where a walk to a position begins. */
interface Place {
  byte: number;
  /** Position of the unit at the byte, -1 when it is not known. */
  position: number;
  /** Bytes that may lie between the byte and the position. */
  readonly slackBytes: number;
}

async function placeBefore(shard: Shard, log: Log, segment: Segment, position: number): Promise<Place> {
  if (segment.hintPosition === position) return { byte: segment.hintByte, position, slackBytes: 0 };
  const index = await loadIndex(shard, log, segment);
  const i = index.entryFor(position);
  let byte = i === -1 ? 0 : index.byteAt(i);
  // The first unit of a compacted segment may have any position from its base on.
  let at = i === -1 ? (segment.version === 0 ? segment.base : -1) : index.positionAt(i);
  for (const f of log.fences) {
    if (f.segmentBase === segment.base && f.to <= position && f.toByte > byte) {
      byte = f.toByte;
      at = f.to;
    }
  }
  return { byte, position: at, slackBytes: shard.settings.indexIntervalBytes };
}

/** What a reader gets for an error of the disk: it may try again; the shard goes on. */
function readError(shard: Shard, log: Log, error: unknown): unknown {
  if (shard.failed !== undefined) return shard.failed;
  if (error instanceof HadronError || (error as FsError).code === undefined) return error;
  return new HadronError('STORAGE_FAILED', `${log.name} could not be read (${(error as FsError).code}); try again`, {
    cause: error,
  });
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
 * @throws as {@link readFile}
 */
export async function findByTime(shard: Shard, log: Log, timestamp: number, from: number): Promise<Buffer | undefined> {
  for (const segment of [...log.segments]) {
    if (segment.end <= from || segment.maxTimestamp < timestamp) continue;
    try {
      const index = await loadIndex(shard, log, segment);
      const start = Math.max(index.byteForTime(timestamp), index.byteFor(from));
      const found = { byte: -1, bytes: 0, position: 0 };
      await walkUnits(shard, log, segment, start, (u, byte) => {
        if (u.position + u.extent <= from || u.maxTimestamp < timestamp || log.fenceAt(u.position) !== undefined)
          return false;
        found.byte = byte;
        found.bytes = u.bytes;
        found.position = u.position;
        return true;
      });
      if (found.byte === -1) continue;
      const whole = Buffer.allocUnsafe(found.bytes);
      await readSegment(shard, log, segment, whole, found.byte);
      if (log.format.intact(whole, 0, found.bytes)) return whole;
      throw corrupt(log, found.position, found.position + 1);
    } catch (error) {
      // Trimmed or compacted meanwhile: what stands in its place is looked at.
      if (shard.failed === undefined && !log.segments.includes(segment)) {
        return findByTime(shard, log, timestamp, Math.max(from, segment.base));
      }
      throw readError(shard, log, error);
    }
  }
  return undefined;
}

/**
 * Walks the unit headers of a segment from `byte` up to the visible end, until `visit` answers true. Damage is jumped
 * over where a fence tells how far it goes, else it ends the walk: a read of it will say so.
 */
async function walkUnits(
  shard: Shard,
  log: Log,
  segment: Segment,
  byte: number,
  visit: (u: Unit, byte: number) => boolean,
): Promise<void> {
  const { format } = log;
  const u = newUnit();
  const window = Buffer.allocUnsafe(Math.min(SCAN_WINDOW_BYTES, Math.max(visibleBytes(log, segment) - byte, 0)));
  let at = byte;
  for (;;) {
    const n = Math.min(window.length, visibleBytes(log, segment) - at);
    if (n < format.headerBytes || n <= 0) return;
    await readSegment(shard, log, segment, window.subarray(0, n), at);
    let rel = 0;
    while (n - rel >= format.headerBytes && rel < n) {
      const fence = log.fences.find(
        (f) => f.segmentBase === segment.base && f.fromByte <= at + rel && at + rel < f.toByte,
      );
      if (fence !== undefined) {
        rel = fence.toByte - at;
        continue;
      }
      if (!format.scan(window, rel, n, u) || u.bytes <= 0) return;
      if (visit(u, at + rel)) return;
      rel += u.bytes;
    }
    at += rel;
  }
}

/** Fills `into` from byte `at` of a segment, from the file or the tail. @throws when the log or the shard is gone meanwhile */
async function readSegment(shard: Shard, log: Log, segment: Segment, into: Buffer, at: number): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const from = at + done;
    // Looked at in each round: while a read is under way, tail bytes may move to the file.
    if (from < segment.fileBytes) done += await readOpened(shard, log, segment, into.subarray(done), from);
    else {
      const n = copyFromTail(log, segment, into, done, from);
      if (n === 0) throw shard.failed ?? new HadronError('OFFSET_OUT_OF_RANGE', `${log.name} was removed`);
      done += n;
    }
  }
}

async function readOpened(shard: Shard, log: Log, segment: Segment, into: Buffer, from: number): Promise<number> {
  const want = Math.min(into.length, segment.fileBytes - from);
  const opened = await shard.files.acquire(log, segment);
  try {
    const n = await readAt(opened.file, into.subarray(0, want), from);
    if (n > 0) return n;
    throw new HadronError(
      'CORRUPT_DATA',
      `the segment file of ${log.name} at ${segment.base} ends at byte ${from}, ${segment.fileBytes} were written; run "hadron log verify"`,
    );
  } finally {
    shard.files.done(opened);
  }
}

function copyFromTail(log: Log, segment: Segment, into: Buffer, to: number, from: number): number {
  const byte = segment.startByte + from;
  const chunk = log.chunks[chunkAt(log, byte)];
  if (chunk === undefined || byte >= chunk.startByte + chunk.used) return 0;
  const rel = byte - chunk.startByte;
  const n = Math.min(into.length - to, chunk.used - rel);
  chunk.piece.buffer.copy(into, to, rel, rel + n);
  return n;
}

/** Bytes of a segment that readers may see. */
function visibleBytes(log: Log, segment: Segment): number {
  if (Number.isNaN(segment.startByte)) return segment.bytes;
  return Math.max(0, Math.min(segment.bytes, log.visibleByte - segment.startByte));
}

/**
 * A timestamp that some visible record has, as large as can be told without reading records (-1 for none), and the
 * position from which a larger one may be found. Segments and indexes know it but for the last few kilobytes, which may
 * not be visible yet, and for a first segment that was cut in the middle.
 */
export async function largestKnownTimestamp(shard: Shard, log: Log): Promise<{ timestamp: number; from: number }> {
  const start = log.startPosition;
  const visible = log.visiblePosition;
  let timestamp = -1;
  let from = visible;
  for (const segment of [...log.segments]) {
    if (segment.end <= start || segment.base >= visible) continue;
    if (segment.maxTimestampAt >= start && segment.maxTimestampAt < visible) {
      timestamp = Math.max(timestamp, segment.maxTimestamp);
      continue;
    }
    let known = Math.max(segment.base, start);
    if (segment.base >= start) {
      const index = await loadIndex(shard, log, segment);
      for (let i = index.count - 1; i >= 0; i--) {
        if (index.positionAt(i) > visible) continue;
        timestamp = Math.max(timestamp, index.maxTimestampAt(i));
        known = index.positionAt(i);
        break;
      }
    }
    from = Math.min(from, known);
  }
  return { timestamp, from };
}

/** The segment's sparse index: from memory, its file, or a scan of the segment. */
export async function loadIndex(shard: Shard, log: Log, segment: Segment): Promise<SparseIndex> {
  if (segment.index !== undefined) return segment.index;
  const loaded = await readIndexFile(shard, log, segment);
  const { index } = loaded;
  // Walk what the file does not cover.
  const from = index.count === 0 ? 0 : index.byteAt(index.count - 1);
  let maxTimestamp = index.count === 0 ? -1 : index.maxTimestampAt(index.count - 1);
  let since = 0;
  if (log.format.headerBytes > 0) {
    await walkUnits(shard, log, segment, from, (u, byte) => {
      if (since >= shard.settings.indexIntervalBytes) {
        index.add(u.position, byte, maxTimestamp);
        since = 0;
      }
      since += u.bytes;
      if (u.maxTimestamp > maxTimestamp) maxTimestamp = u.maxTimestamp;
      return false;
    });
  }
  if (segment.index !== undefined) return segment.index; // somebody else was faster
  segment.index = index;
  segment.sinceIndex = since;
  segment.indexSaved = loaded.saved;
  segment.indexFileBytes = loaded.bytes;
  segment.indexLife = loaded.life;
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

interface LoadedIndex {
  readonly index: SparseIndex;
  /** Entries and bytes of the file that are good; 0: it is written anew. */
  readonly saved: number;
  readonly bytes: number;
  readonly life: number;
}

/** What is good of the index file. It is only a cache: a file that is missing or cannot be read is an empty one. */
async function readIndexFile(shard: Shard, log: Log, segment: Segment): Promise<LoadedIndex> {
  const path = indexFileName(shard.files.path(log, segment));
  const content = Buffer.alloc(Math.min(shard.fs.sizeSync(path) ?? 0, INDEX_FILE_MAX_BYTES));
  if (content.length > 0) {
    const file = await openFile(shard.fs, path, 'read').catch(() => undefined);
    if (file !== undefined) {
      await readAt(file, content, 0).catch(() => content.fill(0));
      file.closeSync();
    }
  }
  const limit = Math.min(segment.indexLimit, segment.bytes);
  const { index, goodBytes, life } = decodeIndex(content, log.id, segment.base, segment.version, limit);
  return { index, saved: goodBytes === 0 ? 0 : index.count, bytes: goodBytes, life };
}

function nextFence(log: Log, position: number): number {
  let at = Number.POSITIVE_INFINITY;
  for (const f of log.fences) if (f.from > position) at = Math.min(at, f.from);
  return at;
}

/** Fences what is damaged: the unit when its length can be believed, else up to the next index entry. */
function fenceDamage(shard: Shard, log: Log, segment: Segment, byte: number, damage: UnitDamage): void {
  const from = damage.position;
  let to = segment.end;
  let toByte = segment.bytes;
  if (damage.end !== undefined) {
    to = damage.end.position;
    toByte = byte + damage.end.bytes;
  } else {
    const index = segment.index;
    for (let i = 0; index !== undefined && i < index.count; i++) {
      if (index.byteAt(i) > byte && index.positionAt(i) > from) {
        to = index.positionAt(i);
        toByte = index.byteAt(i);
        break;
      }
    }
  }
  log.fences.push({ from, to, segmentBase: segment.base, fromByte: byte, toByte });
  shard.logger.error(
    { log: log.name, segment: shard.files.path(log, segment), byte, from, to },
    `damaged data (${damage.what}): these offsets answer CORRUPT_MESSAGE, others are served; run "hadron log verify"`,
  );
}

function corrupt(log: Log, from: number, to: number): HadronError {
  return new HadronError(
    'CORRUPT_DATA',
    `offsets ${from} to ${to - 1} of ${log.name} are damaged on disk; go on at ${to}, or restore the segment from a copy`,
  );
}
