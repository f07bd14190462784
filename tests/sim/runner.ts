/**
 * What every scenario of the simulation is, and the loop over seeds. A scenario is one file in `scenarios/`, named in
 * `scenarios/index.ts`; it gets a fresh machine from one seed and throws when a promise was broken.
 */
import type { BrokerSabotage } from '@hadron/broker';
import { forEachSeed, SeedFailure, type Sim, type SimOptions } from '@hadron/testkit';
import type { DeliverySabotage } from '../../packages/broker/src/delivery/core/machine.ts';

/** Every way to break what is simulated. */
export type ScenarioSabotage = BrokerSabotage & DeliverySabotage;

export interface Scenario {
  readonly name: string;
  readonly about: string;
  readonly options?: SimOptions;
  /**
   * One seed.
   * @returns what happened, as numbers that are added up over the seeds: a run that exercises nothing should be seen
   * @throws anything, when a promise was broken
   */
  run(sim: Sim, sabotage: ScenarioSabotage): Promise<Record<string, number>>;
}

export interface SeedRange {
  readonly first: number;
  readonly count: number;
  readonly sabotage?: ScenarioSabotage;
  /** Called after every seed. */
  readonly onSeed?: (seed: number) => void;
}

export interface ScenarioResult {
  readonly seeds: number;
  readonly meanMs: number;
  readonly slowestMs: number;
  readonly slowestSeed: number;
  readonly sums: Record<string, number>;
  /** Undefined: every seed passed. Else the run ended there. */
  readonly failure: SeedFailure | undefined;
}

/** Runs a scenario until the first seed that fails. */
export async function runSeeds(scenario: Scenario, range: SeedRange): Promise<ScenarioResult> {
  const sums: Record<string, number> = {};
  let seeds = 0;
  let failure: SeedFailure | undefined;
  let cost = { meanMs: 0, slowestMs: 0, slowestSeed: range.first };
  try {
    cost = await forEachSeed({ ...scenario.options, first: range.first, count: range.count }, async (sim) => {
      const counts = await scenario.run(sim, range.sabotage ?? {});
      for (const [key, n] of Object.entries(counts)) sums[key] = (sums[key] ?? 0) + n;
      seeds++;
      range.onSeed?.(sim.seed);
    });
  } catch (error) {
    if (!(error instanceof SeedFailure)) throw error;
    failure = error;
  }
  return { seeds, ...cost, sums, failure };
}
