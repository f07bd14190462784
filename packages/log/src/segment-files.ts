/**
 * Segment files: their names, a cache of open ones, and moving tail bytes into them.
 *
 * All segments of a shard lie in one directory, so one directory sync covers every file a checkpoint made:
 *
 *     segments/<log id, 8 hex>-<base position, 20 digits>[.<version>].seg    raw bytes, as appended
 *     segments/<…>.idx                                                       sparse index, rebuildable (index-file.ts)
 *
 * A segment's bytes are raw; what they must be (length, CRC-32C) stands in the checkpoint (log.md G21).
 */
import { assert, crc32c, HadronError } from '@hadron/base';
import type { FileSystem, FsError, OpenFile, OpenMode } from './fs.ts';
import type { Log, Segment, TailChunk } from './log.ts';
import { chunkAt } from './tail-cache.ts';
import { writeFully } from './commit-log.ts';

export function segmentFileName(logId: number, base: number, version: number): string {
  return `${logId.toString(16).padStart(8, '0')}-${String(base).padStart(20, '0')}${version === 0 ? '' : `.${version}`}.seg`;
}

/** The parts of a segment file's name, or undefined for any other name. */
export function parseSegmentFileName(name: string): { logId: number; base: number; version: number } | undefined {
  const m = /^([0-9a-f]{8})-(\d{20})(?:\.(\d+))?\.seg$/.exec(name);
  if (m === null) return undefined;
  return {
    logId: Number.parseInt(m[1] as string, 16),
    base: Number(m[2]),
    version: m[3] === undefined ? 0 : Number(m[3]),
  };
}

interface Opened {
  readonly path: string;
  readonly file: OpenFile;
  users: number;
}

/** Open segment files, least recently used first, below a limit. A file in use is never closed. */
export class SegmentFiles {
  readonly fs: FileSystem;
  readonly directory: string;
  /** Files made since open; of those, the first `createdDurable` have durable entries in the directory. */
  created = 0;
  createdDurable = 0;
  private readonly limit: number;
  private readonly open = new Map<string, Opened>();
  /** Files of segments that are gone, still in use. */
  private readonly orphans: Opened[] = [];
  private closed = false;

  constructor(fs: FileSystem, directory: string, limit: number) {
    this.fs = fs;
    this.directory = directory;
    this.limit = limit;
  }

  path(log: Log, segment: Segment): string {
    return `${this.directory}/${segmentFileName(log.id, segment.base, segment.version)}`;
  }

  get openCount(): number {
    return this.open.size;
  }

  /** Opens (and makes) the file in this call. Pair with {@link done}. @throws FsError */
  acquireSync(log: Log, segment: Segment): Opened {
    const path = this.path(log, segment);
    const known = this.touch(path);
    if (known !== undefined) return known;
    if (this.closed) closedError();
    const opened = { path, file: this.fs.openSync(path, segment.exists ? 'write' : 'create'), users: 1 };
    if (!segment.exists) this.created++;
    segment.exists = true;
    this.insert(opened);
    return opened;
  }

  /** As {@link acquireSync}, but a file that is not open is opened on the thread pool. */
  async acquire(log: Log, segment: Segment): Promise<Opened> {
    const path = this.path(log, segment);
    const known = this.touch(path);
    if (known !== undefined) return known;
    if (this.closed) closedError();
    const create = !segment.exists;
    const file = await openFile(this.fs, path, create ? 'create' : 'write').catch((error: unknown) => {
      // A disk that went read-only still serves reads (log.md G16).
      if (create || (error as FsError).code !== 'EROFS') throw error;
      return openFile(this.fs, path, 'read');
    });
    const raced = this.touch(path);
    if (raced !== undefined || this.closed) {
      file.closeSync();
      return raced ?? closedError();
    }
    if (create) this.created++;
    segment.exists = true;
    const opened = { path, file, users: 1 };
    this.insert(opened);
    return opened;
  }

  /** A sync of the directory has succeeded that began when `created` files had been made. */
  entriesDurable(created: number): void {
    this.createdDurable = Math.max(this.createdDurable, created);
  }

  done(opened: Opened): void {
    opened.users--;
    assert(opened.users >= 0, 'a segment file is let go twice');
    if (opened.users > 0) return;
    if (this.closed) opened.file.closeSync();
    else if (this.orphans.length > 0) {
      const at = this.orphans.indexOf(opened);
      if (at < 0) return;
      this.orphans.splice(at, 1);
      opened.file.closeSync();
    }
  }

  /** Closes the file of a segment that is going away; in use, when the last reader lets go. */
  forget(log: Log, segment: Segment): void {
    const path = this.path(log, segment);
    const o = this.open.get(path);
    if (o === undefined) return;
    this.open.delete(path);
    if (o.users === 0) o.file.closeSync();
    else this.orphans.push(o);
  }

  /** Closes all files, those that somebody still reads when he is done; nothing is opened from here on. */
  close(): void {
    this.closed = true;
    for (const o of [...this.open.values(), ...this.orphans]) if (o.users === 0) o.file.closeSync();
    this.open.clear();
    this.orphans.length = 0;
  }

  private touch(path: string): Opened | undefined {
    const known = this.open.get(path);
    if (known === undefined) return undefined;
    known.users++;
    this.open.delete(path);
    this.open.set(path, known);
    return known;
  }

  private insert(opened: Opened): void {
    this.open.set(opened.path, opened);
    if (this.open.size > this.limit) {
      for (const [path, o] of this.open) {
        if (o.users > 0) continue;
        this.open.delete(path);
        o.file.closeSync();
        if (this.open.size <= this.limit) break;
      }
    }
    for (let i = this.orphans.length - 1; i >= 0; i--) {
      const o = this.orphans[i] as Opened;
      if (o.users === 0) {
        o.file.closeSync();
        this.orphans.splice(i, 1);
      }
    }
  }
}

