/**
 * Topics: names, partitions, configs. A topic is a resource of the registry that points to logs; its logs are created in
 * the same append set as the resource, so that a topic exists with all its partitions or not at all.
 */
import { isDeepStrictEqual } from 'node:util';
import { HadronError, type Random, uuid } from '@hadron/base';
import type { CommitWaiter, Log, LogId, SetEntry, Shard } from '@hadron/log';
import { type BrokerSettings, resolveTopicSettings, type TopicSettings } from '../config/index.ts';
import type { Registry } from '../state/registry.ts';
import { Partition } from './partition.ts';
import type { ProducerStates } from './producer-state.ts';
import { recordFormat } from './record-format.ts';

/** The kind in the registry: the one truth of a topic and its Stream. */
export const TOPIC_KIND = 'Topic';

/** What the registry keeps. The shard of each partition is recorded, never computed (log.md G20). */
export interface TopicSpec {
  readonly id: string;
  readonly partitions: readonly { readonly shard: number; readonly log: number }[];
  readonly config: Readonly<Record<string, string>>;
  /** Absent in folders older than Streams, until the topic changes. */
  readonly meta?: TopicMeta;
}

/** What Kafka does not know of a topic: its face as a Stream (resources/streams.ts). */
export interface TopicMeta {
  /** The Stream's name where it is another than the topic's. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Fields of its spec that are kept for clusters and do nothing here. */
  readonly kept?: Readonly<Record<string, unknown>>;
  /** Grows with every change of partitions, config or kept fields. */
  readonly generation: number;
  /** Wall clock. Undefined: before this was written down. */
  readonly createdMs?: number;
  /** When the generation last grew. */
  readonly changedMs?: number;
}

const NO_META: TopicMeta = { generation: 1 };

export class Topic {
  readonly name: string;
  /** 32 hex digits, of this incarnation; a topic created again has another. */
  readonly id: string;
  readonly partitions: Partition[];
  config: Readonly<Record<string, string>>;
  settings: TopicSettings;
  meta: TopicMeta;
  /** What is told of it is durable with this LSN (log.md G5). 0: it came from disk. */
  lsn = 0;

  constructor(
    name: string,
    id: string,
    partitions: Partition[],
    config: Readonly<Record<string, string>>,
    settings: TopicSettings,
    meta: TopicMeta,
  ) {
    this.name = name;
    this.id = id;
    this.partitions = partitions;
    this.config = config;
    this.settings = settings;
    this.meta = meta;
  }

  /** Its name as a Stream. */
  get streamName(): string {
    return this.meta.name ?? this.name;
  }
}

const NAME = /^[a-zA-Z0-9._-]+$/;
const NAME_MAX = 249;

/** @throws HadronError TOPIC_NAME_INVALID */
export function checkTopicName(name: string): void {
  const why =
    name === ''
      ? 'a name must not be empty'
      : name === '.' || name === '..'
        ? 'a name must not be "." or ".."'
        : name.length > NAME_MAX
          ? `a name has at most ${NAME_MAX} characters, this one ${name.length}`
          : !NAME.test(name)
            ? 'a name has only letters, digits, ".", "_" and "-"'
            : undefined;
  if (why !== undefined)
    throw new HadronError('TOPIC_NAME_INVALID', `topic ${JSON.stringify(name.slice(0, 300))}: ${why}`);
}

export interface NewTopic {
  readonly name: string;
  /** Undefined: `num.partitions`. */
  readonly partitions?: number | undefined;
  readonly config?: Readonly<Record<string, string>>;
  readonly meta?: NewMeta | undefined;
}

type NewMeta = Omit<TopicMeta, 'generation' | 'createdMs' | 'changedMs'>;

/** What is to be different; absent stays. */
export interface TopicAlteration {
  /** More: new partitions from offset 0. Fewer: the last ones go with their records. */
  readonly partitions?: number | undefined;
  /** All configs, replacing those there are. */
  readonly config?: Readonly<Record<string, string>> | undefined;
  readonly meta?: NewMeta | undefined;
}

/** Created, grown or configured (put), or gone. */
export interface TopicChange {
  readonly type: 'put' | 'delete';
  readonly topic: Topic;
}

