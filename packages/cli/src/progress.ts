/** A progress bar on stderr for work that takes a while; silent when nobody watches (no terminal). */
import { type Io, say } from './io.ts';

export interface Progress {
  update(done: number, total?: number): void;
  stop(): void;
}

export interface Meter {
  /** @param done of the total; `count` how many things, for the rate */
  update(done: number, count: number): void;
  /** A line for people, above the bar. */
  say(line: string): void;
  stop(): void;
}

const SILENT = { update() {}, stop() {} };

/** @param unit what is counted: "records", "MB" */
export async function progressBar(io: Io, title: string, total: number, unit: string): Promise<Progress> {
  if (io.stderr.isTTY !== true) return SILENT;
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar({
    ...settings(io),
    format: `${title} {bar} {percentage}% {value}/{total} ${unit} {eta_formatted}`,
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

/**
 * Counts things as they go by, with their rate; with a `total` also a bar and when it will be done.
 * @param unit what is counted: "events"
 */
export async function meter(io: Io, title: string, unit: string, total: number | undefined): Promise<Meter> {
  if (io.stderr.isTTY !== true) return { ...SILENT, say: (line) => say(io, line) };
  const { default: cliProgress } = await import('cli-progress');
  const counted = `{count} ${unit}  {rate}/s`;
  const bar = new cliProgress.SingleBar({
    ...settings(io),
    format:
      total === undefined ? `${title}  ${counted}` : `${title} {bar} {percentage}%  ${counted}  ETA {eta_formatted}`,
  });
  const startedMs = performance.now();
  bar.start(Math.max(total ?? 0, 1), 0, { count: '0', rate: '0' });
  return {
    update(done, count) {
      const seconds = Math.max((performance.now() - startedMs) / 1000, 0.1);
      bar.update(total === undefined ? 0 : Math.min(done, total), {
        count: count.toLocaleString('en'),
        rate: Math.round(count / seconds).toLocaleString('en'),
      });
    },
    // What the bar has drawn goes; it draws itself again below.
    say: (line) => say(io, `\r\u001b[2K${line}`),
    stop: () => bar.stop(),
  };
}

const settings = (io: Io) => ({ stream: io.stderr, hideCursor: true, clearOnComplete: true, fps: 10 });
