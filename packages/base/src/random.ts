import { randomBytes } from 'node:crypto';

/** Randomness as an argument, so that one seed replays a whole run. */
export interface Random {
  /** `n` unpredictable bytes (predictable under a seed). */
  bytes(n: number): Uint8Array;
  /** An unsigned 32-bit integer. */
  u32(): number;
}

export const systemRandom: Random = {
  bytes: (n) => randomBytes(n),
  u32: () => randomBytes(4).readUInt32LE(0),
};

/** A random UUID (version 4) in its 36-character form. */
export function uuid(random: Random): string {
  const b = random.bytes(16);
  b[6] = ((b[6] as number) & 0x0f) | 0x40;
  b[8] = ((b[8] as number) & 0x3f) | 0x80;
  const h = Buffer.from(b).toString('hex');
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
}
