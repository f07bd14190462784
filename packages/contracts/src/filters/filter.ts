/**
 * Filters of the CloudEvents Subscriptions API (cloudevents.md §7.3): checked once when somebody gives one, compiled once, asked
 * for every event. Comparison is case-sensitive, on canonical strings; an attribute that is missing equals nothing.
 */
import { HadronError } from '@hadron/base/errors';
import { attributesOf, compile, parse } from '@hadron/cesql';
import type { AttributeLookup, CompiledFilter, Filter } from './types.ts';

/** Limits of one list of filters, together. A filter is asked for every event of a stream. */
const MAX_DEPTH = 16;
const MAX_FILTERS = 256;
const MAX_CONDITIONS = 256;
/** Longest value that an attribute is compared with, in UTF-16 units. */
export const MAX_VALUE = 4_096;

const DIALECTS = ['exact', 'prefix', 'suffix', 'all', 'any', 'not', 'sql'] as const;

type Dialect = (typeof DIALECTS)[number];

/**
 * Takes one filter as it came from outside.
 * @param path where it stands in the document, for the error
 * @throws HadronError FILTER_INVALID with the dotted path of what is wrong
 */
export function checkFilter(input: unknown, path = 'filter'): Filter {
  return new Checker().filter(input, path, 1);
}

/**
 * Takes a list of filters, all of which must hold; it may be empty.
 * @throws HadronError FILTER_INVALID as {@link checkFilter}
 */
export function checkFilters(input: unknown, path = 'filters'): Filter[] {
  if (!Array.isArray(input)) throw invalid(path, 'must be a list of filters');
  const checker = new Checker();
  return input.map((one: unknown, index) => checker.filter(one, `${path}[${index}]`, 1));
}

/** True where the filter is. Never throws when asked. @throws HadronError FILTER_INVALID: CESQL that does not parse */
export function compileFilter(filter: Filter): CompiledFilter {
  if ('exact' in filter) return compare(filter.exact, (actual, wanted) => actual === wanted);
  if ('prefix' in filter) return compare(filter.prefix, (actual, wanted) => actual.startsWith(wanted));
  if ('suffix' in filter) return compare(filter.suffix, (actual, wanted) => actual.endsWith(wanted));
  if ('all' in filter) return every(filter.all.map(compileFilter));
  if ('any' in filter) return some(filter.any.map(compileFilter));
  if ('not' in filter) {
    const inner = compileFilter(filter.not);
    return (attribute) => !inner(attribute);
  }
  return compile(filter.sql);
}

/** True where all are; an empty list lets every event pass. */
export function compileFilters(filters: readonly Filter[]): CompiledFilter {
  return every(filters.map(compileFilter));
}

/** The names that the filters may ask for: an event needs no more of its attributes decoded. */
export function attributesOfFilters(filters: readonly Filter[]): Set<string> {
  const names = new Set<string>();
  const collect = (filter: Filter): void => {
    if ('exact' in filter) Object.keys(filter.exact).forEach((name) => names.add(name));
    else if ('prefix' in filter) Object.keys(filter.prefix).forEach((name) => names.add(name));
    else if ('suffix' in filter) Object.keys(filter.suffix).forEach((name) => names.add(name));
    else if ('all' in filter) filter.all.forEach(collect);
    else if ('any' in filter) filter.any.forEach(collect);
    else if ('not' in filter) collect(filter.not);
    else attributesOf(parse(filter.sql), names);
  };
  filters.forEach(collect);
  return names;
}

function compare(
  conditions: Readonly<Record<string, string>>,
  holds: (actual: string, wanted: string) => boolean,
): CompiledFilter {
  const list = Object.entries(conditions);
  return (attribute) => {
    for (const [name, wanted] of list) {
      const actual = attribute(name);
      if (actual === undefined || !holds(actual, wanted)) return false;
    }
    return true;
  };
}

function every(filters: readonly CompiledFilter[]): CompiledFilter {
  if (filters.length === 1) return filters[0]!;
  return (attribute: AttributeLookup) => {
    for (const filter of filters) if (!filter(attribute)) return false;
    return true;
  };
}

function some(filters: readonly CompiledFilter[]): CompiledFilter {
  return (attribute) => {
    for (const filter of filters) if (filter(attribute)) return true;
    return false;
  };
}

