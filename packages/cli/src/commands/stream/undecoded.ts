/**
 * Deliveries whose data nobody decodes. The SDK parses the data of an event before it hands it out, and gives back one whose data is
 * not what it says: right for programs, wrong for `hadron sub`, with which people look at just such events.
 */
import type { CloudEvent, OpenSession, SessionListener, Transport } from '@hadron/contracts';

/** Events as they came, by what the SDK was given instead. */
const originals = new WeakMap<CloudEvent, CloudEvent>();

/** The event as it was delivered. */
export const originalOf = (event: CloudEvent): CloudEvent => originals.get(event) ?? event;

export function undecoded(transport: Transport): Transport {
  return {
    info: (stream) => transport.info(stream),
    publish: (call) => transport.publish(call),
    tail: (call) => transport.tail(call),
    request: (...request) => transport.request(...request),
    close: () => transport.close(),
    open: (call: OpenSession, listener: SessionListener) =>
      transport.open(call, {
        deliver: (deliveries) => listener.deliver(deliveries.map((one) => ({ ...one, event: asBytes(one.event) }))),
        withdrawn: (tokens) => listener.withdrawn(tokens),
        ended: (error) => listener.ended(error),
      }),
  };
}

/** Without a content type data is bytes. */
function asBytes(event: CloudEvent): CloudEvent {
  const attributes = new Map(event.attributes);
  attributes.delete('datacontenttype');
  const bytes = { ...event, attributes };
  originals.set(bytes, event);
  return bytes;
}
