/** One seed, one machine: a scheduler, a disk, and processes that come and go on it. */
import type { FileSystem } from '@hadron/log';
import { type DiskOptions, type PowerLossKeep, SimDisk } from './sim-disk.ts';
import { SimRandom } from './sim-random.ts';
import { type SchedulerOptions, type SimProcess, SimScheduler } from './sim-scheduler.ts';

export interface SimOptions {
  scheduler?: SchedulerOptions;
  disk?: DiskOptions;
}

/** What a process under test is made of: hand these to the code as its Clock, FileSystem and Random. */
export interface SimMachine {
  readonly process: SimProcess;
  readonly clock: SimProcess;
  readonly fs: FileSystem;
  readonly random: SimRandom;
}

export class Sim {
  readonly seed: number;
  /** For the workload and the test's own choices. The scheduler, the disk and each process draw from streams of their own. */
  readonly random: SimRandom;
  readonly scheduler: SimScheduler;
  readonly disk: SimDisk;
  #machines = 0;

  constructor(seed: number, options: SimOptions = {}) {
    const root = new SimRandom(seed);
    this.seed = seed;
    this.random = root.fork('workload');
    this.scheduler = new SimScheduler(root.fork('scheduler'), options.scheduler);
    this.disk = new SimDisk(this.scheduler, root.fork('disk'), options.disk);
  }

  /** Starts a process on the disk as it is. */
  start(name: string = 'hadron'): SimMachine {
    const process = this.scheduler.spawn(name);
    const random = new SimRandom(this.seed).fork(`${name} ${this.#machines++}`);
    return { process, clock: process, fs: this.disk.attach(process), random };
  }

  /** Kills the process and takes the power away. */
  powerLoss(process: SimProcess, keep?: PowerLossKeep): PowerLossKeep {
    process.kill();
    return this.disk.powerLoss(keep);
  }

  /** The seed, the state of the disk and the last lines of the trace: what to print when a run has failed. */
  report(linesMax: number = 200): string {
    const lines = this.scheduler.trace.lines();
    return [
      `seed ${this.seed}, ${this.scheduler.eventCount} events, ${this.scheduler.nowMs.toFixed(3)} ms of virtual time`,
      '--- disk',
      this.disk.dump(),
      '--- trace',
      ...lines.slice(-linesMax),
    ].join('\n');
  }
}
