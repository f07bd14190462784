/** What tests say again and again: batches, topics, produce, fetch, groups. */
import {
  type BatchOptions,
  batchBaseOffset,
  batchSizeBytes,
  encodeBatch,
  type FetchRequest,
  type FetchRequestPartition,
  type FetchResponsePartition,
  makeFetchRequestPartition,
  makeListOffsetsRequestPartition,
  type ProduceResponsePartition,
  RecordCursor,
  type RecordSlices,
  type RecordToEncode,
} from '@hadron/kafka-protocol';
import type { ApiName, Req, Res } from './wire-client.ts';

/** Anything that answers requests: a connection, or a server with a connection for each. */
export interface Asks {
  ask<A extends ApiName>(api: A, version: number, fields?: Partial<Req<A>>): Promise<Res<A>>;
}

export const STAMP = 1_760_000_000_000;

/** One batch of records with these values. */
export function batch(values: readonly (string | RecordToEncode)[], options: BatchOptions = {}): Buffer {
  return encodeBatch(
    values.map((v) => (typeof v === 'string' ? { value: v } : v)),
    { baseTimestamp: STAMP, ...options },
  );
}

export interface Seen {
  readonly offset: number;
  readonly value: string | null;
  readonly key: string | null;
  readonly timestamp: number;
}

const bytesOf = (records: RecordSlices): Buffer => {
  if (records === null) return Buffer.alloc(0);
  return Buffer.isBuffer(records) ? records : Buffer.concat(records as readonly Buffer[]);
};

/** The records of a Fetch answer. */
export function recordsOf(records: RecordSlices): Seen[] {
  const bytes = bytesOf(records);
  const out: Seen[] = [];
  const cursor = new RecordCursor();
  for (let at = 0; at < bytes.length; at += batchSizeBytes(bytes, at)) {
    cursor.open(bytes, at);
    while (cursor.next()) {
      const { offset, timestamp } = cursor;
      out.push({ offset, timestamp, key: cursor.key()?.toString() ?? null, value: cursor.value()?.toString() ?? null });
    }
  }
  return out;
}

/** Base offsets of the batches of a Fetch answer. */
export function batchesOf(records: RecordSlices): { baseOffset: number; bytes: Buffer }[] {
  const bytes = bytesOf(records);
  const out: { baseOffset: number; bytes: Buffer }[] = [];
  for (let at = 0; at < bytes.length; at += batchSizeBytes(bytes, at)) {
    out.push({ baseOffset: batchBaseOffset(bytes, at), bytes: bytes.subarray(at, at + batchSizeBytes(bytes, at)) });
  }
  return out;
}

export function produceFields(
  topic: string,
  records: Buffer | null,
  partition = 0,
  acks = -1,
): Partial<Req<'Produce'>> {
  return { acks, timeoutMs: 10_000, topicData: [{ name: topic, partitionData: [{ index: partition, records }] }] };
}

export async function produce(
  to: Asks,
  topic: string,
  records: Buffer | null,
  partition = 0,
  version = 9,
): Promise<ProduceResponsePartition> {
  const r = await to.ask('Produce', version, produceFields(topic, records, partition));
  return r.responses[0]?.partitionResponses[0] as ProduceResponsePartition;
}

export function fetchFields(
  topic: string,
  offset: number,
  more: Partial<FetchRequest> = {},
  part: Partial<FetchRequestPartition> = {},
): Partial<FetchRequest> {
  return {
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 10_000_000,
    topics: [
      {
        topic,
        topicId: '0'.repeat(32),
        partitions: [
          makeFetchRequestPartition({
            partition: 0,
            fetchOffset: offset,
            partitionMaxBytes: 1_000_000,
            currentLeaderEpoch: -1,
            ...part,
          }),
        ],
      },
    ],
    ...more,
  };
}

export const firstPartition = (r: Res<'Fetch'>): FetchResponsePartition =>
  r.responses[0]?.partitions[0] as FetchResponsePartition;

export async function fetch(
  from: Asks,
  topic: string,
  offset: number,
  more: Partial<FetchRequest> = {},
  part: Partial<FetchRequestPartition> = {},
  version = 12,
): Promise<FetchResponsePartition> {
  return firstPartition(await from.ask('Fetch', version, fetchFields(topic, offset, more, part)));
}

