/**
 * Pulls (delivery.md D8): each is a taker that ends when it has what it came for. What it brought stays out until it is
 * answered or its time is up: only then is the lease over.
 */
import { type Clock, Deadline, type HadronError, type Timer } from '@hadron/base';
import type { Group, Taker } from './group.ts';
import type { OutgoingDelivery, SessionHandler } from './service.ts';

/** An ephemeral group that is only pulled from lives so long after the last pull. */
const LINGER_MS = 60_000;
const PULL_MAX = 10_000;

export interface LeasesHost {
  readonly clock: Clock;
  taker(group: Group, credit: number, handler: SessionHandler): Taker;
  wake(group: Group): void;
  schedule(): void;
  setTimer(deadline: Deadline<() => void>, at: number | undefined): void;
  /** An ephemeral group that nobody needs any more. */
  letGo(group: Group): void;
}

interface Pull {
  readonly taker: Taker;
  readonly collected: OutgoingDelivery[];
  readonly max: number;
  /** How many had come at the last tick. */
  seen: number;
  readonly timer: Timer;
  done(): void;
  failed(error: HadronError): void;
}

export class Leases {
  private readonly host: LeasesHost;
  private readonly pulls = new Set<Pull>();
  /** Ephemeral groups that were pulled from: when they go. */
  private readonly lingering = new WeakMap<Group, Deadline<() => void>>();

  constructor(host: LeasesHost) {
    this.host = host;
  }

  pull(
    group: Group,
    request: { readonly max: number; readonly waitMs: number },
    signal: AbortSignal | undefined,
  ): Promise<readonly OutgoingDelivery[]> {
    const max = Math.min(Math.max(1, Math.floor(request.max)), PULL_MAX);
    const collected: OutgoingDelivery[] = [];
    let pull!: Pull;
    const taker = this.host.taker(group, max, {
      deliver: (deliveries) => void collected.push(...deliveries),
      withdrawn: () => undefined,
      ended: (error) => {
        if (error !== undefined) pull.failed(error);
      },
    });
    return new Promise<readonly OutgoingDelivery[]>((resolve, reject) => {
      const end = (how: () => void): void => {
        if (!this.pulls.delete(pull)) return;
        pull.timer.cancel();
        signal?.removeEventListener('abort', aborted);
        taker.core.draining = true;
        how();
        this.settled(group, taker);
      };
      const aborted = (): void =>
        end(() => {
          group.remove(taker, 'returned');
          resolve([]);
        });
      pull = {
        taker,
        collected,
        max,
        seen: 0,
        // What is being read for it at this moment still comes.
        timer: this.host.clock.setTimer(Math.max(0, request.waitMs), () => {
          taker.core.draining = true;
          if (taker.core.out === 0) pull.done();
        }),
        done: () => end(() => resolve(collected)),
        failed: (error) => end(() => reject(error)),
      };
      this.pulls.add(pull);
      signal?.addEventListener('abort', aborted);
      this.host.wake(group);
    });
  }

  fail(error: HadronError): void {
    for (const pull of [...this.pulls]) pull.failed(error);
  }

  /** After a tick: pulls that have what they came for end, and leases of which nothing is out are over. */
  look(groups: ReadonlySet<Group>): void {
    for (const pull of [...this.pulls]) this.lookAt(pull);
    for (const group of groups) {
      for (const taker of [...group.takers.values()]) {
        if (taker.isLease && taker.core.draining) this.settled(group, taker);
      }
    }
  }

  /** It ends when it has all it may have, or when a tick brought nothing more and nothing is on its way. */
  private lookAt(pull: Pull): void {
    const { out, credit, draining } = pull.taker.core;
    const { length } = pull.collected;
    if (out > length || (length === 0 && credit > 0 && !draining)) return;
    if (length === pull.max || length === pull.seen || draining) pull.done();
    else {
      pull.seen = length;
      this.host.schedule();
    }
  }

  private settled(group: Group, taker: Taker): void {
    if (taker.core.out > 0) return;
    group.remove(taker, 'returned');
    if (group.settings.durable || group.takers.size > 0) return;
    let linger = this.lingering.get(group);
    if (linger === undefined) {
      linger = new Deadline<() => void>(() => {
        if (group.takers.size === 0 && !group.removed) this.host.letGo(group);
      });
      this.lingering.set(group, linger);
    }
    this.host.setTimer(linger, this.host.clock.monotonicMs() + LINGER_MS);
  }
}
