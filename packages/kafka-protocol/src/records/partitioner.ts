/** Which partition a key goes to: as Kafka's Java client says, so that all producers of a topic agree (kafka.md R20). */

const SEED = 0x9747b28c;
const M = 0x5bd1e995;
const SCRATCH_BYTES = 1024;
const scratch = Buffer.allocUnsafe(SCRATCH_BYTES);

/** The partition of a key that is its UTF-8. */
export function partitionOfKey(key: string, partitions: number): number {
  if (partitions === 1) return 0;
  // A character takes three bytes at most (a pair of them four).
  if (key.length * 3 > SCRATCH_BYTES) {
    const bytes = Buffer.from(key, 'utf8');
    return positive(murmur2(bytes, bytes.length)) % partitions;
  }
  const length = scratch.write(key, 'utf8');
  return positive(murmur2(scratch, length)) % partitions;
}

const positive = (n: number): number => n & 0x7fff_ffff;

/** MurmurHash2 of `b[0, length)`, 32 bits, signed, with Kafka's seed. */
function murmur2(b: Uint8Array, length: number): number {
  let h = SEED ^ length;
  let i = 0;
  for (const stop = length - 3; i < stop; i += 4) {
    let k =
      (b[i] as number) | ((b[i + 1] as number) << 8) | ((b[i + 2] as number) << 16) | ((b[i + 3] as number) << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const left = length - i;
  if (left === 3) h ^= (b[i + 2] as number) << 16;
  if (left >= 2) h ^= (b[i + 1] as number) << 8;
  if (left >= 1) h = Math.imul(h ^ (b[i] as number), M);
  h = Math.imul(h ^ (h >>> 13), M);
  return h ^ (h >>> 15);
}
