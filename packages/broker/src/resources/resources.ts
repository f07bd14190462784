/**
 * Resources over the registry: apply, get, list, watch, delete (architecture §5). One service for all kinds; what is
 * special to a kind is in its own file. Every call asks `authorize` first, and answers only with what is durable.
 *
 * Apply is all or nothing per document: a document is judged whole (contracts/resources, then its kind), and is then one
 * change of the registry. What a document does not say takes its default; labels and annotations are merged; status is
 * written by the server alone.
 */
import { type Clock, HadronError, type Random } from '@hadron/base';
import {
  type Change,
  changesBetween,
  type FieldError,
  type Kind,
  kindNamed,
  KINDS,
  type Labels,
  type Resource,
  type Selector,
  validate,
  type Wanted,
} from '@hadron/contracts/resources';
import type { Authorize, Identity } from '../authorize.ts';
import type { Deliveries } from '../delivery/deliveries.ts';
import type { Registry, Resource as Stored, ResourceEvent } from '../state/registry.ts';
import type { Topics } from '../streams/topics.ts';
import { type Desired, type KindService, type Loss, type Plan, Refusal } from './kind.ts';
import { StreamKind } from './streams.ts';
import { assertUnused, usersOf } from './stream-users.ts';
import { SubscriptionKind } from './subscriptions.ts';

export interface ResourcesOptions {
  readonly registry: Registry;
  readonly topics: Topics;
  readonly clock: Clock;
  readonly random: Random;
  /** The one namespace of this server. */
  readonly namespace: string;
  readonly authorize: Authorize;
  readonly deliveries: Pick<Deliveries, 'buryingIn'>;
  /** What a door knows of a stream for its status, e.g. addresses. By topic name. */
  readonly streamStatus?: ((topic: string) => Readonly<Record<string, unknown>>) | undefined;
}

/** What became of one document. */
export interface ApplyResult {
  /** Which document of the input, from 1. */
  readonly document: number;
  readonly kind: string;
  readonly name: string;
  readonly result: 'created' | 'configured' | 'unchanged' | 'refused';
  /** Of a refusal: RESOURCE_INVALID, RESOURCE_CONFLICT, PERMISSION_DENIED, STORAGE_… */
  readonly code?: string;
  /** What changed, or in a dry run would; after a conflict, what differs between the resource and the document. */
  readonly changes: readonly Change[];
  readonly errors: readonly FieldError[];
  /** Things to know, as sentences. */
  readonly warnings: readonly string[];
  /** Records that went with their partitions. */
  readonly lost?: readonly Loss[];
  /** As it is now. Not in a dry run that would change it, nor where it was refused. */
  readonly object?: Resource;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: Resource;
}

export interface WatchListener {
  event(event: WatchEvent): void;
  /** Told once: the server stops or its disk failed. Watch again from the version of the last event. */
  ended(error: HadronError): void;
}

interface Named {
  readonly kind: string;
  readonly name: string;
}

export class Resources {
  /** For the worker that delivers them. */
  readonly subscriptions: SubscriptionKind;
  private readonly options: ResourcesOptions;
  private readonly kinds: ReadonlyMap<string, KindService<unknown>>;
  private readonly watches = new Set<(error: HadronError) => void>();

  constructor(options: ResourcesOptions) {
    this.options = options;
    const { registry, topics, random, namespace, clock, streamStatus } = options;
    this.subscriptions = new SubscriptionKind({
      registry,
      topics,
      random,
      namespace,
      wallMs: () => clock.wallMs(),
    });
    const streams = new StreamKind({ topics, namespace, statusOf: streamStatus ?? (() => ({})) });
    this.kinds = new Map<string, KindService<unknown>>([
      [streams.kind, streams as KindService<unknown>],
      [this.subscriptions.kind, this.subscriptions as KindService<unknown>],
    ]);
  }

