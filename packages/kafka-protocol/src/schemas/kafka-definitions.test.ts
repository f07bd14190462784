/**
 * Our schemas against Kafka's own definitions, field by field and version by version.
 *
 *     HADRON_KAFKA_MESSAGES=/path/to/common/message npx vitest run packages/kafka-protocol/src/schemas
 *
 * The folder is inside every kafka-clients jar (`unzip -j kafka-clients-4.3.1.jar 'common/message/*.json'`). Without the
 * variable the test is skipped: those files are not ours to carry. Last run: against 4.3.1, no difference.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SCHEMAS } from './index.ts';
import type { Api, Field, FieldType, Struct, VersionRange } from './notation.ts';

const folder = process.env['HADRON_KAFKA_MESSAGES'];

interface KafkaField {
  readonly name: string;
  readonly type: string;
  readonly versions: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly tag?: number;
  readonly default?: string | number | boolean;
  readonly ignorable?: boolean | string;
  readonly fields?: readonly KafkaField[];
}

interface KafkaMessage {
  readonly apiKey: number;
  readonly validVersions: string;
  readonly flexibleVersions: string;
  readonly fields: readonly KafkaField[];
  readonly commonStructs?: readonly { name: string; fields: readonly KafkaField[] }[];
}

function load(name: string): KafkaMessage {
  const text = readFileSync(join(folder as string, `${name}.json`), 'utf8');
  return JSON.parse(text.replaceAll(/^\s*\/\/.*$/gm, '')) as KafkaMessage;
}

function holds(range: string | undefined, version: number): boolean {
  if (range === undefined || range === 'none') return false;
  const [min, max] = range.endsWith('+') ? [range.slice(0, -1), 'Infinity'] : range.split('-');
  return version >= Number(min) && version <= Number(max ?? min);
}

/** The versions of `parent` that lie in `range`. */
function clamp(parent: VersionRange, range: string): VersionRange {
  let { min, max } = parent;
  while (!holds(range, min)) min++;
  while (!holds(range, max)) max--;
  return { min, max };
}

/** One line per field of one version. Ignorable matters only if some served version of the parent lacks the field. */
function theirs(
  parent: VersionRange,
  message: KafkaMessage,
  fields: readonly KafkaField[],
  version: number,
  path: string,
): string[] {
  return fields.flatMap((f) => {
    const element = f.type.replace('[]', '');
    const inner = f.fields ?? message.commonStructs?.find((s) => s.name === element)?.fields;
    const name = `${path}${f.name.charAt(0).toLowerCase()}${f.name.slice(1)}`;
    if (!holds(f.versions, version)) return [];
    const isArray = f.type.startsWith('[]');
    const tag = holds(f.taggedVersions, version) ? ` tag ${f.tag}` : '';
    const nullable = holds(f.nullableVersions, version) ? '?' : '';
    const type = `${isArray ? '[]' : ''}${inner === undefined ? element : 'struct'}${nullable}`;
    const standard =
      isArray || inner !== undefined ? '' : element === 'bool' ? 'false' : /^u?int/.test(element) ? '0' : '';
    const fallback =
      f.default === undefined
        ? standard
        : String(Number.isNaN(Number(f.default)) || f.default === '' ? f.default : Number(f.default));
    const isEverywhere = holds(f.versions, parent.min) && holds(f.versions, parent.max);
    const line = `${name}: ${type}${tag} = ${fallback}${String(f.ignorable) === 'true' && !isEverywhere ? ' ignorable' : ''}`;
    return [
      line,
      ...(inner === undefined ? [] : theirs(clamp(parent, f.versions), message, inner, version, `${name}.`)),
    ];
  });
}

function typeName(type: FieldType): string {
  if (type.kind === 'array') return `[]${typeName(type.element)}`;
  return type.kind === 'struct' ? 'struct' : type.name;
}

function innerOf(type: FieldType): Struct | undefined {
  if (type.kind === 'array') return innerOf(type.element);
  return type.kind === 'struct' ? type.struct : undefined;
}

function ours(parent: VersionRange, fields: readonly Field[], version: number, path: string): string[] {
  return fields.flatMap((f) => {
    const inner = innerOf(f.type);
    const name = `${path}${f.name}`;
    if (version < f.versions.min || version > f.versions.max) return [];
    const nullable = f.nullable !== undefined && version >= f.nullable.min && version <= f.nullable.max ? '?' : '';
    const type = `${typeName(f.type)}${nullable}`;
    const standard = type === 'bool' ? 'false' : /^u?int/.test(type) ? '0' : '';
    const tag = f.tag === undefined ? '' : ` tag ${f.tag}`;
    const isEverywhere = f.versions.min === parent.min && f.versions.max === parent.max;
    const line = `${name}: ${type}${tag} = ${f.default ?? standard}${f.ignorable && !isEverywhere ? ' ignorable' : ''}`;
    return [line, ...(inner === undefined ? [] : ours(f.versions, inner.fields, version, `${name}.`))];
  });
}

describe.skipIf(folder === undefined)('schemas equal the definitions of Kafka', () => {
  test.each(SCHEMAS.map((api) => [api.name, api] as [string, Api]))('%s', (name, api) => {
    for (const [kind, struct] of [
      ['Request', api.request],
      ['Response', api.response],
    ] as const) {
      const message = load(`${name}${kind}`);
      expect(message.apiKey).toBe(api.key);
      for (let version = api.served.min; version <= api.served.max; version++) {
        expect(holds(message.validVersions, version), `${name} v${version} exists`).toBe(true);
        expect(version >= api.flexible, `${name} v${version} is flexible`).toBe(
          holds(message.flexibleVersions, version),
        );
        const expected = theirs(api.served, message, message.fields, version, '');
        expect(ours(api.served, struct.fields, version, ''), `${name}${kind} v${version}`).toEqual(expected);
      }
    }
  });
});
