/**
 * `npm run check`: everything that can be said about the code without running it. Each step prints its time; the output
 * of a step is shown when it fails. Ends with `N passed, N failed`.
 *
 *   npm run check              all steps
 *   npm run check -- lint      only the steps whose name contains the word
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from './sources.mjs';
import { lintHolds, references } from './walls.mjs';

const bin = (file) => path.join(ROOT, 'node_modules', file);
const TSC = bin('typescript/bin/tsc');
const GENERATE = path.join(ROOT, 'packages/kafka-protocol/scripts/generate.ts');
const GENERATE_PROTO = path.join(ROOT, 'packages/contracts/scripts/generate-proto.ts');
const DOCS = path.join(ROOT, 'docs/generate.ts');

const steps = [
  { name: 'format (biome)', run: () => node([bin('@biomejs/biome/bin/biome'), 'format', '--max-diagnostics=20', '.']) },
  // Before lint: rules that know types read what is built of other packages.
  { name: 'types (tsc -b)', run: () => node([TSC, '-b']) },
  { name: 'lint (oxlint, type-aware)', run: () => node([bin('oxlint/bin/oxlint'), '--type-aware', '--deny-warnings']) },
  { name: 'types of tests', run: () => node([TSC, '-p', 'tsconfig.tests.json']) },
  { name: 'dead code (knip)', run: () => node([bin('knip/bin/knip.js'), '--no-progress', '--no-config-hints']) },
  { name: 'walls: references = dependencies', run: references },
  { name: 'walls: lint holds them', run: lintHolds },
  { name: 'settings: none without effect', run: settings },
  { name: 'generated code is current', run: () => node(['--conditions=hadron-source', GENERATE, '--check']) },
  {
    name: 'generated protobuf code is current',
    run: () => node(['--conditions=hadron-source', GENERATE_PROTO, '--check']),
  },
  { name: 'generated docs are current', run: () => node(['--conditions=hadron-source', DOCS, '--check']) },
];

const only = process.argv[2];
let passed = 0;
let failed = 0;
for (const step of steps) {
  if (only !== undefined && !step.name.includes(only)) continue;
  const started = performance.now();
  const { ok, output } = await step.run();
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${seconds} s  ${step.name}\n`);
  if (ok) passed += 1;
  else {
    failed += 1;
    process.stdout.write(`${output.trimEnd()}\n`);
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs Node on `argv` and collects what it prints. */
function node(argv) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, argv, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.stderr.on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => resolve({ ok: false, output: error.message }));
    child.on('close', (code) => resolve({ ok: code === 0, output: Buffer.concat(chunks).toString() }));
  });
}

/** A setting that nothing reads must say so (`noEffect`); every other one is named by some code outside the tables. */
async function settings() {
  const tables = path.join(ROOT, 'packages/broker/src/config');
  const { ownSettings } = await import(path.join(tables, 'broker-settings.ts'));
  const code = [];
  const walk = (dir) => {
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      const file = path.join(dir, entry.name);
      if (entry.isDirectory()) {
        if (file !== tables && entry.name !== 'node_modules' && entry.name !== 'dist') walk(file);
      } else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
        code.push(fs.readFileSync(file, 'utf8'));
    }
  };
  walk(path.join(ROOT, 'packages'));
  const unread = Object.entries(ownSettings())
    .filter(([key, setting]) => setting.noEffect === undefined && !code.some((text) => text.includes(`'${key}'`)))
    .map(([key]) => `${key}: no code reads it; use it, or say why it has no effect`);
  return { ok: unread.length === 0, output: unread.join('\n') };
}
