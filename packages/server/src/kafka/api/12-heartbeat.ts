/** Heartbeat (12), v0–4 (R12). v3 instance id · v4 flexible. */
import type { HeartbeatResponse } from '@hadron/broker';
import { decodeHeartbeatRequest, encodeHeartbeatResponse, type Reader } from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { groupCode } from '../error-codes.ts';
import { askCoordinator, caller } from '../group-caller.ts';

export function heartbeat(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeHeartbeatRequest(reader, version);
  const send = (errorCode: number): void => {
    if (errorCode !== 0) door.error(request.apiKey, errorCode);
    request.reply((w) => encodeHeartbeatResponse(w, { throttleTimeMs: 0, errorCode }, version));
  };
  askCoordinator<HeartbeatResponse>(
    door,
    'subscribe',
    m.groupId,
    caller(door, request, (r) => send(groupCode(r.error)), send),
    (c, to, now) =>
      c.heartbeat(
        { groupId: m.groupId, memberId: m.memberId, instanceId: m.groupInstanceId, generation: m.generationId },
        to,
        now,
      ),
  );
}
