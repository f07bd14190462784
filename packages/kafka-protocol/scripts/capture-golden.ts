/**
 * Records what real clients and a real Kafka broker say to each other, as golden bytes for the codec tests.
 *
 *     node --conditions=hadron-source packages/kafka-protocol/scripts/capture-golden.ts \
 *       --listen 39192 --broker 127.0.0.1:39092 --out packages/kafka-protocol/src/golden/java-4.3.1.hex [--lower 3]
 *
 * It is a proxy: point the client at --listen, and let the broker advertise that address. The ApiVersions response is
 * narrowed to what Hadron advertises, and `--lower n` takes n more off every maximum, so that a client can be made to
 * speak every version it knows. SIGTERM writes the file, adding to what is there: the shortest message of each API,
 * version and direction, and one record batch of each codec. A line is
 *
 *     Fetch 12 response <hex of the frame without its length>
 *     batch lz4 produced <hex of the batch>
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import {
  ApiKey,
  apiByKey,
  batchCodec,
  CODEC_NAMES,
  CODECS,
  decodeApiVersionsResponse,
  decodeProduceRequest,
  decodeRequestHeader,
  encodeApiVersionsResponse,
  isServed,
  Reader,
  Writer,
} from '../src/index.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '39192' },
    broker: { type: 'string', default: '127.0.0.1:39092' },
    out: { type: 'string', default: '' },
    lower: { type: 'string', default: '0' },
  },
});
const [brokerHost, brokerPort] = (values.broker as string).split(':');
const lower = Number(values.lower);

/** `Fetch 12 response` → hex. */
const golden = new Map<string, string>();
const out = values.out as string;
if (existsSync(out)) {
  for (const line of readFileSync(out, 'utf8').split('\n')) {
    const at = line.lastIndexOf(' ');
    if (at > 0) golden.set(line.slice(0, at), line.slice(at + 1));
  }
}

/** An empty array teaches less than a full one, but a long one teaches nothing more. */
const BYTES_WANTED = 120;

function keep(key: number, version: number, direction: string, frame: Buffer): void {
  if (!isServed(key, version) || frame.length > 3000) return;
  const name = `${apiByKey(key)?.name} ${version} ${direction}`;
  const before = golden.get(name);
  const score = (bytes: number): number => (bytes < BYTES_WANTED ? bytes : 1000 - bytes / 10_000);
  if (before === undefined || score(frame.length) > score(before.length / 2)) golden.set(name, frame.toString('hex'));
}

/** The record batches of a Produce request, one for each codec: `batch lz4 produced <hex>`. */
function keepBatches(frame: Buffer): void {
  const r = new Reader(frame);
  const { apiKey, apiVersion } = decodeRequestHeader(r);
  if (apiKey !== ApiKey.Produce || !isServed(apiKey, apiVersion)) return;
  for (const { partitionData } of decodeProduceRequest(r, apiVersion).topicData) {
    for (const { records } of partitionData) {
      if (records === null || records.length > 3000) continue;
      golden.set(`batch ${CODEC_NAMES[batchCodec(records, 0)]} produced`, records.toString('hex'));
    }
  }
}

/** Cuts a byte stream into frames; gives each without its length. */
function onFrames(socket: Socket, take: (frame: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const size = rest.readInt32BE(0);
      take(rest.subarray(4, 4 + size));
      rest = rest.subarray(4 + size);
    }
  });
}

function send(socket: Socket, frame: Buffer): void {
  const length = Buffer.alloc(4);
  length.writeInt32BE(frame.length);
  socket.write(Buffer.concat([length, frame]));
}

/** The response with our ranges in it; the broker's own where it is an error. */
function narrowed(frame: Buffer, version: number): Buffer {
  const response = decodeApiVersionsResponse(new Reader(frame, 4), version);
  if (response.errorCode !== 0) return frame;
  response.apiKeys = response.apiKeys.flatMap((entry) => {
    const api = apiByKey(entry.apiKey);
    if (api === undefined) return [];
    const maxVersion = Math.max(api.servedMin, api.advertisedMax - (entry.apiKey === ApiKey.ApiVersions ? 0 : lower));
    return [{ ...entry, minVersion: api.advertisedMin, maxVersion }];
  });
  response.finalizedFeatures = []; // keeps clients on the classic transaction protocol (R2.3)
  response.supportedFeatures = [];
  const w = new Writer();
  w.raw(frame.subarray(0, 4));
  encodeApiVersionsResponse(w, response, version);
  return w.takeBuffer();
}

const server = createServer((client) => {
  const broker = connect(Number(brokerPort), brokerHost as string);
  const pending: { key: number; version: number }[] = [];
  onFrames(client, (frame) => {
    const key = frame.readInt16BE(0);
    const version = frame.readInt16BE(2);
    keep(key, version, 'request', frame);
    keepBatches(frame);
    if (!CODECS.has(key)) console.log(`not recorded: key ${key} v${version}`);
    // acks = 0 has no response; the clients used here are not configured so
    pending.push({ key, version });
    send(broker, frame);
  });
  onFrames(broker, (frame) => {
    const { key, version } = pending.shift() as { key: number; version: number };
    keep(key, version, 'response', frame);
    send(client, key === ApiKey.ApiVersions && version <= 4 ? narrowed(frame, version) : frame);
  });
  const stop = (): void => {
    client.destroy();
    broker.destroy();
  };
  for (const socket of [client, broker]) socket.on('error', stop).on('close', stop);
});

server.listen(Number(values.listen), '127.0.0.1', () => console.log(`recording on ${values.listen}`));
process.on('SIGTERM', () => {
  const lines = [...golden].map(([what, hex]) => `${what} ${hex}`);
  lines.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  writeFileSync(out, `${lines.join('\n')}\n`);
  console.log(`${lines.length} messages`);
  process.exit(0);
});
