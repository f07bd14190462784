/**
 * Failures on the gRPC wire (also Connect's and gRPC-Web's: the numbers are the same). A new code does not compile until
 * it has a status here. Beside the status travel `hadron-code` and, where the input is to blame, `hadron-field`.
 */
import { type ErrorCode, HadronError, type Logger } from '@hadron/base';

export const Status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** By number. */
export const STATUS_NAMES: readonly string[] = Object.keys(Status);

const S = Status;

export const GRPC_STATUS: Record<ErrorCode, number> = {
  STORAGE_FAILED: S.UNAVAILABLE,
  STORAGE_FULL: S.UNAVAILABLE,
  STORAGE_CLOSED: S.UNAVAILABLE,
  DATA_DAMAGED: S.DATA_LOSS,
  DATA_FORMAT_NEWER: S.FAILED_PRECONDITION,
  DATA_FOLDER_IN_USE: S.FAILED_PRECONDITION,
  DATA_FOLDER_UNUSABLE: S.FAILED_PRECONDITION,
  PRECONDITION_FAILED: S.ABORTED,
  OFFSET_OUT_OF_RANGE: S.OUT_OF_RANGE,
  CORRUPT_DATA: S.INVALID_ARGUMENT,
  TOPIC_NOT_FOUND: S.NOT_FOUND,
  TOPIC_ID_NOT_FOUND: S.NOT_FOUND,
  TOPIC_EXISTS: S.ALREADY_EXISTS,
  TOPIC_NAME_INVALID: S.INVALID_ARGUMENT,
  PARTITIONS_INVALID: S.INVALID_ARGUMENT,
  REPLICATION_INVALID: S.INVALID_ARGUMENT,
  CONFIG_INVALID: S.INVALID_ARGUMENT,
  RECORD_INVALID: S.INVALID_ARGUMENT,
  // Not RESOURCE_EXHAUSTED: trying again does not help, and clients retry that one.
  RECORD_TOO_LARGE: S.INVALID_ARGUMENT,
  TIMESTAMP_INVALID: S.INVALID_ARGUMENT,
  COMPRESSION_UNSUPPORTED: S.UNIMPLEMENTED,
  LEADER_EPOCH_FENCED: S.ABORTED,
  LEADER_EPOCH_UNKNOWN: S.UNAVAILABLE,
  SEQUENCE_OUT_OF_ORDER: S.FAILED_PRECONDITION,
  SEQUENCE_DUPLICATE: S.ALREADY_EXISTS,
  PRODUCER_EPOCH_FENCED: S.FAILED_PRECONDITION,
  TRANSACTIONS_UNSUPPORTED: S.UNIMPLEMENTED,
  GROUP_ID_INVALID: S.INVALID_ARGUMENT,
  GROUP_NOT_FOUND: S.NOT_FOUND,
  GROUP_FULL: S.RESOURCE_EXHAUSTED,
  GROUP_PROTOCOL_INCONSISTENT: S.FAILED_PRECONDITION,
  GROUP_NOT_EMPTY: S.FAILED_PRECONDITION,
  MEMBER_ID_REQUIRED: S.INVALID_ARGUMENT,
  MEMBER_UNKNOWN: S.NOT_FOUND,
  MEMBER_FENCED: S.FAILED_PRECONDITION,
  GENERATION_ILLEGAL: S.ABORTED,
  REBALANCE_IN_PROGRESS: S.UNAVAILABLE,
  SESSION_TIMEOUT_INVALID: S.INVALID_ARGUMENT,
  OFFSET_METADATA_TOO_LARGE: S.INVALID_ARGUMENT,
  EVENT_INVALID: S.INVALID_ARGUMENT,
  EVENT_TOO_LARGE: S.INVALID_ARGUMENT,
  MEDIA_TYPE_UNSUPPORTED: S.INVALID_ARGUMENT,
  CROSS_SHARD: S.INVALID_ARGUMENT,
  FILTER_INVALID: S.INVALID_ARGUMENT,
  GROUP_SETTINGS_DIFFER: S.FAILED_PRECONDITION,
  TOKEN_INVALID: S.INVALID_ARGUMENT,
  STALE_DELIVERY: S.FAILED_PRECONDITION,
  ALREADY_SETTLED: S.ALREADY_EXISTS,
  LIMIT_EXCEEDED: S.RESOURCE_EXHAUSTED,
  RESOURCE_NOT_FOUND: S.NOT_FOUND,
  RESOURCE_INVALID: S.INVALID_ARGUMENT,
  RESOURCE_CONFLICT: S.ABORTED,
  RESOURCE_IN_USE: S.FAILED_PRECONDITION,
  PERMISSION_DENIED: S.PERMISSION_DENIED,
  CONNECTION_FAILED: S.UNAVAILABLE,
  TIMED_OUT: S.DEADLINE_EXCEEDED,
  CLIENT_CLOSED: S.CANCELLED,
  HANDLER_TERMINAL: S.FAILED_PRECONDITION,
  NOT_IMPLEMENTED: S.UNIMPLEMENTED,
  INTERNAL: S.INTERNAL,
  REQUEST_INVALID: S.INVALID_ARGUMENT,
  SETTING_UNKNOWN: S.INVALID_ARGUMENT,
  SETTING_INVALID: S.INVALID_ARGUMENT,
  PORT_IN_USE: S.FAILED_PRECONDITION,
};

