/**
 * Builds everything: `tsc -b` for all packages (types, dist/ of each), and the `hadron` bundle of packages/cli.
 *
 *   node scripts/build.mjs                 both, side by side
 *   node scripts/build.mjs --bundle-only   the bundle (~0.2 s): what `npm start` needs
 *
 * The bundle is made from the sources (condition `hadron-source`), so it does not wait for tsc. It leaves out packages
 * with native or wasm parts and the ones that are large and rarely needed; lazy `import()`s become chunks of their own.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { BUNDLE, bundleIsFresh, fingerprint, ROOT, stampBundle } from './sources.mjs';

const EXTERNAL = ['@node-rs/crc32', '@platformatic/*', 'kafkajs', 'pino', 'prom-client'];
const CHUNK_KEPT_MS = 24 * 60 * 60 * 1000;

const started = performance.now();
const bundleOnly = process.argv.includes('--bundle-only');
const results = await Promise.allSettled([bundle(), ...(bundleOnly ? [] : [typecheck()])]);
const failures = results.filter((r) => r.status === 'rejected');
for (const { reason } of failures) process.stderr.write(`${reason.message}\n`);
if (failures.length > 0) {
  process.stderr.write('Build failed: see the messages above.\n');
  process.exitCode = 1;
} else {
  process.stderr.write(`Built in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
}

function typecheck() {
  const tsc = path.join(ROOT, 'node_modules/typescript/bin/tsc');
  if (!fs.existsSync(tsc)) throw new Error('node_modules is missing: run `npm ci` first');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [tsc, '-b'], { cwd: ROOT, stdio: ['ignore', 2, 2] });
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error('tsc -b found errors'))));
  });
}

async function bundle() {
  if (bundleIsFresh()) return;
  const made = fingerprint();
  let esbuild;
  try {
    esbuild = await import('esbuild');
  } catch {
    throw new Error('node_modules is missing: run `npm ci` first');
  }
  const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'packages/cli/package.json'), 'utf8'));
  const dist = path.dirname(BUNDLE);
  const { outputFiles } = await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: { hadron: 'packages/cli/src/main.ts' },
    outdir: dist,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    conditions: ['hadron-source'],
    external: EXTERNAL,
    define: { HADRON_VERSION: JSON.stringify(version) },
    // CommonJS packages inside an ES module bundle ask for Node's own modules through `require`.
    banner: {
      js: "import { createRequire as $createRequire } from 'node:module'; const require = $createRequire(import.meta.url);",
    },
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'warning',
    write: false,
  });
  // Another Hadron may be running from here: chunks first, the entry last and by rename, old chunks kept for a day.
  const written = new Set();
  outputFiles.sort((a, b) => Number(a.path === BUNDLE) - Number(b.path === BUNDLE));
  for (const { path: file, contents } of outputFiles) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.${process.pid}`, contents);
    fs.renameSync(`${file}.${process.pid}`, file);
    written.add(file);
  }
  const chunks = path.join(dist, 'chunks');
  for (const name of fs.existsSync(chunks) ? fs.readdirSync(chunks) : []) {
    const file = path.join(chunks, name);
    if (!written.has(file) && Date.now() - fs.statSync(file).mtimeMs > CHUNK_KEPT_MS) fs.rmSync(file, { force: true });
  }
  stampBundle(made);
}
