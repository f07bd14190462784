/** Events out: sessions of a group that acknowledge all they get, over calls of their own and through the SDK. */
import { connect, type EventToPublish } from '@hadron/client';
import type { GroupRequest } from '@hadron/contracts';
import {
  type ConsumeRequest,
  type ConsumeResponse,
  decodeConsumeResponse,
  decodePublishResponse,
  encodeConsumeRequest,
  encodePublishRequest,
  writeProtoEvent,
} from '@hadron/contracts/protobuf';
import { customer, order, orders, SOURCE, TYPE } from './events.ts';
import { framed, openConnection, RawCall } from './grpc.ts';
import { type Figures, Latencies, Stopwatch } from './measure.ts';
import { passed } from './publish.ts';

export interface ConsumeLoad {
  readonly url: string;
  readonly pid: number;
  readonly stream: string;
  readonly group: string;
  readonly settings: GroupRequest;
  readonly sessions: number;
  /** Deliveries that one session may have in hand. */
  readonly credit: number;
  /** Events that are stored; the first `warm` of them are not measured. */
  readonly events: number;
  readonly warm: number;
}

export interface FillLoad {
  readonly url: string;
  readonly stream: string;
  readonly events: number;
  readonly keys: number;
  /** Groups get them so much later. */
  readonly delayMs?: number;
}

/** Puts events into a stream. */
export async function fill(load: FillLoad): Promise<Figures> {
  const client = connect({ source: SOURCE, url: load.url, telemetry: false });
  let number = 0;
  const source = function* (): Iterable<EventToPublish> {
    for (; number < load.events; number++) {
      yield { type: TYPE, data: order(number), subject: customer(number, load.keys), delay: load.delayMs };
    }
  };
  await client.stream(load.stream).publishMany(source());
  await client.close();
  return { events: number };
}

const send = (call: RawCall, message: ConsumeRequest): void => call.write(framed(encodeConsumeRequest, message));

/** Each message of deliveries is acknowledged by one of answers. Checks that lanes keep their order and nothing is lost. */
export async function consumeRaw(load: ConsumeLoad): Promise<Figures> {
  const settled = Promise.withResolvers<Figures>();
  const lanes = new Map<string, number>();
  let watch: Stopwatch | undefined;
  let delivered = 0;
  let acked = 0;
  const take = (call: RawCall, message: ConsumeResponse): void => {
    if (message.kind === 'deliveries') {
      const { deliveries } = message;
      for (const { lane, partition, offset } of deliveries) {
        const name = lane ?? `${partition}`;
        const before = lanes.get(name);
        if (before !== undefined && before >= offset)
          settled.reject(new Error(`lane ${name}: ${offset} after ${before}`));
        lanes.set(name, offset);
      }
      delivered += deliveries.length;
      const items = deliveries.map(({ token }) => ({ token, verdict: { kind: 'ack' as const } }));
      send(call, { kind: 'answers', answers: { sequence: 1, items } });
      send(call, { kind: 'credit', credit: deliveries.length });
    } else if (message.kind === 'answered') {
      for (const result of message.answered.results) if (!result.ok) settled.reject(new Error(result.message));
      acked += message.answered.results.length;
      if (watch === undefined && acked >= load.warm) {
        watch = new Stopwatch(load.pid);
        counted = acked;
      }
      if (acked === load.events && watch !== undefined) settled.resolve(watch.stop(acked - counted));
    }
  };
  let counted = 0;
  const connections = Array.from({ length: load.sessions }, () => openConnection(load.url));
  const calls = connections.map((connection) => {
    const call: RawCall = new RawCall(connection, 'Consume', (bytes) => take(call, decodeConsumeResponse(bytes)));
    void call.ended.then((status) => settled.reject(new Error(`a session ended with ${status}`)));
    const { stream, group, settings, credit } = load;
    send(call, { kind: 'open', open: { stream, group, settingsJson: JSON.stringify(settings), credit } });
    return call;
  });
  const figures = await settled.promise;
  await Promise.all(calls.map((call) => call.end()));
  for (const connection of connections) connection.close();
  if (delivered !== load.events) throw new Error(`${delivered} deliveries of ${load.events} events`);
  return figures;
}

/** `run` with a handler that does nothing; `credit` is its concurrency. */
export async function consumeSdk(load: ConsumeLoad): Promise<Figures> {
  const clients = Array.from({ length: load.sessions }, () =>
    connect({ source: SOURCE, url: load.url, telemetry: false }),
  );
  const { group, settings, credit: concurrency } = load;
  const failed: string[] = [];
  let handled = 0;
  let counted = 0;
  let watch: Stopwatch | undefined;
  const all = Promise.withResolvers<Figures>();
  const stop = new AbortController();
  const onError = (error: Error): void => void failed.push(error.message);
  const { ordering, window } = settings;
  const options = { group, ordering, window, concurrency, onError, signal: stop.signal, drainOnSigterm: false };
  const runs = clients.map((client) =>
    client.stream(load.stream).run(options, () => {
      handled++;
      if (watch === undefined && handled >= load.warm) {
        watch = new Stopwatch(load.pid);
        counted = handled;
      }
      if (handled === load.events && watch !== undefined) all.resolve(watch.stop(handled - counted));
    }),
  );
  const figures = await all.promise;
  stop.abort();
  await Promise.all(runs);
  const { counts } = await clients[0]!.admin.group(load.stream, group);
  await Promise.all(clients.map((client) => client.close()));
  if (failed.length > 0 || counts.acked !== load.events)
    throw new Error(`${counts.acked} of ${load.events} acknowledged; ${failed.length} failed: ${failed[0] ?? ''}`);
  return figures;
}

