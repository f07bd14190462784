/**
 * A whole server: folder, broker, Kafka's port, the API port with its doors, ports of the original's clients, push. Opens in
 * this order and closes in the other, so that a port is open only while everything behind it works.
 */
import { HadronError, type Logger, systemClock, systemRandom } from '@hadron/base';
import { allowAll, Broker } from '@hadron/broker';
import { nodeFileSystem, openFolder } from '@hadron/log';
import { apiDoor, type AskServices } from './api/index.ts';
import { resourceRoutes } from './api/resources.ts';
import { startHttpServer } from './http/index.ts';
import { KafkaDoor, kafkaLimits } from './kafka/door.ts';
import { createLogger } from './log.ts';
import { serverMetrics } from './metrics.ts';
import { OriginalDoor } from './original/index.ts';
import { consentRoutes, Push } from './push/index.ts';
import { RpcDoor, rpcRoutes } from './rpc/index.ts';
import { type HostPort, isLoopback, type ServerSettings } from './settings/index.ts';

export interface RunningServer {
  readonly kafkaAddresses: readonly HostPort[];
  readonly httpAddress: HostPort;
  /** Of the port with the pages of operations alone, where one was asked for. */
  readonly metricsAddress?: HostPort;
  readonly clusterId: string;
  /** Stops accepting, answers what is under way, syncs, releases the folder. Nothing acknowledged is lost either way. */
  close(): Promise<void>;
}

export interface ServerHooks {
  /** Default: pino on standard error at the settings' level. */
  readonly logger?: Logger;
  /** Told by `GET /v1`. */
  readonly version?: string;
}

/** Requests under way get this long when the server stops. */
const DRAIN_MS = 1_200;

/**
 * Starts a server. When the promise resolves, the ports are open and everything is recovered.
 * @throws HadronError PORT_IN_USE, DATA_FOLDER_IN_USE, DATA_FOLDER_UNUSABLE, DATA_FORMAT_NEWER, DATA_DAMAGED, SETTING_INVALID
 */
export async function startServer(settings: ServerSettings, hooks: ServerHooks = {}): Promise<RunningServer> {
  const logger = hooks.logger ?? (await createLogger(settings.logLevel));
  const values = settings.broker.values;
  const folder = await openFolder(settings.dataDir, { logger });
  const closers: (() => Promise<void> | void)[] = [() => folder.release()];
  // What cannot be closed, such as a shard on a disk that fails just now, keeps nothing else open: above all not the folder.
  const closeAll = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const close of closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  try {
    const broker = await Broker.open({
      fs: nodeFileSystem,
      clock: systemClock,
      random: systemRandom,
      logger,
      directory: folder.shardDirectory(0),
      clusterId: folder.clusterId,
      nodeId: folder.nodeId,
      settings: settings.broker,
      namespace: settings.namespace,
      streamStatus(topic) {
        const originalPorts = original.portsOf(topic);
        return originalPorts === undefined ? {} : { originalPorts };
      },
    });
    closers.push(() => broker.close());
    const push = new Push({ broker, clock: systemClock, random: systemRandom, logger, settings });
    const { recovered } = broker.core.shard;
    const found = {
      ms: Math.round(recovered.ms),
      cases: recovered.cases,
      frames: recovered.frames,
      replayedBytes: recovered.replayedBytes,
    };
    if (recovered.clean) logger.info(found, 'opened the data folder');
    else if (recovered.cases.some((c) => c.startsWith('torn'))) {
      logger.warn(
        found,
        'recovered after an unclean stop; the end of the commit log was incomplete and was cut: nothing shows that it had been acknowledged',
      );
    } else logger.info(found, 'recovered the data folder after an unclean stop');
    const door = new KafkaDoor({
      broker,
      clock: systemClock,
      logger,
      advertise: settings.advertise,
      autoCreateTopics: values['auto.create.topics.enable'],
      limits: kafkaLimits(values),
    });
    const kafkaAddresses = await door.listen(settings.listen, settings.kafkaPort, settings.listenIsDefault);
    closers.push(() => door.close(DRAIN_MS));
    let stopping = false;
    const services: AskServices = () => broker.core;
    const rpcServices = { ask: services, authorize: allowAll, logger };
    const original = new OriginalDoor({
      broker,
      services: rpcServices,
      settings,
      connectionsMax: values['max.connections'],
      logger,
    });
    const rpc = new RpcDoor({
      routes: [
        ...rpcRoutes(rpcServices, {
          isServing: () => !stopping && broker.trouble === undefined,
          clock: systemClock,
        }),
        ...original.routes,
      ],
      clock: systemClock,
      logger,
    });
    const api = apiDoor({
      services,
      rpc: rpc.handle,
      routes: [...resourceRoutes(() => broker.core.resources()), ...consentRoutes(push)],
      authorize: allowAll,
      clock: systemClock,
      logger,
      loopbackOnly: settings.listen.every(isLoopback),
      origins: settings.corsOrigins,
      info: { version: hooks.version ?? 'unknown', clusterId: folder.clusterId, kafka: kafkaAddresses },
    });
    const http = await startHttpServer({
      listen: settings.listen,
      listenIsDefault: settings.listenIsDefault,
      port: settings.httpPort,
      portIsDefault: settings.httpPortIsDefault,
      metricsPort: settings.metricsPort,
      connectionsMax: values['max.connections'],
      metrics: serverMetrics(broker, door, api, rpc, push),
      door: api,
      logger,
      health() {
        const { trouble } = broker;
        const reasons = [...(stopping ? ['stopping'] : []), ...(trouble === undefined ? [] : [trouble.message])];
        const damage = broker.core.shard.recovered.damage;
        if (damage.length > 0) reasons.push(`${damage.length} ranges of offsets are damaged; run "hadron log verify"`);
        return { healthy: true, ready: !stopping && trouble === undefined, reasons };
      },
    });
    closers.push(() => http.close());
    await original.start(rpc);
    closers.push(() => original.close());
    closers.push(() => rpc.stop());
    push.start();
    closers.push(() => push.close());
    api.connectionCount = () => http.connectionCount;
    const [httpAddress] = http.addresses;
    const [metricsAddress] = http.metricsAddresses;
    if (httpAddress === undefined)
      throw new HadronError('SETTING_INVALID', 'no address to listen on: --listen is empty');
    return {
      kafkaAddresses,
      httpAddress,
      ...(metricsAddress === undefined ? {} : { metricsAddress }),
      clusterId: folder.clusterId,
      async close() {
        stopping = true;
        // What is under way to sinks may end while clients are answered.
        void push.close();
        await closeAll();
      },
    };
  } catch (error) {
    await closeAll().catch(() => undefined);
    throw error;
  }
}
