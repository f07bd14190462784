/**
 * A Kafka client that is nothing but the wire: it encodes any API in any version and decodes the answers, over whatever
 * carries bytes. Tests use it on simulated sockets (sim-server.ts) and on real ones (net-client.ts).
 */
import {
  ApiKey,
  type ApiVersionsRequest,
  type ApiVersionsResponse,
  CODECS,
  type CreateTopicsRequest,
  type CreateTopicsResponse,
  type CreatePartitionsRequest,
  type CreatePartitionsResponse,
  type DeleteRecordsRequest,
  type DeleteRecordsResponse,
  type DeleteTopicsRequest,
  type DeleteTopicsResponse,
  decodeResponseHeader,
  encodeRequestHeader,
  type FetchRequest,
  type FetchResponse,
  type FindCoordinatorRequest,
  type FindCoordinatorResponse,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type InitProducerIdRequest,
  type InitProducerIdResponse,
  type JoinGroupRequest,
  type JoinGroupResponse,
  type LeaveGroupRequest,
  type LeaveGroupResponse,
  type ListOffsetsRequest,
  type ListOffsetsResponse,
  type MessageCodec,
  type MetadataRequest,
  type MetadataResponse,
  makeApiVersionsRequest,
  makeCreateTopicsRequest,
  makeCreatePartitionsRequest,
  makeDeleteRecordsRequest,
  makeDeleteTopicsRequest,
  makeFetchRequest,
  makeFindCoordinatorRequest,
  makeHeartbeatRequest,
  makeInitProducerIdRequest,
  makeJoinGroupRequest,
  makeLeaveGroupRequest,
  makeListOffsetsRequest,
  makeMetadataRequest,
  makeOffsetCommitRequest,
  makeOffsetFetchRequest,
  makeProduceRequest,
  makeSyncGroupRequest,
  type OffsetCommitRequest,
  type OffsetCommitResponse,
  type OffsetFetchRequest,
  type OffsetFetchResponse,
  type ProduceRequest,
  type ProduceResponse,
  Reader,
  type SyncGroupRequest,
  type SyncGroupResponse,
  Writer,
} from '@hadron/kafka-protocol';

export interface Apis {
  Produce: [ProduceRequest, ProduceResponse];
  Fetch: [FetchRequest, FetchResponse];
  ListOffsets: [ListOffsetsRequest, ListOffsetsResponse];
  Metadata: [MetadataRequest, MetadataResponse];
  OffsetCommit: [OffsetCommitRequest, OffsetCommitResponse];
  OffsetFetch: [OffsetFetchRequest, OffsetFetchResponse];
  FindCoordinator: [FindCoordinatorRequest, FindCoordinatorResponse];
  JoinGroup: [JoinGroupRequest, JoinGroupResponse];
  Heartbeat: [HeartbeatRequest, HeartbeatResponse];
  LeaveGroup: [LeaveGroupRequest, LeaveGroupResponse];
  SyncGroup: [SyncGroupRequest, SyncGroupResponse];
  ApiVersions: [ApiVersionsRequest, ApiVersionsResponse];
  CreateTopics: [CreateTopicsRequest, CreateTopicsResponse];
  DeleteTopics: [DeleteTopicsRequest, DeleteTopicsResponse];
  DeleteRecords: [DeleteRecordsRequest, DeleteRecordsResponse];
  CreatePartitions: [CreatePartitionsRequest, CreatePartitionsResponse];
  InitProducerId: [InitProducerIdRequest, InitProducerIdResponse];
}
export type ApiName = keyof Apis;
export type Req<A extends ApiName> = Apis[A][0];
export type Res<A extends ApiName> = Apis[A][1];

const MAKE: { [A in ApiName]: (fields?: Partial<Req<A>>) => Req<A> } = {
  Produce: makeProduceRequest,
  Fetch: makeFetchRequest,
  ListOffsets: makeListOffsetsRequest,
  Metadata: makeMetadataRequest,
  OffsetCommit: makeOffsetCommitRequest,
  OffsetFetch: makeOffsetFetchRequest,
  FindCoordinator: makeFindCoordinatorRequest,
  JoinGroup: makeJoinGroupRequest,
  Heartbeat: makeHeartbeatRequest,
  LeaveGroup: makeLeaveGroupRequest,
  SyncGroup: makeSyncGroupRequest,
  ApiVersions: makeApiVersionsRequest,
  CreateTopics: makeCreateTopicsRequest,
  DeleteTopics: makeDeleteTopicsRequest,
  DeleteRecords: makeDeleteRecordsRequest,
  CreatePartitions: makeCreatePartitionsRequest,
  InitProducerId: makeInitProducerIdRequest,
};

/** The server closed the connection. */
export class ConnectionClosed extends Error {
  override readonly name = 'ConnectionClosed';
}

