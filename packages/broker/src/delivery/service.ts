/**
 * What the doors know of delivery: sessions, leases, groups, dead letters. Implemented by `delivery/` (README.md there is
 * the map). Every promise and callback that says something is settled comes after the sync that made it so.
 */
import type { HadronError } from '@hadron/base';
import type {
  AnswerResult,
  DeadLetter,
  Filter,
  GroupRequest,
  GroupSettings,
  GroupStatus,
  InFlight,
  Start,
  StreamInfo,
  Verdict,
} from '@hadron/contracts';

/** One record out of a batch, unparsed. */
export interface RecordSlice {
  /** The record as it lies in a record batch v2, without its length prefix; owned by whoever gets it. */
  readonly bytes: Buffer;
  readonly timestampMs: number;
}

/** A delivery on its way out of the broker. */
export interface OutgoingDelivery {
  readonly token: string;
  /** Position of the original event, also in a redrive. */
  readonly partition: number;
  readonly offset: number;
  /** 1 for the first. */
  readonly attempt: number;
  readonly redrive: number;
  /** Lane key, bytes as latin1. Undefined: a lane of its own. */
  readonly lane: string | undefined;
  readonly record: RecordSlice;
}

export interface SessionHandler {
  deliver(deliveries: readonly OutgoingDelivery[]): void;
  withdrawn(tokens: readonly string[]): void;
  /** Told once: the group or stream is gone, the server stops, the session does not keep up. Undefined after close. */
  ended(error: HadronError | undefined): void;
}

export interface AnswerItem {
  readonly token: string;
  readonly verdict: Verdict;
}

/** Over all partitions of the stream that this server leads (D8). */
export interface DeliverySession {
  readonly id: string;
  /** As it was when the session opened: what its records are seen as events by. */
  readonly stream: StreamInfo;
  readonly settings: GroupSettings;
  /** Deliveries that may come beyond those already allowed. Negative takes back what has not been used. */
  credit(count: number): void;
  /** `done` is called when all verdicts are durable, with a result per item in order. */
  answer(items: readonly AnswerItem[], done: (results: readonly AnswerResult[]) => void): void;
  /** Nothing new comes. What is out stays out until it is answered or the session closes. */
  drain(): void;
  /** What is out goes back at once, uncounted (D14). */
  close(): void;
  /** The peer vanished: what is out goes back, counted, by D14. */
  lost(): void;
}

export interface OpenRequest {
  readonly stream: string;
  readonly group: string;
  readonly settings: GroupRequest;
  readonly credit: number;
  /** Only this partition's events: a connection of the original's door is to one partition. Undefined: all. */
  readonly partition?: number;
  /** Who this is, for people: an address. */
  readonly peer?: string;
  /** Where nothing says otherwise: original door = `partition` ordering, `latest`, redelivery without end. */
  readonly defaults?: GroupRequest;
}

export interface PullRequest {
  readonly stream: string;
  readonly group: string;
  readonly settings: GroupRequest;
  readonly max: number;
  readonly waitMs: number;
}

/** Selects dead letters. All given must hold. */
export interface DeadLetterQuery {
  readonly stream: string;
  readonly group?: string | undefined;
  readonly code?: string | undefined;
  readonly filters?: readonly Filter[] | undefined;
  readonly position?: { readonly partition: number; readonly offset: number } | undefined;
  readonly limit?: number | undefined;
}

export interface DeadLetterEntry extends DeadLetter {
  readonly record: RecordSlice;
}

export interface DeliveryService {
  /**
   * Opens a session; creates the group where it is missing, and the stream where auto-creation is on. Resolves when creation
   * is durable (D6).
   * @throws HadronError TOPIC_NOT_FOUND, TOPIC_NAME_INVALID, GROUP_ID_INVALID, GROUP_SETTINGS_DIFFER, FILTER_INVALID, OFFSET_OUT_OF_RANGE, LIMIT_EXCEEDED, STORAGE_…
   */
  open(request: OpenRequest, handler: SessionHandler): Promise<DeliverySession>;
  /** A lease (D8), made as a session is: waits up to `waitMs` for the first, then gives what there is. Cancelled by `signal`. */
  pull(request: PullRequest, signal?: AbortSignal): Promise<readonly OutgoingDelivery[]>;
  /** Answers of leases; also takes tokens of sessions. */
  answer(stream: string, group: string, items: readonly AnswerItem[]): Promise<readonly AnswerResult[]>;

  /** @throws HadronError as {@link open}; GROUP_SETTINGS_DIFFER if it exists otherwise */
  createGroup(
    stream: string,
    group: string,
    settings: GroupRequest,
    startOffsets?: ReadonlyMap<number, number>,
  ): Promise<GroupStatus>;
  groups(stream?: string): Iterable<GroupStatus>;
  /** @throws HadronError GROUP_NOT_FOUND, TOPIC_NOT_FOUND */
  describe(stream: string, group: string): GroupStatus;
  /** Changes settings of a group; a changed filter holds for unread events (D13). Start cannot change: seek. */
  set(stream: string, group: string, settings: GroupRequest): Promise<GroupStatus>;
  pause(stream: string, group: string, paused: boolean): Promise<GroupStatus>;
  /** Floor := that position; what is out is withdrawn (D22). */
  seek(stream: string, group: string, to: Start, partition?: number): Promise<GroupStatus>;
  /** Settles everything up to the end, as skipped. */
  purge(stream: string, group: string): Promise<GroupStatus>;
  remove(stream: string, group: string): Promise<void>;
  inFlight(stream: string, group: string, limit: number): readonly InFlight[];

  /** Open dead letters, oldest first. */
  deadLetters(query: DeadLetterQuery): AsyncIterable<DeadLetterEntry>;
  /** Gives them again to their group, or copies them to a stream. Resolves when durable. */
  redrive(letters: readonly DeadLetter[], to?: string): Promise<number>;
  drop(letters: readonly DeadLetter[]): Promise<number>;
}
