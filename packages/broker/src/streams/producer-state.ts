/**
 * What a partition remembers of idempotent producers, and the decision about a batch (kafka.md R13).
 *
 * Pure: no log, no clock. The state is a function of the batches in the partition, so recovery replays batch headers
 * through {@link ProducerStates.appended}, which does nothing for a batch it has seen already.
 *
 * Sequences count records and wrap from 2147483647 to 0.
 */

/** Batches remembered per producer; a client keeps at most as many in flight. */
export const BATCHES_REMEMBERED = 5;
const SEQUENCE_MAX = 0x7fff_ffff;

/** `count` records after `sequence`, wrapped. */
export function sequenceAfter(sequence: number, count: number): number {
  const next = sequence + count;
  return next > SEQUENCE_MAX ? next - SEQUENCE_MAX - 1 : next;
}

interface Batch {
  firstSequence: number;
  lastSequence: number;
  baseOffset: number;
  timestamp: number;
}

interface Producer {
  epoch: number;
  /** Oldest first, at most {@link BATCHES_REMEMBERED}. Empty after an epoch without batches. */
  batches: Batch[];
  /** Offset behind its last batch. */
  nextOffset: number;
  lastMs: number;
}

export type ProducerVerdict =
  | { readonly kind: 'append' }
  /** Already there: answer with where. */
  | { readonly kind: 'duplicate'; readonly baseOffset: number; readonly timestamp: number }
  | { readonly kind: 'error'; readonly code: 'SEQUENCE_OUT_OF_ORDER' | 'SEQUENCE_DUPLICATE' | 'PRODUCER_EPOCH_FENCED' };

const APPEND: ProducerVerdict = { kind: 'append' };
const OUT_OF_ORDER: ProducerVerdict = { kind: 'error', code: 'SEQUENCE_OUT_OF_ORDER' };
const FENCED: ProducerVerdict = { kind: 'error', code: 'PRODUCER_EPOCH_FENCED' };
const OLD_DUPLICATE: ProducerVerdict = { kind: 'error', code: 'SEQUENCE_DUPLICATE' };

export class ProducerStates {
  private readonly producers = new Map<number, Producer>();

  get size(): number {
    return this.producers.size;
  }

  /** What to do with a batch of `count` records that begins with `sequence`. Changes nothing. */
  judge(producerId: number, epoch: number, sequence: number, count: number): ProducerVerdict {
    const p = this.producers.get(producerId);
    if (p === undefined) return APPEND; // expired, trimmed or new: any first sequence is accepted (R13.4, KIP-360)
    if (epoch < p.epoch) return FENCED;
    if (epoch > p.epoch) return sequence === 0 ? APPEND : OUT_OF_ORDER;
    const last = p.batches.at(-1);
    if (last === undefined) return APPEND;
    const lastOfBatch = sequenceAfter(sequence, count - 1);
    for (const b of p.batches) {
      if (b.firstSequence === sequence && b.lastSequence === lastOfBatch) {
        return { kind: 'duplicate', baseOffset: b.baseOffset, timestamp: b.timestamp };
      }
    }
    if (sequence === sequenceAfter(last.lastSequence, 1)) return APPEND;
    // Older than what is remembered: it was appended, but where is forgotten.
    const behind = last.lastSequence - lastOfBatch;
    if (behind >= 0 && behind < SEQUENCE_MAX / 2 && sequence <= last.lastSequence) return OLD_DUPLICATE;
    return OUT_OF_ORDER;
  }

