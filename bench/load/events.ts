/** The events of all loads: about 100 bytes of JSON, an order with a key. */
import type { CloudEvent } from '@hadron/contracts';
import { cloudEvent } from '@hadron/contracts/events';

export const TYPE = 'order.placed';

export function order(number: number, key: string): { id: string; customer: string; total: number; note: string } {
  return { id: String(number), customer: key, total: 12.5, note: 'two of the small ones, one of the large one' };
}

/** `count` events over `keys` keys. */
export function orders(count: number, keys: number): CloudEvent[] {
  return Array.from({ length: count }, (_, i) => {
    const key = `customer-${i % keys}`;
    return cloudEvent({ id: `event-${i}`, source: '/bench', type: TYPE, subject: key, data: order(i, key) });
  });
}
