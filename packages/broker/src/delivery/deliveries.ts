/**
 * The delivery service (delivery.md): groups over the streams of a log, their sessions and leases, dead letters. A thin shell:
 * decisions are in `core/`, one {@link GroupPartition} drives each; here they are gathered tick by tick.
 *
 * A tick is: what was decided goes into one append set per shard; then groups hand out, round robin; then sessions are told.
 * It runs behind the input that is ready (`clock.defer`), so all answers of one tick share a commit.
 *
 * Life: construct, {@link Deliveries.replay} every record of the state log, {@link Deliveries.start}, {@link Deliveries.close}.
 */
import { type Clock, HadronError, type Logger, type Random } from '@hadron/base';
import type {
  AnswerResult,
  DeadLetter,
  GroupRequest,
  GroupSettings,
  GroupStatus,
  InFlight,
  Start,
  StreamInfo,
} from '@hadron/contracts';
import type { RecordSettings } from '@hadron/contracts/events';
import { type CompiledFilter, compileFilters } from '@hadron/contracts/filters';
import type { EventLog, EventPartition, EventStream, Replayed, StateRecord } from '../ports/event-log.ts';
import { infoOf, recordSettingsOf } from '../ports/stream-info.ts';
import { AppendSets, type Contribution } from './append-sets.ts';
import { ChunkCache } from './chunks.ts';
import type { DeliverySabotage } from './core/machine.ts';
import { Progress, type Redrive } from './core/progress.ts';
import { Session } from './core/sessions.ts';
import { DeadLetters } from './dead-letters.ts';
import { Forwarder } from './forwarder.ts';
import { Group, groupNotFound, type Taker } from './group.ts';
import { applySet, GroupPartition } from './group-partition.ts';
import { GroupRegistry } from './group-registry.ts';
import { Leases } from './leases.ts';
import {
  arrivedRecord,
  bootRecord,
  decodeEntry,
  groupRecord,
  outboxRecord,
  progressRecord,
  redriveRecord,
} from './records.ts';
import type {
  AnswerItem,
  DeadLetterEntry,
  DeadLetterQuery,
  DeliveryService,
  DeliverySession,
  OpenRequest,
  OutgoingDelivery,
  PullRequest,
  SessionHandler,
} from './service.ts';
import {
  changeGroup,
  checkGroupName,
  checkSame,
  DELIVERY_DEFAULTS,
  type DeliverySettings,
  resolveGroup,
} from './settings.ts';
import { PartitionReader, StreamSource } from './stream-source.ts';
import { Ticks } from './ticks.ts';
import type { Now } from './types.ts';

export interface DeliveriesOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default 1. */
  readonly shards?: number | undefined;
  readonly settings?: Partial<DeliverySettings> | undefined;
  /** Makes an unknown stream that somebody consumes. Undefined where that is off. @throws HadronError TOPIC_NAME_INVALID, STORAGE_… */
  readonly autoCreate?: ((name: string) => void) | undefined;
  /** Makes a stream, durably; for dead letters. Undefined: they need their stream to be there. */
  readonly createStream?:
    | ((name: string, partitions: number, config: Readonly<Record<string, string>>) => Promise<void> | void)
    | undefined;
  readonly sabotage?: DeliverySabotage | undefined;
}

const RETRY_MS = 1_000;
/** Reading and handing out let others have their turn after so long. */
const TICK_MS = 4;
type Uncommitted = Omit<Contribution, 'durable' | 'refused'>;

export class Deliveries implements DeliveryService, Replayed {
  private readonly options: DeliveriesOptions;
  private readonly limits: DeliverySettings;
  private readonly clock: Clock;
  private readonly reader: PartitionReader;
  private readonly sets: AppendSets[];
  private readonly outboxes: Forwarder[];
  /** By target shard, by source shard. */
  private readonly arrivals: Map<number, number>[];
  private readonly letters: DeadLetters;

  private readonly registry: GroupRegistry;
  private readonly creating = new Map<string, Promise<Group>>();

  private boot = 0;
  private handouts = 0;
  private sessionsMade = 0;
  private starting = 0;
  private readonly ticks: Ticks;
  private readonly leases: Leases;
  private readonly answering = new Set<(error: HadronError) => void>();
  private unwatch: (() => void) | undefined;
  private over: HadronError | undefined;

