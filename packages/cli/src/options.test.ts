import { InvalidArgumentError } from 'commander';
import { describe, expect, test } from 'vitest';
import { rate, startText, durationText } from './commands/group/settings.ts';
import { duration, filtersOf, moment, pairs, startOf } from './options.ts';

describe('options', () => {
  test.each([
    ['250ms', 250],
    ['1.5s', 1_500],
    ['0s', 0],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
  ])('%s is a time', (text, ms) => {
    expect(duration(text)).toBe(ms);
  });

  test.each(['', '5', 's', '-1s', '1 s', '1w', '1e3s'])('%j is none', (text) => {
    expect(() => duration(text)).toThrow(InvalidArgumentError);
  });

  test('times are written in the largest unit that loses nothing', () => {
    expect([0, 250, 1_000, 1_500, 60_000, 90_000, 7_200_000, 86_400_000].map(durationText)).toEqual([
      '0ms',
      '250ms',
      '1s',
      '1500ms',
      '1m',
      '90s',
      '2h',
      '1d',
    ]);
  });

  test('a moment is a date, or how long ago', () => {
    expect(moment('2026-11-20T08:00:00Z')).toBe(Date.UTC(2026, 10, 20, 8));
    expect(Math.abs(moment('15m') - (Date.now() - 900_000))).toBeLessThan(1_000);
    expect(() => moment('yesterday')).toThrow(InvalidArgumentError);
  });

  test('rates', () => {
    expect(rate('50/s')).toEqual({ count: 50, perMs: 1_000, by: 'group' });
    expect(rate('5/10m/key')).toEqual({ count: 5, perMs: 600_000, by: 'key' });
    for (const text of ['5', '0/s', '5/', '5/s/lane', '-1/s', '5/x'])
      expect(() => rate(text), text).toThrow(InvalidArgumentError);
  });

  test('where a group begins', () => {
    expect(startOf({})).toBeUndefined();
    const all = [{ startBeginning: true }, { startLatest: true }, { startOffset: 0 }, { startTime: 0 }].map(startOf);
    expect(all).toEqual([
      { from: 'beginning' },
      { from: 'latest' },
      { from: 'offset', offset: 0 },
      { from: 'time', timeMs: 0 },
    ]);
    expect(all.map((start) => start && startText(start))).toEqual([
      'beginning',
      'latest',
      'offset 0',
      '1970-01-01T00:00:00.000Z',
    ]);
  });

  test('filters: shorthand and JSON', async () => {
    expect(await filtersOf({})).toBeUndefined();
    expect(
      await filtersOf({
        filter: ['type=a=b', 'type!=a', 'type^=a', 'type$=a', '{"any":[{"exact":{"id":"1"}}]}'],
        sql: 'TRUE',
      }),
    ).toEqual([
      { exact: { type: 'a=b' } },
      { not: { exact: { type: 'a' } } },
      { prefix: { type: 'a' } },
      { suffix: { type: 'a' } },
      { any: [{ exact: { id: '1' } }] },
      { sql: 'TRUE' },
    ]);
    await expect(filtersOf({ filter: ['Type=a'] })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(filtersOf({ filter: ['{"like":{}}'] })).rejects.toMatchObject({ code: 'FILTER_INVALID' });
  });

  test('pairs', () => {
    expect(pairs('-o', ['a=b', 'c=d=e', 'f='])).toEqual([
      ['a', 'b'],
      ['c', 'd=e'],
      ['f', ''],
    ]);
    expect(() => pairs('-o', ['=x'])).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
  });
});
