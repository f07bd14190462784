/**
 * What the log scenario knows: the shard of the present life, the logs, what was attempted and acknowledged, and how a
 * recovered shard is judged. The operations of clients are in `log-operations.ts`, the course of a seed in `log.ts`.
 */
import { readU32, silentLogger } from '@hadron/base';
import {
  bytesFormat,
  type Durability,
  type Log,
  type LogId,
  type LogObserver,
  type NewLog,
  type Precondition,
  read,
  readSnapshot,
  type Sabotage,
  type SetEntry,
  Shard,
  type ShardSettings,
} from '@hadron/log';
import { type Batch, History, type LogView, type PlacedBatch, type Sim, type SimMachine } from '@hadron/testkit';
import { readCheckpoint } from '../../../packages/log/src/checkpoint-file.ts';
import { scanFrames } from '../../../packages/log/src/recovery.ts';
import { makeUnit, recordsFormat, RECORDS_HEADER_BYTES, seeUnits } from '../../../packages/log/src/testing/records.ts';

const DIRECTORY = 'data/shards/0';
/** Its appends are a map from key to value; it is never trimmed and has snapshots. */
export const STATE_LOG = 'state';
const STATE_KEYS = 8;

/** A log as its clients know it, through all lives. */
export interface KnownLog {
  readonly name: string;
  readonly framed: boolean;
  /** The engine's, of the present life. */
  log: Log;
  /** Every unit that was given a position and may be there: position → unit. */
  readonly units: Map<number, { readonly id: number; readonly extent: number }>;
  /** Its removal was asked for. */
  removed: boolean;
}

/** One unit of an append set. */
export interface Part {
  readonly known: KnownLog;
  readonly bytes: number;
  readonly extent: number;
}

/** State that follows from a log's appends, as a broker keeps it for producers: an order-proof sum over all units. */
interface Derived {
  next: number;
  sum: number;
}

/** A set whose logs must show it in one step. */
interface OpenSet {
  readonly id: number;
  readonly ends: { readonly log: Log; readonly position: number }[];
}

export class PromiseBroken extends Error {
  override readonly name = 'PromiseBroken';
}

/** Recovery found damaged data: right after a bit was flipped, a bug everywhere else. */
class DamageReported extends PromiseBroken {}

export class LogWorld {
  readonly sim: Sim;
  readonly history = new History();
  readonly settings: ShardSettings;
  readonly known = new Map<string, KnownLog>();
  readonly counts: Record<string, number> = {};
  shard!: Shard;
  /** The shard has failed and its successor is due. */
  failed = false;
  everFaulty = false;
  /** No mishap waits on the disk. */
  healthy = true;
  /** A disk that may refuse or fail was set up in this life: what went wrong need not be the engine's doing. */
  faulty = false;

  private readonly sabotage: Sabotage;
  private machine: SimMachine | undefined;
  private derived = new Map<LogId, Derived>();
  private openSets: OpenSet[] = [];
  private readonly lossy = new Set<string>();
  private shown = new Map<Log, { visible: number; start: number }>();
  private setIds = 0;
  private unitIds = 0;
  private logNames = 0;
  private waiting = 0;

  constructor(sim: Sim, sabotage: Sabotage) {
    this.sim = sim;
    this.sabotage = sabotage;
    this.settings = smallSettings(sim);
    sim.disk.put('data/shards/readme', new Uint8Array()); // the folder above is its owner's to make durable
  }

  get isAlive(): boolean {
    return this.machine?.process.isAlive === true;
  }

  count(what: string, n: number = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + n;
  }

  note(what: string, subject: string, a?: number, b?: number): void {
    this.sim.scheduler.note('client', what, subject, a, b);
  }

  logs(): KnownLog[] {
    return [...this.known.values()].filter((k) => !k.removed && this.shard.logs.get(k.log.id) === k.log);
  }

