/** CreateTopics (19), v2–7. v4 default counts · v5 flexible, configs in the answer · v7 topic id. One result per topic (§6). */
import { HadronError } from '@hadron/base';
import { topicConfigEntries } from '@hadron/broker';
import {
  type CreateTopicsRequestTopic,
  type CreateTopicsResponseTopic,
  decodeCreateTopicsRequest,
  encodeCreateTopicsResponse,
  KafkaError,
  type Reader,
  ZERO_UUID,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { AssignmentError, describe, KAFKA_CODE } from '../error-codes.ts';

const CONFIG_SOURCE = { topic: 1, broker: 4, default: 5 } as const;

export function createTopics(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeCreateTopicsRequest(reader, version);
  const { registry } = door.core;
  const times = new Map<string, number>();
  for (const t of m.topics) times.set(t.name, (times.get(t.name) ?? 0) + 1);
  const topics: CreateTopicsResponseTopic[] = [];
  for (const [name, count] of times) {
    const asked = m.topics.find((t) => t.name === name) as CreateTopicsRequestTopic;
    const result =
      count > 1
        ? refused(name, KafkaError.INVALID_REQUEST, `Topic ${name} is named ${count} times in this request.`)
        : create(door, asked, m.validateOnly);
    if (result.errorCode !== 0) door.error(request.apiKey, result.errorCode);
    topics.push(result);
  }
  const answer = (): void =>
    request.reply((w) => encodeCreateTopicsResponse(w, { throttleTimeMs: 0, topics }, version));
  if (registry.isDurable) answer();
  else {
    registry.whenDurable({
      committed: answer,
      failed(error) {
        for (const t of topics) Object.assign(t, refused(t.name, KAFKA_CODE[error.code], error.message));
        answer();
      },
    });
  }
}

function create(door: KafkaDoor, asked: CreateTopicsRequestTopic, validateOnly: boolean): CreateTopicsResponseTopic {
  try {
    door.mayOrThrow('create', asked.name);
    const partitions = countPartitions(door, asked);
    const config: Record<string, string> = {};
    for (const c of asked.configs) {
      if (c.value === null) throw new HadronError('CONFIG_INVALID', `config ${c.name} has no value`);
      config[c.name] = c.value;
    }
    const spec = { name: asked.name, partitions, config };
    const checked = door.core.topics.check(spec);
    const id = validateOnly ? ZERO_UUID : door.core.topics.create(spec).id;
    return {
      name: asked.name,
      topicId: id,
      errorCode: 0,
      errorMessage: null,
      topicConfigErrorCode: 0,
      numPartitions: checked.partitions,
      replicationFactor: 1,
      configs: topicConfigEntries(config, door.broker.options.settings).map((e) => ({
        name: e.name,
        value: e.value,
        readOnly: false,
        configSource: CONFIG_SOURCE[e.source],
        isSensitive: false,
      })),
    };
  } catch (error) {
    const { code, message } = describe(error);
    return refused(asked.name, code, message);
  }
}

/** @throws HadronError PARTITIONS_INVALID, REPLICATION_INVALID, REQUEST_INVALID */
function countPartitions(door: KafkaDoor, asked: CreateTopicsRequestTopic): number | undefined {
  if (asked.assignments.length > 0) {
    if (asked.numPartitions !== -1 || asked.replicationFactor !== -1) {
      throw new HadronError(
        'REQUEST_INVALID',
        'a topic has either an assignment or numbers of partitions and replicas, not both',
      );
    }
    const indexes = new Set(asked.assignments.map((a) => a.partitionIndex));
    for (const a of asked.assignments) {
      if (a.brokerIds.length !== 1 || a.brokerIds[0] !== door.nodeId) {
        throw new AssignmentError(
          `partition ${a.partitionIndex} must be assigned to broker ${door.nodeId}, the only one`,
        );
      }
    }
    if (indexes.size !== asked.assignments.length || Math.max(...indexes) !== indexes.size - 1) {
      throw new AssignmentError('partitions must be assigned once each and be numbered from 0 without a gap');
    }
    return indexes.size;
  }
  if (asked.replicationFactor !== -1 && asked.replicationFactor !== 1) {
    throw new HadronError(
      'REPLICATION_INVALID',
      `replication factor ${asked.replicationFactor}: there is one broker, so it is 1 (or -1 for the default)`,
    );
  }
  if (asked.numPartitions === -1) return undefined;
  return asked.numPartitions;
}

function refused(name: string, errorCode: number, errorMessage: string): CreateTopicsResponseTopic {
  return {
    name,
    topicId: ZERO_UUID,
    errorCode,
    errorMessage,
    topicConfigErrorCode: 0,
    numPartitions: -1,
    replicationFactor: -1,
    configs: null,
  };
}
