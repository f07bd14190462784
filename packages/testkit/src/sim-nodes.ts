/** What the simulated disk is made of: files and directories, each with what calls see and what is on the platter. */
import type { SimRandom } from './sim-random.ts';

/** Written as one, or not at all. */
export const SECTOR_BYTES = 512;

const FILE_BYTES_FIRST = 4 * 1024;
export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** One change of a file's content. A truncation has `cut` and no bytes. */
export interface Pending {
  seq: number;
  position: number;
  length: number;
  bytes: Uint8Array;
  cut: boolean;
}

/** Bytes that grow; zero beyond `size`, always. */
export class Content {
  bytes: Uint8Array = NO_BYTES;
  size = 0;

  write(from: Uint8Array, position: number): void {
    const end = position + from.length;
    if (end > this.bytes.length) this.#grow(end);
    this.bytes.set(from, position);
    if (end > this.size) this.size = end;
  }

  resize(size: number): void {
    if (size < this.size) this.bytes.fill(0, size, this.size);
    if (size > this.bytes.length) this.#grow(size);
    this.size = size;
  }

  become(other: Content): void {
    if (other.size > this.bytes.length) this.#grow(other.size);
    this.bytes.set(other.bytes.subarray(0, other.size));
    if (other.size < this.size) this.bytes.fill(0, other.size, this.size);
    this.size = other.size;
  }

  #grow(atLeast: number): void {
    const grown = new Uint8Array(Math.max(FILE_BYTES_FIRST, atLeast, 2 * this.bytes.length));
    grown.set(this.bytes.subarray(0, this.size));
    this.bytes = grown;
  }
}

export class FileNode {
  readonly isDir = false;
  readonly id: number;
  readonly cache = new Content();
  readonly durable = new Content();
  pending: Pending[] = [];
  /** The cache holds bytes that are neither durable nor pending: a datasync failed. */
  diverged = false;
  links = 0;
  handles = 0;
  /** One byte per block: 1 when allocated. */
  blocks: Uint8Array = NO_BYTES;
  blockCount = 0;

  constructor(id: number) {
    this.id = id;
  }
}

export class DirNode {
  readonly isDir = true;
  readonly children = new Map<string, Node>();
  readonly durable = new Map<string, Node>();
}

export type Node = FileNode | DirNode;

export function apply(p: Pending, to: Content): void {
  if (p.cut) to.resize(p.position);
  else to.write(p.bytes, p.position);
}

export function firstSector(p: Pending): number {
  return Math.floor(p.position / SECTOR_BYTES);
}

/** Of a truncation: before its first, so that loops over its sectors do nothing. */
export function lastSector(p: Pending): number {
  return p.cut ? -1 : Math.floor((p.position + p.length - 1) / SECTOR_BYTES);
}

/** How much of a write survives that was torn at a sector boundary. */
export function tornLength(p: Pending, random: SimRandom): number {
  const sector = random.between(firstSector(p), lastSector(p) + 1);
  return Math.min(p.length, Math.max(0, sector * SECTOR_BYTES - p.position));
}
