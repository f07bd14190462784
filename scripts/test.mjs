/** `npm test`, after the build: the suites marked `inNpmTest`. Arguments go to vitest, which then runs alone. */
import { nodeArgv, report, runSuite } from './run-suites.mjs';
import { SUITES } from './suites.mjs';

const args = process.argv.slice(2);
const chosen = SUITES.filter((suite) => suite.inNpmTest && suite.present());
const results = [];
for (const suite of args.length > 0 ? chosen.slice(0, 1) : chosen) {
  results.push(await runSuite(suite.name, nodeArgv([...suite.command, ...args]), suite.limitSeconds));
}
report(results);
