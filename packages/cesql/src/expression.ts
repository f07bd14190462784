/**
 * The tree of a CESQL expression, its limits, and its way back into text.
 *
 * Always true of a tree that came from `parse`: attribute names are lower case and function names upper case, integers have
 * 32 bits, and it has at most {@link MAX_PARTS} parts, so that walking it by recursion is safe.
 */

/** The primitive types. URI, URI-reference, Timestamp and Binary attributes are Strings here. */
export type ValueType = 'String' | 'Integer' | 'Boolean';

/** An Integer is a number without fraction in the range of 32 bits. */
export type Value = string | number | boolean;

export type ComparisonOperator = '=' | '!=' | '<' | '<=' | '>' | '>=';
export type ArithmeticOperator = '*' | '/' | '%' | '+' | '-';
export type LogicOperator = 'AND' | 'OR' | 'XOR';
export type BinaryOperator = ComparisonOperator | ArithmeticOperator | LogicOperator;

export type Expression =
  | { readonly kind: 'literal'; readonly value: Value }
  | { readonly kind: 'attribute'; readonly name: string }
  | { readonly kind: 'exists'; readonly name: string }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] }
  | { readonly kind: 'unary'; readonly operator: 'NOT' | '-'; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: 'like'; readonly operand: Expression; readonly pattern: string; readonly negated: boolean }
  | {
      readonly kind: 'in';
      readonly operand: Expression;
      readonly set: readonly Expression[];
      readonly negated: boolean;
    };

/** Longest text that is parsed, in UTF-16 units. */
export const MAX_TEXT = 16_384;

/** Most parts of one expression: operators, operands, arguments and pairs of parentheses. */
export const MAX_PARTS = 1_000;

/** How tightly an operator binds; all of one number are read from left to right. */
export const POWER: Readonly<Record<BinaryOperator | 'IN' | 'LIKE' | 'unary', number>> = {
  AND: 1,
  OR: 1,
  XOR: 1,
  '=': 2,
  '!=': 2,
  '<': 2,
  '<=': 2,
  '>': 2,
  '>=': 2,
  '+': 3,
  '-': 3,
  '*': 4,
  '/': 4,
  '%': 4,
  IN: 5,
  LIKE: 6,
  unary: 7,
};

const ATOM = 8;

/** Text that parses to the same tree, with as few parentheses as that needs. */
export function print(expression: Expression): string {
  switch (expression.kind) {
    case 'literal':
      return typeof expression.value === 'string' ? quote(expression.value) : String(expression.value);
    case 'attribute':
      return expression.name;
    case 'exists':
      return `EXISTS ${expression.name}`;
    case 'call':
      return `${expression.name}(${expression.args.map(print).join(', ')})`;
    case 'unary': {
      const operand = printOperand(expression.operand, POWER.unary);
      if (expression.operator === 'NOT') return `NOT ${operand}`;
      // A sign that touches digits is part of the literal.
      return /^[0-9]/.test(operand) ? `- ${operand}` : `-${operand}`;
    }
    case 'binary': {
      const power = POWER[expression.operator];
      return `${printOperand(expression.left, power)} ${expression.operator} ${printOperand(expression.right, power + 1)}`;
    }
    case 'like':
      return `${printOperand(expression.operand, POWER.LIKE)}${expression.negated ? ' NOT' : ''} LIKE ${quote(expression.pattern)}`;
    case 'in':
      return `${printOperand(expression.operand, POWER.IN)}${expression.negated ? ' NOT' : ''} IN (${expression.set.map(print).join(', ')})`;
  }
}

function printOperand(operand: Expression, atLeast: number): string {
  return powerOf(operand) < atLeast ? `(${print(operand)})` : print(operand);
}

function powerOf(expression: Expression): number {
  switch (expression.kind) {
    case 'binary':
      return POWER[expression.operator];
    case 'unary':
      return POWER.unary;
    case 'like':
      return POWER.LIKE;
    case 'in':
      return POWER.IN;
    default:
      return ATOM;
  }
}

/**
 * CESQL escapes nothing but the delimiter, so a backslash before a quote can be said with the other delimiter only. A value
 * that came out of a literal fits at least one of them.
 */
function quote(value: string): string {
  for (const delimiter of ["'", '"']) {
    const text = delimiter + value.replaceAll(delimiter, `\\${delimiter}`) + delimiter;
    if (literalEnd(text, 0) === text.length && unquote(text) === value) return text;
  }
  throw new TypeError('no CESQL literal has this value');
}

/** Where the literal that starts at `start` ends (behind its delimiter); -1: it does not. A backslash takes the next character with it. */
export function literalEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === text[start]) return at + 1;
  }
  return -1;
}

export function unquote(literal: string): string {
  const delimiter = literal[0]!;
  const inner = literal.slice(1, -1);
  return inner.includes('\\') ? inner.replace(/\\[^]/g, (pair) => (pair[1] === delimiter ? delimiter : pair)) : inner;
}

/** The attributes an expression may ask for. */
export function attributesOf(expression: Expression, into: Set<string> = new Set<string>()): Set<string> {
  switch (expression.kind) {
    case 'literal':
      break;
    case 'attribute':
    case 'exists':
      into.add(expression.name);
      break;
    case 'call':
      for (const argument of expression.args) attributesOf(argument, into);
      break;
    case 'binary':
      attributesOf(expression.left, into);
      attributesOf(expression.right, into);
      break;
    case 'in':
      for (const element of expression.set) attributesOf(element, into);
      attributesOf(expression.operand, into);
      break;
    case 'unary':
    case 'like':
      attributesOf(expression.operand, into);
      break;
  }
  return into;
}
