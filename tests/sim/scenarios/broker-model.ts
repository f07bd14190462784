/**
 * What the clients of the broker scenario know: topics, partitions, every batch that was sent, and what was promised
 * about them. It holds what the broker shows against that; nothing here asks the broker anything.
 */
import {
  batchBaseOffset,
  batchCrc,
  batchLastOffsetDelta,
  batchLeaderEpoch,
  batchSizeBytes,
  RecordCursor,
} from '@hadron/kafka-protocol/records';

export class PromiseBroken extends Error {
  override readonly name = 'PromiseBroken';
}

export function promise(holds: boolean, broken: () => string): void {
  if (!holds) throw new PromiseBroken(broken());
}

/** Bytes of a batch that are nobody's but the producer's: what lies behind length and leader epoch. */
const OWN_BYTES_AT = 16;

/** A batch of a client, through all its attempts. */
export class Sent {
  readonly id: number;
  readonly partition: PartitionModel;
  readonly bytes: Buffer;
  readonly records: readonly { readonly key: string; readonly value: string }[];
  readonly producerId: number;
  readonly epoch: number;
  readonly sequence: number;
  /** Where it is, as far as anybody was told; -1: nobody was. */
  offset = -1;
  /** The broker it was last given to. An attempt cannot take effect in another one. */
  core: object | undefined;

  constructor(
    id: number,
    partition: PartitionModel,
    bytes: Buffer,
    records: Sent['records'],
    producer: { producerId: number; epoch: number; sequence: number },
  ) {
    this.id = id;
    this.partition = partition;
    this.bytes = bytes;
    this.records = records;
    this.producerId = producer.producerId;
    this.epoch = producer.epoch;
    this.sequence = producer.sequence;
  }

  get extent(): number {
    return this.records.length;
  }

  toString(): string {
    return `batch ${this.id} (producer ${this.producerId}.${this.epoch}, sequence ${this.sequence})`;
  }
}

export class TopicModel {
  readonly name: string;
  readonly id: string;
  readonly partitions: PartitionModel[];
  readonly compacted: boolean;
  /** Old records may go by themselves. */
  readonly retained: boolean;
  created = false;
  deleteAttempted = false;
  /** It is known to be gone for good. */
  gone = false;
  /** What may be relied on: `fsync` only while no change to `os` was asked for. */
  durability: 'fsync' | 'os';
  /** Changes of config asked for so far: an answer to an older one says nothing any more. */
  changes = 0;

  constructor(name: string, id: string, partitions: number, config: Readonly<Record<string, string>>) {
    this.name = name;
    this.id = id;
    this.compacted = config['cleanup.policy'] === 'compact';
    this.retained = config['retention.ms'] !== undefined || config['retention.bytes'] !== undefined;
    this.durability = config['hadron.durability'] === 'os' ? 'os' : 'fsync';
    this.partitions = Array.from({ length: partitions }, (_, index) => new PartitionModel(this, index));
  }

  /** Its clients may be told that it is not there. */
  get mayBeMissing(): boolean {
    return !this.created || this.deleteAttempted || this.gone;
  }
}

export class PartitionModel {
  readonly topic: TopicModel;
  readonly index: number;
  /** Every batch that was acknowledged or seen, by offset; what was lost within the promise is taken out. */
  readonly placed = new Map<number, Sent>();
  /** Offset and leader epoch → batch, for ever: no offset is used twice within an epoch (log.md G6). */
  private readonly used = new Map<string, Sent>();
  /** Batches that no reader has found and whose attempts are all over: they must never show. */
  private readonly dead = new Set<Sent>();
  readonly unplaced = new Set<Sent>();
  /** Everything below was acknowledged or shown as durable. */
  promisedEnd = 0;
  /** Largest high watermark that was shown since the last loss that was allowed. */
  shown = 0;
  /** Grows when a part of an `os` log was lost: what was shown before may be gone. */
  losses = 0;
  startAcknowledged = 0;
  startAttempted = 0;
  epoch = 0;
  /** The disk was full: the engine may have forgotten producers of records that were trimmed. */
  mayForget = false;
  /** The epoch with which the last loss began; it must be left. */
  lossEpoch = -1;

