/** The events of the stream `flights`. */
import { defineEvents } from '@hadron/client';
import { z } from 'zod';

// #region events
export const flightEvents = defineEvents({
  'flight.departed': z.object({
    origin: z.string().length(3),
    destination: z.string().length(3),
    /** Local time, as the timetable has it. */
    scheduled: z.iso.datetime({ local: true }),
    delayMinutes: z.int(),
    distanceMiles: z.int().positive(),
  }),
});
// #endregion
