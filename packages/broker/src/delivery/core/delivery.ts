/** An event of which more is to be remembered than its offset: it is delayed, out, failing, in backoff or settling. */
import { Deadline } from '@hadron/base';
import type { SettledAs } from '@hadron/contracts';
import type { Lane } from './lane.ts';
import type { DeliveryState } from './life.ts';
import type { Failure } from './progress.ts';
import type { Session } from './sessions.ts';

/** How it is settled, when not by an ack. */
export interface End {
  readonly as: SettledAs;
  readonly code: string;
  readonly reason: string;
  readonly attempts: number;
}

/** Its deadline is the time-out of the attempt, or when it is due. `what` is its id. */
export class Delivery extends Deadline<number> {
  state: DeliveryState = 'waiting';
  lane: Lane | undefined;
  /** While it is out. */
  session: Session | undefined;
  /** Number of this hand-out within its partition of the group; 0: not handed out. */
  handout = 0;
  /** When it was handed out; of a delayed one its due time on the wall clock. Whole milliseconds. */
  since = 0;
  /** Counted in its session's buffer. */
  bytes = 0;
  /** Its session has seen it. */
  sent = false;
  /** The set of records that it waits for. */
  set = 0;
  end: End | undefined;
  /** What is being recorded while it is failing. */
  failure: Failure | undefined;

  get id(): number {
    return this.what;
  }
}
