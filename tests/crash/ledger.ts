/**
 * What the clients of a crash run know: what they sent, what was acknowledged where, what readers were shown, what was
 * committed. Everything is in memory of the test; nothing of it comes from the server's own books.
 */
import { crc32 } from 'node:zlib';

export interface KeyState {
  readonly key: string;
  readonly topic: string;
  /** Fixed by the producer; -1 when its client chooses. */
  readonly partition: number;
  /** The producer is idempotent: each record exactly once. Otherwise at least once. */
  readonly exact: boolean;
  /** Counters 0 .. sent - 1 were given to the client. */
  sent: number;
  /** Counters 0 .. acked - 1 were acknowledged, but for those in `given up`. */
  acked: number;
  /** Counters whose send ended with an error: they may be there, once. */
  readonly givenUp: Set<number>;
}

/** Where an answer said that a record is. */
export interface AckedPlace {
  readonly key: string;
  readonly counter: number;
}

export interface Progress {
  acks: number;
  records: number;
  bytes: number;
}

export const place = (topic: string, partition: number): string => `${topic}/${partition}`;

export class Ledger {
  readonly keys = new Map<string, KeyState>();
  /** topic/partition → base offset of an acknowledged batch → its first record */
  readonly ackedAt = new Map<string, Map<number, AckedPlace>>();
  /** group → topic/partition → offset → CRC-32 of the value that a member was given */
  readonly shown = new Map<string, Map<string, Map<number, number>>>();
  /** group → topic/partition → the offset below which a committed offset may never be seen again */
  readonly committed = new Map<string, Map<string, number>>();
  /** Per actor, since the beginning. */
  readonly progress = new Map<string, Progress>();
  /** What is wrong whatever the read-back says. */
  readonly problems: string[] = [];

  key(key: string, topic: string, partition: number, exact: boolean): KeyState {
    const state: KeyState = { key, topic, partition, exact, sent: 0, acked: 0, givenUp: new Set() };
    if (this.keys.has(key)) throw new Error(`key ${key} has two producers`);
    this.keys.set(key, state);
    return state;
  }

  acknowledge(actor: string, records: readonly { state: KeyState; counter: number; bytes: number }[]): void {
    const progress = this.progressOf(actor);
    progress.acks += 1;
    for (const { state, counter, bytes } of records) {
      state.acked = Math.max(state.acked, counter + 1);
      progress.records += 1;
      progress.bytes += bytes;
    }
  }

  giveUp(records: readonly { state: KeyState; counter: number }[]): void {
    for (const { state, counter } of records) {
      state.givenUp.add(counter);
      state.acked = Math.max(state.acked, counter + 1);
    }
  }

  ackedOffset(topic: string, partition: number, offset: number, first: AckedPlace): void {
    const at = child(this.ackedAt, place(topic, partition));
    const before = at.get(offset);
    if (before !== undefined) {
      this.problems.push(
        `offset ${offset} of ${place(topic, partition)} was given to ${before.key}#${before.counter} and to ${first.key}#${first.counter}`,
      );
    }
    at.set(offset, first);
  }

  show(group: string, actor: string, topic: string, partition: number, offset: number, value: Buffer): void {
    const shown = child(child(this.shown, group), place(topic, partition));
    const crc = crc32(value);
    const before = shown.get(offset);
    if (before !== undefined && before !== crc) {
      this.problems.push(`${group} was given two different records at offset ${offset} of ${place(topic, partition)}`);
    }
    if (before === undefined) shown.set(offset, crc);
    const progress = this.progressOf(actor);
    progress.acks += 1;
    progress.records += before === undefined ? 1 : 0;
    progress.bytes += value.length;
  }

  /** A commit was acknowledged, or read from the server: it holds from now on. */
  commitHolds(group: string, at: string, offset: number): void {
    const floors = child(this.committed, group);
    floors.set(at, Math.max(floors.get(at) ?? 0, offset));
  }

  /** Floors as they are now: what a fetch that begins now must not fall below. */
  floors(group: string): Map<string, number> {
    return new Map(this.committed.get(group));
  }

  progressOf(actor: string): Progress {
    let progress = this.progress.get(actor);
    if (progress === undefined) this.progress.set(actor, (progress = { acks: 0, records: 0, bytes: 0 }));
    return progress;
  }
}

function child<K, V>(map: Map<string, Map<K, V>>, key: string): Map<K, V> {
  let inner = map.get(key);
  if (inner === undefined) map.set(key, (inner = new Map()));
  return inner;
}
