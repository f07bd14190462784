/**
 * From a parsed document to a resource that somebody wants, or to every reason why not. Pure; knows no server: whether the
 * stream exists, whether the version still is that one, is judged where it is applied.
 */
import type { z } from 'zod';
import { allowedBy, jsonSchema, schemaAt } from './json-schema.ts';
import { KINDS, type Kind, kindNamed } from './kinds.ts';
import { API_V1 } from './metadata.ts';

/** One thing wrong with one document. */
export interface FieldError {
  /** Which document of the input, from 1. */
  readonly document: number;
  /** Line of the input, from 1, where it is known. */
  readonly line?: number;
  /** For example `spec.partitions` or `spec.filters[0].exact`; empty for the whole document. */
  readonly path: string;
  /** What was found, shortened; absent where there was nothing, and for secrets. */
  readonly value?: unknown;
  readonly message: string;
  /** What would do, in words. */
  readonly allowed?: string;
}

/** What a valid document asks for. */
export interface Wanted {
  readonly kind: Kind;
  readonly apiVersion: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly labels?: Readonly<Record<string, string | null>> | undefined;
    readonly annotations?: Readonly<Record<string, string | null>> | undefined;
    readonly resourceVersion?: string | undefined;
    readonly uid?: string | undefined;
  };
  readonly spec: unknown;
}

export type Validation =
  | { readonly ok: true; readonly wanted: Wanted }
  | { readonly ok: false; readonly errors: readonly FieldError[]; readonly kind: string; readonly name: string };

const DEPTH_MAX = 64;
const NODES_MAX = 100_000;
const ERRORS_MAX = 100;

/** Never throws, whatever `value` is: it may come from anybody. */
export function validate(value: unknown, document: number): Validation {
  const shape = shapeProblem(value);
  const said = text(member(value, 'kind')) ?? '';
  const name = text(member(member(value, 'metadata'), 'name')) ?? '';
  const refuse = (errors: readonly FieldError[]): Validation => ({ ok: false, errors, kind: said, name });
  if (shape !== undefined) return refuse([{ document, path: '', message: shape }]);
  const kind = KINDS.find((k) => k.kind === said);
  if (kind === undefined) {
    const near = kindNamed(said)?.kind;
    const message =
      said === ''
        ? 'a document names its kind'
        : `there is no kind ${brief(said) as string}${near === undefined ? '' : `; did you mean ${near}?`}`;
    return refuse([
      errorAt(document, ['kind'], message, member(value, 'kind'), `one of ${KINDS.map((k) => k.kind).join(', ')}`),
    ]);
  }
  const apiVersion = member(value, 'apiVersion');
  const version = kind.versions.find((v) => v.apiVersion === apiVersion);
  if (version === undefined) {
    const allowed = kind.versions.map((v) => v.apiVersion).join(' or ');
    const message =
      apiVersion === undefined ? 'a document names its apiVersion' : `kind ${kind.kind} has no such apiVersion`;
    return refuse([errorAt(document, ['apiVersion'], message, apiVersion, allowed)]);
  }
  const parsed = version.schema.safeParse(value, { reportInput: true });
  if (parsed.success) {
    const { metadata, spec } = parsed.data as Pick<Wanted, 'metadata' | 'spec'>;
    return { ok: true, wanted: { kind, apiVersion: version.apiVersion, metadata, spec } };
  }
  const newest = kind.versions.find((v) => v.apiVersion === API_V1);
  const errors: FieldError[] = [];
  for (const issue of parsed.error.issues) {
    errors.push(
      ...fieldErrors(issue, value, document, version.schema, version === newest ? undefined : newest?.schema),
    );
    if (errors.length >= ERRORS_MAX) break;
  }
  return refuse(errors.slice(0, ERRORS_MAX));
}

type Path = readonly (string | number)[];

