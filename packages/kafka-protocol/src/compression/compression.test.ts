/** Codecs: round trips, foreign framings, and that no claim makes us allocate. */
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../protocol-error.ts';
import { CODEC_GZIP, CODEC_LZ4, CODEC_NAMES, CODEC_SNAPPY, CODEC_ZSTD, compress, decompress } from './codecs.ts';
import { zstdContentSize } from './deflate-and-zstd.ts';
import { runWasm } from './wasm.ts';

const codecs = CODEC_NAMES.map((name, codec) => ({ name, codec }));
const compressing = codecs.slice(1);

describe.each(codecs)('$name', ({ codec }) => {
  test('round trip', () => {
    const input = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat({ max: 200_000 }).map((n) => new Uint8Array(n).fill(7)),
    );
    fc.assert(
      fc.property(input, (bytes) => {
        const plain = Buffer.from(bytes);
        expect(decompress(codec, compress(codec, plain)).equals(plain)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe.each(compressing)('$name', ({ codec }) => {
  test('the limit holds exactly', () => {
    const plain = Buffer.alloc(100_000, 'abc');
    const compressed = compress(codec, plain);
    expect(decompress(codec, compressed, 100_000).length).toBe(100_000);
    expect(() => decompress(codec, compressed, 99_999)).toThrow(/^limit/);
  });

  test('a bomb is refused before it grows', () => {
    const bomb = compress(codec, Buffer.alloc(64 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    for (let n = 0; n < 20; n++) expect(() => decompress(codec, bomb, 1_000_000)).toThrow(/^limit/);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  test('damaged bytes give a ProtocolError, nothing worse', () => {
    const compressed = compress(codec, Buffer.from(JSON.stringify(process.versions).repeat(20)));
    for (let n = 0; n < 400; n++) {
      const damaged = Buffer.from(compressed.subarray(0, n % 5 === 0 ? n % compressed.length : compressed.length));
      if (damaged.length > 0) (damaged[(n * 31) % damaged.length] as number) ^= 1 << (n % 8);
      try {
        expect(decompress(codec, damaged, 1_000_000).length).toBeLessThanOrEqual(1_000_000);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
    // and the codec still works
    const plain = Buffer.from('still here');
    expect(decompress(codec, compress(codec, plain)).equals(plain)).toBe(true);
  });
});

test('empty input', () => {
  for (const { codec } of codecs) expect(decompress(codec, compress(codec, Buffer.alloc(0))).length).toBe(0);
  const frame = Buffer.from('04224d1860408200000000', 'hex');
  expect(runWasm('lz4_decompress', frame).length).toBe(0); // the constant frame is one that the codec reads
});

test('any number of hostile blocks leaves the codecs working, and small (a trap leaks what the call had allocated)', () => {
  const plain = Buffer.from(Array.from({ length: 10_000 }, (_, i) => (i * 7919) % 1000).join(' '));
  for (const { codec } of compressing) {
    const damaged = compress(codec, plain);
    damaged.fill(0xff, damaged.length >> 1, (damaged.length >> 1) + 40);
    const runs = codec === CODEC_SNAPPY || codec === CODEC_LZ4 ? 3000 : 100;
    const before = process.memoryUsage().rss;
    for (let n = 0; n < runs; n++) {
      try {
        decompress(codec, damaged, 1_000_000);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
    expect(decompress(codec, compress(codec, plain)).equals(plain)).toBe(true);
  }
});

test('raw snappy, without the framing of the Java library', () => {
  const plain = Buffer.from('raw snappy raw snappy raw snappy raw snappy');
  expect(decompress(CODEC_SNAPPY, runWasm('snappy_compress', plain)).equals(plain)).toBe(true);
});

test('a snappy block that claims 4 GiB is refused unseen', () => {
  expect(() => decompress(CODEC_SNAPPY, Buffer.from('ffffffff0f0000', 'hex'))).toThrow(/^limit/);
  expect(() => decompress(CODEC_SNAPPY, Buffer.from('ffffff0f0000', 'hex'))).toThrow(/^compression/);
});

test('an lz4 frame that claims 4 GiB is refused unseen', () => {
  const frame = Buffer.from('04224d18' + '68' + '40' + '0000000001000000' + '00' + '00000000', 'hex');
  expect(() => decompress(CODEC_LZ4, frame)).toThrow(/^limit/);
});

test('zstd says how much it holds, if it knows', () => {
  for (const size of [0, 100, 300, 70_000])
    expect(zstdContentSize(compress(CODEC_ZSTD, Buffer.alloc(size)))).toBe(size);
  expect(() => zstdContentSize(Buffer.from('abc'))).toThrow(/^compression/);
});

test('what other libraries write is read', () => {
  const plain = Buffer.alloc(5000, 'xyz');
  expect(decompress(CODEC_GZIP, gzipSync(plain, { level: 9 })).equals(plain)).toBe(true);
  expect(decompress(CODEC_ZSTD, zstdCompressSync(plain)).equals(plain)).toBe(true);
});

test('codecs that do not exist', () => {
  expect(() => decompress(5, Buffer.alloc(1))).toThrow(/^codec/);
  expect(() => compress(7, Buffer.alloc(1))).toThrow(/^codec/);
});
