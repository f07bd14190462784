/**
 * InitProducerId (22), v0–5 (R13). Without a transactional id every call gives a new id with epoch 0, as Kafka does.
 * Transactional ids → INVALID_REQUEST until there are transactions.
 */
import {
  decodeInitProducerIdRequest,
  encodeInitProducerIdResponse,
  KafkaError,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { groupCode } from '../error-codes.ts';

export function initProducerId(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeInitProducerIdRequest(reader, version);
  const send = (errorCode: number, producerId: number, producerEpoch: number): void => {
    if (errorCode !== 0) door.error(request.apiKey, errorCode);
    request.reply((w) =>
      encodeInitProducerIdResponse(w, { throttleTimeMs: 0, errorCode, producerId, producerEpoch }, version),
    );
  };
  if (m.transactionalId !== null) {
    door.logger.warn(
      { transactionalId: m.transactionalId, client: request.connection.remote, clientId: request.clientId },
      'a transactional producer was refused: transactions are not supported yet',
    );
    send(KafkaError.INVALID_REQUEST, -1, -1);
    return;
  }
  door.core.producerIds.allocate(
    (id) => send(0, id, 0),
    (error) => send(groupCode(error.code), -1, -1),
  );
}
