import type { Deadlines } from '@hadron/base';
import { type Alarm, Group } from './group.ts';
import { type Change, decodeRecord, encodeChange } from './records.ts';
import type { Turn } from './turn.ts';
import type { StateRecord } from './types.ts';

/**
 * All groups, and the one way their durable state changes: {@link apply}. The live path writes a change and applies it;
 * recovery decodes the same change and applies it. There is no second implementation that could disagree.
 */
export class GroupStore<Token> {
  readonly groups = new Map<string, Group<Token>>();
  readonly #deadlines: Deadlines<Alarm<Token>>;

  constructor(deadlines: Deadlines<Alarm<Token>>) {
    this.#deadlines = deadlines;
  }

  getOrCreate(groupId: string): Group<Token> {
    let group = this.groups.get(groupId);
    if (group === undefined) {
      group = new Group<Token>(groupId);
      this.groups.set(groupId, group);
    }
    return group;
  }

  /** The live path: into the turn's records and into memory. */
  write(turn: Turn<Token>, change: Change): void {
    turn.records.push(encodeChange(change));
    this.apply(change);
  }

  /** Recovery. @throws HadronError DATA_FORMAT_NEWER, DATA_DAMAGED */
  replay(record: StateRecord): void {
    this.apply(decodeRecord(record));
  }

  apply(change: Change): void {
    if (change.type === 'group') {
      if (change.image !== null) return this.getOrCreate(change.groupId).adopt(change.image);
      // Offsets have tombstones of their own, so any that are left belong to what begins after this record.
      const offsets = this.groups.get(change.groupId)?.offsets;
      this.groups.delete(change.groupId);
      if (offsets === undefined || offsets.size === 0) return;
      const group = this.getOrCreate(change.groupId);
      for (const [topic, partitions] of offsets) group.offsets.set(topic, partitions);
      return;
    }
    if (change.committed !== null) {
      const { offsets } = this.getOrCreate(change.groupId);
      const partitions = offsets.get(change.topic);
      if (partitions === undefined) offsets.set(change.topic, new Map([[change.partition, change.committed]]));
      else partitions.set(change.partition, change.committed);
      return;
    }
    const group = this.groups.get(change.groupId);
    const partitions = group?.offsets.get(change.topic);
    if (group === undefined || partitions === undefined) return;
    partitions.delete(change.partition);
    if (partitions.size === 0) group.offsets.delete(change.topic);
    this.forgetIfVoid(group);
  }

  /** A group that exists by its records only goes with the last of them; one that never had any goes with its last guest. */
  forgetIfVoid(group: Group<Token>): void {
    if (!group.isVoid()) return;
    this.#deadlines.cancel(group.joinDeadline);
    this.#deadlines.cancel(group.syncDeadline);
    group.step('deleted');
    this.groups.delete(group.id);
  }

  /** Deletes the group and every offset: its last records. Members it must not have. */
  delete(turn: Turn<Token>, group: Group<Token>): void {
    for (const pending of group.pendingJoins.values()) this.#deadlines.cancel(pending);
    group.pendingJoins.clear();
    for (const [topic, partitions] of group.offsets) {
      for (const partition of partitions.keys()) {
        this.write(turn, { type: 'offset', groupId: group.id, topic, partition, committed: null });
      }
    }
    // A group without an image is gone by now, or goes without a record.
    if (group.image !== null) {
      group.step('deleted');
      this.write(turn, { type: 'group', groupId: group.id, image: null });
    } else if (group.state !== 'Dead') {
      this.forgetIfVoid(group);
    }
  }

  /** The whole durable state. May be drained slowly between commands: see records.ts. */
  *snapshot(): Generator<StateRecord> {
    for (const group of this.groups.values()) {
      const groupId = group.id;
      if (group.image !== null) yield encodeChange({ type: 'group', groupId, image: group.image });
      for (const [topic, partitions] of group.offsets) {
        for (const [partition, committed] of partitions) {
          yield encodeChange({ type: 'offset', groupId, topic, partition, committed });
        }
      }
    }
  }
}
