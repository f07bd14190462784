/** What stands before a stream that takes nothing but CloudEvents (`hadron.events=required`, cloudevents.md §5.4). */
import { classifyRecord } from '@hadron/contracts/events';
import { RecordCursor } from '@hadron/kafka-protocol/records';

/** The first record of the validated batch at `b[at]` that is no CloudEvent, and why. */
export function firstPlainRecord(b: Buffer, at: number): { readonly index: number; readonly why: string } | undefined {
  const cursor = new RecordCursor();
  cursor.open(b, at);
  while (cursor.next()) {
    const { kind, problem } = classifyRecord({ key: cursor.key(), value: cursor.value(), headers: cursor.headers() });
    if (kind === 'plain') return { index: cursor.index, why: problem ?? 'it has no ce_ headers' };
  }
  return undefined;
}
