/**
 * What happened in a run: a bounded list of (time, actor, event), and a fingerprint over all of it.
 *
 * Lines are only put together when someone reads them; adding an entry costs about 50 ns. The fingerprint covers every
 * entry ever added, also those the ring has forgotten: two runs of one seed are equal exactly if their fingerprints are.
 */

interface Entry {
  timeMs: number;
  actor: string;
  event: string;
  subject: string;
  a: number | undefined;
  b: number | undefined;
}

export class Trace {
  readonly #ring: Entry[] = [];
  readonly #entriesMax: number;
  #added = 0;
  #hash = 0x811c9dc5;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /** `a` and `b` are what the event is about, shown as `a+b` (a position and a length) or `a`. */
  add(timeMs: number, actor: string, event: string, subject: string, a?: number, b?: number): void {
    let hash = this.#hash ^ ((timeMs * 1024) | 0);
    hash = hashOf(hash, actor);
    hash = hashOf(hash, event);
    hash = hashOf(hash, subject);
    hash = Math.imul(hash ^ ((a ?? -1) | 0), 0x01000193);
    this.#hash = Math.imul(hash ^ ((b ?? -1) | 0), 0x01000193);
    const at = this.#added++ % this.#entriesMax;
    const entry = this.#ring[at];
    if (entry === undefined) {
      this.#ring.push({ timeMs, actor, event, subject, a, b });
    } else {
      entry.timeMs = timeMs;
      entry.actor = actor;
      entry.event = event;
      entry.subject = subject;
      entry.a = a;
      entry.b = b;
    }
  }

  get added(): number {
    return this.#added;
  }

  /** Eight hex digits over everything that was ever added. */
  get fingerprint(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  /** The last entries, oldest first. */
  lines(): string[] {
    const from = Math.max(0, this.#added - this.#entriesMax);
    const out: string[] = from === 0 ? [] : [`… ${from} earlier entries forgotten`];
    for (let i = from; i < this.#added; i++) out.push(lineOf(this.#ring[i % this.#entriesMax] as Entry));
    return out;
  }
}

function hashOf(seed: number, text: string): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

function lineOf(e: Entry): string {
  const about = e.a === undefined ? '' : e.b === undefined ? ` ${e.a}` : ` ${e.a}+${e.b}`;
  return `${e.timeMs.toFixed(3).padStart(10)} ${e.actor.padEnd(8)} ${e.event} ${e.subject}${about}`.trimEnd();
}
