/**
 * The figures that must hold (issue 3, section D; issue 4, statements 12 and 19), as data. A value holds absolutely, or where `orFloor` is given as ratio
 * to the floor in the same round: the machine may be slower than the one the figures came from.
 */
export interface Target {
  readonly row: string;
  readonly who: string;
  readonly metric: string;
  readonly min?: number;
  readonly max?: number;
  /** CPU ÷ floor's CPU at most this is as good. */
  readonly orFloor?: number;
}

export const targets: readonly Target[] = [
  { row: 'P1', who: 'durable', metric: 'k/s', min: 50 },
  { row: 'P1', who: 'durable', metric: 'CPU-s/100k', max: 1.2 },
  { row: 'P1', who: 'os', metric: 'k/s', min: 150 },
  { row: 'P1', who: 'os', metric: 'CPU-s/100k', max: 0.6 },
  { row: 'P2', who: 'durable', metric: 'MB/s', min: 200 },
  { row: 'P2', who: 'durable', metric: 'CPU-s/GB', max: 4.0, orFloor: 2.8 },
  { row: 'P2', who: 'os', metric: 'MB/s', min: 450 },
  { row: 'P2', who: 'os', metric: 'CPU-s/GB', max: 2.2, orFloor: 1.6 },
  { row: 'P3', who: 'durable', metric: 'MB/s', min: 550 },
  { row: 'P3', who: 'durable', metric: 'CPU-s/GB', max: 1.8, orFloor: 1.7 },
  { row: 'P3', who: 'os', metric: 'MB/s', min: 650 },
  { row: 'P3', who: 'os', metric: 'CPU-s/GB', max: 1.6, orFloor: 1.5 },
  { row: 'P4', who: 'durable', metric: 'k/s', min: 80 },
  { row: 'P4', who: 'durable', metric: 'CPU-s/100k', max: 1.0 },
  { row: 'P4', who: 'os', metric: 'k/s', min: 150 },
  { row: 'P4', who: 'os', metric: 'CPU-s/100k', max: 0.6 },
  { row: 'L1', who: 'durable', metric: 'p50 µs', max: 350 },
  { row: 'L1', who: 'durable', metric: 'p99 µs', max: 1000 },
  { row: 'L1', who: 'os', metric: 'p50 µs', max: 30 },
  { row: 'L1-bulk', who: 'durable', metric: 'p99 µs', max: 3000 },
  { row: 'L1-checkpoint', who: 'durable', metric: 'p99 µs', max: 5000 },
  { row: 'L1-checkpoint', who: 'durable', metric: 'max µs', max: 50_000 },
  { row: 'L2', who: 'durable', metric: 'p50 µs', max: 400 },
  { row: 'L2', who: 'durable', metric: 'p99 µs', max: 2000 },
  { row: 'L2', who: 'os', metric: 'p50 µs', max: 60 },
  { row: 'L2', who: 'os', metric: 'p99 µs', max: 1500 },
  { row: 'F1', who: 'durable', metric: 'CPU-s/GB', max: 0.55 },
  { row: 'F1', who: 'os', metric: 'CPU-s/GB', max: 0.55 },
  { row: 'F1-tail', who: 'durable', metric: 'CPU-s/GB', max: 0.25 },
  { row: 'F1-tail', who: 'os', metric: 'CPU-s/GB', max: 0.25 },
  { row: 'rss', who: 'durable', metric: 'idle MB', max: 90 },
  { row: 'rss', who: 'durable', metric: 'after loads MB', max: 150 },
  { row: 'start', who: 'durable', metric: 's', max: 0.3 },
  { row: 'partitions', who: 'durable', metric: 'RSS MB', max: 200 },
  // "Idle CPU 0": less than the kernel's own clock can tell from zero over the ten seconds.
  { row: 'partitions', who: 'durable', metric: 'idle CPU %', max: 0.5 },
  { row: 'restart', who: 'durable', metric: 's to all partitions', max: 1 },
  { row: 'idle-60s', who: 'durable', metric: 'KB/connection', max: 10 },
  { row: 'idle-60s', who: 'durable', metric: 'CPU %', max: 0.5 },
  { row: 'idle-500ms', who: 'durable', metric: 'CPU µs/poll', max: 40 },
  { row: 'E1', who: 'durable', metric: 'k/s', min: 150 },
  { row: 'E2', who: 'durable', metric: 'k/s', min: 1000 },
  { row: 'G1', who: 'durable', metric: 'k/s', min: 60 },
  { row: 'G2', who: 'durable', metric: 'k/s', min: 20 },
  { row: 'G3', who: 'durable', metric: 'p50 µs', max: 1000 },
  { row: 'G3', who: 'durable', metric: 'p99 µs', max: 5000 },
  { row: 'G3-sdk', who: 'durable', metric: 'p50 µs', max: 1000 },
  { row: 'G3-sdk', who: 'durable', metric: 'p99 µs', max: 5000 },
  { row: 'H1', who: 'durable', metric: 'k/s', min: 18 },
  { row: 'H1', who: 'durable', metric: 'CPU µs', max: 45 },
  { row: 'H2', who: 'durable', metric: 'p99 µs', max: 200_000 },
  { row: 'H2', who: 'durable', metric: 'CPU %', max: 100 },
  { row: 'delayed', who: 'durable', metric: 'RSS +MB', max: 30 },
  { row: 'delayed', who: 'durable', metric: 'idle CPU %', max: 0.5 },
  { row: 'in-flight', who: 'durable', metric: 'RSS +MB', max: 300 },
  { row: 'idle-groups', who: 'durable', metric: 'RSS +MB', max: 40 },
  { row: 'idle-groups', who: 'durable', metric: 'idle CPU %', max: 0.5 },
  { row: 'group-recovery', who: 'durable', metric: 's', max: 1 },
];

