/** `hadron explain KIND.field`: what a field means, what it takes, and what is below it. */
import { HadronError } from '@hadron/base/errors';
import { allowedBy, type JsonSchema, jsonSchema, schemaAt, typesOf } from './json-schema.ts';
import { KINDS, kindNamed } from './kinds.ts';

export interface ExplainedField {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly description: string;
  readonly allowed: string;
  readonly default?: unknown;
}

export interface Explained extends ExplainedField {
  readonly kind: string;
  readonly apiVersion: string;
  /** `spec.retentionPolicy`; empty for the kind. */
  readonly path: string;
  readonly fields: readonly ExplainedField[];
}

/**
 * @param path `Stream`, `stream.spec.retentionPolicy`, `subscription.spec.filters.exact`
 * @throws HadronError RESOURCE_NOT_FOUND naming what there is
 */
export function explain(path: string, apiVersion?: string): Explained {
  const [name = '', ...steps] = path.split('.').filter((step) => step !== '');
  const kind = kindNamed(name);
  if (kind === undefined)
    throw new HadronError(
      'RESOURCE_NOT_FOUND',
      `there is no kind ${JSON.stringify(name.slice(0, 100))}; there are ${KINDS.map((k) => k.kind).join(', ')}`,
    );
  const version = apiVersion === undefined ? kind.versions[0] : kind.versions.find((v) => v.apiVersion === apiVersion);
  if (version === undefined)
    throw new HadronError(
      'RESOURCE_NOT_FOUND',
      `${kind.kind} has no apiVersion ${apiVersion}; it has ${kind.versions.map((v) => v.apiVersion).join(', ')}`,
    );
  const root = jsonSchema(version.schema);
  let schema = root;
  let required = true;
  const walked: string[] = [];
  for (const step of steps) {
    // People leave the [] of lists out.
    const direct = schemaAt(root, [...walked, step]) ?? schemaAt(root, [...walked, '[]', step]);
    if (direct === undefined) {
      const known = fieldsOf(root, walked).map((f) => f.name);
      const where = walked.length === 0 ? kind.kind : `${kind.kind}.${walked.join('.')}`;
      throw new HadronError(
        'RESOURCE_NOT_FOUND',
        `${where} has no field ${JSON.stringify(step.slice(0, 100))}${known.length === 0 ? '' : `; it has ${known.join(', ')}`}`,
      );
    }
    if (schemaAt(root, [...walked, step]) === undefined) walked.push('[]');
    walked.push(step);
    ({ schema, required } = direct);
  }
  return {
    kind: kind.kind,
    apiVersion: version.apiVersion,
    path: walked.join('.').replaceAll('.[]', '[]'),
    ...describe(steps.at(-1) ?? kind.kind, schema, required),
    fields: fieldsOf(root, walked),
  };
}

function fieldsOf(root: JsonSchema, path: readonly string[]): ExplainedField[] {
  const below = path;
  let schema = schemaAt(root, below)?.schema;
  let prefix = below;
  if (schema?.properties === undefined && schema?.items !== undefined) {
    prefix = [...below, '[]'];
    schema = schemaAt(root, prefix)?.schema;
  }
  return Object.keys(schema?.properties ?? {}).map((name) => {
    const field = schemaAt(root, [...prefix, name]) as { schema: JsonSchema; required: boolean };
    return describe(name, field.schema, field.required);
  });
}

function describe(name: string, schema: JsonSchema, required: boolean): ExplainedField {
  const types = typesOf(schema);
  return {
    name,
    type: schema.const !== undefined && types.length === 0 ? 'string' : types.join(' | ') || 'any',
    required,
    description: schema.description ?? '',
    allowed: allowedBy(schema),
    ...(schema.default === undefined ? {} : { default: schema.default }),
  };
}