  /**
   * Applies documents: Streams first, so that others may name them. Resolves when all of it is durable, with a result per
   * document in their order; a refused document changes nothing and hinders no other.
   * @throws HadronError STORAGE_… when durability failed: read again what is there
   */
  async apply(
    identity: Identity,
    documents: readonly unknown[],
    options: { readonly dryRun?: boolean } = {},
  ): Promise<ApplyResult[]> {
    const dryRun = options.dryRun === true;
    const results: ApplyResult[] = [];
    const valid: { readonly wanted: Wanted; readonly document: number }[] = [];
    for (const [i, value] of documents.entries()) {
      const document = i + 1;
      const checked = validate(value, document);
      if (checked.ok) valid.push({ wanted: checked.wanted, document });
      else {
        const { kind, name, errors } = checked;
        results[i] = refusal(document, { kind, name }, 'RESOURCE_INVALID', errors);
      }
    }
    valid.sort((a, b) => KINDS.indexOf(a.wanted.kind) - KINDS.indexOf(b.wanted.kind) || a.document - b.document);
    const pending = new Set<string>();
    for (const { wanted, document } of valid)
      results[document - 1] = this.applyOne(identity, wanted, document, dryRun, pending);
    await this.durable();
    return results;
  }

  /** Resolves when what it says is durable. @throws HadronError RESOURCE_NOT_FOUND, STORAGE_… */
  async get(identity: Identity, kindName: string, name: string): Promise<Resource> {
    const kind = this.kindOf(kindName);
    this.options.authorize(identity, 'read', { kind: kind.kind, name });
    const found = this.lookUp(kind, name);
    await this.durable();
    if (found === undefined) throw notFound(kind.kind, name);
    return found;
  }

  /** By name. `resourceVersion` is where a watch goes on. @throws HadronError RESOURCE_NOT_FOUND (kind), STORAGE_… */
  async list(
    identity: Identity,
    kindName: string,
    selector: Selector = everything,
  ): Promise<{ readonly resourceVersion: string; readonly items: readonly Resource[] }> {
    const kind = this.kindOf(kindName);
    this.options.authorize(identity, 'read', { kind: kind.kind, name: undefined });
    const resourceVersion = String(this.options.registry.revision);
    const items = this.all(kind).filter((r) => selector(labelsOf(r)));
    items.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    await this.durable();
    return { resourceVersion, items };
  }

  /**
   * Tells of every change behind `resourceVersion`, in order and when durable; without one, of everything there is first.
   * A resource that a change brings into the selection is ADDED, one that it takes out is DELETED. Nothing is told before
   * this returns.
   * @returns a function that ends it
   * @throws HadronError RESOURCE_NOT_FOUND (kind); RESOURCE_CONFLICT: that version is too long ago, list again
   */
  watch(
    identity: Identity,
    kindName: string,
    options: { readonly resourceVersion?: string | undefined; readonly selector?: Selector | undefined },
    listener: WatchListener,
  ): () => void {
    const { registry, authorize } = this.options;
    const kind = this.kindOf(kindName);
    authorize(identity, 'read', { kind: kind.kind, name: undefined });
    const { selector = everything, resourceVersion } = options;
    const visible = (stored: Stored | undefined): Resource | undefined => {
      const resource = stored === undefined ? undefined : kind.present(stored);
      return resource !== undefined && selector(labelsOf(resource)) ? resource : undefined;
    };
    const asEvent = ({ type, resource, previous, revision }: ResourceEvent): WatchEvent | undefined => {
      const before = visible(previous);
      const now = type === 'delete' ? undefined : visible(resource);
      if (now !== undefined) return { type: before === undefined ? 'ADDED' : 'MODIFIED', object: now };
      if (before === undefined) return undefined;
      // The version of the deletion, so that a watch goes on behind it.
      return {
        type: 'DELETED',
        object: { ...before, metadata: { ...before.metadata, resourceVersion: String(revision) } },
      };
    };
    const first =
      resourceVersion === undefined
        ? this.all(kind)
            .filter((r) => selector(labelsOf(r)))
            .map((object): WatchEvent => ({ type: 'ADDED', object }))
        : this.since(kind, resourceVersion).map(asEvent);

    let over = false;
    const end = (error?: HadronError): void => {
      if (over) return;
      over = true;
      stop();
      this.watches.delete(end);
      if (error !== undefined) listener.ended(error);
    };
    // What was durable at once is told later all the same, so what comes behind waits for it.
    const queue: { readonly events: readonly (WatchEvent | undefined)[]; isDurable: boolean }[] = [];
    const tell = (events: readonly (WatchEvent | undefined)[]): void => {
      const entry = { events, isDurable: false };
      queue.push(entry);
      registry.whenDurable({
        committed() {
          entry.isDurable = true;
          while (queue[0]?.isDurable === true) {
            for (const event of queue.shift()?.events ?? []) if (!over && event !== undefined) listener.event(event);
          }
        },
        failed: end,
      });
    };
    const stop = registry.watch(kind.stored, (event) => tell([asEvent(event)]));
    this.watches.add(end);
    if (first.length > 0) tell(first);
    return () => end();
  }

