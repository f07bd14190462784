/**
 * One client connection: frames in, answers out in the order of the requests (kafka.md R4).
 *
 * Work may end in any order; an answer that is ready waits for those before it. Answers of one tick leave in one
 * `writev`. Reading stops while the client does not take its answers, while too many requests are under way, while the
 * door has no memory, or, of a producer, while the disk is behind; what was received stays where it is.
 */
import type { Socket } from 'node:net';
import {
  REQUEST_BYTES_MIN,
  Reader,
  type RequestHeader,
  decodeRequestHeader,
  ProtocolError,
  type Writer,
  encodeResponseHeader,
} from '@hadron/kafka-protocol';
import type { KafkaDoor } from './door.ts';
import { type Frame, FrameError, Framer } from './framer.ts';

/** Requests of one connection that may be under way. */
const UNDER_WAY_MAX = 4096;
/** Bytes waiting in the socket above which no further request is begun. */
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;

/** A request under way. Handlers answer it once, now or later. */
export class KafkaRequest {
  readonly connection: Connection;
  readonly apiKey: number;
  readonly version: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly startedMs: number;
  /** @internal */ next: KafkaRequest | undefined;
  /** @internal */ done = false;
  /** @internal */ parts: Buffer[] | undefined;
  /** @internal */ sent: (() => void) | undefined;
  /** Called when the connection closes before the answer. */
  onAbort: (() => void) | undefined;

  constructor(connection: Connection, header: RequestHeader, startedMs: number) {
    this.connection = connection;
    this.apiKey = header.apiKey;
    this.version = header.apiVersion;
    this.correlationId = header.correlationId;
    this.clientId = header.clientId;
    this.startedMs = startedMs;
  }

  /**
   * Answers. `encode` writes the body; slices it passes stay untouched until `sent` is called.
   * @param sent called once: when the bytes have left, or when they never will
   */
  reply(encode: (w: Writer) => void, sent?: () => void): void {
    if (this.done) return;
    this.done = true;
    this.onAbort = undefined;
    if (this.connection.closed) {
      sent?.();
      return;
    }
    const w = this.connection.door.writer;
    w.beginFrame();
    try {
      encodeResponseHeader(w, this.apiKey, this.version, this.correlationId);
      encode(w);
    } catch (error) {
      w.dropFrame();
      sent?.();
      this.connection.door.logger.error(
        { api: this.apiKey, version: this.version, err: String(error) },
        'an answer cannot be encoded; the connection is closed',
      );
      this.connection.destroy('an answer could not be encoded');
      return;
    }
    w.endFrame();
    this.parts = w.takeParts();
    this.sent = sent;
    this.connection.door.answered(this);
    this.connection.drain();
  }

  /** No answer is due (Produce with acks = 0). */
  replyNothing(): void {
    if (this.done) return;
    this.done = true;
    this.onAbort = undefined;
    this.connection.door.answered(this);
    if (!this.connection.closed) this.connection.drain();
  }
}

const frame: Frame = { bytes: Buffer.alloc(0), at: 0, end: 0 };
const reader = new Reader(Buffer.alloc(0));

export class Connection {
  readonly door: KafkaDoor;
  readonly socket: Socket;
  readonly remote: string;
  /** The address the client came in on, told back to it as ours (R16). */
  readonly localHost: string;
  readonly localPort: number;
  closed = false;
  /** Monotonic time of the last byte received, or of the moment reading went on. */
  private receivedMs: number;
  /** Monotonic time at which the client was last seen to take bytes, or to have taken all. */
  private takenMs: number;
  /** Monotonic time of the last request or answer. */
  private activeMs: number;
  underWay = 0;
  clientSoftware = '';
  /** It has sent a Produce: it waits when the disk is behind. */
  produces = false;
  /** A Fetch is under way. Those behind it wait, so that one client holds the memory of one answer (log.md G17). */
  private fetching = false;
  private fetchesWaiting: (() => void)[] | undefined;
  private readonly framer: Framer;
  private first: KafkaRequest | undefined;
  private last: KafkaRequest | undefined;
  private readonly out: Buffer[] = [];
  private outSent: (() => void)[] = [];
  private flushScheduled = false;
  private paused = false;
  private handling = false;
  private heldBytes = 0;
  /** Bytes received that are kept until reading goes on. */
  private keptBytes = 0;
  private takenBefore = 0;

