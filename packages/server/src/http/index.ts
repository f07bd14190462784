/** The HTTP port of a server: metrics, health, and the API behind them. */
export {
  type Health,
  type HttpDoor,
  type HttpServerOptions,
  type RunningHttpServer,
  startHttpServer,
} from './http-server.ts';
export type { HttpRequest, HttpResponse } from './shared-port.ts';
