/**
 * A state machine's log: keys and values, the latest value of a key wins, null deletes (architecture §1 "State is a log
 * too"). Records are stored as one record batch per append, so that the tools that read partitions read state as well.
 *
 * Recovery = snapshot + records behind it, through the same `replay` the live path uses. The shard asks for a snapshot
 * at a checkpoint when the log has grown enough, and what lies before it is trimmed.
 */
import { HadronError } from '@hadron/base';
import { batchLastOffsetDelta, batchSizeBytes, encodeBatch, RecordCursor } from '@hadron/kafka-protocol/records';
import { type CommitWaiter, type Log, read, readSnapshot, type SetEntry, type Shard } from '@hadron/log';

export interface StateRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** Something whose state is a log: it applies records, and can say its whole state as records. */
export interface Replayed {
  replay(record: StateRecord): void;
  snapshot(): Iterable<StateRecord>;
}

const SNAPSHOT_RECORDS_PER_BATCH = 500;
const READ_BYTES = 1024 * 1024;
const asBuffer = (b: Uint8Array): Buffer =>
  Buffer.isBuffer(b) ? b : Buffer.from(b.buffer, b.byteOffset, b.byteLength);

export class StateLog {
  readonly shard: Shard;
  readonly log: Log;

  constructor(shard: Shard, log: Log) {
    this.shard = shard;
    this.log = log;
  }

  /** The set entry that appends these records; `extra` entries may join it in one set. */
  entry(records: readonly StateRecord[]): SetEntry {
    const bytes = encodeBatch(
      records.map((r) => ({ key: asBuffer(r.key), value: r.value === null ? null : asBuffer(r.value) })),
      { baseTimestamp: this.shard.clock.wallMs() },
    );
    return {
      kind: 'append',
      log: this.log,
      bytes,
      at: 0,
      length: bytes.length,
      extent: batchLastOffsetDelta(bytes, 0) + 1,
      maxTimestamp: this.shard.clock.wallMs(),
    };
  }

  /** Appends records, and what must be durable with them. @returns the LSN. @throws HadronError STORAGE_… */
  append(records: readonly StateRecord[], extra: readonly SetEntry[] = []): number {
    return this.shard.appendSet([this.entry(records), ...extra], { control: true });
  }

  /** Calls `waiter` when everything this log has said so far is durable (log.md G5). */
  whenDurable(waiter: CommitWaiter): void {
    this.shard.when(this.log.lastLsn, 'fsync', waiter);
  }

  /** Fills `state` from the newest snapshot and the records behind it, and gives its snapshots from now on. */
  async recover(state: Replayed): Promise<void> {
    const { shard, log } = this;
    const snapshot = shard.snapshots.get(log.id);
    let position = log.startPosition;
    if (snapshot !== undefined && snapshot.file !== '') {
      for (const piece of readSnapshot(shard.fs, `${shard.directory}/snapshots/${snapshot.file}`))
        replayBatches(piece, state, 0);
      position = Math.max(position, snapshot.position);
    }
    while (position < log.visiblePosition) {
      const got = await read(shard, log, position, { maxBytes: READ_BYTES, atLeastOne: true });
      if (got.bytes === 0)
        throw new HadronError(
          'DATA_DAMAGED',
          `${log.name} cannot be read at ${position}; restore the data folder from a copy`,
        );
      for (const part of got.parts) replayBatches(part, state, position);
      position = got.nextPosition;
      got.release();
    }
    shard.registerSnapshots({
      log,
      *chunks() {
        let some: StateRecord[] = [];
        for (const record of state.snapshot()) {
          some.push(record);
          if (some.length < SNAPSHOT_RECORDS_PER_BATCH) continue;
          yield encode(some);
          some = [];
        }
        if (some.length > 0) yield encode(some);
      },
    });
  }
}

function encode(records: readonly StateRecord[]): Buffer {
  return encodeBatch(
    records.map((r) => ({ key: asBuffer(r.key), value: r.value === null ? null : asBuffer(r.value) })),
  );
}

function replayBatches(bytes: Buffer, state: Replayed, from: number): void {
  const cursor = new RecordCursor();
  for (let at = 0; at < bytes.length; at += batchSizeBytes(bytes, at)) {
    cursor.open(bytes, at);
    while (cursor.next()) {
      if (cursor.offset < from) continue;
      // Copies: the memory of a read is given back.
      const value = cursor.value();
      state.replay({ key: Buffer.from(cursor.key() ?? ''), value: value === null ? null : Buffer.from(value) });
    }
  }
}
