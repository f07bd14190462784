/** §5.5.7 of cloudevents.md: docs/cloudevents-table.md says what these say (docs/generate.ts writes it from the same). */
import { expect, test } from 'vitest';
import { DIFFERENCES, inOutTable } from './in-out-table.ts';

test('every form in × every form out: equal, or a named difference', () => {
  const { out, rows } = inOutTable();
  expect(out).toEqual(['HTTP binary', 'structured', 'batch', 'gRPC protobuf', 'WebSocket', 'Kafka']);
  const json = ['types', 'space'];
  const cells = Object.fromEntries(rows.map((row) => [row.in, row.cells]));
  expect(cells).toEqual({
    'HTTP binary': [[], ['space'], ['space'], ['moment'], ['space'], []],
    'HTTP structured': [['types', 'empty'], [], [], ['moment'], [], []],
    'HTTP batch': [['types', 'empty'], [], [], ['moment'], [], []],
    'gRPC protobuf': [['types', 'empty'], json, json, [], json, []],
    WebSocket: [['types', 'empty'], [], [], ['moment'], [], []],
    'Kafka binary': [['types', 'empty'], json, json, ['moment'], json, []],
    'Kafka structured': [['types', 'empty'], [], [], ['moment'], [], []],
    'plain record': [['empty'], ['space'], ['space'], [], ['space'], []],
  });
  const used = new Set(rows.flatMap((row) => row.cells.flat()));
  expect([...used].sort()).toEqual(Object.keys(DIFFERENCES).sort());
});
