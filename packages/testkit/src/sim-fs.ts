/** One process's view of the simulated disk: the file-system port, bound to the life of that process. */
import type { Counted, Done, FileSystem, FsError, OpenFile, OpenMode } from '@hadron/log';
import type { SimDisk } from './sim-disk.ts';
import type { DiskOp, Verdict } from './sim-faults.ts';
import type { FileNode } from './sim-nodes.ts';
import type { SimProcess } from './sim-scheduler.ts';

/** Between the two paths of a rename in traces, recordings and fault patterns. */
export const ARROW = ' → ';

/** An asynchronous call under way. */
interface Call {
  op: DiskOp;
  /** Applies it; `part` is the share of a write's bytes that gets through (1: all). */
  effect: ((part: number) => void) | undefined; // undefined: has taken effect
}

/** An error as Node's fs makes them. */
export function fsError(code: string, op: string, path: string): FsError {
  return Object.assign(new Error(`${code}: simulated, ${op} '${path}'`), { code, syscall: op, path });
}

/** What a dead process gets from a call that must answer at once: nobody will hear it. */
function deadError(op: string, path: string): FsError {
  return fsError('EIO', `${op} (the process is dead)`, path);
}

export class SimFileSystem implements FileSystem {
  readonly #disk: SimDisk;
  readonly #process: SimProcess;
  readonly #underWay = new Set<Call>();
  readonly #openFiles = new Set<SimFile>();

