/** Settings from all sources: flag before environment before file before default, each with the place it came from. */
import path from 'node:path';
import { HadronError } from '@hadron/base';
import {
  BROKER_SETTINGS,
  checkBrokerSetting,
  parseSetting,
  resolveBrokerSettings,
  type Setting,
  settingDoc,
} from '@hadron/broker';
import {
  parseHostPort,
  parsePortRange,
  SERVER_SETTINGS,
  type ServerKey,
  type ServerSettings,
} from './server-settings.ts';
import {
  readEnvironment,
  readFile,
  readFlags,
  type Said,
  type SettingFlags,
  type SettingSource,
  type Written,
} from './sources.ts';

/** What the settings are read from. Handed in, so that a test needs no machine. */
export interface SettingsInput {
  readonly flags: SettingFlags;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that relative paths start from. */
  readonly cwd: string;
  /** The content of the settings file. Only called when one is named. */
  readonly readText: (file: string) => string;
}

/** One setting as `hadron config` shows it. */
export interface SettingEntry {
  readonly key: string;
  readonly value: string;
  readonly source: SettingSource;
  /** "flag --set", "environment HADRON_DATA", "hadron.yaml:3", "default". */
  readonly place: string;
  readonly doc: string;
}

export interface LoadedSettings {
  readonly settings: ServerSettings;
  /** Every setting, the server's first, then the broker's by name. */
  readonly entries: readonly SettingEntry[];
}

/**
 * The effective settings.
 * @throws HadronError SETTING_UNKNOWN or SETTING_INVALID, naming key, value, place and what is allowed
 */
export async function loadSettings({ flags, env, cwd, readText }: SettingsInput): Promise<LoadedSettings> {
  const sources: Said[] = [readFlags(flags), readEnvironment(env)];
  const file = flags.config ?? env['HADRON_CONFIG'];
  if (file !== undefined) {
    const where = flags.config === undefined ? 'environment HADRON_CONFIG' : 'flag --config';
    sources.push(await readFile(file, readSettingsFile(path.resolve(cwd, file), where, readText)));
  }
  const written = (key: string): Written | undefined => sources.find((said) => said.has(key))?.get(key);

  // Names first: a misspelt one should not hide behind a bad value.
  const explicit: Record<string, string> = {};
  for (const key of new Set(sources.flatMap((said) => [...said.keys()]))) {
    if (Object.hasOwn(SERVER_SETTINGS, key)) continue;
    const { text, place } = written(key) as Written;
    checkBrokerSetting(key, text, place);
    explicit[key] = text.trim();
  }

  const value = <K extends ServerKey>(key: K): NonNullable<ReturnType<(typeof SERVER_SETTINGS)[K]['parse']>> => {
    const setting: Setting = SERVER_SETTINGS[key];
    const found = written(key);
    const text = found?.text ?? setting.fallback;
    return parseSetting(key, setting, text, found === undefined ? {} : { place: found.place }) as never;
  };
  // --durability is the short name of a broker setting; where both are written, the stronger source counts.
  const durability = value('durability');
  const strength = (key: string) => sources.length - sources.findIndex((said) => said.has(key));
  const durabilityKey = !written('hadron.durability')
    ? 'durability'
    : written('durability') && strength('durability') >= strength('hadron.durability')
      ? 'durability'
      : 'hadron.durability';
  if (durabilityKey === 'durability' && written('durability')) explicit['hadron.durability'] = durability;
  const broker = resolveBrokerSettings(explicit);

  const advertise = parseHostPort(value('advertise'));
  const originalPorts = parsePortRange(value('original-ports'));
  const settings: ServerSettings = {
    dataDir: path.resolve(cwd, value('data')),
    kafkaPort: value('kafka-port'),
    httpPort: value('http-port'),
    httpPortIsDefault: written('http-port') === undefined,
    ...(value('metrics-port') === 0 ? {} : { metricsPort: value('metrics-port') }),
    ...(originalPorts === undefined ? {} : { originalPorts }),
    corsOrigins: value('cors-origins'),
    listen: value('listen'),
    listenIsDefault: written('listen') === undefined,
    ...(advertise === undefined ? {} : { advertise }),
    namespace: value('namespace'),
    durability: broker.values['hadron.durability'],
    logLevel: value('log-level'),
    broker,
  };
  const entry = (key: string, setting: Setting): SettingEntry => {
    const found = written(key === 'durability' || key === 'hadron.durability' ? durabilityKey : key);
    const text = key === 'data' ? settings.dataDir : (found?.text.trim() ?? setting.fallback);
    return {
      key,
      value: text,
      source: found?.source ?? 'default',
      place: found?.place ?? 'default',
      doc: settingDoc(setting),
    };
  };
  const all: [string, Setting][] = [...Object.entries<Setting>(SERVER_SETTINGS), ...BROKER_SETTINGS];
  return { settings, entries: all.map(([key, setting]) => entry(key, setting)) };
}

function readSettingsFile(file: string, where: string, readText: (file: string) => string): string {
  try {
    return readText(file);
  } catch (error) {
    const reason = (error as { code?: string }).code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new HadronError('SETTING_INVALID', `config = ${JSON.stringify(file)} (${where}) cannot be read: ${reason}`, {
      cause: error,
    });
  }
}
