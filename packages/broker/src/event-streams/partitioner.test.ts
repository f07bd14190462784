import { expect, test } from 'vitest';
import { murmur2, partitionOfKey } from './partitioner.ts';

// The vectors of Kafka's own UtilsTest.
test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('R20: murmur2 of %s is that of the Java client', (text, hash) => {
  const bytes = Buffer.from(text);
  expect(murmur2(bytes, bytes.length)).toBe(hash);
  expect(partitionOfKey(text, 100)).toBe((hash & 0x7fff_ffff) % 100);
});

test('long keys and keys beyond ASCII: the partition of their UTF-8', () => {
  for (const key of ['é', '😀'.repeat(3), 'x'.repeat(5_000), 'ü'.repeat(400)]) {
    const bytes = Buffer.from(key);
    expect(partitionOfKey(key, 17)).toBe((murmur2(bytes, bytes.length) & 0x7fff_ffff) % 17);
  }
});
