/** What comes of the schemas besides validation: explain, JSON Schema files, differences. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { changesBetween, same } from './diff.ts';
import { explain } from './explain.ts';
import { type JsonSchema, jsonSchema, schemaFile } from './json-schema.ts';
import { KINDS, kindNamed } from './kinds.ts';

describe('explain', () => {
  test('a field: meaning, type, what is below', () => {
    expect(explain('stream.spec.retentionPolicy')).toMatchObject({
      kind: 'Stream',
      apiVersion: 'hadron.rs/v1',
      path: 'spec.retentionPolicy',
      type: 'object',
      required: false,
      fields: [
        { name: 'strategy', required: true, allowed: 'one of retain, time, size' },
        { name: 'retentionSeconds', type: 'integer' },
        { name: 'retentionBytes', type: 'integer' },
      ],
    });
    expect(explain('Subscription.spec.concurrency')).toMatchObject({
      default: 10,
      allowed: 'a whole number from 1 to 1000',
    });
  });

  test('into lists and into what refers to itself', () => {
    expect(explain('subscription.spec.filters.all.not.exact')).toMatchObject({
      path: 'spec.filters[].all[].not.exact',
    });
    expect(explain('subscription.spec.filters').fields.map((f) => f.name)).toContain('sql');
  });

  test('another version', () => {
    expect(explain('stream.spec', 'hadron.rs/v1beta1').fields.map((f) => f.name)).not.toContain('durability');
  });

  test.each([
    ['nothing', /no kind ""; there are Stream/],
    ['table.spec', /no kind "table"/],
    ['stream.spec.retention', /Stream\.spec has no field "retention"; it has partitions/],
    ['stream.spec.partitions.x', /Stream\.spec\.partitions has no field "x"/],
  ])('%s names what there is', (path, message) => {
    expect(() => explain(path === 'nothing' ? '' : path)).toThrow(message);
  });

  test('every field of every kind says what it means', () => {
    const undocumented: string[] = [];
    const walk = (root: JsonSchema, schema: JsonSchema, path: string, seen: ReadonlySet<string>): void => {
      if (schema.$ref !== undefined) {
        const name = schema.$ref.replace('#/$defs/', '');
        if (!seen.has(name)) walk(root, root.$defs?.[name] ?? {}, path, new Set([...seen, name]));
        return;
      }
      for (const [name, field] of Object.entries(schema.properties ?? {})) {
        const refers = field.$ref !== undefined || field.const !== undefined;
        if (field.description === undefined && !refers) undocumented.push(`${path}.${name}`);
        walk(root, field, `${path}.${name}`, seen);
      }
      if (schema.items !== undefined) walk(root, schema.items, `${path}[]`, seen);
    };
    for (const { kind, versions } of KINDS)
      for (const v of versions) walk(jsonSchema(v.schema), jsonSchema(v.schema), kind, new Set());
    expect(undocumented).toEqual([]);
  });
});

test('a schema file has every version and resolves its own references', () => {
  for (const kind of KINDS) {
    const file = schemaFile(kind);
    const text = JSON.stringify(file);
    for (const v of kind.versions) expect(text).toContain(`"const":"${v.apiVersion}"`);
    for (const [, name] of text.matchAll(/"\$ref":"#\/\$defs\/(\w+)"/g))
      expect(Object.keys((file['$defs'] as object | undefined) ?? {})).toContain(name);
    expect(JSON.parse(text)).toEqual(file);
  }
});

test.each(['Stream', 'stream', 'STREAMS', 'sub', 'subscriptions'])('a kind by the name %s', (name) => {
  expect(kindNamed(name)?.kind.toLowerCase().startsWith(name.toLowerCase().slice(0, 3))).toBe(true);
});

describe('differences', () => {
  test('field by field; lists whole; absent and null are one', () => {
    expect(
      changesBetween({ a: 1, b: { c: [1], d: null }, e: 'x' }, { a: 2, b: { c: [1, 2] }, f: { g: true } }),
    ).toEqual([
      { path: 'a', from: 1, to: 2 },
      { path: 'b.c', from: [1], to: [1, 2] },
      { path: 'e', from: 'x' },
      { path: 'f.g', to: true },
    ]);
  });

  test('none where nothing differs, and some where something does', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(changesBetween({ a }, { a: structuredClone(a) })).toEqual([]);
        expect(same({ a }, { a: b })).toBe(same({ a: b }, { a }));
        const leaves = changesBetween({ a }, { a: b });
        if (leaves.length > 0) expect(same({ a }, { a: b })).toBe(false);
      }),
    );
  });
});
