/** SyncGroup (14), v0–5 (R12). v3 instance id · v4 flexible · v5 protocol type and name. */
import type { SyncGroupResponse } from '@hadron/broker';
import { decodeSyncGroupRequest, encodeSyncGroupResponse, type Reader } from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { groupCode } from '../error-codes.ts';
import { asBuffer, askCoordinator, caller, copyOf } from '../group-caller.ts';

const PROTOCOL_FROM = 5;
const NOTHING = Buffer.alloc(0);

export function syncGroup(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeSyncGroupRequest(reader, version);
  const send = (
    errorCode: number,
    protocolType: string | null,
    protocolName: string | null,
    assignment: Buffer,
  ): void => {
    if (errorCode !== 0) door.error(request.apiKey, errorCode);
    request.reply((w) =>
      encodeSyncGroupResponse(w, { throttleTimeMs: 0, errorCode, protocolType, protocolName, assignment }, version),
    );
  };
  askCoordinator<SyncGroupResponse>(
    door,
    'subscribe',
    m.groupId,
    caller(
      door,
      request,
      (r) => send(groupCode(r.error), r.protocolType, r.protocolName, asBuffer(r.assignment)),
      (code) => send(code, null, null, NOTHING),
    ),
    (c, to, now, wallMs) =>
      c.syncGroup(
        {
          groupId: m.groupId,
          memberId: m.memberId,
          instanceId: m.groupInstanceId,
          generation: m.generationId,
          protocolType: version >= PROTOCOL_FROM ? m.protocolType : null,
          protocolName: version >= PROTOCOL_FROM ? m.protocolName : null,
          assignments: m.assignments.map((a) => ({ memberId: a.memberId, assignment: copyOf(a.assignment) })),
        },
        to,
        now,
        wallMs,
      ),
  );
}
