/** A loop over seeds: reports the first that fails so that it can be run again alone, and what a seed costs. */
import { Sim, type SimOptions } from './sim.ts';

export interface SeedsOptions extends SimOptions {
  /** Default 1. */
  first?: number;
  count: number;
  /** Stop early after this much real time. Default: never. */
  budgetMs?: number;
  /** Lines of trace in the report of a failure. Default 200. */
  traceLinesMax?: number;
}

export interface SeedsResult {
  seeds: number;
  totalMs: number;
  meanMs: number;
  slowestMs: number;
  slowestSeed: number;
}

/** A seed that failed. The message holds the report; `cause` is the error. */
export class SeedFailure extends Error {
  override readonly name = 'SeedFailure';
  readonly seed: number;

  constructor(seed: number, report: string, cause: unknown) {
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    super(`seed ${seed}: ${why}\n${report}`, { cause });
    this.seed = seed;
  }
}

/**
 * Calls `run` once for each seed, one after the other, with a fresh {@link Sim}.
 * Between two seeds the real event loop gets a turn; rejections nobody handled surface there and fail the seed.
 * @throws SeedFailure at the first seed that fails
 */
export async function forEachSeed(
  options: SeedsOptions,
  run: (sim: Sim) => Promise<void> | void,
): Promise<SeedsResult> {
  const first = options.first ?? 1;
  const result: SeedsResult = { seeds: 0, totalMs: 0, meanMs: 0, slowestMs: 0, slowestSeed: first };
  let unhandled: { error: unknown } | undefined;
  const onUnhandled = (error: unknown): void => {
    unhandled ??= { error };
  };
  process.on('unhandledRejection', onUnhandled);
  try {
    for (let seed = first; seed < first + options.count; seed++) {
      const sim = new Sim(seed, options);
      const startMs = performance.now();
      try {
        await run(sim);
        await new Promise((resolve) => setImmediate(resolve));
        if (unhandled !== undefined) throw unhandled.error;
      } catch (error) {
        throw new SeedFailure(seed, sim.report(options.traceLinesMax), error);
      }
      const tookMs = performance.now() - startMs;
      result.seeds++;
      result.totalMs += tookMs;
      if (tookMs > result.slowestMs) {
        result.slowestMs = tookMs;
        result.slowestSeed = seed;
      }
      if (result.totalMs > (options.budgetMs ?? Number.POSITIVE_INFINITY)) break;
    }
  } finally {
    process.off('unhandledRejection', onUnhandled);
  }
  result.meanMs = result.totalMs / Math.max(1, result.seeds);
  return result;
}
