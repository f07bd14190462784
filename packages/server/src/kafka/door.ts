/**
 * The Kafka door: listens, keeps the connections, and hands each request to the handler of its API (api/*.ts).
 *
 * Handlers turn wire messages into calls of the broker and back; they hold no state and decide nothing a broker decides.
 */
import net from 'node:net';
import { type Clock, Counter, HadronError, Histogram, LATENCY_BOUNDS_SECONDS, type Logger } from '@hadron/base';
import {
  type Action,
  allowAll,
  ANONYMOUS,
  type Authorize,
  type Broker,
  type BrokerCore,
  type BrokerValues,
} from '@hadron/broker';
import { ApiKey, apiByKey, isServed, ProtocolError, type Reader, Writer } from '@hadron/kafka-protocol';
import { formatHostPort, type HostPort } from '../settings/server-settings.ts';
import { apiVersions, apiVersionsUnsupported } from './api/18-api-versions.ts';
import { createTopics } from './api/19-create-topics.ts';
import { deleteRecords } from './api/21-delete-records.ts';
import { deleteTopics } from './api/20-delete-topics.ts';
import { fetch } from './api/01-fetch.ts';
import { findCoordinator } from './api/10-find-coordinator.ts';
import { heartbeat } from './api/12-heartbeat.ts';
import { initProducerId } from './api/22-init-producer-id.ts';
import { createPartitions } from './api/37-create-partitions.ts';
import { joinGroup } from './api/11-join-group.ts';
import { leaveGroup } from './api/13-leave-group.ts';
import { listOffsets } from './api/02-list-offsets.ts';
import { metadata } from './api/03-metadata.ts';
import { offsetCommit } from './api/08-offset-commit.ts';
import { offsetFetch } from './api/09-offset-fetch.ts';
import { produce } from './api/00-produce.ts';
import { syncGroup } from './api/14-sync-group.ts';
import { Connection, type KafkaRequest } from './connection.ts';
import { RequestMemory } from './memory.ts';
import { SharedBuffer, sharedBufferWorks } from './shared-buffer.ts';

/** Decodes a request, has the broker do it, and answers. */
export type Handler = (door: KafkaDoor, request: KafkaRequest, reader: Reader) => void;

const HANDLERS: Partial<Record<number, Handler>> = {
  [ApiKey.Produce]: produce,
  [ApiKey.Fetch]: fetch,
  [ApiKey.ListOffsets]: listOffsets,
  [ApiKey.Metadata]: metadata,
  [ApiKey.OffsetCommit]: offsetCommit,
  [ApiKey.OffsetFetch]: offsetFetch,
  [ApiKey.FindCoordinator]: findCoordinator,
  [ApiKey.JoinGroup]: joinGroup,
  [ApiKey.Heartbeat]: heartbeat,
  [ApiKey.LeaveGroup]: leaveGroup,
  [ApiKey.SyncGroup]: syncGroup,
  [ApiKey.ApiVersions]: apiVersions,
  [ApiKey.CreateTopics]: createTopics,
  [ApiKey.DeleteTopics]: deleteTopics,
  [ApiKey.DeleteRecords]: deleteRecords,
  [ApiKey.CreatePartitions]: createPartitions,
  [ApiKey.InitProducerId]: initProducerId,
};

export interface KafkaLimits {
  readonly requestBytesMax: number;
  readonly queuedBytesMax: number;
  readonly connectionsMax: number;
  readonly progressMs: number;
  readonly idleMs: number;
  readonly fetchBytesMax: number;
}

/** The limits that the broker's settings say. */
export const kafkaLimits = (values: BrokerValues): KafkaLimits => ({
  requestBytesMax: values['socket.request.max.bytes'],
  queuedBytesMax: values['queued.max.request.bytes'],
  connectionsMax: values['max.connections'],
  progressMs: values['hadron.progress.timeout.ms'],
  idleMs: values['connections.max.idle.ms'],
  fetchBytesMax: values['fetch.max.bytes'],
});

export interface KafkaDoorOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: KafkaLimits;
  /** Told to clients instead of the address they came in on. */
  readonly advertise?: HostPort | undefined;
  readonly autoCreateTopics: boolean;
}

export interface DoorMetrics {
  readonly receivedBytes: Counter;
  readonly sentBytes: Counter;
  readonly connectionsTotal: Counter;
  readonly connectionsRefused: Counter;
  /** By API key. */
  readonly requests: Counter[];
  readonly latency: Histogram[];
  /** By `api key:Kafka error code`. */
  readonly errors: Map<string, Counter>;
}

const SWEEP_MS_MAX = 5_000;
const REFUSED_LOG_MS = 5_000;

