/**
 * Streams.Publish: a long stream of batches, each answered once it is durable, in the order they came.
 *
 * Batches of one read meet in the accumulators of the service, so many small requests become few record batches. What has
 * been received and not answered is bounded: beyond that the client is held back by flow control.
 */
import { HadronError } from '@hadron/base';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import { refusedWhole } from '@hadron/contracts/events';
import {
  decodePublishRequest,
  encodePublishResponse,
  parseProtoEvent,
  type PublishRequest,
  type PublishResponse,
  type WireError,
} from '@hadron/contracts/protobuf';
import { type Call, type CallHandler, type Method, stopped } from './call.ts';
import type { RpcServices } from './services.ts';
import { expected } from './status.ts';

/** Of one call, received and not answered: beyond it is not read. */
const OUTSTANDING_BYTES_MAX = 8 * 1024 * 1024;
const OUTSTANDING_MAX = 16_384;

/** A request whose response has not left. */
interface Slot {
  readonly sequence: number;
  readonly bytes: number;
  response: PublishResponse | undefined;
}

const NO_RESULTS: readonly PublishResult[] = [];

export function publish(services: RpcServices): Method {
  return (call) => new PublishCall(services, call);
}

class PublishCall implements CallHandler {
  private readonly services: RpcServices;
  private readonly call: Call;
  /** In the order of the requests; those before `head` have left. */
  private slots: Slot[] = [];
  private head = 0;
  private outstandingBytes = 0;
  private stream = '';
  private paused = false;
  private over = false;
  /** What ends the call when all before it is answered; null: the client is done. */
  private ending: unknown;

  constructor(services: RpcServices, call: Call) {
    this.services = services;
    this.call = call;
  }

  message(bytes: Buffer): void {
    if (this.ending !== undefined) return;
    let request: PublishRequest;
    try {
      request = decodePublishRequest(bytes);
    } catch (error) {
      this.endWith(error);
      return;
    }
    const slot: Slot = { sequence: request.sequence, bytes: bytes.length, response: undefined };
    this.slots.push(slot);
    this.outstandingBytes += bytes.length;
    if (request.stream !== '') this.stream = request.stream;
    try {
      this.store(slot, request);
    } catch (error) {
      this.refuse(slot, error);
    }
    if (!this.paused && !this.over && this.isFull) {
      this.paused = true;
      this.call.pause();
    }
  }

  finished(): void {
    this.endWith(null);
  }

  lost(): void {
    this.over = true;
  }

  stopping(): void {
    this.endWith(stopped());
  }

  private get isFull(): boolean {
    return this.outstandingBytes > OUTSTANDING_BYTES_MAX || this.slots.length - this.head > OUTSTANDING_MAX;
  }

  private store(slot: Slot, { recordBatch, recordBatches, events, partition, atomic }: PublishRequest): void {
    const { stream, services } = this;
    if (stream === '')
      throw new HadronError('REQUEST_INVALID', 'the first request names the stream', { field: 'stream' });
    services.authorize(this.call.identity, 'publish', { kind: 'Stream', name: stream });
    const { events: log } = services.ask();
    if (recordBatch !== undefined) {
      if (partition === undefined) {
        throw new HadronError('REQUEST_INVALID', 'a record batch needs its partition', { field: 'partition' });
      }
      log.publishBatch(stream, partition, asBuffer(recordBatch), (error, baseOffset) => {
        if (error !== undefined) this.refuse(slot, error);
        else this.answer(slot, { sequence: slot.sequence, error, partition, baseOffset, results: NO_RESULTS });
      });
      return;
    }
    if (recordBatches !== undefined) {
      const batches = recordBatches.map((one) => ({ partition: one.partition, batch: asBuffer(one.recordBatch) }));
      log.publishBatches(stream, batches, (error, offsets) => {
        if (error !== undefined) this.refuse(slot, error);
        else
          this.results(
            slot,
            batches.map((one, i) => ({ partition: one.partition, offset: offsets[i] as number })),
          );
      });
      return;
    }
    if (events === undefined || events.length === 0)
      throw new HadronError('REQUEST_INVALID', 'a batch holds at least one event, or is one of record batches', {
        field: 'batch',
      });
    const good: CloudEvent[] = [];
    /** Of events that are none, by index. */
    let bad: Map<number, PublishResult> | undefined;
    for (let i = 0; i < events.length; i++) {
      try {
        good.push(parseProtoEvent(events[i] as Uint8Array));
      } catch (error) {
        if (!(error instanceof HadronError)) throw error;
        if (atomic) throw refusedWhole(error, i);
        bad ??= new Map();
        bad.set(i, { error: this.describe(error) });
      }
    }
    if (good.length === 0 && bad !== undefined) {
      this.results(slot, [...bad.values()]);
      return;
    }
    log.publish(stream, good, { atomic, partition }, (error, results) => {
      if (error !== undefined) this.refuse(slot, error);
      else this.results(slot, bad === undefined ? results : merged(results, bad, events.length));
    });
  }

  private results(slot: Slot, results: readonly PublishResult[]): void {
    this.answer(slot, { sequence: slot.sequence, error: undefined, partition: 0, baseOffset: 0, results });
  }

  private refuse(slot: Slot, error: unknown): void {
    const described = this.describe(error);
    this.answer(slot, { sequence: slot.sequence, error: described, partition: 0, baseOffset: 0, results: NO_RESULTS });
  }

  private describe(error: unknown): WireError {
    const known = expected(error, this.services.logger, 'Publish');
    return { code: known.code, message: known.detail, field: known.field ?? '' };
  }

  private answer(slot: Slot, response: PublishResponse): void {
    slot.response = response;
    if (this.over) return;
    const { slots, call } = this;
    for (; this.head < slots.length; this.head++) {
      const next = slots[this.head] as Slot;
      if (next.response === undefined) break;
      call.send(encodePublishResponse, next.response);
      this.outstandingBytes -= next.bytes;
    }
    if (this.head === slots.length || this.head > 4096) {
      this.slots = slots.slice(this.head);
      this.head = 0;
    }
    if (this.ending !== undefined) this.endWith(this.ending);
    else if (this.paused && this.outstandingBytes <= OUTSTANDING_BYTES_MAX / 2 && !this.isFull) {
      this.paused = false;
      call.resume();
    }
  }

  /** Nothing more is taken; the call ends when what was taken is answered. */
  private endWith(ending: unknown): void {
    this.ending = ending;
    if (this.over || this.slots.length > this.head) return;
    this.over = true;
    this.call.end(ending ?? undefined);
  }
}

function merged(results: readonly PublishResult[], bad: Map<number, PublishResult>, count: number): PublishResult[] {
  let next = 0;
  return Array.from({ length: count }, (_, i) => bad.get(i) ?? (results[next++] as PublishResult));
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
