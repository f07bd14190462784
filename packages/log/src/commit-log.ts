/**
 * The commit log of a shard: one sequence of frames over a few files, so that many small appends of many logs share one
 * write and one sync (log.md G1-G3, G15).
 *
 * This class knows frames and files, not logs: it stages frames in memory, writes what is staged in one call, names the
 * files that a sync must cover, and gives files back for reuse once a checkpoint covers them.
 *
 * Files are slots `000.log`, `001.log`, ...; the order is in their headers. In its first life a file grows by appending,
 * from the second on it is overwritten (23-46 % cheaper to sync). Every life has a random incarnation that seeds the
 * checksums of its frames, so that frames of a former life are never mistaken for new ones.
 *
 * File header, 64 bytes, twice:
 *     0 u32 magic "HDCL" · 4 u16 version · 6 u16 shard · 8 u32 incarnation · 12 u32 0 · 16 i64 sequence · 24 i64 first LSN
 *     32 i64 wall ms · 40..60 zeros · 60 u32 CRC-32C of bytes [0, 60)
 * Twice, because a process may die in the middle of overwriting it: then the first copy is new and whole, or the second
 * is still the old one. And a flipped bit in one of them harms nobody. Frames begin at byte 128.
 */
import {
  crc32c,
  HadronError,
  readI64,
  readU16,
  readU32,
  type Random,
  writeI16,
  writeI32,
  writeI64,
} from '@hadron/base';
import { alignUp8, ENTRY_BYTES, FRAME_HEAD_BYTES, FRAME_MAX_BYTES, FRAME_MAX_ENTRIES, sealFrame } from './frame.ts';
import type { FileSystem, FsError, OpenFile } from './fs.ts';

export const COMMIT_FILE_MAGIC = 0x4844434c;
export const COMMIT_FILE_VERSION = 1;
const HEADER_COPY_BYTES = 64;
export const COMMIT_FILE_HEADER_BYTES = 2 * HEADER_COPY_BYTES;

export interface CommitFileHeader {
  incarnation: number;
  sequence: number;
  firstLsn: number;
  createdMs: number;
}

function writeCommitFileHeader(b: Uint8Array, header: CommitFileHeader): void {
  b.fill(0, 0, COMMIT_FILE_HEADER_BYTES);
  writeI32(b, 0, COMMIT_FILE_MAGIC);
  writeI16(b, 4, COMMIT_FILE_VERSION);
  writeI32(b, 8, header.incarnation);
  writeI64(b, 16, header.sequence);
  writeI64(b, 24, header.firstLsn);
  writeI64(b, 32, header.createdMs);
  writeI32(b, 60, crc32c(b, 0, 60));
  b.copyWithin(HEADER_COPY_BYTES, 0, HEADER_COPY_BYTES);
}

/**
 * @returns undefined for a file that never began (empty or zeros)
 * @throws HadronError DATA_FORMAT_NEWER, DATA_DAMAGED
 */
export function readCommitFileHeader(b: Uint8Array, path: string): CommitFileHeader | undefined {
  if (b.length < HEADER_COPY_BYTES) return undefined;
  for (const at of [0, HEADER_COPY_BYTES]) {
    if (at + HEADER_COPY_BYTES > b.length || readU32(b, at) !== COMMIT_FILE_MAGIC) continue;
    if (readU32(b, at + 60) !== crc32c(b, at, at + 60)) continue;
    if (readU16(b, at + 4) > COMMIT_FILE_VERSION) {
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `${path} has format ${readU16(b, at + 4)}, this Hadron reads up to ${COMMIT_FILE_VERSION}; start the newer Hadron that wrote it`,
      );
    }
    return {
      incarnation: readU32(b, at + 8),
      sequence: readI64(b, at + 16),
      firstLsn: readI64(b, at + 24),
      createdMs: readI64(b, at + 32),
    };
  }
  // A file of zeros, or one whose first header was cut short: the second copy is still empty.
  if (b.subarray(HEADER_COPY_BYTES, COMMIT_FILE_HEADER_BYTES).every((x) => x === 0)) return undefined;
  throw new HadronError(
    'DATA_DAMAGED',
    `${path}: both copies of the file header are damaged; restore the file from a backup, or move the data folder away to start empty`,
  );
}

interface CommitFile {
  readonly slot: number;
  readonly file: OpenFile;
  incarnation: number;
  sequence: number;
  firstLsn: number;
  lastLsn: number;
  /** Where the next staged frame goes. */
  end: number;
  unsynced: boolean;
  /** Its header is on stable storage. */
  begun: boolean;
}

/** A run of staged bytes bound for one file. */
interface Run {
  readonly file: CommitFile;
  readonly position: number;
  readonly from: number;
  to: number;
}

export interface CommitLogOptions {
  fs: FileSystem;
  directory: string;
  fileBytes: number;
  random: Random;
  wallMs: () => number;
}

