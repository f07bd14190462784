import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attributesOfFilters, checkFilter, checkFilters, compileFilter, compileFilters, type Filter } from './index.ts';

const EVENT: Readonly<Record<string, string>> = {
  id: '7',
  source: '/shop',
  specversion: '1.0',
  type: 'order.placed',
  hop: '5',
};
const lookup = (name: string): string | undefined => (Object.hasOwn(EVENT, name) ? EVENT[name] : undefined);

/** cloudevents.md §7.3: each dialect where the attribute is there and fits, is there and does not, and is missing. */
describe('the seven dialects', () => {
  it.each<[Filter, boolean]>([
    [{ exact: { type: 'order.placed' } }, true],
    [{ exact: { type: 'Order.placed' } }, false],
    [{ exact: { subject: 'x' } }, false],
    [{ exact: { type: 'order.placed', hop: '5' } }, true],
    [{ exact: { type: 'order.placed', hop: '6' } }, false],
    [{ exact: { type: 'order.placed', subject: 'x' } }, false],
    [{ exact: { specversion: '1.0' } }, true],
    [{ exact: { hop: '05' } }, false],
    [{ prefix: { type: 'order.' } }, true],
    [{ prefix: { type: 'ORDER.' } }, false],
    [{ prefix: { subject: 'x' } }, false],
    [{ prefix: { type: 'order.placed.now' } }, false],
    [{ prefix: { type: 'order.', source: '/' } }, true],
    [{ prefix: { type: 'order.', subject: 'x' } }, false],
    [{ suffix: { type: '.placed' } }, true],
    [{ suffix: { type: '.paid' } }, false],
    [{ suffix: { subject: 'x' } }, false],
    [{ suffix: { type: '.placed', source: 'shop' } }, true],
    [{ all: [{ exact: { id: '7' } }, { prefix: { type: 'order' } }] }, true],
    [{ all: [{ exact: { id: '7' } }, { prefix: { subject: 'x' } }] }, false],
    [{ all: [{ exact: { id: '7' } }] }, true],
    [{ any: [{ exact: { id: '8' } }, { suffix: { source: 'shop' } }] }, true],
    [{ any: [{ exact: { id: '8' } }, { suffix: { subject: 'x' } }] }, false],
    [{ not: { exact: { type: 'order.placed' } } }, false],
    [{ not: { exact: { type: 'order.paid' } } }, true],
    [{ not: { exact: { subject: 'x' } } }, true],
    [{ not: { prefix: { subject: 'x' } } }, true],
    [{ not: { suffix: { subject: 'x' } } }, true],
    [{ not: { not: { exact: { id: '7' } } } }, true],
    [{ not: { all: [{ exact: { id: '7' } }, { not: { any: [{ exact: { hop: '5' } }] } }] } }, true],
    [{ sql: "type = 'order.placed' AND hop < 6" }, true],
    [{ sql: "subject = 'x'" }, false],
    [{ sql: "subject != 'x'" }, false],
    [{ sql: 'NOT EXISTS subject' }, true],
    [{ sql: 'hop' }, false], // '5' is no Boolean
    [{ sql: 'INT(hop)' }, false],
    [{ sql: 'BOOL(1)' }, true],
    [{ sql: 'hop / 0 = 0' }, false],
    [{ not: { sql: "subject = 'x'" } }, true],
  ])('%j is %s', (filter, matches) => {
    expect(compileFilter(filter)(lookup)).toBe(matches);
    expect(compileFilter(checkFilter(JSON.parse(JSON.stringify(filter))))(lookup)).toBe(matches);
  });

  it('a list: all must hold, an empty one lets everything pass', () => {
    expect(compileFilters([])(lookup)).toBe(true);
    expect(compileFilters([{ exact: { id: '7' } }])(lookup)).toBe(true);
    expect(compileFilters([{ exact: { id: '7' } }, { sql: 'hop = 5' }])(lookup)).toBe(true);
    expect(compileFilters([{ exact: { id: '7' } }, { sql: 'hop = 6' }])(lookup)).toBe(false);
  });
});

