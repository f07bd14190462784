/** What a document may say, error by error (statements 1 and 2). */
import { MAX_TEXT } from '@hadron/cesql';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_POLICY } from '../delivery.ts';
import { jsonSchema } from './json-schema.ts';
import { KINDS } from './kinds.ts';
import { API_V1 } from './metadata.ts';
import { streamV1, streamV1beta1 } from './stream.ts';
import { groupSettingsOf, type SubscriptionSpec } from './subscription.ts';
import { pathText, stepsOf, validate } from './validate.ts';

const stream = (spec: unknown, metadata: object = {}, apiVersion = 'hadron.rs/v1') => ({
  apiVersion,
  kind: 'Stream',
  metadata: { name: 'orders', ...metadata },
  spec,
});
const subscription = (spec: object) => ({
  apiVersion: 'hadron.rs/v1',
  kind: 'Subscription',
  metadata: { name: 'mail' },
  spec: { stream: 'orders', sink: 'https://example.com', ...spec },
});
const old = (spec: object) => stream({ partitions: 1, pvcVolumeSize: '5Gi', ...spec }, {}, 'hadron.rs/v1beta1');
const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });

describe('an error names document, path, value and what is allowed', () => {
  test.each<[string, unknown, string, unknown, RegExp, RegExp]>([
    ['no object', 'text', '', undefined, /is an object/, /^$/],
    ['no kind', { apiVersion: API_V1 }, 'kind', undefined, /names its kind/, /Stream, Subscription/],
    ['a misspelt kind', { kind: 'streams' }, 'kind', 'streams', /did you mean Stream/, /Stream/],
    ['no apiVersion', { kind: 'Stream' }, 'apiVersion', undefined, /names its apiVersion/, /v1 or hadron.rs\/v1beta1/],
    ['another apiVersion', stream({}, {}, 'v1'), 'apiVersion', 'v1', /no such apiVersion/, /hadron.rs\/v1/],
    ['no spec', stream(undefined), 'spec', undefined, /missing/, /an object with partitions/],
    ['a missing field', stream({}), 'spec.partitions', undefined, /missing/, /a whole number from 1/],
    ['too few', stream({ partitions: 0 }), 'spec.partitions', 0, /not allowed/, /from 1 to 4294967295/],
    ['no whole number', stream({ partitions: 1.5 }), 'spec.partitions', 1.5, /not allowed/, /whole number/],
    ['another type', stream({ partitions: '3' }), 'spec.partitions', '3', /not allowed/, /whole number/],
    [
      'an unknown field',
      stream({ partitions: 1, retention: 5 }),
      'spec.retention',
      5,
      /no field retention/,
      /retentionPolicy/,
    ],
    [
      'an unknown field above',
      { ...stream({ partitions: 1 }), data: 1 },
      'data',
      1,
      /no field data/,
      /apiVersion, kind/,
    ],
    [
      'no choice',
      stream({ partitions: 1, durability: 'disk' }),
      'spec.durability',
      'disk',
      /not allowed/,
      /one of fsync, os/,
    ],
    [
      'a bad name',
      stream({ partitions: 1 }, { name: 'a b' }),
      'metadata.name',
      'a b',
      /not allowed/,
      /letters, digits/,
    ],
    [
      'a bad label',
      stream({ partitions: 1 }, { labels: { a: '-' } }),
      'metadata.labels.a',
      '-',
      /not allowed/,
      /at most 63/,
    ],
    [
      'a bad label name',
      stream({ partitions: 1 }, { labels: { 'a/b/c': 'x' } }),
      'metadata.labels["a/b/c"]',
      'a/b/c',
      /as a name/,
      /DNS name/,
    ],
    [
      'a field of v1 in v1beta1',
      old({ durability: 'os' }),
      'spec.durability',
      'os',
      /needs apiVersion hadron.rs\/v1/,
      /partitions/,
    ],
    [
      'a size in v1beta1',
      old({ retentionPolicy: { strategy: 'size' } }),
      'spec.retentionPolicy.strategy',
      'size',
      /not allowed/,
      /retain, time/,
    ],
    [
      'no volume size in v1beta1',
      stream({ partitions: 1 }, {}, 'hadron.rs/v1beta1'),
      'spec.pvcVolumeSize',
      undefined,
      /missing/,
      /text/,
    ],
    ['nested too deep', stream(deep(80)), '', undefined, /deeper than 64/, /^$/],
    ['__proto__', JSON.parse('{"kind":"Stream","__proto__":{}}'), '', undefined, /__proto__/, /^$/],
    [
      'two dialects',
      subscription({ filters: [{ exact: { a: 'b' }, sql: 'x' }] }),
      'spec.filters[0]',
      { exact: { a: 'b' }, sql: 'x' },
      /exactly one/,
      /exact, prefix/,
    ],
    [
      'an empty filter inside',
      subscription({ filters: [{ all: [{ exact: {} }] }] }),
      'spec.filters[0].all[0].exact',
      {},
      /names no attribute/,
      /./,
    ],
    [
      'an unknown dialect',
      subscription({ filters: [{ regex: 'x' }] }),
      'spec.filters[0].regex',
      'x',
      /no field regex/,
      /sql/,
    ],
    ['no web address', subscription({ sink: 'ftp://x' }), 'spec.sink', 'ftp://x', /not allowed/, /http/],
    [
      'a header that is ours',
      subscription({ protocolSettings: { headers: { 'Ce-Id': 'x' } } }),
      'spec.protocolSettings.headers.Ce-Id',
      'Ce-Id',
      /written by Hadron/,
      /header name/,
    ],
    [
      'a header of two lines',
      subscription({ protocolSettings: { headers: { x: 'a\r\nb' } } }),
      'spec.protocolSettings.headers.x',
      'a\r\nb',
      /not allowed/,
      /line breaks/,
    ],
    [
      'an offset without its start',
      subscription({ delivery: { start: { from: 'latest', offset: 1 } } }),
      'spec.delivery.start',
      { from: 'latest', offset: 1 },
      /belongs to from: offset/,
      /./,
    ],
  ])('%s', (_, value, path, found, message, allowed) => {
    const checked = validate(value, 7);
    expect(checked.ok).toBe(false);
    if (checked.ok) return;
    const error = checked.errors[0];
    expect(error).toMatchObject({ document: 7, path });
    expect(error?.value).toEqual(found);
    expect(error?.message).toMatch(message);
    expect(error?.allowed ?? '').toMatch(allowed);
  });

  test('all errors of a document, not the first alone', () => {
    const checked = validate(stream({ partitions: 0, durability: 'x', y: 1 }, { name: '' }), 1);
    expect(checked.ok ? [] : checked.errors.map((e) => e.path)).toEqual([
      'metadata.name',
      'spec.partitions',
      'spec.durability',
      'spec.y',
    ]);
  });

  test('what is long is shortened, what is secret is not repeated', () => {
    const long = validate(stream({ partitions: 'x'.repeat(10_000) }), 1);
    expect(JSON.stringify(long).length).toBeLessThan(1_000);
    const secret = validate(subscription({ credential: { type: 'PLAIN', secret: { password: 'hush' } } }), 1);
    expect(secret.ok).toBe(false);
    expect(JSON.stringify(secret)).not.toContain('hush');
  });

  test('many errors are cut off', () => {
    const spec = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`x${i}`, 1]));
    const checked = validate(stream(spec), 1);
    expect(checked.ok ? 0 : checked.errors.length).toBe(100);
  });
});

