/**
 * Values that name themselves: `KEY COUNTER SIZE ` and then bytes that follow from these three. So whoever reads one knows
 * which record it is and whether each byte of it is the one that was sent. ASCII without line ends: kcat sends them too.
 */
import { hash, SeededRandom } from './random.ts';

const POOL_BYTES = 1 << 20;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const pool = ((): Buffer => {
  const random = new SeededRandom(20_260_101);
  const bytes = Buffer.alloc(2 * POOL_BYTES);
  for (let i = 0; i < bytes.length; i++) bytes[i] = ALPHABET.charCodeAt(Math.floor(random.next() * 64));
  return bytes;
})();

/** @param bytes about how long it gets; at least its own head */
export function makeValue(key: string, counter: number, bytes: number): Buffer {
  const head = `${key} ${counter} ${bytes} `;
  const body = Math.max(0, bytes - head.length);
  const from = poolOffset(key, counter);
  return Buffer.concat([Buffer.from(head), pool.subarray(from, from + body)]);
}

export interface Named {
  key: string;
  counter: number;
  /** Every byte is the one that was sent. */
  intact: boolean;
}

/** @returns undefined for bytes that no producer of ours made */
export function readValue(value: Buffer): Named | undefined {
  const a = value.indexOf(32);
  const b = value.indexOf(32, a + 1);
  const c = value.indexOf(32, b + 1);
  if (a <= 0 || b <= a || c <= b || c > 100) return undefined;
  const key = value.toString('latin1', 0, a);
  const counter = Number(value.toString('latin1', a + 1, b));
  const bytes = Number(value.toString('latin1', b + 1, c));
  if (!Number.isInteger(counter) || !Number.isInteger(bytes)) return undefined;
  return { key, counter, intact: value.equals(makeValue(key, counter, bytes)) };
}

function poolOffset(key: string, counter: number): number {
  return hash(`${key} ${counter}`) % POOL_BYTES;
}

/** Mostly small, sometimes some KiB, seldom tens of KiB: one commit of several such may or may not go the direct way. */
export function mixedSize(random: SeededRandom): number {
  const dice = random.next();
  if (dice < 0.75) return random.between(30, 400);
  return dice < 0.96 ? random.between(1_000, 8_000) : random.between(20_000, 60_000);
}
