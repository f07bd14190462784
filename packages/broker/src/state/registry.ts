/**
 * The registry: revisioned resources with watch and compare-and-set, stored in a log (architecture §5). Topics, their
 * configs, the producer-id block live here; later every kind of resource, with etcd or Kubernetes behind the same words.
 *
 * A change is applied in memory at once and durable with the LSN it returns. Whoever answers from the registry waits for
 * {@link Registry.whenDurable} first.
 */
import { HadronError } from '@hadron/base';
import type { CommitWaiter, SetEntry } from '@hadron/log';
import type { Replayed, StateLog, StateRecord } from './state-log.ts';

export interface Resource<T = unknown> {
  readonly kind: string;
  readonly name: string;
  /** Revision of the registry at which it was last changed; grows with every change of anything. */
  readonly revision: number;
  readonly value: T;
}

export interface ResourceEvent<T = unknown> {
  readonly type: 'put' | 'delete';
  /** As it is now, or was when it was deleted. */
  readonly resource: Resource<T>;
  /** Undefined: it was created. */
  readonly previous: Resource<T> | undefined;
  /** Of the registry with this change. */
  readonly revision: number;
}

/**
 * The record layout: key `kind/name`, value JSON `{v: 1, revision, value}`; null deletes. Two records are no resources:
 * `_/revision`, last in a snapshot, is how far it goes; `_/deletion` says at which revision the record behind it deletes.
 */
const VALUE_VERSION = 1;
const REVISION_KEY = '_/revision';
const DELETION_KEY = '_/deletion';
/** What is remembered of changes, for those who watch from a revision. */
const HISTORY_EVENTS = 1_000;
const HISTORY_BYTES = 4 * 1024 * 1024;

export class Registry implements Replayed {
  private readonly log: StateLog;
  private readonly kinds = new Map<string, Map<string, Resource>>();
  private readonly watchers = new Map<string, Set<(event: ResourceEvent) => void>>();
  /** The latest changes, oldest first: all those behind {@link historyFrom}. */
  private readonly history: { readonly event: ResourceEvent; readonly bytes: number }[] = [];
  private historyBytes = 0;
  private historyFrom = 0;
  /** Revision of the deletion that comes next in the log. */
  private deletion: number | undefined;
  /** Revision of the last change. */
  revision = 0;

  constructor(log: StateLog) {
    this.log = log;
  }

  get<T>(kind: string, name: string): Resource<T> | undefined {
    return this.kinds.get(kind)?.get(name) as Resource<T> | undefined;
  }

  *list<T>(kind: string): IterableIterator<Resource<T>> {
    for (const r of this.kinds.get(kind)?.values() ?? []) yield r as Resource<T>;
  }

  /**
   * Creates or replaces a resource.
   * @param options.ifRevision the revision it must have; 0 = it must not exist
   * @param options.with changes that must be durable together with this one
   * @throws HadronError PRECONDITION_FAILED, STORAGE_…: nothing happened
   */
  put<T>(
    kind: string,
    name: string,
    value: T,
    options: { ifRevision?: number; with?: readonly SetEntry[] } = {},
  ): Resource<T> {
    this.check(kind, name, options.ifRevision);
    const resource: Resource<T> = { kind, name, revision: this.revision + 1, value };
    const record = encode(`${kind}/${name}`, resource.revision, value);
    this.log.append([record], options.with);
    this.replay(record);
    return this.get<T>(kind, name) as Resource<T>;
  }

  /** @throws HadronError PRECONDITION_FAILED, STORAGE_…: nothing happened */
  delete(kind: string, name: string, options: { ifRevision?: number; with?: readonly SetEntry[] } = {}): void {
    this.check(kind, name, options.ifRevision);
    if (this.get(kind, name) === undefined) return;
    const records = [
      encode(DELETION_KEY, this.revision + 1, null),
      { key: Buffer.from(`${kind}/${name}`), value: null },
    ];
    this.log.append(records, options.with);
    for (const record of records) this.replay(record);
  }

  /**
   * All changes of a kind behind `revision`, in order, also those before the last start.
   * @returns undefined when that is too long ago, or still to come
   */
  since<T>(kind: string, revision: number): ResourceEvent<T>[] | undefined {
    if (!(revision >= this.historyFrom && revision <= this.revision)) return undefined;
    return this.history
      .map(({ event }) => event as ResourceEvent<T>)
      .filter((event) => event.resource.kind === kind && event.revision > revision);
  }

