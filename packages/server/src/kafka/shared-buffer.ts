/**
 * One receive buffer for all connections of a door.
 *
 * Node allocates 64 KiB outside the heap for every read of a socket. At 500 MB/s of 256 KiB batches that is 8,000
 * buffers a second, which V8 frees by full garbage collections: measured a fifth of all CPU, and 60 MB of memory. Reading
 * into one buffer costs neither, and a larger one (1 MiB) takes a whole batch in one call.
 *
 * Node offers this (`onread`) for sockets it opens itself, not for those a server accepts. So the accepted socket gives up
 * its handle before it has read anything, and a socket with `onread` takes it over. That leans on `handle`, an option that
 * Node uses itself but does not document: {@link sharedBufferWorks} tries it once at start, and where it does not work
 * connections read through 'data' events as usual.
 *
 * The bytes given to `onBytes` are overwritten by the next read, of any connection: use or copy them before returning.
 */
import net from 'node:net';

const BUFFER_BYTES = 1024 * 1024;

interface HandleOwner {
  _handle: unknown;
  _server: unknown;
}

export class SharedBuffer {
  private readonly buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

  /** A socket in place of `accepted` (which must be paused and unread) that reads into the shared buffer. */
  adopt(accepted: net.Socket, onBytes: (bytes: Buffer) => void): net.Socket {
    const from = accepted as unknown as HandleOwner;
    const handle = from._handle;
    const server = from._server;
    from._handle = null;
    from._server = null;
    const options = {
      handle,
      onread: {
        buffer: this.buffer,
        callback: (bytes: number, buffer: Uint8Array) => {
          onBytes((buffer as Buffer).subarray(0, bytes));
          return true;
        },
      },
    };
    const socket = new net.Socket(options as unknown as net.SocketConstructorOpts);
    // The server counts its connections by this.
    (socket as unknown as HandleOwner)._server = server;
    return socket;
  }
}

/** Whether a connection to ourselves, adopted, gives its bytes. */
export async function sharedBufferWorks(): Promise<boolean> {
  const shared = new SharedBuffer();
  const sockets: net.Socket[] = [];
  const server = net.createServer({ pauseOnConnect: true });
  try {
    return await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), 500);
      const done = (works: boolean): void => {
        clearTimeout(timer);
        resolve(works);
      };
      server.on('error', () => done(false));
      server.on('connection', (accepted) => {
        try {
          const socket = shared.adopt(accepted, (bytes) =>
            done(bytes.toString('latin1') === 'hadron' && socket.remotePort !== undefined),
          );
          socket.on('error', () => done(false));
          sockets.push(socket);
        } catch {
          done(false);
        }
      });
      server.listen(0, '127.0.0.1', () => {
        const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1', () =>
          client.write('hadron'),
        );
        client.on('error', () => done(false));
        sockets.push(client);
      });
    });
  } finally {
    for (const s of sockets) s.destroy();
    server.close();
  }
}
