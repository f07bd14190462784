/**
 * Who takes events of a group, as the engine sees them: credit and what is out (delivery.md D8, D23). The next event goes
 * to who has least out.
 */
import type { Lane } from './lane.ts';
import type { Machine } from './machine.ts';
import type { SlidingWindow } from './rate.ts';

export class Session {
  readonly id: string;
  /** Only of this partition. Undefined: all. */
  readonly partition: number | undefined;
  /** Most events and bytes out at once. */
  readonly outMax: number;
  readonly bytesMax: number;
  credit: number;
  out = 0;
  bytes = 0;
  open = true;
  draining = false;
  /** It stands among those that may be able to take. */
  listed = false;
  /** Lanes that go on with this session, when it has credit. */
  parked: { readonly machine: Machine; readonly lane: Lane }[] = [];

  constructor(options: {
    readonly id: string;
    readonly credit: number;
    readonly partition: number | undefined;
    readonly outMax: number;
    readonly bytesMax: number;
  }) {
    this.id = options.id;
    this.credit = options.credit;
    this.partition = options.partition;
    this.outMax = options.outMax;
    this.bytesMax = options.bytesMax;
  }

  get canTake(): boolean {
    return this.credit > 0 && this.open && !this.draining && this.out < this.outMax && this.bytes < this.bytesMax;
  }
}

/** The sessions of a group. */
export class Sessions {
  readonly all = new Set<Session>();
  /** Those that may be able to take; looked at again when they are met. */
  readonly #takers: Session[] = [];
  /** Rate limit of the whole group. */
  limit: SlidingWindow | undefined;

  add(session: Session): void {
    this.all.add(session);
    this.changed(session);
  }

  /** Its credit or what is out of it changed. */
  changed(session: Session): void {
    if (session.listed || !session.canTake) return;
    session.listed = true;
    this.#takers.push(session);
  }

  remove(session: Session): void {
    session.open = false;
    this.all.delete(session);
  }

  /** Whether somebody could take an event of this partition now. */
  canTake(partition: number): boolean {
    return this.pick(partition) !== undefined;
  }

  /** Who has least out. */
  pick(partition: number): Session | undefined {
    const takers = this.#takers;
    let best: Session | undefined;
    for (let i = 0; i < takers.length; i++) {
      const session = takers[i] as Session;
      if (!session.canTake) {
        session.listed = false;
        takers[i--] = takers.at(-1) as Session;
        takers.pop();
        continue;
      }
      if (session.partition !== undefined && session.partition !== partition) continue;
      if (best === undefined || session.out < best.out) best = session;
      if (best.out === 0) break;
    }
    return best;
  }
}
