/**
 * What clients did and saw, and whether the log kept its word. Knows nothing of the engine: plain data in, a
 * {@link HistoryViolation} out.
 *
 * An *append set* has parts, each a batch for one log; `bytesHash` must tell batches apart (hash content with a unique
 * id in it). A position counts whatever the log counts (records or bytes); a batch fills `[position, position + extent)`.
 *
 * The rules, by the name a violation carries:
 *
 * | rule | says |
 * |---|---|
 * | `acknowledged` | what was acknowledged with durability `sync` is there, at its position, byte for byte |
 * | `shown` | what a reader or a recovery has shown never vanishes or changes (`sync` sets; `os` sets: not while the process lives) |
 * | `half set` | of an append set all parts are there, or none |
 * | `dense` | positions have no holes and no overlaps |
 * | `invented` | nothing is there that nobody tried to append; nothing with other bytes |
 * | `twice` | a batch is at one position only |
 * | `refused` | what was refused for certain never shows |
 * | `from the dead` | what a finished recovery did not show never shows later |
 * | `log start` | the start of a log lies between the trims acknowledged and the trims attempted |
 * | `prefix` | of an `os` log a prefix survives: no hole in front of a batch that is there |
 * | `re-used` | a position is not given to other bytes within one epoch |
 */

export interface Batch {
  readonly log: string;
  readonly extent: number;
  readonly bytesHash: number | string;
}

export interface PlacedBatch extends Batch {
  readonly position: number;
  /** The leader epoch it was appended in. Needed for `os` logs only. */
  readonly epoch?: number;
}

/** What is found in a log: where it starts, and every batch from there to its end, in order. */
export interface LogView {
  readonly start: number;
  readonly batches: readonly PlacedBatch[];
}

export type HistoryRule =
  | 'acknowledged'
  | 'shown'
  | 'half set'
  | 'dense'
  | 'invented'
  | 'twice'
  | 'refused'
  | 'from the dead'
  | 'log start'
  | 'prefix'
  | 're-used'
  | 'misuse';

export class HistoryViolation extends Error {
  override readonly name = 'HistoryViolation';
  readonly rule: HistoryRule;

  constructor(rule: HistoryRule, message: string) {
    super(`${rule}: ${message}`);
    this.rule = rule;
  }
}

/** `tried` → `acknowledged` | `refused` | `lost` (a recovery did not show it). A set that is only `shown` stays `tried`. */
type SetState = 'tried' | 'acknowledged' | 'refused' | 'lost';

interface Part {
  readonly set: AppendSet;
  readonly batch: Batch;
  position: number | undefined;
  epoch: number | undefined;
  /** A reader or a recovery has seen it. */
  shown: boolean;
}

interface AppendSet {
  readonly id: number;
  readonly durability: 'sync' | 'os';
  readonly parts: Part[];
  state: SetState;
}

interface LogState {
  readonly parts: Map<number | string, Part>; // by hash
  readonly placed: Map<number, Part>; // by position
  trimAcknowledged: number;
  trimTried: number;
  deleted: boolean;
  /** What an unclean start of an `os` log has lost after it was acknowledged or shown. */
  readonly lost: { from: number; to: number; epoch: number }[];
}

export interface HistoryCounts {
  sets: number;
  acknowledged: number;
  refused: number;
  lost: number;
  /** Neither acknowledged nor seen: their clients never heard. */
  open: number;
  batchesShown: number;
  recoveries: number;
}

export class History {
  readonly #sets = new Map<number, AppendSet>();
  readonly #logs = new Map<string, LogState>();
  #recoveries = 0;

