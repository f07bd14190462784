/**
 * A broker and its Kafka door on the simulated disk, clock and network: everything in virtual time, nothing sleeps.
 * It can be closed, killed, lose power, and start again on the same disk.
 */
import { type Authorize, type BrokerSettings, Broker, resolveBrokerSettings } from '@hadron/broker';
import type { ShardSettings } from '@hadron/log';
import type { Logger } from '@hadron/base';
import { Sim, type SimMachine, type SimOptions } from '@hadron/testkit';
import { KafkaDoor, type KafkaDoorOptions, type KafkaLimits } from '../door.ts';
import { SimSocket } from './sim-socket.ts';
import type { ApiName, Req, Res, WireClient } from './wire-client.ts';

export interface SimServerOptions {
  readonly seed?: number;
  readonly sim?: SimOptions;
  /** Broker settings under Kafka's names. */
  readonly set?: Readonly<Record<string, string>>;
  readonly limits?: Partial<KafkaLimits>;
  readonly shard?: Partial<ShardSettings>;
  readonly advertise?: { host: string; port: number };
  readonly authorize?: Authorize;
}

const KIB = 1024;

/** Small files, so that a start costs no megabytes. */
const SHARD: Partial<ShardSettings> = {
  commitFileBytes: 256 * KIB,
  checkpointAtBytes: 512 * KIB,
  slowAtBytes: 4096 * KIB,
  directAtBytes: 64 * KIB,
  minFreeBytes: 0,
};

/** A logger that keeps what it is told. */
function listLogger(): Logger & { readonly lines: string[] } {
  const lines: string[] = [];
  const add =
    (level: string) =>
    (fields: object, message: string): void => {
      lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
    };
  return { lines, debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error') };
}

export class SimServer {
  readonly sim: Sim;
  readonly options: SimServerOptions;
  readonly logger = listLogger();
  readonly settings: BrokerSettings;
  machine!: SimMachine;
  broker!: Broker;
  door!: KafkaDoor;
  private ports = 40_000;

  private constructor(options: SimServerOptions) {
    this.options = options;
    this.sim = new Sim(options.seed ?? 1, options.sim);
    this.settings = resolveBrokerSettings(options.set ?? {});
  }

  static async start(options: SimServerOptions = {}): Promise<SimServer> {
    const server = new SimServer(options);
    await server.open();
    return server;
  }

  /** Starts a new process on the disk as it is. */
  async open(): Promise<void> {
    this.machine = this.sim.start();
    const { fs, clock, random } = this.machine;
    // What openFolder does on a real disk: the folders above the shard's are durable.
    fs.mkdirSync('data/shards/0');
    for (const path of ['', 'data', 'data/shards']) {
      await this.run(
        new Promise<void>((resolve, reject) => fs.syncDir(path, (e) => (e === undefined ? resolve() : reject(e)))),
      );
    }
    const broker = await this.run(
      Broker.open({
        fs,
        clock,
        random,
        logger: this.logger,
        directory: 'data/shards/0',
        clusterId: 'sim-cluster',
        nodeId: 1,
        settings: this.settings,
        shardSettings: { ...SHARD, ...this.options.shard },
        ...(this.options.authorize === undefined ? {} : { authorize: this.options.authorize }),
      }),
    );
    this.broker = broker;
    const values = this.settings.values;
    const options: KafkaDoorOptions = {
      broker,
      clock,
      logger: this.logger,
      advertise: this.options.advertise,
      autoCreateTopics: values['auto.create.topics.enable'],
      limits: {
        requestBytesMax: values['socket.request.max.bytes'],
        queuedBytesMax: values['queued.max.request.bytes'],
        connectionsMax: values['max.connections'],
        progressMs: values['hadron.progress.timeout.ms'],
        idleMs: values['connections.max.idle.ms'],
        fetchBytesMax: values['fetch.max.bytes'],
        ...this.options.limits,
      },
    };
    this.door = new KafkaDoor(options);
  }

  connectSocket(local: { host: string; port: number } = { host: '127.0.0.1', port: 9092 }): SimSocket {
    const socket = new SimSocket(this.sim.scheduler, this.machine.process, this.ports++, local);
    this.door.accept(socket.asSocket());
    return socket;
  }

  connect(local?: { host: string; port: number }): WireClient {
    return this.connectSocket(local).client;
  }

  /** Waits for a promise that needs virtual time. */
  run<T>(promise: Promise<T>, withinMs?: number): Promise<T> {
    return this.sim.scheduler.settle(promise, withinMs === undefined ? {} : { withinMs });
  }

  /** One request on a connection of its own. */
  async ask<A extends ApiName>(api: A, version: number, fields: Partial<Req<A>> = {}): Promise<Res<A>> {
    const client = this.connect();
    try {
      return await this.run(client.call(api, version, fields));
    } finally {
      client.close();
    }
  }

  /** Ends in order. */
  async close(): Promise<void> {
    await this.run(this.door.close(1_200));
    await this.run(this.broker.close());
    this.machine.process.kill();
  }

  /** kill -9. */
  kill(): void {
    this.machine.process.kill();
  }

  async restart(how: 'close' | 'kill' | 'power' = 'kill', keep?: Parameters<Sim['powerLoss']>[1]): Promise<void> {
    if (how === 'close') await this.close();
    else this.kill();
    if (how === 'power') this.sim.disk.powerLoss(keep);
    await this.open();
  }

  /** Virtual milliseconds pass. */
  advance(ms: number): Promise<void> {
    return this.sim.scheduler.runFor(ms);
  }

  get nowMs(): number {
    return this.sim.scheduler.nowMs;
  }

  get wallMs(): number {
    return this.sim.scheduler.wallMs;
  }
}