describe('what is refused', () => {
  const dialects = 'exact, prefix, suffix, all, any, not, sql';

  it.each<[unknown, string, string]>([
    [undefined, 'filter', `must be an object with one of ${dialects}`],
    [null, 'filter', `must be an object with one of ${dialects}`],
    ['sql', 'filter', `must be an object with one of ${dialects}`],
    [[], 'filter', `must be an object with one of ${dialects}`],
    [{}, 'filter', `must have exactly one dialect (${dialects}), not none; join several with \`all\``],
    [
      { exact: { id: '7' }, sql: 'TRUE' },
      'filter',
      `must have exactly one dialect (${dialects}), not exact, sql; join several with \`all\``,
    ],
    [{ regex: {} }, 'filter.regex', `is no dialect; there are ${dialects}`],
    [{ constructor: {} }, 'filter.constructor', `is no dialect; there are ${dialects}`],
    [{ not: { Exact: {} } }, 'filter.not.Exact', `is no dialect; there are ${dialects}`],
    [{ exact: 'x' }, 'filter.exact', 'must say attributes and values, for example {"type": "order.placed"}'],
    [{ prefix: [] }, 'filter.prefix', 'must say attributes and values, for example {"type": "order.placed"}'],
    [{ suffix: {} }, 'filter.suffix', 'must name at least one attribute'],
    [{ exact: { '': 'x' } }, 'filter.exact.', 'attribute names are lower-case letters and digits, without ce-'],
    [{ exact: { Type: 'x' } }, 'filter.exact.Type', 'attribute names are lower-case letters and digits, without ce-'],
    [
      { exact: { 'ce-id': 'x' } },
      'filter.exact.ce-id',
      'attribute names are lower-case letters and digits, without ce-',
    ],
    [
      { exact: { type: '' } },
      'filter.exact.type',
      'must not be empty; to ask whether it is there use {"sql": "EXISTS …"}',
    ],
    [{ exact: { hop: 5 } }, 'filter.exact.hop', 'must be a string: "5"'],
    [{ exact: { hop: null } }, 'filter.exact.hop', 'must be a string'],
    [{ exact: { hop: { toString: 1, valueOf: 1 } } }, 'filter.exact.hop', 'must be a string'], // has no text to show
    [{ prefix: { type: 'x'.repeat(4_097) } }, 'filter.prefix.type', 'has at most 4096 characters'],
    [{ all: [] }, 'filter.all', 'must be a list of at least one filter'],
    [{ any: { exact: { id: '7' } } }, 'filter.any', 'must be a list of at least one filter'],
    [{ any: [{ exact: { id: '7' } }, 5] }, 'filter.any[1]', `must be an object with one of ${dialects}`],
    [{ not: [] }, 'filter.not', `must be an object with one of ${dialects}`],
    [{ sql: '' }, 'filter.sql', 'must be a CESQL expression'],
    [{ sql: 5 }, 'filter.sql', 'must be a CESQL expression'],
    [
      { all: [{ sql: 'type =' }] },
      'filter.all[0].sql',
      'CESQL, character 7: expected an expression, found the end of the text',
    ],
  ])('%j', (input, field, message) => {
    expect(() => checkFilter(input)).toThrow(new HadronError('FILTER_INVALID', `${field}: ${message}`, { field }));
  });

  it('what is nested too deep, too many or no list', () => {
    const nested = (depth: number): unknown => (depth === 1 ? { sql: 'TRUE' } : { not: nested(depth - 1) });
    expect(checkFilter(nested(16))).toEqual(nested(16));
    expect(() => checkFilter(nested(17))).toThrow(/filters are nested at most 16 deep/);
    expect(() => checkFilter(nested(5_000))).toThrow(/filters are nested at most 16 deep/);
    const many = (count: number): unknown[] => Array.from({ length: count }, () => ({ exact: { id: '7' } }));
    expect(checkFilters(many(256))).toHaveLength(256);
    expect(() => checkFilters(many(257))).toThrow(/filters\[256\]: there are at most 256 filters together/);
    const conditions = Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`a${index}`, 'x']));
    expect(() => checkFilter({ exact: conditions })).toThrow(/at most 256 conditions together/);
    expect(() => checkFilters({})).toThrow(/filters: must be a list of filters/);
    expect(checkFilters([])).toEqual([]);
  });

  it('any JSON gives a filter or FILTER_INVALID with the place', () => {
    const key = fc.constantFrom('exact', 'prefix', 'suffix', 'all', 'any', 'not', 'sql', 'type', '__proto__', 'X');
    const leaf = fc.oneof(
      fc.string(),
      fc.constantFrom('TRUE', 'a = 1', 'x'),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
    );
    const { json } = fc.letrec((tie) => ({
      json: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc.dictionary(key, tie('json'), { maxKeys: 2 }),
        fc.array(tie('json'), { maxLength: 3 }),
      ),
    }));
    fc.assert(
      fc.property(json, (input) => {
        let filter: Filter;
        try {
          filter = checkFilter(input);
        } catch (error) {
          expect(error).toBeInstanceOf(HadronError);
          expect((error as HadronError).code).toBe('FILTER_INVALID');
          expect((error as HadronError).field).toMatch(/^filter/);
          return;
        }
        // What was taken is what was given, and can be asked.
        expect(JSON.parse(JSON.stringify(filter))).toEqual(JSON.parse(JSON.stringify(input)));
        expect(typeof compileFilter(filter)(lookup)).toBe('boolean');
      }),
      { numRuns: 5_000 },
    );
  });
});

it('attributesOfFilters: every name that may be asked for', () => {
  const filters: Filter[] = [
    { exact: { type: 'a' } },
    { all: [{ prefix: { source: 'b' } }, { any: [{ suffix: { subject: 'c' } }] }] },
    { not: { sql: "EXISTS hop AND LENGTH(name) > 3 OR ttl IN (max, -min) OR NOT (x LIKE 'y%')" } },
  ];
  expect([...attributesOfFilters(filters)].sort()).toEqual(
    ['hop', 'max', 'min', 'name', 'source', 'subject', 'ttl', 'type', 'x'].sort(),
  );
  expect(attributesOfFilters([]).size).toBe(0);
});
