/** Runs a load of `bench/load` in a process of its own. */
import { join } from 'node:path';
import { repoRoot, run } from '../../tests/compat/lib/shell.ts';
import type { Loads } from '../load/main.ts';
import type { Sample } from './report.ts';

const program = join(repoRoot, 'bench/load/main.ts');

export async function load<L extends keyof Loads>(name: L, options: Loads[L], timeoutMs = 120_000): Promise<Sample> {
  const command = [process.execPath, '--conditions=hadron-source', program, name, JSON.stringify(options)];
  const result = await run(command, { timeoutMs });
  if (result.code !== 0) {
    // The reason is the line with the error's name; what Node prints around it is its own.
    const reason = result.stderr.split('\n').find((line) => /Error\b/.test(line)) ?? result.stderr.trim();
    throw new Error(`${name}: code ${result.code}: ${reason}`);
  }
  return JSON.parse(result.stdout.trim().split('\n').at(-1)!) as Sample;
}
