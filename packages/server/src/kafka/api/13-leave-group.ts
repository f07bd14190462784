/** LeaveGroup (13), v0–5 (R12). v3 several members, instance ids · v4 flexible · v5 reason. */
import type { LeaveGroupResponse } from '@hadron/broker';
import { decodeLeaveGroupRequest, encodeLeaveGroupResponse, type Reader } from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { groupCode } from '../error-codes.ts';
import { askCoordinator, caller } from '../group-caller.ts';

const SEVERAL_MEMBERS_FROM = 3;

export function leaveGroup(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeLeaveGroupRequest(reader, version);
  const members =
    version >= SEVERAL_MEMBERS_FROM
      ? m.members.map((x) => ({ memberId: x.memberId, instanceId: x.groupInstanceId }))
      : [{ memberId: m.memberId, instanceId: null }];
  askCoordinator<LeaveGroupResponse>(
    door,
    'subscribe',
    m.groupId,
    caller(
      door,
      request,
      (r) => {
        // Below v3 there is one member, and its error is the answer's.
        const errorCode = groupCode(r.error ?? (version < SEVERAL_MEMBERS_FROM ? r.members[0]?.error : null));
        const answered =
          version < SEVERAL_MEMBERS_FROM
            ? []
            : r.members.map((x) => ({
                memberId: x.memberId,
                groupInstanceId: x.instanceId,
                errorCode: groupCode(x.error),
              }));
        request.reply((w) => encodeLeaveGroupResponse(w, { throttleTimeMs: 0, errorCode, members: answered }, version));
      },
      (errorCode) =>
        request.reply((w) => encodeLeaveGroupResponse(w, { throttleTimeMs: 0, errorCode, members: [] }, version)),
    ),
    (c, to, now, wallMs) => c.leaveGroup({ groupId: m.groupId, members }, to, now, wallMs),
  );
}
