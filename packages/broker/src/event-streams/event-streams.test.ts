/** Events in and events read, through a real Broker on the simulated disk: restarts, crashes, disk failures. */
import { HadronError, silentLogger } from '@hadron/base';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import { cloudEvent, readRecord, recordToEvent } from '@hadron/contracts/events';
import { encodeBatch } from '@hadron/kafka-protocol/records';
import { Sim, type SimMachine } from '@hadron/testkit';
import { describe, expect, test } from 'vitest';
import { Broker } from '../broker.ts';
import { resolveBrokerSettings } from '../config/index.ts';
import { newProduceOutcome } from '../streams/partition.ts';
import type { LogEventStreams } from './event-streams.ts';
import type { PublishOptions, Tail, TailFrom, TailListener, TailRecord } from './service.ts';

class World {
  readonly sim = new Sim(1);
  machine!: SimMachine;
  broker!: Broker;

  static async open(settings: Record<string, string> = {}): Promise<World> {
    const w = new World();
    await w.start(settings);
    return w;
  }

  private async start(settings: Record<string, string>): Promise<void> {
    this.machine = this.sim.start();
    const { fs, clock, random } = this.machine;
    this.broker = await this.run(
      Broker.open({
        fs,
        clock,
        random,
        logger: silentLogger,
        directory: 'data/shards/0',
        clusterId: 'c',
        nodeId: 1,
        settings: resolveBrokerSettings(settings),
        shardSettings: { commitFileBytes: 262_144, minFreeBytes: 0, tailCacheBytes: 262_144 },
      }),
    );
  }

  get events(): LogEventStreams {
    return this.broker.core.events;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  /** Kills the process; with `power` what was not synced may be gone. */
  async crash(power = true): Promise<void> {
    if (power) this.sim.powerLoss(this.machine.process);
    else this.machine.process.kill();
    await this.start({});
  }

  async stream(name: string, partitions = 1, config: Record<string, string> = {}): Promise<void> {
    this.broker.core.topics.create({ name, partitions, config });
    await this.run(this.broker.core.shard.barrier());
  }

  publishing(stream: string, events: readonly CloudEvent[], options: PublishOptions = {}): Promise<readonly PublishResult[]> {
    return new Promise((resolve, reject) =>
      this.events.publish(stream, events, options, (error, results) =>
        error === undefined ? resolve(results) : reject(error),
      ),
    );
  }

  publish(stream: string, events: readonly CloudEvent[], options?: PublishOptions): Promise<readonly PublishResult[]> {
    return this.run(this.publishing(stream, events, options));
  }

  async ids(stream: string, from: TailFrom = { from: 'beginning' }): Promise<string[]> {
    const page = await this.run(this.events.page(stream, from, { records: 100_000, bytes: 100_000_000 }));
    return page.records.map((r) => `${r.partition}/${r.offset} ${idOf(r)}`);
  }
}

const event = (id: string, more: Record<string, string> = {}, data: string | undefined = 'x'): CloudEvent =>
  cloudEvent({ id, source: '/s', type: 't', data, datacontenttype: 'text/plain', ...more });

const idOf = (r: TailRecord): string =>
  recordToEvent(readRecord(r.record.bytes), {
    stream: 's',
    topicId: 't',
    partition: r.partition,
    offset: r.offset,
    timestampMs: r.record.timestampMs,
  }).id;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing was thrown',
    (error: unknown) => (error instanceof HadronError ? error.code : String(error)),
  );
}

describe('publishing', () => {
  test('an answer tells where each event lies, after the sync; a crash keeps all of them', async () => {
    const w = await World.open();
    await w.stream('orders', 3);
    const calls = Array.from({ length: 50 }, (_, i) => w.publishing('orders', [event(`a${i}`, { subject: `k${i % 7}` })]));
    const many = w.publishing('orders', [event('m1', { subject: 'k1' }), event('m2'), event('m3', { subject: 'k1' })]);
    const results = (await w.run(Promise.all([...calls, many]))).flat();
    await w.crash();
    const stored = new Set(await w.ids('orders'));
    expect(stored.size).toBe(53);
    const ids = [...Array.from({ length: 50 }, (_, i) => `a${i}`), 'm1', 'm2', 'm3'];
    results.forEach((r, i) => {
      expect('error' in r ? r : stored.has(`${r.partition}/${r.offset} ${ids[i]}`)).toBe(true);
    });
  });
});
void encodeBatch;
void newProduceOutcome;
export type { Tail, TailListener };
