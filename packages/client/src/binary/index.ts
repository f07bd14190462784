/**
 * The transport for Node: HTTP/2 with gRPC framing of its own on the data plane (proto/hadron/v1/streams.proto), record
 * batches with producer ids for publishing, and plain HTTP for the control plane. One connection for everything.
 */
import type { Clock } from '@hadron/base';
import { HadronError } from '@hadron/base/errors';
import type {
  AnswerResult,
  CloudEvent,
  GroupSettings,
  OpenSession,
  PublishCall,
  PublishResult,
  SessionListener,
  StreamInfo,
  TailCall,
  TailedEvent,
  Transport,
  TransportSession,
} from '@hadron/contracts';
import { readRecord, recordToEvent } from '@hadron/contracts/events';
import {
  decodeConsumeResponse,
  decodeInfoResponse,
  decodeTailResponse,
  encodeConsumeRequest,
  encodeInfoRequest,
  encodeTailRequest,
  type WireDelivery,
  type WireTailRecord,
} from '@hadron/contracts/protobuf';
import { closed } from '../errors.ts';
import { httpTransport } from '../http/index.ts';
import { Inbox } from '../inbox.ts';
import { withCursors } from '../tail-cursor.ts';
import { clientClock, onAbort, within } from '../time.ts';
import { type Call, Connection } from './connection.ts';
import { Publishing } from './publishing.ts';

/**
 * Where the server is, and the time.
 *
 * @example
 * ```ts
 * import { type BinaryTransportOptions, binaryTransport } from '@hadron/client/binary';
 * const options: BinaryTransportOptions = { url: 'http://hadron.internal:7000' };
 * const transport = binaryTransport(options);
 * ```
 */
export interface BinaryTransportOptions {
  /** Of the API port: `http://127.0.0.1:7000`. */
  readonly url: string;
  /** Sent as `authorization: bearer …`. */
  readonly token?: string | undefined;
  /** A connection that answers no ping for so long is lost. Milliseconds, default 15,000. */
  readonly pingMs?: number | undefined;
  /** For the timestamps of records. Default: the system's. */
  readonly clock?: Clock | undefined;
}

/**
 * The transport over HTTP/2: the default in Node. Events are published as record batches with producer id and sequence:
 * a retry after a lost answer is stored once.
 *
 * @throws TypeError when the URL is none
 * @example
 * ```ts
 * import { connect } from '@hadron/client';
 * import { binaryTransport } from '@hadron/client/binary';
 * const transport = binaryTransport({ url: 'http://hadron.internal:7000' });
 * const client = connect({ source: '/shop', transport });
 * ```
 */
export function binaryTransport(options: BinaryTransportOptions): Transport {
  return new BinaryTransport(options);
}

const PING_MS = 15_000;
/** What a tail asks before it begins must be answered within this. */
const INFO_MS = 30_000;
/** Batches of a tail that wait for their reader; above it the server is held back. */
const TAIL_BATCHES_MAX = 8;

class BinaryTransport implements Transport {
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #publishing: Publishing;
  readonly #control: Transport;

  constructor({ url, token, pingMs = PING_MS, clock = clientClock }: BinaryTransportOptions) {
    this.#clock = clock;
    this.#connection = new Connection(url, pingMs, token);
    this.#publishing = new Publishing(this.#connection, clock, (stream) => this.info(stream));
    this.#control = httpTransport({ url, token });
  }

  info(stream: string): Promise<StreamInfo> {
    return this.#connection.unary('Info', encodeInfoRequest, stream, decodeInfoResponse);
  }

  publish(call: PublishCall): Promise<readonly PublishResult[]> {
    return this.#publishing.publish(call);
  }

  open(call: OpenSession, listener: SessionListener): Promise<TransportSession> {
    return new Promise((resolve, reject) => {
      const session = new Session(this.#connection, call, listener, resolve, reject);
      session.begin();
    });
  }

  async *tail({ stream, from, partition, signal, onCursor }: TailCall): AsyncIterable<TailedEvent> {
    // Asked each time: a stream that was made again has another id, and may see its records otherwise.
    const info = await within(this.#clock, INFO_MS, this.info(stream), signal);
    if (signal?.aborted === true) return;
    if (info === undefined) throw new HadronError('TIMED_OUT', `no answer within ${INFO_MS} ms`, { effect: 'none' });
    const inbox = new Inbox<readonly TailedEvent[]>();
    let records: WireTailRecord[] = [];
    let waiting = 0;
    const call = this.#connection.call('Tail', {
      message: (bytes) => {
        const response = decodeTailResponse(bytes);
        records.push(...response.records);
        if (response.cursor === '') return; // the place behind comes with the last part
        if (records.length === 0) return onCursor?.(response.cursor);
        const batch = records.map((one) => {
          const { partition: at, offset, record } = one;
          return { partition: at, offset, timestampMs: record.timestampMs, event: eventOf(one, info) };
        });
        records = [];
        if (++waiting > TAIL_BATCHES_MAX) call.pause();
        inbox.push(withCursors(batch, response.cursor, partition));
      },
      ended: (error) =>
        inbox.end(
          error ?? new HadronError('CONNECTION_FAILED', 'the server closed a tail; go on from the last cursor'),
        ),
    });
    const stop = (): void => {
      call.cancel();
      inbox.end(undefined);
    };
    const forget = onAbort(signal, stop);
    call.send(encodeTailRequest, { stream, from, partition });
    call.finish();
    try {
      for await (const batch of inbox) {
        yield* batch;
        if (--waiting === TAIL_BATCHES_MAX) call.resume();
      }
    } finally {
      forget();
      call.cancel();
    }
  }

