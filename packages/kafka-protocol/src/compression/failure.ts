import { ProtocolError } from '../protocol-error.ts';

/** @throws ProtocolError `limit` */
export function refuseSize(codec: string, bytes: number, bytesMax: number): never {
  throw new ProtocolError('limit', `${codec}: ${bytes} bytes decompressed, ${bytesMax} allowed`);
}

/** @throws ProtocolError `compression` */
export function refuseBytes(codec: string, message: string, cause?: unknown): never {
  throw new ProtocolError('compression', `${codec}: ${message}`, { cause });
}
