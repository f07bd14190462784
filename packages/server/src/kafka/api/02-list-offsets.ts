/**
 * ListOffsets (2), v1–9 (R19). v2 isolation level · v4 leader epoch · v6 flexible · v7 −3 maximum timestamp ·
 * v8 −4 earliest local · v9 −5 last tiered.
 */
import type { OffsetAt, Partition } from '@hadron/broker';
import { NO_OFFSET } from '@hadron/broker';
import {
  decodeListOffsetsRequest,
  encodeListOffsetsResponse,
  KafkaError,
  type ListOffsetsResponse,
  type ListOffsetsResponsePartition,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { KAFKA_CODE } from '../error-codes.ts';
import { HadronError } from '@hadron/base';

const LEADER_EPOCH_FROM = 4;
const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;
const EARLIEST_LOCAL = -4;
const LAST_TIERED = -5;

export function listOffsets(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeListOffsetsRequest(reader, version);
  const response: ListOffsetsResponse = { throttleTimeMs: 0, topics: [] };
  const pending: Promise<void>[] = [];
  for (const t of m.topics) {
    const topic = door.core.topics.get(t.name);
    const denied = door.forbids('read', t.name);
    const partitions: ListOffsetsResponsePartition[] = [];
    for (const p of t.partitions) {
      const out: ListOffsetsResponsePartition = {
        partitionIndex: p.partitionIndex,
        errorCode: 0,
        timestamp: -1,
        offset: -1,
        leaderEpoch: -1,
      };
      partitions.push(out);
      if (denied) {
        out.errorCode = KafkaError.TOPIC_AUTHORIZATION_FAILED;
        continue;
      }
      const partition = topic?.partitions[p.partitionIndex];
      if (partition === undefined) {
        out.errorCode = KafkaError.UNKNOWN_TOPIC_OR_PARTITION;
        continue;
      }
      const epoch = partition.leaderEpoch;
      if (p.currentLeaderEpoch >= 0 && p.currentLeaderEpoch !== epoch) {
        out.errorCode = p.currentLeaderEpoch < epoch ? KafkaError.FENCED_LEADER_EPOCH : KafkaError.UNKNOWN_LEADER_EPOCH;
        continue;
      }
      const found = look(partition, p.timestamp, version);
      if (found === undefined) out.errorCode = KafkaError.UNSUPPORTED_VERSION;
      else if (found instanceof Promise) {
        pending.push(
          found.then(
            (at) => fill(out, partition, at, version),
            (error: unknown) => {
              if (!(error instanceof HadronError))
                door.logger.error({ err: String(error) }, 'looking up an offset failed');
              out.errorCode = error instanceof HadronError ? KAFKA_CODE[error.code] : KafkaError.KAFKA_STORAGE_ERROR;
            },
          ),
        );
      } else fill(out, partition, found, version);
    }
    response.topics.push({ name: t.name, partitions });
  }
  const answer = (): void => request.reply((w) => encodeListOffsetsResponse(w, response, version));
  // What is told of topics must be durable, that one is gone too (log.md G5).
  if (!door.core.registry.isDurable) {
    pending.push(
      door.core.registryDurable().then((durable) => {
        if (durable) return;
        for (const t of response.topics) for (const p of t.partitions) p.errorCode = KafkaError.KAFKA_STORAGE_ERROR;
      }),
    );
  }
  if (pending.length === 0) answer();
  else void Promise.all(pending).then(answer);
}

function fill(out: ListOffsetsResponsePartition, partition: Partition, at: OffsetAt, version: number): void {
  out.offset = at.offset;
  out.timestamp = at.timestamp;
  if (at.offset >= 0 && version >= LEADER_EPOCH_FROM) out.leaderEpoch = partition.epochOf(at.offset);
}

function look(p: Partition, timestamp: number, version: number): OffsetAt | Promise<OffsetAt> | undefined {
  switch (timestamp) {
    case LATEST:
      return { offset: p.highWatermark, timestamp: -1 };
    case EARLIEST:
      return { offset: p.logStartOffset, timestamp: -1 };
    case MAX_TIMESTAMP:
      return version >= 7 ? p.offsetOfMaxTimestamp() : undefined;
    case EARLIEST_LOCAL:
      return version >= 8 ? { offset: p.logStartOffset, timestamp: -1 } : undefined;
    case LAST_TIERED:
      return version >= 9 ? NO_OFFSET : undefined;
    default:
      return timestamp >= 0 ? p.offsetForTime(timestamp) : undefined;
  }
}
