import { describe, expect, test } from 'vitest';
import { authorityOf, placeOfAuthority } from './places.ts';

const STREAMS = new Map([
  ['orders', 3],
  ['orders-1', 1],
  ['a.b', 2],
  ['a', 1],
  ['x-', 11],
]);
const find = (name: string) => {
  const partitions = STREAMS.get(name);
  return partitions === undefined ? undefined : { name, partitions };
};

describe('which stream and partition a name means', () => {
  test.each([
    ['orders', 'orders', undefined, ''],
    ['orders:7000', 'orders', undefined, ':7000'],
    ['orders.localhost:7000', 'orders', undefined, '.localhost:7000'],
    ['orders-0.ns.svc.cluster.local:7000', 'orders', 0, '.ns.svc.cluster.local:7000'],
    ['orders-2.localhost', 'orders', 2, '.localhost'],
    // A stream of the whole name before a partition of the shorter one.
    ['orders-1.localhost', 'orders-1', undefined, '.localhost'],
    ['orders-1-0.localhost', 'orders-1', 0, '.localhost'],
    // The longest name that is a stream.
    ['a.b.localhost', 'a.b', undefined, '.localhost'],
    ['a.b-1.localhost', 'a.b', 1, '.localhost'],
    ['a.c.localhost', 'a', undefined, '.c.localhost'],
    ['x--10', 'x-', 10, ''],
  ])('%s', (authority, stream, partition, rest) => {
    expect(placeOfAuthority(authority, find)).toEqual({ stream, partition, rest });
  });

  test.each([
    '',
    ':7000',
    '127.0.0.1:7000',
    '[::1]:7000',
    'orders-3.x',
    'orders-00.x',
    'orders-01',
    'ORDERS',
    'other.x',
    '.orders',
  ])('%s means none', (authority) => expect(placeOfAuthority(authority, find)).toBeUndefined());

  test('the name of a partition leads back to it', () => {
    expect(placeOfAuthority(authorityOf('a.b', 1, '.localhost:7000'), find)).toMatchObject({
      stream: 'a.b',
      partition: 1,
    });
  });
});
