/**
 * Record batches v2 as a log format: position = record offset, extent = number of offsets a batch covers.
 *
 * Bytes on disk are bytes on the wire. Base offset and leader epoch lie outside the batch's checksum and are patched in
 * place (kafka.md R5.1); nothing else is touched.
 */
import {
  BATCH_HEADER_BYTES,
  batchBaseOffset,
  batchCrc,
  batchLastOffsetDelta,
  batchMagic,
  batchMaxTimestamp,
  batchSizeBytes,
  computeBatchCrc,
  MAGIC,
  setBatchBaseOffset,
  setBatchLeaderEpoch,
} from '@hadron/kafka-protocol/records';
import type { LogFormat } from '@hadron/log';

export const recordFormat: LogFormat = {
  id: 1,
  name: 'records',
  headerBytes: BATCH_HEADER_BYTES,
  scan(b, at, end, unit) {
    if (end - at < BATCH_HEADER_BYTES || batchMagic(b, at) !== MAGIC) return false;
    const bytes = batchSizeBytes(b, at);
    const lastDelta = batchLastOffsetDelta(b, at);
    const position = batchBaseOffset(b, at);
    if (bytes < BATCH_HEADER_BYTES || lastDelta < 0 || !(position >= 0)) return false;
    unit.bytes = bytes;
    unit.position = position;
    unit.extent = lastDelta + 1;
    unit.maxTimestamp = batchMaxTimestamp(b, at);
    return true;
  },
  intact: (b, at, length) => length >= BATCH_HEADER_BYTES && batchCrc(b, at) === computeBatchCrc(b, at),
  place(b, at, length, position, epoch) {
    let next = position;
    for (let p = at; p < at + length; ) {
      setBatchBaseOffset(b, p, next);
      setBatchLeaderEpoch(b, p, epoch);
      next += batchLastOffsetDelta(b, p) + 1;
      p += batchSizeBytes(b, p);
    }
  },
};