  constructor(door: KafkaDoor, accepted: Socket) {
    this.door = door;
    const socket = door.shared === undefined ? accepted : door.shared.adopt(accepted, (bytes) => this.received(bytes));
    this.socket = socket;
    this.remote = `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? 0}`;
    this.localHost = (socket.localAddress ?? '127.0.0.1').replace(/^::ffff:/, '');
    this.localPort = socket.localPort ?? 0;
    this.framer = new Framer(door.limits.requestBytesMax);
    this.receivedMs = this.takenMs = this.activeMs = door.clock.monotonicMs();
    socket.setNoDelay(true);
    if (door.shared === undefined) socket.on('data', (chunk: Buffer) => this.received(chunk));
    socket.on('drain', () => this.resume());
    socket.on('error', () => undefined); // 'close' follows
    socket.on('close', () => this.ended());
  }

  /** Nothing is being received, computed or sent. */
  get isIdle(): boolean {
    return this.first === undefined && !this.framer.isPartial && this.socket.writableLength === 0;
  }

  /** Looks whether the connection has stood still for too long. @returns why it should be closed */
  stuck(nowMs: number, progressMs: number, idleMs: number): string | undefined {
    const { socket } = this;
    // Thousands that only wait are looked at every few seconds: what costs is asked of those alone that owe an answer.
    if (socket.writableLength === 0) this.takenMs = nowMs;
    else {
      // Of a large answer the system takes a part at a time; only the handle knows how much is left.
      const handle = (socket as unknown as { _handle?: { writeQueueSize?: number } | null })._handle;
      const taken = socket.bytesWritten - socket.writableLength - (handle?.writeQueueSize ?? 0);
      if (taken !== this.takenBefore) {
        this.takenBefore = taken;
        this.takenMs = nowMs;
      }
    }
    if (nowMs - this.takenMs >= progressMs) return 'the client does not take its answers';
    if (nowMs - this.receivedMs >= progressMs) {
      if (this.door.memory.waits(this)) return 'no memory for its request (queued.max.request.bytes)';
      if (this.framer.isPartial && !this.paused) return 'a request was begun and does not go on';
    }
    if (nowMs - this.activeMs >= idleMs && this.isIdle) return 'idle';
    if (this.isIdle) this.releaseSpare();
    return undefined;
  }

  /** @internal Gives back a buffer that no frame under way needs. */
  releaseSpare(): void {
    if (this.handling || this.heldBytes === 0) return;
    this.framer.shrink();
    this.hold();
  }

  /** Runs `fetch` when those before it are answered; each ends with {@link fetched}. */
  whenFetching(fetch: () => void): void {
    if (this.fetching) {
      this.fetchesWaiting ??= [];
      this.fetchesWaiting.push(fetch);
      return;
    }
    this.fetching = true;
    fetch();
  }

  fetched(): void {
    const next = this.fetchesWaiting?.shift();
    if (next === undefined) this.fetching = false;
    else queueMicrotask(next); // not from here: thousands of them would nest
  }

  destroy(why: string): void {
    if (this.closed) return;
    this.door.logger.info({ client: this.remote, why }, 'connection closed');
    this.socket.destroy();
    this.ended();
  }

  /** Lets what is under way be answered and sent, then ends. */
  finish(): void {
    // Reading goes on, so that the client's end is seen and the connection closes; what still comes is dropped.
    this.socket.resume();
    // Answers given a moment ago are still to be written; flush ends the connection behind them.
    if (this.first === undefined && !this.flushScheduled) this.socket.end();
  }

  private received(chunk: Buffer): void {
    if (this.door.closing) return;
    this.receivedMs = this.activeMs = this.door.clock.monotonicMs();
    this.door.metrics.receivedBytes.value += chunk.length;
    this.framer.push(chunk);
    this.handle();
    if (this.door.shared !== undefined) this.framer.detach();
  }

