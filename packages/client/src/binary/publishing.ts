/** Publishing over one long call: requests by sequence, answers as they become durable; and the calls under way. */
import type { Clock } from '@hadron/base';
import { HadronError } from '@hadron/base/errors';
import type { PublishCall, PublishResult, StreamInfo } from '@hadron/contracts';
import {
  decodeNewProducerResponse,
  decodePublishResponse,
  encodePublishRequest,
  type ProtoWriter,
  type PublishRequest,
  type PublishResponse,
  type WireError,
} from '@hadron/contracts/protobuf';
import { asHadronError, failure } from '../errors.ts';
import type { Call, Connection } from './connection.ts';
import { type Batch, byPartition, encodeBatch, placeBatch, Producer } from './record-batches.ts';

/** Events of one partition that are not decided: not known to be stored, and not refused. */
interface Part {
  readonly partition: number;
  /** Of the events in the call. */
  readonly indexes: readonly number[];
  /** As it was sent, perhaps more than once; never another for the same events while it may have been stored. */
  batch: Batch | undefined;
}

/** A call that was begun and is not decided. Found again by its object when it is made again. */
interface Undecided {
  readonly info: StreamInfo;
  readonly results: PublishResult[];
  producer: Producer;
  /** Producers that the server would not go on with. */
  fenced: number;
  /** In order; of each partition the first is sent, the others when that is decided. */
  parts: Part[];
}

interface Waiting {
  readonly resolve: (response: PublishResponse) => void;
  readonly reject: (error: HadronError) => void;
}

/** A refusal of these may be about a single event of the batch. */
const ABOUT_ONE_EVENT = new Set([
  'RECORD_TOO_LARGE',
  'RECORD_INVALID',
  'EVENT_TOO_LARGE',
  'EVENT_INVALID',
  'TIMESTAMP_INVALID',
]);
/** The server knows this producer otherwise, or not any more: another one goes on. */
const ABOUT_PRODUCER = new Set(['SEQUENCE_OUT_OF_ORDER', 'PRODUCER_EPOCH_FENCED']);
/** Producers for one call; a server that wants more is broken. */
const PRODUCERS_MAX = 3;
/** The server takes messages of 16 MiB, and closes a call that sends a larger one without a word about the event. */
const REQUEST_BYTES_MAX = 16 * 1024 * 1024 - 64 * 1024;
/** Partitions may be added meanwhile. */
const INFO_KEPT_MS = 60_000;

export class Publishing {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #askInfo: (stream: string) => Promise<StreamInfo>;
  readonly #infos = new Map<string, { readonly info: StreamInfo; readonly askedMs: number }>();
  readonly #undecided = new WeakMap<PublishCall, Undecided>();
  readonly #waiting = new Map<number, Waiting>();
  #producers: Producer[] = [];
  #call: Call | undefined;
  #sequence = 0;
  #keyless = 0;

  constructor(connection: Connection, clock: Clock, askInfo: (stream: string) => Promise<StreamInfo>) {
    this.#connection = connection;
    this.#clock = clock;
    this.#askInfo = askInfo;
  }