  constructor(options: DeliveriesOptions) {
    this.options = options;
    this.limits = { ...DELIVERY_DEFAULTS, ...options.settings };
    this.clock = options.clock;
    const { log, clock, logger } = options;
    this.registry = new GroupRegistry(options.random);
    this.ticks = new Ticks(clock, { tick: (groups) => this.tick(groups), wallJumped: (now) => this.wallJumped(now) });
    this.reader = new PartitionReader({ log, clock, logger, cache: new ChunkCache(this.limits.cacheBytes) });
    const shards = Array.from({ length: options.shards ?? 1 }, (_, shard) => shard);
    this.outboxes = shards.map((shard) => new Forwarder(shard, this.forwarderHost()));
    this.arrivals = shards.map(() => new Map<number, number>());
    this.sets = shards.map(
      (shard) =>
        new AppendSets({
          shard,
          log,
          outbox: this.outboxes[shard] as Forwarder,
          onFailure: (error) => this.close(error),
        }),
    );
    this.letters = new DeadLetters(this.deadLettersHost());
    this.leases = new Leases(this.leasesHost());
  }

  // ------------------------------------------------------------------------------------------------------- replayed

  /** Applies one record of a shard's state log. @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER */
  replay(record: StateRecord, shard: number = 0): void {
    const entry = decodeEntry(record);
    switch (entry.kind) {
      case 'boot':
        this.boot = Math.max(this.boot, entry.boot);
        return;
      case 'group': {
        const known = this.registry.get(entry.id);
        if (entry.group === null) {
          if (known !== undefined) this.forget(known);
          return;
        }
        const record = this.registry.intern(entry.group);
        const group = known ?? new Group(this.groupHost(), entry.id, record);
        if (known === undefined) this.registry.add(group);
        this.registry.setRecorded(group, shard);
        group.settings = record.settings;
        group.paused = record.paused;
        group.limitsChanged();
        return;
      }
      case 'set': {
        const group = this.registry.get(entry.id);
        if (group !== undefined) applySet(group.progressOf(entry.partition), entry);
        return;
      }
      case 'progress':
        this.registry.get(entry.id)?.progress.set(entry.partition, entry.progress);
        return;
      case 'redrive':
        this.registry.get(entry.id)?.progressOf(entry.partition).redrive(entry.redrive);
        return;
      case 'outbox':
        this.outboxes[shard]?.replay(entry.number, entry.entry);
        return;
      case 'arrived':
        this.setArrived(shard, entry.shard, entry.number);
        return;
    }
  }

  /** The state of one shard, as records. */
  *snapshot(shard: number = 0): Generator<StateRecord, void, undefined> {
    yield bootRecord(this.boot);
    for (const group of this.registry.all()) {
      if (!group.settings.durable) continue;
      const partitions = this.options.log.streamById(group.record.topicId)?.partitions;
      const isHere = (partition: number): boolean => (partitions?.[partition]?.shard ?? 0) === shard;
      if (!this.registry.isRecorded(group, shard)) continue;
      yield groupRecord(group.id, group.recordNow);
      for (const [partition, progress] of group.progress) {
        if (isHere(partition)) yield progressRecord(group.id, partition, progress);
      }
    }
    for (const [number, entry] of this.outboxes[shard]?.entries ?? []) yield outboxRecord(number, entry);
    for (const [from, number] of this.arrivals[shard] ?? []) yield arrivedRecord(from, number);
  }

  /** Everything was replayed: begins to serve. Deliveries leave when this start is durable, for tokens name it. */
  start(): void {
    const { log } = this.options;
    this.boot++;
    this.starting = this.sets.length;
    for (const sets of this.sets) {
      sets.put({
        records: [bootRecord(this.boot)],
        parts: [],
        committed() {},
        durable: () => {
          this.starting--;
          for (const group of this.registry.all()) if (group.takers.size > 0) this.ticks.wake(group);
        },
      });
    }
    for (const group of [...this.registry.all()]) {
      const stream = log.streamById(group.record.topicId);
      if (stream === undefined) this.letGo(group, undefined);
      else this.partitionsGone(group, stream);
    }
    this.outboxes.forEach((outbox, from) => {
      outbox.start(Math.max(0, ...this.arrivals.map((at) => at.get(from) ?? 0)));
    });
    this.unwatch = log.watchStreams(({ type, stream }) => {
      if (type === 'delete') this.streamGone(stream);
      else this.streamChanged(stream);
    });
    this.ticks.start();
  }

  /**
   * A stop in order: nothing new is handed out or taken. Verdicts that were given are committed, and those who gave them are
   * told when that is durable; {@link Deliveries.close} comes behind the last sync, for who is left.
   */
  stop(error: HadronError): void {
    if (this.over !== undefined) return;
    for (const group of this.ticks.waiting) for (const running of group.running.values()) running.contribute();
    for (const sets of this.sets) sets.flush();
    this.end(error);
  }

