/**
 * Metadata (3), v0–13 (R9–R11, R16). v4 auto-creation flag · v7 leader epochs · v8 authorized operations · v9 flexible ·
 * v10 topic ids · v12 nullable names (look-up by id) · v13 top-level error.
 *
 * An unknown topic with auto-creation allowed is created, and answered when it is durable. Kafka answers an error and has
 * the client ask again, because its creation is asynchronous; ours is not, so the topic itself is the answer (R11.3).
 */
import { HadronError } from '@hadron/base';
import type { Topic } from '@hadron/broker';
import {
  decodeMetadataRequest,
  encodeMetadataResponse,
  KafkaError,
  type MetadataRequest,
  type MetadataResponse,
  type MetadataResponseTopic,
  type Reader,
  ZERO_UUID,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { KAFKA_CODE } from '../error-codes.ts';

const BY_ID_FROM = 12;
const AUTO_CREATE_FLAG_FROM = 4;
const NOT_ASKED = -2147483648;
/** Bits of Kafka's AclOperation: everything one may do, until there is authorization. */
const TOPIC_OPERATIONS = operations([3, 4, 5, 6, 7, 8, 10, 11]);
const CLUSTER_OPERATIONS = operations([5, 7, 8, 9, 10, 11, 12]);

function operations(bits: readonly number[]): number {
  return bits.reduce((all, bit) => all | (1 << bit), 0);
}

export function metadata(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeMetadataRequest(reader, version);
  const { registry, shard, topics: known } = door.core;
  const topics = wanted(door, m, version);
  const answer = (): void => {
    const address = door.addressFor(request.connection);
    const response: MetadataResponse = {
      throttleTimeMs: 0,
      brokers: [{ nodeId: door.nodeId, host: address.host, port: address.port, rack: null }],
      clusterId: door.broker.options.clusterId,
      controllerId: door.nodeId,
      topics,
      clusterAuthorizedOperations: m.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
      errorCode: 0,
    };
    request.reply((w) => encodeMetadataResponse(w, response, version));
  };
  // Everything told here must be durable (log.md G5): topics created a moment ago are not yet.
  if (registry.isDurable) answer();
  else {
    registry.whenDurable({
      committed: answer,
      failed(error) {
        for (const t of topics) {
          const topic = t.name === null ? undefined : known.get(t.name);
          if (topic !== undefined && shard.isDurable(topic.lsn)) continue;
          t.errorCode = KAFKA_CODE[error.code];
          t.partitions = [];
        }
        answer();
      },
    });
  }
}

function wanted(door: KafkaDoor, m: MetadataRequest, version: number): MetadataResponseTopic[] {
  const { topics } = door.core;
  const ask = m.includeTopicAuthorizedOperations;
  if (m.topics === null || (version === 0 && m.topics.length === 0))
    return [...topics.all()].filter((t) => !door.forbids('read', t.name)).map((t) => found(door, t, ask));
  const mayCreate = door.autoCreateTopics && (version < AUTO_CREATE_FLAG_FROM || m.allowAutoTopicCreation);
  return m.topics.map(({ name, topicId }) => {
    // v10 and v11 have the fields and no meaning for them.
    if (version < BY_ID_FROM && (name === null || topicId !== ZERO_UUID))
      return missing(name ?? '', KafkaError.INVALID_REQUEST);
    if (name === null || (topicId !== ZERO_UUID && name === '')) {
      const topic = topics.getById(topicId);
      // Who may not read a topic is not told that its id is one.
      return topic === undefined || door.forbids('read', topic.name)
        ? missing(null, KafkaError.UNKNOWN_TOPIC_ID, topicId)
        : found(door, topic, ask);
    }
    if (door.forbids('read', name)) return missing(name, KafkaError.TOPIC_AUTHORIZATION_FAILED);
    const topic = topics.get(name);
    if (topic !== undefined) return found(door, topic, ask);
    try {
      topics.check({ name });
      if (!mayCreate) return missing(name, KafkaError.UNKNOWN_TOPIC_OR_PARTITION);
      door.mayOrThrow('create', name);
      const made = topics.create({ name });
      door.logger.info(
        { topic: name, partitions: made.partitions.length },
        'topic created because a client asked for it (auto.create.topics.enable)',
      );
      return found(door, made, ask);
    } catch (error) {
      if (!(error instanceof HadronError)) throw error;
      if (!mayCreate && error.code !== 'TOPIC_NAME_INVALID')
        return missing(name, KafkaError.UNKNOWN_TOPIC_OR_PARTITION);
      return missing(name, KAFKA_CODE[error.code]);
    }
  });
}

function missing(name: string | null, errorCode: number, topicId: string = ZERO_UUID): MetadataResponseTopic {
  return { errorCode, name, topicId, isInternal: false, partitions: [], topicAuthorizedOperations: NOT_ASKED };
}

function found(door: KafkaDoor, topic: Topic, ask: boolean): MetadataResponseTopic {
  const replicas = [door.nodeId];
  return {
    errorCode: 0,
    name: topic.name,
    topicId: topic.id,
    isInternal: false,
    partitions: topic.partitions.map((p) => ({
      errorCode: 0,
      partitionIndex: p.index,
      leaderId: door.nodeId,
      leaderEpoch: p.leaderEpoch,
      replicaNodes: replicas,
      isrNodes: replicas,
      offlineReplicas: [],
    })),
    topicAuthorizedOperations: ask ? TOPIC_OPERATIONS : NOT_ASKED,
  };
}
