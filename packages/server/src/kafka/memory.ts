/**
 * Memory for requests that are being received, over all connections (log.md G17).
 *
 * Below the limit everyone may grow. Above it no frame grows but one: the first to ask becomes the owner of a reserve of
 * one maximum frame, so that frames already begun finish one at a time. The others wait and are woken in turn.
 */
import type { Connection } from './connection.ts';

export class RequestMemory {
  usedBytes = 0;
  private readonly limitBytes: number;
  private owner: Connection | undefined;
  private readonly waiting = new Set<Connection>();

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get waitingCount(): number {
    return this.waiting.size;
  }

  /** Whether `connection` may take `bytes` more now. If not, it is resumed when it may. */
  ask(connection: Connection, bytes: number): boolean {
    if (this.usedBytes + bytes <= this.limitBytes) return true;
    if (this.owner === undefined || this.owner === connection) {
      this.owner = connection;
      return true;
    }
    this.waiting.add(connection);
    return false;
  }

  changed(connection: Connection, bytes: number): void {
    this.usedBytes += bytes;
    if (bytes > 0) return;
    if (this.owner === connection) this.owner = undefined;
    if (connection.closed) this.waiting.delete(connection);
    for (const next of this.waiting) {
      if (this.owner !== undefined && this.usedBytes >= this.limitBytes) break;
      this.waiting.delete(next);
      next.resume();
    }
  }
}
