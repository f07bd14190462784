/**
 * A TCP connection between a simulated server process and the world, in virtual time. It has of `net.Socket` what a
 * Connection uses and nothing else: no streams, no ticks.
 *
 * A part written is copied when it reaches the client, not when it is written, so that a buffer used again too early shows.
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { SimProcess, SimScheduler } from '@hadron/testkit';
import { WireClient } from './wire-client.ts';

const LATENCY_MS = 0.05;
const HIGH_WATER_BYTES = 64 * 1024;

interface Part {
  readonly bytes: Buffer;
  readonly sent: (() => void) | undefined;
}

export class SimSocket extends EventEmitter {
  readonly remoteAddress = '127.0.0.1';
  readonly localAddress: string;
  readonly localPort: number;
  readonly remotePort: number;
  bytesWritten = 0;
  writableLength = 0;
  destroyed = false;
  /** Whether the client reads what it gets. */
  clientReads = true;
  readonly client: WireClient;
  private readonly scheduler: SimScheduler;
  private readonly server: SimProcess;
  private readonly inbox: Buffer[] = [];
  private readonly outbox: Part[] = [];
  private reading = true;
  private ending = false;
  private delivering = false;

  constructor(scheduler: SimScheduler, server: SimProcess, remotePort: number, local: { host: string; port: number }) {
    super();
    this.scheduler = scheduler;
    this.server = server;
    this.remotePort = remotePort;
    this.localAddress = local.host;
    this.localPort = local.port;
    this.client = new WireClient({ send: (bytes) => this.fromClient(bytes), close: () => this.clientClosed() });
    server.onKill(() => this.scheduler.schedule(this.scheduler.world, LATENCY_MS, () => this.client.ended()));
  }

  asSocket(): Socket {
    return this as unknown as Socket;
  }

  /** Bytes the client has sent and the server has not read. */
  get unreadBytes(): number {
    return this.inbox.reduce((sum, b) => sum + b.length, 0);
  }

  get isReading(): boolean {
    return this.reading;
  }

  // --- the server's side ---

  setNoDelay(): this {
    return this;
  }

  cork(): void {}

  uncork(): void {}

  write(bytes: Buffer, sent?: () => void): boolean {
    if (this.destroyed) {
      sent?.();
      return false;
    }
    this.bytesWritten += bytes.length;
    this.writableLength += bytes.length;
    this.outbox.push({ bytes, sent });
    this.deliverSoon();
    return this.writableLength < HIGH_WATER_BYTES;
  }

  pause(): this {
    this.reading = false;
    return this;
  }

  resume(): this {
    if (this.reading) return this;
    this.reading = true;
    this.scheduler.schedule(this.server, 0, () => this.hand());
    return this;
  }

  end(): this {
    this.ending = true;
    this.deliverSoon();
    return this;
  }

  destroy(): this {
    if (this.destroyed) return this;
    this.destroyed = true;
    const rest = this.outbox.splice(0);
    this.writableLength = 0;
    this.scheduler.schedule(this.server, 0, () => {
      for (const p of rest) p.sent?.();
      this.emit('close');
    });
    this.scheduler.schedule(this.scheduler.world, LATENCY_MS, () => this.client.ended());
    return this;
  }

  // --- the client's side ---

  /** The client begins to read again. */
  clientResumes(): void {
    this.clientReads = true;
    this.deliverSoon();
  }

  private fromClient(bytes: Buffer): void {
    if (this.destroyed) return;
    const copy = Buffer.from(bytes);
    this.scheduler.schedule(this.server, LATENCY_MS, () => {
      this.inbox.push(copy);
      this.hand();
    });
  }

  private clientClosed(): void {
    this.scheduler.schedule(this.server, LATENCY_MS, () => this.destroy());
  }

  private hand(): void {
    while (this.reading && !this.destroyed && this.inbox.length > 0) this.emit('data', this.inbox.shift());
  }

  private deliverSoon(): void {
    if (this.delivering || !this.clientReads || this.destroyed) return;
    this.delivering = true;
    this.scheduler.schedule(this.server, LATENCY_MS, () => {
      this.delivering = false;
      if (!this.clientReads || this.destroyed) return;
      const parts = this.outbox.splice(0);
      const wasFull = this.writableLength >= HIGH_WATER_BYTES;
      const bytes = Buffer.concat(parts.map((p) => p.bytes));
      this.writableLength -= bytes.length;
      for (const p of parts) p.sent?.();
      if (wasFull) this.emit('drain');
      this.scheduler.schedule(this.scheduler.world, 0, () => {
        if (bytes.length > 0) this.client.received(bytes);
      });
      if (this.ending && this.outbox.length === 0) this.destroy();
    });
  }
}
