/**
 * Hadron in this process: the broker of the server, on disk or in memory, without a port unless one is asked for. The
 * clients it gives talk to it directly.
 *
 * Always true: what a client was told is durable lies in the folder (or in memory, for as long as the broker lives), just as
 * with a server; `close` ends clients first, then doors, then the broker.
 */
import {
  type Clock,
  HadronError,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
  systemRandom,
  uuid,
} from '@hadron/base';
import { Broker, type BrokerOptions, resolveBrokerSettings } from '@hadron/broker';
import type { Transport } from '@hadron/contracts';
import { type FileSystem, MemoryFileSystem, nodeFileSystem, openFolder } from '@hadron/log';
import type { KafkaDoor } from '@hadron/server/kafka';
import { Client, type ConnectOptions } from '../client.ts';
import { type BrokerServices, inProcessTransport } from '../in-process/index.ts';
import { nodePlatform } from '../node-platform.ts';

/** Where the data lies, what is opened beside it. */
export interface OpenHadronOptions {
  /** Nothing is written to disk and nothing outlives the process. Default false. */
  readonly memory?: boolean | undefined;
  /** The data folder; made when missing. Only one process may have it open. Default `.hadron/data`, as the server's. */
  readonly data?: string | undefined;
  /** Opens a port for Kafka clients on 127.0.0.1; `true` takes any free one. Default: none. */
  readonly kafka?: boolean | { readonly port: number } | undefined;
  /** Broker settings as in docs/settings.md, for example `{ 'num.partitions': '3' }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** Default: says nothing. */
  readonly logger?: Logger | undefined;
  /** For tests. Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** For tests. Default: the machine's. */
  readonly random?: Random | undefined;
}

/**
 * A broker in this process. Close it, or let `await using` do so.
 *
 * @example
 * ```ts
 * import { openHadron } from '@hadron/client/embedded';
 * await using h = await openHadron({ data: './data' });
 * await h.connect({ source: '/shop' }).stream('orders').publish('order.placed', { id: '7' });
 * ```
 */
export interface Hadron extends AsyncDisposable {
  /** A client of this broker; closed with it. */
  connect(options?: Partial<Omit<ConnectOptions, 'url' | 'transport'>>): Client;
  /** For Kafka clients. Undefined: no port was asked for. */
  readonly kafka: { readonly brokers: string[]; readonly port: number } | undefined;
  /** Ends clients, doors and broker, in this order. Can be called again. */
  close(): Promise<void>;
}

/** Asks for a port for Kafka clients… */
export interface WithKafka {
  readonly kafka: true | { readonly port: number };
}

/** …and so has one. */
export interface HasKafka {
  readonly kafka: NonNullable<Hadron['kafka']>;
}

/** @internal What the test kit builds on. */
export interface Opened extends Hadron {
  readonly broker: Broker;
  readonly door: KafkaDoor | undefined;
  /** Files in memory, where they are. */
  readonly disk: MemoryFileSystem | undefined;
  /** Ends the broker and opens it again on the same files, as a restart of the server does; clients connect again. */
  restart(): Promise<void>;
}

/** @internal */
export interface OpenHooks {
  /** Stands between the broker and the clients of this process. */
  readonly services?: (services: BrokerServices) => BrokerServices;
  readonly transport?: (transport: Transport) => Transport;
}

const MEMORY_ROOT = '/hadron/shards/0';
const DEFAULT_FOLDER = '.hadron/data';
const HOST = '127.0.0.1';
/** Requests of Kafka clients under way get this long at the end. */
const DRAIN_MS = 200;

interface Place {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly clusterId: string;
  readonly nodeId: number;
  release(): Promise<void> | void;
}

/**
 * Opens a broker in this process. Resolves when it is recovered and, where asked for, its port is open.
 *
 * @throws HadronError DATA_FOLDER_IN_USE another process (a server, perhaps) has it; DATA_FOLDER_UNUSABLE,
 * DATA_FORMAT_NEWER, DATA_DAMAGED; SETTING_UNKNOWN, SETTING_INVALID; PORT_IN_USE
 */
