import fc from 'fast-check';
import { HadronError } from '@hadron/base';
import { expect, test } from 'vitest';
import { type Labels, parseSelector } from './selector.ts';

const web: Labels = { app: 'shop', tier: 'web', empty: '', 'example.com/team': 'blue' };

test.each<[string, boolean]>([
  ['', true],
  ['app=shop', true],
  ['app==shop', true],
  ['app = shop , tier=web', true],
  ['app=shop,tier=db', false],
  ['app!=shop', false],
  ['app!=bank', true],
  ['missing!=x', true],
  ['missing=x', false],
  ['missing=', false],
  ['empty=', true],
  ['empty', true],
  ['tier in (web, db)', true],
  ['tier in (db)', false],
  ['tier notin (db)', true],
  ['tier notin (web,db)', false],
  ['missing in (x)', false],
  ['missing notin (x)', true],
  ['empty in (,a)', true],
  ['tier', true],
  ['missing', false],
  ['!missing', true],
  ['! tier', false],
  ['example.com/team=blue', true],
  ['in in (x)', false],
])('%s → %s', (text, holds) => {
  expect(parseSelector(text)(web)).toBe(holds);
});

test('a label named in or notin', () => {
  expect(parseSelector('in,notin=x')({ in: '1', notin: 'x' })).toBe(true);
});

test.each([
  '=',
  'a=b=c',
  'a b',
  'a in',
  'a in (',
  'a in (b',
  'a in b',
  ',',
  'a,',
  '!',
  '!a=b',
  'a=-',
  '/a',
  'a=b,,c',
  'a;b',
  'ä',
  'a=*',
  'x'.repeat(5_000),
])('%s is refused with an example', (text) => {
  expect(() => parseSelector(text)).toThrow(/REQUEST_INVALID: label selector .*for example/);
});

test('anything is parsed or refused', () => {
  const piece = fc.constantFrom('a', 'in', 'notin', '=', '==', '!=', '!', '(', ')', ',', ' ', 'b', '/', '.');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece).map((p) => p.join('')),
      ),
      (text) => {
        try {
          expect(typeof parseSelector(text)({ a: 'b' })).toBe('boolean');
        } catch (error) {
          expect(error).toBeInstanceOf(HadronError);
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('members of Object are no labels', () => {
  expect(parseSelector('constructor')({})).toBe(false);
  expect(parseSelector('!toString')({})).toBe(true);
});
