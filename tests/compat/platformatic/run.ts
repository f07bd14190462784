/** The common scenario with @platformatic/kafka. See ../README.md for the steps. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  Admin,
  type CompressionAlgorithmValue,
  Consumer,
  type Message,
  type MessagesStream,
  type MessageToProduce,
  Producer,
} from '@platformatic/kafka';
import { check, clientArguments, codecValues, largeValue, step, until } from '../lib/client.ts';

const { bootstrap, prefix, partitions } = clientArguments();
const base = { clientId: 'compat-platformatic', bootstrapBrokers: [bootstrap] };
type Bytes = Message<Buffer, Buffer, Buffer, Buffer>;
type Reader = Consumer<Buffer, Buffer, Buffer, Buffer>;

// As `run.ts … static-member TOPIC INSTANCE` this file is one static member that prints its assignment and waits.
const [, , , , , mode, memberTopic, instance] = process.argv;
if (mode === 'static-member') {
  const consumer = newConsumer(`${memberTopic}-group`, instance);
  await follow(consumer, memberTopic!, 'committed');
  consumer.on('consumer:group:join', print);
  function print(): void {
    const own = consumer.assignments?.flatMap((assignment) => assignment.partitions).sort() ?? [];
    process.stdout.write(`${JSON.stringify({ own, generation: consumer.generationId })}\n`);
  }
  print();
  await new Promise(() => setInterval(() => undefined, 1000));
}

function newConsumer(groupId: string, groupInstanceId?: string): Reader {
  return new Consumer({
    ...base,
    groupId,
    ...(groupInstanceId === undefined ? {} : { groupInstanceId }),
    sessionTimeout: 10_000,
    rebalanceTimeout: 10_000,
    heartbeatInterval: 300,
    maxWaitTime: 200,
    maxBytes: 4_000_000,
  });
}

function follow(
  consumer: Reader,
  topic: string,
  mode: 'earliest' | 'committed' = 'earliest',
): Promise<MessagesStream<Buffer, Buffer, Buffer, Buffer>> {
  return consumer.consume({ topics: [topic], mode, fallbackMode: 'earliest', autocommit: false });
}

const admin = new Admin(base);

async function createTopic(name: string, count: number): Promise<string> {
  const topic = `${prefix}-${name}`;
  await admin.createTopics({ topics: [topic], partitions: count, replicas: 1 });
  return topic;
}

const bytes = (text: string): Buffer => Buffer.from(text);

type Outgoing = MessageToProduce<Buffer, Buffer, Buffer, Buffer>;

async function produce(messages: Outgoing[], compression: CompressionAlgorithmValue = 'none'): Promise<void> {
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({ ...base, autocreateTopics: true });
  await producer.send({ messages, compression, acks: -1 });
  await producer.close();
}

async function readAll(topic: string, count: number): Promise<Bytes[]> {
  const consumer = newConsumer(`${topic}-reader`);
  const stream = await follow(consumer, topic);
  const seen: Bytes[] = [];
  stream.on('data', (message: Bytes) => seen.push(message));
  try {
    await until(`${count} messages`, () => seen.length >= count);
  } finally {
    await consumer.close(true);
  }
  check(seen.length === count, `${seen.length} messages, expected ${count}`);
  return seen;
}

for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
  await step(`codec ${codec}`, async () => {
    const topic = await createTopic(`codec-${codec}`, 2);
    const values = codecValues(codec);
    await produce(
      values.map((value, index) => ({ topic, key: bytes(String(index)), value: bytes(value) })),
      codec,
    );
    const got = (await readAll(topic, values.length)).map((message) => message.value.toString());
    check(got.sort().join() === values.sort().join(), 'values differ');
    return `${values.length} records`;
  });
}

await step('headers', async () => {
  const topic = await createTopic('headers', 1);
  const headers = new Map([
    [bytes('a'), bytes('one')],
    [bytes('b'), Buffer.from([0, 255])],
    [bytes('empty'), bytes('')],
  ]);
  await produce([{ topic, key: bytes('k'), value: bytes('v'), headers }]);
  const [message] = await readAll(topic, 1);
  const got = [...message!.headers].map(([key, value]) => `${key.toString()}=${value.toString('hex')}`).sort();
  check(got.join() === 'a=6f6e65,b=00ff,empty=', got.join());
  return '3 headers';
});

await step('nulls', async () => {
  const topic = await createTopic('nulls', 1);
  await produce([
    { topic, value: bytes('no key') },
    { topic, key: bytes('tombstone') },
  ]);
  const [noKey, tombstone] = await readAll(topic, 2);
  check((noKey!.key ?? null) === null, 'null key lost');
  check((tombstone!.value ?? null) === null, 'null value lost');
  return 'null key, null value';
});

await step('large', async () => {
  const topic = await createTopic('large', 1);
  const value = largeValue();
  await produce([
    { topic, value },
    { topic, value: bytes('small') },
  ]);
  const [large, small] = await readAll(topic, 2);
  check(large!.value.equals(value) && String(small!.value) === 'small', 'value differs');
  return `${value.length} bytes`;
});

await step('seek by time', async () => {
  const topic = await createTopic('seek', 1);
  const from = Date.now() - 1_000_000;
  await produce(
    Array.from({ length: 10 }, (_, i) => ({ topic, value: bytes(String(i)), timestamp: BigInt(from + i * 1000) })),
  );
  const consumer = newConsumer(`${topic}-reader`);
  try {
    const found = await consumer.listOffsetsWithTimestamps({ topics: [topic], timestamp: BigInt(from + 4500) });
    const at = found.get(topic)!.get(0)!;
    check(at.offset === 5n, `offset ${at.offset}, expected 5`);
    check(at.timestamp === BigInt(from + 5000), `timestamp ${at.timestamp}`);
    const past = await consumer.listOffsets({ topics: [topic], timestamp: BigInt(Date.now() + 3_600_000) });
    check(past.get(topic)![0] === -1n, `past the end: ${past.get(topic)![0]}`);
    const latestRecord = await consumer.listOffsets({ topics: [topic], timestamp: -3n });
    check(latestRecord.get(topic)![0] === 9n, `maximum timestamp: ${latestRecord.get(topic)![0]}`);
  } finally {
    await consumer.close();
  }
  return 'offset 5 of 10; −1 past the end; 9 by maximum timestamp';
});

await step('idempotent', async () => {
  const topic = await createTopic('idempotent', 1);
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({ ...base, idempotent: true });
  for (let i = 0; i < 20; i++) await producer.send({ messages: [{ topic, value: bytes(String(i)) }], acks: -1 });
  check(producer.producerId !== undefined, 'no producer id');
  await producer.close();
  const got = (await readAll(topic, 20)).map((message) => String(message.value));
  check(
    got.every((value, index) => value === String(index)),
    'order lost',
  );
  return '20 sends in order';
});

await step('commit', async () => {
  const topic = await createTopic('commit', 1);
  await produce(Array.from({ length: 10 }, (_, i) => ({ topic, value: bytes(String(i)) })));
  const groupId = `${topic}-group`;
  const consumer = newConsumer(groupId);
  const seen: Bytes[] = [];
  (await follow(consumer, topic)).on('data', (message: Bytes) => seen.push(message));
  await until('10 messages', () => seen.length === 10);
  await consumer.commit({ offsets: [{ topic, partition: 0, offset: 4n, leaderEpoch: seen[3]!.leaderEpoch }] });
  const committed = await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0] }] });
  check(committed.get(topic)![0] === 4n, `offset ${committed.get(topic)![0]}`);
  await consumer.close(true);
  const resumed = newConsumer(groupId);
  const again: string[] = [];
  (await follow(resumed, topic, 'committed')).on('data', (message: Bytes) => again.push(String(message.value)));
  await until('6 messages', () => again.length === 6);
  await resumed.close(true);
  check(again[0] === '4', `resumed at ${again[0]}`);
  return 'offset 4, resumed there (this client sends no metadata)';
});

await step('group', async () => {
  const topic = await createTopic('group', 4);
  const groupId = `${topic}-group`;
  const seen = new Set<string>();
  const owned = (consumer: Reader): number =>
    consumer.assignments?.reduce((sum, assignment) => sum + assignment.partitions.length, 0) ?? 0;
  const join = async (): Promise<Reader> => {
    const consumer = newConsumer(groupId);
    (await follow(consumer, topic, 'committed')).on('data', (message: Bytes) => seen.add(String(message.value)));
    return consumer;
  };
  const first = await join();
  await until('the first member to own 4', () => owned(first) === 4);
  const second = await join();
  await until('2 and 2', () => owned(first) === 2 && owned(second) === 2);
  const send = (from: number): Promise<void> =>
    produce(
      Array.from({ length: 20 }, (_, i) => ({ topic, key: bytes(String(from + i)), value: bytes(String(from + i)) })),
    );
  await send(0);
  await until('20 messages', () => seen.size === 20);
  await second.close(true);
  await until('the first member to own 4 again', () => owned(first) === 4);
  await send(20);
  await until('40 messages', () => seen.size === 40);
  await first.close(true);
  return '4 → 2+2 → 4 partitions, 40 records';
});

await step('static member', async () => {
  const topic = await createTopic('static', 4);
  // This client says LeaveGroup when it closes, also as a static member; so the restart is a killed process.
  const members: ChildProcess[] = [];
  const start = (
    name: string,
  ): { last: () => { own: number[]; generation: number } | undefined; child: ChildProcess } => {
    const child = spawn(process.execPath, [...process.argv.slice(1, 5), 'static-member', topic, name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    members.push(child);
    let last: { own: number[]; generation: number } | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().trim().split('\n')) last = JSON.parse(line) as typeof last;
    });
    return { last: () => last, child };
  };
  try {
    const one = start('one');
    await until('member one', () => one.last()?.own.length === 4);
    const two = start('two');
    await until('2 and 2', () => one.last()?.own.length === 2 && two.last()?.own.length === 2);
    const before = two.last()!;
    two.child.kill('SIGKILL');
    await once(two.child, 'exit');
    const again = start('two');
    await until('member two again', () => again.last() !== undefined);
    const after = again.last()!;
    check(after.own.join() === before.own.join(), `assignment ${before.own.join()} became ${after.own.join()}`);
    check(after.generation === before.generation, `generation ${before.generation} became ${after.generation}`);
    check(one.last()!.generation === before.generation, 'the other member was rebalanced');
    return `killed and back: partitions ${after.own.join()} and generation ${after.generation} kept`;
  } finally {
    for (const child of members) child.kill('SIGKILL');
  }
});

await step('admin', async () => {
  const topic = await createTopic('admin', 3);
  const metadata = await admin.metadata({ topics: [topic], forceUpdate: true });
  const count = metadata.topics.get(topic)!.partitionsCount;
  check(count === 3, `${count} partitions`);
  check(metadata.topics.get(topic)!.id !== '00000000-0000-0000-0000-000000000000', 'no topic id');
  check((await admin.listTopics()).includes(topic), 'not listed');
  await admin.deleteTopics({ topics: [topic] });
  await until('the topic to vanish', async () => !(await admin.listTopics()).includes(topic));
  return 'created with 3 partitions, listed, deleted';
});

await step('auto-create', async () => {
  const topic = `${prefix}-auto`;
  await produce(Array.from({ length: 40 }, (_, i) => ({ topic, key: bytes(String(i)), value: bytes(String(i)) })));
  const messages = await readAll(topic, 40);
  const count = (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)!.partitionsCount;
  check(partitions === 0 || count === partitions, `${count} partitions, expected ${partitions}`);
  return `${count} partitions, ${new Set(messages.map((message) => message.partition)).size} used`;
});

await admin.close();
process.exit(0);
