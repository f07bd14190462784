/**
 * Text to tree: a tokenizer and a Pratt parser over the table of binding powers. Pure; throws nothing but FILTER_INVALID.
 *
 * More than the grammar asks for is understood where only one thing can be meant: `4-1`, though its lexer would read the
 * literals 4 and -1.
 */
import { HadronError } from '@hadron/base/errors';
import {
  type BinaryOperator,
  type Expression,
  literalEnd,
  MAX_PARTS,
  MAX_TEXT,
  POWER,
  unquote,
  type Value,
} from './expression.ts';

type TokenKind = 'integer' | 'string' | 'name' | 'keyword' | 'symbol' | 'end';

interface Token {
  readonly kind: TokenKind;
  /** As written; keywords in upper case. */
  readonly text: string;
  readonly at: number;
}

const KEYWORDS = new Set(['AND', 'OR', 'XOR', 'NOT', 'LIKE', 'IN', 'EXISTS', 'TRUE', 'FALSE']);
const WORD = /[A-Za-z0-9_]+/y;
const SYMBOL = /<=|>=|<>|!=|[-+*/%=<>(),]/y;
const SPACE = /[ \t\r\n]+/y;

export const MIN_INTEGER = -(2 ** 31);
export const MAX_INTEGER = 2 ** 31 - 1;

/**
 * Parses a CESQL 1.0 expression of at most 16,384 characters and 1,000 parts.
 * @throws HadronError FILTER_INVALID with the position, what was expected and what was found
 */
export function parse(text: string): Expression {
  if (text.length > MAX_TEXT) {
    throw new HadronError(
      'FILTER_INVALID',
      `an expression has at most ${MAX_TEXT} characters, this one has ${text.length}`,
    );
  }
  return new Parser(text).parse();
}

class Parser {
  readonly #text: string;
  #token: Token;
  #parts = 0;

  constructor(text: string) {
    this.#text = text;
    this.#token = this.#scan(0);
  }

  parse(): Expression {
    const expression = this.#expression(0);
    if (this.#token.kind !== 'end') throw this.#expected('an operator or the end');
    return expression;
  }

  /** An expression of operators that bind tighter than `above`. */
  #expression(above: number): Expression {
    let left = this.#operand();
    for (;;) {
      const token = this.#token;
      if (token.kind !== 'symbol' && token.kind !== 'keyword') return left;
      if (token.text === 'NOT' || token.text === 'LIKE' || token.text === 'IN') {
        const tested = this.#test(left, above);
        if (tested === undefined) return left;
        left = tested;
        continue;
      }
      const operator = token.text === '<>' ? '!=' : token.text;
      if (!isBinary(operator) || POWER[operator] <= above) return left;
      this.#advance();
      left = this.#part({ kind: 'binary', operator, left, right: this.#expression(POWER[operator]) });
    }
  }

