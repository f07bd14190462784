/** What the bundle is made of, and whether it changed since it was made. Built-in modules only: bootstrap.mjs uses it. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const BUNDLE = path.join(ROOT, 'packages/cli/dist/hadron.mjs');
const STAMP = path.join(ROOT, '.cache', 'bundle.stamp');

/** Path, time and size of everything that goes into the bundle. Contents are not read: ~300 files cost ~5 ms. */
export function fingerprint() {
  const hash = createHash('sha256');
  const add = (file) => {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat) hash.update(`${path.relative(ROOT, file)} ${stat.mtimeMs} ${stat.size}\n`);
  };
  const walk = (dir) => {
    const entries = fs.readdirSync(dir, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const file = path.join(dir, entry.name);
      if (entry.isDirectory()) walk(file);
      else if (!entry.name.endsWith('.test.ts') && !entry.name.endsWith('.md')) add(file);
    }
  };
  for (const name of ['package.json', 'package-lock.json', 'tsconfig.base.json', 'scripts/build.mjs']) {
    add(path.join(ROOT, name));
  }
  for (const name of fs.readdirSync(path.join(ROOT, 'packages')).sort()) {
    const dir = path.join(ROOT, 'packages', name);
    add(path.join(dir, 'package.json'));
    if (name !== 'testkit' && fs.existsSync(path.join(dir, 'src'))) walk(path.join(dir, 'src'));
  }
  return hash.digest('hex');
}

export function bundleIsFresh() {
  try {
    return fs.existsSync(BUNDLE) && fs.readFileSync(STAMP, 'utf8') === fingerprint();
  } catch {
    return false;
  }
}

/** @param {string} made the fingerprint taken before bundling began, so that an edit in between counts as a change */
export function stampBundle(made) {
  fs.mkdirSync(path.dirname(STAMP), { recursive: true });
  fs.writeFileSync(STAMP, made);
}
