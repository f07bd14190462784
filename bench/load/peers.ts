/**
 * The same work for Hadron, NATS JetStream and Redis Streams, each through the client its people use: an event in and its
 * answer; a group whose consumers acknowledge each event and wait until the server has confirmed that.
 */
import { connect } from '@hadron/client';
import { AckPolicy, jetstream, jetstreamManager, type JsMsg } from '@nats-io/jetstream';
import { connect as connectNats } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { customer, order, SOURCE, TYPE } from './events.ts';
import { type Figures, Latencies, Stopwatch } from './measure.ts';
import { passed } from './publish.ts';

export type System = 'hadron' | 'nats' | 'redis';

export interface PeerLoad {
  readonly system: System;
  readonly port: number;
  readonly pid: number;
  readonly stream: string;
  readonly seconds: number;
}

/** Told of each event; `confirmed` once the server has said that it is acknowledged. */
interface Handler {
  readonly handle: (number: number) => void;
  readonly confirmed: (numbers: readonly number[]) => void;
}

interface Peer {
  create(): Promise<void>;
  publish(number: number): Promise<unknown>;
  /** One consumer of the group, as people write it for throughput; ends with the peer. */
  consume(handler: Handler): Promise<void>;
  /** The same where each confirmation is to be seen. Default: as `consume`. */
  consumeOne?(handler: Handler): Promise<void>;
  /** Resolves when all that was handled is confirmed. Default: it is. */
  drain?(): Promise<void>;
  close(): Promise<void>;
}

const CONSUMERS = 4;
const IN_HAND = 256;
const KEYS = 10_000;
const keyOf = (number: number): string => customer(number, KEYS);
/** 100 bytes as JSON. */
const payload = (number: number): object => ({
  ...order(number),
  customer: keyOf(number),
  note: 'two of the small ones, one of the large one',
});

function hadron({ port, stream }: PeerLoad): Peer {
  const client = connect({ source: SOURCE, url: `http://127.0.0.1:${port}`, telemetry: false });
  const target = client.stream(stream);
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  return {
    // The caller makes the topic: a Stream and a topic are one thing.
    create: () => Promise.resolve(),
    publish: (number) => target.publish(TYPE, payload(number), { subject: keyOf(number) }),
    async consume({ handle, confirmed }) {
      // A handler's return is the ack. `drain` below waits until the last of them is confirmed.
      const options = { group: 'g', concurrency: IN_HAND, drainOnSigterm: false, signal: stop.signal };
      running = target.run(options, (m) => {
        const number = Number((m.data as { id: string }).id);
        handle(number);
        queueMicrotask(() => confirmed([number]));
      });
      await running;
    },
    async consumeOne({ handle, confirmed }) {
      for await (const m of target.consume({ group: 'g' })) {
        const number = Number((m.data as { id: string }).id);
        handle(number);
        void m.ack().then(() => confirmed([number]));
      }
    },
    async drain() {
      stop.abort();
      await running;
    },
    close: () => client.close(),
  };
}

async function nats({ port, stream }: PeerLoad): Promise<Peer> {
  const connection = await connectNats({ port });
  const js = jetstream(connection);
  const numberOf = (m: JsMsg): number => Number(m.json<{ id: string }>().id);
  return {
    async create() {
      const manager = await jetstreamManager(connection);
      await manager.streams.add({ name: stream, subjects: [stream] });
      const durable = { durable_name: 'g', ack_policy: AckPolicy.Explicit, max_ack_pending: CONSUMERS * IN_HAND };
      await manager.consumers.add(stream, durable);
    },
    publish: (number) => js.publish(stream, JSON.stringify(payload(number))),
    async consume({ handle, confirmed }) {
      const consumer = await js.consumers.get(stream, 'g');
      for await (const m of await consumer.consume({ max_messages: IN_HAND })) {
        const number = numberOf(m);
        handle(number);
        // `ackAck` waits for the server's answer; `ack` would only send.
        void m.ackAck().then(() => confirmed([number]));
      }
    },
    close: () => connection.close(),
  };
}

function redis({ port, stream }: PeerLoad): Peer {
  const publisher = new Redis({ port, enableAutoPipelining: true });
  const connections = [publisher];
  let closing = false;
  return {
    create: () => publisher.xgroup('CREATE', stream, 'g', '0', 'MKSTREAM').then(() => undefined),
    publish: (number) => publisher.xadd(stream, '*', 'data', JSON.stringify(payload(number))),
    async consume({ handle, confirmed }) {
      const connection = new Redis({ port });
      const name = `consumer-${connections.push(connection)}`;
      while (!closing) {
        const from = ['STREAMS', stream, '>'] as const;
        const answer = await connection.xreadgroup('GROUP', 'g', name, 'COUNT', IN_HAND, 'BLOCK', 500, ...from);
        const entries = (answer as [string, [string, string[]][]][] | null)?.[0]?.[1] ?? [];
        if (entries.length === 0) continue;
        const numbers = entries.map(([, fields]) => Number((JSON.parse(fields[1]!) as { id: string }).id));
        for (const number of numbers) handle(number);
        await connection.xack(stream, 'g', ...entries.map(([id]) => id));
        confirmed(numbers);
      }
    },
    async close() {
      closing = true;
      for (const connection of connections) connection.disconnect();
    },
  };
}