  /** Calls `fn` for every change of this kind from now on, in order. @returns a function that ends it */
  watch<T>(kind: string, fn: (event: ResourceEvent<T>) => void): () => void {
    const set = this.watchers.get(kind) ?? new Set();
    this.watchers.set(kind, set);
    set.add(fn as (event: ResourceEvent) => void);
    return () => set.delete(fn as (event: ResourceEvent) => void);
  }

  /** Whether everything the registry says is durable. */
  get isDurable(): boolean {
    return this.log.shard.isDurable(this.log.log.lastLsn);
  }

  whenDurable(waiter: CommitWaiter): void {
    this.log.whenDurable(waiter);
  }

  /** Doing this twice, or over a snapshot that knows more, changes nothing. */
  replay(record: StateRecord): void {
    const key = Buffer.from(record.key).toString('utf8');
    const slash = key.indexOf('/');
    const kind = key.slice(0, slash);
    const name = key.slice(slash + 1);
    const previous = this.get(kind, name);
    if (record.value === null) {
      // Logs older than `_/deletion` do not say it.
      const revision = this.deletion ?? this.revision + 1;
      this.deletion = undefined;
      this.revision = Math.max(this.revision, revision);
      if (previous === undefined || previous.revision > revision) return;
      this.kinds.get(kind)?.delete(name);
      this.tell({ type: 'delete', resource: previous, previous, revision }, key.length);
      return;
    }
    const { v, revision, value } = JSON.parse(Buffer.from(record.value).toString('utf8')) as Stored;
    if (v > VALUE_VERSION) {
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `resource ${key} has format ${v}, this Hadron reads up to ${VALUE_VERSION}; start the newer Hadron that wrote it`,
      );
    }
    if (key === DELETION_KEY) {
      this.deletion = revision;
      return;
    }
    this.revision = Math.max(this.revision, revision);
    if (key === REVISION_KEY) {
      this.forget(revision);
      return;
    }
    if (previous !== undefined && previous.revision > revision) return;
    const resource: Resource = { kind, name, revision, value };
    const resources = this.kinds.get(kind) ?? new Map<string, Resource>();
    this.kinds.set(kind, resources);
    resources.set(name, resource);
    this.tell({ type: 'put', resource, previous, revision }, record.value.length);
  }

  *snapshot(): Iterable<StateRecord> {
    for (const [kind, resources] of this.kinds) {
      for (const [name, r] of resources) yield encode(`${kind}/${name}`, r.revision, r.value);
    }
    // Deletions count too: the revision must not go back.
    yield encode(REVISION_KEY, this.revision, null);
  }

  private check(kind: string, name: string, ifRevision: number | undefined): void {
    if (ifRevision === undefined) return;
    const now = this.get(kind, name)?.revision ?? 0;
    if (now !== ifRevision) {
      throw new HadronError(
        'PRECONDITION_FAILED',
        `${kind} ${name} is at revision ${now}, not ${ifRevision}; read it again and retry`,
      );
    }
  }

  private tell(event: ResourceEvent, bytes: number): void {
    if (event.revision > this.historyFrom) {
      this.history.push({ event, bytes });
      this.historyBytes += bytes;
      const excess = this.history.length > HISTORY_EVENTS || this.historyBytes > HISTORY_BYTES;
      // By the quarter, because the front of an array is dear to cut.
      if (excess) this.forget((this.history[this.history.length >> 2] as { event: ResourceEvent }).event.revision);
    }
    for (const fn of [...(this.watchers.get(event.resource.kind) ?? [])]) fn(event);
  }

  /** Changes up to `revision` are not remembered any more. */
  private forget(revision: number): void {
    this.historyFrom = Math.max(this.historyFrom, revision);
    const kept = this.history.findIndex(({ event }) => event.revision > this.historyFrom);
    const gone = this.history.splice(0, kept < 0 ? this.history.length : kept);
    for (const { bytes } of gone) this.historyBytes -= bytes;
  }
}

interface Stored {
  readonly v: number;
  readonly revision: number;
  readonly value: unknown;
}

const encode = (key: string, revision: number, value: unknown): StateRecord => ({
  key: Buffer.from(key),
  value: Buffer.from(JSON.stringify({ v: VALUE_VERSION, revision, value })),
});
