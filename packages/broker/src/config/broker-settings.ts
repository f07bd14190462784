/**
 * Every broker setting: Kafka's under Kafka's names, the engine's under `storage.*`, Hadron's own under `hadron.*`, those of
 * Subscriptions under `push.*`.
 *
 * Those that only give a topic config its default (`log.segment.bytes`, …) are not written here: they are made from the
 * `from` lists of topic-configs.ts.
 */
import { bool, int, long, oneOf, type Setting, type SettingValue, type ValueOf } from './setting.ts';
import { TOPIC_CONFIGS, type TopicConfig, type TopicConfigKey } from './topic-configs.ts';

const MIB = 1_048_576;

const isDnsName = (text: string): boolean =>
  text.length <= 253 && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(text);

/** Without the slash at its end. */
function parseBaseUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.protocol === 'https:' && url.search === '' && url.hash === '' && url.username === '';
  return isPlain && url.password === '' ? url.href.replace(/\/+$/, '') : undefined;
}

/** Settings the broker and the server themselves read, typed. */
const OWN = {
  'auto.create.topics.enable': bool(true, { doc: 'Whether a topic is created when a client asks for its metadata.' }),
  'connections.max.idle.ms': long(600_000, {
    min: 1,
    doc: 'A connection without a request or an answer for this long is closed, in milliseconds.',
  }),
  'default.replication.factor': int(1, {
    min: 1,
    max: 1,
    doc: 'Replicas of a topic created without a number.',
    noEffect: 'one server holds one copy',
  }),
  'fetch.max.bytes': int(57_671_680, { min: 1024, doc: 'The most bytes one Fetch answer carries.' }),
  'group.initial.rebalance.delay.ms': int(0, {
    min: 0,
    doc: 'How long an empty group waits for more members before its first rebalance, in milliseconds.',
  }),
  'group.max.session.timeout.ms': int(1_800_000, { min: 1, doc: 'The longest session timeout a member may ask for.' }),
  'group.max.size': int(2_147_483_647, { min: 1, doc: 'The most members of one group.' }),
  'group.min.session.timeout.ms': int(6_000, { min: 1, doc: 'The shortest session timeout a member may ask for.' }),
  'hadron.durability': oneOf('fsync', ['fsync', 'os'], TOPIC_CONFIGS['hadron.durability']),
  'hadron.max.partitions': int(100_000, { min: 1, doc: 'The most partitions of this server, over all topics.' }),
  'hadron.max.partitions.per.topic': int(10_000, {
    min: 1,
    max: 50_000, // one append set makes them all
    doc: 'The most partitions of one topic.',
  }),
  'hadron.progress.timeout.ms': int(30_000, {
    min: 1_000,
    doc: 'A half-received request or half-sent answer that does not move for this long closes its connection.',
  }),
  'log.cleaner.backoff.ms': long(15_000, { min: 0, doc: 'The pause between two looks for a log to compact.' }),
  'log.cleaner.dedupe.buffer.size': long(16 * MIB, {
    min: MIB,
    doc: 'Memory for the keys of one compaction; what does not fit waits for the next one.',
  }),
  'log.retention.check.interval.ms': long(300_000, { min: 1, doc: 'The pause between two looks for old segments.' }),
  'max.connections': int(20_000, { min: 1, doc: 'The most client connections; one more is closed at once.' }),
  'num.partitions': int(1, { min: 1, max: 10_000, doc: 'Partitions of a topic created without a number.' }),
  'offset.metadata.max.bytes': int(4_096, { min: 0, doc: 'The longest metadata string of a committed offset.' }),
  'offsets.retention.check.interval.ms': long(600_000, {
    min: 1,
    doc: 'The pause between two looks for expired offsets.',
  }),
  'offsets.retention.minutes': int(10_080, {
    min: 1,
    doc: 'How long the offsets of an empty group are kept, counted from the moment it became empty.',
  }),
  'producer.id.expiration.ms': int(86_400_000, {
    min: 1,
    doc: 'How long a silent idempotent producer is remembered by a partition.',
  }),
  'push.allow.http': bool(false, {
    doc: 'Whether Subscriptions may deliver to plain HTTP; for development, everybody on the way reads along.',
  }),
  'push.allow.private': bool(false, {
    doc: 'Whether Subscriptions may deliver to loopback, link-local, private and reserved addresses. Who may write a Subscription then reaches whatever this server reaches.',
  }),
  'push.callback.url': {
    type: 'string',
    fallback: '',
    allowed: 'an https URL without query or fragment, for example https://hadron.example.com; or empty',
    doc: 'Where sinks reach the HTTP port of this server from outside. They are told a URL below it, at which they may consent to deliveries later; without it they consent at once or not at all.',
    parse: (text: string) => (text === '' ? text : parseBaseUrl(text)),
  },
  'push.origin': {
    type: 'string',
    fallback: '',
    allowed: 'a DNS name, for example hadron.example.com; or empty',
    doc: 'The name by which sinks know this server and consent to its deliveries (WebHook-Request-Origin). Empty: the host of --advertise, else the name of the machine.',
    parse: (text: string) => (text === '' || isDnsName(text) ? text : undefined),
  },
  'queued.max.request.bytes': long(128 * MIB, {
    min: MIB,
    doc: 'Memory for requests received and not yet answered, over all connections; reading pauses above it.',
  }),
  'socket.request.max.bytes': int(104_857_600, {
    min: 1,
    doc: 'The largest request; a larger one closes its connection.',
  }),
  'storage.commit.file.bytes': int(16 * MIB, { min: 65_536, doc: 'The size of one commit-log file.' }),
  'storage.commit.log.bytes': int(32 * MIB, { min: 65_536, doc: 'Bytes of commit log at which a checkpoint begins.' }),
  'storage.commit.log.max.bytes': int(64 * MIB, {
    min: 131_072,
    doc: 'Bytes of commit log above which appends are slowed.',
  }),
  'storage.direct.append.bytes': int(131_072, {
    min: 4_096,
    doc: 'An append of this size or more, per log and commit, goes straight to its segment.',
  }),
  'storage.min.free.bytes': long(256 * MIB, { min: 0, doc: 'Below this much free disk, produce is refused first.' }),
  'storage.open.files': int(512, { min: 16, doc: 'Segment files kept open at the same time.' }),
  'storage.scrub.bytes.per.second': long(0, {
    min: 0,
    doc: 'How fast stored data is read again in the background to find damage; 0 is off.',
  }),
  'storage.tail.cache.bytes': int(32 * MIB, { min: MIB, doc: 'Memory for the newest records of all logs.' }),
} as const satisfies Record<string, Setting>;

