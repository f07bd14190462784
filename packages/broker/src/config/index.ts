/** Settings of the broker and of topics: tables, parsing, resolved values. Start reading at topic-configs.ts. */
export { BROKER_SETTINGS, type BrokerKey, type BrokerValues } from './broker-settings.ts';
export {
  type BrokerSettings,
  brokerConfigEntries,
  brokerDefaults,
  type ConfigEntry,
  type ConfigSource,
  type ConfigSynonym,
  type ConfigTexts,
  checkBrokerSetting,
  resolveBrokerSettings,
  resolveTopicSettings,
  type TopicSettings,
  topicConfigEntries,
} from './resolve.ts';
export {
  int,
  list,
  oneOf,
  parseSetting,
  type Setting,
  type SettingType,
  type SettingValue,
  settingDoc,
  type ValueOf,
} from './setting.ts';
export { didYouMean } from './suggest.ts';
export { TOPIC_CONFIGS, type TopicConfig, type TopicConfigKey } from './topic-configs.ts';
