/** All Subscriptions of this server, one worker each. Told of resources as they change; tells their status. */
import type { Resource } from '@hadron/contracts/resources';
import type { SubscriptionSpec } from '@hadron/contracts/resources';
import { readRate } from './consent.ts';
import { type PushContext, type PushCounts, type PushStatus, PushWorker } from './push-worker.ts';

export interface PushOptions extends PushContext {
  /** The https URL of the callback up to the key, where this server can be reached from outside. */
  readonly callbackUrl?: string | undefined;
  /** How a Subscription is; to become its condition `Ready`, said of this generation. */
  readonly onStatus: (name: string, generation: number, status: PushStatus) => void;
}

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
  #closed = false;

  constructor(options: PushOptions) {
    this.#options = options;
  }

  /** A Subscription that is there or has changed. One that its sink has ended (410) stays so until its spec changes. */
  apply(resource: Resource<SubscriptionSpec>): void {
    const { name, generation, uid } = resource.metadata;
    const running = this.#running.get(name);
    if (this.#closed || (running?.generation === generation && running.uid === uid)) return;
    if (running !== undefined) this.#end(name, running);
    const ended = resource.status.conditions.some(
      (one) => one.type === 'Ready' && one.reason === 'Unsubscribed' && one.observedGeneration === generation,
    );
    if (ended) return;
    const key = Buffer.from(this.#options.random.bytes(32)).toString('base64url');
    const { callbackUrl } = this.#options;
    const worker = new PushWorker({
      ...this.#options,
      name,
      spec: resource.spec,
      callback: callbackUrl === undefined ? undefined : `${callbackUrl}${key}`,
      onStatus: (status) => {
        if (this.#running.get(name)?.worker === worker) this.#options.onStatus(name, generation, status);
      },
    });
    const mine: Running = { generation, uid, key, worker };
    this.#running.set(name, mine);
    void (this.#ending.get(name) ?? Promise.resolve()).then(() => {
      if (this.#running.get(name) === mine) worker.start();
    });
  }

  remove(name: string): void {
    const running = this.#running.get(name);
    if (running !== undefined) this.#end(name, running);
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

  *counts(): Iterable<readonly [name: string, PushCounts]> {
    for (const [name, { worker }] of this.#running) yield [name, worker.counts];
  }

  /** Resolves when nothing is under way; no longer than a second and a bit. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const [name, running] of [...this.#running]) this.#end(name, running);
    await Promise.all(this.#ending.values());
  }

  #end(name: string, running: Running): void {
    this.#running.delete(name);
    const ended = Promise.all([this.#ending.get(name), running.worker.stop()]).then(() => {
      if (this.#ending.get(name) === ended) this.#ending.delete(name);
    });
    this.#ending.set(name, ended);
  }
}
