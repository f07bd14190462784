/** The events of all loads: an order with a key. As a record it takes about 160 bytes, 25 of them data. */
import type { CloudEvent } from '@hadron/contracts';
import { cloudEvent } from '@hadron/contracts/events';

export const SOURCE = '/shop';
export const TYPE = 'order.placed';

export const order = (number: number): { id: string; total: number } => ({ id: String(number), total: 12.5 });

export const customer = (number: number, customers: number): string => `c${number % customers}`;

/** `count` events over `keys` keys. */
export function orders(count: number, keys: number): CloudEvent[] {
  return Array.from({ length: count }, (_, i) =>
    cloudEvent({ id: `e${i}`, source: SOURCE, type: TYPE, subject: customer(i, keys), data: order(i) }),
  );
}
