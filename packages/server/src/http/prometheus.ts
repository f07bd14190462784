/**
 * The `/metrics` page. prom-client writes the text format; it is loaded when somebody looks for the first time, because most
 * laptops never do. Its default metrics stay out: they watch the event loop for good, and the numbers of the process that
 * matter are among ours.
 */
import type { HistogramSample, Metric, MetricsRegistry, Sample } from '@hadron/base';
import type { Metric as PromMetric, Registry } from 'prom-client';

export interface Page {
  readonly contentType: string;
  readonly body: string;
}

/** @returns a function that renders the numbers as they are now */
export function prometheusPage(metrics: MetricsRegistry): () => Promise<Page> {
  let loaded: Promise<Registry> | undefined;
  const known = new Set<string>();
  return async () => {
    loaded ??= import('prom-client').then(({ default: prom }) => {
      return new prom.Registry();
    });
    const registry = await loaded;
    for (const metric of metrics) {
      if (known.has(metric.name)) continue;
      known.add(metric.name);
      registry.registerMetric(asPromMetric(metric));
    }
    return { contentType: registry.contentType, body: await registry.metrics() };
  };
}

interface PromValue {
  labels: Record<string, string | number>;
  value: number;
  metricName?: string;
}

/** What prom-client's registry asks of a metric, answered from our plain fields: no copy of the numbers is kept. */
function asPromMetric(metric: Metric): PromMetric {
  const { name, help, type } = metric;
  const values = () => (metric.type === 'histogram' ? histogramValues(metric) : plainValues(metric));
  const adapter = { name, help, type, get: () => Promise.resolve({ name, help, type, values: values() }) };
  return adapter as unknown as PromMetric;
}

function labelled(names: readonly string[], labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, i) => [name, labels[i] ?? '']));
}

function plainValues(metric: { labelNames: readonly string[]; collect(): Iterable<Sample> }): PromValue[] {
  return Array.from(metric.collect(), ({ labels, value }) => ({ labels: labelled(metric.labelNames, labels), value }));
}

/** Prometheus wants cumulative buckets, the sum and the count. */
function histogramValues(metric: {
  name: string;
  labelNames: readonly string[];
  collect(): Iterable<HistogramSample>;
}): PromValue[] {
  const values: PromValue[] = [];
  for (const { labels: texts, histogram } of metric.collect()) {
    const labels = labelled(metric.labelNames, texts);
    const metricName = `${metric.name}_bucket`;
    let below = 0;
    histogram.bounds.forEach((bound, i) => {
      below += histogram.counts[i] as number;
      values.push({ metricName, labels: { ...labels, le: Number(bound.toPrecision(6)) }, value: below });
    });
    values.push({ metricName, labels: { ...labels, le: '+Inf' }, value: histogram.count });
    values.push({ metricName: `${metric.name}_sum`, labels, value: histogram.sum });
    values.push({ metricName: `${metric.name}_count`, labels, value: histogram.count });
  }
  return values;
}