  /** Nobody is served any more; everybody who waits is told `error`. */
  close(error: HadronError): void {
    this.end(error);
    for (const fail of [...this.answering]) fail(error);
    for (const group of this.registry.all()) {
      for (const running of group.running.values()) running.close();
      group.running.clear();
    }
  }

  private end(error: HadronError): void {
    if (this.over !== undefined) return;
    this.over = error;
    this.unwatch?.();
    this.ticks.close();
    for (const outbox of this.outboxes) outbox.close();
    for (const group of this.registry.all()) this.endSessions(group, error);
    this.leases.fail(error);
  }

  // -------------------------------------------------------------------------------------------------------- sessions

  async open(request: OpenRequest, handler: SessionHandler): Promise<DeliverySession> {
    await this.streamToConsume(request.stream, request.group);
    const group = await this.ensure(request.stream, request.group, request.settings, request.defaults);
    const stream = this.streamOf(group);
    if (group.removed || stream === undefined) throw groupNotFound(request.stream, request.group);
    const { partition } = request;
    if (partition !== undefined && stream.partitions[partition] === undefined) {
      throw new HadronError('REQUEST_INVALID', `stream ${request.stream} has no partition ${partition}`, {
        field: 'partition',
      });
    }
    this.checkRoom(group);
    const number = ++this.sessionsMade;
    const id = request.peer === undefined ? String(number) : `${number}@${request.peer}`;
    const taker = this.taker(group, id, request.credit, handler, false, partition);
    return new LiveSession(this, group, taker, infoOf(stream));
  }

  async pull(request: PullRequest, signal?: AbortSignal): Promise<readonly OutgoingDelivery[]> {
    await this.streamToConsume(request.stream, request.group);
    const group = await this.ensure(request.stream, request.group, request.settings, undefined);
    if (signal?.aborted === true) return [];
    if (group.removed || this.streamOf(group) === undefined) throw groupNotFound(request.stream, request.group);
    this.checkRoom(group);
    return this.leases.pull(group, request, signal);
  }

  /** Sessions and pulls that wait; what a pull has brought counts as in flight only. @throws HadronError LIMIT_EXCEEDED */
  private checkRoom(group: Group): void {
    const max = this.limits.sessionsPerGroupMax;
    if (group.takers.size < max) return;
    let open = 0;
    for (const { isLease, core } of group.takers.values()) if (!isLease || !core.draining) open++;
    if (open < max) return;
    throw new HadronError(
      'LIMIT_EXCEEDED',
      `group ${group.name} has ${open} sessions already; close some, or raise credit instead`,
    );
  }

  answer(stream: string, group: string, items: readonly AnswerItem[]): Promise<readonly AnswerResult[]> {
    return new Promise((resolve, reject) => {
      this.answerTo(this.find(stream, group), items, resolve, reject);
    });
  }

  /** @internal Answers of a session; `done` always comes. */
  answerTo(
    group: Group,
    items: readonly AnswerItem[],
    done: (results: readonly AnswerResult[]) => void,
    failed: (error: HadronError) => void,
  ): void {
    if (this.over !== undefined) {
      failed(this.over);
      return;
    }
    const fail = (error: HadronError): void => {
      this.answering.delete(fail);
      failed(error.effect === 'unknown' ? error : unanswered(error));
    };
    this.answering.add(fail);
    group.answer(this.streamOf(group), items, (results) => {
      if (this.answering.delete(fail)) done(results);
    });
  }

  /** @internal */
  endSession(group: Group, taker: Taker, how: 'lost' | 'returned'): void {
    group.remove(taker, how);
    if (!group.settings.durable && group.takers.size === 0) this.letGo(group, undefined); // D7
    taker.handler.ended(undefined);
  }

  private taker(
    group: Group,
    id: string,
    credit: number,
    handler: SessionHandler,
    isLease: boolean,
    partition: number | undefined,
  ): Taker {
    const core = new Session({
      id,
      credit: Math.max(0, credit),
      partition,
      outMax: this.limits.sessionOutMax,
      bytesMax: this.limits.sessionBytesMax,
    });
    const taker: Taker = { core, handler, isLease, outgoing: [], withdrawn: [] };
    group.add(taker);
    this.runAll(group);
    this.ticks.wake(group);
    return taker;
  }

  private runAll(group: Group): void {
    for (const partition of this.streamOf(group)?.partitions ?? []) group.runOn(partition);
  }

  // ---------------------------------------------------------------------------------------------------------- groups

  async createGroup(
    stream: string,
    group: string,
    settings: GroupRequest,
    startOffsets?: ReadonlyMap<number, number>,
  ): Promise<GroupStatus> {
    const made = await this.ensure(stream, group, settings, undefined, startOffsets);
    return made.status(this.streamOf(made));
  }

