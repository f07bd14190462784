/**
 * The file-system port on `node:fs`: the real disk.
 *
 * Callbacks, not `fs.promises`: a promise per call costs more than the call's bookkeeping, and FileHandle closes files
 * behind our back when it is collected.
 *
 * What the layers below promise (libuv as bundled with Node 24, `src/unix/fs.c`):
 * - **fdatasync**. Linux: fdatasync(2), which includes a grown file size. macOS: `uv__fs_fdatasync` *is* `uv__fs_fsync`,
 *   which is `fcntl(F_FULLFSYNC)` (down to the platter, through the drive's cache), then F_BARRIERFSYNC, then fsync(2)
 *   where a file system knows neither. Windows: FlushFileBuffers. So `fs.fdatasync` is the right call everywhere.
 * - **writes** are retried after EINTR, split at IOV_MAX, and continued when short; if an error follows bytes already
 *   written, the count of those is returned and the error comes out of the next call. Hence "may be short".
 * - **reads** are *not* retried after EINTR by libuv and may be short in the middle of a file (network file systems,
 *   more than 2 GB): both are taken care of here.
 *
 * Always true: a descriptor is closed once, and only when no call on it is under way. A number that the kernel has given
 * to another file while a thread still writes to it is how data ends up in the wrong file.
 */
import * as nodeFs from 'node:fs';
import type { Counted, Done, FileSystem, FsError, OpenFile, OpenMode } from './fs.ts';

const { constants } = nodeFs;

const FLAGS: Record<OpenMode, number> = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT,
};

const FILE_MODE = 0o644; // less the umask
const IS_WINDOWS = process.platform === 'win32';

/** What an fsync of a directory answers where a file system has no such thing; its entries are then as durable as it gets. */
const DIRECTORY_SYNC_UNKNOWN = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

type NodeError = NodeJS.ErrnoException | null | undefined;

/** Every error of `node:fs` that a disk can cause has a code; the port shows no other. */
function toFsError(error: NodeError): FsError | undefined {
  return error === null || error === undefined ? undefined : (error as FsError);
}

class NodeFile implements OpenFile {
  readonly #path: string;
  #fd: number;
  #underWay = 0;
  #closed = false;

  constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  writeSync(data: Uint8Array, position: number): number {
    this.#check('write', position);
    return nodeFs.writeSync(this.#fd, data, 0, data.length, position);
  }

  write(parts: readonly Uint8Array[], position: number, done: Counted): void {
    this.#check('write', position);
    const end = this.#begin(done);
    const first = parts[0];
    if (first === undefined) setImmediate(end, null, 0);
    else if (parts.length === 1) nodeFs.write(this.#fd, first, 0, first.length, position, end);
    else nodeFs.writev(this.#fd, parts, position, end);
  }

  readSync(into: Uint8Array, position: number): number {
    this.#check('read', position);
    let filled = 0;
    while (filled < into.length) {
      try {
        const count = nodeFs.readSync(this.#fd, into, filled, into.length - filled, position + filled);
        if (count === 0) break;
        filled += count;
      } catch (error) {
        if ((error as FsError).code !== 'EINTR') throw error;
      }
    }
    return filled;
  }

  read(into: Uint8Array, position: number, done: Counted): void {
    this.#check('read', position);
    const end = this.#begin(done);
    if (into.length === 0) {
      setImmediate(end, null, 0);
      return;
    }
    let filled = 0;
    const more = (): void => nodeFs.read(this.#fd, into, filled, into.length - filled, position + filled, onRead);
    const onRead = (error: NodeError, count: number): void => {
      if (error?.code === 'EINTR') {
        more();
        return;
      }
      if (error) {
        end(error, 0);
        return;
      }
      filled += count;
      if (count === 0 || filled === into.length) end(null, filled);
      else more();
    };
    more();
  }

  datasync(done: Done): void {
    this.#check('datasync', 0);
    nodeFs.fdatasync(this.#fd, this.#begin(done));
  }

  truncateSync(size: number): void {
    this.#check('truncate', size);
    nodeFs.ftruncateSync(this.#fd, size);
  }

  /** Calls under way finish; the descriptor goes after the last of them. */
  closeSync(): void {
    if (this.#closed) throw new TypeError(`close: ${this.#path} is closed already`);
    this.#closed = true;
    if (this.#underWay === 0) this.#release();
  }

  /** Counts a call on the descriptor until its callback. */
  #begin(done: Counted): (error: NodeError, bytes?: number) => void {
    this.#underWay++;
    return (error, bytes = 0) => {
      if (--this.#underWay === 0 && this.#closed) this.#release();
      done(toFsError(error), error ? 0 : bytes);
    };
  }

  #release(): void {
    const fd = this.#fd;
    this.#fd = -1;
    nodeFs.closeSync(fd);
  }

  #check(op: string, position: number): void {
    if (this.#closed) throw new TypeError(`${op}: ${this.#path} is closed`);
    if (!(Number.isSafeInteger(position) && position >= 0)) throw new TypeError(`${op}: ${this.#path} at ${position}`);
  }
}

export const nodeFileSystem: FileSystem = {
  openSync: (path, mode) => new NodeFile(path, nodeFs.openSync(path, FLAGS[mode], FILE_MODE)),

  open(path, mode, done) {
    nodeFs.open(path, FLAGS[mode], FILE_MODE, (error, fd) =>
      error ? done(toFsError(error), undefined) : done(undefined, new NodeFile(path, fd)),
    );
  },

  mkdirSync: (path) => void nodeFs.mkdirSync(path, { recursive: true }),

  listSync(path) {
    try {
      return nodeFs.readdirSync(path);
    } catch (error) {
      if ((error as FsError).code === 'ENOENT') return [];
      throw error;
    }
  },

  sizeSync(path) {
    const stats = nodeFs.statSync(path, { throwIfNoEntry: false });
    return stats?.isFile() ? stats.size : undefined;
  },

  rename: (from, to, done) => nodeFs.rename(from, to, (error) => done(toFsError(error))),

  unlink(path, done) {
    nodeFs.unlink(path, (error) => done(error?.code === 'ENOENT' ? undefined : toFsError(error)));
  },

  syncDir(path, done) {
    if (IS_WINDOWS) {
      // A directory cannot be opened for flushing; NTFS logs its own metadata. A missing one is still an error.
      nodeFs.stat(path, (error) => done(toFsError(error)));
      return;
    }
    nodeFs.open(path, constants.O_RDONLY | constants.O_DIRECTORY, (openError, fd) => {
      if (openError) {
        done(toFsError(openError));
        return;
      }
      nodeFs.fsync(fd, (syncError) => {
        nodeFs.close(fd, (closeError) => {
          const error = syncError !== null && DIRECTORY_SYNC_UNKNOWN.has(syncError.code ?? '') ? null : syncError;
          done(toFsError(error ?? closeError));
        });
      });
    });
  },

  space(path, done) {
    nodeFs.statfs(path, (error, stats) =>
      error ? done(toFsError(error), 0, 0) : done(undefined, stats.bavail * stats.bsize, stats.blocks * stats.bsize),
    );
  },
};
