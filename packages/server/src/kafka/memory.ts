/**
 * Memory for requests that are being received, over all connections (log.md G17).
 *
 * Below the limit everyone may grow. Above it, buffers that connections keep for their next frame go first; then no frame
 * grows but one: the first to ask becomes the owner of a reserve of one maximum frame, so that frames already begun
 * finish one at a time. The others wait and are woken in turn; who waits for too long is closed (connection.ts).
 */
import type { Connection } from './connection.ts';

/** What reads that were under way when memory ran out may bring, over all connections. */
const OVERSHOOT_BYTES = 32 * 1024 * 1024;

export class RequestMemory {
  usedBytes = 0;
  private readonly limitBytes: number;
  private readonly hardLimitBytes: number;
  private owner: Connection | undefined;
  private readonly waiting = new Set<Connection>();
  /** Connections that hold a buffer and have no frame in it. */
  private readonly spare = new Set<Connection>();
  private wakeScheduled = false;

  constructor(limitBytes: number, frameBytesMax: number) {
    this.limitBytes = limitBytes;
    this.hardLimitBytes = limitBytes + frameBytesMax + OVERSHOOT_BYTES;
  }

  get waitingCount(): number {
    return this.waiting.size;
  }

  /** Somebody waits: what is not needed should be given back. */
  get isTight(): boolean {
    return this.waiting.size > 0 || this.usedBytes > this.limitBytes;
  }

  /** More was received than can be kept: a connection that cannot go on must be closed. */
  get isOverflowing(): boolean {
    return this.usedBytes > this.hardLimitBytes;
  }

  waits(connection: Connection): boolean {
    return this.waiting.has(connection);
  }

  /** Whether `connection` may take `bytes` more now. If not, it is resumed when it may. */
  ask(connection: Connection, bytes: number): boolean {
    if (this.usedBytes + bytes > this.limitBytes) {
      for (const c of this.spare) {
        this.spare.delete(c);
        if (c !== connection) c.releaseSpare();
        if (this.usedBytes + bytes <= this.limitBytes) break;
      }
    }
    if (this.usedBytes + bytes <= this.limitBytes) return true;
    if (this.owner === undefined || this.owner === connection) {
      this.owner = connection;
      return true;
    }
    this.waiting.add(connection);
    return false;
  }

  /** `connection` holds `bytes` more, or fewer. */
  changed(connection: Connection, bytes: number): void {
    this.usedBytes += bytes;
    if (bytes > 0) return;
    if (this.owner === connection) this.owner = undefined;
    if (connection.closed) {
      this.waiting.delete(connection);
      this.spare.delete(connection);
    }
    this.wakeSoon();
  }

  /** The connection holds a buffer that it does not need now, or needs it again. */
  setSpare(connection: Connection, isSpare: boolean): void {
    if (isSpare) this.spare.add(connection);
    else this.spare.delete(connection);
  }

  private wakeSoon(): void {
    if (this.wakeScheduled || this.waiting.size === 0) return;
    this.wakeScheduled = true;
    queueMicrotask(() => {
      this.wakeScheduled = false;
      this.wake();
    });
  }

  /** In turn, as long as there is room; the first that must wait again ends it. */
  private wake(): void {
    for (const next of this.waiting) {
      if (this.owner !== undefined && this.usedBytes >= this.limitBytes) return;
      this.waiting.delete(next);
      next.resume();
      if (this.waiting.has(next)) return;
    }
  }
}
