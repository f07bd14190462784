/** OffsetCommit (8), v2–9 (R12). v2–4 retention time · v6 leader epoch · v7 instance id · v8 flexible · v9 KIP-848 errors. */
import { type CommitOffsetsResponse } from '@hadron/broker';
import {
  decodeOffsetCommitRequest,
  encodeOffsetCommitResponse,
  KafkaError,
  type OffsetCommitResponse,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { groupCode } from '../error-codes.ts';
import { askCoordinator, caller } from '../group-caller.ts';

const GROUP_NOT_FOUND_FROM = 9;

export function offsetCommit(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeOffsetCommitRequest(reader, version);
  const { topics } = door.core;
  const denied = new Set(m.topics.filter((t) => door.forbids('subscribe', t.name)).map((t) => t.name));
  // A partition that does not exist is refused by itself; the coordinator sees only those that do.
  const known = m.topics.flatMap((t) => {
    const topic = topics.get(t.name);
    if (topic === undefined || denied.has(t.name)) return [];
    const partitions = t.partitions.filter((p) => topic.partitions[p.partitionIndex] !== undefined);
    return [
      {
        name: t.name,
        topicId: topic.id,
        partitions: partitions.map((p) => ({
          partition: p.partitionIndex,
          offset: p.committedOffset,
          leaderEpoch: p.committedLeaderEpoch,
          metadata: p.committedMetadata,
        })),
      },
    ];
  });
  // Judged once, now: what the coordinator was not asked about is never answered as if it had been stored.
  const exists = new Set(known.flatMap((t) => t.partitions.map((p) => `${t.name}/${p.partition}`)));
  const answer = (code: (topic: string, partition: number) => number): void => {
    const response: OffsetCommitResponse = {
      throttleTimeMs: 0,
      topics: m.topics.map((t) => ({
        name: t.name,
        partitions: t.partitions.map((p) => ({
          partitionIndex: p.partitionIndex,
          errorCode: exists.has(`${t.name}/${p.partitionIndex}`)
            ? code(t.name, p.partitionIndex)
            : denied.has(t.name)
              ? KafkaError.TOPIC_AUTHORIZATION_FAILED
              : KafkaError.UNKNOWN_TOPIC_OR_PARTITION,
        })),
      })),
    };
    request.reply((w) => encodeOffsetCommitResponse(w, response, version));
  };
  askCoordinator<CommitOffsetsResponse>(
    door,
    'subscribe',
    m.groupId,
    caller(
      door,
      request,
      (r) => {
        const codes = new Map<string, number>();
        for (const t of r.topics) {
          for (const p of t.partitions) {
            let code = groupCode(p.error);
            if (code === KafkaError.GROUP_ID_NOT_FOUND && version < GROUP_NOT_FOUND_FROM)
              code = KafkaError.ILLEGAL_GENERATION;
            if (code !== 0) door.error(request.apiKey, code);
            codes.set(`${t.name}/${p.partition}`, code);
          }
        }
        const send = (): void =>
          answer((topic, partition) => codes.get(`${topic}/${partition}`) ?? KafkaError.UNKNOWN_SERVER_ERROR);
        // That a topic does not exist may be news that is not durable yet (log.md G5).
        if (door.core.registry.isDurable) send();
        else void door.core.registryDurable().then(send);
      },
      (code) => answer(() => code),
    ),
    (c, to, now, wallMs) =>
      c.commitOffsets(
        {
          groupId: m.groupId,
          generation: m.generationIdOrMemberEpoch,
          memberId: m.memberId,
          instanceId: m.groupInstanceId,
          retentionMs: m.retentionTimeMs >= 0 ? m.retentionTimeMs : null,
          topics: known,
        },
        to,
        now,
        wallMs,
      ),
  );
}
