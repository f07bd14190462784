/** The built-in functions. Each is total: with every error comes a value of its result type. Characters are code points. */
import type { ErrorKind } from './errors.ts';
import type { Value, ValueType } from './expression.ts';
import { MAX_INTEGER, MIN_INTEGER } from './parser.ts';

type Fail = (kind: ErrorKind, message: string) => void;

export interface CesqlFunction {
  readonly parameters: readonly ValueType[];
  /** Type of any further arguments; absent: there may be none. */
  readonly rest?: ValueType;
  readonly result: ValueType;
  /** Arguments have the types of the parameters. */
  call(args: readonly Value[], fail: Fail): Value;
}

/** A string made by a function is at most this long, in UTF-16 units: concatenation must not multiply what an event brings. */
const MAX_RESULT = 1 << 20;

/** By name; overloads differ in their number of arguments alone. */
const FUNCTIONS: Readonly<Record<string, readonly CesqlFunction[]>> = {
  ABS: [
    {
      parameters: ['Integer'],
      result: 'Integer',
      call([x], fail) {
        if (x !== MIN_INTEGER) return Math.abs(x as number);
        fail('math', `ABS(${x}) does not fit into 32 bits`);
        return MAX_INTEGER;
      },
    },
  ],
  LENGTH: [{ parameters: ['String'], result: 'Integer', call: ([x]) => characters(x).length }],
  CONCAT: [{ parameters: [], rest: 'String', result: 'String', call: (args, fail) => join('', args, fail) }],
  CONCAT_WS: [
    {
      parameters: ['String'],
      rest: 'String',
      result: 'String',
      call: ([delimiter, ...args], fail) => join(delimiter as string, args, fail),
    },
  ],
  LOWER: [{ parameters: ['String'], result: 'String', call: ([x]) => (x as string).toLowerCase() }],
  UPPER: [{ parameters: ['String'], result: 'String', call: ([x]) => (x as string).toUpperCase() }],
  TRIM: [{ parameters: ['String'], result: 'String', call: ([x]) => trim(x as string) }],
  LEFT: [
    {
      parameters: ['String', 'Integer'],
      result: 'String',
      call: ([x, count], fail) => part('LEFT', x!, count as number, fail, (all, y) => all.slice(0, y)),
    },
  ],
  RIGHT: [
    {
      parameters: ['String', 'Integer'],
      result: 'String',
      call: ([x, count], fail) =>
        part('RIGHT', x!, count as number, fail, (all, y) => all.slice(Math.max(0, all.length - y))),
    },
  ],
  SUBSTRING: [
    {
      parameters: ['String', 'Integer'],
      result: 'String',
      call: ([x, from], fail) => substring(x!, from as number, MAX_INTEGER, fail),
    },
    {
      parameters: ['String', 'Integer', 'Integer'],
      result: 'String',
      call: ([x, from, length], fail) => substring(x!, from as number, length as number, fail),
    },
  ],
  // INT, STRING and BOOL: the casts, written out.
  INT: [{ parameters: ['Integer'], result: 'Integer', call: ([x]) => x! }],
  STRING: [{ parameters: ['String'], result: 'String', call: ([x]) => x! }],
  BOOL: [{ parameters: ['Boolean'], result: 'Boolean', call: ([x]) => x! }],
};

export const functionNames = (): readonly string[] => Object.keys(FUNCTIONS);

export function findFunction(name: string, args: number): CesqlFunction | undefined {
  if (!Object.hasOwn(FUNCTIONS, name)) return undefined;
  return FUNCTIONS[name]!.find(({ parameters, rest }) =>
    rest === undefined ? args === parameters.length : args >= parameters.length,
  );
}

const characters = (text: Value | undefined): string[] => Array.from(text as string);

function join(delimiter: string, args: readonly Value[], fail: Fail): string {
  let length = delimiter.length * Math.max(0, args.length - 1);
  for (const argument of args) length += (argument as string).length;
  if (length > MAX_RESULT) {
    fail('functionEvaluation', `the result would have ${length} characters, at most ${MAX_RESULT} are made`);
    return '';
  }
  return args.join(delimiter);
}

function part(
  name: string,
  text: Value,
  count: number,
  fail: Fail,
  cut: (all: string[], count: number) => string[],
): string {
  if (count >= 0) return cut(characters(text), count).join('');
  fail('functionEvaluation', `${name} takes a length of 0 or more, not ${count}`);
  return text as string;
}

function substring(text: Value, from: number, length: number, fail: Fail): string {
  const all = characters(text);
  if (length < 0) fail('functionEvaluation', `SUBSTRING takes a length of 0 or more, not ${length}`);
  else if (Math.abs(from) > all.length) {
    fail('functionEvaluation', `SUBSTRING: position ${from} lies outside of ${all.length} characters`);
  } else if (from !== 0) {
    const begin = from > 0 ? from - 1 : all.length + from;
    return all.slice(begin, begin + length).join('');
  }
  return '';
}

const WHITE_SPACE = /\p{White_Space}/u;

/** Unicode's White_Space, which is not what `String.prototype.trim` takes (U+0085, U+FEFF); all of it lies in the BMP. */
function trim(text: string): string {
  let [begin, end] = [0, text.length];
  while (begin < end && WHITE_SPACE.test(text[begin]!)) begin++;
  while (end > begin && WHITE_SPACE.test(text[end - 1]!)) end--;
  return text.slice(begin, end);
}
