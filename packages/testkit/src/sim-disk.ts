/**
 * A disk in memory that forgets what a real one may forget. It implements the file-system port of packages/log/src/fs.ts.
 *
 * Three layers for each file, and the same three for the entries of each directory:
 *
 *   cache     what every call sees (the page cache). Survives kill -9, not power loss.
 *   pending   changes since the last sync, in order, each with its own copy of the bytes.
 *   durable   what is on the platter. Power loss = durable, plus a part of pending that the seed chooses.
 *
 * Always true:
 * - `datasync` moves exactly the pending writes that were there when it was *called* into `durable`; later ones may or
 *   may not survive. `syncDir` does the same for the entries of one directory. A file's datasync does not make its entry
 *   durable.
 * - A sector (512 bytes) is never mixed: of the writes that touched it, a prefix in order survives. Different sectors,
 *   files and directory entries survive independently of each other. A rename survives as old or as new, never as neither.
 * - A failed datasync marks pages clean: the seed chooses which sectors had reached the platter, the rest is in the cache
 *   only, and no later sync will write it again unless it is written again.
 * - An asynchronous call takes effect at one moment between the call and its end, and reads the caller's buffers only
 *   then: a buffer that is re-used too early shows as damage.
 * - kill -9 leaves each call under way done, not done or (a write) partly done.
 * - A file whose directory entry did not survive is gone with its bytes.
 *
 * Misuse (closed file, unlinked file, negative position, write through a read handle, double close) throws a TypeError
 * *and* fails the run, so that code which catches everything cannot hide it.
 */
import { assert } from '@hadron/base';
import type { FileSystem, OpenMode } from '@hadron/log';
import { type DiskOp, Faults, type Verdict } from './sim-faults.ts';
import { ARROW, fsError, SimFileSystem } from './sim-fs.ts';
import {
  apply,
  DirNode,
  FileNode,
  firstSector,
  lastSector,
  NO_BYTES,
  type Node,
  type Pending,
  SECTOR_BYTES,
  tornLength,
} from './sim-nodes.ts';
import type { SimRandom } from './sim-random.ts';
import type { SimProcess, SimScheduler } from './sim-scheduler.ts';

const ARENA_BYTES = 64 * 1024;

/** Virtual time that a call takes, in ms, chosen evenly between the two. */
export type Latency = readonly [fromMs: number, toMs: number];

export interface DiskOptions {
  /** Default 1 GiB. */
  capacityBytes?: number;
  /** Space is given out in blocks of this size. Default 4096. */
  blockBytes?: number;
  latencyMs?: Partial<Record<DiskOp, Latency>>;
  /** How often an asynchronous call takes effect at once and only its end comes later. Default 0.3. */
  effectAtOnce?: number;
  /** `listSync` gives names in an order of the seed's choice, as real directories do. Default true. */
  shuffleListings?: boolean;
}

const LATENCY_MS: Record<DiskOp, Latency> = {
  open: [0.03, 0.2],
  read: [0.03, 0.25],
  write: [0.03, 0.25],
  datasync: [0.2, 3],
  truncate: [0, 0],
  rename: [0.05, 0.4],
  unlink: [0.05, 0.4],
  syncDir: [0.1, 2],
  space: [0.03, 0.2],
  mkdir: [0, 0],
};

/**
 * What of the pending changes survives power loss.
 * `nothing`; `everything`; `prefix`: all changes of all files up to one moment, the last one torn; `mixed`: sectors, files
 * and entries independently. Default: the seed chooses, `mixed` half the time.
 */
export type PowerLossKeep = 'nothing' | 'everything' | 'prefix' | 'mixed';

export interface FileInfo {
  path: string;
  size: number;
  durableSize: number;
  /** Bytes of writes that no sync has covered. */
  pendingBytes: number;
  /** Whether the entry survives power loss for certain (all directories above included). */
  entryDurable: boolean;
}

/** Content of a disk: path → bytes; a directory has `undefined`. Plain data, to be compared or loaded again. */
export type DiskImage = ReadonlyMap<string, Uint8Array | undefined>;

