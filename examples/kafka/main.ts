/** `npm run example kafka`: the stream of `npm run example flights` for a Kafka client, and an event of that client for a group. */
import { connect } from '@hadron/client';
import { loadFlights } from '../flights/data.ts';
import { flightEvents } from '../flights/events.ts';
import { produceFlight, readRecords } from './both-ways.ts';

const RECORDS = 3;

// kafkajs computes a negative timeout now and then, and Node ≥ 24 warns of it.
process.removeAllListeners('warning');

const url = process.env['HADRON_URL'] ?? 'http://127.0.0.1:7000';
const { kafka } = (await (await fetch(`${url}/v1`)).json()) as { kafka: { host: string; port: number }[] };
const [address] = kafka;
const brokers = [`${address?.host}:${address?.port}`];

await using client = connect({ source: '/examples/kafka', url });
const stream = client.stream('flights', flightEvents);
const events = loadFlights()
  .slice(0, RECORDS)
  .map((data) => ({ type: 'flight.departed', data, subject: data.origin }) as const);
await stream.publishMany(events);

console.log(`The topic "flights" as kafkajs sees it on ${brokers}:`);
for (const { partition, offset, key, headers, value } of await readRecords(brokers, 'flights', RECORDS)) {
  console.log(`\n${partition}/${offset}  key ${key}`);
  for (const [name, text] of Object.entries(headers)) console.log(`  ${name.padEnd(14)} ${text}`);
  console.log(`  ${value}`);
}

const beforeIt = new Date();
const produced = await produceFlight(brokers, 'flights');
console.log('\nkafkajs has produced a record; the SDK has it as an event, typed and checked:');
for await (const m of stream.tail({ from: beforeIt })) {
  if (m.id !== produced) continue;
  console.log(
    `  ${m.source} ${m.type}: ${m.data.origin} to ${m.data.destination}, ${m.data.delayMinutes} minutes late`,
  );
  break;
}
console.log(`
With kcat:
  kcat -b ${brokers} -t flights -C -o beginning -c 3 -f '%k %s\\n%h\\n\\n'`);
