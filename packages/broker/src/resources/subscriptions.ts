/**
 * Kind Subscription: a resource of the registry of its own. Secrets are stored and never told: `present` leaves them out,
 * and only the worker that delivers ({@link SubscriptionKind.all}) sees them.
 */
import { HadronError, type Random, uuid } from '@hadron/base';
import { checkFilters } from '@hadron/contracts/filters';
import {
  API_V1,
  type Condition,
  groupSettingsOf,
  type Resource,
  same,
  SECRET_FIELDS,
  type SubscriptionSpec,
} from '@hadron/contracts/resources';
import type { Registry, Resource as Stored } from '../state/registry.ts';
import type { Topics } from '../streams/topics.ts';
import { STORED_KIND, type StoredSubscription } from './stream-users.ts';
import { type Desired, type KindService, type Plan, Refusal, refuse } from './kind.ts';

/** A Subscription as its worker sees it: with its secrets. */
export interface ActiveSubscription {
  readonly name: string;
  /** Another one when it was deleted and created again. */
  readonly uid: string;
  readonly generation: number;
  readonly spec: SubscriptionSpec;
  /** The group that keeps its progress. */
  readonly group: string;
  /** What was reported of it, also before a restart. */
  readonly conditions: readonly Condition[];
}

/** What the worker says of one. */
export type ConditionReport = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

export interface SubscriptionsOptions {
  readonly registry: Registry;
  readonly topics: Topics;
  readonly random: Random;
  readonly namespace: string;
  readonly wallMs: () => number;
}

const timestamp = (ms: number): string => new Date(ms).toISOString();
const groupOf = (name: string, spec: SubscriptionSpec): string => spec.group ?? name;

export class SubscriptionKind implements KindService<StoredSubscription> {
  readonly kind = 'Subscription';
  readonly stored = STORED_KIND;
  private readonly options: SubscriptionsOptions;

  constructor(options: SubscriptionsOptions) {
    this.options = options;
  }

  keyOf(name: string): string | undefined {
    return this.options.registry.get(STORED_KIND, name) === undefined ? undefined : name;
  }

  present({ name, value, revision }: Stored<StoredSubscription>): Resource {
    const { labels, annotations, generation, uid, createdMs, spec, status } = value;
    return {
      apiVersion: API_V1,
      kind: this.kind,
      metadata: {
        name,
        namespace: this.options.namespace,
        ...(Object.keys(labels).length === 0 ? {} : { labels }),
        ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
        resourceVersion: String(revision),
        generation,
        uid,
        creationTimestamp: timestamp(createdMs),
      },
      spec: withoutSecrets(spec),
      status,
    };
  }

  plan(
    { name, spec: wanted, labels, annotations }: Desired,
    _: Resource | undefined,
    pending: ReadonlySet<string>,
  ): Plan {
    const { registry, topics } = this.options;
    const before = registry.get<StoredSubscription>(STORED_KIND, name);
    const spec = withKeptSecrets(wanted as SubscriptionSpec, before?.value.spec);
    checkCredential(spec);
    checkFiltersOf(spec);
    if (topics.byStreamName(spec.stream) === undefined && !pending.has(`Stream/${spec.stream}`))
      throw refuse(
        'spec.stream',
        spec.stream,
        'there is no Stream of this name',
        'a Stream; create it first or in the same input',
      );
    const twin = [...this.all()].find(
      (other) => other.name !== name && other.spec.stream === spec.stream && other.group === groupOf(name, spec),
    );
    if (twin !== undefined)
      throw refuse(
        'spec.group',
        groupOf(name, spec),
        `is the group of Subscription ${twin.name} already`,
        'another name',
      );
    if (before !== undefined) checkUnchangeable(name, before.value.spec, spec);
    const nowMs = this.options.wallMs();
    return {
      spec: withoutSecrets(spec),
      secrets: changedSecrets(before?.value.spec, spec),
      warnings: [],
      commit: () => {
        const grows = before === undefined || !same(before.value.spec, spec);
        const generation = (before?.value.generation ?? 0) + (grows ? 1 : 0);
        const value: StoredSubscription = {
          uid: before?.value.uid ?? uuid(this.options.random),
          generation,
          createdMs: before?.value.createdMs ?? nowMs,
          labels,
          annotations,
          spec,
          status: before?.value.status ?? { observedGeneration: generation, conditions: [pendingCondition(nowMs)] },
        };
        registry.put(STORED_KIND, name, value, { ifRevision: before?.revision ?? 0 });
      },
    };
  }

  remove(key: string): void {
    this.options.registry.delete(STORED_KIND, key);
  }

  /** Every Subscription, with its secrets: for the worker that delivers. */
  *all(): Generator<ActiveSubscription> {
    for (const stored of this.options.registry.list<StoredSubscription>(STORED_KIND)) yield active(stored);
  }

  /** Tells the worker of every change of what is wanted, from now on. @returns a function that ends it */
  watch(
    fn: (change: { readonly type: 'put' | 'delete'; readonly subscription: ActiveSubscription }) => void,
  ): () => void {
    return this.options.registry.watch<StoredSubscription>(STORED_KIND, ({ type, resource, previous }) => {
      const isStatusOnly = type === 'put' && previous?.value.generation === resource.value.generation;
      if (!isStatusOnly) fn({ type, subscription: active(resource) });
    });
  }

