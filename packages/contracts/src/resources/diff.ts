/** What differs between two specs, field by field: what `diff` shows and `apply` prints. */
import { pathText } from './validate.ts';

export interface Change {
  readonly path: string;
  /** Absent: it was not there. */
  readonly from?: unknown;
  /** Absent: it is gone, so the default counts. */
  readonly to?: unknown;
}

/** In the order of the fields; lists are compared whole. Null counts as absent. */
export function changesBetween(from: unknown, to: unknown, path: readonly (string | number)[] = []): Change[] {
  if (isObject(from) && isObject(to)) {
    const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
    return [...keys].flatMap((key) => changesBetween(own(from, key), own(to, key), [...path, key]));
  }
  if (isObject(to) && !isPresent(from))
    return Object.keys(to).flatMap((key) => changesBetween(undefined, own(to, key), [...path, key]));
  if (isObject(from) && !isPresent(to))
    return Object.keys(from).flatMap((key) => changesBetween(own(from, key), undefined, [...path, key]));
  if (same(from, to)) return [];
  return [{ path: pathText(path), ...(isPresent(from) ? { from } : {}), ...(isPresent(to) ? { to } : {}) }];
}

/** Deep equality of JSON values, in which null and an absent member say the same. */
export function same(a: unknown, b: unknown): boolean {
  if (!isPresent(a) || !isPresent(b)) return isPresent(a) === isPresent(b);
  if (Array.isArray(a) || Array.isArray(b))
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]));
  if (isObject(a) && isObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].every((key) => same(own(a, key), own(b, key)));
  }
  return a === b;
}

type Obj = Readonly<Record<string, unknown>>;
const isPresent = (value: unknown): boolean => value !== undefined && value !== null;
const isObject = (value: unknown): value is Obj => typeof value === 'object' && value !== null && !Array.isArray(value);
const own = (value: Obj, key: string): unknown => (Object.hasOwn(value, key) ? value[key] : undefined);
