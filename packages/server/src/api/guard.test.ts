import { HadronError } from '@hadron/base';
import { expect, test } from 'vitest';
import { guard } from './guard.ts';

const verdict = (headers: Record<string, string>, settings: { loopbackOnly?: boolean; origins?: string[] } = {}) => {
  try {
    guard(headers, false, { loopbackOnly: true, origins: [], ...settings });
    return 'passes';
  } catch (error) {
    if (error instanceof HadronError) return error.field;
    throw error;
  }
};

test.each([
  ['curl', { host: '127.0.0.1:7000' }, 'passes'],
  ['curl by name', { host: 'localhost:7000' }, 'passes'],
  ['IPv6', { host: '[::1]:7000' }, 'passes'],
  ['a name below localhost', { host: 'hadron.localhost' }, 'passes'],
  ['no Host at all (HTTP/1.0)', {}, 'passes'],
  ['a name rebound to this machine', { host: 'evil.example:7000' }, 'host'],
  ['a name that looks local', { host: 'localhost.evil.example' }, 'host'],
  ['a page of another site', { host: 'localhost:7000', origin: 'https://evil.example' }, 'origin'],
  ['a page of another local port', { host: 'localhost:7000', origin: 'http://localhost:3000' }, 'origin'],
  ['a page without an origin (file, sandbox)', { host: 'localhost:7000', origin: 'null' }, 'origin'],
  ['a page of this server', { host: 'localhost:7000', origin: 'http://localhost:7000' }, 'passes'],
  ['an image of another site', { host: 'localhost:7000', 'sec-fetch-site': 'cross-site' }, 'sec-fetch-site'],
  ['a person who typed the address', { host: 'localhost:7000', 'sec-fetch-site': 'none' }, 'passes'],
])('%s', (_what, headers, expected) => {
  expect(verdict(headers as Record<string, string>)).toBe(expected);
});

test('origins of the setting may call, and reach the server by their own name', () => {
  const origins = ['https://app.example'];
  expect(verdict({ host: 'localhost:7000', origin: 'https://app.example' }, { origins })).toBe('passes');
  expect(verdict({ host: 'app.example' }, { origins })).toBe('passes');
  expect(verdict({ host: 'localhost', origin: 'https://app.example.evil' }, { origins })).toBe('origin');
  expect(verdict({ host: 'localhost', origin: 'https://any.example' }, { origins: ['*'] })).toBe('passes');
});

test('beyond loopback any name reaches the server, pages of other sites do not', () => {
  const settings = { loopbackOnly: false };
  expect(verdict({ host: 'broker.example.com' }, settings)).toBe('passes');
  expect(verdict({ host: 'broker.example.com', origin: 'https://evil.example' }, settings)).toBe('origin');
});

test('HTTP/2 without TLS is not spoken by browsers: its authority may be any name', () => {
  guard({ ':authority': 'orders-0.example', host: 'orders-0.example' }, true, { loopbackOnly: true, origins: [] });
});
