/** The log engine alone: clients, readers and checkpoints over several lives of one folder. */
import type { LogView } from '@hadron/testkit';
import type { Scenario } from '../runner.ts';
import { CAPACITY_BYTES, LogWorld, PromiseBroken } from './log-world.ts';
import { MISHAPS, OPERATIONS, runOne } from './log-operations.ts';

export const logScenario: Scenario = {
  name: 'log',
  about: 'one shard, random clients, crashes and a failing disk',
  options: { disk: { capacityBytes: CAPACITY_BYTES, blockBytes: 512 } },
  async run(sim, sabotage) {
    const world = new LogWorld(sim, sabotage);
    const { random } = sim;
    for (let life = random.between(3, 6); life > 0; life--) {
      world.faulty = !world.healthy || random.chance(0.4);
      if (random.chance(0.15)) sim.disk.killAtChange(random.between(1, 30));
      if (!(await world.open())) {
        endUncleanly(world);
        continue;
      }
      if (random.chance(0.2) && !(await openTwice(world))) {
        endUncleanly(world);
        continue;
      }
      await live(world);
      if (world.isAlive && !world.failed && !world.faulty && random.chance(0.3)) await stopAndLookAgain(world);
      endUncleanly(world);
    }
    world.heal();
    sim.disk.killAtChange(Number.POSITIVE_INFINITY);
    world.faulty = false;
    if (random.chance(0.2) && world.damage()) {
      world.count((await world.openDamaged()) ? 'damage reported' : 'damage harmless');
      return counts(world);
    }
    if (!(await world.open())) throw new PromiseBroken('the last open did not succeed on a healthy disk');
    await world.calm();
    return counts(world);
  },
};

function counts(world: LogWorld): Record<string, number> {
  const { acknowledged, lost } = world.history.counts();
  return { acknowledged, lost, ...world.counts };
}

async function live(world: LogWorld): Promise<void> {
  const { random, scheduler, disk } = world.sim;
  const steps = random.between(5, 60);
  if (random.chance(0.25)) disk.killAtChange(random.between(1, 60));
  for (let i = 0; i < steps && world.isAlive; i++) {
    if (world.failed) await world.takeOver();
    else if (world.faulty && random.chance(0.12)) runOne(world, MISHAPS);
    else runOne(world, OPERATIONS);
    if (random.chance(0.5)) await scheduler.runFor(random.float() * 4);
  }
  if (world.isAlive && random.chance(0.5)) await world.calm();
}

/**
 * Recovery twice is recovery once, and what it found needs no cache: process death or power loss in between (G7).
 * @returns false when there is no shard to go on with
 */
async function openTwice(world: LogWorld): Promise<boolean> {
  const before = await world.views();
  if (before === undefined) return false;
  world.die(world.sim.random.chance(0.5));
  if (!(await world.open())) return false;
  const after = await world.views();
  if (after === undefined) return false;
  const [a, b] = [describe(before), describe(after)];
  if (a !== b) throw new PromiseBroken(`recovery twice is not recovery once:\n${a}\n---\n${b}`);
  world.count('opened twice');
  return true;
}

/** A stop in order is found as one. */
async function stopAndLookAgain(world: LogWorld): Promise<void> {
  const stopped = await world.stop();
  if (world.sim.random.chance(0.5)) world.sim.disk.powerLoss();
  if (!(await world.open()) || !stopped) return;
  world.count('clean stops');
  if (!world.shard.recovered.clean) throw new PromiseBroken('a stop in order was taken for a crash');
}

function endUncleanly(world: LogWorld): void {
  world.die(world.sim.random.chance(0.6));
  if (world.sim.random.chance(0.9)) world.heal();
}

function describe(views: ReadonlyMap<string, LogView>): string {
  const logs = [...views].map(([name, { start, batches }]) => {
    const content = batches.map((b) => `${b.position}+${b.extent}=${b.bytesHash}`).join(' ');
    return `${name} from ${start}: ${content}`;
  });
  return logs.sort().join('\n');
}
