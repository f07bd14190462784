/** One simulated machine with a shard on it, for the engine's tests. */
import { type Logger, silentLogger } from '@hadron/base';
import { Sim, type SimMachine } from '@hadron/testkit';
import type { LogFormat } from '../format.ts';
import type { Log } from '../log.ts';
import { type ReadOptions, read } from '../reader.ts';
import { segmentFileName } from '../segment-files.ts';
import { type NewLog, Shard, type ShardOptions, type ShardSettings } from '../shard.ts';
import { blockFormat, keyOf, valueOf } from './blocks.ts';
import { newUnit } from '../format.ts';

export const DIRECTORY = '/data/shards/0';

export interface ReadBlock {
  readonly position: number;
  readonly key: string;
  readonly value: string;
}

export class BlocksWorld {
  readonly sim: Sim;
  machine: SimMachine;
  readonly formats: readonly LogFormat[];
  logger: Logger = silentLogger;

  constructor(seed: number = 1, formats: readonly LogFormat[] = [blockFormat]) {
    this.sim = new Sim(seed);
    this.machine = this.sim.start();
    this.formats = formats;
  }

  /** Runs events until the promise settles. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.scheduler.settle(promise);
  }

  /** Lets virtual time pass. */
  sleep(ms: number): Promise<void> {
    return this.sim.scheduler.runFor(ms);
  }

  async open(settings: Partial<ShardSettings> = {}, options: Partial<ShardOptions> = {}): Promise<Shard> {
    const { fs, clock, random } = this.machine;
    fs.mkdirSync(DIRECTORY);
    for (const path of ['/', '/data', '/data/shards']) {
      await this.run(new Promise<void>((resolve) => fs.syncDir(path, () => resolve())));
    }
    return this.run(
      Shard.open({
        fs,
        clock,
        random,
        logger: this.logger,
        directory: DIRECTORY,
        formats: this.formats,
        settings: { minFreeBytes: 0, commitFileBytes: 65536, ...settings },
        ...options,
      }),
    );
  }

  /** The next process on the same disk. */
  restart(): void {
    this.machine.process.kill();
    this.machine = this.sim.start();
  }

  async create(shard: Shard, spec: Partial<NewLog> & { name: string }): Promise<Log> {
    const log = shard.newLog({ format: this.formats[0] as LogFormat, ...spec });
    shard.appendSet([{ kind: 'create', log }]);
    await this.run(shard.barrier());
    return log;
  }

  async append(shard: Shard, log: Log, ...blocks: Buffer[]): Promise<void> {
    const u = newUnit();
    for (const b of blocks) {
      log.format.scan(b, 0, b.length, u);
      shard.append(log, b, 0, b.length, u.extent, u.maxTimestamp);
    }
    await this.run(shard.barrier());
  }

  /** Everything from `from` on, by way of the reader. */
  read(
    shard: Shard,
    log: Log,
    from: number = log.startPosition,
    options: ReadOptions = { maxBytes: 4096, atLeastOne: true },
  ): Promise<ReadBlock[]> {
    return this.run(this.readNow(shard, log, from, options));
  }

  /** As {@link read}, for code that runs in the simulation already. */
  async readNow(
    shard: Shard,
    log: Log,
    from: number,
    options: ReadOptions = { maxBytes: 300, atLeastOne: true },
  ): Promise<ReadBlock[]> {
    const blocks: ReadBlock[] = [];
    const u = newUnit();
    for (let at = Math.max(from, log.startPosition); at < log.visiblePosition; ) {
      const got = await read(shard, log, at, options);
      for (const part of got.parts) {
        for (let p = 0; p < part.length; p += u.bytes) {
          log.format.scan(part, p, part.length, u);
          blocks.push({ position: u.position, key: keyOf(part, p), value: valueOf(part, p) });
        }
      }
      got.release();
      if (got.nextPosition === at) break;
      at = got.nextPosition;
    }
    return blocks;
  }

  /** Segment files that no log names. */
  strayFiles(shard: Shard): string[] {
    const named = [...shard.logs.values()].flatMap((l) =>
      l.segments.map((s) => segmentFileName(l.id, s.base, s.version)),
    );
    return this.segmentFiles().filter((f) => !named.includes(f));
  }

  segmentFiles(): string[] {
    return this.machine.fs
      .listSync(`${DIRECTORY}/segments`)
      .filter((f) => f.endsWith('.seg'))
      .sort();
  }
}
