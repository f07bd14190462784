export { type RunningServer, type ServerHooks, startServer } from './server.ts';
export * from './settings/index.ts';
