/** What every load reports: units per second, CPU of the server and of this process per unit, percentiles. */
import { cpuSeconds } from '../lib/servers.ts';

/** Figures by name; the unit is part of the name. */
export type Figures = Record<string, number>;

/** From now to `stop`: wall clock, CPU of a server process, CPU of this one. */
export class Stopwatch {
  private readonly pid: number;
  private readonly startedAt = performance.now();
  private readonly server: number;
  private readonly own = process.cpuUsage();

  constructor(pid: number) {
    this.pid = pid;
    this.server = cpuSeconds(pid);
  }

  stop(units: number): Figures {
    const seconds = (performance.now() - this.startedAt) / 1000;
    const { user, system } = process.cpuUsage(this.own);
    const server = cpuSeconds(this.pid) - this.server;
    return {
      'k/s': units / seconds / 1e3,
      'CPU µs': (server / units) * 1e6,
      'client CPU µs': (user + system) / units,
      'CPU %': (server / seconds) * 100,
    };
  }
}

/** Milliseconds in, percentiles in microseconds out. */
export class Latencies {
  private readonly values: number[] = [];

  add(ms: number): void {
    this.values.push(ms);
  }

  figures(): Figures {
    const sorted = Float64Array.from(this.values).sort();
    const at = (part: number): number =>
      (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0) * 1e3;
    return { 'p50 µs': at(0.5), 'p99 µs': at(0.99), 'max µs': at(1) };
  }
}
