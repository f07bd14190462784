/** The common scenario with kafkajs 2.2.4 (unmaintained, everywhere). See ../README.md for the steps. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { compressionsAlgorithms } from '@platformatic/kafka';
import kafkajs, { type Consumer, type EachMessagePayload, type KafkaMessage, type Message } from 'kafkajs';
import { check, clientArguments, codecValues, largeValue, NotApplicable, step, until } from '../lib/client.ts';

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
const { bootstrap, prefix, partitions } = clientArguments();

// kafkajs brings gzip; the other codecs are plug-ins, taken here from the neighbour: raw snappy out, Xerial or raw in.
const { snappy, lz4 } = compressionsAlgorithms;
interface Encoder {
  buffer: Buffer;
}
function plugIn(type: number, compress: (bytes: Buffer) => Buffer, decompress: (bytes: Buffer) => Buffer): void {
  // The package's types know only numbers 1 to 4 that return any.
  (CompressionCodecs as Record<number, unknown>)[type] = () => ({
    compress: async (encoder: Encoder) => Buffer.from(compress(encoder.buffer)),
    decompress: async (bytes: Buffer) => Buffer.from(decompress(bytes)),
  });
}
plugIn(CompressionTypes.Snappy, snappy.compressSync, snappy.decompressSync);
plugIn(CompressionTypes.LZ4, lz4.compressSync, lz4.decompressSync);
plugIn(CompressionTypes.ZSTD, zstdCompressSync, zstdDecompressSync);

const kafka = new Kafka({ clientId: 'compat-kafkajs', brokers: [bootstrap], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
await admin.connect();

async function createTopic(name: string, numPartitions: number): Promise<string> {
  const topic = `${prefix}-${name}`;
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true });
  return topic;
}

async function produce(topic: string, messages: Message[], compression = CompressionTypes.None): Promise<void> {
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages, compression, acks: -1 });
  await producer.disconnect();
}

type Seen = KafkaMessage & { partition: number };

/** Reads `count` messages from the beginning with a group of one. */
async function readAll(topic: string, count: number): Promise<Seen[]> {
  const seen: Seen[] = [];
  const consumer = kafka.consumer({
    maxWaitTimeInMs: 200,
    groupId: `${topic}-reader`,
    maxBytesPerPartition: 2_000_000,
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message, partition }) => void seen.push({ ...message, partition }) });
  try {
    await until(`${count} messages, ${seen.length} so far`, () => seen.length >= count);
  } finally {
    await consumer.disconnect();
  }
  check(seen.length === count, `${seen.length} messages, expected ${count}`);
  return seen;
}

const codecs = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' } as const;
for (const [codec, name] of Object.entries(codecs)) {
  await step(`codec ${codec}`, async () => {
    const topic = await createTopic(`codec-${codec}`, 2);
    const values = codecValues(codec);
    await produce(
      topic,
      values.map((value, index) => ({ key: String(index), value })),
      CompressionTypes[name],
    );
    const got = (await readAll(topic, values.length)).map((message) => message.value!.toString());
    check(got.sort().join() === values.sort().join(), 'values differ');
    return `${values.length} records`;
  });
}

await step('headers', async () => {
  const topic = await createTopic('headers', 1);
  await produce(topic, [{ key: 'k', value: 'v', headers: { a: 'one', b: Buffer.from([0, 255]), empty: '' } }]);
  const [message] = await readAll(topic, 1);
  const headers = message!.headers!;
  check(String(headers['a']) === 'one' && String(headers['empty']) === '', 'text header');
  check(Buffer.from(headers['b'] as Buffer).equals(Buffer.from([0, 255])), 'binary header');
  return '3 headers';
});

await step('nulls', async () => {
  const topic = await createTopic('nulls', 1);
  await produce(topic, [
    { key: null, value: 'no key' },
    { key: 'tombstone', value: null },
    { key: '', value: '' },
  ]);
  const [noKey, tombstone, empty] = await readAll(topic, 3);
  check(noKey!.key === null && tombstone!.value === null, 'null lost');
  check(empty!.key?.length === 0 && empty!.value?.length === 0, 'empty is not null');
  return 'null key, null value, empty ones';
});

await step('large', async () => {
  const topic = await createTopic('large', 1);
  const value = largeValue();
  await produce(topic, [{ value }, { value: 'small' }]);
  const [large, small] = await readAll(topic, 2);
  check(large!.value!.equals(value) && String(small!.value) === 'small', 'value differs');
  return `${value.length} bytes`;
});

