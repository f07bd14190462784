/**
 * Deadlines in a binary heap, made for deadlines that are mostly pushed back.
 *
 * A heartbeat moves its member's deadline later, thousands of times before it ever passes. Such a move only writes
 * `at`; the heap keeps the older, earlier `queuedAt` and the entry sinks when it reaches the top. So pushing back is O(1),
 * everything else O(log n), and there is exactly one heap entry per deadline.
 *
 * Always true for an armed deadline: queuedAt ≤ at; the heap is ordered by queuedAt.
 */
export class Deadline<What> {
  readonly what: What;
  /** Monotonic milliseconds; meaningful while armed. */
  at = 0;
  queuedAt = 0;
  /** Position in the heap, −1 when not armed. */
  index = -1;

  constructor(what: What) {
    this.what = what;
  }

  get armed(): boolean {
    return this.index >= 0;
  }
}

export class Deadlines<What> {
  readonly #heap: Deadline<What>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** Arms the deadline, or moves it. */
  set(deadline: Deadline<What>, at: number): void {
    deadline.at = at;
    if (deadline.index < 0) {
      deadline.queuedAt = at;
      deadline.index = this.#heap.length;
      this.#heap.push(deadline);
      this.#rise(deadline);
    } else if (at < deadline.queuedAt) {
      deadline.queuedAt = at;
      this.#rise(deadline);
    }
  }

  cancel(deadline: Deadline<What>): void {
    if (deadline.index < 0) return;
    const last = this.#heap.pop() as Deadline<What>;
    if (last !== deadline) {
      last.index = deadline.index;
      this.#heap[last.index] = last;
      this.#rise(last);
      this.#sink(last);
    }
    deadline.index = -1;
  }

  /** When the earliest deadline passes; undefined when none is armed. */
  next(): number | undefined {
    return this.#top()?.at;
  }

  /** Disarms and returns one deadline with `at ≤ now`, earliest first. */
  takePassed(now: number): Deadline<What> | undefined {
    const top = this.#top();
    if (top === undefined || top.at > now) return undefined;
    this.cancel(top);
    return top;
  }

  /** The true earliest: entries that were pushed back sink until the top is where it says it is. */
  #top(): Deadline<What> | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || top.queuedAt === top.at) return top;
      top.queuedAt = top.at;
      this.#sink(top);
    }
  }

  #rise(deadline: Deadline<What>): void {
    const heap = this.#heap;
    let i = deadline.index;
    while (i > 0) {
      const parentIndex = (i - 1) >> 1;
      const parent = heap[parentIndex] as Deadline<What>;
      if (parent.queuedAt <= deadline.queuedAt) break;
      heap[i] = parent;
      parent.index = i;
      i = parentIndex;
    }
    heap[i] = deadline;
    deadline.index = i;
  }

  #sink(deadline: Deadline<What>): void {
    const heap = this.#heap;
    let i = deadline.index;
    for (;;) {
      let childIndex = 2 * i + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && right.queuedAt < child.queuedAt) {
        child = right;
        childIndex += 1;
      }
      if (child.queuedAt >= deadline.queuedAt) break;
      heap[i] = child;
      child.index = i;
      i = childIndex;
    }
    heap[i] = deadline;
    deadline.index = i;
  }
}