/** One change of directory entries. `node` undefined: the name goes. A rename within a directory is one of these. */
interface EntryChange {
  seq: number;
  dir: DirNode;
  name: string;
  node: Node | undefined;
  /** The name the entry had before, in the same directory. */
  renamedFrom: string | undefined;
  /** A rename across directories is two changes; the old name goes only once the new one is there. */
  after: EntryChange | undefined;
}

export class SimDisk {
  readonly faults: Faults;
  readonly #scheduler: SimScheduler;
  readonly #random: SimRandom;
  readonly #latency: Record<DiskOp, Latency>;
  readonly #processes = new Set<SimProcess>();
  readonly #blockBytes: number;
  readonly #effectAtOnce: number;
  readonly #shuffleListings: boolean;
  #root: DirNode;
  #entryChanges: EntryChange[] = [];
  #seq = 0;
  #ids = 0;
  #usedBlocks = 0;
  #arena = NO_BYTES;
  #arenaUsed = 0;
  #recording: { lines: string[]; strip: string; ends: boolean; reads: boolean } | undefined;

  /** May be changed at any time. */
  capacityBytes: number;
  /** EROFS for everything that would change something. */
  readOnly = false;
  /** Calls that change something, counted over the whole run. See {@link killAtChange}. */
  changeCount = 0;
  #killAtChange = Number.POSITIVE_INFINITY;