await step('seek by time', async () => {
  const topic = await createTopic('seek', 1);
  const base = Date.now() - 1_000_000;
  await produce(
    topic,
    Array.from({ length: 10 }, (_, index) => ({ value: String(index), timestamp: String(base + index * 1000) })),
  );
  const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, base + 4500);
  check(found!.offset === '5', `offset ${found!.offset}, expected 5`);
  const [past] = await admin.fetchTopicOffsetsByTimestamp(topic, Date.now() + 3_600_000);
  check(past!.offset === '10' || past!.offset === '-1', `past the end: ${past!.offset}`);
  return 'offset 5 of 10';
});

await step('idempotent', async () => {
  const topic = await createTopic('idempotent', 1);
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let i = 0; i < 20; i++) await producer.send({ topic, messages: [{ value: String(i) }] });
  await producer.disconnect();
  const got = (await readAll(topic, 20)).map((message) => String(message.value));
  check(
    got.every((value, index) => value === String(index)),
    'order lost',
  );
  return '20 sends in order';
});

await step('commit', async () => {
  const topic = await createTopic('commit', 1);
  await produce(
    topic,
    Array.from({ length: 10 }, (_, index) => ({ value: String(index) })),
  );
  const groupId = `${topic}-group`;
  const open = async (seen: string[]): Promise<Consumer> => {
    const consumer = kafka.consumer({ maxWaitTimeInMs: 200, groupId });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }: EachMessagePayload) => void seen.push(String(message.value)),
    });
    return consumer;
  };
  const first: string[] = [];
  const consumer = await open(first);
  await until('10 messages', () => first.length === 10);
  await consumer.commitOffsets([{ topic, partition: 0, offset: '4', metadata: 'note to self' }]);
  await consumer.disconnect();
  const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] });
  const partition = committed!.partitions[0]!;
  check(partition.offset === '4', `offset ${partition.offset}`);
  check(partition.metadata === 'note to self', `metadata ${String(partition.metadata)}`);
  const second: string[] = [];
  const resumed = await open(second);
  await until('6 messages', () => second.length === 6);
  await resumed.disconnect();
  check(second[0] === '4', `resumed at ${second[0]}`);
  return 'offset 4 with metadata, resumed there';
});

await step('group', async () => {
  const topic = await createTopic('group', 4);
  const groupId = `${topic}-group`;
  const seen = new Set<string>();
  const owned = new Map<string, number>();
  const join = async (name: string): Promise<Consumer> => {
    const consumer = kafka.consumer({ maxWaitTimeInMs: 200, groupId, sessionTimeout: 10_000, heartbeatInterval: 300 });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      owned.set(name, payload.memberAssignment[topic]?.length ?? 0);
    });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => void seen.add(String(message.value)) });
    return consumer;
  };
  const first = await join('first');
  await until('the first member to own 4', () => owned.get('first') === 4);
  const second = await join('second');
  await until('2 and 2', () => owned.get('first') === 2 && owned.get('second') === 2);
  const send = (from: number): Promise<void> =>
    produce(
      topic,
      Array.from({ length: 20 }, (_, index) => ({ key: String(from + index), value: String(from + index) })),
    );
  await send(0);
  await until('20 messages', () => seen.size === 20);
  await second.disconnect();
  await until('the first member to own 4 again', () => owned.get('first') === 4);
  await send(20);
  await until('40 messages', () => seen.size === 40);
  await first.disconnect();
  return '4 → 2+2 → 4 partitions, 40 records';
});

await step('static member', async () => {
  throw new NotApplicable('kafkajs has no static membership');
});

await step('admin', async () => {
  const topic = await createTopic('admin', 3);
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  check(topics[0]!.partitions.length === 3, `${topics[0]!.partitions.length} partitions`);
  check((await admin.listTopics()).includes(topic), 'not listed');
  await admin.deleteTopics({ topics: [topic] });
  await until('the topic to vanish', async () => !(await admin.listTopics()).includes(topic));
  return 'created with 3 partitions, listed, deleted';
});

await step('auto-create', async () => {
  const topic = `${prefix}-auto`;
  await produce(
    topic,
    Array.from({ length: 40 }, (_, index) => ({ key: String(index), value: String(index) })),
  );
  const messages = await readAll(topic, 40);
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const count = topics[0]!.partitions.length;
  check(partitions === 0 || count === partitions, `${count} partitions, expected ${partitions}`);
  return `${count} partitions, ${new Set(messages.map((message) => message.partition)).size} used`;
});

await admin.disconnect();
process.exit(0);
