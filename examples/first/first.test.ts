/** The test kit, as the README shows it. */
// #region test
import { openHadron } from '@hadron/client/testing';
import { expect, test } from 'vitest';

test('an order that fails twice is billed at the third attempt', async () => {
  await using h = await openHadron({ memory: true, clock: 'virtual' });
  let attempts = 0;
  void h
    .connect()
    .stream('orders')
    .run({ group: 'billing' }, () => {
      if (++attempts < 3) throw new Error('the bank is closed');
    });
  await h.publish('order.placed', { id: '1' });
  await h.clock.advance('10m'); // back-off passes; nothing waits for real
  expect(h.group('orders', 'billing')).toMatchObject({ acked: 1, dead: 0, attempts: [3] });
});
// #endregion
