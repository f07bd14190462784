/** `hadron config`: the effective settings and where each comes from. */
import fs from 'node:fs';
import { HadronError } from '@hadron/base';
import { didYouMean } from '@hadron/broker';
import { loadSettings } from '@hadron/server';
import { type Io, printJson, printTable } from '../io.ts';
import type { SettingOptions } from '../options.ts';

interface ConfigOptions extends SettingOptions {
  readonly changed?: boolean;
}

export async function config(io: Io, names: readonly string[], options: ConfigOptions): Promise<void> {
  const readText = (file: string) => fs.readFileSync(file, 'utf8');
  const { entries } = await loadSettings({ flags: options, env: io.env, cwd: io.cwd, readText });
  const known = new Set(entries.map((entry) => entry.key));
  for (const name of names) {
    if (!known.has(name))
      throw new HadronError('SETTING_UNKNOWN', `there is no setting ${name}${didYouMean(name, known)}`);
  }
  const shown = entries.filter(
    (entry) =>
      (names.length === 0 || names.includes(entry.key)) && (options.changed !== true || entry.source !== 'default'),
  );
  if (options.output === 'json') {
    printJson(io, shown);
    return;
  }
  await printTable(
    io,
    ['setting', 'value', 'from'],
    shown.map(({ key, value, place }) => [key, value, place]),
  );
  // Asked for by name, a setting is explained.
  for (const entry of names.length > 0 ? shown : []) io.stdout.write(`\n${entry.key}: ${entry.doc}\n`);
}