  /**
   * Deletes a resource; resolves when that is durable.
   * @param options.cascade with the Subscriptions of a Stream; also when others put their dead letters there
   * @returns what was deleted
   * @throws HadronError RESOURCE_NOT_FOUND, RESOURCE_IN_USE naming who uses it, STORAGE_…
   */
  async delete(
    identity: Identity,
    kindName: string,
    name: string,
    options: { readonly cascade?: boolean; readonly dryRun?: boolean } = {},
  ): Promise<readonly Named[]> {
    const { authorize, registry, deliveries } = this.options;
    const kind = this.kindOf(kindName);
    authorize(identity, 'delete', { kind: kind.kind, name });
    const key = kind.keyOf(name);
    if (key === undefined) throw notFound(kind.kind, name);
    const users = kind.kind === 'Stream' ? usersOf(name, registry, deliveries) : [];
    if (options.cascade !== true) assertUnused(name, users);
    const dependants = users.flatMap((u) => (u.subscription === undefined ? [] : [u.subscription]));
    for (const subscription of dependants) authorize(identity, 'delete', { kind: 'Subscription', name: subscription });
    if (options.dryRun !== true) {
      for (const subscription of dependants) this.subscriptions.remove(subscription);
      kind.remove(key);
    }
    await this.durable();
    return [...dependants.map((d) => ({ kind: 'Subscription', name: d })), { kind: kind.kind, name }];
  }

  /** Ends all watches: this life of the broker is over. */
  close(error: HadronError): void {
    for (const end of [...this.watches]) end(error);
  }

  private applyOne(
    identity: Identity,
    wanted: Wanted,
    document: number,
    dryRun: boolean,
    pending: Set<string>,
  ): ApplyResult {
    const { name } = wanted.metadata;
    const kind = this.kindOf(wanted.kind.kind);
    const who = { kind: kind.kind, name };
    try {
      const present = this.lookUp(kind, name);
      this.options.authorize(identity, present === undefined ? 'create' : 'change', who);
      const desired: Desired = {
        name,
        metadata: wanted.metadata,
        spec: wanted.spec,
        labels: merged(present?.metadata.labels, wanted.metadata.labels),
        annotations: merged(present?.metadata.annotations, wanted.metadata.annotations),
      };
      this.checkNamespace(wanted);
      const conflict = conflictOf(wanted, present);
      if (conflict !== undefined) {
        const { path, ...rest } = conflict;
        const differ = changesOf(present, desired, { spec: wanted.spec });
        return { ...refusal(document, who, 'RESOURCE_CONFLICT', [{ document, path, ...rest }]), changes: differ };
      }
      const plan = kind.plan(desired, present, pending);
      const changes = changesOf(present, desired, plan);
      const result = present === undefined ? 'created' : changes.length === 0 ? 'unchanged' : 'configured';
      if (result !== 'unchanged' && !dryRun) plan.commit();
      pending.add(`${kind.kind}/${name}`);
      const object = dryRun && result !== 'unchanged' ? undefined : this.lookUp(kind, name);
      return {
        document,
        ...who,
        result,
        changes,
        errors: [],
        warnings: plan.warnings,
        ...(plan.lost === undefined ? {} : { lost: plan.lost }),
        ...(object === undefined ? {} : { object }),
      };
    } catch (error) {
      if (error instanceof Refusal) {
        const errors = error.faults.map((fault) => ({ document, ...fault }));
        return refusal(document, who, 'RESOURCE_INVALID', errors);
      }
      if (!(error instanceof HadronError)) throw error;
      return refusal(document, who, error.code, [{ document, path: error.field ?? '', message: error.detail }]);
    }
  }

