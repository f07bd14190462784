/**
 * What goes wrong on the simulated disk: directed switches for one test case, and a plan of probabilities for seeds.
 *
 * A call's fate is decided when it is made, in the order of calls; the directed switches are looked at first.
 */
import type { SimRandom } from './sim-random.ts';

export type DiskOp =
  | 'open'
  | 'read'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'rename'
  | 'unlink'
  | 'syncDir'
  | 'space'
  | 'mkdir';

/** How one call ends. No code: it succeeds, perhaps late or short. */
export interface Verdict {
  code?: string;
  /** A write: the share of its bytes that is written. */
  part?: number;
  delayMs?: number;
  /** A failing datasync: how likely each sector has reached the platter all the same. Default: chosen by the seed. */
  keep?: number;
  hold?: Hold;
}

/** Probabilities per call, 0 to 1; what is not named does not happen. */
export interface FaultPlan {
  /** Only paths that match. */
  path?: RegExp;
  /** EIO by kind of call. */
  fail?: Partial<Record<DiskOp, number>>;
  /** A write that ends short, without an error. */
  shortWrite?: number;
  /** A datasync or syncDir that takes `slowMs` longer. */
  slow?: number;
  /** Default 5,000. */
  slowMs?: number;
}

/** Which calls a directed switch meets. A rename's path is `from → to`. */
export type PathMatch = RegExp | string;

export interface FaultOptions {
  /** Default EIO. */
  code?: string;
  /** Meets this many calls. Default 1. */
  times?: number;
  /** Lets this many matching calls pass first. Default 0. */
  skip?: number;
  /** See {@link Verdict.keep}. */
  keep?: number;
}

interface Rule {
  op: DiskOp;
  path: PathMatch;
  skip: number;
  times: number;
  verdict: (length: number) => Verdict;
}

/** Calls that are kept under way until the test lets them go. */
export class Hold {
  #parked: (() => void)[] = [];
  #open = false;

  /** Calls waiting. */
  get count(): number {
    return this.#parked.length;
  }

  /** Lets all of them go, and later ones pass. */
  release(): void {
    this.#open = true;
    for (const go of this.#parked.splice(0)) go();
  }

  /** @internal */
  park(go: () => void): void {
    if (this.#open) go();
    else this.#parked.push(go);
  }
}

export class Faults {
  readonly #random: SimRandom;
  #rules: Rule[] = [];
  #plan: FaultPlan | undefined;
  /** Calls that were made to fail, be short or be slow. */
  injectedCount = 0;

  constructor(random: SimRandom) {
    this.#random = random;
  }

  /** Seed-driven faults from here on; undefined ends them. */
  set plan(plan: FaultPlan | undefined) {
    this.#plan = plan;
  }

  /** The next call of this kind on a matching path fails. */
  failNext(op: DiskOp, path: PathMatch, options: FaultOptions = {}): void {
    const verdict: Verdict = { code: options.code ?? 'EIO' };
    if (options.keep !== undefined) verdict.keep = options.keep;
    this.#add(op, path, () => verdict, options);
  }

  /** The next write on a matching path writes only `bytes` and reports that. */
  shortNext(path: PathMatch, bytes: number, options: FaultOptions = {}): void {
    this.#add('write', path, (length) => ({ part: length > bytes ? (bytes + 0.5) / length : 1 }), options);
  }

  /** The next call of this kind takes `ms` longer. */
  slowNext(op: DiskOp, path: PathMatch, ms: number, options: FaultOptions = {}): void {
    this.#add(op, path, () => ({ delayMs: ms }), options);
  }

  /** Matching asynchronous calls stay under way, without effect, until released. `times` is unlimited by default. */
  hold(op: DiskOp, path: PathMatch, options: FaultOptions = {}): Hold {
    const hold = new Hold();
    this.#add(op, path, () => ({ hold }), { times: Number.POSITIVE_INFINITY, ...options });
    return hold;
  }

  /** Directed switches that have met no call, or fewer than asked: a test can see that its fault never happened. */
  get unmet(): string[] {
    return this.#rules.filter((r) => Number.isFinite(r.times)).map((r) => `${r.op} ${String(r.path)} × ${r.times}`);
  }

  /** Forgets switches and plan. Calls on hold stay there. */
  clear(): void {
    this.#rules = [];
    this.#plan = undefined;
  }

  /** @internal */
  get isQuiet(): boolean {
    return this.#rules.length === 0 && this.#plan === undefined;
  }

  /** @internal */
  judge(op: DiskOp, path: string, length: number): Verdict | undefined {
    for (const rule of this.#rules) {
      if (rule.op !== op || !matches(rule.path, path)) continue;
      if (rule.skip > 0) {
        rule.skip--;
        continue;
      }
      if (--rule.times <= 0) this.#rules = this.#rules.filter((other) => other !== rule);
      this.injectedCount++;
      return rule.verdict(length);
    }
    return this.#plan === undefined ? undefined : this.#planned(this.#plan, op, path);
  }

  #planned(plan: FaultPlan, op: DiskOp, path: string): Verdict | undefined {
    if (plan.path !== undefined && !plan.path.test(path)) return undefined;
    const random = this.#random;
    if (random.chance(plan.fail?.[op] ?? 0)) {
      this.injectedCount++;
      return { code: 'EIO' };
    }
    if (op === 'write' && random.chance(plan.shortWrite ?? 0)) {
      this.injectedCount++;
      return { part: random.float() };
    }
    if ((op === 'datasync' || op === 'syncDir') && random.chance(plan.slow ?? 0)) {
      this.injectedCount++;
      return { delayMs: plan.slowMs ?? 5_000 };
    }
    return undefined;
  }

  #add(op: DiskOp, path: PathMatch, verdict: (length: number) => Verdict, options: FaultOptions): void {
    this.#rules.push({ op, path, skip: options.skip ?? 0, times: options.times ?? 1, verdict });
  }
}

function matches(pattern: PathMatch, path: string): boolean {
  return typeof pattern === 'string' ? path === pattern || path.endsWith(`/${pattern}`) : pattern.test(path);
}
