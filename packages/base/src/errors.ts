/**
 * One table of every expected failure. A code is stable and public; a new one needs a caller who would act differently.
 * Misuse of an API throws `TypeError`; a broken invariant throws `InvariantError`. Everything else is a HadronError.
 */

export type ErrorKind =
  | 'invalid'
  | 'not-found'
  | 'conflict'
  | 'fenced'
  | 'unavailable'
  | 'closed'
  | 'corrupt'
  | 'limit'
  | 'internal';

/** What a caller should do: give up, try again after a pause, or look up fresh state first. */
export type ErrorRetry = 'no' | 'after-backoff' | 'after-refresh';

/** Whether anything happened: nothing at all, or it cannot be known. */
export type ErrorEffect = 'none' | 'unknown';

export interface ErrorInfo {
  readonly kind: ErrorKind;
  readonly retry: ErrorRetry;
  readonly effect: ErrorEffect;
}

const e = (kind: ErrorKind, retry: ErrorRetry, effect: ErrorEffect = 'none'): ErrorInfo => ({ kind, retry, effect });

export const ERRORS = {
  // storage
  STORAGE_FAILED: e('unavailable', 'after-backoff', 'unknown'), // a write or sync failed; the shard recovers
  STORAGE_FULL: e('unavailable', 'after-backoff'), // refused before anything was written
  STORAGE_CLOSED: e('closed', 'no'),
  DATA_DAMAGED: e('corrupt', 'no'), // acknowledged data cannot be read back whole
  DATA_FORMAT_NEWER: e('invalid', 'no'), // written by a newer Hadron
  DATA_FOLDER_IN_USE: e('conflict', 'no'),
  DATA_FOLDER_UNUSABLE: e('invalid', 'no'),
  PRECONDITION_FAILED: e('conflict', 'after-refresh'),
  // positions
  OFFSET_OUT_OF_RANGE: e('invalid', 'after-refresh'),
  CORRUPT_DATA: e('corrupt', 'no'), // a record batch that does not match its checksum
  // streams
  TOPIC_NOT_FOUND: e('not-found', 'after-refresh'),
  TOPIC_ID_NOT_FOUND: e('not-found', 'after-refresh'),
  TOPIC_EXISTS: e('conflict', 'no'),
  TOPIC_NAME_INVALID: e('invalid', 'no'),
  PARTITIONS_INVALID: e('invalid', 'no'),
  REPLICATION_INVALID: e('invalid', 'no'),
  CONFIG_INVALID: e('invalid', 'no'),
  RECORD_INVALID: e('invalid', 'no'),
  RECORD_TOO_LARGE: e('limit', 'no'),
  TIMESTAMP_INVALID: e('invalid', 'no'),
  COMPRESSION_UNSUPPORTED: e('invalid', 'no'),
  LEADER_EPOCH_FENCED: e('fenced', 'after-refresh'),
  LEADER_EPOCH_UNKNOWN: e('unavailable', 'after-refresh'),
  // producers
  SEQUENCE_OUT_OF_ORDER: e('conflict', 'no'),
  SEQUENCE_DUPLICATE: e('conflict', 'no'), // a duplicate older than the batches remembered
  PRODUCER_EPOCH_FENCED: e('fenced', 'no'),
  TRANSACTIONS_UNSUPPORTED: e('invalid', 'no'),
  // groups
  GROUP_ID_INVALID: e('invalid', 'no'),
  GROUP_NOT_FOUND: e('not-found', 'no'),
  GROUP_FULL: e('limit', 'no'),
  GROUP_PROTOCOL_INCONSISTENT: e('invalid', 'no'),
  GROUP_NOT_EMPTY: e('conflict', 'no'),
  MEMBER_ID_REQUIRED: e('invalid', 'after-refresh'),
  MEMBER_UNKNOWN: e('not-found', 'after-refresh'),
  MEMBER_FENCED: e('fenced', 'no'),
  GENERATION_ILLEGAL: e('conflict', 'after-refresh'),
  REBALANCE_IN_PROGRESS: e('unavailable', 'after-refresh'),
  SESSION_TIMEOUT_INVALID: e('invalid', 'no'),
  OFFSET_METADATA_TOO_LARGE: e('limit', 'no'),
  // events and delivery
  EVENT_INVALID: e('invalid', 'no'), // not a CloudEvent, or one with a wrong attribute; `field` names it
  EVENT_TOO_LARGE: e('limit', 'no'),
  MEDIA_TYPE_UNSUPPORTED: e('invalid', 'no'),
  CROSS_SHARD: e('invalid', 'no'), // must be atomic, but the partitions lie on several shards
  FILTER_INVALID: e('invalid', 'no'),
  GROUP_SETTINGS_DIFFER: e('conflict', 'no'), // the group exists with other settings (delivery.md D5)
  TOKEN_INVALID: e('invalid', 'no'), // not a delivery token of this group
  STALE_DELIVERY: e('fenced', 'no'), // given to somebody else meanwhile (D16)
  ALREADY_SETTLED: e('conflict', 'no'),
  LIMIT_EXCEEDED: e('limit', 'after-backoff'), // sessions, groups or bytes beyond a setting
  // resources
  RESOURCE_NOT_FOUND: e('not-found', 'no'),
  RESOURCE_INVALID: e('invalid', 'no'),
  RESOURCE_CONFLICT: e('conflict', 'after-refresh'), // another resourceVersion than the one in the file
  RESOURCE_IN_USE: e('conflict', 'no'),
  PERMISSION_DENIED: e('invalid', 'no'),
  // clients and networks
  CONNECTION_FAILED: e('unavailable', 'after-backoff', 'unknown'),
  TIMED_OUT: e('unavailable', 'after-backoff', 'unknown'),
  CLIENT_CLOSED: e('closed', 'no'),
  HANDLER_TERMINAL: e('invalid', 'no'), // a handler said: never again
  NOT_IMPLEMENTED: e('invalid', 'no'),
  INTERNAL: e('internal', 'after-backoff', 'unknown'), // a bug; the log has more
  // requests and settings
  REQUEST_INVALID: e('invalid', 'no'),
  SETTING_UNKNOWN: e('invalid', 'no'),
  SETTING_INVALID: e('invalid', 'no'),
  PORT_IN_USE: e('conflict', 'no'),
} as const satisfies Record<string, ErrorInfo>;