  constructor(scheduler: SimScheduler, random: SimRandom, options: DiskOptions = {}) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#latency = { ...LATENCY_MS, ...options.latencyMs };
    this.#blockBytes = options.blockBytes ?? 4096;
    this.#effectAtOnce = options.effectAtOnce ?? 0.3;
    this.#shuffleListings = options.shuffleListings ?? true;
    this.capacityBytes = options.capacityBytes ?? 2 ** 30;
    this.faults = new Faults(random.fork('faults'));
    this.#root = new DirNode();
  }

  /** The disk as one process sees it. When the process dies, its files are closed and its calls under way decided. */
  attach(process: SimProcess): FileSystem {
    this.#processes.add(process);
    process.onKill(() => this.#processes.delete(process));
    return new SimFileSystem(this, process);
  }

  /** The process that makes the `n`th change from now (1: the next) dies there, before or after it takes effect. */
  killAtChange(n: number): void {
    this.#killAtChange = this.changeCount + n;
  }

  /**
   * Power fails: the cache is gone. Kill every attached process first.
   * Two in a row lose nothing more: what survived the first is durable.
   */
  powerLoss(keep?: PowerLossKeep): PowerLossKeep {
    for (const process of this.#processes) throw new TypeError(`powerLoss: kill ${process.name} first`);
    const random = this.#random;
    const mode = keep ?? random.pick(['mixed', 'mixed', 'mixed', 'prefix', 'prefix', 'nothing', 'everything'] as const);
    const cutSeq =
      mode === 'prefix' ? random.int(this.#seq - this.#oldestPending() + 2) + this.#oldestPending() - 1 : 0;
    this.#scheduler.note('disk', 'power loss', mode);
    this.#loseEntries(mode, cutSeq);
    this.#entryChanges = [];
    this.#usedBlocks = 0;
    const seen = new Set<FileNode>();
    this.#restoreTree(this.#root, mode, cutSeq, seen);
    return mode;
  }

  // ---- looking at the disk and changing it from outside ----

  /** Files in order of their paths. */
  files(): FileInfo[] {
    const out: FileInfo[] = [];
    this.#walk(this.#root, '', true, (path, node, entryDurable) => {
      if (node.isDir) return;
      const pendingBytes = node.pending.reduce((sum, p) => sum + p.length, 0);
      out.push({ path, size: node.cache.size, durableSize: node.durable.size, pendingBytes, entryDurable });
    });
    return out;
  }

  /** A copy of all files and directories as processes see them now. */
  snapshot(): DiskImage {
    const image = new Map<string, Uint8Array | undefined>();
    this.#walk(this.#root, '', true, (path, node) => {
      image.set(path, node.isDir ? undefined : node.cache.bytes.slice(0, node.cache.size));
    });
    return image;
  }

  /** What is left if power fails now and nothing unsynced survives. */
  durableSnapshot(): DiskImage {
    const image = new Map<string, Uint8Array | undefined>();
    const walk = (dir: DirNode, prefix: string): void => {
      for (const name of [...dir.durable.keys()].sort()) {
        const node = dir.durable.get(name) as Node;
        image.set(prefix + name, node.isDir ? undefined : node.durable.bytes.slice(0, node.durable.size));
        if (node.isDir) walk(node, `${prefix}${name}/`);
      }
    };
    walk(this.#root, '');
    return image;
  }

  /** Replaces the whole content; everything in it is durable. No process may be attached and alive. */
  load(image: DiskImage): void {
    for (const process of this.#processes) throw new TypeError(`load: kill ${process.name} first`);
    this.#root = new DirNode();
    this.#entryChanges = [];
    this.#usedBlocks = 0;
    for (const [path, bytes] of image) {
      if (bytes === undefined) this.#putDir(path);
      else this.put(path, bytes);
    }
  }

  /** Makes a file with its directories, or replaces its content; durable. */
  put(path: string, bytes: Uint8Array): void {
    const { dirs, name } = split(path);
    const dir = this.#putDir(dirs.join('/'));
    const there = dir.children.get(name);
    if (there?.isDir) throw new TypeError(`put: ${path} is a directory`);
    const node = there ?? new FileNode(this.#ids++);
    node.links = 1;
    node.pending = [];
    node.diverged = false;
    this.#freeBlocks(node);
    node.cache.resize(0);
    node.cache.write(bytes, 0);
    node.durable.become(node.cache);
    this.#allocate(node, 0, bytes.length, Number.POSITIVE_INFINITY);
    dir.children.set(name, node);
    dir.durable.set(name, node);
    this.#entryChanges = this.#entryChanges.filter((change) => change.dir !== dir || change.name !== name);
  }

  /** Removes a file, durably. */
  remove(path: string): void {
    const { dir, name } = this.#locate(path);
    const node = dir?.children.get(name);
    if (dir === undefined || node === undefined) throw new TypeError(`remove: no ${path}`);
    dir.children.delete(name);
    dir.durable.delete(name);
    this.#entryChanges = this.#entryChanges.filter((change) => change.dir !== dir || change.name !== name);
    if (!node.isDir) this.#unlinked(node);
  }

  /** The content of a file as processes see it; a copy. */
  content(path: string): Uint8Array {
    const { cache } = this.#file(path);
    return cache.bytes.slice(0, cache.size);
  }

  /** Flips the bits of `mask` in one byte, in the cache and on the platter: a flipped bit of the medium. */
  corrupt(path: string, position: number, mask: number): void {
    const node = this.#file(path);
    if (!(position >= 0 && position < node.cache.size) || (mask & 0xff) === 0) {
      throw new TypeError(`corrupt: ${path} ${position} & ${mask} flips nothing`);
    }
    const flip = (bytes: Uint8Array, at: number): void => {
      bytes[at] = (bytes[at] as number) ^ mask;
    };
    flip(node.cache.bytes, position);
    if (position < node.durable.size) flip(node.durable.bytes, position);
    for (const p of node.pending) {
      if (!p.cut && position >= p.position && position < p.position + p.length) flip(p.bytes, position - p.position);
    }
    this.#scheduler.note('disk', 'corrupts', path, position, mask);
  }

  /** Readable state: one line per file. */
  dump(): string {
    return this.files()
      .map((f) => {
        const entry = f.entryDurable ? '' : ', entry not synced';
        return `${f.path}: ${f.size} bytes, ${f.durableSize} durable, ${f.pendingBytes} pending${entry}`;
      })
      .join('\n');
  }

  // ---- the recorder ----

  /**
   * From here on every call that changes something is kept as a line: `write commit/0.clog 4096+272`, `datasync …`.
   * @param options.strip a path prefix left out of the lines
   * @param options.ends also a line when an asynchronous call has ended: `· datasync commit/0.clog`, with `!EIO` on failure
   * @param options.reads also reads, opens and listings
   */
  startRecording(options: { strip?: string; ends?: boolean; reads?: boolean } = {}): void {
    const { strip = '', ends = false, reads = false } = options;
    this.#recording = { lines: [], strip, ends, reads };
  }

  /** The lines since {@link startRecording} or the last call of this; recording goes on. */
  takeRecording(): string[] {
    if (this.#recording === undefined) throw new TypeError('takeRecording: not recording');
    return this.#recording.lines.splice(0);
  }

  // ---- the calls, on behalf of SimFileSystem and SimFile ----

  /** @internal */
  get usedBytes(): number {
    return this.#usedBlocks * this.#blockBytes;
  }

  /** @internal Notes a call, decides its fate, and counts it when it changes something. */
  begin(process: SimProcess, op: DiskOp, path: string, changes: boolean, a?: number, b?: number): Verdict | undefined {
    this.#scheduler.trace.add(this.#scheduler.nowMs, process.name, op, path, a, b);
    if (this.#recording !== undefined && (changes || this.#recording.reads))
      this.#record(op === 'open' && changes ? 'create' : op, path, a, b);
    if (changes) {
      this.changeCount++;
      if (this.readOnly) return { code: 'EROFS' };
    }
    if (this.faults.isQuiet) return undefined;
    const verdict = this.faults.judge(op, path, b ?? 0);
    if (verdict !== undefined)
      this.#scheduler.note('disk', `injects ${describeVerdict(verdict)} into`, `${op} ${path}`);
    return verdict;
  }

  /** @internal Whether the process must die at the change just begun. */
  get killIsDue(): boolean {
    return this.changeCount >= this.#killAtChange;
  }

  /** @internal */
  killNow(process: SimProcess): void {
    this.#killAtChange = Number.POSITIVE_INFINITY;
    process.kill();
  }

  /** @internal */
  decide(p: number): boolean {
    return this.#random.chance(p);
  }

  /** @internal */
  decideFloat(): number {
    return this.#random.float();
  }

  /** @internal */
  get effectAtOnce(): number {
    return this.#effectAtOnce;
  }

  /** @internal */
  later(process: SimProcess, op: DiskOp, verdict: Verdict | undefined, end: () => void): void {
    const [from, to] = this.#latency[op];
    const delayMs = from + this.#random.float() * (to - from) + (verdict?.delayMs ?? 0);
    if (verdict?.hold !== undefined) verdict.hold.park(() => void this.#scheduler.schedule(process, 0, end));
    else this.#scheduler.schedule(process, delayMs, end);
  }

  /** @internal */
  ended(process: SimProcess, op: DiskOp, path: string, code: string | undefined): void {
    this.#scheduler.trace.add(
      this.#scheduler.nowMs,
      process.name,
      code === undefined ? 'end of' : code,
      `${op} ${path}`,
    );
    if (this.#recording?.ends && (changesSomething(op) || this.#recording.reads)) {
      this.#recording.lines.push(`· ${op} ${this.#shown(path)}${code === undefined ? '' : ` !${code}`}`);
    }
  }

  /** @internal */
  failedSync(op: DiskOp, path: string, code: string): void {
    if (this.#recording !== undefined) this.#recording.lines.push(`· ${op} ${this.#shown(path)} !${code}`);
  }

  /** @internal Throws and makes the run fail. */
  misuse(message: string): never {
    const error = new TypeError(`misuse of the file system: ${message}`);
    this.#scheduler.fail(error);
    throw error;
  }

  /** @internal */
  lookUp(path: string): Node | undefined {
    const { dir, name } = this.#locate(path);
    return name === '' ? this.#root : dir?.children.get(name);
  }

  /** @internal The file node to open; made when `mode` is `create`. Throws FsError. */
  openNode(path: string, mode: OpenMode): FileNode {
    const { dir, name } = this.#locate(path);
    if (dir === undefined) throw fsError('ENOENT', 'open', path);
    const there = dir.children.get(name);
    if (there?.isDir || name === '') throw fsError('EISDIR', 'open', path);
    if (there !== undefined) return there;
    if (mode !== 'create') throw fsError('ENOENT', 'open', path);
    if (this.#freeBlockCount() < 1) throw fsError('ENOSPC', 'open', path);
    const node = new FileNode(this.#ids++);
    node.links = 1;
    dir.children.set(name, node);
    this.#changed(dir, name, node);
    return node;
  }

  /** @internal */
  mkdir(path: string): void {
    let dir = this.#root;
    for (const name of parts(path)) {
      let next = dir.children.get(name);
      if (next === undefined) {
        next = new DirNode();
        dir.children.set(name, next);
        this.#changed(dir, name, next);
      }
      if (!next.isDir) throw fsError('EEXIST', 'mkdir', path);
      dir = next;
    }
  }

  /** @internal */
  list(path: string): string[] {
    const node = this.lookUp(path);
    if (node === undefined) return [];
    if (!node.isDir) throw fsError('ENOTDIR', 'scandir', path);
    const names = [...node.children.keys()].sort();
    return this.#shuffleListings ? this.#random.shuffle(names) : names;
  }

  /** @internal */
  rename(from: string, to: string): void {
    const a = this.#locate(from);
    const b = this.#locate(to);
    const node = a.dir?.children.get(a.name);
    if (a.dir === undefined || b.dir === undefined || node === undefined) throw fsError('ENOENT', 'rename', from);
    const replaced = b.dir.children.get(b.name);
    if (replaced === node) return;
    if (replaced?.isDir) throw fsError(node.isDir ? 'ENOTEMPTY' : 'EISDIR', 'rename', to);
    if (node.isDir && replaced !== undefined) throw fsError('ENOTDIR', 'rename', to);
    a.dir.children.delete(a.name);
    b.dir.children.set(b.name, node);
    if (a.dir === b.dir) {
      this.#changed(a.dir, b.name, node, a.name);
    } else {
      const link = this.#changed(b.dir, b.name, node);
      this.#changed(a.dir, a.name, undefined, undefined, link);
    }
    if (replaced !== undefined) this.#unlinked(replaced);
  }

  /** @internal */
  unlink(path: string): void {
    const { dir, name } = this.#locate(path);
    const node = dir?.children.get(name);
    if (dir === undefined || node === undefined) return;
    if (node.isDir) throw fsError('EPERM', 'unlink', path);
    dir.children.delete(name);
    this.#changed(dir, name, undefined);
    this.#unlinked(node);
  }

  /** @internal The newest change there is: a sync that begins now covers up to here. */
  get mark(): number {
    return this.#seq;
  }

  /** @internal */
  syncDir(path: string, mark: number): void {
    const dir = this.lookUp(path);
    if (dir === undefined) throw fsError('ENOENT', 'open', path);
    if (!dir.isDir) throw fsError('ENOTDIR', 'open', path);
    this.#applyEntries(dir, mark);
  }

  /** @internal Writes as much as there is room for; returns that. Throws ENOSPC when nothing fits. */
  write(node: FileNode, sources: readonly Uint8Array[], position: number, bytesMax: number): number {
    let asked = 0;
    for (const part of sources) asked += part.length;
    asked = Math.min(asked, bytesMax);
    if (asked === 0) return 0;
    const fits = this.#allocate(node, position, asked, this.#freeBlockCount());
    if (fits === 0) throw fsError('ENOSPC', 'write', `#${node.id}`);
    const bytes = this.#copy(sources, fits);
    node.cache.write(bytes, position);
    node.pending.push({ seq: ++this.#seq, position, length: fits, bytes, cut: false });
    return fits;
  }

  /** @internal */
  truncate(node: FileNode, size: number): void {
    if (size === node.cache.size) return;
    const firstFree = Math.ceil(size / this.#blockBytes);
    for (let i = firstFree; i < node.blocks.length; i++) {
      if (node.blocks[i] === 1) {
        node.blocks[i] = 0;
        node.blockCount--;
        this.#usedBlocks--;
      }
    }
    node.cache.resize(size);
    node.pending.push({ seq: ++this.#seq, position: size, length: 0, bytes: NO_BYTES, cut: true });
  }

  /** @internal What was written up to `mark` becomes durable. */
  datasync(node: FileNode, mark: number): void {
    const { pending } = node;
    let done = 0;
    for (; done < pending.length; done++) {
      const p = pending[done] as Pending;
      if (p.seq > mark) break;
      apply(p, node.durable);
    }
    if (done === pending.length) pending.length = 0;
    else if (done > 0) pending.splice(0, done);
  }

  /** @internal The kernel reports an error and marks the pages clean. `keep`: how likely a sector had been written. */
  failDatasync(node: FileNode, mark: number, keep: number): void {
    const covered = node.pending.filter((p) => p.seq <= mark);
    if (covered.length === 0) return;
    node.pending = node.pending.filter((p) => p.seq > mark);
    node.diverged = true;
    const sizeBefore = node.durable.size;
    this.#applySome(node, covered, keep, false);
    if (keep === 0) assert(node.durable.size === sizeBefore, 'a sync that kept nothing leaves the size');
  }

  /** @internal */
  closed(node: FileNode): void {
    node.handles--;
    if (node.handles === 0 && node.links === 0) this.#freeBlocks(node);
  }

  // ---- inside ----

  #record(op: string, path: string, a: number | undefined, b: number | undefined): void {
    const about = a === undefined ? '' : b === undefined ? ` ${a}` : ` ${a}+${b}`;
    this.#recording?.lines.push(`${op} ${this.#shown(path)}${about}`);
  }

  #shown(path: string): string {
    const strip = this.#recording?.strip ?? '';
    if (strip === '') return path;
    return path
      .split(ARROW)
      .map((p) => (p.startsWith(strip) ? p.slice(strip.length).replace(/^\/+/, '') || '.' : p))
      .join(ARROW);
  }

  #changed(dir: DirNode, name: string, node: Node | undefined, renamedFrom?: string, after?: EntryChange): EntryChange {
    const change: EntryChange = { seq: ++this.#seq, dir, name, node, renamedFrom, after };
    this.#entryChanges.push(change);
    return change;
  }

  #applyEntries(dir: DirNode, mark: number): void {
    const mine = this.#entryChanges.filter((change) => change.dir === dir && change.seq <= mark);
    this.#entryChanges = this.#entryChanges.filter((change) => change.dir !== dir || change.seq > mark);
    for (const change of mine) {
      if (change.after !== undefined && this.#entryChanges.includes(change.after)) {
        this.#applyEntries(change.after.dir, change.after.seq); // the new name first: never neither
      }
      applyEntry(change);
    }
  }

  /** Power loss for directory entries: for each name a prefix of its changes survives. */
  #loseEntries(mode: PowerLossKeep, cutSeq: number): void {
    const random = this.#random;
    const p = random.pick([0.15, 0.5, 0.85]);
    const stopped = new Map<DirNode, Set<string>>();
    const lost = new Set<EntryChange>();
    for (const change of this.#entryChanges) {
      let names = stopped.get(change.dir);
      if (names === undefined) stopped.set(change.dir, (names = new Set()));
      const from = change.renamedFrom;
      const survives =
        !names.has(change.name) &&
        (from === undefined || !names.has(from)) &&
        (change.after === undefined || !lost.has(change.after)) &&
        (mode === 'everything' || (mode === 'prefix' ? change.seq <= cutSeq : mode === 'mixed' && random.chance(p)));
      if (survives) {
        applyEntry(change);
      } else {
        lost.add(change);
        names.add(change.name);
        if (from !== undefined) names.add(from);
      }
    }
  }

  /** Makes the cache of everything below `dir` what survived. */
  #restoreTree(dir: DirNode, mode: PowerLossKeep, cutSeq: number, seen: Set<FileNode>): void {
    dir.children.clear();
    for (const [name, node] of dir.durable) {
      dir.children.set(name, node);
      if (node.isDir) {
        this.#restoreTree(node, mode, cutSeq, seen);
      } else if (seen.has(node)) {
        node.links++;
      } else {
        seen.add(node);
        node.links = 1;
        node.handles = 0;
        this.#restoreFile(node, mode, cutSeq);
        node.blocks.fill(0);
        node.blockCount = 0;
        this.#allocate(node, 0, node.cache.size, Number.POSITIVE_INFINITY);
      }
    }
  }

  #restoreFile(node: FileNode, mode: PowerLossKeep, cutSeq: number): void {
    const { pending } = node;
    if (pending.length === 0 && !node.diverged) return; // cache and platter are the same
    if (mode === 'everything') {
      for (const p of pending) apply(p, node.durable);
    } else if (mode === 'prefix') {
      for (const p of pending) {
        if (p.seq > cutSeq) break;
        if (p.seq === cutSeq && !p.cut) {
          const torn = tornLength(p, this.#random);
          if (torn > 0) node.durable.write(p.bytes.subarray(0, torn), p.position);
        } else {
          apply(p, node.durable);
        }
      }
    } else if (mode === 'mixed') {
      this.#applySome(node, pending, this.#random.pick([0.1, 0.5, 0.9, 1]), true);
    }
    node.pending = [];
    node.diverged = false;
    node.cache.become(node.durable);
  }

  /**
   * Applies a part of `changes` to the durable content: of the writes that touched one sector, a prefix; of the
   * truncations, a prefix. With `looseSize` the size is settled apart from the bytes, as file systems do: a lost sector
   * inside it reads as zeros, a surviving one beyond it is gone.
   */
  #applySome(node: FileNode, changes: readonly Pending[], likely: number, looseSize: boolean): void {
    const random = this.#random;
    const touched = new Map<number, number>();
    let cuts = 0;
    for (const p of changes) {
      if (p.cut) cuts++;
      for (let s = firstSector(p); s <= lastSector(p); s++) touched.set(s, (touched.get(s) ?? 0) + 1);
    }
    for (const [sector, count] of touched) {
      touched.set(sector, random.chance(likely) ? count : likely > 0 ? random.int(count) : 0);
    }
    let cutsLeft = random.chance(likely) ? cuts : likely > 0 ? random.int(cuts) : 0;
    const sizeBefore = node.durable.size;
    for (const p of changes) {
      if (p.cut) {
        if (cutsLeft-- > 0) node.durable.resize(p.position);
        continue;
      }
      for (let s = firstSector(p); s <= lastSector(p); s++) {
        const left = touched.get(s) as number;
        if (left === 0) continue;
        touched.set(s, left - 1);
        const from = Math.max(p.position, s * SECTOR_BYTES);
        const to = Math.min(p.position + p.length, (s + 1) * SECTOR_BYTES);
        node.durable.write(p.bytes.subarray(from - p.position, to - p.position), from);
      }
    }
    if (!looseSize || cuts > 0) return;
    const reached = node.durable.size;
    const promised = Math.max(reached, node.cache.size);
    const choice = random.float();
    if (choice < 0.3)
      node.durable.resize(promised); // the size made it, bytes did not: a tail of zeros
    else if (choice < 0.45)
      node.durable.resize(sizeBefore); // bytes made it, the size did not
    else if (choice < 0.6) node.durable.resize(random.between(sizeBefore, promised));
  }

  #oldestPending(): number {
    let oldest = this.#entryChanges[0]?.seq ?? this.#seq + 1;
    const visit = (dir: DirNode): void => {
      for (const node of dir.children.values()) {
        if (node.isDir) visit(node);
        else if (node.pending.length > 0) oldest = Math.min(oldest, (node.pending[0] as Pending).seq);
      }
    };
    visit(this.#root);
    return oldest;
  }

  #freeBlockCount(): number {
    return Math.max(0, Math.floor(this.capacityBytes / this.#blockBytes) - this.#usedBlocks);
  }

  /** Gives blocks to `[position, position + length)`; returns the bytes from `position` on that have one. */
  #allocate(node: FileNode, position: number, length: number, freeBlocks: number): number {
    const first = Math.floor(position / this.#blockBytes);
    const last = Math.floor((position + length - 1) / this.#blockBytes);
    if (length === 0) return 0;
    if (last >= node.blocks.length) {
      const grown = new Uint8Array(Math.max(16, 2 * node.blocks.length, last + 1));
      grown.set(node.blocks);
      node.blocks = grown;
    }
    let free = freeBlocks;
    for (let i = first; i <= last; i++) {
      if (node.blocks[i] === 1) continue;
      if (free-- <= 0) return Math.max(0, i * this.#blockBytes - position);
      node.blocks[i] = 1;
      node.blockCount++;
      this.#usedBlocks++;
    }
    return length;
  }

  #unlinked(node: FileNode): void {
    node.links--;
    if (node.links === 0 && node.handles === 0) this.#freeBlocks(node);
  }

  #freeBlocks(node: FileNode): void {
    this.#usedBlocks -= node.blockCount;
    node.blockCount = 0;
    node.blocks.fill(0);
  }

  /** One contiguous copy of the first `length` bytes, in an arena: an allocation per 64 KB, not per write. */
  #copy(sources: readonly Uint8Array[], length: number): Uint8Array {
    if (this.#arenaUsed + length > this.#arena.length) {
      this.#arena = new Uint8Array(Math.max(ARENA_BYTES, length));
      this.#arenaUsed = 0;
    }
    const from = this.#arenaUsed;
    this.#arenaUsed += length;
    let at = from;
    for (const part of sources) {
      const left = this.#arenaUsed - at;
      if (left === 0) break;
      this.#arena.set(part.length <= left ? part : part.subarray(0, left), at);
      at += Math.min(part.length, left);
    }
    return this.#arena.subarray(from, from + length);
  }

  #putDir(path: string): DirNode {
    let dir = this.#root;
    for (const name of parts(path)) {
      const next = dir.children.get(name) ?? new DirNode();
      if (!next.isDir) throw new TypeError(`put: ${path} runs through a file`);
      dir.children.set(name, next);
      dir.durable.set(name, next);
      dir = next;
    }
    return dir;
  }

  #locate(path: string): { dir: DirNode | undefined; name: string } {
    const { dirs, name } = split(path);
    let dir = this.#root;
    for (const part of dirs) {
      const next = dir.children.get(part);
      if (!next?.isDir) return { dir: undefined, name };
      dir = next;
    }
    return { dir, name };
  }

  #file(path: string): FileNode {
    const node = this.lookUp(path);
    if (node === undefined || node.isDir) throw new TypeError(`no file ${path}`);
    return node;
  }

  #walk(
    dir: DirNode,
    prefix: string,
    durable: boolean,
    visit: (path: string, node: Node, durable: boolean) => void,
  ): void {
    for (const name of [...dir.children.keys()].sort()) {
      const node = dir.children.get(name) as Node;
      const entryDurable = durable && dir.durable.get(name) === node;
      visit(prefix + name, node, entryDurable);
      if (node.isDir) this.#walk(node, `${prefix}${name}/`, entryDurable, visit);
    }
  }
}

function describeVerdict({ code, part, delayMs }: Verdict): string {
  if (code !== undefined) return code;
  if (part !== undefined) return `short (${part.toFixed(2)})`;
  return delayMs === undefined ? 'hold' : `${delayMs} ms`;
}

function changesSomething(op: DiskOp): boolean {
  return op !== 'read' && op !== 'open' && op !== 'space';
}

function applyEntry(change: EntryChange): void {
  if (change.renamedFrom !== undefined) change.dir.durable.delete(change.renamedFrom);
  if (change.node === undefined) change.dir.durable.delete(change.name);
  else change.dir.durable.set(change.name, change.node);
}

function parts(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) throw new TypeError(`the simulated disk does not know "..": ${path}`);
  return names;
}

function split(path: string): { dirs: string[]; name: string } {
  const dirs = parts(path);
  const name = dirs.pop() ?? '';
  return { dirs, name };
}
