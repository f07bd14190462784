/** From what a reader asks for (`from`, `partition`) to an offset in each partition it reads. */
import { HadronError } from '@hadron/base';
import type { EventLog, EventPartition, EventStream } from '../ports/event-log.ts';
import { outOfRange } from '../ports/refusals.ts';
import { decodeCursor } from './cursor.ts';
import type { TailFrom } from './service.ts';

/** The partitions that a reader reads. @throws HadronError REQUEST_INVALID */
export function selectedPartitions(stream: EventStream, partition: number | undefined): readonly EventPartition[] {
  if (partition === undefined) return stream.partitions;
  const one = stream.partitions[partition];
  if (one !== undefined) return [one];
  throw new HadronError(
    'REQUEST_INVALID',
    `stream ${stream.name} has partitions 0 to ${stream.partitions.length - 1}, not ${partition}`,
    { field: 'partition' },
  );
}

/**
 * Where to begin in each of the selected partitions. A cursor that lies below a partition's start (retention took what
 * was there) goes on at the start.
 * @throws HadronError REQUEST_INVALID (an offset without a partition; not a cursor of this), OFFSET_OUT_OF_RANGE
 */
export async function placesOf(log: EventLog, stream: EventStream, { from, partition }: TailFrom): Promise<number[]> {
  const partitions = selectedPartitions(stream, partition);
  if (from === 'beginning') return partitions.map((p) => p.startOffset);
  if (from === 'latest') return partitions.map((p) => p.visibleOffset);
  if ('timeMs' in from) return Promise.all(partitions.map((p) => log.offsetForTime(p, from.timeMs)));
  if ('cursor' in from) {
    const offsets = decodeCursor(stream.topicId, partition, from.cursor);
    return partitions.map((p, i) => within(p, Math.max(offsets[i] ?? 0, p.startOffset)));
  }
  const [only, ...others] = partitions;
  if (only === undefined || others.length > 0) {
    throw new HadronError(
      'REQUEST_INVALID',
      `an offset counts within one partition, and stream ${stream.name} has ${partitions.length}: add partition=0 to ${partitions.length - 1}, or begin with beginning, latest, a time or a cursor`,
      { field: 'from' },
    );
  }
  if (from.offset < only.startOffset) throw outOfRange(only, from.offset);
  return [within(only, from.offset)];
}

function within(p: EventPartition, offset: number): number {
  if (offset > p.visibleOffset) throw outOfRange(p, offset);
  return offset;
}
