import { HadronError } from '@hadron/base';
import { describe, expect, test } from 'vitest';
import {
  BROKER_SETTINGS,
  brokerConfigEntries,
  brokerDefaults,
  didYouMean,
  resolveBrokerSettings,
  resolveTopicSettings,
  TOPIC_CONFIGS,
  topicConfigEntries,
} from './index.ts';

function failure(run: () => unknown): HadronError {
  try {
    run();
  } catch (error) {
    if (error instanceof HadronError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('tables', () => {
  test('every default is a value its own setting accepts', () => {
    for (const [key, setting] of [...Object.entries(TOPIC_CONFIGS), ...BROKER_SETTINGS]) {
      expect(setting.parse(setting.fallback), key).toBeDefined();
    }
  });

  test('every broker synonym of a topic config is a broker setting of the same meaning', () => {
    for (const [key, config] of Object.entries(TOPIC_CONFIGS)) {
      for (const { key: synonym, unit } of config.from) {
        const setting = BROKER_SETTINGS.get(synonym);
        expect(setting, `${synonym} for ${key}`).toBeDefined();
        if (unit === 1) expect(setting?.fallback, synonym).toBe(config.fallback);
      }
    }
  });

  test('DescribeConfigs lists what kafka.md §5.1 lists, with those defaults', () => {
    const listed = new Map(topicConfigEntries({}, brokerDefaults).map((entry) => [entry.name, entry.value]));
    const expected: Record<string, string> = {
      'cleanup.policy': 'delete',
      'compression.type': 'producer',
      'compression.gzip.level': '-1',
      'compression.lz4.level': '9',
      'compression.zstd.level': '3',
      'delete.retention.ms': '86400000',
      'file.delete.delay.ms': '60000',
      'flush.messages': '9223372036854775807',
      'flush.ms': '9223372036854775807',
      'index.interval.bytes': '4096',
      'leader.replication.throttled.replicas': '',
      'follower.replication.throttled.replicas': '',
      'local.retention.bytes': '-2',
      'local.retention.ms': '-2',
      'max.compaction.lag.ms': '9223372036854775807',
      'min.compaction.lag.ms': '0',
      'max.message.bytes': '1048588',
      'message.timestamp.type': 'CreateTime',
      'message.timestamp.before.max.ms': '9223372036854775807',
      'message.timestamp.after.max.ms': '3600000',
      'min.cleanable.dirty.ratio': '0.5',
      'min.insync.replicas': '1',
      preallocate: 'false',
      'remote.storage.enable': 'false',
      'remote.log.copy.disable': 'false',
      'remote.log.delete.on.disable': 'false',
      'retention.bytes': '-1',
      'retention.ms': '604800000',
      'segment.bytes': '1073741824',
      'segment.index.bytes': '10485760',
      'segment.jitter.ms': '0',
      'segment.ms': '604800000',
      'unclean.leader.election.enable': 'false',
      'hadron.dedupe.entries': '100000',
      'hadron.dedupe.window.ms': '0',
      'hadron.durability': 'fsync',
      'hadron.events': 'lenient',
      'hadron.events.content.type': '',
      'hadron.events.headers': '',
      'hadron.events.type': 'rs.hadron.record.v1',
    };
    expect(Object.fromEntries(listed)).toEqual(expected);
  });

  test('a setting without effect says so in its documentation', () => {
    const flush = topicConfigEntries({}, brokerDefaults).find((entry) => entry.name === 'flush.messages');
    expect(flush?.documentation).toContain('without effect here: what is acknowledged is synced');
  });
});

describe('topic settings', () => {
  test('defaults', () => {
    expect(resolveTopicSettings({}, brokerDefaults)).toEqual({
      cleanupPolicy: { delete: true, compact: false },
      retentionMs: 604_800_000,
      retentionBytes: Number.POSITIVE_INFINITY,
      segmentBytes: 1_073_741_824,
      segmentMs: 604_800_000,
      maxMessageBytes: 1_048_588,
      minCompactionLagMs: 0,
      maxCompactionLagMs: Number.POSITIVE_INFINITY,
      deleteRetentionMs: 86_400_000,
      minCleanableDirtyRatio: 0.5,
      timestampType: 'CreateTime',
      timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
      timestampAfterMaxMs: 3_600_000,
      compressionType: 'producer',
      indexIntervalBytes: 4096,
      durability: 'fsync',
      dedupeWindowMs: 0,
      dedupeEntries: 100_000,
      events: 'lenient',
      eventsType: 'rs.hadron.record.v1',
      eventsContentType: '',
      eventsHeaders: [],
    });
  });

  test('an override is stronger than the broker, ms stronger than minutes, minutes than hours', () => {
    const hours = { 'log.retention.hours': '2' };
    expect(resolveTopicSettings({}, resolveBrokerSettings(hours)).retentionMs).toBe(7_200_000);
    const minutes = { ...hours, 'log.retention.minutes': '3' };
    expect(resolveTopicSettings({}, resolveBrokerSettings(minutes)).retentionMs).toBe(180_000);
    const ms = { ...minutes, 'log.retention.ms': '1234' };
    expect(resolveTopicSettings({}, resolveBrokerSettings(ms)).retentionMs).toBe(1234);
    expect(resolveTopicSettings({ 'retention.ms': '-1' }, resolveBrokerSettings(ms)).retentionMs).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(resolveTopicSettings({}, resolveBrokerSettings({ 'log.retention.hours': '-1' })).retentionMs).toBe(
      Number.POSITIVE_INFINITY,
    );
  });

  test('the server durability is the default of hadron.durability', () => {
    const os = resolveBrokerSettings({ 'hadron.durability': 'os' });
    expect(resolveTopicSettings({}, os).durability).toBe('os');
    expect(resolveTopicSettings({ 'hadron.durability': 'fsync' }, os).durability).toBe('fsync');
  });

  test('§10.6: segment.bytes below 1048576 is CONFIG_INVALID and says what is allowed', () => {
    const error = failure(() => resolveTopicSettings({ 'segment.bytes': '1048575' }, brokerDefaults));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toBe(
      'CONFIG_INVALID: segment.bytes = "1048575" is not allowed: expected a whole number from 1048576 to 2147483647',
    );
  });

  test.each([
    ['retention.ms', '-2'],
    ['retention.ms', '1.5'],
    ['retention.ms', '9223372036854775808'],
    ['retention.ms', ''],
    ['cleanup.policy', 'compact,compact'],
    ['cleanup.policy', 'shred'],
    ['min.cleanable.dirty.ratio', '1.01'],
    ['preallocate', 'yes'],
    ['compression.type', 'brotli'],
    ['remote.storage.enable', 'true'],
    ['hadron.durability', 'maybe'],
    ['hadron.dedupe.entries', '0'],
    ['hadron.events', 'strict'],
    ['hadron.events.type', ''],
    ['hadron.events.content.type', 'json'],
    ['hadron.events.headers', 'order-id'],
    ['hadron.events.headers', 'order-id=Subject'],
    ['hadron.events.headers', 'order-id=id'],
    ['hadron.events.headers', 'a=subject,a=tenant'],
  ])('%s = %j is refused', (key, text) => {
    expect(failure(() => resolveTopicSettings({ [key]: text }, brokerDefaults)).code).toBe('CONFIG_INVALID');
  });

  test('compact,delete in any order; empty keeps everything', () => {
    const policy = (text: string) => resolveTopicSettings({ 'cleanup.policy': text }, brokerDefaults).cleanupPolicy;
    expect(policy('delete, compact')).toEqual({ delete: true, compact: true });
    expect(policy('')).toEqual({ delete: false, compact: false });
  });

  test('an unknown name gets a suggestion', () => {
    const error = failure(() => resolveTopicSettings({ 'retension.ms': '1' }, brokerDefaults));
    expect(error.message).toBe('CONFIG_INVALID: there is no topic config retension.ms; did you mean retention.ms?');
  });

  test('values that contradict each other are refused', () => {
    const overrides = { 'min.compaction.lag.ms': '10', 'max.compaction.lag.ms': '5' };
    expect(failure(() => resolveTopicSettings(overrides, brokerDefaults)).message).toContain('must not be above');
  });
});

describe('broker settings', () => {
  test('typed values under Kafka names', () => {
    const { values } = resolveBrokerSettings({ 'num.partitions': '4', 'auto.create.topics.enable': 'FALSE' });
    expect(values['num.partitions']).toBe(4);
    expect(values['auto.create.topics.enable']).toBe(false);
    expect(values['group.initial.rebalance.delay.ms']).toBe(0);
  });

  test.each([
    ['push.origin', 'Hadron.example.com', 'Hadron.example.com'],
    ['push.origin', 'a_b.example', undefined],
    ['push.origin', 'https://hadron.example', undefined],
    ['push.callback.url', 'https://hadron.example.com/', 'https://hadron.example.com'],
    ['push.callback.url', 'https://example.com:8443/hadron', 'https://example.com:8443/hadron'],
    ['push.callback.url', 'http://hadron.example.com', undefined],
    ['push.callback.url', 'https://a:b@hadron.example.com', undefined],
    ['push.callback.url', 'https://hadron.example.com/?x', undefined],
    ['push.callback.url', '', ''],
  ])('%s = %j is %j', (key, text, value) => {
    expect(BROKER_SETTINGS.get(key)?.parse(text)).toBe(value);
  });

  test('errors name key, value and what is allowed', () => {
    expect(failure(() => resolveBrokerSettings({ 'num.partitions': 'many' })).message).toBe(
      'SETTING_INVALID: num.partitions = "many" is not allowed: expected a whole number from 1 to 10000',
    );
    expect(failure(() => resolveBrokerSettings({ 'num.partition': '1' })).message).toBe(
      'SETTING_UNKNOWN: there is no setting num.partition; did you mean num.partitions?',
    );
    expect(failure(() => resolveBrokerSettings({ 'log.dirs': '/x' })).message).toContain(
      'here it is said by --data DIR',
    );
    expect(failure(() => resolveBrokerSettings({ 'log.segment.bytes': '14' })).code).toBe('SETTING_INVALID');
    const order = { 'group.min.session.timeout.ms': '10', 'group.max.session.timeout.ms': '5' };
    expect(failure(() => resolveBrokerSettings(order)).code).toBe('SETTING_INVALID');
    const lag = { 'log.cleaner.min.compaction.lag.ms': '10', 'log.cleaner.max.compaction.lag.ms': '5' };
    expect(failure(() => resolveBrokerSettings(lag)).code).toBe('SETTING_INVALID');
  });

  test('entries carry value, source and synonyms', () => {
    const broker = resolveBrokerSettings({ 'log.retention.hours': '2' });
    const entry = topicConfigEntries({ 'retention.ms': '5' }, broker).find(({ name }) => name === 'retention.ms');
    expect(entry).toMatchObject({ value: '5', source: 'topic', type: 'long', readOnly: false });
    expect(entry?.synonyms.map(({ name, value, source }) => [name, value, source])).toEqual([
      ['retention.ms', '5', 'topic'],
      ['log.retention.hours', '2', 'broker'],
      ['log.retention.ms', '604800000', 'default'],
    ]);
    const own = topicConfigEntries({}, broker).find(({ name }) => name === 'retention.ms');
    expect(own).toMatchObject({ value: '7200000', source: 'broker' });
    expect(brokerConfigEntries(broker).find(({ name }) => name === 'log.retention.hours')).toMatchObject({
      value: '2',
      source: 'broker',
      readOnly: true,
    });
    expect(brokerConfigEntries(broker)).toHaveLength(BROKER_SETTINGS.size);
  });
});

test('suggestions stay silent when nothing is near', () => {
  expect(didYouMean('zzz', BROKER_SETTINGS.keys())).toBe('');
  expect(didYouMean('num.partition', BROKER_SETTINGS.keys())).toBe('; did you mean num.partitions?');
});
