/**
 * One life of the broker over one shard: registry, topics, groups, producer ids, fetches. When the shard fails, this life
 * ends and `broker.ts` builds the next one from disk; nothing in memory is carried over (log.md G8).
 */
import { type Clock, HadronError, type Logger, type Random } from '@hadron/base';
import {
  Compaction,
  type CompactionSettings,
  type FileSystem,
  type Log,
  type LogId,
  Retention,
  type RetentionSettings,
  Scrub,
  Shard,
  type ShardSettings,
} from '@hadron/log';
import type { RecordSettings } from '@hadron/contracts/events';
import { allowAll, type Authorize } from './authorize.ts';
import type { BrokerSettings } from './config/index.ts';
import { Deliveries } from './delivery/deliveries.ts';
import { LogEventStreams } from './event-streams/event-streams.ts';
import type { GroupsConfig } from './groups/index.ts';
import { GroupsShell } from './groups-shell.ts';
import { ShardEventLog } from './ports/shard-event-log.ts';
import { recordSettingsOf } from './ports/stream-info.ts';
import { ProducerIds } from './producer-ids.ts';
import type { Resources } from './resources/index.ts';
import { assertUnused, usersOf } from './resources/stream-users.ts';
import { Registry } from './state/registry.ts';
import { StateLog } from './state/state-log.ts';
import { RecordCompactor } from './streams/compactor.ts';
import { Fetcher } from './streams/fetcher.ts';
import { type BrokerSabotage, type Partition, replayProducers } from './streams/partition.ts';
import { ProducerStates } from './streams/producer-state.ts';
import { recordFormat } from './streams/record-format.ts';
import { Topics } from './streams/topics.ts';

export interface BrokerOptions {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /**
   * That long polls of Kafka clients are counted on. Default: `clock`. Another one where time is moved by hand: a client in
   * real time does not wait for an answer longer than it asked for.
   */
  readonly pollClock?: Clock;
  /** Folder of shard 0. */
  readonly directory: string;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly settings: BrokerSettings;
  /** Over what the settings say: tests with small files. */
  readonly shardSettings?: Partial<ShardSettings>;
  readonly sabotage?: BrokerSabotage;
  /** Default: everybody may do everything. */
  readonly authorize?: Authorize;
  /** The namespace of this server's resources. Default `default`. */
  readonly namespace?: string;
  /** What doors know of a stream beyond the broker, for the status of its resource. By topic name. */
  readonly streamStatus?: (topic: string) => Readonly<Record<string, unknown>>;
}

/** A wall clock that moves this much against the monotonic one has jumped; less is adjustment. */
const WALL_JUMP_MS = 5_000;
const REGISTRY_LOG = '__registry';
const GROUPS_LOG = '__groups';
const DELIVERIES_LOG = '__deliveries';

export class BrokerCore {
  readonly shard: Shard;
  readonly registry: Registry;
  readonly topics: Topics;
  readonly groups: GroupsShell;
  readonly producerIds: ProducerIds;
  readonly fetcher: Fetcher;
  /** What the services above the log see of it. */
  readonly eventLog: ShardEventLog;
  readonly events: LogEventStreams;
  readonly deliveries: Deliveries;
  readonly retention: Retention;
  readonly compaction: Compaction;
  private readonly scrub: Scrub;
  private readonly options: BrokerOptions;
  private readonly registryLog: StateLog;
  private readonly deliveriesLog: StateLog;
  private readonly partitions: Map<LogId, Partition>;
  private expiry: { cancel(): void } | undefined;
  private resourcesLoading: Promise<Resources> | undefined;
  private resourcesOpen: Resources | undefined;
  /** Why this life ended. */
  private over: HadronError | undefined;

