/** What .ci/run runs: `npm test`, `npm run check`, then the slower suites that exist here; 30 minutes at most in all. */
import { nodeArgv, report, runSuite } from './run-suites.mjs';
import { SUITES } from './suites.mjs';

const LIMIT_SECONDS = 28 * 60; // the packages are installed before this starts

const started = performance.now();
const results = [];
const run = async (name, argv, limitSeconds, env) => {
  const left = LIMIT_SECONDS - (performance.now() - started) / 1000;
  results.push(await runSuite(name, argv, Math.max(1, Math.min(limitSeconds, Math.round(left))), env));
};

await run('npm test', ['npm', 'test'], 660);
await run('npm run check', ['npm', 'run', 'check'], 180);
for (const suite of SUITES) {
  if (!suite.inCi) continue;
  if (suite.present()) await run(suite.name, nodeArgv(suite.command), suite.limitSeconds, suite.env);
  else process.stdout.write(`\n── ${suite.name}: not in this checkout\n`);
}
report(results);
