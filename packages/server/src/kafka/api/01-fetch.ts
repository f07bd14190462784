/**
 * Fetch (1), v4–16. v5 log start · v7 sessions (answered with session 0: clients keep sending full requests, R8) ·
 * v9 leader epoch · v11 rack · v12 flexible, diverging epoch · v13 topic ids · v15 replica state · v16 node endpoints.
 */
import type { FetchedPartition, FetchItem } from '@hadron/broker';
import {
  decodeFetchRequest,
  encodeFetchResponse,
  type FetchRequest,
  type FetchResponse,
  type FetchResponsePartition,
  type FetchResponseTopic,
  KafkaError,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { kafkaCode } from '../error-codes.ts';

const LEADER_HINT_FROM = 12;
const TOPIC_IDS_FROM = 13;
const READ_COMMITTED = 1;
const EMPTY = Buffer.alloc(0);

export function fetch(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const m = decodeFetchRequest(reader, request.version);
  const { registry } = door.core;
  request.connection.whenFetching(() => {
    // What is told of topics must be durable, that one is gone too (log.md G5).
    if (registry.isDurable) begin(door, request, m);
    else void door.core.registryDurable().then(() => begin(door, request, m));
  });
}

function begin(door: KafkaDoor, request: KafkaRequest, m: FetchRequest): void {
  const { version } = request;
  // It may have gone while this waited: nothing would ever cancel the wait.
  if (request.connection.closed) return;
  if (m.sessionId !== 0 && m.sessionEpoch > 0) {
    const response: FetchResponse = {
      throttleTimeMs: 0,
      errorCode: KafkaError.FETCH_SESSION_ID_NOT_FOUND,
      sessionId: 0,
      responses: [],
      nodeEndpoints: [],
    };
    request.reply((w) => encodeFetchResponse(w, response, version));
    request.connection.fetched();
    return;
  }
  const { core } = door;
  const items: FetchItem[] = [];
  for (const t of m.topics) {
    const topic = version >= TOPIC_IDS_FROM ? core.topics.getById(t.topicId) : core.topics.get(t.topic);
    const denied = door.forbids('subscribe', topic?.name ?? t.topic);
    for (const p of t.partitions) {
      const partition = denied ? undefined : topic?.partitions[p.partition];
      items.push({
        partition,
        missing: denied
          ? 'PERMISSION_DENIED'
          : topic === undefined && version >= TOPIC_IDS_FROM
            ? 'TOPIC_ID_NOT_FOUND'
            : partition === undefined
              ? 'TOPIC_NOT_FOUND'
              : version >= TOPIC_IDS_FROM
                ? 'TOPIC_ID_NOT_FOUND'
                : undefined,
        offset: p.fetchOffset,
        maxBytes: Math.max(0, p.partitionMaxBytes),
        currentLeaderEpoch: p.currentLeaderEpoch,
        lastFetchedEpoch: p.lastFetchedEpoch,
      });
    }
  }
  let granted = 0;
  const limits = {
    maxWaitMs: m.maxWaitMs,
    minBytes: m.minBytes,
    maxBytes: Math.max(0, Math.min(m.maxBytes, door.limits.fetchBytesMax)),
    // Taken before anything is read, so that many cold fetches at a time do not all see the same budget.
    grant(bytes: number): number {
      granted = Math.min(bytes, door.answerBytesLeft);
      door.answerBytes += granted;
      return granted;
    },
  };
  const committed = m.isolationLevel === READ_COMMITTED;
  const { connection } = request;
  const handle = core.fetcher.fetch(items, limits, (results) => {
    let bytes = 0;
    for (const r of results) bytes += r.data?.bytes ?? 0;
    door.answerBytes += bytes - granted;
    let i = 0;
    const responses: FetchResponseTopic[] = [];
    for (const t of m.topics) {
      const partitions: FetchResponsePartition[] = [];
      for (const p of t.partitions) {
        const r = results[i] as FetchedPartition;
        const errorCode = kafkaCode(r.error);
        if (errorCode !== 0) door.error(request.apiKey, errorCode);
        partitions.push({
          partitionIndex: p.partition,
          errorCode,
          highWatermark: r.highWatermark,
          // Until there are transactions every visible record is stable (R7e).
          lastStableOffset: r.highWatermark,
          logStartOffset: r.logStartOffset,
          divergingEpoch: r.diverging ?? null,
          currentLeader: version < LEADER_HINT_FROM ? null : leaderHint(door, r, items[i] as FetchItem),
          snapshotId: null,
          abortedTransactions: committed ? [] : null,
          preferredReadReplica: -1,
          records: r.data === undefined || r.data.bytes === 0 ? EMPTY : r.data.parts,
        });
        i++;
      }
      responses.push({ topic: t.topic, topicId: t.topicId, partitions });
    }
    const response: FetchResponse = { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses, nodeEndpoints: [] };
    request.reply(
      (w) => encodeFetchResponse(w, response, version),
      () => {
        door.answerBytes -= bytes;
        for (const r of results) r.data?.release();
      },
    );
    connection.fetched();
  });
  if (!request.done) request.onAbort = () => handle.cancel();
}

/** Who leads, told where the client's epoch was wrong (v12+). */
function leaderHint(door: KafkaDoor, r: FetchedPartition, item: FetchItem): FetchResponsePartition['currentLeader'] {
  if (r.error !== 'LEADER_EPOCH_FENCED' && r.error !== 'LEADER_EPOCH_UNKNOWN') return null;
  return { leaderId: door.nodeId, leaderEpoch: item.partition?.leaderEpoch ?? -1 };
}
