/**
 * Every test suite of the repository, in the order in which they run. A new suite is one entry here.
 *
 * A suite is a command whose last line on stdout is `N passed, N failed`. One that ends without such a line counts as one
 * test, passed or failed by its exit code.
 *
 * @typedef {object} Suite
 * @property {string} name
 * @property {string[]} command      argv after `node --conditions=hadron-source`
 * @property {Record<string, string>} [env]
 * @property {boolean} inNpmTest     part of `npm test`
 * @property {boolean} inCi          run by .ci/run after `npm test`
 * @property {number} limitSeconds   a suite that takes longer is stopped and counts as failed
 * @property {() => boolean} present whether it exists in this checkout
 */
import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from './sources.mjs';

/** Clients that need nothing installed, and kcat where it is. */
const clientsPresent = (process.env.PATH ?? '')
  .split(path.delimiter)
  .some((dir) => fs.existsSync(path.join(dir, 'kcat')))
  ? ['kcat', 'kafkajs']
  : ['kafkajs', 'platformatic'];

const exists = (file) => () => fs.existsSync(path.join(ROOT, file));

/** @type {Suite[]} */
export const SUITES = [
  {
    name: 'unit and end-to-end (vitest)',
    command: ['scripts/vitest.mjs'],
    inNpmTest: true,
    inCi: false,
    limitSeconds: 520,
    present: () => true,
  },
  {
    name: 'simulation, 500 seeds',
    command: ['tests/sim/main.ts', '--seeds', '500'],
    inNpmTest: true,
    inCi: false,
    limitSeconds: 170,
    present: exists('tests/sim/main.ts'),
  },
  {
    name: `foreign clients: ${clientsPresent.join(', ')}`,
    command: ['tests/compat/main.ts', ...clientsPresent],
    inNpmTest: true,
    inCi: false,
    limitSeconds: 150,
    present: exists('tests/compat/main.ts'),
  },
  {
    name: 'simulation, 2000 seeds',
    command: ['tests/sim/main.ts', '--seeds', '2000'],
    inNpmTest: false,
    inCi: true,
    limitSeconds: 600,
    present: exists('tests/sim/main.ts'),
  },
  {
    name: 'kill -9, 20 rounds',
    command: ['tests/crash/main.ts', '--rounds', '20'],
    inNpmTest: false,
    inCi: true,
    limitSeconds: 400,
    present: exists('tests/crash/main.ts'),
  },
  {
    name: 'foreign clients',
    command: ['tests/compat/main.ts'],
    inNpmTest: false,
    inCi: true,
    limitSeconds: 600,
    present: exists('tests/compat/main.ts'),
  },
  {
    name: 'idle long polls',
    command: ['scripts/vitest.mjs', 'tests/e2e/idle-polls'],
    env: { HADRON_SLOW: '1' },
    inNpmTest: false,
    inCi: true,
    limitSeconds: 180,
    present: exists('tests/e2e/idle-polls.test.ts'),
  },
];
