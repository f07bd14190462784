/** The simulation must be able to fail: every way to break the engine (log.md §5) is caught within 500 seeds. */
import type { Sabotage } from '@hadron/log';
import { describe, expect, it } from 'vitest';
import type { DeliverySabotage } from '../../packages/broker/src/delivery/core/machine.ts';
import { runSeeds } from '../sim/runner.ts';
import { brokerScenario } from '../sim/scenarios/broker.ts';
import { deliveryScenario } from '../sim/scenarios/delivery.ts';
import { logScenario } from '../sim/scenarios/log.ts';

const SEEDS_MAX = 500;

const SWITCHES: Record<string, Sabotage> = {
  'ack before sync': { ackBeforeSync: true },
  'skip the directory sync': { skipDirectorySync: true },
  'ignore a torn tail': { ignoreTornTail: true },
  'apply half an append set': { applyHalfSet: true },
  'serve recovered bytes without writing them again': { serveUnwrittenRecovery: true },
  'accept a frame of a former life': { acceptFormerLife: true },
  'recycle before the checkpoint is synced': { recycleEarly: true },
  'cut damage as if torn': { cutDamage: true },
  "a set's direct half missing": { missingDirectHalf: true },
};

describe('the simulation of the log', () => {
  it('passes without sabotage, and exercises what it should', async () => {
    const { failure, sums } = await runSeeds(logScenario, { first: 1, count: 60 });
    expect(failure?.message).toBeUndefined();
    for (const what of ['acknowledged', 'lost', 'checkpoints', 'reads', 'failures', 'opened twice', 'clean stops']) {
      expect([what, sums[what] ?? 0]).not.toEqual([what, 0]);
    }
  });

  for (const [name, sabotage] of Object.entries(SWITCHES)) {
    it(`catches: ${name}`, { timeout: 60_000 }, async () => {
      const { failure } = await runSeeds(logScenario, { first: 1, count: SEEDS_MAX, sabotage });
      expect(failure).toBeDefined();
    });
  }
});

describe('the simulation of the broker', () => {
  it('passes without sabotage, and exercises what it should', async () => {
    const { failure, sums } = await runSeeds(brokerScenario, { first: 1, count: 60 });
    expect(failure?.message).toBeUndefined();
    const expected = [
      'acknowledged',
      'batches read',
      'commits',
      'syncs',
      'soft recoveries',
      'topics deleted',
      'durability changed',
      'trims',
      'compactions',
    ];
    for (const what of [...expected, 'case clean-stop', 'case unclean-stop']) {
      expect([what, sums[what] ?? 0]).not.toEqual([what, 0]);
    }
  });

  it('catches: acknowledge a duplicate early', { timeout: 60_000 }, async () => {
    const { failure } = await runSeeds(brokerScenario, {
      first: 1,
      count: SEEDS_MAX,
      sabotage: { acknowledgeDuplicateEarly: true },
    });
    expect(failure?.message).toContain('promised');
  });
});

const DELIVERY_SWITCHES: Record<string, DeliverySabotage> = {
  'a lane moves on before the verdict is durable': { moveLaneEarly: true },
  'a dead letter outside the set of its verdict': { deadLetterApart: true },
  'a stale token is accepted': { acceptStaleToken: true },
};

describe('the simulation of delivery', () => {
  it('passes without sabotage, and exercises what it should', { timeout: 60_000 }, async () => {
    const { failure, sums } = await runSeeds(deliveryScenario, { first: 1, count: SEEDS_MAX });
    expect(failure?.message).toBeUndefined();
    const expected = [
      'published',
      'delivered',
      'delivered again',
      'pulled',
      'crashes',
      'sessions lost',
      'sessions closed',
    ];
    const answers = [
      'ack taken',
      'nack taken',
      'term taken',
      'extend taken',
      'ack STALE_DELIVERY',
      'ack ALREADY_SETTLED',
    ];
    for (const what of [...expected, ...answers, 'withdrawn', 'redriven', 'trims', 'lies']) {
      expect([what, sums[what] ?? 0]).not.toEqual([what, 0]);
    }
  });

  for (const [name, sabotage] of Object.entries(DELIVERY_SWITCHES)) {
    it(`catches: ${name}`, { timeout: 60_000 }, async () => {
      const { failure } = await runSeeds(deliveryScenario, { first: 1, count: SEEDS_MAX, sabotage });
      expect(failure?.message).toContain('PromiseBroken');
    });
  }
});