  /** Before the append is handed to the engine. Default durability `sync`. */
  attempted(setId: number, parts: readonly Batch[], options: { durability?: 'sync' | 'os' } = {}): void {
    if (this.#sets.has(setId)) throw new HistoryViolation('misuse', `set ${setId} is attempted twice`);
    const set: AppendSet = { id: setId, durability: options.durability ?? 'sync', parts: [], state: 'tried' };
    for (const batch of parts) {
      const log = this.#log(batch.log);
      if (log.parts.has(batch.bytesHash)) {
        throw new HistoryViolation('misuse', `log ${batch.log}: bytesHash ${batch.bytesHash} is not unique`);
      }
      const part: Part = { set, batch, position: undefined, epoch: undefined, shown: false };
      log.parts.set(batch.bytesHash, part);
      set.parts.push(part);
    }
    this.#sets.set(setId, set);
  }

  /** The engine answered that the whole set is durable; one placed batch for each part. An answer that repeats itself (duplicate) is fine. */
  acknowledged(setId: number, placed: readonly PlacedBatch[]): void {
    const set = this.#set(setId);
    if (set.state === 'refused')
      throw new HistoryViolation('refused', `set ${setId} is acknowledged after it was refused`);
    if (set.state === 'lost')
      throw new HistoryViolation('from the dead', `set ${setId} is acknowledged after a recovery without it`);
    if (placed.length !== set.parts.length) {
      throw new HistoryViolation(
        'half set',
        `set ${setId} has ${set.parts.length} parts, acknowledged ${placed.length}`,
      );
    }
    for (const batch of placed) {
      const part = this.#partOf(batch);
      if (part.set !== set)
        throw new HistoryViolation(
          'invented',
          `${where(batch)} is acknowledged as set ${setId}, is of set ${part.set.id}`,
        );
      this.#place(part, batch, `acknowledged as set ${setId}`);
    }
    set.state = 'acknowledged';
  }

  /** The engine answered that nothing of the set was or will be applied. An answer of unknown effect is not recorded at all. */
  refused(setId: number): void {
    const set = this.#set(setId);
    const seen = set.parts.find((part) => part.shown || part.position !== undefined);
    if (set.state === 'acknowledged' || seen !== undefined) {
      throw new HistoryViolation('refused', `set ${setId} is refused but is there already`);
    }
    set.state = 'refused';
  }

  /** Before a trim is handed to the engine. */
  trimAttempted(log: string, start: number): void {
    const state = this.#log(log);
    state.trimTried = Math.max(state.trimTried, start);
  }

  trimAcknowledged(log: string, start: number): void {
    const state = this.#log(log);
    this.trimAttempted(log, start);
    state.trimAcknowledged = Math.max(state.trimAcknowledged, start);
  }

  /** Before a deletion is handed to the engine: from here on the log may be there or not. */
  deleteAttempted(log: string): void {
    this.#log(log).deleted = true;
  }

  /**
   * A reader got these batches, consecutive in one log. Whatever was acknowledged within their range must be among them.
   */
  read(batches: readonly PlacedBatch[]): void {
    const first = batches[0];
    if (first === undefined) return;
    const log = this.#log(first.log);
    checkDense(first.log, first.position, batches);
    for (const batch of batches) {
      const part = this.#partOf(batch);
      this.#checkMayShow(part, batch);
      this.#place(part, batch, 'read');
      part.shown = true;
    }
    const last = batches[batches.length - 1] as PlacedBatch;
    const present = new Set(batches.map((b) => b.position));
    for (const [position, part] of log.placed) {
      if (position < first.position || position >= last.position + last.extent || present.has(position)) continue;
      throw new HistoryViolation(
        part.shown ? 'shown' : 'acknowledged',
        `${where({ ...part.batch, position })} is missing in a read over it`,
      );
    }
  }

  /**
   * What a finished recovery found, for every log there is: judged against all that was promised before. Afterwards
   * what it shows is promised, and what it does not show is lost for good.
   */
  recovered(views: ReadonlyMap<string, LogView>): void {
    this.#recoveries++;
    for (const [name, view] of views) this.#checkView(name, view);
    for (const [name, log] of this.#logs) this.#checkPromises(log, views.get(name));
    for (const set of this.#sets.values()) this.#checkWhole(set, views);
    for (const [name, log] of this.#logs) this.#settle(log, views.get(name));
  }

  counts(): HistoryCounts {
    const counts = {
      sets: 0,
      acknowledged: 0,
      refused: 0,
      lost: 0,
      open: 0,
      batchesShown: 0,
      recoveries: this.#recoveries,
    };
    for (const set of this.#sets.values()) {
      counts.sets++;
      if (set.state === 'tried') counts.open++;
      else counts[set.state]++;
      for (const part of set.parts) if (part.shown) counts.batchesShown++;
    }
    return counts;
  }

  #checkView(name: string, view: LogView): void {
    const log = this.#log(name);
    if (!log.deleted && (view.start < log.trimAcknowledged || view.start > log.trimTried)) {
      const range = `trims acknowledged up to ${log.trimAcknowledged}, attempted up to ${log.trimTried}`;
      throw new HistoryViolation('log start', `log ${name} starts at ${view.start}; ${range}`);
    }
    checkDense(name, view.batches[0]?.position ?? view.start, view.batches);
    const first = view.batches[0];
    // The log may start inside its first batch, not in front of it.
    if (first !== undefined && (first.position > view.start || first.position + first.extent <= view.start)) {
      throw new HistoryViolation('dense', `log ${name} starts at ${view.start}, its first batch is ${where(first)}`);
    }
    const seen = new Set<Part>();
    for (const batch of view.batches) {
      const part = this.#partOf(batch);
      if (seen.has(part)) throw new HistoryViolation('twice', `${where(batch)} of set ${part.set.id}`);
      seen.add(part);
      this.#checkMayShow(part, batch);
    }
  }

  /** What was acknowledged or shown is in the view, unless it lies below its start or an unclean start may lose it. */
  #checkPromises(log: LogState, view: LogView | undefined): void {
    if (log.deleted) return;
    const byPosition = new Map(view?.batches.map((batch) => [batch.position, batch]));
    const last = view?.batches[view.batches.length - 1];
    const end = last === undefined ? (view?.start ?? 0) : last.position + last.extent;
    for (const [position, part] of log.placed) {
      if (position + part.batch.extent <= (view?.start ?? 0)) continue;
      const found = byPosition.get(position);
      if (found?.bytesHash === part.batch.bytesHash) continue;
      const place = where({ ...part.batch, position });
      if (part.set.durability === 'os') {
        if (found === undefined && position >= end) continue; // a suffix may go
        if (found !== undefined && epochGrew(part.epoch, found.epoch)) continue; // given again, in a new epoch
        throw new HistoryViolation('prefix', `${place} of set ${part.set.id} is gone, the log goes on to ${end}`);
      }
      const instead = found === undefined ? 'is gone' : `is now ${String(found.bytesHash)}`;
      throw new HistoryViolation(part.shown ? 'shown' : 'acknowledged', `${place} of set ${part.set.id} ${instead}`);
    }
  }

  #checkWhole(set: AppendSet, views: ReadonlyMap<string, LogView>): void {
    let there = 0;
    let missing: Part | undefined;
    for (const part of set.parts) {
      const view = views.get(part.batch.log);
      const log = this.#log(part.batch.log);
      const found = view?.batches.find((batch) => batch.bytesHash === part.batch.bytesHash);
      if (found !== undefined) {
        there++;
        continue;
      }
      const trimmed =
        part.position === undefined ? (view?.start ?? 0) > 0 : part.position + part.batch.extent <= (view?.start ?? 0);
      if (!log.deleted && !trimmed) missing = part;
    }
    if (there > 0 && missing !== undefined) {
      throw new HistoryViolation(
        'half set',
        `set ${set.id}: ${there} of ${set.parts.length} parts are there, not that for log ${missing.batch.log}`,
      );
    }
  }

  /** What the view shows is promised from here on; what it could show and does not is lost for good. */
  #settle(log: LogState, view: LogView | undefined): void {
    const start = view?.start ?? 0;
    const found = new Map(view?.batches.map((batch) => [batch.bytesHash, batch]));
    for (const [hash, part] of log.parts) {
      if (found.has(hash) || log.deleted || part.set.state === 'refused' || part.set.state === 'lost') continue;
      const { position } = part;
      // A batch nobody was told the position of may have been recovered and trimmed unseen.
      if (position === undefined ? start > 0 : position + part.batch.extent <= start) continue;
      part.set.state = 'lost';
      if (position === undefined) continue;
      if (log.placed.get(position) === part) log.placed.delete(position);
      log.lost.push({ from: position, to: position + part.batch.extent, epoch: part.epoch ?? 0 });
    }
    for (const [hash, batch] of found) {
      const part = log.parts.get(hash) as Part;
      this.#place(part, batch, 'recovered');
      part.shown = true;
    }
  }

