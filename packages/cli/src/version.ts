import fs from 'node:fs';

declare const HADRON_VERSION: string | undefined;

/** The version of this build. The bundle has it built in; sources that run unbuilt read it from package.json. */
export function version(): string {
  if (typeof HADRON_VERSION === 'string') return HADRON_VERSION;
  const manifest = fs.readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
