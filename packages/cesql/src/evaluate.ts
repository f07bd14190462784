/**
 * Values of expressions. Total and pure: every expression has a value for every event, with a set of errors beside it.
 *
 * Two rules say what becomes of an error (the published cases ask for both):
 * - an operator or function whose operand had one gives the zero value of its result type;
 * - where only the cast of an operand fails, the operator goes on with the zero value of the type it wanted.
 *
 * A tree is linked once into functions that call each other; what can be decided without an event is decided then.
 */
import { HadronError } from '@hadron/base/errors';
import type { ErrorKind, EvaluationError } from './errors.ts';
import type { BinaryOperator, ComparisonOperator, Expression, Value, ValueType } from './expression.ts';
import { findFunction, functionNames } from './functions.ts';
import { compilePattern } from './like.ts';
import { MAX_INTEGER, MIN_INTEGER, parse } from './parser.ts';

/** The attributes of one event; undefined: it has none of that name. Types that are not known are Strings. */
export type Lookup = (name: string) => Value | undefined;

export interface Evaluation {
  readonly value: Value;
  /** No two are alike. Empty: none occurred. */
  readonly errors: readonly EvaluationError[];
}

/** Evaluates completely: after an error the rest is looked at too. For filters see {@link compile}. */
export function evaluate(expression: Expression, lookup: Lookup): Evaluation {
  const run = new Run(lookup, false);
  const value = link(expression)(run);
  return { value, errors: run.errors };
}

/**
 * A filter: true where the expression is the Boolean true and nothing went wrong; the first error ends the evaluation.
 * @throws HadronError FILTER_INVALID: not CESQL, or calls a function that does not exist
 */
export function compile(text: string): (lookup: Lookup) => boolean {
  const expression = parse(text);
  refuseUnknownFunctions(expression);
  const step = link(expression);
  return (lookup) => {
    const run = new Run(lookup, true);
    return step(run) === true && run.failures === 0;
  };
}

/** One evaluation of one expression. */
class Run {
  readonly lookup: Lookup;
  readonly failFast: boolean;
  /** Stays empty where nobody will read it. */
  readonly errors: EvaluationError[] = [];
  failures = 0;

  constructor(lookup: Lookup, failFast: boolean) {
    this.lookup = lookup;
    this.failFast = failFast;
  }

  fail(kind: ErrorKind, message: string): void {
    this.failures++;
    if (this.failFast || this.errors.some((known) => known.kind === kind && known.message === message)) return;
    this.errors.push({ kind, message });
  }

  get over(): boolean {
    return this.failFast && this.failures > 0;
  }
}

type Step = (run: Run) => Value;

const ZERO = { String: '', Integer: 0, Boolean: false } as const;

function link(expression: Expression): Step {
  switch (expression.kind) {
    case 'literal': {
      const { value } = expression;
      return () => value;
    }
    case 'attribute':
      return attribute(expression.name);
    case 'exists': {
      const { name } = expression;
      return REQUIRED.has(name) ? () => true : (run) => run.lookup(name) !== undefined;
    }
    case 'unary':
      return expression.operator === 'NOT' ? not(link(expression.operand)) : negate(link(expression.operand));
    case 'binary':
      return binary(expression.operator, link(expression.left), link(expression.right));
    case 'like':
      return like(link(expression.operand), expression.pattern, expression.negated);
    case 'in':
      return isIn(link(expression.operand), expression.set.map(link), expression.negated);
    case 'call':
      return call(expression.name, expression.args.map(link));
  }
}

/** An event without these is none. */
const REQUIRED: ReadonlySet<string> = new Set(['id', 'source', 'specversion', 'type']);

function attribute(name: string): Step {
  const missing = `the event has no attribute ${name}`;
  return (run) => {
    const value = run.lookup(name);
    if (value !== undefined) return value;
    run.fail('missingAttribute', missing);
    return false; // nobody knows its type, so Boolean's zero
  };
}

function not(operand: Step): Step {
  return (run) => {
    const before = run.failures;
    const value = operand(run);
    if (run.failures > before) return false;
    // The published case `NOT 10` says: no Integer, although everything else turns Integers into Booleans.
    if (typeof value === 'number') {
      run.fail('cast', `NOT takes a Boolean, not the Integer ${value}`);
      return true;
    }
    return !toBoolean(value, run);
  };
}

function negate(operand: Step): Step {
  return (run) => {
    const before = run.failures;
    const value = operand(run);
    return run.failures > before ? 0 : integer(-toInteger(value, run), '-', run);
  };
}

function binary(operator: BinaryOperator, left: Step, right: Step): Step {
  switch (operator) {
    case 'AND':
      return logic(
        left,
        right,
        (x) => (x ? undefined : false),
        (x, y) => x && y,
      );
    case 'OR':
      return logic(
        left,
        right,
        (x) => (x ? true : undefined),
        (x, y) => x || y,
      );
    case 'XOR':
      return logic(
        left,
        right,
        () => undefined,
        (x, y) => x !== y,
      );
    case '=':
    case '!=':
      return equal(left, right, operator === '=');
    case '<':
    case '<=':
    case '>':
    case '>=':
      return both(left, right, false, COMPARE[operator]);
    case '+':
      return both(left, right, 0, (x, y, run) => integer(x + y, '+', run));
    case '-':
      return both(left, right, 0, (x, y, run) => integer(x - y, '-', run));
    case '*':
      return both(left, right, 0, (x, y, run) => integer(x * y, '*', run));
    case '/':
      return both(left, right, 0, (x, y, run) => (y === 0 ? byZero(run) : integer(Math.trunc(x / y), '/', run)));
    case '%':
      return both(left, right, 0, (x, y, run) => (y === 0 ? byZero(run) : integer(x % y, '%', run)));
  }
}

