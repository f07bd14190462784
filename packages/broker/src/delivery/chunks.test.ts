import { encodeBatch } from '@hadron/kafka-protocol/records';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from '../ports/memory-event-log.ts';
import { Chunk, ChunkCache } from './chunks.ts';

const partition = () => {
  const p = new MemoryEventLog({}).createStream('s', 1).partitions[0];
  if (p === undefined) throw new Error('no partition');
  return p;
};

/** As if `[from, next)` had been read. */
const chunk = (from: number, next: number): Chunk => new Chunk(from, { parts: [], nextOffset: next, release() {} });

function batch(base: number, values: readonly string[], codec = 0): Buffer {
  const bytes = encodeBatch(values.map((value) => ({ timestamp: 0, key: null, value })));
  bytes.writeBigInt64BE(BigInt(base), 0);
  bytes.writeInt16BE(codec, 21);
  return bytes;
}

describe('recent pieces of partitions', () => {
  it('finds what was just added, and nothing that covers another offset', () => {
    const range = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 30 }));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 60 }), fc.integer({ min: 0, max: 20_000 }), (ranges, bytesMax) => {
        const cache = new ChunkCache(bytesMax);
        const p = partition();
        for (const [from, length] of ranges) {
          const added = chunk(from, from + length);
          cache.add(p, added);
          for (let at = from; at < added.next; at++) expect(cache.find(p, at)).toBeDefined();
          for (let at = 0; at < 100; at++) {
            const found = cache.find(p, at);
            if (found !== undefined) expect(found.from <= at && at < found.next).toBe(true);
          }
        }
      }),
    );
  });

  it('finds old ones among 100,000 as fast as new ones', () => {
    const cache = new ChunkCache(1e9);
    const p = partition();
    for (let at = 0; at < 100_000; at++) cache.add(p, chunk(at, at + 1));
    const started = process.hrtime.bigint();
    let found = 0;
    for (let at = 0; at < 100_000; at++) if (cache.find(p, at)?.from === at) found++;
    expect(found).toBe(100_000);
    expect(Number(process.hrtime.bigint() - started) / 1e6).toBeLessThan(2_000);
  });

  it('D3: a batch that cannot be decoded is left out, and no other', () => {
    const damaged = batch(2, ['c', 'd'], 4); // says zstd, and is not
    const parts = [Buffer.concat([batch(0, ['a', 'b']), damaged, batch(4, ['e'])])];
    const made = new Chunk(0, { parts, nextOffset: 5, release() {} });
    expect([made.offsets, made.next, made.damaged?.offset]).toEqual([[0, 1, 4], 5, 2]);
  });
});