export class KafkaDoor {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: KafkaLimits;
  readonly advertise: HostPort | undefined;
  readonly autoCreateTopics: boolean;
  readonly writer = new Writer();
  readonly memory: RequestMemory;
  readonly connections = new Set<Connection>();
  readonly metrics: DoorMetrics = {
    receivedBytes: new Counter(),
    sentBytes: new Counter(),
    connectionsTotal: new Counter(),
    connectionsRefused: new Counter(),
    requests: Array.from({ length: 100 }, () => new Counter()),
    latency: Array.from({ length: 100 }, () => new Histogram(LATENCY_BOUNDS_SECONDS)),
    errors: new Map(),
  };
  closing = false;
  /** Bytes of records in answers that have not left yet, over all connections. */
  answerBytes = 0;
  /** Undefined where connections read through 'data' events. */
  shared: SharedBuffer | undefined;
  private readonly authorize: Authorize;
  private readonly servers: net.Server[] = [];
  private readonly sweepMs: number;
  private sweepTimer: { cancel(): void } | undefined;
  private refusedLoggedMs = Number.NEGATIVE_INFINITY;
  private congested = false;
  private readonly held = new Set<Connection>();
  private onEmpty: (() => void) | undefined;

  constructor(options: KafkaDoorOptions) {
    this.broker = options.broker;
    this.clock = options.clock;
    this.logger = options.logger;
    this.limits = options.limits;
    this.advertise = options.advertise;
    this.autoCreateTopics = options.autoCreateTopics;
    this.authorize = options.broker.options.authorize ?? allowAll;
    this.sweepMs = Math.min(SWEEP_MS_MAX, options.limits.progressMs / 6);
    this.memory = new RequestMemory(options.limits.queuedBytesMax, options.limits.requestBytesMax);
  }

  get core(): BrokerCore {
    return this.broker.core;
  }

  /** What the next Fetch may carry, beyond one batch: answers that clients do not take use the budget up (log.md G17). */
  get answerBytesLeft(): number {
    return Math.max(0, this.limits.queuedBytesMax - this.answerBytes);
  }

  get nodeId(): number {
    return this.broker.options.nodeId;
  }

  /** Our address as this client should see it (R16). */
  addressFor(connection: Connection): HostPort {
    return this.advertise ?? { host: connection.localHost, port: connection.localPort };
  }

