/** The contract of the narrow log, over memory and over two shards of the engine on the simulated disk. */
import { silentLogger } from '@hadron/base';
import { Sim } from '@hadron/testkit';
import { BrokerCore } from '../broker-core.ts';
import { resolveBrokerSettings } from '../config/index.ts';
import { StateLog, type StateRecord } from '../state/state-log.ts';
import { type EventLogWorld, eventLogContract } from './event-log.contract.ts';
import type { EventPartition } from './event-log.ts';
import { MemoryEventLog } from './memory-event-log.ts';
import { type EventShard, ShardEventLog } from './shard-event-log.ts';

const done = Promise.resolve();

eventLogContract('in memory', async (): Promise<EventLogWorld> => {
  const log = new MemoryEventLog({ shards: 2 });
  return {
    log,
    createStream: async (name, partitions, shard) => log.createStream(name, partitions, () => shard),
    grow: async (name, partitions) => log.growStream(name, partitions),
    remove: async (name) => log.removeStream(name),
    trim: async (partition, offset) => log.trim(partition, offset),
    raiseEpoch: async (partition) => log.raiseEpoch(partition),
    sync: () => done.then(() => log.sync()),
    run: (promise) => promise,
    stateRecords: async (shard) => log.stateRecords('deliveries', shard),
  };
});

eventLogContract('two shards of the engine', async (): Promise<EventLogWorld> => {
  const sim = new Sim(1);
  const { fs, clock, random } = sim.start();
  const run = <T>(promise: Promise<T>): Promise<T> => sim.scheduler.settle(promise);
  const cores: BrokerCore[] = [];
  const parts: EventShard[] = [];
  for (const directory of ['data/shards/0', 'data/shards/1']) {
    const core = await run(
      BrokerCore.open(
        {
          fs,
          clock,
          random,
          logger: silentLogger,
          directory,
          clusterId: 'c',
          nodeId: 1,
          settings: resolveBrokerSettings({}),
          shardSettings: { commitFileBytes: 262_144, minFreeBytes: 0 },
        },
        () => undefined,
      ),
    );
    cores.push(core);
    parts.push({ shard: core.shard, topics: core.topics, states: { deliveries: deliveriesOf(core) } });
  }
  const log = new ShardEventLog(parts);
  const sync = async (): Promise<void> => {
    for (const core of cores) await run(core.shard.barrier());
  };
  await sync();
  // The delivery services of these cores have written there before.
  const before = cores.map((core) => deliveriesOf(core).log.nextPosition);
  const coreOf = (p: EventPartition): BrokerCore => cores[p.shard] as BrokerCore;
  const partitionOf = (p: EventPartition) => {
    const partition = coreOf(p).topics.get(p.stream)?.partitions[p.index];
    if (partition === undefined) throw new Error(`no partition ${p.stream}-${p.index}`);
    return partition;
  };
  return {
    log,
    run,
    sync,
    createStream: async (name, partitions, shard) => {
      const { id } = (cores[shard] as BrokerCore).topics.create({ name, partitions });
      await sync();
      const stream = log.streamById(id);
      if (stream === undefined) throw new Error(`no stream ${name}`);
      return stream;
    },
    grow: async (name, partitions) => {
      for (const core of cores) if (core.topics.get(name) !== undefined) core.topics.grow(name, partitions);
      await sync();
    },
    remove: async (name) => {
      for (const core of cores) if (core.topics.get(name) !== undefined) core.topics.remove(name);
      await sync();
    },
    trim: async (partition, offset) => {
      partitionOf(partition).deleteBefore(offset);
      await sync();
    },
    raiseEpoch: async (partition) => {
      const known = partitionOf(partition);
      coreOf(partition).shard.appendSet([{ kind: 'epoch', log: known.log, epoch: known.leaderEpoch + 1 }], {
        control: true,
      });
      await sync();
    },
    stateRecords: async (shard) => {
      const records: StateRecord[] = [];
      let at = 0;
      await run(
        deliveriesOf(cores[shard] as BrokerCore).recover({
          replay: (r) => {
            if (at++ >= (before[shard] as number)) records.push(r);
          },
          snapshot: () => [],
        }),
      );
      return records;
    },
  };
});

function deliveriesOf(core: BrokerCore): StateLog {
  for (const log of core.shard.logs.values()) if (log.name === '__deliveries') return new StateLog(core.shard, log);
  throw new Error('there is no log __deliveries');
}
