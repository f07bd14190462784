/**
 * Generates `src/proto/generated/` from `proto/` with buf and protoc-gen-es, and lints the proto files.
 *
 *     node --conditions=hadron-source packages/contracts/scripts/generate-proto.ts [--check]
 *
 * The output is committed. `--check` writes nothing and exits with 1 when a file would change or buf lint complains.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const packageFolder = path.join(import.meta.dirname, '..');
const folder = path.join(packageFolder, 'src/proto/generated');
const bin = path.join(packageFolder, '../../node_modules/.bin');
const check = process.argv.includes('--check');

/** @throws Error with what buf said */
function buf(...args: string[]): void {
  // The plugin starts with "env node": the Node that runs this comes first.
  const env = { ...process.env, PATH: `${path.dirname(process.execPath)}:${bin}:${process.env['PATH'] ?? ''}` };
  const { status, stdout, stderr, error } = spawnSync(path.join(bin, 'buf'), args, {
    cwd: packageFolder,
    env,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`buf ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`}`);
}

const filesOf = (root: string): Map<string, string> =>
  new Map(
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
      .sort()
      .map((name) => [name, readFileSync(path.join(root, name), 'utf8')]),
  );

const scratch = mkdtempSync(path.join(tmpdir(), 'hadron-proto-'));
try {
  buf('lint');
  buf('generate', '--output', scratch);
  const generated = path.join(scratch, 'src/proto/generated');
  const made = filesOf(generated);
  const present = filesOf(folder);
  const stale = [...new Set([...made.keys(), ...present.keys()])].filter(
    (name) => made.get(name) !== present.get(name),
  );
  if (stale.length > 0 && check) {
    console.error(`${stale.map((name) => `stale: ${path.join(folder, name)}`).join('\n')}\nRun: npm run generate`);
    process.exitCode = 1;
  } else {
    if (stale.length > 0) {
      rmSync(folder, { recursive: true, force: true });
      cpSync(generated, folder, { recursive: true });
    }
    console.log(`${made.size} files, ${check ? 'all up to date' : `${stale.length} changed`}`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
