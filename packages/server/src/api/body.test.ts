/** Bodies that come slowly, on a clock of the test. Their sizes are tested through the door (door.test.ts). */
import { PassThrough } from 'node:stream';
import type { HadronError } from '@hadron/base';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { HttpRequest } from '../http/index.ts';
import { BodyBudget, readBody } from './body.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

test('a body over HTTP/2 that trickles is 408 after a minute, and holds no memory then', () => {
  const stream = new PassThrough();
  const request = Object.assign(stream, { headers: {}, httpVersionMajor: 2 }) as unknown as HttpRequest;
  const budget = new BodyBudget(1_000);
  const ends: (HadronError | undefined)[] = [];
  readBody(request, 1_000, budget, (error) => ends.push(error));
  for (let second = 0; second < 60; second += 10) {
    expect([ends, budget.usedBytes]).toEqual([[], second / 10]);
    stream.emit('data', Buffer.from('x'));
    vi.advanceTimersByTime(10_000);
  }
  expect(ends).toMatchObject([{ code: 'REQUEST_INVALID', status: 408 }]);
  expect(budget.usedBytes).toBe(0);
});
