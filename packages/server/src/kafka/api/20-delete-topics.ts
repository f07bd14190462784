/** DeleteTopics (20), v1–6. v4 flexible · v5 error message · v6 by id. */
import { HadronError } from '@hadron/base';
import {
  decodeDeleteTopicsRequest,
  type DeleteTopicsResponseTopic,
  encodeDeleteTopicsResponse,
  KafkaError,
  type Reader,
  ZERO_UUID,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { describe, KAFKA_CODE } from '../error-codes.ts';

const BY_ID_FROM = 6;

export function deleteTopics(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeDeleteTopicsRequest(reader, version);
  const { topics, registry } = door.core;
  const asked = version >= BY_ID_FROM ? m.topics : m.topicNames.map((name) => ({ name, topicId: ZERO_UUID }));
  const responses: DeleteTopicsResponseTopic[] = asked.map(({ name, topicId }) => {
    const byId = topicId !== ZERO_UUID;
    const topic = byId ? topics.getById(topicId) : topics.get(name ?? '');
    const out: DeleteTopicsResponseTopic = {
      name: topic?.name ?? name,
      topicId: topic?.id ?? topicId,
      errorCode: 0,
      errorMessage: null,
    };
    if (byId && name !== null) {
      out.errorCode = KafkaError.INVALID_REQUEST;
      out.errorMessage = 'Name a topic or give its id, not both.';
    } else if (topic === undefined) {
      out.errorCode = byId ? KafkaError.UNKNOWN_TOPIC_ID : KafkaError.UNKNOWN_TOPIC_OR_PARTITION;
      out.errorMessage = byId ? 'There is no topic of this id.' : 'There is no such topic.';
    } else {
      try {
        door.mayOrThrow('delete', topic.name);
        topics.remove(topic.name);
      } catch (error) {
        if (!(error instanceof HadronError)) throw error;
        const { code, message } = describe(error);
        out.errorCode = code;
        out.errorMessage = message;
      }
    }
    if (out.errorCode !== 0) door.error(request.apiKey, out.errorCode);
    return out;
  });
  const answer = (): void =>
    request.reply((w) => encodeDeleteTopicsResponse(w, { throttleTimeMs: 0, responses }, version));
  if (registry.isDurable) answer();
  else {
    registry.whenDurable({
      committed: answer,
      failed(error) {
        for (const r of responses) r.errorCode = KAFKA_CODE[error.code];
        answer();
      },
    });
  }
}
