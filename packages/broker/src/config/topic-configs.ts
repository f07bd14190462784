/**
 * Every topic config, as Kafka 4.3 names and limits them, and Hadron's own (`hadron.*`).
 *
 * A topic's effective value is its own override, else the broker setting that is its synonym, else the default; see
 * resolve.ts. `from` lists those synonyms, strongest first; one with a `unit` counts in minutes or hours.
 */
import { bool, double, int, LONG_MAX, list, long, oneOf, type Setting, type SettingValue, text } from './setting.ts';

export interface Synonym {
  readonly key: string;
  /** What one unit of the broker setting is in units of the topic config. */
  readonly unit: number;
}

export interface TopicConfig<V extends SettingValue = SettingValue> extends Setting<V> {
  readonly from: readonly Synonym[];
}

const ONE_DISK = 'there is no copy to throttle or wait for on one node';
const NO_TIER = 'there is no tiered storage yet';
const DURABLE = 'what is acknowledged is synced by group commit; see hadron.durability';
const AS_SENT = 'batches are stored exactly as the producer compressed them';

/** What a record is by itself (cloudevents.md §5.3) is no header's to say. */
const HEADER_PAIR =
  /^[^=,]{1,249}=(?!(?:id|source|type|specversion|time|data|datacontenttype|hadronpartition|hadronoffset)$)[a-z0-9]{1,64}$/;

const topic = <V extends SettingValue>(setting: Setting<V>, ...from: (string | Synonym)[]): TopicConfig<V> => ({
  ...setting,
  from: from.map((synonym) => (typeof synonym === 'string' ? { key: synonym, unit: 1 } : synonym)),
});

