/**
 * Produce (0), v3–12. Versions below 3 are announced but never served (R6.1).
 * v3 record batch v2 · v5 log start offset · v7 zstd · v8 record errors · v9 flexible · v10 leader hints.
 * acks 0, 1 and −1 all mean durable here; with 0 there is no answer, and an error closes the connection (R13.6).
 */
import type { HadronError } from '@hadron/base';
import { newProduceOutcome, whenAnswerable } from '@hadron/broker';
import {
  decodeProduceRequest,
  encodeProduceResponse,
  KafkaError,
  type ProduceResponse,
  type ProduceResponsePartition,
  type ProduceResponseTopic,
  type Reader,
} from '@hadron/kafka-protocol';
import type { CommitWaiter } from '@hadron/log';
import type { Connection, KafkaRequest } from '../connection.ts';
import type { KafkaDoor } from '../door.ts';
import { KAFKA_CODE } from '../error-codes.ts';

const ZSTD_FROM = 7;
const outcome = newProduceOutcome();
const NO_ERRORS: never[] = [];

export function produce(door: KafkaDoor, request: KafkaRequest, reader: Reader): void {
  const { version } = request;
  const m = decodeProduceRequest(reader, version);
  const { core } = door;
  request.connection.produces = true;
  const nowMs = door.clock.wallMs();
  let refused = 0;
  let why: string | null = null;
  if (m.acks !== 1 && m.acks !== -1 && m.acks !== 0) refused = KafkaError.INVALID_REQUIRED_ACKS;
  else if (m.transactionalId !== null) {
    refused = KafkaError.INVALID_REQUEST;
    why = 'Transactions are not supported yet: produce without a transactional.id.';
    door.logger.warn(
      { transactionalId: m.transactionalId, client: request.connection.remote },
      'a transactional produce was refused',
    );
  }
  const responses: ProduceResponseTopic[] = [];
  let lsn = 0;
  let strict = false;
  let failed = refused !== 0;
  for (const t of m.topicData) {
    const topic = core.topics.get(t.name);
    const denied = door.forbids('publish', t.name) ? KafkaError.TOPIC_AUTHORIZATION_FAILED : 0;
    const partitionResponses: ProduceResponsePartition[] = [];
    for (const p of t.partitionData) {
      const out: ProduceResponsePartition = {
        index: p.index,
        errorCode: refused === 0 ? denied : refused,
        baseOffset: -1,
        logAppendTimeMs: -1,
        logStartOffset: -1,
        recordErrors: NO_ERRORS,
        errorMessage: why,
        currentLeader: null,
      };
      partitionResponses.push(out);
      if (out.errorCode !== 0) {
        failed = true;
        continue;
      }
      const partition = topic?.partitions[p.index];
      if (partition === undefined) {
        out.errorCode = KafkaError.UNKNOWN_TOPIC_OR_PARTITION;
        failed = true;
        // Its deletion may not be durable yet (log.md G5).
        lsn = core.shard.stagedLsn;
        strict = true;
        continue;
      }
      const records = p.records;
      try {
        partition.produce(records ?? EMPTY, 0, records?.length ?? 0, version >= ZSTD_FROM, nowMs, outcome);
      } catch (error) {
        outcome.error = (error as HadronError).code;
        if (KAFKA_CODE[outcome.error] === undefined) throw error;
        outcome.message = (error as HadronError).message;
      }
      if (outcome.error !== undefined) {
        failed = true;
        out.errorCode = KAFKA_CODE[outcome.error];
        out.errorMessage = outcome.message;
        if (outcome.recordIndex >= 0)
          out.recordErrors = [{ batchIndex: outcome.recordIndex, batchIndexErrorMessage: outcome.message }];
        door.error(request.apiKey, out.errorCode);
        if (outcome.error === 'TRANSACTIONS_UNSUPPORTED') {
          door.logger.warn({ topic: t.name, client: request.connection.remote }, 'a transactional batch was refused');
        }
      } else {
        out.baseOffset = outcome.baseOffset;
        out.logAppendTimeMs = outcome.logAppendTimeMs;
        out.logStartOffset = outcome.logStartOffset;
      }
      if (outcome.lsn > lsn) lsn = outcome.lsn;
      if (partition.log.durability === 'fsync') strict = true;
    }
    responses.push({ name: t.name, partitionResponses });
  }
  const durability = strict ? 'fsync' : 'os';
  if (m.acks === 0) {
    if (failed) {
      request.connection.destroy('a produce with acks=0 failed');
      return;
    }
    request.replyNothing();
    if (!core.shard.isAnswerable(lsn, durability)) core.shard.when(lsn, durability, new NoAnswer(request.connection));
    return;
  }
  const response: ProduceResponse = { responses, throttleTimeMs: 0, nodeEndpoints: NO_ERRORS };
  whenAnswerable(core.shard, lsn, durability, new ProduceAnswer(request, response));
}

/** Nobody waits for an answer; a client whose records are lost learns it from the closed connection (R13.6). */
class NoAnswer implements CommitWaiter {
  private readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  committed(): void {}

  failed(): void {
    this.connection.destroy('a produce with acks=0 failed');
  }
}

/** Waits for the sync, then answers. */
class ProduceAnswer implements CommitWaiter {
  private readonly request: KafkaRequest;
  private readonly response: ProduceResponse;

  constructor(request: KafkaRequest, response: ProduceResponse) {
    this.request = request;
    this.response = response;
  }

  committed(): void {
    this.request.reply((w) => encodeProduceResponse(w, this.response, this.request.version));
  }

  failed(error: HadronError): void {
    const code = KAFKA_CODE[error.code];
    for (const t of this.response.responses) {
      for (const p of t.partitionResponses) {
        p.errorCode = code;
        p.baseOffset = -1;
        p.errorMessage = error.message;
      }
    }
    this.committed();
  }
}

const EMPTY = Buffer.alloc(0);
