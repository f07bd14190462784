/** Our errors on the Kafka wire: every code of the table in `base` has one. A new code does not compile until it is here. */
import { type ErrorCode, HadronError } from '@hadron/base';
import { KafkaError } from '@hadron/kafka-protocol';

const K = KafkaError;

export const KAFKA_CODE: Record<ErrorCode, number> = {
  STORAGE_FAILED: K.KAFKA_STORAGE_ERROR,
  STORAGE_FULL: K.KAFKA_STORAGE_ERROR,
  STORAGE_CLOSED: K.KAFKA_STORAGE_ERROR,
  DATA_DAMAGED: K.KAFKA_STORAGE_ERROR,
  DATA_FORMAT_NEWER: K.KAFKA_STORAGE_ERROR,
  DATA_FOLDER_IN_USE: K.KAFKA_STORAGE_ERROR,
  DATA_FOLDER_UNUSABLE: K.KAFKA_STORAGE_ERROR,
  PRECONDITION_FAILED: K.INVALID_REQUEST,
  OFFSET_OUT_OF_RANGE: K.OFFSET_OUT_OF_RANGE,
  CORRUPT_DATA: K.CORRUPT_MESSAGE,
  TOPIC_NOT_FOUND: K.UNKNOWN_TOPIC_OR_PARTITION,
  TOPIC_ID_NOT_FOUND: K.UNKNOWN_TOPIC_ID,
  TOPIC_EXISTS: K.TOPIC_ALREADY_EXISTS,
  TOPIC_NAME_INVALID: K.INVALID_TOPIC_EXCEPTION,
  PARTITIONS_INVALID: K.INVALID_PARTITIONS,
  REPLICATION_INVALID: K.INVALID_REPLICATION_FACTOR,
  CONFIG_INVALID: K.INVALID_CONFIG,
  RECORD_INVALID: K.INVALID_RECORD,
  RECORD_TOO_LARGE: K.MESSAGE_TOO_LARGE,
  TIMESTAMP_INVALID: K.INVALID_TIMESTAMP,
  COMPRESSION_UNSUPPORTED: K.UNSUPPORTED_COMPRESSION_TYPE,
  LEADER_EPOCH_FENCED: K.FENCED_LEADER_EPOCH,
  LEADER_EPOCH_UNKNOWN: K.UNKNOWN_LEADER_EPOCH,
  SEQUENCE_OUT_OF_ORDER: K.OUT_OF_ORDER_SEQUENCE_NUMBER,
  SEQUENCE_DUPLICATE: K.DUPLICATE_SEQUENCE_NUMBER,
  PRODUCER_EPOCH_FENCED: K.INVALID_PRODUCER_EPOCH,
  TRANSACTIONS_UNSUPPORTED: K.INVALID_REQUEST,
  GROUP_ID_INVALID: K.INVALID_GROUP_ID,
  GROUP_NOT_FOUND: K.GROUP_ID_NOT_FOUND,
  GROUP_FULL: K.GROUP_MAX_SIZE_REACHED,
  GROUP_PROTOCOL_INCONSISTENT: K.INCONSISTENT_GROUP_PROTOCOL,
  GROUP_NOT_EMPTY: K.NON_EMPTY_GROUP,
  MEMBER_ID_REQUIRED: K.MEMBER_ID_REQUIRED,
  MEMBER_UNKNOWN: K.UNKNOWN_MEMBER_ID,
  MEMBER_FENCED: K.FENCED_INSTANCE_ID,
  GENERATION_ILLEGAL: K.ILLEGAL_GENERATION,
  REBALANCE_IN_PROGRESS: K.REBALANCE_IN_PROGRESS,
  SESSION_TIMEOUT_INVALID: K.INVALID_SESSION_TIMEOUT,
  OFFSET_METADATA_TOO_LARGE: K.OFFSET_METADATA_TOO_LARGE,
  REQUEST_INVALID: K.INVALID_REQUEST,
  SETTING_UNKNOWN: K.INVALID_CONFIG,
  SETTING_INVALID: K.INVALID_CONFIG,
  PORT_IN_USE: K.UNKNOWN_SERVER_ERROR,
};

/** A replica assignment that cannot be: Kafka has a code of its own for it, and only this door knows assignments. */
export class AssignmentError extends HadronError {
  constructor(message: string) {
    super('REQUEST_INVALID', message);
  }
}

/** 0 for no error. */
export const kafkaCode = (code: ErrorCode | null | undefined): number =>
  code === null || code === undefined ? 0 : KAFKA_CODE[code];

/** Group answers know no storage error: the client looks for the coordinator again, and finds it when it works. */
export function groupCode(code: ErrorCode | null | undefined): number {
  const kafka = kafkaCode(code);
  return kafka === K.KAFKA_STORAGE_ERROR ? K.COORDINATOR_NOT_AVAILABLE : kafka;
}

/** The message without its code, for fields that carry one beside a code. */
export function describe(error: unknown): { code: number; message: string } {
  if (!(error instanceof HadronError)) throw error;
  const code = error instanceof AssignmentError ? K.INVALID_REPLICA_ASSIGNMENT : KAFKA_CODE[error.code];
  return { code, message: error.message.slice(error.code.length + 2) };
}
