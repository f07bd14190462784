import type { ErrorCode } from '@hadron/base';
import type { GroupState } from './transitions.ts';

/**
 * The words of the group coordinator: what it is asked, what it answers, what it is configured with.
 *
 * Nothing here knows an API version. Where Kafka's versions differ in behaviour the request carries a flag that says which
 * behaviour is meant (`requireKnownMemberId`, `supportsSkipAssignment`); where they differ in layout the front door maps.
 * Protocol types, protocol names, metadata and assignments are opaque: compared, stored and handed back, never read.
 */

/** One entry of the state log. A null value deletes the key; the latest value of a key wins. */
export interface StateRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** An answer to the request that came with token `to`. Each token is answered exactly once. */
export interface Reply<Token> {
  readonly to: Token;
  readonly response: GroupResponse;
}

/**
 * What a command did. The records are already applied in memory; they must reach the state log in this order, and a
 * reply may leave only when everything appended to that log so far is durable (log.md G5).
 */
export interface Outcome<Token> {
  readonly records: StateRecord[];
  readonly replies: Reply<Token>[];
}

/** A topic that was deleted, or partitions that it lost. */
export interface GoneTopic {
  /** Where it is known it spares a search through all offsets. */
  readonly name?: string;
  readonly topicId: string;
  /** Only this partition and those above. Default 0: all. */
  readonly fromPartition?: number;
}

/** Settings, read anew at every decision so that a change takes effect without a restart. */
export interface GroupsConfig {
  /** `group.min.session.timeout.ms` */
  readonly sessionTimeoutMinMs: number;
  /** `group.max.session.timeout.ms` */
  readonly sessionTimeoutMaxMs: number;
  /** `group.max.size` */
  readonly groupSizeMax: number;
  /** `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for company. */
  readonly initialRebalanceDelayMs: number;
  /** How long a member that has never completed a join may wait in one before it is dropped (Kafka: 5 minutes, fixed). */
  readonly newMemberJoinTimeoutMs: number;
  /** `offset.metadata.max.bytes`, counted in UTF-16 units as Kafka does. */
  readonly offsetMetadataMax: number;
  /** `offsets.retention.minutes`, here in milliseconds of wall time. */
  readonly offsetsRetentionMs: number;
  /** `offsets.retention.check.interval.ms`, monotonic. */
  readonly offsetsRetentionCheckIntervalMs: number;
}

export const GROUPS_CONFIG_DEFAULT: GroupsConfig = {
  sessionTimeoutMinMs: 6_000,
  sessionTimeoutMaxMs: 1_800_000,
  groupSizeMax: 2_147_483_647,
  initialRebalanceDelayMs: 0,
  newMemberJoinTimeoutMs: 300_000,
  offsetMetadataMax: 4_096,
  offsetsRetentionMs: 7 * 24 * 3_600_000,
  offsetsRetentionCheckIntervalMs: 600_000,
};

/** A protocol (assignor) a member offers, with its metadata for it; the order of a list is the member's preference. */
export interface Protocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

// --- requests --------------------------------------------------------------------------------------------------------

export interface JoinGroupRequest {
  readonly groupId: string;
  /** Empty: a new member, or a static one that has forgotten its id. */
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  /** Not positive (JoinGroup v0 has none): the session timeout is used. */
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly Protocol[];
  /** JoinGroup ≥ v4: a new dynamic member first gets MEMBER_ID_REQUIRED with its id. */
  readonly requireKnownMemberId: boolean;
  /** JoinGroup ≥ v9 (KIP-814): a returning static leader may be told that it leads and must not assign. */
  readonly supportsSkipAssignment: boolean;
}

export interface SyncGroupRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly generation: number;
  /** Null below SyncGroup v5: not checked. */
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  /** Only the leader's are used. */
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[];
}

export interface HeartbeatRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly generation: number;
}

export interface LeaveGroupRequest {
  readonly groupId: string;
  /** An empty member id with an instance id removes that static member administratively. */
  readonly members: readonly { readonly memberId: string; readonly instanceId: string | null }[];
}