/** Size of the file that is kept for a full disk, at most (log.md G16). */
const RESERVE_BYTES = 1024 * 1024;
const STAGING_START_BYTES = 64 * 1024;
const STAGING_KEEP_BYTES = 4 * 1024 * 1024;

export class CommitLog {
  /** LSN of the last staged frame. */
  lastLsn: number;
  /** Bytes written or staged since the last trim, headers left out. */
  outstandingBytes = 0;
  /** A directory entry was made that the next sync must cover. */
  directoryUnsynced = false;
  /** The disk is nearly full: the last spare file may be used too. */
  useReserve = false;

  private readonly o: CommitLogOptions;
  private readonly files: CommitFile[] = [];
  /** Files to be overwritten, in the order of their last use. The last one is kept for a full disk. */
  private readonly spares: { slot: number; file: OpenFile }[] = [];
  private underSync: CommitFile[] = [];
  private slots: number;
  private sequence: number;
  private staging: Buffer = Buffer.allocUnsafeSlow(STAGING_START_BYTES);
  private used = 0;
  private runs: Run[] = [];
  private frameAt = 0;
  private entryAt = 0;
  private bodyAt = 0;
  private entries = 0;

  constructor(options: CommitLogOptions) {
    this.o = options;
    this.lastLsn = 0;
    this.sequence = 0;
    this.slots = 0;
  }

  /** Goes on where recovery ended. @param slots one more than the highest slot number on disk */
  resume(lastLsn: number, sequence: number, slots: number): void {
    this.lastLsn = lastLsn;
    this.sequence = sequence;
    this.slots = slots;
  }

  path(slot: number): string {
    return `${this.o.directory}/${String(slot).padStart(3, '0')}.log`;
  }

  /** A file of an earlier run that still holds frames needed until a checkpoint covers `lastLsn`. Never written again before. */
  adopt(slot: number, file: OpenFile, lastLsn: number, bytes: number): void {
    this.files.push({
      slot,
      file,
      incarnation: 0,
      sequence: 0,
      firstLsn: 0,
      lastLsn,
      end: Number.POSITIVE_INFINITY,
      unsynced: false,
      begun: true,
    });
    this.outstandingBytes += bytes;
  }

  /** Only for the simulation: breaks rule G2 by going on in the file recovered last, in the same incarnation. */
  continueIn(header: CommitFileHeader, end: number): void {
    const f = this.files.at(-1) as CommitFile;
    f.incarnation = header.incarnation;
    f.sequence = header.sequence;
    f.firstLsn = header.firstLsn;
    f.end = end;
  }

  /**
   * Gives a file to be overwritten. Files whose frames are void go in the order of their sequence: see {@link roll}.
   * @param empty it never held a frame and has no room of its own: it is used first
   */
  addSpare(slot: number, file: OpenFile, empty: boolean = false): void {
    if (empty) this.spares.unshift({ slot, file });
    else this.spares.push({ slot, file });
  }

  get hasSpare(): boolean {
    return this.spares.length > 0;
  }

  /** A slot for a file that the caller makes and then gives with {@link addSpare}. */
  takeSlot(): { slot: number; path: string; bytes: number } {
    const slot = this.slots++;
    return { slot, path: this.path(slot), bytes: Math.min(RESERVE_BYTES, this.o.fileBytes) };
  }

  get stagedBytes(): number {
    return this.used;
  }

  get current(): CommitFile | undefined {
    return this.files.at(-1);
  }

  /**
   * Begins a new file: the next frame goes there. Called at open (log.md G2) and when the current file is full.
   *
   * A spare is overwritten only when the header of the current file is durable: that header may be all that says which
   * frames of an older spare are void, and after a crash it must not be missing while a newer one is there.
   * @throws FsError
   */
  roll(): void {
    const last = this.files.at(-1);
    const mayReuse = last === undefined || last.begun;
    if (mayReuse && this.spares.length > (this.useReserve ? 0 : 1)) {
      this.beginSpare();
      return;
    }
    try {
      const slot = this.slots++;
      const file = this.o.fs.openSync(this.path(slot), 'create');
      this.directoryUnsynced = true;
      this.beginFile(slot, file);
    } catch (error) {
      if ((error as FsError).code !== 'ENOSPC' || !mayReuse || this.spares.length === 0) throw error;
      this.beginSpare();
    }
  }

  private beginSpare(): void {
    const { slot, file } = this.spares.shift() as { slot: number; file: OpenFile };
    this.beginFile(slot, file);
  }

