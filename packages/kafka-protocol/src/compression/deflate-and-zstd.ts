/** gzip and zstd, from node:zlib, which enforces the limit while it decompresses. */
import type * as zlibModule from 'node:zlib';
import { refuseBytes, refuseSize } from './failure.ts';

type Zlib = typeof zlibModule;

let loaded: Zlib | undefined;
const zlib = (): Zlib => {
  loaded ??= process.getBuiltinModule('node:zlib');
  return loaded;
};

export function gzip(input: Buffer, level?: number): Buffer {
  return zlib().gzipSync(input, level === undefined ? {} : { level });
}

export function gunzip(input: Buffer, bytesMax: number): Buffer {
  try {
    return zlib().gunzipSync(input, { maxOutputLength: bytesMax });
  } catch (error) {
    return refuse('gzip', error, bytesMax);
  }
}

export function zstdCompress(input: Buffer, level?: number): Buffer {
  const z = zlib();
  const params = level === undefined ? {} : { [z.constants.ZSTD_c_compressionLevel]: level };
  return z.zstdCompressSync(input, { params, pledgedSrcSize: input.length });
}

export function zstdDecompress(input: Buffer, bytesMax: number): Buffer {
  const claimed = zstdContentSize(input);
  if (claimed > bytesMax) refuseSize('zstd', claimed, bytesMax);
  try {
    return zlib().zstdDecompressSync(input, { maxOutputLength: bytesMax });
  } catch (error) {
    return refuse('zstd', error, bytesMax);
  }
}

/** The content size a zstd frame claims in its header; -1 if it claims none (a stream whose length was not known). */
export function zstdContentSize(input: Buffer): number {
  if (input.length < 5 || input.readUInt32LE(0) !== 0xfd2fb528) return refuseBytes('zstd', 'no frame');
  const descriptor = input[4] as number;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6] as number;
  const at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  if (at + sizeBytes > input.length) return refuseBytes('zstd', 'the frame header is cut off');
  switch (sizeBytes) {
    case 0:
      return -1;
    case 1:
      return input[at] as number;
    case 2:
      return input.readUInt16LE(at) + 256;
    case 4:
      return input.readUInt32LE(at);
    default:
      return input.readUInt32LE(at) + input.readUInt32LE(at + 4) * 0x1_0000_0000;
  }
}

function refuse(codec: string, error: unknown, bytesMax: number): never {
  const code = (error as { code?: unknown }).code;
  if (code === 'ERR_BUFFER_TOO_LARGE') return refuseSize(codec, bytesMax + 1, bytesMax);
  return refuseBytes(codec, (error as Error).message, error);
}
