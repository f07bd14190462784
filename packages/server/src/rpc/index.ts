/** Remote procedure calls: README.md is the map. */
import { consume } from './consume.ts';
import type { RpcRoute } from './door.ts';
import { type HealthOptions, healthCheck, healthWatch } from './health.ts';
import { publish } from './publish.ts';
import { info, newProducer, tail } from './reading.ts';
import type { RpcServices } from './services.ts';

export { RpcDoor, type RpcRoute } from './door.ts';
export { RpcRefused, Status } from './status.ts';
export type { RpcServices } from './services.ts';

/** `hadron.v1.Streams` and the health check. */
export function rpcRoutes(services: RpcServices, health: Omit<HealthOptions, 'services'>): RpcRoute[] {
  const options: HealthOptions = { ...health, services: new Set(['', 'hadron.v1.Streams']) };
  return [
    { path: '/hadron.v1.Streams/Publish', method: publish(services) },
    { path: '/hadron.v1.Streams/Consume', method: consume(services) },
    { path: '/hadron.v1.Streams/Tail', method: tail(services) },
    { path: '/hadron.v1.Streams/Info', method: info(services) },
    { path: '/hadron.v1.Streams/NewProducer', method: newProducer(services) },
    { path: '/grpc.health.v1.Health/Check', method: healthCheck(options) },
    { path: '/grpc.health.v1.Health/Watch', method: healthWatch(options) },
  ];
}
