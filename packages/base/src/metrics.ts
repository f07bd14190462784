/**
 * Numbers about a running server, as plain fields.
 *
 * The hot path does `metrics.appends.value += 1` or `latency.observe(us)`: a number added to a field, no look-up of names or
 * labels. Whoever owns the numbers says once, at start, how they are called ({@link MetricsRegistry}); the server's
 * `/metrics` page asks for them when somebody looks. Names, units and labels follow Prometheus: base units (seconds,
 * bytes), `_total` for counters, few label values (API names, error names, topics of a group, never client ids).
 */

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** One number with its labels. `labels` are the values in the order of {@link Metric.labelNames}. */
export interface Sample {
  readonly labels: readonly string[];
  readonly value: number;
}

/** One histogram with its labels. */
export interface HistogramSample {
  readonly labels: readonly string[];
  readonly histogram: Histogram;
}

interface Named {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** How a number is called and read. `collect` is called once per scrape; it may walk tables, and must not wait. */
export type Metric =
  | (Named & { readonly type: 'counter' | 'gauge'; collect(): Iterable<Sample> })
  | (Named & { readonly type: 'histogram'; collect(): Iterable<HistogramSample> });

/** A number that goes up. */
export class Counter {
  value = 0;
}

/**
 * Counts of observations by upper bound. The last bucket, +Inf, is implied.
 * `observe` finds the bucket by walking up: put the usual values first or keep the list short (≤ 20).
 */
export class Histogram {
  /** Upper bounds, ascending. */
  readonly bounds: readonly number[];
  /** Observations per bucket, not cumulative; one longer than `bounds`. */
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] as number)) i++;
    this.counts[i] = (this.counts[i] as number) + 1;
    this.sum += value;
    this.count += 1;
  }
}

/** `count` bounds from `first`, each `factor` times the one before. */
export function exponentialBounds(first: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first * factor ** i);
}

/** Seconds from 50 µs to 1.6 s: syncs, requests, event-loop delays. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = exponentialBounds(0.00005, 2, 16);

/** The metrics of one server. No global one: each server in a process (a test, a shard) has its own. */
export class MetricsRegistry {
  readonly #metrics = new Map<string, Metric>();

  /**
   * Makes a metric known under its name.
   * @throws TypeError when the name is taken or not one Prometheus accepts
   */
  add(metric: Metric): void {
    if (!/^[a-z][a-z0-9_]*$/.test(metric.name)) throw new TypeError(`Not a metric name: ${metric.name}`);
    if (this.#metrics.has(metric.name)) throw new TypeError(`Metric ${metric.name} is registered twice`);
    this.#metrics.set(metric.name, metric);
  }

  /** A counter without labels, registered; increment its `value`. */
  counter(name: string, help: string): Counter {
    const counter = new Counter();
    this.add({ name, help, type: 'counter', labelNames: [], collect: () => [{ labels: [], value: counter.value }] });
    return counter;
  }

  /** A number that goes up and down, without labels: any field of its owner, read when somebody looks. */
  gauge(name: string, help: string, read: () => number): void {
    this.add({ name, help, type: 'gauge', labelNames: [], collect: () => [{ labels: [], value: read() }] });
  }

  /** A histogram without labels, registered. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const histogram = new Histogram(bounds);
    this.add({ name, help, type: 'histogram', labelNames: [], collect: () => [{ labels: [], histogram }] });
    return histogram;
  }

  /**
   * A counter per label value, registered. Ask for the counter once (at start, or at the first use of a label) and keep
   * it: the look-up is what the hot path must not pay.
   */
  counters(name: string, help: string, labelNames: readonly string[]): (...labels: string[]) => Counter {
    const children = new Map<string, { labels: readonly string[]; counter: Counter }>();
    this.add({
      name,
      help,
      type: 'counter',
      labelNames,
      collect: () => [...children.values()].map(({ labels, counter }) => ({ labels, value: counter.value })),
    });
    return (...labels) => {
      const key = labels.join('\u0000');
      let child = children.get(key);
      if (child === undefined) {
        child = { labels, counter: new Counter() };
        children.set(key, child);
      }
      return child.counter;
    };
  }

  [Symbol.iterator](): IterableIterator<Metric> {
    return this.#metrics.values();
  }
}
