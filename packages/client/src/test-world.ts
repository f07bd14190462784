/** For tests: a real broker in memory, and the real doors in front of it. */
import { silentLogger, systemClock, systemRandom } from '@hadron/base';
import { allowAll, Broker, resolveBrokerSettings } from '@hadron/broker';
import { MemoryFileSystem } from '@hadron/log';
// The doors as they are, without the rest of a server.
import { apiDoor } from '../../server/src/api/index.ts';
import { startHttpServer } from '../../server/src/http/index.ts';
import { RpcDoor, rpcRoutes } from '../../server/src/rpc/index.ts';
import { MetricsRegistry } from '@hadron/base';

export interface TestWorld {
  readonly broker: Broker;
  readonly services: Broker['core'];
  createStream(name: string, partitions: number, config?: Readonly<Record<string, string>>): Promise<void>;
  /** Opens the API port. @returns its address */
  listen(): Promise<string>;
  close(): Promise<void>;
}

export async function openWorld(): Promise<TestWorld> {
  const broker = await Broker.open({
    fs: new MemoryFileSystem((fn) => systemClock.defer(fn)),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory: '/data',
    clusterId: 'c',
    nodeId: 1,
    settings: resolveBrokerSettings({}),
    shardSettings: { commitFileBytes: 1024 * 1024, minFreeBytes: 0 },
  });
  const services = broker.core;
  const closers: (() => Promise<void>)[] = [() => broker.close()];
  return {
    broker,
    services,
    async createStream(name, partitions, config = {}) {
      broker.core.topics.create({ name, partitions, config });
      await broker.core.shard.barrier();
    },
    async listen() {
      const shared = { clock: systemClock, logger: silentLogger, authorize: allowAll };
      const rpc = new RpcDoor({
        ...shared,
        routes: rpcRoutes({ ask: () => services, ...shared }, {
          ready: () => true,
          clock: systemClock,
        } as never),
      });
      const door = apiDoor({
        ...shared,
        services: () => services,
        routes: [],
        loopbackOnly: true,
        origins: [],
        info: { version: 'test', clusterId: 'c', kafka: [] } as never,
        rpc: rpc.handle,
      });
      const http = await startHttpServer({
        listen: ['127.0.0.1'],
        listenIsDefault: false,
        port: 0,
        portIsDefault: false,
        metrics: new MetricsRegistry(),
        health: () => ({ healthy: true, ready: true, reasons: [] }),
        logger: silentLogger,
        door,
        graceMs: 200,
      });
      closers.unshift(() => http.close());
      return `http://127.0.0.1:${http.addresses[0]?.port ?? 0}`;
    },
    async close() {
      for (const close of closers) await close();
    },
  };
}