  constructor(topic: TopicModel, index: number) {
    this.topic = topic;
    this.index = index;
  }

  get name(): string {
    return `${this.topic.name}-${this.index} (${this.topic.id.slice(0, 4)})`;
  }

  /** A batch is at `offset`: it was acknowledged with it, or a reader saw it. */
  place(sent: Sent, offset: number, epoch: number): void {
    promise(offset >= 0, () => `${this.name}: ${sent} is answered with offset ${offset}`);
    promise(sent.partition === this, () => `${this.name}: ${sent} was sent to ${sent.partition.name}`);
    promise(
      !this.dead.has(sent),
      () => `${this.name}: ${sent} shows at ${offset} though no attempt can have put it there`,
    );
    // What a full disk let go before a checkpoint knew of its producer may come again, where nobody can read it twice.
    const forgotten = this.mayForget && sent.offset + sent.extent <= this.startAcknowledged;
    promise(
      sent.offset === -1 || sent.offset === offset || forgotten,
      () => `${this.name}: ${sent} is at ${offset} and was at ${sent.offset} before`,
    );
    const other = this.placed.get(offset);
    promise(other === undefined || other === sent, () => `${this.name}: ${sent} is at ${offset}, where ${other} was`);
    if (epoch >= 0) {
      const key = `${epoch}/${offset}`;
      const user = this.used.get(key) ?? sent;
      promise(
        user === sent,
        () => `${this.name}: offset ${offset} is used again in epoch ${epoch}: by ${sent}, before by ${user}`,
      );
      this.used.set(key, sent);
    }
    sent.offset = offset;
    this.placed.set(offset, sent);
    this.unplaced.delete(sent);
  }

  sawEpoch(epoch: number): void {
    promise(epoch >= this.epoch, () => `${this.name}: the leader epoch goes back from ${this.epoch} to ${epoch}`);
    this.epoch = epoch;
  }

  sawHighWatermark(offset: number): void {
    this.shown = Math.max(this.shown, offset);
    if (this.topic.durability === 'fsync') this.promisedEnd = Math.max(this.promisedEnd, offset);
  }

  /** The log ends at `end` after a recovery that may lose the end of an `os` log. */
  endsAt(end: number, epoch: number, mayLose: boolean): void {
    promise(
      end >= this.promisedEnd,
      () => `${this.name} ends at ${end} after recovery; ${this.promisedEnd} was promised`,
    );
    this.sawEpoch(epoch);
    if (!mayLose) {
      promise(end >= this.shown, () => `${this.name} ends at ${end} after recovery; ${this.shown} was shown`);
      return;
    }
    this.losses++;
    this.shown = Math.min(this.shown, end);
    for (const [offset, sent] of this.placed) {
      if (offset + sent.extent <= end) continue;
      this.placed.delete(offset);
      sent.offset = -1;
      this.unplaced.add(sent);
    }
  }

  /** A reader saw everything from `start` to `end`, and that broker is given nothing but by `core`. */
  sawAll(seen: ReadonlySet<Sent>, start: number, end: number, core: object): void {
    for (const [offset, sent] of this.placed) {
      if (offset < start || offset >= end || seen.has(sent)) continue;
      promise(
        this.topic.compacted,
        () => `${this.name}: ${sent} was at ${offset}, and the log from ${start} to ${end} is without it`,
      );
    }
    for (const sent of this.unplaced) {
      if (sent.core === core) continue;
      this.unplaced.delete(sent);
      this.dead.add(sent);
    }
  }

  /** Compaction may take every record that has a newer one of its key, and no other. */
  sawNewest(newest: ReadonlyMap<string, number>, start: number, end: number): void {
    const expected = new Map<string, number>();
    for (const [offset, sent] of this.placed) {
      sent.records.forEach(({ key }, i) => {
        expected.set(key, Math.max(offset + i, expected.get(key) ?? -1));
      });
    }
    for (const [key, offset] of expected) {
      if (offset < start || offset >= end) continue;
      promise(
        newest.get(key) === offset,
        () =>
          `${this.name}: the newest record of ${key} is at ${offset}; the log from ${start} to ${end} has one at ${newest.get(key)}`,
      );
    }
  }

