/**
 * Ctrl-C and `kill`: the first signal asks for a graceful end, the second ends at once.
 *
 * One key press can arrive twice: the terminal signals the whole process group, and npm, being part of it, forwards the
 * signal to us as well (measured: within 1-15 ms). So signals close together count as one.
 */
export const ONE_PRESS_MS = 250;

export interface SignalHandlers {
  first(signal: NodeJS.Signals): void;
  second(signal: NodeJS.Signals): void;
}

/**
 * Installs the handlers for SIGINT, SIGTERM and SIGHUP.
 * @returns a function that removes them
 */
export function onStopSignals(
  { first, second }: SignalHandlers,
  source: Pick<NodeJS.Process, 'on' | 'off'> = process,
  nowMs: () => number = () => performance.now(),
): () => void {
  let firstAtMs: number | undefined;
  const handle = (signal: NodeJS.Signals) => {
    const now = nowMs();
    if (firstAtMs === undefined) {
      firstAtMs = now;
      first(signal);
    } else if (now - firstAtMs >= ONE_PRESS_MS) second(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) source.on(signal, handle);
  return () => {
    for (const signal of signals) source.off(signal, handle);
  };
}
