/** From batches that were read to their records: decompressed where needed, without control records and what lies before. */
import { HadronError } from '@hadron/base';
import { batchIsControl, batchSizeBytes, ProtocolError, RecordCursor } from '@hadron/kafka-protocol/records';
import type { RecordSlice } from '../delivery/service.ts';
import type { ReadBatches } from './event-log.ts';

// One for all: nobody keeps it past the call that handed it out. A nested call gets its own.
let idle: RecordCursor | undefined = new RecordCursor();

/**
 * Calls `fn` for each record of `read` from offset `from` on, in order, until it returns false. The cursor and what its
 * methods give are valid within the call only; {@link sliceOf} copies.
 * @throws HadronError CORRUPT_DATA when a batch does not decompress
 */
export function forEachRecord(read: ReadBatches, from: number, fn: (record: RecordCursor) => boolean | void): void {
  const cursor = idle ?? new RecordCursor();
  idle = undefined;
  try {
    for (const part of read.parts) {
      for (let at = 0; at < part.length; at += batchSizeBytes(part, at)) {
        if (batchIsControl(part, at)) continue;
        cursor.open(part, at);
        while (cursor.next()) {
          if (cursor.offset >= from && fn(cursor) === false) return;
        }
      }
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new HadronError('CORRUPT_DATA', `a record batch cannot be read: ${error.message}`, { cause: error });
  } finally {
    idle = cursor;
  }
}

/** The record at the cursor, with memory of its own. */
export function sliceOf(record: RecordCursor): RecordSlice {
  return { bytes: Buffer.from(record.body()), timestampMs: record.timestamp };
}
