/**
 * The generators' side of `hadron.v1.Streams`: calls over `node:http2` that send bytes made beforehand. The frames of gRPC
 * (one byte of flags, four of length) are in those bytes already.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { ProtoWriter } from '@hadron/contracts/protobuf';

const FRAME_HEADER_BYTES = 5;

export function openConnection(url: string): ClientHttp2Session {
  const session = connect(url, { settings: { initialWindowSize: 4 * 1024 * 1024, enablePush: false } });
  session.on('connect', () => session.setLocalWindowSize(16 * 1024 * 1024));
  return session;
}

/** A message with its frame. */
export function framed<T>(encode: (w: ProtoWriter, message: T) => void, message: T): Buffer {
  const writer = new ProtoWriter(256);
  const at = writer.reserve(FRAME_HEADER_BYTES);
  writer.patchU8(at, 0);
  encode(writer, message);
  writer.patchU32(at + 1, writer.length - at - FRAME_HEADER_BYTES);
  return Buffer.from(writer.written());
}

/** Messages made beforehand, sent round and round. */
export class Ring {
  private readonly bytes: Buffer;
  private readonly starts: number[] = [];
  private next = 0;

  constructor(messages: readonly Buffer[]) {
    this.bytes = Buffer.concat(messages);
    let at = 0;
    for (const message of messages) {
      this.starts.push(at);
      at += message.length;
    }
    this.starts.push(at);
  }

  /** The next `count` messages: in one piece, or two where the ring ends. */
  take(count: number): Buffer[] {
    const size = this.starts.length - 1;
    const pieces: Buffer[] = [];
    for (let left = count; left > 0; ) {
      const now = Math.min(left, size - this.next);
      pieces.push(this.bytes.subarray(this.starts[this.next], this.starts[this.next + now]));
      this.next = (this.next + now) % size;
      left -= now;
    }
    return pieces;
  }
}

/** One call: bytes out, messages in. */
export class RawCall {
  readonly stream: ClientHttp2Stream;
  /** Resolves with the grpc-status when the call is over. */
  readonly ended: Promise<string>;

  /** @param chunkDone after the messages of each chunk that came, to answer all of them in one piece */
  constructor(session: ClientHttp2Session, method: string, message: (bytes: Buffer) => void, chunkDone?: () => void) {
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': `/hadron.v1.Streams/${method}`,
        'content-type': 'application/grpc+proto',
        te: 'trailers',
      },
      { endStream: false },
    );
    this.stream = stream;
    let status = 'lost';
    const look = (headers: NodeJS.Dict<string | string[]>): void => {
      const found = headers['grpc-status'];
      if (found !== undefined) status = `${String(found)} ${String(headers['grpc-message'] ?? '')}`.trim();
    };
    stream.on('response', look);
    stream.on('trailers', look);
    stream.on('error', () => undefined); // 'close' follows
    this.ended = new Promise((done) => stream.on('close', () => done(status)));
    let rest: Buffer = Buffer.alloc(0);
    stream.on('data', (chunk: Buffer) => {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      while (bytes.length - at >= FRAME_HEADER_BYTES) {
        const end = at + FRAME_HEADER_BYTES + bytes.readUInt32BE(at + 1);
        if (end > bytes.length) break;
        message(bytes.subarray(at + FRAME_HEADER_BYTES, end));
        at = end;
      }
      rest = bytes.subarray(at);
      chunkDone?.();
    });
  }

  write(bytes: Buffer): void {
    this.stream.write(bytes);
  }

  async end(): Promise<void> {
    this.stream.end();
    const status = await this.ended;
    if (status !== '0') throw new Error(`the call ended with ${status}`);
  }
}
