/**
 * The codecs of record batches: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
 *
 * Everything is synchronous: a batch is small, and handing it to another thread costs more than it takes. Each codec is
 * loaded when it is first used, so a broker that only passes batches on never pays for them at start.
 *
 * Decompression never makes more than `bytesMax` bytes, and what the input claims is checked before anything is
 * allocated: the WebAssembly codecs would otherwise grow their memory to whatever a header says, for ever.
 */
import { ProtocolError } from '../protocol-error.ts';
import { gunzip, gzip, zstdCompress, zstdDecompress } from './deflate-and-zstd.ts';
import { lz4Compress, lz4Decompress } from './lz4.ts';
import { snappyCompress, snappyDecompress } from './snappy.ts';

export const CODEC_NONE = 0;
export const CODEC_GZIP = 1;
export const CODEC_SNAPPY = 2;
export const CODEC_LZ4 = 3;
export const CODEC_ZSTD = 4;
/** Codec numbers below this exist. */
export const CODECS_KNOWN = 5;

/** Names as in `compression.type`, by number. */
export const CODEC_NAMES: readonly string[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];

/** As much as a client could send uncompressed in one request (`socket.request.max.bytes`). */
export const DECOMPRESSED_BYTES_MAX = 104_857_600;

/** @throws ProtocolError `codec` for a number that does not exist, `compression` for damaged bytes, `limit` beyond `bytesMax` */
export function decompress(codec: number, input: Buffer, bytesMax: number = DECOMPRESSED_BYTES_MAX): Buffer {
  switch (codec) {
    case CODEC_NONE:
      return input;
    case CODEC_GZIP:
      return gunzip(input, bytesMax);
    case CODEC_SNAPPY:
      return snappyDecompress(input, bytesMax);
    case CODEC_LZ4:
      return lz4Decompress(input, bytesMax);
    case CODEC_ZSTD:
      return zstdDecompress(input, bytesMax);
    default:
      throw new ProtocolError('codec', `no codec ${codec}`);
  }
}

/**
 * @param level of gzip (1-9) and zstd (1-22); the codec's own default if left out
 * @throws ProtocolError `codec` for a number that does not exist
 */
export function compress(codec: number, input: Buffer, level?: number): Buffer {
  switch (codec) {
    case CODEC_NONE:
      return input;
    case CODEC_GZIP:
      return gzip(input, level);
    case CODEC_SNAPPY:
      return snappyCompress(input);
    case CODEC_LZ4:
      return lz4Compress(input);
    case CODEC_ZSTD:
      return zstdCompress(input, level);
    default:
      throw new ProtocolError('codec', `no codec ${codec}`);
  }
}
