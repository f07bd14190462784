/**
 * What the hot paths cost: node --conditions=hadron-source packages/kafka-protocol/scripts/bench.ts
 * Budget: well below 1 µs for the four message rows; several GB/s for validating batches of 100-byte records.
 */
import {
  ApiKey,
  computeBatchCrc,
  decodeFetchRequest,
  decodeProduceRequest,
  decodeRequestHeader,
  encodeBatch,
  encodeFetchRequest,
  encodeFetchResponse,
  encodeProduceRequest,
  encodeProduceResponse,
  encodeRequestHeader,
  encodeResponseHeader,
  makeFetchRequest,
  makeFetchRequestPartition,
  makeFetchRequestTopic,
  makeFetchResponse,
  makeFetchResponsePartition,
  makeFetchResponseTopic,
  makeProduceRequest,
  makeProduceRequestPartition,
  makeProduceRequestTopic,
  makeProduceResponse,
  makeProduceResponsePartition,
  makeProduceResponseTopic,
  Reader,
  RecordCursor,
  validateBatch,
  Writer,
} from '../src/index.ts';

function measure(name: string, bytes: number, run: () => void): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round++) {
    const from = performance.now();
    let n = 0;
    for (; performance.now() - from < 60; n += 100) for (let i = 0; i < 100; i++) run();
    best = Math.min(best, ((performance.now() - from) * 1e6) / n);
  }
  const rate = bytes === 0 ? '' : `${(bytes / best).toFixed(2).padStart(8)} GB/s`;
  console.log(`${name.padEnd(48)} ${best.toFixed(0).padStart(8)} ns${rate}`);
}

const records = (n: number, size: number, stepMs: number): { timestamp: number; value: Buffer }[] =>
  Array.from({ length: n }, (_, i) => ({ timestamp: 1_760_000_000_000 + i * stepMs, value: Buffer.alloc(size, i) }));

for (const [title, n, size, step] of [
  ['1 record of 100 B', 1, 100, 0],
  ['150 records of 100 B', 150, 100, 0],
  ['1000 records of 100 B', 1000, 100, 0],
  ['1000 records of 100 B over 10 s', 1000, 100, 10],
  ['1000 records of 10 B', 1000, 10, 0],
  ['16 records of 1 KiB', 16, 1024, 0],
] as const) {
  const batch = encodeBatch(records(n, size, step));
  measure(`validateBatch, ${title}`, batch.length, () => {
    if (validateBatch(batch, 0, batch.length, {}) !== 0) throw new Error('not good');
  });
}
const batch = encodeBatch(records(1000, 100, 0));
measure('  of which CRC-32C, 1000 records of 100 B', batch.length, () => void computeBatchCrc(batch, 0));
const cursor = new RecordCursor();
measure('RecordCursor over 1000 records of 100 B', batch.length, () => {
  cursor.open(batch);
  while (cursor.next());
});
for (const codec of [1, 2, 3, 4]) {
  const compressed = encodeBatch(records(150, 100, 0), { codec });
  measure(
    `validateBatch, 150 records of 100 B, codec ${codec}`,
    0,
    () => void validateBatch(compressed, 0, compressed.length, {}),
  );
}
const hundred = records(100, 100, 1);
measure('encodeBatch, 100 records of 100 B', 10_000, () => void encodeBatch(hundred));

const w = new Writer();
const r = new Reader(Buffer.alloc(0));
const one = encodeBatch(records(1, 100, 0));
for (const version of [7, 9]) {
  const partitionData = [makeProduceRequestPartition({ index: 3, records: one })];
  const request = makeProduceRequest({
    acks: -1,
    timeoutMs: 30_000,
    topicData: [makeProduceRequestTopic({ name: 'bench-topic-1', partitionData })],
  });
  encodeRequestHeader(w, { apiKey: ApiKey.Produce, apiVersion: version, correlationId: 1, clientId: 'rdkafka' });
  encodeProduceRequest(w, request, version);
  const bytes = w.takeBuffer();
  measure(`Produce v${version} request: header and body`, 0, () => {
    decodeRequestHeader(r.reset(bytes));
    decodeProduceRequest(r, version);
  });
  measure(`Produce v${version} response: frame, header, body`, 0, () => {
    const partition = makePlainProducePartition();
    w.beginFrame();
    encodeResponseHeader(w, ApiKey.Produce, version, 1);
    encodeProduceResponse(
      w,
      makeProduceResponse({
        responses: [makeProduceResponseTopic({ name: 'bench-topic-1', partitionResponses: [partition] })],
      }),
      version,
    );
    w.endFrame();
    w.takeParts();
  });
}
function makePlainProducePartition() {
  return makeProduceResponsePartition({ index: 3, baseOffset: 123_456, logStartOffset: 0 });
}
for (const version of [11, 16]) {
  const topic = version < 13 ? { topic: 'bench-topic-1' } : { topicId: '00112233445566778899aabbccddeeff' };
  const partitions = [makeFetchRequestPartition({ partition: 1, fetchOffset: 55, partitionMaxBytes: 1 << 20 })];
  const request = makeFetchRequest({
    maxWaitMs: 500,
    minBytes: 1,
    topics: [makeFetchRequestTopic({ ...topic, partitions })],
  });
  encodeRequestHeader(w, { apiKey: ApiKey.Fetch, apiVersion: version, correlationId: 1, clientId: 'rdkafka' });
  encodeFetchRequest(w, request, version);
  const bytes = w.takeBuffer();
  measure(`Fetch v${version} request: header and body`, 0, () => {
    decodeRequestHeader(r.reset(bytes));
    decodeFetchRequest(r, version);
  });
  const fetched = makeFetchResponsePartition({
    partitionIndex: 3,
    highWatermark: 123_456,
    records: batch,
    abortedTransactions: null,
  });
  const response = makeFetchResponse({ responses: [makeFetchResponseTopic({ ...topic, partitions: [fetched] })] });
  measure(`Fetch v${version} response: frame, header, body, slice`, 0, () => {
    w.beginFrame();
    encodeResponseHeader(w, ApiKey.Fetch, version, 1);
    encodeFetchResponse(w, response, version);
    w.endFrame();
    w.takeParts();
  });
}
