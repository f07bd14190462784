/** From texts to what the code uses: the broker's settings, a topic's settings, and the lists DescribeConfigs shows. */
import { HadronError } from '@hadron/base';
import { BROKER_SETTINGS, type BrokerKey, type BrokerValues, ownSettings, SAID_OTHERWISE } from './broker-settings.ts';
import { parseSetting, type SettingType, type SettingValue, settingDoc } from './setting.ts';
import { didYouMean } from './suggest.ts';
import { TOPIC_CONFIGS, type TopicConfig, type TopicConfigKey } from './topic-configs.ts';

/** Texts by name: a topic's overrides, or what the operator set. */
export type ConfigTexts = Readonly<Record<string, string>>;

export interface BrokerSettings {
  /** The value of every setting the broker reads, under its Kafka name: `values['num.partitions']`. */
  readonly values: BrokerValues;
  /** What was set, as text; everything else is a default. */
  readonly explicit: ConfigTexts;
}

/**
 * The broker's settings from what was set.
 * @throws HadronError SETTING_UNKNOWN or SETTING_INVALID, naming key, value and what is allowed
 */
export function resolveBrokerSettings(explicit: ConfigTexts = {}): BrokerSettings {
  for (const [key, text] of Object.entries(explicit)) checkBrokerSetting(key, text);
  const values = Object.fromEntries(
    Object.entries(ownSettings()).map(([key, setting]) => [
      key,
      parseSetting(key, setting, explicit[key] ?? setting.fallback),
    ]),
  ) as Record<BrokerKey, SettingValue> as BrokerValues;
  const ordered = (low: BrokerKey, high: BrokerKey) => {
    if (values[low] <= values[high]) return;
    throw new HadronError('SETTING_INVALID', `${low} = ${values[low]} must not be above ${high} = ${values[high]}`);
  };
  ordered('group.min.session.timeout.ms', 'group.max.session.timeout.ms');
  ordered('storage.commit.log.bytes', 'storage.commit.log.max.bytes');
  ordered('storage.commit.file.bytes', 'storage.commit.log.bytes');
  const settings: BrokerSettings = { values, explicit: { ...explicit } };
  resolveTopicSettings({}, settings, 'SETTING_INVALID');
  return settings;
}

/**
 * That `key` is a broker setting and `text` a value it takes. `place` says where it was written, for the message.
 * @throws HadronError SETTING_UNKNOWN or SETTING_INVALID
 */
export function checkBrokerSetting(key: string, text: string, place?: string): void {
  const setting = BROKER_SETTINGS.get(key);
  if (setting !== undefined) {
    parseSetting(key, setting, text, place === undefined ? {} : { place });
    return;
  }
  const otherwise = SAID_OTHERWISE[key];
  const hint =
    otherwise === undefined
      ? didYouMean(key, BROKER_SETTINGS.keys()) || '; `hadron config` lists them all'
      : `; here it is said by ${otherwise}`;
  throw new HadronError(
    'SETTING_UNKNOWN',
    `there is no setting ${key}${place === undefined ? '' : ` (${place})`}${hint}`,
  );
}

/** The settings of a server that was told nothing. */
export const brokerDefaults: BrokerSettings = resolveBrokerSettings();

/** A topic's settings in the form the broker works with. "No limit" and "never" are Infinity. */
export interface TopicSettings {
  readonly cleanupPolicy: { readonly delete: boolean; readonly compact: boolean };
  readonly retentionMs: number;
  readonly retentionBytes: number;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  readonly maxMessageBytes: number;
  readonly minCompactionLagMs: number;
  readonly maxCompactionLagMs: number;
  readonly deleteRetentionMs: number;
  readonly minCleanableDirtyRatio: number;
  readonly timestampType: 'CreateTime' | 'LogAppendTime';
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  readonly compressionType: 'uncompressed' | 'zstd' | 'lz4' | 'snappy' | 'gzip' | 'producer';
  readonly indexIntervalBytes: number;
  readonly durability: 'fsync' | 'os';
  /** 0: no deduplication. */
  readonly dedupeWindowMs: number;
  readonly dedupeEntries: number;
  /** How records are seen as events (cloudevents.md §5.3, §5.4). */
  readonly events: 'off' | 'lenient' | 'required';
  readonly eventsType: string;
  /** Empty: none. */
  readonly eventsContentType: string;
  /** `header=attribute`. */
  readonly eventsHeaders: readonly string[];
}

/**
 * A topic's settings from its own overrides and the broker's settings.
 * @throws HadronError CONFIG_INVALID for an unknown name, a value that is not allowed, or values that contradict each other
 */