class Checker {
  #filters = 0;
  #conditions = 0;

  filter(input: unknown, path: string, depth: number): Filter {
    if (depth > MAX_DEPTH) throw invalid(path, `filters are nested at most ${MAX_DEPTH} deep`);
    if (++this.#filters > MAX_FILTERS) {
      throw invalid(path, `there are at most ${MAX_FILTERS} filters together; use \`sql\` with IN`);
    }
    const dialect = dialectOf(input, path);
    const argument: unknown = (input as Record<string, unknown>)[dialect];
    const at = `${path}.${dialect}`;
    switch (dialect) {
      case 'exact':
        return { exact: this.#attributes(argument, at) };
      case 'prefix':
        return { prefix: this.#attributes(argument, at) };
      case 'suffix':
        return { suffix: this.#attributes(argument, at) };
      case 'all':
        return { all: this.#list(argument, at, depth) };
      case 'any':
        return { any: this.#list(argument, at, depth) };
      case 'not':
        return { not: this.filter(argument, at, depth + 1) };
      case 'sql':
        return { sql: sqlText(argument, at) };
    }
  }

  #list(input: unknown, path: string, depth: number): Filter[] {
    if (!Array.isArray(input) || input.length === 0) throw invalid(path, 'must be a list of at least one filter');
    return input.map((one: unknown, index) => this.filter(one, `${path}[${index}]`, depth + 1));
  }

  #attributes(input: unknown, path: string): Record<string, string> {
    if (!isObject(input)) throw invalid(path, 'must say attributes and values, for example {"type": "order.placed"}');
    const conditions = Object.entries(input);
    if (conditions.length === 0) throw invalid(path, 'must name at least one attribute');
    for (const [name, value] of conditions) {
      if (++this.#conditions > MAX_CONDITIONS) {
        throw invalid(path, `there are at most ${MAX_CONDITIONS} conditions together`);
      }
      // A name that no event can have would be a filter that says no for ever.
      if (!/^[a-z0-9]+$/.test(name)) {
        throw invalid(`${path}.${shorten(name)}`, 'attribute names are lower-case letters and digits, without ce-');
      }
      const at = `${path}.${name}`;
      if (typeof value !== 'string') {
        const plain = typeof value === 'number' || typeof value === 'boolean';
        throw invalid(at, plain ? `must be a string: "${value}"` : 'must be a string');
      }
      if (value === '') throw invalid(at, 'must not be empty; to ask whether it is there use {"sql": "EXISTS …"}');
      if (value.length > MAX_VALUE) throw invalid(at, `has at most ${MAX_VALUE} characters`);
    }
    return Object.fromEntries(conditions) as Record<string, string>;
  }
}

function dialectOf(input: unknown, path: string): Dialect {
  if (!isObject(input)) throw invalid(path, `must be an object with one of ${DIALECTS.join(', ')}`);
  const keys = Object.keys(input);
  const unknown = keys.find((key) => !(DIALECTS as readonly string[]).includes(key));
  if (unknown !== undefined) {
    throw invalid(`${path}.${shorten(unknown)}`, `is no dialect; there are ${DIALECTS.join(', ')}`);
  }
  if (keys.length !== 1) {
    const found = keys.length === 0 ? 'none' : keys.join(', ');
    throw invalid(
      path,
      `must have exactly one dialect (${DIALECTS.join(', ')}), not ${found}; join several with \`all\``,
    );
  }
  return keys[0] as Dialect;
}

function sqlText(input: unknown, path: string): string {
  if (typeof input !== 'string' || input.trim() === '') throw invalid(path, 'must be a CESQL expression');
  try {
    compile(input);
  } catch (error) {
    if (!(error instanceof HadronError)) throw error;
    throw invalid(path, error.message.replace(/^FILTER_INVALID: /, ''), error);
  }
  return input;
}

function isObject(input: unknown): input is Record<string, unknown> {
  return typeof input === 'object' && input !== null && !Array.isArray(input);
}

function shorten(name: string): string {
  return name.length > 40 ? `${name.slice(0, 40)}…` : name;
}

function invalid(field: string, message: string, cause?: unknown): HadronError {
  return new HadronError('FILTER_INVALID', `${field}: ${message}`, { field, cause });
}
