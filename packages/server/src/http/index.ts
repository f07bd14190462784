/** The HTTP port of a server: metrics and health. */
export { type Health, type HttpServerOptions, type RunningHttpServer, startHttpServer } from './http-server.ts';
