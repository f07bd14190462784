/** Records of the log as events in JSON, as far as all answers share it. */
import type { OutgoingDelivery, TailRecord } from '@hadron/broker';
import { eventAt, type RecordOrigin, writeJsonEvent, writeJsonLine } from '@hadron/contracts/events';

/** On one line, with its position as extensions. */
export function lineOf(origin: RecordOrigin, at: TailRecord): string {
  return writeJsonLine(eventAt(origin, at.partition, at.offset, at.record), at);
}

/** A page as a batch, each event with its position. */
export function batchOf(origin: RecordOrigin, records: readonly TailRecord[]): string {
  return `[${records.map((at) => writeJsonEvent(eventAt(origin, at.partition, at.offset, at.record), at)).join(',')}]`;
}

/** `[{"token", …, "event"}]`, as pull and sessions give them. The event is as it was published. */
export function deliveriesOf(origin: RecordOrigin, deliveries: readonly OutgoingDelivery[]): string {
  let out = '[';
  for (const { token, partition, offset, attempt, redrive, lane, record } of deliveries) {
    if (out.length > 1) out += ',';
    out += `{"token":${JSON.stringify(token)},"partition":${partition},"offset":${offset},"attempt":${attempt}`;
    out += `,"redrive":${redrive},${lane === undefined ? '' : `"lane":${JSON.stringify(lane)},`}`;
    out += `"timestampMs":${record.timestampMs},"event":${writeJsonLine(eventAt(origin, partition, offset, record))}}`;
  }
  return `${out}]`;
}
