/**
 * What the SDK needs from whatever carries it: in process, binary (HTTP/2), HTTP, WebSocket. One contract suite holds for
 * all (packages/client/src/transport-contract.ts). A transport reconnects nothing and retries nothing: the client does.
 *
 * Every failure is a HadronError. CONNECTION_FAILED has effect `unknown` unless nothing was sent.
 */
import type { GroupRequest, GroupSettings, SettledAs, Verdict } from './delivery.ts';
import type { CloudEvent } from './events/event.ts';
import type { RecordSettings } from './events/record.ts';

export interface PublishedEvent {
  readonly partition: number;
  readonly offset: number;
}

/** One per event, in order. */
export type PublishResult =
  | PublishedEvent
  | {
      readonly error: { readonly code: string; readonly message: string; readonly field?: string | undefined };
    };

export interface PublishCall {
  readonly stream: string;
  readonly events: readonly CloudEvent[];
  /** All or none, and visible together. Default false. */
  readonly atomic?: boolean | undefined;
  /** Undefined: by key. */
  readonly partition?: number | undefined;
}

/** What a client knows of a stream: enough to choose a partition, and to see its records as events. */
export interface StreamInfo {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: number;
  /** How its records are seen as events, where that is not as by default. */
  readonly records?: RecordSettings | undefined;
}

/** An event on its way to a handler. */
export interface TransportDelivery {
  /** Opaque; carried by every answer (D16). */
  readonly token: string;
  readonly partition: number;
  readonly offset: number;
  /** 1 for the first. */
  readonly attempt: number;
  /** 0 unless given again from the dead letters (D20). */
  readonly redrive: number;
  /** Deliveries of one lane run one after another. Undefined: a lane of its own. */
  readonly lane: string | undefined;
  readonly event: CloudEvent;
  /** Timestamp of the record. */
  readonly timestampMs: number;
}

export interface SessionListener {
  deliver(deliveries: readonly TransportDelivery[]): void;
  /** These were taken back and come again, uncounted (D9). Their answers are no longer wanted. */
  withdrawn(tokens: readonly string[]): void;
  /** The session is over; what was out is given to others. Told once; undefined after close or drain. */
  ended(error: Error | undefined): void;
}

export type AnswerResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly settled?: SettledAs | undefined };

export interface TransportSession {
  /** As the group is, which may be older than this session. */
  readonly settings: GroupSettings;
  /** How many deliveries more may come. */
  credit(count: number): void;
  /** Resolves when the verdicts are durable, with a result per item in order. */
  answer(items: readonly { readonly token: string; readonly verdict: Verdict }[]): Promise<readonly AnswerResult[]>;
  /** No new deliveries; what is not answered by the time {@link close} is called returns at once, uncounted. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface OpenSession {
  readonly stream: string;
  readonly group: string;
  /** Fixed when the group is created; another value on an existing group is refused (D5). */
  readonly settings: GroupRequest;
  readonly credit: number;
}

export interface TailCall {
  readonly stream: string;
  /** An offset needs `partition` where the stream has several. */
  readonly from:
    | 'beginning'
    | 'latest'
    | { readonly offset: number }
    | { readonly timeMs: number }
    | { readonly cursor: string };
  readonly partition?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of the place where it begins, before the first event, where the transport knows it: `latest` can be resumed. */
  readonly onCursor?: ((cursor: string) => void) | undefined;
}

export interface TailedEvent {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly event: CloudEvent;
  /** Resumes behind this event, over all partitions. */
  readonly cursor: string;
}

export interface Transport {
  info(stream: string): Promise<StreamInfo>;
  /**
   * Resolves when durable. A transport that numbers its batches knows a call that is made again by the very same object:
   * what was stored the first time is not stored twice.
   * @throws the whole call failed; nothing is known of single events
   */
  publish(call: PublishCall): Promise<readonly PublishResult[]>;
  open(call: OpenSession, listener: SessionListener): Promise<TransportSession>;
  tail(call: TailCall): AsyncIterable<TailedEvent>;
  /** Control plane, as the HTTP API spells it (docs/http-api.md): JSON in, JSON out. */
  request(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown>;
  close(): Promise<void>;
}