function* fieldErrors(
  issue: z.core.$ZodIssue,
  value: unknown,
  document: number,
  schema: z.ZodType,
  newest: z.ZodType | undefined,
): Generator<FieldError> {
  const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)));
  const json = jsonSchema(schema);
  const found = at(value, path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = Object.keys(schemaAt(json, path)?.schema.properties ?? {});
      for (const key of issue.keys) {
        const isNew = newest !== undefined && schemaAt(jsonSchema(newest), [...path, key]) !== undefined;
        const message = isNew ? `needs apiVersion ${API_V1}` : `there is no field ${brief(key) as string}`;
        yield errorAt(document, [...path, key], message, at(value, [...path, key]), `one of ${known.join(', ')}`);
      }
      return;
    }
    case 'invalid_key': {
      const names = schemaAt(json, path.slice(0, -1))?.schema.propertyNames;
      const custom = issue.issues.find((i) => i.code === 'custom')?.message;
      yield errorAt(
        document,
        path,
        custom ?? 'is not allowed as a name',
        path.at(-1),
        names === undefined ? undefined : allowedBy(names),
      );
      return;
    }
    case 'custom':
      yield errorAt(document, path, issue.message, found, allowedAt(json, path));
      return;
    default: {
      const message = found === undefined ? 'is missing' : 'is not allowed';
      yield errorAt(document, path, message, found, allowedAt(json, path));
    }
  }
}

function allowedAt(json: ReturnType<typeof jsonSchema>, path: Path): string | undefined {
  const there = schemaAt(json, path);
  return there === undefined ? undefined : allowedBy(there.schema);
}

/** What is below `spec.credential` is never repeated. */
function errorAt(
  document: number,
  path: Path,
  message: string,
  value: unknown,
  allowed: string | undefined,
): FieldError {
  const secret = path[0] === 'spec' && path[1] === 'credential';
  return {
    document,
    path: pathText(path),
    ...(value === undefined || secret ? {} : { value: brief(value) }),
    message,
    ...(allowed === undefined ? {} : { allowed }),
  };
}

/** `spec.filters[0].exact`; names with dots in brackets: `metadata.labels["a.b/c"]`. */
export function pathText(path: Path): string {
  let out = '';
  for (const step of path) {
    if (typeof step === 'number') out += `[${step}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(step)) out += out === '' ? step : `.${step}`;
    else out += `[${JSON.stringify(brief(step))}]`;
  }
  return out;
}

/** The way back from {@link pathText}. */
export function stepsOf(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g)].map(([, index, quoted, plain]) =>
    index !== undefined ? Number(index) : quoted !== undefined ? (JSON.parse(`"${quoted}"`) as string) : (plain ?? ''),
  );
}

const BRIEF = 200;

/** Short enough for a message. */
function brief(value: unknown): unknown {
  if (typeof value === 'string') return value.length <= BRIEF ? value : `${value.slice(0, BRIEF)}…`;
  if (value === null || typeof value !== 'object') return value;
  const json = JSON.stringify(value);
  return json.length <= BRIEF ? value : `${json.slice(0, BRIEF)}…`;
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? (brief(value) as string) : undefined);

function member(value: unknown, key: string | number): unknown {
  if (value === null || typeof value !== 'object' || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string | number, unknown>)[key];
}

const at = (value: unknown, path: Path): unknown => path.reduce<unknown>(member, value);

/** Limits before anything recursive looks at it. */
function shapeProblem(value: unknown): string | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return 'a document is an object with apiVersion, kind, metadata and spec';
  const open: { value: object; depth: number }[] = [{ value, depth: 1 }];
  let nodes = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next.depth > DEPTH_MAX) return `is nested deeper than ${DEPTH_MAX} levels`;
    for (const key of Object.keys(next.value)) {
      if (key === '__proto__') return 'has a field named __proto__';
      if (++nodes > NODES_MAX) return `has more than ${NODES_MAX} values`;
      const inner = (next.value as Record<string, unknown>)[key];
      if (inner !== null && typeof inner === 'object') open.push({ value: inner, depth: next.depth + 1 });
    }
  }
  return undefined;
}