export type BrokerKey = keyof typeof OWN;
export type BrokerValues = { readonly [K in BrokerKey]: ValueOf<(typeof OWN)[K]> };

/** A topic config's default as a broker setting, in the unit the setting counts in. */
function topicDefault(key: TopicConfigKey, unit: number): Setting {
  const config: TopicConfig = TOPIC_CONFIGS[key];
  if (unit === 1) return { ...config, doc: `The default of the topic config ${key}. ${config.doc}` };
  const what = unit === 3_600_000 ? 'hours' : 'minutes';
  const described = {
    doc: `The default of the topic config ${key}, in ${what}.`,
    ...(config.noEffect === undefined ? {} : { noEffect: config.noEffect }),
  };
  const fallback = Number(config.fallback) / unit;
  const min = key === 'retention.ms' ? -1 : key === 'segment.ms' ? 1 : 0;
  return int(fallback, { ...described, min });
}

/** Every broker setting by name, sorted. */
export const BROKER_SETTINGS: ReadonlyMap<string, Setting<SettingValue>> = new Map(
  [
    ...Object.entries<Setting>(OWN),
    ...Object.entries<TopicConfig>(TOPIC_CONFIGS).flatMap(([key, config]) =>
      config.from
        .filter((synonym) => !(synonym.key in OWN))
        .map((synonym): [string, Setting] => [synonym.key, topicDefault(key as TopicConfigKey, synonym.unit)]),
    ),
  ].sort(([a], [b]) => (a < b ? -1 : 1)),
);

/** What people know from Kafka's server.properties and say another way here. */
export const SAID_OTHERWISE: Readonly<Record<string, string>> = {
  'advertised.listeners': '--advertise HOST:PORT',
  'broker.id': 'nothing: one server has one id, kept in the data folder',
  listeners: '--listen HOST and --kafka-port PORT',
  'log.dir': '--data DIR',
  'log.dirs': '--data DIR',
  'node.id': 'nothing: one server has one id, kept in the data folder',
  port: '--kafka-port PORT',
};

export function ownSettings(): Readonly<Record<BrokerKey, Setting>> {
  return OWN;
}
