/** `GET /v1`: what this server is, for people and for clients that look around. */
import type { HostPort } from '../settings/index.ts';
import type { Route } from './router.ts';

export interface ServerInfo {
  readonly version: string;
  readonly clusterId: string;
  readonly kafka: readonly HostPort[];
}

const FEATURES = ['publish', 'read', 'groups', 'pull', 'sessions', 'dead-letters', 'resources', 'grpc', 'connect'];

export function infoRoutes(info: ServerInfo): readonly Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1',
      action: 'read',
      target: () => ({ kind: 'Server', name: undefined }),
      handle: (call) => call.sendJson(200, { name: 'hadron', ...info, features: FEATURES }),
    },
  ];
}
