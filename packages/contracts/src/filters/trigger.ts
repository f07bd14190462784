/**
 * Patterns over dotted names (hadron.md §9): triggers of pipelines on event types, matchers of exchanges on topics.
 *
 *     pattern = "" | segment *( "." segment ) [ "." ">" ] | ">"
 *     segment = "*" | literal
 *
 * `*` is exactly one segment, `>` one or more and only at the end; inside a longer segment both are literals. No pattern and
 * the empty one match everything.
 */
import { HadronError } from '@hadron/base/errors';

/** True where at least one pattern matches; the name may be empty, which is one empty segment. */
export type CompiledTriggers = (name: string) => boolean;

/**
 * @throws HadronError FILTER_INVALID: `>` before the end, an empty segment (also by a leading or trailing dot), a pattern twice
 */
export function compileTriggers(patterns: readonly string[], path = 'triggers'): CompiledTriggers {
  const compiled = patterns.map((pattern, index) => compilePattern(pattern, `${path}[${index}]`));
  const twice = patterns.findIndex((pattern, index) => patterns.indexOf(pattern) !== index);
  if (twice !== -1) throw invalid(`${path}[${twice}]`, `${JSON.stringify(patterns[twice])} stands there twice`);
  if (patterns.length === 0) return () => true;
  return (name) => {
    const segments = name.split('.');
    return compiled.some((matches) => matches(segments));
  };
}

function compilePattern(pattern: string, path: string): (segments: readonly string[]) => boolean {
  if (pattern === '') return () => true;
  const wanted = pattern.split('.');
  if (wanted.includes('')) throw invalid(path, `${JSON.stringify(pattern)} has an empty segment; remove the extra dot`);
  if (wanted.slice(0, -1).includes('>')) {
    throw invalid(path, `${JSON.stringify(pattern)}: \`>\` stands for the rest and must be the last segment`);
  }
  const open = wanted.at(-1) === '>';
  if (open) wanted.pop();
  const fits = (segments: readonly string[]): boolean =>
    wanted.every((segment, index) => segment === '*' || segment === segments[index]);
  return open
    ? (segments) => segments.length > wanted.length && fits(segments)
    : (segments) => segments.length === wanted.length && fits(segments);
}

function invalid(field: string, message: string): HadronError {
  return new HadronError('FILTER_INVALID', `${field}: ${message}`, { field });
}