  private beginFile(slot: number, file: OpenFile): void {
    const header: CommitFileHeader = {
      incarnation: this.o.random.u32(),
      sequence: this.sequence + 1,
      firstLsn: this.lastLsn + 1,
      createdMs: this.o.wallMs(),
    };
    const bytes = Buffer.alloc(COMMIT_FILE_HEADER_BYTES);
    writeCommitFileHeader(bytes, header);
    try {
      writeFully(file, bytes, 0);
    } catch (error) {
      file.closeSync();
      throw error;
    }
    this.sequence = header.sequence;
    this.files.push({
      slot,
      file,
      incarnation: header.incarnation,
      sequence: header.sequence,
      firstLsn: header.firstLsn,
      lastLsn: this.lastLsn,
      end: COMMIT_FILE_HEADER_BYTES,
      unsynced: true,
      begun: false,
    });
  }

  /**
   * Begins a frame of `entries` entries and `bodyBytes` inline bytes. Then exactly that many calls of `entry`, then `end`.
   * @throws FsError when a new file had to be begun and could not
   */
  begin(entries: number, bodyBytes: number): void {
    const length = FRAME_HEAD_BYTES + entries * ENTRY_BYTES + bodyBytes;
    if (length > FRAME_MAX_BYTES || entries > FRAME_MAX_ENTRIES) {
      throw new TypeError(`an append set of ${entries} entries and ${length} bytes is larger than a frame may be`);
    }
    if ((this.files.at(-1)?.end ?? Number.POSITIVE_INFINITY) >= this.o.fileBytes) this.roll();
    const padded = alignUp8(length);
    if (this.used + padded > this.staging.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.max(this.staging.length * 2, 1 << (32 - Math.clz32(this.used + padded))),
      );
      this.staging.copy(grown, 0, 0, this.used);
      this.staging = grown;
    }
    this.frameAt = this.used;
    this.entryAt = this.used + FRAME_HEAD_BYTES;
    this.bodyAt = this.entryAt + entries * ENTRY_BYTES;
    this.entries = entries;
  }

  /** The staging buffer, for `writeEntry` at {@link nextEntry}. */
  get buffer(): Buffer {
    return this.staging;
  }

  nextEntry(): number {
    const at = this.entryAt;
    this.entryAt += ENTRY_BYTES;
    return at;
  }

  body(source: Uint8Array, from: number, to: number): void {
    // Buffer.copy is one native call without a subarray
    (source as Buffer).copy(this.staging, this.bodyAt, from, to);
    this.bodyAt += to - from;
  }

  /** Seals the frame and gives its LSN. Nothing is written yet. */
  end(durableLsn: number): number {
    const file = this.files.at(-1) as CommitFile;
    const length = this.bodyAt - this.frameAt;
    const padded = alignUp8(length);
    const lsn = ++this.lastLsn;
    sealFrame(this.staging, this.frameAt, length, lsn, durableLsn, this.entries, file.incarnation);
    file.lastLsn = lsn;
    const run = this.runs.at(-1);
    if (run !== undefined && run.file === file) run.to += padded;
    else this.runs.push({ file, position: file.end, from: this.used, to: this.used + padded });
    file.end += padded;
    this.used += padded;
    this.outstandingBytes += padded;
    return lsn;
  }

  /** Writes everything staged. @throws FsError; then the file's content is unknown and the shard must recover */
  writeStaged(): void {
    for (const run of this.runs) {
      run.file.unsynced = true;
      writeFully(run.file.file, this.staging.subarray(run.from, run.to), run.position);
    }
    this.runs.length = 0;
    this.used = 0;
    if (this.staging.length > STAGING_KEEP_BYTES) this.staging = Buffer.allocUnsafeSlow(STAGING_START_BYTES);
  }

  /** The files a sync must cover now. One sync at a time; {@link synced} ends it. */
  takeUnsynced(into: OpenFile[]): void {
    for (const f of this.files) {
      if (!f.unsynced) continue;
      f.unsynced = false;
      this.underSync.push(f);
      into.push(f.file);
    }
  }

  /** The sync of the files taken last has succeeded. */
  synced(): void {
    for (const f of this.underSync) f.begun = true;
    this.underSync.length = 0;
  }

  /** Frames up to `lsn` are covered by a durable checkpoint: files that hold no later one may be overwritten (G12). */
  release(lsn: number, outstandingBytes: number): void {
    while (this.files.length > 1 && (this.files[0] as CommitFile).lastLsn <= lsn) {
      const f = this.files.shift() as CommitFile;
      this.spares.push({ slot: f.slot, file: f.file });
    }
    this.outstandingBytes = outstandingBytes;
  }

  close(): void {
    for (const f of this.files) f.file.closeSync();
    for (const s of this.spares) s.file.closeSync();
    this.files.length = 0;
    this.spares.length = 0;
  }
}

/** A short write is continued; a write of nothing is a full disk. @throws FsError */
export function writeFully(file: OpenFile, data: Uint8Array, position: number): void {
  let done = file.writeSync(data, position);
  while (done < data.length) {
    const n = file.writeSync(data.subarray(done), position + done);
    if (n === 0) throw Object.assign(new Error('ENOSPC: nothing could be written'), { code: 'ENOSPC' }) as FsError;
    done += n;
  }
}
