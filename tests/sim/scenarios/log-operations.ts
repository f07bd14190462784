/**
 * What happens in a life of the log scenario: one table of operations, one of mishaps. A new one is one entry here.
 */
import { bytesFormat, findByTime, type SetEntry } from '@hadron/log';
import { type KnownLog, type LogWorld, type Part, PromiseBroken, STATE_LOG } from './log-world.ts';
import { recordsFormat, seeUnits } from '../../../packages/log/src/testing/records.ts';

export interface Operation {
  readonly name: string;
  /** How often, against the others. */
  readonly weight: number;
  run(world: LogWorld): void;
}

const LOGS_MAX = 5;

/** What readers may be told when the log changes under them, or the disk fails. */
const READ_ERRORS = new Set(['OFFSET_OUT_OF_RANGE', 'STORAGE_FAILED', 'STORAGE_CLOSED']);

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'append',
    weight: 30,
    run(world) {
      const known = someLog(world);
      if (known !== undefined) world.append([part(world, known)]);
    },
  },
  {
    name: 'append a burst to one log', // into direct mode and out of it
    weight: 6,
    run(world) {
      const known = someLog(world);
      for (let n = world.sim.random.between(2, 12); n > 0 && known !== undefined; n--)
        world.append([part(world, known)]);
    },
  },
  {
    name: 'append a set',
    weight: 12,
    run(world) {
      const logs = world.sim.random.shuffle(world.logs()).slice(0, 3);
      const parts = logs.map((known) => part(world, known));
      const first = logs[0];
      if (first !== undefined && world.sim.random.chance(0.3)) parts.push(part(world, first));
      if (parts.length > 0) world.append(parts);
    },
  },
  {
    name: 'append under a precondition',
    weight: 4,
    run(world) {
      const known = someLog(world);
      if (known === undefined) return;
      const { log } = known;
      const holds = world.sim.random.chance(0.6);
      const next = log.nextPosition + (holds ? 0 : 1);
      const took = world.append([part(world, known)], [], {
        preconditions: [{ log, nextPosition: next, epoch: log.epoch }],
      });
      if (took && !holds) throw new PromiseBroken(`${known.name}: a set was applied whose precondition does not hold`);
    },
  },
  {
    name: 'write state',
    weight: 8,
    run(world) {
      const known = world.known.get(STATE_LOG);
      if (known !== undefined && world.logs().includes(known)) {
        world.append([{ known, bytes: 48, extent: 1 }], [], { control: true });
      }
    },
  },
  {
    name: 'create',
    weight: 8,
    run(world) {
      if (world.logs().length >= LOGS_MAX) return;
      const { random } = world.sim;
      const known = !world.known.has(STATE_LOG)
        ? world.newLog({ name: STATE_LOG })
        : random.chance(0.25)
          ? world.newLog({ format: bytesFormat })
          : world.newLog({ durability: random.chance(0.4) ? 'os' : 'fsync' });
      const create: SetEntry = { kind: 'create', log: known.log };
      const done = random.chance(0.4) ? world.append([part(world, known)], [create]) : world.change([create]);
      if (done) world.created(known);
    },
  },
  {
    name: 'remove',
    weight: 2,
    run(world) {
      const known = someLog(world);
      if (known === undefined || known.name === STATE_LOG) return;
      world.history.deleteAttempted(known.name);
      world.note('removes', known.name);
      known.removed = true;
      world.change([{ kind: 'remove', log: known.log }]);
    },
  },
  {
    name: 'trim',
    weight: 6,
    run(world) {
      const known = someLog(world);
      if (known === undefined || known.name === STATE_LOG) return;
      const { log, framed, units } = known;
      const { random } = world.sim;
      const boundaries = [...units.keys(), log.visiblePosition].filter(
        (p) => p > log.startPosition && p <= log.visiblePosition,
      );
      if (boundaries.length === 0) return;
      const position =
        framed && log.durability === 'fsync' && random.chance(0.5)
          ? random.between(log.startPosition, log.visiblePosition)
          : random.pick(boundaries);
      world.history.trimAttempted(known.name, position);
      world.note('trims', known.name, position);
      world.change([{ kind: 'trim', log, position }], () => {
        if (log.startPosition < position && !log.removed)
          throw new PromiseBroken(`${known.name} starts at ${log.startPosition} after a trim to ${position}`);
        world.history.trimAcknowledged(known.name, position);
      });
    },
  },
  {
    name: 'raise the epoch',
    weight: 3,
    run(world) {
      const known = someLog(world);
      if (known !== undefined) world.change([{ kind: 'epoch', log: known.log, epoch: known.log.epoch + 1 }]);
    },
  },
  {
    name: 'change the durability',
    weight: 2,
    run(world) {
      const known = someLog(world);
      if (known === undefined || !known.framed || known.name === STATE_LOG) return;
      world.change([
        { kind: 'durability', log: known.log, durability: known.log.durability === 'os' ? 'fsync' : 'os' },
      ]);
    },
  },
  {
    name: 'read',
    weight: 20,
    run(world) {
      const known = someLog(world);
      if (known === undefined) return;
      const { log } = known;
      const { shard } = world;
      const { random } = world.sim;
      const starts = [...known.units.keys()].filter((p) => p >= log.startPosition && p < log.visiblePosition);
      if (starts.length === 0) return;
      const from = random.pick(starts);
      const maxBytes = random.pick([1, 300, 5000]);
      world.spawn(async () => {
        try {
          const batches = await world.readFrom(shard, log, from, from + random.between(1, 2000), maxBytes);
          if (log.removed || log.startPosition > from) return;
          world.count('reads');
          world.history.read(batches);
        } catch (error) {
          if (!READ_ERRORS.has((error as { code: string }).code) || !mayFail(world, known, from)) throw error;
        }
      });
    },
  },
  {
    name: 'find by time',
    weight: 2,
    run(world) {
      const known = someLog(world);
      if (known === undefined || !known.framed) return;
      const { log } = known;
      const { shard } = world;
      const from = log.startPosition;
      world.spawn(async () => {
        try {
          const found = await findByTime(shard, log, world.sim.scheduler.wallMs - 5, from);
          if (found === undefined || log.removed || log.format !== recordsFormat) return;
          const [unit] = seeUnits(found);
          if (unit === undefined || unit.position + unit.extent <= from)
            throw new PromiseBroken(`${known.name}: found by time below ${from}`);
        } catch (error) {
          if (!READ_ERRORS.has((error as { code: string }).code) || !mayFail(world, known, from)) throw error;
        }
      });
    },
  },
  {
    name: 'checkpoint',
    weight: 5,
    run(world) {
      const { shard } = world;
      world.spawn(async () => {
        try {
          await shard.checkpoint();
          world.count('checkpoints');
        } catch (error) {
          if (shard.failed === undefined && !shard.isEnding && !world.faulty) throw error;
        }
      });
    },
  },
];