  private handle(): void {
    if (this.handling) return;
    this.handling = true;
    try {
      while (!this.closed) {
        if (this.mustPause()) {
          this.pause();
          break;
        }
        if (!this.framer.next(frame, REQUEST_BYTES_MIN, this.grow)) break;
        this.hold();
        this.request(frame);
        if (this.door.memory.isTight) this.framer.shrink();
      }
      this.keptBytes = this.framer.unread;
      this.hold();
      if (this.keptBytes > 0 && this.door.memory.isOverflowing) {
        this.door.logger.warn(
          { client: this.remote },
          'more requests are being received than there is memory for: closing a connection (queued.max.request.bytes)',
        );
        this.destroy('no memory for its request (queued.max.request.bytes)');
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.destroy(error.message);
    } finally {
      this.handling = false;
    }
  }

  private request(f: Frame): void {
    reader.reset(f.bytes, f.at, f.end);
    let header: RequestHeader;
    try {
      header = decodeRequestHeader(reader);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.destroy(`request header: ${error.message}`);
      return;
    }
    const request = new KafkaRequest(this, header, this.activeMs);
    if (this.last === undefined) this.first = request;
    else this.last.next = request;
    this.last = request;
    this.underWay++;
    this.door.dispatch(request, reader);
  }

  private mustPause(): boolean {
    return this.underWay >= UNDER_WAY_MAX || this.socket.writableLength > OUTPUT_MAX_BYTES || this.door.mustPause(this);
  }

  private pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket.pause();
  }

  /** Goes on after whatever held the connection back. */
  resume(): void {
    if (!this.paused || this.closed || this.door.closing || this.mustPause()) return;
    this.paused = false;
    this.receivedMs = this.activeMs = this.door.clock.monotonicMs();
    this.handle();
    if (!this.paused && !this.closed) this.socket.resume();
  }

  private readonly grow = (bytes: number): boolean => {
    if (this.door.memory.ask(this, bytes)) return true;
    this.pause();
    return false;
  };

  private hold(): void {
    if (this.closed) return;
    const held = this.framer.heldBytes + this.keptBytes;
    if (held === 0 && this.heldBytes === 0) return;
    const { memory } = this.door;
    memory.setSpare(this, this.framer.heldBytes > 0 && !this.framer.isPartial);
    if (held === this.heldBytes) return;
    const more = held - this.heldBytes;
    this.heldBytes = held;
    memory.changed(this, more);
  }

  /** Sends the answers that are next in order. */
  drain(): void {
    let r = this.first;
    while (r?.done === true) {
      if (r.parts !== undefined) {
        for (const p of r.parts) this.out.push(p);
        if (r.sent !== undefined) this.outSent.push(r.sent);
      }
      this.underWay--;
      r = r.next;
    }
    this.first = r;
    if (r === undefined) this.last = undefined;
    if (!this.flushScheduled) {
      this.flushScheduled = true;
      queueMicrotask(this.flush);
    }
  }

  private readonly flush = (): void => {
    this.flushScheduled = false;
    if (this.closed) {
      this.letGo();
      return;
    }
    const { out, socket } = this;
    if (out.length > 0) {
      this.activeMs = this.door.clock.monotonicMs();
      if (socket.writableLength === 0) this.takenMs = this.activeMs;
      const sent = this.outSent;
      let done: (() => void) | undefined;
      if (sent.length > 0) {
        this.outSent = [];
        done = (): void => {
          for (const fn of sent) fn();
        };
      }
      let bytes = 0;
      const n = out.length;
      if (n > 1) socket.cork();
      for (let i = 0; i < n; i++) {
        const part = out[i] as Buffer;
        bytes += part.length;
        if (i === n - 1 && done !== undefined) socket.write(part, done);
        else socket.write(part);
      }
      if (n > 1) socket.uncork();
      out.length = 0;
      this.door.metrics.sentBytes.value += bytes;
    }
    if (this.first === undefined && this.door.closing) this.socket.end();
    else if (this.paused) this.resume();
  };

  private letGo(): void {
    const sent = this.outSent;
    this.outSent = [];
    for (const fn of sent) fn();
    this.out.length = 0;
  }

  private ended(): void {
    if (this.closed) return;
    this.closed = true;
    for (let r = this.first; r !== undefined; r = r.next) {
      r.onAbort?.();
      r.onAbort = undefined;
      if (r.done) r.sent?.();
    }
    this.first = undefined;
    this.last = undefined;
    this.letGo();
    const held = this.heldBytes;
    this.heldBytes = 0;
    this.door.memory.changed(this, -held);
    this.door.gone(this);
  }
}
