/** A little of everything kafkajs can say, for capture-golden.ts: node capture-kafkajs.mjs <broker> <topic> */
import { createRequire } from 'node:module';

const { CompressionTypes, Kafka, logLevel } = createRequire(import.meta.url)('kafkajs');
const [broker, topic] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [broker], clientId: 'golden', logLevel: logLevel.ERROR });

const admin = kafka.admin();
await admin.connect();
await admin.createTopics({
  topics: [{ topic, numPartitions: 2, configEntries: [{ name: 'retention.ms', value: '3600000' }] }],
  waitForLeaders: true,
});

for (const idempotent of [false, true]) {
  const producer = kafka.producer({ idempotent, maxInFlightRequests: 1 });
  await producer.connect();
  const messages = [
    { key: 'k1', value: 'v1', headers: { h: 'x', é: 'ü' } },
    { key: null, value: 'v2' },
    { key: 'k3', value: null },
  ];
  await producer.send({ topic, messages });
  await producer.send({ topic, messages, compression: CompressionTypes.GZIP });
  await producer.disconnect();
}

const consumer = kafka.consumer({ groupId: `g-${topic}`, sessionTimeout: 10_000 });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
let seen = 0;
await new Promise((resolve) => {
  consumer.run({
    eachMessage: async () => {
      if (++seen === 12) resolve();
    },
  });
});
await consumer.commitOffsets([{ topic, partition: 0, offset: '3', metadata: 'märk' }]);
await consumer.disconnect();
await admin.fetchOffsets({ groupId: `g-${topic}`, topics: [topic] });
await admin.fetchTopicOffsets(topic);
await admin.fetchTopicOffsetsByTimestamp(topic, Date.now() - 1000);
await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1' }] });
await admin.deleteTopics({ topics: [topic] });
await admin.disconnect();
