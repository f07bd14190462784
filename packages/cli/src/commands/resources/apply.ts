/** `hadron apply` and `hadron diff`: one request for all documents, and what became of each. */
import type { Change, FieldError } from '@hadron/contracts/resources';
import { CommandFailure, ExitCode } from '../../failure.ts';
import { colours, type Io, printJson, say } from '../../io.ts';
import type { ServerAddress } from '../../options.ts';
import { Api } from './api.ts';
import { type InputDocument, place, readInput } from './input.ts';
import type { Format } from './output.ts';

interface InputOptions extends ServerAddress {
  readonly filename: readonly string[];
  readonly recursive?: boolean;
  readonly output: Extract<Format, 'table' | 'json' | 'name'>;
}

export interface ApplyOptions extends InputOptions {
  readonly dryRun?: boolean;
}

export interface DiffOptions extends InputOptions {
  readonly exitCode?: boolean;
}

interface Result {
  readonly document: number;
  readonly kind: string;
  readonly name: string;
  readonly result: 'created' | 'configured' | 'unchanged' | 'refused';
  readonly code?: string;
  readonly changes: readonly Change[];
  readonly errors: readonly FieldError[];
  readonly warnings: readonly string[];
}

export async function apply(io: Io, options: ApplyOptions): Promise<void> {
  const dryRun = options.dryRun === true;
  const { documents, results } = await send(io, options, dryRun);
  if (options.output === 'json') printJson(io, { results });
  else {
    for (const result of results) {
      if (result.result === 'refused') explainRefusal(io, result, documents);
      else if (options.output === 'name') io.stdout.write(`${named(result)}\n`);
      else {
        io.stdout.write(`${named(result)} ${coloured(io, result.result)}${dryRun ? ' (dry run)' : ''}\n`);
        // What a new resource says is in its file.
        if (result.result === 'configured')
          for (const change of result.changes) io.stdout.write(`  ${changeText(io, change)}\n`);
      }
      for (const warning of result.warnings) say(io, `  ${colours(io, 'stderr').yellow('note:')} ${warning}`);
    }
  }
  failIfRefused(results, dryRun ? 'would be refused' : 'were refused and changed nothing');
}

export async function diff(io: Io, options: DiffOptions): Promise<void> {
  const { documents, results } = await send(io, options, true);
  const differ = results.filter((r) => r.result === 'created' || r.result === 'configured');
  if (options.output === 'json') printJson(io, { results });
  else {
    for (const result of results) {
      if (result.result === 'refused') explainRefusal(io, result, documents);
      if (result.result === 'unchanged' || result.result === 'refused') continue;
      io.stdout.write(`${named(result)}${result.result === 'created' ? ' (new)' : ''}\n`);
      if (options.output === 'table')
        for (const change of result.changes) io.stdout.write(`  ${changeText(io, change)}\n`);
      for (const warning of result.warnings) say(io, `  ${colours(io, 'stderr').yellow('note:')} ${warning}`);
    }
    if (differ.length === 0 && results.every((r) => r.result === 'unchanged')) say(io, 'No differences.');
  }
  failIfRefused(results, 'would be refused');
  if (options.exitCode === true && differ.length > 0) throw new ExitCode(1);
}

async function send(
  io: Io,
  options: InputOptions,
  dryRun: boolean,
): Promise<{ documents: readonly InputDocument[]; results: readonly Result[] }> {
  const api = new Api(options);
  const documents = await readInput(io, options.filename, options.recursive === true);
  const body = documents.map((d) => d.value);
  const { results } = await api.post<{ results: readonly Result[] }>(`/v1/apply?dryRun=${dryRun}`, body);
  return { documents, results };
}

function named({ kind, name }: Pick<Result, 'kind' | 'name'>): string {
  return `${kind.toLowerCase()}/${name}`;
}

function coloured(io: Io, result: Result['result']): string {
  const { green, yellow, dim } = colours(io, 'stdout');
  return result === 'created' ? green(result) : result === 'configured' ? yellow(result) : dim(result);
}

/** `spec.partitions: 1 → 3`; what is absent is the default. */
function changeText(io: Io, { path, from, to }: Change): string {
  const { red, green } = colours(io, 'stdout');
  const shown = (value: unknown): string =>
    value === undefined ? '(default)' : typeof value === 'string' ? value : JSON.stringify(value);
  return from === undefined ? `${path}: ${green(shown(to))}` : `${path}: ${red(shown(from))} → ${green(shown(to))}`;
}

function explainRefusal(io: Io, result: Result, documents: readonly InputDocument[]): void {
  const { red } = colours(io, 'stderr');
  const source = documents[result.document - 1];
  const who = result.name === '' ? `document ${result.document}` : named(result);
  for (const { path, value, message, allowed } of result.errors) {
    const where = place(source?.file ?? '-', source?.lineOf(path));
    const found =
      value === undefined
        ? ''
        : ` ${typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? '')}`;
    const expected = allowed === undefined ? '' : `; expected ${allowed}`;
    say(io, `${where} ${red(who)}: ${path}${found} ${message}${expected}`.replace(':  ', ': '));
  }
  if (result.code !== 'RESOURCE_CONFLICT') return;
  for (const change of result.changes) say(io, `  ${changeText(io, change)}`);
}

function failIfRefused(results: readonly Result[], what: string): void {
  const refused = results.filter((r) => r.result === 'refused');
  if (refused.length === 0) return;
  const code = refused[0]?.code ?? 'RESOURCE_INVALID';
  throw new CommandFailure(code, `${refused.length} of ${results.length} documents ${what}`);
}
