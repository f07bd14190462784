/** What the methods need of the rest of the server. */
import type { Logger } from '@hadron/base';
import type { Authorize, DeliveryService, EventStreams } from '@hadron/broker';

export interface RpcServices {
  /** Asked with every request: a broker whose disk failed goes on with new services. */
  readonly ask: () => {
    readonly events: EventStreams;
    readonly deliveries: Pick<DeliveryService, 'open'>;
  };
  readonly authorize: Authorize;
  readonly logger: Logger;
}
