/**
 * The kit on trial: a toy log of forty lines, right and broken on purpose. The kit must find every break within a few
 * seeds and must not cry wolf. Also the example of how a simulation test is written.
 */
import { crc32c } from '@hadron/base';
import type { FileSystem, OpenFile } from '@hadron/log';
import { describe, expect, it } from 'vitest';
import { History, type LogView, type PlacedBatch } from './history.ts';
import { forEachSeed, SeedFailure } from './seeds.ts';
import type { Sim, SimMachine } from './sim.ts';
import type { SimProcess } from './sim-scheduler.ts';

type Break = 'ack before sync' | 'no directory sync' | 'serve without writing again' | 'ignore a failed sync';

const HEADER_BYTES = 8; // length, CRC; a frame holds one batch, its number first

/** One log in one file; positions count batches. Dies of the first storage error. */
class ToyLog {
  readonly #fs: FileSystem;
  readonly #process: SimProcess;
  readonly #broken: Break | undefined;
  #file: OpenFile | undefined;
  #end = 0;
  #next = 0;
  #waiting: { position: number; done: (position: number) => void }[] = [];
  #syncing = false;

  constructor({ fs, process }: SimMachine, broken: Break | undefined) {
    this.#fs = fs;
    this.#process = process;
    this.#broken = broken;
  }

  /** Reads what is there, writes it into a new file, and only then shows it. */
  async open(): Promise<number[]> {
    const size = this.#fs.sizeSync('log/0') ?? 0;
    const old = new Uint8Array(size);
    if (size > 0) this.#fs.openSync('log/0', 'read').readSync(old, 0);
    const hashes: number[] = [];
    let end = 0;
    while (end + HEADER_BYTES <= size) {
      const view = new DataView(old.buffer, end);
      const length = view.getUint32(0);
      if (length < 4 || end + HEADER_BYTES + length > size) break;
      if (crc32c(old, end + HEADER_BYTES, end + HEADER_BYTES + length) !== view.getUint32(4)) break;
      hashes.push(view.getUint32(HEADER_BYTES));
      end += HEADER_BYTES + length;
    }
    this.#next = hashes.length;
    this.#end = end;
    if (this.#broken === 'serve without writing again' && size > 0) {
      this.#file = this.#fs.openSync('log/0', 'write');
      return hashes;
    }
    this.#fs.mkdirSync('log');
    const file = this.#fs.openSync('log/new', 'create');
    file.truncateSync(0);
    if (file.writeSync(old.subarray(0, end), 0) < end) throw new Error('short write');
    await this.#step((done) => file.datasync(done));
    await this.#step((done) => this.#fs.rename('log/new', 'log/0', done));
    if (this.#broken !== 'no directory sync') {
      await this.#step((done) => this.#fs.syncDir('log', done));
      await this.#step((done) => this.#fs.syncDir('/', done));
    }
    this.#file = file;
    return hashes;
  }

  append(hash: number, length: number, done: (position: number) => void): void {
    const frame = new Uint8Array(HEADER_BYTES + length).fill(hash);
    const view = new DataView(frame.buffer);
    view.setUint32(0, length);
    view.setUint32(HEADER_BYTES, hash);
    view.setUint32(4, crc32c(frame, HEADER_BYTES));
    const position = this.#next++;
    if ((this.#file as OpenFile).writeSync(frame, this.#end) < frame.length) {
      this.#process.kill();
      return;
    }
    this.#end += frame.length;
    if (this.#broken === 'ack before sync') {
      done(position);
      return;
    }
    this.#waiting.push({ position, done });
    if (!this.#syncing) this.#process.defer(() => void this.#sync());
  }

  async #sync(): Promise<void> {
    if (this.#syncing || this.#waiting.length === 0) return;
    this.#syncing = true;
    const group = this.#waiting.splice(0);
    await this.#step((done) => (this.#file as OpenFile).datasync(done));
    for (const { position, done } of group) done(position);
    this.#syncing = false;
    if (this.#waiting.length > 0) this.#process.defer(() => void this.#sync());
  }

  #step(start: (done: (error: Error | undefined) => void) => void): Promise<void> {
    return new Promise((resolve) =>
      start((error) => {
        if (error === undefined || this.#broken === 'ignore a failed sync') resolve();
        else this.#process.kill();
      }),
    );
  }
}

async function run(sim: Sim, broken?: Break): Promise<History> {
  const { random, scheduler, disk } = sim;
  const history = new History();
  let hash = 0;
  disk.faults.plan = { fail: { datasync: 0.02 }, shortWrite: 0.01 };
  for (let life = 0; life < 4; life++) {
    const machine = sim.start();
    const { process } = machine;
    const log = new ToyLog(machine, broken);
    if (random.chance(0.3)) disk.killAtChange(random.between(1, 30));
    let found: number[] | undefined;
    const opening = log.open().then(
      (hashes) => {
        found = hashes;
      },
      () => process.kill(),
    );
    await scheduler.runUntil(() => found !== undefined || !process.isAlive);
    if (process.isAlive) await opening;
    if (process.isAlive && found !== undefined) {
      const batches: PlacedBatch[] = found.map((bytesHash, position) => ({ log: 'x', position, extent: 1, bytesHash }));
      history.recovered(new Map<string, LogView>([['x', { start: 0, batches }]]));
      for (let i = random.int(40); i > 0 && process.isAlive; i--) {
        const id = ++hash;
        history.attempted(id, [{ log: 'x', extent: 1, bytesHash: id }]);
        const acknowledge = process.guard((position: number) => {
          history.acknowledged(id, [{ log: 'x', position, extent: 1, bytesHash: id }]);
        });
        try {
          log.append(id, random.between(4, 700), acknowledge);
        } catch {
          process.kill(); // a storage error
        }
        if (random.chance(0.5)) await scheduler.runFor(random.float() * 3);
      }
    }
    process.kill();
    if (random.chance(0.5)) disk.powerLoss();
  }
  return history;
}

describe('the kit on a toy log', () => {
  it('does not cry wolf (300 seeds), and exercises what it should', async () => {
    const sum = { acknowledged: 0, lost: 0, recoveries: 0 };
    await forEachSeed({ count: 300 }, async (sim) => {
      const counts = (await run(sim)).counts();
      sum.acknowledged += counts.acknowledged;
      sum.lost += counts.lost;
      sum.recoveries += counts.recoveries;
    });
    expect(sum.acknowledged).toBeGreaterThan(3_000);
    expect(sum.lost).toBeGreaterThan(100);
    expect(sum.recoveries).toBeGreaterThan(600);
  });

  const breaks: Break[] = [
    'ack before sync',
    'no directory sync',
    'serve without writing again',
    'ignore a failed sync',
  ];
  for (const broken of breaks) {
    it(`finds: ${broken}`, async () => {
      const failure = await forEachSeed({ count: 300 }, async (sim) => void (await run(sim, broken))).catch((e) => e);
      expect(failure).toBeInstanceOf(SeedFailure);
      expect(failure.message).toMatch(/HistoryViolation: (acknowledged|shown|from the dead)/);
    });
  }
});
