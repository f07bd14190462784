/** How large events may be, whatever brings them. */
import type { TopicSettings } from '../config/index.ts';

/** 64 KiB of an event on the wire (cloudevents.md §2.3), and what a record batch adds to it. */
const EVENT_BATCH_BYTES_MIN = 65_536 + 1_024;

/**
 * The largest record batch that services put into a stream. A stream whose records are seen as events takes an event of
 * 64 KiB, also where a Kafka client has set `max.message.bytes` lower; for Kafka producers that stands as it is.
 */
export function batchBytesMaxOf({
  maxMessageBytes,
  events,
}: Pick<TopicSettings, 'maxMessageBytes' | 'events'>): number {
  return events === 'off' ? maxMessageBytes : Math.max(maxMessageBytes, EVENT_BATCH_BYTES_MIN);
}
