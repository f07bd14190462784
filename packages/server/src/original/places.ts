/**
 * Which stream and partition an address means: a request of the original's clients names neither (hadron.md §4.3). Either
 * the name it called by, `{stream}[-{n}].…`, or the port it came to.
 */

/** A stream as far as addresses go. */
export interface AddressedStream {
  readonly name: string;
  readonly partitions: number;
}

export interface Place {
  readonly stream: string;
  /** Undefined: the stream as a whole. */
  readonly partition: number | undefined;
}

/**
 * Reads `{stream}.…` or `{stream}-{n}.…`. Stream names may hold dots and end in a number: the longest name that is a
 * stream counts, and a stream of the whole name before a partition of the shorter one.
 */
export function placeOfAuthority(
  authority: string,
  find: (name: string) => AddressedStream | undefined,
): (Place & { readonly rest: string }) | undefined {
  const host = authority.replace(/:\d*$/, '');
  const port = authority.slice(host.length);
  for (let end = host.length; end > 0; end = host.lastIndexOf('.', end - 1)) {
    const name = host.slice(0, end);
    const rest = host.slice(end) + port;
    if (find(name) !== undefined) return { stream: name, partition: undefined, rest };
    const numbered = /^(.+)-(0|[1-9]\d{0,5})$/.exec(name);
    if (numbered === null) continue;
    const stream = find(numbered[1] as string);
    const partition = Number(numbered[2]);
    if (stream !== undefined && partition < stream.partitions) return { stream: stream.name, partition, rest };
  }
  return undefined;
}

/** The name for partition `n` of the stream that was called by a name ending in `rest`. */
export const authorityOf = (stream: string, partition: number, rest: string): string => `${stream}-${partition}${rest}`;