export interface CommitOffsetsRequest {
  readonly groupId: string;
  /** Negative with an empty member id: a simple consumer or an administrator. */
  readonly generation: number;
  readonly memberId: string;
  readonly instanceId: string | null;
  /** OffsetCommit v2–v4: keep these offsets this long, whatever the setting says. Null or negative: the setting. */
  readonly retentionMs: number | null;
  readonly topics: readonly CommitTopic[];
}

export interface CommitTopic {
  readonly name: string;
  /** The incarnation the caller means; an offset is forgotten once the name belongs to another. */
  readonly topicId: string;
  readonly partitions: readonly {
    readonly partition: number;
    readonly offset: number;
    /** −1: unknown. */
    readonly leaderEpoch: number;
    readonly metadata: string | null;
  }[];
}

export interface FetchOffsetsRequest {
  readonly groups: readonly {
    readonly groupId: string;
    /** Null: every partition the group has an offset for. */
    readonly topics: readonly { readonly name: string; readonly partitions: readonly number[] }[] | null;
  }[];
}

export interface DeleteGroupRequest {
  readonly groupId: string;
}

// --- responses -------------------------------------------------------------------------------------------------------

export type GroupResponse =
  | JoinGroupResponse
  | SyncGroupResponse
  | HeartbeatResponse
  | LeaveGroupResponse
  | CommitOffsetsResponse
  | FetchOffsetsResponse
  | DeleteGroupResponse;

export interface JoinGroupResponse {
  readonly type: 'joinGroup';
  readonly error: ErrorCode | null;
  readonly memberId: string;
  /** −1 with an error. */
  readonly generation: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  /** Empty with an error. */
  readonly leader: string;
  readonly skipAssignment: boolean;
  /** Filled for the leader only. */
  readonly members: readonly {
    readonly memberId: string;
    readonly instanceId: string | null;
    readonly metadata: Uint8Array;
  }[];
}

export interface SyncGroupResponse {
  readonly type: 'syncGroup';
  readonly error: ErrorCode | null;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Uint8Array;
}

export interface HeartbeatResponse {
  readonly type: 'heartbeat';
  readonly error: ErrorCode | null;
}

export interface LeaveGroupResponse {
  readonly type: 'leaveGroup';
  readonly error: ErrorCode | null;
  /** In the order of the request. */
  readonly members: readonly {
    readonly memberId: string;
    readonly instanceId: string | null;
    readonly error: ErrorCode | null;
  }[];
}

export interface CommitOffsetsResponse {
  readonly type: 'commitOffsets';
  /** In the order of the request. A refusal of the whole request stands at every partition, as on Kafka's wire. */
  readonly topics: readonly {
    readonly name: string;
    readonly topicId: string;
    readonly partitions: readonly { readonly partition: number; readonly error: ErrorCode | null }[];
  }[];
}

export interface FetchOffsetsResponse {
  readonly type: 'fetchOffsets';
  readonly groups: readonly {
    readonly groupId: string;
    readonly topics: readonly {
      readonly name: string;
      readonly partitions: readonly FetchedOffset[];
    }[];
  }[];
}

export interface FetchedOffset {
  readonly partition: number;
  /** −1: nothing committed. */
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface DeleteGroupResponse {
  readonly type: 'deleteGroup';
  readonly groupId: string;
  readonly error: ErrorCode | null;
}

// --- reads -----------------------------------------------------------------------------------------------------------

export interface ListedGroup {
  readonly groupId: string;
  readonly state: GroupState;
  /** Empty for a simple group. */
  readonly protocolType: string;
}

export interface DescribedGroup extends ListedGroup {
  readonly generation: number;
  /** Empty unless the group is stable. */
  readonly protocolName: string;
  readonly members: readonly {
    readonly memberId: string;
    readonly instanceId: string | null;
    readonly clientId: string;
    readonly clientHost: string;
    /** Empty unless the group is stable. */
    readonly metadata: Uint8Array;
    readonly assignment: Uint8Array;
  }[];
}
