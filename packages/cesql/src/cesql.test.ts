/** Every row of cloudevents.md §7.4 as a table of cases of our own; the published kit runs in `npm run test:compat -- cesql`. */
import { HadronError } from '@hadron/base/errors';
import { describe, expect, it } from 'vitest';
import { compile, type ErrorKind, evaluate, MAX_PARTS, MAX_TEXT, parse, type Value } from './index.ts';

const EVENT: Readonly<Record<string, Value>> = {
  id: '7',
  source: '/shop/eu',
  specversion: '1.0',
  type: 'order.placed',
  subject: 'berlin/42',
  time: '2026-11-21T14:00:00.5+01:00',
  hop: '5',
  ttl: '10',
  count: 12,
  express: true,
  flag: 'TrUe',
  big: '2147483648',
  euro: 'Preis 5 €',
  smile: 'a😀b',
  empty: '',
};

const lookup = (name: string): Value | undefined => (Object.hasOwn(EVENT, name) ? EVENT[name] : undefined);

/** Expression, value, and the kinds of its errors. */
type Case = readonly [expression: string, value: Value, ...errors: ErrorKind[]];

const TABLE: Readonly<Record<string, readonly Case[]>> = {
  'literals and types': [
    ['0', 0],
    ['007', 7],
    ['+5', 5],
    ['-0', 0],
    ['2147483647', 2147483647],
    ['-2147483648', -2147483648],
    ['tRuE', true],
    ['faLSE', false],
    ["''", ''],
    ['""', ''],
    ["'it\\'s'", "it's"],
    ['"a \\"b\\""', 'a "b"'],
    ["'a\\\"b'", 'a\\"b'],
    ["'a\\\\b'", 'a\\\\b'],
    ["'a\\%b'", 'a\\%b'],
    ["'Grüße, 世界 😀'", 'Grüße, 世界 😀'],
    ["'line\nbreak'", 'line\nbreak'],
    ['\t1\r\n', 1],
  ],
  'identifiers and missing attributes': [
    ['type', 'order.placed'],
    ['TYPE', 'order.placed'],
    ['time', '2026-11-21T14:00:00.5+01:00'],
    ['count', 12],
    ['express', true],
    ['empty', ''],
    ['missing', false, 'missingAttribute'],
    ['1abc', false, 'missingAttribute'],
    ["missing = ''", false, 'missingAttribute'],
    ["missing != ''", false, 'missingAttribute'],
    ['missing = missing', false, 'missingAttribute'],
    ['missing + 1', 0, 'missingAttribute'],
    ['1 - missing', 0, 'missingAttribute'],
    ['1 / missing', 0, 'missingAttribute'],
    ['missing / 0', 0, 'missingAttribute'],
    ['-missing', 0, 'missingAttribute'],
    ['NOT missing', false, 'missingAttribute'],
    ['missing AND TRUE', false, 'missingAttribute'],
    ['TRUE XOR missing', false, 'missingAttribute'],
    ['missing < 1', false, 'missingAttribute'],
    ["missing LIKE '%'", false, 'missingAttribute'],
    ["missing NOT LIKE '%'", false, 'missingAttribute'],
    ["missing IN ('a')", false, 'missingAttribute'],
    ["missing NOT IN ('a')", false, 'missingAttribute'],
    ["'a' IN (missing)", false, 'missingAttribute'],
    ["'a' NOT IN (missing, 'b')", false, 'missingAttribute'],
    ["'a' IN ('a', missing)", true],
    ['LENGTH(missing)', 0, 'missingAttribute'],
    ['UPPER(missing)', '', 'missingAttribute'],
    ['INT(missing)', 0, 'missingAttribute'],
    ['BOOL(missing)', false, 'missingAttribute'],
    ["CONCAT('a', missing)", '', 'missingAttribute'],
    ['missing = other', false, 'missingAttribute', 'missingAttribute'],
    ['missing = 1 / 0', false, 'missingAttribute', 'math'],
  ],
  'logic, one level from left to right': [
    ['TRUE AND FALSE', false],
    ['true and true', true],
    ['FALSE OR TRUE', true],
    ['TRUE XOR TRUE', false],
    ['FALSE XOR TRUE', true],
    ['TRUE OR TRUE AND FALSE', false],
    ['FALSE AND FALSE OR TRUE', true],
    ['TRUE XOR TRUE OR TRUE', true],
    ['NOT TRUE OR TRUE', true],
    ['NOT (TRUE OR TRUE)', false],
    ['NOT NOT TRUE', true],
    ['NOT flag', false],
    ["NOT 'no'", true, 'cast'],
    ['NOT 10', true, 'cast'],
    ['1 AND 2', true],
    ['0 OR 0', false],
    ["'true' AND 'TRUE'", true],
    ["'yes' AND TRUE", false, 'cast'],
    ["TRUE AND 'yes'", false, 'cast'],
  ],
  'short circuit': [
    ['FALSE AND missing', false],
    ['TRUE OR missing', true],
    ['FALSE AND 1 / 0 = 1', false],
    ['TRUE OR NOSUCH()', true],
    ['TRUE AND missing', false, 'missingAttribute'],
    ['FALSE OR missing', false, 'missingAttribute'],
    ['FALSE XOR missing', false, 'missingAttribute'],
    ['TRUE AND 1 != 1 / 0', false, 'math'],
    ['missing OR TRUE', false, 'missingAttribute'],
    ['missing AND 1 / 0 = 1', false, 'missingAttribute', 'math'],
  ],
  'comparison and implicit casts': [
    ["type = 'order.placed'", true],
    ["type = 'Order.placed'", false],
    ["type != 'x'", true],
    ["type <> 'x'", true],
    ['hop = 5', true],
    ["hop = '5'", true],
    ["hop = '05'", false],
    ["5 = '5'", true],
    ["5 = '05'", false],
    ["TRUE = 'true'", true],
    ["TRUE = 'TRUE'", false],
    ["'TRUE' = TRUE", true],
    ['flag = TRUE', true],
    ['1 = TRUE', true],
    ['2 = TRUE', true],
    ['0 = FALSE', true],
    ['TRUE = 1', true],
    ['TRUE = 2', false],
    ["'x' = 1", false, 'cast'],
    ["'x' != 1", true, 'cast'],
    ["'x' = TRUE", false, 'cast'],
    ['hop < ttl', true],
    ["'5' < '10'", true],
    ['hop >= 5', true],
    ['hop > 5', false],
    ['count <= 11', false],
    ['TRUE > FALSE', true],
    ["'abc' < 1", true, 'cast'],
    ["'a' < 'b'", false, 'cast', 'cast'],
    ['big = 2147483647', false, 'cast'],
    ['1 < 2 = TRUE', true],
    ['3 > 2 > 1', false],
  ],
  'arithmetic in 32 bits': [
    ['1 + 2 * 3', 7],
    ['(1 + 2) * 3', 9],
    ['10 - 4 - 3', 3],
    ['4-1', 3],
    ['4 -1', 3],
    ['4+1', 5],
    ['2 * -3', -6],
    ['100 / 10 / 5', 2],
    ['7 / 2', 3],
    ['-7 / 2', -3],
    ['7 / -2', -3],
    ['7 % 3', 1],
    ['-7 % 3', -1],
    ['7 % -3', 1],
    ['0 * -1', 0],
    ['-4 % 2', 0],
    ['5 / 0', 0, 'math'],
    ['5 % 0', 0, 'math'],
    ['0 / 0', 0, 'math'],
    ['1 + 1 / 0', 0, 'math'],
    ['2147483647 + 1', 0, 'math'],
    ['-2147483648 - 1', 0, 'math'],
    ['65536 * 65536', 0, 'math'],
    ['-2147483648 / -1', 0, 'math'],
    ['- -2147483648', 0, 'math'],
    ['--5', 5],
    ['- 5', -5],
    ["-'5'", -5],
    ["-'+5'", -5],
    ["-'abc'", 0, 'cast'],
    ["'5' + 3", 8],
    ["'a' + 'b'", 0, 'cast', 'cast'],
    ["'5.0' + 1", 1, 'cast'],
    ["' 5' + 1", 1, 'cast'],
    ["'' + 1", 1, 'cast'],
    ['TRUE + TRUE', 2],
    ['-TRUE', -1],
    ['count * 2', 24],
    ['big + 0', 0, 'cast'],
  ],
  LIKE: [
    ["'abc' LIKE 'abc'", true],
    ["'abc' LIKE 'ab'", false],
    ["'abc' LIKE 'ABC'", false],
    ["'' LIKE ''", true],
    ["'' LIKE '%'", true],
    ["'a' LIKE ''", false],
    ["type LIKE 'order.%'", true],
    ["type LIKE '%.placed'", true],
    ["type LIKE '%der%'", true],
    ["type LIKE '%%placed%%'", true],
    ["type LIKE 'order%placed'", true],
    ["type LIKE 'order_placed'", true],
    ["type LIKE 'order__placed'", false],
    ["type NOT LIKE 'order.%'", false],
    ["'abc' LIKE '_b%'", true],
    ["'b' LIKE '_b%'", false],
    ["'aab' LIKE '%ab'", true],
    ["'abab' LIKE 'ab%ab'", true],
    ["'aba' LIKE 'ab%ba'", false],
    ["'a%b' LIKE 'a\\%b'", true],
    ["'axb' LIKE 'a\\%b'", false],
    ["'a_b' LIKE 'a\\_b'", true],
    ["'axb' LIKE 'a\\_b'", false],
    ["'a\\b' LIKE 'a\\b'", true],
    ["'a.c' LIKE 'a.c'", true],
    ["'abc' LIKE 'a.c'", false],
    ["smile LIKE 'a_b'", true],
    ["smile LIKE 'a__b'", false],
    ["smile LIKE '%😀_'", true],
    ["euro LIKE '%€'", true],
    ["'a\nb' LIKE 'a%b'", true],
    ["12 LIKE '1_'", true],
    ["-5 LIKE '-%'", true],
    ["TRUE LIKE 't%'", true],
    ["1 + 11 LIKE '11'", 2],
    ["(1 / 0) LIKE '0'", false, 'math'],
  ],
  IN: [
    ["type IN ('order.paid', 'order.placed')", true],
    ["type NOT IN ('order.paid')", true],
    ['5 IN (1, 5)', true],
    ["5 IN ('5')", true],
    ["5 IN ('05')", true],
    ["'05' IN (5)", false],
    ['hop IN (5)', true],
    ['TRUE IN (1)', true],
    ["'true' IN (TRUE)", true],
    ["'TRUE' IN (TRUE)", false],
    ['ttl IN (hop, count - 2)', true],
    ["1 IN ('x')", false, 'cast'],
    ["1 IN ('x', 1)", true, 'cast'],
    ["1 IN (1, 'x')", true],
    ["express IN ('x')", false, 'cast'],
    ["'a' IN ('b') IN (FALSE)", true],
    ['1 + 1 IN (2)', 1],
  ],
  EXISTS: [
    ['EXISTS subject', true],
    ['EXISTS SUBJECT', true],
    ['EXISTS empty', true],
    ['EXISTS missing', false],
    ['NOT EXISTS missing', true],
    ['EXISTS id AND EXISTS source AND EXISTS type AND EXISTS specversion', true],
    ['EXISTS missing OR EXISTS subject', true],
    ["EXISTS subject LIKE 't%'", true],
  ],
  precedence: [
    ['NOT FALSE = TRUE', true],
    ["NOT 'x' LIKE 'x'", false, 'cast'],
    ['-1 + 2', 1],
    ['1 + 2 = 3 AND 2 * 2 = 4', true],
    ["type = 'a' OR hop = 5 AND count = 12", true],
    ['2 + 3 IN (5)', 2],
    ['(2 + 3) IN (5)', true],
    ["'ab' LIKE 'a%' IN (TRUE)", true],
    ['ABS(-3) * 2', 6],
  ],
  casts: [
    ["INT('42')", 42],
    ["INT('-0')", 0],
    ["INT('+7')", 7],
    ["INT('4x')", 0, 'cast'],
    ["INT('99999999999')", 0, 'cast'],
    ['INT(TRUE)', 1],
    ['STRING(-7)', '-7'],
    ['STRING(FALSE)', 'false'],
    ["BOOL('tRUE')", true],
    ["BOOL('1')", false, 'cast'],
    ['BOOL(-1)', true],
    ['BOOL(0)', false],
  ],
  'string functions': [
    ["LENGTH('abc')", 3],
    ['LENGTH(smile)', 3],
    ['LENGTH(1234)', 4],
    ['length(empty)', 0],
    ['CONCAT()', ''],
    ["CONCAT('a', 1, TRUE)", 'a1true'],
    ["CONCAT_WS('-', 'a', 2, 'c')", 'a-2-c'],
    ["CONCAT_WS('-')", ''],
    ["CONCAT_WS('-', '')", ''],
    ["lower('ÄB')", 'äb'],
    ["UPPER('äb')", 'ÄB'],
    ["TRIM(' \t\u2003a b\u0085\u00a0')", 'a b'],
    ["TRIM('\ufeffa\u0001')", '\ufeffa\u0001'],
    ["TRIM('   ')", ''],
    ['LEFT(smile, 2)', 'a😀'],
    ["LEFT('abc', 0)", ''],
    ["LEFT('abc', 9)", 'abc'],
    ["LEFT('abc', -1)", 'abc', 'functionEvaluation'],
    ["LEFT('abc', '2')", 'ab'],
    ["LEFT('abc', 'x')", '', 'cast'],
    ['RIGHT(smile, 2)', '😀b'],
    ["RIGHT('abc', 0)", ''],
    ["RIGHT('abc', 9)", 'abc'],
    ["RIGHT('abc', -1)", 'abc', 'functionEvaluation'],
    ["SUBSTRING('abcdef', 3)", 'cdef'],
    ["SUBSTRING('abcdef', -2)", 'ef'],
    ["SUBSTRING('abcdef', -6)", 'abcdef'],
    ["SUBSTRING('abcdef', 6)", 'f'],
    ["SUBSTRING('abcdef', 0)", ''],
    ["SUBSTRING('abcdef', 7)", '', 'functionEvaluation'],
    ["SUBSTRING('abcdef', -7)", '', 'functionEvaluation'],
    ["SUBSTRING('abcdef', 2, 3)", 'bcd'],
    ["SUBSTRING('abcdef', -3, 2)", 'de'],
    ["SUBSTRING('abcdef', 2, 0)", ''],
    ["SUBSTRING('abcdef', 5, 99)", 'ef'],
    ["SUBSTRING('abcdef', 2, -1)", '', 'functionEvaluation'],
    ["SUBSTRING('', 1)", '', 'functionEvaluation'],
    ['SUBSTRING(smile, 2, 1)', '😀'],
  ],
  'integer functions': [
    ['ABS(-5)', 5],
    ['abs(0)', 0],
    ["ABS('-5')", 5],
    ['ABS(-2147483648)', 2147483647, 'math'],
    ['ABS(-2147483648) + 1', 0, 'math'],
  ],
  'unknown functions': [
    ['NOSUCH(1)', false, 'missingFunction'],
    ['LENGTH()', false, 'missingFunction'],
    ["LENGTH('a', 'b')", false, 'missingFunction'],
    ['CONCAT_WS()', false, 'missingFunction'],
    ['toString()', false, 'missingFunction'],
    ['NOSUCH() = FALSE', false, 'missingFunction'],
    ['1 + NOSUCH()', 0, 'missingFunction'],
  ],
};

