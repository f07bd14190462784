import { describe, expect, it } from 'vitest';
import { compileTriggers } from './index.ts';

describe('hadron.md §9.1, pinned by the original', () => {
  it.each<[string[], string, boolean]>([
    [[], '', true],
    [[], 'domain.event.v1', true],
    [['domain.event'], 'domain.event.v1', false],
    [['domain.>'], 'domain.event', true],
    [['domain.>'], 'domain.event.v1', true],
    [['*'], 'domain', true],
    [['domain.*'], 'domain.event', true],
    [['domain.*.*'], 'domain.event.v1', true],
    [['*.event.*'], 'domain.event.v1', true],
    [['*.*.v1'], 'domain.event.v1', true],
    [['*'], 'domain.event', false],
  ])('%j on %j is %s', (patterns, type, matches) => {
    expect(compileTriggers(patterns)(type)).toBe(matches);
  });
});

describe('hadron.md §9.2, by the documented grammar', () => {
  it.each<[string[], string, boolean]>([
    [[''], '', true],
    [[''], 'a', true],
    [[''], 'a.b.c', true],
    [['a.b.c'], 'a', false],
    [['a.b.c'], 'a.b', false],
    [['a.*'], 'a', false],
    [['a.>'], 'a', false],
    [['>'], 'a', true],
    [['>'], 'a.b', true],
    [['*'], '', true],
    [['>'], '', true],
    [['a*'], 'a*', true],
    [['a*'], 'ab', false],
    [['a.b>'], 'a.b>', true],
    [['a.b>'], 'a.b>.c', false],
    [['Domain.*'], 'domain.x', false],
    [['x', 'a.>'], 'a.b', true],
    [['x', 'y'], 'a.b', false],
    [['x', ''], 'a.b', true],
    [['*.>'], 'a', false],
    [['*.>'], 'a.b.c', true],
  ])('%j on %j is %s', (patterns, type, matches) => {
    expect(compileTriggers(patterns)(type)).toBe(matches);
  });

  it.each<[string[], RegExp]>([
    [['a.>.c'], /^FILTER_INVALID: triggers\[0\]: "a\.>\.c": `>` stands for the rest and must be the last segment$/],
    [['>.a'], /must be the last segment/],
    [['.a'], /^FILTER_INVALID: triggers\[0\]: "\.a" has an empty segment; remove the extra dot$/],
    [['a.'], /empty segment/],
    [['a..b'], /empty segment/],
    [['.'], /empty segment/],
    [['a', 'b', 'a'], /^FILTER_INVALID: triggers\[2\]: "a" stands there twice$/],
    [['', ''], /twice/],
  ])('%j is refused', (patterns, message) => {
    expect(() => compileTriggers(patterns)).toThrow(message);
  });
});

describe('hadron.md §9.3, matchers of exchanges', () => {
  it.each<[string, string, boolean]>([
    ['volcanoes.tanzania.kilimanjaro.*', 'volcanoes.tanzania.kilimanjaro.east', true],
    ['volcanoes.tanzania.kilimanjaro.*', 'volcanoes.tanzania.kilimanjaro.west', true],
    ['volcanoes.tanzania.kilimanjaro.*', 'volcanoes.tanzania.kilimanjaro', false],
    ['volcanoes.usa.>', 'volcanoes.usa.atka', true],
    ['volcanoes.usa.>', 'volcanoes.usa.kahoolawe.north', true],
    ['volcanoes.usa.>', 'volcanoes.usa', false],
    ['volcanoes.usa.*', 'volcanoes.usa.atka', true],
    ['volcanoes.usa.*', 'volcanoes.usa.kahoolawe.north', false],
  ])('%s on %s is %s', (pattern, topic, matches) => {
    expect(compileTriggers([pattern])(topic)).toBe(matches);
  });
});