  *groups(stream?: string): Generator<GroupStatus, void, undefined> {
    for (const group of this.registry.all()) {
      if (group.name === '' || (stream !== undefined && group.record.stream !== stream)) continue;
      yield group.status(this.streamOf(group));
    }
  }

  /** Groups in use, of other streams, whose dead letters go to this one. Each deletion of a stream asks. */
  *buryingIn(stream: string): Generator<{ readonly stream: string; readonly group: string }, void, undefined> {
    for (const group of this.registry.all()) {
      const { stream: source } = group.record;
      if (group.name === '' || group.takers.size === 0 || source === stream) continue;
      if (DeadLetters.streamOf(group) === stream) yield { stream: source, group: group.name };
    }
  }

  describe(stream: string, group: string): GroupStatus {
    const found = this.find(stream, group);
    return found.status(this.streamOf(found));
  }

  async set(stream: string, name: string, settings: GroupRequest): Promise<GroupStatus> {
    const group = this.find(stream, name);
    group.settings = changeGroup(group.settings, settings);
    group.limitsChanged();
    for (const { machine } of group.running.values()) machine.settingsChanged();
    return this.recordGroup(group);
  }

  async pause(stream: string, name: string, paused: boolean): Promise<GroupStatus> {
    const group = this.find(stream, name);
    group.paused = paused;
    return this.recordGroup(group);
  }

  async seek(stream: string, name: string, to: Start, partition?: number): Promise<GroupStatus> {
    const group = this.find(stream, name);
    const at = this.stream(stream);
    if (partition !== undefined && at.partitions[partition] === undefined) {
      throw new HadronError('REQUEST_INVALID', `stream ${stream} has no partition ${partition}`, {
        field: 'partition',
      });
    }
    const starts = await this.starts(at, to, undefined, partition);
    return this.reset(group, at, starts);
  }

  async purge(stream: string, name: string): Promise<GroupStatus> {
    const group = this.find(stream, name);
    const at = this.stream(stream);
    return this.reset(group, at, new Map(at.partitions.map((p) => [p.index, p.visibleOffset])));
  }

  async remove(stream: string, name: string): Promise<void> {
    const group = this.find(stream, name);
    const error = new HadronError('GROUP_NOT_FOUND', `group ${name} of stream ${stream} was removed`);
    await this.dropGroup(group, error);
  }

  inFlight(stream: string, group: string, limit: number): readonly InFlight[] {
    return this.find(stream, group).inFlight(limit);
  }

  /** Below this, no group that holds retention back needs anything; undefined: none does (D3). */
  heldOffset(topicId: string, partition: number): number | undefined {
    let held: number | undefined;
    for (const group of this.registry.of(topicId)) {
      if (!group.settings.holdRetention || group.name === '') continue;
      held = Math.min(held ?? Number.POSITIVE_INFINITY, group.progressOf(partition).floor);
    }
    return held;
  }

  // ---------------------------------------------------------------------------------------------------- dead letters

  deadLetters(query: DeadLetterQuery): AsyncGenerator<DeadLetterEntry, void, undefined> {
    return this.letters.list(query);
  }

  redrive(letters: readonly DeadLetter[], to?: string): Promise<number> {
    return this.letters.settle(letters, { redrive: true, to });
  }

  drop(letters: readonly DeadLetter[]): Promise<number> {
    return this.letters.settle(letters, { redrive: false });
  }

  // ------------------------------------------------------------------------------------------------- making, changing

  /** Of sessions and leases: an unknown stream is made where that is on. What is said of it waits until it is durable. */
  private async streamToConsume(name: string, group: string): Promise<void> {
    if (this.over !== undefined) throw this.over;
    checkGroupName(group);
    const { log, autoCreate } = this.options;
    if (log.stream(name) !== undefined) return;
    autoCreate?.(name);
    await new Promise<void>((committed, failed) => log.whenDurable(0, log.lastTicket(0), { committed, failed }));
  }

  private async ensure(
    streamName: string,
    name: string,
    asked: GroupRequest,
    defaults: GroupRequest | undefined,
    startOffsets?: ReadonlyMap<number, number>,
  ): Promise<Group> {
    if (this.over !== undefined) throw this.over;
    checkGroupName(name);
    const stream = this.stream(streamName);
    const key = `${stream.topicId} ${name}`;
    const known = this.creating.get(key) ?? this.registry.named(stream.topicId, name);
    if (known !== undefined) {
      const group = await known;
      checkSame(name, group.settings, asked);
      return group;
    }
    const inStream = this.registry.count(stream.topicId);
    if (inStream >= this.limits.groupsPerStreamMax) {
      throw new HadronError('LIMIT_EXCEEDED', `stream ${streamName} has ${inStream} groups already; remove some`);
    }
    const settings = resolveGroup(asked, defaults);
    const creating = this.create(stream, name, settings, startOffsets).finally(() => this.creating.delete(key));
    this.creating.set(key, creating);
    return creating;
  }

