/** D1: the engine over a source that is a list, without streams, events or a log of them. */
import { silentLogger } from '@hadron/base';
import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from '../ports/memory-event-log.ts';
import { AppendSets } from './append-sets.ts';
import { Progress } from './core/progress.ts';
import { Session, Sessions } from './core/sessions.ts';
import { GroupPartition } from './group-partition.ts';
import type { OutgoingDelivery } from './service.ts';
import { DELIVERY_DEFAULTS, resolveGroup } from './settings.ts';
import { decodeToken } from './token.ts';
import type { Now, Source } from './types.ts';

interface Item {
  readonly lane?: string;
  readonly text: string;
}

/** Ready stages, say: ids have holes, items may vanish, some are not in memory at once. */
class ListSource implements Source {
  readonly items = new Map<number, Item>();
  readonly start = 0;
  slow = new Set<number>();
  private readonly watchers = new Set<() => void>();

  get end(): number {
    return Math.max(-1, ...this.items.keys()) + 1;
  }

  add(id: number, item: Item): void {
    this.items.set(id, item);
    for (const fn of this.watchers) fn();
  }

  next(from: number) {
    if (from >= this.end) return undefined;
    const id = Math.min(...[...this.items.keys()].filter((i) => i >= from));
    return { item: { id, lane: this.items.get(id)?.lane, dueMs: 0, expiresMs: Infinity }, next: id + 1 };
  }

  read(id: number) {
    if (this.slow.delete(id)) return Promise.resolve();
    const item = this.items.get(id);
    if (item === undefined) return undefined;
    return { record: { bytes: Buffer.from(item.text), timestampMs: 0 }, expiresMs: Infinity };
  }

  watch(fn: () => void): () => void {
    this.watchers.add(fn);
    return () => this.watchers.delete(fn);
  }
}

function world() {
  const log = new MemoryEventLog();
  const source = new ListSource();
  const sessions = new Sessions();
  const now: Now = { ms: 0, wallMs: 1_000 };
  const got: OutgoingDelivery[] = [];
  const failed: unknown[] = [];
  const sets = new AppendSets({
    shard: 0,
    log,
    outbox: { next: () => 1, committed() {}, durable() {} },
    onFailure: (error) => void failed.push(error),
  });
  let handouts = 0;
  const settled: string[] = [];
  const partition = new GroupPartition({
    partition: 0,
    group: 1,
    name: 'stage',
    stream: 'pipeline',
    settings: resolveGroup({}),
    progress: new Progress(0),
    sessions,
    source,
    settlement: {
      settle: (id, as, extras) => {
        settled.push(`${id} ${as} ${extras.record.bytes.toString()} ${extras.reason}`);
        return [];
      },
    },
    sets,
    random: { u32: () => 0, bytes: (n) => new Uint8Array(n) },
    logger: silentLogger,
    limits: DELIVERY_DEFAULTS,
    boot: 1,
    nextHandout: () => ++handouts,
    sabotage: undefined,
    now: () => now,
    readCopy: () => undefined,
    deliver: (_, delivery) => void got.push(delivery),
    withdrawn: () => undefined,
    wake: () => undefined,
    setTimer: () => undefined,
  });
  sessions.add(new Session({ id: 's', credit: 10, partition: undefined, outMax: 100, bytesMax: 1e6 }));
  const turn = async (): Promise<void> => {
    await Promise.resolve();
    partition.contribute();
    sets.flush();
    log.sync();
    partition.pump();
    await Promise.resolve();
    partition.pump();
  };
  const answer = (text: string, kind: 'ack' | 'term'): unknown => {
    const { token } = got.find((d) => d.record.bytes.toString() === text) as OutgoingDelivery;
    const t = { boot: 0, group: 0, partition: 0, id: 0, handout: 0 };
    decodeToken(token, t);
    return partition.machine.answer(
      t.id,
      t.boot,
      t.handout,
      { kind, ...(kind === 'term' ? { reason: 'no' } : {}) },
      now,
    );
  };
  return { log, source, got, failed, settled, turn, answer, texts: () => got.map((d) => d.record.bytes.toString()) };
}

describe('D1: a list as source', () => {
  it('lanes, holes, items that vanish and items that are not in memory', async () => {
    const w = world();
    w.source.add(3, { lane: 'i1', text: 'a' });
    w.source.add(7, { lane: 'i1', text: 'b' });
    w.source.add(9, { lane: 'i2', text: 'c' });
    w.source.add(20, { text: 'd' });
    w.source.slow.add(9);
    await w.turn();
    await w.turn();
    expect(w.texts()).toEqual(['a', 'c', 'd']);
    expect(w.answer('a', 'ack')).toEqual({ word: 'durable' });
    w.source.items.delete(7);
    await w.turn();
    await w.turn();
    w.source.add(21, { lane: 'i1', text: 'e' });
    await w.turn();
    expect(w.texts()).toEqual(['a', 'c', 'd', 'e']);
    expect(w.failed).toEqual([]);
  });

  it('the settlement says what belongs to a verdict', async () => {
    const w = world();
    w.source.add(0, { text: 'a' });
    await w.turn();
    expect(w.answer('a', 'term')).toMatchObject({ word: 'later' });
    await w.turn();
    expect(w.settled).toEqual(['0 dead a no']);
    expect(w.answer('a', 'ack')).toMatchObject({ word: 'settled', as: 'dead' });
  });
});
