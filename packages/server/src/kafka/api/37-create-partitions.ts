/** CreatePartitions (37), v0–3. v2 flexible. One result per topic, never an empty answer (§2.2). Answered when durable. */
import { HadronError } from '@hadron/base';
import {
  type CreatePartitionsRequestTopic,
  type CreatePartitionsResponseResult,
  decodeCreatePartitionsRequest,
  encodeCreatePartitionsResponse,
  KafkaError,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { AssignmentError, describe, KAFKA_CODE } from '../error-codes.ts';

export function createPartitions(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeCreatePartitionsRequest(reader, version);
  const { registry } = door.core;
  const times = new Map<string, number>();
  for (const t of m.topics) times.set(t.name, (times.get(t.name) ?? 0) + 1);
  const results = [...times].map(([name, count]): CreatePartitionsResponseResult => {
    const asked = m.topics.find((t) => t.name === name) as CreatePartitionsRequestTopic;
    const result =
      count > 1
        ? refused(name, KafkaError.INVALID_REQUEST, `Topic ${name} is named ${count} times in this request.`)
        : grow(door, asked, m.validateOnly);
    if (result.errorCode !== 0) door.error(request.apiKey, result.errorCode);
    return result;
  });
  const answer = (): void =>
    request.reply((w) => encodeCreatePartitionsResponse(w, { throttleTimeMs: 0, results }, version));
  if (registry.isDurable) answer();
  else {
    registry.whenDurable({
      committed: answer,
      failed(error) {
        for (const r of results) Object.assign(r, refused(r.name, KAFKA_CODE[error.code], error.message));
        answer();
      },
    });
  }
}

function grow(
  door: KafkaDoor,
  { name, count, assignments }: CreatePartitionsRequestTopic,
  validateOnly: boolean,
): CreatePartitionsResponseResult {
  try {
    door.mayOrThrow('change', name);
    const { topics } = door.core;
    const present = topics.get(name)?.partitions.length;
    if (present !== undefined && assignments !== null) {
      const isOurs = assignments.every((a) => a.brokerIds.length === 1 && a.brokerIds[0] === door.nodeId);
      if (assignments.length !== count - present || !isOurs) {
        throw new AssignmentError(
          `each of the ${Math.max(0, count - present)} new partitions must be assigned to broker ${door.nodeId}, the only one`,
        );
      }
    }
    if (validateOnly) topics.checkGrowth(name, count);
    else topics.grow(name, count);
    return { name, errorCode: 0, errorMessage: null };
  } catch (error) {
    if (!(error instanceof HadronError)) throw error;
    const { code, message } = describe(error);
    return refused(name, code, message);
  }
}

const refused = (name: string, errorCode: number, errorMessage: string): CreatePartitionsResponseResult => ({
  name,
  errorCode,
  errorMessage,
});
