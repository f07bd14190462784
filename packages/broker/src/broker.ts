/**
 * The broker: what the front doors talk to. It outlives failures of the disk: when a write or sync fails, the core that
 * failed goes on serving reads of what was visible, and a new core is recovered from the same folder and takes over
 * (log.md G8, G16). Doors ask for {@link Broker.core} with every request and keep nothing of it.
 */
import { HadronError, type Timer } from '@hadron/base';
import { BrokerCore, type BrokerOptions } from './broker-core.ts';

const RETRY_MS = 1000;

export class Broker {
  readonly options: BrokerOptions;
  private current: BrokerCore;
  private closing = false;
  private recovering = false;
  /** The recovery under way, if any: the folder is not let go before it has ended. */
  private recovery: Promise<void> | undefined;
  private retry: Timer | undefined;
  /** Told when a new core has taken over. */
  onRecovered: (() => void) | undefined;
  private readonly coreWatchers = new Set<(core: BrokerCore) => void>();
  /** How often a failed shard was replaced. */
  recoveries = 0;

  /** @throws HadronError DATA_DAMAGED, DATA_FORMAT_NEWER, STORAGE_FAILED; errors of the file system */
  static async open(options: BrokerOptions): Promise<Broker> {
    // The core may fail before there is a broker to recover it.
    let early: HadronError | undefined;
    let tell = (error: HadronError): void => {
      early = error;
    };
    const core = await BrokerCore.open(options, (error) => tell(error));
    const broker = new Broker(options, core);
    tell = (error) => broker.failed(error);
    if (early !== undefined) broker.failed(early);
    return broker;
  }

  private constructor(options: BrokerOptions, core: BrokerCore) {
    this.options = options;
    this.current = core;
  }

  get core(): BrokerCore {
    return this.current;
  }

  /** Calls `fn` with the core, and with each that takes over. @returns a function that ends it */
  watchCore(fn: (core: BrokerCore) => void): () => void {
    this.coreWatchers.add(fn);
    fn(this.current);
    return () => void this.coreWatchers.delete(fn);
  }

  /** Undefined while everything works, else why writing does not. */
  get trouble(): HadronError | undefined {
    return this.current.shard.refusing;
  }

  /** Answers what waits, syncs, ends. Nothing acknowledged is lost either way. */
  async close(): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    this.retry?.cancel();
    await this.recovery;
    await this.current.close();
  }

  private failed(error: HadronError): void {
    this.current.failed(error);
    this.beginRecovery();
  }

  private beginRecovery(): void {
    this.recovery = this.recover();
  }

  /** Until it works: a full or read-only disk keeps it from starting, reads go on meanwhile. */
  private async recover(): Promise<void> {
    if (this.recovering || this.closing) return;
    this.recovering = true;
    const { logger, clock } = this.options;
    try {
      let early: HadronError | undefined;
      let serves = false;
      const core = await BrokerCore.open(this.options, (error) => {
        early = error;
        if (serves) this.failed(error);
      });
      serves = true;
      const before = this.current;
      this.current = core;
      this.recovering = false;
      this.recoveries++;
      this.onRecovered?.();
      for (const fn of [...this.coreWatchers]) fn(core);
      before.abandon(before.shard.failed ?? new HadronError('STORAGE_FAILED', 'the disk failed; try again'));
      logger.info(
        { ms: Math.round(core.shard.recovered.ms), cases: core.shard.recovered.cases },
        'recovered: writing is accepted again',
      );
      if (this.closing) await core.close();
      // One that fails just now tells when nobody writes its files any more.
      else if (early !== undefined) this.failed(early);
    } catch (error) {
      this.recovering = false;
      if (this.closing) return;
      logger.warn(
        { err: error instanceof Error ? error.message : String(error) },
        'recovery did not succeed yet; reads go on, trying again in a second',
      );
      this.retry = clock.setTimer(RETRY_MS, () => this.beginRecovery());
    }
  }
}
