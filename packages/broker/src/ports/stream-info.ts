/** What is told of a stream to whoever publishes to it or reads it. A pure function of what the log knows. */
import type { StreamInfo } from '@hadron/contracts';
import { DEFAULT_RECORD_SETTINGS, type RecordSettings } from '@hadron/contracts/events';
import type { TopicSettings } from '../config/index.ts';
import type { EventStream } from './event-log.ts';

export function infoOf({ name, topicId, partitions, settings }: EventStream): StreamInfo {
  const records = recordSettingsOf(settings);
  return { name, topicId, partitions: partitions.length, ...(records === undefined ? {} : { records }) };
}

/** How the records of a stream are seen as events (cloudevents.md §5.4). Undefined: as by default. */
export function recordSettingsOf({
  events: interpret,
  eventsType: type,
  eventsContentType,
  eventsHeaders,
}: Pick<TopicSettings, 'events' | 'eventsType' | 'eventsContentType' | 'eventsHeaders'>): RecordSettings | undefined {
  const none = DEFAULT_RECORD_SETTINGS;
  const asByDefault = interpret === none.interpret && type === none.type && eventsContentType === '';
  if (asByDefault && eventsHeaders.length === 0) return undefined;
  const pairs = eventsHeaders.map((pair): [string, string] => {
    const at = pair.lastIndexOf('=');
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
  return {
    interpret,
    type,
    datacontenttype: eventsContentType === '' ? undefined : eventsContentType,
    attributesFromHeaders: new Map(pairs),
  };
}
