/**
 * Failures on the HTTP wire: `application/problem+json` (RFC 9457) with the code of our table. A new code does not compile
 * until it has a status here. Nothing but the message of a HadronError is ever shown: no stack traces, no causes.
 */
import { type ErrorCode, HadronError } from '@hadron/base';

export const HTTP_STATUS: Record<ErrorCode, number> = {
  STORAGE_FAILED: 503,
  STORAGE_FULL: 503,
  STORAGE_CLOSED: 503,
  DATA_DAMAGED: 500,
  DATA_FORMAT_NEWER: 500,
  DATA_FOLDER_IN_USE: 500,
  DATA_FOLDER_UNUSABLE: 500,
  PRECONDITION_FAILED: 409,
  OFFSET_OUT_OF_RANGE: 400,
  CORRUPT_DATA: 400,
  TOPIC_NOT_FOUND: 404,
  TOPIC_ID_NOT_FOUND: 404,
  TOPIC_EXISTS: 409,
  TOPIC_NAME_INVALID: 400,
  PARTITIONS_INVALID: 400,
  REPLICATION_INVALID: 400,
  CONFIG_INVALID: 400,
  RECORD_INVALID: 400,
  RECORD_TOO_LARGE: 413,
  TIMESTAMP_INVALID: 400,
  COMPRESSION_UNSUPPORTED: 415,
  LEADER_EPOCH_FENCED: 409,
  LEADER_EPOCH_UNKNOWN: 503,
  SEQUENCE_OUT_OF_ORDER: 409,
  SEQUENCE_DUPLICATE: 409,
  PRODUCER_EPOCH_FENCED: 409,
  TRANSACTIONS_UNSUPPORTED: 501,
  GROUP_ID_INVALID: 400,
  GROUP_NOT_FOUND: 404,
  GROUP_FULL: 429,
  GROUP_PROTOCOL_INCONSISTENT: 409,
  GROUP_NOT_EMPTY: 409,
  MEMBER_ID_REQUIRED: 400,
  MEMBER_UNKNOWN: 404,
  MEMBER_FENCED: 409,
  GENERATION_ILLEGAL: 409,
  REBALANCE_IN_PROGRESS: 503,
  SESSION_TIMEOUT_INVALID: 400,
  OFFSET_METADATA_TOO_LARGE: 413,
  EVENT_INVALID: 400,
  EVENT_TOO_LARGE: 413,
  MEDIA_TYPE_UNSUPPORTED: 415,
  CROSS_SHARD: 400,
  FILTER_INVALID: 400,
  GROUP_SETTINGS_DIFFER: 409,
  TOKEN_INVALID: 400,
  STALE_DELIVERY: 409,
  ALREADY_SETTLED: 409,
  LIMIT_EXCEEDED: 429,
  RESOURCE_NOT_FOUND: 404,
  RESOURCE_INVALID: 400,
  RESOURCE_CONFLICT: 409,
  RESOURCE_IN_USE: 409,
  PERMISSION_DENIED: 403,
  CONNECTION_FAILED: 502,
  TIMED_OUT: 504,
  CLIENT_CLOSED: 503,
  HANDLER_TERMINAL: 500,
  NOT_IMPLEMENTED: 501,
  INTERNAL: 500,
  REQUEST_INVALID: 400,
  SETTING_UNKNOWN: 400,
  SETTING_INVALID: 400,
  PORT_IN_USE: 500,
};

/** A refusal that only HTTP knows: a path, a method, a size, a time. The code is REQUEST_INVALID, the status its own. */
export class RequestRefused extends HadronError {
  readonly status: number;
  /** For the answer: name, value, name, value … */
  readonly headers: readonly string[];

  constructor(status: number, message: string, options: { field?: string; headers?: readonly string[] } = {}) {
    super('REQUEST_INVALID', message, { field: options.field });
    this.status = status;
    this.headers = options.headers ?? [];
  }
}

/** An answer that is ready to be sent. */
export interface Problem {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
}

export const PROBLEM_TYPE = 'application/problem+json';

/** Seconds after which a refusal that passes may be over. */
const RETRY_AFTER_SECONDS = '1';

export function problemOf(error: HadronError): Problem {
  const refused = error instanceof RequestRefused ? error : undefined;
  const status = refused?.status ?? HTTP_STATUS[error.code];
  const waits = error.retry === 'after-backoff' && (status === 429 || status === 503);
  const headers = [...(refused?.headers ?? []), ...(waits ? ['retry-after', RETRY_AFTER_SECONDS] : [])];
  const body = JSON.stringify({
    type: `urn:hadron:error:${error.code}`,
    title: error.kind,
    status,
    code: error.code,
    detail: error.detail,
    field: error.field,
    retry: error.retry,
    effect: error.effect,
  });
  return { status, headers, body };
}
