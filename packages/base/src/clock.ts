/**
 * Time as an argument. Nothing in `log` or `broker` asks the machine for the time; it is handed a Clock (log.md G18).
 *
 * Two times, never mixed: **monotonic** for time-outs, sessions, long polls, intervals and back-off; **wall** for record
 * stamps, retention and offset expiry. The wall clock may jump; the monotonic one may not.
 */
export interface Clock {
  /** Milliseconds since some fixed moment of this process, fractional, never going back. */
  monotonicMs(): number;
  /** Milliseconds since 1970, whole; may jump in either direction. */
  wallMs(): number;
  /** Calls `fn` once after `delayMs` of monotonic time. It does not keep the process alive. */
  setTimer(delayMs: number, fn: () => void): Timer;
  /** Calls `fn` after the input that is ready now has been handled (`setImmediate`): the group-commit point. */
  defer(fn: () => void): void;
}

export interface Timer {
  cancel(): void;
}

/** Node fires at once what is further away: a timer of a month fires after 24.8 days, and its owner looks again. */
const TIMEOUT_MAX_MS = 0x7fff_ffff;

/** The machine's clocks and the event loop. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, fn) {
    const handle = setTimeout(fn, Math.min(delayMs, TIMEOUT_MAX_MS));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  defer: (fn) => void setImmediate(fn),
};
