/** Collects one sample per round and prints medians, spread, ratios and whether the targets are met. */
import type { Duel, Target } from './targets.ts';

/** Figures of one run by name; the unit is part of the name. */
export type Sample = Record<string, number>;

export interface Summary {
  median: number;
  min: number;
  max: number;
  rounds: number;
}

export interface Verdict {
  row: string;
  text: string;
  met: boolean;
}

/** The figure whose ratio to the floor is worth printing. */
const cpuMetrics = ['CPU-s/100k', 'CPU-s/GB'];

/** Who takes part, in the order of the table, and what is expected of them. */
export interface Expectations {
  readonly contestants: readonly string[];
  readonly targets: readonly Target[];
  readonly duels: readonly Duel[];
}

export class Results {
  private readonly expectations: Expectations;
  private readonly samples = new Map<string, Map<string, Sample[]>>();
  private readonly titles = new Map<string, string>();
  readonly failures: { row: string; who: string; error: string }[] = [];

  constructor(expectations: Expectations) {
    this.expectations = expectations;
  }

  add(row: string, title: string, who: string, sample: Sample): void {
    this.titles.set(row, title);
    const perRow = this.samples.get(row) ?? new Map<string, Sample[]>();
    this.samples.set(row, perRow);
    perRow.set(who, [...(perRow.get(who) ?? []), sample]);
  }

  fail(row: string, title: string, who: string, error: unknown): void {
    this.titles.set(row, title);
    this.failures.push({ row, who, error: error instanceof Error ? error.message : String(error) });
  }

  summary(row: string, who: string, metric: string): Summary | undefined {
    const values = this.values(row, who, metric);
    return values.length === 0 ? undefined : summarize(values);
  }

  private values(row: string, who: string, metric: string): number[] {
    const own = this.samples.get(row)?.get(who) ?? [];
    return own.map((sample) => sample[metric]).filter((value) => value !== undefined);
  }

  /** CPU ÷ floor's CPU of the same round: what the machine did in that minute cancels out. */
  floorRatio(row: string, who: string, metric: string): Summary | undefined {
    const own = this.samples.get(row)?.get(who) ?? [];
    const floor = this.samples.get(row)?.get('floor') ?? [];
    const ratios = own.flatMap((sample, round) => {
      const [a, b] = [sample[metric], floor[round]?.[metric]];
      return a === undefined || b === undefined || b === 0 ? [] : [a / b];
    });
    return ratios.length === 0 ? undefined : summarize(ratios);
  }

  verdicts(): Verdict[] {
    const verdicts: Verdict[] = [];
    for (const target of this.expectations.targets) {
      const got = this.summary(target.row, target.who, target.metric);
      if (got === undefined) continue;
      const ratio = target.orFloor === undefined ? undefined : this.floorRatio(target.row, target.who, target.metric);
      const absolute = got.median >= (target.min ?? -Infinity) && got.median <= (target.max ?? Infinity);
      const relative = ratio !== undefined && ratio.median <= target.orFloor!;
      const wanted = [
        target.min === undefined ? `≤ ${target.max}` : `≥ ${target.min}`,
        ...(target.orFloor === undefined ? [] : [`or ≤ ${target.orFloor} × floor`]),
      ].join(' ');
      const measured = `${round(got.median)}${ratio === undefined ? '' : ` (${round(ratio.median)} × floor)`}`;
      const text = `${target.who} ${target.metric}: ${measured}, target ${wanted}`;
      verdicts.push({ row: target.row, text, met: absolute || relative });
    }
    for (const duel of this.expectations.duels) {
      const ours = this.summary(duel.row, duel.ours, duel.metric);
      const theirs = this.summary(duel.row, duel.theirs, duel.metric);
      if (ours === undefined || theirs === undefined) continue;
      const met = duel.better === 'more' ? ours.median > theirs.median : ours.median < theirs.median;
      const text = `${duel.ours} ahead of ${duel.theirs} in ${duel.metric}: ${round(ours.median)} against ${round(theirs.median)}`;
      verdicts.push({ row: duel.row, text, met });
    }
    verdicts.push(...this.storedVerdicts());
    return verdicts;
  }

  /** What is stored must not make work dearer: the largest size against the smallest, within 5 % or inside the spread. */
  private storedVerdicts(): Verdict[] {
    const rows = [...this.titles.keys()].filter((row) => row.startsWith('stored-'));
    const [first, last] = [rows[0], rows.at(-1)];
    if (first === undefined || last === undefined || first === last) return [];
    return ['produce CPU-s/GB', 'tail read CPU-s/GB'].flatMap((metric) => {
      const small = this.summary(first, 'durable', metric);
      const large = this.summary(last, 'durable', metric);
      if (small === undefined || large === undefined) return [];
      const met = large.median <= small.median * 1.05 || large.median <= small.max;
      return [
        {
          row: last,
          text: `${metric}: ${show(large)}, at ${first}: ${show(small)}, target within 5 % or the spread`,
          met,
        },
      ];
    });
  }

  text(): string {
    const lines: string[] = [];
    const verdicts = this.verdicts();
    for (const [row, title] of this.titles) {
      lines.push('', `${row}  ${title}`);
      const perRow = this.samples.get(row) ?? new Map<string, Sample[]>();
      const metrics = [...new Set([...perRow.values()].flatMap((own) => own.flatMap((sample) => Object.keys(sample))))];
      const cpu = metrics.find((metric) => cpuMetrics.includes(metric));
      const withRatio = cpu !== undefined && perRow.has('floor');
      const table = [['', ...metrics, ...(withRatio ? ['CPU ÷ floor'] : [])]];
      for (const who of this.expectations.contestants) {
        if (!perRow.has(who)) continue;
        const cells = metrics.map((metric) => show(this.summary(row, who, metric)));
        if (withRatio) cells.push(show(this.floorRatio(row, who, cpu)));
        table.push([who, ...cells]);
      }
      lines.push(...alignColumns(table));
      for (const verdict of verdicts.filter((one) => one.row === row)) {
        lines.push(`  ${verdict.met ? 'met    ' : 'NOT MET'}  ${verdict.text}`);
      }
      for (const failure of this.failures.filter((one) => one.row === row)) {
        lines.push(`  FAILED   ${failure.who}: ${failure.error}`);
      }
    }
    return lines.join('\n');
  }

  json(): object {
    return {
      rows: [...this.titles].map(([row, title]) => ({
        row,
        title,
        results: [...(this.samples.get(row) ?? [])].map(([who, samples]) => ({
          who,
          summary: Object.fromEntries(
            [...new Set(samples.flatMap((sample) => Object.keys(sample)))].map((metric) => [
              metric,
              this.summary(row, who, metric),
            ]),
          ),
          samples,
        })),
      })),
      verdicts: this.verdicts(),
      failures: this.failures,
    };
  }
}

function summarize(values: number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, rounds: sorted.length };
}

function show(summary: Summary | undefined): string {
  if (summary === undefined) return '';
  if (summary.rounds === 1) return round(summary.median);
  return `${round(summary.median)} (${round(summary.min)}–${round(summary.max)})`;
}

/** Three figures that matter. */
function round(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

function alignColumns(table: string[][]): string[] {
  const widths = table[0]!.map((_, column) => Math.max(...table.map((line) => line[column]!.length)));
  return table.map((line) => `  ${line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}`.trimEnd());
}
