/** What the methods need of the rest of the server. */
import type { Logger } from '@hadron/base';
import type { Authorize, DeliveryService, EventStreams } from '@hadron/broker';

export interface RpcServices {
  /** Asked for its core with every request: a disk that failed gets a new one. */
  readonly broker: {
    readonly core: {
      readonly events: Omit<EventStreams, 'page'>;
      readonly deliveries: Pick<DeliveryService, 'open'>;
    };
  };
  readonly authorize: Authorize;
  readonly logger: Logger;
}
