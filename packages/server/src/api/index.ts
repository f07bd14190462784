/** The API over HTTP and WebSocket: the door and its table of routes. README.md is the map. */
import { controlRoutes } from './control.ts';
import { ApiDoor, type ApiDoorOptions } from './door.ts';
import { infoRoutes, type ServerInfo } from './info.ts';
import { publishRoute } from './publish.ts';
import { readRoutes } from './read.ts';
import type { Route } from './router.ts';
import type { AskServices } from './services.ts';
import { sessionRoute } from './session.ts';
import { socketPublishRoute } from './socket-publish.ts';
import { Tails } from './tail.ts';

export { ApiDoor } from './door.ts';
export type { Route } from './router.ts';
export type { AskServices } from './services.ts';

export interface ApiOptions extends Omit<ApiDoorOptions, 'routes' | 'sockets' | 'tails'> {
  readonly services: AskServices;
  /** What `GET /v1` tells. */
  readonly info: ServerInfo;
  /** Beside those of streams and groups. */
  readonly routes: readonly Route[];
}

export function apiDoor(options: ApiOptions): ApiDoor {
  const { services, info, clock, logger } = options;
  const tails = new Tails(clock);
  const onBug = (error: unknown): void => logger.error({ err: error }, 'a WebSocket failed: this is a bug');
  return new ApiDoor({
    ...options,
    tails,
    routes: [
      ...infoRoutes(info),
      publishRoute(services),
      ...readRoutes(services, tails),
      ...controlRoutes(services, options.authorize),
      ...options.routes,
    ],
    sockets: [sessionRoute(services, clock, onBug), socketPublishRoute(services)],
  });
}
