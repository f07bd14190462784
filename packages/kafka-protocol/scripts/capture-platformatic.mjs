/** A little of everything @platformatic/kafka can say, for capture-golden.ts: node capture-platformatic.mjs <broker> <topic> */
import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka';

const [broker, topic] = process.argv.slice(2);
const common = { clientId: 'golden', bootstrapBrokers: [broker] };

const admin = new Admin(common);
await admin.createTopics({ topics: [topic], partitions: 2, replicas: 1 });
for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  const producer = new Producer({ ...common, serializers: stringSerializers, idempotent: true });
  await producer.send({
    messages: [
      { topic, partition: 0, key: 'k1', value: 'v1', headers: { h: 'x' } },
      { topic, partition: 1, key: 'k2', value: 'v2'.repeat(30) },
    ],
    acks: -1,
    compression,
  });
  await producer.close();
}
const consumer = new Consumer({
  ...common,
  groupId: `g-${topic}`,
  deserializers: stringDeserializers,
  autocommit: false,
});
const stream = await consumer.consume({
  topics: [topic],
  mode: 'earliest',
  sessionTimeout: 10_000,
  heartbeatInterval: 200,
  maxWaitTime: 300,
});
let seen = 0;
for await (const message of stream) {
  await message.commit();
  if (++seen === 10) break;
}
await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0, 1] }] }).catch((e) => console.error(e.message));
await consumer.listOffsets({ topics: [topic] }).catch((e) => console.error(e.message));
await new Promise((resolve) => setTimeout(resolve, 500));
await consumer.close(true);
await admin.deleteTopics({ topics: [topic] });
await admin.close();
process.exit(0);