  request(...request: Parameters<Transport['request']>): Promise<unknown> {
    return this.#control.request(...request);
  }

  async close(): Promise<void> {
    this.#connection.close();
    await this.#control.close();
  }
}

class Session implements TransportSession {
  /** As soon as it is open; nobody has it before. */
  settings!: GroupSettings;
  readonly #call: Call;
  readonly #open: OpenSession;
  readonly #listener: SessionListener;
  readonly #answers = new Map<number, PromiseWithResolvers<readonly AnswerResult[]>>();
  readonly #draining: (() => void)[] = [];
  #opened: ((session: TransportSession) => void) | undefined;
  readonly #refused: (error: Error) => void;
  #stream: EventOrigin;
  #sequence = 0;
  #over = false;
  #leaving: PromiseWithResolvers<void> | undefined;

  constructor(
    connection: Connection,
    open: OpenSession,
    listener: SessionListener,
    opened: (session: TransportSession) => void,
    refused: (error: Error) => void,
  ) {
    this.#open = open;
    this.#stream = { name: open.stream, topicId: '' };
    this.#listener = listener;
    this.#opened = opened;
    this.#refused = refused;
    this.#call = connection.call('Consume', {
      message: (bytes) => this.#received(bytes),
      ended: (error) => this.#ended(error),
    });
  }

  begin(): void {
    const { stream, group, settings, credit } = this.#open;
    const open = { stream, group, settingsJson: JSON.stringify(settings), credit };
    this.#call.send(encodeConsumeRequest, { kind: 'open', open });
  }

  credit(count: number): void {
    this.#call.send(encodeConsumeRequest, { kind: 'credit', credit: count });
  }

  answer(items: Parameters<TransportSession['answer']>[0]): Promise<readonly AnswerResult[]> {
    const waiting = Promise.withResolvers<readonly AnswerResult[]>();
    if (this.#over || this.#leaving !== undefined) {
      waiting.reject(new HadronError('CONNECTION_FAILED', 'the session has ended', { effect: 'none' }));
      return waiting.promise;
    }
    const sequence = ++this.#sequence;
    this.#answers.set(sequence, waiting);
    this.#call.send(encodeConsumeRequest, { kind: 'answers', answers: { sequence, items } });
    return waiting.promise;
  }

  drain(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) return resolve();
      this.#draining.push(resolve);
      this.#call.send(encodeConsumeRequest, { kind: 'drain' });
    });
  }

  /** The end of our side is the end of the session: what is out goes back, answers under way still come. */
  close(): Promise<void> {
    if (this.#over) return Promise.resolve();
    if (this.#leaving === undefined) {
      this.#leaving = Promise.withResolvers<void>();
      this.#call.finish();
    }
    return this.#leaving.promise;
  }

  #received(bytes: Uint8Array): void {
    const response = decodeConsumeResponse(bytes);
    switch (response.kind) {
      case 'opened':
        this.settings = JSON.parse(response.opened.settingsJson) as GroupSettings;
        this.#stream = { name: this.#open.stream, topicId: response.opened.topicId, records: response.opened.records };
        this.#opened?.(this);
        this.#opened = undefined;
        break;
      case 'deliveries': {
        if (this.#leaving !== undefined) break; // nobody is there any more
        const stream = this.#stream;
        this.#listener.deliver(
          response.deliveries.map((one) => {
            const { token, partition, offset, attempt, redrive, lane, record } = one;
            const event = eventOf(one, stream);
            return { token, partition, offset, attempt, redrive, lane, event, timestampMs: record.timestampMs };
          }),
        );
        break;
      }
      case 'answered': {
        const { sequence, results } = response.answered;
        this.#answers.get(sequence)?.resolve(results);
        this.#answers.delete(sequence);
        break;
      }
      case 'withdrawn':
        this.#listener.withdrawn(response.tokens);
        break;
      case 'drained':
        for (const resolve of this.#draining.splice(0)) resolve();
        break;
    }
  }

  #ended(error: HadronError | undefined): void {
    this.#over = true;
    // Without having asked for it there is no good end.
    const lost =
      error ??
      (this.#leaving === undefined ? new HadronError('CONNECTION_FAILED', 'the server ended the session') : undefined);
    for (const { reject } of this.#answers.values()) reject(lost ?? closed('session'));
    this.#answers.clear();
    for (const resolve of this.#draining.splice(0)) resolve();
    if (this.#opened !== undefined) this.#refused(lost ?? closed('session'));
    else this.#listener.ended(this.#leaving === undefined ? lost : undefined);
    this.#leaving?.resolve();
  }
}

/** What events without attributes of their own are named by, and how records are seen as events. */
type EventOrigin = Pick<StreamInfo, 'name' | 'topicId' | 'records'>;

function eventOf(one: WireDelivery | WireTailRecord, { name, topicId, records }: EventOrigin): CloudEvent {
  const { partition, offset, record } = one;
  const { bytes, timestampMs } = record;
  return recordToEvent(readRecord(bytes), { stream: name, topicId, partition, offset, timestampMs, settings: records });
}