  #checkMayShow(part: Part, batch: PlacedBatch): void {
    if (part.set.state === 'refused')
      throw new HistoryViolation('refused', `${where(batch)} of set ${part.set.id} shows`);
    if (part.set.state === 'lost')
      throw new HistoryViolation('from the dead', `${where(batch)} of set ${part.set.id} shows`);
  }

  #place(part: Part, batch: PlacedBatch, how: string): void {
    if (part.position !== undefined && part.position !== batch.position) {
      throw new HistoryViolation('twice', `${where(batch)}, ${how}, was at ${part.position} before`);
    }
    const log = this.#log(batch.log);
    const there = log.placed.get(batch.position);
    if (there !== undefined && there !== part) {
      throw new HistoryViolation('re-used', `${where(batch)}, ${how}, was ${String(there.batch.bytesHash)} before`);
    }
    const end = batch.position + batch.extent;
    const lost = log.lost.find(
      (range) => range.from < end && batch.position < range.to && !epochGrew(range.epoch, batch.epoch),
    );
    if (lost !== undefined)
      throw new HistoryViolation('re-used', `${where(batch)}, ${how}: epoch ${lost.epoch} had lost it`);
    part.position = batch.position;
    part.epoch = batch.epoch;
    log.placed.set(batch.position, part);
  }

  #partOf(batch: PlacedBatch): Part {
    const part = this.#log(batch.log).parts.get(batch.bytesHash);
    if (part === undefined)
      throw new HistoryViolation('invented', `${where(batch)}: nobody appended ${String(batch.bytesHash)}`);
    if (part.batch.extent !== batch.extent) {
      throw new HistoryViolation('invented', `${where(batch)}: was appended with extent ${part.batch.extent}`);
    }
    return part;
  }

  #set(setId: number): AppendSet {
    const set = this.#sets.get(setId);
    if (set === undefined) throw new HistoryViolation('misuse', `set ${setId} was never attempted`);
    return set;
  }

  #log(name: string): LogState {
    let log = this.#logs.get(name);
    if (log === undefined) {
      log = { parts: new Map(), placed: new Map(), trimAcknowledged: 0, trimTried: 0, deleted: false, lost: [] };
      this.#logs.set(name, log);
    }
    return log;
  }
}

function checkDense(name: string, from: number, batches: readonly PlacedBatch[]): void {
  let next = from;
  for (const batch of batches) {
    if (batch.log !== name) throw new HistoryViolation('misuse', `${where(batch)} in a view of log ${name}`);
    if (batch.position !== next) throw new HistoryViolation('dense', `${where(batch)} follows ${next}`);
    next = batch.position + batch.extent;
  }
}

function epochGrew(before: number | undefined, now: number | undefined): boolean {
  return before !== undefined && now !== undefined && now > before;
}

function where(batch: PlacedBatch): string {
  const epoch = batch.epoch === undefined ? '' : ` (epoch ${batch.epoch})`;
  return `log ${batch.log} [${batch.position}, ${batch.position + batch.extent})${epoch}`;
}
