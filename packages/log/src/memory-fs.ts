/**
 * A file system in memory: for servers whose data may go with the process (tests, previews). It keeps the contract of
 * fs.ts but for what survives: nothing outlives the object.
 *
 * Asynchronous calls end in a later turn of the event loop (`defer`), in the order in which they were made. Faults are
 * switches: a test can make the disk full, slow or broken while a server runs on it.
 */
import type { Counted, Done, FileSystem, FsError, OpenFile, OpenMode } from './fs.ts';

/** What is wrong with the disk right now. Absent = nothing. */
export interface MemoryDiskFaults {
  /** Every write, sync, create and rename fails with this code, for example EIO or EROFS; reads go on. */
  fail?: string | undefined;
  /** Bytes that fit altogether; beyond that ENOSPC, and `space` says so. Default: 1 TiB. */
  capacityBytes?: number | undefined;
}

interface MemoryFile {
  /** Grows by doubling; `size` bytes of it count. */
  data: Buffer;
  size: number;
}

const CAPACITY_BYTES = 2 ** 40;
const MIN_BYTES = 1024;

const error = (code: string, op: string, path: string): FsError =>
  Object.assign(new Error(`${code}: ${op} '${path}'`), { code, syscall: op, path });

const parentOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));

/** See the head of this file. Paths are taken literally, with `/` between names; the root `''` exists. */
export class MemoryFileSystem implements FileSystem {
  readonly faults: MemoryDiskFaults = {};
  private readonly files = new Map<string, MemoryFile>();
  private readonly directories = new Set<string>(['', '/']);
  private readonly defer: (fn: () => void) => void;
  private usedBytes = 0;
  /** Calls that have not called back. */
  pending = 0;

  /** @param defer runs a function in a later turn of the event loop: `clock.defer` */
  constructor(defer: (fn: () => void) => void) {
    this.defer = defer;
  }

  openSync(path: string, mode: OpenMode): OpenFile {
    let file = this.files.get(path);
    if (file === undefined) {
      if (mode !== 'create' || !this.directories.has(parentOf(path)) || this.directories.has(path)) {
        throw error(this.directories.has(path) ? 'EISDIR' : 'ENOENT', 'open', path);
      }
      this.guard('open', path);
      file = { data: Buffer.alloc(0), size: 0 };
      this.files.set(path, file);
    }
    return new OpenMemoryFile(this, file, path, mode !== 'read');
  }

  open(path: string, mode: OpenMode, done: (error: FsError | undefined, file: OpenFile | undefined) => void): void {
    let file: OpenFile | undefined;
    this.later(
      () => {
        file = this.openSync(path, mode);
      },
      (e) => done(e, file),
    );
  }

  mkdirSync(path: string): void {
    if (this.files.has(path)) throw error('EEXIST', 'mkdir', path);
    if (this.directories.has(path)) return;
    this.guard('mkdir', path);
    for (let p = path; p !== '' && !this.directories.has(p); p = parentOf(p)) this.directories.add(p);
  }

  listSync(path: string): string[] {
    const names: string[] = [];
    for (const p of [...this.files.keys(), ...this.directories]) {
      if (p !== path && p !== '' && p !== '/' && parentOf(p) === path) names.push(p.slice(path.length + 1));
    }
    return names.sort();
  }

  sizeSync(path: string): number | undefined {
    return this.files.get(path)?.size;
  }

  rename(from: string, to: string, done: Done): void {
    this.later(() => {
      const file = this.files.get(from);
      if (file === undefined || !this.directories.has(parentOf(to))) throw error('ENOENT', 'rename', from);
      if (this.directories.has(to)) throw error('EISDIR', 'rename', to);
      this.guard('rename', from);
      if (from === to) return;
      this.forget(to);
      this.files.set(to, file);
      this.files.delete(from);
    }, done);
  }

  unlink(path: string, done: Done): void {
    this.later(() => {
      if (this.directories.has(path)) throw error('EISDIR', 'unlink', path);
      this.forget(path);
    }, done);
  }

  syncDir(path: string, done: Done): void {
    this.later(() => {
      if (!this.directories.has(path)) throw error('ENOENT', 'fsync', path);
      this.guard('fsync', path);
    }, done);
  }

  space(_path: string, done: (error: FsError | undefined, freeBytes: number, totalBytes: number) => void): void {
    this.later(
      () => undefined,
      (e) => done(e, Math.max(0, this.capacity - this.usedBytes), this.capacity),
    );
  }

