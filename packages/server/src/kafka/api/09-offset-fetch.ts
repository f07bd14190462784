/**
 * OffsetFetch (9), v1–9 (R12). v2 null topics = all, top-level error · v5 leader epoch · v6 flexible · v7 RequireStable
 * (nothing is unstable until there are transactions) · v8 several groups · v9 member epoch.
 */
import type { FetchOffsetsResponse } from '@hadron/broker';
import {
  decodeOffsetFetchRequest,
  encodeOffsetFetchResponse,
  type OffsetFetchResponse,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { caller } from '../group-caller.ts';

const SEVERAL_GROUPS_FROM = 8;

export function offsetFetch(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeOffsetFetchRequest(reader, version);
  const asked = version >= SEVERAL_GROUPS_FROM ? m.groups : [{ groupId: m.groupId, topics: m.topics }];
  const groups = asked.map((g) => ({
    groupId: g.groupId,
    topics: g.topics?.map((t) => ({ name: t.name, partitions: t.partitionIndexes })) ?? null,
  }));
  const send = (response: OffsetFetchResponse): void =>
    request.reply((w) => encodeOffsetFetchResponse(w, response, version));
  door.core.groups.run<FetchOffsetsResponse>(
    caller(
      door,
      request,
      (r) => {
        const answered = r.groups.map((g) => ({
          groupId: g.groupId,
          errorCode: 0,
          topics: g.topics.map((t) => ({
            name: t.name,
            partitions: t.partitions.map((p) => ({
              partitionIndex: p.partition,
              committedOffset: p.offset,
              committedLeaderEpoch: p.leaderEpoch,
              metadata: p.metadata,
              errorCode: 0,
            })),
          })),
        }));
        if (version >= SEVERAL_GROUPS_FROM) send({ throttleTimeMs: 0, topics: [], errorCode: 0, groups: answered });
        else send({ throttleTimeMs: 0, topics: answered[0]?.topics ?? [], errorCode: 0, groups: [] });
      },
      (code) => {
        const failedTopics = (topics: readonly { name: string; partitions: readonly number[] }[] | null) =>
          topics?.map((t) => ({
            name: t.name,
            partitions: t.partitions.map((p) => ({
              partitionIndex: p,
              committedOffset: -1,
              committedLeaderEpoch: -1,
              metadata: '',
              errorCode: code,
            })),
          })) ?? [];
        if (version >= SEVERAL_GROUPS_FROM) {
          send({
            throttleTimeMs: 0,
            topics: [],
            errorCode: 0,
            groups: groups.map((g) => ({ groupId: g.groupId, topics: [], errorCode: code })),
          });
        } else
          send({
            throttleTimeMs: 0,
            topics: failedTopics(groups[0]?.topics ?? null),
            errorCode: version >= 2 ? code : 0,
            groups: [],
          });
      },
    ),
    (c, to) => c.fetchOffsets({ groups }, to),
  );
}
