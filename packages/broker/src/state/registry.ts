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

export type ResourceEvent<T = unknown> =
  | { readonly type: 'put'; readonly resource: Resource<T> }
  | { readonly type: 'delete'; readonly resource: Resource<T> };

/** The record layout: key `kind/name`, value JSON `{v: 1, revision, value}`. */
const VALUE_VERSION = 1;

export class Registry implements Replayed {
  private readonly log: StateLog;
  private readonly kinds = new Map<string, Map<string, Resource>>();
  private readonly watchers = new Map<string, Set<(event: ResourceEvent) => void>>();
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
    const record = {
      key: Buffer.from(`${kind}/${name}`),
      value: Buffer.from(JSON.stringify({ v: VALUE_VERSION, revision: resource.revision, value })),
    };
    this.log.append([record], options.with);
    this.replay(record);
    return this.get<T>(kind, name) as Resource<T>;
  }

  /** @throws HadronError PRECONDITION_FAILED, STORAGE_…: nothing happened */
  delete(kind: string, name: string, options: { ifRevision?: number; with?: readonly SetEntry[] } = {}): void {
    this.check(kind, name, options.ifRevision);
    if (this.get(kind, name) === undefined) return;
    const record = { key: Buffer.from(`${kind}/${name}`), value: null };
    this.log.append([record], options.with);
    this.replay(record);
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

  replay(record: StateRecord): void {
    const key = Buffer.from(record.key).toString('utf8');
    const slash = key.indexOf('/');
    const kind = key.slice(0, slash);
    const name = key.slice(slash + 1);
    const resources = this.kinds.get(kind) ?? new Map<string, Resource>();
    this.kinds.set(kind, resources);
    if (record.value === null) {
      const resource = resources.get(name);
      resources.delete(name);
      this.revision++;
      if (resource !== undefined) this.tell(kind, { type: 'delete', resource });
      return;
    }
    const stored = JSON.parse(Buffer.from(record.value).toString('utf8')) as {
      v: number;
      revision: number;
      value: unknown;
    };
    if (stored.v > VALUE_VERSION) {
      throw new HadronError(
        'DATA_FORMAT_NEWER',
        `resource ${key} has format ${stored.v}, this Hadron reads up to ${VALUE_VERSION}; start the newer Hadron that wrote it`,
      );
    }
    this.revision = Math.max(this.revision, stored.revision);
    const resource: Resource = { kind, name, revision: stored.revision, value: stored.value };
    resources.set(name, resource);
    this.tell(kind, { type: 'put', resource });
  }

  *snapshot(): Iterable<StateRecord> {
    for (const [kind, resources] of this.kinds) {
      for (const [name, r] of resources) {
        yield {
          key: Buffer.from(`${kind}/${name}`),
          value: Buffer.from(JSON.stringify({ v: VALUE_VERSION, revision: r.revision, value: r.value })),
        };
      }
    }
    // Deletions count too: the revision must not go back.
    yield {
      key: Buffer.from('_/revision'),
      value: Buffer.from(JSON.stringify({ v: VALUE_VERSION, revision: this.revision, value: null })),
    };
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

  private tell(kind: string, event: ResourceEvent): void {
    for (const fn of this.watchers.get(kind) ?? []) fn(event);
  }
}
