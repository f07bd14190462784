/** The parts of push that need no network. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressRefused, guardedLookup, publicOnly, refuseLiteral } from './address-policy.ts';
import { handshakeHeaders, readConsent } from './consent.ts';
import { judge, type Outcome, readRetryAfter } from './outcome.ts';
import { Pace } from './pace.ts';

describe('addresses', () => {
  it.each([
    ...[
      '127.0.0.1',
      '127.8.8.8',
      '0.0.0.0',
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '169.254.169.254',
    ],
    ...[
      '100.64.0.1',
      '192.0.0.1',
      '192.0.2.1',
      '198.18.0.1',
      '198.19.255.255',
      '203.0.113.9',
      '224.0.0.1',
      '255.255.255.255',
    ],
    ...[
      '::',
      '::1',
      'fe80::1',
      'fe80::1%eth0',
      'fc00::1',
      'fd12::1',
      'fec0::1',
      'ff02::1',
      '2001:db8::1',
      '2001::1',
      '2002::1',
    ],
    ...['::ffff:127.0.0.1', '::ffff:10.0.0.1', '::ffff:8.8.8.8', '::127.0.0.1', '64:ff9b::7f00:1', '100::1', '3fff::1'],
    ...['', 'example.com', '1', '127.1'],
  ])('%s is refused', (address) => {
    expect(publicOnly(address)).toBe(false);
  });

  it.each([
    ...['8.8.8.8', '1.1.1.1', '172.15.0.1', '172.32.0.1', '192.167.1.1', '100.128.0.1', '223.255.255.255'],
    ...['2606:4700::1111', '2a00:1450::1', '2001:4860:4860::8888'],
  ])('%s is public', (address) => {
    expect(publicOnly(address)).toBe(true);
  });

  it.each([
    'http://127.0.0.1/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f.0.0.1/',
    'http://[::1]/',
    'http://[::ffff:7f00:1]/',
  ])('%s is refused however it is written', (url) => {
    expect(() => refuseLiteral(new URL(url).hostname, publicOnly)).toThrow(AddressRefused);
  });

  it('resolution hands out public addresses only, in both ways it is asked', async () => {
    const resolve = (_: string, done: (error: null, list: { address: string; family: number }[]) => void): void =>
      done(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '8.8.8.8', family: 4 },
        { address: '2606:4700::1111', family: 6 },
      ]);
    const lookup = guardedLookup(publicOnly, resolve);
    const ask = (options: object): Promise<unknown> =>
      new Promise((answered) => lookup('a.example', options, (error, ...rest) => answered(error ?? rest)));
    expect(await ask({})).toEqual(['8.8.8.8', 4]);
    expect(await ask({ family: 6 })).toEqual(['2606:4700::1111', 6]);
    expect(await ask({ all: true })).toEqual([
      [
        { address: '8.8.8.8', family: 4 },
        { address: '2606:4700::1111', family: 6 },
      ],
    ]);
    const inside = guardedLookup(publicOnly, (_, done) => done(null, [{ address: '10.0.0.7', family: 4 }]));
    inside('b.example', {}, (error) => {
      expect(error).toBeInstanceOf(AddressRefused);
      expect(error?.message).toBe(
        'b.example is 10.0.0.7 and lies in a loopback, link-local, private or reserved network, where nothing is pushed to',
      );
    });
    expect.assertions(5);
  });

  it('passes on that a name cannot be resolved', async () => {
    const unknown = new Error('queryA ENOTFOUND nowhere.invalid');
    const lookup = guardedLookup(publicOnly, (_, done) => done(unknown));
    expect(await new Promise((answered) => lookup('nowhere.invalid', {}, answered))).toBe(unknown);
  });
});

describe('consent (§8.2)', () => {
  const plain = { origin: 'Hadron.example', perMinute: undefined, callback: undefined };
  const rated = { ...plain, perMinute: 120 };

  it('what is asked', () => {
    expect(handshakeHeaders(plain)).toEqual({ 'webhook-request-origin': 'Hadron.example' });
    expect(handshakeHeaders({ ...rated, callback: 'https://h.example/k' })).toEqual({
      'webhook-request-origin': 'Hadron.example',
      'webhook-request-callback': 'https://h.example/k',
      'webhook-request-rate': '120',
    });
  });

  it.each([
    [plain, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '*' }, undefined],
    [plain, { 'webhook-allowed-origin': 'hadron.example', 'webhook-allowed-rate': '60' }, 60],
    [plain, { 'webhook-allowed-origin': '*' }, undefined],
    [rated, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '60' }, 60],
    [rated, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '*' }, undefined],
  ])('granted: %j %j', (asked, headers, perMinute) => {
    expect(readConsent(headers, asked)).toEqual({ kind: 'granted', perMinute });
  });

  it.each([
    [plain, {}],
    [plain, { 'webhook-allowed-rate': '*' }],
    [plain, { 'webhook-allowed-origin': 'other.example', 'webhook-allowed-rate': '*' }],
    [plain, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '0' }],
    [plain, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '-5' }],
    [plain, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '1.5' }],
    [plain, { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': 'many' }],
    [rated, { 'webhook-allowed-origin': '*' }],
  ])('refused: %j %j', (asked, headers) => {
    expect(readConsent(headers, asked)).toMatchObject({ kind: 'refused' });
  });
});

describe('answers of a sink (§8.1)', () => {
  const NOW = Date.parse('2026-11-21T14:00:00Z');

  it.each<[string, number, Outcome['kind']]>([
    ...[200, 201, 202, 204].map((status): [string, number, Outcome['kind']] => ['W3', status, 'delivered']),
    ...[301, 302, 303, 307, 308, 304].map((status): [string, number, Outcome['kind']] => ['W2', status, 'failed']),
    ['W4', 410, 'unsubscribed'],
    ['W5', 429, 'failed'],
    ['W6', 415, 'rejected'],
    ...[400, 401, 403, 404, 405, 413, 422, 431].map((status): [string, number, Outcome['kind']] => [
      'W7',
      status,
      'rejected',
    ]),
    ...[408, 425, 500, 502, 503, 504, 599].map((status): [string, number, Outcome['kind']] => ['W7', status, 'failed']),
    ['W7', 0, 'failed'],
    ['W7', 600, 'failed'],
  ])('%s: %i is %s', (_, status, kind) => {
    expect(judge(status, undefined, NOW).kind).toBe(kind);
  });

  it.each([
    ['120', 120_000],
    ['0', undefined],
    ['-5', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['99999999999', 604_800_000],
    ['Sat, 21 Nov 2026 14:02:00 GMT', 120_000],
    ['Sat, 21 Nov 2026 13:00:00 GMT', undefined],
    ['Sat, 99 Xxx 2026 14:02:00 GMT', undefined],
    [undefined, undefined],
  ])('Retry-After %s is %s ms', (text, ms) => {
    expect(readRetryAfter(text, NOW)).toBe(ms);
    expect(judge(503, text, NOW)).toMatchObject({ kind: 'failed', afterMs: ms });
  });
});

it('a rate is never passed in any minute, and is used up where there is enough to send', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.array(fc.nat(3_000), { maxLength: 500 }), (perMinute, steps) => {
      const pace = new Pace(perMinute);
      const sent: number[] = [];
      let now = 0;
      for (const step of steps) {
        now += step;
        const waitMs = pace.take(now);
        if (waitMs > 0) {
          now += waitMs;
          expect(pace.take(now)).toBeLessThan(1e-6);
        }
        sent.push(now);
      }
      for (const [index, time] of sent.entries()) {
        const inside = sent.slice(index).filter((other) => other < time + 60_000 - 1e-6);
        expect(inside.length).toBeLessThanOrEqual(perMinute);
      }
    }),
    { numRuns: 200 },
  );
  const free = new Pace(undefined);
  expect([free.take(0), free.take(0), free.take(0)]).toEqual([0, 0, 0]);
});
