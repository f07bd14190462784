/** A broken invariant: a bug in Hadron, never the caller's fault. The owner of the broken state stops. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * States what must be true here. On in production.
 * @throws InvariantError when it is not
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(`Broken invariant: ${message}`);
}
