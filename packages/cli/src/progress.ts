/** A progress bar on stderr for work that takes a while; silent when nobody watches (no terminal). */
import type { Io } from './io.ts';

export interface Progress {
  update(done: number, total?: number): void;
  stop(): void;
}

const SILENT: Progress = { update() {}, stop() {} };

/** @param unit what is counted: "records", "MB" */
export async function progressBar(io: Io, title: string, total: number, unit: string): Promise<Progress> {
  if (io.stderr.isTTY !== true) return SILENT;
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar({
    format: `${title} {bar} {percentage}% {value}/{total} ${unit} {eta_formatted}`,
    stream: io.stderr,
    hideCursor: true,
    clearOnComplete: true,
    fps: 10,
  });
  bar.start(Math.max(total, 1), 0);
  return {
    update(done, newTotal) {
      if (newTotal !== undefined) bar.setTotal(Math.max(newTotal, 1));
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
