/**
 * Tails that never end: SSE, and NDJSON that follows. A record is encoded once for all listeners of a stream: whoever is
 * told of the same records gets the same bytes.
 *
 * Always true: what lies in the buffers of a listener's socket is bounded. Above {@link PAUSE_AT_BYTES} its tail rests; one
 * that rests too long, or that its service has ended, is told to come back (`retry:`) and closed. It resumes from disk, by
 * the id of the last event it got.
 */
import { type Clock, Counter, type HadronError, type Timer } from '@hadron/base';
import {
  advanceCursor,
  type EventStreams,
  type Tail,
  type TailFrom,
  type TailListener,
  type TailRecord,
} from '@hadron/broker';
import type { RecordOrigin } from '@hadron/contracts/events';
import type { Socket } from 'node:net';
import type { Call } from './call.ts';
import { lineOf } from './records.ts';

export type TailForm = 'sse' | 'ndjson';

export const TAIL_TYPES: Readonly<Record<TailForm, string>> = {
  sse: 'text/event-stream',
  ndjson: 'application/x-ndjson',
};

const HEARTBEAT_MS = 15_000;
const PAUSE_AT_BYTES = 256 * 1024;
/** A tail may still be told of what was under way when it was paused; beyond this it is closed. */
const BUFFER_BYTES_MAX = 4 * 1024 * 1024;
/** What browsers wait before they come back. */
const RETRY_MS = 1_000;

/** Bytes for all listeners, with the framing of HTTP/1.1 around them. */
interface Frame {
  readonly cursor: string;
  readonly count: number;
  readonly chunk: Buffer;
  /** Without the framing. */
  readonly payload: Buffer;
}

type Frames = WeakMap<TailRecord, Frame>;

export class Tails {
  readonly opened = new Counter();
  /** Closed because they did not keep up. */
  readonly lagged = new Counter();
  readonly sentEvents = new Counter();
  private readonly open = new Set<TailStream>();
  private readonly clock: Clock;
  private readonly frames: Readonly<Record<TailForm, Frames>> = { sse: new WeakMap(), ndjson: new WeakMap() };
  private beat: Timer | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get count(): number {
    return this.open.size;
  }

  /**
   * Answers a call with a tail. Resolves when it has begun.
   * @throws HadronError as {@link EventStreams.tail}
   */
  async begin(
    call: Call,
    form: TailForm,
    events: EventStreams,
    origin: RecordOrigin,
    from: TailFrom,
    limit: number,
  ): Promise<void> {
    // The place first: an id before any event lets a listener of `latest` come back to where it began.
    const { cursor } = await events.page(origin.name, from, { records: 0, bytes: 0 });
    if (call.response.destroyed) return;
    const stream = new TailStream(this, call, form, origin, from.partition, cursor, limit);
    this.open.add(stream);
    this.opened.value++;
    stream.onClosed = () => this.open.delete(stream);
    this.beat ??= this.clock.setTimer(HEARTBEAT_MS, () => this.heartbeat());
    await stream.begin(events);
  }

  stop(): void {
    for (const stream of this.open) stream.finish();
    this.beat?.cancel();
    this.beat = undefined;
  }

  /** The bytes for `records`, made at most once for all listeners at the same place. */
  frame(
    form: TailForm,
    origin: RecordOrigin,
    partition: number | undefined,
    before: string,
    records: readonly TailRecord[],
    cursor: string,
  ): Frame {
    const last = records.at(-1) as TailRecord;
    const known = this.frames[form].get(last);
    if (known !== undefined && known.cursor === cursor && known.count === records.length) return known;
    let text = '';
    let at = before;
    for (const record of records) {
      const line = lineOf(origin, record);
      if (form === 'ndjson') text += `${line}\n`;
      else {
        at = record === last ? cursor : advanceCursor(origin.topicId, partition, at, record);
        text += `id: ${at}\ndata: ${line}\n\n`;
      }
    }
    const frame = { cursor, count: records.length, ...chunked(text) };
    this.frames[form].set(last, frame);
    return frame;
  }

  private heartbeat(): void {
    this.beat = this.open.size === 0 ? undefined : this.clock.setTimer(HEARTBEAT_MS, () => this.heartbeat());
    for (const stream of this.open) stream.heartbeat();
  }
}

