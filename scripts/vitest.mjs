/** Runs vitest once and ends with `N passed, N failed`. Arguments are vitest's (a file name, -t NAME, …). */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from './sources.mjs';

const out = path.join(ROOT, '.cache', `vitest-${process.pid}.json`);
const vitest = path.join(ROOT, 'node_modules/vitest/vitest.mjs');
const argv = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${out}`, '--passWithNoTests'];
const child = spawn(process.execPath, [vitest, ...argv, ...process.argv.slice(2)], { cwd: ROOT, stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
const code = await new Promise((resolve) => child.on('exit', (status) => resolve(status ?? 1)));

let passed = 0;
let failed = 0;
try {
  const result = JSON.parse(fs.readFileSync(out, 'utf8'));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  // A file that does not even load has no failed test.
  for (const file of result.testResults) {
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')) failed += 1;
  }
} catch {
  process.stdout.write('vitest wrote no result\n');
} finally {
  fs.rmSync(out, { force: true });
}
if (code !== 0 && failed === 0) failed = 1; // an unhandled error outside any test
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
