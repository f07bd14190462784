/** The WebAssembly module with snappy and lz4, compiled at first use (a few milliseconds). */
import { createRequire } from 'node:module';

export interface WasmCodecs {
  snappyCompress(data: Buffer): Buffer;
  snappyDecompress(data: Buffer): Buffer;
  lz4Compress(data: Buffer): Buffer;
  lz4Decompress(data: Buffer): Buffer;
}

let loaded: WasmCodecs | undefined;

export function wasmCodecs(): WasmCodecs {
  loaded ??= createRequire(import.meta.url)('@platformatic/wasm-utils') as WasmCodecs;
  return loaded;
}
