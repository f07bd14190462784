/**
 * The published conformance cases of CESQL 1.0 against `@hadron/cesql`: 18 files, 275 cases. They need no server.
 *
 *   node --conditions=hadron-source tests/compat/cesql/run.ts DIR      DIR: the folder with the YAML files
 *
 * Prints one line of JSON per step as every client here does. A file counts only with as many cases as cloudevents.md §7.4
 * says, so that a lost file or a half-read one fails.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HadronError } from '@hadron/base';
import { evaluate, parse, type Value } from '@hadron/cesql';
import { isScalar, parseDocument, visit } from 'yaml';
import { kit, kitTotal } from './kit.ts';

interface KitCase {
  name: string;
  expression: string;
  result?: Value;
  error?: string;
  event?: Record<string, Value>;
  eventOverrides?: Record<string, Value>;
}

/**
 * The Go module's copy differs from the published kit (cloudevents/spec, tag cesql/v1.0.0) in one case, and the published
 * one is what counts: NOT does not cast an Integer.
 */
const PUBLISHED: Readonly<Record<string, Pick<KitCase, 'result' | 'error'>>> = {
  'not_operator: NOT 10': { result: true, error: 'cast' },
};

const dir = process.argv[2];
if (dir === undefined) throw new TypeError('usage: run.ts DIR');

let passed = 0;
for (const [file, { step, cases }] of Object.entries(kit)) {
  const started = performance.now();
  const problems: string[] = [];
  try {
    const tests = readCases(readFileSync(join(dir, `${file}.yaml`), 'utf8'));
    if (tests.length !== cases) problems.push(`${tests.length} cases, not ${cases}`);
    for (const one of tests) {
      const problem = check({ ...one, ...PUBLISHED[`${file}: ${one.expression}`] });
      if (problem === undefined) passed++;
      else problems.push(`${one.name} (${one.expression}): ${problem}`);
    }
  } catch (error) {
    problems.push(String(error));
  }
  tell(step, problems.join('; ') || `${cases} of ${cases}`, problems.length === 0, performance.now() - started);
}
tell(kitTotal.step, `${passed} of ${kitTotal.cases}`, passed === kitTotal.cases, 0);

/** Expressions are text even where YAML sees a number or a truth value. */
function readCases(yaml: string): KitCase[] {
  const document = parseDocument(yaml);
  visit(document, {
    Pair(_, { key, value }) {
      if (isScalar(key) && key.value === 'expression' && isScalar(value)) value.value = value.source;
    },
  });
  return (document.toJS() as { tests: KitCase[] }).tests;
}

function check(one: KitCase): string | undefined {
  // Where a case says nothing of its event, "any valid event can be passed".
  const event: Record<string, Value> = {
    ...(one.event ?? { specversion: '1.0', id: 'an id', source: '/a/source', type: 'a.type' }),
    ...one.eventOverrides,
  };
  let got: { value: Value | undefined; errors: readonly string[] };
  try {
    const result = evaluate(parse(one.expression), (name) => event[name]);
    got = { value: result.value, errors: result.errors.map((error) => error.kind) };
  } catch (error) {
    if (!(error instanceof HadronError) || error.code !== 'FILTER_INVALID') throw error;
    got = { value: one.result, errors: ['parse'] }; // what does not parse has no value to compare
  }
  const errors = one.error === undefined ? [] : [one.error];
  const same = got.value === one.result && got.errors.join() === errors.join();
  return same
    ? undefined
    : `expected ${JSON.stringify([one.result, ...errors])}, got ${JSON.stringify([got.value, ...got.errors])}`;
}

function tell(step: string, detail: string, ok: boolean, ms: number): void {
  console.log(JSON.stringify({ step, ok, detail, ms: Math.round(ms) }));
}