export async function open(options: OpenHadronOptions = {}, hooks: OpenHooks = {}): Promise<Opened> {
  const { clock = systemClock, random = systemRandom, logger = silentLogger } = options;
  const settings = resolveBrokerSettings(options.settings ?? {});
  const disk = options.memory === true ? new MemoryFileSystem((fn) => clock.defer(fn)) : undefined;
  const place = await placeFor(options, disk, logger);
  // Kafka clients live in real time: their long polls and sockets are timed by it, whatever moves the broker's clock.
  const brokerOptions: BrokerOptions = { ...place, clock, pollClock: systemClock, random, logger, settings };
  let broker: Broker;
  try {
    broker = await Broker.open(brokerOptions);
  } catch (error) {
    await place.release();
    throw error;
  }
  let door: KafkaDoor | undefined;
  const listen = async (port: number): Promise<number> => {
    const { KafkaDoor, kafkaLimits } = await import('@hadron/server/kafka');
    door = new KafkaDoor({
      broker,
      clock: systemClock,
      logger,
      autoCreateTopics: settings.values['auto.create.topics.enable'],
      limits: kafkaLimits(settings.values),
    });
    const [address] = await door.listen([HOST], port, false);
    return (address as { port: number }).port;
  };

  const clients = new Set<Client>();
  let closed: Promise<void> | undefined;
  // Asked with every call: a core that the disk failed has a successor.
  const direct: BrokerServices = {
    get events() {
      return live().core.events;
    },
    get deliveries() {
      return live().core.deliveries;
    },
    recordSettings: (stream) => live().core.recordSettings(stream),
  };
  const live = (): Broker => {
    if (closed !== undefined) throw new HadronError('STORAGE_CLOSED', 'this Hadron is closed; open another');
    return broker;
  };
  const services = hooks.services?.(direct) ?? direct;

  const opened: Opened = {
    kafka: undefined,
    disk,
    get broker() {
      return broker;
    },
    get door() {
      return door;
    },
    connect(connectOptions = {}) {
      live();
      const transport = inProcessTransport(services);
      const client = new Client(
        {
          source: '/embedded',
          clock,
          random,
          ...connectOptions,
          transport: hooks.transport?.(transport) ?? transport,
        },
        { ...nodePlatform, transport: () => transport },
      );
      clients.add(client);
      return client;
    },
    async restart() {
      const port = opened.kafka?.port;
      await door?.close(DRAIN_MS);
      await live().close();
      broker = await Broker.open(brokerOptions);
      if (port !== undefined) await listen(port);
    },
    close() {
      closed ??= (async () => {
        await Promise.all([...clients].map((client) => client.close()));
        await door?.close(DRAIN_MS);
        await broker.close();
        await place.release();
      })();
      return closed;
    },
    [Symbol.asyncDispose]: () => opened.close(),
  };
  if (options.kafka === undefined || options.kafka === false) return opened;
  try {
    const port = await listen(options.kafka === true ? 0 : options.kafka.port);
    return Object.defineProperty(opened, 'kafka', { value: { brokers: [`${HOST}:${port}`], port } });
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function placeFor(
  options: OpenHadronOptions,
  disk: MemoryFileSystem | undefined,
  logger: Logger,
): Promise<Place> {
  if (disk !== undefined) {
    disk.mkdirSync(MEMORY_ROOT);
    return {
      fs: disk,
      directory: MEMORY_ROOT,
      clusterId: uuid(systemRandom),
      nodeId: 1,
      release: () => undefined,
    };
  }
  const folder = await openFolder(options.data ?? DEFAULT_FOLDER, { logger });
  return {
    fs: nodeFileSystem,
    directory: folder.shardDirectory(0),
    clusterId: folder.clusterId,
    nodeId: folder.nodeId,
    release: () => folder.release(),
  };
}
