/**
 * The broker of the present life, what its clients wait for, and how a recovered broker is held against what was
 * promised. The clients are in `broker-clients.ts` and `broker-groups.ts`, the course of a seed in `broker.ts`.
 */
import type { HadronError } from '@hadron/base';
import { silentLogger } from '@hadron/base';
import {
  Broker,
  type BrokerCore,
  type BrokerSabotage,
  type BrokerSettings,
  type FetchedPartition,
  type Partition,
  resolveBrokerSettings,
} from '@hadron/broker';
import type { ShardSettings } from '@hadron/log';
import type { Sim, SimMachine } from '@hadron/testkit';
import type { TopicModel } from './broker-model.ts';
import { Batches, type PartitionModel, promise, PromiseBroken, type Sent } from './broker-model.ts';

const DIRECTORY = 'data/shards/0';
export const CAPACITY_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 3000;
/** A failing disk, a shutdown: what any request may be told, and no promise is broken by it. */
const TROUBLE = new Set(['STORAGE_FAILED', 'STORAGE_FULL', 'STORAGE_CLOSED']);
/** A recovery may be slow, but not longer than this on a disk that works. */
const SERVICE_WITHIN_MS = 20_000;

/** A request that waits for its one answer. */
export interface Request {
  readonly what: string;
  readonly startedMs: number;
  readonly core: BrokerCore;
  answered: boolean;
  /** The process ended before the answer: the client sees its connection closed. */
  lost: () => void;
}

export class BrokerWorld {
  readonly sim: Sim;
  readonly batches = new Batches();
  readonly topics: TopicModel[] = [];
  readonly producerIds = new Set<number>();
  readonly counts: Record<string, number> = {};
  broker!: Broker;
  /** No mishap waits on the disk. */
  healthy = true;
  /** A disk that may refuse or fail was set up in this life: an error need not be the broker's doing. */
  faulty = false;
  /** How long the machine slept. */
  stalledMs = 0;
  /** The disk was full once. */
  everFull = false;
  closing = false;
  /** The wall clock was so far ahead that producers may have been forgotten. */
  producersExpired = false;
  /** When brokers began to serve, and when they ended; the last one has not. */
  private readonly served: { fromMs: number; toMs: number }[] = [];

  private readonly sabotage: BrokerSabotage;
  private readonly settings: BrokerSettings;
  private readonly shardSettings: ShardSettings;
  private readonly open_ = new Set<Request>();
  private machine: SimMachine | undefined;
  private ids = 0;
  private asked = 0;
  /** Partitions that are being read from end to end. */
  private judging = 0;
  /** Since the broker before: an orderly stop does not sync what is `os`. */
  private powerLost = false;

  constructor(sim: Sim, sabotage: BrokerSabotage) {
    this.sim = sim;
    this.sabotage = sabotage;
    this.shardSettings = smallSettings(sim);
    this.settings = resolveBrokerSettings({
      'group.min.session.timeout.ms': '10',
      'offsets.retention.minutes': '2147483647',
      'offsets.retention.check.interval.ms': '1000000000000', // an empty group begins at generation 1 again after it
      'producer.id.expiration.ms': '2147483647',
      'log.message.timestamp.after.max.ms': '9223372036854775807',
      'log.retention.ms': '-1',
      'log.retention.check.interval.ms': '50',
      'log.cleaner.backoff.ms': '20',
    });
    sim.disk.put('data/shards/readme', new Uint8Array()); // the folder above is its owner's to make durable
  }

  get core(): BrokerCore {
    return this.broker.core;
  }

  get isAlive(): boolean {
    return this.machine?.process.isAlive === true;
  }

  get nowMs(): number {
    return this.sim.scheduler.nowMs;
  }

  nextId(): number {
    return this.ids++;
  }

  count(what: string, n: number = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + n;
  }

  note(what: string, subject: string, a?: number, b?: number): void {
    this.sim.scheduler.note('client', what, subject, a, b);
  }

  /** Topics that clients may use now. */
  usable(): TopicModel[] {
    return this.topics.filter((t) => t.created && !t.deleteAttempted && !t.gone);
  }