test('whatever comes is taken or refused, never thrown', () => {
  const seeds = fc.constantFrom<unknown>(stream({ partitions: 1 }), old({}), subscription({ filters: [] }));
  fc.assert(
    fc.property(seeds, fc.jsonValue(), fc.nat(), (document, noise, where) => {
      // One member somewhere becomes noise.
      const copy = structuredClone(document) as Record<string, unknown>;
      let at: Record<string, unknown> = copy;
      for (let n = where; ; n = Math.floor(n / 7)) {
        const keys = Object.keys(at);
        const key = keys[n % keys.length] ?? 'x';
        const inner = at[key];
        if (n > 7 && typeof inner === 'object' && inner !== null && !Array.isArray(inner)) at = inner as typeof at;
        else {
          at[key] = noise;
          break;
        }
      }
      for (const value of [noise, copy]) {
        const checked = validate(value, 1);
        if (!checked.ok) {
          expect(checked.errors.length).toBeGreaterThan(0);
          for (const error of checked.errors) expect(pathText(stepsOf(error.path))).toBe(error.path);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test('every v1beta1 document is a valid v1 document (hadron.md §16.7)', () => {
  const orNull = <T>(a: fc.Arbitrary<T>) => fc.option(a, { nil: null });
  const original = fc.record(
    {
      partitions: fc.integer({ min: 1, max: 0xffff_ffff }),
      pvcVolumeSize: fc.string(),
      debug: fc.boolean(),
      image: fc.string(),
      pvcStorageClass: orNull(fc.string()),
      pvcAccessModes: orNull(fc.array(fc.string())),
      retentionPolicy: fc.record(
        { strategy: fc.constantFrom('retain', 'time'), retentionSeconds: orNull(fc.maxSafeNat()) },
        { requiredKeys: ['strategy'] },
      ),
    },
    { requiredKeys: ['partitions', 'pvcVolumeSize'] },
  );
  fc.assert(
    fc.property(original, (spec) => {
      const document = stream(spec, {}, 'hadron.rs/v1beta1');
      const before = streamV1beta1.parse(document);
      const after = streamV1.parse({ ...document, apiVersion: 'hadron.rs/v1' });
      expect({ ...after, apiVersion: '' }).toEqual({ ...before, apiVersion: '' });
    }),
  );
  // And the generator above knows every field there is.
  const { properties } = jsonSchema(streamV1beta1).properties?.['spec'] ?? {};
  expect(Object.keys(properties ?? {}).sort()).toEqual([
    'debug',
    'image',
    'partitions',
    'pvcAccessModes',
    'pvcStorageClass',
    'pvcVolumeSize',
    'retentionPolicy',
  ]);
});

test('v1 adds optional fields only', () => {
  for (const kind of KINDS.filter((k) => k.versions.length > 1)) {
    const [now, before] = kind.versions.map((v) => jsonSchema(v.schema).properties?.['spec']);
    for (const field of now?.required ?? []) expect(before?.required).toContain(field);
  }
});

test.each([
  [{ filters: [{ sql: `type = '${'x'.repeat(MAX_TEXT)}'` }] }, 'spec.filters[0].sql'],
  [{ filters: [{ exact: { type: 'x'.repeat(4_097) } }] }, 'spec.filters[0].exact.type'],
  [{ group: 'a\nb' }, 'spec.group'],
  [{ sink: 'https://user:password@example.com/' }, 'spec.sink'],
  [{ delivery: { window: 1_001 } }, 'spec.delivery.window'],
  [{ delivery: { ordering: 'none', rateLimit: { count: 1, perMs: 1, by: 'key' } } }, 'spec.delivery'],
])('what no group takes is refused at %#', (spec, path) => {
  const checked = validate(subscription(spec), 1);
  expect(checked.ok ? [] : checked.errors.map((error) => error.path)).toEqual([path]);
});

test('a Subscription is a group', () => {
  const checked = validate(
    subscription({
      source: '/shop',
      types: ['a', 'b'],
      filters: [{ prefix: { subject: 'x' } }],
      delivery: { ordering: 'none', policy: { maxDeliveries: 3 } },
    }),
    1,
  );
  expect(checked.ok && groupSettingsOf(checked.wanted.spec as SubscriptionSpec)).toEqual({
    durable: true,
    start: { from: 'beginning' },
    ordering: 'none',
    window: 1,
    policy: { ...DEFAULT_POLICY, maxDeliveries: 3, deadLetterStream: 'orders.dead' },
    rateLimit: undefined,
    holdRetention: false,
    filters: [
      { exact: { source: '/shop' } },
      { any: [{ exact: { type: 'a' } }, { exact: { type: 'b' } }] },
      { prefix: { subject: 'x' } },
    ],
  });
});