/** What goes wrong while the process lives. Each makes the life a faulty one. */
export const MISHAPS: readonly Operation[] = [
  {
    name: 'a sync fails',
    weight: 4,
    run: ({ sim }) => sim.disk.faults.failNext('datasync', /./, { skip: sim.random.int(4) }),
  },
  {
    name: 'a sync of a directory fails',
    weight: 1,
    run: ({ sim }) => sim.disk.faults.failNext('syncDir', /./),
  },
  {
    name: 'a write is short',
    weight: 3,
    run: ({ sim }) => sim.disk.faults.shortNext(/./, sim.random.int(600), { skip: sim.random.int(3) }),
  },
  {
    name: 'a write fails',
    weight: 3,
    run: ({ sim }) => sim.disk.faults.failNext('write', /./, { skip: sim.random.int(4) }),
  },
  {
    name: 'a read fails',
    weight: 2,
    run: ({ sim }) => sim.disk.faults.failNext('read', /./, { times: sim.random.between(1, 3) }),
  },
  {
    name: 'a file cannot be opened',
    weight: 1,
    run: ({ sim }) => sim.disk.faults.failNext('open', /./, { code: sim.random.pick(['EIO', 'EMFILE']) }),
  },
  {
    name: 'a rename fails',
    weight: 1,
    run: ({ sim }) => sim.disk.faults.failNext('rename', /./),
  },
  {
    name: 'a sync is slow',
    weight: 2,
    run: ({ sim }) => sim.disk.faults.slowNext('datasync', /./, sim.random.between(10, 3000)),
  },
  {
    name: 'the disk fills up',
    weight: 2,
    run({ sim }) {
      sim.disk.capacityBytes = sim.disk.usedBytes + sim.random.pick([0, 600, 5000, 20_000]);
    },
  },
  { name: 'there is room again', weight: 2, run: (world) => world.heal() },
  {
    name: 'the wall clock jumps',
    weight: 1,
    run: ({ sim }) => sim.scheduler.jumpWall(sim.random.pick([-1, 1]) * sim.random.pick([1000, 3e10])),
  },
  { name: 'the machine sleeps', weight: 1, run: ({ sim }) => sim.scheduler.stall(8 * 3600 * 1000) },
];

/** Picks by weight and runs. */
export function runOne(world: LogWorld, table: readonly Operation[]): void {
  let at = world.sim.random.int(table.reduce((sum, o) => sum + o.weight, 0));
  const operation = table.find((o) => (at -= o.weight) < 0) as Operation;
  if (table === MISHAPS) {
    world.note(operation.name, '');
    world.healthy = false;
    world.everFaulty = true;
  }
  operation.run(world);
}

function someLog(world: LogWorld): KnownLog | undefined {
  const logs = world.logs();
  return logs.length === 0 ? undefined : world.sim.random.pick(logs);
}

/** One unit of a size that is small, at the border of the direct path, or large. */
function part(world: LogWorld, known: KnownLog): Part {
  const { random } = world.sim;
  const bytes = random.chance(0.6)
    ? random.between(40, 150)
    : random.chance(0.8)
      ? random.between(200, 900)
      : random.between(1500, 4000);
  return { known, bytes, extent: random.chance(0.5) ? 1 : random.between(2, 9) };
}

/** A reader may be turned away when the disk fails, or when the log was trimmed or removed meanwhile. */
function mayFail(world: LogWorld, known: KnownLog, from: number): boolean {
  return world.faulty || known.removed || known.log.removed || known.log.startPosition > from || world.shard.isClosed;
}
