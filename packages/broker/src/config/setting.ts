/**
 * One setting as data: its type, default, what is allowed, what it does. The tables are topic-configs.ts and
 * broker-settings.ts; parsing, listing and documentation all read them, so a setting is added in one place.
 *
 * A value has two forms. Its **text** is what people and the protocol write and read back ("-1", "compact,delete").
 * Its **value** is what the code uses: a boolean, a number, a string or a list. A `long` beyond 2^53, which Kafka uses
 * for "never" and "no limit" (9223372036854775807), has the value Infinity.
 */
import { type ErrorCode, HadronError } from '@hadron/base';

export type SettingType = 'boolean' | 'int' | 'long' | 'double' | 'string' | 'list';
export type SettingValue = boolean | number | string | readonly string[];

export interface Setting<V extends SettingValue = SettingValue> {
  readonly type: SettingType;
  /** The default, as text. */
  readonly fallback: string;
  /** What it does; begins a sentence of its own. Ends with {@link Setting.noEffect}'s reason when there is one. */
  readonly doc: string;
  /** Accepted for compatibility, but changes nothing here: why. */
  readonly noEffect?: string;
  /** What is allowed, in words: "a whole number from 1 to 2147483647". */
  readonly allowed: string;
  /** The value of a text, or undefined when the text is not allowed. */
  parse(text: string): V | undefined;
}

interface Described {
  readonly doc: string;
  readonly noEffect?: string;
}

interface Ranged extends Described {
  readonly min?: number;
  readonly max?: number;
}

const INT_MIN = -0x8000_0000;
const INT_MAX = 0x7fff_ffff;
/** The largest `long`: Kafka's way of writing "never". */
export const LONG_MAX = '9223372036854775807';

export function bool(fallback: boolean, described: Described): Setting<boolean> {
  return {
    type: 'boolean',
    fallback: String(fallback),
    allowed: 'true or false',
    ...described,
    parse: (text) => (/^true$/i.test(text) ? true : /^false$/i.test(text) ? false : undefined),
  };
}

export function int(fallback: number, ranged: Ranged): Setting<number> {
  const { min = INT_MIN, max = INT_MAX, ...described } = ranged;
  return {
    type: 'int',
    fallback: String(fallback),
    allowed: min === max ? String(min) : `a whole number from ${min} to ${max}`,
    ...described,
    parse(text) {
      const value = /^[+-]?\d{1,10}$/.test(text) ? Number(text) : undefined;
      return value !== undefined && value >= min && value <= max ? value : undefined;
    },
  };
}

export function long(fallback: number | typeof LONG_MAX, ranged: Ranged): Setting<number> {
  const { min, max, ...described } = ranged;
  const low = min === undefined ? -(2n ** 63n) : BigInt(min);
  const high = max === undefined ? 2n ** 63n - 1n : BigInt(max);
  return {
    type: 'long',
    fallback: String(fallback),
    allowed: `a whole number from ${low} to ${high}`,
    ...described,
    parse(text) {
      if (!/^[+-]?\d{1,19}$/.test(text)) return undefined;
      const exact = BigInt(text.replace(/^\+/, ''));
      if (exact < low || exact > high) return undefined;
      return exact > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(exact);
    },
  };
}

export function double(fallback: number, ranged: Ranged & { min: number; max: number }): Setting<number> {
  const { min, max, ...described } = ranged;
  return {
    type: 'double',
    fallback: String(fallback),
    allowed: `a number from ${min} to ${max}`,
    ...described,
    parse(text) {
      const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
      return value !== undefined && value >= min && value <= max ? value : undefined;
    },
  };
}

export function oneOf<const C extends string>(fallback: C, choices: readonly C[], described: Described): Setting<C> {
  return {
    type: 'string',
    fallback,
    allowed: choices.length === 1 ? `only ${choices[0]}` : `one of ${choices.join(', ')}`,
    ...described,
    parse: (text) => choices.find((choice) => choice === text),
  };
}

/** A text that `pattern` allows, as a whole; `allowed` says so in words. */
export function text(
  fallback: string,
  { pattern, allowed, ...described }: Described & { readonly pattern: RegExp; readonly allowed: string },
): Setting<string> {
  return { type: 'string', fallback, allowed, ...described, parse: (said) => (pattern.test(said) ? said : undefined) };
}

/** A comma-separated list without duplicates. Without `choices` anything goes. */
export function list(
  fallback: string,
  choices: readonly string[] | undefined,
  described: Described,
): Setting<readonly string[]> {
  return {
    type: 'list',
    fallback,
    allowed:
      choices === undefined ? 'a comma-separated list' : `a comma-separated list of ${choices.join(', ')}, or empty`,
    ...described,
    parse(text) {
      const items = text.split(',').map((item) => item.trim());
      if (text.trim() === '') return [];
      if (items.some((item) => item === '' || (choices !== undefined && !choices.includes(item)))) return undefined;
      return new Set(items).size === items.length ? items : undefined;
    },
  };
}

/** The value type of a setting. */
export type ValueOf<S> = S extends Setting<infer V> ? V : never;

/** What a failed {@link parseSetting} reports beside key, value and what is allowed. */
export interface SettingPlace {
  readonly code?: ErrorCode;
  /** Where the text was written: "flag --set", "hadron.yaml:3". */
  readonly place?: string;
}

/**
 * The value of `text` for the setting `key`.
 * @throws HadronError `code` (SETTING_INVALID), naming key, value, place and what is allowed
 */
export function parseSetting<V extends SettingValue>(
  key: string,
  setting: Setting<V>,
  text: string,
  { code = 'SETTING_INVALID', place }: SettingPlace = {},
): V {
  const value = setting.parse(text.trim());
  if (value === undefined) {
    const where = place === undefined ? '' : ` (${place})`;
    throw new HadronError(code, `${key} = ${JSON.stringify(text)}${where} is not allowed: expected ${setting.allowed}`);
  }
  return value;
}

/** The documentation of a setting, with the reason when it has no effect here. */
export function settingDoc(setting: Setting): string {
  return setting.noEffect === undefined
    ? setting.doc
    : `${setting.doc} Accepted, without effect here: ${setting.noEffect}.`;
}
