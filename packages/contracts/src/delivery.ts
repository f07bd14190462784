/**
 * Words and defaults of delivery that servers, clients and resources share (delivery.md). Durations are milliseconds.
 */
import type { Filter } from './filters/types.ts';

/** D9: `partition` is one lane; `key` one lane per key; `none` a lane per event. */
export type Ordering = 'partition' | 'key' | 'none';

/** Where a group begins that has no progress yet (D6). */
export type Start =
  | { readonly from: 'beginning' }
  | { readonly from: 'latest' }
  /** The same offset on every partition, inclusive. Beyond the end of one it is refused, or that one begins at its end. */
  | { readonly from: 'offset'; readonly offset: number; readonly beyondEnd?: 'latest' | undefined }
  /** The first event whose timestamp is at least this. */
  | { readonly from: 'time'; readonly timeMs: number };

/** What happens to a delivery that does not end well (D17, D18, D19). */
export interface DeliveryPolicy {
  /** A delivery without an answer for so long has failed. Default 30,000. */
  readonly timeoutMs: number;
  /** An attempt may be extended to this age at most. Default 600,000. */
  readonly maxProcessingMs: number;
  /** Wait before redelivery: first, second, … ; the last repeats; ±20 %. Default 200, 1000, 5000, 30000, 120000. */
  readonly backoffMs: readonly number[];
  /** After so many attempts the event goes to the dead-letter stream; 0 = never. Default 10. */
  readonly maxDeliveries: number;
  /** Default `{stream}.dead`. */
  readonly deadLetterStream: string | undefined;
}

/** At most `count` handed out per `perMs`, for the whole group or for each lane key (D22). */
export interface RateLimit {
  readonly count: number;
  readonly perMs: number;
  readonly by: 'group' | 'key';
}

/** All that belongs to a group and not to a session (D5). */
export interface GroupSettings {
  readonly durable: boolean;
  readonly start: Start;
  readonly ordering: Ordering;
  /** Events of one lane that may be out. Default 1, for `partition` 32. */
  readonly window: number;
  /** All must be true; empty = every event. */
  readonly filters: readonly Filter[];
  readonly policy: DeliveryPolicy;
  readonly rateLimit: RateLimit | undefined;
  /** Retention keeps what this group has not settled (D3). Default false. */
  readonly holdRetention: boolean;
}

/** Settings as somebody asks for them: what is absent is not asked for, and takes the default at creation. */
export type GroupRequest = {
  readonly [K in keyof Omit<GroupSettings, 'policy'>]?: GroupSettings[K] | undefined;
} & { readonly policy?: { readonly [K in keyof DeliveryPolicy]?: DeliveryPolicy[K] | undefined } | undefined };

export const DEFAULT_POLICY: DeliveryPolicy = {
  timeoutMs: 30_000,
  maxProcessingMs: 600_000,
  backoffMs: [200, 1_000, 5_000, 30_000, 120_000],
  maxDeliveries: 10,
  deadLetterStream: undefined,
};

export const DEFAULT_WINDOW: Readonly<Record<Ordering, number>> = { partition: 32, key: 1, none: 1 };

/** How a delivery ended for good (D16). `settled`: long ago, how is not remembered. */
export type SettledAs = 'acked' | 'dead' | 'expired' | 'gone' | 'skipped' | 'settled';

/** What a consumer says about a delivery. */
export type Verdict =
  | { readonly kind: 'ack' }
  /** Not processed: again, after `delayMs` or the backoff list. */
  | { readonly kind: 'nack'; readonly reason?: string | undefined; readonly delayMs?: number | undefined }
  /** Never again: to the dead-letter stream at once. */
  | { readonly kind: 'term'; readonly reason?: string | undefined }
  /** The time-out begins anew. */
  | { readonly kind: 'extend' };

/** Where a group is on one partition. Offsets; ranges half-open. */
export interface GroupProgress {
  readonly partition: number;
  /** Everything below is settled. */
  readonly floor: number;
  /** Read so far. */
  readonly position: number;
  readonly endOffset: number;
  /** Read and not settled: out, waiting, delayed or behind another of their lane. */
  readonly unsettled: number;
  readonly out: number;
  readonly delayed: number;
  /** Events behind `position`, plus unsettled ones. */
  readonly lag: number;
}

export interface GroupCounts {
  readonly acked: number;
  readonly dead: number;
  readonly expired: number;
  readonly gone: number;
  readonly skipped: number;
  /** Attempts that ended unsettled. */
  readonly failed: number;
  readonly delivered: number;
}

export interface GroupStatus {
  readonly stream: string;
  readonly group: string;
  readonly kind: 'hadron';
  readonly settings: GroupSettings;
  readonly paused: boolean;
  readonly sessions: number;
  readonly partitions: readonly GroupProgress[];
  /** Since the server started. */
  readonly counts: GroupCounts;
  /** Lane keys that hold up reading (D12), at most ten. */
  readonly blockedLanes: readonly string[];
}

/** An event that is out, or waits for its next attempt. */
export interface InFlight {
  readonly partition: number;
  readonly offset: number;
  readonly state: 'out' | 'waiting';
  readonly session: string | undefined;
  /** Attempt under way, or the next one. */
  readonly attempt: number;
  readonly ageMs: number;
  /** When it comes again, wall clock; undefined while out. */
  readonly dueMs: number | undefined;
  readonly lane: string | undefined;
  /** Of the last failed attempt. */
  readonly reason: string | undefined;
}

/** An event in a dead-letter stream. */
export interface DeadLetter {
  /** The dead-letter stream. Undefined: the one that the group has now. */
  readonly stream?: string | undefined;
  /** Position in the dead-letter stream. */
  readonly partition: number;
  readonly offset: number;
  readonly from: { readonly stream: string; readonly partition: number; readonly offset: number };
  readonly group: string;
  readonly code: string;
  readonly reason: string;
  readonly attempts: number;
  readonly firstMs: number;
  readonly lastMs: number;
}
