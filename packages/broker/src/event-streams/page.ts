/** Reads one page of a stream: as much as is there, up to the limits, fairly over its partitions. */
import type { EventLog, EventPartition } from '../ports/event-log.ts';
import { forEachRecord, sliceOf } from '../ports/read-records.ts';
import type { TailRecord } from './service.ts';

const READ_BYTES = 256 * 1024;

export interface PageLimit {
  readonly records: number;
  readonly bytes: number;
}

/**
 * Reads from `places` on and moves them behind what was read. Every partition that has something gets its share of
 * `limit.records`; what the others leave is given to the rest. One record at least, however long, if there is any.
 */
export async function readPage(
  log: EventLog,
  partitions: readonly EventPartition[],
  places: number[],
  limit: PageLimit,
): Promise<TailRecord[]> {
  const records: TailRecord[] = [];
  let bytes = 0;
  for (;;) {
    const left = limit.records - records.length;
    const behind = partitions.filter((p, i) => (places[i] as number) < p.visibleOffset);
    if (left <= 0 || bytes >= limit.bytes || behind.length === 0) return records;
    const share = Math.ceil(left / behind.length);
    for (const p of behind) {
      const at = partitions.indexOf(p);
      const most = Math.min(share, limit.records - records.length);
      if (most <= 0 || bytes >= limit.bytes) break;
      const from = Math.max(places[at] as number, p.startOffset);
      const read = await log.read(p, from, Math.min(READ_BYTES, Math.max(limit.bytes - bytes, 1)));
      let taken = 0;
      // Whatever was passed without a record of its own (control batches, holes) is behind us as well.
      let next = Math.max(read.nextOffset, from);
      try {
        forEachRecord(read, from, (record) => {
          if (taken === most || (records.length > 0 && bytes + record.body().length > limit.bytes)) {
            next = record.offset;
            if (taken < most) bytes = limit.bytes;
            return false;
          }
          taken++;
          bytes += record.body().length;
          records.push({ partition: p.index, offset: record.offset, record: sliceOf(record) });
          return true;
        });
      } finally {
        read.release();
      }
      places[at] = next;
    }
  }
}
