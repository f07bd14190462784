/**
 * A Stream's spec and its topic's configs: two spellings of one thing. The configs are the truth; what a field can say
 * exactly is shown as that field, everything else under `topicConfig`. So what a Kafka client sets is seen in the Stream,
 * and back. Pure. Always true: `configOf(specOf(config))` is `config`, and `specOf(configOf(spec))` says what `spec` says.
 */
import { MAX_EVENT_BYTES_MIN, type StreamSpec } from '@hadron/contracts/resources';
import type { ConfigTexts } from '../config/index.ts';

/** The part of a spec that is topic configs. */
export type ConfiguredSpec = Pick<
  StreamSpec,
  'retentionPolicy' | 'durability' | 'compaction' | 'deduplication' | 'maxEventBytes' | 'events' | 'topicConfig'
>;

type FieldName = Exclude<keyof ConfiguredSpec, 'topicConfig'>;

interface Field<F extends FieldName = FieldName> {
  /** The configs it stands for. In a document none of them is said beside the field. */
  readonly keys: readonly string[];
  toConfig(value: NonNullable<StreamSpec[F]>): ConfigTexts;
  /** Undefined: the field cannot say this. */
  fromConfig(config: ConfigTexts): StreamSpec[F];
}

const DEFAULT_RETENTION_SECONDS = 604_800;

/** The fields, in the order in which they are shown. */
const FIELDS: { readonly [F in FieldName]: Field<F> } = {
  retentionPolicy: {
    keys: ['retention.ms', 'retention.bytes'],
    toConfig({ strategy, retentionSeconds, retentionBytes }) {
      const bytes = retentionBytes === undefined ? undefined : String(retentionBytes);
      if (strategy === 'retain') return { 'retention.ms': '-1', 'retention.bytes': '-1' };
      const ms = strategy === 'time' ? inMs(retentionSeconds ?? DEFAULT_RETENTION_SECONDS) : '-1';
      return { 'retention.ms': ms, ...(bytes === undefined ? {} : { 'retention.bytes': bytes }) };
    },
    fromConfig({ 'retention.ms': ms, 'retention.bytes': bytes }) {
      if (ms === '-1' && bytes === '-1') return { strategy: 'retain' };
      const retentionBytes = whole(bytes);
      if (bytes !== undefined && retentionBytes === undefined) return undefined;
      if (ms === '-1') return retentionBytes === undefined ? undefined : { strategy: 'size', retentionBytes };
      const retentionSeconds = inSeconds(ms);
      if (retentionSeconds === undefined) return undefined;
      return { strategy: 'time', retentionSeconds, ...(retentionBytes === undefined ? {} : { retentionBytes }) };
    },
  },
  durability: choice('hadron.durability', ['fsync', 'os']),
  compaction: {
    keys: ['cleanup.policy', 'delete.retention.ms'],
    toConfig: ({ strategy, tombstoneSeconds }) => ({
      'cleanup.policy': strategy === 'compact' ? 'compact' : 'compact,delete',
      ...(tombstoneSeconds === undefined ? {} : { 'delete.retention.ms': inMs(tombstoneSeconds) }),
    }),
    fromConfig({ 'cleanup.policy': policy, 'delete.retention.ms': ms }) {
      if (policy !== 'compact' && policy !== 'compact,delete') return undefined;
      const tombstoneSeconds = inSeconds(ms);
      if (ms !== undefined && tombstoneSeconds === undefined) return undefined;
      return {
        strategy: policy === 'compact' ? 'compact' : 'compact-delete',
        ...(tombstoneSeconds === undefined ? {} : { tombstoneSeconds }),
      };
    },
  },
  deduplication: {
    keys: ['hadron.dedupe.window.ms', 'hadron.dedupe.entries'],
    toConfig: ({ windowSeconds, entries }) => ({
      'hadron.dedupe.window.ms': inMs(windowSeconds),
      ...(entries === undefined ? {} : { 'hadron.dedupe.entries': String(entries) }),
    }),
    fromConfig({ 'hadron.dedupe.window.ms': ms, 'hadron.dedupe.entries': texts }) {
      const windowSeconds = inSeconds(ms);
      const entries = whole(texts);
      if (windowSeconds === undefined || windowSeconds === 0) return undefined;
      if (texts !== undefined && (entries === undefined || entries === 0)) return undefined;
      return { windowSeconds, ...(entries === undefined ? {} : { entries }) };
    },
  },
  maxEventBytes: {
    keys: ['max.message.bytes'],
    toConfig: (bytes) => ({ 'max.message.bytes': String(bytes) }),
    fromConfig(config) {
      const bytes = whole(config['max.message.bytes']);
      return bytes === undefined || bytes < MAX_EVENT_BYTES_MIN ? undefined : bytes;
    },
  },
  events: choice('hadron.events', ['off', 'lenient', 'required']),
};

function choice<const C extends string>(key: string, choices: readonly C[]) {
  return {
    keys: [key],
    toConfig: (value: C): ConfigTexts => ({ [key]: value }),
    fromConfig: (config: ConfigTexts): C | undefined => choices.find((c) => c === config[key]),
  };
}

const NAMES = Object.keys(FIELDS) as FieldName[];

/** The topic's configs for a spec that {@link saidTwice} nothing. What the spec does not say is left to the server. */
export function configOf(spec: ConfiguredSpec): ConfigTexts {
  const config: Record<string, string> = {};
  for (const name of NAMES) {
    const value = spec[name];
    if (value !== undefined && value !== null) Object.assign(config, (FIELDS[name] as Field).toConfig(value as never));
  }
  for (const [key, value] of Object.entries(spec.topicConfig ?? {})) config[key] = String(value);
  return config;
}

/** The spec that says these configs. */
export function specOf(config: ConfigTexts): ConfiguredSpec {
  const spec: Record<string, unknown> = {};
  const left: Record<string, string> = { ...config };
  for (const name of NAMES) {
    const value = FIELDS[name].fromConfig(config);
    if (value === undefined) continue;
    spec[name] = value;
    for (const key of FIELDS[name].keys) delete left[key];
  }
  if (Object.keys(left).length > 0) spec['topicConfig'] = left;
  return spec;
}

/** Configs that a document says by a field and by their name. */
export function saidTwice(spec: ConfiguredSpec): { readonly field: string; readonly key: string }[] {
  return NAMES.filter((name) => spec[name] !== undefined && spec[name] !== null).flatMap((field) =>
    FIELDS[field].keys.filter((key) => Object.hasOwn(spec.topicConfig ?? {}, key)).map((key) => ({ field, key })),
  );
}

/** Exact: seconds of a long in milliseconds may be more than a number holds. */
const inMs = (seconds: number): string => String(BigInt(seconds) * 1000n);

/** Undefined: no whole seconds, or not written as we write it. */
function inSeconds(ms: string | undefined): number | undefined {
  if (ms === undefined || !/^(0|[1-9]\d{0,18})$/.test(ms) || BigInt(ms) % 1000n !== 0n) return undefined;
  return whole(String(BigInt(ms) / 1000n));
}

function whole(text: string | undefined): number | undefined {
  if (text === undefined || !/^(0|[1-9]\d{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
