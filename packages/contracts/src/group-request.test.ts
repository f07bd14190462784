import { HadronError } from '@hadron/base/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GroupRequest } from './delivery.ts';
import { parseGroupRequest, parseGroupRequestText } from './group-request.ts';

describe('group requests', () => {
  test('everything that may be asked for', () => {
    const request: GroupRequest = {
      durable: true,
      start: { from: 'time', timeMs: 5 },
      ordering: 'key',
      window: 4,
      filters: [{ exact: { type: 'a' } }],
      policy: { timeoutMs: 1, maxProcessingMs: 2, backoffMs: [0, 3], maxDeliveries: 0, deadLetterStream: 'dead' },
      rateLimit: { count: 1, perMs: 1000, by: 'key' },
      holdRetention: false,
    };
    expect(parseGroupRequestText(JSON.stringify(request))).toEqual(request);
    expect(parseGroupRequest({ durable: null, rateLimit: { count: 1, perMs: 2 } })).toEqual({
      rateLimit: { count: 1, perMs: 2, by: 'group' },
    });
    expect('rateLimit' in parseGroupRequest({ rateLimit: null })).toBe(true);
    expect('rateLimit' in parseGroupRequest({})).toBe(false);
    expect(parseGroupRequestText('')).toEqual({});
    expect(parseGroupRequest(undefined)).toEqual({});
  });

  test.each([
    ['[]', 'settings'],
    ['{', 'settings'],
    ['{"durable":1}', 'settings.durable'],
    ['{"windows":1}', 'settings.windows'],
    ['{"window":0}', 'settings.window'],
    ['{"window":1.5}', 'settings.window'],
    ['{"ordering":"keys"}', 'settings.ordering'],
    ['{"start":{"from":"end"}}', 'settings.start.from'],
    ['{"start":{"from":"offset"}}', 'settings.start.offset'],
    ['{"policy":{"backoffMs":[]}}', 'settings.policy.backoffMs'],
    ['{"policy":{"backoffMs":[1,-1]}}', 'settings.policy.backoffMs[1]'],
    ['{"policy":{"deadLetterStream":""}}', 'settings.policy.deadLetterStream'],
    ['{"rateLimit":{"count":1,"perMs":1,"by":"x"}}', 'settings.rateLimit.by'],
  ])('%s is refused at %s', (text, field) => {
    expect(() => parseGroupRequestText(text)).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID', field }));
  });

  test.each([
    ['{"filters":{}}', 'settings.filters'],
    ['{"filters":[1]}', 'settings.filters[0]'],
    ['{"filters":[{"exact":{}}]}', 'settings.filters[0].exact'],
    ['{"filters":[{"sql":"a ="}]}', 'settings.filters[0].sql'],
  ])('%s is refused at %s', (text, field) => {
    expect(() => parseGroupRequestText(text)).toThrow(expect.objectContaining({ code: 'FILTER_INVALID', field }));
  });

  test('any JSON is a request or refused', () => {
    const names = ['durable', 'start', 'ordering', 'window', 'filters', 'policy', 'rateLimit', 'holdRetention', 'from'];
    const value = fc.jsonValue();
    fc.assert(
      fc.property(fc.oneof(value, fc.dictionary(fc.constantFrom(...names), value)), (json) => {
        try {
          parseGroupRequest(json);
        } catch (error) {
          if (!(error instanceof HadronError)) throw error;
        }
      }),
    );
  });
});
