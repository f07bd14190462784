/** The WebAssembly module with snappy and lz4, compiled at first use (a few milliseconds). */
import { createRequire } from 'node:module';
import type * as wasmUtils from '@platformatic/wasm-utils';

let loaded: typeof wasmUtils | undefined;

export function wasmCodecs(): typeof wasmUtils {
  loaded ??= createRequire(import.meta.url)('@platformatic/wasm-utils') as typeof wasmUtils;
  return loaded;
}