function closedError(): never {
  throw new HadronError('STORAGE_CLOSED', 'the files are closed');
}

/** One segment's share of a flush. */
export interface FlushPart {
  readonly segment: Segment;
  /** Position behind its last byte. */
  readonly endPosition: number;
  readonly fileAt: number;
  readonly slices: Buffer[];
  readonly bytes: number;
}

/** The tail bytes `[log.flushedByte, toByte)`, cut by segment. */
function planFlush(log: Log, toByte: number, toPosition: number): FlushPart[] {
  const parts: FlushPart[] = [];
  let at = log.flushedByte;
  let c = chunkAt(log, at);
  let s = log.segments.length - 1;
  while (s > 0 && !((log.segments[s] as Segment).startByte <= at)) s--;
  for (; s < log.segments.length && at < toByte; s++) {
    const segment = log.segments[s] as Segment;
    const end = Math.min(toByte, segment.startByte + segment.bytes);
    if (end <= at) continue;
    const slices: Buffer[] = [];
    const from = at;
    while (at < end) {
      const chunk = log.chunks[c] as TailChunk;
      const rel = at - chunk.startByte;
      assert(rel >= 0 && rel < chunk.used, `bytes to flush are in the tail (log ${log.id})`);
      const take = Math.min(chunk.used - rel, end - at);
      slices.push(chunk.piece.buffer.subarray(rel, rel + take));
      at += take;
      if (rel + take === chunk.used) c++;
    }
    const endPosition = end === toByte ? toPosition : segment.end;
    parts.push({ segment, endPosition, fileAt: from - segment.startByte, slices, bytes: end - from });
  }
  assert(at === toByte, `the tail reaches the byte to flush to (log ${log.id})`);
  return parts;
}

function flushed(log: Log, part: FlushPart): void {
  const s = part.segment;
  assert(s.fileBytes === part.fileAt, 'a segment file grows without holes');
  for (const slice of part.slices) s.fileCrc = crc32c(slice, 0, slice.length, s.fileCrc);
  s.fileBytes += part.bytes;
  log.flushedByte += part.bytes;
  log.flushedPosition = part.endPosition;
}

/** Writes the log's tail up to `toByte`, which is `toPosition`, into its segment files, in this call. Not synced. @throws FsError */
export function flushSync(files: SegmentFiles, log: Log, toByte: number, toPosition: number): void {
  for (const part of planFlush(log, toByte, toPosition)) {
    const opened = files.acquireSync(log, part.segment);
    try {
      let at = part.fileAt;
      for (const slice of part.slices) {
        writeFully(opened.file, slice, at);
        at += slice.length;
      }
    } finally {
      files.done(opened);
    }
    flushed(log, part);
  }
}

/** As {@link flushSync} on the thread pool. The caller owns `log.flushing` meanwhile. */
export async function flush(files: SegmentFiles, log: Log, toByte: number, toPosition: number): Promise<void> {
  const parts = planFlush(log, toByte, toPosition);
  // The chunks stay in the tail until flushedByte passes them, so the slices stay valid; a removed log drops its tail
  // at once, so hold the memory.
  const held = log.chunks.map((c) => c.piece);
  for (const p of held) p.hold();
  try {
    for (const part of parts) {
      const opened = await files.acquire(log, part.segment);
      try {
        await writeParts(opened.file, part.slices, part.fileAt);
      } finally {
        files.done(opened);
      }
      flushed(log, part);
    }
  } finally {
    for (const p of held) p.release();
  }
}

async function writeParts(file: OpenFile, slices: readonly Uint8Array[], position: number): Promise<void> {
  let rest: Uint8Array[] = [...slices];
  let at = position;
  while (rest.length > 0) {
    const batch = rest.slice(0, 512); // IOV_MAX is 1024
    let n = await new Promise<number>((resolve, reject) => {
      file.write(batch, at, (error, bytes) => (error === undefined ? resolve(bytes) : reject(error)));
    });
    if (n === 0) throw Object.assign(new Error('ENOSPC: nothing could be written'), { code: 'ENOSPC' }) as FsError;
    at += n;
    while (rest.length > 0 && n >= (rest[0] as Uint8Array).length) n -= (rest.shift() as Uint8Array).length;
    if (n > 0) rest = [(rest[0] as Uint8Array).subarray(n), ...rest.slice(1)];
  }
}

/** Writes all of `bytes` on the thread pool; a short write is continued. @throws FsError */
export function writePooled(file: OpenFile, bytes: Uint8Array, position: number): Promise<void> {
  return writeParts(file, [bytes], position);
}

export function openFile(fs: FileSystem, path: string, mode: OpenMode): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    fs.open(path, mode, (error, file) => (file === undefined ? reject(error) : resolve(file)));
  });
}

export function datasync(file: OpenFile): Promise<void> {
  return new Promise((resolve, reject) => file.datasync((error) => (error === undefined ? resolve() : reject(error))));
}

export function syncDir(fs: FileSystem, path: string): Promise<void> {
  return new Promise((resolve, reject) =>
    fs.syncDir(path, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

export function rename(fs: FileSystem, from: string, to: string): Promise<void> {
  return new Promise((resolve, reject) =>
    fs.rename(from, to, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

export function unlink(fs: FileSystem, path: string): Promise<void> {
  return new Promise((resolve, reject) =>
    fs.unlink(path, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

export function readAt(file: OpenFile, into: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) =>
    file.read(into, position, (error, n) => (error === undefined ? resolve(n) : reject(error))),
  );
}
