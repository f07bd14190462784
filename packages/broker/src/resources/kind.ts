/** What the service asks of a kind: how its resources are stored, what a document would do, and how it is done. */
import type { FieldError, Resource, Wanted } from '@hadron/contracts/resources';
import type { Resource as Stored } from '../state/registry.ts';

/** A valid document on its way to a kind. */
export interface Desired {
  readonly name: string;
  /** As the document has it. */
  readonly metadata: Wanted['metadata'];
  readonly spec: unknown;
  /** Merged with those there are. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Records that go with a change. */
export interface Loss {
  readonly partition: number;
  readonly records: number;
}

/** What a document would do. */
export interface Plan {
  /** As it would be shown. */
  readonly spec: unknown;
  readonly warnings: readonly string[];
  readonly lost?: readonly Loss[];
  /** Something changes that may not be shown. */
  readonly secrets?: readonly string[];
  /** Does it: durable with the registry. @throws HadronError STORAGE_…: nothing happened */
  commit(): void;
}

export interface KindService<V> {
  readonly kind: string;
  /** The kind in the registry. */
  readonly stored: string;
  /** Where the resource of this name is stored; undefined where there is none. */
  keyOf(name: string): string | undefined;
  /** Undefined: internal. Pure in what is stored, because watchers are shown what was. */
  present(stored: Stored<V>): Resource | undefined;
  /** @throws Refusal */
  plan(desired: Desired, present: Resource | undefined, pending: ReadonlySet<string>): Plan;
  /** @throws HadronError STORAGE_… */
  remove(key: string): void;
}

type Fault = Omit<FieldError, 'document' | 'line'>;

/** A valid document that cannot be applied here. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly faults: readonly Fault[];

  constructor(...faults: readonly Fault[]) {
    super(faults.map(({ path, message }) => `${path} ${message}`).join('; '));
    this.faults = faults;
  }
}

/** A refusal of one field. */
export function refuse(path: string, value: unknown, message: string, allowed?: string): Refusal {
  return new Refusal({
    path,
    ...(value === undefined ? {} : { value }),
    message,
    ...(allowed === undefined ? {} : { allowed }),
  });
}
