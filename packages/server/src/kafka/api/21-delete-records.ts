/** DeleteRecords (21), v0–2. −1 = up to the high watermark; past it OFFSET_OUT_OF_RANGE. Answered when the new start is durable. */
import { HadronError } from '@hadron/base';
import type { Partition } from '@hadron/broker';
import {
  decodeDeleteRecordsRequest,
  type DeleteRecordsResponsePartition,
  encodeDeleteRecordsResponse,
  KafkaError,
  type Reader,
} from '@hadron/kafka-protocol';
import type { KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { KAFKA_CODE } from '../error-codes.ts';

export function deleteRecords(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeDeleteRecordsRequest(reader, version);
  const { core } = door;
  let lsn = 0;
  const moved: { out: DeleteRecordsResponsePartition; partition: Partition }[] = [];
  const topics = m.topics.map((t) => ({
    name: t.name,
    partitions: t.partitions.map((p): DeleteRecordsResponsePartition => {
      const out = { partitionIndex: p.partitionIndex, lowWatermark: -1, errorCode: 0 };
      const partition = core.topics.get(t.name)?.partitions[p.partitionIndex];
      if (partition === undefined) {
        out.errorCode = KafkaError.UNKNOWN_TOPIC_OR_PARTITION;
        lsn = core.shard.stagedLsn; // its deletion may not be durable yet (log.md G5)
        return out;
      }
      try {
        door.mayOrThrow('change', t.name);
        lsn = Math.max(lsn, partition.deleteBefore(p.offset));
        moved.push({ out, partition });
      } catch (error) {
        if (!(error instanceof HadronError)) throw error;
        out.errorCode = KAFKA_CODE[error.code];
      }
      return out;
    }),
  }));
  const answer = (): void => {
    // The start moves when that is durable: now.
    for (const { out, partition } of moved) if (out.errorCode === 0) out.lowWatermark = partition.logStartOffset;
    request.reply((w) => encodeDeleteRecordsResponse(w, { throttleTimeMs: 0, topics }, version));
  };
  if (core.shard.isDurable(lsn)) answer();
  else {
    core.shard.when(lsn, 'fsync', {
      committed: answer,
      failed(error) {
        for (const t of topics) for (const p of t.partitions) p.errorCode = KAFKA_CODE[error.code];
        answer();
      },
    });
  }
}
