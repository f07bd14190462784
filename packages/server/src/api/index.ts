/** The API over HTTP and WebSocket: the door and its table of routes. README.md is the map. */
import type { Broker } from '@hadron/broker';
import { ApiDoor, type ApiDoorOptions } from './door.ts';
import { infoRoutes, type ServerInfo } from './info.ts';

export { ApiDoor } from './door.ts';

export interface ApiOptions extends Omit<ApiDoorOptions, 'routes' | 'sockets' | 'onStop'> {
  readonly broker: Broker;
  /** What `GET /v1` tells. */
  readonly info: ServerInfo;
}

export function apiDoor(options: ApiOptions): ApiDoor {
  return new ApiDoor({ ...options, routes: [...infoRoutes(options.info)], sockets: [] });
}
