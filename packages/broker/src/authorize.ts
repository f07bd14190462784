/** The one place that says who may do what. Until there are tokens (a later work) it says yes. */

/** Who asks. Anonymous until there are tokens. */
export interface Identity {
  readonly name: string;
}

export const ANONYMOUS: Identity = { name: 'anonymous' };

export type Action = 'publish' | 'subscribe' | 'read' | 'create' | 'change' | 'delete';

/** What it is done to. */
export interface Target {
  readonly kind: string;
  /** Undefined: all of the kind. */
  readonly name: string | undefined;
}

/** Every door passes every request through this. @throws HadronError PERMISSION_DENIED */
export type Authorize = (identity: Identity, action: Action, target: Target) => void;

export const allowAll: Authorize = () => undefined;
