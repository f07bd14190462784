import { Kafka } from 'kafkajs';

const kafka = new Kafka({ brokers: ['127.0.0.1:9092'] });

const producer = kafka.producer();
await producer.connect();
await producer.send({
  topic: 'fruit',
  messages: [
    { key: 'ann', value: '3 apples' },
    { key: 'bob', value: '1 pear' },
  ],
});
await producer.disconnect();

const consumer = kafka.consumer({ groupId: 'billing' });
await consumer.connect();
await consumer.subscribe({ topics: ['fruit'], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ partition, message }) => {
    console.log(partition, message.offset, message.key?.toString(), message.value?.toString());
  },
});
