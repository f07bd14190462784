import type { ErrorCode } from '@hadron/base';
import type { Group } from './group.ts';
import type { CommittedOffset } from './records.ts';
import type { GroupStore } from './store.ts';
import type { Turn } from './turn.ts';
import type {
  CommitOffsetsRequest,
  CommitOffsetsResponse,
  CommitTopic,
  FetchedOffset,
  FetchOffsetsRequest,
  FetchOffsetsResponse,
  GroupsConfig,
  GoneTopic,
} from './types.ts';

/** The topic id a name stands for now; nothing when there is no such topic. */
export type TopicIdOf = (topic: string) => string | null | undefined;

/**
 * Why a commit is refused as a whole, or null.
 *
 * A negative generation on an Empty group (or none) is a simple consumer or an administrator. Everyone else proves to be
 * a member of the present generation. While a rebalance completes even a member may not commit: what it read may belong
 * to someone else by now (kafka.md §10.11).
 */
export function commitRefusal<Token>(
  group: Group<Token> | undefined,
  { generation, memberId, instanceId }: CommitOffsetsRequest,
): ErrorCode | null {
  if (group === undefined) return generation < 0 ? null : 'GROUP_NOT_FOUND';
  if (group.state === 'Empty' && generation < 0) return null;
  if (generation < 0 && memberId === '' && instanceId === null) return 'MEMBER_UNKNOWN';
  const refusal = group.refusalOf(memberId, instanceId);
  if (refusal !== null) return refusal;
  if (generation !== group.generation) return 'GENERATION_ILLEGAL';
  return group.state === 'CompletingRebalance' ? 'REBALANCE_IN_PROGRESS' : null;
}

/** One record per partition that is accepted; a group that does not exist begins with them (a simple group). */
export function commit<Token>(
  turn: Turn<Token>,
  store: GroupStore<Token>,
  request: CommitOffsetsRequest,
  config: GroupsConfig,
): CommitOffsetsResponse {
  const { groupId, retentionMs } = request;
  const keepMs = retentionMs === null || retentionMs < 0 ? null : retentionMs;
  const expiresAtMs = keepMs === null ? -1 : Math.min(turn.wallMs + keepMs, Number.MAX_SAFE_INTEGER);
  const topics = request.topics.map(({ name, topicId, partitions }) => ({
    name,
    topicId,
    partitions: partitions.map(({ partition, offset, leaderEpoch, metadata }) => {
      const error = partitionRefusal(partition, offset, metadata, config);
      if (error === null) {
        const committed: CommittedOffset = {
          topicId,
          offset,
          leaderEpoch: Math.max(leaderEpoch, -1),
          metadata: metadata ?? '',
          committedAtMs: turn.wallMs,
          expiresAtMs,
        };
        store.write(turn, { type: 'offset', groupId, topic: name, partition, committed });
      }
      return { partition, error };
    }),
  }));
  return { type: 'commitOffsets', topics };
}

function partitionRefusal(
  partition: number,
  offset: number,
  metadata: string | null,
  { offsetMetadataMax }: GroupsConfig,
): ErrorCode | null {
  // Values the log could not carry unchanged; no client means them.
  if (!Number.isSafeInteger(offset) || partition < 0) return 'REQUEST_INVALID';
  return metadata !== null && metadata.length > offsetMetadataMax ? 'OFFSET_METADATA_TOO_LARGE' : null;
}

export function refuseCommit(topics: readonly CommitTopic[], error: ErrorCode): CommitOffsetsResponse {
  return {
    type: 'commitOffsets',
    topics: topics.map(({ name, topicId, partitions }) => ({
      name,
      topicId,
      partitions: partitions.map(({ partition }) => ({ partition, error })),
    })),
  };
}

/** Unknown groups and partitions answer −1, as "nothing committed" does; an offset of a former incarnation is nothing. */
export function fetch<Token>(
  store: GroupStore<Token>,
  { groups }: FetchOffsetsRequest,
  topicIdOf: TopicIdOf | null,
): FetchOffsetsResponse {
  return {
    type: 'fetchOffsets',
    groups: groups.map(({ groupId, topics }) => {
      const offsets = store.groups.get(groupId)?.offsets;
      if (topics === null) return { groupId, topics: offsets === undefined ? [] : fetchAll(offsets, topicIdOf) };
      return {
        groupId,
        topics: topics.map(({ name, partitions }) => {
          const stored = offsets?.get(name);
          const topicId = topicIdOf?.(name);
          return {
            name,
            partitions: partitions.map((partition) => {
              const committed = stored?.get(partition);
              const isCurrent = committed !== undefined && (topicIdOf === null || committed.topicId === topicId);
              return isCurrent ? fetched(partition, committed) : nothing(partition);
            }),
          };
        }),
      };
    }),
  };
}

function fetchAll(
  offsets: ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>>,
  topicIdOf: TopicIdOf | null,
): FetchOffsetsResponse['groups'][number]['topics'] {
  const topics = [];
  for (const [name, stored] of offsets) {
    const topicId = topicIdOf?.(name);
    const partitions: FetchedOffset[] = [];
    for (const [partition, committed] of stored) {
      if (topicIdOf === null || committed.topicId === topicId) partitions.push(fetched(partition, committed));
    }
    if (partitions.length > 0) topics.push({ name, partitions });
  }
  return topics;
}

function fetched(partition: number, { offset, leaderEpoch, metadata }: CommittedOffset): FetchedOffset {
  return { partition, offset, leaderEpoch, metadata };
}

function nothing(partition: number): FetchedOffset {
  return { partition, offset: -1, leaderEpoch: -1, metadata: '' };
}

/** Forgets what every group knows about one incarnation of a topic, or about partitions of it. */
export function forgetTopic<Token>(
  turn: Turn<Token>,
  store: GroupStore<Token>,
  { name, topicId, fromPartition = 0 }: GoneTopic,
): void {
  for (const { id: groupId, offsets } of store.groups.values()) {
    for (const topic of name === undefined ? offsets.keys() : [name]) {
      for (const [partition, committed] of offsets.get(topic) ?? []) {
        if (committed.topicId === topicId && partition >= fromPartition)
          store.write(turn, { type: 'offset', groupId, topic, partition, committed: null });
      }
    }
  }
}

/**
 * R12 retention: a group that had members keeps its offsets for the retention time after it became empty; a simple
 * group keeps each for that long after its commit. A group that is left with nothing goes too.
 */
export function expire<Token>(turn: Turn<Token>, store: GroupStore<Token>, config: GroupsConfig): void {
  for (const group of store.groups.values()) {
    if (group.state !== 'Empty') continue;
    const emptySinceMs = group.image?.emptySinceMs ?? null;
    let hasOffsets = false;
    for (const [topic, partitions] of group.offsets) {
      for (const [partition, committed] of partitions) {
        const expiresAtMs =
          committed.expiresAtMs >= 0
            ? committed.expiresAtMs
            : (emptySinceMs ?? committed.committedAtMs) + config.offsetsRetentionMs;
        if (turn.wallMs < expiresAtMs) hasOffsets = true;
        else store.write(turn, { type: 'offset', groupId: group.id, topic, partition, committed: null });
      }
    }
    if (!hasOffsets && group.pendingJoins.size === 0 && group.image !== null) store.delete(turn, group);
  }
}
