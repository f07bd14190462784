import { recordToEvent } from '@hadron/contracts/events';
import { describe, expect, it } from 'vitest';
import { brokerDefaults, resolveTopicSettings } from '../config/index.ts';
import { recordSettingsOf } from './stream-info.ts';

const settings = (config: Record<string, string>) => recordSettingsOf(resolveTopicSettings(config, brokerDefaults));

describe('how the records of a stream are seen as events (cloudevents.md §5.3)', () => {
  it('costs a stream without settings nothing', () => {
    expect(settings({})).toBeUndefined();
    expect(settings({ 'hadron.events': 'lenient', 'hadron.events.type': 'rs.hadron.record.v1' })).toBeUndefined();
  });

  it('takes type, content type and attributes from the topic', () => {
    const found = settings({
      'hadron.events.type': 'shop.order',
      'hadron.events.content.type': 'application/json',
      'hadron.events.headers': 'order-id=subject, tenant-id=tenant',
    });
    const record = {
      key: null,
      value: Buffer.from('{"total":12}'),
      headers: [
        { key: 'order-id', value: Buffer.from('7') },
        { key: 'x', value: Buffer.from('not this one') },
      ],
    };
    const place = { stream: 'orders', topicId: 'T', partition: 0, offset: 3, timestampMs: 0 };
    const event = recordToEvent(record, { ...place, ...(found === undefined ? {} : { settings: found }) });
    expect(event.type).toBe('shop.order');
    expect(Object.fromEntries(event.attributes)).toMatchObject({ datacontenttype: 'application/json', subject: '7' });
    expect(event.attributes.has('tenant')).toBe(false);
    expect(recordToEvent(record, place).type).toBe('rs.hadron.record.v1');
  });
});
