/**
 * What an event's data looks like: Standard Schema, spoken by zod, valibot, arktype and others (standardschema.dev). Only
 * the interface is written down here; a schema library is the user's choice.
 */
import { HadronError } from '@hadron/base/errors';

/**
 * The part of Standard Schema v1 that Hadron uses. Schemas of zod ≥ 3.24, valibot ≥ 1 and arktype ≥ 2 have it.
 *
 * @example
 * ```ts
 * import { defineEvents, type StandardSchema } from '@hadron/client';
 * const amount: StandardSchema<number> = {
 *   '~standard': {
 *     version: 1,
 *     vendor: 'own',
 *     validate: (value) => (typeof value === 'number' ? { value } : { issues: [{ message: 'must be a number' }] }),
 *   },
 * };
 * const events = defineEvents({ 'account.credited': amount });
 * ```
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Types only. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<SchemaIssue> };

interface SchemaIssue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

type Schemas = Readonly<Record<string, StandardSchema<unknown, unknown>>>;
type Types<S extends StandardSchema<unknown, unknown>> = NonNullable<S['~standard']['types']>;

/**
 * Event types and the schemas of their data, made by {@link defineEvents}.
 *
 * @example
 * ```ts
 * import { connect, defineEvents, type Events } from '@hadron/client';
 * import { z } from 'zod';
 * const events = defineEvents({ 'order.paid': z.object({ id: z.string() }) });
 * const open = (all: Events<typeof events.schemas>) => connect({ source: '/shop' }).stream('orders', all);
 * await open(events).publish('order.paid', { id: '7' });
 * ```
 */
export interface Events<S extends Schemas = Schemas> {
  readonly schemas: S;
}

/**
 * Data as it is published, by event type.
 *
 * @example
 * ```ts
 * import { defineEvents, type InputOf } from '@hadron/client';
 * import { z } from 'zod';
 * const events = defineEvents({ 'order.paid': z.object({ currency: z.string().default('EUR') }) });
 * const paid: InputOf<typeof events.schemas>['order.paid'] = {};
 * ```
 */
export type InputOf<S extends Schemas> = { readonly [T in keyof S & string]: Types<S[T]>['input'] };
/**
 * Data as a handler gets it, by event type.
 *
 * @example
 * ```ts
 * import { defineEvents, type OutputOf } from '@hadron/client';
 * import { z } from 'zod';
 * const events = defineEvents({ 'order.paid': z.object({ currency: z.string().default('EUR') }) });
 * const currencyOf = (paid: OutputOf<typeof events.schemas>['order.paid']): string => paid.currency;
 * ```
 */
export type OutputOf<S extends Schemas> = { readonly [T in keyof S & string]: Types<S[T]>['output'] };

/**
 * Says which types of events a stream has and what their data looks like. One definition gives the compiler the types of
 * `publish` and of the handlers, and checks the data on both sides at run time.
 *
 * What is published is the data as given, once it has passed; a schema's defaults and transformations happen where the
 * event is consumed.
 *
 * @param schemas by event type
 * @throws TypeError when something is no Standard Schema
 * @example
 * ```ts
 * import { connect, defineEvents } from '@hadron/client';
 * import { z } from 'zod';
 * const events = defineEvents({
 *   'order.placed': z.object({ id: z.string(), total: z.number() }),
 *   'order.paid': z.object({ id: z.string() }),
 * });
 * const orders = connect({ source: '/shop' }).stream('orders', events);
 * await orders.publish('order.placed', { id: '7', total: 12 }, { subject: '7' });
 * ```
 */
export function defineEvents<const S extends Schemas>(schemas: S): Events<S> {
  for (const [type, schema] of Object.entries(schemas)) {
    if (typeof schema?.['~standard']?.validate !== 'function')
      throw new TypeError(`${type}: not a Standard Schema; zod 3.24, valibot 1, arktype 2 and later make them`);
  }
  return { schemas };
}

/**
 * The value as its schema returns it; a promise only where the schema gives one.
 * @throws HadronError EVENT_INVALID naming the path
 */
export function check(schema: StandardSchema<unknown, unknown>, value: unknown, type: string): unknown {
  const result = schema['~standard'].validate(value);
  return result instanceof Promise ? result.then((r) => valueOf(r, type)) : valueOf(result, type);
}

function valueOf(result: SchemaResult<unknown>, type: string): unknown {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map((issue) => ({ path: pathOf(issue), message: issue.message }));
  throw new HadronError(
    'EVENT_INVALID',
    `the data of ${type} does not fit its schema: ${issues.map((i) => `${i.path}: ${i.message}`).join('; ')}`,
    { field: issues[0]?.path ?? 'data' },
  );
}

function pathOf(issue: SchemaIssue): string {
  let path = 'data';
  for (const part of issue.path ?? []) {
    const key = typeof part === 'object' ? part.key : part;
    path += typeof key === 'number' ? `[${key}]` : `.${String(key)}`;
  }
  return path;
}
