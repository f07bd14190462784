/**
 * Time and randomness of the client where nothing else is given: a browser's or Node's. The test kit hands in its own.
 *
 * Unlike the broker's system clock these timers keep a process alive: a consumer that waits to connect again has no
 * socket that would.
 */
import type { Clock, Random } from '@hadron/base';

/** Timers further away than this fire at once. */
const TIMEOUT_MAX_MS = 0x7fff_ffff;

export const clientClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, fn) {
    const handle = setTimeout(fn, Math.min(delayMs, TIMEOUT_MAX_MS));
    return { cancel: () => clearTimeout(handle) };
  },
  defer: typeof setImmediate === 'function' ? (fn) => void setImmediate(fn) : (fn) => void setTimeout(fn, 0),
};

/** One call for many ids: asking the machine costs more than the bytes. */
const POOL_BYTES = 2048;
let pool = new Uint8Array(0);
let used = 0;

export const clientRandom: Random = {
  bytes(n) {
    if (n > POOL_BYTES) return crypto.getRandomValues(new Uint8Array(n));
    if (used + n > pool.length) {
      pool = crypto.getRandomValues(new Uint8Array(POOL_BYTES));
      used = 0;
    }
    used += n;
    return pool.subarray(used - n, used);
  },
  u32() {
    const b = clientRandom.bytes(4);
    return new DataView(b.buffer, b.byteOffset).getUint32(0);
  },
};

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** A random UUID (version 4). */
export function newId(random: Random): string {
  const b = random.bytes(16);
  const h = (i: number): string => HEX[b[i] as number] as string;
  const version = HEX[((b[6] as number) & 0x0f) | 0x40] as string;
  const variant = HEX[((b[8] as number) & 0x3f) | 0x80] as string;
  return (
    `${h(0)}${h(1)}${h(2)}${h(3)}-${h(4)}${h(5)}-${version}${h(7)}-${variant}${h(9)}-` +
    `${h(10)}${h(11)}${h(12)}${h(13)}${h(14)}${h(15)}`
  );
}

interface Waiters {
  readonly each: Set<() => void>;
  readonly heard: () => void;
}

/** By signal. It has one listener of ours: with every other it looks through all it has, and a hundred thousand are usual. */
const waiters = new WeakMap<AbortSignal, Waiters>();

/** Calls `fn` when `signal` aborts, at once if it has. @returns forgets it */
export function onAbort(signal: AbortSignal | undefined, fn: () => void): () => void {
  if (signal === undefined) return () => undefined;
  if (signal.aborted) {
    fn();
    return () => undefined;
  }
  let known = waiters.get(signal);
  if (known === undefined) {
    const each = new Set<() => void>();
    const heard = (): void => {
      waiters.delete(signal);
      for (const call of each) call();
    };
    known = { each, heard };
    waiters.set(signal, known);
    signal.addEventListener('abort', heard, { once: true });
  }
  const { each, heard } = known;
  const own = (): void => fn(); // the same one may wait twice
  each.add(own);
  return () => {
    if (!each.delete(own) || each.size > 0 || signal.aborted) return;
    waiters.delete(signal);
    signal.removeEventListener('abort', heard);
  };
}

/** Resolves after `delayMs`, or at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(delayMs, () => {
      forget();
      resolve();
    });
    const forget = onAbort(signal, () => {
      timer.cancel();
      resolve();
    });
  });
}

/** What `work` resolves with; undefined after `delayMs`, or when `signal` aborts. What comes later is nobody's. */
export async function within<T>(
  clock: Clock,
  delayMs: number,
  work: Promise<T>,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const over = new AbortController();
  const forget = onAbort(signal, () => over.abort());
  try {
    return await Promise.race([work, sleep(clock, delayMs, over.signal).then(() => undefined)]);
  } finally {
    forget();
    over.abort();
    work.catch(() => undefined);
  }
}

const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 5_000;

/** Wait before the next try, `failures` ≥ 1 in a row: doubles from 50 ms to 5 s; any moment of its second half. */
export function retryDelayMs(failures: number, random: Random): number {
  const full = Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_MAX_MS);
  return full * (0.5 + random.u32() / 2 ** 33);
}
