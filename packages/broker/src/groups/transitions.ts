import { assert } from '@hadron/base';

/**
 * The five states of a classic group and the only ways between them.
 *
 *            rebalance             joined                    assigned
 *   Empty ──────────────▶ Preparing ──────▶ Completing ──────────────▶ Stable
 *     │  ◀────────────── Rebalance  ◀────── Rebalance                    │
 *     │      emptied          ▲   rebalance                              │
 *     ▼ deleted               └──────────────── rebalance ───────────────┘
 *   Dead
 *
 * Empty                no members; offsets may remain
 * PreparingRebalance   members are asked to join again; answers to JoinGroup wait
 * CompletingRebalance  everyone knows the new generation; answers to SyncGroup wait for the leader's assignment
 * Stable               every member can have its assignment
 * Dead                 deleted; the object is out of every table and only a stale reference could meet it
 */
export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead';

export type GroupEvent =
  /** Membership or a subscription changed: everyone must join again. */
  | 'rebalance'
  /** The join phase ended with members. */
  | 'joined'
  /** The join phase ended without a single member. */
  | 'emptied'
  /** The leader's assignment arrived. */
  | 'assigned'
  /** Deleted by request or by retention. */
  | 'deleted';

/** The next state, or null where the event is a bug. */
export const TRANSITIONS: Readonly<Record<GroupState, Readonly<Record<GroupEvent, GroupState | null>>>> = {
  Empty: {
    rebalance: 'PreparingRebalance',
    joined: null,
    emptied: null,
    assigned: null,
    deleted: 'Dead',
  },
  PreparingRebalance: {
    rebalance: null,
    joined: 'CompletingRebalance',
    emptied: 'Empty',
    assigned: null,
    deleted: null,
  },
  CompletingRebalance: {
    rebalance: 'PreparingRebalance',
    joined: null,
    emptied: null,
    assigned: 'Stable',
    deleted: null,
  },
  Stable: {
    rebalance: 'PreparingRebalance',
    joined: null,
    emptied: null,
    assigned: null,
    deleted: null,
  },
  Dead: { rebalance: null, joined: null, emptied: null, assigned: null, deleted: null },
};

/** @throws InvariantError when the table has no such step */
export function transition(from: GroupState, event: GroupEvent): GroupState {
  const to = TRANSITIONS[from][event];
  assert(to !== null, `a group in state ${from} cannot take the step '${event}'`);
  return to;
}

export function canRebalance(state: GroupState): boolean {
  return TRANSITIONS[state].rebalance !== null;
}