  /** The broker's partition, if the name still belongs to this topic. */
  partitionOf(p: PartitionModel, core: BrokerCore = this.core): Partition | undefined {
    const topic = core.topics.get(p.topic.name);
    return topic?.id === p.topic.id ? topic.partitions[p.index] : undefined;
  }

  /** The longest time since `ms` in which one broker could have waited for somebody. */
  servedSince(ms: number): number {
    return Math.max(0, ...this.served.map(({ fromMs, toMs }) => Math.min(toMs, this.nowMs) - Math.max(fromMs, ms)));
  }

  private ends(): void {
    const last = this.served.at(-1);
    if (last !== undefined) last.toMs = Math.min(last.toMs, this.nowMs);
  }

  // --------------------------------------------------------------------------------------------------------- requests

  /** A client asks. `lost` is called when the process ends before the answer. */
  ask(what: string, lost: () => void = () => {}): Request {
    const request: Request = { what, startedMs: this.nowMs, core: this.core, answered: false, lost };
    this.open_.add(request);
    this.asked++;
    return request;
  }

  /** The way of the answer to the client: once, and only while the process lives. */
  answer<A extends unknown[]>(request: Request, fn: (...args: A) => void): (...args: A) => void {
    const { process } = this.machine as SimMachine;
    return (...args) => {
      if (!process.isAlive) return;
      this.guard(() => {
        promise(!request.answered, () => `${request.what}: answered twice`);
        request.answered = true;
        this.open_.delete(request);
        fn(...args);
      });
    };
  }

