/** Where settings are written: flags, the environment, a YAML file. Each source becomes texts with their places; nothing is judged here but names. */
import { BROKER_SETTINGS, didYouMean } from '@hadron/broker';
import { HadronError } from '@hadron/base';
import { SERVER_SETTINGS, type ServerKey } from './server-settings.ts';

export type SettingSource = 'flag' | 'environment' | 'file' | 'default';

/** A text and where it was written. */
export interface Written {
  readonly text: string;
  readonly source: SettingSource;
  /** "flag --set", "environment HADRON_DATA", "/etc/hadron.yaml:3". */
  readonly place: string;
}

/** What one source says, by name of the setting. */
export type Said = ReadonlyMap<string, Written>;

/** The flags of `hadron start`, as typed. */
export interface SettingFlags {
  readonly data?: string | undefined;
  readonly kafkaPort?: string | undefined;
  readonly httpPort?: string | undefined;
  readonly metricsPort?: string | undefined;
  readonly originalPorts?: string | undefined;
  readonly corsOrigins?: string | undefined;
  readonly listen?: readonly string[] | undefined;
  readonly advertise?: string | undefined;
  readonly namespace?: string | undefined;
  readonly durability?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly config?: string | undefined;
  /** `key=value` each. */
  readonly set?: readonly string[] | undefined;
}

const FLAG_OF: Record<ServerKey, Exclude<keyof SettingFlags, 'config' | 'set'>> = {
  data: 'data',
  'kafka-port': 'kafkaPort',
  'http-port': 'httpPort',
  'metrics-port': 'metricsPort',
  'original-ports': 'originalPorts',
  'cors-origins': 'corsOrigins',
  listen: 'listen',
  advertise: 'advertise',
  namespace: 'namespace',
  durability: 'durability',
  'log-level': 'logLevel',
};

const SERVER_KEYS = Object.keys(SERVER_SETTINGS) as ServerKey[];

export function readFlags(flags: SettingFlags): Said {
  const said = new Map<string, Written>();
  for (const key of SERVER_KEYS) {
    const given = flags[FLAG_OF[key]];
    if (given === undefined) continue;
    const text = typeof given === 'string' ? given : given.join(',');
    said.set(key, { text, source: 'flag', place: `flag --${key}` });
  }
  for (const pair of flags.set ?? []) {
    const at = pair.indexOf('=');
    if (at <= 0) {
      throw new HadronError(
        'SETTING_INVALID',
        `--set ${pair} is not allowed: expected NAME=VALUE, for example num.partitions=4`,
      );
    }
    const text = pair.slice(at + 1);
    said.set(pair.slice(0, at).trim(), { text, source: 'flag', place: 'flag --set' });
  }
  return said;
}

/** Variables that begin with HADRON_ and are no settings: of the command line, of our tests, of a Kubernetes service named hadron. */
const NOT_SETTINGS =
  /^HADRON_(CONFIG|DEBUG|BOOTSTRAP|URL|FUZZ|SLOW|GROUP_SEEDS|KAFKA_MESSAGES|TEST_.*|BENCH_.*|SERVICE_.*|PORT|PORT_.*)$/;

export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Said {
  const said = new Map<string, Written>();
  const names = new Map<string, string>([
    ...SERVER_KEYS.map((key): [string, string] => [`HADRON_${upper(key)}`, key]),
    ...[...BROKER_SETTINGS.keys()].map((key): [string, string] => [`HADRON_SET_${upper(key)}`, key]),
  ]);
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('HADRON_') || text === undefined || NOT_SETTINGS.test(name)) continue;
    const key = names.get(name);
    if (key === undefined) {
      throw new HadronError(
        'SETTING_UNKNOWN',
        `there is no setting ${name} (environment)${didYouMean(name, names.keys())}`,
      );
    }
    said.set(key, { text, source: 'environment', place: `environment ${name}` });
  }
  return said;
}

function upper(key: string): string {
  return key.toUpperCase().replaceAll(/[.-]/g, '_');
}

/**
 * A YAML file of `name: value`. The server's names are its flags' (`kafka-port: 9092`); the broker's stand beside them or
 * under `set:`, as Kafka writes them (`num.partitions: 4`).
 * @throws HadronError SETTING_INVALID when it is not such a file
 */
export async function readFile(file: string, content: string): Promise<Said> {
  // In the bundle the package's CommonJS files come as one default export.
  const yaml = await import('yaml');
  const { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } =
    (yaml as unknown as { default?: typeof yaml }).default ?? yaml;
  const lines = new LineCounter();
  // Values stay as written ("1e3", "007", "yes"): what they mean is the setting's affair, not YAML's.
  const document = parseDocument(content, { lineCounter: lines, schema: 'failsafe' });
  const fail = (problem: string, offset: number | undefined): never => {
    const line = offset === undefined ? '' : `:${lines.linePos(offset).line}`;
    throw new HadronError('SETTING_INVALID', `${file}${line}: ${problem}`);
  };
  const [error] = document.errors;
  if (error !== undefined) fail((error.message.split('\n')[0] as string).replace(/ at line .*$/, ''), error.pos[0]);

  const said = new Map<string, Written>();
  const read = (node: unknown, at: number | undefined): void => {
    if (!isMap(node)) return fail('expected lines of NAME: VALUE', at);
    for (const { key: nameNode, value } of node.items) {
      if (!isScalar(nameNode)) return fail('expected a name', at);
      const name = String(nameNode.value);
      const offset = nameNode.range?.[0];
      if (name === 'set' && node === document.contents) {
        read(value, offset);
        continue;
      }
      let text: string;
      if (isScalar(value)) text = typeof value.value === 'string' ? value.value : '';
      else if (isSeq(value) && value.items.every(isScalar))
        text = value.items.map((item) => String(item.value)).join(',');
      else
        return fail(`${name}: expected a value or a list of values${isAlias(value) ? ', not an alias' : ''}`, offset);
      if (!Object.hasOwn(SERVER_SETTINGS, name) && !BROKER_SETTINGS.has(name)) {
        const known = [...SERVER_KEYS, ...BROKER_SETTINGS.keys()];
        const line = offset === undefined ? 1 : lines.linePos(offset).line;
        throw new HadronError(
          'SETTING_UNKNOWN',
          `there is no setting ${name} (${file}:${line})${didYouMean(name, known)}`,
        );
      }
      const line = offset === undefined ? 1 : lines.linePos(offset).line;
      said.set(name, { text, source: 'file', place: `${file}:${line}` });
    }
  };
  if (document.contents !== null) read(document.contents, 0);
  return said;
}
