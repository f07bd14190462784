/**
 * Kind Stream over the topics: the registry's resource `Topic` is the one truth, a Stream is how it looks from here. Made,
 * changed and deleted on either side it is seen on both. Names that begin with "__" are internal and are not Streams.
 */
import { HadronError } from '@hadron/base';
import {
  ALLOW_DESTRUCTIVE_UPDATE,
  API_V1,
  type Condition,
  type Resource,
  STREAM_FIELDS_KEPT,
  type StreamSpec,
} from '@hadron/contracts/resources';
import type { Resource as Stored } from '../state/registry.ts';
import { TOPIC_KIND, type Topic, type Topics, type TopicMeta, type TopicSpec } from '../streams/topics.ts';
import { type Desired, type KindService, type Plan, Refusal, refuse } from './kind.ts';
import { configOf, saidTwice, specOf } from './stream-config.ts';

export interface StreamsOptions {
  readonly topics: Topics;
  readonly namespace: string;
  /** What the doors know of a topic, for its status: addresses for original clients. */
  readonly statusOf: (topic: string) => Readonly<Record<string, unknown>>;
}

const isInternal = (name: string): boolean => name.startsWith('__');

export class StreamKind implements KindService<TopicSpec> {
  readonly kind = 'Stream';
  readonly stored = TOPIC_KIND;
  private readonly options: StreamsOptions;

  constructor(options: StreamsOptions) {
    this.options = options;
  }

  keyOf(name: string): string | undefined {
    const topic = this.options.topics.byStreamName(name);
    return topic === undefined || isInternal(topic.name) ? undefined : topic.name;
  }

  present({ name, value, revision }: Stored<TopicSpec>): Resource | undefined {
    if (isInternal(name)) return undefined;
    const meta: TopicMeta = value.meta ?? { generation: 1 };
    const { labels, annotations, generation, createdMs } = meta;
    const spec: StreamSpec = {
      partitions: value.partitions.length,
      ...specOf(value.config),
      ...(meta.name === undefined ? {} : { topicName: name }),
      ...meta.kept,
    };
    return {
      apiVersion: API_V1,
      kind: this.kind,
      metadata: {
        name: meta.name ?? name,
        namespace: this.options.namespace,
        ...(isEmpty(labels) ? {} : { labels }),
        ...(isEmpty(annotations) ? {} : { annotations }),
        resourceVersion: String(revision),
        generation,
        uid: asUuid(value.id),
        ...(createdMs === undefined ? {} : { creationTimestamp: timestamp(createdMs) }),
      },
      spec,
      status: {
        observedGeneration: generation,
        topicName: name,
        topicId: value.id,
        ...this.options.statusOf(name),
        conditions: conditionsOf(meta),
      },
    };
  }

  plan({ name, metadata, spec: wanted, labels, annotations }: Desired, present: Resource | undefined): Plan {
    const { topics } = this.options;
    const spec = wanted as StreamSpec;
    const topicName = spec.topicName ?? name;
    for (const [path, value] of [
      ['metadata.name', name],
      ['spec.topicName', topicName],
    ] as const)
      if (isInternal(value)) throw refuse(path, value, 'is internal', 'a name that does not begin with "__"');
    const twice = saidTwice(spec);
    if (twice.length > 0) {
      throw new Refusal(
        ...twice.map(({ field, key }) => ({
          path: `spec.topicConfig[${JSON.stringify(key)}]`,
          value: spec.topicConfig?.[key],
          message: `is said by spec.${field} as well`,
          allowed: 'one of the two',
        })),
      );
    }
    checkRetention(spec);
    const config = configOf(spec);
    const kept = Object.fromEntries(
      STREAM_FIELDS_KEPT.filter((f) => spec[f] !== undefined && spec[f] !== null).map((f) => [f, spec[f]]),
    );
    const meta = { ...(topicName === name ? {} : { name }), labels, annotations, kept };
    const settled: StreamSpec = {
      partitions: spec.partitions,
      ...specOf(config),
      ...(topicName === name ? {} : { topicName }),
      ...kept,
    };
    const warnings: string[] = [];
    const ignored = Object.keys(kept);
    if (ignored.length > 0) warnings.push(ignoredMessage(ignored));
    if (present === undefined) {
      const created = { name: topicName, partitions: spec.partitions, config, meta };
      blame(spec, () => topics.check(created));
      return { spec: settled, warnings, commit: () => void topics.create(created) };
    }
    const topic = topics.byStreamName(name) as Topic;
    if (topic.name !== topicName)
      throw refuse('spec.topicName', topicName, 'cannot change', `${topic.name}, as it is; or delete the Stream first`);
    const count = topic.partitions.length;
    const lost = topic.partitions
      .slice(spec.partitions)
      .map((p) => ({ partition: p.index, records: p.log.nextPosition - p.logStartOffset }));
    const isAllowed = typeof metadata.annotations?.[ALLOW_DESTRUCTIVE_UPDATE] === 'string';
    if (lost.length > 0 && !isAllowed) {
      throw new Refusal({
        path: 'spec.partitions',
        value: spec.partitions,
        message: `would lose ${lostMessage(lost)}; a document that means it has the annotation ${ALLOW_DESTRUCTIVE_UPDATE}`,
        allowed: `${count} or more`,
      });
    }
    if (lost.length > 0) warnings.push(`Lost with their partitions: ${lostMessage(lost)}.`);
    if (spec.partitions !== count) {
      warnings.push(
        'Keys move to other partitions: events of one key that were stored before and after this may be delivered out of order.',
      );
    }
    blame(spec, () => topics.checkAlteration(topic.name, { partitions: spec.partitions, config }));
    return {
      spec: settled,
      warnings,
      ...(lost.length === 0 ? {} : { lost }),
      commit: () => topics.alter(topic.name, { partitions: spec.partitions, config, meta }),
    };
  }

