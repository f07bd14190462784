/**
 * `npm run soak`: the long versions of the suites, one after another, run before something is called done.
 *
 *   npm run soak                       sim 50,000 seeds · crash 200 rounds · fuzz 1,000,000 · foreign clients
 *   npm run soak -- --minutes 5        the same, scaled down to about five minutes, to try the way it runs
 *   npm run soak -- --only crash,fuzz  some of them
 *
 * Shows what each suite prints, a progress line in between, and at the end the time of each and `N passed, N failed`.
 */
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { nodeArgv, report, runSuite } from './run-suites.mjs';
import { ROOT } from './sources.mjs';

const { values } = parseArgs({ options: { minutes: { type: 'string' }, only: { type: 'string' } } });
/** What the whole takes on two cores; measured, roughly. */
const FULL_MINUTES = 75;
const minutes = values.minutes === undefined ? FULL_MINUTES : Number(values.minutes);
if (!(minutes > 0)) {
  process.stderr.write('usage: npm run soak -- [--minutes M] [--only NAME,…]\n');
  process.exit(2);
}
const share = Math.min(1, minutes / FULL_MINUTES);
const scaled = (full, least) => String(Math.max(least, Math.round(full * share)));

const seeds = scaled(50_000, 100);
const rounds = scaled(200, 3);
const frames = scaled(1_000_000, 2_000);
const fuzzTests = ['packages', 'tests'].flatMap((dir) => testsThatSay(dir, 'HADRON_FUZZ'));

const suites = [
  { name: 'sim', title: `simulation, ${seeds} seeds`, file: 'tests/sim/main.ts', args: ['--seeds', seeds] },
  { name: 'crash', title: `kill -9, ${rounds} rounds`, file: 'tests/crash/main.ts', args: ['--rounds', rounds] },
  {
    name: 'fuzz',
    title: `fuzz, ${frames} frames`,
    file: 'scripts/vitest.mjs',
    args: [...fuzzTests, `--testTimeout=${3_600_000}`],
    env: { HADRON_FUZZ: frames },
    missing: fuzzTests.length === 0,
  },
  { name: 'compat', title: 'foreign clients', file: 'tests/compat/main.ts', args: [] },
];

const only = values.only?.split(',');
const wrong = only?.find((name) => !suites.some((suite) => suite.name === name));
if (wrong !== undefined) {
  process.stderr.write(`--only ${wrong}: there are ${suites.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}
const startedAt = performance.now();
const chosen = suites.filter(({ name }) => only === undefined || only.includes(name));
const results = [];
for (const [i, { title, file, args, env, missing }] of chosen.entries()) {
  const elapsed = ((performance.now() - startedAt) / 60_000).toFixed(1);
  process.stdout.write(`\nsoak: ${i + 1} of ${chosen.length}, ${elapsed} min so far: ${title}\n`);
  if (missing || !fs.existsSync(path.join(ROOT, file))) {
    // A soak that leaves something out has not passed.
    process.stdout.write(`${title}: not in this checkout\n`);
    results.push({ name: title, passed: 0, failed: 1, seconds: 0 });
    continue;
  }
  Object.assign(process.env, env);
  results.push(await runSuite(title, nodeArgv([file, ...args]), 4 * 3_600));
  for (const name of Object.keys(env ?? {})) delete process.env[name];
}
report(results);

/** Test files below `dir` that contain `word`, as vitest takes them. */
function testsThatSay(dir, word) {
  const entries = fs.readdirSync(path.join(ROOT, dir), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts') && !entry.parentPath.includes('node_modules'))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => fs.readFileSync(file, 'utf8').includes(word))
    .map((file) => path.relative(ROOT, file));
}
