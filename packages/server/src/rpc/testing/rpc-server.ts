/** The door on the real port, over services in memory. */
import { silentLogger, systemClock } from '@hadron/base';
import { allowAll } from '@hadron/broker';
import type { AddressInfo } from 'node:net';
import { PORT_TIMES, SharedPort } from '../../http/shared-port.ts';
import { RpcDoor, type RpcDoorOptions, type RpcRoute } from '../door.ts';
import { rpcRoutes, type RpcServices } from '../index.ts';
import { GrpcClient } from './grpc-client.ts';
import { MemoryDeliveries, MemoryEvents } from './memory-services.ts';

export class RpcServer {
  readonly events = new MemoryEvents();
  readonly deliveries = new MemoryDeliveries();
  readonly door: RpcDoor;
  serving = true;
  authority = '';
  readonly errors: object[] = [];
  private readonly port: SharedPort;
  private readonly clients: GrpcClient[] = [];
  private stopListening = (): void => undefined;

  constructor(options: Partial<RpcDoorOptions> = {}, more: (services: RpcServices) => RpcRoute[] = () => []) {
    const logger = { ...silentLogger, error: (fields: object) => void this.errors.push(fields) };
    const services = {
      ask: () => ({ events: this.events, deliveries: this.deliveries }),
      authorize: allowAll,
      logger,
    };
    this.door = new RpcDoor({
      routes: [...rpcRoutes(services, { isServing: () => this.serving, clock: systemClock }), ...more(services)],
      clock: systemClock,
      logger,
      ...options,
    });
    this.port = new SharedPort(
      {
        request: (request, response) => {
          if (!this.door.handle(request, response)) response.writeHead(404).end();
        },
        upgrade: (_request, socket) => void socket.destroy(),
        malformed: () => 'HTTP/1.1 400 Bad Request\r\n\r\n',
      },
      1000,
      PORT_TIMES,
    );
  }

  async listen(): Promise<this> {
    const server = this.port.server();
    this.stopListening = () => void server.close();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.authority = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
  }

  client(options: ConstructorParameters<typeof GrpcClient>[1] = {}): GrpcClient {
    const client = new GrpcClient(this.authority, options);
    this.clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.close();
    this.stopListening();
    this.door.stop();
    await this.port.close(100);
  }
}
