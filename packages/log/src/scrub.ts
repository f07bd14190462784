/**
 * The scrub: stored segments are read again in the background, at a pace, and compared with what was written (log.md
 * G11; setting storage.scrub.bytes.per.second, off by default). What it finds is told; a read of it is refused by the
 * reader's own checks, so that nothing more is needed here.
 *
 * One segment after the other, all logs; then a rest. Bytes that were never read since they were written are found
 * damaged while a copy of them may still exist somewhere.
 */
import type { Timer } from '@hadron/base';
import { SegmentCheck } from './inspect.ts';
import type { Log, Segment } from './log.ts';
import type { Shard } from './shard.ts';

export interface ScrubOptions {
  readonly shard: Shard;
  readonly bytesPerSecond: number;
  /** Between two rounds over all logs. Default an hour. */
  readonly restMs?: number;
}

export class Scrub {
  readonly stats = { rounds: 0, bytes: 0, findings: 0 };
  readonly #o: ScrubOptions;
  readonly #shard: Shard;
  #running = false;
  #timer: Timer | undefined;
  #wake: (() => void) | undefined;

  constructor(options: ScrubOptions) {
    this.#o = options;
    this.#shard = options.shard;
  }

  /** Begins with a rest: a start has other things to do. */
  start(): void {
    if (this.#running || this.#o.bytesPerSecond <= 0) return;
    this.#running = true;
    void this.#rounds();
  }

  stop(): void {
    this.#running = false;
    this.#timer?.cancel();
    this.#wake?.();
  }

  async #rounds(): Promise<void> {
    for (;;) {
      await this.#sleep(this.#o.restMs ?? 3_600_000);
      if (this.#isOver()) return;
      for (const log of [...this.#shard.logs.values()]) {
        for (const segment of [...log.segments]) {
          await this.#segment(log, segment);
          if (this.#isOver()) return;
        }
      }
      this.stats.rounds++;
    }
  }

  async #segment(log: Log, segment: Segment): Promise<void> {
    const shard = this.#shard;
    // What is not on stable storage yet is looked at in another round.
    if (segment.bytes === 0 || segment.stableBytes !== segment.bytes || segment.end <= log.startPosition) return;
    const { base, end, bytes, stableCrc, version } = segment;
    const check = new SegmentCheck(log.format, { base, stableEnd: end, bytes, crc: stableCrc, version }, undefined);
    const path = shard.files.path(log, segment);
    let dueMs = shard.clock.monotonicMs();
    try {
      const opened = await shard.files.acquire(log, segment);
      try {
        for await (const findings of check.run(opened.file)) {
          for (const { byte, from, to, what } of findings) {
            if (log.fences.some((f) => f.segmentBase === base && byte >= f.fromByte && byte < f.toByte)) continue;
            this.stats.findings++;
            shard.logger.error(
              { log: log.name, segment: path, byte, from, to, what },
              'the scrub found damaged data; restore the segment from a copy, "hadron log verify" tells more',
            );
          }
          const n = check.readBytes();
          this.stats.bytes += n;
          dueMs += (n / this.#o.bytesPerSecond) * 1000;
          await this.#sleep(dueMs - shard.clock.monotonicMs());
          if (this.#isOver()) return;
        }
      } finally {
        shard.files.done(opened);
      }
    } catch (error) {
      // Trimmed, compacted or removed meanwhile, or the server ends.
      if (this.#isOver() || log.removed || !log.segments.includes(segment)) return;
      this.stats.findings++;
      shard.logger.error({ log: log.name, segment: path, err: String(error) }, 'the scrub could not read a segment');
    }
  }

  #isOver(): boolean {
    return !this.#running || this.#shard.isEnding;
  }

  #sleep(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#shard.clock.setTimer(ms, resolve);
    });
  }
}
