/** The ends of commands that run until they are stopped: Ctrl-C, and a reader of our output that has gone (`| head`). */
import { type Io, isReaderGone } from '../../io.ts';
import { onStopSignals } from '../../signals.ts';

export interface Stopping {
  readonly signal: AbortSignal;
  readonly now: () => void;
  /** Whether an error is the end of the reader: no failure. */
  isOutputGone(error: unknown): boolean;
  dispose(): void;
}

export function stopping(io: Io): Stopping {
  const controller = new AbortController();
  const now = (): void => controller.abort();
  const onOutputError = (error: NodeJS.ErrnoException): void => {
    if (isReaderGone(error)) now();
  };
  const removeSignals = onStopSignals({ first: now, second: () => process.exit(130) });
  io.stdout.on('error', onOutputError);
  return {
    signal: controller.signal,
    now,
    isOutputGone: isReaderGone,
    dispose() {
      removeSignals();
      io.stdout.off('error', onOutputError);
    },
  };
}