  /** `[NOT] LIKE 'pattern'` or `[NOT] IN (…)` behind `operand`; undefined where that binds too loosely. */
  #test(operand: Expression, above: number): Expression | undefined {
    const negated = this.#token.text === 'NOT';
    const operator = negated ? this.#scan(this.#token.at + 3) : this.#token;
    if (operator.text !== 'LIKE' && operator.text !== 'IN') throw this.#expected('LIKE or IN behind NOT', operator);
    if (POWER[operator.text] <= above) return undefined;
    this.#token = operator;
    this.#advance();
    if (operator.text === 'LIKE') {
      const pattern = this.#take('string', "the pattern, a literal such as '%.error'");
      return this.#part({ kind: 'like', operand, pattern: unquote(pattern.text), negated });
    }
    this.#symbol('(');
    return this.#part({ kind: 'in', operand, set: this.#list(), negated });
  }

  #operand(): Expression {
    const token = this.#token;
    switch (token.kind) {
      case 'string':
        this.#advance();
        return this.#literal(unquote(token.text));
      case 'integer':
        this.#advance();
        return this.#literal(this.#integer(token.text, token));
      case 'name':
        this.#advance();
        return this.#isSymbol('(') ? this.#call(token) : this.#part({ kind: 'attribute', name: this.#name(token) });
      case 'keyword':
        return this.#keyword(token);
      case 'symbol':
        return this.#prefix(token);
      case 'end':
        throw this.#expected('an expression');
    }
  }

  #keyword(token: Token): Expression {
    switch (token.text) {
      case 'TRUE':
      case 'FALSE':
        this.#advance();
        return this.#literal(token.text === 'TRUE');
      case 'NOT':
        return this.#unary('NOT');
      case 'EXISTS':
        this.#advance();
        return this.#part({ kind: 'exists', name: this.#name(this.#take('name', 'the name of an attribute')) });
      default:
        throw this.#expected('an expression');
    }
  }

  #prefix(token: Token): Expression {
    if (token.text === '(') {
      this.#count();
      this.#advance();
      const inner = this.#expression(0);
      this.#symbol(')');
      return inner;
    }
    if (token.text === '-' || token.text === '+') {
      const next = this.#scan(token.at + 1);
      if (next.kind === 'integer' && next.at === token.at + 1) {
        this.#token = next;
        this.#advance();
        return this.#literal(this.#integer(token.text + next.text, token));
      }
      if (token.text === '-') return this.#unary('-');
    }
    throw this.#expected('an expression');
  }

  #unary(operator: 'NOT' | '-'): Expression {
    this.#count(); // before the recursion: this is what bounds its depth
    this.#advance();
    return { kind: 'unary', operator, operand: this.#expression(POWER.unary) };
  }

  #call(name: Token): Expression {
    if (!/^[A-Za-z][A-Za-z_]*$/.test(name.text)) throw this.#expected('a function name of letters and _', name);
    this.#count();
    this.#advance();
    if (this.#isSymbol(')')) {
      this.#advance();
      return { kind: 'call', name: name.text.toUpperCase(), args: [] };
    }
    return { kind: 'call', name: name.text.toUpperCase(), args: this.#list() };
  }

  /** Expressions and commas up to the closing parenthesis. */
  #list(): Expression[] {
    const list = [this.#expression(0)];
    while (this.#isSymbol(',')) {
      this.#advance();
      list.push(this.#expression(0));
    }
    if (!this.#isSymbol(')')) throw this.#expected(', or )');
    this.#advance();
    return list;
  }

  #literal(value: Value): Expression {
    return this.#part({ kind: 'literal', value });
  }

  #integer(text: string, token: Token): number {
    const value = Number(text);
    if (value < MIN_INTEGER || value > MAX_INTEGER) {
      throw this.#expected(`an integer from ${MIN_INTEGER} to ${MAX_INTEGER}`, token);
    }
    return value | 0; // never -0
  }

  #name(token: Token): string {
    if (token.text.includes('_')) throw this.#expected('an attribute name of letters and digits', token);
    return token.text.toLowerCase();
  }

  #part(expression: Expression): Expression {
    this.#count();
    return expression;
  }

  #count(): void {
    if (++this.#parts > MAX_PARTS) {
      throw new HadronError(
        'FILTER_INVALID',
        `an expression has at most ${MAX_PARTS} parts (operators, operands, arguments, parentheses); split it, or use IN`,
      );
    }
  }

  #isSymbol(text: string): boolean {
    return this.#token.kind === 'symbol' && this.#token.text === text;
  }

  #symbol(text: string): void {
    if (!this.#isSymbol(text)) throw this.#expected(text);
    this.#advance();
  }

  #take(kind: TokenKind, what: string): Token {
    const token = this.#token;
    if (token.kind !== kind) throw this.#expected(what);
    this.#advance();
    return token;
  }

  #advance(): void {
    this.#token = this.#scan(this.#token.at + this.#token.text.length);
  }

  #scan(from: number): Token {
    const text = this.#text;
    const at = from + match(SPACE, text, from).length;
    if (at >= text.length) return { kind: 'end', text: '', at };
    const word = match(WORD, text, at);
    if (word !== '') {
      if (/^[0-9]+$/.test(word)) return { kind: 'integer', text: word, at };
      const upper = word.toUpperCase();
      return KEYWORDS.has(upper) ? { kind: 'keyword', text: upper, at } : { kind: 'name', text: word, at };
    }
    const symbol = match(SYMBOL, text, at);
    if (symbol !== '') return { kind: 'symbol', text: symbol, at };
    if (text[at] === "'" || text[at] === '"') {
      const end = literalEnd(text, at);
      if (end === -1) throw invalid(`a closing ${text[at]} for the string`, at, 'the end of the text');
      return { kind: 'string', text: text.slice(at, end), at };
    }
    throw invalid('an expression or an operator', at, JSON.stringify(String.fromCodePoint(text.codePointAt(at)!)));
  }

  #expected(what: string, token = this.#token): HadronError {
    const shown = token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text;
    return invalid(what, token.at, token.kind === 'end' ? 'the end of the text' : shown);
  }
}

function invalid(expected: string, at: number, found: string): HadronError {
  return new HadronError('FILTER_INVALID', `CESQL, character ${at + 1}: expected ${expected}, found ${found}`);
}

function match(sticky: RegExp, text: string, at: number): string {
  sticky.lastIndex = at;
  return sticky.exec(text)?.[0] ?? '';
}

function isBinary(text: string): text is BinaryOperator {
  return text !== 'IN' && text !== 'LIKE' && text !== 'unary' && Object.hasOwn(POWER, text);
}