/** In the same run Hadron is ahead of Kafka in these (issue 3, section D, introduction). */
export interface Duel {
  readonly row: string;
  readonly ours: string;
  readonly theirs: string;
  readonly metric: string;
  readonly better: 'more' | 'less';
}

export const duels: readonly Duel[] = [
  ...['P1', 'P4'].flatMap((row): Duel[] => [
    { row, ours: 'durable', theirs: 'kafka', metric: 'k/s', better: 'more' },
    { row, ours: 'durable', theirs: 'kafka', metric: 'CPU-s/100k', better: 'less' },
  ]),
  ...['P2', 'P3'].flatMap((row): Duel[] => [
    { row, ours: 'durable', theirs: 'kafka', metric: 'MB/s', better: 'more' },
    { row, ours: 'durable', theirs: 'kafka', metric: 'CPU-s/GB', better: 'less' },
  ]),
  ...['p50 µs', 'p99 µs'].flatMap((metric): Duel[] => [
    { row: 'L1', ours: 'durable', theirs: 'kafka-sync', metric, better: 'less' },
    { row: 'L1', ours: 'os', theirs: 'kafka', metric, better: 'less' },
    { row: 'L2', ours: 'durable', theirs: 'kafka-sync', metric, better: 'less' },
    { row: 'L2', ours: 'os', theirs: 'kafka', metric, better: 'less' },
  ]),
  { row: 'rss', ours: 'durable', theirs: 'kafka', metric: 'idle MB', better: 'less' },
  { row: 'rss', ours: 'durable', theirs: 'kafka', metric: 'after loads MB', better: 'less' },
  { row: 'start', ours: 'durable', theirs: 'kafka', metric: 's', better: 'less' },
];

/** At equal durability Hadron is ahead of its peers (issue 4, statement 19): on the disk, and with the operating system. */
export const peerDuels: readonly Duel[] = (
  [
    ['hadron', 'nats-always'],
    ['hadron', 'redis-always'],
    ['hadron-os', 'nats'],
    ['hadron-os', 'redis-everysec'],
  ] as const
).flatMap(([ours, theirs]): Duel[] => [
  { row: 'publish', ours, theirs, metric: 'k/s', better: 'more' },
  { row: 'publish', ours, theirs, metric: 'CPU µs', better: 'less' },
  { row: 'group', ours, theirs, metric: 'k/s', better: 'more' },
  { row: 'group', ours, theirs, metric: 'CPU µs', better: 'less' },
  { row: 'latency', ours, theirs, metric: 'p50 µs', better: 'less' },
  { row: 'latency', ours, theirs, metric: 'p99 µs', better: 'less' },
  { row: 'memory', ours, theirs, metric: 'idle MB', better: 'less' },
  { row: 'memory', ours, theirs, metric: 'after loads MB', better: 'less' },
]);