/** Every value of a partition from `offset` on. */
export async function valuesOf(from: Asks, topic: string, offset = 0, partition = 0): Promise<(string | null)[]> {
  const values: (string | null)[] = [];
  for (let at = offset; ; ) {
    const p = await fetch(from, topic, at, {}, { partition });
    if (p.errorCode !== 0) throw new Error(`fetch ${topic}/${partition} at ${at}: error ${p.errorCode}`);
    const got = recordsOf(p.records).filter((r) => r.offset >= at);
    if (got.length === 0) return values;
    for (const r of got) values.push(r.value);
    at = (got.at(-1) as Seen).offset + 1;
  }
}

export async function createTopic(
  at: Asks,
  name: string,
  options: { partitions?: number; config?: Readonly<Record<string, string>>; version?: number } = {},
): Promise<Res<'CreateTopics'>['topics'][number]> {
  const r = await at.ask('CreateTopics', options.version ?? 7, {
    timeoutMs: 10_000,
    topics: [
      {
        name,
        numPartitions: options.partitions ?? 1,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(options.config ?? {}).map(([n, value]) => ({ name: n, value })),
      },
    ],
  });
  return r.topics[0] as Res<'CreateTopics'>['topics'][number];
}

export async function offsetAt(
  at: Asks,
  topic: string,
  timestamp: number,
  version = 9,
  partition = 0,
): Promise<Res<'ListOffsets'>['topics'][number]['partitions'][number]> {
  const r = await at.ask('ListOffsets', version, {
    replicaId: -1,
    topics: [{ name: topic, partitions: [makeListOffsetsRequestPartition({ partitionIndex: partition, timestamp })] }],
  });
  return r.topics[0]?.partitions[0] as Res<'ListOffsets'>['topics'][number]['partitions'][number];
}

export interface Member {
  readonly groupId: string;
  readonly memberId: string;
  readonly generationId: number;
}

/** Fields of a JoinGroup of a consumer. */
export function joinFields(
  groupId: string,
  memberId: string,
  more: Partial<Req<'JoinGroup'>> = {},
): Partial<Req<'JoinGroup'>> {
  return {
    groupId,
    memberId,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: Buffer.from('meta') }],
    ...more,
  };
}

/** One member alone in its group, joined and synced. */
export async function joinAlone(at: Asks, groupId: string, more: Partial<Req<'JoinGroup'>> = {}): Promise<Member> {
  const first = await at.ask('JoinGroup', 5, joinFields(groupId, '', more));
  const joined =
    first.errorCode === 79 ? await at.ask('JoinGroup', 5, joinFields(groupId, first.memberId, more)) : first;
  if (joined.errorCode !== 0) throw new Error(`join: ${joined.errorCode}`);
  const member: Member = { groupId, memberId: joined.memberId, generationId: joined.generationId };
  const synced = await at.ask('SyncGroup', 3, {
    ...member,
    groupInstanceId: more.groupInstanceId ?? null,
    assignments: [{ memberId: member.memberId, assignment: Buffer.from('all of it') }],
  });
  if (synced.errorCode !== 0) throw new Error(`sync: ${synced.errorCode}`);
  return member;
}

export function commitFields(
  m: Partial<Member>,
  topic: string,
  offset: number,
  more: { metadata?: string | null; epoch?: number; partition?: number; instanceId?: string | null } = {},
): Partial<Req<'OffsetCommit'>> {
  return {
    groupId: m.groupId ?? '',
    generationIdOrMemberEpoch: m.generationId ?? -1,
    memberId: m.memberId ?? '',
    groupInstanceId: more.instanceId ?? null,
    retentionTimeMs: -1,
    topics: [
      {
        name: topic,
        partitions: [
          {
            partitionIndex: more.partition ?? 0,
            committedOffset: offset,
            committedLeaderEpoch: more.epoch ?? -1,
            committedMetadata: more.metadata ?? '',
          },
        ],
      },
    ],
  };
}

export async function commit(
  at: Asks,
  m: Partial<Member>,
  topic: string,
  offset: number,
  more: Parameters<typeof commitFields>[3] = {},
  version = 7,
): Promise<number> {
  const r = await at.ask('OffsetCommit', version, commitFields(m, topic, offset, more));
  return r.topics[0]?.partitions[0]?.errorCode as number;
}

/** What a group has committed for a partition, through v8. */
export async function committed(
  at: Asks,
  groupId: string,
  topic: string,
  partition = 0,
): Promise<Res<'OffsetFetch'>['groups'][number]['topics'][number]['partitions'][number]> {
  const r = await at.ask('OffsetFetch', 8, {
    groups: [{ groupId, memberId: null, memberEpoch: -1, topics: [{ name: topic, partitionIndexes: [partition] }] }],
  });
  return r.groups[0]?.topics[0]
    ?.partitions[0] as Res<'OffsetFetch'>['groups'][number]['topics'][number]['partitions'][number];
}