export interface Wire {
  send(bytes: Buffer): void;
  close(): void;
}

interface Pending {
  readonly correlationId: number;
  readonly apiKey: number;
  readonly version: number;
  /** Gets the frame without its length; undefined: closed. */
  readonly settle: (frame: Buffer | undefined) => void;
}

/** A request as bytes, length included. */
export function requestBytes<A extends ApiName>(
  api: A,
  version: number,
  fields: Partial<Req<A>>,
  correlationId = 1,
  clientId: string | null = 'test',
): Buffer {
  const apiKey = ApiKey[api];
  const w = new Writer();
  w.beginFrame();
  encodeRequestHeader(w, { apiKey, apiVersion: version, correlationId, clientId });
  (CODECS.get(apiKey) as MessageCodec).encodeRequest(w, MAKE[api](fields as never), version);
  w.endFrame();
  return Buffer.concat(w.takeParts());
}

/** A frame around bytes that need not be a request. */
export function frameOf(body: Buffer): Buffer {
  const b = Buffer.alloc(4 + body.length);
  b.writeInt32BE(body.length, 0);
  body.copy(b, 4);
  return b;
}

export class WireClient {
  readonly wire: Wire;
  closed = false;
  clientId: string | null = 'test';
  /** Answers that nobody asked for are dropped: for clients that send damaged requests. */
  lenient = false;
  /** Answers in the order they came: correlation ids. */
  readonly answered: number[] = [];
  private readonly pending: Pending[] = [];
  private buffer: Buffer = Buffer.alloc(0);
  private correlation = 0;
  private readonly onClosed: (() => void)[] = [];

  constructor(wire: Wire) {
    this.wire = wire;
  }

  get waitingCount(): number {
    return this.pending.length;
  }

  /** Sends a request. @returns its answer; rejects with {@link ConnectionClosed} */
  call<A extends ApiName>(api: A, version: number, fields: Partial<Req<A>> = {}): Promise<Res<A>> {
    const apiKey = ApiKey[api];
    const correlationId = ++this.correlation;
    const bytes = requestBytes(api, version, fields, correlationId, this.clientId);
    if (api === 'Produce' && (fields as Partial<ProduceRequest>).acks === 0)
      throw new TypeError('acks = 0 has no answer: send');
    return this.ask(bytes, apiKey, version, correlationId).then((frame) => {
      const r = new Reader(frame);
      const header = decodeResponseHeader(r, apiKey, version);
      if (header.correlationId !== correlationId)
        throw new Error(`answer ${header.correlationId} to request ${correlationId}`);
      return (CODECS.get(apiKey) as MessageCodec).decodeResponse(r, version) as Res<A>;
    });
  }

  /** Sends a request whose answer, if there is one, comes as a frame. */
  ask(bytes: Buffer, apiKey = -1, version = 0, correlationId = ++this.correlation): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new ConnectionClosed('closed already'));
        return;
      }
      this.pending.push({
        correlationId,
        apiKey,
        version,
        settle: (frame) => {
          if (frame === undefined)
            reject(new ConnectionClosed(`closed before the answer to API ${apiKey} v${version}`));
          else resolve(frame);
        },
      });
      this.wire.send(bytes);
    });
  }

  /** Sends a request that has no answer, or bytes that are no request. */
  send(bytes: Buffer): void {
    this.wire.send(bytes);
  }

  sendRequest<A extends ApiName>(api: A, version: number, fields: Partial<Req<A>>): void {
    this.send(requestBytes(api, version, fields, ++this.correlation, this.clientId));
  }

  close(): void {
    this.wire.close();
    this.ended();
  }

  /** Resolves when the server has closed the connection. */
  whenClosed(): Promise<void> {
    if (this.closed) return Promise.resolve();
    return new Promise((resolve) => this.onClosed.push(resolve));
  }

  /** The transport's: bytes have come. */
  received(chunk: Buffer): void {
    this.buffer = this.buffer.length === 0 ? chunk : Buffer.concat([this.buffer, chunk]);
    let at = 0;
    while (this.buffer.length - at >= 4) {
      const length = this.buffer.readInt32BE(at);
      if (this.buffer.length - at - 4 < length) break;
      const frame = this.buffer.subarray(at + 4, at + 4 + length);
      at += 4 + length;
      this.answered.push(frame.readInt32BE(0));
      const p = this.pending.shift();
      if (p === undefined && this.lenient) continue;
      if (p === undefined) throw new Error(`an answer nobody asked for: ${frame.toString('hex').slice(0, 200)}`);
      p.settle(frame);
    }
    this.buffer = this.buffer.subarray(at);
  }

  /** The transport's: the connection is gone. */
  ended(): void {
    if (this.closed) return;
    this.closed = true;
    for (const p of this.pending.splice(0)) p.settle(undefined);
    for (const fn of this.onClosed.splice(0)) fn();
  }
}