  /** What a client finds wrong ends the run, whatever the broker does with the error. */
  guard(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.sim.scheduler.fail(error);
    }
  }

  /** The error of an answer that is the disk's doing. Anything else was a promise. */
  expectTrouble(error: unknown, request: Request): void {
    const code = (error as Partial<HadronError>).code ?? String(error);
    const known = TROUBLE.has(code) && (this.faulty || this.closing || this.core !== request.core);
    promise(known, () => `${request.what} is answered ${code} for no reason: ${String((error as Error).stack)}`);
    this.count('refused');
  }

  // ------------------------------------------------------------------------------------------------------------ lives

  /** Starts a process if none lives, opens the broker and judges what it found. @returns false when that did not succeed */
  async open(clean: boolean): Promise<boolean> {
    this.machine ??= this.sim.start();
    this.closing = false;
    this.judging = 0;
    const { process, fs, clock, random } = this.machine;
    let broker: Broker | undefined;
    let failure: unknown;
    Broker.open({
      fs,
      clock,
      random,
      logger: silentLogger,
      directory: DIRECTORY,
      clusterId: 'sim',
      nodeId: 1,
      settings: this.settings,
      shardSettings: this.shardSettings,
      sabotage: this.sabotage,
    }).then(
      (opened) => {
        broker = opened;
        if (process.isAlive) this.guard(() => this.serves(opened, clean));
      },
      (error: unknown) => {
        failure = error;
      },
    );
    await this.sim.scheduler.runUntil(() => broker !== undefined || failure !== undefined || !process.isAlive, {
      what: 'a broker to open',
    });
    if (broker !== undefined && process.isAlive) {
      if (this.sim.random.chance(0.7))
        await this.sim.scheduler.runUntil(() => this.judging === 0 || !process.isAlive, {
          what: 'all partitions to be read',
        });
      return this.isAlive;
    }
    if (failure !== undefined && process.isAlive && !this.faulty) throw failure;
    this.die(false);
    return false;
  }

  private serves(broker: Broker, clean: boolean): void {
    this.broker = broker;
    this.count('starts');
    if (clean) promise(broker.core.shard.recovered.clean, () => 'a stop in order was taken for a crash');
    this.judge(broker.core, !clean || this.powerLost);
    broker.onRecovered = () => {
      if (!this.isAlive) return;
      this.guard(() => {
        this.count('soft recoveries');
        this.judge(broker.core, true);
      });
    };
  }

  /** A broker has taken over: what it says of topics and ends is judged now, what it holds is read from here on. */
  private judge(core: BrokerCore, unclean: boolean): void {
    const { recovered } = core.shard;
    this.powerLost = false;
    this.ends();
    this.served.push({ fromMs: this.nowMs, toMs: Number.POSITIVE_INFINITY });
    for (const name of recovered.cases) this.count(`case ${name}`);
    this.note('finds', recovered.cases.join(', '), core.shard.syncedLsn);
    promise(recovered.damage.length === 0, () => `recovery reports damage: ${JSON.stringify(recovered.damage)}`);
    const known = new Map(this.topics.map((t) => [t.id, t]));
    for (const topic of core.topics.all()) {
      const model = known.get(topic.id);
      if (model === undefined) throw new PromiseBroken(`topic ${topic.name} has an id that nobody was given`);
      promise(
        model.name === topic.name && model.partitions.length === topic.partitions.length,
        () => `topic ${topic.name} is another than ${model.name}`,
      );
      promise(!model.gone, () => `topic ${topic.name} (${topic.id}) was gone for good, and is back`);
      known.delete(topic.id);
      model.created = true;
      model.deleteAttempted = false;
      const mayLose = unclean && model.durability === 'os';
      for (const p of model.partitions) {
        const { highWatermark, logStartOffset, leaderEpoch, log } = topic.partitions[p.index] as Partition;
        this.note(
          'finds',
          `${p.name} (${log.durability}, epoch ${leaderEpoch})`,
          logStartOffset,
          highWatermark - logStartOffset,
        );
        promise(
          highWatermark === log.nextPosition,
          () => `${p.name}: recovered to ${log.nextPosition}, visible to ${highWatermark}`,
        );
        p.startedAt(logStartOffset);
        p.mayForget ||= this.everFull;
        const mustRaise =
          mayLose && topic.settings.durability === 'os' && (!recovered.clean || highWatermark < p.shown);
        promise(
          !mustRaise || leaderEpoch > p.epoch,
          () => `${p.name} is 'os' and keeps leader epoch ${leaderEpoch} after an unclean start`,
        );
        p.endsAt(Math.max(highWatermark, logStartOffset), leaderEpoch, mayLose);
        void this.readAll(core, p, logStartOffset, highWatermark);
      }
      model.durability = topic.settings.durability;
      model.changes++;
    }
    for (const model of known.values()) {
      promise(model.mayBeMissing, () => `topic ${model.name} (${model.id}) was created and is not there`);
      model.gone = true;
    }
  }

  private async readAll(core: BrokerCore, p: PartitionModel, start: number, end: number): Promise<void> {
    const { process } = this.machine as SimMachine;
    this.judging++;
    const seen = new Set<Sent>();
    const losses = p.losses;
    const { asked } = this;
    const newest = p.topic.compacted ? new Map<string, number>() : undefined;
    let at = start;
    try {
      while (at < end && process.isAlive) {
        const partition = this.partitionOf(p, core);
        if (partition === undefined) return;
        if (at < partition.logStartOffset) {
          at = partition.logStartOffset;
          continue;
        }
        const got = await this.fetchOnce(core, partition, at);
        if (!process.isAlive || p.losses !== losses || p.topic.deleteAttempted) return;
        if (got.error !== undefined) {
          if (got.error === 'OFFSET_OUT_OF_RANGE' && at < partition.logStartOffset) continue;
          promise(
            TROUBLE.has(got.error) && (this.faulty || this.closing || core !== this.core),
            () => `${p.name} cannot be read at ${at}: ${got.error}`,
          );
          return;
        }
        const judged = this.batches.judge(p, got.bytes, at, newest);
        for (const sent of judged.seen) seen.add(sent);
        promise(
          judged.next > at || p.topic.compacted,
          () => `${p.name}: a read at ${at} gives nothing, ${end} is visible`,
        );
        if (judged.next <= at) break;
        at = judged.next;
      }
      if (!process.isAlive) return;
      const from = this.partitionOf(p, core)?.logStartOffset ?? end;
      p.sawAll(seen, from, end, core);
      // While nobody asked for anything, nothing newer has come behind the end.
      if (newest !== undefined && asked === this.asked) {
        this.count('compacted logs read');
        p.sawNewest(newest, from, end);
      }
    } catch (error) {
      if (process.isAlive) this.sim.scheduler.fail(error);
    } finally {
      this.judging--;
    }
  }

  private fetchOnce(
    core: BrokerCore,
    partition: Partition,
    offset: number,
  ): Promise<{ error: string | undefined; bytes: Buffer }> {
    return new Promise((resolve) => {
      const item = {
        partition,
        missing: undefined,
        offset,
        maxBytes: READ_BYTES,
        currentLeaderEpoch: -1,
        lastFetchedEpoch: -1,
      };
      core.fetcher.fetch([item], { maxWaitMs: 0, minBytes: 0, maxBytes: READ_BYTES }, ([r]) => {
        const { error, data } = r as FetchedPartition;
        resolve({ error, bytes: Buffer.concat(data?.parts ?? []) });
        data?.release();
      });
    });
  }

  /** The disk works again and has room. */
  heal(): void {
    const { disk } = this.sim;
    this.healthy = true;
    disk.faults.clear();
    disk.capacityBytes = CAPACITY_BYTES;
  }

  /** kill -9 and perhaps a power loss; everybody who waits sees the connection close. */
  die(powerLoss: boolean): void {
    this.machine?.process.kill();
    this.machine = undefined;
    this.ends();
    if (this.served.length > 0) this.count('compactions', this.core.compaction.stats.passes);
    if (powerLoss) this.powerLoss();
    const open = [...this.open_];
    this.open_.clear();
    for (const request of open) request.lost();
  }

  powerLoss(): void {
    this.sim.disk.powerLoss();
    this.powerLost = true;
  }

  /** Ends in order. @returns false when the process died before that was done */
  async stop(): Promise<boolean> {
    const { process } = this.machine as SimMachine;
    let closed = false;
    this.closing = true;
    void this.broker.close().then(
      process.guard(() => {
        closed = true;
      }),
    );
    await this.sim.scheduler.runUntil(() => closed || !process.isAlive, { what: 'the broker to close' });
    const orderly = process.isAlive && this.broker.core.shard.failed?.code === 'STORAGE_CLOSED';
    if (process.isAlive) {
      await this.sim.scheduler.runUntilIdle();
      if (orderly) this.allAnswered('the broker is closed');
    }
    this.die(false);
    return closed && orderly;
  }

  /** Nothing is under way any more: service is back and every client has had its answer. */
  async calm(): Promise<void> {
    this.heal();
    await this.sim.scheduler.runFor(SERVICE_WITHIN_MS);
    if (!this.isAlive) return;
    promise(
      this.broker.trouble === undefined,
      () => `the disk works for ${SERVICE_WITHIN_MS} ms and the broker still refuses: ${this.broker.trouble?.message}`,
    );
    this.allAnswered('nothing is under way');
    this.faulty = false;
  }

  private allAnswered(why: string): void {
    const waiting = [...this.open_].map((r) => `${r.what} since ${r.startedMs.toFixed(1)}`);
    promise(waiting.length === 0, () => `${why}, and these wait for an answer: ${waiting.join(', ')}`);
  }
}

function smallSettings({ random }: Sim): ShardSettings {
  return {
    commitFileBytes: random.pick([1500, 6000, 20_000]),
    checkpointAtBytes: random.pick([8000, 30_000, 1_000_000]),
    slowAtBytes: 100_000,
    directAtBytes: random.pick([300, 1200, 1_000_000]),
    tailCacheBytes: random.pick([4096, 32_768]),
    slabBytes: random.pick([1024, 8192]),
    minFreeBytes: 8192,
    indexIntervalBytes: 400,
    openFilesMax: random.pick([2, 8]),
    pooledWriteBytes: random.pick([500, 3000]),
    snapshotMinBytes: random.pick([300, 3000]),
  };
}