  private constructor(
    options: BrokerOptions,
    shard: Shard,
    registry: StateLog,
    groups: StateLog,
    deliveries: StateLog,
    partitions: Map<LogId, Partition>,
  ) {
    this.options = options;
    this.partitions = partitions;
    this.shard = shard;
    this.registryLog = registry;
    this.deliveriesLog = deliveries;
    this.registry = new Registry(registry);
    this.topics = new Topics(shard, this.registry, options.random, options.settings);
    this.producerIds = new ProducerIds(this.registry);
    this.fetcher = new Fetcher(shard, options.logger, options.pollClock);
    this.eventLog = new ShardEventLog([{ shard, topics: this.topics, states: { deliveries } }]);
    const autoCreate = options.settings.values['auto.create.topics.enable']
      ? (name: string): void => this.autoCreate(name)
      : undefined;
    this.events = new LogEventStreams({
      log: this.eventLog,
      clock: options.clock,
      random: options.random,
      createStream: autoCreate,
      allocateProducerId: (done, failed) => this.producerIds.allocate(done, failed),
    });
    this.deliveries = new Deliveries({
      log: this.eventLog,
      clock: options.clock,
      random: options.random,
      logger: options.logger,
      autoCreate,
      createStream: (name, partitions, config) => this.createStream(name, partitions, config),
    });
    this.groups = new GroupsShell(groups, {
      clock: options.clock,
      random: options.random,
      logger: options.logger,
      config: () => groupsConfig(options.settings),
      topicIdOf: (name) => this.topics.get(name)?.id,
    });
    this.topics.onPartition = (p) => void partitions.set(p.log.id, p);
    this.topics.onConfigured = () => {
      this.retention.settingsChanged();
      this.compaction.settingsChanged();
    };
    this.topics.onRemoved = (topic) => {
      for (const p of topic.partitions) partitions.delete(p.log.id);
      this.groups.topicDeleted({ name: topic.name, topicId: topic.id });
    };
    this.topics.guard = ({ streamName }) =>
      assertUnused(streamName, usersOf(streamName, this.registry, this.deliveries));
    this.topics.onShrunk = ({ name, id, partitions: left }, gone) => {
      for (const p of gone) partitions.delete(p.log.id);
      this.groups.topicDeleted({ name, topicId: id, fromPartition: left.length });
    };
    const { values } = options.settings;
    this.retention = new Retention({
      shard,
      settingsFor: (log) => this.retentionOf(log),
      checkIntervalMs: values['log.retention.check.interval.ms'],
    });
    this.compaction = new Compaction({
      shard,
      compactor: new RecordCompactor({
        lastOffsetOf: (log, id) => partitions.get(log.id)?.producerStates?.lastOffsetOf(id),
      }),
      settingsFor: (log) => this.compactionOf(log),
      keyBytesMax: values['log.cleaner.dedupe.buffer.size'],
      backoffMs: values['log.cleaner.backoff.ms'],
      checkIntervalMs: values['log.retention.check.interval.ms'],
    });
    this.scrub = new Scrub({ shard, bytesPerSecond: values['storage.scrub.bytes.per.second'] });
  }

  private retentionOf(log: Log): RetentionSettings | undefined {
    const partition = this.partitions.get(log.id);
    if (partition === undefined || !partition.settings.cleanupPolicy.delete) return undefined;
    const { retentionMs, retentionBytes } = partition.settings;
    const topicId = this.topics.get(partition.topic)?.id;
    return {
      retentionMs: orMinusOne(retentionMs),
      retentionBytes: orMinusOne(retentionBytes),
      heldFrom: topicId === undefined ? undefined : this.deliveries.heldOffset(topicId, partition.index),
    };
  }

  /** How the records of a stream are seen as events (cloudevents.md §5.4). Undefined: as by default. */
  recordSettings(stream: string): RecordSettings | undefined {
    const topic = this.topics.byStreamName(stream);
    return topic === undefined ? undefined : recordSettingsOf(topic.settings);
  }

  /** Makes a stream that somebody publishes to, reads or consumes: the one place for all doors but Kafka's. */
  private autoCreate(name: string): void {
    // Topics of Kafka clients may have such names; no Stream has, so nobody would find what is stored there.
    if (name.startsWith('__'))
      throw new HadronError('TOPIC_NAME_INVALID', `stream "${name.slice(0, 250)}": a name does not begin with "__"`);
    this.topics.create({ name });
  }

  /** Makes a stream for a service of ours; resolves when it is durable. One that is there already is as good. */
  private createStream(name: string, partitions: number, config: Readonly<Record<string, string>>): Promise<void> {
    return new Promise((committed, failed) => {
      if (this.topics.byStreamName(name) === undefined) this.topics.create({ name, partitions, config });
      this.topics.whenDurable({ committed, failed });
    });
  }

