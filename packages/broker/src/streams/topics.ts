/**
 * Topics: names, partitions, configs. A topic is a resource of the registry that points to logs; its logs are created in
 * the same append set as the resource, so that a topic exists with all its partitions or not at all.
 */
import { HadronError, type Random, uuid } from '@hadron/base';
import type { CommitWaiter, Log, LogId, SetEntry, Shard } from '@hadron/log';
import { type BrokerSettings, resolveTopicSettings, type TopicSettings } from '../config/index.ts';
import type { Registry } from '../state/registry.ts';
import { Partition } from './partition.ts';
import type { ProducerStates } from './producer-state.ts';
import { recordFormat } from './record-format.ts';

const TOPIC_KIND = 'Topic';

/** What the registry keeps. The shard of each partition is recorded, never computed (log.md G20). */
export interface TopicSpec {
  readonly id: string;
  readonly partitions: readonly { readonly shard: number; readonly log: number }[];
  readonly config: Readonly<Record<string, string>>;
}

export class Topic {
  readonly name: string;
  /** 32 hex digits, of this incarnation; a topic created again has another. */
  readonly id: string;
  readonly partitions: Partition[];
  config: Readonly<Record<string, string>>;
  settings: TopicSettings;
  /** What is told of it is durable with this LSN (log.md G5). 0: it came from disk. */
  lsn = 0;

  constructor(
    name: string,
    id: string,
    partitions: Partition[],
    config: Readonly<Record<string, string>>,
    settings: TopicSettings,
  ) {
    this.name = name;
    this.id = id;
    this.partitions = partitions;
    this.config = config;
    this.settings = settings;
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
  private partitionCount = 0;
  /** @internal told of every partition there is */
  onPartition: ((partition: Partition) => void) | undefined;
  /** @internal told when a topic's settings changed */
  onConfigured: (() => void) | undefined;
  /** @internal told before a topic goes, so that its readers are answered */
  onRemoved: ((topic: Topic) => void) | undefined;
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
      this.add(new Topic(name, value.id, partitions, value.config, settings));
    }
  }

  get(name: string): Topic | undefined {
    return this.byName.get(name);
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
    if (this.byName.has(spec.name)) throw new HadronError('TOPIC_EXISTS', `topic ${spec.name} exists already`);
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
    const broker = this.settings.values;
    const partitions = spec.partitions ?? broker['num.partitions'];
    if (!Number.isInteger(partitions) || partitions < 1 || partitions > broker['hadron.max.partitions.per.topic']) {
      throw new HadronError(
        'PARTITIONS_INVALID',
        `a topic has 1 to ${broker['hadron.max.partitions.per.topic']} partitions, not ${partitions} (hadron.max.partitions.per.topic)`,
      );
    }
    if (this.partitionCount + partitions > broker['hadron.max.partitions']) {
      throw new HadronError(
        'PARTITIONS_INVALID',
        `this server has ${this.partitionCount} partitions and may have ${broker['hadron.max.partitions']} (hadron.max.partitions); delete topics or raise it`,
      );
    }
    return { partitions, settings: resolveTopicSettings(spec.config ?? {}, this.settings) };
  }

  /**
   * Creates a topic. It is there at once and durable with the registry ({@link whenDurable}).
   * @throws HadronError as {@link check}, and STORAGE_…
   */
  create(spec: NewTopic): Topic {
    const { partitions: count, settings } = this.check(spec);
    const logs: Log[] = [];
    const entries: SetEntry[] = [];
    for (let i = 0; i < count; i++) {
      const log = this.shard.newLog({
        name: `${spec.name}-${i}`,
        format: recordFormat,
        durability: settings.durability,
        options: { segmentBytes: settings.segmentBytes, segmentMs: settings.segmentMs },
      });
      logs.push(log);
      entries.push({ kind: 'create', log });
    }
    const config = spec.config ?? {};
    const value: TopicSpec = {
      id: uuid(this.random).replaceAll('-', ''),
      partitions: logs.map((l) => ({ shard: 0, log: l.id })),
      config,
    };
    this.registry.put<TopicSpec>(TOPIC_KIND, spec.name, value, { ifRevision: 0, with: entries });
    const partitions = logs.map((log, i) => new Partition(this.shard, spec.name, i, log, settings, undefined));
    const topic = new Topic(spec.name, value.id, partitions, config, settings);
    topic.lsn = this.shard.stagedLsn;
    this.add(topic);
    return topic;
  }

  /** Removes a topic and its logs; durable with the registry. @throws HadronError TOPIC_NOT_FOUND, STORAGE_… */
  remove(name: string): Topic {
    const topic = this.byName.get(name);
    if (topic === undefined) throw new HadronError('TOPIC_NOT_FOUND', `there is no topic ${name}`);
    this.registry.delete(TOPIC_KIND, name, { with: topic.partitions.map((p) => ({ kind: 'remove', log: p.log })) });
    this.byName.delete(name);
    this.byId.delete(topic.id);
    this.partitionCount -= topic.partitions.length;
    this.onRemoved?.(topic);
    this.tell('delete', topic);
    return topic;
  }

  /** Replaces a topic's configs. @throws HadronError TOPIC_NOT_FOUND, CONFIG_INVALID, STORAGE_… */
  configure(name: string, config: Readonly<Record<string, string>>): void {
    const topic = this.byName.get(name);
    const resource = this.registry.get<TopicSpec>(TOPIC_KIND, name);
    if (topic === undefined || resource === undefined)
      throw new HadronError('TOPIC_NOT_FOUND', `there is no topic ${name}`);
    const settings = resolveTopicSettings(config, this.settings);
    const changed = settings.durability !== topic.settings.durability;
    const entries: SetEntry[] = changed
      ? topic.partitions.map((p) => ({ kind: 'durability', log: p.log, durability: settings.durability }))
      : [];
    this.registry.put<TopicSpec>(
      TOPIC_KIND,
      name,
      { ...resource.value, config },
      { ifRevision: resource.revision, with: entries },
    );
    topic.lsn = this.shard.stagedLsn;
    topic.config = config;
    topic.settings = settings;
    for (const p of topic.partitions) p.configure(settings);
    this.onConfigured?.();
    this.tell('put', topic);
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
    this.partitionCount += topic.partitions.length;
    if (this.onPartition !== undefined) for (const p of topic.partitions) this.onPartition(p);
    this.tell('put', topic);
  }
}
