/** The conformance kit of CESQL 1.0: its files, how many cases each has (cloudevents.md §7.4), and how it is had. */
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, lastLine, run, which } from '../lib/shell.ts';

const CASES: Readonly<Record<string, number>> = {
  binary_comparison_operators: 32,
  binary_logical_operators: 16,
  binary_math_operators: 18,
  case_sensitivity: 7,
  casting_functions: 21,
  context_attributes_access: 8,
  exists_expression: 7,
  in_expression: 16,
  integer_builtin_functions: 4,
  like_expression: 37,
  literals: 10,
  negate_operator: 6,
  not_operator: 6,
  parse_errors: 1,
  spec_examples: 13,
  string_builtin_functions: 42,
  sub_expression: 3,
  subscriptions_api_recreations: 28,
};

/** One case is not asked as the Go module has it (run.ts says why); the table says so too. */
const NOTES: Readonly<Record<string, string>> = { not_operator: ' (NOT 10 as published)' };

/** By file name; the step says file and count, so that the table shows them. */
export const kit: Readonly<Record<string, { readonly step: string; readonly cases: number }>> = Object.fromEntries(
  Object.entries(CASES).map(([file, cases]) => [
    file,
    { step: `${file.replaceAll('_', ' ')}: ${cases}${NOTES[file] ?? ''}`, cases },
  ]),
);

const total = Object.values(CASES).reduce((sum, cases) => sum + cases, 0);
export const kitTotal = { step: `all: ${total}`, cases: total } as const;

/** Pinned, with the checksum that Go's checksum database has for it. */
const MODULE = 'github.com/cloudevents/sdk-go/sql/v2';
const VERSION = 'v2.16.2';
const SUM = 'h1:ufWHXiH1ZVd0WDbzTX9Nod9Sdq5wcnaqyL0iA1fBwYs=';

/** The folder with the kit's files; `CESQL_KIT` names another copy. The Go SDK brings them with its tests. */
export async function prepareKit(): Promise<{ dir: string } | { skipped: string }> {
  const given = process.env['CESQL_KIT'];
  if (given !== undefined) return { dir: given };
  const dir = join(cacheDir('compat', 'cesql'), VERSION);
  if (existsSync(dir)) return { dir };
  const go = which('go');
  if (go === undefined) return { skipped: 'Go is not installed (the cases come with the Go SDK of CloudEvents)' };
  const got = await run([go, 'mod', 'download', '-json', `${MODULE}@${VERSION}`], {
    cwd: cacheDir('compat'), // outside of any module
    timeoutMs: 120_000,
    env: { GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod', GOWORK: 'off' },
  });
  if (got.code !== 0) return { skipped: `go mod download ${MODULE}: ${lastLine(got)}` };
  const { Dir, Sum } = JSON.parse(got.stdout) as { Dir: string; Sum: string };
  if (Sum !== SUM) return { skipped: `${MODULE}@${VERSION} has the checksum ${Sum}, not ${SUM}` };
  cpSync(join(Dir, 'test/tck'), dir, { recursive: true });
  return { dir };
}
