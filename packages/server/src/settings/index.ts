/** Settings of a server: flag > environment > YAML file > default. Start reading at load.ts. */
export { type LoadedSettings, loadSettings, type SettingEntry, type SettingsInput } from './load.ts';
export {
  formatHostPort,
  type HostPort,
  isLoopback,
  type LogLevel,
  parseHostPort,
  type PortRange,
  SERVER_SETTINGS,
  type ServerSettings,
} from './server-settings.ts';
export type { SettingFlags, SettingSource } from './sources.ts';
