/**
 * Snappy and lz4, compiled to WebAssembly, in an instance of our own.
 *
 * The package `@platformatic/wasm-utils` brings the code and glue for it, but one instance for ever. Damaged input makes
 * the code trap, and a trapped call never gives back what it had allocated: some ten thousand hostile batches later
 * nothing could be compressed any more. So we load the code ourselves (the one file read here is a program, as with
 * `require`) and throw the instance away when it trapped, or when a large batch has made its memory grow. A new one takes
 * about 0.2 ms.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  alloc(bytes: number): number;
  dealloc(at: number, bytes: number): void;
  /** The four return position and length of their output, in the high and low half. */
  snappy_compress(at: number, bytes: number): bigint;
  snappy_decompress(at: number, bytes: number): bigint;
  lz4_compress(at: number, bytes: number): bigint;
  lz4_decompress(at: number, bytes: number): bigint;
}

/** What TypeScript declares only for browsers. */
interface WasmApi {
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

/** Memory that an idle codec may keep. */
const IDLE_BYTES_MAX = 16 * 1024 * 1024;

const { WebAssembly } = globalThis as unknown as { WebAssembly: WasmApi };
let module: object | undefined;
let instance: Exports | undefined;

function compile(): object {
  const require = createRequire(import.meta.url);
  const entry = require.resolve('@platformatic/wasm-utils');
  const { readFileSync } = process.getBuiltinModule('node:fs');
  return new WebAssembly.Module(readFileSync(join(dirname(entry), 'native.wasm')));
}

type Operation = 'snappy_compress' | 'snappy_decompress' | 'lz4_compress' | 'lz4_decompress';

/**
 * Runs one operation over `input`, which must not be empty.
 * @throws WebAssembly.RuntimeError when the input is damaged
 */
export function runWasm(operation: Operation, input: Buffer): Buffer {
  module ??= compile();
  instance ??= new WebAssembly.Instance(module).exports as Exports;
  const codec = instance;
  instance = undefined; // until it is known that it survived
  const from = codec.alloc(input.length);
  new Uint8Array(codec.memory.buffer, from, input.length).set(input);
  const result = codec[operation](from, input.length);
  codec.dealloc(from, input.length);
  const at = Number(BigInt.asUintN(32, result >> 32n));
  const length = Number(BigInt.asUintN(32, result));
  const output = Buffer.allocUnsafeSlow(length);
  output.set(new Uint8Array(codec.memory.buffer, at, length));
  codec.dealloc(at, length);
  if (codec.memory.buffer.byteLength <= IDLE_BYTES_MAX) instance = codec;
  return output;
}
