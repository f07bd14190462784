import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Router } from './router.ts';

const route = (method: 'GET' | 'POST' | 'DELETE', pattern: string) => ({ method, pattern });
const router = new Router([
  route('GET', '/v1'),
  route('GET', '/v1/streams/{stream}/events'),
  route('POST', '/v1/streams/{stream}/events'),
  route('GET', '/v1/streams/{stream}/groups/{group}'),
  route('POST', '/v1/streams/{stream}/groups/{group}/pause'),
  route('GET', '/v1/streams/special/events'),
]);

function find(method: string, path: string): unknown {
  const found = router.find(method, path);
  if (found === undefined || !('route' in found)) return found;
  const names = [...found.route.pattern.matchAll(/\{(\w+)\}/g)].map((m) => m[1] as string);
  return [found.route.pattern, ...names.map((name) => found.param(name))];
}

test.each([
  ['GET', '/v1', ['/v1']],
  ['HEAD', '/v1', ['/v1']],
  ['POST', '/v1/streams/a/events', ['/v1/streams/{stream}/events', 'a']],
  ['GET', '/v1/streams/special/events', ['/v1/streams/special/events']],
  ['GET', '/v1/streams/a%2Fb/groups/g%20h', ['/v1/streams/{stream}/groups/{group}', 'a/b', 'g h']],
  ['PUT', '/v1/streams/a/events', ['GET', 'HEAD', 'POST', 'OPTIONS']],
  ['GET', '/v1/streams/a/groups/g/pause', ['POST', 'OPTIONS']],
  ['GET', '/v1/streams', undefined],
  ['GET', '/v1/streams//events', undefined],
  ['GET', '/v1/streams/%ff/events', undefined],
  ['GET', '/v1/streams/a/events/', undefined],
  ['GET', '/', undefined],
  ['GET', '', undefined],
  ['GET', '*', undefined],
  ['GET', '//', undefined],
])('%s %s', (method, path, expected) => {
  expect(find(method, path)).toEqual(expected);
});

test('a parameter that the pattern lacks is a mistake of the handler', () => {
  const found = router.find('GET', '/v1');
  expect(() => found !== undefined && 'param' in found && found.param('stream')).toThrow(TypeError);
});

test('two routes for the same are a mistake of the table', () => {
  expect(() => new Router([route('GET', '/a/{x}'), route('GET', '/a/{y}')])).toThrow(TypeError);
});

test('any path is found or not, and a name comes back as it went in', () => {
  fc.assert(fc.property(fc.string(), fc.string(), (method, path) => void router.find(method, path)));
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (name) => {
      if (name === 'special') return;
      expect(find('GET', `/v1/streams/${encodeURIComponent(name)}/events`)).toEqual([
        '/v1/streams/{stream}/events',
        name,
      ]);
    }),
  );
});
