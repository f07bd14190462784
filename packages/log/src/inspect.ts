/**
 * A data folder seen from outside, read-only: what it holds, unit by unit, and whether all of it is whole (log.md G11).
 *
 * For the folder of a stopped server, and of a running one: a running server replaces the checkpoint, overwrites commit
 * files and removes segments meanwhile, so what is missing is looked up again before it is called damage.
 *
 * Nothing here takes the lock, makes a file or repairs anything. Recovery (recovery.ts) decides what a start would do;
 * this tells people what is there.
 */
import { type Clock, crc32c, HadronError } from '@hadron/base';
import { type Checkpoint, readCheckpoint, type SegmentRow } from './checkpoint-file.ts';
import { COMMIT_FILE_HEADER_BYTES } from './commit-log.ts';
import { type Manifest, MANIFEST_FILE, readManifest } from './folder.ts';
import { type LogFormat, newUnit } from './format.ts';
import { type Entry, EntryFlag, EntryKind, readEntries } from './frame.ts';
import type { FileSystem, OpenFile } from './fs.ts';
import { decodeIndex, INDEX_HEADER_BYTES, indexFileName } from './index-file.ts';
import type { Durability, EpochStart, Fence, SparseIndex } from './log.ts';
import { nodeFileSystem } from './node-fs.ts';
import { readSnapshot, type ScannedFile, type ScannedFrame, scanFrames } from './recovery.ts';
import { parseSegmentFileName, readAt, segmentFileName } from './segment-files.ts';

const WINDOW_BYTES = 1024 * 1024;
const LOOKS_MAX = 5;

// ------------------------------------------------------------------------------------------------------------- image

export interface SegmentImage {
  readonly file: string;
  readonly base: number;
  /** Position behind its last unit, those behind the checkpoint too. */
  end: number;
  /** Bytes that the checkpoint vouches for, their CRC-32C and the position behind them. */
  readonly bytes: number;
  readonly crc: number;
  readonly stableEnd: number;
  /** Bytes behind those, known from the commit log. */
  tailBytes: number;
  readonly createdMs: number;
  readonly maxTimestamp: number;
  readonly version: number;
}

export interface SnapshotImage {
  readonly file: string;
  /** State up to here. */
  readonly position: number;
  readonly bytes: number;
}

/** An append that no checkpoint covers yet. */
interface TailAppend {
  readonly frame: ScannedFrame;
  readonly entry: Entry;
  /** Where the bytes of a reference lie. */
  readonly segment: SegmentImage;
}

export interface LogImage {
  readonly id: number;
  /** As it was created: `orders-0`. */
  readonly name: string;
  readonly formatId: number;
  readonly format: LogFormat | undefined;
  durability: Durability;
  start: number;
  end: number;
  readonly cleanedTo: number;
  epochs: EpochStart[];
  readonly segments: SegmentImage[];
  readonly fences: readonly Fence[];
  snapshot: SnapshotImage | undefined;
  /** Bytes of all segments, those behind the checkpoint too. */
  bytes: number;
  /** @internal */ readonly tail: TailAppend[];
}

/** How a commit file ends. `torn`: above everything acknowledged, as after a crash. */
export type CommitFileEnd = 'clean stop' | 'end of file' | 'zeros' | 'former life or torn' | 'gap';

export interface CommitFileImage {
  readonly file: string;
  readonly slot: number;
  readonly sequence: number;
  readonly incarnation: number;
  readonly createdMs: number;
  readonly firstLsn: number;
  /** LSN of its last frame; one less than `firstLsn` when it has none. */
  readonly lastLsn: number;
  readonly frames: number;
  readonly bytes: number;
  /** Byte behind its last frame. */
  readonly endByte: number;
  readonly end: CommitFileEnd;
  /** Everything in it is covered by the checkpoint: it may be overwritten. */
  readonly covered: boolean;
}

export interface ShardImage {
  readonly directory: string;
  readonly checkpoint: Pick<Checkpoint, 'lsn' | 'durableLsn' | 'wallMs' | 'nextLogId'> | undefined;
  /** LSN of the last frame that can be read without a gap. */
  readonly lastLsn: number;
  /** Highest LSN that anything in the folder calls durable. */
  readonly durableLsn: number;
  readonly logs: readonly LogImage[];
  readonly commitFiles: readonly CommitFileImage[];
  /** Commit files that never began. */
  readonly unbegun: readonly string[];
  /** @internal */ readonly scan: readonly ScannedFile[];
}

export interface FolderImage {
  readonly path: string;
  readonly manifest: Manifest;
  readonly shard: ShardImage;
}

export interface InspectOptions {
  readonly formats: readonly LogFormat[];
  readonly fs?: FileSystem;
}

/**
 * What a data folder holds.
 * @throws HadronError DATA_FOLDER_UNUSABLE when it is none, DATA_DAMAGED, DATA_FORMAT_NEWER
 */