export function resolveTopicSettings(
  overrides: ConfigTexts,
  broker: BrokerSettings,
  code: 'CONFIG_INVALID' | 'SETTING_INVALID' = 'CONFIG_INVALID',
): TopicSettings {
  for (const key of Object.keys(overrides)) {
    if (!Object.hasOwn(TOPIC_CONFIGS, key)) {
      throw new HadronError(
        'CONFIG_INVALID',
        `there is no topic config ${key}${didYouMean(key, Object.keys(TOPIC_CONFIGS))}`,
      );
    }
  }
  const value = <K extends TopicConfigKey>(key: K) => {
    const text = candidates(key, overrides, broker)[0]?.topicText as string;
    return parseSetting(key, TOPIC_CONFIGS[key] as TopicConfig, text, { code }) as ReturnType<
      (typeof TOPIC_CONFIGS)[K]['parse']
    > &
      SettingValue;
  };
  for (const key of Object.keys(overrides)) value(key as TopicConfigKey);

  const policy = value('cleanup.policy');
  const settings: TopicSettings = {
    cleanupPolicy: { delete: policy.includes('delete'), compact: policy.includes('compact') },
    retentionMs: unlimited(value('retention.ms')),
    retentionBytes: unlimited(value('retention.bytes')),
    segmentBytes: value('segment.bytes'),
    segmentMs: value('segment.ms'),
    maxMessageBytes: value('max.message.bytes'),
    minCompactionLagMs: value('min.compaction.lag.ms'),
    maxCompactionLagMs: value('max.compaction.lag.ms'),
    deleteRetentionMs: value('delete.retention.ms'),
    minCleanableDirtyRatio: value('min.cleanable.dirty.ratio'),
    timestampType: value('message.timestamp.type'),
    timestampBeforeMaxMs: value('message.timestamp.before.max.ms'),
    timestampAfterMaxMs: value('message.timestamp.after.max.ms'),
    compressionType: value('compression.type'),
    indexIntervalBytes: value('index.interval.bytes'),
    durability: value('hadron.durability'),
    dedupeWindowMs: value('hadron.dedupe.window.ms'),
    dedupeEntries: value('hadron.dedupe.entries'),
    events: value('hadron.events'),
    eventsType: value('hadron.events.type'),
    eventsContentType: value('hadron.events.content.type'),
    eventsHeaders: value('hadron.events.headers'),
  };
  if (settings.minCompactionLagMs > settings.maxCompactionLagMs) {
    throw new HadronError(
      code,
      `min.compaction.lag.ms = ${settings.minCompactionLagMs} must not be above max.compaction.lag.ms = ${settings.maxCompactionLagMs}`,
    );
  }
  return settings;
}

function unlimited(value: number): number {
  return value < 0 ? Number.POSITIVE_INFINITY : value;
}

/** Where a value comes from. The server maps it to Kafka's numbers (1, 4, 5). */
export type ConfigSource = 'topic' | 'broker' | 'default';

export interface ConfigSynonym {
  readonly name: string;
  readonly value: string;
  readonly source: ConfigSource;
}

/** One line of a DescribeConfigs answer. */
export interface ConfigEntry extends ConfigSynonym {
  readonly type: SettingType;
  readonly documentation: string;
  readonly readOnly: boolean;
  /** This value and the weaker ones behind it, strongest first. */
  readonly synonyms: readonly ConfigSynonym[];
}

/** Every topic config with its effective value, sorted by name: what DescribeConfigs lists for a topic. */
export function topicConfigEntries(overrides: ConfigTexts, broker: BrokerSettings): ConfigEntry[] {
  return Object.entries<TopicConfig>(TOPIC_CONFIGS).map(([name, config]) => {
    const found = candidates(name as TopicConfigKey, overrides, broker);
    const strongest = found[0] as Candidate;
    return {
      name,
      value: strongest.topicText,
      source: strongest.source,
      type: config.type,
      documentation: settingDoc(config),
      readOnly: false,
      synonyms: found.map((candidate) => ({ name: candidate.name, value: candidate.value, source: candidate.source })),
    };
  });
}

/** Every broker setting with its effective value, sorted by name. None can be changed while the server runs. */
export function brokerConfigEntries(broker: BrokerSettings): ConfigEntry[] {
  return [...BROKER_SETTINGS].map(([name, setting]) => {
    const explicit = broker.explicit[name];
    const fallback: ConfigSynonym = { name, value: setting.fallback, source: 'default' };
    const synonyms =
      explicit === undefined ? [fallback] : [{ name, value: explicit, source: 'broker' as const }, fallback];
    return {
      ...(synonyms[0] as ConfigSynonym),
      type: setting.type,
      documentation: settingDoc(setting),
      readOnly: true,
      synonyms,
    };
  });
}

interface Candidate extends ConfigSynonym {
  /** The same value in the topic config's unit. */
  readonly topicText: string;
}

/** All values a topic config could take here, strongest first: its override, its broker synonyms, its default. */
function candidates(key: TopicConfigKey, overrides: ConfigTexts, broker: BrokerSettings): Candidate[] {
  const config: TopicConfig = TOPIC_CONFIGS[key];
  const found: Candidate[] = [];
  const override = overrides[key];
  if (override !== undefined) found.push({ name: key, value: override, source: 'topic', topicText: override });
  for (const { key: name, unit } of config.from) {
    const value = broker.explicit[name];
    if (value === undefined) continue;
    // -1 hours is "for ever", like -1 milliseconds.
    const topicText = unit === 1 || Number(value) < 0 ? value : String(Number(value) * unit);
    found.push({ name, value, source: 'broker', topicText });
  }
  found.push({
    name: config.from[0]?.key ?? key,
    value: config.fallback,
    source: 'default',
    topicText: config.fallback,
  });
  return found;
}
