/** The whole broker: producers, consumers, groups and an operator over several lives of one folder. */
import type { Scenario } from '../runner.ts';
import { Consumer, IdempotentProducer, Operator, PlainProducer, type Client } from './broker-clients.ts';
import { GroupClients } from './broker-groups.ts';
import { PromiseBroken } from './broker-model.ts';
import { BrokerWorld, CAPACITY_BYTES } from './broker-world.ts';

export const brokerScenario: Scenario = {
  name: 'broker',
  about: 'the broker, its clients as plain objects, crashes and a failing disk',
  options: { disk: { capacityBytes: CAPACITY_BYTES, blockBytes: 512 } },
  async run(sim, sabotage) {
    const world = new BrokerWorld(sim, sabotage);
    const { random } = sim;
    const clients = makeClients(world);
    let clean = false;
    for (let life = random.between(2, 4); life > 0; life--) {
      world.faulty = !world.healthy || random.chance(0.5);
      if (random.chance(0.15)) sim.disk.killAtChange(random.between(1, 40));
      if (!(await world.open(clean))) {
        clean = false;
        endUncleanly(world);
        continue;
      }
      clean = false;
      await live(world, clients);
      if (world.isAlive && random.chance(0.3)) {
        clean = (await world.stop()) && !world.faulty;
        if (random.chance(0.5)) world.powerLoss();
      } else endUncleanly(world);
    }
    sim.disk.killAtChange(Number.POSITIVE_INFINITY);
    world.heal();
    world.faulty = false;
    if (!(await world.open(clean))) throw new PromiseBroken('the last start did not succeed on a healthy disk');
    await live(world, clients, false);
    await world.calm();
    if (!(await world.stop())) throw new PromiseBroken('the last stop was not one in order');
    return world.counts;
  },
};

function makeClients(world: BrokerWorld): Client[] {
  const { random } = world.sim;
  const some = (n: number, make: () => Client): Client[] => Array.from({ length: n }, make);
  return [
    ...some(random.between(1, 3), () => new IdempotentProducer(world)),
    ...some(random.int(2), () => new PlainProducer(world)),
    ...some(random.between(1, 2), () => new Consumer(world)),
    ...some(1, () => new Operator(world)),
    ...some(random.between(1, 2), () => new GroupClients(world)),
  ];
}

async function live(world: BrokerWorld, clients: readonly Client[], mayDie = true): Promise<void> {
  const { random, scheduler, disk } = world.sim;
  if (mayDie && random.chance(0.25)) disk.killAtChange(random.between(1, 80));
  for (let steps = random.between(10, 50); steps > 0 && world.isAlive; steps--) {
    if (world.faulty && random.chance(0.1)) mishap(world);
    else random.pick(clients).act();
    if (random.chance(0.5)) await scheduler.runFor(random.float() * 4);
    else if (random.chance(0.05)) await scheduler.runFor(random.float() * 500);
  }
  if (world.isAlive && random.chance(0.4)) await world.calm();
}

const MISHAPS: readonly {
  readonly weight: number;
  readonly name: string;
  readonly run: (world: BrokerWorld) => void;
}[] = [
  {
    weight: 6,
    name: 'a sync fails',
    run: ({ sim }) => sim.disk.faults.failNext('datasync', /./, { skip: sim.random.int(4) }),
  },
  { weight: 1, name: 'a sync of a directory fails', run: ({ sim }) => sim.disk.faults.failNext('syncDir', /./) },
  {
    weight: 3,
    name: 'a write is short',
    run: ({ sim }) => sim.disk.faults.shortNext(/./, sim.random.int(600), { skip: sim.random.int(3) }),
  },
  {
    weight: 3,
    name: 'a write fails',
    run: ({ sim }) => sim.disk.faults.failNext('write', /./, { skip: sim.random.int(4) }),
  },
  {
    weight: 2,
    name: 'a read fails',
    run: ({ sim }) => sim.disk.faults.failNext('read', /./, { times: sim.random.between(1, 3) }),
  },
  {
    weight: 1,
    name: 'a file cannot be opened',
    run: ({ sim }) => sim.disk.faults.failNext('open', /./, { code: sim.random.pick(['EIO', 'EMFILE']) }),
  },
  { weight: 1, name: 'a rename fails', run: ({ sim }) => sim.disk.faults.failNext('rename', /./) },
  {
    weight: 2,
    name: 'a sync is slow',
    run: ({ sim }) => sim.disk.faults.slowNext('datasync', /./, sim.random.between(10, 3000)),
  },
  {
    weight: 2,
    name: 'the disk fills up',
    run: (world) => {
      const { sim } = world;
      world.everFull = true;
      sim.disk.capacityBytes = sim.disk.usedBytes + sim.random.pick([0, 600, 5000, 20_000]);
    },
  },
  { weight: 3, name: 'there is room again', run: (world) => world.heal() },
  {
    weight: 1,
    name: 'the wall clock jumps',
    run(world) {
      const byMs = world.sim.random.pick([-1, 1]) * world.sim.random.pick([1000, 3e10]);
      if (byMs > 1e9) world.producersExpired = true;
      world.sim.scheduler.jumpWall(byMs);
    },
  },
  {
    weight: 1,
    name: 'the machine sleeps',
    run(world) {
      world.stalledMs += 8 * 3600 * 1000;
      world.sim.scheduler.stall(8 * 3600 * 1000);
    },
  },
];

function mishap(world: BrokerWorld): void {
  let at = world.sim.random.int(MISHAPS.reduce((sum, m) => sum + m.weight, 0));
  const chosen = MISHAPS.find((m) => (at -= m.weight) < 0) as (typeof MISHAPS)[number];
  world.note(chosen.name, '');
  world.healthy = false;
  chosen.run(world);
}

function endUncleanly(world: BrokerWorld): void {
  world.die(world.sim.random.chance(0.6));
  if (world.sim.random.chance(0.9)) world.heal();
}