  /** Resolves when the group and where it begins are durable (D6). */
  private async create(
    stream: EventStream,
    name: string,
    settings: GroupSettings,
    startOffsets: ReadonlyMap<number, number> | undefined,
  ): Promise<Group> {
    const starts = await this.starts(stream, settings.start, startOffsets);
    if (this.over !== undefined) throw this.over;
    if (this.options.log.streamById(stream.topicId) === undefined) throw groupNotFound(stream.name, name);
    const record = this.registry.intern({
      topicId: stream.topicId,
      stream: stream.name,
      group: name,
      settings,
      paused: false,
      starts: Object.fromEntries(starts),
    });
    const group = new Group(this.groupHost(), this.registry.freeId(), record);
    this.registry.add(group);
    if (!settings.durable) return group;
    try {
      await this.recordGroup(group);
    } catch (error) {
      this.forget(group);
      throw error;
    }
    return group;
  }

  /** Where a group begins on each partition. @throws HadronError OFFSET_OUT_OF_RANGE */
  private async starts(
    stream: EventStream,
    start: Start,
    offsets: ReadonlyMap<number, number> | undefined,
    only?: number,
  ): Promise<Map<number, number>> {
    const starts = new Map<number, number>();
    for (const partition of stream.partitions) {
      if (only !== undefined && partition.index !== only) continue;
      const wanted = offsets?.get(partition.index) ?? (await this.startOn(partition, start));
      if (!(wanted >= 0 && wanted <= partition.visibleOffset)) {
        throw new HadronError(
          'OFFSET_OUT_OF_RANGE',
          `partition ${partition.index} of stream ${stream.name} has offsets up to ${partition.visibleOffset}, not ${wanted}; begin at one of these`,
          { field: 'settings.start' },
        );
      }
      starts.set(partition.index, wanted);
    }
    return starts;
  }

  private async startOn(partition: EventPartition, start: Start): Promise<number> {
    switch (start.from) {
      case 'beginning':
        return partition.startOffset;
      case 'latest':
        return partition.visibleOffset;
      case 'offset':
        return start.beyondEnd === 'latest' ? Math.min(start.offset, partition.visibleOffset) : start.offset;
      case 'time':
        return this.options.log.offsetForTime(partition, start.timeMs);
    }
  }

  /** Records the group as it is, on every shard that has partitions of it. */
  private async recordGroup(group: Group): Promise<GroupStatus> {
    if (group.settings.durable) {
      const record = groupRecord(group.id, group.recordNow);
      await this.commitOn(this.shardsOf(group), [record], (shard) => this.registry.setRecorded(group, shard));
    }
    this.ticks.wake(group);
    return group.status(this.streamOf(group));
  }

  /** Floor := that position; what is out is withdrawn, tokens from before are void (D22). */
  private async reset(group: Group, stream: EventStream, to: ReadonlyMap<number, number>): Promise<GroupStatus> {
    const byShard = new Map<number, Map<number, number>>();
    for (const [index, offset] of to) {
      const { shard } = stream.partitions[index] as EventPartition;
      const there = byShard.get(shard) ?? new Map<number, number>();
      byShard.set(shard, there.set(index, offset));
    }
    try {
      await Promise.all([...byShard].map(([shard, there]) => this.resetOn(shard, group, there)));
    } finally {
      if (group.takers.size > 0 && !group.removed) this.runAll(group);
      this.ticks.wake(group);
    }
    return group.status(this.streamOf(group));
  }

  /** In one go: what was decided before is committed before, and nothing is decided on what is left behind. */
  private resetOn(shard: number, group: Group, to: ReadonlyMap<number, number>): Promise<void> {
    const mark = { boot: this.boot, handout: this.handouts };
    for (const index of to.keys()) {
      const running = group.running.get(index);
      running?.machine.withdrawAll();
      running?.contribute();
      group.stopOn(index);
    }
    const reset = new Map<number, Progress>();
    const apply = (): void => {
      for (const [index, progress] of reset) group.progress.set(index, progress);
    };
    return this.commit(shard, () => {
      for (const [index, offset] of to) reset.set(index, group.progressOf(index).soughtTo(offset, mark));
      const records = [...reset].map(([index, progress]) => progressRecord(group.id, index, progress));
      return { records: group.settings.durable ? records : [], parts: [], committed: apply };
    });
  }