export type ErrorCode = keyof typeof ERRORS;

/** An expected failure. The message begins with the code and says what to do. */
export class HadronError extends Error {
  override readonly name = 'HadronError';
  readonly code: ErrorCode;
  /** Where in the input the trouble is, for example `spec.partitions` or `ce-time`. */
  readonly field: string | undefined;
  readonly #effect: ErrorEffect | undefined;

  /** @param options `effect` where this failure knows better than the table: a connection that was never made did nothing */
  constructor(
    code: ErrorCode,
    message: string,
    options?: { cause?: unknown; field?: string | undefined; effect?: ErrorEffect | undefined },
  ) {
    super(`${code}: ${message}`, options);
    this.code = code;
    this.field = options?.field;
    this.#effect = options?.effect;
  }

  /** The message without the code in front: for forms that carry the code beside it. */
  get detail(): string {
    return this.message.slice(this.code.length + 2);
  }

  get kind(): ErrorKind {
    return ERRORS[this.code].kind;
  }

  get retry(): ErrorRetry {
    return ERRORS[this.code].retry;
  }

  get effect(): ErrorEffect {
    return this.#effect ?? ERRORS[this.code].effect;
  }

  /** Whether trying again can help, as it is or after a look at fresh state. */
  get retryable(): boolean {
    return this.retry !== 'no';
  }

  /** `no`: nothing was stored or changed. `unknown`: it may have been, for example because the answer was lost. */
  get happened(): 'no' | 'unknown' {
    return this.effect === 'none' ? 'no' : 'unknown';
  }
}
