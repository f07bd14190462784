/**
 * Frames out of a byte stream: int32 length, then that many bytes (kafka.md R1). Sans-I/O.
 *
 * A frame that lies whole in one chunk is handed out where it lies. One that spans chunks is gathered in a buffer that
 * grows with the bytes *received*, never with the length announced (log.md G17); it is used again for the next such frame.
 * What is handed out is valid until the next call.
 */
import { readI32 } from '@hadron/base';

export interface Frame {
  bytes: Buffer;
  at: number;
  end: number;
}

/** Why a connection must be closed. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

const FIRST_BYTES = 16 * 1024;
const EMPTY = Buffer.alloc(0);

export class Framer {
  private readonly maxBytes: number;
  private chunk: Buffer = EMPTY;
  private at = 0;
  /** A frame under way: its length, what has come of it. -1: none. */
  private need = -1;
  private have = 0;
  private gathered: Buffer = EMPTY;
  /** Bytes of a length that was cut by the end of a chunk. */
  private readonly cut = Buffer.alloc(4);
  private cutBytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Memory held for a frame under way or kept for the next one. */
  get heldBytes(): number {
    return this.gathered.length;
  }

  /** A frame has begun and is not complete. */
  get isPartial(): boolean {
    return this.need >= 0 || this.cutBytes > 0;
  }

  /** Bytes of the current chunk that {@link next} has not looked at. */
  get unread(): number {
    return this.chunk.length - this.at;
  }

  /** Takes the next bytes of the stream. The chunk must stay as it is until `next` gives false, or {@link detach}. */
  push(chunk: Buffer): void {
    this.chunk = this.unread > 0 ? Buffer.concat([this.chunk.subarray(this.at), chunk]) : chunk;
    this.at = 0;
  }

  /** Keeps a copy of what is unread: the memory of the chunk is about to be used again. */
  detach(): void {
    if (this.unread > 0) {
      this.chunk = Buffer.from(this.chunk.subarray(this.at));
      this.at = 0;
    } else this.chunk = EMPTY;
  }

  /** Gives memory back that no frame under way needs. */
  shrink(): void {
    if (this.need < 0) this.gathered = EMPTY;
  }

  /**
   * The next whole frame into `frame`, or false when more bytes are needed.
   * @param grow asked before memory grows by that many bytes; on false nothing happens and `next` gives false
   * @throws FrameError for a length that no request has
   */
  next(frame: Frame, minBytes: number, grow: (bytes: number) => boolean): boolean {
    if (this.need < 0) {
      const { chunk } = this;
      let length: number;
      if (this.cutBytes === 0 && chunk.length - this.at >= 4) {
        length = readI32(chunk, this.at);
        this.check(length, minBytes);
        const from = this.at + 4;
        if (chunk.length - from >= length) {
          this.at = from + length;
          frame.bytes = chunk;
          frame.at = from;
          frame.end = from + length;
          return true;
        }
        this.at = from;
      } else {
        while (this.cutBytes < 4 && this.at < chunk.length) this.cut[this.cutBytes++] = chunk[this.at++] as number;
        if (this.cutBytes < 4) {
          this.release();
          return false;
        }
        length = readI32(this.cut, 0);
        this.check(length, minBytes);
        this.cutBytes = 0;
      }
      this.need = length;
      this.have = 0;
    }
    const take = Math.min(this.need - this.have, this.chunk.length - this.at);
    const wanted = this.have + take;
    if (wanted > this.gathered.length) {
      const size = Math.min(this.need, Math.max(wanted, this.gathered.length * 2, FIRST_BYTES));
      if (!grow(size - this.gathered.length)) return false;
      const larger = Buffer.allocUnsafeSlow(size);
      this.gathered.copy(larger, 0, 0, this.have);
      this.gathered = larger;
    }
    this.chunk.copy(this.gathered, this.have, this.at, this.at + take);
    this.at += take;
    this.have = wanted;
    if (this.have < this.need) {
      this.release();
      return false;
    }
    frame.bytes = this.gathered;
    frame.at = 0;
    frame.end = this.need;
    this.need = -1;
    return true;
  }

  private release(): void {
    if (this.at === this.chunk.length) {
      this.chunk = EMPTY;
      this.at = 0;
    }
  }

  private check(length: number, minBytes: number): void {
    if (length < minBytes || length > this.maxBytes) {
      throw new FrameError(
        `a frame of ${length} bytes; requests have ${minBytes} to ${this.maxBytes} (socket.request.max.bytes)`,
      );
    }
  }
}