  remove(key: string): void {
    // Whoever asks has looked at who uses it.
    this.options.topics.remove(key, { force: true });
  }
}

/** @throws Refusal: fields of the retention policy that contradict each other */
function checkRetention({ retentionPolicy }: StreamSpec): void {
  if (retentionPolicy === undefined) return;
  const { strategy, retentionBytes, retentionSeconds } = retentionPolicy;
  const at = (field: string, value: unknown, message: string, allowed: string): Refusal =>
    refuse(`spec.retentionPolicy.${field}`, value, message, allowed);
  if (strategy === 'retain' && retentionBytes !== undefined)
    throw at(
      'retentionBytes',
      retentionBytes,
      'contradicts strategy retain, which keeps everything',
      'nothing here, or strategy size',
    );
  if (strategy === 'size' && retentionBytes === undefined)
    throw at('retentionBytes', undefined, 'is missing', 'a whole number: bytes kept of each partition');
  if (strategy === 'size' && retentionSeconds !== undefined && retentionSeconds !== null)
    throw at(
      'retentionSeconds',
      retentionSeconds,
      'is for strategy time',
      'nothing here, or strategy time, which takes retentionBytes too',
    );
}

/** What the topics refuse, said in words of the Stream. */
function blame(spec: StreamSpec, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof HadronError)) throw error;
    const message = error.detail;
    switch (error.code) {
      case 'PARTITIONS_INVALID':
        throw refuse('spec.partitions', spec.partitions, message);
      case 'TOPIC_NAME_INVALID':
      case 'TOPIC_EXISTS':
        throw refuse(spec.topicName === undefined ? 'metadata.name' : 'spec.topicName', spec.topicName, message);
      case 'CONFIG_INVALID':
        throw refuseConfig(spec, message);
      default:
        throw error;
    }
  }
}

/** Names the config that is wrong: a message about one says its name. What has a field was judged by the schema. */
function refuseConfig({ topicConfig = {} }: StreamSpec, message: string): Refusal {
  const words = message.split(/[\s,;:]+/);
  const key = Object.keys(topicConfig).find((k) => words.includes(k));
  return key === undefined
    ? refuse('spec', undefined, message)
    : refuse(`spec.topicConfig[${JSON.stringify(key)}]`, topicConfig[key], message);
}

const isEmpty = (map: object | undefined): map is undefined => map === undefined || Object.keys(map).length === 0;
const timestamp = (ms: number): string => new Date(ms).toISOString();
const asUuid = (id: string): string => id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

function lostMessage(lost: readonly { readonly partition: number; readonly records: number }[]): string {
  return lost
    .map(({ partition, records }) => `partition ${partition} (${records} record${records === 1 ? '' : 's'})`)
    .join(', ');
}

const ignoredMessage = (fields: readonly string[]): string =>
  `${fields.map((f) => `spec.${f}`).join(', ')} ${fields.length === 1 ? 'is' : 'are'} kept for clusters and ${fields.length === 1 ? 'does' : 'do'} nothing on a server of its own.`;

function conditionsOf({ generation, changedMs, createdMs, kept = {} }: TopicMeta): Condition[] {
  const lastTransitionTime = timestamp(createdMs ?? changedMs ?? 0);
  const conditions: Condition[] = [
    {
      type: 'Ready',
      status: 'True',
      reason: 'Created',
      message: 'The topic and all its partitions are there.',
      observedGeneration: generation,
      lastTransitionTime,
    },
  ];
  const ignored = Object.keys(kept);
  if (ignored.length > 0) {
    conditions.push({
      type: 'FieldsIgnored',
      status: 'True',
      reason: 'NoCluster',
      message: ignoredMessage(ignored),
      observedGeneration: generation,
      lastTransitionTime: timestamp(changedMs ?? 0),
    });
  }
  return conditions;
}
