/**
 * Random messages of any API and version, for tests. Values are chosen to hurt: extremes, empty and long strings,
 * characters outside ASCII, nulls where allowed, unknown tagged fields.
 */
import type { Api, Field, FieldType, Struct } from './notation.ts';

/** A small seeded generator (mulberry32), so that a failing test prints a seed and not a megabyte. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 <= result < n */
  below(n: number): number {
    return this.u32() % n;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }

  bytes(n: number): Buffer {
    return Buffer.from(Array.from({ length: n }, () => this.below(256)));
  }
}

export type RandomMessage = Record<string, unknown>;

export function randomMessage(api: Api, struct: Struct, version: number, dice: Dice, depth: number = 0): RandomMessage {
  const message: RandomMessage = {};
  for (const field of struct.fields) {
    const isCarried = version >= field.versions.min && version <= field.versions.max;
    message[field.name] = isCarried ? randomField(api, field, version, dice, depth) : defaultValue(field);
  }
  const tags = version >= api.flexible && dice.below(4) === 0 ? randomTags(dice) : undefined;
  message['unknownTags'] = tags;
  return message;
}

function randomTags(dice: Dice): { tag: number; data: Buffer }[] {
  // From 100 up: no schema has a known tag there.
  let tag = 100;
  return Array.from({ length: 1 + dice.below(3) }, () => {
    tag += 1 + dice.below(1000);
    return { tag, data: dice.bytes(dice.pick([0, 1, 5, 200])) };
  });
}

function randomField(api: Api, field: Field, version: number, dice: Dice, depth: number): unknown {
  const isNullable = field.nullable !== undefined && version >= field.nullable.min && version <= field.nullable.max;
  if (isNullable && dice.below(4) === 0) return null;
  if (field.tag !== undefined && dice.below(2) === 0) return defaultValue(field);
  return randomValue(api, field.type, version, dice, depth);
}

function randomValue(api: Api, type: FieldType, version: number, dice: Dice, depth: number): unknown {
  if (type.kind === 'struct') return randomMessage(api, type.struct, version, dice, depth + 1);
  if (type.kind === 'array') {
    const count = dice.below(depth === 0 ? 4 : 3);
    return Array.from({ length: count }, () => randomValue(api, type.element, version, dice, depth + 1));
  }
  switch (type.name) {
    case 'bool':
      return dice.below(2) === 0;
    case 'int8':
      return dice.pick([0, 1, -1, 127, -128]);
    case 'int16':
      return dice.pick([0, 1, -1, 32767, -32768, 259]);
    case 'int32':
      return dice.pick([0, 1, -1, 2147483647, -2147483648, 0x1020304]);
    case 'int64':
      return dice.pick([0, 1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0x1_0203_0405, -0x1_0203_0405]);
    case 'uuid':
      return dice.bytes(16).toString('hex');
    case 'string':
      return dice.pick([
        '',
        'a',
        'topic-1',
        'é€😀',
        'x'.repeat(63),
        'x'.repeat(65),
        'y'.repeat(126),
        'z'.repeat(300),
        `${'q'.repeat(40)}ß`,
      ]);
    case 'bytes':
      return dice.bytes(dice.pick([0, 1, 20, 127, 300]));
    case 'records':
      return dice.bytes(dice.pick([0, 61, 300, 3000]));
  }
}

/** What a decoder fills in for a field that the version does not have. */
export function defaultValue(field: Field): unknown {
  const { type } = field;
  if (field.default !== undefined) return field.default === 'null' ? null : JSON.parse(field.default);
  if (type.kind === 'array') return [];
  if (type.kind === 'struct') return null;
  switch (type.name) {
    case 'bool':
      return false;
    case 'uuid':
      return '0'.repeat(32);
    case 'string':
      return '';
    case 'bytes':
      return Buffer.alloc(0);
    case 'records':
      return null;
    default:
      return 0;
  }
}