export const TOPIC_CONFIGS = {
  'cleanup.policy': topic(
    list('delete', ['compact', 'delete'], {
      doc: 'What happens to old records: delete removes segments by age and size, compact keeps the newest record of each key. Empty keeps everything.',
    }),
    'log.cleanup.policy',
  ),
  'compression.gzip.level': topic(
    int(-1, { min: -1, max: 9, doc: 'Level of gzip when compression.type is gzip.', noEffect: AS_SENT }),
    'compression.gzip.level',
  ),
  'compression.lz4.level': topic(
    int(9, { min: 1, max: 17, doc: 'Level of lz4 when compression.type is lz4.', noEffect: AS_SENT }),
    'compression.lz4.level',
  ),
  'compression.type': topic(
    oneOf('producer', ['uncompressed', 'zstd', 'lz4', 'snappy', 'gzip', 'producer'], {
      doc: 'The compression of stored batches; producer keeps what the producer chose.',
      noEffect: AS_SENT,
    }),
    'compression.type',
  ),
  'compression.zstd.level': topic(
    int(3, { min: -131072, max: 22, doc: 'Level of zstd when compression.type is zstd.', noEffect: AS_SENT }),
    'compression.zstd.level',
  ),
  'delete.retention.ms': topic(
    long(86_400_000, { min: 0, doc: 'How long a tombstone of a compacted topic stays readable, in milliseconds.' }),
    'log.cleaner.delete.retention.ms',
  ),
  'file.delete.delay.ms': topic(
    long(60_000, {
      min: 0,
      doc: 'How long a deleted segment file stays on disk.',
      noEffect: 'a file goes as soon as the new log start is durable; readers look their position up again',
    }),
    'log.segment.delete.delay.ms',
  ),
  'flush.messages': topic(
    long(LONG_MAX, { min: 1, doc: 'Records between two syncs of a log.', noEffect: DURABLE }),
    'log.flush.interval.messages',
  ),
  'flush.ms': topic(
    long(LONG_MAX, { min: 0, doc: 'Milliseconds between two syncs of a log.', noEffect: DURABLE }),
    'log.flush.interval.ms',
  ),
  'follower.replication.throttled.replicas': topic(
    list('', undefined, { doc: 'Replicas whose copying is throttled on the follower.', noEffect: ONE_DISK }),
  ),
  'hadron.dedupe.entries': topic(
    int(100_000, {
      min: 1,
      max: 20_000_000,
      doc: 'The most events remembered by the deduplication window (hadron.dedupe.window.ms); the oldest are forgotten first. Up to 40 bytes of memory each, taken as they come.',
    }),
  ),
  'hadron.dedupe.window.ms': topic(
    long(0, {
      min: 0,
      doc: 'How long source and id of an event are remembered, in milliseconds: an event published again meanwhile is not stored, and is answered with its first position. Record batches are not looked up: their producers number them. 0 is off.',
    }),
  ),
  'hadron.durability': topic(
    oneOf('fsync', ['fsync', 'os'], {
      doc: 'When a record is acknowledged: fsync, after it is on stable storage; os, when the operating system has it (survives a crash of the process, not of the machine).',
    }),
    'hadron.durability',
  ),
  'hadron.events': topic(
    oneOf('lenient', ['off', 'lenient', 'required'], {
      doc: 'How records are seen as CloudEvents: lenient, by their ce_ headers, and records without them as events made of position and value; off, all of them as the latter; required, records that are no CloudEvent are refused (INVALID_RECORD).',
    }),
  ),
  'hadron.events.content.type': topic(
    text('', {
      pattern: /^$|^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/,
      allowed: 'a media type such as application/json, or empty for none',
      doc: 'The datacontenttype of records without CloudEvents headers that name none in a header content-type.',
    }),
  ),
  'hadron.events.headers': topic({
    ...list('', undefined, {
      doc: 'Record headers that become attributes of records without CloudEvents headers: header=attribute, separated by commas; subject, dataschema or extensions.',
    }),
    allowed:
      'pairs such as order-id=subject,tenant=tenant: a header name, and an attribute in lower-case letters and digits that a record does not have of itself',
    parse(said) {
      const pairs = said.split(',').map((pair) => pair.trim());
      if (said.trim() === '') return [];
      if (pairs.some((pair) => !HEADER_PAIR.test(pair))) return undefined;
      return new Set(pairs.map((pair) => pair.slice(0, pair.lastIndexOf('=')))).size === pairs.length
        ? pairs
        : undefined;
    },
  }),
  'hadron.events.type': topic(
    text('rs.hadron.record.v1', {
      pattern: /^[^\p{Cc}\p{Cs}]{1,256}$/u,
      allowed: 'a text of 1 to 256 characters',
      doc: 'The type of records without CloudEvents headers, seen as events.',
    }),
  ),
  'index.interval.bytes': topic(
    int(4096, {
      min: 0,
      doc: 'Bytes of log between two entries of the offset index.',
      noEffect: 'an index entry is made every 32 KiB',
    }),
    'log.index.interval.bytes',
  ),
  'leader.replication.throttled.replicas': topic(
    list('', undefined, { doc: 'Replicas whose copying is throttled on the leader.', noEffect: ONE_DISK }),
  ),
  'local.retention.bytes': topic(
    long(-2, { min: -2, doc: 'Bytes kept on the local disk of a tiered topic.', noEffect: NO_TIER }),
  ),
  'local.retention.ms': topic(
    long(-2, { min: -2, doc: 'Milliseconds kept on the local disk of a tiered topic.', noEffect: NO_TIER }),
  ),
  'max.compaction.lag.ms': topic(
    long(LONG_MAX, { min: 1, doc: 'The longest a record of a compacted topic may stay uncompacted, in milliseconds.' }),
    'log.cleaner.max.compaction.lag.ms',
  ),
  'max.message.bytes': topic(
    int(1_048_588, {
      min: 0,
      doc: 'The largest record batch accepted, in bytes, after compression. An event of 64 KiB published as a CloudEvent is taken whatever is said here, unless hadron.events is off.',
    }),
    'message.max.bytes',
  ),
  'message.timestamp.after.max.ms': topic(
    long(3_600_000, {
      min: 0,
      doc: 'How far a record timestamp may lie ahead of the server clock, in milliseconds (CreateTime only).',
    }),
    'log.message.timestamp.after.max.ms',
  ),
  'message.timestamp.before.max.ms': topic(
    long(LONG_MAX, {
      min: 0,
      doc: 'How far a record timestamp may lie behind the server clock, in milliseconds (CreateTime only).',
    }),
    'log.message.timestamp.before.max.ms',
  ),
  'message.timestamp.type': topic(
    oneOf('CreateTime', ['CreateTime', 'LogAppendTime'], {
      doc: 'Whose time a record carries: the producer (CreateTime) or the server (LogAppendTime).',
    }),
    'log.message.timestamp.type',
  ),
  'min.cleanable.dirty.ratio': topic(
    double(0.5, { min: 0, max: 1, doc: 'The share of uncompacted bytes at which a compacted log is compacted.' }),
    'log.cleaner.min.cleanable.ratio',
  ),
  'min.compaction.lag.ms': topic(
    long(0, { min: 0, doc: 'The shortest a record of a compacted topic stays uncompacted, in milliseconds.' }),
    'log.cleaner.min.compaction.lag.ms',
  ),
  'min.insync.replicas': topic(
    int(1, { min: 1, doc: 'Replicas that must have a record before acks=all is answered.', noEffect: ONE_DISK }),
    'min.insync.replicas',
  ),
  preallocate: topic(
    bool(false, {
      doc: 'Whether a segment file gets its full size when it is created.',
      noEffect: 'segment files grow as they are written',
    }),
    'log.preallocate',
  ),
  'remote.log.copy.disable': topic(
    bool(false, { doc: 'Whether copying to tiered storage is off.', noEffect: NO_TIER }),
  ),
  'remote.log.delete.on.disable': topic(
    bool(false, { doc: 'Whether tiered data is deleted when tiering is switched off.', noEffect: NO_TIER }),
  ),
  'remote.storage.enable': topic({
    ...bool(false, { doc: 'Whether the topic uses tiered storage.', noEffect: NO_TIER }),
    allowed: 'only false (there is no tiered storage yet)',
    parse: (text) => (/^false$/i.test(text) ? false : undefined),
  }),
  'retention.bytes': topic(
    long(-1, { min: -1, doc: 'Bytes kept per partition (cleanup.policy delete); -1 is no limit.' }),
    'log.retention.bytes',
  ),
  'retention.ms': topic(
    long(604_800_000, { min: -1, doc: 'Milliseconds a record is kept (cleanup.policy delete); -1 is for ever.' }),
    'log.retention.ms',
    { key: 'log.retention.minutes', unit: 60_000 },
    { key: 'log.retention.hours', unit: 3_600_000 },
  ),
  'segment.bytes': topic(
    int(1_073_741_824, { min: 1_048_576, doc: 'The size at which a new segment file begins.' }),
    'log.segment.bytes',
  ),
  'segment.index.bytes': topic(
    int(10_485_760, {
      min: 4,
      doc: 'The largest size of a segment index file.',
      noEffect: 'an index is as large as its segment needs',
    }),
    'log.index.size.max.bytes',
  ),
  'segment.jitter.ms': topic(
    long(0, {
      min: 0,
      doc: 'A random part taken off segment.ms, so that segments do not roll together.',
      noEffect: 'rolling a segment is cheap; idle ones do not roll',
    }),
    'log.roll.jitter.ms',
    { key: 'log.roll.jitter.hours', unit: 3_600_000 },
  ),
  'segment.ms': topic(
    long(604_800_000, { min: 1, doc: 'The age at which a new segment file begins, in milliseconds.' }),
    'log.roll.ms',
    { key: 'log.roll.hours', unit: 3_600_000 },
  ),
  'unclean.leader.election.enable': topic(
    bool(false, { doc: 'Whether a replica that lags may become leader.', noEffect: ONE_DISK }),
    'unclean.leader.election.enable',
  ),
} as const satisfies Record<string, TopicConfig>;

export type TopicConfigKey = keyof typeof TOPIC_CONFIGS;