  /** Work beside the clients: a read, a checkpoint. It may end with the process; anything it finds ends the run. */
  spawn(work: () => Promise<void>): void {
    const { process } = this.machine as SimMachine;
    work().catch((error: unknown) => {
      if (process.isAlive) this.sim.scheduler.fail(error);
    });
  }

  // ------------------------------------------------------------------------------------------------------------ lives

  /** Starts a process if none lives, opens the shard and judges what it found. @returns false when that did not succeed */
  async open(): Promise<boolean> {
    this.machine ??= this.sim.start();
    const { process, fs, clock, random } = this.machine;
    const derived = new Map<LogId, Derived>();
    let shard: Shard | undefined;
    let failure: unknown;
    Shard.open({
      fs,
      clock,
      random,
      logger: silentLogger,
      directory: DIRECTORY,
      formats: [recordsFormat, bytesFormat],
      settings: this.settings,
      sabotage: this.sabotage,
      optionsFor: () => this.logOptions(),
      observer: observerOf(derived),
      onFailure: process.guard(() => {
        this.failed = true;
      }),
    }).then(
      (opened) => {
        shard = opened;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    await this.sim.scheduler.runUntil(() => shard !== undefined || failure !== undefined || !process.isAlive, {
      what: 'a shard to open',
    });
    if (!process.isAlive) this.machine = undefined;
    if (shard === undefined || !process.isAlive) {
      if (failure !== undefined && !this.faulty && process.isAlive) throw failure;
      return false;
    }
    this.shard = shard;
    this.derived = derived;
    this.failed = false;
    this.openSets = [];
    this.shown.clear();
    this.count('recoveries');
    for (const name of shard.recovered.cases) this.count(`case ${name}`);
    this.note('opens', shard.recovered.cases.join(', '), shard.syncedLsn);
    for (const log of shard.logs.values()) {
      this.note(
        'finds',
        `${log.name} (id ${log.id}, ${log.durability}, epoch ${log.epoch})`,
        log.startPosition,
        log.nextPosition - log.startPosition,
      );
    }
    return this.judge();
  }

  /** Reads every log to its end, and holds it against all that was promised. */
  private async judge(): Promise<boolean> {
    const { shard } = this;
    if (shard.recovered.damage.length > 0) {
      throw new DamageReported(`recovery reports damage: ${JSON.stringify(shard.recovered.damage)}`);
    }
    const views = await this.views();
    if (views === undefined) return false;
    this.history.recovered(views);
    for (const [name, view] of views) this.adopt(name, view);
    for (const known of this.known.values()) if (!views.has(known.name)) known.removed = true;
    this.checkDerived();
    this.checkStateLog();
    shard.onSettled = () => this.checkShown();
    return true;
  }

  /** All logs of the shard as a reader sees them. Undefined when the process died or the disk failed meanwhile. */
  async views(): Promise<Map<string, LogView> | undefined> {
    const { shard } = this;
    const { process } = this.machine as SimMachine;
    const views = new Map<string, LogView>();
    let done = false;
    let failure: unknown;
    const reading = async (): Promise<void> => {
      for (const log of shard.logs.values()) {
        const batches = await this.readFrom(shard, log, log.startPosition, Number.POSITIVE_INFINITY, 2000);
        views.set(log.name, { start: log.startPosition, batches });
      }
    };
    reading().then(
      () => {
        done = true;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    await this.sim.scheduler.runUntil(() => done || failure !== undefined || !process.isAlive, {
      what: 'all logs to be read',
    });
    if (failure !== undefined && process.isAlive && !this.faulty) throw failure;
    if (!process.isAlive) this.machine = undefined;
    return done && process.isAlive ? views : undefined;
  }

  /** Whole units from `from` on: at least those below `to` that are visible. */
  async readFrom(shard: Shard, log: Log, from: number, to: number, maxBytes: number): Promise<PlacedBatch[]> {
    const framed = log.format === recordsFormat;
    const parts: Buffer[] = [];
    let at = from;
    while (at < to && at < log.visiblePosition) {
      const result = await read(shard, log, at, { maxBytes, atLeastOne: true });
      for (const part of result.parts) parts.push(Buffer.from(part));
      const next = result.nextPosition;
      result.release();
      if (next <= at)
        throw new PromiseBroken(`a read of ${log.name} at ${at} gives nothing, visible is ${log.visiblePosition}`);
      at = next;
    }
    const bytes = Buffer.concat(parts);
    const whole = framed ? bytes : bytes.subarray(0, wholeUnits(bytes));
    let position = from;
    return seeUnits(whole).map((u) => {
      const placed: PlacedBatch = framed
        ? { log: log.name, position: u.position, extent: u.extent, bytesHash: u.id, epoch: u.epoch }
        : { log: log.name, position, extent: u.bytes, bytesHash: u.id };
      position += u.bytes;
      return placed;
    });
  }

  /** The clients go on with the logs as they were found. */
  private adopt(name: string, view: LogView): void {
    const log = [...this.shard.logs.values()].find((l) => l.name === name) as Log;
    const before = this.known.get(name);
    const known: KnownLog = before ?? {
      name,
      framed: log.format === recordsFormat,
      log,
      units: new Map(),
      removed: false,
    };
    known.log = log; // one whose removal came to nothing is left alone: its history is open
    for (const position of known.units.keys()) if (position >= view.start) known.units.delete(position);
    for (const b of view.batches) known.units.set(b.position, { id: b.bytesHash as number, extent: b.extent });
    this.known.set(name, known);
    this.watch(known);
  }

  /** What observers restored and replayed is what they would have had if the process had lived on. */
  private checkDerived(): void {
    for (const { log, units, name } of this.known.values()) {
      if (this.shard.logs.get(log.id) !== log) continue;
      const state = this.derived.get(log.id) ?? { next: 0, sum: 0 };
      let sum = 0;
      for (const [position, u] of units) if (position < log.nextPosition) sum = (sum + term(u.id, position)) | 0;
      const lostEnd = log.durability === 'os' && state.next < log.nextPosition;
      // On a full disk trimmed segments go before a checkpoint holds what follows from them; an `os` log may lose its end
      // and have it trimmed.
      if ((this.everFaulty || log.durability === 'os') && log.startPosition > 0) this.lossy.add(name);
      if (state.sum !== sum && !lostEnd && !this.lossy.has(name)) {
        throw new PromiseBroken(
          `state of ${name} up to ${state.next} is ${state.sum}, its ${units.size} units up to ${log.nextPosition} give ${sum}`,
        );
      }
      this.derived.set(log.id, { next: log.nextPosition, sum });
    }
  }

  /** Snapshot and replay of the state log give what all its records give. */
  private checkStateLog(): void {
    const known = this.known.get(STATE_LOG);
    if (known === undefined) return;
    const snapshot = this.shard.snapshots.get(known.log.id);
    const state = new Map<number, number>();
    if (snapshot !== undefined && snapshot.file !== '') {
      this.count('snapshots read');
      const { fs } = this.machine as SimMachine;
      for (const chunk of readSnapshot(fs, `${DIRECTORY}/snapshots/${snapshot.file}`)) {
        for (let at = 0; at < chunk.length; at += 8) state.set(readU32(chunk, at), readU32(chunk, at + 4));
      }
    }
    const units = [...known.units].sort(([a], [b]) => a - b);
    for (const [position, u] of units) if (position >= (snapshot?.position ?? 0)) state.set(u.id % STATE_KEYS, u.id);
    const whole = new Map(units.map(([, u]) => [u.id % STATE_KEYS, u.id]));
    for (const key of new Set([...state.keys(), ...whole.keys()])) {
      if (state.get(key) === whole.get(key)) continue;
      throw new PromiseBroken(
        `key ${key} of the state log is ${state.get(key)} by its snapshot, ${whole.get(key)} by its records`,
      );
    }
    this.registerSnapshots(known);
  }

  private registerSnapshots(known: KnownLog): void {
    this.shard.registerSnapshots({
      log: known.log,
      *chunks() {
        const state = new Map([...known.units].sort(([a], [b]) => a - b).map(([, u]) => [u.id % STATE_KEYS, u.id]));
        for (const [key, id] of state) {
          const b = Buffer.alloc(8);
          b.writeUInt32BE(key, 0);
          b.writeUInt32BE(id, 4);
          yield b;
        }
      },
    });
  }

  /** The owner's answer to a failure: a new shard over the same folder, while the old one still serves reads. */
  async takeOver(): Promise<void> {
    const old = this.shard;
    this.count('failures');
    this.waiting = 0;
    for (let attempt = 0; this.isAlive; attempt++) {
      if (attempt === 2) this.heal();
      if (await this.open()) {
        old.abandon();
        return;
      }
      if (attempt > 4 && this.isAlive) throw new PromiseBroken('the shard does not open on a healthy disk');
    }
  }

  /** The disk works again and has room. */
  heal(): void {
    const { disk } = this.sim;
    this.healthy = true;
    disk.faults.clear();
    disk.capacityBytes = CAPACITY_BYTES;
  }

  /** kill -9 and perhaps a power loss. */
  die(powerLoss: boolean): void {
    this.machine?.process.kill();
    this.machine = undefined;
    this.waiting = 0;
    if (powerLoss) this.sim.disk.powerLoss();
  }

  /**
   * Flips a bit in a frame that was acknowledged: the next open must refuse or report it, and lose nothing in silence (G2).
   * @returns false when there is no such frame
   */
  damage(): boolean {
    const { disk, random } = this.sim;
    const inspector = this.sim.start('inspector');
    const scan = scanFrames(inspector.fs, `${DIRECTORY}/commit`);
    const path = `${DIRECTORY}/checkpoint`;
    const covered =
      inspector.fs.sizeSync(path) === undefined ? 0 : readCheckpoint(Buffer.from(disk.content(path)), path).lsn;
    inspector.process.kill();
    const frames = scan.files
      .flatMap((f) => f.frames)
      .filter((f) => f.head.lsn <= scan.durableLsn && f.head.lsn > covered);
    if (frames.length === 0) return false;
    const { file, at, head } = random.pick(frames);
    this.everFaulty = true; // what was trimmed and is damaged now is not replayed
    disk.corrupt(file.path, at + random.int(head.length), 1 << random.int(8));
    return true;
  }

  /** Opens a damaged folder. @returns whether it said so */
  async openDamaged(): Promise<boolean> {
    try {
      return (await this.open()) && false;
    } catch (error) {
      if (error instanceof DamageReported || (error as { code?: string }).code === 'DATA_DAMAGED') return true;
      throw error;
    }
  }

  /** Ends in order. @returns false when the process died before that was done */
  async stop(): Promise<boolean> {
    const { process } = this.machine as SimMachine;
    let closed = false;
    void this.shard.close().then(
      process.guard(() => {
        closed = true;
      }),
    );
    await this.sim.scheduler.runUntil(() => closed || !process.isAlive, { what: 'the shard to close' });
    if (process.isAlive && !this.faulty && this.waiting > 0) {
      throw new PromiseBroken(`${this.waiting} answers were never given, and the shard is closed`);
    }
    this.die(false);
    return closed;
  }

  /** Nothing is under way any more: every client has had its answer. */
  async calm(): Promise<void> {
    await this.sim.scheduler.runUntilIdle({ timersMs: 5000 });
    if (this.isAlive && !this.failed && this.waiting > 0) {
      throw new PromiseBroken(`${this.waiting} clients wait for an answer, and nothing is under way`);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- clients

  newLog(spec: Partial<NewLog> & { name?: string } = {}): KnownLog {
    const name = spec.name ?? `log-${this.logNames++}`;
    const log = this.shard.newLog({ format: recordsFormat, ...spec, name, options: this.logOptions() });
    const known: KnownLog = { name, framed: log.format === recordsFormat, log, units: new Map(), removed: false };
    return known;
  }

  /** The log is there, as far as the process that made it knows. */
  created(known: KnownLog): void {
    this.known.set(known.name, known);
    this.watch(known);
    if (known.name === STATE_LOG) this.registerSnapshots(known);
  }

  logOptions(): { segmentBytes: number; segmentMs: number } {
    return { segmentBytes: this.sim.random.pick([1500, 6000, 40_000]), segmentMs: this.sim.random.pick([3, 1e9]) };
  }

  /**
   * Appends one unit for each part, with other changes in front, as one set; a single part takes the produce path.
   * @returns false when it was refused
   */
  append(
    parts: readonly Part[],
    before: readonly SetEntry[] = [],
    options: { preconditions?: Precondition[]; control?: boolean } = {},
  ): boolean {
    const setId = ++this.setIds;
    const batches: Batch[] = [];
    const entries: SetEntry[] = [...before];
    for (const { known, bytes, extent } of parts) {
      const id = ++this.unitIds;
      const unit = makeUnit({ id, bytes, extent: known.framed ? extent : 1, timestamp: this.sim.scheduler.wallMs });
      const e = known.framed ? extent : unit.length;
      batches.push({ log: known.name, extent: e, bytesHash: id });
      entries.push({
        kind: 'append',
        log: known.log,
        bytes: unit,
        at: 0,
        length: unit.length,
        extent: e,
        maxTimestamp: this.sim.scheduler.wallMs,
      });
    }
    const single = entries.length === 1;
    const durability: Durability = single && parts[0]?.known.log.durability === 'os' ? 'os' : 'fsync';
    this.history.attempted(setId, batches, { durability: durability === 'os' ? 'os' : 'sync' });
    let next = new Map(parts.map(({ known }) => [known, known.log.nextPosition]));
    let lsn: number;
    try {
      const e = entries[0] as SetEntry;
      lsn =
        single && e.kind === 'append' && options.preconditions === undefined && options.control === undefined
          ? this.shard.append(e.log, e.bytes, e.at, e.length, e.extent, e.maxTimestamp)
          : this.shard.appendSet(entries, options);
    } catch (error) {
      return this.refused(setId, error);
    }
    next = new Map(next);
    const placed = batches.map((batch, i): PlacedBatch => {
      const { known } = parts[i] as Part;
      const position = next.get(known) as number;
      next.set(known, position + batch.extent);
      known.units.set(position, { id: batch.bytesHash as number, extent: batch.extent });
      const state = this.derived.get(known.log.id) ?? { next: 0, sum: 0 };
      this.derived.set(known.log.id, {
        next: position + batch.extent,
        sum: (state.sum + term(batch.bytesHash as number, position)) | 0,
      });
      this.note('appends', `${known.name} set ${setId}`, position, batch.extent);
      return known.framed ? { ...batch, position, epoch: known.log.epoch } : { ...batch, position };
    });
    this.count('sets');
    const ends = [...next].map(([known, position]) => ({ log: known.log, position }));
    if (ends.length > 1) this.openSets.push({ id: setId, ends });
    this.expect(lsn, durability, () => this.history.acknowledged(setId, placed), `acknowledges set ${setId}`);
    return true;
  }

  /** Control changes without data. @returns false when refused */
  change(entries: readonly SetEntry[], committed: () => void = () => {}): boolean {
    try {
      const lsn = this.shard.appendSet(entries, { control: true });
      this.expect(
        lsn,
        'fsync',
        committed,
        `acknowledges ${entries.map((e) => `${e.kind} of ${e.log.name}`).join(', ')}`,
      );
      return true;
    } catch (error) {
      return this.refused(undefined, error);
    }
  }

  private refused(setId: number | undefined, error: unknown): false {
    const code = (error as { code?: string }).code;
    if (code === 'PRECONDITION_FAILED' || code === 'STORAGE_FULL') {
      if (setId !== undefined) this.history.refused(setId);
      this.count('refused');
    } else if (code !== 'STORAGE_FAILED') {
      if (this.isAlive) throw error;
    }
    return false;
  }

  private expect(lsn: number, durability: Durability, committed: () => void, what: string): void {
    const { process } = this.machine as SimMachine;
    const { shard } = this;
    this.waiting++;
    let answered = false;
    const answer = (how: () => void): (() => void) =>
      process.guard(() => {
        if (answered) throw new PromiseBroken(`${what}: answered twice`);
        answered = true;
        if (shard === this.shard) this.waiting--;
        how();
      });
    shard.when(lsn, durability, {
      committed: answer(() => {
        this.note(what, '', lsn);
        committed();
      }),
      failed: answer(() => this.note(`does not ${what}`, '', lsn)),
    });
  }

  /** Called by the engine whenever something becomes visible. */
  private watch(known: KnownLog): void {
    known.log.onAdvance = () => this.checkShown();
    this.shown.set(known.log, { visible: known.log.visiblePosition, start: known.log.startPosition });
  }

  /** High watermarks and starts never go back; a set shows in all its logs or in none. */
  private checkShown(): void {
    for (const [log, shown] of this.shown) {
      if (log.visiblePosition < shown.visible || log.startPosition < shown.start) {
        throw new PromiseBroken(
          `${log.name} showed [${shown.start}, ${shown.visible}), now [${log.startPosition}, ${log.visiblePosition})`,
        );
      }
      shown.visible = log.visiblePosition;
      shown.start = log.startPosition;
    }
    this.openSets = this.openSets.filter(({ id, ends }) => {
      if (ends.some(({ log }) => log.removed)) return false;
      const visible = ends.filter(({ log, position }) => log.visiblePosition >= position).length;
      if (visible > 0 && visible < ends.length)
        throw new PromiseBroken(`set ${id} shows in ${visible} of ${ends.length} logs`);
      return visible === 0;
    });
  }
}

export const CAPACITY_BYTES = 8 * 1024 * 1024;

function smallSettings({ random }: Sim): ShardSettings {
  return {
    commitFileBytes: random.pick([1500, 6000, 20_000]),
    checkpointAtBytes: random.pick([8000, 30_000, 1_000_000]),
    slowAtBytes: 100_000,
    directAtBytes: random.pick([100, 300, 1200, 1_000_000]),
    tailCacheBytes: random.pick([4096, 32_768]),
    minFreeBytes: 8192,
    indexIntervalBytes: 400,
    openFilesMax: random.pick([2, 8]),
    pooledWriteBytes: random.pick([500, 3000]),
    slabBytes: 16_384,
    snapshotMinBytes: 300,
  };
}

const term = (id: number, position: number): number => Math.imul(id, 2 * position + 1);

function observerOf(derived: Map<LogId, Derived>): LogObserver {
  return {
    restore(log, aux) {
      derived.set(log.id, { next: aux.readDoubleBE(0), sum: aux.readInt32BE(8) });
    },
    replay(log, bytes, at, length, position) {
      const state = derived.get(log.id) ?? { next: 0, sum: 0 };
      let p = position;
      for (const u of seeUnits(bytes.subarray(at, at + length))) {
        const extent = log.format === recordsFormat ? u.extent : u.bytes;
        if (p >= state.next) {
          state.sum = (state.sum + term(u.id, p)) | 0;
          state.next = p + extent;
        }
        p += extent;
      }
      derived.set(log.id, state);
    },
    aux(log) {
      const state = derived.get(log.id);
      if (state === undefined) return undefined;
      const aux = Buffer.alloc(12);
      aux.writeDoubleBE(state.next, 0);
      aux.writeInt32BE(state.sum, 8);
      return aux;
    },
  };
}

/** Bytes of whole units at the beginning of `b`. */
function wholeUnits(b: Buffer): number {
  let at = 0;
  while (b.length - at >= RECORDS_HEADER_BYTES && at + readU32(b, at) <= b.length) at += readU32(b, at);
  return at;
}