  /** @internal */
  later(effect: () => void, done: Done): void {
    this.pending++;
    this.defer(() => {
      this.pending--;
      let failed: FsError | undefined;
      try {
        effect();
      } catch (e) {
        failed = e as FsError;
      }
      done(failed);
    });
  }

  /** @internal @throws FsError while the disk fails */
  guard(op: string, path: string): void {
    if (this.faults.fail !== undefined) throw error(this.faults.fail, op, path);
  }

  /** @internal Makes room for a file of `size` bytes. @returns the size that fits */
  grow(file: MemoryFile, size: number, path: string): number {
    if (size <= file.size) return size;
    const fits = Math.min(size, file.size + Math.max(0, this.capacity - this.usedBytes));
    if (fits <= file.size) throw error('ENOSPC', 'write', path);
    if (fits > file.data.length) {
      const data = Buffer.alloc(Math.max(fits, 2 * file.data.length, MIN_BYTES));
      file.data.copy(data, 0, 0, file.size);
      file.data = data;
    }
    this.usedBytes += fits - file.size;
    file.size = fits;
    return fits;
  }

  /** @internal */
  shrink(file: MemoryFile, size: number): void {
    this.usedBytes -= file.size - size;
    file.data.fill(0, size, file.size);
    file.size = size;
  }

  private get capacity(): number {
    return this.faults.capacityBytes ?? CAPACITY_BYTES;
  }

  private forget(path: string): void {
    const file = this.files.get(path);
    if (file === undefined) return;
    // Whoever has it open reads on, as on a real disk.
    this.usedBytes -= file.size;
    this.files.delete(path);
  }
}

class OpenMemoryFile implements OpenFile {
  private readonly disk: MemoryFileSystem;
  private readonly file: MemoryFile;
  private readonly path: string;
  private readonly writable: boolean;
  private closed = false;

  constructor(disk: MemoryFileSystem, file: MemoryFile, path: string, writable: boolean) {
    this.disk = disk;
    this.file = file;
    this.path = path;
    this.writable = writable;
  }

  writeSync(data: Uint8Array, position: number): number {
    this.check('write', position);
    return this.put(data, position);
  }

  write(parts: readonly Uint8Array[], position: number, done: Counted): void {
    this.check('write', position);
    let written = 0;
    this.disk.later(
      () => {
        for (const part of parts) {
          if (part.length === 0) continue;
          const n = this.put(part, position + written);
          written += n;
          if (n < part.length) break;
        }
      },
      (e) => done(written > 0 ? undefined : e, written),
    );
  }

  readSync(into: Uint8Array, position: number): number {
    this.check('read', position);
    const end = Math.min(this.file.size, position + into.length);
    if (end <= position) return 0;
    into.set(this.file.data.subarray(position, end));
    return end - position;
  }

  read(into: Uint8Array, position: number, done: Counted): void {
    this.check('read', position);
    let bytes = 0;
    this.disk.later(
      () => {
        const end = Math.min(this.file.size, position + into.length);
        bytes = Math.max(0, end - position);
        if (bytes > 0) into.set(this.file.data.subarray(position, end));
      },
      (e) => done(e, bytes),
    );
  }

  datasync(done: Done): void {
    this.check('fdatasync', 0);
    this.disk.later(() => this.disk.guard('fdatasync', this.path), done);
  }

  truncateSync(size: number): void {
    this.check('ftruncate', size);
    this.mayWrite('ftruncate');
    if (size < this.file.size) this.disk.shrink(this.file, size);
    else this.disk.grow(this.file, size, this.path);
  }

  closeSync(): void {
    this.check('close', 0);
    this.closed = true;
  }

  /** Calls under way when the file is closed still finish, so this is asked when a call begins. */
  private check(op: string, position: number): void {
    if (this.closed) throw new TypeError(`${op}: ${this.path} is closed`);
    if (!Number.isSafeInteger(position) || position < 0) throw new TypeError(`${op}: position ${position}`);
  }

  private mayWrite(op: string): void {
    if (!this.writable) throw error('EBADF', op, this.path);
    this.disk.guard(op, this.path);
  }

  private put(data: Uint8Array, position: number): number {
    this.mayWrite('write');
    const end = this.disk.grow(this.file, position + data.length, this.path);
    const fits = Math.max(0, Math.min(data.length, end - position));
    this.file.data.set(fits === data.length ? data : data.subarray(0, fits), position);
    return fits;
  }
}