  private compactionOf(log: Log): CompactionSettings | undefined {
    const settings = this.partitions.get(log.id)?.settings;
    if (settings === undefined || !settings.cleanupPolicy.compact) return undefined;
    return {
      dirtyRatioMin: settings.minCleanableDirtyRatio,
      lagMinMs: settings.minCompactionLagMs,
      lagMaxMs: settings.maxCompactionLagMs,
      deleteRetentionMs: settings.deleteRetentionMs,
    };
  }

  /**
   * Recovers the shard and everything on it.
   * @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER, STORAGE_FAILED; errors of the file system
   */
  static async open(options: BrokerOptions, onFailure: (error: HadronError) => void): Promise<BrokerCore> {
    const producers = new Map<LogId, ProducerStates>();
    const partitions = new Map<LogId, Partition>();
    const shard = await Shard.open({
      fs: options.fs,
      clock: options.clock,
      random: options.random,
      logger: options.logger,
      directory: options.directory,
      formats: [recordFormat],
      settings: { ...shardSettings(options.settings), ...options.shardSettings },
      observer: {
        restore: (log, aux) => void producers.set(log.id, ProducerStates.decode(aux, options.clock.wallMs())),
        replay(log, bytes, at, length) {
          const states = replayProducers(producers.get(log.id), bytes, at, length, options.clock.wallMs());
          if (states !== undefined) producers.set(log.id, states);
        },
        // A producer that is not known may go on with any sequence; one that is known wrongly could not (R13.4).
        missed: (log) => void producers.delete(log.id),
        aux: (log) => (partitions.get(log.id)?.producerStates ?? producers.get(log.id))?.encode(),
      },
      onFailure,
      ...(options.sabotage === undefined ? {} : { sabotage: options.sabotage }),
    });
    try {
      const [registryLog, groupsLog, deliveriesLog] = stateLogs(shard);
      const core = new BrokerCore(
        options,
        shard,
        new StateLog(shard, registryLog),
        new StateLog(shard, groupsLog),
        new StateLog(shard, deliveriesLog),
        partitions,
      );
      await core.registryLog.recover(core.registry);
      core.topics.load(producers);
      producers.clear();
      await core.groups.recover();
      await core.deliveriesLog.recover(core.deliveries);
      await shard.barrier();
      core.deliveries.start();
      core.expireProducers();
      core.retention.start();
      core.compaction.start();
      if (options.settings.values['storage.scrub.bytes.per.second'] > 0) core.scrub.start();
      return core;
    } catch (error) {
      shard.abandon();
      throw error;
    }
  }

  /** The resources of this life. Their schemas are loaded when somebody first asks: a start does not pay for them. */
  resources(): Promise<Resources> {
    this.resourcesLoading ??= import('./resources/index.ts').then(({ Resources }) => {
      const { clock, random, namespace = 'default', authorize = allowAll, streamStatus } = this.options;
      const { registry, topics, deliveries } = this;
      this.resourcesOpen = new Resources({
        registry,
        topics,
        clock,
        random,
        namespace,
        authorize,
        deliveries,
        streamStatus,
      });
      if (this.over !== undefined) this.resourcesOpen.close(this.over);
      return this.resourcesOpen;
    });
    return this.resourcesLoading;
  }

  /** Resolves when all that the registry says is durable; with false when it never will be. */
  registryDurable(): Promise<boolean> {
    return new Promise((resolve) =>
      this.registry.whenDurable({ committed: () => resolve(true), failed: () => resolve(false) }),
    );
  }

  /** Ends in order: answers waiting fetches, makes everything durable. */
  async close(): Promise<void> {
    this.stopJobs();
    this.groups.stopTimers();
    this.events.close(closed());
    this.deliveries.stop(closed());
    this.endWatches(closed());
    this.fetcher.close();
    await this.shard.close();
    // The last sync has answered what was under way.
    this.deliveries.close(closed());
    this.groups.close(closed());
  }

