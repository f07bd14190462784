/**
 * Lines of NDJSON as bytes. Only a line feed ends one: readline would also end them at U+2028, which JSON allows in strings.
 */
import type { Readable } from 'node:stream';
import { CommandFailure } from './failure.ts';

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without its end. */
  readonly bytes: Buffer;
  /** Of the input, up to behind this line. */
  readonly readBytes: number;
}

/** An event of 100 MiB, the largest a stream may allow, in base64 with its attributes. */
const LINE_BYTES_MAX = 160 * 1024 * 1024;
const LF = 0x0a;
const CR = 0x0d;

/** Lines that are not blank. @throws CommandFailure REQUEST_INVALID a line longer than any event */
export async function* linesOf(input: Readable, bytesMax: number = LINE_BYTES_MAX): AsyncGenerator<Line> {
  let pieces: Buffer[] = [];
  let pieceBytes = 0;
  let number = 0;
  let readBytes = 0;
  const keep = (piece: Buffer): void => {
    pieceBytes += piece.length;
    if (pieceBytes > bytesMax) {
      throw new CommandFailure('REQUEST_INVALID', `line ${number + 1} is longer than any event may be; is it NDJSON?`);
    }
    pieces.push(piece);
  };
  const line = (): Line | undefined => {
    let bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, pieceBytes);
    pieces = [];
    pieceBytes = 0;
    number += 1;
    if (bytes.at(-1) === CR) bytes = bytes.subarray(0, -1);
    return isBlank(bytes) ? undefined : { number, bytes, readBytes };
  };
  for await (const some of input) {
    const chunk = Buffer.isBuffer(some) ? some : Buffer.from(some as string | Uint8Array);
    let at = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, at)) {
      keep(chunk.subarray(at, end));
      readBytes += end + 1 - at;
      at = end + 1;
      const found = line();
      if (found !== undefined) yield found;
    }
    readBytes += chunk.length - at;
    if (at < chunk.length) keep(chunk.subarray(at));
  }
  const last = pieceBytes > 0 ? line() : undefined;
  if (last !== undefined) yield last;
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === CR);
}
