/** Events in: over one call with bytes made beforehand, and through the SDK. */
import { connect } from '@hadron/client';
import type { CloudEvent } from '@hadron/contracts';
import { BATCH_HEADER_BYTES, setBatchCrc, writeBatchHeader } from '@hadron/kafka-protocol/records';
import { RecordWriter, writeEventRecord } from '@hadron/contracts/events';
import { decodePublishResponse, encodePublishRequest, writeProtoEvent } from '@hadron/contracts/protobuf';
import { customer, order, orders, SOURCE, TYPE } from './events.ts';
import { framed, openConnection, RawCall, Ring } from './grpc.ts';
import { type Figures, Latencies, Stopwatch } from './measure.ts';

export interface PublishLoad {
  readonly url: string;
  readonly pid: number;
  readonly stream: string;
  readonly seconds: number;
  readonly warmSeconds: number;
  /** Requests sent and not answered. */
  readonly inFlight: number;
  /** Events of a request. */
  readonly eventsPer: number;
}

/** Events as `io.cloudevents.v1`, or where there are several in a request as one record batch. */
export async function publishRaw(load: PublishLoad): Promise<Figures> {
  const { stream, inFlight, eventsPer } = load;
  const events = orders(eventsPer === 1 ? 4096 : 6400, 1000);
  const ring = new Ring(
    Array.from({ length: events.length / eventsPer }, (_, i) =>
      eventsPer === 1
        ? framed(encodePublishRequest, { ...request, events: [writeProtoEvent(events[i] as CloudEvent)] })
        : framed(encodePublishRequest, {
            ...request,
            recordBatch: recordBatch(events.slice(i * eventsPer, (i + 1) * eventsPer)),
            partition: 0,
          }),
    ),
  );
  const latencies = new Latencies();
  const sentAt = new Float64Array(inFlight);
  let sent = 0;
  let answered = 0;
  let sending = true;
  let measuring = false;
  const failures: string[] = [];
  const connection = openConnection(load.url);
  const call = new RawCall(
    connection,
    'Publish',
    (bytes) => {
      const { error, results } = decodePublishResponse(bytes);
      const [first] = results;
      if (error !== undefined) failures.push(error.message);
      if (first !== undefined && 'error' in first) failures.push(first.error.message);
      if (measuring) latencies.add(performance.now() - (sentAt[answered % inFlight] as number));
      answered++;
    },
    () => fill(),
  );
  const fill = (): void => {
    const count = inFlight - (sent - answered);
    if (!sending || count === 0) return;
    const now = performance.now();
    for (let i = 0; i < count; i++) sentAt[(sent + i) % inFlight] = now;
    sent += count;
    for (const piece of ring.take(count)) call.write(piece);
  };
  // The stream is named once.
  const first = { ...request, stream, events: [writeProtoEvent(events[0] as CloudEvent)] };
  call.write(framed(encodePublishRequest, first));
  sentAt[0] = performance.now();
  sent++;
  await passed(load.warmSeconds);
  const before = answered;
  measuring = true;
  const watch = new Stopwatch(load.pid);
  await passed(load.seconds);
  const figures = watch.stop((answered - before) * eventsPer);
  measuring = false;
  sending = false;
  await call.end();
  connection.close();
  if (failures.length > 0 || answered !== sent)
    throw new Error(`${sent} sent, ${answered} answered, ${failures.length} refused: ${failures[0] ?? ''}`);
  return { ...figures, ...latencies.figures(), events: (answered - 1) * eventsPer + 1 };
}

const request = {
  sequence: 1,
  stream: '',
  events: undefined,
  recordBatch: undefined,
  partition: undefined,
  atomic: false,
};

function recordBatch(events: readonly CloudEvent[]): Uint8Array {
  const out = new RecordWriter(BATCH_HEADER_BYTES + events.length * 256);
  out.length = BATCH_HEADER_BYTES;
  events.forEach((event, i) => writeEventRecord(out, event, i, 0));
  const bytes = out.view();
  const nowMs = Date.now();
  writeBatchHeader(bytes, 0, {
    baseOffset: 0,
    sizeBytes: bytes.length,
    leaderEpoch: -1,
    attributes: 0,
    lastOffsetDelta: events.length - 1,
    baseTimestamp: nowMs,
    maxTimestamp: nowMs,
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    recordCount: events.length,
  });
  setBatchCrc(bytes, 0);
  return bytes;
}

/** As an application does it: an object in, a promise out. */
export async function publishSdk({ url, pid, stream, ...load }: PublishLoad): Promise<Figures> {
  const client = connect({ source: SOURCE, url, telemetry: false });
  const target = client.stream(stream);
  const latencies = new Latencies();
  let sending = true;
  let measuring = false;
  let answered = 0;
  let number = 0;
  const one = (): Promise<unknown> => {
    const subject = customer(number, 1000);
    return target.publish(TYPE, order(number++), { subject });
  };
  const many = (): Promise<unknown> =>
    target.publishMany(
      Array.from({ length: load.eventsPer }, () => {
        const subject = customer(number, 1000);
        return { type: TYPE, data: order(number++), subject };
      }),
    );
  const publish = load.eventsPer === 1 ? one : many;
  const workers = Array.from({ length: load.inFlight }, async () => {
    while (sending) {
      const sentAt = performance.now();
      await publish();
      answered += load.eventsPer;
      if (measuring) latencies.add(performance.now() - sentAt);
    }
  });
  await passed(load.warmSeconds);
  const before = answered;
  measuring = true;
  const watch = new Stopwatch(pid);
  await passed(load.seconds);
  const figures = watch.stop(answered - before);
  measuring = false;
  sending = false;
  await Promise.all(workers);
  await client.close();
  return { ...figures, ...latencies.figures(), events: answered };
}

export const passed = (seconds: number): Promise<void> => new Promise((done) => setTimeout(done, seconds * 1000));
