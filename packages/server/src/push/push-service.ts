/** All Subscriptions of this server, one worker each. Follows the registry, and writes down there how they are. */
import type { ActiveSubscription, ConditionReport, Resources } from '@hadron/broker';
import { readRate } from './consent.ts';
import { type PushContext, type PushCounts, type PushStatus, PushWorker } from './push-worker.ts';

export interface PushOptions extends PushContext {
  /** The https URL of the callback up to the key, where this server can be reached from outside. */
  readonly callbackUrl?: string | undefined;
}

/** Where Subscriptions come from and their conditions go: `(await broker.core.resources()).subscriptions`. */
export type SubscriptionSource = Pick<Resources['subscriptions'], 'all' | 'watch' | 'report'>;

interface Running {
  readonly generation: number;
  readonly uid: string;
  readonly key: string;
  readonly worker: PushWorker;
}

export class PushService {
  readonly #options: PushOptions;
  readonly #running = new Map<string, Running>();
  /** Ends of those that are replaced: the next begins when the one before has given back its events. */
  readonly #ending = new Map<string, Promise<void>>();
  #source: SubscriptionSource | undefined;
  #unfollow: (() => void) | undefined;
  #closed = false;

  constructor(options: PushOptions) {
    this.#options = options;
  }

  /** Delivers what is there and what comes. Called again with the registry of a broker that has recovered. */
  follow(source: SubscriptionSource): void {
    if (this.#closed) return;
    this.#unfollow?.();
    this.#source = source;
    this.#unfollow = source.watch(({ type, subscription }) => {
      if (type === 'put') this.#apply(subscription);
      else this.#remove(subscription.name);
    });
    const there = new Set<string>();
    for (const subscription of source.all()) {
      there.add(subscription.name);
      this.#apply(subscription);
    }
    for (const [name, { worker, generation }] of [...this.#running]) {
      if (!there.has(name)) this.#remove(name);
      // What the disk did not take before it failed.
      else if (worker.status !== undefined) this.#report(name, generation, worker.status);
    }
  }

  /**
   * Somebody called the callback URL.
   * @param rate requests per minute, as it stands in the call; undefined: the rate that was asked for
   * @returns false: no such key, or nobody waits; or the rate is none
   */
  consent(key: string, rate: string | undefined): boolean {
    const granted = rate === undefined || rate === '*' ? undefined : readRate(rate);
    if (rate !== undefined && rate !== '*' && granted === undefined) return false;
    for (const running of this.#running.values()) if (running.key === key) return running.worker.consent(granted);
    return false;
  }

  /** Those at work. Counted from when they began, with this server or with a change of their spec. */
  *counts(): Iterable<{ readonly name: string; readonly ready: boolean; readonly counts: Readonly<PushCounts> }> {
    for (const [name, { worker }] of this.#running)
      yield { name, ready: worker.status?.ready === true, counts: worker.counts };
  }

  /** Resolves when nothing is under way; no longer than a second and a bit. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unfollow?.();
    for (const name of [...this.#running.keys()]) this.#remove(name);
    await Promise.all(this.#ending.values());
  }

  #apply({ name, uid, generation, spec, group, conditions }: ActiveSubscription): void {
    const running = this.#running.get(name);
    if (running?.generation === generation && running.uid === uid) return;
    this.#remove(name);
    // A sink that wants no more (410) is left alone until the spec changes.
    if (conditions.some((one) => one.reason === 'Unsubscribed' && one.observedGeneration === generation)) return;
    const key = Buffer.from(this.#options.random.bytes(32)).toString('base64url');
    const { callbackUrl } = this.#options;
    const worker = new PushWorker({
      ...this.#options,
      name,
      group,
      spec,
      callback: callbackUrl === undefined ? undefined : `${callbackUrl}${key}`,
      onStatus: (status) => {
        if (this.#running.get(name)?.worker === worker) this.#report(name, generation, status);
      },
    });
    const mine: Running = { generation, uid, key, worker };
    this.#running.set(name, mine);
    void (this.#ending.get(name) ?? Promise.resolve()).then(() => {
      if (this.#running.get(name) === mine) worker.start();
    });
  }

  #report(name: string, generation: number, { ready, reason, message }: PushStatus): void {
    const report: ConditionReport = { type: 'Ready', status: ready ? 'True' : 'False', reason, message };
    try {
      this.#source?.report(name, generation, [report]);
    } catch (error) {
      // The disk failed; the registry that takes over is followed anew.
      this.#options.logger.warn({ subscription: name, reason, err: error }, 'push: the condition could not be written');
    }
  }

  #remove(name: string): void {
    const running = this.#running.get(name);
    if (running === undefined) return;
    this.#running.delete(name);
    const ended = Promise.all([this.#ending.get(name), running.worker.stop()]).then(() => {
      if (this.#ending.get(name) === ended) this.#ending.delete(name);
    });
    this.#ending.set(name, ended);
  }
}