  /**
   * Listens on every host, all with the same port.
   * @param optional hosts that may be missing on this machine (::1)
   * @throws HadronError PORT_IN_USE, SETTING_INVALID
   */
  async listen(hosts: readonly string[], port: number, optional: boolean): Promise<HostPort[]> {
    if (await sharedBufferWorks()) this.shared = new SharedBuffer();
    else this.logger.debug({}, 'connections cannot share a receive buffer on this Node: reading through data events');
    const addresses: HostPort[] = [];
    let chosen = port;
    for (const host of hosts) {
      const server = net.createServer({ noDelay: true, pauseOnConnect: this.shared !== undefined }, (socket) =>
        this.accept(socket),
      );
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen({ host, port: chosen, backlog: 1024, ipv6Only: host.includes(':') }, () => {
            server.off('error', reject);
            resolve();
          });
        });
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (optional && addresses.length > 0 && (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT')) continue;
        for (const s of this.servers) s.close();
        if (code === 'EADDRINUSE') {
          throw new HadronError(
            'PORT_IN_USE',
            `Kafka port ${formatHostPort({ host, port: chosen })} is taken: stop what uses it, or choose another with --kafka-port (0 for any)`,
          );
        }
        throw new HadronError(
          'SETTING_INVALID',
          `cannot listen on ${formatHostPort({ host, port: chosen })} (${code}): --listen takes addresses of this machine, ports below 1024 need privileges`,
        );
      }
      server.on('error', (error) => this.logger.error({ err: error.message }, 'the Kafka listener failed'));
      chosen = (server.address() as net.AddressInfo).port;
      this.servers.push(server);
      addresses.push({ host, port: chosen });
    }
    return addresses;
  }

  /** @internal A client has connected. */
  accept(socket: net.Socket): void {
    if (this.connections.size >= this.limits.connectionsMax || this.closing) {
      socket.destroy();
      this.metrics.connectionsRefused.value++;
      const now = this.clock.monotonicMs();
      if (!this.closing && now - this.refusedLoggedMs >= REFUSED_LOG_MS) {
        this.refusedLoggedMs = now;
        this.logger.warn(
          { connections: this.connections.size, refused: this.metrics.connectionsRefused.value },
          'too many connections: refusing new ones (max.connections)',
        );
      }
      return;
    }
    this.metrics.connectionsTotal.value++;
    this.connections.add(new Connection(this, socket));
    this.sweepTimer ??= this.clock.setTimer(this.sweepMs, this.sweep);
  }

  /** Closes connections that stand still. Runs only while there are any. */
  private readonly sweep = (): void => {
    const now = this.clock.monotonicMs();
    for (const c of this.connections) {
      const why = c.stuck(now, this.limits.progressMs, this.limits.idleMs);
      if (why !== undefined) c.destroy(why);
    }
    this.sweepTimer = this.connections.size === 0 ? undefined : this.clock.setTimer(this.sweepMs, this.sweep);
  };

  /** Whether the one who asks may not do this to a topic, or to a group: the same question that every door asks. */
  forbids(action: Action, name: string, kind: 'Stream' | 'KafkaGroup' = 'Stream'): boolean {
    // Asked for every topic of a produce and a fetch.
    if (this.authorize === allowAll) return false;
    try {
      this.authorize(ANONYMOUS, action, { kind, name });
      return false;
    } catch (error) {
      if (error instanceof HadronError && error.code === 'PERMISSION_DENIED') return true;
      throw error;
    }
  }

  /** @throws HadronError PERMISSION_DENIED */
  mayOrThrow(action: Action, topic: string): void {
    this.authorize(ANONYMOUS, action, { kind: 'Stream', name: topic });
  }

  /** @internal Hands a request to its handler. The reader stands behind the header. */
  dispatch(request: KafkaRequest, reader: Reader): void {
    const { apiKey, version, connection } = request;
    const handler = HANDLERS[apiKey];
    if (handler === undefined || !isServed(apiKey, version)) {
      if (apiKey === ApiKey.ApiVersions) {
        apiVersionsUnsupported(request);
        return;
      }
      // R3: Kafka closes the connection and sends no error.
      this.logger.warn(
        {
          api: apiByKey(apiKey)?.name ?? apiKey,
          version,
          client: connection.remote,
          clientId: request.clientId,
          software: connection.clientSoftware,
        },
        'unsupported API or version',
      );
      connection.destroy('unsupported API or version');
      return;
    }
    (this.metrics.requests[apiKey] as Counter).value++;
    try {
      handler(this, request, reader);
    } catch (error) {
      const bad = error instanceof ProtocolError;
      const api = apiByKey(apiKey)?.name ?? apiKey;
      if (bad)
        this.logger.warn(
          { api, version, client: connection.remote, clientId: request.clientId, why: error.message },
          'a malformed request',
        );
      else
        this.logger.error(
          { api, version, err: error instanceof Error ? (error.stack ?? error.message) : String(error) },
          'a request failed: a bug in Hadron',
        );
      connection.destroy(bad ? `malformed ${api} request` : 'internal error');
    }
  }

  /** @internal */
  answered(request: KafkaRequest): void {
    (this.metrics.latency[request.apiKey] as Histogram | undefined)?.observe(
      (this.clock.monotonicMs() - request.startedMs) / 1000,
    );
  }

  /** Counts an error answered to a client. */
  error(apiKey: number, code: number): void {
    const key = `${apiKey}:${code}`;
    let counter = this.metrics.errors.get(key);
    if (counter === undefined) {
      counter = new Counter();
      this.metrics.errors.set(key, counter);
    }
    counter.value++;
  }

  /**
   * @internal Whether the disk is so far behind that a producer should wait. Who only reads or administers goes on; and
   * where waiting would not help, Produce is refused instead (log.md G16).
   */
  mustPause(connection: Connection): boolean {
    const { shard } = this.core;
    if (!connection.produces || !shard.congested || shard.refusing !== undefined) return false;
    this.held.add(connection);
    if (!this.congested) {
      this.congested = true;
      shard.onRelief(() => {
        this.congested = false;
        const held = [...this.held];
        this.held.clear();
        for (const c of held) c.resume();
      });
    }
    return true;
  }

  /** @internal */
  gone(connection: Connection): void {
    this.connections.delete(connection);
    this.held.delete(connection);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  /** Stops accepting and reading; requests under way are answered, then their connections end. */
  async close(withinMs: number): Promise<void> {
    this.closing = true;
    for (const s of this.servers) s.close();
    this.core.fetcher.close();
    for (const c of this.connections) c.finish();
    if (this.connections.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimer(withinMs, resolve);
        this.onEmpty = (): void => {
          timer.cancel();
          resolve();
        };
      });
    }
    for (const c of this.connections) c.destroy('the server is shutting down');
    this.sweepTimer?.cancel();
  }
}
