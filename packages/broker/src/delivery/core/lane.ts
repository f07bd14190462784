/**
 * A lane (delivery.md D9): events of one key of one partition, in order. It exists while it has events that are not settled.
 * What waits in it is kept as offsets; objects are made for what is out.
 *
 * Always true: `waiting` is ascending; `active` are at most the window's number, all handed out to `session`. Another session
 * gets the next one only when none is active: else a crash could bring one again that the other session never saw.
 */
import { Deadline } from '@hadron/base';
import type { Delivery } from './delivery.ts';
import type { Session } from './sessions.ts';

/** Where a lane stands: nowhere, in the ready queue, with a session that has no credit, or held by its rate limit. */
type Place = 'idle' | 'ready' | 'parked' | 'limited';

export class Lane extends Deadline<string> {
  readonly waiting = new Waiting();
  /** Handed out, and not durably settled. */
  readonly active: Delivery[] = [];
  /** Of what is active; the next goes there too, until all of it is durably settled or came back. */
  session: Session | undefined;
  place: Place = 'idle';

  /** The key, bytes as latin1. */
  get key(): string {
    return this.what;
  }
}

/** Ids in ascending order. */
class Waiting {
  #ids: number[] = [];
  #head = 0;

  get length(): number {
    return this.#ids.length - this.#head;
  }

  peek(): number | undefined {
    return this.#ids[this.#head];
  }

  shift(): void {
    this.#head++;
    if (this.#head === this.#ids.length) {
      this.#ids = [];
      this.#head = 0;
    } else if (this.#head > 64 && this.#head * 2 > this.#ids.length) {
      this.#ids = this.#ids.slice(this.#head);
      this.#head = 0;
    }
  }

  /** At its place: at the end when it was just read, near the front when it comes back. */
  insert(id: number): void {
    const ids = this.#ids;
    const last = ids.at(-1);
    if (last === undefined || last < id) {
      ids.push(id);
      return;
    }
    let at = this.#head;
    while ((ids[at] as number) < id) at++;
    if (at === this.#head && at > 0) ids[--this.#head] = id;
    else ids.splice(at, 0, id);
  }
}
