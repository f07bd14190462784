/**
 * The unsettled offsets of a group on one partition, 32 to a page: sparse and dense both cheap (delivery.md D12). 200,000
 * that lie alone cost about 8 MB, a million side by side about 1 MB, none nothing.
 *
 * Always true: ids are added in ascending order, so the pages of the map are in order. The smallest is found with one
 * iterator that lives as long as its page does.
 */

const PAGE = 32;
const pageOf = (id: number): number => Math.floor(id / PAGE);

export class Unsettled {
  #count = 0;
  #pages: Map<number, number> | undefined;
  /** Stands on the first page; undefined: must begin anew. */
  #firstPages: Iterator<number> | undefined;
  #firstPage = -1;
  /** Stands on the first page at or behind the last question of {@link next}. */
  #walk: Iterator<number> | undefined;
  #walkPage = -1;
  #walkFrom = -1;

  get count(): number {
    return this.#count;
  }

  has(id: number): boolean {
    const bits = this.#pages?.get(pageOf(id));
    return bits !== undefined && (bits & (1 << (id & 31))) !== 0;
  }

  add(id: number): void {
    this.addRange(id, id + 1);
  }

  /** Adds `[from, to)`; nothing at or above `from` may be in it yet. */
  addRange(from: number, to: number): void {
    if (from >= to) return;
    const pages = (this.#pages ??= new Map<number, number>());
    for (let page = pageOf(from), at = from; at < to; page++) {
      const end = Math.min(to, (page + 1) * PAGE);
      pages.set(page, (pages.get(page) ?? 0) | bitsBetween(at, end, page));
      this.#count += end - at;
      at = end;
    }
  }

  /** @returns whether it was in it */
  delete(id: number): boolean {
    const pages = this.#pages;
    const page = pageOf(id);
    const bits = pages?.get(page);
    const bit = 1 << (id & 31);
    if (pages === undefined || bits === undefined || (bits & bit) === 0) return false;
    this.#count--;
    if (bits === bit) this.#removePage(page);
    else pages.set(page, bits & ~bit);
    return true;
  }

  /** Takes out all of `[from, to)`. @returns how many were in it */
  deleteRange(from: number, to: number): number {
    const pages = this.#pages;
    if (pages === undefined || from >= to) return 0;
    let deleted = 0;
    if (pageOf(to - 1) - pageOf(from) <= pages.size) {
      for (let page = pageOf(from); page * PAGE < to; page++) deleted += this.#deleteOf(page, from, to);
    } else {
      for (let id = this.next(from); id !== undefined && id < to; id = this.next(id)) {
        deleted += this.#deleteOf(pageOf(id), from, to);
      }
    }
    return deleted;
  }

  /** The smallest. */
  first(): number | undefined {
    const pages = this.#pages;
    if (pages === undefined || this.#count === 0) return undefined;
    if (this.#firstPages === undefined || !pages.has(this.#firstPage)) {
      this.#firstPages ??= pages.keys();
      let { value, done } = this.#firstPages.next();
      if (done === true) {
        this.#firstPages = pages.keys();
        ({ value, done } = this.#firstPages.next());
      }
      this.#firstPage = value as number;
    }
    return lowest(this.#firstPage, pages.get(this.#firstPage) as number);
  }

  /** The smallest at or above `from`. Cheap when asked in ascending order. */
  next(from: number): number | undefined {
    const pages = this.#pages;
    if (pages === undefined || this.#count === 0) return undefined;
    const page = pageOf(from);
    const bits = (pages.get(page) ?? 0) & bitsBetween(from, (page + 1) * PAGE, page);
    if (bits !== 0) return lowest(page, bits);
    if (this.#walk === undefined || page < this.#walkFrom) {
      this.#walk = pages.keys();
      this.#walkPage = -1;
    }
    this.#walkFrom = page;
    while (this.#walkPage <= page || !pages.has(this.#walkPage)) {
      const { value, done } = this.#walk.next();
      if (done === true) {
        this.#walk = undefined;
        return undefined;
      }
      this.#walkPage = value;
    }
    return lowest(this.#walkPage, pages.get(this.#walkPage) as number);
  }

  /** Runs of neighbours `[from, to)`, ascending. */
  *runs(): Generator<readonly [number, number], void, undefined> {
    let from = -1;
    let to = -1;
    for (const [page, bits] of this.#pages ?? []) {
      for (let i = 0; i < PAGE; i++) {
        if ((bits & (1 << i)) === 0) continue;
        const id = page * PAGE + i;
        if (id !== to) {
          if (from >= 0) yield [from, to];
          from = id;
        }
        to = id + 1;
      }
    }
    if (from >= 0) yield [from, to];
  }

  /** Takes out what of `[from, to)` lies on `page`. */
  #deleteOf(page: number, from: number, to: number): number {
    const bits = this.#pages?.get(page);
    if (bits === undefined) return 0;
    const gone = bits & bitsBetween(Math.max(from, page * PAGE), Math.min(to, (page + 1) * PAGE), page);
    if (gone === 0) return 0;
    const n = bitCount(gone);
    this.#count -= n;
    if (gone === bits) this.#removePage(page);
    else this.#pages?.set(page, bits & ~gone);
    return n;
  }

  #removePage(page: number): void {
    this.#pages?.delete(page);
    // A map that shrank and grew again keeps its order; an empty one gives its memory back.
    if (this.#pages?.size === 0) {
      this.#pages = undefined;
      this.#firstPages = undefined;
      this.#walk = undefined;
    }
  }
}

/** The bits of `[from, to)` within `page`. */
function bitsBetween(from: number, to: number, page: number): number {
  const low = from - page * PAGE;
  const high = to - page * PAGE;
  const below = (n: number): number => (n >= 32 ? -1 : (1 << n) - 1);
  return below(high) & ~below(low);
}

function lowest(page: number, bits: number): number {
  return page * PAGE + (31 - Math.clz32(bits & -bits));
}

function bitCount(bits: number): number {
  let n = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) n++;
  return n;
}
