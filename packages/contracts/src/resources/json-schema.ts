/** The JSON Schemas of the kinds, made from the zod schemas: for editors, for `explain`, and to say what is allowed where. */
import { z } from 'zod';
import type { Kind } from './kinds.ts';

/** What we read of a JSON Schema. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly propertyNames?: JsonSchema;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  /** What is allowed, in words, where numbers and patterns say it badly. */
  readonly 'x-allowed'?: string;
}

const made = new WeakMap<z.ZodType, JsonSchema>();

/** The JSON Schema (draft 2020-12) of what a document may say. */
export function jsonSchema(schema: z.ZodType): JsonSchema {
  const known = made.get(schema);
  if (known !== undefined) return known;
  const json = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' }) as JsonSchema;
  made.set(schema, json);
  return json;
}

/** One schema file for all versions of a kind: an editor picks by apiVersion. */
export function schemaFile(kind: Kind): Record<string, unknown> {
  const title = `${kind.kind} (${kind.versions.map((v) => v.apiVersion).join(', ')})`;
  const schemas = kind.versions.map((v) => {
    const { $schema: _, ...rest } = jsonSchema(v.schema) as JsonSchema & { $schema?: string };
    return rest;
  });
  const dialect = 'https://json-schema.org/draft/2020-12/schema';
  if (schemas.length === 1) return { $schema: dialect, title, ...schemas[0] };
  // References are from the root of the file.
  const $defs = Object.assign({}, ...schemas.map((s) => s.$defs ?? {})) as Record<string, JsonSchema>;
  const anyOf = schemas.map(({ $defs: _, ...rest }) => rest);
  return { $schema: dialect, title, anyOf, ...(Object.keys($defs).length === 0 ? {} : { $defs }) };
}

/** `[]` of a list, `*` of an object with free names. */
export type SchemaStep = string | number;

/** The schema at a path, and whether its parent demands it. Undefined where there is none. */
export function schemaAt(
  root: JsonSchema,
  path: readonly SchemaStep[],
): { schema: JsonSchema; required: boolean } | undefined {
  let schema = resolved(root, root);
  let required = true;
  for (const step of path) {
    const parent = schema;
    const property =
      parent.properties !== undefined && Object.hasOwn(parent.properties, step) ? parent.properties[step] : undefined;
    const next =
      property ??
      (parent.items !== undefined && (typeof step === 'number' || step === '[]' || /^\d+$/.test(step))
        ? parent.items
        : typeof parent.additionalProperties === 'object'
          ? parent.additionalProperties
          : undefined);
    if (next === undefined) return undefined;
    required = parent.required?.includes(String(step)) ?? false;
    schema = resolved(root, next);
  }
  return { schema, required };
}

/** Follows references and the one branch of "this or null" that says something. */
function resolved(root: JsonSchema, schema: JsonSchema): JsonSchema {
  let at = schema;
  if (at.$ref !== undefined) {
    const name = at.$ref.replace('#/$defs/', '');
    const target = at.$ref === '#' ? root : root.$defs?.[name];
    at = { ...target, ...(schema.description === undefined ? {} : { description: schema.description }) };
  }
  const branches = at.anyOf?.filter((branch) => branch.type !== 'null');
  if (branches?.length === 1) return { ...resolved(root, branches[0] as JsonSchema), ...withoutAnyOf(at) };
  return at;
}

function withoutAnyOf({ anyOf: _, ...rest }: JsonSchema): JsonSchema {
  return rest;
}

/** What is allowed, in words. */
export function allowedBy(schema: JsonSchema): string {
  if (schema['x-allowed'] !== undefined) return schema['x-allowed'];
  if (schema.const !== undefined) return typeof schema.const === 'string' ? schema.const : JSON.stringify(schema.const);
  if (schema.enum !== undefined) {
    const choices = schema.enum.filter((v) => v !== null).map(String);
    return choices.length === 1 ? String(choices[0]) : `one of ${choices.join(', ')}`;
  }
  const types = typesOf(schema);
  if (types.length > 1) return types.map((type) => PLURAL[type] ?? type).join(' or ');
  switch (types[0]) {
    case 'integer':
    case 'number': {
      const what = types[0] === 'integer' ? 'a whole number' : 'a number';
      const { minimum, maximum } = schema;
      const from = minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER ? '' : ` from ${minimum}`;
      const to = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? '' : ` to ${maximum}`;
      return what + from + to;
    }
    case 'boolean':
      return 'true or false';
    case 'string': {
      const { minLength: min, maxLength: max } = schema;
      if (min === undefined && max === undefined) return 'text';
      return max === undefined ? 'text, not empty' : `text of ${min ?? 0} to ${max} characters`;
    }
    case 'array':
      return schema.minItems === undefined ? 'a list' : `a list of at least ${schema.minItems}`;
    case 'object':
      return schema.properties === undefined
        ? 'an object of names and values'
        : `an object with ${Object.keys(schema.properties).join(', ')}`;
    default:
      return 'any value';
  }
}

const PLURAL: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
};

/** Without null: absent says the same. */
export function typesOf(schema: JsonSchema): readonly string[] {
  if (schema.anyOf !== undefined) return schema.anyOf.flatMap(typesOf);
  const types = typeof schema.type === 'string' ? [schema.type] : (schema.type ?? []);
  return types.filter((type) => type !== 'null');
}
