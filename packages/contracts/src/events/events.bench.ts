/**
 * Nanoseconds per operation of the codec's hot ones. By hand: `node --conditions=hadron-source <this file>`; figures of
 * one machine stand in README.md.
 */
import { parseProtoEvent, writeProtoEvent } from '../proto/events.ts';
import { readHttpEvent, writeHttpHeaders } from './http.ts';
import { parseJsonBatch, parseJsonEvent, writeJsonBatch, writeJsonEvent } from './json.ts';
import { readRecord, RecordWriter, writeEventRecord } from './record-bytes.ts';
import { recordLookup, recordToEvent } from './record.ts';

const DATA = JSON.stringify({
  order: 4711,
  customer: 'acme',
  lines: [
    { sku: 'a-1', count: 2 },
    { sku: 'b-7', count: 1 },
  ],
  total: 129.9,
});
const RAW_HEADERS = [
  ...['Host', '127.0.0.1:7000', 'User-Agent', 'bench', 'Accept', '*/*', 'Connection', 'keep-alive'],
  ...['Content-Type', 'application/json', 'Content-Length', String(DATA.length)],
  ...['ce-specversion', '1.0', 'ce-id', '6b1f2a0e-77d1-4b8e-a6b5-0d7f3c1f9a11', 'ce-source', '/shop/orders'],
  ...['ce-type', 'order.placed', 'ce-subject', '4711', 'ce-time', '2026-01-31T23:59:59.123Z'],
];
const body = Buffer.from(DATA);
const event = readHttpEvent(RAW_HEADERS, body);
const json = Buffer.from(writeJsonEvent(event));
const batch = Buffer.from(writeJsonBatch(new Array<typeof event>(100).fill(event)));
const proto = writeProtoEvent(event);
const out = new RecordWriter(1 << 16);
writeEventRecord(out, event, 0, 0);
const slice = Buffer.from(out.view().subarray(2));
const record = readRecord(slice);
const context = {
  stream: 's',
  topicId: '6b1f2a0e-77d1-4b8e-a6b5-0d7f3c1f9a11',
  partition: 0,
  offset: 1,
  timestampMs: 1e12,
};
const plain = { key: Buffer.from('k'), value: body, headers: [] };

const operations: Readonly<Record<string, () => unknown>> = {
  'HTTP binary → event': () => readHttpEvent(RAW_HEADERS, body),
  'event → HTTP headers': () => writeHttpHeaders(event),
  'event → record bytes': () => {
    out.length = 0;
    writeEventRecord(out, event, 0, 0);
  },
  'record bytes → record': () => readRecord(slice),
  'record → event': () => recordToEvent(record, context),
  'record bytes → type, for a filter': () => recordLookup(readRecord(slice), context)('type'),
  'plain record → event': () => recordToEvent(plain, context),
  'JSON → event': () => parseJsonEvent(json),
  'event → JSON': () => writeJsonEvent(event),
  'event → JSON, with position': () => writeJsonEvent(event, { partition: 1, offset: 12345 }),
  'JSON batch of 100 → events': () => parseJsonBatch(batch),
  'protobuf → event': () => parseProtoEvent(proto),
  'event → protobuf': () => writeProtoEvent(event),
};

for (let round = 0; round < 3; round++)
  for (const [name, run] of Object.entries(operations)) {
    let count = 0;
    const started = performance.now();
    let ms = 0;
    do {
      for (let i = 0; i < 1000; i++) run();
      count += 1000;
      ms = performance.now() - started;
    } while (ms < 250);
    if (round === 2) console.log(`${name.padEnd(36)} ${((ms * 1e6) / count).toFixed(0).padStart(7)} ns`);
  }