  /** Writes down how it goes; nothing where that is known already. Durable with the registry. */
  report(name: string, observedGeneration: number, reports: readonly ConditionReport[]): void {
    const stored = this.options.registry.get<StoredSubscription>(STORED_KIND, name);
    if (stored === undefined) return;
    const { status } = stored.value;
    const conditions = reports.map((report): Condition => {
      const known = status.conditions.find((c) => c.type === report.type);
      const since = known?.status === report.status ? known.lastTransitionTime : timestamp(this.options.wallMs());
      return { ...report, observedGeneration, lastTransitionTime: since };
    });
    const next = { observedGeneration, conditions };
    if (same(status, next)) return;
    this.options.registry.put(STORED_KIND, name, { ...stored.value, status: next }, { ifRevision: stored.revision });
  }
}

const active = ({ name, value }: Stored<StoredSubscription>): ActiveSubscription => ({
  name,
  uid: value.uid,
  generation: value.generation,
  spec: value.spec,
  group: groupOf(name, value.spec),
  conditions: value.status.conditions,
});

const pendingCondition = (nowMs: number): Condition => ({
  type: 'Ready',
  status: 'Unknown',
  reason: 'Pending',
  message: 'Nothing has been delivered yet.',
  observedGeneration: 1,
  lastTransitionTime: timestamp(nowMs),
});

function withoutSecrets(spec: SubscriptionSpec): SubscriptionSpec {
  if (spec.credential === undefined) return spec;
  const credential = { ...spec.credential };
  for (const field of SECRET_FIELDS) delete credential[field];
  return { ...spec, credential };
}

/**
 * Secrets that a document leaves out stay, so that what was read can be applied again. Not when the sink is another host:
 * who may change it could else have the secret sent to himself.
 */
function withKeptSecrets(spec: SubscriptionSpec, before: SubscriptionSpec | undefined): SubscriptionSpec {
  const known = before?.credential;
  if (spec.credential === undefined || known === undefined || spec.credential.type !== known.type) return spec;
  if (before === undefined || new URL(before.sink).origin !== new URL(spec.sink).origin) return spec;
  if (spec.credential.refreshTokenEndpoint !== known.refreshTokenEndpoint) return spec;
  const credential = { ...spec.credential };
  for (const field of SECRET_FIELDS) {
    const kept = credential[field] ?? known[field];
    if (kept !== undefined) credential[field] = kept;
  }
  return { ...spec, credential };
}

/** Paths of secrets that become others. */
function changedSecrets(before: SubscriptionSpec | undefined, after: SubscriptionSpec): string[] {
  return SECRET_FIELDS.filter((field) => before?.credential?.[field] !== after.credential?.[field]).map(
    (field) => `spec.credential.${field}`,
  );
}

const NEEDED = {
  PLAIN: ['identifier', 'secret'],
  ACCESSTOKEN: ['accessToken'],
  REFRESHTOKEN: ['refreshToken', 'refreshTokenEndpoint'],
} as const;

function checkCredential({ credential }: SubscriptionSpec): void {
  if (credential === undefined) return;
  const missing = NEEDED[credential.type].filter((field) => credential[field] === undefined);
  if (missing.length > 0) {
    throw new Refusal(
      ...missing.map((field) => ({
        path: `spec.credential.${field}`,
        message: 'is missing; a secret is kept only while type and host of the sink stay',
        allowed: `what ${credential.type} needs`,
      })),
    );
  }
}

/** What the group would refuse is refused when it is said: CESQL that does not parse (cloudevents.md §7.4), too many filters. */
function checkFiltersOf(spec: SubscriptionSpec): void {
  const check = (filters: unknown, path: string): HadronError | undefined => {
    try {
      checkFilters(filters, path);
    } catch (error) {
      if (error instanceof HadronError) return error;
      throw error;
    }
    return undefined;
  };
  const said = check(spec.filters ?? [], 'spec.filters');
  // Source and types are filters too, and the limits hold for all of them together.
  const error = said ?? check(groupSettingsOf(spec).filters, 'spec');
  if (error === undefined) return;
  const message = error.message.slice(`${error.code}: ${error.field}: `.length);
  throw refuse(said?.field ?? 'spec.types', undefined, message);
}

/** @throws Refusal: what a group is bound to */
function checkUnchangeable(name: string, before: SubscriptionSpec, after: SubscriptionSpec): void {
  const cannot = (field: string, value: unknown, allowed: string): Refusal =>
    refuse(`spec.${field}`, value, 'cannot change', allowed);
  if (after.stream !== before.stream)
    throw cannot('stream', after.stream, `${before.stream}, as it is; or delete the Subscription first`);
  if (groupOf(name, after) !== groupOf(name, before))
    throw cannot('group', after.group, `${groupOf(name, before)}, as it is; or delete the Subscription first`);
  const orderingOf = ({ delivery }: SubscriptionSpec): string => delivery?.ordering ?? 'key';
  if (orderingOf(after) !== orderingOf(before))
    throw cannot(
      'delivery.ordering',
      orderingOf(after),
      `${orderingOf(before)}, as it is; or another Subscription with a group of its own`,
    );
  if (!same(before.delivery?.start, after.delivery?.start))
    throw cannot('delivery.start', after.delivery?.start, 'as it is; "hadron group seek" moves a group');
}
