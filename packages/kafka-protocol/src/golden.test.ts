/**
 * Bytes that real clients and a real Kafka 4.3.1 broker exchanged (scripts/capture-golden.ts): decoded and encoded
 * again, they must not change by a bit.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { apiByKey } from './apis.ts';
import { CODEC_NAMES } from './compression/codecs.ts';
import { ApiKey, type ApiName } from './generated/apis.ts';
import { CODECS, type MessageCodec } from './generated/codecs.ts';
import type { ProduceRequest } from './generated/produce.ts';
import { batchCodec, batchRecordCount } from './records/batch-header.ts';
import { BatchProblem } from './records/batch-problem.ts';
import { recordsOf } from './records/record-cursor.ts';
import { validateBatch } from './records/validate-batch.ts';
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestHeader,
  encodeResponseHeader,
} from './wire/headers.ts';
import { Reader } from './wire/reader.ts';
import { Writer } from './wire/writer.ts';

const folder = join(import.meta.dirname, 'golden');
const files = readdirSync(folder).filter((name) => name.endsWith('.hex'));

interface Sample {
  readonly what: string;
  readonly key: number;
  readonly version: number;
  readonly direction: 'request' | 'response';
  readonly frame: Buffer;
}

function linesOf(file: string): string[] {
  return readFileSync(join(folder, file), 'utf8').split('\n');
}

function samplesOf(file: string): Sample[] {
  return linesOf(file)
    .filter((line) => line !== '' && !line.startsWith('batch '))
    .map((line) => {
      const [name, version, direction, hex] = line.split(' ') as [ApiName, string, Sample['direction'], string];
      const what = `${name} v${version} ${direction}`;
      return { what, key: ApiKey[name], version: Number(version), direction, frame: Buffer.from(hex, 'hex') };
    });
}

describe.each(files)('%s', (file) => {
  test.each(samplesOf(file))('$what', ({ key, version, direction, frame }) => {
    const codec = CODECS.get(key) as MessageCodec;
    const r = new Reader(frame);
    const w = new Writer();
    if (direction === 'request') {
      const header = decodeRequestHeader(r);
      expect([header.apiKey, header.apiVersion]).toEqual([key, version]);
      encodeRequestHeader(w, header);
      const request = codec.decodeRequest(r, version);
      codec.encodeRequest(w, request, version);
      if (key === ApiKey.Produce) expectGoodBatches(request as ProduceRequest);
    } else {
      const header = decodeResponseHeader(r, key, version);
      encodeResponseHeader(w, key, version, header.correlationId);
      codec.encodeResponse(w, codec.decodeResponse(r, version), version);
    }
    expect(w.takeBuffer().toString('hex')).toBe(frame.toString('hex'));
  });
});

function expectGoodBatches(request: ProduceRequest): void {
  for (const { partitionData } of request.topicData) {
    for (const { records } of partitionData) {
      expect(records).not.toBeNull();
      const batch = records as Buffer;
      expect(validateBatch(batch, 0, batch.length, {})).toBe(BatchProblem.NONE);
      for (const record of recordsOf(batch)) expect(record.timestamp).toBeGreaterThan(1_700_000_000_000);
    }
  }
}

/** What a client put into a batch, compressed in its own way. */
const batches = files.flatMap((file) =>
  linesOf(file)
    .filter((line) => line.startsWith('batch '))
    .map((line) => {
      const [, codec, , hex] = line.split(' ') as [string, string, string, string];
      return { client: file.replace('.hex', ''), codec, batch: Buffer.from(hex, 'hex') };
    }),
);

test.each(batches)('a batch made by $client with codec $codec is good', ({ codec, batch }) => {
  expect(CODEC_NAMES[batchCodec(batch, 0)]).toBe(codec);
  expect(validateBatch(batch, 0, batch.length, {})).toBe(BatchProblem.NONE);
  expect([...recordsOf(batch)].length).toBe(batchRecordCount(batch, 0));
});

test('the samples cover nearly everything that is served', () => {
  const seen = new Set(files.flatMap((file) => samplesOf(file).map((s) => s.what)));
  let all = 0;
  for (const key of CODECS.keys()) {
    const api = apiByKey(key);
    if (api !== undefined) all += 2 * (api.servedMax - api.servedMin + 1);
  }
  expect(seen.size).toBeGreaterThan(all * 0.95);
});