export class Topics {
  private readonly shard: Shard;
  private readonly registry: Registry;
  private readonly random: Random;
  private readonly settings: BrokerSettings;
  private readonly byName = new Map<string, Topic>();
  private readonly byId = new Map<string, Topic>();
  /** Those whose Stream has another name. */
  private readonly byAlias = new Map<string, Topic>();
  private partitionCount = 0;
  /** @internal told of every partition there is */
  onPartition: ((partition: Partition) => void) | undefined;
  /** @internal told when a topic's settings changed */
  onConfigured: (() => void) | undefined;
  /** @internal told before a topic goes, so that its readers are answered */
  onRemoved: ((topic: Topic) => void) | undefined;
  /** @internal told of partitions that went while their topic stays */
  onShrunk: ((topic: Topic, gone: readonly Partition[]) => void) | undefined;
  /** @internal asked before a topic goes; throws to keep it */
  guard: ((topic: Topic) => void) | undefined;
  private readonly watchers = new Set<(change: TopicChange) => void>();

  constructor(shard: Shard, registry: Registry, random: Random, settings: BrokerSettings) {
    this.shard = shard;
    this.registry = registry;
    this.random = random;
    this.settings = settings;
  }

  /** Builds the topics from the registry, after recovery. */
  load(producers: ReadonlyMap<LogId, ProducerStates>): void {
    for (const { name, value } of this.registry.list<TopicSpec>(TOPIC_KIND)) {
      const settings = resolveTopicSettings(value.config, this.settings);
      const partitions = value.partitions.map((p, index) => {
        const log = this.shard.logs.get(p.log as LogId);
        if (log === undefined)
          throw new HadronError(
            'DATA_DAMAGED',
            `partition ${index} of topic ${name} names log ${p.log}, which does not exist; restore the data folder from a copy`,
          );
        return new Partition(this.shard, name, index, log, settings, producers.get(log.id));
      });
      this.add(new Topic(name, value.id, partitions, value.config, settings, value.meta ?? NO_META));
    }
  }

  get(name: string): Topic | undefined {
    return this.byName.get(name);
  }

  /** By the name of its Stream. */
  byStreamName(name: string): Topic | undefined {
    const topic = this.byName.get(name);
    return this.byAlias.get(name) ?? (topic?.streamName === name ? topic : undefined);
  }

  getById(id: string): Topic | undefined {
    return this.byId.get(id);
  }

  all(): IterableIterator<Topic> {
    return this.byName.values();
  }

  get count(): number {
    return this.byName.size;
  }

  /**
   * Checks a topic that is to be created.
   * @throws HadronError TOPIC_NAME_INVALID, TOPIC_EXISTS, PARTITIONS_INVALID, CONFIG_INVALID
   */
  check(spec: NewTopic): { partitions: number; settings: TopicSettings } {
    checkTopicName(spec.name);
    const known = this.byName.get(spec.name);
    if (known !== undefined) {
      const of = known.streamName === spec.name ? '' : ` and is that of Stream ${known.streamName}: use that name`;
      throw new HadronError('TOPIC_EXISTS', `topic ${spec.name} exists already${of}`);
    }
    const collision = spec.name.replaceAll('.', '_');
    if (spec.name !== collision || spec.name.includes('_')) {
      for (const other of this.byName.keys()) {
        if (other.replaceAll('.', '_') === collision) {
          throw new HadronError(
            'TOPIC_NAME_INVALID',
            `topic ${spec.name} differs from ${other} only in "." and "_", which metrics cannot tell apart; choose another name`,
          );
        }
      }
    }
    const alias = spec.meta?.name ?? spec.name;
    for (const name of new Set([spec.name, alias])) {
      const taken = this.byAlias.get(name) ?? this.byName.get(name);
      if (taken === undefined) continue;
      throw new HadronError('TOPIC_EXISTS', `the name ${name} is taken by the Stream of topic ${taken.name}`);
    }
    const partitions = spec.partitions ?? this.settings.values['num.partitions'];
    this.checkPartitions(partitions, partitions);
    return { partitions, settings: resolveTopicSettings(spec.config ?? {}, this.settings) };
  }

