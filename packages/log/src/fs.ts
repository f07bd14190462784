/**
 * The file-system port: everything the engine asks of a disk, and nothing else.
 *
 * Two adapters: `node-fs.ts` (the real one) and the simulated disk of `@hadron/testkit`. Calls whose names end in
 * `Sync` finish before they return and are used where a thread-pool hop (~75 µs) would cost more than the call, and at
 * start. The others call back later, never before they return, with `undefined` or the error.
 *
 * What survives power loss, by this contract: the content of a file up to its last successful `datasync`; a directory
 * entry (create, rename, unlink) after the next successful `syncDir` of its directory. Nothing else, in no order.
 *
 * Errors are Node's: an `Error` with a `code` such as ENOSPC, EIO, EROFS, ENOENT, EMFILE.
 */

export interface FsError extends Error {
  code: string;
}

export type Done = (error: FsError | undefined) => void;
export type Counted = (error: FsError | undefined, bytes: number) => void;

/** `read`: must exist. `write`: read and write, must exist. `create`: read and write, made when missing, never cut. */
export type OpenMode = 'read' | 'write' | 'create';

export interface OpenFile {
  /** Writes at `position`; returns the bytes written, possibly fewer than asked (then the rest failed or did not fit). Throws FsError. */
  writeSync(data: Uint8Array, position: number): number;
  /** Gathers `parts` and writes them at `position` on the thread pool. May be short, as above. */
  write(parts: readonly Uint8Array[], position: number, done: Counted): void;
  /** Fills `into` from `position`; returns the bytes read, fewer at the end of the file. Throws FsError. */
  readSync(into: Uint8Array, position: number): number;
  read(into: Uint8Array, position: number, done: Counted): void;
  /** Resolves when every byte written before this call is on stable storage. After a failure the file's state is unknown. */
  datasync(done: Done): void;
  /** Cuts or extends the file. */
  truncateSync(size: number): void;
  closeSync(): void;
}

export interface FileSystem {
  openSync(path: string, mode: OpenMode): OpenFile;
  open(path: string, mode: OpenMode, done: (error: FsError | undefined, file: OpenFile | undefined) => void): void;
  /** Makes the directory and its missing parents. Its entry is durable after `syncDir` of the parent. */
  mkdirSync(path: string): void;
  /** Names in a directory; empty when it does not exist. */
  listSync(path: string): string[];
  /** Size in bytes, or undefined when there is no such file. */
  sizeSync(path: string): number | undefined;
  /** Atomic replacement of `to`. */
  rename(from: string, to: string, done: Done): void;
  /** Removing what is not there is no error. */
  unlink(path: string, done: Done): void;
  syncDir(path: string, done: Done): void;
  /** Free and total bytes of the disk that holds `path`. */
  space(path: string, done: (error: FsError | undefined, freeBytes: number, totalBytes: number) => void): void;
}
