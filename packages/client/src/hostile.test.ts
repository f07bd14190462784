/** Servers that are none, or broken: every call ends with a HadronError, nothing crashes, nothing hangs. */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { HadronError } from '@hadron/base/errors';
import type { CloudEvent, Transport } from '@hadron/contracts';
import { cloudEvent, parseJsonEvent, writeJsonEvent } from '@hadron/contracts/events';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { binaryTransport } from './binary/index.ts';
import { milliseconds } from './duration.ts';
import { httpTransport } from './http/index.ts';
import { eventOfJson, jsonOfEvent, parseJson } from './http/json-event.ts';
import { serverSentEvents } from './http/server-sent-events.ts';

async function listening(server: net.Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

/** Everything a transport can be asked for; each must fail in good order. */
async function everything(transport: Transport): Promise<HadronError[]> {
  const event = cloudEvent({ id: '1', source: '/s', type: 't', data: 1 });
  const listener = { deliver: () => undefined, withdrawn: () => undefined, ended: () => undefined };
  const tail = async (): Promise<void> => {
    for await (const _ of transport.tail({ stream: 's', from: 'beginning' }))
      throw new Error('an event out of nothing');
  };
  const outcomes = await Promise.allSettled([
    transport.info('s'),
    transport.publish({ stream: 's', events: [event] }),
    transport.open({ stream: 's', group: 'g', settings: {}, credit: 1 }, listener),
    tail(),
    transport.request('GET', '/v1/groups'),
  ]);
  await transport.close();
  return outcomes.map((outcome) => {
    expect(outcome.status).toBe('rejected');
    const { reason } = outcome as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(HadronError);
    return reason as HadronError;
  });
}

const transports = [
  ['http', (url: string) => httpTransport({ url })],
  ['binary', (url: string) => binaryTransport({ url })],
] as const;

describe.each(transports)('%s', (_name, make) => {
  test('nobody listens: nothing happened, and the message says what to do', async () => {
    for (const error of await everything(make(`http://127.0.0.1:${await freePort()}`))) {
      expect(error.code).toBe('CONNECTION_FAILED');
      expect(error.message).toContain('hadron start');
    }
  });

  test('one that hangs up', async () => {
    const url = await listening(net.createServer((socket) => socket.destroy()));
    for (const error of await everything(make(url))) expect(error.code).toBe('CONNECTION_FAILED');
  });

  test('one that sends random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const server = net.createServer((socket) => {
          socket.on('error', () => undefined);
          socket.once('data', () => socket.end(bytes));
        });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const errors = await everything(make(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`));
        expect(errors).toHaveLength(5);
        server.close();
      }),
      { numRuns: 15 },
    );
  });

  test.each(['', 'localhost:7000', '127.0.0.1:7000', 'ftp://localhost:7000'])(
    'an address that is none is a TypeError that says how: %j',
    (url) => {
      expect(() => make(url)).toThrow(TypeError);
      expect(() => make(url)).toThrow('give for example http://127.0.0.1:7000');
    },
  );

  test('https where no TLS is: nothing happened, and the message asks for http', async () => {
    const url = await listening(http.createServer((_, response) => response.end()));
    const transport = make(url.replace('http:', 'https:'));
    await expect(transport.info('s')).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      happened: 'no',
      message: expect.stringContaining('http:// and not https://') as unknown,
    });
    await transport.close();
  });

  test('one that accepts and is silent: a signal ends a tail all the same', async () => {
    const url = await listening(net.createServer((socket) => void socket.on('error', () => undefined)));
    const transport = make(url);
    const signal = AbortSignal.timeout(50);
    for await (const _ of transport.tail({ stream: 's', from: 'latest', signal })) throw new Error('out of nothing');
    await transport.close();
  });

  test('another kind of server', async () => {
    const url = await listening(
      http.createServer((_, response) => response.writeHead(404).end('<html>nothing here</html>')),
    );
    await everything(make(url));
  });
});

test('binary: a path in the address is refused, which gRPC would leave out', () => {
  expect(() => binaryTransport({ url: 'http://127.0.0.1:7000/hadron' })).toThrow('has a path');
});

test('binary: frames and messages that are none', async () => {
  const frames = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.uint8Array({ minLength: 1, maxLength: 64 }).map((body) => {
      const frame = Buffer.alloc(5 + body.length);
      frame.writeUInt32BE(body.length, 1);
      frame.set(body, 5);
      return frame;
    }),
    fc.constant(Buffer.from([0, 0xff, 0xff, 0xff, 0xff])),
    fc.constant(Buffer.from([1, 0, 0, 0, 0])),
  );
  await fc.assert(
    fc.asyncProperty(frames, async (bytes) => {
      const server = http2.createServer();
      server.on('stream', (stream) => {
        stream.on('error', () => undefined);
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.end(bytes);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
      expect(await everything(binaryTransport({ url }))).toHaveLength(5);
      server.close();
    }),
    { numRuns: 30 },
  );
});

describe('server-sent events', () => {
  const bodyOf = (text: string, cuts: readonly number[]): ReadableStream<Uint8Array> => {
    const bytes = new TextEncoder().encode(text);
    const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
    return new ReadableStream({
      start(controller) {
        for (let i = 1; i < places.length; i++) controller.enqueue(bytes.slice(places[i - 1], places[i]));
        controller.close();
      },
    });
  };

  test('are the same however they are cut', async () => {
    const events = fc.array(
      fc.record({
        id: fc.stringMatching(/^[\w-]{1,20}$/),
        data: fc.string({ unit: 'grapheme', minLength: 1 }).filter((s) => !/[\r\n]/.test(s)),
      }),
    );
    await fc.assert(
      fc.asyncProperty(
        events,
        fc.array(fc.nat(10_000), { maxLength: 20 }),
        fc.constantFrom('\n', '\r\n'),
        async (all, cuts, end) => {
          const text = all.map(({ id, data }) => `: beat${end}${end}id: ${id}${end}data: ${data}${end}${end}`).join('');
          const read = [];
          for await (const one of serverSentEvents(bodyOf(text, cuts))) read.push(one);
          expect(read).toEqual(all);
        },
      ),
    );
  });

  test('anything else gives something or nothing, never a failure', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.array(fc.nat(1_000)), async (text, cuts) => {
        for await (const one of serverSentEvents(bodyOf(text, cuts))) expect(typeof one.data).toBe('string');
      }),
    );
  });
});

describe('events in JSON', () => {
  const names = fc
    .stringMatching(/^[a-z][a-z0-9]{0,10}$/)
    .filter((name) => !['id', 'source', 'type', 'specversion', 'data'].includes(name));
  const values = fc.oneof(
    fc.stringMatching(/^[ -~é€]{1,20}$/),
    fc.boolean(),
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  );
  const events = fc
    .record({
      extensions: fc.dictionary(names, values, { maxKeys: 5 }),
      data: fc.oneof(fc.constant(undefined), fc.jsonValue(), fc.uint8Array()),
    })
    .map(({ extensions, data }) => {
      try {
        return cloudEvent({ ...extensions, id: 'i', source: '/s', type: 't', data });
      } catch {
        return undefined; // a known name with a value that it cannot have
      }
    })
    .filter((event) => event !== undefined);
  const shown = (event: CloudEvent): unknown => ({
    ...event,
    attributes: Object.fromEntries(event.attributes),
    types: Object.fromEntries(event.types ?? []),
  });

  test('are read as the codec of the server writes them, and written as it reads them', () => {
    fc.assert(
      fc.property(events, (event) => {
        const read = eventOfJson(parseJson(writeJsonEvent(event)));
        const known = parseJsonEvent(writeJsonEvent(event));
        expect(shown({ ...read, data: undefined, types: undefined })).toEqual(
          shown({ ...known, data: undefined, types: undefined }),
        );
        expect(read.data === undefined ? undefined : Buffer.from(read.data)).toEqual(
          event.data === undefined ? undefined : Buffer.from(event.data),
        );
        expect(shown(parseJsonEvent(jsonOfEvent(event)))).toEqual(shown(known));
      }),
    );
  });
});

test('durations', () => {
  expect(['250ms', '1.5s', '10m', '2h', '7d', 5].map((text) => milliseconds(text as never, 'x'))).toEqual([
    250, 1_500, 600_000, 7_200_000, 604_800_000, 5,
  ]);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.double(), fc.constant(null)), (value) => {
      try {
        const ms = milliseconds(value as never, 'x');
        expect(Number.isInteger(ms) && ms >= 0).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
      }
    }),
  );
});

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