  /** A client tries again: the batch may come to be. */
  tries(sent: Sent, core: object): void {
    sent.core = core;
    this.dead.delete(sent);
    if (sent.offset === -1) this.unplaced.add(sent);
  }

  /** Removed by retention, or by a client: a batch there cannot be seen any more, and may be sent again. */
  startedAt(start: number): void {
    const { topic } = this;
    const startMax = topic.retained ? Number.POSITIVE_INFINITY : this.startAttempted;
    promise(
      start >= this.startAcknowledged && start <= startMax,
      () =>
        `${this.name} starts at ${start}; ${this.startAcknowledged} was acknowledged, ${this.startAttempted} asked for`,
    );
    this.startAcknowledged = start;
    this.startAttempted = Math.max(start, this.startAttempted);
  }
}

/** Batches as they came out of the broker, known by their checksums, or by their records where they were compacted. */
export class Batches {
  private readonly byCrc = new Map<number, Sent>();
  private readonly byId = new Map<number, Sent>();

  add(sent: Sent): void {
    this.byCrc.set(batchCrc(sent.bytes, 0), sent);
    this.byId.set(sent.id, sent);
  }

  /**
   * Holds bytes against what was sent.
   * @param from the offset that was asked for: the first batch holds it
   * @param newest gets the offset of the last record of each key
   * @returns the batches, and the offset behind the last
   */
  judge(p: PartitionModel, b: Buffer, from: number, newest?: Map<string, number>): { seen: Sent[]; next: number } {
    const seen: Sent[] = [];
    let next = from;
    let at = 0;
    while (at < b.length) {
      const size = batchSizeBytes(b, at);
      promise(at + size <= b.length, () => `${p.name}: a batch at ${next} is cut off`);
      const offset = batchBaseOffset(b, at);
      const end = offset + batchLastOffsetDelta(b, at) + 1;
      const isFirst = at === 0 && offset <= from && end > from;
      promise(
        isFirst || offset === next || (p.topic.compacted && offset >= next),
        () => `${p.name}: after ${next} comes ${offset}`,
      );
      const sent = this.find(p, b, at, size);
      if (sent !== undefined) {
        p.place(sent, offset, batchLeaderEpoch(b, at));
        seen.push(sent);
      }
      if (newest !== undefined) {
        const cursor = new RecordCursor();
        cursor.open(b, at);
        while (cursor.next()) newest.set(cursor.key()?.toString() ?? '', cursor.offset);
      }
      next = end;
      at += size;
    }
    return { seen, next };
  }

  private find(p: PartitionModel, b: Buffer, at: number, size: number): Sent | undefined {
    const whole = this.byCrc.get(batchCrc(b, at));
    if (whole !== undefined) {
      const same =
        size === whole.bytes.length && b.compare(whole.bytes, OWN_BYTES_AT, size, at + OWN_BYTES_AT, at + size) === 0;
      promise(same, () => `${p.name}: ${whole} came back with other bytes`);
      return whole;
    }
    promise(p.topic.compacted, () => `${p.name}: a batch at ${batchBaseOffset(b, at)} that nobody sent`);
    return this.compacted(p, b, at);
  }

  /** What is left of a compacted batch is what was sent, each record at its place. */
  private compacted(p: PartitionModel, b: Buffer, at: number): Sent | undefined {
    const cursor = new RecordCursor();
    cursor.open(b, at);
    const base = batchBaseOffset(b, at);
    let sent: Sent | undefined;
    while (cursor.next()) {
      const value = cursor.value()?.toString() ?? '';
      sent ??= this.byId.get(Number.parseInt(value, 10));
      const record = sent?.records[cursor.offset - base];
      promise(
        record?.value === value && record.key === cursor.key()?.toString(),
        () => `${p.name}: a record at ${cursor.offset} that nobody sent`,
      );
    }
    return sent;
  }
}
