/** What the shop hears (`payments`) and what it tells (`orders`). */
import { defineEvents } from '@hadron/client';
import { z } from 'zod';

export const paymentEvents = defineEvents({
  'payment.received': z.object({ order: z.string(), cents: z.int().positive() }),
});

export const orderEvents = defineEvents({
  'order.placed': z.object({ id: z.string(), item: z.string(), cents: z.int().positive() }),
  'order.paid': z.object({ id: z.string(), cents: z.int().positive() }),
});
