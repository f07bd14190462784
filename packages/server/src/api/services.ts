/**
 * What the routes talk to. Asked for with every request: a broker whose disk failed goes on with new services.
 */
import type { DeliveryService, EventStreams } from '@hadron/broker';

export interface Services {
  readonly events: EventStreams;
  readonly deliveries: DeliveryService;
}

export type AskServices = () => Services;
