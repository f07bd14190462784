/** Streams.Tail, Info and NewProducer: what needs no group. */
import type { HadronError } from '@hadron/base';
import type { EventStreams, Tail, TailFrom, TailListener, TailRecord } from '@hadron/broker';
import {
  decodeInfoRequest,
  decodeTailRequest,
  encodeInfoResponse,
  encodeNewProducerResponse,
  encodeTailResponse,
  type ProtoWriter,
  type TailRequest,
} from '@hadron/contracts/protobuf';
import { type Call, type CallHandler, type Method, serverStream, unary } from './call.ts';
import type { RpcServices } from './services.ts';

/** Records are packed into messages of about this size. */
const MESSAGE_BYTES = 256 * 1024;

export const info = (services: RpcServices): Method =>
  unary(decodeInfoRequest, encodeInfoResponse, (stream, call) => {
    services.authorize(call.identity, 'read', { kind: 'Stream', name: stream });
    return services.ask().events.info(stream);
  });

export const newProducer = (services: RpcServices): Method =>
  unary(
    () => undefined,
    encodeNewProducerResponse,
    async (_, call) => {
      services.authorize(call.identity, 'publish', { kind: 'Stream', name: undefined });
      const { id, epoch } = await services.ask().events.newProducer();
      return { producerId: id, producerEpoch: epoch };
    },
  );

export const tail = (services: RpcServices): Method =>
  serverStream(decodeTailRequest, (request, call) => {
    services.authorize(call.identity, 'read', { kind: 'Stream', name: request.stream });
    return new TailCall(services, call, request);
  });

class TailCall implements Pick<CallHandler, 'lost' | 'drained'>, TailListener {
  private readonly call: Call;
  private source: Tail | undefined;
  private paused = false;
  private over = false;

  constructor({ ask }: RpcServices, call: Call, { stream, from, partition }: TailRequest) {
    this.call = call;
    this.begin(ask().events, stream, { from, partition }).catch((error: unknown) => this.endWith(error));
  }

  /** The place first: `latest` is somewhere before there is any event, and a client that was cut off goes on from there. */
  private async begin(
    events: Pick<EventStreams, 'page' | 'tail'>,
    stream: string,
    { from, partition }: TailFrom,
  ): Promise<void> {
    const { cursor } = await events.page(stream, { from, partition }, { records: 0, bytes: 0 });
    if (this.over) return;
    this.call.send(encodePart, { records: [], cursor, from: 0, to: 0 });
    const source = await events.tail(stream, { from: { cursor }, partition }, this);
    this.source = source;
    if (this.over) source.close();
    else if (this.paused) source.pause();
  }

  records(records: readonly TailRecord[], cursor: string): void {
    if (this.over) return;
    let from = 0;
    let size = 0;
    for (let i = 0; i < records.length; i++) {
      size += (records[i] as TailRecord).record.bytes.length + 20;
      if (size < MESSAGE_BYTES || i === records.length - 1) continue;
      // Only the last message has the cursor: it stands behind all of them.
      this.call.send(encodePart, { records, cursor: '', from, to: i + 1 });
      from = i + 1;
      size = 0;
    }
    this.call.send(encodePart, { records, cursor, from, to: records.length });
    if (!this.paused && this.call.congested) {
      this.paused = true;
      this.source?.pause();
    }
  }

  ended(error: HadronError | undefined): void {
    this.endWith(error);
  }

  drained(): void {
    if (!this.paused) return;
    this.paused = false;
    this.source?.resume();
  }

  lost(): void {
    this.over = true;
    this.source?.close();
  }

  private endWith(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.source?.close();
    this.call.end(error);
  }
}

interface Part {
  readonly records: readonly TailRecord[];
  readonly cursor: string;
  readonly from: number;
  readonly to: number;
}

const encodePart = (w: ProtoWriter, part: Part): void => encodeTailResponse(w, part, part.from, part.to);