  /** Ends at once; the successor serves already. */
  abandon(error: HadronError): void {
    this.stopJobs();
    this.events.close(error);
    this.deliveries.close(error);
    this.endWatches(error);
    this.groups.close(error);
    this.fetcher.close();
    this.shard.abandon();
  }

  /** The shard failed: those who wait for a group are told; reads go on until the successor is there. */
  failed(error: HadronError): void {
    this.stopJobs();
    this.events.close(error);
    this.deliveries.close(error);
    this.endWatches(error);
    this.groups.close(error);
  }

  private endWatches(error: HadronError): void {
    this.over ??= error;
    this.resourcesOpen?.close(this.over);
  }

  private stopJobs(): void {
    this.expiry?.cancel();
    this.retention.stop();
    this.compaction.stop();
    this.scrub.stop();
  }

  private expireProducers(): void {
    const afterMs = this.options.settings.values['producer.id.expiration.ms'];
    const everyMs = Math.min(Math.max(afterMs / 4, 1000), 600_000);
    const { clock, logger } = this.options;
    const [wallMs, monotonicMs] = [clock.wallMs(), clock.monotonicMs()];
    this.expiry = clock.setTimer(everyMs, () => {
      // Nobody was silent while the wall clock jumped (log.md G18).
      const jumpMs = clock.wallMs() - wallMs - (clock.monotonicMs() - monotonicMs);
      const jumped = Math.abs(jumpMs) > WALL_JUMP_MS;
      if (jumped) logger.warn({ seconds: Math.round(jumpMs / 1000) }, 'the wall clock has jumped');
      const now = clock.wallMs();
      for (const topic of this.topics.all()) {
        for (const p of topic.partitions) {
          if (jumped) p.producerStates?.clockJumped(jumpMs, now);
          p.expireProducers(now - afterMs);
        }
      }
      this.expireProducers();
    });
  }
}

const closed = (): HadronError =>
  new HadronError('STORAGE_CLOSED', 'the server is shutting down; try again when it is back');

/** The engine says "no limit" with -1. */
const orMinusOne = (limit: number): number => (Number.isFinite(limit) ? limit : -1);

/** The logs that hold the broker's own state. Those that are missing are made: all in a new folder, some in an older one. */
function stateLogs(shard: Shard): [Log, Log, Log] {
  const known = new Map([...shard.logs.values()].map((log) => [log.name, log]));
  const made: Log[] = [];
  const logOf = (name: string): Log => {
    const log = known.get(name);
    if (log !== undefined) return log;
    const fresh = shard.newLog({ name, format: recordFormat });
    made.push(fresh);
    return fresh;
  };
  const logs: [Log, Log, Log] = [logOf(REGISTRY_LOG), logOf(GROUPS_LOG), logOf(DELIVERIES_LOG)];
  if (made.length > 0) {
    shard.appendSet(
      made.map((log) => ({ kind: 'create', log })),
      { control: true },
    );
  }
  return logs;
}

function shardSettings(settings: BrokerSettings): Partial<ShardSettings> {
  const v = settings.values;
  return {
    commitFileBytes: v['storage.commit.file.bytes'],
    checkpointAtBytes: v['storage.commit.log.bytes'],
    slowAtBytes: v['storage.commit.log.max.bytes'],
    directAtBytes: v['storage.direct.append.bytes'],
    tailCacheBytes: v['storage.tail.cache.bytes'],
    minFreeBytes: v['storage.min.free.bytes'],
    openFilesMax: v['storage.open.files'],
  };
}

function groupsConfig(settings: BrokerSettings): GroupsConfig {
  const v = settings.values;
  return {
    sessionTimeoutMinMs: v['group.min.session.timeout.ms'],
    sessionTimeoutMaxMs: v['group.max.session.timeout.ms'],
    groupSizeMax: v['group.max.size'],
    initialRebalanceDelayMs: v['group.initial.rebalance.delay.ms'],
    newMemberJoinTimeoutMs: 300_000,
    offsetMetadataMax: v['offset.metadata.max.bytes'],
    offsetsRetentionMs: v['offsets.retention.minutes'] * 60_000,
    offsetsRetentionCheckIntervalMs: v['offsets.retention.check.interval.ms'],
  };
}
