import { expect, test } from 'vitest';
import { partitionOfKey } from './partitioner.ts';

// Hashes of Kafka's own UtilsTest; the Java client clears the sign and takes the remainder.
test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('R20: the partition of %s is that of the Java client', (text, hash) => {
  for (const partitions of [1, 2, 7, 100, 99_991]) {
    expect(partitionOfKey(text, partitions)).toBe((hash & 0x7fff_ffff) % partitions);
  }
});

test('keys beyond the scratch buffer are hashed whole', () => {
  const places = new Set(
    Array.from({ length: 50 }, (_, i) => partitionOfKey('ü'.repeat(5_000) + String(i), 1_000_003)),
  );
  expect(places.size).toBe(50);
});
