/** What holds for every expression and every event: printing and parsing are inverse, evaluation is total and says the same twice. */
import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { attributesOf, compile, evaluate, type Expression, parse, print, type Value } from './index.ts';
import { compilePattern } from './like.ts';

const name = fc.constantFrom('id', 'type', 'subject', 'hop', 'count', '1abc', 'x9');
/** What a literal can say: a run of backslashes before a quote or the end cannot be told apart from an escape. */
const text = fc.string({ unit: 'grapheme', maxLength: 8 }).map((value) => value.replaceAll('\\', ''));
const escaped = fc.constantFrom("\\'", 'a\\b', '\\"', '\\\\x', "it's", '"', '%\\_\\%');
const string = fc.oneof(text, escaped);
const integer = fc.oneof(fc.integer(), fc.constantFrom(0, 1, -1, 2 ** 31 - 1, -(2 ** 31)));
const value: fc.Arbitrary<Value> = fc.oneof(string, integer, fc.boolean());

const { expression } = fc.letrec<{ expression: Expression }>((tie) => {
  const inner = tie('expression');
  return {
    expression: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.oneof(
        fc.record({ kind: fc.constant('literal' as const), value }),
        fc.record({ kind: fc.constant('attribute' as const), name }),
        fc.record({ kind: fc.constant('exists' as const), name }),
      ),
      fc.record({
        kind: fc.constant('binary' as const),
        operator: fc.constantFrom('AND', 'OR', 'XOR', '=', '!=', '<', '<=', '>', '>=', '+', '-', '*', '/', '%'),
        left: inner,
        right: inner,
      }),
      fc.record({ kind: fc.constant('unary' as const), operator: fc.constantFrom('NOT', '-'), operand: inner }),
      fc.record({ kind: fc.constant('like' as const), operand: inner, pattern: string, negated: fc.boolean() }),
      fc.record({
        kind: fc.constant('in' as const),
        operand: inner,
        set: fc.array(inner, { minLength: 1, maxLength: 3 }),
        negated: fc.boolean(),
      }),
      fc.record({
        kind: fc.constant('call' as const),
        name: fc.constantFrom(
          'ABS',
          'LENGTH',
          'CONCAT',
          'CONCAT_WS',
          'LEFT',
          'RIGHT',
          'SUBSTRING',
          'TRIM',
          'INT',
          'NOSUCH',
        ),
        args: fc.array(inner, { maxLength: 3 }),
      }),
    ),
  };
});

const event = fc.dictionary(name, value);
const lookupOf =
  (attributes: Record<string, Value>) =>
  (key: string): Value | undefined =>
    Object.hasOwn(attributes, key) ? attributes[key] : undefined;

it('parse(print(e)) = e', () => {
  fc.assert(
    fc.property(expression, (tree) => {
      expect(parse(print(tree))).toEqual(tree);
    }),
    { numRuns: 1_000 },
  );
});

it('evaluation is total, deterministic, and never leaves 32 bits; a filter matches exactly when it is true without errors', () => {
  fc.assert(
    fc.property(expression, event, (tree, attributes) => {
      const lookup = lookupOf(attributes);
      const first = evaluate(tree, lookup);
      expect(evaluate(tree, lookup)).toEqual(first);
      if (typeof first.value === 'number') expect(Object.is(first.value | 0, first.value)).toBe(true);
      expect(new Set(first.errors.map((error) => JSON.stringify(error))).size).toBe(first.errors.length);
      const source = print(tree);
      if (!/NOSUCH|ABS\(\)|[A-Z]\(/.test(source)) {
        expect(compile(source)(lookup)).toBe(first.value === true && first.errors.length === 0);
      }
    }),
    { numRuns: 1_000 },
  );
});

it('asks for no attribute but those of attributesOf', () => {
  fc.assert(
    fc.property(expression, event, (tree, attributes) => {
      const allowed = attributesOf(tree);
      evaluate(tree, (key) => {
        expect(allowed).toContain(key);
        return attributes[key];
      });
    }),
  );
});

it('random text, and text made of the language, gives a tree or FILTER_INVALID', () => {
  const words = fc.constantFrom(
    ...['AND', 'or', 'NOT', 'LIKE', 'IN', 'EXISTS', 'TRUE', '(', ')', ',', '=', '<>', '-', '+', '%', "'a%'", '"', "'"],
    ...['\\', '1', '99999999999', 'a', 'f(', 'ABS(', '\n', 'ä', '\ud800'],
  );
  const source = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(words, { maxLength: 30 }).map((list) => list.join(' ')),
    fc.array(words, { maxLength: 30 }).map((list) => list.join('')),
  );
  fc.assert(
    fc.property(source, (input) => {
      let tree: Expression;
      try {
        tree = parse(input);
      } catch (error) {
        expect(error).toBeInstanceOf(HadronError);
        expect((error as HadronError).code).toBe('FILTER_INVALID');
        return;
      }
      expect(parse(print(tree))).toEqual(tree);
    }),
    { numRuns: 3_000 },
  );
});

it('LIKE says what a naive matcher says', () => {
  const naive = (subject: string[], pattern: string[]): boolean => {
    const [first, second] = pattern;
    if (first === undefined) return subject.length === 0;
    if (first === '%') {
      return naive(subject, pattern.slice(1)) || (subject.length > 0 && naive(subject.slice(1), pattern));
    }
    const escaped = first === '\\' && (second === '%' || second === '_');
    const wanted = escaped ? second : first;
    const fits = subject.length > 0 && ((first === '_' && !escaped) || subject[0] === wanted);
    return fits && naive(subject.slice(1), pattern.slice(escaped ? 2 : 1));
  };
  const unit = fc.constantFrom('a', 'b', '😀', '%', '_', '\\');
  fc.assert(
    fc.property(
      fc.string({ unit, maxLength: 10 }),
      fc.string({ unit, maxLength: 8 }),
      fc.nat(40),
      (subject, pattern, padding) => {
        // Padding carries the states over the border of a word.
        const pad = 'x'.repeat(padding);
        expect(compilePattern(pad + pattern)(pad + subject)).toBe(naive(Array.from(subject), Array.from(pattern)));
        expect(compilePattern(`${pattern}_`)(`${subject}!`)).toBe(
          naive(Array.from(`${subject}!`), Array.from(`${pattern}_`)),
        );
      },
    ),
    { numRuns: 3_000 },
  );
});
