/**
 * FindCoordinator (10), v0–6. v1 key type · v3 flexible · v4 several keys · v6 share groups.
 * Every group's coordinator is this node, before any group exists (R12). Transactions (type 1) and share groups (type 2)
 * do not exist yet: INVALID_REQUEST.
 */
import {
  decodeFindCoordinatorRequest,
  encodeFindCoordinatorResponse,
  type FindCoordinatorResponse,
  KafkaError,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';

const GROUP = 0;
const SEVERAL_KEYS_FROM = 4;
const NOWHERE = { nodeId: -1, host: '', port: -1 };

export function findCoordinator(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeFindCoordinatorRequest(reader, version);
  const refused = m.keyType !== GROUP;
  if (refused) {
    door.logger.warn(
      { keyType: m.keyType, client: request.connection.remote, clientId: request.clientId },
      'a coordinator of another type than a group was asked for: transactions and share groups are not supported yet',
    );
    door.error(request.apiKey, KafkaError.INVALID_REQUEST);
  }
  const address = door.addressFor(request.connection);
  const answerFor = (key: string): Omit<FindCoordinatorResponse['coordinators'][number], 'key'> => {
    if (refused) {
      const errorMessage = 'Only group coordinators exist: transactions and share groups are not supported yet.';
      return { ...NOWHERE, errorCode: KafkaError.INVALID_REQUEST, errorMessage };
    }
    if (door.forbids('read', key, 'KafkaGroup')) {
      door.error(request.apiKey, KafkaError.GROUP_AUTHORIZATION_FAILED);
      return { ...NOWHERE, errorCode: KafkaError.GROUP_AUTHORIZATION_FAILED, errorMessage: null };
    }
    return { nodeId: door.nodeId, host: address.host, port: address.port, errorCode: 0, errorMessage: null };
  };
  const response: FindCoordinatorResponse =
    version >= SEVERAL_KEYS_FROM
      ? {
          throttleTimeMs: 0,
          errorCode: 0,
          errorMessage: null,
          nodeId: 0,
          host: '',
          port: 0,
          coordinators: m.coordinatorKeys.map((key) => ({ key, ...answerFor(key) })),
        }
      : { throttleTimeMs: 0, ...answerFor(m.key), coordinators: [] };
  request.reply((w) => encodeFindCoordinatorResponse(w, response, version));
}
