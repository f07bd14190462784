/** What .ci/run runs: `npm test`, `npm run check`, then the slower suites that exist here. Arguments: none. */
import { nodeArgv, report, runSuite } from './run-suites.mjs';
import { SUITES } from './suites.mjs';

const results = [
  await runSuite('npm test', ['npm', 'test'], 660),
  await runSuite('npm run check', ['npm', 'run', 'check'], 180),
];
for (const suite of SUITES) {
  if (!suite.inCi) continue;
  if (suite.present()) results.push(await runSuite(suite.name, nodeArgv(suite.command), suite.limitSeconds));
  else process.stdout.write(`\n── ${suite.name}: not in this checkout\n`);
}
report(results);
