/**
 * LIKE in linear time: one pass over the text, without going back, whatever the pattern.
 *
 * The usual patterns (`abc`, `abc%`, `%abc`, `%abc%`) are asked of the string itself. Any other becomes an automaton whose
 * states are the bits of a few words: bit i says that the text read so far fits the first i items of the pattern.
 */

/** A compiled pattern: `%` any run of characters, `_` one character (a code point), `\%` and `\_` themselves. */
export type Pattern = (text: string) => boolean;

/** An item is a code point, or ANY for `_`; `gaps` has the places of `%`: before item i, or behind the last. */
interface Items {
  readonly items: readonly number[];
  readonly gaps: ReadonlySet<number>;
}

const ANY = -1;

export function compilePattern(pattern: string): Pattern {
  const { items, gaps } = read(pattern);
  const inner = [...gaps].some((place) => place > 0 && place < items.length);
  if (inner || items.includes(ANY)) return automaton(items, gaps);
  const literal = items.map((item) => String.fromCodePoint(item)).join('');
  const [open, close] = [gaps.has(0), gaps.has(items.length)];
  if (open && close) return (text) => text.includes(literal);
  if (open) return (text) => text.endsWith(literal);
  if (close) return (text) => text.startsWith(literal);
  return (text) => text === literal;
}

function read(pattern: string): Items {
  const items: number[] = [];
  const gaps = new Set<number>();
  const characters = Array.from(pattern);
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    const next = characters[at + 1];
    if (character === '\\' && (next === '%' || next === '_')) {
      items.push(next.codePointAt(0)!);
      at++;
    } else if (character === '%') gaps.add(items.length);
    else items.push(character === '_' ? ANY : character.codePointAt(0)!);
  }
  return { items, gaps };
}

function automaton(items: readonly number[], gaps: ReadonlySet<number>): Pattern {
  const words = (items.length >>> 5) + 1; // bits 0 … items.length
  const stays = new Uint32Array(words); // bit i: state i is kept whatever comes, for a % stands there
  for (const place of gaps) setBit(stays, place);
  const other = new Uint32Array(words); // bit i: item i takes a character that the pattern does not name
  for (const [index, item] of items.entries()) if (item === ANY) setBit(other, index);
  const takes = new Map<number, Uint32Array>(); // the same for those it names
  for (const [index, item] of items.entries()) {
    if (item === ANY) continue;
    let mask = takes.get(item);
    if (mask === undefined) takes.set(item, (mask = other.slice()));
    setBit(mask, index);
  }
  const state = new Uint32Array(words); // used again by each call: nothing is kept between two

  return (text) => {
    state.fill(0);
    state[0] = 1;
    for (let at = 0; at < text.length; at++) {
      const character = text.codePointAt(at)!;
      if (character > 0xffff) at++;
      const mask = takes.get(character) ?? other;
      let carry = 0;
      let alive = 0;
      for (let word = 0; word < words; word++) {
        const now = state[word]!;
        const moved = now & mask[word]!;
        const next = (moved << 1) | carry | (now & stays[word]!);
        carry = moved >>> 31;
        state[word] = next;
        alive |= next;
      }
      if (alive === 0) return false;
    }
    return (state[items.length >>> 5]! & (1 << (items.length & 31))) !== 0;
  };
}

function setBit(words: Uint32Array, bit: number): void {
  words[bit >>> 5]! |= 1 << (bit & 31);
}
