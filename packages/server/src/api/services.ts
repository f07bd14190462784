/**
 * What the routes talk to. Asked for with every request: a broker whose disk failed goes on with new services.
 */
import type { DeliveryService, EventStreams } from '@hadron/broker';
import type { RecordSettings } from '@hadron/contracts/events';

export interface Services {
  readonly events: EventStreams;
  readonly deliveries: DeliveryService;
  /** How a stream's records are seen as events; undefined: as by default. */
  recordSettings?(stream: string): RecordSettings | undefined;
}

export type AskServices = () => Services;