/** A refusal that only this wire knows. The code is the given one, the status its own. */
export class RpcRefused extends HadronError {
  readonly status: number;

  constructor(code: ErrorCode, status: number, message: string) {
    super(code, message);
    this.status = status;
  }
}

export const statusOf = (error: HadronError): number =>
  error instanceof RpcRefused ? error.status : GRPC_STATUS[error.code];

/** Whatever was thrown, as what a client may see: nothing of a bug but that it is one. */
export function expected(error: unknown, logger: Logger, method: string): HadronError {
  if (error instanceof HadronError) return error;
  logger.error(
    { method, err: error instanceof Error ? (error.stack ?? error.message) : String(error) },
    'a call failed: a bug in Hadron',
  );
  return new HadronError('INTERNAL', 'the server made a mistake; its log has more. Try again later', { cause: error });
}

/** Percent-encoding of grpc-message: everything but printable ASCII, and `%` itself. */
export const encodeMessage = (text: string): string =>
  encodeURIComponent(text.toWellFormed()).replaceAll(/%(?:2[0-46-9A-C]|2F|3[A-F]|40|5[B-E]|60|7[B-D])/g, (c) =>
    decodeURIComponent(c),
  );

/** Of a grpc-message can be sent at most, so that it fits beside the other headers. */
const MESSAGE_CHARACTERS_MAX = 2_000;

/** grpc-status and what explains it: trailers, or headers where nothing else is answered. */
export function trailersOf(error: HadronError | undefined): Record<string, string> {
  if (error === undefined) return { 'grpc-status': '0' };
  return {
    'grpc-status': String(statusOf(error)),
    'grpc-message': encodeMessage(error.detail.slice(0, MESSAGE_CHARACTERS_MAX)),
    'hadron-code': error.code,
    ...(error.field === undefined ? {} : { 'hadron-field': encodeMessage(error.field.slice(0, 200)) }),
  };
}

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 };

/**
 * A grpc-timeout in milliseconds.
 * @throws HadronError REQUEST_INVALID
 */
export function parseTimeout(text: string): number {
  const found = /^(\d{1,8})([HMSmun])$/.exec(text);
  if (found === null)
    throw new HadronError('REQUEST_INVALID', 'grpc-timeout is up to eight digits and one of H M S m u n', {
      field: 'grpc-timeout',
    });
  return Number(found[1]) * (UNIT_MS[found[2] as string] as number);
}