  /** @throws Refusal */
  private checkNamespace({ metadata: { namespace } }: Wanted): void {
    const own = this.options.namespace;
    if (namespace === undefined || namespace === own) return;
    throw new Refusal({ path: 'metadata.namespace', value: namespace, message: 'is another server', allowed: own });
  }

  private lookUp(kind: KindService<unknown>, name: string): Resource | undefined {
    const key = kind.keyOf(name);
    const stored = key === undefined ? undefined : this.options.registry.get(kind.stored, key);
    return stored === undefined ? undefined : kind.present(stored);
  }

  private all(kind: KindService<unknown>): Resource[] {
    return [...this.options.registry.list(kind.stored)].flatMap((stored) => kind.present(stored) ?? []);
  }

  private since(kind: KindService<unknown>, resourceVersion: string): ResourceEvent[] {
    const revision = /^\d{1,15}$/.test(resourceVersion) ? Number(resourceVersion) : Number.NaN;
    const events = this.options.registry.since(kind.stored, revision);
    if (events !== undefined) return events;
    throw new HadronError(
      'RESOURCE_CONFLICT',
      `changes behind resourceVersion ${JSON.stringify(resourceVersion.slice(0, 32))} are not remembered (any more); list again and watch from there`,
      { field: 'resourceVersion' },
    );
  }

  private kindOf(name: string): KindService<unknown> {
    const kind: Kind | undefined = kindNamed(name);
    const service = kind === undefined ? undefined : this.kinds.get(kind.kind);
    if (service !== undefined) return service;
    const known = [...this.kinds.keys()].join(', ');
    throw new HadronError(
      'RESOURCE_NOT_FOUND',
      `there is no kind ${JSON.stringify(name.slice(0, 100))}; there are ${known}`,
    );
  }

  private durable(): Promise<void> {
    const { registry } = this.options;
    if (registry.isDurable) return Promise.resolve();
    return new Promise((committed, failed) => registry.whenDurable({ committed, failed }));
  }
}

const everything: Selector = () => true;
const labelsOf = (resource: Resource): Labels => resource.metadata.labels ?? {};

const notFound = (kind: string, name: string): HadronError =>
  new HadronError('RESOURCE_NOT_FOUND', `there is no ${kind} ${JSON.stringify(name.slice(0, 300))}`);

function refusal(document: number, { kind, name }: Named, code: string, errors: readonly FieldError[]): ApplyResult {
  return { document, kind, name, result: 'refused', code, changes: [], errors, warnings: [] };
}

/** Null removes; what is not named stays. */
function merged(
  present: Readonly<Record<string, string>> = {},
  wanted: Readonly<Record<string, string | null>> = {},
): Record<string, string> {
  const all = Object.entries<string | null>({ ...present, ...wanted });
  return Object.fromEntries(all.filter((entry): entry is [string, string] => entry[1] !== null));
}

/** Why a document that names a version or an incarnation is not of this one. */
function conflictOf({ metadata }: Wanted, present: Resource | undefined): Omit<FieldError, 'document'> | undefined {
  for (const field of ['uid', 'resourceVersion'] as const) {
    const asked = metadata[field];
    const is = present?.metadata[field];
    if (asked === undefined || asked === is) continue;
    const message =
      is === undefined
        ? 'names a resource that is not there any more'
        : field === 'uid'
          ? 'is another incarnation: it was deleted and created again'
          : 'was changed meanwhile; get it again and repeat your change';
    return { path: `metadata.${field}`, value: asked, message, allowed: is ?? 'nothing, to create it' };
  }
  return undefined;
}

/** What a plan changes, as people read it. Secrets are named, never shown. */
function changesOf(present: Resource | undefined, desired: Desired, plan: Pick<Plan, 'spec' | 'secrets'>): Change[] {
  const shown = (labels: object | undefined, annotations: object | undefined, spec: unknown): object => ({
    metadata: { labels: labels ?? {}, annotations: annotations ?? {} },
    spec,
  });
  const { labels, annotations } = present?.metadata ?? {};
  return [
    ...changesBetween(
      shown(labels, annotations, present?.spec ?? {}),
      shown(desired.labels, desired.annotations, plan.spec),
    ),
    ...(plan.secrets ?? []).map((path) => ({ path, to: '(secret)' })),
  ];
}