  constructor(disk: SimDisk, process: SimProcess) {
    this.#disk = disk;
    this.#process = process;
    process.onKill(() => this.#die());
  }

  openSync(path: string, mode: OpenMode): OpenFile {
    return this.now('open', path, mode === 'create', () => this.#opened(path, mode));
  }

  open(path: string, mode: OpenMode, done: (error: FsError | undefined, file: OpenFile | undefined) => void): void {
    let file: OpenFile | undefined;
    const effect = (): void => {
      file = this.#opened(path, mode);
    };
    this.later('open', path, mode === 'create', effect, (error) => done(error, file));
  }

  mkdirSync(path: string): void {
    this.now('mkdir', path, true, () => this.#disk.mkdir(path));
  }

  listSync(path: string): string[] {
    if (!this.#process.isAlive) throw deadError('list', path);
    return this.#disk.list(path);
  }

  sizeSync(path: string): number | undefined {
    if (!this.#process.isAlive) throw deadError('size', path);
    const node = this.#disk.lookUp(path);
    return node === undefined || node.isDir ? undefined : node.cache.size;
  }

  rename(from: string, to: string, done: Done): void {
    this.later('rename', from + ARROW + to, true, () => this.#disk.rename(from, to), done);
  }

  unlink(path: string, done: Done): void {
    this.later('unlink', path, true, () => this.#disk.unlink(path), done);
  }

  syncDir(path: string, done: Done): void {
    const { mark } = this.#disk;
    this.later('syncDir', path, true, () => this.#disk.syncDir(path, mark), done);
  }

  space(path: string, done: (error: FsError | undefined, freeBytes: number, totalBytes: number) => void): void {
    let free = 0;
    const effect = (): void => {
      free = Math.max(0, this.#disk.capacityBytes - this.#disk.usedBytes);
    };
    this.later('space', path, false, effect, (error) =>
      error === undefined ? done(undefined, free, this.#disk.capacityBytes) : done(error, 0, 0),
    );
  }

  /** A call that ends before it returns. */
  now<T>(op: DiskOp, path: string, changes: boolean, effect: (short: number) => T, a?: number, b?: number): T {
    if (!this.#process.isAlive) throw deadError(op, path);
    const verdict = this.#disk.begin(this.#process, op, path, changes, a, b);
    if (changes && this.#disk.killIsDue) {
      if (this.#disk.decide(0.5)) effect(op === 'write' && this.#disk.decide(0.5) ? this.#disk.decideFloat() : 1);
      this.#disk.killNow(this.#process);
      throw deadError(op, path);
    }
    if (verdict?.code !== undefined) {
      this.#disk.failedSync(op, path, verdict.code);
      throw fsError(verdict.code, op, path);
    }
    return effect(verdict?.part ?? 1);
  }

  /**
   * A call that ends later.
   * @param onFailure what a failure of the device does, for calls where that is not nothing
   */
  later(
    op: DiskOp,
    path: string,
    changes: boolean,
    effect: (part: number) => void,
    done: Done,
    onFailure?: (verdict: Verdict) => void,
    a?: number,
    b?: number,
  ): void {
    if (!this.#process.isAlive) return;
    const disk = this.#disk;
    const process = this.#process;
    const verdict = disk.begin(process, op, path, changes, a, b);
    let failure: FsError | undefined;
    const call: Call = {
      op,
      effect: (part) => {
        call.effect = undefined;
        if (verdict?.code !== undefined) {
          failure = fsError(verdict.code, op, path);
          if (verdict.code !== 'EROFS') onFailure?.(verdict);
          return;
        }
        try {
          effect(Math.min(part, verdict?.part ?? 1));
        } catch (error) {
          if ((error as FsError).code === undefined) throw error;
          failure = error as FsError;
        }
      },
    };
    this.#underWay.add(call);
    if (changes && disk.killIsDue) {
      disk.killNow(process);
      return;
    }
    if (verdict?.hold === undefined && disk.decide(disk.effectAtOnce)) call.effect?.(1);
    disk.later(process, op, verdict, () => {
      call.effect?.(1);
      this.#underWay.delete(call);
      disk.ended(process, op, path, failure?.code);
      done(failure);
    });
  }

  get disk(): SimDisk {
    return this.#disk;
  }

  get isAlive(): boolean {
    return this.#process.isAlive;
  }

  forget(file: SimFile): void {
    this.#openFiles.delete(file);
  }

  #opened(path: string, mode: OpenMode): OpenFile {
    const node = this.#disk.openNode(path, mode);
    node.handles++;
    const file = new SimFile(this, node, path, mode !== 'read');
    this.#openFiles.add(file);
    return file;
  }

  #die(): void {
    for (const call of this.#underWay) {
      if (call.effect === undefined || !this.#disk.decide(0.5)) continue;
      call.effect(call.op === 'write' && this.#disk.decide(0.5) ? this.#disk.decideFloat() : 1);
    }
    this.#underWay.clear();
    for (const file of this.#openFiles) file.release();
  }
}

class SimFile implements OpenFile {
  readonly #fs: SimFileSystem;
  readonly #disk: SimDisk;
  readonly #node: FileNode;
  readonly #path: string;
  readonly #mayWrite: boolean;
  #underWay = 0;
  #closed = false;

  constructor(fs: SimFileSystem, node: FileNode, path: string, mayWrite: boolean) {
    this.#fs = fs;
    this.#disk = fs.disk;
    this.#node = node;
    this.#path = path;
    this.#mayWrite = mayWrite;
  }

  writeSync(data: Uint8Array, position: number): number {
    this.#mustWrite('write', position);
    const effect = (part: number): number => this.#disk.write(this.#node, [data], position, shareOf(data.length, part));
    return this.#fs.now('write', this.#path, true, effect, position, data.length);
  }

  write(sources: readonly Uint8Array[], position: number, done: Counted): void {
    this.#mustWrite('write', position);
    let length = 0;
    for (const part of sources) length += part.length;
    let written = 0;
    const effect = (part: number): void => {
      written = this.#disk.write(this.#node, sources, position, shareOf(length, part));
    };
    this.#later('write', true, effect, (error) => done(error, written), undefined, position, length);
  }

  readSync(into: Uint8Array, position: number): number {
    this.#mustBeOpen('read', position);
    return this.#fs.now('read', this.#path, false, () => this.#copyOut(into, position), position, into.length);
  }

  read(into: Uint8Array, position: number, done: Counted): void {
    this.#mustBeOpen('read', position);
    let count = 0;
    const effect = (): void => {
      count = this.#copyOut(into, position);
    };
    this.#later('read', false, effect, (error) => done(error, count), undefined, position, into.length);
  }

  datasync(done: Done): void {
    this.#mustBeOpen('datasync', 0);
    const { mark } = this.#disk;
    const effect = (): void => this.#disk.datasync(this.#node, mark);
    const onFailure = (verdict: Verdict): void =>
      this.#disk.failDatasync(this.#node, mark, verdict.keep ?? this.#disk.decideFloat());
    this.#later('datasync', true, effect, done, onFailure);
  }

  truncateSync(size: number): void {
    this.#mustWrite('truncate', size);
    this.#fs.now('truncate', this.#path, true, () => this.#disk.truncate(this.#node, size), size);
  }

  /** Calls under way still finish. */
  closeSync(): void {
    if (!this.#fs.isAlive) return;
    if (this.#closed) this.#disk.misuse(`${this.#path} is closed twice`);
    this.#closed = true;
    if (this.#underWay === 0) this.release();
  }

  /** Gives up the node: at the end of the last call after close, or when the process dies. */
  release(): void {
    this.#closed = true;
    this.#fs.forget(this);
    this.#disk.closed(this.#node);
  }

  #later(
    op: DiskOp,
    changes: boolean,
    effect: (part: number) => void,
    done: Done,
    onFailure: ((verdict: Verdict) => void) | undefined,
    a?: number,
    b?: number,
  ): void {
    this.#underWay++;
    const ended: Done = (error) => {
      if (--this.#underWay === 0 && this.#closed) this.release();
      done(error);
    };
    this.#fs.later(op, this.#path, changes, effect, ended, onFailure, a, b);
  }

  #copyOut(into: Uint8Array, position: number): number {
    const { cache } = this.#node;
    const count = Math.max(0, Math.min(into.length, cache.size - position));
    if (count > 0) into.set(cache.bytes.subarray(position, position + count));
    return count;
  }

  #mustBeOpen(op: string, position: number): void {
    if (this.#closed && this.#fs.isAlive) this.#disk.misuse(`${op} on ${this.#path}, which is closed`);
    if (!(position >= 0 && Number.isSafeInteger(position))) {
      this.#disk.misuse(`${op} on ${this.#path} at ${position}`);
    }
  }

  #mustWrite(op: string, position: number): void {
    this.#mustBeOpen(op, position);
    if (!this.#mayWrite) this.#disk.misuse(`${op} on ${this.#path}, which is open for reading`);
    if (this.#node.links === 0 && this.#fs.isAlive) this.#disk.misuse(`${op} on ${this.#path}, which is unlinked`);
  }
}

/** A share of a write; less than all of it when `part` is less than 1. */
function shareOf(length: number, part: number): number {
  return part >= 1 ? length : Math.floor(length * part);
}
