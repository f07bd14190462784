import type { GroupResponse, Outcome, Reply, StateRecord } from './types.ts';

/** One command in progress: the moment it happens at, and what it has done so far. */
export class Turn<Token> implements Outcome<Token> {
  /** Monotonic milliseconds. */
  readonly now: number;
  /** Wall milliseconds; used for what is stored with a time only. */
  readonly wallMs: number;
  readonly records: StateRecord[] = [];
  readonly replies: Reply<Token>[] = [];

  constructor(now: number, wallMs: number) {
    this.now = now;
    this.wallMs = wallMs;
  }

  answer(to: Token, response: GroupResponse): this {
    this.replies.push({ to, response });
    return this;
  }
}
