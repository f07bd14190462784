/** B10 must be able to fail: the self-check of the crash loop, with its real server and real clients. */
import { spawnSync } from 'node:child_process';
import { beforeAll, expect, test } from 'vitest';
import { repoRoot } from '../compat/lib/shell.ts';
import { buildBundle } from './process.ts';

beforeAll(buildBundle);

test('B10: the judgement of the kill -9 loop notices every kind of harm', { timeout: 120_000 }, () => {
  const argv = ['--conditions=hadron-source', 'tests/crash/main.ts', '--sabotage'];
  const { status, stdout } = spawnSync(process.execPath, argv, { cwd: repoRoot, encoding: 'utf8' });
  expect(stdout).not.toContain('NOT NOTICED');
  expect(stdout.trim().split('\n').at(-1)).toBe('12 passed, 0 failed');
  expect(status).toBe(0);
});