  /**
   * A batch was appended at `baseOffset`. Telling of it again changes nothing.
   * @param nowMs when we learned of it: its producer is remembered for a time from here, whatever its records are stamped
   * @param timestamp the batch's largest timestamp
   */
  appended(
    producerId: number,
    epoch: number,
    sequence: number,
    count: number,
    baseOffset: number,
    nowMs: number,
    timestamp: number,
  ): void {
    let p = this.producers.get(producerId);
    if (p === undefined) {
      p = { epoch, batches: [], nextOffset: 0, lastMs: nowMs };
      this.producers.set(producerId, p);
    }
    if (baseOffset < p.nextOffset || epoch < p.epoch) return;
    if (epoch > p.epoch) {
      p.epoch = epoch;
      p.batches = [];
    }
    p.nextOffset = baseOffset + count;
    p.lastMs = nowMs;
    p.batches.push({
      firstSequence: sequence,
      lastSequence: sequenceAfter(sequence, count - 1),
      baseOffset,
      timestamp,
    });
    if (p.batches.length > BATCHES_REMEMBERED) p.batches.shift();
  }

  /** Offset of a producer's last record; undefined when it is not known. Compaction keeps that batch's header. */
  lastOffsetOf(producerId: number): number | undefined {
    const p = this.producers.get(producerId);
    return p === undefined ? undefined : p.nextOffset - 1;
  }

  /** Forgets producers that were silent since `beforeMs`. */
  expire(beforeMs: number): void {
    for (const [id, p] of this.producers) if (p.lastMs < beforeMs) this.producers.delete(id);
  }

  /** The wall clock has moved by `byMs` and says `nowMs`: being silent is counted on. */
  clockJumped(byMs: number, nowMs: number): void {
    for (const p of this.producers.values()) p.lastMs = Math.min(p.lastMs + Math.max(0, byMs), nowMs);
  }

  /** Layout: u8 version 1, then for each producer f64 id, i16 epoch, f64 next offset, f64 last ms, u8 n, n batches of i32 first and last sequence, f64 base offset, f64 ms (ids, offsets and times are f64). */
  encode(): Buffer | undefined {
    if (this.producers.size === 0) return undefined;
    let bytes = 1;
    for (const p of this.producers.values()) bytes += 27 + p.batches.length * 24;
    const b = Buffer.allocUnsafe(bytes);
    let at = b.writeUInt8(1, 0);
    for (const [id, p] of this.producers) {
      at = writeDouble(b, at, id);
      at = b.writeInt16BE(p.epoch, at);
      at = writeDouble(b, at, p.nextOffset);
      at = writeDouble(b, at, p.lastMs);
      at = b.writeUInt8(p.batches.length, at);
      for (const x of p.batches) {
        at = b.writeInt32BE(x.firstSequence, at);
        at = b.writeInt32BE(x.lastSequence, at);
        at = writeDouble(b, at, x.baseOffset);
        at = writeDouble(b, at, x.timestamp);
      }
    }
    return b;
  }

  /**
   * @param nowMs when they count as heard of: how long the server was down, and by which clock, is not known
   * @throws RangeError on bytes that are not its own
   */
  static decode(b: Buffer, nowMs?: number): ProducerStates {
    const states = new ProducerStates();
    if (b.length === 0) return states;
    if (b.readUInt8(0) !== 1) throw new RangeError(`producer state of format ${b.readUInt8(0)}`);
    let at = 1;
    while (at < b.length) {
      const id = b.readDoubleBE(at);
      const p: Producer = {
        epoch: b.readInt16BE(at + 8),
        nextOffset: b.readDoubleBE(at + 10),
        lastMs: nowMs ?? b.readDoubleBE(at + 18),
        batches: [],
      };
      const n = b.readUInt8(at + 26);
      at += 27;
      for (let i = 0; i < n; i++, at += 24) {
        p.batches.push({
          firstSequence: b.readInt32BE(at),
          lastSequence: b.readInt32BE(at + 4),
          baseOffset: b.readDoubleBE(at + 8),
          timestamp: b.readDoubleBE(at + 16),
        });
      }
      states.producers.set(id, p);
    }
    return states;
  }
}

/** Offsets and times as IEEE doubles: exact to 2^53 and one call. */
function writeDouble(b: Buffer, at: number, v: number): number {
  return b.writeDoubleBE(v, at);
}
