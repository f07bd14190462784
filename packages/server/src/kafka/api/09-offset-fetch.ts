/**
 * OffsetFetch (9), v1–9 (R12). v2 null topics = all, top-level error · v5 leader epoch · v6 flexible · v7 RequireStable
 * (nothing is unstable until there are transactions) · v8 several groups · v9 member epoch.
 */
import type { FetchOffsetsResponse } from '@hadron/broker';
import {
  KafkaError,
  decodeOffsetFetchRequest,
  encodeOffsetFetchResponse,
  type OffsetFetchResponse,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { caller } from '../group-caller.ts';

const SEVERAL_GROUPS_FROM = 8;

type Topics = OffsetFetchResponse['topics'];

export function offsetFetch(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeOffsetFetchRequest(reader, version);
  const several = version >= SEVERAL_GROUPS_FROM;
  const asked = (several ? m.groups : [{ groupId: m.groupId, topics: m.topics }]).map((g) => ({
    groupId: g.groupId,
    topics: g.topics?.map((t) => ({ name: t.name, partitions: t.partitionIndexes })) ?? null,
  }));
  const send = (errorOf: (groupId: string) => number, topicsOf: (groupId: string) => Topics): void => {
    const groups = asked.map(({ groupId, topics }) => {
      const errorCode = errorOf(groupId);
      if (errorCode !== 0) return { groupId, errorCode, topics: several ? [] : failed(topics, errorCode) };
      const denied = failed(topics?.filter((t) => isDenied(t.name)) ?? [], KafkaError.TOPIC_AUTHORIZATION_FAILED);
      return { groupId, errorCode, topics: [...topicsOf(groupId), ...denied] };
    });
    const [one] = groups;
    const response: OffsetFetchResponse = several
      ? { throttleTimeMs: 0, topics: [], errorCode: 0, groups }
      : {
          throttleTimeMs: 0,
          topics: one?.topics ?? [],
          errorCode: version >= 2 ? (one?.errorCode ?? 0) : 0,
          groups: [],
        };
    request.reply((w) => encodeOffsetFetchResponse(w, response, version));
  };
  const isDenied = (topic: string): boolean => door.forbids('read', topic);
  const forbidden = new Set(asked.map((g) => g.groupId).filter((id) => door.forbids('read', id, 'KafkaGroup')));
  const deniedOr =
    (code: number) =>
    (groupId: string): number =>
      forbidden.has(groupId) ? KafkaError.GROUP_AUTHORIZATION_FAILED : code;
  // What may not be read is not asked for; of all topics of a group those that may be are shown.
  const groups = asked
    .filter((g) => !forbidden.has(g.groupId))
    .map((g) => ({ ...g, topics: g.topics?.filter((t) => !isDenied(t.name)) ?? null }));
  door.core.groups.run<FetchOffsetsResponse>(
    caller(
      door,
      request,
      (r) => {
        const found = new Map(r.groups.map((g) => [g.groupId, g.topics]));
        send(deniedOr(0), (groupId) =>
          (found.get(groupId) ?? [])
            .filter((t) => !isDenied(t.name))
            .map((t) => ({
              name: t.name,
              partitions: t.partitions.map((p) => ({
                partitionIndex: p.partition,
                committedOffset: p.offset,
                committedLeaderEpoch: p.leaderEpoch,
                metadata: p.metadata,
                errorCode: 0,
              })),
            })),
        );
      },
      (code) => send(deniedOr(code), () => []),
    ),
    (c, to) => c.fetchOffsets({ groups }, to),
  );
}

const failed = (
  topics: readonly { readonly name: string; readonly partitions: readonly number[] }[] | null,
  errorCode: number,
): Topics =>
  topics?.map((t) => ({
    name: t.name,
    partitions: t.partitions.map((p) => ({
      partitionIndex: p,
      committedOffset: -1,
      committedLeaderEpoch: -1,
      metadata: '',
      errorCode,
    })),
  })) ?? [];
