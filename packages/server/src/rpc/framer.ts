/**
 * Cuts messages out of the bytes of a call: one byte of flags, four of length, the message. A message that lies in one
 * piece is handed on without a copy. Memory grows with the bytes received, never with the length announced.
 *
 *   offset  size  field
 *        0     1  flags     bit 0: compressed with the call's grpc-encoding
 *        1     4  length    big-endian, of the message
 *        5     -  message
 */
import { HadronError } from '@hadron/base';
import { RpcRefused, Status } from './status.ts';

export const FRAME_HEADER_BYTES = 5;

export class MessageFramer {
  private readonly messageBytesMax: number;
  private readonly onMessage: (message: Buffer, compressed: boolean) => void;
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  /** Bytes of the frame under way, header included; what the header needs while it is not complete. */
  private needed = FRAME_HEADER_BYTES;

  constructor(messageBytesMax: number, onMessage: (message: Buffer, compressed: boolean) => void) {
    this.messageBytesMax = messageBytesMax;
    this.onMessage = onMessage;
  }

  /** Whether the bytes so far end between two messages. */
  get isWhole(): boolean {
    return this.pieceBytes === 0;
  }

  /** @throws HadronError REQUEST_INVALID, LIMIT_EXCEEDED; what `onMessage` throws */
  push(chunk: Buffer): void {
    let at = 0;
    // The frame under way is put together, and no more: what follows is handed on as it lies.
    while (this.pieceBytes > 0) {
      const piece = chunk.subarray(at, at + this.needed - this.pieceBytes);
      this.pieces.push(piece);
      this.pieceBytes += piece.length;
      at += piece.length;
      if (this.pieceBytes < this.needed) return;
      const bytes = Buffer.concat(this.pieces, this.pieceBytes);
      this.needed = this.frameBytes(bytes, 0);
      this.pieces = [bytes];
      if (this.needed > bytes.length) continue; // its header was in pieces
      this.pieces = [];
      this.pieceBytes = 0;
      this.onMessage(bytes.subarray(FRAME_HEADER_BYTES), bytes[0] === 1);
    }
    this.needed = FRAME_HEADER_BYTES;
    while (chunk.length - at >= FRAME_HEADER_BYTES) {
      const end = at + this.frameBytes(chunk, at);
      if (end > chunk.length) {
        this.needed = end - at;
        break;
      }
      this.onMessage(chunk.subarray(at + FRAME_HEADER_BYTES, end), chunk[at] === 1);
      at = end;
    }
    if (at < chunk.length) {
      this.pieces = [chunk.subarray(at)];
      this.pieceBytes = chunk.length - at;
    }
  }

  /** Of the frame whose header lies at `at`. */
  private frameBytes(bytes: Buffer, at: number): number {
    const flags = bytes[at] as number;
    if (flags > 1)
      throw new HadronError('REQUEST_INVALID', `a message begins with the flags ${flags}: 0 or 1 are allowed`);
    const length = bytes.readUInt32BE(at + 1);
    if (length > this.messageBytesMax) {
      throw new RpcRefused(
        'LIMIT_EXCEEDED',
        Status.RESOURCE_EXHAUSTED,
        `a message of ${length} bytes is larger than ${this.messageBytesMax}; send smaller batches`,
      );
    }
    return FRAME_HEADER_BYTES + length;
  }
}