export interface LatencyLoad {
  readonly url: string;
  readonly pid: number;
  readonly stream: string;
  readonly group: string;
  readonly perSecond: number;
  readonly seconds: number;
  readonly warmSeconds: number;
}

/**
 * From sending an event to knowing that its acknowledgement is durable, at a steady rate. Timed from when it is sent, not
 * from when it was due: Node's timers come up to a millisecond late, and that is no time of the server's.
 */
export async function latencyRaw(load: LatencyLoad): Promise<Figures> {
  const { url, stream, group } = load;
  const [event] = orders(1, 1);
  const message = framed(encodePublishRequest, {
    sequence: 1,
    stream,
    events: [writeProtoEvent(event!)],
    recordBatch: undefined,
    partition: 0,
    atomic: false,
  });
  const sentAt: number[] = [];
  const stored = new Latencies();
  const seen = new Latencies();
  const done = new Latencies();
  const warm = load.perSecond * load.warmSeconds;
  /** Deliveries in the order of their answers. */
  const answering: number[][] = [];
  let published = 0;
  let acked = 0;
  const publishing = openConnection(url);
  const publish = new RawCall(publishing, 'Publish', (bytes) => {
    const { error } = decodePublishResponse(bytes);
    if (error !== undefined) throw new Error(error.message);
    if (published >= warm) stored.add(performance.now() - sentAt[published]!);
    published++;
  });
  const opened = Promise.withResolvers<void>();
  const consuming = openConnection(url);
  const call: RawCall = new RawCall(consuming, 'Consume', (bytes) => {
    const response = decodeConsumeResponse(bytes);
    const now = performance.now();
    if (response.kind === 'opened') opened.resolve();
    else if (response.kind === 'deliveries') {
      const { deliveries } = response;
      answering.push(deliveries.map(({ offset }) => offset));
      for (const { offset } of deliveries) if (offset >= warm) seen.add(now - sentAt[offset]!);
      const items = deliveries.map(({ token }) => ({ token, verdict: { kind: 'ack' as const } }));
      send(call, { kind: 'answers', answers: { sequence: 1, items } });
      send(call, { kind: 'credit', credit: deliveries.length });
    } else if (response.kind === 'answered') {
      for (const offset of answering.shift()!) {
        acked++;
        if (offset >= warm) done.add(now - sentAt[offset]!);
      }
    }
  });
  const settingsJson = JSON.stringify({ ordering: 'none' });
  send(call, { kind: 'open', open: { stream, group, settingsJson, credit: 10_000 } });
  await opened.promise;
  const total = await atRate(load, () => {
    sentAt.push(performance.now());
    publish.write(message);
  });
  await until(() => acked === total);
  await Promise.all([publish.end(), call.end()]);
  publishing.close();
  consuming.close();
  return {
    ...done.figures(),
    'stored p50 µs': stored.figures()['p50 µs']!,
    'handler p50 µs': seen.figures()['p50 µs']!,
  };
}

export async function latencySdk(load: LatencyLoad): Promise<Figures> {
  const client = connect({ source: SOURCE, url: load.url, telemetry: false });
  const stream = client.stream(load.stream);
  const sentAt: number[] = [];
  const done = new Latencies();
  const warm = load.perSecond * load.warmSeconds;
  let acked = 0;
  const failures: unknown[] = [];
  const messages = stream.consume({ group: load.group, ordering: 'none', concurrency: 10_000 });
  const handle = async (m: { data: unknown; ack(): Promise<void> }): Promise<void> => {
    await m.ack();
    acked++;
    const number = Number((m.data as { id: string }).id);
    if (number >= warm) done.add(performance.now() - sentAt[number]!);
  };
  const consuming = (async () => {
    for await (const m of messages) void handle(m).catch((error: unknown) => failures.push(error));
  })();
  await stream.publish(TYPE, order(0)).then(() => sentAt.push(performance.now()));
  await until(() => acked === 1);
  const total = await atRate(load, () => {
    const number = sentAt.push(performance.now()) - 1;
    void stream.publish(TYPE, order(number), { subject: customer(number, 1000) }).catch((error: unknown) => {
      failures.push(error);
    });
  });
  await until(() => acked === total + 1 || failures.length > 0);
  await client.close();
  await consuming;
  if (failures.length > 0) throw new Error(`${failures.length} failed: ${String(failures[0])}`);
  return done.figures();
}

/** Calls `send` at a steady rate. @returns how often */
async function atRate({ perSecond, seconds, warmSeconds }: LatencyLoad, send: () => void): Promise<number> {
  const total = perSecond * (seconds + warmSeconds);
  const startedAt = performance.now();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * perSecond));
    for (; sent < due; sent++) send();
    await passed(0.001);
  }
  return total;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('not all events came back within 20 s');
    await passed(0.01);
  }
}
