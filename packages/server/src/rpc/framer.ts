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
    let bytes = chunk;
    if (this.pieceBytes > 0) {
      this.pieces.push(chunk);
      this.pieceBytes += chunk.length;
      if (this.pieceBytes < this.needed) return;
      bytes = Buffer.concat(this.pieces, this.pieceBytes);
      this.pieces = [];
      this.pieceBytes = 0;
      this.needed = FRAME_HEADER_BYTES;
    }
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
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
      const end = at + FRAME_HEADER_BYTES + length;
      if (end > bytes.length) {
        this.needed = FRAME_HEADER_BYTES + length;
        break;
      }
      this.onMessage(bytes.subarray(at + FRAME_HEADER_BYTES, end), flags === 1);
      at = end;
    }
    if (at < bytes.length) {
      this.pieces = [bytes.subarray(at)];
      this.pieceBytes = bytes.length - at;
    }
  }
}