  /** @throws HadronError where it is not known of every event what became of it: make the same call again */
  async publish(call: PublishCall): Promise<readonly PublishResult[]> {
    if (call.events.length === 0) return [];
    let state = this.#undecided.get(call);
    if (state === undefined) {
      const info = await this.#info(call.stream);
      const parts = byPartition(call.events, info, call.partition, this.#keyless++);
      state = {
        info,
        results: [],
        fenced: 0,
        producer: this.#producers.pop() ?? (await this.#newProducer()),
        parts: [...parts].map(([partition, indexes]) => ({ partition, indexes, batch: undefined })),
      };
      this.#undecided.set(call, state);
    }
    while (state.parts.length > 0) await this.#round(call, state);
    this.#undecided.delete(call);
    this.#producers.push(state.producer);
    return state.results;
  }

  /** Sends the first part of each partition. @throws HadronError of one of which it is not known whether it was stored */
  async #round(call: PublishCall, state: Undecided): Promise<void> {
    const { info, results } = state;
    const firsts = new Map<number, Part>();
    for (const part of state.parts) if (!firsts.has(part.partition)) firsts.set(part.partition, part);
    const sent = [...firsts.values()];
    const nowMs = this.#clock.wallMs();
    const batches = sent.map(
      (part) =>
        (part.batch ??= encodeBatch(call.events, part.indexes, part.partition, state.producer, info.topicId, nowMs)),
    );
    // A batch is all or none by itself.
    const outcomes =
      call.atomic === true && batches.length > 1
        ? await this.#sendSet(call.stream, batches)
        : await Promise.all(batches.map((batch) => this.#send(call.stream, batch)));
    let unknown: HadronError | undefined;
    let fenced = false;
    const decided = new Map<Part, readonly Part[]>();
    sent.forEach((part, i) => {
      const outcome = outcomes[i] as PublishResponse | HadronError;
      if (!(outcome instanceof HadronError) && outcome.error === undefined) {
        placeBatch(results, part.batch as Batch, outcome.baseOffset);
        decided.set(part, []);
        return;
      }
      const error = outcome instanceof HadronError ? outcome : refusalOf(outcome.error as WireError);
      if (error.effect === 'unknown') unknown ??= error;
      else if (ABOUT_PRODUCER.has(error.code) && state.fenced < PRODUCERS_MAX) {
        fenced = true;
        part.batch = undefined;
      } else if (ABOUT_ONE_EVENT.has(error.code) && part.indexes.length > 1 && call.atomic !== true) {
        decided.set(part, halves(part));
      } else {
        if (error.code === 'TOPIC_NOT_FOUND') this.#infos.delete(call.stream);
        const told = error.code === 'RECORD_TOO_LARGE' ? tooLarge(call.stream, part.batch as Batch) : error;
        for (const index of part.indexes) results[index] = { error: told };
        decided.set(part, []);
      }
    });
    state.parts = state.parts.flatMap((part) => decided.get(part) ?? [part]);
    if (unknown !== undefined) throw unknown;
    if (fenced) {
      state.fenced += 1;
      state.producer = await this.#newProducer();
    }
  }

  /** A lost connection is an outcome too: others of the round have theirs. */
  async #send(stream: string, batch: Batch): Promise<PublishResponse | HadronError> {
    const { partition, bytes } = batch;
    if (bytes.length > REQUEST_BYTES_MAX) return tooLarge(stream, batch);
    try {
      return await this.#request({ stream, events: undefined, recordBatch: bytes, partition, atomic: false });
    } catch (error) {
      return asHadronError(error);
    }
  }

  /** All or none: each batch has the outcome of the set. */
  async #sendSet(stream: string, batches: readonly Batch[]): Promise<readonly (PublishResponse | HadronError)[]> {
    const bytes = batches.reduce((sum, batch) => sum + batch.bytes.length, 0);
    if (bytes > REQUEST_BYTES_MAX) {
      const message = `an atomic set of ${bytes} bytes is more than one request carries (${REQUEST_BYTES_MAX}); publish fewer`;
      const error = new HadronError('EVENT_TOO_LARGE', message);
      return batches.map(() => error);
    }
    const recordBatches = batches.map(({ partition, bytes }) => ({ partition, recordBatch: bytes }));
    let response: PublishResponse | HadronError;
    try {
      response = await this.#request({
        stream,
        events: undefined,
        recordBatch: undefined,
        recordBatches,
        partition: undefined,
        atomic: true,
      });
    } catch (error) {
      response = asHadronError(error);
    }
    return batches.map((_, i) => {
      if (response instanceof HadronError || response.error !== undefined) return response;
      const result = response.results[i];
      if (result !== undefined && 'offset' in result) return { ...response, baseOffset: result.offset };
      return new HadronError('CONNECTION_FAILED', 'the server did not say where a batch of a set lies');
    });
  }

  #request(request: Omit<PublishRequest, 'sequence'>): Promise<PublishResponse> {
    return new Promise((resolve, reject) => {
      const sequence = ++this.#sequence;
      const call = this.#open();
      this.#waiting.set(sequence, { resolve, reject });
      call.send(encodePublishRequest, { ...request, sequence });
    });
  }

  #open(): Call {
    if (this.#call !== undefined) return this.#call;
    const call: Call = this.#connection.call('Publish', {
      message: (bytes) => {
        const response = decodePublishResponse(bytes);
        this.#waiting.get(response.sequence)?.resolve(response);
        this.#waiting.delete(response.sequence);
      },
      ended: (error) => {
        if (this.#call === call) this.#call = undefined;
        const lost = error ?? new HadronError('CONNECTION_FAILED', 'the server ended the call');
        for (const { reject } of this.#waiting.values()) reject(lost);
        this.#waiting.clear();
      },
    });
    this.#call = call;
    return call;
  }

  async #newProducer(): Promise<Producer> {
    const nothing = (_: ProtoWriter): void => undefined;
    const answer = await this.#connection.unary('NewProducer', nothing, undefined, decodeNewProducerResponse);
    return new Producer(answer.producerId, answer.producerEpoch);
  }

  async #info(stream: string): Promise<StreamInfo> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#infos.get(stream);
    if (known !== undefined && nowMs - known.askedMs < INFO_KEPT_MS) return known.info;
    const info = await this.#askInfo(stream);
    this.#infos.set(stream, { info, askedMs: nowMs });
    return info;
  }
}

function tooLarge(stream: string, { bytes, indexes }: Batch): HadronError {
  const what = indexes.length === 1 ? 'the event takes' : 'the events together take';
  return new HadronError(
    'EVENT_TOO_LARGE',
    `${what} ${bytes.length} bytes, more than stream ${stream} (max.message.bytes) or a request (${REQUEST_BYTES_MAX}) ` +
      'can; make it smaller, put its data elsewhere and name it in dataref, or raise the limit',
  );
}

function refusalOf({ code, message, field }: WireError): HadronError {
  return failure(code, message, field === '' ? undefined : field);
}

/** Until the events that are to blame are alone. */
function halves({ partition, indexes }: Part): readonly Part[] {
  const middle = indexes.length >> 1;
  return [indexes.slice(0, middle), indexes.slice(middle)].map((half) => ({
    partition,
    indexes: half,
    batch: undefined,
  }));
}
