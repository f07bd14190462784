/** A spec and its topic's configs say the same, whichever side it is read from. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TOPIC_CONFIGS } from '../config/index.ts';
import { type ConfiguredSpec, configOf, saidTwice, specOf } from './stream-config.ts';

describe('table', () => {
  test.each<[ConfiguredSpec, Record<string, string>]>([
    [{}, {}],
    [{ retentionPolicy: { strategy: 'retain' } }, { 'retention.ms': '-1', 'retention.bytes': '-1' }],
    [{ retentionPolicy: { strategy: 'time', retentionSeconds: 0 } }, { 'retention.ms': '0' }],
    [
      { retentionPolicy: { strategy: 'time', retentionSeconds: 60, retentionBytes: 7 } },
      { 'retention.ms': '60000', 'retention.bytes': '7' },
    ],
    [{ retentionPolicy: { strategy: 'size', retentionBytes: 7 } }, { 'retention.ms': '-1', 'retention.bytes': '7' }],
    [
      { retentionPolicy: { strategy: 'time', retentionSeconds: Number.MAX_SAFE_INTEGER } },
      { 'retention.ms': '9007199254740991000' },
    ],
    [{ topicConfig: { 'retention.ms': '-1' } }, { 'retention.ms': '-1' }],
    [
      { topicConfig: { 'retention.ms': '1500', 'retention.bytes': '7' } },
      { 'retention.ms': '1500', 'retention.bytes': '7' },
    ],
    [{ topicConfig: { 'retention.bytes': '7' } }, { 'retention.bytes': '7' }],
    [{ topicConfig: { 'retention.ms': '+60000' } }, { 'retention.ms': '+60000' }],
    [{ compaction: { strategy: 'compact' } }, { 'cleanup.policy': 'compact' }],
    [
      { compaction: { strategy: 'compact-delete', tombstoneSeconds: 5 } },
      { 'cleanup.policy': 'compact,delete', 'delete.retention.ms': '5000' },
    ],
    [{ topicConfig: { 'cleanup.policy': 'delete' } }, { 'cleanup.policy': 'delete' }],
    [{ topicConfig: { 'delete.retention.ms': '5000' } }, { 'delete.retention.ms': '5000' }],
    [{ deduplication: { windowSeconds: 5 } }, { 'hadron.dedupe.window.ms': '5000' }],
    [
      { deduplication: { windowSeconds: 5, entries: 9 } },
      { 'hadron.dedupe.window.ms': '5000', 'hadron.dedupe.entries': '9' },
    ],
    [{ topicConfig: { 'hadron.dedupe.window.ms': '0' } }, { 'hadron.dedupe.window.ms': '0' }],
    [
      { durability: 'os', maxEventBytes: 65_536, events: 'required' },
      { 'hadron.durability': 'os', 'max.message.bytes': '65536', 'hadron.events': 'required' },
    ],
    [{ topicConfig: { 'max.message.bytes': '65535' } }, { 'max.message.bytes': '65535' }],
  ])('%j', (spec, config) => {
    expect(configOf(spec)).toEqual(config);
    expect(specOf(config)).toEqual(spec);
  });

  test('the default of strategy time', () => {
    expect(configOf({ retentionPolicy: { strategy: 'time' } })).toEqual({ 'retention.ms': '604800000' });
  });

  test('every config that a field stands for is one', () => {
    const all = configOf({
      retentionPolicy: { strategy: 'retain' },
      durability: 'os',
      compaction: { strategy: 'compact', tombstoneSeconds: 1 },
      deduplication: { windowSeconds: 1, entries: 1 },
      maxEventBytes: 65_536,
      events: 'off',
    });
    for (const key of Object.keys(all)) expect(TOPIC_CONFIGS).toHaveProperty([key]);
  });

  test('said by a field and by name', () => {
    expect(saidTwice({ maxEventBytes: 1, topicConfig: { 'max.message.bytes': 1, 'segment.ms': 1 } })).toEqual([
      { field: 'maxEventBytes', key: 'max.message.bytes' },
    ]);
    expect(saidTwice({ retentionPolicy: { strategy: 'retain' }, topicConfig: { 'retention.bytes': 1 } })).toHaveLength(
      1,
    );
    expect(saidTwice({ topicConfig: { 'retention.bytes': 1 } })).toEqual([]);
  });
});

describe('property', () => {
  const keys = [
    'retention.ms',
    'retention.bytes',
    'cleanup.policy',
    'delete.retention.ms',
    'hadron.durability',
    'hadron.events',
    'hadron.dedupe.window.ms',
    'hadron.dedupe.entries',
    'max.message.bytes',
    'segment.ms',
  ];
  const text = fc.oneof(
    fc.constantFrom(
      '-1',
      '0',
      '1',
      '1000',
      '5000',
      '60000',
      '007',
      '+5',
      'compact',
      'delete',
      'compact,delete',
      'os',
      'fsync',
      'off',
      '',
    ),
    fc.bigInt({ min: -2n, max: 2n ** 63n - 1n }).map(String),
    fc.string(),
  );
  const config = fc.dictionary(fc.constantFrom(...keys), text);

  test('configs come back exactly, and no field is said twice', () => {
    fc.assert(
      fc.property(config, (c) => {
        const spec = specOf(c);
        expect(configOf(spec)).toEqual(c);
        expect(saidTwice(spec)).toEqual([]);
        expect(specOf(configOf(spec))).toEqual(spec);
      }),
      { numRuns: 2_000 },
    );
  });
});
