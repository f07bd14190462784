/** Filters of the CloudEvents Subscriptions API (cloudevents.md §7.3): an object with exactly one member, the dialect. */
export type Filter =
  | { readonly exact: Readonly<Record<string, string>> }
  | { readonly prefix: Readonly<Record<string, string>> }
  | { readonly suffix: Readonly<Record<string, string>> }
  | { readonly all: readonly Filter[] }
  | { readonly any: readonly Filter[] }
  | { readonly not: Filter }
  | { readonly sql: string };

/** What a filter asks of an event: canonical strings; undefined = the event has no such attribute. `specversion` is '1.0'. */
export type AttributeLookup = (name: string) => string | undefined;

/** A filter made ready to be asked often. Pure. */
export type CompiledFilter = (attribute: AttributeLookup) => boolean;