const COMPARE: Readonly<Record<Exclude<ComparisonOperator, '=' | '!='>, (x: number, y: number) => boolean>> = {
  '<': (x, y) => x < y,
  '<=': (x, y) => x <= y,
  '>': (x, y) => x > y,
  '>=': (x, y) => x >= y,
};

/** `decided`: what the left side alone decides, or undefined. */
function logic(
  left: Step,
  right: Step,
  decided: (x: boolean) => boolean | undefined,
  apply: (x: boolean, y: boolean) => boolean,
): Step {
  return (run) => {
    const before = run.failures;
    const leftValue = left(run);
    if (run.failures > before) {
      if (!run.failFast) right(run); // for its errors
      return false;
    }
    const x = toBoolean(leftValue, run);
    const known = decided(x);
    if (known !== undefined || run.over) return known ?? false;
    const unfailed = run.failures;
    const rightValue = right(run);
    return run.failures > unfailed ? false : apply(x, toBoolean(rightValue, run));
  };
}

/** Both sides as Integers. */
function both(left: Step, right: Step, zero: Value, apply: (x: number, y: number, run: Run) => Value): Step {
  return (run) => {
    const before = run.failures;
    const x = left(run);
    if (run.over) return zero;
    const y = right(run);
    return run.failures > before ? zero : apply(toInteger(x, run), toInteger(y, run), run);
  };
}

/** The type of the right side decides for both. */
function equal(left: Step, right: Step, wanted: boolean): Step {
  return (run) => {
    const before = run.failures;
    const x = left(run);
    if (run.over) return false;
    const y = right(run);
    return run.failures > before ? false : (castLike(y, x, run) === y) === wanted;
  };
}

function like(operand: Step, pattern: string, negated: boolean): Step {
  const matches = compilePattern(pattern);
  return (run) => {
    const before = run.failures;
    const value = operand(run);
    return run.failures > before ? false : matches(String(value)) !== negated;
  };
}

/** The type of the operand decides for the elements, which are looked at up to the first that is equal. */
function isIn(operand: Step, set: readonly Step[], negated: boolean): Step {
  return (run) => {
    const before = run.failures;
    const value = operand(run);
    let failed = run.failures > before;
    for (const element of set) {
      if (run.over) return false;
      const unfailed = run.failures;
      const candidate = element(run);
      if (run.failures > unfailed) failed = true;
      else if (!failed && castLike(value, candidate, run) === value) return !negated;
    }
    return failed ? false : negated;
  };
}

function call(name: string, args: readonly Step[]): Step {
  const target = findFunction(name, args.length);
  if (target === undefined) {
    const message = noSuchFunction(name, args.length);
    return (run) => {
      run.fail('missingFunction', message);
      return false;
    };
  }
  const types = args.map((_, index): ValueType => target.parameters[index] ?? target.rest!);
  return (run) => {
    const before = run.failures;
    const values: Value[] = [];
    for (const argument of args) {
      values.push(argument(run));
      if (run.over) break;
    }
    if (run.failures > before) return ZERO[target.result];
    return target.call(
      values.map((value, index) => castTo(types[index]!, value, run)),
      (kind, message) => run.fail(kind, message),
    );
  };
}

function refuseUnknownFunctions(expression: Expression): void {
  switch (expression.kind) {
    case 'call':
      if (findFunction(expression.name, expression.args.length) === undefined) {
        const known = functionNames().join(', ');
        throw new HadronError(
          'FILTER_INVALID',
          `CESQL: ${noSuchFunction(expression.name, expression.args.length)}; the functions are ${known}`,
        );
      }
      expression.args.forEach(refuseUnknownFunctions);
      break;
    case 'binary':
      refuseUnknownFunctions(expression.left);
      refuseUnknownFunctions(expression.right);
      break;
    case 'in':
      expression.set.forEach(refuseUnknownFunctions);
      refuseUnknownFunctions(expression.operand);
      break;
    case 'unary':
    case 'like':
      refuseUnknownFunctions(expression.operand);
      break;
    case 'literal':
    case 'attribute':
    case 'exists':
      break;
  }
}

function noSuchFunction(name: string, args: number): string {
  return `there is no function ${name} with ${args} argument${args === 1 ? '' : 's'}`;
}

/** The specification does not say what lies beyond 32 bits: an error, for a number that wrapped round matches what it should not. */
function integer(value: number, operator: string, run: Run): number {
  if (value >= MIN_INTEGER && value <= MAX_INTEGER) return value | 0; // never -0
  run.fail('math', `the result of ${operator} does not fit into 32 bits`);
  return 0;
}

function byZero(run: Run): number {
  run.fail('math', 'division by zero');
  return 0;
}

function castLike(model: Value, value: Value, run: Run): Value {
  if (typeof model === 'string') return String(value);
  return typeof model === 'number' ? toInteger(value, run) : toBoolean(value, run);
}

function castTo(type: ValueType, value: Value, run: Run): Value {
  return castLike(ZERO[type], value, run);
}

function toInteger(value: Value, run: Run): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  const parsed = /^[+-]?[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  if (parsed >= MIN_INTEGER && parsed <= MAX_INTEGER) return parsed | 0;
  return castFailed(run, value, 'Integer', 0);
}

function toBoolean(value: Value, run: Run): boolean {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return value !== 0;
  if (value.length === 4 && value.toLowerCase() === 'true') return true;
  if (value.length === 5 && value.toLowerCase() === 'false') return false;
  return castFailed(run, value, 'Boolean', false);
}

function castFailed<T extends Value>(run: Run, value: string, type: ValueType, zero: T): T {
  const shown = value.length > 40 ? `${value.slice(0, 40)}…` : value;
  run.fail('cast', `${JSON.stringify(shown)} is no ${type}`);
  return zero;
}
