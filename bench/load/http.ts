/** Requests over HTTP/1.1 and server-sent events, on raw sockets with bytes made beforehand. */
import { connect, type Socket } from 'node:net';
import { customer, order, SOURCE, TYPE } from './events.ts';
import { type Figures, Latencies, Stopwatch } from './measure.ts';
import { passed } from './publish.ts';

export interface HttpLoad {
  readonly url: string;
  readonly pid: number;
  readonly stream: string;
  readonly connections: number;
  readonly seconds: number;
  readonly warmSeconds: number;
}

/** One for all sockets: Node would allocate 64 KiB for every read. */
const buffer = Buffer.alloc(64 * 1024);

/** @param received gets what comes, in a buffer that is used again: what is kept of it is copied */
function opened(url: string, received: (bytes: Buffer) => void): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const onread = {
    buffer,
    callback: (size: number) => {
      received(buffer.subarray(0, size));
      return true;
    },
  };
  const socket = connect({ port: Number(port), host: hostname, onread });
  socket.setNoDelay(true);
  return new Promise((done, failed) => {
    socket.once('connect', () => done(socket));
    socket.once('error', failed);
  });
}

/** An event in binary mode. */
function publishRequest(stream: string, number: number): Buffer {
  const body = JSON.stringify({ ...order(number), sentAt: performance.now() });
  return Buffer.from(
    `POST /v1/streams/${stream}/events HTTP/1.1\r\nhost: 127.0.0.1\r\nce-specversion: 1.0\r\nce-id: e${number}\r\n` +
      `ce-source: ${SOURCE}\r\nce-type: ${TYPE}\r\nce-subject: ${customer(number, 1000)}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

const CONTENT_LENGTH = Buffer.from('ontent-length: ', 'latin1');

/** The end of the response in `bytes`, or -1 while it is not all there. @throws Error a status that is not 2xx */
function responseEnd(bytes: Buffer): number {
  const head = bytes.indexOf('\r\n\r\n', 0, 'latin1');
  if (head < 0) return -1;
  if (bytes[9] !== 0x32) throw new Error(bytes.toString('latin1', 0, 600));
  const at = bytes.indexOf(CONTENT_LENGTH);
  if (at < 0 || at > head) throw new Error(`no content-length: ${bytes.toString('latin1', 0, head)}`);
  const end =
    head + 4 + Number.parseInt(bytes.toString('latin1', at + CONTENT_LENGTH.length, at + CONTENT_LENGTH.length + 10));
  return end <= bytes.length ? end : -1;
}

/** Each connection has one request under way. */
export async function publishHttp(load: HttpLoad): Promise<Figures> {
  const requests = Array.from({ length: 1000 }, (_, i) => publishRequest(load.stream, i));
  const latencies = new Latencies();
  const failed = Promise.withResolvers<never>();
  let sent = 0;
  let answered = 0;
  let sending = true;
  let measuring = false;
  const begin = async (): Promise<Socket> => {
    let sentAt = 0;
    let rest: Buffer = Buffer.alloc(0);
    const send = (): void => {
      sentAt = performance.now();
      socket.write(requests[sent++ % requests.length]!);
    };
    const socket = await opened(load.url, (chunk) => {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      try {
        const end = responseEnd(bytes);
        rest = Buffer.from(end < 0 ? bytes : bytes.subarray(end));
        if (end < 0) return;
      } catch (error) {
        failed.reject(error as Error);
        return;
      }
      answered++;
      if (measuring) latencies.add(performance.now() - sentAt);
      if (sending) send();
    });
    socket.on('error', failed.reject);
    send();
    return socket;
  };
  const sockets = await Promise.all(Array.from({ length: load.connections }, begin));
  const measured = async (): Promise<Figures> => {
    await passed(load.warmSeconds);
    const before = answered;
    measuring = true;
    const watch = new Stopwatch(load.pid);
    await passed(load.seconds);
    const figures = watch.stop(answered - before);
    measuring = false;
    sending = false;
    while (answered < sent) await passed(0.01);
    return { ...figures, ...latencies.figures(), events: answered };
  };
  const figures = await Promise.race([measured(), failed.promise]);
  for (const socket of sockets) socket.destroy();
  return figures;
}

export interface SseLoad extends HttpLoad {
  readonly perSecond: number;
}

/** Many listen, one publishes; each event says when it was sent. Checks that every listener got every event. */
export async function listenSse(load: SseLoad): Promise<Figures> {
  const { url, stream, connections, perSecond, pid } = load;
  const latencies = new Latencies();
  let received = 0;
  let measuring = false;
  let greeted = 0;
  const failed = Promise.withResolvers<never>();
  const request = Buffer.from(
    `GET /v1/streams/${stream}/events?from=latest HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n`,
  );
  const listen = async (): Promise<Socket> => {
    let rest = '';
    let begun = false;
    const socket = await opened(url, (chunk) => {
      const text = rest + chunk.toString('latin1');
      if (!begun) {
        if (!text.startsWith('HTTP/1.1 200')) failed.reject(new Error(text.slice(0, 300)));
        begun = true;
        greeted++;
      }
      let at = 0;
      for (let end = text.indexOf('\n', at); end >= 0; end = text.indexOf('\n', at)) {
        const mark = text.startsWith('data: ', at) ? text.indexOf('"sentAt":', at) : -1;
        if (mark >= 0 && mark < end) {
          received++;
          if (measuring) latencies.add(performance.now() - Number.parseFloat(text.slice(mark + 9, mark + 30)));
        }
        at = end + 1;
      }
      rest = text.slice(at);
    });
    socket.on('error', failed.reject);
    socket.on('close', () => failed.reject(new Error('the server closed a listener')));
    socket.write(request);
    return socket;
  };
  const sockets: Socket[] = [];
  for (let i = 0; i < connections; i += 100)
    sockets.push(...(await Promise.all(Array.from({ length: Math.min(100, connections - i) }, listen))));
  const run = async (): Promise<Figures> => {
    while (greeted < connections) await passed(0.01);
    const publisher = await opened(url, () => undefined);
    let sent = 0;
    const rounds = async (seconds: number): Promise<void> => {
      for (let i = 0; i < seconds * perSecond; i++) {
        publisher.write(publishRequest(stream, sent++));
        await passed(1 / perSecond);
      }
    };
    await rounds(load.warmSeconds);
    measuring = true;
    const before = sent;
    const watch = new Stopwatch(pid);
    await rounds(load.seconds);
    const figures = watch.stop((sent - before) * connections);
    const deadline = performance.now() + 5000;
    while (received < sent * connections && performance.now() < deadline) await passed(0.01);
    publisher.destroy();
    if (received !== sent * connections) throw new Error(`${received} of ${sent * connections} events arrived`);
    const { 'k/s': _, ...cost } = figures;
    return { ...latencies.figures(), ...cost };
  };
  try {
    return await Promise.race([run(), failed.promise]);
  } finally {
    for (const socket of sockets) socket.removeAllListeners('close').destroy();
  }
}
