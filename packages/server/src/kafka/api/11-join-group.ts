/**
 * JoinGroup (11), v0–9 (R12; v0 and v1 must be there, R6.2). v1 rebalance time-out · v4 member id round trip ·
 * v5 static members · v6 flexible · v7 protocol type · v8 reason · v9 skipAssignment.
 */
import type { JoinGroupResponse as Joined } from '@hadron/broker';
import {
  decodeJoinGroupRequest,
  encodeJoinGroupResponse,
  type JoinGroupResponse,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { groupCode } from '../error-codes.ts';
import { asBuffer, askCoordinator, caller, copyOf } from '../group-caller.ts';

const MEMBER_ID_REQUIRED_FROM = 4;
const NULLABLE_PROTOCOL_FROM = 7;
const SKIP_ASSIGNMENT_FROM = 9;

export function joinGroup(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeJoinGroupRequest(reader, version);
  const send = (response: JoinGroupResponse): void => {
    if (response.errorCode !== 0) door.error(request.apiKey, response.errorCode);
    request.reply((w) => encodeJoinGroupResponse(w, response, version));
  };
  askCoordinator<Joined>(
    door,
    'subscribe',
    m.groupId,
    caller(
      door,
      request,
      (r) =>
        send({
          throttleTimeMs: 0,
          errorCode: groupCode(r.error),
          generationId: r.generation,
          protocolType: r.protocolType,
          protocolName: version >= NULLABLE_PROTOCOL_FROM ? r.protocolName : (r.protocolName ?? ''),
          leader: r.leader,
          skipAssignment: version >= SKIP_ASSIGNMENT_FROM && r.skipAssignment,
          memberId: r.memberId,
          members: r.members.map((x) => ({
            memberId: x.memberId,
            groupInstanceId: x.instanceId,
            metadata: asBuffer(x.metadata),
          })),
        }),
      (errorCode) =>
        send({
          throttleTimeMs: 0,
          errorCode,
          generationId: -1,
          protocolType: null,
          protocolName: version >= NULLABLE_PROTOCOL_FROM ? null : '',
          leader: '',
          skipAssignment: false,
          memberId: m.memberId,
          members: [],
        }),
    ),
    (c, to, now, wallMs) =>
      c.joinGroup(
        {
          groupId: m.groupId,
          memberId: m.memberId,
          instanceId: m.groupInstanceId,
          clientId: request.clientId ?? '',
          clientHost: `/${request.connection.socket.remoteAddress ?? ''}`,
          sessionTimeoutMs: m.sessionTimeoutMs,
          rebalanceTimeoutMs: m.rebalanceTimeoutMs,
          protocolType: m.protocolType,
          protocols: m.protocols.map((p) => ({ name: p.name, metadata: copyOf(p.metadata) })),
          requireKnownMemberId: version >= MEMBER_ID_REQUIRED_FROM,
          supportsSkipAssignment: version >= SKIP_ASSIGNMENT_FROM,
        },
        to,
        now,
        wallMs,
      ),
  );
}
