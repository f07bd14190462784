/**
 * The crash simulation: `npm run sim -- --seeds N [--from S] [--scenario X]`.
 *
 * The first seed follows from the date, so that every day looks at new ones and a day can be repeated. A seed that fails
 * prints the command that replays it, and its trace. Last line: `N passed, N failed`.
 */
import { parseArgs } from 'node:util';
import { runSeeds, type Scenario } from './runner.ts';
import { SCENARIOS } from './scenarios/index.ts';

const FAILURES_MAX = 3;
const PROGRESS_EVERY_MS = process.stdout.isTTY ? 200 : 10_000;

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '500' }, from: { type: 'string' }, scenario: { type: 'string' } },
});
const count = wholeNumber('--seeds', values.seeds);
const first = values.from === undefined ? seedOfToday() : wholeNumber('--from', values.from);
const chosen = SCENARIOS.filter((s) => values.scenario === undefined || s.name === values.scenario);
if (chosen.length === 0) usage(`--scenario ${values.scenario}: there is ${SCENARIOS.map((s) => s.name).join(', ')}`);

let passed = 0;
let failed = 0;
for (const scenario of chosen) await runScenario(scenario);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function runScenario(scenario: Scenario): Promise<void> {
  console.log(`${scenario.name}: ${scenario.about}; ${count} seeds from ${first}`);
  const startMs = performance.now();
  let shownMs = startMs;
  let failures = 0;
  const sums: Record<string, number> = {};
  for (let seed = first; seed < first + count && failures < FAILURES_MAX; ) {
    const result = await runSeeds(scenario, {
      first: seed,
      count: first + count - seed,
      onSeed: (done) => {
        if (performance.now() - shownMs < PROGRESS_EVERY_MS) return;
        shownMs = performance.now();
        progress(`${scenario.name}: ${done - first + 1} of ${count} seeds`);
      },
    });
    progress('');
    passed += result.seeds;
    for (const [key, n] of Object.entries(result.sums)) sums[key] = (sums[key] ?? 0) + n;
    if (result.failure === undefined) break;
    failures++;
    failed++;
    console.log(result.failure.message);
    console.log(`replay: npm run sim -- --scenario ${scenario.name} --from ${result.failure.seed} --seeds 1`);
    seed = result.failure.seed + 1;
  }
  const tookMs = performance.now() - startMs;
  const seen = Object.entries(sums).map(([key, n]) => `${n} ${key}`);
  console.log(
    `${scenario.name}: ${(tookMs / 1000).toFixed(1)} s, ${(tookMs / count).toFixed(1)} ms a seed; ${seen.join(', ')}`,
  );
}

/** A line that the next one overwrites, on a terminal only. */
function progress(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`);
  else if (text !== '') console.log(text);
}

function seedOfToday(): number {
  const [year, month, day] = new Date().toISOString().slice(0, 10).split('-');
  return Number(`${year}${month}${day}`) * 1_000_000;
}

function wholeNumber(flag: string, text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) usage(`${flag} ${text}: a whole number above 0`);
  return n;
}

function usage(problem: string): never {
  console.error(`${problem}\nusage: npm run sim -- [--seeds N] [--from S] [--scenario X]`);
  process.exit(2);
}
