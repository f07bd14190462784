/** The stream `flights`, read and written by kafkajs, which knows nothing of Hadron: records are CloudEvents in Kafka's binary mode. */
import { randomUUID } from 'node:crypto';
import { type IHeaders, Kafka, logLevel } from 'kafkajs';

/** One record as the Kafka client sees it. */
export interface Seen {
  readonly partition: number;
  readonly offset: string;
  readonly key: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: string | undefined;
}

/** The first `count` records of a topic. */
export async function readRecords(brokers: string[], topic: string, count: number): Promise<Seen[]> {
  // #region read
  const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: `reader-${randomUUID()}` });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const records: Seen[] = [];
  await new Promise<void>((enough) => {
    void consumer.run({
      eachMessage: async ({ partition, message: { offset, key, headers, value } }) => {
        if (records.length === count) return;
        records.push({ partition, offset, key: key?.toString(), headers: text(headers), value: value?.toString() });
        if (records.length === count) enough();
      },
    });
  });
  await consumer.disconnect();
  // #endregion
  return records;
}

/** Produces a record that is a flight to every consumer of the stream. @returns the event's id */
export async function produceFlight(brokers: string[], topic: string): Promise<string> {
  const id = randomUUID();
  // #region produce
  const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  await producer.send({
    topic,
    messages: [
      {
        key: 'SJU', // what the subject is for events: flights of one airport keep their order
        headers: {
          ce_specversion: '1.0',
          ce_id: id,
          ce_source: '/kafkajs',
          ce_type: 'flight.departed',
          ce_subject: 'SJU',
          'content-type': 'application/json',
        },
        value: JSON.stringify({
          origin: 'SJU',
          destination: 'JFK',
          scheduled: '2001-04-01T08:00:00',
          delayMinutes: 4,
          distanceMiles: 1597,
        }),
      },
    ],
  });
  await producer.disconnect();
  // #endregion
  return id;
}

const text = (headers: IHeaders | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
