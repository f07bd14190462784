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
import { assert, crc32c } from '@hadron/base';
import type { FileSystem, FsError, OpenFile } from './fs.ts';
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
  /** A file was created since the directory was last synced. */
  directoryUnsynced = false;
  private readonly limit: number;
  private readonly open = new Map<string, Opened>();

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
    const opened = { path, file: this.fs.openSync(path, segment.exists ? 'write' : 'create'), users: 1 };
    if (!segment.exists) this.directoryUnsynced = true;
    segment.exists = true;
    this.insert(opened);
    return opened;
  }

  /** As {@link acquireSync}, but a file that is not open is opened on the thread pool. */
  async acquire(log: Log, segment: Segment): Promise<Opened> {
    const path = this.path(log, segment);
    const known = this.touch(path);
    if (known !== undefined) return known;
    const create = !segment.exists;
    const file = await new Promise<OpenFile>((resolve, reject) => {
      this.fs.open(path, create ? 'create' : 'write', (error, f) => (f === undefined ? reject(error) : resolve(f)));
    });
    const raced = this.touch(path);
    if (raced !== undefined) {
      file.closeSync();
      return raced;
    }
    if (create) this.directoryUnsynced = true;
    segment.exists = true;
    const opened = { path, file, users: 1 };
    this.insert(opened);
    return opened;
  }

  done(opened: Opened): void {
    opened.users--;
    assert(opened.users >= 0, 'a segment file is let go twice');
  }

  /** Closes the file of a segment that is going away. In use, it is closed by nobody: the reader's descriptor stays valid until then. */
  forget(log: Log, segment: Segment): void {
    const path = this.path(log, segment);
    const o = this.open.get(path);
    if (o === undefined) return;
    this.open.delete(path);
    if (o.users === 0) o.file.closeSync();
    else this.orphans.push(o);
  }
  private readonly orphans: Opened[] = [];

  close(): void {
    for (const o of this.open.values()) o.file.closeSync();
    for (const o of this.orphans) o.file.closeSync();
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

/** One segment's share of a flush. */
export interface FlushPart {
  readonly segment: Segment;
  readonly fileAt: number;
  readonly slices: Buffer[];
  readonly bytes: number;
}

/** The tail bytes `[log.flushedByte, toByte)`, cut by segment. */
export function planFlush(log: Log, toByte: number): FlushPart[] {
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
    parts.push({ segment, fileAt: from - segment.startByte, slices, bytes: end - from });
  }
  assert(at === toByte, `the tail reaches the byte to flush to (log ${log.id})`);
  return parts;
}

function flushed(part: FlushPart): void {
  const s = part.segment;
  assert(s.fileBytes === part.fileAt, 'a segment file grows without holes');
  for (const slice of part.slices) s.fileCrc = crc32c(slice, 0, slice.length, s.fileCrc);
  s.fileBytes += part.bytes;
}

/** Writes the log's tail up to `toByte`, which is `toPosition`, into its segment files, in this call. Not synced. @throws FsError */
export function flushSync(files: SegmentFiles, log: Log, toByte: number, toPosition: number): void {
  for (const part of planFlush(log, toByte)) {
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
    flushed(part);
    log.flushedByte += part.bytes;
  }
  log.flushedPosition = toPosition;
}

/** As {@link flushSync} on the thread pool. The caller owns `log.flushing` meanwhile. */
export async function flush(files: SegmentFiles, log: Log, toByte: number, toPosition: number): Promise<void> {
  const parts = planFlush(log, toByte);
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
      flushed(part);
      log.flushedByte += part.bytes;
    }
    log.flushedPosition = toPosition;
  } finally {
    for (const p of held) p.release();
  }
}

async function writeParts(file: OpenFile, slices: readonly Buffer[], position: number): Promise<void> {
  let rest: Buffer[] = [...slices];
  let at = position;
  while (rest.length > 0) {
    const batch = rest.slice(0, 512); // IOV_MAX is 1024
    let n = await new Promise<number>((resolve, reject) => {
      file.write(batch, at, (error, bytes) => (error === undefined ? resolve(bytes) : reject(error)));
    });
    if (n === 0) throw Object.assign(new Error('ENOSPC: nothing could be written'), { code: 'ENOSPC' }) as FsError;
    at += n;
    while (rest.length > 0 && n >= (rest[0] as Buffer).length) n -= (rest.shift() as Buffer).length;
    if (n > 0) rest = [(rest[0] as Buffer).subarray(n), ...rest.slice(1)];
  }
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
