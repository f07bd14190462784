/**
 * The life of one event in one group: state × event → state, record, answer (delivery.md §4). The compiler refuses a
 * forgotten cell; `life.test.ts` goes through all of them.
 *
 *            read           handOut            ack · term · exhaust            durable
 *   unread ─────────▶ waiting ─────────▶ out ─────────────────────▶ settling ─────────▶ settled
 *      │  delay          ▲  ▲ ◀────────── │ returned · withdraw         ▲
 *      └──────▶ delayed ─┘  │             │ nack · timeout · lost       │ lateAck · lateTerm · gone · expire
 *                 due       │             ▼                             │
 *                           └─ backoff ◀─ failing ──────────────────────┘  (and from unread, waiting, delayed, backoff)
 *                         due       durable
 *
 * Always true: a lane does not move past an event that is out, failing, in backoff or settling. So nothing behind it is
 * handed out before what happened to it is durable (D16).
 */
import { assert } from '@hadron/base';

export type DeliveryState =
  /** Not read since the group was opened; its lane is unknown. */
  | 'unread'
  /** In its lane; handed out when its turn comes. */
  | 'waiting'
  /** Not due yet (D21); in no lane. */
  | 'delayed'
  /** A session has it. */
  | 'out'
  /** The attempt ended unsettled; its record is not durable yet. */
  | 'failing'
  /** Waits for its next attempt, at the head of its lane. */
  | 'backoff'
  /** The verdict is taken and not durable yet. */
  | 'settling'
  | 'settled';

export type DeliveryEvent =
  | 'read'
  | 'delay'
  | 'due'
  | 'handOut'
  // Answers with the token of the attempt under way:
  | 'ack'
  | 'nack'
  | 'term'
  | 'extend'
  // Answers with any other token of this event (D16):
  | 'lateAck'
  | 'lateTerm'
  | 'lateOther'
  // Ends of an attempt without an answer (D14):
  | 'timeout'
  | 'lost'
  /** The session closed or the group was sought: uncounted. */
  | 'returned'
  /** An earlier one of its lane ended unsettled: uncounted (D9). */
  | 'withdraw'
  /** The attempt that just ended unsettled was the last (D18). */
  | 'exhaust'
  /** `expirytime` has passed (D21). */
  | 'expire'
  /** The record is no longer there (D3). */
  | 'gone'
  /** What was recorded is durable. */
  | 'durable';

/** What is recorded: nothing, that it is settled, or that an attempt failed (attempts, due, reason). */
export type Recorded = 'none' | 'settle' | 'fail';

/** What whoever caused it is told: nothing, at once, when durable, or that the token is stale or the event settled. */
export type Answered = 'none' | 'now' | 'durable' | 'stale' | 'settled';

export interface Cell {
  readonly to: DeliveryState;
  readonly record: Recorded;
  readonly answer: Answered;
}

const to = (state: DeliveryState, record: Recorded = 'none', answer: Answered = 'none'): Cell => ({
  to: state,
  record,
  answer,
});
/** A bug, if it happens. */
const NEVER = null;

const settles = to('settling', 'settle');
const settlesAnswered = to('settling', 'settle', 'durable');
/** Nobody has it: a late verdict that ends it is as good as one in time. */
const LATE_TAKEN = { lateAck: settlesAnswered, lateTerm: settlesAnswered } as const;
/** No answer of the attempt under way, for there is none; no attempt that could end. */
const NO_ATTEMPT = {
  ack: NEVER,
  nack: NEVER,
  term: NEVER,
  extend: NEVER,
  timeout: NEVER,
  lost: NEVER,
  returned: NEVER,
  withdraw: NEVER,
  exhaust: NEVER,
} as const;

export const LIFE: Readonly<Record<DeliveryState, Readonly<Record<DeliveryEvent, Cell | null>>>> = {
  unread: {
    ...NO_ATTEMPT,
    ...LATE_TAKEN,
    lateOther: to('unread', 'none', 'stale'),
    read: to('waiting'),
    delay: to('delayed'),
    due: NEVER,
    handOut: NEVER,
    expire: settles,
    gone: settles,
    durable: NEVER,
  },
  waiting: {
    ...NO_ATTEMPT,
    ...LATE_TAKEN,
    lateOther: to('waiting', 'none', 'stale'),
    read: NEVER,
    delay: NEVER,
    due: NEVER,
    handOut: to('out'),
    expire: NEVER, // looked at when it is handed out: nobody remembers its expiry
    gone: settles,
    durable: NEVER,
  },
  delayed: {
    ...NO_ATTEMPT,
    ...LATE_TAKEN,
    lateOther: to('delayed', 'none', 'stale'),
    read: NEVER,
    delay: NEVER,
    due: to('waiting'),
    handOut: NEVER,
    expire: NEVER,
    gone: settles,
    durable: NEVER,
  },
  out: {
    ack: settlesAnswered,
    nack: to('failing', 'fail', 'durable'),
    term: settlesAnswered,
    extend: to('out', 'none', 'now'),
    lateAck: to('out', 'none', 'stale'),
    lateTerm: to('out', 'none', 'stale'),
    lateOther: to('out', 'none', 'stale'),
    timeout: to('failing', 'fail'),
    lost: to('failing', 'fail'),
    returned: to('waiting'),
    withdraw: to('waiting'),
    exhaust: settlesAnswered,
    expire: settles,
    gone: settles,
    read: NEVER,
    delay: NEVER,
    due: NEVER,
    handOut: NEVER,
    durable: NEVER,
  },
  failing: {
    ...NO_ATTEMPT,
    ...LATE_TAKEN,
    lateOther: to('failing', 'none', 'stale'),
    durable: to('backoff'),
    gone: settles,
    read: NEVER,
    delay: NEVER,
    due: NEVER,
    handOut: NEVER,
    expire: NEVER,
  },
  backoff: {
    ...NO_ATTEMPT,
    ...LATE_TAKEN,
    lateOther: to('backoff', 'none', 'stale'),
    due: to('waiting'),
    gone: settles,
    read: NEVER,
    delay: NEVER,
    handOut: NEVER,
    expire: NEVER,
    durable: NEVER,
  },
  settling: {
    ...NO_ATTEMPT,
    lateAck: to('settling', 'none', 'settled'),
    lateTerm: to('settling', 'none', 'settled'),
    lateOther: to('settling', 'none', 'settled'),
    durable: to('settled'),
    gone: to('settling'),
    read: NEVER,
    delay: NEVER,
    due: NEVER,
    handOut: NEVER,
    expire: NEVER,
  },
  settled: {
    ...NO_ATTEMPT,
    lateAck: to('settled', 'none', 'settled'),
    lateTerm: to('settled', 'none', 'settled'),
    lateOther: to('settled', 'none', 'settled'),
    gone: to('settled'),
    read: NEVER,
    delay: NEVER,
    due: NEVER,
    handOut: NEVER,
    expire: NEVER,
    durable: NEVER,
  },
};

/** @throws InvariantError when the table has no such step */
export function step(from: DeliveryState, event: DeliveryEvent): Cell {
  const cell = LIFE[from][event];
  assert(cell !== null, `an event that is ${from} cannot see '${event}'`);
  return cell;
}
