/** The committed code is what the generator makes of the schemas, and the tables say what the contract says (§2). */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { apiByKey, isServed, requestHeaderVersion, responseHeaderVersion } from './apis.ts';
import { KAFKA_ERRORS, KafkaError, isRetriable, kafkaErrorName } from './errors.ts';
import { API_TABLE, ApiKey } from './generated/apis.ts';
import { parseSchema } from './schemas/notation.ts';

test('src/generated is up to date', () => {
  const script = join(import.meta.dirname, '../scripts/generate.ts');
  execFileSync(process.execPath, ['--conditions=hadron-source', script, '--check'], { stdio: 'pipe' });
});

test('advertised ranges and first flexible versions', () => {
  const rows = API_TABLE.map((a) => `${a.key} ${a.name} ${a.advertisedMin}-${a.advertisedMax} flex ${a.flexibleMin}`);
  expect(rows).toEqual([
    '0 Produce 0-12 flex 9',
    '1 Fetch 4-16 flex 12',
    '2 ListOffsets 1-9 flex 6',
    '3 Metadata 0-13 flex 9',
    '8 OffsetCommit 2-9 flex 8',
    '9 OffsetFetch 1-9 flex 6',
    '10 FindCoordinator 0-6 flex 3',
    '11 JoinGroup 0-9 flex 6',
    '12 Heartbeat 0-4 flex 4',
    '13 LeaveGroup 0-5 flex 4',
    '14 SyncGroup 0-5 flex 4',
    '18 ApiVersions 0-4 flex 3',
    '19 CreateTopics 2-7 flex 5',
    '20 DeleteTopics 1-6 flex 4',
    '21 DeleteRecords 0-2 flex 2',
    '22 InitProducerId 0-5 flex 2',
    '37 CreatePartitions 0-3 flex 2',
  ]);
});

test('Produce is announced from 0 but served from 3 (R6)', () => {
  expect([2, 3, 12, 13].map((v) => isServed(ApiKey.Produce, v))).toEqual([false, true, true, false]);
});

test('keys that are not known', () => {
  for (const key of [-1, 4, 17, 99, 32767, Number.NaN]) {
    expect(apiByKey(key)).toBeUndefined();
    expect([requestHeaderVersion(key, 5), responseHeaderVersion(key, 5)]).toEqual([1, 0]);
  }
});

test('error codes: names, numbers, retriability', () => {
  expect(KafkaError.UNKNOWN_SERVER_ERROR).toBe(-1);
  expect(kafkaErrorName(79)).toBe('MEMBER_ID_REQUIRED');
  expect(kafkaErrorName(9999)).toBe('9999');
  expect([isRetriable(KafkaError.NOT_COORDINATOR), isRetriable(KafkaError.INVALID_RECORD)]).toEqual([true, false]);
  const codes = Object.values(KAFKA_ERRORS).map((e) => e.code);
  expect(codes).toEqual(Array.from({ length: codes.length }, (_, i) => i - 1)); // no gap, no double, in order
});

test('the notation refuses what it does not understand', () => {
  const schema = (line: string): string => `api 99 Test · serves 0-1\nrequest\n  ${line}\nresponse\n  ok bool\n`;
  expect(() => parseSchema(schema('good int32 1+ = -1 ignorable // fine'))).not.toThrow();
  for (const line of ['Bad int32', 'x', 'x int32 from 1', 'x Struct', 'x int32 1++']) {
    expect(() => parseSchema(schema(line)), line).toThrow();
  }
});