const open = async (load: PeerLoad): Promise<Peer> =>
  load.system === 'hadron' ? hadron(load) : load.system === 'nats' ? nats(load) : redis(load);

/** 1,024 events under way all the time. */
export async function peerPublish(load: PeerLoad): Promise<Figures> {
  const peer = await open(load);
  await peer.create();
  const latencies = new Latencies();
  let sending = true;
  let measuring = false;
  let number = 0;
  let answered = 0;
  const workers = Array.from({ length: 1024 }, async () => {
    while (sending) {
      const sentAt = performance.now();
      await peer.publish(number++);
      answered++;
      if (measuring) latencies.add(performance.now() - sentAt);
    }
  });
  await passed(1.5);
  const before = answered;
  measuring = true;
  const watch = new Stopwatch(load.pid);
  await passed(load.seconds);
  const figures = watch.stop(answered - before);
  measuring = false;
  sending = false;
  await Promise.all(workers);
  await peer.close();
  const { 'p50 µs': p50, 'p99 µs': p99 } = latencies.figures();
  return { ...figures, 'p50 µs': p50!, 'p99 µs': p99! };
}

/** A stream is filled for some seconds, then four consumers of one group empty it. */
export async function peerConsume(load: PeerLoad): Promise<Figures> {
  const filling = await open(load);
  await filling.create();
  let events = 0;
  const end = performance.now() + load.seconds * 2000;
  const enough = load.seconds * 60_000;
  const workers = Array.from({ length: 1024 }, async () => {
    while (performance.now() < end && events < enough) await filling.publish(events++);
  });
  await Promise.all(workers);
  const all = Promise.withResolvers<Stopwatch>();
  const warm = Math.floor(events / 4);
  let confirmed = 0;
  let counted = 0;
  let watch: Stopwatch | undefined;
  const seen = new Uint8Array(events);
  const handler: Handler = {
    handle: (number) => {
      seen[number] = (seen[number] as number) + 1;
    },
    confirmed: (numbers) => {
      confirmed += numbers.length;
      if (watch === undefined && confirmed >= warm) {
        watch = new Stopwatch(load.pid);
        counted = confirmed;
      }
      if (confirmed === events && watch !== undefined) all.resolve(watch);
    },
  };
  const peers = await Promise.all(Array.from({ length: CONSUMERS }, () => open(load)));
  for (const peer of peers) void peer.consume(handler).catch(all.reject);
  const stopwatch = await all.promise;
  for (const peer of peers) await peer.drain?.();
  const figures = stopwatch.stop(confirmed - counted);
  await Promise.all([filling, ...peers].map((peer) => peer.close()));
  if (seen.some((count) => count !== 1)) throw new Error('not every event came exactly once');
  return figures;
}

/** From publishing to the confirmed acknowledgement, 200 events a second. */
export async function peerLatency(load: PeerLoad): Promise<Figures> {
  const publisher = await open(load);
  await publisher.create();
  const consumer = await open(load);
  const stored = new Latencies();
  const done = new Latencies();
  const sentAt: number[] = [];
  const total = 200 * (load.seconds + 1);
  let confirmed = 0;
  const all = Promise.withResolvers<void>();
  const handler: Handler = {
    handle: () => undefined,
    confirmed: (numbers) => {
      const now = performance.now();
      for (const number of numbers) if (number >= 200) done.add(now - sentAt[number]!);
      confirmed += numbers.length;
      if (confirmed === total) all.resolve();
    },
  };
  void (consumer.consumeOne ?? consumer.consume)(handler).catch(all.reject);
  await passed(0.5);
  const startedAt = performance.now();
  for (let number = 0; number < total; number++) {
    await passed(Math.max(0, (startedAt + number * 5 - performance.now()) / 1000));
    const at = performance.now();
    sentAt.push(at);
    void publisher.publish(number).then(() => stored.add(performance.now() - at), all.reject);
  }
  await all.promise;
  await Promise.all([publisher.close(), consumer.close()]);
  return { ...done.figures(), 'stored p50 µs': stored.figures()['p50 µs']! };
}
