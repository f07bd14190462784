import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { ONE_PRESS_MS, onStopSignals } from './signals.ts';

test('A3: the first signal asks, one of the same key press is folded, a later one ends', () => {
  const source = new EventEmitter();
  const seen: string[] = [];
  let now = 1_000;
  const remove = onStopSignals(
    { first: (signal) => seen.push(`first ${signal}`), second: (signal) => seen.push(`second ${signal}`) },
    source as unknown as NodeJS.Process,
    () => now,
  );
  source.emit('SIGINT', 'SIGINT');
  now += 15;
  source.emit('SIGINT', 'SIGINT'); // the same press, forwarded by npm
  expect(seen).toEqual(['first SIGINT']);
  now += ONE_PRESS_MS;
  source.emit('SIGTERM', 'SIGTERM');
  expect(seen).toEqual(['first SIGINT', 'second SIGTERM']);
  remove();
  expect(source.listenerCount('SIGINT')).toBe(0);
});