  /** @throws HadronError PARTITIONS_INVALID */
  private checkPartitions(count: number, added: number): void {
    const { 'hadron.max.partitions.per.topic': ofTopic, 'hadron.max.partitions': ofServer } = this.settings.values;
    if (!Number.isInteger(count) || count < 1 || count > ofTopic) {
      throw new HadronError(
        'PARTITIONS_INVALID',
        `a topic has 1 to ${ofTopic} partitions, not ${count} (hadron.max.partitions.per.topic)`,
      );
    }
    if (added > 0 && this.partitionCount + added > ofServer) {
      throw new HadronError(
        'PARTITIONS_INVALID',
        `this server has ${this.partitionCount} partitions and may have ${ofServer} (hadron.max.partitions); delete topics or raise it`,
      );
    }
  }

  /**
   * Creates a topic. It is there at once and durable with the registry ({@link whenDurable}).
   * @throws HadronError as {@link check}, and STORAGE_…
   */
  create(spec: NewTopic): Topic {
    const { partitions: count, settings } = this.check(spec);
    const logs = Array.from({ length: count }, (_, index) => this.newLog(spec.name, index, settings));
    const entries = logs.map((log): SetEntry => ({ kind: 'create', log }));
    const config = spec.config ?? {};
    const nowMs = this.shard.clock.wallMs();
    const meta: TopicMeta = { ...spec.meta, generation: 1, createdMs: nowMs, changedMs: nowMs };
    const value: TopicSpec = {
      id: uuid(this.random).replaceAll('-', ''),
      partitions: logs.map((l) => ({ shard: 0, log: l.id })),
      config,
      meta,
    };
    this.registry.put<TopicSpec>(TOPIC_KIND, spec.name, value, { ifRevision: 0, with: entries });
    const partitions = logs.map((log, i) => new Partition(this.shard, spec.name, i, log, settings, undefined));
    const topic = new Topic(spec.name, value.id, partitions, config, settings, meta);
    topic.lsn = this.shard.stagedLsn;
    this.add(topic);
    return topic;
  }

  /**
   * Removes a topic and its logs; durable with the registry.
   * @param options.force also when others use it
   * @throws HadronError TOPIC_NOT_FOUND, RESOURCE_IN_USE, STORAGE_…
   */
  remove(name: string, options: { readonly force?: boolean } = {}): Topic {
    const topic = this.byName.get(name);
    if (topic === undefined) throw new HadronError('TOPIC_NOT_FOUND', `there is no topic ${name}`);
    if (options.force !== true) this.guard?.(topic);
    this.registry.delete(TOPIC_KIND, name, { with: topic.partitions.map((p) => ({ kind: 'remove', log: p.log })) });
    this.byName.delete(name);
    this.byId.delete(topic.id);
    this.byAlias.delete(topic.streamName);
    this.partitionCount -= topic.partitions.length;
    this.onRemoved?.(topic);
    this.tell('delete', topic);
    return topic;
  }

  /** Replaces a topic's configs. @throws HadronError TOPIC_NOT_FOUND, CONFIG_INVALID, STORAGE_… */
  configure(name: string, config: Readonly<Record<string, string>>): void {
    this.alter(name, { config });
  }

  /**
   * Adds partitions, live: they are there at once and durable with the registry.
   * @param partitions how many there are to be
   * @throws HadronError TOPIC_NOT_FOUND, PARTITIONS_INVALID, STORAGE_…
   */
  grow(name: string, partitions: number): void {
    this.checkGrowth(name, partitions);
    this.alter(name, { partitions });
  }

  /** @throws HadronError as {@link grow} */
  checkGrowth(name: string, partitions: number): void {
    this.checkAlteration(name, { partitions });
    const count = this.byName.get(name)?.partitions.length ?? 0;
    if (partitions <= count)
      throw new HadronError('PARTITIONS_INVALID', `topic ${name} has ${count} partitions; it can only grow to more`);
  }

