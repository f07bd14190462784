/** What every {@link EventLog} says in the same words when it refuses. */
import { HadronError } from '@hadron/base';
import type { EventPartition } from './event-log.ts';

export const gone = (partition: EventPartition): HadronError =>
  new HadronError('TOPIC_NOT_FOUND', `stream ${partition.stream} was deleted`);

export const outOfRange = (partition: EventPartition, offset: number): HadronError =>
  new HadronError(
    'OFFSET_OUT_OF_RANGE',
    `partition ${partition.index} of stream ${partition.stream} has offsets ${partition.startOffset} to ${partition.visibleOffset}, not ${offset}; read on from one of these`,
  );

export const crossShard = (partition: EventPartition, shard: number): HadronError =>
  new HadronError(
    'CROSS_SHARD',
    `partition ${partition.index} of stream ${partition.stream} lies on shard ${partition.shard}, other parts of this commit on shard ${shard}; what must be atomic lies on one shard`,
  );
