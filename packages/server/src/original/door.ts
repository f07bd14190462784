/**
 * The original's clients on this server: the routes of their service on every port that takes calls, and ports of their
 * own where a range is set.
 */
import type { Server } from 'node:net';
import type { Logger } from '@hadron/base';
import type { Broker } from '@hadron/broker';
import { listenOnAll } from '../http/listen.ts';
import { PORT_TIMES, SharedPort } from '../http/shared-port.ts';
import type { RpcDoor, RpcRoute, RpcServices } from '../rpc/index.ts';
import type { HostPort, ServerSettings } from '../settings/index.ts';
import { originalRoutes } from './controller.ts';
import { OriginalPorts, type StreamPorts } from './ports.ts';

export interface OriginalDoorOptions {
  readonly broker: Broker;
  readonly services: RpcServices;
  readonly settings: Pick<ServerSettings, 'listen' | 'listenIsDefault' | 'originalPorts' | 'advertise'>;
  readonly connectionsMax: number;
  readonly logger: Logger;
}

export class OriginalDoor {
  /** For the door of calls. */
  readonly routes: readonly RpcRoute[];
  private readonly options: OriginalDoorOptions;
  private readonly ports: OriginalPorts | undefined;
  private shared: SharedPort | undefined;
  private readonly watchers = new Set<() => void>();
  private readonly ends: (() => void)[] = [];

  constructor(options: OriginalDoorOptions) {
    this.options = options;
    const { broker, services, settings, logger } = options;
    const { originalPorts: range, advertise } = settings;
    if (range !== undefined) {
      this.ports = new OriginalPorts({ range, logger, listen: (port) => this.listen(port) });
    }
    this.routes = originalRoutes({
      ...services,
      find(name) {
        const stream = broker.core.eventLog.stream(name);
        return stream === undefined ? undefined : { name: stream.name, partitions: stream.partitions.length };
      },
      watch: (fn) => {
        this.watchers.add(fn);
        return () => this.watchers.delete(fn);
      },
      ports: this.ports,
      advertisedHost: (advertise satisfies HostPort | undefined)?.host,
    });
  }

  /** Begins to follow the broker's streams. Resolves when the ports of those there are are open. */
  async start(rpc: RpcDoor): Promise<void> {
    const { broker, connectionsMax } = this.options;
    const { ports } = this;
    if (ports !== undefined) {
      this.shared = new SharedPort(
        {
          request(request, response) {
            request.on('error', () => undefined);
            response.on('error', () => undefined);
            // The original's clients speak nothing else, and browsers do not speak it without TLS: no page comes in here
            // past the guard of the API port.
            const isHttp2 = request.httpVersionMajor === 2;
            if (!isHttp2 || !rpc.handle(request, response)) response.writeHead(isHttp2 ? 404 : 505).end();
          },
          upgrade: (_request, socket) => void socket.destroy(),
          malformed: () => 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
        },
        connectionsMax,
        PORT_TIMES,
      );
    }
    let opened: Promise<void> | undefined;
    let endOfStreams = (): void => undefined;
    const end = broker.watchCore((core) => {
      endOfStreams();
      endOfStreams = core.eventLog.watchStreams(() => {
        for (const fn of [...this.watchers]) fn();
      });
      const serving = ports?.serve(core);
      opened ??= serving;
    });
    this.ends.push(end, () => endOfStreams());
    await opened;
  }

  /** The ports of a stream, for its status; undefined: it has none. */
  portsOf(stream: string): StreamPorts | undefined {
    return this.ports?.portsOf(stream);
  }

  async close(): Promise<void> {
    for (const end of this.ends) end();
    this.ports?.close();
    await this.shared?.close(CLOSE_MS);
  }

  private listen(port: number): Promise<readonly Server[]> {
    const { listen, listenIsDefault } = this.options.settings;
    return listenOnAll(() => (this.shared as SharedPort).server(), {
      listen,
      listenIsDefault,
      port,
      portIsDefault: false,
      flag: '--original-ports',
    });
  }
}

/** Metadata never ends by itself: its connections are cut. */
const CLOSE_MS = 300;
