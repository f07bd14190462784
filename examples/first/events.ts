import { defineEvents } from '@hadron/client';
import { z } from 'zod'; // or valibot, arktype: anything that speaks Standard Schema

export const events = defineEvents({
  'order.placed': z.object({ id: z.string(), total: z.number() }),
  'order.paid': z.object({ id: z.string() }),
});
