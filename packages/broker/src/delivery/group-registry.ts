/** Which groups there are, and on which shards they are recorded. Those without a name are ledgers of dead letters. */
import type { Random } from '@hadron/base';
import type { GroupSettings } from '@hadron/contracts';
import type { Group } from './group.ts';
import type { GroupRecord } from './records.ts';

const INTERNED_MIN = 1_000;

export class GroupRegistry {
  private readonly random: Random;
  private readonly byId = new Map<number, Group>();
  private readonly byTopic = new Map<string, Map<string, Group>>();
  /** Shards whose log names the group. */
  private readonly recorded = new Map<Group, Set<number>>();
  private readonly interned = new Map<string, GroupSettings>();

  constructor(random: Random) {
    this.random = random;
  }

  get(id: number): Group | undefined {
    return this.byId.get(id);
  }

  named(topicId: string, name: string): Group | undefined {
    return this.byTopic.get(topicId)?.get(name);
  }

  all(): IterableIterator<Group> {
    return this.byId.values();
  }

  /** Of a stream; a copy, for what is done with them may end them. */
  of(topicId: string): readonly Group[] {
    return [...(this.byTopic.get(topicId)?.values() ?? [])];
  }

  count(topicId: string): number {
    return this.byTopic.get(topicId)?.size ?? 0;
  }

  add(group: Group): void {
    const { topicId } = group.record;
    const groups = this.byTopic.get(topicId) ?? new Map<string, Group>();
    this.byTopic.set(topicId, groups);
    groups.set(group.name, group);
    this.byId.set(group.id, group);
  }

  forget(group: Group): void {
    const { topicId } = group.record;
    group.removed = true;
    this.byId.delete(group.id);
    this.recorded.delete(group);
    const groups = this.byTopic.get(topicId);
    if (groups?.get(group.name) === group) groups.delete(group.name);
    if (groups?.size === 0) this.byTopic.delete(topicId);
  }

  freeId(): number {
    for (;;) {
      const id = this.random.u32();
      if (id !== 0 && !this.byId.has(id)) return id;
    }
  }

  /** Thousands of groups have the same settings: they are kept once. */
  intern(record: GroupRecord): GroupRecord {
    const key = JSON.stringify(record.settings);
    const settings = this.interned.get(key) ?? record.settings;
    if (this.interned.size > Math.max(INTERNED_MIN, 2 * this.byId.size)) this.interned.clear();
    this.interned.set(key, settings);
    return { ...record, settings };
  }

  shardsOf(group: Group): readonly number[] {
    return [...(this.recorded.get(group) ?? [])];
  }

  isRecorded(group: Group, shard: number): boolean {
    return this.recorded.get(group)?.has(shard) === true;
  }

  setRecorded(group: Group, shard: number): void {
    const shards = this.recorded.get(group);
    if (shards === undefined) this.recorded.set(group, new Set([shard]));
    else shards.add(shard);
  }
}
