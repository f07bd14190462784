/** A folder that a test opens, kills and opens again, on the simulated disk or on the real one. */
import { HadronError, silentLogger, systemClock, systemRandom } from '@hadron/base';
import { Sim, type SimMachine } from '@hadron/testkit';
import { bytesFormat } from '../format.ts';
import type { Log } from '../log.ts';
import { nodeFileSystem } from '../node-fs.ts';
import { read } from '../reader.ts';
import { type NewLog, Shard, type ShardOptions } from '../shard.ts';
import { makeUnit, recordsFormat, type SeenUnit, seeUnits, type UnitSpec } from './records.ts';

export interface World {
  readonly directory: string;
  open(options?: Partial<ShardOptions>): Promise<Shard>;
  /** Waits for a promise that needs the disk. */
  run<T>(promise: Promise<T>): Promise<T>;
  /** kill -9 of whatever is open. */
  kill(): void;
}

export class SimWorld implements World {
  readonly directory = 'data/shards/0';
  readonly sim: Sim;
  machine: SimMachine | undefined;

  constructor(sim: Sim = new Sim(1)) {
    this.sim = sim;
    sim.disk.put('data/shards/readme', new Uint8Array()); // the folder above is its owner's to make durable
  }

  async open(options: Partial<ShardOptions> = {}): Promise<Shard> {
    this.machine ??= this.sim.start();
    const { fs, clock, random } = this.machine;
    return this.run(
      Shard.open({
        fs,
        clock,
        random,
        logger: silentLogger,
        directory: this.directory,
        formats: [recordsFormat, bytesFormat],
        ...options,
      }),
    );
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  /** Lets everything finish that is under way. */
  async idle(): Promise<void> {
    await this.sim.scheduler.runUntilIdle();
  }

  kill(): void {
    this.machine?.process.kill();
    this.machine = undefined;
  }

  powerLoss(keep?: Parameters<Sim['powerLoss']>[1]): void {
    this.kill();
    this.sim.disk.powerLoss(keep);
  }
}

export class RealWorld implements World {
  readonly directory: string;
  private shard: Shard | undefined;

  constructor(folder: string) {
    this.directory = `${folder}/shards/0`;
  }

  async open(options: Partial<ShardOptions> = {}): Promise<Shard> {
    this.shard = await Shard.open({
      fs: nodeFileSystem,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      directory: this.directory,
      formats: [recordsFormat, bytesFormat],
      ...options,
    });
    return this.shard;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return promise;
  }

  kill(): void {
    this.shard?.abandon();
  }
}

/** Resolves when everything up to `lsn` is durable. */
export function durable(shard: Shard, lsn: number): Promise<void> {
  return new Promise((committed, failed) => shard.when(lsn, 'fsync', { committed, failed }));
}

export function createLog(shard: Shard, spec: Partial<NewLog> & { name: string }): Log {
  const log = shard.newLog({ format: recordsFormat, ...spec });
  shard.appendSet([{ kind: 'create', log }], { control: true });
  return log;
}

/** Appends one unit. @returns its LSN */
export function appendUnit(shard: Shard, log: Log, spec: UnitSpec): number {
  const unit = makeUnit(spec);
  return shard.append(log, unit, 0, unit.length, spec.extent ?? 1, spec.timestamp ?? -1);
}

/** All visible bytes of a log from `from` on, read in pieces of `maxBytes`. */
export async function readAll(
  shard: Shard,
  log: Log,
  from: number = log.startPosition,
  maxBytes = 10_000,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = from; at < log.visiblePosition; ) {
    const result = await read(shard, log, at, { maxBytes, atLeastOne: true });
    for (const part of result.parts) parts.push(Buffer.from(part));
    if (result.nextPosition <= at) throw new Error(`reading ${log.name} stands still at ${at}`);
    at = result.nextPosition;
    result.release();
  }
  return Buffer.concat(parts);
}

export async function readUnits(shard: Shard, log: Log, from?: number, maxBytes?: number): Promise<SeenUnit[]> {
  return seeUnits(await readAll(shard, log, from, maxBytes));
}

export function logNamed(shard: Shard, name: string): Log {
  for (const log of shard.logs.values()) if (log.name === name) return log;
  throw new Error(`no log ${name}`);
}

export const codeOf = (error: unknown): string => (error instanceof HadronError ? error.code : String(error));