  /** Commits records on each of these shards, with the next set. Resolves when durable everywhere. */
  private async commitOn(
    shards: Iterable<number>,
    records: readonly StateRecord[],
    committed: (shard: number) => void,
  ): Promise<void> {
    const each = (shard: number): Promise<void> =>
      this.commit(shard, { records, parts: [], committed: () => committed(shard) });
    await Promise.all([...shards].map(each));
  }

  /**
   * Commits with the next set; a function is asked at once, and what it gives is committed before this returns.
   * Resolves when it is durable.
   * @throws HadronError what the log says to it; STORAGE_FULL only where it is committed at once
   */
  private commit(shard: number, what: Uncommitted | (() => Uncommitted)): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (this.over !== undefined) throw this.over;
      const refused = (error: HadronError): void => {
        this.answering.delete(refused);
        reject(error);
      };
      const durable = (): void => {
        this.answering.delete(refused);
        resolve();
      };
      this.answering.add(refused);
      if (typeof what === 'object') {
        this.setsOf(shard).put({ ...what, durable, ...(what.parts.length > 0 ? { refused } : {}) });
        this.ticks.schedule();
        return;
      }
      try {
        this.setsOf(shard).commitNow(() => ({ ...what(), durable }));
      } catch (error) {
        this.answering.delete(refused);
        throw error;
      }
    });
  }

  private async dropGroup(group: Group, error: HadronError | undefined): Promise<void> {
    if (group.removed) return;
    const shards = group.settings.durable ? this.registry.shardsOf(group) : [];
    this.forget(group);
    this.endSessions(group, error);
    for (const index of [...group.running.keys()]) group.stopOn(index);
    await this.commitOn(shards, [groupRecord(group.id, null)], () => undefined);
  }

  /** Nobody waits for it: when it cannot be recorded the service ends, and the next start does it again. */
  private letGo(group: Group, error: HadronError | undefined): void {
    this.dropGroup(group, error).catch(() => undefined);
  }

  private endSessions(group: Group, error: HadronError | undefined): void {
    for (const taker of [...group.takers.values()]) {
      group.takers.delete(taker.core);
      group.sessions.remove(taker.core);
      taker.handler.ended(error);
    }
  }

  private streamGone(stream: EventStream): void {
    for (const group of this.registry.of(stream.topicId)) {
      this.letGo(group, new HadronError('TOPIC_NOT_FOUND', `stream ${stream.name} was deleted`));
    }
  }

  /** New partitions begin at 0 (D6), also where one of that number was taken away before. */
  private streamChanged(stream: EventStream): void {
    for (const group of this.registry.of(stream.topicId)) {
      this.partitionsGone(group, stream);
      this.recordWhereNew(group);
      if (group.takers.size === 0) continue;
      this.runAll(group);
      this.ticks.wake(group);
    }
  }

  /** New partitions may lie on a shard that knows nothing of the group. */
  private recordWhereNew(group: Group): void {
    if (!group.settings.durable || group.name === '') return;
    const shards = [...this.shardsOf(group)].filter((shard) => !this.registry.isRecorded(group, shard));
    if (shards.length === 0) return;
    const committed = (shard: number): void => this.registry.setRecorded(group, shard);
    this.commitOn(shards, [groupRecord(group.id, group.recordNow)], committed).catch(() => undefined);
  }

  private partitionsGone(group: Group, stream: EventStream): void {
    const { length } = stream.partitions;
    const begun = Object.keys(group.record.starts).map(Number);
    for (const index of new Set([...begun, ...group.progress.keys()])) {
      if (index < length) continue;
      const { readTo, mark } = group.progressOf(index);
      const isKnown = readTo === 0 && mark.boot > 0;
      if (!isKnown) this.partitionGone(group, index);
    }
  }

  private partitionGone(group: Group, index: number): void {
    group.running.get(index)?.machine.withdrawAll();
    group.running.get(index)?.contribute();
    group.stopOn(index);
    const progress = new Progress(0);
    progress.mark = { boot: this.boot, handout: this.handouts };
    group.progress.set(index, progress);
    if (!group.settings.durable) return;
    const record = progressRecord(group.id, index, progress);
    for (const shard of this.registry.shardsOf(group)) {
      this.setsOf(shard).put({ records: [record], parts: [], committed() {}, durable() {} });
    }
    this.ticks.schedule();
  }

  private forget(group: Group): void {
    this.registry.forget(group);
    this.ticks.forget(group);
  }

  /** @throws HadronError TOPIC_NOT_FOUND, GROUP_NOT_FOUND */
  private find(stream: string, name: string): Group {
    const group = this.registry.named(this.stream(stream).topicId, name);
    if (group === undefined || name === '') throw groupNotFound(stream, name);
    return group;
  }

  /** @throws HadronError TOPIC_NOT_FOUND */
  private stream(name: string): EventStream {
    const stream = this.options.log.stream(name);
    if (stream === undefined) {
      throw new HadronError('TOPIC_NOT_FOUND', `there is no stream ${name}; create it first`, { field: 'stream' });
    }
    return stream;
  }

  private streamOf(group: Group): EventStream | undefined {
    return this.options.log.streamById(group.record.topicId);
  }

  private shardsOf(group: Group): Set<number> {
    return new Set((this.streamOf(group)?.partitions ?? []).map((p) => p.shard));
  }

  private setsOf(shard: number): AppendSets {
    const sets = this.sets[shard];
    if (sets === undefined) throw new TypeError(`there is no shard ${shard}`);
    return sets;
  }

  private setArrived(at: number, from: number, number: number): void {
    const arrived = this.arrivals[at];
    arrived?.set(from, Math.max(arrived.get(from) ?? 0, number));
  }

  // ------------------------------------------------------------------------------------------------------------ ticks

  private tick(groups: ReadonlySet<Group>): void {
    for (const group of groups) for (const running of group.running.values()) running.contribute();
    for (const sets of this.sets) {
      if (!sets.flush()) this.ticks.scheduleIn(RETRY_MS);
      if (this.over !== undefined) return;
    }
    if (this.starting === 0) this.pump(groups);
    for (const group of groups) {
      for (const running of group.running.values()) running.schedule();
      group.tell((taker, error) => this.handlerThrew(group, taker, error));
    }
    this.leases.look(groups);
    for (const group of groups) group.rest();
  }

  /** Round robin: those whose time has not come are first in the next tick (D23). */
  private pump(groups: ReadonlySet<Group>): void {
    const untilMs = this.clock.monotonicMs() + TICK_MS;
    const left = new Set<Group>();
    for (const group of groups) {
      if (this.clock.monotonicMs() <= untilMs) group.pump(untilMs);
      else if (!group.removed) left.add(group);
    }
    this.ticks.postpone(left);
  }

  private handlerThrew(group: Group, taker: Taker, error: unknown): void {
    this.options.logger.error(
      { group: group.name, err: String(error) },
      'a session cannot be told what came; it is ended',
    );
    group.remove(taker, 'lost');
  }

  private wallJumped(now: Now): void {
    for (const group of this.registry.all()) {
      for (const { machine } of group.running.values()) machine.wallJumped(now);
      if (group.running.size > 0) this.ticks.wake(group);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ hosts

  private groupHost(): ConstructorParameters<typeof Group>[0] {
    const bootNow = (): number => this.boot;
    const handoutsNow = (): number => this.handouts;
    return {
      get boot() {
        return bootNow();
      },
      get handouts() {
        return handoutsNow();
      },
      now: () => this.ticks.now,
      run: (group, partition) => this.run(group, partition),
      wake: (group) => this.ticks.wake(group),
      whenDurable: (shard, fn) => {
        this.setsOf(shard).whenDurable(fn);
        this.ticks.schedule();
      },
    };
  }

  private run(group: Group, partition: EventPartition): GroupPartition {
    const { log, random, logger, sabotage } = this.options;
    const recordSettings = this.recordSettings(partition.stream);
    let compiled: { readonly settings: GroupSettings; readonly filter: CompiledFilter } | undefined;
    const filter: CompiledFilter = (attribute) => {
      if (compiled?.settings !== group.settings) {
        compiled = { settings: group.settings, filter: compileFilters(group.settings.filters) };
      }
      return compiled.filter(attribute);
    };
    return new GroupPartition({
      partition: partition.index,
      group: group.id,
      name: group.name,
      stream: partition.stream,
      get settings() {
        return group.settings;
      },
      progress: group.progressOf(partition.index),
      sessions: group.sessions,
      source: new StreamSource({
        log,
        reader: this.reader,
        partition,
        filter,
        hasFilter: () => group.settings.filters.length > 0,
        recordSettings,
        byKey: group.settings.ordering === 'key',
      }),
      settlement: this.letters.settlementOf(group, partition),
      sets: this.setsOf(partition.shard),
      random,
      logger,
      limits: this.limits,
      boot: this.boot,
      nextHandout: () => ++this.handouts,
      sabotage,
      now: () => this.ticks.now,
      readCopy: (redrive) => this.letters.readCopy(redrive),
      deliver: (session, delivery) => void group.takers.get(session)?.outgoing.push(delivery),
      withdrawn: (session, token) => void group.takers.get(session)?.withdrawn.push(token),
      wake: () => this.ticks.wake(group),
      setTimer: (deadline, at) => this.ticks.keep(deadline, at),
    });
  }

  private redriven(
    group: Group,
    partition: number,
    redrive: Omit<Redrive, 'id'>,
  ): { readonly record: StateRecord; committed(): void; durable(): void } {
    const progress = group.progressOf(partition);
    const given: Redrive = { ...redrive, id: -++progress.lastRedrive };
    return {
      record: redriveRecord(group.id, partition, given),
      committed: () => progress.redrive(given),
      durable: () => {
        group.running.get(partition)?.machine.addRedrive(given.id, this.ticks.now);
        this.ticks.wake(group);
      },
    };
  }

  private forwarderHost(): ConstructorParameters<typeof Forwarder>[1] {
    const { log, clock, logger } = this.options;
    return {
      log,
      clock,
      logger,
      setsOf: (shard) => this.setsOf(shard),
      arrived: (at, from) => this.arrivals[at]?.get(from) ?? 0,
      setArrived: (at, from, number) => this.setArrived(at, from, number),
      redrive: (entry) => {
        const group = this.registry.get(entry.group);
        return group === undefined ? undefined : this.redriven(group, entry.partition, entry.redrive);
      },
      makeStream: (name, partitions) => this.letters.makeStream(name, partitions),
      wake: () => this.ticks.schedule(),
    };
  }

  /** How the records of a stream are seen as events. Undefined: as by default. */
  private recordSettings(name: string): RecordSettings | undefined {
    const stream = this.options.log.stream(name);
    return stream === undefined ? undefined : recordSettingsOf(stream.settings);
  }

  private deadLettersHost(): ConstructorParameters<typeof DeadLetters>[0] {
    const { log, createStream } = this.options;
    return {
      log,
      reader: this.reader,
      limits: this.limits,
      createStream,
      recordSettings: (stream) => this.recordSettings(stream),
      groupOf: (stream, name) => this.registry.named(stream.topicId, name),
      groupsOf: (topicId) => this.registry.of(topicId),
      ledgerOf: (stream) => this.ledgerOf(stream),
      isRecorded: (group, shard) => this.registry.isRecorded(group, shard),
      setRecorded: (group, shard) => this.registry.setRecorded(group, shard),
      redrive: (group, partition, redrive) => this.redriven(group, partition, redrive),
      commit: (shard, contribution) => this.commit(shard, contribution),
    };
  }

  private leasesHost(): ConstructorParameters<typeof Leases>[0] {
    return {
      clock: this.clock,
      taker: (group, credit, handler) =>
        this.taker(group, `pull-${++this.sessionsMade}`, credit, handler, true, undefined),
      wake: (group) => this.ticks.wake(group),
      schedule: () => this.ticks.schedule(),
      setTimer: (deadline, at) => this.ticks.keep(deadline, at),
      letGo: (group) => this.letGo(group, undefined),
    };
  }

  private ledgerOf(stream: EventStream): Group {
    const known = this.registry.named(stream.topicId, '');
    if (known !== undefined) return known;
    const ledger = new Group(
      this.groupHost(),
      this.registry.freeId(),
      this.registry.intern({
        topicId: stream.topicId,
        stream: stream.name,
        group: '',
        settings: resolveGroup({}),
        paused: false,
        starts: {},
      }),
    );
    this.registry.add(ledger);
    return ledger;
  }
}

/** The verdict may have been stored when the service ended. */
const unanswered = (cause: HadronError): HadronError =>
  new HadronError(
    'CONNECTION_FAILED',
    'the server ended before it was known whether the answer is stored; the event may come again',
    { cause },
  );

class LiveSession implements DeliverySession {
  readonly id: string;
  readonly stream: StreamInfo;
  private readonly service: Deliveries;
  private readonly group: Group;
  private readonly taker: Taker;

  constructor(service: Deliveries, group: Group, taker: Taker, stream: StreamInfo) {
    this.id = taker.core.id;
    this.stream = stream;
    this.service = service;
    this.group = group;
    this.taker = taker;
  }

  get settings(): GroupSettings {
    return this.group.settings;
  }

  credit(count: number): void {
    if (this.isOpen) this.group.credit(this.taker.core, count);
  }

  answer(items: readonly AnswerItem[], done: (results: readonly AnswerResult[]) => void): void {
    this.service.answerTo(this.group, items, done, (error) => {
      done(items.map(() => ({ ok: false, code: error.code, message: error.message })));
    });
  }

  drain(): void {
    this.taker.core.draining = true;
  }

  close(): void {
    if (this.isOpen) this.service.endSession(this.group, this.taker, 'returned');
  }

  lost(): void {
    if (this.isOpen) this.service.endSession(this.group, this.taker, 'lost');
  }

  private get isOpen(): boolean {
    return this.group.takers.has(this.taker.core);
  }
}
