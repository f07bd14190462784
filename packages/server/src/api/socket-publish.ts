/**
 * Events in over a WebSocket with the subprotocol `cloudevents.json` (cloudevents.md §6.2): one structured event a message,
 * each answered with an event of ours, in order, when it is durable or refused. What the answer is about: its `data`.
 *
 * Always true: events that are not answered yet are bounded; beyond that the socket is not read.
 */
import { HadronError } from '@hadron/base';
import { parseJsonEvent } from '@hadron/contracts/events';
import type { CloudEvent, PublishResult } from '@hadron/contracts';
import type { RawData, WebSocket } from 'ws';
import { CLOUDEVENTS_PROTOCOL, type SocketCall, type SocketRoute } from './door.ts';
import type { AskServices } from './services.ts';

const UNANSWERED_MAX = 1_000;
const BUFFER_BYTES_MAX = 1024 * 1024;
const GOING_AWAY = 1001;
const UNSUPPORTED = 1003;

export function socketPublishRoute(services: AskServices): SocketRoute {
  return {
    method: 'GET',
    pattern: '/v1/streams/{stream}/events',
    action: 'publish',
    target: (param) => ({ kind: 'Stream', name: param('stream') }),
    protocol: CLOUDEVENTS_PROTOCOL,
    open(call) {
      const publisher = new SocketPublisher(call, services);
      return () => publisher.stop();
    },
  };
}

class SocketPublisher {
  private readonly socket: WebSocket;
  private readonly stream: string;
  private readonly services: AskServices;
  /** Events of this connection so far: what the answers are numbered with. */
  private received = 0;
  private unanswered = 0;
  private readonly answers = new Map<number, string>();
  private next = 0;

  constructor({ socket, param }: SocketCall, services: AskServices) {
    this.socket = socket;
    this.stream = param('stream');
    this.services = services;
    socket.on('message', (data, isBinary) => this.publish(data, isBinary));
  }

  stop(): void {
    this.socket.close(GOING_AWAY);
  }

  private publish(data: RawData, isBinary: boolean): void {
    if (isBinary) return this.socket.close(UNSUPPORTED, 'events are text frames, one in each');
    const number = this.received++;
    if (++this.unanswered === UNANSWERED_MAX) this.socket.pause();
    try {
      const event = parseJsonEvent(data as Buffer);
      this.services().events.publish(this.stream, [event], {}, (error, [result]) =>
        this.answer(number, outcome(event, error, result)),
      );
    } catch (error) {
      if (!(error instanceof HadronError)) throw error;
      this.answer(number, outcome(undefined, error, undefined));
    }
  }

  private answer(number: number, data: { readonly type: string; readonly json: string }): void {
    const { stream } = this;
    const source = JSON.stringify(`/streams/${stream}`);
    this.answers.set(
      number,
      `{"specversion":"1.0","id":"${number}","source":${source},"type":"${data.type}","datacontenttype":"application/json","data":${data.json}}`,
    );
    for (let text = this.answers.get(this.next); text !== undefined; text = this.answers.get(this.next)) {
      this.answers.delete(this.next++);
      this.unanswered--;
      this.socket.send(text, () => this.readOn());
    }
  }

  private readOn(): void {
    if (this.socket.isPaused && this.unanswered < UNANSWERED_MAX && this.socket.bufferedAmount < BUFFER_BYTES_MAX)
      this.socket.resume();
    else if (this.socket.bufferedAmount >= BUFFER_BYTES_MAX) this.socket.pause();
  }
}

function outcome(
  event: CloudEvent | undefined,
  error: HadronError | undefined,
  result: PublishResult | undefined,
): { readonly type: string; readonly json: string } {
  const about = event === undefined ? {} : { id: event.id, source: event.source };
  if (error !== undefined) {
    const { code, field } = error;
    return refused({ ...about, error: { code, message: error.detail, field } });
  }
  if (result === undefined || 'error' in result) return refused({ ...about, ...result });
  return { type: 'rs.hadron.published.v1', json: JSON.stringify({ ...about, ...result }) };
}

function refused(data: object): { readonly type: string; readonly json: string } {
  return { type: 'rs.hadron.refused.v1', json: JSON.stringify(data) };
}