function chunked(text: string): { chunk: Buffer; payload: Buffer } {
  const bytes = Buffer.byteLength(text);
  const head = `${bytes.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafe(head.length + bytes + 2);
  chunk.write(head, 0, 'latin1');
  chunk.write(text, head.length, 'utf8');
  chunk.write('\r\n', head.length + bytes, 'latin1');
  return { chunk, payload: chunk.subarray(head.length, head.length + bytes) };
}

/** A comment: it keeps proxies from closing what is idle, and finds out who is gone. */
const BEAT = chunked(':\n\n');
const COME_BACK = chunked(`retry: ${RETRY_MS}\n\n`);

/** One listener. */
class TailStream implements TailListener {
  onClosed: (() => void) | undefined;
  private readonly tails: Tails;
  private readonly call: Call;
  private readonly form: TailForm;
  private readonly origin: RecordOrigin;
  private readonly partition: number | undefined;
  /** HTTP/1.1: chunks go to the socket as they are. Else Node frames them. */
  private readonly socket: Socket | undefined;
  private tail: Tail | undefined;
  private cursor: string;
  private left: number;
  private isPaused = false;
  /** Heartbeats since it was paused. */
  private beatsPaused = 0;
  private isFinished = false;

  constructor(
    tails: Tails,
    call: Call,
    form: TailForm,
    origin: RecordOrigin,
    partition: number | undefined,
    cursor: string,
    limit: number,
  ) {
    this.tails = tails;
    this.call = call;
    this.form = form;
    this.origin = origin;
    this.partition = partition;
    this.cursor = cursor;
    this.left = limit;
    const { request, response } = call;
    // Without a socket of its own yet: an earlier answer of this connection is under way.
    this.socket = request.httpVersionMajor === 1 ? (response.socket ?? undefined) : undefined;
  }

  async begin(events: EventStreams): Promise<void> {
    const { response } = this.call;
    const framing = this.socket === undefined ? [] : ['transfer-encoding', 'chunked'];
    response.writeHead(200, ['content-type', TAIL_TYPES[this.form], 'cache-control', 'no-store', ...framing]);
    response.flushHeaders();
    response.once('close', () => this.closed());
    (this.socket ?? response).on('drain', this.drained);
    if (this.call.headOnly) return this.finish();
    if (this.form === 'sse') this.write(chunked(`id: ${this.cursor}\n\n`));
    const tail = await events.tail(
      this.origin.name,
      { from: { cursor: this.cursor }, partition: this.partition },
      this,
    );
    if (this.isFinished) tail.close();
    else {
      this.tail = tail;
      if (this.isPaused) tail.pause();
    }
  }

  records(records: readonly TailRecord[], cursor: string): void {
    if (this.isFinished || records.length === 0) return;
    if (records.length > this.left) {
      const wanted = records.slice(0, this.left);
      return this.records(wanted, this.behind(wanted));
    }
    const frame = this.tails.frame(this.form, this.origin, this.partition, this.cursor, records, cursor);
    this.cursor = cursor;
    this.tails.sentEvents.value += records.length;
    this.left -= records.length;
    this.write(frame);
    if (this.left === 0) this.finish();
  }

  /** The stream is gone, or the broker begins anew: whoever comes back learns which. */
  ended(_error: HadronError | undefined): void {
    this.finish();
  }

  heartbeat(): void {
    if (!this.isPaused) {
      if (this.form === 'sse') this.write(BEAT);
      return;
    }
    if (++this.beatsPaused < 2) return;
    // It has read nothing for a while. The second time it will not read its farewell either.
    if (this.isFinished) this.call.response.destroy();
    else this.lag();
  }

  /** Ends the answer; SSE is told to come back. */
  finish(): void {
    if (this.isFinished) return;
    if (this.form === 'sse' && !this.call.headOnly) this.write(COME_BACK);
    this.isFinished = true;
    this.tail?.close();
    this.call.response.end();
  }

  private behind(records: readonly TailRecord[]): string {
    const advance = (at: string, record: TailRecord): string =>
      advanceCursor(this.origin.topicId, this.partition, at, record);
    return records.reduce(advance, this.cursor);
  }

  private lag(): void {
    this.tails.lagged.value++;
    this.beatsPaused = 0;
    this.finish();
  }

  private write({ chunk, payload }: { readonly chunk: Buffer; readonly payload: Buffer }): void {
    const { response } = this.call;
    if (response.destroyed || this.isFinished) return;
    if (this.socket === undefined) response.write(payload);
    else this.socket.write(chunk);
    const buffered = (this.socket ?? response).writableLength;
    if (buffered <= PAUSE_AT_BYTES) return;
    if (!this.isPaused) {
      this.isPaused = true;
      this.beatsPaused = 0;
      this.tail?.pause();
    } else if (buffered > BUFFER_BYTES_MAX) this.lag();
  }

  private readonly drained = (): void => {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.tail?.resume();
  };

  private closed(): void {
    this.isFinished = true;
    this.socket?.off('drain', this.drained);
    this.tail?.close();
    this.onClosed?.();
  }
}
