import { expect, test } from 'vitest';
import { exponentialBounds, Histogram, MetricsRegistry } from './metrics.ts';

test('a histogram counts each observation in the first bucket that holds it', () => {
  const histogram = new Histogram([1, 2, 4]);
  for (const value of [0.5, 1, 1.5, 4, 9]) histogram.observe(value);
  expect([...histogram.counts]).toEqual([2, 1, 1, 1]);
  expect(histogram.count).toBe(5);
  expect(histogram.sum).toBe(16);
});

test('a registry hands out what its owners count', () => {
  const registry = new MetricsRegistry();
  const appends = registry.counter('appends_total', 'Appends');
  const requests = registry.counters('requests_total', 'Requests', ['api', 'error']);
  let depth = 0;
  registry.gauge('queue_depth', 'Depth', () => depth);
  appends.value += 2;
  depth = 7;
  requests('Produce', 'NONE').value += 1;
  requests('Produce', 'NONE').value += 1;
  requests('Fetch', 'NONE').value += 1;
  const seen = [...registry].map((metric) => [metric.name, [...metric.collect()]]);
  expect(seen).toEqual([
    ['appends_total', [{ labels: [], value: 2 }]],
    [
      'requests_total',
      [
        { labels: ['Produce', 'NONE'], value: 2 },
        { labels: ['Fetch', 'NONE'], value: 1 },
      ],
    ],
    ['queue_depth', [{ labels: [], value: 7 }]],
  ]);
  expect(() => registry.counter('appends_total', 'again')).toThrow(TypeError);
  expect(() => registry.counter('Bad Name', '')).toThrow(TypeError);
});

test('exponential bounds', () => {
  expect(exponentialBounds(1, 2, 4)).toEqual([1, 2, 4, 8]);
});