  /**
   * Changes a topic in one append set: all of it or nothing. Fewer partitions are taken at their word: what they hold is
   * lost, and whoever asks has made sure that this is wanted.
   * @throws HadronError TOPIC_NOT_FOUND, PARTITIONS_INVALID, CONFIG_INVALID, STORAGE_…: nothing happened
   */
  alter(name: string, change: TopicAlteration): void {
    const topic = this.byName.get(name);
    const resource = this.registry.get<TopicSpec>(TOPIC_KIND, name);
    if (topic === undefined || resource === undefined)
      throw new HadronError('TOPIC_NOT_FOUND', `there is no topic ${name}`);
    const { config = topic.config, partitions: count = topic.partitions.length } = change;
    this.checkPartitions(count, count - topic.partitions.length);
    const settings = resolveTopicSettings(config, this.settings);
    const stay = topic.partitions.slice(0, count);
    const gone = topic.partitions.slice(count);
    const logs = Array.from({ length: count - stay.length }, (_, i) => this.newLog(name, stay.length + i, settings));
    const { durability } = settings;
    const entries: SetEntry[] = [
      ...gone.map((p): SetEntry => ({ kind: 'remove', log: p.log })),
      ...logs.map((log): SetEntry => ({ kind: 'create', log })),
      ...(durability === topic.settings.durability
        ? []
        : stay.map((p): SetEntry => ({ kind: 'durability', log: p.log, durability }))),
    ];
    const before = topic.meta;
    const isNew = count !== topic.partitions.length || !isDeepStrictEqual(config, topic.config);
    const grows = isNew || (change.meta !== undefined && !isDeepStrictEqual(change.meta.kept ?? {}, before.kept ?? {}));
    const meta: TopicMeta = {
      ...(change.meta ?? before),
      generation: before.generation + (grows ? 1 : 0),
      ...stamp('createdMs', before.createdMs),
      ...stamp('changedMs', grows ? this.shard.clock.wallMs() : before.changedMs),
    };
    const value: TopicSpec = {
      ...resource.value,
      partitions: [...resource.value.partitions.slice(0, count), ...logs.map((l) => ({ shard: 0, log: l.id }))],
      config,
      meta,
    };
    this.registry.put<TopicSpec>(TOPIC_KIND, name, value, { ifRevision: resource.revision, with: entries });
    topic.lsn = this.shard.stagedLsn;
    topic.config = config;
    topic.settings = settings;
    topic.meta = meta;
    const added = logs.map((log, i) => new Partition(this.shard, name, stay.length + i, log, settings, undefined));
    topic.partitions.splice(stay.length, gone.length, ...added);
    this.partitionCount += added.length - gone.length;
    for (const p of stay) p.configure(settings);
    if (this.onPartition !== undefined) for (const p of added) this.onPartition(p);
    if (gone.length > 0) this.onShrunk?.(topic, gone);
    this.onConfigured?.();
    this.tell('put', topic);
  }

  /** @throws HadronError as {@link alter} would */
  checkAlteration(name: string, { partitions, config }: TopicAlteration): void {
    const topic = this.byName.get(name);
    if (topic === undefined) throw new HadronError('TOPIC_NOT_FOUND', `there is no topic ${name}`);
    if (partitions !== undefined) this.checkPartitions(partitions, partitions - topic.partitions.length);
    if (config !== undefined) resolveTopicSettings(config, this.settings);
  }

  private newLog(topic: string, index: number, settings: TopicSettings): Log {
    return this.shard.newLog({
      name: `${topic}-${index}`,
      format: recordFormat,
      durability: settings.durability,
      options: { segmentBytes: settings.segmentBytes, segmentMs: settings.segmentMs },
    });
  }

  whenDurable(waiter: CommitWaiter): void {
    this.registry.whenDurable(waiter);
  }

  /** Tells of every change of a topic from now on, when it is applied. @returns a function that ends it */
  watch(fn: (change: TopicChange) => void): () => void {
    this.watchers.add(fn);
    return () => void this.watchers.delete(fn);
  }

  private tell(type: TopicChange['type'], topic: Topic): void {
    for (const fn of this.watchers) fn({ type, topic });
  }

  private add(topic: Topic): void {
    this.byName.set(topic.name, topic);
    this.byId.set(topic.id, topic);
    if (topic.streamName !== topic.name) this.byAlias.set(topic.streamName, topic);
    this.partitionCount += topic.partitions.length;
    if (this.onPartition !== undefined) for (const p of topic.partitions) this.onPartition(p);
    this.tell('put', topic);
  }
}

const stamp = <K extends string>(key: K, ms: number | undefined): { readonly [P in K]?: number } =>
  (ms === undefined ? {} : { [key]: ms }) as { readonly [P in K]?: number };