describe.each(Object.entries(TABLE))('§7.4 %s', (_, table) => {
  const cases = table.map(([text, value, ...errors]) => ({ text, value, errors }));

  it.each(cases)('$text', ({ text, value, errors }) => {
    const result = evaluate(parse(text), lookup);
    expect([result.value, ...result.errors.map((error) => error.kind)]).toEqual([value, ...errors]);
  });

  it.each(cases)('as a filter, $text', ({ text, value, errors }) => {
    if (errors.includes('missingFunction') || text.includes('NOSUCH')) {
      expect(() => compile(text)).toThrow(/FILTER_INVALID: CESQL: there is no function/);
    } else expect(compile(text)(lookup)).toBe(value === true && errors.length === 0);
  });
});

it('has the cases it promises', () => {
  expect(Object.values(TABLE).flat().length).toBeGreaterThan(250);
});

it('a set of errors: what happened twice is told once', () => {
  expect(evaluate(parse('missing = 1 XOR missing = 2'), lookup).errors).toEqual([
    { kind: 'missingAttribute', message: 'the event has no attribute missing' },
  ]);
});

describe('what is refused says where, what was expected and what was found', () => {
  it.each([
    ['', 1, 'expected an expression, found the end of the text'],
    ['   ', 4, 'expected an expression, found the end of the text'],
    ['ABC(', 5, 'expected an expression, found the end of the text'],
    ['ABC(1', 6, 'expected , or ), found the end of the text'],
    ['(1', 3, 'expected ), found the end of the text'],
    ['1)', 2, 'expected an operator or the end, found )'],
    ['a b', 3, 'expected an operator or the end, found b'],
    ['= 1', 1, 'expected an expression, found ='],
    ['a = = b', 5, 'expected an expression, found ='],
    ['a AND', 6, 'expected an expression, found the end of the text'],
    ['a NOT = b', 7, 'expected LIKE or IN behind NOT, found ='],
    ['a LIKE 5', 8, "expected the pattern, a literal such as '%.error', found 5"],
    ['a LIKE b', 8, "expected the pattern, a literal such as '%.error', found b"],
    ['a IN 5', 6, 'expected (, found 5'],
    ['a IN ()', 7, 'expected an expression, found )'],
    ['EXISTS', 7, 'expected the name of an attribute, found the end of the text'],
    ["EXISTS 'a'", 8, "expected the name of an attribute, found 'a'"],
    ['EXISTS (a)', 8, 'expected the name of an attribute, found ('],
    ['2147483648', 1, 'expected an integer from -2147483648 to 2147483647, found 2147483648'],
    ['1 - -2147483649', 5, 'expected an integer from -2147483648 to 2147483647, found -'],
    ['1.5', 2, 'expected an expression or an operator, found "."'],
    ["'abc", 1, "expected a closing ' for the string, found the end of the text"],
    ["'abc\\'", 1, "expected a closing ' for the string, found the end of the text"],
    ["'a''b'", 4, "expected an operator or the end, found 'b'"],
    ['my_attr = 1', 1, 'expected an attribute name of letters and digits, found my_attr'],
    ['f1(2)', 1, 'expected a function name of letters and _, found f1'],
    ['a == b', 4, 'expected an expression, found ='],
    ['a && b', 3, 'expected an expression or an operator, found "&"'],
    ['ä = 1', 1, 'expected an expression or an operator, found "ä"'],
    ['a = 😀', 5, 'expected an expression or an operator, found "😀"'],
    ['+a', 1, 'expected an expression, found +'],
    ['LIKE', 1, 'expected an expression, found LIKE'],
  ])('%s', (text, character, message) => {
    expect(() => parse(text)).toThrow(new HadronError('FILTER_INVALID', `CESQL, character ${character}: ${message}`));
  });

  it('too long or too large', () => {
    expect(() => parse('1'.padEnd(MAX_TEXT + 1))).toThrow(/at most 16384 characters, this one has 16385/);
    expect(parse('1'.padEnd(MAX_TEXT))).toEqual({ kind: 'literal', value: 1 });
    const tooMany = /at most 1000 parts/;
    for (const open of ['(', '-', 'NOT ', 'ABS(', 'a IN (', '1+', '1,1,']) {
      expect(() => parse(open.repeat(MAX_PARTS + 1))).toThrow(open === '1,1,' ? /expected/ : tooMany);
    }
    expect(() => parse(`a IN (${'1,'.repeat(MAX_PARTS)}1)`)).toThrow(tooMany);
  });

  it('the deepest and the longest that is allowed is evaluated', () => {
    expect(evaluate(parse(`${'('.repeat(MAX_PARTS - 1)}1${')'.repeat(MAX_PARTS - 1)}`), lookup).value).toBe(1);
    expect(evaluate(parse(`${'NOT '.repeat(MAX_PARTS - 2)}TRUE`), lookup).value).toBe(true);
    expect(evaluate(parse(`${'1+'.repeat(MAX_PARTS / 2 - 1)}1`), lookup).value).toBe(MAX_PARTS / 2);
  });
});

describe('hostile input costs linear time', () => {
  const long = 'a'.repeat(1_000_000);
  const timed = (text: string, attribute: string): { value: Value; ms: number } => {
    const expression = parse(text);
    const started = performance.now();
    const { value } = evaluate(expression, () => attribute);
    return { value, ms: performance.now() - started };
  };

  it('a LIKE that makes regular expressions backtrack', () => {
    const { value, ms } = timed(`x LIKE '${'%a_'.repeat(12)}%b'`, long);
    expect(value).toBe(false);
    expect(ms).toBeLessThan(2_000); // 2^20 ways to fit; a second is 100 times what it takes
  });

  it('TRIM of white space inside', () => {
    const { value, ms } = timed('LENGTH(TRIM(x))', `a${' '.repeat(1_000_000)}a`);
    expect(value).toBe(1_000_002);
    expect(ms).toBeLessThan(2_000);
  });

  it('concatenation does not multiply what an event brings', () => {
    const call = `CONCAT(${Array.from({ length: 100 }, () => 'x').join(',')})`;
    expect(evaluate(parse(call), () => long)).toEqual({
      value: '',
      errors: [
        { kind: 'functionEvaluation', message: 'the result would have 100000000 characters, at most 1048576 are made' },
      ],
    });
  });
});
