/**
 * Generates `src/generated/` from `src/schemas/`.
 *
 *     node --conditions=hadron-source packages/kafka-protocol/scripts/generate.ts [--check]
 *
 * The output is committed: it is what runs, so it is what a reviewer reads. `--check` writes nothing and exits with 1
 * when a file would change.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SCHEMAS } from '../src/schemas/index.ts';
import { emitApi, kebab } from './emit-api.ts';
import { emitApis, emitCodecs, emitIndex } from './emit-tables.ts';

const folder = join(import.meta.dirname, '../src/generated');
const check = process.argv.includes('--check');

const files = new Map<string, string>();
for (const api of SCHEMAS) files.set(`${kebab(api.name)}.ts`, emitApi(api));
files.set('apis.ts', emitApis(SCHEMAS));
files.set('codecs.ts', emitCodecs(SCHEMAS));
files.set('index.ts', emitIndex(SCHEMAS));

mkdirSync(folder, { recursive: true });
const present = new Set(readdirSync(folder));
let stale = 0;
for (const [name, text] of files) {
  const path = join(folder, name);
  if (present.has(name) && readFileSync(path, 'utf8') === text) continue;
  stale++;
  if (check) console.error(`stale: ${path}`);
  else writeFileSync(path, text);
}
for (const name of present) {
  if (files.has(name)) continue;
  stale++;
  if (check) console.error(`no longer generated: ${join(folder, name)}`);
  else rmSync(join(folder, name));
}
if (check && stale > 0) {
  console.error('Run: npm run generate');
  process.exitCode = 1;
} else {
  console.log(`${files.size} files, ${check ? 'all up to date' : `${stale} changed`}`);
}
