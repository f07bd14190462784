/** The raw wire client over a real socket. */
import net from 'node:net';
import {
  type ApiName,
  type Req,
  type Res,
  WireClient,
} from '../../../packages/server/src/kafka/testing/wire-client.ts';

export class NetClient extends WireClient {
  readonly socket: net.Socket;

  private constructor(socket: net.Socket) {
    super({ send: (bytes) => void socket.write(bytes), close: () => socket.destroy() });
    this.socket = socket;
    socket.on('data', (chunk) => this.received(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.ended());
  }

  static connect(port: number): Promise<NetClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new NetClient(socket));
      });
    });
  }
}

/** What talk.ts needs, over one connection. */
export const over = (client: NetClient) => ({
  ask: <A extends ApiName>(api: A, version: number, fields?: Partial<Req<A>>): Promise<Res<A>> =>
    client.call(api, version, fields),
});
