/**
 * Who needs a stream, so that it is not deleted under them. Apart from the rest of this folder because every deletion of a
 * topic asks, also where nobody uses resources and their schemas are not loaded.
 */
import { HadronError } from '@hadron/base';
import type { Condition, SubscriptionSpec } from '@hadron/contracts/resources';
import type { Deliveries } from '../delivery/deliveries.ts';
import type { Registry } from '../state/registry.ts';

export const STORED_KIND = 'Subscription';

/** What the registry keeps of a Subscription. */
export interface StoredSubscription {
  readonly uid: string;
  readonly generation: number;
  readonly createdMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** With secrets. */
  readonly spec: SubscriptionSpec;
  readonly status: { readonly observedGeneration: number; readonly conditions: readonly Condition[] };
}

export interface StreamUser {
  /** For people. */
  readonly text: string;
  /** The Subscription that delivers this stream and goes with it; undefined for who only puts dead letters there. */
  readonly subscription: string | undefined;
}

/** @param stream name of the Stream */
export function usersOf(stream: string, registry: Registry, deliveries: Pick<Deliveries, 'buryingIn'>): StreamUser[] {
  const users: StreamUser[] = [];
  for (const { name, value } of registry.list<StoredSubscription>(STORED_KIND)) {
    const { stream: source, delivery } = value.spec;
    if (source === stream) users.push({ text: `Subscription ${name}`, subscription: name });
    else if (delivery?.policy?.deadLetterStream === stream)
      users.push({ text: `Subscription ${name} (dead letters)`, subscription: undefined });
  }
  for (const { stream: source, group } of deliveries.buryingIn(stream))
    users.push({ text: `group ${group} of Stream ${source} (dead letters)`, subscription: undefined });
  return users;
}

/** @throws HadronError RESOURCE_IN_USE naming them */
export function assertUnused(stream: string, users: readonly StreamUser[]): void {
  if (users.length === 0) return;
  const named = users.slice(0, 10).map((u) => u.text);
  const more = users.length > named.length ? ` and ${users.length - named.length} more` : '';
  throw new HadronError(
    'RESOURCE_IN_USE',
    `Stream ${stream} is used by ${named.join(', ')}${more}; delete them first, or all together with --cascade (HTTP: ?cascade=true)`,
  );
}
