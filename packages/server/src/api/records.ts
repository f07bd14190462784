/** Records of the log as events in JSON, as far as all answers share it. */
import type { OutgoingDelivery, RecordSlice, TailRecord } from '@hadron/broker';
import type { CloudEvent, StreamInfo } from '@hadron/contracts';
import { readRecord, recordToEvent, writeJsonEvent, writeJsonLine } from '@hadron/contracts/events';

/** The stream that records are of: what events without attributes of their own are named by. */
export type Origin = Pick<StreamInfo, 'name' | 'topicId' | 'records'>;

export function eventAt(origin: Origin, partition: number, offset: number, record: RecordSlice): CloudEvent {
  const { bytes, timestampMs } = record;
  return recordToEvent(readRecord(bytes), {
    stream: origin.name,
    topicId: origin.topicId,
    partition,
    offset,
    timestampMs,
    settings: origin.records,
  });
}

/** On one line, with its position as extensions. */
export function lineOf(origin: Origin, at: TailRecord): string {
  return writeJsonLine(eventAt(origin, at.partition, at.offset, at.record), at);
}

/** A page as a batch, each event with its position. */
export function batchOf(origin: Origin, records: readonly TailRecord[]): string {
  return `[${records.map((at) => writeJsonEvent(eventAt(origin, at.partition, at.offset, at.record), at)).join(',')}]`;
}

/** `[{"token", …, "event"}]`, as pull and sessions give them. The event is as it was published. */
export function deliveriesOf(origin: Origin, deliveries: readonly OutgoingDelivery[]): string {
  let out = '[';
  for (const { token, partition, offset, attempt, redrive, lane, record } of deliveries) {
    if (out.length > 1) out += ',';
    out += `{"token":${JSON.stringify(token)},"partition":${partition},"offset":${offset},"attempt":${attempt}`;
    out += `,"redrive":${redrive},${lane === undefined ? '' : `"lane":${JSON.stringify(lane)},`}`;
    out += `"timestampMs":${record.timestampMs},"event":${writeJsonLine(eventAt(origin, partition, offset, record))}}`;
  }
  return `${out}]`;
}