export async function inspectFolder(path: string, options: InspectOptions): Promise<FolderImage> {
  return { path, manifest: manifestOf(path), shard: await inspectShard(`${path}/shards/0`, options) };
}

function manifestOf(path: string): Manifest {
  let manifest: Manifest | undefined;
  try {
    manifest = readManifest(path);
  } catch (error) {
    if (error instanceof HadronError) throw error;
    throw new HadronError('DATA_FOLDER_UNUSABLE', `${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (manifest === undefined) {
    throw new HadronError(
      'DATA_FOLDER_UNUSABLE',
      `${path} is no Hadron data folder (it has no ${MANIFEST_FILE}); name one with --data DIR`,
    );
  }
  return manifest;
}

/** As {@link inspectFolder} for one shard's folder. @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER */
export async function inspectShard(directory: string, options: InspectOptions): Promise<ShardImage> {
  const fs = options.fs ?? nodeFileSystem;
  const path = `${directory}/checkpoint`;
  for (let look = 1; ; look++) {
    const before = await readFileWhole(fs, path);
    const scan = scanFrames(fs, `${directory}/commit`);
    const after = await readFileWhole(fs, path);
    // A server that has just finished a checkpoint overwrites the files that were to be read.
    if (look < LOOKS_MAX && (before === undefined ? after !== undefined : after === undefined || !before.equals(after)))
      continue;
    const checkpoint = before === undefined ? undefined : readCheckpoint(before, path);
    return imageOf(fs, directory, options.formats, checkpoint, scan.files, scan.unbegun, scan.durableLsn);
  }
}

function imageOf(
  fs: FileSystem,
  directory: string,
  formats: readonly LogFormat[],
  checkpoint: Checkpoint | undefined,
  files: readonly ScannedFile[],
  unbegun: readonly number[],
  scannedDurable: number,
): ShardImage {
  const logs = new Map<number, LogImage>();
  for (const row of checkpoint?.logs ?? []) {
    const segments = row.segments.map((s) => segmentImage(row.id, s));
    logs.set(row.id, {
      id: row.id,
      name: row.name,
      formatId: row.format,
      format: formats.find((f) => f.id === row.format),
      durability: row.durability,
      start: row.start,
      end: row.position,
      cleanedTo: row.cleanedTo,
      epochs: row.epochs,
      segments,
      fences: row.fences,
      snapshot: undefined,
      bytes: segments.reduce((n, s) => n + s.bytes, 0),
      tail: [],
    });
  }
  for (const s of checkpoint?.snapshots ?? []) {
    const log = logs.get(s.logId);
    const bytes = fs.sizeSync(`${directory}/snapshots/${s.file}`) ?? 0;
    if (log !== undefined) log.snapshot = { file: s.file, position: s.position, bytes };
  }
  const covered = checkpoint?.lsn ?? 0;
  let lastLsn = covered;
  for (const file of files) {
    for (const frame of file.frames) {
      if (frame.head.lsn !== lastLsn + 1) continue; // covered, void, or behind a gap
      lastLsn++;
      for (const e of readEntries(file.bytes, frame.at, frame.head)) apply(logs, formats, frame, e);
    }
  }
  for (const log of logs.values()) {
    // What lies below the log start is gone, whether its file is unlinked yet or not.
    while (log.segments.length > 0 && (log.segments[0] as SegmentImage).end <= log.start) {
      const gone = log.segments.shift() as SegmentImage;
      log.bytes -= gone.bytes + gone.tailBytes;
    }
  }
  return {
    directory,
    checkpoint:
      checkpoint === undefined
        ? undefined
        : {
            lsn: checkpoint.lsn,
            durableLsn: checkpoint.durableLsn,
            wallMs: checkpoint.wallMs,
            nextLogId: checkpoint.nextLogId,
          },
    lastLsn,
    durableLsn: Math.max(scannedDurable, checkpoint?.durableLsn ?? 0, covered),
    logs: [...logs.values()],
    commitFiles: files.map((f) => commitFileImage(f, covered)),
    unbegun: unbegun.map((slot) => `${String(slot).padStart(3, '0')}.log`),
    scan: files,
  };
}

function segmentImage(logId: number, s: SegmentRow): SegmentImage {
  return {
    file: segmentFileName(logId, s.base, s.version),
    base: s.base,
    end: s.end,
    bytes: s.bytes,
    crc: s.crc,
    stableEnd: s.end,
    tailBytes: 0,
    createdMs: s.createdMs,
    maxTimestamp: s.maxTimestamp,
    version: s.version,
  };
}

/** The part of recovery's `applyEntry` that changes what logs there are and where they end. */
function apply(logs: Map<number, LogImage>, formats: readonly LogFormat[], frame: ScannedFrame, e: Entry): void {
  if (e.kind === EntryKind.create) {
    if (logs.has(e.logId)) return;
    const epoch = { epoch: e.extent, start: e.position };
    logs.set(e.logId, {
      id: e.logId,
      name: frame.file.bytes.toString('utf8', e.bodyAt, e.bodyAt + e.length),
      formatId: e.format,
      format: formats.find((f) => f.id === e.format),
      durability: (e.flags & EntryFlag.os) !== 0 ? 'os' : 'fsync',
      start: e.position,
      end: e.position,
      cleanedTo: 0,
      epochs: [epoch],
      segments: [],
      fences: [],
      snapshot: undefined,
      bytes: 0,
      tail: [],
    });
    return;
  }
  const log = logs.get(e.logId);
  if (log === undefined) return;
  switch (e.kind) {
    case EntryKind.append:
    case EntryKind.reference: {
      if (e.position < log.end) return;
      let segment = log.segments.at(-1);
      if (segment === undefined || (e.flags & EntryFlag.roll) !== 0) {
        segment = segmentImage(log.id, {
          base: e.position,
          end: e.position,
          bytes: 0,
          crc: 0,
          createdMs: frame.file.header.createdMs,
          maxTimestamp: -1,
          maxTimestampAt: -1,
          version: 0,
        });
        log.segments.push(segment);
      }
      log.tail.push({ frame, entry: e, segment });
      segment.tailBytes += e.length;
      segment.end = log.end = e.position + e.extent;
      log.bytes += e.length;
      break;
    }
    case EntryKind.remove:
      logs.delete(e.logId);
      break;
    case EntryKind.trim:
      log.start = Math.max(log.start, e.position);
      break;
    case EntryKind.epoch:
      if (e.extent > (log.epochs.at(-1)?.epoch ?? -1)) log.epochs.push({ epoch: e.extent, start: e.position });
      break;
    case EntryKind.durability:
      log.durability = (e.flags & EntryFlag.os) !== 0 ? 'os' : 'fsync';
      break;
  }
}

function commitFileImage(file: ScannedFile, covered: number): CommitFileImage {
  const last = file.frames.at(-1);
  const lastLsn = last?.head.lsn ?? file.header.firstLsn - 1;
  const rest = file.bytes.subarray(file.endAt);
  let end: CommitFileEnd = 'former life or torn';
  if (file.gapLsn !== Number.POSITIVE_INFINITY) end = 'gap';
  else if (last !== undefined && readEntries(file.bytes, last.at, last.head)[0]?.kind === EntryKind.cleanStop)
    end = 'clean stop';
  else if (rest.length === 0) end = 'end of file';
  else if (rest.every((b) => b === 0)) end = 'zeros';
  return {
    file: fileName(file.path),
    slot: file.slot,
    sequence: file.header.sequence,
    incarnation: file.header.incarnation,
    createdMs: file.header.createdMs,
    firstLsn: file.header.firstLsn,
    lastLsn,
    frames: file.frames.length,
    bytes: file.bytes.length,
    endByte: file.endAt,
    end,
    covered: lastLsn <= covered,
  };
}

// -------------------------------------------------------------------------------------------------------------- dump

/** One unit of a log: a record batch, or a run of plain bytes. */
export interface DumpedUnit {
  readonly position: number;
  readonly extent: number;
  readonly maxTimestamp: number;
  /** In the shard's folder: `segments/…` or `commit/…`. */
  readonly file: string;
  readonly byte: number;
  readonly bytes: Buffer;
  /** Undefined when it is whole. */
  readonly damage: string | undefined;
}

/**
 * The units of one log from `from` on: first what is in segments, then what is only in the commit log. Damaged places
 * come as units with `damage` and whatever bytes there are.
 * @throws HadronError DATA_FORMAT_NEWER for a log of an unknown format
 */
export async function* dumpLog(
  shard: ShardImage,
  log: LogImage,
  options: { readonly from?: number; readonly fs?: FileSystem } = {},
): AsyncGenerator<DumpedUnit, void, undefined> {
  const fs = options.fs ?? nodeFileSystem;
  const from = Math.max(options.from ?? 0, log.start);
  const format = log.format;
  if (format === undefined) {
    throw new HadronError(
      'DATA_FORMAT_NEWER',
      `${log.name} is stored in format ${log.formatId}, which this Hadron does not know; use the newer Hadron that wrote it`,
    );
  }
  for (const segment of log.segments) {
    if (segment.bytes === 0 || segment.stableEnd <= from) continue;
    const file = `segments/${segment.file}`;
    let open: OpenFile;
    try {
      open = await openFile(fs, `${shard.directory}/${file}`);
    } catch (error) {
      const extent = segment.stableEnd - segment.base;
      yield {
        position: segment.base,
        extent,
        maxTimestamp: -1,
        file,
        byte: 0,
        bytes: Buffer.alloc(0),
        damage: (error as Error).message,
      };
      continue;
    }
    try {
      const start = await startOf(fs, shard, log, segment, from);
      for await (const window of walk(open, format, segment, start)) {
        for (const u of window) {
          if (u.position + u.extent > from) yield { ...u, file };
        }
      }
    } finally {
      open.closeSync();
    }
  }
  for (const append of log.tail) {
    const { entry: e, frame } = append;
    if (e.position + e.extent <= from) continue;
    const found = await appendBytes(fs, shard, append);
    const damage = found.damage;
    let position = e.position;
    const u = newUnit();
    for (let at = 0; at < found.bytes.length; at += u.bytes) {
      const whole = format.scan(found.bytes, at, found.bytes.length, u) && at + u.bytes <= found.bytes.length;
      if (!whole) {
        const extent = e.position + e.extent - position;
        yield {
          position,
          extent,
          maxTimestamp: -1,
          file: found.file,
          byte: found.byte + at,
          bytes: found.bytes.subarray(at),
          damage: damage ?? 'framing',
        };
        break;
      }
      const bytes = found.bytes.subarray(at, at + u.bytes);
      const broken = damage ?? (format.intact(bytes, 0, bytes.length) ? undefined : 'checksum');
      if (position + u.extent > from) {
        yield {
          position,
          extent: u.extent,
          maxTimestamp: u.maxTimestamp,
          file: found.file,
          byte: found.byte + at,
          bytes,
          damage: broken,
        };
      }
      position += u.extent;
    }
    if (found.bytes.length === 0) {
      yield {
        position,
        extent: e.extent,
        maxTimestamp: -1,
        file: fileIn('commit', frame.file.path),
        byte: frame.at,
        bytes: found.bytes,
        damage,
      };
    }
  }
}

/** A unit at or before `position`, by the index file where there is a good one. */
async function startOf(
  fs: FileSystem,
  shard: ShardImage,
  log: LogImage,
  segment: SegmentImage,
  position: number,
): Promise<WalkStart> {
  if (position > segment.base && log.format?.headerBytes === 0) return { byte: position - segment.base, position };
  const b =
    position <= segment.base
      ? undefined
      : await readFileWhole(fs, `${shard.directory}/segments/${indexFileName(segment.file)}`);
  if (b !== undefined) {
    const { index } = decodeIndex(b, log.id, segment.base, segment.version, segment.bytes);
    for (let i = index.count - 1; i >= 0; i--) {
      if (index.positionAt(i) <= position) return { byte: index.byteAt(i), position: index.positionAt(i) };
    }
  }
  return { byte: 0, position: segment.base };
}

/** The bytes of an append behind the checkpoint, and what is wrong with them. */
async function appendBytes(
  fs: FileSystem,
  shard: ShardImage,
  { entry: e, frame, segment }: TailAppend,
): Promise<{ bytes: Buffer; file: string; byte: number; damage: string | undefined }> {
  if (e.kind === EntryKind.append) {
    const bytes = frame.file.bytes.subarray(e.bodyAt, e.bodyAt + e.length);
    return {
      bytes,
      file: fileIn('commit', frame.file.path),
      byte: e.bodyAt,
      damage: frame.body ? undefined : 'checksum of the frame',
    };
  }
  const file = `segments/${segment.file}`;
  const bytes = Buffer.alloc(e.length);
  let n = 0;
  try {
    const open = await openFile(fs, `${shard.directory}/${file}`);
    try {
      n = await readAt(open, bytes, e.segmentByte);
    } finally {
      open.closeSync();
    }
  } catch (error) {
    return { bytes: bytes.subarray(0, 0), file, byte: e.segmentByte, damage: (error as Error).message };
  }
  const damage =
    n < e.length
      ? `the file ends at byte ${e.segmentByte + n}`
      : crc32c(bytes) === e.crc
        ? undefined
        : 'checksum of the append';
  return { bytes: bytes.subarray(0, n), file, byte: e.segmentByte, damage };
}

// ------------------------------------------------------------------------------------------------------------ verify

/** Something that is not as it should be. Positions are half-open; both -1 where no position can be named. */
export interface Finding {
  /** In the shard's folder; `../../hadron.json` for the manifest. */
  readonly file: string;
  readonly byte: number;
  readonly log: string | undefined;
  readonly from: number;
  readonly to: number;
  readonly what: string;
  /** The next start puts it right, or it is what a crash leaves behind: no data is lost. */
  readonly harmless: boolean;
}

export interface VerifyOptions extends InspectOptions {
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Reads no faster than this. Needs a clock. */
  readonly bytesPerSecond?: number;
  readonly clock?: Clock;
}

/** Reads all of a data folder and checks it. Damage is yielded, not thrown. */
export async function* verifyFolder(path: string, options: VerifyOptions): AsyncGenerator<Finding, void, undefined> {
  try {
    manifestOf(path);
  } catch (error) {
    const code = (error as HadronError).code;
    if (code !== 'DATA_DAMAGED') throw error;
    yield place(`../../${MANIFEST_FILE}`, 0, message(error));
  }
  yield* verifyShard(`${path}/shards/0`, options);
}

/** As {@link verifyFolder} for one shard's folder. */
export async function* verifyShard(
  directory: string,
  options: VerifyOptions,
): AsyncGenerator<Finding, void, undefined> {
  const fs = options.fs ?? nodeFileSystem;
  let shard: ShardImage;
  try {
    shard = await inspectShard(directory, options);
  } catch (error) {
    if (!(error instanceof HadronError) || error.code !== 'DATA_DAMAGED') throw error;
    // Without the checkpoint or a file header nothing else can be judged.
    yield place(
      /: (\S*\/)?(checkpoint|commit\/\d+\.log)\b/.exec(error.message)?.[2] ?? 'checkpoint',
      0,
      message(error),
    );
    return;
  }
  const verifier = new Verifier(fs, shard, options);
  yield* verifier.commitLog();
  for (const log of shard.logs) {
    for (const segment of log.segments) yield* verifier.segment(log, segment);
    yield* verifier.tail(log);
    yield* verifier.snapshot(log);
  }
  yield* verifier.extraFiles();
  verifier.finished();
}

class Verifier {
  private readonly fs: FileSystem;
  private readonly shard: ShardImage;
  private readonly o: VerifyOptions;
  private readonly total: number;
  private readonly startedMs: number;
  private done = 0;

  constructor(fs: FileSystem, shard: ShardImage, o: VerifyOptions) {
    this.fs = fs;
    this.shard = shard;
    this.o = o;
    this.startedMs = o.clock?.monotonicMs() ?? 0;
    let total = 0;
    for (const f of shard.scan) total += f.bytes.length;
    for (const log of shard.logs) {
      for (const s of log.segments) total += s.bytes;
      total += log.snapshot?.bytes ?? 0;
    }
    this.total = total;
    this.o.onProgress?.(0, total);
  }

  /** Frames that the checkpoint does not cover: gaps, bodies. */
  *commitLog(): Iterable<Finding> {
    const { shard } = this;
    const covered = shard.checkpoint?.lsn ?? 0;
    let next = covered + 1;
    for (const file of shard.scan) {
      const name = fileIn('commit', file.path);
      const half = COMMIT_FILE_HEADER_BYTES / 2;
      if (!file.bytes.subarray(0, half).equals(file.bytes.subarray(half, 2 * half))) {
        yield { ...place(name, 0, 'the copies of the header differ, one of them is whole'), harmless: true };
      }
      for (const frame of file.frames) {
        const lsn = frame.head.lsn;
        if (lsn < next) continue;
        if (lsn > next) {
          const harmless = next > shard.durableLsn;
          yield {
            ...place(name, file.gapAt || COMMIT_FILE_HEADER_BYTES, `frames ${next} to ${lsn - 1} cannot be read`),
            harmless,
          };
        }
        next = lsn + 1;
        if (!frame.body) {
          const harmless = lsn > shard.durableLsn;
          const names = readEntries(file.bytes, frame.at, frame.head).map(
            (e) => shard.logs.find((l) => l.id === e.logId)?.name ?? `log ${e.logId}`,
          );
          yield {
            ...place(name, frame.at, `frame ${lsn} does not match its checksum (${[...new Set(names)].join(', ')})`),
            harmless,
          };
        }
      }
      this.advance(file.bytes.length);
    }
    if (next <= shard.durableLsn) {
      yield place(
        'commit',
        0,
        `the commit log ends with frame ${next - 1}, frames up to ${shard.durableLsn} were acknowledged`,
      );
    }
  }

  async *segment(log: LogImage, segment: SegmentImage): AsyncGenerator<Finding, void, undefined> {
    if (segment.bytes === 0 || segment.stableEnd <= log.start) {
      this.advance(segment.bytes);
      return;
    }
    const file = `segments/${segment.file}`;
    const fences = log.fences.filter((f) => f.segmentBase === segment.base);
    for (const f of fences) {
      yield {
        file,
        byte: f.fromByte,
        log: log.name,
        from: f.from,
        to: f.to,
        what: 'known damage: these offsets are fenced',
        harmless: false,
      };
    }
    const known = (byte: number): boolean => fences.some((f) => byte >= f.fromByte && byte < f.toByte);
    let open: OpenFile | undefined;
    try {
      open = await openFile(this.fs, `${this.shard.directory}/${file}`);
    } catch (error) {
      this.advance(segment.bytes);
      if (!known(0) && (await this.isStillNamed(log, segment))) {
        yield {
          file,
          byte: 0,
          log: log.name,
          from: segment.base,
          to: segment.stableEnd,
          what: message(error),
          harmless: false,
        };
      }
      return;
    }
    const check = new SegmentCheck(log.format, segment, await this.index(log, segment));
    try {
      for await (const windows of check.run(open)) {
        for (const f of windows) {
          if (known(f.byte)) continue;
          yield { ...f, file, log: log.name };
        }
        await this.pace(check.readBytes());
      }
    } finally {
      open.closeSync();
    }
  }

  /** Appends that lie in the commit log only, and direct ones behind the checkpoint. */
  async *tail(log: LogImage): AsyncGenerator<Finding, void, undefined> {
    const { format } = log;
    const u = newUnit();
    for (const append of log.tail) {
      const { entry: e, frame } = append;
      if (e.position + e.extent <= log.start) continue;
      const harmless = frame.head.lsn > this.shard.durableLsn;
      const found = await appendBytes(this.fs, this.shard, append);
      const at = { file: found.file, log: log.name, harmless };
      if (found.damage !== undefined) {
        // A body that does not match is told of with its frame.
        if (
          e.kind === EntryKind.reference &&
          ((harmless && log.durability === 'os') || (await this.isStillNamed(log, append.segment)))
        ) {
          yield { ...at, byte: found.byte, from: e.position, to: e.position + e.extent, what: found.damage };
        }
        continue;
      }
      if (format === undefined || format.headerBytes === 0) continue;
      let position = e.position;
      for (let p = 0; p < found.bytes.length; p += u.bytes) {
        const ok =
          format.scan(found.bytes, p, found.bytes.length, u) && u.bytes > 0 && p + u.bytes <= found.bytes.length;
        const what = !ok
          ? 'framing'
          : u.position !== position
            ? `it says offset ${u.position}, ${position} is expected`
            : format.intact(found.bytes, p, u.bytes)
              ? undefined
              : 'checksum';
        if (what !== undefined) {
          yield {
            ...at,
            byte: found.byte + p,
            from: position,
            to: ok ? position + u.extent : e.position + e.extent,
            what,
            harmless: false,
          };
        }
        if (!ok) break;
        position += u.extent;
      }
    }
  }

  *snapshot(log: LogImage): Iterable<Finding> {
    if (log.snapshot === undefined) return;
    const file = `snapshots/${log.snapshot.file}`;
    try {
      readSnapshot(this.fs, `${this.shard.directory}/${file}`);
    } catch (error) {
      if ((error as HadronError).code === 'DATA_FORMAT_NEWER') throw error;
      yield { ...place(file, 0, message(error)), log: log.name, from: log.start, to: log.snapshot.position };
    }
    this.advance(log.snapshot.bytes);
  }

  /** Files that nothing names: what a crash between two steps leaves, removed by the next start. */
  *extraFiles(): Iterable<Finding> {
    const named = new Set<string>();
    for (const log of this.shard.logs) {
      for (const s of log.segments) named.add(s.file).add(indexFileName(s.file));
      if (log.snapshot !== undefined) named.add(log.snapshot.file);
    }
    for (const sub of ['segments', 'snapshots']) {
      for (const name of this.fs.listSync(`${this.shard.directory}/${sub}`)) {
        if (named.has(name) || this.isTrimmed(name)) continue;
        const what =
          sub === 'snapshots' || parseSegmentFileName(name) !== undefined || name.endsWith('.idx')
            ? 'nothing names this file; the next start removes it'
            : 'a foreign file; the next start removes it';
        yield { ...place(`${sub}/${name}`, 0, what), harmless: true };
      }
    }
  }

  /** A segment or index below the start of its log, that is going to be unlinked. */
  private isTrimmed(name: string): boolean {
    const parsed = parseSegmentFileName(name.replace(/\.idx$/, '.seg'));
    const log = this.shard.logs.find((l) => l.id === parsed?.logId);
    return parsed !== undefined && log !== undefined && parsed.base < log.start;
  }

  finished(): void {
    this.o.onProgress?.(this.total, this.total);
  }

  private async index(
    log: LogImage,
    segment: SegmentImage,
  ): Promise<{ index: SparseIndex; broken: boolean } | undefined> {
    const b = await readFileWhole(this.fs, `${this.shard.directory}/segments/${indexFileName(segment.file)}`);
    if (b === undefined || b.length === 0) return undefined;
    const { index, goodBytes } = decodeIndex(b, log.id, segment.base, segment.version, segment.bytes);
    return { index, broken: goodBytes < b.length && b.length > INDEX_HEADER_BYTES };
  }

  /** A running server may have trimmed, compacted or deleted it since. */
  private async isStillNamed(log: LogImage, segment: SegmentImage): Promise<boolean> {
    const now = await inspectShard(this.shard.directory, this.o).catch(() => undefined);
    const found = now?.logs.find((l) => l.id === log.id);
    if (now === undefined) return true;
    if (found === undefined || segment.end <= found.start) return false;
    return found.segments.some((s) => s.file === segment.file);
  }

  private async pace(bytes: number): Promise<void> {
    this.advance(bytes);
    const { bytesPerSecond, clock } = this.o;
    if (bytesPerSecond === undefined || clock === undefined) return;
    const dueMs = this.startedMs + (this.done / bytesPerSecond) * 1000 - clock.monotonicMs();
    if (dueMs > 0) await new Promise<void>((resolve) => void clock.setTimer(dueMs, resolve));
  }

  private advance(bytes: number): void {
    this.done += bytes;
    if (bytes > 0) this.o.onProgress?.(Math.min(this.done, this.total), this.total);
  }
}

/** What a checkpoint says of a segment. */
export interface SegmentClaim {
  readonly base: number;
  readonly stableEnd: number;
  readonly bytes: number;
  readonly crc: number;
  readonly version: number;
}

export type SegmentFinding = Pick<Finding, 'byte' | 'from' | 'to' | 'what' | 'harmless'>;

/**
 * Reads a segment file and compares it with what the checkpoint claims: its CRC, each unit's framing, order and
 * checksum, and the index. Shared with the scrub of a running server.
 */
export class SegmentCheck {
  private readonly format: LogFormat | undefined;
  private readonly segment: SegmentClaim;
  private readonly index: { index: SparseIndex; broken: boolean } | undefined;
  private bytes = 0;

  constructor(
    format: LogFormat | undefined,
    segment: SegmentClaim,
    index: { index: SparseIndex; broken: boolean } | undefined,
  ) {
    this.format = format;
    this.segment = segment;
    this.index = index;
  }

  /** Bytes read since the last call. */
  readBytes(): number {
    const n = this.bytes;
    this.bytes = 0;
    return n;
  }

  /** Yields after each window, so that the caller can pause. */
  async *run(open: OpenFile): AsyncGenerator<SegmentFinding[], void, undefined> {
    const { segment, index } = this;
    const all = { from: segment.base, to: segment.stableEnd };
    let crc = 0;
    let damaged = false;
    let end = segment.base;
    let maxTimestamp = -1;
    let i = 0;
    const read = (b: Buffer): void => {
      crc = crc32c(b, 0, b.length, crc);
      this.bytes += b.length;
    };
    for await (const window of walk(open, this.format, segment, { byte: 0, position: segment.base }, read)) {
      const found: SegmentFinding[] = [];
      for (const u of window) {
        if (u.damage !== undefined) {
          damaged = true;
          found.push({ byte: u.byte, from: u.position, to: u.position + u.extent, what: u.damage, harmless: false });
        }
        for (; index !== undefined && i < index.index.count && index.index.byteAt(i) <= u.byte; i++) {
          if (damaged) continue;
          const { index: x } = index;
          if (x.byteAt(i) !== u.byte || x.positionAt(i) !== u.position || x.maxTimestampAt(i) !== maxTimestamp) {
            const what = `entry ${i} of the index (offset ${x.positionAt(i)}, byte ${x.byteAt(i)}) does not fit; remove the .idx file, it is made again`;
            found.push({ byte: u.byte, from: u.position, to: u.position + u.extent, what, harmless: false });
          }
        }
        end = u.position + u.extent;
        if (u.maxTimestamp > maxTimestamp) maxTimestamp = u.maxTimestamp;
      }
      yield found;
    }
    const last: SegmentFinding[] = [];
    if (!damaged && crc !== segment.crc) {
      last.push({
        byte: 0,
        ...all,
        what: 'the file does not match its checksum in the checkpoint, though each batch matches its own',
        harmless: false,
      });
    } else if (!damaged && this.format !== undefined && segment.version === 0 && end !== segment.stableEnd) {
      last.push({
        byte: segment.bytes,
        from: end,
        to: segment.stableEnd,
        what: `it ends at offset ${end}, the checkpoint says ${segment.stableEnd}`,
        harmless: false,
      });
    }
    if (index?.broken === true) {
      last.push({
        byte: 0,
        from: -1,
        to: -1,
        what: 'the index file beside it is incomplete; it is made again',
        harmless: true,
      });
    }
    if (last.length > 0) yield last;
  }
}

// -------------------------------------------------------------------------------------------------------------- walk

type Walked = Omit<DumpedUnit, 'file'>;

/** Where a walk begins: a unit's first byte, and its position. */
interface WalkStart {
  readonly byte: number;
  readonly position: number;
}

/**
 * The units of a segment file, window by window, damaged places among them. Behind damage it goes on with the next
 * bytes that are a unit with a good checksum. Without a format it only reads.
 * @param onRead is given every byte once, in order
 */
async function* walk(
  open: OpenFile,
  format: LogFormat | undefined,
  segment: SegmentClaim,
  start: WalkStart,
  onRead?: (b: Buffer) => void,
): AsyncGenerator<Walked[], void, undefined> {
  const limit = segment.bytes;
  const endPosition = segment.stableEnd;
  const dense = segment.version === 0;
  const u = newUnit();
  let at = start.byte;
  let told = at;
  let position = start.position;
  let window = WINDOW_BYTES;
  /** Where the damage began whose end is still looked for. */
  let lostAt = -1;
  while (at < limit) {
    const want = Math.min(window, limit - at);
    const b = Buffer.allocUnsafe(want);
    const n = await readAt(open, b, at);
    if (at + n > told) {
      onRead?.(b.subarray(told - at, n));
      told = at + n;
    }
    const found: Walked[] = [];
    const damage = (fromByte: number, toByte: number, toPosition: number, what: string): void => {
      const bytes = b.subarray(Math.max(0, fromByte - at), Math.min(n, toByte - at));
      found.push({ position, extent: toPosition - position, maxTimestamp: -1, byte: fromByte, bytes, damage: what });
      position = toPosition;
    };
    const short = n < want;
    let needed = 0;
    let rel = 0;
    if (format === undefined) rel = n;
    while (format !== undefined && rel < n) {
      if (lostAt >= 0) {
        const next = nextUnit(b, rel, n, short ? n : limit - at, format, position, endPosition);
        if (next === undefined) {
          // What may be the beginning of a unit's header is looked at again in the next window.
          rel = Math.max(rel, n - format.headerBytes + 1);
          break;
        }
        rel = next.at;
        if (rel + next.bytes > n) {
          needed = next.bytes;
          break;
        }
        damage(lostAt, at + rel, next.position, 'framing');
        lostAt = -1;
        continue;
      }
      const plausible = format.scan(b, rel, n, u) && u.bytes > 0 && at + rel + u.bytes <= limit;
      if (!plausible && n - rel < format.headerBytes && at + n < limit && !short) break; // a header across the end
      const unitAt = u.position === -1 ? position : u.position;
      const inPlace =
        plausible && (dense ? unitAt === position : unitAt >= position) && unitAt + u.extent <= endPosition;
      if (inPlace && rel + u.bytes > n && !short) {
        needed = u.bytes;
        break;
      }
      const complete = plausible && rel + u.bytes <= n;
      const { bytes: size, extent, maxTimestamp } = u;
      const whole = complete && format.intact(b, rel, size);
      if (whole && inPlace) {
        found.push({
          position: unitAt,
          extent,
          maxTimestamp,
          byte: at + rel,
          bytes: b.subarray(rel, rel + size),
          damage: undefined,
        });
        position = unitAt + extent;
      } else if (whole) {
        // Its checksum does not cover the offset: the unit is good, its place is not.
        const what = `it says offset ${unitAt}, ${position} is expected`;
        damage(at + rel, at + rel + size, Math.min(position + extent, endPosition), what);
      } else if (complete && inPlace && follows(b, rel + size, n, at + n === limit, format, unitAt + extent)) {
        // The next unit goes on where its header says it ends, so that is believed.
        damage(at + rel, at + rel + size, unitAt + extent, 'checksum');
      } else {
        lostAt = at + rel++;
        continue;
      }
      rel += size;
    }
    if (short) {
      damage(
        lostAt >= 0 ? lostAt : at + rel,
        limit,
        endPosition,
        `the file ends at byte ${at + n}, ${limit} were written`,
      );
    } else if (lostAt >= 0 && at + n === limit) {
      damage(lostAt, limit, endPosition, 'framing');
    }
    yield found;
    if (short || at + n === limit) return;
    if (needed > window) window = needed;
    at += rel;
  }
}

/** Whether a unit with this position begins at `at`, or the segment ends there. */
function follows(b: Buffer, at: number, end: number, isEnd: boolean, format: LogFormat, position: number): boolean {
  if (at === end) return isEnd;
  const u = newUnit();
  return format.scan(b, at, end, u) && u.position === position;
}

/** The next place in `b[from, end)` where a unit begins that may follow `position`: a whole one, or one that ends behind `end` but not behind `limit`. */
function nextUnit(
  b: Buffer,
  from: number,
  end: number,
  limit: number,
  format: LogFormat,
  position: number,
  endPosition: number,
): { at: number; position: number; bytes: number } | undefined {
  const u = newUnit();
  for (let at = from; at + format.headerBytes <= end; at++) {
    if (!format.scan(b, at, end, u) || u.bytes <= 0 || at + u.bytes > limit) continue;
    if (u.position < position || u.position + u.extent > endPosition) continue;
    if (at + u.bytes <= end && !format.intact(b, at, u.bytes)) continue;
    return { at, position: u.position, bytes: u.bytes };
  }
  return undefined;
}

// ------------------------------------------------------------------------------------------------------------- files

const place = (file: string, byte: number, what: string): Finding => ({
  file,
  byte,
  log: undefined,
  from: -1,
  to: -1,
  what,
  harmless: false,
});

const message = (error: unknown): string => (error as Error).message.replace(/^[A-Z_]+: /, '');

const fileName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

const fileIn = (sub: string, path: string): string => `${sub}/${fileName(path)}`;

function openFile(fs: FileSystem, path: string): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    fs.open(path, 'read', (error, file) => (file === undefined ? reject(error) : resolve(file)));
  });
}

/** @returns undefined when there is no such file */
async function readFileWhole(fs: FileSystem, path: string): Promise<Buffer | undefined> {
  let open: OpenFile;
  try {
    open = await openFile(fs, path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const b = Buffer.alloc(fs.sizeSync(path) ?? 0);
    const n = b.length === 0 ? 0 : await readAt(open, b, 0);
    return b.subarray(0, n);
  } finally {
    open.closeSync();
  }
}
